"""The search: trials that see training and validation rows alone, cut short where they are hopeless."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, GridSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from gnnzoo.cards import METRICS
from gnnzoo.errors import Interrupted, StorageError
from gnnzoo.runner.cell import read_validation, train_cell
from gnnzoo.runner.checkpoint import stop_requested
from gnnzoo.runner.config import Config
from gnnzoo.runner.engine import val_metric
from gnnzoo.runner.failures import reason_of
from gnnzoo.runner.planning import Cell
from gnnzoo.runner.tuning import studies
from gnnzoo.runner.tuning.space import grid, suggest
from gnnzoo.runner.tuning.studies import OUTCOME, SURPLUS, WORKER, Worker, quiet

if TYPE_CHECKING:
    from gnnzoo.runner.tune import TuneReporter, Tuning

__all__ = ["Outcome", "drain", "open_study", "search"]

SEARCH_SEED = 1_000_000
"""Trainings of the search have this seed plus the study's: neither the finalists' nor those of records."""

_STARTUP = 5
"""So many trials complete before the median of them prunes any."""

_EARLIEST = 10
"""No trial is cut short before this epoch."""

_POLL = 1.0
"""Seconds between looks at what others do."""


class FailedTrialError(Exception):
    """A trial failed, which is written down: the study goes on."""


class _Ended(Interrupted):
    """The time for the search is over."""


# --- how trials are drawn ---------------------------------------------------------------------------------------------


def _draw(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


class _ByOrdinal(BaseSampler):
    """Draws each trial from the study's seed, the trial's ordinal and what is known by then, and from nothing else.

    So a study that was killed goes on with the trials that it would have had. Trial 0 is the shipped configuration.
    """

    def __init__(self, tuning: Tuning, worker: Worker | None) -> None:
        self._tuning, self._worker = tuning, worker
        self._inner: BaseSampler = RandomSampler()
        self._first = False
        points = {key: grid(domain) for key, domain in tuning.space.items()}
        self._grid = GridSampler(points, tuning.seed) if tuning.sampler == "grid" else None

    def _make(self, seed: int) -> BaseSampler:
        if self._grid is not None:
            return self._grid
        kinds: dict[str, Callable[..., BaseSampler]] = {"tpe": TPESampler, "random": RandomSampler, "gp": GPSampler}
        return kinds[self._tuning.sampler](seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if self._worker is not None:
            study._storage.set_trial_user_attr(trial._trial_id, WORKER, self._worker.name)
        number = studies.ordinal(study, trial.number)
        self._first = number == 0
        self._inner = self._make(_draw(self._tuning.seed, number))
        if not self._first:
            self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {} if self._first else self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {} if self._first else self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if self._first:
            return self._tuning.start[param_name]
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        if self._grid is None:  # which would stop the study: when it ends is our business
            self._inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Nothing: every trial has a seed of its own."""


class MedianPruner(BasePruner):
    """Prunes a trial whose value is worse than the median of the completed trials' at the same step.

    Optuna's own compares the best value of any step, which is that of the easiest split when steps go through splits.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if step is None or len(complete) < _STARTUP:
            return False
        values = [t.intermediate_values[step] for t in complete if step in t.intermediate_values]
        if not values:
            return False
        sign = 1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1
        return not sign * trial.intermediate_values[step] >= sign * median(values)  # also where it is not a number


def _pruner(tuning: Tuning) -> BasePruner:
    if tuning.pruner == "median":
        return MedianPruner()
    if tuning.pruner == "hyperband":
        return HyperbandPruner(1, len(tuning.splits) * (len(_rungs(tuning)) + 1), 3)
    return NopPruner()


def _rungs(tuning: Tuning) -> list[int]:
    """Return the epochs at which a trial is looked at: halves of halves of the most that any trial has."""
    if tuning.pruner == "none":
        return []
    most = tuning.base.train.epochs
    if (domain := tuning.space.get("train.epochs")) is not None:
        most = max([most, *(int(end) for end in domain.ends if end is not None)])
    return sorted({most >> half for half in range(1, 6) if most >> half >= _EARLIEST})


def open_study(tuning: Tuning, worker: Worker | None = None, part: str = "") -> optuna.Study:
    """Open a study, made where there is none.

    Args:
        tuning: what is tuned.
        worker: who draws trials.
        part: a study beside the search, such as that of the finalists.
    """
    metric = METRICS[tuning.metric]
    storage = studies.open_storage(tuning.folder, tuning.storage)
    with quiet():
        return optuna.create_study(
            study_name=tuning.name + part,
            storage=storage,
            direction="maximize" if metric.higher_is_better else "minimize",
            sampler=_Plain(worker) if part else _ByOrdinal(tuning, worker),
            pruner=NopPruner() if part else _pruner(tuning),
            load_if_exists=True,
        )


class _Plain(RandomSampler):
    """Draws nothing: the trials of such a study are numbers."""

    def __init__(self, worker: Worker | None) -> None:
        super().__init__(seed=0)
        self._worker = worker

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if self._worker is not None:
            study._storage.set_trial_user_attr(trial._trial_id, WORKER, self._worker.name)


# --- one trial --------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What a trial leaves behind; there is no place for anything of test rows."""

    config: str
    """The configuration's hash."""
    values: list[float]
    """The validation metric of each split that was trained."""
    epochs: list[int]
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    reason: str | None = None
    """Why it failed."""
    same_as: int | None = None
    """The trial with the same configuration, which was not trained again."""
    cell: list[int] | None = None
    """Of a finalist: the split and the seed."""

    def stored(self) -> dict[str, Any]:
        """Return it as it is written."""
        return {key: value for key, value in vars(self).items() if value is not None}


class Clock:
    """Stops trainings: on request, at the end of the search, when a trial takes too long."""

    def __init__(self, until: float | None, limit: float | None) -> None:
        self.start, self.cpu_start = time.monotonic(), time.process_time()
        self._until, self._limit = until, limit

    def check(self) -> None:
        """Raise where it is time to stop.

        Raises:
            Interrupted: the trial is to be given out again.
            FailedTrialError: it took too long.
        """
        if stop_requested():
            raise Interrupted("stopped")
        if self._until is not None and time.time() >= self._until:
            raise _Ended("the time for the search is over")
        if self._limit is not None and time.monotonic() - self.start > self._limit:
            raise FailedTrialError(f"timeout: it took more than {self._limit:g} s")

    def stop(self, outcome: Outcome) -> None:
        """Note what was spent."""
        outcome.seconds = round(time.monotonic() - self.start, 3)
        outcome.cpu_seconds = round(time.process_time() - self.cpu_start, 3)


class _SoFar:
    """The metric that a training would report if it ended now."""

    def __init__(self, config: Config, metric: str) -> None:
        self._config, self._metric, self._best = config.train, metric, -math.inf
        self.value = math.nan

    def see(self, row: Mapping[str, float]) -> None:
        """Take note of an epoch."""
        found = {name.removeprefix("val_"): value for name, value in row.items() if name.startswith("val_")}
        if self._metric not in found:
            return
        rule = self._config.selection
        if rule in ("val_loss", "val_metric"):
            score = -found["loss"] if rule == "val_loss" else val_metric(self._config, self._metric, found)
            if not score > self._best:
                return
            self._best = score
        self.value = found[self._metric]


def train_blind(
    tuning: Tuning, config: Config, split: int, seed: int, hear: Callable[[int, Mapping[str, float]], None]
) -> tuple[float, int]:
    """Train on a split and return the validation metric and the epochs that ran.

    Raises:
        FailedTrialError: it is no number.
    """
    trained = train_cell(Cell(config, split, seed), tuning.execution, None, hear, sealed=True)
    value = read_validation(trained, config)
    if not math.isfinite(value):
        raise FailedTrialError(f"the validation {tuning.metric} is {value} on split {split}")
    return value, trained.fit.epochs


def why(error: BaseException) -> str:
    """Return why a training failed, in one line."""
    text = reason_of(error)
    if isinstance(error, FailedTrialError):
        return str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text:
        return f"out of memory: {text}"
    return text


class _Ladder:
    """Reports a trial's value as it grows: at epochs of each split and at its end, the mean over the splits so far.

    Args:
        tuning: what is tuned.
        trial: whose values are reported.
        config: what it trains.
        clock: is asked at every epoch.
        prunable: whether the trial may be cut short.
    """

    def __init__(self, tuning: Tuning, trial: optuna.Trial, config: Config, clock: Clock, prunable: bool) -> None:
        self._tuning, self._trial, self._config, self._clock = tuning, trial, config, clock
        self._prunable = prunable
        self._rungs, self._waiting = _rungs(tuning), list[int]()
        self._step = 0
        self._ended: list[float] = []

    def begin(self) -> None:
        """A split's training begins."""
        self._waiting = list(self._rungs)
        self._so_far = _SoFar(self._config, self._tuning.metric)

    def hear(self, epoch: int, row: Mapping[str, float]) -> None:
        """An epoch ended."""
        self._clock.check()
        self._so_far.see(row)
        if self._waiting and epoch >= self._waiting[0] and not math.isnan(self._so_far.value):
            self._waiting.pop(0)
            self._report(self._so_far.value)

    def end(self, value: float) -> None:
        """A split's training ended; where it stopped early, it would have had the same value later."""
        self._prunable &= len(self._ended) + 1 < len(self._tuning.splits)  # at the last one there is nothing to save
        for _ in self._waiting:
            self._report(value)
        self._report(value)
        self._ended.append(value)

    def _report(self, value: float) -> None:
        self._step += 1
        self._trial.report((sum(self._ended) + value) / (len(self._ended) + 1), self._step)
        if self._prunable and self._trial.should_prune():
            raise optuna.TrialPruned


def _twin(study: optuna.Study, trial: optuna.Trial, digest: str) -> FrozenTrial | None:
    """Return a trial that ended with the same configuration."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    same = (t for t in ended if t.number != trial.number and (t.user_attrs.get(OUTCOME) or {}).get("config") == digest)
    return next(same, None)


def _copy(study: optuna.Study, trial: optuna.Trial, twin: FrozenTrial, outcome: Outcome) -> float:
    """Let a trial end as one with the same configuration did: training is deterministic."""
    kept = twin.user_attrs[OUTCOME]
    outcome.same_as, outcome.values, outcome.epochs = (
        studies.ordinal(study, twin.number),
        kept["values"],
        kept["epochs"],
    )
    for step, value in twin.intermediate_values.items():
        trial.report(value, step)
    if twin.state == TrialState.PRUNED:
        raise optuna.TrialPruned
    assert twin.value is not None
    return twin.value


def _train(
    tuning: Tuning, study: optuna.Study, trial: optuna.Trial, number: int, outcome: Outcome, clock: Clock
) -> float:
    """Do one trial: train on the splits of the search, one after another."""
    params = {key: suggest(trial, key, domain) for key, domain in tuning.space.items()}
    config = tuning.base if number == 0 else tuning.config(params)
    outcome.config = config.hash
    if (twin := _twin(study, trial, config.hash)) is not None:
        return _copy(study, trial, twin, outcome)
    ladder = _Ladder(tuning, trial, config, clock, prunable=number > 0)
    for split in tuning.splits:
        ladder.begin()
        value, epochs = train_blind(tuning, config, split, SEARCH_SEED + tuning.seed, ladder.hear)
        outcome.values.append(value)
        outcome.epochs.append(epochs)
        ladder.end(value)
    return sum(outcome.values) / len(outcome.values)


def attempt(
    trial: optuna.Trial,
    work: Callable[[Outcome, Clock], float],
    until: float | None,
    limit: float | None,
    tell: Callable[[Outcome, str], None],
) -> float:
    """Do a trial's work, and write down what came of it, whatever that is.

    Raises:
        Interrupted: a stop was asked for; the trial is given out again.
        StorageError: nothing can be written any more.
        FailedTrialError: the trial failed, which is written down.
    """
    outcome, clock = Outcome("", [], []), Clock(until, limit)

    def end(state: str) -> None:
        clock.stop(outcome)
        trial.set_user_attr(OUTCOME, outcome.stored())
        tell(outcome, state)

    try:
        value = work(outcome, clock)
    except Interrupted:
        studies.interrupt(trial)
        raise
    except (StorageError, optuna.exceptions.StorageInternalError):
        raise
    except optuna.TrialPruned:
        end("pruned")
        raise
    except (Exception, SystemExit) as error:
        outcome.reason = why(error)
        end("failed")
        raise FailedTrialError(outcome.reason) from error
    end("complete")
    return value


# --- all of them ------------------------------------------------------------------------------------------------------


def drain(
    tuning: Tuning,
    study: optuna.Study,
    total: int,
    objective: Callable[[optuna.Trial], float],
    until: float | None = None,
) -> bool:
    """Run trials until there are ``total``, together with whoever else does.

    Returns:
        False where the time ended it.

    Raises:
        Interrupted: a stop was asked for.
        StorageError: the storage fails.
    """
    while True:
        if stop_requested():
            raise Interrupted("stopped")
        studies.reclaim(study, tuning.folder)
        found = studies.tally(study)
        over = until is not None and time.time() >= until
        if not over and (found.of(TrialState.WAITING) or len(found.trials) < total):
            try:
                with quiet():
                    study.optimize(objective, n_trials=1, catch=(FailedTrialError,))
            except _Ended:
                continue
        elif found.of(TrialState.RUNNING):
            time.sleep(_POLL)
        else:
            return not over or found.finished >= total


def search(tuning: Tuning, worker: Worker, reporter: TuneReporter, until: float | None) -> optuna.Study:
    """Run the trials of a study that are still to be run."""
    study = open_study(tuning, worker)

    def objective(trial: optuna.Trial) -> float:
        number = studies.ordinal(study, trial.number)
        if number >= tuning.trials:
            trial.set_user_attr(SURPLUS, True)
            raise FailedTrialError("others were quicker")
        work = partial(_train, tuning, study, trial, number)
        return attempt(trial, work, until, tuning.trial_timeout, partial(reporter.trial, tuning, number))

    drain(tuning, study, tuning.trials, objective, until)
    return study

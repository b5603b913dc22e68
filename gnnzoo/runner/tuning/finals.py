"""The finalists: the best of a search and the shipped configuration, trained anew on all splits before one is named."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import yaml
from optuna.trial import TrialState

import gnnzoo
from gnnzoo.atomic import write_text
from gnnzoo.cards import METRICS
from gnnzoo.errors import GnnzooError
from gnnzoo.leaderboard.stats import Paired, paired_test
from gnnzoo.runner.cell import load_sealed
from gnnzoo.runner.config import Config
from gnnzoo.runner.hardware import commit, processor
from gnnzoo.runner.tuning import studies
from gnnzoo.runner.tuning.search import Clock, FailedTrialError, Outcome, attempt, drain, open_study, train_blind
from gnnzoo.runner.tuning.space import tidy
from gnnzoo.runner.tuning.studies import OUTCOME, SURPLUS, Tally, Worker, quiet, tally

if TYPE_CHECKING:
    from gnnzoo.runner.tune import TuneReporter, Tuning

__all__ = ["Finalist", "TuneResult", "conclude", "finals", "source", "written"]

FINAL_SEED = 2_000_000
"""Finalists are trained with the seeds from here on: the search has seen none of them, and records have others."""


@dataclass
class Finalist:
    """A configuration that may be named, with its validation metric by split and seed."""

    trial: int
    """0 is the shipped configuration."""
    config: Config
    searched: float | None
    """The mean of the search, over its splits."""
    values: dict[tuple[int, int], float] = field(default_factory=dict)
    reason: str = ""
    """Why it cannot be named."""

    @property
    def mean(self) -> float:
        """Over all splits and seeds."""
        return float(np.mean(list(self.values.values())))

    def units(self, several: bool) -> dict[str, float]:
        """Return the metric by split, seeds averaged; of one split, by seed."""
        found: dict[str, list[float]] = {}
        for (split, seed), value in self.values.items():
            found.setdefault(str(split if several else seed), []).append(value)
        return {unit: float(np.mean(values)) for unit, values in found.items()}


@dataclass
class TuneResult:
    """What a study found."""

    tuning: Tuning
    best: Config
    """The one that was named; it may be the shipped one."""
    finalists: list[Finalist]
    """The named one first, the others by their means; those that failed come last."""
    difference: Paired | None
    """Validation metric of the named one minus that of the shipped one, paired over all splits; None: that failed."""
    trials: int
    """Tried by the search."""
    complete: int
    pruned: int
    failures: dict[int, str]
    """By trial, the reason."""
    seconds: float
    cpu_seconds: float
    """Of all trials and finalists."""
    path: Path
    """``best.yaml``, which ``gnnzoo run config=`` takes."""

    @property
    def tuned(self) -> Config:
        """The named configuration with what its records say of where it is from; of the shipped one, nothing."""
        if not self.improved:
            return self.best
        return replace(self.best, tuned={"source": source(self.tuning), "trials": self.trials})

    @property
    def improved(self) -> bool:
        """Whether another than the shipped configuration was named."""
        return self.finalists[0].trial > 0


def _candidates(tuning: Tuning, found: Tally) -> list[Finalist]:
    """Return the shipped configuration and the best others of a search."""
    complete = [(n, t) for n, t in enumerate(found.trials) if t.state == TrialState.COMPLETE]
    if not complete:
        reasons = list(dict.fromkeys(filter(None, map(studies.reason, found.trials))))
        why = f"; {'; '.join(reasons[:3])}" if reasons else ""
        raise GnnzooError(f"study {tuning.name}: none of {found.finished} trials completed{why}")
    sign = -1 if METRICS[tuning.metric].higher_is_better else 1
    best: dict[str, Finalist] = {}
    for number, trial in sorted(complete, key=lambda item: (sign * (item[1].value or 0.0), item[0])):
        params = {key: tidy(domain, trial.params[key]) for key, domain in tuning.space.items()}
        config = tuning.config(params) if number else tuning.base
        if config.hash != tuning.base.hash:
            best.setdefault(config.hash, Finalist(number, config, trial.value))
    first = found.trials[0]
    shipped = Finalist(0, tuning.base, first.value if first.state == TrialState.COMPLETE else None)
    return [shipped, *list(best.values())[: tuning.finalists]]


def _cells(tuning: Tuning, candidates: list[Finalist]) -> list[tuple[Finalist, int, int]]:
    """Return what is trained, split by split, so that all come equally far."""
    seeds = [FINAL_SEED + 1000 * tuning.seed + number for number in range(tuning.seeds)]
    return [(c, split, seed) for seed in seeds for split in range(tuning.count) for c in candidates]


def _part(tuning: Tuning, found: Tally) -> str:
    """Return the name of the finalists' study, in which a trial's number says what it trains."""
    return f".final-{found.finished}-{tuning.finalists}-{tuning.seeds}"


def _known(tuning: Tuning, study: optuna.Study) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return what finalists of this study have given before, when it had fewer trials."""
    found = {}
    for name in optuna.get_all_study_names(study._storage):
        if name.startswith(f"{tuning.name}.final-"):
            other = optuna.load_study(study_name=name, storage=study._storage)
            for trial in other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
                outcome = trial.user_attrs[OUTCOME]
                found[outcome["config"], *outcome["cell"]] = outcome
    return found


def finals(tuning: Tuning, worker: Worker, reporter: TuneReporter, search: optuna.Study) -> None:
    """Train what is still to be trained of the finalists."""
    with quiet():
        found = tally(search)
        candidates = _candidates(tuning, found)
        cells = _cells(tuning, candidates)
        study = open_study(tuning, worker, _part(tuning, found))
        known = _known(tuning, study)
        begun = bool(tally(study).trials)
    if not begun:
        reporter.finalists(tuning, candidates, len(cells))

    def work(cell: tuple[Finalist, int, int], outcome: Outcome, clock: Clock) -> float:
        finalist, split, seed = cell
        outcome.config, outcome.cell = finalist.config.hash, [split, seed]
        before = known.get((outcome.config, split, seed))
        if before is not None:
            outcome.values, outcome.epochs = before["values"], before["epochs"]
        else:
            value, epochs = train_blind(tuning, finalist.config, split, seed, lambda *_: clock.check())
            outcome.values, outcome.epochs = [value], [epochs]
        return outcome.values[0]

    def objective(trial: optuna.Trial) -> float:
        number = studies.ordinal(study, trial.number)
        if number >= len(cells):
            trial.set_user_attr(SURPLUS, True)
            raise FailedTrialError("others were quicker")
        tell = partial(reporter.final, tuning, cells[number], number + 1, len(cells))
        return attempt(trial, partial(work, cells[number]), None, tuning.trial_timeout, tell)

    drain(tuning, study, len(cells), objective)


def conclude(tuning: Tuning) -> TuneResult:
    """Name the best of the finalists, and write it to ``best.yaml`` and all that was found to ``summary.json``.

    Raises:
        GnnzooError: no trial completed, or no finalist did.
    """
    with quiet():
        search = open_study(tuning)
        found = tally(search)
        candidates = _candidates(tuning, found)
        study = open_study(tuning, None, _part(tuning, found))
        trained = tally(study).trials
    for (finalist, split, seed), trial in zip(_cells(tuning, candidates), trained, strict=False):
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            finalist.values[split, seed] = trial.value
        elif not finalist.reason:
            finalist.reason = f"split {split}: {studies.reason(trial) or 'not trained'}"
    sign = 1 if METRICS[tuning.metric].higher_is_better else -1
    # of equally good ones the shipped one, else the one that was better in the search
    order = {id(finalist): number for number, finalist in enumerate(candidates)}
    whole = sorted((f for f in candidates if not f.reason), key=lambda f: (-sign * f.mean, order[id(f)]))
    if not whole:
        raise GnnzooError(f"study {tuning.name}: no finalist could be trained on all splits: {candidates[0].reason}")
    shipped = candidates[0]
    outcomes = [t.user_attrs.get(OUTCOME) or {} for t in [*search.get_trials(deepcopy=False), *study.get_trials()]]
    result = TuneResult(
        tuning=tuning,
        best=whole[0].config,
        finalists=[*whole, *(f for f in candidates if f.reason)],
        difference=None if shipped.reason else _difference(tuning, whole[0], shipped),
        trials=found.finished,
        complete=len(found.of(TrialState.COMPLETE)),
        pruned=len(found.of(TrialState.PRUNED)),
        failures={n: text for n, t in enumerate(found.trials) if (text := studies.reason(t))},
        seconds=sum(outcome.get("seconds", 0.0) for outcome in outcomes),
        cpu_seconds=sum(outcome.get("cpu_seconds", 0.0) for outcome in outcomes),
        path=tuning.folder / "best.yaml",
    )
    write_text(tuning.folder / "summary.json", json.dumps(_summary(result), indent=1) + "\n")
    write_text(result.path, _yaml(result))
    return result


def _difference(tuning: Tuning, best: Finalist, shipped: Finalist) -> Paired | None:
    several = tuning.count > 1
    (split,) = load_sealed(tuning.base, tuning.execution.root)[0].splits
    ratio = len(split.val) / len(split.train) if several else None
    return paired_test(best.units(several), shipped.units(several), ratio)


def source(tuning: Tuning) -> str:
    """Return what a card or a record says of where a configuration is from."""
    return f"tuned here, study {tuning.name}"


def _yaml(result: TuneResult) -> str:
    tuning, stored = result.tuning, result.best.to_dict()
    if result.tuned.tuned is not None:
        stored["tuned"] = {**result.tuned.tuned, "config": result.best.hash}
    head = (
        f"# study {tuning.name}: the best of {result.trials} trials by the validation {tuning.metric} of its finalists"
        + ("" if result.improved else ", which is the shipped configuration")
        + f"\n# gnnzoo run config={result.path}\n"
    )
    return head + yaml.safe_dump(stored, sort_keys=False)


def _summary(result: TuneResult) -> dict[str, Any]:
    tuning = result.tuning
    return {
        "study": tuning.name,
        **tuning.identity(),
        "trials": {
            "tried": result.trials,
            "complete": result.complete,
            "pruned": result.pruned,
            "failed": {str(number): text for number, text in result.failures.items()},
        },
        "best": {"trial": result.finalists[0].trial, "config": result.best.hash, "is_shipped": not result.improved},
        "difference": None if result.difference is None else vars(result.difference),
        "finalists": [written(finalist) for finalist in result.finalists],
        "budget": {"seconds": round(result.seconds, 1), "cpu_seconds": round(result.cpu_seconds, 1)},
        "made_with": {
            "gnnzoo": gnnzoo.__version__,
            "commit": commit(),
            "optuna": optuna.__version__,
            "processor": processor(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    }


def written(finalist: Finalist) -> Mapping[str, Any]:
    """Return a finalist as ``summary.json`` has it."""
    seeds = sorted({seed for _, seed in finalist.values})
    return {
        "trial": finalist.trial,
        "config": finalist.config.hash,
        "searched": finalist.searched,
        "validation": {s: {str(p): v for (p, seed), v in sorted(finalist.values.items()) if seed == s} for s in seeds},
        "mean": finalist.mean if finalist.values and not finalist.reason else None,
        "reason": finalist.reason or None,
    }

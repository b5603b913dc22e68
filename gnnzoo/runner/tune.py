"""``tune``: search for a configuration without ever seeing a test row, in a study that any number of workers share.

The shipped configuration is trial 0. Trials are trained on some of the splits; the best of them and the shipped one are
trained anew, with other seeds, on all of them, and one is named by its validation metric. It goes to ``best.yaml``,
which ``gnnzoo run config=`` takes: only there the test metric is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from gnnzoo.cards import Domain
from gnnzoo.errors import ConfigError, closest
from gnnzoo.places import data_roots
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES
from gnnzoo.runner.bench import seconds
from gnnzoo.runner.config import SECTIONS, Config, flatten, load_choices, resolve
from gnnzoo.runner.planning import Execution, check_workers, plan, positive

if TYPE_CHECKING:
    import optuna

    from gnnzoo.runner.tuning.finals import Finalist, TuneResult
    from gnnzoo.runner.tuning.search import Outcome

__all__ = ["KEYS", "TuneReporter", "Tuning", "execute", "prepare", "tune"]

Sampler = Literal["tpe", "random", "gp", "grid"]
Pruner = Literal["median", "hyperband", "none"]

OWN = ("trials", "timeout", "trial_timeout", "sampler", "pruner", "finalists", "seed", "study", "studies", "storage")
"""Keys that only a study has."""

KEYS = (
    *OWN,
    *("model", "dataset", "protocol", "strategy", "suite", "splits", "seeds", "jobs", "threads", "device", "config"),
    "root",
)
"""All keys without a dot."""

_SPLITS = 3
"""A search trains on the first so many splits, unless it is told otherwise."""

_SEEDS = 5
"""Finalists are trained with so many seeds where there is one split alone."""

_GRID = 100_000
"""Points of a grid, at most."""


@dataclass(frozen=True)
class Tuning:
    """What a study is, and what this call does for it; it travels to workers."""

    name: str
    folder: Path
    """``<studies>/<name>``: the journal, ``best.yaml``, ``summary.json``, plots."""
    storage: str | None
    """A database's address; None: the journal."""
    base: Config
    """The shipped configuration, with what was set on the command line."""
    layers: list[tuple[str, dict[str, Any]]]
    suite: str | None
    stored: dict[str, Any] | None
    space: dict[str, Domain]
    start: dict[str, Any]
    """The shipped configuration's place in the space."""
    metric: str
    splits: tuple[int, ...]
    """Those of the search."""
    count: int
    """How many the protocol has: all of them are the finalists'."""
    seed: int
    seeds: int
    """Of the finalists."""
    finalists: int
    trials: int
    timeout: float | None
    trial_timeout: float | None
    sampler: str
    pruner: str
    execution: Execution
    jobs: int
    notes: list[str] = field(default_factory=list)

    def config(self, params: Mapping[str, Any]) -> Config:
        """Return the configuration of a trial.

        Raises:
            ConfigError: the values do not go together.
        """
        base, layers = self.base, [*self.layers, (f"study {self.name}", dict(params))]
        names = (base.model, base.dataset, base.protocol, base.strategy)
        return resolve(*names, self.suite, layers, stored=self.stored)

    def identity(self) -> dict[str, Any]:
        """Return all that the trials depend on: two studies that agree in it have the same trials."""
        base = self.base
        return {
            "model": base.model,
            "strategy": base.strategy,
            "benchmark": base.benchmark,
            "shipped": base.hash,
            "metric": self.metric,
            "space": {key: domain.model_dump(exclude_defaults=True) for key, domain in self.space.items()},
            "splits": list(self.splits),
            "seed": self.seed,
            "sampler": self.sampler,
            "pruner": self.pruner,
        }


class TuneReporter:
    """Hears what happens in a study; this one says nothing. It travels to workers."""

    def begin(self, tuning: Tuning, done: int) -> None:
        """So many trials have ended already."""

    def trial(self, tuning: Tuning, number: int, outcome: Outcome, state: str) -> None:
        """A trial ended: ``complete``, ``pruned`` or ``failed``."""

    def finalists(self, tuning: Tuning, candidates: list[Finalist], cells: int) -> None:
        """The search is over; these are trained on all splits."""

    def final(
        self, tuning: Tuning, cell: tuple[Finalist, int, int], number: int, total: int, outcome: Outcome, state: str
    ) -> None:
        """A finalist was trained on a split."""

    def again(self, tuning: Tuning) -> None:
        """A worker was killed; another takes its place."""


def tune(
    model: str | None = None,
    dataset: Any = None,
    *,
    trials: int = 100,
    timeout: str | float | None = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = "median",
    settings: Mapping[str, Any] | None = None,
    reporter: TuneReporter | None = None,
    **choices: Any,
) -> TuneResult:
    """Search for a better configuration of a model on a benchmark; called again, a study goes on where it was.

    Args:
        model: a registered name.
        dataset: a registered name or ``dataset@protocol``; or own data.
        trials: how many configurations the study tries, those of earlier calls and other workers included.
        timeout: of the search of this call, as ``"3h"`` or in seconds; the finalists come after it.
        sampler: ``tpe``, ``random``, ``gp`` (Gaussian process) or ``grid``.
        pruner: ``median``, ``hyperband`` or ``none``.
        settings: what is fixed and not searched: ``{"train.lr": 0.01}``.
        reporter: hears what happens; default: nobody.
        **choices: as on the command line: ``trial_timeout, finalists, seed, study, studies, storage, protocol,
            strategy, suite, splits, seeds, jobs, threads, device, config, root``.

    Returns:
        The named configuration, the finalists and the difference to the shipped one.

    Raises:
        GnnzooError: bad input (before anything is touched), data that are missing, no trial that completed.
        Interrupted: Ctrl-C; the same call goes on from there.

    Example:
        >>> result = tune("sheaf", "texas", trials=40, jobs=2)
        >>> result.best.hash, result.difference, result.path
    """
    from gnnzoo.datasets.own import name_of

    named = {"model": model, "dataset": name_of(dataset), "trials": trials, "timeout": timeout}
    named |= {"sampler": sampler, "pruner": pruner, **choices}
    given = {key: value for key, value in named.items() if value is not None}
    given |= {key: value for key, value in flatten(settings or {}) if value != {}}
    tuning = prepare(given)
    assert tuning is not None
    return execute(tuning, reporter or TuneReporter())


# --- what is asked ----------------------------------------------------------------------------------------------------


def _choice(values: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = str(values.get(key, choices[0])).lower()
    if value not in choices:
        raise ConfigError(f"{key}={values[key]}{closest(value, choices)}")
    return value


def _check_keys(values: Mapping[str, Any]) -> None:
    for key in values:
        section, dot, _ = key.partition(".")
        if key in ("results", "save", "curves", "checkpoint"):
            raise ConfigError(
                f"{key}= is for gnnzoo run: a study keeps what it finds in studies=, see gnnzoo tune --help"
            )
        if key not in KEYS and not (dot and section in SECTIONS) and key not in SECTIONS:
            known = [*KEYS, *(f"{section}." for section in SECTIONS)]
            raise ConfigError(f"unknown key {key}{closest(key, known)}")


def _name(values: Mapping[str, Any]) -> str | None:
    if "study" not in values:
        return None
    name = str(values["study"])
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+@-]{0,99}", name):
        raise ConfigError(f"study={name}: a name of letters, digits and -_.+@")
    return name


def prepare(values: Mapping[str, Any], signatures: bool = True) -> Tuning | None:
    """Check everything that was asked for, before any data is touched and anything is written.

    Args:
        values: choices and settings as on the command line.
        signatures: False: only check what can be checked without torch, and return None.

    Raises:
        ConfigError: something cannot be, with the nearest valid choice.
    """
    values = dict(values)
    _check_keys(values)
    for key in ("model", "dataset"):
        if key not in values and "config" not in values:
            raise ConfigError(f"{key}= is missing: gnnzoo tune model=sheaf dataset=texas")
    own = {key: values.pop(key) for key in OWN if key in values}
    trials = positive(own.get("trials", 100), "trials", 100_000)
    sampler, pruner = _choice(own, "sampler", get_args(Sampler)), _choice(own, "pruner", get_args(Pruner))
    finalists = positive(own.get("finalists", 3), "finalists", 100)
    seed = own.get("seed", 0)
    if not str(seed).isdecimal() or int(seed) >= 1000:
        raise ConfigError(f"seed={seed}: a whole number from 0 to 999")
    times = {key: seconds(own[key], key) for key in ("timeout", "trial_timeout") if key in own}
    name, studies = _name(own), own.get("studies", "studies")
    if not isinstance(studies, str | os.PathLike):
        raise ConfigError(f"studies={studies}: a folder")
    storage = own.get("storage")
    if storage is not None and not re.match(r"\w+(\+\w+)?://", str(storage)):
        raise ConfigError(f"storage={storage}: sqlite:///file.db or postgresql://user@host/database")
    work = plan(values, signatures)
    if len(work.configs) != 1:
        found = ", ".join(f"{c.model} on {c.benchmark}" for c in work.configs[:4])
        raise ConfigError(f"a study tunes one model on one benchmark, this is {len(work.configs)}: {found}")
    base = work.configs[0]
    protocol = DATASETS.card(base.dataset).protocols[base.protocol]
    if protocol.selection == "on-test":
        raise ConfigError(
            f"{base.benchmark} selects on test, so that tuning would be done on test: choose a protocol "
            f"that selects on validation"
        )
    request = load_choices(values)
    splits = sorted({cell.split for cell in work.cells})
    if request.choices.get("splits") is None:
        splits = splits[:_SPLITS]
    seeds = request.choices.get("seeds", protocol.seeds if protocol.splits > 1 else max(protocol.seeds, _SEEDS))
    seeds = positive(seeds, "seeds", 1000)
    fixed = request.layers[-1][1]
    domains = {**MODELS.card(base.model).search, **STRATEGIES.card(base.strategy).search}
    domains = {key: domain for key, domain in domains.items() if key not in fixed}
    if not domains:
        raise ConfigError(
            f"model {base.model} has nothing to search: its card has no search space, or all of it is set"
        )
    data_roots(work.execution.root)
    if not signatures:
        return None
    if work.jobs > 1:
        check_workers([base])
    tuning = Tuning(
        name=name or "",
        folder=Path(studies),
        storage=None if storage is None else str(storage),
        base=base,
        layers=request.layers,
        suite=request.choices.get("suite"),
        stored=request.stored,
        metric=protocol.metric,
        splits=tuple(splits),
        count=protocol.splits,
        seed=int(seed),
        seeds=seeds,
        finalists=finalists,
        trials=trials,
        timeout=times.get("timeout"),
        trial_timeout=times.get("trial_timeout"),
        sampler=sampler,
        pruner=pruner,
        execution=work.execution,
        jobs=work.jobs,
        notes=[*work.notes, *base.notes],
        **_space(base, domains),
    )
    return _with_grid(_with_name(tuning))


def _space(base: Config, domains: Mapping[str, Domain]) -> dict[str, Any]:
    from gnnzoo.runner.tuning.space import nearest, shipped_value, widen

    shipped = {key: shipped_value(base, key) for key in domains}
    space = {key: widen(domain, shipped[key]) for key, domain in domains.items()}
    return {"space": space, "start": {key: nearest(domain, shipped[key]) for key, domain in space.items()}}


def _with_name(tuning: Tuning) -> Tuning:
    """Give a study a name that says what it is about, and that no other study has."""
    name = tuning.name
    if not name:
        text = json.dumps(tuning.identity(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        name = f"{tuning.base.model}-{DATASETS.label(tuning.base.dataset)}-{digest}"
    return replace(tuning, name=name, folder=tuning.folder / name)


def _with_grid(tuning: Tuning) -> Tuning:
    if tuning.sampler != "grid":
        return tuning
    from gnnzoo.runner.tuning.space import grid_size

    size = grid_size(tuning.space)
    if size > _GRID:
        raise ConfigError(
            f"sampler=grid: the grid of {len(tuning.space)} keys has {size:,} points; fix some of them "
            f"({', '.join(list(tuning.space)[:3])}, ...), or choose another sampler"
        )
    return replace(tuning, trials=min(tuning.trials, size + 1))  # one more: the shipped configuration


# --- what is done -----------------------------------------------------------------------------------------------------


def execute(tuning: Tuning, reporter: TuneReporter, until: float | None = None) -> TuneResult:
    """Run a study; see :func:`tune`.

    Args:
        tuning: what :func:`prepare` returned.
        reporter: hears what happens.
        until: the ``time.time()`` at which it is interrupted, whatever has been done by then.
    """
    from gnnzoo.runner.cell import load_sealed
    from gnnzoo.runner.checkpoint import graceful_stop, request_stop
    from gnnzoo.runner.grid import Workers, deterministic, torch_threads
    from gnnzoo.runner.hardware import pick_device
    from gnnzoo.runner.tuning.finals import conclude
    from gnnzoo.runner.tuning.studies import failing, tally

    execution = replace(tuning.execution, device=str(pick_device(tuning.execution.device)))
    tuning = replace(tuning, execution=execution)
    load_sealed(tuning.base, tuning.execution.root)  # what is wrong with the data is said before anything is written
    deadline = time.time() + tuning.timeout if tuning.timeout is not None else None
    stopper = None if until is None else threading.Timer(max(until - time.time(), 0.0), request_stop)
    with (
        failing(tuning.folder, tuning.storage),
        graceful_stop(),
        torch_threads(execution.threads),
        deterministic(execution.device),
    ):
        reporter.begin(tuning, tally(_opened(tuning)).finished)
        try:
            if stopper is not None:
                stopper.start()
            if tuning.jobs == 1:
                _work(tuning, reporter, deadline)
            else:
                calls = _Calls(tuning, reporter, deadline)
                with Workers(tuning.jobs, execution.threads) as workers:
                    for _, outcome in workers.outcomes(iter(calls)):
                        calls.take(outcome)
        finally:
            if stopper is not None:
                stopper.cancel()
        return conclude(tuning)


def _opened(tuning: Tuning) -> optuna.Study:
    """Open the study and see to it that it is about what was asked.

    Raises:
        ConfigError: a study of this name is about something else.
    """
    from gnnzoo.runner.cell import load_sealed
    from gnnzoo.runner.tuning.search import open_study
    from gnnzoo.runner.tuning.studies import describe

    study = open_study(tuning)
    data = load_sealed(tuning.base, tuning.execution.root)[0].digest
    asked = {**json.loads(json.dumps(tuning.identity())), "data": data}
    kept = study.user_attrs.get("identity")
    if kept is None:
        study.set_user_attr("identity", asked)
    elif kept != asked:
        key = next(key for key in asked if kept.get(key) != asked[key])
        what = "other data" if key == "data" else f"{key} {kept.get(key)}, now it is {asked[key]}"
        raise ConfigError(f"study {tuning.name} was begun with {what}: give this one another name with study=")
    describe(tuning, asked)
    return study


def _work(tuning: Tuning, reporter: TuneReporter, deadline: float | None) -> None:
    """Do as much of a study as there is to do, together with others."""
    from gnnzoo.runner.tuning.finals import finals
    from gnnzoo.runner.tuning.search import search
    from gnnzoo.runner.tuning.studies import Worker, failing

    with failing(tuning.folder, tuning.storage), Worker(tuning.folder) as worker:
        finals(tuning, worker, reporter, search(tuning, worker, reporter, deadline))


def _work_in_worker(tuning: Tuning, reporter: TuneReporter, deadline: float | None) -> None:
    from gnnzoo.runner.checkpoint import graceful_stop
    from gnnzoo.runner.grid import deterministic

    with graceful_stop(), deterministic(tuning.execution.device):
        _work(tuning, reporter, deadline)


class _Calls:
    """A call per worker; one that was killed is called again, as its trial was given out again or has failed."""

    def __init__(self, tuning: Tuning, reporter: TuneReporter, deadline: float | None) -> None:
        self._tuning, self._reporter = tuning, reporter
        self._arguments = tuning, reporter, deadline
        self._left, self._again = tuning.jobs, 3 * tuning.trials

    def __iter__(self) -> Iterator[Any]:
        while self._left:
            self._left -= 1
            yield self._left, _work_in_worker, self._arguments

    def take(self, outcome: Any) -> None:
        """Take what a worker returned or raised."""
        from gnnzoo.runner.grid import WorkerKilledError

        if isinstance(outcome, WorkerKilledError) and self._again:
            self._left, self._again = self._left + 1, self._again - 1
            self._reporter.again(self._tuning)
        elif isinstance(outcome, BaseException):
            raise outcome

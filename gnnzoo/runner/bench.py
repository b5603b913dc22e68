"""``bench``: a grid of models × benchmarks × splits × seeds within a budget of time.

What is recorded is not run again, what fails is written down and passed over, and every pair of a model and a benchmark
gets its first split before any gets its second, the cheapest first. A bench that was killed goes on when it is called
again: all that it knows is in the results folder.
"""

from __future__ import annotations

import datetime
import re
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gnnzoo
from gnnzoo.errors import ConfigError, GnnzooError, Interrupted, StorageError
from gnnzoo.leaderboard import Record, Store
from gnnzoo.places import data_roots, missing
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES
from gnnzoo.runner.config import Config, flatten, load_choices
from gnnzoo.runner.failures import Failed, Failure, Failures, reason_of
from gnnzoo.runner.planning import Cell, Execution, Plan, plan, positive
from gnnzoo.signature import validate

if TYPE_CHECKING:
    from gnnzoo.runner.grid import Call
    from gnnzoo.runner.tune import TuneReporter

__all__ = ["Bench", "BenchReporter", "BenchResult", "Left", "Pair", "bench", "execute", "measure", "prepare", "seconds"]

_UNITS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_SHARE = 0.1
"""Of the budget, what measuring on random graphs may take."""


def seconds(text: Any, key: str = "budget") -> float:
    """Read ``3h``, ``90min``, ``45s``, ``1.5h``, ``1h30min``; a number is one of seconds.

    Raises:
        ConfigError: it is no time, or none at all.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        total = float(text)
    else:
        parts = re.findall(r"(\d+\.?\d*|\.\d+)\s*([a-z]+)", str(text).strip().lower())
        whole = "".join(number + unit for number, unit in parts) == re.sub(r"\s", "", str(text).lower())
        if not parts or not whole or any(unit not in _UNITS for _, unit in parts):
            raise ConfigError(f"{key}={text}: a time such as 3h, 90min, 45s or 1.5h")
        total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < total < float("inf"):
        raise ConfigError(f"{key}={text}: more than no time")
    return total


@dataclass
class Pair:
    """A model on a benchmark: its cells that are still to be run, and what one of them is expected to take."""

    config: Config
    hash: str
    data: str
    """The digest of the data that the card states; empty where it states none."""
    todo: deque[tuple[int, Cell]] = field(default_factory=deque)
    """With the number of the round in which a cell's turn is."""
    base: float | None = None
    """Seconds of a cell's training that records or a measurement let expect."""
    measured: bool = False
    """The base is what it takes at most: one epoch on a random graph times all epochs."""
    reason: str = ""
    """Why there is no base."""
    seen: list[float] = field(default_factory=list)
    """Seconds that cells took in this call."""

    def failed(self, cell: Cell) -> Failed:
        """Return the identity of a failure."""
        config = self.config
        names = {"model": config.model, "strategy": config.strategy, "benchmark": config.benchmark}
        return Failed(**names, config=self.hash, data=self.data, split=cell.split, seed=cell.seed)


@dataclass
class Bench:
    """What a bench will do."""

    plan: Plan
    pairs: list[Pair]
    suite: str | None
    budget: float | None
    models: bool = False
    """Whether models were chosen, and not all of the suite."""
    records: list[Record] = field(default_factory=list)
    """What is recorded already."""
    failures: list[Failure] = field(default_factory=list)
    """Cells that failed before and are passed over."""
    absent: dict[str, int] = field(default_factory=dict)
    """Datasets whose files are not here, with the number of their cells."""
    pass_over: bool = True
    """Whether what failed before is not tried again."""
    studies: dict[str, Any] | None = None
    """Of ``tune=``: what every pair's study is asked for, until all pairs are tuned."""
    tuned: int | None = None
    """Of ``tune=``: the trials that every pair got."""
    folder: str = "studies"
    """Of their studies."""
    untuned: dict[tuple[str, str], str] = field(default_factory=dict)
    """Contenders and benchmarks whose study failed, with the reason: they are not run."""

    @property
    def todo(self) -> int:
        """How many cells are to be run."""
        return sum(len(pair.todo) for pair in self.pairs)


@dataclass(frozen=True)
class Left:
    """What is still to be done."""

    cells: int
    seconds: float
    """That they are expected to take, on all workers together; without those of which nothing is known."""
    unknown: int
    """Cells of which nothing is known."""
    at_most: bool
    """Some of the seconds are upper bounds."""
    done: int
    total: int


class BenchReporter:
    """Hears what happens in a bench; this one says nothing."""

    def planned(self, work: Bench) -> None:
        """What is recorded and what will be run is known; nothing has run."""

    def tuning(self, config: Config, number: int, total: int) -> TuneReporter:
        """A pair's study begins; return who hears of it."""
        from gnnzoo.runner.tune import TuneReporter

        return TuneReporter()

    def measuring(self, pairs: int) -> None:
        """So many pairs have no records and are measured on random graphs."""

    def expected(self, work: Bench, left: Left) -> None:
        """It is known what the cells will take, as far as that can be."""

    def done(self, cell: Cell, record: Record, trained: bool, left: Left) -> None:
        """A cell has its record: trained now, or by another process meanwhile."""

    def failed(self, cell: Cell, failure: Failure, left: Left) -> None:
        """A cell failed, which is written down."""

    def end(self) -> None:
        """Nothing follows."""


@dataclass
class BenchResult:
    """What a bench gave."""

    work: Bench
    records: list[Record]
    """All of the grid, old and new."""
    trained: int
    failures: list[Failure]
    """Of this call."""
    left: Left
    cells: int = 0
    """Of the grid, those without files included."""
    stopped: bool = False
    """Whether the budget ended it."""


def bench(
    suite: str | None = None,
    *,
    models: str | Sequence[str] | None = None,
    datasets: str | Sequence[str] | None = None,
    budget: str | float | None = None,
    retry: str | None = None,
    tune: int | None = None,
    settings: Mapping[str, Any] | None = None,
    reporter: BenchReporter | None = None,
    **choices: Any,
) -> BenchResult:
    """Run a grid of models × benchmarks × splits × seeds, as much of it as fits into a budget of time.

    What has a record is not run again; what was interrupted goes on; what fails is written to ``<results>/failures``
    with its reason and is not tried again by the same version of the code. Cells run in processes of their own (models
    and datasets that were registered in this process alone: here, in turn).

    Args:
        suite: a registered suite.
        models: names or globs; default: the suite's, else all that fit.
        datasets: names, ``dataset@protocol`` or globs; of a suite: those of its benchmarks; default: all of them.
        budget: ``"3h"``, ``"90min"``, or seconds: no cell begins that is not expected to fit, and at its end what runs
            saves its state and stops.
        retry: ``"failed"``: also run what failed before.
        tune: before it is run, every model gets a study of so many trials on every benchmark, and what that names is
            run; ``studies``, ``sampler``, ``pruner``, ``finalists``, ``trial_timeout`` are as for :func:`gnnzoo.tune`.
        settings: ``{"train.epochs": 50}``, dotted or nested.
        reporter: hears what happens; default: nobody.
        **choices: as on the command line: ``protocol, strategy, splits, seeds, jobs, threads, device, config, results,
            root, checkpoint``.

    Returns:
        Records, failures, and what is left.

    Raises:
        GnnzooError: bad input, before anything is touched; results that cannot be written.
        Interrupted: Ctrl-C; the same call goes on from there.

    Example:
        >>> result = bench("heterophilic", models=["gcn", "mlp"], jobs=2, budget="3h")
        >>> len(result.records), result.failures, result.left
    """
    named = {"suite": suite, "models": models, "datasets": datasets, "budget": budget, "retry": retry}
    named |= {"tune": tune, **choices}
    given = {key: value for key, value in named.items() if value is not None}
    given |= {key: value for key, value in flatten(settings or {}) if value != {}}
    return execute(prepare(given), reporter or BenchReporter())


def prepare(values: Mapping[str, Any], signatures: bool = True) -> Bench:
    """Check everything that was asked for and say what will run, before any data is touched.

    Args:
        values: choices and settings as on the command line.
        signatures: see :func:`gnnzoo.runner.planning.plan`; without, it is only checked, and nothing is looked up.

    Raises:
        ConfigError: something cannot be, with the nearest valid choice.
    """
    from gnnzoo.runner.tune import prepare as prepare_study  # which knows this module

    values = dict(values)
    budget = seconds(values.pop("budget")) if "budget" in values else None
    retry = values.pop("retry", None)
    if retry not in (None, "failed"):
        raise ConfigError(f"retry={retry}: the only choice is retry=failed, which runs what failed before")
    studies = {key: values.pop(key) for key in _OF_STUDIES if key in values}
    if studies and "tune" not in studies:
        raise ConfigError(f"{next(iter(studies))}= is for tune=: the number of trials that every model gets")
    for many, one in (("models", "model"), ("datasets", "dataset")):
        if many in values:
            if one in values:
                raise ConfigError(f"{many}= and {one}= are given, and mean the same")
            values[one] = values.pop(many)
    for key in ("save", "curves"):
        if key in values:
            raise ConfigError(f"{key}= is for gnnzoo run: a bench keeps every model in its results folder")
    if not {"suite", "dataset", "config"} & values.keys():
        raise ConfigError("suite= or datasets= is missing; gnnzoo list suites and gnnzoo data list show the choices")
    if not {"suite", "model", "config"} & values.keys():
        values["model"] = "*"
    work = plan(values, signatures, empty=True)
    choices = load_choices(values).choices
    found = Bench(work, [], choices.get("suite"), budget, bool(choices.get("model")), pass_over=retry is None)
    if studies:
        found.tuned = positive(studies["tune"], "tune", 100_000)
        found.studies = {key: value for key, value in studies.items() if key != "tune"} | {"trials": found.tuned}
        found.studies |= {key: value for key, value in values.items() if key not in _OF_RUNS}
        found.folder = str(studies.get("studies", found.folder))
        for config in work.configs:
            prepare_study(found.studies | _pair(config), signatures=False)
    elif signatures:
        _look_up(found)
    return found


_OF_STUDIES = ("tune", "studies", "storage", "sampler", "pruner", "finalists", "trial_timeout")
"""Keys that say how every pair is tuned."""

_OF_RUNS = ("model", "dataset", "protocol", "strategy", "splits", "seeds", "results", "checkpoint")
"""Keys that studies do not share with the runs that follow them."""


def _pair(config: Config) -> dict[str, Any]:
    return {"model": config.model, "dataset": f"{config.dataset}@{config.protocol}", "strategy": config.strategy}


def _tune_all(work: Bench, reporter: BenchReporter, until: float | None) -> bool:
    """Tune every pair whose data are here, and put what was found in the place of the shipped configurations.

    Returns:
        False where the budget ended it.
    """
    from gnnzoo.runner import tune

    assert work.studies is not None
    roots = data_roots(work.plan.execution.root)
    waiting = [c for c in work.plan.configs if not missing(DATASETS.card(c.dataset), roots)]
    found: dict[int, Config] = {}
    whole = True
    for number, config in enumerate(sorted(waiting, key=_size), start=1):
        try:
            if until is not None and time.time() >= until:
                raise Interrupted("the budget has ended")
            tuning = tune.prepare(work.studies | _pair(config))
            assert tuning is not None
            result = tune.execute(tuning, reporter.tuning(config, number, len(waiting)), until)
            found[id(config)] = result.tuned
        except Interrupted:
            if until is None or time.time() < until:
                raise
            whole = False
            break
        except StorageError:
            raise
        except GnnzooError as error:
            work.untuned[config.contender, config.benchmark] = str(error)
    cells = [
        replace(cell, config=found.get(id(cell.config), cell.config))
        for cell in work.plan.cells
        if (cell.config.contender, cell.config.benchmark) not in work.untuned
    ]
    configs = list({id(cell.config): cell.config for cell in cells}.values())
    work.plan = replace(work.plan, configs=configs, cells=cells)
    return whole


def _digest(config: Config) -> str:
    """Return the digest of the data that a configuration is about, where its card states one."""
    knobs = validate(DATASETS.get(DATASETS.card(config.dataset)), {}, "dataset", ("card", "protocol", "files"))
    if config.sections["dataset"] != knobs:
        return ""
    return DATASETS.card(config.dataset).protocols[config.protocol].digest


def _look_up(work: Bench) -> None:
    """Tell what is to be run from what is recorded, has failed or cannot be; loads no data."""
    execution = work.plan.execution
    store, failures = Store(execution.results), Failures(execution.results)
    roots = data_roots(execution.root)
    kind = _device(execution.device) == "cpu"
    for config in work.plan.configs:
        cells = [cell for cell in work.plan.cells if cell.config is config]
        pair = Pair(config, config.hash, _digest(config))
        records = list(store.read(store.path(config.benchmark, config.model)))
        own = {(r.key.split, r.key.seed): r for r in records if _is_of(r, pair)}
        known = {f.key: f for f in failures.read(config.benchmark, config.model) if work.pass_over and _is_ours(f)}
        card = DATASETS.card(config.dataset)
        absent = bool(missing(card, roots))
        for number, cell in enumerate(cells):
            if (record := own.get((cell.split, cell.seed))) is not None:
                work.records.append(record)
            elif absent:
                work.absent[card.name] = work.absent.get(card.name, 0) + 1
            elif (failure := known.get(pair.failed(cell))) is not None:
                work.failures.append(failure)
            else:
                pair.todo.append((number, cell))
        comparable = [r for r in records if (r.cost.device == "cpu") == kind]
        times = [r.cost.seconds for r in comparable if _is_of(r, pair)] or [r.cost.seconds for r in comparable]
        pair.base = statistics.fmean(times) if times else None
        work.pairs.append(pair)


def _is_of(record: Record, pair: Pair) -> bool:
    key = record.key
    same = (key.config, key.strategy) == (pair.hash, pair.config.strategy)
    return same and key.data == (pair.data or key.data)


def _is_ours(failure: Failure) -> bool:
    """Whether it is this code that failed; of a checkout with changed files nobody knows."""
    from gnnzoo.runner.hardware import commit

    here = commit()
    return (failure.version, failure.commit) == (gnnzoo.__version__, here) and not (here or "").endswith("+")


def _device(name: str) -> str:
    from gnnzoo.runner.hardware import pick_device

    return str(pick_device(name))


class _Clock:
    """What is expected of the cells that are left, from what those before them took."""

    def __init__(self, work: Bench, start: float) -> None:
        self.work, self.start = work, start
        self.until = start + work.budget if work.budget is not None else None
        self.running: dict[int, tuple[Pair, int, Cell, float]] = {}
        self.total = work.todo
        self.done = 0
        self._ratios: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        self._overheads: list[float] = []

    def learn(self, pair: Pair, took: float, training: float) -> None:
        """Take note of a cell: seconds in all, and of training."""
        pair.seen.append(took)
        self._overheads.append(max(took - training, 0.0))
        if pair.base:
            self._ratios[pair.measured].append((training, pair.base))

    def expect(self, pair: Pair) -> float | None:
        """Return the seconds that a cell will take."""
        if pair.seen:
            return statistics.fmean(pair.seen)
        if pair.base is None:
            return None
        ratios = self._ratios[pair.measured]
        factor = sum(took for took, _ in ratios) / sum(base for _, base in ratios) if ratios else 1.0
        return pair.base * factor + (statistics.fmean(self._overheads) if self._overheads else 0.0)

    def next(self) -> Pair | None:
        """Return the pair whose next cell comes next: of the earliest round the cheapest; None where nothing fits."""
        rest = float("inf") if self.until is None else self.until - time.monotonic()
        waiting = [(pair, self.expect(pair)) for pair in self.work.pairs if pair.todo]
        fitting = [(pair, cost) for pair, cost in waiting if rest > (cost or 0.0)]

        def order(item: tuple[Pair, float | None]) -> tuple[int, bool, float]:
            pair, cost = item
            return pair.todo[0][0], cost is None, _size(pair.config) if cost is None else cost

        return min(fitting, key=order)[0] if fitting else None

    def left(self) -> Left:
        """Return what is left, cells that run included."""
        known, unknown, at_most, cells = 0.0, 0, False, 0
        for pair in self.work.pairs:
            cells += len(pair.todo)
            cost = self.expect(pair)
            if cost is None:
                unknown += len(pair.todo)
            elif pair.todo:
                known += cost * len(pair.todo)
                at_most |= pair.measured and not pair.seen and not self._ratios[True]
        for pair, _, _, began in self.running.values():
            cells += 1
            cost = self.expect(pair)
            unknown += cost is None
            known += max((cost or 0.0) - (time.monotonic() - began), 0.0)
        jobs = max(min(self.work.plan.jobs, cells), 1)
        return Left(cells, known / jobs, unknown, at_most, self.done, self.total)


def _size(config: Config) -> float:
    """Return how much there is to compute with: what is not known at all begins with the smallest."""
    counts = DATASETS.card(config.dataset).counts
    return counts.nodes + counts.edges + (counts.incidences or 0)


def execute(work: Bench, reporter: BenchReporter) -> BenchResult:
    """Run a prepared bench; see :func:`bench`."""
    from gnnzoo.runner import grid
    from gnnzoo.runner.checkpoint import graceful_stop

    start = time.monotonic()
    execution = replace(work.plan.execution, device=_device(work.plan.execution.device))
    whole = True
    if work.studies is not None:
        whole = _tune_all(work, reporter, None if work.budget is None else time.time() + work.budget)
        work.studies = None
        _look_up(work)
    reporter.planned(work)
    clock = _Clock(work, start)
    result = BenchResult(work, list(work.records), 0, [], clock.left(), len(work.plan.cells))
    if not work.todo or not whole:  # what is tuned is compared with what is tuned alone
        reporter.end()
        result.stopped = not whole
        return result
    Store(execution.results).check_writable()
    here = _only_here(work)
    jobs = min(work.plan.jobs, work.todo)
    runner = _Here() if here else grid.Workers(jobs, execution.threads)
    try:
        with graceful_stop(), grid.torch_threads(execution.threads), grid.deterministic(execution.device), runner:
            _measure_all(work, execution, runner, reporter, clock)
            reporter.expected(work, clock.left())
            calls = _calls(clock, execution, _attempt_here if here else _attempt)
            for key, outcome in runner.outcomes(calls, clock.until):
                _take(clock, key, outcome, execution, result, reporter)
    finally:
        reporter.end()
    result.left = clock.left()
    result.stopped = result.left.cells > 0
    return result


def measure(work: Bench) -> Left:
    """Measure what has no records, in this process, and return what a bench is expected to take."""
    clock = _Clock(work, time.monotonic())
    _measure_all(work, work.plan.execution, _Here(), BenchReporter(), clock)
    return clock.left()


def _only_here(work: Bench) -> bool:
    """Whether something was registered in this process alone, so that workers do not have it."""
    names = [
        (registry, name)
        for pair in work.pairs
        for registry, name in (
            (MODELS, pair.config.model),
            (DATASETS, pair.config.dataset),
            (STRATEGIES, pair.config.strategy),
        )
    ]
    return any(registry.only_here(name) for registry, name in names)


class _Here:
    """Does calls in this process, in turn; to be used like :class:`gnnzoo.runner.grid.Workers`."""

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def outcomes(self, calls: Iterator[Call], until: float | None = None) -> Iterator[tuple[Any, Any]]:
        from gnnzoo.runner.checkpoint import stop_requested

        for key, function, arguments in calls:
            outcome: Any
            try:
                outcome = function(*arguments)
            except Exception as error:
                outcome = error
            if stop_requested():
                raise Interrupted("stopped")
            yield key, outcome
            if until is not None and time.monotonic() >= until:
                return


def _measure_all(work: Bench, execution: Execution, runner: Any, reporter: BenchReporter, clock: _Clock) -> None:
    """Measure pairs without records on random graphs, the smallest first."""
    unknown = sorted((p for p in work.pairs if p.todo and p.base is None), key=lambda p: _size(p.config))
    if not unknown:
        return
    reporter.measuring(len(unknown))
    calls = ((pair, _estimate, (pair.todo[0][1], execution)) for pair in unknown)
    until = None if work.budget is None else clock.start + _SHARE * work.budget
    for pair in unknown:
        pair.reason = "the budget leaves no time to measure it"
    for pair, outcome in runner.outcomes(_while(calls, until), clock.until):
        if isinstance(outcome, BaseException):
            pair.reason = reason_of(outcome)
        else:
            pair.base, pair.reason = outcome
            pair.measured = pair.base is not None


def _while(calls: Iterable[Call], until: float | None) -> Iterator[Call]:
    for call in calls:
        if until is not None and time.monotonic() >= until:
            return
        yield call


def _estimate(cell: Cell, execution: Execution) -> tuple[float | None, str]:
    """Return the seconds of a cell's training at most, or why they are not known."""
    from gnnzoo.runner.estimate import estimate

    found = estimate(Plan([cell.config], [cell], execution), cell.config)
    return found.seconds, found.reason


def _calls(clock: _Clock, execution: Execution, attempt: Callable[..., Any]) -> Iterator[Call]:
    """Yield cells as workers become free, each chosen by what is known at that time."""
    key = 0
    while (pair := clock.next()) is not None:
        number, cell = pair.todo.popleft()
        key += 1
        clock.running[key] = pair, number, cell, time.monotonic()
        yield key, attempt, (cell, execution, *((clock.until,) if attempt is _attempt_here else ()))


@dataclass
class _Reason:
    """Why a cell failed, as it travels from a worker: an exception of a plug-in may not travel at all."""

    text: str


def _guarded(cell: Cell, run: Callable[[], tuple[Record, bool]]) -> tuple[Record, bool, float] | _Reason:
    start = time.monotonic()
    try:
        record, trained = run()
    except (Interrupted, StorageError):
        raise
    except (Exception, SystemExit) as error:
        return _Reason(reason_of(error).removeprefix(f"{cell}: "))
    return record, trained, time.monotonic() - start


def _attempt(cell: Cell, execution: Execution) -> tuple[Record, bool, float] | _Reason:
    from gnnzoo.runner.grid import run_in_worker

    return _guarded(cell, lambda: run_in_worker(cell, execution))


def _attempt_here(cell: Cell, execution: Execution, until: float | None) -> tuple[Record, bool, float] | _Reason:
    from gnnzoo.runner.cell import run_cell

    def hear(epoch: int, row: Mapping[str, float]) -> None:
        if until is not None and time.monotonic() >= until:  # goes on from the state that was saved last
            raise Interrupted("stopped")

    return _guarded(cell, lambda: run_cell(cell, execution, hear))


def _take(
    clock: _Clock, key: int, outcome: Any, execution: Execution, result: BenchResult, reporter: BenchReporter
) -> None:
    """Take what came of a cell."""
    from gnnzoo.runner.grid import WorkerKilledError
    from gnnzoo.runner.hardware import commit

    pair, number, cell, _ = clock.running.pop(key)
    if isinstance(outcome, Interrupted):  # at the end of the budget: its state is saved
        pair.todo.appendleft((number, cell))
        return
    clock.done += 1
    if isinstance(outcome, tuple):
        record, trained, took = outcome
        result.records.append(record)
        result.trained += trained
        if trained:
            clock.learn(pair, took, record.cost.seconds)
        reporter.done(cell, record, trained, clock.left())
        return
    if isinstance(outcome, StorageError):
        Store(execution.results).check_writable()  # or else nothing can be recorded any more
    if isinstance(outcome, WorkerKilledError):
        reason = "its process was killed (out of memory?)"
    else:
        reason = outcome.text if isinstance(outcome, _Reason) else reason_of(outcome)
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    failure = Failure(key=pair.failed(cell), reason=reason, date=date, commit=commit(), version=gnnzoo.__version__)
    Failures(execution.results).append(failure)
    result.failures.append(failure)
    reporter.failed(cell, failure, clock.left())

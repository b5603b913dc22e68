"""``run``: models × benchmarks × splits × seeds, in this process or in workers, each cell at most once."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn

from gnnzoo.atomic import write_bytes
from gnnzoo.datasets.own import name_of
from gnnzoo.errors import GnnzooError, Interrupted
from gnnzoo.leaderboard import Record, Store, Summary, summarize
from gnnzoo.leaderboard.stats import mean_over_seeds
from gnnzoo.models.build import load_model
from gnnzoo.runner.cell import cell_key, load_prepared, retrain, run_cell
from gnnzoo.runner.checkpoint import graceful_stop, stop_requested
from gnnzoo.runner.config import Config, flatten
from gnnzoo.runner.hardware import pick_device
from gnnzoo.runner.planning import Cell, Execution, Plan, plan

__all__ = ["Call", "Reporter", "RunResult", "WorkerKilledError", "Workers", "execute", "run", "run_in_worker"]


class Reporter:
    """Hears what happens in a run; this one says nothing."""

    def begin(self, plan: Plan) -> None:
        """The plan is made; nothing has run."""

    def note(self, text: str) -> None:
        """Something a user should know."""

    def epoch(self, cell: Cell, epoch: int, row: Mapping[str, float]) -> None:
        """An epoch of a cell ended (only in this process, not in workers)."""

    def done(self, cell: Cell, record: Record, trained: bool) -> None:
        """A cell has its record: trained now, or found."""

    def end(self) -> None:
        """Nothing follows."""


@dataclass
class RunResult:
    """What a run gave: records, and models where they are asked for."""

    plan: Plan
    records: list[Record] = field(default_factory=list)

    def of(self, config: Config) -> list[Record]:
        """Return the records of one configuration."""
        return [r for r in self.records if r.key.config == config.hash]

    def summary(self, config: Config | None = None) -> Summary:
        """Return mean and interval of the test metric over splits, seeds averaged first."""
        records = self.of(config or self.plan.configs[0])
        return summarize(list(mean_over_seeds(records).values()))

    def work(self, cell: Cell) -> Path:
        """Return the folder with a cell's ``model.pt`` and ``history.json``."""
        execution = self.plan.execution
        return Store(execution.results).work(cell_key(cell, load_prepared(cell.config, execution.root)))

    def load(self, cell: Cell) -> nn.Module:
        """Return a cell's trained model; one that was recorded elsewhere is trained again, to the same weights."""
        path = self.work(cell) / "model.pt"
        if not path.exists():
            with torch_threads(self.plan.execution.threads):
                retrain(cell, self.plan.execution)
        return load_model(path)

    @cached_property
    def model(self) -> nn.Module:
        """The trained model of the first cell, in evaluation mode."""
        return self.load(self.plan.cells[0])

    def history(self, cell: Cell) -> list[dict[str, float]]:
        """Return a cell's learning curve, a row per epoch; empty where it was recorded elsewhere."""
        try:
            return json.loads((self.work(cell) / "history.json").read_text())
        except FileNotFoundError:
            return []


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[None]:
    """Ask CUDA for deterministic kernels; on CPU, kernels are deterministic for a given number of threads."""
    if not device.startswith("cuda"):
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def run(
    model: str | Sequence[str] | None = None,
    dataset: Any = None,
    *,
    settings: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    **choices: Any,
) -> RunResult:
    """Train models on benchmarks; what has a record is not run again, what was interrupted goes on.

    Args:
        model: a registered name, or several.
        dataset: a registered name, ``dataset@protocol``, or several; or own data: a path, a PyG data object, a list of
            graphs (see :mod:`gnnzoo.datasets.own`).
        settings: ``{"train.lr": 0.01, "model": {"hidden_channels": 32}}``, dotted or nested.
        reporter: hears what happens; default: nobody.
        **choices: as on the command line: ``protocol, strategy, suite, splits, seeds, jobs, threads, device, config,
            results, root, save, curves, checkpoint``.

    Returns:
        The records and, on demand, the trained models.

    Raises:
        GnnzooError: bad input (before anything is touched), data that are missing, results that cannot be written.
        Interrupted: Ctrl-C; the same call goes on from there.

    Example:
        >>> result = run("sheaf", "texas", splits=[0], settings={"train.lr": 0.01})
        >>> result.records[0].result.test["accuracy"], result.model
    """
    named = {"model": model, "dataset": name_of(dataset), **choices}
    given = {key: value for key, value in named.items() if value is not None}
    given |= {key: value for key, value in flatten(settings or {}) if value != {}}
    return execute(plan(given), reporter or Reporter())


def execute(work: Plan, reporter: Reporter) -> RunResult:
    """Run a plan; see :func:`run`."""
    execution = replace(work.execution, device=str(pick_device(work.execution.device)))
    for config in work.configs:  # what is wrong with the data is said before anything is written
        load_prepared(config, execution.root)
    Store(execution.results).check_writable()
    for note in dict.fromkeys([*work.notes, *(note for config in work.configs for note in config.notes)]):
        reporter.note(note)
    reporter.begin(work)
    found: dict[int, Record] = {}
    try:
        with graceful_stop(), torch_threads(execution.threads), deterministic(execution.device):
            source = _in_workers if work.jobs > 1 and len(work.cells) > 1 else _in_turn
            for index, record, trained in source(work, execution, reporter):
                found[index] = record
                reporter.done(work.cells[index], record, trained)
    finally:
        reporter.end()
    result = RunResult(work, [found[i] for i in range(len(work.cells))])
    if work.save:
        result.load(work.cells[0])
        write_bytes(work.save, (result.work(work.cells[0]) / "model.pt").read_bytes())
    if work.curves:
        from gnnzoo.runner.curves import draw_curves

        draw_curves(result, work.curves)
    return result


def _in_turn(work: Plan, execution: Execution, reporter: Reporter) -> Iterator[tuple[int, Record, bool]]:
    for index, cell in enumerate(work.cells):
        if stop_requested():
            raise Interrupted("stopped")

        def hear(epoch: int, row: Mapping[str, float], cell: Cell = cell) -> None:
            reporter.epoch(cell, epoch, row)

        record, trained = run_cell(cell, execution, hear)
        yield index, record, trained


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Let processes that start meanwhile never see a terminal's Ctrl-C, which goes to all: ours tells its workers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow_parent() -> None:
    """End this worker when its parent ends, also by SIGKILL."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


_no_more = threading.Event()
"""Set in a worker that was told to stop: the cells that are queued for it are not begun."""


def _start_worker(threads: int) -> None:
    torch.set_num_threads(threads)
    # between cells a worker may hold the queue's lock: one that died there would leave the others waiting for ever
    signal.signal(signal.SIGTERM, lambda *_: _no_more.set())
    threading.Thread(target=_follow_parent, daemon=True).start()


def run_in_worker(cell: Cell, execution: Execution) -> tuple[Record, bool]:
    """Do what :func:`run_cell` does in a worker process, which finishes the epoch and saves when it is told to stop."""
    with graceful_stop(), deterministic(execution.device):
        try:
            if _no_more.is_set():
                raise Interrupted("stopped")
            return run_cell(cell, execution)
        finally:
            if stop_requested():
                _no_more.set()


class WorkerKilledError(GnnzooError):
    """The process of a call was killed: by the system for want of memory, as a rule."""

    def __init__(self) -> None:
        super().__init__("a worker was killed (out of memory?); the same command goes on from there")


@dataclass
class _Worker:
    """A process, with an executor of its own, so that one that is killed takes no other along."""

    pool: ProcessPoolExecutor
    ready: Future[int]
    processes: set[BaseProcess]

    @classmethod
    def start(cls, threads: int) -> _Worker:
        """Start a process; that it runs is known when ``ready`` has a result."""
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start_worker, (threads,))
        others = set(multiprocessing.active_children())
        with _without_ctrl_c():
            ready = pool.submit(os.getpid)
        return cls(pool, ready, set(multiprocessing.active_children()) - others)


Call = tuple[Any, Callable[..., Any], tuple[Any, ...]]
"""A key, a function and its arguments."""


class Workers:
    """Processes that do one call at a time each. Where one is killed, the next call has a new one.

    Args:
        count: how many, at most.
        threads: of each.
    """

    grace = 60.0
    """Seconds that a call has to stop when it is told to, before it is killed: what is to be kept is on disk."""

    def __init__(self, count: int, threads: int) -> None:
        self._count, self._threads = count, threads
        self._idle: list[_Worker] = []
        self._busy: dict[Future[Any], tuple[_Worker, Any]] = {}

    def __enter__(self) -> Workers:
        return self

    def outcomes(self, calls: Iterator[Call], until: float | None = None) -> Iterator[tuple[Any, Any]]:
        """Yield the key of each call that has ended, and what it returned or raised.

        Args:
            calls: the next is taken when a worker is free.
            until: from this ``time.monotonic()`` on no call is taken, and those that run are told to stop.

        Raises:
            Interrupted: a stop was asked for.
            GnnzooError: a worker does not even start.
        """
        told = exhausted = False
        while True:
            while not exhausted and len(self._busy) < self._count:
                call = next(calls, None)
                exhausted = call is None
                if call is not None:
                    self._submit(*call)
            if not self._busy:
                return
            finished, _ = wait(self._busy, timeout=self._patience(until), return_when=FIRST_COMPLETED)
            for future in [future for future in self._busy if future in finished]:
                yield self._end(future, told)
            if stop_requested():
                raise Interrupted("stopped")
            if until is not None and time.monotonic() >= until:
                if not told:
                    told = exhausted = True
                    self._each(BaseProcess.terminate)
                elif time.monotonic() >= until + self.grace:
                    self._each(BaseProcess.kill)

    @staticmethod
    def _patience(until: float | None) -> float:
        rest = 0.5 if until is None else until - time.monotonic()
        return min(0.5, rest) if rest > 0 else 0.5

    def _submit(self, key: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        worker = self._idle.pop() if self._idle else _Worker.start(self._threads)
        try:
            future = worker.pool.submit(function, *arguments)
        except BrokenProcessPool:  # killed while it was idle
            worker = _Worker.start(self._threads)
            future = worker.pool.submit(function, *arguments)
        self._busy[future] = worker, key

    def _end(self, future: Future[Any], told: bool) -> tuple[Any, Any]:
        worker, key = self._busy.pop(future)
        outcome: Any
        try:
            outcome = future.result()
        except BrokenProcessPool:
            if told:
                outcome = Interrupted("stopped")
            elif worker.ready.exception() is not None:
                raise GnnzooError(
                    "a worker process ended while it started; a script that uses workers does so below "
                    "if __name__ == '__main__':"
                ) from None
            else:
                outcome = WorkerKilledError()
        except BaseException as error:
            outcome = error
        if isinstance(outcome, WorkerKilledError | Interrupted):  # one that was told to stop begins nothing any more
            worker.pool.shutdown(wait=False)
        else:
            self._idle.append(worker)
        return key, outcome

    def _each(self, action: Callable[[BaseProcess], None]) -> None:
        for process in [process for worker, _ in self._busy.values() for process in worker.processes]:
            action(process)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let what runs finish its epoch, save and stop."""
        workers = [*self._idle, *(worker for worker, _ in self._busy.values())]
        try:
            if self._busy:
                self._each(BaseProcess.terminate)
                wait(self._busy)
        finally:
            if kind is not None:  # what is to be kept is on disk, but after a second Ctrl-C
                for process in [process for worker in workers for process in worker.processes]:
                    process.kill()
            for worker in workers:
                worker.pool.shutdown(wait=True, cancel_futures=True)


def _in_workers(work: Plan, execution: Execution, reporter: Reporter) -> Iterator[tuple[int, Record, bool]]:
    """Run cells in worker processes; results are those of the same cells run in turn."""
    calls = ((index, run_in_worker, (cell, execution)) for index, cell in enumerate(work.cells))
    with Workers(min(work.jobs, len(work.cells)), execution.threads) as workers:
        for index, outcome in workers.outcomes(calls):
            if isinstance(outcome, BaseException):
                raise outcome
            yield index, *outcome

"""``run``: models × benchmarks × splits × seeds, in this process or in workers, each cell at most once."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing import connection
from pathlib import Path
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

__all__ = ["Reporter", "RunResult", "execute", "run"]


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
            with _threads(self.plan.execution.threads):
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
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _deterministic(device: str) -> Iterator[None]:
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
    for note in dict.fromkeys(note for config in work.configs for note in config.notes):
        reporter.note(note)
    reporter.begin(work)
    found: dict[int, Record] = {}
    try:
        with graceful_stop(), _threads(execution.threads), _deterministic(execution.device):
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


def _work(cell: Cell, execution: Execution) -> tuple[Record, bool]:
    with graceful_stop(), _deterministic(execution.device):
        try:
            if _no_more.is_set():
                raise Interrupted("stopped")
            return run_cell(cell, execution)
        finally:
            if stop_requested():
                _no_more.set()


def _in_workers(work: Plan, execution: Execution, reporter: Reporter) -> Iterator[tuple[int, Record, bool]]:
    """Run cells in worker processes; results are those of the same cells run in turn."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        max_workers=min(work.jobs, len(work.cells)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(execution.threads,),
    )
    futures: dict[Future[tuple[Record, bool]], int] = {}
    complete = False
    try:
        with _without_ctrl_c():
            for index, cell in enumerate(work.cells):
                futures[pool.submit(_work, cell, execution)] = index
        pending = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in sorted(finished, key=futures.__getitem__):
                yield futures[future], *future.result()
            if stop_requested():
                raise Interrupted("stopped")
        complete = True
    except BrokenProcessPool:
        raise GnnzooError("a worker was killed (out of memory?); the same command goes on from there") from None
    finally:
        workers = set(multiprocessing.active_children()) - others
        try:
            running = [future for future in futures if not future.cancel() and not future.done()]
            if running:
                for worker in workers:
                    worker.terminate()  # SIGTERM: finish the epoch, save, stop
                wait(running)
        finally:
            if not complete:  # what is to be kept is on disk, but after a second Ctrl-C
                for worker in workers:
                    worker.kill()
            pool.shutdown(wait=True, cancel_futures=True)

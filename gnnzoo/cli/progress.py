"""What a user sees while a run goes on: a live bar on a terminal, a line per finished cell elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gnnzoo.cards import METRICS
from gnnzoo.leaderboard import Record
from gnnzoo.leaderboard.table import in_unit
from gnnzoo.runner.bench import Bench, BenchReporter, Left
from gnnzoo.runner.config import Config
from gnnzoo.runner.failures import Failure
from gnnzoo.runner.grid import Reporter
from gnnzoo.runner.planning import Cell, Plan
from gnnzoo.runner.tune import TuneReporter

__all__ = ["BenchTerminal", "TerminalReporter", "amount", "duration", "left_text"]

_ROW = ("epoch", "train_loss", "lr")
"""What the row of every epoch has; what else is there the strategy tells."""


def duration(seconds: float) -> str:
    """Write seconds as people do: ``48 s``, ``3 min 20 s``, ``1 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def amount(count: int, word: str) -> str:
    """Write ``1 cell``, ``2 cells``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def left_text(left: Left) -> str:
    """Write how long what is left will take: ``about 12 min 00 s``, as far as that is known."""
    if left.unknown and left.unknown == left.cells:
        return "an unknown time"
    text = f"{'at most' if left.at_most else 'about'} {duration(left.seconds)}"
    return f"{text} and an unknown time for {amount(left.unknown, 'cell')}" if left.unknown else text


def _outcome(record: Record, trained: bool) -> str:
    metric = record.result.metric
    unit = " %" if METRICS[metric].percent else ""
    values = ", ".join(
        f"{stage} {in_unit(getattr(record.result, stage)[metric], metric):.2f}{unit}" for stage in ("test", "val")
    )
    took = f"epoch {record.result.epoch} of {record.result.epochs}, {duration(record.cost.seconds)}"
    return f"{metric} {values} ({took}{'' if trained else ', recorded before'})"


class TerminalReporter(Reporter):
    """Reports to stderr, so that stdout holds the result alone."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._start = time.monotonic()
        self._trained = self._finished = self._total = 0

    def begin(self, plan: Plan) -> None:
        """Open the bar."""
        self._total = len(plan.cells)
        self._jobs = min(plan.jobs, self._total)
        self._start = time.monotonic()
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[right]}"))
            self._bar = Progress(*columns, TimeElapsedColumn(), console=self.console, transient=True)
            self._cells = self._bar.add_task("cells", total=self._total, right=f"0/{self._total}")
            self._epochs = self._bar.add_task("", total=1, right="", visible=self._jobs == 1)
            self._bar.start()

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def epoch(self, cell: Cell, epoch: int, row: Mapping[str, float]) -> None:
        """Move the lower bar."""
        if self._bar is None:
            return
        metric = next((k for k in row if k.startswith("val_") and k != "val_loss"), None)
        value = f"  val {100 * row[metric]:.1f}" if metric and METRICS[metric[4:]].percent else ""
        told = "".join(
            f"  {k.replace('_', ' ')} {row[k]:.3f}" for k in row if k not in _ROW and not k.startswith("val_")
        )
        self._bar.update(
            self._epochs,
            description=f"{cell.config.contender} {cell.config.benchmark} split {cell.split}",
            completed=epoch,
            total=cell.config.train.epochs,
            right=f"epoch {epoch}/{cell.config.train.epochs}  loss {row['train_loss']:.3f}{value}{told}",
        )

    def done(self, cell: Cell, record: Record, trained: bool) -> None:
        """Print the cell's line, with the time that is left."""
        self._finished += 1
        self._trained += trained
        left = ""
        if self._trained and self._finished < self._total:
            rest = (time.monotonic() - self._start) / self._trained * (self._total - self._finished)
            left = f", about {duration(rest)} left"
        self.note(f"[{self._finished}/{self._total}{left}] {cell}: {_outcome(record, trained)}")
        if self._bar is not None:
            self._bar.update(self._cells, completed=self._finished, right=f"{self._finished}/{self._total}{left}")

    def end(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()


class BenchTerminal(BenchReporter):
    """Reports a bench to stderr, a line per cell."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def planned(self, work: Bench) -> None:
        """Print notes, and how many cells there are of what kind."""
        plan = work.plan
        for note in dict.fromkeys([*plan.notes, *(note for config in plan.configs for note in config.notes)]):
            self._say(note)
        if work.absent:
            names = ", ".join(work.absent)
            self._say(
                f"not run, as their files are not here: {names} (gnnzoo data fetch NAME gets those that can be had)"
            )
        cells = len(plan.cells)
        what = f"{work.suite}: " if work.suite else ""
        models = amount(len({config.model for config in plan.configs}), "model")
        benchmarks = amount(len({config.benchmark for config in plan.configs}), "benchmark")
        parts = [f"{len(work.records):,} recorded"]
        parts += [f"{len(work.failures):,} failed before (retry=failed runs them again)"] * bool(work.failures)
        parts += [f"{sum(work.absent.values()):,} without files"] * bool(work.absent)
        self._say(f"{what}{models}, {benchmarks}, {amount(cells, 'cell')}: {', '.join(parts)}, {work.todo:,} to run")

    def measuring(self, pairs: int) -> None:
        """Print a line."""
        self._say(f"no records of {amount(pairs, 'pair')} of model and benchmark: measured on random graphs ...")

    def expected(self, work: Bench, left: Left) -> None:
        """Print how long it will take."""
        jobs = amount(min(work.plan.jobs, work.todo), "worker")
        budget = f"; the budget is {duration(work.budget)}" if work.budget is not None else ""
        self._say(f"expected: {left_text(left)} in {jobs}{budget}")
        reasons = {pair.reason: pair for pair in work.pairs if pair.base is None and pair.todo}
        for reason in reasons:
            names = [p.config.benchmark for p in work.pairs if p.base is None and p.todo and p.reason == reason]
            self._say(f"not known for {', '.join(dict.fromkeys(names))}: {reason}")

    def tuning(self, config: Config, number: int, total: int) -> TuneReporter:
        """Print a line."""
        from gnnzoo.cli.tuning import TuneTerminal

        self._say(f"tuning {number} of {total}: {config.contender} on {config.benchmark}")
        return TuneTerminal()

    def _line(self, cell: Cell, left: Left, text: str) -> None:
        rest = f", {left_text(left)} left" if left.cells else ""
        self._say(f"[{left.done}/{left.total}{rest}] {cell}: {text}")

    def done(self, cell: Cell, record: Record, trained: bool, left: Left) -> None:
        """Print the cell's line, with the time that is left."""
        self._line(cell, left, _outcome(record, trained))

    def failed(self, cell: Cell, failure: Failure, left: Left) -> None:
        """Print the cell's line, with the reason."""
        self._line(cell, left, f"FAILED: {failure.reason}")

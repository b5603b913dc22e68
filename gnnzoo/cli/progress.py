"""What a user sees while a run goes on: a live bar on a terminal, a line per finished cell elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gnnzoo.cards import METRICS
from gnnzoo.leaderboard import Record
from gnnzoo.leaderboard.table import in_unit
from gnnzoo.runner.grid import Reporter
from gnnzoo.runner.planning import Cell, Plan

__all__ = ["TerminalReporter", "duration"]


def duration(seconds: float) -> str:
    """Write seconds as people do: ``48 s``, ``3 min 20 s``, ``1 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


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
        self._bar.update(
            self._epochs,
            description=f"{cell.config.model} {cell.config.benchmark} split {cell.split}",
            completed=epoch,
            total=cell.config.train.epochs,
            right=f"epoch {epoch}/{cell.config.train.epochs}  loss {row['train_loss']:.3f}{value}",
        )

    def done(self, cell: Cell, record: Record, trained: bool) -> None:
        """Print the cell's line, with the time that is left."""
        self._finished += 1
        self._trained += trained
        metric = record.result.metric
        unit = " %" if METRICS[metric].percent else ""
        values = ", ".join(
            f"{stage} {in_unit(getattr(record.result, stage)[metric], metric):.2f}{unit}" for stage in ("test", "val")
        )
        took = f"epoch {record.result.epoch} of {record.result.epochs}, {duration(record.cost.seconds)}"
        left = ""
        if self._trained and self._finished < self._total:
            rest = (time.monotonic() - self._start) / self._trained * (self._total - self._finished)
            left = f", about {duration(rest)} left"
        how = "" if trained else ", recorded before"
        self.note(f"[{self._finished}/{self._total}{left}] {cell}: {metric} {values} ({took}{how})")
        if self._bar is not None:
            self._bar.update(self._cells, completed=self._finished, right=f"{self._finished}/{self._total}{left}")

    def end(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()

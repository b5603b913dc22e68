"""What a shift of the data costs: the metric in distribution and shifted, and each strategy against plain training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gnnzoo.cards import DatasetCard, Shift
from gnnzoo.errors import UnknownNameError
from gnnzoo.leaderboard.boards import LEVEL, Row
from gnnzoo.leaderboard.record import Record
from gnnzoo.leaderboard.stats import Paired, Summary, holm, mean_over_seeds, paired_test, summarize
from gnnzoo.leaderboard.table import in_unit, mean_text, metric_text, p_text, unit
from gnnzoo.registry import DATASETS, partition

__all__ = ["Cell", "ShiftRow", "ShiftTable", "shift_of", "shift_rows", "shift_table"]

PLAIN = "erm"
"""The strategy that others are compared with: empirical risk minimisation of the same model."""


@dataclass(frozen=True)
class Cell:
    """A contender on one part."""

    summary: Summary
    against_plain: Paired | None = None
    """Minus the same model trained plainly, on identical splits and seeds; None where there is no such row."""
    p_holm: float | None = None
    """Adjusted for all contenders that are compared on this part."""


@dataclass(frozen=True)
class ShiftRow:
    """A contender on all parts of a protocol with a shift."""

    label: str
    parts: dict[str, Cell]
    """By name: the part like training first, where there is one, then the shifted ones."""


def shift_of(benchmark: str) -> Shift | None:
    """Return what shifts in a benchmark, or None where nothing is meant to, or it is not known here."""
    dataset, _, protocol = partition(benchmark)
    try:
        card: DatasetCard = DATASETS.card(dataset)
    except UnknownNameError:
        return None
    known = card.protocols.get(protocol)
    return known.shift if known else None


def _names(shift: Shift) -> list[str]:
    return [*([shift.in_distribution] if shift.in_distribution else []), *shift.shifted]


def _on(part: str, records: Sequence[Record]) -> list[Record]:
    """Return the records as if the part were their test part; without those that do not have it."""
    if part == "test":
        return list(records)
    return [
        r.model_copy(update={"result": r.result.model_copy(update={"test": r.result.parts[part]})})
        for r in records
        if r.result.parts and part in r.result.parts
    ]


def _cells(rows: Sequence[Row], part: str) -> dict[str, Cell]:
    """Return every contender on one part that has records of it."""
    records = {row.label: found for row in rows if (found := _on(part, row.records))}
    units = {label: mean_over_seeds(found) for label, found in records.items()}
    plain = {found[0].key.model: label for label, found in records.items() if found[0].key.strategy == PLAIN}
    tests: dict[str, Paired] = {}
    for label, found in records.items():
        other = plain.get(found[0].key.model, label)
        sizes = found[0].result.rows
        ratio = sizes[part] / sizes["train"] if len({r.key.split_hash for r in found}) > 1 else None
        if other != label and (test := paired_test(units[label], units[other], ratio)) is not None:
            tests[label] = test
    raw = {label: test.p_value for label, test in tests.items() if test.p_value is not None}
    adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    return {
        label: Cell(summarize(list(values.values())), tests.get(label), adjusted.get(label))
        for label, values in units.items()
    }


def shift_rows(benchmark: str, rows: Sequence[Row]) -> list[ShiftRow]:
    """Return the contenders of a benchmark on every part, in the given order; none where nothing shifts."""
    shift = shift_of(benchmark)
    if shift is None:
        return []
    parts = {part: _cells(rows, part) for part in _names(shift)}
    shown = []
    for row in rows:
        cells = {part: found[row.label] for part, found in parts.items() if row.label in found}
        if any(part in cells for part in shift.shifted):
            shown.append(ShiftRow(row.label, cells))
    return shown


@dataclass(frozen=True)
class ShiftTable:
    """The rows of :func:`shift_rows` as they are written, on a terminal or on a page."""

    what: str
    """What shifts, in words."""
    columns: list[str]
    lines: list[list[str]]
    method: str
    """How contenders are compared, in words."""


def shift_table(benchmark: str, metric: str, rows: Sequence[Row]) -> ShiftTable | None:
    """Return contenders in distribution and shifted; None where nothing shifts, or no record shows it.

    Args:
        benchmark: ``dataset@protocol``.
        metric: what the rows are about.
        rows: of a board, or of :func:`gnnzoo.leaderboard.boards.compare`.
    """
    shift, shown = shift_of(benchmark), shift_rows(benchmark, rows)
    if shift is None or not shown:
        return None
    inside = shift.in_distribution
    columns = ["model"]
    if inside:
        columns += [f"in distribution ({inside}), {metric_text(metric)}{unit(metric)}", f"against {PLAIN}"]
    for part in shift.shifted:
        columns += [f"shifted ({part})", *["gap"] * bool(inside), f"against {PLAIN}"]
    lines = []
    for row in shown:
        base = row.parts.get(inside) if inside else None
        line = [row.label, *(_written(base, metric) if inside else [])]
        for part in shift.shifted:
            cell = row.parts.get(part)
            mean, against = _written(cell, metric)
            gap = in_unit(cell.summary.mean - base.summary.mean, metric) if cell and base else None
            line += [mean, *(["" if gap is None else f"{gap:+.2f}"] if inside else []), against]
        lines.append(line)
    many = max(row.splits for row in rows) > 1
    units = "splits" if many else "the seeds of one split"
    test = "corrected resampled t-test (Nadeau and Bengio, 2003)" if many else "paired t-test"
    method = f"against {PLAIN}: minus the same model trained plainly; {test} over {units}; p-values adjusted by Holm "
    method += f"within a part; * differs significantly (p < {LEVEL:g}); gap: shifted minus in distribution"
    return ShiftTable(shift.what, columns, lines, method)


def _written(cell: Cell | None, metric: str) -> list[str]:
    """Return a mean, and its difference to plain training."""
    if cell is None:
        return ["", ""]
    text, found = "", cell.against_plain
    if found is not None:
        text = f"{in_unit(found.difference, metric):+.2f}"
        if cell.p_holm is not None:
            text += f" ({p_text(cell.p_holm)})" + " *" * (cell.p_holm < LEVEL)
    return [mean_text(cell.summary, metric), text]

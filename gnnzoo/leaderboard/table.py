"""One benchmark's comparison, from records alone: who is how good, and what differs by more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gnnzoo.cards import METRICS, Published
from gnnzoo.leaderboard.record import Record
from gnnzoo.leaderboard.stats import Paired, Summary, holm, mean_over_seeds, paired_test, summarize

__all__ = ["Row", "compare", "in_unit"]


@dataclass
class Row:
    """One model on one benchmark."""

    label: str
    summary: Summary
    seeds: int
    splits: int
    parameters: int
    seconds_per_epoch: float
    published: Published | None
    against_best: Paired | None = None
    """This row minus the best one, on the splits that both have; None for the best itself."""
    p_holm: float | None = None
    """The test's p-value, adjusted by Holm for all comparisons of the table."""


def compare(groups: Mapping[str, Sequence[Record]], published: Mapping[str, Published] | None = None) -> list[Row]:
    """Return a row per label, best first, each tested against the best on identical splits.

    Args:
        groups: records of one benchmark, metric and dataset digest, by label (a model's name).
        published: numbers in print, by label.
    """
    units, rows = {}, []
    for label, records in groups.items():
        units[label] = mean_over_seeds(records)
        epochs = sum(r.result.epochs for r in records)
        rows.append(
            Row(
                label=label,
                summary=summarize(list(units[label].values())),
                seeds=len({r.key.seed for r in records}),
                splits=len({r.key.split_hash for r in records}),
                parameters=records[0].result.parameters,
                seconds_per_epoch=sum(r.cost.cpu_seconds for r in records) / max(epochs, 1),
                published=(published or {}).get(label),
            )
        )
    first = next(iter(groups.values()))[0]
    rows.sort(key=lambda r: r.summary.mean, reverse=METRICS[first.result.metric].higher_is_better)
    ratio = first.result.rows["test"] / first.result.rows["train"] if rows[0].splits > 1 else None
    for row in rows[1:]:
        row.against_best = paired_test(units[row.label], units[rows[0].label], ratio)
    tested = [r for r in rows[1:] if r.against_best and r.against_best.p_value is not None]
    for row, p in zip(tested, holm([r.against_best.p_value for r in tested]), strict=True):  # type: ignore[union-attr, misc]
        row.p_holm = p
    return rows


def in_unit(value: float, metric: str) -> float:
    """Return a stored metric in the unit that papers print: per cent for accuracy, the target's for errors."""
    return 100 * value if METRICS[metric].percent else value

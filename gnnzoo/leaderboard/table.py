"""How the numbers of a board are written, the same on a terminal, in a README and on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnnzoo.cards import METRICS, Published

if TYPE_CHECKING:
    from gnnzoo.leaderboard.boards import Row
    from gnnzoo.leaderboard.stats import Summary

__all__ = [
    "cells_text",
    "difference_text",
    "in_unit",
    "lacking_text",
    "mean_text",
    "metric_text",
    "p_text",
    "published_text",
    "time_text",
    "unit",
]


def in_unit(value: float, metric: str) -> float:
    """Return a stored metric in the unit that papers print: per cent for accuracy, the target's for errors."""
    return 100 * value if _percent(metric) else value


def _percent(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].percent  # records may be of a metric that is not known here


def unit(metric: str) -> str:
    """Return what stands behind a number: `` %`` or nothing."""
    return " %" if _percent(metric) else ""


def time_text(splits: int) -> str:
    """Return what a time is of: ``ms/epoch``, or ``ms`` where nothing is split and trained, as for pairs."""
    return "ms/epoch" if splits else "ms"


def _decimals(metric: str) -> int:
    return 2 if _percent(metric) else METRICS[metric].decimals if metric in METRICS else 4


def mean_text(summary: Summary, metric: str) -> str:
    """Return ``86.49 ± 3.30``: the mean and half of its 95 % interval, which n = 1 does not have."""
    digits = _decimals(metric)
    text = f"{in_unit(summary.mean, metric):.{digits}f}"
    if summary.half_width is not None:
        text += f" ± {in_unit(summary.half_width, metric):.{digits}f}"
    return text


def difference_text(row: Row, metric: str) -> str:
    """Return ``-3.51 (p = 0.040)``: the difference to the best and Holm's p-value, where there are such."""
    if row.against_best is None:
        return ""
    text = f"{in_unit(row.against_best.difference, metric):+.{_decimals(metric)}f}"
    if row.p_holm is not None:
        text += f" ({p_text(row.p_holm)})"
    return text


def p_text(p_value: float) -> str:
    """Return ``p = 0.040`` or ``p < 0.001``."""
    return f"p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'}"


def cells_text(row: Row, splits: int = 0, seeds: int = 0) -> str:
    """Return ``10 × 1``: splits × seeds; of a row that lacks some of ``splits`` or ``seeds``, ``3 of 10 × 1``."""
    parts = ((row.splits, splits), (row.seeds, seeds))
    return " × ".join(f"{have} of {asked}" if have < asked else str(have) for have, asked in parts)


def lacking_text(row: Row, splits: int, seeds: int) -> str:
    """Return ``3 of 10 splits`` of a row that lacks some, ``3 of 10 seeds``, or nothing."""
    parts = ((row.splits, splits, "splits"), (row.seeds, seeds, "seeds"))
    return ", ".join(f"{have} of {asked} {what}" for have, asked, what in parts if have < asked)


def published_text(published: Published | None) -> str:
    """Return a number in print as it was printed."""
    if published is None:
        return ""
    return f"{published.mean:g}" + (f" ± {published.std:g}" if published.std is not None else "")


def metric_text(metric: str) -> str:
    """Return ``accuracy``, or ``mae, lower is better``."""
    return metric if METRICS[metric].higher_is_better else f"{metric}, lower is better"

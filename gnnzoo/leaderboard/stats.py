"""Statistics of records. A number that cannot be computed is None, and is not shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats would take longer to import than to use

from gnnzoo.leaderboard.record import Record

__all__ = ["Paired", "Summary", "holm", "mean_over_seeds", "paired_test", "summarize"]


@dataclass(frozen=True)
class Summary:
    """Mean and spread over splits (or over seeds, where there is one split)."""

    mean: float
    std: float | None
    """Unbiased (ddof 1); None for n = 1."""
    half_width: float | None
    """Of the 95 % confidence interval of the mean, by Student's t; None for n = 1."""
    n: int


@dataclass(frozen=True)
class Paired:
    """A comparison of two models on identical splits."""

    difference: float
    """Mean of first minus second."""
    p_value: float | None
    """Two-sided; None where it cannot be computed (n = 1, or all differences equal and not zero)."""
    n: int


def summarize(values: Sequence[float]) -> Summary:
    """Return mean, standard deviation and 95 % interval of ``values``.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no values to summarize")
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Summary(mean, None, None, 1)
    std = float(np.std(values, ddof=1))
    return Summary(mean, std, float(stdtrit(n - 1, 0.975)) * std / math.sqrt(n), n)


def mean_over_seeds(records: Sequence[Record]) -> dict[str, float]:
    """Return the test metric of each split (by split hash), seeds averaged; over one split, of each seed."""
    splits = {r.key.split_hash for r in records}
    groups: dict[str, list[float]] = {}
    for r in records:
        unit = r.key.split_hash if len(splits) > 1 else f"seed {r.key.seed}"
        groups.setdefault(unit, []).append(r.result.test[r.result.metric])
    return {unit: float(np.mean(values)) for unit, values in groups.items()}


def paired_test(first: Mapping[str, float], second: Mapping[str, float], test_to_train: float | None) -> Paired | None:
    r"""Compare two models on the units (splits or seeds) that both have.

    With ``test_to_train`` this is the corrected resampled t-test (Nadeau and Bengio, 2003, section 3.1):

    .. math:: t = \bar d / \sqrt{(1/n + n_{test}/n_{train})\, s_d^2}

    whose variance allows for training sets that overlap; without it, the plain paired t-test (seeds on one split).

    Args:
        first: metric by unit; see :func:`mean_over_seeds`.
        second: the same of the other model.
        test_to_train: test rows per training row of a split, or None.

    Returns:
        None where they share no unit.
    """
    shared = sorted(first.keys() & second.keys())
    n = len(shared)
    if n == 0:
        return None
    d = np.array([first[u] - second[u] for u in shared])
    mean = float(d.mean())
    if n == 1:
        return Paired(mean, None, 1)
    variance = float(d.var(ddof=1)) * (1 / n + (test_to_train or 0.0))
    if variance == 0:
        return Paired(mean, 1.0 if mean == 0 else None, n)
    return Paired(mean, float(2 * stdtr(n - 1, -abs(mean) / math.sqrt(variance))), n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down method (1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted

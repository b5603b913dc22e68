"""Statistics of records. A number that cannot be computed is None, and is not shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, fdtrc, stdtr, stdtrit  # scipy.stats would take longer to import than to use

from gnnzoo.cards import METRICS
from gnnzoo.leaderboard.record import Record

__all__ = [
    "Friedman",
    "Paired",
    "Summary",
    "cliques",
    "common_epoch",
    "critical_difference",
    "friedman",
    "holm",
    "mean_over_seeds",
    "mid_ranks",
    "paired_test",
    "summarize",
    "wilcoxon_test",
]

_ROUNDING = 1e-12
"""Numbers that differ by less, relative to the values they are made of, differ by rounding alone."""


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
    half_width: float | None = None
    """Of the 95 % interval of the difference, by the t-test; None for n = 1, and of other tests."""


@dataclass(frozen=True)
class Friedman:
    """Whether several models differ at all, over several benchmarks."""

    chi2: float
    p_value: float
    f: float
    """Iman and Davenport's statistic, which is less conservative."""
    p_f: float


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


def common_epoch(records: Sequence[Record]) -> int | None:
    """Return the one epoch at which the mean of the records' test curves is best, the first of equally good ones.

    It is how the field reports ten-fold cross-validation without validation parts (Xu et al., 2019, arXiv 1810.00826,
    section 7): all folds are read at one epoch, chosen on their test parts. Only epochs that all curves have count.

    Args:
        records: of one seed, one for each split.

    Returns:
        None where a record has no curve, or no epoch is common to all.
    """
    curves = [r.result.curve for r in records]
    if not curves or any(curve is None for curve in curves):
        return None
    common = sorted(set.intersection(*(set(curve) for curve in curves if curve is not None)))
    if not common:
        return None
    means = np.array([[curve[epoch] for epoch in common] for curve in curves if curve is not None]).mean(axis=0)
    higher = METRICS[records[0].result.metric].higher_is_better
    # means that are equal but for rounding are equal: the first epoch stays
    best = means.max() if higher else means.min()
    return common[int(np.flatnonzero(np.isclose(means, best, rtol=_ROUNDING, atol=0))[0])]


def _values(records: Sequence[Record]) -> list[float]:
    """Return the test metric of each record; of those that have curves, at the common epoch of their seed."""
    seeds: dict[int, list[Record]] = {}
    for r in records:
        seeds.setdefault(r.key.seed, []).append(r)
    epochs = {seed: common_epoch(found) for seed, found in seeds.items()}
    values = []
    for r in records:
        epoch = epochs[r.key.seed]
        curve = r.result.curve
        values.append(r.result.test[r.result.metric] if epoch is None or curve is None else curve[epoch])
    return values


def mean_over_seeds(records: Sequence[Record]) -> dict[str, float]:
    """Return the test metric of each split (by split hash), seeds averaged; over one split, of each seed.

    Records of protocols that select on test are read at the one epoch of :func:`common_epoch`.
    """
    splits = {r.key.split_hash for r in records}
    groups: dict[str, list[float]] = {}
    for r, value in zip(records, _values(records), strict=True):
        unit = r.key.split_hash if len(splits) > 1 else f"seed {r.key.seed}"
        groups.setdefault(unit, []).append(value)
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
    d, mean, scale = _differences(first, second, shared)
    if n == 1:
        return Paired(mean, None, 1)
    variance = float(d.var(ddof=1)) * (1 / n + (test_to_train or 0.0))
    if variance <= (_ROUNDING * scale) ** 2:
        return Paired(mean, 1.0 if abs(mean) <= _ROUNDING * scale else None, n, 0.0)
    half_width = float(stdtrit(n - 1, 0.975)) * math.sqrt(variance)
    return Paired(mean, float(2 * stdtr(n - 1, -abs(mean) / math.sqrt(variance))), n, half_width)


def _differences(
    first: Mapping[str, float], second: Mapping[str, float], shared: Sequence[str]
) -> tuple[np.ndarray, float, float]:
    """Return the differences, their mean and the size of what they were taken of."""
    pairs = np.array([(first[u], second[u]) for u in shared])
    d = pairs[:, 0] - pairs[:, 1]
    return d, float(d.mean()), float(np.abs(pairs).max())


def wilcoxon_test(first: Mapping[str, float], second: Mapping[str, float]) -> Paired | None:
    """Compare two models by Wilcoxon's signed-rank test on the units that both have; see :func:`paired_test`.

    Zero differences count half for either side (Demšar, 2006, section 3.1.3). With few units the p-value is exact.
    """
    from scipy.stats import wilcoxon  # a second, and few ask for it

    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    d, mean, scale = _differences(first, second, shared)
    if len(d) == 1:
        return Paired(mean, None, 1)
    d = np.round(d / (scale or 1.0), 12)  # differences that are equal but for rounding have equal ranks
    if not d.any():
        return Paired(mean, 1.0, len(d))
    return Paired(mean, float(wilcoxon(d, zero_method="zsplit").pvalue), len(d))


def mid_ranks(values: Sequence[float], higher_is_better: bool = True) -> list[float]:
    """Return the rank of each value, 1 for the best; equal ones share the mean of their ranks."""
    v = np.array(values, dtype=float) * (-1 if higher_is_better else 1)
    equal = np.isclose(v[:, None], v[None, :], rtol=_ROUNDING, atol=0)
    before = (v[None, :] < v[:, None]) & ~equal
    return (1 + before.sum(axis=1) + (equal.sum(axis=1) - 1) / 2).tolist()


def friedman(ranks: np.ndarray) -> Friedman | None:
    r"""Test whether models differ, from their ranks ``[benchmarks, models]``; ties are allowed for.

    .. math:: \chi^2 = \frac{(k-1) \sum_j N^2 (\bar r_j - \frac{k+1}{2})^2}
              {\sum_{ij} r_{ij}^2 - N k (k+1)^2 / 4}, \quad F = \frac{(N-1)\chi^2}{N(k-1) - \chi^2}

    Returns:
        None for fewer than two benchmarks or models.
    """
    n, k = ranks.shape
    if n < 2 or k < 2:
        return None
    center = (k + 1) / 2
    spread = float((ranks**2).sum() - n * k * center**2)
    if spread <= 0:  # all models tie on every benchmark
        return Friedman(0.0, 1.0, 0.0, 1.0)
    chi2 = (k - 1) * n**2 * float(((ranks.mean(axis=0) - center) ** 2).sum()) / spread
    rest = n * (k - 1) - chi2
    p_value = float(chdtrc(k - 1, chi2))
    if rest <= _ROUNDING * chi2:  # the same order everywhere
        return Friedman(chi2, p_value, math.inf, 0.0)
    f = (n - 1) * chi2 / rest
    return Friedman(chi2, p_value, f, float(fdtrc(k - 1, (k - 1) * (n - 1), f)))


def critical_difference(models: int, benchmarks: int, level: float = 0.05) -> float:
    r"""Return Nemenyi's critical difference: mean ranks further apart differ significantly (Demšar, 2006).

    .. math:: CD = q_\alpha \sqrt{k (k + 1) / 6 N}

    where :math:`q_\alpha` is the quantile of the studentized range over :math:`\sqrt 2`.
    """
    from scipy.stats import studentized_range  # a second, and few ask for it

    q = float(studentized_range.ppf(1 - level, models, math.inf)) / math.sqrt(2)
    return q * math.sqrt(models * (models + 1) / (6 * benchmarks))


def cliques(mean_ranks: Sequence[float], difference: float) -> list[list[int]]:
    """Return the largest groups of models (their numbers, best first) whose mean ranks lie within ``difference``.

    They are the bars of a critical-difference diagram. A model alone is no group.
    """
    order = sorted(range(len(mean_ranks)), key=mean_ranks.__getitem__)
    found: list[list[int]] = []
    for start, best in enumerate(order):
        group = [model for model in order[start:] if mean_ranks[model] - mean_ranks[best] <= difference]
        if len(group) > 1 and not (found and group[-1] == found[-1][-1]):
            found.append(group)
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down method (1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted

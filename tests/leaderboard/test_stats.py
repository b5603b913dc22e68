"""Statistics against SciPy, closed forms and examples worked by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gnnzoo.leaderboard import Record, paired_test, summarize
from gnnzoo.leaderboard.boards import compare
from gnnzoo.leaderboard.stats import (
    cliques,
    common_epoch,
    critical_difference,
    friedman,
    holm,
    mean_over_seeds,
    mid_ranks,
    wilcoxon_test,
)
from gnnzoo.leaderboard.table import in_unit, mean_text

LINE = json.loads((Path(__file__).parent / "record-schema-1.jsonl").read_text().splitlines()[0])


def make(value, split=0, seed=0, metric="accuracy", model="gcn"):
    key = LINE["key"] | {"split": split, "split_hash": f"hash{split}", "seed": seed, "model": model}
    rows = {"train": 60, "val": 20, "test": 20}
    result = LINE["result"] | {"metric": metric, "test": {metric: value}, "val": {metric: value}, "rows": rows}
    return Record.model_validate(LINE | {"key": key, "result": result})


# --- mean and interval ---


@pytest.mark.parametrize("n", [2, 3, 10, 100])
def test_interval_is_students(n):
    values = np.random.default_rng(n).normal(0.8, 0.05, n)
    found = summarize(list(values))
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert found.n == n
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.std == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high), rel=1e-10)


def test_one_value_has_no_spread():
    found = summarize([0.5])
    assert (found.mean, found.std, found.half_width, found.n) == (0.5, None, None, 1)


def test_equal_values_have_zero_spread():
    found = summarize([0.5, 0.5, 0.5])
    assert (found.std, found.half_width) == (0.0, 0.0)


def test_no_values_are_an_error():
    with pytest.raises(ValueError, match="no values"):
        summarize([])


def test_seeds_are_averaged_within_a_split_first():
    """Three seeds of one split weigh as much as one seed of another."""
    records = [make(0.1, 0, 0), make(0.2, 0, 1), make(0.6, 0, 2), make(0.9, 1, 0)]
    found = mean_over_seeds(records)
    assert list(found.values()) == pytest.approx([0.3, 0.9])
    assert summarize(list(found.values())).mean == pytest.approx(0.6)


def test_over_one_split_seeds_are_the_units():
    found = mean_over_seeds([make(0.1, 0, 0), make(0.2, 0, 1), make(0.6, 0, 2)])
    assert list(found.values()) == [0.1, 0.2, 0.6]
    assert len(set(found)) == 3


# --- one epoch for all splits ---


def curves(*values, metric="accuracy", seed=0):
    """Return a record per split with the curve over epochs 1, 2, ..."""
    records = [make(values_[-1], split, seed, metric) for split, values_ in enumerate(values)]
    found = [dict(enumerate(values_, start=1)) for values_ in values]
    return [
        r.model_copy(update={"result": r.result.model_copy(update={"curve": curve})})
        for r, curve in zip(records, found, strict=True)
    ]


def test_the_common_epoch_is_that_of_the_best_mean_and_not_of_each_split():
    records = curves([0.9, 0.6, 0.5], [0.2, 0.7, 0.5])
    assert common_epoch(records) == 2
    assert list(mean_over_seeds(records).values()) == [0.6, 0.7]
    assert common_epoch(curves([0.9, 0.6, 0.5], [0.2, 0.7, 0.5], metric="mae")) == 3


def test_of_equal_means_the_first_epoch_is_taken_also_where_they_differ_by_rounding():
    assert common_epoch(curves([0.5, 0.7, 0.9], [0.9, 0.7, 0.5])) == 1
    thirds = 1 / 3
    assert common_epoch(curves([0.1, 0.2, thirds], [thirds, 0.2 + 1e-16, 0.1], [0.2, 0.2, 0.2])) == 1


def test_only_epochs_that_all_splits_reached_count():
    assert common_epoch(curves([0.1, 0.2, 0.9], [0.1, 0.2])) == 2
    first, second = curves([0.1, 0.2], [0.1, 0.2])
    late = second.model_copy(update={"result": second.result.model_copy(update={"curve": {3: 0.5}})})
    assert common_epoch([first, late]) is None


def test_every_seed_has_its_own_common_epoch():
    records = curves([0.9, 0.1], [0.7, 0.1], seed=0) + curves([0.1, 0.5], [0.1, 0.3], seed=1)
    assert list(mean_over_seeds(records).values()) == pytest.approx([(0.9 + 0.5) / 2, (0.7 + 0.3) / 2])


def test_without_a_curve_the_reported_value_counts():
    records = [make(0.1, 0), make(0.2, 1)]
    assert common_epoch(records) is None
    assert common_epoch([]) is None
    assert list(mean_over_seeds(records).values()) == [0.1, 0.2]


# --- two models ---


@pytest.fixture
def two():
    rng = np.random.default_rng(0)
    first = rng.normal(0.80, 0.05, 10)
    second = first - rng.normal(0.02, 0.03, 10)
    return [{f"split {i}": float(v) for i, v in enumerate(values)} for values in (first, second)]


def test_without_correction_it_is_the_paired_t_test(two):
    found = paired_test(*two, None)
    expected = stats.ttest_rel(list(two[0].values()), list(two[1].values()))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert found.n == 10


@pytest.mark.parametrize("ratio", [0.1, 1 / 3, 2.0])
def test_corrected_test_is_nadeau_and_bengios(two, ratio):
    found = paired_test(*two, ratio)
    d = np.array(list(two[0].values())) - np.array(list(two[1].values()))
    t = d.mean() / math.sqrt((1 / 10 + ratio) * d.var(ddof=1))
    assert found.difference == pytest.approx(d.mean(), rel=1e-12)
    assert found.p_value == pytest.approx(2 * (1 - stats.t.cdf(abs(t), 9)), rel=1e-8)
    assert found.p_value > paired_test(*two, None).p_value  # training sets overlap: less is known
    mirrored = paired_test(two[1], two[0], ratio)
    assert (mirrored.difference, mirrored.p_value) == pytest.approx((-found.difference, found.p_value))


def test_worked_example():
    """d = 1, 2, 3: mean 2, variance 1; with test/train = 1/6 the variance of the mean is 1/2, t = 2 √2 with 2 d.o.f."""
    found = paired_test({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 0.0, "b": 0.0, "c": 0.0}, 1 / 6)
    assert found.difference == pytest.approx(2.0)
    t = 2 * math.sqrt(2)
    assert found.p_value == pytest.approx(1 - t / math.sqrt(2 + t * t))  # the closed form for two degrees of freedom


def test_equal_results_are_a_tie(two):
    found = paired_test(two[0], dict(two[0]), 0.3)
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_what_cannot_be_computed_is_not_shown():
    one = paired_test({"a": 0.5}, {"a": 0.4}, 0.3)
    assert one.difference == pytest.approx(0.1)
    assert one.p_value is None
    constant = paired_test({"a": 0.5, "b": 0.75}, {"a": 0.25, "b": 0.5}, 0.3)
    assert constant.difference == 0.25
    assert constant.p_value is None
    assert paired_test({"a": 0.5}, {"b": 0.5}, 0.3) is None


def test_only_shared_units_are_compared(two):
    first = {**two[0], "more": 5.0}
    assert paired_test(first, two[1], 0.3) == paired_test(two[0], two[1], 0.3)
    assert wilcoxon_test(first, two[1]) == wilcoxon_test(*two)


@pytest.mark.parametrize("test", [lambda a, b: paired_test(a, b, 0.3), wilcoxon_test])
def test_differences_of_rounding_are_none(test):
    """The same ten accuracies, added in another order."""
    values = {str(i): float(v) for i, v in enumerate(np.random.default_rng(5).uniform(0.7, 0.9, 10))}
    found = test(values, {unit: (value + 0.1) - 0.1 for unit, value in values.items()})
    assert abs(found.difference) < 1e-15
    assert found.p_value == 1.0


def test_a_constant_difference_has_no_t_value_whatever_its_rounding():
    """0.8 - 0.7, 0.6 - 0.5 and 0.3 - 0.2 are three different numbers."""
    found = paired_test({"a": 0.8, "b": 0.6, "c": 0.3}, {"a": 0.7, "b": 0.5, "c": 0.2}, 0.3)
    assert found.difference == pytest.approx(0.1)
    assert found.p_value is None


# --- Wilcoxon ---

# Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), tables 2 and 6: the AUC of
# C4.5 and of C4.5 with m, cf, and both tuned, on 14 data sets
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],  # the paper ranks these two from more digits than it prints
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def column(number):
    return {str(i): float(value) for i, value in enumerate(DEMSAR[:, number])}


def test_wilcoxon_is_scipys(two):
    found = wilcoxon_test(*two)
    d = np.array(list(two[0].values())) - np.array(list(two[1].values()))
    assert found.p_value == stats.wilcoxon(d, method="exact").pvalue
    assert found.difference == pytest.approx(d.mean())
    mirrored = wilcoxon_test(two[1], two[0])
    assert (mirrored.difference, mirrored.p_value) == (-found.difference, found.p_value)


def test_wilcoxon_by_hand():
    """All of n differences positive: the two extreme ones of 2^n assignments of signs."""
    found = wilcoxon_test({str(i): 1.0 + i for i in range(6)}, {str(i): 0.5 * i for i in range(6)})
    assert found.p_value == pytest.approx(2 / 2**6)


def test_wilcoxon_of_demsars_example():
    """R+ = 93, R- = 12 with zero differences halved; equal differences share ranks although they differ by rounding."""
    found = wilcoxon_test(column(1), column(0))
    thousandths = np.round(1000 * (DEMSAR[:, 1] - DEMSAR[:, 0])).astype(int)
    ranks = stats.rankdata(abs(thousandths))
    zeros = ranks[thousandths == 0].sum() / 2
    assert (ranks[thousandths > 0].sum() + zeros, ranks[thousandths < 0].sum() + zeros) == (93, 12)
    assert found.p_value == stats.wilcoxon(thousandths, zero_method="zsplit").pvalue
    assert found.p_value == pytest.approx(math.erfc(2.54 / math.sqrt(2)), abs=5e-4)  # z = (12 - 52.5) / 15.93


def test_wilcoxon_of_one_unit_is_not_shown():
    assert wilcoxon_test({"a": 0.5}, {"a": 0.4}).p_value is None
    assert wilcoxon_test({"a": 0.5}, {"b": 0.4}) is None
    assert wilcoxon_test({"a": 0.5, "b": 0.0}, {"a": 0.5, "b": 0.0}).p_value == 1.0


# --- many models ---


def test_holm_by_hand():
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; none may fall below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_lies_between_the_raw_values_and_bonferronis():
    p = np.random.default_rng(1).uniform(0, 0.2, 20)
    adjusted = np.array(holm(list(p)))
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, 20 * p) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    order = np.argsort(p)
    closed = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(20, 0, -1)))
    assert adjusted[order] == pytest.approx(closed)


# --- many models, many benchmarks ---


@pytest.mark.parametrize("higher", [True, False])
def test_ranks_are_scipys(higher):
    values = np.random.default_rng(3).integers(0, 6, 30) / 7
    assert mid_ranks(list(values), higher) == list(stats.rankdata(-values if higher else values))


def test_ranks_share_their_mean_also_where_rounding_differs():
    assert mid_ranks([0.9, 0.1 + 0.2, 0.3, 0.1]) == [1, 2.5, 2.5, 4]
    assert mid_ranks([5.0]) == [1]


def ranked(values):
    return np.array([mid_ranks(list(row)) for row in values])


def test_friedman_is_scipys():
    values = np.random.default_rng(4).normal(size=(9, 5)).round(1)  # with ties
    found = friedman(ranked(values))
    expected = stats.friedmanchisquare(*values.T)
    assert (found.chi2, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert found.p_f == pytest.approx(stats.f.sf(found.f, 4, 32), rel=1e-12)


def test_friedman_of_demsars_example():
    """Mean ranks 3.143, 2.000, 2.893, 1.964; chi2 = 9.28 and F = 3.69, both without a correction for ties."""
    ranks = ranked(DEMSAR)
    assert ranks.mean(axis=0).round(3).tolist() == [3.143, 2.0, 2.893, 1.964]
    ties = 1 - (3 * (2**3 - 2) + (4**3 - 4)) / (14 * 4 * (4**2 - 1))
    found = friedman(ranks)
    plain = found.chi2 * ties
    assert plain == pytest.approx(9.28, abs=0.005)
    assert 13 * plain / (14 * 3 - plain) == pytest.approx(3.69, abs=0.005)
    assert found.f == pytest.approx(13 * found.chi2 / (14 * 3 - found.chi2))


def test_friedman_of_hollander_and_wolfes_example():
    """Rounding first base in three ways, by 22 players (1973, p. 140); R prints 11.143 and 0.003805."""
    times = """5.40 5.50 5.55 5.85 5.70 5.75 5.20 5.60 5.50 5.55 5.50 5.40 5.90 5.85 5.70 5.45 5.55 5.60 5.40 5.40 5.35
    5.45 5.50 5.35 5.25 5.15 5.00 5.85 5.80 5.70 5.25 5.20 5.10 5.65 5.55 5.45 5.60 5.35 5.45 5.05 5.00 4.95 5.50 5.50
    5.40 5.45 5.55 5.50 5.55 5.55 5.35 5.45 5.50 5.55 5.50 5.45 5.25 5.65 5.60 5.40 5.70 5.65 5.55 6.30 6.30 6.25"""
    found = friedman(ranked(-np.array(times.split(), dtype=float).reshape(22, 3)))
    assert found.chi2 == pytest.approx(11.143, abs=5e-4)
    assert found.p_value == pytest.approx(0.003805, abs=5e-7)


def test_friedman_at_its_ends():
    assert friedman(np.ones((1, 3))) is None
    assert friedman(np.ones((3, 1))) is None
    assert friedman(np.empty((0, 0))) is None
    tied = friedman(np.full((4, 3), 2.0))
    assert (tied.chi2, tied.p_value, tied.p_f) == (0, 1, 1)
    same = friedman(np.array([[1.0, 2.0, 3.0]] * 4))
    assert same.chi2 == pytest.approx(4 * 2)
    assert (same.f, same.p_f) == (math.inf, 0)


@pytest.mark.parametrize(
    ("level", "printed"),
    [
        (0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
        (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
    ],
)
def test_critical_values_are_demsars(level, printed):
    """His table 5 (a); he prints them cut or rounded in the third decimal."""
    for models, q in enumerate(printed, start=2):
        found = critical_difference(models, 1, level) / math.sqrt(models * (models + 1) / 6)
        assert found == pytest.approx(q, abs=1.1e-3)
        assert found == pytest.approx(stats.studentized_range.ppf(1 - level, models, np.inf) / math.sqrt(2))


def test_critical_difference_of_two_models_is_a_z_test():
    """With k = 2 it is z / √N: the mean rank is that of a sign test."""
    assert critical_difference(2, 25) == pytest.approx(stats.norm.ppf(0.975) / 5, rel=1e-6)


def test_critical_differences_of_demsars_example():
    """1.25 at 0.05: nothing differs; 1.12 at 0.10: C4.5 is worse than the two with m tuned, cf lies between."""
    means = ranked(DEMSAR).mean(axis=0)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=0.005)
    assert cliques(list(means), critical_difference(4, 14)) == [[3, 1, 2, 0]]
    assert cliques(list(means), critical_difference(4, 14, 0.10)) == [[3, 1, 2], [2, 0]]


def test_cliques_are_maximal():
    assert cliques([1.0, 2.0, 3.0, 9.0], 1.0) == [[0, 1], [1, 2]]
    assert cliques([3.0, 1.0, 2.0], 5.0) == [[1, 2, 0]]
    assert cliques([1.0, 4.0], 1.0) == []


def groups(metric):
    rng = np.random.default_rng(2)
    base = rng.normal(0.5, 0.1, 10)
    return {
        name: [make(float(v), split, 0, metric, name) for split, v in enumerate(base + shift + noise)]
        for name, shift, noise in (
            ("low", -0.2, rng.normal(0, 0.01, 10)),
            ("high", 0.2, rng.normal(0, 0.01, 10)),
            ("middle", 0.0, rng.normal(0, 0.01, 10)),
        )
    }


@pytest.mark.parametrize(("metric", "order"), [("accuracy", "high middle low"), ("mae", "low middle high")])
def test_best_first_in_the_metrics_direction(metric, order):
    records = groups(metric)
    rows = compare(records)
    assert [row.label for row in rows] == order.split()
    best, *others = rows
    assert best.against_best is None
    assert best.p_holm is None
    units = {name: mean_over_seeds(found) for name, found in records.items()}
    raw = []
    for row in others:
        expected = paired_test(units[row.label], units[best.label], 20 / 60)
        assert row.against_best == expected
        raw.append(expected.p_value)
    assert [row.p_holm for row in others] == holm(raw)
    assert [row.splits for row in rows] == [10, 10, 10]


def test_one_split_many_seeds_needs_no_correction():
    first = [make(0.8 + 0.01 * i, 0, i, model="a") for i in range(5)]
    second = [make(0.7 + 0.013 * i, 0, i, model="b") for i in range(5)]
    _, row = compare({"a": first, "b": second})
    values = [[r.result.test["accuracy"] for r in group] for group in (second, first)]
    assert row.against_best.p_value == pytest.approx(stats.ttest_rel(*values).pvalue)
    assert (row.seeds, row.splits) == (5, 1)


def test_a_single_model_is_a_table_too():
    (row,) = compare({"gcn": [make(0.5)]})
    assert row.against_best is None
    assert row.summary.half_width is None


def test_two_equal_models_tie_whatever_the_order_of_their_records():
    values = list(np.random.default_rng(6).uniform(0.7, 0.9, 10))
    first = [make(v, i, 0, model="b") for i, v in enumerate(values)]
    second = [make(v, i, 0, model="a") for i, v in reversed(list(enumerate(values)))]
    rows = compare({"b": first, "a": second, "c": [make(0.1, i, 0, model="c") for i in range(10)]})
    assert [(row.label, row.rank, row.best) for row in rows] == [("a", 1.5, True), ("b", 1.5, True), ("c", 3, False)]
    assert rows[1].against_best.p_value == 1.0
    assert rows[0].summary == rows[1].summary


def test_a_model_that_lacks_splits_is_never_above_a_complete_one():
    whole = [make(0.5, i, model="whole") for i in range(4)]
    part = [make(0.9, i, model="part") for i in range(3)]
    first, second = compare({"part": part, "whole": whole})
    assert (first.label, first.rank, first.complete, first.best) == ("whole", 1, True, True)
    assert (second.rank, second.complete, second.best) == (None, False, False)
    assert (second.against_best, second.p_holm) == (None, None)
    assert (first.splits, second.splits) == (4, 3)


def test_nobody_is_ranked_where_all_lack_splits():
    rows = compare({"a": [make(0.5, 0, model="a")], "b": [make(0.6, 1, model="b")]}, splits=2)
    assert [(row.label, row.rank, row.best) for row in rows] == [("b", None, False), ("a", None, False)]


def test_the_marker_is_holms_p_value():
    """Worse by 1 % with noise of 5 % is not significant, worse by 20 % is."""
    rng = np.random.default_rng(7)
    shifts = {"best": 0.0, "near": -0.01, "far": -0.2}
    rows = compare(
        {
            m: [make(0.8 + s + float(v), i, model=m) for i, v in enumerate(rng.normal(0, 0.02, 10))]
            for m, s in shifts.items()
        }
    )
    found = {row.label: row for row in rows}
    assert found["near"].p_holm >= 0.05
    assert found["far"].p_holm < 0.05
    assert {m: row.best for m, row in found.items()} == {"best": True, "near": True, "far": False}


def test_one_run_each_has_neither_interval_nor_test():
    first, second = compare({"a": [make(0.8, model="a")], "b": [make(0.7, model="b")]})
    assert mean_text(first.summary, "accuracy") == "80.00"
    assert second.against_best.difference == pytest.approx(-0.1)
    assert (second.p_holm, second.best) == (None, False)


def test_wilcoxon_as_the_choice():
    records = groups("accuracy")
    rows = compare(records, test="wilcoxon")
    units = {name: mean_over_seeds(found) for name, found in records.items()}
    raw = [wilcoxon_test(units[row.label], units["high"]).p_value for row in rows[1:]]
    assert [row.p_holm for row in rows[1:]] == holm(raw) == [4 / 2**10] * 2


def test_rows_of_an_unranked_benchmark_stand_by_name():
    rows = compare(groups("accuracy"), ranked=False)
    assert [row.label for row in rows] == ["high", "low", "middle"]
    assert all((r.rank, r.against_best, r.p_holm, r.best) == (None, None, None, False) for r in rows)


def test_units_of_print():
    assert in_unit(0.8811, "accuracy") == pytest.approx(88.11)
    assert in_unit(0.31, "mae") == 0.31

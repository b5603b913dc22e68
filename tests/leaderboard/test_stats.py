"""Statistics against SciPy, closed forms and examples worked by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gnnzoo.leaderboard import Record, paired_test, summarize
from gnnzoo.leaderboard.stats import holm, mean_over_seeds
from gnnzoo.leaderboard.table import compare, in_unit

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


def test_units_of_print():
    assert in_unit(0.8811, "accuracy") == pytest.approx(88.11)
    assert in_unit(0.31, "mae") == 0.31

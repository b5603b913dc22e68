"""Ours against print: the rule by closed forms, and every reason why numbers cannot be compared."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from gnnzoo.cards import ModelCard, Published
from gnnzoo.datasets import load_dataset
from gnnzoo.errors import ConfigError, UnknownNameError
from gnnzoo.leaderboard import Record, Store, summarize
from gnnzoo.leaderboard.reproduce import COLUMNS, cells, judge, notes, page, reproductions
from gnnzoo.registry import DATASETS, MODELS

LINE = json.loads((Path(__file__).parent / "record-schema-1.jsonl").read_text().splitlines()[0])
BENCHMARK, OTHER = "karate@random-48-32-20", "csbm@random-48-32-20"
SHIPPED = "00000000000000aa"
SPLITS = [split.hash for split in load_dataset("karate").splits]
OURS = [0.80, 0.82, 0.84, 0.86, 0.88, 0.80, 0.82, 0.84, 0.86, 0.88]


def published(mean, std=2.0, n=10, metric="accuracy"):
    return Published(metric=metric, mean=mean, std=std, n=n, source="Table 1")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def card():
    """Register a model whose card has a number for karate; return how to change what it says."""

    def make(found=None, **changes):
        fields = {
            "name": "toy",
            "class": "torch.nn.Linear",
            "summary": "a toy",
            "tasks": ["node"],
            "structures": ["graph"],
            "deviations": ["Gates are written with explicit dimensions."],
            "published": {BENCHMARK: found or published(84.0)},
            "datasets": {BENCHMARK: {"source": "ours: guessed"}},
        }
        MODELS.register(ModelCard.model_validate(fields | changes), nn.Linear)

    return make


def make(value, split=0, seed=0, **changes):
    """Return a record of the toy; ``changes`` go to its key, ``metric`` to its result."""
    metric = changes.pop("metric", "accuracy")
    key = {"model": "toy", "benchmark": BENCHMARK, "config": SHIPPED, "split": split, "seed": seed}
    key |= {"split_hash": SPLITS[split]} | changes
    result = {"metric": metric, "test": {metric: value}, "val": {metric: value}}
    return Record.model_validate(LINE | {"key": LINE["key"] | key, "result": LINE["result"] | result})


def fill(store, values=OURS, **changes):
    for split, value in enumerate(values):
        store.append(make(value, split, **changes))


def rows(store, dataset=None):
    return reproductions(store, "toy", lambda model, benchmark: SHIPPED, dataset)


# --- the rule ---


def test_gap_and_tolerance_by_hand():
    """Standard errors 100·0.0298/√10 = 0.943 and 3/√25 = 0.6: twice their hypotenuse is 2.235."""
    ours = summarize(OURS)
    gap, tolerance, verdict, why = judge(published(86.0, 3.0, 25), ours)
    expected = 2 * math.hypot(100 * np.std(OURS, ddof=1) / math.sqrt(10), 3 / 5)
    assert gap == pytest.approx(-2.0)
    assert tolerance == pytest.approx(expected)
    assert tolerance == pytest.approx(2.2352, abs=1e-3)
    assert (verdict, why) == ("reproduced", "")


@pytest.mark.parametrize(
    ("mean", "verdict"), [(81.7, "above"), (81.8, "reproduced"), (86.2, "reproduced"), (86.3, "below")]
)
def test_the_verdict_turns_where_the_tolerance_ends(mean, verdict):
    assert judge(published(mean, 3.0, 25), summarize(OURS))[2] == verdict


def test_half_a_point_is_nobodys():
    """The floor holds where spreads are nil, and its edge belongs to it."""
    ours = summarize([0.5] * 10)
    for mean, verdict in ((50.5, "reproduced"), (49.5, "reproduced"), (50.51, "below"), (49.49, "above")):
        found = judge(published(mean, 0.0, 10), ours)
        assert (found[1], found[2]) == (0.5, verdict)


def test_errors_have_their_own_unit_and_direction():
    """For an error of 0.5 the floor is 0.005, not half a point of something; and more of it is worse."""
    ours = summarize([0.52, 0.52, 0.52])
    gap, tolerance, verdict, why = judge(published(0.5, 0.0, 10, "mae"), ours)
    assert (gap, tolerance) == pytest.approx((0.02, 0.005))
    assert (verdict, why) == ("above", "lower is better: worse than print")
    assert judge(published(0.523, 0.0, 10, "mae"), ours)[2:] == ("reproduced", "")
    assert judge(published(0.6, 0.0, 10, "mae"), ours)[2:] == ("below", "lower is better: better than print")


@pytest.mark.parametrize(
    ("std", "n", "absent"), [(None, None, "no std and n"), (2.0, None, "no n"), (None, 10, "no std")]
)
def test_what_print_leaves_out_is_left_out_and_said(std, n, absent):
    ours = summarize(OURS)
    _, tolerance, verdict, why = judge(published(85.0, std, n), ours)
    assert tolerance == pytest.approx(2 * 100 * ours.std / math.sqrt(10))
    assert tolerance < judge(published(85.0, 2.0, 10), ours)[1]
    assert verdict == "reproduced"
    assert why == f"{absent} in print, so without its standard error"


def test_one_run_is_not_called_a_miss():
    ours = summarize([0.7])
    assert judge(published(90.0, 2.0, 10), ours)[2:] == (
        "not comparable",
        "the gap may be chance: one run has no standard error; seeds=5 gives one",
    )
    assert judge(published(70.3, 0.0, 10), ours)[2:] == ("reproduced", "one run, no standard error of ours")


# --- which records ---


def test_compared_are_seeds_averaged_over_splits(store, card):
    card(published(84.0))
    fill(store)
    fill(store, [v + 0.01 for v in OURS], seed=1)
    (found,) = rows(store)
    assert (found.ours.n, found.ours.mean) == (10, pytest.approx(0.845))
    assert found.gap == pytest.approx(0.5)
    assert found.verdict == "reproduced"
    assert notes(found) == []


def test_a_miss_is_shown_with_what_the_cards_say(store, card, monkeypatch):
    card(published(70.0))
    fill(store)
    claim = DATASETS.card("karate").health[0]
    monkeypatch.setattr(DATASETS.card("karate"), "health", [claim.model_copy(update={"warn": True})])
    (found,) = rows(store)
    assert (found.verdict, found.gap) == ("above", pytest.approx(14.0))
    assert notes(found) == [
        "settings: ours: guessed",
        "print: Table 1",
        "data: 34 nodes in all; for trying things out, not for ranking",
    ]
    text = page(store, [found])
    assert "Gates are written with explicit dimensions." in text
    assert f"- `{BENCHMARK}`, above by 14.00 points" in text


def test_nothing_recorded_is_not_run(store, card):
    card()
    (found,) = rows(store)
    assert (found.verdict, found.ours, found.gap, found.why) == ("not run", None, None, "")
    shown = dict(zip(COLUMNS, cells(found), strict=True))
    assert [shown[name] for name in ("ours ± 95 % CI", "gap", "tolerance")] == ["", "", ""]
    assert "84 ± 2" in cells(found)


def test_another_protocol_is_named(store, card):
    card()
    store.append(make(0.8, benchmark="karate@other"))
    (found,) = rows(store)
    assert (found.verdict, found.why) == ("not run", "recorded under karate@other: another protocol")


def test_missing_splits_are_not_compared(store, card):
    card()
    fill(store, OURS[:4])
    (found,) = rows(store)
    assert (found.verdict, found.why) == ("not comparable", "4 of 10 splits")
    assert (found.ours.n, found.gap, found.tolerance) == (4, None, None)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"config": "00000000000000bb"}, "other settings (configuration 00000000000000bb) (10 records)"),
        ({"data": "f" * 16}, "made on other data (digest ffffffffffffffff) (10 records)"),
        ({"metric": "macro_f1"}, "another metric: macro_f1 (10 records)"),
    ],
)
def test_other_records_do_not_count(store, card, changes, why):
    card()
    fill(store, **changes)
    (found,) = rows(store)
    assert (found.verdict, found.ours, found.why) == ("not comparable", None, why)


def test_never_the_best_of_several(store, card):
    """A better set of other settings changes nothing, and the newest record of a cell counts."""
    card(published(84.0))
    fill(store, [0.99] * 10)
    fill(store)
    fill(store, [0.99] * 10, config="00000000000000bb")
    (found,) = rows(store)
    assert found.ours.mean == pytest.approx(0.84)


def test_print_with_another_metric(store, card):
    card(published(0.9, metric="macro_f1"))
    fill(store)
    (found,) = rows(store)
    assert (found.verdict, found.why) == ("not comparable", "print has macro_f1, the protocol accuracy")


def test_print_for_what_is_not_here(store, card):
    card(published=dict.fromkeys(("karate@gone", "gone@public"), published(1.0)))
    for benchmark in ("karate@gone", "gone@public"):
        store.append(make(0.8, benchmark=benchmark))
    assert [(r.verdict, r.why.partition(";")[0]) for r in rows(store)] == [
        ("not comparable", "unknown protocol 'gone' in dataset karate"),
        ("not comparable", "unknown dataset 'gone'"),
    ]


# --- which numbers ---


def test_one_dataset_or_benchmark(store, card):
    card(published={BENCHMARK: published(80.0), OTHER: published(60.0)})
    assert [r.benchmark for r in rows(store)] == [BENCHMARK, OTHER]
    assert [r.benchmark for r in rows(store, "csbm")] == [OTHER]
    assert [r.benchmark for r in rows(store, "zachary")] == [BENCHMARK]
    assert [r.benchmark for r in rows(store, BENCHMARK)] == [BENCHMARK]


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ("texas", ConfigError, "the card of toy has no published number for texas; choose from: karate@"),
        ("txeas", UnknownNameError, "unknown dataset 'txeas'; did you mean 'texas'?"),
        ("karate@x", UnknownNameError, "unknown protocol 'x' in dataset karate"),
    ],
)
def test_mistakes(store, card, dataset, error, message):
    card()
    with pytest.raises(error) as caught:
        rows(store, dataset)
    assert str(caught.value).startswith(message)


def test_every_model_of_the_zoo_without_records(store):
    """Nothing is run, and no configuration is resolved for it."""

    def never(model, benchmark):
        raise AssertionError(f"{model} on {benchmark} was resolved")

    found = [r for name in MODELS.names() for r in reproductions(store, name, never)]
    assert len(found) == sum(len(MODELS.card(name).published) for name in MODELS.names())
    assert {r.verdict for r in found} == {"not run"}


# --- the page ---


def test_the_page_is_made_of_records_and_cards(store, card):
    card(published={BENCHMARK: published(84.0), OTHER: published(60.0)})
    fill(store)
    store.append(make(0.8, benchmark="texas@geom-gcn"))
    found = rows(store)
    text = page(store, found)
    assert text == page(store, rows(store))
    assert "| [`toy`](#toy) | 2 | 1 | 0 | 0 | 0 | 1 |" in text
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{BENCHMARK}` | accuracy")]
    assert line == (f"| `{BENCHMARK}` | accuracy % | 84.00 ± 2.13 | 10 | 84 ± 2 | 10 | +0.00 | 2.27 | reproduced |  |")
    assert "Recorded, with no number in print on the card: `texas@geom-gcn`." in text
    fill(store, [0.5] * 10)  # newer ones
    assert page(store, rows(store)) != text

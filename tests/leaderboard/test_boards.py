"""Which records are compared, which are set apart and why, and how models are ranked over benchmarks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from gnnzoo.errors import ConfigError, UnknownNameError
from gnnzoo.leaderboard import Record, Store
from gnnzoo.leaderboard.boards import Board, average_ranks, board, boards, compare, rank_table
from gnnzoo.leaderboard.table import cells_text, lacking_text
from gnnzoo.registry import DATASETS, register_dataset

LINE = json.loads((Path(__file__).parent / "record-schema-1.jsonl").read_text().splitlines()[0])
MODELS = ["gcn", "mlp", "sheaf"]


def split_hash(number):
    return f"hash of {number}"


def combined(count):
    return hashlib.sha256(" ".join(map(split_hash, range(count))).encode()).hexdigest()[:16]


@pytest.fixture(scope="module", autouse=True)
def _datasets(_registries):
    """``toy`` has a protocol of every kind; nobody may be ranked by ``twin``."""
    identity = {"digest": "data", "hash": combined(3)}
    common = {"summary": "s", "metric": "accuracy"}
    protocols = {
        "whole": {**common, "splits": 3, **identity},
        "unstated": {**common, "splits": 3},
        "single": {**common, "splits": 1, "digest": "data", "hash": combined(1)},
        "seeds": {**common, "splits": 1, "seeds": 3, "digest": "data", "hash": combined(1)},
        "on-test": {**common, "splits": 3, "selection": "on-test", **identity},
        "error": {**common, "splits": 3, **identity, "metric": "mae"},
    }
    card = {"summary": "s", "family": "test", "task": "node", "num_outputs": 2, "protocols": protocols}
    card |= {"default_protocol": "whole", "counts": {"nodes": 10, "features": 3}}
    register_dataset({**card, "name": "toy"}, split_hash)
    register_dataset({**card, "name": "twin", "unranked": "it is toy again"}, split_hash)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def make(value, split=0, seed=0, model="gcn", benchmark="toy@whole", **changes):
    """Return a record; ``changes`` are parts of its key, result or cost."""
    key = LINE["key"] | {"model": model, "benchmark": benchmark, "config": f"{model}'s", "data": "data"}
    key |= {"split": split, "split_hash": split_hash(split), "seed": seed}
    metric = changes.pop("metric", "accuracy")
    rows = {"train": 60, "val": 20, "test": 20}
    result = LINE["result"] | {"metric": metric, "test": {metric: value}, "val": {metric: value}, "rows": rows}
    parts = {"key": key, "result": result | {"curve": None}, "cost": LINE["cost"] | {"origin": None}}
    for name, change in changes.items():
        (part,) = (part for part in parts.values() if name in part)
        part[name] = change
    return Record.model_validate(LINE | parts)


def add(store, values, model="gcn", benchmark="toy@whole", **changes):
    """Append a record per value: a list is seed 0 of each split, a dictionary is by (split, seed)."""
    cells = values if isinstance(values, dict) else {(i, 0): v for i, v in enumerate(values)}
    for (split, seed), value in cells.items():
        store.append(make(value, split, seed, model, benchmark, **changes))


def shipped(model, _):
    return f"{model}'s"


def of(store, benchmark="toy@whole", models=MODELS, **options) -> Board:
    return board(store, benchmark, models, shipped, **options)


# --- what is compared ---


def test_a_board(store):
    add(store, [0.8, 0.9, 0.7], "gcn")
    add(store, [0.5, 0.6, 0.4], "mlp")
    found = of(store)
    assert (found.benchmark, found.metric, found.splits, found.data) == ("toy@whole", "accuracy", 3, "data")
    assert (found.selection, found.unranked) == ("validation", "")
    assert [(r.model, r.rank, r.splits, r.seeds, r.complete) for r in found.rows] == [
        ("gcn", 1, 3, 1, True),
        ("mlp", 2, 3, 1, True),
    ]
    assert [r.summary.mean for r in found.rows] == pytest.approx([0.8, 0.5])
    assert found.not_run == ["sheaf"]
    assert found.apart == []
    assert "corrected resampled t-test" in found.method
    assert "3 splits, seeds averaged first" in found.method
    assert "Holm" in found.method


def test_only_models_that_take_part_and_fit_are_there(store):
    add(store, [0.8, 0.9, 0.7], "gcn")
    add(store, [0.5, 0.6, 0.4], "mlp")
    assert [row.model for row in of(store, models=["mlp"]).rows] == ["mlp"]
    assert of(store, models=["gcn", "sheaf", "sheaf"]).not_run == ["sheaf"]


def test_nothing_recorded(store):
    found = of(store)
    assert (found.rows, found.apart, found.not_run, found.data) == ([], [], MODELS, "data")


def test_the_newest_of_a_cell_counts_and_never_the_best(store):
    add(store, [0.9, 0.9, 0.9])
    add(store, [0.5, 0.6, 0.7])
    (row,) = of(store).rows
    assert row.summary.mean == pytest.approx(0.6)
    assert len(row.records) == 3


def test_lower_is_better_for_errors(store):
    add(store, [0.2, 0.3, 0.2], "gcn", "toy@error", metric="mae")
    add(store, [0.1, 0.1, 0.3], "mlp", "toy@error", metric="mae")
    assert [row.model for row in of(store, "toy@error").rows] == ["mlp", "gcn"]


def test_seeds_are_averaged_and_stated(store):
    add(store, {(split, seed): 0.5 + 0.1 * split + 0.01 * seed for split in range(3) for seed in range(5)}, "gcn")
    add(store, [0.5, 0.6, 0.4], "mlp")
    first, second = of(store).rows
    assert (first.model, first.splits, first.seeds, first.summary.n) == ("gcn", 3, 5, 3)
    assert first.summary.mean == pytest.approx(0.62)
    assert (second.splits, second.seeds) == (3, 1)


def test_over_one_split_the_seed_is_the_unit(store):
    add(store, {(0, seed): 0.8 + 0.01 * seed for seed in range(5)}, "gcn", "toy@single")
    add(store, {(0, seed): 0.7 - 0.02 * seed for seed in range(1, 6)}, "mlp", "toy@single")
    found = of(store, "toy@single")
    assert found.method.startswith("paired t-test over the seeds of one split")
    first, second = found.rows
    assert (first.splits, first.seeds, first.summary.n) == (1, 5, 5)
    assert second.against_best.n == 4  # seeds 1 to 4


def test_without_a_stated_identity_the_newest_record_says_which(store):
    place = {"benchmark": "toy@unstated", "date": "2026-01-02T00:00:00+00:00"}
    add(store, [0.8, 0.9, 0.7], "gcn", **place, data="new")
    add(store, [0.5, 0.6, 0.4], "mlp", "toy@unstated", data="old", date="2026-01-01T00:00:00+00:00")
    found = of(store, "toy@unstated")
    assert (found.data, [row.model for row in found.rows]) == ("new", ["gcn"])
    assert [a.reason for a in found.apart] == ["made on other data (digest old)"]


def test_time_and_memory(store):
    cost = {"cpu_seconds": 4.0, "seconds": 9.0, "epochs": 8, "processor": "P", "threads": 2}
    add(store, [0.8, 0.9, 0.7], "gcn", **cost, peak_memory_mib=100.0)
    add(store, {(0, 0): 0.8}, "gcn", **cost, peak_memory_mib=300.0)
    add(store, [0.5, 0.6, 0.4], "mlp", **cost | {"device": "NVIDIA H100", "seconds": 2.0})
    first, second = of(store).rows
    assert (first.device, first.seconds_per_epoch, first.peak_memory_mib) == ("CPU", 0.5, 300)
    assert first.hardware == "P, 2 threads"
    assert (second.device, second.seconds_per_epoch, second.hardware) == ("GPU", 0.25, "NVIDIA H100")


def test_the_time_of_pairs_is_that_of_a_record(store):
    """Nothing is trained for a protocol without splits, and BREC's training on pairs has no epochs of the whole."""
    add(store, {(0, 0): 0.8, (0, 1): 0.9}, "gcn", cpu_seconds=4.0, epochs=20)
    records = list(store.read(store.path("toy@whole", "gcn")))
    assert [compare({"gcn": records}, splits=n)[0].seconds_per_epoch for n in (0, 1)] == [4.0, 0.2]


def test_records_from_elsewhere_say_so(store):
    add(store, [0.8, 0.9, 0.7], "gcn", processor="P", threads=1, origin="their lab")
    assert of(store).rows[0].hardware == "P, 1 thread (from their lab)"


# --- what is not ---


def apart(found):
    return [(a.label, a.reason, len(a.records)) for a in found.apart]


def test_other_data(store):
    add(store, [0.8, 0.9, 0.7], "gcn")
    add(store, [0.9, 0.9, 0.9], "mlp", data="changed")
    found = of(store)
    assert [row.model for row in found.rows] == ["gcn"]
    assert apart(found) == [("mlp", "made on other data (digest changed)", 3)]
    assert found.apart[0].summary.mean == pytest.approx(0.9)
    assert found.not_run == ["mlp", "sheaf"]


def test_other_data_in_all_records(store):
    """The card knows better than the newest record."""
    add(store, [0.9, 0.9, 0.9], "mlp", data="changed")
    found = of(store)
    assert (found.data, found.rows) == ("data", [])


def test_another_metric(store):
    add(store, [0.8, 0.9, 0.7], metric="macro_f1")
    assert apart(of(store)) == [("gcn", "another metric: macro_f1", 3)]


def test_other_splits(store):
    add(store, [0.8, 0.9, 0.7], "gcn")
    for i in range(3):
        add(store, {(i, 0): 0.99}, "mlp", split_hash=f"my own {i}")
    found = of(store)
    assert [row.model for row in found.rows] == ["gcn"]
    assert apart(found) == [("mlp", "made on other splits", 3)]


def test_other_splits_in_all_records(store):
    for i in range(3):
        add(store, {(i, 0): 0.99}, "mlp", split_hash=f"my own {i}")
    assert of(store).rows == []


def test_the_cards_splits_are_found_among_newer_ones(store):
    """A model's old records are of the card's splits, its newest of others."""
    add(store, [0.8, 0.9, 0.7], "gcn", date="2026-01-01T00:00:00+00:00")
    for i in range(3):
        add(store, {(i, 0): 0.99}, "mlp", split_hash=f"my own {i}", date="2026-01-02T00:00:00+00:00")
    assert [row.model for row in of(store).rows] == ["gcn"]


def test_missing_splits_stand_below_without_a_rank(store):
    add(store, [0.9, 0.9], "gcn")
    add(store, [0.5, 0.6, 0.4], "mlp")
    first, second = of(store).rows
    assert (first.model, first.rank, first.best) == ("mlp", 1, True)
    assert (second.model, second.rank, second.best, second.complete, second.splits) == ("gcn", None, False, False, 2)
    assert second.against_best is None


def test_a_seed_that_is_not_whole_is_set_apart(store):
    """Else split 0 would be the mean of two seeds and the others of one."""
    add(store, [0.5, 0.6, 0.4])
    add(store, {(0, 1): 0.99})
    found = of(store)
    assert found.rows[0].summary.mean == pytest.approx(0.5)
    assert apart(found) == [("gcn", "seed 1 is not whole; 1 of 3 splits", 1)]


def test_splits_of_several_seeds_make_a_row_where_no_seed_is_whole(store):
    add(store, {(0, 0): 0.5, (1, 1): 0.6, (2, 1): 0.4})
    (row,) = of(store).rows
    assert (row.complete, row.splits, row.seeds) == (True, 3, 1)


def test_other_settings_are_named(store):
    names = {"model": "gcn", "dataset": "toy", "protocol": "whole", "strategy": "erm"}
    ours = {"names": names, "model": {"hidden_channels": 64, "bias": True}, "train": {"lr": 0.01, "patience": 5}}
    theirs = {"names": names, "model": {"hidden_channels": 8, "bias": False}, "train": {"lr": 0.01}}
    store.save_config("gcn's", ours)
    store.save_config("other", theirs)
    add(store, [0.9, 0.9, 0.9], config="other")
    reason = "other settings: model.bias=false, model.hidden_channels=8, train.patience=none"
    assert apart(of(store)) == [("gcn", reason, 3)]
    # they are also known where nothing was recorded with the shipped ones
    assert apart(of(store, settings=lambda *_: ours | {"train": {"lr": 1}})) == [
        ("gcn", "other settings: model.bias=false, model.hidden_channels=8, train.lr=0.01", 3)
    ]
    assert of(store).not_run == MODELS


def test_many_other_settings_are_counted(store):
    store.save_config("gcn's", {"train": {}})
    store.save_config("other", {"train": {f"k{i}": i for i in range(6)}})
    add(store, [0.9, 0.9, 0.9], config="other")
    assert of(store).apart[0].reason == "other settings: train.k0=0, train.k1=1, train.k2=2, train.k3=3 and 2 more"


def test_other_settings_without_a_stored_configuration(store):
    add(store, [0.9, 0.9, 0.9], config="other")
    assert apart(of(store)) == [("gcn", "other settings (configuration other)", 3)]


def test_all_reasons_are_given_and_sets_are_not_mixed(store):
    add(store, [0.9, 0.9], config="other", data="changed")
    add(store, [0.8], config="third")
    assert apart(of(store)) == [
        ("gcn", "other settings (configuration other); made on other data (digest changed); 2 of 3 splits", 2),
        ("gcn", "other settings (configuration third); 1 of 3 splits", 1),
    ]


def test_a_model_that_is_not_installed(store):
    add(store, [0.9, 0.9, 0.9], "theirs")
    found = of(store, models=[*MODELS, "theirs"])
    assert apart(found) == [("theirs", "no model of that name is installed", 3)]
    assert found.not_run == MODELS


def test_a_model_that_no_longer_resolves(store):
    def refuse(model, benchmark):
        raise ConfigError("it does not fit")

    add(store, [0.9, 0.9, 0.9])
    assert apart(board(store, "toy@whole", MODELS, refuse)) == [
        ("gcn", "it has no configuration here now: it does not fit", 3)
    ]


def test_unknown_names(store):
    with pytest.raises(UnknownNameError, match=r"unknown dataset 'toyy'; did you mean 'toy'\?"):
        of(store, "toyy@whole")
    with pytest.raises(UnknownNameError, match="unknown protocol 'hole' in dataset toy; did you mean 'whole'"):
        of(store, "toy@hole")


def test_a_row_without_all_the_seeds_that_the_protocol_asks_for_has_no_rank(store):
    add(store, {(0, seed): 0.5 for seed in range(3)}, "gcn", "toy@seeds")
    add(store, {(0, seed): 0.9 for seed in range(2)}, "mlp", "toy@seeds")
    found = of(store, "toy@seeds")
    assert found.seeds == 3
    assert [(r.model, r.rank, r.complete, r.seeds) for r in found.rows] == [
        ("gcn", 1, True, 3),
        ("mlp", None, False, 2),
    ]
    assert [cells_text(r, found.splits, found.seeds) for r in found.rows] == ["1 × 3", "1 × 2 of 3"]
    assert [lacking_text(r, found.splits, found.seeds) for r in found.rows] == ["", "2 of 3 seeds"]


def test_on_test_says_so_and_unranked_has_no_order(store):
    add(store, [0.9, 0.9, 0.8], "mlp", "toy@on-test", curve={1: 0.5})
    assert of(store, "toy@on-test").selection == "on-test"
    add(store, [0.9, 0.9, 0.8], "mlp", "twin@whole")
    add(store, [0.5, 0.6, 0.4], "gcn", "twin@whole")
    found = of(store, "twin@whole")
    assert found.unranked == "it is toy again"
    assert [(r.model, r.rank, r.best, r.against_best) for r in found.rows] == [
        ("gcn", None, False, None),
        ("mlp", None, False, None),
    ]


def test_on_test_reads_all_splits_at_the_epoch_of_the_best_mean(store):
    """Not the best of each split (0.9), nor the last epoch (0.6)."""
    for split, curve in enumerate([[0.9, 0.5, 0.6], [0.3, 0.9, 0.6], [0.3, 0.9, 0.6]]):
        store.append(make(0.6, split, benchmark="toy@on-test", curve=dict(enumerate(curve, start=1))))
    (row,) = of(store, "toy@on-test").rows
    assert row.summary.mean == pytest.approx((0.5 + 0.9 + 0.9) / 3)
    assert row.summary.n == 3


def test_on_test_without_curves_is_apart(store):
    add(store, [0.9, 0.9, 0.8], "mlp", "toy@on-test")
    found = of(store, "toy@on-test")
    assert found.rows == []
    assert [(a.label, a.reason) for a in found.apart] == [("mlp", "no curve over epochs, so no epoch for all splits")]


def test_wilcoxon_as_the_choice(store):
    add(store, [0.8, 0.9, 0.7], "gcn")
    add(store, [0.5, 0.6, 0.41], "mlp")
    found = of(store, test="wilcoxon")
    assert found.method.startswith("Wilcoxon signed-rank test")
    assert found.rows[1].p_holm == pytest.approx(2 / 2**3)
    assert found.rows[1].best  # three splits are too few for it to tell anything


# --- several benchmarks ---


def test_all_that_have_records(store):
    add(store, [0.8, 0.9, 0.7], "gcn")
    add(store, [0.8, 0.9, 0.7], "mlp", "toy@unstated")
    add(store, [0.8, 0.9, 0.7], "mlp", "gone@whole")
    add(store, [0.8, 0.9, 0.7], "mlp", "toy@gone")
    found = {b.benchmark: b for b in boards(store, None, None, shipped)}
    assert [*found] == ["gone@whole", "toy@gone", "toy@unstated", "toy@whole"]
    assert [row.model for row in found["toy@whole"].rows] == ["gcn"]
    assert found["toy@whole"].not_run == []
    for name, reason in {"gone@whole": "unknown dataset 'gone'", "toy@gone": "unknown protocol 'gone'"}.items():
        assert found[name].rows == []
        assert found[name].apart[0].reason.startswith(reason)


def test_named_benchmarks_and_models(store):
    add(store, [0.8, 0.9, 0.7], "gcn")
    add(store, [0.5, 0.6, 0.4], "mlp")
    (found,) = boards(store, ["toy@whole"], ["gcn", "sheaf"], shipped)
    assert ([row.model for row in found.rows], found.not_run) == (["gcn"], ["sheaf"])
    (found,) = boards(store, ["toy@whole"], None, shipped)
    assert ([row.model for row in found.rows], found.not_run) == (["gcn", "mlp"], [])


def fill(store, table):
    """Append whole rows of equal accuracies: ``{benchmark: {model: accuracy}}``."""
    for benchmark, values in table.items():
        for model, value in values.items():
            metric = DATASETS.card("toy").protocols[benchmark.split("@")[1]].metric
            curve = {1: value} if "on-test" in benchmark else None
            values_ = [value] * 3 if "single" not in benchmark else [value]
            add(store, values_, model, benchmark, metric=metric, curve=curve)
    return boards(store, list(table), None, shipped)


def test_average_ranks(store):
    found = fill(
        store,
        {
            "toy@whole": {"gcn": 0.9, "mlp": 0.8, "sheaf": 0.7},
            "toy@error": {"gcn": 0.1, "mlp": 0.2, "sheaf": 0.1},  # lower is better
            "toy@single": {"gcn": 0.5, "mlp": 0.6, "sheaf": 0.4},
        },
    )
    models, benchmarks, ranks = rank_table(found)
    assert models == ["gcn", "mlp", "sheaf"]
    assert benchmarks == ["toy@whole", "toy@error", "toy@single"]
    assert np.array_equal(ranks, [[1, 2, 3], [1.5, 3, 1.5], [2, 1, 3]])
    averages = average_ranks(found)
    assert [(a.label, a.benchmarks, a.complete) for a in averages] == [
        ("gcn", 3, True),
        ("mlp", 3, True),
        ("sheaf", 3, True),
    ]
    assert [a.rank for a in averages] == pytest.approx([1.5, 2, 2.5])


def test_a_model_that_lacks_a_benchmark_comes_after_and_changes_no_rank(store):
    found = fill(
        store,
        {
            "toy@whole": {"gcn": 0.9, "mlp": 0.8, "sheaf": 0.99},
            "toy@error": {"gcn": 0.2, "mlp": 0.1},
        },
    )
    assert [(a.label, a.rank, a.benchmarks, a.complete) for a in average_ranks(found)] == [
        ("gcn", 1.5, 2, True),
        ("mlp", 1.5, 2, True),
        ("sheaf", 1, 1, False),
    ]


def test_what_no_average_counts(store):
    """On-test protocols, unranked benchmarks, a model alone, and rows that lack splits."""
    table = {
        "toy@whole": {"gcn": 0.9, "mlp": 0.8},
        "toy@on-test": {"gcn": 0.1, "mlp": 0.8},
        "twin@whole": {"gcn": 0.1, "mlp": 0.8},
        "toy@single": {"mlp": 0.5},
    }
    fill(store, table)
    add(store, [0.99, 0.99], "sheaf")
    found = boards(store, [*table], None, shipped)
    assert rank_table(found)[:2] == (["gcn", "mlp"], ["toy@whole"])
    assert [(a.label, a.rank, a.benchmarks) for a in average_ranks(found)] == [("gcn", 1, 1), ("mlp", 2, 1)]


def test_no_average_of_nothing(store):
    assert average_ranks([]) == []
    assert rank_table([])[2].shape == (0, 0)
    assert average_ranks(fill(store, {"toy@whole": {"gcn": 0.9}})) == []
    # two pairs without a common model: nobody is ranked everywhere
    found = fill(store, {"toy@error": {"gcn": 0.1, "mlp": 0.2}, "toy@single": {"sheaf": 0.1, "dagnn": 0.2}})
    assert [(a.label, a.complete) for a in average_ranks(found)] == [
        ("dagnn", False),
        ("gcn", False),
        ("mlp", False),
        ("sheaf", False),
    ]

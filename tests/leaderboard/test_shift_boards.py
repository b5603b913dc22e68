"""What a shift costs: the metric on every part, strategies against plain training, and how it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gnnzoo.leaderboard import Record, Store
from gnnzoo.leaderboard.boards import board
from gnnzoo.leaderboard.render import site
from gnnzoo.leaderboard.shift import shift_of, shift_rows, shift_table
from gnnzoo.registry import contender, register_dataset, usual_strategy

LINE = json.loads((Path(__file__).parent / "record-schema-1.jsonl").read_text().splitlines()[0])


@pytest.fixture(scope="module", autouse=True)
def _datasets(_registries):
    shift = {"what": "the size of graphs", "in_distribution": "small", "shifted": ["large", "test"]}
    common = {"summary": "s", "metric": "accuracy", "digest": "data"}
    protocols = {
        "size": {**common, "splits": 1, "seeds": 3, "shift": shift},
        "splits": {**common, "splits": 4, "shift": {"what": "the country", "shifted": ["test"]}},
        "same": {**common, "splits": 1},
    }
    card = {"summary": "s", "family": "test", "task": "node", "num_outputs": 2, "protocols": protocols}
    card |= {"default_protocol": "size", "counts": {"nodes": 10, "features": 3}, "name": "moved"}
    register_dataset(card, contender)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def add(store, values, strategy="erm", benchmark="moved@size", over="seed", model="gcn", **parts):
    """Append a record per value of ``test``, with the values of further parts at the same places."""
    for number, value in enumerate(values):
        place = {"split": 0, "seed": 0, over: number}
        key = LINE["key"] | {"model": model, "strategy": strategy, "benchmark": benchmark, "data": "data", **place}
        key |= {"split_hash": f"hash of {key['split']}", "config": f"{contender(model, strategy)}'s"}
        rows = {"train": 60, "val": 20, "test": 30, **dict.fromkeys(parts, 10)}
        result = LINE["result"] | {"metric": "accuracy", "test": {"accuracy": value}, "rows": rows, "curve": None}
        result["parts"] = {name: {"accuracy": part[number]} for name, part in parts.items()} or None
        store.append(Record.model_validate(LINE | {"key": key, "result": result}))


def of(store, benchmark="moved@size"):
    return board(store, benchmark, ["gcn", "light-hgnn"], lambda name, _: f"{name}'s")


def shown(store, benchmark="moved@size"):
    found = of(store, benchmark)
    return found.benchmark, found.metric, found.rows


PLAIN, OTHER = [0.5, 0.55, 0.45], [0.6, 0.7, 0.5]
SMALL, LARGE = [0.9, 0.92, 0.88], [0.4, 0.42, 0.41]


def test_a_contender_is_a_model_with_a_strategy():
    assert contender("gcn", "erm") == "gcn"
    assert contender("gcn", "rpc") == "gcn+rpc"
    assert contender("gcn", "rpc", trained=False) == "gcn"
    assert contender("light-hgnn", "light-hgnn") == "light-hgnn"
    assert contender("light-hgnn", "erm") == "light-hgnn+erm"
    assert contender("nobody", "irm") == "nobody"
    assert usual_strategy("gcn") == "erm"
    assert usual_strategy("light-hgnn") == "light-hgnn"


def test_every_strategy_has_its_row(store):
    add(store, PLAIN)
    add(store, OTHER, "rpc")
    found = of(store)
    assert [(row.label, row.model, row.rank) for row in found.rows] == [("gcn+rpc", "gcn", 1), ("gcn", "gcn", 2)]
    assert found.rows[1].against_best.difference == pytest.approx(-0.1)
    assert found.apart == []
    assert found.not_run == []


def test_the_shipped_configuration_is_that_of_the_strategy(store):
    add(store, PLAIN)
    add(store, OTHER, "rpc")
    found = board(store, "moved@size", ["gcn"], lambda name, _: "gcn's")
    assert [row.label for row in found.rows] == ["gcn"]
    assert [a.label for a in found.apart] == ["gcn+rpc"]


def test_parts_side_by_side_and_against_plain_training(store):
    add(store, PLAIN, small=SMALL, large=LARGE)
    add(store, OTHER, "rpc", small=SMALL, large=PLAIN)
    first, second = shift_rows(*shown(store)[::2])
    assert (first.label, second.label) == ("gcn+rpc", "gcn")
    assert list(first.parts) == ["small", "large", "test"]
    assert {name: cell.summary.mean for name, cell in first.parts.items()} == pytest.approx(
        {"small": np.mean(SMALL), "large": np.mean(PLAIN), "test": np.mean(OTHER)}
    )
    assert all(cell.against_plain is None for cell in second.parts.values())
    assert first.parts["small"].against_plain.difference == 0
    assert first.parts["small"].p_holm == 1
    expected = stats.ttest_rel(PLAIN, LARGE)  # the seeds of one split
    assert first.parts["large"].against_plain.difference == pytest.approx(np.mean(PLAIN) - np.mean(LARGE))
    assert first.parts["large"].p_holm == pytest.approx(expected.pvalue)


def test_p_values_of_a_part_are_adjusted_together(store):
    add(store, PLAIN, large=LARGE)
    add(store, OTHER, "rpc", large=PLAIN)
    add(store, OTHER, "consistency", large=OTHER)
    rows = {row.label: row.parts["large"] for row in shift_rows(*shown(store)[::2])}
    raw = {f"gcn+{n}": stats.ttest_rel(v, LARGE).pvalue for n, v in (("rpc", PLAIN), ("consistency", OTHER))}
    low, high = sorted(raw, key=raw.get)
    assert rows[low].p_holm == pytest.approx(min(2 * raw[low], 1))
    assert rows[high].p_holm == pytest.approx(max(2 * raw[low], raw[high]))


def test_over_splits_the_test_allows_for_shared_training_rows(store):
    plain, other = [0.5, 0.55, 0.45, 0.5], [0.6, 0.7, 0.5, 0.58]
    add(store, plain, benchmark="moved@splits", over="split")
    add(store, other, "rpc", benchmark="moved@splits", over="split")
    row = shift_rows(*shown(store, "moved@splits")[::2])[0]
    d = np.subtract(other, plain)
    t = d.mean() / np.sqrt(d.var(ddof=1) * (1 / 4 + 30 / 60))
    assert row.parts["test"].p_holm == pytest.approx(2 * stats.t.sf(abs(t), 3))
    assert "Nadeau" in shift_table(*shown(store, "moved@splits")).method


def test_a_model_with_a_strategy_of_its_own_is_compared_with_itself_trained_plainly(store):
    add(store, PLAIN, large=PLAIN)
    add(store, OTHER, "light-hgnn", model="light-hgnn", large=OTHER)
    (own, _) = shift_rows(*shown(store)[::2])
    assert own.label == "light-hgnn"
    assert own.parts["large"].against_plain is None
    add(store, PLAIN, "erm", model="light-hgnn", large=LARGE)
    rows = {row.label: row for row in shift_rows(*shown(store)[::2])}
    assert rows["light-hgnn"].parts["large"].against_plain.difference == pytest.approx(np.mean(OTHER) - np.mean(LARGE))
    assert rows["light-hgnn+erm"].parts["large"].against_plain is None


def test_the_table_says_what_shifts_and_what_it_costs(store):
    add(store, PLAIN, small=SMALL, large=LARGE)
    add(store, OTHER, "rpc", small=SMALL, large=PLAIN)
    found = shift_table(*shown(store))
    assert found.what == "the size of graphs"
    assert found.columns == [
        *("model", "in distribution (small), accuracy %", "against erm"),
        *("shifted (large)", "gap", "against erm", "shifted (test)", "gap", "against erm"),
    ]
    plain = found.lines[1]
    assert plain[:3] == ["gcn", "90.00 ± 4.97", ""]
    assert plain[3:6] == ["41.00 ± 2.48", "-49.00", ""]
    assert found.lines[0][5].startswith("+9.00 (p = 0.")
    page = site([of(store)], [], "results").pages["moved@size.md"]
    assert "## In distribution and shifted" in page
    assert "What shifts: the size of graphs." in page
    assert "| `gcn` | 90.00 ± 4.97 |  | 41.00 ± 2.48 | -49.00 |" in page


def test_without_a_part_like_training_there_is_no_gap(store):
    add(store, [0.5, 0.6, 0.7, 0.4], benchmark="moved@splits", over="split")
    assert shift_table(*shown(store, "moved@splits")).columns == ["model", "shifted (test)", "against erm"]


def test_nothing_shifts(store):
    add(store, [0.5], benchmark="moved@same")
    assert shift_of("moved@same") is None
    assert shift_of("nobody@knows") is None
    assert shift_table(*shown(store, "moved@same")) is None
    assert "shifted" not in site([of(store, "moved@same")], [], "results").pages["moved@same.md"]


def test_records_without_parts_show_what_they_have(store):
    add(store, PLAIN)
    (row,) = shift_rows(*shown(store)[::2])
    assert list(row.parts) == ["test"]
    assert shift_table(*shown(store)).lines == [["gcn", "", "", "", "", "", "50.00 ± 12.42", "", ""]]

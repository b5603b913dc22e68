"""``expressivity``: models bounded by 1-WL separate nothing that it cannot, others do; records, boards, errors."""

from __future__ import annotations

import pytest
import torch

from gnnzoo import expressivity, standings
from gnnzoo.cards import DatasetCard
from gnnzoo.errors import ConfigError, UnknownNameError
from gnnzoo.registry import DATASETS, MODELS, partition
from gnnzoo.runner import plan, run
from gnnzoo.runner.config import resolve
from gnnzoo.runner.expressivity import SUITES, questions

PAIR = "rook-shrikhande"
FAST = {"strategy.copies": 18}


def only(*args, **choices):
    (record,) = expressivity(*args, **choices)
    return record.result.test


@pytest.mark.parametrize("model", ["gin", "gine", "gatedgcn", "pna", "graph-statistics-mlp"])
def test_1_wl_bounds_the_baselines(tmp_path, model):
    found = only(model, dataset="csl-pairs", settings=FAST, results=tmp_path)
    assert (found["pairs"], found["wl_leaves"]) == (45, 45)
    assert (found["separated"], found["beyond_wl"], found["controls_separated"]) == (0, 0, 0)
    assert found["controls"] == 10


def test_more_than_1_wl(tmp_path):
    """Cliques of four tell the rook's graph from Shrikhande's; polynomials see them, triangles alone do not."""
    assert only("gin", dataset=PAIR, settings=FAST, results=tmp_path)["separated"] == 0
    found = only("gin", dataset=PAIR, settings={**FAST, "data.polynomials": 6}, results=tmp_path)
    assert (found["separated"], found["beyond_wl"]) == (1, 1)


@pytest.mark.data("counting-8")
def test_substructures_that_cannot_be_counted(tmp_path):
    """1-WL leaves 94 pairs with other numbers of cliques of four: gin can count none, with polynomials it sees all."""
    settings = {"strategy.copies": 6, "strategy.width": 4}
    found = only("gin", dataset="counting-8@4-clique", settings=settings, results=tmp_path)
    assert (found["pairs"], found["wl_leaves"], found["separated"], found["controls_separated"]) == (94, 94, 0, 0)
    found = only("gin-polynomials", dataset="counting-8@4-clique", settings=settings, results=tmp_path)
    assert (found["separated"], found["beyond_wl"], found["controls_separated"]) == (94, 94, 0)


def test_training_on_a_pair(tmp_path):
    """It cannot give a model what its architecture lacks."""
    settings = {**FAST, "strategy.epochs": 2}
    assert only("gin", dataset=PAIR, settings=settings, results=tmp_path)["separated"] == 0
    settings["data.polynomials"] = 6
    assert only("gin", dataset=PAIR, settings=settings, results=tmp_path)["separated"] == 1
    with pytest.raises(ConfigError, match=r"strategy.epochs trains on pairs, and this set has larger groups"):
        expressivity("gin", dataset="csl-pairs", settings=settings, results=tmp_path)


def test_records_are_found_again_and_stand_on_boards(tmp_path):
    made = []
    for _ in range(2):
        records = expressivity(
            ["gin", "gine"], dataset=PAIR, seeds=2, results=tmp_path, report=lambda q, r, new: made.append(new)
        )
    assert made == [True] * 4 + [False] * 4
    assert [(r.key.model, r.key.seed, r.key.strategy) for r in records] == [
        (model, seed, "rpc") for model in ("gin", "gine") for seed in (0, 1)
    ]
    assert records[0].result.digest != records[1].result.digest  # other weights
    (board,) = standings(f"{PAIR}@separate", results=tmp_path)
    assert (board.metric, board.splits) == ("separated", 0)
    assert [(row.model, row.summary.mean, row.seeds, row.complete) for row in board.rows] == [
        ("gin", 0, 2, True),
        ("gine", 0, 2, True),
    ]
    assert board.apart == []
    assert "pna" in board.not_run
    assert "gcn" not in board.not_run  # for nodes alone
    expressivity("pna", dataset=PAIR, settings=FAST, results=tmp_path)
    (board,) = standings(f"{PAIR}@separate", results=tmp_path)
    assert [(a.label, a.reason) for a in board.apart] == [("pna", "other settings: strategy.copies=18")]


def test_the_same_seed_gives_the_same_record(tmp_path):
    first, second = (expressivity("gin", dataset=PAIR, results=tmp_path / name)[0] for name in ("a", "b"))
    assert first.key == second.key
    assert first.result == second.result


def test_float64_where_float32_overflows(tmp_path):
    """What is not finite counts for nothing."""
    settings = {**FAST, "strategy.dtype": "float32"}
    found = only("gin", dataset="overflowing", settings=settings, results=tmp_path)
    assert (found["not_finite"], found["separated"]) == (2, 0)
    settings["strategy.dtype"] = "float64"
    found = only("gin", dataset="overflowing", settings=settings, results=tmp_path)
    assert (found["not_finite"], found["separated"]) == (0, 1)
    assert torch.get_default_dtype() == torch.float32


def load_csl_pairs(card, protocol, files):
    """Return one graph of each class of the circular skip links."""
    from gnnzoo.datasets.expressivity import _graph

    graphs = []
    for y, skip in enumerate((2, 3, 4, 5, 6, 9, 11, 12, 13, 16)):
        nodes = torch.arange(41)
        ends = torch.cat([torch.stack([nodes, (nodes + step) % 41]) for step in (1, skip)], dim=1)
        graphs.append(_graph(torch.cat([ends, ends.flip(0)], dim=1).numpy(), 41, y=y, group=0))
    return graphs, []


def load_overflowing(card, protocol, files):
    """Return a cycle and a path whose features are so large that their sums leave float32."""
    from gnnzoo.datasets.expressivity import _graph

    nodes = torch.arange(6)
    ends = torch.stack([nodes, (nodes + 1) % 6])
    cycle, path = (torch.cat([found, found.flip(0)], dim=1).numpy() for found in (ends, ends[:, :5]))
    graphs = [_graph(edges, 6, y=y, group=0) for y, edges in enumerate((cycle, path))]
    for graph in graphs:
        graph.x = 2e38 * graph.x
    return graphs, []


@pytest.fixture(scope="module", autouse=True)
def _sets(_registries):
    from gnnzoo.registry import register_dataset

    common = {"summary": "s", "family": "test", "task": "distinguish", "num_outputs": 16, "default_protocol": "pairs"}
    common["protocols"] = {"pairs": {"summary": "s", "splits": 0, "metric": "separated"}}
    sizes = {"csl-pairs": (10, 410, 1640), "overflowing": (2, 12, 22)}
    for name, loader in (("csl-pairs", load_csl_pairs), ("overflowing", load_overflowing)):
        graphs, nodes, edges = sizes[name]
        counts = {"graphs": graphs, "nodes": nodes, "edges": edges, "features": 1}
        register_dataset({**common, "name": name, "counts": counts}, loader)


# --- what is asked ---


def test_suites_are_sets_of_pairs():
    names = {name for suite, found in SUITES.items() if suite != "substructures" for name in found}
    for name in (*names, *SUITES["substructures"][:-1]):
        assert any(p.splits == 0 for p in DATASETS.card(partition(name)[0]).protocols.values()), name
    found, _, training = questions({"model": "gin", "suite": "exp,sr"}, signatures=False)
    assert [q.config.benchmark for q in found][:2] == ["EXP@pairs", "CEXP@pairs"]
    assert len(found) == 2 + 10
    assert training == {}
    assert len(questions({"model": "gin"}, signatures=False)[0]) == len(names)
    values = {"model": "gin", "suite": "substructures", "strategy.copies": 18, "train.epochs": 2}
    found, _, training = questions(values)
    assert training == {"model": "gin", "dataset": "counting-er@public", "train.epochs": 2}
    assert [f"{q.config.benchmark}" for q in found] == SUITES["substructures"][:-1]
    assert {q.config.sections["strategy"]["copies"] for q in found} == {18}
    (shipped,) = {q.config.sections["train"]["epochs"] for q in questions({"model": "gin", "suite": "csl"})[0]}
    assert {q.config.sections["train"]["epochs"] for q in found} == {shipped}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"model": "gcn", "dataset": PAIR}, "model gcn is for node"),
        ({"model": "gin", "dataset": "MUTAG"}, "MUTAG has no pairs of graphs to be told apart; these have: BREC, CEXP"),
        ({"model": "gin", "dataset": "EXP@clean-10fold"}, "EXP@clean-10fold has no pairs"),
        ({"model": "gin", "suite": "brek"}, "unknown suite 'brek'; did you mean 'brec'"),
        ({"model": "gin", "dataset": PAIR, "splits": 0}, "splits= is not for gnnzoo expressivity"),
        ({"dataset": PAIR}, "model= is missing"),
        ({"model": "gin", "dataset": PAIR, "strategy.copy": 3}, r"unknown key strategy.copy; did you mean .*copies"),
    ],
)
def test_mistakes_are_one_line(choices, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        questions(choices)


def test_too_few_copies():
    with pytest.raises(ConfigError, match=r"strategy\.copies=16: more than strategy\.width=16"):
        questions({"model": "gin", "dataset": PAIR, "strategy.copies": 16})


def test_nothing_is_trained_on_pairs(tmp_path):
    with pytest.raises(ConfigError, match=f"nothing is trained on {PAIR}@separate: gnnzoo expressivity model=gin"):
        run("gin", PAIR, results=tmp_path)
    with pytest.raises(ConfigError, match="nothing is trained on EXP@pairs"):
        resolve("gin", "EXP@pairs", signatures=False)
    with pytest.raises(ConfigError, match="strategy rpc asks what a model tells apart"):
        run("gin", "csl-generated", strategy="rpc", splits=[0], results=tmp_path)
    work = plan({"suite": "expressivity", "model": "gin"}, signatures=False)
    assert {config.benchmark for config in work.configs} >= {"EXP@clean-10fold", "counting-er@public"}
    assert all(cell.config.protocol not in ("pairs", "separate") for cell in work.cells)


def test_splits_and_metric_of_a_protocol_belong_together():
    card = DATASETS.card("EXP").model_dump(by_alias=True)
    card["protocols"]["pairs"]["metric"] = "accuracy"
    with pytest.raises(ValueError, match="0 splits and the metric separated belong together"):
        DatasetCard.model_validate(card)


@pytest.mark.parametrize("model", sorted(MODELS.list(task="graph")))
def test_every_model_for_graphs_can_be_asked(tmp_path, model):
    """The smallest question there is, with the tiny preset: nobody is apart from itself."""
    tiny = {f"model.{key}": value for key, value in MODELS.card(model).tiny.items()}
    found = only(model, dataset=PAIR, settings={**FAST, **tiny}, results=tmp_path)
    assert (found["pairs"], found["controls"], found["controls_separated"], found["not_finite"]) == (1, 2, 0, 0)

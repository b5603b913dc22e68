"""CoNHD: blocks set by set, what the equations imply, merged and unmerged incidences, odd hypergraphs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

import gnnzoo
from gnnzoo.datasets import HypergraphData, load_dataset
from gnnzoo.datasets.edge_dependent import order_ranks
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models import CoNHD, conhd
from gnnzoo.models.build import create_model
from gnnzoo.nn import sets as set_blocks
from gnnzoo.nn.sets import Sets, equivariant_block
from gnnzoo.tasks import forward
from gnnzoo.tasks.incidence import neighbourhood

# sizes 4, 2, 3, 1, 2; hyperedges 0 and 5 list the same nodes, so do 1 and 6, hyperedge 3 has none, 4 has one,
# hyperedge 2 lists node 4 twice; node 7 is in none
INDEX = torch.tensor(
    [
        [0, 1, 2, 3, 3, 4, 4, 5, 4, 6, 3, 2, 1, 0, 4, 3],
        [0, 0, 0, 0, 1, 1, 2, 2, 2, 4, 5, 5, 5, 5, 6, 6],
    ]
)
VARIANTS = {
    "unb": {},
    "unb-2": {"num_layers": 2, "share_weights": False},
    "unb-norm": {"num_layers": 2, "layer_norm": True, "scorer_layers": 2},
    "isab": {"block": "isab"},
    "isab-2": {"block": "isab", "num_layers": 2, "layer_norm": True},
    "sab-2": {"block": "sab", "num_layers": 2},
    "admm-unb": {"optimization": "admm"},
    "admm-isab-3": {"optimization": "admm", "block": "isab", "num_layers": 3},
}


def build(name: str = "unb", **settings: Any) -> CoNHD:
    torch.manual_seed(0)
    own = {"hidden_channels": 8, "heads": 2, "num_points": 3, "scorer_channels": 6, "dropout": 0.0}
    model = CoNHD(5, 3, **(own | VARIANTS[name] | settings)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def features(num_nodes: int = 8) -> Tensor:
    return torch.randn(num_nodes, 5, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def order_pe(index: Tensor = INDEX) -> Tensor:
    """Return ranks by two centralities, one of which has ties."""
    columns = [np.arange(8.0) * 7 % 8, np.arange(8.0) // 3]
    ranks = [order_ranks(column[index[0].numpy()], index[1].numpy()) for column in columns]
    return torch.from_numpy(np.stack(ranks, axis=1))


def identity(module: nn.Linear, block: int) -> None:
    """Let a layer hand on one part of its input."""
    width = module.out_features
    with torch.no_grad():
        module.weight.zero_()
        module.weight[:, block * width : (block + 1) * width] = torch.eye(width)
        module.bias.zero_()


@pytest.fixture
def unmerged(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that computes a model without merging anything."""

    def call(model: CoNHD, *arguments: Any) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(conhd, "_kept_plan", lambda *args: conhd._plan(*args[:5], False, False))
            return model(*arguments)

    return call


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("kind", ["unb", "isab", "sab"])
def test_blocks_are_those_of_each_set_alone(kind: Any, layer_norm: bool) -> None:
    torch.manual_seed(0)
    block = equivariant_block(kind, 8, 2, 3, layer_norm).double()
    sizes = [3, 1, 4]
    x = torch.randn(8, 8, dtype=torch.double)
    together = block(x, Sets(torch.arange(3).repeat_interleave(torch.tensor(sizes)), 3))
    alone = [block(part, Sets(torch.zeros(len(part), dtype=torch.int64), 1)) for part in x.split(sizes)]
    torch.testing.assert_close(together, torch.cat(alone))
    asked = torch.tensor([1, 3, 6])
    torch.testing.assert_close(
        block(x, Sets(torch.arange(3).repeat_interleave(torch.tensor(sizes)), 3), asked), together[asked]
    )


@pytest.mark.parametrize("kind", ["unb", "isab", "sab"])
def test_an_element_that_counts_three_times_is_three_elements(kind: Any) -> None:
    torch.manual_seed(0)
    block = equivariant_block(kind, 8, 2, 3, False).double()
    x, owner = torch.randn(3, 8, dtype=torch.double), torch.tensor([0, 0, 1])
    counts = torch.tensor([1, 3, 2])
    expected = block(x.repeat_interleave(counts, 0), Sets(owner.repeat_interleave(counts), 2))
    found = block(x, Sets(owner, 2, counts))
    torch.testing.assert_close(found.repeat_interleave(counts, 0), expected)


def test_attention_is_that_of_dense_matrices() -> None:
    torch.manual_seed(0)
    block = equivariant_block("isab", 6, 2, 3, False).double()
    x = torch.randn(5, 6, dtype=torch.double)

    def mab(layer: Any, query: Tensor, key: Tensor) -> Tensor:
        q, k, v = layer.lin_query(query), layer.lin_key(key), layer.lin_value(key)
        heads = [
            a + (a @ b.t() / 6**0.5).softmax(-1) @ c
            for a, b, c in zip(*(part.split(3, dim=1) for part in (q, k, v)), strict=True)
        ]
        out = torch.cat(heads, dim=1)
        return out + layer.lin_out(out).relu()

    expected = mab(block.mab1, x, mab(block.mab0, block.points, x))
    torch.testing.assert_close(block(x, Sets(torch.zeros(5, dtype=torch.int64), 1)), expected)
    block = equivariant_block("sab", 6, 2, 3, False).double()
    torch.testing.assert_close(block(x, Sets(torch.zeros(5, dtype=torch.int64), 1)), mab(block.mab, x, x))


def test_attention_among_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_blocks, "_MAX_PAIRS", 24)
    block, x = equivariant_block("sab", 4, 2, 3, False), torch.randn(5, 4)
    with pytest.raises(DataError, match="25 pairs in all sets are too many"):
        block(x, Sets(torch.zeros(5, dtype=torch.int64), 1))


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_merged_has_the_same_numbers(name: str, positions: bool, unmerged: Any) -> None:
    model, x = build(name, order_channels=2 * positions), features().requires_grad_()
    arguments = (x, INDEX, torch.tensor([6, 7, 8, 0, 15]), order_pe())
    outputs = [model(*arguments), unmerged(model, *arguments)]
    torch.testing.assert_close(*outputs)
    weight = torch.randn_like(outputs[0])
    inputs = [x, *model.parameters()]
    for merged, plain in zip(*(torch.autograd.grad((out * weight).sum(), inputs) for out in outputs), strict=True):
        torch.testing.assert_close(merged, plain)


def test_every_distinct_row_is_computed_once() -> None:
    (step,) = conhd._plan(INDEX, None, order_pe(), None, 1, True, True).steps
    # of 16 incidences hyperedges 5 and 6 are as 0 and 1, and hyperedge 2 lists a node twice
    assert len(step.hyperedges.value) == 9
    assert step.hyperedges.sets.num_sets == 4
    distinct = torch.cat([INDEX[:1].t().double(), order_pe()], dim=1).unique(dim=0)
    assert len(step.nodes.value) == len(distinct) < 16
    assert len(step.hyperedges.answer) == 9
    (step,) = conhd._plan(INDEX, None, None, None, 1, True, True).steps
    assert len(step.nodes.value) == 7  # without positions a node is the same in all its hyperedges
    (step,) = conhd._plan(INDEX, None, None, None, 1, True, False).steps
    assert (len(step.nodes.value), len(step.nodes.answer)) == (7, 16)  # dropout tells outputs apart
    (step,) = conhd._plan(INDEX, None, None, None, 1, False, False).steps
    assert len(step.nodes.value) == len(step.hyperedges.value) == 16


def test_sets_with_the_same_sum_of_codes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randint", lambda low, high, size, generator: torch.ones(size, dtype=torch.int64))
    owner, classes = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([4, 1, 1, 2, 1, 4])
    found = conhd._representatives(owner, classes, 3).tolist()
    assert found[0] != found[1]
    assert found[1] != found[2]


@pytest.mark.parametrize("name", VARIANTS)
def test_numbers_of_nodes_and_hyperedges_and_the_order_of_incidences_play_no_part(name: str) -> None:
    model, x, order = build(name, order_channels=2), features(), order_pe()
    generator = torch.Generator().manual_seed(3)
    nodes, hyperedges, places = (torch.randperm(n, generator=generator) for n in (8, 7, 16))
    index = torch.stack([nodes[INDEX[0]], hyperedges[INDEX[1]]])[:, places]
    moved = model(x[nodes.argsort()], index, order_pe=order[places])
    torch.testing.assert_close(moved, model(x, INDEX, order_pe=order)[places])


@pytest.mark.parametrize("name", VARIANTS)
def test_asking_for_some_incidences_gives_their_rows(name: str) -> None:
    model, x, order = build(name, order_channels=2), features(), order_pe()
    whole = model(x, INDEX, None, order)
    for asked in ([3], [9, 0, 0, 5], []):
        torch.testing.assert_close(model(x, INDEX, torch.tensor(asked, dtype=torch.int64), order), whole[asked])


@pytest.mark.parametrize("name", VARIANTS)
def test_a_mini_batch_with_all_neighbours_is_exact(name: str) -> None:
    model = build(name, order_channels=2, embedding_channels=2, num_nodes=8)
    data = HypergraphData(features(), INDEX, torch.arange(16) % 3, num_hyperedges=7, order_pe=order_pe())
    rows = torch.tensor([4, 5, 9])
    expected = model(data.x, INDEX, rows, data.order_pe)
    batch = neighbourhood(data, rows, 100, model.num_layers)
    assert len(batch.x) < 8 or model.num_layers > 1
    torch.testing.assert_close(forward(model, batch), expected)


def test_a_sampled_batch_uses_what_was_reached_in_time() -> None:
    """Layer t of L sees only incidences that L - t + 1 steps reach."""
    model = build("unb-2")
    data = HypergraphData(features(), INDEX, torch.arange(16) % 3, num_hyperedges=7)
    batch = neighbourhood(data, torch.tensor([4, 5]), 2, 2, torch.Generator().manual_seed(0))
    plan = conhd._plan(batch.hyperedge_index, batch.incidence_index, None, batch.incidence_hop, 2, False, False)
    first, last = plan.steps
    assert len(last.hyperedges.answer) == 2
    assert len(first.hyperedges.answer) == int((batch.incidence_hop <= 1).sum()) < 16
    assert forward(model, batch).isfinite().all()


@pytest.mark.parametrize("num_layers", [1, 3])
def test_gradient_descent_that_keeps_x_ends_where_it_began(num_layers: int) -> None:
    model, x = build(num_layers=num_layers), features()
    identity(model.layers[0].lin, 0)
    rows, index = model.diffuse(x, INDEX)
    torch.testing.assert_close(rows[index], model.lin_in(x).relu()[INDEX[0]])


@pytest.mark.parametrize("message", [0, 1])
def test_admm_with_identities_hands_on_x(message: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("admm-isab-3"), features()
    identity(model.layers[0].lin, message)
    monkeypatch.setattr(
        conhd.SetOperator, "forward", lambda self, x, sets, order: x if sets.asked is None else x[sets.asked]
    )
    rows, index = model.diffuse(x, INDEX)
    torch.testing.assert_close(rows[index], model.lin_in(x).relu()[INDEX[0]])


def test_alike_incidences_are_told_apart_by_the_second_layer_only() -> None:
    # nodes 1 and 2 have the same features, and hyperedges 0 and 1 so the same members; node 2 is in one more
    index, x = torch.tensor([[0, 1, 0, 2, 2, 3], [0, 0, 1, 1, 2, 2]]), features(4)
    x[2] = x[1]
    one, two = (build(num_layers=n)(x, index) for n in (1, 2))
    torch.testing.assert_close(one[1], one[3])
    assert not torch.allclose(two[1], two[3])


def test_a_node_that_is_listed_twice_has_two_equal_rows() -> None:
    out = build("isab-2", order_channels=2)(features(), INDEX, order_pe=order_pe())
    torch.testing.assert_close(out[6], out[8])
    coalesced = INDEX[:, [i for i in range(16) if i != 8]]
    out, once = (build()(features(), index) for index in (INDEX, coalesced))
    assert not torch.allclose(out[7], once[7]), "a node that is listed twice counts twice"


@pytest.mark.parametrize("name", VARIANTS)
def test_odd_hypergraphs(name: str) -> None:
    model, x = build(name), features()
    assert model(x, INDEX[:, :0]).shape == (0, 3)
    alone = model(x, torch.tensor([[2, 5], [0, 7]]))
    torch.testing.assert_close(alone, torch.cat([model(x[[v]], torch.zeros(2, 1, dtype=torch.int64)) for v in (2, 5)]))
    changed = x.clone()
    changed[7] = 100.0
    torch.testing.assert_close(model(changed, INDEX), model(x, INDEX))  # node 7 is in no hyperedge


def test_ranks() -> None:
    values, hyperedges = np.array([3.0, 5.0, 1.0, 3.0, 2.0]), np.array([0, 1, 0, 0, 0])
    assert order_ranks(values, hyperedges).tolist() == [0.75, 1.0, 0.25, 0.75, 0.5]


def test_dropout_falls_on_each_incidence_and_each_view_apart() -> None:
    model, x = build(input_dropout=0.5, hidden_channels=64), features().abs()
    with torch.no_grad():
        model.lin_in.weight.copy_(torch.ones(64, 5))
        model.lin_in.bias.zero_()
    seen: list[Tensor] = []
    for side in (model.layers[0].phi, model.layers[0].psi):
        side.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.train()(x, INDEX)
    (step,) = conhd._plan(INDEX, None, None, None, 1, False, True).steps
    views = [rows[view.element] for rows, view in zip(seen, (step.hyperedges, step.nodes), strict=True)]
    full = 2 * x.sum(1)[INDEX[0]].unsqueeze(1)
    for rows in views:
        assert bool(((rows == 0) | torch.isclose(rows, full)).all())
        assert 0.4 < float((rows == 0).double().mean()) < 0.6
    assert not torch.equal(views[0] == 0, views[1] == 0)
    assert not torch.equal(views[0][6] == 0, views[0][8] == 0)
    torch.testing.assert_close(model.eval()(x, INDEX), model(x, INDEX))


def test_dropout_of_what_operators_give_is_not_shared_by_merged_incidences() -> None:
    model = build(dropout=0.5, hidden_channels=64).train()
    identity(model.layers[0].lin, 2)
    rows, index = model.diffuse(features(), INDEX)
    dropped = (rows == 0)[index]
    assert not torch.equal(dropped[0], dropped[13])  # node 0 in hyperedges 0 and 5
    kept = ~dropped[0] & ~dropped[13]
    torch.testing.assert_close(rows[index[0]][kept], rows[index[13]][kept])


def test_a_table_of_nodes_is_trained() -> None:
    model = build(embedding_channels=2, num_nodes=8)
    x = features()
    model(x, INDEX, torch.tensor([9])).sum().backward()
    assert model.embedding is not None
    assert model.embedding.weight.grad.abs().sum(1).nonzero().flatten().tolist() == [6]
    with pytest.raises(DataError, match="the table has 8 nodes, x has 3"):
        model(x[:3], INDEX[:, :3])


def test_sizes_come_from_the_data() -> None:
    model = create_model(
        "conhd",
        HypergraphData(features(), INDEX, order_pe=order_pe()),
        out_channels=2,
        order_channels=None,
        embedding_channels=3,
        num_nodes=None,
    )
    assert model.order_channels == 2
    assert model.embedding.weight.shape == (8, 3)
    data = HypergraphData(features(), INDEX, order_pe=order_pe())
    assert CoNHD.infer(data) == {"in_channels": 5, "order_channels": 2, "num_nodes": 8}
    del data.order_pe
    assert CoNHD.infer(data)["order_channels"] == 0
    with pytest.raises(DataError, match="one hypergraph"):
        CoNHD.infer(Data(x=features()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": "isab", "heads": 3}, "heads=3 must divide hidden_channels=8"),
        ({"optimization": "admm", "share_weights": False}, "share their weights"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**settings)


def test_missing_positions_are_named() -> None:
    model = build(order_channels=2)
    for wrong, text in ((None, "None"), (order_pe()[:, :1], r"\[16, 1\]")):
        with pytest.raises(DataError, match=rf"order_pe must have shape \[16, 2\], not {text}"):
            model(features(), INDEX, None, wrong)
    with pytest.raises(DataError, match="refers to node 6"):
        model(features(4), INDEX)


@pytest.mark.data("email-eu")
def test_email_eu_has_few_distinct_rows() -> None:
    data = load_dataset("email-eu").data
    (step,) = conhd._plan(data.hyperedge_index, None, data.order_pe, None, 1, True, True).steps
    assert len(step.nodes.value) == 45_885  # of 541 842
    assert step.hyperedges.sets.num_sets < 40_000  # of 209 508


@pytest.mark.slow
@pytest.mark.data("outsider-citeseer-cocitation")
def test_outsiders_are_known_by_their_company(tmp_path: Path) -> None:
    """How often a node is an outsider tells 59 % of the validation incidences; more needs those that it is with."""
    settings = {"train.epochs": 10}
    result = gnnzoo.run("conhd", "outsider-citeseer-cocitation", settings=settings, results=tmp_path)
    assert result.records[0].result.val["micro_f1"] > 0.66

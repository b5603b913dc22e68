"""HGNN, HyperGCN, UniGNN, AllSet, ED-HNN and HNHN: closed forms, invariances, hypergraphs that break careless code."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models import EDHNN, HGNN, HNHN, AllDeepSets, AllSetTransformer, HyperGCN, UniGCNII, UniGNN
from gnnzoo.models.allset import DeepSet, PooledAttention
from gnnzoo.models.ed_hnn import EquivariantDiffusion
from gnnzoo.models.hypergcn import hypergraph_laplacian
from gnnzoo.nn.hypergraph import MLP, Incidence, IncidenceHead, incidence
from gnnzoo.ops import spmm

DOUBLE = torch.float64
# sizes 4, 2, 3, 1; hyperedge 3 has no node, node 7 is in none
INDEX = torch.tensor([[0, 1, 2, 3, 3, 4, 4, 5, 6, 6], [0, 0, 0, 0, 1, 1, 2, 2, 2, 4]])
MODELS = {
    "hgnn": (HGNN, {}),
    "hgnn-elu": (HGNN, {"activation": "elu", "num_layers": 3}),
    "hgnn-plus": (HGNN, {"norm": "mean"}),
    "hnhn": (HNHN, {}),
    "hypergcn": (HyperGCN, {"final_relu": False}),
    "hypergcn-pairs": (HyperGCN, {"final_relu": False, "mediators": False, "num_layers": 3}),
    "hypergcn-slow": (HyperGCN, {"final_relu": False, "fast": False}),
    "unigcnii": (UniGCNII, {"num_layers": 3}),
    "unigcnii-norm": (UniGCNII, {"num_layers": 3, "use_norm": True, "hyperedge_aggr": "sum"}),
    **{f"uni-{conv}": (UniGNN, {"conv": conv, "heads": 2}) for conv in ("gcn", "gin", "sage", "gat")},
    "uni-max": (UniGNN, {"conv": "sage", "hyperedge_aggr": "max", "node_aggr": "max", "use_norm": True}),
    "alldeepsets": (AllDeepSets, {"num_layers": 2}),
    "alldeepsets-mean": (AllDeepSets, {"aggr": "mean", "norm": "batch", "classifier_layers": 2}),
    "allset-transformer": (AllSetTransformer, {"heads": 4, "num_layers": 2}),
    "ed-hnn": (EDHNN, {}),
    "ed-hnn-linear": (EDHNN, {"mlp1_layers": 0, "mlp2_layers": 0, "mlp3_layers": 1, "alpha": 0.0}),
    "ed-hnn-deep": (EDHNN, {"mlp1_layers": 1, "mlp2_layers": 3, "mlp3_layers": 0, "norm": "none", "aggr": "sum"}),
    "ed-hnn-batch": (EDHNN, {"norm": "batch", "mlp2_layers": 1}),
    "jumplink": (EDHNN, {"conv": "jumplink"}),
}
SUMS = ["uni-gin", "uni-sage", "alldeepsets", "ed-hnn-deep", "hypergcn", "hypergcn-pairs", "hypergcn-slow"]


def build(name: str, **settings: object) -> nn.Module:
    cls, own = MODELS[name]
    torch.manual_seed(0)
    model = cls(5, 3, **{"hidden_channels": 8, **own, **settings}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def features(num_nodes: int = 8) -> Tensor:
    return torch.randn(num_nodes, 5, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))


def dense(index: Tensor, num_nodes: int) -> Tensor:
    members = torch.zeros(num_nodes, int(index[1].max()) + 1, dtype=DOUBLE)
    members.index_put_(tuple(index), torch.ones(index.size(1), dtype=DOUBLE), accumulate=True)
    return members


@pytest.mark.parametrize("name", MODELS)
def test_order_and_numbers_play_no_part(name: str) -> None:
    model, x = build(name), features()
    expected = model(x, INDEX)
    shuffled = INDEX[:, torch.randperm(INDEX.size(1), generator=torch.Generator().manual_seed(2))]
    torch.testing.assert_close(model(x, shuffled), expected)
    numbers = torch.tensor([7, 2, 9, 0, 4])
    torch.testing.assert_close(model(x, torch.stack([INDEX[0], numbers[INDEX[1]]])), expected)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    moved = torch.stack([order.argsort()[INDEX[0]], INDEX[1]])
    torch.testing.assert_close(model(x[order], moved), expected[order])


@pytest.mark.parametrize("name", MODELS)
def test_a_lone_node_with_a_hyperedge_of_its_own_leaves_the_others_alone(name: str) -> None:
    model = build(name)
    expected = model(features(), INDEX)
    more = torch.cat([features(), torch.ones(1, 5, dtype=DOUBLE)])
    index = torch.cat([INDEX, torch.tensor([[8], [5]])], dim=1)
    torch.testing.assert_close(model(more, index)[:8], expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_hyperedge_listed_again_changes_sums_and_not_means(name: str) -> None:
    model, x = build(name), features()
    twice = torch.cat([INDEX, torch.stack([INDEX[0], INDEX[1] + 5])], dim=1)
    same = torch.allclose(model(x, INDEX), model(x, twice))
    assert same == (name not in SUMS)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "index",
    [INDEX[:, :0], INDEX[:, -1:], torch.tensor([[2, 2, 2], [0, 0, 0]]), INDEX.repeat(1, 2)],
    ids=["no incidence", "one singleton", "one node three times", "all twice"],
)
@pytest.mark.parametrize("name", MODELS)
def test_degenerate_hypergraphs_give_numbers(name: str, index: Tensor, training: bool) -> None:
    model = build(name).train(training)
    out = model(features(), index)
    assert out.shape == (8, 3)
    assert out.isfinite().all()
    out.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_incidences_get_rows_of_their_own(name: str) -> None:
    model, x = build(name, per_incidence=True), features()
    expected = model(x, INDEX)
    assert expected.shape == (10, 3)
    rows = torch.tensor([9, 0, 4])
    torch.testing.assert_close(model(x, INDEX, rows), expected[rows])
    order = torch.randperm(10, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(model(x, INDEX[:, order]), expected[order])
    assert not torch.allclose(expected[3], expected[4]), "node 3 in hyperedges 0 and 1"


def test_operator_of_hgnn() -> None:
    members, x = dense(INDEX, 8), features()
    degree, size = members.sum(1).clamp(min=1), members.sum(0).clamp(min=1)
    operator = (members / size @ members.t()) / (degree[:, None] * degree).sqrt()
    model = build("hgnn", num_layers=1)
    (lin,) = model.lins
    torch.testing.assert_close(model(x, INDEX), operator @ lin(x))
    mean = build("hgnn-plus", num_layers=1)
    (lin,) = mean.lins
    torch.testing.assert_close(mean(x, INDEX), (members / degree[:, None]) @ (members / size).t() @ lin(x))


def test_one_hyperedge_of_all_nodes_is_the_mean() -> None:
    model, x = build("hgnn", num_layers=1), features()
    index = torch.stack([torch.arange(8), torch.zeros(8, dtype=torch.int64)])
    torch.testing.assert_close(model(x, index), model.lins[0](x).mean(0).expand(8, -1))


def test_pairs_make_half_a_graph_convolution() -> None:
    edges = torch.tensor([[0, 1], [1, 2], [2, 3], [0, 3], [0, 2]])
    index = torch.stack([edges.flatten(), torch.arange(5).repeat_interleave(2)])
    adjacency = torch.zeros(4, 4, dtype=DOUBLE)
    adjacency[edges[:, 0], edges[:, 1]] = adjacency[edges[:, 1], edges[:, 0]] = 1
    scale = adjacency.sum(1).rsqrt()
    operator = (torch.eye(4, dtype=DOUBLE) + scale[:, None] * adjacency * scale) / 2
    model = build("hgnn", num_layers=1)
    torch.testing.assert_close(model(features(4), index), operator @ model.lins[0](features(4)))


@pytest.mark.parametrize(("mediators", "weight"), [(True, 1.0), (False, 0.5)])
def test_a_pair_is_an_edge_of_hypergcn(mediators: bool, weight: float) -> None:
    members = Incidence(torch.tensor([[0, 1], [0, 0]]), 2, DOUBLE)
    found = hypergraph_laplacian(members, torch.tensor([0.3, 0.1], dtype=DOUBLE), mediators)
    expected = torch.tensor([[1, weight], [weight, 1]], dtype=DOUBLE) / (1 + weight)
    torch.testing.assert_close(spmm(found, torch.eye(2, dtype=DOUBLE)), expected)


@pytest.mark.parametrize("mediators", [True, False])
def test_graph_of_hypergcn_is_its_definition(mediators: bool) -> None:
    signal = torch.rand(8, dtype=DOUBLE, generator=torch.Generator().manual_seed(4))
    expected = torch.eye(8, dtype=DOUBLE)
    for number in range(5):
        nodes = INDEX[0, INDEX[1] == number].tolist()
        if len(nodes) < 2:
            continue
        top, bottom = max(nodes, key=lambda v: signal[v]), min(nodes, key=lambda v: signal[v])
        rest = [v for v in nodes if v not in (top, bottom)] if mediators else []
        for u, v in [(top, bottom), *((end, v) for v in rest for end in (top, bottom))]:
            weight = 1 / (2 * len(nodes) - 3) if mediators else 1 / len(nodes)
            expected[u, v] += weight
            expected[v, u] += weight
    scale = expected.sum(1).rsqrt()
    found = hypergraph_laplacian(Incidence(INDEX, 8, DOUBLE), signal, mediators)
    torch.testing.assert_close(spmm(found, torch.eye(8, dtype=DOUBLE)), scale[:, None] * expected * scale)


def test_slow_hypergcn_draws_in_training_only() -> None:
    slow, x = build("hypergcn-slow", dropout=0.0), features()
    assert torch.equal(slow(x, INDEX), slow(x, INDEX))
    draws = torch.stack([slow.train()(x, INDEX) for _ in range(8)])
    assert (draws - draws[0]).abs().max() > 1e-3
    quirk = build("hypergcn", final_relu=True)
    assert (quirk(x, INDEX) >= 0).all()
    torch.testing.assert_close(quirk(x, INDEX), build("hypergcn")(x, INDEX).relu())


def test_unigcnii_of_alpha_one_ignores_the_structure() -> None:
    model, x = build("unigcnii", alpha=1.0), features()
    torch.testing.assert_close(model(x, INDEX), model(x, INDEX[:, :3]))
    assert not torch.allclose(build("unigcnii")(x, INDEX), build("unigcnii")(x, INDEX[:, :3]))


def test_uniform_attention_without_a_query_is_the_mean() -> None:
    layer = PooledAttention(5, 8, heads=2, mlp_layers=2, to_nodes=False).double()
    with torch.no_grad():
        layer.query.zero_()
    members = Incidence(INDEX, 8, DOUBLE)
    z = layer.norms[0](members.to_hyperedges(layer.lin_value(features())))
    torch.testing.assert_close(layer(features(), members), layer.norms[1](z + layer.mlp(z).relu()))


def test_attention_is_a_softmax_over_each_set() -> None:
    members = Incidence(INDEX, 8, DOUBLE)
    generator = torch.Generator().manual_seed(5)
    score = 300 * torch.randn(8, 2, dtype=DOUBLE, generator=generator)
    value = torch.randn(8, 2, 3, dtype=DOUBLE, generator=generator)
    found = members.attend(value, score)
    for row, number in enumerate(INDEX[1].unique()):
        nodes = INDEX[0, INDEX[1] == number]
        torch.testing.assert_close(found[row], (score[nodes].softmax(0).unsqueeze(2) * value[nodes]).sum(0))
    back = members.attend(value[:4], score[:4], to_nodes=True)
    assert back.shape == (8, 2, 3)
    assert not back[7].any()
    dropped = torch.stack([members.attend(value, score / 300, rate=0.5) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(dropped, members.attend(value, score / 300), atol=0.15, rtol=0.0)


@pytest.mark.parametrize("norm", ["layer", "none", "batch"])
@pytest.mark.parametrize("input_norm", [True, False])
@pytest.mark.parametrize("aggr", ["sum", "mean"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_pairs_of_ed_hnn_are_never_multiplied(norm: str, input_norm: bool, aggr: str, depth: int) -> None:
    torch.manual_seed(0)
    layer = EquivariantDiffusion(6, 2, depth, 0, 0.3, aggr, 0.0, norm, input_norm).double().eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    x = (3 + 10 * torch.randn(8, 6, dtype=DOUBLE)).requires_grad_()
    first, members = torch.randn(8, 6, dtype=DOUBLE), Incidence(INDEX, 8, DOUBLE)
    points, weight = [x, *layer.parameters()], torch.randn(8, 6, dtype=DOUBLE)
    h = dense(INDEX, 8)[:, INDEX[1].unique()].t() @ layer.mlp1(x)
    h = h / members.size if aggr == "mean" else h
    pairs = layer.mlp2(torch.cat([x[members.nodes], h[members.hyperedges]], dim=1))
    y = torch.zeros(8, 6, dtype=DOUBLE).index_add(0, members.nodes, pairs)
    y = y / members.degree.clamp(min=1) if aggr == "mean" else y
    found, expected = layer(x, first, members), 0.7 * y + 0.3 * first
    torch.testing.assert_close(found, expected)
    grads = zip(*(torch.autograd.grad((out * weight).sum(), points) for out in (found, expected)), strict=True)
    for ours, theirs in grads:
        torch.testing.assert_close(ours, theirs)


def test_linear_ed_hnn_is_propagation_and_one_map() -> None:
    model, x = build("ed-hnn-linear", num_layers=1, norm="none"), features()
    members = dense(INDEX, 8)
    degree, size = members.sum(1).clamp(min=1), members.sum(0).clamp(min=1)
    h = (members / degree[:, None]) @ (members / size).t() @ model.lin_in(x).relu()
    torch.testing.assert_close(model(x, INDEX), model.classifier(model.conv.mlp3.lins[0](h).relu()))


def test_deep_sets_add_up() -> None:
    layer = DeepSet(5, 4, 2, 0.0, "layer", True, "sum", to_nodes=False).double()
    members, x = Incidence(INDEX, 8, DOUBLE), features()
    summed = torch.stack([layer.encoder(x).relu()[INDEX[0, INDEX[1] == n]].sum(0) for n in INDEX[1].unique()])
    torch.testing.assert_close(layer(x, members), layer.decoder(summed).relu())


def test_perceptron_normalizes_after_relu() -> None:
    mlp = MLP([5, 4, 3]).double()
    first, second = mlp.lins
    torch.testing.assert_close(mlp(features()), second(mlp.norms[1](first(mlp.norms[0](features())).relu())))


def test_head_sees_the_node_beside_the_mean_of_the_hyperedge() -> None:
    head, x = IncidenceHead(5, 3).double(), features()
    mean = torch.stack([x[INDEX[0, INDEX[1] == number]].mean(0) for number in INDEX[1]])
    hidden = head.lin_node(x[INDEX[0]]) + head.lin_hyperedge(mean)
    torch.testing.assert_close(head(x, INDEX), head.lin_out(hidden.relu()))
    before = head.lin_out.weight.clone()
    head.reset_parameters()
    assert not torch.equal(head.lin_out.weight, before)


def test_wrong_input_is_named() -> None:
    with pytest.raises(DataError, match="node 6"):
        build("hgnn")(features(6), INDEX)
    with pytest.raises(DataError, match=r"\[2, num_incidences\]"):
        incidence(INDEX[0], features())
    with pytest.raises(ConfigError, match="heads=3"):
        AllSetTransformer(5, 3, hidden_channels=8, heads=3)


def test_structure_is_built_once() -> None:
    index = INDEX.clone()
    assert incidence(index, features()) is incidence(index, features())
    assert incidence(index, features()) is not incidence(index, features().float())

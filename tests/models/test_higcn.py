"""HiGCN: petals against brute force and closed forms, and what the equations imply."""

import itertools
import time

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from gnnzoo.datasets import load_dataset
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models import HiGCN
from gnnzoo.models.higcn import FlowerPetalConv
from gnnzoo.testing import graphs
from gnnzoo.transforms import FlowerPetals, petals
from gnnzoo.transforms.petals import flower_petals

DOUBLE = torch.double


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def operators(edge_index: Tensor, num_nodes: int, order: int, petal_type: str = "simplex") -> list[Tensor]:
    """Return the operators as dense matrices."""
    index, orders, weight = flower_petals(edge_index, num_nodes, order, petal_type, DOUBLE)  # type: ignore[arg-type]
    dense = torch.zeros(order, num_nodes, num_nodes, dtype=DOUBLE)
    assert len({*zip(orders.tolist(), *index.tolist(), strict=True)}) == orders.numel()
    dense[orders - 1, index[0], index[1]] = weight
    return list(dense)


def definition(cells: list[list[int]], num_nodes: int, order: int) -> Tensor:
    """Return ``D^-1/2 B B^T D^-1/2 / (p + 1)`` of listed petals."""
    incidence = torch.zeros(num_nodes, len(cells), dtype=DOUBLE)
    for column, cell in enumerate(cells):
        incidence[cell, column] = 1
    degree = incidence.sum(1)
    root = torch.where(degree > 0, degree, torch.inf).rsqrt()
    return root[:, None] * (incidence @ incidence.t()) * root / (order + 1)


def random_graph(num_nodes: int = 14, density: float = 0.45) -> Tensor:
    """Return directed edges, some in both directions, some loops; the last node is isolated."""
    kept = torch.rand(num_nodes, num_nodes) < density / 2
    kept[-1], kept[:, -1] = False, False
    return kept.nonzero().t()


def complete(num_nodes: int) -> Tensor:
    return torch.tensor(list(itertools.permutations(range(num_nodes), 2))).t()


def ring(num_nodes: int) -> Tensor:
    nodes = torch.arange(num_nodes)
    return torch.stack([nodes, (nodes + 1) % num_nodes])


def moved(model: nn.Module) -> nn.Module:
    """Move every parameter, the filters too, off its start."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def build(in_channels: int = 5, out_channels: int = 3, **settings: object) -> HiGCN:
    common = {"hidden_channels": 4, "K": 3, "dropout": 0.0, "petal_dropout": 0.0}
    model = HiGCN(in_channels, out_channels, **{**common, **settings})  # type: ignore[arg-type]
    return moved(model).double().eval()  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block", [3, 1 << 22])
def test_simplices_are_all_cliques(seed: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(seed)
    monkeypatch.setattr(petals, "_BLOCK", block)
    edge_index = random_graph(density=0.8)
    graph = nx.Graph(edge_index.t().tolist())
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    cliques = list(nx.enumerate_all_cliques(graph))
    assert max(map(len, cliques)) >= 4
    for p, found in enumerate(operators(edge_index, 14, 5), start=1):
        expected = definition([c for c in cliques if len(c) == p + 1], 14, p)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block", [3, 1 << 22])
def test_rings_are_all_chordless_cycles(seed: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(seed)
    monkeypatch.setattr(petals, "_BLOCK", block)
    edge_index = random_graph()
    graph = nx.Graph(edge_index.t().tolist())
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    cycles = [*map(list, graph.edges), *nx.chordless_cycles(graph, 7)]
    assert max(map(len, cycles)) >= 5
    for p, found in enumerate(operators(edge_index, 14, 6, "ring"), start=1):
        torch.testing.assert_close(found, definition([c for c in cycles if len(c) == p + 1], 14, p))


@pytest.mark.parametrize("m", [2, 3, 4, 6])
def test_complete_graphs_in_closed_form(m: int) -> None:
    for p, found in enumerate(operators(complete(m), m, 5), start=1):
        expected = torch.full((m, m), p / ((p + 1) * (m - 1)), dtype=DOUBLE).fill_diagonal_(1 / (p + 1))
        torch.testing.assert_close(found, expected if p < m else torch.zeros(m, m, dtype=DOUBLE))
    rings = operators(complete(m), m, 4, "ring")
    assert not torch.stack(rings[2:]).any(), "a complete graph's longer cycles have chords"


@pytest.mark.parametrize("petal_type", ["simplex", "ring"])
def test_operators_are_random_walks_with_eigenvalues_in_the_unit_interval(petal_type: str) -> None:
    edge_index = random_graph()
    for p, found in enumerate(operators(edge_index, 14, 3, petal_type), start=1):
        torch.testing.assert_close(found, found.t())
        values = torch.linalg.eigvalsh(found)
        assert values.min() > -1e-12
        assert values.max() == pytest.approx(1)
        covered = found.diagonal() > 0
        assert float(found.trace()) == pytest.approx(int(covered.sum()) / (p + 1))
        assert torch.equal(found.diagonal()[covered], torch.full_like(found.diagonal()[covered], 1 / (p + 1)))
        assert not found[~covered].any()
        adjacency = (found > 0).double() + torch.eye(14, dtype=DOUBLE)
        components = (torch.linalg.matrix_power(adjacency, 14) > 0)[covered].unique(dim=0)
        assert int((values > 1 - 1e-9).sum()) == len(components), "one for each connected component"


def test_root_of_degrees_is_left_alone() -> None:
    edge_index = random_graph(density=0.9)
    graph = nx.Graph(edge_index.t().tolist())
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    triangles = nx.triangles(graph)
    root = torch.tensor([triangles.get(v, 0) for v in range(14)], dtype=DOUBLE).sqrt()
    torch.testing.assert_close(operators(edge_index, 14, 2)[1] @ root, root)


@pytest.mark.parametrize("petal_type", ["simplex", "ring"])
def test_direction_duplicates_and_loops_play_no_part(petal_type: str) -> None:
    edge_index = random_graph()
    loops = torch.arange(14).expand(2, -1)
    for other in (edge_index.flip(0), torch.cat([edge_index, edge_index.flip(0), edge_index, loops], dim=1)):
        for a, b in zip(operators(edge_index, 14, 3, petal_type), operators(other, 14, 3, petal_type), strict=True):
            assert torch.equal(a, b)


def test_entries_are_sorted_by_row_order_and_column() -> None:
    (row, column), order, weight = flower_petals(random_graph(), 14, 3)
    key = (row * 4 + order) * 14 + column
    assert (key.diff() > 0).all()
    assert weight.dtype == torch.float32
    assert order.unique().tolist() == [1, 2, 3]


@pytest.mark.parametrize("petal_type", ["simplex", "ring"])
@pytest.mark.parametrize("num_nodes", [0, 1, 4])
def test_graph_without_edges_has_empty_operators(petal_type: str, num_nodes: int) -> None:
    found = flower_petals(torch.empty(2, 0, dtype=torch.int64), num_nodes, 4, petal_type)  # type: ignore[arg-type]
    assert [tuple(part.shape) for part in found] == [(2, 0), (0,), (0,)]


def test_wrong_petals_are_named() -> None:
    with pytest.raises(ConfigError, match="order=0"):
        flower_petals(complete(3), 3, 0)
    with pytest.raises(ConfigError, match="'clique'"):
        flower_petals(complete(3), 3, 2, "clique")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="node 2"):
        flower_petals(complete(3), 2)


# number of entries and their sum, as the authors ship them
SUMS = [
    ("texas", [(741, 151.41599), (312, 52.93498)]),
    ("wisconsin", [(1151, 216.53549), (502, 82.86990)]),
    ("cora", [(13264, 2515.82153), (7158, 1316.03894), (2029, 368.92020)]),
    ("chameleon", [(65019, 1946.38757), (63100, 1480.99097)]),
    ("actor", [(60918, 6539.97168), (25523, 2793.52441)]),
]


@pytest.mark.parametrize(("name", "expected"), [pytest.param(*row, marks=pytest.mark.data(row[0])) for row in SUMS])
def test_operators_of_the_benchmarks(name: str, expected: list[tuple[int, float]]) -> None:
    data = load_dataset(name).data
    start = time.process_time()
    _, order, weight = flower_petals(data.edge_index, data.num_nodes, len(expected), dtype=DOUBLE)
    assert time.process_time() - start < (10 if name == "chameleon" else 1)
    for p, (entries, total) in enumerate(expected, start=1):
        assert int((order == p).sum()) == entries
        assert float(weight[order == p].sum()) == pytest.approx(total, rel=5e-7)


@pytest.mark.parametrize(
    ("alpha", "expected"), [(1.0, [1, 0, 0, 0]), (0.0, [0, 0, 0, 1]), (0.5, [0.5, 0.25, 0.125, 0.125])]
)
def test_filters_start_as_personalized_pagerank(alpha: float, expected: list[float]) -> None:
    conv = FlowerPetalConv(5, 4, order=2, K=3, alpha=alpha)
    torch.testing.assert_close(conv.gamma.detach(), torch.tensor([expected, expected], dtype=torch.float32))


def filtered(model: HiGCN, x: Tensor, edge_index: Tensor) -> Tensor:
    """Return what the definition says a network for nodes answers, power by power and order by order."""
    (conv,), out = model.convs, []
    u = (x @ conv.lin.weight.t() + conv.lin.bias).chunk(model.order, dim=1)
    for p, operator in enumerate(operators(edge_index, len(x), model.order, model.petal_type)):
        powers = [torch.linalg.matrix_power(operator, k) for k in range(conv.gamma.size(1))]
        out.append(sum(weight * power for weight, power in zip(conv.gamma[p], powers, strict=True)) @ u[p])
    return model.lins[0](torch.cat(out, dim=1))


@pytest.mark.parametrize(
    ("order", "K", "petal_type"), [(1, 0, "simplex"), (1, 4, "simplex"), (3, 2, "simplex"), (4, 3, "ring")]
)
def test_network_is_its_equation_with_its_gradients(order: int, K: int, petal_type: str) -> None:
    model = build(order=order, K=K, petal_type=petal_type)
    x, edge_index = torch.randn(14, 5, dtype=DOUBLE, requires_grad=True), random_graph()
    weight = torch.randn(14, 3, dtype=DOUBLE)
    points = [x, *model.parameters()]
    found, expected = model(x, edge_index), filtered(model, x, edge_index)
    torch.testing.assert_close(found, expected)
    pairs = zip(*(torch.autograd.grad((out * weight).sum(), points) for out in (found, expected)), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)


def test_first_power_alone_is_one_application() -> None:
    model, edge_index, x = build(K=1, order=1), random_graph(), torch.randn(14, 5, dtype=DOUBLE)
    with torch.no_grad():
        model.convs[0].gamma.copy_(torch.tensor([[0.0, 1.0]]))
    (operator,) = operators(edge_index, 14, 1)
    torch.testing.assert_close(model(x, edge_index), model.lins[0](operator @ model.convs[0].lin(x)))


def test_without_triangles_order_two_only_scales() -> None:
    model, data = build(), graphs.bipartite(num_features=5)
    with torch.no_grad():
        model.lins[0].weight[:, :4] = 0  # order 1 is not heard
    expected = model.convs[0].lin(data.x.double())
    expected[:, 4:] *= model.convs[0].gamma[1, 0]
    torch.testing.assert_close(model(data.x.double(), data.edge_index), model.lins[0](expected))


def test_network_is_permutation_equivariant() -> None:
    model, x, edge_index = build(order=3), torch.randn(14, 5, dtype=DOUBLE), random_graph()
    order = torch.randperm(14)
    again = model(x[order], order.argsort()[edge_index])
    torch.testing.assert_close(again, model(x, edge_index)[order], rtol=1e-10, atol=1e-10)


def test_order_two_tells_a_hexagon_from_two_triangles() -> None:
    triangles = torch.cat([ring(3), ring(3) + 3], dim=1)
    x = torch.ones(6, 5, dtype=DOUBLE)
    first, second = build(order=1), build(order=2)
    torch.testing.assert_close(first(x, ring(6)), first(x, triangles))
    assert (second(x, ring(6)) - second(x, triangles)).abs().min() > 1e-3


GRAPHS = {"update": True, "head": "mlp", "num_layers": 2}


@pytest.mark.parametrize("readout", ["sum", "mean"])
@pytest.mark.parametrize("settings", [{}, {"head": "mlp"}, GRAPHS], ids=["linear", "old", "update"])
def test_a_batch_answers_as_its_graphs_do(settings: dict[str, object], readout: str) -> None:
    model = build(6, 2, readout=readout, order=3, **settings)
    transform = FlowerPetals(3)
    found = [transform(graph.clone()) for graph in graphs.graphs()]
    whole = Batch.from_data_list(found)

    def ask(data: Data, batch: Tensor) -> Tensor:
        return model(data.x.double(), data.edge_index, data.petal_index, data.petal_order, data.petal_weight, batch)

    alone = [ask(data, torch.zeros(data.num_nodes, dtype=torch.int64)) for data in found]
    torch.testing.assert_close(ask(whole, whole.batch), torch.cat(alone))
    bare = model(whole.x.double(), whole.edge_index, batch=whole.batch)
    torch.testing.assert_close(bare, torch.cat(alone), rtol=1e-6, atol=1e-6)  # the transform's weights are float32


def test_update_takes_a_lone_node_and_answers_for_nodes() -> None:
    model = HiGCN(5, 3, update=True, head="mlp", num_layers=2).train()
    assert model(torch.ones(1, 5), torch.empty(2, 0, dtype=torch.int64)).shape == (1, 3)


def test_imputation_head() -> None:
    model, x, edge_index = build(out_channels=1, head="imputation"), torch.randn(14, 5, dtype=DOUBLE), random_graph()
    out = model(x, edge_index)
    assert out.shape == (14, 1)
    with torch.no_grad():
        model.lins[1].weight.neg_()
        model.lins[1].bias.neg_()
    other = model(x, edge_index)
    assert torch.equal(out < 0, other > 0)
    torch.testing.assert_close(torch.where(out < 0, out, other), -0.01 * torch.where(out < 0, other, out))


def test_given_operators_are_used_and_truncated() -> None:
    model, x, edge_index = build(), torch.randn(14, 5, dtype=DOUBLE), random_graph()
    given = flower_petals(edge_index, 14, 4, dtype=DOUBLE)
    torch.testing.assert_close(model(x, edge_index, *given), model(x, edge_index))
    doubled = given[2] * 2
    expected = model(x, edge_index, given[0], given[1], doubled)
    assert not torch.allclose(expected, model(x, edge_index, *given))
    weight = given[2].clone()
    model(x, edge_index, given[0], given[1], weight)
    weight.mul_(2)
    assert torch.equal(model(x, edge_index, given[0], given[1], weight), expected), "an edit in place is noticed"
    shuffled = torch.randperm(weight.numel())
    torch.testing.assert_close(
        model(x, edge_index, given[0][:, shuffled], given[1][shuffled], weight[shuffled]), expected
    )


def test_incomplete_operators_are_named() -> None:
    model, x, edge_index = build(), torch.randn(14, 5, dtype=DOUBLE), random_graph()
    index, order, weight = flower_petals(edge_index, 14)
    with pytest.raises(DataError, match="belong together"):
        model(x, edge_index, index)
    with pytest.raises(DataError, match="entries"):
        model(x, edge_index, index, order, weight[1:])
    with pytest.raises(DataError, match="refers to node"):
        model(x[:5], edge_index[:, :0], index, order, weight)
    with torch.inference_mode():
        expected = model(x, edge_index)
        torch.testing.assert_close(
            model(x, edge_index, index + 0, order, weight.double()), expected, rtol=1e-6, atol=1e-6
        )


def test_linear_layers_are_not_stacked() -> None:
    with pytest.raises(ConfigError, match="num_layers=2 needs update"):
        HiGCN(5, 3, num_layers=2)


def test_features_get_a_mask_for_each_order() -> None:
    conv = FlowerPetalConv(200, 4, order=2, K=0, alpha=1.0, dropout=0.5).train()
    with torch.no_grad():
        conv.lin.weight.view(2, 4, 200)[1] = conv.lin.weight.view(2, 4, 200)[0]
        conv.lin.bias.zero_()
    model = HiGCN(200, 3, 4, K=0, alpha=1.0, dropout=0.5, petal_dropout=0.0)
    model.convs[0] = conv
    seen = []
    conv.register_forward_hook(lambda _, __, out: seen.append(out))
    model.train()(torch.ones(3, 200), ring(3))
    first, second = seen[0].chunk(2, dim=1)
    assert (first - second).abs().min() > 1e-6
    model.eval()(torch.ones(3, 200), ring(3))
    first, second = seen[1].chunk(2, dim=1)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(("dropout", "petal_dropout"), [(0.9, 0.0), (0.0, 0.9)])
def test_dropout_keeps_the_mean(dropout: float, petal_dropout: float) -> None:
    model = build(dropout=dropout, petal_dropout=petal_dropout).train()
    x, edge_index = torch.randn(14, 5, dtype=DOUBLE), random_graph()
    with torch.no_grad():
        draws = torch.stack([model(x, edge_index) for _ in range(3000)])
        error = (draws.mean(0) - model.eval()(x, edge_index)).abs() / (draws.std(0) / 3000**0.5)
    assert draws.std(0).min() > 0
    assert error.max() < 5


def test_plain_pytorch_geometric_loop_learns() -> None:
    data = load_dataset("karate").data
    torch.manual_seed(0)
    model = HiGCN(data.num_features, int(data.y.max()) + 1, dropout=0.2, petal_dropout=0.2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(data.x, data.edge_index), data.y)
        loss.backward()
        optimizer.step()
    assert (model.eval()(data.x, data.edge_index).argmax(1) == data.y).float().mean() > 0.95

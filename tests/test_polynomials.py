"""Equivariant polynomials: closed forms against the definition, the enumeration, features and what pairs tell apart."""

import itertools

import networkx as nx
import numpy as np
import pytest
import torch
from networkx.algorithms.isomorphism import GraphMatcher, categorical_node_match
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData

from gnnzoo.datasets import load_dataset
from gnnzoo.datasets.refinement import equal_pairs, fwl_classes, histogram_classes, polynomial_table, sum_classes
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.testing import graphs
from gnnzoo.transforms import Polynomials, prepare
from gnnzoo.transforms import polynomials as module
from gnnzoo.transforms.polynomials import (
    CHANNELS,
    Polynomial,
    channels,
    contract,
    enumerate_polynomials,
    is_computable,
    nonzero_channels,
    normalize,
    polynomials,
    sparse_polynomials,
)

DOUBLE = torch.double
DEGREES = torch.tensor([channel.degree for channel in CHANNELS])


def matrix(graph: nx.Graph) -> Tensor:
    return torch.from_numpy(nx.to_numpy_array(graph))


def edges_of(graph: nx.Graph) -> Tensor:
    return matrix(graph).nonzero().t().contiguous()


def data_of(graph: nx.Graph, **attributes: Tensor) -> Data:
    return Data(edge_index=edges_of(graph), num_nodes=len(graph), **attributes)


def definition(adjacency: Tensor, channel: Polynomial) -> Tensor:
    """Return the sum over all maps, one by one."""
    n, out = len(adjacency), torch.zeros_like(adjacency)
    num_nodes = 1 + max(itertools.chain(*channel.edges))
    for f in itertools.product(range(n), repeat=num_nodes):
        product = np.prod([float(adjacency[f[u], f[v]]) for u, v in channel.edges])
        if not channel.red:
            out += product
        else:
            out[f[channel.red[0]], f[channel.red[-1]]] += product
    return out


RANDOM = nx.gnp_random_graph(13, 0.5, seed=3)
RANDOM.add_node(13)


@pytest.mark.parametrize("symmetric", [True, False])
def test_channels_are_the_definition(symmetric: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    adjacency = torch.randint(-1, 3, (4, 4), generator=generator).double()
    adjacency = adjacency + adjacency.t() if symmetric else adjacency
    found = polynomials(adjacency)
    for value, channel in zip(found, CHANNELS, strict=True):
        assert torch.equal(value, definition(adjacency, channel)), channel.name


@pytest.mark.parametrize("graph", [RANDOM, nx.karate_club_graph(), nx.petersen_graph(), nx.empty_graph(1)])
def test_closed_forms_are_the_contractions_exactly(graph: nx.Graph) -> None:
    adjacency = (matrix(graph) > 0).double()
    found = polynomials(adjacency)
    for value, channel in zip(found, CHANNELS, strict=True):
        expected = contract(adjacency, channel)
        expected = torch.diag_embed(expected) if len(channel.red) == 1 else expected.expand_as(adjacency)
        assert torch.equal(value, expected), channel.name
    batched = polynomials(torch.stack([adjacency, torch.zeros_like(adjacency), adjacency]))
    assert torch.equal(batched[2], found)
    assert not batched[1].any()
    sparse = sparse_polynomials(adjacency.nonzero().t(), len(adjacency))
    assert torch.equal(sparse.to_dense(), found)
    torch.testing.assert_close(sparse.normalized().to_dense(), normalize(found))
    assert torch.equal(sparse.row_sums(), found.sum(2).t())


def test_selected_channels_in_any_order() -> None:
    adjacency = matrix(RANDOM)
    assert torch.equal(polynomials(adjacency, CHANNELS[::-3]), polynomials(adjacency)[[11, 8, 5, 2]])
    sparse = sparse_polynomials(edges_of(RANDOM), len(RANDOM), channels(6, dedupe=True))
    assert torch.equal(sparse.to_dense(), polynomials(adjacency, channels(6, dedupe=True)))


@pytest.mark.parametrize("n", [4, 5, 7])
def test_complete_graphs(n: int) -> None:
    found = polynomials(matrix(nx.complete_graph(n)))
    same = torch.eye(n, dtype=torch.bool)
    assert found[0][same].unique().tolist() == [(n - 1) * (n - 2)]
    assert found[0][~same].unique().tolist() == [(n - 2) * (n - 3)]
    assert found[1].unique().tolist() == [{4: 24, 5: 120, 7: 840}[n]]


def test_triangle_free_graphs_have_one_channel() -> None:
    petersen, ring = (polynomials(matrix(graph)) for graph in (nx.petersen_graph(), nx.cycle_graph(6)))
    for found in (petersen, ring):
        assert not found[:11].any()
    assert petersen[11].max() == petersen[11].diagonal().max() == 15
    distance = torch.from_numpy(nx.floyd_warshall_numpy(nx.cycle_graph(6)))
    assert torch.equal(ring[11], 6.0 * (distance == 0) + 2.0 * (distance == 2))


def test_diamonds_count_triangles_and_k4() -> None:
    found = polynomials(matrix(RANDOM))
    assert found[0].diagonal().tolist() == [2 * nx.triangles(RANDOM)[v] for v in RANDOM]
    cliques = sum(len(clique) == 4 for clique in nx.enumerate_all_cliques(RANDOM))
    assert cliques
    assert float((matrix(RANDOM) * found[0]).sum()) == float(found[1, 0, 0]) == 24 * cliques


def test_equivariance_and_homogeneity() -> None:
    adjacency = matrix(RANDOM)
    order = torch.randperm(len(adjacency), generator=torch.Generator().manual_seed(1))
    found = polynomials(adjacency)
    assert torch.equal(polynomials(adjacency[order][:, order]), found[:, order][:, :, order])
    assert torch.equal(polynomials(2 * adjacency), found * 2.0 ** DEGREES[:, None, None])


def test_orders_of_marked_nodes_repeat_channels() -> None:
    assert len(channels(6, dedupe=True)) == 9
    found = polynomials(matrix(RANDOM))
    for twin in (5, 7, 9):
        assert torch.equal(found[twin], found[twin + 1])
        assert not torch.equal(found[twin], found[twin].t())
    assert [len(channels(d)) for d in (1, 4, 5, 6, 7)] == [0, 0, 1, 12, 89]


def test_enumeration() -> None:
    counts = [len(enumerate_polynomials(d)) for d in range(1, 8)]
    assert counts == [0, 0, 0, 0, 1, 11, 77]
    left = list(CHANNELS)
    for found in (*enumerate_polynomials(5), *enumerate_polynomials(6)):
        left.remove(next(channel for channel in left if _alike(found, channel)))
    assert not left


def _alike(a: Polynomial, b: Polynomial) -> bool:
    def marked(p: Polynomial) -> nx.Graph:
        graph = nx.Graph(p.edges)
        nx.set_node_attributes(graph, {v: v in p.red for v in graph}, "red")
        return graph

    return GraphMatcher(marked(a), marked(b), categorical_node_match("red", None)).is_isomorphic()


def test_what_matrix_products_compute() -> None:
    assert is_computable([(0, 1), (1, 2), (0, 2)], [])
    assert is_computable([(0, 1), (1, 2), (0, 2)], [0, 1])
    assert is_computable([(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)], [0, 2])
    assert not is_computable([(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)], [1, 3])
    # a diamond with a path of two edges in the place of one: reduced in what is left, not in the first graph
    assert is_computable([(0, 4), (4, 5), (5, 1), (0, 2), (0, 3), (1, 2), (2, 3)], [])


def test_higher_degrees_are_contracted() -> None:
    adjacency = matrix(nx.gnp_random_graph(5, 0.8, seed=1))
    degree_seven = [channel for channel in channels(7, dedupe=True) if channel.degree == 7]
    found = polynomials(adjacency, degree_seven)
    for number in (0, 11, 25):
        assert torch.equal(found[number], definition(adjacency, degree_seven[number]))
    with pytest.raises(ConfigError, match="degree 9"):
        channels(9)


def test_norms_of_zero_are_left() -> None:
    assert not normalize(torch.zeros(2, 3, 3)).any()
    norms = normalize(polynomials(matrix(RANDOM))).norm(dim=(1, 2))
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_what_sparse_matrices_refuse() -> None:
    with pytest.raises(DataError, match=r"directed.*data\.undirected=true"):
        sparse_polynomials(torch.tensor([[0, 1], [1, 2]]), 3)
    with pytest.raises(ConfigError, match="no closed form"):
        sparse_polynomials(edges_of(RANDOM), 14, channels(7))
    star = torch.stack([torch.zeros(20_000, dtype=torch.int64), torch.arange(1, 20_001)])
    with pytest.raises(DataError, match="too many"):
        sparse_polynomials(torch.cat([star, star.flip(0)], 1), 20_001)


@pytest.mark.parametrize("norm", [False, True])
def test_features_for_message_passing(norm: bool) -> None:
    loops = torch.arange(3).expand(2, -1)
    edge_index = torch.cat([edges_of(RANDOM), loops], 1)
    graph = Data(torch.ones(14, 2), edge_index, torch.ones(edge_index.size(1)))
    found = Polynomials(norm=norm)(graph.clone())
    selected = channels(6, dedupe=True)
    values = polynomials(matrix(RANDOM), selected)
    values = normalize(values) if norm else values
    matrices = [len(channel.red) == 2 for channel in selected]
    expected = torch.cat([values.diagonal(dim1=1, dim2=2), values.sum(2)[matrices]]).t()
    torch.testing.assert_close(found.x, torch.cat([graph.x, expected.float()], 1))
    on_edges = values[:, edge_index[0], edge_index[1]][matrices].t()
    torch.testing.assert_close(found.edge_attr, torch.cat([torch.ones(len(on_edges), 1), on_edges.float()], 1))
    assert torch.equal(found.edge_index, edge_index)
    bare = Polynomials(norm=norm)(Data(edge_index=edge_index, num_nodes=14))
    torch.testing.assert_close(bare.x, expected.float())
    assert bare.edge_attr.shape == (edge_index.size(1), 7)


def test_large_graphs_have_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = data_of(nx.karate_club_graph())
    for norm in (False, True):
        small = Polynomials(norm=norm)(graph.clone())
        monkeypatch.setattr(module, "_DENSE", 10)
        large = Polynomials(norm=norm)(graph.clone())
        monkeypatch.undo()
        torch.testing.assert_close(large.x, small.x)
        torch.testing.assert_close(large.edge_attr, small.edge_attr)


def test_features_of_pairs_batch_and_filter() -> None:
    whole = [data_of(graph) for graph in (nx.complete_graph(4), nx.cycle_graph(5), nx.empty_graph(1))]
    found = [Polynomials(6, "dense")(graph.clone()) for graph in whole]
    assert [tuple(graph.pair_attr.shape) for graph in found] == [(16, 12), (25, 12), (1, 12)]
    assert torch.equal(found[0].pair_attr.t().view(12, 4, 4), polynomials(matrix(nx.complete_graph(4))).float())
    assert Batch.from_data_list(found).pair_attr.shape == (42, 12)
    assert nonzero_channels(found) == list(range(12))
    assert nonzero_channels(found[1:]) == [11]
    assert Polynomials(6, "dense", dedupe=True)(whole[0].clone()).pair_attr.size(1) == 9


def test_what_the_transform_refuses() -> None:
    with pytest.raises(ConfigError, match="polynomials=4"):
        Polynomials(4)
    with pytest.raises(DataError, match=r"data\.one_hot=true"):
        Polynomials()(data_of(RANDOM, x=torch.ones(14, 1, dtype=torch.int64)))
    with pytest.raises(DataError, match="HeteroData"):
        Polynomials()(HeteroData())
    with pytest.raises(DataError, match="1024"):
        Polynomials(form="dense")(data_of(nx.path_graph(1025)))


def test_settings_of_runs() -> None:
    graph = data_of(RANDOM, x=torch.ones(14, 2))
    assert prepare()(graph.clone()).x.size(1) == 2
    assert prepare(polynomials=5)(graph.clone()).x.size(1) == 4
    assert prepare(polynomials=6)(graph.clone()).x.size(1) == 2 + 9 + 7
    dense = prepare(polynomials=6, polynomial_form="dense", polynomial_norm=True)(graph.clone())
    assert torch.equal(dense.x, graph.x)
    torch.testing.assert_close(dense.pair_attr.square().sum(0), torch.ones(12))


@pytest.mark.parametrize("name", ["gin", "gatedgcn", "gcn"])
def test_any_model_takes_the_features(name: str) -> None:
    from gnnzoo import create_model
    from gnnzoo.registry import MODELS
    from gnnzoo.tasks import forward

    pair = [data_of(graph, x=torch.ones(16, 1)) for graph in (_rook(), _shrikhande())]
    answers = []
    for transform in (prepare(), prepare(polynomials=6, polynomial_norm=False)):
        found = [transform(graph.clone()) for graph in pair]
        torch.manual_seed(0)
        model = create_model(name, found, out_channels=2, **MODELS.card(name).tiny).double().eval()
        whole = Batch.from_data_list(found).apply(lambda v: v.double() if v.is_floating_point() else v)
        out = forward(model, whole)
        answers.append(out if len(out) == 2 else out.view(2, 16, -1).sum(1))
    assert torch.allclose(answers[0][0], answers[0][1])
    assert not torch.allclose(answers[1][0], answers[1][1], rtol=1e-3)


def _rook() -> nx.Graph:
    return nx.line_graph(nx.complete_bipartite_graph(4, 4))


def _shrikhande() -> nx.Graph:
    steps = [(0, 1), (1, 0), (1, 1)]
    return nx.Graph(
        (4 * i + j, 4 * ((i + s * a) % 4) + (j + s * b) % 4)
        for i in range(4)
        for j in range(4)
        for a, b in steps
        for s in (1, -1)
    )


def test_pairs_tell_the_rook_from_shrikhande() -> None:
    pair = [data_of(_rook()), data_of(_shrikhande())]
    assert equal_pairs(fwl_classes(pair)) == 1
    assert equal_pairs(sum_classes(pair, CHANNELS[:1])) == 0
    assert polynomial_table(pair) == dict.fromkeys(("sum5", "sum6", "hist5", "hist6", "fwl5", "fwl6"), 0) | {
        "fwl_noft": 1
    }


def test_classes_are_invariant_and_not_too_coarse() -> None:
    first = nx.gnp_random_graph(11, 0.5, seed=5)
    renumbered = nx.relabel_nodes(first, dict(enumerate(np.random.RandomState(0).permutation(11).tolist())))
    moved = nx.Graph()
    moved.add_nodes_from(range(11))
    moved.add_edges_from(renumbered.edges)
    other = nx.double_edge_swap(first.copy(), 1, seed=2)
    smaller = nx.gnp_random_graph(7, 0.5, seed=5)
    several = [data_of(graph) for graph in (first, moved, other, smaller, nx.empty_graph(1))]
    for classes in (
        fwl_classes(several),
        fwl_classes(several, CHANNELS, rounds=2),
        histogram_classes(several, CHANNELS),
        sum_classes(several, CHANNELS),
    ):
        assert classes[0] == classes[1]
        assert len(set(classes.tolist())) == 4


def test_2_fwl_is_stronger_than_1_wl() -> None:
    pair = [data_of(nx.cycle_graph(6)), data_of(nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)))]
    assert equal_pairs(fwl_classes(pair)) == 0
    assert equal_pairs(histogram_classes(pair, ())) == 1


TABLE = {
    "sr16622": (1, 0, 0, 0, 0, 0, 0),
    "sr251256": (105, 11, 11, 6, 0, 0, 0),
    "sr261034": (45, 3, 3, 1, 0, 0, 0),
    "sr281264": (6, 1, 1, 0, 0, 0, 0),
    "sr291467": (820, 636, 636, 0, 0, 0, 0),
    "sr401224": (378, 31, 31, 31, 1, 1, 1),
    "sr361446": (16110, 1314, 1314, 53, 16, 6, 6),
    "sr351899": (25651, 1006, 1006, 2, 1, 0, 0),
    "sr351668": (7424731, 281272, 281272, 187, 5, 0, 0),
}
"""The table of the dossier: 2-FWL alone, sums and histograms of degrees 5 and 6, 2-FWL with them."""


@pytest.mark.parametrize(
    "family",
    [pytest.param(f, marks=[pytest.mark.data(f), *([pytest.mark.slow] if f == "sr351668" else [])]) for f in TABLE],
)
def test_strongly_regular_graphs_to_the_last_pair(family: str) -> None:
    found = polynomial_table(load_dataset(family).graphs)
    order = ("fwl_noft", "sum5", "sum6", "hist5", "hist6", "fwl5", "fwl6")
    assert tuple(found[key] for key in order) == TABLE[family]


@pytest.mark.parametrize(
    ("family", "alike"),
    [
        pytest.param("sr401224", {26, 27}, marks=pytest.mark.data("sr401224")),
        pytest.param("sr361446", {8, 9, 27, 68}, marks=pytest.mark.data("sr361446")),
    ],
)
def test_which_graphs_stay_equal(family: str, alike: set[int]) -> None:
    several = load_dataset(family).graphs
    classes = histogram_classes(several, CHANNELS)
    left = np.flatnonzero(np.bincount(classes)[classes] > 1)
    found = fwl_classes([several[i] for i in left], CHANNELS)
    assert set(left[np.bincount(found)[found] > 1].tolist()) == alike


def test_tiny_graphs_of_the_checks_are_taken() -> None:
    for make in (graphs.single_node, graphs.empty_edges, graphs.self_loops, graphs.duplicate_edges):
        for form in ("sparse", "dense"):
            found = Polynomials(form=form)(make())  # type: ignore[arg-type]
            assert all(bool(value.isfinite().all()) for value in (found.x, found.get("pair_attr", found.x)))

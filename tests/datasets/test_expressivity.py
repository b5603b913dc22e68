"""What is known about the expressivity sets, and the measure of what 1-WL cannot tell apart."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_adj, to_networkx

from gnnzoo.datasets import expressivity, load_dataset
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.registry import DATASETS

FAMILIES = {
    "sr-16-6-2-2": 1,
    "sr-25-12-5-6": 105,
    "sr-26-10-3-4": 45,
    "sr-28-12-6-4": 6,
    "sr-29-14-6-7": 820,
    "sr-35-16-6-8": 7424731,
    "sr-35-18-9-9": 25651,
    "sr-36-14-4-6": 16110,
    "sr-40-12-2-4": 378,
}


def data(graph):
    edges = torch.tensor([*graph.to_directed().edges], dtype=torch.int64).reshape(-1, 2).T
    return Data(torch.ones(len(graph), 1), edges)


def partition(keys):
    """Return for every key where it occurred first: equal for equal partitions."""
    return [[*keys].index(key) for key in keys]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 62, 63, 100])
@pytest.mark.parametrize("header", [True, False])
def test_graph6_is_read_as_networkx_reads_it(n, header):
    graph = nx.gnp_random_graph(n, 0.3, seed=n)
    edge_index, found = expressivity._parse_graph6(nx.to_graph6_bytes(graph, header=header), "here")
    assert found == n
    assert {*map(tuple, edge_index.T.tolist())} == {*graph.to_directed().edges}
    assert edge_index.shape[1] == 2 * graph.number_of_edges()


@pytest.mark.parametrize("line", ["", "~", "D?", "D???", "D? ", "D?\x7f", "~?@"])
def test_bad_graph6_lines_are_named(line, tmp_path):
    card = DATASETS.card("sr-16-6-2-2").model_copy(update={"files": {"sr16622.g6": None}})
    folder = tmp_path / card.root
    folder.mkdir(parents=True)
    (folder / "sr16622.g6").write_text(f"D??\n{line}\n")
    with pytest.raises(DataError, match=r"^sr-16-6-2-2: sr16622.g6, line 2 is no graph6 string$"):
        expressivity.graph6(card, "pairs", RawFiles(card, tmp_path))


def test_bad_entries_of_brec_are_named(tmp_path):
    card = DATASETS.card("BREC")
    card = card.model_copy(update={"files": dict.fromkeys(card.files)})
    folder = tmp_path / card.root
    folder.mkdir(parents=True)
    for name in card.files:
        np.save(folder / name, np.array([["D??", "D?" if name == "str.npy" else "D?_"]]))
    with pytest.raises(DataError, match=r"^BREC: str.npy, entry 1 is no graph6 string$"):
        expressivity.brec(card, "pairs", RawFiles(card, tmp_path))


def test_colour_refinement_against_networkx():
    graphs = [nx.gnp_random_graph(6, 0.5, seed=seed) for seed in range(120)]
    graphs += [nx.random_regular_graph(3, 8, seed=seed) for seed in range(5)] + [nx.cubical_graph()]
    expected = [nx.weisfeiler_lehman_graph_hash(graph, iterations=8) for graph in graphs]
    found = expressivity.wl_classes([data(graph) for graph in graphs])
    assert partition(found) == partition(expected)
    assert 30 < len({*expected}) < 126


def test_colour_refinement_sees_features():
    one, other = data(nx.cycle_graph(6)), data(nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)))
    assert len({*expressivity.wl_classes([one, other])}) == 1
    one.x, other.x = (torch.tensor([[0.0, 1], [1, 0], [-0.0, 1], [1, 0], [0, 1], [1, 0]]) for _ in range(2))
    assert len({*expressivity.wl_classes([one, other])}) == 2
    assert len({*expressivity.wl_classes([one, one.clone()])}) == 1
    assert len({*expressivity.wl_classes([one, one.clone()], np.arange(12))}) == 2


@pytest.mark.data("BREC")
def test_brec_has_four_hundred_pairs():
    graphs = load_dataset("brec").graphs
    assert [int(graph.group) for graph in graphs] == np.repeat(np.arange(400), 2).tolist()
    assert [int(graph.y) for graph in graphs] == [0, 1] * 400
    category = torch.cat([graph.category for graph in graphs])
    assert category.bincount().tolist() == [120, 100, 100, 200, 200, 40, 40]
    assert (category.diff() >= 0).all()
    for one, other in zip(graphs[::2], graphs[1::2], strict=True):
        assert one.num_nodes == other.num_nodes
        assert one.num_edges == other.num_edges
    assert {graph.num_nodes for graph in graphs} >= {7, 198}


@pytest.mark.data("BREC")
def test_pairs_of_brec_are_different_graphs_that_one_wl_takes_for_equal():
    graphs = [to_networkx(graph, to_undirected=True) for graph in load_dataset("BREC").graphs[:320]]
    for one, other in zip(graphs[::2], graphs[1::2], strict=True):
        hashes = {nx.weisfeiler_lehman_graph_hash(graph, iterations=5) for graph in (one, other)}
        assert len(hashes) == 1
    for one, other in zip(graphs[:120:2], graphs[1:120:2], strict=True):
        assert not nx.is_isomorphic(one, other)


@pytest.mark.parametrize(("name", "pairs"), [pytest.param(*f, marks=pytest.mark.data(f[0])) for f in FAMILIES.items()])
def test_strongly_regular_families(name, pairs):
    bundle = load_dataset(name)
    n, degree, edge, other = map(int, name.split("-")[1:])
    count = len(bundle.graphs)
    assert count * (count - 1) // 2 == pairs == expressivity.wl_equal_pairs(bundle, None)
    eye, ones = torch.eye(n), torch.ones(n, n)
    seen = set()
    for i, graph in enumerate(bundle.graphs):
        assert (int(graph.group), int(graph.y)) == (0, i)
        adjacency = to_dense_adj(graph.edge_index, max_num_nodes=n)[0]
        assert torch.equal(adjacency @ adjacency, degree * eye + edge * adjacency + other * (ones - eye - adjacency))
        seen.add(adjacency.numpy().tobytes())
    assert len(seen) == count


def test_strongly_regular_graphs_in_all():
    assert sum(DATASETS.card(name).counts.graphs for name in FAMILIES) == 4361


@pytest.mark.data("graph8c")
def test_graph8c():
    graphs = load_dataset("graph8c").graphs
    assert {graph.num_nodes for graph in graphs} == {8}
    assert len({to_dense_adj(graph.edge_index, max_num_nodes=8).numpy().tobytes() for graph in graphs}) == 11117
    assert all(nx.is_connected(to_networkx(graph, to_undirected=True)) for graph in graphs[::20])


@pytest.mark.data("small-graphs")
def test_small_graphs():
    bundle = load_dataset("small-graphs")
    sizes = [graph.num_nodes for graph in bundle.graphs]
    assert np.bincount(sizes).tolist() == [0, 0, 1, 2, 6, 21, 112, 853]  # OEIS A001349
    assert [int(graph.group) for graph in bundle.graphs] == sizes
    graphs = [to_networkx(graph, to_undirected=True) for graph in bundle.graphs]
    assert all(map(nx.is_connected, graphs))
    expected = [nx.weisfeiler_lehman_graph_hash(graph, iterations=7) for graph in graphs]
    assert partition(expressivity.wl_classes(bundle.graphs)) == partition(expected)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.data(name)) for name in ("EXP", "CEXP")])
def test_pairs_of_formulas_stay_together(name):
    bundle = load_dataset(name)
    group, y = (torch.cat([graph[key] for graph in bundle.graphs]) for key in ("group", "y"))
    assert (group == torch.arange(1200) // 2).all()
    assert (y[::2] + y[1::2] == 1).all()
    assert (torch.cat([graph.x for graph in bundle.graphs]).sum(1) == 1).all()
    for i, split in enumerate(bundle.splits):
        assert split.test.tolist() == [*range(120 * i, 120 * (i + 1))]
        assert (len(split.train), len(split.val)) == (972, 108)
        parts = [{*group[part].tolist()} for part in (split.train, split.val, split.test)]
        assert all(one.isdisjoint(other) for one, other in (*pairwise(parts), parts[::2]))
    (split,) = load_dataset(name, "frame-averaging").splits
    assert (split.val.tolist(), split.test.tolist()) == ([*range(200)], [*range(200, 400)])
    assert len(split.train) == 800


@pytest.mark.data("EXP", "CEXP")
def test_the_hard_half_of_cexp():
    bundle = load_dataset("CEXP")
    classes = expressivity.wl_classes(bundle.graphs)
    alike = np.repeat(classes[::2] == classes[1::2], 2)
    assert alike.sum() == 600
    for split in bundle.splits:
        assert split.extra["hard"].tolist() == split.test[alike[split.test]].tolist()
        assert len(split.extra["hard"]) == 60
    assert not load_dataset("EXP").splits[0].extra


@pytest.mark.data("CSL")
def test_csl():
    bundle = load_dataset("CSL")
    assert {graph.num_nodes for graph in bundle.graphs} == {41}
    spectra = []
    for graph in bundle.graphs:
        adjacency = to_dense_adj(graph.edge_index, max_num_nodes=41)[0].double()
        assert torch.equal(adjacency, adjacency.T)
        assert (adjacency.sum(0) == 4).all()
        spectra.append(tuple(torch.linalg.eigvalsh(adjacency).round(decimals=6).add(0.0).tolist()))
    assert partition(spectra) == partition([int(graph.y) for graph in bundle.graphs])
    y = torch.cat([graph.y for graph in bundle.graphs])
    for split in bundle.splits:
        assert [y[part].bincount().tolist() for part in (split.train, split.val, split.test)] == [
            [size] * 10 for size in (9, 3, 3)
        ]
    assert torch.cat([split.test for split in bundle.splits]).sort().values.tolist() == [*range(150)]
    # the first validation folds of Dwivedi et al. begin so, sorted
    assert [split.val[:6].tolist() for split in bundle.splits[:2]] == [[0, 3, 13, 16, 17, 19], [7, 13, 14, 19, 26, 27]]


@pytest.mark.data("counting-er")
def test_counted_substructures():
    """Triangles and stars are subgraphs, tailed triangles and chordal cycles induced ones."""
    bundle = load_dataset("counting-er")
    adjacency = torch.cat([to_dense_adj(graph.edge_index, max_num_nodes=10) for graph in bundle.graphs])
    assert adjacency.max() == 1
    assert torch.equal(adjacency, adjacency.mT)
    degree = adjacency.sum(2)
    common = (adjacency @ adjacency) * adjacency
    at_node = common.sum(2) / 2
    cliques = torch.zeros(5000)
    chordal, tailed = (common * (common - 1)).sum((1, 2)) / 4, (at_node * (degree - 2)).sum(1)
    for four in torch.combinations(torch.arange(10), 4):
        cliques += (adjacency[:, four][:, :, four].sum((1, 2)) == 12).float()
    chordal -= 6 * cliques  # induced: without those in a clique
    tailed -= 4 * chordal + 12 * cliques
    expected = {
        "triangle": at_node.sum(1) / 3,
        "star": (degree * (degree - 1) * (degree - 2)).sum(1) / 6,
        "chordal_cycle": chordal,
        "tailed_triangle": tailed,
    }
    for target, count in expected.items():
        found = load_dataset("counting-er", target=target)
        assert found.graphs[0].y.shape == (1, 1)
        assert torch.equal(torch.cat([graph.y for graph in found.graphs]).flatten(), count), target
    (split,) = bundle.splits
    assert (len(split.train), len(split.val), len(split.test)) == (1500, 1000, 2500)
    attributed = torch.cat([graph.y for graph in load_dataset("counting-er", target="attributed_triangle").graphs])
    assert (attributed.flatten() <= expected["triangle"]).all()
    assert (attributed.flatten() < expected["triangle"]).any()


def test_unknown_targets_are_refused():
    with pytest.raises(ConfigError, match="target"):
        load_dataset("counting-er", target="square")


# --- substructures ---


def test_substructures_are_counted_as_networkx_finds_them():
    graphs = [nx.gnp_random_graph(7, 0.6, seed=seed) for seed in range(12)]
    found = expressivity.substructures(np.stack([nx.to_numpy_array(graph) for graph in graphs]))
    patterns = {
        "triangle": nx.complete_graph(3),
        "star": nx.star_graph(3),
        "4-cycle": nx.cycle_graph(4),
        "4-clique": nx.complete_graph(4),
        "tailed-triangle": nx.Graph([(0, 1), (1, 2), (2, 0), (2, 3)]),
        "chordal-cycle": nx.Graph([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)]),
    }
    assert patterns.keys() == found.keys()
    for name, pattern in patterns.items():
        induced = name in ("tailed-triangle", "chordal-cycle")
        automorphisms = sum(1 for _ in nx.isomorphism.GraphMatcher(pattern, pattern).isomorphisms_iter())
        for graph, value in zip(graphs, found[name], strict=True):
            matcher = nx.isomorphism.GraphMatcher(graph, pattern)
            every = matcher.subgraph_isomorphisms_iter() if induced else matcher.subgraph_monomorphisms_iter()
            assert value == sum(1 for _ in every) / automorphisms, name


@pytest.mark.data("counting-er")
@pytest.mark.parametrize("target", ["triangle", "star", "tailed_triangle", "chordal_cycle"])
def test_substructures_are_counted_as_the_authors_did(target):
    bundle = load_dataset("counting-er", target=target)
    adjacency = np.stack([to_dense_adj(g.edge_index, max_num_nodes=10)[0].numpy() for g in bundle.graphs[:500]])
    expected = torch.cat([g.y for g in bundle.graphs[:500]]).flatten().numpy()
    assert (expressivity.substructures(adjacency.astype(float))[target.replace("_", "-")] == expected).all()


@pytest.mark.data("counting-8")
def test_graphs_with_other_counts_share_a_class_of_1_wl():
    bundle = load_dataset("counting-8", "triangle")
    group = torch.cat([graph.group for graph in bundle.graphs])
    assert partition(expressivity.wl_classes(bundle.graphs).tolist()) == partition(group.tolist())
    assert group.unique(return_counts=True)[1].min() == 2
    degrees = [np.bincount(graph.edge_index[0].numpy(), minlength=8) for graph in bundle.graphs]
    stars = [(d * (d - 1) * (d - 2)).sum() for d in degrees]
    assert len({*zip(group.tolist(), stars, strict=True)}) == len(group.unique())

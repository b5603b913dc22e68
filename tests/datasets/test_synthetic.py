"""Generated sets: what the knobs promise."""

import math
import random

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.utils import contains_self_loops, homophily, is_undirected, to_networkx

from gnnzoo.datasets import diagnostics, load_dataset
from gnnzoo.datasets.synthetic import csbm_graph, own_field_shares
from gnnzoo.errors import ConfigError, UnknownNameError


def test_a_benchmark_is_a_name():
    bundle = load_dataset("karate@random-48-32-20")
    assert bundle.benchmark == "karate@random-48-32-20"
    assert bundle.digest == load_dataset("karate").digest
    with pytest.raises(ConfigError, match="karate@a and protocol=b disagree"):
        load_dataset("karate@a", protocol="b")
    with pytest.raises(UnknownNameError, match="unknown protocol 'random' in karate; did you mean"):
        load_dataset("karate@random")


def test_karate():
    bundle = load_dataset("karate")
    assert (bundle.data.num_nodes, bundle.data.num_edges) == (34, 156)
    assert torch.equal(bundle.data.x, torch.eye(34))
    assert bundle.data.y.bincount().tolist() == [13, 12, 4, 5]
    assert bundle.digest == "ba7a744d28934ee1"
    assert bundle.splits[0].hash == "0e8fa21627914674"
    assert "train_mask" not in bundle.data


def test_csbm_is_the_same_on_every_machine():
    bundle = load_dataset("csbm")
    assert bundle.splits[0].hash == "0cf5d76abd57d133"
    y, edges = bundle.data.y, bundle.data.edge_index
    assert y[:10].tolist() == [3, 0, 3, 0, 3, 0, 0, 1, 1, 3]
    assert edges[:, :5].tolist() == [[0, 0, 0, 0, 0], [133, 196, 427, 455, 656]]
    assert bundle.data.x[0, :3].tolist() == pytest.approx([0.370424, -2.552125, 0.468601], abs=1e-6)
    assert bundle.digest == load_dataset("csbm").digest


@pytest.mark.parametrize("knob", [0.0, 0.1, 0.25, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_homophily_is_the_knob(knob, classes):
    bundle = load_dataset("csbm", homophily=knob, num_classes=classes, num_nodes=500, average_degree=6.0)
    data = bundle.data
    assert data.num_edges == 3000
    assert homophily(data.edge_index, data.y, method="edge") == pytest.approx(knob, abs=1 / 3000)
    assert is_undirected(data.edge_index)
    code = data.edge_index[0] * data.num_nodes + data.edge_index[1]
    assert (code[1:] > code[:-1]).all()  # sorted, no edge twice
    assert not contains_self_loops(data.edge_index)
    assert bundle.num_outputs == classes
    assert bundle.card.counts.edges == 3000


def test_other_edges_join_neighbours_on_the_circle():
    data = load_dataset("csbm", homophily=0.2, num_classes=5).data
    source, target = data.y[data.edge_index]
    assert set(((source - target) % 5).tolist()) == {0, 1, 4}


def test_features_have_the_signal_that_was_asked_for():
    data = csbm_graph(20_000, 4, 0.5, 2.0, 8, 3.0, seed=1)
    means = torch.stack([data.x[data.y == c].mean(0) for c in range(4)])
    assert means.norm(dim=1).tolist() == pytest.approx([3.0] * 4, abs=0.1)
    assert float((data.x - means[data.y]).std()) == pytest.approx(1.0, abs=0.01)
    assert csbm_graph(100, 4, 0.5, 2.0, 8, 0.0, seed=1).x.mean().abs() < 0.15


def test_edges_are_drawn_uniformly():
    """All pairs within a class are equally likely: their numbers over many graphs vary as a binomial's would."""
    counts = torch.zeros(12, 12)
    for seed in range(400):
        data = csbm_graph(12, 2, 1.0, 1.0, 1, 0.0, seed)
        order = torch.argsort(data.y, stable=True)
        rank = torch.empty(12, dtype=torch.int64)
        rank[order] = torch.arange(12)
        counts.index_put_(tuple(rank[data.edge_index]), torch.ones(data.num_edges), accumulate=True)
    same = torch.block_diag(torch.ones(6, 6), torch.ones(6, 6)).triu(1).bool()
    within = counts[same]  # 30 pairs share 400 * 6 edges: 80 each, with variance 80 * (1 - 6 / 30) = 64
    assert float(within.sum()) == 2400
    assert float(within.min()) > 80 - 4 * 8
    assert float(within.max()) < 80 + 4 * 8


def test_seeds_and_splits_are_independent():
    zero, one = load_dataset("csbm"), load_dataset("csbm", seed=1)
    assert zero.digest != one.digest
    assert len({split.hash for split in zero.splits}) == 10
    for split in zero.splits:
        assert zero.data.y[split.train].bincount().tolist() == [96] * 4
        assert zero.data.y[split.val].bincount().tolist() == [64] * 4
        assert zero.data.y[split.test].bincount().tolist() == [40] * 4
    assert one.params["seed"] == 1


def test_impossible_knobs():
    with pytest.raises(ConfigError, match="edges within classes, but only"):
        load_dataset("csbm", num_nodes=40, average_degree=30.0, homophily=1.0)
    with pytest.raises(ConfigError, match="too few for 4 classes"):
        load_dataset("csbm", num_nodes=10)
    with pytest.raises(ConfigError, match=r"dataset\.num_classes"):
        load_dataset("csbm", num_classes=1)


def test_every_pair_can_be_drawn():
    data = csbm_graph(12, 3, 0.0, 8.0, 1, 0.0, seed=0)  # 48 edges between classes are all there are
    assert data.num_edges == 96


def test_a_large_graph_takes_no_time():
    data = csbm_graph(100_000, 5, 0.2, 10.0, 4, 1.0, seed=0)
    assert data.num_edges == 1_000_000


def test_les_miserables_has_networkx_communities():
    data = load_dataset("les_miserables").data
    graph = nx.les_miserables_graph()
    assert list(graph)[10] == "Valjean"
    assert int((data.edge_index[0] == 10).sum()) == 36
    found = nx.community.greedy_modularity_communities(graph)
    assert [sorted(list(graph).index(name) for name in c) for c in found] == [
        torch.nonzero(data.y == label).flatten().tolist() for label in range(5)
    ]


def test_davis_groups_are_in_the_table():
    data = load_dataset("davis").data
    assert data.hyperedge_index[1].bincount().tolist() == [3, 3, 6, 4, 8, 8, 10, 14, 12, 5, 4, 6, 3, 3]
    assert data.hyperedge_index[0].bincount()[[0, 2, 13]].tolist() == [8, 8, 8]  # Evelyn, Theresa and Nora
    attended = torch.zeros(18, 14, dtype=torch.float64)
    attended[tuple(data.hyperedge_index)] = 1
    # the second axis of a correspondence analysis puts the two groups on different sides of 0
    scaled = attended / attended.sum(1, keepdim=True).sqrt() / attended.sum(0, keepdim=True).sqrt()
    axis = torch.linalg.svd(scaled)[0][:, 1]
    assert torch.equal(axis > 0, data.y.bool()) or torch.equal(axis < 0, data.y.bool())


@pytest.mark.parametrize("name", ["digits", "wine", "breast-cancer"])
def test_tables_are_joined_to_their_nearest_rows(name):
    graph, hypergraph = load_dataset(f"knn-{name}").data, load_dataset(f"hypergraph-{name}").data
    assert torch.equal(graph.x, hypergraph.x)
    assert torch.equal(graph.y, hypergraph.y)
    x = graph.x.double()
    moving = x.std(0) > 0
    assert torch.allclose(x.mean(0), torch.zeros(x.shape[1], dtype=torch.float64), atol=1e-6)
    assert torch.allclose(
        x[:, moving].std(0, correction=0), torch.ones(int(moving.sum()), dtype=torch.float64), atol=1e-5
    )

    members = hypergraph.hyperedge_index[0].view(-1, 6)
    assert torch.equal(members[:, 0], torch.arange(len(x)))
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    theirs = distance.topk(5, largest=False).values
    chosen = distance.gather(1, members[:, 1:])
    assert torch.allclose(chosen, theirs, atol=1e-4)  # also that no row chose itself, which is infinitely far
    expected = {(i, int(j)) for i, row in enumerate(members[:, 1:]) for j in row}
    assert set(map(tuple, graph.edge_index.T.tolist())) == expected | {(j, i) for i, j in expected}


def test_number_of_neighbours_is_the_knob():
    assert load_dataset("hypergraph-wine", k=2).card.counts.incidences == 3 * 178
    assert load_dataset("knn-wine", k=177).data.num_edges == 178 * 177
    with pytest.raises(ConfigError, match=r"dataset\.k=178: knn-wine has 178 rows"):
        load_dataset("knn-wine", k=178)


def test_minesweeper_shows_the_mines_around():
    bundle = load_dataset("minesweeper-grid", size=12)
    data = bundle.data
    mined = data.y.flatten().view(12, 12)
    assert int(mined.sum()) == round(0.2 * 144)
    padded = torch.nn.functional.pad(mined, (1, 1, 1, 1))
    around = sum(padded[i : i + 12, j : j + 12] for i in range(3) for j in range(3)) - mined
    hidden = data.x[:, 0] == 1
    assert int(hidden.sum()) == 72
    shown = data.x.argmax(1)
    assert torch.equal(shown[~hidden], 1 + around.flatten().long().clamp(max=5)[~hidden])
    assert torch.equal(data.x.sum(1), torch.ones(144))
    squares = nx.strong_product(nx.path_graph(12), nx.path_graph(12))
    assert set(map(tuple, data.edge_index.T.tolist())) == {
        (12 * a + b, 12 * c + d) for ((a, b), (c, d)) in squares.to_directed().edges
    }
    for split in bundle.splits:
        assert 0 < float(data.y[split.test].sum()) < len(split.test)


def test_impossible_boards():
    with pytest.raises(ConfigError, match=r"dataset\.mines=0.0 of 900 squares"):
        load_dataset("minesweeper-grid", mines=0.0)
    with pytest.raises(ConfigError, match=r"dataset\.size"):
        load_dataset("minesweeper-grid", size=3)


@pytest.mark.data("minesweeper")
def test_minesweeper_is_coded_like_the_original():
    ours, theirs = load_dataset("minesweeper-grid", size=100).data, load_dataset("minesweeper").data
    code = [data.edge_index[0] * 10_000 + data.edge_index[1] for data in (ours, theirs)]
    assert torch.equal(code[0], code[1].sort().values)
    around = torch.zeros(10_000).index_add_(0, theirs.edge_index[0], theirs.y.flatten()[theirs.edge_index[1]].float())
    shown = theirs.x.argmax(1)
    assert torch.equal(shown[shown > 0], 1 + around.long().clamp(max=5)[shown > 0])
    assert int((shown == 0).sum()) == int((ours.x.argmax(1) == 0).sum()) == 5000
    assert int(theirs.y.sum()) == int(ours.y.sum()) == 2000


def test_papers_have_authors_and_venues_of_their_field():
    bundle = load_dataset("hetero-papers", num_papers=3000, fidelity=0.4, num_classes=4)
    data = bundle.data
    assert data["paper"].y.bincount().tolist() == [750] * 4
    authors, venues = own_field_shares(bundle, None)
    own = 0.4 + 0.6 / 4
    assert abs(venues - own) < 4 * math.sqrt(own * (1 - own) / 3000)
    assert abs(authors - own) < 4 * math.sqrt(own * (1 - own) / 9000)
    for there, back in (
        (("author", "writes", "paper"), ("paper", "written_by", "author")),
        (("paper", "appears_in", "venue"), ("venue", "contains", "paper")),
    ):
        assert torch.equal(data[there].edge_index, data[back].edge_index.flip(0))
    assert data["paper", "appears_in", "venue"].edge_index[0].bincount().tolist() == [1] * 3000
    with pytest.raises(ConfigError, match="too few for 3 classes"):
        load_dataset("hetero-papers", num_papers=11)


def _lookup(**knobs):
    return diagnostics.load_dictionary_lookup(None, "random-70-10-20", None, **knobs)


def test_dictionary_lookup_is_answered_by_its_entries():
    n = 7
    graphs, (split,) = _lookup(num_keys=n, num_graphs=40)
    assert (len(split.train), len(split.val), len(split.test)) == (28, 4, 8)
    rng = np.random.RandomState(0)
    for graph in graphs:
        assert graph.y[:n].tolist() == rng.permutation(n).tolist()
        assert set(graph.y[n:].tolist()) == {-1}
        key, value = graph.x[:, :n].argmax(1), graph.x[:, n:].argmax(1)
        assert torch.equal(graph.x.sum(1), torch.full((2 * n,), 2.0))
        assert set(value[:n].tolist()) == {n}  # the column that says: no value
        entries, queries = graph.edge_index
        assert set(zip(entries.tolist(), queries.tolist(), strict=True)) == {
            (n + e, q) for e in range(n) for q in range(n)
        }
        asked = key[entries] == key[queries]
        assert torch.equal(graph.y[queries[asked]], value[entries[asked]])


def test_hetero_edges_are_counted_right():
    bundle = load_dataset("HeteroEdgeCount", num_labels=3, num_graphs=200, max_nodes=20)
    assert {graph.num_nodes for graph in bundle.graphs} == set(range(2, 21))
    for graph in bundle.graphs:
        label = graph.x.argmax(1).tolist()
        edges = graph.edge_index.T.tolist()
        assert sum(label[a] != label[b] for a, b in edges) == float(graph.y)
        assert len(set(map(tuple, edges))) == len(edges)
        assert graph.num_nodes**2 // 4 <= len(edges) <= graph.num_nodes**2


def test_unique_signatures_are_the_authors_graphs():
    bundle = load_dataset("UniqueSignature", num_graphs=300)
    first = bundle.graphs[0]
    assert (first.num_nodes, first.num_edges, int(first.y.sum())) == (30, 426, 2)
    assert first.x.flatten()[:10].tolist() == [2, 2, 1, -2, 1, 2, 0, 1, 0, 1]
    assert float(torch.cat([graph.y for graph in bundle.graphs]).mean()) == pytest.approx(0.2784, abs=5e-5)
    for seed, graph in enumerate(bundle.graphs[:20]):
        # the generators that the authors seed, instead of NumPy's alone
        numbers = torch.randint(0, 5, (graph.num_nodes, 1), generator=torch.Generator().manual_seed(seed)) - 2
        assert torch.equal(graph.x, numbers.float())
        drawn = nx.gnp_random_graph(graph.num_nodes, 0.5, seed=random.Random(seed))
        assert set(map(tuple, graph.edge_index.T.tolist())) == set(drawn.to_directed().edges)
        x = graph.x.flatten().long().tolist()
        for node in drawn:
            total = sum(x[other] for other in drawn[node])
            assert any(x[other] == total for other in drawn[node]) == bool(graph.y[node])


def test_impossible_signatures():
    with pytest.raises(ConfigError, match=r"dataset\.min_nodes=80 is above dataset\.max_nodes=70"):
        load_dataset("UniqueSignature", min_nodes=80)


def test_circular_skip_links():
    bundle = load_dataset("csl-generated")
    for label, skip in enumerate([2, 3, 4, 5, 6, 9, 11, 12, 13, 16]):
        formula = nx.circulant_graph(41, [1, skip])
        copies = bundle.graphs[15 * label : 15 * (label + 1)]
        assert {int(graph.y) for graph in copies} == {label}
        assert len({graph.edge_index.numpy().tobytes() for graph in copies}) == 15
        for graph in copies:
            assert torch.equal(graph.edge_index[0].bincount(), torch.full((41,), 4))
        assert nx.is_isomorphic(to_networkx(copies[-1], to_undirected=True), formula)
    y = torch.cat([graph.y for graph in bundle.graphs])
    for split in bundle.splits:
        assert y[split.test].bincount().tolist() == y[split.val].bincount().tolist() == [3] * 10
        assert y[split.train].bincount().tolist() == [9] * 10
    assert torch.equal(torch.cat([split.test for split in bundle.splits]).sort().values, torch.arange(150))


def test_rook_and_shrikhande():
    first, second = load_dataset("rook-shrikhande").graphs
    rook, shrikhande = (to_networkx(graph, to_undirected=True) for graph in (first, second))
    for graph in (rook, shrikhande):
        assert set(dict(graph.degree).values()) == {6}
        common = {len(list(nx.common_neighbors(graph, a, b))) for a in graph for b in graph if a < b}
        assert common == {2}
    assert nx.is_isomorphic(rook, nx.line_graph(nx.complete_bipartite_graph(4, 4)))
    assert not nx.is_isomorphic(rook, shrikhande)
    # neighbourhoods tell them apart: two triangles, and a hexagon
    assert nx.is_isomorphic(rook.subgraph(rook[0]), nx.disjoint_union(nx.complete_graph(3), nx.complete_graph(3)))
    assert nx.is_isomorphic(shrikhande.subgraph(shrikhande[0]), nx.cycle_graph(6))
    assert int(first.group) == int(second.group)
    assert int(first.y) != int(second.y)

"""TUDataset's collections: features, folds, and the order of the graphs that folds rest on."""

import os
from collections import Counter
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from networkx.algorithms.isomorphism import categorical_node_match
from torch_geometric.data import Data
from torch_geometric.transforms import OneHotDegree
from torch_geometric.utils import to_networkx

from gnnzoo.datasets import load_dataset, tu
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError
from gnnzoo.registry import DATASETS

FAIR = ["PROTEINS", "ENZYMES", "IMDB-BINARY", "IMDB-MULTI", "NCI1"]
HYDROGEN = 19


def sets(names):
    return [pytest.param(name, marks=pytest.mark.data(name)) for name in names]


def stored(path):
    return Path(os.environ["GNNZOO_DATA"], "tu", path)


def classes(bundle):
    return torch.cat([graph.y for graph in bundle.graphs])


@pytest.mark.parametrize("name", sets(["ENZYMES", "IMDB-MULTI", "PTC_MR", "BZR"]))
def test_drawn_folds_are_stratified(name):
    clean, habit = load_dataset(name), load_dataset(name, "gin-10fold")
    y = classes(clean)
    sizes = y.bincount()
    for i, (one, other) in enumerate(zip(clean.splits, habit.splits, strict=True)):
        assert torch.equal(one.test, other.test)
        assert torch.equal(other.val, other.test)
        assert torch.equal(one.val, clean.splits[(i + 1) % 10].test)
        assert len(one.train) + len(one.val) + len(one.test) == len(other.train) + len(other.test) == len(y)
        assert ((y[one.test].bincount(minlength=len(sizes)) - sizes / 10).abs() < 1).all()
    assert torch.cat([split.test for split in clean.splits]).sort().values.tolist() == [*range(len(y))]


@pytest.mark.parametrize("name", [*sets(FAIR), pytest.param("DD", marks=[pytest.mark.data("DD"), pytest.mark.slow])])
def test_fair_folds_are_stratified_in_the_order_of_the_collection(name):
    """What supports that the authors' numbers mean TUDataset's order."""
    bundle = load_dataset(name, "fair-10fold")
    y = classes(bundle)
    sizes = y.bincount()
    for split in bundle.splits:
        assert len(torch.cat([split.train, split.val, split.test]).unique()) == len(y)
        assert ((y[split.test].bincount(minlength=len(sizes)) - sizes / 10).abs() < 1).all()
        rest = sizes - y[split.test].bincount(minlength=len(sizes))
        assert ((y[split.val].bincount(minlength=len(sizes)) - rest / 10).abs() <= 1).all()
    assert torch.cat([split.test for split in bundle.splits]).sort().values.tolist() == [*range(len(y))]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        pytest.param(*pair, marks=pytest.mark.data(pair[0]))
        for pair in [("PROTEINS", "PROTEINS"), ("NCI109", "NCI109"), ("IMDB-BINARY", "IMDBBINARY")]
    ],
)
def test_dgcnn_folds_are_the_stored_ones(name, folder):
    bundle = load_dataset(name, "dgcnn-10fold")
    for k, split in enumerate(bundle.splits, start=1):
        test, train = (
            np.sort(np.loadtxt(stored(f"folds/gin/{folder}/{part}_idx-{k}.txt"), np.int64))
            for part in ("test", "train")
        )
        assert split.test.tolist() == split.val.tolist() == test.tolist()
        assert split.train.tolist() == train.tolist()
        assert len(split.test) == len(bundle.graphs) // 10


def text_graphs(path):
    numbers = iter(map(int, path.read_text().split()))
    for _ in range(next(numbers)):
        n, y = next(numbers), next(numbers)
        graph = nx.Graph(y=y)
        for node in range(n):
            graph.add_node(node, atom=next(numbers))
            graph.add_edges_from((node, next(numbers)) for _ in range(next(numbers)))
        yield graph


@pytest.mark.parametrize(
    ("name", "folder"),
    [pytest.param(*pair, marks=pytest.mark.data(pair[0])) for pair in [("MUTAG", "MUTAG"), ("PTC_MR", "PTC")]],
)
def test_graphs_of_the_text_files_are_found_in_the_collection(name, folder):
    """Every test graph of DGCNN's folds is isomorphic, with its atoms, to the one that stands for it here."""
    bundle = load_dataset(name, "dgcnn-10fold")
    texts = [*text_graphs(stored(f"folds/gin/{folder}/{folder}.txt"))]
    for graph in texts:
        if name == "PTC_MR":
            graph.remove_nodes_from([v for v, atom in graph.nodes(data="atom") if atom == HYDROGEN])
    ours = []
    for graph in bundle.graphs:
        found = to_networkx(graph, to_undirected=True)
        nx.set_node_attributes(found, dict(enumerate(graph.x.argmax(1).tolist())), "atom")
        found.graph["y"] = int(graph.y)
        ours.append(found)
    assert sum(map(len, texts)) == sum(map(len, ours))
    for graphs in (texts, ours):  # the two number atoms differently, but have equally many of each
        often = Counter(atom for graph in graphs for _, atom in graph.nodes(data="atom"))
        for graph in graphs:
            nx.set_node_attributes(graph, {v: often[atom] for v, atom in graph.nodes(data="atom")}, "often")
    number = tu._places(bundle.card, bundle.graphs, stored(f"folds/gin/{folder}/{folder}.txt"))
    assert sorted(number) == [*range(len(ours))]
    for text, there in zip(texts, number, strict=True):
        assert (text.graph["y"] > 0) == (ours[there].graph["y"] > 0)
        assert nx.is_isomorphic(text, ours[there], node_match=categorical_node_match("often", None))
    for k, split in enumerate(bundle.splits, start=1):
        test, train = (
            np.loadtxt(stored(f"folds/gin/{folder}/{part}_idx-{k}.txt"), np.int64) for part in ("test", "train")
        )
        assert split.test.tolist() == sorted(number[test])
        assert split.train.tolist() == sorted(number[train])


@pytest.mark.data("MUTAG")
def test_other_text_graphs_are_refused(tmp_path):
    card = DATASETS.card("MUTAG")
    graphs = load_dataset("MUTAG").graphs
    path = tmp_path / "MUTAG.txt"
    text = stored("folds/gin/MUTAG/MUTAG.txt").read_text().split()
    assert text[2] == "2"
    path.write_text(" ".join([*text[:2], "0", *text[3:]]))  # the first graph has the other class
    with pytest.raises(DataError, match=r"MUTAG: the graphs of MUTAG.txt are not those of TUDataset"):
        tu._places(card, graphs, path)


@pytest.mark.parametrize("name", sets(["IMDB-BINARY", "IMDB-MULTI"]))
def test_degrees_are_the_features_where_there_are_no_labels(name):
    bundle = load_dataset(name)
    transform = OneHotDegree(bundle.graphs[0].num_features - 1)
    largest = 0
    for graph in bundle.graphs:
        plain = transform(Data(edge_index=graph.edge_index, num_nodes=graph.num_nodes))
        assert torch.equal(graph.x, plain.x)
        assert sorted(graph.keys()) == ["edge_index", "x", "y"]
        largest = max(largest, int(graph.x.argmax(1).max()))
    assert largest == bundle.graphs[0].num_features - 1


@pytest.mark.parametrize("name", sets(["ENZYMES", "COX2"]))
def test_features_are_labels_without_attributes(name):
    bundle = load_dataset(name)
    with RawFiles(bundle.card).layout([f"{name}/raw/{name}_node_labels.txt"]) as folder:
        labels = np.loadtxt(folder / f"{name}/raw/{name}_node_labels.txt", np.int64, delimiter=",")
    x = torch.cat([graph.x for graph in bundle.graphs])
    assert (x.sum(1) == 1).all()
    assert torch.equal(x.argmax(1), torch.from_numpy(labels - labels.min()))


@pytest.mark.data("MUTAG")
def test_read_goes_by_the_files_names():
    """Cards of other families build on the same collections from their own roots."""
    card = DATASETS.card("MUTAG")
    files = {Path(f).name: sha for f, sha in card.files.items() if f.startswith("MUTAG/")}
    moved = card.model_copy(update={"root": "tu/MUTAG/raw", "files": files})
    for one, other in zip(tu.read(moved, RawFiles(moved)), load_dataset("MUTAG").graphs, strict=True):
        assert one.to_dict().keys() == other.to_dict().keys()
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.edge_index, other.edge_index)


@pytest.mark.data("ENZYMES")
def test_folds_are_read_by_their_own_protocols_only():
    card = DATASETS.card("ENZYMES")
    folds = {"clean-10fold": set(), "dgcnn-10fold": {"gin"}, "fair-10fold": {"fair"}}
    for protocol, expected in folds.items():
        files = RawFiles(card)
        tu.load(card, protocol, files)
        assert {f.split("/")[1] for f in files.used if f.startswith("folds/")} == expected
        assert len([f for f in files.used if f.startswith("ENZYMES/")]) == 5


@pytest.fixture
def collab(tmp_path):
    """Twenty small graphs in COLLAB's layout: paths and triangles with a self-loop and a doubled edge."""
    rows, indicator, labels = [], [], []
    for i in range(20):
        start = len(indicator)
        edges = [(1, 2), (2, 3)] + [(1, 3)] * (i % 2)
        rows += [(start + a, start + b) for u, v in edges for a, b in ((u, v), (v, u))]
        rows += [(start + 1, start + 1), (start + 1, start + 2)] * (i == 0)
        indicator += [i + 1] * 3
        labels.append(i % 2 + 1)
    raw = tmp_path / "tu/COLLAB/raw"
    raw.mkdir(parents=True)
    (raw / "COLLAB_A.txt").write_text("".join(f"{a}, {b}\n" for a, b in rows))
    (raw / "COLLAB_graph_indicator.txt").write_text("".join(f"{i}\n" for i in indicator))
    (raw / "COLLAB_graph_labels.txt").write_text("".join(f"{y}\n" for y in labels))
    return raw


def test_small_files_in_collabs_layout(collab, tmp_path):
    card = DATASETS.card("COLLAB")
    graphs, splits = tu.load(card, "clean-10fold", RawFiles(card, tmp_path))
    assert [graph.num_edges for graph in graphs] == [4, 6] * 10
    assert [int(graph.y) for graph in graphs] == [0, 1] * 10
    assert graphs[0].x.tolist() == [[0, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert graphs[1].x.dtype == torch.float32
    assert [(len(s.train), len(s.val), len(s.test)) for s in splits] == [(16, 2, 2)] * 10


def test_unreadable_files_in_collabs_layout(collab, tmp_path):
    (collab / "COLLAB_graph_labels.txt").write_text("1\nyes\n")
    with pytest.raises(DataError, match=r"COLLAB: .*COLLAB_graph_labels.txt.*'yes'"):
        load_dataset("COLLAB", root=tmp_path)


def test_twins():
    """Measures on three squares, one pair of triangles (1-WL takes it for a hexagon) and that hexagon."""
    square, triangles, hexagon = (
        nx.cycle_graph(4),
        nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)),
        nx.cycle_graph(6),
    )
    graphs = []
    for graph, y in [(square, 0), (square, 0), (square, 1), (triangles, 0), (hexagon, 1)]:
        edges = torch.tensor([*graph.to_directed().edges]).T
        graphs.append(Data(torch.ones(len(graph), 1), edges, y=torch.tensor([y])))
    split = type("Split", (), {"train": torch.tensor([0, 3]), "test": torch.tensor([1, 2, 4])})
    bundle = type("Bundle", (), {"graphs": graphs, "splits": [split]})
    assert tu.repeated_graphs(bundle, None) == 3
    assert tu.tested_twins(bundle, None) == 1.0
    assert tu.wl_ceiling(bundle, None) == pytest.approx(3 / 5)

"""The real sets against what was published about them."""

import gzip
from pathlib import Path

import pytest
import torch
from torch_geometric.utils import contains_isolated_nodes, homophily, is_undirected

from gnnzoo.datasets import load_dataset, raw
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.registry import DATASETS
from gnnzoo.transforms import prepare

# benchmark: digest of the data, hash of split 0, sizes of split 0
STORED = {
    "texas@geom-gcn": ("728bdcbe72146b40", "f685e222806b1daf", (87, 59, 37)),
    "wisconsin@geom-gcn": ("2850f1718649631d", "7405e1b257ba6cba", (120, 80, 51)),
    "cornell@geom-gcn": ("2ea486d0b6133c44", "a7f4351763daf494", (87, 59, 37)),
    "cornell_legacy@geom-gcn": ("373938462fd5f818", "a7f4351763daf494", (87, 59, 37)),
    "cora@public": ("5fffd777885c2884", "76754223cac0aa34", (140, 500, 1000)),
    "cora@geom-gcn": ("5fffd777885c2884", "8265f3c08983f4ae", (1192, 796, 497)),
    "cora@random-20": ("5fffd777885c2884", "34812f27acc0089b", (140, 500, 1000)),
    "citeseer@public": ("c88c72c98195ce78", "e00f197cfdf66a18", (120, 500, 1000)),
    "citeseer@geom-gcn": ("c88c72c98195ce78", "f35ac22252121400", (1596, 1065, 666)),
    "citeseer@random-20": ("c88c72c98195ce78", "0358e544e4004c23", (120, 500, 1000)),
    "MUTAG@clean-10fold": ("a4af68a38bbc55a0", "a5306da1940ecc33", (150, 19, 19)),
    "MUTAG@gin-10fold": ("a4af68a38bbc55a0", "c8c39aff9c25db67", (169, 19, 19)),
}
CLASSES = {
    "texas": [33, 1, 18, 101, 30],
    "wisconsin": [10, 70, 118, 32, 21],
    "cornell": [38, 16, 30, 82, 17],
    "cornell_legacy": [33, 1, 18, 101, 30],
    "cora": [351, 217, 418, 818, 426, 298, 180],
    "citeseer": [264, 590, 668, 701, 596, 508],
    "MUTAG": [63, 125],
}


def sets(names):
    return [pytest.param(name, marks=pytest.mark.data(name.partition("@")[0])) for name in names]


def load(benchmark):
    name, _, protocol = benchmark.partition("@")
    return load_dataset(name, protocol or None)


def test_every_protocol_of_every_set_with_files_is_tested():
    cards = [DATASETS.card(name) for name in DATASETS.names()]
    assert {
        f"{c.name}@{p}" for c in cards if c.files and c.family in ("webkb", "planetoid", "tu") for p in c.protocols
    } == {*STORED}


@pytest.mark.parametrize("benchmark", sets(STORED))
def test_identity(benchmark, monkeypatch, tmp_path):
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    fresh, cached = load(benchmark), load(benchmark)
    for bundle in (fresh, cached):
        first = bundle.splits[0]
        assert (bundle.digest, first.hash) == STORED[benchmark][:2]
        assert (len(first.train), len(first.val), len(first.test)) == STORED[benchmark][2]
    for one, other in zip(fresh.graphs, cached.graphs, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys():  # noqa: SIM118 - a method of PyG, not of a dict
            assert torch.equal(one[key], other[key])
            assert one[key].stride() == other[key].stride()
            assert one[key].is_contiguous()
    assert [split.hash for split in fresh.splits] == [split.hash for split in cached.splits]
    assert len({split.hash for split in fresh.splits}) == len(fresh.splits)


@pytest.mark.parametrize("benchmark", sets(["texas", "cornell_legacy", "cora@public", "citeseer@geom-gcn", "MUTAG"]))
def test_downloads_land_where_the_loader_looks(benchmark, monkeypatch, tmp_path):
    """PyG's own download steps, with a server that has the real files."""
    name = benchmark.partition("@")[0]
    card = DATASETS.card(name)
    source = RawFiles(card)
    have = {Path(file).name: source.find(file) for file in card.files}

    def serve(url, folder, **options):
        wanted = [file for file in have if file.startswith(f"{name}_")] if url.endswith(".zip") else [Path(url).name]
        target = Path(folder, name) if url.endswith(".zip") else Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for file in wanted:
            opened = gzip.open if have[file].suffix == ".gz" else open
            with opened(have[file], "rb") as content:
                (target / file).write_bytes(content.read())

    monkeypatch.delenv("GNNZOO_DATA")
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(raw, "_unreachable", lambda url: None)
    monkeypatch.setattr("torch_geometric.datasets.webkb.download_url", serve)
    monkeypatch.setattr("torch_geometric.io.fs.cp", serve)
    bundle = load(benchmark)
    assert bundle.digest == STORED[bundle.benchmark][0]
    kept = {path.name for path in (tmp_path / "raw").rglob("*") if path.is_file()}
    assert kept <= set(have)
    assert len(kept) == 8 if benchmark == "cora@public" else len(kept) == len(have)


@pytest.mark.parametrize("name", sets(CLASSES))
def test_classes_and_homophily(name):
    bundle = load_dataset(name)
    y = torch.cat([graph.y for graph in bundle.graphs])
    assert y.bincount().tolist() == CLASSES[name]
    if bundle.card.homophily is not None:
        measured = homophily(bundle.data.edge_index, bundle.data.y, method="edge")
        assert measured == pytest.approx(bundle.card.homophily, abs=6e-4)
    assert not any(key.endswith("mask") for graph in bundle.graphs for key in graph.keys())  # noqa: SIM118


@pytest.mark.data("texas")
def test_texas_after_preparation():
    bundle = load_dataset("texas")
    data = prepare(normalize_features="row", undirected=True, self_loops="remove")(bundle.data)
    assert (data.num_nodes, data.num_edges, data.num_features) == (183, 558, 1703)
    assert int((data.x != 0).sum()) == 15266
    assert torch.allclose(data.x.sum(1), torch.ones(183))
    assert is_undirected(data.edge_index)
    code = data.edge_index[0] * 183 + data.edge_index[1]
    assert (code[1:] > code[:-1]).all()
    # class 1 is one node: a test node in splits 2 and 7, a validation node in 0 and 1
    (single,) = (data.y == 1).nonzero().flatten().tolist()
    assert [split.index for split in bundle.splits if single in split.test] == [2, 7]
    assert [split.index for split in bundle.splits if single in split.val] == [0, 1]


@pytest.mark.data("cornell", "cornell_legacy", "texas")
def test_legacy_cornell_is_texas_on_other_edges():
    texas, right, wrong = (load_dataset(name) for name in ("texas", "cornell", "cornell_legacy"))
    assert torch.equal(wrong.data.x, texas.data.x)
    assert torch.equal(wrong.data.y, texas.data.y)
    assert not torch.equal(right.data.x, texas.data.x)
    assert [s.hash for s in right.splits] == [s.hash for s in wrong.splits]


@pytest.mark.parametrize("benchmark", sets(["texas", "wisconsin", "cornell", "cornell_legacy"]))
def test_webkb_splits_cover_every_node(benchmark):
    bundle = load(benchmark)
    for split in bundle.splits:
        assert torch.cat([split.train, split.val, split.test]).sort().values.tolist() == [*range(bundle.data.num_nodes)]


@pytest.mark.data("citeseer")
def test_citeseer_health():
    bundle = load_dataset("citeseer", "geom-gcn")
    covered = [len(s.train) + len(s.val) + len(s.test) for s in bundle.splits]
    assert covered == [3327] * 4 + [2120] * 2 + [3327] * 4
    assert contains_isolated_nodes(bundle.data.edge_index, 3327)
    degree = torch.bincount(bundle.data.edge_index[0], minlength=3327)
    assert int((degree == 0).sum()) == 48
    empty = (bundle.data.x.sum(1) == 0).nonzero().flatten()
    assert len(empty) == 15
    assert set(empty.tolist()) <= set(range(2312, 3327))  # the range of the public test nodes


@pytest.mark.parametrize("name", sets(["cora", "citeseer"]))
def test_random_20(name):
    bundle = load_dataset(name, "random-20")
    for split in bundle.splits:
        assert bundle.data.y[split.train].bincount().tolist() == [20] * bundle.num_outputs
        assert (len(split.val), len(split.test)) == (500, 1000)


@pytest.mark.data("MUTAG")
def test_mutag_folds():
    clean, habit = load_dataset("MUTAG"), load_dataset("MUTAG", "gin-10fold")
    assert clean.card.protocols["clean-10fold"].selection == "validation"
    assert habit.card.protocols["gin-10fold"].selection == "on-test"
    y = torch.cat([graph.y for graph in clean.data])
    for i, (one, other) in enumerate(zip(clean.splits, habit.splits, strict=True)):
        assert torch.equal(one.test, other.test)
        assert torch.equal(other.val, other.test)
        assert torch.equal(one.val, clean.splits[(i + 1) % 10].test)
        assert len(one.train) + len(one.val) + len(one.test) == 188
        assert len(other.train) + len(other.test) == 188
        assert 11 <= int(y[one.test].sum()) <= 13  # 125 of 188 are of class 1
    assert torch.cat([split.test for split in clean.splits]).sort().values.tolist() == [*range(188)]
    assert clean.graphs[0].edge_attr.shape[1] == 4

"""The real sets against what was published about them."""

import gzip
from pathlib import Path

import pytest
import torch
from torch_geometric.utils import is_undirected

from gnnzoo.datasets import load_dataset, raw
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.registry import DATASETS
from gnnzoo.transforms import prepare

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


@pytest.mark.parametrize("benchmark", sets(["texas", "cora", "amazon-photo", "MUTAG"]))
def test_fresh_and_cached_are_the_same(benchmark, monkeypatch, tmp_path):
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    fresh, cached = load(benchmark), load(benchmark)
    assert fresh.digest == cached.digest
    for one, other in zip(fresh.graphs, cached.graphs, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys():  # noqa: SIM118 - a method of PyG, not of a dict
            assert torch.equal(one[key], other[key])
            assert one[key].stride() == other[key].stride()
    assert fresh.hash == cached.hash


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
    assert bundle.digest == card.protocols[bundle.protocol].digest
    kept = {path.name for path in (tmp_path / "raw").rglob("*") if path.is_file()}
    assert kept <= set(have)
    assert len(kept) == {"cora@public": 8, "MUTAG": 5}.get(benchmark, len(have))


@pytest.mark.parametrize("name", sets(CLASSES))
def test_classes(name):
    y = torch.cat([graph.y for graph in load_dataset(name).graphs])
    assert y.bincount().tolist() == CLASSES[name]


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

"""ZINC-12k: small files of the layout that PyG downloads, and the part of the set that could be had."""

import io
import os
import pickle

import pytest
import torch
from torch_geometric.datasets import ZINC

from gnnzoo.datasets import load_dataset, zinc
from gnnzoo.datasets.bundle import Bundle
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError
from gnnzoo.registry import DATASETS

PARTS = {"train": 9, "val": 5, "test": 4}
CHOSEN = {"train": [7, 0, 3, 3], "val": [4, 1], "test": [2]}


def molecule(number):
    """A ring of three to six atoms with a double bond, in the types that the benchmark's authors chose."""
    size = 3 + number % 4
    bonds = torch.zeros(size, size, dtype=torch.int8)
    for atom in range(size):
        kind = 2 if atom == number % size else 1
        bonds[atom, (atom + 1) % size] = bonds[(atom + 1) % size, atom] = kind
    return {
        "num_atom": size,
        "atom_type": (torch.arange(size) * (number + 1) % 28).to(torch.int8),
        "bond_type": bonds,
        "logP_SA_cycle_normalized": torch.tensor([number / 8 - 1]),
    }


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "ZINC" / "raw"
    folder.mkdir(parents=True)
    for part, size in PARTS.items():
        with open(folder / f"{part}.pickle", "wb") as file:
            pickle.dump([molecule(10 * len(part) + i) for i in range(size)], file, protocol=2)
        (folder / f"{part}.index").write_text(",".join(map(str, CHOSEN[part])) + "\n")
    return tmp_path


def read(root):
    """Call the loader itself: the card has the checksums of the real index files, and their counts."""
    card = DATASETS.card("ZINC-12k")
    card = card.model_copy(update={"files": dict.fromkeys(card.files)})
    data, splits = zinc.load(card, "public", RawFiles(card, root))
    bundle = Bundle(card, "public", data, splits, "")
    bundle.check()
    return bundle


def test_it_reads_what_pyg_reads(root, tmp_path):
    bundle = read(root)
    (split,) = bundle.splits
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0, 1, 2, 3], [4, 5], [6])
    expected = [graph for part in PARTS for graph in ZINC(str(tmp_path / "ZINC"), subset=True, split=part)]
    assert len(bundle.graphs) == len(expected) == 7
    for graph, other in zip(bundle.graphs, expected, strict=True):
        assert set(graph.to_dict()) == set(other.to_dict()) == {"x", "edge_index", "edge_attr", "y"}
        for name in ("x", "edge_index", "edge_attr"):
            assert torch.equal(graph[name], other[name])
            assert graph[name].dtype == torch.int64
        assert torch.equal(graph.y, other.y.reshape(1, 1))
        assert graph.y.dtype == torch.float32


class Bomb:
    def __reduce__(self):
        return (os.system, ("echo boom",))


class Nested:
    """A storage whose bytes are a bomb: torch's own reader of pickled storages would run it."""

    def __reduce__(self):
        inner = io.BytesIO()
        torch.save(Bomb(), inner)
        return (torch.storage._load_from_bytes, (inner.getvalue(),))


@pytest.mark.parametrize("bomb", [Bomb, Nested])
def test_code_in_a_pickle_is_refused(root, bomb, capfd):
    (root / "ZINC/raw/val.pickle").write_bytes(pickle.dumps([bomb()]))
    with pytest.raises(DataError, match=r"ZINC-12k: val.pickle is (refused|no readable pickle)") as caught:
        read(root)
    assert "\n" not in str(caught.value)
    assert "boom" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("test.index", b"0,two\n", "test.index, line 1: invalid literal for int() with base 10: 'two\\n'"),
        ("test.index", b"0,4\n", "test.index, line 1: a number is not in 0..3"),
        ("train.pickle", b"not a pickle", "train.pickle is no readable pickle"),
        ("train.pickle", pickle.dumps({"a": 1}), "train.pickle holds a dict, not a list of molecules"),
        ("train.pickle", pickle.dumps([{"atom_type": 1}] * 9), "train.pickle holds something else than molecules"),
    ],
)
def test_bad_files_are_named(root, file, content, message):
    (root / "ZINC/raw" / file).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(root)
    assert message in str(caught.value)
    assert str(caught.value).startswith("ZINC-12k: ")
    assert "\n" not in str(caught.value)


@pytest.mark.data("zinc12k-partial")
def test_the_partial_set():
    bundle = load_dataset("zinc12k-partial")
    (split,) = bundle.splits
    assert [len(part) for part in (split.train, split.val, split.test)] == [10000, 1000, 1000]
    for part in (split.val, split.test):  # averages as published for the official ones
        graphs = [bundle.graphs[i] for i in part.tolist()]
        assert sum(g.num_nodes for g in graphs) / 1000 == pytest.approx(23.1, abs=0.05)
        assert sum(g.num_edges for g in graphs) / 2000 == pytest.approx(24.85, abs=0.05)
    for graph in bundle.graphs[::500]:
        code = graph.edge_index[0] * graph.num_nodes + graph.edge_index[1]
        assert (code.diff() > 0).all()  # PyG's order, sorted by source and target
        back = torch.argsort(graph.edge_index[1] * graph.num_nodes + graph.edge_index[0])
        assert torch.equal(graph.edge_attr, graph.edge_attr[back])
        assert 0 < int(graph.edge_attr.max()) <= 3
        assert int(graph.x.max()) < 28
        assert graph.y.shape == (1, 1)


def test_the_partial_set_is_never_ranked():
    card = DATASETS.card("zinc12k-partial")
    assert card.unranked
    assert any("never beside published errors" in said for said in card.warnings("surrogate-train"))
    assert not DATASETS.card("ZINC-12k").unranked

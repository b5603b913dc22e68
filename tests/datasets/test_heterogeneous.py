"""Heterogeneous graphs: readers against PyG's, splits and labels as published, small files of HGB's layout."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from torch_geometric.datasets import HGBDataset

from gnnzoo.datasets import heco, hgb, lastfm, load_dataset
from gnnzoo.datasets.bundle import Split, digest, label_store
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError
from gnnzoo.registry import DATASETS

FREEBASE = {
    "info.dat": "node.dat\nTYPE\tMEANING\n0\t\tBOOK\n1\t\tFILM\n2\t\tSPORTS\n\n"
    "link.dat\nLINK\tSTART\tEND\tMEANING\n0\t0\t0\tBOOK-and-BOOK\n1\t0\t1\tBOOK-to-FILM\n2\t2\t1\tSPORTS-in-FILM\n\n",
    "node.dat": "".join(f"{i}\tname {i}\t{kind}\n" for i, kind in enumerate([0, 0, 0, 0, 0, 0, 1, 1, 2])),
    "link.dat": "0\t1\t0\t1.0\n1\t0\t0\t1.0\n5\t5\t0\t1.0\n2\t7\t1\t1.0\n0\t6\t1\t2.5\n8\t6\t2\t1.0\n",
    "label.dat": "4\tname\t0\t2\n1\tname\t0\t0\n5\tname\t0\t1\n2\tname\t0\t1\n0\tname\t0\t6\n",
    "label.dat.test": "3\tname\t0\t6\n",
}
MOVIES = {
    "info.dat": json.dumps(
        {
            "node.dat": {"node type": {"0": "movie", "1": "actor"}},
            "link.dat": {
                "link type": {
                    "0": {"start": 0, "end": 1, "meaning": "movie->actorh"},
                    "1": {"start": "1", "end": "0", "meaning": "actor->movie"},
                }
            },
            "label.dat": {"node type": {"0": {str(i): "a genre" for i in range(5)}}},
        }
    ),
    "node.dat": "".join(f"{i}\tcafé\t0\t{i}.5,-1e-3,0\n" for i in range(8)) + "8\tsomebody\t1\n9\tsomebody\t1\n",
    "link.dat": "0\t8\t0\t1\r\n8\t0\t1\t1\r\n7\t9\t0\t1\r\n",
    "label.dat": "".join(f"{i}\tname\t0\t{labels}\n" for i, labels in enumerate(["2,0", "1", "4,3", "0", "3"])),
    "label.dat.test": "6\tname\t0\t4\n",
    "label.dat.test_full": "6\tname\t0\t1\n5\tname\t0\t0\n",
}
TRUE = "6\tname\t0\t4\n5\tname\t0\t1,2\n"


def pairs(index):
    return set(map(tuple, index.T.tolist()))


def freebase(root, **changes):
    """Write Freebase's layout and return the card of the real one with the files that describe it."""
    folder = root / "hgb" / "freebase" / "raw" / "Freebase"
    folder.mkdir(parents=True)
    for name, content in (FREEBASE | changes).items():
        (folder / name).write_bytes(content.encode())
    card = DATASETS.card("hgb-freebase")
    return card, RawFiles(card, root)


def imdb(root, **changes):
    """Write a zip of IMDB's layout with labels beside it; nobody knows their checksums."""
    folder = root / "hgb" / "imdb"
    (folder / "raw").mkdir(parents=True)
    with zipfile.ZipFile(folder / "raw" / "IMDB.zip", "w") as archive:
        for name, content in (MOVIES | changes).items():
            archive.writestr(f"IMDB/{name}", content)
    (folder / "label.dat.test_true").write_text(TRUE)
    card = DATASETS.card("hgb-imdb")
    card = card.model_copy(update={"files": dict.fromkeys(card.files)})
    return card, RawFiles(card, root)


def same_as_pyg(data, root, name):
    """Compare with what PyG's own reader makes of the same tables, but for masks and unknown labels."""
    theirs = HGBDataset(str(root), name)[0]
    assert data.node_types == theirs.node_types
    assert data.edge_types == theirs.edge_types
    for kind in data.node_types:
        assert data[kind].num_nodes == theirs[kind].num_nodes
        assert ("x" in data[kind]) == ("x" in theirs[kind])
        if "x" in data[kind]:
            assert torch.equal(data[kind].x, theirs[kind].x)
    for kind in data.edge_types:
        assert data[kind].to_dict().keys() == theirs[kind].to_dict().keys()
        for key, value in data[kind].items():
            assert torch.equal(value, theirs[kind][key]), (kind, key)
    ours, labels = label_store(data), label_store(theirs)
    known = labels.train_mask | labels.test_mask
    assert torch.equal(ours.y[known], labels.y[known])
    hidden = ours.y[~known]
    assert (hidden.isnan() if hidden.is_floating_point() else hidden == -1).all()
    return torch.where(labels.train_mask)[0], torch.where(labels.test_mask)[0]


def test_freebase_is_read_as_pyg_reads_it(tmp_path):
    data, splits = hgb.load(*_order(*freebase(tmp_path)))
    learnt, test = same_as_pyg(data, tmp_path / "hgb", "freebase")
    assert data.edge_types == [("book", "and", "book"), ("book", "to", "film"), ("sports", "in", "film")]
    assert data["book", "to", "film"].edge_weight.tolist() == [1.0, 2.5]
    assert [split.index for split in splits] == [0, 1, 2, 3, 4]
    for split in splits:
        assert len(split.val) == 1  # a fifth of five
        assert torch.equal(torch.cat([split.train, split.val]).sort().values, learnt)
        assert torch.equal(split.test, test)


def test_node_ids_need_no_order(tmp_path):
    """Rows of a type are numbered as they come, in PyG as here."""
    lines = FREEBASE["node.dat"].splitlines(keepends=True)
    data, _ = hgb.load(*_order(*freebase(tmp_path, **{"node.dat": "".join(lines[::-1])})))
    same_as_pyg(data, tmp_path / "hgb", "freebase")
    assert data["book"].y.tolist() == [1, 2, 6, 1, 0, 6]  # of nodes 5, 4, 3, 2, 1, 0


def _order(card, files, protocol="hgb-half"):
    return card, protocol, files


def test_label_sets_are_read_as_pyg_reads_them(tmp_path):
    data, splits = hgb.load(*_order(*imdb(tmp_path)))
    folder = tmp_path / "pyg" / "imdb" / "raw"
    with zipfile.ZipFile(tmp_path / "hgb" / "imdb" / "raw" / "IMDB.zip") as archive:
        archive.extractall(folder)
    same_as_pyg(data, tmp_path / "pyg", "imdb")
    assert data.edge_types == [("movie", ">actorh", "actor"), ("actor", "to", "movie")]
    assert data["movie"].y[0].tolist() == [1, 0, 1, 0, 0]
    assert data["movie"].y[5].isnan().all()
    assert splits[0].test.tolist() == [6]


def test_true_labels_replace_the_published_half(tmp_path):
    data, splits = hgb.load(*_order(*imdb(tmp_path), "hgb-true"))
    assert data["movie"].y[5].tolist() == [0, 1, 1, 0, 0]
    assert data["movie"].y[7].isnan().all()
    assert splits[0].test.tolist() == [5, 6]
    assert splits[0].extra["test_half"].tolist() == [6]


def test_only_the_true_labels_need_their_file(tmp_path):
    card, files = imdb(tmp_path)
    (tmp_path / "hgb" / "imdb" / "label.dat.test_true").unlink()
    hgb.load(card, "hgb-half", files)
    assert "label.dat.test_true" not in files.used


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("info.dat", "nothing", r"info\.dat cannot be read"),
        ("info.dat", "{}", r"info\.dat cannot be read"),
        ("node.dat", "", r"node\.dat must number its 0 nodes"),
        ("node.dat", "0\tname\t0\n0\tname\t0\n", r"node\.dat must number its 2 nodes from 0 on"),
        ("node.dat", "0\tname\t0\n1 name 0\n", r"node\.dat line 2 must hold 3 or more fields"),
        ("node.dat", "0\tname\t0\n1\tname\tbook\n", r"node\.dat line 2: its type must be one of 0\.\.2, not 'book'"),
        ("node.dat", "0\tname\t0\t1,x\n", r"node\.dat line 1 must hold only numbers"),
        ("node.dat", "0\tname\t0\t1,2\n1\tname\t0\t1\n", r"node\.dat line 2 must hold 2 numbers"),
        ("node.dat", "0\tname\t0\t1,2\n1\tname\t0\n", r"node\.dat has features of 1 of 2 book nodes"),
        ("link.dat", "", r"link\.dat holds no numbers"),
        ("link.dat", "0\t1\t0\t1.0\n0\t1\t0\n", r"link\.dat line 2: 3 fields instead of 4"),
        ("link.dat", "0\t1\t0\t1.0\n0\tx\t0\t1.0\n", r"link\.dat line 2: 'x' is not a number"),
        ("link.dat", "0\t1\t0\t1.0\n0\t9\t0\t1.0\n", r"link\.dat line 2 links nodes that its type does not"),
        ("link.dat", "0\t1\t0\t1.0\n-1\t1\t0\t1.0\n", r"link\.dat line 2 links nodes"),
        ("link.dat", "0\t1\t0\t1.0\n0\t1\t3\t1.0\n", r"link\.dat line 2 links nodes"),
        ("link.dat", "0\t1\t0\t1.0\n0\t1\t1\t1.0\n", r"link\.dat line 2 links nodes"),
        ("label.dat", "", r"label\.dat is empty"),
        ("label.dat", "1\tname\t0\t0\n2\tname\t0\t7\n", r"label\.dat line 2: a label must be one of 0\.\.6, not '7'"),
        ("label.dat", "1\tname\t0\t0,1\n", r"label\.dat line 1 must hold one label"),
        ("label.dat", "1\tname\t0\t0\n9\tname\t0\t0\n", r"label\.dat line 2: the node must be one of 0\.\.8"),
        ("label.dat.test", "3\tname\t0\n", r"label\.dat\.test line 1 must hold 4 or more fields"),
        ("label.dat.test", "8\tname\t2\t0\n", r"label\.dat\.test has labels of nodes that are no book"),
    ],
)
def test_a_bad_table_is_named_with_its_line(tmp_path, recwarn, name, content, message):
    card, files = freebase(tmp_path, **{name: content})
    with pytest.raises(DataError, match=f"hgb-freebase: {message}") as caught:
        hgb.load(card, "hgb-half", files)
    assert "\n" not in str(caught.value)
    assert not recwarn.list


def test_freebase_is_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    with pytest.raises(DataError, match=r"Freebase/info\.dat \(and 4 more\).*github\.com/THUDM/HGB.*put it into"):
        load_dataset("hgb-freebase", root=tmp_path)


@pytest.mark.data("hgb-acm")
def test_acm_equals_the_arrays_that_pyg_made():
    """``compact.npz`` of the data root was written from what PyG's class reads out of the same zip."""
    path = Path(os.environ["GNNZOO_DATA"], "hgb", "acm", "compact.npz")
    if not path.is_file():
        pytest.skip(f"{path} is no part of the dataset")
    data = load_dataset("hgb-acm").data
    with np.load(path) as arrays:
        for kind in ("paper", "author", "subject"):
            parts = [arrays[f"x.{kind}.{part}"] for part in ("data", "indices", "indptr")]
            x = scipy.sparse.csr_matrix(tuple(parts), arrays[f"x.{kind}.shape"])
            assert np.array_equal(data[kind].x, x.toarray())
        for (source, name, target), index in data.edge_index_dict.items():
            name = f"{source}-{target}" if name == "to" else f"{source}-{name}-{target}"
            assert np.array_equal(index, arrays[f"edge_index.{source}|{name}|{target}"])
        for part in ("train", "test"):
            assert np.array_equal(data["paper"].y[arrays[f"{part}_idx"]], arrays[f"{part}_y"])


@pytest.mark.data("hgb-imdb")
def test_both_protocols_learn_from_the_same_labels():
    half, true = load_dataset("hgb-imdb@hgb-half"), load_dataset("hgb-imdb@hgb-true")
    for one, other in zip(half.splits, true.splits, strict=True):
        assert torch.equal(one.train, other.train)
        assert torch.equal(one.val, other.val)
        assert torch.equal(one.test, other.extra["test_half"])
        assert len(one.val) == int(0.2 * 1371)
        assert torch.isin(one.test, other.test).all()
    known = half.data["movie"].y.isfinite().all(dim=1)
    assert torch.equal(half.data["movie"].y[known], true.data["movie"].y[known])
    assert (half.data["movie"].y[known].sum(dim=1) >= 1).all()


@pytest.mark.data("hgb-dblp", "magnn-dblp", "heco-dblp")
def test_all_three_share_one_dblp():
    first, *others = [load_dataset(name).data for name in ("magnn-dblp", "hgb-dblp@hgb-true", "heco-dblp")]
    for data in others:
        assert torch.equal(first["author"].y, data["author"].y)
        for kind in ("author", "paper", "term"):
            assert torch.equal(first[kind].x, data[kind].x)
        for kind in ("author", "term", "conference"):
            theirs = kind if kind in data.node_types else "venue"
            index = first["paper", "to", kind].edge_index, data["paper", "to", theirs].edge_index
            assert pairs(index[0]) == pairs(index[1])


HECO = [pytest.param(f"heco-{kind}", marks=pytest.mark.data(f"heco-{kind}")) for kind in heco._NAMES]


@pytest.mark.parametrize("name", HECO)
def test_heco_trains_on_equally_many_of_every_class(name):
    for labels in (20, 40, 60):
        bundle = load_dataset(name, f"heco-{labels}")
        (split,) = bundle.splits
        assert label_store(bundle.data).y[split.train].bincount().tolist() == [labels] * bundle.num_outputs
        assert (len(split.val), len(split.test)) == (1000, 1000)


@pytest.mark.data("heco-aminer")
@pytest.mark.parametrize(("path", "other"), [("pap", "author"), ("prp", "reference")])
def test_heco_relations_give_its_metapaths(path, other):
    """The authors' repository ships which papers share an author or a reference; the loader does not need it."""
    place = Path(os.environ["GNNZOO_DATA"], "heco", "aminer", f"{path}.npz")
    if not place.is_file():
        pytest.skip(f"{place} is no part of the dataset")
    data = load_dataset("heco-aminer").data
    shape = (data["paper"].num_nodes, data[other].num_nodes)
    index = data["paper", "to", other].edge_index.numpy()
    relation = scipy.sparse.csr_matrix((np.ones(index.shape[1]), index), shape)
    assert ((relation @ relation.T > 0) != (scipy.sparse.load_npz(place) > 0)).nnz == 0


@pytest.mark.data("heco-aminer")
def test_nodes_without_features_survive_the_cache():
    data = load_dataset("heco-aminer").data
    again = load_dataset("heco-aminer").data
    assert digest(again) == digest(data)
    assert {kind: list(again[kind].keys()) for kind in again.node_types} == {
        "paper": ["num_nodes", "y"],
        "author": ["num_nodes"],
        "reference": ["num_nodes"],
    }


@pytest.mark.data("lastfm")
def test_lastfm_pairs():
    bundle = load_dataset("lastfm")
    store, (split,) = bundle.data["user", "to", "artist"], bundle.splits
    index, y = store.edge_label_index, store.y.flatten()
    assert len(pairs(index)) == index.shape[1]
    assert [int(y[part].sum()) for part in (split.train, split.val, split.test)] == [64984, 9283, 18567]
    assert [len(part) for part in (split.train, split.val, split.test)] == [64984, 2 * 9283, 2 * 18567]
    for part in (split.val, split.test):  # the order of pairs does not tell their labels
        place = torch.arange(len(part)) / len(part)
        assert abs(float(place[y[part] == 1].mean() - place[y[part] == 0].mean())) < 0.02
    # messages pass along training pairs only
    assert pairs(store.edge_index) == pairs(index[:, split.train])
    assert pairs(bundle.data["artist", "to", "user"].edge_index.flip(0)) == pairs(store.edge_index)


@pytest.mark.data("lastfm")
def test_blinding_hides_labels_of_test_pairs_only():
    bundle = load_dataset("lastfm")
    assert digest(bundle.data) == bundle.digest
    (split,) = bundle.splits
    store = bundle.data["user", "to", "artist"]
    blind = bundle.blind(split).data["user", "to", "artist"]
    assert blind.y[split.test].isnan().all()
    learnt = torch.cat([split.train, split.val])
    assert torch.equal(blind.y[learnt], store.y[learnt])
    assert torch.equal(blind.edge_label_index, store.edge_label_index)
    assert store.y.isfinite().all()


def test_pairs_without_a_link_are_found_without_listing_them(monkeypatch):
    monkeypatch.setattr(lastfm, "_USERS", 7)
    monkeypatch.setattr(lastfm, "_ARTISTS", 5)
    linked = np.array([0, 1, 2, 8, 17, 18, 30, 34])
    free = np.setdiff1d(np.arange(35), linked)
    drawn = lastfm._unlinked(linked, len(free))
    assert np.array_equal(np.sort(drawn), free)
    assert np.array_equal(drawn, free[np.random.RandomState(453289).choice(len(free), len(free), replace=False)])


def listening(root, monkeypatch, **changes):
    """Write Last.fm's layout for four users, five artists and three tags."""
    for name, value in {"_USERS": 4, "_ARTISTS": 5, "_TAGS": 3}.items():
        monkeypatch.setattr(lastfm, name, value)
    folder = root / "lastfm_hetrec"
    folder.mkdir(parents=True)
    tables = {
        "user_artist.dat": "1\t1\t10\n1\t4\t0\n2\t2\t5\n3\t5\t1\n4\t1\t2\n",
        "user_user.dat": "2\t1\n1\t2\n",
        "artist_tag.dat": "1\t3\n1\t3\n1\t2\n5\t1\n5\t1\n5\t1\n",
    }
    for name, content in (tables | changes).items():
        (folder / name).write_text(content)
    np.savez(folder / "train_val_test_idx.npz", train_idx=[0, 2, 4], val_idx=[1], test_idx=[3])
    card = DATASETS.card("lastfm")
    card = card.model_copy(update={"files": dict.fromkeys(card.files)})
    return card, "magnn", RawFiles(card, root)


def test_lastfm_keeps_training_pairs_and_tags_given_twice(tmp_path, monkeypatch):
    data, (split,) = lastfm.load(*listening(tmp_path, monkeypatch))
    assert data["user", "to", "user"].edge_index.tolist() == [[0, 1], [1, 0]]
    assert data["user", "to", "artist"].edge_index.tolist() == [[0, 1, 3], [0, 1, 0]]
    assert data["artist", "to", "user"].edge_index.tolist() == [[0, 0, 1], [0, 3, 1]]
    assert data["artist", "to", "tag"].edge_index.tolist() == [[0, 4], [1, 0]]  # tags 1 and 3 stay
    assert data["tag"].num_nodes == 2
    assert isinstance(split, Split)
    y = data["user", "to", "artist"].y.flatten()
    assert [y[part].tolist() for part in (split.train, split.val, split.test)] == [
        [1, 1, 1],
        *([1, 0] if y[rows[0]] else [0, 1] for rows in (split.val, split.test)),
    ]
    index = data["user", "to", "artist"].edge_label_index
    assert index[:, :3].tolist() == [[0, 1, 3], [0, 1, 0]]
    positive = [index[:, part][:, y[part] == 1].flatten().tolist() for part in (split.val, split.test)]
    assert positive == [[0, 3], [2, 4]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("user_artist.dat", "1\t1\t10\n1\t6\t1\n", r"artists must be 1\.\.5, found 1\.\.6"),
        ("user_artist.dat", "0\t1\t10\n", r"users must be 1\.\.4, found 0\.\.2"),
        ("user_artist.dat", "2\t1\t10\n1\t1\t1\n", r"user_artist\.dat must be sorted"),
        ("user_artist.dat", "1\t1\n", r"user_artist\.dat line 1: 2 fields instead of 3"),
        ("user_user.dat", "1\t2\n\n1\tx\n", r"user_user\.dat line 3: 'x' is not a number"),
        ("user_user.dat", "1\t5\n", r"users must be 1\.\.4"),
        ("artist_tag.dat", "", r"artist_tag\.dat holds no numbers"),
        ("artist_tag.dat", "1\t4\n", r"tags must be 1\.\.3"),
    ],
)
def test_a_bad_table_of_lastfm_is_named(tmp_path, monkeypatch, name, content, message):
    with pytest.raises(DataError, match=f"lastfm: {message}"):
        lastfm.load(*listening(tmp_path, monkeypatch, **{name: content}))

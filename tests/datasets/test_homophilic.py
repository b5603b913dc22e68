"""Citation, co-purchase, co-author and Wikipedia graphs: split rules, raw files read by hand, files of sets unseen."""

import gzip
import hashlib
import json
import os
import pickle
from collections import defaultdict
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.utils import homophily

from gnnzoo.datasets import load_dataset, raw
from gnnzoo.datasets.load import build_dataset
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import balanced, by_name, per_class, planetoid_random, some_per_class
from gnnzoo.errors import DataError
from gnnzoo.registry import DATASETS

Y = torch.repeat_interleave(torch.arange(5), torch.tensor([33, 1, 18, 101, 30]))  # the classes of Texas


def parts(split):
    return [split.train, split.val, split.test]


def sizes(split):
    return [len(part) for part in parts(split)]


def everything(split):
    return torch.cat(parts(split)).sort().values.tolist()


# ---- rules


def test_balanced_takes_equally_many_of_every_class():
    for split in balanced(Y, (0.6, 0.2), 4):
        assert Y[split.train].bincount().tolist() == [22, 1, 18, 22, 22]  # 0.6 * 183 / 5 = 21.96
        assert sizes(split) == [85, 37, 61]
        assert everything(split) == [*range(183)]
        assert Y[split.test].unique().tolist() == [0, 3, 4]


def test_some_per_class_leaves_the_rest_to_test():
    nodes = torch.arange(0, 183, 2)
    labels = Y[nodes].bincount(minlength=5)
    for split in some_per_class(Y, 3, train=4, val=3, nodes=nodes):
        assert everything(split) == nodes.tolist()
        assert torch.equal(Y[split.train].bincount(minlength=5), labels.clamp(max=4))
        assert torch.equal(Y[split.val].bincount(minlength=5), (labels - 4).clamp(0, 3))
    (split,) = some_per_class(Y[Y == 3], 1)
    assert sizes(split) == [20, 30, 51]


@pytest.mark.parametrize(
    ("draw", "first", "third"),
    [
        (lambda n: balanced(Y, (0.6, 0.2), n), "9d0541f6da887bec", "4bd9a876ae483a57"),
        (lambda n: some_per_class(Y, n, 5, 3), "608d6736113539c0", "96a9e7982851747c"),
        (lambda n: per_class(Y, (0.6, 0.2), n), "427a96d241e02c4a", "1408e915975df712"),
        (lambda n: planetoid_random(Y, n, 5, 20, 30), "98e558881f7d413b", "4497dfaff2691456"),
    ],
    ids=["balanced", "some_per_class", "per_class", "planetoid_random"],
)
def test_everybody_has_the_same_splits(draw, first, third):
    """The streams are part of the benchmarks; a split does not depend on how many are drawn."""
    many = draw(3)
    assert (many[0].hash, many[2].hash) == (first, third)
    assert draw(1)[0].hash == first


def test_a_protocol_without_a_rule_is_refused():
    with pytest.raises(ValueError, match="random-21"):
        by_name("random-21", Y, 1)


# ---- Planetoid


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.data(name)) for name in ("cora", "citeseer")])
def test_random_20(name):
    bundle = load_dataset(name, "random-20")
    for split in bundle.splits:
        assert bundle.data.y[split.train].bincount().tolist() == [20] * bundle.num_outputs
        assert sizes(split)[1:] == [500, 1000]


@pytest.mark.data("cora")
def test_geom_gcn_splits_of_cora_are_neither_whole_nor_stratified():
    bundle = load_dataset("cora", "geom-gcn")
    graph = nx.Graph(bundle.data.edge_index.T.tolist())
    largest = sorted(max(nx.connected_components(graph), key=len))
    share = bundle.data.y[bundle.splits[0].train].bincount() / bundle.data.y[largest].bincount()
    assert share.min() < 0.46 < 0.5 < share.max()
    assert all(everything(split) == largest for split in bundle.splits)


@pytest.mark.data("citeseer")
def test_nodes_of_citeseer_that_are_not_in_the_files():
    bundle = load_dataset("citeseer")
    empty = (bundle.data.x == 0).all(1).nonzero().flatten()
    assert bundle.data.y[empty].tolist() == [0] * 15
    assert not torch.isin(empty, torch.cat(parts(bundle.splits[0]))).any()
    others = load_dataset("citeseer", "random-60-20-20")
    assert all(torch.isin(empty, torch.cat(parts(split))).all() for split in others.splits)


TRAIN, ALLX, TEST, WORDS = 6, 700, 40, 5


def planetoid(root, seed=0):
    """Write a small set in the layout of Planetoid and Geom-GCN; return what was written."""
    rng = np.random.default_rng(seed)
    size = ALLX + TEST
    x = sp.random(size, WORDS, 0.4, "csr", np.float32, rng)
    y = np.eye(3, dtype=np.int32)[np.arange(size) % 3]
    edges = rng.integers(0, size, (900, 2))
    graph = defaultdict(list)
    for a, b in edges.tolist():
        graph[a].append(b)
        graph[b].append(a)
    index = rng.permutation(np.arange(ALLX, size))  # row i of tx is node index[i]
    masks = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, (10, size))]
    content = {
        **{"allx": x[:ALLX], "ally": y[:ALLX], "x": x[:TRAIN], "y": y[:TRAIN]},
        **{"tx": x[index], "ty": y[index], "graph": graph},
    }
    files = {f"raw/ind.pubmed.{name}": pickle.dumps(value, protocol=2) for name, value in content.items()}
    files["raw/ind.pubmed.test.index"] = "".join(f"{i}\n" for i in index).encode()
    for name, value in files.items():
        place(root, name, value)
    for i, mask in enumerate(masks):
        path = root / f"planetoid/PubMed/geom-gcn/raw/pubmed_split_0.6_0.2_{i}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, train_mask=mask[:, 0], val_mask=mask[:, 1], test_mask=mask[:, 2])
    return x.toarray(), y.argmax(1), edges, index, masks


def place(root, name, content):
    path = root / "planetoid" / "PubMed" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def small_pubmed(root):
    """Return the card, with the checksums of the small files."""
    card = DATASETS.card("pubmed")
    found = {
        name: sha and hashlib.sha256((root / card.root / name).read_bytes()).hexdigest()
        for name, sha in card.files.items()
    }
    assert [name for name, sha in found.items() if sha is None] == ["raw/ind.pubmed.allx"]
    return card.model_copy(update={"files": found})


def test_pubmed_from_small_files(tmp_path):
    x, y, edges, index, masks = planetoid(tmp_path)
    card = small_pubmed(tmp_path)
    for protocol in ("public", "geom-gcn", "random-60-20-20", "higcn-100"):
        bundle = build_dataset(card, protocol, RawFiles(card, tmp_path))
        assert np.array_equal(bundle.data.x.numpy(), x)
        assert np.array_equal(bundle.data.y.numpy(), y)
        both = {(a, b) for pair in edges.tolist() for a, b in (pair, pair[::-1]) if a != b}
        assert set(map(tuple, bundle.data.edge_index.T.tolist())) == both
        assert bundle.data.num_edges == len(both)
        if protocol == "public":
            (split,) = bundle.splits
            expected = [range(TRAIN), range(TRAIN, TRAIN + 500), sorted(index.tolist())]
            assert [part.tolist() for part in parts(split)] == [[*part] for part in expected]
        if protocol == "geom-gcn":
            for split, mask in zip(bundle.splits, masks, strict=True):
                assert [part.tolist() for part in parts(split)] == [np.flatnonzero(m).tolist() for m in mask.T]


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: pickle.dumps(Trap(folder / "sprung")), r"ind\.pubmed\.allx is refused: .*touch"),
        (lambda folder: (folder / "planetoid/PubMed/raw/ind.pubmed.allx").read_bytes()[:-40], "no readable pickle"),
        (lambda folder: pickle.dumps(sp.eye(3, 7, format="csr")), r"pubmed: raw/ind\.pubmed\.allx does not fit"),
    ],
    ids=["code", "cut off", "other shape"],
)
def test_features_that_nobody_checked_are_not_trusted(tmp_path, harm, message):
    planetoid(tmp_path)
    place(tmp_path, "raw/ind.pubmed.allx", harm(tmp_path))
    card = small_pubmed(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        build_dataset(card, "public", RawFiles(card, tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()


def test_the_missing_features_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    monkeypatch.setattr(raw, "_unreachable", lambda url: "no network")
    planetoid(tmp_path)
    (tmp_path / "planetoid/PubMed/raw/ind.pubmed.allx").unlink()
    with pytest.raises(DataError, match=r"^pubmed: raw/ind\.pubmed\.allx is missing .* \(no network\): put it into"):
        load_dataset("pubmed", root=tmp_path)


@pytest.mark.data("cora")  # skip where there are no raw files; PubMed's own are incomplete
def test_pubmed_with_its_real_graph_and_labels(tmp_path, monkeypatch):
    source = Path(os.environ["GNNZOO_DATA"], "pubmed_nofeatures")
    if not source.is_dir():
        pytest.skip(f"{source} is not there")
    for path in source.iterdir():
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        place(tmp_path, f"{'geom-gcn/' if path.suffix == '.npz' else ''}raw/{path.name.removesuffix('.gz')}", content)
    place(tmp_path, "raw/ind.pubmed.allx", pickle.dumps(sp.csr_matrix((18717, 500), dtype=np.float32)))
    monkeypatch.delenv("GNNZOO_DATA")
    found = {name: load_dataset("pubmed", name, root=tmp_path) for name in DATASETS.card("pubmed").protocols}
    data = found["public"].data
    assert data.y.bincount().tolist() == [4103, 7739, 7875]
    assert homophily(data.edge_index, data.y, method="edge") == pytest.approx(found["public"].card.homophily, abs=6e-4)
    for name, expected in {
        "public": [60, 500, 1000],
        "geom-gcn": [9463, 6310, 3944],
        "random-20": [60, 500, 1000],
        "random-60-20-20": [11829, 3942, 3946],
        "higcn-100": [11829, 3943, 3945],
    }.items():
        assert all(sizes(split) == expected for split in found[name].splits), name
    assert data.y[found["higcn-100"].splits[0].train].bincount().tolist() == [3943] * 3


# ---- the npz graphs of Bojchevski, Günnemann and Shchur

NPZ = {
    "amazon-computers": "amazon/Computers/raw/amazon_electronics_computers.npz",
    "amazon-photo": "amazon/Photo/raw/amazon_electronics_photo.npz",
    "coauthor-cs": "coauthor/CS/raw/ms_academic_cs.npz",
    "cora_ml": "citationfull/cora_ml/raw/cora_ml.npz",
    "citation-dblp": "citationfull/dblp/raw/dblp.npz",
    "citation-citeseer": "citationfull/citeseer/raw/citeseer.npz",
}


def marked(names):
    return [pytest.param(name, marks=pytest.mark.data(name)) for name in names]


@pytest.mark.parametrize("name", marked(NPZ))
def test_arrays_against_the_file(name):
    data = load_dataset(name).data
    with np.load(Path(os.environ["GNNZOO_DATA"], NPZ[name])) as file:
        arrays = dict(file)
    shapes = {kind: tuple(arrays[f"{kind}_shape"]) for kind in ("adj", "attr")}
    csr = {
        k: sp.csr_matrix(tuple(arrays[f"{k}_{p}"] for p in ("data", "indices", "indptr")), s) for k, s in shapes.items()
    }
    assert np.array_equal(data.y.numpy(), arrays["labels"])
    assert ((data.x == 0) | (data.x == 1)).all()
    assert (sp.csr_matrix(data.x.numpy()) != (csr["attr"] > 0)).nnz == 0
    adjacency = csr["adj"] + csr["adj"].T
    adjacency.setdiag(0)
    adjacency.eliminate_zeros()
    assert np.array_equal(np.stack(adjacency.tocsr().sorted_indices().nonzero()), data.edge_index.numpy())


@pytest.mark.parametrize("name", marked(["amazon-computers", "amazon-photo", "coauthor-cs"]))
def test_random_20_30(name):
    bundle = load_dataset(name, "random-20-30")
    graph = nx.Graph(bundle.data.edge_index.T.tolist())
    largest = sorted(max(nx.connected_components(graph), key=len))
    # the sizes that Shchur et al. 2018 print
    assert len(largest) == {"amazon-computers": 13381, "amazon-photo": 7487, "coauthor-cs": 18333}[name]
    for split in bundle.splits:
        assert bundle.data.y[split.train].bincount().tolist() == [20] * bundle.num_outputs
        assert bundle.data.y[split.val].bincount().tolist() == [30] * bundle.num_outputs
    assert everything(bundle.splits[0]) == everything(bundle.splits[-1]) == largest


@pytest.mark.parametrize("name", marked(["cora", "cora_ml", "citation-dblp", "citation-citeseer", "amazon-photo"]))
def test_random_60_20_20_is_stratified(name):
    bundle = load_dataset(name, "random-60-20-20")
    y = bundle.data.y
    for split in bundle.splits:
        assert everything(split) == [*range(len(y))]
        assert torch.equal(y[split.train].bincount(), (0.6 * y.bincount().double()).floor().long())
        assert torch.equal(y[split.val].bincount(), (0.2 * y.bincount().double()).floor().long())


SPLITS = {
    "amazon-computers": ("amazon-computer", [8251, 2750, 2751]),
    "amazon-photo": ("amazon-photo", [4590, 1530, 1530]),
    "coauthor-cs": ("coauthor-cs", [10999, 3666, 3668]),
}


@pytest.mark.parametrize("name", marked(SPLITS))
def test_tunedgnn_is_the_split_of_the_file(name):
    (split,) = load_dataset(name, "tunedgnn").splits
    file, expected = SPLITS[name]
    assert sizes(split) == expected
    assert everything(split) == [*range(sum(expected))]
    with np.load(Path(os.environ["GNNZOO_DATA"], "splits_tunedgnn", f"{file}_split.npz")) as arrays:
        for key, part in zip(("train", "valid", "test"), parts(split), strict=True):
            assert np.array_equal(np.sort(arrays[key]), part)


@pytest.mark.parametrize("name", marked(["cora", "citeseer", "amazon-computers", "amazon-photo"]))
def test_higcn_100(name):
    bundle = load_dataset(name, "higcn-100")
    y = bundle.data.y
    train = round(0.6 * len(y) / bundle.num_outputs)
    for split in bundle.splits:
        assert torch.equal(y[split.train].bincount(), y.bincount().clamp(max=train))
        assert len(split.val) == round(0.2 * len(y))
    assert everything(bundle.splits[0]) == [*range(len(y))]


# ---- Wiki-CS


def wikics(folder, **changes):
    """Write a small ``data.json``: six nodes, two splits; node 5 has no links."""
    rows = {"train": [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]], "val": [[0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]}
    content = {
        "features": [[i / 2, -i / 4] for i in range(6)],
        "labels": [0, 1, 2, 0, 1, 2],
        "links": [[1, 2], [0], [2], [4], [1], []],
        "train_masks": [[bool(v) for v in row] for row in rows["train"]],
        "val_masks": [[bool(v) for v in row] for row in rows["val"]],
        "stopping_masks": [[i == 2 for i in range(6)]] * 2,
        "test_mask": [i in (3, 4, 5) for i in range(6)],
    }
    folder.mkdir(parents=True)
    (folder / "data.json").write_text(json.dumps(content | changes))


def small_wikics(protocol, root):
    card = DATASETS.card("wikics")
    card = card.model_copy(
        update={"protocols": {n: p.model_copy(update={"splits": 2}) for n, p in card.protocols.items()}}
    )
    return build_dataset(card, protocol, RawFiles(card, root))


@pytest.mark.parametrize(("protocol", "val"), [("public", []), ("val-and-stopping", [2])])
def test_wikics_from_a_small_file(tmp_path, protocol, val, recwarn):
    wikics(tmp_path / "wikics")
    bundle = small_wikics(protocol, tmp_path)
    assert bundle.data.edge_index.tolist() == [[0, 0, 1, 2, 3, 4], [1, 2, 0, 2, 4, 1]]
    assert bundle.data.x.tolist() == [[i / 2, -i / 4] for i in range(6)]
    assert bundle.data.y.tolist() == [0, 1, 2, 0, 1, 2]
    assert set(bundle.data.to_dict()) == {"x", "edge_index", "y"}
    assert [[p.tolist() for p in parts(s)] for s in bundle.splits] == [
        [[0], [1, *val], [3, 4, 5]],
        [[1], [0, *val], [3, 4, 5]],
    ]
    assert not recwarn


@pytest.mark.parametrize(
    "changes", [{"labels": "abc"}, {"links": None}, {"test_mask": [True, False]}, {"features": [[1.0], [2.0, 3.0]]}]
)
def test_a_wrong_file_of_wikics_is_named(tmp_path, changes):
    wikics(tmp_path / "wikics", **changes)
    with pytest.raises(DataError, match=r"^wikics: ") as caught:
        small_wikics("public", tmp_path)
    assert "\n" not in str(caught.value)


def test_another_file_than_wikics_is_known_by_its_counts(tmp_path, monkeypatch):
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    masks = {
        key: [row] * 20
        for key, row in (("train_masks", [True] + [False] * 5), ("val_masks", [False, True] + [False] * 4))
    }
    wikics(tmp_path / "wikics", **masks, stopping_masks=[[False] * 6] * 20)
    with pytest.warns(UserWarning, match="wikics: 6 nodes loaded, the card says 11701; results may not compare"):
        bundle = load_dataset("wikics", root=tmp_path)
    assert bundle.card.counts.nodes == 6

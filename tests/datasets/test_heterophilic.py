"""Heterophilic graphs: split rules, facts in print that are no card's, and files of sets that could not be had."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import WikipediaNetwork
from torch_geometric.transforms import RemoveSelfLoops, ToUndirected
from torch_geometric.utils import degree, to_scipy_sparse_matrix

from gnnzoo.datasets import heterophilous, linkx, load_dataset, raw, twitch, webkb
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.halves import by_homophily, node_homophily
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError
from gnnzoo.registry import DATASETS


def sets(*names):
    return [pytest.param(name, marks=pytest.mark.data(name.partition("@")[0])) for name in names]


# ---- halves ----


def test_halves_of_a_small_graph():
    """A path 0-1-2-3 with a loop and a repeated edge, a pair 4-5, and 6 and 7 alone; classes 0 0 1 1, 0 1, 0 0."""
    edges = torch.tensor([[0, 1, 2, 1, 1, 4], [1, 2, 3, 2, 1, 5]])
    data = Data(edge_index=edges, y=torch.tensor([0, 0, 1, 1, 0, 1, 0, 0]), num_nodes=8)
    share = node_homophily(data)
    assert share[:6].tolist() == [1, 0.5, 0.5, 1, 0, 0]
    assert share[6:].isnan().all()
    # five values 0, 0.5, 1, NaN, NaN: the entry round(5 / 2) = 2 is 1
    (split,) = by_homophily(data, [Split(0, [0], [4], [2, 3, 5, 6, 7])])
    assert {name: part.tolist() for name, part in split.extra.items()} == {"high": [3], "low": [2, 5]}
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0], [4], [2, 3, 5, 6, 7])
    # all equal: nobody is below the median
    (split,) = by_homophily(data, [Split(0, [0], [4], [1, 2])])
    assert {name: part.tolist() for name, part in split.extra.items()} == {"high": [1, 2], "low": []}


def test_neighbours_without_a_label_are_of_another_class():
    data = Data(edge_index=torch.tensor([[0, 0, 2], [1, 2, 3]]), y=torch.tensor([0, 0, -1, 1]), num_nodes=4)
    assert node_homophily(data)[[0, 1, 3]].tolist() == [0.5, 1, 0]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        pytest.param(name, plain, marks=pytest.mark.data(name))
        for name, plain in {"chameleon": "geom-gcn", "actor": "geom-gcn", "squirrel_filtered": "platonov"}.items()
    ],
)
def test_halves_part_the_test_nodes_of_the_plain_protocol(name, plain):
    bundle, expected = load_dataset(name, "hei-halves"), load_dataset(name, plain)
    share = node_homophily(bundle.data)
    for split, other in zip(bundle.splits, expected.splits, strict=True):
        for part in ("train", "val", "test"):
            assert torch.equal(getattr(split, part), getattr(other, part))
        high, low = split.extra["high"], split.extra["low"]
        assert torch.cat([high, low]).sort().values.tolist() == split.test.tolist()  # no node is isolated
        assert share[high].min() > share[low].max()
        assert 0.4 * len(split.test) < len(low) <= (len(split.test) + 1) / 2


# ---- Geom-GCN ----


@pytest.mark.parametrize("name", sets("chameleon", "squirrel", "actor"))
def test_geom_gcn_splits(name):
    bundle = load_dataset(name, "geom-gcn")
    for split in bundle.splits:
        together = torch.cat([split.train, split.val, split.test])
        assert together.sort().values.tolist() == [*range(bundle.data.num_nodes)]
        shares = [len(part) / len(together) for part in (split.train, split.val, split.test)]
        assert shares == pytest.approx([0.48, 0.32, 0.2], abs=1e-3)
    y, train = bundle.data.y, bundle.splits[0].train
    assert y[train].bincount().tolist() != [int(0.48 * count) for count in y.bincount()]  # not class by class


@pytest.mark.data("texas", "cornell", "cornell_legacy")
def test_only_the_legacy_cornell_has_the_pages_of_texas():
    found = {
        name: webkb.has_the_pages_of_texas(load_dataset(name), RawFiles(DATASETS.card(name)))
        for name in ("cornell", "cornell_legacy")
    }
    assert found == {"cornell": False, "cornell_legacy": True}
    assert DATASETS.card("cornell_legacy").unranked
    assert not DATASETS.card("cornell").unranked


@pytest.mark.data("texas")
def test_higcn_trains_on_whole_small_classes():
    bundle = load_dataset("texas", "higcn-100")
    y = bundle.data.y
    for split in bundle.splits:
        assert y[split.train].bincount().tolist() == [22, 1, 18, 22, 22]  # round(0.6 * 183 / 5), or all there are
        assert (len(split.val), len(split.test)) == (37, 61)


# ---- Platonov et al. ----


@pytest.mark.parametrize("name", sets("chameleon", "squirrel"))
@pytest.mark.data(
    "chameleon_filtered", "squirrel_filtered", "chameleon_filtered_directed", "squirrel_filtered_directed"
)
def test_filtered_graphs(name):
    whole, filtered = load_dataset(name).data, load_dataset(f"{name}_filtered")
    directed = load_dataset(f"{name}_filtered_directed")
    assert torch.equal(directed.data.x, filtered.data.x)
    assert torch.equal(directed.data.y, filtered.data.y)
    assert [split.hash for split in directed.splits] == [split.hash for split in filtered.splits]
    both = ToUndirected()(directed.data.clone())
    assert torch.equal(RemoveSelfLoops()(both.clone()).edge_index, filtered.data.edge_index)
    assert both.num_edges == {"chameleon": 17758, "squirrel": 94136}[name]  # as PyG's class would load it
    # what is left are nodes of the whole graph
    rows = {x.tobytes() + y.tobytes() for x, y in zip(whole.x.numpy(), whole.y.numpy(), strict=True)}
    assert all(
        x.tobytes() + y.tobytes() in rows for x, y in zip(filtered.data.x.numpy(), filtered.data.y.numpy(), strict=True)
    )


@pytest.mark.data("texas", "texas_4_classes")
def test_texas_with_four_classes():
    texas, four = load_dataset("texas"), load_dataset("texas_4_classes")
    assert torch.equal(four.data.x, texas.data.x)
    assert torch.equal(four.data.y, texas.data.y)
    undirected = ToUndirected()(RemoveSelfLoops()(texas.data.clone()))
    assert torch.equal(four.data.edge_index, undirected.edge_index)
    (single,) = (texas.data.y == 1).nonzero().flatten()
    for split, whole in zip(four.splits, texas.splits, strict=True):
        for part in ("train", "val", "test"):
            expected = getattr(whole, part)
            assert torch.equal(getattr(split, part), expected[expected != single])


@pytest.mark.data("minesweeper")
def test_minesweeper_is_a_grid():
    data = load_dataset("minesweeper").data
    # corners, sides and the inside of 100 x 100 cells
    assert degree(data.edge_index[0]).long().bincount().tolist() == [0, 0, 0, 4, 0, 4 * 98, 0, 0, 98 * 98]
    assert (data.y.dtype, data.y.shape) == (torch.float32, (10000, 1))


@pytest.mark.parametrize("name", sets("minesweeper", "tolokers"))
def test_platonov_splits_are_class_by_class(name):
    bundle = load_dataset(name)
    for split in bundle.splits:
        for part, share in ((split.train, 0.5), (split.val, 0.25), (split.test, 0.25)):
            assert len(part) == pytest.approx(share * bundle.data.num_nodes, abs=1)
            assert bundle.data.y[part].sum() == pytest.approx(share * bundle.data.y.sum(), abs=1)


def arrays(classes, size=12):
    rng = np.random.RandomState(0)
    order = rng.permutation(size) % 4
    return {
        "node_features": rng.rand(size, 3).astype(np.float32),
        "node_labels": np.arange(size) % classes,
        "edges": np.stack([np.arange(size - 1), np.arange(1, size)], axis=1),
        "train_masks": np.stack([(order + i) % 4 < 2 for i in range(10)]),
        "val_masks": np.stack([(order + i) % 4 == 2 for i in range(10)]),
        "test_masks": np.stack([(order + i) % 4 == 3 for i in range(10)]),
    }


@pytest.mark.parametrize(("name", "classes"), [("roman-empire", 18), ("amazon-ratings", 5), ("questions", 2)])
def test_files_that_could_not_be_had(name, classes, tmp_path):
    card = DATASETS.card(name)
    assert not card.seen
    (file,) = card.files
    path = tmp_path / card.root / file
    path.parent.mkdir(parents=True)
    content = arrays(classes)
    np.savez(path, **content)
    data, splits = heterophilous.load(card, "platonov", RawFiles(card, tmp_path))
    assert torch.equal(data.x, torch.from_numpy(content["node_features"]))
    pairs = {tuple(edge) for edge in content["edges"].tolist()}
    assert {tuple(edge) for edge in data.edge_index.T.tolist()} == pairs | {(b, a) for a, b in pairs}
    assert data.num_edges == 2 * len(pairs)
    if card.target == "binary":
        assert (data.y.dtype, data.y.shape) == (torch.float32, (12, 1))
    assert data.y.flatten().tolist() == content["node_labels"].tolist()
    for i, split in enumerate(splits):
        assert split.test.tolist() == np.flatnonzero(content["test_masks"][i]).tolist()
    bundle = load_dataset(name, root=tmp_path)
    assert torch.equal(bundle.data.edge_index, data.edge_index)
    assert (len(bundle.splits), bundle.metric) == (10, "roc_auc" if classes == 2 else "accuracy")


@pytest.mark.parametrize("damage", ["text", "keys", "pickled"])
def test_a_file_of_another_layout(damage, tmp_path):
    card = DATASETS.card("questions")
    path = tmp_path / card.root / "questions.npz"
    path.parent.mkdir(parents=True)
    content = arrays(2)
    if damage == "text":
        path.write_text("404: Not Found")
    elif damage == "keys":
        del content["edges"]
        np.savez(path, **content)
    else:
        np.savez(path, **content | {"node_labels": np.array([{}], dtype=object)})
    with pytest.raises(DataError, match=r"^questions: cannot make sense of questions\.npz") as caught:
        load_dataset("questions", root=tmp_path)
    assert "\n" not in str(caught.value)


# ---- LINKX ----


@pytest.mark.parametrize("name", sets("reed98", "johnshopkins55"))
def test_students_of_unknown_gender_are_in_the_graph_only(name):
    plain, classes = load_dataset(name, "random-50-25-25"), load_dataset(name, "random-48-32-20")
    y = plain.data.y
    known = (y >= 0).nonzero().flatten()
    assert degree(plain.data.edge_index[0], len(y))[y < 0].sum() > 0
    for bundle in (plain, classes):
        for split in bundle.splits:
            assert torch.equal(torch.cat([split.train, split.val, split.test]).sort().values, known)
    for split in plain.splits:
        assert (len(split.train), len(split.val)) == (len(known) // 2, len(known) // 4)
    for split in classes.splits:
        assert y[split.train].bincount().tolist() == [int(0.48 * n) for n in y[known].bincount()]
        assert y[split.val].bincount().tolist() == [int(0.32 * n) for n in y[known].bincount()]


def facebook(folder, splits):
    """A university of twelve in the layout of facebook100: a ring; columns status, gender, major, ... ."""
    folder.mkdir(parents=True)
    ring = scipy.sparse.coo_matrix((np.ones(12), (np.arange(12), (np.arange(12) + 1) % 12)), (12, 12))
    info = np.zeros((12, 7), dtype=np.int32)
    info[:, 0] = 1
    info[:, 1] = [0, *[1, 2] * 5, 1]
    info[:, 5] = 2000 + np.arange(12) % 3
    scipy.io.savemat(folder / "data.mat", {"A": (ring + ring.T).tocsc(), "local_info": info})
    np.save(folder / "fb100-Penn94-splits.npy", splits, allow_pickle=True)


PARTS = {"train": [1, 2, 3, 4], "valid": [5, 6], "test": [7, 8, 9, 10, 11]}


@pytest.mark.parametrize("array", [False, True])
def test_penn94_is_read_from_files_of_its_layout(array, tmp_path):
    card = DATASETS.card("penn94")
    assert not card.seen
    parts = {key: np.array(part) for key, part in PARTS.items()} if array else PARTS
    facebook(tmp_path / card.root, np.array([parts] * 5, dtype=object))
    data, splits = linkx.load(card, "lim", RawFiles(card, tmp_path))
    assert (data.num_nodes, data.num_edges) == (12, 24)
    assert data.x.shape == (12, 1 + 1 + 1 + 1 + 3 + 1)  # codes that occur: status, two majors, dorm, year, school
    assert data.y.tolist() == [-1, *[0, 1] * 5, 0]
    assert [split.val.tolist() for split in splits] == [[5, 6]] * 5
    _, halves = linkx.load(card, "hei-halves", RawFiles(card, tmp_path))
    # neighbours on the ring are of the other gender, but for 11 and its neighbour 0, of none
    assert {name: part.tolist() for name, part in halves[0].extra.items()} == {"high": PARTS["test"], "low": []}


class _Evil:
    def __reduce__(self):
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    ("splits", "why"),
    [
        (np.array([_Evil()], dtype=object), "system, which data does not need"),
        (np.array([{"train": [1]}], dtype=object), "KeyError"),
        (np.array([PARTS | {"test": ["x"]}], dtype=object), "split 0 is not made of lists of nodes"),
        (np.arange(3), "holds int64, not splits"),
    ],
)
def test_penn94_refuses_other_split_files(splits, why, tmp_path):
    card = DATASETS.card("penn94")
    facebook(tmp_path / card.root, splits)
    with pytest.raises(DataError, match=rf"^penn94: fb100-Penn94-splits\.npy .*{why}") as caught:
        linkx.load(card, "lim", RawFiles(card, tmp_path))
    assert "\n" not in str(caught.value)


def test_penn94_refuses_other_matrices(tmp_path):
    card = DATASETS.card("penn94")
    facebook(tmp_path / card.root, np.array([PARTS] * 5, dtype=object))
    (tmp_path / card.root / "data.mat").write_text("404: Not Found")
    with pytest.raises(DataError, match=r"^penn94: cannot make sense of data\.mat"):
        load_dataset("penn94", root=tmp_path)


# ---- Twitch ----


@pytest.mark.data("twitch-e", "twitch-ptbr", "twitch-tw")
def test_twitch_e_joins_the_regions():
    bundle = load_dataset("twitch-e")
    (split,) = bundle.splits
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0], [1], [2, 3, 4, 5, 6])
    nodes = {region: bundle.data[int(part)].num_nodes for region, part in split.extra.items()}
    assert nodes == {"es": 4648, "fr": 6549, "ptbr": 1912, "ru": 4385, "tw": 2772}
    for region in ("ptbr", "tw"):
        single, joint = load_dataset(f"twitch-{region}").data, bundle.data[int(split.extra[region])]
        for key in ("x", "edge_index", "y"):
            assert torch.equal(single[key], joint[key])


@pytest.fixture
def tiny_twitch(tmp_path):
    """Return a card of five Russian streamers without checksums, and a function that replaces a file."""
    files = {
        "edges.csv": "from,to\n0,1\n1,2\n4,0\n",
        "features.json": json.dumps({"0": [7, 7, 1], "1": [], "2": [3169], "3": [0], "4": [1]}),
        "target.csv": "id,days,mature,views,partner,new_id\n"
        "9,1,True,5,False,4\n8,1,False,5,False,0\n7,1,True,5,True,2\n6,1,False,5,False,1\n5,1,False,5,False,3\n"
        "9,1,True,6,False,4\n",
    }
    card = DATASETS.card("twitch-ru")
    card = card.model_copy(update={"files": dict.fromkeys(card.files)})

    def write(name, content):
        path = tmp_path / card.root / "RU" / f"musae_RU_{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    for name, content in files.items():
        write(name, content)
    return card, RawFiles(card, tmp_path), write


def test_twitch_is_read_by_new_id(tiny_twitch):
    card, files, _ = tiny_twitch
    data, splits = twitch.load(card, "random-50-25-25", files)
    assert data.y.tolist() == [[0], [0], [1], [0], [1]]  # the repeated streamer counts once
    assert data.edge_index.tolist() == [[0, 1, 4], [1, 2, 0]]
    assert data.x.shape == (5, 3170)
    assert data.x.nonzero().tolist() == [[0, 1], [0, 7], [2, 3169], [3, 0], [4, 1]]
    assert data.x.max() == 1
    assert len(splits) == 5


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("edges.csv", "from,to\n0,1\n1,two\n", "musae_RU_edges.csv line 3: to is 'two'"),
        ("edges.csv", "from,to\n0,1\n-1,2\n", "musae_RU_edges.csv line 3: from is '-1'"),
        ("edges.csv", "from,to\n0,1\n1\n", "musae_RU_edges.csv is no table"),
        ("edges.csv", "a,b\n0,1\n", "musae_RU_edges.csv line 1: there is no column from"),
        ("target.csv", "id,mature,new_id\n1,True,0\n2,maybe,1\n", "musae_RU_target.csv line 3: mature is 'maybe'"),
        ("target.csv", "id,mature,new_id\n1,True,0\n2,True,2\n", "does not number its 2 streamers from 0 on"),
        ("features.json", '{"0": [1],\n "1": [2}', "musae_RU_features.json line 2"),
        ("features.json", "[1]", "musae_RU_features.json is not a mapping of streamers to lists of numbers"),
        ("features.json", '{"0": ["x"]}', "musae_RU_features.json is not a mapping of streamers to lists of numbers"),
        ("features.json", '{"0": [3170]}', "musae_RU_features.json: feature 3170 is not one of 0..3169"),
        ("features.json", '{"5": [1]}', "musae_RU_features.json: streamer 5 is not one of 0..4"),
    ],
)
def test_bad_files_of_twitch_are_named(tiny_twitch, name, content, why):
    card, files, write = tiny_twitch
    write(name, content)
    with pytest.raises(DataError) as caught:
        twitch.load(card, "random-50-25-25", files)
    assert str(caught.value).startswith("twitch-ru: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.data("twitch-de")
def test_twitch_de_splits_of_the_file():
    bundle = load_dataset("twitch-de", "lim")
    for split in bundle.splits:
        assert (len(split.train), len(split.val), len(split.test)) == (4749, 2374, 2375)
        assert len(torch.cat([split.train, split.val, split.test]).unique()) == 9498


# ---- PolBlogs ----


@pytest.mark.data("polblogs")
def test_polblogs():
    bundle = load_dataset("polblogs")
    assert torch.equal(bundle.data.x, torch.eye(1490))
    adjacency = to_scipy_sparse_matrix(bundle.data.edge_index, num_nodes=1490)
    _, component = scipy.sparse.csgraph.connected_components(adjacency, directed=False)
    assert np.bincount(component).max() == 1222  # the part that the papers on attacks use


# ---- downloads ----


@pytest.mark.parametrize(
    ("name", "module"),
    [
        pytest.param(name, module, marks=pytest.mark.data(name))
        for name, module in {
            "chameleon": "torch_geometric.datasets.wikipedia_network",
            "actor": "torch_geometric.datasets.actor",
            "chameleon_filtered": "torch_geometric.datasets.heterophilous_graph_dataset",
            "reed98": "torch_geometric.datasets.linkx_dataset",
            "twitch-de": "gnnzoo.datasets.twitch",
        }.items()
    ],
)
def test_downloads_land_where_the_loader_looks(name, module, monkeypatch, tmp_path):
    """The download steps with a server that has the real files."""
    card = DATASETS.card(name)
    source = RawFiles(card)
    have = {Path(file).name: source.find(file) for file in card.files}

    def serve(url, folder, filename=None, **options):
        path = have[filename or url.rpartition("/")[2]]
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        target = Path(folder, filename or url.rpartition("/")[2])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    monkeypatch.delenv("GNNZOO_DATA")
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(raw, "_unreachable", lambda url: None)
    monkeypatch.setattr(f"{module}.download_url", serve)
    assert load_dataset(name).digest == card.protocols[card.default_protocol].digest
    kept = {path.relative_to(tmp_path / "raw" / card.root).as_posix() for path in (tmp_path / "raw").rglob("*.*")}
    assert kept == set(card.files)


@pytest.mark.data("chameleon")
def test_our_frugal_reader_gives_what_pygs_does(tmp_path):
    card = DATASETS.card("chameleon")
    places = {file: f"chameleon/geom_gcn/raw/{file}" for file in card.files}
    with RawFiles(card).layout(places) as folder:
        expected = WikipediaNetwork(str(folder), "chameleon")[0]
    found = load_dataset("chameleon")
    for key in ("x", "edge_index", "y"):
        assert torch.equal(found.data[key], expected[key])
    for i, split in enumerate(found.splits):
        assert torch.equal(split.test, expected.test_mask[:, i].nonzero().flatten())

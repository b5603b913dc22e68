"""OGB: published facts about the sets that are here, small files of the layout for the others, and no prompts."""

import builtins
import gzip
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.storage import GlobalStorage

from gnnzoo.datasets import load_dataset, ogb, raw
from gnnzoo.datasets.bundle import Bundle
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError
from gnnzoo.registry import DATASETS
from gnnzoo.runner.cell import _task
from gnnzoo.runner.config import TrainConfig

# graphs, average nodes and edges, tasks, metric as OGB publishes them; sizes of the split
MOLECULES = {
    "ogbg-molhiv": (41127, 25.5, 27.5, 1, "roc_auc", (32901, 4113, 4113)),
    "ogbg-molbace": (1513, 34.1, 36.9, 1, "roc_auc", (1210, 151, 152)),
    "ogbg-molbbbp": (2039, 24.1, 26.0, 1, "roc_auc", (1631, 204, 204)),
    "ogbg-molclintox": (1478, 26.2, 27.9, 2, "roc_auc", (1182, 148, 148)),  # OGB: 1477 graphs, 1181 to train on
    "ogbg-molsider": (1427, 33.6, 35.4, 27, "roc_auc", (1141, 143, 143)),
    "ogbg-moltox21": (7831, 18.6, 19.3, 12, "roc_auc", (6264, 783, 784)),
    "ogbg-molesol": (1128, 13.3, 13.7, 1, "rmse", (902, 113, 113)),
    "ogbg-molfreesolv": (642, 8.7, 8.4, 1, "rmse", (513, 64, 65)),
    "ogbg-mollipo": (4200, 27.0, 29.5, 1, "rmse", (3360, 420, 420)),
}
SETS = [pytest.param(name, marks=pytest.mark.data(name)) for name in MOLECULES]
ABSENT = ["ogbl-collab", "ogbn-arxiv", "ogbn-mag", "ogbn-products", "ogbn-proteins"]


# --- the sets that are here ---


@pytest.mark.parametrize("name", SETS)
def test_molecules_are_those_that_ogb_publishes(name):
    graphs, nodes, edges, tasks, metric, sizes = MOLECULES[name]
    bundle = load_dataset(name)
    assert len(bundle.graphs) == graphs
    assert sum(g.num_nodes for g in bundle.graphs) / graphs == pytest.approx(nodes, abs=0.0501)
    assert sum(g.num_edges for g in bundle.graphs) / graphs / 2 == pytest.approx(edges, abs=0.0501)
    assert bundle.metric == metric
    (split,) = bundle.splits
    assert tuple(map(len, (split.train, split.val, split.test))) == sizes
    assert torch.cat([split.train, split.val, split.test]).unique().tolist() == [*range(graphs)]
    first = bundle.graphs[0]
    assert set(first.to_dict()) == {"x", "edge_index", "edge_attr", "y"}
    assert (first.x.dtype, first.edge_attr.dtype, first.y.dtype) == (torch.int64, torch.int64, torch.float32)
    assert (first.x.shape[1], first.edge_attr.shape[1], first.y.shape) == (9, 3, (1, tasks))


@pytest.mark.parametrize("name", SETS)
def test_bonds_go_both_ways_with_the_same_kind(name):
    for graph in load_dataset(name).graphs[:200]:
        index, kind = graph.edge_index, graph.edge_attr
        assert torch.equal(index[:, ::2], index[:, 1::2].flip(0))  # OGB's order: each bond, then its reverse
        assert torch.equal(kind[::2], kind[1::2])


@pytest.mark.parametrize("name", SETS[1:])  # of the largest, one protocol is enough here
def test_uniform_splits_have_other_graphs_than_the_scaffold_split(name):
    scaffold, drawn = load_dataset(name).splits[0], load_dataset(name, "random-80-10-10").splits
    graphs = MOLECULES[name][0]
    assert len(drawn) == 10
    for split in drawn:
        assert (len(split.train), len(split.val)) == (int(0.8 * graphs), int(0.1 * graphs))
        assert len(torch.cat([split.train, split.val, split.test]).unique()) == graphs
        assert torch.isin(split.test, scaffold.test).float().mean() < 0.3


@pytest.mark.data("ogbg-molesol")
def test_a_molecule_of_one_atom_has_an_empty_edge_index():
    (graph,) = (g for g in load_dataset("ogbg-molesol").graphs if g.num_edges == 0)
    assert (graph.x.shape, graph.edge_index.shape, graph.edge_attr.shape) == ((1, 9), (2, 0), (0, 3))


@pytest.mark.data("ogbg-moltox21")
def test_missing_labels_of_tox21():
    y = torch.cat([graph.y for graph in load_dataset("moltox21").graphs])
    assert y.isnan().float().mean().item() == pytest.approx(0.1705, abs=5e-5)
    assert not y.isnan().all(1).any()


@pytest.mark.data("ogbg-molesol")
@pytest.mark.parametrize("protocol", ["ogb", "random-80-10-10"])
def test_runs_are_scored_by_the_evaluator_that_the_card_names(protocol):
    assert _task(load_dataset("molesol", protocol), TrainConfig()).evaluator == "ogbg-molesol"


@pytest.mark.data("ogbl-ddi")
def test_pairs_of_ddi():
    """OGB counts 1334889 edges over all parts; every part has its own pairs."""
    bundle = load_dataset("ogbl-ddi")
    data, (split,) = bundle.data, bundle.splits
    assert [len(part) for part in (split.train, split.val, split.test)] == [1067911, 235371, 229088]
    assert int(data.y.sum()) == 1334889
    low, high = data.edge_label_index.sort(dim=0).values
    assert len((low * 4267 + high).unique()) == data.y.shape[0]
    assert data.y[split.train].all()
    assert "x" not in data
    for part in (split.val, split.test):
        # neither the order of pairs nor that of their ends tells a label
        place = torch.arange(len(part)) / len(part)
        y = data.y[part, 0] == 1
        assert abs(float(place[y].mean() - place[~y].mean())) < 0.01
        source, target = data.edge_label_index[:, part]
        assert (source < target).all()
    edges = set(map(tuple, data.edge_index[:, :5000].T.tolist()))
    held_out = data.edge_label_index[:, torch.cat([split.val, split.test])].T.tolist()
    assert not edges & set(map(tuple, held_out))


@pytest.mark.data("ogbg-molesol", "ogbg-molbbbp", "ogbg-molclintox")
def test_molecules_that_contradict_each_other():
    for name, repeated, contradicting in (("molesol", 5, 3), ("molbbbp", 1, 1), ("molclintox", 1, 1)):
        bundle = load_dataset(name)
        assert ogb.repeated_graphs(bundle, None) == repeated
        assert ogb.contradicting_graphs(bundle, None) == contradicting


# --- what the package ogb would do to a user ---


@pytest.mark.data("ogbg-molesol")
def test_neither_question_nor_network_nor_print(tmp_path):
    """In a fresh process whose network and standard input raise, and whose data root must stay as it is."""
    folder = Path(os.environ["GNNZOO_DATA"], "ogb", "ogbg_molesol")
    shutil.copytree(folder, tmp_path / "data" / "ogb" / "ogbg_molesol")
    (tmp_path / "data" / "ogb" / "ogbg_molesol" / "RELEASE_v1.txt").unlink()  # OGB would ask what to do about that
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    # what ogb asks the network with; the real one may fail for other reasons
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "outdated.py").write_text("import sys; print('REFUSED outdated', file=sys.stderr)")
    code = """
        import builtins, socket, sys, threading

        def refuse(*args, **kwargs):
            print("REFUSED", args, file=sys.__stderr__)
            raise OSError("refused")

        socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
        builtins.input = refuse

        class Stdin:
            def __getattr__(self, name):
                refuse(name)

        sys.stdin = Stdin()
        import gnnzoo
        assert "ogb" not in sys.modules
        import gnnzoo.cli, gnnzoo.runner, gnnzoo.tasks
        assert "ogb" not in sys.modules
        from gnnzoo.tasks import score
        bundle = gnnzoo.load_dataset("molesol")
        assert "ogb.graphproppred" in sys.modules
        assert "outdated" not in sys.modules
        y = bundle.graphs[0].y
        assert score("rmse", y, y, "regression", "ogbg-molesol") == 0.0
        assert not [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
        print("digest", bundle.digest)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={
            **os.environ,
            "GNNZOO_DATA": str(tmp_path / "data"),
            "GNNZOO_CACHE": str(tmp_path / "cache"),
            "PYTHONPATH": os.pathsep.join([str(tmp_path / "path"), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["digest", DATASETS.card("ogbg-molesol").protocols["ogb"].digest]
    assert done.stderr == ""
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before


def test_a_package_outdated_that_is_loaded_stays_loaded(monkeypatch):
    for name in [name for name in sys.modules if name == "ogb" or name.startswith("ogb.")]:
        monkeypatch.delitem(sys.modules, name)
    marker = object()
    monkeypatch.setitem(sys.modules, "outdated", marker)
    assert ogb._import("ogb.version").check_outdated is None
    assert sys.modules["outdated"] is marker


def test_what_torch_may_load_is_afterwards_what_it_was(files):
    """Neither more, nor less: PyG and users allow some of the same classes."""
    folder = files("ogbn-arxiv", arxiv())
    with torch.serialization.safe_globals([GlobalStorage]):
        before = set(torch.serialization.get_safe_globals())
        assert Data in before
        read("ogbn-arxiv", folder)
        assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.data("ogbg-molfreesolv")
def test_the_archive_lands_where_the_loader_looks(monkeypatch, tmp_path):
    """Fetching OGB's zip, with a server that has the real files in it."""
    card = DATASETS.card("ogbg-molfreesolv")
    source = RawFiles(card)
    have = {file: source.find(file) for file in card.files}
    asked = []

    def serve(url, folder, log):
        asked.append(url)
        content = Path(folder, "archive", "freesolv")
        for file, path in have.items():
            (content / file).parent.mkdir(parents=True, exist_ok=True)
            (content / file).write_bytes(path.read_bytes())
        (content / "RELEASE_v1.txt").touch()
        made = shutil.make_archive(str(Path(folder, "freesolv")), "zip", content.parent)
        shutil.rmtree(content.parent)
        return made

    monkeypatch.delenv("GNNZOO_DATA")
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(raw, "_unreachable", lambda url: None)
    monkeypatch.setattr(ogb, "download_url", serve)
    assert load_dataset(card.name).digest == card.protocols["ogb"].digest
    assert asked == ["http://snap.stanford.edu/ogb/data/graphproppred/csv_mol_download/freesolv.zip"]
    kept = {path.relative_to(tmp_path / "raw" / card.root).as_posix() for path in (tmp_path / "raw").rglob("*.gz")}
    assert kept == set(card.files)


def test_without_network_the_error_names_file_address_and_place(monkeypatch, tmp_path):
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("GNNZOO_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(raw, "_unreachable", lambda url: "no route")
    with pytest.raises(DataError, match=r"raw/edge.csv.gz .* from http://snap.*/arxiv.zip .*no route.*ogb/ogbn_arxiv"):
        load_dataset("ogbn-arxiv")
    with pytest.raises(DataError, match=r"molhiv: raw/edge-feat.csv.gz .* from http://snap.*hiv.zip \(no route"):
        load_dataset("ogbg-molhiv")


# --- the sets that could not be had: small files of OGB's layout ---


def text(rows):
    return gzip.compress("".join(",".join(map(str, row)) + "\n" for row in rows).encode(), mtime=0)


def column(values):
    return text([[value] for value in values])


def homogeneous(nodes, edges, split, parts, **more):
    """Files of one graph: ``raw``, ``split/<kind>``, ``mapping`` and the release."""
    content = {
        "raw/edge.csv.gz": text(edges),
        "raw/num-node-list.csv.gz": column([nodes]),
        "raw/num-edge-list.csv.gz": column([len(edges)]),
        "mapping/nodeidx2id.csv.gz": gzip.compress(b"node idx,id\n0,a\n", mtime=0),
        "RELEASE_v1.txt": b"# Release version 1\n",
        **{f"raw/{name.replace('__', '-')}.csv.gz": value for name, value in more.items()},
    }
    for name, rows in zip(("train", "valid", "test"), parts, strict=True):
        content[f"split/{split}/{name}.csv.gz"] = column(rows)
    return content


EDGES = [(0, 1), (1, 2), (4, 3), (3, 5), (5, 0)]
X = np.arange(24).reshape(6, 4) / 8
PARTS = [[4, 0, 1], [2], [5, 3]]


def arxiv():
    return homogeneous(
        6,
        EDGES,
        "time",
        PARTS,
        node__feat=text(X),
        node__label=column([0, 1, 39, 2, 1, 0]),
        node_year=column([2010] * 6),
    )


def products():
    return homogeneous(6, EDGES, "sales_ranking", PARTS, node__feat=text(X), node__label=column([0, 1, 46, 2, 1, 0]))


def proteins():
    rng = np.random.RandomState(0)
    return homogeneous(
        6,
        EDGES,
        "species",
        PARTS,
        edge__feat=text(np.arange(40).reshape(5, 8) / 64),
        node__label=text(rng.randint(2, size=(6, 112))),
        node_species=column([3702, 3702, 4932, 4932, 6239, 6239]),
    )


def mag():
    relations = {
        ("author", "affiliated_with", "institution"): [(0, 0), (1, 0)],
        ("author", "writes", "paper"): [(0, 0), (0, 1), (1, 3)],
        ("paper", "cites", "paper"): [(0, 2), (3, 1)],
        ("paper", "has_topic", "field_of_study"): [(0, 1), (1, 0), (2, 2), (3, 1)],
    }
    content = {
        "raw/num-node-dict.csv.gz": text([["author", "field_of_study", "institution", "paper"], [2, 3, 1, 4]]),
        "raw/triplet-type-list.csv.gz": text(relations),
        "raw/nodetype-has-label.csv.gz": text(
            [["author", "field_of_study", "institution", "paper"], [False, False, False, True]]
        ),
        "raw/node-feat/paper/node-feat.csv.gz": text(X[:4]),
        "raw/node-label/paper/node-label.csv.gz": column([348, 0, 7, 7]),
        "split/time/nodetype-has-split.csv.gz": text(
            [["author", "field_of_study", "institution", "paper"], [False, False, False, True]]
        ),
        "RELEASE_v2.txt": b"# Release version 2\n",
    }
    for triplet, edges in relations.items():
        folder = f"raw/relations/{'___'.join(triplet)}"
        content[f"{folder}/edge.csv.gz"] = text(edges)
        content[f"{folder}/num-edge-list.csv.gz"] = column([len(edges)])
    for name, rows in zip(("train", "valid", "test"), [[0, 3], [1], [2]], strict=True):
        content[f"split/time/paper/{name}.csv.gz"] = column(rows)
    return content


def collab(**options):
    """Its splits are arrays saved by torch, as OGB did years ago: the options are torch.save's."""
    content = homogeneous(6, EDGES, "time", PARTS, node__feat=text(X))
    content["raw/edge_weight.csv.gz"], content["raw/edge_year.csv.gz"] = column([1, 2, 1, 1, 3]), column([2001] * 5)
    for name, edges, negative in (
        ("train", EDGES, None),
        ("valid", [(2, 0)], [(1, 3), (1, 4)]),
        ("test", [(2, 5), (0, 4)], [(2, 3)]),
    ):
        del content[f"split/time/{name}.csv.gz"]
        values = {"edge": np.array(edges), "weight": np.ones(len(edges), np.int64), "year": np.full(len(edges), 2018)}
        if negative:
            values["edge_neg"] = np.array(negative)
        content[f"split/time/{name}.pt"] = (values, options)
    return content


LAYOUTS = {
    "ogbl-collab": collab,
    "ogbn-arxiv": arxiv,
    "ogbn-mag": mag,
    "ogbn-products": products,
    "ogbn-proteins": proteins,
}


@pytest.fixture
def files(tmp_path):
    """Write a set's files where ``root=`` finds them, and return that root."""

    def write(name, content):
        for file, value in content.items():
            path = tmp_path / "root" / DATASETS.card(name).root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(value, bytes):
                path.write_bytes(value)
            else:
                torch.save(value[0], path, **value[1])
        return tmp_path / "root"

    return write


def read(name, root):
    """Call the loader itself: the card's counts are those of the full set."""
    card = DATASETS.card(name)
    data, splits = ogb.load(card, "ogb", RawFiles(card, root))
    bundle = Bundle(card, "ogb", data, splits, "")
    bundle.check()
    return bundle


def test_every_absent_set_is_tested_and_no_other_is_absent():
    cards = [DATASETS.card(name) for name in DATASETS.names()]
    assert [card.name for card in cards if card.family == "ogb" and not card.seen] == sorted(LAYOUTS) == ABSENT
    for name, layout in LAYOUTS.items():
        assert set(DATASETS.card(name).files) <= set(layout()), name


@pytest.mark.parametrize("name", ABSENT)
def test_no_question_about_absent_sets(name, files, monkeypatch):
    def ask(*args):
        raise AssertionError(f"asked {args}")

    monkeypatch.setattr(builtins, "input", ask)
    root = files(name, {file: value for file, value in LAYOUTS[name]().items() if not file.startswith("RELEASE")})
    before = sorted(root.rglob("*"))
    bundle = read(name, root)
    assert bundle.num_outputs == DATASETS.card(name).num_outputs
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "classes"), [("ogbn-arxiv", [0, 1, 39, 2, 1, 0]), ("ogbn-products", [0, 1, 46, 2, 1, 0])]
)
def test_node_sets(name, classes, files):
    bundle = read(name, files(name, LAYOUTS[name]()))
    data, (split,) = bundle.data, bundle.splits
    assert set(data.to_dict()) == {"x", "edge_index", "y"}
    assert torch.equal(data.x, torch.tensor(X, dtype=torch.float32))
    assert torch.equal(data.y, torch.tensor(classes))
    if name == "ogbn-arxiv":  # as it is; OGB makes the shop's graph undirected
        assert data.edge_index.T.tolist() == [list(edge) for edge in EDGES]
    else:
        assert data.edge_index.T.tolist() == [list(e) for edge in EDGES for e in (edge, edge[::-1])]
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0, 1, 4], [2], [3, 5])
    assert data.edge_index.is_contiguous()


def test_proteins(files):
    data = read("ogbn-proteins", files("ogbn-proteins", proteins())).data
    assert set(data.to_dict()) == {"edge_index", "edge_attr", "node_species", "y", "num_nodes"}
    assert data.num_nodes == 6
    assert (data.y.shape, data.y.dtype) == ((6, 112), torch.float32)
    assert data.edge_index.shape == (2, 10)
    assert torch.equal(data.edge_attr[::2], data.edge_attr[1::2])
    assert torch.equal(data.edge_attr[::2], torch.arange(40).reshape(5, 8) / 64)
    assert data.node_species.flatten().tolist() == [3702, 3702, 4932, 4932, 6239, 6239]


def test_mag(files):
    bundle = read("ogbn-mag", files("ogbn-mag", mag()))
    data, (split,) = bundle.data, bundle.splits
    assert isinstance(data, HeteroData)
    assert {kind: data[kind].num_nodes for kind in data.node_types} == {
        "author": 2,
        "field_of_study": 3,
        "institution": 1,
        "paper": 4,
    }
    assert torch.equal(data["paper"].x, torch.tensor(X[:4], dtype=torch.float32))
    assert data["paper"].y.tolist() == [348, 0, 7, 7]
    assert data["author", "writes", "paper"].edge_index.tolist() == [[0, 0, 1], [0, 1, 3]]
    assert {" ".join(kind) for kind in data.edge_types} == set(DATASETS.card("ogbn-mag").counts.edge_types)
    assert set(data.node_types) == set(DATASETS.card("ogbn-mag").counts.node_types)
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0, 3], [1], [2])


@pytest.mark.parametrize("options", [{}, {"pickle_protocol": 2, "_use_new_zipfile_serialization": False}])
def test_collab(files, options):
    bundle = read("ogbl-collab", files("ogbl-collab", collab(**options)))
    data, (split,) = bundle.data, bundle.splits
    assert set(data.to_dict()) == {"x", "edge_index", "edge_weight", "edge_year", "edge_label_index", "y"}
    assert data.edge_index.shape == (2, 10)
    assert data.edge_weight.flatten().tolist() == [1, 1, 2, 2, 1, 1, 1, 1, 3, 3]
    labelled = [(*pair, int(y)) for pair, y in zip(data.edge_label_index.T.tolist(), data.y, strict=True)]
    assert labelled[:5] == [(*pair, 1) for pair in EDGES]
    assert sorted(labelled[5:8]) == [(0, 2, 1), (1, 3, 0), (1, 4, 0)]
    assert sorted(labelled[8:]) == [(0, 4, 1), (2, 3, 0), (2, 5, 1)]
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0, 1, 2, 3, 4], [5, 6, 7], [8, 9, 10])
    assert ogb.pairs(bundle, None) == {"train": [5, 0], "val": [1, 2], "test": [2, 1]}
    assert ogb.contradicting_pairs(bundle, None) == 0
    assert ogb.trains_on_its_graph(bundle, None)
    negative = int((data.y == 0).nonzero()[0, 0])
    data.edge_label_index[:, negative] = torch.tensor([2, 1])  # the reverse of a training pair
    assert ogb.contradicting_pairs(bundle, None) == 1


class Bomb:
    def __reduce__(self):
        return (os.system, ("echo boom",))


def test_code_in_a_split_file_is_refused(files, capfd):
    content = collab()
    content["split/time/test.pt"] = ({"edge": Bomb()}, {})
    with pytest.raises(DataError, match="ogbl-collab: OGB's class cannot read ogb/ogbl_collab") as caught:
        read("ogbl-collab", files("ogbl-collab", content))
    assert "\n" not in str(caught.value)
    assert "boom" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "raw/edge.csv.gz",
            gzip.compress(b"0,1\n1,two\n4,3\n3,5\n5,0\n", mtime=0),
            "raw/edge.csv.gz, line 2: not a number: '1,two'",
        ),
        (
            "raw/edge.csv.gz",
            gzip.compress(b"0,1\n1,2\n4,3\n3,5,6\n5,0\n", mtime=0),
            "raw/edge.csv.gz, line 4: 3 fields, not 2",
        ),
        ("raw/edge.csv.gz", b"0,1\n1,2\n", "raw/edge.csv.gz is no gzip file of numbers"),
        ("raw/node-label.csv.gz", column([0, 1, "?", 2, 1, 0]), "raw/node-label.csv.gz, line 3: not a number: '?'"),
        ("raw/num-node-list.csv.gz", gzip.compress(b"", mtime=0), "raw/num-node-list.csv.gz is empty"),
        ("split/time/valid.csv.gz", column([1, "x"]), "split/time/valid.csv.gz, line 2: not a number: 'x'"),
    ],
)
def test_bad_files_are_named_with_their_line(files, file, content, message):
    with pytest.raises(DataError) as caught:
        read("ogbn-arxiv", files("ogbn-arxiv", {**arxiv(), file: content}))
    assert message in str(caught.value)
    assert str(caught.value).startswith("ogbn-arxiv: ")
    assert "\n" not in str(caught.value)


def test_an_edge_to_nowhere_is_refused(files):
    with pytest.raises(DataError, match="edge_index leaves its range"):
        read("ogbn-arxiv", files("ogbn-arxiv", {**arxiv(), "raw/edge.csv.gz": text([*EDGES[:-1], (5, 6)])}))

"""A user's own data: what is made of files, folders and objects, and what is said about bad ones."""

import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch.serialization import get_safe_globals
from torch_geometric.data import Batch, Data, HeteroData

from gnnzoo.datasets import HypergraphData, load_dataset
from gnnzoo.errors import ConfigError, DataError, UnknownNameError
from gnnzoo.registry import DATASETS, is_path, partition

N = 30


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def graph(y=None, **attributes):
    """Return a ring of 30 nodes with two features and three classes."""
    nodes = torch.arange(N)
    content = {
        "x": torch.stack([nodes / N, (nodes % 3).float()], dim=1),
        "edge_index": torch.stack([nodes, nodes.roll(-1)]),
        "y": nodes % 3 if y is None else y,
    }
    return Data(**content | attributes)


def graphs(label, number=20):
    return [
        Data(x=torch.full((3 + i % 4, 2), float(i)), edge_index=torch.tensor([[0, 1], [1, 2]]), y=label(i, 3 + i % 4))
        for i in range(number)
    ]


def masks(*parts):
    found = {}
    for name, rows in zip(("train", "val", "test"), parts, strict=True):
        mask = torch.zeros(N, dtype=torch.bool)
        mask[list(rows)] = True
        found[f"{name}_mask"] = mask
    return found


def hetero(**attributes):
    data = HeteroData()
    data["paper"].x, data["paper"].y = torch.eye(N), torch.arange(N) % 3
    data["author"].num_nodes = 4
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 3], [5, 29]])
    for name, value in attributes.items():
        data["paper"][name] = value
    return data


def saved(content, name="mine.pt"):
    torch.save(content, name)
    return name


# --- what it is taken for --------------------------------------------------------------------------------------------

ring = HypergraphData(x=torch.ones(N, 2), hyperedge_index=graph().edge_index, y=torch.arange(N) % 3)
KINDS = {
    "classes": (graph(), "node", "graph", "multiclass", 3, "accuracy"),
    "classes in a column": (graph((torch.arange(N) % 4).view(-1, 1)), "node", "graph", "multiclass", 4, "accuracy"),
    "booleans": (graph(torch.arange(N) > 9), "node", "graph", "multiclass", 2, "accuracy"),
    "0.0 and 1.0": (graph((torch.arange(N) % 2).double()), "node", "graph", "binary", 1, "roc_auc"),
    "columns of 0 and 1": (graph(torch.eye(N)[:, :5].long()), "node", "graph", "multilabel", 5, "roc_auc"),
    "values": (graph(torch.arange(N) / 7), "node", "graph", "regression", 1, "rmse"),
    "columns of values": (graph(torch.randn(N, 2)), "node", "graph", "regression", 2, "rmse"),
    "hypergraph": (ring, "node", "hypergraph", "multiclass", 3, "accuracy"),
    "Data with hyperedge_index": (Data(**ring.to_dict()), "node", "hypergraph", "multiclass", 3, "accuracy"),
    "node types": (hetero(), "node", "heterogeneous", "multiclass", 3, "accuracy"),
    "a dict": (graph().to_dict(), "node", "graph", "multiclass", 3, "accuracy"),
    "a list of one": ([graph()], "node", "graph", "multiclass", 3, "accuracy"),
    "graphs": (graphs(lambda i, n: torch.tensor(i % 2)), "graph", "graph", "multiclass", 2, "accuracy"),
    "graphs of one row": (
        graphs(lambda i, n: torch.tensor([[i % 2, i % 3 % 2]])),
        "graph",
        "graph",
        "multilabel",
        2,
        "roc_auc",
    ),
    "graphs with values": (
        tuple(graphs(lambda i, n: torch.tensor([i / 3]))),
        "graph",
        "graph",
        "regression",
        1,
        "rmse",
    ),
    "graphs of nodes": (
        graphs(lambda i, n: torch.arange(n) % 3),
        "inductive-node",
        "graph",
        "multiclass",
        3,
        "accuracy",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind):
    data, task, structure, target, outputs, metric = KINDS[kind]
    found = [load_dataset(data), load_dataset(saved(data))]
    for bundle in found:
        assert (bundle.card.task, bundle.card.structure, bundle.card.target) == (task, structure, target)
        assert (bundle.num_outputs, bundle.metric, bundle.protocol) == (outputs, metric, "random-60-20-20")
        assert len(bundle.splits) == 10
        y = torch.cat([g.y for g in bundle.graphs]) if structure != "heterogeneous" else bundle.data["paper"].y
        assert y.dtype == (torch.int64 if target == "multiclass" else torch.float32)
        assert y.shape[1:] == (() if target == "multiclass" else (outputs,))
        assert (
            f"taken as {'an' if task[0] == 'i' else 'a'} {task} task scored by {metric}"
            in bundle.card.warnings(bundle.protocol)[0]
        )
    assert found[0].digest == found[1].digest
    assert found[0].hash == found[1].hash


class Collection(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number]


def test_a_dataset_object_and_a_path_object(tmp_path):
    collection = graphs(lambda i, n: torch.tensor(i % 2))
    assert load_dataset(Collection(collection)).digest == load_dataset(collection).digest
    saved(graph(), "a,b@c.pt")
    assert load_dataset(tmp_path / "a,b@c.pt").benchmark == "a-b-c@random-60-20-20"


def test_types_are_made_right_and_the_users_object_is_left_alone():
    x = torch.arange(2 * N).view(N, 2)
    given = graph(x=x, edge_attr=torch.ones(N, 1).double(), edge_index=graph().edge_index.int(), name="mine", pos=None)
    given.update(masks(range(10), range(10, 20), range(20, 30)))
    before = set(given.keys())
    data = load_dataset(given).data
    assert set(given.keys()) == before
    assert given.x is x
    assert set(data.keys()) == {"x", "edge_index", "y", "edge_attr"}
    assert (data.x.dtype, data.edge_attr.dtype, data.edge_index.dtype) == (torch.float32, torch.float32, torch.int64)
    assert data.x.tolist() == x.tolist()


def test_a_number_of_edges_is_counted():
    given = graph()
    given._store["num_edges"] = 3
    assert load_dataset(given).card.counts.edges == N
    assert load_dataset(graph().to_dict() | {"num_edges": "many"}).card.counts.edges == N


def test_hyperedges_that_were_counted_may_be_empty():
    content = {"x": torch.ones(N, 2), "hyperedge_index": index([0, 3], [1, 7]), "y": torch.arange(N) % 3}
    for given in (HypergraphData, Data):
        assert load_dataset(given(**content, num_hyperedges=20)).data.num_hyperedges == 20
    for given in (np.int64(20), torch.tensor(20), torch.tensor([20])):
        assert load_dataset(Data(**content, num_hyperedges=given)).data.num_hyperedges == 20
    assert load_dataset(content | {"hyperedge_index": index([0, 1], [1, 0])}).data.num_hyperedges == 2


# --- splits ----------------------------------------------------------------------------------------------------------


def test_given_splits():
    data = graph(**masks(range(10), range(10, 15), range(15, 30)))
    bundle = load_dataset(saved(data))
    (split,) = bundle.splits
    assert bundle.benchmark == "mine@own"
    assert [p.tolist() for p in (split.train, split.val, split.test)] == [
        *([*range(10)], [*range(10, 15)], [*range(15, 30)])
    ]
    drawn = load_dataset("mine.pt@random-60-20-20")
    assert drawn.digest == bundle.digest == load_dataset(graph()).digest
    assert len(load_dataset("mine.pt", protocol="random-60-20-20").splits) == 10


def test_one_test_mask_for_many_splits():
    data = graph(**masks(range(10), range(10, 15), range(15, 30)))
    data.train_mask = torch.stack([data.train_mask, data.train_mask & (torch.arange(N) > 3)], dim=1)
    splits = load_dataset(data).splits
    assert [len(s.train) for s in splits] == [10, 6]
    assert [len(s.test) for s in splits] == [15, 15]
    assert len(load_dataset(hetero(**masks(range(9), range(9, 12), [29]))).splits) == 1


def test_a_list_says_where_each_graph_belongs():
    collection = graphs(lambda i, n: torch.tensor([i % 2]))
    for i, item in enumerate(collection):
        item.split = ("train", "train", "val", "test")[i % 4]
    bundle = load_dataset(collection)
    assert bundle.protocol == "own"
    assert bundle.splits[0].val.tolist() == [2, 6, 10, 14, 18]
    assert "split" not in bundle.data[0]
    assert collection[0].split == "train"


def test_random_splits_take_every_class_and_leave_out_what_has_no_label():
    y = torch.arange(N) % 3
    y[::5] = -1
    bundle = load_dataset(graph(y))
    assert "6 of 30 without" in bundle.card.warnings("random-60-20-20")[0]
    for split in bundle.splits:
        rows = torch.cat([split.train, split.val, split.test])
        assert rows.sort().values.tolist() == [i for i in range(N) if i % 5]
        for label in range(3):
            members = int((y == label).sum())
            assert int((y[split.train] == label).sum()) == int(0.6 * members)
    assert len({split.hash for split in bundle.splits}) == 10
    values = torch.arange(N) / 7
    values[:10] = float("nan")
    assert load_dataset(graph(values)).splits[0].train.min() >= 10


# --- names -----------------------------------------------------------------------------------------------------------


def test_what_is_a_path():
    assert [is_path(n) for n in ("a.pt", "a/b", "./a", "/a", "~/a", ".", "a", "texas", "a.b")] == 6 * [True] + 3 * [
        False
    ]
    assert partition("texas@geom-gcn") == ("texas", "@", "geom-gcn")
    assert partition("a.pt@own") == ("a.pt", "@", "own")
    assert partition("a/b@own") == ("a/b", "@", "own")
    assert partition("me@work/a.pt") == ("me@work/a.pt", "", "")
    assert partition("me@work/a.pt@own") == ("me@work/a.pt", "@", "own")
    os.makedirs("me@work")
    assert partition("./me@work") == ("./me@work", "", "")


def test_what_it_is_called():
    for path, label in {
        "data/my graph (2).pt": "my-graph-2",
        "./folder.v2/": "folder.v2",
        "texas.pt": "texas-own",  # a shipped dataset has that name, and settings and published numbers for it
        "webkb_TEXAS.pt": "webkb_TEXAS-own",
        "x/_.pt": "data",
        "karate": "karate",
    }.items():
        assert DATASETS.label(path) == label


def test_an_objects_name_is_its_content():
    names = {
        load_dataset(data).card.name
        for data in (graph(), graph(), graph(x=torch.ones(N, 2)), graph(**masks([0], [1], range(2, N))))
    }
    assert len(names) == 3
    assert names <= set(DATASETS.names())


def test_a_changed_file_is_read_again():
    first = load_dataset(saved(graph()))
    second = load_dataset(saved(graph(x=torch.ones(N, 2))))
    assert first.digest != second.digest
    assert first.benchmark == second.benchmark


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("mien.pt", ConfigError, "dataset mien.pt: there is no such file or folder; did you mean 'mine.pt'?"),
        ("nowhere/mine.pt", ConfigError, "no such file or folder; .*/nowhere is no folder"),
        ("folder", UnknownNameError, r"unknown dataset 'folder'.*; what lies here under that name is \./folder"),
        ("mine.pt@own", UnknownNameError, "unknown protocol 'own' in mine; choose from: random-60-20-20"),
        ("./folder", DataError, "^folder: there is no nodes.csv in this folder; there are none"),
        (3, ConfigError, "dataset is a int: give a name, a path, a PyG data object or a list of them"),
        (["karate", "csbm"], ConfigError, r"one dataset at a time.*\['karate', 'csbm'\]"),
    ],
)
def test_wrong_names(name, error, message):
    saved(graph())
    os.makedirs("folder")
    with pytest.raises(error, match=message):
        load_dataset(name)


# --- bad objects -----------------------------------------------------------------------------------------------------


def without(name):
    data = graph()
    del data[name]
    return data


def with_nan():
    data = graph()
    data.x[17, 1] = float("nan")
    return data


def index(*columns):
    return torch.tensor(columns).t().contiguous()


def hetero_with_weight():
    data = hetero()
    data["author", "writes", "paper"].edge_weight = torch.tensor(2)
    return data


def hetero_to(kind, **types):
    data = hetero()
    data["author", "to", kind].edge_index = index([0, 0])
    for name, content in types.items():
        data[name].update(content)
    return data


def quantized():
    with warnings.catch_warnings(action="ignore"):
        return torch.quantize_per_tensor(torch.ones(N, 2), 0.1, 0, torch.quint8)


BAD = {
    "no x": (without("x"), r": x is missing; torch\.ones\(num_nodes, 1\)"),
    "no edges": (without("edge_index"), r": edge_index is missing: \[2, num_edges\]"),
    "no y": (without("y"), ": y is missing"),
    "x of no columns": (graph(x=torch.ones(N, 0)), r": x has shape \[30, 0\]: \[30, in_channels\] is expected"),
    "x of one number": (graph(x=torch.tensor(1.0)), ": x is a single number: a row for each is expected"),
    "x of one number, with masks": (
        graph(x=torch.tensor(1.0), **masks([0], [1], [2])),
        ": x is a single number: a row for each is expected",
    ),
    "quantized x": (graph(x=quantized()), ": x is quantized: a dense tensor is expected$"),
    "x of no content": (graph(x=torch.ones(N, 2, device="meta")), r": x is without content \(meta\): a dense"),
    "flat x": (graph(x=torch.ones(N)), r": x has shape \[30\]: \[30, in_channels\] is expected"),
    "x no tensor": (graph(x=[[1.0]] * N), ": x is a list: a tensor is expected"),
    "sparse x": (graph(x=torch.eye(N).to_sparse()), ": x is sparse: a dense tensor is expected"),
    "nan": (with_nan(), r": x\[17, 1\] is nan: finite numbers are expected"),
    "infinite attribute": (graph(edge_weight=torch.full((N,), torch.inf)), r"edge_weight\[0\] is inf"),
    "node 30": (graph(edge_index=index([0, 1], [2, 30])), r"edge_index\[1, 1\] is 30: the nodes are 0 to 29"),
    "node -1": (graph(edge_index=index([-1, 1])), r"edge_index\[0, 0\] is -1"),
    "turned edges": (
        graph(edge_index=index([0, 1], [1, 2], [2, 3]).t()),
        r"\[3, 2\], \[2, \.\.\.\] .*edge_index\.t\(\)",
    ),
    "real edges": (graph(edge_index=torch.rand(2, 3)), r"edge_index is float32 \[2, 3\]: whole numbers are expected"),
    "edge_attr": (graph(edge_attr=torch.ones(3, 1)), r"edge_attr has shape \[3, 1\], there are 30 edges"),
    "edge_attr of one number": (graph(edge_attr=torch.tensor(1.0)), ": edge_attr is a single number: a row for each"),
    "edge_weight of one number": (
        hetero_with_weight(),
        ": edge_weight of author writes paper is a single number: a row for each is expected",
    ),
    "edge_attr of no columns": (
        graph(edge_attr=torch.ones(N, 0)),
        r"edge_attr has shape \[30, 0\], there are 30 edges",
    ),
    "short y": (graph(torch.arange(4)), r"y has shape \[4\], there are 30 nodes$"),
    "y of the graph": (graph(torch.tensor([1])), "there are 30 nodes; to learn labels of whole graphs takes a list"),
    "label -5": (graph(torch.arange(N) - 5), "data: node 0: class -5: classes count from 0, and -1 is none"),
    "label 99": (graph(torch.arange(N) * 10), r"data: node 29: class 290, of only 30 labels: .*y\.float\(\)"),
    "one class": (graph(torch.zeros(N).long()), "all labels are one class: there is nothing to learn"),
    "one class, not 0": (graph(torch.where(torch.arange(N) > 9, 1, -1)), "all labels are one class: there is nothing"),
    "one boolean": (graph(torch.ones(N).bool()), "all labels are one class: there is nothing to learn"),
    "one real label": (graph(torch.zeros(N)), "data: all labels are one value, 0: there is nothing to learn"),
    "one value": (
        graph(torch.where(torch.arange(N) > 9, 2.5, torch.nan)),
        "data: all labels are one value, 2.5: there",
    ),
    "one label in a column": (
        graph(torch.stack([torch.arange(N) % 2, torch.ones(N)], dim=1)),
        "data: all labels in column 1 are one value, 1: there is nothing to learn",
    ),
    "one whole label in a column": (
        graph(torch.stack([torch.zeros(N), torch.arange(N) % 2], dim=1).long()),
        "data: all labels in column 0 are one value, 0: there is nothing to learn",
    ),
    "no label in a column": (
        graph(torch.stack([torch.arange(N) % 2, torch.full((N,), torch.nan)], dim=1)),
        "data: nothing has a label in column 1",
    ),
    "no label": (graph(torch.full((N,), -1)), "nothing has a label"),
    "no node": (graph(torch.zeros(0), x=torch.zeros(0, 2), edge_index=torch.zeros(2, 0).long()), "there are no nodes"),
    "no value": (graph(torch.full((N,), torch.nan)), "nothing has a label"),
    "infinite y": (graph(torch.arange(N) / torch.arange(N).flip(0)), "data: node 29: y is infinite"),
    "columns of classes": (graph(torch.arange(2 * N).view(N, 2)), r"y is int64 \[30, 2\]: several labels are 0 or 1"),
    "two masks": (
        graph(train_mask=torch.ones(N).bool(), val_mask=torch.ones(N).bool()),
        "test_mask is missing: give all",
    ),
    "mask of indices": (
        graph(**masks([0], [1], [2]) | {"val_mask": torch.arange(N)}),
        r"val_mask is int64 \[30\]: bool",
    ),
    "short mask": (
        graph(**masks([0], [1], [2]) | {"val_mask": torch.ones(3).bool()}),
        "val_mask has 3 rows, there are 30 nodes",
    ),
    "mask of no splits": (
        graph(**dict.fromkeys(("train_mask", "val_mask", "test_mask"), torch.ones(N, 0).bool())),
        r"train_mask has shape \[30, 0\]: \[num_nodes\] or \[num_nodes, splits\] is expected",
    ),
    "sparse mask": (
        graph(**masks([0], [1], [2]) | {"val_mask": torch.ones(N).bool().to_sparse()}),
        "val_mask is sparse: a dense tensor is expected",
    ),
    "empty mask": (graph(**masks([0], [], [2])), "data: the val part is empty"),
    "overlap": (graph(**masks([0, 4], [1], [4, 5])), "data: node 4: in two of train, val and test"),
    "unlabelled in train": (
        graph(torch.where(torch.arange(N) == 8, -1, torch.arange(N) % 3), **masks([7, 8], [1], [2])),
        "data: node 8: in the train part, but without a label",
    ),
    "hyperedge": (
        HypergraphData(x=torch.ones(N, 2), hyperedge_index=index([0, 4]), num_hyperedges=3, y=torch.arange(N) % 3),
        r"hyperedge_index\[1, 0\] is 4: the hyperedges are 0 to 2",
    ),
    "hyperedge ids": (
        Data(x=torch.ones(N, 2), hyperedge_index=index([0, 10**16], [1, 7]), y=torch.arange(N) % 3),
        r"hyperedge_index\[1, 0\] is 10000000000000000, of only 2 incidences: hyperedges count from 0; .*unique",
    ),
    "hyperedge ids of an object": (
        HypergraphData(x=torch.ones(N, 2), hyperedge_index=index([0, 2], [1, 1]), y=torch.arange(N) % 3),
        r"hyperedge_index\[1, 0\] is 2, of only 2 incidences: hyperedges count from 0",
    ),
    "hyperedges of node types": (hetero(hyperedge_index=index([0, 0])), "hyperedge_index of paper stands in a HeteroD"),
    "hyperedges in words": (
        HypergraphData(**ring.to_dict() | {"num_hyperedges": "a"}),
        ": num_hyperedges is 'a': a whole number is expected",
    ),
    "real number of hyperedges": (
        Data(**ring.to_dict() | {"num_hyperedges": 30.5}),
        ": num_hyperedges is 30.5: a whole",
    ),
    "flat hyperedges": (
        Data(x=torch.ones(N, 2), hyperedge_index=torch.tensor(1), y=torch.arange(N) % 3),
        r"hyperedge_index has shape \[\], \[2, \.\.\.\] is expected",
    ),
    "edges beside hyperedges": (
        Data(**ring.to_dict() | {"edge_index": torch.arange(N)}),
        r": edge_index has shape \[30\], \[2, \.\.\.\] is expected",
    ),
    "number of nodes": (graph(num_nodes=-1), ": num_nodes is -1: a whole number is expected"),
    "numbers of nodes": (graph(num_nodes=torch.ones(3, 3)), r": num_nodes is tensor\(\[\[1\., 1\., 1\.\], .*: a whole"),
    "huge number of nodes": (graph(num_nodes=2**63), f": num_nodes is {2**63}: a whole number is expected"),
    "unknown type": (hetero_to("b"), "data: the number of nodes of b is not known: give x or num_nodes"),
    "type without number": (
        hetero_to("b", b={"y": torch.ones(2)}),
        "data: the number of nodes of b is not known: give x or num_nodes",
    ),
    "no labelled type": (HeteroData(paper={"x": torch.eye(3)}), "one node type must have y, and nothing else may"),
    "batch": (Batch.from_data_list([graph(), graph()]), r"is a Batch: give batch\.to_data_list\(\)"),
    "strange element": ([graph(), "karate"], "data holds a str: a PyG Data, HeteroData or"),
    "list of types": ([hetero(), hetero()], "graph 1 is a HeteroData after HeteroData: a list holds Data"),
    "graphs without nodes": (
        [Data(x=torch.ones(0, 2), edge_index=torch.ones(2, 0).long(), y=torch.tensor([i % 2])) for i in range(9)],
        "data: graph 0: there are no nodes",
    ),
    "a graph without nodes": (
        [graph(torch.tensor([0])), Data(x=torch.ones(0, 2), edge_index=torch.ones(2, 0).long(), y=torch.tensor([1]))],
        "data: graph 1: there are no nodes",
    ),
    "unlike graphs": ([graph(), graph(pos=torch.ones(N, 2))], "pos stands in one of graph 1 and graph 0"),
    "unlike widths": (
        [graph(), graph(x=torch.ones(N, 3))],
        r"x of graph 1 has shape \[30, 3\], that of graph 0 \[30, 2\]",
    ),
    "unlike labels": ([graph(), graph(torch.ones(N))], r"y of graph 1 is float32 \[30\], that of graph 0 int64 \[30\]"),
    "one label too few": ([graph(), graph(torch.arange(4))], r"y of graph 1 has shape \[4\], and there are 30 nodes"),
    "gap in a graph": ([graph(), graph(torch.arange(N) - 1)], "data: graph 1, node 0: no class, but all nodes"),
    "mask in a list": ([graph(**masks([0], [1], [2])), graph()], "graph 0 has a train_mask, but a list's graphs"),
    "split of a graph in numbers": (
        [graph(split="train"), graph(split=torch.eye(N))],
        r"split of graph 1 is tensor\(\[\[.*: 'train', 'val' or 'test' is expected",
    ),
    "split of a graph": (
        [graph(split="train"), graph(split="valid")],
        "split of graph 1 is 'valid': 'train', 'val' or",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_objects(kind):
    data, message = BAD[kind]
    with pytest.raises(DataError, match=message) as failure:
        load_dataset(data)
    assert "\n" not in str(failure.value)
    in_file = r"mine\.pt is refused: it asks for torch_geometric\.data\.batch" if kind == "batch" else message
    with pytest.raises(DataError, match=in_file.replace("data: ", "mine.pt: ").replace("data holds", "mine.pt holds")):
        load_dataset(saved(data))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_nothing_in_a_file_is_run():
    before = set(get_safe_globals())
    assert Data in before  # PyG's, without which it would load its own files unsafely
    for content in (Evil(), [graph(), Evil()], graph(extra=Evil())):
        with pytest.raises(
            DataError, match=r"^mine.pt is refused: it asks for \w*\.mkdir, which data do not need; give "
        ) as e:
            load_dataset(saved(content))
        assert "\n" not in str(e.value)
    assert not os.path.exists("evil")
    load_dataset(saved(hetero()))
    assert set(get_safe_globals()) == before


def test_damaged_and_foreign_files():
    with open(saved(graph()), "rb") as file:
        content = file.read()
    for bad in (b"", b"hello", content[:100], content[:-200], pickle.dumps([1, 2]), pickle.dumps(Evil())):
        with open("bad.pt", "wb") as file:
            file.write(bad)
        with pytest.raises(DataError, match=r"^bad\.pt (is|holds)") as failure:
            load_dataset("bad.pt")
        assert "\n" not in str(failure.value)
    assert not os.path.exists("evil")
    for other in (torch.ones(3), 3, {"weights": torch.ones(3)}, {1: graph().x, 2: graph().y}, None):
        with pytest.raises(DataError, match=r"^mine\.pt"):
            load_dataset(saved(other))


# --- folders ---------------------------------------------------------------------------------------------------------

NODES = "id,age,label,height\n" + "".join(f"n{i},{20 + i},{'abc'[i % 3]},{i / 10}\n" for i in range(N))
EDGES = "source,target\n" + "".join(f"n{i},n{(i + 1) % N}\n" for i in range(N))


def folder(nodes=NODES, edges=EDGES, **others):
    os.makedirs("mine", exist_ok=True)
    for name, content in {"nodes.csv": nodes, "edges.csv": edges, **others}.items():
        if content is not None:
            with open(f"mine/{name.replace('_', '.')}", "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
    return load_dataset("./mine")


def test_a_folder():
    bundle = folder()
    assert bundle.benchmark == "mine@random-60-20-20"
    assert bundle.data.x.tolist() == torch.tensor([[20 + i, i / 10] for i in range(N)]).tolist()
    assert bundle.data.y.tolist() == [i % 3 for i in range(N)]
    assert bundle.data.edge_index.tolist() == graph().edge_index.tolist()
    assert "one of 3 classes per node (0 = a, 1 = b, 2 = c)" in bundle.card.warnings(bundle.protocol)[0]


def test_what_spreadsheets_write():
    """A byte-order mark, quotes, blanks after commas, Windows line ends, blank lines, numbers as texts."""
    plain = folder()
    text = NODES.replace("id,age", '"id", age').replace("n0,20", '\r\n"n0"," 20"').replace("\n", "\r\n") + "\r\n  \r\n"
    assert folder(b"\xef\xbb\xbf" + text.encode()).digest == plain.digest
    assert folder(NODES.rstrip("\n"), EDGES + "\n\n").digest == plain.digest


def labels(*words):
    return "f,label\n" + "".join(f"{i},{words[i % len(words)]}\n" for i in range(N))


NUMBERED = "source,target\n0,1\n1,29\n"


@pytest.mark.parametrize(
    ("words", "target", "y", "classes"),
    [
        (("0", "1", "2"), "multiclass", [0, 1, 2], ""),
        (("10", "5", ""), "multiclass", [1, 0, -1], " (0 = 5, 1 = 10)"),
        (("owl", "NA", "cat", "3"), "multiclass", [3, 1, 2, 0], " (0 = 3, 1 = NA, 2 = cat, 3 = owl)"),
        (("0.0", "1.0", ""), "binary", [0, 1, None], ""),
        (("0.5", "1", "nan", "-2e3"), "regression", [0.5, 1, None, -2000], ""),
    ],
)
def test_labels(words, target, y, classes):
    bundle = folder(labels(*words), NUMBERED)
    assert bundle.card.target == target
    found = [None if v != v else v for v in bundle.data.y[: len(y)].flatten().tolist()]
    assert found == y
    assert f"classes per node{classes}" in bundle.card.warnings(bundle.protocol)[0] or target != "multiclass"


def test_splits_and_edge_features():
    parts = "f,label,split\n" + "".join(f"{i},{i % 3},{('train', 'val', 'test', '')[i % 4]}\n" for i in range(N))
    bundle = folder(parts, "target,w,source,d\n1,0.5,0,2\n29,-1,1,3\n")
    assert bundle.protocol == "own"
    assert bundle.splits[0].val.tolist() == list(range(1, N, 4))
    assert bundle.data.edge_index.tolist() == [[0, 1], [1, 29]]
    assert bundle.data.edge_attr.tolist() == [[0.5, 2.0], [-1.0, 3.0]]


def test_edge_types():
    data = folder(labels("a", "b"), "source,target,type,w\n0,1,likes,1\n1,2,knows,2\n2,3,likes,3\n").data
    assert data.edge_types == [("node", "knows", "node"), ("node", "likes", "node")]
    assert data["node", "likes", "node"].edge_index.tolist() == [[0, 2], [1, 3]]
    assert data["node", "likes", "node"].edge_attr.tolist() == [[1.0], [3.0]]
    assert data["node"].x.shape == (N, 1)


def test_hyperedges():
    os.makedirs("mine")
    data = folder(edges=None, hyperedges_csv="node,hyperedge\nn4,club\nn7,club\nn4,team\n").data
    assert data.hyperedge_index.tolist() == [[4, 7, 4], [0, 0, 1]]
    assert data.num_hyperedges == 2


def change(old, new, text=NODES):
    assert old in text
    return text.replace(old, new)


BAD_NODES = {
    "word": (change("n15,35", "n15,abc"), "mine/nodes.csv line 17, column age: 'abc' is not a number"),
    "empty": (change("n15,35", "n15,"), "mine/nodes.csv line 17, column age: an empty field is not a number"),
    "nan": (change("n15,35", "n15,nan"), "mine/nodes.csv line 17, column age: 'nan' is not finite"),
    "huge": (change("n15,35", "n15,1e99"), "mine/nodes.csv line 17, column age: '1e99' is not finite"),
    "after blank lines": (change("n15,35", "\n\nn15,x"), "mine/nodes.csv line 19, column age: 'x' is not a number"),
    "after a field of lines": (
        change("n15,35", "n15,x", change("n3,", '"n\n3",')),
        "mine/nodes.csv line 18, column age: 'x' is not a number",
    ),
    "short": (change("n15,35,a", "n15,35"), "mine/nodes.csv line 17: 3 fields, the header has 4"),
    "long": (change("n15,35", "n15,35,"), "mine/nodes.csv line 17: 5 fields, the header has 4"),
    "long with quotes": (change("n15,35", 'n15,"3",5'), "mine/nodes.csv line 17: 5 fields, the header has 4"),
    "all long": ("f,label\n1,0,\n1,0,\n", "mine/nodes.csv line 2: 3 fields, the header has 2"),
    "twice": (change("n15,", "n3,"), "mine/nodes.csv line 17, column id: 'n3' stands in line 5 already"),
    "no id": (change("n15,", ","), "mine/nodes.csv line 17, column id: an empty field is no id"),
    "no label": (change("label", "lable"), "mine/nodes.csv line 1: there is no column label; did you mean 'lable'?"),
    "same column": (change("height", "age"), "mine/nodes.csv line 1: column age stands twice"),
    "index": (change("id,age", ",age"), "mine/nodes.csv line 1: column 1 has no name (of pandas? to_csv(index=False) "),
    "semicolons": (
        change(",", ";"),
        "mine/nodes.csv line 1: there is no column label; fields are separated by commas, not",
    ),
    "no features": ("label\n0\n1\n", "mine/nodes.csv: there is no column of features; one of ones shows models"),
    "empty file": ("\n", "mine/nodes.csv is empty: a header line with label is expected"),
    "no rows": ("f,label\n", "mine/nodes.csv has a header and no line below it"),
    "latin": (NODES.replace("n15", "é").encode("latin-1"), "mine/nodes.csv line 17: not UTF-8 text (byte 0xe9)"),
    "utf-16": (NODES.encode("utf-16-le"), "mine/nodes.csv line 1: not UTF-8 text (byte 0x0)"),
    "label": (
        labels("1.5", "2.5", "3.5", "4.5", "x"),
        "mine/nodes.csv line 6, column label: 'x' is not a number, as most",
    ),
    "many digits": (
        labels("0", "1", "9" * 5000),
        f"mine/nodes.csv line 4, column label: '{'9' * 40}...' is no class: whole numbers have up to 18 digits",
    ),
    "feature of many digits": (
        change("n15,35", f"n15,{'9' * 400}"),
        f"mine/nodes.csv line 17, column age: '{'9' * 40}...' is not finite",
    ),
    "feature of more digits": (
        change("n15,35", f"n15,{'9' * 5000}"),
        f"mine/nodes.csv line 17, column age: '{'9' * 40}...' is not a number",
    ),
    "one class": (labels("a"), "mine: all labels are one class: there is nothing to learn"),
    "one value": (labels("0.0", ""), "mine: all labels are one value, 0: there is nothing to learn"),
    "infinite label": (labels("1.5", "inf"), "mine/nodes.csv line 3, column label: 'inf' is not finite"),
    "split": (
        "f,label,split\n0,1,train\n1,1,tset\n",
        "mine/nodes.csv line 3, column split: 'tset' is no part of a split; ",
    ),
    "train without label": (
        "f,label,split\n0,1,train\n1,,train\n2,0,val\n3,0,test\n",
        "mine/nodes.csv line 3: in the train part, but without a label",
    ),
    "no val": ("f,label,split\n0,1,train\n1,0,test\n", "mine: the val part is empty"),
    "missing": (None, "mine: there is no nodes.csv in this folder; did you mean 'Nodes.csv'"),
}


@pytest.mark.parametrize("kind", BAD_NODES)
def test_bad_nodes(kind):
    nodes, message = BAD_NODES[kind]
    others = {"Nodes.csv": NODES} if nodes is None else {}
    with pytest.raises(DataError) as failure:
        folder(
            nodes, EDGES if isinstance(nodes, str) and nodes.startswith("id") else NUMBERED.replace("29", "0"), **others
        )
    assert str(failure.value).startswith(message)
    assert "\n" not in str(failure.value)


BAD_EDGES = {
    "unknown": (
        change("n15,n16", "n15,x9", EDGES),
        "mine/edges.csv line 17, column target: 'x9' is no id of nodes.csv",
    ),
    "empty": (
        change("n15,n16", ",n16", EDGES),
        "mine/edges.csv line 17, column source: an empty field is no id of nodes",
    ),
    "weight": ("source,target,w\nn0,n1,1\nn1,n2,-\n", "mine/edges.csv line 3, column w: '-' is not a number"),
    "type": ("source,target,type\nn0,n1,a\nn1,n2,\n", "mine/edges.csv line 3, column type: an empty field is no type"),
    "names": ("from,to\nn0,n1\n", "mine/edges.csv line 1: there is no column source; choose from: from, to"),
    "no rows": ("source,target\n", "mine/edges.csv has a header and no line below it"),
    "missing": (None, "mine: there is no edges.csv in this folder; did you mean 'nodes.csv'?"),
}


@pytest.mark.parametrize("kind", BAD_EDGES)
def test_bad_edges(kind):
    edges, message = BAD_EDGES[kind]
    with pytest.raises(DataError) as failure:
        folder(edges=edges)
    assert str(failure.value).startswith(message)
    assert "\n" not in str(failure.value)


def test_rows_by_number():
    for bad in ("30", "-1", "1.5", "x", ""):
        with pytest.raises(DataError, match=r"line 3, column target: .* is no row of nodes\.csv, .*: rows are 0 to 29"):
            folder(labels("a", "b"), f"source,target\n0,1\n1,{bad}\n")


def test_bad_hyperedges():
    with pytest.raises(DataError, match=r"mine: edges\.csv or hyperedges\.csv, not both"):
        folder(hyperedges_csv="node,hyperedge\nn4,club\n")
    os.remove("mine/edges.csv")
    for text, message in {
        "node,hyperedge\nn4,club\nn99,club\n": "line 3, column node: 'n99' is no id of nodes.csv",
        "node,hyperedge\nn4,\n": "line 2, column hyperedge: an empty field is no hyperedge",
        "node,hyperedge,w\nn4,a,1\n": "line 1: column w: only node and hyperedge are read",
    }.items():
        with pytest.raises(DataError, match=rf"^mine/hyperedges\.csv {message}"):
            folder(edges=None, hyperedges_csv=text)


def test_a_table_alone():
    folder()
    with pytest.raises(DataError, match=r"^mine/nodes\.csv is not read alone: name the folder"):
        load_dataset("mine/nodes.csv")

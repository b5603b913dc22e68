"""Splits, digests, and what a blind bundle hides."""

import hashlib

import pytest
import torch
from torch_geometric.data import Data, HeteroData

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import Bundle, HypergraphData, Split, load_dataset
from gnnzoo.datasets.bundle import digest
from gnnzoo.errors import ConfigError, DataError, UnknownNameError


def card(**changes):
    content = {
        "name": "toy",
        "summary": "for tests",
        "family": "toy",
        "loader": "nowhere.load",
        "task": "node",
        "num_outputs": 3,
        "counts": {"nodes": 6, "edges": 2, "features": 2},
        "protocols": {
            "p": {"summary": "one", "splits": 1, "metric": "accuracy"},
            "habit": {"summary": "one", "splits": 1, "metric": "accuracy", "selection": "on-test"},
        },
        "default_protocol": "p",
    }
    return DatasetCard.model_validate(content | changes)


def split(train=(0, 1), val=(2,), test=(3, 4), index=0):
    return Split(index, *(torch.tensor(part, dtype=torch.int64) for part in (train, val, test)))


def toy(y=(0, 1, 2, 0, 1, 2), protocol="p", splits=None, **changes):
    data = Data(x=torch.eye(6)[:, :2], edge_index=torch.tensor([[0, 1], [1, 5]]), y=torch.tensor(y))
    return Bundle(card(**changes), protocol, data, splits or [split()], digest(data))


def test_split_is_sorted_and_hashed_over_all_three_arrays():
    one = split(train=(5, 1), val=(2,), test=(4, 3))
    assert one.train.tolist() == [1, 5]
    assert one.train.dtype == torch.int64
    content = b"".join(
        len(part).to_bytes(8, "little") + b"".join(i.to_bytes(8, "little") for i in part)
        for part in ([1, 5], [2], [3, 4])
    )
    assert one.hash == hashlib.sha256(content).hexdigest()[:16]
    assert one.hash == split(train=(1, 5), test=(3, 4), index=7).hash
    # the same indices, dealt out otherwise
    assert len({split((1,), (2,), (3, 4)).hash, split((1, 2), (3,), (4,)).hash, split((1,), (2, 3), (4,)).hash}) == 3


def test_digest_depends_on_content_only():
    x, index = torch.arange(6.0).view(3, 2), torch.tensor([[0, 1], [1, 2]])
    data = Data(x=x, edge_index=index)
    assert digest(data) == digest(Data(edge_index=index, x=x.T.contiguous().T))
    others = [
        Data(x=x + 1, edge_index=index),
        Data(x=x.double(), edge_index=index),
        Data(x=x.view(2, 3), edge_index=index),
        Data(z=x, edge_index=index),
        Data(x=x, edge_index=index, num_nodes=4),
        [data, data],
    ]
    assert len({digest(data), *map(digest, others)}) == 7


def test_digest_is_the_same_on_every_machine():
    data = Data(x=torch.tensor([[1.5, -0.0]]), edge_index=torch.zeros(2, 0, dtype=torch.int64), y=torch.tensor([True]))
    assert digest(data) == "264d2380978e11ea"
    hetero = HeteroData()
    hetero["a"].x = torch.ones(2, 1)
    hetero["a", "to", "a"].edge_index = torch.tensor([[0], [1]])
    assert digest(hetero) == "1b2b21eca1b1f585"


def test_blind_hides_labels_outside_train_and_val():
    bundle = toy()
    blind = bundle.blind(bundle.splits[0])
    assert blind.data.y.tolist() == [0, 1, 2, -1, -1, -1]
    assert bundle.data.y.tolist() == [0, 1, 2, 0, 1, 2]
    (only,) = blind.splits
    assert only.test.numel() == 0
    assert only.train.tolist() == [0, 1]
    assert blind.data.x is bundle.data.x
    assert (blind.digest, blind.benchmark) == (bundle.digest, "toy@p")


def test_blind_hides_real_numbers_as_nan():
    bundle = toy(y=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0), target="regression")
    y = bundle.blind(bundle.splits[0]).data.y
    assert y[:3].tolist() == [0, 1, 2]
    assert y[3:].isnan().all()


def test_blind_hides_whole_graphs():
    graphs = [Data(x=torch.ones(2, 1), y=torch.tensor([i % 3, i % 3])) for i in range(6)]
    bundle = Bundle(card(task="inductive-node"), "p", graphs, [split()], digest(graphs))
    blind = bundle.blind(bundle.splits[0])
    assert [graph.y.tolist() for graph in blind.data[:3]] == [[0, 0], [1, 1], [2, 2]]
    assert all(graph.y.tolist() == [-1, -1] for graph in blind.data[3:])
    assert bundle.data[5].y.tolist() == [2, 2]


def test_blind_finds_the_labelled_node_type():
    data = HeteroData()
    data["paper"].x = torch.ones(6, 1)
    data["paper"].y = torch.arange(6) % 3
    data["author"].x = torch.ones(2, 1)
    bundle = Bundle(card(structure="heterogeneous"), "p", data, [split()], digest(data))
    assert bundle.blind(bundle.splits[0]).data["paper"].y.tolist() == [0, 1, 2, -1, -1, -1]
    assert data["paper"].y.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (toy(splits=[split(val=())]), "val is empty"),
        (toy(splits=[split(val=(1,))]), "overlap"),
        (toy(splits=[split(train=(0, 0))]), "overlap"),
        (toy(splits=[split(test=(6,))]), r"test leaves 0\.\.5"),
        (toy(splits=[split(test=(-1,))]), r"test leaves 0\.\.5"),
        (toy(splits=[split(), split()]), "2 splits, the card says 1"),
        (toy(y=(0, 1, 3, 0, 1, 2)), r"int64 in 0\.\.2"),
        (toy(y=(0, -1, 2, 0, 1, 2)), r"int64 in 0\.\.2"),
        (toy(y=(0.0, 1.0, float("inf"), 0.0, 1.0, 2.0), target="regression"), "infinite"),
        (toy(y=(0, 1, 2, 0, 1, 0), target="binary"), "0, 1 or NaN"),
        (toy(protocol="habit", splits=[split(train=(0, 3), val=(3, 4))]), "overlap"),
    ],
)
def test_check_names_what_is_wrong(bundle, message):
    with pytest.raises(DataError, match=message):
        bundle.check()


def test_check_accepts_what_is_allowed():
    toy(y=(0, 1, 2, 0, 1, -1)).check()  # unlabelled outside every split
    toy(protocol="habit", splits=[split(val=(3, 4))]).check()  # a protocol that says it selects on test
    toy(y=(0.0, 1.0, float("nan"), 0.0, 1.0, 0.0), target="binary").check()


def test_check_finds_edges_that_leave_the_graph():
    bundle = toy()
    bundle.data.edge_index = torch.tensor([[0], [6]])
    with pytest.raises(DataError, match="edge_index leaves its range"):
        bundle.check()
    hetero = HeteroData()
    hetero["a"].x = torch.ones(6, 1)
    hetero["a"].y = bundle.data.y
    hetero["b"].x = torch.ones(2, 1)
    hetero["a", "to", "b"].edge_index = torch.tensor([[5], [1]])
    bundle.replace(data=hetero).check()
    hetero["a", "to", "b"].edge_index = torch.tensor([[1], [5]])
    with pytest.raises(DataError, match="edge_index of a to b leaves its range"):
        bundle.replace(data=hetero).check()
    hyper = HypergraphData(x=torch.ones(6, 1), hyperedge_index=torch.tensor([[0], [2]]), y=bundle.data.y)
    hyper.num_hyperedges = 2
    with pytest.raises(DataError, match="hyperedge_index leaves its range"):
        bundle.replace(data=hyper).check()


def test_wrong_names_and_knobs():
    with pytest.raises(UnknownNameError, match="'karate'"):
        load_dataset("karat")
    with pytest.raises(UnknownNameError, match="random-48-32-20"):
        load_dataset("karate", "random-48-32")
    with pytest.raises(ConfigError, match=r"dataset\.homphily.*'homophily'"):
        load_dataset("csbm", homphily=0.2)
    with pytest.raises(ConfigError, match=r"dataset\.homophily"):
        load_dataset("csbm", homophily=1.2)
    with pytest.raises(ConfigError, match=r"dataset\.seed"):
        load_dataset("karate", seed=1)

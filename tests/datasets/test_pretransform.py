"""pre_transform: it cannot see labels, runs once, and its result depends on what it should."""

import random

import numpy as np
import pytest
import torch
from torch_geometric import transforms as T
from torch_geometric.data import Data, HeteroData
from torch_geometric.transforms import BaseTransform

from gnnzoo.datasets import Bundle, Split, load_dataset
from gnnzoo.datasets.bundle import digest
from gnnzoo.datasets.pretransform import apply_pre_transform, fingerprint
from gnnzoo.errors import ConfigError

CALLS = []


class Spy(BaseTransform):
    """Records what it sees, and adds noise."""

    def __init__(self, scale=1.0, **more):
        self.scale = scale
        self.__dict__.update(more)

    def forward(self, data):
        CALLS.append(data.clone())
        data.noise = self.scale * torch.randn(data.num_nodes) + float(np.random.rand()) + random.random()
        data.x.add_(1)  # a careless transform
        return data


class LabelSpy(Spy):
    uses_labels = True

    def forward(self, data):
        data = super().forward(data)
        data.seen = data.y * data.train_mask.long()
        return data


class HeteroSpy(BaseTransform):
    def forward(self, data):
        CALLS.append(data.clone())
        data["paper"].z = torch.ones(3)
        return data


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path / "cache"))
    CALLS.clear()


@pytest.fixture
def karate():
    return load_dataset("karate")


@pytest.fixture
def graphs():
    card = load_dataset("karate").card.model_copy(update={"task": "graph"})
    data = [Data(x=torch.ones(i + 1, 2), y=torch.tensor([i % 4])) for i in range(6)]
    split = Split(0, torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([3, 4, 5]))
    return Bundle(card, "random-48-32-20", data, [split], digest(data))


def test_labels_are_out_of_sight_and_put_back(karate):
    result = apply_pre_transform(Spy(), karate)
    (seen,) = CALLS
    assert "y" not in seen
    assert not any(torch.equal(value, karate.data.y) for value in seen.to_dict().values() if torch.is_tensor(value))
    assert torch.equal(result.data.y, karate.data.y)
    assert result.data.noise.shape == (34,)
    assert torch.equal(karate.data.x, torch.eye(34))  # the bundle's own tensors are untouched
    assert torch.equal(result.data.x, torch.eye(34) + 1)
    assert "noise" not in karate.data
    assert result.digest == karate.digest


def test_blind_labels_stay_blind(karate):
    blind = karate.blind(karate.splits[0])
    assert torch.equal(apply_pre_transform(Spy(), blind).data.y, blind.data.y)


def test_poisoned_labels_change_nothing(karate):
    clean = apply_pre_transform(Spy(), karate)
    poisoned = karate.data.clone()
    poisoned.y = 3 - poisoned.y
    dirty = apply_pre_transform(Spy(), karate.replace(data=poisoned))
    assert len(CALLS) == 1  # not even the place in the cache
    assert torch.equal(clean.data.noise, dirty.data.noise)
    assert torch.equal(dirty.data.y, poisoned.y)


def test_it_runs_once_per_identity(karate, tmp_path):
    first = apply_pre_transform(Spy(), karate)
    again = apply_pre_transform(Spy(), karate)
    assert len(CALLS) == 1
    assert torch.equal(first.data.noise, again.data.noise)
    apply_pre_transform(Spy(scale=2.0), karate)
    apply_pre_transform(Spy(), karate, seed=1)
    moved = karate.data.clone()
    moved.x[0, 0] = 2
    apply_pre_transform(Spy(), karate.replace(data=moved))
    assert len(CALLS) == 4
    apply_pre_transform(Spy(), karate, cache=tmp_path / "elsewhere")
    assert len(CALLS) == 5
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_the_seed_decides_and_the_caller_keeps_its_own(karate, tmp_path):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    one = apply_pre_transform(Spy(), karate, cache=tmp_path / "1")
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    torch.rand(5)
    np.random.rand(5)
    random.random()
    two = apply_pre_transform(Spy(), karate, cache=tmp_path / "2")
    three = apply_pre_transform(Spy(), karate, seed=1)
    assert torch.equal(one.data.noise, two.data.noise)
    assert not torch.equal(one.data.noise, three.data.noise)


def test_a_failing_transform_gives_the_generators_back(karate):
    state = torch.get_rng_state()
    with pytest.raises(AttributeError):
        apply_pre_transform(Spy(), karate.replace(data=Data(y=karate.data.y, num_nodes=34)))
    assert torch.equal(torch.get_rng_state(), state)


def test_training_labels_only_where_it_asks_for_them(karate):
    zero, one = karate.splits[:2]
    result = apply_pre_transform(LabelSpy(), karate, split=zero)
    (seen,) = CALLS
    assert seen.train_mask.nonzero().flatten().tolist() == zero.train.tolist()
    assert torch.equal(seen.y[zero.train], karate.data.y[zero.train])
    assert (seen.y[~seen.train_mask] == -1).all()
    assert "train_mask" not in result.data
    assert torch.equal(result.data.y, karate.data.y)
    assert torch.equal(result.data.seen[zero.train], karate.data.y[zero.train])
    apply_pre_transform(LabelSpy(), karate, split=zero)
    assert len(CALLS) == 1
    apply_pre_transform(LabelSpy(), karate, split=one)
    assert len(CALLS) == 2
    relabelled = karate.data.clone()
    relabelled.y[zero.train[0]] = (relabelled.y[zero.train[0]] + 1) % 4
    apply_pre_transform(LabelSpy(), karate.replace(data=relabelled), split=zero)
    assert len(CALLS) == 3
    with pytest.raises(ConfigError, match="LabelSpy uses labels"):
        apply_pre_transform(LabelSpy(), karate)


def test_the_split_enters_the_key_even_when_the_training_part_is_the_same(karate):
    zero = karate.splits[0]
    other = Split(0, zero.train, zero.test, zero.val)
    apply_pre_transform(LabelSpy(), karate, split=zero)
    apply_pre_transform(LabelSpy(), karate, split=other)
    assert len(CALLS) == 2
    apply_pre_transform(Spy(), karate, split=zero)
    apply_pre_transform(Spy(), karate, split=other)
    assert len(CALLS) == 3  # a transform without labels does not depend on it


def test_lists_of_graphs(graphs):
    result = apply_pre_transform(Spy(), graphs)
    assert all("y" not in seen for seen in CALLS)
    assert [graph.noise.numel() for graph in result.data] == [1, 2, 3, 4, 5, 6]
    assert [int(graph.y) for graph in result.data] == [0, 1, 2, 3, 0, 1]
    assert apply_pre_transform(Spy(), graphs).data[5].noise.tolist() == result.data[5].noise.tolist()
    assert len(CALLS) == 6
    CALLS.clear()
    result = apply_pre_transform(LabelSpy(), graphs, split=graphs.splits[0])
    assert [seen.y.tolist() for seen in CALLS] == [[0], [1], [-1], [-1], [-1], [-1]]
    assert [seen.train_mask.tolist() for seen in CALLS] == [[True], [True], [False], [False], [False], [False]]
    assert [int(graph.y) for graph in result.data] == [0, 1, 2, 3, 0, 1]


def test_heterogeneous_labels_return_to_their_type():
    data = HeteroData()
    data["paper"].x = torch.ones(3, 1)
    data["paper"].y = torch.tensor([0, 1, 0])
    data["author"].x = torch.ones(2, 1)
    bundle = load_dataset("karate").replace(data=data)
    result = apply_pre_transform(HeteroSpy(), bundle)
    assert "y" not in CALLS[0]["paper"]
    assert result.data["paper"].y.tolist() == [0, 1, 0]
    assert result.data["paper"].z.tolist() == [1, 1, 1]


def test_pyg_transforms_and_their_compositions(karate, tmp_path):
    transform = T.Compose([T.AddRandomWalkPE(4), T.LocalDegreeProfile()])
    result = apply_pre_transform(transform, karate)
    assert result.data.random_walk_pe.shape == (34, 4)
    assert torch.equal(apply_pre_transform(transform, karate).data.x, result.data.x)
    assert len(list((tmp_path / "cache" / "transforms").iterdir())) == 1


def test_what_cannot_be_told_apart_is_not_cached(karate, tmp_path):
    class Local(Spy):
        pass

    for transform in (Local(), Spy(function=lambda data: data), Spy(thing=object.__new__(object))):
        apply_pre_transform(transform, karate)
        apply_pre_transform(transform, karate)
    assert len(CALLS) == 6
    assert not (tmp_path / "cache" / "transforms").exists()


def test_fingerprints_tell_attributes_apart():
    variants = [
        Spy(1.0),
        Spy(2.0),
        Spy(table=torch.ones(2)),
        Spy(table=torch.ones(2).double()),
        Spy(table=torch.tensor([1.0, 2.0])),
        Spy(table=np.ones(2)[:1]),
        Spy(names=["a", "b"]),
        Spy(names=("a", "b")),
        Spy(inner=Spy(3.0)),
        Spy(inner=Spy(4.0)),
        Spy(function=digest),
        Spy(function=fingerprint),
        LabelSpy(1.0),
    ]
    prints = [repr(fingerprint(variant)) for variant in variants]
    assert len(set(prints)) == len(variants)
    assert prints == [repr(fingerprint(variant)) for variant in variants]

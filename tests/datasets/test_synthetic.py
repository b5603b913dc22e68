"""Generated sets: what the knobs promise."""

import pytest
import torch
from torch_geometric.utils import contains_self_loops, homophily, is_undirected

from gnnzoo.datasets import load_dataset
from gnnzoo.datasets.synthetic import csbm_graph
from gnnzoo.errors import ConfigError, UnknownNameError


def test_a_benchmark_is_a_name():
    bundle = load_dataset("karate@random-48-32-20")
    assert bundle.benchmark == "karate@random-48-32-20"
    assert bundle.digest == load_dataset("karate").digest
    with pytest.raises(ConfigError, match="karate@a and protocol=b disagree"):
        load_dataset("karate@a", protocol="b")
    with pytest.raises(UnknownNameError, match="unknown protocol 'random' in karate; did you mean"):
        load_dataset("karate@random")


def test_karate():
    bundle = load_dataset("karate")
    assert (bundle.data.num_nodes, bundle.data.num_edges) == (34, 156)
    assert torch.equal(bundle.data.x, torch.eye(34))
    assert bundle.data.y.bincount().tolist() == [13, 12, 4, 5]
    assert bundle.digest == "ba7a744d28934ee1"
    assert bundle.splits[0].hash == "0e8fa21627914674"
    assert "train_mask" not in bundle.data


def test_csbm_is_the_same_on_every_machine():
    bundle = load_dataset("csbm")
    assert bundle.splits[0].hash == "0cf5d76abd57d133"
    y, edges = bundle.data.y, bundle.data.edge_index
    assert y[:10].tolist() == [3, 0, 3, 0, 3, 0, 0, 1, 1, 3]
    assert edges[:, :5].tolist() == [[0, 0, 0, 0, 0], [133, 196, 427, 455, 656]]
    assert bundle.data.x[0, :3].tolist() == pytest.approx([0.370424, -2.552125, 0.468601], abs=1e-6)
    assert bundle.digest == load_dataset("csbm").digest


@pytest.mark.parametrize("knob", [0.0, 0.1, 0.25, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_homophily_is_the_knob(knob, classes):
    bundle = load_dataset("csbm", homophily=knob, num_classes=classes, num_nodes=500, average_degree=6.0)
    data = bundle.data
    assert data.num_edges == 3000
    assert homophily(data.edge_index, data.y, method="edge") == pytest.approx(knob, abs=1 / 3000)
    assert is_undirected(data.edge_index)
    code = data.edge_index[0] * data.num_nodes + data.edge_index[1]
    assert (code[1:] > code[:-1]).all()  # sorted, no edge twice
    assert not contains_self_loops(data.edge_index)
    assert bundle.num_outputs == classes
    assert bundle.card.counts.edges == 3000


def test_other_edges_join_neighbours_on_the_circle():
    data = load_dataset("csbm", homophily=0.2, num_classes=5).data
    source, target = data.y[data.edge_index]
    assert set(((source - target) % 5).tolist()) == {0, 1, 4}


def test_features_have_the_signal_that_was_asked_for():
    data = csbm_graph(20_000, 4, 0.5, 2.0, 8, 3.0, seed=1)
    means = torch.stack([data.x[data.y == c].mean(0) for c in range(4)])
    assert means.norm(dim=1).tolist() == pytest.approx([3.0] * 4, abs=0.1)
    assert float((data.x - means[data.y]).std()) == pytest.approx(1.0, abs=0.01)
    assert csbm_graph(100, 4, 0.5, 2.0, 8, 0.0, seed=1).x.mean().abs() < 0.15


def test_edges_are_drawn_uniformly():
    """All pairs within a class are equally likely: their numbers over many graphs vary as a binomial's would."""
    counts = torch.zeros(12, 12)
    for seed in range(400):
        data = csbm_graph(12, 2, 1.0, 1.0, 1, 0.0, seed)
        order = torch.argsort(data.y, stable=True)
        rank = torch.empty(12, dtype=torch.int64)
        rank[order] = torch.arange(12)
        counts.index_put_(tuple(rank[data.edge_index]), torch.ones(data.num_edges), accumulate=True)
    same = torch.block_diag(torch.ones(6, 6), torch.ones(6, 6)).triu(1).bool()
    within = counts[same]  # 30 pairs share 400 * 6 edges: 80 each, with variance 80 * (1 - 6 / 30) = 64
    assert float(within.sum()) == 2400
    assert float(within.min()) > 80 - 4 * 8
    assert float(within.max()) < 80 + 4 * 8


def test_seeds_and_splits_are_independent():
    zero, one = load_dataset("csbm"), load_dataset("csbm", seed=1)
    assert zero.digest != one.digest
    assert len({split.hash for split in zero.splits}) == 10
    for split in zero.splits:
        assert zero.data.y[split.train].bincount().tolist() == [96] * 4
        assert zero.data.y[split.val].bincount().tolist() == [64] * 4
        assert zero.data.y[split.test].bincount().tolist() == [40] * 4
    assert one.params["seed"] == 1


def test_impossible_knobs():
    with pytest.raises(ConfigError, match="edges within classes, but only"):
        load_dataset("csbm", num_nodes=40, average_degree=30.0, homophily=1.0)
    with pytest.raises(ConfigError, match="too few for 4 classes"):
        load_dataset("csbm", num_nodes=10)
    with pytest.raises(ConfigError, match=r"dataset\.num_classes"):
        load_dataset("csbm", num_classes=1)


def test_every_pair_can_be_drawn():
    data = csbm_graph(12, 3, 0.0, 8.0, 1, 0.0, seed=0)  # 48 edges between classes are all there are
    assert data.num_edges == 96


def test_a_large_graph_takes_no_time():
    data = csbm_graph(100_000, 5, 0.2, 10.0, 4, 1.0, seed=0)
    assert data.num_edges == 1_000_000

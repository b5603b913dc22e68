"""Environments: the statistic against its definition, quantiles under ties, and what rows belong where."""

from __future__ import annotations

import warnings
from typing import Any

import networkx as nx
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx, to_dense_adj

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import Bundle, Split
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.errors import ConfigError
from gnnzoo.strategies import environments as module
from gnnzoo.strategies.environments import Environments, neighbour_pattern, quantile_cuts
from gnnzoo.tasks import Batch, Task, create_task

DOUBLE = torch.float64
GRAPHS = {
    "path": nx.path_graph(7),
    "star": nx.star_graph(5),
    "karate": nx.karate_club_graph(),
    "petersen": nx.petersen_graph(),
    "isolated": nx.compose(nx.cycle_graph(4), nx.empty_graph(7)),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def dense(x: Tensor, adjacency: Tensor, kind: str) -> Tensor:
    between = torch.cdist(x, x) if kind == "norm2" else x @ x.t()
    return (adjacency * between).sum(1) / adjacency.sum(1).clamp(min=1)


@pytest.mark.parametrize("kind", ["norm2", "cos"])
@pytest.mark.parametrize("name", GRAPHS)
def test_neighbour_pattern_is_its_definition(name: str, kind: Any) -> None:
    graph = GRAPHS[name]
    x, edge_index = torch.randn(len(graph), 3, dtype=DOUBLE), from_networkx(graph).edge_index
    expected = dense(x, torch.from_numpy(nx.to_numpy_array(graph, weight=None)), kind)
    torch.testing.assert_close(neighbour_pattern(x, edge_index, kind), expected)
    one_way = edge_index[:, edge_index[0] < edge_index[1]]  # both directions are put back
    torch.testing.assert_close(neighbour_pattern(x, one_way, kind), expected)
    isolated = [node for node in graph if not graph.degree(node)]
    assert neighbour_pattern(x, edge_index, kind)[isolated].eq(0).all()


@pytest.mark.parametrize("kind", ["norm2", "cos"])
def test_directed_patterns_belong_to_the_source_and_count_repeated_edges(kind: Any, monkeypatch: Any) -> None:
    x = torch.randn(9, 4, dtype=DOUBLE)
    edge_index = torch.randint(0, 9, (2, 40))
    expected = dense(x, to_dense_adj(edge_index, max_num_nodes=9)[0].double(), kind)
    torch.testing.assert_close(neighbour_pattern(x, edge_index, kind, directed=True), expected)
    monkeypatch.setattr(module, "_CHUNK", 12)  # three edges at a time
    torch.testing.assert_close(neighbour_pattern(x, edge_index, kind, directed=True), expected)


def test_a_pattern_moves_with_its_node_and_needs_no_edge() -> None:
    x, edge_index, order = torch.randn(20, 3), torch.randint(0, 20, (2, 50)), torch.randperm(20)
    place = order.argsort()  # node i is now number place[i]
    before, after = neighbour_pattern(x, edge_index), neighbour_pattern(x[order], place[edge_index])
    torch.testing.assert_close(after, before[order])
    assert torch.equal(neighbour_pattern(x, edge_index[:, :0]), torch.zeros(20))


# --- quantiles -------------------------------------------------------------------------------------------------------


def sizes(values: list[Any], count: int) -> list[int]:
    numbers = torch.tensor(values)
    return torch.bucketize(numbers.double(), quantile_cuts(numbers, count)).bincount().tolist()


@pytest.mark.parametrize(
    ("values", "count", "expected"),
    [
        (range(8), 4, [2, 2, 2, 2]),
        (range(10), 3, [3, 4, 3]),
        ([5, 1, 4, 2, 3, 0], 2, [3, 3]),
        (range(5), 1, [5]),
        (range(3), 3, [1, 1, 1]),
        (range(3), 8, [1, 1, 1]),  # fewer values than environments
        ([1, 1, 1, 1, 1, 1, 2, 3], 2, [6, 2]),  # no cut among equal values
        ([1] * 6 + [2, 3], 4, [6, 2]),
        ([7] * 5, 4, [5]),
        ([0.1, 0.1 + 1e-8, 0.2, 0.2 - 1e-8], 4, [2, 2]),  # rounding is no difference
        ([1000000, 1000001], 2, [1, 1]),  # of whole numbers 1 is
    ],
)
def test_quantiles(values: Any, count: int, expected: list[int]) -> None:
    assert sizes(list(values), count) == expected


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_no_environment_is_empty_and_without_ties_all_are_alike(count: int) -> None:
    found = sizes(torch.randn(101).tolist(), count)
    assert len(found) == count
    assert max(found) - min(found) <= 1
    for seed in range(20):
        tied = torch.randint(0, 6, (40,), generator=torch.Generator().manual_seed(seed)).tolist()
        assert min(sizes(tied, count)) > 0


# --- rows ------------------------------------------------------------------------------------------------------------


def bundle_of(data: Any, train: Tensor, task: str = "node", **card: Any) -> tuple[Bundle, Task]:
    content = {
        "name": "toy",
        "summary": "made for tests",
        "family": "tests",
        "loader": "none.none",
        "task": task,
        "num_outputs": 2,
        "counts": {"nodes": 1, "features": 1},
        "protocols": {"only": {"summary": "-", "splits": 1, "metric": "accuracy"}},
        "default_protocol": "only",
    }
    rest = torch.empty(0, dtype=torch.int64)
    bundle = Bundle(DatasetCard.model_validate(content | card), "only", data, [Split(0, train, rest, rest)], "digest")
    return bundle, create_task(task, "multiclass", "accuracy")


def collection(num_nodes: list[int]) -> list[Data]:
    """Return cycles of so many nodes, whose ``domain`` is 5 times the parity of their number."""
    graphs = []
    for i, size in enumerate(num_nodes):
        graph = from_networkx(nx.cycle_graph(size))
        graph.x, graph.y = torch.randn(size, 2), torch.tensor([i % 2])
        graph.domain = torch.tensor([5 * (i % 2)])
        graphs.append(graph)
    return graphs


def seen(environments: Environments, bundle: Bundle, task: Task, batch_size: int) -> list[tuple[int, int]]:
    """Return number of nodes and environment of every training graph, in mini-batches of some order."""
    (split,) = bundle.splits
    batches = task.loader(bundle, split, "train", batch_size, 3)
    return [
        pair for b in batches for pair in zip(b.data.ptr.diff().tolist(), environments(b).tolist(), strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize("by", [None, "nodes", "edges", "density"])
def test_graphs_by_size_from_training_graphs_alone(by: str | None) -> None:
    number = [3, 4, 5, 6, 7, 8, 9, 10, 300, 400]
    bundle, task = bundle_of(collection(number), torch.arange(8), "graph")
    environments = Environments(bundle, task, 2, by)
    assert (environments.count, environments.sizes.tolist()) == (2, [4, 4])
    flipped = by == "density"  # of cycles the smallest are the densest
    for size, environment in seen(environments, bundle, task, 3):
        assert environment == int(size > 6) ^ flipped
    (large,) = task.loader(bundle, Split(0, torch.tensor([8, 9]), *[torch.empty(0)] * 2), "train", 2)
    assert environments(large).tolist() == [int(not flipped)] * 2


def test_ties_are_told() -> None:
    bundle, task = bundle_of(collection([4] * 6 + [5, 6]), torch.arange(8), "graph")
    with pytest.warns(UserWarning, match=r"^2 of the 4 environments .* toy@only are equal by nodes \(strategy.by\)"):
        assert Environments(bundle, task, 4).sizes.tolist() == [6, 2]
    with warnings.catch_warnings(action="error"):
        assert Environments(bundle, task, 2).count == 2
        assert Environments(bundle, task, 9, "domain").sizes.tolist() == [4, 4]  # as many as there are values


def test_graphs_by_an_attribute() -> None:
    bundle, task = bundle_of(collection(list(range(3, 13))), torch.arange(8), "graph")
    environments = Environments(bundle, task, 4, "domain")
    assert environments.count == 2
    for size, environment in seen(environments, bundle, task, 3):
        assert environment == (size - 3) % 2


def two_kinds() -> Data:
    """Return a path whose first half has equal features on all nodes, and whose second half has not."""
    data = from_networkx(nx.path_graph(20))
    data.x = torch.ones(20, 1)
    data.x[10:] = torch.arange(10.0)[:, None] ** 2
    data.y = torch.arange(20) % 2
    data.region = 7 * (torch.arange(20) % 3)
    data.flag, data.weight = data.y == 0, torch.rand(20)
    return data


def test_nodes_by_pattern_degree_and_attribute() -> None:
    data = two_kinds()
    bundle, task = bundle_of(data, torch.arange(0, 20, 2))
    batch = Batch(data, torch.tensor([0, 1, 2, 3, 15, 16, 17, 18]))
    assert Environments(bundle, task, 2)(batch).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    by_degree = Environments(bundle, task, 2, "degree")
    assert (by_degree(batch).tolist(), by_degree.sizes.tolist()) == ([0, *[1] * 7], [1, 9])
    assert Environments(bundle, task, 2, "region")(batch).tolist() == [0, 1, 2, 0, 0, 1, 2, 0]


def test_nodes_of_many_graphs_and_of_hypergraphs() -> None:
    graphs = collection([5, 6, 7])
    for graph in graphs:
        graph.y, graph.side = torch.ones(graph.num_nodes, dtype=torch.int64), torch.arange(graph.num_nodes) % 2
        graph.y[0] = -1  # seen, not scored
        graph.edge_index = torch.cat([graph.edge_index, torch.tensor([[2], [1]])], dim=1)
    bundle, task = bundle_of(graphs, torch.arange(3), "inductive-node")
    batches = list(task.loader(bundle, bundle.splits[0], "train", 3))
    assert Environments(bundle, task, 2, "degree").sizes.tolist() == [12, 3]
    assert Environments(bundle, task, 2, "side")(batches[0]).bincount().tolist() == [2 + 2 + 3, 2 + 3 + 3]
    index = torch.tensor([[0, 1, 2, 2, 3, 2], [0, 0, 0, 1, 1, 2]])
    data = HypergraphData(x=torch.ones(4, 1), hyperedge_index=index, num_hyperedges=3, y=torch.zeros(4).long())
    bundle, task = bundle_of(data, torch.arange(4), structure="hypergraph")
    assert Environments(bundle, task, 2)(Batch(data)).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("regoin", "did you mean 'region'?"),
        ("y", "choose from: degree, neighbour-pattern, region"),  # labels make no environment
        ("flag", "choose from: degree, neighbour-pattern, region"),
        ("weight", "choose from: degree, neighbour-pattern, region"),
        ("nodes", "choose from: degree, neighbour-pattern, region"),  # of graphs
    ],
)
def test_what_nodes_cannot_be_grouped_by(by: str, message: str) -> None:
    bundle, task = bundle_of(two_kinds(), torch.arange(10))
    with pytest.raises(ConfigError) as caught:
        Environments(bundle, task, 2, by)
    assert str(caught.value) == f"strategy.by={by}: toy@only has no such whole number for each node; {message}"


def test_an_attribute_of_some_graphs_only() -> None:
    graphs = collection([3, 4, 5])
    del graphs[1].domain
    bundle, task = bundle_of(graphs, torch.arange(3), "graph")
    with pytest.raises(
        ConfigError, match=r"strategy\.by=domain: .* for each graph; choose from: density, edges, nodes"
    ):
        Environments(bundle, task, 2, "domain")
    bundle, task = bundle_of(graphs, torch.tensor([0, 2]), "graph")
    assert Environments(bundle, task, 2, "domain").count == 1


def test_rows_without_their_graph() -> None:
    data = two_kinds()
    data.separate_rows = True
    bundle, task = bundle_of(data, torch.arange(10))
    with pytest.raises(ConfigError, match=r"strategy\.by=neighbour-pattern: the rows come in mini-batches"):
        Environments(bundle, task, 2)
    environments = Environments(bundle, task, 2, "region")
    for batch in task.loader(bundle, bundle.splits[0], "train", 4, 1):
        assert torch.equal(environments(batch), batch.data.region // 7)

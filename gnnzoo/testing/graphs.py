"""Tiny graphs on which a model is checked in milliseconds; both directions of every edge are listed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from gnnzoo.datasets import HypergraphData

__all__ = [
    "NUM_CLASSES",
    "NUM_FEATURES",
    "bipartite",
    "duplicate_edges",
    "empty_edges",
    "graph",
    "graphs",
    "hetero",
    "hypergraph",
    "incidences",
    "path",
    "self_loops",
    "single_node",
    "star",
    "triangle_with_isolated",
    "two_components",
]

NUM_FEATURES = 6
NUM_CLASSES = 3


def graph(edges: Iterable[tuple[int, int]], num_nodes: int, num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return an undirected graph with normal features and classes in blocks: ``0, 0, 0, 1, 1, 1, 2, 2``.

    Args:
        edges: each edge once, as ``(source, target)``.
        num_nodes: number of nodes.
        num_features: width of ``x``.
        seed: of the features.
    """
    directed = sorted({pair for u, v in edges for pair in ((u, v), (v, u))})
    generator = torch.Generator().manual_seed(seed)
    return Data(
        x=torch.randn(num_nodes, num_features, generator=generator),
        edge_index=torch.tensor(directed, dtype=torch.int64).view(-1, 2).t().contiguous(),
        y=torch.arange(num_nodes) * NUM_CLASSES // num_nodes,
    )


def path(num_nodes: int = 8, num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return a path."""
    return graph([(i, i + 1) for i in range(num_nodes - 1)], num_nodes, num_features, seed)


def star(num_leaves: int = 5, num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return a star with its centre at node 0."""
    return graph([(0, leaf + 1) for leaf in range(num_leaves)], num_leaves + 1, num_features, seed)


def triangle_with_isolated(num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return a triangle and a node without edges (the last)."""
    return graph([(0, 1), (1, 2), (0, 2)], 4, num_features, seed)


def two_components(num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return a triangle and a path of three nodes."""
    return graph([(0, 1), (1, 2), (0, 2), (3, 4), (4, 5)], 6, num_features, seed)


def bipartite(num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return the complete bipartite graph of 3 and 4 nodes."""
    return graph([(u, 3 + v) for u in range(3) for v in range(4)], 7, num_features, seed)


def empty_edges(num_nodes: int = 4, num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return nodes without any edge."""
    return graph([], num_nodes, num_features, seed)


def single_node(num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return one node."""
    return graph([], 1, num_features, seed)


def duplicate_edges(num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return a path in which every edge is listed twice."""
    data = path(5, num_features, seed)
    data.edge_index = torch.cat([data.edge_index, data.edge_index], dim=1)
    return data


def self_loops(num_features: int = NUM_FEATURES, seed: int = 0) -> Data:
    """Return a path in which nodes 1 and 3 have a loop."""
    data = path(5, num_features, seed)
    data.edge_index = torch.cat([data.edge_index, torch.tensor([[1, 3], [1, 3]])], dim=1)
    return data


def graphs(num_features: int = NUM_FEATURES, seed: int = 0) -> list[Data]:
    """Return four graphs, labelled ``0, 1, 0, 1`` (``y`` of shape ``[1]``)."""
    found = [
        path(4, num_features, seed),
        triangle_with_isolated(num_features, seed + 1),
        star(4, num_features, seed + 2),
        two_components(num_features, seed + 3),
    ]
    for label, data in enumerate(found):
        data.y = torch.tensor([label % 2])
    return found


def hetero(num_features: int = NUM_FEATURES, seed: int = 0) -> HeteroData:
    """Return five labelled papers and three authors, with relations in both directions."""
    generator = torch.Generator().manual_seed(seed)
    writes = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 3, 4]])
    data = HeteroData()
    data["paper"].x = torch.randn(5, num_features, generator=generator)
    data["paper"].y = torch.arange(5) % NUM_CLASSES
    data["author"].x = torch.randn(3, num_features, generator=generator)
    data["author", "writes", "paper"].edge_index = writes
    data["paper", "written_by", "author"].edge_index = writes.flip(0)
    return data


def hypergraph(num_features: int = NUM_FEATURES, seed: int = 0) -> HypergraphData:
    """Return six nodes in three hyperedges (of sizes 3, 2 and 3); the last node is in none."""
    generator = torch.Generator().manual_seed(seed)
    incidence: Tensor = torch.tensor([[0, 1, 2, 2, 3, 0, 3, 4], [0, 0, 0, 1, 1, 2, 2, 2]])
    return HypergraphData(
        x=torch.randn(6, num_features, generator=generator),
        hyperedge_index=incidence,
        y=torch.arange(6) % NUM_CLASSES,
    )


def incidences(num_features: int = NUM_FEATURES, seed: int = 0) -> HypergraphData:
    """Return :func:`hypergraph` with a label for each incidence, and four numbers beside it, ``order_pe``."""
    data = hypergraph(num_features, seed)
    count = data.hyperedge_index.size(1)
    data.y = torch.arange(count) % NUM_CLASSES
    data.order_pe = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed))
    return data

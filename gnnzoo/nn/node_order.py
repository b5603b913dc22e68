"""In which order the nodes of a graph become a sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from gnnzoo.nn.sequences import NodeSequences, sort_nodes
from gnnzoo.ops import Adjacency, cached, spmm

__all__ = ["Key", "Ties", "apply_in_order", "node_key", "node_orders"]

Key = Literal["degree", "pagerank", "index"]
Ties = Literal["random", "average", "index"]

DRAWS = 5
"""Orders whose outputs are averaged in evaluation, as arXiv 2402.00789 does."""


def node_key(edge_index: Tensor, num_nodes: int, key: Key = "degree") -> Tensor:
    """Return what nodes are sorted by, small to large, ``[num_nodes]`` float64; once per graph.

    Args:
        edge_index: ``[2, num_edges]``.
        num_nodes: number of nodes.
        key: ``degree``: how many edges leave a node; ``pagerank`` with restart probability 0.15, in multiples of the
            mean; ``index``: nothing, so that the nodes' own order stays.
    """
    build = {"degree": _degree, "pagerank": _pagerank, "index": lambda edges, n: edges.new_zeros(n).double()}[key]
    return cached(edge_index, ("node_key", num_nodes, key), lambda: build(_plain(edge_index), num_nodes))


def _plain(edge_index: Tensor) -> Tensor:
    return edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index


def _degree(edge_index: Tensor, num_nodes: int) -> Tensor:
    return torch.bincount(edge_index[0], minlength=num_nodes).double()


def _pagerank(edge_index: Tensor, num_nodes: int) -> Tensor:
    degree = _degree(edge_index, num_nodes).clamp_(min=1)
    walk = Adjacency(edge_index, num_nodes, (1 / degree)[edge_index[0]])
    rank = torch.ones(num_nodes, dtype=torch.float64, device=edge_index.device)
    for _ in range(100):  # .85 ** 100 is below 1e-7
        rank = 0.85 * spmm(walk, rank) + 0.15
    return (rank / rank.mean() * 1e6).round()  # so that the order of summation breaks no tie


def node_orders(
    key: Tensor,
    batch: Tensor | None = None,
    num_graphs: int | None = None,
    ties: Ties = "random",
    training: bool = False,
    buckets: int = 1,
) -> list[NodeSequences]:
    """Return the sequences of nodes over which a model runs, and averages.

    Args:
        key: ``[num_nodes]``, whole numbers.
        batch: ``[num_nodes]``, the graph of each node, ascending; default: all nodes are of one graph.
        num_graphs: number of graphs.
        ties: what decides between equal keys: ``random``: random numbers, in evaluation always the same ones;
            ``average``: the same, but in evaluation there are five draws; ``index``: the nodes' own order.
        training: whether to draw.
        buckets: every graph becomes so many sequences, among which its nodes are distributed at random.

    In evaluation, what is drawn for a node depends on its place in its graph alone, not on the rest of the batch.
    """
    if ties == "index" and buckets == 1:
        return [sort_nodes(key, batch, num_graphs)]
    draws = DRAWS if ties == "average" and not training else 1
    place = None if training else _place(key, batch)
    orders = []
    for draw in range(draws):
        random = _random(key, place, draw)
        noisy = key if ties == "index" else key + random()
        if buckets == 1:
            orders.append(sort_nodes(noisy, batch, num_graphs))
            continue
        bucket = (random() * buckets).long()
        graph = bucket if batch is None else batch * buckets + bucket
        orders.append(sort_nodes(noisy, graph, (1 if num_graphs is None else num_graphs) * buckets))
    return orders


def _place(key: Tensor, batch: Tensor | None) -> Tensor:
    """Return the place of each node in its graph."""
    place = torch.arange(key.numel(), device=key.device)
    if batch is None:
        return place
    size = torch.bincount(batch)
    return place - (size.cumsum(0) - size)[batch]


def _random(key: Tensor, place: Tensor | None, draw: int) -> Callable[[], Tensor]:
    """Return what draws numbers in [0, 1) for the nodes: from the global generator, or fixed ones by ``place``."""
    if place is None:
        return lambda: torch.rand_like(key)
    generator = torch.Generator().manual_seed(draw)
    longest = 1 + int(place.max()) if place.numel() else 0
    table = torch.rand(longest, 2, generator=generator, dtype=key.dtype).to(key.device)
    columns = iter(table.unbind(1))
    return lambda: next(columns)[place]


def apply_in_order(layer: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, orders: list[NodeSequences]) -> Tensor:
    """Return the mean over the orders of what a layer makes of the nodes as sequences, ``[num_nodes, channels]``.

    Args:
        layer: maps ``[num_graphs, longest, channels]`` and the lengths (None where all are full) to sequences.
        x: ``[num_nodes, channels]``.
        orders: of :func:`node_orders`.
    """
    if not x.size(0):
        return x
    results = []
    for order in orders:
        lengths = None if order.lengths.numel() == 1 else order.lengths
        results.append(order.unpack(layer(order.pack(x), lengths)))
    return torch.stack(results).mean(0) if len(results) > 1 else results[0]

"""Balls: the neighborhoods of all nodes as subgraphs, and the pairs of nodes that lie in them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.ops.structure import check_edge_index

__all__ = ["Balls", "EgoBalls", "ego_balls", "normalized_adjacency", "spread"]

_MOST_ENTRIES = 1 << 27
"""Pairs, counted once for each ball that they are in, of one graph: a gibibyte of memory."""


class Balls(NamedTuple):
    """The balls of a graph: see :class:`EgoBalls`."""

    ball_index: Tensor
    ball_pair: Tensor
    pair_index: Tensor
    pair_weight: Tensor


class EgoBalls(BaseTransform):
    r"""Add the ball around every node, :math:`S_v = \{u : (A^k)_{vu} > 0\}`, and the pairs of nodes in these balls.

    With ``include_center`` every node has a loop for this purpose, and :math:`S_v` are all nodes within ``hops`` steps,
    v too. Without, it is where walks of exactly ``hops`` steps end: for one step, the neighbors of v, among which v is
    only where it has a loop. Edges leave ``edge_index[0]``; repeated ones count once.

    Args:
        hops: k.
        include_center: closed balls instead of open ones.

    Shapes:
        - **added:** ``ball_index`` ``[2, num_members]``: members and whose ball it is, sorted by that and member;
          ``pair_index`` ``[2, num_pairs]``: all pairs that are in some ball, sorted; ``pair_weight`` ``[num_pairs]``:
          :math:`D^{-1/2} A D^{-1/2}` there, without loops of our own; ``ball_pair`` ``[sum of squared sizes]``: for
          ball by ball the pair behind each entry, row by row. They can be batched; ``ball_pair`` then still counts
          the pairs of its own graph.

    Raises:
        ConfigError: ``hops`` below 1.
        DataError: the balls of a graph are too large to be listed.
    """

    def __init__(self, hops: int = 1, include_center: bool = True) -> None:
        self.hops, self.include_center = hops, include_center

    def forward(self, data: Data) -> Data:
        """Add the balls of one graph."""
        found = ego_balls(data.edge_index, data.num_nodes, self.hops, self.include_center)
        for name, value in zip(Balls._fields, found, strict=True):
            data[name] = value
        return data


def ego_balls(edge_index: Tensor, num_nodes: int, hops: int = 1, include_center: bool = True) -> Balls:
    """Return the balls of a graph: see :class:`EgoBalls`.

    Args:
        edge_index: ``[2, num_edges]`` tensor or ``EdgeIndex``.
        num_nodes: number of nodes.
        hops: k.
        include_center: closed balls instead of open ones.
    """
    if hops < 1:
        raise ConfigError(f"hops={hops}: balls have a radius of at least 1")
    edge_index = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
    check_edge_index(edge_index, num_nodes)
    n = num_nodes
    edges = (edge_index[0] * n + edge_index[1]).unique()
    loops = torch.arange(n, device=edges.device) * (n + 1)
    key = steps = torch.cat([edges, loops]).unique() if include_center else edges
    rowptr = torch.searchsorted(steps, torch.arange(n + 1, device=edges.device) * n)
    for _ in range(hops - 1):
        owner, member = key // n, key % n
        count = rowptr.diff()[member]
        key = (owner.repeat_interleave(count) * n + steps[spread(rowptr[member], count)] % n).unique()
    owner, member = key // n, key % n
    size = torch.bincount(owner, minlength=n)
    total = int(size.square().sum())
    if total > _MOST_ENTRIES:
        raise DataError(f"the balls of this graph hold {total} pairs, more than {_MOST_ENTRIES}: they are too large")
    # each member as the first of a pair meets the members of its ball, whose first stands at begin
    begin, count = (size.cumsum(0) - size)[owner], size[owner]
    first, second = member.repeat_interleave(count), member[spread(begin, count)]
    pairs, entry = (first * n + second).unique(return_inverse=True)
    pair_index = torch.stack([pairs // n, pairs % n])
    return Balls(torch.stack([member, owner]), entry, pair_index, normalized_adjacency(edge_index, pair_index, n))


def normalized_adjacency(edge_index: Tensor, pair_index: Tensor, num_nodes: int) -> Tensor:
    r"""Return :math:`D^{-1/2} A D^{-1/2}` at given pairs, ``[num_pairs]``; 0 where there is no edge.

    Args:
        edge_index: ``[2, num_edges]``; repeated edges count once.
        pair_index: ``[2, num_pairs]``.
        num_nodes: number of nodes.
    """
    edges, pairs = (index[0] * num_nodes + index[1] for index in (edge_index, pair_index))
    edges = edges.unique()
    degree = torch.bincount(edges // num_nodes, minlength=num_nodes).double()
    root = torch.where(degree > 0, degree, torch.inf).rsqrt()
    weight = torch.where(torch.isin(pairs, edges), root[pair_index[0]] * root[pair_index[1]], 0.0)
    return weight.to(torch.get_default_dtype())


def spread(begin: Tensor, count: Tensor) -> Tensor:
    """Return the numbers ``begin[i], ..., begin[i] + count[i] - 1`` for one ``i`` after the other."""
    shift = (begin - count.cumsum(0) + count).repeat_interleave(count)
    return torch.arange(shift.numel(), device=shift.device) + shift

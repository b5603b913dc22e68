"""The symmetric propagation matrix in the form in which its entries can be weighted anew."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gnnzoo.ops import Adjacency, cached, gcn_norm

__all__ = ["Propagation", "propagation"]


class Propagation(NamedTuple):
    """A graph and the weights of its edges, both in the order of the matrix's entries."""

    graph: Adjacency
    weight: Tensor


def propagation(
    edge_index: Tensor, num_nodes: int, dtype: torch.dtype = torch.float32, add_self_loops: bool = True
) -> Propagation:
    r"""Return :func:`gnnzoo.ops.gcn_norm`, its edges in the order of the entries; once per graph.

    ``spmm(graph, x, weight * coefficients)`` then needs no reordering, with ``coefficients`` of the edges
    ``graph.col -> graph.row``.

    Args:
        edge_index: ``[2, num_edges]``.
        num_nodes: number of nodes.
        dtype: of the weights.
        add_self_loops: whether nodes without a self-loop get one.
    """

    def build() -> Propagation:
        adj = gcn_norm(edge_index, num_nodes, add_self_loops=add_self_loops, dtype=dtype)
        weight = torch.ones_like(adj.row, dtype=dtype) if adj.weight is None else adj.weight
        return Propagation(Adjacency(torch.stack([adj.col.to(torch.int64), adj.row]), num_nodes, weight), weight)

    return cached(edge_index, ("propagation", num_nodes, dtype, add_self_loops), build)

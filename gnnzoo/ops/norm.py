"""Normalisations of the adjacency matrix that are computed once per graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.utils import add_remaining_self_loops

from gnnzoo.ops.cache import cached
from gnnzoo.ops.structure import Adjacency, check_edge_index

__all__ = ["gcn_norm"]


def gcn_norm(
    edge_index: Tensor,
    num_nodes: int,
    edge_weight: Tensor | None = None,
    add_self_loops: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Adjacency:
    r"""Symmetric normalisation :math:`\hat A = \tilde D^{-1/2} (A + I) \tilde D^{-1/2}` of Kipf and Welling.

    ``spmm(gcn_norm(edge_index, num_nodes), x)`` is :math:`\hat A x`. Nodes that already have a self-loop keep its
    weight (PyG's ``add_remaining_self_loops``); :math:`\tilde D` sums the incoming weights. Without ``edge_weight``
    the result is cached per graph; with it, gradients flow to the weights.

    Args:
        edge_index: ``[2, num_edges]`` tensor or ``EdgeIndex``.
        num_nodes: Number of nodes.
        edge_weight: ``[num_edges]``, default ones.
        add_self_loops: Whether nodes without a self-loop get one of weight 1.
        dtype: Type of the weights if ``edge_weight`` is not given.

    Returns:
        The adjacency with its weights, to be passed to :func:`spmm`.
    """
    if edge_weight is not None:
        return _normalize(edge_index, num_nodes, edge_weight.reshape(-1), add_self_loops)
    key = ("gcn_norm", num_nodes, add_self_loops, dtype)
    return cached(edge_index, key, lambda: _normalize(edge_index, num_nodes, None, add_self_loops, dtype))


def _normalize(
    edge_index: Tensor,
    num_nodes: int,
    weight: Tensor | None,
    add_self_loops: bool,
    dtype: torch.dtype = torch.float32,
) -> Adjacency:
    edge_index = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
    check_edge_index(edge_index, num_nodes)
    if weight is None:
        weight = torch.ones(edge_index.size(1), dtype=dtype, device=edge_index.device)
    if add_self_loops:
        edge_index, weight = add_remaining_self_loops(edge_index, weight, 1.0, num_nodes)
    src, dst = edge_index
    degree = weight.new_zeros(num_nodes).index_add(0, dst, weight)
    scale = torch.where(degree > 0, degree, torch.inf).rsqrt()
    return Adjacency(edge_index, num_nodes, scale[src] * weight * scale[dst])

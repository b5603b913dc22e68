"""Sparse times dense, with gradients for both."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gnnzoo.errors import DataError
from gnnzoo.ops.structure import Adjacency, adjacency

__all__ = ["sddmm", "spmm"]


def spmm(
    graph: Tensor | Adjacency, x: Tensor, edge_weight: Tensor | None = None, num_nodes: int | None = None
) -> Tensor:
    r"""Sum weighted messages: :math:`y_v = \sum_{e = (u \to v)} w_e x_u`.

    One CSR product forward and one with the cached transpose backward; the gradient of the weights is a sampled
    dense-dense product. No ``[num_edges, channels]`` tensor is ever made. Duplicate edges add up, nodes without
    incoming edges get zero. Differentiable once.

    Args:
        graph: ``edge_index`` ``[2, num_edges]`` (tensor or ``EdgeIndex``), or an :class:`Adjacency` (of
            :func:`adjacency` or :func:`gcn_norm`).
        x: Node features ``[num_nodes, ...]``.
        edge_weight: ``[num_edges]`` in the order of the edges; default: the weights of ``graph``, else ones.
        num_nodes: Number of nodes, to be checked against ``x``.

    Returns:
        Tensor of the shape of ``x``.

    Raises:
        DataError: If the shapes do not fit each other.
    """
    if num_nodes is not None and num_nodes != x.size(0):
        raise DataError(f"x has {x.size(0)} rows, but num_nodes is {num_nodes}")
    adj = graph if isinstance(graph, Adjacency) else adjacency(graph, x.size(0))
    if x.size(0) != adj.num_nodes:
        raise DataError(f"x has {x.size(0)} rows, but the graph has {adj.num_nodes} nodes")
    perm = None if edge_weight is None else adj.perm
    weight = adj.weight if edge_weight is None else edge_weight
    if weight is not None and weight.numel() != adj.num_edges:
        raise DataError(f"edge_weight has {weight.numel()} entries, but the graph has {adj.num_edges} edges")
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32  # what CSR kernels exist for
    if weight is not None and (edge_weight is not None or weight.requires_grad):
        weight = weight.reshape(-1).to(dtype)
    else:
        weight = None  # constant: the matrix is kept by the adjacency
    flat = (x.unsqueeze(1) if x.dim() == 1 else x.flatten(1)).to(dtype)
    return _SpMM.apply(flat, weight, adj, perm).view(x.shape).to(x.dtype)


def sddmm(rowptr: Tensor, col: Tensor, left: Tensor, right: Tensor) -> Tensor:
    r"""Sampled product: :math:`\langle a_i, b_j \rangle` for each entry :math:`(i, j)` of a CSR pattern.

    Args:
        rowptr: ``[num_rows + 1]``.
        col: ``[num_entries]``.
        left: :math:`a`, ``[num_rows, channels]``.
        right: :math:`b`, ``[num_cols, channels]``.

    Returns:
        ``[num_entries]``, in the order of the entries.
    """
    if col.numel() == 0 or left.size(1) == 0:
        return left.new_zeros(col.numel())
    # The CPU kernel runs several times faster over whole vectors (7 columns cost more than 64).
    padding = -left.size(1) % 16
    if padding and left.device.type == "cpu":
        left, right = F.pad(left, (0, padding)), F.pad(right, (0, padding))
    value = left.new_zeros(col.numel())
    pattern = torch.sparse_csr_tensor(rowptr, col, value, (left.size(0), right.size(0)), check_invariants=False)
    return torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0.0).values()


class _SpMM(torch.autograd.Function):
    """``A @ x`` for a dense ``x`` and the entries of ``A``; ``perm`` leads from edges to entries."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, adj: Adjacency, perm: Tensor | None) -> Tensor:
        ctx.adj, ctx.perm = adj, perm
        value = weight if weight is None or perm is None else weight.index_select(0, perm)
        needs_x, needs_weight = ctx.needs_input_grad[:2]
        ctx.save_for_backward(x if needs_weight else None, value if needs_x else None)
        if adj.num_edges == 0 or x.numel() == 0:
            return torch.zeros_like(x)
        return (adj.constant(x.dtype) if value is None else adj.csr(value)) @ x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        adj, perm = ctx.adj, ctx.perm
        x, value = ctx.saved_tensors
        grad_x = grad_weight = None
        if adj.num_edges == 0 or grad.numel() == 0:
            grad_x = torch.zeros_like(grad) if ctx.needs_input_grad[0] else None
            grad_weight = grad.new_zeros(adj.num_edges) if ctx.needs_input_grad[1] else None
            return grad_x, grad_weight, None, None
        if ctx.needs_input_grad[0]:
            matrix = adj.constant(grad.dtype, transpose=True) if value is None else adj.csr(value, transpose=True)
            grad_x = matrix @ grad
        if ctx.needs_input_grad[1]:
            entries = sddmm(adj.rowptr, adj.col, grad, x)
            grad_weight = entries if perm is None else torch.empty_like(entries).index_copy_(0, perm, entries)
        return grad_x, grad_weight, None, None

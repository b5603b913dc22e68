"""GatedGCN: every channel of every message has its own gate, and the gates of a node are normalized by their sum."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch_geometric.nn import BatchNorm

from gnnzoo.errors import DataError
from gnnzoo.ops import Adjacency, adjacency, cached, dropout
from gnnzoo.ops.structure import csr_tensor

__all__ = ["EPS", "GatedGCNConv", "gated_sum"]

EPS = 1e-6
"""Added to the sum of a node's gates."""

BLOCK_BYTES = 2**20
"""Size of one buffer of messages on a CPU; elsewhere, blocks are large enough to fill the device."""


class GatedGCNConv(nn.Module):
    r"""The residual gated layer of `"Residual Gated Graph ConvNets" <https://arxiv.org/abs/1711.07553>`_ with edge
    features and normalized gates, as in `"Benchmarking Graph Neural Networks" <https://arxiv.org/abs/2003.00982>`_.

    .. math::
        \hat e_{ij} = C e_{ij} + D h_i + E h_j, \quad
        \hat h_i = A h_i
        + \frac{\sum_{j \to i} \sigma(\hat e_{ij}) \odot B h_j}{\sum_{j \to i} \sigma(\hat e_{ij}) + \epsilon}

    .. math::
        h_i' = h_i + \mathrm{ReLU}(\mathrm{BN}(\hat h_i)), \quad
        e_{ij}' = e_{ij} + \mathrm{ReLU}(\mathrm{BN}(\hat e_{ij}))

    Without edge features the term :math:`C e_{ij}` is absent, and no ``[num_edges, channels]`` tensor is kept.

    Args:
        in_channels: width of the nodes.
        out_channels: width of nodes and edges behind the layer.
        edge_channels: width of the edges; None: they have no features.
        residual: add what came in, where the widths allow it (for nodes and edges each).
        batch_norm: normalize before the ReLU.
        dropout: behind the ReLU, on nodes and edges.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        edge_channels: int | None = None,
        residual: bool = True,
        batch_norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.edge_channels = in_channels, out_channels, edge_channels
        self.residual, self.dropout = residual, dropout
        self.lin = nn.Linear(in_channels, 4 * out_channels)  # D, A, E and B, one below the other
        self.norm = _norm(out_channels, batch_norm)
        self.lin_edge = self.norm_edge = None
        if edge_channels is not None:
            self.lin_edge = nn.Linear(edge_channels, out_channels)
            self.norm_edge = _norm(out_channels, batch_norm)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for module in (self.lin, self.norm, self.lin_edge, self.norm_edge):
            if module is not None:
                module.reset_parameters()

    def forward(
        self, x: Tensor, edge_index: Tensor | Adjacency, e: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return nodes ``[num_nodes, out_channels]`` and edges ``[num_edges, out_channels]`` (or None).

        Args:
            x: ``[num_nodes, in_channels]``.
            edge_index: ``[2, num_edges]`` or an ``Adjacency``; messages go from row 0 to row 1.
            e: ``[num_edges, edge_channels]``, in the order of ``edge_index``.

        Raises:
            DataError: ``e`` is missing, or given to a layer without edge features.
        """
        if (e is None) != (self.lin_edge is None):
            raise DataError(f"a GatedGCNConv with edge_channels={self.edge_channels} got {'no ' * (e is None)}e")
        adj = edge_index if isinstance(edge_index, Adjacency) else adjacency(edge_index, x.size(0))
        h = self.lin(x)
        query, own, sent = h.split([self.out_channels, self.out_channels, 2 * self.out_channels], dim=1)
        if e is None or self.lin_edge is None:
            return self.finish(own + gated_sum(query, sent, adj), x, self.norm), None
        perm = adj.perm
        logits = self.lin_edge(e)
        ordered = logits if perm is None else logits.index_select(0, perm)
        key, value = sent.index_select(0, adj.col).chunk(2, dim=1)
        ordered = ordered + query.index_select(0, adj.row) + key
        gate = ordered.sigmoid()
        sums = h.new_zeros(x.size(0), 2 * self.out_channels)
        total, norm = sums.index_add(0, adj.row, torch.cat([gate * value, gate], dim=1)).chunk(2, dim=1)
        x = self.finish(own + total / (norm + EPS), x, self.norm)
        logits = ordered if perm is None else torch.empty_like(ordered).index_copy(0, perm, ordered)
        return x, self.finish(logits, e, self.norm_edge)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, edge_channels={self.edge_channels})"

    def finish(self, out: Tensor, x: Tensor, norm: nn.Module | None) -> Tensor:
        """Normalize, activate, drop and add what came in."""
        out = out if norm is None else norm(out)
        out = dropout(out.relu(), self.dropout, self.training)
        return x + out if self.residual and x.shape == out.shape else out


def _norm(channels: int, batch_norm: bool) -> BatchNorm | None:
    # a lone node has no batch statistics: it is normalized by the running ones
    return BatchNorm(channels, allow_single_element=True) if batch_norm else None


def gated_sum(query: Tensor, sent: Tensor, adj: Adjacency) -> Tensor:
    r"""Return :math:`\sum_{j \to i} g_{ij} \odot b_j / (\sum_{j \to i} g_{ij} + \epsilon)`,
    :math:`g_{ij} = \sigma(q_i + k_j)`; 0 for nodes without incoming edges.

    Formed in blocks of edges, and again in the backward pass: no ``[num_edges, channels]`` tensor is kept.
    Differentiable once.

    Args:
        query: q, ``[num_nodes, channels]``.
        sent: k and b side by side, ``[num_nodes, 2 * channels]``.
        adj: the graph.
    """
    if adj.num_edges == 0 or query.numel() == 0:
        return query * 0 + (sent * 0).sum()  # zeros to which everything is connected, as with edges
    return _GatedSum.apply(query, sent, adj)


class _Block(NamedTuple):
    """Consecutive targets and their incoming edges; ``incidence`` ``[targets, edges]`` sums over the edges."""

    rows: slice
    edges: slice
    incidence: Tensor


class _GatedSum(torch.autograd.Function):
    """See :func:`gated_sum`."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, sent: Tensor, adj: Adjacency) -> Tensor:
        width = query.size(1)
        sums = query.new_zeros(query.size(0), 2 * width)
        for block, gate, message in _gates(query, sent, adj):
            message[:, width:].mul_(gate)
            message[:, :width] = gate
            torch.mm(block.incidence, message, out=sums[block.rows])
        norm = sums[:, :width] + EPS
        out = sums[:, width:] / norm
        ctx.adj = adj
        ctx.save_for_backward(query, sent, norm, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        query, sent, norm, out = ctx.saved_tensors
        width = query.size(1)
        grad = grad / norm
        spread = torch.cat([grad, grad * out], dim=1)  # of a target's sum of messages, and (less) of its sum of gates
        d_query, d_sent = torch.zeros_like(query), sent.new_zeros(sent.shape)
        for block, gate, message in _gates(query, sent, ctx.adj):
            given = spread.index_select(0, ctx.adj.row[block.edges])
            dz = (given[:, :width] * message[:, width:]).sub_(given[:, width:])
            dz.mul_(gate).mul_(1 - gate)
            torch.mm(block.incidence, dz, out=d_query[block.rows])
            message[:, :width] = dz
            torch.mul(given[:, :width], gate, out=message[:, width:])
            d_sent.index_add_(0, ctx.adj.col[block.edges], message)
        return d_query, d_sent, None


def _gates(query: Tensor, sent: Tensor, adj: Adjacency) -> Iterator[tuple[_Block, Tensor, Tensor]]:
    """Yield the blocks with their gates ``[edges, channels]`` and what was sent, ``[edges, 2 * channels]``."""
    for block in _blocks(adj, query):
        message = sent.index_select(0, adj.col[block.edges])
        gate = query.index_select(0, adj.row[block.edges]).add_(message[:, : query.size(1)]).sigmoid_()
        yield block, gate, message


def _blocks(adj: Adjacency, like: Tensor) -> list[_Block]:
    """Return all targets that have edges, in blocks of about ``BLOCK_BYTES``; built once per graph and width."""
    room = BLOCK_BYTES if like.device.type == "cpu" else 2**8 * BLOCK_BYTES
    size = max(1, room // max(1, like.size(1) * like.element_size()))
    return cached(adj.rowptr, ("gated_blocks", size, like.dtype), lambda: _build_blocks(adj, size, like.dtype))


def _build_blocks(adj: Adjacency, size: int, dtype: torch.dtype) -> list[_Block]:
    starts = torch.arange(0, adj.num_edges + 1, size, dtype=adj.rowptr.dtype, device=adj.rowptr.device)
    rows = torch.searchsorted(adj.rowptr, starts, right=True) - 1
    rows = torch.cat([rows.clamp_(min=0), rows.new_tensor([0, adj.num_nodes])]).unique()
    blocks = []
    for (first, last), (begin, end) in zip(pairwise(rows.tolist()), pairwise(adj.rowptr[rows].tolist()), strict=True):
        if begin == end:
            continue  # nodes without incoming edges
        pointer = adj.rowptr[first : last + 1] - begin
        column = torch.arange(end - begin, dtype=pointer.dtype, device=pointer.device)
        value = torch.ones(end - begin, dtype=dtype, device=pointer.device)
        incidence = csr_tensor(pointer, column, value, (last - first, end - begin))
        blocks.append(_Block(slice(first, last), slice(begin, end), incidence))
    return blocks

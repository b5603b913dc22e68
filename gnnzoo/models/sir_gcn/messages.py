"""Messages that are never all there: formed, activated and aggregated in blocks that fit into a core's cache.

The sum over the edges into a target of an activation of target plus source (plus edge) is one differentiable function
of what stands at the nodes. Targets are taken in blocks, the backward pass forms the messages again, and the factors of
``mean`` and ``sym`` are applied at the nodes or inside the sparse product that sums a block, never on the edges.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gnnzoo.ops import Adjacency, cached
from gnnzoo.ops.structure import csr_tensor

__all__ = [
    "aggregate",
    "max_of_messages",
    "max_of_neighbours",
    "source_factor",
    "sum_of_messages",
    "target_factor",
]

BLOCK_BYTES = 2**20
"""Size of one buffer of messages on a CPU; elsewhere, blocks are large enough to fill the device."""


class _Pointwise(NamedTuple):
    """An activation and its product with a gradient, both into a buffer."""

    forward: Callable[[nn.Module, Tensor, Tensor], Tensor]
    backward: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


def _tanh_backward(act: nn.Module, grad: Tensor, z: Tensor, out: Tensor) -> Tensor:
    return aten.tanh_backward.grad_input(grad, z.tanh_(), grad_input=out)


aten = torch.ops.aten
_POINTWISE: dict[type[nn.Module], _Pointwise] = {
    nn.Identity: _Pointwise(lambda act, z, out: z, lambda act, grad, z, out: grad),
    nn.ReLU: _Pointwise(
        lambda act, z, out: torch.clamp(z, min=0, out=out),
        lambda act, grad, z, out: aten.threshold_backward.grad_input(grad, z, 0, grad_input=out),
    ),
    nn.LeakyReLU: _Pointwise(
        lambda act, z, out: aten.leaky_relu.out(z, act.negative_slope, out=out),
        lambda act, grad, z, out: aten.leaky_relu_backward.grad_input(
            grad, z, act.negative_slope, False, grad_input=out
        ),
    ),
    nn.GELU: _Pointwise(
        lambda act, z, out: aten.gelu.out(z, approximate=act.approximate, out=out),
        lambda act, grad, z, out: aten.gelu_backward.grad_input(grad, z, approximate=act.approximate, grad_input=out),
    ),
    nn.Tanh: _Pointwise(lambda act, z, out: torch.tanh(z, out=out), _tanh_backward),
    nn.ELU: _Pointwise(
        lambda act, z, out: aten.elu.out(z, act.alpha, out=out),
        lambda act, grad, z, out: aten.elu_backward.grad_input(grad, act.alpha, 1, 1, False, z, grad_input=out),
    ),
}


class _Block(NamedTuple):
    """Consecutive targets and their incoming edges; ``incidence`` ``[targets, edges]`` sums over the edges."""

    rows: slice
    edges: slice
    incidence: Tensor


class _Messages(torch.autograd.Function):
    """Sum (or, with ``weight``, maximum of a linear function) of activated messages; differentiable once."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        edge: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        adj: Adjacency,
        act: nn.Module,
        source_scale: Tensor | None,
    ) -> Tensor:
        ctx.adj, ctx.act = adj, act
        form = _Former(query, key, edge, adj, act)
        blocks = _blocks(adj, query, source_scale)
        if weight is None:
            out = query.new_zeros(query.shape)
            for block in blocks:
                torch.mm(block.incidence, form.activated(form.sums(block)), out=out[block.rows])
            ctx.save_for_backward(query, key, edge, weight, bias, source_scale, None)
            return out
        lanes = query.size(1) // weight.size(1) * weight.size(0)
        out = query.new_zeros(query.size(0), lanes)
        winners = torch.empty(adj.num_edges, lanes, dtype=torch.bool, device=query.device)
        for block in blocks:
            sent = _linear(form.activated(form.sums(block)), weight, bias)
            target = form.local_rows(block).unsqueeze(1).expand_as(sent)
            best = out[block.rows].scatter_reduce_(0, target, sent, "amax", include_self=False)
            torch.eq(sent, best.gather(0, target), out=winners[block.edges])
        ctx.save_for_backward(query, key, edge, weight, bias, source_scale, winners)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, edge, weight, bias, source_scale, winners = ctx.saved_tensors
        grad = grad.contiguous()
        form = _Former(query, key, edge, ctx.adj, ctx.act)
        d_query, d_key = query.new_zeros(query.shape), key.new_zeros(key.shape)
        d_edge = torch.empty_like(edge) if edge is not None else None
        d_weight = torch.zeros_like(weight) if weight is not None else None
        d_bias = torch.zeros_like(bias) if bias is not None else None
        for block in _blocks(ctx.adj, query, source_scale):
            z, source = form.sums(block), form.col[block.edges]
            if d_weight is None:
                dz = form.differentiated(form.of_targets(grad, block), z)
            else:
                activated = form.activated(z).view(-1, weight.size(1))
                won = winners[block.edges].to(grad.dtype)
                share = grad[block.rows] / (block.incidence @ won).clamp_(min=1)  # ties share
                sent = won.mul_(share.index_select(0, form.local_rows(block))).view(-1, weight.size(0))
                d_weight.addmm_(sent.t(), activated)
                if d_bias is not None:
                    d_bias.add_(sent.sum(0))
                dz = form.differentiated((sent @ weight).view_as(z), z)
            torch.mm(block.incidence, dz, out=d_query[block.rows])
            d_key.index_add_(0, source, dz)
            if d_edge is not None:
                d_edge[block.edges] = dz if source_scale is None else dz * source_scale[source].unsqueeze(1)
        if source_scale is not None:
            d_key.mul_(source_scale.unsqueeze(1))
        return d_query, d_key, d_edge, d_weight, d_bias, None, None, None


class _Former:
    """Forms the messages of one block after another, in buffers that stay in the cache."""

    def __init__(self, query: Tensor, key: Tensor, edge: Tensor | None, adj: Adjacency, act: nn.Module) -> None:
        self.query, self.key, self.edge, self.act = query, key, edge, act
        self.row, self.col = adj.row, adj.col
        self.pointwise = _POINTWISE[type(act)]
        self.buffers: dict[str, Tensor] = {}

    def sums(self, block: _Block) -> Tensor:
        """Return what the activation is applied to, ``[edges, channels]``."""
        z = torch.index_select(self.key, 0, self.col[block.edges], out=self._buffer("sums", block))
        z += self.of_targets(self.query, block)
        return z if self.edge is None else z.add_(self.edge[block.edges])

    def of_targets(self, x: Tensor, block: _Block) -> Tensor:
        """Return the targets' rows of ``x``, one for each edge."""
        return torch.index_select(x, 0, self.row[block.edges], out=self._buffer("targets", block))

    def local_rows(self, block: _Block) -> Tensor:
        """Return the target of each edge, counted from the block's first."""
        return self.row[block.edges] - block.rows.start

    def activated(self, z: Tensor) -> Tensor:
        """Return the messages."""
        return self.pointwise.forward(self.act, z, self._like("targets", z))

    def differentiated(self, grad: Tensor, z: Tensor) -> Tensor:
        """Return the gradient of the sums from that of the messages."""
        return self.pointwise.backward(self.act, grad, z, self._like("gradient", z))

    def _buffer(self, name: str, block: _Block) -> Tensor:
        return self._rows(name, block.edges.stop - block.edges.start)

    def _like(self, name: str, z: Tensor) -> Tensor:
        return self._rows(name, len(z))

    def _rows(self, name: str, number: int) -> Tensor:
        if name not in self.buffers or len(self.buffers[name]) < number:
            self.buffers[name] = self.query.new_empty(number, self.query.size(1))
        return self.buffers[name][:number]


def _blocks(adj: Adjacency, like: Tensor, source_scale: Tensor | None) -> list[_Block]:
    """Return all targets that have edges, in blocks of about ``BLOCK_BYTES``; built once per graph and kind of sum."""
    room = BLOCK_BYTES if like.device.type == "cpu" else 2**8 * BLOCK_BYTES
    size = max(1, room // max(1, like.size(1) * like.element_size()))
    key = ("sir_blocks", size, like.dtype, source_scale is None)
    return cached(adj.rowptr, key, lambda: _build_blocks(adj, size, like, source_scale))


def _build_blocks(adj: Adjacency, size: int, like: Tensor, source_scale: Tensor | None) -> list[_Block]:
    starts = torch.arange(0, adj.num_edges + 1, size, dtype=adj.rowptr.dtype, device=adj.rowptr.device)
    rows = torch.searchsorted(adj.rowptr, starts, right=True) - 1
    rows = torch.cat([rows.clamp_(min=0), rows.new_tensor([0, adj.num_nodes])]).unique()
    value = torch.ones_like(adj.col, dtype=like.dtype) if source_scale is None else source_scale[adj.col]
    blocks = []
    for (first, last), (begin, end) in zip(pairwise(rows.tolist()), pairwise(adj.rowptr[rows].tolist()), strict=True):
        if begin == end:
            continue  # nodes without incoming edges
        pointer = adj.rowptr[first : last + 1] - begin
        column = torch.arange(end - begin, dtype=pointer.dtype, device=pointer.device)
        incidence = csr_tensor(pointer, column, value[begin:end], (last - first, end - begin))
        blocks.append(_Block(slice(first, last), slice(begin, end), incidence))
    return blocks


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply a linear layer to every group of channels of ``x``, ``[edges, groups * in]``."""
    return nn.functional.linear(x.view(-1, weight.size(1)), weight, bias).view(len(x), -1)


def _may_block(query: Tensor, act: nn.Module, adj: Adjacency) -> bool:
    """Say whether messages can be formed in blocks: not by a module with parameters or random numbers."""
    known = type(act) in _POINTWISE and query.dtype in (torch.float32, torch.float64)
    return known and adj.num_edges > 0 and query.numel() > 0


def source_factor(adj: Adjacency, aggr: str, like: Tensor) -> Tensor | None:
    """Return the factor of each source in an aggregation, to be multiplied with ``like``, or None for ones."""
    return _column(adj.out_degree.clamp(min=1).to(like.dtype).rsqrt(), like) if aggr == "sym" else None


def target_factor(adj: Adjacency, aggr: str, like: Tensor) -> Tensor | None:
    """Return the factor of each target, to be multiplied with the sum of its messages, or None for ones."""
    if aggr == "sum":
        return None
    degree = adj.in_degree.clamp(min=1).to(like.dtype)
    return _column(degree.reciprocal() if aggr == "mean" else degree.rsqrt(), like)


def _column(factor: Tensor, like: Tensor) -> Tensor:
    return factor.view(-1, *[1] * (like.dim() - 1))


def _times(x: Tensor, factor: Tensor | None) -> Tensor:
    return x if factor is None else x * factor


def sum_of_messages(
    query: Tensor, key: Tensor, edge: Tensor | None, adj: Adjacency, act: nn.Module, aggr: str
) -> Tensor:
    """Return the aggregated messages ``[num_nodes, ..., channels]`` for ``sum``, ``mean`` and ``sym``."""
    if not _may_block(query, act, adj):
        return aggregate(act(_sums(query, key, edge, adj)), adj, aggr)
    flat = [None if part is None else part.reshape(len(part), -1) for part in (query, key, edge)]
    scale = source_factor(adj, aggr, query)
    total = _Messages.apply(*flat, None, None, adj, act, None if scale is None else scale.flatten())
    return _times(total.view(query.shape), target_factor(adj, aggr, query))


def max_of_messages(
    query: Tensor, key: Tensor, edge: Tensor | None, adj: Adjacency, act: nn.Module, relation: nn.Linear
) -> Tensor:
    """Return the largest of the transformed messages, ``[num_nodes, ..., out_channels]``; 0 where there are none."""
    if not _may_block(query, act, adj):
        return aggregate(relation(act(_sums(query, key, edge, adj))), adj, "max")
    flat = [None if part is None else part.reshape(len(part), -1) for part in (query, key, edge)]
    best = _Messages.apply(*flat, relation.weight, relation.bias, adj, act, None)
    return best.view(*query.shape[:-1], relation.out_features)


def _sums(query: Tensor, key: Tensor, edge: Tensor | None, adj: Adjacency) -> Tensor:
    z = query.index_select(0, adj.row) + key.index_select(0, adj.col)
    return z if edge is None else z + edge


def aggregate(messages: Tensor, adj: Adjacency, aggr: str) -> Tensor:
    """Aggregate messages that are there, in the order of the adjacency's entries, by PyTorch's own operations."""
    out = messages.new_zeros(adj.num_nodes, *messages.shape[1:])
    if aggr == "max":
        target = _column(adj.row, messages).expand_as(messages)
        return out.scatter_reduce(0, target, messages, "amax", include_self=False)
    scale = source_factor(adj, aggr, messages)
    weighted = _times(messages, None if scale is None else scale.index_select(0, adj.col))
    return _times(out.index_add(0, adj.row, weighted), target_factor(adj, aggr, messages))


def max_of_neighbours(x: Tensor, adj: Adjacency) -> Tensor:
    """Return the largest value among sources, channel by channel; 0 for nodes without incoming edges."""
    return aggregate(x.index_select(0, adj.col), adj, "max")

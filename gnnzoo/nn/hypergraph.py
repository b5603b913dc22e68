"""What hypergraph networks share: sums over the members of hyperedges and back, attention, perceptrons, a head.

All of it works on incidences: sparse products between nodes and hyperedges, never a matrix of node pairs. A node that a
hyperedge lists twice is in it twice; hyperedges without a node take no part.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import reset
from torch_geometric.utils import scatter, softmax

from gnnzoo.errors import DataError
from gnnzoo.ops import Adjacency, cached, dropout, sparse_linear, spmm
from gnnzoo.ops.rectangular import SparseMatrix

__all__ = ["MLP", "Incidence", "IncidenceHead", "Norm", "Reduce", "check_incidences", "incidence"]

Reduce = Literal["sum", "mean", "max"]
Norm = Literal["layer", "batch", "none"]


class Incidence:
    """The structure of a hypergraph in the form in which sums over it are fast; made by :func:`incidence`.

    Attributes:
        nodes: ``[num_incidences]`` int64, sorted by hyperedge.
        hyperedges: ``[num_incidences]`` int64, ascending; only hyperedges that have a node are counted.
        place: ``[num_incidences]`` int64, where each column of ``hyperedge_index`` went.
        num_nodes: n.
        num_hyperedges: m, hyperedges that have a node.
        degree: ``[n, 1]``, in how many hyperedges each node is.
        size: ``[m, 1]``, how many nodes each hyperedge has.
    """

    def __init__(self, hyperedge_index: Tensor, num_nodes: int, dtype: torch.dtype) -> None:
        check_incidences(hyperedge_index, num_nodes)
        nodes, hyperedges = hyperedge_index
        names, hyperedges = hyperedges.unique(return_inverse=True)
        order = hyperedges.argsort(stable=True)
        self.nodes, self.hyperedges = nodes[order], hyperedges[order]
        self.place = order.argsort()
        self.num_nodes, self.num_hyperedges, self.dtype = num_nodes, len(names), dtype
        self.degree = torch.bincount(self.nodes, minlength=num_nodes).to(dtype).unsqueeze(1)
        self.size = torch.bincount(self.hyperedges, minlength=self.num_hyperedges).to(dtype).unsqueeze(1)
        self._adjacencies: dict[tuple[int, bool], Adjacency] = {}

    @cached_property
    def mean_degree(self) -> Tensor:
        """``[m, 1]``, the mean degree of each hyperedge's nodes."""
        return self.to_hyperedges(self.degree)

    @cached_property
    def _members(self) -> SparseMatrix:
        """``[m, n]`` with ones."""
        size = (self.num_hyperedges, self.num_nodes)
        return SparseMatrix(self.hyperedges, self.nodes, size, dtype=self.dtype)

    @cached_property
    def _node_of(self) -> SparseMatrix:
        """``[num_incidences, n]``."""
        each = torch.arange(len(self.nodes), device=self.nodes.device)
        return SparseMatrix(each, self.nodes, (len(each), self.num_nodes), dtype=self.dtype)

    @cached_property
    def _hyperedge_of(self) -> SparseMatrix:
        """``[num_incidences, m]``."""
        each = torch.arange(len(self.nodes), device=self.nodes.device)
        return SparseMatrix(each, self.hyperedges, (len(each), self.num_hyperedges), dtype=self.dtype)

    def to_hyperedges(self, x: Tensor, reduce: Reduce = "mean") -> Tensor:
        """Return ``[m, channels]``: the sum, mean or maximum of each hyperedge's nodes (``x`` ``[n, channels]``)."""
        if reduce == "max":
            return scatter(x[self.nodes], self.hyperedges, 0, self.num_hyperedges, "max")
        out = self._members @ x
        return out / self.size if reduce == "mean" else out

    def to_nodes(self, h: Tensor, reduce: Reduce = "sum") -> Tensor:
        """Return ``[n, channels]``: the same of each node's hyperedges (``h`` ``[m, channels]``); zero without any."""
        if reduce == "max":
            return scatter(h[self.hyperedges], self.nodes, 0, self.num_nodes, "max")
        out = self._members.T @ h
        return out / self.degree.clamp(min=1) if reduce == "mean" else out

    def pairs(self, x: Tensor, h: Tensor) -> Tensor:
        """Return ``[num_incidences, channels]``: the sum of what the node and what the hyperedge brings."""
        return self._node_of @ x + self._hyperedge_of @ h

    def pairs_to_nodes(self, z: Tensor, reduce: Reduce = "sum") -> Tensor:
        """Return ``[n, channels]``: sum or mean over the incidences of each node (``z`` ``[num_incidences, ...]``)."""
        if reduce == "max":
            return scatter(z, self.nodes, 0, self.num_nodes, "max")
        out = self._node_of.T @ z
        return out / self.degree.clamp(min=1) if reduce == "mean" else out

    def attend(self, value: Tensor, score: Tensor, to_nodes: bool = False, rate: float = 0.0) -> Tensor:
        r"""Return :math:`\sum_s \mathrm{softmax}_s(z_s) v_s` over what is incident to each hyperedge, or each node.

        Args:
            value: :math:`v`, ``[num_sources, heads, channels]``, of nodes (of hyperedges with ``to_nodes``).
            score: :math:`z`, ``[num_sources, heads]``.
            to_nodes: whether hyperedges send to nodes.
            rate: dropout on the coefficients.

        Returns:
            ``[num_targets, heads, channels]``; zero for a node without hyperedges.
        """
        ends = (self.hyperedges, self.nodes) if to_nodes else (self.nodes, self.hyperedges)
        (source, target), heads = ends, score.size(1)
        count = self.num_nodes if to_nodes else self.num_hyperedges
        alpha = softmax(score[source], target, num_nodes=count)
        alpha = dropout(alpha, rate, rate > 0)
        size = max(self.num_nodes, self.num_hyperedges)
        if (heads, to_nodes) not in self._adjacencies:
            each = torch.arange(heads, device=source.device)
            edges = [(end[:, None] * heads + each).flatten() for end in ends]
            self._adjacencies[heads, to_nodes] = Adjacency(torch.stack(edges), size * heads)
        padded = F.pad(value, (0, 0, 0, 0, 0, size - len(value))).flatten(0, 1)
        out = spmm(self._adjacencies[heads, to_nodes], padded, alpha.flatten())
        return out.unflatten(0, (size, heads))[:count]


def check_incidences(hyperedge_index: Tensor, num_nodes: int) -> None:
    """Raise DataError unless this is ``[2, num_incidences]``, of whole numbers, and its nodes exist."""
    if hyperedge_index.dim() != 2 or hyperedge_index.size(0) != 2 or hyperedge_index.is_floating_point():
        kind = str(hyperedge_index.dtype).removeprefix("torch.")
        shape = list(hyperedge_index.shape)
        raise DataError(f"hyperedge_index must be an integer tensor of shape [2, num_incidences], not {kind} {shape}")
    if not hyperedge_index.numel():
        return
    low, high = (int(bound) for bound in hyperedge_index[0].aminmax())
    if low < 0 or high >= num_nodes:
        raise DataError(
            f"hyperedge_index refers to node {low if low < 0 else high}, but the nodes are 0 to {num_nodes - 1}"
        )


def incidence(hyperedge_index: Tensor, x: Tensor) -> Incidence:
    """Return the :class:`Incidence` of a hypergraph, built once per ``hyperedge_index`` tensor.

    Args:
        hyperedge_index: ``[2, num_incidences]``, nodes in row 0, hyperedges in row 1.
        x: node features or representations, of which the number of nodes and the type are taken.
    """
    key: Hashable = ("incidence", x.size(0), x.dtype)
    return cached(hyperedge_index, key, lambda: Incidence(hyperedge_index, x.size(0), x.dtype))


class MLP(nn.Module):
    """Linear, ReLU, normalization, dropout, ..., Linear: the perceptron of AllSet, which normalizes after ReLU.

    Args:
        widths: of the input, of what is hidden, of the output.
        dropout: after every normalization but that of the input.
        norm: of the kind of ``layer`` or ``batch``, or ``none``.
        input_norm: whether the input is normalized too.
    """

    def __init__(self, widths: list[int], dropout: float = 0.0, norm: Norm = "layer", input_norm: bool = True) -> None:
        super().__init__()
        self.dropout = dropout
        self.lins = cast("Sequence[nn.Linear]", nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths)))
        first = [_norm(norm if input_norm else "none", widths[0])]
        self.norms = nn.ModuleList(first + [_norm(norm, width) for width in widths[1:-1]])

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        reset(self.lins)
        reset(self.norms)

    def __repr__(self) -> str:
        """Name the widths in one line."""
        widths = [self.lins[0].in_features, *(lin.out_features for lin in self.lins)]
        return f"MLP({', '.join(map(str, widths))})"

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[num_rows, widths[-1]]``."""
        return self.lins[-1](self.hidden(self.norms[0](x)))

    def hidden(self, x: Tensor) -> Tensor:
        """Return what goes into the last layer, for a normalized input."""
        for number, (lin, norm) in enumerate(zip(self.lins[:-1], self.norms[1:], strict=True)):
            x = lin(x) if number else sparse_linear(x, lin.weight, lin.bias)
            x = dropout(norm(x.relu()), self.dropout, self.training)
        return x


def _norm(kind: Norm, width: int) -> nn.Module:
    makers: dict[str, Callable[..., nn.Module]] = {"layer": nn.LayerNorm, "batch": _BatchNorm, "none": nn.Identity}
    return makers[kind](width)


class _BatchNorm(nn.BatchNorm1d):
    """Batch normalization; a single row, which has no statistics of its own, is normalized by the running ones."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and len(input) < 2:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class IncidenceHead(nn.Module):
    r"""Logits of a node in a hyperedge, from representations of nodes:
    :math:`W_2\,\mathrm{ReLU}(W_1 [x_v \Vert \mathrm{mean}_{u \in e} x_u] + b_1) + b_2`.

    The edge-dependent task asks nodes' networks for incidences; they are made of the node's representation and that
    of the hyperedge, as Choe et al. 2023 (WHATsNet, arXiv 2306.03032) do for their baselines.

    Args:
        in_channels: width of the representations, and of the hidden layer.
        out_channels: number of classes.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin_node = nn.Linear(in_channels, in_channels)
        self.lin_hyperedge = nn.Linear(in_channels, in_channels, bias=False)
        self.lin_out = nn.Linear(in_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for lin in self.children():
            reset(lin)

    def forward(self, x: Tensor, hyperedge_index: Tensor, incidence_index: Tensor | None = None) -> Tensor:
        """Return ``[num_rows, out_channels]``.

        Args:
            x: ``[num_nodes, in_channels]``.
            hyperedge_index: ``[2, num_incidences]``.
            incidence_index: which of its columns are asked about, ``[num_rows]``; None: all.
        """
        members = incidence(hyperedge_index, x)
        nodes, hyperedges = self.lin_node(x), self.lin_hyperedge(members.to_hyperedges(x))
        place = members.place if incidence_index is None else members.place[incidence_index]
        hidden = nodes[members.nodes[place]] + hyperedges[members.hyperedges[place]]
        return self.lin_out(hidden.relu())

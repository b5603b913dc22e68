"""Networks on all pairs of nodes of each graph: the layers that PPGN and PPGN++ share.

A batch is one matrix ``[channels, num_pairs]``, ``num_pairs`` the sum of n^2 over its graphs, which are sorted by size;
pair (i, j) of a graph stands in column ``first + i * n + j``. There is no padding, hence no mask: linear layers are one
matrix product over true pairs only, and products of matrices are taken for all graphs of one size at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import EdgeIndex

from gnnzoo.errors import DataError

__all__ = ["PairBlock", "PairInput", "PairLayout", "invariants"]


@dataclass
class PairLayout:
    """Where the pairs of a batch stand.

    Args:
        order: ``[num_graphs]``: the caller's number of each graph, by ascending size.
        sizes: distinct numbers of nodes and how many graphs have each, ascending.
        diagonal: ``[num_nodes]``: columns of the pairs (i, i), ascending.
    """

    order: Tensor
    sizes: list[tuple[int, int]]
    diagonal: Tensor

    @classmethod
    def of(cls, nodes: Tensor) -> PairLayout:
        """Lay out graphs of the given numbers of nodes, ``[num_graphs]`` int64."""
        ascending, order = nodes.sort(stable=True)
        distinct, counts = ascending.unique_consecutive(return_counts=True)
        first, diagonal = 0, [nodes.new_empty(0)]
        sizes = list(zip(distinct.tolist(), counts.tolist(), strict=True))
        for n, count in sizes:
            columns = torch.arange(first, first + count * n * n, device=nodes.device).view(count, n, n)
            diagonal.append(columns.diagonal(dim1=1, dim2=2).reshape(-1))
            first += count * n * n
        return cls(order, sizes, torch.cat(diagonal))

    def blocks(self, values: Tensor) -> list[Tensor]:
        """Cut ``[channels, num_pairs]`` into views ``[channels, graphs of this size, n, n]``."""
        parts = values.split([count * n * n for n, count in self.sizes], dim=1)
        return [part.view(-1, count, n, n) for part, (n, count) in zip(parts, self.sizes, strict=True)]

    def matmul(self, left: Tensor, right: Tensor) -> Tensor:
        """Multiply the matrices of each channel and graph; all ``[channels, num_pairs]``."""
        pairs = zip(self.blocks(left), self.blocks(right), strict=True)
        return torch.cat([(a @ b).flatten(1) for a, b in pairs], dim=1)

    def transpose(self, values: Tensor) -> Tensor:
        """Transpose the matrix of each channel and graph."""
        return torch.cat([block.mT.flatten(1) for block in self.blocks(values)], dim=1)


class PairInput(nn.Module):
    """Bring graphs into the form of all pairs: ``[pair_attr, adjacency, edge_attr, x on the diagonal]``.

    A repeated edge counts once, its attributes are averaged.

    Args:
        in_channels: width of ``x``.
        edge_channels: width of ``edge_attr``; 0: it is not read.
        selected: which columns of ``pair_attr`` are read.
    """

    def __init__(self, in_channels: int, edge_channels: int = 0, selected: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.in_channels, self.edge_channels, self.selected = in_channels, edge_channels, selected
        self.out_channels = len(selected) + 1 + edge_channels + in_channels

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None,
        pair_attr: Tensor | None,
        batch: Tensor | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor, PairLayout]:
        """Return ``[out_channels, num_pairs]`` and its layout.

        Raises:
            DataError: the data lack what is to be read.
        """
        batch = x.new_zeros(len(x), dtype=torch.int64) if batch is None else batch
        nodes = torch.bincount(batch)
        layout = PairLayout.of(nodes)
        first_node = nodes.cumsum(0) - nodes
        squares = nodes.square()[layout.order]
        first_row = torch.empty_like(nodes)
        first_row[layout.order] = squares.cumsum(0) - squares

        source, target = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
        graph = batch[source]
        row = first_row[graph] + (source - first_node[graph]) * nodes[graph] + target - first_node[graph]
        position = torch.arange(len(x), device=x.device) - first_node[batch]
        own = first_row[batch] + position * (nodes[batch] + 1)

        out = torch.zeros(int(squares.sum()), self.out_channels, dtype=dtype, device=x.device)
        start = len(self.selected)
        if start:
            if pair_attr is None:
                raise DataError("a model of polynomials needs them: data.polynomials=6 data.polynomial_form=dense")
            given = _ranges((nodes.square().cumsum(0) - nodes.square())[layout.order], squares)
            out[:, :start] = pair_attr[given][:, list(self.selected)].to(dtype)
        count = torch.zeros(len(out), dtype=dtype, device=x.device).index_add_(
            0, row, torch.ones_like(row, dtype=dtype)
        )
        out[:, start] = count.clamp(max=1)
        if self.edge_channels:
            if edge_attr is None:
                raise DataError(f"a model of {self.edge_channels} edge features needs edge_attr, which the data lack")
            total = out.new_zeros(len(out), self.edge_channels)
            total.index_add_(0, row, edge_attr.view(len(row), -1).to(dtype))
            out[:, start + 1 : start + 1 + self.edge_channels] = total / count.clamp(min=1).unsqueeze(1)
        diagonal = torch.zeros_like(out).index_copy(0, own, F.pad(x.view(len(x), -1).to(dtype), (self._before, 0)))
        return (out + diagonal).t().contiguous(), layout

    @property
    def _before(self) -> int:
        return self.out_channels - self.in_channels


def _ranges(first: Tensor, counts: Tensor) -> Tensor:
    """Return ``first[0], first[0] + 1, ...``, ``counts[0]`` numbers, then the same for the next."""
    shift = (first - (counts.cumsum(0) - counts)).repeat_interleave(counts)
    return torch.arange(len(shift), device=first.device) + shift


class PairBlock(nn.Module):
    r"""One block of PPGN or PPGN++.

    .. math::
        X' = W\,\bigl[\tilde X \,\|\, m_1(\tilde X) \cdot m_2(\tilde X)\bigr] + b

    with matrix products of each channel and perceptrons of two layers on each pair. In PPGN++ :math:`\tilde X` is
    :math:`X` with the identity matrix as one more channel, and :math:`m_1` reads its transpose too.

    Args:
        in_channels: width of the input.
        hidden_channels: width of everything else.
        extended: PPGN++.
    """

    def __init__(self, in_channels: int, hidden_channels: int, extended: bool) -> None:
        super().__init__()
        self.in_channels, self.extended = in_channels, extended
        width = in_channels + extended
        self.mlp1 = nn.ModuleList(
            [nn.Linear(width * (1 + extended), hidden_channels), nn.Linear(hidden_channels, hidden_channels)]
        )
        self.mlp2 = nn.ModuleList([nn.Linear(width, hidden_channels), nn.Linear(hidden_channels, hidden_channels)])
        self.skip = nn.Linear(width + hidden_channels, hidden_channels)

    def __repr__(self) -> str:
        """One line."""
        return f"{type(self).__name__}({self.in_channels}, {self.skip.out_features}, extended={self.extended})"

    def forward(self, x: Tensor, layout: PairLayout) -> Tensor:
        """Return ``[hidden_channels, num_pairs]``, for ``[in_channels, num_pairs]``."""
        skip = self.skip
        first: Any = self.mlp1[0]
        second: Any = self.mlp2[0]
        if self.extended:  # the identity, a channel that is 1 at the pairs (i, i)
            x = torch.cat([x, x.new_zeros(1, x.size(1)).index_fill_(1, layout.diagonal, 1.0)])
        # all that is linear in the input is one product; what the transposed input gives is transposed afterwards
        width = len(x)
        parts = [first.weight[:, :width], second.weight, skip.weight[:, :width]]
        biases = [first.bias, second.bias, skip.bias]
        if self.extended:
            parts.append(first.weight[:, width:])
            biases.append(torch.zeros_like(first.bias))
        hidden = torch.addmm(torch.cat(biases).unsqueeze(1), torch.cat(parts), x)
        a, b, through, *turned = hidden.chunk(4 if self.extended else 3)
        if turned:
            a = a + layout.transpose(turned[0])
        m1, m2 = _dense(self.mlp1[1], a.relu()).relu(), _dense(self.mlp2[1], b.relu()).relu()
        return torch.addmm(through, skip.weight[:, width:], layout.matmul(m1, m2))


def _dense(lin: Any, x: Tensor) -> Tensor:
    """Apply a linear layer to columns."""
    return torch.addmm(lin.bias.unsqueeze(1), lin.weight, x)


def invariants(x: Tensor, layout: PairLayout) -> Tensor:
    """Return the means over the diagonal and over all other pairs, ``[num_graphs, 2 * channels]``.

    Graphs come in the caller's order. A graph of one node has no other pairs: their mean is 0.
    """
    parts = []
    for block in layout.blocks(x):
        n = block.size(-1)
        diagonal = block.diagonal(dim1=2, dim2=3).sum(-1)
        others = block.sum((2, 3)) - diagonal
        parts.append(torch.cat([diagonal / max(n, 1), others / max(n * (n - 1), 1)]))
    return torch.cat(parts, dim=1).t()[layout.order.argsort()]

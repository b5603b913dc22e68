r"""Linear maps between tensors of order 0, 1 and 2 over a set that commute with every permutation of the set.

The maps of `"Invariant and Equivariant Graph Networks" <https://arxiv.org/abs/1812.09902>`_ (arXiv 1812.09902): a basis
of them are the set partitions of the output's and the input's indices together, 15 from matrices to matrices. An
element is written as its partition, with :math:`i, j` for indices of the output and :math:`a, b` for those of the
input: ``ia|jb`` is the identity, ``ia|j|b`` the sums of rows, written along rows.

What makes them fast: but for two elements (the matrix and its transpose), the output depends on sums over rows and
columns, the diagonal, and two totals. The weights are applied to these, and what comes out is spread over the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from gnnzoo.errors import ConfigError, DataError

__all__ = ["PARTITIONS", "EquivariantLinear", "EquivariantWeights", "Order", "equivariant_basis"]

Order = Literal[0, 1, 2]

PARTITIONS: dict[tuple[int, int], tuple[str, ...]] = {
    (2, 2): (
        *("ijab", "ij|ab", "ija|b", "ijb|a", "ij|a|b"),  # on the diagonal: diagonal, trace, sums of rows, columns, all
        *("ib|j|a", "ia|j|b", "jb|i|a", "ja|i|b"),  # sums of columns, of rows, along rows; the same along columns
        *("ia|jb", "ja|ib"),  # the matrix, its transpose
        *("iab|j", "jab|i", "i|j|ab", "i|j|a|b"),  # diagonal along rows, along columns; trace, sum, everywhere
    ),
    (2, 1): ("iab", "i|ab", "ia|b", "ib|a", "i|a|b"),
    (1, 2): ("ija", "ij|a", "ja|i", "ia|j", "i|j|a"),
    (1, 1): ("ia", "i|a"),
    (2, 0): ("ab", "a|b"),
    (1, 0): ("a",),
}
"""The basis from an order of input to an order of output, in the order in which the authors of SPEN number it."""


def equivariant_basis(
    in_order: Order, out_order: Order, size: int, normalize: bool = True, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Return every element of a basis as a matrix, ``[num_elements, size ** out_order, size ** in_order]``, row-major.

    Args:
        in_order: of the input.
        out_order: of the output.
        size: of the set.
        normalize: sums are means.
        dtype: of the result.
    """
    letters = "ij"[:out_order] + "ab"[:in_order]
    grid = torch.meshgrid(*[torch.arange(size)] * len(letters), indexing="ij")
    index = dict(zip(letters, grid, strict=True))
    elements = []
    for partition in _partitions(in_order, out_order):
        element = torch.ones([size] * len(letters), dtype=dtype)
        for block in partition.split("|"):
            for letter in block[1:]:
                element = element * (index[block[0]] == index[letter])
            if normalize and set(block) <= {"a", "b"}:
                element = element / size
        elements.append(element.reshape(size**out_order, size**in_order))
    return torch.stack(elements)


def _partitions(in_order: int, out_order: int) -> tuple[str, ...]:
    if (in_order, out_order) not in PARTITIONS:
        raise ConfigError(f"no equivariant maps from order {in_order} to order {out_order}: from 1 or 2 to 0, 1 or 2")
    return PARTITIONS[in_order, out_order]


_NODE_INPUTS = {1: ("a",), 2: ("b", "a", "ab")}
"""What is read at a member of the set: sums of columns, sums of rows, diagonal."""
_NODE_OUTPUTS = {0: (), 1: ("i",), 2: ("j", "i", "ij")}
"""Where it is written: along columns, along rows, on the diagonal."""
_WHOLE_INPUTS = {1: ("a",), 2: ("a|b", "ab")}
"""What is read of the set as a whole: its sum, its trace."""
_WHOLE_OUTPUTS = {0: ("",), 1: ("i",), 2: ("i|j", "ij")}
"""Where it is written: everywhere, on the diagonal."""


class _Place(NamedTuple):
    """Where the weights of an element stand: which tensor, and which parts of its input and output."""

    tensor: str
    read: int
    write: int


def _place(partition: str, in_order: int, out_order: int) -> _Place:
    blocks = partition.split("|")
    through = [block for block in blocks if set(block) & set("ij") and set(block) & set("ab")]
    if len(through) == 2:
        return _Place("pair", 0, 0 if "ia" in through else 1)
    if len(through) == 1:
        read, write = ("".join(letter for letter in through[0] if letter in part) for part in ("ab", "ij"))
        return _Place("node", _NODE_INPUTS[in_order].index(read), _NODE_OUTPUTS[out_order].index(write))
    read, write = ("|".join(block for block in blocks if set(block) <= set(part)) for part in ("ab", "ij"))
    return _Place("whole", _WHOLE_INPUTS[in_order].index(read), _WHOLE_OUTPUTS[out_order].index(write))


class EquivariantWeights(nn.Module):
    r"""Weights of all equivariant maps from one order to one or several, laid out for summaries before weights.

    Args:
        in_order: of the input, 1 or 2.
        out_orders: of the outputs, ascending from the highest, such as ``(2, 1)``.
        in_channels: d.
        out_channels: s, of each output.
        num_sets: how many sets of weights, for subsets that do not share them.

    Attributes:
        node: ``[num_sets, node inputs * d, node outputs * s]``: read at a member of the set, written at a member.
            Inputs are sums of columns, sums of rows, diagonal (order 1: the entry); outputs are along columns, along
            rows, on the diagonal, then those of order 1. None where order 0 is all that comes out.
        whole: ``[num_sets, whole inputs * d, whole outputs * s]``: sum and trace (order 1: sum), written everywhere,
            on the diagonal, then to order 1 or 0.
        pair: ``[num_sets, d, 2 * s]``: the matrix, written as it is and transposed; None unless from order 2 to 2.
        bias: ``[num_sets, biases * s]``, one for each whole output; from order 1 to 2 there is none on the diagonal.
    """

    def __init__(
        self, in_order: int, out_orders: Sequence[int], in_channels: int, out_channels: int, num_sets: int = 1
    ) -> None:
        super().__init__()
        for order in out_orders:
            _partitions(in_order, order)
        self.in_order, self.out_orders = in_order, tuple(out_orders)
        self.in_channels, self.out_channels, self.num_sets = in_channels, out_channels, num_sets
        self.node_outputs = [(order, part) for order in out_orders for part in _NODE_OUTPUTS[order]]
        self.whole_outputs = [(order, part) for order in out_orders for part in _WHOLE_OUTPUTS[order]]
        self.biases = [at for at in self.whole_outputs if in_order == 2 or at != (2, "ij")]
        d, s = in_channels, out_channels

        def empty(rows: int, columns: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(num_sets, rows, columns)) if rows and columns else None

        self.node = empty(len(_NODE_INPUTS[in_order]) * d, len(self.node_outputs) * s)
        self.whole = nn.Parameter(torch.empty(num_sets, len(_WHOLE_INPUTS[in_order]) * d, len(self.whole_outputs) * s))
        self.pair = empty(d, 2 * s) if in_order == 2 and 2 in out_orders else None
        self.bias = nn.Parameter(torch.empty(num_sets, len(self.biases) * s))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all coefficients from a normal distribution of variance 2 / (d + s); biases are zero."""
        std = math.sqrt(2 / (self.in_channels + self.out_channels))
        for weight in (self.node, self.whole, self.pair):
            if weight is not None:
                nn.init.normal_(weight, std=std)
        nn.init.zeros_(self.bias)

    @property
    def whole_bias(self) -> Tensor:
        """A bias for each whole output, ``[num_sets, whole outputs * s]``, zero where there is none."""
        if len(self.biases) == len(self.whole_outputs):
            return self.bias
        s = self.out_channels
        return torch.cat([self.bias[:, :s], torch.zeros_like(self.bias[:, :s]), self.bias[:, s:]], dim=1)

    def elements(self, out_order: int, tensors: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the coefficients of a basis, ``[num_sets, d, s, num_elements]``.

        Args:
            out_order: of the output.
            tensors: take these instead of the parameters, such as their gradients, by the parameters' names.
        """
        tensors = dict(self.named_parameters()) if tensors is None else tensors
        return torch.stack([view for _, view in self._views(out_order, tensors)], dim=-1)

    @torch.no_grad()
    def load_elements(self, out_order: int, number: int, elements: Tensor) -> None:
        """Set the coefficients of a basis, ``[d, s, num_elements]``, in one set of weights."""
        for element, view in self._views(out_order, dict(self.named_parameters())):
            view[number].copy_(elements[..., element])

    def bias_view(self, out_order: int, part: str, tensors: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the biases ``[num_sets, s]`` of a whole output, such as ``(2, "ij")``, the diagonal's."""
        bias = self.bias if tensors is None else tensors["bias"]
        return bias.unflatten(1, (-1, self.out_channels))[:, self.biases.index((out_order, part))]

    def _views(self, out_order: int, tensors: Mapping[str, Tensor]) -> Iterator[tuple[int, Tensor]]:
        outputs = {"node": self.node_outputs, "whole": self.whole_outputs}
        for number, partition in enumerate(_partitions(self.in_order, out_order)):
            name, read, write = _place(partition, self.in_order, out_order)
            if name in outputs:
                write += [order for order, _ in outputs[name]].index(out_order)
            blocks = tensors[name].unflatten(2, (-1, self.out_channels)).unflatten(1, (-1, self.in_channels))
            yield number, blocks[:, read, :, write]

    def extra_repr(self) -> str:
        """Show orders, widths and how many sets of weights."""
        orders = ", ".join(map(str, self.out_orders))
        return f"{self.in_order} -> {orders}, {self.in_channels}, {self.out_channels}, num_sets={self.num_sets}"


class EquivariantLinear(EquivariantWeights):
    r"""A linear map between tensors of order 0, 1 or 2 that commutes with permutations (arXiv 1812.09902).

    .. math:: y_s = \sum_{d, b} w_{d s b} \, B_b x_d + \mathrm{bias}_s

    with :math:`B_b` the elements of :func:`equivariant_basis`; sums are means. From order 2 to 2 there is a bias for
    all entries and one for the diagonal.

    Args:
        in_order: of the input, 1 or 2.
        out_order: of the output, 0, 1 or 2.
        in_channels: d.
        out_channels: s.

    Shapes:
        - **input:** ``[*, size, size, in_channels]`` for order 2, ``[*, size, in_channels]`` for order 1
        - **output:** likewise; ``[*, out_channels]`` for order 0

    Raises:
        ConfigError: other orders.
        DataError: in ``forward``, an input of another shape.
    """

    def __init__(self, in_order: Order, out_order: Order, in_channels: int, out_channels: int) -> None:
        super().__init__(in_order, (out_order,), in_channels, out_channels)
        self.out_order = out_order

    def forward(self, x: Tensor) -> Tensor:
        """Return the map's value on ``x``."""
        if x.dim() <= self.in_order or (self.in_order == 2 and x.size(-2) != x.size(-3)) or x.size(-2) == 0:
            raise DataError(f"a tensor {list(x.shape)} is not of order {self.in_order} over a set: see the shapes")
        if self.in_order == 2:
            node = torch.stack([x.mean(-3), x.mean(-2), x.diagonal(dim1=-3, dim2=-2).transpose(-1, -2)], dim=-2)
            whole = node[..., 1:, :].mean(-3).flatten(-2)
            node = node.flatten(-2)
        else:
            node, whole = x, x.mean(-2)
        whole = (whole @ self.whole[0] + self.whole_bias[0]).unflatten(-1, (-1, self.out_channels))
        if self.out_order == 0:
            return whole.squeeze(-2)
        assert self.node is not None
        out = (node @ self.node[0]).unflatten(-1, (-1, self.out_channels))
        if self.out_order == 1:
            return out.squeeze(-2) + whole
        along_columns, along_rows, diagonal = out.unbind(-2)
        everywhere, on_diagonal = whole.unsqueeze(-3).unbind(-2)
        out = along_columns.unsqueeze(-3) + (along_rows + everywhere).unsqueeze(-2)
        if self.pair is not None:
            same, transposed = (x @ self.pair[0]).chunk(2, dim=-1)
            out = out + same + transposed.transpose(-2, -3)
        out.diagonal(dim1=-3, dim2=-2).add_((diagonal + on_diagonal).transpose(-1, -2))
        return out

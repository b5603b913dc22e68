"""Constant sparse matrices that are not square: sums over the members of groups, and the like."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gnnzoo.ops.structure import csr_tensor

__all__ = ["SparseMatrix"]


class SparseMatrix:
    """A constant matrix with its transpose, both in CSR form; ``matrix @ x`` has a gradient for ``x``.

    Args:
        row: ``[num_entries]``; entries may come in any order, repeated ones add up.
        col: ``[num_entries]``.
        size: ``(rows, columns)``.
        value: ``[num_entries]``; default: ones.
        dtype: of the values, where they are not given.
    """

    def __init__(
        self,
        row: Tensor,
        col: Tensor,
        size: tuple[int, int],
        value: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.size = size
        value = torch.ones_like(row, dtype=dtype) if value is None else value
        self.matrix, self._order = _compressed(row, col, value, size)
        self.transposed, self._transposed_order = _compressed(col, row, value, size[::-1])

    def with_values(self, value: Tensor) -> SparseMatrix:
        """Return the matrix that has other values, ``[num_entries]``, at the same places."""
        other = copy.copy(self)
        other.matrix = _revalued(self.matrix, value, self._order)
        other.transposed = _revalued(self.transposed, value, self._transposed_order)
        return other

    @property
    def T(self) -> SparseMatrix:  # noqa: N802 - as of tensors
        """The transpose."""
        other = copy.copy(self)
        other.size = (self.size[1], self.size[0])
        other.matrix, other.transposed = self.transposed, self.matrix
        other._order, other._transposed_order = self._transposed_order, self._order
        return other

    def __matmul__(self, x: Tensor) -> Tensor:
        """Return ``[rows, channels]`` for ``x`` ``[columns, channels]``; differentiable once."""
        return _Product.apply(x, self)

    def times(self, x: Tensor, transpose: bool = False) -> Tensor:
        """Return the product with the matrix or its transpose, without a gradient."""
        matrix = self.transposed if transpose else self.matrix
        if matrix.values().numel() == 0 or x.numel() == 0:
            return x.new_zeros(matrix.size(0), x.size(1))
        return matrix @ x.contiguous()


def _compressed(row: Tensor, col: Tensor, value: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """Return a CSR tensor and which entry is behind each of its own; None where they came in that order."""
    order = None
    if bool((row[1:] < row[:-1]).any()):
        row, order = row.sort(stable=True)
        col, value = col[order], value[order]
    pointer = torch.zeros(size[0] + 1, dtype=torch.int64, device=row.device)
    torch.cumsum(torch.bincount(row, minlength=size[0]), 0, out=pointer[1:])
    return csr_tensor(pointer.to(torch.int32), col.to(torch.int32), value, size), order


def _revalued(matrix: Tensor, value: Tensor, order: Tensor | None) -> Tensor:
    value = value if order is None else value[order]
    return csr_tensor(matrix.crow_indices(), matrix.col_indices(), value, (matrix.size(0), matrix.size(1)))


class _Product(torch.autograd.Function):
    """See :class:`SparseMatrix`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        return matrix.times(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix.times(grad, transpose=True), None

"""Linear layers in which each group of rows has weights of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["grouped_linear"]


def grouped_linear(x: Tensor, weight: Tensor, sizes: Sequence[int], bias: Tensor | None = None) -> Tensor:
    r"""Return :math:`x_r W_{g(r)} + b_{g(r)}` for rows that come group by group.

    One matrix product for each group that has rows, written into one tensor; no weight is ever copied. Differentiable
    once.

    Args:
        x: ``[num_rows, in_channels]``; rows of a group are consecutive, groups come in their order.
        weight: ``[num_groups, in_channels, out_channels]``.
        sizes: number of rows of each group.
        bias: ``[num_groups, out_channels]``.

    Returns:
        ``[num_rows, out_channels]``.
    """
    out: Tensor = _GroupedLinear.apply(x, weight, bias, sizes)
    return out


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, sizes: Sequence[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.sizes = sizes
        out = x.new_empty(x.size(0), weight.size(2))
        parts = zip(sizes, x.split(sizes), weight, out.split(sizes), strict=True)
        for group, (size, rows, matrix, result) in enumerate(parts):
            if not size:
                continue
            if bias is None:
                torch.mm(rows, matrix, out=result)
            else:
                torch.addmm(bias[group], rows, matrix, out=result)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), sizes = ctx.saved_tensors, ctx.sizes
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grads = grad.split(sizes)
        grad_x = grad_weight = grad_bias = None
        if needs_x:
            grad_x = x.new_empty(x.shape)
            for size, upper, matrix, result in zip(sizes, grads, weight.mT, grad_x.split(sizes), strict=True):
                if size:
                    torch.mm(upper, matrix, out=result)
        if needs_weight:
            grad_weight = torch.empty_like(weight)
            for rows, upper, result in zip(x.mT.split(sizes, dim=1), grads, grad_weight, strict=True):
                torch.mm(rows, upper, out=result)  # zero for a group without rows
        if needs_bias:
            grad_bias = torch.stack([upper.sum(0) for upper in grads])
        return grad_x, grad_weight, grad_bias, None

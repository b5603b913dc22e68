"""The causal depthwise convolution in front of a scan, on channels-last sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["causal_conv"]


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Convolve every channel with its own kernel: :math:`y_t = b + \sum_j w_j\, x_{t - K + 1 + j}`, zeros before 0.

    On a CPU, PyTorch's convolution takes five times as long forward and backward for many short sequences: here it is
    K multiplications of shifted sequences. Elsewhere, it is PyTorch's. Differentiable once on a CPU.

    Args:
        x: ``[batch, length, channels]``.
        weight: ``[channels, 1, K]``, as of ``nn.Conv1d``; K may exceed the length.
        bias: ``[channels]``.
    """
    if x.device.type != "cpu":
        padded = F.pad(x.transpose(1, 2), (weight.size(2) - 1, 0))
        return F.conv1d(padded, weight, bias, groups=weight.size(0)).transpose(1, 2)
    return _CausalConv.apply(x, weight, bias)


class _CausalConv(torch.autograd.Function):
    """See :func:`causal_conv`; ``taps[j]`` is what the input j steps back is multiplied with."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        taps = weight.squeeze(1).t().flip(0).contiguous()
        out = x * taps[0] if bias is None else torch.addcmul(bias, x, taps[0])
        for back in range(1, min(len(taps), x.size(1))):
            out[:, back:].addcmul_(x[:, :-back], taps[back])
        ctx.save_for_backward(x, taps)
        ctx.has_bias = bias is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        x, taps = ctx.saved_tensors
        d_x, d_taps = grad * taps[0], torch.zeros_like(taps)
        for back in range(min(len(taps), x.size(1))):
            late, early = grad[:, back:], x[:, : x.size(1) - back]
            d_taps[back] = (late * early).sum((0, 1))
            if back:
                d_x[:, :-back].addcmul_(late, taps[back])
        return d_x, d_taps.flip(0).t().unsqueeze(1), grad.sum((0, 1)) if ctx.has_bias else None

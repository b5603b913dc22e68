"""Pickles without the danger: only numbers, strings, containers, arrays of NumPy and SciPy and tensors are read."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from gnnzoo.errors import DataError

__all__ = ["check", "load"]

_CLASSES = {
    "builtins": {"bytearray", "complex", "dict", "frozenset", "list", "object", "set", "slice", "tuple"},
    "__builtin__": {"bytearray", "complex", "dict", "frozenset", "list", "object", "set", "slice", "tuple"},
    "collections": {"OrderedDict", "defaultdict"},
    "copy_reg": {"_reconstructor"},
    "copyreg": {"_reconstructor"},
    "_codecs": {"encode"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
}
_SPARSE = {
    f"{form}_{kind}" for form in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil") for kind in ("matrix", "array")
}


def _storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _storage  # torch's own would run whatever the bytes ask for
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return super().find_class(module, name)
        sparse = module == "scipy.sparse" or module.startswith("scipy.sparse.")
        if name in _CLASSES.get(module, ()) or (sparse and name in _SPARSE):
            return super().find_class("scipy.sparse" if sparse else module, name)
        raise DataError(f"the pickle asks for {module}.{name}, which data does not need")


def load(path: str | os.PathLike[str], encoding: str = "ASCII") -> Any:
    """Read a pickle that holds plain data.

    Args:
        path: the file.
        encoding: of the strings in files that Python 2 wrote; ``"latin1"`` for their arrays.

    Raises:
        DataError: the file asks for anything else than numbers, strings, containers, arrays and tensors, or is no
            pickle.
    """
    with open(path, "rb") as file:
        try:
            return _Unpickler(file, encoding=encoding).load()
        except DataError as error:
            raise DataError(f"{Path(path).name} is refused: {error}") from None
        except Exception as error:  # a broken pickle can raise anything
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise DataError(f"{Path(path).name} is no readable pickle ({why})") from error


def check(path: str | os.PathLike[str], encoding: str = "latin1") -> None:
    """Refuse a pickle that :func:`load` would refuse, before somebody else's reader runs it.

    Raises:
        DataError: see :func:`load`.
    """
    load(path, encoding)

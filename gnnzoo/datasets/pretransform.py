"""What a model computes from the data once, before training: without the labels, and kept on disk."""

from __future__ import annotations

import copy
import functools
import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_geometric
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.data import BaseData

from gnnzoo.datasets import cache as disk
from gnnzoo.datasets.bundle import Bundle, Split, digest, hide_labels, label_store
from gnnzoo.errors import ConfigError
from gnnzoo.places import cache_dir

__all__ = ["apply_pre_transform", "fingerprint"]


def apply_pre_transform(
    transform: Callable[[Any], Any],
    bundle: Bundle,
    split: Split | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> Bundle:
    """Apply a model's ``pre_transform`` to every graph of a bundle and return the new bundle.

    The transform gets copies without ``y``, which is put back afterwards. If it has the attribute ``uses_labels =
    True``, it gets ``y`` with every label outside ``split.train`` blanked, and a boolean ``train_mask`` (one entry per
    label) that says which are real; both are taken from its result again. Of a heterogeneous graph, ``label_type`` says
    which type of nodes has labels.

    The result depends on the data, the transform and the seed alone, and is kept on disk under all of them. What
    identifies the transform is its class, the source file of that class, and its attributes; a transform that cannot be
    told apart like that (a lambda, a class defined in a notebook) is applied every time.

    Args:
        transform: a PyG transform, or any function of one data object.
        bundle: the prepared data.
        split: the split that is being trained on; needed by a transform that uses labels.
        seed: what Python's, NumPy's and torch's generators are set to meanwhile; the caller's are untouched.
        cache: folder for the results; default: ``transforms`` in the user's cache.

    Raises:
        ConfigError: the transform uses labels and no split is given.
    """
    uses_labels = bool(getattr(transform, "uses_labels", False))
    if uses_labels and split is None:
        raise ConfigError(f"{type(transform).__name__} uses labels: it needs a split")
    inputs = _with_training_labels(bundle, split) if uses_labels and split is not None else _without_labels(bundle)

    def build() -> list[BaseData]:
        with _seeded(seed):
            # in-place operations must not reach the bundle's own tensors
            results = [transform(graph.clone()) for graph in inputs]
        return [_stripped(result) for result in results]

    try:
        identity = fingerprint(transform)
    except disk.UncacheableError:
        outputs = build()
    else:
        versions = [torch_geometric.__version__, split.hash if uses_labels and split is not None else None]
        key = disk.key(digest(inputs), identity, seed, *versions)
        folder = cache_dir() / "transforms" if cache is None else cache
        outputs = disk.fetch(folder / f"{type(transform).__name__}-{key}.npz", build)
    for original, output in zip(bundle.graphs, outputs, strict=True):
        _restore_labels(original, output)
    return bundle.with_graphs(outputs)


def _stripped(data: BaseData) -> BaseData:
    """Return a copy without labels and training mask."""
    data = copy.copy(data)
    for part in data.stores:
        for name in ("y", "train_mask", "label_type"):
            if name in part:
                del part[name]
    return data


def _without_labels(bundle: Bundle) -> list[BaseData]:
    graphs = [_stripped(graph) for graph in bundle.graphs]
    for original, graph in zip(bundle.graphs, graphs, strict=True):
        if isinstance(original, HeteroData) and isinstance(kind := label_store(original)._key, str):
            graph.label_type = kind
    return graphs


def _with_training_labels(bundle: Bundle, split: Split) -> list[BaseData]:
    hidden = hide_labels(bundle.data, split.train)
    if not isinstance(hidden, list):
        part = label_store(hidden)
        part.train_mask = torch.zeros(len(part.y), dtype=torch.bool)
        part.train_mask[split.train] = True
        return [hidden]
    train = set(split.train.tolist())
    graphs = [copy.copy(graph) for graph in hidden]
    for i, graph in enumerate(graphs):
        graph.train_mask = torch.full((len(graph.y),), i in train)
    return graphs


def _restore_labels(original: BaseData, output: BaseData) -> None:
    part = label_store(original)
    target = output[part._key] if isinstance(original, HeteroData) else output
    target.y = part.y


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Set all generators that a transform may use, and put the caller's states back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reset accelerators
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@functools.lru_cache(maxsize=256)
def _source(module: str) -> str:
    """Return the sha256 of a module's source file, so that editing a transform invalidates what it made."""
    path = getattr(sys.modules.get(module), "__file__", None)
    if module == "__main__" or path is None:
        raise disk.UncacheableError(f"code without a module file: {module}")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _code(thing: Any) -> list[str]:
    name = f"{thing.__module__}.{thing.__qualname__}"
    if "<" in name:  # <lambda>, <locals>: what such code closes over cannot be seen
        raise disk.UncacheableError(name)
    return [name, _source(thing.__module__)]


def fingerprint(value: Any) -> Any:
    """Return a JSON value that is equal for two transforms exactly when they do the same.

    Raises:
        UncacheableError: that cannot be told.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        return [str(array.dtype), list(array.shape), hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(fingerprint, value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(map(repr, map(fingerprint, value)))]
    if isinstance(value, dict):
        return {repr(k): fingerprint(v) for k, v in value.items()}
    if isinstance(value, functools.partial):
        return ["partial", fingerprint(value.func), fingerprint(value.args), fingerprint(value.keywords)]
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return _code(value)
    if hasattr(value, "__dict__"):
        bases = [_code(cls) for cls in type(value).__mro__ if cls.__module__ not in ("builtins", "abc", "typing")]
        return [bases, fingerprint(vars(value))]
    raise disk.UncacheableError(f"a {type(value).__name__}")

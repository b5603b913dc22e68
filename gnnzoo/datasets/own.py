"""A user's own data: a file, a folder or an object in memory in the place of a benchmark's name.

``gnnzoo run model=gcn dataset=path/to/data.pt``, ``dataset=path/to/folder``, ``gnnzoo.run("gcn", data)`` and
``load_dataset(data)`` work as with a benchmark: protocols, records, resuming, and (files) several workers. A name is a
path if it has a ``/`` or ends in ``.pt``; a folder beside you is ``./folder``. The benchmark is called
``<file>@<protocol>``, with ``-own`` after the file where a shipped dataset has its name; an object is
``data-<digest>``. Records belong to the content: a file that was moved or copied finds its records again, one that was
changed is trained on anew.

**File**: what ``torch.save(data, "data.pt")`` writes of a ``Data``, a ``HeteroData``, a ``HypergraphData``, a list of
``Data`` or a dict of tensors. Nothing in it is executed. Attributes:

- ``x``: node features ``[num_nodes, in_channels]``, read as float32; ``edge_index``: ``[2, num_edges]``, or
  ``hyperedge_index`` (nodes, hyperedges). Hyperedges count from 0; an index with more hyperedges than incidences is
  refused, unless ``num_hyperedges`` says that there are even more. Further tensors (``edge_attr``, ``edge_weight``,
  ``pos``, ...) reach the models that ask for them.
- ``y``: one graph with an entry per node is a node task; a list of graphs with an entry each is a graph task, with an
  entry per node an inductive node task, whose graphs are split as wholes. Integers and booleans ``[rows]`` are classes
  (accuracy, -1: none); real numbers that are all 0 or 1 are binary labels (roc_auc, NaN: none; several columns:
  multilabel); other real numbers are values (rmse, NaN: none). So ``y.long()`` and ``y.float()`` choose what is meant.
- ``train_mask``, ``val_mask``, ``test_mask``: ``[num_nodes]`` or ``[num_nodes, num_splits]``. On each graph of a list:
  ``split = "train"``, ``"val"`` or ``"test"``. Models do not see them.

**Folder**: UTF-8, commas, a header line, numbers with a point.

- ``nodes.csv``: ``label``, and optionally ``id`` (else nodes are numbered from 0) and ``split`` (``train``, ``val``,
  ``test`` or empty). Words and whole numbers are classes, in sorted order; numbers of which some have a decimal point
  are values, or binary labels where all are 0.0 or 1.0; an empty label is none. Every other column is a feature.
- ``edges.csv``: ``source`` and ``target``, and optionally ``type``, which makes a ``HeteroData`` with one node type,
  ``node``, and edge types ``(node, <type>, node)``. Every other column is a number in ``edge_attr``. Edges point as
  they stand there; ``data.undirected=true`` adds their reverse.
- ``hyperedges.csv`` instead: ``node`` and ``hyperedge``, a line per incidence.

Protocols: ``own``, the splits that were given (then the default), and ``random-60-20-20``: ten splits of the labelled
rows, of every class where there are classes, split ``i`` from seed ``i``.
"""

from __future__ import annotations

import copy
import hashlib
import operator
import os
import pickle
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.data import BaseData, DataEdgeAttr, DataTensorAttr
from torch_geometric.data.feature_store import TensorAttr
from torch_geometric.data.graph_store import EdgeAttr, EdgeLayout
from torch_geometric.data.storage import BaseStorage, EdgeStorage, GlobalStorage, NodeStorage

from gnnzoo.cards import Claim, DatasetCard, Protocol
from gnnzoo.datasets import splits as rules
from gnnzoo.datasets.bundle import Bundle, Split, digest, label_store
from gnnzoo.datasets.csv_folder import PARTS, read_folder, shown
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.datasets.load import count
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.registry import DATASETS

__all__ = ["card", "load", "name_of"]

_RANDOM = "random-60-20-20"
_MASKS = tuple(f"{part}_mask" for part in PARTS)
_METRICS = {"multiclass": "accuracy", "binary": "roc_auc", "multilabel": "roc_auc", "regression": "rmse"}


@dataclass
class _Raw:
    """Graphs as they were given, without splits; ``y`` as it was given.

    Args:
        graphs: shallow copies, free to be changed.
        where: the file, for messages.
        masks: train, val and test, ``[rows, num_splits]`` each.
        classes: names of classes that are not 0, 1, 2, ...
        at: where a row of ``y`` stands.
    """

    graphs: list[Any]
    where: str
    masks: list[Tensor] | None
    at: Callable[[int], str]
    classes: list[str] = field(default_factory=list)


@dataclass
class _Own:
    """Data as a loader returns them, and what their splits are made of.

    Args:
        card: what was found.
        data: one graph, or a list of graphs.
        splits: of the protocol ``own``.
        rows: what random splits are drawn of: nodes or graphs with a label.
        strata: the class of each of them; None where they are drawn alike.
    """

    card: DatasetCard
    data: Any
    splits: list[Split]
    rows: Tensor
    strata: Tensor | None


_objects: dict[str, _Own] = {}
"""Data objects by the names that they are registered under."""


def name_of(dataset: Any) -> Any:
    """Return the name that stands for a dataset: data objects get one for this process; names stay what they are.

    Args:
        dataset: a name, a path, a PyG data object, a list or PyG dataset of them, a dict of tensors.

    Raises:
        DataError: data that cannot be trained on.
        ConfigError: none of these.
    """
    if isinstance(dataset, os.PathLike):
        return os.path.abspath(os.path.expanduser(dataset))
    if _is_data(dataset):
        own = _assemble(_take(dataset, "data"), "data", "")
        content = " ".join(protocol.digest + protocol.hash for protocol in own.card.protocols.values())
        own.card.name = f"data-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
        DATASETS.register(own.card, load)
        _objects[own.card.name] = own
        return own.card.name
    if dataset is None or isinstance(dataset, str | list | tuple | dict):
        return dataset
    raise ConfigError(
        f"dataset is a {type(dataset).__name__}: give a name, a path, a PyG data object or a list of them"
    )


def _is_data(value: Any) -> bool:
    if isinstance(value, dict):
        return any(isinstance(item, Tensor) for item in value.values())
    if isinstance(value, list | tuple | torch.utils.data.Dataset):
        return len(value) > 0 and isinstance(value[0], BaseData)  # type: ignore[arg-type]
    return isinstance(value, BaseData)


def card(path: str, name: str) -> DatasetCard:
    """Return the card of a file or folder, made of what is in it.

    Raises:
        DataError: it cannot be read, or not be trained on.
    """
    return _read(path, name).card


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Any, list[Split]]:
    """Return own data, and the splits of a protocol."""
    own = _objects.get(card.name) or _read(card.root, card.name)
    data = [copy.copy(graph) for graph in own.data] if isinstance(own.data, list) else copy.copy(own.data)
    return data, own.splits if protocol == "own" else _drawn(own)


def _drawn(own: _Own) -> list[Split]:
    if own.strata is not None:
        drawn = rules.per_class(own.strata, (0.6, 0.2), 10)
    else:
        drawn = rules.uniform(len(own.rows), (0.6, 0.2), 10)
    return [split.among(own.rows) for split in drawn]


def _read(path: str, name: str) -> _Own:
    try:
        folder = os.path.isdir(path)
        files = [os.path.join(path, f) for f in sorted(os.listdir(path)) if f.endswith(".csv")] if folder else [path]
        states = [(file, os.stat(file)) for file in files]
    except OSError as error:
        raise DataError(f"cannot read {shown(path)}: {error.strerror or error}") from None
    return _read_once(path, name, tuple((f, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for f, s in states))


@lru_cache(maxsize=4)
def _read_once(path: str, name: str, states: tuple[tuple[str | int, ...], ...]) -> _Own:
    """Read a file or folder; again only when a file was changed, or moved there."""
    if not os.path.isdir(path):
        return _assemble(_from_file(path), name, path)
    found = read_folder(Path(path))
    return _assemble(_Raw([found.data], shown(path), found.masks, found.at, found.classes), name, path)


# --- from attributes to a benchmark ----------------------------------------------------------------------------------


def _assemble(raw: _Raw, name: str, path: str) -> _Own:
    """Check everything, find out what the task is, and write the card."""
    graphs, where = raw.graphs, raw.where
    for number, graph in enumerate(graphs):
        _check_graph(graph, where if len(graphs) == 1 else f"{where}: graph {number}")
    _check_alike(graphs, where)
    task, y = _task(raw)
    target, num_outputs, y = _target(y, raw)
    labelled = y >= 0 if target == "multiclass" else (~y.isnan()).any(1)
    if task == "inductive-node":
        _check_all_labelled(raw, target, labelled)
        rows, strata = torch.arange(len(graphs)), None
    else:
        rows = labelled.nonzero().flatten()
        strata = y[rows].flatten().long() if target in ("multiclass", "binary") else None
    _put_back(graphs, task, y)

    data = graphs[0] if task == "node" else graphs
    splits = []
    if raw.masks is not None:
        _check_masks(raw, rows, len(y) if task == "node" else len(graphs))
        splits = rules.from_masks(*raw.masks)
    found, metric = digest(data), _METRICS[target]
    protocols = {}
    if splits:
        kind = f"{len(splits)} splits" if len(splits) > 1 else "one split"
        protocols["own"] = Protocol(
            summary=f"{kind}, given with the data", splits=len(splits), metric=metric, digest=found
        )
    drawn = f"ten random splits, 60 % / 20 % / 20 % of the labelled {'nodes' if task == 'node' else 'graphs'}"
    drawn += " of every class" if strata is not None else ""
    protocols[_RANDOM] = Protocol(
        summary=drawn, splits=10, metric=metric, source="split i is drawn from seed i", digest=found
    )
    made = DatasetCard(
        name=name,
        summary=f"own data, read from {shown(path)}" if path else "own data, an object in memory",
        family="own",
        loader="gnnzoo.datasets.own.load",
        task=task,
        structure=_structure(graphs[0]),
        target=target,
        num_outputs=num_outputs,
        counts=count(graphs),
        protocols=protocols,
        default_protocol=next(iter(protocols)),
        source=path,
        root=path,
        licence="yours",
        health=[Claim(says=_found(raw, task, target, num_outputs, y, labelled), warn=True)],
    )
    if splits:
        made.protocols["own"].hash = Bundle(made, "own", data, splits, found).hash
    return _Own(made, data, splits, rows, strata)


def _structure(graph: Any) -> str:
    if isinstance(graph, HeteroData):
        return "heterogeneous"
    return "hypergraph" if isinstance(graph, HypergraphData) else "graph"


def _check_alike(graphs: list[Any], where: str) -> None:
    """Refuse lists that no batch can be made of."""
    first = graphs[0]
    names = set(first.keys())
    for number, graph in enumerate(graphs[1:], start=1):
        if type(graph) is not type(first) or isinstance(graph, HeteroData):
            what = f"{type(graph).__name__} after {type(first).__name__}"
            raise DataError(f"{where}: graph {number} is a {what}: a list holds Data, or HypergraphData")
        if set(graph.keys()) != names:
            name = min(set(graph.keys()) ^ names)
            raise DataError(f"{where}: {name} stands in one of graph {number} and graph 0, and not in the other")
        for name in ("x", "edge_attr"):
            if name in names and graph[name].shape[1:] != first[name].shape[1:]:
                shapes = f"{list(graph[name].shape)}, that of graph 0 {list(first[name].shape)}"
                raise DataError(f"{where}: {name} of graph {number} has shape {shapes}")


def _task(raw: _Raw) -> tuple[str, Tensor]:
    """Return the task, and all labels one below the other."""
    graphs, where = raw.graphs, raw.where
    if len(graphs) == 1:
        graph = graphs[0]
        holders = [store for store in graph.stores if "y" in store]
        if isinstance(graph, HeteroData) and (len(holders) != 1 or holders[0]._key not in graph.node_types):
            raise DataError(f"{where}: one node type must have y, and nothing else may")
        if not holders:
            raise DataError(f"{where}: y is missing: a class or value per node")
        y, nodes = holders[0].y, holders[0].num_nodes
        if y.dim() == 0 or len(y) != nodes:
            hint = "; to learn labels of whole graphs takes a list of graphs" if y.numel() == 1 else ""
            raise DataError(f"{where}: y has shape {list(y.shape)}, there are {nodes} nodes{hint}")
        return "node", y
    for number, graph in enumerate(graphs):
        if "y" not in graph:
            raise DataError(f"{where}: y of graph {number} is missing")
    labels = [graph.y for graph in graphs]
    if all(y.dim() == 0 or len(y) == 1 for y in labels):
        return "graph", _stacked([y.reshape(1) if y.dim() == 0 else y for y in labels], where)
    for number, (graph, y) in enumerate(zip(graphs, labels, strict=True)):
        if y.dim() == 0 or len(y) != graph.num_nodes:
            raise DataError(
                f"{where}: y of graph {number} has shape {list(y.shape)}, and there are {graph.num_nodes} nodes: a "
                f"class or value of the graph is [1] (several values [1, k]), of its nodes [{graph.num_nodes}]"
            )
    ends = np.cumsum([graph.num_nodes for graph in graphs])

    def at(row: int) -> str:
        number = int(np.searchsorted(ends, row, side="right"))
        return f"{where}: graph {number}, node {row - int(ends[number]) + graphs[number].num_nodes}"

    raw.at = at
    return "inductive-node", _stacked(labels, where)


def _stacked(labels: list[Tensor], where: str) -> Tensor:
    for number, y in enumerate(labels):
        if y.dtype != labels[0].dtype or y.shape[1:] != labels[0].shape[1:]:
            raise DataError(f"{where}: y of graph {number} is {_kind(y)}, that of graph 0 {_kind(labels[0])}")
    return torch.cat(labels)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _target(y: Tensor, raw: _Raw) -> tuple[str, int, Tensor]:
    """Return the kind of target, the number of outputs, and the labels as tasks take them."""
    if not y.numel():
        raise DataError(f"{raw.where}: nothing has a label")
    if y.dim() > 2 or y.is_complex():
        raise DataError(f"{raw.where}: y is {_kind(y)}: a class or a row of numbers for each is expected")
    if y.is_floating_point():
        y = y.float().view(len(y), -1)
        if (infinite := y.isinf().any(1)).any():
            raise DataError(f"{raw.at(_first(infinite))}: y is infinite")
        _check_columns(y, raw.where)
        known = y[~y.isnan()]
        if ((known == 0) | (known == 1)).all():
            return "binary" if y.shape[1] == 1 else "multilabel", y.shape[1], y
        return "regression", y.shape[1], y
    if y.dim() == 2 and y.shape[1] > 1:
        if not ((y == 0) | (y == 1)).all():
            raise DataError(f"{raw.where}: y is {_kind(y)}: several labels are 0 or 1, several values real numbers")
        _check_columns(y, raw.where)
        return "multilabel", y.shape[1], y.float()
    y = y.long().flatten()
    if (wrong := y < -1).any():
        raise DataError(f"{raw.at(_first(wrong))}: class {int(y[wrong][0])}: classes count from 0, and -1 is none")
    classes, rows = int(y.max()) + 1, int((y >= 0).sum())
    if not rows:
        raise DataError(f"{raw.where}: nothing has a label")
    if classes > rows:
        raise DataError(
            f"{raw.at(int(y.argmax()))}: class {classes - 1}, of only {rows} labels: classes count from 0, and values "
            f"to predict are real numbers, y.float()"
        )
    if (y[y >= 0] == y.max()).all():
        raise DataError(f"{raw.where}: all labels are one class: there is nothing to learn")
    return "multiclass", classes, y


def _check_columns(y: Tensor, where: str) -> None:
    """Refuse real labels, ``[rows, columns]``, of which a column has none or one value alone."""
    known = ~y.isnan()
    if not known.any():
        raise DataError(f"{where}: nothing has a label")
    for column in range(y.shape[1]):
        values, of = y[known[:, column], column], f" in column {column}" if y.shape[1] > 1 else ""
        if not len(values):
            raise DataError(f"{where}: nothing has a label{of}")
        if (values == values[0]).all():
            raise DataError(f"{where}: all labels{of} are one value, {float(values[0]):g}: there is nothing to learn")


def _first(wrong: Tensor) -> int:
    return int(wrong.nonzero()[0, 0])


def _check_all_labelled(raw: _Raw, target: str, labelled: Tensor) -> None:
    """Refuse classes that are missing inside a graph: all its nodes are scored."""
    if target == "multiclass" and not labelled.all():
        raise DataError(f"{raw.at(_first(~labelled))}: no class, but all nodes of a list's graphs need one")


def _put_back(graphs: list[Any], task: str, y: Tensor) -> None:
    if task == "node":
        label_store(graphs[0]).y = y.contiguous()
        return
    sizes = [1 if task == "graph" else graph.num_nodes for graph in graphs]
    for graph, part in zip(graphs, y.split(sizes), strict=True):
        graph.y = part.clone()


def _check_masks(raw: _Raw, rows: Tensor, total: int) -> None:
    """Refuse masks of other rows, a part that is empty or holds what has no label, and rows in two parts."""
    assert raw.masks is not None
    unlabelled = torch.ones(total, dtype=torch.bool)
    unlabelled[rows] = False
    for part, mask in zip(PARTS, raw.masks, strict=True):
        if len(mask) != total:
            raise DataError(f"{raw.where}: {part}_mask has {len(mask)} rows, there are {total} nodes")
        if not mask.any(0).all():
            number = f" of split {_first(~mask.any(0))}" if mask.shape[1] > 1 else ""
            raise DataError(f"{raw.where}: the {part} part{number} is empty")
        if (wrong := mask.any(1) & unlabelled).any():
            raise DataError(f"{raw.at(_first(wrong))}: in the {part} part, but without a label")
    if (twice := torch.stack(raw.masks).sum(0).gt(1).any(1)).any():
        raise DataError(f"{raw.at(_first(twice))}: in two of train, val and test")


def _found(raw: _Raw, task: str, target: str, num_outputs: int, y: Tensor, labelled: Tensor) -> str:
    """Say in one line what the data were taken for."""
    kind = {"graph": "graph", "hypergraph": "hypergraph", "heterogeneous": "heterogeneous graph"}
    structure = kind[_structure(raw.graphs[0])]
    what = f"one {structure}" if task == "node" else f"{len(raw.graphs):,} {structure}s"
    row = "graph" if task == "graph" else "node"
    if target == "multiclass":
        names = [f"{number} = {name}" for number, name in enumerate(raw.classes)]
        names = names if len(names) <= 10 else [*names[:8], "...", names[-1]]
        text = f"{what} with one of {num_outputs} classes per {row}" + (f" ({', '.join(names)})" if names else "")
    elif target == "regression":
        text = f"{what} with {'a value' if num_outputs == 1 else f'{num_outputs} values'} per {row}"
    else:
        text = f"{what} with {'a label' if num_outputs == 1 else f'{num_outputs} labels'} of 0 or 1 per {row}"
    if missing := int((~labelled).sum()):
        text += f", {missing:,} of {len(labelled):,} without"
    known = y[~y.isnan()]
    if target == "regression" and (known == known.round()).all():
        text += "; all are whole numbers: if they are classes, give integers"
    if target == "multilabel" and (y.sum(1) == 1).all():
        text += "; each has exactly one 1: if these are classes, give y.argmax(1)"
    return f"taken as {'an' if task[0] == 'i' else 'a'} {task} task scored by {_METRICS[target]}: {text}"


# --- from objects and files to attributes ----------------------------------------------------------------------------

_CLASSES = [Data, HeteroData, HypergraphData, BaseStorage, NodeStorage, EdgeStorage, GlobalStorage]
_CLASSES += [DataEdgeAttr, DataTensorAttr, TensorAttr, EdgeAttr, EdgeLayout]
"""What a file may hold beside tensors, numbers, strings and containers."""

_ROWS = {"x", "feat", "pos", "batch", "node_type", "n_id", "edge_weight", "edge_attr", "edge_type", "e_id"}
"""Attributes whose length PyG takes for the number of nodes or edges."""

_KINDS = "a PyG Data, HeteroData or HypergraphData, a list of Data, or a dict of tensors"
_HOW = f"torch.save(data, path) of {_KINDS}"


def _from_file(path: str) -> _Raw:
    """Read what ``torch.save`` wrote; nothing that is in it is run."""
    where = shown(path)
    if path.endswith(".csv"):
        raise DataError(f"{where} is not read alone: name the folder with nodes.csv and edges.csv")
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"cannot read {where}: {error.strerror or error}") from None
    there = torch.serialization.get_safe_globals()  # PyG's and the user's: leaving the context would take them away
    allowed = torch.serialization.safe_globals([kind for kind in _CLASSES if kind not in there])
    try:
        with file, allowed, warnings.catch_warnings(action="ignore"):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its own message advises to load the file unsafely
        asked = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
        why = f"it asks for {asked[1]}, which data do not need" if asked else "it holds code, or is of another kind"
        raise DataError(f"{where} is refused: {why}; give {_HOW}") from None
    except Exception as error:  # a damaged file can raise nearly everything
        lines = str(error).split("\n")
        raise DataError(f"{where} is damaged, or no file of torch.save ({lines[0][:100]}); give {_HOW}") from None
    try:
        return _take(content, where)
    except (AttributeError, TypeError, LookupError, ValueError, RuntimeError) as error:  # altered inside
        raise DataError(f"{where} is damaged ({type(error).__name__}); give {_HOW}") from None


def _take(content: Any, where: str) -> _Raw:
    """Take graphs apart into data and splits; what was given is not changed."""
    if isinstance(content, dict):
        if not all(isinstance(key, str) for key in content):
            raise DataError(f"{where} is a dict without names: x, edge_index and y are expected")
        content = _made(Data, content)
    items = content if isinstance(content, list | tuple | torch.utils.data.Dataset) else [content]
    if not len(items):  # type: ignore[arg-type]
        raise DataError(f"{where} is an empty {type(content).__name__}")
    graphs = [_copied(items[i], where) for i in range(len(items))]  # type: ignore[arg-type]
    if len(graphs) == 1:
        return _Raw(graphs, where, _take_masks(graphs[0], where), f"{where}: node {{}}".format)
    return _Raw(graphs, where, _take_parts(graphs, where), f"{where}: graph {{}}".format)


def _copied(graph: Any, where: str) -> Any:
    """Return a shallow copy, as a hypergraph where it is one."""
    if isinstance(graph, Batch):
        raise DataError(f"{where} is a Batch: give batch.to_data_list()")
    if not isinstance(graph, Data | HeteroData):
        raise DataError(f"{where} holds a {type(graph).__name__}: {_KINDS} is expected")
    for kind in (Data, HeteroData, HypergraphData):
        if type(graph) is kind:  # a file may come from another version of PyG: only its attributes count
            graph = _made(kind, graph.to_dict())
    return copy.copy(graph)


def _made(kind: Any, content: dict[str, Any]) -> Any:
    """Return a graph of attributes, as a hypergraph where it is one; constructors would calculate with bad ones."""
    if kind is HeteroData:
        return HeteroData.from_dict(content)
    return (HypergraphData if "hyperedge_index" in content else kind)().update(content)


def _take_masks(graph: Any, where: str) -> list[Tensor] | None:
    """Remove masks from a graph and return them, ``[num_nodes, num_splits]`` each."""
    holders = [store for store in graph.stores if any(name in store for name in _MASKS)]
    if not holders:
        return None
    if isinstance(graph, HeteroData) and (len(holders) > 1 or "y" not in holders[0]):
        raise DataError(f"{where}: masks belong to the node type that has y, and to no other")
    masks = []
    for name in _MASKS:
        mask = holders[0].pop(name, None)
        if mask is None:
            raise DataError(f"{where}: {name} is missing: give all of {', '.join(_MASKS)}, or none")
        if isinstance(mask, Tensor):
            mask = _dense(mask, f"{where}: {name}")
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            found = _kind(mask) if isinstance(mask, Tensor) else f"a {type(mask).__name__}"
            raise DataError(f"{where}: {name} is {found}: booleans are expected")
        if mask.dim() not in (1, 2) or mask.shape[1:] == (0,):
            shape = list(mask.shape)
            raise DataError(f"{where}: {name} has shape {shape}: [num_nodes] or [num_nodes, splits] is expected")
        masks.append(mask if mask.dim() == 2 else mask[:, None])
    most = max(mask.shape[1] for mask in masks)
    for name, mask in zip(_MASKS, masks, strict=True):
        if mask.shape[1] not in (1, most):
            raise DataError(f"{where}: {name} has {mask.shape[1]} splits, another mask {most}")
    return [mask.expand(-1, most) for mask in masks]


def _take_parts(graphs: list[Any], where: str) -> list[Tensor] | None:
    """Remove ``split`` from the graphs of a list and return masks, ``[num_graphs, 1]`` each."""
    for number, graph in enumerate(graphs):
        for name in _MASKS:
            if name in graph:
                raise DataError(
                    f"{where}: graph {number} has a {name}, but a list's graphs are split as wholes: remove it, and "
                    f"say split = 'train', 'val' or 'test' of each graph where the split is given"
                )
    if not any("split" in graph for graph in graphs):
        return None
    parts = []
    for number, graph in enumerate(graphs):
        part = graph.split if "split" in graph else None
        if not isinstance(part, str) or part not in PARTS:
            raise DataError(f"{where}: split of graph {number} is {_line(part)}: 'train', 'val' or 'test' is expected")
        parts.append(part)
        del graph.split
    return [torch.tensor([p == part for p in parts]).view(-1, 1) for part in PARTS]


# --- attributes ------------------------------------------------------------------------------------------------------


def _check_graph(graph: Any, where: str) -> None:
    """Bring attributes to the types that models take, and refuse what no model could use."""
    hetero, hyper = isinstance(graph, HeteroData), isinstance(graph, HypergraphData)
    for store in graph.stores:
        owner = f" of {_words(store._key)}" if hetero and store._key is not None else ""
        for name, value in list(store.items()):
            if name == "hyperedge_index" and not hyper:
                raise DataError(f"{where}: {name}{owner} stands in a {type(graph).__name__}: give a HypergraphData")
            if name == "num_edges":
                del store[name]  # PyG would believe it
            elif name in ("num_nodes", "num_hyperedges") and value is not None:
                store[name] = _number(value, f"{where}: {name}{owner}")
            elif isinstance(value, Tensor):
                store[name] = _plain(value, name, f"{where}: {name}{owner}")
                if not value.dim() and name in _ROWS:
                    raise DataError(f"{where}: {name}{owner} is a single number: a row for each is expected")
            elif name in ("x", "y", "edge_index", "hyperedge_index", "edge_attr", "edge_weight"):
                raise DataError(f"{where}: {name}{owner} is a {type(value).__name__}: a tensor is expected")
            elif not isinstance(value, int | float):
                del store[name]  # names and the like, which no model reads
    index = "hyperedge_index" if hyper else "edge_index"
    if not hetero and "x" not in graph:
        raise DataError(f"{where}: x is missing; torch.ones(num_nodes, 1) shows models the structure alone")
    if not hetero and index not in graph:
        raise DataError(f"{where}: {index} is missing: [2, num_{'incidences' if hyper else 'edges'}]")
    if hetero:
        for source, _, target in graph.edge_types:
            for kind in (source, target):
                if kind not in graph.node_types:
                    raise DataError(f"{where}: the number of nodes of {kind} is not known: give x or num_nodes")
    for store in graph.node_stores:
        owner = f" of {store._key}" if hetero else ""
        with warnings.catch_warnings(action="ignore"):  # PyG's, of what is refused in the next line
            nodes = store.num_nodes
        if nodes is None:
            raise DataError(f"{where}: the number of nodes{owner} is not known: give x or num_nodes")
        if not (nodes or hetero):
            raise DataError(f"{where}: there are no nodes")
        if "x" in store and (store.x.dim() != 2 or len(store.x) != nodes or not store.x.shape[1]):
            raise DataError(f"{where}: x{owner} has shape {list(store.x.shape)}: [{nodes}, in_channels] is expected")
    for store in graph.edge_stores:
        owner = f" of {_words(store._key)}" if hetero else ""
        for name in (index, *(name for name in ("edge_index", "edge_label_index") if name in store)):
            _check_shape(store, name, f"{where}: {name}{owner}")
        if hetero:
            ends = store._key[0], store._key[2]
            sizes = [(graph[kind].num_nodes, f"nodes of {kind}") for kind in ends]
        else:
            sizes = [(graph.num_nodes, "nodes")] * 2
        if hyper:
            sizes[1] = (_hyperedges(graph, where), "hyperedges")
        _check_index(store, index, sizes, where, owner)


def _words(key: Any) -> str:
    return " ".join(key) if isinstance(key, tuple) else str(key)


def _line(value: Any) -> str:
    return " ".join(repr(value).split())[:40]


def _number(value: Any, what: str) -> int:
    """Return a number of nodes or hyperedges: an int, or what is one in NumPy or PyTorch."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        number = -1
    if not 0 <= number < 2**63:
        raise DataError(f"{what} is {_line(value)}: a whole number is expected")
    return number


def _hyperedges(graph: HypergraphData, where: str) -> int:
    """Return and set the number of hyperedges; refuse numbers that were no count, which would cost memory each."""
    index, given = graph.hyperedge_index, graph.num_hyperedges
    found = int(index[1].max()) + 1 if index.numel() else 0
    if found > index.shape[1] and given in (None, found):  # HypergraphData itself sets the latter
        raise DataError(
            f"{where}: hyperedge_index[1, {int(index[1].argmax())}] is {found - 1}, of only {index.shape[1]} "
            f"incidences: hyperedges count from 0; index[1].unique(return_inverse=True)[1] numbers them so"
        )
    graph.num_hyperedges = found if given is None else given
    return graph.num_hyperedges


def _dense(value: Tensor, what: str) -> Tensor:
    """Return a tensor without its graph of gradients, on the CPU; refuse what has no plain array of numbers."""
    for kind, is_it in (
        ("nested", value.is_nested),
        ("sparse", value.layout != torch.strided),
        ("quantized", value.is_quantized),
        ("without content (meta)", value.is_meta),
    ):
        if is_it:
            hint = ", of edges [2, num_edges]" if kind == "sparse" else ""
            raise DataError(f"{what} is {kind}: a dense tensor is expected{hint}")
    return value.detach().cpu().as_subclass(Tensor).contiguous()


def _plain(value: Tensor, name: str, what: str) -> Tensor:
    """Return a dense tensor on the CPU: indices as int64, features and real numbers as float32 and finite."""
    value = _dense(value, what)
    if value.is_complex():
        raise DataError(f"{what} is complex: real numbers are expected")
    if name.endswith("_index"):
        if value.is_floating_point() or value.dtype == torch.bool:
            raise DataError(f"{what} is {_kind(value)}: whole numbers are expected")
        return value.long()
    if name == "y" or not (name == "x" or value.is_floating_point()):
        return value
    value = value.float()
    if not value.isfinite().all():
        place = (~value.isfinite()).nonzero()[0].tolist()
        raise DataError(f"{what}{place} is {float(value[tuple(place)])}: finite numbers are expected")
    return value


def _check_shape(store: Any, name: str, what: str) -> None:
    """Refuse an index that is missing, or not two rows."""
    if name not in store:
        raise DataError(f"{what} is missing")
    index = store[name]
    if index.dim() != 2 or len(index) != 2:
        hint = ": give edge_index.t()" if index.dim() == 2 and index.shape[1] == 2 else ""
        raise DataError(f"{what} has shape {list(index.shape)}, [2, ...] is expected{hint}")


def _check_index(store: Any, name: str, sizes: Sequence[tuple[int, str]], where: str, owner: str) -> None:
    """Hold the two rows of an index against what they count, and features of edges against their number."""
    index = store[name]
    for row, (size, what) in enumerate(sizes):
        if index.shape[1] and (index[row].min() < 0 or index[row].max() >= size):
            place = _first(((index[row] < 0) | (index[row] >= size)).view(-1, 1))
            number = int(index[row, place])
            raise DataError(f"{where}: {name}{owner}[{row}, {place}] is {number}: the {what} are 0 to {size - 1}")
    for attribute in ("edge_attr", "edge_weight"):
        if name == "edge_index" and attribute in store:
            shape = list(store[attribute].shape)
            if shape[0] != index.shape[1] or shape[1:] == [0]:
                raise DataError(f"{where}: {attribute}{owner} has shape {shape}, there are {index.shape[1]} edges")

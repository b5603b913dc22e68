"""What a loaded benchmark is: data, splits, card; and the copy of it whose test labels nobody can see."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.data import BaseData

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.errors import DataError

__all__ = ["Bundle", "Split", "digest", "hide_labels", "label_store"]


def _sorted(indices: Tensor) -> Tensor:
    return torch.as_tensor(indices, dtype=torch.int64).sort().values


@dataclass(frozen=True, eq=False)
class Split:
    """What is trained on, selected by and tested on: rows of ``y`` where there is one graph, else graphs.

    Args:
        index: number of the split in its protocol.
        train: indices to train on, kept sorted as int64.
        val: indices to select by.
        test: indices to report.
        extra: further parts to report beside test, by name, such as in-distribution test graphs (``test_id``) or the
            homophilic half of the test nodes; they may overlap test, never train or val.
        seed: what it was drawn from; None: it comes from a file, or is part of how the data were made.
    """

    index: int
    train: Tensor
    val: Tensor
    test: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("train", "val", "test"):
            object.__setattr__(self, name, _sorted(getattr(self, name)))
        object.__setattr__(self, "extra", {name: _sorted(part) for name, part in self.extra.items()})

    def among(self, rows: Tensor) -> Split:
        """Return the split of which this one, of ``0 .. len(rows) - 1``, numbers the rows."""
        extra = {name: rows[part] for name, part in self.extra.items()}
        return Split(self.index, rows[self.train], rows[self.val], rows[self.test], extra=extra, seed=self.seed)

    @property
    def hash(self) -> str:
        """First 16 hex digits of the sha256 over the arrays, each with its length; extra ones with their names."""
        sha = hashlib.sha256()
        for name, part in {"train": self.train, "val": self.val, "test": self.test, **self.extra}.items():
            if name in self.extra:
                sha.update(name.encode())
            sha.update(len(part).to_bytes(8, "little"))
            sha.update(part.numpy().astype("<i8").tobytes())
        return sha.hexdigest()[:16]


def _update(sha: Any, data: BaseData) -> None:
    for key, value in sorted(_flat(data.to_dict(), "")):
        if isinstance(value, Tensor):
            sha.update(f"{key}:{value.dtype}:{tuple(value.shape)}:".encode())
            array = value.detach().cpu().contiguous().numpy()
            sha.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
        else:
            sha.update(f"{key}={value!r};".encode())


def _flat(mapping: dict[Any, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in mapping.items():
        name = prefix + ("__".join(key) if isinstance(key, tuple) else str(key))
        if isinstance(value, dict):
            yield from _flat(value, f"{name}/")
        else:
            yield name, value


def digest(data: BaseData | list[BaseData]) -> str:
    """Return the first 16 hex digits of the sha256 over everything in ``data``: names, types, shapes and bytes.

    Equal data give equal digests on every machine, in whatever order the attributes were set.
    """
    sha = hashlib.sha256()
    for graph in data if isinstance(data, list) else [data]:
        _update(sha, graph)
        sha.update(b"|")
    return sha.hexdigest()[:16]


def label_store(data: BaseData) -> Any:
    """Return the storage that holds ``y``: the data itself, or the one node or edge type of a ``HeteroData``."""
    if isinstance(data, HeteroData):
        stores = [store for store in data.stores if "y" in store]
        if len(stores) != 1:
            raise DataError(f"exactly one node or edge type must have labels, {len(stores)} have")
        return stores[0]
    return data


def _indices(data: BaseData) -> Iterable[tuple[str, Tensor, tuple[int, int]]]:
    """Yield every index of a graph with its name and the exclusive upper limits of its two rows."""
    if isinstance(data, HeteroData):
        for kind, store in zip(data.edge_types, data.edge_stores, strict=True):
            for name in ("edge_index", "edge_label_index"):
                if name in store:
                    limits = (data[kind[0]].num_nodes, data[kind[2]].num_nodes)
                    yield f"{name} of {' '.join(kind)}", store[name], limits
        return
    if isinstance(data, HypergraphData) and "hyperedge_index" in data:
        yield "hyperedge_index", data.hyperedge_index, (data.num_nodes, data.num_hyperedges or 0)
    for name in ("edge_index", "edge_label_index"):
        if name in data:
            yield name, data[name], (data.num_nodes, data.num_nodes)


def _blanked(y: Tensor, hidden: Tensor | slice) -> Tensor:
    y = y.clone()
    y[hidden] = float("nan") if y.is_floating_point() else -1
    return y


def _with_labels(data: BaseData, change: Callable[[Tensor], Tensor]) -> BaseData:
    data = copy.copy(data)
    store = label_store(data)
    store.y = change(store.y)
    return data


def hide_labels(data: BaseData | list[BaseData], visible: Tensor) -> Any:
    """Return a copy whose labels outside ``visible`` are blanked: integers to -1, real numbers to NaN.

    Args:
        data: one graph (``visible`` are nodes) or a list of graphs (``visible`` are graphs, blanked as a whole).
        visible: indices whose labels stay.
    """
    if isinstance(data, list):
        seen = set(visible.tolist())
        return [
            copy.copy(graph) if i in seen else _with_labels(graph, lambda y: _blanked(y, slice(None)))
            for i, graph in enumerate(data)
        ]
    hidden = torch.ones(len(label_store(data).y), dtype=torch.bool)
    hidden[visible] = False
    return _with_labels(data, lambda y: _blanked(y, hidden))


@dataclass
class Bundle:
    """A benchmark in memory: what :func:`~gnnzoo.datasets.load_dataset` returns.

    Args:
        card: what the dataset is.
        protocol: name of the protocol that the splits belong to.
        data: one graph, or a list of graphs.
        splits: the protocol's splits.
        digest: identity of ``data`` as loaded; transforms and blinding keep it.
        params: the generator's knobs, where the dataset is generated.
    """

    card: DatasetCard
    protocol: str
    data: Data | HeteroData | HypergraphData | list[Data]
    splits: list[Split]
    digest: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def benchmark(self) -> str:
        """``dataset@protocol``."""
        return f"{self.card.name}@{self.protocol}"

    @property
    def metric(self) -> str:
        """What the protocol reports."""
        return self.card.protocols[self.protocol].metric

    @property
    def num_outputs(self) -> int:
        """Number of classes, or of values to predict."""
        return self.card.num_outputs

    @property
    def hash(self) -> str:
        """First 16 hex digits of the sha256 over the hashes of all splits: equal only where all splits are."""
        return hashlib.sha256(" ".join(split.hash for split in self.splits).encode()).hexdigest()[:16]

    @property
    def graphs(self) -> list[Any]:
        """The data objects; a single graph is a list of one."""
        return self.data if isinstance(self.data, list) else [self.data]

    def replace(self, **changes: Any) -> Bundle:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def with_graphs(self, graphs: list[Any]) -> Bundle:
        """Return a copy with other data objects in the places of :attr:`graphs`."""
        return self.replace(data=graphs if isinstance(self.data, list) else graphs[0])

    def blind(self, split: Split) -> Bundle:
        """Return a copy for training on ``split``: labels outside its train and val parts are blanked.

        The copy's only split is ``split`` with an empty test part. Features and edges are shared, not copied.
        """
        visible = torch.cat([split.train, split.val])
        sealed = dataclasses.replace(split, test=torch.empty(0, dtype=torch.int64), extra={})
        return self.replace(data=hide_labels(self.data, visible), splits=[sealed])

    def check(self) -> None:
        """Check splits and labels.

        Raises:
            DataError: a split is empty, overlaps itself or leaves the range; a label or an edge leaves its range.
        """
        size = len(self.data) if isinstance(self.data, list) else len(label_store(self.data).y)
        expected = self.card.protocols[self.protocol].splits
        if len(self.splits) != expected:
            raise DataError(f"{self.benchmark}: {len(self.splits)} splits, the card says {expected}")
        for split in self.splits:
            self._check_split(split, size)
        self._check_edges()
        self._check_labels()

    def _check_split(self, split: Split, size: int) -> None:
        where = f"{self.benchmark} split {split.index}"
        parts = {"train": split.train, "val": split.val, "test": split.test}
        for name, part in parts.items():
            if not len(part):
                raise DataError(f"{where}: {name} is empty")
            if part[0] < 0 or part[-1] >= size:
                raise DataError(f"{where}: {name} leaves 0..{size - 1}")
        if self.card.protocols[self.protocol].selection == "on-test":
            del parts["val"]  # such a protocol selects on the test part; its card says so
        together = torch.cat(list(parts.values()))
        if len(together.unique()) != len(together):
            raise DataError(f"{where}: train, val and test overlap")
        for name, part in split.extra.items():
            if len(part) and (part[0] < 0 or part[-1] >= size):
                raise DataError(f"{where}: {name} leaves 0..{size - 1}")
            if torch.isin(part, torch.cat([split.train, split.val])).any():
                raise DataError(f"{where}: {name} overlaps train or val")

    def _check_edges(self) -> None:
        for graph in self.graphs:
            for name, index, limits in _indices(graph):
                if not index.numel():
                    continue
                low, high = index.min(), index.max(dim=1).values.tolist()
                if low < 0 or high[0] >= limits[0] or high[1] >= limits[1]:
                    raise DataError(f"{self.card.name}: {name} leaves its range")

    def _check_labels(self) -> None:
        if not self.splits:
            return  # nothing is learnt
        used = torch.cat([part for s in self.splits for part in (s.train, s.val, s.test)]).unique()
        if isinstance(self.data, list):
            y = torch.cat([self.data[i].y for i in used.tolist()])
        else:
            y = label_store(self.data).y[used]
        target, name = self.card.target, self.card.name
        if target == "multiclass":
            least = -1 if self.card.task == "inductive-node" else 0  # where some nodes may have no label
            if y.dtype != torch.int64 or y.min() < least or y.max() >= self.num_outputs:
                raise DataError(f"{name}: labels must be int64 in {least}..{self.num_outputs - 1}")
            return
        known = y[~y.isnan()] if y.is_floating_point() else y
        if y.is_floating_point() and not known.isfinite().all():
            raise DataError(f"{name}: a target is infinite")
        if target != "regression" and not ((known == 0) | (known == 1)).all():
            raise DataError(f"{name}: labels must be 0, 1 or NaN")

"""Node tasks: a label per node, on one graph (transductive) or on many (inductive)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch_geometric.data.data import BaseData

from gnnzoo.datasets import Bundle, Split
from gnnzoo.datasets.bundle import label_store
from gnnzoo.tasks.base import Batch, Stage, Task
from gnnzoo.tasks.graph import batches_of_graphs

__all__ = ["InductiveNodeTask", "NodeTask", "some_rows"]


class NodeTask(Task):
    """One graph, seen whole; the split says which nodes are scored. Full batch is a loader of one element.

    Where a transform has left rows that stand for themselves (it sets ``separate_rows``), they come in mini-batches.
    """

    name = "node"

    def loader(self, bundle: Bundle, split: Split, stage: Stage, batch_size: int, seed: int = 0) -> Iterable[Batch]:
        """Return the whole graph with the stage's nodes; or ``batch_size`` of its rows at a time."""
        rows = getattr(split, stage)
        if not getattr(bundle.data, "separate_rows", False):
            return [Batch(bundle.data, rows)]
        if stage == "train":
            rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
        return _batches_of_rows(bundle.data, rows.split(batch_size))


def some_rows(data: BaseData, rows: Tensor) -> BaseData:
    """Return a copy of data whose rows stand for themselves with some of them."""
    part = copy.copy(data)
    store = label_store(part)
    size, rows = len(store.y), rows.to(store.y.device)
    for name, value in list(store.items()):
        if isinstance(value, Tensor) and value.dim() and len(value) == size:
            store[name] = value[rows]
    return part


def _batches_of_rows(data: BaseData, parts: Sequence[Tensor]) -> Iterator[Batch]:
    for rows in parts:
        yield Batch(some_rows(data, rows))


class InductiveNodeTask(Task):
    """Many graphs; the split says which graphs are seen, and all their nodes that have a label are scored."""

    name = "inductive-node"

    def loader(self, bundle: Bundle, split: Split, stage: Stage, batch_size: int, seed: int = 0) -> Iterable[Batch]:
        """Yield batches of the stage's graphs; nodes of class -1 are seen, but not scored."""
        for batch in batches_of_graphs(bundle, split, stage, batch_size, seed):
            if self.target == "multiclass" and (batch.data.y < 0).any():
                batch.index = (batch.data.y >= 0).nonzero().flatten()
            yield batch

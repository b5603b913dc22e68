"""Node tasks: a label per node, on one graph (transductive) or on many (inductive)."""

from __future__ import annotations

from collections.abc import Iterable

from gnnzoo.datasets import Bundle, Split
from gnnzoo.tasks.base import Batch, Stage, Task
from gnnzoo.tasks.graph import batches_of_graphs

__all__ = ["InductiveNodeTask", "NodeTask"]


class NodeTask(Task):
    """One graph, seen whole; the split says which nodes are scored. Full batch is a loader of one element."""

    name = "node"

    def loader(self, bundle: Bundle, split: Split, stage: Stage, batch_size: int, seed: int = 0) -> Iterable[Batch]:
        """Return the whole graph with the stage's nodes; ``batch_size`` and ``seed`` play no part."""
        return [Batch(bundle.data, getattr(split, stage))]


class InductiveNodeTask(Task):
    """Many graphs; the split says which graphs are seen, and all their nodes that have a label are scored."""

    name = "inductive-node"

    def loader(self, bundle: Bundle, split: Split, stage: Stage, batch_size: int, seed: int = 0) -> Iterable[Batch]:
        """Yield batches of the stage's graphs; nodes of class -1 are seen, but not scored."""
        for batch in batches_of_graphs(bundle, split, stage, batch_size, seed):
            if self.target == "multiclass" and (batch.data.y < 0).any():
                batch.index = (batch.data.y >= 0).nonzero().flatten()
            yield batch

"""Graph tasks: a label or value per graph, in mini-batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch_geometric.loader import DataLoader

from gnnzoo.datasets import Bundle, Split
from gnnzoo.tasks.base import Batch, Stage, Task

__all__ = ["GraphTask", "batches_of_graphs"]


def batches_of_graphs(bundle: Bundle, split: Split, stage: Stage, batch_size: int, seed: int) -> Iterable[Batch]:
    """Yield PyG batches of the stage's graphs; the order of ``train`` depends on ``seed`` alone."""
    graphs = [bundle.graphs[i] for i in getattr(split, stage).tolist()]
    generator = torch.Generator().manual_seed(seed)
    for data in DataLoader(graphs, batch_size=batch_size, shuffle=stage == "train", generator=generator):
        yield Batch(data)


class GraphTask(Task):
    """Classification or regression of whole graphs."""

    name = "graph"

    def loader(self, bundle: Bundle, split: Split, stage: Stage, batch_size: int, seed: int = 0) -> Iterable[Batch]:
        """Return batches of the stage's graphs."""
        return batches_of_graphs(bundle, split, stage, batch_size, seed)

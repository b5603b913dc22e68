"""PolBlogs: political blogs before the American election of 2004, linked by hyperlinks; liberal or conservative."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.datasets import PolBlogs

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import per_class

__all__ = ["load"]


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read the hyperlinks in their direction.

    The blogs have no features: ``x`` is the identity matrix, the field's habit.
    """
    with files.layout({file: f"raw/{file}" for file in card.files}, PolBlogs) as folder:
        data = PolBlogs(str(folder))[0]
    graph = Data(x=torch.eye(len(data.y)), edge_index=data.edge_index, y=data.y)
    return graph, per_class(graph.y, (0.1, 0.1), card.protocols[protocol].splits)

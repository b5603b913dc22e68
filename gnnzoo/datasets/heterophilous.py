"""The graphs of Platonov et al. 2023: five new ones, and older ones without their repeated nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import HeterophilousGraphDataset
from torch_geometric.utils import coalesce

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.halves import by_homophily
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import from_masks

__all__ = ["load"]


class _AnyName(HeterophilousGraphDataset):
    """PyG's class knows five names; the repository has more files of the same layout."""

    def __init__(self, root: str, name: str) -> None:
        self.name = name
        super(HeterophilousGraphDataset, self).__init__(root)
        self.load(self.processed_paths[0])


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read one graph with its ten splits, and with the test nodes in two halves for ``hei-halves``.

    PyG's class makes every graph undirected. That is how the authors use them, but for those whose name says that
    they are directed: their edges are kept as the file has them.
    """
    (file,) = card.files
    name = file.removesuffix(".npz")
    with files.layout({file: f"{name}/raw/{file}"}, _AnyName, name=name) as folder:
        data = _AnyName(str(folder), name)[0]
        if name.endswith("_directed"):
            with np.load(Path(folder, name, "raw", file)) as arrays:
                edges = torch.from_numpy(arrays["edges"]).t().contiguous()
            data.edge_index = coalesce(edges, num_nodes=data.num_nodes)
    y = data.y.float()[:, None] if card.target == "binary" else data.y
    graph = Data(x=data.x, edge_index=data.edge_index, y=y)
    splits = from_masks(data.train_mask, data.val_mask, data.test_mask)
    return graph, by_homophily(graph, splits) if protocol == "hei-halves" else splits

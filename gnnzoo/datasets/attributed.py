"""Citation, co-purchase and co-author graphs in the npz format of Bojchevski, Günnemann and Shchur.

The sets that PyG calls CitationFull, Amazon and Coauthor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets import Amazon, CitationFull, Coauthor
from torch_geometric.io import read_npz
from torch_geometric.utils import to_scipy_sparse_matrix

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import by_name, some_per_class

__all__ = ["largest_component", "load", "values_made_one"]


_CLASSES = {"amazon": Amazon, "citationfull": CitationFull, "coauthor": Coauthor}


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read a graph as PyG does: undirected, without self-loops, every positive attribute 1.

    The card's first file is the graph, a second one the split of ``tunedgnn``.
    """
    graph, *splits_file = card.files
    name = Path(card.root, graph).parts[-3]  # as PyG's classes call it
    places = {graph: f"{name}/raw/{Path(graph).name}"}
    places |= {file: file for file in splits_file if protocol == "tunedgnn"}
    with files.layout(places, _CLASSES[card.family], name=name) as folder:
        # what PyG's classes call; they would also write the features, dense, to disk (1.2 GB for Physics)
        data = read_npz(str(folder / places[graph]))
        if protocol == "tunedgnn":
            with np.load(folder / splits_file[0]) as parts:
                split = Split(0, *(torch.from_numpy(parts[name]) for name in ("train", "valid", "test")))
    number = card.protocols[protocol].splits
    if protocol == "tunedgnn":
        return data, [split]
    if protocol == "random-20-30":
        return data, some_per_class(data.y, number, nodes=_largest_component(data))
    return data, by_name(protocol, data.y, number)


def _largest_component(data: Data) -> Tensor:
    """Return the nodes of the largest connected component, ascending."""
    adjacency = to_scipy_sparse_matrix(data.edge_index, num_nodes=data.num_nodes)
    component = connected_components(adjacency, directed=False)[1]
    return torch.from_numpy(np.flatnonzero(component == np.bincount(component).argmax()))


def largest_component(bundle: Bundle, files: RawFiles) -> int:
    """Nodes in the largest connected component."""
    return len(_largest_component(bundle.graphs[0]))


def values_made_one(bundle: Bundle, files: RawFiles) -> int:
    """Attributes whose value in the file is neither 0 nor 1: reading them as PyG does loses it."""
    name = next(iter(files.card.files))
    with files.layout([name]) as folder, np.load(folder / name) as arrays:
        return int((~np.isin(arrays["attr_data"], (0, 1))).sum())

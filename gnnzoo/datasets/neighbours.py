"""Tables as graphs: scikit-learn's digits, wine and breast-cancer, every row joined to its nearest ones."""

from __future__ import annotations

import numpy as np
import sklearn.datasets
import torch
from scipy.spatial.distance import cdist
from torch import Tensor
from torch_geometric.data import Data

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import per_class
from gnnzoo.errors import ConfigError
from gnnzoo.types import PositiveInt

__all__ = ["load_graph", "load_hypergraph"]


def _table(card: DatasetCard, k: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Return standardised features, classes, and the numbers of the ``k`` nearest rows of each, ``[num_rows, k]``.

    Columns that never change are 0. Distances are Euclidean, rounded to nine digits so that they are the same on every
    machine; of rows equally far, the earlier is nearer.
    """
    name = card.name.partition("-")[2].replace("-", "_")
    table = getattr(sklearn.datasets, f"load_{name}")()
    if k >= len(table.target):
        raise ConfigError(f"dataset.k={k}: {card.name} has {len(table.target)} rows")
    spread = table.data.std(axis=0)
    x = (table.data - table.data.mean(axis=0)) / np.where(spread > 0, spread, 1)
    distances = cdist(x, x).round(9)
    np.fill_diagonal(distances, -1)  # a row is nearest to itself, even where another one equals it
    nearest = np.argsort(distances, axis=1, kind="stable")[:, 1 : k + 1]
    return torch.from_numpy(x).float(), torch.from_numpy(table.target.astype(np.int64)), nearest


def load_graph(card: DatasetCard, protocol: str, files: RawFiles, k: PositiveInt = 5) -> tuple[Data, list[Split]]:
    """Return a table as a graph: two rows are joined where one is among the ``k`` nearest of the other.

    Args:
        k: number of neighbours that a row chooses, itself not counted.
    """
    x, y, nearest = _table(card, k)
    source, target = np.repeat(np.arange(len(y)), k), nearest.ravel()
    code = np.unique(np.concatenate([source * len(y) + target, target * len(y) + source]))
    edge_index = torch.from_numpy(np.stack(np.divmod(code, len(y))))
    return Data(x=x, edge_index=edge_index, y=y), per_class(y, (0.48, 0.32), card.protocols[protocol].splits)


def load_hypergraph(
    card: DatasetCard, protocol: str, files: RawFiles, k: PositiveInt = 5
) -> tuple[HypergraphData, list[Split]]:
    """Return a table as a hypergraph: hyperedge ``i`` holds row ``i`` and the ``k`` nearest of the others.

    Args:
        k: number of neighbours in a hyperedge, the row itself not counted.
    """
    x, y, nearest = _table(card, k)
    rows = np.arange(len(y))
    nodes = np.concatenate([rows[:, None], nearest], axis=1)
    index = torch.from_numpy(np.stack([nodes.ravel(), np.repeat(rows, k + 1)]))
    data = HypergraphData(x=x, hyperedge_index=index, y=y)
    return data, per_class(y, (0.5, 0.25), card.protocols[protocol].splits)

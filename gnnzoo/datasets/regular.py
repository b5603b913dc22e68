"""Regular graphs that colour refinement cannot tell apart, from their formulas."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.synthetic import both_directions
from gnnzoo.types import Seed

__all__ = ["load_csl", "load_rook_shrikhande"]

_NODES = 41
_SKIPS = (2, 3, 4, 5, 6, 9, 11, 12, 13, 16)
_COPIES = 15


def load_csl(card: DatasetCard, protocol: str, files: RawFiles, seed: Seed = 0) -> tuple[list[Data], list[Split]]:
    r"""Generate circular skip links: a cycle of 41 nodes whose class is how far its chords skip.

    Node :math:`i` is joined to :math:`i \pm 1` and :math:`i \pm R` modulo 41, :math:`R` one of ten skips. Every class
    has 15 copies with nodes in random order, dealt to five folds of three. Fold ``i`` is test, fold ``i + 1``
    validation.

    Args:
        seed: of the orders of the nodes; the folds do not depend on it.
    """
    rng = np.random.RandomState(seed)
    graphs = []
    start = np.arange(_NODES)
    for label, skip in enumerate(_SKIPS):
        pairs = np.concatenate([np.stack([start, (start + step) % _NODES]) for step in (1, skip)], axis=1)
        for _ in range(_COPIES):
            index = both_directions(rng.permutation(_NODES)[pairs])
            graphs.append(Data(x=torch.ones(_NODES, 1), edge_index=index, y=torch.tensor([label])))
    # copies are in random order already: fold f has the copies 3 f, 3 f + 1, 3 f + 2 of each class
    count = card.protocols[protocol].splits
    folds = torch.arange(len(graphs)).view(len(_SKIPS), count, -1).transpose(0, 1).reshape(count, -1)
    splits = []
    for i in range(count):
        val = (i + 1) % count
        train = torch.cat([fold for j, fold in enumerate(folds) if j not in (i, val)])
        splits.append(Split(i, train, folds[val], folds[i]))
    return graphs, splits


def load_rook_shrikhande(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    r"""Return the two strongly regular graphs of parameters (16, 6, 2, 2): the rook's and Shrikhande's.

    Nodes are the squares :math:`(a, b)` of a 4 x 4 board. In the rook's graph, squares of one row or column are joined.
    In Shrikhande's, on a torus, they are where they differ by :math:`\pm (1, 0)`, :math:`\pm (0, 1)` or
    :math:`\pm (1, 1)`.
    """
    row, column = np.divmod(np.arange(16), 4)
    down, right = (row[:, None] - row) % 4, (column[:, None] - column) % 4
    rook = (down == 0) ^ (right == 0)
    steps = ((0, 1), (0, 3), (1, 0), (3, 0), (1, 1), (3, 3))
    shrikhande = np.any([(down == a) & (right == b) for a, b in steps], axis=0)
    return [_graph(rook, 0), _graph(shrikhande, 1)], []


def _graph(adjacent: np.ndarray, y: int) -> Data:
    index: Tensor = torch.from_numpy(np.stack(np.nonzero(adjacent)))
    ones = torch.ones(len(adjacent), 1)
    return Data(x=ones, edge_index=index, y=torch.tensor([y]), group=torch.tensor([0]))

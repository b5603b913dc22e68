"""TUDataset: collections of small graphs with a class each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from torch_geometric.data import Data
from torch_geometric.datasets import TUDataset

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles

__all__ = ["load"]


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read a collection in TUDataset's own order.

    Both protocols draw the ten stratified folds of seed 0, as the code of GIN does. In ``gin-10fold`` a fold is
    validation and test at once, the field's habit. In ``clean-10fold`` fold ``i`` is test and fold ``i + 1`` is
    validation.
    """
    name = Path(card.root).parent.name
    with files.layout({f: f"{name}/raw/{f}" for f in card.files}, TUDataset, name=name, cleaned=False) as root:
        graphs = list(TUDataset(str(root), name))
    y = torch.cat([graph.y for graph in graphs]).numpy()
    drawn = StratifiedKFold(card.protocols[protocol].splits, shuffle=True, random_state=0).split(y, y)
    folds = [test for _, test in drawn]
    splits = []
    for i, test in enumerate(folds):
        val = test if protocol == "gin-10fold" else folds[(i + 1) % len(folds)]
        train = np.setdiff1d(np.arange(len(y)), np.concatenate([val, test]))
        splits.append(Split(i, *map(torch.from_numpy, (train, val, test))))
    return graphs, splits

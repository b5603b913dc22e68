"""The graphs of MAGNN: DBLP's authors with their papers, terms and conferences; IMDB's movies with their people."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import HeteroData
from torch_geometric.datasets import DBLP, IMDB

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split, label_store
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import from_masks

__all__ = ["load"]


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HeteroData, list[Split]]:
    """Read DBLP or IMDB with the one split in the files (the card's only protocol)."""
    upstream: Any = DBLP if card.name == "magnn-dblp" else IMDB
    with files.layout(list(card.files), upstream) as folder:
        data = upstream(str(folder))[0]
    store = label_store(data)
    splits = from_masks(*(store.pop(f"{part}_mask") for part in ("train", "val", "test")))
    return data, splits

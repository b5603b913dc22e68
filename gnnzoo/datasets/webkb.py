"""WebKB: web pages of universities, linked by hyperlinks, one of five kinds each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch_geometric.data import Data
from torch_geometric.datasets import WebKB

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import from_masks

__all__ = ["load"]


class _AsOf2021(WebKB):
    """The repository before its Cornell file was corrected."""

    url = "https://raw.githubusercontent.com/graphdml-uiuc-jlu/geom-gcn/f1fc0d1"


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read one university with the ten splits of Geom-GCN (the card's only protocol)."""
    name = Path(card.root).parent.name
    upstream: Any = _AsOf2021 if card.name == "cornell_legacy" else WebKB
    with files.layout({file: f"{name}/raw/{file}" for file in card.files}, upstream, name=name) as folder:
        data = WebKB(str(folder), name)[0]
    splits = from_masks(data.train_mask, data.val_mask, data.test_mask)
    return Data(x=data.x, edge_index=data.edge_index, y=data.y), splits

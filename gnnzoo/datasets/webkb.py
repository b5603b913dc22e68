"""WebKB: web pages of universities, linked by hyperlinks, one of five kinds each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch_geometric.data import Data
from torch_geometric.datasets import WebKB

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.health import edge_homophily
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import by_name, from_masks
from gnnzoo.registry import DATASETS

__all__ = ["has_the_pages_of_texas", "homophily", "load", "smallest_test_part"]

_PAGES = "out1_node_feature_label.txt"


class _AsOf2021(WebKB):
    """The repository before its Cornell file was corrected."""

    url = "https://raw.githubusercontent.com/graphdml-uiuc-jlu/geom-gcn/f1fc0d1"


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read one university with the ten splits of Geom-GCN, or with those of a random protocol."""
    name = Path(card.root).parent.name
    upstream: Any = _AsOf2021 if card.name == "cornell_legacy" else WebKB
    with files.layout({file: f"{name}/raw/{file}" for file in card.files}, upstream, name=name) as folder:
        data = WebKB(str(folder), name)[0]
    if protocol == "geom-gcn":
        splits = from_masks(data.train_mask, data.val_mask, data.test_mask)
    else:
        splits = by_name(protocol, data.y, card.protocols[protocol].splits)
    return Data(x=data.x, edge_index=data.edge_index, y=data.y), splits


def has_the_pages_of_texas(bundle: Bundle, files: RawFiles) -> bool:
    """Whether the file of features and labels is, byte for byte, that of texas."""
    return files.check([_PAGES]).get(_PAGES) == DATASETS.card("texas").files[_PAGES]


def homophily(bundle: Bundle, files: RawFiles) -> float | None:
    """Share of the edges within a class."""
    return edge_homophily(bundle)


def smallest_test_part(bundle: Bundle, files: RawFiles) -> int:
    """Nodes in the smallest test part."""
    return min(len(split.test) for split in bundle.splits)

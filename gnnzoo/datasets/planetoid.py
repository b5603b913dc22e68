"""Planetoid: papers that cite each other, described by the words in them."""

from __future__ import annotations

from pathlib import Path

from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import from_masks, planetoid_random

__all__ = ["load"]


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read Cora, CiteSeer or PubMed with the splits of ``public``, ``geom-gcn`` or ``random-20``."""
    name = Path(card.root).name
    split = "geom-gcn" if protocol == "geom-gcn" else "public"
    # the citation files lie once in the data root; PyG looks for them beside each kind of split
    folder = f"{name}/geom-gcn/raw" if split == "geom-gcn" else f"{name}/raw"
    wanted = [file for file in card.files if split == "geom-gcn" or Path(file).name.startswith("ind.")]
    places = {file: f"{folder}/{Path(file).name}" for file in wanted}
    with files.layout(places, Planetoid, name=name, split=split) as root:
        data = Planetoid(str(root), name, split=split)[0]
    if protocol == "random-20":
        splits = planetoid_random(data.y, card.protocols[protocol].splits)
    else:
        splits = from_masks(data.train_mask, data.val_mask, data.test_mask)
    return Data(x=data.x, edge_index=data.edge_index, y=data.y), splits

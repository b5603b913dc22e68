"""Planetoid: papers that cite each other, described by the words in them."""

from __future__ import annotations

from pathlib import Path

from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import pickles
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import by_name, from_masks
from gnnzoo.errors import DataError

__all__ = ["load"]


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read Cora, CiteSeer or PubMed with the splits of ``public`` or ``geom-gcn``, or random ones.

    Raises:
        DataError: a pickle without a checksum holds more than arrays, or does not fit the other files.
    """
    name = Path(card.root).name
    split = "geom-gcn" if protocol == "geom-gcn" else "public"
    # the citation files lie once in the data root; PyG looks for them beside each kind of split
    folder = f"{name}/geom-gcn/raw" if split == "geom-gcn" else f"{name}/raw"
    wanted = [file for file in card.files if split == "geom-gcn" or Path(file).name.startswith("ind.")]
    unknown = [file for file in wanted if card.files[file] is None]
    places = {file: f"{folder}/{Path(file).name}" for file in wanted}
    with files.layout(places, Planetoid, name=name, split=split) as root:
        for file in unknown:
            pickles.check(root / places[file])  # PyG would run whatever is in it
        try:
            data = Planetoid(str(root), name, split=split)[0]
        except Exception as error:  # arrays of wrong shapes raise anything
            if not unknown:
                raise
            why = " ".join(str(error).split())
            raise DataError(f"{card.name}: {', '.join(unknown)} does not fit the other files ({why})") from error
    if protocol in ("public", "geom-gcn"):
        splits = from_masks(data.train_mask, data.val_mask, data.test_mask)
    else:
        splits = by_name(protocol, data.y, card.protocols[protocol].splits)
    return Data(x=data.x, edge_index=data.edge_index, y=data.y), splits

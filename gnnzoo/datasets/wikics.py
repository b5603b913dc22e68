"""Wiki-CS: articles of Wikipedia about computer science, linked by hyperlinks, described by mean word vectors."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.datasets import WikiCS

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import from_masks
from gnnzoo.errors import DataError

__all__ = ["load"]


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read the hyperlinks in their direction, with the twenty splits of the file; all have one test part.

    ``public`` selects on the validation nodes, ``val-and-stopping`` on them and on those meant for early stopping.

    Raises:
        DataError: ``data.json`` is not in the format of the authors.
    """
    with files.layout({"data.json": "raw/data.json"}, WikiCS) as folder:
        try:
            data = WikiCS(str(folder), is_undirected=False)[0]
            val = data.val_mask | data.stopping_mask if protocol == "val-and-stopping" else data.val_mask
            splits = from_masks(data.train_mask, val, data.test_mask[:, None].expand_as(val))
        except Exception as error:  # nobody published a checksum, so the file may be anything
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise DataError(f"{card.name}: data.json is not as the authors wrote it ({why})") from error
    return Data(x=data.x, edge_index=data.edge_index, y=data.y), splits

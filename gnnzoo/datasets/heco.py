"""The graphs of HeCo: one type of node with labels and its relations to the others, a text file each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.number_files import read_columns
from gnnzoo.datasets.raw import RawFiles

__all__ = ["load"]

_NAMES = {
    "acm": {"p": "paper", "a": "author", "s": "subject"},
    "dblp": {"a": "author", "p": "paper", "c": "conference", "t": "term"},
    "aminer": {"p": "paper", "a": "author", "r": "reference"},
    "freebase": {"m": "movie", "d": "director", "a": "actor", "w": "writer"},
}
"""What the letters in the files' names stand for; the first type has the labels."""


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HeteroData, list[Split]]:
    """Read a graph with the split of ``heco-20``, ``heco-40`` or ``heco-60`` (training labels per class).

    Relations point as their files do (``pa.txt``: paper to author) and have no reverse. Types without a feature file
    have ``num_nodes`` only; HeCo gives them the identity.
    """
    kinds = _NAMES[Path(card.root).name]
    labels = protocol.removeprefix("heco-")
    splits = [f"{part}_{labels}.npy" for part in ("train", "val", "test")]
    with files.layout([file for file in card.files if "_" not in file or "feat" in file] + splits) as folder:
        relations = {path.stem: read_columns(path, "ii", card.name) for path in sorted(folder.glob("??.txt"))}
        features = {path.name[0]: _features(path) for path in sorted(folder.glob("?_feat.npz"))}
        y = torch.from_numpy(np.load(folder / "labels.npy").astype(np.int64))
        split = Split(0, *(torch.from_numpy(np.load(folder / name)) for name in splits))
    data = HeteroData()
    for letter, name in kinds.items():
        if letter in features:
            data[name].x = features[letter]
        else:
            ids = [ends[relation.index(letter)] for relation, ends in relations.items() if letter in relation]
            data[name].num_nodes = int(np.concatenate(ids).max()) + 1
    data[next(iter(kinds.values()))].y = y
    for relation, ends in relations.items():
        data[kinds[relation[0]], "to", kinds[relation[1]]].edge_index = torch.from_numpy(np.stack(ends))
    return data, [split]


def _features(path: Path) -> Tensor:
    """Read a SciPy matrix; one file called npz is a plain array."""
    found = np.load(path)
    dense = found if isinstance(found, np.ndarray) else scipy.sparse.load_npz(path).astype(np.float32).toarray()
    return torch.from_numpy(dense.astype(np.float32, copy=False))

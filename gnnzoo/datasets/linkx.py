"""Facebook friendships within American universities in 2005 (LINKX's part of facebook100); the class is the gender."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch_geometric.data import Data
from torch_geometric.datasets import LINKXDataset

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import pickles
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.halves import by_homophily
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import per_class, uniform
from gnnzoo.errors import DataError

__all__ = ["homophily_of_labelled", "load", "read_splits"]


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read one university.

    Students of unknown gender have the label -1: they stay in the graph, with their features, but are in no split.
    ``lim`` are the splits of a file, ``hei-halves`` the same ones with the test nodes in two halves; the others are
    drawn among the labelled students.

    Raises:
        DataError: the split file holds anything else than splits.
    """
    name = Path(card.root).parent.name
    places = {file: f"{name}/raw/{file}" for file in card.files}
    with files.layout(places, LINKXDataset, name=name, url=LINKXDataset.github_url) as folder:
        raw = folder / name / "raw"
        # read before PyG's class unpickles them
        fixed = [split for file in card.files if file.endswith(".npy") for split in read_splits(raw / file, card.name)]
        data = LINKXDataset(str(folder), name)[0]
    graph = Data(x=data.x, edge_index=data.edge_index, y=data.y)
    if protocol in ("lim", "hei-halves"):
        return graph, by_homophily(graph, fixed) if protocol == "hei-halves" else fixed
    number = card.protocols[protocol].splits
    known = (graph.y >= 0).nonzero().flatten()
    if protocol == "random-50-25-25":
        drawn = uniform(len(known), (0.5, 0.25), number)
    else:
        drawn = per_class(graph.y[known], (0.48, 0.32), number)
    return graph, [split.among(known) for split in drawn]


def read_splits(path: Path, name: str) -> list[Split]:
    """Read a file of splits of Lim et al.: a pickled array of ``{"train": [...], "valid": [...], "test": [...]}``.

    Args:
        path: an ``.npy`` file; what its pickle asks for is restricted by :mod:`gnnzoo.datasets.pickles`.
        name: the dataset's, for messages.

    Raises:
        DataError: it holds something else.
    """
    with open(path, "rb") as file:
        try:
            version = npy.read_magic(file)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            _, _, dtype = read_header(file)
        except ValueError as error:
            raise DataError(f"{name}: {path.name} is no npy file ({error})") from error
        if not dtype.hasobject:
            raise DataError(f"{name}: {path.name} holds {dtype}, not splits")
        body = path.with_suffix(".pickle")
        body.write_bytes(file.read())
    splits = []
    try:
        found = pickles.load(body)
        for i, parts in enumerate(found):
            arrays = [np.asarray(parts[key]) for key in ("train", "valid", "test")]
            if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in arrays):
                raise TypeError(f"split {i} is not made of lists of nodes")
            splits.append(Split(i, *(torch.from_numpy(array.astype(np.int64)) for array in arrays)))
    except (DataError, LookupError, TypeError, ValueError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{name}: {path.name} does not hold splits ({why})") from error
    return splits


def homophily_of_labelled(bundle: Bundle, files: RawFiles) -> float:
    """Share of the edges within a class among those between two labelled nodes."""
    ends = bundle.graphs[0].y[bundle.graphs[0].edge_index]
    ends = ends[:, (ends >= 0).all(dim=0)]
    return float((ends[0] == ends[1]).double().mean())

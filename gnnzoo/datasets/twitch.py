"""Twitch: streamers of seven language regions, linked by mutual following; does the channel show mature content?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data, download_url

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.linkx import read_splits
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import uniform
from gnnzoo.errors import DataError

__all__ = ["COUNTRIES", "features_in_use", "load", "load_all", "repeated_rows"]

COUNTRIES = ("DE", "ENGB", "ES", "FR", "PTBR", "RU", "TW")
"""The regions in the order of Wu et al.: one to train on, one to select by, five to test on."""

NUM_FEATURES = 3170
"""Ids of games, places and habits; the numbering is common to all regions."""


class _Repository:
    """The repository of Lim et al., shaped like a PyG dataset; a card's folder is not one of its folders."""

    url = "https://raw.githubusercontent.com/CUAI/Non-Homophily-Benchmarks/af14a88/data"
    root: str
    wanted: list[str]

    @property
    def raw_dir(self) -> str:
        return self.root

    def download(self) -> None:
        for place in self.wanted:
            download_url(f"{self.url}/{place}", os.path.join(self.root, os.path.dirname(place)), log=False)


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read the streamers of one region.

    ``lim`` are the five splits of a file (Germany alone has one); ``random-50-25-25`` are drawn by the same rule.

    Raises:
        DataError: a file is not in the authors' format.
    """
    region = next(Path(file).parts[0] for file in card.files if file.endswith("_edges.csv"))
    places = {file: file if file.startswith("splits/") else f"twitch/{file}" for file in card.files}
    with files.layout(places, _Repository, wanted=[*places.values()]) as folder:
        data = _read(folder / "twitch" / region, region, card.name)
        fixed = [
            split for file in card.files if file.endswith(".npy") for split in read_splits(folder / file, card.name)
        ]
    if protocol == "lim":
        return data, fixed
    return data, uniform(len(data.y), (0.5, 0.25), card.protocols[protocol].splits)


def load_all(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read all regions, in the order of :data:`COUNTRIES`, with a further part for each that is tested."""
    places = {file: f"twitch/{file}" for file in card.files}
    with files.layout(places, _Repository, wanted=[*places.values()]) as folder:
        graphs = [_read(folder / "twitch" / region, region, card.name) for region in COUNTRIES]
    extra = {region.lower(): torch.tensor([i]) for i, region in enumerate(COUNTRIES) if i > 1}
    return graphs, [Split(0, torch.tensor([0]), torch.tensor([1]), torch.arange(2, len(COUNTRIES)), extra=extra)]


def _read(folder: Path, region: str, name: str) -> Data:
    """Read a region: every edge once as the file has it, features as 0 and 1, ``y`` ``[num_nodes, 1]``."""
    targets = _table(folder / f"musae_{region}_target.csv", ["new_id", "mature"], name)
    # the French file lists two streamers twice
    nodes, first = np.unique(targets[:, 0], return_index=True)
    if not np.array_equal(nodes, np.arange(len(nodes))):
        raise DataError(f"{name}: musae_{region}_target.csv does not number its {len(nodes)} streamers from 0 on")
    edges = _table(folder / f"musae_{region}_edges.csv", ["from", "to"], name)
    x = _features(folder / f"musae_{region}_features.json", len(nodes), name)
    y = torch.from_numpy(targets[first, 1]).float()[:, None]
    return Data(x=x, edge_index=torch.from_numpy(edges).t().contiguous(), y=y)


def _table(path: Path, columns: list[str], name: str) -> np.ndarray:
    """Read columns of whole numbers or of True and False, ``[num_rows, num_columns]``, int64."""
    where = f"{name}: {path.name}"
    with open(path, encoding="utf-8") as file:
        header = file.readline().strip().split(",")
        if missing := [column for column in columns if column not in header]:
            raise DataError(f"{where} line 1: there is no column {missing[0]}")
        places = [header.index(column) for column in columns]
        try:
            table = np.loadtxt(file, dtype="U20", delimiter=",", comments=None, usecols=places, ndmin=2)
        except ValueError as error:
            raise DataError(f"{where} is no table ({error}, counted after the header)") from error
    table[table == "True"], table[table == "False"] = "1", "0"
    wrong = ~np.char.isdecimal(table) | (np.char.str_len(table) > 18)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(f"{where} line {row + 2}: {columns[column]} is {str(table[row, column])!r}")
    return table.astype(np.int64)


def _features(path: Path, num_nodes: int, name: str) -> torch.Tensor:
    """Read which features each streamer has, ``[num_nodes, NUM_FEATURES]`` of 0 and 1."""
    try:
        lists: dict[str, list[int]] = json.loads(path.read_bytes())
        rows = np.repeat(np.array([int(node) for node in lists]), [len(ids) for ids in lists.values()])
        columns = np.array([i for ids in lists.values() for i in ids], dtype=np.int64)
    except json.JSONDecodeError as error:
        raise DataError(f"{name}: {path.name} line {error.lineno}: {error.msg}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{name}: {path.name} is not a mapping of streamers to lists of numbers ({error})") from error
    for what, found, limit in (("streamer", rows, num_nodes), ("feature", columns, NUM_FEATURES)):
        if len(found) and not 0 <= found.min() <= found.max() < limit:
            wrong = found[(found < 0) | (found >= limit)][0]
            raise DataError(f"{name}: {path.name}: {what} {wrong} is not one of 0..{limit - 1}")
    x = torch.zeros(num_nodes, NUM_FEATURES)
    x[torch.from_numpy(rows), torch.from_numpy(columns)] = 1
    return x


def features_in_use(bundle: Bundle, files: RawFiles) -> int:
    """Columns of the features that are not zero everywhere."""
    return int((bundle.graphs[0].x != 0).any(dim=0).sum())


def repeated_rows(bundle: Bundle, files: RawFiles) -> int:
    """Rows of the target file for a streamer that an earlier row has."""
    (file,) = (file for file in bundle.card.files if file.endswith("_target.csv"))
    with files.layout([file]) as folder:
        nodes = _table(folder / file, ["new_id"], bundle.card.name)
    return len(nodes) - len(np.unique(nodes))

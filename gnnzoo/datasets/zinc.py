"""ZINC-12k: drug-like molecules with their penalised logP, and the part of it that could be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets import ZINC

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import pickles
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError

__all__ = ["load", "load_partial"]

_PARTS = ("train", "val", "test")


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read the 12000 molecules whose numbers the index files give, in their order: train, val, test.

    The result is that of PyG's class with ``subset=True``, which is not used to read them: it unpickles files that
    nobody has published a checksum of.

    Graphs have ``x`` ``[num_nodes, 1]`` (28 kinds of atom) and ``edge_attr`` ``[num_edges]`` (1, 2 or 3 bonds), both
    int64, and ``y`` ``[1, 1]`` float32.

    Raises:
        DataError: a file is no pickle of molecules, asks for code, or an index file holds anything but their numbers.
    """
    graphs: list[list[Data]] = []
    with files.layout({name: f"raw/{name}" for name in card.files}, ZINC) as folder:
        for part in _PARTS:
            molecules = _unpickled(card, folder / "raw" / f"{part}.pickle")
            numbers = _numbers(card, folder / "raw" / f"{part}.index", len(molecules))
            try:
                graphs.append([_graph(molecules[number]) for number in numbers])
            except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
                raise DataError(
                    f"{card.name}: {part}.pickle holds something else than molecules ({type(error).__name__}: {error})"
                ) from error
    return _joined(graphs)


def _graph(molecule: dict[str, Tensor]) -> Data:
    bonds = molecule["bond_type"].long()  # [num_nodes, num_nodes]; 0 is no bond
    edge_index = bonds.nonzero().T.contiguous()
    return Data(
        x=molecule["atom_type"].long().reshape(-1, 1),
        edge_index=edge_index,
        edge_attr=bonds[edge_index[0], edge_index[1]],
        y=molecule["logP_SA_cycle_normalized"].float().reshape(1, 1),
    )


def _joined(parts: list[list[Data]]) -> tuple[list[Data], list[Split]]:
    sizes = [len(part) for part in parts]
    return [graph for part in parts for graph in part], [Split(0, *torch.arange(sum(sizes)).split(sizes))]


def _unpickled(card: DatasetCard, path: Path) -> list[dict[str, Tensor]]:
    try:
        molecules = pickles.load(path)
    except DataError as error:
        raise DataError(f"{card.name}: {error}") from None
    if not isinstance(molecules, list):
        raise DataError(f"{card.name}: {path.name} holds a {type(molecules).__name__}, not a list of molecules")
    return molecules


def _numbers(card: DatasetCard, path: Path, size: int) -> list[int]:
    """Return the comma-separated numbers of an index file."""
    try:
        numbers = [int(field) for field in path.read_text(encoding="utf-8").split(",")]
    except ValueError as error:
        raise DataError(f"{card.name}: {path.name}, line 1: {error}") from error
    if not all(0 <= number < size for number in numbers):
        raise DataError(f"{card.name}: {path.name}, line 1: a number is not in 0..{size - 1}")
    return numbers


def load_partial(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read the official validation and test molecules, and others in the place of the training ones.

    Graphs are shaped as those of :func:`load`, and each one's edges are in the same order.
    """
    with files.layout(list(card.files)) as folder:
        parts = [_from_arrays(folder / name) for name in ("train_surrogate.npz", "val.npz", "test.npz")]
    return _joined(parts)


def _from_arrays(path: Path) -> list[Data]:
    with np.load(path, allow_pickle=False) as arrays:
        content = {name: torch.from_numpy(arrays[name]).long() for name in ("atom_type", "bonds", "bond_type")}
        atoms, bonds = (np.diff(arrays[name]) for name in ("node_ptr", "bond_ptr"))
        targets = torch.from_numpy(arrays["y"]).float().reshape(-1, 1)
    edges = torch.cat([content["bonds"], content["bonds"].flip(1)]).T  # every bond once in each direction
    kinds = content["bond_type"].repeat(2)
    graph = np.tile(np.repeat(np.arange(len(bonds)), bonds), 2)
    order = torch.from_numpy(np.lexsort((edges[1].numpy(), edges[0].numpy(), graph)))
    columns = zip(
        content["atom_type"].unsqueeze(1).split(atoms.tolist()),
        edges[:, order].split((2 * bonds).tolist(), dim=1),
        kinds[order].split((2 * bonds).tolist()),
        targets.split(1),
        strict=True,
    )
    return [Data(x=x, edge_index=index.contiguous(), edge_attr=kind, y=y) for x, index, kind, y in columns]

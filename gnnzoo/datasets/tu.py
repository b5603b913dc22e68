"""TUDataset: collections of small graphs with a class each."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from torch.nn.functional import one_hot
from torch_geometric.data import Data
from torch_geometric.datasets import TUDataset

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.expressivity import wl_classes
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError

__all__ = ["hydrogens", "load", "read", "repeated_graphs", "tested_twins", "wl_ceiling"]

_HYDROGEN = {"PTC.txt": 19}
"""Tags of atoms that DGCNN's text graphs have and TUDataset leaves out."""


def read(card: DatasetCard, files: RawFiles) -> list[Data]:
    """Read a collection in TUDataset's own order.

    ``x`` are node labels, one-hot, as PyG reads them; continuous node attributes are left out, the field's habit. Where
    there are no node labels, ``x`` is the node's degree, one-hot, as wide as the largest degree of the collection
    needs. ``edge_attr`` are edge labels, one-hot, where there are any.

    The collection's name is what stands before ``_A.txt`` among the card's files, wherever they lie below
    ``card.root``. Files that do not lie beside that one (folds) are left alone.
    """
    (adjacency,) = (Path(f) for f in card.files if f.endswith("_A.txt"))
    name = adjacency.name.removesuffix("_A.txt")
    places = {f: f"{name}/raw/{Path(f).name}" for f in card.files if Path(f).parent == adjacency.parent}
    with files.layout(places, TUDataset, name=name, cleaned=False) as root:
        graphs = list(TUDataset(str(root), name))
    if "x" not in graphs[0]:
        degrees = [torch.bincount(graph.edge_index[0], minlength=graph.num_nodes) for graph in graphs]
        width = max(int(degree.max()) for degree in degrees) + 1
        for graph, degree in zip(graphs, degrees, strict=True):
            graph.x = one_hot(degree, width).float()
            del graph.num_nodes
    for graph in graphs:
        graph.x = graph.x.contiguous()  # attributes were cut off
    return graphs


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read a collection and its folds.

    ``clean-10fold`` and ``gin-10fold`` draw the ten stratified folds of seed 0, as the code of GIN does. In
    ``gin-10fold`` a fold is validation and test at once, the field's habit. In ``clean-10fold`` fold ``i`` is test and
    fold ``i + 1`` is validation. ``dgcnn-10fold`` are the stored folds of DGCNN and GIN, validation and test at once.
    ``fair-10fold`` are those of Errica et al. 2020 (arXiv 1912.09893), whose train part has an inner hold-out.
    """
    graphs = read(card, files)
    if protocol == "dgcnn-10fold":
        return graphs, _dgcnn(card, files, graphs)
    if protocol == "fair-10fold":
        return graphs, _fair(card, files)
    y = torch.cat([graph.y for graph in graphs]).numpy()
    drawn = StratifiedKFold(card.protocols[protocol].splits, shuffle=True, random_state=0).split(y, y)
    folds = [test for _, test in drawn]
    splits = []
    for i, test in enumerate(folds):
        val = test if protocol == "gin-10fold" else folds[(i + 1) % len(folds)]
        splits.append(dataclasses.replace(_split(i, len(y), val, test), seed=0))
    return graphs, splits


def _split(index: int, size: int, val: np.ndarray, test: np.ndarray) -> Split:
    train = np.setdiff1d(np.arange(size), np.concatenate([val, test]))
    return Split(index, *map(torch.from_numpy, (train, val, test)))


def _fair(card: DatasetCard, files: RawFiles) -> list[Split]:
    (name,) = (f for f in card.files if f.endswith("_splits.json"))
    with files.layout([name]) as folder:
        folds = json.loads((folder / name).read_text())
    splits = []
    for i, fold in enumerate(folds):
        (inner,) = fold["model_selection"]
        splits.append(Split(i, *map(torch.tensor, (inner["train"], inner["validation"], fold["test"]))))
    return splits


def _dgcnn(card: DatasetCard, files: RawFiles, graphs: list[Data]) -> list[Split]:
    """Read the stored test folds; what a fold does not test, it trains on.

    Where a text file of graphs stands beside them, they number its graphs, which are looked up in TUDataset's.
    """
    names = {Path(f).name: f for f in card.files if f.startswith("folds/gin/")}
    texts = [f for f in names if "_idx-" not in f]
    with files.layout(names.values()) as folder:
        number = np.arange(len(graphs))
        for text in texts:
            number = _places(card, graphs, folder / names[text])
        count = len(names) - len(texts)
        tests = [number[np.loadtxt(folder / names[f"test_idx-{k}.txt"], np.int64)] for k in range(1, count + 1)]
    return [_split(i, len(graphs), test, test) for i, test in enumerate(tests)]


def _places(card: DatasetCard, graphs: list[Data], path: Path) -> np.ndarray:
    """Return for every graph of a DGCNN text file where TUDataset has it.

    Graphs are the same where class and colour refinement (1-WL) agree, nodes being told apart by how often their
    label occurs in the whole collection: the two number labels differently. Which of several equal graphs is taken
    does not matter.

    Raises:
        DataError: the two are not the same graphs.
    """
    texts, tags = _text_graphs(path, leave_out=_HYDROGEN.get(path.name))
    labels = np.concatenate([graph.x.argmax(dim=1).numpy() for graph in graphs])
    colours = np.concatenate([np.bincount(kinds)[kinds] for kinds in (labels, tags)])
    classes = wl_classes([*graphs, *texts], colours)
    keys = []
    for found, same in ((graphs, classes[: len(graphs)]), (texts, classes[len(graphs) :])):
        _, y = np.unique([int(graph.y) for graph in found], return_inverse=True)
        keys.append(np.stack([y, same]))
    here, there = (np.lexsort(key) for key in keys)
    if keys[0].shape != keys[1].shape or (keys[0][:, here] != keys[1][:, there]).any():
        raise DataError(f"{card.name}: the graphs of {path.name} are not those of TUDataset")
    number = np.empty(len(here), np.int64)
    number[there] = here
    return number


def _text_graphs(path: Path, leave_out: int | None = None) -> tuple[list[Data], np.ndarray]:
    """Read DGCNN's text format without the nodes that have a certain tag: graphs, and the tags of all their nodes.

    The file is a number of graphs; a graph is ``n y`` and ``n`` times ``tag degree neighbour neighbour ...``.
    """
    numbers = np.array(path.read_text().split(), np.int64)
    graphs, tags, at = [], [], 1
    for _ in range(numbers[0]):
        n, y = numbers[at : at + 2]
        at += 2
        tag, neighbours = np.empty(n, np.int64), []
        for node in range(n):
            tag[node], degree = numbers[at : at + 2]
            neighbours.append(numbers[at + 2 : at + 2 + degree])
            at += 2 + degree
        kept = tag != (-1 if leave_out is None else leave_out)
        edges = np.stack([np.repeat(np.arange(n), [len(found) for found in neighbours]), np.concatenate(neighbours)])
        edges = (np.cumsum(kept) - 1)[edges[:, kept[edges].all(axis=0)]]
        graphs.append(Data(edge_index=torch.from_numpy(edges), y=int(y), num_nodes=int(kept.sum())))
        tags.append(tag[kept])
    return graphs, np.concatenate(tags)


def repeated_graphs(bundle: Bundle, files: RawFiles) -> int:
    """Graphs that colour refinement (1-WL, with ``x``) cannot tell from an earlier one."""
    classes = wl_classes(bundle.graphs)
    return len(classes) - len(np.unique(classes))


def tested_twins(bundle: Bundle, files: RawFiles) -> float:
    """Share of test graphs that 1-WL (with ``x``) cannot tell from a train graph; mean over splits."""
    classes = wl_classes(bundle.graphs)
    return float(np.mean([np.isin(classes[s.test], classes[s.train]).mean() for s in bundle.splits]))


def wl_ceiling(bundle: Bundle, files: RawFiles) -> float:
    """The accuracy on all graphs of whoever knows all labels, but graphs only up to 1-WL (with ``x``)."""
    pairs = np.stack([wl_classes(bundle.graphs), [int(graph.y) for graph in bundle.graphs]])
    (same, _), sizes = np.unique(pairs, axis=1, return_counts=True)
    best = np.zeros(same.max() + 1, np.int64)
    np.maximum.at(best, same, sizes)
    return float(best.sum() / len(bundle.graphs))


def hydrogens(bundle: Bundle, files: RawFiles) -> int:
    """Atoms that the text graphs of DGCNN have and TUDataset leaves out."""
    (name,) = (f for f in bundle.card.files if f.startswith("folds/gin/") and "_idx-" not in f)
    with files.layout([name]) as folder:
        _, tags = _text_graphs(folder / name)
    return len(tags) - sum(graph.num_nodes for graph in bundle.graphs)

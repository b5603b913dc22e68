"""Hypergraphs whose nodes have a class in every hyperedge: sender or receiver, last author, outsider."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import pickles
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.datasets.number_files import bad_line, parse_lists, read_table
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError

__all__ = [
    "load",
    "order_ranks",
    "repeated_insiders",
    "repeated_node_sets",
    "told_by_position",
    "told_by_position_in_the_file",
]

_CENTRALITIES = ("degree", "eigenvec", "pagerank", "kcore")


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HypergraphData, list[Split]]:
    """Read the files of WHATsNet and CoNHD with their one split of the hyperedges.

    The order of a hyperedge's members in the file tells their classes (the sender or first author comes first), and
    so do, less well, the order of first appearance and that of the ids. Therefore nodes are numbered at random, the
    same way every time, and incidences are sorted by hyperedge and node. A node that a hyperedge lists twice is there
    twice, with both its classes in random order.

    ``x`` is, where node ids are those of a HyperGCN set (outsider sets), that set's bags of words, else the four
    centralities: degree, eigenvector, PageRank, k-core. ``order_pe``, only with centralities, is the positional input
    of WHATsNet and CoNHD, ranked in double precision, which the float32 of ``x`` would not tell apart.

    Shapes:
        - ``x``: ``[num_nodes, in_channels]``
        - ``y``: ``[num_incidences]``, in the order of ``hyperedge_index``
        - ``order_pe``: ``[num_incidences, 4]``, the dense rank of a node among its hyperedge by each centrality, from
          1, ties sharing a rank, divided by the size of the hyperedge

    Raises:
        DataError: a line of a file is not what it must be, or files do not belong together.
    """
    with files.layout(list(card.files)) as folder:
        paths = {Path(file).name: folder / file for file in card.files}
        keys, ids, sizes = _members(paths["hypergraph.txt"], card.name)
        label_keys, y, label_sizes = _members(paths["hypergraph_pos.txt"], card.name)
        where = f"{card.name}: hypergraph_pos.txt"
        if len(label_sizes) != len(sizes):
            raise DataError(f"{where} has {len(label_sizes)} lines, hypergraph.txt {len(sizes)}")
        if (wrong := label_sizes != sizes).any():
            line = int(wrong.argmax())
            raise bad_line(where, line, f"{label_sizes[line]} labels for {sizes[line]} nodes")
        if label_keys != keys:
            raise DataError(f"{where} names other hyperedges than hypergraph.txt")
        hyperedges = np.repeat(np.arange(len(sizes)), sizes)
        if (wrong := y >= card.num_outputs).any():
            row = int(wrong.argmax())
            raise bad_line(where, int(hyperedges[row]), f"class {y[row]} is not in 0..{card.num_outputs - 1}")
        part = np.zeros(len(sizes), dtype=np.int64)
        for number, file in enumerate(("valid_hindex.txt", "test_hindex.txt"), start=1):
            part[_chosen(paths[file], keys, len(sizes), card.name)] = number
        names, nodes = np.unique(ids, return_inverse=True)
        random = np.random.RandomState(0)
        numbers = random.permutation(len(names))
        names, nodes = names[np.argsort(numbers)], numbers[nodes]
        order = np.lexsort((random.permutation(len(nodes)), nodes, hyperedges))
        nodes, y = nodes[order], y[order]  # hyperedges stay what they are
        if "features.pickle" in paths:
            x, order_pe = _words(paths["features.pickle"], names, card.name), None
        else:
            columns = [_centrality(paths, kind, names, card.name) for kind in _CENTRALITIES]
            x = np.stack(columns, axis=1)
            order_pe = np.stack([order_ranks(column[nodes], hyperedges) for column in columns], axis=1)
    data = HypergraphData(
        x=torch.from_numpy(x.astype(np.float32)),
        hyperedge_index=torch.from_numpy(np.stack([nodes, hyperedges])),
        y=torch.from_numpy(y),
        num_hyperedges=len(sizes),
    )
    if order_pe is not None:
        data.order_pe = torch.from_numpy(order_pe.astype(np.float32))
    return data, [Split(0, *(torch.from_numpy(np.flatnonzero(part[hyperedges] == i)) for i in range(3)))]


def _members(path: Path, name: str) -> tuple[dict[bytes, int], np.ndarray, np.ndarray]:
    """Return the hyperedges' names, if they have any, with their numbers; and the lists as ``parse_lists`` does."""
    text, where = path.read_bytes(), f"{name}: {path.name}"
    if not text.startswith(b"'"):
        return {}, *parse_lists(text, "\t", where)
    keys: dict[bytes, int] = {}
    rest = []
    for line, row in enumerate(text.splitlines()):
        key, _, members = row.partition(b"\t")
        if key[:1] + key[-1:] != b"''" or keys.setdefault(key[1:-1], line) != line:
            raise bad_line(
                where, line, f"{key.decode(errors='replace')[:40]!r} is no new name of a hyperedge in quotes"
            )
        rest.append(members + b"\n")
    return keys, *parse_lists(b"".join(rest), "\t", where)


def _chosen(path: Path, keys: dict[bytes, int], count: int, name: str) -> np.ndarray:
    """Return the numbers of the hyperedges that a file lists by name, if they have names, or by number."""
    where = f"{name}: {path.name}"
    if keys:
        chosen = np.array([keys.get(key, -1) for key in path.read_bytes().split()], dtype=np.int64)
    else:
        chosen, _ = parse_lists(path.read_bytes(), "\t", where)
    if (wrong := (chosen < 0) | (chosen >= count)).any():
        raise bad_line(where, int(wrong.argmax()), "there is no such hyperedge")
    return chosen


def _words(path: Path, ids: np.ndarray, name: str) -> np.ndarray:
    features = pickles.load(path, encoding="latin1")
    if not issparse(features):
        raise DataError(f"{name}: {path.name} must hold a sparse matrix")
    if ids.max() >= features.shape[0]:
        raise DataError(f"{name}: {path.name} has {features.shape[0]} nodes, hypergraph.txt has a node {ids.max()}")
    return features.tocsr()[ids].toarray()


def _centrality(paths: dict[str, Path], kind: str, ids: np.ndarray, name: str) -> np.ndarray:
    path = paths[f"{kind}_nodecentrality.txt"]
    table = read_table(path, name, header=1)
    table = table[np.argsort(table[:, 0], kind="stable")]
    place = np.searchsorted(table[:, 0], ids).clip(max=len(table) - 1)
    if (wrong := table[place, 0] != ids).any():
        raise DataError(f"{name}: {path.name} lacks node {ids[wrong.argmax()]}")
    return table[place, 1]


def order_ranks(values: np.ndarray, hyperedges: np.ndarray) -> np.ndarray:
    """Return the dense rank of each value among those of its hyperedge, from 1, divided by the hyperedge's size.

    Args:
        values: ``[num_incidences]``; equal ones share a rank.
        hyperedges: ``[num_incidences]``, in any order.
    """
    order = np.lexsort((values, hyperedges))
    values, hyperedges = values[order], hyperedges[order]
    first = np.searchsorted(hyperedges, hyperedges)
    size = np.searchsorted(hyperedges, hyperedges, side="right") - first
    higher = np.diff(values, prepend=np.nan) != 0
    higher[first] = True
    level = np.cumsum(higher)
    ranks = np.empty(len(values))
    ranks[order] = (level - level[first] + 1) / size
    return ranks


def _repeated(bundle: Bundle, kept: Tensor) -> float:
    """Return the share of test hyperedges whose kept nodes are the kept nodes of a training hyperedge, as sets."""
    data, split = bundle.graphs[0], bundle.splits[0]
    nodes, hyperedges = data.hyperedge_index[:, kept]
    # one number per incidence, in the order of hyperedges and then of nodes
    pairs = torch.unique(hyperedges * data.num_nodes + nodes).numpy()
    sizes = np.bincount(pairs // data.num_nodes, minlength=data.num_hyperedges)
    sets = [part.tobytes() for part in np.split(pairs % data.num_nodes, np.cumsum(sizes)[:-1])]
    train, test = (data.hyperedge_index[1, rows].unique().tolist() for rows in (split.train, split.test))
    seen = {sets[i] for i in train}
    return sum(sets[i] in seen for i in test) / len(test)


def repeated_node_sets(bundle: Bundle, files: RawFiles) -> float:
    """Share of test hyperedges that have exactly the nodes of a training hyperedge."""
    return _repeated(bundle, torch.ones_like(bundle.graphs[0].y, dtype=torch.bool))


def repeated_insiders(bundle: Bundle, files: RawFiles) -> float:
    """Share of test hyperedges whose nodes of class 0 are exactly those of class 0 of a training hyperedge."""
    return _repeated(bundle, bundle.graphs[0].y == 0)


def _told_by_position(hyperedges: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Return the share of test incidences whose class is the commonest one of their position in training.

    Args:
        hyperedges: of each incidence, sorted.
        y: class of each incidence.
        train: numbers of the hyperedges to learn from; ``test``: of those to tell.
    """
    change = np.diff(hyperedges) != 0
    # 0: in between, 1: first, 2: last, 3: alone
    position = np.append(True, change) + 2 * np.append(change, True)
    learnt, told = np.isin(hyperedges, train), np.isin(hyperedges, test)
    counts = np.zeros((4, int(y.max()) + 1), dtype=np.int64)
    np.add.at(counts, (position[learnt], y[learnt]), 1)
    return float((counts.argmax(axis=1)[position[told]] == y[told]).mean())


def _parts(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Return the hyperedges of train and of test."""
    hyperedges, split = bundle.graphs[0].hyperedge_index[1], bundle.splits[0]
    return hyperedges[split.train].unique().numpy(), hyperedges[split.test].unique().numpy()


def told_by_position(bundle: Bundle, files: RawFiles) -> float:
    """Share of test incidences whose class is the commonest one of their position: first, in between, last or alone."""
    data = bundle.graphs[0]
    return _told_by_position(data.hyperedge_index[1].numpy(), data.y.numpy(), *_parts(bundle))


def told_by_position_in_the_file(bundle: Bundle, files: RawFiles) -> float:
    """The same share, when members stand in the order of the file."""
    (name,) = (file for file in bundle.card.files if file.endswith("hypergraph_pos.txt"))
    with files.layout([name]) as folder:
        _, y, sizes = _members(folder / name, bundle.card.name)
    return _told_by_position(np.repeat(np.arange(len(sizes)), sizes), y, *_parts(bundle))

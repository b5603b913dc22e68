"""Sets that ask what a model can tell apart, count or learn at all: BREC, strongly regular graphs, EXP, CSL and others.

Where a set has no features, every node has the one feature 1: nothing but structure tells nodes apart. Edges stand in
both directions. ``group`` is ``[1]`` for every graph: graphs of one group whose ``y`` differ are to be told apart.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import GNNBenchmarkDataset

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import pickles
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError

__all__ = [
    "brec",
    "counted_apart",
    "counting",
    "csl",
    "graph6",
    "planar_sat",
    "substructures",
    "wl_classes",
    "wl_equal_pairs",
]

_CATEGORIES = ("basic", "regular", "str", "extension", "cfi", "4vtx", "dr")
"""BREC's files, in the order of its pairs."""


def _graph(edge_index: np.ndarray, num_nodes: int, **attributes: Any) -> Data:
    """Return a graph without features of its own: ``x`` is ``[num_nodes, 1]`` ones, whole numbers become ``[1]``."""
    columns = {name: torch.tensor([v]) if isinstance(v, int) else v for name, v in attributes.items()}
    return Data(torch.ones(num_nodes, 1), torch.from_numpy(np.ascontiguousarray(edge_index, np.int64)), **columns)


def _parse_graph6(line: bytes, where: str) -> tuple[np.ndarray, int]:
    """Return edges in both directions, ``[2, num_edges]``, sorted, and the number of nodes, of one graph6 string.

    Raises:
        DataError: it is none; ``where`` says which.
    """
    codes = np.frombuffer(line.strip().removeprefix(b">>graph6<<"), np.uint8).astype(np.int64) - 63
    n, rest = -1, codes
    if len(codes) and codes[0] < 63:
        n, rest = int(codes[0]), codes[1:]
    elif len(codes) > 3:  # up to 258047 nodes
        n, rest = int(codes[1:4] @ (1 << 12, 1 << 6, 1)), codes[4:]
    if n < 0 or codes.min() < 0 or codes.max() > 63 or len(rest) != -(-(n * (n - 1) // 2) // 6):
        raise DataError(f"{where} is no graph6 string")
    bits = np.unpackbits(rest.astype(np.uint8)[:, None], axis=1)[:, 2:].reshape(-1)[: n * (n - 1) // 2]
    adjacency = np.zeros((n, n), bool)
    adjacency[np.tril_indices(n, -1)] = bits  # the upper triangle, column by column
    return np.stack(np.nonzero(adjacency | adjacency.T)), n


def brec(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read the 400 pairs of BREC (Wang & Zhang 2024, arXiv 2304.07702); ``group`` is the pair, ``y`` the member.

    ``category`` numbers the files: basic, regular, strongly regular (str), extension, CFI, 4-vertex condition,
    distance regular. The relabelled copies of the original protocol are drawn by whoever evaluates.
    """
    graphs: list[Data] = []
    with files.layout([f"{name}.npy" for name in _CATEGORIES]) as folder:
        for category, name in enumerate(_CATEGORIES):
            lines = np.load(folder / f"{name}.npy", allow_pickle=False).reshape(-1).astype(bytes)
            for i, line in enumerate(lines):
                edge_index, n = _parse_graph6(line, f"{card.name}: {name}.npy, entry {i}")
                pair, member = divmod(len(graphs), 2)
                graphs.append(_graph(edge_index, n, y=member, group=pair, category=category))
    return graphs, []


def graph6(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read files of graph6 strings, one graph a line; ``y`` is the number of the graph.

    All graphs of a card with one file are of group 0; with several, ``group`` is the number of nodes.
    """
    graphs: list[Data] = []
    with files.layout([*card.files]) as folder:
        for name in card.files:
            for i, line in enumerate((folder / name).read_bytes().splitlines(), start=1):
                edge_index, n = _parse_graph6(line, f"{card.name}: {name}, line {i}")
                graphs.append(_graph(edge_index, n, y=len(graphs), group=n if len(card.files) > 1 else 0))
    return graphs, []


def planar_sat(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read EXP or CEXP (Abboud et al. 2021, arXiv 2010.01179): ``x`` ``[num_nodes, 2]`` one-hot, ``group`` the pair.

    ``clean-10fold``: the ten blocks of consecutive graphs of the authors' code; block ``i`` is test, the ``i``-th
    tenth of the rest is validation. ``frame-averaging``: graphs 0 to 199 validation, 200 to 399 test. Neither parts a
    pair. ``pairs``: nothing is learnt, there are no splits. Of CEXP, whose pairs are hard and easy in turn, the hard
    half of the test graphs is reported beside.
    """
    (name,) = card.files
    with files.layout([name]) as folder, np.load(folder / name, allow_pickle=False) as stored:
        arrays = {key: torch.from_numpy(stored[key].astype(np.int64)) for key in stored.files}
    node, edge = arrays["node_ptr"].tolist(), arrays["edge_ptr"].tolist()
    graphs = [
        Data(
            arrays["x"][node[i] : node[i + 1]].float(),
            arrays["edge_index"][:, edge[i] : edge[i + 1]].contiguous(),
            y=arrays["y"][i : i + 1],
            group=torch.tensor([i // 2]),
        )
        for i in range(len(node) - 1)
    ]
    if protocol == "pairs":
        return graphs, []
    everything = np.arange(len(graphs))
    if protocol == "frame-averaging":
        parts = [(everything[400:], everything[:200], everything[200:400])]
    else:
        count = card.protocols[protocol].splits
        parts = []
        for i, test in enumerate(np.array_split(everything, count)):
            rest = np.setdiff1d(everything, test)
            val = np.array_split(rest, count)[i]
            parts.append((np.setdiff1d(rest, val), val, test))
    splits = []
    for i, part in enumerate(parts):
        tested = torch.from_numpy(part[2])
        hard = {"hard": tested[tested % 4 > 1]} if card.name == "CEXP" else {}
        splits.append(Split(i, *map(torch.from_numpy, part), extra=hard))
    return graphs, splits


def csl(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read the circular skip link graphs (Murphy et al. 2019, arXiv 1903.02541); all are of group 0.

    A line of ``splits/CSL_train.txt`` and of ``splits/CSL_test.txt`` is a fold, its graphs' numbers separated by
    commas; what is in neither is validation, as in the folds of Dwivedi et al. ``pairs``: nothing is learnt.
    """
    raw = [name for name in card.files if name.startswith("CSL/")]
    with files.layout({name: name for name in raw}, GNNBenchmarkDataset, name="CSL") as folder:
        # PyG's class would unpickle whatever is there, by names of modules that SciPy 2 will not have
        adjacencies = pickles.load(folder / raw[0], encoding="latin1")
        y = torch.load(folder / raw[1], weights_only=True).tolist()
    graphs = [
        _graph(np.stack([a.row, a.col])[:, a.row != a.col], a.shape[0], y=label, group=0)
        for a, label in zip(adjacencies, y, strict=True)
    ]
    if protocol == "pairs":
        return graphs, []
    names = ["splits/CSL_train.txt", "splits/CSL_test.txt"]
    with files.layout(names) as folder:
        folds = [np.loadtxt(folder / name, np.int64, delimiter=",", ndmin=2) for name in names]
    splits = []
    for i, (train, test) in enumerate(zip(*folds, strict=True)):
        val = np.setdiff1d(np.arange(len(graphs)), np.concatenate([train, test]))
        splits.append(Split(i, *map(torch.from_numpy, (train, val, test))))
    return graphs, splits


def counting(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    target: Literal["triangle", "tailed_triangle", "star", "chordal_cycle", "attributed_triangle"] = "triangle",
) -> tuple[list[Data], list[Split]]:
    """Read random graphs whose substructures are to be counted (Chen et al. 2020, arXiv 2002.04025).

    Args:
        card: the card.
        protocol: its only one, the authors' split.
        files: the raw files.
        target: what ``y`` counts, ``[1, 1]`` for every graph. Triangles and stars (three leaves) are counted as
            subgraphs, tailed triangles and chordal cycles as induced ones.
    """
    parts = ("train", "val", "test")
    with files.layout(["counting_er.npz", *(f"{part}.txt" for part in parts)]) as folder:
        with np.load(folder / "counting_er.npz", allow_pickle=False) as stored:
            ends, sizes = stored["edges_undirected"].astype(np.int64).T, stored["num_nodes"].tolist()
            pointer, y = stored["edge_ptr"].tolist(), torch.from_numpy(stored[target].astype(np.float32))
        split = [torch.from_numpy(np.loadtxt(folder / f"{part}.txt", np.int64)) for part in parts]
    graphs = []
    for i, n in enumerate(sizes):
        one_way = ends[:, pointer[i] : pointer[i + 1]]
        graphs.append(_graph(np.hstack([one_way, one_way[::-1]]), n, y=y[i].reshape(1, 1)))
    return graphs, [Split(0, *split)]


def counted_apart(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read the graphs of one size that colour refinement (1-WL) cannot tell from another of them.

    A function of graphs can count a substructure only if it tells graphs apart that hold other numbers of it. ``y`` is
    the number of the protocol's substructure (:func:`substructures`), ``group`` the class of 1-WL.
    """
    (name,) = card.files
    with files.layout([name]) as folder:
        lines = (folder / name).read_bytes().splitlines()
    graphs = [_graph(*_parse_graph6(line, f"{card.name}: {name}, line {i}")) for i, line in enumerate(lines, start=1)]
    _, group, size = np.unique(wl_classes(graphs), return_inverse=True, return_counts=True)
    kept = np.flatnonzero(size[group] > 1)
    adjacency = np.zeros((len(kept), graphs[0].num_nodes, graphs[0].num_nodes))
    for row, i in zip(adjacency, kept, strict=True):
        row[tuple(graphs[i].edge_index.numpy())] = 1
    found = substructures(adjacency)[protocol]
    numbers = np.unique(group[kept], return_inverse=True)[1]
    for i, number, value in zip(kept, numbers, found, strict=True):
        graphs[i].y, graphs[i].group = torch.tensor([int(value)]), torch.tensor([int(number)])
    return [graphs[i] for i in kept], []


def substructures(adjacency: np.ndarray) -> dict[str, np.ndarray]:
    """Count small graphs in simple graphs.

    Args:
        adjacency: ``[num_graphs, num_nodes, num_nodes]`` float.

    Returns:
        ``[num_graphs]`` by name: ``triangle, star`` (three leaves), ``4-cycle, 4-clique`` as subgraphs,
        ``tailed-triangle, chordal-cycle`` as induced subgraphs, as in the sets of Chen et al. (2020).
    """
    degree, two = adjacency.sum(-1), adjacency @ adjacency
    common = adjacency * two
    triangles = common.sum(-1) / 2  # at each node
    cycles = (np.square(two).sum((1, 2)) - 2 * np.square(degree).sum(-1) + degree.sum(-1)) / 8
    k4 = np.einsum("gij,gik,gil,gjk,gjl,gkl->g", *[adjacency] * 6, optimize="greedy") / 24
    # two triangles on an edge; in a clique of four, each of its six edges is one
    chordal = (adjacency * two * (two - 1)).sum((1, 2)) / 4 - 6 * k4
    tailed = (triangles * (degree - 2)).sum(-1) - 4 * chordal - 12 * k4
    return {
        "triangle": triangles.sum(-1) / 3,
        "star": (degree * (degree - 1) * (degree - 2)).sum(-1) / 6,
        "4-cycle": cycles,
        "4-clique": k4,
        "tailed-triangle": tailed,
        "chordal-cycle": chordal,
    }


def _mix(values: np.ndarray) -> np.ndarray:
    """Return well-scattered 64-bit numbers, equal for equal ``values`` (uint64): the finalizer of SplitMix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _sums(values: np.ndarray, pointer: np.ndarray) -> np.ndarray:
    """Return the sums of the stretches of ``values`` (uint64) between the pointers, modulo 2^64."""
    running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    return running[pointer[1:]] - running[pointer[:-1]]


def wl_classes(graphs: list[Data], colours: np.ndarray | None = None) -> np.ndarray:
    """Number the classes of graphs that colour refinement (1-WL), run until it is stable, cannot tell apart.

    A colour is a 64-bit hash, so that two graphs that 1-WL tells apart fall together with probability about 2^-64.

    Args:
        graphs: with ``edge_index`` in both directions; multiplicities count.
        colours: whole numbers, the nodes' first colours, ``[num_nodes of all graphs]``; default: the rows of ``x``
            (float32).

    Returns:
        ``[num_graphs]``.
    """
    nodes = np.concatenate([[0], np.cumsum([graph.num_nodes for graph in graphs])])
    if colours is None:
        colours = np.zeros(nodes[-1], np.uint64)
        for column in np.concatenate([graph.x.numpy() + 0.0 for graph in graphs]).T:  # -0.0 becomes 0.0
            colours = _mix(colours + np.ascontiguousarray(column, np.float32).view(np.uint32) + np.uint64(1))
    source, target = np.hstack([g.edge_index.numpy() + start for g, start in zip(graphs, nodes[:-1], strict=True)])
    source = source[np.argsort(target, kind="stable")]
    pointer = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=nodes[-1]))])
    colour = _mix(colours.astype(np.uint64) + np.uint64(1))
    found, before = len(np.unique(colour)), 0
    while found > before:
        colour = _mix(colour * np.uint64(0x9E3779B97F4A7C15) + _sums(_mix(colour)[source], pointer))
        before, found = found, len(np.unique(colour))
    return np.unique(_sums(_mix(colour), nodes), return_inverse=True)[1]


def wl_equal_pairs(bundle: Bundle, files: RawFiles) -> int:
    """Pairs of graphs of one group with different ``y`` that colour refinement (1-WL) cannot tell apart."""
    group, y = (torch.cat([graph[name] for graph in bundle.graphs]).numpy() for name in ("group", "y"))
    alike = np.stack([group, wl_classes(bundle.graphs)])

    def pairs(keys: np.ndarray) -> int:
        sizes = np.unique(keys, axis=1, return_counts=True)[1]
        return int((sizes * (sizes - 1) // 2).sum())

    return pairs(alike) - pairs(np.vstack([alike, y]))

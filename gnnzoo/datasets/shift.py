"""Distribution shift between training and test graphs: larger graphs, and a base that no longer tells the class."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch_geometric.data import Data

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import tu
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.synthetic import both_directions
from gnnzoo.types import Probability, Seed

__all__ = ["class_shares", "load_size_shift", "load_spmotif", "mean_sizes", "own_base_shares", "sizes_of_parts"]

_FIRST_SEED = 111  # the default data seed of Knyazev et al.


def load_size_shift(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Read a TU collection with splits by size: trained on small graphs, tested on large ones.

    The number at the end of the card's name is the size of the largest small graph. Of the small graphs, shuffled by
    ``RandomState(111 + i)`` for split ``i``, the first 500 (1000 where there are more than 1000; all where there are
    fewer) are for training, and the first fifth of these is validation: the first of the authors' five folds. Test is
    every other graph: ``small``, those that are left over, where there are any, and ``large``.
    """
    graphs = tu.read(card, files)
    sizes = np.array([graph.num_nodes for graph in graphs])
    limit = int(re.findall(r"\d+", card.name)[-1])
    small, large = np.flatnonzero(sizes <= limit), np.flatnonzero(sizes > limit)
    used = 1000 if len(small) > 1000 else 500
    splits = []
    for index in range(card.protocols[protocol].splits):
        seed = _FIRST_SEED + index
        order = np.random.RandomState(seed).permutation(small)
        known, rest = order[:used], order[used:]
        fold = -(-len(known) // 5)
        parts = [known[fold:], known[:fold], np.concatenate([rest, large])]
        extra = {"small": torch.from_numpy(rest), "large": torch.from_numpy(large)} if len(rest) else {}
        splits.append(Split(index, *map(torch.from_numpy, parts), extra=extra, seed=seed))
    return graphs, splits


def sizes_of_parts(bundle: Bundle, files: RawFiles) -> dict[str, list[int]]:
    """Fewest and most nodes of a graph, in the training and in the test parts of all splits together."""
    sizes = torch.tensor([graph.num_nodes for graph in bundle.graphs])
    parts = {"train": [s.train for s in bundle.splits], "test": [s.test for s in bundle.splits]}
    found = {name: sizes[torch.cat(indices)] for name, indices in parts.items()}
    return {name: [int(n.min()), int(n.max())] for name, n in found.items()}


def class_shares(bundle: Bundle, files: RawFiles) -> dict[str, float]:
    """Fraction of graphs of class 1 in the training and in the test parts of all splits together."""
    y = torch.cat([graph.y for graph in bundle.graphs]).double()
    parts = {"train": [s.train for s in bundle.splits], "test": [s.test for s in bundle.splits]}
    return {name: float(y[torch.cat(indices)].mean()) for name, indices in parts.items()}


_MOTIFS = (
    ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0)),  # cycle
    ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (1, 4)),  # house: the roof is 0
    ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2), (0, 3)),  # crane: a fan with its handle at 0
)
_MOTIF_NODES = 5
_BASES = ("tree", "ladder", "wheel")  # class c's own base is the c-th
_SIZES = {  # first and last depth, number of rungs, number of nodes
    "small": {"tree": (0, 2), "ladder": (8, 11), "wheel": (15, 19)},
    "large": {"tree": (3, 5), "ladder": (30, 49), "wheel": (60, 79)},
}
_PER_CLASS = {"train": 1000, "val": 1000, "test": 2000, "test_id": 1000}


@lru_cache(maxsize=256)
def _base(kind: str, size: int, branches: int) -> tuple[int, np.ndarray]:
    """Return the number of nodes of a base, and its edges, ``[2, num_pairs]``."""
    if kind == "tree":
        nodes = sum(branches**level for level in range(size + 1))
        child = np.arange(1, nodes)
        return nodes, np.stack([(child - 1) // branches, child])
    if kind == "ladder":
        left, right = np.arange(size), np.arange(size, 2 * size)
        rails = [np.stack([side[:-1], side[1:]]) for side in (left, right)]
        return 2 * size, np.concatenate([*rails, np.stack([left, right])], axis=1)
    rim = np.arange(1, size)
    return size, np.concatenate([np.stack([np.zeros_like(rim), rim]), np.stack([rim, np.roll(rim, -1)])], axis=1)


def load_spmotif(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    bias: Probability = 0.9,
    features: Literal["random", "constant"] = "random",
    seed: Seed = 0,
) -> tuple[list[Data], list[Split]]:
    """Generate Spurious-Motif: a motif, which is the class, hangs on a base, which in training tells it too.

    Class 0 is a cycle, 1 a house, 2 a crane (five nodes; five, six and seven edges). Node 0 of the motif is joined to a
    random node of a tree (of two or three branches), a ladder or a wheel. In training, tree goes with the cycle, ladder
    with the house and wheel with the crane with probability ``bias``, and each of the other bases with half of the
    rest; in validation and test all bases are equally likely, and those of test are larger. The extra part ``test_id``
    is drawn like training.

    Args:
        bias: probability of a class's own base in training: 0.333 (none), 0.5, 0.7 or 0.9 in the paper.
        features: ``random``, four uniform numbers per node, as in the published runs; ``constant``, a single one.
        seed: of everything drawn.
    """
    rng = np.random.RandomState(seed)
    graphs: list[Data] = []
    parts: list[torch.Tensor] = []
    for part, number in _PER_CLASS.items():
        start = len(graphs)
        for label in range(len(_MOTIFS)):
            biased = part in ("train", "test_id")
            own = np.full(3, (1 - bias) / 2 if biased else 1 / 3)
            own[label] = bias if biased else 1 / 3
            graphs += _motif_graphs(rng, label, rng.choice(3, number, p=own), "large" if part == "test" else "small")
        parts.append(torch.arange(start, len(graphs)))
    for graph in graphs:
        nodes = graph.num_nodes
        del graph.num_nodes
        graph.x = (
            torch.from_numpy(rng.random_sample((nodes, 4))).float() if features == "random" else torch.ones(nodes, 1)
        )
    *known, test_id = parts
    return graphs, [Split(0, *known, extra={"test_id": test_id})]


def _motif_graphs(rng: np.random.RandomState, label: int, bases: np.ndarray, sizes: str) -> list[Data]:
    """Return one graph without features for each base, all with one motif."""
    limits = np.array([_SIZES[sizes][kind] for kind in _BASES])[bases]
    drawn = limits[:, 0] + (rng.random_sample(len(bases)) * (limits[:, 1] - limits[:, 0] + 1)).astype(np.int64)
    branches, places = rng.randint(2, 4, len(bases)), rng.random_sample(len(bases))
    motif = np.array(_MOTIFS[label]).T
    graphs = []
    for base, size, branch, place in zip(bases, drawn, branches, places, strict=True):
        nodes, edges = _base(_BASES[base], int(size), int(branch))
        joint = [[int(place * nodes)], [nodes]]
        index = both_directions(np.concatenate([edges, motif + nodes, joint], axis=1))
        graphs.append(Data(edge_index=index, y=torch.tensor([label]), num_nodes=nodes + _MOTIF_NODES))
    return graphs


def _split_parts(bundle: Bundle) -> dict[str, list[int]]:
    split = bundle.splits[0]
    parts = {"train": split.train, "val": split.val, "test": split.test, **split.extra}
    return {name: part.tolist() for name, part in parts.items()}


def mean_sizes(bundle: Bundle, files: RawFiles) -> dict[str, list[float]]:
    """Mean numbers of nodes and of undirected edges of the graphs in each part."""
    sizes = torch.tensor([[graph.num_nodes, graph.num_edges / 2] for graph in bundle.graphs], dtype=torch.float64)
    return {name: sizes[part].mean(0).tolist() for name, part in _split_parts(bundle).items()}


def own_base_shares(bundle: Bundle, files: RawFiles) -> dict[str, float]:
    """Share of the graphs in each part of Spurious-Motif whose base is their class's own in training."""
    y = np.array([int(graph.y) for graph in bundle.graphs])
    nodes = np.array([graph.num_nodes for graph in bundle.graphs]) - _MOTIF_NODES
    edges = np.array([graph.num_edges for graph in bundle.graphs]) // 2 - np.array([len(m) for m in _MOTIFS])[y] - 1
    base = np.where(edges == nodes - 1, 0, np.where(2 * edges == 3 * nodes - 4, 1, 2))
    return {name: float((base == y)[part].mean()) for name, part in _split_parts(bundle).items()}

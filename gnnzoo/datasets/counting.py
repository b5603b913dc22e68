"""TRIANGLES and COLORS: graphs whose class is a count, larger in test than in training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.synthetic import both_directions
from gnnzoo.errors import ConfigError
from gnnzoo.types import Seed

__all__ = ["load_colors", "load_triangles", "node_ranges"]

_SMALL = (4, 25)  # nodes of training graphs, both here and in the larger test graphs below
_CHUNK = 4096  # graphs whose dense matrices are in memory at once


@lru_cache(maxsize=256)
def _pairs(nodes: int) -> np.ndarray:
    """Return all pairs of nodes, ``[2, nodes (nodes - 1) / 2]``."""
    return np.stack(np.triu_indices(nodes, k=1))


def _num_edges(rng: np.random.RandomState, nodes: Any) -> Any:
    """Draw numbers of edges: from once to twice the number of nodes, but not more than there are pairs."""
    drawn = ((1 + rng.random_sample(np.shape(nodes))) * nodes).astype(np.int64)
    return np.minimum(drawn, nodes * (nodes - 1) // 2)


def _ranges(graphs: Sequence[Data], sizes: Sequence[int]) -> list[Tensor]:
    """Return the indices of consecutive parts of given sizes."""
    return list(torch.arange(len(graphs)).split(list(sizes)))


# --- triangles --------------------------------------------------------------------------------------------------------

_TRIANGLES = 10  # classes: 1 to 10 triangles
_TRIANGLE_PARTS = {"train": 30000, "val": 5000, "test_id": 5000}  # small graphs
_TRIANGLE_TEST = 5000  # large ones
_TRIANGLE_LARGE = (26, 100)


def load_triangles(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    features: Literal["degree", "constant"] = "degree",
    seed: Seed = 111,
) -> tuple[list[Data], list[Split]]:
    r"""Generate TRIANGLES: how many triangles has a graph, 1 to 10? Trained on 4 to 25 nodes, tested on 26 to 100.

    A candidate has a uniform number of nodes :math:`n`, :math:`\lfloor (1 + u) n \rfloor` edges, :math:`u` uniform in
    [0, 1), all such graphs being equally likely. There are ten times as many candidates as graphs; in their order,
    the first of each class that are different as labelled graphs are taken, equally many of each class. Small graphs
    are dealt at random, class by class, to train (30,000), val and ``test_id`` (5,000 each); test are 5,000 large ones.

    Args:
        features: ``degree``, one-hot up to the largest degree of all graphs, as in the published runs; ``constant``,
            a single one.
        seed: of everything drawn.
    """
    rng = np.random.RandomState(seed)
    total = sum(_TRIANGLE_PARTS.values())
    small, large = _balanced(rng, total, _SMALL), _balanced(rng, _TRIANGLE_TEST, _TRIANGLE_LARGE)
    # every part is balanced: the graphs of a class are dealt in the proportion of the parts
    order = [rng.permutation(len(of_class)) for of_class in small]
    graphs: list[tuple[int, int, np.ndarray]] = []
    start = 0
    for size in _TRIANGLE_PARTS.values():
        stop = start + size // _TRIANGLES
        for label, (places, of_class) in enumerate(zip(order, small, strict=True)):
            graphs += [(label, *of_class[place]) for place in places[start:stop]]
        start = stop
    graphs += [(label, *graph) for label, of_class in enumerate(large) for graph in of_class]

    degrees = [np.bincount(pairs.ravel(), minlength=nodes) for _, nodes, pairs in graphs]
    one_hot = torch.eye(max(int(degree.max()) for degree in degrees) + 1)
    data = []
    for (label, nodes, pairs), degree in zip(graphs, degrees, strict=True):
        x = one_hot[torch.from_numpy(degree)] if features == "degree" else torch.ones(nodes, 1)
        data.append(Data(x=x, edge_index=both_directions(pairs), y=torch.tensor([label])))
    train, val, test_id, test = _ranges(data, [*_TRIANGLE_PARTS.values(), _TRIANGLE_TEST])
    return data, [Split(0, train, val, test, extra={"test_id": test_id})]


def _balanced(rng: np.random.RandomState, number: int, sizes: tuple[int, int]) -> list[list[tuple[int, np.ndarray]]]:
    """Draw different graphs (nodes, pairs), equally many of each number of triangles; a list for each number."""
    nodes = rng.randint(sizes[0], sizes[1] + 1, 10 * number)
    edges = _num_edges(rng, nodes)
    counts = np.empty(len(nodes), dtype=np.int64)
    kept: list[Any] = [None] * len(nodes)  # which pairs are edges, as bits
    for size in range(sizes[0], sizes[1] + 1):
        for members in np.array_split(of_size := np.flatnonzero(nodes == size), -(-len(of_size) // _CHUNK) or 1):
            linked = _random_graphs(rng, size, edges[members])
            counts[members] = _count_triangles(linked, size)
            for member, bits in zip(members, np.packbits(linked, axis=1), strict=True):
                kept[member] = bits.tobytes()
    found = []
    for count in range(1, _TRIANGLES + 1):
        distinct = dict.fromkeys((int(nodes[i]), kept[i]) for i in np.flatnonzero(counts == count))
        if len(distinct) < number // _TRIANGLES:
            raise ConfigError(f"triangles: only {len(distinct)} candidates have {count}: choose another dataset.seed")
        chosen = list(distinct)[: number // _TRIANGLES]
        found.append([(size, _unpacked(size, bits)) for size, bits in chosen])
    return found


def _random_graphs(rng: np.random.RandomState, size: int, edges: np.ndarray) -> np.ndarray:
    """Draw for each number of edges which pairs of nodes are joined, all choices being equally likely."""
    keys = rng.random_sample((len(edges), _pairs(size).shape[1]))
    limit = np.take_along_axis(np.sort(keys, axis=1), edges[:, None] - 1, axis=1)
    return keys <= limit


def _count_triangles(linked: np.ndarray, size: int) -> np.ndarray:
    """Count triangles: a sixth of the trace of the cube of each adjacency matrix."""
    matrices = torch.zeros(len(linked), size, size)
    matrices[:, *_pairs(size)] = torch.from_numpy(linked).float()
    matrices += matrices.transpose(1, 2).clone()
    return ((matrices @ matrices) * matrices).sum((1, 2)).div(6).round().long().numpy()


def _unpacked(size: int, bits: bytes) -> np.ndarray:
    pairs = _pairs(size)
    return pairs[:, np.unpackbits(np.frombuffer(bits, np.uint8), count=pairs.shape[1]).astype(bool)]


# --- colors -----------------------------------------------------------------------------------------------------------

_GREEN = 1
_MOST_GREEN = 10
_COLOR_PARTS = {"train": 500, "val": 2500, "test_id": 2500}  # small graphs
_COLOR_TEST = 2500  # large ones, with the colours of training and with others
_COLOR_LARGE = (26, 200)


def load_colors(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    colors: Literal[3, 8, 16, 32] = 3,
    seed: Seed = 111,
) -> tuple[list[Data], list[Split]]:
    """Generate COLORS: how many nodes are green, 0 to 10? Trained on 4 to 25 nodes, tested on 26 to 200.

    Every size has equally many graphs, every number of green nodes that it can hold about equally many; edges are as in
    TRIANGLES. Graphs equal in edges and colours are drawn again. Of the small graphs, shuffled, 500 are train, 2,500
    val and 2,500 ``test_id``; test are 2,500 large ones. In ``test_large_c`` large graphs have one colour more, and
    a node that is not green has any mixture of the other colours.

    Args:
        colors: number of colours; a node has one feature more than that, for the colour that training does not know.
        seed: of everything drawn.
    """
    rng = np.random.RandomState(seed)
    total = sum(_COLOR_PARTS.values())
    drawn = [
        *_colored(rng, total, _SMALL, colors, mixed=False),
        *_colored(rng, _COLOR_TEST, _COLOR_LARGE, colors, mixed=False),
        *_colored(rng, _COLOR_TEST, _COLOR_LARGE, colors + 1, mixed=True),
    ]
    graphs = []
    for x, pairs, green in drawn:
        padded = np.pad(x, ((0, 0), (0, colors + 1 - x.shape[1]))).astype(np.float32)
        graphs.append(Data(x=torch.from_numpy(padded), edge_index=both_directions(pairs), y=torch.tensor([green])))
    train, val, test_id, test, mixed = _ranges(graphs, [*_COLOR_PARTS.values(), _COLOR_TEST, _COLOR_TEST])
    return graphs, [Split(0, train, val, test, extra={"test_id": test_id, "test_large_c": mixed})]


def _colored(
    rng: np.random.RandomState, number: int, sizes: tuple[int, int], colors: int, mixed: bool
) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Draw graphs as (colours, pairs, number of green nodes), shuffled."""
    labels = _MOST_GREEN + 1
    of_each_size = -(-number // ((sizes[1] - sizes[0] + 1) * labels)) * labels
    found = []
    for size in range(sizes[0], sizes[1] + 1):
        seen: set[bytes] = set()
        while len(seen) < of_each_size:
            for green in rng.permutation(min(_MOST_GREEN, size) + 1)[: of_each_size - len(seen)]:
                x = _palette(rng, size, int(green), colors, mixed)
                linked = _random_graphs(rng, size, _num_edges(rng, np.array([size])))[0]
                if (key := np.packbits(np.concatenate([x.ravel() > 0, linked])).tobytes()) not in seen:
                    seen.add(key)
                    found.append((x, _pairs(size)[:, linked], int(green)))
    return [found[place] for place in rng.permutation(len(found))[:number]]


def _palette(rng: np.random.RandomState, size: int, green: int, colors: int, mixed: bool) -> np.ndarray:
    """Return the colours of a graph's nodes, ``[size, colors]`` zeros and ones, the given number of them green."""
    others = np.array([color for color in range(colors) if color != _GREEN])
    x = np.zeros((size, colors))
    order = rng.permutation(size)
    x[order[:green], _GREEN] = 1
    rest = order[green:]
    if mixed:
        x[rest[:, None], others] = rng.randint(0, 2, (len(rest), len(others)))
    else:
        x[rest, others[rng.randint(0, len(others), len(rest))]] = 1
    return x


def node_ranges(bundle: Bundle, files: RawFiles) -> dict[str, list[int]]:
    """Fewest and most nodes of the graphs in each part."""
    split = bundle.splits[0]
    sizes = torch.tensor([graph.num_nodes for graph in bundle.graphs])
    parts = {"train": split.train, "val": split.val, "test": split.test, **split.extra}
    return {name: [int(sizes[part].min()), int(sizes[part].max())] for name, part in parts.items()}

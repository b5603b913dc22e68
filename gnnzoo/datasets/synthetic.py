"""Graphs that need no file: Zachary's karate club, and a stochastic block model with features."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import per_class
from gnnzoo.errors import ConfigError
from gnnzoo.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability

__all__ = ["csbm_graph", "load_csbm", "load_karate"]

_FRACTIONS = (0.48, 0.32)


def load_karate(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Return the karate club: 34 members, four communities, a one-hot feature per member."""
    data = KarateClub()[0]
    data = Data(x=data.x, edge_index=data.edge_index, y=data.y)
    return data, per_class(data.y, _FRACTIONS, card.protocols[protocol].splits)


def load_csbm(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    num_nodes: PositiveInt = 800,
    num_classes: Annotated[int, Field(ge=2)] = 4,
    homophily: Probability = 0.1,
    average_degree: PositiveFloat = 4.0,
    num_features: PositiveInt = 16,
    feature_signal: NonNegativeFloat = 1.5,
    seed: NonNegativeInt = 0,
) -> tuple[Data, list[Split]]:
    """Generate a contextual stochastic block model; the knobs are described in :func:`csbm_graph`.

    Args:
        num_nodes: number of nodes, spread evenly over the classes.
        num_classes: number of classes.
        homophily: fraction of the edges that lie within a class.
        average_degree: mean number of neighbours of a node.
        num_features: number of features.
        feature_signal: length of every class's mean feature vector, in standard deviations of the noise.
        seed: of labels, edges and features; the splits do not depend on it.
    """
    data = csbm_graph(num_nodes, num_classes, homophily, average_degree, num_features, feature_signal, seed)
    return data, per_class(data.y, _FRACTIONS, card.protocols[protocol].splits)


def csbm_graph(
    num_nodes: int,
    num_classes: int,
    homophily: float,
    average_degree: float,
    num_features: int,
    feature_signal: float,
    seed: int,
) -> Data:
    r"""Draw a contextual stochastic block model whose classes stand in a circle.

    .. math::
        x_v = s\,\mu_{y_v} + \varepsilon_v, \quad \lVert\mu_c\rVert = 1, \quad \varepsilon_v \sim N(0, I)

    Of the :math:`M = \mathrm{round}(n \cdot \mathrm{degree} / 2)` undirected edges, :math:`\mathrm{round}(hM)` join two
    nodes of one class and the others join class :math:`c` with class :math:`c + 1` modulo the number of classes; within
    each kind, edges are drawn uniformly without repetition. So the edge homophily is the knob, up to rounding. At low
    homophily and with four classes, the neighbours of class :math:`c` look exactly like those of class :math:`c + 2`:
    they tell even from odd, and a node's own features have to tell the rest.

    Args:
        num_nodes: number of nodes.
        num_classes: number of classes.
        homophily: fraction of edges within a class.
        average_degree: mean number of neighbours.
        num_features: number of features.
        feature_signal: the factor :math:`s`.
        seed: of everything drawn here.

    Raises:
        ConfigError: fewer than four nodes per class, or more edges than there are pairs of nodes.
    """
    if num_nodes < 4 * num_classes:
        raise ConfigError(
            f"dataset.num_nodes={num_nodes} is too few for {num_classes} classes: at least {4 * num_classes}"
        )
    rng = np.random.RandomState(seed)  # its streams are promised never to change, unlike torch's and default_rng's
    y = rng.permutation(np.arange(num_nodes) % num_classes)
    order = np.argsort(y, kind="stable")  # nodes by class: class c is order[start[c] : start[c + 1]]
    sizes = np.bincount(y, minlength=num_classes)
    start = np.concatenate([[0], np.cumsum(sizes)])

    num_edges = round(num_nodes * average_degree / 2)
    num_within = round(homophily * num_edges)
    edges = np.concatenate(
        [
            _edges_within(rng, num_within, sizes, start),
            _edges_between(rng, num_edges - num_within, sizes, start),
        ],
        axis=1,
    )
    edges = order[np.concatenate([edges, edges[::-1]], axis=1)]
    edges = edges[:, np.lexsort((edges[1], edges[0]))]

    means = rng.standard_normal((num_classes, num_features))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    x = feature_signal * means[y] + rng.standard_normal((num_nodes, num_features))
    return Data(
        x=torch.from_numpy(x.astype(np.float32)),
        edge_index=torch.from_numpy(np.ascontiguousarray(edges)),
        y=torch.from_numpy(y.astype(np.int64)),
    )


def _distinct(rng: np.random.RandomState, blocks: np.ndarray, number: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``number`` different pairs out of blocks of given sizes; return each one's block and its place in it."""
    population = int(blocks.sum())
    if number > population:
        raise ConfigError(
            f"csbm: {number} edges {kind} classes, but only {population} pairs: lower dataset.average_degree"
        )
    if 2 * number > population:
        chosen = rng.permutation(population)[:number]
    else:
        chosen = np.empty(0, dtype=np.int64)
        while len(chosen) < number:
            more = np.concatenate([chosen, rng.randint(population, size=number, dtype=np.int64)])
            _, first = np.unique(more, return_index=True)
            chosen = more[np.sort(first)][:number]
    ends = np.cumsum(blocks)
    block = np.searchsorted(ends, chosen, side="right")
    return block, chosen - (ends - blocks)[block]


def _edges_within(rng: np.random.RandomState, number: int, sizes: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Draw pairs within classes: place ``p`` is the pair (i, j), i < j, with p = j (j - 1) / 2 + i."""
    block, place = _distinct(rng, sizes * (sizes - 1) // 2, number, "within")
    j = ((1 + np.sqrt(1 + 8 * place.astype(np.float64))) // 2).astype(np.int64)
    i = place - j * (j - 1) // 2
    return np.stack([start[block] + i, start[block] + j])


def _edges_between(rng: np.random.RandomState, number: int, sizes: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Draw pairs of neighbouring classes on the circle (of two classes, there is one such pair)."""
    classes = len(sizes)
    one = np.arange(classes if classes > 2 else 1)
    other = (one + 1) % classes
    block, place = _distinct(rng, sizes[one] * sizes[other], number, "between")
    i, j = place // sizes[other][block], place % sizes[other][block]
    return np.stack([start[one[block]] + i, start[other[block]] + j])

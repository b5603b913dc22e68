"""Graphs that need no file: three small social ones, and generators of benchmarks on one graph."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.datasets import KarateClub

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import per_class
from gnnzoo.errors import ConfigError
from gnnzoo.types import NonNegativeFloat, PositiveFloat, PositiveInt, Probability, Seed

__all__ = [
    "both_directions",
    "csbm_graph",
    "load_csbm",
    "load_davis",
    "load_hetero_papers",
    "load_karate",
    "load_les_miserables",
    "load_minesweeper_grid",
    "own_field_shares",
]

_FRACTIONS = (0.48, 0.32)


def both_directions(pairs: np.ndarray) -> Tensor:
    """Return every pair, ``[2, num_pairs]``, in both directions, sorted by source and target."""
    edges = np.concatenate([pairs, pairs[::-1]], axis=1).astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(edges[:, np.lexsort((edges[1], edges[0]))]))


def load_karate(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Return the karate club: 34 members, four communities, a one-hot feature per member."""
    data = KarateClub()[0]
    data = Data(x=data.x, edge_index=data.edge_index, y=data.y)
    return data, per_class(data.y, _FRACTIONS, card.protocols[protocol].splits)


# what networkx 3.6.1's greedy_modularity_communities finds without weights, in the order of its nodes
_LES_MISERABLES = "00000000000000004344444222320222000000032223001113333333311111111111222231121"


def load_les_miserables(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Return who meets whom in Les Misérables: 77 characters, five communities, a one-hot feature per character."""
    import networkx as nx  # slow to import, and these two graphs are all that it is for

    graph = nx.les_miserables_graph()
    place = {name: number for number, name in enumerate(graph)}
    pairs = np.array([(place[a], place[b]) for a, b in graph.edges]).T
    y = torch.tensor([int(community) for community in _LES_MISERABLES])
    data = Data(x=torch.eye(len(place)), edge_index=both_directions(pairs), y=y)
    return data, per_class(y, _FRACTIONS, card.protocols[protocol].splits)


def load_davis(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HypergraphData, list[Split]]:
    """Return Davis's southern women: 18 women, 14 events as hyperedges, two groups, a one-hot feature per woman."""
    import networkx as nx

    graph = nx.davis_southern_women_graph()
    women, events = graph.graph["top"], graph.graph["bottom"]
    index = torch.tensor(
        [(women.index(w), e) for e, event in enumerate(events) for w in sorted(graph[event], key=women.index)]
    )
    y = torch.tensor([0] * 9 + [1] * 9)
    data = HypergraphData(x=torch.eye(len(women)), hyperedge_index=index.T.contiguous(), y=y)
    return data, per_class(y, (0.5, 0.25), card.protocols[protocol].splits)


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
    seed: Seed = 0,
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


def load_minesweeper_grid(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    size: Annotated[int, Field(ge=4)] = 30,
    mines: Probability = 0.2,
    unknown: Probability = 0.5,
    seed: Seed = 0,
) -> tuple[Data, list[Split]]:
    """Generate a game of Minesweeper: which squares of a board hold mines?

    Squares are joined to the up to eight around them. Features are, in the order of the original's file, whether the
    square is unknown, and else one-hot how many squares around it are mined: 0 to 4, or 5 and more.

    Args:
        size: squares along a side.
        mines: fraction of the squares that are mined, rounded to whole squares.
        unknown: fraction of the squares that do not show their number, mined or not.
        seed: of the mines and of what is unknown; the splits do not depend on it.

    Raises:
        ConfigError: fewer than three squares with or without a mine.
    """
    squares = size * size
    if not 3 <= round(mines * squares) <= squares - 3:
        raise ConfigError(f"dataset.mines={mines} of {squares} squares: both kinds need at least 3")
    rng = np.random.RandomState(seed)
    mined, hidden = np.zeros(squares, dtype=np.int64), np.zeros(squares, dtype=bool)
    mined[rng.permutation(squares)[: round(mines * squares)]] = 1
    hidden[rng.permutation(squares)[: round(unknown * squares)]] = True

    number = np.arange(squares).reshape(size, size)
    neighbours = (
        (number[:, :-1], number[:, 1:]),
        (number[:-1], number[1:]),
        (number[:-1, :-1], number[1:, 1:]),
        (number[:-1, 1:], number[1:, :-1]),
    )
    edge_index = both_directions(np.concatenate([np.stack([a.ravel(), b.ravel()]) for a, b in neighbours], axis=1))
    around = np.bincount(edge_index[0].numpy(), weights=mined[edge_index[1].numpy()], minlength=squares).astype(
        np.int64
    )
    shown = np.where(hidden, 0, 1 + np.minimum(around, 5))
    y = torch.from_numpy(mined)
    data = Data(x=torch.eye(7)[torch.from_numpy(shown)], edge_index=edge_index, y=y.float()[:, None])
    return data, per_class(y, (0.5, 0.25), card.protocols[protocol].splits)


def load_hetero_papers(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    num_papers: PositiveInt = 600,
    num_classes: Annotated[int, Field(ge=2)] = 3,
    authors_per_paper: PositiveInt = 3,
    fidelity: Probability = 0.7,
    feature_signal: NonNegativeFloat = 1.0,
    seed: Seed = 0,
) -> tuple[HeteroData, list[Split]]:
    """Generate papers, their authors and venues: what is the field of a paper?

    Papers, half as many authors and four venues per field are spread evenly over the fields. Each of a paper's authors,
    and its venue, is one of its own field with probability ``fidelity`` and one of any field otherwise; an author drawn
    twice counts once. Features of papers (16) and of authors (8) are Gaussian around a mean of their field, venues are
    one-hot.

    Args:
        num_papers: number of papers.
        num_classes: number of fields.
        authors_per_paper: how often an author of a paper is drawn.
        fidelity: probability of an author or a venue of the paper's own field.
        feature_signal: length of every field's mean, in standard deviations of the noise.
        seed: of everything drawn; the splits do not depend on it.

    Raises:
        ConfigError: fewer than four papers per field.
    """
    if num_papers < 4 * num_classes:
        raise ConfigError(
            f"dataset.num_papers={num_papers} is too few for {num_classes} classes: at least {4 * num_classes}"
        )
    rng = np.random.RandomState(seed)
    num_authors, num_venues = num_papers // 2, 4 * num_classes
    y = rng.permutation(np.arange(num_papers) % num_classes)
    expertise = np.arange(num_authors) % num_classes

    def drawn(population: int, paper: np.ndarray) -> np.ndarray:
        """Draw for every paper one out of a population whose member ``i`` has the field ``i % num_classes``."""
        own = rng.random_sample(len(paper)) < fidelity
        field = np.where(own, y[paper], rng.randint(0, num_classes, len(paper)))
        # members of a field are field, field + num_classes, ...
        return field + num_classes * rng.randint(0, population // num_classes, len(paper))

    papers = np.arange(num_papers)
    slots = np.repeat(papers, authors_per_paper)
    writes = np.unique(np.stack([drawn(num_authors, slots), slots]), axis=1)
    appears = np.stack([papers, drawn(num_venues, papers)])

    data = HeteroData()
    data["paper"].x = _around_means(rng, y, num_classes, 16, feature_signal)
    data["paper"].y = torch.from_numpy(y)
    data["author"].x = _around_means(rng, expertise, num_classes, 8, feature_signal)
    data["venue"].x = torch.eye(num_venues)
    for source, (relation, inverse), target, edges in (
        ("author", ("writes", "written_by"), "paper", writes),
        ("paper", ("appears_in", "contains"), "venue", appears),
    ):
        data[source, relation, target].edge_index = torch.from_numpy(np.ascontiguousarray(edges))
        data[target, inverse, source].edge_index = torch.from_numpy(np.ascontiguousarray(edges[::-1]))
    return data, per_class(data["paper"].y, _FRACTIONS, card.protocols[protocol].splits)


def own_field_shares(bundle: Bundle, files: RawFiles) -> list[float]:
    """Share of authorships, and of papers with a venue, in the paper's own field."""
    data: Any = bundle.data
    y = data["paper"].y
    author, paper = data["author", "writes", "paper"].edge_index
    published, venue = data["paper", "appears_in", "venue"].edge_index
    own = (y[paper] == author % bundle.num_outputs, y[published] == venue % bundle.num_outputs)
    return [float(share.double().mean()) for share in own]


def _around_means(rng: np.random.RandomState, y: np.ndarray, classes: int, features: int, signal: float) -> Tensor:
    """Draw Gaussian features whose mean, of length ``signal``, is the class's."""
    means = rng.standard_normal((classes, features))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return torch.from_numpy((signal * means[y] + rng.standard_normal((len(y), features))).astype(np.float32))

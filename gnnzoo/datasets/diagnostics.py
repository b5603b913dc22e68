"""Tasks that a layer solves exactly or not at all: DictionaryLookup, HeteroEdgeCount, UniqueSignature."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch_geometric.data import Data

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.synthetic import both_directions
from gnnzoo.errors import ConfigError
from gnnzoo.types import PositiveInt, Probability, Seed

__all__ = [
    "load_dictionary_lookup",
    "load_hetero_edge_count",
    "load_unique_signature",
    "no_incoming_edge",
    "positive_share",
    "target_moments",
]

NumGraphs = Annotated[int, Field(ge=10)]


def _split(number: int) -> list[Split]:
    """The last fifth of the graphs is test, as in the papers; the tenth before it is validation, which they lack."""
    test = number - int(0.8 * number)
    val = number // 10
    return [Split(0, *torch.arange(number).split([number - test - val, val, test]))]


def load_dictionary_lookup(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    num_keys: Annotated[int, Field(ge=2)] = 10,
    num_graphs: NumGraphs = 5000,
    seed: Seed = 0,
) -> tuple[list[Data], list[Split]]:
    r"""Generate DictionaryLookup: every query node asks for the value that stands beside its key.

    A graph has :math:`n` query nodes, node :math:`i` with key :math:`i` and no value, and :math:`n` entries, node
    :math:`n + i` with key :math:`i` and value :math:`\pi(i)`, :math:`\pi` a random permutation; an edge leads from
    every entry to every query. The label of query :math:`i` is :math:`\pi(i)`; entries have none (-1). Features are the
    key and the value, both one-hot: columns :math:`0 \dots n - 1` the key, :math:`n \dots 2n - 1` the value and
    :math:`2n` that there is none.

    Args:
        num_keys: the :math:`n` above; 10, 20, 30, 40 or 50 in the paper.
        num_graphs: number of graphs.
        seed: of the permutations, drawn one after the other by ``RandomState(seed).permutation``.
    """
    rng = np.random.RandomState(seed)
    query, entry = torch.arange(num_keys), torch.arange(num_keys, 2 * num_keys)
    edge_index = torch.stack([entry.repeat_interleave(num_keys), query.repeat(num_keys)])
    keys = torch.eye(num_keys).repeat(2, 1)
    graphs = []
    for _ in range(num_graphs):
        values = torch.from_numpy(rng.permutation(num_keys))
        x = torch.cat([keys, torch.zeros(2 * num_keys, num_keys + 1)], dim=1)
        x[query, 2 * num_keys] = 1
        x[entry, num_keys + values] = 1
        y = torch.cat([values, torch.full((num_keys,), -1)])
        graphs.append(Data(x=x, edge_index=edge_index, y=y))
    return graphs, _split(num_graphs)


def no_incoming_edge(bundle: Bundle, files: RawFiles) -> int:
    """Nodes that are the target of no edge."""
    return sum(
        int((torch.bincount(graph.edge_index[1], minlength=graph.num_nodes) == 0).sum()) for graph in bundle.graphs
    )


def load_hetero_edge_count(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    max_nodes: Annotated[int, Field(ge=2)] = 50,
    num_labels: Annotated[int, Field(ge=2)] = 2,
    num_graphs: NumGraphs = 5000,
    seed: Seed = 0,
) -> tuple[list[Data], list[Split]]:
    r"""Generate HeteroEdgeCount: how many directed edges join nodes of different labels?

    A graph has :math:`n \in \{2, \dots, \text{max_nodes}\}` nodes and :math:`m \in \{\lfloor n^2 / 4 \rfloor, \dots,
    n^2\}` of the :math:`n^2` ordered pairs, loops among them, everything uniform. A node's label is uniform, too, and
    its feature is the label, one-hot.

    Args:
        max_nodes: most nodes of a graph.
        num_labels: number of labels, ``c`` in the paper.
        num_graphs: number of graphs.
        seed: of everything drawn.
    """
    rng = np.random.RandomState(seed)
    one_hot = torch.eye(num_labels)
    graphs = []
    for _ in range(num_graphs):
        nodes = rng.randint(2, max_nodes + 1)
        edges = rng.randint(nodes**2 // 4, nodes**2 + 1)
        labels = rng.randint(0, num_labels, nodes)
        edge_index = np.stack(np.divmod(np.sort(rng.permutation(nodes**2)[:edges]), nodes))
        different = float((labels[edge_index[0]] != labels[edge_index[1]]).sum())
        x = one_hot[torch.from_numpy(labels)]
        graphs.append(Data(x=x, edge_index=torch.from_numpy(edge_index), y=torch.tensor([[different]])))
    return graphs, _split(num_graphs)


def target_moments(bundle: Bundle, files: RawFiles) -> list[float]:
    """Mean and standard deviation of the test targets; the latter is the error of always saying the former."""
    y = torch.cat([bundle.graphs[i].y for i in bundle.splits[0].test.tolist()]).double()
    return [float(y.mean()), float(y.std(unbiased=False))]


def load_unique_signature(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    p: Probability = 0.5,
    r: PositiveInt = 5,
    min_nodes: PositiveInt = 30,
    max_nodes: PositiveInt = 70,
    num_graphs: NumGraphs = 5000,
) -> tuple[list[Data], list[Split]]:
    r"""Generate UniqueSignature: has a node a neighbour whose value is the sum of all its neighbours' values?

    Graph :math:`i` is that of the authors' code, number for number: an Erdős-Rényi graph of edge probability ``p`` on
    ``min_nodes`` to ``max_nodes`` nodes with integer values :math:`x_v \in \{-\lfloor r / 2 \rfloor, \dots\}` of ``r``
    kinds. The label of :math:`u` is 1 where :math:`x_v = \sum_{w \in N(u)} x_w` for some :math:`v \in N(u)`.

    Args:
        p: probability of an edge; 0.3, 0.5 or 0.7 in the paper.
        r: number of values; 3, 5 or 7 in the paper.
        min_nodes: fewest nodes of a graph.
        max_nodes: most nodes of a graph.
        num_graphs: number of graphs.

    Raises:
        ConfigError: ``min_nodes`` is above ``max_nodes``.
    """
    if min_nodes > max_nodes:
        raise ConfigError(f"dataset.min_nodes={min_nodes} is above dataset.max_nodes={max_nodes}")
    graphs = []
    for seed in range(num_graphs):
        nodes = np.random.RandomState(seed).randint(min_nodes, max_nodes + 1)
        # The authors seed three generators alike, all Mersenne twisters: Python's, which draws edges, is NumPy's
        # seeded by a list; torch's, which draws values, takes remainders of the words of NumPy's.
        pairs = np.stack(np.triu_indices(nodes, k=1))
        pairs = pairs[:, np.random.RandomState([seed]).random_sample(pairs.shape[1]) < p]
        words = np.random.RandomState(seed).randint(0, 2**32, nodes, dtype=np.uint32)
        values = (words % r).astype(np.int64) - r // 2
        edge_index = both_directions(pairs)
        source, target = edge_index.numpy()
        sums = np.bincount(source, weights=values[target], minlength=nodes)
        match = np.zeros(nodes, dtype=np.float32)
        match[source[values[target] == sums[source]]] = 1
        x, y = (torch.from_numpy(column.astype(np.float32))[:, None] for column in (values, match))
        graphs.append(Data(x=x, edge_index=edge_index, y=y))
    return graphs, _split(num_graphs)


def positive_share(bundle: Bundle, files: RawFiles) -> float:
    """Fraction of all nodes whose label is 1."""
    return float(torch.cat([graph.y for graph in bundle.graphs]).double().mean())

"""Test nodes in two halves: those whose neighbours share their label, and those whose neighbours do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import remove_self_loops, to_undirected

from gnnzoo.datasets.bundle import Split

__all__ = ["by_homophily", "node_homophily"]


def node_homophily(data: Data) -> Tensor:
    """Return the share of each node's neighbours that have its label, ``[num_nodes]``, NaN where there is none.

    Neighbours are taken in the graph made undirected, without self-loops, each once; one of unknown label (-1) has
    another label.
    """
    edges, _ = remove_self_loops(data.edge_index)
    source, target = to_undirected(edges, num_nodes=data.num_nodes)
    alike = torch.bincount(source[data.y[source] == data.y[target]], minlength=data.num_nodes)
    return alike.double() / torch.bincount(source, minlength=data.num_nodes)


def by_homophily(data: Data, splits: Iterable[Split]) -> list[Split]:
    """Return the splits with two further parts: the homophilic (``high``) and the heterophilic (``low``) test nodes.

    ``high`` has a :func:`node_homophily` of at least the median of the test nodes, ``low`` less: entry ``round(n / 2)``
    of their ``n`` sorted values, NaN last. Nodes without a neighbour are in neither. Ties fall into ``high``, so that
    the parts need not be equal. The rule of Yang et al. 2025 (HEI, arXiv 2408.09490, with a ratio of 0.5); it reads
    test labels, which is why it may serve evaluation only.
    """
    share = node_homophily(data)
    found = []
    for split in splits:
        values = share[split.test]
        median = values.sort().values[round(len(values) / 2)]
        parts = {"high": split.test[values >= median], "low": split.test[values < median]}
        found.append(dataclasses.replace(split, extra=parts))
    return found

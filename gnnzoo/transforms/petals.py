"""Flower petals: the cliques or chordless cycles of a graph, and how random walks step over them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import ConfigError
from gnnzoo.ops.structure import check_edge_index

__all__ = ["FlowerPetals", "PetalType", "flower_petals"]

PetalType = Literal["simplex", "ring"]

_BLOCK = 1 << 18
"""Candidates that are looked at together: bounds the memory of the search, not its result."""


class FlowerPetals(BaseTransform):
    r"""Add the flower-petal operators of `"Higher-order Graph Convolutional Network with Flower-Petals Laplacians on
    Simplicial Complexes" <https://arxiv.org/abs/2309.12971>`_ (arXiv 2309.12971).

    .. math::
        HL_p = \tfrac{1}{p+1} D_p^{-1/2} B_p B_p^\top D_p^{-1/2}, \quad p = 1, \dots, P

    with :math:`B_p` the incidence of nodes and petals of p + 1 nodes, :math:`D_p` how many of them each node is in, and
    :math:`D_p^{-1/2} = 0` for nodes in none. Direction, repeated edges and self-loops play no part.

    Args:
        order: P.
        petal_type: ``simplex``: petals of order p are the (p+1)-cliques, not only the maximal ones; ``ring``: the
            cycles of p + 1 nodes without a chord, and for p = 1 the edges.

    Shapes:
        - **added:** ``petal_index`` ``[2, num_entries]``, rows and columns of all operators; ``petal_order``
          ``[num_entries]``, p; ``petal_weight`` ``[num_entries]``. Sorted by row, order, column; they can be batched.
    """

    def __init__(self, order: int = 2, petal_type: PetalType = "simplex") -> None:
        self.order, self.petal_type = order, petal_type

    def forward(self, data: Data) -> Data:
        """Add the operators of one graph."""
        found = flower_petals(data.edge_index, data.num_nodes, self.order, self.petal_type)
        data.petal_index, data.petal_order, data.petal_weight = found
        return data


def flower_petals(
    edge_index: Tensor,
    num_nodes: int,
    order: int = 2,
    petal_type: PetalType = "simplex",
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the flower-petal operators of a graph: see :class:`FlowerPetals`.

    Args:
        edge_index: ``[2, num_edges]`` tensor or ``EdgeIndex``.
        num_nodes: number of nodes.
        order: the highest order.
        petal_type: ``simplex`` or ``ring``.
        dtype: of the weights; PyTorch's default unless given.

    Returns:
        ``petal_index`` ``[2, num_entries]``, ``petal_order`` ``[num_entries]`` and ``petal_weight`` ``[num_entries]``.

    Raises:
        ConfigError: an order below 1, or another type of petal.
        DataError: ``edge_index`` has another shape or refers to nodes that do not exist.
    """
    if order < 1 or petal_type not in ("simplex", "ring"):
        raise ConfigError(f"no petals of order={order}, petal_type={petal_type!r}: order >= 1, simplex or ring")
    edge_index = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
    check_edge_index(edge_index, num_nodes)
    graph = _Graph.of(edge_index, num_nodes)
    tallies = [_Tally(p + 1, num_nodes, graph.key.device) for p in range(1, order + 1)]
    for petals in (_cliques if petal_type == "simplex" else _rings)(graph, order + 1):
        tallies[petals.size(1) - 2].add(graph.node[petals])
    keys, weights = zip(*(tally.operator() for tally in tallies), strict=True)
    # an entry is (row, order, column) in one number, so that sorting them sorts the operators into each other
    key = torch.cat([(k // num_nodes * order + p) * num_nodes + k % num_nodes for p, k in enumerate(keys)])
    key, place = key.sort()
    row, column = key // num_nodes, key % num_nodes
    weight = torch.cat(weights)[place].to(dtype or torch.get_default_dtype())
    return torch.stack([row // order, column]), row % order + 1, weight


class _Graph(NamedTuple):
    """A simple graph whose nodes are numbered by degree, so that few edges lead from a node to higher ones."""

    node: Tensor
    """The caller's number of each node."""
    key: Tensor
    """Every pair of neighbours once in each direction, as ``source * num_nodes + target``, ascending."""
    rowptr: Tensor
    target: Tensor
    higher: Tensor
    """Where in each row the neighbours of higher number begin."""

    @classmethod
    def of(cls, edge_index: Tensor, num_nodes: int) -> _Graph:
        pairs = edge_index[:, edge_index[0] != edge_index[1]]
        pairs = torch.cat([pairs, pairs.flip(0)], dim=1)
        key = (pairs[0] * num_nodes + pairs[1]).unique()
        source, target = key // num_nodes, key % num_nodes
        node = torch.bincount(source, minlength=num_nodes).argsort(stable=True)
        number = node.argsort()
        key = (number[source] * num_nodes + number[target]).sort().values
        target = key % num_nodes
        nodes = torch.arange(num_nodes + 1, device=key.device)
        rowptr = torch.searchsorted(key, nodes * num_nodes)
        return cls(node, key, rowptr, target, torch.searchsorted(key, nodes[:-1] * (num_nodes + 1)))

    def joined(self, u: Tensor, v: Tensor) -> Tensor:
        """Say which of the pairs are neighbours."""
        wanted = u * self.node.numel() + v
        place = torch.searchsorted(self.key, wanted).clamp_(max=self.key.numel() - 1)
        return self.key[place] == wanted

    def extensions(self, last: Tensor, only_higher: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, block by block, each row of ``last`` with each neighbour of the node there: ``(row, neighbour)``."""
        begin, end = (self.higher if only_higher else self.rowptr)[last], self.rowptr[last + 1]
        total = (end - begin).cumsum(0)
        marks = torch.arange(0, int(total[-1]) if total.numel() else 0, _BLOCK, device=last.device)
        cuts = [*torch.searchsorted(total, marks, right=True).tolist(), last.numel()]
        for low, high in pairwise(cuts):
            count = end[low:high] - begin[low:high]
            row = torch.arange(low, high, device=last.device).repeat_interleave(count)
            shift = begin[low:high] - count.cumsum(0) + count
            yield row, self.target[torch.arange(row.numel(), device=row.device) + shift[row - low]]


def _edges(graph: _Graph) -> Tensor:
    source = graph.key // graph.node.numel()
    keep = source < graph.target
    return torch.stack([source[keep], graph.target[keep]], dim=1)


def _cliques(graph: _Graph, most: int) -> Iterator[Tensor]:
    """Yield all cliques of 2 to ``most`` nodes, ``[number, size]``, each with ascending nodes."""
    cliques = _edges(graph)
    yield cliques
    for size in range(3, most + 1):
        found = []
        for row, w in graph.extensions(cliques[:, -1], only_higher=True):
            for column in range(size - 3, -1, -1):
                keep = graph.joined(cliques[row, column], w)
                row, w = row[keep], w[keep]
            larger = torch.cat([cliques[row], w.unsqueeze(1)], dim=1)
            yield larger
            if size < most:
                found.append(larger)
        cliques = torch.cat(found) if found else cliques.new_empty(0, size)


def _rings(graph: _Graph, most: int) -> Iterator[Tensor]:
    """Yield all edges, and all cycles of 3 to ``most`` nodes without a chord, ``[number, size]``, each once.

    Of a cycle's nodes the lowest is ``v`` and its neighbours there are ``a < b``. A path ``a, v, b, ...`` grows at its
    end by nodes above ``v`` that have no neighbour on it but the last and perhaps ``a``, which closes the cycle.
    """
    edges = _edges(graph)
    yield edges
    if most < 3:
        return
    paths = torch.cat(
        [
            torch.stack([edges[row, 1], edges[row, 0], b], dim=1)[edges[row, 1] < b]
            for row, b in graph.extensions(edges[:, 0], only_higher=True)
        ]
        or [edges.new_empty(0, 3)]
    )
    closed = graph.joined(paths[:, 0], paths[:, 2])
    yield paths[closed]
    paths = paths[~closed]
    for size in range(4, most + 1):
        found = []
        for row, w in graph.extensions(paths[:, -1], only_higher=False):
            keep = w > paths[row, 1]
            row, w = row[keep], w[keep]
            for column in range(1, size - 2):
                keep = ~graph.joined(paths[row, column], w)
                row, w = row[keep], w[keep]
            longer = torch.cat([paths[row], w.unsqueeze(1)], dim=1)
            closed = graph.joined(longer[:, 0], w)
            yield longer[closed]
            if size < most:
                found.append(longer[~closed])
        paths = torch.cat(found) if found else paths.new_empty(0, size)


class _Tally:
    """How many petals of one size each node and each pair of nodes is in."""

    def __init__(self, size: int, num_nodes: int, device: torch.device) -> None:
        self.size, self.num_nodes = size, num_nodes
        self.degree = torch.zeros(num_nodes, dtype=torch.int64, device=device)
        self.keys = [self.degree[:0]]
        self.counts = [self.degree[:0]]

    def add(self, petals: Tensor) -> None:
        """Count petals ``[number, size]``."""
        self.degree += torch.bincount(petals.flatten(), minlength=self.num_nodes)
        i, j = torch.triu_indices(self.size, self.size, 1, device=petals.device)
        low, high = torch.aminmax(torch.stack([petals[:, i], petals[:, j]]), dim=0)
        key, count = (low * self.num_nodes + high).flatten().sort().values.unique_consecutive(return_counts=True)
        self.keys.append(key.clone())  # a copy: what PyTorch returns has room for every petal
        self.counts.append(count.clone())
        if sum(map(len, self.keys[1:])) > 2 * len(self.keys[0]) + 4 * _BLOCK:
            self.merge()

    def merge(self) -> None:
        """Add up what was counted in several blocks."""
        key, place = torch.cat(self.keys).unique(return_inverse=True)
        self.counts = [torch.zeros_like(key).index_add_(0, place, torch.cat(self.counts))]
        self.keys = [key]

    def operator(self) -> tuple[Tensor, Tensor]:
        """Return ``row * num_nodes + column`` and the weight of every entry."""
        self.merge()
        (key,), (count,) = self.keys, self.counts
        low, high = key // self.num_nodes, key % self.num_nodes
        degree = self.degree.double()
        weight = count / (self.size * (degree[low] * degree[high]).sqrt())
        covered = self.degree.nonzero().flatten()
        diagonal = torch.full_like(covered, 1, dtype=weight.dtype) / self.size
        keys = torch.cat([key, high * self.num_nodes + low, covered * (self.num_nodes + 1)])
        return keys, torch.cat([weight, weight, diagonal])

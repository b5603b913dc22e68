"""Equivariant graph polynomials: what a matrix-product network cannot compute by itself, as features.

A polynomial is a small multigraph H with at most two marked nodes. On a matrix X it is the sum over all maps f of H's
nodes into those of X, marked ones fixed, of the product of X[f(u), f(v)] over H's edges. With two marked nodes that is
a matrix, with one a diagonal, with none a number that is copied to all entries (arXiv 2302.11556, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.ops.structure import check_edge_index

__all__ = [
    "CHANNELS",
    "Form",
    "Polynomial",
    "Polynomials",
    "SparsePolynomials",
    "channels",
    "contract",
    "enumerate_polynomials",
    "is_computable",
    "nonzero_channels",
    "normalize",
    "polynomials",
    "sparse_polynomials",
]

Form = Literal["sparse", "dense"]
Edges = tuple[tuple[int, int], ...]

_FEW = 64
"""Neighbours of a node up to which sums over four further nodes are exact in float32: 64^4 = 2^24."""
_DENSE = 256
"""Graphs of more nodes are held as sparse matrices."""
_LARGEST_DENSE = 1024
"""Nodes of a graph all of whose pairs may be listed."""
_LARGEST = 200_000_000
"""Numbers in one intermediate result."""


@dataclass(frozen=True)
class Polynomial:
    """A connected simple graph with marked nodes.

    Args:
        name: what the channel is called; the authors' order of channels is that of a file, so names say more.
        edges: pairs ``(u, v)``, ``u < v``: the factors ``X[u, v]``.
        red: the marked nodes, ascending, at most two: rows and columns of the result.
    """

    name: str
    edges: Edges
    red: tuple[int, ...]

    @property
    def degree(self) -> int:
        """Number of factors."""
        return len(self.edges)

    @property
    def einsum(self) -> str:
        """What is summed, such as ``...ab,...ac->...ab``; a diagonal and a number are short of axes."""
        letters = [chr(ord("a") + v) for v in range(26)]
        factors = ",".join(f"...{letters[u]}{letters[v]}" for u, v in self.edges)
        return f"{factors}->...{''.join(letters[v] for v in self.red)}"


_DIAMOND: Edges = ((0, 1), (0, 2), (0, 3), (1, 2), (2, 3))
_K4: Edges = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
_MIDDLE: Edges = ((0, 1), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4))
_END: Edges = ((0, 1), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4))
_SUBDIVIDED: Edges = ((0, 1), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4))
_K23: Edges = ((0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4))

CHANNELS = (
    Polynomial("p5_diamond", _DIAMOND, (1, 3)),
    Polynomial("p6_k4_scalar", _K4, ()),
    Polynomial("p6_k4_diag", _K4, (0,)),
    Polynomial("p6_k4_edge", _K4, (0, 1)),
    Polynomial("p6_diamond_mid_pendant", _MIDDLE, (3, 4)),
    Polynomial("p6_pendant_diamond_far_a", _END, (0, 2)),
    Polynomial("p6_pendant_diamond_far_b", _END, (0, 2)),
    Polynomial("p6_diamond_end_pendant_a", _END, (1, 2)),
    Polynomial("p6_diamond_end_pendant_b", _END, (1, 2)),
    Polynomial("p6_subdivided_diamond_a", _SUBDIVIDED, (1, 4)),
    Polynomial("p6_subdivided_diamond_b", _SUBDIVIDED, (1, 4)),
    Polynomial("p6_k23", _K23, (2, 3)),
)
"""All up to degree 6. As in the authors' code the two orders of two marked nodes give the same channel twice."""


def is_computable(edges: Iterable[tuple[int, int]], red: Iterable[int]) -> bool:
    """Whether matrix products, entrywise products and transposes suffice for a polynomial.

    Unmarked nodes of degree 1 are dropped and those of degree 2 replaced by an edge, always in what is left by then
    (the authors' code looks at the first graph); it is computable if only marked nodes keep an edge.
    """
    neighbours: dict[int, set[int]] = {}
    for u, v in edges:
        neighbours.setdefault(u, set()).add(v)
        neighbours.setdefault(v, set()).add(u)
    marked = set(red)
    while True:
        node = next((v for v, near in neighbours.items() if v not in marked and 0 < len(near) <= 2), None)
        if node is None:
            return all(v in marked or not near for v, near in neighbours.items())
        near = neighbours.pop(node)
        for v in near:
            neighbours[v] -= {node}
            neighbours[v] |= near - {v}


@lru_cache
def enumerate_polynomials(degree: int) -> tuple[Polynomial, ...]:
    """Return the polynomials of one degree that are not computable, up to isomorphism.

    Two marked nodes are an ordered pair here: the polynomials of the two orders are each other's transposes, unless an
    automorphism exchanges the nodes.

    Raises:
        ConfigError: the atlas of small graphs (networkx) does not go as far.
    """
    if not 1 <= degree <= 8:
        raise ConfigError(f"polynomials of degree {degree} are not enumerated: 1 to 8 are")
    import networkx as nx

    found: list[Polynomial] = []
    # Joining two marked nodes by an edge must leave three independent cycles, those of K4: m + 1 - n + 1 >= 3.
    for graph in nx.graph_atlas_g():
        if graph.number_of_edges() != degree or len(graph) > degree - 1 or not nx.is_connected(graph):
            continue
        edges = tuple(sorted((min(edge), max(edge)) for edge in graph.edges))
        for red in _markings(edges, len(graph)):
            if not is_computable(edges, red):
                found.append(Polynomial(f"p{degree}_{len(found)}", edges, red))
    return tuple(found)


def _markings(edges: Edges, num_nodes: int) -> Iterator[tuple[int, ...]]:
    """Yield no node, single nodes and ordered pairs of nodes, one of each orbit under automorphisms."""
    same = [p for p in permutations(range(num_nodes)) if {tuple(sorted((p[u], p[v]))) for u, v in edges} == set(edges)]
    for size in range(3):
        for red in permutations(range(num_nodes), size):
            if red == min(tuple(p[v] for v in red) for p in same):
                yield red


@lru_cache
def channels(max_degree: int = 6, dedupe: bool = False) -> tuple[Polynomial, ...]:
    """Return the channels up to a degree: :data:`CHANNELS`, then the enumerated ones, marked nodes in ascending order.

    Args:
        max_degree: 1 to 8; up to 4 there are none.
        dedupe: leave out what repeats an earlier channel.

    Raises:
        ConfigError: no such degree.
    """
    if not 1 <= max_degree <= 8:
        raise ConfigError(f"polynomials of degree {max_degree} are not enumerated: 1 to 8 are")
    found = [channel for channel in CHANNELS if channel.degree <= max_degree]
    for degree in range(7, max_degree + 1):
        found += [Polynomial(p.name, p.edges, tuple(sorted(p.red))) for p in enumerate_polynomials(degree)]
    if dedupe:
        found = list({(p.edges, p.red): p for p in reversed(found)}.values())[::-1]
    return tuple(found)


def polynomials(adjacency: Tensor, selected: Sequence[Polynomial] = CHANNELS) -> Tensor:
    """Evaluate polynomials on matrices: closed forms where the matrices are symmetric, planned contractions elsewhere.

    Whole numbers stay exact as long as they fit the type.

    Args:
        adjacency: ``[num_nodes, num_nodes]`` or ``[num_graphs, num_nodes, num_nodes]``, weights allowed.
        selected: which polynomials.

    Returns:
        ``[len(selected), num_nodes, num_nodes]`` or ``[num_graphs, len(selected), num_nodes, num_nodes]``.
    """
    if tuple(selected) == CHANNELS and _symmetric(adjacency):
        return _closed_forms(adjacency)
    closed: dict[tuple[Edges, tuple[int, ...]], Tensor] = {}
    if _symmetric(adjacency):
        forms = _closed_forms(adjacency).unbind(-3)
        closed = {(p.edges, p.red): value for p, value in zip(CHANNELS, forms, strict=True)}
    shape = adjacency.shape
    out = adjacency.new_zeros(*shape[:-2], len(selected), *shape[-2:])
    for number, channel in enumerate(selected):
        value = closed.get((channel.edges, channel.red))
        if value is None:
            value = contract(adjacency, channel)
            if len(channel.red) == 1:
                value = torch.diag_embed(value)
            elif not channel.red:
                value = value[..., None, None]
        out[..., number, :, :] = value
    return out


def _symmetric(adjacency: Tensor) -> bool:
    return torch.equal(adjacency, adjacency.mT)


def _closed_forms(adjacency: Tensor) -> Tensor:
    """Evaluate :data:`CHANNELS` on symmetric matrices.

    All but the K4 channels have the form ``M(W)[c, d] = sum over a, b of W[a, b] A[a, c] A[b, c] A[a, d] A[b, d]``,
    the product of a matrix of pairs (a, b) and common neighbours with itself; only pairs where W is not zero matter.
    """
    matrix = adjacency.numpy(force=True)  # on matrices this small a call of NumPy's costs half of one of PyTorch's
    n, exact = matrix.shape[-1], matrix.dtype
    degree = matrix.sum(-1)
    if not ((matrix != 0) & (matrix != 1)).any() and degree.max(initial=0) < _FEW:
        matrix = matrix.astype(np.float32)  # no product below exceeds 2^24
        degree = degree.astype(np.float32)
    two = matrix @ matrix
    if matrix.ndim == 2:
        a, b = np.triu(matrix).nonzero()
        c, d = np.triu(two).nonzero()
    else:
        a, b = c, d = np.triu_indices(n)
    near_a, near_b = matrix.take(a, -2), matrix.take(b, -2)
    common = near_a * near_b
    # a pair stands for both its orders, which count twice, and for a == b once
    half = (matrix[..., a, b] * np.where(a == b, matrix.dtype.type(0.5), matrix.dtype.type(1)))[..., None]
    far_weight = (two[..., c, d] * np.where(c == d, matrix.dtype.type(1), matrix.dtype.type(2)))[..., None]
    left = np.empty((*common.shape[:-1], 3 * n), matrix.dtype)
    weighted = np.multiply(common, half, out=left[..., :n])
    np.multiply(weighted, (degree.take(a, -1) + degree.take(b, -1))[..., None], out=left[..., n : 2 * n])
    np.multiply(near_a * two.take(b, -2) + near_b * two.take(a, -2), half, out=left[..., 2 * n :])
    sums = left.swapaxes(-1, -2) @ common
    far = matrix.take(c, -2) * matrix.take(d, -2)

    out = np.zeros((*matrix.shape[:-2], len(CHANNELS), n, n), exact)
    diamond = 2 * sums[..., :n, :]
    k4 = matrix * diamond
    rows = k4.sum(-1)
    out[..., 0, :, :] = diamond
    out[..., 1, :, :] = rows.sum(-1, dtype=exact)[..., None, None]
    out.reshape(*out.shape[:-2], n * n)[..., 2, :: n + 1] = rows
    out[..., 3, :, :] = k4
    out[..., 4, :, :] = sums[..., n : 2 * n, :]
    out[..., 5:7, :, :] = (matrix @ diamond)[..., None, :, :]
    out[..., 7:9, :, :] = (degree[..., None] * diamond)[..., None, :, :]
    out[..., 9:11, :, :] = sums[..., None, 2 * n :, :]
    out[..., 11, :, :] = (far * far_weight).swapaxes(-1, -2) @ far
    return torch.from_numpy(out).to(adjacency.device)


def contract(adjacency: Tensor, polynomial: Polynomial) -> Tensor:
    """Evaluate one polynomial by contractions of two factors at a time, in an order that NumPy has planned.

    Args:
        adjacency: ``[..., num_nodes, num_nodes]``, symmetric or not.
        polynomial: which.

    Returns:
        ``[..., num_nodes, num_nodes]``, ``[..., num_nodes]`` or ``[...]``, by the number of marked nodes.

    Raises:
        DataError: an intermediate result would be too large.
    """
    n = adjacency.size(-1)
    operands = [adjacency] * polynomial.degree
    for places, expression, axes in _plan(polynomial.einsum.replace("...", ""), max(n, 2)):
        if adjacency[..., 0].numel() // max(n, 1) * n**axes > _LARGEST:
            raise DataError(f"polynomial {polynomial.name} on {n} nodes needs n^{axes} numbers at once: too many")
        taken = [operands.pop(place) for place in places]
        operands.append(torch.einsum(expression, *taken))
    return operands[0]


@lru_cache(maxsize=4096)
def _plan(einsum: str, n: int) -> list[tuple[list[int], str, int]]:
    """Return contractions: operands to take (from the last on), their expression, the axes of the result."""
    inputs, _, output = einsum.partition("->")
    terms = inputs.split(",")
    path = np.einsum_path(einsum, *[np.broadcast_to(0.0, (n, n))] * len(terms), optimize=("greedy", _LARGEST))[0][1:]
    plan = []
    for step, chosen in enumerate(path):
        places = sorted(chosen, reverse=True)
        taken = [terms.pop(place) for place in places]
        needed = set(output).union(*terms)
        kept = output if step == len(path) - 1 else "".join(sorted(set("".join(taken)) & needed))
        plan.append((places, ",".join(f"...{term}" for term in taken) + f"->...{kept}", len(kept)))
        terms.append(kept)
    return plan


@dataclass
class SparsePolynomials:
    """Channels of one graph on the pairs of nodes where any of them is not zero.

    Args:
        index: ``[2, num_pairs]`` int64, sorted by row and column.
        values: ``[num_pairs, num_channels]`` float64.
        background: ``[num_channels]`` float64: the value on all other pairs, not zero for scalar channels only.
        num_nodes: of the graph.
    """

    index: Tensor
    values: Tensor
    background: Tensor
    num_nodes: int

    def at(self, index: Tensor) -> Tensor:
        """Return the values of pairs ``[2, num_wanted]`` as ``[num_wanted, num_channels]``."""
        if not self.index.size(1):
            return self.background.expand(index.size(1), -1)
        key, wanted = (i[0] * self.num_nodes + i[1] for i in (self.index, index))
        place = torch.searchsorted(key, wanted).clamp(max=key.numel() - 1)
        return torch.where((key[place] == wanted).unsqueeze(1), self.values[place], self.background)

    def row_sums(self) -> Tensor:
        """Return the sum of each row, ``[num_nodes, num_channels]``."""
        above = torch.zeros(self.num_nodes, self.values.size(1), dtype=self.values.dtype)
        above.index_add_(0, self.index[0], self.values - self.background)
        return above + self.background * self.num_nodes

    def to_dense(self) -> Tensor:
        """Return ``[num_channels, num_nodes, num_nodes]``."""
        n = self.num_nodes
        dense = self.background[:, None, None].expand(-1, n, n).clone()
        dense[:, self.index[0], self.index[1]] = self.values.t()
        return dense

    def normalized(self) -> SparsePolynomials:
        """Return what :func:`normalize` does."""
        values, background = (v / _nonzero(v.norm(dim=-1, keepdim=True)) for v in (self.values, self.background))
        others = self.num_nodes**2 - self.index.size(1)
        norm = _nonzero((values.square().sum(0) + others * background.square()).sqrt())
        return SparsePolynomials(self.index, values / norm, background / norm, self.num_nodes)


def sparse_polynomials(
    edge_index: Tensor, num_nodes: int, selected: Sequence[Polynomial] = CHANNELS
) -> SparsePolynomials:
    """Evaluate polynomials on a simple undirected graph through sparse matrices: for graphs of any size.

    The costs are those of the pairs of neighbours of common neighbours, not of all pairs of nodes.

    Args:
        edge_index: ``[2, num_edges]``, each edge in both directions; repeated edges and self-loops play no part.
        num_nodes: number of nodes.
        selected: polynomials among :data:`CHANNELS`.

    Raises:
        DataError: the graph is directed, or nodes of high degree make it too much work.
        ConfigError: a polynomial without a closed form.
    """
    check_edge_index(edge_index, num_nodes)
    for channel in selected:
        if channel not in CHANNELS:
            raise ConfigError(f"{channel.name} has no closed form: graphs of more than {_DENSE} nodes take degree <= 6")
    keep = (edge_index[0] != edge_index[1]).numpy()
    ends = edge_index.numpy()[:, keep]
    adjacency = sparse.csr_array((np.ones(ends.shape[1]), tuple(ends)), shape=(num_nodes, num_nodes))
    adjacency.data[:] = 1.0
    if not adjacency.nnz:
        zero = torch.zeros(len(selected), dtype=torch.float64)
        return SparsePolynomials(torch.empty(2, 0, dtype=torch.int64), zero.new_empty(0, len(zero)), zero, num_nodes)
    if (adjacency != adjacency.T).nnz:
        raise DataError(f"polynomials of a directed graph of {num_nodes} nodes: set data.undirected=true")
    degree = adjacency.sum(axis=1)
    if (degree**2).sum() > _LARGEST:
        raise DataError(f"polynomials of {num_nodes} nodes: {(degree**2).sum():.0f} pairs of neighbours are too many")
    two = (adjacency @ adjacency).tocsr()
    a, b = sparse.triu(adjacency).nonzero()
    c, d = sparse.triu(two).nonzero()
    common = adjacency[a] * adjacency[b]
    far = adjacency[c] * adjacency[d]
    if (np.diff(far.indptr).astype(float) ** 2).sum() > _LARGEST:
        raise DataError(f"polynomials of {num_nodes} nodes: too many cycles of length 4")

    def scaled(values: np.ndarray, matrix: Any) -> Any:
        return sparse.diags_array(values) @ matrix

    diamond = 2 * (common.T @ common)
    k4 = adjacency * diamond
    rows = k4.sum(axis=1)
    subdivided = (adjacency[a] * two[b] + adjacency[b] * two[a]).T @ common
    forms = {
        0: diamond,
        2: sparse.diags_array(rows),
        3: k4,
        4: common.T @ scaled(degree[a] + degree[b], common),
        5: adjacency @ diamond,
        7: scaled(degree, diamond),
        9: subdivided,
        11: far.T @ scaled(two[c, d] * np.where(c == d, 1.0, 2.0), far),
    }
    numbers = [CHANNELS.index(channel) for channel in selected]
    scalar = np.array([rows.sum() if number == 1 else 0.0 for number in numbers])
    parts = [
        _entries(forms.get(number, forms.get(number - 1)), num_nodes) if number != 1 else None for number in numbers
    ]
    keys = np.unique(np.concatenate([part[0] for part in parts if part is not None] or [np.empty(0, np.int64)]))
    values = np.zeros((len(keys), len(numbers))) + scalar
    for column, part in enumerate(parts):
        if part is not None:
            values[np.searchsorted(keys, part[0]), column] = part[1]
    index = torch.from_numpy(np.stack([keys // num_nodes, keys % num_nodes]))
    return SparsePolynomials(index, torch.from_numpy(values), torch.from_numpy(scalar), num_nodes)


def _entries(matrix: Any, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of pairs and values of a sparse matrix's entries that are not zero."""
    matrix = sparse.coo_array(matrix)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix.row.astype(np.int64) * num_nodes + matrix.col, matrix.data


def normalize(values: Tensor) -> Tensor:
    """Divide every entry by its norm over channels, then every channel by its norm over entries; norms of 0 by 1.

    Args:
        values: ``[num_channels, num_nodes, num_nodes]``.
    """
    values = values / _nonzero(values.norm(dim=0, keepdim=True))
    return values / _nonzero(_norm(values.flatten(1))[:, None, None])


def _norm(rows: Tensor) -> Tensor:
    """Return the norm of each row, to the last bit the same in whatever order the row is."""
    return rows.square().sort(dim=1).values.sum(1).sqrt()


def _nonzero(norm: Tensor) -> Tensor:
    return torch.where(norm == 0, torch.ones_like(norm), norm)


def nonzero_channels(graphs: Iterable[Data]) -> list[int]:
    """Return which columns of ``pair_attr`` are not zero everywhere: those that are worth an input channel.

    Args:
        graphs: with ``pair_attr``, such as the training graphs.
    """
    seen = torch.stack([graph.pair_attr.any(0) for graph in graphs])
    return seen.any(0).nonzero().flatten().tolist()


class Polynomials(BaseTransform):
    """Add the polynomial features of `"Equivariant Polynomials for Graph Neural Networks"
    <https://arxiv.org/abs/2302.11556>`_ (arXiv 2302.11556) to a graph: to any model's input.

    The graph counts as simple: repeated edges and self-loops play no part; a directed one has at most 256 nodes.

    Args:
        max_degree: polynomials of degree 5 up to this: 5 (1 channel), 6 (12), 7 (89).
        form: ``sparse``: columns of ``x`` and ``edge_attr``, for models that pass messages, without repeated channels;
            ``dense``: ``pair_attr``, for models of all pairs of nodes.
        norm: divide by norms, see :func:`normalize`.
        dedupe: ``dense``: leave out the channels that the authors' code has twice.

    Shapes:
        - **sparse:** ``x`` gains diagonals and row sums; ``edge_attr`` the values at (source, target); both are made
          where they are missing, float32
        - **dense:** ``pair_attr`` ``[num_nodes^2, num_channels]`` float32, pair (i, j) in row ``i * num_nodes + j``
    """

    def __init__(self, max_degree: int = 6, form: Form = "sparse", norm: bool = False, dedupe: bool = False) -> None:
        if not 5 <= max_degree <= 8:
            raise ConfigError(f"polynomials={max_degree}: there are none below degree 5, and 8 is the highest")
        self.max_degree, self.form, self.norm, self.dedupe = max_degree, form, norm, dedupe

    def forward(self, data: Data) -> Data:
        """Add the features of one graph.

        Raises:
            DataError: no graph, one that is too large, or features that are categories.
        """
        if type(data) is not Data and not isinstance(data, Data):
            raise DataError(f"polynomials are of plain graphs, not of a {type(data).__name__}")
        edge_index = data.edge_index
        edge_index = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
        if self.form == "dense":
            data.pair_attr = self._dense(edge_index, data.num_nodes).flatten(1).t().contiguous().float()
            return data
        selected = channels(self.max_degree, dedupe=True)
        matrices = [len(p.red) == 2 for p in selected]
        found = self._sparse(edge_index, data.num_nodes, selected)
        nodes = torch.arange(data.num_nodes).expand(2, -1)
        columns = torch.cat([found.at(nodes), found.row_sums()[:, matrices]], dim=1)
        data.x = _joined(data.x, columns, "x")
        data.edge_attr = _joined(data.edge_attr, found.at(edge_index)[:, matrices], "edge_attr")
        return data

    def _dense(self, edge_index: Tensor, num_nodes: int) -> Tensor:
        if num_nodes > _LARGEST_DENSE:
            raise DataError(f"polynomials of all pairs of {num_nodes} nodes: at most {_LARGEST_DENSE} nodes")
        selected = channels(self.max_degree, self.dedupe)
        found = polynomials(_adjacency(edge_index, num_nodes), selected)
        return normalize(found) if self.norm else found

    def _sparse(self, edge_index: Tensor, num_nodes: int, selected: Sequence[Polynomial]) -> SparsePolynomials:
        if num_nodes > _DENSE:
            found = sparse_polynomials(edge_index, num_nodes, selected)
        else:
            values = polynomials(_adjacency(edge_index, num_nodes), selected).flatten(1).t()
            pairs = torch.arange(num_nodes**2)
            index = torch.stack([pairs // max(num_nodes, 1), pairs % max(num_nodes, 1)])
            found = SparsePolynomials(index, values, torch.zeros(len(selected), dtype=values.dtype), num_nodes)
        return found.normalized() if self.norm else found


def _adjacency(edge_index: Tensor, num_nodes: int) -> Tensor:
    check_edge_index(edge_index, num_nodes)
    adjacency = torch.zeros(num_nodes, num_nodes, dtype=torch.float64)
    adjacency[edge_index[0], edge_index[1]] = 1
    return adjacency.fill_diagonal_(0)


def _joined(old: Tensor | None, columns: Tensor, name: str) -> Tensor:
    columns = columns.float()
    if old is None:
        return columns
    if not old.is_floating_point():
        raise DataError(f"polynomials are added to real features, and {name} holds categories: set data.one_hot=true")
    return torch.cat([old.view(len(columns), -1), columns.to(old.dtype)], dim=1)

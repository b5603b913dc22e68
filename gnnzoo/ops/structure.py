"""The structure of a graph in the form in which products with it are fast."""

from __future__ import annotations

import warnings
from functools import cached_property

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from gnnzoo.errors import DataError
from gnnzoo.ops.cache import cached

__all__ = ["Adjacency", "adjacency", "csr_tensor"]

with warnings.catch_warnings():  # PyTorch says once per process that CSR is in beta: let it say so here, unheard
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor(torch.zeros(1, dtype=torch.int32), torch.empty(0, dtype=torch.int32), torch.empty(0))


def csr_tensor(rowptr: Tensor, col: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a PyTorch CSR tensor without the checks that forbid duplicate entries (they add up, which is meant)."""
    return torch.sparse_csr_tensor(rowptr, col, value, size, check_invariants=False)


class Adjacency:
    r"""The matrix :math:`A_{vu} = \sum_{e = (u \to v)} w_e` of a directed multigraph, in CSR form.

    Rows are targets, columns are sources, so that ``A @ x`` sends messages along the edges. Entries are ordered by
    (target, source), whatever the order of the edges was. Everything else (transpose, degrees, reverse edges) is
    computed when first asked for and kept. Usually made by :func:`adjacency`, which keeps one per graph.

    Args:
        edge_index: ``[2, num_edges]``, sources in row 0, targets in row 1; duplicates and self-loops are allowed.
        num_nodes: Number of nodes.
        edge_weight: Constant weights ``[num_edges]``; :func:`spmm` uses them when it is given no others.

    Attributes:
        rowptr: ``[num_nodes + 1]`` int32, where each row's entries begin.
        col: ``[num_edges]`` int32, the source of each entry.
        perm: ``[num_edges]`` int64, the edge behind each entry, or None if edges came in the order of entries.
        weight: ``[num_edges]`` in the order of entries, or None for ones.

    Raises:
        DataError: If ``edge_index`` has another shape or refers to nodes that do not exist.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None = None) -> None:
        edge_index = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
        check_edge_index(edge_index, num_nodes)
        edge_index = edge_index.to(torch.int64)
        self.num_nodes = num_nodes
        self.num_edges = edge_index.size(1)
        key = edge_index[1] * num_nodes + edge_index[0]
        in_order = bool((key[1:] >= key[:-1]).all())
        self.perm = None if in_order else torch.sort(key, stable=True).indices
        src, dst = edge_index if self.perm is None else edge_index.index_select(1, self.perm)
        self.col = src.to(torch.int32)  # a copy, never a view: the cache must not keep edge_index alive
        self.row = dst.to(torch.int64, copy=True)
        self.rowptr = _pointer(self.row, num_nodes)
        self.weight = edge_weight if edge_weight is None or self.perm is None else edge_weight[self.perm]
        self._constant: dict[tuple[torch.dtype, bool], Tensor] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_nodes={self.num_nodes}, num_edges={self.num_edges})"

    @cached_property
    def transposed(self) -> tuple[Tensor, Tensor, Tensor]:
        """``rowptr``, ``col`` of the transpose and the entry of this matrix behind each entry of the transpose."""
        order = torch.sort(self.col, stable=True).indices
        return _pointer(self.col, self.num_nodes), self.row[order].to(torch.int32), order

    @cached_property
    def in_degree(self) -> Tensor:
        """Number of edges that point at each node, ``[num_nodes]`` int64."""
        return self.rowptr.diff().to(torch.int64)

    @cached_property
    def out_degree(self) -> Tensor:
        """Number of edges that leave each node, ``[num_nodes]`` int64."""
        return self.transposed[0].diff().to(torch.int64)

    @cached_property
    def reverse(self) -> Tensor:
        """For each entry ``(v, u)`` the first entry ``(u, v)``, or -1 if there is none; ``[num_edges]`` int64."""
        if self.num_edges == 0:
            return self.row
        col = self.col.to(torch.int64)
        key, wanted = self.row * self.num_nodes + col, col * self.num_nodes + self.row
        found = torch.searchsorted(key, wanted).clamp_(max=self.num_edges - 1)
        return torch.where(key[found] == wanted, found, -1)

    def csr(self, value: Tensor, transpose: bool = False) -> Tensor:
        """Return the matrix (or its transpose) with the entries ``value`` ``[num_edges]`` as a CSR tensor."""
        size = (self.num_nodes, self.num_nodes)
        if not transpose:
            return csr_tensor(self.rowptr, self.col, value, size)
        rowptr, col, order = self.transposed
        return csr_tensor(rowptr, col, value.index_select(0, order), size)

    def constant(self, dtype: torch.dtype, transpose: bool = False) -> Tensor:
        """Return the matrix with its own weights (or ones) as a CSR tensor, built once per ``dtype``."""
        if (dtype, transpose) not in self._constant:
            value = torch.ones_like(self.col, dtype=dtype) if self.weight is None else self.weight.detach().to(dtype)
            self._constant[dtype, transpose] = self.csr(value, transpose)
        return self._constant[dtype, transpose]


def adjacency(edge_index: Tensor, num_nodes: int) -> Adjacency:
    """Return the :class:`Adjacency` of a graph, built once per ``edge_index`` tensor and ``num_nodes``.

    Args:
        edge_index: ``[2, num_edges]`` tensor or ``EdgeIndex``.
        num_nodes: Number of nodes.
    """
    return cached(edge_index, ("adjacency", num_nodes), lambda: Adjacency(edge_index, num_nodes))


def check_edge_index(edge_index: Tensor, num_nodes: int) -> None:
    """Raise :class:`DataError` unless ``edge_index`` is ``[2, num_edges]`` and refers to existing nodes."""
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.is_floating_point():
        raise DataError(
            f"edge_index must be an integer tensor of shape [2, num_edges], not "
            f"{str(edge_index.dtype).removeprefix('torch.')} {list(edge_index.shape)}"
        )
    if edge_index.numel() == 0:
        return
    low, high = (int(bound) for bound in edge_index.aminmax())
    if low < 0 or high >= num_nodes:
        bad = low if low < 0 else high
        raise DataError(f"edge_index refers to node {bad}, but the nodes are 0 to {num_nodes - 1}")


def _pointer(index: Tensor, size: int) -> Tensor:
    """Return the CSR row pointer ``[size + 1]`` of the row numbers ``index``."""
    pointer = torch.zeros(size + 1, dtype=torch.int64, device=index.device)
    torch.cumsum(torch.bincount(index, minlength=size), 0, out=pointer[1:])
    return pointer.to(torch.int32)

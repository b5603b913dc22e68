"""The sheaf Laplacian: orthogonal maps, sparsity patterns, normalization and the product with a state.

What belongs to edges is stored with the edges in the last dimension (``[d, d, m]``), where elementwise products of
small matrices run at full speed; what belongs to edge *ends* lists first the m lower ends, then the m upper ones.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gnnzoo.errors import DataError
from gnnzoo.ops import adjacency, cached, sddmm
from gnnzoo.ops.structure import csr_tensor

__all__ = [
    "Normalization",
    "Orthogonal",
    "Sheaf",
    "SheafGraph",
    "SheafLaplacian",
    "num_orthogonal_parameters",
    "orthogonal_map",
    "sheaf_laplacian",
]

Sheaf = Literal["diag", "bundle", "general"]
Normalization = Literal["sheaf", "degree", "none"]
Orthogonal = Literal["householder", "euler", "cayley", "matrix_exp"]


# Orthogonal maps ------------------------------------------------------------------------------------------------------


def num_orthogonal_parameters(d: int, method: Orthogonal) -> int:
    """Return how many numbers parametrise one ``d x d`` orthogonal map."""
    return {
        "householder": d * (d - 1) // 2,
        "euler": 1 if d == 2 else 3,
        "cayley": d * (d + 1) // 2,
        "matrix_exp": d * (d + 1) // 2,
    }[method]


def orthogonal_map(params: Tensor, d: int, method: Orthogonal = "householder") -> Tensor:
    r"""Turn parameters into orthogonal matrices; lower triangles are filled row by row.

    * ``householder``: :math:`Q = H_0 \cdots H_{d-1}`, :math:`H_k = I - 2 v_k v_k^\top / \|v_k\|^2`, where :math:`v_k`
      is column k of I plus the strictly lower triangular matrix of the parameters; :math:`\det Q = (-1)^d`.
    * ``euler``: a rotation by :math:`2\pi p` (d = 2), or :math:`R_z R_y R_x` of three such angles (d = 3).
    * ``cayley``: :math:`(I - A/2)^{-1} (I + A/2)` with :math:`A = T - T^\top`, T lower triangular (with an
      inert diagonal).
    * ``matrix_exp``: :math:`\exp(A)` with the same A.

    Args:
        params: ``[num_parameters, num_maps]``.
        d: Size of the matrices.
        method: The parametrisation.

    Returns:
        ``[d, d, num_maps]``.
    """
    if method == "householder":
        return _householder(params, d)
    if method == "euler":
        return _euler(params, d)
    lower = params.new_zeros(params.size(1), d, d)
    i, j = torch.tril_indices(d, d, device=params.device)
    lower[:, i, j] = params.t()
    skew = lower - lower.mT
    if method == "matrix_exp":
        return torch.linalg.matrix_exp(skew).permute(1, 2, 0)
    eye = torch.eye(d, dtype=params.dtype, device=params.device)
    return torch.linalg.solve(eye - skew / 2, eye + skew / 2).permute(1, 2, 0)


def _householder(params: Tensor, d: int) -> Tensor:
    # Q_k = H_k diag(1, Q_{k+1}): from the innermost reflection, which is -1 on the last coordinate, outwards.
    rows = params.unbind()
    q = params.new_full((1, 1, params.size(1)), -1.0)
    for k in reversed(range(d - 1)):
        v = torch.stack([rows[i * (i - 1) // 2 + k] for i in range(k + 1, d)])  # v_k below its leading 1
        scale = 2 / (1 + v.square().sum(0))
        vq = (v.unsqueeze(1) * q).sum(0)
        sv = scale * v
        top = torch.cat([(1 - scale).view(1, 1, -1), -(scale * vq).unsqueeze(0)], dim=1)
        q = torch.cat([top, torch.cat([-sv.unsqueeze(1), q - sv.unsqueeze(1) * vq], dim=1)])
    return q


def _euler(params: Tensor, d: int) -> Tensor:
    angle = 2 * math.pi * params
    cos, sin = angle.cos(), angle.sin()
    if d == 2:
        return torch.stack([cos[0], -sin[0], sin[0], cos[0]]).view(2, 2, -1)
    (cz, cy, cx), (sz, sy, sx) = cos.unbind(), sin.unbind()
    entries = [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx]
    entries += [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx]
    entries += [-sy, cy * sx, cy * cx]
    return torch.stack(entries).view(3, 3, -1)


# The sheaf Laplacian --------------------------------------------------------------------------------------------------


class SheafGraph:
    """The undirected simple graph under a sheaf, and the sparsity patterns of Laplacians on it.

    Self-loops are left out (the two ends of a loop always agree, so it adds nothing to the Laplacian) and duplicates
    count once. Built in a few vectorised steps; :meth:`of` keeps one per ``edge_index``.

    Attributes:
        lower, upper: The two nodes of each undirected edge, ``[m]``, lower < upper, in lexicographic order.
        ends, others: ``[2 m]`` the node at each edge end, and the node at the opposite end.
        degree: ``[n]`` number of neighbours, int64.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int) -> None:
        graph = adjacency(edge_index, num_nodes)
        row, col = graph.row, graph.col.to(torch.int64)
        one_way = graph.reverse < 0
        if bool(one_way.any()):
            raise DataError(
                f"a sheaf needs both directions of every edge, but {int(one_way.sum())} of {graph.num_edges} edges "
                "have no reverse: apply torch_geometric.transforms.ToUndirected() to the data"
            )
        key = row * num_nodes + col  # ascending, as entries are sorted
        is_new = torch.cat([key.new_ones(1, dtype=torch.bool), key[1:] != key[:-1]])[: key.numel()]
        keep = (row < col) & is_new
        self.num_nodes = num_nodes
        self.lower, self.upper = row[keep], col[keep]
        self.ends = torch.cat([self.lower, self.upper])
        self.others = torch.cat([self.upper, self.lower])
        self.degree = torch.bincount(self.ends, minlength=num_nodes)
        self._patterns: dict[tuple[Any, ...], Pattern] = {}

    @classmethod
    def of(cls, edge_index: Tensor, num_nodes: int) -> SheafGraph:
        """Return the graph of ``edge_index``, built once per tensor."""
        return cached(edge_index, ("sheaf", num_nodes), lambda: cls(edge_index, num_nodes))

    def at_ends(self, x: Tensor) -> Tensor:
        """Copy what belongs to nodes, ``[..., n]``, to the ends of edges, ``[..., 2 m]``."""
        return x.gather(-1, self.ends.expand(*x.shape[:-1], -1))

    def at_others(self, x: Tensor) -> Tensor:
        """Copy what belongs to nodes to the ends opposite to them."""
        return x.gather(-1, self.others.expand(*x.shape[:-1], -1))

    def sum_ends(self, x: Tensor) -> Tensor:
        """Sum what belongs to the ends of edges, ``[..., 2 m]``, at their nodes, ``[..., n]``."""
        out = x.new_zeros(*x.shape[:-1], self.num_nodes)
        return out.scatter_add(-1, self.ends.expand(*x.shape[:-1], -1), x)

    def pattern(
        self,
        sheaf: Sheaf,
        d: int,
        fixed: tuple[int, ...],
        scaled: bool,
        dtype: torch.dtype,
        augmented: bool = True,
    ) -> Pattern:
        """Return the sparsity pattern of Laplacians of one kind, built once."""
        key = (sheaf, d, fixed, scaled, dtype, augmented)
        if key not in self._patterns:
            self._patterns[key] = Pattern(self, sheaf, d, fixed, scaled, dtype, augmented)
        return self._patterns[key]


class Pattern:
    """Where the numbers of a sheaf Laplacian go in a CSR matrix ``[n width, n width]``.

    An undirected edge contributes the block :math:`-F_u^\\top F_v` and its transpose, a node its diagonal block. The
    values of edges and nodes, learned ones first and the fixed coordinates' after them, are listed once and spread to
    both blocks by one gather. The gradient needs the upper blocks only, by symmetry.

    Args:
        graph: The graph.
        sheaf: Decides which entries of a block there are.
        d: Learned stalk dimension.
        fixed: The neighbours' entry on each fixed coordinate: +1 low-pass, -1 high-pass.
        scaled: Whether fixed coordinates are normalized by degrees.
        dtype: Type of the values.
        augmented: Whether 1 is added to the degrees that normalize.
    """

    def __init__(
        self,
        graph: SheafGraph,
        sheaf: Sheaf,
        d: int,
        fixed: tuple[int, ...],
        scaled: bool,
        dtype: torch.dtype,
        augmented: bool = True,
    ) -> None:
        n, m = graph.num_nodes, graph.lower.numel()
        self.num_nodes, self.d, self.width = n, d, d + len(fixed)
        self.full_diagonal = sheaf == "general"
        diagonal, square = [(i, i) for i in range(d)], [(i, j) for i in range(d) for j in range(d)]
        edge_entries = diagonal if sheaf == "diag" else square
        node_entries = square if self.full_diagonal else diagonal
        extra = [(i, i) for i in range(d, self.width)]

        device = graph.ends.device
        lower, upper, nodes = graph.lower * self.width, graph.upper * self.width, torch.arange(n, device=device)

        def offsets(entries: list[tuple[int, int]], axis: int, base: Tensor) -> Tensor:
            shift = torch.tensor([entry[axis] for entry in entries], dtype=torch.int64, device=device)
            return (shift.unsqueeze(1) + base).flatten()

        edges, blocks, stalks = edge_entries + extra, node_entries + extra, nodes * self.width
        rows = torch.cat([offsets(edges, 0, lower), offsets(edges, 1, upper), offsets(blocks, 0, stalks)])
        cols = torch.cat([offsets(edges, 1, upper), offsets(edges, 0, lower), offsets(blocks, 1, stalks)])
        in_edges = torch.arange(len(edges) * m, device=device)
        source = torch.cat([in_edges, in_edges, len(edges) * m + torch.arange(len(blocks) * n, device=device)])
        self.rowptr, self.col, order = _to_csr(rows, cols, n * self.width)
        self.source = source[order]

        learned = len(edge_entries) * m
        self.edge_rowptr, self.edge_col, order = _to_csr(rows[:learned], cols[:learned], n * self.width)
        self.edge_source = torch.empty_like(order)
        self.edge_source[order] = torch.arange(learned, device=device)

        degree = graph.degree.to(dtype)
        scale = _inverse_root(degree, augmented) if scaled else torch.ones_like(degree)
        signs = torch.tensor(fixed, dtype=dtype, device=device).unsqueeze(1)
        self.fixed_edges = (signs * (scale[graph.lower] * scale[graph.upper])).flatten()
        self.fixed_nodes = (degree * scale.square()).repeat(len(fixed))

    def matrix(self, edge_values: Tensor, node_values: Tensor) -> Tensor:
        """Return the CSR matrix of the learned values ``[entries per edge, m]`` and ``[entries per node, n]``."""
        values = torch.cat([edge_values.flatten(), self.fixed_edges, node_values.flatten(), self.fixed_nodes])
        size = self.num_nodes * self.width
        return csr_tensor(self.rowptr, self.col, values.index_select(0, self.source), (size, size))


def _to_csr(rows: Tensor, cols: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return row pointer, columns and order of entries of a COO pattern."""
    order = torch.sort(rows.to(torch.int32), stable=True).indices
    rowptr = F.pad(torch.bincount(rows, minlength=size).cumsum(0), (1, 0)).to(torch.int32)
    return rowptr, cols[order].to(torch.int32), order


class SheafLaplacian(NamedTuple):
    """A symmetric sheaf Laplacian ``[n width, n width]`` with learned entries; ``laplacian @ x`` is differentiable.

    Attributes:
        pattern: Where the values go.
        edge_values: ``[entries per edge, m]``, of the block of (lower, upper).
        node_values: ``[entries per node, n]``, of the diagonal blocks.
        matrix: The values put into a CSR matrix, without gradient.
    """

    pattern: Pattern
    edge_values: Tensor
    node_values: Tensor
    matrix: Tensor

    def __matmul__(self, x: Tensor) -> Tensor:
        """Apply the Laplacian to a state ``[n, width, h]``."""
        return _LaplacianProduct.apply(x, self.edge_values, self.node_values, self)

    def to_dense(self) -> Tensor:
        """Return the Laplacian as a differentiable dense matrix (for tests and small graphs)."""
        pattern, size = self.pattern, self.matrix.size(0)
        edges, nodes = (
            (self.edge_values.flatten(), pattern.fixed_edges),
            (self.node_values.flatten(), pattern.fixed_nodes),
        )
        values = torch.cat([*edges, *nodes])[pattern.source]
        rows = torch.arange(size, device=values.device).repeat_interleave(pattern.rowptr.diff())
        return values.new_zeros(size, size).index_put((rows, pattern.col.long()), values)


class _LaplacianProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, edge_values: Tensor, node_values: Tensor, laplacian: SheafLaplacian) -> Tensor:
        ctx.pattern, ctx.matrix = laplacian.pattern, laplacian.matrix
        ctx.edge_shape = edge_values.shape
        ctx.save_for_backward(x)
        return (laplacian.matrix @ x.reshape(-1, x.size(-1))).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        (x,), pattern = ctx.saved_tensors, ctx.pattern
        d, flat, grad_flat = pattern.d, x.reshape(-1, x.size(-1)), grad.reshape(-1, x.size(-1))
        grad_x = (ctx.matrix @ grad_flat).view(x.shape)  # symmetric: the transpose is the matrix itself
        grad_edges = grad_nodes = None
        if ctx.needs_input_grad[1]:
            # L_uv = L_vu^T takes g_u x_v^T and x_u g_v^T: one sampled product over concatenated channels.
            left, right = torch.cat([grad_flat, flat], 1), torch.cat([flat, grad_flat], 1)
            sampled = sddmm(pattern.edge_rowptr, pattern.edge_col, left, right)
            grad_edges = sampled.index_select(0, pattern.edge_source).view(ctx.edge_shape)
        if ctx.needs_input_grad[2]:
            if pattern.full_diagonal:
                grad_nodes = torch.einsum("nih,njh->ijn", grad[:, :d], x[:, :d]).reshape(d * d, -1)
            else:
                grad_nodes = (grad[:, :d] * x[:, :d]).sum(-1).t()
        return grad_x, grad_edges, grad_nodes, None


def _inverse_root(x: Tensor, augmented: bool) -> Tensor:
    """Return ``(x + 1) ** -0.5``; if not augmented ``x ** -0.5``, and 0 where x is 0."""
    return (x + 1).rsqrt() if augmented else torch.where(x > 0, x, torch.inf).rsqrt()


class _InverseSqrt(torch.autograd.Function):
    r"""Inverse square root of symmetric matrices ``[n, d, d]``: of ``D + I`` (I with its noise), or of a bare ``D``.

    D is positive semi-definite. Rounding of a large D may hide the I in ``D + I``, hence the bound from below; no
    exact eigenvalue is under it. A bare D gets the pseudo-inverse: eigenvalues that are 0 but for rounding stay 0.
    With eigenvalues :math:`s_i^2`, the derivative in the eigenbasis multiplies by the divided differences of
    :math:`\lambda^{-1/2}`, which are :math:`-1 / (s_i s_j (s_i + s_j))`: finite, also where eigenvalues coincide.
    In a pseudo-inverse they are :math:`s_i^{-3}` between :math:`s_i^2` and a zero, and 0 between zeros.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, augmented: bool) -> Tensor:
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        if augmented:
            root = eigenvalues.clamp(min=0.999).sqrt()
        else:
            rounding = matrix.size(-1) * torch.finfo(matrix.dtype).eps
            root = torch.where(eigenvalues > rounding * eigenvalues[..., -1:], eigenvalues, torch.inf).sqrt()
        ctx.augmented = augmented
        ctx.save_for_backward(root, vectors)
        return (vectors / root.unsqueeze(-2)) @ vectors.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        root, vectors = ctx.saved_tensors
        si, sj = root.unsqueeze(-1), root.unsqueeze(-2)
        inner = vectors.mT @ grad @ vectors
        divisor = -si * sj * (si + sj)
        if not ctx.augmented:
            divisor = torch.where(si.isinf() ^ sj.isinf(), torch.minimum(si, sj) ** 3, divisor)
        return vectors @ (inner / divisor) @ vectors.mT, None


def sheaf_laplacian(
    graph: SheafGraph,
    maps: Tensor,
    sheaf: Sheaf,
    normalization: Normalization = "sheaf",
    edge_weights: Tensor | None = None,
    fixed: tuple[int, ...] = (),
    noise: Tensor | None = None,
    augmented: bool = True,
) -> SheafLaplacian:
    r"""Build the normalized sheaf Laplacian.

    With :math:`D_v = \sum_{e \ni v} F_{v \trianglelefteq e}^\top F_{v \trianglelefteq e}`, off-diagonal blocks are
    :math:`-S_u F_u^\top F_v S_v` and diagonal ones :math:`S_v D_v S_v`, where :math:`S_v` is :math:`(D_v + I)^{-1/2}`
    (``"sheaf"``), :math:`(\deg_v + 1)^{-1/2}` (``"degree"``; :math:`(d \deg_v + 1)^{-1/2}` for general maps) or I
    (``"none"``). Fixed coordinates carry Deg + A (low-pass) or Deg - A (high-pass), scaled by
    :math:`(\deg + 1)^{-1/2}` with ``"sheaf"`` only.

    Args:
        graph: The graph.
        maps: Restriction maps at the ends of edges: ``[d, 2 m]`` for diagonal maps, else ``[d, d, 2 m]``.
        sheaf: Kind of maps; ``"bundle"`` promises orthogonal ones and is always normalized by ``"sheaf"``.
        normalization: See above.
        edge_weights: ``[2 m]`` (bundle only): the maps are ``weight * orthogonal``.
        fixed: +1 for a low-pass coordinate, -1 for a high-pass one.
        noise: ``[d]`` (general maps only): I + diag(noise) replaces I.
        augmented: Whether the I and the 1 stand in :math:`S_v`, as in all of the paper's models; without them it is a
            pseudo-inverse: 0 at isolated nodes.
    """
    d, m, dtype = maps.size(0), graph.lower.numel(), maps.dtype
    degree = graph.degree.to(dtype)
    if sheaf == "diag":
        node_values = graph.sum_ends(maps.square())
        if normalization != "none":
            scale = _inverse_root(node_values if normalization == "sheaf" else degree, augmented)
            node_values = node_values * scale.square()
            maps = maps * graph.at_ends(scale)
        lower, upper = maps.chunk(2, dim=-1)
        edge_values = -lower * upper
    elif sheaf == "bundle":
        total = degree if edge_weights is None else graph.sum_ends(edge_weights.square())
        at_ends = graph.at_ends(_inverse_root(total, augmented))
        at_ends = at_ends if edge_weights is None else at_ends * edge_weights
        (at_lower, at_upper), maps_at = at_ends.chunk(2), maps.chunk(2, dim=-1)
        edge_values = (_transpose_times(*maps_at) * -(at_lower * at_upper)).view(d * d, m)
        node_values = (total / (total + 1) if augmented else (total > 0).to(dtype)).expand(d, -1)
    else:
        total = graph.sum_ends(_transpose_times(maps, maps))
        node_values = total
        if normalization == "sheaf":
            stacked = total.permute(2, 0, 1)
            eye = torch.ones(d, dtype=dtype, device=maps.device) if noise is None else 1 + noise
            root = _InverseSqrt.apply(stacked + eye.diag() if augmented else stacked, augmented)
            node_values = (root @ stacked @ root).permute(1, 2, 0)
            # S is symmetric, so F S is the product (F^T)^T S of the transposed maps.
            maps = _transpose_times(maps.transpose(0, 1), graph.at_ends(root.permute(1, 2, 0).contiguous()))
        elif normalization == "degree":
            scale = _inverse_root(d * degree, augmented)
            node_values = total * scale.square()
            maps = maps * graph.at_ends(scale)
        edge_values = -_transpose_times(*maps.chunk(2, dim=-1))
        if normalization == "sheaf":  # within [-1, 1] but for rounding
            edge_values, node_values = edge_values.clamp(-1, 1), node_values.clamp(-1, 1)
        edge_values, node_values = edge_values.reshape(d * d, m), node_values.reshape(d * d, -1)
    pattern = graph.pattern(sheaf, d, fixed, normalization == "sheaf", dtype, augmented)
    matrix = pattern.matrix(edge_values.detach(), node_values.detach())
    return SheafLaplacian(pattern, edge_values, node_values, matrix)


def _transpose_times(a: Tensor, b: Tensor) -> Tensor:
    """Return :math:`a^T b` of matrices stored as ``[d, d, m]``."""
    rows = list(zip(a.unbind(), b.unbind(), strict=True))
    out = rows[0][0].unsqueeze(1) * rows[0][1]
    for left, right in rows[1:]:
        out = torch.addcmul(out, left.unsqueeze(1), right)
    return out

"""Propagate, then update: what a node collects along every relation, computed once, with random projections between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.ops.rectangular import SparseMatrix

__all__ = [
    "Kernel",
    "Layout",
    "Parity",
    "Precision",
    "PropagateThenUpdate",
    "Relation",
    "Squash",
    "distinct_relations",
    "draw_kernel",
    "label_groups",
    "propagate_then_update",
    "relations",
    "target_type",
    "unpack",
]

EdgeType = tuple[str, str, str]
Kernel = Literal["sparse", "gaussian", "gaussian_no_norm"]
Parity = Literal["all", "even", "odd"]
Precision = Literal["float16", "float32", "float64"]
Squash = Literal["sum", "mean", "norm_sum", "norm_mean", "project_norm_sum", "project_norm_mean"]
Layout = dict[str, list[int]]
"""For each group, in their order: ``[slots, width]``."""

_SPARSE = 10
"""How many multiplications of a dense product take as long as one of a sparse product, on one CPU core."""


class Relation:
    """One direction of a relation, along which features are averaged.

    Args:
        raw: the edge type of the data.
        edge_index: ``[2, num_edges]`` in the direction of the data.
        num_nodes: of every node type.
        dtype: of the means.
        flipped: whether it is the reverse direction.

    Attributes:
        source: the type of nodes that is averaged.
        target: the type of nodes that receives.
        mean: row-stochastic ``[num_targets, num_sources]``; repeated edges count, and a node without incoming edges has
            a row of zeros.
        back: the other direction; a relation within one type is its own.
    """

    back: Relation

    def __init__(
        self, raw: EdgeType, edge_index: Tensor, num_nodes: Mapping[str, int], dtype: torch.dtype, flipped: bool = False
    ) -> None:
        self.raw, self.flipped = raw, flipped
        self.source, self.target = (raw[2], raw[0]) if flipped else (raw[0], raw[2])
        self.edge_index = edge_index.flip(0) if flipped else edge_index
        source, target = self.edge_index
        size = (num_nodes[self.target], num_nodes[self.source])
        degree = torch.bincount(target, minlength=size[0])
        self.mean = SparseMatrix(target, source, size, 1 / degree[target].to(dtype))

    def __str__(self) -> str:
        return "/".join((self.source, f"r.{self.raw[1]}" if self.flipped else self.raw[1], self.target))


class Collected:
    """What a type of nodes collects along one relation: its neighbours' features, or its own, there and back again."""

    def __init__(self, parity: Literal["odd", "even"], relation: Relation) -> None:
        self.parity, self.relation = parity, relation

    @property
    def source(self) -> str:
        """The type whose features these are."""
        return self.relation.source

    @property
    def last(self) -> SparseMatrix:
        """The mean that is taken last."""
        return self.relation.mean if self.parity == "odd" else self.relation.back.mean

    def __str__(self) -> str:
        return f"{self.parity}|{self.relation}"


def target_type(data: HeteroData) -> str:
    """Return the type of nodes that is classified: the one that has labels, or had before they were hidden.

    Data that say nothing of labels are about their first type.
    """
    found = [kind for kind in data.node_types if "y" in data[kind]]
    return found[0] if found else data.to_dict().get("_global_store", {}).get("label_type", data.node_types[0])


def distinct_relations(edges: Mapping[EdgeType, Tensor], num_nodes: Mapping[str, int]) -> dict[EdgeType, Tensor]:
    """Return the edge types of data without those that are another one backwards, edge by edge.

    Of such a pair that stays whose source comes first in the alphabet, and within one type of nodes the first.
    """
    kept: dict[EdgeType, Tensor] = {}
    for kind in sorted(edges, key=lambda kind: kind[0] > kind[2]):
        source, _, target = kind
        flipped = edges[kind].flip(0)
        opposite = [index for other, index in kept.items() if (other[2], other[0]) == (source, target)]
        size = num_nodes[source]
        if not any(torch.equal(_sorted(flipped, size), _sorted(index, size)) for index in opposite):
            kept[kind] = edges[kind]
    return {kind: index for kind, index in edges.items() if kind in kept}


def _sorted(edge_index: Tensor, num_targets: int) -> Tensor:
    return (edge_index[0] * num_targets + edge_index[1]).sort().values


def relations(
    edges: Mapping[EdgeType, Tensor], num_nodes: Mapping[str, int], dtype: torch.dtype = torch.float32
) -> list[Relation]:
    """Return all relations of a graph, each in both directions.

    Between two types the second direction has the edges flipped. Within one type there is one relation, to which the
    flipped edges are added: an edge that was there both ways then counts twice; self-loops are not repeated.

    Args:
        edges: ``[2, num_edges]`` for every edge type.
        num_nodes: of every node type.
        dtype: of the means.
    """
    found = []
    for raw in sorted(edges):
        index = edges[raw]
        if raw[0] == raw[2]:
            index = torch.cat([index, index[:, index[0] != index[1]].flip(0)], dim=1)
            both = Relation(raw, index, num_nodes, dtype)
            both.back = both
            found.append(both)
        else:
            there, back = (Relation(raw, index, num_nodes, dtype, flipped) for flipped in (False, True))
            there.back, back.back = back, there
            found += [there, back]
    return found


def _collected(found: list[Relation], kind: str, parity: Parity) -> list[Collected]:
    """Return what a type of nodes collects, ordered by edge type, and along each of these odd before even."""
    every = [Collected("odd", r) for r in found if r.target == kind and parity != "even"]
    every += [Collected("even", r) for r in found if r.source == kind and parity != "odd"]
    return sorted(every, key=lambda c: (c.relation.raw, c.parity == "even"))


class _Iteration:
    """One iteration's means, each computed when it is first asked for."""

    def __init__(self, x: Mapping[str, Tensor]) -> None:
        self.x = x
        self._odd: dict[Relation, Tensor] = {}
        self._even: dict[Relation, Tensor] = {}

    def odd(self, relation: Relation) -> Tensor:
        if relation not in self._odd:
            self._odd[relation] = relation.mean.times(self.x[relation.source])
        return self._odd[relation]

    def collected(self, what: Collected) -> Tensor:
        if what.parity == "odd":
            return self.odd(what.relation)
        if what.relation not in self._even:
            self._even[what.relation] = what.last.times(self.odd(what.relation))
        return self._even[what.relation]

    def projected(self, what: Collected, kernel: Tensor) -> Tensor:
        """Return what is collected times a kernel, multiplied before the last mean where that is cheaper."""
        last, (d_in, d_out) = what.last, kernel.shape
        entries = _SPARSE * last.matrix.values().numel()
        late = last.size[0] * d_in * d_out + entries * d_in
        early = last.size[1] * d_in * d_out + entries * d_out
        if late <= early:
            return self.collected(what) @ kernel
        before = self.x[what.source] if what.parity == "odd" else self.odd(what.relation)
        return last.times(before @ kernel)


def draw_kernel(
    kind: Kernel, size: tuple[int, int], dtype: torch.dtype, generator: torch.Generator | None = None
) -> Tensor:
    r"""Draw a random projection.

    Args:
        kind: ``sparse``: :math:`\pm\sqrt 3` with probability 1/6 each, else 0; ``gaussian``: normal, with variance
            2 / (rows + columns); ``gaussian_no_norm``: standard normal.
        size: ``(d_in, d_out)``.
        dtype: of the result.
        generator: where from; default: PyTorch's.
    """
    if kind == "sparse":
        dice = torch.randint(6, size, dtype=torch.int8, generator=generator)
        return ((dice == 0).to(dtype) - (dice == 1).to(dtype)).mul_(math.sqrt(3))
    kernel = torch.randn(size, dtype=dtype, generator=generator)
    return kernel if kind == "gaussian_no_norm" else kernel.mul_(math.sqrt(2 / sum(size)))


def _row_norm(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1, eps=1e-12)


def propagate_then_update(
    x: Mapping[str, Tensor],
    found: list[Relation],
    target: str,
    kernel: Callable[[str, tuple[int, int]], Tensor],
    num_iterations: int,
    parity: Parity = "all",
    use_input: bool = True,
    squash: Squash = "project_norm_sum",
    target_channels: int | None = None,
    self_group: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Layout]:
    """Return the groups of the target type, as :class:`PropagateThenUpdate` says.

    Args:
        x: features ``[num_nodes, width]`` of every type.
        found: see :func:`relations`.
        target: the type of nodes that is classified.
        kernel: returns the projection of a name (``iteration|node type|parity|relation``, or ``target_input``) and
            size. Asked in the order of use: iterations, node types by name, what each collects.
        num_iterations: K.
        parity: which of the means are collected and squashed.
        use_input: the target's own features are slot 0 of its even groups.
        squash: how a type's collected features become its next ones.
        target_channels: the target's features are projected to this width, and normalized, first.
        self_group: one more group, the target's features as they came.
        dtype: what groups are stored in; default: that of the features.

    Returns:
        All groups side by side, ``[num_targets, sum of slots * width]``, and their layout.

    Raises:
        DataError: the target type has no relation, or values leave float16's range.
    """
    x = dict(x)
    raw = x[target]
    if target_channels is not None:
        x[target] = _row_norm(raw @ kernel("target_input", (raw.size(1), target_channels)))
    collected = {kind: _collected(found, kind, parity) for kind in sorted(x)}
    if not collected[target]:
        raise DataError(f"no edges of any type lead to or from {target!r}: there is nothing to collect")
    own = {c for c in collected[target] if use_input and c.parity == "even"}
    layout = {str(c): [num_iterations + (c in own), x[c.source].size(1)] for c in collected[target]}
    if self_group:
        layout["self"] = [1, raw.size(1)]
    out = raw.new_empty(len(raw), sum(math.prod(size) for size in layout.values()), dtype=dtype or raw.dtype)
    groups = unpack(out, layout)
    for c in own:
        _store(groups[str(c)], 0, x[target])
    if self_group:
        _store(groups["self"], 0, raw)
    needed = _needed(collected, target, num_iterations)
    for k in range(num_iterations):
        iteration = _Iteration(x)
        for c in collected[target]:
            _store(groups[str(c)], k + (c in own), iteration.collected(c))
        if k + 1 < num_iterations:  # what the last iteration would squash, nobody reads
            x = {kind: _squashed(iteration, collected[kind], squash, kernel, k, kind, x) for kind in needed[k + 1]}
    return out, layout


def _needed(collected: Mapping[str, list[Collected]], target: str, num_iterations: int) -> list[list[str]]:
    """Return for each iteration the types whose features can still reach the target, by name."""
    sources = {kind: {c.source for c in every} for kind, every in collected.items()}
    needed = [sources[target]]
    for _ in range(num_iterations - 1):
        needed.insert(0, sources[target].union(*(sources[kind] for kind in needed[0])))
    return [sorted(kinds) for kinds in needed]


def _squashed(
    iteration: _Iteration,
    collected: list[Collected],
    squash: Squash,
    kernel: Callable[[str, tuple[int, int]], Tensor],
    k: int,
    kind: str,
    x: Mapping[str, Tensor],
) -> Tensor:
    """Return a type's features of the next iteration."""
    total = torch.zeros_like(x[kind])
    for c in collected:
        if squash.startswith("project"):
            size = (x[c.source].size(1), total.size(1))
            part = iteration.projected(c, kernel(f"{k}|{kind}|{c}", size))
        else:
            part = iteration.collected(c)
            if part.size(1) != total.size(1):
                raise DataError(
                    f"squash={squash}: {c.source} has other widths than {kind}; project_{squash} allows that"
                )
        total += _row_norm(part) if "norm" in squash else part
    return total / len(collected) if squash.endswith("mean") else total


def _store(group: Tensor, slot: int, value: Tensor) -> None:
    if group.dtype == torch.float16 and value.numel() and value.abs().max() > torch.finfo(torch.float16).max:
        raise DataError("features beyond 65504 do not fit float16: normalize them, or set precision=float32")
    group[:, slot] = value


def unpack(x: Tensor, layout: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """Return the groups in ``x`` ``[rows, sum of slots * width]`` as views ``[rows, slots, width]``."""
    parts = x.split([math.prod(size) for size in layout.values()], dim=1)
    return {name: part.unflatten(1, size) for (name, size), part in zip(layout.items(), parts, strict=True)}


def label_groups(labels: Tensor, found: list[Relation], target: str, num_nodes: Mapping[str, int]) -> dict[str, Tensor]:
    """Return what one step, and one step and back, carry of the labels; a node's own never comes back to it.

    Kept are all even groups, and the odd ones of relations within the target type. From even ones the share that
    returned to its node is taken out; a node that nothing else reaches gets the uniform distribution.

    Args:
        labels: ``[num_targets, num_classes]``, one-hot where known, uniform elsewhere.
        found: relations with float64 means (a node whose walks nearly all return leaves differences of rounding).
        target: the labelled type.
        num_nodes: of every type.

    Returns:
        ``[num_targets, 1, num_classes]`` for every group.
    """
    uniform = 1 / labels.size(1)
    x = {kind: labels.double().new_full((size, labels.size(1)), uniform) for kind, size in num_nodes.items()}
    x[target] = labels.double()
    iteration, groups = _Iteration(x), {}
    for c in _collected(found, target, "all"):
        if c.parity == "odd" and c.source != target:
            continue
        h = iteration.collected(c)
        if c.parity == "even":
            back = _returning(c.relation).unsqueeze(1)
            alone = 1 - back < 1e-9  # all that comes back is its own
            h = ((h - back * x[target]) / (1 - back + 1e-8)).masked_fill(alone, 0)
            h = torch.where(h.sum(dim=1, keepdim=True) == 0, uniform, h)
        groups[str(c)] = h.to(labels.dtype).unsqueeze(1)
    return groups


def _returning(relation: Relation) -> Tensor:
    """Return with which probability a walk out along a relation and back ends where it began, ``[num_sources]``."""
    rows, columns = relation.mean.size
    pairs, count = (relation.edge_index[0] * rows + relation.edge_index[1]).unique(return_counts=True)
    source, target = pairs // rows, pairs % rows
    out, into = relation.edge_index[0].bincount(minlength=columns), relation.edge_index[1].bincount(minlength=rows)
    share = count.double().square() / (out[source] * into[target])
    return torch.zeros(columns, dtype=torch.float64).index_add_(0, source, share)


class PropagateThenUpdate(BaseTransform):
    r"""The pre-computation of `"Efficient Heterogeneous Graph Learning via Random Projection"
    <https://arxiv.org/abs/2310.14481>`_ (arXiv 2310.14481).

    .. math::
        O_r^{(k)} = P_r X_s^{(k)}, \quad E_r^{(k)} = P_{\bar r} P_r X_s^{(k)}, \quad
        X_t^{(k+1)} = \sum_{c \in C(t)} \mathrm{rownorm}\bigl(H_c^{(k)} R_{t,c}^{(k)}\bigr)

    for every relation :math:`r = (s, e, t)` in both directions, with :math:`P_r` the mean over its edges. A type of
    nodes collects the odd tensors of relations that lead to it and the even ones of those that leave it. A group of the
    target type is one of these tensors over all iterations. Types whose features cannot reach the target any more are
    not squashed, and a projection is done before a mean where fewer rows stand there.

    Args:
        num_iterations: K.
        parity: collect and squash ``all`` tensors, or those that are ``even`` or ``odd``.
        use_input: the target's own features come first in its even groups.
        kernel: how projections are drawn: see :func:`draw_kernel`.
        squash: how the tensors become the next features: their sum or mean, normalized by rows, projected.
        embedding_channels: e; types without features get normal ones with variance 1 / e.
        target_channels: the target's features are projected to this width first.
        self_group: one more group, the target's features as they came.
        with_labels: further groups of propagated training labels; makes the transform one that ``uses_labels``.
        precision: of the groups; they are computed in float64 for float64, else in float32.
        seed: of features and kernels; None: PyTorch's generator, which the runner sets to the run's seed.

    Shapes:
        - **input:** features and ``edge_index`` of every type that has them; an edge type that is another one backwards
          is left out, all others are taken both ways
        - **output:** data without edges, and with the target type alone: ``x`` ``[num_targets, total]``, all groups
          side by side; ``groups``, their names, slots and widths; rows stand for themselves (``separate_rows``)

    Raises:
        DataError: the target type has no relation; values leave float16's range.
    """

    def __init__(
        self,
        num_iterations: int = 3,
        parity: Parity = "all",
        use_input: bool = True,
        kernel: Kernel = "sparse",
        squash: Squash = "project_norm_sum",
        embedding_channels: int = 512,
        target_channels: int | None = None,
        self_group: bool = False,
        with_labels: bool = False,
        precision: Precision = "float16",
        seed: int | None = None,
    ) -> None:
        self.num_iterations, self.parity, self.use_input = num_iterations, parity, use_input
        self.kernel, self.squash, self.embedding_channels = kernel, squash, embedding_channels
        self.target_channels, self.self_group = target_channels, self_group
        self.uses_labels, self.precision, self.seed = with_labels, precision, seed

    def forward(self, data: HeteroData) -> HeteroData:
        """Return the groups of the labelled type."""
        if not isinstance(data, HeteroData):
            raise DataError(f"relations are collected of a heterogeneous graph, not of a {type(data).__name__}")
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        target = target_type(data)
        num_nodes = {kind: int(data[kind].num_nodes) for kind in data.node_types}
        edges = distinct_relations(data.edge_index_dict if data.edge_types else {}, num_nodes)
        e = self.embedding_channels
        x = {
            kind: data[kind].x.to(dtype)
            if "x" in data[kind]
            else torch.randn(size, e, dtype=dtype, generator=generator) / math.sqrt(e)
            for kind, size in sorted(num_nodes.items())
        }
        packed, layout = propagate_then_update(
            x,
            relations(edges, num_nodes, dtype),
            target,
            lambda _, size: draw_kernel(self.kernel, size, dtype, generator),
            self.num_iterations,
            self.parity,
            self.use_input,
            self.squash,
            self.target_channels,
            self.self_group,
            getattr(torch, self.precision),
        )
        if self.uses_labels:
            for name, group in self._labels(data[target], edges, target, num_nodes).items():
                layout[f"label {name}"] = [1, group.size(2)]
                packed = torch.cat([packed, group.flatten(1).to(packed.dtype)], dim=1)
        out = HeteroData()
        out[target].x, out[target].groups = packed, layout
        out.separate_rows = True
        return out

    def _labels(
        self, store: Mapping[str, Tensor], edges: Mapping[EdgeType, Tensor], target: str, num_nodes: Mapping[str, int]
    ) -> dict[str, Tensor]:
        y, known = store["y"], store["train_mask"]
        if y.is_floating_point() or y.dim() != 1:
            raise ConfigError("label_groups are for one class per node, these labels are several or numbers")
        classes = int(y[known].max()) + 1
        labels = torch.full((len(y), classes), 1 / classes, dtype=torch.float64)
        labels[known] = F.one_hot(y[known], classes).double()
        return label_groups(labels, relations(edges, num_nodes, torch.float64), target, num_nodes)

"""Which graphs of a set a function of graphs tells apart, by a test that knows how far relabelling alone moves it.

The procedure is that of BREC (Wang and Zhang, 2024, arXiv 2304.07702, section 4): Hotelling's test on the embeddings of
relabelled copies of two graphs, and the same test on two sets of copies of one graph, which must find nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import fdtri
from torch import Tensor
from torch_geometric.data import Data

from gnnzoo.datasets.expressivity import wl_classes

__all__ = ["EVERY", "Separation", "copy_seed", "hotelling", "relabelled", "separate", "threshold"]

Embed = Callable[[Iterable[Data]], Tensor]
"""Graphs to rows: ``[num_graphs, width]``."""

EVERY = 500
"""In sets with no more pairs, every pair is tested by itself."""

_CONTROLS = 16
"""So many graphs are compared with themselves at least."""

_ROUNDING = {torch.float64: 1e-11, torch.float32: 1e-5}
"""Differences by less, relative to the output, are rounding: about 1000 times what it is in networks of some layers."""

_FAR = 1e4
"""Differences by so many times what relabelling changes need no test of their own."""

_NEAR = 10
"""Differences by less than so many times of it are none, where there are too many pairs to test each by itself: one
test in twenty may be wrong, and that of millions."""

_BLOCK = 512
"""Rows of the table of all pairs that are looked at together."""


@dataclass
class Separation:
    """What was told apart."""

    pairs: int = 0
    """Graphs of one group whose ``y`` differ."""
    separated: int = 0
    wl_leaves: int = 0
    """Pairs that colour refinement (1-WL) cannot tell apart."""
    beyond_wl: int = 0
    """Those of them that are separated."""
    controls: int = 0
    """Graphs that were compared with relabelled copies of themselves."""
    controls_separated: int = 0
    """Those that were told apart from themselves: their pairs do not count as separated."""
    not_finite: int = 0
    """Graphs with an embedding that is not finite: their pairs do not count as separated."""
    tested: int = 0
    """Pairs that were tested by themselves."""
    parts: Counter[int] = field(default_factory=Counter)
    """Separated pairs by ``category``, where graphs have one."""

    def add(self, other: Separation) -> None:
        """Count what was found in another set too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def metrics(self) -> dict[str, float]:
        """Return what goes into a record."""
        names = ("separated", "pairs", "wl_leaves", "beyond_wl", "controls", "controls_separated", "not_finite")
        found = {name: float(getattr(self, name)) for name in names}
        return found | {f"category_{part}": float(count) for part, count in sorted(self.parts.items())}


def threshold(copies: int, width: int, level: float) -> float:
    r"""Return what :func:`hotelling` exceeds by chance with probability ``level``.

    .. math:: \frac{(q - 1) k}{q - k} F_{k, q - k}(1 - \alpha)
    """
    return (copies - 1) * width / (copies - width) * float(fdtri(width, copies - width, 1 - level))


def hotelling(first: Tensor, second: Tensor) -> Tensor:
    r"""Return :math:`T^2 = q\, \bar d^\top S^{-1} \bar d` of the differences of copies; NaN where one is not finite.

    S is their covariance plus the square of rounding (relative to the largest output of the two graphs) on the
    diagonal, so that copies with equal embeddings do not make every difference significant.

    Args:
        first: ``[num_pairs, copies, width]``.
        second: the same of the other graphs.
    """
    copies = first.size(1)
    scale = torch.maximum(first.abs(), second.abs()).amax(dim=(1, 2), keepdim=True)
    unit = scale.clamp(min=torch.finfo(first.dtype).tiny ** 0.5) * _ROUNDING[first.dtype]
    finite = scale.isfinite().flatten()
    d = torch.where(finite[:, None, None], (first - second) / unit, torch.zeros_like(first))
    mean = d.mean(dim=1)
    centred = d - mean.unsqueeze(1)
    spread = centred.transpose(1, 2) @ centred / (copies - 1)
    spread += torch.eye(d.size(2), dtype=d.dtype, device=d.device)
    statistic = copies * (mean * torch.linalg.solve(spread, mean)).sum(dim=1)
    return torch.where(finite, statistic, torch.full_like(statistic, float("nan")))


def relabelled(graph: Data, seed: int) -> Data:
    """Return an isomorphic copy: nodes in another order, drawn from ``seed``; edges sorted, without ``y``.

    Args:
        graph: with ``x``, ``edge_index`` and perhaps ``edge_attr``.
        seed: the same gives the same copy.
    """
    n = int(graph.num_nodes or 0)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    place = torch.empty_like(order)
    place[order] = torch.arange(n)
    edges = place[graph.edge_index]
    by_source = (edges[0] * n + edges[1]).argsort(stable=True)
    copy = Data(x=graph.x[order], edge_index=edges[:, by_source])
    if graph.get("edge_attr") is not None:
        copy.edge_attr = graph.edge_attr[by_source]
    return copy


def copy_seed(seed: int, number: int, copy: int) -> int:
    """Return what a copy of a graph is drawn from."""
    return (((seed << 16) + number) << 12) + copy


def _copies(graphs: Sequence[Data], numbers: Iterable[int], count: int, seed: int) -> Iterator[Data]:
    for number in numbers:
        for copy in range(count):
            yield relabelled(graphs[number], copy_seed(seed, number, copy))


def separate(
    embed: Embed, graphs: Sequence[Data], copies: int = 32, level: float = 0.05, seed: int = 0, every: int = EVERY
) -> Separation:
    """Count the pairs of graphs of one ``group`` and different ``y`` that ``embed`` tells apart.

    Sets with more than ``every`` pairs are gone through twice: from two copies of each graph it is seen how far
    relabelling moves an embedding. Pairs that differ by 10,000 times as much (and by a millionth of the output) are
    apart, pairs that differ by less than 10 times as much or by rounding are not, and only those between are tested
    with all copies.

    Args:
        embed: an invariant function of graphs, or one that should be; deterministic or not.
        graphs: with ``group``, ``y`` and perhaps ``category``, ``[1]`` each.
        copies: q, for each graph; more than the embedding is wide.
        level: how often the test may take equal graphs for different ones.
        seed: of the relabelling.
        every: see above.
    """
    group, y = (torch.cat([graph[name] for graph in graphs]) for name in ("group", "y"))
    wl = torch.from_numpy(wl_classes(list(graphs)).astype(np.int64))
    members = [(group == value).nonzero().flatten() for value in group.unique()]
    found = Separation()
    for rows in members:
        _count_pairs(found, y[rows], wl[rows])
    if found.pairs <= every:
        near = torch.cat([_pairs(rows, y) for rows in members])
    else:
        near = _screen(embed, graphs, members, y, wl, seed, found)
    first, second = _test(embed, graphs, near, copies, level, seed, found).T
    found.tested = len(near)
    found.separated += len(first)
    found.beyond_wl += int((wl[first] == wl[second]).sum())
    if "category" in graphs[0]:
        found.parts.update(int(graphs[i].category) for i in first.tolist())
    return found


def _count_pairs(found: Separation, y: Tensor, wl: Tensor) -> None:
    def pairs(sizes: Tensor) -> int:
        return int((sizes * (sizes - 1) // 2).sum())

    def equal(*keys: Tensor) -> int:
        return pairs(torch.stack(keys).unique(dim=1, return_counts=True)[1])

    found.pairs += pairs(torch.tensor([len(y)])) - equal(y)
    found.wl_leaves += equal(wl) - equal(wl, y)


def _pairs(rows: Tensor, y: Tensor) -> Tensor:
    """Return the pairs of a group, ``[num_pairs, 2]``."""
    pairs = torch.combinations(rows)
    return pairs[y[pairs[:, 0]] != y[pairs[:, 1]]]


def _screen(
    embed: Embed, graphs: Sequence[Data], members: Sequence[Tensor], y: Tensor, wl: Tensor, seed: int, found: Separation
) -> Tensor:
    """Count the pairs that are far apart and return those that must be tested, ``[num_pairs, 2]``."""
    outputs = embed(_copies(graphs, range(len(graphs)), 2, seed)).view(len(graphs), 2, -1)
    finite = outputs.isfinite().all(dim=2).all(dim=1)
    found.not_finite += int((~finite).sum())
    output, scale = outputs[:, 0], outputs.abs().amax(dim=(1, 2)).clamp(min=torch.finfo(outputs.dtype).tiny)
    moved = (outputs[:, 0] - outputs[:, 1]).abs().amax(dim=1) / scale
    noise = float(moved[finite].max()) if finite.any() else 0.0
    least, most = max(_ROUNDING[outputs.dtype], _NEAR * noise), max(1e-6, _FAR * noise)
    near = [torch.empty(0, 2, dtype=torch.int64)]
    for rows in members:
        rows = rows[finite[rows]]
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            distance = torch.cdist(output[block], output[rows], p=float("inf"))
            distance /= torch.maximum(scale[block][:, None], scale[rows])
            later = torch.arange(start, start + len(block))[:, None] < torch.arange(len(rows))
            distance[(y[block][:, None] == y[rows]) | ~later] = 0.0
            far = distance >= most
            found.separated += int(far.sum())
            found.beyond_wl += int((far & (wl[block][:, None] == wl[rows])).sum())
            first, second = (~far & (distance > least)).nonzero().T
            near.append(torch.stack([block[first], rows[second]], dim=1))
    return torch.cat(near)


def _test(
    embed: Embed, graphs: Sequence[Data], pairs: Tensor, copies: int, level: float, seed: int, found: Separation
) -> Tensor:
    """Return those of the pairs that the test tells apart, both graphs being told apart from nothing but others."""
    evenly = torch.linspace(0, len(graphs) - 1, min(_CONTROLS, len(graphs))).long()
    numbers = torch.cat([pairs.flatten(), evenly]).unique()
    outputs = embed(_copies(graphs, numbers.tolist(), 2 * copies, seed)).view(len(numbers), 2 * copies, -1)
    limit = threshold(copies, outputs.size(2), level)
    control = hotelling(outputs[:, :copies], outputs[:, copies:])
    found.controls += len(numbers)
    found.controls_separated += int((control > limit).sum())
    if found.pairs == len(pairs):
        found.not_finite += int(control.isnan().sum())
    reliable = control <= limit
    places = torch.searchsorted(numbers, pairs)
    kept = [pairs[:0]]
    for some, place in zip(pairs.split(_BLOCK), places.split(_BLOCK), strict=True):
        first, second = place.T
        statistic = hotelling(outputs[first, :copies], outputs[second, :copies])
        kept.append(some[(statistic > limit) & reliable[first] & reliable[second]])
    return torch.cat(kept)

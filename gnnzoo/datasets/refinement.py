"""What pairs of nodes tell apart: polynomial features and folklore 2-WL (2-FWL), exactly, for many graphs at once.

A colour is a 64-bit hash of whole numbers, a multiset the sum of its members' hashes: two things that differ get equal
colours with probability about 2^-64. Values of polynomials are whole numbers in float64, so nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch_geometric.data import Data

from gnnzoo.transforms.polynomials import CHANNELS, Polynomial, polynomials

__all__ = ["equal_pairs", "fwl_classes", "histogram_classes", "polynomial_table", "sum_classes"]

_AT_ONCE = 1 << 16
"""Pairs of nodes that are refined together: what fits a processor's cache."""

Array = np.ndarray
_ODD = tuple(np.uint64(constant) for constant in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93))


def equal_pairs(classes: Array) -> int:
    """Return how many pairs of graphs have the same class."""
    sizes = np.unique(classes, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def sum_classes(graphs: Sequence[Data], channels: Sequence[Polynomial]) -> Array:
    """Number the classes of graphs whose channels have equal sums over diagonal, adjacent and other pairs.

    Args:
        graphs: simple and undirected.
        channels: the polynomials.

    Returns:
        ``[num_graphs]``.
    """

    def sums(adjacency: torch.Tensor) -> Array:
        masks = _kinds(adjacency)
        values = polynomials(adjacency, channels)
        found = torch.stack([(values * mask[:, None]).sum((2, 3)) for mask in masks], dim=-1)
        return _hashed(found.flatten(1).numpy())

    return _classes(graphs, sums)


def histogram_classes(graphs: Sequence[Data], channels: Sequence[Polynomial]) -> Array:
    """Number the classes of graphs with equal multisets, over pairs (i, j), of ``A[i, j]``, ``i == j`` and channels.

    Args:
        graphs: simple and undirected.
        channels: the polynomials.
    """
    return _classes(graphs, lambda adjacency: _graph_colours(_pair_colours(adjacency, channels)))


def fwl_classes(graphs: Sequence[Data], channels: Sequence[Polynomial] = (), rounds: int | None = None) -> Array:
    """Number the classes of graphs that 2-FWL cannot tell apart; a pair starts as in :func:`histogram_classes`.

    That is the power of networks with matrix products of pairs, such as PPGN and PPGN++.

    Args:
        graphs: simple and undirected.
        channels: polynomials that the first colours hold.
        rounds: how many refinements; None: until no colour splits any more.
    """
    return _classes(graphs, lambda adjacency: _refined(_pair_colours(adjacency, channels), rounds), whole=True)


def polynomial_table(graphs: Sequence[Data], rounds: int | None = None) -> dict[str, int]:
    """Count the pairs of graphs that stay equal: ``fwl_noft``, and for degrees 5 and 6 ``sum``, ``hist`` and ``fwl``.

    Args:
        graphs: simple and undirected.
        rounds: of 2-FWL; None: until it is stable.
    """
    found = {"fwl_noft": equal_pairs(fwl_classes(graphs, (), rounds))}
    for degree in (5, 6):
        channels = [channel for channel in CHANNELS if channel.degree <= degree]
        found[f"sum{degree}"] = equal_pairs(sum_classes(graphs, channels))
        classes = histogram_classes(graphs, channels)
        found[f"hist{degree}"] = equal_pairs(classes)
        # 2-FWL only splits what the first colours leave together
        left = [graphs[i] for i in np.flatnonzero(np.bincount(classes)[classes] > 1).tolist()]
        found[f"fwl{degree}"] = equal_pairs(fwl_classes(left, channels, rounds)) if left else 0
    return found


def _classes(graphs: Sequence[Data], colour: Callable[[torch.Tensor], Array], whole: bool = False) -> Array:
    """Colour graphs of equal size together; ``whole``: all of them at once, else in portions."""
    sizes = np.array([graph.num_nodes for graph in graphs])
    colours = np.zeros(len(graphs), np.uint64)
    for n in np.unique(sizes):
        alike = np.flatnonzero(sizes == n)
        for part in np.array_split(alike, 1 if whole else -(-len(alike) * n * n // _AT_ONCE)):
            colours[part] = colour(_adjacencies([graphs[i] for i in part], int(n)))
    return np.unique(np.stack([sizes.astype(np.uint64), colours]), axis=1, return_inverse=True)[1].reshape(-1)


def _adjacencies(graphs: Sequence[Data], n: int) -> torch.Tensor:
    adjacency = torch.zeros(len(graphs), n, n, dtype=torch.float64)
    number = torch.arange(len(graphs)).repeat_interleave(torch.tensor([graph.num_edges for graph in graphs]))
    source, target = torch.cat([graph.edge_index for graph in graphs], dim=1)
    adjacency[number, source, target] = 1
    return adjacency


def _kinds(adjacency: torch.Tensor) -> list[torch.Tensor]:
    """Return where pairs are a node with itself, adjacent, or neither."""
    same = torch.eye(adjacency.size(-1), dtype=adjacency.dtype).expand_as(adjacency)
    return [same, adjacency * (1 - same), (1 - adjacency) * (1 - same)]


def _mix(values: Array) -> Array:
    """Scatter 64-bit numbers in place: the finalizer of SplitMix64."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _hashed(rows: Array) -> Array:
    """Return a hash of each row of whole numbers in float64."""
    colours = np.zeros(len(rows), np.uint64)
    for column in np.ascontiguousarray(rows.T, np.float64).astype(np.int64).view(np.uint64):
        colours = _mix(colours * _ODD[0] + column + _ODD[1])
    return colours


def _pair_colours(adjacency: torch.Tensor, channels: Sequence[Polynomial]) -> Array:
    """Return the first colours of all pairs, ``[num_graphs, n, n]``."""
    graphs, n, _ = adjacency.shape
    portions = []
    for part in adjacency.split(max(_AT_ONCE // max(n * n, 1), 1)):
        kind = sum(number * mask for number, mask in enumerate(_kinds(part)))
        parts = torch.cat([torch.as_tensor(kind)[:, None], polynomials(part, channels)], dim=1)
        portions.append(_hashed(parts.movedim(1, -1).flatten(0, 2).numpy()))
    return np.concatenate(portions).reshape(graphs, n, n)


def _graph_colours(colours: Array) -> Array:
    return _mix(_mix(colours.copy()).sum(axis=(1, 2), dtype=np.uint64))


def _refined(colours: Array, rounds: int | None) -> Array:
    """Refine ``c[i, j]`` by the multiset of ``(c[i, k], c[k, j])`` over all k."""
    found, portion = len(np.unique(colours)), max(_AT_ONCE // colours[0].size, 1)
    done = 0
    while done != rounds:
        colours = np.concatenate([_refine(colours[i : i + portion]) for i in range(0, len(colours), portion)])
        done, before, found = done + 1, found, len(np.unique(colours))
        if found == before:
            break
    return _graph_colours(colours)


def _refine(colours: Array) -> Array:
    left, right = colours * _ODD[0], colours * _ODD[1]
    total = np.zeros_like(colours)
    for k in range(colours.shape[1]):
        total += _mix(left[:, :, k, None] + right[:, None, k, :])
    return _mix(colours * _ODD[2] + total)

"""Rows of several sequences that lie below each other, as a padded batch and back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gnnzoo.errors import DataError

__all__ = ["NodeSequences", "reverse_valid", "sort_nodes", "valid_positions"]


class NodeSequences(NamedTuple):
    """The nodes of each graph of a batch in some order: where each node stands in ``[num_graphs, longest]``."""

    perm: Tensor
    """``[num_nodes]``: the nodes in the order graph by graph, as ``perm`` of a sort."""
    slot: Tensor
    """``[num_nodes]``: the place of node ``perm[i]`` in the flattened batch."""
    lengths: Tensor
    """``[num_graphs]``: how many nodes each graph has."""
    longest: int
    """Number of nodes of the largest graph."""

    def pack(self, x: Tensor) -> Tensor:
        """Return the rows ``[num_nodes, channels]`` as sequences ``[num_graphs, longest, channels]``, zeros behind."""
        shape = (self.lengths.numel(), self.longest, x.size(1))
        rows = x.new_zeros(shape).flatten(0, 1)
        return rows.index_copy(0, self.slot, x.index_select(0, self.perm)).view(shape)

    def unpack(self, sequences: Tensor) -> Tensor:
        """Undo :meth:`pack`: return ``[num_nodes, channels]`` in the order of the nodes."""
        rows = sequences.flatten(0, 1).index_select(0, self.slot)
        return torch.empty_like(rows).index_copy(0, self.perm, rows)


def sort_nodes(key: Tensor, batch: Tensor | None = None, num_graphs: int | None = None) -> NodeSequences:
    """Order the nodes inside each graph by a key, small to large; nodes of equal keys keep their order.

    ``sort_nodes(degree + torch.rand(num_nodes), batch)`` is the order of arXiv 2402.00789: equal degrees are shuffled.

    Args:
        key: ``[num_nodes]``.
        batch: ``[num_nodes]``, the graph of each node, in any order; default: all nodes are of one graph.
        num_graphs: number of graphs, where the last ones may have no nodes.
    """
    if key.dim() != 1 or (batch is not None and batch.shape != key.shape):
        shapes = f"key {list(key.shape)}" + ("" if batch is None else f", batch {list(batch.shape)}")
        raise DataError(f"an order of nodes needs one key and one graph for each node, not {shapes}")
    perm = torch.sort(key, stable=True).indices
    if batch is None:
        lengths = torch.tensor([key.numel()], device=key.device)
    else:
        perm = perm[torch.sort(batch[perm], stable=True).indices]
        lengths = torch.bincount(batch, minlength=num_graphs or 0)
    longest = int(lengths.max()) if lengths.numel() else 0
    starts = lengths.cumsum(0) - lengths
    graph = torch.repeat_interleave(lengths)
    place = torch.arange(key.numel(), device=key.device) - starts[graph]
    return NodeSequences(perm, graph * longest + place, lengths, longest)


def valid_positions(lengths: Tensor, longest: int) -> Tensor:
    """Return the mask ``[batch, longest]`` of the first ``lengths[b]`` positions of each row."""
    return torch.arange(longest, device=lengths.device) < lengths.unsqueeze(1)


def reverse_valid(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Reverse the first ``lengths[b]`` positions of each sequence of ``[batch, longest, channels]``, not the padding.

    It is its own inverse.
    """
    if lengths is None:
        return x.flip(1)
    place = torch.arange(x.size(1), device=x.device)
    mirrored = lengths.unsqueeze(1) - 1 - place
    index = torch.where(mirrored >= 0, mirrored, place)
    return x.gather(1, index.unsqueeze(2).expand_as(x))

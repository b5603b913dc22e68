"""What papers do to the incidences of a hypergraph before they train; other graphs are left alone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import scatter

__all__ = ["CoalesceIncidences", "MergeHyperedges", "Observed", "SelfHyperedges", "Singletons"]


class CoalesceIncidences(BaseTransform):
    """Let a node be in a hyperedge once, however often it is listed; incidences are sorted by hyperedge and node."""

    def forward(self, data: Data) -> Data:
        """Replace ``hyperedge_index``."""
        if "hyperedge_index" in data:
            data.hyperedge_index = data.hyperedge_index.flip(0).unique(dim=1).flip(0)
        return data


class SelfHyperedges(BaseTransform):
    """Give every node that has none a hyperedge that holds it alone; they come last, in the order of the nodes."""

    def forward(self, data: Data) -> Data:
        """Extend ``hyperedge_index`` and ``num_hyperedges``."""
        if "hyperedge_index" not in data:
            return data
        count = data.num_hyperedges
        nodes, hyperedges = data.hyperedge_index.unique(dim=1)
        alone = torch.bincount(hyperedges, minlength=count)[hyperedges] == 1
        lacking = torch.ones(data.num_nodes, dtype=torch.bool)
        lacking[nodes[alone]] = False
        added = lacking.nonzero().flatten()
        new = torch.stack([added, count + torch.arange(len(added))])
        data.hyperedge_index = torch.cat([data.hyperedge_index, new], dim=1)
        data.num_hyperedges = count + len(added)
        return data


class MergeHyperedges(BaseTransform):
    """Let hyperedges be different sets: equal ones become the first of them, empty ones vanish, the rest move up.

    Incidences are sorted by hyperedge and node, and a node is in a hyperedge once.
    """

    def forward(self, data: Data) -> Data:
        """Replace ``hyperedge_index`` and ``num_hyperedges``."""
        if "hyperedge_index" in data:
            data.hyperedge_index, data.num_hyperedges = _merged(data.hyperedge_index)
        return data


class Singletons(BaseTransform):
    """Give every node that is in no hyperedge one that holds it alone; they come last, in the order of the nodes."""

    def forward(self, data: Data) -> Data:
        """Extend ``hyperedge_index`` and ``num_hyperedges``."""
        if "hyperedge_index" in data:
            counts = torch.bincount(data.hyperedge_index[0], minlength=data.num_nodes)
            lacking = (counts == 0).nonzero().flatten()
            new = torch.stack([lacking, data.num_hyperedges + torch.arange(len(lacking))])
            data.hyperedge_index = torch.cat([data.hyperedge_index, new], dim=1)
            data.num_hyperedges += len(lacking)
        return data


class Observed(BaseTransform):
    """Keep some nodes of a hypergraph, in a given order: what can be trained on before the others are known.

    Hyperedges are restricted to these nodes, merged as :class:`MergeHyperedges` does, and nodes in none get one of
    their own. The production setting of arXiv 2402.04296 trains on training, validation and some test nodes like that.

    Args:
        nodes: ``[num_kept]``, different nodes.
    """

    def __init__(self, nodes: Tensor) -> None:
        self.nodes = nodes

    def forward(self, data: Data) -> Data:
        """Return the sub-hypergraph; attributes with a row per node are cut, all others kept."""
        num_nodes, out = data.num_nodes, copy.copy(data)
        place = torch.full((num_nodes,), -1)
        place[self.nodes] = torch.arange(len(self.nodes))
        nodes, hyperedges = data.hyperedge_index
        for key, value in data.to_dict().items():
            if key != "hyperedge_index" and isinstance(value, Tensor) and value.dim() and len(value) == num_nodes:
                out[key] = value[self.nodes]
        out.num_nodes = len(self.nodes)
        kept = place[nodes] >= 0
        out.hyperedge_index = torch.stack([place[nodes[kept]], hyperedges[kept]])
        return Singletons()(MergeHyperedges()(out))


def _merged(hyperedge_index: Tensor) -> tuple[Tensor, int]:
    """Return the incidences of the different sets of nodes, and how many sets there are."""
    hyperedges, nodes = hyperedge_index.flip(0).unique(dim=1)
    _, hyperedges, sizes = hyperedges.unique_consecutive(return_inverse=True, return_counts=True)
    start = sizes.cumsum(0) - sizes
    first = torch.empty_like(sizes)
    for size in sizes.unique().tolist():  # n incidences have no more than √(2n) sizes
        same = (sizes == size).nonzero().flatten()
        rows = nodes[start[same, None] + torch.arange(size)]
        group = rows.unique(dim=0, return_inverse=True)[1]
        first[same] = scatter(same, group, reduce="min")[group]
    kept = first == torch.arange(len(sizes))
    number = kept.cumsum(0) - 1
    rows = kept[hyperedges]
    return torch.stack([nodes[rows], number[hyperedges[rows]]]), int(kept.sum())

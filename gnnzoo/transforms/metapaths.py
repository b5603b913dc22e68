"""Metapaths: from the target type along relations and back, as edges of their own or as means of what lies there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import AddMetaPaths, BaseTransform

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.ops.rectangular import SparseMatrix
from gnnzoo.transforms.projection import target_type

__all__ = ["MetapathMeans", "MetapathNeighbours"]

EdgeType = tuple[str, str, str]


class MetapathNeighbours(BaseTransform):
    """Replace all relations by those that metapaths make within the labelled type, and leave the other types out.

    Args:
        metapaths: types of nodes, such as ``[["paper", "author", "paper"]]``; each begins and ends with the labelled
            type. Between two types every relation is followed, one metapath for each. None: one step out and back, over
            every other type, and the relations within the labelled one.
    """

    def __init__(self, metapaths: Sequence[Sequence[str]] | None = None) -> None:
        self.metapaths = None if metapaths is None else [list(path) for path in metapaths]

    def forward(self, data: HeteroData) -> HeteroData:
        """Return the labelled type with an edge type for every metapath.

        Raises:
            ConfigError: a metapath ends at another type, or no relation leads along it.
        """
        target = target_type(data)
        paths = self.metapaths
        if paths is None:
            out = dict.fromkeys(kind for source, _, kind in data.edge_types if source == target)
            paths = [[target, target] if kind == target else [target, kind, target] for kind in out]
        found: list[list[EdgeType]] = []
        for path in paths:
            if len(path) < 2 or path[0] != target or path[-1] != target:
                raise ConfigError(f"metapath {'-'.join(path)}: begins and ends with {target!r}, the type with labels")
            ways: list[list[EdgeType]] = [[]]
            for step in pairwise(path):
                ways = [way + [kind] for way in ways for kind in data.edge_types if (kind[0], kind[2]) == step]
            if not ways:
                raise ConfigError(f"metapath {'-'.join(path)}: no relation leads along it")
            found += ways
        reduced = AddMetaPaths(found, drop_orig_edge_types=True)(data)
        result = HeteroData()
        for key, value in data[target].items():
            result[target][key] = value
        for kind in reduced.edge_types:
            result[kind].edge_index = reduced[kind].edge_index
        return result


class MetapathMeans(BaseTransform):
    """Compute, once, the mean of the features at the far end of every metapath of at most so many steps.

    Args:
        num_hops: the length of the longest.

    Shapes:
        - **output:** data without edges, and with the labelled type alone: ``x`` ``[num_targets, total]``, the means
          side by side; ``groups``, their names and ``[1, width]``; rows stand for themselves (``separate_rows``)
    """

    def __init__(self, num_hops: int = 2) -> None:
        self.num_hops = num_hops

    def forward(self, data: HeteroData) -> HeteroData:
        """Return the means of the labelled type.

        Raises:
            DataError: no type within reach has features.
        """
        target = target_type(data)
        dtype = torch.float64  # what is computed once can be computed well
        means = {}
        for source, name, kind in data.edge_types:
            row, column = data[source, name, kind].edge_index
            size = (int(data[kind].num_nodes), int(data[source].num_nodes))
            share = 1 / row.new_zeros(size[0]).index_add_(0, column, torch.ones_like(row))[column].to(dtype)
            means[source, name, kind] = SparseMatrix(column, row, size, share)
        now = {kind: [(kind, data[kind].x.to(dtype))] if "x" in data[kind] else [] for kind in data.node_types}
        found = list(now[target])
        for _ in range(self.num_hops):
            now = {
                kind: [
                    (f"{kind} {name} {path}", mean.times(h))
                    for (source, name, end), mean in means.items()
                    if end == kind
                    for path, h in now[source]
                ]
                for kind in data.node_types
            }
            found += now[target]
        if not found:
            raise DataError(f"no type within {self.num_hops} steps of {target!r} has features")
        out = HeteroData()
        out[target].x = torch.cat([h for _, h in found], dim=1).float()
        out[target].groups = {path: [1, h.size(1)] for path, h in found}
        out.separate_rows = True
        return out

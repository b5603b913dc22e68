"""What models of heterogeneous graphs share: a first layer for every type of nodes, and all types as one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from gnnzoo.ops import sparse_linear
from gnnzoo.transforms.projection import target_type

__all__ = ["EdgeType", "TypeEncoder", "as_one_graph", "sizes_of"]

EdgeType = tuple[str, str, str]


def sizes_of(data: HeteroData) -> dict[str, Any]:
    """Return what a model's ``infer`` reads from heterogeneous data.

    Returns:
        ``in_channels``, the width of every type that has features; ``num_nodes``, the size of every other type;
        ``edge_types``; ``target``, the type of nodes that is classified.
    """
    return {
        "in_channels": {kind: data[kind].x.size(1) for kind in data.node_types if "x" in data[kind]},
        "num_nodes": {kind: int(data[kind].num_nodes) for kind in data.node_types if "x" not in data[kind]},
        "edge_types": list(data.edge_types),
        "target": target_type(data),
    }


class TypeEncoder(nn.Module):
    """A linear map to one width for every type of nodes with features, and a learnt vector for each node without.

    The latter is a linear map of the identity, which HGB gives to types without features.

    Args:
        in_channels: width of every type that has features.
        num_nodes: size of every type that has none.
        out_channels: the common width.
    """

    def __init__(self, in_channels: Mapping[str, int], num_nodes: Mapping[str, int], out_channels: int) -> None:
        super().__init__()
        # types may be called anything, modules may not: they are numbered
        self.types = [*in_channels, *num_nodes]
        self.lins = nn.ModuleList(nn.Linear(width, out_channels) for width in in_channels.values())
        self.vectors = nn.ParameterList(torch.empty(size, out_channels) for size in num_nodes.values())
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw maps by PyTorch's defaults and vectors by Xavier's rule."""
        for lin in self.lins:
            lin.reset_parameters()  # type: ignore[operator]
        for vector in self.vectors:
            nn.init.xavier_normal_(vector)

    def forward(self, x_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``[num_nodes, out_channels]`` for every type."""
        known = zip(self.types, self.lins, strict=False)
        found = {
            kind: sparse_linear(x_dict[kind], lin.weight, lin.bias)  # type: ignore[arg-type]
            for kind, lin in known
        }
        return found | dict(zip(self.types[len(self.lins) :], self.vectors, strict=True))


def as_one_graph(
    h: Mapping[str, Tensor], edge_index_dict: Mapping[EdgeType, Tensor], edge_types: Sequence[EdgeType]
) -> tuple[Tensor, Tensor, Tensor, dict[str, slice]]:
    """Return all nodes in one tensor and all edges with the number of their type.

    Returns:
        features ``[num_nodes, channels]``, ``edge_index`` ``[2, num_edges]``, ``edge_type`` ``[num_edges]``, and which
        rows are of which type.
    """
    rows, start = {}, 0
    for kind, value in h.items():
        rows[kind] = slice(start, start := start + len(value))
    x = torch.cat(list(h.values()))
    parts = [
        torch.stack([edge_index_dict[kind][0] + rows[kind[0]].start, edge_index_dict[kind][1] + rows[kind[2]].start])
        for kind in edge_types
    ]
    sizes = torch.tensor([part.size(1) for part in parts], dtype=torch.int64)
    edge_type = torch.arange(len(parts)).repeat_interleave(sizes).to(x.device)
    edge_index = torch.cat(parts, dim=1) if parts else torch.empty(2, 0, dtype=torch.int64, device=x.device)
    return x, edge_index, edge_type, rows

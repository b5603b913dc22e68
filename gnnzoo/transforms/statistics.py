"""What can be said of a graph without learning: sizes, degrees, and what its nodes and edges add up to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

__all__ = ["GraphStatistics"]


class GraphStatistics(BaseTransform):
    """Describe a graph by numbers that see no further than a node's degree.

    In order: the logarithms of the numbers of nodes and edges plus one; mean, standard deviation and maximum of the
    incoming degrees; the shares of nodes with 0, 1, ..., ``max_degree`` or more incoming edges; sums and means of the
    node features; sums and means of the edge features, where there are any.

    Args:
        max_degree: the last bin of the degrees.

    Shapes:
        - **added:** ``statistics`` ``[1, num_statistics]``; one below the other in a batch.
    """

    def __init__(self, max_degree: int = 10) -> None:
        self.max_degree = max_degree

    def forward(self, data: Data) -> Data:
        """Add the statistics of one graph."""
        n = int(data.num_nodes or 0)
        degree = torch.bincount(data.edge_index[1], minlength=n)
        bins = torch.bincount(degree.clamp(max=self.max_degree), minlength=self.max_degree + 1).double() / max(n, 1)
        sizes = torch.tensor([n, data.edge_index.size(1)], dtype=torch.float64).log1p()
        d = degree.double()
        parts = [sizes, torch.stack([d.mean(), d.std(correction=0), d.max()]), bins, *_totals(data.x)]
        if data.get("edge_attr") is not None:
            parts += _totals(data.edge_attr)
        data.statistics = (
            torch.cat(parts).unsqueeze(0).to(data.x.dtype if data.x.is_floating_point() else torch.float32)
        )
        return data


def _totals(values: Tensor) -> list[Tensor]:
    """Return the sums and means of the columns, in float64, so that the order of the rows leaves no trace."""
    total = (values if values.dim() > 1 else values.unsqueeze(1)).double().sum(dim=0)
    return [total, total / max(len(values), 1)]

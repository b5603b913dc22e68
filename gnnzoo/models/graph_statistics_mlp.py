"""A perceptron on statistics of graphs: what there is to be had without message passing."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.data.data import BaseData
from torch_geometric.nn import MLP, BatchNorm
from torch_geometric.transforms import BaseTransform

from gnnzoo.nn.graph_level import NORM
from gnnzoo.transforms.statistics import GraphStatistics
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["GraphStatisticsMLP"]


class GraphStatisticsMLP(nn.Module):
    r"""A perceptron on sums over nodes and edges, in the spirit of the structure-agnostic baselines of `"A Fair
    Comparison of Graph Neural Networks for Graph Classification" <https://arxiv.org/abs/1912.09893>`_ (arXiv
    1912.09893, ICLR 2020).

    .. math:: \mathrm{logits} = \mathrm{MLP}\,\mathrm{BN}(s(G))

    where :math:`s(G)` are the statistics of :class:`gnnzoo.transforms.statistics.GraphStatistics`: sizes, degrees, sums
    and means of the features of nodes and edges.

    Args:
        in_channels: number of statistics.
        out_channels: number of classes or values.
        hidden_channels: width of the hidden layers.
        num_layers: number of linear layers.
        max_degree: nodes with so many edges or more are counted together.
        dropout: behind each hidden layer.

    Shapes:
        - **input:** ``statistics`` ``[num_graphs, in_channels]``, as ``pre_transform`` adds them
        - **output:** logits ``[num_graphs, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 2,
        max_degree: PositiveInt = 10,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.norm = BatchNorm(in_channels, **NORM)
        self.mlp = MLP([in_channels, *[hidden_channels] * (num_layers - 1), out_channels], norm=None, dropout=dropout)

    @classmethod
    def pre_transform(cls, max_degree: int = 10, **_: Any) -> BaseTransform:
        """Compute the statistics once, before training."""
        return GraphStatistics(max_degree)

    @classmethod
    def infer(cls, data: BaseData | list[BaseData]) -> dict[str, Any]:
        """Return the number of statistics."""
        graph = data[0] if isinstance(data, list) else data
        return {"in_channels": graph.statistics.size(1)} if "statistics" in graph else {}

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyG's defaults."""
        self.norm.reset_parameters()
        self.mlp.reset_parameters()

    def forward(self, statistics: Tensor) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``."""
        return self.mlp(self.norm(statistics))

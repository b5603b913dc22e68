"""GatedGCN for graphs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.data.data import BaseData

from gnnzoo.nn.gated_gcn import GatedGCNConv
from gnnzoo.nn.graph_level import Pooling, Readout, VirtualNode, edge_features, graph_sizes
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["GatedGCN"]


class GatedGCN(nn.Module):
    r"""The network of `"Residual Gated Graph ConvNets" <https://arxiv.org/abs/1711.07553>`_ (arXiv 1711.07553), with
    edge features and normalized gates as in `"Benchmarking Graph Neural Networks" <https://arxiv.org/abs/2003.00982>`_.

    .. math::
        \hat e_{ij} = C e_{ij} + D h_i + E h_j, \quad
        h_i' = h_i + \mathrm{ReLU}\,\mathrm{BN}\Bigl( A h_i
        + \frac{\sum_{j \to i} \sigma(\hat e_{ij}) \odot B h_j}{\sum_{j \to i} \sigma(\hat e_{ij}) + \epsilon} \Bigr),
        \quad e_{ij}' = e_{ij} + \mathrm{ReLU}\,\mathrm{BN}(\hat e_{ij})

    after linear maps of the features of nodes and edges, and before pooling and a perceptron. What the last layer makes
    of the edges is not used.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes or values.
        edge_channels: width of the edge features; 1 where there are none.
        hidden_channels: width of all layers, for nodes and edges.
        num_layers: number of convolutions.
        residual: add to each layer's output what came in.
        virtual_node: a node that hears all nodes of its graph and is heard by them.
        pooling: how nodes become graphs.
        dropout: behind each layer and in the last perceptron.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``, ``edge_attr``
          ``[num_edges, edge_channels]`` (optional: each edge has the feature 1), ``batch`` ``[num_nodes]``, which graph
          each node is of (optional: all are of one)
        - **output:** logits ``[num_graphs, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        edge_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 4,
        residual: bool = True,
        virtual_node: bool = False,
        pooling: Pooling = "mean",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        h = hidden_channels
        self.lin_in, self.lin_edge = nn.Linear(in_channels, h), nn.Linear(edge_channels, h)
        convs = [GatedGCNConv(h, h, h, residual=residual, dropout=dropout) for _ in range(num_layers)]
        convs[-1].norm_edge = None  # of edges that nobody reads
        self.convs = nn.ModuleList(convs)
        self.virtual_node = VirtualNode(h, num_layers, dropout) if virtual_node else None
        self.readout = Readout(h, out_channels, pooling, dropout)

    @classmethod
    def infer(cls, data: BaseData | list[BaseData]) -> dict[str, Any]:
        """Return the widths of nodes and edges."""
        return graph_sizes(data)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by the defaults of PyTorch and PyG."""
        for module in (self.lin_in, self.lin_edge, *self.convs, self.virtual_node, self.readout):
            if module is not None:
                module.reset_parameters()

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None, batch: Tensor | None = None
    ) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``."""
        e = self.lin_edge(edge_features(edge_attr, edge_index, x))
        h, state = self.lin_in(x), None
        for layer, conv in enumerate(self.convs):
            if self.virtual_node is not None:
                h, state = self.virtual_node(layer, h, state, batch)
            h, e = conv(h, edge_index, e)
        return self.readout(h, batch)

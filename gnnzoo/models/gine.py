"""Graph isomorphism network with edge features, on PyG's layer."""

from __future__ import annotations

from torch_geometric.nn import MLP, GINEConv

from gnnzoo.nn.graph_level import NORM, EdgeConvolutions, Pooling
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["GINE"]


class GINE(EdgeConvolutions):
    r"""GIN with edge features, of `"Strategies for Pre-training Graph Neural Networks"
    <https://arxiv.org/abs/1905.12265>`_ (arXiv 1905.12265, ICLR 2020), trained from scratch.

    .. math::
        h_v^{(l)} = \mathrm{ReLU}\,\mathrm{BN}\,\mathrm{MLP}^{(l)}\Bigl( (1 + \epsilon^{(l)}) h_v^{(l-1)} +
        \sum_{u \in N(v)} \mathrm{ReLU}\bigl( h_u^{(l-1)} + W^{(l)} e_{uv} + b^{(l)} \bigr) \Bigr)

    after :math:`h_v^{(0)} = W x_v + b`, and before pooling and a perceptron.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes or values.
        edge_channels: width of the edge features; 1 where there are none.
        hidden_channels: width of all layers; the perceptrons are twice as wide inside.
        num_layers: number of convolutions.
        train_eps: whether :math:`\epsilon` is learned or zero.
        virtual_node: a node that hears all nodes of its graph and is heard by them.
        residual: add to each layer's output what came in.
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
        train_eps: bool = False,
        virtual_node: bool = False,
        residual: bool = False,
        pooling: Pooling = "sum",
        dropout: Dropout = 0.5,
    ) -> None:
        h = hidden_channels

        def conv() -> GINEConv:
            return GINEConv(MLP([h, 2 * h, h], norm_kwargs=NORM), train_eps=train_eps, edge_dim=edge_channels)

        super().__init__(in_channels, out_channels, h, num_layers, conv, residual, virtual_node, pooling, dropout)

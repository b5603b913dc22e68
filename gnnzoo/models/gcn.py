"""Graph convolutional network, on PyG's layer."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from gnnzoo.nn.convolutions import GCNConv
from gnnzoo.ops import gcn_norm
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["GCN"]


class GCN(nn.Module):
    r"""The network of `"Semi-Supervised Classification with Graph Convolutional Networks"
    <https://arxiv.org/abs/1609.02907>`_ (arXiv 1609.02907, ICLR 2017).

    .. math::
        X^{(l+1)} = \mathrm{ReLU}\bigl(\hat A\, X^{(l)} W^{(l)} + b^{(l)}\bigr), \quad
        \hat A = \tilde D^{-1/2} (A + I) \tilde D^{-1/2}

    without the ReLU in the last layer (equations 2 and 9 of the paper).

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of the hidden layers.
        num_layers: number of convolutions.
        dropout: on the input of every layer, the features included.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]`` (a node that has a self-loop
          keeps it, the others get one), ``edge_weight`` ``[num_edges]`` (optional)
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 2,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        self.convs = nn.ModuleList(GCNConv(*pair) for pair in pairwise(widths))

    def reset_parameters(self) -> None:
        """Draw all parameters anew: Glorot weights, zero biases."""
        reset(self.convs)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        adj = gcn_norm(edge_index, x.size(0), edge_weight, dtype=x.dtype)
        for conv in self.convs[:-1]:
            x = conv(x, adj, self.dropout).relu()
        return self.convs[-1](x, adj, self.dropout)

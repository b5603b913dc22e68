"""Graph attention network, on PyG's layer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import reset

from gnnzoo.nn.convolutions import GATConv
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["GAT"]


class GAT(nn.Module):
    r"""The network of `"Graph Attention Networks" <https://arxiv.org/abs/1710.10903>`_ (arXiv 1710.10903, ICLR 2018).

    .. math::
        h_v^{(l+1)} = \big\Vert_k\,\mathrm{ELU}\Bigl( \sum_{u \in N(v) \cup v} \alpha^k_{vu} W^k h_u^{(l)} + b^k \Bigr),
        \quad \alpha^k_{vu} = \mathrm{softmax}_u\,\mathrm{LeakyReLU}(a_1^k \cdot W^k h_u + a_2^k \cdot W^k h_v)

    (equations 1 to 5). The last layer averages its heads and has no ELU (equation 6).

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of each head of the hidden layers.
        num_layers: number of convolutions.
        heads: attention heads of the hidden layers, whose outputs are concatenated.
        out_heads: attention heads of the last layer, whose outputs are averaged.
        dropout: on the input of every layer, the features included.
        attention_dropout: on the attention coefficients.
        residual: a linear shortcut around every layer (the paper has shortcuts for PPI).

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]`` (every node gets exactly
          one self-loop)
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 8,
        num_layers: PositiveInt = 2,
        heads: PositiveInt = 8,
        out_heads: PositiveInt = 1,
        dropout: Dropout = 0.6,
        attention_dropout: Dropout = 0.6,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [in_channels, *[hidden_channels * heads] * (num_layers - 1)]
        settings = {"dropout": attention_dropout, "residual": residual}
        self.convs = nn.ModuleList(GATConv(width, hidden_channels, heads, **settings) for width in widths[:-1])
        self.convs.append(GATConv(widths[-1], out_channels, out_heads, concat=False, **settings))

    def reset_parameters(self) -> None:
        """Draw all parameters anew: Glorot weights, zero biases."""
        reset(self.convs)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        for conv in self.convs[:-1]:
            x = F.elu(conv(x, edge_index, self.dropout))
        return self.convs[-1](x, edge_index, self.dropout)

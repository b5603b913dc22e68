"""Classic convolutions with what makes them strong: normalisation, dropout, residual connections, depth."""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn
from torch_geometric.nn import BatchNorm, LayerNorm
from torch_geometric.nn.inits import reset

from gnnzoo.nn.convolutions import GATConv, GCNConv, SAGEConv
from gnnzoo.ops import dropout, sparse_linear
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["TunedGNN"]


class TunedGNN(nn.Module):
    r"""The networks of `"Classic GNNs are Strong Baselines: Reassessing GNNs for Node Classification"
    <https://arxiv.org/abs/2406.08993>`_ (arXiv 2406.08993, NeurIPS 2024): GCN, GraphSAGE and GAT.

    .. math::
        h^{(l)} = \mathrm{Dropout}\,\mathrm{ReLU}\,\mathrm{Norm}\bigl(
        \mathrm{CONV}^{(l)}(h^{(l-1)}, A) + h^{(l-1)} W_r^{(l)} \bigr), \quad Y = h^{(L)} W + b

    where Norm and the residual term are optional.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers (of each head, for GAT).
        num_layers: number of convolutions, beside the linear layer that answers.
        conv: GCN, GraphSAGE (mean) or GAT.
        norm: normalisation before the ReLU.
        residual: whether a linear image of its input is added to every convolution.
        pre_linear: whether a linear layer comes before the first convolution.
        heads: attention heads of GAT, concatenated.
        dropout: after every ReLU and after the first linear layer; never on the features.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]`` (GCN and GAT give a
          self-loop to every node)
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 256,
        num_layers: PositiveInt = 3,
        conv: Literal["gcn", "sage", "gat"] = "gcn",
        norm: Literal["none", "batch", "layer"] = "none",
        residual: bool = False,
        pre_linear: bool = False,
        heads: PositiveInt = 1,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        inner = hidden_channels * (heads if conv == "gat" else 1)
        first = hidden_channels if pre_linear else in_channels
        self.lin_in = nn.Linear(in_channels, hidden_channels) if pre_linear else None
        self.convs, self.norms, self.lins = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for width in [first, *[inner] * (num_layers - 1)]:
            if conv == "gat":
                self.convs.append(GATConv(width, hidden_channels, heads))
            else:
                self.convs.append((GCNConv if conv == "gcn" else SAGEConv)(width, hidden_channels))
            if norm == "batch":  # a lone node has no batch statistics: it is normalised by the running ones
                self.norms.append(BatchNorm(inner, allow_single_element=True))
            elif norm == "layer":
                self.norms.append(LayerNorm(inner, mode="node"))
            if residual:
                self.lins.append(nn.Linear(width, inner))
        self.lin_out = nn.Linear(inner, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by the defaults of PyTorch and PyG."""
        for module in (self.lin_in, self.convs, self.norms, self.lins, self.lin_out):
            if module is not None:
                reset(module)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        if self.lin_in is not None:
            x = dropout(sparse_linear(x, self.lin_in.weight, self.lin_in.bias), self.dropout, self.training)
        for layer, conv in enumerate(self.convs):
            h = conv(x, edge_index)
            if self.lins:
                lin = cast("nn.Linear", self.lins[layer])
                h = h + sparse_linear(x, lin.weight, lin.bias)
            if self.norms:
                h = self.norms[layer](h)
            x = dropout(h.relu(), self.dropout, self.training)
        return self.lin_out(x)

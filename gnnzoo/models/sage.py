"""GraphSAGE, full batch, on PyG's layer."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from gnnzoo.nn.convolutions import SAGEConv
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["GraphSAGE"]


class GraphSAGE(nn.Module):
    r"""The network of `"Inductive Representation Learning on Large Graphs" <https://arxiv.org/abs/1706.02216>`_
    (arXiv 1706.02216, NeurIPS 2017), on whole graphs instead of sampled neighborhoods.

    .. math::
        h_v^{(l+1)} = \mathrm{ReLU}\Bigl( W_1^{(l)} h_v^{(l)} +
        W_2^{(l)}\,\mathrm{aggr}_{u \in N(v)} h_u^{(l)} + b^{(l)} \Bigr)

    without the ReLU in the last layer: a linear layer on the concatenation of node and neighborhood (algorithm 1) is
    a sum of two.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of the hidden layers.
        num_layers: number of convolutions.
        aggr: how a neighborhood is summed up.
        project: a linear layer and a ReLU on the neighbors first; with ``max`` the paper's pooling aggregator.
        normalize: scale every hidden representation to length 1, as algorithm 1 does.
        dropout: on the input of every layer, the features included.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 2,
        aggr: Literal["mean", "sum", "max"] = "mean",
        project: bool = False,
        normalize: bool = False,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        self.convs = nn.ModuleList(
            SAGEConv(*pair, aggr=aggr, project=project, normalize=normalize and layer < num_layers)
            for layer, pair in enumerate(pairwise(widths), start=1)
        )

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        reset(self.convs)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        for conv in self.convs[:-1]:
            x = conv(x, edge_index, self.dropout).relu()
        return self.convs[-1](x, edge_index, self.dropout)

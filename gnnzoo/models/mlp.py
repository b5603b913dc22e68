"""Multi-layer perceptron on node features: what a graph method has to beat before its graph is worth anything."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch_geometric.nn import Linear
from torch_geometric.nn.inits import reset

from gnnzoo.ops import sparse_linear
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["MLP"]


class MLP(nn.Module):
    r"""Layers of :math:`X^{(l+1)} = \mathrm{ReLU}(X^{(l)} W^{(l)} + b^{(l)})`, the last one without the ReLU.

    Edges are not used. The graph-free baseline of, for example, "Neural Sheaf Diffusion" (arXiv 2202.04579, Table 1).

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of the hidden layers.
        num_layers: number of linear layers.
        dropout: on the input of every layer, the features included.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``
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
        self.lins = nn.ModuleList(Linear(*pair) for pair in pairwise(widths))

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        reset(self.lins)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        for number, lin in enumerate(cast("Iterable[Linear]", self.lins), start=1):
            x = sparse_linear(x, lin.weight, lin.bias, self.dropout, self.training)
            if number < len(self.lins):
                x = x.relu()
        return x

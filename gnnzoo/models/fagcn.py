"""Frequency adaptation graph convolutional network, on PyG's layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import FAConv
from torch_geometric.nn.inits import reset

from gnnzoo.nn.propagation import Propagation, propagation
from gnnzoo.ops import Adjacency, dropout, sparse_linear, spmm
from gnnzoo.types import Dropout, NonNegativeFloat, NonNegativeInt, PositiveInt

__all__ = ["FAGCN"]


class _Convolution(FAConv):
    """PyG's layer; the weighted sum is ``ops.spmm``."""

    def forward(self, x: Tensor, first: Tensor, adj: Propagation) -> Tensor:
        """Return ``[num_nodes, channels]``; ``first`` is the first hidden layer."""
        alpha = dropout(self.coefficients(x, adj.graph), self.dropout, self.training)
        return torch.add(spmm(adj.graph, x, alpha * adj.weight), first, alpha=self.eps)

    def coefficients(self, x: Tensor, adj: Adjacency) -> Tensor:
        """Return the coefficient of every edge, ``[num_edges]`` in (-1, 1); below 0 for high frequency."""
        source, target = self.att_l(x).squeeze(-1), self.att_r(x).squeeze(-1)
        return torch.tanh(source.index_select(0, adj.col) + target.index_select(0, adj.row))


class FAGCN(nn.Module):
    r"""The network of `"Beyond Low-frequency Information in Graph Convolutional Networks"
    <https://arxiv.org/abs/2101.00797>`_ (arXiv 2101.00797, AAAI 2021).

    .. math::
        h^{(0)}_v = \mathrm{ReLU}(W_1 x_v), \quad
        h^{(l)}_v = \varepsilon h^{(0)}_v + \sum_{u \in N(v)} \frac{\alpha_{vu}}{\sqrt{d_v d_u}} h^{(l-1)}_u, \quad
        \alpha_{vu} = \tanh\bigl(g^\top [h_v \Vert h_u]\bigr), \quad y_v = W_2 h^{(L)}_v

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers.
        num_layers: number of convolutions.
        eps: :math:`\varepsilon`, the weight of the first representation.
        dropout: on the features, on the first representation and on the coefficients.
        add_self_loops: whether a node is its own neighbour, as PyG's layer has it; the paper has it not.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: NonNegativeInt = 2,
        eps: NonNegativeFloat = 0.3,
        dropout: Dropout = 0.5,
        add_self_loops: bool = False,
    ) -> None:
        super().__init__()
        self.dropout, self.add_self_loops = dropout, add_self_loops
        self.lin_in = nn.Linear(in_channels, hidden_channels)
        self.convs = nn.ModuleList(_Convolution(hidden_channels, eps, dropout) for _ in range(num_layers))
        self.lin_out = nn.Linear(hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by the defaults of PyTorch and PyG."""
        self.lin_in.reset_parameters()
        reset(self.convs)
        self.lin_out.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        h = sparse_linear(x, self.lin_in.weight, self.lin_in.bias, self.dropout, self.training).relu()
        first = h = dropout(h, self.dropout, self.training)
        adj = propagation(edge_index, x.size(0), h.dtype, self.add_self_loops)
        for conv in self.convs:
            h = conv(h, first, adj)
        return self.lin_out(h)

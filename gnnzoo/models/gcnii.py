"""GCNII: a deep graph convolutional network with initial residual and identity mapping, on PyG's layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCN2Conv
from torch_geometric.nn.inits import reset

from gnnzoo.ops import Adjacency, dropout, gcn_norm, sparse_linear, spmm
from gnnzoo.types import Dropout, NonNegativeFloat, PositiveInt, Probability

__all__ = ["GCNII"]


class _Convolution(GCN2Conv):
    """PyG's layer; the product by the adjacency is ``ops.spmm``."""

    def forward(self, x: Tensor, first: Tensor, adj: Adjacency) -> Tensor:
        """Return ``[num_nodes, channels]``; ``adj`` is normalized, ``first`` is the first hidden layer."""
        x, first = (1 - self.alpha) * spmm(adj, x), self.alpha * first
        keep = {"beta": 1 - self.beta, "alpha": self.beta}
        if self.weight2 is None:
            x = x + first
            return torch.addmm(x, x, self.weight1, **keep)
        return torch.addmm(x, x, self.weight1, **keep) + torch.addmm(first, first, self.weight2, **keep)


class GCNII(nn.Module):
    r"""The network of `"Simple and Deep Graph Convolutional Networks" <https://arxiv.org/abs/2007.02133>`_
    (arXiv 2007.02133, ICML 2020).

    .. math::
        H^{(0)} = \mathrm{ReLU}(X W_{in} + b_{in}), \quad
        H^{(l)} = \mathrm{ReLU}\Bigl( \bigl((1 - \alpha) \hat A H^{(l-1)} + \alpha H^{(0)}\bigr)
        \bigl((1 - \beta_l) I + \beta_l W^{(l)}\bigr) \Bigr), \quad \beta_l = \log(\lambda / l + 1)

    with :math:`\hat A = \tilde D^{-1/2} (A + I) \tilde D^{-1/2}` (equation 5), and :math:`H^{(L)} W_{out} + b_{out}`.
    GCNII* has one matrix for the propagated and one for the first representation (equation 6).

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers.
        num_layers: number of convolutions.
        alpha: :math:`\alpha`, the share of the first representation in every layer.
        theta: :math:`\lambda`, the strength of the weights; they fade with depth.
        shared_weights: one matrix per layer (GCNII) or two (GCNII*).
        dropout: on the features and on the input of every layer.

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
        num_layers: PositiveInt = 64,
        alpha: Probability = 0.1,
        theta: NonNegativeFloat = 0.5,
        shared_weights: bool = True,
        dropout: Dropout = 0.6,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.lin_in = nn.Linear(in_channels, hidden_channels)
        self.convs = nn.ModuleList(
            _Convolution(hidden_channels, alpha, theta, layer, shared_weights) for layer in range(1, num_layers + 1)
        )
        self.lin_out = nn.Linear(hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew: Glorot weights in the convolutions, PyTorch's defaults elsewhere."""
        self.lin_in.reset_parameters()
        reset(self.convs)
        self.lin_out.reset_parameters()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the weights of the convolutions and those of the linear layers, which the paper decays apart."""
        return {
            "conv": list(self.convs.parameters()),
            "dense": [*self.lin_in.parameters(), *self.lin_out.parameters()],
        }

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        h = sparse_linear(x, self.lin_in.weight, self.lin_in.bias, self.dropout, self.training).relu()
        adj, first = gcn_norm(edge_index, x.size(0), edge_weight, dtype=h.dtype), h
        for conv in self.convs:
            h = conv(dropout(h, self.dropout, self.training), first, adj).relu()
        return self.lin_out(dropout(h, self.dropout, self.training))

"""Approximate personalized propagation of neural predictions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gnnzoo.nn.propagation import propagation
from gnnzoo.ops import dropout, sparse_linear, spmm
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt, Probability

__all__ = ["APPNP"]


class APPNP(nn.Module):
    r"""The network of `"Predict then Propagate: Graph Neural Networks meet Personalized PageRank"
    <https://arxiv.org/abs/1810.05997>`_ (arXiv 1810.05997, ICLR 2019).

    .. math::
        H = W_2\,\mathrm{ReLU}(W_1 X), \quad Z_0 = H, \quad Z_{k+1} = (1 - \alpha) \hat A Z_k + \alpha H,
        \quad Y = Z_K

    with :math:`\hat A = \tilde D^{-1/2} (A + I) \tilde D^{-1/2}` (equation 4); :math:`K \to \infty` gives
    :math:`\alpha (I - (1 - \alpha) \hat A)^{-1} H` (PPNP, equation 3).

    Args:
        in_channels: width of the node features.
        out_channels: number of classes; propagation is on this width.
        hidden_channels: width of the hidden layer.
        K: number of power iterations.
        alpha: teleport probability.
        dropout: on the features and on the hidden layer.
        edge_dropout: on the adjacency matrix, drawn anew in every iteration.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]`` (a node that has a self-loop
          keeps it, the others get one)
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        K: NonNegativeInt = 10,
        alpha: Probability = 0.1,
        dropout: Dropout = 0.5,
        edge_dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.K, self.alpha, self.dropout, self.edge_dropout = K, alpha, dropout, edge_dropout
        self.lin1 = nn.Linear(in_channels, hidden_channels)
        self.lin2 = nn.Linear(hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        self.lin1.reset_parameters()
        self.lin2.reset_parameters()

    def parameter_groups(self) -> dict[str, list[Tensor]]:
        """Return the first layer's weights, which alone the paper decays."""
        return {"first": [self.lin1.weight]}

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        h = self.transform(x)
        adj = propagation(edge_index, x.size(0), dtype=h.dtype)
        z, teleport = h, self.alpha * h
        for _ in range(self.K):
            weight = None  # the graph's own
            if self.training and self.edge_dropout:
                weight = dropout(adj.weight, self.edge_dropout, training=True)
            z = torch.add(teleport, spmm(adj.graph, z, weight), alpha=1 - self.alpha)
        return z

    def transform(self, x: Tensor) -> Tensor:
        """Return the predictions :math:`H` before propagation, ``[num_nodes, out_channels]``."""
        h = sparse_linear(x, self.lin1.weight, self.lin1.bias, self.dropout, self.training).relu()
        return self.lin2(dropout(h, self.dropout, self.training))

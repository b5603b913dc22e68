"""Generalized PageRank graph neural network: predict, then propagate with learned weights of hops."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from gnnzoo.ops import dropout, gcn_norm, sparse_linear, spmm
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt, Probability

__all__ = ["GPRGNN"]


class GPRGNN(nn.Module):
    r"""The network of `"Adaptive Universal Generalized PageRank Graph Neural Network"
    <https://arxiv.org/abs/2006.07988>`_ (arXiv 2006.07988, ICLR 2021).

    .. math::
        H = W_2\,\mathrm{ReLU}(W_1 X), \quad Y = \sum_{k=0}^{K} \gamma_k \hat A^k H, \quad
        \hat A = \tilde D^{-1/2} (A + I) \tilde D^{-1/2}

    (equation 1) with learned :math:`\gamma`, of either sign. With ``init="ppr"`` and before training it is APPNP.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes; propagation is on this width.
        hidden_channels: width of the hidden layer.
        K: number of propagations.
        alpha: where :math:`\gamma` starts.
        init: ``ppr``: :math:`\alpha (1 - \alpha)^k`, the last :math:`(1 - \alpha)^K`; ``nppr``: :math:`\alpha^k` over
            their sum; ``sgc``: the last hop alone; ``random``: uniform, absolute values summing to 1.
        dropout: on the features and on the hidden layer.
        propagation_dropout: on the predictions that are propagated.

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
        K: NonNegativeInt = 10,
        alpha: Probability = 0.1,
        init: Literal["ppr", "nppr", "sgc", "random"] = "ppr",
        dropout: Dropout = 0.5,
        propagation_dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.K, self.alpha, self.init = K, alpha, init
        self.dropout, self.propagation_dropout = dropout, propagation_dropout
        self.lin1 = nn.Linear(in_channels, hidden_channels)
        self.lin2 = nn.Linear(hidden_channels, out_channels)
        self.gamma = nn.Parameter(torch.empty(K + 1))
        self._reset_gamma()

    def reset_parameters(self) -> None:
        """Draw the layers anew, by PyTorch's defaults, and put the weights of the hops where they start."""
        self.lin1.reset_parameters()
        self.lin2.reset_parameters()
        self._reset_gamma()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the weights of the hops, which the authors do not decay."""
        return {"gamma": [self.gamma]}

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        z = dropout(self.transform(x), self.propagation_dropout, self.training)
        adj = gcn_norm(edge_index, x.size(0), edge_weight, dtype=z.dtype)
        out = self.gamma[0] * z
        for weight in self.gamma[1:]:
            z = spmm(adj, z)
            out = torch.addcmul(out, weight, z)
        return out

    def transform(self, x: Tensor) -> Tensor:
        """Return the predictions :math:`H` before propagation, ``[num_nodes, out_channels]``."""
        h = sparse_linear(x, self.lin1.weight, self.lin1.bias, self.dropout, self.training).relu()
        return self.lin2(dropout(h, self.dropout, self.training))

    @torch.no_grad()
    def _reset_gamma(self) -> None:
        hops = torch.arange(self.K + 1, dtype=self.gamma.dtype, device=self.gamma.device)
        if self.init == "ppr":
            gamma = self.alpha * (1 - self.alpha) ** hops
            gamma[-1] = (1 - self.alpha) ** self.K
        elif self.init == "nppr":
            gamma = self.alpha**hops
        elif self.init == "sgc":
            gamma = (hops == self.K).to(hops.dtype)
        else:
            gamma = torch.empty_like(hops).uniform_(-1, 1) * math.sqrt(3 / (self.K + 1))
        self.gamma.copy_(gamma if self.init == "ppr" else gamma / gamma.abs().sum())

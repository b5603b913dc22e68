"""Hypergraph neural networks that average over hyperedges and back: HGNN, HGNN+ and hypergraph convolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gnnzoo.nn.hypergraph import IncidenceHead, incidence
from gnnzoo.ops import dropout, sparse_linear
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["HGNN"]


class HGNN(nn.Module):
    r"""The network of `"Hypergraph Neural Networks" <https://arxiv.org/abs/1809.09401>`_ (arXiv 1809.09401, AAAI 2019).

    .. math::
        X^{(l+1)} = \sigma\bigl( D_v^{-1/2} H D_e^{-1} H^\top D_v^{-1/2} (X^{(l)} \Theta^{(l)} + b^{(l)}) \bigr)

    with the incidence matrix :math:`H` and the degrees of nodes and hyperedges. With ``norm="mean"`` it is
    :math:`D_v^{-1} H D_e^{-1} H^\top` in its place, the operator of HGNN+ and of hypergraph convolution (arXiv
    1901.08150). The operator is applied as two sparse products, never as a matrix of node pairs.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of the hidden layers.
        num_layers: number of convolutions.
        norm: ``symmetric`` (HGNN), or ``mean``: the mean of the means of the hyperedges.
        activation: between the layers.
        dropout: after every activation.
        per_incidence: whether it answers for nodes in hyperedges instead of for nodes.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``hyperedge_index`` ``[2, num_incidences]``;
          ``incidence_index`` ``[num_rows]``, with ``per_incidence``: which incidences are asked about (optional: all)
        - **output:** logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]``; a node in no hyperedge gets
          those of zero
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 128,
        num_layers: PositiveInt = 2,
        norm: Literal["symmetric", "mean"] = "symmetric",
        activation: Literal["relu", "elu"] = "relu",
        dropout: Dropout = 0.5,
        per_incidence: bool = False,
    ) -> None:
        super().__init__()
        self.norm, self.activation, self.dropout = norm, activation, dropout
        widths = [in_channels, *[hidden_channels] * (num_layers - 1)]
        widths.append(hidden_channels if per_incidence else out_channels)
        self.lins = cast("Sequence[nn.Linear]", nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths)))
        self.head = IncidenceHead(hidden_channels, out_channels) if per_incidence else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases uniformly from ±1/√(width of the output), as the authors do."""
        for lin in self.lins:
            bound = lin.out_features**-0.5
            nn.init.uniform_(lin.weight, -bound, bound)
            nn.init.uniform_(lin.bias, -bound, bound)
        if self.head is not None:
            self.head.reset_parameters()

    def forward(self, x: Tensor, hyperedge_index: Tensor, incidence_index: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]`` with ``per_incidence``."""
        members = incidence(hyperedge_index, x)
        scale = members.degree.clamp(min=1).rsqrt()
        for number, lin in enumerate(self.lins):
            if number:
                x = self._activate(x)
            h = sparse_linear(x, lin.weight, lin.bias)
            if self.norm == "symmetric":
                x = members.to_nodes(members.to_hyperedges(h * scale)) * scale
            else:
                x = members.to_nodes(members.to_hyperedges(h), "mean")
        return x if self.head is None else self.head(self._activate(x), hyperedge_index, incidence_index)

    def _activate(self, x: Tensor) -> Tensor:
        return dropout(F.relu(x) if self.activation == "relu" else F.elu(x), self.dropout, self.training)

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> HGNN:
        """Build the model from the authors' names.

        Args:
            config: ``num_features, num_classes, hidden``.
            state_dict: ``hgc1.weight`` ``[in, out]``, ``hgc1.bias``, and those of ``hgc2``.
        """
        rate = config.get("dropout", 0.0)
        model = cls(config["num_features"], config["num_classes"], config["hidden"], dropout=rate)
        model.to(state_dict["hgc1.weight"].dtype)
        with torch.no_grad():
            for number, lin in enumerate(model.lins, start=1):
                lin.weight.copy_(state_dict[f"hgc{number}.weight"].t())
                lin.bias.copy_(state_dict[f"hgc{number}.bias"])
        return model

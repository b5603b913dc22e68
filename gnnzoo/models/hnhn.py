"""HNHN: a network in which hyperedges are neurons too, with a non-linearity of their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from gnnzoo.nn.hypergraph import IncidenceHead, incidence
from gnnzoo.ops import dropout, sparse_linear
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["HNHN"]


class HNHN(nn.Module):
    r"""The network of `"HNHN: Hypergraph Networks with Hyperedge Neurons" <https://arxiv.org/abs/2006.12278>`_
    (arXiv 2006.12278), with means in place of its two tuned normalizations.

    .. math::
        h_e = \mathrm{ReLU}\bigl(\mathrm{mean}_{u \in e} (x_u \Theta_1 + b_1)\bigr), \quad
        x'_v = \mathrm{mean}_{e \ni v} (h_e \Theta_2 + b_2)

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of the hidden layers.
        num_layers: number of layers, each from nodes to hyperedges and back.
        dropout: after the ReLU between layers.
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
        dropout: Dropout = 0.5,
        per_incidence: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [in_channels, *[hidden_channels] * (num_layers - 1)]
        widths.append(hidden_channels if per_incidence else out_channels)
        pairs = list(pairwise(widths))
        self.to_hyperedges = cast("Sequence[nn.Linear]", nn.ModuleList(nn.Linear(*pair) for pair in pairs))
        self.to_nodes = cast("Sequence[nn.Linear]", nn.ModuleList(nn.Linear(width, width) for _, width in pairs))
        self.head = IncidenceHead(hidden_channels, out_channels) if per_incidence else None

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        reset(self.to_hyperedges)
        reset(self.to_nodes)
        if self.head is not None:
            self.head.reset_parameters()

    def forward(self, x: Tensor, hyperedge_index: Tensor, incidence_index: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]`` with ``per_incidence``."""
        members = incidence(hyperedge_index, x)
        for number, (first, second) in enumerate(zip(self.to_hyperedges, self.to_nodes, strict=True)):
            if number:
                x = dropout(x.relu(), self.dropout, self.training)
            h = members.to_hyperedges(sparse_linear(x, first.weight, first.bias)).relu()
            x = members.to_nodes(second(h), "mean")
        if self.head is None:
            return x
        return self.head(dropout(x.relu(), self.dropout, self.training), hyperedge_index, incidence_index)

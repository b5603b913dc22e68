"""HyperGCN: every hyperedge becomes a few edges between the members that differ most, found anew by projections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from gnnzoo.errors import ConfigError
from gnnzoo.nn.hypergraph import Incidence, IncidenceHead, incidence
from gnnzoo.ops import Adjacency, dropout, sparse_linear, spmm
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["HyperGCN", "hypergraph_laplacian"]


def hypergraph_laplacian(members: Incidence, signal: Tensor, mediators: bool = True) -> Adjacency:
    r"""Return :math:`D^{-1/2} (A + I) D^{-1/2}` of the graph that a signal makes of a hypergraph.

    Of every hyperedge of two or more nodes, the one of the largest signal and the one of the smallest are linked with
    weight :math:`1/|e|`; with ``mediators`` the two are linked to each other and to all other members, with weight
    :math:`1/(2|e| - 3)`. Weights add up. Of equal signals the first node listed counts.

    Args:
        members: the hypergraph.
        signal: ``[num_nodes]``.
        mediators: see above.
    """
    nodes, hyperedges = members.nodes, members.hyperedges
    value, count = signal[nodes], members.num_hyperedges
    ends = []
    for sign in (1, -1):
        best = scatter(sign * value, hyperedges, 0, count, "max")[hyperedges] == sign * value
        place = torch.where(best, torch.arange(len(nodes), device=nodes.device), len(nodes))
        ends.append(nodes[scatter(place, hyperedges, 0, count, "min")])
    top, bottom = ends
    size = members.size.flatten()
    weight = 1 / (2 * size - 3) if mediators else 1 / size
    several = size > 1
    index, weights = [torch.stack([top, bottom])[:, several]], [weight[several]]
    if mediators:
        between = (nodes != top[hyperedges]) & (nodes != bottom[hyperedges]) & several[hyperedges]
        for end in (top, bottom):
            index.append(torch.stack([end[hyperedges], nodes])[:, between])
            weights.append(weight[hyperedges][between])
    edges, values = torch.cat(index, dim=1), torch.cat(weights)
    loops = torch.arange(members.num_nodes, device=nodes.device).expand(2, -1)
    edges = torch.cat([edges, edges.flip(0), loops], dim=1)
    values = torch.cat([values, values, values.new_ones(members.num_nodes)])
    scale = scatter(values, edges[0], 0, members.num_nodes).rsqrt()
    return Adjacency(edges, members.num_nodes, scale[edges[0]] * values * scale[edges[1]])


class HyperGCN(nn.Module):
    r"""The network of `"HyperGCN: A New Method of Training Graph Convolutional Networks on Hypergraphs"
    <https://arxiv.org/abs/1809.02589>`_ (arXiv 1809.02589, NeurIPS 2019).

    .. math::
        X^{(l+1)} = \mathrm{ReLU}\bigl( \bar A(S^{(l)}) X^{(l)} W^{(l)} + b^{(l)} \bigr), \quad
        S^{(l)} = X^{(l)} W^{(l)} r^{(l)}, \quad i_e = \arg\max_{v \in e} S_v, \; j_e = \arg\min_{v \in e} S_v

    with :math:`\bar A` the normalized adjacency of the graph that links :math:`i_e` and :math:`j_e` (and the other
    members, the mediators, to both), see :func:`hypergraph_laplacian`. ``fast`` finds the graph once, from
    :math:`S = X r`.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of the last hidden layer; each one before it is twice as wide as the next.
        num_layers: number of convolutions.
        mediators: whether all members of a hyperedge are linked, or two of them.
        fast: one graph from the features, or one for each layer and forward pass.
        final_relu: ReLU after the last layer too, as in the authors' code.
        dropout: after every layer but the last.
        per_incidence: whether it answers for nodes in hyperedges instead of for nodes.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``hyperedge_index`` ``[2, num_incidences]``;
          ``incidence_index`` ``[num_rows]``, with ``per_incidence``: which incidences are asked about (optional: all)
        - **output:** logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 16,
        num_layers: PositiveInt = 2,
        mediators: bool = True,
        fast: bool = True,
        final_relu: bool = True,
        dropout: Dropout = 0.5,
        per_incidence: bool = False,
    ) -> None:
        super().__init__()
        self.mediators, self.fast, self.final_relu, self.dropout = mediators, fast, final_relu, dropout
        hidden = [hidden_channels * 2**power for power in reversed(range(num_layers - 1))]
        widths = [in_channels, *hidden, hidden_channels if per_incidence else out_channels]
        self.lins = cast("Sequence[nn.Linear]", nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths)))
        self.head = IncidenceHead(hidden_channels, out_channels) if per_incidence else None
        for number, width in enumerate([in_channels] if fast else widths[1:]):
            self.register_buffer(f"direction{number}", torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases uniformly from ±1/√(width of the output), projections uniformly from [0, 1)."""
        for lin in self.lins:
            bound = lin.out_features**-0.5
            nn.init.uniform_(lin.weight, -bound, bound)
            nn.init.uniform_(lin.bias, -bound, bound)
        for direction in self.buffers():
            nn.init.uniform_(direction)
        if self.head is not None:
            self.head.reset_parameters()

    def forward(self, x: Tensor, hyperedge_index: Tensor, incidence_index: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]`` with ``per_incidence``."""
        members = incidence(hyperedge_index, x)
        graph = self._graph(members, x, 0) if self.fast else None
        for number, lin in enumerate(self.lins):
            if number:
                x = dropout(x.relu(), self.dropout, self.training)
            h = sparse_linear(x, lin.weight)
            x = spmm(graph or self._graph(members, h, number), h) + lin.bias
        if self.head is not None:
            return self.head(dropout(x.relu(), self.dropout, self.training), hyperedge_index, incidence_index)
        return x.relu() if self.final_relu else x

    @torch.no_grad()
    def _graph(self, members: Incidence, x: Tensor, number: int) -> Adjacency:
        """Return the graph that the projections of ``x`` make; a slow network draws a new direction in training."""
        direction: Tensor = getattr(self, f"direction{number}")
        if self.training and not self.fast:
            direction = torch.rand_like(direction)
        return hypergraph_laplacian(members, (x * direction).sum(1), self.mediators)

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> HyperGCN:
        """Build the model from the authors' names.

        Args:
            config: ``num_features, num_classes, depth, fast, mediators`` and ``hidden``, the widths of all layers.
            state_dict: ``layers.i.W`` ``[in, out]``, ``layers.i.bias``; ``random_vector`` where the graph is made once.
        """
        widths = list(config["hidden"])
        expected = [widths[-2] * 2**power for power in reversed(range(len(widths) - 1))] if len(widths) > 1 else []
        if expected != widths[:-1]:
            raise ConfigError(f"hidden={widths}: each layer must be half as wide as the one before it")
        hidden = widths[-2] if len(widths) > 1 else 16
        model = cls(
            config["num_features"],
            config["num_classes"],
            hidden,
            len(widths),
            config["mediators"],
            config["fast"],
            dropout=config.get("dropout", 0.0),
        )
        model.to(state_dict["layers.0.W"].dtype)
        with torch.no_grad():
            for number, lin in enumerate(model.lins):
                lin.weight.copy_(state_dict[f"layers.{number}.W"].t())
                lin.bias.copy_(state_dict[f"layers.{number}.bias"])
            if "random_vector" in state_dict:
                model.direction0.copy_(state_dict["random_vector"])  # type: ignore[operator]
        return model

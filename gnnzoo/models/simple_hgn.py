"""Simple-HGN: graph attention that also looks at the type of the edge, on all types of nodes as one graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import HeteroData
from torch_geometric.utils import softmax

from gnnzoo.nn.heterogeneous import EdgeType, TypeEncoder, as_one_graph, sizes_of
from gnnzoo.ops import dropout
from gnnzoo.types import Dropout, PositiveInt, Probability

__all__ = ["SimpleHGN", "SimpleHGNConv"]


class SimpleHGNConv(nn.Module):
    r"""One layer :math:`h_i' = \sum_j \alpha_{ij} W h_j + W_{res} h_i` of arXiv 2112.14936 (equations 6 to 9).

    Args:
        in_channels: width of the input.
        out_channels: width of every head.
        num_types: of edges.
        heads: of the attention; their outputs stand side by side.
        edge_channels: width of the learnt vector of each edge type.
        negative_slope: of the attention's leaky ReLU.
        beta: share of the previous layer's attention.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_types: int,
        heads: int,
        edge_channels: int,
        negative_slope: float,
        beta: float,
    ) -> None:
        super().__init__()
        self.heads, self.negative_slope, self.beta = heads, negative_slope, beta
        self.lin = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.residual = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.types = nn.Parameter(torch.empty(num_types, edge_channels))
        self.lin_edge = nn.Linear(edge_channels, heads * edge_channels, bias=False)
        self.source, self.target = (nn.Parameter(torch.empty(heads, out_channels)) for _ in range(2))
        self.edge = nn.Parameter(torch.empty(heads, edge_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew by Xavier's rule."""
        for parameter in self.parameters():
            nn.init.xavier_normal_(parameter)

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_type: Tensor, before: Tensor | None, p: float
    ) -> tuple[Tensor, Tensor]:
        """Return ``[num_nodes, heads * out_channels]`` and the attention ``[num_edges, heads]``.

        Args:
            x: ``[num_nodes, in_channels]``.
            edge_index: ``[2, num_edges]``.
            edge_type: ``[num_edges]``.
            before: attention of the layer before, if there is one.
            p: dropout of the attention, where training.
        """
        source, target = edge_index
        h = self.lin(x).unflatten(1, (self.heads, -1))
        kinds = self.lin_edge(self.types).unflatten(1, (self.heads, -1))
        score = (h * self.source).sum(-1)[source] + (h * self.target).sum(-1)[target]
        score = F.leaky_relu(score + (kinds * self.edge).sum(-1)[edge_type], self.negative_slope)
        alpha = softmax(score, target, num_nodes=len(x))
        if before is not None:
            alpha = (1 - self.beta) * alpha + self.beta * before
        weight = dropout(alpha, p, self.training)
        out = torch.zeros_like(h).index_add_(0, target, weight.unsqueeze(-1) * h[source])
        return out.flatten(1) + self.residual(x), alpha


class SimpleHGN(nn.Module):
    r"""The network of `"Are we really making much progress? Revisiting, benchmarking, and refining heterogeneous graph
    neural networks" <https://arxiv.org/abs/2112.14936>`_ (arXiv 2112.14936, KDD 2021).

    .. math::
        \hat\alpha_{ij} = \mathrm{softmax}_j\, \mathrm{LeakyReLU}\bigl(a^\top [W h_i \Vert W h_j \Vert W_r r_{\psi(ij)}]
        \bigr), \quad \alpha^{(l)} = (1 - \beta) \hat\alpha^{(l)} + \beta \alpha^{(l-1)}, \quad
        h_i' = \sigma\Bigl(\sum_j \alpha_{ij} W h_j + W_{res} h_i\Bigr)

    The logits are the last layer's output with unit norm, times a learnt scale (the paper has unit norm alone).

    Args:
        in_channels: width of every type of nodes that has features.
        out_channels: number of classes.
        num_nodes: size of every type that has none: their nodes get learnt vectors.
        edge_types: relations ``(source, name, target)``; self-loops are one more.
        target: the type of nodes that is classified.
        hidden_channels: width of every head.
        num_layers: number of hidden attention layers; one more gives the classes.
        heads: of the hidden layers.
        edge_channels: width of the learnt vector of each edge type.
        negative_slope: of the attention's leaky ReLU.
        beta: share of the previous layer's attention.
        dropout: before every layer and of the attention.

    Shapes:
        - **input:** ``x_dict`` with ``[num_nodes, in_channels]`` per type, ``edge_index_dict`` with ``[2, num_edges]``
          per relation
        - **output:** logits ``[num_target_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        out_channels: int,
        num_nodes: dict[str, int],
        edge_types: list[EdgeType],
        target: str,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 2,
        heads: PositiveInt = 8,
        edge_channels: PositiveInt = 64,
        negative_slope: Probability = 0.05,
        beta: Probability = 0.05,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.edge_types, self.target, self.dropout = edge_types, target, dropout
        self.encoder = TypeEncoder(in_channels, num_nodes, hidden_channels)
        common = (len(edge_types) + 1, heads, edge_channels, negative_slope, beta)
        widths = [hidden_channels] + [heads * hidden_channels] * num_layers
        layers = [SimpleHGNConv(width, hidden_channels, *common) for width in widths[:-1]]
        self.convs = nn.ModuleList([*layers, SimpleHGNConv(widths[-1], out_channels, *common)])
        self.heads = heads
        self.scale = nn.Parameter(torch.empty(()))
        nn.init.ones_(self.scale)

    @classmethod
    def infer(cls, data: HeteroData) -> dict[str, Any]:
        """Read types and widths from the data."""
        return sizes_of(data)

    def reset_parameters(self) -> None:
        """Draw all parameters anew; the scale starts at 1."""
        for module in (self.encoder, *self.convs):
            module.reset_parameters()
        nn.init.ones_(self.scale)

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[EdgeType, Tensor]) -> Tensor:
        """Return logits of the target type."""
        h, edge_index, edge_type, rows = as_one_graph(self.encoder(x_dict), edge_index_dict, self.edge_types)
        own = torch.arange(len(h), device=h.device)
        edge_index = torch.cat([edge_index, own.expand(2, -1)], dim=1)
        edge_type = torch.cat([edge_type, torch.full_like(own, len(self.edge_types))])
        attention = None
        for number, conv in enumerate(self.convs):
            h = F.elu(h) if number else h
            h, attention = conv(dropout(h, self.dropout, self.training), edge_index, edge_type, attention, self.dropout)
        out = h[rows[self.target]].unflatten(1, (self.heads, -1)).mean(dim=1)
        return self.scale * F.normalize(out, dim=1)

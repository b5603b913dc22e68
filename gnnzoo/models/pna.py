"""Principal neighbourhood aggregation, on PyG's layer."""

from __future__ import annotations

from typing import Any

import torch
from torch_geometric.data.data import BaseData
from torch_geometric.nn import PNAConv

from gnnzoo.errors import ConfigError
from gnnzoo.nn.graph_level import EdgeConvolutions, Pooling
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["PNA", "degree_histogram"]


def degree_histogram(graphs: list[BaseData]) -> list[int]:
    """Return how many nodes have 0, 1, 2, ... incoming edges, over all graphs."""
    degrees = [torch.bincount(g.edge_index[1], minlength=g.num_nodes) for g in graphs]
    return torch.bincount(torch.cat(degrees)).tolist()


class PNA(EdgeConvolutions):
    r"""The network of `"Principal Neighbourhood Aggregation for Graph Nets" <https://arxiv.org/abs/2004.05718>`_
    (arXiv 2004.05718, NeurIPS 2020).

    .. math::
        h_v' = h_v + \mathrm{ReLU}\,\mathrm{BN}\,U\Bigl( h_v,\;
        \begin{bmatrix} 1 \\ S(d_v, 1) \\ S(d_v, -1) \end{bmatrix} \otimes
        \begin{bmatrix} \mu \\ \max \\ \min \\ \sigma \end{bmatrix}_{u \in N(v)} M(h_v, e_{uv}, h_u) \Bigr), \quad
        S(d, \alpha) = \Bigl( \frac{\log(d + 1)}{\delta} \Bigr)^{\alpha}

    where :math:`\delta` is the mean of :math:`\log(d + 1)` over the nodes of the training graphs (equations 5 to 8);
    after :math:`h_v = W x_v + b`, and before pooling and a perceptron.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes or values.
        edge_channels: width of the edge features; 1 where there are none.
        degrees: how many nodes of the training graphs have 0, 1, 2, ... incoming edges.
        hidden_channels: width of all layers.
        num_layers: number of convolutions.
        towers: M, U and the aggregations work on so many parts of the channels; they divide ``hidden_channels``.
        residual: add to each layer's output what came in.
        virtual_node: a node that hears all nodes of its graph and is heard by them.
        pooling: how nodes become graphs.
        dropout: behind each layer and in the last perceptron.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``, ``edge_attr``
          ``[num_edges, edge_channels]`` (optional: each edge has the feature 1), ``batch`` ``[num_nodes]``, which graph
          each node is of (optional: all are of one)
        - **output:** logits ``[num_graphs, out_channels]``

    Raises:
        ConfigError: ``towers`` does not divide ``hidden_channels``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        edge_channels: int,
        degrees: list[int],
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 4,
        towers: PositiveInt = 4,
        residual: bool = True,
        virtual_node: bool = False,
        pooling: Pooling = "sum",
        dropout: Dropout = 0.0,
    ) -> None:
        if hidden_channels % towers:
            raise ConfigError(f"model 'pna': towers={towers} does not divide hidden_channels={hidden_channels}")
        h = hidden_channels
        known = torch.tensor(degrees if sum(degrees[1:]) else [0, 1])  # without any edge there is nothing to scale by

        def conv() -> PNAConv:
            return PNAConv(
                h,
                h,
                aggregators=["mean", "max", "min", "std"],
                scalers=["identity", "amplification", "attenuation"],
                deg=known,
                edge_dim=edge_channels,
                towers=towers,
                divide_input=True,
            )

        super().__init__(in_channels, out_channels, h, num_layers, conv, residual, virtual_node, pooling, dropout)

    @classmethod
    def infer(cls, data: BaseData | list[BaseData]) -> dict[str, Any]:
        """Return the widths of nodes and edges, and the degrees of the graphs that are trained on."""
        return {**super().infer(data), "degrees": degree_histogram(data if isinstance(data, list) else [data])}

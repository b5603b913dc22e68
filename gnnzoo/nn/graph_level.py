"""What networks for whole graphs share: features of edges, a virtual node, and the way from nodes to graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data.data import BaseData
from torch_geometric.nn import MLP, BatchNorm, global_add_pool, global_max_pool, global_mean_pool

__all__ = [
    "NORM",
    "EdgeConvolutions",
    "Pooling",
    "Readout",
    "Representation",
    "VirtualNode",
    "edge_features",
    "graph_sizes",
    "pool",
]

Pooling = Literal["sum", "mean", "max"]

NORM = {"allow_single_element": True}
"""For PyG's BatchNorm: a lone node has no batch statistics, it is normalized by the running ones."""

_POOLINGS: dict[str, Callable[..., Tensor]] = {"sum": global_add_pool, "mean": global_mean_pool, "max": global_max_pool}


def graph_sizes(data: BaseData | list[BaseData]) -> dict[str, int]:
    """Return ``in_channels`` and ``edge_channels`` of one graph or of several; edges without features have one."""
    graph = data[0] if isinstance(data, list) else data
    edge_attr = graph.get("edge_attr")
    width = 1 if edge_attr is None or edge_attr.dim() == 1 else edge_attr.size(1)
    return {"in_channels": graph.num_node_features, "edge_channels": width}


def edge_features(edge_attr: Tensor | None, edge_index: Tensor, like: Tensor) -> Tensor:
    """Return the features of the edges, ``[num_edges, edge_channels]`` of the type of ``like``.

    Edges without features have the one feature 1, so that a linear map of it is a learned vector for all of them.
    """
    if edge_attr is None:
        return like.new_ones(edge_index.size(1), 1)
    return (edge_attr if edge_attr.dim() > 1 else edge_attr.unsqueeze(1)).to(like.dtype)


def pool(h: Tensor, batch: Tensor | None, pooling: str) -> Tensor:
    """Return the sum, mean or maximum over the nodes of each graph, ``[num_graphs, channels]``.

    Args:
        h: ``[num_nodes, channels]``.
        batch: which graph each node is of, ``[num_nodes]``; None: all are of one.
        pooling: ``sum``, ``mean`` or ``max``.
    """
    return _POOLINGS[pooling](h, batch)


class VirtualNode(nn.Module):
    r"""A node that all nodes of its graph hear before each layer, and that hears all of them (`Gilmer et al., 2017
    <https://arxiv.org/abs/1704.01212>`_, section 5.2; `Hu et al., 2020 <https://arxiv.org/abs/2005.00687>`_).

    .. math::
        \tilde h_v^{(l)} = h_v^{(l)} + g^{(l)}, \quad
        g^{(l+1)} = \mathrm{MLP}^{(l)}\Bigl( g^{(l)} + \sum_v \tilde h_v^{(l)} \Bigr)

    where :math:`g^{(0)}` is learned and starts at zero.

    Args:
        channels: width of the nodes.
        num_layers: how many layers hear it.
        dropout: behind each perceptron.
    """

    def __init__(self, channels: int, num_layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, channels))
        self.mlps = nn.ModuleList(
            MLP([channels, 2 * channels, channels], plain_last=False, norm_kwargs=NORM, dropout=dropout)
            for _ in range(num_layers - 1)
        )

    def reset_parameters(self) -> None:
        """Draw the perceptrons anew by PyG's defaults; the start is zero."""
        nn.init.zeros_(self.start)
        for mlp in self.mlps:
            mlp.reset_parameters()  # type: ignore[operator]

    def forward(
        self, layer: int, h: Tensor, state: Tensor | None, batch: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the nodes of a layer work with, and the state for the next.

        Args:
            layer: its number, from 0.
            h: ``[num_nodes, channels]``.
            state: g, ``[num_graphs, channels]``; None for the first layer.
            batch: which graph each node is of, ``[num_nodes]``; None: all are of one.
        """
        state = self.start if state is None else state
        h = h + (state if batch is None or state.size(0) == 1 else state[batch])
        if layer < len(self.mlps):
            state = self.mlps[layer](state + global_add_pool(h, batch))
        return h, state


class Representation(nn.Module):
    """The place where a network shows what it knows of graphs before it predicts; nothing changes there.

    What works on representations, such as a strategy, listens to it with a hook.
    """

    def forward(self, graphs: Tensor, nodes: Sequence[Tensor] = ()) -> Tensor:
        """Return ``graphs``.

        Args:
            graphs: ``[num_graphs, channels]``.
            nodes: one or more ``[num_nodes, channels]`` whose sum is that of the nodes, dimension by dimension.
        """
        return graphs


class Readout(nn.Module):
    """Pool the nodes of each graph, then a perceptron with one hidden layer.

    Args:
        channels: width of the nodes.
        out_channels: number of classes.
        pooling: ``sum``, ``mean`` or ``max``.
        dropout: behind the hidden layer.
    """

    def __init__(self, channels: int, out_channels: int, pooling: str, dropout: float) -> None:
        super().__init__()
        self.pooling = pooling
        self.mlp = MLP([channels, channels, out_channels], norm=None, dropout=dropout)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyG's defaults."""
        self.mlp.reset_parameters()

    def forward(self, h: Tensor, batch: Tensor | None) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``."""
        return self.mlp(pool(h, batch, self.pooling))


class EdgeConvolutions(nn.Module):
    r"""A network whose layers are one kind of convolution on features of nodes and edges.

    .. math::
        h_v^{(l)} = [h_v^{(l-1)} +]\, \mathrm{ReLU}\,\mathrm{BN}\,\mathrm{conv}^{(l)}(h^{(l-1)}, e)_v

    after :math:`h_v^{(0)} = W x_v + b`, and before pooling and a perceptron.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes or values.
        hidden_channels: width of all layers.
        num_layers: number of convolutions.
        conv: makes one, called with ``(h, edge_index, edge_attr)``.
        residual: add to each layer's output what came in.
        virtual_node: a node that hears all nodes of its graph and is heard by them.
        pooling: how nodes become graphs.
        dropout: behind each layer and in the last perceptron.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        num_layers: int,
        conv: Callable[[], nn.Module],
        residual: bool,
        virtual_node: bool,
        pooling: Pooling,
        dropout: float,
    ) -> None:
        super().__init__()
        self.residual, self.dropout = residual, dropout
        self.lin_in = nn.Linear(in_channels, hidden_channels)
        self.convs = nn.ModuleList(conv() for _ in range(num_layers))
        self.norms = nn.ModuleList(BatchNorm(hidden_channels, **NORM) for _ in self.convs)
        self.virtual_node = VirtualNode(hidden_channels, num_layers, dropout) if virtual_node else None
        self.readout = Readout(hidden_channels, out_channels, pooling, dropout)

    @classmethod
    def infer(cls, data: BaseData | list[BaseData]) -> dict[str, Any]:
        """Return the widths of nodes and edges."""
        return graph_sizes(data)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by the defaults of PyTorch and PyG."""
        for module in (self.lin_in, *self.convs, *self.norms, self.virtual_node, self.readout):
            if module is not None:
                module.reset_parameters()

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None, batch: Tensor | None = None
    ) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``."""
        e = edge_features(edge_attr, edge_index, x)
        h, state = self.lin_in(x), None
        for layer, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            if self.virtual_node is not None:
                h, state = self.virtual_node(layer, h, state, batch)
            out = F.dropout(norm(conv(h, edge_index, e)).relu(), self.dropout, self.training)
            h = h + out if self.residual else out
        return self.readout(h, batch)

"""Graph-Mamba: a GPS layer whose attention is one Mamba over all nodes, in the order of their degrees.

Not Graph Mamba Networks (GMN) of arXiv 2402.08678, which are :mod:`gnnzoo.models.graph_mamba`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import MLP, BatchNorm, global_mean_pool
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.nn.gated_gcn import GatedGCNConv
from gnnzoo.nn.mamba import Mamba, undecayed_parameters
from gnnzoo.nn.node_order import apply_in_order, node_key, node_orders
from gnnzoo.nn.sequences import NodeSequences
from gnnzoo.ops import dropout, sparse_linear
from gnnzoo.transforms.positions import LaplacianPositions
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt

__all__ = ["GraphMambaGPS", "GraphMambaLayer"]

_NORM = {"allow_single_element": True}  # a lone node has no batch statistics: it is normalized by the running ones


class GraphMambaGPS(nn.Module):
    r"""Graph-Mamba of `"Graph-Mamba: Towards Long-Range Graph Sequence Modeling with Selective State Spaces"
    <https://arxiv.org/abs/2402.00789>`_ (arXiv 2402.00789).

    .. math::
        H_L = \mathrm{BN}(\mathrm{GatedGCN}(H, E)), \quad
        H_G = \mathrm{BN}\bigl(H + \mathrm{Drop}(\mathrm{Mamba}(H_\pi)_{\pi^{-1}})\bigr), \quad
        H' = \mathrm{BN}\bigl(H_L + H_G + \mathrm{FFN}(H_L + H_G)\bigr)

    with :math:`\pi` the nodes of each graph by degree plus a random number in [0, 1), small to large: one draw in
    training, the mean over five fixed ones in evaluation. Mamba reads in one direction only, and there are no
    subgraphs.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        edge_channels: width of the edge features; None: there are none, and gates depend on nodes alone.
        hidden_channels: width of all layers.
        num_layers: number of layers.
        pe_length: eigenvectors of the Laplacian, each encoded with its eigenvalue and then summed; 0: none.
        pe_channels: width of that encoding, which takes the place of as many of the features' channels.
        buckets: the nodes of a graph are distributed at random among so many sequences (the authors' bucket variants
            have 3).
        state_channels: N of the state space model.
        kernel_size: of its convolution.
        expand: its inner channels per channel.
        dropout: behind GatedGCN and Mamba, and in the FFN.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``edge_index`` ``[2, num_edges]``; ``edge_attr`` ``[num_edges,
          edge_channels]`` unless that is None; ``pe`` ``[num_nodes, 2 * pe_length]`` unless that is 0
          (``pre_transform`` adds it); ``batch`` ``[num_nodes]``, which graph each node is of (optional)
        - **output:** logits ``[num_graphs, out_channels]``; without ``batch``, of nodes, ``[num_nodes, out_channels]``

    Raises:
        ConfigError: ``pe_channels`` leaves no room for the features.
        DataError: in ``forward``, ``pe`` or ``edge_attr`` is missing.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        edge_channels: PositiveInt | None = None,
        hidden_channels: PositiveInt = 96,
        num_layers: PositiveInt = 4,
        pe_length: NonNegativeInt = 0,
        pe_channels: PositiveInt = 16,
        buckets: PositiveInt = 1,
        state_channels: PositiveInt = 16,
        kernel_size: PositiveInt = 4,
        expand: PositiveInt = 1,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        if pe_length and pe_channels >= hidden_channels:
            raise ConfigError(f"pe_channels={pe_channels} leaves no room in hidden_channels={hidden_channels}")
        self.pe_length, self.buckets = pe_length, buckets
        h = hidden_channels
        self.lin_in = nn.Linear(in_channels, h - pe_channels if pe_length else h)
        # the DeepSet: each (eigenvector's entry, eigenvalue) by itself, then the sum, which comes before the last map
        self.pe_inner = MLP([2, 2 * pe_channels, pe_channels], norm=None, plain_last=False) if pe_length else None
        self.pe_outer = MLP([pe_channels, pe_channels], norm=None, plain_last=False) if pe_length else None
        self.lin_edge = None if edge_channels is None else nn.Linear(edge_channels, h)
        self.layers = nn.ModuleList(
            GraphMambaLayer(h, edge_channels is not None, state_channels, kernel_size, expand, dropout)
            for _ in range(num_layers)
        )
        self.lin_out = MLP([h, h // 2 or 1, out_channels], norm=None)

    @classmethod
    def infer(cls, data: Any) -> dict[str, Any]:
        """Take the widths from the data; edge features count where they are a matrix of real numbers."""
        graph = data if hasattr(data, "num_node_features") else data[0]
        edge_attr: Any = getattr(graph, "edge_attr", None)
        sizes = {"in_channels": graph.num_node_features} if graph.num_node_features else {}
        if edge_attr is not None and edge_attr.dim() == 2 and edge_attr.is_floating_point():
            sizes["edge_channels"] = edge_attr.size(1)
        return sizes

    @classmethod
    def pre_transform(cls, pe_length: int = 0, **_: Any) -> BaseTransform | None:
        """Return the transform that adds eigenvectors and eigenvalues as ``pe``."""
        return LaplacianPositions(pe_length, values=True) if pe_length else None

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of the state space models that Mamba's authors train without weight decay."""
        return {"ssm": undecayed_parameters(self)}

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by the defaults of PyTorch and Mamba."""
        for module in (self.lin_in, self.pe_inner, self.pe_outer, self.lin_edge, *self.layers, self.lin_out):
            if module is not None:
                module.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        pe: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``, or ``[num_nodes, out_channels]`` without ``batch``."""
        n = x.size(0)
        h = sparse_linear(x, self.lin_in.weight, self.lin_in.bias)
        if self.pe_length:
            h = torch.cat([h, self._positions(pe)], dim=1)
        edges = None
        if self.lin_edge is not None:
            if edge_attr is None:
                raise DataError("model 'graph-mamba-gps' has edge_channels, but the graph has no edge_attr")
            edges = self.lin_edge(edge_attr)
        key = node_key(edge_index, n)
        num_graphs = None if batch is None else 1 + (int(batch.max()) if n else -1)
        for layer in self.layers:
            orders = node_orders(key, batch, num_graphs, "average", self.training, self.buckets)
            h, edges = layer(h, edge_index, edges, orders)
        if batch is not None:
            h = global_mean_pool(h, batch, num_graphs)
        return self.lin_out(h)

    def _positions(self, pe: Tensor | None) -> Tensor:
        """Return the encoding of the positions, ``[num_nodes, pe_channels]``; in training, signs are drawn."""
        if pe is None or pe.size(-1) != 2 * self.pe_length:
            raise DataError(
                f"model 'graph-mamba-gps' has pe_length={self.pe_length}, but the graph has no pe of width "
                f"{2 * self.pe_length}: apply GraphMambaGPS.pre_transform to it"
            )
        vectors, values = pe.chunk(2, dim=1)
        if self.training:
            vectors = vectors * (torch.randint(0, 2, (self.pe_length,), device=pe.device) * 2 - 1)
        pairs = torch.stack([vectors, values], dim=2).flatten(0, 1)
        encoded = self.pe_inner(pairs).view(pe.size(0), self.pe_length, -1)  # type: ignore[misc]
        return self.pe_outer(encoded.sum(1))  # type: ignore[misc]


class GraphMambaLayer(nn.Module):
    """GatedGCN beside Mamba, then a perceptron: the equations of :class:`GraphMambaGPS`.

    Args:
        channels: width of nodes and edges.
        edges: whether edges have features.
        state_channels, kernel_size, expand: of Mamba.
        dropout: behind GatedGCN and Mamba, and in the perceptron.
    """

    def __init__(
        self,
        channels: int,
        edges: bool = False,
        state_channels: int = 16,
        kernel_size: int = 4,
        expand: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.conv = GatedGCNConv(channels, channels, channels if edges else None, dropout=dropout)
        self.mamba = Mamba(channels, state_channels, kernel_size, expand)
        self.norm_local, self.norm_global, self.norm_out = (BatchNorm(channels, **_NORM) for _ in range(3))
        self.lin1, self.lin2 = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in (self.conv, self.mamba, self.norm_local, self.norm_global, self.norm_out, self.lin1, self.lin2):
            module.reset_parameters()

    def forward(
        self, h: Tensor, edge_index: Tensor, edges: Tensor | None, orders: list[NodeSequences]
    ) -> tuple[Tensor, Tensor | None]:
        """Return nodes ``[num_nodes, channels]`` and edges ``[num_edges, channels]`` (or None)."""
        local, edges = self.conv(h, edge_index, edges)
        read = apply_in_order(self.mamba, h, orders)
        read = self.norm_global(h + dropout(read, self.dropout, self.training))
        h = self.norm_local(local) + read
        inner = dropout(self.lin1(h).relu(), self.dropout, self.training)
        return self.norm_out(h + dropout(self.lin2(inner), self.dropout, self.training)), edges

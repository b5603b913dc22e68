"""GraphGPS: message passing beside global attention, on PyG's layer."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from torch_geometric.nn import MLP, BatchNorm, GINConv, GPSConv, MessagePassing, ResGatedGraphConv
from torch_geometric.transforms import AddRandomWalkPE, BaseTransform

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.nn.convolutions import GATConv, GCNConv, SAGEConv
from gnnzoo.ops import sparse_linear
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt

__all__ = ["GPS"]

_NORM = {"allow_single_element": True}  # a lone node has no batch statistics: it is normalized by the running ones


class _Attention(nn.MultiheadAttention):
    """PyTorch's attention; without padding it gets no mask, and so runs without a ``[nodes, nodes]`` matrix."""

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, **settings: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Return what PyTorch's layer returns, ``[graphs, nodes, channels]`` and the coefficients if asked for."""
        if key_padding_mask is not None and not bool(key_padding_mask.any()):
            key_padding_mask = None
        return super().forward(query, key, value, key_padding_mask, **settings)

    def _reset_parameters(self) -> None:
        self.out_proj.reset_parameters()  # which PyTorch leaves as it is
        super()._reset_parameters()


class GPS(nn.Module):
    r"""The network of `"Recipe for a General, Powerful, Scalable Graph Transformer"
    <https://arxiv.org/abs/2205.12454>`_ (arXiv 2205.12454, NeurIPS 2022), for nodes.

    .. math::
        X_M = \mathrm{BN}\bigl(X + \mathrm{MPNN}(X, A)\bigr), \quad
        X_T = \mathrm{BN}\bigl(X + \mathrm{Attention}(X)\bigr), \quad
        X' = \mathrm{BN}\bigl(X_M + X_T + \mathrm{MLP}(X_M + X_T)\bigr)

    (equations 1 to 4, with dropout on each of the three branches), after :math:`X = W x + W_p\,\mathrm{BN}(p)` for
    random-walk return probabilities :math:`p`, and before a linear layer. Attention is among all nodes of a graph.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers.
        num_layers: number of layers, each local and global.
        heads: attention heads; they divide ``hidden_channels``.
        conv: the message passing.
        attention: softmax attention between all pairs of nodes, or Performer's, linear in their number.
        walk_length: how many return probabilities a node's position is described by; 0 for none.
        dropout: after message passing, attention and each layer of the perceptron.
        attention_dropout: on the attention coefficients.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``, ``pe``
          ``[num_nodes, walk_length]`` (unless ``walk_length`` is 0; ``pre_transform`` adds it), ``batch``
          ``[num_nodes]`` (optional: which graph each node is of)
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 4,
        heads: PositiveInt = 4,
        conv: Literal["gcn", "sage", "gat", "gin", "gated"] = "gated",
        attention: Literal["multihead", "performer"] = "multihead",
        walk_length: NonNegativeInt = 0,
        dropout: Dropout = 0.2,
        attention_dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        if hidden_channels % heads:
            raise ConfigError(f"model 'gps': heads={heads} does not divide hidden_channels={hidden_channels}")
        self.walk_length = walk_length
        self.lin_in = nn.Linear(in_channels, hidden_channels)
        self.norm_pe = BatchNorm(walk_length, **_NORM) if walk_length else None
        self.lin_pe = nn.Linear(walk_length, hidden_channels, bias=False) if walk_length else None
        self.layers = nn.ModuleList(
            _layer(hidden_channels, heads, conv, attention, dropout, attention_dropout) for _ in range(num_layers)
        )
        self.lin_out = nn.Linear(hidden_channels, out_channels)

    @classmethod
    def pre_transform(cls, walk_length: int = 0, **_: Any) -> BaseTransform | None:
        """Return the transform that adds the return probabilities of random walks as ``pe``."""
        return AddRandomWalkPE(walk_length, attr_name="pe") if walk_length else None

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by the defaults of PyTorch and PyG."""
        for module in (self.lin_in, self.norm_pe, self.lin_pe, *self.layers, self.lin_out):
            if module is not None:
                module.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, pe: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        h = sparse_linear(x, self.lin_in.weight, self.lin_in.bias)
        if self.lin_pe is not None:
            if pe is None:
                raise DataError("model 'gps' has walk_length, but the graph has no pe: apply GPS.pre_transform to it")
            h = h + self.lin_pe(self.norm_pe(pe))  # type: ignore[misc]
        for layer in self.layers:
            h = layer(h, edge_index, batch)
        return self.lin_out(h)


def _layer(channels: int, heads: int, conv: str, attention: str, dropout: float, attention_dropout: float) -> GPSConv:
    performer = attention == "performer"
    layer = GPSConv(
        channels,
        _message_passing(conv, channels),
        heads,
        dropout,
        norm_kwargs=_NORM,
        attn_type=attention,
        attn_kwargs={"head_channels": channels // heads, "dropout": attention_dropout} if performer else {},
    )
    if not performer:
        layer.attn = _Attention(channels, heads, dropout=attention_dropout, batch_first=True)
    return layer


def _message_passing(conv: str, channels: int) -> MessagePassing:
    if conv == "gin":
        return GINConv(MLP([channels, channels, channels], norm=None))
    kinds = {"gcn": GCNConv, "sage": SAGEConv, "gat": GATConv, "gated": ResGatedGraphConv}
    return kinds[conv](channels, channels)

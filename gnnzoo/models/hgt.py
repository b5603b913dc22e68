"""HGT: attention whose maps depend on the types of both nodes and of the edge."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HGTConv

from gnnzoo.errors import ConfigError
from gnnzoo.nn.heterogeneous import EdgeType, TypeEncoder, sizes_of
from gnnzoo.ops import dropout
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["HGT"]


class HGT(nn.Module):
    r"""The network of `"Heterogeneous Graph Transformer" <https://arxiv.org/abs/2003.01332>`_ (arXiv 2003.01332), on
    PyG's layer.

    .. math::
        h_t' = W_{\tau(t)}\, \sigma\Bigl(\Vert_i \sum_s \mathrm{softmax}_s\bigl(K_i(s)\, W^{att}_{\phi(e)}
        Q_i(t)^\top \mu_e / \sqrt d\bigr)\, V_i(s)\, W^{msg}_{\phi(e)}\Bigr) + h_t

    Args:
        in_channels: width of every type of nodes that has features.
        out_channels: number of classes.
        num_nodes: size of every type that has none: their nodes get learnt vectors.
        edge_types: relations ``(source, name, target)``.
        target: the type of nodes that is classified.
        hidden_channels: width of the hidden layers; a multiple of ``heads``.
        num_layers: number of convolutions.
        heads: of the attention.
        dropout: before every layer.

    Shapes:
        - **input:** ``x_dict`` with ``[num_nodes, in_channels]`` per type, ``edge_index_dict`` with ``[2, num_edges]``
          per relation
        - **output:** logits ``[num_target_nodes, out_channels]``

    Raises:
        ConfigError: heads do not divide the width.
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
        heads: PositiveInt = 4,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        if hidden_channels % heads:
            raise ConfigError(f"hidden_channels={hidden_channels} is no multiple of heads={heads}")
        self.target, self.dropout = target, dropout
        self.encoder = TypeEncoder(in_channels, num_nodes, hidden_channels)
        metadata = ([*in_channels, *num_nodes], edge_types)
        self.convs = nn.ModuleList(
            HGTConv(hidden_channels, hidden_channels, metadata, heads) for _ in range(num_layers)
        )
        self.out = nn.Linear(hidden_channels, out_channels)

    @classmethod
    def infer(cls, data: HeteroData) -> dict[str, Any]:
        """Read types and widths from the data."""
        return sizes_of(data)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in (self.encoder, *self.convs, self.out):
            module.reset_parameters()

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[EdgeType, Tensor]) -> Tensor:
        """Return logits of the target type."""
        h = {kind: dropout(value.relu(), self.dropout, self.training) for kind, value in self.encoder(x_dict).items()}
        for conv in self.convs:
            new = conv(h, edge_index_dict)
            h = {kind: dropout(new.get(kind, value), self.dropout, self.training) for kind, value in h.items()}
        return self.out(h[self.target])

"""R-GCN: one linear map per relation, averaged over the neighbours of each."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import RGCNConv

from gnnzoo.nn.heterogeneous import EdgeType, TypeEncoder, as_one_graph, sizes_of
from gnnzoo.ops import dropout
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["RGCN"]


class RGCN(nn.Module):
    r"""The network of `"Modeling Relational Data with Graph Convolutional Networks"
    <https://arxiv.org/abs/1703.06103>`_ (arXiv 1703.06103, equation 2), on PyG's layer.

    .. math::
        h_v' = \sigma\Bigl(W_0 h_v + \sum_r \frac{1}{|N_r(v)|} \sum_{u \in N_r(v)} W_r h_u\Bigr)

    Args:
        in_channels: width of every type of nodes that has features.
        out_channels: number of classes.
        num_nodes: size of every type that has none: their nodes get learnt vectors.
        edge_types: relations ``(source, name, target)``.
        target: the type of nodes that is classified.
        hidden_channels: width of the hidden layers.
        num_layers: number of convolutions.
        num_bases: maps of relations are combinations of so many; None: each has its own.
        dropout: before every convolution.

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
        num_bases: PositiveInt | None = None,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.edge_types, self.target, self.dropout = edge_types, target, dropout
        self.encoder = TypeEncoder(in_channels, num_nodes, hidden_channels)
        widths = [hidden_channels] * num_layers + [out_channels]
        self.convs = nn.ModuleList(
            RGCNConv(*pair, num_relations=max(len(edge_types), 1), num_bases=num_bases) for pair in pairwise(widths)
        )

    @classmethod
    def infer(cls, data: HeteroData) -> dict[str, Any]:
        """Read types and widths from the data."""
        return sizes_of(data)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.encoder.reset_parameters()
        for conv in self.convs:
            conv.reset_parameters()  # type: ignore[operator]

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[EdgeType, Tensor]) -> Tensor:
        """Return logits of the target type."""
        h, edge_index, edge_type, rows = as_one_graph(self.encoder(x_dict), edge_index_dict, self.edge_types)
        for conv in self.convs:
            h = conv(dropout(h.relu(), self.dropout, self.training), edge_index, edge_type)
        return h[rows[self.target]]

"""HAN: attention over the neighbours along every metapath, then over the metapaths."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HANConv
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import DataError
from gnnzoo.nn.heterogeneous import EdgeType, TypeEncoder, sizes_of
from gnnzoo.ops import dropout
from gnnzoo.transforms.metapaths import MetapathNeighbours
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["HAN"]


class HAN(nn.Module):
    r"""The network of `"Heterogeneous Graph Attention Network" <https://arxiv.org/abs/1903.07293>`_ (arXiv 1903.07293),
    on PyG's layer.

    .. math::
        z_i^\Phi = \Vert_k\, \sigma\Bigl(\sum_{j \in N_i^\Phi} \alpha_{ij}^\Phi W x_j\Bigr), \quad
        z_i = \sum_\Phi \mathrm{softmax}_\Phi\Bigl(\tfrac 1 n \sum_i q^\top \tanh(W' z_i^\Phi + b)\Bigr) z_i^\Phi

    with the metapaths :math:`\Phi` that :class:`gnnzoo.transforms.metapaths.MetapathNeighbours` makes.

    Args:
        in_channels: width of the labelled type's features.
        out_channels: number of classes.
        num_nodes: size of the labelled type where it has no features: its nodes get learnt vectors.
        edge_types: the metapaths.
        target: the type of nodes that is classified.
        hidden_channels: width of the hidden layer; a multiple of ``heads``.
        heads: of the attention.
        negative_slope: of the attention's leaky ReLU.
        dropout: of features, attention and hidden layer.
        metapaths: types of nodes from the labelled type back to it; None: one step out and back, over every other type,
            and the relations within the labelled one.

    Shapes:
        - **input:** ``x_dict`` with ``[num_targets, in_channels]``, ``edge_index_dict`` with ``[2, num_edges]`` per
          metapath
        - **output:** logits ``[num_targets, out_channels]``
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        out_channels: int,
        num_nodes: dict[str, int],
        edge_types: list[EdgeType],
        target: str,
        hidden_channels: PositiveInt = 64,
        heads: PositiveInt = 8,
        negative_slope: float = 0.2,
        dropout: Dropout = 0.6,
        metapaths: list[list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.target, self.dropout = target, dropout
        self.encoder = TypeEncoder(in_channels, num_nodes, hidden_channels)
        self.conv = HANConv(hidden_channels, hidden_channels, ([target], edge_types), heads, negative_slope, dropout)
        self.out = nn.Linear(hidden_channels, out_channels)

    @classmethod
    def pre_transform(cls, metapaths: list[list[str]] | None = None, **_: Any) -> BaseTransform:
        """Follow the metapaths once, before training."""
        return MetapathNeighbours(metapaths)

    @classmethod
    def infer(cls, data: HeteroData) -> dict[str, Any]:
        """Read widths and metapaths from the transformed data."""
        sizes = sizes_of(data)
        if any({source, end} != {sizes["target"]} for source, _, end in sizes["edge_types"]):
            raise DataError("HAN needs metapaths: apply HAN.pre_transform(...) to the data first")
        return sizes

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in (self.encoder, self.conv, self.out):
            module.reset_parameters()

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[EdgeType, Tensor]) -> Tensor:
        """Return logits of the target type."""
        h = {kind: dropout(value, self.dropout, self.training) for kind, value in self.encoder(x_dict).items()}
        out = self.conv(h, edge_index_dict)[self.target]
        return self.out(dropout(out, self.dropout, self.training))

"""A model whose features are computed once, before training: ``pre_transform``, and ``infer`` on what it made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gnnzoo.ops import gcn_norm, spmm
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["SIGN", "PropagatedFeatures"]


class PropagatedFeatures(BaseTransform):
    r"""Add ``blocks``: :math:`[X, \hat A X, \dots, \hat A^K X]`, ``[num_nodes, K + 1, num_features]``.

    Args:
        K: the highest power.
    """

    def __init__(self, K: int) -> None:
        self.K = K

    def forward(self, data: Data) -> Data:
        """Return the graph with its ``blocks``."""
        adj = gcn_norm(data.edge_index, data.num_nodes, dtype=torch.float64)
        blocks = [data.x.double()]  # what is computed once can be computed well
        for _ in range(self.K):
            blocks.append(spmm(adj, blocks[-1]))
        data.blocks = torch.stack(blocks, dim=1).to(data.x.dtype)
        return data


class SIGN(nn.Module):
    r"""The network of `"SIGN: Scalable Inception Graph Neural Networks" <https://arxiv.org/abs/2004.11198>`_
    (arXiv 2004.11198, equation 1) with powers of one operator.

    .. math:: Y = \mathrm{ReLU}\bigl(\Vert_{k=0}^{K} \hat A^k X W_k\bigr) \Omega

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        num_blocks: how many powers the transform has left in the data.
        K: the highest power; read by the transform alone.
        hidden_channels: width of every block's hidden layer.
        dropout: before the output layer.

    Shapes:
        - **input:** ``blocks`` ``[num_nodes, num_blocks, in_channels]``
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        K: PositiveInt = 2,
        hidden_channels: PositiveInt = 16,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.blocks = nn.ModuleList(nn.Linear(in_channels, hidden_channels) for _ in range(num_blocks))
        self.out = nn.Linear(num_blocks * hidden_channels, out_channels)

    @classmethod
    def pre_transform(cls, K: int, **_: Any) -> BaseTransform:
        """Return what is computed once per dataset, and kept on disk."""
        return PropagatedFeatures(K)

    @classmethod
    def infer(cls, data: Data | list[Data]) -> dict[str, int]:
        """Read the sizes from the transformed data."""
        first = data[0] if isinstance(data, list) else data
        return {"num_blocks": first.blocks.size(1), "in_channels": first.blocks.size(2)}

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in (*self.blocks, self.out):
            module.reset_parameters()

    def forward(self, blocks: Tensor) -> Tensor:
        """Return logits."""
        h = torch.cat([lin(blocks[:, k]) for k, lin in enumerate(self.blocks)], dim=1).relu()
        return self.out(F.dropout(h, self.dropout, self.training))

"""Simple graph convolution: a linear classifier on smoothed features, on PyG's layer."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.nn import SGConv

from gnnzoo.ops import gcn_norm, sparse_linear, spmm
from gnnzoo.types import Dropout, NonNegativeInt

__all__ = ["SGC"]


class _Convolution(SGConv):
    """PyG's layer; it multiplies by the weights first, so that only as many columns as classes are propagated."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None, dropout: float) -> Tensor:
        """Return ``[num_nodes, out_channels]``."""
        z = sparse_linear(x, self.lin.weight, None, dropout, self.training)
        adj = gcn_norm(edge_index, x.size(0), edge_weight, dtype=z.dtype)
        for _ in range(self.K):
            z = spmm(adj, z)
        return z + self.lin.bias


class SGC(nn.Module):
    r"""The model of `"Simplifying Graph Convolutional Networks" <https://arxiv.org/abs/1902.07153>`_
    (arXiv 1902.07153, ICML 2019).

    .. math::
        Y = \hat A^K X W + b, \quad \hat A = \tilde D^{-1/2} (A + I) \tilde D^{-1/2}

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        K: number of propagations.
        dropout: on the features; the paper has none.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]`` (a node that has a self-loop
          keeps it, the others get one), ``edge_weight`` ``[num_edges]`` (optional)
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(self, in_channels: int, out_channels: int, K: NonNegativeInt = 2, dropout: Dropout = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.conv = _Convolution(in_channels, out_channels, K)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        self.conv.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        return self.conv(x, edge_index, edge_weight, self.dropout)

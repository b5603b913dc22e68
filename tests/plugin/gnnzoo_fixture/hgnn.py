"""A model on hypergraphs, for nodes and, with ``batch``, for whole hypergraphs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import global_mean_pool
from torch_geometric.utils import scatter

from gnnzoo.types import Dropout, PositiveInt

__all__ = ["HypergraphNet"]


class HypergraphNet(nn.Module):
    r"""Means over hyperedges, then over the hyperedges of a node, after `"Hypergraph Neural Networks"
    <https://arxiv.org/abs/1809.09401>`_ (arXiv 1809.09401, equation 11, with means in place of its normalization).

    .. math::
        h_v = \mathrm{ReLU}\Bigl(W_0 x_v + \frac{1}{d_v} \sum_{e \ni v} \frac{1}{|e|} \sum_{u \in e} W_1 x_u\Bigr)

    Args:
        in_channels: width of the node features.
        out_channels: number of classes, or of values.
        hidden_channels: width of the hidden layer.
        dropout: before the output layer.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``hyperedge_index`` ``[2, num_incidences]``,
          ``num_hyperedges`` (optional: empty hyperedges included), ``batch`` ``[num_nodes]`` (optional)
        - **output:** ``[num_nodes, out_channels]``; with ``batch``, ``[num_hypergraphs, out_channels]``
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden_channels: PositiveInt = 16, dropout: Dropout = 0.5
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.root = nn.Linear(in_channels, hidden_channels)
        self.message = nn.Linear(in_channels, hidden_channels, bias=False)
        self.out = nn.Linear(hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in (self.root, self.message, self.out):
            module.reset_parameters()

    def forward(
        self, x: Tensor, hyperedge_index: Tensor, num_hyperedges: int | None = None, batch: Tensor | None = None
    ) -> Tensor:
        """Return logits or values."""
        nodes, hyperedges = hyperedge_index
        means = scatter(self.message(x)[nodes], hyperedges, dim_size=num_hyperedges, reduce="mean")
        h = (self.root(x) + scatter(means[hyperedges], nodes, dim_size=x.size(0), reduce="mean")).relu()
        if batch is not None:
            h = global_mean_pool(h, batch)
        return self.out(F.dropout(h, self.dropout, self.training))

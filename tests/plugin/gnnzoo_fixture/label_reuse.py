"""A model that reads its neighbours' training labels: a ``pre_transform`` that says so by ``uses_labels``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import remove_self_loops

from gnnzoo.ops import spmm
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["LabelReuse", "NeighborLabels"]


class NeighborLabels(BaseTransform):
    """Append to ``x`` the shares of the classes among a node's labelled neighbours; its own label is left out.

    The runner hands over ``y`` with the training labels alone (the others are -1) and ``train_mask``.
    """

    uses_labels = True

    def forward(self, data: Data) -> Data:
        """Return the graph with the wider ``x``."""
        known = data.train_mask.nonzero().flatten()
        labels = F.one_hot(data.y[known]).to(data.x.dtype)
        seen = labels.new_zeros(data.num_nodes, labels.size(1)).index_copy(0, known, labels)
        counts = spmm(remove_self_loops(data.edge_index)[0], seen)
        data.x = torch.cat([data.x, counts / counts.sum(dim=1, keepdim=True).clamp(min=1)], dim=1)
        return data


class LabelReuse(nn.Module):
    r"""A perceptron on features and neighbours' labels, the label trick of `"Bag of Tricks for Node Classification with
    Graph Neural Networks" <https://arxiv.org/abs/2103.13355>`_ (arXiv 2103.13355) at its simplest.

    .. math:: y_v = W_2\, \mathrm{ReLU}\Bigl(W_1 \bigl[x_v \,\Vert\, \mathrm{mean}_{u \in N(v) \cap T}\, y_u\bigr]\Bigr)

    Args:
        in_channels: width of the transformed node features.
        out_channels: number of classes.
        hidden_channels: width of the hidden layer.
        dropout: before the output layer.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden_channels: PositiveInt = 16, dropout: Dropout = 0.5
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.hidden = nn.Linear(in_channels, hidden_channels)
        self.out = nn.Linear(hidden_channels, out_channels)

    @classmethod
    def pre_transform(cls, **_: Any) -> BaseTransform:
        """Return what is computed once per split."""
        return NeighborLabels()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.hidden.reset_parameters()
        self.out.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.out(F.dropout(self.hidden(x).relu(), self.dropout, self.training))

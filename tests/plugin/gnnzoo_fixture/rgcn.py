"""A model on heterogeneous graphs, whose sizes ``infer`` reads from the data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import HeteroData
from torch_geometric.utils import scatter

from gnnzoo.types import Dropout, PositiveInt

__all__ = ["RelationalGCN"]

EdgeType = tuple[str, str, str]


class RelationalGCN(nn.Module):
    r"""One relational convolution of `"Modeling Relational Data with Graph Convolutional Networks"
    <https://arxiv.org/abs/1703.06103>`_ (arXiv 1703.06103, equation 2), into the type of nodes that has labels.

    .. math::
        h_v = \mathrm{ReLU}\Bigl(W_0 z_v + \sum_r \frac{1}{|N_r(v)|} \sum_{u \in N_r(v)} W_r z_u\Bigr), \quad
        z_u = W_{\tau(u)} x_u

    Args:
        in_channels: width of the features of every type of nodes that sends or receives.
        out_channels: number of classes.
        edge_types: relations ``(source, name, target)`` that are used.
        target: the type of nodes that the output is about.
        hidden_channels: width of the hidden layers.
        dropout: before the output layer.

    Shapes:
        - **input:** ``x_dict`` with ``[num_nodes, in_channels]`` per type, ``edge_index_dict`` with ``[2, num_edges]``
          per relation
        - **output:** logits ``[num_target_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        out_channels: int,
        edge_types: list[EdgeType],
        target: str,
        hidden_channels: PositiveInt = 16,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.edge_types, self.target, self.dropout = edge_types, target, dropout
        self.encoders = nn.ModuleDict({t: nn.Linear(width, hidden_channels) for t, width in in_channels.items()})
        self.relations = nn.ModuleList(nn.Linear(hidden_channels, hidden_channels, bias=False) for _ in edge_types)
        self.root = nn.Linear(hidden_channels, hidden_channels)
        self.out = nn.Linear(hidden_channels, out_channels)

    @classmethod
    def infer(cls, data: HeteroData) -> dict[str, Any]:
        """Return the relations into the labelled type and the widths of the types that take part."""
        target = next((t for t in data.node_types if "y" in data[t]), data.node_types[0])
        edge_types = [edge_type for edge_type in data.edge_types if edge_type[2] == target]
        senders = dict.fromkeys([target, *(source for source, _, _ in edge_types)])
        return {
            "in_channels": {t: data[t].num_features for t in senders},
            "edge_types": edge_types,
            "target": target,
        }

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in (*self.encoders.values(), *self.relations, self.root, self.out):
            module.reset_parameters()

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[EdgeType, Tensor]) -> Tensor:
        """Return logits of the target type."""
        z = {t: encoder(x_dict[t]).relu() for t, encoder in self.encoders.items()}
        h = self.root(z[self.target])
        for edge_type, relation in zip(self.edge_types, self.relations, strict=True):
            source, target = edge_index_dict[edge_type]
            messages = relation(z[edge_type[0]])[source]
            h = torch.add(h, scatter(messages, target, dim_size=len(h), reduce="mean"))
        return self.out(F.dropout(h.relu(), self.dropout, self.training))

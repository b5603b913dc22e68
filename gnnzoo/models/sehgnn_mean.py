"""Means along metapaths, computed once, and a perceptron on them: what SeHGNN builds upon."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import DataError
from gnnzoo.ops import dropout
from gnnzoo.transforms.metapaths import MetapathMeans
from gnnzoo.transforms.projection import target_type, unpack
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["SeHGNNMean"]


class SeHGNNMean(nn.Module):
    r"""The pre-computation of `"Simple and Efficient Heterogeneous Graph Neural Network"
    <https://arxiv.org/abs/2207.02547>`_ (arXiv 2207.02547, AAAI 2023) under a perceptron.

    .. math::
        M_P = P_{t_0 \leftarrow t_1} \cdots P_{t_{k-1} \leftarrow t_k} X_{t_k}, \quad
        \mathrm{logits} = \mathrm{MLP}\bigl(\mathrm{PReLU}(\Vert_P M_P W_P + b_P)\bigr)

    for every metapath P of at most ``num_hops`` steps that ends at the labelled type.

    Args:
        in_channels: width of every metapath's features, in their order.
        out_channels: number of classes.
        target: the type of nodes that is classified.
        hidden_channels: width of every metapath's part, and of the hidden layer.
        num_hops: steps of the longest metapath.
        input_dropout: on the means.
        dropout: behind every hidden layer.

    Shapes:
        - **input:** ``x_dict`` with ``[num_targets, sum of in_channels]`` for the labelled type
        - **output:** logits ``[num_targets, out_channels]``

    Raises:
        DataError: in ``infer``, data on which the transform was not applied.
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        out_channels: int,
        target: str,
        hidden_channels: PositiveInt = 64,
        num_hops: PositiveInt = 2,
        input_dropout: Dropout = 0.1,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.target, self.input_dropout, self.dropout = target, input_dropout, dropout
        self.layout = {name: [1, width] for name, width in in_channels.items()}
        self.lins = nn.ModuleList(nn.Linear(width, hidden_channels) for width in in_channels.values())
        self.act = nn.PReLU()
        self.hidden = nn.Linear(len(in_channels) * hidden_channels, hidden_channels)
        self.act_hidden = nn.PReLU()
        self.out = nn.Linear(hidden_channels, out_channels)

    @classmethod
    def pre_transform(cls, num_hops: int = 2, **_: Any) -> BaseTransform:
        """Compute the means once, before training."""
        return MetapathMeans(num_hops)

    @classmethod
    def infer(cls, data: HeteroData) -> dict[str, Any]:
        """Read the metapaths that the transform has left in the data."""
        target = target_type(data)
        groups = data[target].get("groups")
        if groups is None:
            raise DataError(f"{target} nodes have no groups: apply SeHGNNMean.pre_transform(...) to the data first")
        return {"in_channels": {name: width for name, (_, width) in groups.items()}, "target": target}

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for module in (*self.lins, self.act, self.hidden, self.act_hidden, self.out):
            module.reset_parameters()

    def forward(self, x_dict: dict[str, Tensor]) -> Tensor:
        """Return logits of the target type."""
        x = dropout(x_dict[self.target], self.input_dropout, self.training)
        parts = [lin(mean.flatten(1)) for lin, mean in zip(self.lins, unpack(x, self.layout).values(), strict=True)]
        h = dropout(self.act(torch.cat(parts, dim=1)), self.dropout, self.training)
        return self.out(dropout(self.act_hidden(self.hidden(h)), self.dropout, self.training))

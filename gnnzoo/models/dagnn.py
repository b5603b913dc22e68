"""Deep Adaptive Graph Neural Network: transform first, then propagate, then let every node weigh its hops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import BatchNorm

from gnnzoo.ops import gcn_norm, sparse_linear, spmm
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt

__all__ = ["DAGNN"]


class DAGNN(nn.Module):
    r"""The network of `"Towards Deeper Graph Neural Networks" <https://arxiv.org/abs/2007.09296>`_ (arXiv 2007.09296).

    .. math::
        Z_0 = W_2\,\mathrm{ReLU}(W_1 X), \quad Z_k = \hat A Z_{k-1}, \quad
        Y = \sum_{k=0}^{K} \sigma(Z_k w + b) \odot Z_k

    with :math:`\hat A = \tilde D^{-1/2} (A + I) \tilde D^{-1/2}` and one gate :math:`(w, b)` for all nodes and hops.
    The scores are independent sigmoids, not a softmax.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes; propagation is on this width.
        hidden_channels: width of the hidden layer.
        K: number of propagations.
        dropout: on the features and on the hidden layer, never on what is propagated.
        batch_norm: the authors' variant for ogbn-arxiv: batch normalization before the ReLU, no dropout on features.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]`` with both directions of each
          edge (a node that has a self-loop keeps it, the others get one), ``edge_weight`` ``[num_edges]`` (optional)
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        K: NonNegativeInt = 10,
        dropout: Dropout = 0.8,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.K, self.dropout = K, dropout
        self.lin1 = nn.Linear(in_channels, hidden_channels)
        # a lone node has no batch statistics: it is normalized by the running ones
        self.norm = BatchNorm(hidden_channels, allow_single_element=True) if batch_norm else None
        self.lin2 = nn.Linear(hidden_channels, out_channels)
        self.gate = nn.Linear(out_channels, 1)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for module in (self.lin1, self.norm, self.lin2, self.gate):
            if module is not None:
                module.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        z = self.transform(x)
        adj = gcn_norm(edge_index, x.size(0), edge_weight, dtype=z.dtype)
        out = torch.sigmoid(self.gate(z)) * z
        for _ in range(self.K):  # summed as it goes: without gradients, two hops are alive at a time and not K + 1
            z = spmm(adj, z)
            out = torch.addcmul(out, torch.sigmoid(self.gate(z)), z)
        return out

    def transform(self, x: Tensor) -> Tensor:
        """Return the class scores :math:`Z_0` before any propagation, ``[num_nodes, out_channels]``."""
        input_dropout = self.dropout if self.norm is None else 0.0
        h = sparse_linear(x, self.lin1.weight, self.lin1.bias, input_dropout, self.training)
        if self.norm is not None:
            h = self.norm(h)
        return self.lin2(F.dropout(h.relu(), self.dropout, self.training))

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> DAGNN:
        """Build the model from the authors' names.

        Args:
            config: ``num_features, num_classes, hidden, K, dropout`` and ``variant`` (``citation`` or ``arxiv``).
            state_dict: ``lin1.*, lin2.*, prop.proj.*`` and, for arxiv, ``bn.*``.
        """
        ours = {"prop.proj.": "gate.", "bn.": "norm.module."}
        weights = dict(state_dict)
        for name in state_dict:
            for theirs, prefix in ours.items():
                if name.startswith(theirs):
                    weights[prefix + name.removeprefix(theirs)] = weights.pop(name)
        model = cls(
            config["num_features"],
            config["num_classes"],
            hidden_channels=config["hidden"],
            K=config["K"],
            dropout=config["dropout"],
            batch_norm=config["variant"] == "arxiv",
        )
        model.to(weights["lin1.weight"].dtype).load_state_dict(weights)
        return model

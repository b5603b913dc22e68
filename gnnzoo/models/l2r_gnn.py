"""The encoder of L2R-GNN, whose training graphs are reweighted: a graph isomorphism network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gnnzoo.models.gin import GIN, Convolution
from gnnzoo.nn.convolutions import mean_norm
from gnnzoo.nn.graph_level import Pooling
from gnnzoo.ops import Adjacency, adjacency, spmm
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["L2RGNN", "reference_name"]

Aggregation = Literal["sum", "mean", "max"]

_POOLINGS = {"average": "mean"}
_THEIRS = [
    (r"convs\.(\d+)\.nn\.lins\.(\d+)\.", r"mlps.\1.linears.\2."),
    (r"convs\.(\d+)\.nn\.norms\.(\d+)\.module\.", r"mlps.\1.batch_norms.\2."),
    (r"norms\.(\d+)\.module\.", r"batch_norms.\1."),
    (r"lins\.(\d+)\.", r"linears_prediction.\1."),
]


class _Convolution(Convolution):
    r"""GIN's layer with other ways to aggregate; without a learned :math:`\epsilon` a node is its own neighbour.

    Args:
        mlp: what is applied to the aggregate.
        train_eps: :math:`\mathrm{AGG}_{u \in N(v)} h_u + (1 + \epsilon) h_v`, else
            :math:`\mathrm{AGG}_{u \in N(v) \cup \{v\}} h_u`.
        aggr: ``sum``, ``mean`` or ``max``.
    """

    def __init__(self, mlp: nn.Module, train_eps: bool, aggr: Aggregation) -> None:
        super().__init__(mlp, train_eps=train_eps)
        self.train_eps, self.kind = train_eps, aggr

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return ``[num_nodes, out_channels]``; the aggregate of no neighbours is 0."""
        if self.kind == "sum":
            return super().forward(x, edge_index)
        adj = adjacency(edge_index, x.size(0))
        if self.train_eps:
            near = _max(x, adj) if self.kind == "max" else spmm(mean_norm(edge_index, x.size(0), x.dtype), x)
            return self.nn((1 + self.eps) * x + near)
        if self.kind == "max":
            return self.nn(_max(x, adj, x))
        return self.nn((spmm(adj, x) + x) / (adj.in_degree + 1).unsqueeze(1))


def _max(x: Tensor, adj: Adjacency, start: Tensor | None = None) -> Tensor:
    """Return the largest value among neighbours and, where it is given, ``start``, channel by channel."""
    out = torch.zeros_like(x) if start is None else start
    row = adj.row.unsqueeze(1).expand(-1, x.size(1))
    return out.scatter_reduce(0, row, x.index_select(0, adj.col), "amax", include_self=start is not None)


class L2RGNN(GIN):
    r"""The encoder of `"Learning to Reweight for Generalizable Graph Neural Network"
    <https://arxiv.org/abs/2312.12475>`_, which is :class:`~gnnzoo.models.gin.GIN` with more ways to aggregate.

    .. math::
        h^{(l)} = \mathrm{ReLU}\,\mathrm{BN}\,\mathrm{MLP}^{(l)}\bigl(\mathrm{AGG}(h^{(l-1)})\bigr), \quad
        g^{(l)} = \mathrm{POOL}_v\, h_v^{(l)}, \quad
        y = \sum_{l=0}^{L} D\bigl(W^{(l)} g^{(l)} + b^{(l)}\bigr), \quad z = \sum_{l=1}^{L} D\,g^{(l)}

    with dropout D. z, without the input layer, is what the weights of the training graphs are learned from (strategy
    ``l2r``); no prediction depends on it.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes or values.
        hidden_channels: width of all layers.
        num_layers: number of convolutions. The authors count the input as a layer: their 5 are 4 here.
        mlp_layers: linear layers in each convolution's perceptron.
        dropout: on the readouts' linear layers, and on z.
        train_eps: whether :math:`\epsilon` is learned: :math:`\mathrm{AGG}_{u \in N(v)} h_u + (1 + \epsilon) h_v`;
            else a node is among its neighbours: :math:`\mathrm{AGG}_{u \in N(v) \cup \{v\}} h_u`.
        aggr: AGG: ``sum``, ``mean`` or ``max``.
        pooling: POOL: ``sum`` or ``mean`` (or ``max``, which the authors do not have).

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``, ``batch`` ``[num_nodes]``
        - **output:** logits ``[num_graphs, out_channels]``; without ``batch``, of nodes, ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 4,
        mlp_layers: PositiveInt = 2,
        dropout: Dropout = 0.5,
        train_eps: bool = False,
        aggr: Aggregation = "sum",
        pooling: Pooling = "sum",
    ) -> None:
        self.aggr: Aggregation = aggr  # which the layers that GIN makes need
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            num_layers,
            mlp_layers,
            dropout=dropout,
            train_eps=train_eps,
            pooling=pooling,
        )

    def convolution(self, mlp: nn.Module, train_eps: bool) -> Convolution:
        """Return a layer around a perceptron."""
        return _Convolution(mlp, train_eps, self.aggr)

    def represent(self, pooled: Sequence[Tensor]) -> Tensor:
        """Return z, ``[num_graphs, hidden_channels]``."""
        return super().represent([F.dropout(g, self.dropout, self.training) for g in pooled])

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> L2RGNN:
        """Build the model that the anonymous authors' configuration and weights describe (their names in both)."""
        pooling, aggr = (config[f"{kind}_pooling_type"] for kind in ("graph", "neighbor"))
        model = cls(
            config["input_dim"],
            config["output_dim"],
            hidden_channels=config["hidden_dim"],
            num_layers=config["num_layers"] - 1,
            mlp_layers=config["num_mlp_layers"],
            dropout=config["final_dropout"],
            train_eps=config["learn_eps"],
            aggr=_POOLINGS.get(aggr, aggr),
            pooling=_POOLINGS.get(pooling, pooling),
        ).to(state_dict["linears_prediction.0.weight"].dtype)
        weights = {}
        for name in model.state_dict():
            if name.endswith(".eps"):
                weights[name] = state_dict["eps"][int(name.split(".")[1])].reshape(1)
            else:
                weights[name] = state_dict[reference_name(name, config["num_mlp_layers"])]
        model.load_state_dict(weights)
        return model


def reference_name(name: str, mlp_layers: int) -> str:
    """Return the authors' name of a parameter or buffer, all but epsilon, which is one tensor for all layers."""
    for ours, theirs in _THEIRS:
        if re.match(ours, name):
            name = re.sub(ours, theirs, name)
            break
    return name.replace(".linears.0.", ".linear.") if mlp_layers == 1 else name

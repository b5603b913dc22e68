"""LINKX: a perceptron on rows of the adjacency matrix beside one on features, with PyG's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import MLP, BatchNorm
from torch_geometric.nn.models.linkx import SparseLinear

from gnnzoo.errors import DataError
from gnnzoo.ops import sparse_linear, spmm
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["LINKX", "EdgeLinear", "reference_name", "sizes_of_one_graph"]

_NORM = {"allow_single_element": True}  # a lone node has no batch statistics: it is normalized by the running ones


def sizes_of_one_graph(data: Data, model: str) -> dict[str, Any]:
    """Return the widths that a model with weights for every node takes from its graph.

    Args:
        data: the graph.
        model: name of the model, for messages.

    Raises:
        DataError: several graphs, where there is no row of weights for a node.
    """
    if not isinstance(data, Data):
        raise DataError(f"{model} has weights for every node of one graph; these data are several graphs")
    return {"in_channels": data.num_node_features, "num_nodes": data.num_nodes}


class EdgeLinear(SparseLinear):
    """PyG's linear layer on rows of the adjacency matrix; the product is ``ops.spmm``."""

    def forward(self, edge_index: Tensor) -> Tensor:
        """Return ``A @ weight + bias``, ``[num_nodes, out_channels]``."""
        return spmm(edge_index, self.weight) + self.bias


class LINKX(nn.Module):
    r"""The network of `"Large Scale Learning on Non-Homophilous Graphs: New Benchmarks and Strong Simple Methods"
    <https://arxiv.org/abs/2110.14446>`_ (arXiv 2110.14446, NeurIPS 2021).

    .. math::
        h_A = \mathrm{MLP}_A(A), \quad h_X = \mathrm{MLP}_X(X), \quad
        Y = \mathrm{MLP}_f\bigl( \mathrm{ReLU}(\sigma(W [h_A \Vert h_X]) + h_A + h_X) \bigr)

    The first layer of :math:`\mathrm{MLP}_A` has a weight vector for every node, so the model is bound to one graph.
    Layers of the perceptrons are linear, ReLU, batch normalization, dropout; :math:`\sigma` is the identity.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        num_nodes: number of nodes of the graph.
        hidden_channels: width of all layers.
        num_layers: linear layers of :math:`\mathrm{MLP}_f`.
        edge_layers: linear layers of :math:`\mathrm{MLP}_A`.
        node_layers: linear layers of :math:`\mathrm{MLP}_X`.
        dropout: in :math:`\mathrm{MLP}_f`, after its hidden layers; the other two have none.
        inner_activation: :math:`\sigma` is a ReLU.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_nodes: PositiveInt,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 1,
        edge_layers: PositiveInt = 1,
        node_layers: PositiveInt = 1,
        dropout: Dropout = 0.5,
        inner_activation: bool | None = None,
    ) -> None:
        super().__init__()
        self.inner_activation = inner_activation
        self.num_nodes = num_nodes
        width = hidden_channels
        self.edge_lin = EdgeLinear(num_nodes, width)
        deep = edge_layers > 1
        self.edge_norm = BatchNorm(width, **_NORM) if deep else None
        self.edge_mlp = _mlp([width] * edge_layers) if deep else None
        self.node_mlp = _mlp([in_channels, *[width] * node_layers])
        self.cat_lin1 = nn.Linear(width, width)
        self.cat_lin2 = nn.Linear(width, width)
        self.final_mlp = _mlp([*[width] * num_layers, out_channels], dropout)

    @classmethod
    def infer(cls, data: Data) -> dict[str, Any]:
        """Read the sizes that the graph decides; see :func:`sizes_of_one_graph`."""
        return sizes_of_one_graph(data, "linkx")

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyG's defaults."""
        for module in self.children():
            module.reset_parameters()  # type: ignore[operator]

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        if x.size(0) != self.num_nodes:
            raise DataError(f"this LINKX is bound to a graph of {self.num_nodes} nodes, not of {x.size(0)}")
        h = self.edge_lin(edge_index)
        if self.edge_mlp is not None:
            h = self.edge_mlp(self.edge_norm(h.relu()))  # type: ignore[misc]
        mixed = self.cat_lin1(h)
        if self.node_mlp.num_layers == 1:
            lin = self.node_mlp.lins[0]
            x = sparse_linear(x, lin.weight, lin.bias)
        else:
            x = self.node_mlp(x)
        if self.inner_activation:
            return self.final_mlp(torch.relu(h + x + torch.relu(mixed + self.cat_lin2(x))))
        return self.final_mlp(torch.relu(h + mixed + x + self.cat_lin2(x)))

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> LINKX:
        """Build the model from the authors' names.

        Args:
            config: ``num_nodes, in_dim, hidden, num_classes, dropout`` and ``backbone_args``: ``num_layers``,
                ``init_layers_A``, ``init_layers_X``, ``inner_activation`` (their ``inner_dropout`` has no say in
                evaluation).
            state_dict: ``mlpA.*, mlpX.*, mlp_final.*`` with ``lins`` and ``bns``, and ``W``. A row of theirs lists the
                targets of a node's edges: flip ``edge_index`` where the graph is directed.
        """
        layers = config["backbone_args"]
        model = cls(
            config["in_dim"],
            config["num_classes"],
            config["num_nodes"],
            hidden_channels=config["hidden"],
            num_layers=layers["num_layers"],
            edge_layers=layers["init_layers_A"],
            node_layers=layers["init_layers_X"],
            dropout=config["dropout"],
            inner_activation=layers["inner_activation"],
        )
        weights = dict(state_dict)
        joint, bias = weights.pop("W.weight"), weights.pop("W.bias")
        weights = {reference_name(name): value for name, value in weights.items()}
        weights["edge_lin.weight"] = weights["edge_lin.weight"].t()
        weights["cat_lin1.weight"], weights["cat_lin2.weight"] = joint.chunk(2, dim=1)
        weights["cat_lin1.bias"], weights["cat_lin2.bias"] = bias, torch.zeros_like(bias)
        model.to(joint.dtype).load_state_dict(weights)
        return model


def reference_name(theirs: str) -> str:
    """Return our name of a parameter or buffer of the authors' perceptrons."""
    mlp, kind, number, last = theirs.split(".")
    ours = {"mlpA": "edge_mlp", "mlpX": "node_mlp", "mlp_final": "final_mlp"}[mlp]
    if mlp == "mlpA" and number == "0":
        return f"edge_lin.{last}" if kind == "lins" else f"edge_norm.module.{last}"
    number = str(int(number) - 1) if mlp == "mlpA" else number
    return f"{ours}.lins.{number}.{last}" if kind == "lins" else f"{ours}.norms.{number}.module.{last}"


def _mlp(channels: list[int], dropout: float = 0.0) -> MLP:
    return MLP(channels, dropout=dropout, act_first=True, norm_kwargs=_NORM)

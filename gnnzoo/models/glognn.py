"""GloGNN++: every node is embedded by all nodes, in linear time, by coefficients that have a closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models.linkx import EdgeLinear, sizes_of_one_graph
from gnnzoo.ops import sparse_linear, spmm
from gnnzoo.types import Dropout, NonNegativeFloat, PositiveInt, Probability

__all__ = ["GloGNN", "reference_name"]

OrderWeights = Literal["equal", "learnt", "node"]


class GloGNN(nn.Module):
    r"""The network of `"Finding Global Homophily in Graph Neural Networks When Meeting Heterophily"
    <https://arxiv.org/abs/2205.07308>`_ (arXiv 2205.07308, ICML 2022), GloGNN++ as HEI (arXiv 2408.09490) has it.

    .. math::
        H^{(0)} &= \mathrm{MLP}\bigl(\mathrm{ReLU}(\delta\, W_X X + (1 - \delta)\, W_A A)\bigr) \\
        H^{(l+1)} &= (1 - \gamma)\, H T + \gamma\, \bigl(H^{(0)} - (1 - \gamma)\, H^{(0)} T\bigr)
            + \beta \sum_k w_k A^k M, \quad H = H^{(l)}

    With :math:`c = 1 / (\alpha + \beta)`, :math:`G = H^\top H` and :math:`D = \mathrm{diag}(d)`,

    .. math::
        M = \frac{c}{1 - \gamma}\, H \Bigl( \frac{1}{(1 - \gamma)^2} I + c\, G \Bigr)^{-1} D, \quad
        T = D H^\top M

    which are of the classes' width: the coefficients of all pairs of nodes are never made.

    The first layer has a weight vector for every node (:math:`W_A`), so the model is bound to one graph.

    Args:
        in_channels: width of the node features.
        out_channels: C, number of classes; propagation is on this width.
        num_nodes: number of nodes of the graph.
        hidden_channels: width of the hidden layers.
        norm_layers: number of propagations.
        orders: the largest k, how many steps along edges :math:`A^k` goes.
        alpha: :math:`\alpha`, how small coefficients are kept.
        beta: :math:`\beta`, weight of the graph: coefficients are near the powers of A.
        gamma: :math:`\gamma`, weight of what was there before propagation; less than 1.
        delta: :math:`\delta`, weight of the features beside the rows of A.
        diagonal: d is learnt, one number per class; otherwise d = 1, which is GloGNN.
        order_weights: :math:`w_k`: ``learnt`` ones; ``equal``, all 1 and M itself (k = 0) too; or ``node``, of each
            node its own, :math:`\mathrm{ReLU}(H \Omega_1)\, \Omega_2`.
        dropout: after each of the two hidden layers.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``
        - **output:** logits ``[num_nodes, out_channels]``

    Raises:
        ConfigError: alpha and beta are both 0, or gamma is 1: there is no closed form.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_nodes: PositiveInt,
        hidden_channels: PositiveInt = 64,
        norm_layers: PositiveInt = 2,
        orders: PositiveInt = 2,
        alpha: NonNegativeFloat = 1.0,
        beta: NonNegativeFloat = 1.0,
        gamma: Probability = 0.3,
        delta: Probability = 0.5,
        diagonal: bool = True,
        order_weights: OrderWeights = "learnt",
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        if alpha + beta == 0:
            raise ConfigError("model.alpha=0 and model.beta=0: one of them must be above 0")
        if gamma == 1:
            raise ConfigError("model.gamma=1: less than 1")
        self.num_nodes, self.norm_layers, self.orders = num_nodes, norm_layers, orders
        self.alpha, self.beta, self.gamma, self.delta = alpha, beta, gamma, delta
        self.order_weights, self.dropout = order_weights, dropout
        self.node_lin = nn.Linear(in_channels, hidden_channels)
        self.edge_lin = EdgeLinear(num_nodes, hidden_channels)
        self.lin = nn.Linear(hidden_channels, hidden_channels)
        self.out_lin = nn.Linear(hidden_channels, out_channels)
        self.scale = nn.Parameter(torch.empty(out_channels)) if diagonal else None
        self.weight = nn.Parameter(torch.empty(orders)) if order_weights == "learnt" else None
        own = order_weights == "node"
        self.weight1 = nn.Parameter(torch.empty(out_channels, orders)) if own else None
        self.weight2 = nn.Parameter(torch.empty(orders, orders)) if own else None
        self.reset_parameters()

    @classmethod
    def infer(cls, data: Data) -> dict[str, Any]:
        """Read the sizes that the graph decides; see :func:`gnnzoo.models.linkx.sizes_of_one_graph`."""
        return sizes_of_one_graph(data, "glognn")

    def reset_parameters(self) -> None:
        """Draw all parameters anew: layers by PyTorch's defaults, weights of orders and classes alike, sum 1."""
        for module in self.children():
            module.reset_parameters()  # type: ignore[operator]
        for alike in (self.scale, self.weight):
            if alike is not None:
                nn.init.constant_(alike, 1 / len(alike))
        for matrix in (self.weight1, self.weight2):
            if matrix is not None:
                nn.init.kaiming_normal_(matrix)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        if x.size(0) != self.num_nodes:
            raise DataError(f"this GloGNN is bound to a graph of {self.num_nodes} nodes, not of {x.size(0)}")
        own = sparse_linear(x, self.node_lin.weight, self.node_lin.bias)
        h = torch.lerp(self.edge_lin(edge_index), own, self.delta).relu()
        h = F.dropout(h, self.dropout, self.training)
        h = F.dropout(self.lin(h).relu(), self.dropout, self.training)
        h = first = self.out_lin(h)
        for _ in range(self.norm_layers):
            h = self.propagate(h, first, edge_index)
        return h

    def propagate(self, h: Tensor, first: Tensor, edge_index: Tensor) -> Tensor:
        """Return :math:`H^{(l+1)}` for H and the input of the first propagation, all ``[num_nodes, out_channels]``."""
        keep, c = 1 - self.gamma, 1 / (self.alpha + self.beta)
        identity = torch.eye(h.size(1), dtype=h.dtype, device=h.device)
        m = h @ (c / keep * torch.linalg.inv(identity / keep**2 + c * (h.t() @ h)))
        if self.scale is not None:
            m = m * self.scale
        transfer = h.t() @ m
        if self.scale is not None:
            transfer = self.scale.unsqueeze(1) * transfer
        out = (keep * h - self.gamma * keep * first) @ transfer + self.gamma * first
        return out + self.beta * self.neighbours(h, m, edge_index)

    def neighbours(self, h: Tensor, m: Tensor, edge_index: Tensor) -> Tensor:
        """Return the weighted sum of :math:`A^k M`, ``[num_nodes, out_channels]``."""
        if self.weight1 is not None and self.weight2 is not None:
            weights = ((h @ self.weight1).relu() @ self.weight2).unsqueeze(2).unbind(1)
        else:
            weights = h.new_ones(self.orders).unbind() if self.weight is None else self.weight.unbind()
        total = m if self.order_weights == "equal" else torch.zeros_like(m)
        for weight in weights:
            m = spmm(edge_index, m)
            total = total + weight * m
        return total

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> GloGNN:
        """Build the model from the authors' names; parameters of theirs that have no effect are not ours.

        Args:
            config: ``num_nodes, in_dim, hidden, num_classes, dropout`` and ``backbone_args``: ``alpha, beta, gamma,
                delta, norm_layers, orders, norm_func_id`` (1, 2) and ``orders_func_id`` (1, 2, 3).
            state_dict: ``fc1`` to ``fc4``, ``diag_weight``, ``orders_weight``, ``orders_weight_matrix`` (``2``). A row
                of their A lists the targets of a node's edges: flip ``edge_index`` where the graph is directed.
        """
        kinds: dict[int, OrderWeights] = {1: "equal", 2: "learnt", 3: "node"}
        settings = dict(config["backbone_args"])
        norm, orders = settings.pop("norm_func_id"), settings.pop("orders_func_id")
        model = cls(
            config["in_dim"],
            config["num_classes"],
            config["num_nodes"],
            hidden_channels=config["hidden"],
            dropout=config["dropout"],
            diagonal={1: False, 2: True}[norm],
            order_weights=kinds[orders],
            **settings,
        )
        state = model.state_dict()
        weights = {reference_name(name): value for name, value in state_dict.items()}
        weights = {name: value for name, value in weights.items() if name in state}
        weights["edge_lin.weight"] = weights["edge_lin.weight"].t()
        for name in ("scale", "weight"):
            if name in weights:
                weights[name] = weights[name].flatten()
        model.to(state_dict["fc1.weight"].dtype).load_state_dict(weights)
        return model


_OURS = {
    "fc1": "node_lin",
    "fc2": "out_lin",
    "fc3": "lin",
    "fc4": "edge_lin",
    "diag_weight": "scale",
    "orders_weight": "weight",
    "orders_weight_matrix": "weight1",
    "orders_weight_matrix2": "weight2",
}


def reference_name(theirs: str) -> str:
    """Return our name of one of the authors' parameters."""
    first, dot, rest = theirs.partition(".")
    return _OURS[first] + dot + rest

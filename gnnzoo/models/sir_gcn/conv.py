"""The layer, and its general form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models.sir_gcn.messages import aggregate, max_of_messages, sum_of_messages
from gnnzoo.models.sir_gcn.reference import reference_weights
from gnnzoo.ops import Adjacency, adjacency, dropout
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["Activation", "Aggregation", "GeneralSIRConv", "SIRConv", "activation", "checked"]

Aggregation = Literal["sum", "mean", "max", "sym"]
Activation = Literal["relu", "leaky_relu", "gelu", "tanh", "elu", "identity"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),  # the authors' slope
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "identity": nn.Identity,
}


class SIRConv(nn.Module):
    r"""The layer of `"Contextualized Messages Boost Graph Representations" <https://arxiv.org/abs/2403.12529>`_.

    .. math::
        h'_u = W_R \Bigl( \mathrm{AGG}_{v \to u}\, c_{uv}\, \sigma(W_Q h_u + b_Q + W_K h_v + W_E e_{uv}) \Bigr) + b_R

    (arXiv 2403.12529) with :math:`c_{uv} = 1` for ``sum`` and ``mean``, :math:`(d^{in}_u d^{out}_v)^{-1/2}` for ``sym``
    (degrees of at least 1). ``max`` does not commute with :math:`W_R`, which is then applied on every edge:
    :math:`\max_v (W_R\,\sigma(\cdot) + b_R)`. A node without incoming edges gets :math:`b_R`, with ``max`` it gets 0.

    Messages of a named activation are formed in blocks and again in the backward pass; with a module of another kind,
    PyTorch keeps them all.

    Args:
        in_channels: width of the node features.
        out_channels: width of the output.
        hidden_channels: width of the messages; ``None``: ``out_channels``.
        act: :math:`\sigma`, a name (``relu, leaky_relu, gelu, tanh, elu, identity``) or any module.
        aggr: ``sum``, ``mean``, ``max`` or ``sym``.
        edge_dim: width of the edge features; ``None``: they are not used.
        num_edge_types: instead of ``edge_dim``: edges have an integer type and each type its own vector.
        dropout: on :math:`W_Q h_u + b_Q`, :math:`W_K h_v` and :math:`W_E e_{uv}`.
        inner_bias: whether there is a :math:`b_Q`.
        outer_bias: whether there is a :math:`b_R`.

    Shapes:
        - **input:** ``x`` ``[num_nodes, ..., in_channels]``, ``edge_index`` ``[2, num_edges]``, ``edge_attr``
          ``[num_edges, ..., edge_dim]`` or, with ``num_edge_types``, ``[num_edges]``
        - **output:** ``[num_nodes, ..., out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt | None = None,
        act: str | nn.Module = "relu",
        aggr: Aggregation = "sum",
        edge_dim: PositiveInt | None = None,
        num_edge_types: PositiveInt | None = None,
        dropout: Dropout = 0.0,
        inner_bias: bool = True,
        outer_bias: bool = True,
    ) -> None:
        super().__init__()
        hidden_channels = hidden_channels or out_channels
        self.in_channels, self.out_channels, self.hidden_channels = in_channels, out_channels, hidden_channels
        self.aggr, self.dropout = checked(aggr), dropout
        self.act = activation(act) if isinstance(act, str) else act
        self.lin_query = nn.Linear(in_channels, hidden_channels, bias=inner_bias)
        self.lin_key = nn.Linear(in_channels, hidden_channels, bias=False)
        self.lin_edge: nn.Module | None = None
        if num_edge_types is not None:
            self.lin_edge = nn.Embedding(num_edge_types, hidden_channels)
        elif edge_dim is not None:
            self.lin_edge = nn.Linear(edge_dim, hidden_channels, bias=False)
        self.lin_relation = nn.Linear(hidden_channels, out_channels, bias=outer_bias)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for module in self.children():
            reset(module)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        """Return ``[num_nodes, ..., out_channels]``."""
        adj, edge = adjacency(edge_index, x.size(0)), None
        if self.lin_edge is not None:
            if edge_attr is None:
                raise DataError("the layer was made for edge features, but edge_attr is None")
            edge = self._drop(self.lin_edge(edge_attr))
        return self.relate(self.query(x, adj), self._drop(self.lin_key(x)), edge, adj)

    def query(self, x: Tensor, adj: Adjacency) -> Tensor:
        """Return what a target adds to the messages that it receives, ``[num_nodes, ..., hidden_channels]``."""
        return self._drop(self.lin_query(x))

    def relate(self, query: Tensor, key: Tensor, edge: Tensor | None, adj: Adjacency) -> Tensor:
        """Form, aggregate and transform messages; ``edge`` is in the order of the edges."""
        if edge is not None and adj.perm is not None:
            edge = edge.index_select(0, adj.perm)
        if self.aggr == "max":
            return max_of_messages(query, key, edge, adj, self.act, self.lin_relation)
        return self.lin_relation(sum_of_messages(query, key, edge, adj, self.act, self.aggr))

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)

    def __repr__(self) -> str:
        widths = f"{self.in_channels}, {self.out_channels}, hidden_channels={self.hidden_channels}"
        return f"{type(self).__name__}({widths}, aggr={self.aggr}, act={type(self.act).__name__})"

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> SIRConv:
        """Build the layer from the authors' names (``SIRConv``, ``SIREConv``)."""
        weights = reference_weights(state_dict)
        conv = cls(
            config["input_dim"],
            config["output_dim"],
            config["hidden_dim"],
            act=activation(config["activation"]),
            dropout=config.get("dropout", 0.0),
            inner_bias=config.get("inner_bias", "lin_query.bias" in weights),
            outer_bias=config.get("outer_bias", "lin_relation.bias" in weights),
            **cls._reference_settings(config, weights),
        )
        conv.to(weights["lin_key.weight"].dtype).load_state_dict(weights)
        return conv

    @classmethod
    def _reference_settings(cls, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        settings: dict[str, Any] = {"aggr": config["agg_type"]}
        if "lin_edge.weight" in weights:  # an embedding is [types, hidden], a linear layer [hidden, width]
            shape = weights["lin_edge.weight"].shape
            types = config.get("edge_types", shape[0] != config["hidden_dim"])
            settings |= {"num_edge_types": shape[0]} if types else {"edge_dim": shape[1]}
        return settings


class GeneralSIRConv(nn.Module):
    r"""The general form of :class:`SIRConv`: any function of both ends of an edge (and of its features).

    .. math:: h'_u = \mathrm{AGG}_{v \to u}\, c_{uv}\, g(h_u \,\|\, h_v \,\|\, e_{uv})

    Args:
        nn: :math:`g`, from ``[..., 2 * in_channels (+ edge_dim)]`` (target, source, edge) to ``[..., out_channels]``.
        aggr: ``sum``, ``mean``, ``max`` or ``sym``.

    Shapes:
        - **input:** ``x`` ``[num_nodes, ..., in_channels]``, ``edge_index`` ``[2, num_edges]``, ``edge_attr``
          ``[num_edges, ..., edge_dim]`` (optional)
        - **output:** ``[num_nodes, ..., out_channels]``
    """

    def __init__(self, nn: nn.Module, aggr: Aggregation = "sum") -> None:
        super().__init__()
        self.nn, self.aggr = nn, checked(aggr)

    def reset_parameters(self) -> None:
        """Draw all parameters of the function anew."""
        reset(self.nn)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        """Return ``[num_nodes, ..., out_channels]``."""
        adj = adjacency(edge_index, x.size(0))
        ends = [x.index_select(0, adj.row), x.index_select(0, adj.col)]
        if edge_attr is not None:
            ends.append(edge_attr if adj.perm is None else edge_attr.index_select(0, adj.perm))
        return aggregate(self.nn(torch.cat(ends, dim=-1)), adj, self.aggr)


def checked(aggr: str) -> str:
    """Return the name of an aggregation, or raise ConfigError."""
    if aggr not in ("sum", "mean", "max", "sym"):
        raise ConfigError(f"aggr={aggr!r}: choose from sum, mean, max, sym")
    return aggr


def activation(name: str) -> nn.Module:
    """Return a new activation by its name; ``leaky_relu_0.2`` names a slope."""
    if name.startswith("leaky_relu_"):
        return nn.LeakyReLU(float(name.removeprefix("leaky_relu_")))
    if name not in _ACTIVATIONS:
        raise ConfigError(f"act={name!r}: choose from {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]()

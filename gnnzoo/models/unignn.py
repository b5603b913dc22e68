"""UniGNN: graph convolutions carried over to hypergraphs through the means of the hyperedges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import glorot

from gnnzoo.nn.hypergraph import Incidence, IncidenceHead, Reduce, incidence
from gnnzoo.ops import dropout, sparse_linear
from gnnzoo.types import Dropout, NonNegativeFloat, PositiveInt, Probability

__all__ = ["UniConv", "UniGCNII", "UniGNN", "reference_names"]

Conv = Literal["gcn", "gin", "sage", "gat"]


def _unit_rows(x: Tensor) -> Tensor:
    """Divide every row by its 2-norm, which gradients take for a constant; rows of zeros stay."""
    norm = x.detach().norm(dim=1, keepdim=True)
    return x / norm.where(norm > 0, 1.0)


def _normalized_sum(members: Incidence, x: Tensor, reduce: Reduce, extra: int = 0) -> Tensor:
    r"""Return :math:`d_v^{-1/2} \sum_{e \ni v} \bar d_e^{-1/2} h_e`, with the mean degree :math:`\bar d_e` of e.

    That mean is taken over ``extra`` members of degree 0 as well.
    """
    degree = members.mean_degree * members.size / (members.size + extra) if extra else members.mean_degree
    h = members.to_hyperedges(x, reduce) * degree.rsqrt()
    return members.to_nodes(h) * members.degree.clamp(min=1).rsqrt()


class UniConv(nn.Module):
    r"""One layer of UniGCN, UniGIN, UniSAGE or UniGAT (arXiv 2105.00956, section 3).

    Args:
        in_channels: width of the input.
        out_channels: width of each head.
        heads: heads, whose outputs are concatenated; only attention tells them apart.
        conv: the kind.
        hyperedge_aggr: how :math:`h_e` is made of the members.
        node_aggr: how UniSAGE gathers hyperedges.
        use_norm: divide every row of the output by its norm, a constant for gradients.
        attention_dropout: on the coefficients of UniGAT.
        bias: whether the map has one, which is propagated too.
        count_zero: see :class:`UniGNN`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        conv: Conv = "gcn",
        hyperedge_aggr: Reduce = "mean",
        node_aggr: Reduce = "sum",
        use_norm: bool = False,
        attention_dropout: float = 0.0,
        bias: bool = False,
        count_zero: bool = False,
    ) -> None:
        super().__init__()
        self.extra = int(count_zero)
        self.conv, self.hyperedge_aggr, self.node_aggr, self.use_norm = conv, hyperedge_aggr, node_aggr, use_norm
        self.heads, self.attention_dropout = heads, attention_dropout
        self.lin = nn.Linear(in_channels, heads * out_channels, bias=bias)
        self.eps = nn.Parameter(torch.zeros(1)) if conv == "gin" else None
        self.att = nn.Parameter(torch.empty(heads, out_channels)) if conv == "gat" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the map anew by PyTorch's defaults and the attention after Glorot; ε is 0."""
        self.lin.reset_parameters()
        glorot(self.att)
        if self.eps is not None:
            nn.init.zeros_(self.eps)

    def forward(self, x: Tensor, members: Incidence, rate: float = 0.0) -> Tensor:
        """Return ``[num_nodes, heads * out_channels]``; ``rate`` is the dropout on ``x``."""
        x = sparse_linear(x, self.lin.weight, self.lin.bias, rate, self.training)
        if self.conv == "gcn":
            out = _normalized_sum(members, x, self.hyperedge_aggr, self.extra)
        else:
            h = members.to_hyperedges(x, self.hyperedge_aggr)
            if self.eps is not None:
                out = (1 + self.eps) * x + members.to_nodes(h)
            elif self.att is not None:
                h = h.unflatten(1, (self.heads, -1))
                score = F.leaky_relu((h * self.att).sum(-1), 0.2)
                rate = self.attention_dropout if self.training else 0.0
                out = members.attend(h, score, to_nodes=True, rate=rate).flatten(1)
            else:
                out = x + members.to_nodes(h, self.node_aggr)
        return _unit_rows(out) if self.use_norm else out


class UniGNN(nn.Module):
    r"""UniGCN, UniGIN, UniSAGE and UniGAT of `"UniGNN: a Unified Framework for Graph and Hypergraph Neural Networks"
    <https://arxiv.org/abs/2105.00956>`_ (arXiv 2105.00956, IJCAI 2021).

    .. math::
        h_e = \mathrm{mean}_{u \in e} W x_u, \quad
        x'_v = d_v^{-1/2} \sum_{e \ni v} \bar d_e^{-1/2} h_e, \;
        (1 + \varepsilon) W x_v + \sum_{e \ni v} h_e, \;
        W x_v + \sum_{e \ni v} h_e \text{ or } \sum_{e \ni v} \alpha_e h_e

    for gcn, gin, sage and gat, with the mean degree :math:`\bar d_e` of a hyperedge's members and
    :math:`\alpha = \mathrm{softmax}_{e \ni v}\,\mathrm{LeakyReLU}(a \cdot h_e)`.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of each head of the hidden layers.
        heads: heads of the hidden layers; the last layer has one.
        num_layers: number of convolutions.
        conv: ``gcn, gin, sage`` or ``gat``.
        hyperedge_aggr: how the members of a hyperedge are aggregated.
        node_aggr: how UniSAGE aggregates the hyperedges of a node.
        use_norm: divide every row after a convolution by its norm.
        dropout: on the features and after every hidden layer.
        attention_dropout: on the coefficients of UniGAT.
        per_incidence: whether it answers for nodes in hyperedges instead of for nodes.
        bias: whether the maps have one, which is propagated too, as in the library DHG.
        input_dropout: whether the features are dropped too.
        count_zero: UniGCN's :math:`\bar d_e` is the sum of degrees divided by :math:`|e| + 1`, as in DHG 0.9.4.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``hyperedge_index`` ``[2, num_incidences]``;
          ``incidence_index`` ``[num_rows]``, with ``per_incidence``: which incidences are asked about (optional: all)
        - **output:** logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 8,
        heads: PositiveInt = 8,
        num_layers: PositiveInt = 2,
        conv: Conv = "sage",
        hyperedge_aggr: Reduce = "mean",
        node_aggr: Reduce = "sum",
        use_norm: bool = False,
        dropout: Dropout = 0.6,
        attention_dropout: Dropout = 0.6,
        per_incidence: bool = False,
        bias: bool = False,
        input_dropout: bool = True,
        count_zero: bool = False,
    ) -> None:
        super().__init__()
        self.dropout, self.input_dropout = dropout, input_dropout
        width = heads * hidden_channels
        rest = (conv, hyperedge_aggr, node_aggr, use_norm, attention_dropout, bias, count_zero)
        self.convs = nn.ModuleList(
            UniConv(in_channels if number == 0 else width, hidden_channels, heads, *rest)
            for number in range(num_layers - 1)
        )
        last = width if per_incidence else out_channels
        self.convs.append(UniConv(width if num_layers > 1 else in_channels, last, 1, *rest))
        self.head = IncidenceHead(width, out_channels) if per_incidence else None

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for layer in [*self.convs, *([] if self.head is None else [self.head])]:
            layer.reset_parameters()

    def forward(self, x: Tensor, hyperedge_index: Tensor, incidence_index: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]`` with ``per_incidence``."""
        members = incidence(hyperedge_index, x)
        rate = self.dropout if self.input_dropout else 0.0
        for conv in self.convs[:-1]:
            x, rate = conv(x, members, rate).relu(), self.dropout
        x = self.convs[-1](x, members, rate)
        if self.head is None:
            return x
        return self.head(dropout(x.relu(), self.dropout, self.training), hyperedge_index, incidence_index)

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> UniGNN:
        """Build the model from the authors' names.

        Args:
            config: ``model`` (``UniGCN, UniGIN, UniSAGE, UniGAT``), ``num_features, num_classes, nhid, nhead, nlayer,
                first_aggregate, second_aggregate, use_norm``.
            state_dict: the authors' parameters; :func:`reference_names` has their names.
        """
        model = cls(
            config["num_features"],
            config["num_classes"],
            config["nhid"],
            config["nhead"],
            config["nlayer"],
            config["model"].removeprefix("Uni").lower(),
            config["first_aggregate"],
            config["second_aggregate"],
            config["use_norm"],
            config.get("dropout", 0.0),
            config.get("attn_drop", 0.0),
        )
        return _loaded(model, state_dict)


class UniGCNII(nn.Module):
    r"""UniGCNII of `"UniGNN: a Unified Framework for Graph and Hypergraph Neural Networks"
    <https://arxiv.org/abs/2105.00956>`_ (arXiv 2105.00956, IJCAI 2021): a deep network on hypergraphs.

    .. math::
        z_v = (1 - \alpha)\, d_v^{-1/2} \sum_{e \ni v} \bar d_e^{-1/2}\,\mathrm{mean}_{u \in e} x_u + \alpha x^{(0)}_v,
        \quad x^{(i)} = \mathrm{ReLU}\bigl( (1 - \beta_i) z + \beta_i W^{(i)} z \bigr), \quad
        \beta_i = \ln(\lambda / i + 1)

    with :math:`x^{(0)} = \mathrm{ReLU}(W^{(0)} x + b)` and the mean degree :math:`\bar d_e` of a hyperedge's members.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers (the authors' nhid times nhead).
        num_layers: number of convolutions.
        alpha: the share of the first representation in every layer.
        theta: λ, the strength of the weights; they fade with depth.
        hyperedge_aggr: how the members of a hyperedge are aggregated.
        use_norm: divide every row after propagation by its norm, a constant for gradients.
        dropout: on the features and before every map.
        per_incidence: whether it answers for nodes in hyperedges instead of for nodes.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``hyperedge_index`` ``[2, num_incidences]``;
          ``incidence_index`` ``[num_rows]``, with ``per_incidence``: which incidences are asked about (optional: all)
        - **output:** logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 2,
        alpha: Probability = 0.1,
        theta: NonNegativeFloat = 0.5,
        hyperedge_aggr: Reduce = "mean",
        use_norm: bool = False,
        dropout: Dropout = 0.5,
        per_incidence: bool = False,
    ) -> None:
        super().__init__()
        self.alpha, self.theta, self.dropout = alpha, theta, dropout
        self.hyperedge_aggr, self.use_norm = hyperedge_aggr, use_norm
        h = hidden_channels
        self.lin_in = nn.Linear(in_channels, h)
        self.convs = cast("Sequence[nn.Linear]", nn.ModuleList(nn.Linear(h, h, bias=False) for _ in range(num_layers)))
        self.lin_out = IncidenceHead(h, out_channels) if per_incidence else nn.Linear(h, out_channels)
        self.per_incidence = per_incidence

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for layer in (self.lin_in, *self.convs, self.lin_out):
            layer.reset_parameters()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the weights of the convolutions and those of the linear layers, which the authors decay apart."""
        return {
            "conv": [parameter for conv in self.convs for parameter in conv.parameters()],
            "dense": [*self.lin_in.parameters(), *self.lin_out.parameters()],
        }

    def forward(self, x: Tensor, hyperedge_index: Tensor, incidence_index: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]`` with ``per_incidence``."""
        members = incidence(hyperedge_index, x)
        x = first = sparse_linear(x, self.lin_in.weight, self.lin_in.bias, self.dropout, self.training).relu()
        for number, lin in enumerate(self.convs, start=1):
            z = _normalized_sum(members, dropout(x, self.dropout, self.training), self.hyperedge_aggr)
            z = _unit_rows(z) if self.use_norm else z
            z = (1 - self.alpha) * z + self.alpha * first
            beta = math.log(self.theta / number + 1)
            x = torch.addmm(z, z, lin.weight.t(), beta=1 - beta, alpha=beta).relu()
        x = dropout(x, self.dropout, self.training)
        return self.lin_out(x, hyperedge_index, incidence_index) if self.per_incidence else self.lin_out(x)

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> UniGCNII:
        """Build the model from the authors' names.

        Args:
            config: ``num_features, num_classes, nhid, nhead, nlayer, first_aggregate, use_norm``.
            state_dict: the authors' parameters; :func:`reference_names` has their names.
        """
        model = cls(
            config["num_features"],
            config["num_classes"],
            config["nhid"] * config["nhead"],
            config["nlayer"],
            hyperedge_aggr=config["first_aggregate"],
            use_norm=config["use_norm"],
            dropout=config.get("dropout", 0.0),
        )
        return _loaded(model, state_dict)


def reference_names(model: nn.Module) -> dict[str, str]:
    """Return the authors' names of the parameters of a :class:`UniGNN` or :class:`UniGCNII`, by ours."""
    names = {}
    layers = len(model.convs)  # type: ignore[arg-type]
    for name, _ in model.named_parameters():
        part, *rest = name.split(".")
        if isinstance(model, UniGCNII):
            place = {"lin_in": 0, "lin_out": layers + 1}.get(part)
            names[name] = f"convs.{int(rest[0]) + 1}.W.weight" if place is None else f"convs.{place}.{rest[0]}"
        else:
            theirs = {"lin": f"W.{rest[-1]}", "eps": "eps", "att": "att_e"}[rest[1]]
            names[name] = f"conv_out.{theirs}" if int(rest[0]) == layers - 1 else f"convs.{rest[0]}.{theirs}"
    return names


def _loaded(model: Any, state_dict: Mapping[str, Tensor]) -> Any:
    names = reference_names(model)
    model.to(next(iter(state_dict.values())).dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state_dict[names[name]].view_as(parameter))
    return model

"""ED-HNN: equivariant hypergraph diffusion, in which a hyperedge tells each of its members something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gnnzoo.nn.hypergraph import MLP, Incidence, IncidenceHead, Norm, incidence
from gnnzoo.ops import dropout, sparse_linear
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt, Probability

__all__ = ["EDHNN", "EquivariantDiffusion", "JumpLinkDiffusion", "reference_name"]

Aggr = Literal["sum", "mean"]


def _mlp(
    in_channels: int, channels: int, num_layers: int, dropout: float, norm: Norm, input_norm: bool
) -> MLP | nn.Identity:
    if not num_layers:
        return nn.Identity()
    return MLP([in_channels, *[channels] * num_layers], dropout, norm, input_norm)


class EquivariantDiffusion(nn.Module):
    r"""One step :math:`x' = M_3\bigl((1 - \alpha)\,\mathrm{aggr}_{e \ni v} M_2[x_v \Vert
    \mathrm{aggr}_{u \in e} M_1(x_u)] + \alpha x^{(0)}_v\bigr)`.

    :math:`M_2` works on pairs of node and hyperedge. Its first linear layer is applied to nodes and to hyperedges (and
    what the normalization of a pair needs is put together from theirs), its last one to the sums over hyperedges, so
    that no matrix product has a row for each pair.

    Args:
        channels: width.
        mlp1_layers: depth of :math:`M_1`; 0: identity.
        mlp2_layers: depth of :math:`M_2`; 0: it is the representation of the hyperedge.
        mlp3_layers: depth of :math:`M_3`; 0: identity.
        alpha: share of the first representation.
        aggr: both aggregations.
        dropout: inside the perceptrons.
        norm: in the perceptrons.
        input_norm: whether their inputs are normalized too.
    """

    def __init__(
        self,
        channels: int,
        mlp1_layers: int,
        mlp2_layers: int,
        mlp3_layers: int,
        alpha: float,
        aggr: Aggr,
        dropout: float,
        norm: Norm,
        input_norm: bool,
    ) -> None:
        super().__init__()
        self.alpha, self.aggr = alpha, aggr
        rest = (dropout, norm, input_norm)
        self.mlp1 = _mlp(channels, channels, mlp1_layers, *rest)
        self.mlp2 = _mlp(2 * channels, channels, mlp2_layers, *rest)
        self.mlp3 = _mlp(channels, channels, mlp3_layers, *rest)

    def forward(self, x: Tensor, first: Tensor, members: Incidence) -> Tensor:
        """Return ``[num_nodes, channels]``; ``first`` is the first representation."""
        h = members.to_hyperedges(self.mlp1(x), self.aggr)
        if not isinstance(self.mlp2, MLP):
            y = members.to_nodes(h, self.aggr)
        else:
            y = self._gathered(self.mlp2, x, h, members)
        return self.mlp3((1 - self.alpha) * y + self.alpha * first)

    def _gathered(self, mlp: MLP, x: Tensor, h: Tensor, members: Incidence) -> Tensor:
        if isinstance(mlp.norms[0], nn.BatchNorm1d):  # its statistics are those of all pairs
            pairs = torch.cat([x[members.nodes], h[members.hyperedges]], dim=1)
            return members.pairs_to_nodes(mlp(pairs), self.aggr)
        z = _first_layer(mlp, x, h, members)
        if len(mlp.lins) == 1:
            return members.pairs_to_nodes(z, self.aggr)
        z = dropout(mlp.norms[1](z.relu()), mlp.dropout, mlp.training)
        for lin, norm in zip(mlp.lins[1:-1], mlp.norms[2:], strict=True):
            z = dropout(norm(lin(z).relu()), mlp.dropout, mlp.training)
        last = mlp.lins[-1]
        times = members.degree.clamp(max=1) if self.aggr == "mean" else members.degree
        return F.linear(members.pairs_to_nodes(z, self.aggr), last.weight) + times * last.bias


def _first_layer(mlp: MLP, x: Tensor, h: Tensor, members: Incidence) -> Tensor:
    r"""Return the first linear layer on :math:`[x_v \Vert h_e]`, normalized or not, ``[num_incidences, channels]``.

    With :math:`\mathrm{LN}(z) = g (z - \mu) / \sigma + b` it is
    :math:`(W_x (g_x x_v) + W_h (g_h h_e) - \mu_{ve} W g) / \sigma_{ve} + W b + b'`.
    """
    lin, norm, width = mlp.lins[0], mlp.norms[0], x.size(1)
    if not isinstance(norm, nn.LayerNorm):
        left, right = lin.weight.split(width, dim=1)
        return members.pairs(F.linear(x, left, lin.bias), F.linear(h, right))
    weight = lin.weight * norm.weight
    left, right = weight.split(width, dim=1)
    # centred first, so that no large numbers are subtracted from each other
    (mean_x, centred_x), (mean_h, centred_h) = ((m := part.mean(1, keepdim=True), part - m) for part in (x, h))
    means = members.pairs(F.pad(mean_x, (0, 1)), F.pad(mean_h, (1, 0)))  # of both halves, side by side
    spread = members.pairs(*(part.square().mean(1, keepdim=True) for part in (centred_x, centred_h))) / 2
    half = (means[:, :1] - means[:, 1:]) / 2  # how far each half's mean is from that of the whole
    scale = (spread + half.square() + norm.eps).rsqrt()
    z = members.pairs(F.linear(centred_x, left), F.linear(centred_h, right))
    z = z + half * (left.sum(1) - right.sum(1))
    return z * scale + F.linear(norm.bias, lin.weight, lin.bias)


class JumpLinkDiffusion(nn.Module):
    r"""One step :math:`x' = W\bigl((1 - \alpha)\,\mathrm{aggr}_{e \ni v}\,\mathrm{aggr}_{u \in e} x_u +
    \alpha x^{(0)}_v\bigr)` with a perceptron W.

    Args:
        channels: width.
        mlp_layers: depth of W; 0: identity.
        alpha: share of the first representation.
        aggr: both aggregations.
        dropout: inside W.
    """

    def __init__(self, channels: int, mlp_layers: int, alpha: float, aggr: Aggr, dropout: float) -> None:
        super().__init__()
        self.alpha, self.aggr = alpha, aggr
        self.mlp3 = _mlp(channels, channels, mlp_layers, dropout, "none", False)

    def forward(self, x: Tensor, first: Tensor, members: Incidence) -> Tensor:
        """Return ``[num_nodes, channels]``; ``first`` is the first representation."""
        y = members.to_nodes(members.to_hyperedges(x, self.aggr), self.aggr)
        return self.mlp3((1 - self.alpha) * y + self.alpha * first)


class EDHNN(nn.Module):
    r"""The network of `"Equivariant Hypergraph Diffusion Neural Operators" <https://arxiv.org/abs/2207.06680>`_
    (arXiv 2207.06680, ICLR 2023).

    .. math::
        h_e = \mathrm{mean}_{u \in e} M_1(x_u), \quad y_v = \mathrm{mean}_{e \ni v} M_2[x_v \Vert h_e], \quad
        x'_v = \mathrm{ReLU}\bigl(M_3((1 - \alpha) y_v + \alpha x^{(0)}_v)\bigr)

    with perceptrons :math:`M_1, M_2, M_3` that all layers share, :math:`x^{(0)} = \mathrm{ReLU}(W x + b)`, and a
    perceptron on the last x.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers.
        num_layers: T, number of diffusion steps.
        mlp1_layers: depth of :math:`M_1`; 0: identity.
        mlp2_layers: depth of :math:`M_2`; 0: the representation of the hyperedge alone.
        mlp3_layers: depth of :math:`M_3`; 0: identity.
        alpha: share of the first representation in every step.
        aggr: mean (the paper), or sum.
        conv: ``equivset``, or ``jumplink``, which has no :math:`M_1` and :math:`M_2`, and no normalization in
            :math:`M_3`.
        norm: normalization in all perceptrons.
        input_norm: whether the inputs of :math:`M_1, M_2, M_3` are normalized too.
        classifier_channels: width of the classifier's hidden layers.
        classifier_layers: its depth.
        dropout: on the features, before every step, and in all perceptrons.
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
        mlp1_layers: NonNegativeInt = 2,
        mlp2_layers: NonNegativeInt = 2,
        mlp3_layers: NonNegativeInt = 2,
        alpha: Probability = 0.5,
        aggr: Aggr = "mean",
        conv: Literal["equivset", "jumplink"] = "equivset",
        norm: Norm = "layer",
        input_norm: bool = True,
        classifier_channels: PositiveInt = 64,
        classifier_layers: PositiveInt = 2,
        dropout: Dropout = 0.5,
        per_incidence: bool = False,
    ) -> None:
        super().__init__()
        self.num_layers, self.dropout, self.per_incidence = num_layers, dropout, per_incidence
        h = hidden_channels
        self.lin_in = nn.Linear(in_channels, h)
        self.conv = (
            JumpLinkDiffusion(h, mlp3_layers, alpha, aggr, dropout)
            if conv == "jumplink"
            else EquivariantDiffusion(h, mlp1_layers, mlp2_layers, mlp3_layers, alpha, aggr, dropout, norm, input_norm)
        )
        widths = [h, *[classifier_channels] * (classifier_layers - 1), out_channels]
        self.classifier = IncidenceHead(h, out_channels) if per_incidence else MLP(widths, dropout, norm, False)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for layer in (self.lin_in, *self.conv.children(), self.classifier):
            if not isinstance(layer, nn.Identity):
                layer.reset_parameters()  # type: ignore[operator]

    def forward(self, x: Tensor, hyperedge_index: Tensor, incidence_index: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]`` with ``per_incidence``."""
        members = incidence(hyperedge_index, x)
        x = first = sparse_linear(x, self.lin_in.weight, self.lin_in.bias, self.dropout, self.training).relu()
        for _ in range(self.num_layers):
            x = self.conv(dropout(x, self.dropout, self.training), first, members).relu()
        x = dropout(x, self.dropout, self.training)
        return self.classifier(x, hyperedge_index, incidence_index) if self.per_incidence else self.classifier(x)

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> EDHNN:
        """Build the model from the authors' names.

        Args:
            config: ``num_features, num_classes, MLP_hidden, MLP_num_layers, MLP2_num_layers, MLP3_num_layers`` (of the
                last two a negative number means that of ``MLP_num_layers``), ``All_num_layers, restart_alpha,
                aggregate, edconv_type, normalization, AllSet_input_norm, Classifier_hidden, Classifier_num_layers``.
            state_dict: the authors' parameters; :func:`reference_name` has their names.
        """
        kinds: dict[str, Literal["equivset", "jumplink"]] = {"EquivSet": "equivset", "JumpLink": "jumplink"}
        if config["edconv_type"] not in kinds or config.get("activation", "relu") != "relu":
            raise NotImplementedError(f"edconv_type {config['edconv_type']}, activation {config.get('activation')}")
        depth = config["MLP_num_layers"]
        second, third = (depth if config[key] < 0 else config[key] for key in ("MLP2_num_layers", "MLP3_num_layers"))
        model = cls(
            config["num_features"],
            config["num_classes"],
            config["MLP_hidden"],
            config["All_num_layers"],
            depth,
            second,
            third,
            config["restart_alpha"],
            "mean" if config["aggregate"] == "mean" else "sum",
            kinds[config["edconv_type"]],
            {"ln": "layer", "bn": "batch", "None": "none"}[config["normalization"]],  # type: ignore[arg-type]
            config["AllSet_input_norm"],
            config["Classifier_hidden"],
            config["Classifier_num_layers"],
            config.get("dropout", 0.0),
        )
        model.to(state_dict["lin_in.weight"].dtype)
        model.load_state_dict({name: state_dict[reference_name(name)] for name in model.state_dict()})
        return model


def reference_name(name: str) -> str:
    """Return the authors' name of a parameter or buffer of :class:`EDHNN`."""
    words = {"mlp1": "W1", "mlp2": "W2", "mlp3": "W", "norms": "normalizations"}
    return ".".join(words.get(word, word) for word in name.split("."))

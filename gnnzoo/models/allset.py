"""AllSet: two learned functions of multisets, one from nodes to hyperedges and one back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import glorot

from gnnzoo.errors import ConfigError
from gnnzoo.nn.hypergraph import MLP, Incidence, IncidenceHead, Norm, incidence
from gnnzoo.ops import dropout, sparse_linear
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["AllDeepSets", "AllSetTransformer", "DeepSet", "PooledAttention", "reference_name"]


class DeepSet(nn.Module):
    r"""One half of an AllDeepSets layer: :math:`\mathrm{ReLU}(f_2(\sum_{s} \mathrm{ReLU}(f_1(x_s))))`.

    Args:
        in_channels: width of the input.
        hidden_channels: width of the perceptrons, and of the output.
        mlp_layers: their depth.
        dropout: inside them, and before the sum.
        norm: their normalization; inputs are normalized too where ``input_norm``.
        input_norm: see ``norm``.
        aggr: sum, or mean.
        to_nodes: whether hyperedges send to nodes.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        mlp_layers: int,
        dropout: float,
        norm: Norm,
        input_norm: bool,
        aggr: Literal["sum", "mean"],
        to_nodes: bool,
    ) -> None:
        super().__init__()
        self.dropout, self.aggr, self.to_nodes = dropout, aggr, to_nodes
        widths = [hidden_channels] * mlp_layers
        self.encoder = MLP([in_channels, *widths], dropout, norm, input_norm)
        self.decoder = MLP([hidden_channels, *widths], dropout, norm, input_norm)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.encoder.reset_parameters()
        self.decoder.reset_parameters()

    def forward(self, x: Tensor, members: Incidence, rate: float = 0.0) -> Tensor:
        """Return ``[num_targets, hidden_channels]``; ``rate`` is the dropout on ``x``."""
        x = self.encoder(dropout(x, rate, self.training)).relu()
        x = dropout(x, self.dropout, self.training)
        gather = members.to_nodes if self.to_nodes else members.to_hyperedges
        return self.decoder(gather(x, self.aggr)).relu()


class PooledAttention(nn.Module):
    r"""One half of an AllSetTransformer layer: attention of one learned query :math:`\theta` per head over a set.

    .. math::
        o_h = \theta_h + \sum_s \mathrm{softmax}_s\,\mathrm{LeakyReLU}(\langle W_K x_s + b_K, \theta\rangle_h)
        (W_V x_s + b_V)_h, \quad z = \mathrm{LN}(\Vert_h o_h), \quad \mathrm{LN}(z + \mathrm{ReLU}(f(z)))

    The keys are never computed: they are only multiplied by the query, which is the same for all.

    Args:
        in_channels: width of the input.
        hidden_channels: width of all heads together, and of the output.
        heads: number of heads.
        mlp_layers: depth of f.
        to_nodes: whether hyperedges send to nodes.
    """

    def __init__(self, in_channels: int, hidden_channels: int, heads: int, mlp_layers: int, to_nodes: bool) -> None:
        super().__init__()
        self.to_nodes = to_nodes
        self.lin_key = nn.Linear(in_channels, hidden_channels)
        self.lin_value = nn.Linear(in_channels, hidden_channels)
        self.query = nn.Parameter(torch.empty(1, heads, hidden_channels // heads))
        self.mlp = MLP([hidden_channels] * (mlp_layers + 1), norm="none", input_norm=False)
        self.norms = nn.ModuleList([nn.LayerNorm(hidden_channels), nn.LayerNorm(hidden_channels)])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw keys, values and queries after Glorot, the rest by PyTorch's defaults."""
        for lin in (self.lin_key, self.lin_value):
            glorot(lin.weight)
            nn.init.zeros_(lin.bias)
        nn.init.xavier_uniform_(self.query)
        self.mlp.reset_parameters()
        for norm in self.norms:
            norm.reset_parameters()  # type: ignore[operator]

    def __repr__(self) -> str:
        """Name the sizes in one line."""
        return f"PooledAttention({self.lin_key.in_features}, {self.lin_key.out_features}, heads={self.query.size(1)})"

    def forward(self, x: Tensor, members: Incidence, rate: float = 0.0) -> Tensor:
        """Return ``[num_targets, hidden_channels]``; ``rate`` is the dropout on ``x``."""
        query, heads = self.query[0], self.query.size(1)
        key = (query.unsqueeze(1) @ self.lin_key.weight.unflatten(0, (heads, -1))).squeeze(1)
        offset = (query * self.lin_key.bias.unflatten(0, (heads, -1))).sum(1)
        weight, bias = torch.cat([self.lin_value.weight, key]), torch.cat([self.lin_value.bias, offset])
        value, score = sparse_linear(x, weight, bias, rate, self.training).split([query.numel(), heads], dim=1)
        out = members.attend(value.unflatten(1, (heads, -1)), F.leaky_relu(score, 0.2), self.to_nodes) + query
        z = self.norms[0](out.flatten(1))
        return self.norms[1](z + self.mlp(z).relu())


class _AllSet(nn.Module):
    """The frame of both networks: blocks of two halves, and a perceptron on the nodes."""

    def __init__(
        self,
        halves: list[tuple[nn.Module, nn.Module]],
        classifier: list[int],
        classifier_norm: Norm,
        dropout: float,
        input_dropout: float,
        per_incidence: bool,
    ) -> None:
        super().__init__()
        self.dropout, self.input_dropout, self.per_incidence = dropout, input_dropout, per_incidence
        self.to_hyperedges = nn.ModuleList(first for first, _ in halves)
        self.to_nodes = nn.ModuleList(second for _, second in halves)
        self.classifier = (
            IncidenceHead(classifier[0], classifier[-1])
            if per_incidence
            else MLP(classifier, dropout, classifier_norm, input_norm=False)
        )

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for layer in (*self.to_hyperedges, *self.to_nodes, self.classifier):
            layer.reset_parameters()

    def forward(self, x: Tensor, hyperedge_index: Tensor, incidence_index: Tensor | None = None) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]`` with ``per_incidence``."""
        members, rate = incidence(hyperedge_index, x), self.input_dropout
        for first, second in zip(self.to_hyperedges, self.to_nodes, strict=True):
            # the dropout of what goes into a half is done there, where zeros of sparse features can be skipped
            x = second(first(x, members, rate).relu(), members, self.dropout).relu()
            rate = self.dropout
        x = dropout(x, self.dropout, self.training)
        return self.classifier(x, hyperedge_index, incidence_index) if self.per_incidence else self.classifier(x)


class AllDeepSets(_AllSet):
    r"""AllDeepSets of `"You are AllSet: A Multiset Function Framework for Hypergraph Neural Networks"
    <https://arxiv.org/abs/2106.13264>`_ (arXiv 2106.13264, ICLR 2022).

    .. math::
        h_e = \mathrm{ReLU}\bigl(f_2(\textstyle\sum_{u \in e} \mathrm{ReLU}(f_1(x_u)))\bigr), \quad
        x'_v = \mathrm{ReLU}\bigl(f_4(\textstyle\sum_{e \ni v} \mathrm{ReLU}(f_3(h_e)))\bigr)

    with perceptrons :math:`f_1, \dots, f_4`, and a perceptron on :math:`x'`.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers.
        num_layers: number of blocks.
        mlp_layers: depth of the perceptrons.
        classifier_channels: width of the classifier's hidden layers.
        classifier_layers: its depth.
        norm: normalization in all perceptrons.
        input_norm: whether the inputs of the perceptrons in the blocks are normalized too.
        aggr: sum (the paper), or mean.
        dropout: inside the perceptrons and between them.
        input_dropout: on the features.
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
        num_layers: PositiveInt = 1,
        mlp_layers: PositiveInt = 2,
        classifier_channels: PositiveInt = 64,
        classifier_layers: PositiveInt = 1,
        norm: Norm = "layer",
        input_norm: bool = True,
        aggr: Literal["sum", "mean"] = "sum",
        dropout: Dropout = 0.5,
        input_dropout: Dropout = 0.2,
        per_incidence: bool = False,
    ) -> None:
        h, rest = hidden_channels, (mlp_layers, dropout, norm, input_norm, aggr)
        halves = [
            (DeepSet(h if number else in_channels, h, *rest, to_nodes=False), DeepSet(h, h, *rest, to_nodes=True))
            for number in range(num_layers)
        ]
        widths = [h, *[classifier_channels] * (classifier_layers - 1), out_channels]
        super().__init__(halves, widths, norm, dropout, input_dropout, per_incidence)  # type: ignore[arg-type]

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> AllDeepSets:
        """Build the model from the authors' names.

        Args:
            config: ``num_features, num_classes, MLP_hidden, All_num_layers, MLP_num_layers, Classifier_hidden,
                Classifier_num_layers, normalization, deepset_input_norm, aggregate``.
            state_dict: the authors' parameters and buffers; those that their code never uses are left out.
        """
        _refuse(config)
        settings = _settings(config) | {"input_norm": config["deepset_input_norm"], "aggr": AGGR[config["aggregate"]]}
        return _loaded(cls(config["num_features"], config["num_classes"], **settings), state_dict)


class AllSetTransformer(_AllSet):
    r"""AllSetTransformer of `"You are AllSet: A Multiset Function Framework for Hypergraph Neural Networks"
    <https://arxiv.org/abs/2106.13264>`_ (arXiv 2106.13264, ICLR 2022).

    .. math::
        h_e = \mathrm{ReLU}\bigl(\mathrm{PMA}_1(\{x_u\}_{u \in e})\bigr), \quad
        x'_v = \mathrm{ReLU}\bigl(\mathrm{PMA}_2(\{h_e\}_{e \ni v})\bigr)

    with pooling by multi-head attention of one learned query, see :class:`PooledAttention`, and a perceptron on
    :math:`x'`.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers, a multiple of ``heads``.
        num_layers: number of blocks.
        heads: attention heads.
        mlp_layers: depth of the perceptrons behind the attention.
        classifier_channels: width of the classifier's hidden layers.
        classifier_layers: its depth.
        norm: normalization in the classifier.
        dropout: after every half of a block, and in the classifier.
        input_dropout: on the features.
        per_incidence: whether it answers for nodes in hyperedges instead of for nodes.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``hyperedge_index`` ``[2, num_incidences]``;
          ``incidence_index`` ``[num_rows]``, with ``per_incidence``: which incidences are asked about (optional: all)
        - **output:** logits ``[num_nodes, out_channels]``, or ``[num_rows, out_channels]``

    Raises:
        ConfigError: the width is no multiple of the number of heads.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 1,
        heads: PositiveInt = 1,
        mlp_layers: PositiveInt = 2,
        classifier_channels: PositiveInt = 64,
        classifier_layers: PositiveInt = 1,
        norm: Norm = "layer",
        dropout: Dropout = 0.5,
        input_dropout: Dropout = 0.2,
        per_incidence: bool = False,
    ) -> None:
        h = hidden_channels
        if h % heads:
            raise ConfigError(f"hidden_channels={h} is no multiple of heads={heads}")
        halves = [
            (
                PooledAttention(h if number else in_channels, h, heads, mlp_layers, to_nodes=False),
                PooledAttention(h, h, heads, mlp_layers, to_nodes=True),
            )
            for number in range(num_layers)
        ]
        widths = [h, *[classifier_channels] * (classifier_layers - 1), out_channels]
        super().__init__(halves, widths, norm, dropout, input_dropout, per_incidence)  # type: ignore[arg-type]

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> AllSetTransformer:
        """Build the model from the authors' names.

        Args:
            config: ``num_features, num_classes, MLP_hidden, All_num_layers, heads, MLP_num_layers, Classifier_hidden,
                Classifier_num_layers, normalization``.
            state_dict: the authors' parameters and buffers; those that their code never uses are left out.
        """
        _refuse(config)
        settings = _settings(config) | {"heads": config["heads"]}
        return _loaded(cls(config["num_features"], config["num_classes"], **settings), state_dict)


AGGR: dict[str, Literal["sum", "mean"]] = {"add": "sum", "sum": "sum", "mean": "mean"}
NORMS: dict[str, Norm] = {"ln": "layer", "bn": "batch", "None": "none"}


def _refuse(config: Mapping[str, Any]) -> None:
    for key in ("GPR", "LearnMask"):
        if config.get(key):
            raise NotImplementedError(f"{key} of the authors' code")


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hidden_channels": config["MLP_hidden"],
        "num_layers": config["All_num_layers"],
        "mlp_layers": config["MLP_num_layers"],
        "classifier_channels": config["Classifier_hidden"],
        "classifier_layers": config["Classifier_num_layers"],
        "norm": NORMS[config["normalization"]],
        "dropout": config.get("dropout", 0.0),
        "input_dropout": 0.0 if not config.get("dropout") else 0.2,
    }


_PARTS = {
    "encoder": "f_enc",
    "decoder": "f_dec",
    "lin_key": "prop.lin_K",
    "lin_value": "prop.lin_V",
    "query": "prop.att_r",
    "mlp": "prop.rFF",
}


def reference_name(name: str) -> str:
    """Return the authors' name of a parameter or buffer of AllSet or ED-HNN's perceptrons."""
    part, *rest = name.split(".")
    if part == "classifier":
        return ".".join(["classifier", *("normalizations" if word == "norms" else word for word in rest)])
    number, half, *rest = rest
    layer = f"{'V2E' if part == 'to_hyperedges' else 'E2V'}Convs.{number}"
    if half == "norms":
        return f"{layer}.prop.ln{rest[0]}.{rest[1]}"
    return ".".join([layer, _PARTS[half], *("normalizations" if word == "norms" else word for word in rest)])


def _loaded(model: Any, state_dict: Mapping[str, Tensor]) -> Any:
    model.to(next(iter(state_dict.values())).dtype)
    model.load_state_dict({name: state_dict[reference_name(name)] for name in model.state_dict()})
    return model

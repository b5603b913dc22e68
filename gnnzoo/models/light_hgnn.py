"""LightHGNN: a perceptron that a hypergraph network has taught, which needs no hypergraph once it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from gnnzoo.models.hgnn import HGNN
from gnnzoo.models.hnhn import HNHN
from gnnzoo.models.unignn import UniGNN
from gnnzoo.nn.hypergraph import MLP, incidence
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["LightHGNN", "load_reference_teacher", "topology_score"]


class LightHGNN(nn.Module):
    r"""The student of `"LightHGNN: Distilling Hypergraph Neural Networks into MLPs for 100x Faster Inference"
    <https://arxiv.org/abs/2402.04296>`_ (arXiv 2402.04296, ICLR 2024).

    .. math::
        X^{(l+1)} = \mathrm{dropout}\bigl( \mathrm{BatchNorm}( \mathrm{ReLU}(X^{(l)} W^{(l)} + b^{(l)}) ) \bigr)

    and a linear layer. What sets it apart from other perceptrons is how it is trained: by the strategies ``light-hgnn``
    and ``light-hgnn-plus`` (:mod:`gnnzoo.strategies.light_hgnn`).

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of the hidden layers.
        num_layers: number of linear layers.
        dropout: on the hidden layers.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 128,
        num_layers: PositiveInt = 2,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        self.mlp = MLP(widths, dropout, norm="batch", input_norm=False)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        self.mlp.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        return self.mlp(x)

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> LightHGNN:
        """Build the model from the authors' names.

        Args:
            config: ``num_features, num_classes, student_hidden, student_dropout``.
            state_dict: ``layer0.layers.0`` (linear), ``layer0.layers.2`` (normalization), ``layer1`` (linear), each
                with ``student.`` in front or not; what belongs to a teacher is not looked at.
        """
        rate = config.get("student_dropout", 0.5)
        model = cls(config["num_features"], config["num_classes"], config["student_hidden"], dropout=rate)
        found = {name.removeprefix("student."): value for name, value in state_dict.items()}
        model.to(found["layer1.weight"].dtype)
        model.load_state_dict({name: found[reference_name(name)] for name in model.state_dict()})
        return model


def reference_name(name: str) -> str:
    """Return the authors' name, without ``student.``, of a parameter or buffer of :class:`LightHGNN`."""
    places = {"mlp.lins.0": "layer0.layers.0", "mlp.norms.1": "layer0.layers.2", "mlp.lins.1": "layer1"}
    module, _, part = name.rpartition(".")
    return f"{places[module]}.{part}"


def load_reference_teacher(config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> nn.Module:
    """Build a teacher from the authors' names: HGNN, HGNN+, HNHN or UniGCN, as the library DHG 0.9.4 has them.

    Args:
        config: ``teacher`` (``hgnn, hgnnp, hnhn, unigcn``), ``num_features, num_classes, hidden, drop_rate``.
        state_dict: the authors' parameters; :func:`reference_teacher_name` has their names.

    Raises:
        NotImplementedError: another teacher, or one with batch normalization, which the authors' have not.
    """
    makers: dict[str, tuple[Any, dict[str, Any]]] = {
        "hgnn": (HGNN, {"norm": "symmetric"}),
        "hgnnp": (HGNN, {"norm": "mean"}),
        "hnhn": (HNHN, {}),
        "unigcn": (UniGNN, {"conv": "gcn", "heads": 1, "bias": True, "input_dropout": False, "count_zero": True}),
    }
    name = config["teacher"]
    if name not in makers or config.get("use_bn", False):
        raise NotImplementedError(f"teacher {name}{' with batch normalization' * bool(config.get('use_bn'))}")
    cls, settings = makers[name]
    rate = config.get("drop_rate", 0.5)
    model: nn.Module = cls(config["num_features"], config["num_classes"], config["hidden"], dropout=rate, **settings)
    model.to(next(iter(state_dict.values())).dtype)
    model.load_state_dict({own: state_dict[reference_teacher_name(own, name)] for own in model.state_dict()})
    return model


def reference_teacher_name(name: str, teacher: str) -> str:
    """Return the authors' name of a parameter of one of their teachers."""
    kind, number, *_, part = name.split(".")
    theta = {"to_hyperedges": "theta_v2e", "to_nodes": "theta_e2v"}.get(kind, "theta")
    return f"layers{number}.{theta}.{part}" if teacher == "hgnn" else f"layers.{number}.{theta}.{part}"


@torch.no_grad()
def topology_score(z: Tensor, hyperedge_index: Tensor) -> Tensor:
    r"""Return how far nodes are from the mean of their hyperedges, :math:`\mathrm{mean}_e \mathrm{mean}_{v \in e}
    \Vert \mathrm{mean}_{u \in e} z_u - z_v \Vert_2`; small where a representation knows the hypergraph.

    Args:
        z: ``[num_nodes, channels]``.
        hyperedge_index: ``[2, num_incidences]``; hyperedges without a node do not count.
    """
    members = incidence(hyperedge_index, z)
    distance = (members.to_hyperedges(z)[members.hyperedges] - z[members.nodes]).norm(dim=1)
    return scatter(distance, members.hyperedges, 0, members.num_hyperedges, "mean").mean()

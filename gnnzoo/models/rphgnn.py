"""RpHGNN: means along relations are computed once, with random projections between; what is trained is an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.ops import dropout
from gnnzoo.transforms.projection import (
    Kernel,
    Parity,
    Precision,
    PropagateThenUpdate,
    Squash,
    target_type,
    unpack,
)
from gnnzoo.types import Dropout, PositiveInt, Seed

__all__ = ["RpHGNN", "reference_name"]

Merge = Literal["concat", "mean"]


class GroupEncoder(nn.Module):
    r"""One group's :math:`\mathrm{MLP}(\Vert_f \sum_s W_{fs} G_s + b_f)`, with dropout on the input.

    Args:
        width: of each slot.
        num_slots: S.
        num_filters: F; a group of one slot has one filter.
        channels: widths of the perceptron's layers, each followed by PReLU and dropout.
        input_dropout: on the group.
        dropout: of the perceptron.
    """

    def __init__(
        self,
        width: int,
        num_slots: int,
        num_filters: int,
        channels: Sequence[int],
        input_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__()
        filters = num_filters if num_slots > 1 else 1
        self.input_dropout = input_dropout
        self.weight = nn.Parameter(torch.empty(filters, num_slots))
        self.bias = nn.Parameter(torch.empty(filters))
        self.mlp = _perceptron([filters * width, *channels], dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the filters and the perceptron anew."""
        nn.init.xavier_normal_(self.weight)
        nn.init.zeros_(self.bias)
        _reset(self.mlp)

    def forward(self, group: Tensor) -> Tensor:
        """Return ``[rows, channels]`` for ``group`` ``[rows, slots, width]``."""
        group = dropout(group.to(self.weight.dtype), self.input_dropout, self.training)
        filters = self.weight.expand(len(group), -1, -1)  # matmul would copy the group
        return self.mlp((torch.bmm(filters, group) + self.bias.unsqueeze(1)).flatten(1))


class RpHGNN(nn.Module):
    r"""The network of `"Efficient Heterogeneous Graph Learning via Random Projection"
    <https://arxiv.org/abs/2310.14481>`_ (arXiv 2310.14481, TKDE 2024).

    .. math::
        Y_{c,f} = \sum_s W_c[f, s]\, G_{c,s} + b_c[f], \quad
        \mathrm{logits} = \mathrm{MLP}\bigl(\mathrm{merge}_c\, \mathrm{MLP}_c(\Vert_f Y_{c,f})\bigr)

    on the groups :math:`G_c` that :class:`gnnzoo.transforms.PropagateThenUpdate` computes once: what the target nodes
    collect along every relation, in every iteration. No edge is looked at in training, and rows are independent.

    Args:
        in_channels: width of every group's slots, in their order.
        out_channels: number of classes.
        num_slots: of every group.
        target: the type of nodes that is classified.
        hidden_channels: width of all layers.
        num_filters: F, combinations of a group's slots; one where there is one slot.
        group_layers: layers of every group's perceptron.
        output_layers: layers of the perceptron on the merged groups.
        merge: ``concat`` or ``mean`` over the groups.
        input_dropout: on the groups.
        dropout: behind every hidden layer.
        num_iterations: K, how often features are propagated and squashed.
        parity: the hops that are collected: all, or the even or odd ones.
        use_input: the target's own features are the first slot of its even groups.
        kernel: how random projections are drawn (``sparse``: 0 and ±√3).
        squash: how what is collected becomes the next features.
        embedding_channels: width of the random features of types that have none.
        target_channels: the target's features are projected to this width first; None: they are not.
        self_group: one more group: the target's features as they came.
        label_groups: further groups: training labels that were propagated.
        precision: what groups are stored in.
        kernel_seed: of the projections; None: the run's seed.

    Shapes:
        - **input:** ``x_dict`` with ``[num_targets, total]`` for the target type, all groups side by side, each
          ``slots * width`` columns
        - **output:** logits ``[num_targets, out_channels]``

    Raises:
        DataError: in ``infer`` or ``forward``, data on which the transform was not applied.
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        out_channels: int,
        num_slots: dict[str, int],
        target: str,
        hidden_channels: PositiveInt = 512,
        num_filters: PositiveInt = 2,
        group_layers: PositiveInt = 2,
        output_layers: PositiveInt = 2,
        merge: Merge = "concat",
        input_dropout: Dropout = 0.5,
        dropout: Dropout = 0.5,
        num_iterations: PositiveInt = 3,
        parity: Parity = "all",
        use_input: bool = True,
        kernel: Kernel = "sparse",
        squash: Squash = "project_norm_sum",
        embedding_channels: PositiveInt = 512,
        target_channels: PositiveInt | None = None,
        self_group: bool = False,
        label_groups: bool = False,
        precision: Precision = "float16",
        kernel_seed: Seed | None = None,
    ) -> None:
        super().__init__()
        self.target, self.merge = target, merge
        self.layout = {name: [num_slots[name], width] for name, width in in_channels.items()}
        h = hidden_channels
        self._build([h] * group_layers, [h] * (output_layers - 1) + [out_channels], num_filters, input_dropout, dropout)

    def _build(
        self, group: Sequence[int], output: Sequence[int], filters: int, input_dropout: float, dropout: float
    ) -> None:
        self.groups = nn.ModuleList(
            GroupEncoder(width, slots, filters, group, input_dropout, dropout) for slots, width in self.layout.values()
        )
        merged = group[-1] * (len(self.groups) if self.merge == "concat" else 1)
        *hidden, last = [merged, *output]
        self.hidden = _perceptron(hidden, dropout)
        self.out = nn.Linear(hidden[-1], last)
        self.reset_parameters()

    @classmethod
    def pre_transform(
        cls,
        num_iterations: int = 3,
        parity: Parity = "all",
        use_input: bool = True,
        kernel: Kernel = "sparse",
        squash: Squash = "project_norm_sum",
        embedding_channels: int = 512,
        target_channels: int | None = None,
        self_group: bool = False,
        label_groups: bool = False,
        precision: Precision = "float16",
        kernel_seed: int | None = None,
        **_: Any,
    ) -> BaseTransform:
        """Propagate once, before training."""
        return PropagateThenUpdate(
            num_iterations,
            parity,
            use_input,
            kernel,
            squash,
            embedding_channels,
            target_channels,
            self_group,
            label_groups,
            precision,
            kernel_seed,
        )

    @classmethod
    def infer(cls, data: HeteroData) -> dict[str, Any]:
        """Read slots and widths of the groups that the transform has left in the data."""
        target = target_type(data)
        groups = data[target].get("groups")
        if groups is None:
            raise DataError(f"{target} nodes have no groups: apply RpHGNN.pre_transform(...) to the data first")
        return {
            "in_channels": {name: width for name, (_, width) in groups.items()},
            "num_slots": {name: slots for name, (slots, _) in groups.items()},
            "target": target,
        }

    def reset_parameters(self) -> None:
        """Draw all weights anew from Xavier's normal distribution; biases start at 0."""
        for group in self.groups:
            group.reset_parameters()  # type: ignore[operator]
        _reset(self.hidden, self.out)

    def forward(self, x_dict: dict[str, Tensor]) -> Tensor:
        """Return logits ``[num_targets, out_channels]``."""
        x = x_dict[self.target]
        total = sum(slots * width for slots, width in self.layout.values())
        if x.size(1) != total:
            raise DataError(
                f"{self.target} nodes have {x.size(1)} values, not the {total} of {len(self.layout)} groups"
            )
        found = [encoder(group) for encoder, group in zip(self.groups, unpack(x, self.layout).values(), strict=True)]
        merged = torch.cat(found, dim=1) if self.merge == "concat" else torch.stack(found).mean(dim=0)
        return self.out(self.hidden(merged))

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> RpHGNN:
        """Build the model from the authors' names.

        Args:
            config: ``filters, group_channels, global_channels, merge_mode``, perhaps ``target, input_drop_rate,
                drop_rate``; groups are called by their numbers.
            state_dict: ``group_encoders.*`` and ``multi_group_fusion.*``.
        """
        weights: dict[str, Tensor] = {}
        for name, value in state_dict.items():
            ours = reference_name(name, len(config["global_channels"]))
            weights[ours] = value.flatten(1) if value.dim() == 3 else value  # a kernel of width 1 is a matrix
        count = len({name.split(".")[1] for name in weights if name.startswith("groups.")})
        slots = {str(c): weights[f"groups.{c}.weight"].size(1) for c in range(count)}
        widths = {
            str(c): weights[f"groups.{c}.mlp.0.weight"].size(1) // weights[f"groups.{c}.weight"].size(0)
            for c in range(count)
        }
        if config.get("activation", "prelu") != "prelu":
            raise ConfigError(f"activation {config['activation']!r}: the network has PReLU")
        drops = config.get("input_drop_rate", 0.0), config.get("drop_rate", 0.0)
        *_, classes = config["global_channels"]
        model = cls(widths, classes, slots, config.get("target", "target"), merge=config["merge_mode"])
        model._build(config["group_channels"], config["global_channels"], config["filters"], *drops)
        model.to(weights["out.weight"].dtype).load_state_dict(weights)
        return model


def reference_name(name: str, global_layers: int) -> str:
    """Return our name of the authors' parameter.

    Args:
        name: theirs, such as ``multi_group_fusion.global_fc.layers.3.weight``.
        global_layers: how many layers their ``global_fc`` has: the last is our ``out``.
    """
    parts = name.replace(".alpha", ".weight").split(".")
    if parts[0] == "group_encoders":
        return f"groups.{parts[2]}.{parts[-1]}"
    if parts[1] == "group_fc_list":
        return f"groups.{parts[2]}.mlp.{parts[4]}.{parts[5]}"
    if int(parts[3]) == 3 * (global_layers - 1):
        return f"out.{parts[4]}"
    return f"hidden.{parts[3]}.{parts[4]}"


def _perceptron(widths: Sequence[int], p: float) -> nn.Sequential:
    """Return layers of Linear, PReLU and dropout."""
    return nn.Sequential(
        *(layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.PReLU(), nn.Dropout(p)))
    )


def _reset(*modules: nn.Module) -> None:
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.PReLU):
                layer.reset_parameters()

"""Group DRO: the worst group counts most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gnnzoo.datasets import Bundle
from gnnzoo.errors import ConfigError
from gnnzoo.strategies.base import RunContext
from gnnzoo.strategies.environments import EnvironmentStrategy, Part
from gnnzoo.tasks import Batch, Task
from gnnzoo.types import NonNegativeFloat, PositiveFloat, PositiveInt

__all__ = ["GroupDRO"]


class GroupDRO(EnvironmentStrategy):
    r"""The online algorithm of `"Distributionally Robust Neural Networks for Group Shifts"
    <https://arxiv.org/abs/1911.08731>`_ (arXiv 1911.08731, algorithm 1).

    .. math::
        q_g \leftarrow q_g \exp\bigl(\eta (R_g + C / \sqrt{n_g}) \bigr), \quad q \leftarrow q / \sum_g q_g, \quad
        L = \sum_g q_g R_g

    in every step, over the groups of its batch; q begins uniform. :math:`R_g` is the mean loss of a group's rows in the
    batch, :math:`n_g` the number of its training rows.

    Args:
        step_size: :math:`\eta`.
        adjustment: C, for groups so small that their training loss says little (the paper's equation 5).
        groups: ``environment``, or ``environment-class``: its rows of one class each, as far as there are any.
        num_environments: how many, of equal size as far as possible.
        by: what rows are grouped by: ``nodes``, ``edges`` or ``density`` of graphs, ``neighbour-pattern``, ``degree``
            or ``hyperdegree`` of nodes, or an attribute of the data; None: the first that there is.
    """

    def __init__(
        self,
        step_size: PositiveFloat = 0.01,
        adjustment: NonNegativeFloat = 0.0,
        groups: Literal["environment", "environment-class"] = "environment",
        num_environments: PositiveInt = 4,
        by: str | None = None,
    ) -> None:
        super().__init__(num_environments, by)
        self.step_size, self.adjustment, self.by_class = step_size, adjustment, groups == "environment-class"

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Find the groups, all of equal weight.

        Raises:
            ConfigError: the data cannot be grouped so.
        """
        super().setup(model, bundle, task, run)
        if self.by_class and task.target != "multiclass":
            raise ConfigError(f"strategy.groups=environment-class needs one class for each row, not {task.target}")
        self.num_classes = bundle.num_outputs
        (split,) = bundle.splits
        numbers = [self._numbers(batch) for batch in task.loader(bundle, split, "train", 1024)]
        self.names, sizes = torch.cat(numbers).unique(return_counts=True)
        self.sizes = sizes.float()
        self.log_weights = torch.full_like(self.sizes, 1 / len(sizes)).log()

    @property
    def weights(self) -> Tensor:
        """The weights q of the groups, ``[num_groups]``, which sum to 1."""
        return self.log_weights.softmax(dim=0)

    def _numbers(self, batch: Batch) -> Tensor:
        environments = self.environments(batch)
        return environments * self.num_classes + batch.y if self.by_class else environments

    def groups(self, batch: Batch) -> Tensor:
        """Return the groups of the scored rows of a batch, ``[num_rows]``."""
        return torch.searchsorted(self.names, self._numbers(batch))

    def objective(self, parts: Sequence[Part]) -> Tensor:
        """Give more weight to groups of large risk, then return the weighted sum of risks."""
        risks = self.risks(parts)
        groups = torch.tensor([part.group for part in parts], device=risks.device)
        adjusted = risks.detach() + self.adjustment / self.sizes[groups].sqrt()
        raised = self.log_weights.index_add(0, groups, (self.step_size * adjusted).to(self.log_weights.dtype))
        self.log_weights = raised.log_softmax(dim=0)
        self.note("worst_risk", risks.max())
        self.note("largest_weight", self.weights.max())
        return (self.weights[groups] * risks).sum()

    def state_dict(self) -> dict[str, Any]:
        """Return the weights of the groups."""
        return {"log_weights": self.log_weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the weights of the groups back."""
        self.log_weights = state["log_weights"].to(self.sizes.device)

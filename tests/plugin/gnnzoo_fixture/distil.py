"""A strategy in two stages: a teacher is trained, then its student imitates it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gnnzoo.datasets import Bundle
from gnnzoo.errors import ConfigError
from gnnzoo.strategies import RunContext, Strategy
from gnnzoo.tasks import Batch, Task, forward, outputs
from gnnzoo.types import PositiveFloat, PositiveInt, Probability

__all__ = ["Distil"]


class Distil(Strategy):
    r"""`"Distilling the Knowledge in a Neural Network" <https://arxiv.org/abs/1503.02531>`_ (arXiv 1503.02531), with a
    teacher whose confidence is calibrated meanwhile by one learned factor :math:`s`.

    .. math:: (1 - w)\, \ell(z, y) + w\, T^2\, \mathrm{KL}\bigl(\sigma(s\,t / T) \,\Vert\, \sigma(z / T)\bigr)

    Args:
        teacher: a registered model.
        epochs: of the teacher's training; default: what its card says.
        weight: of the imitation, :math:`w`.
        temperature: :math:`T`.
    """

    def __init__(
        self,
        teacher: str = "gcn",
        epochs: PositiveInt | None = None,
        weight: Probability = 0.5,
        temperature: PositiveFloat = 2.0,
    ) -> None:
        self.teacher, self.epochs, self.weight, self.temperature = teacher, epochs, weight, temperature

    def teachers(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return the teacher: part of the run's configuration, trained on the student's split and seed."""
        return {"teacher": (self.teacher, {"train.epochs": self.epochs} if self.epochs else {})}

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Train the teacher, unless an interrupted run finds it trained, and note what it says of every row."""
        super().setup(model, bundle, task, run)
        if task.target != "multiclass":
            raise ConfigError(f"strategy fixture-distil imitates class probabilities, the target is {task.target}")
        teacher = run.train("teacher")
        for graph, logits in zip(bundle.graphs, outputs(teacher.model, teacher.bundle), strict=True):
            graph.teacher_logits = logits  # rides along into mini-batches
        self.scale = nn.Parameter(torch.ones((), device=next(model.parameters()).device))

    def step(self, batch: Batch) -> Tensor:
        """Return the student's loss, and that of the teacher's calibration, which moves the factor alone."""
        output, logits = forward(self.model, batch.data), batch.data.teacher_logits
        soft = (self.scale.detach() * logits / self.temperature).softmax(dim=1)
        imitation = F.kl_div((output / self.temperature).log_softmax(dim=1), soft, reduction="batchmean")
        own = self.task.loss(output, batch)
        calibration = self.task.loss(self.scale * logits, batch)
        return (1 - self.weight) * own + self.weight * self.temperature**2 * imitation + calibration

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the learned factor."""
        return (self.scale,)

    def state_dict(self) -> dict[str, Any]:
        """Return the learned factor; the teacher has a checkpoint of its own."""
        return {"scale": self.scale.detach().clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        with torch.no_grad():
            self.scale.copy_(state["scale"])

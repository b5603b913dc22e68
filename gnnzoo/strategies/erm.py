"""Empirical risk minimisation: the mean loss over the training rows, nothing else."""

from __future__ import annotations

from torch import Tensor

from gnnzoo.strategies.base import Strategy
from gnnzoo.tasks import Batch, forward

__all__ = ["ERM"]


class ERM(Strategy):
    """Plain training, the default strategy."""

    def step(self, batch: Batch) -> Tensor:
        """Return the task's loss of the model's output."""
        return self.task.loss(forward(self.model, batch.data), batch)

"""The contract of a strategy: it owns the training step, and works with any model that fits its card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from gnnzoo.datasets import Bundle
from gnnzoo.tasks import Batch, Task

__all__ = ["RunContext", "Strategy"]


class RunContext(Protocol):
    """What a strategy may ask of the run that it serves."""

    seed: int

    def train(self, model: str, settings: Mapping[str, Any] | None = None) -> nn.Module:
        """Train another model on the same input, split and seed (a teacher) and return it in evaluation mode.

        It sees what the caller's model sees, so that both can be called with one batch. A run that is interrupted
        afterwards finds it trained.

        Args:
            model: its registered name.
            settings: ``{"model.hidden_channels": 32, "train.epochs": 100}``; the rest is as in ``gnnzoo run``, but for
                ``data`` and ``dataset``, which are the caller's.

        Raises:
            ConfigError: no such model or setting, or a model with a ``pre_transform`` of its own.
        """


class Strategy(ABC):
    """One training method; the constructor takes its hyperparameters (``strategy.<key>=``), all with defaults.

    The engine calls :meth:`setup` once, then for every epoch :meth:`on_epoch` and :meth:`step` for each batch.
    Labels outside training and validation nodes are blank in everything that a strategy is given.
    """

    model: nn.Module
    task: Task

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Get ready to train ``model``: keep what is needed, train a teacher, draw environments."""
        self.model, self.task = model, task

    @abstractmethod
    def step(self, batch: Batch) -> Tensor:
        """Return the loss of one batch, ready for ``backward``."""

    def on_epoch(self, epoch: int) -> None:  # noqa: B027 - optional
        """Do what happens between epochs; ``epoch`` counts from 1."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return trainable parameters beside the model's."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - optional
        """Take back what :meth:`state_dict` returned, after :meth:`setup`."""

"""The contract of a strategy: it owns the training step, and works with any model that fits its card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from gnnzoo.datasets import Bundle
from gnnzoo.tasks import Batch, Task

__all__ = ["RunContext", "Strategy", "Teacher"]


@dataclass(frozen=True)
class Teacher:
    """A trained model and the blind input that it was trained on, handled and transformed as its own card says."""

    model: nn.Module
    """In evaluation mode, its parameters frozen."""
    bundle: Bundle
    """The same graphs in the same order as the student's, with the teacher's features and transform."""


class RunContext(Protocol):
    """What a strategy may ask of the run that it serves."""

    seed: int

    def train(self, role: str) -> Teacher:
        """Train one of :meth:`Strategy.teachers` on the same split and seed.

        The caller's random numbers are not touched, and a run that is interrupted afterwards finds it trained.

        Raises:
            ConfigError: the strategy declares no such teacher.
        """


class Strategy(ABC):
    """One training method; the constructor takes its hyperparameters (``strategy.<key>=``), all with defaults.

    The engine calls :meth:`setup` once, then for every epoch :meth:`on_epoch` and :meth:`step` for each batch.
    Labels outside training and validation nodes are blank in everything that a strategy is given.
    """

    model: nn.Module
    task: Task

    def teachers(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return the models that :meth:`setup` trains first, by role: a registered name, and settings above its card's.

        They are resolved with the run and belong to its configuration: ``{"teacher": ("gcn", {"train.epochs": 100})}``.
        """
        return {}

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Get ready to train ``model``: keep what is needed, train a teacher, draw environments."""
        self.model, self.task = model, task

    @abstractmethod
    def step(self, batch: Batch) -> Tensor:
        """Return the loss of one batch, ready for ``backward``."""

    def on_epoch(self, epoch: int) -> None:  # noqa: B027 - optional
        """Do what happens between epochs; ``epoch`` counts from 1."""

    def log(self) -> dict[str, float]:
        """Return numbers of the epoch that has just been trained, for its row of the history."""
        return {}

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return trainable parameters beside the model's."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - optional
        """Take back what :meth:`state_dict` returned, after :meth:`setup`."""

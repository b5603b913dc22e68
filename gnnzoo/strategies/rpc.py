"""Reliable paired comparisons: how BREC asks whether a model tells two graphs apart."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gnnzoo.datasets import Bundle
from gnnzoo.errors import ConfigError
from gnnzoo.strategies.base import RunContext, Strategy
from gnnzoo.tasks import Batch, Task, forward
from gnnzoo.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

__all__ = ["PairedComparisons"]


class PairedComparisons(Strategy):
    r"""The procedure of `"An Empirical Study of Realized GNN Expressiveness" <https://arxiv.org/abs/2304.07702>`_
    (arXiv 2304.07702, ICML 2024): ``gnnzoo expressivity`` carries it out.

    Args:
        copies: q, how many relabelled copies of a graph are embedded.
        level: :math:`\alpha`, how often equal graphs may be taken for different ones.
        width: k, width of the embedding that is compared; less than ``copies``.
        dtype: what is computed in.
        epochs: passes over the copies of a pair in which the model is trained to part it; 0: the weights are random.
        lr: learning rate of that training (Adam).
        weight_decay: its L2 decay.
        batch_size: pairs of copies per step of it.
    """

    def __init__(
        self,
        copies: PositiveInt = 32,
        level: PositiveFloat = 0.05,
        width: PositiveInt = 16,
        dtype: Literal["float32", "float64"] = "float64",
        epochs: NonNegativeInt = 0,
        lr: PositiveFloat = 1e-4,
        weight_decay: NonNegativeFloat = 1e-4,
        batch_size: PositiveInt = 16,
    ) -> None:
        if width >= copies:
            raise ConfigError(f"strategy.copies={copies}: more than strategy.width={width}, or the test has no freedom")
        if level >= 1:
            raise ConfigError(f"strategy.level={level}: less than 1")
        self.copies, self.level, self.width, self.dtype = copies, level, width, getattr(torch, dtype)
        self.epochs, self.lr, self.weight_decay, self.batch_size = epochs, lr, weight_decay, batch_size

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Refuse to train for a task.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("strategy rpc asks what a model tells apart: it is for gnnzoo expressivity alone")

    def step(self, batch: Batch) -> Tensor:
        """Return the loss of copies of two graphs, the first one's before the other's: the cosines above zero."""
        first, second = forward(self.model, batch.data).chunk(2)
        return F.cosine_similarity(first, second).relu().mean()

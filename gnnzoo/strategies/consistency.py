"""Consistency training: several stochastic passes must agree on all nodes, also on those without a label."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data.data import BaseData

from gnnzoo.datasets import Bundle
from gnnzoo.datasets.bundle import label_store
from gnnzoo.errors import ConfigError
from gnnzoo.strategies.base import RunContext, Strategy
from gnnzoo.tasks import Batch, Task, forward
from gnnzoo.tasks.node import some_rows
from gnnzoo.types import NonNegativeFloat, PositiveInt

__all__ = ["ConsistencyTraining", "agreement"]


def agreement(views: Sequence[Tensor]) -> Tensor:
    """Return the sum over views of the cross entropy with what most of them say: the mean softmax's largest class.

    Args:
        views: logits ``[num_rows, num_classes]`` of the same rows, one tensor per stochastic pass.
    """
    said = torch.stack([view.detach().softmax(dim=1) for view in views]).mean(dim=0).argmax(dim=1)
    return torch.stack([F.cross_entropy(view, said) for view in views]).sum()


class ConsistencyTraining(Strategy):
    r"""The training of RpHGNN's entry on OGB's leaderboard (`arXiv 2310.14481 <https://arxiv.org/abs/2310.14481>`_).

    .. math::
        \sum_{v=1}^{V} \mathrm{CE}_T(z^{(v)}, y) + \lambda \sum_{v=1}^{V} \mathrm{CE}(z^{(v)}, \hat y), \quad
        \hat y = \arg\max \tfrac 1 V \sum_v \mathrm{softmax}(z^{(v)})

    over the training nodes T of a batch, and over all of its nodes. Where rows are taken in mini-batches, each is
    joined by its share of the nodes that are not trained on, so that an epoch sees every node once.

    Args:
        num_views: V, stochastic passes per step.
        weight: :math:`\lambda`.
    """

    def __init__(self, num_views: PositiveInt = 3, weight: NonNegativeFloat = 0.6) -> None:
        self.num_views, self.weight = num_views, weight

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Note which nodes are not trained on.

        Raises:
            ConfigError: the task is no classification of nodes into one class each, of one graph.
        """
        super().setup(model, bundle, task, run)
        if task.name != "node" or task.target != "multiclass":
            raise ConfigError(
                f"strategy consistency is for nodes of one class each, not {task.target} {task.name} tasks"
            )
        self.data, self.seed = bundle.data, run.seed
        train = bundle.splits[0].train
        others = torch.ones(len(label_store(bundle.data).y), dtype=torch.bool)
        others[train] = False
        self.others, self.num_train = others.nonzero().flatten(), len(train)
        self.order, self.seen = self.others, 0

    def on_epoch(self, epoch: int) -> None:
        """Draw in which order the nodes that are not trained on join the batches."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        self.order = self.others[torch.randperm(len(self.others), generator=generator)]
        self.seen = 0

    def step(self, batch: Batch) -> Tensor:
        """Return both sums."""
        if batch.index is None:  # rows in mini-batches: others join them
            size, start = len(batch.y), self.seen
            self.seen += size
            share = slice(*(bound * len(self.order) // self.num_train for bound in (start, self.seen)))
            joined = _joined(batch.data, some_rows(self.data, self.order[share]))
            batch = Batch(joined, torch.arange(size, device=batch.y.device))
        views = [forward(self.model, batch.data) for _ in range(self.num_views)]
        supervised = torch.stack([self.task.loss(view, batch) for view in views]).sum()
        return supervised + self.weight * agreement(views)


def _joined(first: BaseData, second: BaseData) -> BaseData:
    """Return data with the rows of both."""
    data = copy.copy(first)
    store, other = label_store(data), label_store(second)
    size = len(store.y)
    for name, value in list(store.items()):
        if isinstance(value, Tensor) and value.dim() and len(value) == size:
            store[name] = torch.cat([value, other[name]])
    return data

"""The contract of a task, and how a model is called with a PyG data object."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data.data import BaseData

from gnnzoo.datasets import Bundle, Split
from gnnzoo.datasets.bundle import label_store
from gnnzoo.errors import ConfigError
from gnnzoo.tasks.metrics import score

__all__ = ["Batch", "Stage", "Task", "collect", "forward", "outputs"]

Stage = Literal["train", "val", "test"]

_FORBIDDEN = {"y", "train_mask", "val_mask", "test_mask", "data", "batch_data"}


@lru_cache(maxsize=256)
def _arguments(model_type: type[nn.Module]) -> tuple[tuple[str, bool], ...]:
    """Return the names of ``forward``'s parameters and whether each is required."""
    found = []
    for name, parameter in inspect.signature(model_type.forward).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in _FORBIDDEN:
            raise ConfigError(f"{model_type.__name__}.forward may not take {name!r}: name the PyG attributes it reads")
        found.append((name, parameter.default is inspect.Parameter.empty))
    return tuple(found)


def forward(model: nn.Module, data: BaseData) -> Tensor:
    """Call ``model`` with ``data.<name>`` for each parameter of its ``forward``; optional ones only where present.

    Raises:
        ConfigError: the data lacks something that the model needs, or the model asks for labels or masks.
    """
    values: dict[str, Any] = {}
    for name, required in _arguments(type(model)):  # type: ignore[arg-type]
        value = getattr(data, name, None)
        if value is not None and not callable(value):  # a method of the data object, such as size(), is no attribute
            values[name] = value
        elif required:
            raise ConfigError(f"{type(model).__name__} needs {name!r}, which the data does not have")
    return model(**values)


@dataclass
class Batch:
    """What one step sees: data for the model, and which rows of the output are scored."""

    data: BaseData
    index: Tensor | None = None
    """Rows of the model's output (``[num_rows]`` int64); None: all of them."""

    def select(self, rows: Tensor) -> Tensor:
        """Return the scored rows of an output or of the labels."""
        return rows if self.index is None else rows[self.index]

    @property
    def y(self) -> Tensor:
        """The labels of the scored rows."""
        return self.select(label_store(self.data).y)


class Task(ABC):
    """Iteration and meaning of one kind of problem; has no state of its own.

    Args:
        target: ``multiclass``, ``binary``, ``multilabel`` or ``regression``.
        metric: what the protocol reports, a name of :data:`gnnzoo.cards.METRICS`.
        evaluator: the set under which OGB's Evaluator scores it, such as ``ogbg-molhiv``; empty: scikit-learn does.
    """

    name: ClassVar[str]

    def __init__(self, target: str, metric: str, evaluator: str = "") -> None:
        self.target, self.metric, self.evaluator = target, metric, evaluator

    @abstractmethod
    def loader(self, bundle: Bundle, split: Split, stage: Stage, batch_size: int, seed: int = 0) -> Iterable[Batch]:
        """Return the batches of one stage; only ``train`` is shuffled, by ``seed`` alone."""

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss over the scored rows of a model's output (``[num_rows, num_outputs]``).

        Labels and targets that are missing (NaN) are left out.
        """
        scored, y = batch.select(output), batch.y
        if self.target == "multiclass":
            return F.cross_entropy(scored, y)
        y = y.view_as(scored).to(scored.dtype)
        known = ~y.isnan()
        scored, y = scored[known], y[known]
        if not len(y):
            return scored.sum()  # zero, and with a gradient: a batch that teaches nothing
        if self.target == "regression":
            return F.l1_loss(scored, y) if self.metric == "mae" else F.mse_loss(scored, y)
        return F.binary_cross_entropy_with_logits(scored, y)

    def losses(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each scored row, ``[num_rows]``; their mean is :meth:`loss` up to rounding.

        Of several values per row a row's loss is their mean. Where labels are missing, it is the sum over the known
        ones by the number of them that a row has on average: 0 for a row without any.
        """
        scored, y = batch.select(output), batch.y
        if self.target == "multiclass":
            return F.cross_entropy(scored, y, reduction="none")
        y = y.view_as(scored).to(scored.dtype)
        known = ~y.isnan()
        y = y.masked_fill(~known, 0.0)
        if self.target == "regression":
            function = F.l1_loss if self.metric == "mae" else F.mse_loss
            losses = function(scored, y, reduction="none")
        else:
            losses = F.binary_cross_entropy_with_logits(scored, y, reduction="none")
        per_row = known.sum().clamp(min=1) / max(len(scored), 1)
        return losses.masked_fill(~known, 0.0).flatten(1).sum(dim=1) / per_row

    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, float]:
        """Score predictions by the protocol's metric, and by OGB's code where the protocol says so.

        Where the metric is an F1 score, micro- and macro-F1 are both computed.
        """
        y = y if self.target == "multiclass" else y.view_as(outputs)
        names = (self.metric, "micro_f1", "macro_f1") if self.metric.endswith("_f1") else (self.metric,)
        return {name: score(name, outputs, y, self.target, self.evaluator) for name in dict.fromkeys(names)}


@torch.no_grad()
def collect(task: Task, model: nn.Module, batches: Iterable[Batch]) -> tuple[Tensor, Tensor, float]:
    """Return all predictions, all labels and the mean loss over ``batches``, in evaluation mode."""
    outputs, targets, total, known = [], [], 0.0, 0
    for batch in batches:
        output = forward(model, batch.data)
        outputs.append(batch.select(output))
        targets.append(batch.y)
        labels = int((~targets[-1].isnan()).sum())  # what the batch's loss is the mean of
        total += float(task.loss(output, batch)) * labels
        known += labels
    return torch.cat(outputs), torch.cat(targets), total / max(known, 1)


@torch.no_grad()
def outputs(model: nn.Module, bundle: Bundle) -> list[Tensor]:
    """Return a model's logits or values on every graph of a bundle, each graph alone, in evaluation mode.

    Args:
        model: on any device; graphs are brought there one by one.
        bundle: its graphs; for graph tasks each gives one row, else a row per node, or per incidence that has a label.
    """
    training = model.training
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    found = []
    for graph in bundle.graphs:
        graph = copy.copy(graph)
        if bundle.card.task == "graph":
            graph.batch = torch.zeros(graph.num_nodes, dtype=torch.int64)
        elif bundle.card.task == "edge-dependent-node":  # input handling may have added incidences without labels
            graph.incidence_index = torch.arange(len(graph.y))
        found.append(forward(model, graph.to(device)))
    model.train(training)
    return found

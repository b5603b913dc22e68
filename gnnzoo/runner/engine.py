"""The training loop: fit on training rows, select and stop on validation rows, and never see a test row.

``fit`` is given a *blind* bundle (labels outside training and validation are blank) and a split without test indices,
so that nothing it does can depend on test labels. Reading the test metric is the runner's job, once, after selection.
"""

from __future__ import annotations

import copy
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gnnzoo.cards import METRICS
from gnnzoo.datasets import Bundle, Split
from gnnzoo.errors import GnnzooError, Interrupted, StorageError
from gnnzoo.runner.checkpoint import Checkpoint, stop_requested
from gnnzoo.runner.config import TrainConfig
from gnnzoo.runner.optim import Schedule, build_optimizer
from gnnzoo.strategies import Strategy
from gnnzoo.tasks import Batch, Task
from gnnzoo.tasks.base import collect

__all__ = [
    "DivergedError",
    "Evaluation",
    "Fit",
    "evaluate",
    "fit",
    "rng_state",
    "seed_everything",
    "set_rng_state",
    "val_metric",
]

State = dict[str, Tensor]


class DivergedError(GnnzooError):
    """The loss is not a number any more."""


@dataclass
class Evaluation:
    """What one look at one set of rows gave."""

    loss: float
    metrics: dict[str, float]
    outputs: Tensor
    """Mean logits or values over the draws, ``[num_rows, num_outputs]``."""


@dataclass
class Fit:
    """A finished training: the selected weights and how they came about."""

    states: list[State]
    """One set of weights; for ``mean_last`` those of the last evaluations, whose metrics are averaged."""
    epoch: int
    epochs: int
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def evaluate(task: Task, model: nn.Module, batches: Iterable[Batch], draws: int = 1) -> Evaluation:
    """Evaluate in evaluation mode; random numbers drawn meanwhile do not disturb training.

    Args:
        task: gives loss and metrics.
        model: the model.
        batches: what is scored; gone through once per draw.
        draws: outputs are averaged over so many forward passes, each with its own fixed seed (for models that draw
            random features).
    """
    batches = list(batches) if draws > 1 else batches
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    training = model.training
    model.eval()
    with torch.random.fork_rng(devices):
        total, losses = None, 0.0
        for draw in range(draws):
            torch.manual_seed(draw)
            outputs, targets, loss = collect(task, model, batches)
            total = outputs if total is None else total + outputs
            losses += loss
    model.train(training)
    assert total is not None
    mean = total / draws if draws > 1 else total
    return Evaluation(losses / draws, task.metrics(mean, targets), mean)


def val_metric(config: TrainConfig, metric: str, found: Mapping[str, float]) -> float:
    """Return what selection and stopping by metric see, of an evaluation's metrics; the higher, the better."""
    if config.val_metric == "mean_f1":
        return (found["micro_f1"] + found["macro_f1"]) / 2
    return found[metric] if METRICS[metric].higher_is_better else -found[metric]


class Selector:
    """Keeps the weights that the protocol reports."""

    def __init__(self, config: TrainConfig, metric: str) -> None:
        self.config, self.rule = config, config.selection
        self.metric = metric
        self.best, self.loss = -math.inf, math.inf
        self.epoch = 0
        self.states: deque[State] = deque(maxlen=config.selection_window if self.rule == "mean_last" else 1)

    def see(self, epoch: int, evaluation: Evaluation, model: nn.Module) -> None:
        """Take note of an evaluated epoch; of equally good ones the first stays, or that of the lowest loss."""
        if self.rule in ("val_loss", "val_metric"):
            by_loss = self.rule == "val_loss"
            value = -evaluation.loss if by_loss else val_metric(self.config, self.metric, evaluation.metrics)
            lower = self.config.ties == "loss" and value == self.best and evaluation.loss < self.loss
            if not (value > self.best or lower):
                return
            self.best, self.loss = value, evaluation.loss
        self.epoch = epoch
        if len(self.states) == self.states.maxlen:  # reuse the oldest buffers instead of allocating new ones
            state = self.states.popleft()
            for key, tensor in model.state_dict().items():
                state[key].copy_(tensor)
        else:
            state = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
        self.states.append(state)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "loss": self.loss, "epoch": self.epoch, "states": list(self.states)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.loss, self.epoch = state["best"], state["loss"], state["epoch"]
        self.states.extend(state["states"])


class Stopper:
    """Decides when to stop, on validation."""

    def __init__(self, config: TrainConfig, metric: str) -> None:
        self.config, self.metric = config, metric
        self.values: list[float] = []
        self.best, self.best_epoch = -math.inf, 0

    def stop(self, epoch: int, evaluation: Evaluation) -> bool:
        """Take note of an evaluated epoch and say whether training ends with it."""
        config, patience = self.config, self.config.patience or 0
        by_loss = config.stop_monitor == "loss"
        value = -evaluation.loss if by_loss else val_metric(config, self.metric, evaluation.metrics)
        self.values.append(value)
        if value > self.best:
            self.best, self.best_epoch = value, epoch
        if config.stopping == "patience":
            return epoch - self.best_epoch >= patience
        if config.stopping == "window":
            window = self.values[-patience - 1 : -1]
            return epoch > (config.stop_after or 0) and len(window) > 0 and value < sum(window) / len(window)
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values, self.best, self.best_epoch = list(state["values"]), state["best"], state["best_epoch"]


def _penalty(model: nn.Module, config: TrainConfig) -> Tensor | float:
    """Return the L1 and L2 penalties on all trainable parameters."""
    total: Tensor | float = 0.0
    for p in (p for p in model.parameters() if p.requires_grad):
        if config.l1:
            total = total + config.l1 * p.abs().sum()
        if config.l2:
            total = total + config.l2 * p.square().sum()
    return total


def rng_state() -> dict[str, Any]:
    """Return the states of all generators as tensors and plain values."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Take back what :func:`rng_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def fit(
    model: nn.Module,
    strategy: Strategy,
    task: Task,
    bundle: Bundle,
    split: Split,
    config: TrainConfig,
    seed: int,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Fit:
    """Train, select and stop; resume from ``checkpoint`` where it holds a state.

    Args:
        model: on its device, freshly initialised; ``strategy.setup`` has been called with it.
        strategy: gives the loss of a batch.
        task: gives batches and metrics.
        bundle: a blind bundle, on the model's device.
        split: without test indices.
        config: the run's ``train`` section.
        seed: of the order of mini-batches; the global generators have been seeded by the caller.
        checkpoint: where the full state goes from time to time, and on an interrupt.
        on_epoch: is called with the epoch and its row of the history.

    Raises:
        DivergedError: the training loss is not finite.
        Interrupted: a stop was asked for; the state is in the checkpoint.
        StorageError: the state in the checkpoint is of other code.
    """
    optimizer = build_optimizer(model, strategy.parameters(), config)
    schedule = Schedule(optimizer, config)
    selector, stopper = Selector(config, task.metric), Stopper(config, task.metric)
    parts: dict[str, Any] = {
        "model": model,
        "strategy": strategy,
        "optimizer": optimizer,
        "schedule": schedule,
        "selector": selector,
        "stopper": stopper,
    }
    history: list[dict[str, float]] = []
    epoch, finished, seconds, cpu_seconds = 0, False, 0.0, 0.0

    saved = checkpoint.load() if checkpoint else None
    if saved is not None:
        try:
            for name, part in parts.items():
                part.load_state_dict(saved[name])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            where = checkpoint.folder if checkpoint else ""
            raise StorageError(
                f"{where}: the state saved there does not fit (the code has changed?); remove the folder to start anew"
            ) from error
        epoch, finished, history = saved["epoch"], saved["finished"], saved["history"]
        seconds, cpu_seconds = saved["seconds"], saved["cpu_seconds"]
        set_rng_state(saved["rng"])

    start, cpu_start = time.perf_counter(), time.process_time()

    def save() -> None:
        assert checkpoint is not None
        checkpoint.save(
            {name: part.state_dict() for name, part in parts.items()}
            | {"epoch": epoch, "finished": finished, "history": history, "rng": rng_state()}
            | {"seconds": seconds + time.perf_counter() - start}
            | {"cpu_seconds": cpu_seconds + time.process_time() - cpu_start}
        )

    validation = list(task.loader(bundle, split, "val", config.batch_size))
    while not finished:
        epoch += 1
        strategy.on_epoch(epoch)
        model.train()
        total, rows = 0.0, 0
        for batch in task.loader(bundle, split, "train", config.batch_size, seed * 1_000_003 + epoch):
            optimizer.zero_grad()
            loss = strategy.step(batch)
            if config.l1 or config.l2:
                loss = loss + _penalty(model, config)
            value = loss.item()
            if not math.isfinite(value):
                raise DivergedError(f"training diverged: the loss is {value} in epoch {epoch}; try a lower train.lr")
            loss.backward()
            if config.clip_norm:
                nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], config.clip_norm)
            optimizer.step()
            size = len(batch.y)
            total, rows = total + value * size, rows + size
        row = {"epoch": epoch, "train_loss": total / max(rows, 1), "lr": optimizer.param_groups[0]["lr"]}
        row |= strategy.log()
        val_loss = None
        finished = epoch >= config.epochs
        if epoch % config.eval_every == 0 or finished:
            evaluation = evaluate(task, model, validation, config.eval_draws)
            val_loss = evaluation.loss
            row |= {"val_loss": val_loss} | {f"val_{k}": v for k, v in evaluation.metrics.items()}
            selector.see(epoch, evaluation, model)
            finished = stopper.stop(epoch, evaluation) or finished
        schedule.step(row["train_loss"], val_loss)
        if config.stop_rate and val_loss is not None:  # the last epoch is always one that was evaluated
            finished = finished or optimizer.param_groups[0]["lr"] < config.stop_rate
        history.append(row)
        if on_epoch:
            on_epoch(epoch, row)
        if checkpoint and not finished:
            if stop_requested():
                save()
                raise Interrupted(f"stopped after epoch {epoch}")
            if checkpoint.due():
                save()
        if checkpoint and finished and checkpoint.keep:
            save()
    if not selector.states:
        raise DivergedError("no epoch could be selected: the validation loss was never a number; try a lower train.lr")
    return Fit(
        states=[copy.copy(state) for state in selector.states],
        epoch=selector.epoch,
        epochs=epoch,
        history=history,
        seconds=seconds + time.perf_counter() - start,
        cpu_seconds=cpu_seconds + time.process_time() - cpu_start,
    )

"""One cell: one configuration × one split × one seed, from data to record, at most once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from gnnzoo.atomic import write_text
from gnnzoo.datasets import Bundle, Split, load_dataset
from gnnzoo.datasets.pretransform import apply_pre_transform
from gnnzoo.errors import DataError, GnnzooError, Interrupted, StorageError, UnknownNameError
from gnnzoo.leaderboard import Key, Record, Result, Store, Tuned
from gnnzoo.models.build import model_arguments, save_model
from gnnzoo.registry import MODELS, STRATEGIES
from gnnzoo.runner.checkpoint import Checkpoint, stop_requested
from gnnzoo.runner.config import Config, TrainConfig
from gnnzoo.runner.engine import DivergedError, Fit, evaluate, fit, rng_state, seed_everything, set_rng_state
from gnnzoo.runner.hardware import cost, pick_device
from gnnzoo.runner.planning import Cell, Execution
from gnnzoo.strategies import Strategy, Teacher
from gnnzoo.tasks import Stage, Task, create_task
from gnnzoo.transforms import prepare

__all__ = [
    "Trained",
    "cell_key",
    "load_prepared",
    "load_sealed",
    "pre_transformed",
    "read_validation",
    "retrain",
    "run_cell",
    "train_cell",
    "weights_digest",
]

OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass
class Trained:
    """A model with its selected weights, and how it got them."""

    model: nn.Module
    arguments: dict[str, Any]
    bundle: Bundle
    blind: Bundle
    """What it was trained on: the bundle without the labels of its test rows."""
    fit: Fit


@lru_cache(maxsize=4)
def _load(dataset: str, content: str, protocol: str, root: str | None, params: str, data: str) -> Bundle:
    bundle = load_dataset(dataset, protocol, root, **json.loads(params))
    if content and content != bundle.digest + bundle.card.protocols[protocol].hash:
        raise DataError(f"{bundle.benchmark}: the data have changed since this run was planned: start it again")
    transform = prepare(**json.loads(data), categories=bundle.card.categories)
    return bundle.with_graphs([transform(graph) for graph in bundle.graphs])


def load_prepared(config: Config, root: str | None = None) -> Bundle:
    """Load a benchmark and handle its input as ``data.*`` says; kept in memory for the next cell."""
    return _load(*_what(config, root))


def _what(config: Config, root: str | None) -> tuple[Any, ...]:
    texts = [json.dumps(config.sections[name], sort_keys=True) for name in ("dataset", "data")]
    return config.dataset, config.content, config.protocol, root, *texts


@lru_cache(maxsize=4)
def _load_sealed(*what: Any) -> list[Bundle]:
    bundle = _load.__wrapped__(*what)  # which is not kept: of the whole bundle nothing is left in memory
    return [bundle.blind(split) for split in bundle.splits]


def load_sealed(config: Config, root: str | None = None) -> list[Bundle]:
    """Load a benchmark for whoever must not know what is tested on: one blind bundle per split, with no test index."""
    return _load_sealed(*_what(config, root))


def pre_transformed(config: Config, bundle: Bundle, split: Split, seed: int, cache: Path | None = None) -> Bundle:
    """Apply the model's own transform, once per dataset (per split where it uses training labels)."""
    cls = MODELS.get(config.model)
    if not hasattr(cls, "pre_transform"):
        return bundle
    transform = cls.pre_transform(**config.sections["model"])
    if transform is None:
        return bundle
    return apply_pre_transform(transform, bundle, split, seed, cache)


def cell_key(cell: Cell, bundle: Bundle) -> Key:
    """Return the identity of a cell's result."""
    config, split = cell.config, bundle.splits[cell.split]
    return Key(
        model=config.model,
        strategy=config.strategy,
        benchmark=config.benchmark,
        config=config.hash,
        data=bundle.digest,
        split=cell.split,
        split_hash=split.hash,
        seed=cell.seed,
    )


class _Context:
    """What a strategy may ask for: a :class:`~gnnzoo.strategies.RunContext`."""

    def __init__(self, cell: Cell, execution: Execution, checkpoint: Checkpoint | None, sealed: bool) -> None:
        self.seed = cell.seed
        self.seconds = self.cpu_seconds = 0.0
        self._cell, self._execution, self._checkpoint, self._sealed = cell, execution, checkpoint, sealed

    def train(self, role: str) -> Teacher:
        """Train a declared teacher on the same split and seed; the caller's random numbers are not touched."""
        teachers = self._cell.config.teachers
        if role not in teachers:
            raise UnknownNameError("teacher", role, teachers, f"strategy {self._cell.config.strategy}")
        checkpoint = self._checkpoint.nested(role) if self._checkpoint else None
        with _own_random_numbers():
            cell = replace(self._cell, config=teachers[role])
            trained = train_cell(cell, self._execution, checkpoint, sealed=self._sealed)
        self.seconds += trained.fit.seconds
        self.cpu_seconds += trained.fit.cpu_seconds
        return Teacher(trained.model.eval().requires_grad_(False), trained.blind)


@contextlib.contextmanager
def _own_random_numbers() -> Iterator[None]:
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def _task(bundle: Bundle, config: TrainConfig) -> Task:
    evaluator = bundle.card.protocols[bundle.protocol].evaluator
    names = (bundle.card.task, bundle.card.target, bundle.metric, evaluator)
    return create_task(*names, neighbors=config.neighbors, hops=config.hops)


def _to(bundle: Bundle, device: torch.device) -> Bundle:
    """Move the data; splits stay where they are, an index on the CPU serves both."""
    if device.type == "cpu":
        return bundle
    return bundle.with_graphs([graph.clone().to(device) for graph in bundle.graphs])


def _seen(blind: Bundle) -> list[Any]:
    """Return what a model may take sizes and statistics from: the one graph, or the graphs that are trained on."""
    if not isinstance(blind.data, list):
        return blind.graphs
    return [blind.data[i] for i in blind.splits[0].train.tolist()]


def train_cell(
    cell: Cell,
    execution: Execution,
    checkpoint: Checkpoint | None = None,
    on_epoch: OnEpoch | None = None,
    sealed: bool = False,
) -> Trained:
    """Train one cell on a blind bundle: nothing here can see a test label.

    Args:
        cell: what to train.
        execution: where and how.
        checkpoint: where the state goes; a training that it holds as finished is not done again.
        on_epoch: hears of every epoch.
        sealed: no test index and no test label is even in memory, so that the test metric cannot be read afterwards.
    """
    config = cell.config
    if sealed:
        bundle = load_sealed(config, execution.root)[cell.split]
        (split,) = bundle.splits
    else:
        bundle = load_prepared(config, execution.root)
        split = bundle.splits[cell.split]
    device = pick_device(execution.device)
    bundle = pre_transformed(config, bundle, split, cell.seed)
    blind = _to(bundle.blind(split), device)
    task = _task(bundle, config.train)

    seed_everything(cell.seed)
    hparams = {"out_channels": bundle.num_outputs, **config.sections["model"]}
    arguments = model_arguments(config.model, _seen(blind), **hparams)
    model = MODELS.get(config.model)(**arguments).to(device)
    strategy: Strategy = STRATEGIES.get(config.strategy)(**config.sections["strategy"])
    context = _Context(cell, execution, checkpoint, sealed)
    strategy.setup(model, blind, task, context)

    seed_everything(cell.seed)
    try:
        done = fit(model, strategy, task, blind, blind.splits[0], config.train, cell.seed, checkpoint, on_epoch)
    except torch.OutOfMemoryError as error:
        raise GnnzooError(f"{cell}: out of memory on {device}: {str(error).splitlines()[0]}") from error
    model.load_state_dict(done.states[-1])
    done.seconds += context.seconds
    done.cpu_seconds += context.cpu_seconds
    return Trained(model, arguments, bundle, blind, done)


def read_validation(trained: Trained, config: Config) -> float:
    """Return the validation metric of the selected epoch, from what the model was trained on alone."""
    task, blind = _task(trained.blind, config.train), trained.blind
    values = []
    for state in trained.fit.states:
        trained.model.load_state_dict(state)
        batches = task.loader(blind, blind.splits[0], "val", config.train.batch_size)
        values.append(evaluate(task, trained.model, batches, config.train.eval_draws).metrics[task.metric])
    return sum(values) / len(values)


def weights_digest(states: list[dict[str, Tensor]]) -> str:
    """Return 16 hexadecimal digits of the selected weights."""
    sha = hashlib.sha256()
    for state in states:
        for name in sorted(state):
            tensor = state[name].detach().cpu().contiguous()
            sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            sha.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return sha.hexdigest()[:16]


def read_result(cell: Cell, trained: Trained, execution: Execution) -> Result:
    """Read the test metric: the one place that looks at test labels, after selection, once."""
    device = pick_device(execution.device)
    bundle, done, config = _to(trained.bundle, device), trained.fit, cell.config
    task, split = _task(bundle, config.train), bundle.splits[cell.split]
    extra = {name: rows for name, rows in split.extra.items() if len(rows)}
    parts = {"val": split.val, "test": split.test, **extra}
    totals: dict[str, dict[str, float]] = {name: {} for name in parts}
    val_loss = 0.0
    for state in done.states:
        trained.model.load_state_dict(state)
        for part, rows in parts.items():
            stage: Stage = "val" if part == "val" else "test"
            of_part = split if part == "val" else replace(split, test=rows)
            batches = task.loader(bundle, of_part, stage, config.train.batch_size)
            seen = evaluate(task, trained.model, batches, config.train.eval_draws)
            for name, value in seen.metrics.items():
                totals[part][name] = totals[part].get(name, 0.0) + value / len(done.states)
            if part == "val":
                val_loss += seen.loss / len(done.states)
    return Result(
        metric=task.metric,
        test=totals["test"],
        parts={name: totals[name] for name in extra} or None,
        val=totals["val"],
        val_loss=val_loss,
        rows={"train": len(split.train), **{name: len(rows) for name, rows in parts.items()}},
        epoch=done.epoch,
        epochs=done.epochs,
        parameters=sum(p.numel() for p in trained.model.parameters() if p.requires_grad),
        digest=weights_digest(done.states),
        curve=_curve(bundle, split, done, task.metric),
    )


def _curve(bundle: Bundle, split: Split, done: Fit, metric: str) -> dict[int, float] | None:
    """Return the test metric by epoch, where the protocol selects on test: there it is that of the validation part."""
    if bundle.card.protocols[bundle.protocol].selection != "on-test" or not torch.equal(split.val, split.test):
        return None
    values = {int(row["epoch"]): row[f"val_{metric}"] for row in done.history if f"val_{metric}" in row}
    return {epoch: value for epoch, value in values.items() if math.isfinite(value)}


@contextlib.contextmanager
def _alone(cell: Cell, work: Path) -> Iterator[None]:
    """Hold a cell's folder, made where it is missing; wait while another process holds it."""
    lock = FileLock(work / "lock", timeout=0.2)
    try:
        work.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            with contextlib.suppress(Timeout):
                lock.acquire()
            if stop_requested() and not lock.is_locked:
                raise Interrupted(f"{cell}: stopped while another process trains it")
    except OSError as error:
        raise StorageError(f"{work} cannot be written to: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


def run_cell(cell: Cell, execution: Execution, on_epoch: OnEpoch | None = None) -> tuple[Record, bool]:
    """Return a cell's record and whether it was trained now; a cell that has a record is never trained again.

    Two processes that want the same cell take turns: the second finds the first one's record.

    Raises:
        Interrupted: a stop was asked for; the cell's state is on disk.
        GnnzooError: the cell cannot be run; nothing was recorded.
    """
    bundle = load_prepared(cell.config, execution.root)
    key = cell_key(cell, bundle)
    store = Store(execution.results)
    work = store.work(key)
    checkpoint = Checkpoint(work / "state", execution.checkpoint)
    with _alone(cell, work):
        record = store.find(key)
        if record is not None:
            if (work / "model.pt").exists():  # killed after the record was written, before the state was removed
                checkpoint.discard()
            return record, False
        try:
            trained = train_cell(cell, execution, checkpoint, on_epoch)
        except (Interrupted, DivergedError) as error:
            raise type(error)(f"{cell}: {error}") from None
        result = read_result(cell, trained, execution)
        tuned = Tuned(**cell.config.tuned) if cell.config.tuned else None
        record = Record(key=key, result=result, cost=cost(trained.fit, pick_device(execution.device)), tuned=tuned)
        keep(cell, trained, work)
        store.save_config(cell.config.hash, cell.config.to_dict())
        store.append(record)
        checkpoint.discard()
    return record, True


def keep(cell: Cell, trained: Trained, work: Path) -> None:
    """Write a trained model and its learning curves where :meth:`RunResult.model` finds them."""
    config = cell.config.to_dict() | {"split": cell.split, "seed": cell.seed}
    weights = {name: tensor.cpu() for name, tensor in trained.fit.states[-1].items()}
    save_model(work / "model.pt", cell.config.model, trained.arguments, weights, config)
    write_text(work / "history.json", json.dumps(trained.fit.history))


def retrain(cell: Cell, execution: Execution) -> None:
    """Train a recorded cell whose weights are not here, and keep them; the record stays what it is."""
    store = Store(execution.results)
    key = cell_key(cell, load_prepared(cell.config, execution.root))
    work = store.work(key)
    with _alone(cell, work):
        if (work / "model.pt").exists():
            return
        checkpoint = Checkpoint(work / "state", execution.checkpoint)
        trained = train_cell(cell, execution, checkpoint)
        record = store.find(key)
        if record is not None and record.result.digest != weights_digest(trained.fit.states):
            warnings.warn(f"{cell}: not the recorded weights: made on another kind of machine or code", stacklevel=2)
        keep(cell, trained, work)
        checkpoint.discard()

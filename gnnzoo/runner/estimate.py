"""What a run would cost, found out without touching its data: one epoch on a random graph of the card's size."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch_geometric.data import Data

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import Bundle, Split
from gnnzoo.errors import GnnzooError
from gnnzoo.models.build import model_arguments
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES
from gnnzoo.runner.cell import pre_transformed
from gnnzoo.runner.config import Config
from gnnzoo.runner.engine import evaluate
from gnnzoo.runner.hardware import peak_memory_mib
from gnnzoo.runner.optim import build_optimizer
from gnnzoo.runner.planning import Plan
from gnnzoo.strategies import ERM
from gnnzoo.tasks import create_task
from gnnzoo.transforms import prepare

__all__ = ["Estimate", "estimate"]

_LARGEST = 200_000_000
"""Numbers in features and edges; a random graph beyond that is not made for an estimate."""


@dataclass
class Estimate:
    """Seconds at most, and memory; None where it could not be measured, with the reason."""

    seconds: float | None = None
    epoch_seconds: float | None = None
    memory_mib: float | None = None
    parameters: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.seconds is None or self.epoch_seconds is None or self.memory_mib is None:
            return f"not known: {self.reason}"
        total = f"{self.seconds:.0f} s" if self.seconds < 120 else f"{self.seconds / 60:.0f} min"
        return (
            f"at most {total} ({1000 * self.epoch_seconds:.1f} ms per epoch if no run stops early), "
            f"{self.memory_mib:.0f} MiB, {self.parameters:,} parameters; measured on a random graph of the card's size"
        )


def _random_bundle(card: DatasetCard, protocol: str, one_hot: bool, generator: torch.Generator) -> Bundle:
    """Return random data with the card's counts: sparse features, edges both ways, uniform labels."""
    counts = card.counts
    width = sum(card.categories["x"]) if one_hot and "x" in card.categories else counts.features
    graphs = []
    for _ in range(counts.graphs):
        nodes = max(counts.nodes // counts.graphs, 1)
        half = max(counts.edges // counts.graphs // 2, 1)
        pairs = torch.randint(nodes, (2, half), generator=generator)
        x = (torch.rand(nodes, max(width, 1), generator=generator) < 0.02).float()
        edge_index = torch.cat([pairs, pairs.flip(0)], dim=1)
        rows = nodes if card.task != "graph" else 1
        if card.target == "multiclass":
            y = torch.randint(card.num_outputs, (rows,), generator=generator)
        else:
            y = torch.randint(2, (rows, card.num_outputs), generator=generator).float()
        graphs.append(Data(x=x, edge_index=edge_index, y=y))
    size = counts.nodes if card.task == "node" else counts.graphs
    order = torch.randperm(size, generator=generator)
    train, val, test = order.tensor_split([int(0.6 * size), int(0.8 * size)])
    splits = [Split(0, train, val, test)]
    return Bundle(card, protocol, graphs[0] if card.task == "node" else graphs, splits, "")


def estimate(work: Plan, config: Config) -> Estimate:
    """Measure one training epoch and one evaluation of a configuration on random data.

    The model's transform, if it has one, is applied too. A strategy other than plain training is not measured.
    """
    card = DATASETS.card(config.dataset)
    counts = card.counts
    if card.structure != "graph":
        return Estimate(reason=f"no random data for a {card.structure} task are made")
    if STRATEGIES.get(config.strategy) is not ERM:
        return Estimate(reason=f"strategy {config.strategy} is not measured")
    if counts.nodes * counts.features + 2 * counts.edges > _LARGEST:
        return Estimate(reason="too large to try")
    cells = sum(cell.config is config for cell in work.cells)
    threads = torch.get_num_threads()
    torch.set_num_threads(work.execution.threads)
    try:
        seconds, parameters = _measure(config, card)
    except GnnzooError as error:
        return Estimate(reason=str(error))
    finally:
        torch.set_num_threads(threads)
    total = seconds * config.train.epochs * cells / min(work.jobs, cells)
    return Estimate(total, seconds, peak_memory_mib(torch.device("cpu")), parameters)


def _measure(config: Config, card: DatasetCard) -> tuple[float, int]:
    """Return the seconds of one epoch (the second: the first builds caches) and the number of parameters."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        one_hot = bool(config.sections["data"]["one_hot"])
        bundle = _random_bundle(card, config.protocol, one_hot, torch.Generator().manual_seed(0))
        transform = prepare(**config.sections["data"] | {"undirected": True, "self_loops": "remove"})
        bundle = bundle.with_graphs([transform(graph) for graph in bundle.graphs])
        with tempfile.TemporaryDirectory() as folder:
            bundle = pre_transformed(config, bundle, bundle.splits[0], 0, Path(folder))
        hparams = {"out_channels": card.num_outputs, **config.sections["model"]}
        model = MODELS.get(config.model)(**model_arguments(config.model, bundle.graphs, **hparams))
        task = create_task(card.task, card.target, "accuracy" if card.target != "regression" else "mae")
        optimizer = build_optimizer(model, (), config.train)
        split = bundle.splits[0]
        strategy = ERM()
        strategy.setup(model, bundle, task, None)  # type: ignore[arg-type]
        for _ in range(2):
            start = time.perf_counter()
            model.train()
            for batch in task.loader(bundle, split, "train", config.train.batch_size):
                optimizer.zero_grad()
                strategy.step(batch).backward()
                optimizer.step()
            evaluate(task, model, task.loader(bundle, split, "val", config.train.batch_size))
            seconds = time.perf_counter() - start
    return seconds, sum(p.numel() for p in model.parameters())

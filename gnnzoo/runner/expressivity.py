"""``expressivity``: which graphs a model tells apart, as records of the sets whose metric is ``separated``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch as Graphs
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gnnzoo.datasets import Bundle, load_dataset
from gnnzoo.errors import ConfigError, Interrupted, UnknownNameError
from gnnzoo.leaderboard import Key, Record, Result, Store
from gnnzoo.models.build import model_arguments
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, partition
from gnnzoo.runner.cell import weights_digest
from gnnzoo.runner.checkpoint import graceful_stop, stop_requested
from gnnzoo.runner.config import Config, default_results, flatten, load_choices, parse_seeds, resolve
from gnnzoo.runner.engine import Fit, seed_everything
from gnnzoo.runner.grid import deterministic, torch_threads
from gnnzoo.runner.hardware import cost, pick_device
from gnnzoo.runner.planning import Execution, check_device, plan
from gnnzoo.runner.separation import Separation, copy_seed, relabelled, separate
from gnnzoo.strategies.rpc import PairedComparisons
from gnnzoo.tasks import Batch, forward
from gnnzoo.transforms import prepare

__all__ = ["PAIRS", "SUITES", "Question", "answer", "expressivity", "pair_key", "questions"]

PAIRS = "separated"
"""The metric of sets whose pairs of graphs are to be told apart."""

SUITES: dict[str, list[str]] = {
    "brec": ["BREC"],
    "csl": ["CSL"],
    "exp": ["EXP", "CEXP"],
    "graph8c": ["graph8c", "small-graphs"],
    "sr": [
        "rook-shrikhande",
        *("sr-16-6-2-2", "sr-25-12-5-6", "sr-26-10-3-4", "sr-28-12-6-4", "sr-29-14-6-7"),
        *("sr-35-16-6-8", "sr-35-18-9-9", "sr-36-14-4-6", "sr-40-12-2-4"),
    ],
    "substructures": [
        *(f"counting-8@{name}" for name in ("triangle", "tailed-triangle", "chordal-cycle", "4-cycle", "4-clique")),
        "counting-er",
    ],
}
"""What ``suite=`` stands for; models are trained on the last of ``substructures`` alone, to count them."""

TARGETS = ("triangle", "tailed_triangle", "star", "chordal_cycle")
"""Of counting-er: what its graphs determine."""

_ROOM = 1 << 13
"""So many pairs of nodes are in a batch: models of all pairs need room for each, and allocating much of it is slow."""


@dataclass(frozen=True)
class Question:
    """One model, one set, one seed."""

    config: Config
    seed: int

    def __str__(self) -> str:
        return f"{self.config.model} {self.config.benchmark} seed {self.seed}"


def expressivity(
    model: str | Sequence[str],
    suite: str | Sequence[str] | None = None,
    *,
    dataset: str | Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    report: Callable[[Question, Record, bool], None] | None = None,
    **choices: Any,
) -> list[Record]:
    """Count the pairs of graphs that models tell apart, by BREC's test on relabelled copies (arXiv 2304.07702).

    Weights are random (``strategy.epochs=20`` trains on each pair, as BREC does) and computation is in float64. A
    record's ``test`` has ``separated``; ``pairs``; ``wl_leaves``, the pairs that colour refinement cannot tell apart,
    and ``beyond_wl``, those of them that are separated; ``controls``, graphs compared with relabelled copies of
    themselves, and ``controls_separated``, which should be 0; and ``not_finite``, the graphs with an output that is
    not finite, whose pairs never count as separated.

    Args:
        model: one or several registered names that fit graph tasks.
        suite: of :data:`SUITES`; default: all of them but ``substructures``, unless ``dataset`` is given. With
            ``substructures``, models are trained to count them, too: a record of counting-er for each.
        dataset: sets with a protocol of pairs.
        settings: ``{"data.polynomials": 6, "strategy.copies": 32, "model.num_layers": 2}``, dotted or nested.
        report: hears of every record, and whether it was made now.
        **choices: as on the command line: ``seeds, threads, device, results, root, config``.

    Returns:
        A record for each model, set and seed, then those of trained models; what is recorded already is not done again.

    Raises:
        ConfigError: an unknown name, a model that is not for graphs, settings that do not fit.

    Example:
        >>> expressivity("gin", "brec", results="results")[0].result.test["beyond_wl"]
        0.0
    """
    named = {"model": model, "suite": suite, "dataset": dataset, **choices}
    values = {key: value for key, value in named.items() if value is not None}
    values |= {key: value for key, value in flatten(settings or {}) if value != {}}
    return answer(*questions(values), report)


def _words(value: Any) -> list[str]:
    words = value if isinstance(value, list | tuple) else str(value).split(",")
    return [str(word).strip() for word in words if str(word).strip()]


def _benchmark(name: str) -> str:
    """Return ``dataset@protocol`` of the dataset's protocol of pairs.

    Raises:
        ConfigError: it has none.
    """
    dataset, _, protocol = partition(name)
    card = DATASETS.card(dataset)
    fitting = [p for p, found in card.protocols.items() if found.splits == 0]
    if not fitting or protocol not in ("", *fitting):
        known = [n for n in DATASETS.names() if any(p.splits == 0 for p in DATASETS.card(n).protocols.values())]
        raise ConfigError(f"{name} has no pairs of graphs to be told apart; these have: {', '.join(known)}")
    return f"{card.name}@{protocol or fitting[0]}"


def questions(values: Mapping[str, Any], signatures: bool = True) -> tuple[list[Question], Execution, dict[str, Any]]:
    """Check everything that was asked for, before any data is touched.

    Args:
        values: choices and settings as on the command line.
        signatures: also check settings against constructors, which imports torch.

    Returns:
        What is to be measured; where and how; and of ``substructures``, what is to be trained: choices of a run.

    Raises:
        ConfigError: something cannot be, with the nearest valid choice.
    """
    request = load_choices({key: value for key, value in values.items() if key != "suite"})
    choices = request.choices
    for key in ("splits", "jobs", "save", "curves", "strategy", "protocol", "checkpoint"):
        if key in choices:
            raise ConfigError(f"{key}= is not for gnnzoo expressivity")
    if not choices.get("model"):
        raise ConfigError("model= is missing; gnnzoo list models task=graph shows the choices")
    default = [] if choices.get("dataset") else [name for name in SUITES if name != "substructures"]
    suites = _words(values.get("suite") or default)
    for name in suites:
        if name not in SUITES:
            raise UnknownNameError("suite", name, SUITES)
    sets = [d for name in suites for d in SUITES[name] if d != "counting-er"]
    benchmarks = dict.fromkeys(map(_benchmark, sets + _words(choices.get("dataset") or [])))
    seeds = parse_seeds(choices.get("seeds", 1))
    models = _words(choices["model"])
    counting = "substructures" in suites
    layers = request.layers
    if counting:  # train.x= is for those that are trained, strategy.x= for all others
        layers = [(s, {k: v for k, v in flatten(own) if not k.startswith("train.")}) for s, own in layers]
    found = [
        Question(resolve(model, benchmark, None, None, None, layers, signatures, None, training=False), seed)
        for model in models
        for benchmark in benchmarks
        for seed in seeds
    ]
    for question in found if signatures else ():  # what does not fit together
        STRATEGIES.get(question.config.strategy)(**question.config.sections["strategy"])
    execution = Execution(
        results=Path(choices.get("results") or default_results()),
        device=check_device(str(choices.get("device", "cpu"))),
        threads=int(choices.get("threads", 1)),
        root=choices.get("root"),
    )
    training = {}
    if counting:
        training = {k: v for k, v in values.items() if k != "suite" and not k.startswith("strategy.")}
        training["dataset"] = "counting-er@public"
        _ = plan(training, signatures)
    return found, execution, training


def answer(
    found: Sequence[Question],
    execution: Execution,
    training: Mapping[str, Any] | None = None,
    report: Callable[[Question, Record, bool], None] | None = None,
) -> list[Record]:
    """Measure what has no record yet; see :func:`expressivity`."""
    store, records = Store(execution.results), []
    store.check_writable()
    with graceful_stop(), torch_threads(execution.threads), deterministic(execution.device):
        for question in found:
            bundle = _loaded(question.config, execution.root)
            key = _key(question, bundle)
            record = store.find(key)
            made = record is None
            if record is None:
                record = _measure(question, bundle, key, execution)
                store.save_config(question.config.hash, question.config.to_dict())
                store.append(record)
            records.append(record)
            if report:
                report(question, record, made)
    for target in TARGETS if training else ():
        from gnnzoo.runner.grid import Reporter, execute

        work = plan({**(training or {}), "dataset.target": target})
        records += execute(work, Reporter()).records
    return records


def _loaded(config: Config, root: str | None) -> Bundle:
    return load_dataset(config.dataset, config.protocol, root, **config.sections["dataset"])


def pair_key(question: Question, root: str | None = None) -> Key:
    """Return the identity of what is measured; ``root`` is a folder of raw files."""
    return _key(question, _loaded(question.config, root))


def _key(question: Question, bundle: Bundle) -> Key:
    config = question.config
    names = {"model": config.model, "strategy": config.strategy, "benchmark": config.benchmark, "config": config.hash}
    return Key(**names, data=bundle.digest, split=0, split_hash=bundle.hash, seed=question.seed)


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let transforms and constructors make tensors of this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class Embedder:
    """A model with random weights, and all that is done to a graph before it sees it.

    Args:
        config: its settings.
        bundle: the graphs from which it infers its sizes.
        seed: of the weights.
        device: where it computes.
    """

    def __init__(self, config: Config, bundle: Bundle, seed: int, device: torch.device) -> None:
        self.strategy: PairedComparisons = STRATEGIES.get(config.strategy)(**config.sections["strategy"])
        self.device, self.seed = device, seed
        self._prepare = prepare(**config.sections["data"], categories=bundle.card.categories)
        cls = MODELS.get(config.model)
        self._transform: BaseTransform | None = None
        if hasattr(cls, "pre_transform"):
            self._transform = cls.pre_transform(**config.sections["model"])
        if getattr(self._transform, "uses_labels", False):
            raise ConfigError(f"model {config.model} uses labels: there are none here")
        examples = [self.prepared(relabelled(graph, 0)) for graph in bundle.graphs]
        hparams = {"out_channels": self.strategy.width, **config.sections["model"]}
        self._arguments = model_arguments(config.model, examples, **hparams)
        self._class = cls
        self.model = self.fresh()

    def fresh(self) -> nn.Module:
        """Return the model as the seed makes it."""
        seed_everything(self.seed)
        model: nn.Module = self._class(**self._arguments)
        return model.to(self.device, self.strategy.dtype).eval()

    def prepared(self, graph: Data) -> Data:
        """Return what the model sees of a graph."""
        graph = graph.apply(lambda value: value.to(self.strategy.dtype) if value.is_floating_point() else value)
        graph = self._prepare(graph)
        return graph if self._transform is None else self._transform(graph)

    def batches(self, graphs: Iterable[Data]) -> Iterator[Graphs]:
        """Yield prepared graphs in batches that fit into memory."""
        waiting: list[Data] = []
        room = 0
        for graph in graphs:
            size = int(graph.num_nodes or 0) ** 2
            if waiting and (room + size > _ROOM or len(waiting) >= 512):
                yield self._batch(waiting)
                waiting, room = [], 0
            waiting.append(self.prepared(graph))
            room += size
        if waiting:
            yield self._batch(waiting)

    def _batch(self, graphs: list[Data]) -> Graphs:
        whole = Graphs.from_data_list(graphs).to(self.device)
        return whole.apply(lambda value: value.to(self.strategy.dtype) if value.is_floating_point() else value)

    @torch.no_grad()
    def __call__(self, graphs: Iterable[Data]) -> Tensor:
        """Return embeddings, ``[num_graphs, width]``."""
        found = []
        for batch in self.batches(graphs):
            if stop_requested():
                raise Interrupted("stopped")
            found.append(forward(self.model, batch).cpu())
        return torch.cat(found)

    def train(self, first: Sequence[Data], second: Sequence[Data]) -> None:
        """Train a fresh model to part the copies of two graphs."""
        strategy = self.strategy
        self.model = strategy.model = self.fresh().train()
        optimizer = torch.optim.Adam(self.model.parameters(), lr=strategy.lr, weight_decay=strategy.weight_decay)
        size = strategy.batch_size
        steps = [
            self._batch([*map(self.prepared, first[i : i + size]), *map(self.prepared, second[i : i + size])])
            for i in range(0, len(first), size)
        ]
        for _ in range(strategy.epochs):
            for data in steps:
                optimizer.zero_grad()
                strategy.step(Batch(data)).backward()
                optimizer.step()
        self.model.eval()


def _trained(embedder: Embedder, graphs: Sequence[Data], seed: int) -> Separation:
    """Train on every pair by itself, with copies of other seeds than those that are tested.

    Raises:
        ConfigError: the groups are no pairs.
    """
    groups: dict[int, list[Data]] = {}
    for graph in graphs:
        groups.setdefault(int(graph.group), []).append(graph)
    if any(len(group) != 2 for group in groups.values()):
        raise ConfigError("strategy.epochs trains on pairs, and this set has larger groups: strategy.epochs=0")
    total, copies, level = Separation(), embedder.strategy.copies, embedder.strategy.level
    for pair in groups.values():
        seen = range(2 * copies, 3 * copies)
        embedder.train(*([relabelled(g, copy_seed(seed, i, copy)) for copy in seen] for i, g in enumerate(pair)))
        total.add(separate(embedder, pair, copies, level, seed))
    return total


def _measure(question: Question, bundle: Bundle, key: Key, execution: Execution) -> Record:
    """Make a record."""
    device = pick_device(execution.device)
    start, cpu_start = time.perf_counter(), time.process_time()
    config, graphs = question.config, bundle.graphs
    dtype = STRATEGIES.get(config.strategy)(**config.sections["strategy"]).dtype
    with _default_dtype(dtype):
        embedder = Embedder(config, bundle, question.seed, device)
        strategy = embedder.strategy
        state = {name: tensor.detach().clone() for name, tensor in embedder.model.state_dict().items()}
        if strategy.epochs:
            found = _trained(embedder, graphs, question.seed)
        else:
            found = separate(embedder, graphs, strategy.copies, strategy.level, question.seed)
    done = Fit([state], 0, strategy.epochs)
    done.seconds, done.cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    result = Result(
        metric=PAIRS,
        test=found.metrics(),
        val={},
        val_loss=0.0,
        rows={"train": 0, "val": 0, "test": len(graphs)},
        epoch=0,
        epochs=strategy.epochs,
        parameters=sum(p.numel() for p in embedder.model.parameters() if p.requires_grad),
        digest=weights_digest([state]),
    )
    return Record(key=key, result=result, cost=cost(done, device))

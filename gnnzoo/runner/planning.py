"""What a run will do, checked in full before any data is touched; without torch, but for constructors' signatures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gnnzoo.cards import SuiteCard
from gnnzoo.errors import ConfigError, UnknownNameError
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, SUITES, is_path, partition, usual_strategy
from gnnzoo.runner.config import Config, default_results, load_choices, parse_indices, parse_seeds, resolve

__all__ = ["Cell", "Execution", "Plan", "check_device", "check_workers", "plan", "positive"]


@dataclass(frozen=True)
class Execution:
    """How to run, which does not change what comes out (but for ``device``)."""

    results: Path
    device: str = "auto"
    threads: int = 1
    root: str | None = None
    checkpoint: float = 10.0


@dataclass(frozen=True)
class Cell:
    """What is run at most once."""

    config: Config
    split: int
    seed: int

    def __str__(self) -> str:
        return f"{self.config.contender} {self.config.benchmark} split {self.split} seed {self.seed}"


@dataclass
class Plan:
    """What a run will do."""

    configs: list[Config]
    cells: list[Cell]
    execution: Execution
    jobs: int = 1
    save: Path | None = None
    curves: Path | None = None
    notes: list[str] = field(default_factory=list)


def _as_list(value: Any) -> list[str]:
    words = value if isinstance(value, list | tuple) else str(value).split(",")
    return [str(word).strip() for word in words if str(word).strip()]


def positive(value: Any, key: str, most: int | None = None) -> int:
    """Read a whole number of at least 1.

    Raises:
        ConfigError: it is none, or more than ``most``.
    """
    if not str(value).isdecimal() or int(value) < 1:
        raise ConfigError(f"{key}={value}: a whole number of at least 1")
    if most is not None and int(value) > most:
        raise ConfigError(f"{key}={value}: at most {most}")
    return int(value)


def _check_file(key: str, path: Path) -> None:
    """Refuse now, not after hours of training, a file that cannot be written."""
    folder = next(p for p in path.absolute().parents if p.exists())
    if path.is_dir():
        raise ConfigError(f"{key}={path} is a folder: name a file in it")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"{key}={path} cannot be written: {folder} is not a folder that can be written to")


def check_device(name: str) -> str:
    """Return ``name`` if it is written as a device is; whether it is there is another question.

    Raises:
        ConfigError: it is not.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name):
        raise ConfigError(f"device={name}: choose auto, cpu, cuda or cuda:<number>")
    return name


def check_workers(configs: Iterable[Config]) -> None:
    """Refuse several workers where they would not know what this process knows.

    Raises:
        ConfigError: something is registered in this process alone.
    """
    for config in configs:
        for registry, name in ((MODELS, config.model), (DATASETS, config.dataset), (STRATEGIES, config.strategy)):
            if registry.only_here(name):
                object_ = registry is DATASETS and config.content
                instead = "save it and name the file" if object_ else "give it a card in a plug-in"
                raise ConfigError(
                    f"{registry.kind} {name} is registered in this process alone, and workers do not see it: "
                    f"use jobs=1, or {instead}"
                )


def _is_glob(word: str) -> bool:
    return any(sign in word for sign in "*?[") and not is_path(word)


def _models(words: Iterable[str]) -> dict[str, bool]:
    """Return the models that words stand for, a glob for all that match; and whether each was named."""
    found: dict[str, bool] = {}
    for word in words:
        names = MODELS.list(word) if _is_glob(word) else [word]
        if not names:
            raise UnknownNameError("model", word, MODELS.names())
        for name in names:
            found[name] = found.get(name, False) or not _is_glob(word)
    return found


def _benchmarks(words: Iterable[str], suite: SuiteCard | None, protocol: str | None) -> dict[str, bool]:
    """Return the benchmarks that words stand for, and whether each was named; a suite's come with its protocols."""
    shipped = suite.benchmarks if suite else []
    found: dict[str, bool] = {}
    for word in words:
        if _is_glob(word):
            pool = shipped or DATASETS.names()
            names = [b for b in pool if any(fnmatchcase(n.lower(), word.lower()) for n in (b, partition(b)[0]))]
            if not names:
                where = f"suite {suite.name}" if suite else ""
                raise UnknownNameError("dataset", word, [partition(b)[0] for b in pool], where)
        else:
            plain = bool(shipped) and protocol is None and not partition(word)[1]
            name = DATASETS.canonical(word) if plain else ""
            names = [b for b in shipped if plain and DATASETS.canonical(partition(b)[0]) == name] or [word]
        for name in names:
            found[name] = found.get(name, False) or not _is_glob(word)
    return found


def _pairs(benchmark: str) -> bool:
    """Whether nothing is trained: pairs of graphs are to be told apart."""
    name, _, protocol = partition(benchmark)
    card = DATASETS.card(name)
    found = card.protocols.get(protocol or card.default_protocol)
    return found is not None and found.splits == 0


def _misfit(model: str, strategy: str | None, benchmark: str) -> bool:
    if _pairs(benchmark):
        return True
    dataset = DATASETS.card(partition(benchmark)[0])
    methods = (MODELS.card(model), STRATEGIES.card(strategy or usual_strategy(model)))
    return any(dataset.task not in card.tasks or dataset.structure not in card.structures for card in methods)


def _fitting(
    models: Mapping[str, bool], benchmarks: Mapping[str, bool], strategy: str | None, told: Iterable[str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the pairs that can be run, and what was left out of them.

    A pair whose two halves a user named is always there, so that what does not fit is an error; so is the first pair of
    a model that he named and that fits nothing. Of a suite and of globs, what does not fit is left out.

    Args:
        models: by name, whether a user named it.
        benchmarks: the same.
        strategy: a registered name; None: each model's usual one.
        told: models of which it is said where they do not fit.
    """
    pairs = [(m, b) for b in benchmarks for m in models if (models[m] and benchmarks[b]) or not _misfit(m, strategy, b)]
    fit = {m for m, _ in pairs}
    pairs += [(m, next(iter(benchmarks))) for m, named in models.items() if named and benchmarks and m not in fit]
    out = [f"{m} on {b}" for b in benchmarks for m in told if m in models and (m, b) not in pairs]
    notes = [f"left out, as they do not fit: {', '.join(out)}"] * bool(out)
    alone: dict[str, list[str]] = {}
    for b in benchmarks:
        if not any(b == other for _, other in pairs):
            card = DATASETS.card(partition(b)[0])
            structure = card.structure.replace("heterogeneous", "heterogeneous graph")
            kind = (
                "pairs to be told apart (see gnnzoo expressivity)"
                if _pairs(b)
                else f"{card.task} tasks on a {structure}"
            )
            alone.setdefault(kind, []).append(b)
    kinds = [f"{kind}: {', '.join(names)}" for kind, names in alone.items()]
    return pairs, notes + [f"no model fits {'; '.join(kinds)}"] * bool(kinds)


def plan(values: Mapping[str, Any], signatures: bool = True, empty: bool = False) -> Plan:
    """Check everything that was asked for and say what will run, before any data is touched.

    Args:
        values: choices and settings as on the command line: ``{"model": "sheaf", "train.lr": 0.01, ...}``.
        signatures: also check model, strategy and dataset keys against constructors, and read own data.
        empty: a suite that no model fits is no error.

    Raises:
        ConfigError: something cannot be, with the nearest valid choice.
    """
    request = load_choices(values)
    choices = request.choices
    suite = choices.get("suite")
    suite_card = SUITES.card(suite) if suite else None
    asked = {key: bool(choices.get(key)) for key in ("model", "dataset")}
    words = {
        "model": _as_list(choices["model"] if asked["model"] else suite_card.models if suite_card else []),
        "dataset": _as_list(choices["dataset"] if asked["dataset"] else suite_card.benchmarks if suite_card else []),
    }
    for key in ("model", "dataset"):
        if not words[key]:
            raise ConfigError(f"{key}= is missing; gnnzoo list {key}s shows the choices")
    models = _models(words["model"])
    benchmarks = _benchmarks(words["dataset"], suite_card, choices.get("protocol"))
    if not signatures:  # reading own data takes torch: it is enough that they are there
        for name in [*map(MODELS.canonical, models), *(partition(b)[0] for b in benchmarks)]:
            _ = DATASETS.canonical(name) if is_path(name) else None
        benchmarks = {b: named for b, named in benchmarks.items() if not is_path(partition(b)[0])}
    configs: list[Config] = []
    notes: list[str] = []
    asked_strategies: list[str | None] = [*_as_list(choices.get("strategy") or [])]
    for strategy in asked_strategies or [None]:
        pairs, left_out = _fitting(
            {model: named and asked["model"] for model, named in models.items()},
            {benchmark: named and asked["dataset"] for benchmark, named in benchmarks.items()},
            strategy,
            [model for model, named in models.items() if named],
        )
        if benchmarks and not pairs and not empty:
            raise ConfigError(left_out[-1])
        notes += left_out
        configs += [
            resolve(
                model,
                benchmark,
                choices.get("protocol"),
                strategy,
                suite,
                request.layers,
                signatures,
                request.stored,
            )
            for model, benchmark in pairs
        ]
    configs = [config for i, config in enumerate(configs) if config not in configs[:i]]  # a name may stand twice
    if (tuned := request.tuned) is not None:  # what a user set above the file is another configuration
        found = {key: tuned[key] for key in ("source", "trials")}
        configs = [replace(c, tuned=found) if c.hash == tuned["config"] else c for c in configs]
    cells = []
    protocols = [DATASETS.card(config.dataset).protocols[config.protocol] for config in configs]
    for config, protocol in zip(configs, protocols, strict=True):
        seeds = parse_seeds(choices.get("seeds", protocol.seeds))
        # a suite's protocols differ in their numbers of splits: each runs those of the asked that it has
        count = protocol.splits
        most = max(p.splits for p in protocols) if suite_card else count
        splits = [s for s in parse_indices(choices.get("splits"), most, config.benchmark) if s < count]
        cells += [Cell(config, split, seed) for split in splits for seed in seeds]
    configs = [config for config in configs if any(cell.config is config for cell in cells)]
    try:
        every = float(choices.get("checkpoint", 10))
    except (TypeError, ValueError):
        raise ConfigError(f"checkpoint={choices['checkpoint']}: a number of seconds") from None
    if not 0 <= every < float("inf"):
        raise ConfigError(f"checkpoint={choices['checkpoint']}: a number of seconds, 0 or more")
    execution = Execution(
        results=Path(choices.get("results") or default_results()),
        device=check_device(str(choices.get("device", "auto"))),
        threads=positive(choices.get("threads", 1), "threads", 1024),
        root=choices.get("root"),
        checkpoint=every,
    )
    save, curves = (Path(choices[k]) if k in choices else None for k in ("save", "curves"))
    for key, path in (("save", save), ("curves", curves)):
        if path is not None:
            _check_file(key, path)
    if save and len(cells) > 1:
        raise ConfigError(f"save={save} keeps one model, this run trains {len(cells)}: choose with splits=0 seeds=1")
    if curves and curves.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"curves={curves}: the name must end in .png, .svg or .pdf")
    jobs = positive(choices.get("jobs", 1), "jobs")
    if jobs > 1 and len(cells) > 1:
        check_workers(configs)
    return Plan(configs, cells, execution, jobs, save, curves, notes)

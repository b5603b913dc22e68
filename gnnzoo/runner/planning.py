"""What a run will do, checked in full before any data is touched; without torch, but for constructors' signatures."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnzoo.errors import ConfigError
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, SUITES, is_path, partition
from gnnzoo.runner.config import Config, default_results, load_choices, parse_indices, parse_seeds, resolve

__all__ = ["Cell", "Execution", "Plan", "check_device", "plan"]


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
        return f"{self.config.model} {self.config.benchmark} split {self.split} seed {self.seed}"


@dataclass
class Plan:
    """What a run will do."""

    configs: list[Config]
    cells: list[Cell]
    execution: Execution
    jobs: int = 1
    save: Path | None = None
    curves: Path | None = None


def _as_list(value: Any) -> list[str]:
    words = value if isinstance(value, list | tuple) else str(value).split(",")
    return [str(word).strip() for word in words if str(word).strip()]


def _positive(value: Any, key: str, most: int | None = None) -> int:
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


def plan(values: Mapping[str, Any], signatures: bool = True) -> Plan:
    """Check everything that was asked for and say what will run, before any data is touched.

    Args:
        values: choices and settings as on the command line: ``{"model": "sheaf", "train.lr": 0.01, ...}``.
        signatures: also check model, strategy and dataset keys against constructors, and read own data.

    Raises:
        ConfigError: something cannot be, with the nearest valid choice.
    """
    request = load_choices(values)
    choices = request.choices
    suite = choices.get("suite")
    suite_card = SUITES.card(suite) if suite else None
    models = _as_list(choices.get("model") or (suite_card.models if suite_card else []))
    benchmarks = _as_list(choices.get("dataset") or (suite_card.benchmarks if suite_card else []))
    for key, given in (("model", models), ("dataset", benchmarks)):
        if not given:
            raise ConfigError(f"{key}= is missing; gnnzoo list {key}s shows the choices")
    if not signatures:  # reading own data takes torch: it is enough that they are there
        for name in [*map(MODELS.canonical, models), *(partition(b)[0] for b in benchmarks)]:
            _ = DATASETS.canonical(name) if is_path(name) else None
        benchmarks = [b for b in benchmarks if not is_path(partition(b)[0])]
    configs = [
        resolve(
            model,
            benchmark,
            choices.get("protocol"),
            choices.get("strategy"),
            suite,
            request.layers,
            signatures,
            request.stored,
        )
        for benchmark in benchmarks
        for model in models
    ]
    configs = [config for i, config in enumerate(configs) if config not in configs[:i]]  # a name may stand twice
    seeds = parse_seeds(choices.get("seeds", 1))
    cells = []
    for config in configs:
        count = DATASETS.card(config.dataset).protocols[config.protocol].splits
        splits = parse_indices(choices.get("splits"), count, config.benchmark)
        cells += [Cell(config, split, seed) for split in splits for seed in seeds]
    try:
        every = float(choices.get("checkpoint", 10))
    except (TypeError, ValueError):
        raise ConfigError(f"checkpoint={choices['checkpoint']}: a number of seconds") from None
    if not 0 <= every < float("inf"):
        raise ConfigError(f"checkpoint={choices['checkpoint']}: a number of seconds, 0 or more")
    execution = Execution(
        results=Path(choices.get("results") or default_results()),
        device=check_device(str(choices.get("device", "auto"))),
        threads=_positive(choices.get("threads", 1), "threads", 1024),
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
    jobs = _positive(choices.get("jobs", 1), "jobs")
    if jobs > 1 and len(cells) > 1:
        for config in configs:
            for registry, name in ((MODELS, config.model), (DATASETS, config.dataset), (STRATEGIES, config.strategy)):
                if registry.only_here(name):
                    object_ = registry is DATASETS and config.content
                    instead = "save it and name the file" if object_ else "give it a card in a plug-in"
                    raise ConfigError(
                        f"{registry.kind} {name} is registered in this process alone, and workers do not see it: "
                        f"use jobs=1, or {instead}"
                    )
    return Plan(configs, cells, execution, jobs, save, curves)

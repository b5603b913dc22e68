"""One registry for everything that has a name: cards come from YAML, classes are imported when they are asked for.

Plug-ins name a package in the entry-point group ``gnnzoo.plugins``; its ``configs/`` folder is laid out like ours.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from gnnzoo.cards import Card, DatasetCard, ModelCard, StrategyCard, SuiteCard
from gnnzoo.errors import ConfigError, UnknownNameError, closest
from gnnzoo.resources import config_dir, load_yaml

__all__ = [
    "DATASETS",
    "MODELS",
    "STRATEGIES",
    "SUITES",
    "DatasetRegistry",
    "Registry",
    "contender",
    "import_object",
    "is_path",
    "list_datasets",
    "list_models",
    "partition",
    "reason",
    "register_dataset",
    "usual_strategy",
]

C = TypeVar("C", bound=Card)


def reason(error: ValidationError) -> str:
    """Return the first complaint of a validation in one line: the dotted key, then what is wrong with it."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    text = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if first["type"] == "extra_forbidden":
        text = "unknown key"
    given = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
    return f"{key}: {text}{given}" if key else f"{text}{given}"


def import_object(path: str) -> Any:
    """Import ``package.module.name``.

    Raises:
        ConfigError: the path does not lead to an object.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"cannot import {path!r}: {error}") from error


def _plugin_folders() -> Iterator[Path]:
    """Yield the ``configs`` folder of every installed plug-in, without importing it."""
    for entry in sorted(entry_points(group="gnnzoo.plugins"), key=lambda e: e.name):
        try:
            spec = find_spec(entry.value)
        except (ImportError, ValueError):
            spec = None
        locations = list(spec.submodule_search_locations or []) if spec else []
        folder = next((Path(p) / "configs" for p in locations if (Path(p) / "configs").is_dir()), None)
        if folder is None:
            warnings.warn(f"plug-in {entry.name!r} skipped: {entry.value!r} has no configs folder", stacklevel=2)
        else:
            yield folder


class Registry(Generic[C]):
    """Names, aliases and cards of one kind of thing; see :data:`MODELS` and its siblings."""

    def __init__(self, kind: str, folder: str, card_type: type[C]) -> None:
        self.kind, self._folder, self._card_type = kind, folder, card_type
        self._registered: dict[str, tuple[C, Any]] = {}
        self._loaded: dict[str, C] | None = None

    def _cards(self) -> dict[str, C]:
        if self._loaded is None:
            origin: dict[str, Path] = {}
            loaded: dict[str, C] = {}
            for folder in (config_dir(), *_plugin_folders()):
                for path in sorted((folder / self._folder).glob("*.yaml")):
                    card = self._read(path)
                    if card.name in loaded:
                        raise ConfigError(f"{self.kind} {card.name!r} stands in {origin[card.name]} and in {path}")
                    loaded[card.name], origin[card.name] = card, path
            self._loaded = loaded
        return self._loaded | {name: card for name, (card, _) in self._registered.items()}

    def _read(self, path: Path) -> C:
        try:
            card = self._card_type.model_validate(load_yaml(path))
        except ValidationError as error:
            raise ConfigError(f"{path}: {reason(error)}") from None
        if card.name != path.stem:
            raise ConfigError(f"{path}: name {card.name!r} is not the file's name")
        return card

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._cards())

    def canonical(self, name: str) -> str:
        """Return the name that ``name`` (or an alias, in any case) stands for.

        Raises:
            UnknownNameError: nothing has that name, with the nearest that exist; or an alias of several things.
        """
        cards = self._cards()
        if name in cards:
            return name
        wanted = name.lower().replace("_", "-")
        found = {
            card.name
            for card in cards.values()
            if wanted in {n.lower().replace("_", "-") for n in (card.name, *card.aliases)}
        }
        if len(found) > 1:
            raise ConfigError(f"{self.kind} {name!r} may be {' or '.join(repr(n) for n in sorted(found))}: write which")
        if not found:
            raise UnknownNameError(self.kind, name, [n for c in cards.values() for n in (c.name, *c.aliases)])
        return found.pop()

    def card(self, name: str) -> C:
        """Return the card of a name or alias."""
        return self._cards()[self.canonical(name)]

    def get(self, name: str | C) -> Any:
        """Import and return the class (of a dataset: the loader) behind a name or alias, or a card."""
        card = self.card(name) if isinstance(name, str) else name
        registered = self._registered.get(card.name)
        if registered and registered[0].object_path == card.object_path:
            return registered[1]
        return import_object(card.object_path)

    def only_here(self, name: str) -> bool:
        """Whether a name was registered at run time, so that other processes do not have it."""
        return self.canonical(name) in self._registered

    def list(self, pattern: str = "*", **filters: str) -> list[str]:
        """Return the names that match a glob (names or aliases) and all filters, sorted.

        Args:
            pattern: a shell glob, such as ``"*gcn*"``.
            **filters: facets of the cards, such as ``task="node"`` or ``structure="hypergraph"``.

        Raises:
            ConfigError: a filter that no card of this kind has, or a value that none has.
        """
        cards = self._cards()
        facets: dict[str, set[str]] = {}
        for card in cards.values():
            for key, values in card.facets().items():
                facets.setdefault(key, set()).update(values)
        for key, value in filters.items():
            if key not in facets:
                raise ConfigError(f"unknown filter {key!r} for {self._folder}{closest(key, facets)}")
            if value not in facets[key]:
                raise ConfigError(f"no {self.kind} has {key}={value}{closest(value, facets[key])}")
        return sorted(
            card.name
            for card in cards.values()
            if any(fnmatchcase(n.lower(), pattern.lower()) for n in (card.name, *card.aliases))
            and all(value in card.facets()[key] for key, value in filters.items())
        )

    def register(self, card: C, obj: Any) -> None:
        """Add a name at run time (notebooks); files and plug-ins are the way for anything that stays.

        Raises:
            ConfigError: the name is taken by a file or a plug-in.
        """
        if card.name in self._cards() and card.name not in self._registered:
            raise ConfigError(f"{self.kind} {card.name!r} exists already: choose another name")
        self._registered[card.name] = (card, obj)


def is_path(name: str) -> bool:
    """Whether a dataset's name is a user's own file or folder: ``mine.pt``, ``data/mine``, ``./mine``."""
    return os.sep in name or name.endswith(".pt") or name in (os.curdir, os.pardir)


def partition(benchmark: str) -> tuple[str, str, str]:
    """Split ``dataset@protocol`` as ``str.partition`` does; a path may have an ``@`` of its own."""
    dataset, at, protocol = benchmark.rpartition("@")
    if is_path(dataset) and not is_path(protocol) and not os.path.exists(benchmark):
        return dataset, at, protocol
    return (benchmark, "", "") if is_path(benchmark) else benchmark.partition("@")


class DatasetRegistry(Registry[DatasetCard]):
    """Knows a user's own data too: a name that is a path; see :mod:`gnnzoo.datasets.own`."""

    def canonical(self, name: str) -> str:
        """Return the name that ``name`` or an alias stands for; of own data, the absolute path.

        Raises:
            ConfigError: nothing has that name, with the nearest that exist; or there is no such file.
        """
        if not is_path(name):
            try:
                return super().canonical(name)
            except UnknownNameError as error:
                if os.path.exists(name):
                    error.args = (f"{error}; what lies here under that name is {os.path.join(os.curdir, name)}",)
                raise
        path = os.path.abspath(os.path.expanduser(name))
        if not os.path.exists(path):
            folder, file = os.path.split(path)
            near = closest(file, os.listdir(folder)) if os.path.isdir(folder) else f"; {folder} is no folder"
            raise ConfigError(f"dataset {name}: there is no such file or folder{near}")
        return path

    def card(self, name: str) -> DatasetCard:
        """Return the card of a name or alias; that of own data is made of what they hold."""
        if not is_path(name):
            return super().card(name)
        card: DatasetCard = import_object("gnnzoo.datasets.own.card")(self.canonical(name), self.label(name))
        return card

    def label(self, name: str) -> str:
        """Return what a dataset is called in benchmarks: own data as their file is, without what no name can hold."""
        if not is_path(name):
            return name
        file = os.path.basename(os.path.abspath(os.path.expanduser(name))).removesuffix(".pt")
        label = re.sub(r"[^A-Za-z0-9_.+-]+", "-", file).strip("-._+") or "data"
        shipped = [card for name, card in self._cards().items() if name not in self._registered]
        taken = {n.lower().replace("_", "-") for card in shipped for n in (card.name, *card.aliases)}
        return f"{label}-own" if label.lower().replace("_", "-") in taken else label


MODELS: Registry[ModelCard] = Registry("model", "models", ModelCard)
STRATEGIES: Registry[StrategyCard] = Registry("strategy", "strategies", StrategyCard)
DATASETS = DatasetRegistry("dataset", "datasets", DatasetCard)
SUITES: Registry[SuiteCard] = Registry("suite", "suites", SuiteCard)


def usual_strategy(model: str, trained: bool = True) -> str:
    """Return the strategy of a model that a run has unless it names another.

    Args:
        model: a registered name or alias.
        trained: False: of protocols on which nothing is trained, where graphs are told apart.
    """
    if not trained:
        return "rpc"
    return MODELS.card(model).strategy or str(load_yaml(config_dir() / "defaults.yaml")["strategy"])


def contender(model: str, strategy: str, trained: bool = True) -> str:
    """Return what a model trained by a strategy is called on a board: ``gin+irm``; just ``gin`` by its usual one."""
    usual = usual_strategy(model, trained) if model in MODELS.names() else strategy
    return model if strategy == usual else f"{model}+{strategy}"


def list_models(pattern: str = "*", **filters: str) -> list[str]:
    """Return the names of models that match a glob and filters such as ``task="node"``; see :meth:`Registry.list`."""
    return MODELS.list(pattern, **filters)


def list_datasets(pattern: str = "*", **filters: str) -> list[str]:
    """Return the names of datasets that match a glob and filters (``task="graph"``); see :meth:`Registry.list`."""
    return DATASETS.list(pattern, **filters)


def register_dataset(card: DatasetCard | dict[str, Any], loader: Callable[..., Any]) -> None:
    """Add a dataset for this process; a card in a plug-in's ``configs/datasets`` is the way for one that stays.

    Args:
        card: what the YAML would say; ``loader`` may be left out of it.
        loader: ``loader(card, protocol, files, **params) -> (data, splits)``.

    Raises:
        ConfigError: the card is not valid, or the name is taken.
    """
    if isinstance(card, dict):
        try:
            card = DatasetCard.model_validate({"loader": f"{loader.__module__}.{loader.__qualname__}", **card})
        except ValidationError as error:
            raise ConfigError(f"dataset card: {reason(error)}") from None
    DATASETS.register(card, loader)

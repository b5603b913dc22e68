"""From names and settings to one checked configuration, before any data is touched and without torch.

Precedence, low to high: defaults.yaml < dataset < model ``defaults`` < strategy ``defaults`` < model
``datasets.<benchmark>`` < strategy ``datasets.<benchmark>`` < model ``datasets.<benchmark>+<strategy>`` < protocol <
suite < ``config=`` file < command line. A protocol has a say only where it selects on test: training then neither
selects nor stops, see :func:`resolve`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gnnzoo.cards import DatasetCard, ModelCard, StrategyCard
from gnnzoo.errors import ConfigError, GnnzooError, UnknownNameError, closest
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, SUITES, contender, partition, usual_strategy
from gnnzoo.resources import config_dir, load_yaml, parse_value
from gnnzoo.signature import check, parameters, validate
from gnnzoo.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

__all__ = [
    "CHOICES",
    "SECTIONS",
    "Config",
    "DataConfig",
    "Group",
    "TrainConfig",
    "flatten",
    "parse_arguments",
    "parse_indices",
    "parse_seeds",
    "resolve",
]

SECTIONS = ("model", "train", "data", "strategy", "dataset")
"""Sections that dotted keys set: ``model.hidden_channels=64``, ``train.lr=0.01``, ..."""

CHOICES = (
    *("model", "dataset", "protocol", "strategy", "suite", "splits", "seeds", "jobs", "threads", "device"),
    *("config", "results", "root", "save", "curves", "checkpoint"),
)
"""Keys that choose; they do not enter the configuration's hash, but for model, dataset, protocol and strategy."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


class Group(_Section):
    """Optimiser settings of one tagged group of parameters; what is not set is taken from ``train``."""

    lr: PositiveFloat | None = None
    weight_decay: NonNegativeFloat | None = None


class TrainConfig(_Section):
    """``train.*``: optimisation, selection and stopping.

    A knob that is added later must default to None (off): None does not enter the hash, so old records stay valid.
    """

    epochs: PositiveInt = Field(200, description="at most so many passes over the training data")
    lr: PositiveFloat = Field(0.01, description="learning rate")
    weight_decay: NonNegativeFloat = Field(0.0, description="L2 decay of the optimiser (adamw, lamb: decoupled)")
    optimizer: Literal["adam", "adamw", "lamb"] = Field("adam", description="optimiser")
    eps: PositiveFloat | None = Field(None, description="what the optimiser adds to the root of the second moment")
    groups: dict[str, Group] | None = Field(None, description="lr and weight_decay of the model's tagged parameters")
    batch_size: PositiveInt = Field(
        32, description="graphs per step; tasks on one graph are full batch, unless a transform has parted its rows"
    )
    neighbors: PositiveInt | None = Field(
        None, description="edge-dependent tasks: batch_size hyperedges per step, so many hyperedges of each node"
    )
    hops: PositiveInt | None = Field(None, description="with neighbors: how many steps away a batch's surroundings end")
    schedule: Literal["step", "cosine", "plateau"] | None = Field(None, description="learning-rate schedule")
    schedule_epochs: PositiveInt | None = Field(None, description="step: epochs between drops; plateau: patience")
    schedule_factor: PositiveFloat | None = Field(None, lt=1, description="step, plateau: lr is multiplied by it")
    schedule_monitor: Literal["val_loss", "train_loss"] | None = Field(None, description="plateau: what must fall")
    warmup_epochs: PositiveInt | None = Field(None, description="lr rises linearly from 0 over so many epochs")
    clip_norm: PositiveFloat | None = Field(None, description="gradients are scaled down to this global norm")
    l1: PositiveFloat | None = Field(None, description="weight of the sum of absolute parameters in the loss")
    l2: PositiveFloat | None = Field(None, description="weight of the sum of squared parameters in the loss")
    selection: Literal["val_loss", "val_metric", "last", "mean_last"] = Field(
        "val_metric", description="the epoch that is reported; mean_last: mean metric of the last selection_window"
    )
    selection_window: PositiveInt | None = Field(None, description="mean_last: how many evaluations")
    ties: Literal["loss"] | None = Field(
        None, description="val_metric: of equal epochs that with the lowest validation loss, not the first"
    )
    val_metric: Literal["mean_f1"] | None = Field(
        None, description="what selection and stopping by metric see, not the protocol's: mean of micro- and macro-F1"
    )
    stopping: Literal["patience", "window"] | None = Field(None, description="rule for stopping early")
    patience: PositiveInt | None = Field(None, description="patience: epochs without a best; window: its length")
    stop_monitor: Literal["loss", "metric"] = Field("loss", description="what stopping looks at, on validation")
    stop_after: NonNegativeInt | None = Field(None, description="window: no stop up to this epoch")
    stop_rate: PositiveFloat | None = Field(None, description="training ends once the schedule brings lr below this")
    eval_every: PositiveInt = Field(1, description="epochs between evaluations")
    eval_draws: PositiveInt = Field(1, description="predictions are averaged over so many forward passes")

    @field_validator("*", mode="before")
    @classmethod
    def _none_is_off(cls, value: Any) -> Any:
        return None if value == "none" else value

    def complain(self) -> str | None:
        """Return what does not fit together, in one line, or None."""
        rules = [
            (self.stopping and not self.patience, f"train.stopping={self.stopping} needs train.patience"),
            (
                self.selection == "mean_last" and not self.selection_window,
                "train.selection=mean_last needs train.selection_window",
            ),
            (
                self.schedule in ("step", "plateau") and not self.schedule_epochs,
                f"train.schedule={self.schedule} needs train.schedule_epochs",
            ),
            (self.hops and not self.neighbors, f"train.hops={self.hops} needs train.neighbors"),
            (
                self.eval_every > self.epochs,
                f"train.eval_every={self.eval_every} is more than train.epochs={self.epochs}",
            ),
        ]
        return next((text for wrong, text in rules if wrong), None)


class DataConfig(_Section):
    """``data.*``: input handling that papers do differently; it never changes split or metric."""

    normalize_features: Literal["none", "row", "column"] = Field(
        "none", description="row: each row of counts divided by its sum; column: each one to mean 0, deviation 1"
    )
    undirected: bool = Field(False, description="add the reverse of every edge, drop duplicates")
    self_loops: Literal["keep", "add", "remove"] = Field(
        "keep", description="what happens to edges from v to v, hyperedges of v"
    )
    one_hot: bool | None = Field(None, description="categories, as of atoms, become columns of zeros and ones")
    polynomials: int | None = Field(None, ge=5, le=8, description="add graph polynomials of degrees 5 to this")
    polynomial_form: Literal["sparse", "dense"] | None = Field(
        None, description="sparse (default): columns of x and edge_attr; dense: of all pairs, for ppgn and ppgn-plus"
    )
    polynomial_norm: bool | None = Field(None, description="polynomials are divided by their norms")
    coalesce: bool | None = Field(None, description="a node that a hyperedge lists twice is in it once")
    merge_hyperedges: bool | None = Field(None, description="hyperedges that hold the same nodes are one")
    singletons: bool | None = Field(None, description="a node in no hyperedge gets one that holds it alone")


@dataclass(frozen=True)
class Config:
    """One resolved configuration of one model on one benchmark.

    Attributes:
        sections: the values of ``model``, ``train``, ``data``, ``strategy``, ``dataset``, checked, with all defaults.
        sources: for every dotted key, the file or place that set it.
        teachers: what the strategy trains beside the model, by role.
        notes: what a user should be told, such as a protocol that the model's card chose.
        content: of own data, whose ``dataset`` is a path: what tells them from others; empty for benchmarks.
        tuned: of a configuration that tuning found: ``source`` and ``trials``, which go into its records.
    """

    model: str
    dataset: str
    protocol: str
    strategy: str
    sections: dict[str, dict[str, Any]]
    teachers: dict[str, Config] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict, compare=False)
    notes: list[str] = field(default_factory=list, compare=False)
    content: str = ""
    tuned: dict[str, Any] | None = field(default=None, compare=False)

    @property
    def benchmark(self) -> str:
        """``dataset@protocol``."""
        return f"{DATASETS.label(self.dataset)}@{self.protocol}"

    @property
    def contender(self) -> str:
        """The model, with a strategy that is not its usual one; see :func:`gnnzoo.registry.contender`."""
        return contender(self.model, self.strategy)

    @property
    def train(self) -> TrainConfig:
        """The ``train`` section as its schema."""
        return TrainConfig(**self.sections["train"])

    def to_dict(self, place: bool = True) -> dict[str, Any]:
        """Return what is stored with records; without the place of own data it is what :meth:`hash` is taken of."""
        names = {key: getattr(self, key) for key in ("model", "dataset", "protocol", "strategy")}
        if not place:
            names["dataset"] = DATASETS.label(self.dataset)
        stored = {"names": names} | {key: _without_none(value) for key, value in self.sections.items()}
        if self.content:
            stored["content"] = self.content
        if self.teachers:
            stored["teachers"] = {role: config.to_dict(place) for role, config in self.teachers.items()}
        return stored

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that differ when anything that may change a result differs."""
        text = json.dumps(self.to_dict(place=False), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(v) for key, v in value.items() if v is not None}
    return value


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``("train.lr", 0.01)`` for every leaf of nested mappings; keys may be dotted already."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{path}.")
        else:
            yield path, value


def parse_arguments(arguments: Iterable[str]) -> dict[str, Any]:
    """Split ``key=value`` words of a command line.

    Raises:
        ConfigError: a word without ``=``, or a key given twice.
    """
    found: dict[str, Any] = {}
    for word in arguments:
        key, sign, text = word.partition("=")
        if not sign or not key:
            raise ConfigError(f"expected key=value, got {word!r}{closest(word, CHOICES) if word else ''}")
        if key in found:
            raise ConfigError(f"{key} is given twice")
        found[key] = text if key in CHOICES else parse_value(text)
    return found


_MOST = 10_000
"""Splits or seeds that one run may name: more is a slip of the finger."""


def _integers(value: Any, key: str) -> list[int]:
    """Read ``3``, ``"0,3"``, ``"0-4"`` or ``[0, 3]``."""
    words = value if isinstance(value, list | tuple | range) else str(value).strip("[]").split(",")
    found: list[int] = []
    for word in (str(w).strip() for w in words):
        first, dash, last = word.partition("-")
        if not word:
            continue
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ConfigError(
                f"{key}={value}: {word!r} is not a number such as 3, a list such as 0,3 or a range such as 0-4"
            )
        chosen = range(int(first), int(last) + 1 if dash else int(first) + 1)
        if len(chosen) > _MOST:
            raise ConfigError(f"{key}={value}: {word!r} is more than {_MOST} numbers")
        found += chosen
    if not found:
        raise ConfigError(f"{key}={value}: names nothing")
    return list(dict.fromkeys(found))


def parse_indices(value: Any, count: int, benchmark: str) -> list[int]:
    """Read ``splits=``: ``all``, ``3``, ``0,3``, ``0-4``.

    Raises:
        ConfigError: not such a list, or a split that the protocol does not have.
    """
    if value is None or value == "all":
        return list(range(count))
    found = _integers(value, "splits")
    for index in found:
        if index >= count:
            have = f"{count} splits, 0 to {count - 1}" if count > 1 else "one split, 0"
            raise ConfigError(f"splits={value}: {benchmark} has {have}")
    return found


def parse_seeds(value: Any) -> list[int]:
    """Read ``seeds=``: ``3`` means 0, 1, 2; a list such as ``5,7`` or ``[43]`` means those."""
    text = str(value)
    if isinstance(value, list | tuple | range) or "," in text or "-" in text or "[" in text:
        seeds = _integers(value, "seeds")
        if max(seeds) >= 2**32:
            raise ConfigError(f"seeds={value}: a seed is less than 2**32")
        return seeds
    (count,) = _integers(value, "seeds")
    if count < 1:
        raise ConfigError(f"seeds={value}: at least one")
    if count > _MOST:
        raise ConfigError(f"seeds={value}: so many seeds are a slip; the one seed {count} is seeds=[{count}]")
    return list(range(count))


def _names_and_settings(values: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell choices (``model=sheaf``) from settings (``model.dropout=0.5``)."""
    choices: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for key, value in flatten(values):
        section, dot, rest = key.partition(".")
        if dot and section in SECTIONS and rest == "name":
            choices[section] = value
        elif dot and section in SECTIONS:
            settings[key] = value
        elif key in CHOICES:
            choices[key] = value
        elif key in SECTIONS:
            if value not in ({}, None):  # an empty section of a file
                raise ConfigError(f"{key}={value}{where}: {key} is a section, write {key}.<key>=<value>")
        else:
            known = [*CHOICES, *(f"{s}." for s in SECTIONS)]
            known += [f"{s}.{name}" for s, schema in _SCHEMAS.items() for name in schema.model_fields]
            raise ConfigError(f"unknown key {key}{where}{closest(key, known)}")
    return choices, settings


_SCHEMAS: dict[str, type[BaseModel]] = {"train": TrainConfig, "data": DataConfig}


@dataclass
class Request:
    """What a user asked for, before any name is looked up."""

    choices: dict[str, Any]
    layers: list[tuple[str, dict[str, Any]]]
    """Settings by source, low to high: the ``config=`` file, then the command line."""
    stored: dict[str, Any] | None
    """The file, where it is a stored configuration, which leaves nothing to the cards."""
    tuned: dict[str, Any] | None = None
    """What tuning wrote into the file: ``source``, ``trials`` and the hash of the ``config`` that they belong to."""


def _check_paths(choices: Mapping[str, Any], where: str) -> None:
    for key in ("config", "results", "root", "save", "curves"):
        if not isinstance(choices.get(key, ""), str | os.PathLike):
            raise ConfigError(f"{key}={choices[key]}{where}: a file or folder")


def load_choices(values: Mapping[str, Any]) -> Request:
    """Tell choices from settings, those of a ``config=`` file too.

    The file is what a user writes (``{model: {name: gcn, dropout: 0.6}, dataset: cora}``), or a configuration as it is
    stored with records, which gives the same configuration again, also when cards have changed since.
    """
    choices, settings = _names_and_settings(values, "")
    _check_paths(choices, "")
    layers = [("command line", settings)]
    stored = tuned = None
    if "config" in choices:
        path = Path(choices["config"])
        content = load_yaml(path)
        if "config" in content:
            raise ConfigError(f"config= in {path}: one file at a time")
        if isinstance(content.get("names"), dict):
            stored = dict(content)
        names = content.pop("names") if stored else {}
        if stored:
            tuned = content.pop("tuned", None)
            if tuned is not None and not _is_tuned(tuned):
                raise ConfigError(f"tuned in {path}: source, trials, config, as gnnzoo tune writes them")
            for key in ("teachers", "content"):
                content.pop(key, None)
        try:
            file_choices, file_settings = _names_and_settings(content, f" in {path}")
        except RecursionError:
            raise ConfigError(f"{path}: a section that holds itself") from None
        _check_paths(file_choices, f" in {path}")
        choices = file_choices | names | choices
        layers.insert(0, (str(path), file_settings))
    for key in ("protocol", "strategy", "suite"):
        if choices.get(key) is not None:
            choices[key] = str(choices[key])
    return Request(choices, layers, stored, tuned)


def _is_tuned(value: Any) -> bool:
    kinds = {"source": str, "trials": int, "config": str}
    return (
        isinstance(value, dict)
        and value.keys() == kinds.keys()
        and all(isinstance(value[key], kind) for key, kind in kinds.items())
    )


def _protocol(
    dataset: DatasetCard, asked: str | None, methods: Iterable[tuple[str, ModelCard | StrategyCard]], notes: list[str]
) -> str:
    """Return the asked protocol, else the one that the model's or strategy's card names, else the dataset's default."""
    if asked is not None:
        if asked not in dataset.protocols:
            raise UnknownNameError("protocol", asked, dataset.protocols, f"dataset {dataset.name}")
        return asked
    for kind, card in methods:
        named = card.protocols.get(dataset.name)
        if named is not None and named != dataset.default_protocol:
            if named not in dataset.protocols:
                raise UnknownNameError("protocol", named, dataset.protocols, f"the card of {kind} {card.name}")
            default = dataset.default_protocol
            notes.append(f"protocol {named}: named by {kind} {card.name} (default of {dataset.name}: {default})")
            return named
    return dataset.default_protocol


def _check_fit(kind: str, card: ModelCard | StrategyCard, dataset: DatasetCard, registry: Any) -> None:
    """Refuse a model or strategy on a dataset that it is not for, naming some that are."""
    problem = None
    # what can answer for graphs can be asked whether it tells two of them apart
    if dataset.task not in card.tasks and not (dataset.task == "distinguish" and "graph" in card.tasks):
        article = "an" if dataset.task[0] in "aeiou" else "a"
        problem = f"is for {' and '.join(card.tasks)} tasks, {dataset.name} is {article} {dataset.task} task"
    elif dataset.structure not in card.structures:
        words = {"heterogeneous": "heterogeneous graph"}
        own = " or ".join(words.get(s, s) for s in card.structures)
        problem = f"works on a {own}, {dataset.name} is a {words.get(dataset.structure, dataset.structure)}"
    if problem:
        fitting = registry.list(task=dataset.task, structure=dataset.structure) if _has(registry, dataset) else []
        kinds = {"model": "models", "strategy": "strategies"}[kind]
        hint = f"; {kinds} that fit: {', '.join(fitting[:8])}" if fitting else ""
        raise ConfigError(f"{kind} {card.name} {problem}{hint}")


def _has(registry: Any, dataset: DatasetCard) -> bool:
    facets = [registry.card(name).facets() for name in registry.names()]
    return any(dataset.task in f["task"] for f in facets) and any(dataset.structure in f["structure"] for f in facets)


def resolve(
    model: str,
    dataset: str,
    protocol: str | None = None,
    strategy: str | None = None,
    suite: str | None = None,
    layers: Iterable[tuple[str, Mapping[str, Any]]] = (),
    signatures: bool = True,
    stored: Mapping[str, Any] | None = None,
    training: bool = True,
) -> Config:
    """Merge and check everything that determines a result.

    Args:
        model: a registered name or alias.
        dataset: a registered name or alias, or ``dataset@protocol``; or a path to own data.
        protocol: one of the dataset's; default: named by the model's card, else the dataset's default.
        strategy: a registered name or alias; default: named by the model's card, else plain training.
        suite: a suite whose settings apply.
        layers: ``(source, {"train.lr": 0.01, ...})``, low to high.
        signatures: also check ``model``, ``strategy`` and ``dataset`` keys against constructors, which imports torch.
        stored: a stored configuration that ``layers`` begin with: cards and the suite have no say.
        training: refuse a protocol on which nothing is trained.

    Raises:
        ConfigError: a name, key, type, value or combination that cannot be; the nearest valid choice is named.
    """
    dataset, at, in_name = partition(dataset)
    if at and protocol is not None and protocol != in_name:
        raise ConfigError(f"dataset={dataset}@{in_name} and protocol={protocol} disagree")
    defaults = load_yaml(config_dir() / "defaults.yaml")
    model_card, dataset_card = MODELS.card(model), DATASETS.card(dataset)
    asked = dataset_card.protocols.get(in_name or protocol or dataset_card.default_protocol)
    apart = asked is not None and asked.splits == 0
    if apart and training and stored is None:
        raise ConfigError(
            f"nothing is trained on {dataset_card.name}@{in_name or protocol or dataset_card.default_protocol}: "
            f"gnnzoo expressivity model={model_card.name} dataset={dataset_card.name} counts the pairs it separates"
        )
    strategy_card = STRATEGIES.card(strategy or usual_strategy(model_card.name, not apart))
    _check_fit("model", model_card, dataset_card, MODELS)
    _check_fit("strategy", strategy_card, dataset_card, STRATEGIES)
    notes: list[str] = []
    if not strategy and strategy_card.name == model_card.strategy:
        usual = defaults["strategy"]
        notes.append(f"strategy {strategy_card.name}: named by model {model_card.name} (default: {usual})")
    methods = (("model", model_card), ("strategy", strategy_card))
    protocol = _protocol(dataset_card, in_name or protocol, methods, notes)
    benchmark = f"{dataset_card.name}@{protocol}"
    dataset, content = DATASETS.canonical(dataset), ""
    if dataset_card.family == "own":
        content = dataset_card.protocols[protocol].digest + dataset_card.protocols[protocol].hash
        if (stored or {}).get("content", content) != content:
            notes.append(f"{benchmark}: not the data that this configuration was stored with: results differ")

    stack: list[tuple[str, Mapping[str, Any]]] = [
        ("defaults.yaml", {key: defaults[key] for key in _SCHEMAS}),
        (f"datasets/{dataset_card.name}.yaml", dataset_card.defaults.model_dump()),
        (f"models/{model_card.name}.yaml", model_card.defaults.model_dump()),
        (f"strategies/{strategy_card.name}.yaml", strategy_card.defaults.model_dump()),
    ]
    both = f"{benchmark}+{strategy_card.name}"
    entries = (
        ("models", model_card, benchmark),
        ("strategies", strategy_card, benchmark),
        ("models", model_card, both),
    )
    for folder, method, key in entries:
        if key in method.datasets:
            setting = method.datasets[key]
            source = f"{folder}/{method.name}.yaml {key} ({setting.source})"
            stack.append((source, setting.model_dump(exclude={"source"})))
    if dataset_card.protocols[protocol].selection == "on-test":  # the epoch is chosen afterwards, one for all splits
        stack.append((f"protocol {protocol}", {"train": {"selection": "last", "stopping": None, "stop_rate": None}}))
    if suite is not None:
        suite_card = SUITES.card(suite)
        stack.append((f"suites/{suite_card.name}.yaml", suite_card.settings.model_dump()))
    stack = [*([] if stored else stack), *layers]

    merged: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, values in stack:
        for key, value in flatten(values):
            if value != {}:
                merged[key], sources[key] = value, source
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, value in merged.items():
        section, _, path = key.partition(".")
        if section not in sections or not path:
            raise ConfigError(f"unknown key {key} in {sources[key]}{closest(key, [f'{s}.' for s in SECTIONS])}")
        _put(sections[section], path.split("."), value, key)

    for section, schema in _SCHEMAS.items():
        sections[section] = check(schema, sections[section], section).model_dump()
    said = dataset_card.warnings(protocol, dict(flatten(sections)))
    notes += [f"{benchmark}: {text}" for text in said]
    complaint = TrainConfig(**sections["train"]).complain()
    metric = dataset_card.protocols[protocol].metric
    if sections["train"]["val_metric"] and not metric.endswith("_f1"):
        complaint = f"train.val_metric={sections['train']['val_metric']} needs a protocol of F1; {benchmark}: {metric}"
    for key in ("coalesce", "merge_hyperedges"):
        if sections["data"][key] and dataset_card.task == "edge-dependent-node":
            complaint = f"data.{key}=true: every incidence of {dataset_card.name} has a label of its own"
    if complaint:
        raise ConfigError(complaint)
    for tag in sections["train"]["groups"] or {}:
        if tag not in model_card.parameter_groups:
            hint = closest(tag, model_card.parameter_groups)
            raise ConfigError(f"train.groups.{tag}: model {model_card.name} has no such parameter group{hint}")
    teachers: dict[str, Config] = {}
    if signatures:
        sections["model"] = validate(MODELS.get(model_card.name), sections["model"], "model", RESERVED)
        if _told_what_to_answer_for(MODELS.get(model_card.name), sections["model"], dataset_card):
            sources["model.per_incidence"] = f"task {dataset_card.task}"
        _check_together(MODELS.get(model_card.name), sections["model"], dataset_card)
        method_class = STRATEGIES.get(strategy_card.name)
        sections["strategy"] = validate(method_class, sections["strategy"], "strategy")
        loader = DATASETS.get(dataset_card)
        sections["dataset"] = validate(loader, sections["dataset"], "dataset", ("card", "protocol", "files"))
        kept = (stored or {}).get("teachers", {})
        for role, (name, settings) in method_class(**sections["strategy"]).teachers().items():
            own = [(f"strategy {strategy_card.name}", {**settings, "dataset": sections["dataset"]})]
            if role in kept:
                teachers[role] = restore(kept[role], dataset if content else None)
            else:
                teachers[role] = resolve(name, f"{dataset}@{protocol}", layers=own)
    names = (model_card.name, dataset, protocol, strategy_card.name)
    return Config(*names, sections, teachers, sources, notes, content)


def restore(stored: Mapping[str, Any], dataset: str | None = None) -> Config:
    """Return the configuration of which :meth:`Config.to_dict` was stored, whatever cards say now.

    Args:
        stored: the dictionary.
        dataset: where own data are now.
    """
    names = stored["names"]
    sections = {key: stored[key] for key in SECTIONS if key in stored}
    layers = [("stored", sections)]
    place = dataset or names["dataset"]
    return resolve(names["model"], place, names["protocol"], names["strategy"], None, layers, stored=stored)


RESERVED = ("in_channels", "out_channels")
"""Constructor arguments that the data decides."""


def _told_what_to_answer_for(cls: type, hparams: dict[str, Any], dataset: DatasetCard) -> bool:
    """Set ``per_incidence`` where a model has it: whether the dataset's labels are of nodes in hyperedges."""
    if "per_incidence" not in parameters(cls):
        return False
    wanted = dataset.task == "edge-dependent-node"
    if hparams.get("per_incidence", False) and not wanted:
        raise ConfigError(f"model.per_incidence=true: the labels of {dataset.name} are not of incidences")
    hparams["per_incidence"] = wanted
    return wanted


def _check_together(cls: type, hparams: Mapping[str, Any], dataset: DatasetCard) -> None:
    """Let a model's constructor refuse values that do not fit each other, before anything is loaded or written."""
    import torch

    if any(p.required and p.name not in RESERVED for p in parameters(cls).values()):
        return  # sizes that only the data know
    try:
        with torch.device("meta"):  # no memory, no random numbers
            cls(max(dataset.counts.features, 1), dataset.num_outputs, **hparams)
    except GnnzooError:
        raise
    except Exception:  # an initialization that needs real numbers: training will tell
        return


def _put(target: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    for part in path[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise ConfigError(f"{key}: {part} is a value, not a section")
    target[path[-1]] = value


def default_results() -> Path:
    """Return the folder of records when ``results=`` is not given: ``$GNNZOO_RESULTS``, else ``./results``."""
    return Path(os.environ.get("GNNZOO_RESULTS") or "results")

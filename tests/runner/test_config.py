"""From names and settings to one checked configuration: precedence, sources, hash, and everything that can be wrong."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from torch import Tensor, nn

from gnnzoo.cards import ModelCard, StrategyCard, SuiteCard
from gnnzoo.cli import main
from gnnzoo.datasets.synthetic import load_karate
from gnnzoo.errors import ConfigError, UnknownNameError
from gnnzoo.leaderboard import Store
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, SUITES, register_dataset
from gnnzoo.runner import plan
from gnnzoo.runner.config import (
    Config,
    DataConfig,
    TrainConfig,
    flatten,
    parse_arguments,
    parse_indices,
    parse_seeds,
    resolve,
)
from gnnzoo.signature import _kinds
from gnnzoo.strategies import ERM
from gnnzoo.types import Dropout, PositiveInt

REGISTRIES = (MODELS, DATASETS, STRATEGIES, SUITES)
KARATE = "random-48-32-20"


class Toy(nn.Module):
    """A model with a few hyperparameters."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        dropout: Dropout = 0.5,
        heads: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        if heads and hidden_channels % heads:
            raise ConfigError(f"hidden_channels={hidden_channels} does not divide by heads={heads}; take heads=1")
        self.lin = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin(x)


class ToyStrategy(ERM):
    """A strategy with a hyperparameter."""

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Forget what a test registers."""
    before = [dict(registry._registered) for registry in REGISTRIES]
    yield
    for registry, names in zip(REGISTRIES, before, strict=True):
        registry._registered.clear()
        registry._registered.update(names)


def toy_model(name: str = "toy", **content: Any) -> None:
    card = {"name": name, "class": "x.Toy", "summary": "a toy", "tasks": ["node"], "structures": ["graph"]} | content
    MODELS.register(ModelCard.model_validate(card), Toy)


def toy_strategy(name: str = "toy-training", **content: Any) -> None:
    card = {"name": name, "class": "x.ToyStrategy", "summary": "a toy", "tasks": ["node"], "structures": ["graph"]}
    STRATEGIES.register(StrategyCard.model_validate(card | content), ToyStrategy)


def toy_dataset(name: str = "toy-data", **content: Any) -> None:
    protocol = {"summary": "ten splits", "splits": 10, "metric": "accuracy"}
    card = {
        "name": name,
        "summary": "a toy",
        "family": "toy",
        "task": "node",
        "num_outputs": 4,
        "counts": {"nodes": 34, "edges": 156, "features": 34},
        "protocols": {KARATE: protocol, "other": protocol},
        "default_protocol": KARATE,
    }
    register_dataset(card | content, load_karate)


def toy_suite(name: str = "toy-suite", **content: Any) -> None:
    card = {"name": name, "summary": "a toy", "models": ["toy"], "benchmarks": [f"toy-data@{KARATE}"]} | content
    SUITES.register(SuiteCard.model_validate(card), None)


def only(values: dict[str, Any]) -> Config:
    (config,) = plan(values).configs
    return config


def test_precedence(tmp_path: Path) -> None:
    """Each of the ten levels beats all below it, and the source names the level that won."""
    benchmark = f"toy-data@{KARATE}"
    file = tmp_path / "mine.yaml"
    file.write_text("train: {lr: 8.0}\n")
    sources = [
        "defaults.yaml",
        "datasets/toy-data.yaml",
        "models/toy.yaml",
        "strategies/toy-training.yaml",
        f"models/toy.yaml {benchmark} (table 1)",
        f"strategies/toy-training.yaml {benchmark} (table 2)",
        f"models/toy.yaml {benchmark}+toy-training (table 3)",
        "suites/toy-suite.yaml",
        str(file),
        "command line",
    ]
    found = []
    for level, source in enumerate(sources):
        section = [{"train": {"lr": float(i)}} if i <= level else {} for i in range(len(sources))]
        toy_dataset(defaults=section[1])
        both = {f"{benchmark}+toy-training": {"source": "table 3", **section[6]}}
        both[f"{benchmark}+erm"] = {"source": "another strategy's", "train": {"lr": 100.0}}
        toy_model(defaults=section[2], datasets={benchmark: {"source": "table 1", **section[4]}} | both)
        toy_strategy(defaults=section[3], datasets={benchmark: {"source": "table 2", **section[5]}})
        toy_suite(settings=section[7])
        values: dict[str, Any] = {"suite": "toy-suite", "strategy": "toy-training"}
        values |= {"config": str(file)} if level >= 8 else {}
        values |= {"train.lr": 9.0} if level >= 9 else {}
        config = only(values)
        assert config.train.lr == (level or 0.01)
        assert config.sources["train.lr"] == source
        found.append(config.hash)
    assert len(set(found)) == len(sources)


def test_levels_are_merged_key_by_key() -> None:
    toy_dataset(defaults={"data": {"normalize_features": "row"}})
    toy_model(defaults={"train": {"lr": 0.2, "groups": None}, "model": {"dropout": 0.1}})
    config = only({"model": "toy", "dataset": "toy-data", "model.hidden_channels": 3, "train.epochs": 7})
    assert config.sections["model"] == {"hidden_channels": 3, "dropout": 0.1, "heads": None}
    on = {key: value for key, value in config.sections["data"].items() if value is not None}
    assert on == {"normalize_features": "row", "undirected": False, "self_loops": "keep"}
    assert (config.train.lr, config.train.epochs) == (0.2, 7)
    assert {
        key: config.sources[key] for key in ("model.hidden_channels", "model.dropout", "data.normalize_features")
    } == {
        "model.hidden_channels": "command line",
        "model.dropout": "models/toy.yaml",
        "data.normalize_features": "datasets/toy-data.yaml",
    }
    assert "train.batch_size" not in config.sources  # the code's own default


def test_settings_of_another_benchmark_do_not_apply() -> None:
    toy_dataset()
    toy_model(datasets={"toy-data@other": {"source": "table 1", "train": {"lr": 0.5}}})
    assert only({"model": "toy", "dataset": "toy-data"}).train.lr == 0.01
    assert only({"model": "toy", "dataset": "toy-data@other"}).train.lr == 0.5
    assert only({"model": "toy", "dataset": "toy-data", "protocol": "other"}).train.lr == 0.5


def test_a_card_names_a_protocol_and_says_so() -> None:
    toy_dataset()
    toy_model(protocols={"toy-data": "other"})
    toy_strategy(protocols={"toy-data": KARATE})
    chosen = only({"model": "toy", "dataset": "toy-data"})
    assert chosen.benchmark == "toy-data@other"
    assert chosen.notes == [f"protocol other: named by model toy (default of toy-data: {KARATE})"]
    for asked in ({"dataset": f"toy-data@{KARATE}"}, {"dataset": "toy-data", "protocol": KARATE}):
        config = only({"model": "toy", **asked})
        assert (config.protocol, config.notes) == (KARATE, [])
    toy_model(name="toy2", protocols={"toy-data": "gone"})
    with pytest.raises(UnknownNameError, match="unknown protocol 'gone' in the card of model toy2; choose from: other"):
        only({"model": "toy2", "dataset": "toy-data"})


def test_nested_and_dotted_settings_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: {name: gcn, hidden_channels: 3}\ndataset: {name: karate}\ntrain: {lr: 1e-3}\nsplits: 0-1\n")
    work = plan({"config": file})
    dotted = only({"model": "gcn", "dataset": "karate", "model.hidden_channels": 3, "train.lr": 0.001})
    assert work.configs == [dotted]
    assert [cell.split for cell in work.cells] == [0, 1]
    assert work.configs[0].sources["train.lr"] == str(file)
    nested = only(
        {"model": {"name": "gcn", "hidden_channels": 3}, "dataset": {"name": "karate"}, "train": {"lr": 0.001}}
    )
    assert nested == dotted
    assert (
        only({"model.name": "GCN", "model.hidden_channels": 3, "dataset.name": "zachary", "train.lr": 1e-3}) == dotted
    )


def test_command_line_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: mlp\ndataset: karate\ntrain: {lr: 0.5}\nseeds: 3\n")
    work = plan(parse_arguments(["model=gcn", f"config={file}", "train.lr=1e-2", "seeds=7,9", "splits=4"]))
    assert [(c.config.model, c.split, c.seed) for c in work.cells] == [("gcn", 4, 7), ("gcn", 4, 9)]
    assert work.configs[0].train.lr == 0.01


def test_several_models_and_benchmarks() -> None:
    work = plan({"model": "mlp,gcn,GCN", "dataset": ["karate", "csbm"], "splits": "0,2", "seeds": 2})
    assert [(c.model, c.dataset) for c in work.configs] == [
        ("mlp", "karate"),
        ("gcn", "karate"),
        ("mlp", "csbm"),
        ("gcn", "csbm"),
    ]
    assert len(work.cells) == 4 * 2 * 2
    assert str(work.cells[0]) == f"mlp karate@{KARATE} split 0 seed 0"


def test_the_hash_is_stable() -> None:
    """The hash of a stored configuration never changes: records are found by it."""
    sections = {
        "model": {"hidden_channels": 64, "dropout": 0.5, "heads": None},
        "train": TrainConfig().model_dump(),
        "data": DataConfig().model_dump(),
        "strategy": {},
        "dataset": {"homophily": 0.1},
    }
    config = Config("gcn", "csbm", KARATE, "erm", sections)
    assert config.hash == "eaef580aa3a4a441"
    assert config.to_dict()["names"] == {"model": "gcn", "dataset": "csbm", "protocol": KARATE, "strategy": "erm"}
    later = Config("gcn", "csbm", KARATE, "erm", sections | {"train": sections["train"] | {"added_later": None}})
    assert later.hash == config.hash  # a knob that is off leaves old records valid


def test_every_setting_changes_the_hash() -> None:
    toy_model()
    toy_strategy()
    base: dict[str, Any] = {"model": "toy", "dataset": "csbm", "strategy": "toy-training", "train.neighbors": 3}
    other: dict[str, Any] = {
        **{"model.hidden_channels": 3, "model.dropout": 0.1, "model.heads": 2, "strategy.strength": 2.0},
        **{"dataset.homophily": 0.9, "dataset.seed": 1, "data.normalize_features": "row", "data.undirected": True},
        **{
            "data.one_hot": True,
            "data.self_loops": "add",
            "train.epochs": 999,
            "train.lr": 0.123,
            "train.weight_decay": 0.123,
        },
        **{"train.optimizer": "lamb", "train.batch_size": 7, "train.schedule": "cosine", "train.schedule_epochs": 3},
        **{"train.schedule_factor": 0.3, "train.schedule_monitor": "train_loss", "train.warmup_epochs": 2},
        **{"train.clip_norm": 1.0, "train.l1": 0.1, "train.l2": 0.1, "train.selection": "last"},
        **{"train.selection_window": 3, "train.stopping": None, "train.patience": 99, "train.stop_monitor": "loss"},
        **{"train.ties": "loss", "train.stop_after": 3, "train.eval_every": 2, "train.eval_draws": 2},
        **{"train.stop_rate": 1e-5, "data.polynomials": 6, "data.polynomial_norm": True},
        **{"data.polynomial_form": "dense", "data.coalesce": True, "data.merge_hyperedges": True},
        **{"data.singletons": True, "train.neighbors": 5, "train.hops": 2, "train.eps": 1e-6},
    }
    known = {f"train.{key}" for key in TrainConfig.model_fields} | {f"data.{key}" for key in DataConfig.model_fields}
    assert known - set(other) == {"train.groups", "train.val_metric"}
    hashes = [only(base).hash, *(only(base | {key: value}).hash for key, value in other.items())]
    hashes += [only(base | {"dataset": "karate"}).hash, only(base | {"strategy": "erm"}).hash]
    assert len(set(hashes)) == len(hashes)


def test_tagged_groups_are_settings() -> None:
    toy_model(parameter_groups=["slow"])
    base = {"model": "toy", "dataset": "karate"}
    config = only(base | {"train.groups.slow.weight_decay": 0.1, "train.groups.slow.lr": 0.5})
    assert config.train.model_dump()["groups"] == {"slow": {"lr": 0.5, "weight_decay": 0.1}}
    assert config.hash != only(base).hash


def test_the_mean_of_two_f1_scores_needs_a_protocol_that_has_them() -> None:
    base = {"model": "rphgnn", "dataset": "hgb-imdb"}
    config = only(base)
    assert config.train.val_metric == "mean_f1"
    assert config.hash != only(base | {"train.val_metric": "none"}).hash
    with pytest.raises(ConfigError, match=r"train\.val_metric=mean_f1 needs .* F1; karate@.*: accuracy"):
        only({"model": "gcn", "dataset": "karate", "train.val_metric": "mean_f1"})


def test_how_it_is_run_does_not_change_the_hash(tmp_path: Path) -> None:
    base = {"model": "gcn", "dataset": "karate"}
    how = {"splits": "3", "seeds": "[5]", "jobs": "2", "threads": "2", "device": "cpu", "checkpoint": "1"}
    how |= {"results": tmp_path / "r", "root": tmp_path, "save": tmp_path / "m.pt", "curves": tmp_path / "c.png"}
    work = plan(base | how)
    assert work.configs[0].hash == only(base).hash
    assert (work.execution.threads, work.jobs, work.execution.checkpoint) == (2, 2, 1.0)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_stored_configuration_gives_itself(tmp_path: Path, form: str) -> None:
    """Also where it switches off what the cards switch on, and when the cards have changed since."""
    toy_model(defaults={"model": {"heads": 4}, "train": {"clip_norm": 1.0}})
    values = {"model": "toy", "dataset": "csbm", "train.stopping": "none", "train.clip_norm": None, "model.heads": None}
    config = only(values | {"model.dropout": 1e-5, "dataset.homophily": 0.25})
    assert config.train.stopping is None
    store = Store(tmp_path)
    store.save_config(config.hash, config.to_dict())
    file = tmp_path / "configs" / f"{config.hash}.json"
    assert store.config(config.hash) == config.to_dict()
    if form == "yaml":
        file = tmp_path / "stored.yaml"
        file.write_text(yaml.safe_dump(config.to_dict()))
    toy_model(defaults={"model": {"hidden_channels": 8}, "train": {"lr": 0.5}})
    again = only({"config": file})
    assert again == config
    assert again.hash == config.hash
    assert set(again.sources.values()) == {str(file)}
    assert only({"config": file, "train.lr": 0.3}).train.lr == 0.3
    with pytest.raises(ConfigError, match=r"unknown key model\.heads; choose from"):
        only({"config": file, "model": "gcn", "model.heads": 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("all", list(range(10))), (None, list(range(10))), ("3", [3]), ("0,3", [0, 3]), ("0-4", [0, 1, 2, 3, 4])]
    + [("1,0-2,1", [1, 0, 2]), ([0, 3], [0, 3]), (range(2), [0, 1]), (4, [4]), ("[2, 5]", [2, 5]), (" 7 ", [7])],
)
def test_splits(text: Any, expected: list[int]) -> None:
    assert parse_indices(text, 10, "texas@geom-gcn") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [0, 1, 2]),
        (1, [0]),
        ("5,7", [5, 7]),
        ("[43]", [43]),
        ([43], [43]),
        (range(5, 7), [5, 6]),
        ("2-4", [2, 3, 4]),
        ("7,", [7]),
    ],
)
def test_seeds(text: Any, expected: list[int]) -> None:
    assert parse_seeds(text) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("5E-4", 5e-4), (".5", 0.5), ("3", 3), ("true", True), ("none", "none"), ("null", None)]
    + [("diag", "diag"), ("[1, 2]", [1, 2]), ("'7'", "7"), ("", None), ("a: b: c", "a: b: c")],
)
def test_values_are_read_as_yaml(text: str, value: Any) -> None:
    assert parse_arguments([f"train.lr={text}"]) == {"train.lr": value}


def test_an_equals_sign_in_a_value() -> None:
    assert parse_arguments(["results=a=b", "model.x=c=d"]) == {"results": "a=b", "model.x": "c=d"}


def test_flatten() -> None:
    nested = {"a": {"b": {"c": 1}, "d.e": 2}, "f": {}, "g": None}
    assert dict(flatten(nested)) == {"a.b.c": 1, "a.d.e": 2, "f": {}, "g": None}


def test_resolve_refuses_settings_of_no_section() -> None:
    with pytest.raises(ConfigError, match=r"unknown key trian\.lr in strategy; did you mean 'train\.'"):
        resolve("gcn", "karate", layers=[("strategy", {"trian.lr": 1})])
    with pytest.raises(ConfigError, match=r"unknown key epochs in strategy"):
        resolve("gcn", "karate", layers=[("strategy", {"epochs": 1})])
    with pytest.raises(ConfigError, match=r"train\.lr\.x: lr is a value, not a section"):
        resolve("gcn", "karate", layers=[("strategy", {"train.lr": 1, "train.lr.x": 2})])


GOOD = ["model=gcn", "dataset=karate"]

# What is wrong, the line that says so, and whether torch is needed to see it (a constructor's signature).
WRONG: list[tuple[list[str], str, bool]] = [
    (["model=mpl", "dataset=karate"], "unknown model 'mpl'; did you mean 'mlp'?", False),
    (["model=gcn", "dataset=karat"], "unknown dataset 'karat'; did you mean 'karate'", False),
    ([*GOOD, "protocol=random"], f"unknown protocol 'random' in dataset karate; did you mean '{KARATE}'?", False),
    (["model=gcn", "dataset=karate@publik"], "unknown protocol 'publik' in dataset karate; choose from: ", False),
    (
        ["model=gcn", "dataset=cora@public", "protocol=geom-gcn"],
        "dataset=cora@public and protocol=geom-gcn disagree",
        False,
    ),
    ([*GOOD, "strategy=emr"], "unknown strategy 'emr'; did you mean 'erm'?", False),
    (["suite=demmo"], "unknown suite 'demmo'; did you mean 'demo'?", False),
    (["dataset=karate"], "model= is missing; gnnzoo list models shows the choices", False),
    (["model=gcn"], "dataset= is missing; gnnzoo list datasets shows the choices", False),
    ([*GOOD, "modle=gcn"], "unknown key modle; did you mean 'model'", False),
    ([*GOOD, "lr=0.1"], "unknown key lr; did you mean 'train.lr'?", False),
    ([*GOOD, "trian.lr=0.1"], "unknown key trian.lr; did you mean 'train.lr'", False),
    ([*GOOD, "train.lrr=0.1"], "unknown key train.lrr; did you mean 'lr'?", False),
    ([*GOOD, "train=0.1"], "train=0.1: train is a section, write train.<key>=<value>", False),
    ([*GOOD, "data.undirectd=true"], "unknown key data.undirectd; did you mean 'undirected'?", False),
    ([*GOOD, "model.dropuot=0.1"], "unknown key model.dropuot; did you mean 'dropout'?", True),
    ([*GOOD, "model.in_channels=3"], "unknown key model.in_channels; did you mean 'hidden_channels'?", True),
    ([*GOOD, "strategy.temperature=1"], "unknown key strategy.temperature; there are none", True),
    (["model=gcn", "dataset=csbm", "dataset.homophilly=1"], "unknown key dataset.homophilly; did you mean", True),
    ([*GOOD, "train.lr=fast"], "train.lr='fast': should be a valid number", False),
    ([*GOOD, "train.lr=true"], "train.lr=True: should be a number", False),
    ([*GOOD, "train.lr=[1, 2]"], "train.lr=[1, 2]: should be a valid number", False),
    ([*GOOD, "train.lr.x=1"], "train.lr.x: lr is a value, not a section", False),
    ([*GOOD, "train.epochs=1.5"], "train.epochs=1.5: should be a valid integer", False),
    ([*GOOD, "train.epochs="], "train.epochs=None: should be a valid integer", False),
    ([*GOOD, "train.optimizer=sgd"], "train.optimizer='sgd': should be 'adam', 'adamw' or 'lamb'", False),
    ([*GOOD, "data.undirected=maybe"], "data.undirected='maybe': should be a valid boolean", False),
    ([*GOOD, "model.hidden_channels=wide"], "model.hidden_channels='wide': should be a valid integer", True),
    ([*GOOD, "train.lr=0"], "train.lr=0: should be greater than 0", False),
    ([*GOOD, "train.lr=-1e-3"], "train.lr=-0.001: should be greater than 0", False),
    ([*GOOD, "train.lr=nan"], "train.lr='nan': should be ", False),
    ([*GOOD, "train.lr=.nan"], "train.lr=nan: should be ", False),
    ([*GOOD, "train.lr=inf"], "train.lr='inf': should be a finite number", False),
    ([*GOOD, "train.weight_decay=-0.1"], "train.weight_decay=-0.1: should be greater than or equal to 0", False),
    ([*GOOD, "train.weight_decay=.inf"], "train.weight_decay=inf: should be a finite number", False),
    ([*GOOD, "train.epochs=0"], "train.epochs=0: should be greater than 0", False),
    ([*GOOD, "train.batch_size=0"], "train.batch_size=0: should be greater than 0", False),
    ([*GOOD, "train.schedule_factor=1"], "train.schedule_factor=1: should be less than 1", False),
    ([*GOOD, "model.dropout=1"], "model.dropout=1: should be less than 1", True),
    ([*GOOD, "model.dropout=-0.1"], "model.dropout=-0.1: should be greater than or equal to 0", True),
    ([*GOOD, "model.dropout=nan"], "model.dropout='nan': should be ", True),
    ([*GOOD, "model.num_layers=0"], "model.num_layers=0: should be greater than 0", True),
    ([*GOOD, "model.hidden_channels=0"], "model.hidden_channels=0: should be greater than 0", True),
    ([*GOOD, "train.stopping=patience", "train.patience=none"], "train.stopping=patience needs train.patience", False),
    ([*GOOD, "train.selection=mean_last"], "train.selection=mean_last needs train.selection_window", False),
    ([*GOOD, "train.schedule=step"], "train.schedule=step needs train.schedule_epochs", False),
    ([*GOOD, "train.epochs=3", "train.eval_every=5"], "train.eval_every=5 is more than train.epochs=3", False),
    (
        [*GOOD, "train.groups.sheaf_lerner.lr=1"],
        "train.groups.sheaf_lerner: model gcn has no such parameter group",
        False,
    ),
    (
        ["model=sheaf", "dataset=karate", "train.groups.sheaf_lerner.lr=1"],
        "train.groups.sheaf_lerner: model sheaf has no such parameter group; did you mean 'sheaf_learner'?",
        False,
    ),
    (
        ["model=sheaf", "dataset=karate", "train.groups.sheaf_learner.lrr=1"],
        "unknown key train.groups.sheaf_learner.lrr; did you mean 'lr'?",
        False,
    ),
    (
        ["model=sheaf", "dataset=karate", "train.groups.sheaf_learner.lr=0"],
        "train.groups.sheaf_learner.lr=0: should be greater than 0",
        False,
    ),
    (
        ["model=sheaf", "dataset=karate", "model.sheaf=bundle", "model.stalk_dim=1"],
        "sheaf=bundle needs stalk_dim >= 2, not 1",
        True,
    ),
    (
        ["model=gcn", "dataset=MUTAG"],
        "model gcn is for node and inductive-node tasks, MUTAG is a graph task; models that fit: gatedgcn, gin",
        False,
    ),
    ([*GOOD, "splits=10"], f"splits=10: karate@{KARATE} has 10 splits, 0 to 9", False),
    (["model=gcn", "dataset=cora@public", "splits=1"], "splits=1: cora@public has one split, 0", False),
    (
        [*GOOD, "splits=-1"],
        "splits=-1: '-1' is not a number such as 3, a list such as 0,3 or a range such as 0-4",
        False,
    ),
    ([*GOOD, "splits=one"], "splits=one: 'one' is not a number such as 3", False),
    ([*GOOD, "splits=4-2"], "splits=4-2: names nothing", False),
    ([*GOOD, "splits="], "splits=: names nothing", False),
    ([*GOOD, "seeds=0"], "seeds=0: at least one", False),
    ([*GOOD, "seeds=20001"], "seeds=20001: so many seeds are a slip; the one seed 20001 is seeds=[20001]", False),
    ([*GOOD, "splits=0-99999999999"], "splits=0-99999999999: '0-99999999999' is more than 10000 numbers", False),
    ([*GOOD, "seeds=-3"], "seeds=-3: '-3' is not a number such as 3", False),
    ([*GOOD, "seeds=1.5"], "seeds=1.5: '1.5' is not a number such as 3", False),
    ([*GOOD, "jobs=0"], "jobs=0: a whole number of at least 1", False),
    ([*GOOD, "jobs=two"], "jobs=two: a whole number of at least 1", False),
    ([*GOOD, "threads=0"], "threads=0: a whole number of at least 1", False),
    ([*GOOD, "checkpoint=soon"], "checkpoint=soon: a number of seconds", False),
    ([*GOOD, "checkpoint=-1"], "checkpoint=-1: a number of seconds, 0 or more", False),
    ([*GOOD, "device=gpu"], "device=gpu: choose auto, cpu, cuda or cuda:<number>", False),
    ([*GOOD, "save=m.pt"], "save=m.pt keeps one model, this run trains 10: choose with splits=0 seeds=1", False),
    ([*GOOD, "curves=c.bmp"], "curves=c.bmp: the name must end in .png, .svg or .pdf", False),
    ([*GOOD, "model.dropout"], "expected key=value, got 'model.dropout'", False),
    ([*GOOD, "=3"], "expected key=value, got '=3'", False),
    ([*GOOD, "model=mlp"], "model is given twice", False),
    ([*GOOD, "config=nowhere.yaml"], "cannot read nowhere.yaml: No such file or directory", False),
    ([*GOOD, "config=bad.yaml"], "bad.yaml:3: not valid YAML: ", False),
    ([*GOOD, "config=twice.yaml"], "twice.yaml:3: not valid YAML: key 'lr' stands twice", False),
    ([*GOOD, "config=list.yaml"], "list.yaml:1: expected 'key: value' lines, found a list", False),
    ([*GOOD, "config=binary.yaml"], "binary.yaml: not a text file", False),
    ([*GOOD, "config=typo.yaml"], "unknown key trian.lr in typo.yaml; did you mean 'train.lr'", False),
    ([*GOOD, "config=section.yaml"], "train=3 in section.yaml: train is a section", False),
    ([*GOOD, "config=chain.yaml"], "config= in chain.yaml: one file at a time", False),
    ([*GOOD, "config=value.yaml"], "train.lr=-1: should be greater than 0", False),
    ([*GOOD, "config=number.yaml"], "unknown protocol '5' in dataset karate", False),
    ([*GOOD, "config=names.yaml"], "unknown key names in names.yaml", False),
    ([*GOOD, "config=itself.yaml"], "itself.yaml: a section that holds itself", False),
    ([*GOOD, "config=paths.yaml"], "results=['a', 'b'] in paths.yaml: a file or folder", False),
    ([*GOOD, "config=seconds.yaml"], "checkpoint=[]: a number of seconds", False),
    ([*GOOD, "threads=99999999"], "threads=99999999: at most 1024", False),
    ([*GOOD, "seeds=[4294967296]"], "seeds=[4294967296]: a seed is less than 2**32", False),
    ([*GOOD, "splits=0", "save=."], "save=. is a folder: name a file in it", False),
    ([*GOOD, "curves=list.yaml/c.png"], "curves=list.yaml/c.png cannot be written: ", False),
]

FILES: dict[str, bytes] = {
    "bad.yaml": b"train:\n  lr: [0.1\nmodel: gcn\n",
    "twice.yaml": b"train:\n  lr: 1\n  lr: 2\n",
    "list.yaml": b"- model: gcn\n",
    "binary.yaml": b"\xff\xfe\x00model",
    "typo.yaml": b"trian: {lr: 1}\n",
    "section.yaml": b"train: 3\n",
    "chain.yaml": b"config: other.yaml\n",
    "value.yaml": b"train: {lr: -1}\n",
    "number.yaml": b"protocol: 5\n",
    "names.yaml": b"names: gcn\n",
    "itself.yaml": b"model: &a {x: *a}\n",
    "paths.yaml": b"results: [a, b]\n",
    "seconds.yaml": b"checkpoint: []\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, but for configuration files that are wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GNNZOO_RESULTS", raising=False)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def gnnzoo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Return a function that calls the command line in this process: exit status, stdout, stderr."""

    def call(*words: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["gnnzoo", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        seen = capsys.readouterr()
        return stop.value.code, seen.out, seen.err

    return call


@pytest.mark.parametrize(("words", "message", "_torch"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_wrong_input(
    words: list[str], message: str, _torch: bool, folder: Path, gnnzoo: Callable[..., tuple[Any, str, str]]
) -> None:
    """One line that says what is wrong and what is near, exit status 2, and nothing is written."""
    status, out, err = gnnzoo("run", *words, "results=results")
    assert (status, out) == (2, "")
    assert err.startswith(f"gnnzoo: {message}"), err
    assert err.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == set(FILES)


def test_wrong_input_is_found_without_torch(folder: Path) -> None:
    """In a fresh process, every mistake but those in a constructor's arguments is reported before torch is imported."""
    script = """
import io, json, sys
from contextlib import redirect_stderr
from gnnzoo.cli import main
for words in json.load(sys.stdin):
    sys.argv = ["gnnzoo", "run", *words]
    err = io.StringIO()
    with redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            print(json.dumps([words, stop.code, err.getvalue(), "torch" in sys.modules]))
"""
    cases = [words for words, _, needs_torch in WRONG if not needs_torch]
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(cases), capture_output=True, text=True, check=True, cwd=folder
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [words for words, *_ in found] == cases
    for words, status, err, torch in found:
        assert (status, torch) == (2, False), (words, err)
    assert {path.name for path in folder.iterdir()} == set(FILES)


def test_a_model_for_another_structure(folder: Path, gnnzoo: Callable[..., tuple[Any, str, str]]) -> None:
    toy_dataset(name="toy-hyper", structure="hypergraph")
    status, _, err = gnnzoo("run", "model=gcn", "dataset=toy-hyper")
    assert status == 2
    found = re.fullmatch(r"gnnzoo: model gcn works on a graph, toy-hyper is a hypergraph; models that fit: (.*)\n", err)
    fitting = found.group(1).split(", ")
    assert fitting
    assert all("hypergraph" in MODELS.card(name).structures for name in fitting)
    toy_strategy(structures=["graph"])
    status, _, err = gnnzoo("run", "model=mlp", "dataset=toy-hyper", "strategy=toy-training")
    assert status == 2
    assert err.startswith(
        "gnnzoo: strategy toy-training works on a graph, toy-hyper is a hypergraph; strategies that fit"
    )


def test_values_that_do_not_fit_each_other(folder: Path, gnnzoo: Callable[..., tuple[Any, str, str]]) -> None:
    """A constructor's own complaint comes before anything is written, too."""
    toy_model()
    status, _, err = gnnzoo("run", "model=toy", "dataset=karate", "model.heads=3")
    assert (status, err) == (2, "gnnzoo: hidden_channels=64 does not divide by heads=3; take heads=1\n")
    assert {path.name for path in folder.iterdir()} == set(FILES)
    status, _, err = gnnzoo("run", "model=toy", "dataset=karate", "model.heads=3", "--dry-run")
    assert status == 2


@pytest.mark.parametrize("registry", [MODELS, STRATEGIES], ids=lambda registry: registry.kind)
def test_what_may_be_none_is_none_unless_set(registry: Any) -> None:
    """None is not stored with records: another default would come back in its place."""
    for name in registry.names():
        init = registry.get(name).__init__
        hints = get_type_hints(init, include_extras=True)
        for parameter in inspect.signature(init).parameters.values():
            if type(None) in _kinds(hints.get(parameter.name)):
                assert parameter.default is None, f"{name}.{parameter.name}"
    for schema in (TrainConfig, DataConfig):
        for key, field in schema.model_fields.items():
            assert type(None) not in _kinds(field.annotation) or field.default is None, key

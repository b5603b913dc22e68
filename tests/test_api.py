"""The public API in Python: names, runs, results, notebooks, and a model in somebody's own loop."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

import gnnzoo
from gnnzoo.datasets import Split, load_dataset
from gnnzoo.errors import ConfigError, GnnzooError, UnknownNameError
from gnnzoo.registry import DATASETS, MODELS
from gnnzoo.runner import RunResult, cell
from gnnzoo.tasks import forward
from gnnzoo.types import PositiveInt

FAST = {"train.epochs": 20}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Forget what a test registers."""
    before = [dict(registry._registered) for registry in (MODELS, DATASETS)]
    yield
    for registry, names in zip((MODELS, DATASETS), before, strict=True):
        registry._registered.clear()
        registry._registered.update(names)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return gnnzoo.run("gcn", "karate", splits=[0, 1], seeds=2, settings=FAST, results=tmp_path_factory.mktemp("api"))


# --- names -----------------------------------------------------------------------------------------------------------


def test_public_names_load() -> None:
    assert dir(gnnzoo) == gnnzoo.__all__
    for name in gnnzoo.__all__:
        assert getattr(gnnzoo, name) is not None
    assert gnnzoo.__version__ == version("gnnzoo")
    with pytest.raises(AttributeError, match="module 'gnnzoo' has no attribute 'runn'"):
        _ = gnnzoo.runn


def test_importing_costs_nothing() -> None:
    """``import gnnzoo``, its lists and its models' names import no torch."""
    script = """
import json, sys
import gnnzoo, gnnzoo.models
names = [gnnzoo.list_models(), gnnzoo.list_datasets(task="node"), dir(gnnzoo), dir(gnnzoo.models)]
print(json.dumps([*names, [m for m in ("torch", "numpy", "sklearn", "matplotlib") if m in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    models, datasets, names, classes, heavy = json.loads(done.stdout)
    assert heavy == []
    assert {"gcn", "mlp", "gin", "dagnn", "sheaf"} <= set(models)
    assert {"karate", "csbm"} <= set(datasets)
    assert names == gnnzoo.__all__
    assert {"GCN", "DAGNN", "NeuralSheafDiffusion"} <= set(classes)


# --- run -------------------------------------------------------------------------------------------------------------


def test_records_summary_and_history(result: RunResult) -> None:
    assert [(r.key.split, r.key.seed) for r in result.records] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    accuracies = [r.result.test["accuracy"] for r in result.records]
    summary = result.summary()
    assert summary.n == 2  # splits, over which seeds are averaged
    assert summary.mean == pytest.approx(sum(accuracies) / 4)
    assert summary.half_width is not None
    for cell_, record in zip(result.plan.cells, result.records, strict=True):
        history = result.history(cell_)
        assert [row["epoch"] for row in history] == list(range(1, record.result.epochs + 1))
        assert history[record.result.epoch - 1]["val_accuracy"] == record.result.val["accuracy"]
        assert max(row["val_accuracy"] for row in history) == record.result.val["accuracy"]


def test_the_trained_model_is_the_users(result: RunResult) -> None:
    """Its predictions on the test nodes give the accuracy in the record."""
    bundle = load_dataset("karate")
    assert not result.model.training
    assert result.model is result.model
    for cell_, record in zip(result.plan.cells, result.records, strict=True):
        test = bundle.splits[cell_.split].test
        with torch.no_grad():
            chosen = forward(result.load(cell_), bundle.data).argmax(1)
        right = (chosen == bundle.data.y)[test].double().mean().item()
        assert right == pytest.approx(record.result.test["accuracy"])


def test_settings_nested_dotted_and_off(tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [
        {"settings": {"model.hidden_channels": 3, "train.epochs": 3, "train.stopping": None}},
        {"settings": {"model": {"hidden_channels": 3}, "train": {"epochs": 3, "stopping": None}}},
        {"settings": {"model": {"hidden_channels": 3}, "train.epochs": 3, "train.stopping": "none"}},
        {"settings": {"model": {"name": "gcn", "hidden_channels": 3}, "train": {"epochs": 3, "stopping": "none"}}},
    ]
    found = [gnnzoo.run("gcn", "karate", splits=[0], results=tmp_path, **way) for way in ways]
    assert len({r.records[0].key.config for r in found}) == 1
    assert len({r.records[0].cost.date for r in found}) == 1  # trained once
    config = found[0].plan.configs[0]
    assert config.sections["model"]["hidden_channels"] == 3
    assert config.train.stopping is None
    assert found[0].model.convs[0].lin.weight.size(0) == 3
    csbm = gnnzoo.run(
        *("mlp", "csbm"), splits=[0], results=tmp_path, settings={"dataset": {"num_nodes": 80}, "train.epochs": 2}
    )
    assert sum(csbm.records[0].result.rows.values()) == 80


def test_several_models_and_configs(tmp_path: Path) -> None:
    found = gnnzoo.run(["mlp", "gcn"], ["karate"], splits=[0], settings={"train.epochs": 2}, results=tmp_path)
    assert [r.key.model for r in found.records] == ["mlp", "gcn"]
    mlp, gcn = found.plan.configs
    assert [r.key.model for r in found.of(gcn)] == ["gcn"]
    assert found.summary(gcn).mean == found.of(gcn)[0].result.test["accuracy"]
    assert found.summary(gcn).std is None  # one value has no spread
    assert found.of(mlp) != found.of(gcn)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"model": "gnc", "dataset": "karate"}, "unknown model 'gnc'; did you mean"),
        ({"model": "gcn", "dataset": "karate", "split": [0]}, "unknown key split; did you mean 'splits'"),
        ({"model": "gcn", "dataset": "karate", "settings": {"lr": 1}}, r"unknown key lr; did you mean 'train\.lr'"),
        ({"model": "gcn", "dataset": "karate", "settings": {"train": 3}}, "train=3: train is a section"),
        ({"model": "gcn", "dataset": "karate", "splits": [10]}, "has 10 splits, 0 to 9"),
        ({"model": "gcn", "dataset": "karate", "device": "tpu"}, "device=tpu: choose auto, cpu"),
        ({"dataset": "karate"}, "model= is missing"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(call: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        gnnzoo.run(**call, results=tmp_path / "results")
    assert not list(tmp_path.iterdir())


def test_unknown_names_are_also_key_errors() -> None:
    with pytest.raises(KeyError):
        gnnzoo.create_model("gnc", in_channels=1, out_channels=1)
    with pytest.raises(UnknownNameError, match="did you mean 'karate'"):
        gnnzoo.load_dataset("karat")
    assert issubclass(ConfigError, GnnzooError)


# --- notebooks -------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """Logistic regression on the features.

    Args:
        in_channels: width of the features.
        out_channels: number of classes.
        rank: width of the bottleneck.
    """

    def __init__(self, in_channels: int, out_channels: int, rank: PositiveInt = 8) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(in_channels, rank), nn.Linear(rank, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


def test_a_model_from_a_notebook(tmp_path: Path) -> None:
    gnnzoo.register_model("linear", tasks=["node", "inductive-node"])(Linear)
    assert "linear" in gnnzoo.list_models()
    found = gnnzoo.run("linear", "csbm", splits="0-1", settings={"model.rank": 4, "train.epochs": 60}, results=tmp_path)
    assert found.summary().mean > 0.4  # four classes
    assert found.model.down.out_features == 4
    with pytest.raises(ConfigError, match=r"unknown key model\.rnk; did you mean 'rank'"):
        gnnzoo.run("linear", "karate", settings={"model.rnk": 4}, results=tmp_path)
    with pytest.raises(ConfigError, match=r"model\.rank=0: should be greater than 0"):
        gnnzoo.run("linear", "karate", settings={"model.rank": 0}, results=tmp_path)


def test_workers_do_not_see_a_notebook(tmp_path: Path) -> None:
    """One line that says so, before anything is written; one cell needs no worker."""
    gnnzoo.register_model("linear")(Linear)
    with pytest.raises(ConfigError) as failure:
        gnnzoo.run("linear", "karate", jobs=2, results=tmp_path / "results")
    assert str(failure.value) == (
        "model linear is registered in this process alone, and workers do not see it: "
        "use jobs=1, or give it a card in a plug-in"
    )
    assert not list(tmp_path.iterdir())
    found = gnnzoo.run("linear", "karate", splits=[0], jobs=2, settings={"train.epochs": 2}, results=tmp_path)
    assert len(found.records) == 1


def load_halves(card: Any, protocol: str, files: Any, num_nodes: int = 40) -> tuple[Data, list[Split]]:
    """Two classes that the features tell apart."""
    y = torch.arange(num_nodes) % 2
    x = F.one_hot(y, 3).float()
    edge_index = torch.stack([torch.arange(num_nodes), torch.arange(num_nodes).roll(2)])
    third = num_nodes // 3
    rows = torch.arange(num_nodes)
    return Data(x=x, edge_index=edge_index, y=y), [Split(0, rows[:third], rows[third : 2 * third], rows[2 * third :])]


def test_a_dataset_from_a_notebook(tmp_path: Path) -> None:
    card = {
        "name": "halves",
        "summary": "two classes",
        "family": "toy",
        "task": "node",
        "num_outputs": 2,
        "counts": {"nodes": 40, "edges": 40, "features": 3},
        "protocols": {"thirds": {"summary": "one split", "splits": 1, "metric": "accuracy"}},
        "default_protocol": "thirds",
    }
    gnnzoo.register_dataset(card, load_halves)
    found = gnnzoo.run("mlp", "halves", settings={"train.epochs": 60}, results=tmp_path)
    assert found.summary().mean == 1.0
    larger = gnnzoo.run("gcn", "halves", settings={"dataset.num_nodes": 60, "train.epochs": 2}, results=tmp_path)
    assert larger.records[0].result.rows == {"train": 20, "val": 20, "test": 20}
    with pytest.raises(ConfigError, match="dataset halves is registered in this process alone"):
        gnnzoo.run(["mlp", "gcn"], "halves", jobs=2, results=tmp_path)
    with pytest.raises(ConfigError, match=r"dataset card: default_protocol 'x' is not among protocols"):
        gnnzoo.register_dataset(card | {"name": "other", "default_protocol": "x"}, load_halves)
    with pytest.raises(ConfigError, match="dataset 'karate' exists already"):
        gnnzoo.register_dataset(card | {"name": "karate"}, load_halves)


# --- somebody's own code ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "floor"), [("GCN", 0.6), ("DAGNN", 0.6), ("NeuralSheafDiffusion", 0.6)])
def test_a_plain_loop(name: str, floor: float) -> None:
    """A model of the zoo is a plain module of PyG: no runner, no registry, no configuration."""
    from gnnzoo import models

    torch.manual_seed(0)
    data = load_dataset("csbm", homophily=0.9 if name != "NeuralSheafDiffusion" else 0.1).data
    train, test = torch.arange(400), torch.arange(400, 800)
    model = getattr(models, name)(data.num_features, 4, hidden_channels=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(60):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data.x, data.edge_index)[train], data.y[train])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        chosen = model(data.x, data.edge_index).argmax(1)
    assert (chosen == data.y)[test].double().mean() > floor


def test_a_cell_is_trained_once_only(result: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "train_cell", lambda *_: pytest.fail("trained again"))
    again = gnnzoo.run(
        "gcn", "karate", splits="0-1", seeds=2, settings=FAST, results=result.plan.execution.results, threads=1
    )
    assert again.records == result.records


def test_a_model_recorded_elsewhere_is_trained_again_to_the_same_weights(tmp_path: Path) -> None:
    def again() -> gnnzoo.runner.RunResult:
        return gnnzoo.run("gcn", "karate", splits=[0], settings={"train.epochs": 3}, results=tmp_path)

    first = again()
    weights = first.model.state_dict()
    shutil.rmtree(tmp_path / "work")
    second = again()
    assert not second.history(second.plan.cells[0])  # nothing was trained for the record's sake
    assert all(torch.equal(weights[name], value) for name, value in second.model.state_dict().items())
    (records,) = tmp_path.glob("*@*/*.jsonl")
    assert len(records.read_text().splitlines()) == 1

    shutil.rmtree(tmp_path / "work")
    records.write_text(records.read_text().replace(first.records[0].result.digest, "0" * 16))
    with pytest.warns(UserWarning, match=r"gcn karate@.* split 0 seed 0: not the recorded weights"):
        assert again().model is not None

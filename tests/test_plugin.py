"""A plug-in (tests/plugin) brings models, datasets and a strategy of every kind, and all of them train."""

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData

import gnnzoo
from gnnzoo.cli import show
from gnnzoo.datasets import HypergraphData
from gnnzoo.errors import ConfigError, Interrupted
from gnnzoo.places import cache_dir
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, SUITES
from gnnzoo.runner import Reporter, RunResult, cell, plan, resolve
from gnnzoo.runner.cell import load_prepared, pre_transformed
from gnnzoo.runner.estimate import estimate
from gnnzoo.runner.planning import Cell
from gnnzoo.runner.predict import predict
from gnnzoo.strategies import ERM, Teacher
from gnnzoo.tasks import create_task, forward
from gnnzoo.testing import check_model

PLUGIN = Path(__file__).parent / "plugin"
NEW_MODELS = ["fixture-hgnn", "fixture-labels", "fixture-rgcn", "fixture-sign"]
NEW_DATASETS = [
    "fixture-communities",
    "fixture-edge-counts",
    "fixture-mixtures",
    "fixture-papers",
    "fixture-teams",
]


def _forget_cards() -> None:
    for registry in (MODELS, DATASETS, STRATEGIES, SUITES):
        registry._loaded = None


@pytest.fixture(scope="module", autouse=True)
def plugin() -> Iterator[None]:
    """Put the plug-in where an installed package would be, for this module alone."""
    sys.path.insert(0, str(PLUGIN))
    importlib.invalidate_caches()
    _forget_cards()
    yield
    sys.path.remove(str(PLUGIN))
    _forget_cards()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def command(*words: str, path: Path | None = PLUGIN, cwd: Path | None = None) -> tuple[int, str, str]:
    """Run gnnzoo in a process of its own with ``path`` among the installed packages."""
    environment = os.environ | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    script = "import sys; from gnnzoo.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, env=environment, cwd=cwd
    )
    return done.returncode, done.stdout, done.stderr


# --- found -----------------------------------------------------------------------------------------------------------


def test_found_through_the_entry_point() -> None:
    for kind, names in (("models", NEW_MODELS), ("datasets", NEW_DATASETS), ("strategies", ["fixture-distil"])):
        status, out, err = command("list", kind, "fixture-*")
        assert (status, err) == (0, "")
        assert [line.split()[0] for line in out.splitlines()[1:-1]] == names
        assert out.endswith("False\n"), "torch was imported"
    status, out, _ = command("list", "models", "structure=heterogeneous")
    assert (status, out.splitlines()[1].split()[0]) == (0, "fixture-rgcn")
    status, out, _ = command("info", "fixture-mixtures")
    assert "64 graphs, 646 nodes, 665 hyperedges, 2 features, 2 classes" in out
    assert out.endswith("False\n")


def test_without_the_plugin_nothing_is_there() -> None:
    status, _, err = command("list", "models", "fixture-*", path=None)
    assert status == 2
    assert err.startswith("gnnzoo: no models match 'fixture-*'")


def test_doctor_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    show.doctor()
    assert "fixture (gnnzoo_fixture)" in capsys.readouterr().out


def test_classes_are_importable_by_name() -> None:
    from gnnzoo_fixture.rgcn import RelationalGCN

    from gnnzoo import models

    assert models.RelationalGCN is RelationalGCN


@pytest.mark.parametrize("name", NEW_MODELS)
def test_generic_checks(name: str) -> None:
    check_model(name)


# --- every one trains ------------------------------------------------------------------------------------------------

CASES = [
    ("fixture-rgcn", "fixture-papers", {}, 0.8),
    ("fixture-hgnn", "fixture-teams", {}, 0.65),
    ("fixture-hgnn", "fixture-mixtures", {"train.epochs": 80}, 0.9),
    ("fixture-sign", "fixture-communities", {}, 0.8),
    ("gcn", "fixture-communities", {"train.epochs": 40}, 0.8),
    ("fixture-labels", "csbm", {"dataset": {"homophily": 0.9, "num_nodes": 200, "feature_signal": 0.0}}, 0.6),
]


@pytest.mark.parametrize(("model", "dataset", "settings", "floor"), CASES, ids=lambda value: str(value)[:20])
def test_trains(
    model: str, dataset: str, settings: dict[str, Any], floor: float, results: Path, tmp_path: Path
) -> None:
    """From the name to a saved model that beats chance by far; two splits, the rest of them untouched."""
    result = gnnzoo.run(model, dataset, splits="0-1", settings=settings, results=results)
    assert [r.result.metric for r in result.records] == ["accuracy"] * 2
    assert result.summary().mean > floor
    curve = result.history(result.plan.cells[0])
    assert curve[-1]["train_loss"] < 0.8 * curve[0]["train_loss"]
    assert len(curve) == result.records[0].result.epochs
    rows = read_predictions(result, tmp_path)
    split, y = _labels(result)
    chosen = torch.tensor([int(row["prediction"]) for row in rows])
    right = (chosen == y)[split]
    assert right.double().mean().item() == pytest.approx(result.records[0].result.test["accuracy"])


def read_predictions(result: RunResult, folder: Path) -> list[dict[str, str]]:
    """Let a model that was saved predict all rows of its dataset."""
    path = result.work(result.plan.cells[0]) / "model.pt"
    count = predict(path, result.plan.configs[0].dataset, folder / "predictions.csv")
    with open(folder / "predictions.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count
    return rows


def _labels(result: RunResult) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows that are tested in the first cell, and the labels of all rows."""
    bundle = load_prepared(result.plan.configs[0])
    stores = [graph["paper"] if isinstance(graph, HeteroData) else graph for graph in bundle.graphs]
    y, test = torch.cat([store.y for store in stores]), bundle.splits[0].test
    if bundle.card.task == "inductive-node":
        owner = torch.repeat_interleave(torch.arange(len(stores)), torch.tensor([len(s.y) for s in stores]))
        test = torch.isin(owner, test).nonzero().flatten()
    return test, y


def test_graph_regression(results: Path, tmp_path: Path) -> None:
    result = gnnzoo.run("gin", "fixture-edge-counts", splits=[1], settings={"train.epochs": 80}, results=results)
    bundle = load_prepared(result.plan.configs[0])
    y = torch.cat([graph.y for graph in bundle.graphs]).flatten()
    split = bundle.splits[1]
    constant = (y[split.test] - y[split.train].median()).abs().mean().item()
    record = result.records[0].result
    assert record.metric == "mae"
    assert record.test["mae"] < 0.7 * constant
    assert record.rows == {"train": 24, "val": 12, "test": 12}
    assert record.val["mae"] == min(row["val_mae"] for row in result.history(result.plan.cells[0]))
    rows = read_predictions(result, tmp_path)
    values = torch.tensor([float(row["value_0"]) for row in rows])
    assert (values[split.test] - y[split.test]).abs().mean().item() == pytest.approx(record.test["mae"], rel=1e-4)


def test_workers_know_the_plugin(results: Path, tmp_path: Path) -> None:
    here = gnnzoo.run("fixture-rgcn", "fixture-papers", splits="0-1", results=results)
    there = gnnzoo.run("fixture-rgcn", "fixture-papers", splits="0-1", results=tmp_path, jobs=2)
    assert [r.key for r in there.records] == [r.key for r in here.records]
    assert [r.result for r in there.records] == [r.result for r in here.records]


def test_models_are_where_the_data_say_they_fit() -> None:
    with pytest.raises(
        ConfigError, match="gcn works on a graph, fixture-papers is a heterogeneous graph; models that fit"
    ):
        resolve("gcn", "fixture-papers")
    with pytest.raises(
        ConfigError, match="labels is for node tasks, fixture-communities is an inductive-node task; models"
    ):
        resolve("fixture-labels", "fixture-communities")


# --- hypergraphs -----------------------------------------------------------------------------------------------------


def test_a_batch_of_hypergraphs_is_each_alone() -> None:
    """Also of a model that is asked about nodes; as plain ``Data``, hyperedges would be mixed up."""
    graphs = gnnzoo.load_dataset("fixture-mixtures").graphs[:7]
    assert any(graph.num_nodes < graph.num_hyperedges for graph in graphs)
    model = gnnzoo.create_model("fixture-hgnn", graphs).double().eval()
    double = [graph.clone().apply(lambda t: t.double() if t.is_floating_point() else t) for graph in graphs]
    for per_graph in (True, False):

        def call(data: Any, per_graph: bool = per_graph) -> torch.Tensor:
            data = data.clone()
            if not per_graph:
                del data.batch
            elif "batch" not in data:
                data.batch = torch.zeros(data.num_nodes, dtype=torch.int64)
            return forward(model, data)

        whole = call(Batch.from_data_list(double))
        alone = torch.cat([call(Batch.from_data_list([graph])) for graph in double])
        torch.testing.assert_close(whole, alone, rtol=1e-12, atol=1e-12)
        plain = [Data(x=g.x, hyperedge_index=g.hyperedge_index, num_nodes=g.num_nodes) for g in double]
        wrong = call(Batch.from_data_list(plain))
        assert not torch.allclose(wrong, alone)


def test_empty_hyperedges_survive_batching() -> None:
    one = HypergraphData(torch.eye(3), torch.tensor([[0, 1], [0, 0]]), num_hyperedges=4)
    two = HypergraphData(torch.eye(3), torch.tensor([[0, 2], [1, 1]]), num_hyperedges=2)
    batch = Batch.from_data_list([one, two])
    assert batch.num_hyperedges == 6
    assert batch.hyperedge_index.tolist() == [[0, 1, 3, 5], [0, 0, 5, 5]]


# --- what a run would cost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "dataset", "answer"),
    [
        ("fixture-labels", "karate", "at most "),
        ("fixture-sign", "fixture-communities", "at most "),
        ("gin", "fixture-edge-counts", "at most "),
        ("fixture-rgcn", "fixture-papers", "not known: no random data for a heterogeneous task are made"),
        ("fixture-hgnn", "fixture-mixtures", "not known: no random data for a hypergraph task are made"),
    ],
)
def test_estimates(model: str, dataset: str, answer: str) -> None:
    work = plan({"model": model, "dataset": dataset})
    assert str(estimate(work, work.configs[0])).startswith(answer)


def test_the_estimate_of_a_strategy_is_not_known() -> None:
    work = plan({"model": "mlp", "dataset": "karate", "strategy": "fixture-distil"})
    assert str(estimate(work, work.configs[0])) == "not known: strategy fixture-distil is not measured"


# --- transforms ------------------------------------------------------------------------------------------------------


def test_infer_reads_the_transformed_data(results: Path) -> None:
    result = gnnzoo.run("fixture-sign", "karate", splits=[0], settings={"train.epochs": 3}, results=results)
    assert result.plan.configs[0].sections["model"]["K"] == 3  # the card's, for this benchmark
    assert len(result.model.blocks) == 4
    result = gnnzoo.run(
        "fixture-sign", "karate", splits=[0], settings={"train.epochs": 3, "model": {"K": 1}}, results=results
    )
    assert len(result.model.blocks) == 2
    with pytest.raises(ConfigError, match=r"unknown key model\.num_blocks; choose from: K, dropout, hidden_channels"):
        resolve("fixture-sign", "karate", layers=[("command line", {"model.num_blocks": 2})])
    assert len(gnnzoo.create_model("fixture-sign", in_channels=3, out_channels=2, num_blocks=5).blocks) == 5


def transformed(change: Callable[[torch.Tensor, Any], None], split: int = 0) -> tuple[torch.Tensor, int]:
    """Return ``x`` of karate after the label transform, with labels changed before; and how many results are kept."""
    config = resolve("fixture-labels", "karate")
    bundle = load_prepared(config)
    data, chosen = bundle.data.clone(), bundle.splits[split]
    change(data.y, chosen)
    out = pre_transformed(config, bundle.replace(data=data), chosen, 0)
    assert torch.equal(out.data.y, data.y)
    assert "train_mask" not in out.data
    return out.data.x, len(list((cache_dir() / "transforms").glob("NeighborLabels-*")))


def test_a_transform_sees_training_labels_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))

    def swap(part: str) -> Callable[[torch.Tensor, Any], None]:
        def change(y: torch.Tensor, split: Any) -> None:
            rows = getattr(split, part)
            y[rows] = (y[rows] + 1) % 4

        return change

    x, kept = transformed(lambda y, split: None)
    assert (x.shape, kept) == ((34, 38), 1)
    for part in ("val", "test"):
        same, kept = transformed(swap(part))
        assert torch.equal(same, x), part
        assert kept == 1, "labels that nobody may see are part of the key"
    changed, kept = transformed(swap("train"))
    assert not torch.equal(changed, x)
    assert kept == 2
    other, kept = transformed(lambda y, split: None, split=1)
    assert not torch.equal(other, x)
    assert kept == 3
    again, kept = transformed(lambda y, split: None)
    assert torch.equal(again, x)
    assert kept == 3


def test_a_node_does_not_see_its_own_label() -> None:
    x, _ = transformed(lambda y, split: None)
    config = resolve("fixture-labels", "karate")
    node = int(load_prepared(config).splits[0].train[0])

    def change(y: torch.Tensor, split: Any) -> None:
        y[node] = (y[node] + 1) % 4

    assert torch.equal(transformed(change)[0][node], x[node])


# --- two stages ------------------------------------------------------------------------------------------------------

TWO_STAGES: dict[str, Any] = {
    "dataset": {"homophily": 0.9, "num_nodes": 200},
    "train": {"epochs": 25, "stopping": None},
    "strategy": {"teacher": "gcn", "epochs": 20},
}


def distil(results: Path, reporter: Reporter | None = None, **choices: Any) -> RunResult:
    choices = {"splits": [1], "seeds": [5], "strategy": "fixture-distil", "settings": TWO_STAGES} | choices
    return gnnzoo.run("mlp", "csbm", results=results, reporter=reporter, **choices)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return distil(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def teacher_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the teacher's training steps: the student takes none of this kind."""
    steps: list[int] = []
    step = ERM.step

    def counted(self: ERM, batch: Any) -> torch.Tensor:
        steps.append(len(steps))
        return step(self, batch)

    monkeypatch.setattr(ERM, "step", counted)
    return steps


def test_the_teacher_helps(undisturbed: RunResult, results: Path) -> None:
    """On a homophilic graph, a student without edges learns from a teacher with them."""
    alone = gnnzoo.run(
        *("mlp", "csbm"), splits=[1], seeds=[5], results=results, settings={**TWO_STAGES, "strategy": {}}
    )
    assert undisturbed.records[0].key.strategy == "fixture-distil"
    assert undisturbed.summary().mean > alone.summary().mean + 0.02


def test_the_teacher_has_the_same_split_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    fit = cell.fit

    def spy(model: Any, strategy: Any, task: Any, bundle: Any, split: Any, config: Any, seed: int, *rest: Any) -> Any:
        done = fit(model, strategy, task, bundle, split, config, seed, *rest)
        seen.append({"model": type(model).__name__, "split": split, "seed": seed, "y": bundle.data.y, "fit": done})
        return done

    monkeypatch.setattr(cell, "fit", spy)
    record = distil(tmp_path).records[0]
    teacher, student = seen
    assert (teacher["model"], student["model"]) == ("GCN", "MLP")
    assert teacher["seed"] == student["seed"] == 5
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(teacher["split"], part), getattr(student["split"], part))
    assert not len(teacher["split"].test)
    assert torch.equal(teacher["y"], student["y"])  # the test labels are blank for both
    assert int((teacher["y"] == -1).sum()) == record.result.rows["test"]
    assert record.cost.seconds >= round(teacher["fit"].seconds, 3)  # the teacher's time is part of the bill

    settings = TWO_STAGES | {"strategy": {}, "train": {"epochs": 20}}
    alone = gnnzoo.run("gcn", "csbm", splits=[1], seeds=[5], settings=settings, results=tmp_path)
    assert seen[2]["model"] == "GCN"
    state = alone.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in teacher["fit"].states[-1].items())


class StopAt(Reporter):
    """Press Ctrl-C in the student's third epoch."""

    def epoch(self, cell: Cell, epoch: int, row: Mapping[str, float]) -> None:
        if epoch == 3:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_student_finds_its_teacher(
    tmp_path: Path, undisturbed: RunResult, teacher_steps: list[int]
) -> None:
    with pytest.raises(Interrupted, match=r"mlp\+fixture-distil csbm@.* split 1 seed 5: stopped after epoch 3"):
        distil(tmp_path, StopAt())
    assert len(teacher_steps) == 20
    teacher_steps.clear()
    resumed = distil(tmp_path)
    assert teacher_steps == [], "the teacher was trained again"
    assert resumed.records[0].key == undisturbed.records[0].key
    assert resumed.records[0].result == undisturbed.records[0].result
    assert not list(tmp_path.rglob("checkpoint.pt")), "states of finished runs are removed"


def test_an_interrupted_teacher_goes_on(
    tmp_path: Path, undisturbed: RunResult, teacher_steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = ERM.step

    def stop(self: ERM, batch: Any) -> torch.Tensor:
        if len(teacher_steps) == 7:
            signal.raise_signal(signal.SIGINT)
        return step(self, batch)

    monkeypatch.setattr(ERM, "step", stop)
    with pytest.raises(Interrupted, match="stopped after epoch 8"):
        distil(tmp_path)
    resumed = distil(tmp_path)
    assert len(teacher_steps) == 20, "epochs of the teacher were lost, or done twice"
    assert resumed.records[0].key == undisturbed.records[0].key
    assert resumed.records[0].result == undisturbed.records[0].result


def test_the_strategys_state_goes_through_a_file(tmp_path: Path) -> None:
    class Run:
        seed = 0

        def train(self, role: str) -> Teacher:
            return Teacher(gnnzoo.create_model("gcn", bundle.data), bundle)

    bundle = gnnzoo.load_dataset("karate")
    task = create_task("node", "multiclass", "accuracy")
    strategies = []
    for _ in range(2):
        strategy = STRATEGIES.get("fixture-distil")()
        strategy.setup(gnnzoo.create_model("mlp", bundle.data), bundle, task, Run())
        strategies.append(strategy)
    with torch.no_grad():
        strategies[0].scale.fill_(1.75)
    torch.save(strategies[0].state_dict(), tmp_path / "state.pt")
    strategies[1].load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert strategies[1].scale.item() == 1.75


def test_a_teacher_keeps_its_own_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fixture-sign transforms its input; its student does not, and each is given its own."""
    inputs: dict[str, set[str]] = {}
    fit = cell.fit

    def spy(model: Any, strategy: Any, task: Any, bundle: Any, *rest: Any) -> Any:
        inputs[type(model).__name__] = set(bundle.data.keys())
        return fit(model, strategy, task, bundle, *rest)

    monkeypatch.setattr(cell, "fit", spy)
    record = distil(tmp_path, settings=TWO_STAGES | {"strategy": {"teacher": "fixture-sign", "epochs": 20}}).records[0]
    assert record.result.test["accuracy"] > 0.25
    assert inputs["SIGN"] - inputs["MLP"]
    assert "teacher_logits" in inputs["MLP"]


def test_a_teachers_configuration_belongs_to_the_run(tmp_path: Path) -> None:
    def configured(**strategy: Any) -> Any:
        return resolve("mlp", "csbm", strategy="fixture-distil", layers=[("test", {"strategy": strategy})])

    config = configured(teacher="gcn", epochs=20)
    assert config.teachers["teacher"].sections["train"]["epochs"] == 20
    assert config.hash != configured(teacher="gcn", epochs=21).hash
    changed = config.to_dict()
    changed["teachers"]["teacher"]["model"]["hidden_channels"] += 1  # as if the teacher's card had changed
    path = tmp_path / "stored.json"
    for stored in (config.to_dict(), changed):
        path.write_text(json.dumps(stored))
        (again,) = plan({"config": str(path)}).configs
        assert again.to_dict() == stored
    assert again.hash != config.hash


def test_teachers_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown model 'mpl'; did you mean 'mlp'"):
        distil(tmp_path, settings={"strategy.teacher": "mpl"})
    with pytest.raises(ConfigError, match="model gcn is for node and inductive-node tasks, MUTAG is a graph"):
        gnnzoo.run("gin", "MUTAG", strategy="fixture-distil", results=tmp_path)
    with pytest.raises(ConfigError, match=r"strategy\.weight=2: should be less than or equal to 1"):
        distil(tmp_path, settings={"strategy.weight": 2})
    teacher = {"strategy.teacher": "gin"}
    with pytest.raises(ConfigError, match="imitates class probabilities, the target is regression"):
        gnnzoo.run(
            "gin", "fixture-edge-counts", strategy="fixture-distil", splits=[0], results=tmp_path, settings=teacher
        )
    assert not list(tmp_path.rglob("*.jsonl"))


# --- broken plug-ins -------------------------------------------------------------------------------------------------

CARD = "name: {name}\nclass: broken_plugin.Gone\nsummary: x\ntasks: [node]\nstructures: [graph]\n"


@pytest.fixture
def broken(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that installs a plug-in with the given files."""

    def make(package: str = "broken_plugin", **files: str) -> Path:
        site = tmp_path / "site"
        info = site / "broken-0.1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(f"[gnnzoo.plugins]\nbroken = {package}\n")
        (site / "broken_plugin").mkdir()
        (site / "broken_plugin" / "__init__.py").write_text("")
        for name, content in files.items():
            path = site / "broken_plugin" / "configs" / "models" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return site

    return make


@pytest.mark.parametrize("package", ["broken_plugin", "no_such_package", "no_such_package.inner"])
def test_a_plugin_without_configs_is_passed_over(package: str, broken: Callable[..., Path]) -> None:
    status, out, err = command("list", "models", "gcn", path=broken(package))
    assert (status, out.splitlines()[1].split()[0]) == (0, "gcn")
    assert err == f"gnnzoo: warning: plug-in 'broken' skipped: {package!r} has no configs folder\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"bad": "name: [bad\n"}, "bad.yaml:2: not valid YAML: did not find expected ',' or ']'"),
        ({"bad": CARD.format(name="bad") + "sumary: y\n"}, "bad.yaml: sumary: unknown key (got 'y')"),
        ({"bad": CARD.format(name="other")}, "bad.yaml: name 'other' is not the file's name"),
        ({"bad": "name: bad\n"}, "bad.yaml: summary: Field required"),
        ({"gcn": CARD.format(name="gcn")}, "models/gcn.yaml"),
    ],
)
def test_a_broken_card_is_named(files: dict[str, str], message: str, broken: Callable[..., Path]) -> None:
    status, _, err = command("list", "models", path=broken(**files))
    assert status == 2
    assert err.startswith("gnnzoo: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_card_of_a_class_that_is_not_there(broken: Callable[..., Path], tmp_path: Path) -> None:
    site = broken(bad=CARD.format(name="bad"))
    status, _, err = command("run", "model=bad", "dataset=karate", path=site, cwd=tmp_path)
    assert status == 2
    assert err == ("gnnzoo: cannot import 'broken_plugin.Gone': module 'broken_plugin' has no attribute 'Gone'\n")
    assert not (tmp_path / "results").exists()

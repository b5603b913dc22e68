"""The command line, from ``--help`` to a table, a saved model and its predictions."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import gnnzoo
from gnnzoo.cards import Published
from gnnzoo.cli.progress import TerminalReporter, duration
from gnnzoo.datasets import load_dataset
from gnnzoo.leaderboard import Store
from gnnzoo.ops import accelerators
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES
from gnnzoo.runner import cell, plan
from gnnzoo.tasks import forward
from gnnzoo.tasks.metrics import score

Call = Callable[..., tuple[int, str, str]]

GOLDEN = Path(__file__).parent.parent / "golden"
KARATE = "karate@random-48-32-20"


def fields(text: str) -> dict[str, str]:
    """Read the lines ``name   value`` that cards are printed as."""
    return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in text.splitlines() if "  " in line}


def column(text: str, number: int = 0) -> list[str]:
    """Read a column of a table without its head."""
    return [line.split()[number] for line in text.splitlines()[1:] if line.strip()]


# --- without torch ---------------------------------------------------------------------------------------------------

WITHOUT_TORCH = [
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["list", "models"],
    ["list", "datasets"],
    ["list", "suites"],
    ["list", "strategies"],
    ["list", "models", "*gcn*", "task=node", "structure=graph"],
    ["info", "karate"],
    ["info", "texas"],
    ["info", "MUTAG"],
    ["info", "demo"],
    ["info", "train"],
    ["info", "data"],
]


def test_what_needs_no_torch(tmp_path: Path) -> None:
    """Everything that only reads cards; a fresh process, torch not even found by accident."""
    script = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from gnnzoo.cli import main
for words in json.load(sys.stdin):
    sys.argv = ["gnnzoo", *words]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            status = stop.code or 0
    heavy = [name for name in ("torch", "torch_geometric", "sklearn", "matplotlib", "optuna") if name in sys.modules]
    print(json.dumps([words, status, out.getvalue(), err.getvalue(), heavy]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(WITHOUT_TORCH), capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [words for words, *_ in found] == WITHOUT_TORCH
    for words, status, out, err, heavy in found:
        assert (status, err, heavy) == (0, "", []), words
        assert out.strip(), words
    assert not list(tmp_path.iterdir())


# --- list and info ---------------------------------------------------------------------------------------------------


def test_list_with_globs_and_filters(call: Call) -> None:
    assert call("list", "models")[:1] == (0,)
    assert column(call("list", "models")[1]) == MODELS.names()
    assert column(call("list", "models", "*gcn*")[1]) == MODELS.list("*gcn*")
    assert column(call("list", "models", "task=graph")[1]) == MODELS.list(task="graph")
    assert "mlp" not in column(call("list", "models", "g*", "structure=graph")[1])
    assert column(call("list", "datasets", "embedded=true", "task=node")[1]) == DATASETS.list(
        embedded="true", task="node"
    )
    assert "demo" in column(call("list", "suites")[1])
    assert column(call("list", "strategies")[1]) == STRATEGIES.names()
    assert column(call("list", "models", "neural-sheaf*")[1]) == ["sheaf"]  # an alias
    out = call("list", "datasets", "karate")[1]
    assert "34" in out
    assert "156" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "modles"], "unknown kind 'modles'; did you mean 'models'?"),
        (["list", "models", "gnc"], "no models match 'gnc'"),
        (["list", "models", "a", "b"], "one pattern at a time, got a and b"),
        (["list", "models", "taks=node"], "unknown filter 'taks' for models; did you mean 'task'?"),
        (["list", "strategies", "taks=node"], "unknown filter 'taks' for strategies; did you mean 'task'?"),
        (["list", "models", "task=nodes"], "no model has task=nodes; did you mean 'node'"),
        (["info", "mpl"], "unknown name 'mpl'; did you mean 'mlp'"),
        (["info", "trian"], "unknown name 'trian'; did you mean 'train' or 'triangles'?"),
        (["check", "mpl"], "unknown model 'mpl'; did you mean 'mlp'?"),
        (["check", "dagnn", "--golden", "gone.pt"], "cannot read gone.pt: No such file or directory"),
        (["predict", "gone.pt", "dataset=karate", "out=p.csv"], "cannot read gone.pt: No such file or directory"),
        (["predict", "gone.pt", "dataset=karate"], "out= is missing: gnnzoo predict model.pt dataset=texas out="),
        (["predict", "gone.pt", "out=p.csv"], "dataset= is missing: "),
        (["predict", "gone.pt", "datset=karate"], "expected dataset=, out=, device= or root=, got 'datset=karate'"),
        (["rnu"], "No such command 'rnu'"),
        (["run", "--dryrun"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(words: list[str], message: str, call: Call, tmp_path: Path) -> None:
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert err.startswith(f"gnnzoo: {message}"), err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_info_of_a_model(call: Call) -> None:
    status, out, _ = call("info", "dagnn")
    found = fields(out)
    assert status == 0
    assert found["model"].startswith("dagnn - Transform first")
    assert "Towards Deeper Graph Neural Networks (2020, arXiv 2007.09296)" in found["paper"]
    assert found["equation"] == MODELS.card("dagnn").equation
    assert found["aliases"] == "deeper-gnn"
    assert "karate" in out
    assert "MUTAG" not in out
    assert found["model.K"].split() == ["int", ">=", "0", "10", "number", "of", "propagations."]
    assert "model.in_channels" not in found
    assert "84.4 ± 0.5" in out
    assert "the authors' scripts" in out
    assert call("info", "deeper-gnn")[1] == out


def test_info_of_a_dataset(call: Call) -> None:
    status, out, _ = call("info", "texas")
    found = fields(out)
    assert status == 0
    assert "183 nodes, 325 edges, 1,703 features, 5 classes" in found["counts"]
    assert found["licence"]
    assert "class 1 has one node" in found["health"]
    assert "texas@geom-gcn (default)" in out
    assert "sheaf" in found["models"]
    assert "gin" in fields(call("info", "MUTAG")[1])["models"]
    assert "on-test" in call("info", "MUTAG")[1]


def test_info_says_what_shifts(call: Call) -> None:
    said = fields(call("info", "spmotif")[1])["shift"]
    assert said.startswith("original: the base tells the class in training alone")
    assert said.endswith("(in distribution: test_id; shifted: test)")
    assert "shift" not in fields(call("info", "karate")[1])


def test_info_of_other_things(call: Call) -> None:
    assert fields(call("info", "erm")[1])["strategy"].startswith("erm - empirical risk")
    assert "csbm" in fields(call("info", "demo")[1])["benchmarks"]
    train = fields(call("info", "train")[1])
    assert "learning rate" in train["train.lr"]
    assert "adam | adamw | lamb" in train["train.optimizer"]
    assert "row" in fields(call("info", "data")[1])["data.normalize_features"]


def test_doctor(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GNNZOO_DATA", str(tmp_path / "nowhere"))
    status, out, _ = call("doctor")
    found = fields(out)
    assert status == 0
    assert found["gnnzoo"].startswith(gnnzoo.__version__)
    assert found["torch"] == torch.__version__
    assert "(there is no such folder)" in found["data root"]
    assert "processors" in found["threads"]
    assert found["cache"]
    assert found["torch-scatter"] == next(a.version or f"none: {a.reason}" for a in accelerators())
    assert found["cuda"]
    monkeypatch.delenv("GNNZOO_DATA")
    assert "not set" in fields(call("doctor")[1])["data root"]


def test_help(call: Call) -> None:
    assert call("--version")[1] == f"gnnzoo {gnnzoo.__version__}\n"
    status, out, err = call("run", "--help")
    assert status == 0
    assert "--dry-run" in out + err


# --- run -------------------------------------------------------------------------------------------------------------


def test_dry_run(call: Call, tmp_path: Path) -> None:
    """Every value with its source, the cost as measured, and nothing on disk."""
    status, out, err = call("run", "--dry-run", "model=gcn,mlp", "dataset=karate", "splits=0-3", "train.lr=0.02")
    assert (status, err) == (0, "")
    work = plan({"model": "gcn,mlp", "dataset": "karate", "splits": "0-3", "train.lr": 0.02})
    first, second = out.split("run  ")[1:]
    for text, config in zip((first, second), work.configs, strict=True):
        found = fields("run  " + text)
        assert found["configuration"] == config.hash
        assert found["cells"] == "4: splits 0-3, seeds 0"
        assert found["estimate"].startswith("at most ")
        assert "parameters; measured on a random graph of the card's size" in found["estimate"]
        for section in ("model", "train", "data"):
            for key in config.sections[section]:
                assert f"{section}.{key}" in found
        assert found["train.lr"].split() == ["0.02", "command", "line"]
        assert found["train.epochs"].split() == ["200", "defaults.yaml"]
        assert found["train.schedule"].split() == ["none", "default", "of", "the", "code"]
    assert not list(tmp_path.iterdir())


def test_run(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table on stdout, a line per cell on stderr, records on disk; what has a record is not trained again."""
    words = ("run", "model=mlp,gcn", "dataset=karate", "splits=0-2", "train.epochs=40", "results=mine")
    status, out, err = call(*words)
    assert status == 0
    lines = err.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("[1/6, about ")
    assert f"] mlp {KARATE} split 0 seed 0: accuracy test " in lines[0]
    assert lines[-1].startswith("[6/6] ")
    assert "recorded before" not in err
    assert f"{KARATE}: test accuracy" in out
    rows = [line.split() for line in out.splitlines() if line.startswith(("gcn", "mlp"))]
    assert [row[0] for row in rows] == ["gcn", "mlp"]  # the best first
    assert "(p " in out
    assert out.endswith("records in mine\n")

    store = Store("mine")
    records = {path.stem: list(store.read(path)) for path in store.files()}
    assert {model: [r.key.split for r in found] for model, found in records.items()} == {
        "mlp": [0, 1, 2],
        "gcn": [0, 1, 2],
    }
    for row in rows:
        mean = sum(r.result.test["accuracy"] for r in records[row[0]]) / 3
        assert row[1] == f"{100 * mean:.2f}"
    assert (
        store.config(records["gcn"][0].key.config)
        == plan({"model": "gcn", "dataset": "karate", "train.epochs": 40}).configs[0].to_dict()
    )

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(cell, "train_cell", refuse)
    before = {path: path.read_bytes() for path in store.files()}
    status, again, err = call(*words)
    assert status == 0
    assert err.count("recorded before") == 6
    assert again == out
    assert {path: path.read_bytes() for path in store.files()} == before


def test_published_numbers_are_those_of_the_shipped_data(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = Published(metric="accuracy", mean=87.65, source="a paper")
    monkeypatch.setitem(MODELS.card("mlp").published, "csbm@random-48-32-20", printed)
    words = ["run", "model=mlp", "dataset=csbm", "splits=0", "train.epochs=1", "results=r"]
    for other_data, shown in (([], True), (["dataset.num_nodes=40"], False)):
        status, out, error = call(*words, *other_data)
        assert (status, "87.65" in out) == (0, shown), out + error


def test_the_results_folder_may_come_from_the_environment(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNNZOO_RESULTS", str(tmp_path / "there"))
    status, out, _ = call("run", "model=mlp", "dataset=karate", "splits=0", "train.epochs=2")
    assert status == 0
    assert out.endswith(f"records in {tmp_path / 'there'}\n")
    assert {path.name for path in tmp_path.iterdir()} == {"there"}


def test_save_load_predict_and_curves(call: Call, tmp_path: Path) -> None:
    words = ("run", "model=gcn", "dataset=csbm", "dataset.homophily=0.9", "dataset.num_nodes=120", "train.epochs=30")
    status, out, _ = call(*words, "splits=1", "seeds=[3]", "save=m.pt", "curves=c.png")
    assert status == 0
    assert out.endswith("records in results, model in m.pt, learning curves in c.png\n")
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")

    content = torch.load("m.pt", weights_only=True)
    assert content["config"]["train"]["epochs"] == 30
    assert (content["config"]["split"], content["config"]["seed"]) == (1, 3)
    model = gnnzoo.load_model("m.pt")
    bundle = load_dataset("csbm", homophily=0.9, num_nodes=120)
    with torch.no_grad():
        expected = forward(model, bundle.data)

    status, out, _ = call("predict", "m.pt", "dataset=contextual-sbm", "out=p.csv")
    assert (status, out) == (0, "120 predictions in p.csv\n")
    with open("p.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["node", "prediction", *(f"probability_{c}" for c in range(4))]
    assert [int(row["node"]) for row in rows] == list(range(120))
    assert [int(row["prediction"]) for row in rows] == expected.argmax(1).tolist()
    probabilities = torch.tensor([[float(row[f"probability_{c}"]) for c in range(4)] for row in rows])
    torch.testing.assert_close(probabilities, expected.softmax(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(120), atol=1e-5, rtol=0)

    (record,) = Store("results").read(Store("results").files()[0])
    test = bundle.splits[1].test
    assert score("accuracy", expected[test], bundle.data.y[test], "multiclass") == record.result.test["accuracy"]
    rows_before = Path("p.csv").read_text()
    status, _, err = call("predict", "m.pt", "dataset=karate", "out=p.csv")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("gnnzoo: m.pt does not fit karate: ")
    assert Path("p.csv").read_text() == rows_before
    status, _, err = call("predict", "m.pt", "dataset=MUTAG", "out=p.csv")
    assert (status, err.count("\n")) == (2, 1)
    assert "MUTAG is a graph task" in err


def test_a_saved_model_of_an_old_record(call: Call, tmp_path: Path) -> None:
    """``save=`` of a cell that was recorded before: from its folder, or trained again to the same weights."""
    words = ("run", "model=gcn", "dataset=karate", "splits=0", "train.epochs=5")
    assert call(*words, "save=one.pt")[0] == 0
    assert call(*words, "save=two.pt")[0] == 0
    for path in Path("results/work").rglob("model.pt"):
        path.unlink()
    status, _, err = call(*words, "save=three.pt")
    assert status == 0
    assert "recorded before" in err
    states = [torch.load(name, weights_only=True)["state_dict"] for name in ("one.pt", "two.pt", "three.pt")]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[key], states[0][key]) for key in state)


def test_a_config_file_runs_what_was_stored(call: Call, tmp_path: Path) -> None:
    words = ("run", "model=mlp", "dataset=karate", "train.epochs=3", "train.stopping=none", "splits=0")
    assert call(*words)[0] == 0
    (stored,) = Path("results/configs").glob("*.json")
    status, _, err = call("run", f"config={stored}", "splits=0")
    assert status == 0
    assert err.count("recorded before") == 1


def test_in_workers_and_without_a_terminal(call: Call, tmp_path: Path) -> None:
    """Two workers give the same records as none, and what is printed has no control characters."""
    words = ["run", "model=mlp", "dataset=karate", "splits=0-1", "train.epochs=5"]
    found = []
    for results, jobs in (("here", "1"), ("there", "2")):
        status, out, err = call(*words, f"results={results}", f"jobs={jobs}")
        assert status == 0
        assert len(err.splitlines()) == 2
        assert not [c for c in out + err if ord(c) < 32 and c != "\n"]
        store = Store(results)
        records = [record for path in store.files() for record in store.read(path)]
        found.append(sorted(((r.key, r.result) for r in records), key=lambda pair: pair[0].split))
    assert len(found[0]) == 2
    assert found[0] == found[1]


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_golden(call: Call, tmp_path: Path) -> None:
    status, out, _ = call("check", "dagnn", "--golden", str(GOLDEN / "dagnn.pt"))
    assert status == 0
    assert out.strip()

    content = torch.load(GOLDEN / "dagnn.pt", weights_only=True)
    name, case = next(iter(content["cases"].items()))
    key = next(iter(case["outputs"]))
    case["outputs"][key] = case["outputs"][key] + 1
    torch.save(content, tmp_path / "wrong.pt")
    status, out, _ = call("check", "dagnn", "--golden", "wrong.pt")
    assert status == 1
    assert name in out

    (tmp_path / "broken.pt").write_bytes(b"no golden file")
    status, _, err = call("check", "dagnn", "--golden", "broken.pt")
    assert status == 2
    assert err.startswith("gnnzoo: broken.pt: not a golden file")
    assert err.count("\n") == 1


def test_check(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = call("check", "mlp")
    assert status == 0
    assert {line.split()[0] for line in out.splitlines()} == {"ok"}
    monkeypatch.setattr(MODELS.get("mlp"), "__doc__", "Nothing is said here.")
    status, out, _ = call("check", "mlp")
    assert status == 1
    assert "FAILED  mlp: docstring: no citation (arXiv or doi)" in out.splitlines()


# --- on a terminal ---------------------------------------------------------------------------------------------------


def test_durations() -> None:
    assert [duration(s) for s in (0.2, 59.4, 60, 200, 3599.6, 3900)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "3 min 20 s",
        "1 h 00 min",
        "1 h 05 min",
    ]


def test_live_progress_on_a_terminal(tmp_path: Path) -> None:
    from gnnzoo.runner import execute

    screen = io.StringIO()
    reporter = TerminalReporter()
    reporter.console = Console(file=screen, force_terminal=True, width=160, highlight=False)
    values = {"model": "mlp", "dataset": "karate", "splits": "0-1", "train.epochs": 3, "results": tmp_path}
    execute(plan(values), reporter)
    shown = screen.getvalue()
    assert "\x1b[" in shown
    assert "epoch 3/3" in shown
    assert f"mlp {KARATE} split 1" in shown
    assert "left" in shown
    assert f"[2/2] mlp {KARATE} split 1 seed 0" in shown

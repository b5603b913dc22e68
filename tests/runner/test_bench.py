"""A bench: what is planned, in which order, what fails, what a budget and SIGKILL leave, and that it goes on."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import gnnzoo
from gnnzoo.errors import ConfigError, Interrupted, UnknownNameError
from gnnzoo.leaderboard import Store
from gnnzoo.models.build import register_model
from gnnzoo.registry import DATASETS, MODELS, SUITES, partition
from gnnzoo.runner import hardware, plan
from gnnzoo.runner.bench import BenchReporter, _Clock, bench, prepare, seconds
from gnnzoo.runner.failures import Failures

SHORT = {"train.epochs": 5, "train.stopping": "none"}

PLUGIN = {
    "bench-raises": "raise Strange('no', 'such thing')",
    "bench-exits": "raise SystemExit(3)",
    "bench-dies": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "bench-slows": "self.calls += 1; time.sleep(0.1 if self.calls > 8 else 0)",
}
"""What models do in the forward pass."""


def _card(name):
    return {"name": name, "summary": "a model that fails", "class": "x.X", "tasks": ["node"], "structures": ["graph"]}


@pytest.fixture(autouse=True)
def _a_clean_checkout(monkeypatch):
    """Failures of a checkout with changed files are tried again: tests must not depend on whether this one has any."""
    monkeypatch.setattr("gnnzoo.runner.hardware.commit", lambda: "0123456789ab")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A folder with a plug-in whose models fail in their ways."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "failing" / "configs" / "models").mkdir(parents=True)
    info = folder / "failing-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[gnnzoo.plugins]\nfailing = failing\n")
    code = """\
        import time

        from torch import nn


        class Strange(Exception):
            def __init__(self, first, second):  # which pickle cannot make again
                super().__init__(f"{first} {second}\\nin two lines")
    """
    parts = [textwrap.dedent(code)]
    for number, (name, action) in enumerate(PLUGIN.items()):
        parts.append(f"""

class Model{number}(nn.Module):
    calls = 0

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x):
        {action}
        return self.linear(x)
""")
        card = _card(name) | {"class": f"failing.models.Model{number}"}
        (folder / "failing" / "configs" / "models" / f"{name}.yaml").write_text(json.dumps(card))
    (folder / "failing" / "__init__.py").write_text("")
    (folder / "failing" / "models.py").write_text("\n".join(parts))
    return folder


@pytest.fixture
def failing(plugin, monkeypatch):
    """The plug-in, installed."""
    monkeypatch.syspath_prepend(str(plugin))
    MODELS._loaded = None
    yield
    MODELS._loaded = None


@pytest.fixture
def here(monkeypatch):
    """Let cells run in this process, as those of models that are registered here do: workers take long to start."""
    monkeypatch.setattr("gnnzoo.runner.bench._only_here", lambda work: True)


class Log(BenchReporter):
    def __init__(self):
        self.lines, self.first = [], None

    def expected(self, work, left):
        self.first = left

    def done(self, cell, record, trained, left):
        self.lines.append((str(cell), "trained" if trained else "found", left))

    def failed(self, cell, failure, left):
        self.lines.append((str(cell), failure.reason, left))


def grid(folder, models, datasets="karate", **choices):
    return {"models": models, "datasets": datasets, "results": str(folder), **SHORT, **choices}


# --- suites ---


@pytest.mark.parametrize("name", SUITES.names())
def test_every_suite(name):
    """Names are canonical, protocols are stated and clean, and what has models can be planned, by run too."""
    card = SUITES.card(name)
    assert len(set(card.benchmarks)) == len(card.benchmarks)
    for benchmark in card.benchmarks:
        dataset, _, protocol = partition(benchmark)
        found = DATASETS.card(dataset)
        assert found.name == dataset
        assert protocol in found.protocols or (not protocol and name == "demo")
        assert found.protocols[protocol or found.default_protocol].selection == "validation"
        assert not found.unranked
    for word in card.models:
        assert MODELS.list(word)
    work = plan({"suite": name}, empty=True)
    for config in work.configs:
        model, dataset = MODELS.card(config.model), DATASETS.card(config.dataset)
        assert dataset.task in model.tasks
        assert dataset.structure in model.structures
        assert config.hash == plan({"model": config.model, "dataset": config.benchmark}).configs[0].hash


def test_a_suite_leaves_out_what_does_not_fit():
    assert {c.model for c in plan({"suite": "tu"}).configs} == set(MODELS.list(task="graph", structure="graph"))
    work = plan({"suite": "demo", "dataset": "csbm,zoo"})
    assert {(c.model, c.dataset) for c in work.configs} == {
        ("sheaf", "csbm"),
        ("gcn", "csbm"),
        ("mlp", "csbm"),
        ("mlp", "zoo"),
    }
    assert work.notes == ["left out, as they do not fit: sheaf on zoo, gcn on zoo"]
    assert plan({"suite": "heterophilic", "dataset": "w*"}).configs[0].benchmark == "wisconsin@geom-gcn"
    with pytest.raises(ConfigError, match="model gcn is for node"):
        plan({"suite": "tu", "model": "gcn"})
    with pytest.raises(ConfigError, match="model gcn works on a graph"):
        plan({"model": "gcn,mlp", "dataset": "zoo"})
    with pytest.raises(UnknownNameError, match="unknown dataset 'x\\*' in suite tu"):
        plan({"suite": "tu", "dataset": "x*"})
    with pytest.raises(UnknownNameError, match="unknown model 'x\\*'"):
        plan({"model": "x*", "dataset": "karate"})


def test_splits_that_not_all_benchmarks_have():
    work = plan({"suite": "homophilic", "model": "gcn", "dataset": "cora,coauthor-cs", "splits": "0-2"})
    assert [(c.config.dataset, c.split) for c in work.cells] == [
        ("cora", 0),
        ("coauthor-cs", 0),
        ("coauthor-cs", 1),
        ("coauthor-cs", 2),
    ]
    with pytest.raises(ConfigError, match="cora@public has one split, 0"):
        plan({"model": "gcn", "dataset": "cora", "splits": "0-2"})


# --- plan ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3h", 10800),
        ("90min", 5400),
        ("45s", 45),
        ("1.5h", 5400),
        ("1h30min", 5400),
        ("1 h 5 m", 3900),
        (7, 7),
        (".5d", 43200),
    ],
)
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "3", "h", "3x", "-3h", "0s", "3h or so", "1e3s", 0, -1, float("nan"), True, None])
def test_no_times(text):
    with pytest.raises(ConfigError, match=r"^budget=") as error:
        seconds(text)
    assert "\n" not in str(error.value)


def test_recorded_cells_are_known_without_their_data(here, tmp_path, monkeypatch):
    """By model, strategy, configuration, split, seed and the card's digest of the data."""
    first = bench(jobs=1, **grid_call(tmp_path, "gcn", splits="0-1"))
    assert (first.trained, first.left.cells) == (2, 0)
    monkeypatch.setattr("gnnzoo.datasets.load.build_dataset", None)  # nothing is loaded from here on
    work = prepare(grid(tmp_path, "gcn,mlp", splits="0-2"))
    assert sorted(r.key.split for r in work.records) == [0, 1]
    assert [(p.config.model, [c.split for _, c in p.todo]) for p in work.pairs] == [("gcn", [2]), ("mlp", [0, 1, 2])]
    assert [number for number, _ in work.pairs[0].todo] == [2]  # its turn comes after mlp's first two
    assert work.pairs[0].base == pytest.approx(sum(r.cost.seconds for r in first.records) / 2)
    assert prepare(grid(tmp_path, "gcn", splits="0-1") | {"train.lr": 0.5}).todo == 2
    path = Store(tmp_path).path("karate@random-48-32-20", "gcn")
    path.write_text(path.read_text().replace(first.records[0].key.data, "0" * 16))
    assert prepare(grid(tmp_path, "gcn", splits="0-1")).todo == 2


def grid_call(folder, models, **choices):
    return {"models": models, "datasets": "karate", "results": str(folder), "settings": SHORT, **choices}


def test_a_generated_set_with_other_knobs(here, tmp_path):
    """Its digest is none that the card states."""
    values = grid_call(tmp_path, "mlp", splits="0") | {"datasets": "csbm"}
    values["settings"] = SHORT | {"dataset.seed": 3}
    assert bench(**values).trained == 1
    assert bench(**values).trained == 0
    assert bench(**values | {"settings": SHORT}).trained == 1


def test_files_that_are_not_here(here, tmp_path, monkeypatch):
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    result = bench(
        models="mlp", datasets=["texas", "cora", "karate"], splits="0", results=str(tmp_path), settings=SHORT
    )
    assert result.work.absent == {"texas": 1, "cora": 1}
    assert (result.trained, result.failures, result.left.cells) == (1, [], 0)


# --- order and budget ---


def clock(folder, budget=None, **bases):
    values = grid(folder, list(bases), splits="0-2") | ({"budget": budget} if budget else {})
    work = prepare(values)
    for pair in work.pairs:
        pair.base = bases[pair.config.model]
    return _Clock(work, time.monotonic())


def drain(clock):
    while (pair := clock.next()) is not None:
        yield pair.config.model, pair.todo.popleft()[1].split


def test_every_pair_gets_its_first_split_first(tmp_path):
    order = list(drain(clock(tmp_path, gcn=5.0, mlp=1.0, gin=None, sheaf=9.0)))
    round_ = ["mlp", "gcn", "sheaf", "gin"]
    assert order == [(model, split) for split in range(3) for model in round_]


def test_nothing_begins_that_is_not_expected_to_fit(tmp_path):
    found = clock(tmp_path, 100, gcn=50.0, mlp=1.0, sheaf=101.0)
    assert list(drain(found)) == [(model, split) for split in range(3) for model in ("mlp", "gcn")]
    left = found.left()
    assert (left.cells, left.seconds) == (3, 303.0)


def test_cells_that_are_done_correct_what_is_expected(tmp_path):
    found = clock(tmp_path, gcn=10.0, mlp=1.0)
    mlp = found.next()
    assert found.left().seconds == 33.0
    mlp.todo.popleft()
    found.learn(mlp, took=3.0, training=2.0)  # twice the training, and one second that is none
    assert found.expect(mlp) == 3.0
    gcn = next(p for p in found.work.pairs if p is not mlp)
    assert found.expect(gcn) == 21.0
    assert found.left().seconds == 3 * 21.0 + 2 * 3.0


# --- failures ---


def test_failing_cells(failing, tmp_path, monkeypatch):
    """Whatever a model does, its neighbours' cells are run; what failed is known, until the code is another."""
    names, log = "bench-dies,bench-exits,bench-raises,mlp", Log()
    values = grid_call(tmp_path, names, splits="0", jobs=2)
    result = bench(**values, reporter=log)
    assert [r.key.model for r in result.records] == ["mlp"]
    reasons = {failure.key.model: failure.reason for failure in result.failures}
    assert len(reasons) == len(result.failures) == 3
    assert reasons["bench-dies"] == "its process was killed (out of memory?)"
    assert reasons["bench-exits"].startswith("SystemExit: 3 (models.py:")
    assert reasons["bench-raises"].startswith("Strange: no such thing in two lines (models.py:")
    assert len(log.lines) == 4
    assert log.lines[-1][2].done == log.lines[-1][2].total == 4
    assert (result.left.cells, result.stopped) == (0, False)

    (line,) = (tmp_path / "failures" / "karate@random-48-32-20" / "bench-exits.jsonl").read_text().splitlines()
    assert set(json.loads(line)) == {"key", "reason", "date", "commit", "version"}
    again = bench(**values)
    assert (again.work.todo, len(again.work.failures), again.trained, len(again.records)) == (0, 3, 0, 1)
    assert prepare(grid(tmp_path, names, splits="0", retry="failed")).todo == 3
    assert prepare(grid(tmp_path, names, splits="0") | {"train.lr": 0.5}).todo == 4
    for other in ("another", "0123456789ab+"):
        monkeypatch.setattr(hardware, "commit", lambda other=other: other)
        assert prepare(grid(tmp_path, names, splits="0")).todo == 3


def test_a_diverged_cell(here, tmp_path):
    result = bench(**grid_call(tmp_path, "gcn", splits="0") | {"settings": SHORT | {"train.lr": 1e38}})
    (failure,) = result.failures
    assert failure.reason.startswith("training diverged: the loss is")
    assert Failures(tmp_path).read("karate@random-48-32-20", "gcn") == [failure]


def test_a_torn_line_of_a_failure(here, tmp_path):
    bench(**grid_call(tmp_path, "gcn", splits="0-1") | {"settings": SHORT | {"train.lr": 1e38}})
    path = tmp_path / "failures" / "karate@random-48-32-20" / "gcn.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert len(Failures(tmp_path).read("karate@random-48-32-20", "gcn")) == 1


# --- what was registered here, and budgets ---


class Slow(nn.Module):
    """Takes its time after the first steps."""

    pause, calls = 0.0, 0

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x):
        Slow.calls += 1
        time.sleep(Slow.pause if Slow.calls > 10 else 0.0)
        return self.linear(x)


def test_budget_of_models_that_are_registered_here(tmp_path):
    """They run in this process; the budget stops them too, and they go on from where they were."""
    name = "bench-here"
    register_model(name)(Slow)
    settings = {"train.epochs": 40, "train.stopping": "none"}
    values = {"models": name, "datasets": "karate", "splits": "0-1", "settings": settings, "checkpoint": 0}
    Slow.pause, Slow.calls = 0.3, 0
    start = time.monotonic()
    result = bench(**values, results=str(tmp_path / "a"), budget="4s")
    assert time.monotonic() - start < 8
    assert result.stopped
    assert (result.trained, result.left.cells) == (0, 2)
    (state,) = (tmp_path / "a").glob("work/*/*/0-0/state/checkpoint.pt")
    assert 1 <= torch.load(state, weights_only=True)["epoch"] < 40
    Slow.pause = 0.0
    result = bench(**values, results=str(tmp_path / "a"))
    assert (result.trained, result.stopped) == (2, False)
    whole = bench(**values, results=str(tmp_path / "b"))
    assert [r.result for r in result.records] == [r.result for r in whole.records]


# --- processes ---


def command(plugin, *words):
    environment = os.environ | {"PYTHONPATH": str(plugin), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "gnnzoo", "bench", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def ends(process, timeout=180):
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert "Traceback" not in err
    return process.returncode, out, err


def until_training(process, folder, start):
    """Wait for a state that was saved since ``start``."""
    end = time.monotonic() + 120

    def saved(path):
        try:
            return path.stat().st_mtime > start
        except FileNotFoundError:
            return False

    while not any(map(saved, Path(folder).glob("work/*/bench-slows-*/*/state/checkpoint.pt"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def records(folder):
    """Return key and result of every cell, each of which must stand there once."""
    store = Store(folder)
    found = [(r.key, r.result) for path in store.files() for r in store.read(path)]
    assert len({key for key, _ in found}) == len(found)
    return {(key.model, key.split): (key, result) for key, result in found}


def test_killed_stopped_and_out_of_budget(plugin, tmp_path):
    """SIGKILL in training, Ctrl-C in training, the end of a budget in training: the same command goes on each time."""
    words = ["models=bench-slows,mlp", "datasets=karate", "splits=0-1", "train.epochs=60", "train.stopping=none"]
    words += ["jobs=2", "checkpoint=0", f"results={tmp_path / 'a'}"]
    start = time.time()
    process = command(plugin, *words)
    until_training(process, tmp_path / "a", start)
    process.kill()
    process.communicate()

    start = time.time()
    process = command(plugin, *words)
    until_training(process, tmp_path / "a", start)
    os.killpg(process.pid, signal.SIGINT)
    status, _, err = ends(process)
    assert status == 130
    assert err.splitlines()[-1] == "gnnzoo: stopped: the same command goes on from there"

    process = command(plugin, *words, "budget=6s")
    status, out, err = ends(process)
    assert status == 0, err
    assert "stopped at the budget: " in out
    assert ("bench-slows", 1) not in records(tmp_path / "a")

    status, out, err = ends(command(plugin, *words))
    assert status == 0, err
    assert "stopped at" not in out
    found = records(tmp_path / "a")
    assert set(found) == {(model, split) for model in ("bench-slows", "mlp") for split in (0, 1)}
    assert not list(tmp_path.glob("a/work/*/*/*/state"))
    assert not (tmp_path / "a" / "failures").exists()
    alone = gnnzoo.run(
        "mlp", "karate", splits=[0, 1], results=str(tmp_path / "b"), settings=SHORT | {"train.epochs": 60}
    )
    assert [found["mlp", r.key.split] for r in alone.records] == [(r.key, r.result) for r in alone.records]


def test_interrupted_is_no_failure(tmp_path, monkeypatch):
    def stop(*_):
        raise Interrupted("stopped")

    register_model("bench-here-too")(Slow)
    monkeypatch.setattr("gnnzoo.runner.cell.run_cell", stop)
    result = bench(models="bench-here-too", datasets="karate", splits="0", results=str(tmp_path), budget="0.3s")
    assert (result.failures, result.stopped, result.left.cells) == ([], True, 1)

"""``gnnzoo bench``: what it says before, between and after, and what it refuses."""

import subprocess
import sys

import pytest

GRID = ("models=mlp,gcn", "datasets=karate", "splits=0-1", "train.epochs=3", "train.stopping=none")


@pytest.fixture(autouse=True)
def _a_clean_checkout(monkeypatch):
    """Failures of a checkout with changed files are tried again: tests must not depend on whether this one has any."""
    monkeypatch.setattr("gnnzoo.runner.hardware.commit", lambda: "0123456789ab")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "suite= or datasets= is missing"),
        (("suite=demmo",), "unknown suite 'demmo'; did you mean 'demo'?"),
        (("suite=demo", "modles=gcn"), "unknown key modles; did you mean"),
        (("suite=demo", "models=mpl"), "unknown model 'mpl'; did you mean 'mlp'?"),
        (("suite=demo", "models=gcn", "model=mlp"), "models= and model= are given"),
        (("suite=demo", "budget=3"), "budget=3: a time such as 3h, 90min, 45s or 1.5h"),
        (("suite=demo", "budget=soon"), "budget=soon: a time such as"),
        (("suite=demo", "retry=all"), "retry=all: the only choice is retry=failed"),
        (("suite=demo", "save=x.pt"), "save= is for gnnzoo run"),
        (("suite=demo", "splits=10"), "splits=10: csbm@random-48-32-20 has 10 splits, 0 to 9"),
        (("suite=demo", "jobs=0"), "jobs=0: a whole number of at least 1"),
        (("suite=demo", "train.lr=fast"), "train.lr"),
        (("models=gcn", "datasets=MUTAG"), "model gcn is for node"),
        (("suite=demo", "root=nowhere"), "root=nowhere is not a folder"),
        (("suite=demo", "results=/proc/results"), "results=/proc/results cannot be written to"),
    ],
)
def test_refused_in_one_line(call, tmp_path, words, message):
    status, out, err = call("bench", *words)
    assert status == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("gnnzoo: ")]
    assert message in line
    assert not list(tmp_path.iterdir())


def test_mistakes_are_found_without_torch():
    script = (
        "import sys; sys.argv = ['gnnzoo', 'bench', 'suite=demo', 'budget=soon']\n"
        "from gnnzoo.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (2, "False"), done.stderr


def test_nothing_to_run(call, tmp_path):
    status, _, err = call("bench", "suite=link")
    assert status == 0
    assert "no model fits link tasks on a graph: ogbl-ddi@ogb" in err
    assert "link: 0 models, 0 benchmarks, 0 cells: 0 recorded, 0 to run" in err
    assert not list(tmp_path.iterdir())


def test_what_is_said(call, tmp_path, monkeypatch):
    """Beforehand, with every cell, at the end; and of what is there already."""
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    status, out, err = call("bench", *GRID, "--dry-run", "budget=2h")
    assert status == 0
    lines = err.splitlines()
    assert lines[0] == "2 models, 1 benchmark, 4 cells: 0 recorded, 4 to run"
    assert lines[1].startswith("expected: at most ")
    assert lines[1].endswith(" in 1 worker; the budget is 2 h 00 min")
    assert not list(tmp_path.iterdir())

    status, out, err = call("bench", *GRID)
    assert status == 0
    cells = [line for line in err.splitlines() if line.startswith("[")]
    assert [line[1:4] for line in cells] == ["1/4", "2/4", "3/4", "4/4"]
    assert {line.partition("] ")[2].split()[3] for line in cells[:2]} == {"0"}  # both models' first split comes first
    assert "left] " in cells[0]
    assert "accuracy test " in cells[0]
    assert "4 cells: 4 trained now, 0 recorded before; records in results" in out

    status, out, err = call("bench", *GRID)
    assert err.splitlines() == ["2 models, 1 benchmark, 4 cells: 4 recorded, 0 to run"]
    assert "4 cells: 0 trained now, 4 recorded before" in out


def test_what_is_said_of_failures_and_missing_files(call, monkeypatch):
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    monkeypatch.setattr("gnnzoo.runner.bench._only_here", lambda work: True)  # no workers need to start
    words = ("models=gcn", "datasets=karate,texas", "splits=0-1", "train.epochs=3", "train.lr=1e38")
    status, out, err = call("bench", *words)
    assert status == 0
    assert "not run, as their files are not here: texas (gnnzoo data fetch NAME gets those that can be had)" in err
    assert "1 model, 2 benchmarks, 4 cells: 0 recorded, 2 without files, 2 to run" in err
    assert "] gcn karate@random-48-32-20 split 1 seed 0: FAILED: training diverged" in err
    assert "failed: gcn on karate@random-48-32-20, 2 cells: training diverged" in out
    assert "4 cells: 0 trained now, 0 recorded before, 2 failed now; records in results" in out
    status, out, err = call("bench", *words)
    assert "2 failed before (retry=failed runs them again)" in err
    assert "2 failed before" in out

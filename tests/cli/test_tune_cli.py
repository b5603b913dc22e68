"""``gnnzoo tune`` and ``gnnzoo study``: what they say, what they refuse, and what they leave."""

import json
import subprocess
import sys

import pytest
import yaml

TUNE = ("tune", "model=gcn", "dataset=karate", "splits=0", "train.epochs=8", "train.stopping=none", "finalists=1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "model= is missing: gnnzoo tune model=sheaf dataset=texas"),
        (("model=gcn",), "dataset= is missing"),
        (("model=sheeaf", "dataset=karate"), "unknown model 'sheeaf'; did you mean 'sheaf'"),
        (("model=gcn", "dataset=karat"), "unknown dataset 'karat'; did you mean 'karate'"),
        (("model=gcn,mlp", "dataset=karate"), "a study tunes one model on one benchmark, this is 2: gcn on karate"),
        (("model=gcn", "dataset=karate", "trails=3"), "unknown key trails; did you mean 'trials'"),
        (("model=gcn", "dataset=karate", "trials=0"), "trials=0: a whole number of at least 1"),
        (("model=gcn", "dataset=karate", "timeout=3"), "timeout=3: a time such as 3h, 90min, 45s or 1.5h"),
        (("model=gcn", "dataset=karate", "trial_timeout=x"), "trial_timeout=x: a time such as"),
        (("model=gcn", "dataset=karate", "sampler=tpf"), "sampler=tpf; did you mean 'tpe'?"),
        (("model=gcn", "dataset=karate", "pruner=medium"), "pruner=medium; did you mean 'median'?"),
        (("model=gcn", "dataset=karate", "seed=-1"), "seed=-1: a whole number from 0 to 999"),
        (("model=gcn", "dataset=karate", "seeds=0"), "seeds=0: a"),
        (("model=gcn", "dataset=karate", "splits=99"), "splits=99: karate@random-48-32-20 has 10 splits, 0 to 9"),
        (("model=gcn", "dataset=karate", "jobs=none"), "jobs=none: a whole number"),
        (("model=gcn", "dataset=karate", "results=x"), "results= is for gnnzoo run"),
        (("model=gcn", "dataset=karate", "save=x.pt"), "save= is for gnnzoo run"),
        (("model=gcn", "dataset=karate", "study=a/b"), "study=a/b: a name of letters, digits"),
        (("model=gcn", "dataset=karate", "storage=db.sqlite"), "storage=db.sqlite: sqlite:///file.db or postgresql"),
        (("model=gcn", "dataset=karate", "storage=mydb://x/y"), "storage=mydb://x/y: its driver is not installed"),
        (("model=gcn", "dataset=karate", "model.widht=3"), "unknown key model.widht"),
        (("model=gcn", "dataset=karate", "train.lr=fast"), "train.lr"),
        (("model=gin", "dataset=MUTAG", "protocol=gin-10fold"), "MUTAG@gin-10fold selects on test"),
        (("model=gcn", "dataset=karate", "root=nowhere"), "root=nowhere is not a folder"),
        (("model=gcn", "dataset=karate", "studies=/proc/studies"), "/proc/studies"),
        (("model=sheaf", "dataset=karate", "sampler=grid"), "sampler=grid: the grid of "),
    ],
)
def test_refused_in_one_line(call, tmp_path, words, message):
    status, out, err = call("tune", *words)
    assert status == 2
    assert out == ""
    (line,) = [x for x in err.splitlines() if x.startswith("gnnzoo: ") and not x.startswith("gnnzoo: warning: ")]
    assert message in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_all_that_is_searched_may_be_set_but_then_nothing_is_left(call):
    keys = ("model.hidden_channels=8", "model.num_layers=1", "model.dropout=0", "train.lr=0.1", "train.weight_decay=0")
    status, _, err = call("tune", "model=gcn", "dataset=karate", *keys)
    assert status == 2
    assert "model gcn has nothing to search: its card has no search space, or all of it is set" in err


@pytest.mark.parametrize("words", ["'tune', '--help'", "'study', '--help'", "'tune', 'model=gcn', 'dataset=x'"])
def test_without_torch(words):
    script = (
        f"import sys; sys.argv = ['gnnzoo', {words}]\n"
        "from gnnzoo.cli import main\ntry: main()\nfinally: print([m for m in ('torch', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_dry_run_shows_the_space_and_writes_nothing(call, tmp_path):
    status, out, _ = call("tune", "model=gcn", "dataset=texas", "trials=40", "--dry-run")
    assert status == 0
    lines = out.splitlines()
    assert any(line.startswith("study gcn-texas-") for line in lines)
    assert "40 trials of gcn on texas@geom-gcn by tpe, pruned by median, on splits 0,1,2; then the shipped conf" in out
    assert "and the best 3 on all 10 splits × 1 seeds" in out
    row = next(line for line in lines if line.startswith("train.lr"))
    assert row.split() == ["train.lr", "0.001", "to", "0.05", "(log)", "0.01"]
    assert "a grid of it has 2,700 points" in out
    assert not list(tmp_path.iterdir())


def test_a_study_from_beginning_to_end(call, tmp_path):
    status, out, err = call(*TUNE, "trials=7", "study=mine")
    assert status == 0
    lines = err.splitlines()
    assert lines[0] == ("study mine in studies/mine: 7 trials; 5 keys, tpe, median; validation accuracy, splits 0")
    assert lines[1].startswith("[1/7] trial 0 (shipped): validation accuracy ")
    assert sum(line.startswith("[") and "/7]" in line for line in lines) == 7
    assert any(line.startswith("finalists: the shipped configuration and trials ") for line in lines)
    assert "study mine: mean validation accuracy of the finalists" in out
    assert "to the shipped configuration: " in out
    assert "7 trials: " in out
    assert out.splitlines()[-1] == "gnnzoo run config=studies/mine/best.yaml"

    best = tmp_path / "studies" / "mine" / "best.yaml"
    assert best.read_text().startswith("# study mine: the best of 7 trials by the validation accuracy of its finalists")
    names = yaml.safe_load(best.read_text())["names"]
    assert names == {"model": "gcn", "dataset": "karate", "protocol": "random-48-32-20", "strategy": "erm"}
    summary = json.loads((best.parent / "summary.json").read_text())
    assert summary["trials"]["tried"] == 7
    assert summary["splits"] == [0]
    assert summary["budget"]["cpu_seconds"] > 0

    status, out, err = call(*TUNE, "trials=7", "study=mine")
    assert status == 0
    assert "study mine in studies/mine: 7 trials, 7 of them done" in err
    assert not [line for line in err.splitlines() if line.startswith("[")]

    status, out, err = call(*TUNE, "trials=7", "study=mine", "sampler=random")
    assert status == 2
    assert "study mine was begun with sampler tpe, now it is random: give this one another name with study=" in err


def test_study_shows_and_draws(call, tmp_path):
    call(*TUNE, "trials=8", "study=mine", "sampler=random", "pruner=none")
    status, out, _ = call("study", "mine")
    assert status == 0
    assert out.startswith("study mine: gcn on karate@random-48-32-20\n5 keys by random, pruned by none, seed 0;")
    assert "progress: 8 of 8 trials" in out
    assert "8 trials: 8 complete, 0 pruned, 0 failed; " in out
    assert "best so far: trial " in out
    header = next(line for line in out.splitlines() if line.startswith("key "))
    assert header.split()[-2:] == ["shipped", "importance"]
    assert "train.lr" in out
    plots = tmp_path / "studies" / "mine" / "plots"
    drawn = {path.stem for path in plots.glob("*.png")}
    assert drawn == {"optimization_history", "param_importances", "parallel_coordinate", "slice"}
    for path in plots.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5000

    best = "studies/mine/best.yaml"
    if not json.loads((tmp_path / "studies/mine/summary.json").read_text())["best"]["is_shipped"]:
        assert f"on test: not run yet; gnnzoo run config={best}" in out
        call("run", f"config={best}")
        call("run", *TUNE[1:3], "train.epochs=8", "train.stopping=none")
        status, out, _ = call("study", "studies/mine")  # its folder
        assert "on test, to the shipped configuration: " in out


def test_studies_that_are_not_there(call, tmp_path):
    status, _, err = call("study", "mine")
    assert (status, err) == (
        2,
        "gnnzoo: there are no studies in studies: gnnzoo tune makes them; studies= names another folder\n",
    )
    call(*TUNE, "trials=1", "study=mine")
    status, _, err = call("study", "mien")
    assert (status, err) == (2, "gnnzoo: unknown study 'mien'; did you mean 'mine'?\n")
    status, _, err = call("study", "mine", "study=x")
    assert status == 2
    assert "expected studies=, storage=, results= or plots=, got 'study=x'; did you mean 'studies'" in err
    (tmp_path / "studies" / "mine" / "study.json").write_text("{")
    status, _, err = call("study", "mine")
    assert status == 2
    assert "study.json is damaged" in err


def test_a_study_in_a_database(call, tmp_path):
    words = (*TUNE, "trials=3", "study=mine", "storage=sqlite:///trials.db")
    assert call(*words)[0] == 0
    assert (tmp_path / "trials.db").exists()
    assert not (tmp_path / "studies" / "mine" / "journal.log").exists()
    status, out, _ = call("study", "mine")
    assert status == 0
    assert "progress: 3 of 3 trials" in out
    status, out, _ = call("study", "mine", "studies=elsewhere", "storage=sqlite:///trials.db")
    assert status == 0
    assert "progress: 3 of 3 trials" in out


def test_bench_tunes_first(call, tmp_path):
    words = ("bench", "models=gcn", "datasets=karate", "train.epochs=8", "train.stopping=none", "finalists=1")
    status, _, err = call(*words, "tune=3", "--dry-run")
    assert status == 0
    assert err == "a study of 3 trials: gcn on karate@random-48-32-20\n"
    assert not list(tmp_path.iterdir())
    for wrong, message in (
        (("sampler=random",), "sampler= is for tune=: the number of trials that every model gets"),
        (("tune=0",), "tune=0: a whole number of at least 1"),
        (("tune=3", "sampler=rnadom"), "sampler=rnadom; did you mean 'random'?"),
    ):
        status, _, err = call(*words, *wrong)
        assert (status, message in err) == (2, True), err
    status, out, err = call(*words, "tune=3")
    assert status == 0
    assert "tuning 1 of 1: gcn on karate@random-48-32-20" in err
    row = next(line for line in out.splitlines() if " gcn " in line)
    assert row.split()[-1] == "3"  # trials
    status, out, _ = call("leaderboard", "karate", "tuned=3")
    assert status == 0
    assert next(line for line in out.splitlines() if " gcn " in line) == row
    status, _, err = call("leaderboard", "karate", "studies=studies")
    assert (status, "studies= goes with tuned=" in err) == (2, True)

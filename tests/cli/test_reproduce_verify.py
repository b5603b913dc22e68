"""``gnnzoo reproduce``, ``gnnzoo verify``, ``gnnzoo leaderboard add``: what is printed, and the exit status."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gnnzoo
from gnnzoo.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "leaderboards" / "results"
BENCHMARK = "karate@random-48-32-20"
FAST = {"train.epochs": 3, "train.stopping": None}

pytestmark = pytest.mark.usefixtures("made")  # what the first import of PyG warns of is said before a test listens


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "results"
    gnnzoo.run("gcn", "karate", settings=FAST, results=folder)
    return folder


@pytest.fixture
def results(made, tmp_path):
    shutil.copytree(made, tmp_path / "sent" / "results")
    return tmp_path / "sent" / "results"


def words(out):
    """Return the words of each line."""
    return [line.split() for line in out.splitlines()]


def fails(call, *arguments):
    """Call a command that must refuse in one line; return the line."""
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    return err.removeprefix("gnnzoo: ").removesuffix("\n")


# --- reproduce ---


def test_one_model(call):
    status, out, err = call("reproduce", "sheaf", f"results={COMMITTED}")
    assert (status, err) == (0, "")
    rows = {line[0]: line for line in words(out) if line and "@" in line[0]}
    assert list(rows) == list(MODELS.card("sheaf").published)
    assert rows["squirrel@geom-gcn"][-2:] == ["not", "run"]
    assert "reproduced" in rows["texas@geom-gcn"]
    assert "2·√(se_ours² + se_published²)" in out


def test_one_number(call):
    status, out, _ = call("reproduce", "nsd", "texas@geom-gcn", f"results={COMMITTED}")
    assert status == 0
    assert len([line for line in out.splitlines() if "@" in line.split(" ")[0]]) == 1


def test_a_miss_is_explained(call):
    _, out, _ = call("reproduce", "gcn", "texas", f"results={COMMITTED}")
    assert "texas@geom-gcn is above:" in out
    for text in MODELS.card("gcn").deviations:
        assert text in out
    assert MODELS.card("gcn").datasets["texas@geom-gcn"].source in out


def test_no_records(call):
    status, out, err = call("reproduce", "gin")
    assert status == 0
    assert "not run" in out
    assert err == f"gnnzoo: there are no records in results; the committed ones: results={COMMITTED}\n"


def test_one_dataset_in_python(tmp_path):
    """Of all models that have a number for it; the records decide, nothing is run."""
    found = gnnzoo.reproduce(dataset="texas", results=COMMITTED)
    assert [(r.model, r.benchmark) for r in found] == [
        (model, benchmark)
        for model in MODELS.names()
        for benchmark in MODELS.card(model).published
        if benchmark.split("@")[0] == "texas"
    ]
    assert {r.verdict for r in gnnzoo.reproduce(dataset="texas", results=tmp_path)} == {"not run"}


def test_what_was_not_run_needs_no_torch(tmp_path):
    script = (
        "import sys; from gnnzoo.cli import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "reproduce", f"results={tmp_path}"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mpl"], "unknown model 'mpl'; did you mean 'mlp'?"),
        (["sheaf", "txeas"], "unknown dataset 'txeas'; did you mean 'texas'?"),
        (["sheaf", "cora"], "the card of sheaf has no published number for cora; choose from: "),
        (["sheaf", "texas", "cora"], "one model and one dataset at a time, got sheaf texas cora"),
        (["result=x"], "unknown key result; did you mean 'results'?"),
        (["results=a", "results=b"], "results is given twice"),
        (["sheaf", "--write"], "the page is of all models: leave out sheaf"),
        (["--write"], "results=leaderboards/results has no records"),
    ],
)
def test_mistakes_of_reproduce(call, arguments, message):
    assert fails(call, "reproduce", *arguments).startswith(message)


def test_the_page(call, tmp_path):
    shutil.copytree(COMMITTED, tmp_path / "leaderboards" / "results")
    page = tmp_path / "leaderboards" / "reproduction.md"
    status, out, err = call("reproduce", "--check")
    assert status == 1
    assert (
        err == "gnnzoo: leaderboards/reproduction.md is not what the records and cards give: gnnzoo reproduce --write\n"
    )
    assert not page.exists()
    assert call("reproduce", "--write") == (0, "leaderboards/reproduction.md written\n", "")
    written = page.read_text()
    for model in MODELS.names():
        for benchmark in MODELS.card(model).published:
            assert f"| `{benchmark}` |" in written
    assert str(tmp_path) not in written
    assert call("reproduce", "--check") == (0, "", "")
    assert call("reproduce", "--write") == (0, "", "")

    page.write_text(written.replace("reproduced", "approved"))
    status, out, _ = call("reproduce", "--write", "--check", f"results={tmp_path / 'leaderboards' / 'results'}")
    assert status == 1
    assert "-" in out
    assert "approved" in page.read_text()
    (tmp_path / "leaderboards" / "results" / "texas@geom-gcn" / "sheaf.jsonl").unlink()
    page.write_text(written)
    status, out, _ = call("reproduce", "--check")
    assert status == 1
    assert "texas@geom-gcn" in out


# --- verify ---


def test_equal(call, results):
    status, out, _ = call("verify", f"{results / BENCHMARK / 'gcn.jsonl'}:3")
    assert status == 0
    assert out.splitlines()[-1] == "equal: to the last bit, weights included"
    rows = {line[0]: line[1:] for line in words(out) if line}
    digest = gnnzoo.run("gcn", "karate", splits=[2], settings=FAST, results=results).records[0].result.digest
    assert rows["digest"] == [digest, digest]


def test_different(call, results):
    """Exit status 1, and both numbers."""
    file = results / BENCHMARK / "gcn.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["result"]["test"]["accuracy"] = 1.0
        line["cost"]["processor"] = "abacus"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, out, _ = call("verify", "model=gcn", "dataset=karate", "split=3", "seed=0", f"results={results}")
    assert status == 1
    assert "100.0000" in out
    assert "abacus" in out
    assert "different: " in out
    assert "noise is up to 9.091 % (one test row)" in out


def test_pairs(call, tmp_path):
    """Counts of pairs, no loss and no epoch."""
    gnnzoo.expressivity("graph-statistics-mlp", dataset="rook-shrikhande", results=tmp_path)
    status, out, _ = call("verify", "model=graph-statistics-mlp", "dataset=rook-shrikhande", f"results={tmp_path}")
    assert status == 0
    rows = words(out)
    assert ["separated", "0", "0"] in rows
    assert ["pairs", "1", "1"] in rows
    assert not {"val_loss", "epoch"} & {line[0] for line in rows if line}
    assert "equal: to the last bit, weights included" in out


def test_a_stop_compares_nothing(call, results, monkeypatch):
    from gnnzoo.errors import Interrupted
    from gnnzoo.runner import verify

    def stop(*args):
        raise Interrupted("stopped")

    monkeypatch.setattr(verify, "execute", stop)
    status, out, err = call("verify", f"{results / BENCHMARK / 'gcn.jsonl'}:1")
    assert (status, out, err) == (130, "", "gnnzoo: stopped: nothing was compared\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["records.jsonl"], "records.jsonl: expected FILE.jsonl:LINE, lines count from 1"),
        (["records.jsonl:1"], "records.jsonl cannot be read: No such file or directory"),
        (["a.jsonl:1", "b.jsonl:1"], "one record at a time, got a.jsonl:1 and b.jsonl:1"),
        (["a.jsonl:1", "split=1"], "a.jsonl:1 is one record already: split= has no say"),
        (["model=gcn"], "which record? FILE.jsonl:LINE, or model= and dataset="),
        (["model=gcn", "dataset=karate", "split=x"], "split=x: a whole number, 0 or more"),
        (["model=gcn", "model=mlp"], "model is given twice"),
        (["modle=gcn"], "unknown key modle; did you mean 'model'?"),
        (["model=gcn", "dataset=karate"], f"no record of gcn on {BENCHMARK}, split 0, seed 0: there is no results/"),
    ],
)
def test_mistakes_of_verify(call, arguments, message):
    assert fails(call, "verify", *arguments).startswith(message)


# --- leaderboard add ---


def test_add(call, results, tmp_path):
    file = results / BENCHMARK / "gcn.jsonl"
    arguments = ["leaderboard", "add", str(file), "results=ours", "origin=lab in X"]
    where = f"ours/{BENCHMARK}/gcn.jsonl"
    assert call(*arguments) == (0, f"gcn on {BENCHMARK}: 10 records added to {where}\n", "")
    assert (tmp_path / where).read_text().count('"origin":"lab in X"') == 10
    assert call(*arguments) == (0, "10 records were there before\n", "")
    status, out, _ = call("verify", f"{where}:1")
    assert (status, out.splitlines()[-1]) == (0, "equal: to the last bit, weights included")


def test_add_refuses(call, results, tmp_path):
    file = results / BENCHMARK / "gcn.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:9]))
    message = fails(call, "leaderboard", "add", str(file), "results=ours")
    assert message.startswith(f"{file}: gcn on {BENCHMARK} (configuration ")
    assert message.endswith("9 of 10 splits, without 9: all or none of them count")
    assert not (tmp_path / "ours").exists()
    assert fails(call, "leaderboard", "add", str(file), "result=x").startswith(
        "expected results=, origin= or root=, got 'result=x'"
    )

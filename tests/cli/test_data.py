"""``gnnzoo data``: what is listed, what is found to differ, what a run says about a dataset."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import synthetic
from gnnzoo.datasets.audit import audit
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.registry import DATASETS, register_dataset


def lines(out: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in out.splitlines()[1:] if line.strip()}


def test_list(call, monkeypatch, tmp_path):
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    status, out, _ = call("data", "list")
    assert status == 0
    rows = lines(out)
    assert [*rows] == DATASETS.names()
    assert rows["csbm"][-1] == "embedded"
    assert " ".join(rows["texas"]).endswith("to download")
    assert rows["texas"][1:7] == ["node", "graph", "1", "183", "325", "5"]


def test_list_says_what_is_here(call, monkeypatch, tmp_path):
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    card = DATASETS.card("texas")
    folder = tmp_path / card.root
    folder.mkdir(parents=True)
    first, *others = card.files
    (folder / f"{first}.gz").write_bytes(b"")
    assert lines(call("data", "list", "texas", "--root", str(tmp_path))[1])["texas"][-4:] == [
        "of",
        "12",
        "files",
        "here",
    ]
    for name in others:
        (folder / name).write_bytes(b"")
    assert lines(call("data", "list", "texas", "--root", str(tmp_path))[1])["texas"][-1] == "here"


def test_list_with_filters(call):
    rows = lines(call("data", "list", "*", "embedded=true", "task=node", "structure=graph")[1])
    assert {"karate", "csbm"} <= set(rows)
    assert all(DATASETS.card(name).embedded and DATASETS.card(name).task == "node" for name in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data", "list", "texsa"), "no datasets match 'texsa'; did you mean 'texas'?"),
        (("data", "list", "colour=red"), "unknown filter 'colour' for datasets"),
        (("data", "info", "texsa"), "unknown dataset 'texsa'; did you mean 'texas'?"),
        (("data", "check", "texsa"), "unknown dataset 'texsa'; did you mean 'texas'?"),
        (("data", "check", "zzz*"), "unknown dataset 'zzz*'"),
        (("data", "fetch", "texsa"), "unknown dataset 'texsa'; did you mean 'texas'?"),
        (("data", "check", "texas", "--root", "nowhere"), "root=nowhere is not a folder"),
        (("data", "info", "texas@nope"), "unknown protocol 'nope' in texas; choose from: geom-gcn"),
        (("run", "model=mlp", "dataset=csbm", "dataset.seed=99999999999"), "dataset.seed=99999999999: should be less"),
        (("run", "model=mlp", "dataset=csbm", "dataset.num_nodes=99999999999"), "csbm dataset.num_nodes=99999999999 "),
        (("data", "chekc"), "No such command 'chekc'"),
    ],
)
def test_mistakes(call, words, message):
    status, out, err = call(*words)
    assert status == 2
    assert out == ""
    assert err.startswith(f"gnnzoo: {message}")
    assert err.count("\n") == 1


def test_lists_need_no_torch():
    script = (
        "import sys; from gnnzoo.cli import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, "data", "list"], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "False"
    assert "karate" in done.stdout


def test_info(call):
    _, out, _ = call("data", "info", "karate")
    assert "34 nodes, 156 edges, 34 features, 4 classes" in out
    assert "made on the spot" in out


@pytest.mark.data("texas")
def test_check(call):
    status, out, _ = call("data", "check", "texas")
    assert status == 0
    assert re.search(r"^texas@geom-gcn +nodes +183 +183 +ok *$", out, re.MULTILINE)
    assert "differs" not in out
    status, out, _ = call("data", "check", "texas", "kar*")
    assert status == 0
    assert {name: row[-1] for name, row in lines(out).items()} == {"texas": "ok", "karate": "ok"}


@pytest.mark.data("texas")
def test_check_names_a_file_that_is_damaged_or_missing(call, monkeypatch, tmp_path):
    card = DATASETS.card("texas")
    files = RawFiles(card)
    for name in card.files:
        source = files.find(name)
        target = tmp_path / card.root / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    (edges,) = (tmp_path / card.root).glob("out1_graph_edges.txt*")
    edges.unlink()
    edges.with_name("out1_graph_edges.txt").write_text("node_id\tnode_id\n0\t1\n")
    status, out, _ = call("data", "check", "texas", "--root", str(tmp_path))
    assert status == 1
    assert "out1_graph_edges.txt is damaged: expected sha256" in " ".join(out.split())
    edges.with_name("out1_graph_edges.txt").unlink()
    monkeypatch.delenv("GNNZOO_DATA")
    status, _, err = call("data", "check", "texas", "--root", str(tmp_path))
    assert status == 2
    assert err.startswith("gnnzoo: texas: out1_graph_edges.txt is in none of ")


@pytest.fixture
def wrong():
    """A card that says wrong things about the karate club."""
    card = DATASETS.card("karate").model_dump(by_alias=True)
    card |= {
        "name": "wrong-karate",
        "aliases": [],
        "homophily": 0.5,
        "counts": {"nodes": 35, "edges": 156, "features": 34},
    }
    card["protocols"]["random-48-32-20"]["digest"] = "0" * 16
    card["health"] = [
        {"says": "{value} members know nobody", "measure": "isolated_nodes", "value": 3, "warn": True},
        {"says": "{value} know themselves", "measure": "self_loops", "value": 0},
        "hearsay",
    ]
    register_dataset(DatasetCard.model_validate(card), synthetic.load_karate)
    return "wrong-karate"


def test_a_card_that_lies_is_found_out(wrong, call):
    differing = {f.what for f in audit(DATASETS.card(wrong)) if f.ok is False}
    assert differing == {"nodes", "data digest", "homophily of edges", "3 members know nobody"}
    status, out, _ = call("data", "check", wrong, "karate")
    assert status == 1
    assert "wrong-karate@random-48-32-20: nodes: card 35, found 34" in out
    assert lines(out)["karate"][-1] == "ok"


def test_a_run_says_what_is_wrong(call, monkeypatch):
    card = DATASETS.card("karate").model_dump(by_alias=True)
    card |= {"name": "noted-karate", "aliases": [], "unranked": "too small"}
    card["health"] = [{"says": "the labels leak", "warn": True}, "no news"]
    register_dataset(DatasetCard.model_validate(card), synthetic.load_karate)
    words = ("run", "model=mlp,gcn", "dataset=noted-karate", "splits=0", "train.epochs=2")
    _, out, err = call(*words)
    said = out + err
    assert said.count("noted-karate@random-48-32-20: the labels leak") == 1
    assert "no leaderboard ranks models by it: too small" in said
    assert "no news" not in said
    _, out, _ = call(*words, "--dry-run")
    assert "the labels leak" in out


@pytest.mark.data("texas")
def test_fetch(call, monkeypatch, tmp_path):
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    status, out, _ = call("data", "fetch", "texas", "karate")
    assert status == 0
    assert "texas: here, geom-gcn, higcn-100 ready" in out
    assert "karate: embedded, random-48-32-20 ready" in out
    assert [*(tmp_path / "processed").glob("texas-*.npz")]


def test_fetch_goes_on_past_what_cannot_be_had(call, monkeypatch, tmp_path):
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    monkeypatch.setattr("gnnzoo.datasets.raw._unreachable", lambda url: "no network")
    status, out, err = call("data", "fetch", "texas", "karate")
    assert status == 2
    assert "karate: embedded" in out
    assert "gnnzoo: texas: out1_" in err
    assert err.splitlines()[-1] == "gnnzoo: not to be had: texas"
    assert "Traceback" not in err


def test_fetch_fails_where_nothing_can_be_kept(call, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path / "file"))
    status, out, err = call("data", "fetch", "csl-generated")
    assert (status, out) == (2, "")
    assert err.startswith("gnnzoo: csl-generated could not be prepared: going on without a cache")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gnnzoo", "data", "list"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "gnnzoo: the output cannot be written: No space left on device\n"

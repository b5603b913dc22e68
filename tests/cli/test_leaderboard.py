"""``gnnzoo leaderboard``: what it takes for a name, what it prints, and what it says where there is nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from gnnzoo.cards import SuiteCard
from gnnzoo.datasets import load_dataset
from gnnzoo.leaderboard import Record, Store
from gnnzoo.registry import DATASETS, SUITES
from gnnzoo.runner.config import resolve
from gnnzoo.runner.standings import standings

Call = Callable[..., tuple[int, str, str]]

LINE = json.loads((Path(__file__).parent.parent / "leaderboard" / "record-schema-1.jsonl").read_text().splitlines()[0])
KARATE, CSBM = "karate@random-48-32-20", "csbm@random-48-32-20"


@pytest.fixture(scope="module", autouse=True)
def _suites(_registries):
    card = {"name": "small", "summary": "s", "models": ["gcn", "mlp", "sheaf"], "benchmarks": ["karate", CSBM]}
    SUITES.register(SuiteCard.model_validate(card), None)


def fill(store: Store, benchmark: str, values: dict[str, float], splits: int | None = None) -> None:
    """Append records of the shipped configurations: value + split / 100 on every split of a real benchmark."""
    bundle = load_dataset(benchmark)
    for model, value in values.items():
        config = resolve(model, benchmark)
        store.save_config(config.hash, config.to_dict())
        for split in bundle.splits[:splits]:
            key = LINE["key"] | {"model": model, "benchmark": bundle.benchmark, "config": config.hash}
            key |= {"data": bundle.digest, "split": split.index, "split_hash": split.hash, "seed": 0}
            part = {"accuracy": value + split.index / 100}
            result = LINE["result"] | {"metric": "accuracy", "test": part, "val": part, "parameters": 1234}
            cost = LINE["cost"] | {"processor": "Epyc", "threads": 1}
            store.append(Record.model_validate(LINE | {"key": key, "result": result, "cost": cost}))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of records: two models whole on karate and one not, two on csbm, one of them with other settings too."""
    folder = tmp_path_factory.mktemp("results")
    store = Store(folder)
    fill(store, KARATE, {"gcn": 0.8, "mlp": 0.6})
    fill(store, KARATE, {"sheaf": 0.9}, 3)
    fill(store, CSBM, {"mlp": 0.5, "gcn": 0.4})
    other = resolve("gcn", CSBM, layers=[("here", {"model.hidden_channels": 8})])
    store.save_config(other.hash, other.to_dict())
    for r in list(store.read(store.path(CSBM, "gcn"))):
        store.append(r.model_copy(update={"key": r.key.model_copy(update={"config": other.hash})}))
    return f"results={folder}"


def rows(out: str, title: str = "") -> dict[str, list[str]]:
    """Return the words of every line below a title up to an empty one, by each of its first two words."""
    lines = out.split(title, 1)[1].splitlines()[1:] if title else out.splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        words = line.split()
        if not words:
            break
        for word in words[:2]:
            found.setdefault(word, words)
    return found


def test_a_benchmark(call: Call, results: str) -> None:
    status, out, err = call("leaderboard", KARATE, results)
    assert (status, err) == (0, "")
    assert out.startswith(f"{KARATE}: test accuracy")
    found = rows(out)
    mean, half = "84.50", "2.17"  # 80 to 89
    assert found["gcn"][:8] == ["1", "gcn", mean, "±", half, "*", "10", "×"]
    assert found["mlp"][:7] == ["2", "mlp", "64.50", "±", half, "10", "×"]
    assert found["sheaf"][:8] == ["sheaf", "91.00", "±", "2.48", "3", "of", "10", "×"]
    assert "-20.00" in found["mlp"]
    assert "1,234" in found["gcn"]
    assert found["gcn"][-1] == "-"
    assert "hardware: Epyc, 1 thread\n" in out
    assert "corrected resampled t-test (Nadeau and Bengio, 2003) over 10 splits" in out
    assert re.search(r"^not run: .*\bdagnn\b", out, re.MULTILINE)


def test_machines_that_differ_have_a_column(call: Call, tmp_path: Path) -> None:
    store = Store(tmp_path / "mixed")
    fill(store, KARATE, {"gcn": 0.8, "mlp": 0.6})
    path = store.path(KARATE, "mlp")
    path.write_text(path.read_text().replace('"device":"cpu"', '"device":"NVIDIA H100"'))
    found = rows(call("leaderboard", KARATE, "results=mixed")[1])
    assert found["gcn"][-3:] == ["Epyc,", "1", "thread"]
    assert found["mlp"][-2:] == ["NVIDIA", "H100"]
    assert "CPU" in found["gcn"]
    assert "GPU" in found["mlp"]


def test_a_dataset_stands_for_its_protocols_that_have_records(call: Call, results: str) -> None:
    assert call("leaderboard", "KARATE", results)[1] == call("leaderboard", KARATE, results)[1]


def test_show_is_the_long_form(call: Call, results: str) -> None:
    assert call("leaderboard", "show", KARATE, results) == call("leaderboard", KARATE, results)


def test_what_is_apart_has_its_reason(call: Call, results: str) -> None:
    out = call("leaderboard", CSBM, results)[1]
    found = rows(out, "not compared")
    assert found["gcn"] == ["gcn", "44.50", "±", "2.17", "10", "other", "settings:", "model.hidden_channels=8"]


def test_a_suite(call: Call, results: str) -> None:
    status, out, _ = call("leaderboard", "small", results)
    assert status == 0
    found = rows(out)
    assert found["model"] == ["model", KARATE, CSBM, "average", "rank"]
    assert found["gcn"] == ["gcn", "84.50", "±", "2.17", "*", "44.50", "±", "2.17", "1.50"]
    assert found["mlp"] == ["mlp", "64.50", "±", "2.17", "54.50", "±", "2.17", "*", "1.50"]
    assert found["sheaf"] == ["sheaf", "91.00", "±", "2.48", "(3", "of", "10", "splits)", "not", "run"]
    assert "average rank: over 2 benchmarks" in out
    assert "Friedman test of 2 models on 2 benchmarks: chi2 = 0.00, p = 1.000" in out
    assert f"10 of {CSBM}" in out
    assert f"metrics: accuracy: {KARATE}, {CSBM}" in out


def test_a_suite_in_parts_where_the_terminal_is_narrow(
    call: Call, results: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from gnnzoo.cli import show

    monkeypatch.setattr(show, "console", lambda: Console(width=60, highlight=False))
    out = call("leaderboard", "small", results)[1]
    table = out.split("corrected")[0]
    assert all(len(line.rstrip()) <= 60 for line in table.splitlines())
    assert [line.split()[1:] for line in table.splitlines() if line.startswith("model ")] == [
        [KARATE],
        [CSBM, "average", "rank"],
    ]


def test_all_that_have_records(call: Call, results: str) -> None:
    for words in ((), ("show",)):
        status, out, _ = call("leaderboard", *words, results)
        assert status == 0
        found = rows(out)
        assert [name for name in found if "@" in name] == [CSBM, KARATE]
        assert found[KARATE] == f"{KARATE} accuracy 3 gcn 84.50 ± 2.17 * 10 × 1".split()
        assert found[CSBM][-1] == "10"  # not compared


def test_choices(call: Call, results: str) -> None:
    out = call("leaderboard", KARATE, results, "model=mlp,sheaf")[1]
    assert "gcn" not in out
    assert rows(out)["mlp"][0] == "1"
    assert "not run" not in out
    assert "Wilcoxon signed-rank test" in call("leaderboard", KARATE, results, "test=wilcoxon")[1]
    assert "sheaf" not in call("leaderboard", results, "model=m*")[1]


def test_the_folder_is_that_of_runs(call: Call, results: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = call("leaderboard", KARATE, results)
    monkeypatch.setenv("GNNZOO_RESULTS", results.removeprefix("results="))
    assert call("leaderboard", KARATE) == expected


def test_estimates_of_what_was_not_run(call: Call, results: str) -> None:
    _, out, err = call("leaderboard", CSBM, results, "model=mlp,sheaf", "--estimate")
    assert err == f"[1/1] estimate of sheaf on {CSBM}\n"
    assert "not run: sheaf, at most " in out
    assert "ms per epoch" in out
    assert "not run (≤ " in call("leaderboard", "small", results, "model=mlp,sheaf", "--estimate")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("karat",), "unknown suite or benchmark 'karat'; did you mean 'karate'?"),
        (("smal",), "unknown suite or benchmark 'smal'; did you mean 'small'"),
        (("rendr",), "unknown suite, benchmark or subcommand 'rendr'; did you mean 'render'?"),
        (("karate@public",), "unknown protocol 'public' in dataset karate"),
        (("karate", "csbm"), "one suite or benchmark at a time, got karate and csbm"),
        (
            ("karate", "result=x"),
            "expected results=, model=, test=, tuned=, studies=, got 'result=x'; did you mean 'results' or 'test'?",
        ),
        (("karate", "test=z"), "unknown test 'z'; choose from: t, wilcoxon"),
        (("karate", "test=t", "test=t"), "test is given twice"),
        (("karate", "model=gcnn"), "unknown model 'gcnn'; did you mean 'gcn'"),
        (("karate", "--estimat"), "No such option: --estimat"),
    ],
)
def test_mistakes(call: Call, results: str, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    status, out, err = call("leaderboard", *words, results)
    assert (status, out) == (2, "")
    assert err.startswith(f"gnnzoo: {message}")
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_no_records(call: Call, tmp_path: Path) -> None:
    committed = Path(__file__).resolve().parents[2] / "leaderboards" / "results"
    for words in ((), ("karate",), ("small",)):
        status, out, err = call("leaderboard", *words)
        assert (status, out) == (2, "")
        assert err == f"gnnzoo: there are no records in results; the committed ones: results={committed}\n"
    assert os.listdir(tmp_path) == []


def test_a_benchmark_that_nobody_has_run(call: Call, results: str) -> None:
    status, out, _ = call("leaderboard", "texas@geom-gcn", results)
    assert status == 0
    assert out.startswith("texas@geom-gcn: nothing to compare\n")
    assert re.search(r"^not run: .*\bdagnn\b.*", out, re.MULTILINE)


def test_help_names_the_subcommands(call: Call) -> None:
    status, out, _ = call("leaderboard", "--help")
    assert status == 0
    assert all(name in out for name in ("show", "render", "add"))


def test_what_must_be_known_of_a_benchmark_is_said(call: Call, results: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card = DATASETS.card("karate")
    protocol = card.protocols["random-48-32-20"]
    monkeypatch.setattr(card, "unranked", "it is a toy")
    monkeypatch.setattr(protocol, "selection", "on-test")
    out = call("leaderboard", KARATE, results)[1]
    assert "nobody is ranked by this benchmark: it is a toy\n" in out
    assert "this protocol selects on test: its numbers are never ranked beside clean ones\n" in out
    found = rows(out)
    assert [words for words in found if words in ("1", "2", "*")] == []
    out = call("leaderboard", "small", results)[1]
    assert f"{KARATE}: nobody is ranked by this benchmark: it is a toy\n" in out
    assert "average rank: over 1 benchmark with" in out


def test_own_data_by_path_and_by_label(call: Call, tmp_path: Path) -> None:
    torch.manual_seed(0)
    y = torch.arange(30) % 2
    data = Data(x=torch.randn(30, 4), edge_index=torch.randint(30, (2, 60)), y=y)
    torch.save(data, tmp_path / "mine.pt")
    for model in ("gcn", "mlp"):
        assert call("run", f"model={model}", "dataset=mine.pt", "train.epochs=2", "splits=0-1")[0] == 0
    status, out, _ = call("leaderboard", "mine.pt")
    assert status == 0
    found = rows(out, "not compared")
    assert found["gcn"][-1] == "splits"
    assert "other settings: train.epochs=2; 2 of " in out
    assert re.search(r"^not run: .*\bdagnn\b.*", out, re.MULTILINE)
    status, out, _ = call("leaderboard")
    assert status == 0
    assert [name.partition("@")[0] for name in rows(out) if "@" in name] == ["mine"]
    (board,) = standings(results="results")
    assert board.splits > 2


def test_from_python(results: str) -> None:
    folder = results.removeprefix("results=")
    (board,) = standings(KARATE, results=folder)
    assert [(row.model, row.rank) for row in board.rows] == [("gcn", 1), ("mlp", 2), ("sheaf", None)]
    assert [b.benchmark for b in standings("small", results=folder)] == [KARATE, CSBM]
    assert [b.benchmark for b in standings(results=folder)] == [CSBM, KARATE]

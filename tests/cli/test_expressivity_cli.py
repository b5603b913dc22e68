"""``gnnzoo expressivity`` on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gnnzoo.runner import expressivity

Call = Callable[..., tuple[int, str, str]]


def test_a_table_and_records(call: Call, tmp_path: Path) -> None:
    words = ["expressivity", "model=gin,graph-statistics-mlp", "dataset=rook-shrikhande", f"results={tmp_path}"]
    status, out, err = call(*words)
    assert status == 0
    assert "gin rook-shrikhande@separate seed 0: 0 of 1 pairs separated" in err.splitlines()
    lines = [line.split() for line in out.splitlines()]
    assert lines[1][:7] == ["gin", "rook-shrikhande@separate", "0", "1", "0", "1", "0"]
    assert lines[1][7:10] == ["0", "of", "2"]
    assert out.splitlines()[-1] == f"records in {tmp_path}"
    assert len([*(tmp_path / "rook-shrikhande@separate").glob("*.jsonl")]) == 2
    assert "recorded before" in call(*words)[2]
    status, out, _ = call("leaderboard", "rook-shrikhande", f"results={tmp_path}")
    assert status == 0
    assert "graph-statistics-mlp" in out
    assert call("leaderboard", "rook-shrikhande", f"results={tmp_path}", "--estimate")[0] == 0
    assert call("leaderboard", "render", f"results={tmp_path}", f"out={tmp_path / 'pages'}")[0] == 0
    page = (tmp_path / "pages" / "rook-shrikhande@separate.md").read_text()
    assert "## Apart" not in page
    assert re.search(r"^\| 1\.50? \| `gin` \| \*\*0\*\*", page, re.MULTILINE)
    assert "No splits: nothing is learnt; metric separated." in page


@pytest.mark.data("counting-er")
def test_what_is_counted(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs that are told apart, and how well a trained model counts: the substructure is named."""
    monkeypatch.setitem(expressivity.SUITES, "substructures", ["counting-8@4-clique", "counting-er"])
    monkeypatch.setattr(expressivity, "TARGETS", ("star",))
    words = ["suite=substructures", "strategy.copies=6", "strategy.width=4", "train.epochs=1", f"results={tmp_path}"]
    status, out, _ = call("expressivity", "model=graph-statistics-mlp", *words)
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[1][:5] == ["graph-statistics-mlp", "counting-8@4-clique", "0", "94", "0"]
    assert lines[3][:3] == ["graph-statistics-mlp", "star", "0"]
    assert 0 < float(lines[3][3]) < 2


def test_a_mistake_is_one_line(call: Call) -> None:
    status, out, err = call("expressivity", "model=gin", "suite=brek")
    assert (status, out) == (2, "")
    assert err == "gnnzoo: unknown suite 'brek'; did you mean 'brec'?\n"
    status, _, err = call("run", "model=gin", "dataset=BREC")
    assert status == 2
    assert "gnnzoo expressivity model=gin dataset=BREC" in err

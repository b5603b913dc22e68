"""``gnnzoo expressivity`` on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

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


def test_a_mistake_is_one_line(call: Call) -> None:
    status, out, err = call("expressivity", "model=gin", "suite=brek")
    assert (status, out) == (2, "")
    assert err == "gnnzoo: unknown suite 'brek'; did you mean 'brec'?\n"
    status, _, err = call("run", "model=gin", "dataset=BREC")
    assert status == 2
    assert "gnnzoo expressivity model=gin dataset=BREC" in err

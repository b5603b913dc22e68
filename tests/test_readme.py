"""What README shows is run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """Return README's one code block of a language that contains a text."""
    (found,) = [b for b in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in b]
    return found


def test_your_own_loop_of_fifteen_lines_trains(capsys):
    loop = block("python", "optimizer.step()")
    assert "from gnnzoo.models import HiGCN" in loop
    assert sum(bool(line.strip()) for line in loop.splitlines()) <= 15
    exec(loop, {})
    printed = re.fullmatch(r"test accuracy (0\.\d{3})\n", capsys.readouterr().out)
    assert float(printed.group(1)) > 0.95  # 0.1 by chance


def test_the_runner_as_a_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GNNZOO_RESULTS", raising=False)
    names: dict[str, object] = {}
    exec(block("python", "gnnzoo.run("), names)
    assert names["result"].records[0].result.epochs == 50
    assert (tmp_path / "results" / "csbm@random-48-32-20" / "sheaf.jsonl").exists()


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """Write README's plug-in as its author would, and what an installer makes of the line in ``pyproject.toml``."""
    root = tmp_path_factory.mktemp("plugin")
    package, info = root / "my_zoo", root / "my_zoo-0.1.dist-info"
    for folder in (package / "configs" / "models", info):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models.py").write_text(block("python", "class TwoHop"))
    (package / "configs" / "models" / "two-hop.yaml").write_text(block("yaml", "two-hop"))
    group, entry = re.search(r'entry-points\."(.*?)"\]\n(.*)\n', block("toml", "entry-points")).groups()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_zoo\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry.replace(chr(34), '')}\n")
    return root


def gnnzoo(plugin: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = [str(plugin), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "gnnzoo", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=plugin)


def test_your_model_is_one_file_and_one_yaml(plugin):
    run = gnnzoo(plugin, "run", "model=two-hop", "dataset=karate", "splits=0", "train.epochs=20", "results=results")
    assert run.returncode == 0, run.stderr
    assert "two-hop" in run.stdout
    assert (plugin / "results" / "karate@random-48-32-20" / "two-hop.jsonl").exists()


def test_your_models_ranges_are_checked(plugin):
    run = gnnzoo(plugin, "run", "model=two-hop", "dataset=karate", "model.dropout=1.5", "results=never")
    assert run.returncode == 2
    assert run.stderr == "gnnzoo: model.dropout=1.5: should be less than 1\n"
    assert not (plugin / "never").exists()


def test_your_model_passes_the_generic_checks_but_for_its_citation(plugin):
    checked = gnnzoo(plugin, "check", "two-hop")
    failed = [line for line in checked.stdout.splitlines() if not line.startswith("ok")]
    assert all("docstring" in line or "card" in line for line in failed), checked.stdout + checked.stderr


def test_the_tuning_that_is_shown_can_be_asked_for(monkeypatch, capsys, tmp_path):
    from gnnzoo.cli import main

    monkeypatch.chdir(tmp_path)
    asked = re.findall(r"^(gnnzoo tune .*?|gnnzoo bench .*? tune=.*?) *(?:#.*)?$", README, re.MULTILINE)
    assert len(asked) == 3
    for command in asked:
        monkeypatch.setattr(sys, "argv", [*command.split(), "--dry-run"])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0, capsys.readouterr().err
    seen = capsys.readouterr()
    assert "40 trials of sheaf on texas@geom-gcn by tpe, pruned by median" in seen.out
    assert "a study of 30 trials: gcn on texas@geom-gcn" in seen.err
    assert not list(tmp_path.iterdir())

"""The map of CONTRIBUTING.md, held to: imports point one way, and the repository stands alone."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = [
    {"errors", "types", "cards", "registry", "signature", "resources", "atomic", "places"},
    {"ops"},
    {"nn", "transforms"},
    {"models", "datasets"},
    {"tasks"},
    {"strategies", "leaderboard"},
    {"runner", "testing"},
    {"cli", "__main__"},
]
"""From the bottom up; a part may import its own layer and those below."""

RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "gnnzoo").parts[0].removesuffix(".py")


SOURCES = [path for path in sorted((ROOT / "gnnzoo").rglob("*.py")) if path.parent != ROOT / "gnnzoo" / "configs"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    part = part_of(path)
    if part == "__init__":
        return  # names its parts lazily, as strings
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.startswith("gnnzoo."):
                other = name.split(".")[1]
                assert RANK[other] <= RANK[part], f"line {node.lineno}: {part} imports {other}, which is above it"


def test_only_ci_knows_what_lies_beside_the_checkout():
    beside = "../" + "shared"
    found = subprocess.run(["git", "grep", "-lF", beside], cwd=ROOT, capture_output=True, text=True)
    if found.returncode not in (0, 1):
        pytest.skip("not a git checkout")
    assert found.stdout.split() == [".ci/run"]

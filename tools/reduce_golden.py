"""Make a small golden file out of a full one.

    python tools/reduce_golden.py SOURCE DEST [MODEL] [--ignore KEY ...] [--without KIND ...] [--only CASE ...]
        [--norms KIND ...]

Cases that this version does not cover are left out, and so are intermediate values (no tolerance is promised for them).
Of the others, smallest first, a case is kept if it shows a setting that no kept case shows: a value of a configuration
key for this kind and variant, a type, a mode, or a set of gradients. Keys whose values are mere sizes can be ignored,
kinds whose cases are all large left out. Where that is still too much, cases are named, and only the norms of their
gradients are stored. The choice depends on the source file and these options alone.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import torch

from gnnzoo.atomic import save_tensors
from gnnzoo.testing import check_golden


def reduce(
    source: Path,
    dest: Path,
    model: str,
    ignore: frozenset[str] = frozenset(),
    without: frozenset[str] = frozenset(),
    only: frozenset[str] = frozenset(),
    norms: frozenset[str] = frozenset(),
) -> list[str]:
    """Write the reduced file and return the names of its cases."""
    content = torch.load(source, weights_only=True)
    covered = {case.name for case in check_golden(model, source).cases if case.covered}
    cases = {
        name: {key: value for key, value in case.items() if key != "intermediate"}
        for name, case in content["cases"].items()
        if name in covered and case["kind"] not in without and (not only or name in only)
    }
    for case in cases.values():
        if case["kind"] in norms:
            case["grads"] = {f"norm:{name}": float(grad.double().norm()) for name, grad in case["grads"].items()}
    seen: set[Any] = set()
    kept: list[str] = []
    for name in sorted(cases, key=lambda name: (_size(cases[name]), name)):
        shown = _shows(cases[name], ignore)
        if not shown <= seen:
            seen |= shown
            kept.append(name)
    content["cases"] = {name: case for name, case in cases.items() if name in kept}
    save_tensors(dest, content)
    return kept


def _shows(case: dict[str, Any], ignore: frozenset[str]) -> set[Any]:
    """Return what a case shows, each for its kind and variant."""
    config = case["config"]
    variant = (case["kind"], config.get("model"), config.get("variant"))
    settings = {(variant, key, str(value)) for key, value in config.items() if key not in ignore}
    return settings | {(variant, "run", case["dtype"], case["mode"]), (variant, "grads", "grads" in case)}


def _size(case: dict[str, Any]) -> int:
    buffer = io.BytesIO()
    torch.save(case, buffer)
    return buffer.tell()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("dest", type=Path)
    parser.add_argument("model", nargs="?", help="whose replay decides what is covered (default: the file's name)")
    parser.add_argument("--ignore", nargs="*", default=[], help="keys of a configuration whose values are all alike")
    parser.add_argument("--without", nargs="*", default=[], help="kinds to leave out")
    parser.add_argument("--only", nargs="*", default=[], help="cases to choose from (default: all)")
    parser.add_argument("--norms", nargs="*", default=[], help="kinds of which only the norms of gradients are stored")
    arguments = parser.parse_args()
    model = arguments.model or arguments.source.stem
    sets = (frozenset(getattr(arguments, word)) for word in ("ignore", "without", "only", "norms"))
    names = reduce(arguments.source, arguments.dest, model, *sets)
    print(f"{arguments.dest}: {len(names)} cases, {arguments.dest.stat().st_size // 1024} KiB")

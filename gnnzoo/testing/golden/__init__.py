"""Replays of golden files: inputs, weights, outputs and gradients of the authors' code.

A golden file is ``{"format": 1, "slug": ..., "cases": {name: case}}``; a case holds ``kind, config, inputs, state_dict,
outputs, grads, tolerance, mode, dtype``. The replay of a model stands in ``gnnzoo/testing/golden/<model>.py``, or in
``<plug-in package>/golden/<model>.py``, as a function ``replay(kind, case) -> (outputs, grads)`` that looks at the
case's kind and configuration alone. It raises ``NotImplementedError`` for what this version does not cover: that is a
failure too, but one with a name.
"""

from __future__ import annotations

import io
import os
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from gnnzoo.errors import ConfigError, DataError, UnknownNameError
from gnnzoo.registry import MODELS

__all__ = [
    "CaseReport",
    "Report",
    "check_golden",
    "compare",
    "covered",
    "load_golden",
    "named_gradients",
    "prepare",
    "replay_case",
]

Case = dict[str, Any]
Outputs = Mapping[str, Any]

_KEYS = {"kind", "config", "inputs", "outputs", "tolerance", "dtype"}
_TINY = 1e-12


@dataclass
class CaseReport:
    """How one case went."""

    name: str
    kind: str
    tolerance: dict[str, float]
    errors: dict[str, dict[str, float]] = field(default_factory=lambda: {"outputs": {}, "grads": {}})
    """Relative error of every compared tensor, by section."""
    failures: list[str] = field(default_factory=list)
    covered: bool = True
    """False where the replay says that this version does not have the variant."""

    @property
    def passed(self) -> bool:
        """Whether everything the case holds was reproduced."""
        return not self.failures

    def __str__(self) -> str:
        """One line: verdict, largest errors against their tolerances, the first failures."""
        parts = [f"{'ok  ' if self.passed else 'FAIL'} {self.name} ({self.kind})"]
        for section, errors in self.errors.items():
            if errors:
                worst = max(errors, key=lambda key: errors[key])
                limit = self.tolerance.get(section, 0.0)
                parts.append(f"{section} {errors[worst]:.1e} of {limit:.0e} ({len(errors)}, worst {worst})")
        shown = "; ".join(self.failures[:3]) + (
            f"; and {len(self.failures) - 3} more" if len(self.failures) > 3 else ""
        )
        return ": ".join([", ".join(parts), *([shown] if shown else [])])


@dataclass
class Report:
    """How a golden file went."""

    model: str
    path: Path
    cases: list[CaseReport]

    @property
    def passed(self) -> bool:
        """Whether every case of the file passed."""
        return bool(self.cases) and all(case.passed for case in self.cases)

    def __str__(self) -> str:
        """One line per case, then the sum."""
        good = sum(case.passed for case in self.cases)
        lines = [*map(str, self.cases), f"{self.model}: {good} of {len(self.cases)} cases of {self.path.name} agree"]
        missing = sum(not case.covered for case in self.cases)
        if missing:
            lines[-1] += f"; {missing} are of variants that this version does not have"
        return "\n".join(lines)


def load_golden(path: str | os.PathLike[str]) -> dict[str, Case]:
    """Return the cases of a golden file; nothing in it is executed.

    Raises:
        DataError: there is no such file, it is damaged, or it is not a golden file of format 1.
    """
    try:
        file = io.BytesIO(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        content = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load raises nearly every kind on a damaged file
        message = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"{path}: not a golden file: {message}") from None
    if not isinstance(content, dict) or content.get("format") != 1 or not isinstance(content.get("cases"), dict):
        raise DataError(f"{path}: not a golden file of format 1")
    for name, case in content["cases"].items():
        missing = _KEYS - set(case)
        if missing:
            raise DataError(f"{path}: case {name!r} has no {sorted(missing)[0]}")
    return content["cases"]


def check_golden(name: str, path: str | os.PathLike[str]) -> Report:
    """Replay every case of a golden file and compare with what the authors' code gave.

    Args:
        name: a model's name or alias, or the name of a replay (``dagnn``).
        path: the golden file.

    Raises:
        UnknownNameError: nothing of that name can be replayed.
        DataError: the file is not a golden file.
    """
    name, module = _replay_module(name)
    cases = [replay_case(module.replay, label, case) for label, case in load_golden(path).items()]
    return Report(name, Path(path), cases)


def covered(name: str) -> bool:
    """Whether a model has a replay."""
    try:
        _replay_module(name)
    except UnknownNameError:
        return False
    return True


def replay_case(replay: Callable[[str, Case], tuple[Outputs, Outputs]], name: str, case: Case) -> CaseReport:
    """Replay one case and compare it; whatever ``replay`` raises is a failure of the case."""
    report = CaseReport(name, case["kind"], case["tolerance"])
    try:
        outputs, grads = replay(case["kind"], prepare(case))
    except NotImplementedError as error:
        report.failures.append(f"not covered: {error}")
        report.covered = False
        return report
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        report.failures.append(f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})")
        return report
    for section, found in (("outputs", outputs), ("grads", grads)):
        tiny = case["tolerance"].get(f"tiny_{section}") or _TINY
        for key, expected in case.get(section, {}).items():
            value = found.get(key)
            if value is None and key.startswith("norm:") and key[5:] in found:
                value = found[key[5:]].double().norm()
            report.errors[section][key], complaint = compare(value, expected, tiny)
            if complaint is None and not report.errors[section][key] <= case["tolerance"][section]:
                complaint = f"error {report.errors[section][key]:.2e} exceeds {case['tolerance'][section]:.0e}"
            if complaint is not None:
                report.failures.append(f"{section}.{key}: {complaint}")
    return report


def prepare(case: Case) -> Case:
    """Return a copy of a case whose floating inputs and weights have the case's ``dtype``."""
    dtype = getattr(torch, case["dtype"])

    def cast(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(dtype) if value.is_floating_point() else value.clone()
        return {name: cast(item) for name, item in value.items()} if isinstance(value, dict) else value

    changed = {key: {n: cast(v) for n, v in case[key].items()} for key in ("inputs", "state_dict") if key in case}
    return case | changed


def compare(found: Any, expected: Any, tiny: float = _TINY) -> tuple[float, str | None]:
    """Return the error ``||found - expected|| / max(||expected||, tiny)`` in float64, and what else is wrong.

    Integers, booleans and strings must be equal; NaN must stand at the same places. Of a list or a dictionary, the
    largest error of its items counts.
    """
    infinite = float("inf")
    if found is None:
        return infinite, "missing"
    if isinstance(expected, dict):
        if not isinstance(found, Mapping) or found.keys() != expected.keys():
            return infinite, f"not {', '.join(expected)}"
        found, expected = [found[key] for key in expected], list(expected.values())
    if isinstance(expected, list) and any(isinstance(item, Tensor) for item in expected):
        if len(found) != len(expected):
            return infinite, f"{len(found)} items, not {len(expected)}"
        pairs = [compare(a, b, tiny) for a, b in zip(found, expected, strict=True)]
        return max(error for error, _ in pairs), next((complaint for _, complaint in pairs if complaint), None)
    if not isinstance(expected, Tensor | float):
        if isinstance(found, Tensor) and found.dim() == 0:
            found = found.item()
        return (0.0, None) if found == expected else (infinite, f"is {found!r}, not {expected!r}")
    found, expected = torch.as_tensor(found).detach(), torch.as_tensor(expected)
    if found.shape != expected.shape:
        return infinite, f"shape {tuple(found.shape)}, not {tuple(expected.shape)}"
    if not (expected.is_floating_point() or expected.is_complex()):
        different = int((found != expected).sum())
        return (0.0, None) if not different else (infinite, f"{different} of {expected.numel()} values differ")
    wide = torch.complex128 if expected.is_complex() else torch.float64
    found, expected = found.to(wide), expected.to(wide)
    if not torch.equal(found.isnan(), expected.isnan()):
        return infinite, "NaN at other places"
    infinities = expected.isinf()
    if not torch.equal(found.isinf(), infinities) or not torch.equal(found[infinities], expected[infinities]):
        return infinite, "infinite at other places"
    finite = ~(expected.isnan() | infinities)
    found, expected = found[finite], expected[finite]
    return float((found - expected).norm()) / max(float(expected.norm()), tiny), None


def named_gradients(
    loss: Tensor, parameters: Iterable[tuple[str, nn.Parameter]], inputs: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return ``{parameter: gradient, "input:<name>": gradient}`` of a loss; what it does not depend on gets zeros.

    Args:
        loss: a scalar.
        parameters: names as in the golden file, with our parameters.
        inputs: those inputs that require gradients.
    """
    named = dict(parameters) | {f"input:{name}": value for name, value in (inputs or {}).items()}
    grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(value) if grad is None else grad
        for (name, value), grad in zip(named.items(), grads, strict=True)
    }


def _replay_module(name: str) -> tuple[str, ModuleType]:
    """Find the replay of a model: ours, or in the package that its class comes from."""
    packages = ["gnnzoo.testing"]
    try:
        card = MODELS.card(MODELS.canonical(name))
        label = card.golden or card.name
        packages.append(card.class_.partition(".")[0])
    except ConfigError:
        label = name
    for package in packages:
        path = f"{package}.golden.{label.replace('-', '_')}"
        try:
            found = find_spec(path)
        except (ImportError, ValueError):
            found = None
        if found is not None:
            return label, import_module(path)
    available = [p.stem.replace("_", "-") for p in Path(__file__).parent.glob("[a-z]*.py")]
    raise UnknownNameError("golden replay", name, available)

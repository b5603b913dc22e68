"""Parity with the authors' code: a reduced set here, the full files where $GNNZOO_GOLDEN says they are."""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from gnnzoo.errors import DataError, UnknownNameError
from gnnzoo.testing import check_golden
from gnnzoo.testing.golden import compare, covered, load_golden, named_gradients, prepare, replay_case
from gnnzoo.testing.golden import dagnn as replays

REDUCED = Path(__file__).parent / "golden"
FILES = sorted(REDUCED.glob("*.pt"))
FULL = os.environ.get("GNNZOO_GOLDEN")
FULL_FILES = {"sheaf_real.pt": "sheaf"} | {
    path.name: path.stem for path in sorted(Path(FULL or "absent").glob("*.pt")) if covered(path.stem)
}
NOT_COVERED: dict[str, set[str]] = {
    "directed-graphs.pt": {"digcn", "digcn_adjacency", "digcn_inception", "dimpa", "magnet"},
    "spen.pt": {"v2"},  # as released, with its index errors
}
"""Variants (``config.model``, else the kind) that the models do not have."""


@pytest.fixture
def case() -> dict[str, Any]:
    return copy.deepcopy(load_golden(REDUCED / "dagnn.pt")["citation_K4"])


def test_reduced_set_is_small() -> None:
    assert FILES
    assert sum(path.stat().st_size for path in FILES) <= 3_000_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_reduced_set(path: Path) -> None:
    report = check_golden(path.stem, path)
    assert report.passed, str(report)


@pytest.mark.skipif(not FULL, reason="$GNNZOO_GOLDEN is not set: no full golden files")
@pytest.mark.parametrize("file", FULL_FILES)
def test_full_set(file: str) -> None:
    path = Path(str(FULL)) / file
    report, cases = check_golden(FULL_FILES[file], path), load_golden(path)
    assert [str(case) for case in report.cases if case.covered and not case.passed] == []
    missing = {cases[case.name]["config"].get("model", case.kind) for case in report.cases if not case.covered}
    assert missing == NOT_COVERED.get(file, set())


def test_report_has_a_line_per_case_with_errors_and_tolerances() -> None:
    report = check_golden("DAGNN", REDUCED / "dagnn.pt")
    lines = str(report).splitlines()
    assert len(lines) == len(report.cases) + 1
    assert "of 1e-09" in lines[0]
    assert lines[-1] == f"dagnn: {len(report.cases)} of {len(report.cases)} cases of dagnn.pt agree"


def test_a_wrong_output_fails(case: dict[str, Any]) -> None:
    case["outputs"]["log_probs"][0, 0] += 1e-6
    report = replay_case(replays.replay, "case", case)
    assert not report.passed
    assert "outputs.log_probs: error" in str(report)


def test_a_wrong_gradient_fails(case: dict[str, Any]) -> None:
    case["grads"]["lin1.weight"] *= 1 + 1e-4
    assert not replay_case(replays.replay, "case", case).passed


@pytest.mark.parametrize("section", ["outputs", "grads"])
def test_a_missing_tensor_fails(case: dict[str, Any], section: str) -> None:
    case[section]["one_more"] = torch.zeros(2)
    report = replay_case(replays.replay, "case", case)
    assert report.failures == [f"{section}.one_more: missing"]


def test_an_unknown_kind_fails(case: dict[str, Any]) -> None:
    case["kind"] = "no_such_kind"
    report = replay_case(replays.replay, "case", case)
    assert not report.passed
    assert "unknown kind 'no_such_kind'" in str(report)


def test_an_exception_fails(case: dict[str, Any]) -> None:
    del case["config"]["K"]
    report = replay_case(replays.replay, "case", case)
    assert not report.passed
    assert "KeyError: 'K' (dagnn.py:" in str(report)


def test_what_is_not_covered_fails_by_name(case: dict[str, Any]) -> None:
    def replay(kind: str, case: dict[str, Any]) -> Any:
        raise NotImplementedError("no such variant")

    report = replay_case(replay, "case", case)
    assert not report.passed
    assert not report.covered


def test_the_stored_norm_of_a_gradient_is_compared(case: dict[str, Any]) -> None:
    case["grads"] = {"norm:lin1.weight": case["grads"]["lin1.weight"].norm()}
    assert replay_case(replays.replay, "case", case).passed
    case["grads"]["norm:lin1.weight"] *= 1.01
    assert not replay_case(replays.replay, "case", case).passed


def test_tiny_is_the_floor_of_the_denominator(case: dict[str, Any]) -> None:
    case["grads"] = {"lin1.bias": case["grads"]["lin1.bias"] + 1e-9}
    case["tolerance"]["grads"] = 1e-12
    assert not replay_case(replays.replay, "case", case).passed
    case["tolerance"]["tiny_grads"] = 1e6
    assert replay_case(replays.replay, "case", case).passed


def test_compare() -> None:
    nan, inf = float("nan"), float("inf")
    assert compare(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0]))[0] == pytest.approx(0.1)
    assert compare(torch.tensor([1.0, nan]), torch.tensor([1.0, nan])) == (0.0, None)
    assert compare(torch.tensor([nan, 1.0]), torch.tensor([1.0, nan]))[1] == "NaN at other places"
    assert compare(torch.tensor([inf]), torch.tensor([inf])) == (0.0, None)
    assert compare(torch.tensor([-inf]), torch.tensor([inf]))[1] == "infinite at other places"
    assert compare(torch.tensor([inf]), torch.tensor([1.0]))[1] == "infinite at other places"
    assert compare(torch.ones(2, 1), torch.ones(2))[1] == "shape (2, 1), not (2,)"
    assert compare(torch.tensor([1, 2]), torch.tensor([1, 3]))[1] == "1 of 2 values differ"
    assert compare(torch.tensor([True]), torch.tensor([True])) == (0.0, None)
    assert compare("a", "b")[1] == "is 'a', not 'b'"
    assert compare(torch.tensor(3), 3) == (0.0, None)
    assert compare(1.0, 1.0) == (0.0, None)
    assert compare(torch.zeros(2), torch.zeros(2)) == (0.0, None)
    assert compare(torch.zeros(0), torch.zeros(0)) == (0.0, None)
    assert compare(None, torch.zeros(0))[1] == "missing"
    assert compare(torch.full((1,), 1e-13), torch.zeros(1))[0] == pytest.approx(0.1)
    parts = {"a": torch.zeros(1), "b": torch.tensor([3.0, 4.0])}
    assert compare({**parts, "b": torch.tensor([3.0, 4.5])}, parts)[0] == pytest.approx(0.1)
    assert compare({"a": parts["a"]}, parts)[1] == "not a, b"


def test_prepare_casts_floats_only() -> None:
    tensors = {"x": torch.ones(1).double(), "e": torch.ones(1, dtype=torch.int64)}
    case = {"dtype": "float32", "inputs": tensors | {"state": tensors}}
    for found in (prepare(case)["inputs"], prepare(case)["inputs"]["state"]):
        assert (found["x"].dtype, found["e"].dtype) == (torch.float32, torch.int64)
    assert case["inputs"]["x"].dtype == torch.float64


def test_gradients_that_do_not_exist_are_zeros() -> None:
    used, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    grads = named_gradients(used.sum(), [("used", used), ("unused", unused)])
    assert torch.equal(grads["used"], torch.ones(2))
    assert torch.equal(grads["unused"], torch.zeros(3))


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*absent\.pt: No such file"):
        check_golden("dagnn", tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(DataError, match="not a golden file"):
        check_golden("dagnn", tmp_path / "text.pt")
    torch.save({"format": 2, "cases": {}}, tmp_path / "newer.pt")
    with pytest.raises(DataError, match="format 1"):
        check_golden("dagnn", tmp_path / "newer.pt")
    torch.save({"format": 1, "cases": {"a": {"kind": "model"}}}, tmp_path / "short.pt")
    with pytest.raises(DataError, match="case 'a' has no config"):
        check_golden("dagnn", tmp_path / "short.pt")
    torch.save({"format": 1, "cases": {}}, tmp_path / "empty.pt")
    assert not check_golden("dagnn", tmp_path / "empty.pt").passed


def test_a_model_without_replay_is_named() -> None:
    assert not covered("mlp")
    with pytest.raises(UnknownNameError, match="unknown golden replay 'mlp'"):
        check_golden("mlp", REDUCED / "dagnn.pt")
    with pytest.raises(UnknownNameError, match="did you mean 'dagnn'"):
        check_golden("dagn", REDUCED / "dagnn.pt")

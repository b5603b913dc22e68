"""Training to a band: the numbers that the README quotes come out again. Minutes each, hence slow."""

from __future__ import annotations

import pytest

import gnnzoo

pytestmark = pytest.mark.slow


def mean(model: str, dataset: str, results: object, **choices: object) -> float:
    result = gnnzoo.run(model, dataset, results=str(results), **choices)
    return 100 * result.summary().mean


def test_the_demo_is_won_by_the_sheaf(tmp_path):
    sheaf, gcn, mlp = (mean(model, "csbm", tmp_path) for model in ("sheaf", "gcn", "mlp"))
    assert 74 < sheaf < 84
    assert sheaf > mlp + 5 > gcn + 5


@pytest.mark.data("texas")
def test_texas_sheaf(tmp_path):
    assert 85 <= mean("sheaf", "texas", tmp_path, jobs=2) <= 91


@pytest.mark.data("wisconsin")
def test_wisconsin_sheaf(tmp_path):
    assert 86.5 <= mean("sheaf", "wisconsin", tmp_path, jobs=2) <= 92


@pytest.mark.data("cornell_legacy")
def test_cornell_legacy_sheaf(tmp_path):
    assert 80 <= mean("sheaf", "cornell_legacy", tmp_path, jobs=2) <= 90


@pytest.mark.data("cora")
def test_cora_dagnn(tmp_path):
    assert 83.9 <= mean("dagnn", "cora", tmp_path, seeds=20, jobs=2) <= 84.9

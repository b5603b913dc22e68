"""README's generated tables: up to date, and made from records by the rules that they state."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gnnzoo.leaderboard import Store
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES
from gnnzoo.runner.standings import standings

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "leaderboards" / "results"


def load_tool():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "tools" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_equal_what_they_are_made_of():
    done = subprocess.run([sys.executable, "tools/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_leaderboards_equal_the_records():
    command = [sys.executable, "-m", "gnnzoo", "leaderboard", "render", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_links_of_the_leaderboards_lead_somewhere():
    pages = sorted((ROOT / "leaderboards").glob("*.md"))
    assert pages
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), (page.name, target)


def test_a_changed_table_is_noticed():
    tool = load_tool()
    text = "a\n<!-- table: models -->\nold\n<!-- end -->\nb"
    new = tool.render(text)
    assert all(f"`{name}`" in new for name in MODELS.names())
    assert new.startswith("a\n")
    assert new.endswith("\nb")
    assert tool.render(new) == new


def test_every_dataset_is_in_its_table():
    assert all(f"`{name}`" in load_tool().datasets() for name in DATASETS.names())


def test_committed_records_belong_to_what_is_here():
    """Data, splits and metrics are today's: what stands apart does so for its settings alone, and none is unknown."""
    found = standings(results=RESULTS)
    assert found
    for board in found:
        assert board.rows or board.apart
        for apart in board.apart:
            assert "other settings: " in apart.reason, (board.benchmark, apart.model, apart.reason)


def test_committed_records_have_their_configuration_and_parameter_count():
    store = Store(RESULTS)
    for path in store.files():
        for record in store.read(path):
            config = store.config(record.key.config)
            assert config is not None
            assert config["names"]["model"] == record.key.model
            assert record.cost.commit, "measured outside a checkout"
            assert not record.cost.commit.endswith("+"), "measured on a changed checkout"
            expected = MODELS.card(record.key.model).parameters.get(record.key.benchmark)
            assert record.tuned or expected in (None, record.result.parameters)


@pytest.mark.parametrize("name", MODELS.names())
def test_published_numbers_and_settings_name_protocols_that_exist(name):
    card = MODELS.card(name)
    for benchmark in [*card.datasets, *card.published, *card.parameters]:
        dataset, _, protocol = benchmark.partition("@")
        protocol, _, strategy = protocol.partition("+")
        assert not strategy or strategy in STRATEGIES.names()
        assert dataset
        assert protocol
        if dataset in DATASETS.names():
            assert protocol in DATASETS.card(dataset).protocols, benchmark

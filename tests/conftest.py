"""What all tests share: a private cache, one thread, and the rule for tests that read real benchmark files."""

import os

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _isolated(tmp_path_factory):
    """Keep tests away from the user's cache, and every test process to one thread."""
    torch.set_num_threads(1)
    before = os.environ.get("GNNZOO_CACHE")
    os.environ["GNNZOO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["GNNZOO_CACHE"]
    else:
        os.environ["GNNZOO_CACHE"] = before


@pytest.fixture(scope="module", autouse=True)
def _registries():
    """Forget what a module registered: other modules test every name that there is."""
    from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, SUITES

    before = {registry: dict(registry._registered) for registry in (DATASETS, MODELS, STRATEGIES, SUITES)}
    yield
    for registry, registered in before.items():
        registry._registered = registered


def _absent(names: tuple[str, ...]) -> tuple[str, bool] | None:
    """Return why files of the named datasets cannot be read, and whether CI must have them; None where they can."""
    from gnnzoo.datasets.raw import RawFiles
    from gnnzoo.registry import DATASETS

    folder = os.environ.get("GNNZOO_DATA")
    for card in map(DATASETS.card, names):
        if not card.seen:
            return (
                f"{card.name}: its files could not be had; its loader is tested on a small file of their layout",
                False,
            )
        if card.embedded:
            continue
        if not folder or not os.path.isdir(folder):
            return "GNNZOO_DATA names no folder of raw files", True
        files = RawFiles(card, root=folder)
        missing = [file for file in card.files if files.find(file) is None]
        if missing:
            return f"{folder} lacks {card.root}/{missing[0]}", True
    return None


def pytest_runtest_setup(item):
    """``@pytest.mark.data("texas")``: skip without the files, fail where GNNZOO_REQUIRE_DATA=1 demands them."""
    for marker in item.iter_markers("data"):
        if (absent := _absent(marker.args)) is not None:
            reason, required = absent
            if required and os.environ.get("GNNZOO_REQUIRE_DATA") == "1":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)

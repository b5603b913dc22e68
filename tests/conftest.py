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


def _absent(names: tuple[str, ...]) -> str | None:
    """Return why real files of the named datasets cannot be read; None where they can."""
    folder = os.environ.get("GNNZOO_DATA")
    if not folder or not os.path.isdir(folder):
        return "GNNZOO_DATA names no folder of raw files"
    from gnnzoo.datasets.raw import RawFiles
    from gnnzoo.registry import DATASETS

    for name in names:
        card = DATASETS.card(name)
        files = RawFiles(card, root=folder)
        missing = [file for file in card.files if files.find(file) is None]
        if missing:
            return f"{folder} lacks {card.root}/{missing[0]}"
    return None


def pytest_runtest_setup(item):
    """``@pytest.mark.data("texas")``: skip without the files, fail where GNNZOO_REQUIRE_DATA=1 demands them."""
    for marker in item.iter_markers("data"):
        if (reason := _absent(marker.args)) is not None:
            if os.environ.get("GNNZOO_REQUIRE_DATA") == "1":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)

"""Every registered model goes through every generic check; nothing registered may escape."""

from pathlib import Path

import pytest
import torch

import gnnzoo.models
from gnnzoo.registry import MODELS
from gnnzoo.resources import config_dir
from gnnzoo.testing import model_checks, run_check
from gnnzoo.testing.golden import covered

GOLDEN = Path(__file__).parent / "golden"
CASES = [(model, check) for model in MODELS.names() for check in model_checks(model)]


@pytest.mark.parametrize(("model", "check"), CASES, ids=[f"{model}-{check}" for model, check in CASES])
def test_check(model: str, check: str) -> None:
    run_check(model, check)


def test_nothing_registered_is_untested() -> None:
    cards = {path.stem for path in (config_dir() / "models").glob("*.yaml")}
    assert cards
    assert cards <= {model for model, _ in CASES}


def test_every_model_file_has_a_card() -> None:
    folder = Path(gnnzoo.models.__file__).parent
    files = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    named = {MODELS.card(name).class_.split(".")[2] for name in MODELS.names()}
    assert files - {"__init__", "build"} <= named


@pytest.mark.parametrize("model", MODELS.names())
def test_a_model_with_authors_names_has_golden_cases(model: str) -> None:
    if hasattr(MODELS.get(model), "load_reference"):
        assert covered(model), f"gnnzoo/testing/golden has no replay of {model}"
        name = MODELS.card(model).golden or model
        assert (GOLDEN / f"{name}.pt").exists(), f"tests/golden has no cases of {model}"


@pytest.mark.parametrize("model", MODELS.names())
def test_class_is_importable_from_models(model: str) -> None:
    cls = MODELS.get(model)
    assert issubclass(cls, torch.nn.Module)
    assert getattr(gnnzoo.models, cls.__name__) is cls
    assert cls.__name__ in dir(gnnzoo.models)


def test_unknown_class_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'NoSuchModel'"):
        _ = gnnzoo.models.NoSuchModel

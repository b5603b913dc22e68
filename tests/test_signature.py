"""A constructor's signature is its schema."""

import inspect
from typing import Any, Literal

import pytest

from gnnzoo.errors import ConfigError
from gnnzoo.signature import parameters, validate
from gnnzoo.types import Dropout, NonNegativeInt, PositiveFloat, PositiveInt, Probability


class Model:
    """A model.

    Args:
        in_channels: width.
        hidden_channels (int, optional): width of the
            hidden layers: all of them.
        dropout: share of zeros.

    Shapes:
        - **input:** none
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: PositiveInt = 64,
        dropout: Dropout = 0.5,
        kind: Literal["diag", "bundle"] = "diag",
        bias: bool = True,
        rate: PositiveFloat | None = None,
        share: Probability = 1.0,
        hops: NonNegativeInt = 0,
        widths: tuple[int, ...] = (1, 2),
        noise: Dropout | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Build it.

        Args:
            kind: of map.
        """


def check(**values: Any) -> dict[str, Any]:
    return validate(Model, values, "model")


def fails(match: str, **values: Any) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        check(**values)
    assert "\n" not in str(caught.value)


def test_parameters_and_their_docs() -> None:
    found = parameters(Model)
    names = ["in_channels", "hidden_channels", "dropout", "kind", "bias", "rate", "share", "hops", "widths", "noise"]
    assert list(found) == names
    assert found["in_channels"].required
    assert found["in_channels"].default is inspect.Parameter.empty
    assert found["hidden_channels"].doc == "width of the hidden layers: all of them."
    assert found["dropout"].doc == "share of zeros."
    assert found["kind"].doc == "of map."
    assert found["bias"].doc == ""
    assert list(parameters(Model, ("in_channels", "dropout")))[:2] == ["hidden_channels", "kind"]


def test_types_in_words() -> None:
    words = {name: p.type_name for name, p in parameters(Model).items()}
    assert words["in_channels"] == "int"
    assert words["hidden_channels"] == "int > 0"
    assert words["dropout"] == "float >= 0, < 1"
    assert words["kind"] == "diag | bundle"
    assert words["rate"] == "float > 0 | none"
    assert words["widths"] == "tuple[int, ...]"


def test_defaults_are_filled_in_and_values_converted() -> None:
    found = check(hidden_channels=8, dropout=0, widths=[3, 4])
    assert found["hidden_channels"] == 8
    assert found["dropout"] == 0.0
    assert isinstance(found["dropout"], float)
    assert found["widths"] == (3, 4)
    assert found["kind"] == "diag"
    assert "in_channels" not in found


def test_unknown_keys() -> None:
    fails(r"unknown key model\.hiden_channels; did you mean 'hidden_channels'", hiden_channels=3)
    fails(r"unknown key model\.in_channels", in_channels=3)
    fails(r"unknown key model\.kwargs", kwargs={})


def test_values_out_of_range() -> None:
    fails(r"model\.hidden_channels=0: should be greater than 0", hidden_channels=0)
    fails(r"model\.dropout=1\.0: should be less than 1", dropout=1.0)
    fails(r"model\.dropout=-0\.1: should be greater than or equal to 0", dropout=-0.1)
    fails(r"model\.dropout=nan", dropout=float("nan"))
    fails(r"model\.rate=0", rate=0)
    fails(r"model\.share=1\.5", share=1.5)
    fails(r"model\.hops=-1", hops=-1)


def test_values_of_the_wrong_type() -> None:
    fails(r"model\.hidden_channels='many': should be a valid integer", hidden_channels="many")
    fails(r"model\.hidden_channels=2\.5", hidden_channels=2.5)
    fails(r"model\.hidden_channels=None", hidden_channels=None)
    fails(r"model\.hidden_channels=\[3\]", hidden_channels=[3])
    fails(r"model\.kind='general': should be 'diag' or 'bundle'", kind="general")
    fails(r"model\.bias='perhaps'", bias="perhaps")


def test_a_truth_value_is_no_number() -> None:
    fails(r"model\.hidden_channels=True", hidden_channels=True)
    fails(r"model\.dropout=False", dropout=False)
    fails(r"model\.noise=True: should be a number", noise=True)
    assert check(bias=False)["bias"] is False


def test_functions_have_signatures_too() -> None:
    def load(card: Any, homophily: Probability = 0.1) -> None:
        """Load.

        Args:
            homophily: share of edges within a class.
        """

    assert validate(load, {"homophily": 1}, "dataset", skip=("card",)) == {"homophily": 1.0}
    assert parameters(load)["homophily"].doc == "share of edges within a class."
    with pytest.raises(ConfigError, match=r"dataset\.homophily=2"):
        validate(load, {"homophily": 2}, "dataset", skip=("card",))

"""The generic checks notice what they are there for: each of these models breaks one rule."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnnzoo.errors import ConfigError, DataError, UnknownNameError
from gnnzoo.models.build import register_model
from gnnzoo.ops import spmm
from gnnzoo.registry import DATASETS, MODELS
from gnnzoo.testing import CHECKS, check_model, model_checks, run_check
from gnnzoo.types import Dropout, PositiveInt

PAPER = {"title": "A test", "authors": "Nobody", "year": 2000}
CARD: dict[str, Any] = {
    "equation": "y = W (x + A x)",
    "paper": PAPER,
    "tasks": ["node", "inductive-node"],
    "tiny": {"hidden_channels": 16},
    "search": {"model.dropout": {"choices": [0.0, 0.5]}},
}


class Good(nn.Module):
    """A model that keeps all rules (arXiv 0000.00000), :math:`y = W (x + A x)`.

    Args:
        in_channels: width of the features.
        out_channels: number of classes.
        hidden_channels: width of the hidden layer.
        dropout: share of features that are dropped.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``
        - **output:** ``[num_nodes, out_channels]``
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden_channels: PositiveInt = 8, dropout: Dropout = 0.5
    ) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(in_channels, hidden_channels), nn.Linear(hidden_channels, out_channels)
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.lin1.reset_parameters()
        self.lin2.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits."""
        h = self.lin1(self.dropout(x)).tanh()
        return self.lin2(h + spmm(edge_index, h))


class KeepsItsBias(Good):
    def reset_parameters(self) -> None:
        self.lin1.reset_parameters()
        nn.init.ones_(self.lin2.weight)


class IgnoresTheSeed(Good):
    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            nn.init.ones_(parameter)


class DropsInEvaluation(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5), edge_index)


class SeesNodeNumbers(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index) * torch.arange(1, len(x) + 1).unsqueeze(1)


class SeesEdgeOrder(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        weight = torch.linspace(0, 1, edge_index.size(1), dtype=x.dtype)
        return super().forward(x, edge_index) + self.lin2(spmm(edge_index, self.lin1(x), weight))


class SeesTheLayout(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index) * (1 if type(edge_index) is Tensor else 2)


class MixesGraphs(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index) + x.mean()


class HasAnUnusedParameter(Good):
    def __init__(
        self, in_channels: int, out_channels: int, hidden_channels: PositiveInt = 8, dropout: Dropout = 0.5
    ) -> None:
        super().__init__(in_channels, out_channels, hidden_channels, dropout)
        self.unused = nn.Parameter(torch.ones(2))


class TakesAnything(Good):
    def __init__(
        self, in_channels: int, out_channels: int, hidden_channels: int = 8, dropout: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(in_channels, out_channels, hidden_channels, dropout)


class HasNoDocs(Good):
    """A model without a word about its arguments."""

    def __init__(self, in_channels: int, out_channels: int, hidden_channels: int = 8, dropout: float = 0.5) -> None:
        super().__init__(in_channels, out_channels, hidden_channels, dropout)


class SavesTheGraph(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        self.register_buffer("adjacency", edge_index.clone())
        return super().forward(x, edge_index)


class ReturnsProbabilitiesOfOneClassLess(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index)[:, 1:]


class DividesByTheDegree(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        degree = torch.bincount(edge_index[0], minlength=len(x))
        return super().forward(x, edge_index) / degree.unsqueeze(1)


class NeedsAnEdge(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index) + edge_index.max() * 0


class SaysThatItNeedsAnEdge(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        if not edge_index.numel():
            raise DataError("the graph has no edges")
        return super().forward(x, edge_index)


class WrongGradient(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.lin1(x)
        return self.lin2(h + h.detach()) + 0 * super().forward(x, edge_index)


class CannotLearn(Good):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index) * 1e-3


class CannotBeCopied(Good):
    def __init__(
        self, in_channels: int, out_channels: int, hidden_channels: PositiveInt = 8, dropout: Dropout = 0.5
    ) -> None:
        super().__init__(in_channels, out_channels, hidden_channels, dropout)
        self.generator = (number for number in range(3))


class PrintsAVolume(Good):
    def extra_repr(self) -> str:
        return "\n".join(map(str, range(40)))


@pytest.fixture(autouse=True)
def forget_registered() -> Iterator[None]:
    yield
    MODELS._registered.clear()


def register(cls: type[nn.Module], **changes: Any) -> str:
    if cls.__doc__ is None:
        cls.__doc__ = Good.__doc__
    register_model("subject", **{"summary": "s", **CARD, **changes})(cls)
    return "subject"


def test_a_good_model_passes() -> None:
    check_model(register(Good))


@pytest.mark.parametrize(
    ("cls", "check", "complaint"),
    [
        (KeepsItsBias, "reset_parameters", "not reset"),
        (IgnoresTheSeed, "reset_parameters", "another seed gives the same"),
        (DropsInEvaluation, "deterministic", "evaluation differs"),
        (SeesNodeNumbers, "permutation", "relative difference"),
        (SeesEdgeOrder, "edge_order", "relative difference"),
        (SeesTheLayout, "edge_index", "EdgeIndex: relative difference"),
        (MixesGraphs, "batching", "relative difference"),
        (HasAnUnusedParameter, "gradients", "unused gets none"),
        (TakesAnything, "documented_arguments", "takes an argument that does not exist"),
        (HasNoDocs, "documented_arguments", "in_channels is not documented"),
        (HasNoDocs, "docstring", "no citation"),
        (SavesTheGraph, "state_dict", "changes what is saved"),
        (ReturnsProbabilitiesOfOneClassLess, "output", r"shape \(8, 2\), not \(8, 3\)"),
        (DividesByTheDegree, "degenerate_graphs", "not finite"),
        (NeedsAnEdge, "degenerate_graphs", "RuntimeError"),
        (WrongGradient, "derivative", "by autograd"),
        (CannotLearn, "overfits", "the loss falls from"),
        (CannotBeCopied, "copies", "TypeError"),
        (PrintsAVolume, "repr", "lines"),
    ],
)
def test_a_broken_model_is_caught(cls: type[nn.Module], check: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=f"^subject: {check}: .*{complaint}"):
        run_check(register(cls), check)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"paper": None}, "no paper"),
        ({"equation": ""}, "no equation"),
        ({"search": {}}, "no search space"),
        ({"search": {"model.depth": {"choices": [1]}}}, "unknown key search.model.depth"),
        ({"search": {"model.dropout": {"low": 0.0, "high": 1.0}}}, "search.model.dropout=1.0"),
        ({"search": {"lr": {"low": 0.1, "high": 1}}}, "starts with neither"),
        ({"tiny": {}}, "no tiny preset"),
        ({"tiny": {"hidden_channels": 0}}, "tiny.hidden_channels=0"),
        ({"defaults": {"model": {"hiden_channels": 3}}}, "did you mean 'hidden_channels'"),
        ({"datasets": {"texas": {"source": "s"}}}, "not dataset@protocol"),
        ({"datasets": {"texas@geom-gcn": {"source": ""}}}, "no source"),
        ({"datasets": {"texas@geom-gcn": {"source": "s", "model": {"dropout": 2}}}}, "dropout=2"),
        ({"published": {"texas@geom-gcn": {"metric": "acc", "mean": 1, "source": "s"}}}, "unknown metric"),
        ({"parameter_groups": ["learner"]}, "parameter groups are"),
    ],
)
def test_a_wrong_card_is_caught(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AssertionError, match=f"subject: card: .*{complaint}"):
        run_check(register(Good, **changes), "card")


@pytest.mark.parametrize(
    ("domain", "complaint"),
    [
        ({"values": [1]}, "unknown key"),
        ({"low": 1}, "either choices, or low and high"),
        ({"choices": []}, "one or more"),
    ],
)
def test_a_search_space_is_checked_when_the_card_is_read(domain: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=rf"card of model 'subject': search\.model\.dropout.*{complaint}"):
        register(Good, search={"model.dropout": domain})


def test_the_number_of_parameters_is_compared() -> None:
    sizes = DATASETS.card("texas")
    expected = (sizes.counts.features + 1) * 8 + 9 * sizes.num_outputs
    run_check(register(Good, parameters={"texas@geom-gcn": expected, "not-here-yet@x": 1}), "parameter_count")
    with pytest.raises(AssertionError, match=f"texas@geom-gcn: {expected}, not 7"):
        run_check(register(Good, parameters={"texas@geom-gcn": 7}), "parameter_count")


def test_an_error_that_says_what_is_wrong_is_fine() -> None:
    run_check(register(SaysThatItNeedsAnEdge), "degenerate_graphs")


def test_exceptions_turn_checks_off_and_must_be_needed() -> None:
    check_model(register(MixesGraphs, exceptions={"batching": "it mixes graphs"}))
    with pytest.raises(AssertionError, match="the exception from 'batching' is not needed"):
        check_model(register(Good, exceptions={"batching": "no reason"}))
    with pytest.raises(UnknownNameError, match=r"unknown check 'baching' in exceptions .*; did you mean 'batching'"):
        model_checks(register(Good, exceptions={"baching": "typo"}))


def test_all_failures_are_named() -> None:
    with pytest.raises(AssertionError, match=f"of {len(CHECKS)} checks fail") as caught:
        check_model(register(SeesNodeNumbers))
    text = str(caught.value)
    assert "subject: permutation:" in text
    assert "subject: batching:" in text


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown model"):
        check_model("no-such-model")
    with pytest.raises(UnknownNameError, match="unknown check 'permutations'; did you mean 'permutation'"):
        run_check("gcn", "permutations")


def test_checks_leave_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    run_check("mlp", "reset_parameters")
    assert torch.equal(torch.rand(3), expected)


class Lifted(Good):
    """A model with a ``pre_transform`` and no right to see labels."""

    @classmethod
    def pre_transform(cls, **hparams: Any) -> Any:
        assert hparams["hidden_channels"] == 16

        def transform(data: Data) -> Data:
            assert "y" not in data
            data.x = data.x * 2
            return data

        return transform


def test_pre_transforms_are_applied() -> None:
    run_check(register(Lifted), "permutation")
    run_check(register(Lifted), "output")


def test_a_combination_that_makes_no_sense_is_an_error_of_the_checks() -> None:
    class Picky(Good):
        def __init__(self, in_channels: int, out_channels: int, hidden_channels: int = 8) -> None:
            raise ConfigError("no such combination")

    with pytest.raises(AssertionError, match="ConfigError: no such combination"):
        run_check(register(Picky), "output")

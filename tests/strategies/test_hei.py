"""HEI: its statistic, its penalties against their definitions, what is learnt when, and whole runs on any model."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

import gnnzoo
from gnnzoo.datasets import Bundle, load_dataset
from gnnzoo.datasets.halves import by_homophily, node_homophily
from gnnzoo.errors import ConfigError, Interrupted
from gnnzoo.leaderboard import Record
from gnnzoo.runner import engine
from gnnzoo.runner.config import TrainConfig
from gnnzoo.runner.grid import Reporter
from gnnzoo.runner.planning import Cell
from gnnzoo.strategies.environments import neighbour_pattern
from gnnzoo.strategies.hei import HEI, EnvironmentNetwork, standardized
from gnnzoo.tasks import Batch, Task, create_task

DOUBLE = torch.double
ROWS, CLASSES = 12, 3


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Lookup(nn.Module):
    """A free logit for every node and class."""

    def __init__(self, num_nodes: int = ROWS, num_outputs: int = CLASSES) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(num_nodes, num_outputs, dtype=DOUBLE))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


class Run:
    seed = 0

    def train(self, role: str) -> Any:
        raise AssertionError("HEI has no teacher")


def multiclass() -> Task:
    return create_task("node", "multiclass", "accuracy")


def batch(target: str = "multiclass") -> Batch:
    """Return 12 nodes, 8 of them scored."""
    y = torch.arange(ROWS) % CLASSES
    y = (y % 2).double() if target == "binary" else y
    return Batch(Data(x=torch.zeros(ROWS, 1, dtype=DOUBLE), y=y), torch.arange(8))


def ready(target: str = "multiclass", **settings: Any) -> HEI:
    """Return a strategy for a :class:`Lookup`, with random environments."""
    strategy = HEI(**settings)
    strategy.model = Lookup(num_outputs=1 if target == "binary" else CLASSES)
    strategy.task = create_task("node", target, "accuracy" if target == "multiclass" else "roc_auc")
    strategy.prepare(torch.randn(ROWS, dtype=DOUBLE))
    return strategy


def probabilities(count: int = 4) -> Tensor:
    return (2 * torch.randn(8, count, dtype=DOUBLE)).softmax(dim=1)


# the statistic


def test_the_statistic_of_an_isolated_node_is_zero_and_equal_features_have_none() -> None:
    edges = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 0], [1, 2, 3, 0, 0, 1, 2, 3]])
    assert neighbour_pattern(torch.randn(5, 3), edges)[4] == 0
    z = neighbour_pattern(torch.ones(5, 3), edges)
    assert torch.equal(z, torch.zeros(5))
    assert torch.equal(standardized(z, torch.arange(4)), torch.zeros(5))


def test_standardized_is_by_training_nodes_and_guarded() -> None:
    z, train = torch.randn(9, dtype=DOUBLE), torch.tensor([1, 4, 5, 8])
    known = z[train]
    expected = (z - known.mean()) / ((known - known.mean()).square().sum() / 3).sqrt()
    torch.testing.assert_close(standardized(z, train), expected)
    assert torch.equal(standardized(z, train[:1]), torch.zeros(9, dtype=DOUBLE))  # one node has no deviation
    nearly = 3 + 1e-8 * torch.randn(9)  # what rounding leaves of equal values
    assert torch.equal(standardized(nearly, train), torch.zeros(9))


# the penalty


def derivative(strategy: HEI, logits: Tensor, data: Batch, envs: Tensor, log_softmax_first: bool) -> Tensor:
    """Return Σ_k (∂R_k/∂s)² by autograd, as it is defined."""
    scale = torch.ones((), dtype=DOUBLE, requires_grad=True)
    scored, y = data.select(logits), data.y
    if scored.size(1) == 1:
        scored, y = torch.cat([torch.zeros_like(scored), scored], dim=1), y.long()
    log_probs = scale * scored.log_softmax(1) if log_softmax_first else (scale * scored).log_softmax(1)
    size = envs.sum(0) if strategy.by_size else len(envs)
    risks = (envs * F.nll_loss(log_probs, y, reduction="none")[:, None]).sum(0) / size
    slopes = [torch.autograd.grad(risk, scale, create_graph=True)[0] for risk in risks]
    return torch.stack(slopes).square().sum()


@pytest.mark.parametrize("target", ["multiclass", "binary"])
@pytest.mark.parametrize("by_size", [False, True])
@pytest.mark.parametrize("penalty", ["official", "irmv1"])
def test_the_penalty_is_its_definition(target: str, by_size: bool, penalty: str) -> None:
    strategy, data, envs = ready(target, penalty=penalty, by_size=by_size), batch(target), probabilities()
    logits = strategy.model.logits  # type: ignore[attr-defined]
    found = strategy.penalty(logits, data, envs)
    expected = derivative(strategy, logits, data, envs, penalty == "official")
    torch.testing.assert_close(found, expected)
    grads = [torch.autograd.grad(value, logits)[0] for value in (found, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("by_size", [False, True])
def test_the_official_penalty_is_the_sum_of_squared_risks(by_size: bool) -> None:
    strategy, data, envs = ready(by_size=by_size), batch(), probabilities()
    logits = strategy.model.logits.detach()  # type: ignore[attr-defined]
    losses = F.cross_entropy(logits[:8], data.y, reduction="none")
    risks = [(envs[:, k] * losses).sum() / (envs[:, k].sum() if by_size else 8) for k in range(4)]
    torch.testing.assert_close(strategy.penalty(logits, data, envs), torch.stack(risks).square().sum())


def test_the_textbook_penalty_is_that_of_finite_differences() -> None:
    strategy, data, envs, step = ready(penalty="irmv1"), batch(), probabilities(), 1e-6
    logits = strategy.model.logits.detach()  # type: ignore[attr-defined]
    risks = [envs.t() @ F.cross_entropy(s * logits[:8], data.y, reduction="none") / 8 for s in (1 + step, 1 - step)]
    expected = ((risks[0] - risks[1]) / (2 * step)).square().sum()
    assert float(strategy.penalty(logits, data, envs)) == pytest.approx(float(expected), rel=1e-7)


@pytest.mark.parametrize("epoch", [1, 6])
@pytest.mark.parametrize("penalty", ["official", "irmv1"])
def test_a_constant_on_all_logits_of_a_node_changes_nothing(penalty: str, epoch: int) -> None:
    strategy, data = ready(penalty=penalty, weight_norm=0.0), batch()
    strategy.on_epoch(epoch)
    start = strategy.network.state_dict()
    before = {name: value.clone() for name, value in start.items()}
    loss, after = strategy.step(data), strategy.network.state_dict()
    first = {name: value.clone() for name, value in after.items()}
    strategy.network.load_state_dict(before)
    strategy.optimizer = torch.optim.Adam(strategy.network.parameters(), lr=strategy.env_lr, maximize=True)
    strategy.model.logits.data += torch.randn(ROWS, 1, dtype=DOUBLE)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(strategy.step(data), loss)
    for name, value in strategy.network.state_dict().items():
        torch.testing.assert_close(value, first[name])


@pytest.mark.parametrize("penalty", ["official", "irmv1"])
def test_one_environment_is_the_square_of_the_mean(penalty: str) -> None:
    strategy, data = ready(num_envs=1, penalty=penalty, anneal_epochs=1), batch()
    before = [p.clone() for p in strategy.network.parameters()]
    for epoch in (1, 2):
        strategy.on_epoch(epoch)
        loss = strategy.step(data)
        assert loss.isfinite()
    assert strategy.log()["env_entropy"] == 0
    assert all(torch.equal(a, b) for a, b in zip(before, strategy.network.parameters(), strict=True))
    if penalty == "official":
        mean = F.cross_entropy(strategy.model.logits[:8], data.y)  # type: ignore[index]
        assert strategy.log()["penalty"] == pytest.approx(float(mean.detach()) ** 2)


# the step


def test_the_loss_before_and_after_the_environments_are_learnt() -> None:
    strategy, data = ready(anneal_epochs=2, penalty_weight=50.0, weight_norm=0.1), batch()
    logits = strategy.model.logits  # type: ignore[attr-defined]
    plain = F.cross_entropy(logits[:8], data.y) + 0.1 * logits.square().sum()
    for epoch in (1, 2):
        strategy.on_epoch(epoch)
        torch.testing.assert_close(strategy.step(data), plain)
    strategy.on_epoch(3)
    penalty = strategy.penalty(logits, data, strategy.network(strategy.pattern[:8]))
    torch.testing.assert_close(strategy.step(data), (plain + 50 * penalty) / 51)
    strategy.penalty_weight = 0.5  # not divided
    torch.testing.assert_close(strategy.step(data), plain + 0.5 * penalty)
    no_annealing = ready(anneal_epochs=0)
    no_annealing.on_epoch(1)
    before = [p.clone() for p in no_annealing.network.parameters()]
    no_annealing.step(data)
    assert all(torch.equal(a, b) for a, b in zip(before, no_annealing.network.parameters(), strict=True))


def test_the_gradient_of_the_model_knows_nothing_of_the_ascent() -> None:
    strategy, data = ready(weight_norm=0.0), batch()
    strategy.on_epoch(1)
    strategy.step(data).backward()
    logits = strategy.model.logits  # type: ignore[attr-defined]
    (expected,) = torch.autograd.grad(F.cross_entropy(logits[:8], data.y), logits)
    torch.testing.assert_close(logits.grad, expected)


@pytest.mark.parametrize("settings", [{}, {"penalty": "irmv1"}, {"by_size": True}])
def test_a_small_step_of_the_environments_raises_the_penalty(settings: dict[str, Any]) -> None:
    strategy, data = ready(env_lr=1e-4, **settings), batch()
    logits = strategy.model.logits.detach()  # type: ignore[attr-defined]

    def penalty() -> float:
        return float(strategy.penalty(logits, data, strategy.network(strategy.pattern[:8])).detach())

    for _ in range(5):
        before = penalty()
        strategy.step(data)
        assert penalty() > before


def test_the_entropy_tells_one_environment_from_many() -> None:
    strategy, data = ready(), batch()
    for bias, expected in (([0.0] * 4, math.log(4)), ([100.0, 0.0, 0.0, 0.0], 0.0)):
        for parameter in strategy.network.parameters():
            nn.init.zeros_(parameter)
        strategy.network.lin2.bias.data = torch.tensor(bias, dtype=DOUBLE)
        strategy.on_epoch(9)
        strategy.step(data)
        assert strategy.log()["env_entropy"] == pytest.approx(expected, abs=1e-9)


def test_environments_are_probabilities_from_xavier_weights_and_no_biases() -> None:
    network = EnvironmentNetwork(1000, 5)
    torch.testing.assert_close(network(torch.randn(7)).sum(1), torch.ones(7))
    assert network.lin1.weight.std().item() == pytest.approx(math.sqrt(2 / 1001), rel=0.1)
    assert torch.equal(network.lin2.bias, torch.zeros(5))


# whole trainings


def prepared() -> tuple[Bundle, HEI]:
    bundle = load_dataset("knn-wine")
    return bundle.blind(bundle.splits[0]), HEI(anneal_epochs=3, env_lr=0.05)


def test_the_environments_stay_as_they_are_once_learnt() -> None:
    bundle, strategy = prepared()
    model, task, seen = gnnzoo.create_model("gcn", bundle.data, out_channels=3), multiclass(), []
    strategy.setup(model, bundle, task, Run())

    def note(epoch: int, row: dict[str, float]) -> None:
        seen.append([p.detach().clone() for p in strategy.network.parameters()])

    done = engine.fit(model, strategy, task, bundle, bundle.splits[0], TrainConfig(epochs=8), 0, None, note)
    same = [all(torch.equal(a, b) for a, b in zip(x, y, strict=True)) for x, y in pairwise(seen)]
    assert same == [False, False, True, True, True, True, True]
    assert all({"penalty", "env_entropy"} <= row.keys() for row in done.history)
    assert all(0 < row["env_entropy"] <= math.log(4) + 1e-6 for row in done.history)


def test_nodes_that_are_all_alike_are_said_to_be() -> None:
    bundle = load_dataset("karate")  # features number the nodes
    strategy = HEI(anneal_epochs=1)
    with pytest.warns(UserWarning, match="nodes of karate@.* there are no environments"):
        strategy.setup(Lookup(34, 4).float(), bundle.blind(bundle.splits[0]), multiclass(), Run())
    for epoch in (1, 2):
        strategy.on_epoch(epoch)
        loss = strategy.step(Batch(bundle.data, bundle.splits[0].train))
        assert loss.isfinite()
    assert strategy.log()["env_entropy"] == pytest.approx(math.log(4))


def test_environments_do_not_depend_on_labels() -> None:
    bundle, strategy = prepared()
    other = HEI()
    data = bundle.data.clone()
    data.y = torch.randint(0, 3, data.y.shape)
    for each, seen in ((strategy, bundle), (other, bundle.replace(data=data))):
        each.setup(Lookup(178, 3), seen, multiclass(), Run())
    assert torch.equal(strategy.pattern, other.pattern)


SETTINGS = {"train.epochs": 4, "strategy.anneal_epochs": 2, "strategy.env_lr": 0.05}


@pytest.mark.parametrize("model", ["gcn", "mlp", "linkx", "glognn", "sheaf", "gat", "appnp"])
def test_any_model_on_nodes(tmp_path: Path, model: str) -> None:
    card = gnnzoo.registry.MODELS.card(model)
    settings = SETTINGS | {f"model.{key}": value for key, value in card.tiny.items()}
    records = [
        gnnzoo.run(model, "knn-wine", strategy="hei", settings=settings, splits=[0], results=tmp_path / name).records[0]
        for name in "ab"
    ]
    assert records[0].key.strategy == "hei"
    assert records[0].result == records[1].result
    plain = gnnzoo.run(model, "knn-wine", settings={"train.epochs": 4}, splits=[0], results=tmp_path / "c").records[0]
    assert plain.result.parameters > 0
    assert plain.result.digest != records[0].result.digest


def test_one_logit_for_two_classes(tmp_path: Path) -> None:
    for penalty in ("official", "irmv1"):
        settings = SETTINGS | {"strategy.penalty": penalty}
        choices: dict[str, Any] = {"settings": settings, "splits": [0], "results": tmp_path}
        record = gnnzoo.run("mlp", "minesweeper-grid", strategy="hei", **choices).records[0]
        assert math.isfinite(record.result.val_loss)


class StopAt(Reporter):
    """Press Ctrl-C in an epoch."""

    def __init__(self, when: int) -> None:
        self.when = when

    def epoch(self, cell: Cell, epoch: int, row: Mapping[str, float]) -> None:
        if epoch == self.when:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("when", [2, 3, 5])  # while environments are learnt, at the change, afterwards
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path, when: int) -> None:
    def run(name: str, reporter: Reporter | None = None) -> Record:
        settings = {"train.epochs": 8, "strategy.anneal_epochs": 3, "strategy.env_lr": 0.1, "train.selection": "last"}
        choices: dict[str, Any] = {"settings": settings, "splits": [0], "results": tmp_path / name}
        return gnnzoo.run("gcn", "knn-wine", strategy="hei", reporter=reporter, **choices).records[0]

    with pytest.raises(Interrupted, match=f"stopped after epoch {when}"):
        run("a", StopAt(when))
    assert run("a").result == run("b").result


def test_what_it_is_not_for(tmp_path: Path) -> None:
    bundle, strategy = prepared()
    with pytest.raises(ConfigError, match="one class each; the target is multilabel"):
        strategy.setup(Lookup(), bundle, create_task("node", "multilabel", "micro_f1"), Run())
    data = bundle.data.clone()
    data.separate_rows = True
    with pytest.raises(ConfigError, match="mini-batches"):
        strategy.setup(Lookup(), bundle.replace(data=data), multiclass(), Run())
    data = bundle.data.clone()
    data.x = None
    with pytest.raises(ConfigError, match="one graph with x and edge_index"):
        strategy.setup(Lookup(), bundle.replace(data=data), multiclass(), Run())
    with pytest.raises(ConfigError, match="strategy hei works on a graph"):
        gnnzoo.run("hgnn", "hypergraph-wine", strategy="hei", results=tmp_path)
    with pytest.raises(ConfigError, match="strategy hei is for node tasks"):
        gnnzoo.run("gin", "spmotif", strategy="hei", results=tmp_path)
    with pytest.raises(ConfigError, match=r"strategy\.num_envs"):
        gnnzoo.run("gcn", "karate", strategy="hei", settings={"strategy.num_envs": 0}, results=tmp_path)


def test_the_halves_and_the_nodes_without_neighbours_are_the_test_set() -> None:
    bundle = load_dataset("csbm")
    data = bundle.data.clone()
    lonely = bundle.splits[0].test[:3]
    data.edge_index = data.edge_index[:, ~torch.isin(data.edge_index, lonely).any(0)]
    (split,) = by_homophily(data, bundle.splits[:1])
    share = node_homophily(data)[split.test]
    assert share.isnan().sum() >= 3
    together = torch.cat([split.extra["high"], split.extra["low"], split.test[share.isnan()]])
    assert torch.equal(together.sort().values, split.test)

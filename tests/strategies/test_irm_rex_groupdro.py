"""IRM, V-REx and group DRO: formulas, one environment, and whether they find what is invariant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

import gnnzoo
from gnnzoo import register_dataset
from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import Bundle, Split
from gnnzoo.datasets.synthetic import csbm_graph
from gnnzoo.errors import ConfigError, Interrupted
from gnnzoo.registry import STRATEGIES
from gnnzoo.runner import engine
from gnnzoo.runner.checkpoint import Checkpoint
from gnnzoo.runner.config import TrainConfig, resolve
from gnnzoo.runner.engine import fit, seed_everything
from gnnzoo.signature import validate
from gnnzoo.strategies import ERM, Strategy
from gnnzoo.strategies.environments import Part
from gnnzoo.strategies.groupdro import GroupDRO
from gnnzoo.strategies.irm import IRM, risks_and_slopes
from gnnzoo.strategies.rex import VREx
from gnnzoo.tasks import Batch, NodeTask, create_task

DOUBLE = torch.float64
NAMES = ("irm", "rex", "groupdro")
TARGETS = {
    "multiclass": ("accuracy", 3),
    "binary": ("roc_auc", 1),
    "multilabel": ("roc_auc", 2),
    "regression": ("rmse", 1),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def labels(target: str, rows: int, outputs: int) -> Tensor:
    if target == "multiclass":
        return torch.randint(0, outputs, (rows,))
    if target == "regression":
        return torch.randn(rows, outputs, dtype=DOUBLE)
    y = torch.randint(0, 2, (rows, outputs)).to(DOUBLE)
    if target == "multilabel":
        y[0, 1] = y[1] = float("nan")  # missing labels; a row without any
    return y


def slopes_by_hand(target: str, z: Tensor, y: Tensor) -> Tensor:
    """Return the derivative of the mean loss of s z by s, at 1."""
    if target == "multiclass":
        return (z.softmax(1) * z).sum(1).mean() - z.gather(1, y[:, None]).mean()
    known = ~y.isnan()
    z, y = z[known], y[known]
    return (2 * (z - y) * z).mean() if target == "regression" else ((z.sigmoid() - y) * z).mean()


# --- losses of rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("metric", [None, "mae"])
def test_losses_of_rows_have_the_loss_for_their_mean(target: str, metric: str | None) -> None:
    default, outputs = TARGETS[target]
    task = create_task("node", target, metric or default)
    y, output = labels(target, 9, outputs), torch.randn(9, outputs, dtype=DOUBLE, requires_grad=True)
    batch = Batch(Data(y=y), torch.tensor([0, 1, 2, 5, 7]))
    losses = task.losses(output, batch)
    assert losses.shape == (5,)
    torch.testing.assert_close(losses.mean(), task.loss(output, batch))
    for mean in (losses.mean(), task.loss(output, batch)):
        (grad,) = torch.autograd.grad(mean, output, retain_graph=True)
        assert grad.isfinite().all()
        assert torch.equal(grad[[3, 4, 6, 8]], torch.zeros(4, outputs, dtype=DOUBLE))
    if target == "multilabel":
        assert losses[1] == 0


def test_rows_without_any_label_teach_nothing() -> None:
    task = create_task("graph", "multilabel", "roc_auc")
    output = torch.randn(4, 2, requires_grad=True)
    losses = task.losses(output, Batch(Data(y=torch.full((4, 2), float("nan")))))
    assert torch.equal(losses, torch.zeros(4))
    assert torch.equal(torch.autograd.grad(losses.sum(), output)[0], torch.zeros(4, 2))


# --- penalties -------------------------------------------------------------------------------------------------------


def parts_of(target: str, sizes: tuple[int, ...] = (5, 8)) -> list[Part]:
    outputs = TARGETS[target][1]
    return [
        Part(i, torch.randn(n, outputs, dtype=DOUBLE, requires_grad=True), Batch(Data(y=labels(target, n, outputs))))
        for i, n in enumerate(sizes)
    ]


def made(name: str, target: str = "multiclass", **settings: Any) -> Any:
    """Return a strategy that has found two environments."""
    strategy = STRATEGIES.get(name)(**settings)
    strategy.task = create_task("node", target, TARGETS[target][0])
    strategy.environments = type("Two", (), {"count": 2})()
    return strategy


@pytest.mark.parametrize("target", TARGETS)
def test_the_slope_of_a_risk(target: str) -> None:
    task, parts = create_task("node", target, TARGETS[target][0]), parts_of(target)
    risks, slopes = risks_and_slopes(task, parts)
    torch.testing.assert_close(risks, torch.stack([task.loss(p.output, p.batch) for p in parts]))
    torch.testing.assert_close(slopes, torch.stack([slopes_by_hand(target, p.output, p.batch.y) for p in parts]))
    up, down = (risks_and_slopes(task, [p._replace(output=p.output * s) for p in parts])[0] for s in (1.0001, 0.9999))
    torch.testing.assert_close(slopes, (up - down) / 2e-4, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_gradients_of_irm_are_finite_differences(target: str, unbiased: bool) -> None:
    strategy, parts = made("irm", target, weight=3.0, anneal_epochs=0, unbiased=unbiased), parts_of(target, (6, 6))

    def loss(*outputs: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same halves
        return strategy.objective([p._replace(output=z) for p, z in zip(parts, outputs, strict=True)])

    assert torch.autograd.gradcheck(loss, [p.output for p in parts])


def test_irm_of_l1_losses_can_be_trained() -> None:
    strategy, parts = made("irm", "regression", anneal_epochs=0), parts_of("regression")
    strategy.task = create_task("node", "regression", "mae")
    strategy.objective(parts).backward()
    assert all(p.output.grad is not None and p.output.grad.isfinite().all() for p in parts)


def test_irm_is_the_mean_of_squared_slopes() -> None:
    strategy, parts = made("irm", weight=4.0, anneal_epochs=2), parts_of("multiclass")
    risks = torch.stack([F.cross_entropy(p.output, p.batch.y) for p in parts])
    penalty = torch.stack([slopes_by_hand("multiclass", p.output, p.batch.y) for p in parts]).square().mean()
    strategy.on_epoch(2)
    torch.testing.assert_close(strategy.objective(parts), risks.mean() + penalty)  # counts once at most
    strategy.on_epoch(3)
    torch.testing.assert_close(strategy.objective(parts), (risks.mean() + 4 * penalty) / 4)
    assert strategy.log() == pytest.approx({"penalty": penalty.item(), "worst_risk": risks.max().item()})
    strategy.weight = 0.5
    torch.testing.assert_close(strategy.objective(parts), risks.mean() + penalty / 2)
    strategy.weight = 0.0
    torch.testing.assert_close(strategy.objective(parts), risks.mean())
    strategy.on_epoch(4)
    assert strategy.log() == {}


def test_no_penalty_where_no_scale_is_better() -> None:
    parts = parts_of("regression")
    for p in parts:  # the best factor for each
        z, y = p.output.data, p.batch.y
        z *= (z * y).sum() / z.square().sum()
    assert made("irm", "regression").penalty(parts)[1] < 1e-25
    y = torch.tensor([0] * 7 + [1] * 2 + [2] * 3)
    calibrated = (torch.tensor([7.0, 2.0, 3.0], dtype=DOUBLE) / 12).log().expand(12, 3)
    risks, penalty = made("irm").penalty([Part(0, calibrated, Batch(Data(y=y)))])
    assert penalty < 1e-25
    assert risks[0] > 0.5
    assert made("irm").penalty([Part(0, 2 * calibrated, Batch(Data(y=y)))])[1] > 1e-3


def test_the_product_over_halves_is_unbiased() -> None:
    """Of 2000 rows with slopes of mean m: batches of 10 give m² + variance / 10 as a square, m² as a product."""
    z, y = torch.randn(2000, 3, dtype=DOUBLE), torch.randint(0, 3, (2000,))
    rows = (z.softmax(1) * z).sum(1) - z.gather(1, y[:, None]).squeeze(1)
    found = {}
    for unbiased in (False, True):
        strategy = made("irm", unbiased=unbiased)
        parts = [Part(0, z[i], Batch(Data(y=y[i]))) for i in torch.randperm(2000).split(10)]
        found[unbiased] = strategy.penalty(parts)[1].item()
    exact, noise = rows.mean().square().item(), rows.var().item() / 10
    assert found[False] == pytest.approx(exact + noise, rel=0.15)
    assert abs(found[True] - exact) < 0.5 * noise
    alone = [Part(0, z[:1], Batch(Data(y=y[:1])))]  # a row cannot be halved
    assert made("irm", unbiased=True).penalty(alone)[1] == 0


def test_rex_is_the_variance_of_risks() -> None:
    strategy, parts = made("rex", weight=5.0, anneal_epochs=0), parts_of("multiclass", (4, 6, 9))
    risks = torch.stack([F.cross_entropy(p.output, p.batch.y) for p in parts])
    torch.testing.assert_close(strategy.objective(parts), (risks.mean() + 5 * risks.var(correction=0)) / 5)
    equal = [parts[0], parts[0], parts[0]]
    assert strategy.penalty(equal)[1] == 0
    torch.testing.assert_close(strategy.objective(equal), risks[0] / 5)
    assert torch.autograd.gradcheck(
        lambda *zs: strategy.objective([p._replace(output=z) for p, z in zip(parts, zs, strict=True)]),
        [p.output for p in parts],
    )


# --- group DRO -------------------------------------------------------------------------------------------------------


def toy(name: str = "accuracy") -> tuple[Bundle, NodeTask]:
    data = csbm_graph(60, 3, 0.3, 4.0, 5, 1.0, seed=0)
    data.one, data.third = torch.zeros(60, dtype=torch.int64), torch.arange(60) % 3
    return as_bundle(data, Split(0, torch.arange(36), torch.arange(36, 60), torch.empty(0)), 3)


def as_bundle(data: Data, split: Split, outputs: int) -> tuple[Bundle, NodeTask]:
    card = {
        "name": "toy",
        "summary": "made for tests",
        "family": "tests",
        "loader": "none.none",
        "task": "node",
        "num_outputs": outputs,
        "counts": {"nodes": 1, "features": 1},
        "protocols": {"only": {"summary": "-", "splits": 1, "metric": "accuracy"}},
        "default_protocol": "only",
    }
    bundle = Bundle(DatasetCard.model_validate(card), "only", data, [split], "digest")
    return bundle, NodeTask("multiclass", "accuracy")


class Net(nn.Module):
    """Dropout and batch normalisation, so that random numbers and buffers matter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(self.norm(self.first(x)).relu(), 0.5, self.training))


def ready(**settings: Any) -> tuple[GroupDRO, Batch]:
    (bundle, task), strategy = toy(), GroupDRO(**settings)
    strategy.setup(Net(), bundle, task, None)  # type: ignore[arg-type]
    return strategy, Batch(bundle.data, bundle.splits[0].train)


def test_weights_of_groups_follow_the_rule() -> None:
    strategy, _ = ready(step_size=0.5, by="third")
    assert strategy.weights.tolist() == pytest.approx([1 / 3] * 3)
    parts, q = parts_of("multiclass", (4, 5, 6)), torch.full((3,), 1 / 3)
    risks = torch.stack([F.cross_entropy(p.output, p.batch.y) for p in parts]).float()
    for _ in range(5):
        q = q * (0.5 * risks).exp()
        q = q / q.sum()
        torch.testing.assert_close(strategy.objective(parts).float(), (q * risks).sum())
        torch.testing.assert_close(strategy.weights, q)
    assert strategy.weights.sum().item() == pytest.approx(1)
    assert strategy.weights.argmax() == risks.argmax()
    assert strategy.weights.max() > 1 / 3
    assert strategy.log()["worst_risk"] == pytest.approx(risks.max().item())


def test_groups_that_a_batch_lacks() -> None:
    strategy, _ = ready(step_size=0.5, by="third")
    parts = parts_of("multiclass", (4, 5, 6))[1:]
    risks = torch.stack([F.cross_entropy(p.output, p.batch.y) for p in parts]).float()
    q = torch.cat([torch.ones(1), (0.5 * risks).exp()])
    q = q / q.sum()
    torch.testing.assert_close(strategy.objective(parts).float(), (q[1:] * risks).sum())
    torch.testing.assert_close(strategy.weights, q)


def test_huge_risks_are_no_nan() -> None:
    strategy, _ = ready(step_size=1.0, by="third")
    parts = [p._replace(output=1e6 * p.output) for p in parts_of("multiclass", (4, 5, 6))]
    for _ in range(3):
        assert strategy.objective(parts).isfinite()
    assert strategy.weights.sum().item() == pytest.approx(1)


def test_small_groups_are_adjusted() -> None:
    strategy, _ = ready(adjustment=2.0, step_size=1.0, num_environments=2)
    strategy.sizes = torch.tensor([4.0, 16.0])
    (part,) = parts_of("multiclass", (6,))
    strategy.objective([part, part._replace(group=1)])
    expected = torch.tensor([2 / 4**0.5, 2 / 16**0.5]).softmax(0)
    torch.testing.assert_close(strategy.weights, expected)


def test_groups_are_environments_and_classes_that_there_are() -> None:
    strategy, batch = ready(groups="environment-class", by="third")
    batch.data.y[:36] = torch.where(batch.data.third == 0, 2, batch.data.y)[:36]
    strategy.setup(Net(), *toy_like(batch.data), None)  # type: ignore[arg-type]
    pairs = {(int(e), int(y)) for e, y in zip(batch.data.third[:36], batch.data.y[:36], strict=True)}
    assert len(strategy.weights) == len(pairs) < 9
    assert int(strategy.sizes.sum()) == 36
    assert len(set(zip(batch.data.third[:36].tolist(), strategy.groups(batch).tolist(), strict=True))) == len(pairs)
    assert strategy.step(batch).isfinite()


def toy_like(data: Data) -> tuple[Bundle, NodeTask]:
    return as_bundle(data, Split(0, torch.arange(36), torch.arange(36, 60), torch.empty(0)), 3)


# --- training --------------------------------------------------------------------------------------------------------


def trained(
    strategy: Strategy, folder: Path | None = None, stop_at: int | None = None, **train: Any
) -> tuple[nn.Module, Any]:
    bundle, task = toy()
    seed_everything(3)
    model = Net()
    strategy.setup(model, bundle, task, None)  # type: ignore[arg-type]
    seed_everything(3)
    config = TrainConfig(**{"epochs": 8, "lr": 0.05, "selection": "last", **train})
    rows: list[Any] = []
    before, engine.stop_requested = engine.stop_requested, lambda: len(rows) == stop_at  # type: ignore[assignment]
    try:
        checkpoint = Checkpoint(folder, every=1e9) if folder else None
        done = fit(
            model, strategy, task, bundle, bundle.splits[0], config, 3, checkpoint, lambda *row: rows.append(row)
        )
    finally:
        engine.stop_requested = before
    return model, done.history


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def losses_of(history: list[dict[str, float]]) -> list[float]:
    return [row["train_loss"] for row in history]


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_one_environment_is_plain_training_in_bits(name: str, unbiased: bool) -> None:
    settings = {"unbiased": True} if unbiased and name == "irm" else {}
    erm, history = trained(ERM())
    for how in ({"by": "one"}, {"num_environments": 1}):
        model, found = trained(STRATEGIES.get(name)(**how, **settings))
        if not settings:  # halves are drawn at random
            assert same(model, erm)
        assert losses_of(found)[0] == losses_of(history)[0]
    other, _ = trained(STRATEGIES.get(name)(by="third"))
    assert not same(other, erm)


@pytest.mark.parametrize("name", [*NAMES, "irm-unbiased"])
def test_resumed_training_is_bit_equal(tmp_path: Path, name: str) -> None:
    def strategy() -> Strategy:
        cls = STRATEGIES.get(name.split("-")[0])
        settings = {"step_size": 0.3} if cls is GroupDRO else {"anneal_epochs": 3, "weight": 7.0}
        return cls(by="third", **settings, **({"unbiased": True} if "-" in name else {}))

    straight, history = trained(strategy())
    for stop in (2, 3):
        with pytest.raises(Interrupted):
            trained(strategy(), tmp_path, stop)
    resumed, found = trained(strategy(), tmp_path)
    assert same(resumed, straight)
    assert found == history
    assert all(row["worst_risk"] > 0.1 for row in history)  # what is logged stands beside the losses


def flipped() -> tuple[Bundle, NodeTask]:
    """Return rows with two features, +1 or -1: the first is the class in 75 of 100 rows of both environments, the
    second in 90 of 100 rows of one and in 70 of the other; given the class they are independent. No noise.
    """
    x, y, env = [], [], []
    for environment, share in enumerate((0.9, 0.7)):
        for label in (0, 1):
            for first, p in ((1, 0.75), (-1, 0.25)):
                for second, q in ((1, share), (-1, 1 - share)):
                    number = round(200 * p * q)
                    sign = 2 * label - 1
                    x += [[sign * first, sign * second]] * number
                    y += [label] * number
                    env += [environment] * number
    data = Data(x=torch.tensor(x).float(), y=torch.tensor(y), edge_index=torch.empty(2, 0, dtype=torch.int64))
    data.env = torch.tensor(env)
    return as_bundle(data, Split(0, torch.arange(len(y)), torch.arange(4), torch.empty(0)), 2)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.1, 0.1]))

    def forward(self, x: Tensor) -> Tensor:
        logit = x @ self.weight
        return torch.stack([-logit, logit], dim=1) / 2


def spurious_share(strategy: Strategy) -> float:
    """Return the part of the second feature's weight in both, after training."""
    (bundle, task), model = flipped(), Linear()
    strategy.setup(model, bundle, task, None)  # type: ignore[arg-type]
    optimizer, batch = torch.optim.Adam(model.parameters(), lr=0.05), Batch(bundle.data, bundle.splits[0].train)
    for epoch in range(1, 251):
        if epoch == 101:  # its moments are those of another loss
            optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        strategy.on_epoch(epoch)
        optimizer.zero_grad()
        strategy.step(batch).backward()
        optimizer.step()
    size = model.weight.detach().abs()
    assert model.weight[0] > 0.1
    return float(size[1] / size.sum())


def test_a_feature_whose_meaning_changes_counts_less() -> None:
    erm = spurious_share(ERM())
    assert erm > 0.5  # the better feature on the whole
    assert spurious_share(IRM(weight=1e3, anneal_epochs=100, by="env")) < 0.1
    assert spurious_share(VREx(weight=1e3, anneal_epochs=100, by="env")) < 0.25
    assert spurious_share(GroupDRO(step_size=0.5, by="env")) < erm - 0.05


# --- runs ------------------------------------------------------------------------------------------------------------


def load_toy_sizes(card: Any, protocol: str, files: Any) -> tuple[list[Data], list[Split]]:
    graphs = []
    for i in range(48):
        graph = csbm_graph(8 + i % 12, 2, 0.3, 2.0, 3, 1.0, seed=i)
        graph.y, graph.domain = torch.tensor([i % 2]), torch.tensor([i % 3])
        graphs.append(graph)
    return graphs, [Split(0, torch.arange(32), torch.arange(32, 40), torch.arange(40, 48))]


@pytest.fixture(scope="module")
def toy_sizes() -> str:
    graphs, _ = load_toy_sizes(None, "", None)
    card = {
        "name": "toy-sizes",
        "summary": "graphs of several sizes",
        "family": "tests",
        "task": "graph",
        "num_outputs": 2,
        "counts": {
            "graphs": 48,
            "nodes": sum(g.num_nodes for g in graphs),
            "edges": sum(g.num_edges for g in graphs),
            "features": 3,
        },
        "protocols": {"only": {"summary": "-", "splits": 1, "metric": "accuracy"}},
        "default_protocol": "only",
    }
    register_dataset(card, load_toy_sizes)
    return "toy-sizes"


@pytest.mark.parametrize("by", [None, "density", "domain"])
@pytest.mark.parametrize("name", NAMES)
def test_runs_on_graphs(tmp_path: Path, toy_sizes: str, name: str, by: str | None) -> None:
    settings = {"train.epochs": 2, "train.batch_size": 10, "strategy.by": by, "model.hidden_channels": 4}
    done = gnnzoo.run("gin", toy_sizes, strategy=name, settings=settings, results=tmp_path)
    assert done.records[0].key.strategy == name


@pytest.mark.parametrize("model", ["gcn", "mlp"])
@pytest.mark.parametrize("name", NAMES)
def test_runs_on_nodes(tmp_path: Path, model: str, name: str) -> None:
    settings = {"train.epochs": 2, "dataset.num_nodes": 200, "model.hidden_channels": 4}
    done = gnnzoo.run(model, "csbm", strategy=name, splits=[0], settings=settings, results=tmp_path)
    assert done.records[0].result.epochs == 2


@pytest.mark.parametrize("name", NAMES)
def test_what_is_searched_is_possible(name: str) -> None:
    card = STRATEGIES.card(name)
    assert card.search
    validate(STRATEGIES.get(name), card.tiny, "strategy")
    for key, domain in card.search.items():
        for value in domain.ends:
            validate(STRATEGIES.get(name), {key.removeprefix("strategy."): value}, "strategy")


@pytest.mark.parametrize(
    ("strategy", "settings", "message"),
    [
        ("irm", {"strategy.weight": -1}, r"strategy.weight=-1"),
        ("rex", {"strategy.anneal_epochs": 1.5}, r"strategy.anneal_epochs=1.5"),
        ("groupdro", {"strategy.step_size": 0}, r"strategy.step_size=0"),
        ("groupdro", {"strategy.groups": "class"}, r"strategy.groups='?class"),
        ("irm", {"strategy.num_environments": 0}, r"strategy.num_environments=0"),
        ("irm", {"strategy.wieght": 1}, r"unknown key strategy.wieght; did you mean 'weight'\?"),
    ],
)
def test_impossible_settings_are_one_line(strategy: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolve("gcn", "csbm", strategy=strategy, layers=[("command line", settings)])
    assert "\n" not in str(caught.value)


def test_classes_are_needed_for_groups_of_classes() -> None:
    bundle, _ = toy()
    task = create_task("node", "regression", "rmse")
    with pytest.raises(ConfigError, match="environment-class needs one class for each row, not regression"):
        GroupDRO(groups="environment-class", by="third").setup(Net(), bundle, task, None)  # type: ignore[arg-type]

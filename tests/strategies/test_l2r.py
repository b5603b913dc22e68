"""L2R and StableNet: losses and gradients, clusters, queues, what the weights do, any model, whole trainings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch_geometric.data import Batch as Graphs
from torch_geometric.data import Data
from torch_geometric.nn import global_add_pool

import gnnzoo
from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import Bundle, Split
from gnnzoo.errors import ConfigError, Interrupted
from gnnzoo.models.gin import GIN
from gnnzoo.nn.decorrelation import (
    apart,
    cluster_dimensions,
    coded_decorrelation,
    coded_features,
    correlations,
    dissimilarity,
    paper_decorrelation,
    textbook_features,
)
from gnnzoo.registry import MODELS, STRATEGIES
from gnnzoo.runner import engine
from gnnzoo.runner.checkpoint import Checkpoint
from gnnzoo.runner.config import TrainConfig, resolve
from gnnzoo.runner.engine import Fit, fit, seed_everything
from gnnzoo.strategies import ERM, Strategy
from gnnzoo.strategies.l2r import LearningToReweight, represent, virtual_step, weight_gradient
from gnnzoo.tasks import Batch, GraphTask, forward
from gnnzoo.testing.checks import Subject

DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def all_pairs(channels: int) -> Tensor:
    return apart(torch.arange(channels), DOUBLE)


def noise(channels: int, features: int, textbook: bool = False) -> tuple[Tensor, Tensor]:
    w = torch.randn((channels, features) if textbook else (features,), dtype=DOUBLE)
    return w, torch.rand(channels, features, dtype=DOUBLE) * 2 * math.pi


# --- features and losses ---


@pytest.mark.parametrize("concatenate", [False, True])
def test_coded_features_are_scaled_sample_by_sample(concatenate: bool) -> None:
    x, (w, b) = torch.randn(5, 4, dtype=DOUBLE), noise(4, 3)
    found = coded_features(x, w, b, concatenate)
    assert found.shape == ((6 if concatenate else 3), 5, 4)
    for q in range(3):
        m = x * w[q] + b[:, q]
        m = (m - m.min(1, keepdim=True).values) / (m.max(1, keepdim=True).values - m.min(1, keepdim=True).values)
        cos, sin = (f(m * math.pi / 2) * math.sqrt(2 / 3) for f in (torch.cos, torch.sin))
        torch.testing.assert_close(found[q], cos if concatenate else cos + sin)
        if concatenate:
            torch.testing.assert_close(found[q + 3], sin)


def test_steps_of_a_loop_are_drawn_at_once() -> None:
    x = torch.randn(5, 4, dtype=DOUBLE)
    for function, textbook in ((coded_features, False), (textbook_features, True)):
        pairs = [noise(4, 3, textbook) for _ in range(2)]
        together = function(x, *(torch.stack(part) for part in zip(*pairs, strict=True)))
        torch.testing.assert_close(together, torch.stack([function(x, *pair) for pair in pairs]))


@pytest.mark.parametrize("channels", [1, 4])
def test_samples_without_a_span_have_features(channels: int) -> None:
    w, b = torch.ones(1, dtype=DOUBLE), torch.zeros(channels, 1, dtype=DOUBLE)
    u = coded_features(torch.ones(3, channels, dtype=DOUBLE), w, b)
    torch.testing.assert_close(u, torch.full_like(u, math.sqrt(2)))
    loss, grad = coded_decorrelation(u, torch.full((3,), 1 / 3, dtype=DOUBLE), all_pairs(channels))
    assert loss.abs() < 1e-20
    assert grad.isfinite().all()


def by_hand(u: Tensor, p: Tensor, cluster: Tensor) -> Tensor:
    total = p.new_zeros(())
    for features in u:
        mean = p @ features
        covariance = (features * p[:, None]).T @ features - torch.outer(mean, mean)
        total = total + (covariance.square() * (cluster[:, None] != cluster)).sum()
    return total


@pytest.mark.parametrize("cluster", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 2], [0] * 5])
def test_the_coded_loss_and_its_gradient(cluster: list[int]) -> None:
    u, logits = torch.randn(3, 8, 5, dtype=DOUBLE), torch.randn(8, dtype=DOUBLE, requires_grad=True)
    groups, p = torch.tensor(cluster), logits.softmax(0)
    expected = by_hand(u, p, groups)
    loss, grad = coded_decorrelation(u, p.detach(), apart(groups, DOUBLE))
    torch.testing.assert_close(loss, expected.detach())
    p = p.detach()
    (slope,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(p * (grad - p @ grad), slope)


def paper_by_hand(u: Tensor, v: Tensor, w: Tensor, cluster: Tensor) -> Tensor:
    count, total = u.size(1), w.new_zeros(())
    for i in range(u.size(2)):
        for j in range(i + 1, u.size(2)):
            if cluster[i] != cluster[j]:
                a, b = ((f[:, :, k] * w).T for f, k in ((u, i), (v, j)))
                total = total + ((a - a.mean(0)).T @ (b - b.mean(0)) / (count - 1)).square().sum()
    return total


@pytest.mark.parametrize("cluster", [[0, 1, 2, 3], [0, 0, 1, 2], [0] * 4])
def test_the_papers_loss_and_its_gradient(cluster: list[int]) -> None:
    u, v = torch.randn(2, 3, 7, 4, dtype=DOUBLE)
    w, groups = torch.rand(7, dtype=DOUBLE, requires_grad=True), torch.tensor(cluster)
    expected = paper_by_hand(u, v, w, groups) + 0 * w.sum()
    loss, grad = paper_decorrelation(u, v, w.detach(), apart(groups, DOUBLE))
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(grad, torch.autograd.grad(expected, w)[0])


def losses_of(x: Tensor, p: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], groups: Tensor) -> Any:
    pairs = apart(groups, DOUBLE)
    coded = coded_decorrelation(coded_features(x, first[0][0], first[1]), p, pairs)[0]
    u, v = (textbook_features(x, *pair) for pair in (first, second))
    return coded, paper_decorrelation(u, v, len(p) * p, pairs)[0]


def test_losses_do_not_know_in_which_order_samples_and_dimensions_come() -> None:
    x, p = torch.randn(9, 5, dtype=DOUBLE), torch.rand(9, dtype=DOUBLE).softmax(0)
    groups = torch.tensor([0, 1, 1, 2, 0])
    first, second = noise(5, 3, textbook=True), noise(5, 3, textbook=True)
    expected = losses_of(x, p, first, second, groups)
    rows = torch.randperm(9)
    torch.testing.assert_close(losses_of(x[rows], p[rows], first, second, groups), expected)
    # the coded loss also with its columns in any order; the paper's takes u of the first of two dimensions
    columns = torch.randperm(5)
    moved = coded_features(x[:, columns], first[0][0], first[1][columns])
    found = coded_decorrelation(moved, p, apart(groups[columns], DOUBLE))[0]
    torch.testing.assert_close(found, expected[0])
    back = torch.arange(4, -1, -1)
    u, v = (textbook_features(x[:, back], w[back], b[back]) for w, b in (first, second))
    found = paper_decorrelation(v, u, len(p) * p, apart(groups[back], DOUBLE))[0]
    torch.testing.assert_close(found, expected[1])


def test_one_cluster_asks_for_nothing_and_one_each_for_all_pairs() -> None:
    u, v = torch.randn(2, 3, 7, 4, dtype=DOUBLE)
    p = torch.rand(7, dtype=DOUBLE).softmax(0)
    for groups, expected in ((torch.zeros(4), 0.0), (torch.arange(4), None)):
        pairs = apart(groups, DOUBLE)
        loss, grad = coded_decorrelation(u, p, pairs)
        torch.testing.assert_close(loss, by_hand(u, p, torch.arange(4)) if expected is None else torch.zeros_like(loss))
        assert (grad.abs().max() == 0) == (expected == 0.0)
        loss = paper_decorrelation(u, v, 7 * p, pairs)[0]
        assert (loss == 0) == (expected == 0.0)


def test_independent_dimensions_lose_like_one_by_the_number_of_samples() -> None:
    first, second = noise(2, 5, textbook=True), noise(2, 5, textbook=True)

    def mean_loss(samples: int, dependent: bool) -> float:
        total = 0.0
        for _ in range(20):
            x = torch.randn(samples, 2, dtype=DOUBLE)
            x = x[:, :1].expand(-1, 2) if dependent else x
            u, v = textbook_features(x, *first), textbook_features(x, *second)
            total += float(paper_decorrelation(u, v, torch.ones(samples, dtype=DOUBLE), all_pairs(2))[0])
        return total

    assert 10 < mean_loss(100, False) / mean_loss(1600, False) < 25  # 16
    assert 0.8 < mean_loss(100, True) / mean_loss(1600, True) < 1.25


# --- clusters ---


def test_dissimilarity_is_small_where_a_correlation_is_stable() -> None:
    x = torch.randn(6, 200, 4, dtype=DOUBLE)
    x[..., 1] = x[..., 0] + 0.3 * x[..., 1]
    x[::2, :, 3] = x[::2, :, 2] + 0.3 * x[::2, :, 3]
    found = dissimilarity(correlations(x))
    assert found[0, 1] < 0.05 < 0.3 < found[2, 3]
    expected = torch.stack([torch.corrcoef(sample.T) for sample in x])
    torch.testing.assert_close(correlations(x), expected)
    torch.testing.assert_close(found, expected.std(0, correction=0))


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_constant_dimensions_and_absent_samples(dtype: torch.dtype) -> None:
    x = torch.randn(3, 7, 3, dtype=dtype)
    x[..., 1], x[0, 5:] = 0.1, 99.0
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[0, 5:] = False
    found = correlations(x, mask)
    assert (found[:, 1].abs().max(), found[..., 1].abs().max()) == (0, 0)
    torch.testing.assert_close(found[0], correlations(x[:1, :5])[0])


def test_clusters_hold_what_is_near() -> None:
    groups = torch.tensor([0, 1, 0, 2, 1, 2])
    distance = 1.0 - 0.9 * (groups[:, None] == groups).to(DOUBLE).fill_diagonal_(1 / 0.9)
    found = cluster_dimensions(distance, 3)
    assert torch.equal(found[:, None] == found, groups[:, None] == groups)
    assert len(cluster_dimensions(distance, 1).unique()) == 1
    assert torch.equal(cluster_dimensions(distance, 6), torch.arange(6))
    assert torch.equal(cluster_dimensions(distance[:1, :1], 8), torch.arange(1))


# --- the weights ---


def learner(**settings: Any) -> LearningToReweight:
    return LearningToReweight(**{"n_clusters": "all", **settings})


@pytest.mark.parametrize("loss", ["coded", "paper"])
@pytest.mark.parametrize("rff", ["coded", "textbook"])
def test_weights_are_positive_and_sum_to_one(loss: Any, rff: Any) -> None:
    x = 10 * torch.randn(12, 6)
    strategy = learner(loss=loss, rff=rff, num_f=2, lambdap=1e-6, num_queues=2)  # far beyond what is sensible
    for _ in range(3):
        raw = strategy.learn(x, strategy.draw(x))
        strategy.enqueue(x, raw)
        weights = raw.softmax(0)
        assert weights.isfinite().all()
        assert weights.min() >= 0
        torch.testing.assert_close(weights.sum(), torch.ones(()))
    assert weights.std() > 0


def test_without_decorrelation_weights_stay_equal() -> None:
    x = torch.randn(12, 6)
    strategy = learner()
    strategy.cluster = torch.zeros(6, dtype=torch.int64)
    assert torch.equal(strategy.learn(x, strategy.draw(x)), torch.ones(12))


@pytest.mark.parametrize(("loss", "lambdap"), [("coded", 0.1), ("paper", 1.0)])
def test_samples_that_make_the_correlation_lose_weight(loss: Any, lambdap: float) -> None:
    """Two dimensions are equal in one half of the samples and independent in the other."""
    x = torch.randn(64, 2, dtype=DOUBLE)
    x[:32, 1] = x[:32, 0]
    mass = 0.0
    for _ in range(10):
        strategy = learner(loss=loss, rff="textbook", num_f=5, lambdap=lambdap, presave_ratio=0.0)
        strategy.queue_features = torch.randn(1, 64, 2, dtype=DOUBLE)
        strategy.queue_weights = torch.ones(1, 64, dtype=DOUBLE)
        mass += float(strategy.learn(x, strategy.draw(x)).softmax(0)[:32].sum()) / 10
    assert mass < 0.43


def test_lambda_falls_and_the_first_epoch_has_a_factor() -> None:
    x = torch.randn(8, 5, dtype=DOUBLE)

    def after(epoch: int, **settings: Any) -> Tensor:
        torch.manual_seed(1)
        strategy = learner(lambdap=0.1, epochb=1, lrbl=0.1, **settings)
        strategy.epoch = epoch
        return strategy.learn(x, strategy.draw(x)) - 1

    torch.testing.assert_close(after(0, first_step_cons=3.0), 3 * after(1))
    falling = {"lambda_decay_rate": 0.5, "lambda_decay_epoch": 2, "min_lambda_times": 0.2}
    for epoch, times in ((1, 1), (2, 2), (5, 4), (40, 5)):
        torch.testing.assert_close(after(epoch, **falling), times * after(1))


def test_queues_take_turns_and_forget() -> None:
    strategy = learner(num_queues=2, queue_size=3, presave_ratio=0.5)
    batches = [torch.full((4, 2), float(value)) for value in range(1, 7)]
    for number, x in enumerate(batches):
        strategy.epoch, strategy.iteration = 0, number  # the first epoch takes means
        strategy.enqueue(x, x[:, 0])
    features, weights = strategy.queues(batches[0])
    assert (features.shape, weights.shape) == ((2, 3, 2), (2, 3))
    assert features[:, 0, 0].tolist() == pytest.approx([3, 4])
    assert weights[:, 2].tolist() == pytest.approx([3, 4])
    strategy.epoch, strategy.iteration = 1, 0
    strategy.enqueue(torch.full((2, 2), 9.0), torch.full((2,), 9.0))  # a smaller batch: the last row stays
    assert features[0, :, 0].tolist() == pytest.approx([6, 6, 3])
    assert features[1, :, 0].tolist() == pytest.approx([4, 4, 4])


# --- two levels ---


def test_the_gradient_of_the_unrolled_step_is_that_of_finite_differences() -> None:
    theta, w = torch.randn(4, 3, dtype=DOUBLE, requires_grad=True), torch.rand(6, dtype=DOUBLE)
    (x, y), (xv, yv) = ((torch.randn(n, 4, dtype=DOUBLE), torch.randint(3, (n,))) for n in (6, 5))
    losses = F.cross_entropy(x @ theta, y, reduction="none")

    def validation(w: Tensor) -> Tensor:
        (moved,) = virtual_step(w @ losses, [theta], 0.5)
        return F.cross_entropy(xv @ moved.requires_grad_(), yv)

    (moved,) = virtual_step(w @ losses, [theta], 0.5)
    moved.requires_grad_()
    direction = torch.autograd.grad(F.cross_entropy(xv @ moved, yv), [moved])
    found = weight_gradient(losses, [theta], direction, 0.5)
    for n, step in enumerate(1e-6 * torch.eye(6, dtype=DOUBLE)):
        slope = (validation(w + step) - validation(w - step)) / 2e-6
        assert found[n].item() == pytest.approx(slope.item(), rel=1e-6)


def toy_graphs(count: int = 40) -> list[Data]:
    """Return random graphs of two densities, with three features."""
    generator, graphs = torch.Generator().manual_seed(0), []
    for i in range(count):
        nodes = 6 + i % 5
        adjacency = torch.rand(nodes, nodes, generator=generator) < (0.2 if i % 2 else 0.5)
        edge_index = (adjacency | adjacency.T).fill_diagonal_(False).nonzero().T.contiguous()
        x = torch.randn(nodes, 3, generator=generator)
        graphs.append(Data(x=x, edge_index=edge_index, y=torch.tensor([i % 2])))
    return graphs


def toy_bundle(target: str = "multiclass") -> Bundle:
    graphs = toy_graphs()
    if target == "regression":
        for graph in graphs:
            graph.y = torch.tensor([[float(graph.num_edges)]])
    split = Split(0, torch.arange(24), torch.arange(24, 40), torch.empty(0, dtype=torch.int64))
    counts = {"graphs": 40, "nodes": sum(g.num_nodes for g in graphs), "features": 3}  # type: ignore[misc]
    card = {
        **{"name": "toy", "summary": "made for tests", "family": "tests", "loader": "none.none", "task": "graph"},
        **{"target": target, "num_outputs": 2 if target == "multiclass" else 1, "counts": counts},
        "protocols": {"only": {"summary": "-", "splits": 1, "metric": "accuracy" if target == "multiclass" else "mae"}},
        "default_protocol": "only",
    }
    return Bundle(DatasetCard.model_validate(card), "only", graphs, [split], "digest")  # type: ignore[arg-type]


class Seed:
    seed = 3

    def train(self, role: str) -> Any:
        raise AssertionError


def prepared(strategy: Strategy, model: nn.Module, target: str = "multiclass") -> tuple[Strategy, GraphTask, Bundle]:
    bundle = toy_bundle(target)
    task = GraphTask(target, bundle.metric)
    strategy.setup(model, bundle, task, Seed())
    return strategy, task, bundle


def test_a_models_unrolled_step_against_finite_differences() -> None:
    """... of the validation loss after a step on a weighted loss, taken by other means."""
    model = GIN(3, 2, 8, 2, dropout=0.0).double()
    strategy, task, bundle = prepared(learner(bilevel="unrolled", lookahead_lr=0.1), model)
    assert isinstance(strategy, LearningToReweight)
    for graph in bundle.graphs:
        graph.x = graph.x.double()
    batch = next(iter(task.loader(bundle, bundle.splits[0], "train", 6, 0)))
    known = strategy.next_validation(6)
    strategy.on_epoch(1)  # begins anew: the same graphs come again
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    graphs, nodes, found = strategy.look_ahead(batch, task.losses(forward(model, batch.data), batch))
    assert found is not None
    for name, buffer in model.named_buffers():  # the looks ahead leave no traces; the forward pass does, once
        if name.endswith("num_batches_tracked"):
            assert buffer == buffers[name] + 1
    names = [name for name, _ in model.named_parameters()]

    def validation(w: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        losses = task.losses(forward(model, batch.data), batch)
        grads = torch.autograd.grad(w @ losses, list(model.parameters()))
        moved = {n: p - 0.1 * g for (n, p), g in zip(model.named_parameters(), grads, strict=True)}
        out = functional_call(model, moved, (known.data.x, known.data.edge_index, known.data.batch))
        return task.loss(out, known), moved

    equal = torch.full((6,), 1 / 6, dtype=DOUBLE)
    for n, step in enumerate(1e-5 * torch.eye(6, dtype=DOUBLE)):
        slope = (validation(equal + step)[0] - validation(equal - step)[0]) / 2e-5
        assert found[n].item() == pytest.approx(slope.item(), rel=1e-4)
    moved = dict(zip(names, validation(equal)[1].values(), strict=True))
    hidden = list(functional_call(Layers(model), {f"gin.{k}": v for k, v in moved.items()}, (batch.data,)))[1:]
    assert nodes is not None
    torch.testing.assert_close(nodes, sum(hidden[1:], hidden[0]))
    torch.testing.assert_close(graphs, global_add_pool(nodes, batch.data.batch))


class Layers(nn.Module):
    def __init__(self, gin: GIN) -> None:
        super().__init__()
        self.gin = gin

    def forward(self, data: Any) -> list[Tensor]:
        return list(self.gin.layers(data.x, data.edge_index, data.batch))


# --- models ---


@pytest.mark.parametrize("name", MODELS.list(task="graph"))
def test_any_model_of_graphs_can_be_trained(name: str) -> None:
    subject = Subject.of(name)
    example = next(e for e in subject.examples() if e.per_graph)
    data, model = subject.data(example), subject.build(example).train()
    found = represent(model, data)
    assert found.graphs.shape[:1] == (4,)
    assert found.graphs.requires_grad
    assert found.nodes is None or found.nodes.shape == (data.num_nodes, found.graphs.size(1))
    data.y = torch.tensor([0, 1, 0, 1])
    strategy = LearningToReweight()
    strategy.model, strategy.task = model, GraphTask("multiclass", "accuracy")
    strategy.step(Batch(data)).backward()
    assert 0 < strategy.log()["effective_sample_size"] <= 1 + 1e-6
    assert not any(module._forward_pre_hooks for module in model.modules())  # nobody listens any more


def test_the_representation_of_a_linear_layer_on_nodes_is_their_mean() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(3, 2)

        def forward(self, x: Tensor, batch: Tensor) -> Tensor:
            return global_add_pool(self.lin(x), batch)

    data = Graphs.from_data_list(toy_graphs(3))
    found = represent(Net(), data)
    assert found.nodes is data.x
    torch.testing.assert_close(found.graphs[1], data.x[data.batch == 1].mean(0))


def test_a_model_without_a_representation_is_an_error() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 2))

        def forward(self, x: Tensor, batch: Tensor) -> Tensor:
            return global_add_pool(x @ self.weight, batch)

    with pytest.raises(ConfigError, match="strategy l2r needs a representation of graphs, which Net does not show"):
        represent(Net(), Graphs.from_data_list(toy_graphs(3)))


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_epochs_of_equal_weights_are_plain_training(target: str) -> None:
    model = GIN(3, 2 if target == "multiclass" else 1, 8, 2, dropout=0.0)
    strategy, task, bundle = prepared(learner(epochp=1), model, target)
    batch = next(iter(task.loader(bundle, bundle.splits[0], "train", 8, 0)))
    model.eval()
    expected = task.loss(forward(model, batch.data), batch)
    torch.testing.assert_close(strategy.step(batch), expected)
    assert strategy.log() == {"effective_sample_size": pytest.approx(1.0)}
    strategy.on_epoch(2)
    assert abs(strategy.step(batch) - expected) > 1e-6
    assert strategy.log()["effective_sample_size"] < 0.999


def test_no_gradient_reaches_the_representation_through_the_weights() -> None:
    model = GIN(3, 2, 8, 2, dropout=0.0).eval()
    strategy, task, bundle = prepared(learner(), model)
    assert isinstance(strategy, LearningToReweight)
    batch = next(iter(task.loader(bundle, bundle.splits[0], "train", 8, 0)))
    torch.manual_seed(1)
    found = torch.autograd.grad(strategy.step(batch), list(model.parameters()))
    torch.manual_seed(1)
    again, *_ = prepared(learner(), model)
    losses = task.losses(forward(model, batch.data), batch)
    assert isinstance(again, LearningToReweight)
    weights = again.weights(batch, represent(model, batch.data), losses)
    assert not weights.requires_grad
    for a, b in zip(found, torch.autograd.grad(weights @ losses, list(model.parameters())), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("nodes", [True, False])
def test_clusters_are_found_once_per_epoch(nodes: bool) -> None:
    strategy = LearningToReweight(n_clusters=3)
    graphs, batch = torch.randn(16, 6), torch.arange(64) // 4
    of_nodes = torch.randn(64, 6) if nodes else None
    strategy.find_clusters(graphs[:1], of_nodes if of_nodes is None else of_nodes[:4], batch[:4])
    assert strategy.cluster is None  # one environment is none
    strategy.find_clusters(graphs, of_nodes, batch)
    first = strategy.distance
    assert strategy.cluster is not None
    assert first is not None
    assert len(strategy.cluster.unique()) == 3
    if of_nodes is not None:
        expected = torch.stack([torch.corrcoef(x.T) for x in of_nodes.unflatten(0, (16, 4))])
        torch.testing.assert_close(first, expected.std(0, correction=0))
    strategy.find_clusters(2 + torch.randn(16, 6), None, batch)
    assert strategy.distance is first
    strategy.on_epoch(2)
    strategy.find_clusters(graphs, torch.randn(64, 6), batch)
    assert strategy.distance is not first
    assert (strategy.distance - first).abs().max() < 0.1  # type: ignore[operator]


# --- whole trainings ---


def train(strategy: Strategy, checkpoint: Checkpoint | None = None, stop_at: int = 0) -> tuple[Fit, nn.Module]:
    seed_everything(0)
    model = GIN(3, 2, 8, 2)
    strategy, task, bundle = prepared(strategy, model)
    epochs: list[int] = []
    before, engine.stop_requested = engine.stop_requested, lambda: len(epochs) == stop_at  # type: ignore[assignment]
    config = TrainConfig(epochs=6, lr=0.01, batch_size=10, selection="last")
    try:
        seed_everything(0)
        split = bundle.splits[0]
        return fit(
            *(model, strategy, task, bundle, split, config, 3, checkpoint), lambda epoch, row: epochs.append(epoch)
        ), model
    finally:
        engine.stop_requested = before


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_clusters": "all", "num_queues": 3, "num_f": 2, "concatenate": True, "epochp": 2},
        {"loss": "paper", "lambdap": 10.0, "bilevel": "first_order"},
        {"n_clusters": 3, "bilevel": "unrolled", "epochb": 5},
    ],
    ids=["default", "queues", "paper", "unrolled"],
)
def test_a_resumed_training_is_bit_equal(tmp_path: Path, settings: dict[str, Any]) -> None:
    straight, model = train(LearningToReweight(**settings))
    for stop in (1, 3):
        with pytest.raises(Interrupted):
            train(LearningToReweight(**settings), Checkpoint(tmp_path, every=1e9), stop)
    resumed, other = train(LearningToReweight(**settings), Checkpoint(tmp_path, every=1e9))
    assert resumed.history == straight.history
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_history_tells_the_effective_sample_size() -> None:
    plain, reweighted = train(ERM())[0].history, train(LearningToReweight())[0].history
    assert "effective_sample_size" not in plain[0]
    sizes = [row["effective_sample_size"] for row in reweighted]
    assert len(sizes) == 6
    assert 0.1 < min(sizes) <= max(sizes) < 0.999


def test_cards() -> None:
    assert resolve("l2r-gnn", "PROTEINS25").strategy == "l2r"
    shipped = resolve("gin", "PROTEINS25", strategy="l2r").sections["strategy"]
    assert shipped["n_clusters"] == 8
    stable = resolve("gin", "PROTEINS25", strategy="stablenet").sections["strategy"]
    assert (stable["n_clusters"], stable["bilevel"], stable["loss"]) == ("all", "none", "coded")
    assert {key for key in shipped if shipped[key] != stable[key]} == {"n_clusters"}
    assert STRATEGIES.get("stablenet") is LearningToReweight
    with pytest.raises(ConfigError, match="strategy"):
        resolve("gcn", "cora", strategy="l2r")
    with pytest.raises(ConfigError, match="n_clusters"):
        resolve("gin", "PROTEINS25", layers=[("test", {"strategy.n_clusters": 0})], strategy="l2r")


def test_models_keep_their_names() -> None:
    assert isinstance(gnnzoo.create_model("l2r-gnn", toy_graphs(), out_channels=2), GIN)

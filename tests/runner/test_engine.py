"""Every knob of ``train.*``, each on a case that is small enough to be worked out by other means."""

import copy
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import Bundle, Split
from gnnzoo.datasets.synthetic import csbm_graph
from gnnzoo.errors import Interrupted, StorageError
from gnnzoo.runner import engine
from gnnzoo.runner.checkpoint import Checkpoint
from gnnzoo.runner.config import TrainConfig
from gnnzoo.runner.engine import DivergedError, evaluate, fit, seed_everything
from gnnzoo.runner.optim import Lamb, Schedule, build_optimizer
from gnnzoo.strategies import ERM
from gnnzoo.tasks import NodeTask, forward

CLASSES, FEATURES = 3, 5


def node_bundle(metric="accuracy"):
    data = csbm_graph(48, CLASSES, 0.3, 4.0, FEATURES, 1.0, seed=0)
    split = Split(0, torch.arange(0, 24), torch.arange(24, 36), torch.empty(0, dtype=torch.long))
    card = {
        "name": "toy",
        "summary": "made for tests",
        "family": "tests",
        "loader": "none.none",
        "task": "node",
        "num_outputs": CLASSES,
        "counts": {"nodes": 48, "edges": 0, "features": FEATURES},
        "protocols": {"only": {"summary": "-", "splits": 1, "metric": metric}},
        "default_protocol": "only",
    }
    return Bundle(DatasetCard.model_validate(card), "only", data, [split], "digest")


class Net(nn.Module):
    """Dropout, so that random numbers matter; batch normalization, so that buffers do."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.last(F.dropout(self.norm(self.first(x)).relu(), 0.5, self.training))

    def parameter_groups(self):
        return {"head": list(self.last.parameters())}


class Script(NodeTask):
    """Validation losses and metrics by script, one per evaluation; training is what it is."""

    def __init__(self, losses=None, metrics=None, metric="accuracy"):
        super().__init__("multiclass", metric)
        self.losses, self.scores, self.seen = losses, metrics, 0

    def loss(self, output, batch):
        if torch.is_grad_enabled() or self.losses is None:
            return super().loss(output, batch)
        return torch.tensor(self.losses[self.seen], dtype=torch.float64)

    def metrics(self, outputs, y):
        self.seen += 1
        if self.scores is None:
            return super().metrics(outputs, y)
        return {self.metric: self.scores[self.seen - 1]}


class Trace:
    """A run of ``fit`` with a copy of the weights after every epoch."""

    def __init__(self, task=None, model=None, strategy=None, seed=0, checkpoint=None, stop_at=None, **train):
        config = TrainConfig(**{"epochs": 12, "lr": 0.05, "selection": "last", **train})
        self.bundle = node_bundle()
        self.task = task or NodeTask("multiclass", "accuracy")
        seed_everything(seed)
        self.model, self.strategy = model or Net(), strategy or ERM()
        self.strategy.setup(self.model, self.bundle, self.task, None)
        self.weights, self.fit = [], None

        def on_epoch(epoch, row):
            self.weights.append({k: v.clone() for k, v in self.model.state_dict().items()})

        before = engine.stop_requested
        engine.stop_requested = lambda: len(self.weights) == stop_at
        try:
            seed_everything(seed)
            self.fit = fit(
                *(self.model, self.strategy, self.task, self.bundle, self.bundle.splits[0], config, seed),
                *(checkpoint, on_epoch),
            )
        finally:
            engine.stop_requested = before

    def column(self, name):
        return [row[name] for row in self.fit.history]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# --- selection ---


def test_selection_by_loss_takes_the_first_of_the_best():
    losses = [3.0, 2.0, 1.0, 1.5, 1.0, 2.0]
    trace = Trace(Script(losses), epochs=6, selection="val_loss")
    assert (trace.fit.epoch, trace.fit.epochs) == (3, 6)
    assert same(trace.fit.states[0], trace.weights[2])
    assert trace.column("val_loss") == losses


def test_selection_by_metric_takes_the_first_of_the_best():
    trace = Trace(Script(metrics=[0.1, 0.5, 0.5, 0.4, 0.5, 0.2]), epochs=6, selection="val_metric")
    assert trace.fit.epoch == 2
    assert same(trace.fit.states[0], trace.weights[1])


def test_ties_of_the_metric_are_broken_by_the_loss():
    """Of epochs 2, 4 and 5 the fourth; epoch 3, whose loss is lowest of all, has a lower score."""
    task = Script([3.0, 2.0, 0.5, 1.0, 1.5, 1.0], [0.1, 0.5, 0.4, 0.5, 0.5, 0.5])
    trace = Trace(task, epochs=6, selection="val_metric", ties="loss")
    assert trace.fit.epoch == 4
    assert same(trace.fit.states[0], trace.weights[3])


class TwoF1(Script):
    """Micro- and macro-F1 by script."""

    def metrics(self, outputs, y):
        self.seen += 1
        return dict(zip(("micro_f1", "macro_f1"), self.scores[self.seen - 1], strict=True))


def test_selection_and_stopping_by_the_mean_of_micro_and_macro_f1():
    """Their means are 0.5, 0.6, 0.65, 0.55, 0.64: the third is best, where micro-F1 alone has the second."""
    scores = [(0.5, 0.5), (0.8, 0.4), (0.7, 0.6), (0.7, 0.4), (0.75, 0.53), (0.9, 0.9)]
    by_metric = {"epochs": 6, "selection": "val_metric", "stopping": "patience", "stop_monitor": "metric"}
    mean = Trace(TwoF1(metrics=scores, metric="micro_f1"), val_metric="mean_f1", patience=2, **by_metric)
    assert (mean.fit.epoch, mean.fit.epochs) == (3, 5)
    micro = Trace(TwoF1(metrics=scores, metric="micro_f1"), patience=2, **by_metric)
    assert (micro.fit.epoch, micro.fit.epochs) == (2, 4)


def test_selection_by_a_metric_that_should_be_low():
    trace = Trace(Script(metrics=[0.9, 0.3, 0.5, 0.3], metric="mae"), epochs=4, selection="val_metric")
    assert trace.fit.epoch == 2


def test_selection_of_the_last_epoch():
    trace = Trace(epochs=5, eval_every=3, selection="last")
    assert trace.fit.epoch == 5
    assert same(trace.fit.states[0], trace.weights[4])


def test_selection_of_the_mean_of_the_last():
    """Weights of the last evaluated epochs (4, 6, 8, 9), whose metrics are those in the history."""
    trace = Trace(epochs=9, eval_every=2, selection="mean_last", selection_window=4)
    evaluated = [row for row in trace.fit.history if "val_loss" in row]
    assert [row["epoch"] for row in evaluated] == [2, 4, 6, 8, 9]
    assert len(trace.fit.states) == 4
    for state, row in zip(trace.fit.states, evaluated[1:], strict=True):
        assert same(state, trace.weights[row["epoch"] - 1])
        trace.model.load_state_dict(state)
        batches = trace.task.loader(trace.bundle, trace.bundle.splits[0], "val", 1)
        assert evaluate(trace.task, trace.model, batches).loss == row["val_loss"]
    assert trace.fit.epoch == 9


def test_mean_of_more_than_there_were():
    assert len(Trace(epochs=2, selection="mean_last", selection_window=5).fit.states) == 2


def test_selection_sees_a_nan_as_no_loss():
    trace = Trace(Script([2.0, math.nan, 1.0, math.nan]), epochs=4, selection="val_loss")
    assert trace.fit.epoch == 3
    with pytest.raises(DivergedError, match="the validation loss was never a number"):
        Trace(Script([math.nan] * 3), epochs=3, selection="val_loss")


# --- stopping ---


def test_no_stopping():
    assert Trace(Script([1.0] + [2.0] * 29), epochs=30, stopping=None).fit.epochs == 30


def test_patience_on_the_loss():
    """Best in epoch 2; epochs 3, 4, 5 are no better (a tie is none), so the third of them is the last."""
    losses = [3.0, 1.0, 1.0, 1.5, 2.0, 0.5, 0.4]
    trace = Trace(Script(losses), epochs=7, stopping="patience", patience=3, stop_monitor="loss")
    assert trace.fit.epochs == 5
    assert Trace(Script(losses), epochs=7, stopping="patience", patience=4, stop_monitor="loss").fit.epochs == 7


def test_patience_on_the_metric():
    """The loss rises all the time, which does not matter."""
    script = Script([1.0, 2, 3, 4, 5, 6, 7], [0.1, 0.3, 0.2, 0.4, 0.4, 0.3, 0.9])
    assert Trace(script, epochs=7, stopping="patience", patience=2, stop_monitor="metric").fit.epochs == 6


def test_patience_counts_epochs_not_evaluations():
    losses = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]  # of epochs 2, 4, 6, ...
    trace = Trace(Script(losses), epochs=12, eval_every=2, stopping="patience", patience=4, stop_monitor="loss")
    assert trace.fit.epochs == 6


def window(losses, **knobs):
    """Return the number of epochs that run on these validation losses."""
    settings = {"epochs": len(losses), "stopping": "window", "stop_monitor": "loss", **knobs}
    return Trace(Script(losses), **settings).fit.epochs


def test_window_compares_with_the_mean_of_the_ones_before():
    """Epoch 6: the mean of 5, 4, 3 is 4, below 4.5. With the current loss in the mean (4, 3, 4.5) it would be 3.83."""
    losses = [9.0, 8.0, 5.0, 4.0, 3.0, 4.5, 0.0]
    assert window(losses, patience=3, stop_after=5) == 6
    assert window([9.0, 8.0, 5.0, 4.0, 3.0, 4.0, 0.0], patience=3, stop_after=5) == 7  # equal does not exceed


def test_window_does_not_stop_before_its_time():
    losses = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert window(losses, patience=2, stop_after=0) == 2
    assert window(losses, patience=2, stop_after=3) == 4
    assert window(losses, patience=2, stop_after=6) == 6


def test_windowed_rule_of_the_paper_that_has_it():
    """1000 epochs, none before 500: a loss that rises from the start still gives 501; and the window is 100 long."""
    rising = [float(i) for i in range(1000)]
    assert window(rising, patience=100, stop_after=500) == 501
    # ones, then a hundred of 0.5 in epochs 502 to 601, then 0.7: above the mean of the hundred before at once;
    # the mean of the two hundred before is 0.75 - 0.0015 j in epoch 602 + j, so j must be 34
    losses = [1.0] * 501 + [0.5] * 100 + [0.7] * 399
    assert window(losses, patience=100, stop_after=500) == 602
    assert window(losses, patience=200, stop_after=500) == 636


# --- evaluation ---


def test_evaluating_seldom_does_not_change_training():
    often, seldom = Trace(eval_every=1), Trace(eval_every=5)
    assert [row["epoch"] for row in seldom.fit.history if "val_loss" in row] == [5, 10, 12]
    assert all(same(a, b) for a, b in zip(often.weights, seldom.weights, strict=True))
    assert often.column("train_loss") == seldom.column("train_loss")


class Noisy(nn.Module):
    """Draws random numbers in evaluation, too."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(FEATURES, CLASSES)

    def forward(self, x):
        return self.lin(x + torch.randn_like(x))


def test_evaluation_averaged_over_draws():
    seed_everything(0)
    model, task, bundle = Noisy(), NodeTask("multiclass", "accuracy"), node_bundle()
    batches = list(task.loader(bundle, bundle.splits[0], "val", 1))
    found = evaluate(task, model, batches, draws=4)
    outputs, losses = [], []
    for draw in range(4):
        torch.manual_seed(draw)
        output = forward(model, bundle.data)[bundle.splits[0].val].detach()
        outputs.append(output)
        losses.append(F.cross_entropy(output, batches[0].y).item())
    assert torch.allclose(found.outputs, torch.stack(outputs).mean(0), atol=1e-6)
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert found.metrics == task.metrics(found.outputs, batches[0].y)
    assert not torch.equal(outputs[0], outputs[1])


def test_draws_do_not_disturb_training():
    torch.manual_seed(0)
    first = Noisy()
    second = copy.deepcopy(first)
    one, many = Trace(model=first, eval_draws=1), Trace(model=second, eval_draws=7)
    assert all(same(a, b) for a, b in zip(one.weights, many.weights, strict=True))
    assert one.column("val_loss") != many.column("val_loss")


def test_evaluation_leaves_the_mode_and_the_generator_alone():
    model, task, bundle = Net(), NodeTask("multiclass", "accuracy"), node_bundle()
    batches = task.loader(bundle, bundle.splits[0], "val", 1)
    state = torch.get_rng_state()
    for mode in (True, False):
        model.train(mode)
        evaluate(task, model, batches, draws=2)
        assert model.training is mode
        assert torch.equal(torch.get_rng_state(), state)


# --- learning rates ---


def series(epochs=12, train_losses=None, val_losses=None, **train):
    """Return the learning rate of every epoch."""
    config = TrainConfig(epochs=epochs, lr=0.1, **train)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule, rates = Schedule(optimizer, config), []
    for i in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step((train_losses or [0.0] * epochs)[i], (val_losses or [0.0] * epochs)[i])
    return rates


def test_constant_rate():
    assert series() == [0.1] * 12


def test_step_schedule():
    expected = [0.1 * 0.5 ** (epoch // 4) for epoch in range(12)]
    assert series(schedule="step", schedule_epochs=4, schedule_factor=0.5) == pytest.approx(expected)


def test_cosine_schedule():
    expected = [0.05 * (1 + math.cos(math.pi * epoch / 12)) for epoch in range(12)]
    assert series(schedule="cosine") == pytest.approx(expected)


def test_warm_up():
    assert series(warmup_epochs=4) == pytest.approx([0.02, 0.04, 0.06, 0.08] + [0.1] * 8)


def test_warm_up_then_cosine():
    expected = [0.02, 0.04, 0.06, 0.08] + [0.05 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]
    assert series(warmup_epochs=4, schedule="cosine") == pytest.approx(expected)


def test_warm_up_then_step():
    expected = [0.1 / 3, 0.2 / 3] + [0.1 * 0.1 ** (k // 5) for k in range(10)]
    assert series(warmup_epochs=2, schedule="step", schedule_epochs=5, schedule_factor=0.1) == pytest.approx(expected)


@pytest.mark.parametrize("monitor", ["val_loss", "train_loss"])
def test_plateau(monitor):
    """As PyTorch's own, on the loss that is asked for; the other one falls all the time."""
    losses = [5.0, 4.0, 4.0, 4.1, 4.2, 3.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5]
    falling = [float(-i) for i in range(12)]
    given = {"val_losses": losses, "train_losses": falling}
    if monitor == "train_loss":
        given = {"val_losses": falling, "train_losses": losses}
    knobs = {"schedule": "plateau", "schedule_epochs": 2, "schedule_factor": 0.1, "schedule_monitor": monitor}
    found = series(**given, **knobs)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    reference, expected = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=2), []
    for loss in losses:
        expected.append(optimizer.param_groups[0]["lr"])
        reference.step(loss)
    assert found == expected
    assert found == pytest.approx([0.1] * 5 + [0.01] * 4 + [0.001] * 3)


def test_plateau_waits_for_epochs_that_are_evaluated():
    losses = [1.0, None, None, 1.0, None, None, 1.0, None, None, 1.0, None, None]
    found = series(val_losses=losses, schedule="plateau", schedule_epochs=1, schedule_factor=0.1)
    assert found == pytest.approx([0.1] * 7 + [0.01] * 5)


def test_the_history_holds_the_rates_that_were_used():
    trace = Trace(schedule="step", schedule_epochs=3, schedule_factor=0.5, lr=0.08, epochs=7)
    assert trace.column("lr") == pytest.approx([0.08] * 3 + [0.04] * 3 + [0.02])


def test_training_ends_when_the_rate_is_low():
    knobs = {"schedule": "step", "schedule_epochs": 3, "schedule_factor": 0.5, "lr": 0.08, "stop_rate": 0.03}
    assert Trace(**knobs).column("lr") == pytest.approx([0.08] * 3 + [0.04] * 3)
    # the last epoch is one that was evaluated
    assert Trace(**knobs, eval_every=4).column("lr") == pytest.approx([0.08] * 3 + [0.04] * 3 + [0.02] * 2)


# --- optimisers ---


def test_training_is_the_plain_loop():
    """The engine's weights against ten lines of PyTorch."""
    trace = Trace(optimizer="adam", weight_decay=0.01)
    seed_everything(0)
    model, bundle = Net(), node_bundle()
    seed_everything(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=0.01)
    for expected, train_loss in zip(trace.weights, trace.column("train_loss"), strict=True):
        model.train()
        optimizer.zero_grad()
        train = bundle.splits[0].train
        loss = F.cross_entropy(model(bundle.data.x)[train], bundle.data.y[train])
        assert train_loss == pytest.approx(loss.item(), rel=1e-5)
        loss.backward()
        optimizer.step()
        for key, value in model.state_dict().items():
            assert torch.allclose(value, expected[key], atol=1e-5), key


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("lamb", Lamb)])
def test_optimizer_and_tagged_groups(name, kind):
    model, extra = Net(), nn.Parameter(torch.zeros(2))
    config = TrainConfig(optimizer=name, lr=0.1, weight_decay=0.2, groups={"head": {"weight_decay": 0.0, "lr": 0.3}})
    optimizer = build_optimizer(model, [extra], config)
    assert type(optimizer) is kind
    rest, head = optimizer.param_groups
    assert {id(p) for p in head["params"]} == {id(p) for p in model.last.parameters()}
    assert {id(p) for p in rest["params"]} == {
        id(p) for p in (*model.first.parameters(), *model.norm.parameters(), extra)
    }
    assert (rest["lr"], rest["weight_decay"], head["lr"], head["weight_decay"]) == (0.1, 0.2, 0.3, 0.0)


def test_a_group_takes_what_it_does_not_set_from_train():
    config = TrainConfig(lr=0.1, weight_decay=0.2, groups={"head": {"weight_decay": 0.5}})
    _, head = build_optimizer(Net(), [], config).param_groups
    assert (head["lr"], head["weight_decay"]) == (0.1, 0.5)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lamb"])
def test_eps_reaches_the_optimiser(optimizer):
    plain, set_ = (build_optimizer(Net(), [], TrainConfig(optimizer=optimizer, eps=eps)) for eps in (None, 1e-4))
    assert set_.param_groups[0]["eps"] == 1e-4
    assert plain.param_groups[0]["eps"] < 1e-4


def test_a_group_is_decayed_by_its_own_factor():
    """AdamW without gradients shrinks weights by 1 - lr * weight_decay, group by group."""
    model = Net()
    config = TrainConfig(optimizer="adamw", lr=0.1, weight_decay=0.5, groups={"head": {"lr": 0.2, "weight_decay": 0.1}})
    optimizer = build_optimizer(model, [], config)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        factor = 1 - 0.2 * 0.1 if name.startswith("last") else 1 - 0.1 * 0.5
        assert torch.allclose(p, factor * before[name]), name


def test_schedules_scale_every_group():
    config = TrainConfig(lr=0.1, groups={"head": {"lr": 0.4}}, schedule="step", schedule_epochs=1, schedule_factor=0.5)
    optimizer = build_optimizer(Net(), [], config)
    schedule = Schedule(optimizer, config)
    optimizer.step()
    schedule.step(0.0, 0.0)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.05, 0.2])


def test_lamb_by_hand():
    """Two steps of one scalar and of one vector, gradient norms below and above 1."""
    w = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = Lamb([w], lr=0.1, weight_decay=0.01)
    expected, m, v = np.array([3.0, 4.0]), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(([0.3, -0.4], [6.0, 8.0]), start=1):
        w.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        g = np.array(gradient)
        g = g / max(1.0, np.linalg.norm(g) + 1e-6)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        update = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-6) + 0.01 * expected
        expected = expected - 0.1 * np.linalg.norm(expected) / np.linalg.norm(update) * update
        assert w.detach().numpy() == pytest.approx(expected, rel=1e-9)


def test_lamb_trusts_where_a_norm_is_zero():
    zero, still = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))
    zero.grad, still.grad = torch.full((1,), 0.5), torch.zeros(1)
    Lamb([zero, still], lr=0.1).step()
    assert zero.item() == pytest.approx(-0.1, rel=1e-4)  # the plain Adam step: ratio 1
    assert still.item() == 1.0
    frozen = nn.Parameter(torch.ones(1))
    Lamb([frozen], lr=0.1, weight_decay=1.0).step()
    assert frozen.item() == 1.0  # no gradient, no step


def test_lamb_against_the_authors_trace():
    path = Path(os.environ.get("GNNZOO_GOLDEN", "")) / "equivariant-polynomials.pt"
    if not path.is_file():
        pytest.skip("GNNZOO_GOLDEN has no equivariant-polynomials.pt")
    cases = torch.load(path, weights_only=True)["cases"].values()
    (case,) = (c for c in cases if c["kind"] == "optimizer_trace")
    config, inputs = case["config"], case["inputs"]
    p, b = nn.Parameter(inputs["p0"].clone()), nn.Parameter(inputs["b0"].clone())
    optimizer = Lamb(
        [p, b],
        lr=config["lr"],
        betas=tuple(config["betas"]),
        eps=config["eps"],
        weight_decay=config["weight_decay"],
        max_grad_norm=config["max_grad_norm"],
    )
    for step in range(config["steps"] + 1):
        for name, value in (("p", p), ("b", b)):
            expected = case["outputs"][name][step]
            assert (value - expected).norm() <= case["tolerance"]["outputs"] * expected.norm(), (step, name)
        optimizer.zero_grad()
        (5 * (inputs["x"] @ p + b - inputs["target"]).abs().mean()).backward()
        optimizer.step()


class Scaled(ERM):
    """A loss that is large, by a factor."""

    def __init__(self, factor):
        self.factor, self.norms = factor, []

    def step(self, batch):
        return self.factor * super().step(batch)


def test_clipping_bounds_the_norm(monkeypatch):
    norms = []
    original = torch.optim.Adam.step

    def step(self, *args):
        norms.append(torch.cat([p.grad.flatten() for g in self.param_groups for p in g["params"]]).norm().item())
        return original(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    Trace(strategy=Scaled(1000.0), clip_norm=0.5)
    assert norms == pytest.approx([0.5] * 12, rel=1e-4)
    norms.clear()
    Trace(strategy=Scaled(1000.0))
    assert min(norms) > 1.0


class ByHand(ERM):
    """Adds the penalties that ``train.l1`` and ``train.l2`` stand for."""

    def step(self, batch):
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        penalty = 0.01 * sum(p.abs().sum() for p in trainable) + 0.02 * sum(p.pow(2).sum() for p in trainable)
        return super().step(batch) + penalty


def test_penalties_are_what_one_would_add_by_hand():
    by_hand, by_knob, none = Trace(strategy=ByHand()), Trace(l1=0.01, l2=0.02), Trace()
    assert by_knob.column("train_loss") == pytest.approx(by_hand.column("train_loss"), rel=1e-5)
    for key, value in by_knob.weights[-1].items():
        assert torch.allclose(value, by_hand.weights[-1][key], atol=1e-5), key
    assert by_knob.column("train_loss")[0] > none.column("train_loss")[0] + 0.1


def test_frozen_parameters_bear_no_penalty():
    seed_everything(0)
    model = Net()
    model.first.requires_grad_(False).weight.data.fill_(1000.0)
    assert Trace(model=model, l2=1.0, epochs=1).column("train_loss")[0] < 1000


# --- divergence ---


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_divergence_is_said_in_one_line(value):
    class Broken(ERM):
        calls = 0

        def step(self, batch):
            self.calls += 1
            return super().step(batch) * (value if self.calls == 4 else 1)

    with pytest.raises(DivergedError) as caught:
        Trace(strategy=Broken())
    assert str(caught.value) == f"training diverged: the loss is {value} in epoch 4; try a lower train.lr"


# --- resuming ---


class Restless(ERM):
    """Draws from every generator and keeps a state of its own."""

    def __init__(self):
        self.moving = torch.zeros(())
        self.extra = nn.Parameter(torch.ones(()))

    def on_epoch(self, epoch):
        self.level = random.random() + np.random.rand()

    def step(self, batch):
        loss = super().step(batch) * (1 + 0.1 * self.level * random.random()) * self.extra
        self.moving = 0.9 * self.moving + 0.1 * loss.detach()
        return loss + 0.1 * self.extra.square() + torch.rand(()) * self.moving

    def parameters(self):
        return [self.extra]

    def state_dict(self):
        return {"moving": self.moving, "extra": self.extra.detach()}

    def load_state_dict(self, state):
        self.moving = state["moving"]
        with torch.no_grad():
            self.extra.copy_(state["extra"])


MODES = {
    "plain": {},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "lamb": {"optimizer": "lamb", "weight_decay": 0.01},
    "step": {"schedule": "step", "schedule_epochs": 3, "schedule_factor": 0.5},
    "cosine": {"schedule": "cosine"},
    "warm-up": {"warmup_epochs": 8},
    "warm-up-cosine": {"warmup_epochs": 3, "schedule": "cosine"},
    "plateau-val": {"schedule": "plateau", "schedule_epochs": 1, "schedule_factor": 0.5, "lr": 0.5},
    "plateau-train": {
        "schedule": "plateau",
        "schedule_epochs": 1,
        "schedule_factor": 0.5,
        "schedule_monitor": "train_loss",
        "lr": 0.5,
    },
    "groups": {"groups": {"head": {"lr": 0.3, "weight_decay": 0.1}}, "schedule": "cosine"},
    "val_loss": {"selection": "val_loss"},
    "val_metric": {"selection": "val_metric"},
    "ties": {"selection": "val_metric", "ties": "loss"},
    "mean_last": {"selection": "mean_last", "selection_window": 4},
    "mean_last-seldom": {"selection": "mean_last", "selection_window": 3, "eval_every": 2},
    "patience": {"stopping": "patience", "patience": 3, "epochs": 60, "selection": "val_loss"},
    "window": {"stopping": "window", "patience": 4, "stop_after": 6, "epochs": 60, "selection": "val_loss"},
    "penalties": {"l1": 1e-3, "l2": 1e-3, "clip_norm": 0.5},
    "draws": {"eval_draws": 3},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("restless", [False, True], ids=["erm", "restless"])
def test_resumed_training_is_bit_equal(tmp_path, mode, restless):
    """Stopped after epochs 1 and 3 and two before the end; everything is as if it had never been stopped."""

    def train(stop_at=None, folder=None):
        checkpoint = Checkpoint(folder, every=1e9) if folder else None
        strategy = Restless() if restless else ERM()
        return Trace(strategy=strategy, seed=3, checkpoint=checkpoint, stop_at=stop_at, **MODES[mode])

    straight = train()
    end = torch.rand(3), random.random(), np.random.rand()
    stops = (1, 2, straight.fit.epochs - 5)
    for stop in stops:
        with pytest.raises(Interrupted, match="stopped after epoch"):
            train(stop, tmp_path)
    resumed = train(folder=tmp_path)
    assert len(resumed.weights) == straight.fit.epochs - sum(stops)
    assert resumed.fit.history == straight.fit.history
    assert (resumed.fit.epoch, resumed.fit.epochs) == (straight.fit.epoch, straight.fit.epochs)
    assert len(resumed.fit.states) == len(straight.fit.states)
    assert all(same(a, b) for a, b in zip(resumed.fit.states, straight.fit.states, strict=True))
    assert same(resumed.weights[-1], straight.weights[-1])
    assert (torch.equal(torch.rand(3), end[0]), random.random(), np.random.rand()) == (True, *end[1:])


def test_state_is_readable_without_running_code(tmp_path):
    with pytest.raises(Interrupted):
        Trace(strategy=Restless(), checkpoint=Checkpoint(tmp_path), stop_at=2, schedule="cosine", warmup_epochs=3)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert {"model", "strategy", "optimizer", "schedule", "selector", "stopper", "rng", "history"} <= state.keys()


def test_state_of_other_code_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        Trace(checkpoint=Checkpoint(tmp_path), stop_at=2)
    with pytest.raises(StorageError, match="remove the folder to start anew"):
        Trace(model=Noisy(), checkpoint=Checkpoint(tmp_path))


def test_time_is_summed_over_interruptions(tmp_path):
    with pytest.raises(Interrupted):
        Trace(checkpoint=Checkpoint(tmp_path), stop_at=5)
    saved = Checkpoint(tmp_path).load()
    resumed = Trace(checkpoint=Checkpoint(tmp_path))
    assert resumed.fit.seconds > saved["seconds"] > 0
    assert resumed.fit.cpu_seconds > saved["cpu_seconds"] > 0

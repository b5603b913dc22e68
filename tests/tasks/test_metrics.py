"""Metrics against scikit-learn, losses against their formulas, loaders, and how a model is called."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn
from torch.nn import functional as F
from torch_geometric.data import Data, HeteroData

from gnnzoo.cards import METRICS, DatasetCard
from gnnzoo.datasets import Bundle, HypergraphData, Split, ogb
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.registry import DATASETS
from gnnzoo.tasks import TASKS, Batch, create_task, forward, score
from gnnzoo.tasks.base import collect

ROWS = 60


@pytest.fixture
def multiclass():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, 4, generator=generator), torch.randint(4, (ROWS,), generator=generator)


@pytest.fixture
def multilabel():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(ROWS, 3, generator=generator), torch.randint(2, (ROWS, 3), generator=generator).float()


@pytest.fixture
def regression():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(ROWS, 2, generator=generator), torch.randn(ROWS, 2, generator=generator)


# --- metrics ---


def test_multiclass_metrics(multiclass):
    outputs, y = multiclass
    predicted = outputs.argmax(1)
    assert score("accuracy", outputs, y, "multiclass") == sk.accuracy_score(y, predicted)
    for average in ("micro", "macro"):
        expected = sk.f1_score(y, predicted, average=average)
        assert score(f"{average}_f1", outputs, y, "multiclass") == expected
    assert 0.1 < score("accuracy", outputs, y, "multiclass") < 0.5
    assert score("accuracy", F.one_hot(y, 4).float(), y, "multiclass") == 1.0


def test_macro_f1_of_a_class_that_nobody_predicts():
    outputs, y = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([0, 2, 1])
    assert score("macro_f1", outputs, y, "multiclass") == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_multilabel_metrics(multilabel):
    outputs, y = multilabel
    predicted = (outputs > 0).int()
    assert score("accuracy", outputs, y, "multilabel") == pytest.approx((predicted == y).float().mean().item())
    for average in ("micro", "macro"):
        assert score(f"{average}_f1", outputs, y, "multilabel") == sk.f1_score(y, predicted, average=average)
    expected = np.mean([sk.roc_auc_score(y[:, i], outputs[:, i]) for i in range(3)])
    assert score("roc_auc", outputs, y, "multilabel") == pytest.approx(expected)


def test_binary_metrics(multilabel):
    outputs, y = (part[:, :1] for part in multilabel)
    assert score("roc_auc", outputs, y, "binary") == sk.roc_auc_score(y, outputs)
    assert score("accuracy", outputs, y, "binary") == sk.accuracy_score(y, outputs > 0)


def test_balanced_accuracy(multiclass):
    """The mean recall of the classes: a rare class counts as much as a frequent one."""
    outputs, y = multiclass
    recalls = [(outputs[y == k].argmax(1) == k).float().mean() for k in range(4)]
    assert score("balanced_accuracy", outputs, y, "multiclass") == pytest.approx(float(sum(recalls)) / 4)

    y = (torch.arange(ROWS) % 10 == 0).float()[:, None]
    for outputs, expected in ((torch.full_like(y, -1.0), 0.5), (2 * y - 1, 1.0)):
        assert score("balanced_accuracy", outputs, y, "binary") == expected
    outputs = torch.where(torch.arange(ROWS)[:, None] < ROWS // 2, 1.0, -1.0)  # half of each class is called positive
    assert score("balanced_accuracy", outputs, y, "binary") == 0.5
    assert score("accuracy", outputs, y, "binary") == 0.5
    outputs[9] = -1.0  # one negative more is recognized
    assert score("balanced_accuracy", outputs, y, "binary") == pytest.approx((28 / 54 + 1 / 2) / 2)
    outputs[5] = float("nan")  # says the negative class, as for the other metrics of predicted labels
    assert score("balanced_accuracy", outputs, y, "binary") == pytest.approx((29 / 54 + 1 / 2) / 2)


def test_regression_metrics(regression):
    outputs, y = regression
    assert score("mae", outputs, y, "regression") == pytest.approx(sk.mean_absolute_error(y, outputs))
    assert score("mae", outputs, y, "regression") == pytest.approx((outputs - y).abs().mean().item(), rel=1e-6)
    assert score("rmse", outputs, y, "regression") == pytest.approx(sk.root_mean_squared_error(y, outputs))
    assert score("rmse", outputs[:, :1], y[:, :1], "regression") == pytest.approx(
        math.sqrt(F.mse_loss(outputs[:, 0], y[:, 0]).item()), rel=1e-6
    )


def test_roc_auc_leaves_missing_labels_and_tasks_of_one_class_out(multilabel):
    outputs, y = multilabel
    y[::3, 0] = float("nan")
    y[:, 1] = 1.0
    y[5, 1] = float("nan")
    known = ~y[:, 0].isnan()
    expected = (sk.roc_auc_score(y[known, 0], outputs[known, 0]) + sk.roc_auc_score(y[:, 2], outputs[:, 2])) / 2
    assert score("roc_auc", outputs, y, "multilabel") == pytest.approx(expected)


def test_roc_auc_of_one_class_is_an_error(multilabel):
    outputs, _ = multilabel
    with pytest.raises(DataError, match="both classes"):
        score("roc_auc", outputs, torch.ones(ROWS, 3), "multilabel")


def test_average_precision(multilabel):
    outputs, y = multilabel
    assert score("average_precision", outputs[:, :1], y[:, :1], "binary") == sk.average_precision_score(
        y[:, 0], outputs[:, 0]
    )
    y[::3, 0], y[:, 1] = float("nan"), 1.0
    known = ~y[:, 0].isnan()
    parts = [sk.average_precision_score(y[rows, i], outputs[rows, i]) for rows, i in ((known, 0), (known | True, 2))]
    assert score("average_precision", outputs, y, "multilabel") == pytest.approx(np.mean(parts))


def test_nmse(regression):
    outputs, y = regression
    y = y * torch.tensor([1.0, 50.0])  # a target's unit plays no part
    expected = [((o - t) ** 2).mean() / ((t - t.mean()) ** 2).mean() for o, t in zip(outputs.T, y.T, strict=True)]
    assert score("nmse", outputs, y, "regression") == pytest.approx(np.mean(expected), rel=1e-5)
    assert score("nmse", y.mean(0).expand_as(y), y, "regression") == pytest.approx(1.0)
    assert score("nmse", y, y, "regression") == 0.0
    with pytest.raises(DataError, match="targets that vary"):
        score("nmse", outputs, torch.ones(ROWS, 2), "regression")


def test_missing_targets_are_left_out(regression):
    outputs, y = regression
    y[:20, 0] = float("nan")
    for metric, function in (("mae", sk.mean_absolute_error), ("rmse", sk.root_mean_squared_error)):
        expected = (function(y[20:, 0], outputs[20:, 0]) + function(y[:, 1], outputs[:, 1])) / 2
        assert score(metric, outputs, y, "regression") == pytest.approx(expected)
    with pytest.raises(DataError, match="none of the scored targets is known"):
        score("mae", outputs, torch.full((ROWS, 2), float("nan")), "regression")


@pytest.mark.parametrize("k", [20, 50])
def test_hits(k):
    generator = torch.Generator().manual_seed(3)
    outputs, y = torch.randn(300, 1, generator=generator), (torch.arange(300) < 100).float().unsqueeze(1)
    positive, negative = outputs[:100, 0].tolist(), outputs[100:, 0].tolist()
    expected = np.mean([sum(n >= p for n in negative) < k for p in positive])
    assert 0 < expected < 1
    assert score(f"hits@{k}", outputs, y, "binary") == expected
    shuffled = torch.randperm(300, generator=generator)
    assert score(f"hits@{k}", outputs[shuffled], y[shuffled], "binary") == expected
    assert score(f"hits@{k}", torch.zeros(300, 1), y, "binary") == 0.0  # a tie is no hit
    assert score(f"hits@{k}", outputs[: 100 + k - 1], y[: 100 + k - 1], "binary") == 1.0
    with pytest.raises(DataError, match="positive rows"):
        score(f"hits@{k}", outputs, torch.zeros(300, 1), "binary")


def test_outputs_that_are_no_numbers_have_no_score(regression, multilabel):
    for metric, target, (outputs, y) in (
        *((m, "multilabel", multilabel) for m in ("roc_auc", "average_precision")),
        *((m, "regression", regression) for m in ("mae", "rmse", "nmse")),
    ):
        for bad in (float("nan"), float("inf")):
            broken = outputs.clone()
            broken[4, 1] = bad
            assert math.isnan(score(metric, broken, y, target)), metric


def test_direction(regression, multilabel):
    """Of two predictions, one of them better, the direction names the better one."""
    for metric, meaning in METRICS.items():
        if metric == "separated":
            continue  # no score of predictions
        one_column = "@" in metric or metric == "balanced_accuracy"
        target = "regression" if not meaning.higher_is_better else "binary" if one_column else "multilabel"
        outputs, y = regression if target == "regression" else multilabel
        if target == "binary":
            outputs, y = outputs.reshape(-1, 1), y.reshape(-1, 1)  # enough negative rows for hits@50
        better = score(metric, y if target == "regression" else 10 * (2 * y - 1), y, target)
        worse = score(metric, outputs, y, target)
        assert (better > worse) == meaning.higher_is_better, metric


@pytest.mark.parametrize(
    ("metric", "target"),
    [
        *((m, "regression") for m in ("accuracy", "roc_auc", "micro_f1", "macro_f1", "average_precision", "hits@20")),
        *((m, t) for m in ("mae", "rmse", "nmse") for t in ("multiclass", "binary", "multilabel")),
        *((m, "multiclass") for m in ("roc_auc", "average_precision", "hits@50", "separated")),
        *(("hits@20", t) for t in ("multiclass", "multilabel")),
        *(("balanced_accuracy", t) for t in ("multilabel", "regression")),
        ("no_such_metric", "binary"),
    ],
)
def test_a_metric_that_does_not_fit_is_an_error(metric, target):
    with pytest.raises(ConfigError, match=f"metric {metric} does not fit {target}"):
        score(metric, torch.zeros(2, 2), torch.zeros(2, 2), target)


# --- OGB's Evaluator ---


@pytest.fixture
def tox21():
    generator = torch.Generator().manual_seed(4)
    y = torch.randint(2, (ROWS, 12), generator=generator).float()
    y[torch.rand(ROWS, 12, generator=generator) < 0.2] = float("nan")
    y[:, 7] = y[:, 7] * 0  # one class alone: left out of the mean
    return torch.randn(ROWS, 12, generator=generator), y


def test_ogb_scores_roc_auc_as_scikit_learn_does(tox21):
    outputs, y = tox21
    expected = score("roc_auc", outputs, y, "multilabel")
    columns = [i for i in range(12) if i != 7]
    known = [~y[:, i].isnan() for i in columns]
    by_hand = np.mean([sk.roc_auc_score(y[k, i], outputs[k, i]) for k, i in zip(known, columns, strict=True)])
    assert expected == pytest.approx(by_hand, rel=1e-12)
    assert score("roc_auc", outputs, y, "multilabel", "ogbg-moltox21") == pytest.approx(expected, rel=1e-12)


def test_ogb_scores_the_other_metrics_as_we_do(regression, multiclass):
    outputs, y = (part[:, :1] for part in regression)
    ours = score("rmse", outputs, y, "regression")
    assert ours == pytest.approx(sk.root_mean_squared_error(y, outputs))
    assert score("rmse", outputs, y, "regression", "ogbg-molesol") == pytest.approx(ours, rel=1e-6)

    outputs, y = multiclass
    ours = score("accuracy", outputs, y, "multiclass")
    assert score("accuracy", outputs, y, "multiclass", "ogbn-arxiv") == ours

    generator = torch.Generator().manual_seed(5)
    outputs, y = torch.randn(400, 1, generator=generator), torch.randint(2, (400, 1), generator=generator).float()
    for metric, name in (("hits@20", "ogbl-ddi"), ("hits@50", "ogbl-collab")):
        ours = score(metric, outputs, y, "binary")
        assert 0 < ours < 1
        assert score(metric, outputs, y, "binary", name) == ours

    outputs, y = torch.randn(50, 128, generator=generator), torch.randint(2, (50, 128), generator=generator).float()
    ours = score("average_precision", outputs, y, "multilabel")
    assert score("average_precision", outputs, y, "multilabel", "ogbg-molpcba") == pytest.approx(ours)


def test_it_is_ogb_that_scores(monkeypatch, tox21):
    outputs, y = tox21
    monkeypatch.setattr(type(ogb.evaluator("ogbg-moltox21")), "eval", lambda self, given: {"rocauc": 0.125})
    task = create_task("graph", "multilabel", "roc_auc", "ogbg-moltox21")
    assert task.metrics(outputs, y) == {"roc_auc": 0.125}
    assert create_task("graph", "multilabel", "roc_auc").metrics(outputs, y)["roc_auc"] != 0.125


def test_every_protocol_of_ogb_is_scored_by_ogb():
    cards = [DATASETS.card(name) for name in DATASETS.names()]
    named = {(card.name, p.evaluator, p.metric) for card in cards for p in card.protocols.values() if p.evaluator}
    assert {name for name, _, _ in named} == {card.name for card in cards if card.family == "ogb"}
    for name, evaluator, metric in named:
        card = DATASETS.card(name)
        outputs = torch.randn(200, card.num_outputs, generator=torch.Generator().manual_seed(6))
        y = (torch.arange(200).unsqueeze(1) + torch.arange(card.num_outputs)) % 2
        y = y[:, 0] if card.target == "multiclass" else y.float()
        found = create_task("graph", card.target, metric, evaluator).metrics(outputs, y)[metric]
        assert found == pytest.approx(score(metric, outputs, y, card.target), rel=1e-6)


def test_what_ogb_cannot_score(tox21):
    outputs, y = tox21
    with pytest.raises(ConfigError, match="OGB scores ogbg-moltox21 by roc_auc, not by average_precision"):
        score("average_precision", outputs, y, "multilabel", "ogbg-moltox21")
    with pytest.raises(ConfigError, match="OGB has no set 'ogbg-moltox22'"):
        score("roc_auc", outputs, y, "multilabel", "ogbg-moltox22")
    with pytest.raises(ConfigError, match="'moltox21' is no name of an OGB set"):
        score("roc_auc", outputs, y, "multilabel", "moltox21")
    with pytest.raises(DataError, match="OGB cannot score ogbg-moltox21: No positively labeled data"):
        score("roc_auc", outputs, torch.zeros(ROWS, 12), "multilabel", "ogbg-moltox21")
    with pytest.raises(DataError, match="should be 12 but 3 given"):
        score("roc_auc", outputs[:, :3], y[:, :3], "multilabel", "ogbg-moltox21")


# --- losses ---


def test_losses(multiclass, multilabel, regression):
    outputs, y = multiclass
    batch = Batch(Data(y=y), torch.tensor([3, 8, 20]))
    rows = [3, 8, 20]
    expected = -outputs.log_softmax(1)[rows, y[rows]].mean()
    assert torch.allclose(create_task("node", "multiclass", "accuracy").loss(outputs, batch), expected)

    outputs, y = multilabel
    p = outputs.sigmoid()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    assert torch.allclose(create_task("graph", "multilabel", "roc_auc").loss(outputs, Batch(Data(y=y))), expected)

    outputs, y = regression
    batch = Batch(Data(y=y))
    mae, rmse = (create_task("graph", "regression", metric).loss(outputs, batch) for metric in ("mae", "rmse"))
    assert torch.allclose(mae, (outputs - y).abs().mean())
    assert torch.allclose(rmse, (outputs - y).square().mean())


def test_missing_labels_do_not_enter_the_loss(multilabel):
    outputs, y = multilabel
    y[::2] = float("nan")
    found = create_task("graph", "multilabel", "roc_auc").loss(outputs, Batch(Data(y=y)))
    assert torch.allclose(found, F.binary_cross_entropy_with_logits(outputs[1::2], y[1::2]))


@pytest.mark.parametrize("metric", ["mae", "rmse", "nmse"])
def test_missing_targets_do_not_enter_the_loss(regression, metric):
    outputs, y = regression
    y[::2] = float("nan")
    found = create_task("graph", "regression", metric).loss(outputs, Batch(Data(y=y)))
    assert torch.allclose(found, (F.l1_loss if metric == "mae" else F.mse_loss)(outputs[1::2], y[1::2]))


@pytest.mark.parametrize(("target", "metric"), [("multilabel", "roc_auc"), ("regression", "mae")])
def test_a_batch_without_a_label_teaches_nothing(regression, target, metric):
    outputs = regression[0].requires_grad_()
    loss = create_task("graph", target, metric).loss(outputs, Batch(Data(y=torch.full((ROWS, 2), float("nan")))))
    loss.backward()
    assert loss.item() == 0.0
    assert not outputs.grad.any()


def test_one_column_of_targets_may_be_flat(regression, multilabel):
    """``[num_rows]`` against ``[num_rows, 1]`` must never broadcast to a square."""
    for task, (outputs, y) in (
        (create_task("graph", "regression", "mae"), regression),
        (create_task("graph", "binary", "roc_auc"), multilabel),
    ):
        column, flat = Batch(Data(y=y[:, :1])), Batch(Data(y=y[:, 0]))
        assert torch.equal(task.loss(outputs[:, :1], flat), task.loss(outputs[:, :1], column))
        assert task.metrics(outputs[:, :1], flat.y) == task.metrics(outputs[:, :1], column.y)


# --- loaders ---


def bundle_of(task, graphs, splits):
    card = DatasetCard.model_validate(
        {
            "name": "toy",
            "summary": "made for tests",
            "family": "tests",
            "loader": "none.none",
            "task": task,
            "num_outputs": 2,
            "counts": {"nodes": 1, "edges": 0, "features": 2},
            "protocols": {"only": {"summary": "-", "splits": 1, "metric": "accuracy"}},
            "default_protocol": "only",
        }
    )
    return Bundle(card, "only", graphs, splits, "digest")


@pytest.fixture
def many():
    graphs = [
        Data(x=torch.full((3 + i % 4, 2), float(i)), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.tensor([i % 2]))
        for i in range(20)
    ]
    split = Split(0, torch.arange(0, 12), torch.arange(12, 16), torch.arange(16, 20))
    return bundle_of("graph", graphs, [split]), split


def order(batches):
    return [data.x[0, 0].item() for batch in batches for data in batch.data.to_data_list()]


@pytest.mark.parametrize("name", ["graph", "inductive-node"])
def test_mini_batches_are_shuffled_by_the_seed_alone(many, name):
    bundle, split = many
    task = create_task(name, "multiclass", "accuracy")
    torch.manual_seed(0)
    first = order(task.loader(bundle, split, "train", 5, seed=1))
    state = torch.get_rng_state()
    torch.manual_seed(99)
    again = order(task.loader(bundle, split, "train", 5, seed=1))
    other = order(task.loader(bundle, split, "train", 5, seed=2))
    assert first == again != other
    assert sorted(first) == sorted(other) == list(range(12))
    assert first != sorted(first)
    torch.set_rng_state(state)
    for stage, expected in (("val", range(12, 16)), ("test", range(16, 20))):
        batches = list(task.loader(bundle, split, stage, 3, seed=1))
        assert order(batches) == list(expected)
        assert [batch.data.num_graphs for batch in batches] == [3, 1]


def test_loading_draws_no_global_random_numbers(many):
    bundle, split = many
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for stage in ("train", "val", "test"):
        list(create_task("graph", "multiclass", "accuracy").loader(bundle, split, stage, 5, seed=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_one_graph_is_one_batch(multiclass):
    _, y = multiclass
    data = Data(x=torch.randn(ROWS, 2), y=y)
    split = Split(0, torch.arange(0, 30), torch.arange(30, 45), torch.arange(45, 60))
    bundle = bundle_of("node", data, [split])
    (batch,) = create_task("node", "multiclass", "accuracy").loader(bundle, split, "val", 5)
    assert batch.data is data
    assert torch.equal(batch.y, y[30:45])


def test_every_task_has_its_name():
    assert {name: task.name for name, task in TASKS.items()} == {name: name for name in TASKS}


def test_collect_weighs_batches_by_rows(many):
    """The loss over uneven batches is the mean over rows, not over batches."""
    bundle, split = many

    class Constant(nn.Module):
        def forward(self, x, batch):
            means = torch.stack([x[batch == i].mean() for i in range(int(batch.max()) + 1)])
            return torch.stack([means, -means / 10], 1)

    task = create_task("graph", "multiclass", "accuracy")
    outputs, y, loss = collect(task, Constant(), task.loader(bundle, split, "train", 5))
    _, all_y, whole_loss = collect(task, Constant(), task.loader(bundle, split, "train", 100))
    assert outputs.shape == (12, 2)
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    assert loss == pytest.approx(F.cross_entropy(outputs, y).item(), rel=1e-5)
    assert sorted(y.tolist()) == sorted(all_y.tolist())


def test_collect_weighs_batches_by_known_labels():
    """Twelve graphs in batches of five, two thirds of the first batch's labels missing."""
    y = torch.randint(2, (12, 2), generator=torch.Generator().manual_seed(7)).float()
    y[:4, 0], y[:3, 1] = float("nan"), float("nan")
    graphs = [Data(x=torch.randn(3, 2), y=row.unsqueeze(0)) for row in y]
    split = Split(0, torch.arange(12), torch.arange(12), torch.arange(12))

    class Means(nn.Module):
        def forward(self, x, batch):
            return torch.stack([x[batch == i].mean(0) for i in range(int(batch.max()) + 1)])

    task, bundle = create_task("graph", "multilabel", "roc_auc"), bundle_of("graph", graphs, [split])
    outputs, targets, loss = collect(task, Means(), task.loader(bundle, split, "val", 5))
    known = ~targets.isnan()
    assert loss == pytest.approx(F.binary_cross_entropy_with_logits(outputs[known], targets[known]).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["link", "distinguish"])
def test_a_task_without_training_is_said_in_one_line(name):
    with pytest.raises(ConfigError, match=f"models are not trained on {name} tasks yet, only on node, ") as caught:
        create_task(name, "binary", "roc_auc")
    assert "\n" not in str(caught.value)


# --- calling a model ---


class Recorder(nn.Module):
    """Returns what it was called with."""

    def forward(self, x, edge_index, edge_attr=None, batch=None, scale=2.0):
        return {"x": x, "edge_index": edge_index, "edge_attr": edge_attr, "batch": batch, "scale": scale}


def test_forward_passes_what_is_there():
    data = Data(x=torch.ones(2, 1), edge_index=torch.zeros(2, 0, dtype=torch.long))
    called = forward(Recorder(), data)
    assert called["x"] is data.x
    assert called["edge_attr"] is None
    assert called["scale"] == 2.0
    data.edge_attr, data.scale = torch.ones(0, 3), 5.0
    called = forward(Recorder(), data)
    assert called["edge_attr"] is data.edge_attr
    assert called["scale"] == 5.0


def test_forward_reads_hypergraphs_and_heterogeneous_graphs():
    class Hyper(nn.Module):
        def forward(self, x, hyperedge_index):
            return hyperedge_index

    index = torch.tensor([[0, 1, 1], [0, 0, 1]])
    assert forward(Hyper(), HypergraphData(x=torch.ones(2, 1), hyperedge_index=index)) is index

    class Hetero(nn.Module):
        def forward(self, x_dict, edge_index_dict):
            return x_dict, edge_index_dict

    data = HeteroData()
    data["a"].x = torch.ones(2, 1)
    data["a", "to", "a"].edge_index = index
    x_dict, edge_index_dict = forward(Hetero(), data)
    assert set(x_dict) == {"a"}
    assert set(edge_index_dict) == {("a", "to", "a")}


def test_methods_of_the_data_are_no_attributes():
    class Convolution(nn.Module):
        def forward(self, x, size=None):
            return size

    assert forward(Convolution(), Data(x=torch.ones(2, 1))) is None


def test_forward_names_what_is_missing():
    with pytest.raises(ConfigError, match="Recorder needs 'edge_index', which the data does not have"):
        forward(Recorder(), Data(x=torch.ones(2, 1)))


@pytest.mark.parametrize("name", ["y", "train_mask", "val_mask", "test_mask"])
def test_labels_and_masks_are_forbidden(name):
    scope = {"nn": nn}
    exec(f"class Cheat(nn.Module):\n    def forward(self, x, {name}=None):\n        return x", scope)
    with pytest.raises(ConfigError, match=f"Cheat.forward may not take '{name}'"):
        forward(scope["Cheat"](), Data(x=torch.ones(2, 1), **{name: torch.ones(2)}))


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_scored_by_f1_has_both(task, multiclass):
    """``train.val_metric=mean_f1`` asks for both of them, whatever the task."""
    found = create_task(task, "multiclass", "macro_f1").metrics(*multiclass)
    assert list(found) == ["macro_f1", "micro_f1"]
    assert found == {name: score(name, *multiclass, "multiclass") for name in found}

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
from gnnzoo.datasets import Bundle, HypergraphData, Split
from gnnzoo.errors import ConfigError, DataError
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


def test_direction(regression, multilabel):
    """Of two predictions, one of them better, the direction names the better one."""
    pairs = {"multilabel": multilabel, "regression": regression}
    for metric, meaning in METRICS.items():
        target = "multilabel" if meaning.higher_is_better else "regression"
        outputs, y = pairs[target]
        better = score(metric, 10 * (2 * y - 1) if target == "multilabel" else y, y, target)
        worse = score(metric, outputs, y, target)
        assert (better > worse) == meaning.higher_is_better, metric


@pytest.mark.parametrize(
    ("metric", "target"),
    [
        *((m, "regression") for m in ("accuracy", "roc_auc", "micro_f1", "macro_f1")),
        *((m, t) for m in ("mae", "rmse") for t in ("multiclass", "binary", "multilabel")),
        ("roc_auc", "multiclass"),
    ],
)
def test_a_metric_that_does_not_fit_is_an_error(metric, target):
    with pytest.raises(ConfigError, match=f"metric {metric} does not fit {target}"):
        score(metric, torch.zeros(2, 2), torch.zeros(2, 2), target)


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

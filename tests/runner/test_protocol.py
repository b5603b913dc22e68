"""Test labels are looked at once, after everything is decided; equal seeds give equal bits, in any process."""

import json

import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.data.data import BaseData

from gnnzoo import register_dataset, register_model, standings
from gnnzoo.cards import StrategyCard
from gnnzoo.datasets import Bundle, Split
from gnnzoo.datasets.bundle import hide_labels, label_store
from gnnzoo.errors import ConfigError
from gnnzoo.registry import STRATEGIES
from gnnzoo.runner import cell as cells
from gnnzoo.runner import plan, run
from gnnzoo.runner.grid import Reporter
from gnnzoo.strategies import ERM
from gnnzoo.tasks.base import Task

SETTINGS = {"train.epochs": 15, "train.stopping": "none", "dataset.num_nodes": 80}


def result_of(record):
    return record.result.model_dump()


# --- graphs that need no file ---


def load_toy_graphs(card, protocol, files):
    """Return 40 random graphs of two densities, with two splits."""
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for i in range(40):
        nodes, label = 6 + i % 5, i % 2
        adjacency = torch.rand(nodes, nodes, generator=generator) < (0.2 if label else 0.5)
        edge_index = (adjacency | adjacency.T).fill_diagonal_(False).nonzero().T.contiguous()
        x = torch.randn(nodes, 3, generator=generator)
        graphs.append(Data(x=x, edge_index=edge_index, y=torch.tensor([label])))
    order = torch.randperm(40, generator=generator)
    if protocol == "habit":
        return graphs, [Split(0, order[:24], order[24:], order[24:]), Split(1, order[16:], order[:16], order[:16])]
    if protocol == "parts":
        extra = {"near": order[28:31], "far": order[31:], "nobody": order[:0]}
        return graphs, [Split(0, order[:20], order[20:28], order[28:], extra=extra)]
    return graphs, [Split(0, order[:24], order[24:32], order[32:]), Split(1, order[16:], order[:8], order[8:16])]


@pytest.fixture(scope="module")
def toy_graphs():
    graphs, _ = load_toy_graphs(None, None, None)
    counts = {
        "graphs": 40,
        "nodes": sum(g.num_nodes for g in graphs),
        "edges": sum(g.num_edges for g in graphs),
        "features": 3,
    }
    card = {
        "name": "toy-graphs",
        "summary": "random graphs of two densities",
        "family": "tests",
        "task": "graph",
        "num_outputs": 2,
        "counts": counts,
        "protocols": {
            "two": {"summary": "two random splits", "splits": 2, "metric": "accuracy"},
            "habit": {"summary": "val is test", "splits": 2, "metric": "accuracy", "selection": "on-test"},
            "parts": {"summary": "test in two parts", "splits": 1, "metric": "accuracy"},
            "thrice": {"summary": "two random splits", "splits": 2, "metric": "accuracy", "seeds": 3},
        },
        "default_protocol": "two",
    }
    register_dataset(card, load_toy_graphs)
    return "toy-graphs"


# --- protocols that select on test, and that ask for seeds ---


def test_on_test_no_split_selects_or_stops_by_itself(tmp_path, toy_graphs):
    settings = {"train.epochs": 12, "train.batch_size": 8}
    found = run("gin", f"{toy_graphs}@habit", settings=settings, results=tmp_path)
    config = found.plan.configs[0]
    assert (config.train.selection, config.train.stopping) == ("last", None)
    assert config.sources["train.selection"] == "protocol habit"
    results = [record.result for record in found.records]
    assert [(r.epoch, r.epochs) for r in results] == [(12, 12)] * 2
    curves = [r.curve for r in results]
    assert all(list(curve) == list(range(1, 13)) for curve in curves)
    assert [curve[12] for curve in curves] == [r.test["accuracy"] for r in results]
    means = [(curves[0][epoch] + curves[1][epoch]) / 2 for epoch in range(1, 13)]
    assert found.summary().mean == pytest.approx(max(means))
    (row,) = standings(f"{toy_graphs}@habit", results=tmp_path, models=["gin"])[0].apart  # other settings
    assert row.summary.mean == pytest.approx(max(means))
    # what is read again is what was written
    assert run("gin", f"{toy_graphs}@habit", settings=settings, results=tmp_path).records == found.records


def test_clean_protocols_record_no_curve(tmp_path, toy_graphs):
    (record,) = run("gin", toy_graphs, splits=[0], settings={"train.epochs": 2}, results=tmp_path).records
    assert record.result.curve is None
    assert "curve" not in json.loads(record.line())["result"]


def test_further_parts_stand_beside_test(tmp_path, toy_graphs):
    choices = {"settings": {"train.epochs": 3, "train.batch_size": 8}, "results": tmp_path}
    found = run("gin", f"{toy_graphs}@parts", **choices)
    result = found.records[0].result
    assert list(result.parts) == ["near", "far"]  # an empty part says nothing
    assert result.rows == {"train": 20, "val": 8, "test": 12, "near": 3, "far": 9}
    right = {name: part["accuracy"] * result.rows[name] for name, part in result.parts.items()}
    assert all(value == pytest.approx(round(value)) for value in right.values())
    assert result.test["accuracy"] * 12 == pytest.approx(right["near"] + right["far"])
    assert run("gin", f"{toy_graphs}@parts", **choices).records == found.records  # read again
    (plain,) = run("gin", toy_graphs, splits=[0], settings={"train.epochs": 1}, results=tmp_path).records
    assert plain.result.parts is None
    assert "parts" not in json.loads(plain.line())["result"]


def test_a_protocol_says_how_many_seeds_it_wants(toy_graphs):
    wanted = plan({"model": "gin", "dataset": f"{toy_graphs}@thrice"}).cells
    assert [(c.split, c.seed) for c in wanted] == [(split, seed) for split in range(2) for seed in range(3)]
    asked = plan({"model": "gin", "dataset": f"{toy_graphs}@thrice", "seeds": 1}).cells
    assert {c.seed for c in asked} == {0}
    assert {c.seed for c in plan({"model": "gin", "dataset": "ogbg-molesol"}, signatures=False).cells} == {*range(10)}


def test_several_strategies_in_one_run(tmp_path, toy_graphs, snooping):
    settings = {"train.epochs": 1}
    found = run("gin,gine", toy_graphs, strategy=f"erm,{snooping}", splits=[0], settings=settings, results=tmp_path)
    assert [(r.key.model, r.key.strategy) for r in found.records] == [
        *(("gin", "erm"), ("gine", "erm"), ("gin", snooping), ("gine", snooping))
    ]
    (board,) = standings(f"{toy_graphs}@two", results=tmp_path, models=["gin", "gine"])
    assert {a.label for a in board.apart} == {"gin", "gine", f"gin+{snooping}", f"gine+{snooping}"}
    with pytest.raises(ConfigError, match="unknown strategy 'rmm'"):
        plan({"model": "gin", "dataset": toy_graphs, "strategy": "erm,rmm"})


def test_models_infer_from_the_graphs_that_are_trained_on(tmp_path, toy_graphs, monkeypatch):
    seen = []
    original = cells.model_arguments
    monkeypatch.setattr(
        cells, "model_arguments", lambda name, data, **h: seen.append(data) or original(name, data, **h)
    )
    run("gin", toy_graphs, splits=[0], settings={"train.epochs": 1}, results=tmp_path)
    graphs, splits = load_toy_graphs(None, None, None)
    expected = [graphs[i].x for i in splits[0].train.tolist()]
    assert all(torch.equal(graph.x, x) for graph, x in zip(seen[0], expected, strict=True))


# --- the test metric is read once ---


class Spy(Reporter):
    def __init__(self):
        self.rows = []

    def epoch(self, cell, epoch, row):
        self.rows.append(dict(row))


def poison(bundle, split):
    """Return the bundle with the test labels of a split in another order, and nothing else changed."""
    torch.manual_seed(1)
    if isinstance(bundle.data, list):
        graphs = list(bundle.data)
        for i in split.test.tolist():
            graphs[i] = graphs[i].clone()
            graphs[i].y = 1 - graphs[i].y
        return bundle.replace(data=graphs)
    data = bundle.data.clone()
    data.y[split.test] = (data.y[split.test] + 1 + torch.randint(2, (len(split.test),))) % 4
    return bundle.replace(data=data)


@pytest.mark.parametrize("dataset", ["csbm", "toy-graphs"])
@pytest.mark.parametrize("selection", ["val_metric", "val_loss", "mean_last"])
def test_poisoned_test_labels_change_the_test_metric_alone(tmp_path, monkeypatch, toy_graphs, dataset, selection):
    model = "gcn" if dataset == "csbm" else "gin"
    settings = {"train.selection": selection, "train.selection_window": 3, "train.epochs": 15}
    settings |= {"train.stopping": "patience", "train.patience": 6, "train.stop_monitor": "loss"}
    honest_spy, poisoned_spy = Spy(), Spy()
    honest = run(model, dataset, splits=[0], settings=settings, results=tmp_path / "honest", reporter=honest_spy)

    original = cells.load_prepared

    def load_prepared(config, root=None):
        bundle = original(config, root)
        return poison(bundle, bundle.splits[0])

    monkeypatch.setattr(cells, "load_prepared", load_prepared)
    poisoned = run(model, dataset, splits=[0], settings=settings, results=tmp_path / "bad", reporter=poisoned_spy)

    assert honest_spy.rows == poisoned_spy.rows
    first, second = result_of(honest.records[0]), result_of(poisoned.records[0])
    assert first.pop("test") != second.pop("test")
    assert first == second  # among it the digest of the selected weights
    assert honest.records[0].key == poisoned.records[0].key


def test_test_rows_are_scored_once_per_cell(tmp_path, monkeypatch):
    """... by ``read_result``, when training and selection are over."""
    events = []
    fit, read, metrics = cells.fit, cells.read_result, Task.metrics

    def spy_fit(*args, **kwargs):
        *_, bundle, split, _config, _seed, _checkpoint, _on_epoch = args
        assert len(split.test) == 0
        assert bundle.splits == [split]
        done = fit(*args, **kwargs)
        events.append("fitted")
        return done

    def spy_read(*args, **kwargs):
        events.append("reading")
        return read(*args, **kwargs)

    def spy_metrics(self, outputs, y):
        if len(y) == 20:  # the test part of 80 nodes
            events.append("scored")
        return metrics(self, outputs, y)

    monkeypatch.setattr(cells, "fit", spy_fit)
    monkeypatch.setattr(cells, "read_result", spy_read)
    monkeypatch.setattr(Task, "metrics", spy_metrics)
    result = run("gcn", "csbm", splits=[0, 1], settings=SETTINGS, results=tmp_path)
    assert [r.result.rows["test"] for r in result.records] == [20, 20]
    assert events == ["fitted", "reading", "scored"] * 2
    run("gcn", "csbm", splits=[0, 1], settings=SETTINGS, results=tmp_path)
    assert len(events) == 6


def reachable(thing, seen, path=""):
    """Yield every tensor that can be reached through attributes, items and data objects, with the way to it."""
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | bool | type(None) | type):
        return
    seen[id(thing)] = thing  # held, so that its id stays its own
    if isinstance(thing, torch.Tensor):
        yield path, thing
        return
    if isinstance(thing, BaseData):
        thing = {f"{i}.{k}": v for i, store in enumerate(thing.stores) for k, v in store.items()}
    if isinstance(thing, dict):
        inner = thing.items()
    elif isinstance(thing, list | tuple | set | frozenset):
        inner = enumerate(thing)
    else:
        inner = getattr(thing, "__dict__", {}).items()
    for key, value in list(inner):
        yield from reachable(value, seen, f"{path}.{key}")


class Snooping(ERM):
    """Looks at everything it is given."""

    found: list = []  # noqa: RUF012 - what the test reads

    def setup(self, model, bundle, task, run):
        super().setup(model, bundle, task, run)
        self.bundle = bundle
        self.found += list(reachable([model, bundle, task, run], {}, "setup"))

    def step(self, batch):
        self.found += list(reachable([self, batch, batch.y], {}, "step"))
        return super().step(batch)


@pytest.fixture
def snooping():
    card = {
        "name": "snooping",
        "class": f"{__name__}.Snooping",
        "summary": "reports what it sees",
        "tasks": ["node", "inductive-node", "graph"],
        "structures": ["graph"],
    }
    STRATEGIES.register(StrategyCard.model_validate(card), Snooping)
    Snooping.found.clear()
    return "snooping"


def test_a_strategy_finds_no_test_label_of_nodes(tmp_path, snooping):
    settings = SETTINGS | {"train.epochs": 2}
    result = run("gcn", "csbm", strategy=snooping, splits=[0], settings=settings, results=tmp_path)
    bundle = cells.load_prepared(result.plan.cells[0].config)
    split, y = bundle.splits[0], bundle.data.y
    labels = [(path, t) for path, t in Snooping.found if t.dtype == torch.int64 and t.shape == y.shape]
    assert any(path.startswith("setup") for path, _ in labels)
    assert any(path.startswith("step") for path, _ in labels)
    for path, tensor in labels:
        assert (tensor[split.test] == -1).all(), path
        assert torch.equal(tensor[split.train], y[split.train])
        assert torch.equal(tensor[split.val], y[split.val])
    indices = {tuple(t.tolist()) for _, t in Snooping.found if t.dim() == 1 and not t.is_floating_point()}
    assert tuple(split.train.tolist()) in indices
    assert tuple(split.test.tolist()) not in indices


def test_a_strategy_finds_no_test_label_of_graphs(tmp_path, snooping, toy_graphs):
    settings = {"train.epochs": 2}
    run("gin", toy_graphs, strategy=snooping, splits=[0], settings=settings, results=tmp_path)
    graphs, (split, _) = load_toy_graphs(None, None, None)
    label = {g.x.numpy().tobytes(): (i, g.y) for i, g in enumerate(graphs)}
    seen = dict.fromkeys(("train", "val", "test"), 0)
    tensors = dict(Snooping.found)
    for path, x in tensors.items():
        if path.startswith("setup") and path.endswith(".x") and x.numpy().tobytes() in label:
            number, y = label[x.numpy().tobytes()]
            part = next(p for p in seen if number in getattr(split, p))
            seen[part] += 1
            assert tensors[path[:-1] + "y"].item() == (-1 if part == "test" else y.item())
    assert seen == {"train": 24, "val": 8, "test": 8}
    batches = [t for path, t in tensors.items() if path.startswith("step") and path.endswith(".1.0.y")]
    assert all((t >= 0).all() for t in batches)


def test_blanked_labels(toy_graphs):
    """Integers become -1, real numbers NaN, and the bundle itself stays as it is."""
    y = torch.arange(6) % 3
    data = Data(x=torch.ones(6, 1), y=y)
    hidden = hide_labels(data, torch.tensor([0, 4]))
    assert hidden.y.tolist() == [0, -1, -1, -1, 1, -1]
    assert label_store(data).y is y
    values = hide_labels([Data(y=torch.tensor([[1.5]])), Data(y=torch.tensor([[2.5]]))], torch.tensor([1]))
    assert values[0].y.isnan().all()
    assert values[1].y.item() == 2.5


class LabelReader(nn.Module):
    """Asks for the labels."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels)

    def forward(self, x, y=None):
        return self.lin(x)


def test_a_model_may_not_ask_for_labels(tmp_path):
    register_model("label-reader", tasks=["node"])(LabelReader)
    with pytest.raises(Exception, match=r"LabelReader\.forward may not take 'y'"):
        run("label-reader", "karate", splits=[0], results=tmp_path)
    assert not list(tmp_path.glob("*@*"))


# --- equal bits ---


def test_splits_and_seeds_in_one_run(tmp_path):
    result = run("gcn", "csbm", splits="0,3-4", seeds=2, settings=SETTINGS, results=tmp_path)
    assert [(r.key.split, r.key.seed) for r in result.records] == [(i, s) for i in (0, 3, 4) for s in (0, 1)]
    assert len({r.key.split_hash for r in result.records}) == 3
    assert len({r.result.digest for r in result.records}) == 6
    assert len({r.key.config for r in result.records}) == 1
    (path,) = tmp_path.glob("*@*/*.jsonl")
    assert len(path.read_text().splitlines()) == 6
    (stored,) = tmp_path.glob("configs/*.json")
    assert stored.stem == result.records[0].key.config
    assert json.loads(stored.read_text())["train"]["epochs"] == 15


def test_workers_give_the_results_of_one_process(tmp_path):
    choices = {"splits": [0, 1], "seeds": 2, "settings": SETTINGS}
    serial = run("gcn", "csbm", results=tmp_path / "serial", **choices)
    parallel = run("gcn", "csbm", results=tmp_path / "parallel", jobs=2, **choices)
    assert [r.key for r in serial.records] == [r.key for r in parallel.records]
    assert [r.result for r in serial.records] == [r.result for r in parallel.records]
    assert {r.cost.threads for r in parallel.records} == {1}


def repeat(tmp_path, model, dataset, **choices):
    """Run the same twice, from nothing."""
    return [run(model, dataset, results=tmp_path / name, **choices).records for name in ("once", "twice")]


def test_same_seed_same_bits_other_seed_other_bits(tmp_path):
    once, twice = repeat(tmp_path, "gcn", "csbm", splits=[0], seeds=[5, 6], settings=SETTINGS)
    assert [r.result for r in once] == [r.result for r in twice]
    assert once[0].result.digest != once[1].result.digest


def test_the_callers_random_numbers_do_not_matter(tmp_path):
    torch.manual_seed(1)
    first = run("gcn", "csbm", splits=[0], settings=SETTINGS, results=tmp_path / "a").records
    torch.manual_seed(2)
    torch.rand(100)
    second = run("gcn", "csbm", splits=[0], settings=SETTINGS, results=tmp_path / "b").records
    assert first[0].result == second[0].result


def test_order_of_cells_does_not_matter(tmp_path):
    forward = run("gcn", "csbm", splits=[0, 1], settings=SETTINGS, results=tmp_path / "a").records
    backward = run("gcn", "csbm", splits=[1, 0], settings=SETTINGS, results=tmp_path / "b").records
    assert [r.result for r in forward] == [r.result for r in reversed(backward)]


def test_mini_batches_of_graphs_are_deterministic(tmp_path, toy_graphs):
    settings = {"train.epochs": 5, "train.batch_size": 7}
    once, twice = repeat(tmp_path, "gin", toy_graphs, seeds=2, settings=settings)
    assert [r.result for r in once] == [r.result for r in twice]
    assert len({r.result.digest for r in once}) == 4
    assert once[0].result.rows == {"train": 24, "val": 8, "test": 8}


@pytest.mark.data("MUTAG")
def test_real_graphs_are_deterministic(tmp_path):
    settings = {"train.epochs": 4}
    once, twice = repeat(tmp_path, "gin", "MUTAG", protocol="clean-10fold", splits=[0], settings=settings)
    assert [r.result for r in once] == [r.result for r in twice]


def test_threads_are_recorded_and_put_back(tmp_path):
    before = torch.get_num_threads()
    record = run("gcn", "csbm", splits=[0], threads=2, settings=SETTINGS, results=tmp_path).records[0]
    assert record.cost.threads == 2
    assert torch.get_num_threads() == before
    assert run("gcn", "csbm", splits=[1], settings=SETTINGS, results=tmp_path).records[0].cost.threads == 1


# --- what a run gives back ---


def test_recorded_cells_are_found(tmp_path):
    class Heard(Reporter):
        trained = ()

        def done(self, cell, record, trained):
            self.trained = (*self.trained, trained)

    heard = [Heard(), Heard()]
    run("gcn", "csbm", splits=[0, 1], settings=SETTINGS, results=tmp_path, reporter=heard[0])
    run("gcn", "csbm", splits=[0, 1, 2], settings=SETTINGS, results=tmp_path, reporter=heard[1])
    assert heard[0].trained == (True, True)
    assert heard[1].trained == (False, False, True)


def test_the_model_of_a_run_has_the_recorded_result(tmp_path):
    """The returned weights give the recorded metric; those of a record without weights are trained again, the same."""
    result = run("gcn", "csbm", splits=[0], settings=SETTINGS, results=tmp_path)
    bundle: Bundle = cells.load_prepared(result.plan.cells[0].config)
    test = bundle.splits[0].test

    def accuracy(model):
        with torch.no_grad():
            return (model(bundle.data.x, bundle.data.edge_index).argmax(1) == bundle.data.y)[test].float().mean().item()

    assert accuracy(result.model) == pytest.approx(result.records[0].result.test["accuracy"])
    weights = {k: v.clone() for k, v in result.model.state_dict().items()}
    (path,) = tmp_path.glob("work/*/*/*/model.pt")
    path.unlink()
    again = run("gcn", "csbm", splits=[0], settings=SETTINGS, results=tmp_path)
    assert again.records == result.records
    assert all(torch.equal(v, weights[k]) for k, v in again.model.state_dict().items())
    assert path.exists()
    assert len(result.history(result.plan.cells[0])) == 15

"""RpHGNN: closed forms and invariants of the pre-computation, the encoder, mini-batches and consistency training."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import HeteroData

from gnnzoo.datasets import load_dataset
from gnnzoo.datasets.pretransform import apply_pre_transform
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models import RpHGNN
from gnnzoo.runner import run
from gnnzoo.strategies.consistency import ConsistencyTraining, agreement
from gnnzoo.tasks import Batch, create_task
from gnnzoo.testing import graphs
from gnnzoo.transforms import PropagateThenUpdate, projection
from gnnzoo.transforms.projection import (
    distinct_relations,
    draw_kernel,
    label_groups,
    propagate_then_update,
    relations,
    target_type,
    unpack,
)

DOUBLE = torch.double
SIZES = {"author": 9, "paper": 12, "venue": 4}
WIDTHS = {"author": 6, "paper": 10, "venue": 7}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def library() -> HeteroData:
    """Return papers that cite each other, with authors and venues; the last author wrote nothing."""
    generator = torch.Generator().manual_seed(3)
    data = HeteroData()
    for kind, size in SIZES.items():
        data[kind].x = torch.randn(size, WIDTHS[kind], generator=generator, dtype=DOUBLE)
    data["author", "writes", "paper"].edge_index = torch.stack(
        [torch.randint(8, (22,), generator=generator), torch.randint(12, (22,), generator=generator)]
    )
    data["paper", "cites", "paper"].edge_index = torch.randint(12, (2, 18), generator=generator)
    data["paper", "in", "venue"].edge_index = torch.stack(
        [torch.arange(11), torch.randint(4, (11,), generator=generator)]
    )
    return data


def fixed(name: str, size: tuple[int, int]) -> Tensor:
    """Return the projection of a name: the same at every call."""
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    return torch.randn(size, generator=generator, dtype=DOUBLE)


def groups_of(data: HeteroData, target: str = "paper", k: int = 3, **options: object) -> dict[str, Tensor]:
    sizes = {kind: data[kind].num_nodes for kind in data.node_types}
    found = relations(data.edge_index_dict, sizes, DOUBLE)
    packed, layout = propagate_then_update(data.x_dict, found, target, fixed, k, **options)  # type: ignore[arg-type]
    return unpack(packed, layout)


def dense_mean(edge_index: Tensor, num_targets: int, num_sources: int) -> Tensor:
    counts = torch.zeros(num_targets, num_sources, dtype=DOUBLE)
    for source, target in edge_index.t().tolist():
        counts[target, source] += 1
    return counts / counts.sum(1, keepdim=True).clamp(min=1)


# --- the pre-computation ---


def test_means_of_a_star() -> None:
    data = HeteroData()
    data["centre"].x, data["leaf"].x = torch.randn(2, 3, dtype=DOUBLE), torch.randn(5, 4, dtype=DOUBLE)
    data["leaf", "of", "centre"].edge_index = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 0]])  # leaf 4, centre 1: isolated
    mean = data["leaf"].x[:4].mean(0)
    at_centre = groups_of(data, "centre", 1, use_input=False)
    assert list(at_centre) == ["odd|leaf/of/centre", "even|centre/r.of/leaf"]
    torch.testing.assert_close(at_centre["odd|leaf/of/centre"][:, 0], torch.stack([mean, torch.zeros_like(mean)]))
    at_leaf = groups_of(data, "leaf", 1, use_input=False)["even|leaf/of/centre"][:, 0]
    torch.testing.assert_close(at_leaf[:4], mean.expand(4, 4))
    assert not at_leaf[4].any()


def test_two_iterations_are_the_definition() -> None:
    data = library()
    x = dict(data.x_dict)
    mean = {}
    for (s, e, t), index in data.edge_index_dict.items():
        if s == t:
            index = torch.cat([index, index[:, index[0] != index[1]].flip(0)], dim=1)
            mean[f"{s}/{e}/{t}"] = dense_mean(index, SIZES[t], SIZES[s])
        else:
            mean[f"{s}/{e}/{t}"] = dense_mean(index, SIZES[t], SIZES[s])
            mean[f"{t}/r.{e}/{s}"] = dense_mean(index.flip(0), SIZES[s], SIZES[t])
    back = {"author/writes/paper": "paper/r.writes/author", "paper/in/venue": "venue/r.in/paper"}
    back |= {b: a for a, b in back.items()} | {"paper/cites/paper": "paper/cites/paper"}

    def collected(kind: str) -> dict[str, Tensor]:
        found = {}
        for name, matrix in mean.items():
            source, _, target = name.split("/")
            if target == kind:
                found[f"odd|{name}"] = matrix @ x[source]
            if source == kind:
                found[f"even|{name}"] = mean[back[name]] @ matrix @ x[source]
        return found

    slots = [collected("paper")]
    x = {
        kind: sum(
            (F.normalize(h @ fixed(f"0|{kind}|{name}", (h.size(1), WIDTHS[kind])), dim=1) for name, h in found.items()),
            torch.zeros(()),
        )
        for kind, found in [(kind, collected(kind)) for kind in SIZES]
    }
    slots.append(collected("paper"))
    groups = groups_of(data, k=2, use_input=False)
    assert groups.keys() == slots[0].keys()
    for name, group in groups.items():
        torch.testing.assert_close(group, torch.stack([slot[name] for slot in slots], dim=1))


@pytest.mark.parametrize(("parity", "number"), [("all", 6), ("even", 3), ("odd", 3)])
def test_parity_and_slots(parity: str, number: int) -> None:
    data = library()
    groups = groups_of(data, parity=parity)
    assert len(groups) == number
    for name, group in groups.items():
        even = name.startswith("even")
        assert group.size(1) == 3 + even
        if even:
            assert torch.equal(group[:, 0], data["paper"].x)
    assert groups_of(data, use_input=False)["even|paper/in/venue"].size(1) == 3


def test_target_projection_and_self_group() -> None:
    data = library()
    groups = groups_of(data, target_channels=5, self_group=True)
    first = F.normalize(data["paper"].x @ fixed("target_input", (10, 5)), dim=1)
    torch.testing.assert_close(groups["even|paper/in/venue"][:, 0], first)
    assert torch.equal(groups["self"][:, 0], data["paper"].x)


@pytest.mark.parametrize("kind", SIZES)
def test_renumbered_nodes(kind: str) -> None:
    data = library()
    order = torch.randperm(SIZES[kind])
    place, moved = order.argsort(), copy.copy(data)
    moved[kind].x = data[kind].x[order]
    for (s, e, t), index in data.edge_index_dict.items():
        source, target = (place[i] if name == kind else i for i, name in zip(index, (s, t), strict=True))
        moved[s, e, t].edge_index = torch.stack([source, target])
    before, after = groups_of(data), groups_of(moved)
    for name, group in before.items():
        torch.testing.assert_close(after[name], group[order] if kind == "paper" else group)


def test_scaled_features_change_the_first_iteration_alone() -> None:
    data = library()
    scaled = copy.copy(data)
    for kind in SIZES:
        scaled[kind].x = 7 * data[kind].x
    before, after = groups_of(data), groups_of(scaled)
    for name, group in before.items():
        first = 1 + name.startswith("even")  # the inserted input, and iteration 0
        torch.testing.assert_close(after[name][:, :first], 7 * group[:, :first])
        torch.testing.assert_close(after[name][:, first:], group[:, first:])


def test_squashed_features_are_sums_of_unit_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    normalize = projection._row_norm
    monkeypatch.setattr(projection, "_row_norm", lambda x: seen.append(normalize(x)) or seen[-1])
    groups_of(library(), k=2)
    norms = torch.cat([rows.norm(dim=1) for rows in seen])
    assert (((norms - 1).abs() < 1e-12) | (norms == 0)).all()
    assert (norms == 0).any()  # the author without papers


def test_only_what_reaches_the_target_is_squashed() -> None:
    asked = []

    def kernel(name: str, size: tuple[int, int]) -> Tensor:
        asked.append(tuple(name.split("|")[:2]))
        return fixed(name, size)

    data = library()
    found = relations(data.edge_index_dict, SIZES, DOUBLE)
    propagate_then_update(data.x_dict, found, "author", kernel, 3)
    # venues are two steps from authors: after the first iteration they cannot reach them any more
    assert sorted(set(asked)) == [("0", "author"), ("0", "paper"), ("0", "venue"), ("1", "author"), ("1", "paper")]


@pytest.mark.parametrize("cost", [0, 10**6])
def test_order_of_projection_and_mean_plays_no_part(cost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = library()
    expected = groups_of(data)
    monkeypatch.setattr(projection, "_SPARSE", cost)
    for name, group in groups_of(data).items():
        torch.testing.assert_close(group, expected[name])


@pytest.mark.parametrize("squash", ["sum", "mean", "norm_sum", "norm_mean", "project_norm_sum", "project_norm_mean"])
def test_squash(squash: str) -> None:
    data = HeteroData()
    data["a"].x, data["b"].x = torch.randn(4, 3, dtype=DOUBLE), torch.randn(5, 3, dtype=DOUBLE)
    data["a", "to", "b"].edge_index = torch.tensor([[0, 1, 2, 3, 3], [0, 1, 2, 3, 4]])
    odd, even = (groups_of(data, "b", 1, use_input=False)[n][:, 0] for n in ("odd|a/to/b", "even|b/r.to/a"))
    parts = [odd, even]
    if squash.startswith("project"):
        parts = [odd @ fixed("0|b|odd|a/to/b", (3, 3)), even @ fixed("0|b|even|b/r.to/a", (3, 3))]
    if "norm" in squash:
        parts = [F.normalize(part, dim=1) for part in parts]
    expected = torch.stack(parts).mean(0) if squash.endswith("mean") else torch.stack(parts).sum(0)
    at_b = dense_mean(data["a", "to", "b"].edge_index, 5, 4)
    at_a = dense_mean(data["a", "to", "b"].edge_index.flip(0), 4, 5)
    found = groups_of(data, "b", 2, use_input=False, squash=squash)["even|b/r.to/a"][:, 1]
    torch.testing.assert_close(found, at_b @ at_a @ expected)


def test_sums_need_equal_widths() -> None:
    with pytest.raises(DataError, match=r"squash=norm_sum: .* has other widths .*; project_norm_sum allows that"):
        groups_of(library(), squash="norm_sum")


def test_kernels() -> None:
    kernel = draw_kernel("sparse", (300, 400), DOUBLE)
    assert set(kernel.unique().tolist()) == {-math.sqrt(3), 0.0, math.sqrt(3)}
    shares = [float((kernel.sign() == sign).double().mean()) for sign in (-1, 0, 1)]
    assert shares == pytest.approx([1 / 6, 2 / 3, 1 / 6], abs=0.005)
    assert float(kernel.var()) == pytest.approx(1, abs=0.01)
    assert float(draw_kernel("gaussian_no_norm", (300, 400), DOUBLE).var()) == pytest.approx(1, abs=0.02)
    assert float(draw_kernel("gaussian", (300, 400), DOUBLE).var()) == pytest.approx(2 / 700, rel=0.02)


def test_projections_keep_inner_products() -> None:
    x = torch.randn(6, 20, dtype=DOUBLE)
    projected = x @ draw_kernel("sparse", (20, 200_000), DOUBLE)
    torch.testing.assert_close(projected @ projected.t() / 200_000, x @ x.t(), atol=0.3, rtol=0)


def test_relations_of_the_data() -> None:
    sizes = {"a": 3, "b": 4}
    ab, loop = torch.tensor([[0, 1, 1], [3, 2, 0]]), torch.tensor([[0, 1, 2], [0, 2, 1]])
    edges = {("b", "back", "a"): ab.flip(0)[:, [2, 0, 1]], ("a", "to", "b"): ab, ("a", "of", "a"): loop}
    assert list(distinct_relations(edges, sizes)) == [("a", "to", "b"), ("a", "of", "a")]
    edges["b", "back", "a"] = ab.flip(0)[:, :2]  # no longer the same edges
    assert len(distinct_relations(edges, sizes)) == 3
    cites = {("a", "cite", "a"): loop, ("a", "ref", "a"): loop.flip(0)}
    assert list(distinct_relations(cites, sizes)) == [("a", "cite", "a")]
    (own,) = relations({("a", "of", "a"): loop}, sizes, DOUBLE)
    assert own.back is own
    # there both ways already: twice in the mean; the self-loop once
    torch.testing.assert_close(own.mean.matrix.to_dense(), torch.tensor([[1, 0, 0], [0, 0, 1], [0, 1, 0]]).double())
    assert own.edge_index.size(1) == 5


# --- labels ---


def test_a_label_never_returns_to_its_node() -> None:
    data = library()
    loops = data["paper", "cites", "paper"].edge_index
    data["paper", "cites", "paper"].edge_index = loops[:, loops[0] != loops[1]]
    found = relations(data.edge_index_dict, SIZES, DOUBLE)
    for node in range(12):
        results = []
        for label in range(3):
            labels = torch.full((12, 3), 1 / 3, dtype=DOUBLE)
            labels[node] = F.one_hot(torch.tensor(label), 3).double()
            results.append(label_groups(labels, found, "paper", SIZES))
        for name in results[0]:
            own = torch.stack([result[name][node, 0] for result in results])
            torch.testing.assert_close(own, own[:1].expand(3, 3), atol=1e-7, rtol=0)
            if name.startswith("even"):
                torch.testing.assert_close(results[0][name].sum(2), torch.ones(12, 1, dtype=DOUBLE), atol=1e-6, rtol=0)
    assert list(results[0]) == [
        "even|paper/r.writes/author",
        "odd|paper/cites/paper",
        "even|paper/cites/paper",
        "even|paper/in/venue",
    ]
    assert torch.equal(results[0]["even|paper/in/venue"][11, 0], torch.full((3,), 1 / 3, dtype=DOUBLE))  # no venue


def test_label_groups_see_training_labels_alone(tmp_path) -> None:
    bundle = load_dataset("hetero-papers")
    split = bundle.splits[0]
    transform = RpHGNN.pre_transform(num_iterations=1, label_groups=True, precision="float64", kernel_seed=0)
    assert transform.uses_labels
    first = apply_pre_transform(transform, bundle, split, cache=tmp_path / "first").data
    other = bundle.replace(data=bundle.data.clone())
    other.data["paper"].y[split.test] = 0
    second = apply_pre_transform(transform, other, split, cache=tmp_path / "second").data
    assert torch.equal(first["paper"].x, second["paper"].x)
    assert [size for name, size in first["paper"].groups.items() if name.startswith("label")] == [[1, 3]] * 2
    assert not RpHGNN.pre_transform().uses_labels


def test_label_groups_want_classes() -> None:
    data = graphs.hetero()
    data["paper"].y, data["paper"].train_mask = torch.rand(5, 2), torch.ones(5, dtype=torch.bool)
    with pytest.raises(ConfigError, match="one class per node"):
        PropagateThenUpdate(with_labels=True)(data)


# --- the transform ---


def test_transform_leaves_rows_and_no_edges() -> None:
    data = PropagateThenUpdate(num_iterations=2, embedding_channels=8, seed=0)(library())
    assert data.node_types == ["author"]
    assert data.edge_types == []
    assert data["author"].x.dtype == torch.float16
    again = PropagateThenUpdate(num_iterations=2, embedding_channels=8, seed=0)(library())
    assert torch.equal(data["author"].x, again["author"].x)
    other = PropagateThenUpdate(num_iterations=2, embedding_channels=8, seed=1)(library())
    assert not torch.equal(data["author"].x, other["author"].x)


def test_types_without_features_get_random_ones() -> None:
    data = library()
    del data["venue"].x
    data["venue"].num_nodes = 4
    out = PropagateThenUpdate(num_iterations=1, embedding_channels=5, precision="float64", seed=0)(data)
    data["author"].y = torch.zeros(9)
    assert out.node_types == ["author"]
    del data["author"].y
    data["venue"].y = torch.zeros(4)
    venue = PropagateThenUpdate(1, embedding_channels=5, precision="float64", seed=0)(data)["venue"]
    assert venue.groups == {"odd|paper/in/venue": [1, 10], "even|venue/r.in/paper": [2, 5]}


def test_the_labelled_type_is_known_when_labels_are_hidden(tmp_path) -> None:
    data = library()
    data["venue"].y = torch.arange(4)
    bundle = load_dataset("hetero-papers").replace(data=data)
    out = apply_pre_transform(PropagateThenUpdate(1, seed=0), bundle, cache=tmp_path).data
    assert out.node_types == ["venue"]
    assert torch.equal(out["venue"].y, torch.arange(4))
    assert target_type(library()) == "author"


def test_errors_of_the_transform() -> None:
    data = library()
    data["paper"].x *= 1e6
    data["paper"].y = torch.zeros(12)
    with pytest.raises(DataError, match="precision=float32"):
        PropagateThenUpdate()(data)
    with pytest.raises(DataError, match="not of a Data"):
        PropagateThenUpdate()(graphs.path())  # type: ignore[arg-type]
    lonely = HeteroData()
    lonely["a"].x = torch.ones(3, 2)
    with pytest.raises(DataError, match="lead to or from 'a'"):
        PropagateThenUpdate()(lonely)
    with pytest.raises(DataError, match=r"apply RpHGNN\.pre_transform"):
        RpHGNN.infer(library())


# --- the encoder ---


def test_parameter_count_of_the_leaderboard() -> None:
    widths = [512, 128, 128, 128, 512, 128]
    slots = [3, 4, 3, 4, 3, 4]
    in_channels = {str(i): width for i, width in enumerate([*widths, *[349] * 4])}
    num_slots = {str(i): number for i, number in enumerate([*slots, *[1] * 4])}
    model = RpHGNN(in_channels, 349, num_slots, "paper", hidden_channels=512)
    assert sum(p.numel() for p in model.parameters()) == 7_720_368


def test_filters_combine_slots() -> None:
    model = RpHGNN({"a": 3, "b": 2}, 4, {"a": 5, "b": 1}, "n", hidden_channels=6, group_layers=1, output_layers=1)
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    x = torch.randn(7, 17, dtype=DOUBLE)
    a, b = model.groups
    conv = nn.functional.conv1d(x[:, :15].view(7, 5, 3), a.weight.unsqueeze(2), a.bias).flatten(1)
    single = x[:, 15:] * b.weight + b.bias
    merged = torch.cat([a.mlp(conv), b.mlp(single)], dim=1)
    assert a.weight.shape == (2, 5)
    assert b.weight.shape == (1, 1)
    torch.testing.assert_close(model({"n": x}), model.out(merged))


def test_wrong_groups_are_named() -> None:
    model = RpHGNN({"a": 3}, 2, {"a": 2}, "n", hidden_channels=4)
    with pytest.raises(DataError, match="n nodes have 5 values, not the 6 of 1 groups"):
        model({"n": torch.ones(4, 5)})


# --- training ---


def prepared(**changes: object) -> tuple[object, RpHGNN]:
    bundle = load_dataset("hetero-papers")
    options = {"num_iterations": 2, "hidden_channels": 8, "precision": "float32", "kernel_seed": 0} | changes
    settings = {k: v for k, v in options.items() if k != "hidden_channels"}
    transform = RpHGNN.pre_transform(**settings)
    clean = bundle.data.clone()
    y = clean["paper"].pop("y")
    data = transform(clean)
    data["paper"].y = y
    return bundle.replace(data=data), RpHGNN(**RpHGNN.infer(data), out_channels=3, hidden_channels=8, dropout=0.0)


def test_mini_batches_are_rows() -> None:
    bundle, _ = prepared()
    split, task = bundle.splits[0], create_task("node", "multiclass", "accuracy")
    batches = list(task.loader(bundle, split, "train", 50, seed=1))
    assert [len(batch.y) for batch in batches] == [50] * (len(split.train) // 50) + [len(split.train) % 50 or 50][
        :1
    ] * (len(split.train) % 50 > 0)
    seen = torch.cat([batch.data["paper"].x for batch in batches])
    expected = bundle.data["paper"].x[split.train]
    assert torch.equal(seen.sum(1).sort().values, expected.sum(1).sort().values)
    assert not torch.equal(seen, expected)  # shuffled
    again = torch.cat([batch.data["paper"].x for batch in task.loader(bundle, split, "train", 50, seed=1)])
    assert torch.equal(seen, again)
    val = torch.cat([batch.y for batch in task.loader(bundle, split, "val", 7)])
    assert torch.equal(val, bundle.data["paper"].y[split.val])


def test_f1_scores_come_in_pairs() -> None:
    logits, y = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1, 1])
    found = create_task("node", "multiclass", "micro_f1").metrics(logits, y)
    assert found == pytest.approx({"micro_f1": 2 / 3, "macro_f1": 2 / 3})
    assert next(iter(found)) == "micro_f1"
    several = create_task("node", "multilabel", "micro_f1").metrics(
        logits - 1.5, torch.tensor([[1.0, 0], [0, 1], [1, 0]])
    )
    assert several == pytest.approx({"micro_f1": 0.8, "macro_f1": 0.5})
    assert list(create_task("node", "multiclass", "accuracy").metrics(logits, y)) == ["accuracy"]


def test_agreement() -> None:
    views = [torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])]
    expected = sum(F.cross_entropy(view, torch.tensor([0, 1])) for view in views)
    torch.testing.assert_close(agreement(views), expected)
    view = views[0].clone().requires_grad_()
    agreement([view, views[1]]).backward()
    assert view.grad is not None


class _Run:
    seed = 0


@pytest.mark.parametrize("batch_size", [1000, 100])
def test_consistency_sees_every_node_once(batch_size: int) -> None:
    bundle, model = prepared()
    task = create_task("node", "multiclass", "accuracy")
    strategy = ConsistencyTraining(num_views=2, weight=0.5)
    blind = bundle.blind(bundle.splits[0])
    strategy.setup(model.eval(), blind, task, _Run())
    rows = []
    handle = model.register_forward_hook(lambda module, inputs, out: rows.append(len(out)))
    strategy.on_epoch(1)
    losses = [strategy.step(b) for b in task.loader(blind, blind.splits[0], "train", batch_size)]
    handle.remove()
    assert sum(rows) == 2 * 600
    if batch_size == 1000:
        logits, train = model(bundle.data.x_dict), bundle.splits[0].train
        supervised = F.cross_entropy(logits[train], bundle.data["paper"].y[train])
        torch.testing.assert_close(losses[0], 2 * (supervised + 0.5 * F.cross_entropy(logits, logits.argmax(1))))


def test_consistency_on_a_graph_with_edges() -> None:
    bundle = load_dataset("karate")
    model = nn.Linear(bundle.data.num_features, bundle.num_outputs)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = model

        def forward(self, x: Tensor) -> Tensor:
            return self.lin(x)

    net, task, split = Net(), create_task("node", "multiclass", "accuracy"), bundle.splits[0]
    strategy = ConsistencyTraining(num_views=3, weight=1.0)
    strategy.setup(net, bundle, task, _Run())
    (batch,) = task.loader(bundle, split, "train", 32)
    assert isinstance(batch, Batch)
    logits = net(bundle.data.x)
    expected = F.cross_entropy(logits[split.train], bundle.data.y[split.train]) + F.cross_entropy(
        logits, logits.argmax(1)
    )
    torch.testing.assert_close(strategy.step(batch), 3 * expected)


def test_consistency_wants_one_class_per_node() -> None:
    bundle, model = prepared()
    with pytest.raises(ConfigError, match="not multilabel node tasks"):
        ConsistencyTraining().setup(model, bundle, create_task("node", "multilabel", "micro_f1"), _Run())


@pytest.mark.parametrize("strategy", ["erm", "consistency"])
def test_a_run_learns(strategy: str, tmp_path) -> None:
    settings = {
        "model.hidden_channels": 16,
        "model.precision": "float32",
        "model.embedding_channels": 8,
        "train.epochs": 30,
        "train.batch_size": 200,
    }
    found = run("rphgnn", "hetero-papers", strategy=strategy, splits=[0], settings=settings, results=tmp_path)
    (record,) = found.records
    assert record.result.test["accuracy"] > 0.6  # a third by guessing

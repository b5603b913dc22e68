"""What every registered model must do, on tiny graphs. A card's ``exceptions`` turns a check off, with the reason."""

from __future__ import annotations

import copy
import io
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.data import BaseData
from torch_geometric.utils import is_undirected

from gnnzoo.cards import METRICS, ModelCard
from gnnzoo.datasets import HypergraphData
from gnnzoo.datasets.bundle import label_store
from gnnzoo.errors import ConfigError, GnnzooError, UnknownNameError
from gnnzoo.models.build import create_model, model_arguments
from gnnzoo.registry import DATASETS, MODELS
from gnnzoo.signature import parameters, validate
from gnnzoo.tasks import forward
from gnnzoo.testing import graphs as tiny

__all__ = ["CHECKS", "check_model", "model_checks", "run_check"]


@dataclass(frozen=True)
class Example:
    """Untransformed graphs and what a model is asked about them."""

    label: str
    graphs: list[BaseData]
    per_graph: bool
    """Whether the output has a row per graph, and not per node."""
    per_incidence: bool = False
    """Whether it has a row per incidence of the one hypergraph."""

    @property
    def num_outputs(self) -> int:
        """Number of classes."""
        return 2 if self.per_graph else tiny.NUM_CLASSES


@dataclass(frozen=True)
class Subject:
    """The model under check: how to build it and how to call it."""

    name: str
    card: ModelCard
    cls: Any

    @classmethod
    def of(cls, name: str) -> Subject:
        """Look a model up."""
        name = MODELS.canonical(name)
        return cls(name, MODELS.card(name), MODELS.get(name))

    @property
    def required(self) -> tuple[str, ...]:
        """Constructor arguments without a default: the data decides them."""
        return tuple(p.name for p in parameters(self.cls).values() if p.required)

    def examples(self) -> Iterator[Example]:
        """Yield one example for each structure and kind of output that the card names."""
        if "graph" in self.card.structures:
            if "graph" in self.card.tasks:
                yield Example("batch of graphs", list(tiny.graphs()), per_graph=True)
            if {"node", "inductive-node"} & set(self.card.tasks):
                yield Example("path", [tiny.path()], per_graph=False)
        if "hypergraph" in self.card.structures:
            if "node" in self.card.tasks:
                yield Example("hypergraph", [tiny.hypergraph()], per_graph=False)
            if "edge-dependent-node" in self.card.tasks:
                yield Example("incidences", [tiny.incidences()], per_graph=False, per_incidence=True)
        if "heterogeneous" in self.card.structures:
            yield Example("heterogeneous graph", [tiny.hetero()], per_graph=False)

    def degenerate(self) -> Iterator[Example]:
        """Yield graphs that break careless code, as far as the card's structures go."""
        makers = (
            tiny.triangle_with_isolated,
            tiny.empty_edges,
            tiny.single_node,
            tiny.duplicate_edges,
            tiny.self_loops,
            tiny.star,
            tiny.bipartite,
            tiny.two_components,
        )
        if "graph" in self.card.structures and "graph" in self.card.tasks:
            yield from (Example(f"{maker.__name__} in a batch", [maker()], per_graph=True) for maker in makers)
            yield Example("all in a batch", [maker() for maker in makers], per_graph=True)
        if "graph" in self.card.structures and {"node", "inductive-node"} & set(self.card.tasks):
            yield from (Example(maker.__name__, [maker()], per_graph=False) for maker in makers)
        if "hypergraph" in self.card.structures and "node" in self.card.tasks:
            empty = tiny.hypergraph()
            empty.hyperedge_index = empty.hyperedge_index[:, :0]
            yield Example("no hyperedges", [empty], per_graph=False)
            repeated = tiny.hypergraph()
            repeated.hyperedge_index = repeated.hyperedge_index.repeat(1, 2)
            yield Example("every incidence twice", [repeated], per_graph=False)
            sparse = tiny.hypergraph()
            sparse.hyperedge_index[1] *= 2
            sparse.num_hyperedges = 7
            yield Example("empty hyperedges", [sparse], per_graph=False)
            singletons = tiny.hypergraph()
            singletons.hyperedge_index[1] = torch.arange(singletons.hyperedge_index.size(1))
            singletons.num_hyperedges = singletons.hyperedge_index.size(1)
            yield Example("hyperedges of one node", [singletons], per_graph=False)
        if "heterogeneous" in self.card.structures:
            bare = tiny.hetero()
            for store in bare.edge_stores:
                store.edge_index = store.edge_index[:, :0]
            yield Example("no edges", [bare], per_graph=False)

    def transform(self, example: Example) -> list[BaseData]:
        """Return the example's graphs without labels, after the model's ``pre_transform``."""
        found = [graph.clone() for graph in example.graphs]
        transform, uses_labels = None, False
        if hasattr(self.cls, "pre_transform"):
            settings = self.card.defaults.model | self.card.tiny
            transform = self.cls.pre_transform(**validate(self.cls, settings, "tiny", self.required))
            uses_labels = bool(getattr(transform, "uses_labels", False))
        if uses_labels:
            for graph in found:
                label_store(graph).train_mask = torch.ones(len(label_store(graph).y), dtype=torch.bool)
        else:
            found = [_unlabelled(graph) for graph in found]
        if transform is not None:
            found = [transform(graph) for graph in found]
        return [_unlabelled(graph) for graph in found]

    def data(self, example: Example, dtype: torch.dtype = torch.float64) -> BaseData:
        """Return what the model is called with: a batch where it answers for graphs, else the one graph."""
        found = self.transform(example)
        whole = Batch.from_data_list(found) if example.per_graph or len(found) > 1 else found[0]
        if not example.per_graph and "inductive-node" not in self.card.tasks:
            whole = copy.copy(whole)  # such a model meets one graph, if need be a disconnected one, and no batch
            for store in whole.stores:
                store.pop("batch", None)
        return whole.apply(lambda value: value.to(dtype) if value.is_floating_point() else value)

    def build(self, example: Example, seed: int = 0, dtype: torch.dtype = torch.float64, **overrides: Any) -> nn.Module:
        """Build the tiny preset for an example, in evaluation mode."""
        torch.manual_seed(seed)
        found = self.transform(example)
        source = found if example.per_graph else found[0]
        if "per_incidence" in parameters(self.cls):
            overrides["per_incidence"] = example.per_incidence
        model = create_model(self.name, source, **{"out_channels": example.num_outputs, **self.card.tiny, **overrides})
        return model.to(dtype).eval()

    def moved(self, example: Example) -> nn.Module:
        """Build the tiny preset with all parameters off their initial values, where zeros may hide a mistake."""
        model = self.build(example)
        generator = torch.Generator().manual_seed(17)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.1)
        return model

    def without_dropout(self) -> dict[str, float]:
        """Return settings that turn every dropout off."""
        return {
            name: 0.0 for name, p in parameters(self.cls).items() if "dropout" in name and isinstance(p.default, float)
        }


def _require(condition: object, complaint: str) -> None:
    """Raise AssertionError unless ``condition`` holds, also where Python runs without assertions."""
    if not condition:
        raise AssertionError(complaint)


def labels(example: Example) -> Tensor:
    """Return the labels of an example, one for each row of the output."""
    return torch.cat([label_store(graph).y for graph in example.graphs])


def check_card(subject: Subject) -> None:
    """The card is complete, and what it says fits the constructor."""
    card = subject.card
    _require(card.equation, "no equation")
    _require(card.paper, "no paper")
    _require(card.search, "no search space")
    _require(card.tiny, "no tiny preset")
    skip = subject.required
    validate(subject.cls, card.tiny, "tiny", skip)
    validate(subject.cls, card.defaults.model, "defaults.model", skip)
    for benchmark, setting in card.datasets.items():
        _require(benchmark.count("@") == 1, f"datasets.{benchmark}: not dataset@protocol")
        _require(setting.source, f"datasets.{benchmark}: no source")
        validate(subject.cls, setting.model, f"datasets.{benchmark}.model", skip)
    for key, space in card.search.items():
        section, _, word = key.partition(".")
        _require(section in ("model", "train", "data"), f"search.{key}: starts with neither model., train. nor data.")
        if section == "model":
            for value in space.ends:
                validate(subject.cls, {word: value}, "search.model", skip)
    for benchmark, number in card.published.items():
        _require(benchmark.count("@") == 1, f"published.{benchmark}: not dataset@protocol")
        _require(number.metric in METRICS, f"published.{benchmark}: unknown metric {number.metric}")
        _require(number.source, f"published.{benchmark}: no source")
    for example in subject.examples():
        groups: dict[str, Any] = getattr(subject.build(example), "parameter_groups", dict)()
        _require(sorted(groups) == sorted(card.parameter_groups), f"parameter groups are {sorted(groups)}")


def check_docstring(subject: Subject) -> None:
    """The class's docstring cites the paper, has its equation and says the shapes."""
    text = subject.cls.__doc__ or ""
    _require("arxiv" in text.lower() or "doi.org" in text.lower(), "no citation (arXiv or doi)")
    _require(":math:" in text or ".. math::" in text, "no equation")
    _require("Shapes:" in text, "no Shapes section")


def check_documented_arguments(subject: Subject) -> None:
    """Every constructor argument is documented and nothing is swallowed by ``**kwargs``."""
    for parameter in parameters(subject.cls).values():
        _require(parameter.doc, f"argument {parameter.name} is not documented")
        _require(parameter.annotation is not Any, f"argument {parameter.name} has no type")
    example = next(subject.examples())
    try:
        subject.cls(**_constructor_arguments(subject, example), no_such_argument=1)
    except TypeError:
        return
    raise AssertionError("the constructor takes an argument that does not exist")


def check_unknown_argument(subject: Subject) -> None:
    """A misspelt hyperparameter is an error that names the right one."""
    names = [p.name for p in parameters(subject.cls).values() if not p.required]
    if not names:
        return
    name = max(names, key=len)
    misspelt: dict[str, Any] = {name[:-1]: 1}
    try:
        subject.build(next(subject.examples()), **misspelt)
    except ConfigError as error:
        message = str(error)
    else:
        raise AssertionError(f"{name[:-1]!r} passes for a hyperparameter")
    _require(repr(name) in message, f"the message does not name {name!r}: {message}")
    _require("\n" not in message, "the message has several lines")


def check_output(subject: Subject) -> None:
    """The output has a row per node or graph, a column per class, the parameters' type, and is finite."""
    for example in subject.examples():
        for dtype in (torch.float32, torch.float64):
            out = forward(subject.build(example, dtype=dtype), subject.data(example, dtype))
            shape = (len(labels(example)), example.num_outputs)
            _require(out.shape == shape, f"{example.label}: shape {tuple(out.shape)}, not {shape}")
            _require(out.dtype == dtype, f"{example.label}: {out.dtype}, not {dtype}")
            _require(out.isfinite().all(), f"{example.label}: not finite")


def check_gradients(subject: Subject) -> None:
    """Every parameter gets a finite gradient in training."""
    for example in subject.examples():
        model = subject.build(example).train()
        _weighted(forward(model, subject.data(example))).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is None:
                raise AssertionError(f"{example.label}: {name} gets none")
            _require(parameter.grad.isfinite().all(), f"{example.label}: {name} gets one that is not finite")


def check_reset_parameters(subject: Subject) -> None:
    """``reset_parameters`` depends on the seed and on nothing else; so does the constructor."""
    example = next(subject.examples())
    model, again = subject.build(example, seed=1), subject.build(example, seed=1)
    _require(_same_state(model, again), "two models built with one seed differ")
    torch.manual_seed(1)
    model.reset_parameters()  # type: ignore[operator]
    first = copy.deepcopy(model)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(value + 1)
    torch.manual_seed(1)
    model.reset_parameters()  # type: ignore[operator]
    _require(_same_state(model, first), "the same seed gives other values, or something is not reset")
    torch.manual_seed(2)
    model.reset_parameters()  # type: ignore[operator]
    _require(not _same_state(model, first), "another seed gives the same values")


def check_deterministic(subject: Subject) -> None:
    """Evaluation repeats bit for bit; training, outputs and gradients, does with the same seed."""
    for example in subject.examples():
        model, data = subject.build(example, dtype=torch.float32), subject.data(example, torch.float32)
        _require(torch.equal(forward(model, data), forward(model, data)), f"{example.label}: evaluation differs")
        runs = []
        for _ in range(2):
            model = subject.build(example, dtype=torch.float32).train()
            torch.manual_seed(3)
            out = forward(model, data)
            _weighted(out).backward()
            runs.append([out, *[p.grad for p in model.parameters() if p.grad is not None]])
        same = all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
        _require(same, f"{example.label}: training with one seed differs")


def check_permutation(subject: Subject) -> None:
    """Renumbering nodes permutes the rows of nodes and leaves those of graphs."""
    for example in subject.examples():
        generator = torch.Generator().manual_seed(5)
        pairs = [_permuted(graph, generator) for graph in example.graphs]
        moved = replace(example, graphs=[graph for graph, _ in pairs])
        model = subject.moved(example)
        before, after = forward(model, subject.data(example)), forward(model, subject.data(moved))
        expected = before if example.per_graph or example.per_incidence else before[pairs[0][1]]
        _assert_close(after, expected, example.label)


def check_edge_index(subject: Subject) -> None:
    """A plain ``edge_index`` and an ``EdgeIndex`` with filled caches give the same numbers."""
    for example in subject.examples():
        data = subject.data(example)
        if not isinstance(data, Data) or "edge_index" not in data:
            continue
        model = subject.moved(example)
        expected = forward(model, data)
        bare = EdgeIndex(data.edge_index, sparse_size=(data.num_nodes, data.num_nodes))
        layouts = {"EdgeIndex": bare}
        if bool((data.edge_index[0].diff() >= 0).all()):  # otherwise caches would need another order of the edges
            filled = EdgeIndex(bare, sort_order="row", is_undirected=is_undirected(data.edge_index))
            layouts["EdgeIndex with caches"] = filled.fill_cache_()
        for label, layout in layouts.items():
            changed = copy.copy(data)
            changed.edge_index = layout
            _assert_close(forward(model, changed), expected, f"{example.label}, {label}")


def check_edge_order(subject: Subject) -> None:
    """The order in which edges are listed plays no part."""
    for example in subject.examples():
        generator = torch.Generator().manual_seed(7)
        pairs = [_shuffled(graph, generator) for graph in example.graphs]
        shuffled = replace(example, graphs=[graph for graph, _ in pairs])
        model = subject.moved(example)
        expected = forward(model, subject.data(example))
        expected = expected[pairs[0][1]] if example.per_incidence else expected
        _assert_close(forward(model, subject.data(shuffled)), expected, example.label)


def check_batching(subject: Subject) -> None:
    """Graphs in a batch get what each gets alone."""
    for example in subject.examples():
        graphs = {
            "path": tiny.graphs(),
            "hypergraph": [tiny.hypergraph(), tiny.hypergraph(seed=1)],
            "incidences": [tiny.incidences(), tiny.incidences(seed=1)],
        }.get(example.label, example.graphs if example.per_graph else [tiny.hetero(), tiny.hetero(seed=1)])
        together = replace(example, graphs=list(graphs))
        model = subject.moved(together)
        whole = forward(model, subject.data(together))
        alone = [forward(model, subject.data(replace(example, graphs=[graph]))) for graph in graphs]
        _assert_close(whole, torch.cat(alone), example.label)


def check_degenerate_graphs(subject: Subject) -> None:
    """Isolated nodes, no edges, one node, double edges, loops: finite numbers, or an error that says what is wrong."""
    for example in subject.degenerate():
        for training in (False, True):
            try:
                model = subject.build(example).train(training)
                out = forward(model, subject.data(example))
            except GnnzooError:  # the model says what it cannot do, and does not do it wrong
                continue
            _require(out.isfinite().all(), f"{example.label}: output is not finite")
            _weighted(out).backward()
            finite = all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
            _require(finite, f"{example.label}: a gradient is not finite")


def check_overfits(subject: Subject) -> None:
    """300 steps of Adam on a handful of labels bring the loss down by 90 per cent."""
    for example in subject.examples():
        overrides: dict[str, Any] = dict(subject.without_dropout())
        model = subject.build(example, dtype=torch.float32, **overrides).train()
        data, y = subject.data(example, torch.float32), labels(example)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        first = last = float(F.cross_entropy(forward(model, data), y).detach())
        for _ in range(300):
            optimizer.zero_grad()
            loss = F.cross_entropy(forward(model, data), y)
            loss.backward()
            optimizer.step()
            last = float(loss.detach())
            if last <= 0.1 * first:
                break
        _require(last <= 0.1 * first, f"{example.label}: the loss falls from {first:.3g} to {last:.3g} only")


def check_state_dict(subject: Subject) -> None:
    """Weights go through a file into another model; calling a model leaves no traces of the graph in them."""
    for example in subject.examples():
        model, other = subject.build(example, seed=0), subject.build(example, seed=1)
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        data = subject.data(example)
        expected = forward(model, data)
        after = {key: value.shape for key, value in model.state_dict().items()}
        _require(shapes == after, f"{example.label}: a forward pass changes what is saved")
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        _require(torch.equal(forward(other, data), expected), f"{example.label}: outputs differ")


def check_derivative(subject: Subject) -> None:
    """Autograd's derivative along a random direction of parameters and features is that of finite differences."""
    for example in subject.examples():
        model, data = subject.moved(example), subject.data(example)
        points = [*model.parameters(), *_features(data)]
        for point in points:
            point.requires_grad_()
        grads = torch.autograd.grad(_weighted(forward(model, data)), points, allow_unused=True)
        generator = torch.Generator().manual_seed(11)
        directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in points]
        exact = sum(float((g * d).sum()) for g, d in zip(grads, directions, strict=True) if g is not None)
        step, values = 1e-6, []
        with torch.no_grad():
            for factor in (step, -2 * step):
                for point, direction in zip(points, directions, strict=True):
                    point.add_(direction, alpha=factor)
                values.append(float(_weighted(forward(model, data))))
        numeric = (values[0] - values[1]) / (2 * step)
        error = abs(numeric - exact) / max(abs(exact), 1e-3)
        _require(error < 1e-5, f"{example.label}: {exact:.8g} by autograd, {numeric:.8g} by differences")


def check_parameter_count(subject: Subject) -> None:
    """The number of trained parameters is the one that the card vouches for, where the dataset's sizes are known."""
    for benchmark, expected in subject.card.parameters.items():
        try:
            dataset = DATASETS.card(benchmark.partition("@")[0])
        except UnknownNameError:
            continue
        setting = subject.card.datasets.get(benchmark)
        sizes = {"in_channels": dataset.counts.features, "out_channels": dataset.num_outputs}
        model = create_model(subject.name, **sizes, **(setting.model if setting else {}))
        found = sum(p.numel() for p in model.parameters() if p.requires_grad)  # as records count them
        _require(found == expected, f"{benchmark}: {found}, not {expected}")


def check_repr(subject: Subject) -> None:
    """The model prints itself in fewer than 30 lines."""
    lines = len(repr(subject.build(next(subject.examples()))).splitlines())
    _require(lines < 30, f"{lines} lines")


def check_copies(subject: Subject) -> None:
    """A model that has been used can be deep-copied and pickled."""
    example = next(subject.examples())
    model, data = subject.build(example), subject.data(example)
    expected = forward(model, data)
    _require(torch.equal(forward(copy.deepcopy(model), data), expected), "a deep copy gives other numbers")
    if "<locals>" in subject.cls.__qualname__ or subject.cls.__module__ == "__main__":
        return  # pickle cannot name such a class
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    unpickled = torch.load(file, weights_only=False)
    _require(torch.equal(forward(unpickled, data), expected), "unpickled, it gives other numbers")


def check_speed(subject: Subject) -> None:
    """A training step of the tiny preset takes less than a second of processor time."""
    for example in subject.examples():
        model, data = subject.build(example).train(), subject.data(example)
        _weighted(forward(model, data)).backward()  # the first call may build caches
        start = time.process_time()
        _weighted(forward(model, data)).backward()
        spent = time.process_time() - start
        _require(spent < 1, f"{example.label}: {spent:.2f} s")


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_card,
        check_docstring,
        check_documented_arguments,
        check_unknown_argument,
        check_output,
        check_gradients,
        check_reset_parameters,
        check_deterministic,
        check_permutation,
        check_edge_index,
        check_edge_order,
        check_batching,
        check_degenerate_graphs,
        check_overfits,
        check_state_dict,
        check_derivative,
        check_parameter_count,
        check_repr,
        check_copies,
        check_speed,
    )
}
"""All checks by name; a card's ``exceptions`` uses these names."""


def model_checks(name: str) -> list[str]:
    """Return the names of the checks, for ``pytest.mark.parametrize``; run each by :func:`run_check`.

    Raises:
        UnknownNameError: no such model, or the card excepts it from a check that does not exist.
    """
    subject = Subject.of(name)
    for check in subject.card.exceptions:
        if check not in CHECKS:
            raise UnknownNameError("check", check, CHECKS, f"exceptions of model {subject.name!r}")
    return list(CHECKS)


def run_check(name: str, check: str) -> None:
    """Run one check. One that the card excepts must fail: an exception that is not needed is an error.

    Raises:
        AssertionError: the check fails, with the reason in one line.
    """
    subject = Subject.of(name)
    if check not in CHECKS:
        raise UnknownNameError("check", check, CHECKS)
    failure = _failure(subject, check)
    if check in subject.card.exceptions:
        _require(failure is not None, f"{subject.name}: the exception from {check!r} is not needed")
    elif failure is not None:
        raise AssertionError(f"{subject.name}: {check}: {failure}")


def check_model(name: str) -> None:
    """Run every generic check on a registered model: for its authors, before they publish it.

    Args:
        name: the model's name or alias.

    Raises:
        AssertionError: some checks fail; all of them are named.
        UnknownNameError: no such model.
    """
    failures = []
    for check in model_checks(name):
        try:
            run_check(name, check)
        except AssertionError as error:
            failures.append(str(error))
    if failures:
        raise AssertionError("\n".join([f"{len(failures)} of {len(CHECKS)} checks fail", *failures]))


def _failure(subject: Subject, check: str) -> str | None:
    """Run a check apart from the caller's random numbers; return what is wrong, if anything."""
    with torch.random.fork_rng(devices=[]):
        try:
            CHECKS[check](subject)
        except AssertionError as error:
            return str(error) or "fails"
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
    return None


def _constructor_arguments(subject: Subject, example: Example) -> dict[str, Any]:
    graphs = subject.transform(example)
    source = graphs if example.per_graph else graphs[0]
    return model_arguments(subject.name, source, out_channels=example.num_outputs, **subject.card.tiny)


def _unlabelled(graph: BaseData) -> BaseData:
    """Take labels and masks away: a model never sees them."""
    for store in graph.stores:
        for key in ("y", "train_mask"):
            store.pop(key, None)
    return graph


def _weighted(out: Tensor) -> Tensor:
    """Return a scalar that depends on every output differently."""
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(13), dtype=out.dtype)
    return (out * weight).sum()


def _same_state(model: nn.Module, other: nn.Module) -> bool:
    first, second = model.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def _assert_close(found: Tensor, expected: Tensor, label: str) -> None:
    _require(found.shape == expected.shape, f"{label}: shape {tuple(found.shape)}, not {tuple(expected.shape)}")
    found, expected = found.detach(), expected.detach()
    error = float((found - expected).norm() / expected.norm().clamp(min=1e-12))
    _require(error < 1e-9, f"{label}: relative difference {error:.1e}")


def _features(data: BaseData) -> list[Tensor]:
    return [store.x for store in data.node_stores if "x" in store]


def _permuted(graph: BaseData, generator: torch.Generator) -> tuple[BaseData, Tensor]:
    """Renumber the nodes; return also which old node stands in each row of the (labelled) node type."""
    moved, main = copy.copy(graph), torch.empty(0)
    places: dict[Any, Tensor] = {}
    for store in moved.node_stores:
        order = torch.randperm(store.num_nodes, generator=generator)
        places[store._key] = order.argsort()
        if len(moved.node_stores) == 1 or "y" in store:
            main = order
        for key, value in list(store.items()):
            if store.is_node_attr(key):
                store[key] = value[order]
    if isinstance(moved, HeteroData):
        for store in moved.edge_stores:
            source, _, target = store._key
            store.edge_index = torch.stack([places[source][store.edge_index[0]], places[target][store.edge_index[1]]])
    elif isinstance(moved, HypergraphData):
        nodes, hyperedges = moved.hyperedge_index
        moved.hyperedge_index = torch.stack([places[None][nodes], hyperedges])
    else:
        moved.edge_index = places[None][moved.edge_index]
    return moved, main


def _shuffled(graph: BaseData, generator: torch.Generator) -> tuple[BaseData, Tensor]:
    """List the edges in another order; return also which (of the last kind) stands in each place now."""
    shuffled, order = copy.copy(graph), torch.empty(0)
    name = "hyperedge_index" if isinstance(graph, HypergraphData) else "edge_index"
    for store in shuffled.edge_stores:
        order = torch.randperm(store[name].size(1), generator=generator)
        store[name] = store[name][:, order]
        if "order_pe" in store:
            store.order_pe = store.order_pe[order]
    return shuffled, order

"""Measure the kernels and models on fixed workloads, next to a plain formulation in the same run.

    python tools/benchmark.py [ops sheaf dagnn ...] [--repeats N] [--json FILE] [--markdown FILE]

CPU seconds per training step (forward, backward, Adam; ``time.process_time``, one thread, median of interleaved
repeats) and peak memory of a fresh process. Only ratios of one run mean anything. Exit status 1 if a ratio misses its
bar or if fast and plain disagree.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import networkx as nx
import torch
from plain import (
    LocalHGNN,
    PlainDAGNN,
    PlainHiGCN,
    PlainPPGNPlus,
    PlainSheaf,
    PlainSIRGCN,
    PlainSPEN,
    lean_scan,
    plain_propagation,
    plain_scan,
    plain_weights,
    planned_polynomials,
)
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.loader import DataLoader
from torch_geometric.utils import scatter

from gnnzoo import create_model, load_dataset, ops
from gnnzoo.models.dagnn import DAGNN
from gnnzoo.models.hgnn import HGNN
from gnnzoo.models.higcn import HiGCN
from gnnzoo.models.l2r_gnn import L2RGNN
from gnnzoo.models.light_hgnn import LightHGNN
from gnnzoo.models.ppgn_plus import PPGNPlus
from gnnzoo.models.rphgnn import RpHGNN
from gnnzoo.models.sheaf import NeuralSheafDiffusion, SheafGraph
from gnnzoo.models.sir_gcn import SIRGCN
from gnnzoo.models.spen import SPEN
from gnnzoo.nn.hypergraph import incidence
from gnnzoo.places import data_roots, missing
from gnnzoo.registry import DATASETS, MODELS
from gnnzoo.strategies.l2r import LearningToReweight
from gnnzoo.tasks import Batch, create_task, forward
from gnnzoo.transforms.petals import flower_petals
from gnnzoo.transforms.polynomials import polynomials
from gnnzoo.transforms.projection import propagate_then_update, relations, unpack

Step = Callable[[], object]


@dataclass
class Workload:
    """A fast way and a plain way to do one thing, and how much faster the fast one must be."""

    name: str
    fast: Callable[[], Step]
    plain: Callable[[], Step] | None = None
    ratio: float = 0.0
    seconds: float = float("inf")
    arrays: Callable[[], int] | None = None
    """Bytes of what the fast way returns; at its peak it may take no more than four times that."""
    gap: Callable[[], float] | None = None


@dataclass
class Result:
    workload: str
    fast_ms: float
    plain_ms: float | None
    ratio: float | None
    bar: str
    fast_mib: int | None
    plain_mib: int | None
    gap: float | None
    passed: bool


def random_graph(num_nodes: int, num_directed: int, seed: int = 0) -> Tensor:
    """Return an undirected simple graph whose degrees vary as in a web graph, with both directions of each edge."""
    generator = torch.Generator().manual_seed(seed)
    popularity = torch.rand(num_nodes, generator=generator).pow(-0.5)
    keys = torch.empty(0, dtype=torch.int64)
    while keys.numel() < num_directed // 2:
        pairs = torch.multinomial(popularity, 2 * num_directed, replacement=True, generator=generator).view(2, -1)
        low, high = pairs.min(0).values, pairs.max(0).values
        keys = torch.cat([keys, (low * num_nodes + high)[low < high]]).unique()
    keys = keys[torch.randperm(keys.numel(), generator=generator)[: num_directed // 2]].sort().values
    low, high = keys // num_nodes, keys % num_nodes
    return torch.stack([torch.cat([low, high]), torch.cat([high, low])])


def training_step(model: nn.Module, x: Tensor, edge_index: Tensor, num_classes: int) -> Step:
    """Return a function that does one full-batch training step."""
    y = torch.arange(x.size(0)) % num_classes
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x, edge_index), y).backward()
        optimizer.step()

    return step


def disagreement(fast: nn.Module, plain: nn.Module, x: Tensor, edge_index: Tensor) -> float:
    """Return the relative difference of the two outputs in evaluation mode."""
    with torch.no_grad():
        a, b = fast.eval()(x, edge_index), plain.eval()(x, edge_index)
    return float((a - b).norm() / b.norm())


def model_workload(
    name: str,
    make: Callable[[], nn.Module],
    make_plain: Callable[..., nn.Module],
    data: Callable[[], tuple[Tensor, Tensor]],
    num_classes: int,
    ratio: float,
) -> Workload:
    def build(plain: bool) -> tuple[nn.Module, Tensor, Tensor]:
        x, edge_index = data()
        torch.manual_seed(0)
        model = make()
        return (make_plain(model, edge_index, x.size(0)) if plain else model), x, edge_index

    def gap() -> float:
        (fast, x, edge_index), (plain, *_) = build(False), build(True)
        return disagreement(fast, plain, x, edge_index)

    steps = [lambda plain=plain: training_step(*build(plain), num_classes) for plain in (False, True)]
    return Workload(name, steps[0], steps[1], ratio, gap=gap)


def dense_features(num_nodes: int, width: int, edges: int) -> tuple[Tensor, Tensor]:
    return torch.rand(num_nodes, width, generator=torch.Generator().manual_seed(1)), random_graph(num_nodes, edges)


def words(num_nodes: int, width: int, edges: int, density: float) -> tuple[Tensor, Tensor]:
    x = (torch.rand(num_nodes, width, generator=torch.Generator().manual_seed(1)) < density).float()
    return x / x.sum(1, keepdim=True).clamp(min=1), random_graph(num_nodes, edges)


def sheaf_workloads() -> list[Workload]:
    chameleon = partial(dense_features, 2277, 2325, 62742)
    common = {"hidden_channels": 32, "dropout": 0.0}
    diag = common | {"sheaf": "diag", "stalk_dim": 4, "add_lp": True, "num_layers": 5, "second_linear": True}
    cases = [
        ("Diag d=4+lp, 5 layers", diag | {"input_dropout": 0.7}, 8.0),
        ("Bundle d=3, 2 layers", common | {"sheaf": "bundle", "stalk_dim": 3}, 4.0),
        ("General d=3, 2 layers", common | {"sheaf": "general", "stalk_dim": 3}, 5.0),
    ]
    workloads = [
        model_workload(
            f"sheaf chameleon {name}", partial(NeuralSheafDiffusion, 2325, 5, **kwargs), PlainSheaf, chameleon, 5, bar
        )
        for name, kwargs, bar in cases
    ]

    def construct() -> Step:
        edge_index = random_graph(5201, 2 * 108_536)

        def step() -> None:
            SheafGraph(edge_index.clone(), 5201).pattern("bundle", 3, (1,), True, torch.float32)

        return step

    return [*workloads, Workload("sheaf index construction, squirrel", construct, seconds=0.5)]


def dagnn_workloads() -> list[Workload]:
    cora = partial(words, 2708, 1433, 10556, 0.0127)
    return [model_workload("dagnn cora K=10", partial(DAGNN, 1433, 7), PlainDAGNN, cora, 7, 2.0)]


def higcn_workloads() -> list[Workload]:
    """A training step, and the search for petals on the sets whose files are here."""
    cora = partial(words, 2708, 1433, 10556, 0.0127)
    step = model_workload("higcn cora K=10, orders 1 and 2", partial(HiGCN, 1433, 7), PlainHiGCN, cora, 7, 4.0)

    def lift(name: str, order: int) -> Step:
        data = load_dataset(name).data
        return partial(flower_petals, data.edge_index, data.num_nodes, order)

    bars = [("cora", 2, 1.0), ("cora", 3, 1.0), ("chameleon", 2, 10.0), ("squirrel", 2, 20.0)]
    here = [bar for bar in bars if not missing(DATASETS.card(bar[0]), data_roots())]
    return [step] + [
        Workload(f"higcn petals of {name} up to order {order}", partial(lift, name, order), seconds=seconds)
        for name, order, seconds in here
    ]


def sir_gcn_workloads() -> list[Workload]:
    def minesweeper() -> tuple[Tensor, Tensor]:
        board = load_dataset("minesweeper-grid", size=100).graphs[0]  # the nodes and edges of minesweeper
        return board.x, board.edge_index

    make = partial(SIRGCN, 7, 2)  # the published 256 channels and 5 layers, sym, with their dropout
    return [model_workload("sir-gcn minesweeper 256 x 5", make, PlainSIRGCN, minesweeper, 2, 1.8)]


def polynomial_workloads() -> list[Workload]:
    """The 12 channels of three graphs, a hundred times each, and a training step of PPGN++."""

    def adjacency(name: str) -> Tensor:
        if name.startswith("sr"):
            edge_index = load_dataset(name).graphs[0].edge_index
            dense = torch.zeros(35, 35, dtype=torch.float64)
            dense[edge_index[0], edge_index[1]] = 1
            return dense
        graph = nx.karate_club_graph() if name == "karate" else nx.gnm_random_graph(23, 25, seed=1)
        return torch.from_numpy(nx.to_numpy_array(graph, weight=None))

    def repeated(function: Callable[[Tensor], Tensor], name: str) -> Step:
        matrix = adjacency(name)

        def step() -> None:
            for _ in range(100):  # once takes a tenth of a millisecond
                function(matrix)

        return step

    def gap(name: str) -> float:
        matrix = adjacency(name)
        return float((polynomials(matrix) - planned_polynomials(matrix)).abs().max())

    names = ["karate", "sparse graph of 23 nodes"]
    if not missing(DATASETS.card("sr351899"), data_roots()):
        names.append("sr351899")
    workloads = [
        Workload(
            f"12 polynomials of {name}",
            partial(repeated, polynomials, name),
            partial(repeated, planned_polynomials, name),
            ratio=20.0,
            gap=partial(gap, name),
        )
        for name in names
    ]

    def batch() -> tuple[Tensor, Tensor]:
        nodes = torch.arange(10, 34, 3).repeat(4)  # 32 graphs of 10 to 31 nodes
        true = torch.arange(31) < nodes[:, None]
        mask = (true[:, None] & true[:, :, None]).unsqueeze(1).float()
        return torch.rand(32, 12, 31, 31, generator=torch.Generator().manual_seed(1)) * mask, mask

    class Dense(nn.Module):
        def __init__(self, model: PPGNPlus) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.model.forward_dense(x, mask)

    def make() -> nn.Module:
        return Dense(PPGNPlus(11, 2, 64, 4, 64))

    def plain(model: nn.Module, mask: Tensor, _: int) -> nn.Module:
        return PlainPPGNPlus(model.model, mask)  # type: ignore[arg-type]

    return [*workloads, model_workload("ppgn-plus 64 x 4, 32 graphs of 10 to 31 nodes", make, plain, batch, 2, 1.5)]


def ops_workloads() -> list[Workload]:
    def spmm(num_nodes: int, edges: int, width: int, weighted: bool, plain: bool) -> Step:
        edge_index = random_graph(num_nodes, edges)
        x = torch.rand(num_nodes, width, requires_grad=True)
        weight = torch.rand(edges, requires_grad=weighted)

        def step() -> None:
            x.grad = weight.grad = None
            if plain:
                messages = weight.unsqueeze(1) * x[edge_index[0]]
                out = scatter(messages, edge_index[1], dim=0, dim_size=num_nodes, reduce="sum")
            else:
                out = ops.spmm(edge_index, x, weight)
            out.sum().backward()

        return step

    def linear(plain: bool) -> Step:
        x, _ = words(2708, 1433, 10556, 0.0127)
        weight = torch.rand(64, 1433, requires_grad=True)

        def step() -> None:
            weight.grad = None
            if plain:
                out = nn.functional.linear(nn.functional.dropout(x, 0.5), weight)
            else:
                out = ops.sparse_linear(x, weight, dropout=0.5, training=True)
            out.sum().backward()

        return step

    workloads = [
        Workload(
            f"spmm {nodes} nodes, {edges} edges, d={width}{', weight gradient' if weighted else ''}",
            partial(spmm, nodes, edges, width, weighted, False),
            partial(spmm, nodes, edges, width, weighted, True),
            ratio=1.0,
        )
        for nodes, edges, width in ((2708, 10556, 64), (24_500, 186_000, 64))
        for weighted in (False, True)
    ]
    return [*workloads, Workload("sparse_linear cora 1433 -> 64", partial(linear, False), partial(linear, True), 1.0)]


def scan_workloads() -> list[Workload]:
    """The nodes of a graph as one sequence, and a short sequence of tokens for each node."""

    def inputs(batch: int, channels: int, length: int, states: int) -> list[Tensor]:
        torch.manual_seed(0)
        u, B, C = torch.randn(batch, channels, length), *torch.randn(2, batch, states, length)
        delta = nn.functional.softplus(torch.randn(batch, channels, length) - 3)
        A = -torch.arange(1.0, states + 1).expand(channels, -1).contiguous()
        return [t.requires_grad_() for t in (u, delta, A, B, C)]

    def step(scan: Callable[..., Tensor], size: tuple[int, ...]) -> Step:
        given = inputs(*size)
        weight = torch.randn_like(given[0])
        return lambda: torch.autograd.grad((scan(*given) * weight).sum(), given)

    def gap(plain: Callable[..., Tensor], size: tuple[int, ...]) -> float:
        given = inputs(*size)
        with torch.no_grad():
            a, b = ops.selective_scan(*given), plain(*given)
        return float((a - b).norm() / b.norm())

    cases = [((1, 64, 2000, 16), "reference", plain_scan, 5.0), ((512, 64, 10, 16), "lean loop", lean_scan, 1.0)]
    return [
        Workload(
            f"scan {size} against the {name}",
            partial(step, ops.selective_scan, size),
            partial(step, plain, size),
            ratio,
            gap=partial(gap, plain, size),
        )
        for size, name, plain, ratio in cases
    ]


def spen_workloads() -> list[Workload]:
    """An epoch over the graphs of MUTAG, whose balls were found before, as the authors' configuration has it."""
    if missing(DATASETS.card("MUTAG"), data_roots()):
        print("spen: not measured, the files of MUTAG are not here", file=sys.stderr)
        return []

    def build(plain: bool) -> tuple[nn.Module, list[Data]]:
        graphs = [SPEN.pre_transform()(graph) for graph in load_dataset("MUTAG").graphs]
        torch.manual_seed(0)
        model = create_model("spen", graphs, hidden_channels=64, num_layers=5, version="v2")
        return (PlainSPEN(model) if plain else model), graphs

    def call(model: nn.Module, batch: Data) -> Tensor:
        return model(batch) if isinstance(model, PlainSPEN) else forward(model, batch)

    def epoch(plain: bool) -> Step:
        model, graphs = build(plain)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        model.train()

        def step() -> None:
            for batch in DataLoader(graphs, batch_size=4):
                optimizer.zero_grad()
                nn.functional.cross_entropy(call(model, batch), batch.y).backward()
                optimizer.step()

        return step

    def gap() -> float:
        with torch.no_grad():
            a, b = (call(m.eval(), next(iter(DataLoader(g, batch_size=32)))) for m, g in map(build, (False, True)))
        return float((a - b).norm() / b.norm())

    return [Workload("spen v2 64x5, an epoch of MUTAG", partial(epoch, False), partial(epoch, True), 3.0, gap=gap)]


def data_workloads() -> list[Workload]:
    """First loads (raw files, parsed and checked) and cached ones, of the sets whose files are here."""
    cases = [
        ("squirrel", "first", 10.0),
        ("hgb-dblp", "first", 10.0),
        ("tolokers", "first", 10.0),
        ("tolokers", "cached", 1.0),
        ("ogbg-molhiv", "first", float("inf")),
        ("ogbg-molhiv", "cached", 2.0),
    ]

    def step(name: str, kind: str) -> Step:
        folder = tempfile.TemporaryDirectory(prefix="gnnzoo-benchmark-")

        def load() -> object:
            if kind == "first":
                folder.cleanup()
            os.environ["GNNZOO_CACHE"] = folder.name
            return load_dataset(name)

        return load

    def nbytes(name: str) -> int:
        graphs = load_dataset(name).graphs
        return sum(v.nbytes for g in graphs for store in g.stores for v in store.values() if isinstance(v, Tensor))

    here = [case for case in cases if not missing(DATASETS.card(case[0]), data_roots())]
    for name, kind, _ in cases:
        if (name, kind) not in {case[:2] for case in here}:
            print(f"{kind} load of {name}: not measured, its files are not here", file=sys.stderr)
    return [
        Workload(f"{kind} load of {name}", partial(step, name, kind), seconds=bar, arrays=partial(nbytes, name))
        for name, kind, bar in here
    ]


def l2r_workloads() -> list[Workload]:
    """The weights of a batch against autograd and a loop over features, and against a whole iteration they are part of.

    An iteration is one of L2R-GNN on 32 graphs of 20 nodes with 64 channels; its weights may take 30 % of it.
    """

    def setting(graphs: int, channels: int, features: int) -> tuple[LearningToReweight, Tensor]:
        torch.manual_seed(0)
        strategy = LearningToReweight(num_f=features, lambdap=0.1, n_clusters="all")
        x = torch.randn(graphs, channels)
        strategy.enqueue(torch.randn(graphs, channels), torch.ones(graphs))
        return strategy, x

    def fast(*sizes: int) -> Step:
        strategy, x = setting(*sizes)
        return lambda: strategy.learn(x, strategy.draw(x))

    def plain(*sizes: int) -> Step:
        strategy, x = setting(*sizes)
        features, queued = (queue[0] for queue in strategy.queues(x))
        return lambda: plain_weights(x, features, queued, strategy.draw(x)[0], strategy.lrbl, strategy.lambdap)

    def gap(*sizes: int) -> float:
        strategy, x = setting(*sizes)
        features, queued = (queue[0] for queue in strategy.queues(x))
        noise = strategy.draw(x)
        expected = plain_weights(x, features, queued, noise[0], strategy.lrbl, strategy.lambdap)
        return float((strategy.learn(x, noise) - expected).norm() / expected.norm())

    def iteration() -> Step:
        graphs = [Data(x=torch.eye(3)[torch.arange(20) % 3], edge_index=random_graph(20, 76, n)) for n in range(32)]
        for number, graph in enumerate(graphs):
            graph.y = torch.tensor([number % 2])
        batch = Batch(next(iter(DataLoader(graphs, batch_size=32))))
        strategy, _ = setting(32, 64, 1)
        strategy.model, strategy.task = L2RGNN(3, 2).train(), create_task("graph", "multiclass", "accuracy")
        optimizer = torch.optim.Adam(strategy.model.parameters(), lr=1e-3)

        def step() -> None:
            optimizer.zero_grad()
            strategy.step(batch).backward()
            optimizer.step()

        return step

    cases = [((32, 64, 1), 2.0), ((32, 64, 5), 3.0), ((128, 128, 5), 1.2)]
    return [
        Workload("l2r weights in a whole iteration", partial(fast, 32, 64, 1), iteration, 1 / 0.3),
        *(
            Workload(
                "l2r weights, batch {}, {} channels, {} features".format(*sizes),
                partial(fast, *sizes),
                partial(plain, *sizes),
                bar,
                gap=partial(gap, *sizes),
            )
            for sizes, bar in cases
        ),
    ]


def light_hgnn_workloads() -> list[Workload]:
    """Answers about some nodes: a student's, and those of an HGNN (as published: 128 and 32 hidden units).

    ``plain`` is the teacher's faster way: the whole hypergraph, or what two layers reach from the nodes. Each node has
    100 features and is in ten hyperedges of ten nodes on average. No ratio is asked for: where the student begins to
    win is what is shown. A step answers five requests.
    """
    requests, width, classes = 5, 100, 10

    def setting(n: int) -> tuple[Tensor, Tensor, HGNN]:
        generator = torch.Generator().manual_seed(n)
        nodes = torch.randint(n, (10 * n,), generator=generator)
        index = torch.stack([nodes, torch.arange(n).repeat_interleave(10)]).unique(dim=1)
        torch.manual_seed(0)
        teacher = HGNN(width, classes, 32).eval()
        return torch.randn(n, width, generator=generator), index, teacher

    def asked(n: int, count: int | None) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        return [torch.randperm(n, generator=generator)[: count or n] for _ in range(requests)]

    def student(n: int, count: int | None) -> Step:
        x, *_ = setting(n)
        model, rows = LightHGNN(width, classes).eval(), asked(n, count)
        return torch.no_grad()(lambda: [model(x if count is None else x[nodes]) for nodes in rows])

    def teacher(n: int, count: int | None) -> Step:
        x, index, model = setting(n)
        rows = asked(n, count)
        whole = torch.no_grad()(lambda: [model(x, index)[nodes] for nodes in rows])
        if count is None:
            return whole
        local = LocalHGNN(model, incidence(index, x))
        near = torch.no_grad()(lambda: [local(x, nodes) for nodes in rows])
        for step in (whole, near):
            step()  # builds caches
        return min((whole, near), key=cpu_seconds)

    @torch.no_grad()
    def gap(n: int, count: int) -> float:
        x, index, model = setting(n)
        (nodes, *_) = asked(n, count)
        expected = model(x, index)[nodes]
        return float((LocalHGNN(model, incidence(index, x))(x, nodes) - expected).norm() / expected.norm())

    return [
        Workload(
            f"light-hgnn {n} nodes, {count or 'all'} asked",
            partial(student, n, count),
            partial(teacher, n, count),
            gap=partial(gap, n, count) if count else None,
        )
        for n in (1_000, 3_000, 10_000, 30_000, 55_000)
        for count in (1, 100, 1000, None)
    ]


def rphgnn_workloads() -> list[Workload]:
    """An epoch on graphs of few and of many edges, and the pre-computation."""
    sizes, widths = {"author": 2000, "paper": 6000, "term": 3000}, {"author": 100, "paper": 800, "term": 50}

    def graph(edges: int) -> tuple[dict[str, Tensor], dict[tuple[str, str, str], Tensor]]:
        torch.manual_seed(0)
        x = {kind: torch.rand(size, widths[kind]) for kind, size in sizes.items()}
        kinds = [("author", "writes", "paper"), ("paper", "has", "term")]
        return x, {kind: torch.stack([torch.randint(sizes[k], (edges,)) for k in kind[::2]]) for kind in kinds}

    def kernel(name: str, size: tuple[int, int]) -> Tensor:
        return torch.randn(size, generator=torch.Generator().manual_seed(len(name)))

    def fast() -> list[Tensor]:
        x, edges = graph(60_000)
        return list(unpack(*propagate_then_update(x, relations(edges, sizes), "author", kernel, 3)).values())

    def plain() -> list[Tensor]:
        return plain_propagation(*graph(60_000), "author", kernel, 3)

    def gap() -> float:
        return max(float((a - b).norm() / b.norm()) for a, b in zip(fast(), plain(), strict=True))

    def epoch(times: int) -> Step:
        """Train on the authors of a graph that has so many times the edges."""
        bundle = load_dataset("hetero-papers")
        data = HeteroData()
        x, edges = graph(20_000 * times)
        for kind, value in x.items():
            data[kind].x = value
        for kind, index in edges.items():
            data[kind].edge_index = index
        data = RpHGNN.pre_transform(num_iterations=3)(data)
        data["author"].y = torch.arange(2000) % 4
        torch.manual_seed(0)
        model = RpHGNN(**RpHGNN.infer(data), out_channels=4, hidden_channels=64).train()
        task, split = create_task("node", "multiclass", "accuracy"), bundle.splits[0].among(torch.arange(2000))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

        def step() -> None:
            for batch in task.loader(bundle.replace(data=data), split, "train", 100):
                optimizer.zero_grad()
                task.loss(forward(model, batch.data), batch).backward()
                optimizer.step()

        return step

    workloads = [
        Workload("rphgnn epoch, ten times the edges", partial(epoch, 10), partial(epoch, 1), 0.8),
        Workload("rphgnn pre-computation, 60000 edges", lambda: fast, lambda: plain, 3.0, gap=gap),
    ]
    if missing(DATASETS.card("hgb-dblp"), data_roots()):
        print("rphgnn: pre-computation of hgb-dblp not measured, its files are not here", file=sys.stderr)
        return workloads

    def dblp() -> Step:
        data = load_dataset("hgb-dblp").data
        return partial(RpHGNN.pre_transform(**MODELS.card("rphgnn").datasets["hgb-dblp@hgb-half"].model), data)

    return [*workloads, Workload("rphgnn pre-computation of hgb-dblp", dblp, seconds=120.0)]


GROUPS: dict[str, Callable[[], list[Workload]]] = {
    "ops": ops_workloads,
    "sheaf": sheaf_workloads,
    "dagnn": dagnn_workloads,
    "sir-gcn": sir_gcn_workloads,
    "higcn": higcn_workloads,
    "polynomials": polynomial_workloads,
    "rphgnn": rphgnn_workloads,
    "scan": scan_workloads,
    "spen": spen_workloads,
    "light-hgnn": light_hgnn_workloads,
    "l2r": l2r_workloads,
    "data": data_workloads,
}


def cpu_seconds(step: Step) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


def peak_mib(group: str, name: str, plain: bool) -> int | None:
    """Return by how much two steps in a fresh process raise its memory at the peak, or None where Linux is not."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_mib, (group, name, plain))


def _peak_mib(group: str, name: str, plain: bool) -> int | None:
    if not Path("/proc/self/clear_refs").exists():
        return None
    torch.set_num_threads(1)
    workload = next(w for w in GROUPS[group]() if w.name == name)
    step = (workload.plain if plain and workload.plain else workload.fast)()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    for _ in range(2):
        step()
    return (_status("VmHWM") - before) // 1024


def _status(key: str) -> int:
    """Return one line of this process's memory report in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def measure(group: str, workload: Workload, repeats: int) -> Result:
    fast, plain = workload.fast(), workload.plain and workload.plain()
    fast_times, plain_times = [], []
    for number in range(repeats + 1):
        times = cpu_seconds(fast), cpu_seconds(plain) if plain else None
        if number:  # the first step builds caches
            fast_times.append(times[0])
            plain_times.append(times[1])
    fast_s = statistics.median(fast_times)
    plain_s = statistics.median(plain_times) if plain else None
    gap = workload.gap() if workload.gap else None
    ratio = plain_s / fast_s if plain_s else None
    fast_mib = peak_mib(group, workload.name, False)
    bars = [f">= {workload.ratio:g}x" if plain else f"< {workload.seconds:g} s"]
    passed = fast_s < workload.seconds and (ratio is None or ratio >= workload.ratio) and (gap is None or gap < 1e-4)
    if workload.arrays is not None:
        # what Python itself takes for objects is no array: 64 MiB are free
        most = 4 * workload.arrays() // 2**20 + 64
        bars.append(f"< {most} MiB")
        passed = passed and (fast_mib is None or fast_mib < most)
    return Result(
        workload.name,
        1e3 * fast_s,
        1e3 * plain_s if plain_s else None,
        ratio,
        ", ".join(bars),
        fast_mib,
        peak_mib(group, workload.name, True) if plain else None,
        gap,
        passed,
    )


def table(results: list[Result]) -> str:
    """Return the results as a Markdown table."""

    def show(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    lines = [
        "| workload | ms | plain ms | ratio | bar | MiB | plain MiB | difference | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        cells = [r.workload, show(r.fast_ms, ".2f"), show(r.plain_ms, ".1f"), show(r.ratio, ".1f"), r.bar]
        cells += [show(r.fast_mib, "d"), show(r.plain_mib, "d"), show(r.gap, ".0e"), "PASS" if r.passed else "FAIL"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], default=[], help="default: all")
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of each kind (default 7)")
    parser.add_argument("--json", type=Path, help="also write the results there")
    parser.add_argument("--markdown", type=Path, help="also write the table there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Sparse")
    results = []
    for group in args.groups or GROUPS:
        for workload in GROUPS[group]():
            results.append(measure(group, workload, args.repeats))
            print(table(results[-1:]).splitlines()[-1] if len(results) > 1 else table(results), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(r) for r in results], indent=2) + "\n")
    if args.markdown:
        args.markdown.write_text(table(results) + "\n")
    return 0 if all(r.passed for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())

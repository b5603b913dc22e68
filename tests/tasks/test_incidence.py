"""The edge-dependent task: what is asked, what is hidden, neighbourhoods that are exact where nothing is left out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import Bundle, HypergraphData, Split
from gnnzoo.tasks import create_task, forward
from gnnzoo.tasks.incidence import neighbourhood
from gnnzoo.testing import graphs


def hypergraph(num_nodes: int = 40, num_hyperedges: int = 60, seed: int = 0) -> HypergraphData:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 5, (num_hyperedges,), generator=generator)
    hyperedges = torch.repeat_interleave(torch.arange(num_hyperedges), sizes)
    nodes = (num_nodes * torch.rand(len(hyperedges), generator=generator) ** 2).long()
    return HypergraphData(
        x=torch.randn(num_nodes, 3, generator=generator),
        hyperedge_index=torch.stack([nodes, hyperedges]),
        y=torch.arange(len(nodes)) % 2,
        num_hyperedges=num_hyperedges,
        order_pe=torch.rand(len(nodes), 4, generator=generator),
    )


def bundle() -> Bundle:
    data = hypergraph()
    part = data.hyperedge_index[1] % 3
    split = Split(0, *((part == i).nonzero().flatten() for i in range(3)))
    card = DatasetCard.model_validate(
        {
            "name": "tiny",
            "summary": "tiny",
            "family": "tiny",
            "loader": "tiny",
            "task": "edge-dependent-node",
            "structure": "hypergraph",
            "num_outputs": 2,
            "counts": {"nodes": 40, "features": 3},
            "protocols": {"fixed": {"summary": "fixed", "splits": 1, "metric": "micro_f1"}},
            "default_protocol": "fixed",
        }
    )
    return Bundle(card, "fixed", data, [split], "")


def task(**settings: int):
    return create_task("edge-dependent-node", "multiclass", "micro_f1", **settings)


def test_full_batches_ask_for_the_rows_of_a_stage() -> None:
    blind = bundle().blind(bundle().splits[0])
    split = bundle().splits[0]
    for stage in ("train", "val"):
        (batch,) = task().loader(blind, split, stage, 32)
        assert torch.equal(batch.data.incidence_index, getattr(split, stage))
        assert torch.equal(batch.y, bundle().data.y[getattr(split, stage)])
        assert batch.data.hyperedge_index is blind.data.hyperedge_index, "or what is built once per tensor is not"
    (batch,) = task().loader(blind, split, "test", 32)
    assert (batch.y == -1).all(), "what is trained on has no test labels"
    assert "incidence_index" not in blind.data


def test_both_f1_scores_are_told() -> None:
    y = torch.tensor([0, 0, 0, 1])
    found = task().metrics(torch.tensor([[1.0, 0.0]]).expand(4, 2), y)
    assert found == pytest.approx({"micro_f1": 0.75, "macro_f1": 0.75 / 1.75})


def test_mini_batches_are_whole_hyperedges_in_the_order_of_the_seed() -> None:
    blind, split = bundle().blind(bundle().splits[0]), bundle().splits[0]
    runs = [list(task(neighbors=3, hops=2).loader(blind, split, "train", 4, seed)) for seed in (7, 7, 8)]
    for first, second in zip(runs[0], runs[1], strict=True):
        assert first.data.to_dict().keys() == second.data.to_dict().keys()
        assert all(torch.equal(first.data[key], second.data[key]) for key in ("x", "hyperedge_index", "incidence_hop"))
    assert any(
        not torch.equal(a.y, b.y) or len(a.data.x) != len(b.data.x) for a, b in zip(runs[0], runs[2], strict=True)
    )
    assert len(runs[0]) == 5  # of the twenty training hyperedges
    assert sum(len(batch.y) for batch in runs[0]) == len(split.train)
    for batch in runs[0]:
        data = batch.data
        asked = data.hyperedge_index[1, data.incidence_index].unique()
        inside = torch.isin(data.hyperedge_index[1], asked)
        assert torch.equal(inside.nonzero().flatten(), data.incidence_index), "whole hyperedges"
        assert (batch.y >= 0).all()
    assert len(list(task(neighbors=3).loader(blind, split, "val", 4))) == 1


def reached(data: HypergraphData, rows: Tensor, hops: int) -> Tensor:
    """Return the step in which each incidence is reached when nothing is left out."""
    nodes, hyperedges = data.hyperedge_index
    hop = torch.full_like(nodes, -1)
    hop[rows] = 0
    for step in range(1, hops + 1):
        inside = hop >= 0
        near = torch.isin(nodes, nodes[inside]) | torch.isin(hyperedges, hyperedges[inside])
        hop[near & ~inside] = step
    return hop


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_neighbourhoods_are_complete_where_nothing_is_left_out(hops: int) -> None:
    data = hypergraph()
    rows = (data.hyperedge_index[1] % 20 == 3).nonzero().flatten()
    part = neighbourhood(data, rows, neighbors=1000, hops=hops)
    hop = reached(data, rows, hops)
    kept = (hop >= 0).nonzero().flatten()
    assert torch.equal(part.incidence_hop, hop[kept])
    assert torch.equal(part.order_pe, data.order_pe[kept])
    assert torch.equal(part.x, data.x[part.node_index])
    assert torch.equal(part.node_index[part.hyperedge_index[0]], data.hyperedge_index[0, kept])
    assert part.num_hyperedges == len(data.hyperedge_index[1, kept].unique())
    assert torch.equal(kept[part.incidence_index], rows)
    assert torch.equal(part.y, data.y[rows])


@pytest.mark.parametrize("neighbors", [1, 2, 5])
def test_no_node_brings_more_hyperedges_than_it_may(neighbors: int) -> None:
    data = hypergraph(6, 200)  # nodes of low numbers are in very many
    rows = (data.hyperedge_index[1] < 2).nonzero().flatten()
    generator = torch.Generator().manual_seed(1)
    nodes = data.hyperedge_index[0]
    for _ in range(5):
        part = neighbourhood(data, rows, neighbors, 1, generator)
        asked = part.incidence_hop == 0
        counts = torch.bincount(part.hyperedge_index[0], minlength=len(part.x))
        own = torch.bincount(part.hyperedge_index[0, asked], minlength=len(part.x))
        there = torch.bincount(nodes, minlength=6)[part.node_index]
        assert torch.equal(counts, torch.minimum(there, own.clamp(min=neighbors)))


def test_hyperedges_are_drawn_evenly() -> None:
    # node 0 is in 100 hyperedges, node 1 in 10: one is drawn from, the other is shuffled
    index = torch.stack([torch.tensor([0] * 100 + [1] * 10), torch.cat([torch.arange(100), torch.arange(10)])])
    data = HypergraphData(x=torch.zeros(2, 1), hyperedge_index=index, y=torch.zeros(110, dtype=torch.int64))
    rows, counts = torch.tensor([0, 100]), torch.zeros(110)
    data.mark = torch.arange(110)
    generator = torch.Generator().manual_seed(0)
    for _ in range(600):
        counts[neighbourhood(data, rows, 5, 1, generator).mark] += 1
    assert counts[rows].tolist() == [600, 600]
    for part, share in ((counts[1:100], 4 / 99), (counts[101:], 4 / 9)):
        expected, deviation = 600 * share, (600 * share * (1 - share)) ** 0.5
        assert ((part - expected).abs() < 5 * deviation).all()


def test_outputs_have_a_row_for_each_label() -> None:
    from gnnzoo.models import HGNN
    from gnnzoo.tasks import outputs

    whole = bundle()
    added = torch.tensor([[0], [60]])  # as input handling adds hyperedges of one node
    data = whole.data.clone()
    data.hyperedge_index = torch.cat([data.hyperedge_index, added], dim=1)
    data.num_hyperedges = 61
    model = HGNN(3, 2, hidden_channels=4, per_incidence=True)
    (rows,) = outputs(model, whole.replace(data=data))
    assert rows.shape == (len(whole.data.y), 2)
    part = neighbourhood(data, torch.arange(4), 1000, 3)
    assert len(part.order_pe) == part.hyperedge_index.size(1) - 1
    assert forward(model.eval(), graphs.incidences(3)).shape == (8, 2)

"""LightHGNN: its losses against their definitions, what makes them NaN in the authors' code, and whole runs."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import gnnzoo
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.errors import ConfigError, Interrupted
from gnnzoo.leaderboard import Record
from gnnzoo.models.light_hgnn import LightHGNN, topology_score
from gnnzoo.models.unignn import UniGNN
from gnnzoo.nn.hypergraph import incidence
from gnnzoo.runner.config import resolve
from gnnzoo.runner.grid import Reporter
from gnnzoo.runner.planning import Cell
from gnnzoo.strategies.light_hgnn import Distillation, Divergence, TopologyAwareDistillation, reliability
from gnnzoo.transforms.incidences import MergeHyperedges, Observed, Singletons

DOUBLE = torch.float64
# hyperedges {0, 1, 2}, {2, 3}, {4}, {3, 4, 5, 0}; node 6 is in none
INDEX = torch.tensor([[0, 1, 2, 2, 3, 4, 3, 4, 5, 0], [0, 0, 0, 1, 1, 2, 3, 3, 3, 3]])
EDGES = [[0, 1, 2], [2, 3], [4], [3, 4, 5, 0]]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def logits(scale: float = 2.0) -> Tensor:
    return scale * torch.randn(7, 3, dtype=DOUBLE)


def taught(target: Tensor, **settings: object) -> TopologyAwareDistillation:
    strategy = TopologyAwareDistillation(**settings)  # type: ignore[arg-type]
    strategy.imitate(target)
    members = incidence(INDEX, target)
    strategy.look_at(members, torch.ones(members.num_hyperedges, dtype=DOUBLE))
    return strategy


def test_the_official_divergence_is_kl_div_fed_with_probabilities_for_logarithms() -> None:
    t, log_s = logits().softmax(1), logits().log_softmax(1)
    expected = F.kl_div(log_s, t, log_target=True, reduction="none").sum(1)
    torch.testing.assert_close(Divergence(t, "official")(log_s), expected)
    assert Divergence(t, "official").weight.aminmax().min >= 1
    assert Divergence(t, "official")(t.log()).min() > 0.1  # not a distance


def test_the_textbook_divergence_is_zero_where_the_student_agrees() -> None:
    t, log_s = logits().softmax(1), logits().log_softmax(1)
    torch.testing.assert_close(Divergence(t, "kl")(log_s), F.kl_div(log_s, t, reduction="none").sum(1))
    assert Divergence(t, "kl")(log_s).min() > 0
    torch.testing.assert_close(Divergence(t, "kl")(t.log()), torch.zeros(7, dtype=DOUBLE))
    certain = torch.eye(3, dtype=DOUBLE)
    torch.testing.assert_close(Divergence(certain, "kl")(log_s[:3]), -log_s[:3].diag())


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_the_loss_of_hyperedges_is_that_of_the_sampled_ones(tau: float) -> None:
    target, output = logits(), logits()
    strategy, kept = taught(target, tau=tau), torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=DOUBLE)
    t, s = target.softmax(1), output.softmax(1)
    means = [(t[EDGES[e]].mean(0) / tau, s[EDGES[e]].mean(0) / tau) for e in (0, 3)]
    expected = sum((q.exp() * (q - r.log())).sum() for q, r in means) / 2
    torch.testing.assert_close(strategy.hyperedge_loss(output.log_softmax(1), kept), expected)


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_the_textbook_loss_of_hyperedges_is_zero_where_the_student_agrees(tau: float) -> None:
    target = logits()
    strategy, kept = taught(target, tau=tau, kd_loss="kl"), torch.ones(4, dtype=DOUBLE)
    assert strategy.hyperedge_loss(target.log_softmax(1), kept).abs() < 1e-12
    assert strategy.hyperedge_loss(logits().log_softmax(1), kept) > 1e-3


def test_an_empty_sample_and_impossible_classes_are_no_nan() -> None:
    strategy, output = taught(logits()), logits().requires_grad_()
    loss = strategy.hyperedge_loss(output.log_softmax(1), torch.zeros(4, dtype=DOUBLE))
    loss.backward()
    assert (loss, output.grad.abs().max()) == (0, 0)  # type: ignore[union-attr]
    strategy.probability.zero_()
    torch.testing.assert_close(strategy.imitation(output.log_softmax(1)), strategy.soft(output.log_softmax(1)).mean())
    sure = (1e4 * torch.eye(3)[torch.arange(7) % 3]).requires_grad_()  # probabilities that underflow
    for kind in ("official", "kl"):
        strategy = taught(sure.detach(), kd_loss=kind)
        loss = strategy.hyperedge_loss((-sure).log_softmax(1), torch.ones(4))
        (grad,) = torch.autograd.grad(loss, sure)
        assert loss.isfinite()
        assert grad.isfinite().all()


def test_reliability() -> None:
    members = incidence(INDEX, logits())
    before, after = logits(), logits()
    p = reliability(before, after, members)
    entropy = [-(z.softmax(1) * z.log_softmax(1)).sum(1) for z in (before, after)]
    change = torch.stack([(entropy[0][e].mean() - entropy[1][e].mean()).abs() for e in EDGES])
    torch.testing.assert_close(p, 1 - change / change.max())
    assert p.min() == 0
    assert p.max() <= 1
    assert torch.equal(reliability(before, before, members), torch.ones(4, dtype=DOUBLE))
    certain = 1e4 * torch.eye(3, dtype=DOUBLE)[torch.arange(7) % 3]  # 0 ln 0
    assert reliability(certain, before, members).isfinite().all()


def test_topology_score() -> None:
    z = logits()
    scores = [(z[e].mean(0) - z[e]).norm(dim=1).mean() for e in EDGES]
    torch.testing.assert_close(topology_score(z, INDEX), torch.stack(scores).mean())
    assert topology_score(torch.ones(7, 3), INDEX) == 0
    order = torch.randperm(INDEX.size(1))
    torch.testing.assert_close(topology_score(z, INDEX[:, order]), topology_score(z, INDEX))


def random_hypergraph(seed: int) -> tuple[list[list[int]], HypergraphData]:
    """Return 25 hyperedges on 9 nodes, some empty, some equal, some that list a node twice, in any order."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(0, 4, (25,), generator=generator).tolist()
    edges = [torch.randint(0, 7, (size,), generator=generator).tolist() for size in sizes]
    index = torch.tensor([(node, number) for number, nodes in enumerate(edges) for node in nodes]).t()
    index = index[:, torch.randperm(index.size(1), generator=generator)]
    return edges, HypergraphData(x=torch.arange(9.0)[:, None], hyperedge_index=index, num_hyperedges=25)


def sets(data: HypergraphData) -> list[tuple[int, ...]]:
    found: list[list[int]] = [[] for _ in range(int(data.num_hyperedges or 0))]
    for node, number in data.hyperedge_index.t().tolist():
        found[number].append(node)
    return [tuple(nodes) for nodes in found]


@pytest.mark.parametrize("seed", range(5))
def test_equal_hyperedges_are_merged_and_lone_nodes_get_one(seed: int) -> None:
    edges, data = random_hypergraph(seed)
    merged = list(dict.fromkeys(tuple(sorted(set(nodes))) for nodes in edges if nodes))
    assert sets(MergeHyperedges()(data.clone())) == merged
    lone = [(node,) for node in range(9) if not any(node in nodes for nodes in merged)]
    assert sets(Singletons()(MergeHyperedges()(data.clone()))) == merged + lone
    assert (7,) in lone


@pytest.mark.parametrize("seed", range(3))
def test_the_observed_part_of_a_hypergraph(seed: int) -> None:
    edges, data = random_hypergraph(seed)
    kept = [8, 1, 5, 2, 3]
    part = Observed(torch.tensor(kept))(data)
    cut = (tuple(sorted({kept.index(node) for node in nodes if node in kept})) for nodes in edges)
    merged = list(dict.fromkeys(nodes for nodes in cut if nodes))
    lone = [(node,) for node in range(5) if not any(node in nodes for nodes in merged)]
    assert sets(part) == merged + lone
    assert part.x.flatten().tolist() == kept
    assert (part.num_nodes, data.num_nodes, data.num_hyperedges) == (5, 9, 25)


def test_hypergraphs_without_incidences() -> None:
    data = HypergraphData(x=torch.ones(2, 1), hyperedge_index=torch.empty(2, 0, dtype=torch.int64), num_hyperedges=3)
    assert sets(MergeHyperedges()(data)) == []
    assert sets(Singletons()(MergeHyperedges()(data))) == [(0,), (1,)]
    assert sets(Singletons()(data)) == [(), (), (), (0,), (1,)]


def test_unigcn_of_dhg_counts_one_member_more_and_propagates_the_bias() -> None:
    x = torch.randn(7, 4, dtype=DOUBLE)
    both = [UniGNN(4, 3, 5, 1, 1, "gcn", bias=True, count_zero=count).double().eval() for count in (False, True)]
    both[1].load_state_dict(both[0].state_dict())
    one = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 0]])
    plain, counted = (model(x, one) for model in both)
    torch.testing.assert_close(counted, plain * (5 / 4) ** 0.5)  # 1 / sqrt(4 / 5) in place of 1 / sqrt(4 / 4)
    lin = both[0].convs[0].lin  # type: ignore[union-attr]
    torch.testing.assert_close(plain[0], lin(x[:4]).mean(0))


def test_the_student_is_normalized_after_relu_and_needs_no_hypergraph() -> None:
    model, x = LightHGNN(5, 3, 8, dropout=0.0), torch.randn(20, 5)
    first, norm, last = model.mlp.lins[0], model.mlp.norms[1], model.mlp.lins[1]
    torch.testing.assert_close(model(x), last(norm(first(x).relu())))
    model.eval()
    torch.testing.assert_close(model(x)[3:4], model(x[3:4]))  # in evaluation each node alone


QUICK = {"train.epochs": 3, "strategy.teacher_settings": {"train": {"epochs": 2}}}


def test_models_name_their_strategy_and_runs_may_name_another() -> None:
    config = resolve("light-hgnn-plus", "coauthorship-cora")
    assert (config.strategy, config.protocol) == ("light-hgnn-plus", "random-20-100")
    assert any("strategy light-hgnn-plus: named by model" in note for note in config.notes)
    teacher = config.teachers["teacher"]
    assert (teacher.model, teacher.strategy, teacher.sections["model"]["hidden_channels"]) == ("hgnn", "erm", 32)
    assert teacher.sections["data"]["merge_hyperedges"]
    assert resolve("light-hgnn", "coauthorship-cora", strategy="erm").teachers == {}
    assert resolve("mlp", "coauthorship-cora", strategy="light-hgnn").teachers.keys() == {"teacher"}
    settings = {"strategy.teacher": "unignn", "strategy.teacher_settings.model.conv": "gin"}
    config = resolve("light-hgnn", "coauthorship-cora", layers=[("test", settings)])
    assert config.teachers["teacher"].sections["model"]["conv"] == "gin"
    with pytest.raises(ConfigError, match=r"unknown key model\.conv"):
        resolve("light-hgnn", "coauthorship-cora", layers=[("test", {**settings, "strategy.teacher": "hgnn"})])
    with pytest.raises(ConfigError, match="every incidence of email-eu has a label of its own"):
        resolve("hgnn", "email-eu", layers=[("test", {"data.merge_hyperedges": True})])


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("light-hgnn", {}),
        ("light-hgnn-plus", {"strategy.label_weight": 0.3}),
        ("light-hgnn-plus", {"strategy.teacher": "unignn", "strategy.kd_loss": "kl"}),
    ],
)
def test_whole_runs_repeat(tmp_path: Path, model: str, settings: dict[str, object]) -> None:
    runs = [
        gnnzoo.run(model, "hypergraph-wine", settings=QUICK | settings, splits=[0], results=tmp_path / name).records[0]
        for name in "ab"
    ]
    assert runs[0].key.strategy == model
    assert runs[0].result == runs[1].result


class StopAt(Reporter):
    """Press Ctrl-C in the student's third epoch."""

    def epoch(self, cell: Cell, epoch: int, row: Mapping[str, float]) -> None:
        if epoch == 3:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_student_samples_the_same_hyperedges_afterwards(tmp_path: Path) -> None:
    def run(name: str, reporter: Reporter | None = None) -> Record:
        settings = QUICK | {"train.epochs": 6}
        choices: dict[str, Any] = {"settings": settings, "splits": [0], "results": tmp_path / name}
        return gnnzoo.run("light-hgnn-plus", "hypergraph-wine", reporter=reporter, **choices).records[0]

    with pytest.raises(Interrupted, match="stopped after epoch 3"):
        run("a", StopAt())
    assert run("a").result == run("b").result


def test_labels_may_be_left_out(tmp_path: Path) -> None:
    assert Distillation().label_weight == 0
    with pytest.raises(ConfigError, match=r"strategy\.label_weight"):
        gnnzoo.run("light-hgnn", "hypergraph-wine", settings={"strategy.label_weight": 2}, results=tmp_path)


@pytest.mark.data("coauthorship-cora", "cocitation-cora")
@pytest.mark.parametrize(
    ("name", "merged", "alone"), [("coauthorship-cora", 970, 320), ("cocitation-cora", 1483, 1274)]
)
def test_the_hypergraphs_that_the_authors_train_on(name: str, merged: int, alone: int) -> None:
    data = MergeHyperedges()(gnnzoo.load_dataset(name).data)
    assert data.num_hyperedges == merged
    assert Singletons()(data).num_hyperedges == merged + alone

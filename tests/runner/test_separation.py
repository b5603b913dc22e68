"""Hotelling's test on relabelled copies: what is apart, what is not, and what must never count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_adj

from gnnzoo import load_dataset
from gnnzoo.runner.separation import Separation, hotelling, relabelled, separate, threshold

COPIES = 8


def graph(edges, n, group, y, **more):
    index = torch.tensor(edges).T
    index = torch.cat([index, index.flip(0)], dim=1)
    numbers = {name: torch.tensor([value]) for name, value in {"group": group, "y": y, **more}.items()}
    return Data(x=torch.ones(n, 1), edge_index=index, **numbers)


def ring(n, start=0):
    return [(start + i, start + (i + 1) % n) for i in range(n)]


def hexagon(group=0, y=0, **more):
    return graph(ring(6), 6, group, y, **more)


def two_triangles(group=0, y=1, **more):
    return graph(ring(3) + ring(3, 3), 6, group, y, **more)


def path(group=0, y=1, **more):
    return graph([(i, i + 1) for i in range(5)], 6, group, y, **more)


def degrees(graphs):
    """What 1-WL sees in one round: sums of powers of the degrees."""
    found = [torch.bincount(g.edge_index[1], minlength=g.num_nodes).double() for g in graphs]
    return torch.stack([torch.stack([(d**k).sum() for k in range(3)]) for d in found])


def triangles(graphs):
    """More than 1-WL sees, and rounded differently for every order of the nodes."""
    found = []
    for g in graphs:
        a = to_dense_adj(g.edge_index, max_num_nodes=g.num_nodes)[0].double() / 3
        found.append(torch.stack([(a @ a @ a).trace(), a.sum(), (a @ a).sum()]))
    return torch.stack(found)


# --- the statistic ---


def test_hotelling_is_scipys_in_one_dimension():
    """In one dimension it is the square of the paired t statistic."""
    torch.manual_seed(0)
    first, second = torch.randn(1, 20, 1, dtype=torch.float64), torch.randn(1, 20, 1, dtype=torch.float64)
    t = stats.ttest_rel(first.flatten().numpy(), second.flatten().numpy()).statistic
    assert hotelling(first, second).item() == pytest.approx(t**2, rel=1e-9)


def test_hotelling_does_not_depend_on_the_scale_or_a_linear_map():
    torch.manual_seed(0)
    first, second = torch.randn(3, 30, 4, dtype=torch.float64), torch.randn(3, 30, 4, dtype=torch.float64)
    mapped = torch.randn(4, 4, dtype=torch.float64)
    expected = hotelling(first, second)
    for a, b in ((1e12 * first, 1e12 * second), (1e-12 * first, 1e-12 * second), (first @ mapped, second @ mapped)):
        torch.testing.assert_close(hotelling(a, b), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_equal_distributions_exceed_the_threshold_as_often_as_said(level):
    torch.manual_seed(0)
    first, second = torch.randn(4000, 12, 3, dtype=torch.float64), torch.randn(4000, 12, 3, dtype=torch.float64)
    share = (hotelling(first, second) > threshold(12, 3, level)).double().mean().item()
    assert share == pytest.approx(level, abs=0.02)


def test_the_threshold_of_brec():
    """32 copies, 16 channels, level 0.05: F(0.95; 16, 16) = 2.3335 from any table, times 31."""
    assert threshold(32, 16, 0.05) == pytest.approx(31 * 2.3335, rel=1e-3)


def test_rounding_is_no_difference_however_often_it_comes_out_the_same():
    first = torch.ones(2, COPIES, 3, dtype=torch.float64)
    second = first.clone()
    second[0] += 1e-13
    second[1] += 1e-8
    rounded, real = (hotelling(first, second) > threshold(COPIES, 3, 0.05)).tolist()
    assert (rounded, real) == (False, True)


def test_what_is_not_finite_has_no_statistic():
    first = torch.randn(3, COPIES, 3, dtype=torch.float64)
    second = torch.randn(3, COPIES, 3, dtype=torch.float64)
    first[0, 0, 0], second[1, 2, 1] = float("inf"), float("nan")
    assert hotelling(first, second).isnan().tolist() == [True, True, False]


# --- copies ---


def test_a_copy_is_isomorphic_and_another_one():
    g = Data(x=torch.arange(41.0).unsqueeze(1), edge_index=load_dataset("csl-generated").graphs[0].edge_index)
    g.edge_attr = (g.x[g.edge_index[0]] + g.x[g.edge_index[1]]).clone()
    copy, again, other = relabelled(g, 1), relabelled(g, 1), relabelled(g, 2)
    assert torch.equal(copy.edge_index, again.edge_index)
    assert not torch.equal(copy.edge_index, other.edge_index)
    back = copy.x.flatten().long()
    assert {*map(tuple, back[copy.edge_index].T.tolist())} == {*map(tuple, g.edge_index.T.tolist())}
    assert torch.equal(copy.edge_attr, copy.x[copy.edge_index[0]] + copy.x[copy.edge_index[1]])
    assert "y" not in copy


# --- counting ---


@pytest.mark.parametrize("every", [0, 100])
def test_what_is_apart(every):
    """Tested pair by pair or screened first, the counts are the same."""
    graphs = [hexagon(), two_triangles(), path(y=2), hexagon(1), path(1), two_triangles(2, 0), two_triangles(2, 1)]
    found = separate(degrees, graphs, COPIES, every=every)
    assert (found.pairs, found.separated, found.wl_leaves, found.beyond_wl) == (3 + 1 + 1, 3, 2, 0)
    found = separate(triangles, graphs, COPIES, every=every)
    # the pair of isomorphic graphs in group 2 is the negative control of the set itself
    assert (found.separated, found.beyond_wl, found.controls_separated, found.not_finite) == (4, 1, 0, 0)
    assert found.tested == (5 if every else 0)


@pytest.mark.parametrize("every", [0, 100])
def test_equal_labels_are_no_pair(every):
    found = separate(triangles, [hexagon(y=0), two_triangles(y=0), path(y=1)], COPIES, every=every)
    assert (found.pairs, found.separated) == (2, 2)


@pytest.mark.parametrize("every", [0, 100])
def test_what_is_not_finite_is_never_apart(every):
    def overflowing(graphs):
        found = triangles(graphs)
        return torch.where(found[:, :1] > 0, found * float("inf"), found)

    found = separate(overflowing, [hexagon(), two_triangles(), path(y=2)], COPIES, every=every)
    assert (found.pairs, found.separated, found.not_finite) == (3, 1, 1)


@pytest.mark.parametrize("every", [0, 100])
def test_a_function_that_depends_on_the_order_of_nodes_is_found_out(every):
    """Noise of the size of the differences is no difference: the negative control that matters."""

    def first_edges(graphs):
        found = [torch.cat([g.edge_index[:, :2].flatten().double()]) for g in graphs]
        return torch.stack(found)[:, :3]

    graphs = [hexagon(i) for i in range(20)] + [relabelled(hexagon(), i) for i in range(20)]
    for i, g in enumerate(graphs[20:]):
        g.group, g.y = torch.tensor([i]), torch.tensor([1])
    found = separate(first_edges, graphs, 12, every=every)
    assert found.pairs == 20
    assert found.separated <= 3  # one in twenty, by the level of the test


def test_unreliable_graphs_do_not_count():
    """A function whose first copies differ from its later ones: different from itself, so from nothing else."""
    calls = {}

    def drifting(graphs):
        found = []
        for g in graphs:
            key = int(g.edge_index.size(1))
            calls[key] = calls.get(key, 0) + 1
            found.append([key + 10.0 * (calls[key] > COPIES and key == 12), 1.0, 2.0])
        return torch.tensor(found, dtype=torch.float64)

    found = separate(drifting, [hexagon(), path()], COPIES)
    assert (found.pairs, found.separated, found.controls_separated) == (1, 0, 1)


def test_categories_are_counted():
    graphs = [hexagon(0, category=3), path(0, category=3), hexagon(1, category=5), two_triangles(1, category=5)]
    found = separate(degrees, graphs, COPIES)
    assert found.metrics()["category_3"] == 1
    assert "category_5" not in found.metrics()


def test_sums_of_counts():
    total = Separation()
    for _ in range(2):
        total.add(separate(degrees, [hexagon(category=1), path(category=1)], COPIES))
    assert (total.pairs, total.separated, total.parts[1]) == (2, 2, 2)


def test_noise_is_measured_before_pairs_are_screened():
    """With noise of a thousandth, a difference of a hundredth is tested, and one of ten thousand noises is not."""
    generator = np.random.default_rng(0)

    def noisy(graphs):
        outputs = triangles(graphs)
        return outputs + 1e-3 * torch.from_numpy(generator.normal(size=outputs.shape))

    found = separate(noisy, [hexagon(), two_triangles(), path(y=2)], 16, level=1e-4, every=0)
    assert found.tested == 3
    assert found.separated == 3


def test_noise_alone_separates_none_of_many_pairs():
    """A test of each pair would be wrong once in twenty times: of 780 pairs of equal graphs, dozens."""
    generator = np.random.default_rng(0)

    def noisy(graphs):
        outputs = degrees(graphs)
        return outputs + 1e-9 * torch.from_numpy(generator.normal(size=outputs.shape))

    graphs = [relabelled(hexagon(), i) for i in range(40)] + [path()]
    for i, g in enumerate(graphs):
        g.group, g.y = torch.tensor([0]), torch.tensor([i])
    found = separate(noisy, graphs, COPIES, level=0.2, every=0)
    assert (found.pairs, found.separated, found.tested) == (820, 40, 0)

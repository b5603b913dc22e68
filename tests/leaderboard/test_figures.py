"""What a figure plots, and that it can be read: no label covers another, and meaning does not hang on colour."""

from __future__ import annotations

import itertools
import random

import pytest

from gnnzoo.leaderboard.figures import (
    _STANDINGS,
    Drawing,
    IntervalRow,
    ParetoPoint,
    draw,
    intervals,
    pareto,
    pareto_front,
    rank_diagram,
    to_bytes,
)

NAMES = [f"model-{'x' * (i % 5)}{i}" for i in range(30)]


def some_intervals(models=8, seed=0):
    rng = random.Random(seed)
    kinds = itertools.cycle(["best", "worse", "untested", "unranked"])
    rows = [
        IntervalRow(name, 90 - i, None if kind == "untested" else rng.uniform(0.2, 5), "90.00 ± 1.00", kind, 88.0 - i)
        for i, (name, kind) in enumerate(zip(NAMES[:models], kinds, strict=False))
    ]
    return intervals([("texas@geom-gcn", "test accuracy (%)", rows), ("cora@public", "test accuracy (%)", rows[:2])])


def some_points(models=25, seed=0, higher=True):
    rng = random.Random(seed)
    points = [ParetoPoint(n, 10 ** rng.uniform(-3, -1), rng.gauss(80, 5), rng.uniform(0.1, 4)) for n in NAMES[:models]]
    return pareto([("texas@geom-gcn", "CPU ms per epoch", "test accuracy (%)", higher, points)])


def some_ranks(models=10, seed=0, difference=1.5):
    rng = random.Random(seed)
    return rank_diagram([(n, rng.uniform(1, models)) for n in NAMES[:models]], difference, 12)


DRAWINGS = {"intervals": some_intervals(), "pareto": some_points(6), "ranks": some_ranks()}


@pytest.mark.parametrize("kind", DRAWINGS)
def test_the_same_numbers_give_the_same_bytes(kind):
    first, second = to_bytes(DRAWINGS[kind]), to_bytes(DRAWINGS[kind])
    assert first == second
    assert first.startswith(b"<?xml")
    assert b"<text" not in first  # outlines, as wide everywhere as they were measured
    assert b"<dc:date>" not in first


def test_a_digest_is_of_what_can_be_seen():
    def one(mean, label="gcn", standing="best"):
        return intervals([("a@b", "test accuracy (%)", [IntervalRow(label, mean, 1.0, "88 ± 1", standing)])]).digest

    assert one(88.0) == one(88.0 + 1e-9)  # another processor's last bits
    assert len({one(88.0), one(88.1), one(88.0, "mlp"), one(88.0, standing="worse")}) == 4
    assert Drawing("intervals", {}).digest != Drawing("pareto", {}).digest


def test_standings_differ_in_print_without_colours():
    shapes = {(style["marker"], style["markerfacecolor"] == "white") for style in _STANDINGS.values()}
    assert len(shapes) == len(_STANDINGS)


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_nobody_beats(seed, higher):
    rng = random.Random(seed)
    points = [(rng.randint(1, 6), rng.randint(1, 6)) for _ in range(12)]
    front = pareto_front(points, higher)

    def beats(p, q):
        better = p[1] >= q[1] if higher else p[1] <= q[1]
        return p[0] <= q[0] and better and p != q

    assert set(front) == {i for i, q in enumerate(points) if not any(beats(p, q) for p in points)}
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_a_front_by_hand():
    assert pareto_front([(1, 70), (2, 90), (3, 80), (4, 95), (4, 95)], True) == [0, 1, 3, 4]
    assert pareto_front([(1, 0.5), (2, 0.3), (3, 0.4)], False) == [0, 1]


def boxes(texts):
    return [text.get_window_extent() for text in texts]


def apart(all_boxes):
    """Whether no two of them overlap by more than a hair."""
    return not any(
        min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5
        for a, b in itertools.combinations(all_boxes, 2)
    )


def inside(box, frame):
    return box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1 and box.y0 >= frame.y0 - 1 and box.y1 <= frame.y1 + 1


@pytest.mark.parametrize("models", [2, 8, 25])
@pytest.mark.parametrize("seed", range(4))
def test_labels_of_points_cover_nothing(models, seed):
    figure = draw(some_points(models, seed))
    figure.draw_without_rendering()
    (axis,) = figure.axes
    found = boxes(axis.texts)
    assert len(found) == models
    assert apart(found)
    assert all(inside(box, axis.get_window_extent()) for box in found)
    for line in axis.lines:
        if line.get_marker() == "o":
            x, y = axis.transData.transform(line.get_xydata()[0])
            assert not any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for box in found)


def test_equal_points_are_all_labelled():
    points = [ParetoPoint(name, 0.01, 80.0, None) for name in ("gcn", "mlp", "sheaf")]
    figure = draw(pareto([("a@b", "CPU ms per epoch", "test accuracy (%)", True, points)]))
    assert {text.get_text() for text in figure.axes[0].texts} == {"gcn", "mlp", "sheaf"}
    assert apart(boxes(figure.axes[0].texts))


def test_up_is_better():
    low = draw(some_points(5, higher=False)).axes[0].get_ylim()
    high = draw(some_points(5, higher=True)).axes[0].get_ylim()
    assert low[0] > low[1]
    assert high[0] < high[1]


@pytest.mark.parametrize("models", [3, 12, 30])
def test_labels_of_ranks_cover_nothing(models):
    figure = draw(some_ranks(models))
    figure.draw_without_rendering()
    found = boxes(figure.axes[0].texts)
    assert apart(found)
    assert all(inside(box, figure.bbox) for box in found)


def test_bars_join_what_does_not_differ():
    data = rank_diagram([("c", 3.0), ("a", 1.0), ("b", 2.2)], 1.3, 20).data
    assert data["ranks"] == [["a", 1.0], ["b", 2.2], ["c", 3.0]]
    assert data["bars"] == [[0, 1], [1, 2]]
    assert rank_diagram([("a", 1.0), ("b", 2.0), ("c", 3.0)], 0.9, 20).data["bars"] == []


@pytest.mark.parametrize("models", [2, 30])
def test_labels_of_intervals_cover_nothing(models):
    figure = draw(some_intervals(models))
    figure.draw_without_rendering()
    found = [box for axis in figure.axes for box in boxes([*axis.texts, *axis.get_yticklabels(), axis.title])]
    found += [box for axis in figure.axes for box in boxes([axis._left_title, axis.xaxis.label]) if box.width]
    found += boxes(figure.legends[0].get_texts())
    assert apart([box for box in found if box.width])
    assert all(inside(box, figure.bbox) for box in found if box.width)


def test_no_interval_is_drawn_where_there_is_none():
    rows = [IntervalRow("gcn", 80.0, None, "80.00", "best"), IntervalRow("mlp", 70.0, None, "70.00", "untested")]
    (axis,) = draw(intervals([("a@b", "test accuracy (%)", rows)])).axes
    assert not axis.containers
    assert [text.get_text() for text in axis.texts] == ["80.00", "70.00"]

"""The figures of the leaderboards: intervals, accuracy against time, critical differences.

A :class:`Drawing` holds what is plotted as plain numbers, and nothing else decides what it looks like. So two people
can find out that they would draw the same picture (:attr:`Drawing.digest`) without the same version of matplotlib.
Meaning is in the shape and filling of a marker, never in colour alone (Okabe and Ito's colours).
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gnnzoo.leaderboard.stats import cliques

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

__all__ = [
    "Drawing",
    "IntervalRow",
    "ParetoPoint",
    "draw",
    "intervals",
    "pareto",
    "pareto_front",
    "rank_diagram",
    "to_bytes",
]

LOOK = 1
"""Enters every digest: raise it when the same numbers are drawn in another way."""

BLUE, ORANGE, INK, GREY = "#0072B2", "#D55E00", "#222222", "#767676"
WIDTH = 10.0  # inches; 720 points, about the width of a page in a browser
SMALL, NORMAL = 9.0, 10.0  # points


@dataclass(frozen=True)
class Drawing:
    """A figure that has not been drawn yet.

    Args:
        kind: a key of the functions below.
        data: what is plotted, as JSON knows it.
    """

    kind: str
    data: dict[str, Any]

    @property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 over what is plotted: equal for equal pictures."""
        text = json.dumps([LOOK, self.kind, self.data], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class IntervalRow:
    """One model of an interval plot, in the metric's unit."""

    label: str
    mean: float
    half_width: float | None
    text: str
    """The two as they are written."""
    standing: str
    """``best`` (or not significantly worse), ``worse``, ``untested`` or ``unranked``."""
    published: float | None = None


@dataclass(frozen=True)
class ParetoPoint:
    """One model of an accuracy-time plot."""

    label: str
    seconds: float
    mean: float
    half_width: float | None


def _plain(value: float | None) -> float | None:
    """Round to what an eye can see, so that the last bits of another processor do not change a digest."""
    return None if value is None else float(f"{value:.6g}")


def intervals(panels: Sequence[tuple[str, str, Sequence[IntervalRow]]]) -> Drawing:
    """Return the drawing of means with 95 % intervals.

    Args:
        panels: benchmark, label of its axis, and rows, the first on top.
    """
    data = [
        {
            "title": title,
            "axis": axis,
            "rows": [
                [row.label, _plain(row.mean), _plain(row.half_width), row.text, row.standing, _plain(row.published)]
                for row in rows
            ],
        }
        for title, axis, rows in panels
    ]
    return Drawing("intervals", {"panels": data})


def pareto(panels: Sequence[tuple[str, str, str, bool, Sequence[ParetoPoint]]]) -> Drawing:
    """Return the drawing of a metric against milliseconds.

    Args:
        panels: title, label of the time axis, label of the metric's axis, whether more is better, points.
    """
    data = [
        {
            "title": title,
            "time": time,
            "axis": axis,
            "higher": higher,
            "points": [[p.label, _plain(1000 * p.seconds), _plain(p.mean), _plain(p.half_width)] for p in points],
        }
        for title, time, axis, higher, points in panels
    ]
    return Drawing("pareto", {"panels": data})


def rank_diagram(ranks: Sequence[tuple[str, float]], difference: float, benchmarks: int) -> Drawing:
    """Return the critical-difference diagram of average ranks (Demšar, 2006, figure 1a).

    Args:
        ranks: models and their average ranks over the benchmarks.
        difference: ranks that lie within it are joined by a bar.
        benchmarks: how many there are.
    """
    ordered = sorted(ranks, key=lambda item: (item[1], item[0]))
    bars = [(group[0], group[-1]) for group in cliques([rank for _, rank in ordered], difference)]
    data = {"ranks": [[label, _plain(rank)] for label, rank in ordered], "bars": [list(ends) for ends in bars]}
    return Drawing("ranks", {**data, "difference": _plain(difference), "benchmarks": benchmarks})


def pareto_front(points: Sequence[tuple[float, float]], higher: bool) -> list[int]:
    """Return the indices of points (cost, value) that no other point beats in one without losing in the other.

    They are sorted by cost. Of equal points all are kept.
    """
    sign = 1 if higher else -1

    def beaten(first: tuple[float, float]) -> bool:
        return any(other[0] <= first[0] and sign * other[1] >= sign * first[1] and other != first for other in points)

    return sorted((i for i, p in enumerate(points) if not beaten(p)), key=lambda i: points[i])


def draw(drawing: Drawing) -> Figure:
    """Return the figure."""
    return _DRAW[drawing.kind](drawing.data)


def to_bytes(drawing: Drawing, kind: str = "svg") -> bytes:
    """Return the figure as the content of a file; with one version of matplotlib always the same bytes.

    Text is drawn as outlines, so that it is as wide everywhere as it was measured to be.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "gnnzoo", "svg.fonttype": "path"}):
        metadata = {"Date": None, "Creator": None} if kind == "svg" else None
        draw(drawing).savefig(buffer, format=kind, metadata=metadata, facecolor="white")
    return buffer.getvalue()


def _figure(height: float) -> Figure:
    """Return an empty figure; 72 dots per inch, as an SVG has, so that what is measured is what is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=72, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _panels(counts: Sequence[float], columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel per count, ``columns`` in a row, each row as high as its largest count (inches)."""
    rows = [max(counts[i : i + columns]) for i in range(0, len(counts), columns)]
    figure = _figure(sum(rows) + 0.5)
    figure.set_layout_engine("constrained", wspace=0.07, hspace=0.06, h_pad=0.08)
    grid = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": rows})
    axes = list(grid.flat)
    for spare in axes[len(counts) :]:
        spare.remove()
    for axis in axes[: len(counts)]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=SMALL, colors=INK)
    return figure, axes[: len(counts)]


_STANDINGS: dict[str, dict[str, Any]] = {
    "best": {"marker": "o", "color": BLUE, "markerfacecolor": BLUE},
    "worse": {"marker": "o", "color": INK, "markerfacecolor": "white"},
    "untested": {"marker": "^", "color": INK, "markerfacecolor": "white"},
    "unranked": {"marker": "s", "color": GREY, "markerfacecolor": "white"},
}

_MEANINGS = {
    "best": "best, or not significantly worse",
    "worse": "significantly worse",
    "untested": "worse, and no test is possible",
    "unranked": "not ranked",
}


def _draw_intervals(data: dict[str, Any]) -> Figure:
    from matplotlib.lines import Line2D

    panels = data["panels"]
    columns = min(2, len(panels))
    figure, axes = _panels([0.27 * max(len(p["rows"]), 2) + 0.85 for p in panels], columns)
    for axis, panel in zip(axes, panels, strict=True):
        rows = panel["rows"]
        for y, (_, mean, half, text, standing, published) in enumerate(rows):
            style = _STANDINGS[standing]
            if published is not None:
                axis.plot(published, y, marker="D", markersize=8, markerfacecolor="none", color=ORANGE, zorder=2)
            if half is not None:
                axis.errorbar(mean, y, xerr=half, color=style["color"], capsize=3, linewidth=1.4, zorder=3)
            axis.plot(mean, y, markersize=6, linestyle="none", zorder=4, **style)
            axis.text(1.03, y, text, transform=axis.get_yaxis_transform(), va="center", fontsize=SMALL, color=INK)
        axis.set_yticks(range(len(rows)), [row[0] for row in rows])
        axis.set_ylim(max(len(rows), 2) - 0.5, -0.5)
        axis.tick_params(axis="y", length=0)
        axis.margins(x=0.08)
        axis.grid(axis="x", color="#dddddd", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.set_title(panel["title"], loc="left", fontsize=NORMAL, color=INK)
        axis.set_xlabel(panel["axis"], fontsize=SMALL, color=INK)
    shown = {row[4] for panel in panels for row in panel["rows"]}
    handles = [
        Line2D([], [], linestyle="none", markersize=6, label=_MEANINGS[standing], **style)
        for standing, style in _STANDINGS.items()
        if standing in shown
    ]
    if any(row[5] is not None for panel in panels for row in panel["rows"]):
        style = {"marker": "D", "markersize": 8, "markerfacecolor": "none", "color": ORANGE}
        handles.append(Line2D([], [], linestyle="none", label="published mean", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=SMALL)
    return figure


def _draw_pareto(data: dict[str, Any]) -> Figure:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    panels = data["panels"]
    columns = min(2, len(panels))
    figure, axes = _panels([3.1 + 0.05 * max(len(p["points"]) - 8, 0) for p in panels], columns)
    labelled = []
    for axis, panel in zip(axes, panels, strict=True):
        points = panel["points"]
        places = [(p[1], p[2]) for p in points]
        front = pareto_front(places, panel["higher"])
        axis.set_xscale("log")
        low, high = min(x for x, _ in places), max(x for x, _ in places)
        room = max((high / low) ** 0.2, 1.7)
        axis.set_xlim(low / room, high * room)
        for _, x, y, half in points:
            if half is not None:
                axis.errorbar(x, y, yerr=half, color="#bbbbbb", capsize=2, linewidth=1, zorder=1)
        steps = [places[i] for i in front]
        stairs = _stairs(steps, high * room)
        axis.plot(*zip(*stairs, strict=True), color=BLUE, linewidth=1.2, zorder=2)
        for i, (x, y) in enumerate(places):
            style = _STANDINGS["best" if i in front else "worse"]
            axis.plot(x, y, markersize=6.5, linestyle="none", zorder=4, **style)
        axis.margins(y=0.15)
        if not panel["higher"]:
            axis.invert_yaxis()
        digits = 3 * math.log10(high / low * room**2) * len(f"{high * room:.0f}")
        subs = (1.0, 2.0, 5.0) if digits < 40 else (1.0,)  # what fits side by side
        axis.xaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}" if value >= 1 else f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(color="#e4e4e4", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.set_title(panel["title"], loc="left", fontsize=NORMAL, color=INK)
        axis.set_xlabel(panel["time"], fontsize=SMALL, color=INK)
        axis.set_ylabel(panel["axis"], fontsize=SMALL, color=INK)
        labelled.append((axis, [p[0] for p in points], places, stairs))
    handles = [
        Line2D([], [], markersize=6.5, linewidth=1.2, label="Pareto front", **_STANDINGS["best"]),
        Line2D(
            [],
            [],
            markersize=6.5,
            linestyle="none",
            label="beaten: another is no slower and no worse",
            **_STANDINGS["worse"],
        ),
        Line2D([], [], color="#bbbbbb", linewidth=1, label="95 % interval"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL)
    figure.draw_without_rendering()  # decides where the axes are
    figure.set_layout_engine("none")  # and there they stay
    for axis, labels, places, stairs in labelled:
        _label(axis, labels, places, stairs)
    return figure


def _stairs(points: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Return the corners of what is reached at each cost: flat up to the next point, then straight to it."""
    corners: list[tuple[float, float]] = []
    for x, y in points:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return [*corners, (end, corners[-1][1])]


Places = Sequence[tuple[float, float]]


def _label(axis: Axes, labels: Sequence[str], places: Places, line: Places) -> list[Annotation]:
    """Write a label beside each point, where it covers no point, no other label, not the line and not the frame.

    Places are tried from the nearest outwards; far ones get a line to their point.
    """
    from matplotlib.transforms import Bbox

    frame = axis.get_window_extent()
    dots: list[tuple[float, float]] = [tuple(axis.transData.transform(place)) for place in places]
    taken: list[Bbox] = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in dots]
    corners = [axis.transData.transform(place) for place in line]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        taken.append(Bbox.from_extents(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1))
    directions = [math.pi * turn / 8 for turn in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11)]
    notes = []
    crowded = sorted(range(len(dots)), key=lambda i: -sum(math.dist(dots[i], d) < 60 for d in dots))
    for i in crowded:
        note = axis.annotate(labels[i], places[i], (0, 0), textcoords="offset points", fontsize=SMALL, color=INK)
        note.set_in_layout(False)
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0, "alpha": 0.75})
        size = note.get_window_extent()
        best: tuple[float, float, float, Bbox] | None = None
        for radius in (8, 16, 26, 38, 52, 68, 86, 106, 130):
            for angle in directions:
                dx, dy = radius * math.cos(angle), radius * math.sin(angle)
                left = dots[i][0] + dx + (0 if dx > 1 else -size.width if dx < -1 else -size.width / 2)
                bottom = dots[i][1] + dy + (0 if dy > 1 else -size.height if dy < -1 else -size.height / 2)
                box = Bbox.from_bounds(left, bottom, size.width, size.height)
                cost = sum(_overlap(box, other) for other in taken) + 3 * (_area(box) - _overlap(box, frame))
                if best is None or cost < best[0]:
                    best = (cost, left - dots[i][0], bottom - dots[i][1], box)
                if cost == 0:
                    break
            if best is not None and best[0] == 0:
                break
        assert best is not None
        _, dx, dy, box = best
        note.set_position((dx, dy))  # points and pixels are one: 72 dots per inch
        taken.append(box)
        notes.append(note)
        gap = math.hypot(
            max(box.x0 - dots[i][0], dots[i][0] - box.x1, 0), max(box.y0 - dots[i][1], dots[i][1] - box.y1, 0)
        )
        if gap > 12:
            end = (min(max(dots[i][0], box.x0), box.x1), min(max(dots[i][1], box.y0), box.y1))
            leader = axis.transData.inverted().transform([dots[i], end])
            axis.plot(leader[:, 0], leader[:, 1], color=GREY, linewidth=0.7, zorder=3, scalex=False, scaley=False)
    return notes


def _area(box: Bbox) -> float:
    return float(box.width * box.height)


def _overlap(first: Bbox, second: Bbox) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def _draw_ranks(data: dict[str, Any]) -> Figure:
    labels, ranks = [item[0] for item in data["ranks"]], [item[1] for item in data["ranks"]]
    number, difference = len(ranks), data["difference"]
    bars = data["bars"]
    half = (number + 1) // 2
    row, step = 0.24, 0.11  # inches per label and per bar
    depth = 0.25 + step * len(bars) + row * half
    figure = _figure(depth + 1.35)
    axis = figure.add_subplot()
    span = number - 1
    axis.set_xlim(1 - 0.42 * span, number + 0.42 * span)
    axis.set_ylim(-depth - 0.1, 1.2)
    axis.axis("off")
    line: dict[str, Any] = {"color": INK, "linewidth": 1.2, "solid_capstyle": "butt"}
    axis.plot([1, number], [0, 0], **line)
    for tick in range(1, number + 1):
        axis.plot([tick, tick], [0, 0.1], **line)
        if number <= 20 or tick % 5 == 0 or tick == 1:
            axis.text(tick, 0.14, str(tick), ha="center", va="bottom", fontsize=SMALL, color=INK)
    text = f"average rank over {data['benchmarks']} benchmarks (1 is best)"
    axis.text((1 + number) / 2, 1.05, text, ha="center", va="center", fontsize=SMALL, color=INK)
    axis.plot([1, 1 + difference], [0.5, 0.5], **line)
    for x in (1, 1 + difference):
        axis.plot([x, x], [0.43, 0.57], **line)
    axis.text(1 + difference / 2, 0.6, f"CD = {difference:.2f}", ha="center", va="bottom", fontsize=SMALL, color=INK)
    for place, (label, rank) in enumerate(zip(labels, ranks, strict=True)):
        left = place < half
        y = -(0.25 + step * len(bars) + row * (place if left else number - 1 - place))
        edge = 1 - 0.05 * span if left else number + 0.05 * span
        axis.plot([rank, rank, edge], [0, y, y], color=GREY, linewidth=0.9)
        side, sign = ("right", -1) if left else ("left", 1)
        shown = f"{label}  {rank:.2f}" if left else f"{rank:.2f}  {label}"
        axis.text(edge + sign * 0.012 * span, y, shown, ha=side, va="center", fontsize=NORMAL, color=INK)
    for place, (first, last) in enumerate(bars):
        y = -(0.13 + step * place)
        reach = 0.012 * span
        ends = [ranks[first] - reach, ranks[last] + reach]
        axis.plot(ends, [y, y], color=BLUE, linewidth=4, solid_capstyle="butt", zorder=3)
    return figure


_DRAW: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "intervals": _draw_intervals,
    "pareto": _draw_pareto,
    "ranks": _draw_ranks,
}

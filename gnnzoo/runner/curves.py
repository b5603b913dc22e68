"""The picture of a run's learning curves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gnnzoo.atomic import write_bytes
from gnnzoo.errors import DataError
from gnnzoo.leaderboard.table import in_unit
from gnnzoo.registry import DATASETS

if TYPE_CHECKING:
    from gnnzoo.runner.grid import RunResult

__all__ = ["draw_curves"]

# Okabe and Ito's colours, told apart also by the colour-blind, and dashes for print
_STYLES = [
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#E69F00", "-"),
    ("#56B4E9", "--"),
]


def draw_curves(result: RunResult, path: Path) -> None:
    """Draw training loss and validation metric over epochs: the mean over splits and seeds, and their range.

    Args:
        result: of a run; cells that were recorded elsewhere have no curve.
        path: ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        DataError: no cell has a curve here.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "gnnzoo"  # the same curves give the same bytes
    benchmarks = list(dict.fromkeys(c.benchmark for c in result.plan.configs))
    figure = Figure(figsize=(10, 3.8 * len(benchmarks)), layout="constrained")
    axes = figure.subplots(len(benchmarks), 2, squeeze=False)
    drawn = False
    for row, benchmark in zip(axes, benchmarks, strict=True):
        configs = [c for c in result.plan.configs if c.benchmark == benchmark]
        metric = DATASETS.card(configs[0].dataset).protocols[configs[0].protocol].metric
        for config, (colour, dash) in zip(configs, _STYLES * len(configs), strict=False):
            curves = [result.history(c) for c in result.plan.cells if c.config is config]
            curves = [c for c in curves if c]
            drawn = drawn or bool(curves)
            for axis, key in zip(row, ("train_loss", f"val_{metric}"), strict=True):
                _band(axis, curves, key, metric, config.contender, colour, dash)
        row[0].set_ylabel("training loss")
        row[1].set_ylabel(f"validation {metric}" + (" (%)" if in_unit(1, metric) == 100 else ""))
        for axis in row:
            axis.set_title(benchmark, loc="left", fontsize=10)
            axis.set_xlabel("epoch")
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
        row[0].legend(frameon=False)
    if not drawn:
        raise DataError(f"curves={path}: no learning curves here; these cells were recorded in another folder")
    buffer = io.BytesIO()
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    figure.savefig(buffer, format=path.suffix[1:], dpi=150, metadata=metadata)
    write_bytes(path, buffer.getvalue())


def _band(axis, curves, key, metric, label, colour, dash) -> None:  # type: ignore[no-untyped-def]
    """Draw the mean of curves of different lengths and the range of their middle 80 %; a mean needs half of them."""
    points: dict[int, list[float]] = {}
    for curve in curves:
        for row in curve:
            if key in row:
                points.setdefault(int(row["epoch"]), []).append(row[key])
    scale = in_unit(1.0, metric) if key.startswith("val_") else 1.0
    epochs = [e for e in sorted(points) if len(points[e]) * 2 >= len(curves)]
    if not epochs:
        return
    values = [np.array(points[e]) * scale for e in epochs]
    axis.plot(epochs, [v.mean() for v in values], color=colour, linestyle=dash, label=label, linewidth=1.6)
    low, high = ([np.quantile(v, q) for v in values] for q in (0.1, 0.9))
    axis.fill_between(epochs, low, high, color=colour, alpha=0.12, linewidth=0)

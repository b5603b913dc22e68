"""Optuna's own plots of a study, as PNG, and as HTML where plotly is installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from gnnzoo.atomic import replacing, write_text
from gnnzoo.runner.tuning.studies import quiet

__all__ = ["PLOTS", "draw", "importances", "varied"]

PLOTS = ("optimization_history", "param_importances", "parallel_coordinate", "slice")
"""Names of ``optuna.visualization.plot_<name>``."""


def varied(study: optuna.Study) -> list[str]:
    """Return the parameters of which completed trials have more than one value."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values: dict[str, set[Any]] = {}
    for trial in complete:
        for key, value in trial.params.items():
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found) > 1]


def importances(study: optuna.Study) -> dict[str, float]:
    """Return how much of the differences between trials each parameter accounts for, the largest first.

    Empty where fewer than two trials completed, or all of them alike.
    """
    keys = varied(study)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not keys or len({trial.value for trial in complete}) < 2:
        return {}
    with quiet():
        try:
            return optuna.importance.get_param_importances(study, params=keys)
        except (ValueError, RuntimeError):  # too few trials to tell
            return {}


def draw(study: optuna.Study, folder: Path, metric: str) -> list[Path]:
    """Draw every plot that the trials allow, into a folder; return the files."""
    keys = varied(study)
    written = []
    for name in PLOTS if keys else PLOTS[:1]:
        if name == "param_importances" and not importances(study):
            continue
        options: dict[str, Any] = {"target_name": f"validation {metric}"}
        if name != "optimization_history":
            options["params"] = keys
        written.append(_draw_png(study, name, options, folder / f"{name}.png"))
        if find_spec("plotly") is not None:
            written.append(_draw_html(study, name, options, folder / f"{name}.html"))
    return written


def _plot(module: Any, name: str, study: optuna.Study, options: dict[str, Any]) -> Any:
    function: Callable[..., Any] = getattr(module, f"plot_{name}")
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(study, **options)


def _draw_png(study: optuna.Study, name: str, options: dict[str, Any], path: Path) -> Path:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter
    from optuna.visualization import matplotlib as module

    try:
        axes = _plot(module, name, study, options)
        first = axes.flat[0] if hasattr(axes, "flat") else axes
        figure = first.figure
        count = len(options.get("params", []))
        figure.set_size_inches(max(8.0, (2.6 if name == "slice" else 1.4) * count), 5.0)
        if name in ("slice", "parallel_coordinate"):
            for axis in figure.axes:
                axis.tick_params(axis="x", labelrotation=30)
                axis.xaxis.set_minor_formatter(NullFormatter())
                axis.xaxis.label.set_fontsize("small")
        with replacing(path) as file:
            figure.savefig(file, format="png", dpi=110, bbox_inches="tight")
    finally:
        plt.close("all")
    return path


def _draw_html(study: optuna.Study, name: str, options: dict[str, Any], path: Path) -> Path:
    figure = _plot(optuna.visualization, name, study, options)
    write_text(path, figure.to_html(include_plotlyjs="cdn"))
    return path

"""Scores of predictions, by scikit-learn, or by OGB's Evaluator for OGB's protocols; fractions, not per cent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from gnnzoo.datasets import ogb
from gnnzoo.errors import ConfigError, DataError

__all__ = ["score"]


def _sklearn() -> Any:
    """Import scikit-learn's metrics when one is asked for: half a second that accuracy does without."""
    from sklearn import metrics

    return metrics


def _labels(outputs: np.ndarray, target: str) -> np.ndarray:
    """Turn logits into predicted labels."""
    if target == "multiclass":
        return outputs.argmax(axis=1)
    return (outputs > 0).astype(np.int64)


def _accuracy(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
    # once per epoch of every run: scikit-learn's accuracy_score takes longer than a training step on small graphs
    return float((_labels(outputs, target) == y).mean())


def _balanced_accuracy(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
    """Mean over the classes of the share of their rows that are recognized."""
    return float(_sklearn().balanced_accuracy_score(y, _labels(outputs, target)))


def _known(outputs: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return predictions and labels of every column, missing labels (NaN) left out."""
    return [(o[~np.isnan(t)], t[~np.isnan(t)]) for o, t in zip(outputs.T, y.T, strict=True)]


def _ranking(name: str) -> Callable[[np.ndarray, np.ndarray, str], float]:
    """Mean over the tasks that have both classes, missing labels left out: OGB's rule."""

    def ranking(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
        function = getattr(_sklearn(), f"{name}_score")
        values = [function(t, o) for o, t in _known(outputs, y) if np.unique(t).size == 2]
        if not values:
            raise DataError(f"{name} needs both classes among the scored labels; these have one")
        return float(np.mean(values))

    return ranking


def _f1(average: str) -> Callable[[np.ndarray, np.ndarray, str], float]:
    def f1(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
        return float(_sklearn().f1_score(y, _labels(outputs, target), average=average, zero_division=0))

    return f1


def _error(function: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray, str], float]:
    """Mean over the targets, each over its known values."""

    def error(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
        columns = [(o, t) for o, t in _known(outputs, y) if len(t)]
        if not columns:
            raise DataError("none of the scored targets is known")
        return float(np.mean([function(o, t) for o, t in columns]))

    return error


def _nmse(outputs: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error in units of the target's variance over the scored rows: 1 for always saying the mean."""
    if not (variance := float(np.var(y, dtype=np.float64))):
        raise DataError("nmse needs targets that vary; one of the scored ones does not")
    return float(_sklearn().mean_squared_error(y, outputs)) / variance


def _hits(k: int) -> Callable[[np.ndarray, np.ndarray, str], float]:
    """Share of the positive rows that outscore all but ``k - 1`` negative ones: OGB's rule."""

    def hits(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
        positive, negative = _sides(outputs, y)
        return float((positive > np.sort(negative)[-k]).mean()) if len(negative) >= k else 1.0

    return hits


def _sides(outputs: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    positive = y[:, 0] == 1
    if not positive.any():
        raise DataError("hits needs positive rows among the scored ones; there are none")
    return outputs[positive, 0], outputs[~positive, 0]


_CLASSES = ("multiclass", "binary", "multilabel")

_SCORES: dict[str, tuple[tuple[str, ...], Callable[[np.ndarray, np.ndarray, str], float]]] = {
    "accuracy": (_CLASSES, _accuracy),
    "balanced_accuracy": (("multiclass", "binary"), _balanced_accuracy),
    "micro_f1": (_CLASSES, _f1("micro")),
    "macro_f1": (_CLASSES, _f1("macro")),
    "roc_auc": (("binary", "multilabel"), _ranking("roc_auc")),
    "average_precision": (("binary", "multilabel"), _ranking("average_precision")),
    "hits@20": (("binary",), _hits(20)),
    "hits@50": (("binary",), _hits(50)),
    "mae": (("regression",), _error(lambda outputs, y: _sklearn().mean_absolute_error(y, outputs))),
    "rmse": (("regression",), _error(lambda outputs, y: _sklearn().root_mean_squared_error(y, outputs))),
    "nmse": (("regression",), _error(_nmse)),
}
"""The targets that each metric fits, and how it is computed."""

_OF_LABELS = ("accuracy", "balanced_accuracy", "micro_f1", "macro_f1")
"""What is computed from predicted labels, and so has a value whatever the outputs are."""

_OGB_NAMES = {"acc": "accuracy", "rocauc": "roc_auc", "ap": "average_precision"}
"""OGB's names of metrics, where they are not ours."""


def score(metric: str, outputs: Tensor, y: Tensor, target: str, evaluator: str = "") -> float:
    """Score logits or values.

    Args:
        metric: a name of :data:`gnnzoo.cards.METRICS`.
        outputs: ``[num_rows, num_outputs]`` logits (classification) or values (regression).
        y: ``[num_rows]`` classes, or ``[num_rows, num_outputs]`` labels or values; NaN is a missing one (all but
            accuracies and F1 scores). Pairs of nodes have one output and ``y`` is 1 where they are linked, else 0.
        target: ``multiclass``, ``binary``, ``multilabel`` or ``regression``.
        evaluator: the set under which OGB's Evaluator scores, such as ``ogbg-molhiv``; empty: scikit-learn does.

    Returns:
        The score as a fraction (accuracy 0.88), or in the target's unit (mae, rmse); NaN where an output is not finite,
        which no metric of ranks or distances can score.

    Raises:
        ConfigError: the metric does not fit the target or the evaluator.
        DataError: the scored rows lack what the metric needs, such as both classes.
    """
    targets, function = _SCORES.get(metric, ((), None))
    if function is None or target not in targets:
        raise ConfigError(f"metric {metric} does not fit {target} targets")
    scored, labels = outputs.detach().cpu().numpy(), y.cpu().numpy()
    if metric not in _OF_LABELS and not np.isfinite(scored).all():
        return float("nan")
    if evaluator:
        return _by_ogb(evaluator, metric, scored, labels)
    return function(scored, labels, target)


def _by_ogb(name: str, metric: str, outputs: np.ndarray, y: np.ndarray) -> float:
    evaluator = ogb.evaluator(name)
    expected = _OGB_NAMES.get(evaluator.eval_metric, evaluator.eval_metric)
    if metric != expected:
        raise ConfigError(f"OGB scores {name} by {expected}, not by {metric}")
    if metric.startswith("hits@"):
        given = dict(zip(("y_pred_pos", "y_pred_neg"), _sides(outputs, y), strict=True))
    elif metric == "accuracy":
        given = {"y_true": y[:, None], "y_pred": outputs.argmax(axis=1)[:, None]}
    else:
        given = {"y_true": y, "y_pred": outputs}
    try:
        return float(evaluator.eval(given)[evaluator.eval_metric])
    except RuntimeError as error:  # one class alone, or outputs of another shape
        raise DataError(f"OGB cannot score {name}: {error}") from error

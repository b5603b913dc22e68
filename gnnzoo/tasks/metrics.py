"""Scores of predictions, by scikit-learn; fractions, not per cent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

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


def _roc_auc(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
    """Mean over the tasks that have both classes, missing labels (NaN) left out: OGB's rule."""
    columns = [(o[~np.isnan(t)], t[~np.isnan(t)]) for o, t in zip(outputs.T, y.T, strict=True)]
    values = [_sklearn().roc_auc_score(t, o) for o, t in columns if np.unique(t).size == 2]
    if not values:
        raise DataError("roc_auc needs both classes among the scored labels; these have one")
    return float(np.mean(values))


def _f1(average: str) -> Callable[[np.ndarray, np.ndarray, str], float]:
    def f1(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
        return float(_sklearn().f1_score(y, _labels(outputs, target), average=average, zero_division=0))

    return f1


def _mae(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
    return float(_sklearn().mean_absolute_error(y, outputs))


def _rmse(outputs: np.ndarray, y: np.ndarray, target: str) -> float:
    return float(_sklearn().root_mean_squared_error(y, outputs))


_SCORES: dict[str, Callable[[np.ndarray, np.ndarray, str], float]] = {
    "accuracy": _accuracy,
    "roc_auc": _roc_auc,
    "micro_f1": _f1("micro"),
    "macro_f1": _f1("macro"),
    "mae": _mae,
    "rmse": _rmse,
}


def score(metric: str, outputs: Tensor, y: Tensor, target: str) -> float:
    """Score logits or values.

    Args:
        metric: a name of :data:`gnnzoo.cards.METRICS`.
        outputs: ``[num_rows, num_outputs]`` logits (classification) or values (regression).
        y: ``[num_rows]`` classes, or ``[num_rows, num_outputs]`` labels or values; NaN is a missing label (roc_auc).
        target: ``multiclass``, ``binary``, ``multilabel`` or ``regression``.

    Returns:
        The score as a fraction (accuracy 0.88), or in the target's unit (mae, rmse).

    Raises:
        ConfigError: the metric does not fit the target.
    """
    if (metric in ("mae", "rmse")) != (target == "regression") or (metric == "roc_auc" and target == "multiclass"):
        raise ConfigError(f"metric {metric} does not fit {target} targets")
    return _SCORES[metric](outputs.detach().cpu().numpy(), y.cpu().numpy(), target)

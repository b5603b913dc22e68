"""``reproduce``: the shipped configurations' records against the numbers in print."""

from __future__ import annotations

import os

from gnnzoo.leaderboard.reproduce import Reproduction, printed, reproductions
from gnnzoo.leaderboard.store import Store
from gnnzoo.registry import MODELS
from gnnzoo.runner.config import default_results
from gnnzoo.runner.standings import shipped

__all__ = ["reproduce"]


def reproduce(
    model: str | None = None, dataset: str | None = None, results: str | os.PathLike[str] | None = None
) -> list[Reproduction]:
    """Compare records with published numbers; nothing is run.

    Args:
        model: a registered name or alias; default: every model that has a number in print.
        dataset: one dataset, or ``dataset@protocol``; default: all that the models' cards have numbers for.
        results: the folder of records; default: ``$GNNZOO_RESULTS``, else ``./results``.

    Raises:
        ConfigError: an unknown name, or the card has no published number for it.

    Example:
        >>> [(r.benchmark, r.gap, r.verdict) for r in reproduce("sheaf", results="leaderboards/results")]
    """
    store = Store(results or default_results())

    config_hash, settings = shipped()
    models = [model] if model else [name for name in MODELS.names() if printed(MODELS.card(name), dataset)]
    return [r for name in models for r in reproductions(store, name, config_hash, dataset, settings)]

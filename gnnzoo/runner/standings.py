"""The boards of a suite, a benchmark or a results folder, against the configurations that are shipped now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from typing import get_args

from gnnzoo.cards import SuiteCard
from gnnzoo.errors import ConfigError, UnknownNameError, closest
from gnnzoo.leaderboard.boards import Board, Test, boards, recorded
from gnnzoo.leaderboard.store import Store
from gnnzoo.registry import DATASETS, MODELS, SUITES, partition
from gnnzoo.runner.config import Config, default_results, resolve

__all__ = ["find_suite", "standings"]


def find_suite(name: str) -> SuiteCard | None:
    """Return the card of a suite, or None where ``name`` is not one's."""
    try:
        return SUITES.card(name)
    except UnknownNameError:
        return None


def _benchmarks(name: str, have: Iterable[str]) -> list[str]:
    """Return a benchmark, or those of a dataset that have records, else its default one.

    Raises:
        UnknownNameError: there is no such suite, dataset or protocol.
    """
    dataset, _, protocol = partition(name)
    try:
        card = DATASETS.card(dataset)
    except UnknownNameError:
        raise UnknownNameError("suite or benchmark", name, [*SUITES.names(), *DATASETS.names()]) from None
    if protocol and protocol not in card.protocols:
        raise UnknownNameError("protocol", protocol, card.protocols, f"dataset {card.name}")
    place = dataset if card.family == "own" else card.name
    found = [protocol] if protocol else [p for p in card.protocols if f"{card.name}@{p}" in have]
    return [f"{place}@{p}" for p in found or [card.default_protocol]]


def _default(dataset: str) -> str:
    card = DATASETS.card(dataset)
    return f"{card.name}@{card.default_protocol}"


def _models(words: Iterable[str]) -> list[str]:
    """Return the names that words and globs stand for."""
    found: list[str] = []
    for word in words:
        matching = MODELS.list(word) if any(sign in word for sign in "*?[") else [MODELS.canonical(word)]
        if not matching:
            raise UnknownNameError("model", word, MODELS.names())
        found += matching
    return list(dict.fromkeys(found))


def standings(
    name: str | None = None,
    *,
    results: str | os.PathLike[str] | None = None,
    models: Sequence[str] | None = None,
    test: Test = "t",
) -> list[Board]:
    """Return who is how good: a board per benchmark, made from records alone.

    Args:
        name: a suite, ``dataset@protocol``, or a dataset: then its protocols that have records, else the default one;
            default: everything that has records.
        results: folder of the records; default: as for :func:`~gnnzoo.run`.
        models: names or globs; default: all that have records and, where ``name`` is given, those that might.
        test: ``t``, the corrected resampled t-test, or ``wilcoxon``.

    Raises:
        ConfigError: a name that is not known.

    Example:
        >>> (board,) = standings("texas@geom-gcn", results="leaderboards/results")
        >>> [(row.model, row.rank, row.summary.mean) for row in board.rows]
    """
    if test not in get_args(Test):
        raise ConfigError(f"unknown test {test!r}{closest(test, get_args(Test))}")
    store = Store(results or default_results())
    have = recorded(store)
    suite = find_suite(name) if name else None
    chosen: list[str] | None = None
    if suite is not None:
        chosen = [word if partition(word)[1] else _default(word) for word in suite.benchmarks]
    elif name:
        chosen = _benchmarks(name, have)

    if models is not None:
        taking_part = _models(models)
    elif chosen is not None:
        invited = _models(suite.models) if suite else MODELS.names()
        names = [f"{DATASETS.card(partition(b)[0]).name}@{partition(b)[2]}" for b in chosen]
        taking_part = list(dict.fromkeys([*invited, *(m for b in names for m in have.get(b, []))]))
    else:
        taking_part = None

    @cache
    def shipped(model: str, benchmark: str) -> Config:
        return resolve(model, benchmark, suite=suite.name if suite else None)

    return boards(
        store,
        chosen,
        taking_part,
        lambda model, benchmark: shipped(model, benchmark).hash,
        settings=lambda model, benchmark: shipped(model, benchmark).to_dict(),
        test=test,
    )

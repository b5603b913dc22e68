"""The boards of a suite, a benchmark or a results folder, against the configurations that are shipped now."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

from gnnzoo.cards import SuiteCard
from gnnzoo.errors import ConfigError, UnknownNameError, closest
from gnnzoo.leaderboard.boards import Board, ConfigHash, Settings, Test, boards, recorded
from gnnzoo.leaderboard.store import Store
from gnnzoo.registry import DATASETS, MODELS, SUITES, contender, partition
from gnnzoo.runner.config import Config, default_results, resolve

__all__ = ["find_suite", "shipped", "standings"]


def shipped(suite: str | None = None) -> tuple[ConfigHash, Settings]:
    """Return two functions of a contender and a benchmark: the hash of its shipped configuration, and what is in it.

    A contender is a model, or one with a strategy (``gin+irm``). They raise a ConfigError where the two do not fit, or
    are not known. Each is resolved once.
    """

    @cache
    def config(contender: str, benchmark: str) -> Config:
        model, _, strategy = contender.partition("+")
        return resolve(model, benchmark, strategy=strategy or None, suite=suite, training=False)

    def config_hash(contender: str, benchmark: str) -> str:
        return config(contender, benchmark).hash

    def settings(contender: str, benchmark: str) -> dict[str, Any]:
        return config(contender, benchmark).to_dict()

    return config_hash, settings


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
    tuned: int | None = None,
    studies: str | os.PathLike[str] = "studies",
) -> list[Board]:
    """Return who is how good: a board per benchmark, made from records alone.

    Args:
        name: a suite, ``dataset@protocol``, or a dataset: then its protocols that have records, else the default one;
            default: everything that has records.
        results: folder of the records; default: as for :func:`~gnnzoo.run`.
        models: names or globs; default: all that have records and, where ``name`` is given, those that might.
        test: ``t``, the corrected resampled t-test, or ``wilcoxon``.
        tuned: instead of the shipped configurations, compare those that studies of so many trials have named.
        studies: the folder of those studies.

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

    if tuned is not None:
        named = _named(Path(studies), tuned)

        def of_study(contender: str, benchmark: str) -> str:
            if (contender, benchmark) not in named:
                raise ConfigError(f"no study of {tuned} trials in {studies}")
            return named[contender, benchmark]

        found = boards(store, chosen, taking_part, of_study, test=test)
        return [replace(b, rows=[replace(row, trials=tuned) for row in b.rows]) for b in found]
    config_hash, settings = shipped(suite.name if suite else None)
    return boards(store, chosen, taking_part, config_hash, settings=settings, test=test)


def _named(studies: Path, trials: int) -> dict[tuple[str, str], str]:
    """Return the hash of what studies of so many trials named, by contender and benchmark; of several the newest."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for path in sorted(studies.glob("*/summary.json")):
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            pair = contender(summary["model"], summary["strategy"]), summary["benchmark"]
            entry = summary["made_with"]["date"], summary["best"]["config"]
            if summary["trials"]["tried"] == trials:
                found[pair] = max(entry, found.get(pair, entry))
        except (OSError, ValueError, KeyError, TypeError):
            warnings.warn(f"{path} is no summary of a study, passed over", stacklevel=2)
    return {pair: digest for pair, (_, digest) in found.items()}

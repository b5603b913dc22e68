"""Which records count for a table: those of the shipped configurations, newest first, never the best of several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gnnzoo.cards import Published
from gnnzoo.leaderboard.record import Record
from gnnzoo.leaderboard.store import Store
from gnnzoo.registry import MODELS

__all__ = ["Board", "boards"]


@dataclass
class Board:
    """The records of one benchmark that can be compared with each other."""

    benchmark: str
    metric: str
    groups: dict[str, list[Record]]
    """By model, one record per split × seed."""
    published: dict[str, Published]
    others: int
    """Records of other configurations or of other versions of the data, which are not compared."""


def boards(store: Store, config_hash: Callable[[str, str], str]) -> list[Board]:
    """Return a board per benchmark that has records.

    Args:
        store: the results folder.
        config_hash: returns the hash of a model's shipped configuration on a benchmark.
    """
    found = []
    for benchmark in sorted({path.parent.name for path in store.files()}):
        records = [r for path in store.files() if path.parent.name == benchmark for r in store.read(path)]
        shipped = [r for r in records if r.key.config == config_hash(r.key.model, benchmark)]
        if not shipped:
            continue
        newest = max(shipped, key=lambda r: r.cost.date)
        same = [r for r in shipped if (r.key.data, r.result.metric) == (newest.key.data, newest.result.metric)]
        groups: dict[str, list[Record]] = {}
        for model in sorted({r.key.model for r in same}):
            cells = {(r.key.split_hash, r.key.seed): r for r in same if r.key.model == model}  # the newest of equals
            groups[model] = list(cells.values())
        published = {m: p for m in groups if (p := MODELS.card(m).published.get(benchmark)) is not None}
        counted = sum(map(len, groups.values()))
        found.append(Board(benchmark, newest.result.metric, groups, published, len(records) - counted))
    return found

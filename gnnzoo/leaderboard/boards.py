"""Who is how good on a benchmark, from records alone, and what differs by more than chance.

Who takes part is a model with a strategy: ``gin``, trained as it usually is, and ``gin+irm``
(:func:`gnnzoo.registry.contender`). Compared are records of each one's shipped configuration on the same data, the same
splits and with the same metric: the newest of every cell, never the best of several. All others are listed apart, each
with its reason.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import numpy as np

from gnnzoo.cards import METRICS, DatasetCard, Protocol, Published
from gnnzoo.errors import GnnzooError, UnknownNameError
from gnnzoo.leaderboard.record import Record
from gnnzoo.leaderboard.stats import (
    Paired,
    Summary,
    holm,
    mean_over_seeds,
    mid_ranks,
    paired_test,
    summarize,
    wilcoxon_test,
)
from gnnzoo.leaderboard.store import Store
from gnnzoo.registry import DATASETS, MODELS, contender, is_path, partition

__all__ = [
    "LEVEL",
    "Apart",
    "AverageRank",
    "Board",
    "ConfigHash",
    "Row",
    "Settings",
    "Test",
    "average_ranks",
    "board",
    "boards",
    "compare",
    "method",
    "rank_table",
    "recorded",
]

LEVEL = 0.05
"""A Holm-adjusted p-value below it is called significant."""

Test = Literal["t", "wilcoxon"]
"""How two models are compared: the (corrected resampled) t-test, or Wilcoxon's signed-rank test."""

ConfigHash = Callable[[str, str], str]
Settings = Callable[[str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class Row:
    """One model on one benchmark."""

    model: str
    label: str
    """The model's name, with a strategy that is not its usual one: ``gin+irm``."""
    summary: Summary
    splits: int
    seeds: int
    """Of every split; where their numbers differ, the smallest."""
    complete: bool
    """Whether every split of the protocol has a record, with as many seeds as the protocol asks for."""
    rank: float | None
    """Among complete rows, ties sharing the mean of their ranks; None: not ranked."""
    against_best: Paired | None
    """This row minus the best, on identical splits (on identical seeds of one split); None for the best itself."""
    p_holm: float | None
    """The test's p-value, adjusted by Holm for all comparisons of the board."""
    best: bool
    """Is the best, or not significantly worse."""
    parameters: int
    seconds_per_epoch: float
    """Processor time on a CPU, wall time on a GPU, of the newest record's kind of device; of pairs told apart, of a
    record: they have no epochs."""
    device: str
    peak_memory_mib: float
    hardware: str
    trials: int | None
    """How many configurations were tried to find this one; None: not by us."""
    published: Published | None
    config: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Apart:
    """Records that are not compared, and why."""

    label: str
    reason: str
    records: tuple[Record, ...]
    summary: Summary


@dataclass(frozen=True)
class Board:
    """What is known about one benchmark."""

    benchmark: str
    metric: str
    splits: int
    """How many the protocol has."""
    selection: str
    """``validation``, or ``on-test``: all splits are read at the one epoch whose mean on test is best, and it is never
    ranked with others."""
    unranked: str
    """Why nobody may be ranked by it, or empty."""
    data: str
    """Digest of the data that the compared records were made on."""
    method: str
    """The test, in words."""
    rows: list[Row]
    """Ranked ones first, best first; then those with splits missing."""
    apart: list[Apart]
    not_run: list[str]
    """Models that fit the benchmark and have no row."""
    seeds: int = 1
    """How many the protocol asks for."""

    @property
    def ranked(self) -> list[Row]:
        """The rows that have a rank."""
        return [row for row in self.rows if row.rank is not None]


@dataclass(frozen=True)
class AverageRank:
    """A model's mean rank over benchmarks."""

    label: str
    rank: float
    benchmarks: int
    complete: bool
    """Whether it is ranked on all of them, so that its mean rank compares with others' that are."""


# --- one table --------------------------------------------------------------------------------------------------------


def method(splits: int, test: Test = "t") -> str:
    """Return in words how models are told from the best."""
    units = f"{splits} splits, seeds averaged first" if splits > 1 else "the seeds of one split"
    if test == "wilcoxon":
        name = "Wilcoxon signed-rank test" + (", which takes splits for independent," if splits > 1 else "")
    else:
        name = "corrected resampled t-test (Nadeau and Bengio, 2003)" if splits > 1 else "paired t-test"
    return f"{name} over {units}; p-values adjusted by Holm; * is the best or not significantly worse (p >= {LEVEL})"


def compare(
    groups: Mapping[str, Sequence[Record]],
    published: Mapping[str, Published] | None = None,
    splits: int | None = None,
    ranked: bool = True,
    test: Test = "t",
    seeds: int = 1,
) -> list[Row]:
    """Return a row per label, best first, each complete one tested against the best.

    Args:
        groups: records of one benchmark, metric and dataset digest, by label (a model's name).
        published: numbers in print, by label.
        splits: how many a complete row has; default: as many as there are records of.
        ranked: False: rows have no ranks and no tests, and stand by label.
        test: how rows are compared with the best.
        seeds: how many a complete row has of every split.
    """
    ordered = {label: sorted(found, key=lambda r: (r.key.split, r.key.seed)) for label, found in groups.items()}
    covers = {label: {r.key.split_hash for r in found} for label, found in groups.items()}
    wanted = len(set().union(*covers.values())) if splits is None else splits
    units = {label: mean_over_seeds(found) for label, found in ordered.items()}
    summaries = {label: summarize(list(values.values())) for label, values in units.items()}
    counts = {label: Counter(r.key.split_hash for r in found) for label, found in ordered.items()}
    complete = [x for x in ordered if len(covers[x]) >= wanted and min(counts[x].values()) >= seeds]
    first = next(iter(ordered.values()))[0]
    better = METRICS[first.result.metric].higher_is_better

    order = sorted(ordered, key=lambda x: (-summaries[x].mean if better else summaries[x].mean, x))
    ranks: dict[str, float] = {}
    tests: dict[str, Paired] = {}
    adjusted: dict[str, float] = {}
    if not ranked:
        order = sorted(ordered)
    elif complete:
        ranks = dict(zip(complete, mid_ranks([summaries[x].mean for x in complete], better), strict=True))
        order.sort(key=lambda label: label not in ranks)
        ratio = first.result.rows["test"] / first.result.rows["train"] if wanted > 1 else None
        for label in order[1 : len(complete)]:
            pair = units[label], units[order[0]]
            found = wilcoxon_test(*pair) if test == "wilcoxon" else paired_test(*pair, ratio)
            if found is not None:
                tests[label] = found
        raw = {label: found.p_value for label, found in tests.items() if found.p_value is not None}
        adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    best = {label for label in ranks if ranks[label] == min(ranks.values()) or adjusted.get(label, 0.0) >= LEVEL}

    rows = []
    for label in order:
        records = ordered[label]
        newest = max(records, key=lambda r: r.cost.date)
        timed = [r for r in records if r.cost.device == newest.cost.device]
        spent = sum(r.cost.cpu_seconds if r.cost.device == "cpu" else r.cost.seconds for r in timed)
        rows.append(
            Row(
                model=newest.key.model,
                label=label,
                summary=summaries[label],
                splits=len(counts[label]),
                seeds=min(counts[label].values()),
                complete=label in complete,
                rank=ranks.get(label),
                against_best=tests.get(label),
                p_holm=adjusted.get(label),
                best=label in best,
                parameters=newest.result.parameters,
                seconds_per_epoch=spent / (len(timed) if splits == 0 else max(sum(r.result.epochs for r in timed), 1)),
                device="CPU" if newest.cost.device == "cpu" else "GPU",
                peak_memory_mib=max(r.cost.peak_memory_mib for r in timed),
                hardware="; ".join(dict.fromkeys(map(_hardware, records))),
                trials=max((r.tuned.trials for r in records if r.tuned), default=None),
                published=(published or {}).get(label),
                config=newest.key.config,
                records=tuple(records),
            )
        )
    return rows


def _hardware(record: Record) -> str:
    cost = record.cost
    threads = f"{cost.processor}, {cost.threads} thread{'s' if cost.threads > 1 else ''}"
    return (threads if cost.device == "cpu" else cost.device) + (f" (from {cost.origin})" if cost.origin else "")


# --- which records ----------------------------------------------------------------------------------------------------


@dataclass
class _Set:
    """Records of one contender that differ in split and seed alone."""

    label: str
    config: str
    data: str
    metric: str
    records: list[Record] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def without(self, gone: Callable[[Record], bool], why: str) -> list[_Set]:
        """Take out the records that ``gone`` names; return them as a set of their own, where there are any."""
        taken = [r for r in self.records if gone(r)]
        self.records = [r for r in self.records if not gone(r)]
        return [replace(self, records=taken, reasons=[why])] if taken else []

    def apart(self, protocol: Protocol | None) -> Apart:
        """Return the set as it is listed."""
        covered = len({r.key.split_hash for r in self.records})
        reasons = list(self.reasons)
        if protocol is not None and covered < protocol.splits:
            reasons.append(f"{covered} of {protocol.splits} splits")
        ordered = sorted(self.records, key=lambda r: (r.key.split, r.key.seed))
        summary = summarize(list(mean_over_seeds(ordered).values()))
        return Apart(self.label, "; ".join(reasons), tuple(ordered), summary)


def _sets(store: Store, folder: str, models: Collection[str], trained: bool = True) -> list[_Set]:
    """Return all records of a benchmark, the newest of every cell; see :func:`gnnzoo.registry.contender`."""
    found: dict[tuple[str, str, str, str], _Set] = {}
    name = cache(contender)
    for model in models:
        for r in {r.key: r for r in store.read(store.path(folder, model))}.values():
            label = name(r.key.model, r.key.strategy, trained)
            identity = (label, r.key.config, r.key.data, r.result.metric)
            found.setdefault(identity, _Set(*identity)).records.append(r)
    return list(found.values())


def _newest(sets: Sequence[_Set]) -> Record | None:
    return max((r for s in sets for r in s.records), key=lambda r: r.cost.date, default=None)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _written(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _tuned(records: Sequence[Record]) -> str:
    """Return which study found a configuration, and in how many trials."""
    found = next((r.tuned for r in records if r.tuned), None)
    return "" if found is None else f"{found.source}, {found.trials} trials: "


_SHOWN = 4
"""So many differing settings are named."""


def _other_settings(config: Mapping[str, Any] | None, shipped: Mapping[str, Any] | None, digest: str) -> str:
    """Return what a configuration has and the shipped one has not."""
    if config is None or shipped is None:
        return f"other settings (configuration {digest})"
    ours, theirs = dict(_leaves(shipped)), dict(_leaves(config))
    differing = {key: theirs.get(key) for key in sorted({*theirs, *ours}) if theirs.get(key) != ours.get(key)}
    words = [
        f"{key.removeprefix('names.')}={_written(value)}"
        for key, value in differing.items()
        if key not in ("content", "names.dataset")  # of own data: the digest tells
    ]
    if not words:
        return f"other settings (configuration {digest})"
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"other settings: {', '.join(words[:_SHOWN])}{more}"


def _combined(hashes: Mapping[int, str]) -> str:
    """Return the hash of all splits as a bundle and its card have it."""
    return hashlib.sha256(" ".join(hashes[i] for i in sorted(hashes)).encode()).hexdigest()[:16]


def _split_hashes(sets: Sequence[_Set], protocol: Protocol) -> dict[int, str]:
    """Return the hash of every split that records must have: the card's where they can be told, else the newest."""
    single = [{r.key.split: r.key.split_hash for r in s.records} for s in sets]
    newest = {
        r.key.split: r.key.split_hash for r in sorted((r for s in sets for r in s.records), key=lambda r: r.cost.date)
    }
    for hashes in (newest, *single):
        if len(hashes) == protocol.splits and _combined(hashes) == protocol.hash:
            return hashes
    if protocol.hash and len(newest) == protocol.splits:
        return {}  # whole, and not the card's
    return newest


def _partial_seeds(records: Sequence[Record], splits: int) -> list[int]:
    """Return the seeds that lack splits, where another seed has them all: a row is made of whole seeds."""
    covers: dict[int, set[int]] = {}
    for r in records:
        covers.setdefault(r.key.seed, set()).add(r.key.split)
    partial = sorted(seed for seed, found in covers.items() if len(found) < splits)
    return partial if len(partial) < len(covers) else []


def _card(benchmark: str) -> tuple[DatasetCard, str]:
    """Return the card and the protocol's name of ``dataset@protocol``.

    Raises:
        UnknownNameError: there is no such dataset or protocol.
    """
    dataset, _, protocol = partition(benchmark)
    card = DATASETS.card(dataset)
    name = protocol or card.default_protocol
    if name not in card.protocols:
        raise UnknownNameError("protocol", name, card.protocols, f"dataset {card.name}")
    return card, name


def board(
    store: Store,
    benchmark: str,
    models: Sequence[str],
    config_hash: ConfigHash,
    *,
    settings: Settings | None = None,
    test: Test = "t",
) -> Board:
    """Return what the records of a store say about one benchmark.

    Args:
        store: the results folder.
        benchmark: ``dataset@protocol``; of own data, their path before the ``@``.
        models: who may take part; those that fit the benchmark and have no row are listed as not run.
        config_hash: returns the hash of a contender's shipped configuration on a benchmark.
        settings: returns that configuration, to say in what others differ; default: the stored one, if there is one.
        test: how models are compared with the best.

    Raises:
        UnknownNameError: there is no such dataset or protocol.
    """
    card, name = _card(benchmark)
    protocol = card.protocols[name]
    folder = f"{card.name}@{name}"
    shipped: dict[str, str] = {}
    sets = _sets(store, folder, list(dict.fromkeys(models)), protocol.splits > 0)
    for s in sets:
        if s.label.partition("+")[0] not in MODELS.names():
            s.reasons.append("no model of that name is installed")
            continue
        try:
            shipped.setdefault(s.label, config_hash(s.label, benchmark))
        except GnnzooError as error:
            s.reasons.append(f"it has no configuration here now: {error}")
            continue
        if s.config != shipped[s.label]:
            ours = settings(s.label, benchmark) if settings else store.config(shipped[s.label])
            s.reasons.append(_tuned(s.records) + _other_settings(store.config(s.config), ours, s.config))
    for s in sets:
        if s.metric != protocol.metric:
            s.reasons.append(f"another metric: {s.metric}")
    newest = _newest([s for s in sets if not s.reasons]) or _newest(sets)
    data = protocol.digest or (newest.key.data if newest else "")
    for s in sets:
        if s.data != data:
            s.reasons.append(f"made on other data (digest {s.data})")

    kept, others = [s for s in sets if not s.reasons], [s for s in sets if s.reasons]
    hashes = _split_hashes(kept, protocol)
    for s in kept:
        if protocol.selection == "on-test":
            others += s.without(lambda r: not r.result.curve, "no curve over epochs, so no epoch for all splits")
        others += s.without(lambda r: hashes.get(r.key.split) != r.key.split_hash, "made on other splits")
        for seed in _partial_seeds(s.records, protocol.splits):
            others += s.without(lambda r, seed=seed: r.key.seed == seed, f"seed {seed} is not whole")  # type: ignore[misc]

    groups = {s.label: s.records for s in sorted(kept, key=lambda s: s.label) if s.records}
    published = {m: p for m in groups if "+" not in m and (p := MODELS.card(m).published.get(folder)) is not None}
    rows = compare(groups, published, protocol.splits, not card.unranked, test, protocol.seeds) if groups else []
    fitting = [m for m in models if m in MODELS.names() and _fits(m, card)]
    return Board(
        benchmark=folder,
        metric=protocol.metric,
        splits=protocol.splits,
        selection=protocol.selection,
        unranked=card.unranked,
        data=data,
        method=method(protocol.splits, test),
        rows=rows,
        apart=[s.apart(protocol) for s in sorted(others, key=lambda s: s.label)],
        not_run=[m for m in dict.fromkeys(fitting) if m not in groups],
        seeds=protocol.seeds,
    )


def _fits(model: str, card: DatasetCard) -> bool:
    m = MODELS.card(model)
    task = "graph" if card.task == "distinguish" else card.task
    return task in m.tasks and card.structure in m.structures


def recorded(store: Store) -> dict[str, list[str]]:
    """Return the models that have records, by benchmark."""
    found: dict[str, list[str]] = {}
    for path in store.files():
        found.setdefault(path.parent.name, []).append(path.stem)
    return found


def _place(store: Store, benchmark: str, models: Sequence[str]) -> str:
    """Return the benchmark with the path of own data in place of their label, where a stored configuration names it."""
    dataset, _, protocol = benchmark.partition("@")
    if dataset in DATASETS.names():
        return benchmark
    for digest in dict.fromkeys(s.config for s in _sets(store, benchmark, models)):
        place = ((store.config(digest) or {}).get("names") or {}).get("dataset", "")
        if is_path(place):
            return f"{place}@{protocol}"
    return benchmark


def boards(
    store: Store,
    benchmarks: Sequence[str] | None,
    models: Sequence[str] | None,
    config_hash: ConfigHash,
    *,
    settings: Settings | None = None,
    test: Test = "t",
) -> list[Board]:
    """Return a board per benchmark; see :func:`board`.

    Args:
        store: the results folder.
        benchmarks: default: all that have records; one that is not known here has its records apart.
        models: default: all that have records.
        config_hash: returns the hash of a contender's shipped configuration on a benchmark.
        settings: returns that configuration.
        test: how models are compared with the best.
    """
    have = recorded(store)
    found = []
    for benchmark in have if benchmarks is None else benchmarks:
        if benchmarks is None:
            chosen = have[benchmark] if models is None else models
            place = _place(store, benchmark, have[benchmark])
            try:
                _card(place)
            except GnnzooError as error:
                found.append(_unknown(store, benchmark, chosen, str(error)))
                continue
        else:
            card, protocol = _card(benchmark)
            chosen = have.get(f"{card.name}@{protocol}", []) if models is None else models
            place = benchmark
        found.append(board(store, place, chosen, config_hash, settings=settings, test=test))
    return found


def _unknown(store: Store, benchmark: str, models: Sequence[str], reason: str) -> Board:
    """Return a board that compares nothing."""
    sets = _sets(store, benchmark, models)
    for s in sets:
        s.reasons.append(reason)
    newest = _newest(sets)
    metric = newest.result.metric if newest else ""
    apart = [s.apart(None) for s in sets]
    return Board(benchmark, metric, 0, "validation", reason, newest.key.data if newest else "", "", [], apart, [])


# --- several benchmarks -----------------------------------------------------------------------------------------------


def rank_table(boards: Sequence[Board]) -> tuple[list[str], list[str], np.ndarray]:
    """Return models, benchmarks and ranks ``[benchmarks, models]``, of the models that are ranked on every benchmark.

    Benchmarks that select on test or that nobody may be ranked by are left out, and so are those with fewer than two
    ranked models. Ranks are taken among the returned models alone, ties sharing their mean.
    """
    clean = [b for b in boards if b.selection == "validation" and not b.unranked and len(b.ranked) > 1]
    everywhere = [{row.label: row.summary.mean for row in b.ranked} for b in clean]
    models = sorted(set.intersection(*map(set, everywhere))) if clean else []
    ranks = [
        mid_ranks([means[m] for m in models], METRICS[b.metric].higher_is_better)
        for b, means in zip(clean, everywhere, strict=True)
    ]
    return models, [b.benchmark for b in clean], np.array(ranks).reshape(len(clean), len(models))


def average_ranks(boards: Sequence[Board]) -> list[AverageRank]:
    """Return mean ranks, best first, over the benchmarks of :func:`rank_table`.

    Models that are ranked on all of them are ranked among each other; the others come after, by the number of
    benchmarks on which they have a rank, with the mean of those.
    """
    models, benchmarks, ranks = rank_table(boards)
    found = [
        AverageRank(model, float(rank), len(benchmarks), True)
        for model, rank in zip(models, ranks.mean(axis=0) if models else [], strict=True)
    ]
    partial: dict[str, list[float]] = {}
    for b in boards:
        for row in b.ranked if b.benchmark in benchmarks else []:
            if row.label not in models and row.rank is not None:
                partial.setdefault(row.label, []).append(row.rank)
    found += [AverageRank(model, float(np.mean(r)), len(r), False) for model, r in partial.items()]
    return sorted(found, key=lambda a: (not a.complete, -a.benchmarks, a.rank, a.label))

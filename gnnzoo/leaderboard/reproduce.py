"""Ours against print: for each published number of a model's card what our records say, by one rule, misses included.

Reproduced is what has ``|gap| <= max(floor, 2 sqrt(se_ours² + se_published²))``: a standard error is the standard
deviation over splits (over seeds, where there is one split) divided by the root of their number; the floor is 0.5
points for what papers print in per cent, 1 % of the printed value for errors in the target's unit. A standard error
that is unknown is left out, which makes the tolerance smaller, and said.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gnnzoo.cards import METRICS, ModelCard, Published
from gnnzoo.errors import ConfigError, GnnzooError, UnknownNameError, closest
from gnnzoo.leaderboard.boards import Board, board, recorded
from gnnzoo.leaderboard.stats import Summary
from gnnzoo.leaderboard.store import Store
from gnnzoo.leaderboard.table import in_unit, lacking_text, mean_text, published_text, unit
from gnnzoo.registry import DATASETS, MODELS, partition

__all__ = ["COLUMNS", "RULE", "Reproduction", "Verdict", "cells", "judge", "notes", "page", "printed", "reproductions"]

Verdict = Literal["reproduced", "above", "below", "not comparable", "not run"]
"""``above`` and ``below`` are the number's directions: above is worse where lower is better."""

POINTS = 0.5
"""Differences of so many points of per cent are nobody's."""
SHARE = 0.01
"""The same for metrics in the target's unit: this share of the printed value."""

RULE = (
    "A number is *reproduced* when |gap| ≤ max(floor, 2·√(se_ours² + se_published²)): se is the standard deviation "
    "over splits (over seeds, where there is one split) divided by √n, the floor 0.5 points for metrics in per cent "
    "and 1 % of the printed value for errors in the target's unit. A standard error that is unknown is left out, which "
    "makes the tolerance smaller. Otherwise ours is *above* or *below*, or *not comparable*, and why."
)


@dataclass(frozen=True)
class Reproduction:
    """One published number of one model, and ours."""

    model: str
    benchmark: str
    published: Published
    ours: Summary | None
    """In the stored unit; of splits that are not all there too. None: no record that could be compared."""
    gap: float | None
    """Ours minus published, in the unit of print; None where they cannot be compared."""
    tolerance: float | None
    verdict: Verdict
    why: str


def judge(published: Published, ours: Summary) -> tuple[float, float, Verdict, str]:
    """Return gap and tolerance in the unit of print, the verdict, and its reason in words.

    Args:
        published: the number in print.
        ours: mean and spread of our records, in the stored unit.
    """
    metric = METRICS[published.metric]
    gap = in_unit(ours.mean, published.metric) - published.mean
    errors = {
        "ours": None if ours.std is None else in_unit(ours.std, published.metric) / math.sqrt(ours.n),
        "print": None if None in (published.std, published.n) else published.std / math.sqrt(published.n),  # type: ignore[operator, arg-type]
    }
    floor = POINTS if metric.percent else SHARE * abs(published.mean)
    tolerance = max(floor, 2 * math.sqrt(sum(error**2 for error in errors.values() if error is not None)))
    reasons = []
    if errors["ours"] is None:
        reasons.append("one run, no standard error of ours")
    if errors["print"] is None:
        absent = [name for name, value in (("std", published.std), ("n", published.n)) if value is None]
        reasons.append(f"no {' and '.join(absent)} in print, so without its standard error")
    verdict: Verdict
    if abs(gap) <= tolerance + 1e-9:
        verdict = "reproduced"
    elif errors["ours"] is None:
        verdict = "not comparable"
        reasons = ["the gap may be chance: one run has no standard error; seeds=5 gives one"]
    else:
        verdict = "above" if gap > 0 else "below"
        if not metric.higher_is_better:
            reasons.insert(0, f"lower is better: {'worse' if gap > 0 else 'better'} than print")
    return gap, tolerance, verdict, "; ".join(reasons)


def reproductions(
    store: Store,
    model: str,
    config_hash: Callable[[str, str], str],
    dataset: str | None = None,
    settings: Callable[[str, str], Mapping[str, Any]] | None = None,
) -> list[Reproduction]:
    """Return a row per published number of a model, as its card has them.

    Args:
        store: the results folder.
        model: a registered name or alias.
        config_hash: returns the hash of a model's shipped configuration on a benchmark.
        dataset: one dataset, or ``dataset@protocol``; default: all.
        settings: returns the shipped configuration, to say in what others differ.

    Raises:
        ConfigError: an unknown name, or nothing in print for that dataset.
    """
    card = MODELS.card(model)
    have = recorded(store)
    chosen = printed(card, dataset)
    if dataset is not None and not chosen:
        there = closest(dataset, card.published) if card.published else "; none at all"
        raise ConfigError(f"the card of {card.name} has no published number for {dataset}{there}")
    return [_one(store, card, benchmark, config_hash, settings, have) for benchmark in chosen]


def printed(card: ModelCard, dataset: str | None) -> list[str]:
    """Return the benchmarks for which a card has published numbers, of one dataset or ``dataset@protocol``.

    Raises:
        UnknownNameError: there is no such dataset or protocol.
    """
    if dataset is None:
        return list(card.published)
    name, _, protocol = partition(dataset)
    name = DATASETS.canonical(name)
    known = DATASETS.card(name).protocols
    if protocol and protocol not in known:
        raise UnknownNameError("protocol", protocol, known, f"dataset {name}")
    return [b for b in card.published if b.partition("@")[0] == name and protocol in ("", b.partition("@")[2])]


def _one(
    store: Store,
    card: ModelCard,
    benchmark: str,
    config_hash: Callable[[str, str], str],
    settings: Callable[[str, str], Mapping[str, Any]] | None,
    have: Mapping[str, Sequence[str]],
) -> Reproduction:
    published = card.published[benchmark]

    def without(verdict: Verdict, why: str, ours: Summary | None = None) -> Reproduction:
        return Reproduction(card.name, benchmark, published, ours, None, None, verdict, why)

    if card.name not in have.get(benchmark, ()):
        dataset = benchmark.partition("@")[0]
        others = [b for b, models in have.items() if b.partition("@")[0] == dataset and card.name in models]
        return without("not run", f"recorded under {', '.join(others)}: another protocol" if others else "")
    try:
        found: Board = board(store, benchmark, [card.name], config_hash, settings=settings)
    except GnnzooError as error:
        return without("not comparable", str(error))
    row = next((row for row in found.rows if row.label == card.name), None)
    if row is None:
        reasons = dict.fromkeys(f"{a.reason} ({_runs(len(a.records))})" for a in found.apart if a.label == card.name)
        if not reasons:
            return without("not run", "")
        return without("not comparable", "; ".join(reasons))
    if found.metric != published.metric:
        why = f"print has {published.metric}, the protocol {found.metric}"
        return without("not comparable", why)
    if not row.complete:
        return without("not comparable", lacking_text(row, found.splits, found.seeds), row.summary)
    gap, tolerance, verdict, why = judge(published, row.summary)
    return Reproduction(card.name, benchmark, published, row.summary, gap, tolerance, verdict, why)


def _runs(count: int) -> str:
    return f"{count} record{'s' if count > 1 else ''}"


def notes(found: Reproduction) -> list[str]:
    """Return what the cards say that may explain a miss; the model's deviations stand in its card."""
    if found.verdict not in ("above", "below"):
        return []
    card = MODELS.card(found.model)
    setting = card.datasets.get(found.benchmark)
    dataset, _, protocol = found.benchmark.partition("@")
    said = [f"settings: {setting.source if setting else 'none of this benchmark on the card: its defaults'}"]
    said.append(f"print: {found.published.source}")
    return said + [f"data: {text}" for text in DATASETS.card(dataset).warnings(protocol)]


COLUMNS = ("benchmark", "metric", "ours ± 95 % CI", "n", "published ± std", "n", "gap", "tolerance", "verdict", "why")
"""What :func:`cells` returns, in words."""


def cells(found: Reproduction) -> list[str]:
    """Return a row of text; a number that there is not is empty."""
    metric = found.published.metric
    digits = 2 if METRICS[metric].percent else 4
    ours = [mean_text(found.ours, metric), str(found.ours.n)] if found.ours else ["", ""]
    compared = ["", ""]
    if found.gap is not None and found.tolerance is not None:
        compared = [f"{found.gap:+.{digits}f}", f"{found.tolerance:.{digits}f}"]
    printed = [published_text(found.published), str(found.published.n or "")]
    return [found.benchmark, metric + unit(metric), *ours, *printed, *compared, found.verdict, found.why]


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _counts(found: Sequence[Reproduction]) -> list[str]:
    count = Counter(r.verdict for r in found)
    return [str(count[verdict]) for verdict in get_args(Verdict)]


def page(store: Store, found: Sequence[Reproduction]) -> str:
    """Return the page of the whole zoo as markdown: made of records and cards alone, so that it can be checked.

    Args:
        store: what ``found`` was made of.
        found: rows of all models, in the order in which they are to stand.
    """
    groups: dict[str, list[Reproduction]] = {}
    for r in found:
        groups.setdefault(r.model, []).append(r)
    overview = [[f"[`{model}`](#{model})", str(len(rows)), *_counts(rows)] for model, rows in groups.items()]
    if len(groups) > 1:
        overview.append(["all", str(len(found)), *_counts(found)])
    have = recorded(store)
    parts = [
        "# Reproduction\n",
        "Ours against print, from the records in `leaderboards/results` and the models' cards. Written by "
        "`gnnzoo reproduce --write`; not to be edited.\n",
        RULE + "\n",
        "Ours are the shipped configurations, never the best of several; runs that were left out stand in a model's "
        "deviations. `gnnzoo verify FILE.jsonl:LINE` runs a record again.\n",
        _markdown(["model", "published", *get_args(Verdict)], overview) + "\n",
    ]
    for model, rows in groups.items():
        parts.append(f"## {model}\n")
        parts.append(_paper(MODELS.card(model)) + "\n")
        lines = [cells(r) for r in rows]
        for line in lines:
            line[0] = f"`{line[0]}`"
        parts.append(_markdown(COLUMNS, lines) + "\n")
        parts += _explained(rows)
        if rest := [b for b, models in have.items() if model in models and b not in MODELS.card(model).published]:
            parts.append(f"Recorded, with no number in print on the card: {', '.join(f'`{b}`' for b in rest)}.\n")
    return "\n".join(parts)


def _paper(card: ModelCard) -> str:
    paper = card.paper
    if paper is None:
        return card.summary
    where = f"[arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else str(paper.year)
    return f"{paper.title}, {where}"


def _explained(rows: Sequence[Reproduction]) -> list[str]:
    """Return what the cards say about the misses of one model, and its deviations, as lists."""
    missed = [r for r in rows if notes(r)]
    if not missed:
        return []
    lines = ["What the cards say about the misses:\n"]
    for r in missed:
        points = " points" if METRICS[r.published.metric].percent else ""
        lines.append(f"- `{r.benchmark}`, {r.verdict} by {cells(r)[6].lstrip('+-')}{points}")
        lines += [f"  - {text}" for text in notes(r)]
    if deviations := MODELS.card(rows[0].model).deviations:
        lines.append("- deviations of the model, on every benchmark")
        lines += [f"  - {text}" for text in deviations]
    return [*lines, ""]

"""Leaderboards as pages: markdown and figures, made from boards alone, so that they can be checked against the records.

:func:`site` says what all pages and figures hold, without writing or drawing; :func:`write` and :func:`check` hold a
folder against it. Pages are compared byte by byte. A figure is compared by what it plots and by its own checksum, both
kept in ``figures/digests.json``: another version of matplotlib draws the same numbers with other bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gnnzoo.atomic import write_bytes, write_text
from gnnzoo.cards import DatasetCard, Setting, SuiteCard
from gnnzoo.errors import StorageError, UnknownNameError
from gnnzoo.leaderboard.boards import LEVEL, Apart, Board, Row, average_ranks, rank_table
from gnnzoo.leaderboard.figures import Drawing, IntervalRow, ParetoPoint, intervals, pareto, rank_diagram, to_bytes
from gnnzoo.leaderboard.record import Record
from gnnzoo.leaderboard.shift import shift_table
from gnnzoo.leaderboard.stats import critical_difference, friedman
from gnnzoo.leaderboard.table import (
    cells_text,
    difference_text,
    in_unit,
    lacking_text,
    mean_text,
    metric_text,
    p_text,
    published_text,
    time_text,
    unit,
)
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, partition

__all__ = ["Site", "check", "demo_table", "full_name", "markdown", "results_table", "site", "write"]

MARK = "<!-- Made from the records by `gnnzoo leaderboard render`: edits are lost. -->"
FIGURES = "figures"
DIGESTS = f"{FIGURES}/digests.json"

INTERVAL = (
    "± is half of the 95 % interval of the mean by Student's t, where n is the number of splits, the seeds of a split "
    "averaged first (with one split: the number of its seeds). n = 1 has no interval."
)
HOME = "[All leaderboards](README.md)"
BOLD = f"**Bold** and *: the best, or not significantly worse (p ≥ {LEVEL:g})."


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# --- cells ------------------------------------------------------------------------------------------------------------


def _heading(metric: str) -> str:
    """Return ``test accuracy (%)``."""
    percent = unit(metric).strip()
    words = metric_text(metric).split(", ")
    return f"test {words[0]}" + (f" ({percent})" if percent else "") + "".join(f", {word}" for word in words[1:])


def _mean(row: Row, metric: str) -> str:
    text = mean_text(row.summary, metric)
    return f"**{text}** *" if row.best else text


def _rank(row: Row) -> str:
    return "" if row.rank is None else f"{row.rank:g}"


def _std(row: Row, metric: str) -> str:
    if row.summary.std is None:
        return ""
    return f"{in_unit(row.summary.std, metric):.{2 if unit(metric) else 4}f}"


def _to_best(row: Row, metric: str) -> str:
    return difference_text(row, metric) or ("best" if row.best else "")


def _published(row: Row, metric: str) -> tuple[str, str]:
    """Return the number in print and how far ours is from it."""
    if row.published is None:
        return "", ""
    text = published_text(row.published)
    if row.published.metric != metric:
        return f"{text} ({row.published.metric})", ""
    gap = in_unit(row.summary.mean, metric) - row.published.mean
    return text, f"{gap:+.{2 if unit(metric) else 4}f}"


def _time(row: Row) -> str:
    return f"{1000 * row.seconds_per_epoch:.1f} {row.device}"


# --- README -----------------------------------------------------------------------------------------------------------


def results_table(boards: Sequence[Board]) -> str:
    """Return the table of all clean benchmarks, a row per model, and what metrics it has."""
    columns = ["benchmark", "rank", "model", "test ± 95 % CI", "std", "splits × seeds", "to the best", "published"]
    columns += ["gap", "parameters", "ms/epoch"]
    shown = [b for b in boards if b.rows and b.selection == "validation" and not b.unranked]
    rows = [
        [f"`{b.benchmark}`", _rank(row), f"`{row.label}`", _mean(row, b.metric), _std(row, b.metric)]
        + [cells_text(row, b.splits, b.seeds), _to_best(row, b.metric), *_published(row, b.metric)]
        + [f"{row.parameters:,}", _time(row) + " in all" * (not b.splits)]
        for b in shown
        for row in b.rows
    ]
    metrics = ", ".join(dict.fromkeys(_heading(b.metric) for b in shown))
    others = sum(len(apart.records) for b in boards for apart in b.apart)
    others += sum(len(row.records) for b in boards if b not in shown for row in b.rows)
    note = f"{metrics[:1].upper()}{metrics[1:]}." if metrics else "No records."
    note += f" {others:,} other records stand apart or may not be ranked: the pages say why." * bool(others)
    return f"{markdown(columns, rows)}\n\n{note}"


def demo_table(boards: Sequence[Board]) -> str:
    """Return what a run of the demonstration prints."""
    columns = ["model", "test ± 95 % CI", "to the best", "parameters", "ms/epoch"]
    rows = [
        [f"`{row.label}`", _mean(row, b.metric), _to_best(row, b.metric), f"{row.parameters:,}", _time(row)]
        for b in boards
        for row in b.rows
    ]
    return markdown(columns, rows)


# --- a benchmark's page -----------------------------------------------------------------------------------------------


def _card(benchmark: str) -> tuple[DatasetCard, str] | None:
    """Return the card and protocol of a benchmark; None for one that is not registered here."""
    dataset, _, protocol = partition(benchmark)
    try:
        card = DATASETS.card(dataset)
    except UnknownNameError:
        return None
    return (card, protocol) if protocol in card.protocols else None


def _listed(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value))


def _dates(records: Iterable[Record]) -> str:
    days = sorted({r.cost.date[:10] for r in records})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _commits(records: Iterable[Record]) -> str:
    return _listed(f"`{commit}`" for commit in dict.fromkeys(r.cost.commit or "none" for r in records))


def _benchmark_page(board: Board, results: str, pictures: Sequence[str], suites: Sequence[str]) -> str:
    known = _card(board.benchmark)
    parts = [MARK, f"# {board.benchmark}"]
    if known:
        card, name = known
        protocol = card.protocols[name]
        source = f" Source: {protocol.source}." if protocol.source else ""
        parts.append(f"{_sentence(card.summary)} {_sentence(protocol.summary)}{source}")
        warnings = card.warnings(name)
        if warnings:
            parts.append("**Known problems** (`gnnzoo data info` lists all):\n\n" + _bullets(warnings))
    links = _listed(f"[{name}]({name}.md)" for name in suites)
    parts.append(f"In the suite {links}. {HOME}" if links else HOME)

    parts.append("## Results")
    if board.rows:
        parts += [_benchmark_table(board), *_notes(board), *_shift(board)]
    else:
        parts.append("No records can be compared.")
    parts += pictures
    if board.not_run:
        names = ", ".join(f"`{model}`" for model in board.not_run)
        hint = f"`gnnzoo leaderboard {board.benchmark} --estimate` says what they would take on your machine"
        parts.append(f"**Not run**, though they fit: {names} ({hint}).")
    if board.apart:
        parts += ["## Apart", "Records that are not compared, and why.", _apart_table(board.apart)]
    numbers = _numbers_in_print(board)
    if numbers:
        parts += ["## Published", markdown(["model", "published", "n", "source"], numbers)]
    parts += ["## Where the records come from", _identity(board), _provenance(board, results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _apart_table(apart: Sequence[Apart]) -> str:
    rows = []
    for a in apart:
        metric = a.records[0].result.metric
        mean = f"{mean_text(a.summary, metric)}{unit(metric)}, {metric}"
        rows.append([f"`{a.label}`", a.reason, str(len(a.records)), mean])
    return markdown(["model", "why", "records", "test mean ± 95 % CI"], rows)


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}" + "." * (not text.endswith((".", "!", "?")))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _benchmark_table(board: Board) -> str:
    metric = board.metric
    hardware = len({row.hardware for row in board.rows}) > 1
    tuned = any(row.trials is not None for row in board.rows)
    columns = ["rank", "model", f"{_heading(metric)} ± 95 % CI", "std", "splits × seeds", "to the best", "published"]
    columns += ["gap", "parameters", time_text(board.splits), "peak MiB"]
    columns += ["configurations tried"] * tuned + ["hardware"] * hardware
    rows = [
        [_rank(row), f"`{row.label}`", _mean(row, metric), _std(row, metric)]
        + [cells_text(row, board.splits, board.seeds)]
        + [_to_best(row, metric), *_published(row, metric), f"{row.parameters:,}", _time(row)]
        + [f"{row.peak_memory_mib:,.0f}"]
        + ["not by us" if row.trials is None else f"{row.trials:,}"] * tuned
        + [row.hardware] * hardware
        for row in board.rows
    ]
    return markdown(columns, rows)


def _shift(board: Board, head: str = "## In distribution and shifted") -> list[str]:
    """Return what a benchmark's shift costs, where it has one."""
    found = shift_table(board.benchmark, board.metric, board.rows)
    if found is None:
        return []
    table = markdown(found.columns, [[f"`{label}`", *cells] for label, *cells in found.lines])
    return [head, f"What shifts: {found.what}.", table, _bullets([_sentence(found.method)])]


def _notes(board: Board) -> list[str]:
    """Return how the numbers of a board were made."""
    lines = [INTERVAL]
    if board.ranked:
        lines.append(f"To the best: difference on identical splits; {board.method}.")
    if any(not row.complete for row in board.rows):
        lines.append("A model without a record of every split has no rank and stands below those that have.")
        if board.seeds > 1:
            lines.append(f"The protocol asks for {board.seeds} seeds: with fewer there is no rank either.")
    if board.unranked:
        lines.append(f"Nobody is ranked by this benchmark: {board.unranked}.")
    if board.selection == "on-test":
        lines.append(
            "Selected on test, the field's habit: all splits are read at one epoch, the one with the best mean of "
            "their test curves. These ranks stand for themselves, beside no clean ones."
        )
    lines.append("Time: of the processor on a CPU, wall time on a GPU; memory: the highest of the whole process.")
    places = {row.hardware for row in board.rows}
    if len(places) == 1:
        lines.append(f"All on {places.pop()}.")
    if all(row.trials is None for row in board.rows):
        lines.append("Tuning budget: none is recorded. Settings are the shipped ones, their sources stand below.")
    return [_bullets(lines)]


def _numbers_in_print(board: Board) -> list[list[str]]:
    models = dict.fromkeys([*(row.label for row in board.rows), *board.not_run])
    rows = []
    for model in models:
        number = MODELS.card(model).published.get(board.benchmark) if model in MODELS.names() else None
        if number is not None:
            metric = "" if number.metric == board.metric else f" ({number.metric})"
            n = str(number.n) if number.n else "not stated"
            rows.append([f"`{model}`", published_text(number) + metric, n, number.source])
    return rows


def _identity(board: Board) -> str:
    """Return what the compared records have in common."""
    lines = [f"Data: digest `{board.data}`."] if board.data else []
    known = _card(board.benchmark)
    if known:
        protocol = known[0].protocols[known[1]]
        if not protocol.splits:
            return _bullets([*lines, f"No splits: nothing is learnt; metric {protocol.metric}."])
        count = f"{protocol.splits} split{'s' if protocol.splits != 1 else ''}"
        lines.append(f"Splits: {count}, hash `{protocol.hash}`." if protocol.hash else f"Splits: {count}.")
        lines.append(f"Epoch selected on {protocol.selection.removeprefix('on-')}; metric {protocol.metric}.")
    return _bullets(lines)


def _provenance(board: Board, results: str) -> str:
    columns = ["model", "records", "configuration", "settings from", "commit", "made", "on"]
    columns += ["torch", "PyG", "Python"]
    foreign = any(r.cost.origin for row in board.rows for r in row.records)
    rows = []
    for row in board.rows:
        costs = [r.cost for r in row.records]
        file = f"{results}/{board.benchmark}/{row.model}.jsonl"
        config = f"[`{row.config}`]({results}/configs/{row.config}.json)"
        rows.append([f"`{row.label}`", f"[{len(row.records)}]({file})", config, _settings(row, board.benchmark)])
        rows[-1] += [_commits(row.records), _dates(row.records), row.hardware]
        rows[-1] += [*(_listed(getattr(c, x) for c in costs) for x in _VERSIONS)]
        rows[-1] += [_listed(c.origin or "here" for c in costs)] * foreign
    return markdown([*columns, *["origin"] * foreign], rows) if rows else ""


def _settings(row: Row, benchmark: str) -> str:
    """Return where the model's settings are from, and the strategy's where it is not the usual one."""
    settings = MODELS.card(row.model).datasets
    if both := settings.get(f"{benchmark}+{row.records[0].key.strategy}"):
        return both.source
    method: list[tuple[str, Setting | None]] = [("model", settings.get(benchmark))]
    if strategy := row.label.partition("+")[2]:
        method.append(("strategy", STRATEGIES.card(strategy).datasets.get(benchmark)))
    return "; ".join(setting.source if setting else f"the {kind}'s defaults" for kind, setting in method)


_VERSIONS = ("torch", "pyg", "python")


# --- a suite's page ---------------------------------------------------------------------------------------------------


def _suite_page(
    suite: SuiteCard, benchmarks: Sequence[str], found: Sequence[Board], pictures: Sequence[str], ranks: str
) -> str:
    """Return the page of a suite.

    Args:
        suite: its card.
        benchmarks: full names.
        found: those of its boards that have rows.
        pictures: of intervals and times.
        ranks: the diagram of average ranks, or why there is none.
    """
    parts = [MARK, f"# {suite.name}", f"{_sentence(suite.summary)} {HOME}"]
    clean = [b for b in found if b.selection == "validation" and not b.unranked]
    rest = [b for b in found if b not in clean]
    if clean:
        parts += ["## Results", _matrix(clean)]
        lines = [BOLD, f"{INTERVAL} A column's name leads to its test, its hardware and its records."]
        if len(clean) > 1:
            lines.append(
                "Average rank: over the benchmarks on which all models without parentheses are complete, among these "
                "models; in parentheses: over those of the benchmarks that a model has, which compares with nobody's."
            )
        parts += [_bullets(lines), ranks]
    if rest:
        why = "Benchmarks that select on test, or by which nobody may be ranked; they count for no average."
        parts += ["## Not ranked with the others", why, _matrix(rest, averages=False)]
    for b in clean:
        link = f"[{b.benchmark}]({b.benchmark}.md)"
        parts += _shift(b, f"## In distribution and shifted: {link}")
    parts += pictures
    absent = [b for b in benchmarks if b not in {board.benchmark for board in found}]
    if absent:
        names = ", ".join(f"`{name}`" for name in absent)
        hint = f"`gnnzoo leaderboard {suite.name} --estimate` says what they would take on your machine"
        parts.append(f"**Not run**, for all models: {names} ({hint}).")
    return "\n\n".join(part for part in parts if part) + "\n"


def _matrix(found: Sequence[Board], averages: bool = True) -> str:
    """Return models × benchmarks."""
    averages = averages and len(found) > 1
    ranks = {a.label: a for a in average_ranks(found)} if averages else {}
    models = list(dict.fromkeys([*ranks, *(row.label for b in found for row in b.rows)]))
    metrics = {b.metric for b in found}
    columns = ["model", *["average rank"] * averages]
    for b in found:
        metric = f", {metric_text(b.metric)}" if len(metrics) > 1 else ""
        columns.append(f"[{b.benchmark}]({b.benchmark}.md){metric}")
    rows = []
    for model in models:
        cells = [f"`{model}`"]
        if averages:
            a = ranks.get(model)
            cells.append("" if a is None else f"{a.rank:.2f}" if a.complete else f"({a.rank:.2f} on {a.benchmarks})")
        for b in found:
            row = next((row for row in b.rows if row.label == model), None)
            cells.append(_matrix_cell(row, b, model))
        rows.append(cells)
    one = f"{_heading(metrics.pop())} ± 95 % CI.\n\n" if len(metrics) == 1 else ""
    return f"{one[:1].upper()}{one[1:]}{markdown(columns, rows)}"


def _matrix_cell(row: Row | None, board: Board, model: str) -> str:
    if row is not None:
        lacking = lacking_text(row, board.splits, board.seeds)
        return _mean(row, board.metric) + (f" ({lacking})" if lacking else "")
    if any(a.label == model for a in board.apart):
        return "apart"
    return "not run" if model in board.not_run else "does not fit"


def _ranks(suite: str, found: Sequence[Board]) -> tuple[Drawing | None, str]:
    """Return the critical-difference diagram of a suite, and what is to be said about it or its absence."""
    models, benchmarks, ranks = rank_table(found)
    n, k = len(benchmarks), len(models)
    head = "## Average ranks\n\n"
    if n == 0:
        return None, f"{head}No critical-difference diagram: no benchmark has two ranked models."
    if k < 3:
        many = f"all {n} benchmarks" if n > 1 else "the one benchmark"
        few = f"{k or 'no'} model{'s are' if k != 1 else ' is'} ranked on {many} that two or more are ranked on"
        return None, f"{head}No critical-difference diagram: {few}, and 3 are needed."
    difference = critical_difference(k, n, LEVEL)
    if difference >= k - 1:
        text = (
            f"No critical-difference diagram: with {n} benchmark{'s' if n != 1 else ''} and {k} models the critical "
            f"difference of the Nemenyi test, {difference:.2f}, is no smaller than the largest that ranks can have, "
            f"{k - 1}, so that no difference could be significant."
        )
        return None, head + text
    test = friedman(ranks)
    p_value = test.p_f if test else 1.0
    over = f"over {n} benchmarks with {k} models (Friedman's test, Iman and Davenport's F, {p_text(p_value)})"
    if p_value >= LEVEL:
        return None, f"{head}No critical-difference diagram: ranks do not differ by more than chance {over}."
    mean = [float(rank) for rank in ranks.mean(axis=0)]
    text = (
        f"Ranks differ {over}. Models whose average ranks lie within the critical difference of the Nemenyi test, "
        f"{difference:.2f} at level {LEVEL:g}, are joined by a bar (Demšar, 2006)."
    )
    drawing = rank_diagram(list(zip(models, mean, strict=True)), difference, n)
    return drawing, f"{head}{_picture(f'{suite}-ranks', f'average ranks of the models on {suite}')}\n\n{text}"


# --- figures ----------------------------------------------------------------------------------------------------------


def _picture(name: str, alt: str) -> str:
    return f"![{alt}]({FIGURES}/{name}.svg)"


def _title(board: Board) -> str:
    return board.benchmark + " (selected on test)" * (board.selection == "on-test")


def _standing(row: Row) -> str:
    if row.rank is None:
        return "unranked"
    if row.best:
        return "best"
    return "worse" if row.p_holm is not None else "untested"


def _intervals(found: Sequence[Board]) -> Drawing | None:
    panels = []
    for b in found:
        rows = []
        for row in b.rows:
            s, known = row.summary, row.published
            number = known.mean if known is not None and known.metric == b.metric else None
            half = None if s.half_width is None else in_unit(s.half_width, b.metric)
            text = mean_text(s, b.metric)
            rows.append(IntervalRow(row.label, in_unit(s.mean, b.metric), half, text, _standing(row), number))
        if len(rows) > 1:
            panels.append((_title(b), _heading(b.metric), rows))
    return intervals(panels) if panels else None


def _pareto(found: Sequence[Board]) -> Drawing | None:
    """Return the drawing of the metric against time, a panel per benchmark and kind of hardware."""
    panels = []
    for b in found:
        if b.unranked:
            continue
        complete = [row for row in b.rows if row.complete]
        for device, hardware in dict.fromkeys((row.device, row.hardware) for row in complete):
            points = []
            for row in complete:
                if (row.device, row.hardware) == (device, hardware):
                    half = row.summary.half_width
                    half = None if half is None else in_unit(half, b.metric)
                    mean = in_unit(row.summary.mean, b.metric)
                    points.append(ParetoPoint(row.label, row.seconds_per_epoch, mean, half))
            if len(points) > 1:
                time = f"{device} {time_text(b.splits).replace('/', ' per ')} ({hardware})"
                higher = "lower is better" not in metric_text(b.metric)
                panels.append((_title(b), time, _heading(b.metric), higher, points))
    return pareto(panels) if panels else None


def _pictures(name: str, found: Sequence[Board]) -> tuple[dict[str, Drawing], list[str]]:
    """Return the drawings of some boards and how a page shows them."""
    drawings: dict[str, Drawing] = {}
    parts = []
    means = _intervals(found)
    if means is not None:
        drawings[f"{name}-intervals"] = means
        parts += ["## Means and intervals", _picture(f"{name}-intervals", f"means and intervals, {name}")]
    times = _pareto(found)
    if times is not None:
        drawings[f"{name}-pareto"] = times
        parts += ["## Metric and time", _picture(f"{name}-pareto", f"the metric against time, {name}")]
        parts.append("Times compare on one kind of hardware alone: each has panels of its own.")
    return drawings, parts


# --- all pages --------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """What a folder of leaderboards holds."""

    pages: dict[str, str] = field(default_factory=dict)
    """Text by file name."""
    drawings: dict[str, Drawing] = field(default_factory=dict)
    """By name, without the folder and ``.svg``."""


def full_name(benchmark: str) -> str:
    """Return a suite's benchmark with its protocol."""
    dataset, _, protocol = partition(benchmark)
    card = DATASETS.card(dataset)
    return f"{card.name}@{protocol or card.default_protocol}"


def site(
    boards: Sequence[Board],
    suites: Iterable[tuple[SuiteCard, Sequence[Board]]],
    results: str = "results",
    reproduction: str | None = None,
) -> Site:
    """Return all pages and figures.

    Args:
        boards: one per benchmark that has records.
        suites: with the boards of their benchmarks; those that have something to show get a page.
        results: the folder of records as seen from the pages, for links.
        reproduction: the page that ``gnnzoo reproduce --write`` made, where there is one.
    """
    made = Site()
    homes: dict[str, list[str]] = {b.benchmark: [] for b in boards}
    shown: list[tuple[SuiteCard, list[str], list[Board]]] = []
    for suite, theirs in suites:
        benchmarks = list(dict.fromkeys(map(full_name, suite.benchmarks)))
        found = [b for name in benchmarks for b in theirs if b.benchmark == name and b.rows]
        if not found:
            continue
        shown.append((suite, benchmarks, found))
        for b in found:
            homes[b.benchmark].append(suite.name)
        drawings, pictures = _pictures(suite.name, found)
        diagram, text = _ranks(suite.name, found)
        made.drawings |= drawings | ({f"{suite.name}-ranks": diagram} if diagram else {})
        made.pages[f"{suite.name}.md"] = _suite_page(suite, benchmarks, found, pictures, text)
    for b in boards:
        drawings, pictures = ({}, []) if homes[b.benchmark] else _pictures(b.benchmark, [b] if b.rows else [])
        made.drawings |= drawings
        made.pages[f"{b.benchmark}.md"] = _benchmark_page(b, results, pictures, homes[b.benchmark])
    made.pages["README.md"] = _index(boards, shown, results, reproduction)
    return made


def _index(
    boards: Sequence[Board],
    suites: Sequence[tuple[SuiteCard, list[str], list[Board]]],
    results: str,
    reproduction: str | None,
) -> str:
    records = sum(len(row.records) for b in boards for row in b.rows)
    records += sum(len(apart.records) for b in boards for apart in b.apart)
    parts = [MARK, "# Leaderboards"]
    parts.append(
        f"Everything here is made by `gnnzoo leaderboard render` from {records:,} [records]({results}), one line per "
        "model, benchmark, split and seed; `--check` in CI proves it. A model's row has the newest record of each cell "
        "of its shipped configuration, never the best of several. Only records with the same data, splits and metric "
        "are compared; a page lists all others apart, each with its reason. `gnnzoo verify` runs a record again, "
        "`gnnzoo leaderboard add` takes records from elsewhere, `gnnzoo bench` makes new ones."
    )
    if reproduction:
        parts.append(f"Our numbers beside those in print, with a verdict each: [{reproduction}]({reproduction}).")
    if suites:
        rows = []
        for suite, benchmarks, found in suites:
            models = {row.label for b in found for row in b.rows}
            link = f"[{suite.name}]({suite.name}.md)"
            rows.append([link, _sentence(suite.summary), f"{len(found)} of {len(benchmarks)}", str(len(models))])
        parts += ["## Suites", markdown(["suite", "what it is", "benchmarks with records", "models"], rows)]
    clean = [b for b in boards if b.ranked and b.selection == "validation"]
    on_test = [b for b in boards if b.ranked and b.selection == "on-test"]
    rest = [b for b in boards if not b.ranked]
    if clean:
        parts += ["## Benchmarks", _overview(clean)]
        parts.append(_bullets([INTERVAL, "Not significantly worse: see the test on the benchmark's page."]))
    if on_test:
        parts += ["## Selected on test", "Ranked beside nobody but each other.", _overview(on_test)]
    if rest:
        rows = [[f"[{b.benchmark}]({b.benchmark}.md)", b.unranked or "no complete records"] for b in rest]
        parts += ["## Not ranked", markdown(["benchmark", "why"], rows)]
    return "\n\n".join(parts) + "\n"


def _overview(found: Sequence[Board]) -> str:
    rows = []
    for b in found:
        first = [row for row in b.ranked if row.rank == b.ranked[0].rank]
        others = [row for row in b.ranked if row.best and row not in first]
        rows.append(
            [f"[{b.benchmark}]({b.benchmark}.md)", metric_text(b.metric), ", ".join(f"`{r.label}`" for r in first)]
            + [mean_text(first[0].summary, b.metric) + unit(b.metric), ", ".join(f"`{r.label}`" for r in others)]
            + [str(len(b.ranked)), str(len(b.not_run))]
        )
    columns = ["benchmark", "metric", "best", "its mean ± 95 % CI", "not significantly worse", "models", "not run"]
    return markdown(columns, rows)


# --- on disk ----------------------------------------------------------------------------------------------------------


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _digests(folder: Path) -> dict[str, dict[str, str]]:
    """Return what is known about the figures of a folder: of each, the digests of its numbers and of its bytes."""
    try:
        found = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from None


def _is_drawn(folder: Path, name: str, drawing: Drawing, known: dict[str, dict[str, str]]) -> bool:
    content = _read(folder / FIGURES / f"{name}.svg")
    return content is not None and known.get(name) == {"numbers": drawing.digest, "file": _checksum(content)}


def _left_over(made: Site, folder: Path) -> Iterator[str]:
    """Yield pages and figures of ours that no longer belong there."""
    for path in sorted(folder.glob("*.md")):
        if path.name not in made.pages and (_read(path) or b"").startswith(MARK.encode()):
            yield path.name
    for name in sorted(_digests(folder)):
        if name not in made.drawings and (folder / FIGURES / f"{name}.svg").exists():
            yield f"{FIGURES}/{name}.svg"


def check(made: Site, folder: Path) -> list[str]:
    """Return in what a folder differs from what it should hold; nothing is written or drawn."""
    found = []
    for name, text in sorted(made.pages.items()):
        content = _read(folder / name)
        if content != text.encode():
            found.append(f"{name}: {'is missing' if content is None else _first_difference(content, text)}")
    known = _digests(folder)
    for name, drawing in sorted(made.drawings.items()):
        path = f"{FIGURES}/{name}.svg"
        content = _read(folder / path)
        if content is None:
            found.append(f"{path}: is missing")
        elif known.get(name, {}).get("numbers") != drawing.digest:
            found.append(f"{path}: plots other numbers")
        elif known[name].get("file") != _checksum(content):
            found.append(f"{path}: is not the file that was drawn")
    found += [f"{name}: belongs to no records" for name in _left_over(made, folder)]
    return found


def _first_difference(content: bytes, text: str) -> str:
    have, want = content.decode("utf-8", "replace").splitlines(), text.splitlines()
    for number, (first, second) in enumerate(zip(have, want, strict=False), start=1):
        if first != second:
            return f"line {number} differs"
    return f"has {len(have)} lines, not {len(want)}"


def write(made: Site, folder: Path) -> list[str]:
    """Write what differs, draw what plots other numbers, remove what is left over; return the names of these files.

    Raises:
        StorageError: the folder cannot be written to.
    """
    changed = []
    left = list(_left_over(made, folder))
    for name, text in sorted(made.pages.items()):
        if _read(folder / name) != text.encode():
            write_text(folder / name, text)
            changed.append(name)
    known = _digests(folder)
    digests = {}
    for name, drawing in sorted(made.drawings.items()):
        if _is_drawn(folder, name, drawing, known):
            digests[name] = known[name]
            continue
        content = to_bytes(drawing)
        write_bytes(folder / FIGURES / f"{name}.svg", content)
        digests[name] = {"numbers": drawing.digest, "file": _checksum(content)}
        changed.append(f"{FIGURES}/{name}.svg")
    for path in left:
        try:
            os.unlink(folder / path)
        except OSError as error:
            raise StorageError(f"cannot remove {folder / path}: {error.strerror or error}") from None
        changed.append(path)
    if digests != known:
        write_text(folder / DIGESTS, json.dumps(digests, indent=1, sort_keys=True) + "\n")
        changed.append(DIGESTS)
    return changed

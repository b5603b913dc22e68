"""``gnnzoo leaderboard``: who is how good on a suite or a benchmark, from records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from gnnzoo.cli import foreign, render, show
from gnnzoo.errors import ConfigError, UnknownNameError, closest
from gnnzoo.registry import is_path, partition

if TYPE_CHECKING:
    from gnnzoo.leaderboard.boards import Board, Row
    from gnnzoo.runner.estimate import Estimate

__all__ = ["app"]


class _ShowsByDefault(TyperGroup):
    """Takes a first word that is no subcommand for a suite or a benchmark to show."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ShowsByDefault,
    help="Who is how good: gnnzoo leaderboard heterophilic, gnnzoo leaderboard texas@geom-gcn (short for show).",
)
# the subcommands that have modules of their own
app.command("render")(render.command)
app.command("add")(foreign.command)
app.command("render")(render.command)

_SUBCOMMANDS = ("show", "render", "add")
_KEYS = ("results", "model", "test", "tuned", "studies")


@app.command("show")
def show_(
    name: Annotated[
        str | None, typer.Argument(help="a suite, a dataset or dataset@protocol; default: all that have records")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="results=DIR model=a,b test=t|wilcoxon tuned=TRIALS")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Also measure what it would take to run what was not run.")
    ] = False,
) -> None:
    """Show mean ± 95 % interval over splits, ranks, paired tests to the best, and what it took.

    Compared are records of the models' shipped configurations, on the same data and splits; others are listed apart.
    tuned=30 compares what studies of 30 trials in studies=DIR have named instead.
    """
    words = [*([name] if name else []), *(arguments or [])]
    names = [word for word in words if "=" not in word]
    if len(names) > 1:
        raise ConfigError(f"one suite or benchmark at a time, got {' and '.join(names)}")
    given: dict[str, str] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if sign and key not in _KEYS:
            raise ConfigError(f"expected {', '.join(f'{k}=' for k in _KEYS)}, got {word!r}{closest(key, _KEYS)}")
        if key in given:
            raise ConfigError(f"{key} is given twice")
        if sign:
            given[key] = text
    _show(names[0] if names else None, given, estimate)


def _show(name: str | None, given: Mapping[str, str], estimate: bool) -> None:
    from gnnzoo.leaderboard.store import Store
    from gnnzoo.resources import config_dir
    from gnnzoo.runner.config import default_results
    from gnnzoo.runner.planning import positive
    from gnnzoo.runner.standings import find_suite, standings

    results = given.get("results") or str(default_results())
    suite = find_suite(name) if name else None
    models = [word for word in given["model"].split(",") if word] if "model" in given else None
    tuned = positive(given["tuned"], "tuned") if "tuned" in given else None
    if "studies" in given and tuned is None:
        raise ConfigError("studies= goes with tuned=: the number of trials of the studies that are compared")
    options: dict[str, Any] = {"tuned": tuned, "studies": given.get("studies", "studies")}
    try:
        boards = standings(name, results=results, models=models, test=given.get("test", "t"), **options)  # type: ignore[arg-type]
    except UnknownNameError as error:
        if error.name != name or not get_close_matches(name, _SUBCOMMANDS):
            raise
        raise UnknownNameError("suite, benchmark or subcommand", name, _SUBCOMMANDS) from None
    if not Store(results).files():
        committed = config_dir().parent / "leaderboards" / "results"
        hint = f"; the committed ones: results={committed}" if committed.is_dir() else ""
        raise ConfigError(f"there are no records in {results}{hint}")
    costs = _estimates(boards, name or "", suite.name if suite else None) if estimate else {}
    if name is None:
        _overview(boards)
    elif suite is not None:
        _suite(suite.name, boards, costs)
    else:
        for board in boards:
            _benchmark(board, costs)


def _estimates(boards: Sequence[Board], name: str, suite: str | None) -> dict[tuple[str, str], Estimate]:
    """Measure what was not run, by model and benchmark; a line on stderr says which one is being measured."""
    from gnnzoo.runner import plan
    from gnnzoo.runner.estimate import estimate

    own = partition(name)[0]
    trained = [board for board in boards if board.splits]  # without splits nothing is: gnnzoo expressivity
    todo = [(model, board.benchmark) for board in trained for model in board.not_run]
    costs = {}
    for number, (model, benchmark) in enumerate(todo, 1):
        typer.echo(f"[{number}/{len(todo)}] estimate of {model} on {benchmark}", err=True)
        dataset = f"{own}@{benchmark.partition('@')[2]}" if is_path(own) else benchmark
        choices = {"model": model, "dataset": dataset}
        work = plan(choices | ({"suite": suite} if suite else {}))
        costs[model, benchmark] = estimate(work, work.configs[0])
    return costs


# --- one benchmark ----------------------------------------------------------------------------------------------------


def _mean(row: Row, metric: str) -> str:
    from gnnzoo.leaderboard.table import mean_text

    return mean_text(row.summary, metric) + (" *" if row.best else "")


def _rank(rank: float | None) -> str:
    return "" if rank is None else f"{rank:g}"


def _benchmark(board: Board, costs: Mapping[tuple[str, str], Estimate]) -> None:
    """Print a benchmark's table, what was set apart from it and what was not run."""
    from gnnzoo.leaderboard.shift import shift_table
    from gnnzoo.leaderboard.table import (
        cells_text,
        difference_text,
        mean_text,
        metric_text,
        published_text,
        time_text,
        unit,
    )

    out = show.console()
    if board.rows:
        metric = board.metric
        columns = ["rank", "model", f"{metric}{unit(metric)} ± 95 % CI", "splits × seeds", "to the best", "published"]
        columns += ["parameters", time_text(board.splits), "peak MiB", "trials"]
        lines = [
            [_rank(row.rank), row.label, _mean(row, metric), cells_text(row, board.splits, board.seeds)]
            + [difference_text(row, metric), published_text(row.published), f"{row.parameters:,}"]
            + [f"{1000 * row.seconds_per_epoch:.1f} {row.device}", f"{row.peak_memory_mib:,.0f}"]
            + ["-" if row.trials is None else str(row.trials)]
            for row in board.rows
        ]
        machines = {row.hardware for row in board.rows}
        if len(machines) > 1:
            columns.append("hardware")
            lines = [[*line, row.hardware] for line, row in zip(lines, board.rows, strict=True)]
        out.print(
            show.table(columns, lines, f"{board.benchmark}: test {metric_text(metric)}", (0, 2, 3, 4, 6, 7, 8, 9))
        )
        notes = [board.method] if len(board.ranked) > 1 else []
        notes += [f"hardware: {machine}" for machine in machines if len(machines) == 1]
    else:
        notes = [f"{board.benchmark}: nothing to compare"]
    notes += _warnings(board)
    for note in notes:
        out.print(note, markup=False, soft_wrap=True)
    show.print_shift(shift_table(board.benchmark, board.metric, board.rows))
    if board.apart:
        lines = [
            [a.label, mean_text(a.summary, a.records[0].result.metric), str(len(a.records)), a.reason]
            for a in board.apart
        ]
        out.print()
        out.print(show.table(["not compared", "mean ± 95 % CI", "records", "why"], lines, "", (1, 2)))
    if board.not_run:
        out.print()
        if not costs:
            out.print(f"not run: {', '.join(board.not_run)}", markup=False, soft_wrap=True)
        for model in board.not_run if costs else []:
            cost = costs.get((model, board.benchmark), "see gnnzoo expressivity")
            out.print(f"not run: {model}, {cost}", markup=False, soft_wrap=True)
    out.print()


def _warnings(board: Board) -> list[str]:
    """Return what whoever reads a board must know."""
    notes = []
    if board.selection == "on-test":
        notes.append("this protocol selects on test: its numbers are never ranked beside clean ones")
    if board.unranked:
        notes.append(f"nobody is ranked by this benchmark: {board.unranked}")
    return notes


# --- several ----------------------------------------------------------------------------------------------------------


def _overview(boards: Sequence[Board]) -> None:
    """Print a line per benchmark that has records."""
    from gnnzoo.leaderboard.table import cells_text

    lines = []
    for board in boards:
        first = next(iter(board.ranked), None)
        best = [first.label, _mean(first, board.metric), cells_text(first)] if first else ["", "", ""]
        apart = sum(len(a.records) for a in board.apart)
        notes = "; ".join(_warnings(board))
        lines.append([board.benchmark, board.metric, str(len(board.rows)), *best, str(apart or ""), notes])
    columns = ["benchmark", "metric", "models", "best", "mean ± 95 % CI", "splits × seeds", "not compared", "note"]
    show.console().print(show.table(columns, lines, "", (2, 4, 5, 6)))


def _suite(name: str, boards: Sequence[Board], costs: Mapping[tuple[str, str], Estimate]) -> None:
    """Print models × benchmarks, best mean rank first, in as many parts as the terminal's width asks for."""
    from gnnzoo.leaderboard.boards import average_ranks
    from gnnzoo.leaderboard.table import metric_text

    out = show.console()
    ranks = {a.label: a for a in average_ranks(boards)}
    total = max((a.benchmarks for a in ranks.values()), default=0)
    others = {m for board in boards for m in [*(row.label for row in board.rows), *board.not_run]} - ranks.keys()
    models = [*ranks, *sorted(others)]
    average = [
        f"{a.rank:.2f}" + ("" if a.complete else f" ({a.benchmarks} of {total})") if (a := ranks.get(m)) else ""
        for m in models
    ]
    columns = {board.benchmark: [_cell(board, model, costs) for model in models] for board in boards}
    parts: list[list[str]] = [[]]
    room = left = out.width - max(map(len, models), default=0) - max(map(len, ["average rank", *average])) - 2
    for benchmark, cells in columns.items():
        left -= max(map(len, [benchmark, *cells])) + 2
        if left < 0 and parts[-1]:
            parts.append([])
            left = room - max(map(len, [benchmark, *cells])) - 2
        parts[-1].append(benchmark)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        lines = [
            [model, *(columns[b][i] for b in part), *([average[i]] if last else [])] for i, model in enumerate(models)
        ]
        head = ["model", *part, *(["average rank"] if last else [])]
        out.print(show.table(head, lines, "" if number else f"suite {name}: test mean ± 95 % CI", range(1, len(head))))
        out.print()
    for text in _notes(boards, total):
        out.print(text, markup=False, soft_wrap=True)
    metrics = {board.metric: metric_text(board.metric) for board in boards}
    out.print(f"metrics: {'; '.join(f'{metrics[m]}: {_of(boards, m)}' for m in metrics)}", markup=False, soft_wrap=True)


def _of(boards: Sequence[Board], metric: str) -> str:
    return ", ".join(board.benchmark for board in boards if board.metric == metric)


def _cell(board: Board, model: str, costs: Mapping[tuple[str, str], Estimate]) -> str:
    row = next((row for row in board.rows if row.label == model), None)
    if row is None:
        from gnnzoo.cli.progress import duration

        cost = costs.get((model, board.benchmark))
        known = f" (≤ {duration(cost.seconds)})" if cost and cost.seconds is not None else ""
        return f"not run{known}" if model in board.not_run else "-"
    from gnnzoo.leaderboard.table import lacking_text

    lacking = lacking_text(row, board.splits, board.seeds)
    return _mean(row, board.metric) + (f" ({lacking})" if lacking else "")


def _notes(boards: Sequence[Board], total: int) -> list[str]:
    """Return below a suite's table what its numbers are made of."""
    from gnnzoo.leaderboard.boards import rank_table
    from gnnzoo.leaderboard.stats import critical_difference, friedman

    notes = []
    methods: dict[str, list[str]] = {}
    for board in boards:
        if len(board.ranked) > 1:
            methods.setdefault(board.method, []).append(board.benchmark)
    for method, benchmarks in methods.items():
        notes.append(method if len(methods) == 1 else f"{', '.join(benchmarks)}: {method}")
    models, benchmarks, ranks = rank_table(boards)
    if total:
        notes.append(
            f"average rank: over {total} benchmark{'s' if total > 1 else ''} with two or more ranked models; "
            "models that are ranked on all of them come first"
        )
    found = friedman(ranks)
    if found is not None:
        apart = critical_difference(len(models), len(benchmarks))
        notes.append(
            f"Friedman test of {len(models)} models on {len(benchmarks)} benchmarks: chi2 = {found.chi2:.2f}, "
            f"p = {found.p_value:.3f}; average ranks that differ by {apart:.2f} differ significantly (Nemenyi, 0.05)"
        )
    notes += [f"{board.benchmark}: {text}" for board in boards for text in _warnings(board)]
    apart_records = {board.benchmark: sum(len(a.records) for a in board.apart) for board in boards}
    listed = [f"{count} of {benchmark}" for benchmark, count in apart_records.items() if count]
    if listed:
        notes.append(f"not compared (gnnzoo leaderboard BENCHMARK says why): {', '.join(listed)}")
    return notes

"""``gnnzoo bench``: a suite within a budget of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gnnzoo.cli import leaderboard
from gnnzoo.runner.config import parse_arguments

if TYPE_CHECKING:
    from gnnzoo.runner.bench import BenchResult

__all__ = ["command"]


def command(
    arguments: Annotated[list[str] | None, typer.Argument(help="key=value ...", show_default=False)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run and for how long; run nothing.")
    ] = False,
) -> None:
    """Run a suite: models × benchmarks × splits × seeds, what is recorded or failed before excepted.

    Choose: suite= models=a,b|'*gcn*' datasets=a,b budget=3h|90min|45s jobs=2 splits= seeds= strategy= retry=failed
    results=DIR root=DIR device= threads= checkpoint=SECONDS. Set: model.x= train.x= data.x= strategy.x= dataset.x=.

    tune=30: every model gets a study of 30 trials on every benchmark before it is run, see gnnzoo tune; with studies=
    storage= sampler= pruner= finalists= trial_timeout=.

    Every model gets its first split on every benchmark before any gets its second, the cheapest first. What fails is
    kept in DIR/failures with its reason. Stopped, killed or out of budget, the same command goes on.
    """
    from gnnzoo.runner import bench

    values = parse_arguments(arguments or [])
    if "budget" in values:
        values["budget"] = str(values["budget"])  # a number without a unit is a slip here
    bench.prepare(values, signatures=False)  # most mistakes are found before torch is imported
    work = bench.prepare(values)
    from gnnzoo.cli.progress import BenchTerminal

    reporter = BenchTerminal()
    if dry_run and work.studies is not None:
        for config in work.plan.configs:
            typer.echo(f"a study of {work.tuned} trials: {config.contender} on {config.benchmark}", err=True)
        return
    if dry_run:
        reporter.planned(work)
        if work.todo:
            reporter.expected(work, bench.measure(work))
        return
    _show(bench.execute(work, reporter))


def _show(result: BenchResult) -> None:
    """Print what failed, what is left, and who is how good."""
    from gnnzoo.cli.progress import amount

    work = result.work
    failed: dict[tuple[str, str, str], int] = {}
    for failure in result.failures:
        what = failure.key.model, failure.key.benchmark, failure.reason
        failed[what] = failed.get(what, 0) + 1
    for (model, benchmark, reason), count in failed.items():
        typer.echo(f"failed: {model} on {benchmark}, {amount(count, 'cell')}: {reason}")
    for (model, benchmark), reason in work.untuned.items():
        typer.echo(f"not tuned, and so not run: {model} on {benchmark}: {reason}")
    folder = work.plan.execution.results
    if result.records:
        words = [f"results={folder}"]
        if work.models:
            words.append(f"model={','.join(dict.fromkeys(p.config.model for p in work.pairs))}")
        if work.tuned is not None:
            words += [f"tuned={work.tuned}", f"studies={work.folder}"]
        configs = [pair.config for pair in work.pairs]
        for name in [work.suite] if work.suite else dict.fromkeys(f"{c.dataset}@{c.protocol}" for c in configs):
            leaderboard.show_(name, words, False)
    parts = [f"{result.trained} trained now", f"{len(result.records) - result.trained} recorded before"]
    parts += [f"{len(result.failures)} failed now"] * bool(result.failures)
    parts += [f"{len(work.failures)} failed before"] * bool(work.failures)
    typer.echo(f"{amount(result.cells, 'cell')}: {', '.join(parts)}; records in {folder}")
    if result.stopped:
        from gnnzoo.cli.progress import left_text

        typer.echo(f"stopped at the budget: {amount(result.left.cells, 'cell')} left, {left_text(result.left)} more")

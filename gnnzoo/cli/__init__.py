"""The command line: parse, call the API, print. A user's mistake is one line on stderr and exit status 2."""

from __future__ import annotations

import errno
import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

import gnnzoo
from gnnzoo.cli import bench, data, expressivity, leaderboard, reproduce, show, tune, verify
from gnnzoo.errors import ConfigError, GnnzooError, Interrupted
from gnnzoo.runner.config import parse_arguments

__all__ = ["app", "main"]

app = typer.Typer(
    name="gnnzoo",
    help="A graph-learning model zoo: every paper a module, every benchmark a name, every number reproducible.",
    epilog="Example: gnnzoo run model=sheaf,gcn,mlp dataset=csbm   ·   Settings: gnnzoo info train",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

app.add_typer(data.app, name="data")
app.add_typer(leaderboard.app, name="leaderboard")

Arguments = Annotated[list[str] | None, typer.Argument(help="key=value ...", show_default=False)]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"gnnzoo {gnnzoo.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Take options that stand before a command."""


@app.command()
def run(
    arguments: Arguments = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show every value, its source and the cost; run nothing.")
    ] = False,
) -> None:
    """Train models on benchmarks; finished splits are not run again, interrupted ones go on.

    Choose: model= dataset= strategy= (several: a,b) protocol= suite= splits=all|0|0,3|0-4 seeds=3|5,7 jobs= threads=
    device=auto|cpu|cuda config=FILE results=DIR root=DIR save=FILE.pt curves=FILE.png checkpoint=SECONDS.

    dataset= is a name, dataset@protocol, or your own data: data.pt, ./folder with nodes.csv and edges.csv.

    Set: model.x= train.x= data.x= strategy.x= dataset.x= (gnnzoo info NAME lists them).
    """
    from gnnzoo.runner import plan

    values = parse_arguments(arguments or [])
    plan(values, signatures=False)  # most mistakes are found before torch is imported
    work = plan(values)
    if dry_run:
        from gnnzoo.runner.estimate import estimate

        show.plan(work, [estimate(work, config) for config in work.configs])
        return
    from gnnzoo.cli.progress import TerminalReporter
    from gnnzoo.runner import execute

    result = execute(work, TerminalReporter())
    show.result(result)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="models, datasets, suites or strategies")],
    arguments: Annotated[list[str] | None, typer.Argument(help="a glob, and filters such as task=node")] = None,
) -> None:
    """List what has a name: gnnzoo list models '*gcn*' task=node structure=graph."""
    pattern, filters = show.pattern_and_filters(arguments or [])
    show.listing(kind, pattern, filters)


@app.command()
def info(name: Annotated[str, typer.Argument(help="a model, dataset, strategy or suite; or train, data")]) -> None:
    """Show a card: paper, hyperparameters, published numbers; or counts, protocols and known problems."""
    show.info(name)


@app.command()
def doctor() -> None:
    """Show versions, accelerators (or why they are not there), threads and where data are looked for."""
    show.doctor()


@app.command()
def check(
    model: Annotated[str, typer.Argument(help="a registered model")],
    golden: Annotated[
        Path | None, typer.Option(help="a file of the authors' inputs, weights, outputs, gradients")
    ] = None,
) -> None:
    """Run the generic checks of a model; with --golden, replay the authors' numbers. Exit status 1 past tolerance."""
    if not show.check(model, golden):
        raise typer.Exit(1)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="a file that save= wrote")],
    arguments: Arguments = None,
) -> None:
    """Write a saved model's predictions: gnnzoo predict model.pt dataset=texas out=predictions.csv."""
    from gnnzoo.runner.predict import predict as write_predictions

    values: dict[str, Any] = {}
    for word in arguments or []:
        key, sign, text = word.partition("=")
        if not sign or key not in ("dataset", "out", "device", "root"):
            raise ConfigError(f"expected dataset=, out=, device= or root=, got {word!r}")
        if key in values:
            raise ConfigError(f"{key} is given twice")
        values[key] = text
    for key in ("dataset", "out"):
        if key not in values:
            raise ConfigError(f"{key}= is missing: gnnzoo predict model.pt dataset=texas out=predictions.csv")
    rows = write_predictions(model, **values)
    typer.echo(f"{rows} predictions in {values['out']}")


app.command("bench")(bench.command)
app.command("expressivity")(expressivity.command)
app.command("reproduce")(reproduce.command)
app.command("verify")(verify.command)
app.command("tune")(tune.command)
app.command("study")(tune.study_command)


def main() -> None:
    """Run the command line; what a user can mend is said in one line."""
    warnings.showwarning = lambda message, *_, **__: typer.echo(f"gnnzoo: warning: {message}", err=True)
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while nothing is running; a run sets its own
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except Interrupted as stop:
        typer.echo(f"gnnzoo: {stop}: the same command goes on from there", err=True)
        sys.exit(130)
    except GnnzooError as error:
        typer.echo(f"gnnzoo: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output has gone, as in `gnnzoo list models | head -1`
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EBADF, errno.EIO) or error.filename:
            raise
        sys.stdout = None  # what is left in its buffer cannot be written either
        typer.echo(f"gnnzoo: the output cannot be written: {error.strerror}", err=True)
        sys.exit(2)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        if error.format_message():  # typer's own: an unknown command or option; empty after it has shown the help
            typer.echo(f"gnnzoo: {error.format_message()}", err=True)
        sys.exit(2)
    finally:
        signal.signal(signal.SIGINT, before)

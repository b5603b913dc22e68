"""``gnnzoo reproduce``: ours against print."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnnzoo.cli import show
from gnnzoo.errors import ConfigError, closest
from gnnzoo.resources import config_dir

if TYPE_CHECKING:
    from gnnzoo.leaderboard.reproduce import Reproduction

__all__ = ["command"]

COMMITTED = Path("leaderboards") / "results"
"""Where the records lie that the page is made of."""


def command(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="MODEL [DATASET] [results=DIR]; default: all models", show_default=False)
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write leaderboards/reproduction.md, a page of all models.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit status 1 where the page is not what it would be.")
    ] = False,
) -> None:
    """Compare records with published numbers: ours, published, gap, verdict, and why it differs; nothing is run.

    gnnzoo reproduce sheaf texas results=DIR. The page lies beside the folder of records, which is leaderboards/results
    for --write and --check unless results= names another.
    """
    names, results = _parse(arguments or [])
    if (write or check) and names:
        raise ConfigError(f"the page is of all models: leave out {' '.join(names)}")
    from gnnzoo.leaderboard.reproduce import page
    from gnnzoo.leaderboard.store import Store
    from gnnzoo.runner.config import default_results
    from gnnzoo.runner.reproduce import reproduce

    folder = Path(results or (COMMITTED if write or check else default_results()))
    store = Store(folder)
    if (write or check) and not store.files():
        raise ConfigError(f"results={folder} has no records")
    model, dataset = [*names, None, None][:2]
    found = reproduce(model, dataset, folder)
    if write or check:
        _page(folder.parent / "reproduction.md", page(store, found), check)
        return
    _show(found)
    if not store.files():
        committed = config_dir().parent / COMMITTED
        hint = f"; the committed ones: results={committed}" if committed.is_dir() else ""
        typer.echo(f"gnnzoo: there are no records in {folder}{hint}", err=True)


def _parse(words: list[str]) -> tuple[list[str], str | None]:
    names: list[str] = []
    results: str | None = None
    for word in words:
        key, sign, text = word.partition("=")
        if not sign:
            names.append(word)
        elif key != "results":
            raise ConfigError(f"unknown key {key}{closest(key, ['results'])}")
        elif results is not None:
            raise ConfigError("results is given twice")
        else:
            results = text
    if len(names) > 2:
        raise ConfigError(f"one model and one dataset at a time, got {' '.join(names)}")
    return names, results


def _page(path: Path, new: str, check: bool) -> None:
    from gnnzoo.atomic import write_text

    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if old == new:
        return
    if not check:
        write_text(path, new)
        typer.echo(f"{path} written")
        return
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), str(path), "as the records have it")
    typer.echo("".join(lines), nl=False)
    typer.echo(f"gnnzoo: {path} is not what the records and cards give: gnnzoo reproduce --write", err=True)
    raise typer.Exit(1)


def _show(found: list[Reproduction]) -> None:
    """Print a table per model, and what the cards say where ours differs."""
    from gnnzoo.leaderboard.reproduce import COLUMNS, RULE, cells, notes
    from gnnzoo.registry import MODELS

    out = show.console()
    if not found:
        raise ConfigError("no number in print on the card")
    for model in dict.fromkeys(r.model for r in found):
        rows = [r for r in found if r.model == model]
        out.print(show.table(COLUMNS, [cells(r) for r in rows], model, (2, 3, 4, 5, 6, 7)))
        missed = [r for r in rows if notes(r)]
        for r in missed:
            out.print(f"{r.benchmark} is {r.verdict}:", markup=False)
            for text in notes(r):
                out.print(f"  {text}", markup=False, soft_wrap=True)
        if missed and (deviations := MODELS.card(model).deviations):
            out.print(f"deviations of {model}:", markup=False)
            for text in deviations:
                out.print(f"  {text}", markup=False, soft_wrap=True)
        out.print()
    out.print(RULE.replace("*", ""), markup=False, soft_wrap=True)

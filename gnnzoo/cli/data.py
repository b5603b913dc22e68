"""``gnnzoo data``: what there is, what is known about it, whether it is what it should be, and how to get it."""

from __future__ import annotations

import warnings
from typing import Annotated

import typer
from rich.markup import escape

from gnnzoo.cli import show
from gnnzoo.errors import DataError, StorageError, UnknownNameError
from gnnzoo.places import data_roots, missing
from gnnzoo.registry import DATASETS, partition

__all__ = ["app"]

app = typer.Typer(help="Datasets: list, info, check, fetch.", no_args_is_help=True)

Root = Annotated[str | None, typer.Option(help="a folder of raw files, searched first", show_default=False)]


@app.command("list")
def list_(
    arguments: Annotated[list[str] | None, typer.Argument(help="a glob, and filters such as task=node")] = None,
    root: Root = None,
) -> None:
    """List datasets with their sizes, and which are here: gnnzoo data list 'ogb*' task=graph structure=graph."""
    pattern, filters = show.pattern_and_filters(arguments or [])
    show.listing("datasets", pattern, filters, root)


@app.command()
def info(name: Annotated[str, typer.Argument(help="a dataset")]) -> None:
    """Show a dataset's card: counts, protocols, known problems, where its files are."""
    name, _, protocol = partition(name)
    card = DATASETS.card(name)
    if protocol and protocol not in card.protocols:
        raise UnknownNameError("protocol", protocol, card.protocols, where=card.name)
    show.dataset(card)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="datasets or globs; default: all that are here")] = None,
    root: Root = None,
) -> None:
    """Hold datasets against their cards: checksums, counts, splits, labels, every health note. Exit status 1: differs.

    Everything is read anew from the raw files; the processed cache plays no part.
    """
    from gnnzoo.datasets.audit import audit

    roots = data_roots(root)
    if names:
        chosen = [name for word in names for name in _matching(word)]
    else:
        chosen = [name for name in DATASETS.names() if not missing(DATASETS.card(name), roots)]
    out = show.console()
    differing = 0
    for number, name in enumerate(dict.fromkeys(chosen)):
        card = DATASETS.card(name)
        findings = list(audit(card, root))
        wrong = [f for f in findings if f.ok is False]
        differing += bool(wrong)
        if len(set(chosen)) == 1:
            rows = [[f.where, f.what, str(f.expected), str(f.found), _verdict(f.ok)] for f in findings]
            out.print(show.table(["benchmark", "what", "card", "found", ""], rows))
            continue
        if not number:
            out.print(f"[bold]{'dataset':34} {'checked':>8}  result[/]")
        out.print(f"{name:34} {len(findings):>8}  {'differs' if wrong else 'ok'}")
        for f in wrong:
            out.print(f"  {f.where}: {escape(f.what)}: card {escape(str(f.expected))}, found {escape(str(f.found))}")
    if differing:
        raise typer.Exit(1)


def _matching(word: str) -> list[str]:
    if not any(sign in word for sign in "*?["):
        return [DATASETS.canonical(word)]
    names = DATASETS.list(word)
    if not names:
        raise UnknownNameError("dataset", word, DATASETS.names())
    return names


def _verdict(ok: bool | None) -> str:
    return {True: "ok", False: "differs", None: "not stated"}[ok]


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="datasets or globs")],
    root: Root = None,
) -> None:
    """Download what is missing, check it and prepare it under every protocol, so that later runs need no network."""
    from gnnzoo.datasets import load_dataset

    chosen = dict.fromkeys(name for word in names for name in _matching(word))
    failed = []
    for name in chosen:
        card = DATASETS.card(name)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="going on without a cache")
                for protocol in card.protocols:
                    load_dataset(name, protocol, root)
        except UserWarning as warning:
            raise StorageError(f"{name} could not be prepared: {warning}") from None
        except DataError as error:
            if len(chosen) == 1:
                raise
            failed.append(name)
            typer.echo(f"gnnzoo: {error}", err=True)
            continue
        typer.echo(f"{name}: {show.state(card, data_roots(root))}, {', '.join(card.protocols)} ready")
    if failed:
        raise DataError(f"not to be had: {', '.join(failed)}")

"""``gnnzoo leaderboard add``: records from elsewhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from gnnzoo.errors import ConfigError, closest

__all__ = ["command"]

_KEYS = ("results", "origin", "root")


def command(
    file: Annotated[Path, typer.Argument(help="records, one per line; configs/<hash>.json beside it")],
    arguments: Annotated[list[str] | None, typer.Argument(help="results=DIR origin=TEXT root=DIR")] = None,
) -> None:
    """Check records that were made elsewhere and, if every line passes, add them.

    All splits of the protocol with seeds 0 to k-1, data and splits of the card, a configuration that can be run here.
    origin= says where they come from (default: the file's name). What fails is named by file and line; then nothing is
    added.
    """
    given: dict[str, str] = {}
    for word in arguments or []:
        key, sign, text = word.partition("=")
        if not sign or key not in _KEYS:
            raise ConfigError(f"expected results=, origin= or root=, got {word!r}{closest(key, _KEYS)}")
        if key in given:
            raise ConfigError(f"{key} is given twice")
        given[key] = text
    from gnnzoo.leaderboard.foreign import add_records
    from gnnzoo.leaderboard.store import Store
    from gnnzoo.runner.config import default_results, restore

    store = Store(given.get("results") or default_results())
    found = add_records(file, store, lambda c: restore(c).hash, given.get("origin", ""), given.get("root"))
    for (benchmark, model), count in sorted(Counter((r.key.benchmark, r.key.model) for r in found.added).items()):
        typer.echo(f"{model} on {benchmark}: {count} records added to {store.path(benchmark, model)}")
    if found.known:
        typer.echo(f"{found.known} records were there before")

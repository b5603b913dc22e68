"""``gnnzoo leaderboard render``: pages and figures from records."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnnzoo.errors import ConfigError, closest

if TYPE_CHECKING:
    from gnnzoo.leaderboard.render import Site

__all__ = ["command", "made_from"]

_KEYS = ("results", "out")


def made_from(results: Path, out: Path) -> Site:
    """Return all pages and figures of a folder of records, as they would stand in ``out``.

    Raises:
        ConfigError: there are no records.
    """
    from gnnzoo.leaderboard.boards import boards, recorded
    from gnnzoo.leaderboard.render import full_name, site
    from gnnzoo.leaderboard.store import Store
    from gnnzoo.registry import MODELS, SUITES
    from gnnzoo.runner.standings import shipped, standings

    store = Store(results)
    have = recorded(store)
    if not have:
        raise ConfigError(f"results={results} has no records")
    models = sorted({*MODELS.names(), *(model for names in have.values() for model in names)})
    config_hash, settings = shipped()
    found = boards(store, None, models, config_hash, settings=settings)
    suites = []
    for suite in map(SUITES.card, SUITES.names()):
        own = any(suite.settings.model_dump().values()) and have.keys() & set(map(full_name, suite.benchmarks))
        suites.append((suite, standings(suite.name, results=results) if own else found))
    page = "reproduction.md"  # where `gnnzoo reproduce --write` puts it
    return site(found, suites, Path(os.path.relpath(results, out)).as_posix(), page if (out / page).exists() else None)


def command(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="results=leaderboards/results out=leaderboards", show_default=False)
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit status 1 where a file differs from the records.")
    ] = False,
) -> None:
    """Write the leaderboards as pages and figures, or check that they are what the records say.

    One page per suite and per benchmark with records, and an index. What did not change is not written again; pages
    whose records are gone are removed.
    """
    given = {"results": "leaderboards/results", "out": "leaderboards"}
    seen = set()
    for word in arguments or []:
        key, sign, text = word.partition("=")
        if not sign or not text or key not in _KEYS:
            raise ConfigError(f"expected results=DIR or out=DIR, got {word!r}{closest(key, _KEYS)}")
        if key in seen:
            raise ConfigError(f"{key} is given twice")
        seen.add(key)
        given[key] = text
    from gnnzoo.leaderboard import render

    results, out = Path(given["results"]), Path(given["out"])
    made = made_from(results, out)
    if check:
        differing = render.check(made, out)
        for line in differing:
            typer.echo(f"{out}/{line}")
        if differing:
            typer.echo(f"gnnzoo: {len(differing)} files differ from the records: gnnzoo leaderboard render", err=True)
            raise typer.Exit(1)
        return
    changed = render.write(made, out)
    for name in changed:
        typer.echo(f"{out}/{name}")
    typer.echo(f"{len(made.pages)} pages and {len(made.drawings)} figures in {out}, {len(changed)} files changed")

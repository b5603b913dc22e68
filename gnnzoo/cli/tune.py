"""``gnnzoo tune`` and ``gnnzoo study``: search for a configuration, and look at what a search has found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnnzoo.cli import show
from gnnzoo.errors import ConfigError, UnknownNameError, closest
from gnnzoo.runner.config import parse_arguments

if TYPE_CHECKING:
    from gnnzoo.runner.tune import Tuning

__all__ = ["command", "study_command"]


def command(
    arguments: Annotated[list[str] | None, typer.Argument(help="key=value ...", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be searched; run nothing.")] = False,
) -> None:
    """Search for a better configuration, without a look at the test rows: gnnzoo tune model=sheaf dataset=texas.

    Choose: model= dataset= trials=100 timeout=3h trial_timeout=10min sampler=tpe|random|gp|grid
    pruner=median|hyperband|none finalists=3 seeds= (of the finalists) splits= (of the search; 0-2) seed=0 jobs=2
    study=NAME studies=DIR storage=sqlite:///FILE|postgresql://... protocol= strategy= suite= config=FILE root=DIR
    device= threads=. Fix instead of search: model.x= train.x= data.x= strategy.x=.

    Trial 0 is the shipped configuration. The best trials and the shipped one are trained again with other seeds on all
    splits, and one is named: studies/<id>/best.yaml, for gnnzoo run config=. The same command again, or many times at
    once, on many machines with storage=, works on the same study; killed, it goes on.
    """
    from gnnzoo.runner import tune

    values = parse_arguments(arguments or [])
    for key in ("timeout", "trial_timeout"):
        if key in values:
            values[key] = str(values[key])  # a number without a unit is a slip here
    tune.prepare(values, signatures=False)  # most mistakes are found before torch is imported
    tuning = tune.prepare(values)
    assert tuning is not None
    if dry_run:
        _plan(tuning)
        return
    from gnnzoo.cli.tuning import TuneTerminal, show_result

    show_result(tune.execute(tuning, TuneTerminal()))


def _domain(tuning: Tuning, key: str) -> str:
    domain = tuning.space[key]
    if domain.choices is not None:
        return ", ".join(show.value_text(choice) for choice in domain.choices)
    how = " (log)" if domain.log else f" in steps of {domain.step:g}" if domain.step else ""
    return f"{show.value_text(domain.low)} to {show.value_text(domain.high)}{how}"


def _plan(tuning: Tuning) -> None:
    from gnnzoo.runner.tuning.space import grid_size

    out = show.console()
    for note in tuning.notes:
        out.print(note, markup=False, soft_wrap=True)
    shown = ",".join(map(str, tuning.splits))
    out.print(
        f"study {tuning.name} in {tuning.folder}: {tuning.trials} trials of {tuning.base.model} on "
        f"{tuning.base.benchmark} by {tuning.sampler}, pruned by {tuning.pruner}, on splits {shown}; then the shipped "
        f"configuration and the best {tuning.finalists} on all {tuning.count} splits × {tuning.seeds} seeds",
        markup=False,
        soft_wrap=True,
    )
    rows = [[key, _domain(tuning, key), show.value_text(tuning.start[key])] for key in tuning.space]
    out.print(show.table(["searched", "values", "shipped"], rows))
    out.print(f"a grid of it has {grid_size(tuning.space):,} points", markup=False)


# --- gnnzoo study -----------------------------------------------------------------------------------------------------


def study_command(
    name: Annotated[str, typer.Argument(help="the name of a study, or its folder")],
    arguments: Annotated[list[str] | None, typer.Argument(help="key=value ...", show_default=False)] = None,
) -> None:
    """Show a study: progress, best so far, importances, finalists, budget; plots go to <study>/plots.

    studies=DIR storage=URL (as for gnnzoo tune) results=DIR (records of the tuned and the shipped configuration, which
    are compared on test). Optuna draws history, importances, parallel coordinates and slices as PNG, and as HTML where
    plotly is installed.
    """
    given: dict[str, str] = {}
    keys = ("studies", "storage", "results", "plots")
    for word in arguments or []:
        key, sign, text = word.partition("=")
        if not sign or key not in keys:
            raise ConfigError(f"expected studies=, storage=, results= or plots=, got {word!r}{closest(key, keys)}")
        if key in given:
            raise ConfigError(f"{key} is given twice")
        given[key] = text
    folder = _folder(name, Path(given.get("studies", "studies")), "storage" in given)
    from gnnzoo.cli.tuning import show_study
    from gnnzoo.runner.tuning.studies import failing

    with failing(folder, given.get("storage")):
        show_study(
            folder, given.get("storage"), given.get("results"), Path(given["plots"]) if "plots" in given else None
        )


def _folder(name: str, studies: Path, elsewhere: bool) -> Path:
    """Return a study's folder."""
    for folder in (studies / name, Path(name)):
        if (folder / "study.json").exists() or (elsewhere and folder == studies / name):
            return folder
    known = [path.parent.name for path in studies.glob("*/study.json")]
    if not known:
        raise ConfigError(f"there are no studies in {studies}: gnnzoo tune makes them; studies= names another folder")
    raise UnknownNameError("study", name, known)

"""``gnnzoo verify``: is a record what its configuration gives?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gnnzoo.cards import METRICS
from gnnzoo.cli import show
from gnnzoo.errors import ConfigError, Interrupted, closest

__all__ = ["command"]

_KEYS = ("results", "model", "dataset", "protocol", "split", "seed", "root", "device")


def command(
    arguments: Annotated[list[str], typer.Argument(help="FILE.jsonl:LINE, or model= dataset= ...", show_default=False)],
) -> None:
    """Run a record again from its stored configuration: equal, within noise or different (exit status 1).

    gnnzoo verify leaderboards/results/texas@geom-gcn/gcn.jsonl:3, or gnnzoo verify model=gcn dataset=texas split=2
    seed=0 results=DIR. Also: protocol= root=DIR device=auto|cpu|cuda; for own data that have moved, FILE.jsonl:LINE
    dataset=PATH. Nothing is written; the threads are those of the record.
    """
    place, given = _parse(arguments)
    from gnnzoo.cli.progress import TerminalReporter
    from gnnzoo.runner import verify

    root, device, dataset = (given.pop(key, None) for key in ("root", "device", "dataset"))
    if place is None:
        if "model" not in given or dataset is None:
            raise ConfigError("which record? FILE.jsonl:LINE, or model= and dataset= (split=0 seed=0 results=DIR)")
        located = verify.by_key(given.pop("results", None), given.pop("model"), dataset, **given)
        dataset = None
    else:
        if given:
            raise ConfigError(f"{place} is one record already: {next(iter(given))}= has no say")
        located = verify.by_line(place)
    try:
        found = verify.verify(located, root, device or "auto", dataset, TerminalReporter())
    except Interrupted:
        typer.echo("gnnzoo: stopped: nothing was compared", err=True)
        raise typer.Exit(130) from None
    _show(found)
    if found.verdict == "different":
        raise typer.Exit(1)


def _parse(words: list[str]) -> tuple[str | None, dict[str, Any]]:
    place: str | None = None
    given: dict[str, Any] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign or key not in _KEYS:
            if sign and key.isidentifier():
                raise ConfigError(f"unknown key {key}{closest(key, _KEYS)}")
            if place is not None:
                raise ConfigError(f"one record at a time, got {place} and {word}")
            place = word
        elif key in given:
            raise ConfigError(f"{key} is given twice")
        elif key in ("split", "seed"):
            if not text.isdecimal():
                raise ConfigError(f"{word}: a whole number, 0 or more")
            given[key] = int(text)
        else:
            given[key] = text
    return place, given


def _show(found: Any) -> None:
    """Print both results, what differs between the machines, and the verdict."""
    from gnnzoo.leaderboard.table import in_unit

    first, second = found.located.record, found.again
    metric = first.result.metric
    percent = METRICS[metric].percent
    unit = " %" if percent else ""
    rows = []
    if metric == "separated":  # counts of pairs and of graphs; nothing is learnt
        rows += [[name, *(f"{r.result.test[name]:,.0f}" for r in (first, second))] for name in first.result.test]
    else:
        for stage in ("test", "val"):
            values = [in_unit(getattr(r.result, stage).get(metric, float("nan")), metric) for r in (first, second)]
            texts = [f"{value:.4f}" if percent else f"{value:.6g}" for value in values]
            rows.append([f"{stage} {metric}{unit}", *texts])
        rows.append(["val_loss", *(f"{r.result.val_loss:.8g}" for r in (first, second))])
        rows.append(["epoch", *(f"{r.result.epoch} of {r.result.epochs}" for r in (first, second))])
    rows += [[name, *(str(getattr(r.result, name)) for r in (first, second))] for name in ("parameters", "digest")]
    rows.append(["cpu_seconds", *(f"{r.cost.cpu_seconds:g}" for r in (first, second))])
    rows += [[name, *map(str, values)] for name, values in found.machine.items()]
    key = first.key
    out = show.console()
    title = f"{key.model} on {key.benchmark}, split {key.split}, seed {key.seed}"
    out.print(show.table([title, "recorded", "again"], rows))
    out.print()
    same = "" if found.machine else "; the machine is described by the same words"
    if found.verdict == "equal":
        text = f"equal: {found.why}"
    else:
        limit = f"{in_unit(found.tolerance, metric):.4g}{unit}"
        text = f"{found.verdict}: {found.why}{same}; noise is up to {limit} ({found.basis})"
    out.print(text, markup=False, soft_wrap=True)

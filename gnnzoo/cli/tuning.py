"""What ``gnnzoo tune`` says while it works and at its end, and what ``gnnzoo study`` shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from optuna.trial import TrialState
from rich.console import Console

from gnnzoo.cli import show
from gnnzoo.cli.progress import amount, duration
from gnnzoo.leaderboard.table import in_unit, unit
from gnnzoo.runner.tune import TuneReporter, Tuning
from gnnzoo.runner.tuning import studies
from gnnzoo.runner.tuning.finals import Finalist, TuneResult, written
from gnnzoo.runner.tuning.search import Outcome
from gnnzoo.runner.tuning.studies import OUTCOME, Tally

if TYPE_CHECKING:
    import optuna

__all__ = ["TuneTerminal", "show_result", "show_study"]


class TuneTerminal(TuneReporter):
    """Reports a study to stderr, a line per trial; in workers too, each for itself."""

    def _say(self, text: str) -> None:
        Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)

    def begin(self, tuning: Tuning, done: int) -> None:
        """Print notes, and what is to be done."""
        for note in dict.fromkeys(tuning.notes):
            self._say(note)
        rest = f", {done} of them done" if done else ""
        splits = ", ".join(map(str, tuning.splits))
        self._say(
            f"study {tuning.name} in {tuning.folder}: {amount(tuning.trials, 'trial')}{rest}; "
            f"{len(tuning.space)} keys, {tuning.sampler}, {tuning.pruner}; validation {tuning.metric}, splits {splits}"
        )

    def trial(self, tuning: Tuning, number: int, outcome: Outcome, state: str) -> None:
        """Print the trial's line."""
        head = f"[{number + 1}/{tuning.trials}] trial {number}{' (shipped)' if number == 0 else ''}: "
        spent = f"{duration(outcome.seconds)}"
        if outcome.reason:
            self._say(f"{head}FAILED: {outcome.reason}")
        elif state == "pruned":
            self._say(f"{head}pruned after {len(outcome.values)} of {amount(len(tuning.splits), 'split')} ({spent})")
        else:
            mean = in_unit(sum(outcome.values) / len(outcome.values), tuning.metric)
            same = "" if outcome.same_as is None else f", as trial {outcome.same_as}: the same configuration"
            self._say(f"{head}validation {tuning.metric} {mean:.2f}{unit(tuning.metric)} ({spent}{same})")

    def finalists(self, tuning: Tuning, candidates: list[Finalist], cells: int) -> None:
        """Print who they are."""
        names = ", ".join(str(c.trial) for c in candidates[1:])
        others = f" and trials {names}" if names else ""
        self._say(f"finalists: the shipped configuration{others}, {amount(cells, 'training')} on all splits, new seeds")

    def final(
        self, tuning: Tuning, cell: tuple[Finalist, int, int], number: int, total: int, outcome: Outcome, state: str
    ) -> None:
        """Print the training's line."""
        finalist, split, _ = cell
        value = f"FAILED: {outcome.reason}"
        if outcome.values:
            value = f"validation {in_unit(outcome.values[0], tuning.metric):.2f}{unit(tuning.metric)}"
        self._say(f"[{number}/{total}] trial {finalist.trial}, split {split}: {value} ({duration(outcome.seconds)})")

    def again(self, tuning: Tuning) -> None:
        """Print a line."""
        self._say("a worker was killed (out of memory?): another one goes on")


# --- the end of a search ----------------------------------------------------------------------------------------------


def show_result(result: TuneResult) -> None:
    """Print the finalists, the difference to the shipped configuration and what it took."""
    tuning = result.tuning
    difference = None if result.difference is None else vars(result.difference)
    _finalists(tuning.name, tuning.metric, map(written, result.finalists), difference)
    _budget(result.complete, result.pruned, result.failures, result.cpu_seconds)
    typer.echo(f"gnnzoo run config={result.path}")


def _finalists(
    name: str, metric: str, finalists: Iterable[Mapping[str, Any]], difference: Mapping[str, Any] | None
) -> None:
    def number(value: float | None) -> str:
        return "" if value is None else f"{in_unit(value, metric):.2f}"

    lines = [
        ["0 (shipped)" if f["trial"] == 0 else str(f["trial"]), number(f["searched"]), number(f["mean"])]
        + [f["reason"] or ""]
        for f in finalists
    ]
    columns = ["trial", f"search{unit(metric)}", f"all splits{unit(metric)}", "why not named"]
    kept = 4 if any(line[3] for line in lines) else 3
    title = f"study {name}: mean validation {metric} of the finalists"
    typer.echo(title)
    show.console().print(show.table(columns[:kept], [line[:kept] for line in lines], "", (1, 2)))
    typer.echo(_difference(difference, metric, lines[0][0] != "0 (shipped)"))


def _difference(difference: Mapping[str, Any] | None, metric: str, improved: bool) -> str:
    """Return what the named configuration is better by, and how sure that is."""
    head = "to the shipped configuration"
    if difference is None:
        return f"{head}: not known, as that failed"
    if not improved:
        return f"{head}: 0, as it is the best itself"
    return f"{head}: {paired_text(difference, metric)}, on validation"


def paired_text(difference: Mapping[str, Any], metric: str) -> str:
    """Return ``+1.20 ± 0.80 % (95 % interval, n = 10, p = 0.010)``."""
    value = f"{in_unit(difference['difference'], metric):+.2f}"
    if difference["half_width"] is None:
        return f"{value}{unit(metric)} (no interval: n = 1)"
    p = "" if difference["p_value"] is None else f", p = {difference['p_value']:.3f}"
    spread = f"{in_unit(difference['half_width'], metric):.2f}{unit(metric)}"
    return f"{value} ± {spread} (95 % interval, paired, n = {difference['n']}{p})"


def _budget(complete: int, pruned: int, failures: Mapping[int, str], cpu: float) -> None:
    """Print what became of the trials and what they took."""
    total = complete + pruned + len(failures)
    typer.echo(
        f"{amount(total, 'trial')}: {complete} complete, {pruned} pruned, {len(failures)} failed; "
        f"{duration(cpu)} of processor time with the finalists"
    )
    for reason, count in Counter(failures.values()).items():
        typer.echo(f"failed: {count} × {reason}")


# --- gnnzoo study -----------------------------------------------------------------------------------------------------


def show_study(folder: Path, storage: str | None, results: str | None, plots: Path | None) -> None:
    """Print a study and draw its plots.

    Args:
        folder: of the study.
        storage: the database, where its address is not in the folder.
        results: a folder of records.
        plots: where plots go; default: beside the study.
    """
    from gnnzoo.runner.tuning.plots import draw

    study, about = studies.load_study(folder, storage)
    found, metric = studies.tally(study), about["metric"]
    out = show.console()
    splits = ", ".join(map(str, about["splits"]))
    out.print(f"study {study.study_name}: {about['model']} on {about['benchmark']}", markup=False, soft_wrap=True)
    out.print(
        f"{len(about['space'])} keys by {about['sampler']}, pruned by {about['pruner']}, seed {about['seed']}; "
        f"validation {metric} of splits {splits}",
        markup=False,
        soft_wrap=True,
    )
    states = {"running": TrialState.RUNNING, "waiting": TrialState.WAITING}
    counts = {word: len(found.of(state)) for word, state in states.items()}
    left = "".join(f", {count} {word}" for word, count in counts.items() if count)
    asked = about["trials"]
    out.print(f"progress: {found.finished} of {amount(asked, 'trial')}{left}", markup=False)
    failures = {n: text for n, t in enumerate(found.trials) if (text := studies.reason(t))}
    spent = sum((t.user_attrs.get(OUTCOME) or {}).get("cpu_seconds", 0.0) for t in found.trials)
    summary = _summary(folder)
    spent = summary["budget"]["cpu_seconds"] if summary else spent
    _budget(len(found.of(TrialState.COMPLETE)), len(found.of(TrialState.PRUNED)), failures, spent)
    _best(study, found, metric)
    if summary:
        out.print()
        _finalists(study.study_name, metric, summary["finalists"], summary["difference"])
        _on_test(folder, about, summary, results)
    for path in draw(study, plots or folder / "plots", metric):
        out.print(str(path), markup=False, soft_wrap=True)


def _summary(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _best(study: optuna.Study, found: Tally, metric: str) -> None:
    """Print the best trial beside the shipped one, with what each key accounts for."""
    from gnnzoo.runner.tuning.plots import importances

    complete = {n: t for n, t in enumerate(found.trials) if t.state == TrialState.COMPLETE}
    if not complete:
        return
    sign = 1 if study.direction.name == "MAXIMIZE" else -1
    number = max(complete, key=lambda n: (sign * (complete[n].value or 0.0), -n))
    best = complete[number]
    share = importances(study)
    value = f"{in_unit(best.value or 0.0, metric):.2f}{unit(metric)}"
    shipped = complete.get(0)
    beside = "" if shipped is None else f", shipped {in_unit(shipped.value or 0.0, metric):.2f}{unit(metric)}"
    rows = [
        [key, show.value_text(best.params[key]), "" if shipped is None else show.value_text(shipped.params.get(key))]
        + [f"{share[key]:.2f}" if key in share else ""]
        for key in sorted(best.params, key=lambda key: -share.get(key, 0.0))
    ]
    columns = ["key", f"trial {number}", "shipped", "importance"]
    title = f"best so far: trial {number}, {value}{beside}"
    typer.echo(f"\n{title}")
    show.console().print(show.table(columns, rows, "", (3,)))


def _on_test(folder: Path, about: Mapping[str, Any], summary: Mapping[str, Any], results: str | None) -> None:
    """Print the difference on test, where both configurations have records on the same splits."""
    from gnnzoo.leaderboard import Store, paired_test
    from gnnzoo.leaderboard.stats import mean_over_seeds
    from gnnzoo.runner.config import default_results

    if summary["best"]["is_shipped"]:
        return
    store = Store(results or default_results())
    hashes = summary["best"]["config"], about["shipped"]
    records = list(store.read(store.path(about["benchmark"], about["model"])))
    ours, shipped = ([r for r in records if r.key.config == digest] for digest in hashes)
    if not ours:
        typer.echo(f"on test: not run yet; gnnzoo run config={folder / 'best.yaml'}")
        return
    several = len({r.key.split_hash for r in ours}) > 1
    ratio = ours[0].result.rows["test"] / ours[0].result.rows["train"] if several else None
    paired = paired_test(mean_over_seeds(ours), mean_over_seeds(shipped), ratio) if shipped else None
    if paired is None:
        typer.echo(f"on test: {store.folder} has no records of the shipped configuration on the same splits")
        return
    typer.echo(f"on test, to the shipped configuration: {paired_text(vars(paired), about['metric'])}")

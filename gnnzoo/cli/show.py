"""What the commands print: tables and cards."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gnnzoo.cards import DatasetCard, ModelCard, StrategyCard, SuiteCard, _MethodCard
from gnnzoo.errors import ConfigError, UnknownNameError, closest
from gnnzoo.places import data_roots, missing
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, SUITES, Registry
from gnnzoo.runner.config import RESERVED, DataConfig, TrainConfig, flatten
from gnnzoo.signature import parameters, type_name

if TYPE_CHECKING:
    from gnnzoo.leaderboard.boards import Row
    from gnnzoo.leaderboard.shift import ShiftTable
    from gnnzoo.runner.estimate import Estimate
    from gnnzoo.runner.grid import RunResult
    from gnnzoo.runner.planning import Plan

__all__ = [
    "check",
    "console",
    "dataset",
    "doctor",
    "info",
    "listing",
    "pattern_and_filters",
    "plan",
    "result",
    "state",
    "table",
    "value_text",
]

_KINDS: dict[str, Registry[Any]] = {"models": MODELS, "datasets": DATASETS, "suites": SUITES, "strategies": STRATEGIES}


def console() -> Console:
    """Return a console that uses the terminal's width; a pipe gets lines as long as they are."""
    return Console(highlight=False, width=None if sys.stdout is not None and sys.stdout.isatty() else 1000)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "", right: Sequence[int] = ()) -> Table:
    """Return a table of plain text; the columns numbered in ``right`` hold numbers."""
    table = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _fields(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        if value:
            table.add_row(key, Text(value))
    return table


def pattern_and_filters(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Split the words after a ``list`` into the glob and ``key=value`` filters.

    Raises:
        ConfigError: several globs.
    """
    patterns = [word for word in words if "=" not in word]
    if len(patterns) > 1:
        raise ConfigError(f"one pattern at a time, got {' and '.join(patterns)}")
    return (patterns or ["*"])[0], dict(word.split("=", 1) for word in words if "=" in word)


def listing(kind: str, pattern: str, filters: dict[str, str], root: str | None = None) -> None:
    """Print the names of one kind with their summaries; datasets with their sizes and where they are.

    Args:
        kind: ``models``, ``datasets``, ``suites`` or ``strategies``.
        pattern: a glob.
        filters: facets, such as ``task=node``.
        root: a folder of raw files to search first.
    """
    if kind not in _KINDS:
        raise UnknownNameError("kind", kind, _KINDS)
    registry = _KINDS[kind]
    names = registry.list(pattern, **filters)
    if not names:
        everything = registry.names()
        wanted = " ".join([repr(pattern), *(f"{key}={value}" for key, value in filters.items())])
        raise ConfigError(f"no {kind} match {wanted}{closest(pattern, everything)}")
    cards = [registry.card(name) for name in names]
    if kind == "datasets":
        columns = ["name", "task", "structure", "graphs", "nodes", "edges", "outputs", "homophily", "size", "where"]
        roots = data_roots(root)
        console().print(table(columns, [_row(card, roots) for card in cards], right=(3, 4, 5, 6, 7, 8)))
    elif kind == "suites":
        rows = [[c.name, ", ".join(c.models), ", ".join(c.benchmarks), c.summary] for c in cards]
        console().print(table(["name", "models", "benchmarks", "summary"], rows))
    else:
        rows = [
            [c.name, ", ".join(c.tasks), ", ".join(c.structures), str(c.paper.year) if c.paper else "", c.summary]
            for c in cards
        ]
        console().print(table(["name", "tasks", "structure", "year", "summary"], rows))


def _row(card: DatasetCard, roots: list[Path]) -> list[str]:
    counts = card.counts
    edges = counts.edges if counts.incidences is None else counts.incidences
    numbers = [f"{n:,}" for n in (counts.graphs, counts.nodes, edges, card.num_outputs)]
    homophily = f"{card.homophily:.2f}" if card.homophily is not None else ""
    size = f"{card.size / 1e6:.1f} MB" if card.size else "" if card.embedded else "?"
    return [card.name, card.task, card.structure, *numbers, homophily, size, state(card, roots)]


def state(card: DatasetCard, roots: list[Path]) -> str:
    """Return where a dataset is: embedded, here, to download, or partly here."""
    if card.embedded:
        return "embedded"
    absent = missing(card, roots)
    if not absent:
        return "here"
    if len(absent) == len(card.files):
        return "to download"
    return f"{len(card.files) - len(absent)} of {len(card.files)} files here"


def info(name: str) -> None:
    """Print the card of a model, dataset, strategy or suite, or the keys of train and data."""
    schemas: dict[str, type[BaseModel]] = {"train": TrainConfig, "data": DataConfig}
    if name in schemas:
        rows = [
            [f"{name}.{key}", type_name(Annotated[(field.annotation, "", *field.metadata)]), value_text(field.default)]
            + [field.description or ""]
            for key, field in schemas[name].model_fields.items()
        ]
        console().print(table(["key", "type", "default", "meaning"], rows))
        return
    found = []
    for registry in _KINDS.values():
        try:
            found.append(registry.card(name))
        except UnknownNameError:
            continue
    if not found:
        known = [n for r in _KINDS.values() for c in map(r.card, r.names()) for n in (c.name, *c.aliases)]
        raise UnknownNameError("name", name, [*known, *schemas])
    for card in found:
        if isinstance(card, DatasetCard):
            dataset(card)
        elif isinstance(card, SuiteCard):
            _suite(card)
        else:
            _method(card)


def value_text(value: Any) -> str:
    """Write a setting's value as the command line takes it."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value_text(value)}" for key, value in flatten(values) if value != {})


def _paper(card: _MethodCard) -> list[tuple[str, str]]:
    if card.paper is None:
        return []
    paper = card.paper
    where = f"{paper.authors}: {paper.title} ({paper.year}{f', arXiv {paper.arxiv}' if paper.arxiv else ''})"
    code = f"{paper.code} (licence: {paper.licence or 'none stated'})" if paper.code else ""
    return [("paper", where), ("authors' code", code)]


def _method(card: ModelCard | StrategyCard) -> None:
    out = console()
    kind, registry = ("model", MODELS) if isinstance(card, ModelCard) else ("strategy", STRATEGIES)
    fields = [(kind, f"{card.name} - {card.summary}"), ("class", card.class_), ("aliases", ", ".join(card.aliases))]
    fields += [*_paper(card), ("equation", card.equation)]
    fields += [("tasks", ", ".join(card.tasks)), ("structure", ", ".join(card.structures))]
    if isinstance(card, ModelCard):
        fields.append(("strategy", card.strategy))
    fields += [("deviations" if not i else "", text) for i, text in enumerate(card.deviations)]
    fitting = [
        name
        for name in DATASETS.names()
        if (c := DATASETS.card(name)).task in card.tasks and c.structure in card.structures
    ]
    fields += [("datasets", ", ".join(fitting))]
    out.print(_fields(fields))
    defaults = getattr(card.defaults, kind)
    rows = [
        [f"{kind}.{p.name}", p.type_name, value_text(defaults.get(p.name, p.default)), p.doc]
        for p in parameters(registry.get(card.name), RESERVED).values()
        if not p.required
    ]
    if rows:
        out.print()
        out.print(table(["hyperparameter", "type", "default", "meaning"], rows))
    if card.published:
        rows = [[b, p.metric, _published(p), str(p.n or ""), p.source] for b, p in card.published.items()]
        out.print()
        out.print(table(["published", "metric", "value", "n", "source"], rows, right=(2, 3)))
    if card.datasets:
        rows = [
            [benchmark, _settings(s.model_dump(exclude={"source"})), s.source] for benchmark, s in card.datasets.items()
        ]
        out.print()
        out.print(table(["settings", "values", "source"], rows))


def _published(p: Any) -> str:
    return f"{p.mean:g} ± {p.std:g}" if p.std is not None else f"{p.mean:g}"


def _files(card: DatasetCard) -> str:
    if card.family == "own":
        return "your own"
    if card.embedded:
        return "none needed: made on the spot"
    absent = missing(card, data_roots())
    size = f", {card.size / 1e6:.1f} MB" if card.size else ""
    where = "here" if not absent else f"{len(absent)} missing, the first is {absent[0]}"
    return f"{len(card.files)} in {card.root}{size}: {where}"


def dataset(card: DatasetCard) -> None:
    """Print a dataset's card and where its files are."""
    out = console()
    c = card.counts
    counts = f"{c.graphs:,} graphs, " if c.graphs > 1 else ""
    counts += f"{c.nodes:,} nodes, "
    if c.hyperedges is None:
        counts += f"{c.edges:,} edges, "
    else:
        counts += f"{c.hyperedges:,} hyperedges, " + (f"{c.incidences:,} incidences, " if c.incidences else "")
    counts += f"{c.features:,} features, {card.num_outputs} "
    counts += "values" if card.target == "regression" else "classes" if card.target == "multiclass" else "labels"
    fields = [
        ("dataset", f"{card.name} - {card.summary}"),
        ("aliases", ", ".join(card.aliases)),
        ("task", f"{card.task}, {card.target}, on a {card.structure.replace('heterogeneous', 'heterogeneous graph')}"),
        ("counts", counts),
        ("homophily", f"{card.homophily:.3f} (edges)" if card.homophily is not None else ""),
        ("files", _files(card)),
        ("source", card.source),
        ("url", card.url),
        ("licence", card.licence),
    ]
    fields += [("health" if not i else "", claim.text) for i, claim in enumerate(card.health)]
    for name, protocol in card.protocols.items():
        if (shift := protocol.shift) is not None:
            inside = f"in distribution: {shift.in_distribution}; " if shift.in_distribution else ""
            fields += [("shift", f"{name}: {shift.what} ({inside}shifted: {', '.join(shift.shifted)})")]
    fitting = [
        name
        for name in MODELS.names()
        if card.task in (m := MODELS.card(name)).tasks and card.structure in m.structures
    ]
    fields += [("models", ", ".join(fitting))]
    out.print(_fields(fields))
    rows = [
        [f"{card.name}@{name}{' (default)' if name == card.default_protocol else ''}", str(p.splits), p.metric]
        + [p.selection, p.summary]
        for name, p in card.protocols.items()
    ]
    out.print()
    out.print(table(["protocol", "splits", "metric", "selected on", "meaning"], rows, right=(1,)))


def _suite(card: SuiteCard) -> None:
    fields = [("suite", f"{card.name} - {card.summary}"), ("models", ", ".join(card.models))]
    fields += [("benchmarks", ", ".join(card.benchmarks))]
    fields += [("settings", _settings(card.settings.model_dump()))]
    console().print(_fields(fields))


def plan(work: Plan, estimates: Sequence[Estimate]) -> None:
    """Print every value of every configuration with its source, and what the run would cost."""
    out = console()
    for config, cost in zip(work.configs, estimates, strict=True):
        cells = [c for c in work.cells if c.config is config]
        splits = sorted({c.split for c in cells})
        seeds = sorted({c.seed for c in cells})
        out.print(
            _fields(
                [
                    ("run", f"{config.model} on {config.benchmark}, strategy {config.strategy}"),
                    ("cells", f"{len(cells)}: splits {_ranges(splits)}, seeds {_ranges(seeds)}"),
                    *(("note", note) for note in config.notes),
                    ("configuration", config.hash),
                    ("records", str(work.execution.results)),
                    ("estimate", str(cost)),
                ]
            )
        )
        rows = [
            [key, value_text(value), config.sources.get(key, "default of the code")]
            for key, value in flatten(config.sections)
            if value != {}
        ]
        out.print()
        out.print(table(["key", "value", "source"], rows))
        out.print()


def _ranges(numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))


def result(found: RunResult) -> None:
    """Print the table of a run, one per benchmark, best first."""
    from gnnzoo.leaderboard.boards import compare
    from gnnzoo.leaderboard.shift import shift_table

    for benchmark in dict.fromkeys(c.benchmark for c in found.plan.configs):
        configs = [c for c in found.plan.configs if c.benchmark == benchmark]
        groups = {c.contender: records for c in configs if (records := found.of(c))}
        if not groups:
            continue
        other_data = any(key.startswith("dataset.") for c in configs for key in c.sources)  # than those in print
        cards = {} if other_data else {model: MODELS.card(model) for model in groups if "+" not in model}
        published = {m: p for m, card in cards.items() if (p := card.published.get(benchmark)) is not None}
        metric = next(iter(groups.values()))[0].result.metric
        rows = compare(groups, published)
        console().print(comparison(benchmark, metric, rows))
        print_shift(shift_table(benchmark, metric, rows))
    console().print(f"records in {found.plan.execution.results}" + _drawn(found), markup=False)


def print_shift(found: ShiftTable | None) -> None:
    """Print what a shift costs, where there is one."""
    if found is not None:
        out = console()
        out.print()
        out.print(table(found.columns, found.lines, f"what shifts: {found.what}", range(1, len(found.columns))))
        out.print(found.method, markup=False, soft_wrap=True)


def _drawn(found: RunResult) -> str:
    parts = [("model", found.plan.save), ("learning curves", found.plan.curves)]
    return "".join(f", {what} in {path}" for what, path in parts if path)


def comparison(benchmark: str, metric: str, rows: Sequence[Row]) -> Table:
    """Return the table of one benchmark: mean ± 95 % interval, and the paired test against the best."""
    from gnnzoo.leaderboard.table import difference_text, mean_text, metric_text, published_text, unit

    first = rows[0]
    several = first.splits > 1
    devices = {row.device for row in rows}
    lines = [
        [row.label, mean_text(row.summary, metric), str(row.summary.n)]
        + [difference_text(row, metric) or ("best" if row is first else ""), f"{row.parameters:,}"]
        + [f"{1000 * row.seconds_per_epoch:.1f}", published_text(row.published)]
        for row in rows
    ]
    columns = ["model", f"{metric}{unit(metric)} ± 95 % CI", "splits" if several else "seeds", "to the best"]
    columns += ["parameters", f"{'/'.join(sorted(devices))} ms/epoch", "published"]
    how = "corrected resampled t-test" if several else "paired t-test"
    title = f"{benchmark}: test {metric_text(metric)}" + (f"; to the best: {how}, Holm" if len(rows) > 1 else "")
    shown = table(columns, lines, title, (1, 2, 4, 5, 6))
    if not any(row.published for row in rows):
        shown.columns.pop(6)
    if len(rows) == 1:
        shown.columns.pop(3)
    return shown


def doctor() -> None:
    """Print what a bug report needs and what a user wonders about."""
    import torch

    import gnnzoo
    from gnnzoo.ops import accelerators
    from gnnzoo.places import cache_dir
    from gnnzoo.runner.config import default_results
    from gnnzoo.runner.hardware import commit, installed, processor

    packages = ["torch", "torch-geometric", "ogb", "networkx", "scikit-learn", "optuna", "pydantic", "numpy", "scipy"]
    data = os.environ.get("GNNZOO_DATA")
    where = data or "not set: raw files come from the user cache or the network"
    if data and not Path(data).is_dir():
        where += " (there is no such folder)"
    rows = [
        ("gnnzoo", gnnzoo.__version__ + (f", commit {commit()}" if commit() else "")),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        *((name, installed(name) or "missing") for name in packages),
        ("processor", processor()),
        (
            "threads",
            f"{torch.get_num_threads()} by default in PyTorch, {os.cpu_count()} processors; a run takes 1 (threads=)",
        ),
        *((a.name, a.version or f"none: {a.reason}") for a in accelerators()),
        ("data root", f"GNNZOO_DATA: {where}"),
        ("cache", str(cache_dir())),
        ("results", str(default_results().resolve())),
        ("plug-ins", ", ".join(_plugins()) or "none"),
    ]
    console().print(_fields(rows))


def _plugins() -> list[str]:
    from importlib.metadata import entry_points

    return [
        f"{e.name} ({e.value}{'' if find_spec(e.value.split('.')[0]) else ', not installed'})"
        for e in entry_points(group="gnnzoo.plugins")
    ]


def check(model: str, golden: Path | None) -> bool:
    """Run a model's generic checks, or replay a golden file; print a line each and say whether all passed."""
    from gnnzoo.testing import check_golden, model_checks, run_check

    out = console()
    name = MODELS.canonical(model)
    if golden is not None:
        report = check_golden(name, golden)
        out.print(str(report), markup=False, soft_wrap=True)
        return report.passed
    failures = 0
    for found in model_checks(name):
        try:
            run_check(name, found)
            out.print(f"ok      {found}", markup=False)
        except AssertionError as error:
            failures += 1
            out.print(f"FAILED  {error}", markup=False, soft_wrap=True)
    return not failures

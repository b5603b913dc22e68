"""``verify``: run a record again from its stored configuration, and say whether the same comes out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gnnzoo.cards import METRICS
from gnnzoo.errors import ConfigError, GnnzooError
from gnnzoo.leaderboard.foreign import parse_record, read_lines, stored_config
from gnnzoo.leaderboard.record import Key, Record
from gnnzoo.leaderboard.store import Store
from gnnzoo.registry import is_path
from gnnzoo.runner.cell import cell_key, load_prepared
from gnnzoo.runner.config import Config, default_results, resolve, restore
from gnnzoo.runner.expressivity import PAIRS, Question, answer, pair_key
from gnnzoo.runner.grid import Reporter, execute
from gnnzoo.runner.planning import Cell, Execution, Plan, check_device

__all__ = ["Located", "Verification", "by_key", "by_line", "judge", "noise", "verify"]

Verdict = Literal["equal", "within noise", "different"]

_MACHINE = ("processor", "device", "threads", "gnnzoo", "torch", "pyg", "python", "commit")

_GIVEN = ("metric", "rows", "parameters")
"""What a machine has no say in."""


@dataclass(frozen=True)
class Located:
    """A record with what is needed to make it again."""

    place: str
    """``FILE:LINE``."""
    record: Record
    config: dict[str, Any]
    """As it was stored."""
    siblings: list[Record]
    """All records of the same configuration and data, this one among them: what they differ by is noise."""


@dataclass(frozen=True)
class Verification:
    """What came out the second time."""

    located: Located
    again: Record
    verdict: Verdict
    why: str
    tolerance: float
    """In the metric's stored unit."""
    basis: str
    """What the tolerance is, in words."""
    machine: dict[str, tuple[Any, Any]]
    """What differs between the two machines: recorded, here."""


def by_line(place: str) -> Located:
    """Find a record by ``FILE.jsonl:LINE``; lines count from 1.

    Raises:
        ConfigError: there is no such line, it is no record, it is of a newer schema, its configuration is not stored.
    """
    name, _, number = place.rpartition(":")
    if not name or not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"{place}: expected FILE.jsonl:LINE, lines count from 1")
    path = Path(name)
    lines = read_lines(path)
    if int(number) > len(lines) or not lines[int(number) - 1].strip():
        count = sum(1 for line in lines if line.strip())
        raise ConfigError(f"{place}: there is no such line, the file has {count}")
    return _located(path, int(number), parse_record(lines[int(number) - 1], place))


def by_key(
    results: str | Path | None, model: str, dataset: str, protocol: str | None = None, split: int = 0, seed: int = 0
) -> Located:
    """Find the newest record of a model on a benchmark, a split and a seed.

    Args:
        results: the folder of records; default: as for a run.
        model: a registered name or alias.
        dataset: a registered name or alias, ``dataset@protocol``, or a path to own data.
        protocol: one of the dataset's; default: as for a run.
        split: number of the split.
        seed: the seed.

    Raises:
        ConfigError: there is none, or there are some of several configurations: then :func:`by_line` is the way.
    """
    config = resolve(model, dataset, protocol, training=False)
    path = Store(results or default_results()).path(config.benchmark, config.model)
    cell = f"{config.model} on {config.benchmark}, split {split}, seed {seed}"
    if not path.exists():
        raise ConfigError(f"no record of {cell}: there is no {path}")
    found: dict[Key, tuple[int, Record]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        try:
            record = parse_record(line, f"{path}:{number}")
        except ConfigError:
            continue  # reading the folder passes it over too
        if (record.key.split, record.key.seed) == (split, seed):
            found[record.key] = number, record
    if not found:
        raise ConfigError(f"no record of {cell} in {path}")
    if len(found) > 1:
        places = ", ".join(f"{path}:{number}" for number, _ in found.values())
        raise ConfigError(f"{cell}: records of several configurations, strategies or data; name one: {places}")
    return _located(path, *found.popitem()[1])


def _located(path: Path, number: int, record: Record) -> Located:
    place, key = f"{path}:{number}", record.key
    config = stored_config(path, key.config)
    if config is None:
        raise ConfigError(
            f"{place}: its configuration {key.config}.json is not stored in {path.parent.parent / 'configs'}, so that "
            f"nobody can run it again"
        )
    same = {
        r.key: r
        for r in Store(path.parent).read(path)
        if (r.key.model, r.key.strategy, r.key.benchmark) == (key.model, key.strategy, key.benchmark)
        and (r.key.config, r.key.data) == (key.config, key.data)
    }
    same[key] = record
    return Located(place, record, config, list(same.values()))


def noise(record: Record, siblings: Sequence[Record]) -> tuple[float, str]:
    """Return by how much a repetition may differ, and what that is in words.

    Two standard deviations of the recorded metric: over the seeds of the same split where there are three or more,
    else over all splits and seeds, three or more. Never less than one test row, which is all there is where fewer are
    recorded (for errors in the target's unit: 1 % of the value; for pairs of graphs: none).
    """
    metric = record.result.metric
    value = record.result.test[metric]
    if metric == PAIRS:
        least, basis = 0.0, "no pair"
    elif METRICS[metric].percent:
        least, basis = 1 / record.result.rows["test"], "one test row"
    else:
        least, basis = abs(value) / 100, "1 % of the value"
    seeds = [r for r in siblings if r.key.split_hash == record.key.split_hash]
    for records, what in ((seeds, "seeds of this split"), (siblings, "recorded splits and seeds")):
        if len(records) >= 3:
            spread = 2 * float(np.std([r.result.test[metric] for r in records], ddof=1))
            if spread > least:
                return spread, f"2 standard deviations over {len(records)} {what}"
            break
    return least, basis


def _config(located: Located, dataset: str | None) -> Config:
    """Return the stored configuration if it still means what it meant."""
    key = located.record.key
    own = is_path(located.config["names"]["dataset"])
    if dataset is not None and not own:
        raise ConfigError(f"dataset={dataset}: {located.place} is of a registered dataset; only own data can move")
    try:
        config = restore(located.config, dataset)
    except (GnnzooError, KeyError, TypeError) as error:
        raise ConfigError(f"{located.place}: its configuration cannot be run here: {error}") from None
    if config.hash != key.config:
        what = "the data are others, or the code has" if own else "the code has"
        raise ConfigError(f"{located.place}: its configuration reads as {config.hash} here: {what} changed since")
    return config


def verify(
    located: Located,
    root: str | None = None,
    device: str = "auto",
    dataset: str | None = None,
    reporter: Reporter | None = None,
) -> Verification:
    """Make a record again, in a folder of its own that is removed afterwards, with the same threads.

    A cell is trained; where nothing is trained, the pairs of graphs are counted that are told apart.

    Args:
        located: see :func:`by_line`, :func:`by_key`.
        root: a folder of raw files.
        device: as for a run; ``auto``: the CPU for a record of a CPU, else a GPU where there is one.
        dataset: where own data are now.
        reporter: hears what happens.

    Returns:
        ``equal``: the result is the same to the last bit, the weights' digest with it. ``within noise``: the test
        metric differs by no more than :func:`noise`. ``different``: it differs by more, or model, metric or rows do.

    Raises:
        ConfigError: it cannot be run again: the configuration means something else here, other data, other splits.
        DataError: raw files are missing.
    """
    record = located.record
    key = record.key
    config = _config(located, dataset)
    question, cell = Question(config, key.seed), Cell(config, key.split, key.seed)
    if record.result.metric == PAIRS:
        here = pair_key(question, root)
    else:
        bundle = load_prepared(config, root)
        if key.split >= len(bundle.splits):
            raise ConfigError(f"{located.place}: split {key.split}, {key.benchmark} has {len(bundle.splits)} here")
        here = cell_key(cell, bundle)
    for what, recorded, found in (
        ("data digest", key.data, here.data),
        ("hash of its split", key.split_hash, here.split_hash),
        ("model", key.model, here.model),
        ("strategy", key.strategy, here.strategy),
        ("benchmark", key.benchmark, here.benchmark),
    ):
        if recorded != found:
            raise ConfigError(
                f"{located.place}: the {what} is {recorded}, here it is {found}: what comes out could not be compared"
            )
    if check_device(device) == "auto" and record.cost.device == "cpu":
        device = "cpu"
    with tempfile.TemporaryDirectory(prefix="gnnzoo-verify-") as folder:
        execution = Execution(Path(folder), device, record.cost.threads, root)
        if record.result.metric == PAIRS:
            (again,) = answer([question], execution)
        else:
            (again,) = execute(Plan([config], [cell], execution), reporter or Reporter()).records
    return judge(located, again)


def judge(located: Located, again: Record) -> Verification:
    """Compare a record with its repetition; see :func:`verify`."""
    first, second = located.record.result, again.result
    tolerance, basis = noise(located.record, located.siblings)
    verdict: Verdict
    if second == first:
        verdict, why = "equal", "to the last bit, weights included"
    elif changed := [name for name in _GIVEN if getattr(first, name) != getattr(second, name)]:
        values = [f"{name} {getattr(first, name)} before, {getattr(second, name)} now" for name in changed]
        verdict, why = "different", "; ".join(values)
    else:
        distance = abs(second.test[first.metric] - first.test[first.metric])
        close = distance <= tolerance or math.isclose(distance, tolerance, rel_tol=1e-9)
        verdict = "within noise" if close else "different"
        why = "other weights" if second.digest != first.digest else "the same weights, other numbers"
    costs = located.record.cost, again.cost
    machine = {
        name: (getattr(costs[0], name), getattr(costs[1], name))
        for name in _MACHINE
        if getattr(costs[0], name) != getattr(costs[1], name)
    }
    return Verification(located, again, verdict, why, tolerance, basis, machine)

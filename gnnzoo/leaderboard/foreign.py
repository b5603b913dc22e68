"""Records from elsewhere: each line is held against its card and its stored configuration before any is written."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gnnzoo.cards import METRICS, DatasetCard
from gnnzoo.errors import ConfigError, GnnzooError, UnknownNameError
from gnnzoo.leaderboard.record import Key, Record, upgrade
from gnnzoo.leaderboard.store import Store
from gnnzoo.places import data_roots, missing
from gnnzoo.registry import DATASETS, MODELS, STRATEGIES, is_path, reason

if TYPE_CHECKING:
    from gnnzoo.datasets import Bundle

__all__ = ["Added", "add_records", "parse_record", "read_lines", "stored_config"]

_HASH = re.compile(r"[0-9a-f]{16}")


def read_lines(path: Path) -> list[bytes]:
    """Return the lines of a file of records.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None


def parse_record(line: bytes, place: str) -> Record:
    """Return the record of a line.

    Args:
        line: of any schema up to ours.
        place: ``FILE:LINE``, for the complaint.

    Raises:
        ConfigError: the line is no record, or of a newer schema.
    """
    try:
        return upgrade(json.loads(line))
    except ValidationError as error:
        raise ConfigError(f"{place}: not a record: {reason(error)}") from None
    except (ValueError, RecursionError) as error:
        why = str(error).splitlines()[0] if isinstance(error, ValueError) else "brackets without end"
        raise ConfigError(f"{place}: not a record: {why}") from None


def stored_config(file: Path, digest: str) -> dict[str, Any] | None:
    """Return the configuration that lies with a file of records: in ``configs/`` beside it, or beside its folder.

    Raises:
        ConfigError: what lies there is no stored configuration.
    """
    if not _HASH.fullmatch(digest):
        return None
    for folder in (file.parent, file.parent.parent):
        path = folder / "configs" / f"{digest}.json"
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is no stored configuration: {str(error).splitlines()[0]}") from None
        names = content.get("names") if isinstance(content, dict) else None
        parts = ("model", "dataset", "protocol", "strategy")
        if not isinstance(names, dict) or not all(isinstance(names.get(part), str) for part in parts):
            raise ConfigError(f"{path} is no stored configuration: it does not name {', '.join(parts)}")
        return dict(content)
    return None


@dataclass(frozen=True)
class Added:
    """What :func:`add_records` did."""

    added: list[Record]
    known: int
    """Lines whose record, with the same result, was there before."""


@dataclass(frozen=True)
class _Line:
    place: str
    record: Record
    config: dict[str, Any]


def add_records(
    file: str | os.PathLike[str],
    store: Store,
    config_hash: Callable[[Mapping[str, Any]], str],
    origin: str = "",
    root: str | os.PathLike[str] | None = None,
) -> Added:
    """Check foreign records and, if every line passes, add them with ``cost.origin`` set.

    A file must bring, for each model × benchmark × configuration, every split of the protocol with the seeds 0 to
    k - 1, the same for all splits: no best of several seeds, no splits left out. Data, splits and metric must be those
    of the dataset's card, the model one that is registered here, the stored configuration must lie beside the file.

    Args:
        file: one record per line, as :class:`~gnnzoo.leaderboard.Store` writes them.
        store: where they go.
        config_hash: returns the hash of a stored configuration as it reads here.
        origin: where they come from, in words; default: the file's name.
        root: a folder of raw files, for splits whose hashes no card states.

    Raises:
        ConfigError: a line does not pass: the file, the line, why; nothing was written.
        StorageError: they cannot be written; the same call goes on from there.
    """
    path = Path(file)
    lines: list[_Line] = []
    seen: dict[Key, _Line] = {}
    for number, text in enumerate(read_lines(path), start=1):
        if not text.strip():
            continue
        place = f"{path}:{number}"
        record = parse_record(text, place)
        card = _check_names(record, place)
        _check_numbers(record, card, place)
        line = _Line(place, record, _check_config(path, record, place, config_hash))
        _check_epochs(line, card)
        if record.key in seen:
            raise ConfigError(f"{place}: a second record of the key in {seen[record.key].place}")
        seen[record.key] = line
        lines.append(line)
    if not lines:
        raise ConfigError(f"{path}: no records in it")
    benchmarks: dict[str, list[_Line]] = {}
    groups: dict[tuple[str, str, str, str], list[_Line]] = {}
    for line in lines:
        key = line.record.key
        benchmarks.setdefault(key.benchmark, []).append(line)
        groups.setdefault((key.model, key.strategy, key.benchmark, key.config), []).append(line)
    for group in groups.values():
        _check_complete(path, group)
    for benchmark, found in benchmarks.items():
        _check_data(benchmark, found, root)
    new = _not_here(store, lines)

    store.check_writable()
    added = []
    for line in new:
        cost = line.record.cost
        record = line.record.model_copy(
            update={"cost": cost.model_copy(update={"origin": cost.origin or origin or path.name})}
        )
        store.save_config(record.key.config, line.config)
        store.append(record)
        added.append(record)
    return Added(added, len(lines) - len(new))


def _check_names(record: Record, place: str) -> DatasetCard:
    """Refuse a record of something that has no card here: nobody could say what it is, or run it again."""
    key = record.key
    dataset, at, protocol = key.benchmark.rpartition("@")
    try:
        if not at or is_path(dataset):
            raise ConfigError(f"benchmark {key.benchmark!r} is not dataset@protocol")
        card = DATASETS.card(dataset)
        if protocol not in card.protocols:
            raise UnknownNameError("protocol", protocol, card.protocols, f"dataset {card.name}")
        names = ((DATASETS, dataset), (MODELS, key.model), (STRATEGIES, key.strategy))
        for registry, name in names:
            if registry.canonical(name) != name:
                raise ConfigError(f"{registry.kind} {name!r} is called {registry.canonical(name)!r} in records")
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    return card


def _check_numbers(record: Record, card: DatasetCard, place: str) -> None:
    """Refuse what no run can have given, whatever the data."""
    key, result, cost = record.key, record.result, record.cost
    protocol = card.protocols[key.benchmark.rpartition("@")[2]]

    def refuse(wrong: bool, why: str) -> None:
        if wrong:
            raise ConfigError(f"{place}: {why}")

    refuse(protocol.digest not in ("", key.data), f"data digest {key.data}, the card's is {protocol.digest}")
    refuse(result.metric != protocol.metric, f"metric {result.metric}, the protocol's is {protocol.metric}")
    for stage, values in (("test", result.test), ("val", result.val)):
        refuse(result.metric not in values, f"no {stage} {result.metric}")
        for name, value in values.items():
            metric = METRICS.get(name)
            refuse(metric is None, f"unknown metric {name!r}")
            most = 1.0 if metric and metric.percent else math.inf
            hint = " (fractions, not per cent)" if most == 1 and 1 < value <= 100 else ""
            refuse(not math.isfinite(value) or not 0 <= value <= most, f"{stage} {name} cannot be {value}{hint}")
    refuse(not math.isfinite(result.val_loss), f"val_loss cannot be {result.val_loss}")
    refuse(not 0 <= key.split < protocol.splits, f"split {key.split}, the protocol has {protocol.splits}")
    refuse(not 0 <= key.seed < 2**32, f"seed {key.seed}: 0 or more, less than 2**32")
    parts = {"train", "val", "test"}
    refuse(set(result.rows) != parts or min(result.rows.values()) < 1, "rows must count train, val and test")
    refuse(not 0 <= result.epoch <= result.epochs, f"epoch {result.epoch} of {result.epochs}")
    refuse(result.epochs < 1 or result.parameters < 0, "epochs must be 1 or more, parameters 0 or more")
    for name, text in (("config", key.config), ("split_hash", key.split_hash), ("digest", result.digest)):
        refuse(not _HASH.fullmatch(text), f"{name} must be 16 hexadecimal digits, not {text!r}")
    for name in ("seconds", "cpu_seconds", "peak_memory_mib"):
        value = getattr(cost, name)
        refuse(not math.isfinite(value) or value < 0, f"{name} cannot be {value}")
    refuse(cost.threads < 1, f"threads cannot be {cost.threads}")
    try:
        date = datetime.datetime.fromisoformat(cost.date)
        ahead = date - datetime.datetime.now(datetime.UTC)
    except (ValueError, TypeError):
        raise ConfigError(f"{place}: date {cost.date!r} is no ISO date with a time zone") from None
    refuse(ahead > datetime.timedelta(days=1), f"date {cost.date} lies ahead: the newest record counts")


def _content_hash(config: Mapping[str, Any]) -> str:
    """Return what a configuration's file is called: the hash of what it holds."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_config(
    file: Path, record: Record, place: str, config_hash: Callable[[Mapping[str, Any]], str]
) -> dict[str, Any]:
    key = record.key
    config = stored_config(file, key.config)
    if config is None:
        where = " or ".join(str(folder / "configs") for folder in (file.parent, file.parent.parent))
        raise ConfigError(f"{place}: its configuration {key.config}.json is not in {where}")
    if _content_hash(config) != key.config:
        raise ConfigError(f"{place}: configs/{key.config}.json is another configuration: it hashes to another name")
    names = config["names"]
    said = (names["model"], names["strategy"], f"{names['dataset']}@{names['protocol']}")
    if said != (key.model, key.strategy, key.benchmark):
        raise ConfigError(f"{place}: its configuration is of {said[0]} on {said[2]} with strategy {said[1]}")
    try:
        here = config_hash(config)
    except GnnzooError as error:
        raise ConfigError(f"{place}: its configuration cannot be run here: {error}") from None
    if here != key.config:
        raise ConfigError(f"{place}: its configuration reads as {here} here: it was made by another version")
    return config


def _check_epochs(line: _Line, card: DatasetCard) -> None:
    """Hold a result against its configuration: no more epochs than it allows, an accuracy that some count gives."""
    result, train = line.record.result, line.config.get("train", {})
    if result.epochs > train.get("epochs", result.epochs):
        raise ConfigError(f"{line.place}: {result.epochs} epochs, its configuration allows {train['epochs']}")
    one_row_one_label = card.task in ("node", "graph") and card.target == "multiclass"
    if result.metric == "accuracy" and one_row_one_label and train.get("selection") != "mean_last":
        for stage, values in (("test", result.test), ("val", result.val)):
            right = values["accuracy"] * result.rows[stage]
            if abs(right - round(right)) > 1e-3:
                raise ConfigError(
                    f"{line.place}: {stage} accuracy {values['accuracy']} of {result.rows[stage]} rows is {right:.3f} "
                    f"rows: not a whole number"
                )


def _ranges(numbers: Iterable[int]) -> str:
    found = sorted(numbers)
    shown = ", ".join(map(str, found[:8]))
    return f"{shown}, ..." if len(found) > 8 else shown


def _check_complete(path: Path, group: list[_Line]) -> None:
    """Refuse a set that leaves out splits or seeds: of the best of several nobody can tell what it means."""
    key = group[0].record.key
    name = f"{key.model} on {key.benchmark} (configuration {key.config})"
    seeds: dict[int, set[int]] = {}
    for line in group:
        seeds.setdefault(line.record.key.split, set()).add(line.record.key.seed)
    dataset, _, protocol = key.benchmark.rpartition("@")
    count = DATASETS.card(dataset).protocols[protocol].splits
    if absent := set(range(count)) - set(seeds):
        raise ConfigError(
            f"{path}: {name}: {len(seeds)} of {count} splits, without {_ranges(absent)}: all or none of them count"
        )
    every = set().union(*seeds.values())
    for line in group:
        split = line.record.key.split
        if absent := every - seeds[split]:
            raise ConfigError(
                f"{line.place}: {name}: split {split} lacks seed {_ranges(absent)}, which other splits have: "
                f"all splits must have the same seeds"
            )
    if absent := set(range(len(every))) - every:
        raise ConfigError(
            f"{path}: {name}: seeds {_ranges(every)} without {_ranges(absent)}: seeds must be 0 to k - 1, so that none "
            f"is chosen by its result"
        )


def _reference(card: DatasetCard, protocol: str, root: str | os.PathLike[str] | None) -> Bundle | None:
    """Load a benchmark; None where its files are not here, or are not those of its card."""
    if missing(card, data_roots(root) if card.files else []):
        return None
    from gnnzoo.datasets import load_dataset

    bundle = load_dataset(card.name, protocol, root)
    says = card.protocols[protocol]
    known = (says.digest or bundle.digest, says.hash or bundle.hash) == (bundle.digest, bundle.hash)
    return bundle if known else None


def _check_data(benchmark: str, lines: list[_Line], root: str | os.PathLike[str] | None) -> None:
    """Hold splits against the protocol's: each one where the data are here, else all together against the card."""
    dataset, _, protocol = benchmark.rpartition("@")
    card = DATASETS.card(dataset)
    says = card.protocols[protocol]
    bundle = _reference(card, protocol, root)
    if bundle is None and not (says.digest and says.hash):
        raise ConfigError(
            f"{lines[0].place}: {benchmark}: its card states no digest and its files are not here, so that nothing can "
            f"be checked: gnnzoo data info {dataset}"
        )
    first: dict[int, _Line] = {}
    for line in lines:
        key, rows = line.record.key, line.record.result.rows
        if bundle is not None:
            split = bundle.splits[key.split]
            if key.data != bundle.digest:
                raise ConfigError(f"{line.place}: data digest {key.data}, here it is {bundle.digest}")
            if key.split_hash != split.hash:
                raise ConfigError(
                    f"{line.place}: split {key.split} has hash {key.split_hash}, the protocol's has {split.hash}"
                )
            sizes = {part: len(getattr(split, part)) for part in ("train", "val", "test")}
            if rows != sizes:
                raise ConfigError(f"{line.place}: rows {_sizes(rows)}, split {key.split} has {_sizes(sizes)}")
        other = first.setdefault(key.split, line)
        if (other.record.key.split_hash, other.record.result.rows) != (key.split_hash, rows):
            raise ConfigError(f"{line.place}: split {key.split} is not the one of {other.place}")
    hashes = " ".join(first[index].record.key.split_hash for index in sorted(first))
    if says.hash and hashlib.sha256(hashes.encode()).hexdigest()[:16] != says.hash:
        raise ConfigError(f"{lines[0].place}: {benchmark}: the split hashes of this file are not those of the protocol")


def _sizes(rows: Mapping[str, int]) -> str:
    return "/".join(str(rows[part]) for part in ("train", "val", "test"))


def _not_here(store: Store, lines: list[_Line]) -> list[_Line]:
    """Return the lines that the store does not have; a record of ours is never overruled by a foreign one."""
    new = []
    here: dict[Path, dict[Key, Record]] = {}
    for line in lines:
        key = line.record.key
        path = store.path(key.benchmark, key.model)
        if path not in here:
            here[path] = {record.key: record for record in store.read(path)}
        found = here[path].get(key)
        if found is None:
            new.append(line)
        elif found.result != line.record.result:
            raise ConfigError(
                f"{line.place}: {path} has a record of this key with another result; gnnzoo verify tells which one "
                f"can be repeated"
            )
    return new

"""Append-only files of records: many processes may write at once, and what is written stays written."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from gnnzoo.atomic import write_text
from gnnzoo.errors import StorageError
from gnnzoo.leaderboard.record import Key, Record, upgrade

__all__ = ["Store", "append_line"]


def append_line(path: Path, text: str) -> None:
    """Add one line to a file that many may write, and wait until it is on the disk.

    Raises:
        StorageError: the disk is full, ...; lines that were there are as they were.
    """
    line = text.encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"), open(path, "ab+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a writer died inside a line: keep its rest apart from ours
                    line = b"\n" + line
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise
    except OSError as error:
        raise StorageError(f"cannot write the record to {path}: {error.strerror or error}") from error


class Store:
    """A results folder: ``<dataset@protocol>/<model>.jsonl``, ``configs/<hash>.json`` and, for resuming, ``work/``.

    Args:
        folder: is made when something is first written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def path(self, benchmark: str, model: str) -> Path:
        """Return the file of one model's records on one benchmark."""
        return self.folder / benchmark / f"{model}.jsonl"

    def files(self) -> list[Path]:
        """Return all files of records, sorted."""
        return sorted(self.folder.glob("*@*/*.jsonl"))

    def work(self, key: Key) -> Path:
        """Return the folder for the state, weights and history of one cell."""
        return self.folder / "work" / key.benchmark / f"{key.model}-{key.config}" / f"{key.split}-{key.seed}"

    def check_writable(self) -> None:
        """Find out now, not after hours of training, whether results can be written.

        Raises:
            StorageError: they cannot; nothing was written.
        """
        probe = self.folder / "work" / f".probe-{os.getpid()}"
        try:
            write_text(probe, "")
            probe.unlink()
        except (StorageError, OSError) as error:
            cause = error.__cause__ if isinstance(error, StorageError) else error
            why = getattr(cause, "strerror", None) or error
            raise StorageError(f"results={self.folder} cannot be written to: {why}; choose another folder") from None

    def append(self, record: Record) -> None:
        """Add one line and wait until it is on the disk.

        Raises:
            StorageError: the disk is full, ...; lines that were there are as they were.
        """
        append_line(self.path(record.key.benchmark, record.key.model), record.line())

    def read(self, path: Path) -> Iterator[Record]:
        """Yield the records of a file; a line that is none is reported, with its number, and passed over."""
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield upgrade(json.loads(line))
            except ValueError as error:
                torn = "the line is torn: its writer was killed" if number == len(lines) else str(error).splitlines()[0]
                warnings.warn(f"{path}:{number}: not a record, passed over ({torn})", stacklevel=2)

    def find(self, key: Key) -> Record | None:
        """Return the record of a key, the newest where there are several."""
        found = [r for r in self.read(self.path(key.benchmark, key.model)) if r.key == key]
        return found[-1] if found else None

    def save_config(self, digest: str, config: dict[str, Any]) -> None:
        """Store a resolved configuration once under its hash."""
        path = self.folder / "configs" / f"{digest}.json"
        if not path.exists():
            write_text(path, json.dumps(config, indent=1, sort_keys=True) + "\n")

    def config(self, digest: str) -> dict[str, Any] | None:
        """Return a stored configuration, or None."""
        try:
            return json.loads((self.folder / "configs" / f"{digest}.json").read_text())
        except FileNotFoundError:
            return None

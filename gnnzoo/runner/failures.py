"""Cells that failed, with the reason: what ``bench`` does not try again for nothing."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gnnzoo.errors import GnnzooError
from gnnzoo.leaderboard.store import append_line

__all__ = ["Failed", "Failure", "Failures", "reason_of"]


def reason_of(error: BaseException) -> str:
    """Return what went wrong in one line; of what is not ours to say, with its place."""
    text = " ".join(str(error).split())
    if isinstance(error, GnnzooError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{f': {text}' if text else ''}"[:500] + place


class Failed(BaseModel):
    """What was tried. Of the data, what the card says of them: they may be what is wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    strategy: str
    benchmark: str
    config: str
    data: str
    split: int
    seed: int


class Failure(BaseModel):
    """One line of ``<results>/failures/<dataset@protocol>/<model>.jsonl``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    key: Failed
    reason: str
    date: str
    commit: str | None
    version: str

    def line(self) -> str:
        """Return it as one line of JSON, with its line end."""
        return self.model_dump_json() + "\n"


class Failures:
    """The failures of a results folder; written as records are.

    Args:
        results: the folder of the records.
    """

    def __init__(self, results: str | os.PathLike[str]) -> None:
        self._folder = Path(results) / "failures"

    def _path(self, benchmark: str, model: str) -> Path:
        return self._folder / benchmark / f"{model}.jsonl"

    def append(self, failure: Failure) -> None:
        """Add one line.

        Raises:
            StorageError: it cannot be written.
        """
        append_line(self._path(failure.key.benchmark, failure.key.model), failure.line())

    def read(self, benchmark: str, model: str) -> list[Failure]:
        """Return the failures of a model on a benchmark, oldest first; a line that is none costs one more try."""
        try:
            lines = self._path(benchmark, model).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                found.append(Failure.model_validate(json.loads(line)))
            except (ValueError, ValidationError):
                continue
        return found

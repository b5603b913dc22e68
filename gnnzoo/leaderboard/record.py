"""The schema of a record. Old lines are upgraded when they are read, by pure functions, and never rewritten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

__all__ = ["SCHEMA", "Cost", "Key", "Record", "Result", "Tuned", "upgrade"]

SCHEMA = 1

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""``UPGRADES[n]`` turns a line of schema n into one of schema n + 1."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Key(_Part):
    """What was run. Two records with equal keys are the same experiment, and their ``result`` must be equal."""

    model: str
    strategy: str
    benchmark: str = Field(description="dataset@protocol")
    config: str = Field(description="hash of the resolved configuration, stored once in configs/<hash>.json")
    data: str = Field(description="digest of the dataset's tensors")
    split: int
    split_hash: str
    seed: int


class Result(_Part):
    """What came out; bit-equal for equal keys on one kind of processor with equal ``threads``."""

    metric: str
    test: dict[str, float] = Field(description="fractions (accuracy 0.88), or the target's unit")
    parts: dict[str, dict[str, float]] | None = Field(
        None, description="the same on further parts of the split, such as in-distribution test graphs"
    )
    val: dict[str, float]
    val_loss: float
    rows: dict[str, int] = Field(description="nodes or graphs in train, val, test and further parts")
    epoch: int = Field(description="the selected epoch")
    epochs: int = Field(description="epochs that ran")
    parameters: int
    digest: str = Field(description="of the selected weights")
    curve: dict[int, float] | None = Field(
        None, description="by evaluated epoch, the test metric; of protocols that select on test alone"
    )

    @model_serializer(mode="wrap")
    def _without_absent(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``parts`` and ``curve`` out where there are none, as in lines from before the fields were there."""
        written: dict[str, Any] = write(self)
        for name in ("parts", "curve"):
            if getattr(self, name) is None:
                written.pop(name, None)
        return written


class Cost(_Part):
    """What it took, and where: differs from run to run."""

    seconds: float
    cpu_seconds: float
    peak_memory_mib: float
    device: str
    processor: str
    threads: int
    gnnzoo: str
    torch: str
    pyg: str
    python: str
    commit: str | None = None
    date: str
    origin: str | None = Field(
        None, description="where a record comes from that was not made here; see leaderboard add"
    )

    @model_serializer(mode="wrap")
    def _without_origin(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``origin`` out where there is none: lines from before the field was there are written the same."""
        written: dict[str, Any] = write(self)
        if self.origin is None:
            written.pop("origin", None)
        return written


class Tuned(_Part):
    """Where a configuration was found, and what that took."""

    source: str = Field(description="tuned here, study <id>")
    trials: int = Field(description="how many configurations were tried to find this one")


class Record(_Part):
    """One line of ``<results>/<dataset@protocol>/<model>.jsonl``."""

    schema_: int = Field(SCHEMA, alias="schema")
    key: Key
    result: Result
    cost: Cost
    tuned: Tuned | None = Field(None, description="of configurations that tuning found here")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_serializer(mode="wrap")
    def _without_tuned(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``tuned`` out where there is nothing, as in lines from before the field was there."""
        written: dict[str, Any] = write(self)
        if self.tuned is None:
            written.pop("tuned", None)
        return written

    def line(self) -> str:
        """Return the record as one line of JSON, with its line end."""
        return self.model_dump_json(by_alias=True) + "\n"


def upgrade(line: Any) -> Record:
    """Return the record of a parsed line of any schema up to ours.

    Raises:
        ValueError: the line is of a newer schema, or not a record.
    """
    version = line.get("schema") if isinstance(line, dict) else None
    if not isinstance(version, int):
        raise ValueError("no schema in it")
    if version > SCHEMA:
        raise ValueError(f"schema {version} is not known here (up to {SCHEMA} are): a newer gnnzoo wrote it")
    if version < min(UPGRADES, default=SCHEMA):
        raise ValueError(f"there was no schema {version}")
    for number in range(version, SCHEMA):
        line = UPGRADES[number](line)
    return Record.model_validate(line)

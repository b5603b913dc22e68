"""Where a study is kept: Optuna's journal in a file or its database, safe against kills; and which workers are alive.

A worker that draws trials holds a lock that its end releases, whatever ends it. A trial whose worker is gone is given
out again, with the same values; on other machines, which share a database alone, Optuna's heartbeats tell.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from gnnzoo.atomic import write_text
from gnnzoo.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from gnnzoo.runner.tune import Tuning

__all__ = [
    "OUTCOME",
    "SURPLUS",
    "WORKER",
    "Tally",
    "Worker",
    "describe",
    "failing",
    "interrupt",
    "load_study",
    "open_storage",
    "ordinal",
    "quiet",
    "reason",
    "reclaim",
    "shown",
    "tally",
]

WORKER, OUTCOME, SURPLUS = "worker", "outcome", "surplus"
"""What a trial says of itself: who runs it, what came of it, that one was drawn too many."""

_INTERRUPTED, _ATTEMPTS, _ROOT, _HISTORY = "interrupted", "attempts", "failed_trial", "retry_history"
"""The last two are the names under which Optuna itself keeps what a trial repeats."""

ATTEMPTS = 3
"""A trial whose process was killed so often is not given out again."""

BEAT, SILENCE = 15, 60
"""Seconds between the heartbeats in a database, and after which a trial without one is given out again."""

_NAMELESS = 60.0
"""Seconds that a trial may be without a worker's name before its worker counts as killed."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna say nothing: what is to be said, we say."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


# --- storage ----------------------------------------------------------------------------------------------------------


class _Lock:
    """What the journal is written under: a lock that the system releases when its holder is killed."""

    def __init__(self, path: str) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class _Journal(JournalFileBackend):
    """Optuna's journal file, with whole lines alone: what a killed writer or a full disk left of a line is removed."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Lock(f"{path}.lock"))  # type: ignore[arg-type]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._lock.acquire()
        try:
            with open(self._file_path, "rb+", buffering=0) as file:
                end = _whole(file)
                if end < file.seek(0, os.SEEK_END):
                    file.truncate(end)
                file.seek(end)
                try:
                    rest = lines
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise
        except OSError as error:
            raise StorageError(f"cannot write {self._file_path}: {error.strerror or error}") from error
        finally:
            self._lock.release()


def _whole(file: Any) -> int:
    """Return the length of a file without an unfinished last line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(end - 4096, 0)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _url(storage: str) -> Any:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage)
    except ArgumentError:
        raise ConfigError(
            f"storage={storage}: sqlite:///file.db or postgresql://user@host/database; without it, a journal file"
        ) from None


def shown(storage: str | None) -> str | None:
    """Return a database's address without its password."""
    return None if storage is None else _url(storage).render_as_string(hide_password=True)


def open_storage(folder: Path, storage: str | None) -> BaseStorage:
    """Open the journal in a study's folder, or a database; what is open already is not opened again.

    Raises:
        ConfigError: no database of that kind, or its driver is not installed.
        StorageError: it cannot be opened.
    """
    return _open(folder.absolute(), storage, os.getcwd())


@lru_cache(maxsize=8)
def _open(folder: Path, storage: str | None, here: str) -> BaseStorage:
    if storage is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return optuna.storages.JournalStorage(_Journal(folder / "journal.log"))
        except OSError as error:
            raise StorageError(f"{folder} cannot be written to: {error.strerror or error}") from None
        except ValueError as error:
            raise StorageError(f"{folder / 'journal.log'} is no journal: {error}") from None
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    url = _url(storage)
    options: dict[str, Any] = {"connect_args": {"timeout": 60}} if url.get_backend_name() == "sqlite" else {}
    try:
        url.get_dialect().import_dbapi()  # what is wrong with it is said before anything is written
        folder.mkdir(parents=True, exist_ok=True)
        with quiet(), FileLock(folder / "lock"):  # two processes that make the tables at once get in each other's way
            return optuna.storages.RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs=options,
                heartbeat_interval=BEAT,
                grace_period=SILENCE,
            )
    except (ImportError, ArgumentError) as error:
        why = _first_line(error.__cause__ or error)
        raise ConfigError(f"storage={shown(storage)}: its driver is not installed: {why}") from None
    except (SQLAlchemyError, OSError) as error:
        raise StorageError(f"storage={shown(storage)} cannot be opened: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


@contextlib.contextmanager
def failing(folder: Path, storage: str | None) -> Iterator[None]:
    """Say in one line what is wrong with a study's storage.

    Args:
        folder: of the study.
        storage: the database, if it is kept in one.

    Raises:
        StorageError: it cannot be read or written.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        why = _first_line(error.__cause__ or error)
        raise StorageError(f"storage={shown(storage)}: {why}") from error
    except json.JSONDecodeError as error:
        raise StorageError(f"{folder / 'journal.log'} is damaged: {error}") from error


def describe(tuning: Tuning, about: dict[str, Any]) -> None:
    """Write what a study is about and where its trials are kept into ``study.json``, for whoever looks at it."""
    content = {"study": tuning.name, "storage": shown(tuning.storage), "trials": tuning.trials, **about}
    write_text(tuning.folder / "study.json", json.dumps(content, indent=1) + "\n")


def load_study(folder: Path, storage: str | None = None) -> tuple[optuna.Study, dict[str, Any]]:
    """Open a study to look at it.

    Args:
        folder: with its ``study.json``.
        storage: the database, where that file is not here or its address lacks a password.

    Returns:
        The study and what it is about.

    Raises:
        ConfigError: there is none.
        StorageError: it cannot be read.
    """
    try:
        kept = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        kept = {"study": folder.name, "storage": storage}
    except ValueError as error:
        raise StorageError(f"{folder / 'study.json'} is damaged: {error}") from None
    storage = storage or kept["storage"]
    if storage is None and not (folder / "journal.log").exists():
        raise ConfigError(f"there is no {folder / 'journal.log'}")
    try:
        with quiet():
            study = optuna.load_study(study_name=kept["study"], storage=open_storage(folder, storage))
    except KeyError:
        raise ConfigError(f"there is no study {kept['study']} in {shown(storage) or folder}") from None
    return study, {"trials": len(tally(study).trials), **study.user_attrs.get("identity", {}), **kept}


# --- workers ----------------------------------------------------------------------------------------------------------


class Worker:
    """What others see of this process: alive as long as it holds a file's lock.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.path = folder / "workers" / self.name
        self._lock = FileLock(self.path)

    def __enter__(self) -> Worker:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise StorageError(f"{self.path.parent} cannot be written to: {error.strerror or error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self.path.unlink(missing_ok=True)


def _dead(trial: FrozenTrial, folder: Path, alone: bool) -> bool:
    """Whether a running trial's worker is known to be gone.

    Args:
        trial: the trial.
        folder: of the study.
        alone: all workers hold their locks in this folder; otherwise heartbeats tell of those that do not.
    """
    name = trial.user_attrs.get(WORKER)
    if name is None:
        age = datetime.datetime.now() - (trial.datetime_start or datetime.datetime.now())
        return age.total_seconds() > _NAMELESS
    path = folder / "workers" / name
    if not path.exists():
        return alone
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return False
    lock.release()
    path.unlink(missing_ok=True)
    return True


# --- trials -----------------------------------------------------------------------------------------------------------


def root(trial: FrozenTrial) -> int:
    """Return the number of the trial that this one repeats: its own where it repeats none."""
    return trial.system_attrs.get(_ROOT, trial.number)


def reason(trial: FrozenTrial) -> str | None:
    """Return why a trial failed for good; None where it did not, or is given out again."""
    if trial.state != TrialState.FAIL:
        return None
    outcome = trial.user_attrs.get(OUTCOME) or {}
    if "reason" in outcome:
        return outcome["reason"]
    if _attempts(trial) >= ATTEMPTS:
        return f"its process was killed {ATTEMPTS} times (out of memory?)"
    return None


def _attempts(trial: FrozenTrial) -> int:
    """Return how often a trial's process was killed, this time included."""
    return trial.user_attrs.get(_ATTEMPTS, 0) + (not trial.user_attrs.get(_INTERRUPTED, False))


@dataclass
class Tally:
    """What has become of a study's trials. A trial that was given out again counts once, as what it is now."""

    trials: list[FrozenTrial]
    """By their ordinals: the first is the shipped configuration."""

    def of(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in these states."""
        return [trial for trial in self.trials if trial.state in states]

    @property
    def failed(self) -> list[FrozenTrial]:
        """Those that failed for good."""
        return [trial for trial in self.trials if reason(trial)]

    @property
    def finished(self) -> int:
        """How many have ended: completed, pruned or failed."""
        return len(self.of(TrialState.COMPLETE, TrialState.PRUNED)) + len(self.failed)


def tally(study: optuna.Study) -> Tally:
    """Count a study's trials."""
    newest: dict[int, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        if not trial.user_attrs.get(SURPLUS):
            before = newest.get(root(trial))
            if before is None or before.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                newest[root(trial)] = trial
    return Tally([newest[number] for number in sorted(newest)])


def ordinal(study: optuna.Study, number: int) -> int:
    """Return which trial of the study this is, from 0: repetitions and surplus ones do not count."""
    trials = study.get_trials(deepcopy=False)
    mine = next(root(trial) for trial in trials if trial.number == number)
    return sum(before < mine for before in {root(trial) for trial in trials if not trial.user_attrs.get(SURPLUS)})


def interrupt(trial: optuna.Trial) -> None:
    """Note that a trial did not end by itself, so that it is given out again as if nothing had been."""
    trial.set_user_attr(_INTERRUPTED, True)


def reclaim(study: optuna.Study, folder: Path) -> None:
    """Give out again what was interrupted, and what killed workers held."""
    with quiet(), FileLock(folder / "lock"):
        optuna.storages.fail_stale_trials(study)
        alone = isinstance(study._storage, optuna.storages.JournalStorage)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _dead(trial, folder, alone):
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        trials = study.get_trials(deepcopy=False)
        repeated = {number for trial in trials for number in trial.system_attrs.get(_HISTORY, [])}
        for trial in trials:
            again = trial.state == TrialState.FAIL and not trial.user_attrs.get(SURPLUS) and reason(trial) is None
            if again and trial.number not in repeated:
                _give_out_again(study, trial)


def _give_out_again(study: optuna.Study, trial: FrozenTrial) -> None:
    attributes: dict[str, Any] = {
        **trial.system_attrs,
        _ROOT: root(trial),
        _HISTORY: [*trial.system_attrs.get(_HISTORY, []), trial.number],
    }
    waiting = optuna.create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={_ATTEMPTS: _attempts(trial)},
        system_attrs=attributes,
    )
    study.add_trial(waiting)

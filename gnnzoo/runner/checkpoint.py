"""Full training state on disk, and clean stops: what makes a resumed run bit-equal to an undisturbed one."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from gnnzoo.atomic import save_tensors

__all__ = ["FORMAT", "Checkpoint", "graceful_stop", "request_stop", "stop_requested"]

FORMAT = 1


class Checkpoint:
    """The state of one cell (configuration × split × seed) in a folder of its own.

    Args:
        folder: is made when something is first saved.
        every: seconds between saves; 0 saves every epoch.
        keep: also save a finished training, so that it is not done again when what follows it is interrupted.
    """

    def __init__(self, folder: Path, every: float = 10.0, keep: bool = False) -> None:
        self.folder, self.every, self.keep = folder, every, keep
        self._file = folder / "checkpoint.pt"
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether enough time has passed since the last save."""
        return time.monotonic() - self._last >= self.every

    def save(self, state: dict[str, Any]) -> None:
        """Write the state at once: the old one stays whole until the new one is safely on disk."""
        save_tensors(self._file, {"format": FORMAT, **state})
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none that can be used (then the cell starts anew)."""
        try:
            state = torch.load(self._file, weights_only=True)
        except FileNotFoundError:
            return None
        except Exception:
            # written at once, so damage comes from outside; the epochs since the start are lost, nothing else
            warnings.warn(f"{self._file} is damaged and set aside: the cell starts anew", stacklevel=2)
            self._file.rename(self._file.with_suffix(".damaged"))
            return None
        return state if isinstance(state, dict) and state.get("format") == FORMAT else None

    def nested(self, name: str) -> Checkpoint:
        """Return the checkpoint of a run inside this one (a teacher)."""
        return Checkpoint(self.folder / name, self.every, keep=True)

    def discard(self) -> None:
        """Remove the folder, once its result is recorded."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


_stop = threading.Event()


def request_stop() -> None:
    """Do what the first Ctrl-C does."""
    _stop.set()


def stop_requested() -> bool:
    """Whether Ctrl-C or SIGTERM came; asked at the end of every epoch."""
    return _stop.is_set()


@contextlib.contextmanager
def graceful_stop() -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM) finish the epoch and save; the second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if _stop.is_set():
            raise KeyboardInterrupt
        _stop.set()

    _stop.clear()
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop.clear()

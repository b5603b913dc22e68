"""Files that are either the old one or the new one, never half of both, also when the machine stops in between."""

from __future__ import annotations

import contextlib
import glob
import io
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gnnzoo.errors import StorageError

__all__ = ["replacing", "save_tensors", "write_bytes", "write_text"]


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file at once: to a temporary neighbour, to the disk, then renamed over ``path``.

    Missing folders are made. A file that existed keeps its permissions. What fails inside leaves ``path`` untouched.

    Raises:
        StorageError: the disk is full, the folder is read-only, ...; what stood at ``path`` is untouched.
    """
    target = Path(os.path.realpath(path))  # a link stays a link: the file it points at is replaced
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                if target.exists():
                    os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def _sweep(target: Path) -> None:
    """Remove what writers of this file left that were killed a day ago or earlier."""
    for left in target.parent.glob(f".{glob.escape(target.name[:100])}.*.part"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - 86_400:
                left.unlink()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file at once; see :func:`replacing`."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write a UTF-8 text file at once; see :func:`write_bytes`."""
    write_bytes(path, content.encode("utf-8"))


def save_tensors(path: str | os.PathLike[str], content: Any) -> None:
    """Write what ``torch.load(path, weights_only=True)`` reads, at once; see :func:`replacing`."""
    import torch

    buffer = io.BytesIO()  # torch reports a full disk as a RuntimeError
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. A file system that refuses to sync a folder has written the file all the same."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

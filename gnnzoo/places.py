"""Where files are looked for; without torch, so that lists of datasets appear at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gnnzoo.cards import DatasetCard
from gnnzoo.errors import DataError

__all__ = ["cache_dir", "data_roots", "find", "missing"]


def cache_dir() -> Path:
    """Return the user's cache: ``$GNNZOO_CACHE``, else ``~/.cache/gnnzoo``."""
    return Path(os.environ.get("GNNZOO_CACHE") or "~/.cache/gnnzoo").expanduser()


def data_roots(root: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the folders that are searched for raw files, best first: ``root``, ``$GNNZOO_DATA``, the user's cache.

    Raises:
        DataError: ``root`` or ``$GNNZOO_DATA`` is not a folder.
    """
    named = []
    for said, folder in (("root", root), ("GNNZOO_DATA", os.environ.get("GNNZOO_DATA"))):
        if folder:
            named.append(Path(folder).expanduser())
            if not named[-1].is_dir():
                raise DataError(f"{said}={os.fspath(folder)} is not a folder")
    return [*named, cache_dir() / "raw"]


def find(card: DatasetCard, name: str, roots: Iterable[Path]) -> Path | None:
    """Return where a raw file of a card is, itself or compressed; None where it is nowhere."""
    for root in roots:
        for candidate in (root / card.root / name, root / card.root / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None


def missing(card: DatasetCard, roots: Iterable[Path]) -> list[str]:
    """Return the raw files of a card that are nowhere."""
    roots = list(roots)
    return [name for name in card.files if find(card, name, roots) is None]

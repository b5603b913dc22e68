"""Raw files: found, checked, and laid out for the PyG class that parses them; the data root is never written to."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from http.client import HTTPException
from pathlib import Path
from typing import Any

from gnnzoo.atomic import write_bytes
from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.cache import cache_dir
from gnnzoo.errors import DataError
from gnnzoo.registry import DATASETS

__all__ = ["RawFiles", "data_roots"]

_CHUNK = 1 << 20


def data_roots(root: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the folders that are searched, best first: ``root``, ``$GNNZOO_DATA``, the user's cache.

    Raises:
        DataError: ``root`` is not a folder.
    """
    if root is not None and not Path(root).expanduser().is_dir():
        raise DataError(f"root={os.fspath(root)} is not a folder")
    named = [Path(folder).expanduser() for folder in (root, os.environ.get("GNNZOO_DATA")) if folder]
    return [*named, cache_dir() / "raw"]


def _digest(source: Path, compressed: bool, target: Path | None = None) -> str:
    """Return the sha256 of a file's (uncompressed) content, writing that content to ``target`` on the way.

    The bytes that were checked are the bytes that are used, whatever happens to the source meanwhile.
    """
    sha = hashlib.sha256()
    with gzip.open(source) if compressed else open(source, "rb") as content, open(target or os.devnull, "wb") as out:
        while chunk := content.read(_CHUNK):
            sha.update(chunk)
            out.write(chunk)
    return sha.hexdigest()


class RawFiles:
    """The raw files of one dataset.

    Args:
        card: names the files (relative to ``card.root``) and their checksums.
        root: a folder to search before ``$GNNZOO_DATA`` and the user's cache.
    """

    def __init__(self, card: DatasetCard, root: str | os.PathLike[str] | None = None) -> None:
        self.card = card
        self.roots = data_roots(root) if card.files else []
        self.used: list[str] = []

    def find(self, name: str) -> Path | None:
        """Return where a file is, itself or compressed; None where it is nowhere."""
        for root in self.roots:
            for candidate in (root / self.card.root / name, root / self.card.root / f"{name}.gz"):
                if candidate.is_file():
                    return candidate
        return None

    def check(self, names: Iterable[str]) -> list[str]:
        """Check the named files that are there, and return the names of those that are not.

        Raises:
            DataError: a file is damaged.
        """
        missing = []
        for name in names:
            if (source := self.find(name)) is None:
                missing.append(name)
            else:
                self._checked(name, source)
        return missing

    @contextmanager
    def layout(self, places: Mapping[str, str], upstream: type, **attributes: Any) -> Iterator[Path]:
        """Lay files out in a private folder, every one checked, and remove the folder afterwards.

        Args:
            places: for each file of the card that is needed, where in the folder the PyG class looks for it.
            upstream: that class; its ``download`` fetches what is missing into the user's cache.
            **attributes: what ``download`` reads of the instance, such as ``name``.

        Raises:
            DataError: a file is damaged, or missing and not to be had.
        """
        self.used = sorted(places)
        missing = [name for name in places if self.find(name) is None]
        if missing:
            self._download(missing, places, upstream, attributes)
        with tempfile.TemporaryDirectory(prefix="gnnzoo-") as folder:
            for name, place in places.items():
                target = Path(folder, place)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = self.find(name)
                if source is None:
                    raise self._absent([name], upstream, "it disappeared")
                self._checked(name, source, target)
            with redirect_stderr(io.StringIO()):  # PyG reports its steps there
                yield Path(folder)

    def _checked(self, name: str, source: Path, target: Path | None = None, called: str = "") -> None:
        expected = self.card.files[name]
        try:
            found = _digest(source, source.name != Path(name).name, target)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            found = f"a broken gzip file ({error})"
        except OSError as error:
            raise DataError(f"{self.card.name}: cannot read and copy {source}: {error.strerror or error}") from error
        if found != expected:
            raise DataError(
                f"{self.card.name}: {called or source} is damaged: expected sha256 {expected}, found {found}"
            )

    def _download(
        self, missing: list[str], places: Mapping[str, str], upstream: Any, attributes: dict[str, Any]
    ) -> None:
        """Let the PyG class download into a private folder; keep what has the right checksum."""
        if (reason := _unreachable(upstream.url)) is not None:
            raise self._absent(missing, upstream, reason)
        with tempfile.TemporaryDirectory(prefix="gnnzoo-") as folder:
            # without the constructor, which would go on to parse (and unpickle) files that nobody has checked
            dataset = upstream.__new__(upstream)
            vars(dataset).update(root=folder, **attributes)
            os.makedirs(dataset.raw_dir, exist_ok=True)
            try:
                dataset.download()
            except Exception as error:  # whatever a download library raises, the user needs one line
                raise self._absent(missing, upstream, f"{type(error).__name__}: {error}") from error
            for name in missing:
                source = Path(folder, places[name])
                if not source.is_file():
                    raise self._absent([name], upstream, "the download does not contain it")
                self._checked(name, source, called=f"{name} as downloaded from {upstream.url}")
                write_bytes(self.roots[-1] / self.card.root / name, source.read_bytes())

    def _absent(self, missing: list[str], upstream: Any, reason: str) -> DataError:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        embedded = ", ".join(name for name in DATASETS.names() if DATASETS.card(name).embedded)
        return DataError(
            f"{self.card.name}: {missing[0]}{more} is missing and cannot be downloaded from {upstream.url} "
            f"({' '.join(str(reason).split())}): put it into {self.roots[0] / self.card.root}, "
            f"or use a dataset that needs no files: {embedded}"
        )


def _unreachable(url: str, seconds: float = 5) -> str | None:
    """Return why a server cannot be reached, quickly; None where it answers, be it with an error."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, HTTPException) as error:
        return str(getattr(error, "reason", error))
    return None

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

from torch_geometric.data import download_url

from gnnzoo.atomic import write_bytes
from gnnzoo.cards import DatasetCard
from gnnzoo.errors import DataError
from gnnzoo.places import data_roots, find
from gnnzoo.registry import DATASETS

__all__ = ["RawFiles"]

_CHUNK = 1 << 20


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

    Attributes:
        used: the sha256 of every file that was laid out, by name.
        unverified: whether a file came by whose checksum the card does not know.
    """

    def __init__(self, card: DatasetCard, root: str | os.PathLike[str] | None = None) -> None:
        self.card = card
        self.roots = data_roots(root) if card.files else []
        self.used: dict[str, str] = {}
        self.unverified = False

    def find(self, name: str) -> Path | None:
        """Return where a file is, itself or compressed; None where it is nowhere."""
        return find(self.card, name, self.roots)

    def check(self, names: Iterable[str]) -> dict[str, str]:
        """Check the named files that are there, and return their checksums.

        Raises:
            DataError: a file is damaged.
        """
        found = {name: source for name in names if (source := self.find(name)) is not None}
        return {name: self._checked(name, source) for name, source in found.items()}

    @contextmanager
    def layout(
        self, places: Mapping[str, str] | Iterable[str], upstream: type | None = None, **attributes: Any
    ) -> Iterator[Path]:
        """Lay files out in a private folder, every one checked, and remove the folder afterwards.

        Args:
            places: for each file of the card that is needed, where in the folder its reader looks for it; a list of
                files keeps their names.
            upstream: the class of PyG or OGB whose ``download`` fetches what is missing into the user's cache; None:
                the files are fetched one by one from the card's ``download`` address.
            **attributes: what ``download`` reads of the instance, such as ``name``.

        Raises:
            DataError: a file is damaged, or missing and not to be had.
        """
        if not isinstance(places, Mapping) or places is self.card.files:
            places = {name: name for name in places}
        missing = [name for name in places if self.find(name) is None]
        if missing:
            if upstream is None and not self.card.download:
                raise self._absent(missing, None, f"get it from {self.card.url}")
            if upstream is None:
                upstream, attributes = _OneByOne, {"url": self.card.download, "files": missing}
                self._download(missing, {name: f"raw/{name}" for name in missing}, upstream, attributes)
            else:
                self._download(missing, places, upstream, attributes)
        with tempfile.TemporaryDirectory(prefix="gnnzoo-") as folder:
            for name, place in places.items():
                target = Path(folder, place)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = self.find(name)
                if source is None:
                    raise self._absent([name], None, "it disappeared")
                self.used[name] = self._checked(name, source, target)
            with redirect_stderr(io.StringIO()):  # PyG reports its steps there
                yield Path(folder)

    def _checked(self, name: str, source: Path, target: Path | None = None, called: str = "") -> str:
        expected = self.card.files[name]
        try:
            found = _digest(source, source.name != Path(name).name, target)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            found = f"a broken gzip file ({error})"
        except OSError as error:
            raise DataError(f"{self.card.name}: cannot read and copy {source}: {error.strerror or error}") from error
        if found != expected:
            if found.startswith("a broken") or not (expected is None or self.card.was_rebuilt(name)):
                raise DataError(
                    f"{self.card.name}: {called or source} is damaged: expected sha256 {expected}, found {found}"
                )
            self.unverified = True
        return found

    def _download(
        self, missing: list[str], places: Mapping[str, str], upstream: Any, attributes: dict[str, Any]
    ) -> None:
        """Let the PyG class download into a private folder; keep what has the right checksum."""
        url = attributes.get("url") or upstream.url
        if (reason := _unreachable(url)) is not None:
            raise self._absent(missing, url, reason)
        with tempfile.TemporaryDirectory(prefix="gnnzoo-") as folder:
            # without the constructor, which would go on to parse (and unpickle) files that nobody has checked
            dataset = upstream.__new__(upstream)
            vars(dataset).update(root=folder, **attributes)
            os.makedirs(dataset.raw_dir, exist_ok=True)
            try:
                dataset.download()
            except Exception as error:  # whatever a download library raises, the user needs one line
                raise self._absent(missing, url, f"{type(error).__name__}: {error}") from error
            for name in missing:
                source = Path(folder, places[name])
                if not source.is_file():
                    raise self._absent([name], url, "the download does not contain it")
                self._checked(name, source, called=f"{name} as downloaded from {url}")
                write_bytes(self.roots[-1] / self.card.root / name, source.read_bytes())

    def _absent(self, missing: list[str], url: str | None, reason: str) -> DataError:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        embedded = [n for n in DATASETS.names() if (card := DATASETS.card(n)).embedded and card.task == self.card.task]
        instead = f", or use a dataset that needs no files: {', '.join(embedded)}" if embedded else ""
        return DataError(
            f"{self.card.name}: {missing[0]}{more} is missing and cannot be downloaded{f' from {url}' if url else ''} "
            f"({' '.join(str(reason).split())}): put it into {self.roots[0] / self.card.root}{instead}"
        )


class _OneByOne:
    """Files that lie below one address, fetched one by one; shaped like a PyG dataset."""

    root: str
    url: str
    files: list[str]

    @property
    def raw_dir(self) -> str:
        return os.path.join(self.root, "raw")

    def download(self) -> None:
        for name in self.files:
            folder = os.path.dirname(os.path.join(self.raw_dir, name))
            download_url(f"{self.url.rstrip('/')}/{name}", folder, log=False)


def _unreachable(url: str, seconds: float = 5) -> str | None:
    """Return why a server cannot be reached, quickly; None where it answers, be it with an error."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, HTTPException) as error:
        return str(getattr(error, "reason", error))
    return None

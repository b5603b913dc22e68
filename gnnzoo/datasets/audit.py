"""A dataset held against its card: files, counts, splits, labels, identity, and every health note recomputed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, label_store
from gnnzoo.datasets.health import agrees, edge_homophily, measure
from gnnzoo.datasets.load import build_dataset
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError

__all__ = ["Finding", "audit"]


@dataclass(frozen=True)
class Finding:
    """One thing that a card says, and what was found.

    Args:
        where: the dataset, or ``dataset@protocol``.
        what: what was looked at.
        expected: the card's word.
        found: what is there.
        ok: whether they agree; None: the card does not say.
    """

    where: str
    what: str
    expected: Any
    found: Any
    ok: bool | None


def audit(card: DatasetCard, root: str | os.PathLike[str] | None = None) -> Iterator[Finding]:
    """Read a dataset anew, whatever the cache holds, and yield one finding after the other.

    Args:
        card: what to look at.
        root: a folder of raw files to search before ``$GNNZOO_DATA`` and the user's cache.

    Raises:
        DataError: a raw file is missing.
    """
    files = RawFiles(card, root)
    if card.files:
        damaged: list[str] = []
        shas: dict[str, str] = {}
        for name in card.files:
            try:
                shas |= files.check([name])
            except DataError as error:
                if "damaged" not in str(error):
                    raise
                damaged.append(str(error).removeprefix(f"{card.name}: "))
                continue
            if name not in shas:
                raise DataError(f"{card.name}: {name} is in none of {', '.join(map(str, files.roots))}")
        count = sum(sha is not None for sha in card.files.values())
        equal = sum(card.files[name] == sha for name, sha in shas.items())
        found = "; ".join(damaged) or f"{equal} equal"
        if equal < count:
            found += f", {count - equal} of other bytes: the data digest tells"
        yield Finding(card.name, f"sha256 of {len(card.files)} files", f"{count} known", found, not damaged)
        if damaged:
            return
    for protocol in card.protocols:
        yield from _protocol(card, protocol, root)


def _protocol(card: DatasetCard, protocol: str, root: str | os.PathLike[str] | None) -> Iterator[Finding]:
    files = RawFiles(card, root)
    where = f"{card.name}@{protocol}"
    says = card.protocols[protocol]
    try:
        bundle = build_dataset(card, protocol, files)
    except DataError as error:
        yield Finding(where, "loads", "splits disjoint, edges and labels in range", str(error), False)
        return
    found = f"{len(bundle.splits)} splits disjoint, edges and labels in range"
    if bundle.splits:
        yield Finding(where, "split sizes, seeds", says.summary, _splits(bundle), None)
    yield Finding(where, "loads", f"{says.splits} splits disjoint, edges and labels in range", found, True)
    yield from _counts(card, bundle, where)
    for what, stored, now in (("data digest", says.digest, bundle.digest), ("splits hash", says.hash, bundle.hash)):
        yield Finding(where, what, stored or "-", now, stored == now if stored else None)
    default = protocol == card.default_protocol
    if card.homophily is not None and default and (homophily := edge_homophily(bundle)) is not None:
        ok = agrees(card.homophily, homophily, 6e-4)
        yield Finding(where, "homophily of edges", card.homophily, round(homophily, 4), ok)
    for claim in card.health:
        if claim.measure and (protocol in claim.protocols or (default and not claim.protocols)):
            value = measure(claim, bundle, files)
            yield Finding(where, claim.text, claim.value, value, agrees(claim.value, value, claim.tolerance))


def _splits(bundle: Bundle) -> str:
    """Return sizes (train/val/test), how many rows are in some part, and where the splits come from, in words."""
    sizes = {f"{len(s.train)}/{len(s.val)}/{len(s.test)}" for s in bundle.splits}
    used = [len(torch.cat([s.train, s.val, s.test, *s.extra.values()]).unique()) for s in bundle.splits]
    rows = len(bundle.graphs) if isinstance(bundle.data, list) else len(label_store(bundle.data).y)
    span = " to ".join(map(str, sorted({min(used), max(used)})))
    seeds = [split.seed for split in bundle.splits]
    drawn = "stored" if None in seeds else f"seeds {min(seeds)}-{max(seeds)}"  # type: ignore[type-var]
    return f"{', '.join(sorted(sizes)[:3])}{', ...' if len(sizes) > 3 else ''}; {span} of {rows} rows; {drawn}"


def _counts(card: DatasetCard, bundle: Bundle, where: str) -> Iterator[Finding]:
    expected = {key: value for key, value in card.counts.model_dump().items() if value is not None}
    found = bundle.card.counts.model_dump()
    if expected["graphs"] == 1:
        del expected["graphs"]
    for key, value in expected.items():
        yield Finding(where, key.replace("_", " "), value, found[key], found[key] == value)

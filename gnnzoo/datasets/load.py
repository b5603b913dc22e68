"""One door to all benchmarks."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnzoo.cards import Counts, DatasetCard
from gnnzoo.datasets import cache
from gnnzoo.datasets.bundle import Bundle, Split, digest, label_store
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import ConfigError, DataError, GnnzooError, UnknownNameError
from gnnzoo.places import cache_dir
from gnnzoo.registry import DATASETS, partition
from gnnzoo.signature import validate

__all__ = ["SKIP", "build_dataset", "count", "load_dataset"]


def load_dataset(
    name: Any, protocol: str | None = None, root: str | os.PathLike[str] | None = None, **params: Any
) -> Bundle:
    """Load a benchmark by name, or own data.

    Raw files are checked against their checksums and the result against the card's counts. What was parsed once comes
    from the user's cache afterwards.

    Args:
        name: a dataset or one of its aliases, such as ``"texas"``, or ``dataset@protocol``; or own data: a path, a PyG
            data object, a list of graphs (see :mod:`gnnzoo.datasets.own`).
        protocol: splits, metric and selection rule, such as ``"geom-gcn"``; default: the card's.
        root: a folder of raw files to search before ``$GNNZOO_DATA`` and the user's cache.
        **params: knobs of a generated dataset, such as ``homophily`` of ``csbm``.

    Raises:
        UnknownNameError: no such dataset or protocol.
        ConfigError: an unknown or impossible knob, or two protocols.
        DataError: files are missing or damaged, or the data is not what the card says.
    """
    if not isinstance(name, str):
        from gnnzoo.datasets.own import name_of  # which counts as this module does

        name = name_of(name)
        if not isinstance(name, str):
            raise ConfigError(f"one dataset at a time: a name, a path or data, not {name!r}")
    if not isinstance(protocol, str | None) or not isinstance(root, str | os.PathLike | None):
        raise ConfigError(f"protocol={protocol!r}, root={root!r}: a name and a folder are expected")
    name, at, in_name = partition(name)
    if at and protocol not in (None, in_name):
        raise ConfigError(f"{name}@{in_name} and protocol={protocol} disagree")
    card = DATASETS.card(name)
    protocol = in_name if at else card.default_protocol if protocol is None else protocol
    files = RawFiles(card, root)

    def build() -> dict[str, Any]:
        bundle = build_dataset(card, protocol, files, **params)
        if params == defaults:
            _check_counts(card, bundle.card.counts, files)
        splits = [(split.train, split.val, split.test, split.extra, split.seed) for split in bundle.splits]
        changed = bundle.card.model_dump(include=set(_MEASURED))
        return {"data": bundle.data, "splits": splits, "digest": bundle.digest, "files": files.used, "card": changed}

    if protocol not in card.protocols:
        raise UnknownNameError("protocol", protocol, card.protocols, where=card.name)
    loader = DATASETS.get(card)
    defaults, params = (validate(loader, given, "dataset", skip=SKIP) for given in ({}, params))
    if card.embedded and (card.counts.graphs == 1 or card.family == "own"):
        built = build()  # one graph is made as fast as read, own data are in memory
    else:
        key = cache.key(
            *(card.loader, _code(loader.__module__), card.root, card.files, card.counts.model_dump(), protocol, params)
        )
        path = cache_dir() / "processed" / f"{card.name}-{key}.npz"
        built = cache.fetch(path, build)
        # a damaged file is named even when the cache could do without it; one without a checksum may have been changed
        if not files.used and any(built["files"][name] != sha for name, sha in files.check(built["files"]).items()):
            path.unlink(missing_ok=True)
            built = cache.fetch(path, build)
    splits = [Split(i, *parts, extra=extra, seed=seed) for i, (*parts, extra, seed) in enumerate(built["splits"])]
    measured = DatasetCard.model_validate(card.model_dump(by_alias=True) | built["card"])
    bundle = Bundle(measured, protocol, built["data"], splits, built["digest"], params)
    if params == defaults:
        if difference := _difference(card.counts, measured.counts):
            # of files that the card's authors have not seen, and whose counts they may have wrong
            warnings.warn(f"{card.name}: {difference}; results may not compare with others", stacklevel=2)
        else:
            bundle.card = card
        _recognize(bundle, built["files"])
    return bundle


_SOURCES = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))).digest()
"""Of this package's modules, taken when they are imported: what runs is that, whatever is edited later."""


@lru_cache(maxsize=256)
def _code(module: str) -> str:
    """Return a hash of a loader's module and of all of this package's: what they make may change with them."""
    return hashlib.sha256(_SOURCES + Path(sys.modules[module].__file__ or "").read_bytes()).hexdigest()


SKIP = ("card", "protocol", "files")
"""Arguments of a loader that are no knobs."""

_MEASURED = ("counts", "homophily", "num_outputs")
"""What is not the card's where a generated dataset's knobs were turned."""


def build_dataset(card: DatasetCard, protocol: str, files: RawFiles, **params: Any) -> Bundle:
    """Read or generate a dataset and check it, without the cache; its card has the counts that were found.

    Args:
        card: what to load.
        protocol: one of the card's.
        files: the card's raw files.
        **params: knobs of a generated dataset.

    Raises:
        DataError: files are missing or damaged, or splits, edges or labels are not what they must be.
    """
    loader = DATASETS.get(card)
    params = validate(loader, params, "dataset", skip=SKIP)
    try:
        data, splits = loader(card, protocol, files, **params)
    except GnnzooError:
        raise
    except MemoryError as error:
        knobs = "".join(f" dataset.{key}={value}" for key, value in params.items())
        raise ConfigError(f"{card.name}{knobs} does not fit into memory") from error
    except Exception as error:  # files that nobody has checked can make a reader fail in any way
        if not files.unverified:
            raise
        names = ", ".join(name for name, sha in files.used.items() if sha != card.files[name])
        raise DataError(f"{card.name}: cannot make sense of {names} ({type(error).__name__}: {error})") from error
    bundle = Bundle(card, protocol, data, splits, digest(data), params)
    changes: dict[str, Any] = {"counts": count(bundle.graphs)}
    if params != validate(loader, {}, "dataset", skip=SKIP):
        changes["homophily"] = None
        if card.target == "multiclass":
            labels: list[Tensor] = [label_store(graph).y for graph in bundle.graphs]
            changes["num_outputs"] = int(torch.cat(labels).max()) + 1
    bundle.card = card.model_copy(update=changes)
    bundle.check()
    return bundle


def count(graphs: list[Any]) -> Counts:
    """Return the sizes of graphs as cards state them."""
    first = graphs[0]
    hypergraphs = [graph for graph in graphs if "hyperedge_index" in graph]
    hetero = isinstance(first, HeteroData)
    return Counts(
        graphs=len(graphs),
        nodes=sum(graph.num_nodes for graph in graphs),
        edges=sum(graph.num_edges for graph in graphs if "hyperedge_index" not in graph),
        features=label_store(first).num_features,
        hyperedges=sum(graph.num_hyperedges for graph in hypergraphs) if hypergraphs else None,
        incidences=sum(graph.hyperedge_index.shape[1] for graph in hypergraphs) if hypergraphs else None,
        node_types={kind: first[kind].num_nodes for kind in first.node_types} if hetero else None,
        edge_types={_words(kind): first[kind].num_edges for kind in first.edge_types} if hetero else None,
    )


def _words(kind: tuple[str, str, str]) -> str:
    return " ".join(kind)


_SELF_CHECKED = (".gz", ".npz", ".pt", ".zip")
"""Files whose readers notice that something is missing; text that was cut off still is text."""


def _check_counts(card: DatasetCard, found: Counts, files: RawFiles) -> None:
    """Refuse data of other sizes than the card's, unless nobody can say that the files are wrong.

    Raises:
        DataError: the card knows the files, or a text file that was rebuilt is another one here.
    """
    difference = _difference(card.counts, found)
    others = [name for name, sha in files.used.items() if card.files[name] != sha]
    if difference and not others:
        raise DataError(f"{card.name}: {difference}")
    for name in others:
        if difference and card.files[name] is not None and not name.endswith(_SELF_CHECKED):
            raise DataError(
                f"{card.name}: {name} is damaged or of another release: expected sha256 {card.files[name]}, found "
                f"{files.used[name]}, and {difference}"
            )


def _difference(expected: Counts, found: Counts) -> str:
    """Return what is not as the card says, or nothing."""
    for key, value in expected.model_dump().items():
        if value is not None and getattr(found, key) != value:
            return f"{getattr(found, key)} {key.replace('_', ' ')} loaded, the card says {value}"
    return ""


def _recognize(bundle: Bundle, used: dict[str, str]) -> None:
    """Say so where data or splits are not those that the card was written for, and which files may be why."""
    files = [
        f"{name}: expected sha256 {bundle.card.files[name]}, found {sha}"
        for name, sha in used.items()
        if bundle.card.files.get(name) not in (None, sha)
    ]
    why = "; ".join(files) or "made by another version of PyG or NumPy?"
    expected = bundle.card.protocols[bundle.protocol]
    for what, stored, found in (("data", expected.digest, bundle.digest), ("splits", expected.hash, bundle.hash)):
        if stored and stored != found:
            warnings.warn(
                f"{bundle.benchmark}: the {what} are not those of the card ({found} instead of {stored}), results may "
                f"not compare with others: {why}",
                stacklevel=3,
            )

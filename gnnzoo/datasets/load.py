"""One door to all benchmarks."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnzoo.cards import Counts, DatasetCard
from gnnzoo.datasets import cache
from gnnzoo.datasets import splits as splits_module
from gnnzoo.datasets.bundle import Bundle, Split, digest, label_store
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import ConfigError, DataError, UnknownNameError
from gnnzoo.registry import DATASETS
from gnnzoo.signature import validate

__all__ = ["load_dataset"]


def load_dataset(
    name: str, protocol: str | None = None, root: str | os.PathLike[str] | None = None, **params: Any
) -> Bundle:
    """Load a benchmark by name.

    Raw files are checked against their checksums and the result against the card's counts. What was parsed once comes
    from the user's cache afterwards.

    Args:
        name: a dataset or one of its aliases, such as ``"texas"``, or ``dataset@protocol``.
        protocol: splits, metric and selection rule, such as ``"geom-gcn"``; default: the card's.
        root: a folder of raw files to search before ``$GNNZOO_DATA`` and the user's cache.
        **params: knobs of a generated dataset, such as ``homophily`` of ``csbm``.

    Raises:
        UnknownNameError: no such dataset or protocol.
        ConfigError: an unknown or impossible knob, or two protocols.
        DataError: files are missing or damaged, or the data is not what the card says.
    """
    name, at, in_name = name.partition("@")
    if at and protocol not in (None, in_name):
        raise ConfigError(f"{name}@{in_name} and protocol={protocol} disagree")
    card = DATASETS.card(name)
    protocol = in_name if at else card.default_protocol if protocol is None else protocol
    if protocol not in card.protocols:
        raise UnknownNameError("protocol", protocol, card.protocols, where=card.name)
    loader = DATASETS.get(card.name)
    skip = ("card", "protocol", "files")
    defaults, params = (validate(loader, given, "dataset", skip=skip) for given in ({}, params))
    files = RawFiles(card, root)

    def build() -> dict[str, Any]:
        data, splits = loader(card, protocol, files, **params)
        bundle = Bundle(card, protocol, data, splits, digest(data), params)
        if params != defaults:
            bundle.card = _measured(card, bundle.graphs)
        bundle.check()
        parts = [(split.train, split.val, split.test, split.extra) for split in splits]
        counts = _counts(bundle.graphs).model_dump()
        return {"data": data, "splits": parts, "digest": bundle.digest, "files": files.used, "counts": counts}

    if card.embedded and card.counts.graphs == 1:
        built = build()  # one graph is made as fast as read
    else:
        modules = (sys.modules[loader.__module__], splits_module)
        sources = [Path(module.__file__ or "").read_bytes() for module in modules]
        code = hashlib.sha256(b"".join(sources)).hexdigest()
        key = cache.key(card.loader, code, card.root, card.files, protocol, params)
        path = cache.cache_dir() / "processed" / f"{card.name}-{key}.npz"
        built = cache.fetch(path, build)
        # a damaged file is named even when the cache could do without it; one without a checksum may have been changed
        if not files.used and any(built["files"][name] != sha for name, sha in files.check(built["files"]).items()):
            path.unlink(missing_ok=True)
            built = cache.fetch(path, build)
    splits = [Split(i, *parts, extra=extra) for i, (*parts, extra) in enumerate(built["splits"])]
    bundle = Bundle(card, protocol, built["data"], splits, built["digest"], params)
    counts = Counts(**built["counts"])
    if params == defaults:
        _compare(card, counts)
        _recognize(bundle)
    else:
        bundle.card = _measured(card, bundle.graphs)
    return bundle


def _counts(graphs: list[Any]) -> Counts:
    first = graphs[0]
    hypergraphs = [graph for graph in graphs if "hyperedge_index" in graph]
    hetero = isinstance(first, HeteroData)
    return Counts(
        graphs=len(graphs),
        nodes=sum(graph.num_nodes for graph in graphs),
        edges=sum(graph.num_edges for graph in graphs),
        features=label_store(first).num_features,
        hyperedges=sum(graph.num_hyperedges for graph in hypergraphs) if hypergraphs else None,
        incidences=sum(graph.hyperedge_index.shape[1] for graph in hypergraphs) if hypergraphs else None,
        node_types={kind: first[kind].num_nodes for kind in first.node_types} if hetero else None,
        edge_types={_words(kind): first[kind].num_edges for kind in first.edge_types} if hetero else None,
    )


def _words(kind: tuple[str, str, str]) -> str:
    return " ".join(kind)


def _compare(card: DatasetCard, counts: Counts) -> None:
    """Check the loaded data against the published counts."""
    for name, expected in card.counts.model_dump().items():
        found = getattr(counts, name)
        if expected is not None and found != expected:
            raise DataError(f"{card.name}: {found} {name.replace('_', ' ')} loaded, the card says {expected}")


def _recognize(bundle: Bundle) -> None:
    """Say so where data or splits are not those that the card was written for."""
    expected = bundle.card.protocols[bundle.protocol]
    for what, stored, found in (("data", expected.digest, bundle.digest), ("splits", expected.hash, bundle.hash)):
        if stored and stored != found:
            warnings.warn(
                f"{bundle.benchmark}: the {what} are not those of the card ({found} instead of {stored}): made by "
                f"another version of PyG or NumPy? Results may not compare with others",
                stacklevel=3,
            )


def _measured(card: DatasetCard, graphs: list[Any]) -> DatasetCard:
    """Return the card of a generated dataset whose knobs were turned."""
    changes: dict[str, Any] = {"counts": _counts(graphs), "homophily": None}
    if card.target == "multiclass":
        labels: list[Tensor] = [label_store(graph).y for graph in graphs]
        changes["num_outputs"] = int(torch.cat(labels).max()) + 1
    return card.model_copy(update=changes)

"""One door to all benchmarks."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from gnnzoo.cards import Counts, DatasetCard
from gnnzoo.datasets import cache
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
    params = validate(loader, params, "dataset", skip=skip)
    files = RawFiles(card, root)

    def build() -> dict[str, Any]:
        data, splits = loader(card, protocol, files, **params)
        parts = [(split.train, split.val, split.test) for split in splits]
        return {"data": data, "splits": parts, "digest": digest(data), "files": files.used}

    if card.embedded:
        built = build()
    else:
        key = cache.key(card.loader, card.root, card.files, protocol, params)
        built = cache.fetch(cache.cache_dir() / "processed" / f"{card.name}-{key}.npz", build)
        if not files.used:
            files.check(built["files"])  # a damaged file is named even when the cache could do without it
    splits = [Split(i, *parts) for i, parts in enumerate(built["splits"])]
    bundle = Bundle(card, protocol, built["data"], splits, built["digest"], params)
    if params == validate(loader, {}, "dataset", skip=skip):
        _compare(card, bundle.graphs)
    else:
        bundle.card = _measured(card, bundle.graphs)
    bundle.check()
    return bundle


def _counts(graphs: list[Any]) -> Counts:
    first = graphs[0]
    hyperedges = [graph.num_hyperedges for graph in graphs if "hyperedge_index" in graph]
    return Counts(
        graphs=len(graphs),
        nodes=sum(graph.num_nodes for graph in graphs),
        edges=sum(graph.num_edges for graph in graphs),
        features=label_store(first).num_features,
        hyperedges=sum(hyperedges) if hyperedges else None,
    )


def _compare(card: DatasetCard, graphs: list[Any]) -> None:
    """Check the loaded data against the published counts."""
    found = _counts(graphs)
    for name, expected in card.counts.model_dump().items():
        if expected is not None and getattr(found, name) != expected:
            raise DataError(f"{card.name}: {getattr(found, name)} {name} loaded, the card says {expected}")


def _measured(card: DatasetCard, graphs: list[Any]) -> DatasetCard:
    """Return the card of a generated dataset whose knobs were turned."""
    changes: dict[str, Any] = {"counts": _counts(graphs), "homophily": None}
    if card.target == "multiclass":
        labels: list[Tensor] = [label_store(graph).y for graph in graphs]
        changes["num_outputs"] = int(torch.cat(labels).max()) + 1
    return card.model_copy(update=changes)

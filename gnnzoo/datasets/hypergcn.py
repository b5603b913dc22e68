"""The hypergraphs of HyperGCN: papers that are cited together, or that share an author."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import pickles
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import some_per_class, uniform
from gnnzoo.errors import DataError

__all__ = ["load"]


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HypergraphData, list[Split]]:
    """Read a hypergraph; hyperedges are numbered as in the file, the nodes of each in ascending order.

    - ``random-50-25-25``: random, without regard to classes, as AllSet and ED-HNN draw.
    - ``random-20-100``: 20 training and 100 validation nodes of every class, as LightHGNN draws.
    - ``hypergcn``: the ten splits of the files; there is no validation part, so that val is test.
    - ``hypergcn-val``: the same, with a fifth of the test nodes, equally many of every class, for validation (split
      ``i`` draws them from seed ``i``), after UniGNN.

    Raises:
        DataError: files are not what they must be, or do not belong together.
    """
    fixed = protocol.startswith("hypergcn")
    wanted = [file for file in card.files if fixed or not file.startswith("splits/")]
    with files.layout(wanted) as folder:
        hypergraph, labels, features = (
            pickles.load(folder / f"{part}.pickle", encoding="latin1") for part in ("hypergraph", "labels", "features")
        )
        count = card.protocols[protocol].splits if fixed else 0
        stored = [pickles.load(folder / f"splits/{i + 1}.pickle", encoding="latin1") for i in range(count)]
    if not isinstance(hypergraph, dict) or not issparse(features):
        raise DataError(f"{card.name}: hypergraph.pickle must hold a dictionary, features.pickle a sparse matrix")
    y = np.asarray(labels, dtype=np.int64)
    x = np.asarray(features.toarray(), dtype=np.float32)
    if y.shape != x.shape[:1]:
        raise DataError(f"{card.name}: labels.pickle has {len(y)} nodes, features.pickle {len(x)}")
    data = HypergraphData(
        x=torch.from_numpy(x),
        hyperedge_index=torch.from_numpy(_incidences(hypergraph, len(y), card.name)),
        y=torch.from_numpy(y),
        num_hyperedges=len(hypergraph),
    )
    count = card.protocols[protocol].splits
    if protocol == "random-20-100":
        return data, some_per_class(data.y, count, train=20, val=100)
    if not fixed:
        return data, uniform(len(y), (0.5, 0.25), count)
    return data, [_fixed(i, parts, y, validate=protocol == "hypergcn-val") for i, parts in enumerate(stored)]


def _incidences(hypergraph: dict[Any, Any], num_nodes: int, name: str) -> np.ndarray:
    sizes = np.fromiter(map(len, hypergraph.values()), np.int64, len(hypergraph))
    nodes = np.fromiter(chain.from_iterable(hypergraph.values()), np.int64, sizes.sum())
    hyperedges = np.repeat(np.arange(len(sizes)), sizes)
    if (wrong := (nodes < 0) | (nodes >= num_nodes)).any():
        first = int(wrong.argmax())
        key = list(hypergraph)[hyperedges[first]]
        raise DataError(f"{name}: hypergraph.pickle: node {nodes[first]} of hyperedge {key!r} has no label")
    # co-citations are sets, whose order is that of a hash table
    return np.stack([nodes, hyperedges])[:, np.lexsort((nodes, hyperedges))]


def _fixed(index: int, parts: dict[str, Any], y: np.ndarray, validate: bool) -> Split:
    train, test = (np.asarray(parts[part], dtype=np.int64) for part in ("train", "test"))
    val = test
    if validate:
        rng = np.random.RandomState(index)
        each = int(0.2 * len(test) / len(np.unique(y)))
        val = np.concatenate([rng.permutation(test[y[test] == label])[:each] for label in np.unique(y)])
        test = np.setdiff1d(test, val)
    return Split(index, *map(torch.from_numpy, (train, val, test)), seed=index if validate else None)

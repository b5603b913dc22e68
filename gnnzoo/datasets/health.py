"""What ``health`` notes of cards measure: leaks, duplicates and oddities of a loaded benchmark, recomputed.

Every measure takes a bundle (loaded with the protocol that the note is about) and its raw files, and returns a number,
a string, or a list or mapping of them. A family's own measures stand beside its loader.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.utils import homophily, is_undirected

from gnnzoo.cards import Claim
from gnnzoo.datasets.bundle import Bundle, Split, label_store
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import ConfigError
from gnnzoo.registry import import_object

__all__ = ["agrees", "edge_homophily", "measure"]


def measure(claim: Claim, bundle: Bundle, files: RawFiles) -> Any:
    """Recompute what a note claims.

    Raises:
        ConfigError: the note names no measure that exists.
    """
    found: Callable[[Bundle, RawFiles], Any]
    if "." in claim.measure:
        found = import_object(claim.measure)
    elif claim.measure in _MEASURES:
        found = _MEASURES[claim.measure]
    else:
        raise ConfigError(f"{bundle.card.name}: health measure {claim.measure!r} does not exist")
    return found(bundle, files)


def agrees(expected: Any, found: Any, tolerance: float = 0.0) -> bool:
    """Whether a measured value is the claimed one; numbers inside lists and mappings count one by one."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(agrees(expected[k], found[k], tolerance) for k in expected)
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        return len(expected) == len(found) and all(
            agrees(e, f, tolerance) for e, f in zip(expected, found, strict=True)
        )
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return math.isclose(expected, found, rel_tol=0, abs_tol=tolerance)
    return expected == found


def edge_homophily(bundle: Bundle) -> float | None:
    """Return the fraction of edges within a class, as loaded; None where that means nothing."""
    data = bundle.data
    if isinstance(data, list | HeteroData) or bundle.card.task != "node" or bundle.card.structure != "graph":
        return None
    if bundle.card.target not in ("multiclass", "binary") or not data.num_edges:
        return None
    return float(homophily(data.edge_index, data.y.reshape(-1), method="edge"))


def _degrees(bundle: Bundle) -> list[Tensor]:
    """Return for every graph how many edges or incidences touch each node; self-loops do not count."""
    found = []
    for graph in bundle.graphs:
        if "hyperedge_index" in graph:
            ends = graph.hyperedge_index[0]
        else:
            source, target = graph.edge_index
            ends = graph.edge_index[:, source != target].flatten()
        found.append(torch.bincount(ends, minlength=graph.num_nodes))
    return found


def isolated_nodes(bundle: Bundle, files: RawFiles) -> int:
    """Nodes without a neighbour (self-loops aside), or in no hyperedge."""
    return sum(int((degree == 0).sum()) for degree in _degrees(bundle))


def graphs_with_isolated_nodes(bundle: Bundle, files: RawFiles) -> int:
    """Graphs that have at least one node without a neighbour."""
    return sum(bool((degree == 0).any()) for degree in _degrees(bundle))


def graphs_without_edges(bundle: Bundle, files: RawFiles) -> int:
    """Graphs whose ``edge_index`` is empty."""
    return sum(graph.num_edges == 0 for graph in bundle.graphs)


def self_loops(bundle: Bundle, files: RawFiles) -> int:
    """Edges from a node to itself."""
    return sum(int((graph.edge_index[0] == graph.edge_index[1]).sum()) for graph in bundle.graphs)


def no_outgoing_edge(bundle: Bundle, files: RawFiles) -> int:
    """Nodes that are the source of no edge."""
    return sum(
        int((torch.bincount(graph.edge_index[0], minlength=graph.num_nodes) == 0).sum()) for graph in bundle.graphs
    )


def directed(bundle: Bundle, files: RawFiles) -> bool:
    """Whether some edge lacks its reverse."""
    return not all(is_undirected(graph.edge_index, num_nodes=graph.num_nodes) for graph in bundle.graphs)


def duplicate_edges(bundle: Bundle, files: RawFiles) -> int:
    """Columns of ``edge_index`` that repeat another one."""
    return sum(graph.num_edges - torch.unique(graph.edge_index, dim=1).shape[1] for graph in bundle.graphs)


def duplicate_incidences(bundle: Bundle, files: RawFiles) -> int:
    """Columns of ``hyperedge_index`` that repeat another one."""
    data = bundle.graphs[0]
    return data.hyperedge_index.shape[1] - len(_incidences(data))


def duplicate_hyperedges(bundle: Bundle, files: RawFiles) -> int:
    """Hyperedges whose set of nodes another, earlier one has."""
    sets = _hyperedges(bundle)
    return len(sets) - len(set(sets))


def singleton_hyperedges(bundle: Bundle, files: RawFiles) -> int:
    """Hyperedges with exactly one node."""
    return sum(len(nodes) == 1 for nodes in _hyperedges(bundle))


def empty_hyperedges(bundle: Bundle, files: RawFiles) -> int:
    """Hyperedges without a node."""
    return sum(not nodes for nodes in _hyperedges(bundle))


def _incidences(data: Any) -> Tensor:
    """Return the distinct incidences as numbers, hyperedge by hyperedge: ``hyperedge * num_nodes + node``."""
    nodes, hyperedges = data.hyperedge_index
    return torch.unique(hyperedges * data.num_nodes + nodes)


def _hyperedges(bundle: Bundle) -> list[tuple[int, ...]]:
    """Return every hyperedge as the sorted tuple of its distinct nodes."""
    data = bundle.graphs[0]
    codes = _incidences(data).numpy()
    sizes = np.bincount(codes // data.num_nodes, minlength=data.num_hyperedges)
    return [tuple(part.tolist()) for part in np.split(codes % data.num_nodes, np.cumsum(sizes)[:-1])]


def _x(bundle: Bundle) -> Tensor:
    return label_store(bundle.graphs[0]).x


def zero_feature_rows(bundle: Bundle, files: RawFiles) -> int:
    """Labelled nodes whose features are all zero."""
    return int((_x(bundle) == 0).all(dim=1).sum())


def duplicate_feature_rows(bundle: Bundle, files: RawFiles) -> int:
    """Labelled nodes whose features another, earlier one has."""
    rows = np.ascontiguousarray(_x(bundle).numpy() + 0.0)  # -0.0 becomes 0.0
    return len(rows) - len({row.tobytes() for row in rows})


def _y(bundle: Bundle) -> Tensor:
    return torch.cat([label_store(graph).y.reshape(-1) for graph in bundle.graphs])


def class_sizes(bundle: Bundle, files: RawFiles) -> list[int]:
    """Members of each class; rows without a label (-1, NaN) are left out."""
    y = _y(bundle)
    known = y[~y.isnan()] if y.is_floating_point() else y[y >= 0]
    return torch.bincount(known.long(), minlength=max(bundle.num_outputs, 2)).tolist()


def majority_share(bundle: Bundle, files: RawFiles) -> float:
    """Fraction that the largest class has."""
    sizes = class_sizes(bundle, files)
    return max(sizes) / sum(sizes)


def missing_labels(bundle: Bundle, files: RawFiles) -> int:
    """Rows or entries of ``y`` that are -1 or NaN."""
    y = _y(bundle)
    return int((y.isnan() if y.is_floating_point() else y < 0).sum())


def _rows(bundle: Bundle) -> int:
    return len(bundle.graphs) if isinstance(bundle.data, list) else len(label_store(bundle.data).y)


def _covered(split: Split) -> Tensor:
    return torch.cat([split.train, split.val, split.test, *split.extra.values()]).unique()


def covered(bundle: Bundle, files: RawFiles) -> list[int]:
    """Rows that are in some part of a split, for each split."""
    return [len(_covered(split)) for split in bundle.splits]


def never_used(bundle: Bundle, files: RawFiles) -> int:
    """Rows that are in no part of any split."""
    used = torch.cat([_covered(split) for split in bundle.splits]).unique()
    return _rows(bundle) - len(used)


def never_tested(bundle: Bundle, files: RawFiles) -> int:
    """Rows that no split tests."""
    return _rows(bundle) - len(torch.cat([split.test for split in bundle.splits]).unique())


def untested_classes(bundle: Bundle, files: RawFiles) -> list[int]:
    """Classes that no split tests."""
    y = _y(bundle)
    tested = torch.cat([split.test for split in bundle.splits]).unique()
    return sorted(set(y.tolist()) - set(y[tested].tolist()))


def splits_testing_the_smallest_class(bundle: Bundle, files: RawFiles) -> list[int]:
    """Splits whose test part has a member of the smallest class while their train part has none."""
    y = _y(bundle)
    smallest = int(torch.tensor(class_sizes(bundle, files)).argmin())
    return [s.index for s in bundle.splits if (y[s.test] == smallest).any() and not (y[s.train] == smallest).any()]


def neighbourhood_leak(bundle: Bundle, files: RawFiles) -> float:
    """Share of test nodes that have a train node with the same set of neighbours and the same label; mean of splits.

    Neighbours are taken in the graph made undirected, without self-loops. Nodes without a neighbour do not count as
    alike. After Platonov et al. 2023 (arXiv 2302.11640).
    """
    data = bundle.graphs[0]
    source, target = data.edge_index[:, data.edge_index[0] != data.edge_index[1]]
    pairs = torch.unique(torch.stack([torch.cat([source, target]), torch.cat([target, source])]), dim=1).numpy()
    sizes = np.bincount(pairs[0], minlength=data.num_nodes)
    keys = [part.tobytes() for part in np.split(pairs[1], np.cumsum(sizes)[:-1])]
    kinds: dict[tuple[bytes, int], int] = {}
    code = np.array([kinds.setdefault((key, int(y)), len(kinds)) for key, y in zip(keys, data.y, strict=True)])
    shares = []
    for split in bundle.splits:
        seen = code[split.train.numpy()][sizes[split.train.numpy()] > 0]
        test = split.test.numpy()
        shares.append(float((np.isin(code[test], seen) & (sizes[test] > 0)).mean()))
    return float(np.mean(shares))


_MEASURES: dict[str, Callable[[Bundle, RawFiles], Any]] = {
    function.__name__: function
    for function in (
        *(isolated_nodes, graphs_with_isolated_nodes, graphs_without_edges, self_loops, no_outgoing_edge, directed),
        *(duplicate_edges, duplicate_incidences, duplicate_hyperedges, singleton_hyperedges, empty_hyperedges),
        *(zero_feature_rows, duplicate_feature_rows, class_sizes, majority_share, missing_labels),
        *(covered, never_used, never_tested, untested_classes, splits_testing_the_smallest_class, neighbourhood_leak),
    )
}
"""Measures by the names that cards use."""

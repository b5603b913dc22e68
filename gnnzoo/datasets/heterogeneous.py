"""What the families of heterogeneous graphs share: measures of their oddities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gnnzoo.datasets.bundle import Bundle, label_store
from gnnzoo.datasets.raw import RawFiles

__all__ = ["duplicate_edges", "isolated", "label_sizes", "one_way", "self_loops", "zero_features"]


def isolated(bundle: Bundle, files: RawFiles) -> dict[str, int]:
    """Nodes that no edge of any type touches, for every node type that has some."""
    data = bundle.graphs[0]
    touched = {kind: torch.zeros(data[kind].num_nodes, dtype=torch.bool) for kind in data.node_types}
    for (source, _, target), index in data.edge_index_dict.items():
        touched[source][index[0]] = True
        touched[target][index[1]] = True
    return {kind: int((~seen).sum()) for kind, seen in touched.items() if not seen.all()}


def duplicate_edges(bundle: Bundle, files: RawFiles) -> int:
    """Columns of an ``edge_index`` that repeat another one of the same edge type."""
    return sum(index.shape[1] - len(_pairs(index)) for index in bundle.graphs[0].edge_index_dict.values())


def self_loops(bundle: Bundle, files: RawFiles) -> dict[str, int]:
    """Edges from a node to itself, for every edge type that has some."""
    edges = bundle.graphs[0].edge_index_dict
    found = {" ".join(kind): int((i[0] == i[1]).sum()) for kind, i in edges.items() if kind[0] == kind[2]}
    return {kind: number for kind, number in found.items() if number}


def one_way(bundle: Bundle, files: RawFiles) -> list[str]:
    """Edge types that no edge type (itself included) reverses edge by edge."""
    edges = {kind: _pairs(index) for kind, index in bundle.graphs[0].edge_index_dict.items()}
    back = {kind: _pairs(index.flip(0)) for kind, index in bundle.graphs[0].edge_index_dict.items()}
    return [
        " ".join(kind)
        for kind, pairs in edges.items()
        if not any(torch.equal(pairs, back[other]) for other in edges if (other[2], other[0]) == (kind[0], kind[2]))
    ]


def _pairs(index: Tensor) -> Tensor:
    """Return the distinct columns of an ``edge_index`` as sorted numbers, ``[num_distinct]``."""
    return torch.unique(index[0] * (1 << 31) + index[1])


def zero_features(bundle: Bundle, files: RawFiles) -> dict[str, int]:
    """Nodes whose features are all zero, for every node type that has some."""
    found = {kind: int((x == 0).all(dim=1).sum()) for kind, x in bundle.graphs[0].x_dict.items()}
    return {kind: number for kind, number in found.items() if number}


def label_sizes(bundle: Bundle, files: RawFiles) -> list[int]:
    """Rows that have each label of a multilabel set; rows without known labels are left out."""
    y: Any = label_store(bundle.graphs[0]).y
    return y[~y.isnan().any(dim=1)].sum(dim=0).long().tolist()

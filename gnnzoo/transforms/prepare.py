"""Input handling that papers do differently: the ``data.*`` settings."""

from __future__ import annotations

from typing import Literal

from torch_geometric import transforms as T
from torch_geometric.transforms import BaseTransform

__all__ = ["prepare"]


def prepare(
    normalize_features: Literal["none", "row"] = "none",
    undirected: bool = False,
    self_loops: Literal["keep", "add", "remove"] = "keep",
) -> BaseTransform:
    """Return the transform of a graph's features and edges that the ``data.*`` settings describe.

    It works on graphs, on heterogeneous graphs (per node and edge type) and on hypergraphs, where only the features
    are touched.

    Args:
        normalize_features: ``row`` divides every row of ``x`` by its sum, rows of zeros stay zero. It is meant for
            counts: PyG's transform shifts features so that the smallest is 0, and divides by 1 where a sum is less.
        undirected: add the reverse of every edge; edges are then sorted by source and target, and repeated ones are
            merged (their attributes averaged).
        self_loops: ``add`` one to every node that has none, or ``remove`` all.
    """
    steps: list[BaseTransform] = []
    if normalize_features == "row":
        steps.append(T.NormalizeFeatures())
    if self_loops == "remove":
        steps.append(T.RemoveSelfLoops())
    elif self_loops == "add":
        steps.append(T.AddRemainingSelfLoops())
    if undirected:
        # last, because it sorts; the mean leaves attributes alone where both directions were there already
        steps.append(T.ToUndirected(reduce="mean"))
    return T.Compose(steps)

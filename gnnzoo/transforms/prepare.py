"""Input handling that papers do differently: the ``data.*`` settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch_geometric import transforms as T
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

__all__ = ["OneHot", "prepare"]


class OneHot(BaseTransform):
    """Turn columns of categories into columns of zeros and ones, so that models of real features can take them.

    A linear layer on the result is what OGB's encoders are: the sum of one learnt vector per category.

    Args:
        categories: number of categories of each column, by attribute: ``{"x": [119, 5, ...], "edge_attr": [5, 6, 2]}``.

    Shapes:
        - input: ``[rows, columns]`` (or ``[rows]`` for one column), int64
        - output: ``[rows, sum of categories]``, float32
    """

    def __init__(self, categories: Mapping[str, Sequence[int]]) -> None:
        self.categories = {key: list(sizes) for key, sizes in categories.items()}

    def forward(self, data: Data) -> Data:
        """Replace the attributes."""
        for key, sizes in self.categories.items():
            offsets = torch.tensor([0, *sizes[:-1]]).cumsum(0)
            columns = data[key].reshape(-1, len(sizes))
            data[key] = torch.zeros(len(columns), sum(sizes)).scatter_(1, columns + offsets, 1.0)
        return data


def prepare(
    normalize_features: Literal["none", "row"] = "none",
    undirected: bool = False,
    self_loops: Literal["keep", "add", "remove"] = "keep",
    one_hot: bool | None = None,
    categories: Mapping[str, Sequence[int]] | None = None,
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
        one_hot: categories become columns of zeros and ones.
        categories: which attributes have categories, and how many in each column: the card's.
    """
    steps: list[BaseTransform] = [OneHot(categories)] if one_hot and categories else []
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

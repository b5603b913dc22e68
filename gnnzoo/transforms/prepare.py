"""Input handling that papers do differently: the ``data.*`` settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch_geometric import transforms as T
from torch_geometric.data import Data
from torch_geometric.data.data import BaseData
from torch_geometric.transforms import BaseTransform

from gnnzoo.transforms.incidences import CoalesceIncidences, MergeHyperedges, SelfHyperedges, Singletons
from gnnzoo.transforms.polynomials import Form, Polynomials

__all__ = ["OneHot", "StandardizeColumns", "prepare"]


class StandardizeColumns(BaseTransform):
    """Bring every column of ``x`` to mean 0 and deviation 1 over the nodes of a graph (of each type)."""

    def forward(self, data: BaseData) -> BaseData:
        """Replace ``x``."""
        for store in data.node_stores:
            if "x" in store:
                centred = store.x - store.x.mean(0)
                deviation = centred.square().mean(0).sqrt()
                # a constant column is zero up to rounding
                store.x = centred / deviation.where(deviation > 1e-6 * store.x.abs().amax(0), torch.inf)
        return data


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
    normalize_features: Literal["none", "row", "column"] = "none",
    undirected: bool = False,
    self_loops: Literal["keep", "add", "remove"] = "keep",
    one_hot: bool | None = None,
    polynomials: int | None = None,
    polynomial_form: Form | None = None,
    polynomial_norm: bool | None = None,
    coalesce: bool | None = None,
    merge_hyperedges: bool | None = None,
    singletons: bool | None = None,
    categories: Mapping[str, Sequence[int]] | None = None,
) -> BaseTransform:
    """Return the transform of a graph's features and edges that the ``data.*`` settings describe.

    It works on graphs, on heterogeneous graphs (per node and edge type) and on hypergraphs, which have no edges to be
    made undirected.

    Args:
        normalize_features: ``row`` divides every row of ``x`` by its sum, rows of zeros stay zero. It is meant for
            counts: PyG's transform shifts features so that the smallest is 0, and divides by 1 where a sum is less.
            ``column`` brings every column of a graph to mean 0 and deviation 1; constant ones become 0.
        undirected: add the reverse of every edge; edges are then sorted by source and target, and repeated ones are
            merged (their attributes averaged).
        self_loops: ``add`` one to every node that has none, or ``remove`` all; in a hypergraph it is a hyperedge that
            holds one node, and they are not removed.
        one_hot: categories become columns of zeros and ones.
        polynomials: add graph polynomials up to this degree: see :class:`~gnnzoo.transforms.Polynomials`.
        polynomial_form: ``sparse`` (the default) for models that pass messages, ``dense`` for those of all pairs.
        polynomial_norm: divide polynomials by their norms.
        coalesce: a node that a hyperedge lists twice is in it once.
        merge_hyperedges: hyperedges that hold the same nodes are one; those without a node vanish.
        singletons: a node in no hyperedge gets one that holds it alone; with ``self_loops="add"`` every node has one.
        categories: which attributes have categories, and how many in each column: the card's.
    """
    steps: list[BaseTransform] = [OneHot(categories)] if one_hot and categories else []
    if normalize_features == "row":
        steps.append(T.NormalizeFeatures())
    elif normalize_features == "column":
        steps.append(StandardizeColumns())
    if coalesce:
        steps.append(CoalesceIncidences())
    if merge_hyperedges:
        steps.append(MergeHyperedges())
    if singletons:
        steps.append(Singletons())
    if self_loops == "remove":
        steps.append(T.RemoveSelfLoops())
    elif self_loops == "add":
        steps += [T.AddRemainingSelfLoops(), SelfHyperedges()]
    if undirected:
        # last, because it sorts; the mean leaves attributes alone where both directions were there already
        steps.append(T.ToUndirected(reduce="mean"))
    if polynomials is not None:
        # those of the graph that the model sees: the values on edges follow its list of edges
        steps.append(Polynomials(polynomials, polynomial_form or "sparse", bool(polynomial_norm)))
    return T.Compose(steps)

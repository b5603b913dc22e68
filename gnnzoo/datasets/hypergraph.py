"""Hypergraphs as PyG data that batches correctly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

__all__ = ["HypergraphData"]


class HypergraphData(Data):
    r"""A hypergraph: nodes, and hyperedges that hold any number of them.

    ``hyperedge_index`` lists incidences. Duplicates are kept (they can carry meaning), and hyperedges may be empty or
    hold one node. In a :class:`~torch_geometric.data.Batch`, row 0 is shifted by the numbers of nodes and row 1 by the
    numbers of hyperedges, where a plain :class:`~torch_geometric.data.Data` would shift both by nodes.

    Args:
        x: node features.
        hyperedge_index: incidences, row 0 nodes and row 1 hyperedges.
        y: labels.
        num_hyperedges: number of hyperedges, empty ones included; default: the largest hyperedge in
            ``hyperedge_index`` plus one.
        **kwargs: further attributes, such as ``num_nodes`` where there is no ``x``.

    Shapes:
        - ``x``: ``[num_nodes, in_channels]``
        - ``hyperedge_index``: ``[2, num_incidences]``, int64
    """

    def __init__(
        self,
        x: Tensor | None = None,
        hyperedge_index: Tensor | None = None,
        y: Tensor | None = None,
        num_hyperedges: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(x=x, y=y, **kwargs)
        if hyperedge_index is not None:
            self.hyperedge_index = hyperedge_index
            if num_hyperedges is None:
                num_hyperedges = int(hyperedge_index[1].max()) + 1 if hyperedge_index.numel() else 0
            if x is None and "num_nodes" not in kwargs:
                # PyG infers num_nodes from edge_index alone
                self.num_nodes = int(hyperedge_index[0].max()) + 1 if hyperedge_index.numel() else 0
        if num_hyperedges is not None:
            self.num_hyperedges = num_hyperedges

    @property
    def num_hyperedges(self) -> int | None:
        """Number of hyperedges; of a batch, that of all its hypergraphs together."""
        value = self._store.get("num_hyperedges")
        # batching turns numbers into a tensor with one entry per hypergraph
        return int(value.sum()) if isinstance(value, Tensor) else value

    @num_hyperedges.setter
    def num_hyperedges(self, value: int | Tensor | None) -> None:
        self._store.num_hyperedges = value

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Concatenate incidences along their second dimension."""
        return 1 if key == "hyperedge_index" else super().__cat_dim__(key, value, *args, **kwargs)

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Shift nodes by nodes and hyperedges by hyperedges."""
        if key == "hyperedge_index":
            return torch.tensor([[self.num_nodes], [self.num_hyperedges]])
        return super().__inc__(key, value, *args, **kwargs)

"""Positional encodings from the spectrum of the Laplacian, for graphs of any size."""

from __future__ import annotations

import copy

import torch
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, BaseTransform
from torch_geometric.utils import get_laplacian, is_undirected

__all__ = ["LaplacianPositions"]


class LaplacianPositions(BaseTransform):
    """Add the first non-trivial eigenvectors of the normalized Laplacian, by PyG's ``AddLaplacianEigenvectorPE``.

    PyG's transform needs more nodes than eigenvectors and draws signs at random. Here columns that a small graph does
    not have are zeros, and the largest entry of every eigenvector is positive.

    Args:
        length: number of eigenvectors.
        values: also add the eigenvalues, behind the eigenvectors.

    Shapes:
        - **added:** ``pe`` ``[num_nodes, length]``, or ``[num_nodes, 2 * length]`` with the eigenvalues, which are the
          same in every row
    """

    def __init__(self, length: int, values: bool = False) -> None:
        self.length, self.values = length, values

    def forward(self, data: Data) -> Data:
        """Add the encodings of one graph."""
        n = data.num_nodes
        known = min(self.length, n - 1)
        vectors = torch.zeros(n, known)
        if known > 0:
            positions = AddLaplacianEigenvectorPE(known, attr_name="pe", is_undirected=is_undirected(data.edge_index))
            vectors = positions(copy.copy(data)).pe.float()
            largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
            vectors = vectors * torch.where(largest < 0, -1.0, 1.0)
        parts = [vectors]
        if self.values:
            edge_index, weight = get_laplacian(data.edge_index, normalization="sym", num_nodes=n)
            product = torch.zeros_like(vectors).index_add_(
                0, edge_index[0], weight.unsqueeze(1) * vectors[edge_index[1]]
            )
            parts.append((vectors * product).sum(0).expand(n, -1))
        data.pe = torch.cat([F.pad(part, (0, self.length - known)) for part in parts], dim=1)
        return data

"""H2GCN: nodes apart from their neighbours, neighbours apart from neighbours' neighbours, all rounds kept."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch_geometric import EdgeIndex

from gnnzoo.errors import DataError
from gnnzoo.ops import Adjacency, cached, dropout, gcn_norm, sparse_linear, spmm
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt

__all__ = ["H2GCN", "exact_hops"]

MAX_WALKS = 1_000_000_000
"""How many walks of two edges a graph may have: about a minute and some gigabytes."""


class H2GCN(nn.Module):
    r"""The network of `"Beyond Homophily in Graph Neural Networks: Current Limitations and Effective Designs"
    <https://arxiv.org/abs/2006.11468>`_ (arXiv 2006.11468, NeurIPS 2020).

    .. math::
        r^{(0)} = \mathrm{ReLU}(X W_e), \quad
        r^{(k)} = \bar A_1 r^{(k-1)} \,\Vert\, \bar A_2 r^{(k-1)}, \quad
        Y = (r^{(0)} \Vert r^{(1)} \Vert \dots \Vert r^{(K)}) W_c

    where :math:`\bar A_i = D_i^{-1/2} A_i D_i^{-1/2}` is of the nodes at distance exactly :math:`i`: neither contains
    the node itself, and the second none of its neighbours (equations 4 to 6, designs D1 to D3).

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of the embedding; round :math:`k` is :math:`2^k` times as wide.
        num_layers: :math:`K`, rounds of aggregation (H2GCN-1 and H2GCN-2).
        activation: whether the embedding has its ReLU; the authors tune that.
        dropout: on the concatenation of all rounds.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]`` (self-loops and repeated
          edges play no part)
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: NonNegativeInt = 2,
        activation: bool = True,
        dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        self.num_layers, self.activation, self.dropout = num_layers, activation, dropout
        self.embed = nn.Linear(in_channels, hidden_channels, bias=False)
        self.classify = nn.Linear((2 ** (num_layers + 1) - 1) * hidden_channels, out_channels, bias=False)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        self.embed.reset_parameters()
        self.classify.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``.

        Raises:
            DataError: the graph has too many pairs of nodes at distance two (:data:`MAX_WALKS`).
        """
        r = sparse_linear(x, self.embed.weight)
        rounds = [r.relu() if self.activation else r]
        hops = exact_hops(edge_index, x.size(0), r.dtype) if self.num_layers else ()
        for _ in range(self.num_layers):
            rounds.append(torch.cat([spmm(hop, rounds[-1]) for hop in hops], dim=1))
        return self.classify(dropout(torch.cat(rounds, dim=1), self.dropout, self.training))


def exact_hops(edge_index: Tensor, num_nodes: int, dtype: torch.dtype = torch.float32) -> tuple[Adjacency, Adjacency]:
    r"""Return :math:`\bar A_1` and :math:`\bar A_2`, the normalised graphs of distance exactly one and two; cached.

    Args:
        edge_index: ``[2, num_edges]``.
        num_nodes: number of nodes.
        dtype: of the weights.

    Raises:
        DataError: the graph has more than :data:`MAX_WALKS` walks of two edges.
    """

    def build() -> tuple[Adjacency, Adjacency]:
        edges = (edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index).cpu().numpy()
        source, target = edges[:, edges[0] != edges[1]]
        ones = np.ones(len(source), dtype=np.int32)
        one = sp.csr_array((ones, (target, source)), shape=(num_nodes, num_nodes))
        one.data[:] = 1
        walks = int(one.sum(axis=0).astype(np.int64) @ one.sum(axis=1).astype(np.int64))
        if walks > MAX_WALKS:
            raise DataError(f"h2gcn: the graph has {walks:,} walks of two edges, more than {MAX_WALKS:,}")
        nearer = one + sp.eye_array(num_nodes, dtype=np.int32, format="csr")
        two = (one @ one - nearer * np.int32(2**30)).tocoo()  # counts of walks, below 0 where a node is nearer
        pairs = [one.tocoo().coords[::-1], two.coords[::-1]]
        pairs[1] = tuple(end[two.data > 0] for end in pairs[1])
        hops = [torch.from_numpy(np.stack(pair).astype(np.int64)).to(edge_index.device) for pair in pairs]
        first, second = (gcn_norm(hop, num_nodes, add_self_loops=False, dtype=dtype) for hop in hops)
        return first, second

    return cached(edge_index, ("exact_hops", num_nodes, dtype), build)

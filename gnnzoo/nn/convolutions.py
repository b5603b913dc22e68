"""PyG's three classic layers, with its parameters and its numbers; the neighbours are summed by ``gnnzoo.ops``.

Each takes ``conv(x, edge_index, dropout)``: the dropout is on ``x``, where that is what makes it cheap (zeros of bag of
words features are never touched). Weights of PyG's layers load as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric import EdgeIndex
from torch_geometric.nn import conv as pyg
from torch_geometric.utils import add_self_loops, remove_self_loops, softmax

from gnnzoo.ops import Adjacency, cached, gcn_norm, sparse_linear, spmm
from gnnzoo.ops import dropout as drop

__all__ = ["GATConv", "GCNConv", "SAGEConv", "looped", "mean_norm"]


class GCNConv(pyg.GCNConv):
    r"""Graph convolution :math:`\hat A X W + b` (arXiv 1609.02907)."""

    def forward(self, x: Tensor, edge_index: Tensor | Adjacency, dropout: float = 0.0) -> Tensor:
        """Return ``[num_nodes, out_channels]``; an ``Adjacency`` in place of edges is taken as :math:`\\hat A`."""
        adj = edge_index
        if not isinstance(adj, Adjacency):
            adj = gcn_norm(adj, x.size(0), add_self_loops=self.add_self_loops, dtype=self.lin.weight.dtype)
        out = spmm(adj, sparse_linear(x, self.lin.weight, None, dropout, self.training))
        return out if self.bias is None else out + self.bias


class SAGEConv(pyg.SAGEConv):
    r"""GraphSAGE layer :math:`W_1 x_v + W_2\,\mathrm{aggr}_{u \in N(v)} x_u + b` (arXiv 1706.02216).

    Means and sums are taken after the product by :math:`W_2`, and through :func:`gnnzoo.ops.spmm`; other aggregations
    gather messages, as PyG does.
    """

    def forward(self, x: Tensor, edge_index: Tensor, dropout: float = 0.0) -> Tensor:
        """Return ``[num_nodes, out_channels]``."""
        if self.project or self.aggr not in ("mean", "sum", "add"):
            return self._gathered(drop(x, dropout, self.training), edge_index)
        root = [self.lin_r.weight] if self.root_weight else []
        h = sparse_linear(x, torch.cat([self.lin_l.weight, *root]), None, dropout, self.training)
        h, own = h[:, : self.out_channels], h[:, self.out_channels :]
        out = spmm(mean_norm(edge_index, x.size(0), h.dtype) if self.aggr == "mean" else edge_index, h)
        out = out if self.lin_l.bias is None else out + self.lin_l.bias
        out = out + own if self.root_weight else out
        return F.normalize(out, dim=-1) if self.normalize else out

    def _gathered(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Aggregate by any of PyG's modules, on messages ``[num_edges, in_channels]``."""
        source, target = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
        sent = self.lin(x).relu() if self.project else x
        out = self.lin_l(self.aggr_module(sent.index_select(0, source), target, dim_size=x.size(0)))
        out = out + self.lin_r(x) if self.root_weight else out
        return F.normalize(out, dim=-1) if self.normalize else out


class GATConv(pyg.GATConv):
    r"""Graph attention :math:`\sum_{u \in N(v) \cup v} \alpha_{vu} W x_u + b`, head by head (arXiv 1710.10903).

    Only the scores are gathered to edges, ``[num_edges, heads]``; the weighted sums are sparse products.
    """

    def forward(self, x: Tensor, edge_index: Tensor, dropout: float = 0.0) -> Tensor:
        """Return ``[num_nodes, heads * out_channels]``, or ``[num_nodes, out_channels]`` if heads are averaged."""
        adj = looped(edge_index, x.size(0), keep=not self.add_self_loops)
        shortcut = [] if self.res is None else [self.res.weight]
        h = sparse_linear(x, torch.cat([self.lin.weight, *shortcut]), None, dropout, self.training)
        heads = h[:, : self.heads * self.out_channels].unflatten(1, (self.heads, self.out_channels))
        alpha = drop(self.attention(heads, adj), self.dropout, self.training).t().contiguous()
        sums = [spmm(adj, head, weight) for head, weight in zip(heads.unbind(1), alpha, strict=True)]
        out = torch.cat(sums, dim=1) if self.concat else torch.stack(sums).mean(0)
        if self.res is not None:
            out = out + h[:, self.heads * self.out_channels :]
        return out if self.bias is None else out + self.bias

    def attention(self, heads: Tensor, adj: Adjacency) -> Tensor:
        """Return the coefficient of every entry of ``adj``, ``[num_edges, heads]``; those of a node sum to 1.

        Args:
            heads: ``[num_nodes, heads, out_channels]``.
            adj: whose edges are in the order of its entries (:func:`looped`).
        """
        source, target = ((heads * att).sum(-1) for att in (self.att_src, self.att_dst))
        score = source.index_select(0, adj.col) + target.index_select(0, adj.row)
        return softmax(F.leaky_relu(score, self.negative_slope), adj.row, num_nodes=adj.num_nodes)


def mean_norm(edge_index: Tensor, num_nodes: int, dtype: torch.dtype) -> Adjacency:
    """Return the matrix of means over incoming neighbours, once per graph; a node without any has a row of zeros."""

    def build() -> Adjacency:
        edges = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
        degree = torch.bincount(edges[1], minlength=num_nodes).to(dtype)
        return Adjacency(edges, num_nodes, (1 / degree)[edges[1]])

    return cached(edge_index, ("mean_norm", num_nodes, dtype), build)


def looped(edge_index: Tensor, num_nodes: int, keep: bool = False) -> Adjacency:
    """Return the graph with one self-loop at every node, edges in the order of the matrix's entries; once per graph.

    Args:
        edge_index: ``[2, num_edges]``.
        num_nodes: number of nodes.
        keep: leave the self-loops as they are.
    """

    def build() -> Adjacency:
        edges = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
        if not keep:
            edges, _ = add_self_loops(remove_self_loops(edges)[0], num_nodes=num_nodes)
        adj = Adjacency(edges, num_nodes)
        return adj if adj.perm is None else Adjacency(torch.stack([adj.col.to(torch.int64), adj.row]), num_nodes)

    return cached(edge_index, ("looped", num_nodes, keep), build)

"""Graph Mamba Networks (GMN): every node reads its neighbourhood, from far to near, with a selective state space model.

Not Graph-Mamba of arXiv 2402.00789, which is :mod:`gnnzoo.models.graph_mamba_gps`.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch_geometric.nn import global_add_pool, global_mean_pool
from torch_geometric.transforms import AddRandomWalkPE, BaseTransform, Compose

from gnnzoo.errors import DataError
from gnnzoo.nn.gated_gcn import EPS, GatedGCNConv
from gnnzoo.nn.mamba import BidirectionalMamba, undecayed_parameters
from gnnzoo.nn.node_order import Key, Ties, apply_in_order, node_key, node_orders
from gnnzoo.ops import adjacency, cached, dropout, sparse_linear
from gnnzoo.ops.rectangular import SparseMatrix
from gnnzoo.transforms.positions import LaplacianPositions
from gnnzoo.transforms.walk_tokens import WalkLaw, WalkTokens, num_tokens
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt, Seed

__all__ = ["GraphMamba", "TokenEncoder"]

Pooling = Literal["mean", "sum"]


class GraphMamba(nn.Module):
    r"""GMN of `"Graph Mamba: Towards Learning on Graphs with State Space Models" <https://arxiv.org/abs/2402.08678>`_
    (arXiv 2402.08678, KDD 2024).

    .. math::
        x_v^{h,j} = \phi\bigl(G[T_h^j(v)], [X; P]\bigr), \quad
        y_v = \mathrm{BiMamba}(x_v^{m,s}, \dots, x_v^{1,1}, x_v^0)_{\mathrm{last}}, \quad
        Y = \mathrm{BiMamba}(y_{\pi(1)}, \dots, y_{\pi(n)}) + \Psi(G, [X; P])

    with :math:`T_h^j(v)` the nodes that M random walks of h steps from v visit (h = 1, ..., m and j = 1, ..., s; the
    last token is v alone), and :math:`\pi` the nodes by degree, small to large. In training, the s tokens of each
    length are shuffled. No code was ever published, and the paper leaves much open: what stands under "ours" below are
    our readings, each with its alternatives. A training step keeps a few tensors of ``[num_members, hidden_channels]``,
    one row for each node of each token, and of ``[num_nodes, m s + 1, expand * hidden_channels]``.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers.
        num_layers: bidirectional layers over the tokens of each node.
        node_layers: bidirectional layers over the nodes of each graph.
        walk_length: m; 0: every node is its own only token, and the first part a map for each node.
        walks: M, walks for each token.
        repeats: s, tokens of each length.
        walk_law: ours: simple random walks, which stay where there is no neighbour.
        seed: of the walks.
        append_node: ours: the node alone is the last token (the text says that the last state is the node, Algorithm 1
            stops before it); without, the sequence ends with a token of length 1.
        local: :math:`\phi`: GatedGCN on the subgraph, or just the mapped features of its nodes.
        local_layers: layers of GatedGCN in :math:`\phi`.
        token_pooling: ours: how :math:`\phi` pools the nodes of a token.
        token_counts: ours: the numbers of nodes and edges of a token enter its encoding.
        mpnn_layers: layers of :math:`\Psi`, GatedGCN on the graph; 0: none (with ``pe=none``, the paper's GMN-).
        pe: positions P: none, eigenvectors of the Laplacian (in training, ours, with random signs) or return
            probabilities of random walks.
        pe_length: how many.
        order: what nodes are ordered by: degree, PageRank (in the paper's ablation), or nothing.
        ties: ours: nodes of equal degree come in random order, in evaluation always the same one (``random``), or with
            the mean over five orders in evaluation (``average``), or in the order of their numbers (``index``).
        state_channels: N of the state space models.
        kernel_size: of their convolutions.
        expand: their inner channels per channel.
        shared_directions: ours: each direction has weights and LayerNorm of its own; True: they share them.
        residual: ours: around every bidirectional layer.
        dropout: ours: behind every layer and before the last.
        readout: ours: how nodes are pooled to graphs.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``edge_index`` ``[2, num_edges]``; the tokens, unless
          ``walk_length`` is 0: ``token_index`` ``[2, num_members]``, ``token_slot`` ``[num_members]``, ``link_index``
          ``[3, num_links]``, ``link_slot`` ``[num_links]``; ``pe`` ``[num_nodes, pe_length]`` unless ``pe`` is none;
          ``pre_transform`` adds them all; ``batch`` ``[num_nodes]``, which graph each node is of (optional)
        - **output:** logits ``[num_graphs, out_channels]``; without ``batch``, of nodes, ``[num_nodes, out_channels]``

    Raises:
        DataError: in ``forward``, tokens or positions are missing, or do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 3,
        node_layers: PositiveInt = 1,
        walk_length: NonNegativeInt = 2,
        walks: PositiveInt = 4,
        repeats: PositiveInt = 2,
        walk_law: WalkLaw = "simple",
        seed: Seed = 0,
        append_node: bool = True,
        local: Literal["gated", "mean"] = "gated",
        local_layers: PositiveInt = 1,
        token_pooling: Pooling = "mean",
        token_counts: bool = False,
        mpnn_layers: NonNegativeInt = 1,
        pe: Literal["none", "laplacian", "random-walk"] = "none",
        pe_length: PositiveInt = 8,
        order: Key = "degree",
        ties: Ties = "random",
        state_channels: PositiveInt = 16,
        kernel_size: PositiveInt = 4,
        expand: PositiveInt = 2,
        shared_directions: bool = False,
        residual: bool = True,
        dropout: Dropout = 0.0,
        readout: Pooling = "mean",
    ) -> None:
        super().__init__()
        self.walk_length, self.repeats = walk_length, repeats
        self.num_tokens = num_tokens(walk_length, repeats, append_node)
        self.token_pooling, self.pe, self.order, self.ties = token_pooling, pe, order, ties
        self.dropout, self.readout = dropout, readout
        h = hidden_channels
        self.lin_in = nn.Linear(in_channels, h)
        self.lin_pe = None if pe == "none" else nn.Linear(pe_length, h, bias=False)
        self.phi = TokenEncoder(h, local, local_layers, token_counts)
        self.token_layers, self.node_layers = (
            nn.ModuleList(
                BidirectionalMamba(h, state_channels, kernel_size, expand, dropout=dropout, residual=residual)
                for _ in range(number)
            )
            for number in (num_layers, node_layers)
        )
        if shared_directions:
            for layer in (*self.token_layers, *self.node_layers):
                layer.norm_b, layer.bwd = layer.norm_f, layer.fwd
        self.psi = nn.ModuleList(GatedGCNConv(h, h, dropout=dropout) for _ in range(mpnn_layers))
        self.norm = nn.LayerNorm(h)
        self.lin_out = nn.Linear(h, out_channels)

    @classmethod
    def pre_transform(
        cls,
        walk_length: int = 2,
        walks: int = 4,
        repeats: int = 2,
        walk_law: WalkLaw = "simple",
        append_node: bool = True,
        seed: int = 0,
        pe: str = "none",
        pe_length: int = 8,
        **_: Any,
    ) -> BaseTransform | None:
        """Return the transform that adds tokens and positions, once, before training."""
        steps: list[BaseTransform] = []
        if walk_length:
            steps.append(WalkTokens(walk_length, walks, repeats, walk_law, append_node, seed))
        if pe == "laplacian":
            steps.append(LaplacianPositions(pe_length))
        elif pe == "random-walk":
            steps.append(AddRandomWalkPE(pe_length, attr_name="pe"))
        return Compose(steps) if steps else None

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of the state space models that Mamba's authors train without weight decay."""
        return {"ssm": undecayed_parameters(self)}

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by the defaults of PyTorch and Mamba."""
        layers = (*self.token_layers, *self.node_layers, *self.psi)
        for module in (self.lin_in, self.lin_pe, self.phi, *layers, self.norm, self.lin_out):
            if module is not None:
                module.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        token_index: Tensor | None = None,
        token_slot: Tensor | None = None,
        link_index: Tensor | None = None,
        link_slot: Tensor | None = None,
        pe: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``, or ``[num_nodes, out_channels]`` without ``batch``."""
        n = x.size(0)
        h = self._embed(x, pe)
        tokens = self._tokens(h, edge_index, token_index, token_slot, link_index, link_slot)
        num_graphs = None if batch is None else 1 + (int(batch.max()) if n else -1)
        y = self.read_tokens(self.phi(h, tokens))
        y = self.read_nodes(y, edge_index, batch, num_graphs)
        local = h
        for conv in self.psi:
            local = conv(local, edge_index)[0]
        if self.psi:
            y = y + local
        if batch is not None:
            y = (global_mean_pool if self.readout == "mean" else global_add_pool)(y, batch, num_graphs)
        return self.lin_out(dropout(self.norm(y), self.dropout, self.training))

    def read_tokens(self, tokens: Tensor) -> Tensor:
        """Return the state behind the last token of each node, ``[num_nodes, channels]``.

        Args:
            tokens: ``[num_nodes, num_tokens, channels]``.
        """
        if self.training and self.repeats > 1:
            tokens = self._shuffled(tokens)
        *layers, final = self.token_layers
        for layer in layers:
            tokens = layer(tokens)
        return _last(cast(BidirectionalMamba, final), tokens)

    def read_nodes(
        self, y: Tensor, edge_index: Tensor, batch: Tensor | None = None, num_graphs: int | None = None
    ) -> Tensor:
        """Return what the nodes ``[num_nodes, channels]`` of each graph are after being read in order."""
        key = node_key(edge_index, y.size(0), self.order)
        orders = node_orders(key, batch, num_graphs, self.ties, self.training)

        def read(nodes: Tensor, lengths: Tensor | None) -> Tensor:
            for layer in self.node_layers:
                nodes = layer(nodes, lengths)
            return nodes

        return apply_in_order(read, y, orders)

    def _embed(self, x: Tensor, pe: Tensor | None) -> Tensor:
        """Map features and positions, side by side, ``[num_nodes, channels]``."""
        h = sparse_linear(x, self.lin_in.weight, self.lin_in.bias)
        if self.lin_pe is None:
            return h
        if pe is None or pe.size(-1) != self.lin_pe.in_features:
            raise DataError(
                f"model 'graph-mamba' has pe={self.pe}, but the graph has no pe of width {self.lin_pe.in_features}: "
                "apply GraphMamba.pre_transform to it"
            )
        if self.training and self.pe == "laplacian":
            pe = pe * (torch.randint(0, 2, (pe.size(1),), device=pe.device) * 2 - 1)
        return h + self.lin_pe(pe)

    def _shuffled(self, tokens: Tensor) -> Tensor:
        """Put the tokens of each length in random order, for every node anew."""
        n, m, s = tokens.size(0), self.walk_length, self.repeats
        order = torch.rand(n, m, s, device=tokens.device).argsort(-1)
        order = (order + torch.arange(0, m * s, s, device=tokens.device).unsqueeze(1)).flatten(1)
        index = order.unsqueeze(2).expand(-1, -1, tokens.size(2))
        return torch.cat([tokens.gather(1, index), tokens[:, m * s :]], dim=1)

    def _tokens(
        self,
        h: Tensor,
        edge_index: Tensor,
        index: Tensor | None,
        slot: Tensor | None,
        links: Tensor | None,
        link_slot: Tensor | None,
    ) -> _Tokens:
        n, dtype = h.size(0), h.dtype
        if self.walk_length == 0:
            nodes = torch.arange(n, device=h.device)
            alone = (torch.stack([nodes, nodes]), torch.zeros_like(nodes), nodes.new_empty(3, 0), nodes[:0])
            return cached(edge_index, ("alone", n, dtype), lambda: _Tokens.of(*alone, n, 1, "mean", dtype))
        if index is None or slot is None or links is None or link_slot is None:
            raise DataError("the graph has no walk tokens: apply GraphMamba.pre_transform to it")
        others = (slot, links, link_slot)

        def build() -> tuple[_Tokens, tuple[Tensor, ...]]:
            # what the key tells apart is kept with the result, so that no other tensor takes its place in memory
            return _Tokens.of(index, *others, n, self.num_tokens, self.token_pooling, dtype), others

        if any(part.is_inference() for part in others):
            return build()[0]
        identity = tuple((id(part), part._version) for part in others)
        return cached(index, ("tokens", n, self.num_tokens, self.token_pooling, dtype, identity), build)[0]


class _Tokens(NamedTuple):
    """The tokens of all nodes in the form in which they are encoded; rows are the members of all tokens."""

    num_nodes: int
    num_tokens: int
    node: Tensor
    """``[rows]``: which node each is."""
    pool: SparseMatrix
    """``[tokens, rows]``: means or sums over the members of a token."""
    source: Tensor
    """``[pairs]``: the edges of the graph that are in any token; those in two tokens stand here once."""
    target: Tensor
    links: SparseMatrix
    """``[rows, pairs]``: which edges lead to each row."""
    inside: Tensor
    """``[2, links]``: the edges inside tokens, from row to row."""
    counts: Tensor
    """``[tokens, 2]``: logarithms of 1 + the numbers of nodes and edges."""

    @classmethod
    def of(
        cls,
        index: Tensor,
        slot: Tensor,
        links: Tensor,
        link_slot: Tensor,
        num_nodes: int,
        num_tokens: int,
        pooling: Pooling,
        dtype: torch.dtype,
    ) -> _Tokens:
        n, total = num_nodes, num_nodes * num_tokens
        if index.size(1) != slot.numel() or links.size(1) != link_slot.numel() or links.size(0) != 3:
            raise DataError("token_index and token_slot, link_index and link_slot do not fit each other")
        for values, most, what in ((index, n, "node"), (links, n, "node"), (slot, num_tokens, "place")):
            if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < most:
                raise DataError(f"the tokens refer to {what} {int(values.max())}, but there are {most}")
        token = index[0] * num_tokens + slot
        rows = token * n + index[1]
        if bool((rows.diff() <= 0).any()):
            raise DataError("the members of the tokens are not in order: apply GraphMamba.pre_transform to the graph")
        base = (links[0] * num_tokens + link_slot) * n
        inside = torch.searchsorted(rows, base + links[1:])
        if links.numel() and bool((rows[inside.clamp(max=rows.numel() - 1)] != base + links[1:]).any()):
            raise DataError("link_index has an edge between nodes that are not in the token")
        pair, column = (links[1] * n + links[2]).unique(return_inverse=True)
        size = torch.bincount(token, minlength=total)
        edges = torch.bincount(links[0] * num_tokens + link_slot, minlength=total)
        value = None if pooling == "sum" else (1 / size.to(dtype))[token]
        position = torch.arange(token.numel(), device=token.device)
        return cls(
            n,
            num_tokens,
            index[1].clone(),
            SparseMatrix(token, position, (total, token.numel()), value, dtype),
            pair // n,
            pair % n,
            SparseMatrix(inside[1], column, (token.numel(), pair.numel()), None, dtype),
            inside,
            torch.stack([size, edges], dim=1).to(dtype).log1p(),
        )


class TokenEncoder(nn.Module):
    r"""The local encoding :math:`\phi` of a subgraph: GatedGCN on it, then a mean over its nodes.

    What the first layer computes for a pair of neighbours does not depend on the token in which they meet, so it is
    computed once per edge of the graph, and summed inside tokens by a sparse product.

    Args:
        channels: width.
        kind: ``gated`` or ``mean``, of the mapped features.
        num_layers: layers of GatedGCN.
        counts: whether the numbers of nodes and edges enter.
    """

    def __init__(
        self, channels: int, kind: Literal["gated", "mean"] = "gated", num_layers: int = 1, counts: bool = False
    ) -> None:
        super().__init__()
        self.lin = nn.Linear(channels, channels) if kind == "mean" else None
        self.convs = nn.ModuleList(
            GatedGCNConv(channels, channels) for _ in range(num_layers if kind == "gated" else 0)
        )
        self.lin_counts = nn.Linear(2, channels, bias=False) if counts else None

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for module in (self.lin, *self.convs, self.lin_counts):
            if module is not None:
                module.reset_parameters()

    def forward(self, h: Tensor, tokens: _Tokens) -> Tensor:
        """Return ``[num_nodes, num_tokens, channels]`` for nodes ``[num_nodes, channels]``."""
        if self.lin is not None:
            rows = self.lin(h).index_select(0, tokens.node)
        else:
            rows = self._first(h, tokens)
            for conv in self.convs[1:]:
                rows = conv(rows, adjacency(tokens.inside, rows.size(0)))[0]
        out = tokens.pool @ rows
        if self.lin_counts is not None:
            out = out + self.lin_counts(tokens.counts)
        return out.view(tokens.num_nodes, tokens.num_tokens, -1)

    def _first(self, h: Tensor, tokens: _Tokens) -> Tensor:
        conv, width = cast(GatedGCNConv, self.convs[0]), h.size(1)
        query, own, sent = conv.lin(h).split([width, width, 2 * width], dim=1)
        key, value = sent.index_select(0, tokens.source).chunk(2, dim=1)
        gate = (query.index_select(0, tokens.target) + key).sigmoid()
        received = _GatedMean.apply(torch.cat([gate, gate * value], dim=1), tokens.links)
        own, before = (part.index_select(0, tokens.node) for part in (own, h))
        return conv.finish(own + received, before, conv.norm)


class _GatedMean(torch.autograd.Function):
    """Sums of gated messages over sums of gates, ``[rows, channels]``, of gates and messages ``[pairs, 2 * channels]``.

    One function, because rows are many: nothing of their number is kept but the result and the divisor.
    """

    @staticmethod
    def forward(ctx: Any, sent: Tensor, links: SparseMatrix) -> Tensor:
        norm, total = links.times(sent).chunk(2, dim=1)
        norm = norm + EPS
        out = total / norm
        ctx.links = links
        ctx.save_for_backward(norm, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        norm, out = ctx.saved_tensors
        width = norm.size(1)
        spread = grad.new_empty(len(norm), 2 * width)
        torch.div(grad, norm, out=spread[:, width:])
        torch.mul(spread[:, width:], out, out=spread[:, :width]).neg_()
        return ctx.links.times(spread, transpose=True), None


def _last(layer: BidirectionalMamba, x: Tensor) -> Tensor:
    """Return ``layer(x)[:, -1]``: for the last position, the backward direction has to read it alone."""
    end = x[:, -1:]
    both = layer.fwd(layer.norm_f(x))[:, -1:] + layer.bwd(layer.norm_b(end))
    out = dropout(layer.out(both), layer.dropout, layer.training)
    return (end + out if layer.residual else out).squeeze(1)

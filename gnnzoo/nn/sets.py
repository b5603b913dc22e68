"""Blocks that map the elements of sets to elements, whatever their order, many sets at once."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import reset
from torch_geometric.utils import softmax

from gnnzoo.errors import DataError
from gnnzoo.nn.hypergraph import MLP

__all__ = [
    "AttentionBlock",
    "Block",
    "InducedAttentionBlock",
    "MultiheadAttention",
    "Sets",
    "UnweightedBlock",
    "equivariant_block",
]

Block = Literal["unb", "isab", "sab"]

_MAX_PAIRS = 20_000_000
"""Attention among all members of all sets makes three rows of the width of the network for each pair."""


class Sets:
    """Sets of elements, in the form in which operators on sets are fast; elements may count several times.

    Args:
        owner: ``[num_elements]`` int64, the set of each element; ascending.
        num_sets: number of sets; none is empty.
        count: ``[num_elements]``, how often each element is in its set; None: once.
        asked: ``[num_asked]`` int64, the elements for which results are wanted in the end; None: all.

    Attributes:
        size: ``[num_sets, 1]``, elements of each set, repetitions counted.
    """

    def __init__(self, owner: Tensor, num_sets: int, count: Tensor | None = None, asked: Tensor | None = None) -> None:
        self.owner, self.num_sets, self.count, self.asked = owner, num_sets, count, asked
        weight = torch.ones_like(owner) if count is None else count
        self.size = owner.new_zeros(num_sets).index_add_(0, owner, weight).unsqueeze(1)

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of each set's elements, ``[num_sets, channels]``."""
        x = x if self.count is None else x * self.count.unsqueeze(1).to(x.dtype)
        return x.new_zeros(self.num_sets, x.size(1)).index_add(0, self.owner, x) / self.size

    def attention(self, score: Tensor) -> Tensor:
        """Return the softmax over each set's elements, of which repeated ones count as often as they are there.

        Args:
            score: ``[num_elements, heads]``.
        """
        if self.count is not None:
            score = score + self.count.unsqueeze(1).to(score.dtype).log()
        return softmax(score, self.owner, num_nodes=self.num_sets)

    def pairs(self, asked: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return all pairs of an asked element, by its number among these, and an element of its set.

        Args:
            asked: ``[num_asked]``; None: all elements.

        Raises:
            DataError: there are too many of them.
        """
        members = torch.bincount(self.owner, minlength=self.num_sets)
        owner = self.owner if asked is None else self.owner[asked]
        partners = members[owner]
        if int(partners.sum()) > _MAX_PAIRS:
            raise DataError(f"{int(partners.sum())} pairs in all sets are too many: take block=isab or mini-batches")
        first = torch.repeat_interleave(torch.arange(len(partners), device=partners.device), partners)
        place = torch.arange(len(first), device=first.device) - (partners.cumsum(0) - partners)[first]
        return first, (members.cumsum(0) - members)[owner][first] + place


class UnweightedBlock(nn.Module):
    r"""UNB: :math:`y_i = M_2[x_i \Vert \mathrm{mean}_{j \in S} M_1(x_j)]`, after ED-HNN (arXiv 2207.06680).

    What is linear is applied to sets instead of to their elements: the last layer of :math:`M_1`, and the half of the
    first layer of :math:`M_2` that sees the mean.
    """

    def __init__(self, channels: int, layer_norm: bool) -> None:
        super().__init__()
        norm: Literal["layer", "none"] = "layer" if layer_norm else "none"
        self.layer_norm = layer_norm
        self.mlp1 = MLP([channels] * 3, norm=norm)
        self.mlp2 = MLP([2 * channels, channels, channels], norm=norm)

    def forward(self, x: Tensor, sets: Sets, asked: Tensor | None = None) -> Tensor:
        """Return ``[num_elements, channels]``, or ``[num_asked, channels]``."""
        mean = self.mlp1.lins[-1](sets.mean(self.mlp1.hidden(self.mlp1.norms[0](x))))
        owner = sets.owner
        if asked is not None:
            x, owner = x.index_select(0, asked), owner[asked]
        if self.layer_norm:
            return self.mlp2(torch.cat([x, mean.index_select(0, owner)], dim=1))
        first, last = self.mlp2.lins
        weight, weight_mean = first.weight.chunk(2, dim=1)
        z = F.linear(x, weight, first.bias) + F.linear(mean, weight_mean).index_select(0, owner)
        return last(z.relu())


class MultiheadAttention(nn.Module):
    r"""MAB: :math:`o = q + \mathrm{softmax}(q k^\top / \sqrt d) v` head by head, then :math:`o + \mathrm{ReLU}(W_o o)`.

    The block of the Set Transformer (arXiv 1810.00825) as the code of CoNHD (arXiv 2405.14286) has it: the scale is
    that of the whole width d, and the projected query is what is added to. Layer normalization, if any, comes before
    and after the last step.
    """

    def __init__(self, channels: int, heads: int, layer_norm: bool) -> None:
        super().__init__()
        self.heads, self.scale = heads, 1 / math.sqrt(channels)
        self.lin_query, self.lin_key, self.lin_value, self.lin_out = (nn.Linear(channels, channels) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) if layer_norm else nn.Identity() for _ in range(2))

    def split(self, x: Tensor) -> Tensor:
        """Return ``[..., heads, channels / heads]``."""
        return x.unflatten(-1, (self.heads, -1))

    def finish(self, out: Tensor) -> Tensor:
        """Return what comes of ``[..., heads, channels / heads]``: ``[..., channels]``."""
        out = self.norms[0](out.flatten(-2))
        return self.norms[1](out + self.lin_out(out).relu())

    def to_points(self, points: Tensor, x: Tensor, sets: Sets) -> Tensor:
        """Let the same few points look at the elements of every set.

        Args:
            points: ``[num_points, channels]``.
            x: ``[num_elements, channels]``.
            sets: of the elements.

        Returns:
            ``[num_sets, num_points, channels]``.
        """
        query = self.split(self.lin_query(points))  # [points, heads, d / heads]
        # of the keys only their products with few queries are needed: those make one narrow matrix
        key, bias = self.lin_key.weight.unflatten(0, (self.heads, -1)), self.split(self.lin_key.bias)
        weight = torch.einsum("phc,hcd->hpd", query, key).flatten(0, 1)
        score = F.linear(x, weight, torch.einsum("phc,hc->hp", query, bias).flatten()) * self.scale
        alpha = sets.attention(score).unflatten(1, (self.heads, -1))
        value = self.split(self.lin_value(x))
        sent = torch.einsum("ehp,ehc->ephc", alpha, value).flatten(1)
        seen = x.new_zeros(sets.num_sets, sent.size(1)).index_add(0, sets.owner, sent)
        return self.finish(query + seen.view(-1, *query.shape))

    def from_points(self, x: Tensor, points: Tensor, owner: Tensor) -> Tensor:
        """Let elements look at the points of their set.

        Args:
            x: ``[num_elements, channels]``.
            points: ``[num_sets, num_points, channels]``.
            owner: ``[num_elements]``, the set of each.

        Returns:
            ``[num_elements, channels]``.
        """
        query = self.split(self.lin_query(x))
        key, value = (self.split(lin(points)).index_select(0, owner) for lin in (self.lin_key, self.lin_value))
        alpha = (torch.einsum("ehc,ephc->eph", query, key) * self.scale).softmax(dim=1)
        return self.finish(query + torch.einsum("eph,ephc->ehc", alpha, value))

    def among(self, x: Tensor, sets: Sets, asked: Tensor | None) -> Tensor:
        """Let (asked) elements look at all elements of their set; return a row for each, ``[..., channels]``."""
        query = self.split(self.lin_query(x if asked is None else x.index_select(0, asked)))
        key, value = self.split(self.lin_key(x)), self.split(self.lin_value(x))
        first, second = sets.pairs(asked)
        score = (query.index_select(0, first) * key.index_select(0, second)).sum(-1) * self.scale
        if sets.count is not None:
            score = score + sets.count[second].unsqueeze(1).to(score.dtype).log()
        alpha = softmax(score, first, num_nodes=len(query)).unsqueeze(2)
        return self.finish(query.index_add(0, first, alpha * value.index_select(0, second)))


class InducedAttentionBlock(nn.Module):
    r"""ISAB: :math:`h = \mathrm{MAB}_0(I, X),\ y = \mathrm{MAB}_1(X, h)` with a few learned points I."""

    def __init__(self, channels: int, heads: int, num_points: int, layer_norm: bool) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.empty(num_points, channels))
        self.mab0, self.mab1 = (MultiheadAttention(channels, heads, layer_norm) for _ in range(2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew: the points with the authors' bounds (Xavier, of ``[1, points, d]``)."""
        nn.init.xavier_uniform_(self.points.unsqueeze(0))
        for mab in (self.mab0, self.mab1):
            reset(mab)

    def forward(self, x: Tensor, sets: Sets, asked: Tensor | None = None) -> Tensor:
        """Return ``[num_elements, channels]``, or ``[num_asked, channels]``."""
        seen = self.mab0.to_points(self.points, x, sets)
        if asked is None:
            return self.mab1.from_points(x, seen, sets.owner)
        return self.mab1.from_points(x.index_select(0, asked), seen, sets.owner[asked])


class AttentionBlock(nn.Module):
    r"""SAB: :math:`y = \mathrm{MAB}(X, X)`."""

    def __init__(self, channels: int, heads: int, layer_norm: bool) -> None:
        super().__init__()
        self.mab = MultiheadAttention(channels, heads, layer_norm)

    def forward(self, x: Tensor, sets: Sets, asked: Tensor | None = None) -> Tensor:
        """Return ``[num_elements, channels]``, or ``[num_asked, channels]``."""
        return self.mab.among(x, sets, asked)


def equivariant_block(block: Block, channels: int, heads: int, num_points: int, layer_norm: bool) -> nn.Module:
    """Return a block that maps elements of sets to elements, whatever their order.

    Args:
        block: ``unb``, ``isab`` or ``sab``.
        channels: width.
        heads: of attention.
        num_points: inducing points of ``isab``.
        layer_norm: whether the block normalizes.
    """
    if block == "unb":
        return UnweightedBlock(channels, layer_norm)
    if block == "isab":
        return InducedAttentionBlock(channels, heads, num_points, layer_norm)
    return AttentionBlock(channels, heads, layer_norm)

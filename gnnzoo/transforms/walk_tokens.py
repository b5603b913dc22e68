"""Neighbourhood tokens: the subgraphs that random walks from every node visit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import ConfigError
from gnnzoo.ops.structure import check_edge_index

__all__ = ["WalkLaw", "WalkTokens", "induced_links", "num_tokens", "random_walks", "token_members"]

WalkLaw = Literal["simple", "non-backtracking"]

MAX_BYTES = 4 * 2**30
"""What the tokens of one graph may take: beyond, there is an error and not a machine that swaps."""

_BLOCK = 1 << 21
"""Pairs of nodes that are looked at together: bounds the memory of the search, not its result."""


class WalkTokens(BaseTransform):
    r"""Add the neighbourhood tokens of `"Graph Mamba: Towards Learning on Graphs with State Space Models"
    <https://arxiv.org/abs/2402.08678>`_ (arXiv 2402.08678, section 4).

    For every node v, every length h = 1, ..., m and every repeat j = 1, ..., s, M random walks of h steps start at v;
    the token is the subgraph induced by all nodes that they visit. The token of length 0 is v alone. A node's tokens
    stand in the order of its sequence: the s tokens of length m, ..., the s tokens of length 1, last v alone.

    The walks depend on the graph and on ``seed`` only. Takes time and memory of :math:`O(n s \sum_h (M h + 1)^2)`.

    Args:
        walk_length: m, the longest walk; 0 leaves the node alone.
        walks: M, walks for each token.
        repeats: s, tokens of each length.
        law: ``simple``: every step goes to any neighbour; ``non-backtracking``: to any but the one it came from, unless
            there is no other. A walk stays where there is no neighbour. The paper does not say.
        append_node: whether the node alone is the last token.
        seed: of the walks.

    Shapes:
        - **added:** ``token_index`` ``[2, num_members]``: whose token it is, and a node in it; ``token_slot``
          ``[num_members]``: the token's place in the sequence; ``link_index`` ``[3, num_links]``: whose token it is,
          and source and target of an edge in it; ``link_slot`` ``[num_links]``. Sorted; they can be batched.

    Raises:
        ConfigError: when called, if the tokens would take more than 4 GiB.
    """

    def __init__(
        self,
        walk_length: int = 2,
        walks: int = 4,
        repeats: int = 2,
        law: WalkLaw = "simple",
        append_node: bool = True,
        seed: int = 0,
    ) -> None:
        self.walk_length, self.walks, self.repeats = walk_length, walks, repeats
        self.law, self.append_node, self.seed = law, append_node, seed

    def forward(self, data: Data) -> Data:
        """Add the tokens of one graph."""
        n, size = data.num_nodes, num_tokens(self.walk_length, self.repeats, self.append_node)
        visits = sum(self.walks * h + 1 for h in range(1, self.walk_length + 1)) * self.repeats + 1
        self._guard(n * visits * 4 * 8)  # keys, and what sorting them takes
        edge_index = data.edge_index.as_tensor() if isinstance(data.edge_index, EdgeIndex) else data.edge_index
        generator = torch.Generator().manual_seed(self.seed)
        nodes = torch.arange(n)
        key = [(nodes * size + size - 1) * n + nodes] if self.append_node or not self.walk_length else []
        for length in range(self.walk_length, 0, -1):
            start = nodes.repeat_interleave(self.repeats * self.walks)
            visited = random_walks(edge_index.cpu(), n, start, length, self.law, generator)
            found = token_members(visited.view(n * self.repeats, -1), n)
            slot = (self.walk_length - length) * self.repeats + found.token % self.repeats
            key.append((found.token // self.repeats * size + slot) * n + found.node)
        members = torch.cat(key).sort().values
        token, node = members // n, members % n
        links = []
        for block in _links(token, node, edge_index.cpu(), n):
            links.append(block)
            self._guard(sum(part.size(1) for part in links) * 8 * 8)
        source, target = torch.cat(links, dim=1)
        data.token_index = torch.stack([token // size, node])
        data.token_slot = token % size
        data.link_index = torch.stack([token[target] // size, node[source], node[target]])
        data.link_slot = token[target] % size
        return data

    def _guard(self, needed: int) -> None:
        if needed > MAX_BYTES:
            raise ConfigError(
                f"walk tokens of walk_length={self.walk_length}, walks={self.walks}, repeats={self.repeats} would take "
                f"more than {MAX_BYTES / 2**30:.0f} GiB here: take fewer or shorter walks"
            )


def num_tokens(walk_length: int, repeats: int, append_node: bool = True) -> int:
    """Return the length of a node's sequence of tokens."""
    return walk_length * repeats + (append_node or walk_length == 0)


def random_walks(
    edge_index: Tensor,
    num_nodes: int,
    start: Tensor,
    length: int,
    law: WalkLaw = "simple",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return random walks ``[num_walks, length + 1]``, all at once; see :class:`WalkTokens` for the law.

    Args:
        edge_index: ``[2, num_edges]``; walks follow the direction of edges, and an edge that is listed twice is twice
            as likely. The order of the edges plays no part.
        num_nodes: number of nodes.
        start: ``[num_walks]``.
        length: number of steps.
        law: ``simple`` or ``non-backtracking``.
        generator: of the random numbers.

    Raises:
        DataError: ``edge_index`` has another shape or refers to nodes that do not exist.
    """
    check_edge_index(edge_index, num_nodes)
    key = (edge_index[0] * num_nodes + edge_index[1]).sort().values
    col = F.pad(key % max(num_nodes, 1), (0, 1))  # one more entry, for nodes behind the last edge
    rowptr = torch.searchsorted(key, torch.arange(num_nodes + 1) * num_nodes)
    degree = rowptr.diff()
    walks = [start]
    for step in range(length):
        here = walks[-1]
        begin, choices = rowptr[here], degree[here]
        if law == "non-backtracking" and step:
            back = here * num_nodes + walks[-2]
            first, last = torch.searchsorted(key, back), torch.searchsorted(key, back, right=True)
            banned = torch.where(last - first < choices, last - first, 0)
        else:
            first, banned = begin, torch.zeros_like(begin)
        draw = torch.rand(here.shape, generator=generator, dtype=torch.float64)
        place = begin + (draw * (choices - banned)).long()
        place += torch.where(place >= first, banned, 0)  # step over the edges that lead back
        walks.append(torch.where(choices > 0, col[place], here))
    return torch.stack(walks, dim=1)


class Members(NamedTuple):
    """Which nodes are in which tokens: pairs, ascending, each once."""

    token: Tensor
    node: Tensor


def token_members(walks: Tensor, num_nodes: int) -> Members:
    """Return the nodes of tokens.

    Args:
        walks: ``[num_tokens, num_visits]``: the nodes that a token's walks visit, in any order; -1 stands for none.
        num_nodes: number of nodes.
    """
    token = torch.arange(walks.size(0), device=walks.device).unsqueeze(1).expand_as(walks)
    key = (token * num_nodes + walks)[walks >= 0].unique()
    return Members(key // num_nodes, key % num_nodes)


def induced_links(token: Tensor, node: Tensor, edge_index: Tensor, num_nodes: int) -> Tensor:
    """Return the edges of the subgraphs that tokens induce, ``[2, num_links]``: which member is source, and target.

    An edge that is listed twice is there twice. Sorted by target and source.

    Args:
        token: ``[num_members]``, ascending.
        node: ``[num_members]``, ascending inside a token.
        edge_index: ``[2, num_edges]``.
        num_nodes: number of nodes.
    """
    return torch.cat([*_links(token, node, edge_index, num_nodes)], dim=1)


def _links(token: Tensor, node: Tensor, edge_index: Tensor, num_nodes: int) -> Iterator[Tensor]:
    """Yield the links block by block; every pair of members of a token is looked up among the edges."""
    edges = (edge_index[0] * num_nodes + edge_index[1]).sort().values
    size = torch.bincount(token)
    start = (size.cumsum(0) - size)[token]
    size = size[token]
    total = size.cumsum(0)
    marks = torch.arange(0, int(total[-1]) if total.numel() else 0, _BLOCK, device=token.device)
    cuts = [*torch.searchsorted(total, marks, right=True).tolist(), token.numel()]
    yield token.new_empty(2, 0)
    for low, high in pairwise(cuts):
        count = size[low:high]
        target = torch.arange(low, high, device=token.device).repeat_interleave(count)
        shift = start[low:high] - count.cumsum(0) + count
        source = torch.arange(target.numel(), device=token.device) + shift[target - low]
        wanted = node[source] * num_nodes + node[target]
        first = torch.searchsorted(edges, wanted)
        times = torch.searchsorted(edges, wanted, right=True) - first
        yield torch.stack([source, target]).repeat_interleave(times, dim=1)

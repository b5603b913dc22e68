"""Learnable commutative monoids: a recurrent cell, made commutative, reduces neighborhoods along balanced trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch_geometric.nn import MLP
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.nn.inits import reset
from torch_geometric.nn.resolver import aggregation_resolver

from gnnzoo.ops import Adjacency, adjacency, cached, dropout, sparse_linear
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["LCM", "LCMAggregation", "Level", "Trees"]


class Level(NamedTuple):
    """One round of merging; numbers are rows of the round's table. The next table is what was merged, then carried."""

    pairs: Tensor
    """``[2, num_pairs]``: left and right operands."""
    carried: Tensor
    """Rows without a partner, which stay what they are."""
    done: Tensor
    """Rows that are all that is left of their set."""


class Trees:
    r"""Balanced binary trees over many sets: at each level members 0 and 1, 2 and 3, ... are merged.

    Only members that exist are merged, so a set of :math:`k` takes :math:`k - 1` merges, whatever the other sets are,
    and the largest one :math:`\lceil \log_2 k \rceil` levels. An odd last element is carried up unchanged.

    Args:
        sizes: number of members of each set, ``[num_sets]``; members are listed set by set.
    """

    def __init__(self, sizes: Tensor) -> None:
        sizes = sizes.to(torch.int64)
        alive = sizes.nonzero().flatten()
        self.set_of_member = torch.arange(sizes.numel(), device=sizes.device).repeat_interleave(sizes)
        self.place = torch.zeros_like(sizes)
        """Where each set is among the results, of which the first is the empty set's."""
        self.levels: list[Level] = []
        rows, size, found = torch.arange(self.set_of_member.numel(), device=sizes.device), sizes[alive], 1
        while alive.numel():
            first = size.cumsum(0) - size
            done = rows[first[size == 1]]
            self.place[alive[size == 1]] = torch.arange(found, found + done.numel(), device=sizes.device)
            found += done.numel()
            number = torch.arange(rows.numel(), device=sizes.device) - first.repeat_interleave(size)
            is_last = number + 1 == size.repeat_interleave(size)
            is_left = (number % 2 == 0) & ~is_last
            is_carried = (number % 2 == 0) & is_last & (number > 0)
            left = is_left.nonzero().flatten()
            self.levels.append(Level(torch.stack([rows[left], rows[left + 1]]), rows[is_carried], done))
            rows = torch.where(is_left, is_left.cumsum(0) - 1, left.numel() + is_carried.cumsum(0) - 1)
            rows = rows[is_left | is_carried]
            alive, size = alive[size > 1], (size[size > 1] + 1) // 2

    @property
    def depth(self) -> int:
        """Number of rounds, and of calls to ``merge``."""
        return max(len(self.levels) - 1, 0)

    def reduce(
        self, table: Tensor, rows: Tensor | None, empty: Tensor, merge: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Merge the members of every set by ``depth`` calls of ``merge``.

        Args:
            table: vectors ``[num_rows, ...]``; several members may be one row.
            rows: which row each member is, ``[num_members]``; None: they are the rows.
            empty: what an empty set gives, ``[...]``.
            merge: takes a table and rows of left and right operands, ``[2, num_pairs]``, to ``[num_pairs, ...]``.

        Returns:
            ``[num_sets, ...]``.
        """
        results = [empty.expand(1, *table.shape[1:])]
        for level in self.levels:
            pairs, carried, done = level if rows is None else (rows[index] for index in level)
            rows = None
            results.append(table.index_select(0, done))
            if pairs.numel():
                table = torch.cat([merge(table, pairs), table.index_select(0, carried)])
        return torch.cat(results).index_select(0, self.place)


class LCMAggregation(Aggregation):
    r"""The aggregator of `"Learnable Commutative Monoids for Graph Neural Networks"
    <https://arxiv.org/abs/2212.08541>`_, for any layer of PyG that takes ``aggr=`` and as a readout.

    .. math::
        x \oplus y = \tfrac12 \bigl(\mathrm{GRU}(x, y) + \mathrm{GRU}(y, x)\bigr), \quad
        \bigoplus_i x_i = \ldots \bigl((x_0 \oplus x_1) \oplus (x_2 \oplus x_3)\bigr) \oplus \ldots

    where :math:`\mathrm{GRU}(\text{input}, \text{hidden})`. The operator is commutative, not associative: the result
    depends on the order in which a set of three or more is listed. ``shuffle`` makes training see all orders.

    Parameters have the names of PyG's ``LCMAggregation``, whose numbers ``padding="zero"`` gives. There, sets are
    filled up with zeros that take part, so that a set's result depends on the largest set beside it.

    Args:
        in_channels: width of the members.
        out_channels: width of the result.
        project: whether members go through a linear layer and ReLU first.
        padding: ``masked``: real members only; ``zero``: as in PyG.
        shuffle: whether members are put into a random order in training.
        learn_unit: whether an empty set gives a learned vector (initially zero), and not zero.

    Shapes:
        - **input:** ``x`` ``[*, num_members, in_channels]`` with members along ``dim``, ``index`` ``[num_members]``
          (in any order; members of a set stay in theirs) or ``ptr`` ``[num_sets + 1]``
        - **output:** ``[*, num_sets, out_channels]``

    Raises:
        ValueError: without ``project``, if the widths differ; if ``dim`` is that of the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        project: bool = True,
        padding: Literal["masked", "zero"] = "masked",
        shuffle: bool = False,
        learn_unit: bool = False,
    ) -> None:
        super().__init__()
        if not project and in_channels != out_channels:
            raise ValueError(f"without project, widths must be equal, not {in_channels} and {out_channels}")
        if padding not in ("masked", "zero"):
            raise ValueError(f"padding={padding!r}: masked or zero")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.padding, self.shuffle = padding, shuffle
        self.lin = nn.Linear(in_channels, out_channels) if project else None
        self.gru_cell = nn.GRUCell(out_channels, out_channels)
        self.unit = nn.Parameter(torch.zeros(out_channels)) if learn_unit else None

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults; the unit is zero again."""
        if self.lin is not None:
            self.lin.reset_parameters()
        self.gru_cell.reset_parameters()
        if self.unit is not None:
            nn.init.zeros_(self.unit)

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
        max_num_elements: int | None = None,
    ) -> Tensor:
        """Return the result of every set; arguments as in PyG's ``Aggregation``.

        Args:
            x: members.
            index: which set each is of.
            ptr: where each set begins, if members are listed set by set.
            dim_size: number of sets.
            dim: along which members are listed.
            max_num_elements: at least the size of the largest set; ``padding="zero"`` fills up to it.
        """
        if dim in (-1, x.dim() - 1):
            raise ValueError("members cannot be listed along the channels")
        x = x.movedim(dim, 0)
        if ptr is not None:
            order, trees = None, cached(ptr, "lcm", lambda: Trees(ptr.diff()))
        else:
            assert index is not None  # Aggregation.__call__ sees to it
            order, trees = cached(index, ("lcm", dim_size), lambda: _sort(index, dim_size or 0))
        return self.combine(self.project(x), order, trees, max_num_elements).movedim(0, dim)

    def project(self, x: Tensor) -> Tensor:
        """Return ``ReLU(lin(x))``, or ``x`` itself where there is no projection."""
        return x if self.lin is None else self.lin(x).relu()

    def combine(self, table: Tensor, rows: Tensor | None, trees: Trees, max_num_elements: int | None = None) -> Tensor:
        """Reduce projected vectors ``[num_rows, ..., out_channels]`` to ``[num_sets, ..., out_channels]``.

        Args:
            table: several members may be one of its rows; what is the same for all of them is then computed once.
            rows: which row each member is, set by set ``[num_members]``; None: they are the rows.
            trees: of the sets.
            max_num_elements: what ``padding="zero"`` fills up to.
        """
        if self.shuffle and self.training:
            key = trees.set_of_member + torch.rand_like(trees.set_of_member, dtype=torch.float64)
            rows = key.argsort() if rows is None else rows[key.argsort()]
        if self.padding == "zero":
            rows, trees = _pad(rows, trees, len(table), max_num_elements)
            table = torch.cat([table, table.new_zeros(1, *table.shape[1:])])
        empty = table.new_zeros(self.out_channels) if self.unit is None else self.unit
        return trees.reduce(table, rows, empty, self.merge)

    def operator(self, x: Tensor, y: Tensor) -> Tensor:
        r"""Return :math:`x \oplus y` of vectors ``[..., out_channels]``."""
        table = torch.stack([x, y]).view(-1, self.out_channels)
        return self.merge(table, torch.arange(len(table), device=x.device).view(2, -1)).view(x.shape)

    def merge(self, table: Tensor, pairs: Tensor) -> Tensor:
        """Apply the operator to rows ``[2, num_pairs]`` of ``[num_rows, ..., out_channels]``.

        On CPU it is differentiable once.
        """
        if table.dim() > 2:  # every head is a row
            heads = table.shape[1:-1].numel()
            inner = (pairs.unsqueeze(-1) * heads + torch.arange(heads, device=pairs.device)).flatten(1)
            return self.merge(table.reshape(-1, self.out_channels), inner).view(-1, *table.shape[1:])
        cell = self.gru_cell
        if table.device.type == "cpu" and table.dtype == cell.weight_ih.dtype in (torch.float32, torch.float64):
            return _Merge.apply(table, pairs, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
        return self._merge_by_cell(table, pairs)

    def _merge_by_cell(self, table: Tensor, pairs: Tensor) -> Tensor:
        """Merge by one call of PyTorch's cell, which has a kernel on GPUs."""
        pairs, z = _in_one_order(table, pairs)
        both = self.gru_cell(z.flatten(0, 1), z.flip(0).flatten(0, 1)).view(z.shape)
        return 0.5 * (both[0] + both[1])

    def associativity_loss(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        r"""Return the mean of :math:`\|(a \oplus b) \oplus c - a \oplus (b \oplus c)\|^2` over rows.

        A penalty to add to a loss, on triples of projected members ``[num_triples, out_channels]``.
        """
        left = self.operator(self.operator(a, b), c)
        right = self.operator(a, self.operator(b, c))
        return (left - right).square().sum(-1).mean()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, padding={self.padding})"


def _in_one_order(table: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``pairs`` with the row of the lexicographically larger vector first, and the vectors themselves.

    Rounding depends on the place in a matrix; without this, the two orders of a pair could differ in the last bits.
    """
    x, y = z = table.detach().index_select(0, pairs.flatten()).view(2, -1, table.size(1))
    first = (x != y).byte().argmax(-1, keepdim=True)
    swapped = x.gather(-1, first) < y.gather(-1, first)
    pairs = torch.where(swapped.squeeze(-1), pairs.flip(0), pairs)
    if table.requires_grad and torch.is_grad_enabled():
        return pairs, table.index_select(0, pairs.flatten()).view(z.shape)
    return pairs, torch.where(swapped, z.flip(0), z)


class _Merge(torch.autograd.Function):
    r"""The operator on pairs of rows of a table, in blocks whose gates stay in the processor's cache.

    With PyTorch's cell much of the time, and nearly all memory, goes to a dozen arrays of gates. Here none is kept: the
    backward pass computes them again. All six products of a row with weights are one, and where rows are members of
    several sets, as nodes are of many neighborhoods, it is done once for each row and not for each member. Gates
    :math:`r, u, n` are as in ``torch.nn.GRUCell``.
    """

    BLOCK = 2**18
    """Gates per block; 2**17 and 2**20 took longer on an AMD EPYC with 1 MiB of cache per core."""

    @staticmethod
    def blocks(table: Tensor, pairs: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield places of pairs, the rows of their members (flat, in one order) and the members ``[2, size, d]``."""
        size = max(_Merge.BLOCK // (12 * table.size(1)), 32)
        for start in range(0, pairs.size(1), size):
            places = slice(start, start + size)
            rows, z = _in_one_order(table, pairs[:, places])
            yield places, rows.flatten(), z

    @staticmethod
    def orders(z: Tensor, products: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Yield the gates r, u, n, the part of n that r scales, and the hidden state, for GRU(x, y) and GRU(y, x)."""
        d = z.size(-1)
        products = products.view(2, -1, 6 * d)
        for order in (0, 1):
            of_input, of_hidden = products[order, :, : 3 * d], products[1 - order, :, 3 * d :]
            r, u = torch.add(of_input[:, : 2 * d], of_hidden[:, : 2 * d]).sigmoid_().chunk(2, dim=1)
            scaled = of_hidden[:, 2 * d :]
            yield r, u, torch.addcmul(of_input[:, 2 * d :], r, scaled).tanh_(), scaled, z[1 - order]

    @staticmethod
    def products(table: Tensor, pairs: Tensor, weight: Tensor, bias: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return what gives the products ``[2 * size, 6 * d]`` of rows and members with all weights."""
        if _Merge.shared(table, pairs):
            every = torch.addmm(bias, table, weight.t())
            return lambda rows, z: every.index_select(0, rows)
        return lambda rows, z: torch.addmm(bias, z.flatten(0, 1), weight.t())

    @staticmethod
    def shared(table: Tensor, pairs: Tensor) -> bool:
        """Whether rows are used so often that products are better made for the table."""
        return pairs.numel() > 2 * table.size(0)

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, pairs: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> Tensor:
        ctx.save_for_backward(table, pairs, w_ih, w_hh, b_ih, b_hh)
        products = _Merge.products(table, pairs, torch.cat([w_ih, w_hh]), torch.cat([b_ih, b_hh]))
        out = table.new_empty(pairs.size(1), table.size(1))
        for places, rows, z in _Merge.blocks(table, pairs):
            first, second = (torch.lerp(n, h, u) for _, u, n, _, h in _Merge.orders(z, products(rows, z)))
            torch.add(first, second, out=out[places]).mul_(0.5)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        table, pairs, w_ih, w_hh, b_ih, b_hh = ctx.saved_tensors
        weight, bias = torch.cat([w_ih, w_hh]), torch.cat([b_ih, b_hh])
        products = _Merge.products(table, pairs, weight, bias)
        grad_table, grad_weight, grad_bias = torch.zeros_like(table), torch.zeros_like(weight), torch.zeros_like(bias)
        shared, d = _Merge.shared(table, pairs), table.size(1)
        grad_every = table.new_zeros(len(table) if shared else 0, 6 * d)
        for places, rows, z in _Merge.blocks(table, pairs):
            half, grad_z = 0.5 * grad[places], torch.empty_like(z)
            grad_products = z.new_empty(2, z.size(1), 6 * d)
            for order, (r, u, n, scaled, h) in enumerate(_Merge.orders(z, products(rows, z))):
                kept = torch.mul(half, u, out=grad_z[1 - order])
                of_input, of_hidden = grad_products[order, :, : 3 * d], grad_products[1 - order, :, 3 * d :]
                of_n = torch.mul(half - kept, (n * n).neg_().add_(1), out=of_input[:, 2 * d :])
                torch.mul(of_n, r, out=of_hidden[:, 2 * d :])
                of_hidden[:, :d] = torch.mul(of_n, scaled).mul_(r).mul_(1 - r)
                of_hidden[:, d : 2 * d] = (h - n).mul_(kept).mul_(1 - u)
                of_input[:, : 2 * d] = of_hidden[:, : 2 * d]
            grad_z, grad_products = grad_z.flatten(0, 1), grad_products.flatten(0, 1)
            if shared:
                grad_every.index_add_(0, rows, grad_products)
            else:
                grad_z.addmm_(grad_products, weight)
                grad_weight.addmm_(grad_products.t(), z.flatten(0, 1))
                grad_bias += grad_products.sum(0)
            grad_table.index_add_(0, rows, grad_z)
        if shared:
            grad_table.addmm_(grad_every, weight)
            grad_weight, grad_bias = grad_every.t() @ table, grad_every.sum(0)
        return grad_table, None, *grad_weight.chunk(2), *grad_bias.chunk(2)


def _sort(index: Tensor, num_sets: int) -> tuple[Tensor | None, Trees]:
    """Return the order in which members stand set by set (None: they do already) and the trees."""
    in_order = bool((index[1:] >= index[:-1]).all())
    order = None if in_order else torch.sort(index, stable=True).indices
    sizes = torch.bincount(index, minlength=num_sets)
    if sizes.numel() > num_sets:
        raise ValueError(f"index refers to set {sizes.numel() - 1}, but the sets are 0 to {num_sets - 1}")
    return order, Trees(sizes)


def _pad(rows: Tensor | None, trees: Trees, filler: int, size: int | None) -> tuple[Tensor, Trees]:
    """Fill every set up to ``size``, or to the largest set, with the row ``filler``."""
    sets = trees.set_of_member
    sizes = torch.bincount(sets, minlength=trees.place.numel())
    largest = int(sizes.max()) if sizes.numel() else 0
    if size is not None and size < largest:
        raise ValueError(f"max_num_elements={size}, but there is a set of {largest}")
    size = largest if size is None else size
    number = torch.arange(sets.numel(), device=sets.device)
    place = sets * size + number - (sizes.cumsum(0) - sizes)[sets]
    filled = torch.full((sizes.numel() * size,), filler, device=sets.device)
    return filled.index_copy(0, place, number if rows is None else rows), Trees(torch.full_like(sizes, size))


class _Convolution(nn.Module):
    """One step of message passing: the aggregator's result and the node itself, joined as in GraphSAGE or GIN."""

    def __init__(self, channels: int, conv: str, aggregation: LCMAggregation) -> None:
        super().__init__()
        self.aggregation = aggregation
        if conv == "sage":
            self.lin_l, self.lin_r = nn.Linear(channels, channels), nn.Linear(channels, channels, bias=False)
        else:
            self.nn = MLP([channels, channels, channels], norm=None)

    def reset_parameters(self) -> None:
        for module in self.children():
            reset(module)

    def forward(self, x: Tensor, adj: Adjacency, trees: Trees) -> Tensor:
        """Return ``lin_l(found) + lin_r(x)`` or ``nn(x + found)``, ``[num_nodes, channels]``."""
        found = self.aggregation.combine(self.aggregation.project(x), adj.col, trees)
        return self.lin_l(found) + self.lin_r(x) if hasattr(self, "lin_l") else self.nn(x + found)


class LCM(nn.Module):
    r"""A network around the aggregator of `"Learnable Commutative Monoids for Graph Neural Networks"
    <https://arxiv.org/abs/2212.08541>`_ (arXiv 2212.08541, LoG 2022).

    .. math::
        H^{(0)} = \mathrm{ReLU}(X W_0 + b_0), \quad
        m_v = \bigoplus_{u \in N(v)} \mathrm{ReLU}(P h_u + p), \quad
        h_v \leftarrow h_v + \mathrm{ReLU}(W_1 m_v + W_2 h_v + b), \quad
        Y = H^{(L)} W_3 + b_3

    with :math:`\oplus` of :class:`LCMAggregation`, a balanced tree of depth :math:`\lceil \log_2 |N(v)| \rceil` over
    the neighbors in the order of their numbers: renumbering nodes changes what three or more neighbors give. The
    network is ours; the operator averages bounded values, so that a residual keeps features from vanishing.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers and of the operator.
        num_layers: number of convolutions.
        conv: how a node joins with its neighborhood: ``sage`` as above, ``gin`` by a perceptron on the sum.
        project: whether neighbors go through a linear layer and ReLU first.
        readout: how the nodes of a graph become one, where ``batch`` is given; ``lcm`` by a further aggregator.
        dropout: on the features and on the result of every convolution.
        residual: whether a convolution is added to its input.
        shuffle: whether neighbors are put into a random order in training.
        learn_unit: whether a node without neighbors gets a learned vector for them, and not zero.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``, ``batch`` ``[num_nodes]``
          (optional: which graph each node is of)
        - **output:** logits ``[num_graphs, out_channels]``; without ``batch``, of nodes, ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 2,
        conv: Literal["sage", "gin"] = "sage",
        project: bool = True,
        readout: Literal["sum", "mean", "max", "lcm"] = "sum",
        dropout: Dropout = 0.5,
        residual: bool = True,
        shuffle: bool = False,
        learn_unit: bool = False,
    ) -> None:
        super().__init__()
        self.dropout, self.residual = dropout, residual

        def aggregation() -> LCMAggregation:
            widths = hidden_channels, hidden_channels
            return LCMAggregation(*widths, project=project, shuffle=shuffle, learn_unit=learn_unit)

        self.lin_in = nn.Linear(in_channels, hidden_channels)
        self.convs = nn.ModuleList(_Convolution(hidden_channels, conv, aggregation()) for _ in range(num_layers))
        self.readout = aggregation() if readout == "lcm" else aggregation_resolver(readout)
        self.lin_out = nn.Linear(hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for module in (self.lin_in, *self.convs, self.readout, self.lin_out):
            module.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``, or ``[num_nodes, out_channels]`` without ``batch``."""
        adj = adjacency(edge_index, x.size(0))
        trees = cached(edge_index, ("lcm", x.size(0)), lambda: Trees(adj.in_degree))
        x = sparse_linear(x, self.lin_in.weight, self.lin_in.bias, self.dropout, self.training).relu()
        for conv in self.convs:
            found = dropout(conv(x, adj, trees).relu(), self.dropout, self.training)
            x = x + found if self.residual else found
        return self.lin_out(x if batch is None else self.readout(x, batch))

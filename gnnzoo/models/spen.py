"""Subgraph permutation equivariant networks: linear maps on ego-networks that commute with their permutations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data.data import BaseData
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.nn.equivariant import EquivariantWeights
from gnnzoo.ops import cached, grouped_linear
from gnnzoo.ops.rectangular import SparseMatrix
from gnnzoo.transforms.balls import Balls, EgoBalls, ego_balls, spread
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["SPEN", "BallGraphNorm", "BallLayout", "SPENConv", "SPENReadout", "pair_features", "reference_biases"]

Version = Literal["v1", "v2"]

_HEAD = (256, 128)
"""Widths of the perceptron behind the balls."""


class BallLayout:
    """Where everything stands while a batch of graphs is computed; made once per batch, from its balls.

    Features are one tensor of ``num_rows`` rows: first those of the pairs, then those of the nodes that are in some
    ball. ``gather`` takes the means that the maps read, ball by ball: at each member (of its column, of its row, its
    diagonal, its node), of each ball (of all pairs, of the diagonal, of all nodes), and each pair once for each set of
    weights. ``scatter`` goes the other way and takes the mean over all balls of what is written along columns, along
    rows, on the diagonal, to a node; everywhere, on the diagonal, to all nodes; to a pair.

    Args:
        balls: of all graphs, ``ball_pair`` counting the pairs of all.
        weight_set: ``[num_nodes]``, which weights the ball of each node uses.
        num_sets: how many there are.
        batch: ``[num_nodes]``, the graph of each node.
        num_graphs: number of graphs.
        dtype: of the features.

    Attributes:
        members, balls, pairs: for each set of weights the number of members of its balls, of balls, of pairs in them.
        owner: ``[num_balls]``, the center of each ball.
        node: ``[num_rows - num_pairs]``, the node of each row below the pairs.
        twin: for each summary of a pair, where that of the transposed pair is.
        pool: means over each graph's pairs, then over each graph's nodes, ``[2 * num_graphs, num_rows]``.
        spread: brings what belongs to these back to the rows.
        readout: means over each graph's balls, ``[num_graphs, num_balls]``.
    """

    def __init__(
        self, balls: Balls, weight_set: Tensor, num_sets: int, batch: Tensor, num_graphs: int, dtype: torch.dtype
    ) -> None:
        (member, center), pair, (first, second), _ = balls
        num_nodes, self.num_pairs = batch.numel(), first.numel()
        size = torch.bincount(center, minlength=num_nodes)
        begin, begin_entry = size.cumsum(0) - size, size.square().cumsum(0) - size.square()
        # balls are put in the order of their weights, and among those in that of their size
        self.owner = size.nonzero().flatten()
        stride = int(size.max()) + 1 if num_nodes else 1
        key, order = (weight_set * stride + size)[self.owner].sort(stable=True)
        self.owner = self.owner[order]
        size, weight_set = size[self.owner], weight_set[self.owner]
        member = member[spread(begin[self.owner], size)]
        pair = pair[spread(begin_entry[self.owner], size.square())]

        covered = torch.zeros(num_nodes, dtype=torch.bool, device=member.device)
        covered[member] = True
        self.node = covered.nonzero().flatten()
        self.num_rows = self.num_pairs + self.node.numel()
        node_row = (self.num_pairs - 1 + covered.cumsum(0))[member]

        kind, in_balls = (weight_set.repeat_interleave(size.square()) * self.num_pairs + pair).unique(
            return_counts=True
        )
        pair_set, pair_row = kind // max(self.num_pairs, 1), kind % max(self.num_pairs, 1)
        transposed = torch.searchsorted(first * num_nodes + second, second * num_nodes + first)
        self.twin = torch.searchsorted(kind, pair_set * self.num_pairs + transposed[pair_row])

        self.members = torch.bincount(weight_set, size, num_sets).long().tolist()
        self.balls = torch.bincount(weight_set, minlength=num_sets).tolist()
        self.pairs = torch.bincount(pair_set, minlength=num_sets).tolist()

        columns, lengths, means = _summaries(key % stride, pair, node_row, dtype)
        column = torch.cat([*columns, pair_row])
        length = torch.cat([*lengths, torch.ones_like(pair_row)])
        row = torch.arange(length.numel(), device=column.device).repeat_interleave(length)
        mean = torch.cat([*means, torch.ones_like(pair_row, dtype=dtype)])
        self.gather = SparseMatrix(row, column, (length.numel(), self.num_rows), mean)
        share = torch.ones_like(mean)
        share[mean.numel() - kind.numel() :] = in_balls.to(dtype)
        share = share / torch.bincount(torch.cat([pair, node_row]), minlength=self.num_rows)[column]
        self.scatter = self.gather.with_values(share).T

        part = torch.cat([batch[first], num_graphs + batch[self.node]])
        self.pool = _means(part, 2 * num_graphs, dtype)
        self.spread = SparseMatrix(
            torch.arange(part.numel(), device=part.device), part, (part.numel(), 2 * num_graphs), dtype=dtype
        )
        self.readout = _means(batch[self.owner], num_graphs, dtype)


def _summaries(
    size: Tensor, pair: Tensor, node_row: Tensor, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return columns, numbers of entries of each row, and values of the means at members, then of those of balls.

    Args:
        size: ``[num_balls]``, sorted within each set of weights; balls of one size that follow each other are done
            together.
        pair: the pairs of each ball, row by row.
        node_row: the row of each member's own features.
        dtype: of the values.
    """
    sizes, counts = size.unique_consecutive(return_counts=True)
    runs = list(zip(sizes.tolist(), counts.tolist(), strict=True))
    blocks = pair.split([m * m * count for m, count in runs])
    nodes = node_row.split([m * count for m, count in runs])
    at_members, of_balls = [], []  # columns of the entries; how many rows; entries of each mean
    for (m, count), flat, node in zip(runs, blocks, nodes, strict=True):
        block, node = flat.view(count, m, m), node.view(count, m)
        diagonal = block.diagonal(dim1=1, dim2=2)
        column = torch.cat([block.mT, block, diagonal.unsqueeze(2), node.unsqueeze(2)], dim=2)
        at_members.append((column.flatten(), count * m, torch.tensor([m, m, 1, 1])))
        column = torch.cat([block.flatten(1), diagonal, node], dim=1)
        of_balls.append((column.flatten(), count, torch.tensor([m * m, m, m])))
    columns, lengths, values = [], [], []
    for column, rows, entries in at_members + of_balls:
        columns.append(column)
        lengths.append(entries.repeat(rows).to(pair.device))
        values.append(entries.to(dtype).reciprocal().repeat_interleave(entries).repeat(rows).to(pair.device))
    return columns, lengths, values


def _means(group: Tensor, num_groups: int, dtype: torch.dtype) -> SparseMatrix:
    """Return the matrix that takes the mean over the rows of each group; one without rows gets zero."""
    weight = torch.bincount(group, minlength=num_groups).to(dtype).reciprocal()[group]
    return SparseMatrix(group, torch.arange(group.numel(), device=group.device), (num_groups, group.numel()), weight)


class _Twins(torch.autograd.Function):
    """Rows in the order of a permutation that is its own inverse."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor) -> Tensor:
        ctx.order = order
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, ctx.order), None


class SPENConv(nn.Module):
    r"""One layer: equivariant maps on every ball, then the mean over all balls that a pair or node is in.

    .. math::
        Z^{(2)} = L_{22}(X^{(2)}) \,\Vert\, L_{12}(X^{(1)}), \quad
        Z^{(1)} = L_{21}(X^{(2)}) \,\Vert\, L_{11}(X^{(1)})

    with maps of their own for each set of weights. Pairs in, pairs and nodes out where there are no features of nodes.

    Args:
        in_channels: width of the input.
        out_channels: width of each map; the output is twice as wide where nodes have features.
        num_sets: number of sets of weights.
        first: whether pairs alone have features.
    """

    def __init__(self, in_channels: int, out_channels: int, num_sets: int, first: bool = False) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.from_pairs = EquivariantWeights(2, (2, 1), in_channels, out_channels, num_sets)
        self.from_nodes = None if first else EquivariantWeights(1, (2, 1), in_channels, out_channels, num_sets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.from_pairs.extra_repr()}, first={self.from_nodes is None})"

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for weights in (self.from_pairs, self.from_nodes):
            reset(weights)

    def forward(self, x: Tensor, layout: BallLayout) -> Tensor:
        """Return ``[num_rows, out_channels]``, twice as wide where nodes have features.

        Args:
            x: ``[num_rows, in_channels]``; the rows of nodes are not read where they have no features.
            layout: where everything stands.
        """
        (pairs_at, nodes_at), (pairs_of, nodes_of), pair = _read(x, layout)
        weights, s = self.from_pairs, self.out_channels
        assert weights.node is not None
        assert weights.pair is not None
        same, transposed = grouped_linear(pair, weights.pair, layout.pairs).split(s, dim=1)
        at = grouped_linear(pairs_at, weights.node, layout.members)
        of = grouped_linear(pairs_of, weights.whole, layout.balls, weights.whole_bias)
        out = torch.cat([at.view(-1, s), of.view(-1, s), same + _Twins.apply(transposed, layout.twin)])
        if self.from_nodes is not None:
            weights = self.from_nodes
            assert weights.node is not None
            at = grouped_linear(nodes_at, weights.node, layout.members)
            of = grouped_linear(nodes_of, weights.whole, layout.balls, weights.whole_bias)
            out = torch.cat([out, torch.cat([at.view(-1, s), of.view(-1, s), torch.zeros_like(same)])], dim=1)
        return layout.scatter @ out


class SPENReadout(nn.Module):
    r"""Invariant maps of every ball, :math:`Z^{(0)} = L_{20}(X^{(2)}) \,\Vert\, L_{10}(X^{(1)})`.

    Args:
        in_channels: width of the input.
        out_channels: width of each map.
        num_sets: number of sets of weights.
    """

    def __init__(self, in_channels: int, out_channels: int, num_sets: int) -> None:
        super().__init__()
        self.from_pairs = EquivariantWeights(2, (0,), in_channels, out_channels, num_sets)
        self.from_nodes = EquivariantWeights(1, (0,), in_channels, out_channels, num_sets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.from_pairs.extra_repr()})"

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for weights in (self.from_pairs, self.from_nodes):
            reset(weights)

    def forward(self, x: Tensor, layout: BallLayout) -> Tensor:
        """Return ``[num_balls, 2 * out_channels]`` for ``[num_rows, in_channels]``."""
        _, parts, _ = _read(x, layout)
        weights = (self.from_pairs, self.from_nodes)
        return torch.cat(
            [grouped_linear(part, w.whole, layout.balls, w.bias) for part, w in zip(parts, weights, strict=True)], dim=1
        )


def _read(x: Tensor, layout: BallLayout) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
    """Return what maps read, of pairs and of nodes: at members, of balls; and the pairs, for each set of weights."""
    d, members, balls = x.size(1), sum(layout.members), sum(layout.balls)
    at, of, pair = (layout.gather @ x).split([4 * members, 3 * balls, sum(layout.pairs)])
    return at.view(members, 4 * d).split([3 * d, d], 1), of.view(balls, 3 * d).split([2 * d, d], 1), pair


class BallGraphNorm(nn.Module):
    r"""GraphNorm (`arXiv 2009.03294 <https://arxiv.org/abs/2009.03294>`_) over the pairs and over the nodes of a graph.

    .. math:: \gamma \, (x - \alpha \, \mathrm{mean}(x)) \, / \, \sqrt{\mathrm{mean}((x - \alpha \, \mathrm{mean}(x))^2)
        + \epsilon} + \beta

    Args:
        channels: width.
        eps: epsilon.

    Attributes:
        weight, bias, mean_scale: ``[2, channels]``, of pairs and of nodes.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight, self.bias, self.mean_scale = (nn.Parameter(torch.empty(2, channels)) for _ in range(3))
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Show the width."""
        return str(self.channels)

    def reset_parameters(self) -> None:
        """Start with ones, and zero for the bias."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.ones_(self.mean_scale)

    def forward(self, x: Tensor, layout: BallLayout) -> Tensor:
        """Return ``[num_rows, channels]`` for ``[num_rows, channels]``."""

        def by_order(value: Tensor) -> Tensor:
            return value.unflatten(0, (2, -1))

        mean = by_order(layout.pool @ x) * self.mean_scale.unsqueeze(1)
        x = x - layout.spread @ mean.flatten(0, 1)
        variance = by_order(layout.pool @ x.square())
        gain = self.weight.unsqueeze(1) * (variance + self.eps).rsqrt()
        shift = self.bias.unsqueeze(1).expand_as(gain)
        gain, shift = (layout.spread @ torch.cat([gain, shift], dim=2).flatten(0, 1)).chunk(2, dim=1)
        return torch.addcmul(shift, x, gain)


class SPEN(nn.Module):
    r"""SPEN of `"Subgraph Permutation Equivariant Networks" <https://arxiv.org/abs/2111.11840>`_ (arXiv 2111.11840,
    TMLR 2023).

    .. math::
        Z_v^{(2)} = L_{22}(X_v^{(2)}) \,\Vert\, L_{12}(X_v^{(1)}), \quad
        Z_v^{(1)} = L_{21}(X_v^{(2)}) \,\Vert\, L_{11}(X_v^{(1)}), \quad
        T_{ij} = \mathrm{mean}_{v : i, j \in S_v} Z^{(2)}_{v, ij}, \quad
        T_i = \mathrm{mean}_{v : i \in S_v} Z^{(1)}_{v, i}

    on the ball :math:`S_v` around every node, where :math:`X_v` are the features :math:`T` of its pairs and of its
    nodes, followed by ELU and GraphNorm. L are all linear maps that commute with permutations of a ball's nodes, with
    weights of their own for each size of ball: its automorphism group. At the end every ball is mapped to order 0, the
    mean over a graph's balls goes through a perceptron of three layers. The first features of a pair are
    :math:`D^{-1/2} A D^{-1/2}` in every channel, plus x on the diagonal of all but the first.

    Balls of a size that no training graph had use the weights of the nearest smaller size that one had, else of the
    smallest.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        weight_sizes: the sizes of balls that have weights of their own; ``infer`` takes all that occur.
        hidden_channels: width of each map; a list gives one width per layer, as the authors count them.
        num_layers: number of layers, the one to order 0 included.
        version: the authors' networks. ``v2``: the first layer is as wide as its number says, all others twice; at
            least 2 layers. ``v1``: the first is twice as wide too; 4 to 8 layers, of which the one to order 0 takes the
            place of the 6th where there are more than 5, and is added to 4 or 5.
        norm: GraphNorm behind each layer.
        residual: add what the layer before had, before ELU; all widths must be the same.
        hops: radius of the balls.
        include_center: closed balls; without, a node is in its own ball only where it has a loop, and edges outside of
            all triangles are not seen. See :class:`gnnzoo.transforms.EgoBalls`.
        use_features: read x; without, as for the authors' unlabelled graphs, pairs have one channel.
        size_map: sizes that use the weights of another size.
        dropout: in the perceptron.
        norm_dropout: behind each GraphNorm (the authors' DO, 0.01 where on).

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``edge_index`` ``[2, num_edges]``; ``ball_index, ball_pair,
          pair_index, pair_weight`` as :class:`gnnzoo.transforms.EgoBalls` adds them (optional: they are found
          from ``edge_index``, once per tensor); ``batch`` ``[num_nodes]`` (optional: one graph)
        - **output:** logits ``[num_graphs, out_channels]``

    Raises:
        ConfigError: widths that do not fit each other, sizes that are not distinct.
        DataError: in ``forward``, balls that are given in part only.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        weight_sizes: Sequence[int],
        hidden_channels: PositiveInt | list[PositiveInt] = 64,
        num_layers: PositiveInt = 5,
        version: Version = "v2",
        norm: bool = True,
        residual: bool = False,
        hops: PositiveInt = 1,
        include_center: bool = True,
        use_features: bool = True,
        size_map: dict[PositiveInt, PositiveInt] | None = None,
        dropout: Dropout = 0.5,
        norm_dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        self.weight_sizes, self.size_map = list(weight_sizes), size_map or {}
        if not self.weight_sizes or len(set(self.weight_sizes)) < len(self.weight_sizes) or min(self.weight_sizes) < 1:
            raise ConfigError(f"weight_sizes={self.weight_sizes}: needs different sizes of at least 1")
        if missing := set(self.size_map.values()) - set(self.weight_sizes):
            raise ConfigError(f"size_map leads to size {min(missing)}, which is not among weight_sizes")
        maps, last = _widths(hidden_channels, num_layers, version)
        widths = [2 * width for width in maps]  # behind each layer
        if version == "v2":
            widths[0] = maps[0]
        if residual and len(set(widths)) > 1:
            raise ConfigError(f"residual=true needs layers of one width, not {widths} (version={version})")
        self.residual, self.hops, self.include_center = residual, hops, include_center
        self.use_features, self.dropout, self.norm_dropout = use_features, dropout, norm_dropout
        sets, channels = len(self.weight_sizes), 1 + in_channels * use_features
        self.convs = nn.ModuleList([SPENConv(channels, widths[0], sets, first=True)])
        self.convs.extend(SPENConv(width, out, sets) for width, out in zip(widths, maps[1:], strict=False))
        self.norms = nn.ModuleList(BallGraphNorm(width) for width in widths if norm)
        self.readout = SPENReadout(widths[-1], last, sets)
        self.lins = nn.ModuleList(nn.Linear(*pair) for pair in pairwise([2 * last, *_HEAD, out_channels]))
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros(sets, dtype=torch.bool))
        self.reset_parameters()

    @classmethod
    def pre_transform(cls, hops: int = 1, include_center: bool = True, **_: Any) -> BaseTransform:
        """Find the balls once, before training."""
        return EgoBalls(hops, include_center)

    @classmethod
    def infer(cls, data: BaseData | Sequence[BaseData]) -> dict[str, Any]:
        """Read the width of the features and the sizes of all balls (closed ones of one hop, where none were added)."""
        graphs = [data] if isinstance(data, BaseData) else data
        sizes: set[int] = set()
        for graph in graphs:
            index = graph.get("ball_index")
            if index is None:
                index = ego_balls(graph.edge_index, graph.num_nodes).ball_index
            sizes.update(torch.bincount(index[1]).unique().tolist())
        return {"in_channels": graphs[0].num_node_features, "weight_sizes": sorted(sizes - {0}) or [1]}

    def reset_parameters(self) -> None:
        """Draw all parameters anew: maps as the authors do, the perceptron by Xavier's rule with biases of 0.1."""
        for layers in (self.convs, self.norms, self.readout):
            reset(layers)
        for name, parameter in self.lins.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_normal_(parameter)
            else:
                nn.init.constant_(parameter, 0.1)
        self.seen.zero_()

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        ball_index: Tensor | None = None,
        ball_pair: Tensor | None = None,
        pair_index: Tensor | None = None,
        pair_weight: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``."""
        parts = (ball_index, ball_pair, pair_index, pair_weight)
        given = [part for part in parts if part is not None]
        if 0 < len(given) < len(parts):
            raise DataError(f"{', '.join(Balls._fields)} belong together: EgoBalls adds all of them")
        if given:
            balls = Balls(*given) if batch is None else _joined(Balls(*given), batch)
        else:
            key = ("balls", x.size(0), self.hops, self.include_center)
            balls = cached(edge_index, key, lambda: ego_balls(edge_index, x.size(0), self.hops, self.include_center))
        if batch is None:
            batch = x.new_zeros(x.size(0), dtype=torch.int64)
        features = pair_features(x if self.use_features else x[:, :0], balls.pair_index, balls.pair_weight)
        return self.predict(features, balls, batch)

    def predict(self, features: Tensor, balls: Balls, batch: Tensor) -> Tensor:
        """Return logits ``[num_graphs, out_channels]`` from given features of pairs.

        Args:
            features: ``[num_pairs, channels]``.
            balls: of all graphs, ``ball_pair`` counting the pairs of all.
            batch: ``[num_nodes]``, the graph of each node.
        """
        layout = self.layout(balls, batch, features.dtype)
        x = F.pad(features, (0, 0, 0, layout.num_rows - layout.num_pairs))  # nodes have no features yet
        before: Tensor | None = None
        for number, conv in enumerate(self.convs):
            x = conv(x, layout)
            if self.residual:
                x = before = x if before is None else x + before
            x = F.elu(x)
            if self.norms:
                x = F.dropout(self.norms[number](x, layout), self.norm_dropout, self.training)
        x = layout.readout @ F.elu(self.readout(x, layout))
        for lin in self.lins[:-1]:
            x = F.dropout(lin(x).relu(), self.dropout, self.training)
        return self.lins[-1](x)

    def layout(self, balls: Balls, batch: Tensor, dtype: torch.dtype) -> BallLayout:
        """Return where everything stands for these balls; in training, remember the sizes that occur."""
        size = torch.bincount(balls.ball_index[1], minlength=batch.numel())
        weight_set = self._weight_set(size)
        if self.training:
            self.seen[weight_set[size > 0]] = True
        num_graphs = int(batch.max()) + 1 if batch.numel() else 0
        return BallLayout(balls, weight_set, len(self.weight_sizes), batch, num_graphs, dtype)

    def _weight_set(self, size: Tensor) -> Tensor:
        """Return which set of weights balls of each size use."""
        if self.size_map:
            table = torch.arange(max(int(size.max()), *self.size_map) + 1, device=size.device)
            table[list(self.size_map)] = torch.tensor(list(self.size_map.values()), device=size.device)
            size = table[size]
        sets = torch.arange(len(self.weight_sizes), device=size.device)
        if not self.training and bool(self.seen.any()):
            sets = sets[self.seen]
        known, order = torch.tensor(self.weight_sizes, device=size.device)[sets].sort()
        return sets[order][(torch.searchsorted(known, size, right=True) - 1).clamp(min=0)]

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> SPEN:
        """Build the model from the authors' names.

        Args:
            config: ``model`` (``v1, v2``), ``architecture, classes, in_channels`` (theirs: one more than labels),
                ``weight_degrees``; where they apply ``degree_mapping, BN, residual, DO, hops, labelled``.
            state_dict: the authors' parameters; :meth:`reference_weights` has their names.
        """
        architecture = list(config["architecture"])
        model = cls(
            config["in_channels"] - 1,
            config["classes"],
            config["weight_degrees"],
            hidden_channels=architecture,
            num_layers=len(architecture),
            version=config["model"],
            norm=config.get("BN", False),
            residual=config["model"] == "v1" and config.get("residual", False),
            hops=config.get("hops", 1),
            include_center=config.get("labelled", config["in_channels"] > 1),
            size_map={int(size): int(other) for size, other in config.get("degree_mapping", {}).items()},
            norm_dropout=0.01 if config.get("DO") else 0.0,
        )
        model.to(next(iter(state_dict.values())).dtype).load_reference_weights(config["model"], state_dict)
        return model

    @torch.no_grad()
    def load_reference_weights(self, version: Version, state_dict: Mapping[str, Tensor]) -> None:
        """Take over the authors' parameters, named as in their version of the network."""
        for prefix, weights, order in self.reference_maps(version):
            for number, size in enumerate(self.weight_sizes):
                weights.load_elements(order, number, state_dict[f"{prefix}.{size}.coeffs"])
                for part, name in reference_biases(weights, order).items():
                    bias = weights.bias_view(order, part)[number]
                    bias.copy_(state_dict[f"{prefix}.{size}.{name}"].view_as(bias))
        for name, value in self.reference_values(version, dict(self.named_parameters())).items():
            value.copy_(state_dict[name])

    def reference_maps(self, version: Version) -> Iterator[tuple[str, EquivariantWeights, int]]:
        """Yield the authors' name (without the size) of every kind of map, our weights, and the order of the output."""
        blocks = [f"eqblock{number}_" for number in [1, 2, 3, 4, 5, 51, 52][: len(self.convs)]] + ["eqblock6_"]
        if version == "v2":
            blocks = [f"net_eq.{number}.eqblock_" for number in range(len(self.convs) + 1)]
        for block, module in zip(blocks, [*self.convs, self.readout], strict=True):
            for weights in (module.from_pairs, module.from_nodes):
                if weights is not None:
                    for order in weights.out_orders:
                        yield f"{block}p{weights.in_order}p{order}", weights, order

    def reference_values(self, version: Version, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return, under the authors' names, what is neither coefficient nor bias of a map.

        Args:
            version: whose names.
            tensors: the parameters, or others such as gradients, by our names.
        """
        names = [f"gn{number}" for number in [1, 2, 3, 4, 41, 42][: len(self.convs) - 1]] + ["gn5"]
        if version == "v2":
            names = [f"net_eq.{number}.gn" for number in range(len(self.convs))]
        found = {}
        for number, name in enumerate(names[: len(self.norms)]):
            for kind in ("weight", "bias", "mean_scale"):
                for row, order in enumerate((2, 1)):
                    found[f"{name}p{order}.{kind}"] = tensors[f"norms.{number}.{kind}"][row]
        for number in range(len(self.lins)):
            for kind in ("weight", "bias"):
                found[f"net_fc.{number}.fc1.{kind}"] = tensors[f"lins.{number}.{kind}"]
        return found


def pair_features(x: Tensor, pair_index: Tensor, pair_weight: Tensor) -> Tensor:
    """Return the first features of pairs: the weight in every channel, plus x on the diagonal of all but the first.

    Args:
        x: ``[num_nodes, channels]``.
        pair_index: ``[2, num_pairs]``.
        pair_weight: ``[num_pairs]``.

    Returns:
        ``[num_pairs, 1 + channels]``.
    """
    first, second = pair_index
    return pair_weight.to(x.dtype).unsqueeze(1) + F.pad(x[first] * (first == second).unsqueeze(1), (1, 0))


def reference_biases(weights: EquivariantWeights, out_order: int) -> dict[str, str]:
    """Return the authors' name of each bias of a map, by the part of the output that it is added to."""
    parts = [part for order, part in weights.biases if order == out_order]
    return dict(zip(parts, ["all_bias", "diag_bias"] if len(parts) == 2 else ["bias"], strict=True))


def _joined(balls: Balls, batch: Tensor) -> Balls:
    """Let the pairs of balls, which count those of their own graph, count those of the whole batch."""
    num_pairs = torch.bincount(batch[balls.pair_index[0]], minlength=int(batch.max()) + 1 if batch.numel() else 0)
    size = torch.bincount(balls.ball_index[1], minlength=batch.numel())
    offset = (num_pairs.cumsum(0) - num_pairs)[batch].repeat_interleave(size.square())
    return balls._replace(ball_pair=balls.ball_pair + offset)


def _widths(hidden: int | list[int], num_layers: int, version: Version) -> tuple[list[int], int]:
    """Return the widths of the maps of all layers but the last, and of the last."""
    numbers = hidden if isinstance(hidden, list) else [hidden] * num_layers
    if len(numbers) != num_layers:
        raise ConfigError(f"hidden_channels={numbers} has {len(numbers)} widths, but num_layers is {num_layers}")
    if version == "v2":
        if num_layers < 2:
            raise ConfigError("num_layers=1: version v2 has at least 2 layers, the last of which maps to order 0")
        return numbers[:-1], numbers[-1]
    if not 4 <= num_layers <= 8:
        raise ConfigError(f"num_layers={num_layers}: version v1 has 4 to 8 layers")
    maps = numbers[:5] + [numbers[4]] * (num_layers - 6) if num_layers > 4 else numbers
    # the later layers repeat the fifth, and the one to order 0 is told the last width but one
    repeats = num_layers > 6 and numbers[3] != numbers[4]
    if repeats or numbers[-2] != maps[-1]:
        raise ConfigError(f"hidden_channels={numbers}: the later layers of version v1 must be of one width")
    return maps, numbers[-1]

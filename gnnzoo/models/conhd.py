"""CoNHD: every incidence, a node in a hyperedge, has a representation of its own; diffusion goes both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data.data import BaseData
from torch_geometric.nn.inits import reset

from gnnzoo.datasets import HypergraphData
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.nn.hypergraph import check_incidences
from gnnzoo.nn.sets import Block, Sets, equivariant_block
from gnnzoo.ops import cached, dropout, sparse_linear
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt

__all__ = ["CoNHD", "CoRepresentationDiffusion", "SetOperator", "reference_name"]


class SetOperator(nn.Module):
    r"""A stack of blocks on sets of incidences, to which the positional input :math:`W w + b` is added first."""

    def __init__(self, blocks: list[nn.Module], channels: int, order_channels: int) -> None:
        super().__init__()
        self.lin_order = nn.Linear(order_channels, channels) if order_channels else None
        self.blocks = nn.ModuleList(blocks)

    def __repr__(self) -> str:
        """Name the blocks in one line."""
        return f"SetOperator({', '.join(type(block).__name__ for block in self.blocks)})"

    def forward(self, x: Tensor, sets: Sets, order: Tensor | None) -> Tensor:
        """Return ``[num_asked, channels]``."""
        if self.lin_order is not None and order is not None:
            x = x + self.lin_order(order.to(x.dtype))
        for block in self.blocks[:-1]:
            x = block(x, sets)
        return self.blocks[-1](x, sets, sets.asked)


@dataclass(frozen=True)
class _View:
    """How one operator sees the incidences of one layer.

    Attributes:
        sets: hyperedges or nodes, whose elements are what is distinct among their incidences.
        value: ``[num_elements]``, which row of the layer's input is the element.
        order: ``[num_elements, order_channels]``, the positional input of the element.
        answer: ``[num_out]``, where in the operator's output that of each row of the layer's output is.
        element: ``[num_out]``, which element each row of the output is.
    """

    sets: Sets
    value: Tensor
    order: Tensor | None
    answer: Tensor
    element: Tensor


@dataclass(frozen=True)
class _Step:
    """One layer: how the operators see its input, of which each output is a row."""

    hyperedges: _View
    nodes: _View


class _State(NamedTuple):
    """Representations of incidences, a row for each that differs.

    Attributes:
        x: those of the last layer; before the first one, of nodes.
        first: those with which diffusion began.
        messages: ADMM's, of both sides.
    """

    x: Tensor
    first: Tensor
    messages: tuple[Tensor, Tensor] | None = None


class CoRepresentationDiffusion(nn.Module):
    r"""One layer: gradient descent, :math:`x' = W [x \Vert \phi(x) \Vert \psi(x) \Vert x^{(0)}]`, or ADMM,
    :math:`a' = \phi(2x - a) + a - x,\ b' = \psi(2x - b) + b - x,\ x' = W [a' \Vert b' \Vert x^{(0)}]`.

    :math:`\phi` works among the incidences of a hyperedge, :math:`\psi` among those of a node.
    """

    def __init__(self, phi: SetOperator, psi: SetOperator, channels: int, admm: bool, layer_norm: bool) -> None:
        super().__init__()
        self.admm = admm
        self.phi, self.psi = phi, psi
        self.lin = nn.Linear((3 if admm else 4) * channels, channels)
        self.norm = nn.LayerNorm(channels) if layer_norm else nn.Identity()

    def forward(self, state: _State, step: _Step, begin: bool, input_dropout: float, rate: float) -> _State:
        """Return the next state.

        Args:
            state: of the layer before; of nodes, if this is the first layer.
            step: where everything is.
            begin: whether this is the first layer, whose input is dropped out apart for both operators.
            input_dropout: its probability.
            rate: of dropout on what the operators give.
        """
        e, v = step.hyperedges, step.nodes
        x_e, x_v = state.x.index_select(0, e.value), state.x.index_select(0, v.value)
        if begin:
            x_e, x_v = (dropout(x, input_dropout, input_dropout > 0) for x in (x_e, x_v))
            first = x_e.index_select(0, e.element)
        else:
            first = state.first.index_select(0, e.value[e.element])
        if not self.admm:
            phi, psi = self._operators(x_e, x_v, step, rate)
            x = torch.cat([x_e.index_select(0, e.element), phi, psi, first], dim=1)
            return _State(self.norm(self.lin(x)), first)
        a, b = x_e, x_v
        if state.messages is not None:
            a, b = (old.index_select(0, view.value) for old, view in zip(state.messages, (e, v), strict=True))
        phi, psi = self._operators(2 * x_e - a, 2 * x_v - b, step, rate)
        a = phi + (a - x_e).index_select(0, e.element)
        b = psi + (b - x_v).index_select(0, v.element)
        return _State(self.norm(self.lin(torch.cat([a, b, first], dim=1))), first, (a, b))

    def _operators(self, x_e: Tensor, x_v: Tensor, step: _Step, rate: float) -> tuple[Tensor, Tensor]:
        """Return what both operators give for the rows of the output, ``[num_out, channels]`` each."""
        e, v = step.hyperedges, step.nodes
        phi = self.phi(x_e, e.sets, e.order).index_select(0, e.answer)
        psi = self.psi(x_v, v.sets, v.order).index_select(0, v.answer)
        return dropout(phi, rate, rate > 0), dropout(psi, rate, rate > 0)


def _refined(classes: Tensor, column: Tensor) -> Tensor:
    """Return numbers from 0 that are alike where both classes and ``column`` are."""
    values, column = column.unique(return_inverse=True)
    return (classes * len(values) + column).unique(return_inverse=True)[1]


def _first_of(index: Tensor, count: int) -> Tensor:
    """Return for each number below ``count`` the first place in ``index`` where it stands."""
    places = torch.arange(len(index), device=index.device)
    return index.new_full((count,), len(index)).scatter_reduce_(0, index, places, "amin")


def _representatives(owner: Tensor, classes: Tensor, num_sets: int) -> Tensor:
    """Return for each set one that has the same elements, with the same repetitions: ``[num_sets]``.

    Sets are told apart by their sizes and by sums of random numbers; that members are alike is verified.

    Args:
        owner: ``[num_rows]``, the set of each element.
        classes: ``[num_rows]``, numbers from 0; elements of the same number are alike.
        num_sets: number of sets, none of which is empty.
    """
    generator = torch.Generator().manual_seed(0)
    code = torch.randint(-(2**62), 2**62, (int(classes.max()) + 1,), generator=generator).to(classes.device)
    key = owner.new_zeros(num_sets).index_add_(0, owner, code[classes])
    size = torch.bincount(owner, minlength=num_sets)
    alike = _refined(size, key)
    found = _first_of(alike, num_sets)[alike]  # as many at most as there are sets
    order = (owner * (int(classes.max()) + 1) + classes).argsort()
    owner, classes, start = owner[order], classes[order], size.cumsum(0) - size
    place = torch.arange(len(owner), device=owner.device) - start[owner]
    different = classes != classes[start[found[owner]] + place]
    found[owner[different]] = owner[different]
    return found


def _view(owner: Tensor, value: Tensor, order: Tensor | None, out: Tensor, merge: bool, whole_sets: bool) -> _View:
    """Return how an operator sees incidences.

    Args:
        owner: ``[num_rows]``, the hyperedge or node of each incidence.
        value: ``[num_rows]``, its row in the layer's input.
        order: ``[num_rows, order_channels]``, its positional input.
        out: ``[num_out]``, the incidences whose results are wanted, as places in ``owner``.
        merge: whether incidences of a set that have the same row and positional input are one element.
        whole_sets: whether sets of the same elements are one set, too.
    """
    owner = owner.unique(return_inverse=True)[1]
    num_sets = int(owner.max()) + 1 if len(owner) else 0
    if not merge or not len(owner):
        rows, count = owner.argsort(stable=True), None
        element = rows.argsort()
        element_owner = owner[rows]
    else:
        classes = value
        for column in [] if order is None else order.double().contiguous().view(torch.int64).unbind(1):
            classes = _refined(classes, column)
        owned = torch.ones_like(owner, dtype=torch.bool)
        if whole_sets:
            found = _representatives(owner, classes, num_sets)
            owned = found[owner] == owner
            kept, found = found.unique(return_inverse=True)
            owner, num_sets = found[owner], len(kept)
        width = int(classes.max()) + 1
        keys, element = (owner * width + classes).unique(return_inverse=True)
        rows, element_owner = _first_of(element, len(keys)), keys // width
        count = torch.bincount(element[owned], minlength=len(keys))
        count = count if bool((count > 1).any()) else None
    element = element[out]
    asked, answer = element.unique(return_inverse=True)
    if len(asked) == len(rows):
        asked, answer = None, element
    sets = Sets(element_owner, num_sets, count, asked)
    return _View(sets, value[rows], None if order is None else order[rows], answer, element)


@dataclass(frozen=True)
class _Plan:
    """All layers, and which row of the last one's output each incidence asked about is."""

    steps: list[_Step]
    row: Tensor


def _plan(
    hyperedge_index: Tensor,
    incidence_index: Tensor | None,
    order_pe: Tensor | None,
    incidence_hop: Tensor | None,
    num_layers: int,
    merge: bool,
    merge_later: bool,
) -> _Plan:
    """Find what each layer needs, from the last to the first, and what is distinct in it, from the first on.

    Args:
        hyperedge_index: ``[2, num_incidences]``.
        incidence_index: ``[num_rows]``, as all others as in :meth:`CoNHD.forward`.
        order_pe: ``[num_incidences, order_channels]``.
        incidence_hop: ``[num_incidences]``.
        num_layers: number of layers.
        merge: whether incidences of a node that have the same positional input are alike in the first layer.
        merge_later: whether those are alike in later layers for which all layers before have given the same.
    """
    nodes, hyperedges = hyperedge_index
    if incidence_index is None:
        out = row = torch.arange(len(nodes), device=nodes.device)
    else:
        out, row = incidence_index.unique(return_inverse=True)
    rows: list[tuple[Tensor, ...]] = []
    for steps_left in range(1, num_layers + 1):
        masks = []
        for ends in (hyperedges, nodes):
            touched = torch.zeros(int(ends.max()) + 1 if len(ends) else 0, dtype=torch.bool, device=ends.device)
            touched[ends[out]] = True
            masks.append(touched[ends] if incidence_hop is None else touched[ends] & (incidence_hop <= steps_left))
        rows.append((out, *(mask.nonzero().flatten() for mask in masks)))
        out = (masks[0] | masks[1]).nonzero().flatten()
    value, steps = nodes.clone(), []
    for out, *sides in reversed(rows):
        views = [
            _view(
                ends[side],
                value[side],
                None if order_pe is None else order_pe[side],
                torch.searchsorted(side, out),
                merge,
                whole,
            )
            for side, ends, whole in zip(sides, (hyperedges, nodes), (True, False), strict=True)
        ]
        merge = merge and merge_later
        distinct = torch.arange(len(out), device=out.device)
        if merge:
            distinct = _refined(views[0].answer, views[1].answer)
            kept = _first_of(distinct, int(distinct.max()) + 1 if len(distinct) else 0)
            views = [replace(view, answer=view.answer[kept], element=view.element[kept]) for view in views]
        value[out] = distinct
        steps.append(_Step(*views))
    return _Plan(steps, value[out][row])


class CoNHD(nn.Module):
    r"""CoNHD of `"Modeling Edge-Specific Node Features through Co-Representation Neural Hypergraph Diffusion"
    <https://arxiv.org/abs/2405.14286>`_ (arXiv 2405.14286, CIKM 2025).

    Every incidence, a node v in a hyperedge e, has a representation, which diffuses among the incidences of its
    hyperedge (:math:`\phi`) and among those of its node (:math:`\psi`):

    .. math::
        x^{(0)}_{v,e} &= \mathrm{ReLU}(W_{in} x_v + b_{in}) \\
        x^{(t+1)} &= W [x^{(t)} \Vert \phi(x^{(t)}) \Vert \psi(x^{(t)}) \Vert x^{(0)}] + b
        \quad \text{(gradient descent)} \\
        a^{(t+1)} &= \phi(2 x^{(t)} - a^{(t)}) + a^{(t)} - x^{(t)},\quad
        b^{(t+1)} = \psi(2 x^{(t)} - b^{(t)}) + b^{(t)} - x^{(t)} \\
        x^{(t+1)} &= W [a^{(t+1)} \Vert b^{(t+1)} \Vert x^{(0)}] + b \quad \text{(ADMM)}

    Both operators are stacks of set blocks, to whose input :math:`W_w w_{v,e} + b_w` is added where there is positional
    input w. Only what the incidences asked about depend on is computed, and incidences that must come out alike (as
    their nodes, positional inputs and, where it matters, hyperedges' members are) are computed once. Dropout makes
    incidences differ: then only those before it are merged.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: d, width of the representations.
        num_layers: L, steps of diffusion.
        optimization: ``gd`` (gradient descent) or ``admm``.
        block: of the operators: ``unb`` (mean of a perceptron), ``isab`` (attention through learned points) or ``sab``
            (attention among all).
        num_blocks: blocks of each operator.
        heads: of attention.
        num_points: learned points of ``isab``.
        share_weights: whether all layers are one.
        layer_norm: normalization in the blocks and after every layer.
        scorer_layers: depth of the classifier of incidences.
        scorer_channels: width of its hidden layers.
        order_channels: width of the positional input; 0 or None: there is none. Data that have it set it.
        embedding_channels: width of a trained table of nodes, which stands beside the node features; 0: there is none.
        num_nodes: of the hypergraph, for this table; set by the data.
        input_dropout: on the first representations, apart for both operators.
        dropout: on what the operators give.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``hyperedge_index`` ``[2, num_incidences]``, nodes in row 0,
          hyperedges in row 1 (a node that a hyperedge lists twice is in it twice); ``incidence_index`` ``[num_rows]``,
          the columns asked about (optional: all); ``order_pe`` ``[num_incidences, order_channels]``; of a mini-batch
          ``incidence_hop`` ``[num_incidences]``, the step in which an incidence was reached, and ``node_index``
          ``[num_nodes]``, which nodes of the table these are
        - **output:** logits ``[num_rows, out_channels]``

    Raises:
        ConfigError: heads that do not divide the width; ADMM with weights for each layer.
        DataError: in ``forward``, positional input or ``node_index`` is missing or has the wrong size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 128,
        num_layers: PositiveInt = 1,
        optimization: Literal["gd", "admm"] = "gd",
        block: Block = "unb",
        num_blocks: PositiveInt = 2,
        heads: PositiveInt = 4,
        num_points: PositiveInt = 4,
        share_weights: bool = True,
        layer_norm: bool = False,
        scorer_layers: PositiveInt = 1,
        scorer_channels: PositiveInt = 64,
        order_channels: NonNegativeInt | None = None,
        embedding_channels: NonNegativeInt = 0,
        num_nodes: NonNegativeInt | None = None,
        input_dropout: Dropout = 0.0,
        dropout: Dropout = 0.7,
    ) -> None:
        super().__init__()
        if hidden_channels % heads and block != "unb":
            raise ConfigError(f"heads={heads} must divide hidden_channels={hidden_channels}")
        if optimization == "admm" and not share_weights:
            raise ConfigError("share_weights=false: the layers of optimization=admm share their weights")
        self.num_layers, self.order_channels = num_layers, order_channels or 0
        self.input_dropout, self.dropout = input_dropout, dropout
        d = hidden_channels
        self.embedding = nn.Embedding(num_nodes or 0, embedding_channels) if embedding_channels else None
        self.lin_in = nn.Linear(in_channels + embedding_channels, d)

        def operator() -> SetOperator:
            blocks = [equivariant_block(block, d, heads, num_points, layer_norm) for _ in range(num_blocks)]
            return SetOperator(blocks, d, self.order_channels)

        self.layers = nn.ModuleList(
            CoRepresentationDiffusion(operator(), operator(), d, optimization == "admm", layer_norm)
            for _ in range(1 if share_weights else num_layers)
        )
        widths = [d, *[scorer_channels] * (scorer_layers - 1), out_channels]
        self.lins = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[1:-1])

    @classmethod
    def infer(cls, data: BaseData) -> dict[str, Any]:
        """Read the sizes that the data decide.

        Raises:
            DataError: the data are no hypergraph.
        """
        if not isinstance(data, HypergraphData):
            raise DataError("conhd has a row for each incidence of one hypergraph; these data are none")
        order = data.order_pe.size(1) if "order_pe" in data else 0
        return {"in_channels": data.num_node_features, "order_channels": order, "num_nodes": data.num_nodes}

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults and Xavier's bounds for points."""
        for module in self.children():
            reset(module)

    def forward(
        self,
        x: Tensor,
        hyperedge_index: Tensor,
        incidence_index: Tensor | None = None,
        order_pe: Tensor | None = None,
        incidence_hop: Tensor | None = None,
        node_index: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``[num_rows, out_channels]``."""
        x, row = self.diffuse(x, hyperedge_index, incidence_index, order_pe, incidence_hop, node_index)
        for lin, norm in zip(self.lins[:-1], self.norms, strict=True):
            x = norm(lin(x).tanh())
        return self.lins[-1](x).index_select(0, row)

    def diffuse(
        self,
        x: Tensor,
        hyperedge_index: Tensor,
        incidence_index: Tensor | None = None,
        order_pe: Tensor | None = None,
        incidence_hop: Tensor | None = None,
        node_index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what is distinct among the last representations, ``[num_distinct, hidden_channels]``; and its rows.

        The second is ``[num_rows]``, which of them belongs to each incidence asked about; the rest is as in
        :meth:`forward`.
        """
        check_incidences(hyperedge_index, x.size(0))
        if not self.order_channels:
            order_pe = None
        elif order_pe is None or order_pe.shape != (hyperedge_index.size(1), self.order_channels):
            shape = f"[{hyperedge_index.size(1)}, {self.order_channels}]"
            raise DataError(
                f"order_pe must have shape {shape}, not {None if order_pe is None else list(order_pe.shape)}"
            )
        if self.embedding is not None:
            table = self.embedding.weight if node_index is None else self.embedding(node_index)
            if len(table) != len(x):
                raise DataError(f"the table has {len(table)} nodes, x has {len(x)}, and there is no node_index")
            x = torch.cat([x, table], dim=1)
        x = sparse_linear(x, self.lin_in.weight, self.lin_in.bias).relu()
        input_dropout, rate = (self.input_dropout, self.dropout) if self.training else (0.0, 0.0)
        arguments = (order_pe, incidence_hop, self.num_layers, input_dropout == 0, rate == 0)
        plan = _kept_plan(hyperedge_index, incidence_index, *arguments)
        state = _State(x, x)
        for number, step in enumerate(plan.steps):
            layer = self.layers[number if len(self.layers) > 1 else 0]
            state = layer(state, step, number == 0, input_dropout, rate)
        return state.x, plan.row

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> CoNHD:
        """Build the model from the authors' names.

        Args:
            config: ``optim`` (``GD``, ``ADMM``), ``block`` (``UNB``, ``ISAB``, ``SAB``), ``num_layers, co_rep_dim,
                input_dim, num_classes, order_pe, layernorm, share_weights, num_heads, num_inds, num_att_layer,
                scorer_num_layers, scorer_hidden``, perhaps ``dropout``.
            state_dict: the authors' parameters; :func:`reference_name` has their names.
        """
        shared = config["share_weights"] or config["optim"] == "ADMM"
        order = [value.size(1) for name, value in state_dict.items() if name.endswith("pe_v.weight")]
        model = cls(
            config["input_dim"],
            config["num_classes"],
            hidden_channels=config["co_rep_dim"],
            num_layers=config["num_layers"],
            optimization=config["optim"].lower(),
            block=config["block"].lower(),
            num_blocks=config["num_att_layer"],
            heads=config["num_heads"],
            num_points=config["num_inds"],
            share_weights=shared,
            layer_norm=config["layernorm"],
            scorer_layers=config["scorer_num_layers"],
            scorer_channels=config["scorer_hidden"],
            order_channels=order[0] if config["order_pe"] else 0,
            dropout=config.get("dropout", 0.0),
        ).to(state_dict["embedder.lin_in.weight"].dtype)
        ours = model.state_dict()
        model.load_state_dict(
            {name: state_dict[reference_name(name, shared)].view_as(value) for name, value in ours.items()}
        )
        return model


def _kept_plan(
    hyperedge_index: Tensor,
    incidence_index: Tensor | None,
    order_pe: Tensor | None,
    incidence_hop: Tensor | None,
    num_layers: int,
    merge: bool,
    merge_later: bool,
) -> _Plan:
    """Return :func:`_plan`, made once for these tensors."""
    anchor = hyperedge_index if incidence_index is None else incidence_index
    others = [part for part in (hyperedge_index, order_pe, incidence_hop) if part is not None and part is not anchor]

    def build() -> tuple[_Plan, list[Tensor]]:
        # what the key tells apart is kept with the result, so that no other tensor takes its place in memory
        flags = (num_layers, merge, merge_later)
        return _plan(hyperedge_index, incidence_index, order_pe, incidence_hop, *flags), others

    if any(part.is_inference() for part in others):
        return build()[0]
    parts = tuple((id(part), part._version) for part in others)
    return cached(anchor, ("conhd", parts, num_layers, merge, merge_later), build)[0]


_BLOCK_WORDS = {
    "mlp1": "W1",
    "mlp2": "W2",
    "lin_query": "fc_q",
    "lin_key": "fc_k",
    "lin_value": "fc_v",
    "lin_out": "fc_o.0",
    "points": "I",
}


def reference_name(name: str, shared: bool = True) -> str:
    """Return the authors' name of a parameter of :class:`CoNHD`, or of a block alone.

    Args:
        name: of ours.
        shared: whether all layers are one.
    """
    part, _, rest = name.partition(".")
    if part == "lin_in":
        return f"embedder.{name}"
    if part in ("lins", "norms"):
        return f"scorer.predict_layer.{'predict_layer' if part == 'lins' else 'normalization'}.{rest}"
    if part != "layers":
        attention = ".norms." in f".{name}" and "mab" in part
        words = [_BLOCK_WORDS.get(word, word) for word in name.split(".")]
        joined = ".".join(words)
        return joined.replace("norms.", "ln") if attention else joined.replace("norms", "normalizations")
    number, side, rest = rest.split(".", 2)
    layer = "embedder.conv" if shared else f"embedder.conv.{number}"
    if side in ("phi", "psi"):
        letter = "v" if side == "phi" else "e"
        what, _, inner = rest.partition(".")
        if what == "lin_order":
            return f"{layer}.pe_{letter}.{inner}"
        block, inner = inner.split(".", 1)
        return f"{layer}.enc_{letter}.{block}.{reference_name(inner)}"
    return f"{layer}.{'update_func' if side == 'lin' else 'ln0'}.{rest}"

"""Higher-order graph convolution: one learned polynomial filter for each order of the flower petals of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import MLP, global_add_pool, global_mean_pool
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.ops import Adjacency, cached, dropout, sparse_linear, spmm
from gnnzoo.transforms.petals import FlowerPetals, PetalType, flower_petals
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt, Probability

__all__ = ["FlowerPetalConv", "HiGCN", "reference_names"]

Head = Literal["linear", "mlp", "imputation"]


class FlowerPetalConv(nn.Module):
    r"""The filters :math:`Y = \Vert_{p=1}^{P} \sum_{k=0}^{K} \gamma_{p,k} HL_p^k (W_p x + b_p)` of arXiv 2309.12971.

    Args:
        in_channels: width of the input.
        hidden_channels: h, width of each order's filter.
        order: P.
        K: degree of the filters.
        alpha: :math:`\gamma_{p,k}` starts as :math:`\alpha (1 - \alpha)^k`, the last as :math:`(1 - \alpha)^K`.
        dropout: on the input, with a mask for each order.
        petal_dropout: on what is filtered.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        order: int = 2,
        K: int = 10,
        alpha: float = 0.5,
        dropout: float = 0.0,
        petal_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.order, self.alpha, self.dropout, self.petal_dropout = order, alpha, dropout, petal_dropout
        self.lin = nn.Linear(in_channels, order * hidden_channels)  # the maps of all orders, one below the other
        self.gamma = nn.Parameter(torch.empty(order, K + 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the maps anew by PyTorch's defaults and start the filters as personalized PageRank."""
        self.lin.reset_parameters()
        rest = 1 - self.alpha
        K = self.gamma.size(1) - 1
        with torch.no_grad():
            self.gamma.copy_(torch.tensor([self.alpha * rest**k for k in range(K)] + [rest**K]))

    def forward(self, x: Tensor, petals: Adjacency) -> Tensor:
        """Return ``[num_nodes, order * hidden_channels]``.

        Args:
            x: ``[num_nodes, in_channels]``.
            petals: all :math:`HL_p` in one matrix, in which row and column ``v * order + p - 1`` stand for node v in
                order p.
        """
        if self.training and self.dropout > 0:
            maps = zip(*(w.chunk(self.order) for w in (self.lin.weight, self.lin.bias)), strict=True)
            out = torch.cat([sparse_linear(x, w, b, self.dropout, True) for w, b in maps], dim=1)
        else:
            out = sparse_linear(x, self.lin.weight, self.lin.bias)
        u = dropout(out, self.petal_dropout, self.training).unflatten(1, (self.order, -1))
        # Horner's rule: of the powers of the operators, nothing has to be kept for the backward pass
        weights = self.gamma.t().unsqueeze(2).unbind()
        out = weights[-1] * u
        for weight in weights[-2::-1]:
            out = torch.addcmul(spmm(petals, out.flatten(0, 1)).view_as(u), weight, u)
        return out.flatten(1)


class HiGCN(nn.Module):
    r"""HiGCN of `"Higher-order Graph Convolutional Network with Flower-Petals Laplacians on Simplicial Complexes"
    <https://arxiv.org/abs/2309.12971>`_ (arXiv 2309.12971, AAAI 2024).

    .. math::
        HL_p = \tfrac{1}{p+1} D_p^{-1/2} B_p B_p^\top D_p^{-1/2}, \quad
        Y = \Big\Vert_{p=1}^{P} \sum_{k=0}^{K} \gamma_{p,k} HL_p^k (W_p X + b_p), \quad
        \mathrm{logits} = W Y + b

    with :math:`B_p` the incidence of nodes and (p+1)-cliques (or rings), :math:`D_p` how many of them each node is in.
    There is no non-linearity in this network, the paper's for nodes. The one for graphs puts a perceptron with batch
    normalization behind every layer (``update``) and has a ``head`` of two layers.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of each order's filter, and of update and head.
        order: P, the highest order of petals.
        K: degree of the filters.
        alpha: the filters start as personalized PageRank with this restart probability, and are learned freely.
        num_layers: number of layers; more than one needs ``update``.
        update: each layer ends in Linear, Linear, BatchNorm, ReLU, Linear, BatchNorm, ReLU instead of in dropout.
        head: ``linear``; ``mlp``: Linear, ReLU, dropout, Linear; ``imputation``: Linear, LeakyReLU, Linear, LeakyReLU,
            the authors' network for missing values.
        readout: how nodes are pooled to graphs.
        petal_type: ``simplex``: petals are cliques; ``ring``: cycles without a chord.
        dropout: on the features (with a mask for each order) and on what is filtered before it goes on.
        petal_dropout: on the projected features before they are filtered (the authors' dprate).

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``; ``edge_index`` ``[2, num_edges]`` (direction, duplicates and
          self-loops play no part); ``petal_index`` ``[2, num_entries]``, ``petal_order`` and ``petal_weight``
          ``[num_entries]``, the operators as :class:`gnnzoo.transforms.FlowerPetals` adds them (optional: they are
          found from ``edge_index``, once per tensor); ``batch`` ``[num_nodes]``, which graph each node is of (optional)
        - **output:** logits ``[num_graphs, out_channels]``; without ``batch``, of nodes, ``[num_nodes, out_channels]``

    Raises:
        ConfigError: several layers without ``update``.
        DataError: in ``forward``, operators that are given in part only, or do not fit ``x``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 32,
        order: PositiveInt = 2,
        K: NonNegativeInt = 10,
        alpha: Probability = 0.5,
        num_layers: PositiveInt = 1,
        update: bool = False,
        head: Head = "linear",
        readout: Literal["sum", "mean"] = "sum",
        petal_type: PetalType = "simplex",
        dropout: Dropout = 0.5,
        petal_dropout: Dropout = 0.5,
    ) -> None:
        super().__init__()
        if num_layers > 1 and not update:
            raise ConfigError(f"num_layers={num_layers} needs update=true: linear layers do not gain by being stacked")
        self.order, self.petal_type, self.head, self.readout, self.dropout = order, petal_type, head, readout, dropout
        h = hidden_channels
        self.convs = nn.ModuleList(
            FlowerPetalConv(width, h, order, K, alpha, dropout, petal_dropout)
            for width in [in_channels, *[h] * (num_layers - 1)]
        )
        # a lone node has no batch statistics: it is normalized by the running ones
        self.updates = nn.ModuleList(
            nn.Sequential(
                nn.Linear(order * h, h), MLP([h] * 3, plain_last=False, norm_kwargs={"allow_single_element": True})
            )
            for _ in self.convs
            if update
        )
        width = h if update else order * h
        widths = [width, out_channels] if head == "linear" else [width, h, out_channels]
        self.lins = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    @classmethod
    def pre_transform(cls, order: int = 2, petal_type: PetalType = "simplex", **_: Any) -> BaseTransform:
        """Find the petals once, before training."""
        return FlowerPetals(order, petal_type)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults; the filters start as personalized PageRank."""
        for layers in (self.convs, self.updates, self.lins):
            reset(layers)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        petal_index: Tensor | None = None,
        petal_order: Tensor | None = None,
        petal_weight: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``, or ``[num_nodes, out_channels]`` without ``batch``."""
        operators = (petal_index, petal_order, petal_weight)
        if any(part is not None for part in operators):
            petals = self._given(x, *operators)
        else:
            key = ("petals", x.size(0), self.order, self.petal_type, x.dtype)
            petals = cached(edge_index, key, lambda: self._found(x, edge_index))
        for number, conv in enumerate(self.convs):
            x = conv(x, petals)
            x = self.updates[number](x) if self.updates else dropout(x, self.dropout, self.training)
        if batch is not None:
            x = (global_add_pool if self.readout == "sum" else global_mean_pool)(x, batch)
        if self.head == "imputation":
            return F.leaky_relu(self.lins[1](F.leaky_relu(self.lins[0](x))))
        for lin in self.lins[:-1]:
            x = dropout(lin(x).relu(), self.dropout, self.training)
        return self.lins[-1](x)

    def _found(self, x: Tensor, edge_index: Tensor) -> Adjacency:
        found = flower_petals(edge_index, x.size(0), self.order, self.petal_type, x.dtype)
        return _stacked(*found, x.size(0), self.order)

    def _given(self, x: Tensor, index: Tensor | None, order: Tensor | None, weight: Tensor | None) -> Adjacency:
        if index is None or order is None or weight is None:
            raise DataError("petal_index, petal_order and petal_weight belong together: FlowerPetals adds all three")
        if not index.size(1) == order.numel() == weight.numel():
            raise DataError(
                f"petal_index has {index.size(1)} entries, but petal_order has {order.numel()} "
                f"and petal_weight {weight.numel()}"
            )

        def build() -> tuple[Adjacency, Tensor, Tensor]:
            # what the key tells apart is kept with the result, so that no other tensor takes its place in memory
            return _stacked(index, order, weight.to(x.dtype), x.size(0), self.order), order, weight

        if index.is_inference() or order.is_inference() or weight.is_inference():
            return build()[0]
        parts = (id(order), order._version, id(weight), weight._version)
        return cached(index, ("petals", x.size(0), self.order, x.dtype, parts), build)[0]

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> HiGCN:
        """Build the model from the authors' names.

        Args:
            config: ``variant`` (``node, graph, graph_old, imputation``), ``num_features, hidden``, ``order`` (or
                ``max_petal_dim``); where they apply ``num_classes, alpha, num_layers, readout, petal_type, dropout,
                dprate``.
            state_dict: the authors' parameters; :func:`reference_names` has their names.
        """
        variant, order = config["variant"], config["order"] if "order" in config else config["max_petal_dim"]
        rate = config.get("dropout", 0.0)
        layers = config.get("num_layers", 1) if variant == "graph" else 1
        names = [_layer(variant, number) + "hgc.0.fW" for number in range(layers)]
        model = cls(
            config["num_features"],
            config.get("num_classes", 1),
            hidden_channels=config["hidden"],
            order=order,
            K=state_dict[names[0]].numel() - 1,
            alpha=config.get("alpha", 0.5),
            num_layers=layers,
            update=variant == "graph",
            head=_HEADS[variant][0],
            readout=config.get("readout", "sum"),
            petal_type=config.get("petal_type", "simplex"),
            dropout=rate,
            petal_dropout=config.get("dprate", rate),
        )
        ours = model.to(state_dict[names[0]].dtype).state_dict()
        for name, value in ours.items():
            theirs = [state_dict[part] for part in reference_names(name, variant, order)]
            ours[name] = torch.stack(theirs).reshape(value.shape)
        model.load_state_dict(ours)
        return model


def _stacked(index: Tensor, order: Tensor, weight: Tensor, num_nodes: int, highest: int) -> Adjacency:
    """Put the operators of all orders up to ``highest`` into one matrix over pairs of node and order."""
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < num_nodes:
        raise DataError(f"petal_index refers to node {int(index.max())}, but the nodes are 0 to {num_nodes - 1}")
    keep = order <= highest
    place = index[:, keep] * highest + order[keep] - 1
    return Adjacency(place.flip(0), num_nodes * highest, weight[keep])  # rows are targets


_HEADS: dict[str, tuple[Head, list[str]]] = {
    "node": ("linear", ["lin_out"]),
    "graph": ("mlp", ["lin1", "lin2"]),
    "graph_old": ("mlp", ["lin_out1", "lin_out2"]),
    "imputation": ("imputation", ["lin_out1", "lin_out2"]),
}
_UPDATE = {
    "0": "lin_out",
    "1.lins.0": "nn.0",
    "1.norms.0.module": "nn.1",
    "1.lins.1": "nn.3",
    "1.norms.1.module": "nn.4",
}


def _layer(variant: str, number: int) -> str:
    """Return the prefix of a layer in the authors' names."""
    if variant != "graph":
        return ""
    return f"convs.{number - 1}." if number else "conv1."


def reference_names(name: str, variant: str, order: int) -> list[str]:
    """Return the authors' names of the parameters that are stacked in one of ours.

    Args:
        name: of a parameter or buffer of :class:`HiGCN`.
        variant: ``node``, ``graph``, ``graph_old`` or ``imputation``.
        order: P.
    """
    part, number, rest = name.split(".", 2)
    if part == "lins":
        return [f"{_HEADS[variant][1][int(number)]}.{rest}"]
    layer = _layer(variant, int(number))
    if part == "updates":
        module, _, parameter = rest.rpartition(".")
        return [f"{layer}{_UPDATE[module]}.{parameter}"]
    if rest == "gamma":
        return [f"{layer}hgc.{p}.fW" for p in range(order)]
    return [f"{layer}lin_in.{p}.{rest.removeprefix('lin.')}" for p in range(order)]

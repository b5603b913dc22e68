"""The authors' networks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch_geometric.data.data import BaseData
from torch_geometric.nn import BatchNorm, GraphNorm, global_add_pool, global_max_pool, global_mean_pool
from torch_geometric.nn.inits import reset

from gnnzoo.errors import ConfigError
from gnnzoo.models.sir_gcn.conv import Activation, Aggregation, SIRConv, activation
from gnnzoo.models.sir_gcn.reference import reference_weights
from gnnzoo.ops import dropout
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt

__all__ = ["SIRGCN"]


def _max_pool(x: Tensor, batch: Tensor | None) -> Tensor:
    """Return the largest value in each graph; of equal ones, the first node's gets the gradient, as in the authors'."""
    batch = x.new_zeros(len(x), dtype=torch.int64) if batch is None else batch
    best = global_max_pool(x.detach(), batch)
    node = torch.arange(len(x), device=x.device).unsqueeze(1).expand_as(x)
    node = torch.where(x.detach() == best[batch], node, len(x))
    first = node.new_full(best.shape, len(x)).scatter_reduce(0, batch.unsqueeze(1).expand_as(x), node, "amin")
    inside = first < len(x)  # not so of a number without nodes between others', and of NaN
    return torch.where(inside, x.gather(0, first.clamp(max=len(x) - 1)), best)


_POOLS = {"sum": global_add_pool, "mean": global_mean_pool, "max": _max_pool}


class _MLP(nn.Module):
    """Linear layers with norm and activation between them, and dropout at the end; no layers: the dropout alone."""

    def __init__(self, widths: list[int], act: nn.Module, dropout: float = 0.0, batch_norm: bool = False) -> None:
        super().__init__()
        self.act, self.dropout = act, dropout
        self.lins = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        inner = widths[1:-1] if batch_norm else []
        self.norms = nn.ModuleList(BatchNorm(width, allow_single_element=True) for width in inner)

    def forward(self, x: Tensor) -> Tensor:
        for number, lin in enumerate(self.lins):
            x = lin(x)
            if number + 1 < len(self.lins):
                x = self.norms[number](x) if self.norms else x
                x = self.act(x)
        return dropout(x, self.dropout, self.training)

    def __repr__(self) -> str:
        widths = [self.lins[0].in_features, *(lin.out_features for lin in self.lins)] if self.lins else []
        return f"{type(self).__name__}({widths})"


class SIRGCN(nn.Module):
    r"""The networks of `"Contextualized Messages Boost Graph Representations" <https://arxiv.org/abs/2403.12529>`_
    (arXiv 2403.12529, TMLR 2025).

    .. math::
        \mathrm{SIRConv}(h)_u = W_R\,\mathrm{AGG}_{v \to u}\, c_{uv}\, \sigma(W_Q h_u + b_Q + W_K h_v) + b_R

    (:class:`SIRConv`) in one of the blocks that the authors use:

    - ``pre`` (heterophilous graphs): :math:`x + D\,W\,\sigma D\,\mathrm{SIRConv}(\mathrm{Norm}(x))`, and a last norm
    - ``post`` (WikiCS, superpixels, block models, ZINC):
      :math:`D\,\sigma\,\mathrm{Norm}(\mathrm{SIRConv}(x) + \mathrm{MLP}(x))`
    - ``outer`` (ogbn-arxiv, ogbg-molhiv): :math:`x + D\,\sigma\,\mathrm{Norm}(\mathrm{SIRConv}(x))`
    - ``bare`` (DictionaryLookup, HeteroEdgeCount): :math:`D\,\mathrm{SIRConv}(x)`

    where :math:`D` is dropout.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes or targets.
        hidden_channels: width of all layers.
        num_layers: number of convolutions.
        aggr: how messages are aggregated: ``sum``, ``mean``, ``max`` or ``sym``.
        block: ``pre``, ``post``, ``outer`` or ``bare``, which has neither norm nor residual connection.
        encoder: what features go through first: ``linear``; ``embedding``, one vector per one-hot column, without bias;
            ``none``.
        act: activation in messages and between layers (``leaky_relu`` has slope 0.2).
        deep_message: the messages' activation is activation, linear layer, activation, the same for all convolutions.
        norm: ``bn`` BatchNorm, ``ln`` LayerNorm, ``gn`` GraphNorm or ``none``.
        residual: whether layers have residual connections.
        resid_layers: ``post``: linear layers on the residual connection; 0: identity.
        resid_dropout: ``post``: dropout on the residual connection.
        input_dropout: after the encoder.
        dropout: in the blocks.
        feat_dropout: on the query and key of the messages.
        edge_dropout: probability of dropping an edge, drawn anew in each layer.
        edge_dim: width of the edge features in the messages; ``None``: they play no part, as in all published runs.
        jumping_knowledge: ``post``: the read-outs of all layers and of the input are summed.
        readout: ``mlp``: linear layers on every node, then pooling; ``halving``: pooling, then three layers of falling
            width with BatchNorm (ogbg-molhiv); ``elu``: pooling, then three layers with ELU (EXP).
        readout_layers: ``mlp``: number of linear layers.
        readout_bias: ``mlp``: whether the last one has a bias.
        readout_dropout: ``mlp``: on what it returns; ``elu``: after the first layer.
        pooling: how the nodes of a graph become one: ``sum``, ``mean``, ``max``; ``None``: a row per node.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``, ``edge_attr`` ``[num_edges,
          edge_dim]`` (read if ``edge_dim`` is set), ``batch`` ``[num_nodes]`` (optional: which graph each node is of)
        - **output:** logits ``[num_nodes, out_channels]``; with ``pooling``, ``[num_graphs, out_channels]``
    """

    conv_class: ClassVar[type[SIRConv]] = SIRConv

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 256,
        num_layers: PositiveInt = 5,
        aggr: Aggregation = "sym",
        block: Literal["pre", "post", "outer", "bare"] = "pre",
        encoder: Literal["linear", "embedding", "none"] = "linear",
        act: Activation = "gelu",
        deep_message: bool = False,
        norm: Literal["bn", "ln", "gn", "none"] = "bn",
        residual: bool = True,
        resid_layers: NonNegativeInt = 0,
        resid_dropout: Dropout = 0.0,
        input_dropout: Dropout = 0.2,
        dropout: Dropout = 0.2,
        feat_dropout: Dropout = 0.2,
        edge_dropout: Dropout = 0.0,
        edge_dim: PositiveInt | None = None,
        jumping_knowledge: bool = False,
        readout: Literal["mlp", "halving", "elu"] = "mlp",
        readout_layers: PositiveInt = 1,
        readout_bias: bool = True,
        readout_dropout: Dropout = 0.0,
        pooling: Literal["sum", "mean", "max"] | None = None,
    ) -> None:
        super().__init__()
        if jumping_knowledge and (block != "post" or readout != "mlp"):
            raise ConfigError("jumping_knowledge=true needs block=post and readout=mlp: it sums their read-outs")
        first = in_channels if encoder == "none" else hidden_channels
        if first != hidden_channels and (
            block in ("pre", "outer") or (block == "post" and residual and not resid_layers)
        ):
            raise ConfigError(
                f"encoder=none: features of width {first} meet a residual connection of width {hidden_channels}: "
                f"take encoder=linear, or block=post with resid_layers=1 or residual=false"
            )
        self.block, self.residual, self.pooling, self.readout = block, residual, pooling, readout
        self.input_dropout, self.dropout, self.edge_dropout = input_dropout, dropout, edge_dropout
        self.jumping_knowledge, self.edge_dim = jumping_knowledge, edge_dim
        self.embeds = encoder == "embedding"
        self.act = activation(act)
        message = self.act
        if deep_message:
            message = nn.Sequential(self.act, nn.Linear(hidden_channels, hidden_channels), self.act)
        widths = [first, *[hidden_channels] * num_layers]
        self.encoder = None
        if encoder != "none":
            self.encoder = nn.Linear(in_channels, hidden_channels, bias=encoder == "linear")
        self.convs = nn.ModuleList(
            self._convolution(width, hidden_channels, aggr=aggr, act=message, edge_dim=edge_dim, dropout=feat_dropout)
            for width in widths[:-1]
        )
        self.norms = nn.ModuleList(_norm(norm, hidden_channels) for _ in (self.convs if block != "bare" else []))
        self.lins = nn.ModuleList(
            nn.Linear(hidden_channels, hidden_channels) for _ in (self.convs if block == "pre" else [])
        )
        self.resids = nn.ModuleList(
            _MLP([width, *[hidden_channels] * resid_layers], self.act, resid_dropout)
            for width in (widths[:-1] if block == "post" and residual else [])
        )
        self.out_norm = _norm(norm, hidden_channels) if block == "pre" else nn.Identity()
        self.readouts = nn.ModuleList(
            self._readout(width, out_channels, hidden_channels, readout_layers, readout_bias, readout_dropout)
            for width in (widths if jumping_knowledge else widths[-1:])
        )
        self._embed()

    def _convolution(self, in_channels: int, out_channels: int, **settings: Any) -> SIRConv:
        return self.conv_class(in_channels, out_channels, **settings)

    def _readout(self, width: int, out: int, hidden: int, layers: int, bias: bool, dropout: float) -> nn.Module:
        if self.readout == "elu":
            return nn.Sequential(
                nn.Linear(width, width),
                nn.ELU(),
                nn.Dropout(dropout),
                nn.Linear(width, 32),
                nn.ELU(),
                nn.Linear(32, out),
            )
        if self.readout == "halving":
            return _MLP([width, max(1, width // 2), max(1, width // 4), out], self.act, batch_norm=True)
        widths = [width, *[hidden] * (layers - 1), out]
        mlp = _MLP(widths, self.act, dropout)
        if not bias:
            mlp.lins[-1] = nn.Linear(widths[-2], out, bias=False)
        return mlp

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults; vectors of one-hot columns are standard normal."""
        for module in self.children():
            reset(module)
        self._embed()

    def _embed(self) -> None:
        if self.encoder is not None and self.embeds:
            nn.init.normal_(self.encoder.weight)

    @classmethod
    def infer(cls, data: BaseData | list[BaseData]) -> dict[str, Any]:
        """Read the number of features, and whether graphs are to be pooled: where ``y`` has not a row per node."""
        graphs = data if isinstance(data, list) else [data]
        sizes: dict[str, Any] = {"in_channels": graphs[0].num_node_features} if graphs[0].num_node_features else {}
        targets = [graph.y for graph in graphs if getattr(graph, "y", None) is not None]
        pooled = len(graphs) > 1
        if targets:
            pooled = any(y.size(0) != graph.num_nodes for y, graph in zip(targets, graphs, strict=True))
        return sizes | ({"pooling": "mean"} if pooled else {})

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None, batch: Tensor | None = None
    ) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``, or ``[num_graphs, out_channels]`` with ``pooling``."""
        edge_attr = edge_attr if self.edge_dim else None
        x = x if self.encoder is None else self.encoder(x)
        x = self._drop(x, self.input_dropout)
        x = self.act(x) if self.block == "pre" else x
        seen = [x]
        for layer in range(len(self.convs)):
            x = getattr(self, f"_{self.block}")(layer, x, *self._sampled(edge_index, edge_attr), batch)
            seen.append(x)
        if self.jumping_knowledge:
            total = torch.stack([read(h) for read, h in zip(self.readouts, seen, strict=True)]).sum(0)
            return self._pool(total, batch)
        x = _normalized(self.out_norm, x, batch)
        if self.readout == "mlp":
            return self._pool(self.readouts[0](x), batch)
        return self.readouts[0](self._pool(x, batch))

    def _pre(self, i: int, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, batch: Tensor | None) -> Tensor:
        h = self.convs[i](_normalized(self.norms[i], x, batch), edge_index, edge_attr)
        h = self._drop(self.lins[i](self.act(self._drop(h, self.dropout))), self.dropout)
        return h + x if self.residual else h

    def _post(self, i: int, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, batch: Tensor | None) -> Tensor:
        h = self.convs[i](x, edge_index, edge_attr)
        h = h + self.resids[i](x) if self.residual else h
        return self._drop(self.act(_normalized(self.norms[i], h, batch)), self.dropout)

    def _outer(self, i: int, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, batch: Tensor | None) -> Tensor:
        h = _normalized(self.norms[i], self.convs[i](x, edge_index, edge_attr), batch)
        h = self._drop(self.act(h), self.dropout)
        return h + x if self.residual else h

    def _bare(self, i: int, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, batch: Tensor | None) -> Tensor:
        return self._drop(self.convs[i](x, edge_index, edge_attr), self.dropout)

    def _drop(self, x: Tensor, p: float) -> Tensor:
        return dropout(x, p, self.training)

    def _sampled(self, edge_index: Tensor, edge_attr: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Drop edges in training."""
        if not self.training or not self.edge_dropout:
            return edge_index, edge_attr
        kept = torch.rand(edge_index.size(1), device=edge_index.device) >= self.edge_dropout
        return edge_index[:, kept], None if edge_attr is None else edge_attr[kept]

    def _pool(self, x: Tensor, batch: Tensor | None) -> Tensor:
        return x if self.pooling is None else _POOLS[self.pooling](x, batch)

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> SIRGCN:
        """Build a network from the authors' names.

        Args:
            config: ``model`` (such as ``heterophilous SIRModel``) and the authors' hyperparameters.
            state_dict: the authors' parameters. Embedding tables become one linear layer on one-hot columns.
        """
        weights = reference_weights(state_dict)
        variant = config["model"].rpartition(" ")[0]
        if variant not in _REFERENCE:
            raise ConfigError(f"model {config['model']!r}: choose from {', '.join(_REFERENCE)}")
        settings = _REFERENCE[variant] | cls._reference_settings(config)
        if config.get("virtual_node"):
            raise NotImplementedError("virtual nodes are not in this version")
        widths = [value.size(1) for name, value in weights.items() if name == "encoder.weight"]
        model = cls(
            widths[0] if widths else weights["convs.0.lin_query.weight"].size(1),
            config["output_dim"],
            hidden_channels=config["hidden_dim"],
            num_layers=config["num_layers"],
            **{f"{kind}dropout": config.get("dropout", 0.0) for kind in ("input_", "", "feat_")},
            **settings,
        )
        model.to(weights["convs.0.lin_key.weight"].dtype).load_state_dict(weights)
        return model

    @classmethod
    def _reference_settings(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return our names and values of those settings that a configuration of the authors has."""
        ours = {
            "agg_type": "aggr",
            "norm": "norm",
            "residual": "residual",
            "resid_layers": "resid_layers",
            "jumping_knowledge": "jumping_knowledge",
            "readout_layers": "readout_layers",
            "readout_pooling": "pooling",
            "pool": "pooling",
        }
        found = {name: config[key] for key, name in ours.items() if key in config}
        act = config.get("activation")
        if act == "relu-linear-relu":
            found |= {"act": "relu", "deep_message": True}
        elif act is not None:
            found["act"] = "leaky_relu" if act == "leaky_relu_0.2" else act
        return found


def _norm(kind: str, width: int) -> nn.Module:
    if kind == "bn":  # a lone node has no batch statistics: it is normalized by the running ones
        return BatchNorm(width, allow_single_element=True)
    return {"ln": nn.LayerNorm, "gn": GraphNorm, "none": nn.Identity}[kind](width)


def _normalized(norm: nn.Module, x: Tensor, batch: Tensor | None) -> Tensor:
    return norm(x, batch) if isinstance(norm, GraphNorm) else norm(x)


_PLAIN = {"block": "post", "norm": "none", "residual": False, "readout_bias": False}
_REFERENCE: dict[str, dict[str, Any]] = {
    "heterophilous": {"block": "pre", "encoder": "linear"},
    "wiki-cs": {"block": "post", "encoder": "none"},
    "super-pixel": {"block": "post", "encoder": "none"},
    "sbm": {"block": "post", "encoder": "embedding"},
    "zinc": {"block": "post", "encoder": "embedding"},
    "ogbn-arxiv": {"block": "outer", "encoder": "linear"},
    "ogbg-molhiv": {"block": "outer", "encoder": "embedding", "readout": "halving"},
    "DictionaryLookup": {"block": "bare", "encoder": "embedding", "readout_bias": False},
    "HeteroEdgeCount": {"block": "bare", "encoder": "embedding", "readout_bias": False},
    "UniqueSignature": _PLAIN | {"encoder": "none"},
    "EXP/CEXP": _PLAIN | {"encoder": "none", "readout": "elu", "readout_dropout": 0.5},
}

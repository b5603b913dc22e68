"""Soft-isomorphic neighbourhood-contextualized graph convolution: a message depends on all neighbours of its target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from gnnzoo.models.sir_gcn.conv import Activation, Aggregation, SIRConv, checked
from gnnzoo.models.sir_gcn.messages import max_of_neighbours, source_factor, target_factor
from gnnzoo.models.sir_gcn.model import SIRGCN
from gnnzoo.ops import Adjacency, spmm
from gnnzoo.types import Dropout, NonNegativeInt, PositiveInt

__all__ = ["SINCGCN", "SINCConv"]


class SINCConv(SIRConv):
    r"""The layer of `"Enhancing Graph Representations with Neighborhood-Contextualized Message-Passing"
    <https://arxiv.org/abs/2511.11046>`_ (arXiv 2511.11046).

    .. math::
        h'_u = W_R \Bigl( \mathrm{AGG}_{v \to u}\, c_{uv}\, \sigma(W_Q h_u + b_Q + W_K h_v + W_N h^N_u) \Bigr) + b_R,
        \quad h^N_u = \mathrm{NAGG}_{w \to u}\, c'_{uw} h_w

    The context :math:`W_N h^N_u` depends on the target alone: it is added to the query before any edge is looked at.
    With ``max``, the maximum is of the features and :math:`W_N` is applied to it, as the authors' code does; their
    formula has it the other way round, which is the same for the other three. :math:`W_N = 0` gives
    :class:`~gnnzoo.models.sir_gcn.SIRConv`.

    Args:
        in_channels: width of the node features.
        out_channels: width of the output.
        hidden_channels: width of the messages; ``None``: ``out_channels``.
        act: :math:`\sigma`, a name (``relu, leaky_relu, gelu, tanh, elu, identity``) or any module.
        aggr: AGG: ``sum``, ``mean``, ``max`` or ``sym``.
        neigh_aggr: NAGG, one of the same; ``None``: as ``aggr``.
        edge_dim: width of the edge features; ``None``: they are not used.
        num_edge_types: instead of ``edge_dim``: edges have an integer type and each type its own vector.
        dropout: on every term inside :math:`\sigma`.
        inner_bias: whether there is a :math:`b_Q`.
        outer_bias: whether there is a :math:`b_R`.

    Shapes:
        - **input:** ``x`` ``[num_nodes, ..., in_channels]``, ``edge_index`` ``[2, num_edges]``, ``edge_attr`` as in
          :class:`~gnnzoo.models.sir_gcn.SIRConv`
        - **output:** ``[num_nodes, ..., out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt | None = None,
        act: str | nn.Module = "relu",
        aggr: Aggregation = "sum",
        neigh_aggr: Aggregation | None = None,
        edge_dim: PositiveInt | None = None,
        num_edge_types: PositiveInt | None = None,
        dropout: Dropout = 0.0,
        inner_bias: bool = True,
        outer_bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            act=act,
            aggr=aggr,
            edge_dim=edge_dim,
            num_edge_types=num_edge_types,
            dropout=dropout,
            inner_bias=inner_bias,
            outer_bias=outer_bias,
        )
        self.neigh_aggr = checked(neigh_aggr or aggr)
        self.lin_neigh = nn.Linear(in_channels, self.hidden_channels, bias=False)

    def query(self, x: Tensor, adj: Adjacency) -> Tensor:
        """Return the query and the context of each target, ``[num_nodes, ..., hidden_channels]``."""
        return super().query(x, adj) + self._drop(self.context(x, adj))

    def context(self, x: Tensor, adj: Adjacency) -> Tensor:
        """Return :math:`W_N h^N`, ``[num_nodes, ..., hidden_channels]``."""
        if self.neigh_aggr == "max":
            return self.lin_neigh(max_of_neighbours(x, adj))
        projects_first = self.hidden_channels < self.in_channels  # aggregate in the narrower of the two widths
        h = self.lin_neigh(x) if projects_first else x
        scale = source_factor(adj, self.neigh_aggr, h)
        total = spmm(adj, h if scale is None else h * scale)
        scale = target_factor(adj, self.neigh_aggr, h)
        total = total if scale is None else total * scale
        return total if projects_first else self.lin_neigh(total)

    @classmethod
    def _reference_settings(cls, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        return super()._reference_settings(config, weights) | {"neigh_aggr": config["neigh_agg_type"]}


class SINCGCN(SIRGCN):
    r"""The networks of `"Enhancing Graph Representations with Neighborhood-Contextualized Message-Passing"
    <https://arxiv.org/abs/2511.11046>`_ (arXiv 2511.11046).

    .. math::
        \mathrm{SINCConv}(h)_u = W_R\,\mathrm{AGG}_{v \to u}\, c_{uv}\,
        \sigma(W_Q h_u + b_Q + W_K h_v + W_N h^N_u) + b_R, \quad h^N_u = \mathrm{NAGG}_{w \to u}\, c'_{uw} h_w

    (:class:`SINCConv`) in one of the blocks of :class:`~gnnzoo.models.sir_gcn.SIRGCN`:

    - ``pre`` (the one for heterophilous graphs, which this paper does not use):
      :math:`x + D\,W\,\sigma D\,\mathrm{SINCConv}(\mathrm{Norm}(x))`, and a last norm
    - ``post`` (WikiCS, superpixels, block models, ZINC; without norm and residual connection UniqueSignature, EXP):
      :math:`D\,\sigma\,\mathrm{Norm}(\mathrm{SINCConv}(x) + \mathrm{MLP}(x))`
    - ``outer`` (ogbn-arxiv, ogbg-molhiv): :math:`x + D\,\sigma\,\mathrm{Norm}(\mathrm{SINCConv}(x))`
    - ``bare``: :math:`D\,\mathrm{SINCConv}(x)`

    where :math:`D` is dropout.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes or targets.
        hidden_channels: width of all layers.
        num_layers: number of convolutions.
        aggr: how messages are aggregated: ``sum``, ``mean``, ``max`` or ``sym``.
        neigh_aggr: how neighbours become the context, one of the same.
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
        feat_dropout: on query, key and context of the messages.
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

    conv_class: ClassVar[type[SIRConv]] = SINCConv

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 70,
        num_layers: PositiveInt = 4,
        aggr: Aggregation = "mean",
        neigh_aggr: Aggregation = "mean",
        block: Literal["pre", "post", "outer", "bare"] = "post",
        encoder: Literal["linear", "embedding", "none"] = "none",
        act: Activation = "leaky_relu",
        deep_message: bool = False,
        norm: Literal["bn", "ln", "gn", "none"] = "bn",
        residual: bool = True,
        resid_layers: NonNegativeInt = 1,
        resid_dropout: Dropout = 0.0,
        input_dropout: Dropout = 0.0,
        dropout: Dropout = 0.0,
        feat_dropout: Dropout = 0.0,
        edge_dropout: Dropout = 0.0,
        edge_dim: PositiveInt | None = None,
        jumping_knowledge: bool = False,
        readout: Literal["mlp", "halving", "elu"] = "mlp",
        readout_layers: PositiveInt = 1,
        readout_bias: bool = True,
        readout_dropout: Dropout = 0.0,
        pooling: Literal["sum", "mean", "max"] | None = None,
    ) -> None:
        self.neigh_aggr = neigh_aggr  # first: the layers are made with it
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            aggr=aggr,
            block=block,
            encoder=encoder,
            act=act,
            deep_message=deep_message,
            norm=norm,
            residual=residual,
            resid_layers=resid_layers,
            resid_dropout=resid_dropout,
            input_dropout=input_dropout,
            dropout=dropout,
            feat_dropout=feat_dropout,
            edge_dropout=edge_dropout,
            edge_dim=edge_dim,
            jumping_knowledge=jumping_knowledge,
            readout=readout,
            readout_layers=readout_layers,
            readout_bias=readout_bias,
            readout_dropout=readout_dropout,
            pooling=pooling,
        )

    def _convolution(self, in_channels: int, out_channels: int, **settings: Any) -> SIRConv:
        return super()._convolution(in_channels, out_channels, neigh_aggr=self.neigh_aggr, **settings)

    @classmethod
    def _reference_settings(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        return super()._reference_settings(config) | {"neigh_aggr": config["neigh_agg_type"]}

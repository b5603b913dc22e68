"""Dir-GNN: in- and out-neighbours of a directed graph are aggregated apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import EdgeIndex
from torch_geometric.nn.inits import reset

from gnnzoo.nn.convolutions import GATConv, SAGEConv
from gnnzoo.ops import Adjacency, cached, dropout, sparse_linear, spmm
from gnnzoo.types import Dropout, PositiveInt, Probability

__all__ = ["DirGATConv", "DirGCNConv", "DirGNN", "DirSAGEConv"]


class DirGCNConv(nn.Module):
    r""":math:`\alpha (S h W_1 + b_1) + (1 - \alpha) (S^\top h W_2 + b_2)`, with
    :math:`S = D_{out}^{-1/2} A D_{in}^{-1/2}` and :math:`A_{ij} = 1` for an edge from i to j: no self-loops.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin_src_to_dst = nn.Linear(in_channels, out_channels)
        self.lin_dst_to_src = nn.Linear(in_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        self.lin_src_to_dst.reset_parameters()
        self.lin_dst_to_src.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, alpha: Tensor | float = 0.5) -> Tensor:
        """Return ``[num_nodes, out_channels]``; ``alpha`` is the share of the out-neighbours."""
        outgoing, incoming = _directed_norm(edge_index, x.size(0), x.dtype)

        def along(adj: Adjacency, lin: nn.Linear) -> Tensor:
            return spmm(adj, sparse_linear(x, lin.weight)) + lin.bias

        return _mix(alpha, lambda: along(outgoing, self.lin_src_to_dst), lambda: along(incoming, self.lin_dst_to_src))


class DirSAGEConv(nn.Module):
    r""":math:`W_0 h_v + (1 - \alpha) W_1\,\mathrm{mean}_{in} h + \alpha W_2\,\mathrm{mean}_{out} h`, with biases."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_src_to_dst = SAGEConv(in_channels, out_channels, root_weight=False)
        self.conv_dst_to_src = SAGEConv(in_channels, out_channels, root_weight=False)
        self.lin_self = nn.Linear(in_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for module in (self.conv_src_to_dst, self.conv_dst_to_src, self.lin_self):
            module.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, alpha: Tensor | float = 0.5) -> Tensor:
        """Return ``[num_nodes, out_channels]``; ``alpha`` is the share of the out-neighbours."""
        own = sparse_linear(x, self.lin_self.weight, self.lin_self.bias)
        return own + _both_ways(self.conv_src_to_dst, self.conv_dst_to_src, x, edge_index, alpha)


class DirGATConv(nn.Module):
    r""":math:`(1 - \alpha)\,\mathrm{GAT}_1(A) + \alpha\,\mathrm{GAT}_2(A^\top)`, each with self-loops."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_src_to_dst = GATConv(in_channels, out_channels)
        self.conv_dst_to_src = GATConv(in_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew: Glorot weights, zero biases."""
        self.conv_src_to_dst.reset_parameters()
        self.conv_dst_to_src.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, alpha: Tensor | float = 0.5) -> Tensor:
        """Return ``[num_nodes, out_channels]``; ``alpha`` is the share of the out-neighbours."""
        return _both_ways(self.conv_src_to_dst, self.conv_dst_to_src, x, edge_index, alpha)


_CONVOLUTIONS = {"gcn": DirGCNConv, "sage": DirSAGEConv, "gat": DirGATConv}


class DirGNN(nn.Module):
    r"""The network of `"Edge Directionality Improves Learning on Heterophilic Graphs"
    <https://arxiv.org/abs/2305.10498>`_ (arXiv 2305.10498, LoG 2023).

    .. math::
        h^{(l+1)} = \mathrm{ReLU}\Bigl( \alpha\,\mathrm{CONV}^{(l)}_1(h^{(l)}, \text{out-neighbours}) +
        (1 - \alpha)\,\mathrm{CONV}^{(l)}_2(h^{(l)}, \text{in-neighbours}) \Bigr)

    of each of the three kinds below. With jumping knowledge a linear layer on all layers' outputs (their maximum or
    concatenation) answers; without it the last convolution does.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of the hidden layers.
        num_layers: number of convolutions.
        conv: :class:`DirGCNConv`, :class:`DirSAGEConv` or :class:`DirGATConv`.
        alpha: share of the out-neighbours: 1 uses them alone, 0 the in-neighbours alone.
        learn_alpha: whether alpha is trained; it is one number for all layers.
        jk: jumping knowledge.
        normalize: scale every hidden representation to length 1.
        dropout: after every ReLU.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``, directed, without repeated
          edges
        - **output:** logits ``[num_nodes, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 64,
        num_layers: PositiveInt = 3,
        conv: Literal["gcn", "sage", "gat"] = "gcn",
        alpha: Probability = 0.5,
        learn_alpha: bool = False,
        jk: Literal["none", "max", "cat"] = "max",
        normalize: bool = False,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        self.initial_alpha, self.learn_alpha = alpha, learn_alpha
        self.jk, self.normalize, self.dropout = jk, normalize, dropout
        self.alpha = nn.Parameter(torch.tensor(float(alpha)), requires_grad=learn_alpha)
        last = out_channels if jk == "none" else hidden_channels
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), last]
        kind = _CONVOLUTIONS[conv]
        self.convs = nn.ModuleList(kind(widths[i], widths[i + 1]) for i in range(num_layers))
        seen = hidden_channels * (num_layers if jk == "cat" else 1)
        self.lin = None if jk == "none" else nn.Linear(seen, out_channels)

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> DirGNN:
        """Build the model from the authors' names.

        Args:
            config: ``num_features, num_classes, hidden, num_layers, conv`` (``dir-gcn``, ``dir-sage`` or ``dir-gat``),
                ``alpha, learn_alpha, jk`` (``max``, ``cat`` or None), ``normalize, dropout``.
            state_dict: theirs, with alpha ``[1]`` of its own in every layer.
        """
        model = cls(
            config["num_features"],
            config["num_classes"],
            hidden_channels=config["hidden"],
            num_layers=config["num_layers"],
            conv=config["conv"].removeprefix("dir-"),
            alpha=config["alpha"],
            learn_alpha=config["learn_alpha"],
            jk=config["jk"] or "none",
            normalize=config["normalize"],
            dropout=config["dropout"],
        )
        weights = {name: value for name, value in state_dict.items() if not name.endswith(".alpha")}
        weights["alpha"] = state_dict["alpha"].reshape(())
        model.to(weights["alpha"].dtype).load_state_dict(weights)
        return model

    def reset_parameters(self) -> None:
        """Draw the layers anew, by the defaults of PyTorch and PyG, and put alpha where it starts."""
        reset(self.convs)
        if self.lin is not None:
            self.lin.reset_parameters()
        with torch.no_grad():
            self.alpha.fill_(self.initial_alpha)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``[num_nodes, out_channels]``."""
        alpha = self.alpha if self.learn_alpha else float(self.alpha)
        layers = []
        for number, conv in enumerate(self.convs, start=1):
            x = conv(x, edge_index, alpha)
            if number == len(self.convs) and self.lin is None:
                return x
            x = dropout(x.relu(), self.dropout, self.training)
            x = F.normalize(x, dim=1) if self.normalize else x
            layers.append(x)
        found = torch.cat(layers, dim=1) if self.jk == "cat" else torch.stack(layers).amax(0)
        return self.lin(found)  # type: ignore[misc]


def _mix(alpha: Tensor | float, outgoing, incoming) -> Tensor:  # type: ignore[no-untyped-def]
    """Mix two aggregations; one without any share is not computed."""
    if alpha == 1 and not isinstance(alpha, Tensor):
        return outgoing()
    if alpha == 0 and not isinstance(alpha, Tensor):
        return incoming()
    return alpha * outgoing() + (1 - alpha) * incoming()


def _both_ways(along: nn.Module, against: nn.Module, x: Tensor, edge_index: Tensor, alpha: Tensor | float) -> Tensor:
    """Mix what ``along`` makes of the in-neighbours and ``against`` of the out-neighbours."""
    return _mix(alpha, lambda: against(x, _flipped(edge_index)), lambda: along(x, edge_index))


def _flipped(edge_index: Tensor) -> Tensor:
    """Return the reversed edges, always the same tensor, so that what is derived from it is derived once."""
    edges = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
    return cached(edges, "flipped", lambda: edges.flip(0))


def _directed_norm(edge_index: Tensor, num_nodes: int, dtype: torch.dtype) -> tuple[Adjacency, Adjacency]:
    r"""Return :math:`S` (over out-neighbours) and its transpose (over in-neighbours), once per graph."""

    def build() -> tuple[Adjacency, Adjacency]:
        edges = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
        scales = [torch.bincount(end, minlength=num_nodes).to(dtype).rsqrt()[end] for end in edges]
        weight = scales[0] * scales[1]
        return Adjacency(edges.flip(0), num_nodes, weight), Adjacency(edges, num_nodes, weight)

    return cached(edge_index, ("directed_norm", num_nodes, dtype), build)

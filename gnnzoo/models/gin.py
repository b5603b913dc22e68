"""Graph isomorphism network, on PyG's layers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import MLP, BatchNorm, GINConv
from torch_geometric.nn.inits import reset

from gnnzoo.errors import ConfigError
from gnnzoo.nn.graph_level import NORM, Pooling, VirtualNode, pool
from gnnzoo.ops import spmm
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["GIN"]


class _Convolution(GINConv):
    """PyG's layer; the sum over neighbors is ``ops.spmm``."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return ``nn((1 + eps) * x + A @ x)``, ``[num_nodes, out_channels]``."""
        return self.nn((1 + self.eps) * x + spmm(edge_index, x))


class GIN(nn.Module):
    r"""The network of `"How Powerful are Graph Neural Networks?" <https://arxiv.org/abs/1810.00826>`_.

    .. math::
        h_v^{(l)} = \mathrm{ReLU}\,\mathrm{BN}\,\mathrm{MLP}^{(l)}\Bigl( (1 + \epsilon^{(l)}) h_v^{(l-1)} +
        \sum_{u \in N(v)} h_u^{(l-1)} \Bigr), \quad
        y = \sum_{l=0}^{L} W^{(l)} \sum_v h_v^{(l)} + b^{(l)}

    (arXiv 1810.00826, equations 4.1 and 4.2; a linear layer on concatenated readouts is a sum of linear layers).

    Args:
        in_channels: width of the node features.
        out_channels: number of classes.
        hidden_channels: width of all layers.
        num_layers: number of convolutions. The paper counts the input as a layer: its 5 are 4 here.
        mlp_layers: linear layers in each convolution's perceptron.
        dropout: on the readouts' linear layers.
        train_eps: whether :math:`\epsilon` is learned (GIN-:math:`\epsilon`) or zero (GIN-0).
        virtual_node: a node that hears all nodes of its graph after every convolution but the last, and is heard by
            them before the next: :class:`gnnzoo.nn.graph_level.VirtualNode`. It needs two layers.
        pooling: how nodes become graphs; the paper sums (molecules, proteins) or takes means (social networks).

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``, ``batch`` ``[num_nodes]``
          (optional: which graph each node is of)
        - **output:** logits ``[num_graphs, out_channels]``; without ``batch``, of nodes, ``[num_nodes, out_channels]``

    Raises:
        ConfigError: a virtual node with one layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 32,
        num_layers: PositiveInt = 4,
        mlp_layers: PositiveInt = 2,
        dropout: Dropout = 0.5,
        train_eps: bool = False,
        virtual_node: bool = False,
        pooling: Pooling = "sum",
    ) -> None:
        super().__init__()
        if virtual_node and num_layers < 2:
            raise ConfigError(f"model 'gin': virtual_node=true with num_layers={num_layers}: nobody would hear it")
        self.dropout, self.pooling = dropout, pooling
        widths = [in_channels, *[hidden_channels] * num_layers]
        self.convs = nn.ModuleList(
            _Convolution(MLP([width, *[hidden_channels] * mlp_layers], norm_kwargs=NORM), train_eps=train_eps)
            for width in widths[:-1]
        )
        self.norms = nn.ModuleList(BatchNorm(hidden_channels, **NORM) for _ in self.convs)
        self.lins = nn.ModuleList(nn.Linear(width, out_channels) for width in widths)
        self.virtual_node = VirtualNode(hidden_channels, num_layers - 1) if virtual_node else None

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for layers in (self.convs, self.norms, self.lins):
            reset(layers)
        if self.virtual_node is not None:
            self.virtual_node.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``, or ``[num_nodes, out_channels]`` without ``batch``."""
        out, state = self._readout(0, x, batch), None
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True), start=1):
            if self.virtual_node is not None and number > 1:
                x, state = self.virtual_node(number - 2, x, state, batch)
            x = norm(conv(x, edge_index)).relu()
            out = out + self._readout(number, x, batch)
        return out

    def _readout(self, layer: int, x: Tensor, batch: Tensor | None) -> Tensor:
        """Return the logits that one layer's representation adds."""
        pooled = x if batch is None else pool(x, batch, self.pooling)
        return F.dropout(self.lins[layer](pooled), self.dropout, self.training)

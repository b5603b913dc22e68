"""Graph isomorphism network, on PyG's layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import MLP, BatchNorm, GINConv
from torch_geometric.nn.inits import reset

from gnnzoo.errors import ConfigError
from gnnzoo.nn.graph_level import NORM, Pooling, Representation, VirtualNode, pool
from gnnzoo.ops import spmm
from gnnzoo.types import Dropout, PositiveInt

__all__ = ["GIN", "Convolution"]


class Convolution(GINConv):
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
            self.convolution(MLP([width, *[hidden_channels] * mlp_layers], norm_kwargs=NORM), train_eps)
            for width in widths[:-1]
        )
        self.norms = nn.ModuleList(BatchNorm(hidden_channels, **NORM) for _ in self.convs)
        self.lins = nn.ModuleList(nn.Linear(width, out_channels) for width in widths)
        self.virtual_node = VirtualNode(hidden_channels, num_layers - 1) if virtual_node else None
        self.representation = Representation()

    def convolution(self, mlp: nn.Module, train_eps: bool) -> Convolution:
        """Return a layer around a perceptron."""
        return Convolution(mlp, train_eps=train_eps)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, by PyTorch's defaults."""
        for layers in (self.convs, self.norms, self.lins):
            reset(layers)
        if self.virtual_node is not None:
            self.virtual_node.reset_parameters()

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        """Return logits ``[num_graphs, out_channels]``, or ``[num_nodes, out_channels]`` without ``batch``."""
        out = x.new_zeros(())
        pooled, hidden = [], []
        for number, h in enumerate(self.layers(x, edge_index, batch)):
            g = h if batch is None else pool(h, batch, self.pooling)
            logits = F.dropout(self.lins[number](g), self.dropout, self.training)
            out = out + logits if number else logits
            if number and batch is not None:
                pooled.append(g)
                hidden.append(h)
        if batch is not None:
            self.representation(self.represent(pooled), hidden)
        return out

    def layers(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the nodes' features, then what each layer makes of them, ``[num_nodes, hidden_channels]``."""
        state = None
        yield x
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            if self.virtual_node is not None and number:
                x, state = self.virtual_node(number - 1, x, state, batch)
            x = norm(conv(x, edge_index)).relu()
            yield x

    def represent(self, pooled: Sequence[Tensor]) -> Tensor:
        """Return the representation of the graphs, the sum of what each layer says of them."""
        return sum(pooled[1:], pooled[0])

"""PPGN, the provably powerful graph network: matrix products of features of pairs of nodes."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch_geometric.data.data import BaseData

from gnnzoo.nn.pairs import PairBlock, PairInput, PairLayout, invariants
from gnnzoo.transforms.polynomials import nonzero_channels
from gnnzoo.types import NonNegativeInt, PositiveInt

__all__ = ["PPGN"]


class PPGN(nn.Module):
    r"""The network of `"Provably Powerful Graph Networks" <https://arxiv.org/abs/1905.11136>`_ (arXiv 1905.11136).

    .. math::
        X^{(0)} = [A \,\|\, E \,\|\, \mathrm{diag}(x)], \quad
        X^{(l+1)} = W \bigl[X \,\|\, m_1(X) \cdot m_2(X)\bigr] + b

    with :math:`m_1, m_2` perceptrons of two layers on each pair of nodes and :math:`\cdot` the matrix product of each
    channel; logits by a perceptron on the means of the diagonal and of the other entries. It tells apart what folklore
    2-WL does. Memory grows with the squares of the graphs' sizes.

    Args:
        in_channels: width of the node features.
        out_channels: number of classes or values.
        hidden_channels: width of the blocks.
        num_layers: number of blocks.
        suffix_channels: width of the hidden layer after pooling.
        edge_channels: width of the edge features; None: that of the data, 0 where there are none.
        polynomials: columns of ``pair_attr`` that are read; None: those that are not zero in all graphs of the data.

    Shapes:
        - **input:** ``x`` ``[num_nodes, in_channels]``, ``edge_index`` ``[2, num_edges]``, ``edge_attr``
          ``[num_edges, edge_channels]``, ``pair_attr`` ``[sum of squares of sizes, num_polynomials]`` (see
          :class:`~gnnzoo.transforms.Polynomials`), ``batch`` ``[num_nodes]`` (None: one graph)
        - **output:** logits or values ``[num_graphs, out_channels]``
    """

    extended: ClassVar[bool] = False
    """Whether blocks read the transpose and the identity, as in PPGN++."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: PositiveInt = 95,
        num_layers: PositiveInt = 8,
        suffix_channels: PositiveInt = 95,
        edge_channels: NonNegativeInt | None = None,
        polynomials: list[NonNegativeInt] | None = None,
    ) -> None:
        super().__init__()
        self.input = PairInput(in_channels, edge_channels or 0, tuple(polynomials or ()))
        widths = [self.input.out_channels, *[hidden_channels] * num_layers]
        self.blocks = nn.ModuleList(PairBlock(width, hidden_channels, self.extended) for width in widths[:-1])
        self.lins = nn.ModuleList(
            [nn.Linear(2 * hidden_channels, suffix_channels), nn.Linear(suffix_channels, out_channels)]
        )
        self.reset_parameters()

    @classmethod
    def infer(cls, data: BaseData | list[BaseData]) -> dict[str, Any]:
        """Read widths from the data, and which polynomials any of its graphs has."""
        graphs = data if isinstance(data, list) else [data]
        sizes: dict[str, Any] = {
            "in_channels": graphs[0].num_node_features,
            "edge_channels": graphs[0].num_edge_features,
        }
        if "pair_attr" in graphs[0]:
            sizes["polynomials"] = nonzero_channels(graphs)
        return sizes

    def reset_parameters(self) -> None:
        """Draw all weights anew, by Glorot's uniform distribution; biases are zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        pair_attr: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Return logits or values ``[num_graphs, out_channels]``."""
        dtype = next(self.parameters()).dtype
        return self._pooled(*self.input(x, edge_index, edge_attr, pair_attr, batch, dtype))

    def forward_dense(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return logits or values of graphs in padded form.

        Args:
            x: ``[num_graphs, channels, n, n]``.
            mask: ``[num_graphs, 1, n, n]``, not zero at pairs of true nodes.

        Returns:
            ``[num_graphs, out_channels]``.
        """
        nodes = mask[:, 0].diagonal(dim1=1, dim2=2) != 0
        layout = PairLayout.of(nodes.sum(1))
        true = (nodes.unsqueeze(2) & nodes.unsqueeze(1))[layout.order]
        return self._pooled(x[layout.order].transpose(0, 1)[:, true], layout)

    def _pooled(self, x: Tensor, layout: PairLayout) -> Tensor:
        for block in self.blocks:
            x = block(x, layout)
        return self.lins[1](self.lins[0](invariants(x, layout)).relu())

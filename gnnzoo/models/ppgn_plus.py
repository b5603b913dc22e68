"""PPGN++: matrix products of features of pairs, with transposes, the identity and polynomials as further inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gnnzoo.models.ppgn import PPGN

__all__ = ["PPGNPlus", "reference_name"]


class PPGNPlus(PPGN):
    r"""The network of `"Equivariant Polynomials for Graph Neural Networks" <https://arxiv.org/abs/2302.11556>`_.

    .. math::
        X^{(0)} = [P(A) \,\|\, A \,\|\, E \,\|\, \mathrm{diag}(x)], \quad \tilde X = [X \,\|\, I], \quad
        X^{(l+1)} = W \bigl[\tilde X \,\|\, m_1([\tilde X \,\|\, \tilde X^\top]) \cdot m_2(\tilde X)\bigr] + b

    with :math:`P` the polynomials of degree up to 6 that the network cannot compute (``data.polynomials=6
    data.polynomial_form=dense``; without them it is the network on the graph alone), :math:`m_1, m_2` perceptrons of
    two layers on each pair and :math:`\cdot` the matrix product of each channel; logits by a perceptron on the means of
    the diagonal and of the other entries. Memory grows with the squares of the graphs' sizes.

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

    extended = True

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> PPGNPlus:
        """Build the authors' model: ``config`` has their names, weights are ``[out, in, 1, 1]``.

        Where the channels of their dense input come from plays no part: they count as node features, and the model is
        called through :meth:`forward_dense`.
        """
        model = cls(
            config["input_dim"] - 1, config["out_dim"], config["hidden_dim"], config["depth"], config["suffix_dim"]
        )
        named = {reference_name(name): value for name, value in model.named_parameters()}
        weights = {name: state_dict[name].reshape(value.shape) for name, value in named.items()}
        model.load_state_dict({name: weights[reference_name(name)] for name in model.state_dict()})
        return model.to(next(iter(weights.values())).dtype)


def reference_name(name: str) -> str:
    """Return the authors' name of a parameter."""
    part, number, *rest = name.split(".")
    if part == "lins":
        return f"fc_layers.{number}.fc.{rest[-1]}"
    inner = "conv" if rest[0] == "skip" else f"convs.{rest[1]}"
    return f"reg_blocks.{number}.{rest[0]}.{inner}.{rest[-1]}"

"""Invariant risk minimisation: the same last scaling must be the best one in every environment."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from gnnzoo.strategies.environments import Part, PenalisedRisks
from gnnzoo.tasks import Batch, Task
from gnnzoo.types import NonNegativeFloat, NonNegativeInt, PositiveInt

__all__ = ["IRM", "risks_and_slopes"]


def risks_and_slopes(task: Task, parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
    """Return the risk of each group, and its derivative by a factor on the model's output, at 1; both ``[num_parts]``.

    Args:
        task: gives the loss.
        parts: the groups.
    """
    scale = parts[0].output.new_ones(len(parts)).requires_grad_()
    risks = torch.stack([task.loss(part.output * s, part.batch) for part, s in zip(parts, scale, strict=True)])
    (slopes,) = torch.autograd.grad(risks.sum(), scale, create_graph=True)
    return risks, slopes


def _halves(part: Part) -> list[Part]:
    """Return the rows of a group as two random groups of equal size, one larger by a row where they are odd."""
    order = torch.randperm(len(part.output), device=part.output.device)
    rows = order.tensor_split(2)
    return [Part(part.group, part.output[half], Batch(Data(y=part.batch.y[half]))) for half in rows]


class IRM(PenalisedRisks):
    r"""IRMv1 of `"Invariant Risk Minimization" <https://arxiv.org/abs/1907.02893>`_ (arXiv 1907.02893, section 3).

    .. math::
        \frac 1 E \sum_e \Bigl( R_e(f) + \lambda \bigl( \tfrac{\partial}{\partial s} R_e(s f) \big|_{s=1} \bigr)^2
        \Bigr)

    with the mean loss :math:`R_e` of an environment and a factor s on logits or values.

    Args:
        weight: :math:`\lambda`.
        anneal_epochs: epochs in which the weight is no more than 1.
        unbiased: take the product of the derivatives on two random halves of an environment's rows in place of the
            square, which noise of small batches makes larger; it can be negative. An environment of one row has none.
        num_environments: how many, of equal size as far as possible.
        by: what rows are grouped by: ``nodes``, ``edges`` or ``density`` of graphs, ``neighbour-pattern``, ``degree``
            or ``hyperdegree`` of nodes, or an attribute of the data; None: the first that there is.
    """

    def __init__(
        self,
        weight: NonNegativeFloat = 10.0,
        anneal_epochs: NonNegativeInt = 5,
        unbiased: bool = False,
        num_environments: PositiveInt = 4,
        by: str | None = None,
    ) -> None:
        super().__init__(weight, anneal_epochs, num_environments, by)
        self.unbiased = unbiased

    def penalty(self, parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
        """Return the risks and the mean squared derivative."""
        if not self.unbiased:
            risks, slopes = risks_and_slopes(self.task, parts)
            return risks, slopes.square().mean()
        risks = self.risks(parts)
        halves = [half for part in parts if len(part.output) > 1 for half in _halves(part)]
        if not halves:
            return risks, torch.zeros_like(risks[0])
        _, slopes = risks_and_slopes(self.task, halves)
        return risks, (slopes[0::2] * slopes[1::2]).sum() / len(parts)

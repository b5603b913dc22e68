"""Risk extrapolation: the risks of environments must be alike."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gnnzoo.strategies.environments import Part, PenalisedRisks

__all__ = ["VREx"]


class VREx(PenalisedRisks):
    r"""V-REx of `"Out-of-Distribution Generalization via Risk Extrapolation" <https://arxiv.org/abs/2003.00688>`_
    (arXiv 2003.00688, section 3).

    .. math::
        \frac 1 E \sum_e R_e + \beta \, \frac 1 E \sum_e (R_e - \bar R)^2

    with the mean loss :math:`R_e` of an environment and their mean :math:`\bar R`.

    Args:
        weight: :math:`\beta`.
        anneal_epochs: epochs in which the weight is no more than 1.
        num_environments: how many, of equal size as far as possible.
        by: what rows are grouped by: ``nodes``, ``edges`` or ``density`` of graphs, ``neighbour-pattern``, ``degree``
            or ``hyperdegree`` of nodes, or an attribute of the data; None: the first that there is.
    """

    def penalty(self, parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
        """Return the risks and their variance."""
        risks = self.risks(parts)
        return risks, (risks - risks.mean()).square().mean()

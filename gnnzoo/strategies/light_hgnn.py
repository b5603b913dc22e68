"""LightHGNN and LightHGNN+: a network without a hypergraph learns what one with it says."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gnnzoo.datasets import Bundle
from gnnzoo.errors import ConfigError
from gnnzoo.nn.hypergraph import Incidence, incidence
from gnnzoo.strategies.base import RunContext, Strategy, Teacher
from gnnzoo.tasks import Batch, Task, forward, outputs
from gnnzoo.types import NonNegativeFloat, PositiveFloat, Probability

__all__ = ["Distillation", "Divergence", "TopologyAwareDistillation", "reliability"]

KDLoss = Literal["official", "kl"]


class Divergence:
    r"""How far predictions are from a target that stays the same, whose part of the sum is computed once.

    ``kl`` is :math:`\sum_c t_c (\ln t_c - \ln s_c)`. ``official`` is what the authors' code computes, which takes the
    probabilities of the target for logarithms: :math:`\sum_c e^{t_c} (t_c - \ln s_c)`. Its weights lie between 1 and e,
    so that it wants all classes nearly alike likely, and it is not 0 where :math:`s = t`.

    Args:
        target: t, ``[num_rows, num_classes]``.
        kind: which of the two.
    """

    def __init__(self, target: Tensor, kind: KDLoss) -> None:
        official = kind == "official"
        self.weight = target.exp() if official else target
        terms = self.weight * target if official else torch.special.xlogy(target, target)
        self.constant = terms.sum(dim=1)

    def __call__(self, log_probs: Tensor) -> Tensor:
        r"""Return ``[num_rows]`` for :math:`\ln s`, ``[num_rows, num_classes]``."""
        return self.constant - (self.weight * log_probs).sum(dim=1)


class Distillation(Strategy):
    r"""The training of LightHGNN (arXiv 2402.04296, section 4): a student imitates a teacher on all nodes.

    .. math::
        L = \lambda L_{ce} + (1 - \lambda) \frac{1}{N} \sum_v D(t_v, s_v)

    with the class probabilities t of the teacher, s of the student, and :class:`Divergence` D. The teacher is trained
    first, on the same split and seed; what it says is computed once.

    Args:
        teacher: a registered model for hypergraphs.
        teacher_settings: what is set for it above its own card: ``{model: {norm: mean}, train: {epochs: 100}}``.
        label_weight: :math:`\lambda`, of the loss on the labels of the training nodes.
        kd_loss: D: ``official`` as the authors' code has it, or ``kl``, the Kullback-Leibler divergence.
    """

    def __init__(
        self,
        teacher: str = "hgnn",
        teacher_settings: dict[str, Any] | None = None,
        label_weight: Probability = 0.0,
        kd_loss: KDLoss = "official",
    ) -> None:
        self.teacher, self.teacher_settings = teacher, teacher_settings or {}
        self.label_weight, self.kd_loss = label_weight, kd_loss

    def teachers(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return the teacher, which is part of the run's configuration."""
        return {"teacher": (self.teacher, self.teacher_settings)}

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Train the teacher, unless an interrupted run finds it trained, and note what it says of every node.

        Raises:
            ConfigError: the task is not to tell classes apart.
        """
        super().setup(model, bundle, task, run)
        if task.target != "multiclass":
            raise ConfigError(f"strategy light-hgnn imitates class probabilities, the target is {task.target}")
        teacher = run.train("teacher")
        (logits,) = outputs(teacher.model, teacher.bundle)
        self.imitate(logits)
        self.prepare(teacher, logits)

    def prepare(self, teacher: Teacher, logits: Tensor) -> None:
        """Take from a trained teacher and its logits what else is needed: nothing here."""

    def imitate(self, logits: Tensor) -> None:
        """Take a teacher's logits ``[num_nodes, num_classes]`` for the target."""
        self.target = logits.softmax(dim=1)
        self.soft = Divergence(self.target, self.kd_loss)

    def imitation(self, log_probs: Tensor) -> Tensor:
        """Return how far the student's ``[num_nodes, num_classes]`` are from the teacher."""
        return self.soft(log_probs).mean()

    def step(self, batch: Batch) -> Tensor:
        """Return the loss; labels are looked at only where they have a weight."""
        output = forward(self.model, batch.data)
        loss = (1 - self.label_weight) * self.imitation(output.log_softmax(dim=1))
        return loss + self.label_weight * self.task.loss(output, batch) if self.label_weight else loss


class TopologyAwareDistillation(Distillation):
    r"""The training of LightHGNN+ (arXiv 2402.04296, section 4): the student also imitates reliable hyperedges.

    .. math::
        L = \lambda L_{ce} + (1 - \lambda) \Bigl( \frac{1}{N} \sum_v D(t_v, s_v) +
            \frac{1}{|S|} \sum_{e \in S} D(q_e / \tau, r_e / \tau) \Bigr)

    with the means :math:`q_e, r_e` of t and s over the nodes of a hyperedge. A hyperedge is in the sample S of a step
    with the probability :func:`reliability`; a step without any leaves the term out. With ``kd_loss="kl"``, which knows
    no quotients of probabilities, both are sharpened in their place: :math:`q_e^{1/\tau}` brought back to sum 1.

    Args:
        teacher: a registered model for hypergraphs; the hyperedges are those of its input, handled as its card says.
        teacher_settings: what is set for it above its own card: ``{model: {norm: mean}, train: {epochs: 100}}``.
        label_weight: :math:`\lambda`, of the loss on the labels of the training nodes.
        kd_loss: D: ``official`` as the authors' code has it, or ``kl``, the Kullback-Leibler divergence.
        tau: :math:`\tau`, by which probabilities of hyperedges are divided.
        noise_level: by which noisy features are multiplied in asking how reliable the teacher is.
    """

    def __init__(
        self,
        teacher: str = "hgnn",
        teacher_settings: dict[str, Any] | None = None,
        label_weight: Probability = 0.0,
        kd_loss: KDLoss = "official",
        tau: PositiveFloat = 1.0,
        noise_level: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(teacher, teacher_settings, label_weight, kd_loss)
        self.tau, self.noise_level = tau, noise_level

    def prepare(self, teacher: Teacher, logits: Tensor) -> None:
        """Ask the teacher about noisy features, once, and note what it says of hyperedges."""
        graph = copy.copy(teacher.bundle.graphs[0])
        members = incidence(graph.hyperedge_index, logits)
        if not members.num_hyperedges:
            raise ConfigError("strategy light-hgnn-plus imitates hyperedges, and there are none")
        graph.x = graph.x * (1 + torch.randn_like(graph.x)) * self.noise_level
        with torch.no_grad():
            noisy = forward(teacher.model, graph)
        self.look_at(members, reliability(logits, noisy, members))

    def look_at(self, members: Incidence, probability: Tensor) -> None:
        """Take the hyperedges and how probably each is in a sample, ``[num_hyperedges]``."""
        self.members, self.probability = members, probability
        mean = members.to_hyperedges(self.target)
        target = mean / self.tau if self.kd_loss == "official" else (_log(mean) / self.tau).softmax(dim=1)
        self.high_order = Divergence(target, self.kd_loss)

    def imitation(self, log_probs: Tensor) -> Tensor:
        """Return how far the student is from the teacher, on nodes and on a sample of hyperedges."""
        kept = torch.bernoulli(self.probability)
        return super().imitation(log_probs) + self.hyperedge_loss(log_probs, kept)

    def hyperedge_loss(self, log_probs: Tensor, kept: Tensor) -> Tensor:
        """Return the mean divergence of a sample of hyperedges, ``kept`` ``[num_hyperedges]``; 0 for an empty one."""
        log_mean = _log(self.members.to_hyperedges(log_probs.exp()))
        official = self.kd_loss == "official"
        log_mean = log_mean - math.log(self.tau) if official else (log_mean / self.tau).log_softmax(dim=1)
        return (kept * self.high_order(log_mean)).sum() / kept.sum().clamp(min=1)


def _log(probs: Tensor) -> Tensor:
    return probs.clamp(min=torch.finfo(probs.dtype).tiny).log()


def reliability(logits: Tensor, noisy: Tensor, members: Incidence) -> Tensor:
    r"""Return how little noise in the features changes a teacher's certainty on each hyperedge:
    :math:`1 - \Delta_e / \max_e \Delta_e`, :math:`\Delta_e = |\tilde H_e - H_e|`, with the mean entropy :math:`H_e` of
    what it says of the nodes (arXiv 2402.04296, section 4.2). All are 1 where nothing changes.

    Args:
        logits: of the teacher, ``[num_nodes, num_classes]``.
        noisy: the same for noisy features.
        members: the hyperedges.

    Returns:
        ``[num_hyperedges]``, from 0 (the least reliable one) to 1.
    """
    before, after = (torch.special.entr(z.softmax(dim=1)).sum(dim=1, keepdim=True) for z in (logits, noisy))
    change = (members.to_hyperedges(after) - members.to_hyperedges(before)).abs().squeeze(1)
    most = change.max()
    return 1 - change / most if most > 0 else torch.ones_like(change)

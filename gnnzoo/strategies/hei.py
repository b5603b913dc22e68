"""HEI: environments that a small network infers from how nodes relate to their neighbours, and equal risks in them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnnzoo.datasets import Bundle
from gnnzoo.errors import ConfigError
from gnnzoo.strategies.base import RunContext, Strategy
from gnnzoo.strategies.environments import neighbour_pattern
from gnnzoo.tasks import Batch, Task, forward
from gnnzoo.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

__all__ = ["HEI", "EnvironmentNetwork", "standardized"]


class EnvironmentNetwork(nn.Module):
    r"""Which environment a node belongs to: :math:`q_v = \mathrm{softmax}(W_2 \mathrm{ReLU}(W_1 z_v + b_1) + b_2)`.

    Args:
        hidden_channels: width of the hidden layer.
        num_envs: K, number of environments.

    Shapes:
        - **input:** z ``[num_nodes]``
        - **output:** probabilities ``[num_nodes, num_envs]``
    """

    def __init__(self, hidden_channels: int, num_envs: int) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(1, hidden_channels), nn.Linear(hidden_channels, num_envs)
        for lin in (self.lin1, self.lin2):
            nn.init.xavier_uniform_(lin.weight)
            nn.init.zeros_(lin.bias)

    def forward(self, z: Tensor) -> Tensor:
        """Return probabilities."""
        return self.lin2(self.lin1(z.unsqueeze(1)).relu()).softmax(dim=1)


def standardized(z: Tensor, train: Tensor) -> Tensor:
    """Return z shifted and scaled to mean 0 and (unbiased) deviation 1 over some nodes; 0 where they are all alike.

    Args:
        z: ``[num_nodes]``.
        train: the nodes.
    """
    known = z[train]
    centred = z - known.mean()
    deviation = known.std() if len(known) > 1 else known.new_zeros(())
    constant = deviation <= 1e-6 * known.abs().max()  # zero up to rounding
    return torch.zeros_like(z) if constant else centred / deviation


class HEI(Strategy):
    r"""The training of `"Leveraging Invariant Principle for Heterophilic Graph Structure Distribution Shifts"
    <https://arxiv.org/abs/2408.09490>`_ (arXiv 2408.09490, WWW 2025).

    .. math::
        \frac{1}{1 + \omega} \Bigl( \frac 1 n \sum_v \ell_v + \lambda_2 \lVert \theta \rVert^2
            + \omega \sum_{k=1}^{K} \Bigl( \frac{\partial R_k}{\partial s} \Bigr)^2 \Bigr), \quad
        R_k = \frac 1 n \sum_v q_{vk}\, \ell_v(s)

    over the n training nodes, with the losses :math:`\ell_v` and their scale s = 1. For the first epochs :math:`\omega`
    is 0, and the network of q makes a step of Adam up the penalty in each; from then on it stays as it is.

    Args:
        num_envs: K, number of environments; 1 makes the penalty the square of the mean loss.
        env_hidden: width of the environment network.
        env_lr: its learning rate.
        anneal_epochs: epochs in which the environments are learnt.
        penalty_weight: :math:`\omega` afterwards; the loss is divided by :math:`1 + \omega` where that is above 1.
        weight_norm: :math:`\lambda_2`, of the squares of all parameters.
        distance: of neighbours, whose mean is what q is told of a node: ``norm2`` or ``cos``
            (:func:`~gnnzoo.strategies.environments.neighbour_pattern`).
        directed: a node's neighbours are those that its edges point at; else the graph is made undirected first.
        penalty: ``official``, as the authors' code computes it: s multiplies :math:`\ln \mathrm{softmax}`, so that
            the derivative is :math:`R_k` itself; or ``irmv1``: s multiplies the logits (arXiv 1907.02893).
        by_size: risks are means over the environments, :math:`\sum_v q_{vk} \ell_v / \sum_v q_{vk}`, so that the
            penalty does not grow by putting all nodes into one.
    """

    def __init__(
        self,
        num_envs: PositiveInt = 4,
        env_hidden: PositiveInt = 16,
        env_lr: PositiveFloat = 1e-3,
        anneal_epochs: NonNegativeInt = 5,
        penalty_weight: NonNegativeFloat = 1e4,
        weight_norm: NonNegativeFloat = 1e-3,
        distance: Literal["norm2", "cos"] = "norm2",
        directed: bool = False,
        penalty: Literal["official", "irmv1"] = "official",
        by_size: bool = False,
    ) -> None:
        self.num_envs, self.env_hidden, self.env_lr = num_envs, env_hidden, env_lr
        self.anneal_epochs, self.penalty_weight, self.weight_norm = anneal_epochs, penalty_weight, weight_norm
        self.distance, self.directed, self.kind, self.by_size = distance, directed, penalty, by_size

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Compute what the environments are inferred from, and draw the network that infers them.

        Raises:
            ConfigError: several labels per node, or a graph that is not seen whole.
        """
        super().setup(model, bundle, task, run)
        if task.target not in ("multiclass", "binary"):
            raise ConfigError(f"strategy hei is for nodes of one class each; the target is {task.target}")
        data = bundle.data
        if not isinstance(data, Data) or data.x is None or data.edge_index is None:
            raise ConfigError("strategy hei compares features of neighbours: it needs one graph with x and edge_index")
        if getattr(data, "separate_rows", False):
            raise ConfigError("strategy hei weighs all training nodes at once; this model takes them in mini-batches")
        z = neighbour_pattern(data.x, data.edge_index, self.distance, self.directed)
        pattern = standardized(z, bundle.splits[0].train)
        if not pattern.any():
            warnings.warn(
                f"training nodes of {bundle.benchmark} are equally unlike their neighbours: there are no environments",
                stacklevel=2,
            )
        self.prepare(pattern)

    def prepare(self, pattern: Tensor) -> None:
        """Take the standardised statistic of all nodes ``[num_nodes]``, and draw a network for it."""
        self.pattern, self.epoch = pattern, 1
        self.network = EnvironmentNetwork(self.env_hidden, self.num_envs).to(pattern)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.env_lr, maximize=True)

    def on_epoch(self, epoch: int) -> None:
        """Note the epoch, which decides what is learnt in it."""
        self.epoch = epoch

    def step(self, batch: Batch) -> Tensor:
        """Return the loss of the training nodes; in the first epochs make the environment network's step, too."""
        output, pattern = forward(self.model, batch.data), batch.select(self.pattern)
        annealing = self.epoch <= self.anneal_epochs
        with torch.set_grad_enabled(annealing):
            envs = self.network(pattern)
        # the penalty has no weight while the environments are learnt, and they have no gradient afterwards
        penalty = self.penalty(output.detach() if annealing else output, batch, envs)
        self.logged = {"penalty": penalty.detach(), "env_entropy": torch.special.entr(envs.detach().mean(dim=0)).sum()}
        loss = self.task.loss(output, batch)
        if self.weight_norm:
            loss = loss + self.weight_norm * self.squared_norm()
        if annealing:
            self.optimizer.zero_grad()
            penalty.backward()
            self.optimizer.step()
            return loss
        return (loss + self.penalty_weight * penalty) / (1 + self.penalty_weight if self.penalty_weight > 1 else 1)

    def penalty(self, output: Tensor, batch: Batch, envs: Tensor) -> Tensor:
        """Return the sum of the squared derivatives of the risks by the scale.

        Args:
            output: of the model.
            batch: says which of its rows are scored.
            envs: probabilities of environments of those rows, ``[num_rows, num_envs]``.
        """
        if self.kind == "official":
            slopes = self.task.losses(output, batch)
        else:  # a scale for each row, whose loss depends on no other
            scale = output.new_ones(len(output), 1).requires_grad_()
            (slopes,) = torch.autograd.grad(self.task.losses(scale * output, batch).sum(), scale, create_graph=True)
            slopes = batch.select(slopes).squeeze(1)
        size = envs.sum(dim=0).clamp(min=torch.finfo(envs.dtype).tiny) if self.by_size else len(envs)
        return (envs.t() @ slopes / size).square().sum()

    def squared_norm(self) -> Tensor:
        """Return the sum of the squares of the model's parameters."""
        return torch.stack([p.square().sum() for p in self.model.parameters() if p.requires_grad]).sum()

    def log(self) -> dict[str, float]:
        """Return the penalty, and the entropy of how nodes fall to environments: ln K if evenly, 0 if all to one."""
        return {name: value.item() for name, value in self.logged.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the environment network and its optimiser; the statistic is computed anew."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])

"""Learning to reweight: training graphs are weighted so that dimensions of their representation are independent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch_geometric.data.data import BaseData
from torch_geometric.nn.dense import Linear
from torch_geometric.utils import to_dense_batch

from gnnzoo.datasets import Bundle, Split
from gnnzoo.errors import ConfigError
from gnnzoo.nn.decorrelation import (
    apart,
    cluster_dimensions,
    coded_features,
    coded_gradient,
    correlations,
    dissimilarity,
    paper_decorrelation,
    textbook_features,
)
from gnnzoo.nn.graph_level import Representation, pool
from gnnzoo.strategies.base import RunContext, Strategy
from gnnzoo.tasks import Batch, Task, forward
from gnnzoo.types import NonNegativeInt, PositiveFloat, PositiveInt, Probability

__all__ = ["LearningToReweight", "Noise", "Represented", "represent", "virtual_step", "weight_gradient"]

Noise = tuple[tuple[Tensor, Tensor], ...]
"""What Fourier features are drawn with: ``(w, b)`` for every inner step, once (coded loss) or twice (paper's)."""

_WARM = 10
"""So many first batches of the first epoch are averaged in a queue before old ones fade."""

_MOMENTUM = 0.9
"""Of the inner loop, and of the running mean of dissimilarities."""


class Represented(NamedTuple):
    """What a model says of a batch of graphs, and what it says it from."""

    output: Tensor
    graphs: Tensor
    """``[num_graphs, channels]``."""
    nodes: Tensor | None
    """``[num_nodes, channels]`` of the same dimensions, where the model shows them."""


def represent(model: nn.Module, data: BaseData) -> Represented:
    """Return a model's output and the representation of the graphs behind it.

    A model that has a :class:`gnnzoo.nn.graph_level.Representation` shows it there. Of any other one it is what goes
    into the linear layer that is called last, among those with as many columns as the output and a row per graph or
    node; of nodes the mean is taken, graph by graph.

    Raises:
        ConfigError: there is no such layer.
    """
    shown: list[tuple[nn.Module, tuple[Any, ...]]] = []
    places: list[nn.Module] = [module for module in model.modules() if isinstance(module, Representation)]
    places = places or [module for module in model.modules() if isinstance(module, nn.Linear | Linear)]
    handles = [place.register_forward_pre_hook(lambda place, args: shown.append((place, args))) for place in places]
    try:
        output = forward(model, data)
    finally:
        for handle in handles:
            handle.remove()
    for place, (x, *nodes) in reversed(shown):
        if isinstance(place, Representation):
            return Represented(output, x, sum(nodes[0][1:], nodes[0][0]) if nodes else None)
        if x.dim() == output.dim() == 2 and place.weight.size(0) == output.size(1):
            if len(x) == len(output):
                return Represented(output, x, None)
            if len(x) == data.num_nodes:
                return Represented(output, pool(x, data.batch, "mean"), x)
    raise ConfigError(
        f"strategy l2r needs a representation of graphs, which {type(model).__name__} does not show: its outputs are "
        "not those of a linear layer"
    )


def virtual_step(loss: Tensor, parameters: Sequence[Tensor], lr: float) -> list[Tensor]:
    """Return what one step of gradient descent would make of parameters; the graph behind the loss is kept."""
    grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [p.detach() if g is None else p.detach() - lr * g for p, g in zip(parameters, grads, strict=True)]


def weight_gradient(losses: Tensor, parameters: Sequence[Tensor], direction: Sequence[Tensor], lr: float) -> Tensor:
    r"""Return the gradient of a loss after :func:`virtual_step` with respect to the weights of the step's samples.

    .. math::
        \frac{\partial}{\partial w_n} L\bigl(\theta - \eta \nabla \textstyle\sum_m w_m \ell_m(\theta)\bigr) =
        -\eta\,\bigl\langle \nabla L(\theta'), \nabla \ell_n(\theta) \bigr\rangle

    It takes a backward pass per sample, and no second derivatives, which sparse products do not have.

    Args:
        losses: :math:`\ell`, ``[num_samples]``; the graph behind them is kept.
        parameters: :math:`\theta`.
        direction: :math:`\nabla L(\theta')`.
        lr: :math:`\eta`.
    """
    found = []
    for loss in losses:
        grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        found.append(sum((g * v).sum() for g, v in zip(grads, direction, strict=True) if g is not None))
    return -lr * torch.stack([torch.as_tensor(value, dtype=losses.dtype, device=losses.device) for value in found])


class _Listened(nn.Module):
    """A model whose call is :func:`represent`, so that it can be called with other parameters."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, data: BaseData) -> Represented:
        return represent(self.model, data)


class LearningToReweight(Strategy):
    r"""L2R-GNN (`arXiv 2312.12475 <https://arxiv.org/abs/2312.12475>`_), for any model of graphs; without clusters and
    validation graphs it is StableNet (`arXiv 2104.07876 <https://arxiv.org/abs/2104.07876>`_).

    .. math::
        \min_\theta \sum_n p_n \ell_n(\theta), \quad
        p = \mathrm{softmax}\Bigl( \arg\min_a \tfrac 1 \lambda L_{decor}([z; Z], [a; A]) +
        \sum_n \mathrm{softmax}(a)_n^{\kappa} \Bigr)

    For every batch the weights start equal and take ``epochb`` steps of SGD with momentum 0.9; no gradient reaches the
    representation z from them. Z and A are representations and raw weights of earlier batches: ``num_queues`` buffers
    take turns, and each keeps ``presave_ratio`` of what it holds. Only pairs of dimensions in different clusters count;
    clusters hold dimensions whose correlation is stable over graphs (of nodes, where the model shows them, else over
    chunks of batch and queue), and are found anew once per epoch, from the first batch.

    Args:
        loss: :math:`L_{decor}`: ``coded`` as in the anonymous code, or that of the ``paper``:
            :func:`~gnnzoo.nn.decorrelation.coded_decorrelation`, :func:`~gnnzoo.nn.decorrelation.paper_decorrelation`.
        rff: Fourier features, ``coded`` (scaled per sample) or ``textbook``; None: textbook for the loss of the paper.
        n_clusters: of dimensions; one turns decorrelation off, ``all`` gives each its own, so that all pairs count.
        num_queues: how many buffers of earlier batches.
        queue_size: graphs in a buffer; None: as many as the first batch has.
        num_f: Fourier features.
        concatenate: coded cosines and sines are features of their own instead of being added.
        epochb: inner steps.
        lrbl: their rate, a tenth in their second half.
        lambdap: :math:`\lambda`.
        lambda_decay_rate: what :math:`\lambda` is multiplied by every ``lambda_decay_epoch`` epochs.
        lambda_decay_epoch: see there.
        min_lambda_times: to which share :math:`\lambda` falls at the most.
        decay_pow: :math:`\kappa`.
        first_step_cons: what the inner loss is multiplied by in the first epoch.
        presave_ratio: of what a buffer holds, how much stays when a batch comes.
        epochp: epochs of equal weights before.
        bilevel: ``none``; ``first_order``: the weights are learnt for the model that a step with equal weights would
            make; ``unrolled``: and the validation loss after that step, as it depends on the weights, is added to the
            inner loss, linearized where the weights are equal. So ``unrolled`` trains on validation labels, at the cost
            of a backward pass per graph.
        lookahead_lr: rate of that step.
    """

    def __init__(
        self,
        loss: Literal["coded", "paper"] = "coded",
        rff: Literal["coded", "textbook"] | None = None,
        n_clusters: PositiveInt | Literal["all"] = 8,
        num_queues: PositiveInt = 1,
        queue_size: PositiveInt | None = None,
        num_f: PositiveInt = 1,
        concatenate: bool = False,
        epochb: PositiveInt = 20,
        lrbl: PositiveFloat = 1.0,
        lambdap: PositiveFloat = 0.1,
        lambda_decay_rate: PositiveFloat = 1.0,
        lambda_decay_epoch: PositiveInt = 5,
        min_lambda_times: PositiveFloat = 0.01,
        decay_pow: PositiveFloat = 2.0,
        first_step_cons: PositiveFloat = 1.0,
        presave_ratio: Probability = 0.9,
        epochp: NonNegativeInt = 0,
        bilevel: Literal["none", "first_order", "unrolled"] = "none",
        lookahead_lr: PositiveFloat = 0.01,
    ) -> None:
        self.loss, self.rff, self.n_clusters = loss, rff or ("coded" if loss == "coded" else "textbook"), n_clusters
        self.num_queues, self.queue_size, self.presave_ratio = num_queues, queue_size, presave_ratio
        self.num_f, self.concatenate, self.epochb, self.lrbl = num_f, concatenate, epochb, lrbl
        self.lambdap, self.lambda_decay_rate, self.lambda_decay_epoch = lambdap, lambda_decay_rate, lambda_decay_epoch
        self.min_lambda_times, self.decay_pow, self.first_step_cons = min_lambda_times, decay_pow, first_step_cons
        self.epochp, self.bilevel, self.lookahead_lr = epochp, bilevel, lookahead_lr
        self.queue_features: Tensor | None = None  # [num_queues, queue_size, channels]
        self.queue_weights: Tensor | None = None  # [num_queues, queue_size], raw
        self.distance: Tensor | None = None  # running mean of dissimilarities, [channels, channels]
        self.cluster: Tensor | None = None  # [channels]; None: all pairs
        self.on_epoch(1)

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Note where validation graphs are found, if they are asked for."""
        super().setup(model, bundle, task, run)
        if self.bilevel == "unrolled":
            self.bundle, self.seed = bundle, run.seed

    def on_epoch(self, epoch: int) -> None:
        """Begin to count; the code counts epochs from 0."""
        self.epoch, self.iteration, self.clustered = epoch - 1, 0, False
        self.effective: list[Tensor] = []
        self.validation: Iterator[Batch] = iter(())

    def step(self, batch: Batch) -> Tensor:
        """Return the weighted loss of a batch."""
        found = represent(self.model, batch.data)
        losses = self.task.losses(found.output, batch)
        equal = torch.full_like(losses, 1 / max(len(losses), 1))
        weights = self.weights(batch, found, losses) if self.epoch >= self.epochp else equal
        self.effective.append(1 / (weights.square().sum() * len(losses)))
        self.iteration += 1
        return (weights * losses).sum()

    def log(self) -> dict[str, float]:
        """Return the effective sample size of the epoch's batches in shares of their sizes: 1 if weights are equal."""
        return {"effective_sample_size": float(torch.stack(self.effective).mean())} if self.effective else {}

    def weights(self, batch: Batch, found: Represented, losses: Tensor) -> Tensor:
        """Return the weights of a batch, ``[num_graphs]``, which are positive and whose sum is 1."""
        graphs, nodes, extra = found.graphs.detach(), found.nodes, None
        if self.bilevel != "none":
            graphs, nodes, extra = self.look_ahead(batch, losses)
        self.find_clusters(graphs, None if nodes is None else nodes.detach(), batch.data.batch)
        raw = self.learn(graphs, self.draw(graphs), extra)
        self.enqueue(graphs, raw)
        return raw.softmax(dim=0)

    def draw(self, x: Tensor) -> Noise:
        """Draw what the Fourier features of all inner steps are made with."""
        shape = (self.epochb, x.size(1), self.num_f)
        frequencies = shape if self.rff == "textbook" else shape[::2]
        return tuple(
            (x.new_empty(frequencies).normal_(), x.new_empty(shape).uniform_(0, 2 * math.pi))
            for _ in range(1 if self.loss == "coded" else 2)
        )

    @torch.no_grad()
    def learn(self, x: Tensor, noise: Noise, extra: Tensor | None = None) -> Tensor:
        """Return the raw weights of a batch after the inner loop, ``[num_graphs]``.

        Args:
            x: representation, ``[num_graphs, channels]``.
            noise: of :meth:`draw`.
            extra: what is added to the gradient with respect to the weights, ``[num_graphs]``.
        """
        size, (features, queued) = len(x), self.queues(x)
        samples = torch.cat([x, features.flatten(0, 1)])
        drawn = [
            textbook_features(samples, *pair)
            if self.rff == "textbook"
            else coded_features(samples, *pair, self.concatenate)
            for pair in noise
        ]
        cluster = torch.arange(x.size(1), device=x.device) if self.cluster is None else self.cluster
        pairs = apart(cluster, x.dtype)
        decay = max(self.lambda_decay_rate ** (self.epoch // self.lambda_decay_epoch), self.min_lambda_times)
        scale = self.first_step_cons if self.epoch == 0 else 1.0
        raw = torch.cat([x.new_ones(size), queued.flatten()])
        weights = raw.clone()  # of the paper's loss: mean 1 in the batch, and in the queues
        weights[size:] = queued.numel() * queued.flatten().softmax(dim=0)
        velocity, mine = x.new_zeros(size), raw[:size]
        for step, u in enumerate(zip(*drawn, strict=True)):
            own = mine.softmax(dim=0)
            if self.loss == "coded":
                p = raw.softmax(dim=0)
                grad = coded_gradient(u[0], p, pairs)
                total = p[:size] * (grad[:size] - p @ grad)
            else:
                weights[:size] = size * own
                _, grad = paper_decorrelation(u[0], u[1], weights, pairs)
                total = size * own * (grad[:size] - own @ grad[:size])
            total /= self.lambdap * decay
            kept = self.decay_pow * own**self.decay_pow
            if extra is not None:
                kept += own * extra
            total += kept - own * kept.sum()
            velocity.mul_(_MOMENTUM).add_(total, alpha=scale)
            mine.sub_(velocity, alpha=self.lrbl * 0.1 ** (step // (self.epochb / 2)))
        return mine.clone()

    def queues(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the buffers, ``[num_queues, queue_size, channels]`` and ``[num_queues, queue_size]``."""
        if self.queue_features is None or self.queue_weights is None:
            size = self.queue_size or len(x)
            self.queue_features = x.new_zeros(self.num_queues, size, x.size(1))
            self.queue_weights = x.new_ones(self.num_queues, size)
        self.queue_features = self.queue_features.to(x.device)
        self.queue_weights = self.queue_weights.to(x.device)
        return self.queue_features, self.queue_weights

    @torch.no_grad()
    def enqueue(self, x: Tensor, raw: Tensor) -> None:
        """Let a batch into the buffer whose turn it is: as many of its graphs as there is room for."""
        turn, number = self.iteration % self.num_queues, self.iteration // self.num_queues
        warm = self.epoch == 0 and number < _WARM
        keep = number / (number + 1) if warm else self.presave_ratio
        for queue, new in zip(self.queues(x), (x, raw), strict=True):
            rows = queue[turn, : len(new)]
            rows.mul_(keep).add_(new[: len(rows)], alpha=1 - keep)

    @torch.no_grad()
    def find_clusters(self, graphs: Tensor, nodes: Tensor | None, batch: Tensor) -> None:
        """Cluster the dimensions, once per epoch, as soon as there are two environments.

        Args:
            graphs: ``[num_graphs, channels]``.
            nodes: ``[num_nodes, channels]``; environments are then graphs of at least three nodes.
            batch: which graph each node is of, ``[num_nodes]``.
        """
        if self.n_clusters == "all" or self.clustered:
            return
        if nodes is not None:
            x, mask = to_dense_batch(nodes, batch)
            enough = mask.sum(dim=1) >= 3
            x, mask = x[enough], mask[enough]
        else:
            samples = torch.cat([graphs, self.queues(graphs)[0].flatten(0, 1)])
            samples = samples[samples.any(dim=1)]  # without room that nothing has come to yet
            samples = samples[torch.randperm(len(samples)).to(samples.device)]
            count = min(max(len(graphs) // 8, 2), len(samples) // 3)
            x, mask = samples.unflatten(0, (1, -1)), None
            if count:
                x = samples[: len(samples) // count * count].unflatten(0, (count, -1))
        if len(x) < 2:
            return
        found = dissimilarity(correlations(x, mask))
        if self.distance is not None:
            found = _MOMENTUM * self.distance.to(found.device) + (1 - _MOMENTUM) * found
        self.distance, self.cluster, self.clustered = found, cluster_dimensions(found, self.n_clusters), True

    def look_ahead(self, batch: Batch, losses: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return what the model after one step with equal weights says: of graphs and nodes, and of the weights.

        Args:
            batch: of training graphs.
            losses: theirs, ``[num_graphs]``.

        Returns:
            Their new representation, that of their nodes (or None), and the gradient of the validation loss with
            respect to their weights (None unless the step is unrolled).
        """
        names, parameters = zip(*((n, p) for n, p in self.model.named_parameters() if p.requires_grad), strict=True)
        moved = virtual_step(losses.mean(), parameters, self.lookahead_lr)
        listened = _Listened(self.model)

        def call(data: BaseData) -> Represented:
            state = dict(zip(names, moved, strict=True))
            state |= {name: buffer.clone() for name, buffer in self.model.named_buffers()}
            return functional_call(listened, {f"model.{name}": value for name, value in state.items()}, (data,))

        with torch.no_grad():
            found = call(batch.data)
        if self.bilevel == "first_order":
            return found.graphs, found.nodes, None
        moved = [p.requires_grad_() for p in moved]
        validation = self.next_validation(len(losses))
        loss = self.task.loss(call(validation.data).output, validation)
        grads = torch.autograd.grad(loss, moved, materialize_grads=True)
        return found.graphs, found.nodes, weight_gradient(losses, parameters, grads, self.lookahead_lr)

    def next_validation(self, size: int) -> Batch:
        """Return so many validation graphs; they come in an order that is drawn anew in each epoch."""
        batch = next(self.validation, None)
        if batch is None:
            split = self.bundle.splits[0]
            known = Split(split.index, split.val, split.val, split.val[:0])
            order = self.seed * 1_000_003 + self.epoch
            self.validation = iter(self.task.loader(self.bundle, known, "train", size, order))
            batch = next(self.validation)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return buffers and clusters."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for name in _STATE:
            setattr(self, name, state[name])


_STATE = ("queue_features", "queue_weights", "distance", "cluster")

"""Environments: groups of the known data between which something differs that should not matter for the answer."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.data.data import BaseData
from torch_geometric.utils import scatter, to_undirected

from gnnzoo.datasets import Bundle
from gnnzoo.datasets.bundle import label_store
from gnnzoo.errors import ConfigError, closest
from gnnzoo.strategies.base import RunContext, Strategy
from gnnzoo.tasks import Batch, Task, forward
from gnnzoo.types import NonNegativeFloat, NonNegativeInt, PositiveInt

__all__ = ["EnvironmentStrategy", "Environments", "Part", "PenalisedRisks", "neighbour_pattern", "quantile_cuts"]

_CHUNK = 1 << 22
"""So many numbers of differences between the two ends of edges are in memory at once."""
_BATCH = 1024
"""So many graphs are looked at together before training."""


def neighbour_pattern(
    x: Tensor, edge_index: Tensor, kind: Literal["norm2", "cos"] = "norm2", directed: bool = False
) -> Tensor:
    r"""Return how nodes relate to their neighbours, without labels: HEI's statistic (arXiv 2408.09490).

    .. math::
        z_v = \frac{1}{|\{(v, u)\}|} \sum_{(v, u)} \delta(x_v, x_u)

    over the edges that leave v, with :math:`\delta = \lVert x_v - x_u \rVert_2` (``norm2``: how unlike they are) or
    :math:`x_v^\top x_u` (``cos``, which normalises nothing in spite of its name). Nodes that no edge leaves get 0.

    Args:
        x: features ``[num_nodes, num_features]``.
        edge_index: ``[2, num_edges]``.
        kind: :math:`\delta`.
        directed: take edges as they are; else each counts in both directions, and equal ones count once.

    Returns:
        ``[num_nodes]``.
    """
    edge_index = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
    if not directed:
        edge_index = to_undirected(edge_index, num_nodes=len(x))
    source, target = edge_index
    size = max(1, _CHUNK // max(1, x.size(1)))
    parts = []
    for v, u in zip(source.split(size), target.split(size), strict=True):
        parts.append((x[v] - x[u]).norm(dim=1) if kind == "norm2" else (x[v] * x[u]).sum(dim=1))
    between = torch.cat(parts) if parts else x.new_empty(0)
    return scatter(between, source, dim_size=len(x), reduce="mean")


def quantile_cuts(values: Tensor, count: int) -> Tensor:
    """Return where to cut so that the groups, at most ``count``, are as equal in size as equal values let them be.

    Args:
        values: ``[num_values]``; real numbers that differ by rounding only, by a 100,000th of the largest, are equal.
        count: how many groups are wanted.

    Returns:
        Rising float64 numbers, each halfway between the values beside it: ``torch.bucketize(values.double(), cuts)``
        tells the groups, of which none is empty.
    """
    ordered = values.double().sort().values
    least = 1e-5 * ordered.abs().max() if values.is_floating_point() else 0.0
    steps = (ordered.diff() > least).nonzero().flatten()
    if count == 1 or not len(steps):
        return ordered.new_empty(0)
    wanted = torch.arange(1, count, device=values.device) * len(values) / count
    chosen = steps[(steps + 1 - wanted[:, None]).abs().argmin(dim=1).unique()]
    return (ordered[chosen] + ordered[chosen + 1]) / 2


def _nodes(data: BaseData) -> Tensor:
    return data.ptr.diff()


def _edges(data: BaseData) -> Tensor:
    return torch.bincount(data.batch[data.edge_index[0]], minlength=data.num_graphs)


def _density(data: BaseData) -> Tensor:
    nodes = _nodes(data)
    return _edges(data) / (nodes * (nodes - 1)).clamp(min=1)


def _degree(data: BaseData) -> Tensor:
    ends = data.hyperedge_index[0] if "hyperedge_index" in data else data.edge_index[1]
    return torch.bincount(ends, minlength=data.num_nodes)


def _pattern(data: BaseData) -> Tensor:
    return neighbour_pattern(data.x, data.edge_index)


_OF_GRAPHS: dict[str, tuple[Callable[[BaseData], Tensor], tuple[str, ...]]] = {
    "nodes": (_nodes, ()),
    "edges": (_edges, ("edge_index",)),
    "density": (_density, ("edge_index",)),
}
_OF_NODES: dict[str, tuple[Callable[[BaseData], Tensor], tuple[str, ...]]] = {
    "neighbour-pattern": (_pattern, ("x", "edge_index")),
    "degree": (_degree, ("edge_index",)),
    "hyperdegree": (_degree, ("hyperedge_index",)),
}
"""What environments can be made by: how it is measured on a batch, and what the data must have."""


class Environments:
    """Which environment a row belongs to, found without labels and from the training rows alone.

    Rows are grouped by a number that is measured on them, cut at quantiles of the training rows, or by an attribute of
    the data, each of whose values among the training rows is an environment. Where equal numbers leave fewer groups
    than asked for, a warning says so; none is ever empty.

    Args:
        bundle: what is trained on; its one split says which rows are for training.
        task: ``node``, ``inductive-node`` or ``graph``.
        count: how many environments are wanted; an attribute has as many as it has values.
        by: ``nodes``, ``edges`` or ``density`` of graphs; ``neighbour-pattern`` (:func:`neighbour_pattern`) or
            ``degree`` of nodes, ``hyperdegree`` in a hypergraph; or the name of an attribute with a whole number for
            each graph or node. None: the first of these that the data have.

    Attributes:
        count: how many there are.
        by: what they are made by.
        sizes: how many training rows are in each, ``[count]``.

    Raises:
        ConfigError: the data cannot be grouped by ``by``.
    """

    def __init__(self, bundle: Bundle, task: Task, count: int, by: str | None = None) -> None:
        measures = _OF_GRAPHS if task.name == "graph" else _OF_NODES
        found = _example(bundle)
        self.by, self._measure = _choose(by, measures, found, task, bundle)
        if self._measure and getattr(found, "separate_rows", False):
            raise ConfigError(f"strategy.by={self.by}: the rows come in mini-batches, without the graph they are from")
        self._rows: Tensor | None = None
        (split,) = bundle.splits
        batches = task.loader(bundle, split, "train", _BATCH)
        values = torch.cat([batch.select(self._values(batch)) for batch in batches])
        self._cuts = quantile_cuts(values, count) if self._measure else values.unique().double()[:-1]
        self.count = len(self._cuts) + 1
        self.sizes = self._found(values).bincount(minlength=self.count)
        if not isinstance(bundle.data, list) and not getattr(bundle.data, "separate_rows", False):
            self._rows = self._found(self._values(Batch(bundle.data)))
        if self._measure and self.count < count:
            warnings.warn(
                f"{self.count} of the {count} environments asked for: too many training rows of {bundle.benchmark} "
                f"are equal by {self.by} (strategy.by)",
                stacklevel=2,
            )

    def _values(self, batch: Batch) -> Tensor:
        """Return what rows are grouped by, a number for every row of the output."""
        return self._measure(batch.data) if self._measure else getattr(label_store(batch.data), self.by).flatten()

    def _found(self, values: Tensor) -> Tensor:
        return torch.bucketize(values.double(), self._cuts)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the environments of the scored rows of a batch, ``[num_rows]`` of 0 to :attr:`count` - 1."""
        if self._rows is not None:
            return batch.select(self._rows)  # one graph, whose rows are always the same
        return self._found(batch.select(self._values(batch)))


def _example(bundle: Bundle) -> BaseData:
    """Return the one graph, or the first one that is trained on."""
    return bundle.data[int(bundle.splits[0].train[0])] if isinstance(bundle.data, list) else bundle.data


def _choose(
    by: str | None, measures: dict[str, tuple[Callable, tuple[str, ...]]], found: BaseData, task: Task, bundle: Bundle
) -> tuple[str, Callable[[BaseData], Tensor] | None]:
    """Return what environments are made by and how it is measured; None for an attribute."""
    possible = [name for name, (_, needs) in measures.items() if all(need in found for need in needs)]
    if by is None and possible:
        by = possible[0]
    if by in possible:
        return by, measures[by][0]
    attributes = _attributes(bundle, task)
    if by in attributes:
        return by, None
    what = "graph" if task.name == "graph" else "node"
    near = closest(by or "", [*possible, *attributes])
    raise ConfigError(f"strategy.by={by}: {bundle.benchmark} has no such whole number for each {what}{near}")


def _attributes(bundle: Bundle, task: Task) -> list[str]:
    """Return the names of attributes with a whole number for each row that is trained on."""
    (split,) = bundle.splits
    graphs = [bundle.data[i] for i in split.train.tolist()] if isinstance(bundle.data, list) else [bundle.data]
    stores = [label_store(graph) for graph in graphs]
    sizes = [1 if task.name == "graph" else len(store.y) for store in stores]

    def fits(name: str) -> bool:
        values = [getattr(store, name, None) for store in stores]
        return all(
            isinstance(value, Tensor)
            and not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
            and value.numel() == size == (len(value) if value.dim() else 1)
            for value, size in zip(values, sizes, strict=True)
        )

    # PyG shifts what is called index or batch when it joins graphs
    names = [name for name in stores[0].keys() if name != "y" and "index" not in name and "batch" not in name]  # noqa: SIM118
    return [name for name in names if fits(name)]


class Part(NamedTuple):
    """The scored rows of one group."""

    group: int
    output: Tensor
    """``[num_rows, num_outputs]``."""
    batch: Batch
    """Their labels alone, all of them scored."""


def _parts(output: Tensor, batch: Batch, groups: Tensor, task: Task) -> list[Part]:
    """Return the groups that a batch has labels of.

    Args:
        output: of the model.
        batch: the batch.
        groups: of its scored rows, ``[num_rows]``.
        task: says what a label is.
    """
    scored = batch.select(output)
    y = batch.y if task.target == "multiclass" else batch.y.view_as(scored)
    parts = []
    for group in groups.unique().tolist():
        rows = (groups == group).nonzero().flatten()
        if not y[rows].isnan().all():
            parts.append(Part(group, scored[rows], Batch(Data(y=y[rows]))))
    return parts


class EnvironmentStrategy(Strategy):
    """Training that looks at the risks of environments, the mean losses of their rows, instead of at the mean of all.

    Args:
        num_environments: how many, of equal size as far as possible; see :class:`Environments`.
        by: what rows are grouped by; see :class:`Environments`.
    """

    def __init__(self, num_environments: PositiveInt = 4, by: str | None = None) -> None:
        self.num_environments, self.by, self.epoch = num_environments, by, 1
        self._logged: dict[str, list[Tensor]] = {}

    def setup(self, model: nn.Module, bundle: Bundle, task: Task, run: RunContext) -> None:
        """Find the environments.

        Raises:
            ConfigError: the data cannot be grouped by ``by``.
        """
        super().setup(model, bundle, task, run)
        self.environments = Environments(bundle, task, self.num_environments, self.by)

    def groups(self, batch: Batch) -> Tensor:
        """Return the groups of the scored rows of a batch, ``[num_rows]``: their environments."""
        return self.environments(batch)

    def step(self, batch: Batch) -> Tensor:
        """Return the loss; that of plain training where no group of the batch has a label."""
        output = forward(self.model, batch.data)
        parts = _parts(output, batch, self.groups(batch), self.task)
        return self.objective(parts) if parts else self.task.loss(output, batch)

    @abstractmethod
    def objective(self, parts: Sequence[Part]) -> Tensor:
        """Return the loss of a batch, given as its groups."""

    def risks(self, parts: Sequence[Part]) -> Tensor:
        """Return the mean loss of each group."""
        return torch.stack([self.task.loss(part.output, part.batch) for part in parts])

    def on_epoch(self, epoch: int) -> None:
        """Begin to note anew."""
        self.epoch = epoch
        self._logged = {}

    def note(self, name: str, value: Tensor) -> None:
        """Remember a number of this step for :meth:`log`."""
        self._logged.setdefault(name, []).append(value.detach())

    def log(self) -> dict[str, float]:
        """Return means over the steps of the epoch."""
        return {name: torch.stack(values).mean().item() for name, values in self._logged.items()}


class PenalisedRisks(EnvironmentStrategy):
    r"""Training by the mean risk and :math:`\lambda` times a penalty on how risks of environments differ.

    In the first epochs the penalty counts once at most. The sum is divided by :math:`\lambda` where that is above 1, so
    that learning rates stay comparable. Where the data have one environment only, there is no penalty.

    Args:
        weight: :math:`\lambda`.
        anneal_epochs: epochs in which the weight is no more than 1.
        num_environments: how many, of equal size as far as possible; see :class:`Environments`.
        by: what rows are grouped by; see :class:`Environments`.
    """

    def __init__(
        self,
        weight: NonNegativeFloat = 10.0,
        anneal_epochs: NonNegativeInt = 5,
        num_environments: PositiveInt = 4,
        by: str | None = None,
    ) -> None:
        super().__init__(num_environments, by)
        self.weight, self.anneal_epochs = weight, anneal_epochs

    def objective(self, parts: Sequence[Part]) -> Tensor:
        """Return the penalised mean risk."""
        risks, penalty = self.penalty(parts)
        self.note("penalty", penalty)
        self.note("worst_risk", risks.max())
        mean = risks.mean()
        if self.environments.count == 1:
            return mean
        weight = self.weight if self.epoch > self.anneal_epochs else min(self.weight, 1.0)
        return (mean + weight * penalty) / max(weight, 1.0)

    @abstractmethod
    def penalty(self, parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
        """Return the risks of the environments in a batch and the penalty."""

"""Edge-dependent node tasks: a label for each incidence, a node in a hyperedge, of one hypergraph."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor
from torch_geometric.data.data import BaseData

from gnnzoo.datasets import Bundle, Split
from gnnzoo.errors import DataError
from gnnzoo.ops import cached
from gnnzoo.tasks.base import Batch, Stage, Task
from gnnzoo.tasks.metrics import score

__all__ = ["EdgeDependentNodeTask", "neighbourhood"]


class EdgeDependentNodeTask(Task):
    """One hypergraph; a split's rows are incidences, that is columns of ``hyperedge_index``.

    A batch's data has ``incidence_index``, the incidences that are asked about; a model's output and the batch's ``y``
    have one row for each of them. Validation and test see the whole hypergraph, and so does training unless
    ``neighbors`` is given.

    Args:
        target: see :class:`~gnnzoo.tasks.base.Task`.
        metric: what the protocol reports; micro and macro F1 are both computed.
        evaluator: see :class:`~gnnzoo.tasks.base.Task`.
        neighbors: train on mini-batches of ``batch_size`` hyperedges, whose neighbourhoods hold at most so many
            hyperedges of every node; None: full batch.
        hops: how far these neighbourhoods reach, in the steps of :func:`neighbourhood`.
    """

    name = "edge-dependent-node"

    def __init__(
        self, target: str, metric: str, evaluator: str = "", neighbors: int | None = None, hops: int | None = None
    ) -> None:
        super().__init__(target, metric, evaluator)
        self.neighbors, self.hops = neighbors, hops or 1

    def loader(self, bundle: Bundle, split: Split, stage: Stage, batch_size: int, seed: int = 0) -> Iterable[Batch]:
        """Yield the whole hypergraph with the stage's incidences; or mini-batches of it, drawn from ``seed``."""
        (data,), rows = bundle.graphs, getattr(split, stage)
        if stage != "train" or self.neighbors is None:
            yield Batch(_asked(data, rows))
            return
        generator = torch.Generator().manual_seed(seed)
        hyperedges = data.hyperedge_index[1].cpu()[rows]
        names, hyperedges = hyperedges.unique(return_inverse=True)
        batch = torch.randperm(len(names), generator=generator)[hyperedges] // batch_size
        order = batch.argsort(stable=True)
        for part in rows[order].split(batch.bincount().tolist()):
            yield Batch(neighbourhood(data, part, self.neighbors, self.hops, generator))

    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, float]:
        """Score predictions by the protocol's metric, and by micro and macro F1."""
        names = dict.fromkeys([self.metric, "micro_f1", "macro_f1"])
        return {name: score(name, outputs, y, self.target, self.evaluator) for name in names}


def _asked(data: BaseData, rows: Tensor) -> BaseData:
    data = copy.copy(data)
    data.incidence_index = rows.to(data.hyperedge_index.device)
    data.y = data.y[data.incidence_index]
    return data


def neighbourhood(
    data: BaseData, rows: Tensor, neighbors: int, hops: int = 1, generator: torch.Generator | None = None
) -> BaseData:
    """Return what a diffusion of so many steps can see from some incidences, as a hypergraph of its own.

    A step leads from a set of incidences to all incidences of their hyperedges, and to at most ``neighbors``
    incidences of each of their nodes, drawn without replacement; those that are in the set already are always kept.

    Args:
        data: a hypergraph with ``x``, ``hyperedge_index``, ``y`` and perhaps more, a row per node or incidence;
            incidences that input handling added, without labels, come last.
        rows: the incidences asked about, ``[num_rows]``, whole hyperedges of them.
        neighbors: at most so many incidences of a node.
        hops: the number of steps.
        generator: of the draws.

    Returns:
        A copy with renumbered nodes and hyperedges; ``incidence_index`` (where the rows are), ``y`` (their labels),
        ``node_index`` (which nodes are left) and ``incidence_hop`` (the step in which each incidence was reached).
    """
    device = data.hyperedge_index.device
    by_node, by_hyperedge, nodes, hyperedges = cached(data.hyperedge_index, "members", lambda: _members(data))
    hop = torch.full_like(nodes, -1)
    hop[rows] = 0
    for step in range(1, hops + 1):
        inside = (hop >= 0).nonzero().flatten()
        reached, there = nodes[inside].unique(return_counts=True)
        wanted = (neighbors - there).clamp(min=0)
        many = by_node[1].diff()[reached] > _MANY * neighbors
        found = [
            _few(reached[~many], wanted[~many], by_node, hop < 0, generator),
            _drawn(reached[many], wanted[many], by_node, hop < 0, neighbors, generator),
            _entries(hyperedges[inside].unique(), *by_hyperedge)[0],
        ]
        for entries in found:
            hop[entries[hop[entries] < 0]] = step
    kept = (hop >= 0).nonzero().flatten()
    part = copy.copy(data)
    node_index, new_nodes = nodes[kept].unique(return_inverse=True)
    hyperedge_names, new_hyperedges = hyperedges[kept].unique(return_inverse=True)
    for name, value in data.to_dict().items():
        if name in ("hyperedge_index", "y") or not isinstance(value, Tensor) or not value.dim():
            continue
        if len(value) in (len(nodes), len(data.y)) and name != "x":
            part[name] = value[kept[kept < len(value)].to(device)]
        elif len(value) == data.num_nodes:
            part[name] = value[node_index.to(device)]
    if "num_nodes" in data:
        part.num_nodes = len(node_index)
    part.hyperedge_index = torch.stack([new_nodes, new_hyperedges]).to(device)
    part.num_hyperedges = len(hyperedge_names)
    part.node_index, part.incidence_hop = node_index.to(device), hop[kept].to(device)
    part.incidence_index = torch.searchsorted(kept, rows).to(device)
    part.y = data.y[rows.to(device)]
    return part


_Lists = tuple[Tensor, Tensor]
_MANY = 8
"""Of a node with so many times more incidences than are wanted, some are drawn; else all are put in random order."""


def _few(chosen: Tensor, wanted: Tensor, lists: _Lists, new: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return as many new entries of each list as are wanted, or all there are: the first ones in random order."""
    entries, owner = _entries(chosen, *lists)
    entries, owner = entries[new[entries]], owner[new[entries]]
    order = torch.rand(len(entries), generator=generator).argsort()
    order = order[owner[order].argsort(stable=True)]
    rank = torch.arange(len(entries)) - _first(owner)
    return entries[order][rank < wanted[owner]]


def _drawn(
    chosen: Tensor, wanted: Tensor, lists: _Lists, new: Tensor, most: int, generator: torch.Generator | None
) -> Tensor:
    """Return the same of long lists, by drawing twice as many as are wanted at most and leaving repetitions out."""
    if not len(chosen):
        return chosen
    entries, pointer = lists
    counts = (pointer[chosen + 1] - pointer[chosen])[:, None]
    place = (torch.rand(len(chosen), 2 * most, generator=generator, dtype=torch.float64) * counts).long()
    drawn = entries[(pointer[chosen][:, None] + place).flatten()]
    order = drawn.argsort(stable=True)
    fresh = new[drawn]
    fresh[order[1:][drawn[order].diff() == 0]] = False
    rank = fresh.view(place.shape).cumsum(1)
    return drawn[fresh & (rank <= wanted[:, None]).flatten()]


def _members(data: BaseData) -> tuple[_Lists, _Lists, Tensor, Tensor]:
    """Return the incidences of every node and of every hyperedge, as entries and where each list begins; both rows."""
    if len(data.y) > data.hyperedge_index.size(1):
        raise DataError(f"{len(data.y)} labels for {data.hyperedge_index.size(1)} incidences")
    nodes, hyperedges = data.hyperedge_index.cpu().clone()
    lists = []
    for row, size in ((nodes, data.num_nodes), (hyperedges, data.num_hyperedges)):
        counts = torch.bincount(row, minlength=size)
        lists.append((row.argsort(stable=True), torch.cat([counts.new_zeros(1), counts.cumsum(0)])))
    return lists[0], lists[1], nodes, hyperedges


def _entries(chosen: Tensor, entries: Tensor, pointer: Tensor) -> tuple[Tensor, Tensor]:
    """Return the entries of the chosen lists, one list after the other, and which of the lists each is from."""
    counts = pointer[chosen + 1] - pointer[chosen]
    owner = torch.repeat_interleave(torch.arange(len(chosen)), counts)
    place = torch.arange(len(owner)) - _first(owner) + pointer[chosen][owner]
    return entries[place], owner


def _first(owner: Tensor) -> Tensor:
    """Return where the run of each entry's owner begins; ``owner`` is sorted."""
    return torch.searchsorted(owner, owner)

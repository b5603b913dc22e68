"""Tiny generated datasets, one for each kind of task and structure; none needs a file."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import HypergraphData, Split
from gnnzoo.datasets.raw import RawFiles

__all__ = ["load_communities", "load_edge_counts", "load_mixtures", "load_papers", "load_teams"]


def _splits(card: DatasetCard, protocol: str, size: int) -> list[Split]:
    """Draw 50 % / 25 % / 25 %; split ``i`` comes from seed ``i``."""
    cuts = [size // 2, size // 2 + size // 4]
    count = card.protocols[protocol].splits
    parts = [np.split(np.random.RandomState(seed).permutation(size), cuts) for seed in range(count)]
    return [Split(index, *map(torch.from_numpy, part)) for index, part in enumerate(parts)]


def _noisy_one_hot(rng: np.random.RandomState, y: np.ndarray, classes: int, noise: float) -> Tensor:
    return torch.from_numpy((np.eye(classes)[y] + noise * rng.standard_normal((len(y), classes))).astype(np.float32))


def load_papers(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HeteroData, list[Split]]:
    """Return 90 papers of three fields, whose features say nothing, and 30 authors, whose features tell their field."""
    rng = np.random.RandomState(0)
    field, expertise = np.arange(90) % 3, np.arange(30) % 3
    writers = [rng.choice(np.flatnonzero(expertise == c), 2, replace=False) for c in field]
    writes = torch.from_numpy(np.stack([np.concatenate(writers), np.repeat(np.arange(90), 2)]))
    data = HeteroData()
    data["paper"].x = torch.from_numpy(rng.standard_normal((90, 5)).astype(np.float32))
    data["paper"].y = torch.from_numpy(field)
    data["author"].x = _noisy_one_hot(rng, expertise, 3, noise=0.1)
    data["author", "writes", "paper"].edge_index = writes
    data["paper", "written_by", "author"].edge_index = writes.flip(0)
    return data, _splits(card, protocol, 90)


def _teams(rng: np.random.RandomState, groups: list[np.ndarray], number: int, size: int) -> Tensor:
    """Draw hyperedges, each within one of the groups of nodes in turn."""
    members = [rng.choice(groups[e % len(groups)], size, replace=False) for e in range(number)]
    return torch.from_numpy(np.stack([np.concatenate(members), np.repeat(np.arange(number), size)]))


def load_teams(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HypergraphData, list[Split]]:
    """Return 60 people of three departments with noisy features, in 40 teams of five from one department each."""
    rng = np.random.RandomState(0)
    y = np.arange(60) % 3
    teams = _teams(rng, [np.flatnonzero(y == c) for c in range(3)], number=40, size=5)
    data = HypergraphData(x=_noisy_one_hot(rng, y, 3, noise=1.0), hyperedge_index=teams, y=torch.from_numpy(y))
    return data, _splits(card, protocol, 60)


def load_mixtures(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[HypergraphData], list[Split]]:
    """Return 64 hypergraphs of red and blue nodes: in half of them a hyperedge has one colour, in the others both.

    Some have more hyperedges than nodes, so that a batch that mixes up the two does not go unnoticed.
    """
    rng = np.random.RandomState(0)
    graphs = []
    for index in range(64):
        colour = np.arange(rng.randint(8, 13)) % 2
        red, blue = np.flatnonzero(colour == 0), np.flatnonzero(colour == 1)
        groups = [red, blue] if index % 2 else [np.arange(len(colour))]
        teams = _teams(rng, groups, number=rng.randint(4, 17), size=4)
        x = torch.from_numpy(np.eye(2, dtype=np.float32)[colour])
        graphs.append(HypergraphData(x=x, hyperedge_index=teams, y=torch.tensor([index % 2])))
    return graphs, _splits(card, protocol, 64)


def _undirected(pairs: np.ndarray) -> Tensor:
    return torch.from_numpy(np.concatenate([pairs, pairs[::-1]], axis=1).astype(np.int64))


def load_communities(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Return 32 graphs of two communities whose members are friends; the features of a node are noisy."""
    rng = np.random.RandomState(0)
    graphs = []
    for _ in range(32):
        y = np.arange(rng.randint(10, 15)) % 2
        source, target = np.triu_indices(len(y), k=1)
        linked = rng.random_sample(len(source)) < np.where(y[source] == y[target], 0.8, 0.05)
        edge_index = _undirected(np.stack([source, target])[:, linked])
        x = _noisy_one_hot(rng, y, 2, noise=1.0)
        graphs.append(Data(x=x, edge_index=edge_index, y=torch.from_numpy(y)))
    return graphs, _splits(card, protocol, 32)


def load_edge_counts(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[list[Data], list[Split]]:
    """Return 48 random graphs without telling features; the target is a tenth of the number of edges."""
    rng = np.random.RandomState(0)
    graphs = []
    for _ in range(48):
        nodes = rng.randint(6, 12)
        pairs = np.stack(np.triu_indices(nodes, k=1))
        edge_index = _undirected(pairs[:, rng.random_sample(pairs.shape[1]) < rng.uniform(0.2, 0.8)])
        y = torch.tensor([[edge_index.size(1) / 10]], dtype=torch.float32)
        graphs.append(Data(x=torch.ones(nodes, 1), edge_index=edge_index, y=y))
    return graphs, _splits(card, protocol, 48)

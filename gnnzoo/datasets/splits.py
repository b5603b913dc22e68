"""Splits that have no file: drawn from stored seeds, so that everybody has the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gnnzoo.datasets.bundle import Split

__all__ = [
    "balanced",
    "by_name",
    "from_masks",
    "per_class",
    "planetoid_random",
    "some_per_class",
    "uniform",
]


def from_masks(train: Tensor, val: Tensor, test: Tensor) -> list[Split]:
    """Turn boolean masks, ``[num_nodes]`` or ``[num_nodes, num_splits]``, into splits."""
    masks = [mask.reshape(len(mask), -1).T for mask in (train, val, test)]
    return [Split(i, *(mask[i].nonzero().flatten() for mask in masks)) for i in range(len(masks[0]))]


def by_name(protocol: str, y: Tensor, num_splits: int) -> list[Split]:
    """Draw the splits of a random protocol that has one meaning for all sets of nodes.

    Args:
        protocol: ``random-20``, ``random-60-20-20`` (of every class) or ``higcn-100``.
        y: classes, ``[num_nodes]``.
        num_splits: how many splits to draw.
    """
    if protocol == "random-20":
        return planetoid_random(y, num_splits)
    if protocol == "random-60-20-20":
        return per_class(y, (0.6, 0.2), num_splits)
    if protocol == "higcn-100":
        return balanced(y, (0.6, 0.2), num_splits)
    raise ValueError(f"{protocol} has no rule here")


def _split(index: int, *parts: np.ndarray) -> Split:
    return Split(index, *map(torch.from_numpy, parts), seed=index)


def _generator(seed: int) -> np.random.RandomState:
    # the one generator of the Python world whose streams are promised never to change
    return np.random.RandomState(seed)


def per_class(y: Tensor, fractions: Sequence[float], num_splits: int) -> list[Split]:
    """Split every class by the fractions of train and val; the rest is test. Split ``i`` is drawn from seed ``i``.

    Sizes are rounded down per class, but every class of three or more members is in all parts.

    Args:
        y: classes, ``[num_nodes]``.
        fractions: of train and of val.
        num_splits: how many splits to draw.
    """
    splits = []
    for seed in range(num_splits):
        rng = _generator(seed)
        parts: list[list[np.ndarray]] = [[], [], []]
        for label in np.unique(y.numpy()):
            members = rng.permutation(np.flatnonzero(y.numpy() == label))
            train = max(1, int(fractions[0] * len(members)))
            val = train + max(1, int(fractions[1] * len(members)))
            for part, chosen in zip(parts, np.split(members, [train, val]), strict=True):
                part.append(chosen)
        splits.append(_split(seed, *(np.concatenate(part) for part in parts)))
    return splits


def balanced(y: Tensor, fractions: Sequence[float], num_splits: int) -> list[Split]:
    """Draw equally many training nodes of every class, then val out of the rest; what remains is test.

    With ``n`` nodes and ``C`` classes these are ``round(fractions[0] * n / C)`` of each class, all of a smaller one
    (which then is neither in val nor in test), and ``round(fractions[1] * n)`` for val: the rule of GPRGNN, BernNet,
    ChebNetII and HiGCN, who call it "60/20/20". Split ``i`` is drawn from seed ``i``.

    Args:
        y: classes, ``[num_nodes]``.
        fractions: of train and of val.
        num_splits: how many splits to draw.
    """
    train, val = fractions[0] * len(y) / len(y.unique()), fractions[1] * len(y)
    return planetoid_random(y, num_splits, round(train), round(val), len(y))


def some_per_class(
    y: Tensor, num_splits: int, train: int = 20, val: int = 30, nodes: Tensor | None = None
) -> list[Split]:
    """Draw training and validation nodes of every class; all the others are test. Split ``i`` is drawn from seed ``i``.

    The rule of Shchur et al. 2018 (arXiv 1811.05868).

    Args:
        y: classes, ``[num_nodes]``.
        num_splits: how many splits to draw.
        train: training nodes of each class.
        val: validation nodes of each class.
        nodes: the nodes that are split, in ascending order; default: all.
    """
    ids = np.arange(len(y)) if nodes is None else nodes.numpy()
    labels = y.numpy()[ids]
    splits = []
    for seed in range(num_splits):
        rng = _generator(seed)
        members = [rng.permutation(ids[labels == label]) for label in np.unique(labels)]
        limits = ((0, train), (train, train + val), (train + val, None))
        splits.append(_split(seed, *(np.concatenate([m[first:last] for m in members]) for first, last in limits)))
    return splits


def planetoid_random(
    y: Tensor, num_splits: int, train_per_class: int = 20, val: int = 500, test: int = 1000
) -> list[Split]:
    """Draw training nodes of every class, then val and test out of the rest; split ``i`` is drawn from seed ``i``.

    Args:
        y: classes, ``[num_nodes]``.
        num_splits: how many splits to draw.
        train_per_class: training nodes of each class.
        val: validation nodes in all.
        test: test nodes in all.
    """
    splits = []
    for seed in range(num_splits):
        rng = _generator(seed)
        classes = [np.flatnonzero(y.numpy() == label) for label in np.unique(y.numpy())]
        train = np.concatenate([rng.permutation(members)[:train_per_class] for members in classes])
        rest = rng.permutation(np.setdiff1d(np.arange(len(y)), train))
        splits.append(_split(seed, train, rest[:val], rest[val : val + test]))
    return splits


def uniform(size: int, fractions: Sequence[float], num_splits: int) -> list[Split]:
    """Split ``size`` rows at random, classes or not; the rest of train and val is test, split ``i`` has seed ``i``.

    Args:
        size: number of rows.
        fractions: of train and of val, rounded down.
        num_splits: how many splits to draw.
    """
    train = int(fractions[0] * size)
    val = train + int(fractions[1] * size)
    return [_split(seed, *np.split(_generator(seed).permutation(size), [train, val])) for seed in range(num_splits)]

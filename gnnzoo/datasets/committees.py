"""Hypergraphs that have labels and no features: committees, bills, shopping trips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.datasets.number_files import bad_line, read_lists
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import uniform
from gnnzoo.types import NonNegativeFloat, Seed

__all__ = ["label_in_features", "load"]

_COLUMNS = 100
"""Width of the features that the published tables use, whatever the number of classes."""


def load(
    card: DatasetCard,
    protocol: str,
    files: RawFiles,
    feature_noise: NonNegativeFloat = 1.0,
    seed: Seed = 0,
) -> tuple[HypergraphData, list[Split]]:
    r"""Read a hypergraph and draw the features that AllSet and ED-HNN draw: the class with noise on top.

    .. math::
        x_v = e_{y_v} + \sigma\,\varepsilon_v, \quad \varepsilon_v \sim N(0, I_{100})

    Every node's class is in its features, a test node's too; how well it can be read is a choice of ``feature_noise``.
    The splits are random, without regard to classes: half of the nodes for training, a quarter for validation.

    Args:
        feature_noise: standard deviation of the noise; the published tables use 1.0, some also 0.6.
        seed: of the noise; the splits do not depend on it.

    Raises:
        DataError: a line of a file is not what it must be.
    """
    name = Path(card.root).name
    with files.layout(list(card.files)) as folder:
        nodes, sizes = read_lists(folder / f"hyperedges-{name}.txt", ",", card.name)
        labels, per_node = read_lists(folder / f"node-labels-{name}.txt", ",", card.name)
    where = f"{card.name}: node-labels-{name}.txt"
    if (per_node != 1).any():
        raise bad_line(where, int((per_node != 1).argmax()), "more than one class")
    if (wrong := (labels < 1) | (labels > card.num_outputs)).any():
        line = int(wrong.argmax())
        raise bad_line(where, line, f"class {labels[line]} is not in 1..{card.num_outputs}")
    hyperedges = np.repeat(np.arange(len(sizes)), sizes)
    if (wrong := (nodes < 1) | (nodes > len(labels))).any():
        first = int(wrong.argmax())
        where, why = f"{card.name}: hyperedges-{name}.txt", f"node {nodes[first]} has no class ({len(labels)} nodes do)"
        raise bad_line(where, int(hyperedges[first]), why)
    y = labels - 1
    # RandomState's streams are promised never to change
    x = np.random.RandomState(seed).normal(0, feature_noise, (len(y), _COLUMNS))
    x[np.arange(len(y)), y] += 1
    data = HypergraphData(
        x=torch.from_numpy(x.astype(np.float32)),
        hyperedge_index=torch.from_numpy(np.stack([nodes - 1, hyperedges])),
        y=torch.from_numpy(y),
        num_hyperedges=len(sizes),
    )
    return data, uniform(len(y), (0.5, 0.25), card.protocols[protocol].splits)


def label_in_features(bundle: Bundle, files: RawFiles) -> float:
    """Share of nodes whose class is the largest of their first features, one for each class."""
    data = bundle.graphs[0]
    return float((data.x[:, : bundle.num_outputs].argmax(dim=1) == data.y).float().mean())

"""Graphs of Geom-GCN out of Wikipedia: articles linked by hyperlinks, actors linked by the articles they share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import Actor, WikipediaNetwork
from torch_geometric.utils import coalesce, to_undirected

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.halves import by_homophily
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import by_name, from_masks

__all__ = ["load", "no_incoming_edge", "undirected_pairs"]


class _Network(WikipediaNetwork):
    """PyG's class, but for the features: its lists of Python numbers take ten times the memory of the result."""

    def process(self) -> None:
        pages, links, *masks = map(Path, self.raw_paths)
        with open(pages, encoding="utf-8") as file:
            next(file)
            rows = [line.split("\t") for line in file]
        x = torch.from_numpy(np.stack([np.fromstring(row[1], np.float32, sep=",") for row in rows]))
        y = torch.tensor([int(row[2]) for row in rows])
        ends = np.fromstring(links.read_text(encoding="utf-8").partition("\n")[2], np.int64, sep=" ").reshape(-1, 2)
        edge_index = coalesce(torch.from_numpy(ends).T.contiguous(), num_nodes=len(y))
        parts = [np.load(path) for path in masks]
        columns = {
            name: torch.from_numpy(np.stack([part[name] for part in parts], axis=1)).bool()
            for name in ("train_mask", "val_mask", "test_mask")
        }
        self.save([Data(x=x, edge_index=edge_index, y=y, **columns)], self.processed_paths[0])


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data, list[Split]]:
    """Read chameleon, squirrel or actor.

    ``geom-gcn`` are the ten splits of the files, ``hei-halves`` the same ones with the test nodes in two halves; other
    protocols are drawn.
    """
    if card.name == "actor":
        with files.layout({file: f"raw/{file}" for file in card.files}, Actor) as folder:
            data = Actor(str(folder))[0]
    else:
        places = {file: f"{card.name}/geom_gcn/raw/{file}" for file in card.files}
        with files.layout(
            places, WikipediaNetwork, name=card.name, geom_gcn_preprocess=True, url=WikipediaNetwork.processed_url
        ) as folder:
            data = _Network(str(folder), card.name)[0]
    graph = Data(x=data.x, edge_index=data.edge_index, y=data.y)
    if protocol not in ("geom-gcn", "hei-halves"):
        return graph, by_name(protocol, graph.y, card.protocols[protocol].splits)
    splits = from_masks(data.train_mask, data.val_mask, data.test_mask)
    return graph, by_homophily(graph, splits) if protocol == "hei-halves" else splits


def no_incoming_edge(bundle: Bundle, files: RawFiles) -> int:
    """Nodes that are the target of no edge."""
    data = bundle.graphs[0]
    return data.num_nodes - len(data.edge_index[1].unique())


def undirected_pairs(bundle: Bundle, files: RawFiles) -> int:
    """Pairs of nodes that are joined, in whatever direction; a self-loop counts once."""
    data = bundle.graphs[0]
    source, target = to_undirected(data.edge_index, num_nodes=data.num_nodes)
    return int((source <= target).sum())

"""OGB: the Open Graph Benchmark, read by its own classes and scored by its own evaluators.

The package ``ogb`` 1.3.6 asks the network for a newer version when it is imported, asks questions on standard input
when it misses a file, prints its steps, and cannot read back what it has stored under torch 2.6 and later. Nothing of
that reaches who loads through this module, which alone imports it, and only when it is needed.
"""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import math
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData, download_url, extract_zip
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import uniform
from gnnzoo.errors import ConfigError, DataError

__all__ = ["evaluator", "load"]

_MODULES = {"ogbg": "graphproppred", "ogbn": "nodeproppred", "ogbl": "linkproppred"}
_CLASSES = {"ogbg": "PygGraphPropPredDataset", "ogbn": "PygNodePropPredDataset", "ogbl": "PygLinkPropPredDataset"}

_KEPT = ("x", "edge_attr", "edge_weight", "edge_year", "node_species")
"""What is kept of a node or link set beside edges and labels; years of nodes made the split and are no input."""


def _import(name: str) -> Any:
    """Import a module of ``ogb`` without its look at the network, which it leaves out where ``outdated`` is missing."""
    if "ogb" in sys.modules:
        return importlib.import_module(name)
    missing = object()
    before: Any = sys.modules.get("outdated", missing)
    sys.modules["outdated"] = None  # type: ignore[assignment]  # the import system reads None as: not installed
    try:
        return importlib.import_module(name)
    finally:
        if before is missing:
            del sys.modules["outdated"]
        else:
            sys.modules["outdated"] = before


def _module(name: str) -> Any:
    """Return the module that a set's class and evaluator are in; ``name`` is OGB's, such as ``ogbg-molhiv``."""
    if (kind := name.partition("-")[0]) not in _MODULES:
        raise ConfigError(f"{name!r} is no name of an OGB set: they begin with {', '.join(_MODULES)}")
    return _import(f"ogb.{_MODULES[kind]}")


@lru_cache(maxsize=16)
def _facts(name: str) -> dict[str, str]:
    """Return what OGB's own list says about a set: its url, version, metric, ...

    Raises:
        ConfigError: OGB has no such set.
    """
    with open(Path(_module(name).__file__).with_name("master.csv"), newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if name not in header:
        raise ConfigError(f"OGB has no set {name!r}")
    column = header.index(name)
    return {row[0]: row[column] for row in rows}


@lru_cache(maxsize=16)
def evaluator(name: str) -> Any:
    """Return OGB's evaluator of a set, such as ``ogbg-molhiv``; its ``eval_metric`` is what it returns.

    Raises:
        ConfigError: OGB has no such set.
    """
    _facts(name)  # a name that does not exist would be printed with a list of all
    return _module(name).Evaluator(name)


class _Archive:
    """OGB's archive of one set, fetched and unpacked without a question; shaped like a PyG dataset."""

    root: str
    url: str
    inside: str  # the folder's name in the archive
    folder: str  # and where OGB's classes look for it

    @property
    def raw_dir(self) -> str:
        return self.root

    def download(self) -> None:
        path = download_url(self.url, self.root, log=False)
        extract_zip(path, self.root, log=False)
        os.unlink(path)
        os.rename(os.path.join(self.root, self.inside), os.path.join(self.root, self.folder))
        species = os.path.join(self.root, self.folder, "raw", "species.csv.gz")
        if os.path.exists(species):  # OGB's class gives it the name under which it then looks for it
            os.rename(species, species.replace("species", "node_species"))


def _harmless() -> list[Any]:
    """Return what files of OGB hold beside tensors: PyG's storages, and arrays as pickled by any NumPy."""
    rebuild = np.empty(0).__reduce__()[0]
    dtypes = [type(np.dtype(kind)) for kind in ("int32", "int64", "float32", "float64")]
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    return [
        *(Data, DataEdgeAttr, DataTensorAttr, GlobalStorage, np.ndarray, np.dtype, *dtypes),
        *((rebuild, name) for name in names),
    ]


@contextmanager
def _quietly() -> Iterator[None]:
    """Let OGB's classes read back what they stored, and keep their prints and warnings to themselves."""
    there = torch.serialization.get_safe_globals()  # PyG's and the user's: leaving the context would take them away
    allowed = torch.serialization.safe_globals([kind for kind in _harmless() if kind not in there])
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), allowed:
        warnings.simplefilter("ignore")  # arrays that pandas made are read-only; nobody writes to them
        yield


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[Data | HeteroData | list[Data], list[Split]]:
    """Read a set of OGB.

    ``ogb`` is OGB's own split. ``random-80-10-10`` draws as many graphs, but uniformly.

    Graphs have ``x`` ``[num_nodes, 9]`` and ``edge_attr`` ``[num_edges, 3]`` int64, ``y`` ``[1, num_outputs]`` float32.
    Link sets have the positive training pairs first, then validation's, then test's, in ``edge_label_index``
    ``[2, num_pairs]`` and ``y`` ``[num_pairs, 1]``; ``edge_index`` is the training graph. OGB lists positive pairs
    before negative ones and, in ``ogbl-ddi``, the ends of negative ones by number. So that neither order tells a label,
    pairs of validation and of test are mixed, the same way every time, and the ends of each are sorted.

    Raises:
        DataError: a file is not what OGB's class can read.
    """
    kind, folder, facts = card.name[:4], card.name.replace("-", "_"), _facts(card.name)
    places = {name: f"{folder}/{name}" for name in card.files}
    archive = {"url": facts["url"], "inside": facts["download_name"], "folder": folder}
    with files.layout(places, _Archive, **archive) as root:
        (root / folder / f"RELEASE_v{facts['version']}.txt").touch()  # without it OGB asks whether to download again
        try:
            with _quietly():
                dataset = getattr(_module(card.name), _CLASSES[kind])(card.name, root=str(root))
                split = dataset.get_edge_split() if kind == "ogbl" else dataset.get_idx_split()
        except Exception as error:  # whatever pandas or torch stumble over
            raise _blame(card, root / folder, error) from error
        if kind == "ogbl":
            return _link(dataset[0], split)
        if card.structure == "heterogeneous":
            return _hetero(dataset[0], split)
        data = _graphs(dataset) if kind == "ogbg" else _node(dataset[0], card)
    if protocol == "ogb":
        return data, [Split(0, split["train"], split["valid"], split["test"])]
    return data, uniform(len(data), (0.8, 0.1), card.protocols[protocol].splits)


def _graphs(dataset: Any) -> list[Data]:
    """Take the collated dataset apart; one graph after the other would take four times as long."""
    collated, slices = dataset._data, dataset.slices
    columns = {
        name: [part.contiguous() for part in collated[name].split(slices[name].diff().tolist(), dim)]
        for name, dim in (("x", 0), ("edge_index", 1), ("edge_attr", 0))
    }
    columns["y"] = list(collated.y.float().split(1))
    return [Data(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def _node(data: Data, card: DatasetCard) -> Data:
    found = {name: data[name].contiguous() for name in _KEPT if data.get(name) is not None}
    y = data.y.flatten() if card.target == "multiclass" else data.y.float()
    if "x" not in found:
        found["num_nodes"] = data.num_nodes
    return Data(edge_index=data.edge_index.contiguous(), y=y, **found)


def _hetero(given: Data, split: dict[str, dict[str, Tensor]]) -> tuple[HeteroData, list[Split]]:
    data = HeteroData()
    for kind, number in given.num_nodes_dict.items():
        if kind in given.x_dict:
            data[kind].x = given.x_dict[kind].contiguous()
        else:
            data[kind].num_nodes = int(number)
    for relation, index in given.edge_index_dict.items():
        data[relation].edge_index = index.contiguous()
    ((kind, y),) = given.y_dict.items()
    data[kind].y = y.flatten()
    return data, [Split(0, split["train"][kind], split["valid"][kind], split["test"][kind])]


def _link(given: Data, split: dict[str, dict[str, Tensor]]) -> tuple[Data, list[Split]]:
    names = (("train", "edge"), ("valid", "edge"), ("valid", "edge_neg"), ("test", "edge"), ("test", "edge_neg"))
    pairs = [split[part][name] for part, name in names]
    sizes = torch.tensor([len(group) for group in pairs])
    signs = torch.tensor([float(name == "edge") for _, name in names])
    pairs[1:] = [group.sort(dim=1).values for group in pairs[1:]]  # these graphs are undirected
    train, *evaluated = torch.arange(int(sizes.sum())).split(sizes.tolist())
    val, test = torch.cat(evaluated[:2]), torch.cat(evaluated[2:])
    random = np.random.RandomState(0)
    order = torch.cat([train, *(rows[torch.from_numpy(random.permutation(len(rows)))] for rows in (val, test))])
    found = {name: given[name].contiguous() for name in _KEPT if given.get(name) is not None}
    if "x" not in found:
        found["num_nodes"] = given.num_nodes
    data = Data(
        edge_index=given.edge_index.contiguous(),
        edge_label_index=torch.cat(pairs)[order].T.contiguous(),
        y=signs.repeat_interleave(sizes)[order].unsqueeze(1),
        **found,
    )
    return data, [Split(0, train, val, test)]


_WORDS = ("num-node-dict.csv.gz", "triplet-type-list.csv.gz", "nodetype-has-label.csv.gz", "nodetype-has-split.csv.gz")
"""Files of names, not of numbers."""


def _blame(card: DatasetCard, folder: Path, error: Exception) -> DataError:
    """Find the line that OGB's class could not read; it says neither file nor line."""
    for name in card.files:
        if not name.endswith(".csv.gz") or Path(name).name in _WORDS:
            continue
        columns = None
        try:
            with gzip.open(folder / name, "rt", encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    fields = line.strip().split(",")
                    columns = columns or len(fields)
                    if len(fields) != columns:
                        return DataError(f"{card.name}: {name}, line {number}: {len(fields)} fields, not {columns}")
                    if any(not _is_number(field, empty=name.endswith("-label.csv.gz")) for field in fields):
                        return DataError(f"{card.name}: {name}, line {number}: not a number: {line.strip()[:60]!r}")
        except (OSError, EOFError, UnicodeDecodeError) as broken:
            return DataError(f"{card.name}: {name} is no gzip file of numbers ({broken})")
        if columns is None:
            return DataError(f"{card.name}: {name} is empty")
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{card.name}: OGB's class cannot read {card.root} ({type(error).__name__}: {reason})")


def _is_number(field: str, empty: bool) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return empty and field.lower() in ("", "nan")


def positives_per_part(bundle: Bundle, files: RawFiles) -> list[int]:
    """Labels that are 1 in train, val and test of the first split."""
    return [int((y == 1).sum()) for y in _labels_per_part(bundle)]


def mean_label_per_part(bundle: Bundle, files: RawFiles) -> list[float]:
    """Mean of the known labels in train, val and test of the first split."""
    return [float(y.nanmean(dtype=torch.float64)) for y in _labels_per_part(bundle)]


def _labels_per_part(bundle: Bundle) -> list[Tensor]:
    y, split = torch.cat([graph.y for graph in bundle.graphs]), bundle.splits[0]
    return [y[split.train], y[split.val], y[split.test]]


def repeated_graphs(bundle: Bundle, files: RawFiles) -> int:
    """Graphs that equal an earlier one, atom by atom and bond by bond, in the order of the file."""
    return len(_repeats(bundle))


def contradicting_graphs(bundle: Bundle, files: RawFiles) -> int:
    """Graphs that equal an earlier one but have another label."""
    y = [graph.y.nan_to_num(nan=-1.0) for graph in bundle.graphs]
    return sum(not torch.equal(y[one], y[other]) for one, other in _repeats(bundle))


def _repeats(bundle: Bundle) -> list[tuple[int, int]]:
    """Return the numbers of equal graphs: the first one and each later one."""
    first: dict[bytes, int] = {}
    found = []
    for i, graph in enumerate(bundle.graphs):
        content = b"|".join(graph[name].numpy().tobytes() for name in ("x", "edge_index", "edge_attr"))
        if (earlier := first.setdefault(content, i)) != i:
            found.append((earlier, i))
    return found


def pairs(bundle: Bundle, files: RawFiles) -> dict[str, list[int]]:
    """Positive and negative pairs of each part of a link set."""
    y, split = bundle.graphs[0].y, bundle.splits[0]
    parts = {"train": split.train, "val": split.val, "test": split.test}
    return {name: [int((y[part] == 1).sum()), int((y[part] == 0).sum())] for name, part in parts.items()}


def contradicting_pairs(bundle: Bundle, files: RawFiles) -> int:
    """Negative pairs of a link set that are positive in some part, in either direction."""
    data = bundle.graphs[0]
    low, high = data.edge_label_index.sort(dim=0).values
    code, positive = low * data.num_nodes + high, data.y[:, 0] == 1
    return int(torch.isin(code[~positive], code[positive]).sum())


def trains_on_its_graph(bundle: Bundle, files: RawFiles) -> bool:
    """Whether the training pairs are the edges of the graph, each in one direction, in the same order."""
    data, train = bundle.graphs[0], bundle.splits[0].train
    return torch.equal(data.edge_index[:, ::2], data.edge_label_index[:, train])

"""HGB, the Heterogeneous Graph Benchmark: typed nodes and links in tables of text, one type of node with labels."""

from __future__ import annotations

import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch_geometric.data import HeteroData, download_url

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split, label_store
from gnnzoo.datasets.number_files import read_columns
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError

__all__ = ["load", "random_labels", "rebuilt_labels", "unlabelled", "words_beside_terms"]

_TEST = {"hgb-half": "label.dat.test", "hgb-true": "label.dat.test_true"}
_TABLES = ("info.dat", "node.dat", "link.dat", "label.dat", "label.dat.test")
_VALIDATION = 0.2


class _Copy:
    """The repository whose zips these are; PyG's address serves other test labels."""

    url = "https://raw.githubusercontent.com/CrawlScript/gnn_datasets/482d7152d60e429763ca256dd0906fa9badaae0c/HGB"
    root: str
    name: str

    @property
    def raw_dir(self) -> str:
        return os.path.join(self.root, "raw")

    def download(self) -> None:
        download_url(f"{self.url}/{self.name}", self.raw_dir, log=False)


class _Info(NamedTuple):
    """Names of node types, and (start, name, end) of link types, both by the numbers that the tables use."""

    nodes: dict[int, str]
    links: dict[int, tuple[int, str, int]]


class _Nodes(NamedTuple):
    """The type of every node and its row among the nodes of that type, both ``[num_nodes]``."""

    kind: np.ndarray
    row: np.ndarray


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HeteroData, list[Split]]:
    """Read a graph of HGB as PyG's ``HGBDataset`` does, whose own reader would need a minute for the larger ones.

    Both protocols learn from ``label.dat``; in split ``i`` a fifth of it, drawn from seed ``i``, is validation.
    ``hgb-half`` tests on ``label.dat.test``, ``hgb-true`` on ``label.dat.test_true``, where the nodes of
    ``label.dat.test`` are the further part ``test_half``. Nodes whose label is unknown have -1 (multilabel: NaN).

    Raises:
        DataError: a file is missing or damaged, or a line of it does not fit; names file and line.
    """
    with _tables(card, files, sorted({*_TABLES, _TEST[protocol]})) as folder:
        info = _info(folder / "info.dat", card)
        data, nodes = _nodes(folder / "node.dat", info, card)
        _links(folder / "link.dat", info, nodes, data, card)
        names = ("label.dat", *sorted({"label.dat.test", _TEST[protocol]}))
        labels = {name: _labels(folder / name, nodes, card) for name in names}
    target = int(nodes.kind[labels["label.dat"][0][0]])
    store = data[info.nodes[target]]
    size = (store.num_nodes, card.num_outputs)
    store.y = torch.full(size, float("nan")) if card.target == "multilabel" else torch.full(size[:1], -1)
    parts = {}
    for name, (ids, y) in labels.items():
        if (nodes.kind[ids] != target).any():
            raise DataError(f"{card.name}: {name} has labels of nodes that are no {info.nodes[target]}")
        parts[name] = torch.from_numpy(nodes.row[ids])
        if name != "label.dat.test" or protocol == "hgb-half":
            store.y[parts[name]] = torch.from_numpy(y)
    extra = {"test_half": parts["label.dat.test"]} if protocol == "hgb-true" else {}
    learnt = parts["label.dat"].sort().values
    splits = []
    for seed in range(card.protocols[protocol].splits):
        drawn = learnt[torch.from_numpy(np.random.RandomState(seed).permutation(len(learnt)))]
        val = int(_VALIDATION * len(learnt))
        splits.append(Split(seed, drawn[val:], drawn[:val], parts[_TEST[protocol]], extra=extra, seed=seed))
    return data, splits


@contextmanager
def _tables(card: DatasetCard, files: RawFiles, names: list[str]) -> Iterator[Path]:
    """Lay the named tables out in one folder, whether the card's files are they or a zip of them."""
    by_name = {Path(file).name: file for file in card.files}
    archive = next((name for name in by_name if name.endswith(".zip")), None)
    wanted = {by_name[name]: name for name in names if name in by_name}
    if archive is None:
        with files.layout(wanted) as folder:
            yield folder
        return
    with files.layout({by_name[archive]: f"raw/{archive}", **wanted}, _Copy, name=archive) as folder:
        with zipfile.ZipFile(folder / "raw" / archive) as packed:
            for name in set(names) - set(by_name):
                with packed.open(f"{Path(archive).stem}/{name}") as source, open(folder / name, "wb") as target:
                    shutil.copyfileobj(source, target)
        yield folder


def _info(path: Path, card: DatasetCard) -> _Info:
    """Read JSON (ACM, DBLP, IMDB) or a table (Freebase); names are PyG's."""
    text = path.read_text(encoding="utf-8")
    try:
        if text.lstrip().startswith("{"):
            content = json.loads(text)
            nodes = {int(number): name for number, name in content["node.dat"]["node type"].items()}
            types = content["link.dat"]["link type"].items()
            rows = [[number, link["start"], link["end"], link["meaning"]] for number, link in types]
        else:
            lines = [line.split() for line in text.splitlines()]
            nodes = {int(number): name.lower() for number, name in _section(lines, ["TYPE", "MEANING"])}
            rows = _section(lines, ["LINK", "START", "END", "MEANING"])
        links = {}
        for number, start, end, meaning in rows:
            name, target = meaning.split("-")[1], nodes[int(end)]
            if name == target or name[1:] == target:  # "author-paper" and "movie->director" have no word of their own
                name = "to"
            links[int(number)] = (int(start), name, int(end))
        if sorted(nodes) != list(range(len(nodes))) or len(set(links.values())) < len(links):
            raise ValueError("types must be numbered from 0 on and differ")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{card.name}: {path.name} cannot be read ({type(error).__name__}: {error})") from error
    return _Info(nodes, links)


def _section(lines: list[list[str]], head: list[str]) -> list[list[str]]:
    """Return the lines between a headline and the next empty one."""
    start = lines.index(head) + 1
    return lines[start : (lines + [[]]).index([], start)]


def _fields(path: Path, least: int, card: DatasetCard) -> Iterator[tuple[str, list[bytes]]]:
    """Yield for every line how errors call it, and what stands between its tabs."""
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where, fields = f"{card.name}: {path.name} line {number}", line.rstrip(b"\r\n").split(b"\t")
            if len(fields) < least:
                raise DataError(f"{where} must hold {least} or more fields between tabs, not {len(fields)}")
            yield where, fields


def _number(text: bytes, limit: int, where: str, what: str) -> int:
    value = int(text) if text.isdigit() else -1
    if not 0 <= value < limit:
        raise DataError(f"{where}: {what} must be one of 0..{limit - 1}, not {text[:20].decode(errors='replace')!r}")
    return value


def _nodes(path: Path, info: _Info, card: DatasetCard) -> tuple[HeteroData, _Nodes]:
    """Read ``id, name, type[, features]``; types without features get ``num_nodes``."""
    ids, kinds = [], []
    features: dict[int, list[np.ndarray]] = {number: [] for number in info.nodes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # older NumPy's of text that is no number
        for where, (node, _, kind, *rest) in _fields(path, 3, card):
            ids.append(_number(node, 1 << 31, where, "the node"))
            kinds.append(_number(kind, len(info.nodes), where, "its type"))
            if rest:
                rows = features[kinds[-1]]
                x = _features(rest[0])
                if x is None or len(x) != len(rows[0] if rows else x):
                    raise DataError(f"{where} must hold {len(rows[0]) if rows else 'only'} numbers as features")
                rows.append(x)
    place = np.full(len(ids), -1)
    if not ids or max(ids) >= len(ids) or len(set(ids)) < len(ids):
        raise DataError(f"{card.name}: {path.name} must number its {len(ids)} nodes from 0 on, each once")
    data = HeteroData()
    for number, name in info.nodes.items():
        members = np.array(ids)[np.array(kinds) == number]
        place[members] = np.arange(len(members))
        if rows := features.pop(number):
            if len(rows) != len(members):
                raise DataError(f"{card.name}: {path.name} has features of {len(rows)} of {len(members)} {name} nodes")
            data[name].x = torch.from_numpy(np.stack(rows))
        else:
            data[name].num_nodes = len(members)
    return data, _Nodes(np.array(kinds)[np.argsort(ids)], place)


def _features(text: bytes) -> np.ndarray | None:
    """Read numbers between commas; None where something else stands there."""
    try:
        x = np.fromstring(text, dtype=np.float32, sep=",")
    except ValueError:
        return None
    return x if len(x) == text.count(b",") + 1 else None  # older NumPy stops where it fails


def _links(path: Path, info: _Info, nodes: _Nodes, data: HeteroData, card: DatasetCard) -> None:
    """Read ``source, target, relation, weight``; as in PyG, weights that are all 1 are left out."""
    source, target, relation, weight = read_columns(path, "iiif", card.name)
    size, number = len(nodes.kind), max(info.links) + 1
    inside = (np.minimum(source, target) >= 0) & (np.maximum(source, target) < size)
    inside &= np.isin(relation, list(info.links))
    start, end = np.full((2, number), -1)
    for link, (first, _, last) in info.links.items():
        start[link], end[link] = first, last
    fits = inside.copy()
    fits[inside] = (nodes.kind[source[inside]] == start[relation[inside]]) & (
        nodes.kind[target[inside]] == end[relation[inside]]
    )
    if not fits.all():
        raise DataError(f"{card.name}: {path.name} line {int((~fits).argmax()) + 1} links nodes that its type does not")
    for link, (first, name, last) in info.links.items():
        chosen = relation == link
        store = data[info.nodes[first], name, info.nodes[last]]
        store.edge_index = torch.from_numpy(np.stack([nodes.row[source[chosen]], nodes.row[target[chosen]]]))
        if (weight[chosen] != 1).any():
            store.edge_weight = torch.from_numpy(weight[chosen].astype(np.float32))


def _labels(path: Path, nodes: _Nodes, card: DatasetCard) -> tuple[np.ndarray, np.ndarray]:
    """Read ``id, name, type, label``; several labels are separated by commas.

    Returns:
        nodes ``[lines]``, and their classes ``[lines]`` or label sets, float32 ``[lines, num_outputs]``.
    """
    ids, sets = [], []
    for where, (number, _, _, label, *_) in _fields(path, 4, card):
        ids.append(_number(number, len(nodes.kind), where, "the node"))
        sets.append([_number(one, card.num_outputs, where, "a label") for one in label.split(b",")])
        if card.target != "multilabel" and len(sets[-1]) > 1:
            raise DataError(f"{where} must hold one label")
    if not ids:
        raise DataError(f"{card.name}: {path.name} is empty")
    if card.target != "multilabel":
        return np.array(ids), np.array(sets)[:, 0]
    y = np.zeros((len(ids), card.num_outputs), np.float32)
    for row, labels in zip(y, sets, strict=True):
        row[labels] = 1
    return np.array(ids), y


def random_labels(bundle: Bundle, files: RawFiles) -> list[int]:
    """How many labels of ``label.dat.test_full`` are those of the bundle, and how many could be compared."""
    return _agreement("label.dat.test_full", bundle, files)


def rebuilt_labels(bundle: Bundle, files: RawFiles) -> list[int]:
    """How many labels of ``label.dat.test`` are those of the bundle, and how many could be compared."""
    return _agreement("label.dat.test", bundle, files)


def _agreement(name: str, bundle: Bundle, files: RawFiles) -> list[int]:
    y = label_store(bundle.graphs[0]).y.numpy()
    numbered = _Nodes(np.zeros(len(y), int), np.arange(len(y)))  # the nodes with labels are the first of all nodes
    with _tables(bundle.card, files, [name]) as folder:
        ids, labels = _labels(folder / name, numbered, bundle.card)
    truth, labels = y[ids].reshape(len(ids), -1), labels.reshape(len(ids), -1)
    known = (truth >= 0).all(axis=1)  # neither -1 nor NaN
    return [int((truth[known] == labels[known]).all(axis=1).sum()), int(known.sum())]


def unlabelled(bundle: Bundle, files: RawFiles) -> int:
    """Rows of a multilabel set whose labels are unknown."""
    return int(label_store(bundle.graphs[0]).y.isnan().any(dim=1).sum())


def words_beside_terms(bundle: Bundle, files: RawFiles) -> int:
    """Papers of ACM whose words are not exactly the terms that they are linked to."""
    data = bundle.graphs[0]
    linked = torch.zeros(data["paper"].num_nodes, data["term"].num_nodes)
    linked[tuple(data["paper", "to", "term"].edge_index)] = 1
    return int((linked != data["paper"].x).any(dim=1).sum())

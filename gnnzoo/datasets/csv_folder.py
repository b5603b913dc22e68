"""A graph as CSV files; the format is described in :mod:`gnnzoo.datasets.own`. What is wrong is said with its line."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.errors import DataError, closest

__all__ = ["Folder", "read_folder", "shown"]

PARTS = ("train", "val", "test")


@dataclass
class Folder:
    """What a folder holds.

    Args:
        data: the graph; ``y`` are classes with -1, or real numbers with NaN, where there is none.
        masks: train, val and test, ``[num_nodes, 1]`` each; None without a column of splits.
        classes: names of the classes, where they are not 0, 1, 2, ...
        at: where the row of a node stands.
    """

    data: Data | HeteroData
    masks: list[Tensor] | None
    classes: list[str]
    at: Callable[[int], str]


def read_folder(folder: Path) -> Folder:
    """Read ``nodes.csv`` with ``edges.csv`` or ``hyperedges.csv``.

    Raises:
        DataError: a file is missing or not as it should be: file, line, column, what was found and what is expected.
    """
    names = sorted(os.listdir(folder))
    kinds = [name for name in ("edges.csv", "hyperedges.csv") if name in names]
    for name, there in (("nodes.csv", "nodes.csv" in names), ("edges.csv", bool(kinds))):
        if not there:
            raise DataError(f"{shown(folder)}: there is no {name} in this folder{closest(name, names)}")
    if len(kinds) == 2:
        raise DataError(f"{shown(folder)}: edges.csv or hyperedges.csv, not both")
    nodes = _Table(folder / "nodes.csv", ["label"], ["id", "label", "split"])
    features = [name for name in nodes.columns if name not in ("id", "label", "split")]
    if not features:
        raise DataError(f"{nodes.file}: there is no column of features; one of ones shows models the structure alone")
    if "id" in nodes.columns:
        _check_ids(nodes)
    y, classes = _labels(nodes)
    read = _hypergraph if kinds == ["hyperedges.csv"] else _graph
    data = read(folder, nodes, nodes.numbers(features), y)
    return Folder(data, _parts(nodes), classes, nodes.at)


def shown(path: str | os.PathLike[str]) -> str:
    """Write a path as short as it can be."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith(os.pardir) else relative


class _Table:
    """A CSV file whose lines all have the fields of its header.

    Args:
        path: the file.
        needed: columns that must be there.
        texts: columns that are read as they are; all others are numbers.
    """

    def __init__(self, path: Path, needed: Sequence[str], texts: Sequence[str]) -> None:
        import pandas as pd  # takes a while to import, and few need it

        self.file = shown(path)
        try:
            self._content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        except OSError as error:
            raise DataError(f"cannot read {self.file}: {error.strerror or error}") from None
        try:
            self._content.replace(b"\0", b"\xff").decode()  # no text has that byte either; UTF-16 is full of it
        except UnicodeDecodeError as error:
            line = self._content.count(b"\n", 0, error.start) + 1
            found = f"byte {self._content[error.start]:#x}"
            raise DataError(f"{self.file} line {line}: not UTF-8 text ({found})") from None
        if not self._content.strip():
            raise DataError(f"{self.file} is empty: a header line with {' and '.join(needed)} is expected")
        try:
            self.columns = [name.strip() for name in next(row for _, row in self._rows())]
            self._check_header(needed)
            self._check_fields()
            self.frame: Any = pd.read_csv(
                io.BytesIO(self._content),
                header=0,
                names=self.columns,
                index_col=False,
                dtype={name: str for name in texts if name in self.columns},
                na_filter=False,  # an empty field is just that, and NA may be a class
                skipinitialspace=True,
                low_memory=False,
            )
        except (ValueError, OverflowError, csv.Error) as error:
            raise DataError(f"{self.file}: {str(error).splitlines()[0]}") from None
        if not len(self.frame):
            raise DataError(f"{self.file} has a header and no line below it")

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the line that a row ends on, and its fields; blank lines are passed over."""
        reader = csv.reader(io.TextIOWrapper(io.BytesIO(self._content), encoding="utf-8", newline=""))
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                yield reader.line_num, row

    def _check_header(self, needed: Sequence[str]) -> None:
        for number, name in enumerate(self.columns, start=1):
            if not name:
                hint = " (of pandas? to_csv(index=False) writes none such)" if number == 1 else ""
                raise DataError(f"{self.file} line 1: column {number} has no name{hint}")
            if self.columns.index(name) != number - 1:
                raise DataError(f"{self.file} line 1: column {name} stands twice")
        for name in needed:
            if name not in self.columns:
                hint = closest(name, self.columns)
                for sign in (";", "\t", "|"):
                    if sign in self.columns[0]:
                        hint = f"; fields are separated by commas, not by {sign!r}"
                raise DataError(f"{self.file} line 1: there is no column {name}{hint}")

    def _check_fields(self) -> None:
        """Refuse lines with another number of fields: pandas would fill up short ones in silence."""
        expected = len(self.columns)
        quoted = b'"' in self._content
        rows = ((line, len(row)) for line, row in self._rows()) if quoted else self._uneven(expected)
        for line, found in rows:
            if found != expected:
                raise DataError(f"{self.file} line {line}: {found} fields, the header has {expected}")

    def _uneven(self, expected: int) -> Iterator[tuple[int, int]]:
        """Find such lines by counting bytes, which is fast: no field is quoted."""
        content = np.frombuffer(self._content, np.uint8)
        ends = np.append(np.flatnonzero(content == ord("\n")), len(content))
        commas = np.diff(np.searchsorted(np.flatnonzero(content == ord(",")), ends), prepend=0)
        for line in np.flatnonzero(commas != expected - 1):
            if self._content[ends[line - 1] + 1 if line else 0 : ends[line]].strip():
                yield int(line) + 1, int(commas[line]) + 1

    def at(self, row: int) -> str:
        """Return where a row stands."""
        return f"{self.file} line {self._find(row)[0]}"

    def _find(self, row: int) -> tuple[int, list[str]]:
        return next(found for number, found in enumerate(self._rows()) if number == row + 1)

    def fail(self, row: int, column: str, problem: str) -> NoReturn:
        """Raise an error that names the line, the column and what stands there."""
        line, fields = self._find(row)
        text = fields[self.columns.index(column)].strip()
        found = repr(text if len(text) <= 40 else f"{text[:40]}...") if text else "an empty field"
        raise DataError(f"{self.file} line {line}, column {column}: {found} {problem}")

    def fail_first(self, wrong: np.ndarray, column: str, problem: str) -> None:
        """Raise that error for the first row of a mask, if there is one."""
        if wrong.any():
            self.fail(int(wrong.argmax()), column, problem)

    def texts(self, column: str) -> np.ndarray:
        """Return a column of words without blanks around them."""
        return self.frame[column].str.strip().to_numpy(dtype=object)

    def numbers(self, columns: Sequence[str]) -> Tensor:
        """Return columns of finite numbers, ``[rows, columns]`` float32."""
        import pandas as pd

        values = np.empty((len(self.frame), len(columns)), np.float32)
        for place, name in enumerate(columns):
            column = self.frame[name]
            if column.dtype.kind not in "biuf":
                column = column.astype(str)  # whole numbers of many digits, which no float can be made of, become inf
                numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
                named = column.str.strip().str.lower().isin(["nan", "inf", "-inf", "+inf", "infinity", "-infinity"])
                self.fail_first(np.isnan(numbers) & ~named.to_numpy(dtype=bool), name, "is not a number")
            else:
                numbers = column.to_numpy(dtype=np.float64)
            with np.errstate(over="ignore"):
                values[:, place] = numbers
            self.fail_first(~np.isfinite(values[:, place]), name, "is not finite")
        return torch.from_numpy(values)

    def rows_of(self, column: str, nodes: _Table) -> np.ndarray:
        """Return the rows of ``nodes`` that a column names."""
        import pandas as pd

        values = self.frame[column]
        file = Path(nodes.file).name
        if "id" in nodes.columns:
            index = pd.Index(nodes.texts("id"))
            rows = index.get_indexer(values)
            if (rows < 0).any():
                rows = index.get_indexer(pd.Index(values.str.strip()))
            problem = f"is no id of {file}"
        else:
            size = len(nodes.frame)
            found = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
            with np.errstate(invalid="ignore"):
                rows = np.where((found >= 0) & (found < size) & (found == np.floor(found)), found, -1).astype(np.int64)
            problem = f"is no row of {file}, which has no column id: rows are 0 to {size - 1}"
        self.fail_first(rows < 0, column, problem)
        return rows


def _check_ids(nodes: _Table) -> None:
    import pandas as pd

    ids = pd.Series(nodes.texts("id"))
    nodes.fail_first((ids == "").to_numpy(dtype=bool), "id", "is no id")
    twice = ids.duplicated().to_numpy(dtype=bool)
    if twice.any():
        row = int(twice.argmax())
        first = nodes.at(int((ids == ids[row]).argmax()))
        nodes.fail(row, "id", f"stands in {first.rpartition('.csv ')[2]} already")


def _graph(folder: Path, nodes: _Table, x: Tensor, y: Tensor) -> Data | HeteroData:
    edges = _Table(folder / "edges.csv", ["source", "target"], ["source", "target", "type"])
    index = torch.from_numpy(np.stack([edges.rows_of(name, nodes) for name in ("source", "target")]).astype(np.int64))
    attributes = [name for name in edges.columns if name not in ("source", "target", "type")]
    edge_attr = edges.numbers(attributes) if attributes else None
    if "type" not in edges.columns:
        return Data(x=x, edge_index=index, y=y, edge_attr=edge_attr)
    data = HeteroData()
    data["node"].x, data["node"].y = x, y
    kinds = edges.texts("type")
    edges.fail_first(kinds == "", "type", "is no type")
    for kind in sorted(set(kinds)):
        chosen = torch.from_numpy(np.flatnonzero(kinds == kind))
        data["node", kind, "node"].edge_index = index[:, chosen].contiguous()
        if edge_attr is not None:
            data["node", kind, "node"].edge_attr = edge_attr[chosen]
    return data


def _hypergraph(folder: Path, nodes: _Table, x: Tensor, y: Tensor) -> HypergraphData:
    import pandas as pd

    table = _Table(folder / "hyperedges.csv", ["node", "hyperedge"], ["node", "hyperedge"])
    for name in table.columns:
        if name not in ("node", "hyperedge"):
            raise DataError(f"{table.file} line 1: column {name}: only node and hyperedge are read")
    names = table.texts("hyperedge")
    table.fail_first(names == "", "hyperedge", "is no hyperedge")
    index = np.stack([table.rows_of("node", nodes), pd.factorize(names)[0]]).astype(np.int64)
    return HypergraphData(x=x, hyperedge_index=torch.from_numpy(index), y=y)


def _labels(nodes: _Table) -> tuple[Tensor, list[str]]:
    """Return classes (-1: none) and their names where they are not 0, 1, 2, ..., or real numbers (NaN: none)."""
    import pandas as pd

    codes, found = pd.factorize(nodes.texts("label"))
    words = [str(word) for word in found]
    given = [word for word in words if word]
    whole = [word for word in given if re.fullmatch(r"[+-]?\d+", word)]
    long = np.array([bool(re.fullmatch(r"[+-]?\d{19,}", word)) for word in words])
    nodes.fail_first(long[codes], "label", "is no class: whole numbers have up to 18 digits")
    if len(whole) == len(given):
        ranks = {value: rank for rank, value in enumerate(sorted(map(int, given)))}
        classes = np.array([ranks[int(word)] if word else -1 for word in words], np.int64)
        names = [] if list(ranks) == list(range(len(ranks))) else [str(value) for value in ranks]
        return torch.from_numpy(classes[codes]), names
    values = pd.to_numeric(pd.Series(words), errors="coerce").to_numpy(dtype=np.float64)
    number, missing = ~np.isnan(values), np.array([word.lower() in ("", "nan") for word in words])
    if (number | missing).all() or (
        number.mean() > 0.5 and number.sum() > len(whole)
    ):  # most, some with a decimal point
        nodes.fail_first(~(number | missing)[codes], "label", "is not a number, as most labels are")
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        nodes.fail_first(np.isinf(values[codes]), "label", "is not finite")
        return torch.from_numpy(values[codes]), []
    ranked = {word: rank for rank, word in enumerate(sorted(given))}
    return torch.from_numpy(np.array([ranked.get(word, -1) for word in words], np.int64)[codes]), list(ranked)


def _parts(nodes: _Table) -> list[Tensor] | None:
    if "split" not in nodes.columns:
        return None
    parts = nodes.texts("split")
    for word in sorted(set(parts)):
        if word not in (*PARTS, ""):
            nodes.fail_first(parts == word, "split", f"is no part of a split{closest(word, PARTS)}")
    return [torch.from_numpy(parts == part).view(-1, 1) for part in PARTS]

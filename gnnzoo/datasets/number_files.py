"""Text files that hold numbers: lists of any length and tables, read without a Python loop, mistakes named by line."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from gnnzoo.errors import DataError

__all__ = ["bad_line", "parse_lists", "read_columns", "read_lists", "read_table"]

_LINE, _ZERO, _NINE = b"\n09"
_DIGITS = 18
"""The longest number that surely fits into an int64."""


def bad_line(where: str, line: int, why: str) -> DataError:
    """Return the error for a line, counted from 0, of the file that ``where`` names."""
    return DataError(f"{where} line {line + 1}: {why}")


def read_lists(path: Path, separator: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read whole numbers, one list per line.

    Args:
        path: the file.
        separator: the one character between two numbers.
        name: the dataset's, for messages.

    Returns:
        All numbers in order, ``[num_numbers]``, and how many stand in each line, ``[num_lines]``; both int64.

    Raises:
        DataError: a line is empty or holds anything else than numbers with one separator between them.
    """
    return parse_lists(path.read_bytes(), separator, f"{name}: {path.name}")


def parse_lists(text: bytes, separator: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the content of a file as :func:`read_lists` does; ``where`` names it in messages."""
    text = text.replace(b"\r\n", b"\n").removesuffix(b"\n") + b"\n"
    mark = separator.encode()
    characters = np.frombuffer(text, np.uint8)
    digit = (characters >= _ZERO) & (characters <= _NINE)
    stops = np.flatnonzero(~digit)
    lengths = np.diff(stops, prepend=-1) - 1
    legal = np.isin(characters[stops], (ord(mark), _LINE)) & (lengths > 0) & (lengths <= _DIGITS)
    if not legal.all():
        line = text.count(b"\n", 0, int(stops[legal.argmin()]))
        found = text.split(b"\n", line + 1)[line].decode(errors="replace")
        raise bad_line(where, line, f"{found[:40]!r} is not a list of whole numbers with {separator!r} between them")
    numbers = np.fromstring(text.replace(mark, b" "), dtype=np.int64, sep=" ")
    return numbers, np.diff(np.flatnonzero(characters[stops] == _LINE), prepend=-1)


def read_table(path: Path, name: str, header: int = 0, columns: int = 0) -> np.ndarray:
    """Read numbers in columns with white space between them, ``[num_lines, num_columns]``, float64.

    Args:
        path: the file.
        name: the dataset's, for messages.
        header: how many lines to skip.
        columns: how many there must be; 0: as many as in the first line.

    Raises:
        DataError: a field is not a finite number, lines have different numbers of fields, or there is no line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file without a line
            table = np.loadtxt(path, ndmin=2, comments=None, skiprows=header)
        if table.size and np.isfinite(table).all() and columns in (0, table.shape[1]):
            return table
    except ValueError:
        pass  # NumPy counts the lines sometimes from 0 and sometimes from 1
    where = f"{name}: {path.name}"
    fields = columns
    for line, text in enumerate(path.read_text(errors="replace").splitlines()):
        row = text.split()
        if line < header or not row:
            continue
        fields = fields or len(row)
        if len(row) != fields:
            raise bad_line(where, line, f"{len(row)} fields instead of {fields}")
        for field in row:
            if not _is_number(field):
                raise bad_line(where, line, f"{field[:40]!r} is not a number")
    raise DataError(f"{where} holds no numbers")


def read_columns(path: Path, kinds: str, name: str) -> list[np.ndarray]:
    """Read a table of known columns, each ``[num_lines]``.

    Args:
        path: the file.
        kinds: one letter a column: ``i`` for whole numbers (int64), ``f`` for real ones (float64).
        name: the dataset's, for messages.

    Raises:
        DataError: see :func:`read_table`; or a whole number is none.
    """
    table = read_table(path, name, columns=len(kinds))
    found = []
    for column, kind in zip(table.T, kinds, strict=True):
        if kind == "i" and (column % 1 != 0).any():
            row = int((column % 1 != 0).argmax())
            raise DataError(f"{name}: {path.name} row {row + 1}: {column[row]:g} is not a whole number")
        found.append(np.ascontiguousarray(column, dtype=np.int64 if kind == "i" else np.float64))
    return found


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False

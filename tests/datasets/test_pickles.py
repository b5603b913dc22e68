"""Pickles of data are read, pickles that could do something are not."""

import collections
import os
import pickle
import re

import numpy as np
import pytest
import scipy.sparse

from gnnzoo.datasets import pickles
from gnnzoo.errors import DataError


def written(tmp_path, value, protocol=2):
    path = tmp_path / "x.pickle"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data(tmp_path, protocol):
    graph = collections.defaultdict(list, {0: [1, 2], 1: [0]})
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    sparse = scipy.sparse.csr_matrix(np.eye(3))
    found = pickles.load(
        written(
            tmp_path, {"graph": graph, "x": array, "s": sparse, "n": np.int32(4), "set": {1}, "b": b"\x00"}, protocol
        )
    )
    assert found["graph"] == graph
    assert np.array_equal(found["x"], array)
    assert np.array_equal(found["s"].toarray(), np.eye(3))
    assert (found["n"], found["set"], found["b"]) == (4, {1}, b"\x00")


def test_python_2(tmp_path):
    """Bytes of an array are a str there."""
    path = tmp_path / "old.pickle"
    path.write_bytes(b"(dp0\nS'\\xe4'\np1\nI1\ns.")
    assert pickles.load(path, encoding="latin1") == {"ä": 1}


def test_scipys_old_modules_raise_no_warning(tmp_path, recwarn):
    """SciPy warns whoever takes a class from there, and will have none of them in version 2."""
    value = written(tmp_path, scipy.sparse.coo_matrix(np.eye(3)), protocol=0).read_bytes()
    assert b"scipy.sparse._coo" in value
    path = tmp_path / "old.pickle"
    path.write_bytes(value.replace(b"scipy.sparse._coo", b"scipy.sparse.coo"))
    assert pickles.load(path).nnz == 3
    assert not recwarn.list


class _Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (_Runs(os.system, "touch ran"), "posix.system"),
        (_Runs(eval, "open('ran', 'w')"), "builtins.eval"),
        (_Runs(getattr, dict, "fromkeys"), "builtins.getattr"),
        (_Runs(np.load, "x.npy", None, True), "numpy.load"),
        (_Runs(scipy.sparse.load_npz, "x.npz"), "scipy.sparse._matrix_io.load_npz"),
    ],
)
def test_anything_else_is_refused(tmp_path, monkeypatch, value, name):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, [value], protocol=4)
    for read in (pickles.load, pickles.check):
        with pytest.raises(DataError, match=f"x.pickle is refused: the pickle asks for {re.escape(name)}"):
            read(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1, 2, 3])[:-3]])
def test_broken(tmp_path, content):
    path = tmp_path / "x.pickle"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pickle is no readable pickle"):
        pickles.load(path)

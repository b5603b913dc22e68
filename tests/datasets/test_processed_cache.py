"""The processed cache: the same bits back, whole files only, rebuilt when damaged."""

import json
import multiprocessing
import os
import time
import warnings

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData

from gnnzoo.datasets import HypergraphData, cache
from gnnzoo.datasets.bundle import digest
from gnnzoo.places import cache_dir


def bits(tensor):
    return (tensor.dtype, tuple(tensor.shape), tensor.contiguous().numpy().tobytes())


def roundtrip(path, value):
    cache.save(path, value)
    found, result = cache.load(path)
    assert found
    return result


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3),
        torch.zeros(0, 5),
        torch.tensor([True, False]),
        torch.tensor([float("nan"), -0.0, 0.0, float("-inf")]),
        torch.arange(6, dtype=torch.int16).view(2, 3).T,
        torch.randn(3, 2, dtype=torch.float64),
        torch.zeros(50, 50).index_put_((torch.arange(50), torch.arange(50)), torch.linspace(-1, 1, 50)),
        torch.full((50, 50), -0.0),
        torch.zeros(50, 50).index_put_((torch.tensor([3]), torch.tensor([4])), torch.tensor(-0.0)),
        torch.zeros(2000, dtype=torch.int64),
        torch.randn(20, 3).half(),
    ],
    ids=lambda tensor: f"{str(tensor.dtype)[6:]}-{list(tensor.shape)}",
)
def test_tensors_keep_every_bit(tmp_path, tensor):
    assert bits(roundtrip(tmp_path / "c.npz", tensor)) == bits(tensor)


def test_mostly_empty_matrices_are_small(tmp_path):
    x = torch.zeros(1000, 1000)
    x[torch.arange(1000), torch.arange(1000)] = 1
    cache.save(tmp_path / "c.npz", x)
    assert (tmp_path / "c.npz").stat().st_size < 20_000


def test_values_and_graphs_of_all_kinds(tmp_path):
    hetero = HeteroData()
    hetero["a"].x = torch.randn(3, 2)
    hetero["b"].num_nodes = 4
    hetero["a", "to", "b"].edge_index = torch.tensor([[0, 1], [3, 2]])
    hetero.title = "global"
    value = {
        "data": Data(x=torch.randn(4, 2), edge_index=torch.tensor([[0], [1]]), name="n", num_nodes=4),
        "hetero": hetero,
        "hyper": HypergraphData(x=torch.randn(2, 1), hyperedge_index=torch.tensor([[0], [0]]), num_hyperedges=3),
        "numbers": (1, 2.5, None, True, "text", [0.1, float("inf")]),
    }
    result = roundtrip(tmp_path / "c.npz", value)
    assert result["numbers"] == value["numbers"]
    for name in ("data", "hetero", "hyper"):
        assert type(result[name]) is type(value[name])
        assert digest(result[name]) == digest(value[name])
    assert result["hyper"].num_hyperedges == 3
    assert result["hetero"].edge_types == hetero.edge_types


@pytest.mark.parametrize("cls", [Data, HypergraphData])
def test_lists_of_graphs(tmp_path, cls):
    index = "hyperedge_index" if cls is HypergraphData else "edge_index"
    graphs = []
    for i in range(5):
        graph = cls(x=torch.randn(i, 3), y=torch.tensor([i]))
        graph[index] = torch.zeros(2, 2 * i, dtype=torch.int64)
        graph.tag = f"g{i}"
        if cls is HypergraphData:
            graph.num_hyperedges = i
        graphs.append(graph)
    result = roundtrip(tmp_path / "c.npz", graphs)
    assert digest(result) == digest(graphs)
    assert all(type(graph) is cls for graph in result)


def test_lists_of_unlike_graphs(tmp_path):
    graphs = [
        Data(x=torch.ones(1, 2)),
        Data(x=torch.ones(1, 2), extra=torch.ones(1)),
        Data(x=torch.ones(2)),
        HypergraphData(x=torch.ones(1, 1)),
    ]
    assert digest(roundtrip(tmp_path / "c.npz", graphs)) == digest(graphs)
    assert digest(roundtrip(tmp_path / "d.npz", graphs[::2])) == digest(graphs[::2])
    assert roundtrip(tmp_path / "e.npz", []) == []


def test_fetch_builds_once_and_gives_the_same_layout(tmp_path):
    built = []

    def build():
        built.append(1)
        return torch.arange(6.0).view(2, 3).T

    fresh, stored = cache.fetch(tmp_path / "c.npz", build), cache.fetch(tmp_path / "c.npz", build)
    assert len(built) == 1
    assert bits(fresh) == bits(stored)
    assert fresh.stride() == stored.stride()


def test_what_cannot_be_stored_is_used_all_the_same(tmp_path):
    value = {"sparse": torch.eye(3).to_sparse()}
    assert cache.fetch(tmp_path / "c.npz", lambda: value) is value
    assert not list(tmp_path.iterdir())
    with pytest.raises(cache.UncacheableError):
        cache.save(tmp_path / "c.npz", {"thing": object()})


def test_damaged_files_are_rebuilt(tmp_path):
    path = tmp_path / "c.npz"
    value = {"x": torch.randn(100, 100), "n": 3}
    cache.save(path, value)
    good = path.read_bytes()
    rng = np.random.RandomState(0)
    damaged = [b"", b"not a zip file", *(good[: rng.randint(1, len(good))] for _ in range(20))]
    places = rng.randint(len(good) // 4, 3 * len(good) // 4, size=10)
    damaged += [good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :] for place in places]
    for content in damaged:
        path.write_bytes(content)
        with pytest.warns(UserWarning, match="damaged"):
            result = cache.fetch(path, lambda: value)
        assert torch.equal(result["x"], value["x"])
        assert path.read_bytes() == good


def test_another_format_is_rebuilt(tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    cache.save(path, "old")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
        assert cache.fetch(path, lambda: "new") == "new"
        assert cache.load(path) == (True, "new")
        new = cache.key("a", {"b": 1})
        monkeypatch.undo()
        assert cache.key("a", {"b": 1}) != new
        assert cache.load(path) == (False, None)


def test_files_hold_no_pickle(tmp_path):
    cache.save(tmp_path / "c.npz", [Data(x=torch.ones(2, 2), name="n")])
    with np.load(tmp_path / "c.npz", allow_pickle=False) as arrays:
        assert json.loads(arrays["header"].tobytes())["format"] == cache.FORMAT
        assert all(arrays[name].dtype != object for name in arrays.files)


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="going on without a cache"):
        assert cache.fetch(tmp_path / "file" / "c.npz", lambda: [1, 2]) == [1, 2]


def _build_in_process(path, barrier, queue, fill):
    def build():
        time.sleep(0.05)
        return {"x": torch.full((300, 300), 7.0), "filled by": "anyone"}

    barrier.wait()
    value = cache.fetch(path, build)
    queue.put((fill, float(value["x"].sum())))


def test_two_processes_build_the_same_file_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        path = tmp_path / f"c{attempt}.npz"
        barrier, queue = context.Barrier(2), context.Queue()
        workers = [context.Process(target=_build_in_process, args=(path, barrier, queue, i)) for i in range(2)]
        for worker in workers:
            worker.start()
        results = sorted(queue.get(timeout=60) for _ in workers)
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        assert results == [(0, 630000.0), (1, 630000.0)]
        assert cache.load(path)[0]
    assert sorted(os.listdir(tmp_path)) == [f"c{i}.npz" for i in range(5)]


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("GNNZOO_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "gnnzoo"

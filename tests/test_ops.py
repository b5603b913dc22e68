import gc
import importlib
import weakref

import pytest
import torch
from torch.nn import functional as F
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv.gcn_conv import gcn_norm as pyg_gcn_norm

from gnnzoo import ops
from gnnzoo.errors import DataError
from gnnzoo.ops import linear
from gnnzoo.ops.cache import _STORE

N, E, D = 9, 30, 3


@pytest.fixture
def graph():
    """A directed multigraph with duplicates, self-loops and an isolated last node."""
    torch.manual_seed(0)
    edge_index = torch.randint(0, N - 1, (2, E))
    edge_index[:, :3] = edge_index[:, 3:6]
    edge_index[:, 6] = 4
    return edge_index, torch.randn(N, D, dtype=torch.double), torch.rand(E, dtype=torch.double) + 0.1


def dense(edge_index, weight, num_nodes=N):
    matrix = torch.zeros(num_nodes, num_nodes, dtype=weight.dtype)
    return matrix.index_put((edge_index[1], edge_index[0]), weight, accumulate=True)


# spmm -----------------------------------------------------------------------------------------------------------------


def test_spmm_is_the_dense_product(graph):
    edge_index, x, weight = graph
    torch.testing.assert_close(ops.spmm(edge_index, x, weight), dense(edge_index, weight) @ x)
    torch.testing.assert_close(ops.spmm(edge_index, x), dense(edge_index, torch.ones_like(weight)) @ x)
    torch.testing.assert_close(ops.spmm(edge_index, x[:, 0], weight), dense(edge_index, weight) @ x[:, 0])
    cube = x.unsqueeze(1).expand(-1, 2, -1)
    torch.testing.assert_close(ops.spmm(edge_index, cube, weight)[:, 1], dense(edge_index, weight) @ x)
    assert not ops.spmm(edge_index, x)[-1].any()


def test_spmm_gradients(graph):
    edge_index, x, weight = graph
    x, weight = x.requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: ops.spmm(edge_index, x, w), (x, weight))
    assert torch.autograd.gradcheck(lambda x: ops.spmm(edge_index, x), (x,))
    assert torch.autograd.gradcheck(lambda w: ops.spmm(edge_index, x.detach(), w), (weight,))
    wide = torch.randn(N, 33, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: ops.spmm(edge_index, x, w), (wide, weight))


def test_second_derivative_is_refused(graph):
    edge_index, x, weight = graph
    x.requires_grad_()
    (grad,) = torch.autograd.grad(ops.spmm(edge_index, x, weight).pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()


@pytest.mark.parametrize("num_nodes", [0, 1, 4])
def test_empty_graphs(num_nodes):
    edge_index = torch.empty(2, 0, dtype=torch.long)
    x, weight = torch.randn(num_nodes, 2, requires_grad=True), torch.empty(0, requires_grad=True)
    out = ops.spmm(edge_index, x, weight)
    out.sum().backward()
    assert out.shape == x.shape
    assert not x.grad.any()
    assert weight.grad.shape == (0,)
    torch.testing.assert_close(ops.spmm(ops.gcn_norm(edge_index, num_nodes), x), x)


@pytest.mark.parametrize("sort_order", [None, "row", "col"])
def test_edge_index_class_gives_the_same_numbers(graph, sort_order):
    edge_index, x, weight = graph
    wrapped, weights = EdgeIndex(edge_index, sparse_size=(N, N)), weight
    if sort_order:
        wrapped, perm = wrapped.sort_by(sort_order)
        weights = weight[perm]
        wrapped.fill_cache_()
    torch.testing.assert_close(ops.spmm(wrapped, x, weights), ops.spmm(edge_index, x, weight), rtol=0, atol=1e-15)
    expected = ops.spmm(ops.gcn_norm(edge_index, N, dtype=x.dtype), x)
    torch.testing.assert_close(ops.spmm(ops.gcn_norm(wrapped, N, dtype=x.dtype), x), expected, rtol=0, atol=1e-15)


def test_order_of_edges_does_not_change_a_bit(graph):
    edge_index, x, _ = graph
    shuffled = edge_index[:, torch.randperm(E)]
    assert torch.equal(ops.spmm(shuffled, x), ops.spmm(edge_index, x))


def test_other_types_are_computed_in_float32(graph):
    edge_index, x, weight = graph
    out = ops.spmm(edge_index, x.bfloat16(), weight.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), dense(edge_index, weight) @ x, rtol=0.05, atol=0.05)


def test_wrong_shapes_are_named(graph):
    edge_index, x, weight = graph
    with pytest.raises(DataError, match=r"refers to node \d+, but the nodes are 0 to 2"):
        ops.spmm(edge_index, x[:3])
    with pytest.raises(DataError, match="29 entries, but the graph has 30 edges"):
        ops.spmm(edge_index, x, weight[1:])
    with pytest.raises(DataError, match="num_nodes is 5"):
        ops.spmm(edge_index, x, num_nodes=5)
    with pytest.raises(DataError, match="the graph has 9 nodes"):
        ops.spmm(ops.adjacency(edge_index, N), x[:4])
    with pytest.raises(DataError, match=r"not float32 \[2, 3\]"):
        ops.spmm(torch.zeros(2, 3), x)


# structure and cache --------------------------------------------------------------------------------------------------


def test_structure(graph):
    edge_index, _, _ = graph
    adj = ops.adjacency(edge_index, N)
    assert adj.in_degree.tolist() == torch.bincount(edge_index[1], minlength=N).tolist()
    assert adj.out_degree.tolist() == torch.bincount(edge_index[0], minlength=N).tolist()
    pairs = set(zip(*edge_index.tolist(), strict=True))
    for entry, reverse in enumerate(adj.reverse.tolist()):
        source, target = int(adj.col[entry]), int(adj.row[entry])
        if reverse < 0:
            assert (target, source) not in pairs
        else:
            assert (int(adj.col[reverse]), int(adj.row[reverse])) == (target, source)


def test_structure_is_built_once_per_tensor(graph):
    edge_index, _, _ = graph
    assert ops.adjacency(edge_index, N) is ops.adjacency(edge_index, N)
    assert ops.adjacency(edge_index, N + 1) is not ops.adjacency(edge_index, N)
    assert ops.adjacency(edge_index.clone(), N) is not ops.adjacency(edge_index, N)
    assert ops.gcn_norm(edge_index, N) is ops.gcn_norm(edge_index, N)
    wrapped = EdgeIndex(edge_index.clone(), sparse_size=(N, N))
    assert ops.adjacency(wrapped, N) is ops.adjacency(wrapped, N)


@pytest.mark.parametrize("wrap", [False, True])
def test_edits_in_place_are_noticed(graph, wrap):
    edge_index, x, weight = graph
    given = EdgeIndex(edge_index, sparse_size=(N, N)) if wrap else edge_index
    ops.spmm(given, x, weight)
    edge_index[1, :5] = 0
    torch.testing.assert_close(ops.spmm(given, x, weight), dense(edge_index, weight) @ x)


def test_cache_lives_as_long_as_its_tensor(graph):
    edge_index = graph[0].clone()
    gc.collect()
    before = len(_STORE)
    kept = weakref.ref(ops.adjacency(edge_index, N))
    ops.gcn_norm(edge_index, N)
    assert kept() is not None
    del edge_index
    gc.collect()
    assert kept() is None
    assert len(_STORE) == before


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_sorted_edges_are_copied_not_kept(dtype):
    edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]], dtype=dtype)
    adj, storage = ops.adjacency(edge_index, 4), edge_index.untyped_storage().data_ptr()
    edge_index.zero_()
    assert adj.col.tolist() == [0, 1, 2]
    assert all(t.untyped_storage().data_ptr() != storage for t in (adj.col, adj.row, adj.rowptr))


def test_inference_tensors_are_not_cached():
    with torch.inference_mode():
        edge_index = torch.tensor([[0], [1]])
        x = torch.ones(2, 1)
        assert ops.spmm(edge_index, x).flatten().tolist() == [0, 1]
        edge_index[1] = 0
        assert ops.spmm(edge_index, x).flatten().tolist() == [1, 0]


def test_what_inference_mode_built_serves_training(graph):
    edge_index, x, weight = graph
    words, matrix = bag_of_words(), torch.randn(3, 200, dtype=torch.double, requires_grad=True)

    def everything(x, weight):
        normalized = ops.spmm(ops.gcn_norm(edge_index, N, dtype=x.dtype), x)
        return normalized.sum() + ops.spmm(edge_index, x, weight).sum() + ops.sparse_linear(words, matrix).sum()

    with torch.inference_mode():
        expected = everything(x, weight)
    found = everything(x.requires_grad_(), weight.requires_grad_())
    found.backward()
    torch.testing.assert_close(found, expected)


# gcn_norm -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("add_self_loops", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_gcn_norm_is_pygs(graph, add_self_loops, weighted):
    edge_index, x, weight = graph
    weight = weight if weighted else None
    index, value = pyg_gcn_norm(edge_index, weight, N, add_self_loops=add_self_loops, dtype=x.dtype)
    adj = ops.gcn_norm(edge_index, N, weight, add_self_loops, dtype=x.dtype)
    torch.testing.assert_close(ops.spmm(adj, x), dense(index, value) @ x)


def test_gcn_norm_spectrum_and_gradient(graph):
    edge_index, x, _ = graph
    both = torch.cat([edge_index, edge_index.flip(0)], 1).unique(dim=1)
    matrix = ops.spmm(ops.gcn_norm(both, N, dtype=torch.double), torch.eye(N, dtype=torch.double))
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix)[-1].item() == pytest.approx(1, abs=1e-12)
    weight = torch.rand(both.size(1), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: ops.spmm(ops.gcn_norm(both, N, w), x), (weight,))


# sparse_linear --------------------------------------------------------------------------------------------------------


def bag_of_words(density=0.05, dtype=torch.double, num_nodes=40, width=200):
    torch.manual_seed(0)
    return (torch.rand(num_nodes, width) < density).to(dtype)


@pytest.mark.parametrize("density", [0.0, 0.05, 0.5])
def test_sparse_linear_is_linear(density):
    x, weight, bias = bag_of_words(density), torch.randn(5, 200).double().requires_grad_(), torch.randn(5).double()
    torch.testing.assert_close(ops.sparse_linear(x, weight, bias), F.linear(x, weight, bias))
    torch.testing.assert_close(ops.sparse_linear(x, weight), F.linear(x, weight))
    assert torch.autograd.gradcheck(lambda w: ops.sparse_linear(x, w, bias), (weight,))
    grad = torch.autograd.grad(ops.sparse_linear(x, weight, bias, 0.5, False).pow(2).sum(), weight)[0]
    torch.testing.assert_close(grad, torch.autograd.grad(F.linear(x, weight, bias).pow(2).sum(), weight)[0])


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_sparse_linear_dropout_has_the_distribution_of_dropout(density):
    x, eye, p = bag_of_words(density), torch.eye(200, dtype=torch.double), 0.7
    draws = torch.stack([ops.sparse_linear(x, eye, dropout=p, training=True) for _ in range(300)])
    kept = draws[:, x > 0]
    assert kept.unique().tolist() == pytest.approx([0, 1 / (1 - p)])
    assert (kept > 0).double().mean().item() == pytest.approx(1 - p, abs=0.005)
    assert (kept > 0).double().mean(0).std().item() == pytest.approx((p * (1 - p) / 300) ** 0.5, rel=0.15)
    assert not draws[:, x == 0].any()
    assert torch.equal(ops.sparse_linear(x, eye, dropout=p, training=False), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dropout(dtype):
    torch.manual_seed(0)
    x, p = torch.full((200, 100), 2.0, dtype=dtype, requires_grad=True), 0.3
    out = ops.dropout(x, p, True)
    torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 2 / (1 - p)))
    assert (out == 0).double().mean().item() == pytest.approx(p, abs=0.01)
    out.sum().backward()
    torch.testing.assert_close(x.grad, (out / 2).detach())
    assert ops.dropout(x, p, False) is x
    assert ops.dropout(x, 0.0, True).eq(x).all()
    assert not ops.dropout(x, 1.0, True).any()
    with pytest.raises(ValueError, match="probability"):
        ops.dropout(x, 1.5, True)


def test_features_that_want_gradients_get_them():
    x, weight = bag_of_words().requires_grad_(), torch.randn(5, 200).double().requires_grad_()
    ops.sparse_linear(x, weight, dropout=0.5, training=True).sum().backward()
    assert x.grad.any()
    assert weight.grad.any()


def test_path_depends_on_the_content_alone():
    sparse, full = bag_of_words(0.05), bag_of_words(0.5)
    assert linear._compress(sparse) is not None
    assert linear._compress(full) is None
    assert not linear._may_be_sparse(sparse[:, :50], torch.empty(1, 50).double())


def test_features_edited_in_place_are_noticed():
    x, eye = bag_of_words(), torch.eye(200, dtype=torch.double)
    ops.sparse_linear(x, eye)
    x[0] = 0
    torch.testing.assert_close(ops.sparse_linear(x, eye), x)


# accelerators ---------------------------------------------------------------------------------------------------------


def test_accelerators_say_version_or_reason(monkeypatch):
    found = {a.name: a for a in ops.accelerators()}
    assert {"torch-scatter", "pyg-lib", "mamba-ssm", "torch.compile", "cuda"} == set(found)
    assert all((a.version is None) != (a.reason is None) for a in found.values())

    def broken(name):
        raise OSError("undefined symbol: _ZN2at\nmore")

    monkeypatch.setattr(importlib, "import_module", broken)
    scatter = ops.accelerators()[0]
    assert scatter.version is None
    assert scatter.reason == "installed but does not load: undefined symbol: _ZN2at"

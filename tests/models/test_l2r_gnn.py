"""L2R-GNN's encoder: ways to aggregate node by node, what its representation is, and that it is GIN where it should."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from gnnzoo.models.gin import GIN
from gnnzoo.models.l2r_gnn import L2RGNN
from gnnzoo.testing import graphs

DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def data() -> Batch:
    batch = Batch.from_data_list([*graphs.graphs(), graphs.duplicate_edges(), graphs.self_loops()])
    batch.x = batch.x.double()
    return batch


def model(**settings: object) -> L2RGNN:
    settings = {"hidden_channels": 5, "num_layers": 2, "dropout": 0.0, **settings}
    return L2RGNN(graphs.NUM_FEATURES, 2, **settings).double()  # type: ignore[arg-type]


def shown(network: GIN, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the output and the representation."""
    seen: list[Tensor] = []
    handle = network.representation.register_forward_hook(lambda module, args, graphs: seen.append(graphs))
    out = network(batch.x, batch.edge_index, batch.batch)
    handle.remove()
    return out, seen[0]


@pytest.mark.parametrize("train_eps", [False, True])
@pytest.mark.parametrize("aggr", ["sum", "mean", "max"])
def test_layers_node_by_node(aggr: str, train_eps: bool) -> None:
    batch, conv = data(), model(aggr=aggr, train_eps=train_eps).eval().convs[0]
    if train_eps:
        torch.nn.init.constant_(conv.eps, 0.3)
    function = {"sum": lambda x: x.sum(0), "mean": lambda x: x.mean(0), "max": lambda x: x.max(0).values}[aggr]
    rows = []
    for v, own in enumerate(batch.x):
        near = batch.x[batch.edge_index[0, batch.edge_index[1] == v]]
        if train_eps:
            rows.append(1.3 * own + (function(near) if len(near) else 0))
        else:
            rows.append(function(torch.cat([near, own[None]])))
    torch.testing.assert_close(conv(batch.x, batch.edge_index), conv.nn(torch.stack(rows)))


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_the_representation_is_the_sum_of_all_readouts_but_the_inputs(pooling: str) -> None:
    batch, network = data(), model(pooling=pooling, mlp_layers=1).eval()
    out, z = shown(network, batch)
    x, *hidden = network.layers(batch.x, batch.edge_index)
    read = torch.sum if pooling == "sum" else torch.mean
    pooled = [torch.stack([read(h[batch.batch == g], 0) for g in range(batch.num_graphs)]) for h in (x, *hidden)]
    torch.testing.assert_close(z, pooled[1] + pooled[2])
    logits = sum(lin(g) for lin, g in zip(network.lins, pooled, strict=True))
    torch.testing.assert_close(out, logits)
    with torch.no_grad():
        network.lins[0].weight.add_(1.0)
    changed, same = shown(network, batch)
    assert torch.equal(same, z)
    assert (changed - out).abs().min() > 0 or pooled[0].sum(1).abs().min() < 1e-9


def test_dropout_is_on_the_representation_and_on_logits() -> None:
    batch, network = data(), model(dropout=0.5)
    network.eval()
    expected = shown(network, batch)
    for conv in network.convs:  # so that only dropout is random, and statistics stay what they are
        conv.eval()
    network.norms.eval()
    draws = [shown(network.train(), batch)[1] for _ in range(2)]
    assert (draws[0] - draws[1]).abs().max() > 0.1
    assert torch.equal(shown(network.eval(), batch)[1], shown(network, batch)[1])
    assert expected[1].shape == (batch.num_graphs, 5)


@pytest.mark.parametrize("train_eps", [False, True])
def test_sums_are_gins(train_eps: bool) -> None:
    batch, network = data(), model(train_eps=train_eps).eval()
    other = GIN(graphs.NUM_FEATURES, 2, 5, 2, dropout=0.0, train_eps=train_eps).double().eval()
    other.load_state_dict(network.state_dict())
    for ours, theirs in zip(shown(network, batch), shown(other, batch), strict=True):
        assert torch.equal(ours, theirs)


def test_nodes_without_neighbours_hear_nothing() -> None:
    batch = Batch.from_data_list([graphs.empty_edges(), graphs.single_node()])
    for aggr in ("mean", "max"):
        for train_eps in (False, True):
            network = model(aggr=aggr, train_eps=train_eps).float().eval()
            x = batch.x.clone().requires_grad_()
            network(x, batch.edge_index, batch.batch).sum().backward()
            assert x.grad is not None
            assert x.grad.isfinite().all()

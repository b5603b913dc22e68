"""SINC-GCN: what its equations imply."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnnzoo import load_dataset
from gnnzoo.errors import ConfigError
from gnnzoo.models.sinc_gcn import SINCGCN, SINCConv
from gnnzoo.models.sir_gcn import SIRConv
from gnnzoo.testing import graphs

AGGREGATIONS = ["sum", "mean", "max", "sym"]


@pytest.fixture
def data() -> Data:
    """Return a directed multigraph with loops; its last node is the target of no edge."""
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(0, 20, (2, 90), generator=generator)
    edge_index = torch.cat([edge_index, edge_index[:, :5]], dim=1)
    edge_index = edge_index[:, edge_index[1] != 19]
    return Data(x=torch.randn(20, 5, generator=generator, dtype=torch.float64), edge_index=edge_index)


def build(hidden_channels: int = 7, **settings: Any) -> SINCConv:
    torch.manual_seed(1)
    return SINCConv(5, 4, hidden_channels, **settings).double()


def dense_context(x: Tensor, edge_index: Tensor, aggr: str) -> Tensor:
    """Return the aggregated features of each node's sources, one node at a time."""
    out_degree, in_degree = (torch.bincount(row, minlength=len(x)).clamp(min=1).to(x.dtype) for row in edge_index)
    rows = []
    for node in range(len(x)):
        sources = edge_index[0, edge_index[1] == node]
        h = x[sources]
        if aggr == "sym":
            h = h * (out_degree[sources] * in_degree[node]).rsqrt().unsqueeze(1)
        if not len(h):
            rows.append(torch.zeros_like(x[0]))
        elif aggr == "max":
            rows.append(h.amax(0))
        else:
            rows.append(h.mean(0) if aggr == "mean" else h.sum(0))
    return torch.stack(rows)


@pytest.mark.parametrize("aggr", AGGREGATIONS)
@pytest.mark.parametrize("neigh_aggr", AGGREGATIONS)
def test_the_context_shifts_the_query(data: Data, aggr: str, neigh_aggr: str) -> None:
    conv, plain = build(aggr=aggr, neigh_aggr=neigh_aggr, act="gelu"), SIRConv(10, 4, 7, act="gelu", aggr=aggr)
    plain.double().load_state_dict(
        {name: value for name, value in conv.state_dict().items() if "neigh" not in name}
        | {
            "lin_query.weight": torch.cat([conv.lin_query.weight, conv.lin_neigh.weight], dim=1),
            "lin_key.weight": torch.cat([conv.lin_key.weight, torch.zeros(7, 5).double()], dim=1),
        }
    )
    widened = torch.cat([data.x, dense_context(data.x, data.edge_index, neigh_aggr)], dim=1)
    torch.testing.assert_close(conv(data.x, data.edge_index), plain(widened, data.edge_index))


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_without_context_it_is_sir_gcn(data: Data, aggr: str) -> None:
    conv, plain = build(aggr=aggr), SIRConv(5, 4, 7, aggr=aggr).double()
    nn.init.zeros_(conv.lin_neigh.weight)
    plain.load_state_dict({name: value for name, value in conv.state_dict().items() if "neigh" not in name})
    torch.testing.assert_close(conv(data.x, data.edge_index), plain(data.x, data.edge_index))


@pytest.mark.parametrize("hidden_channels", [3, 7])
@pytest.mark.parametrize("neigh_aggr", ["sum", "mean", "sym"])
def test_projecting_first_or_last_is_the_same(data: Data, neigh_aggr: str, hidden_channels: int) -> None:
    conv = build(hidden_channels, neigh_aggr=neigh_aggr)
    first = dense_context(conv.lin_neigh(data.x), data.edge_index, neigh_aggr)
    last = conv.lin_neigh(dense_context(data.x, data.edge_index, neigh_aggr))
    torch.testing.assert_close(first, last)
    expected = conv.query(data.x, _adjacency(data)) - conv.lin_query(data.x)
    torch.testing.assert_close(expected, last)


def test_the_maximum_is_of_features(data: Data) -> None:
    conv = build(3, neigh_aggr="max")
    expected = conv.lin_neigh(dense_context(data.x, data.edge_index, "max"))
    torch.testing.assert_close(conv.context(data.x, _adjacency(data)), expected)
    projected = dense_context(conv.lin_neigh(data.x), data.edge_index, "max")
    assert (expected - projected).abs().max() > 0.1


def _adjacency(data: Data) -> Any:
    from gnnzoo.ops import adjacency

    return adjacency(data.edge_index, data.num_nodes)


def test_a_message_sees_all_neighbours() -> None:
    """The message of node 2 to the centre is what remains of two layers that differ in its key alone."""
    star = graphs.star(4, num_features=5)
    conv, x = build(act="gelu", aggr="sum", neigh_aggr="mean", outer_bias=False), star.x.double()

    def message(changed: Tensor) -> Tensor:
        adj = _adjacency(star)
        return conv.act(conv.query(changed, adj)[0] + conv.lin_key(changed)[2])

    jacobian = torch.autograd.functional.jacobian(message, x)
    assert all(jacobian[:, node].abs().max() > 1e-4 for node in (0, 1, 2, 3, 4))


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_bounded_by_the_first_weisfeiler_leman_test(aggr: str) -> None:
    ring = graphs.graph([(i, (i + 1) % 6) for i in range(6)], 6)
    triangles = graphs.graph([(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)], 6)
    conv, x = build(aggr=aggr), torch.ones(6, 5, dtype=torch.float64)
    torch.testing.assert_close(conv(x, ring.edge_index), conv(x, triangles.edge_index))


def test_gradients(data: Data) -> None:
    for aggr in AGGREGATIONS:
        conv = build(aggr=aggr, act="tanh")
        assert torch.autograd.gradcheck(lambda x, c=conv: c(x, data.edge_index), data.x.requires_grad_())


def test_exact_unique_signature() -> None:
    """Three ReLUs around d = x_v - S_u are a tent that is 1 where the sum is met and 0 at all other integers."""
    bundle = load_dataset("UniqueSignature", num_graphs=10)
    conv = SINCConv(1, 1, 3, act="relu", aggr="sum", neigh_aggr="sum").double()
    with torch.no_grad():
        conv.lin_query.weight.zero_()
        conv.lin_query.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
        conv.lin_key.weight.fill_(1)
        conv.lin_neigh.weight.fill_(-1)
        conv.lin_relation.weight.copy_(torch.tensor([[1.0, -2.0, 1.0]]))
        conv.lin_relation.bias.fill_(-0.5)
        for graph in bundle.graphs:
            logits = conv(graph.x.double(), graph.edge_index)
            assert torch.equal((logits > 0).flatten(), graph.y.flatten() > 0.5)


def test_unique_signature_network_for_nodes_in_batches() -> None:
    data = graphs.two_components()
    model = SINCGCN(6, 1, 16, 1, norm="none", residual=False, readout_bias=False, aggr="sum", neigh_aggr="sum")
    batch = torch.tensor([0, 0, 0, 1, 1, 1])
    assert model(data.x, data.edge_index, batch=batch).shape == (6, 1)
    assert model.readouts[0].lins[0].bias is None


def test_unknown_word() -> None:
    with pytest.raises(ConfigError, match="aggr='median'"):
        SINCConv(5, 4, neigh_aggr="median")  # type: ignore[arg-type]

"""DAGNN: what its equations imply."""

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm as pyg_norm
from torch_geometric.utils import degree, erdos_renyi_graph, to_undirected

from gnnzoo.errors import ConfigError
from gnnzoo.models.build import create_model, load_reference
from gnnzoo.models.dagnn import DAGNN
from gnnzoo.ops import gcn_norm, spmm
from gnnzoo.testing import graphs


@pytest.fixture
def data() -> Data:
    torch.manual_seed(0)
    edge_index = to_undirected(erdos_renyi_graph(20, 0.2))
    return Data(x=torch.randn(20, 5, dtype=torch.float64), edge_index=edge_index)


def build(**settings: object) -> DAGNN:
    torch.manual_seed(1)
    return DAGNN(5, 3, **{"hidden_channels": 8, "dropout": 0.0, **settings}).double().eval()  # type: ignore[arg-type]


def hops(model: DAGNN, data: Data) -> list[Tensor]:
    z = [model.transform(data.x)]
    adj = gcn_norm(data.edge_index, data.num_nodes, dtype=torch.float64)
    for _ in range(model.K):
        z.append(spmm(adj, z[-1]))
    return z


def test_adjacency_is_symmetric_with_largest_eigenvalue_one(data: Data) -> None:
    dense = spmm(gcn_norm(data.edge_index, 20, dtype=torch.float64), torch.eye(20, dtype=torch.float64))
    torch.testing.assert_close(dense, dense.t())
    assert float(torch.linalg.eigvalsh(dense)[-1]) == pytest.approx(1)
    root = (degree(data.edge_index[0], 20, dtype=torch.float64) + 1).sqrt()
    torch.testing.assert_close(dense @ root, root)


def test_regular_graph_keeps_column_means() -> None:
    ring = graphs.graph([(i, (i + 1) % 6) for i in range(6)], 6, num_features=5)
    ring.x = ring.x.double()
    for z in hops(build(K=4), ring):
        torch.testing.assert_close(z.mean(0), hops(build(K=0), ring)[0].mean(0))


def test_zero_gate_halves_the_sum_of_hops(data: Data) -> None:
    model = build(K=4)
    torch.nn.init.zeros_(model.gate.weight)
    torch.nn.init.zeros_(model.gate.bias)
    torch.testing.assert_close(model(data.x, data.edge_index), 0.5 * torch.stack(hops(model, data)).sum(0))


def test_many_hops_are_proportional_to_the_root_of_degrees() -> None:
    path = graphs.path(6, num_features=5)
    path.x = path.x.double()
    last = hops(build(K=500), path)[-1]
    root = (degree(path.edge_index[0], 6, dtype=torch.float64) + 1).sqrt().unsqueeze(1)
    torch.testing.assert_close(last / root, (last / root)[:1].expand_as(last))


def test_isolated_node_stays_what_it_is() -> None:
    data = graphs.triangle_with_isolated(num_features=5)
    model = build(K=3)
    z = model.transform(data.x.double())
    expected = z * 4 * torch.sigmoid(model.gate(z))
    torch.testing.assert_close(model(data.x.double(), data.edge_index)[-1], expected[-1])


def test_existing_self_loops_are_not_doubled(data: Data) -> None:
    model = build(K=3)
    loops = torch.cat([data.edge_index, torch.arange(20).expand(2, -1)], dim=1)
    torch.testing.assert_close(model(data.x, loops), model(data.x, data.edge_index))


@pytest.mark.parametrize("K", [0, 1, 3])
def test_one_node_and_one_class(K: int) -> None:
    model = DAGNN(5, 1, K=K).eval()
    assert model(torch.ones(1, 5), torch.empty(2, 0, dtype=torch.int64)).shape == (1, 1)


def test_parameter_count_of_ogbn_arxiv() -> None:
    model = create_model("dagnn", in_channels=128, out_channels=40, hidden_channels=256, K=16, batch_norm=True)
    assert sum(p.numel() for p in model.parameters()) == 43_857


def test_batch_norm_variant_keeps_features_and_takes_a_lone_node() -> None:
    torch.manual_seed(0)
    model = DAGNN(5, 3, hidden_channels=512, K=0, dropout=0.9, batch_norm=True).train()
    seen = []
    model.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))  # type: ignore[union-attr]
    x, edge_index = torch.randn(4, 5), torch.empty(2, 0, dtype=torch.int64)
    for _ in range(2):
        model(x, edge_index)
    assert torch.equal(*seen)
    assert model(x[:1], edge_index).isfinite().all()


class Reference(MessagePassing):
    """The model as its authors describe it, hop by hop, on PyG's message passing."""

    def forward(self, model: DAGNN, x: Tensor, edge_index: Tensor) -> Tensor:
        z = model.lin2(model.lin1(x).relu())
        edge_index, weight = pyg_norm(edge_index, None, x.size(0), dtype=x.dtype)
        stack = [z]
        for _ in range(model.K):
            stack.append(self.propagate(edge_index, x=stack[-1], weight=weight))
        p = torch.stack(stack, dim=1)
        return (torch.sigmoid(model.gate(p)) * p).sum(1)

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        return weight.unsqueeze(1) * x_j


def test_equals_the_stacked_form_on_message_passing(data: Data) -> None:
    model = build(K=6)
    expected = Reference()(model, data.x, data.edge_index)
    torch.testing.assert_close(model(data.x, data.edge_index), expected, rtol=1e-12, atol=1e-12)


def test_edge_weights_are_used_and_learnable(data: Data) -> None:
    model, weight = build(K=2), torch.ones(data.num_edges, dtype=torch.float64, requires_grad=True)
    out = model(data.x, data.edge_index, weight)
    torch.testing.assert_close(out, model(data.x, data.edge_index))
    out.square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


def test_reference_configuration_that_lacks_a_key_is_named() -> None:
    with pytest.raises(ConfigError, match="lacks 'num_features'"):
        load_reference("dagnn", {"variant": "citation"}, dict(build().state_dict()))

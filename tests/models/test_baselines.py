"""GCN, MLP and GIN give PyG's numbers."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch
from torch_geometric.nn import GINConv, global_add_pool
from torch_geometric.nn.models import GCN as PygGCN  # noqa: N811
from torch_geometric.nn.models import MLP as PygMLP  # noqa: N811

from gnnzoo.models import GCN, GIN, MLP
from gnnzoo.testing import graphs


def test_gcn_is_pygs() -> None:
    data = graphs.self_loops()
    model = GCN(graphs.NUM_FEATURES, 3, hidden_channels=8, num_layers=3).eval()
    reference = PygGCN(graphs.NUM_FEATURES, 8, 3, 3).eval()
    reference.load_state_dict(model.state_dict())
    weight = torch.rand(data.num_edges)
    torch.testing.assert_close(model(data.x, data.edge_index), reference(data.x, data.edge_index))
    torch.testing.assert_close(
        model(data.x, data.edge_index, weight), reference(data.x, data.edge_index, edge_weight=weight)
    )


def test_gcn_starts_as_pygs() -> None:
    torch.manual_seed(0)
    model = GCN(4, 3, hidden_channels=8)
    torch.manual_seed(0)
    reference = PygGCN(4, 8, 2, 3)
    torch.manual_seed(1)
    model.reset_parameters()
    torch.manual_seed(1)
    reference.reset_parameters()
    for name, value in reference.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_mlp_is_pygs() -> None:
    x = torch.randn(5, 4)
    model = MLP(4, 3, hidden_channels=8, num_layers=3).eval()
    reference = PygMLP([4, 8, 8, 3], norm=None).eval()
    reference.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(x), reference(x))


def test_mlp_drops_the_input_of_every_layer() -> None:
    torch.manual_seed(0)
    model = MLP(1000, 1, num_layers=1, dropout=0.5)
    nn.init.ones_(model.lins[0].weight)
    nn.init.zeros_(model.lins[0].bias)
    kept = model(torch.ones(50, 1000)) / 2
    assert kept.mean().item() == pytest.approx(500, abs=15)
    assert len(kept.unique()) > 10


def test_gin_is_a_sum_of_readouts_over_pygs_layers() -> None:
    batch = Batch.from_data_list(graphs.graphs())
    model = GIN(graphs.NUM_FEATURES, 2, hidden_channels=8, num_layers=2, train_eps=True).eval()
    h, expected = batch.x, model.lins[0](global_add_pool(batch.x, batch.batch))
    for conv, norm, lin in zip(model.convs, model.norms, model.lins[1:], strict=True):
        conv.eps.data.fill_(0.3)
        plain = GINConv(conv.nn, train_eps=True)
        plain.eps.data.fill_(0.3)
        h = norm(plain.forward(h, batch.edge_index)).relu()
        expected = expected + lin(global_add_pool(h, batch.batch))
    torch.testing.assert_close(model(batch.x, batch.edge_index, batch.batch), expected)


def test_gin_without_batch_predicts_for_nodes() -> None:
    data = graphs.path()
    model = GIN(graphs.NUM_FEATURES, 3).eval()
    nodes = model(data.x, data.edge_index)
    assert nodes.shape == (8, 3)
    bias = sum(lin.bias for lin in model.lins)
    pooled = model(data.x, data.edge_index, torch.zeros(8, dtype=torch.int64))
    torch.testing.assert_close((nodes - bias).sum(0) + bias, pooled[0])

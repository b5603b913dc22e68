"""Baselines for whole graphs: closed forms, what they can and cannot see, and that they learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import MLP

from gnnzoo import create_model
from gnnzoo.errors import ConfigError
from gnnzoo.models import GINE, PNA, GatedGCN
from gnnzoo.models.pna import degree_histogram
from gnnzoo.nn.graph_level import VirtualNode, edge_features, graph_sizes, pool
from gnnzoo.tasks import forward
from gnnzoo.testing import graphs as tiny
from gnnzoo.transforms import GraphStatistics

NAMES = ["gin", "gine", "gatedgcn", "pna", "graph-statistics-mlp"]
WITH_EDGES = ["gine", "gatedgcn", "pna"]


def cycle(n, start=0):
    nodes = torch.arange(n)
    return torch.cat([torch.stack([nodes, (nodes + 1) % n]), torch.stack([(nodes + 1) % n, nodes])], dim=1) + start


def plain(edge_index, nodes, **attributes):
    return Data(x=torch.ones(nodes, 1), edge_index=edge_index, **attributes)


def hexagon():
    return plain(cycle(6), 6)


def two_triangles():
    return plain(torch.cat([cycle(3), cycle(3, 3)], dim=1), 6)


def built(name, graphs, **hparams):
    """Return the model in float64 and evaluation mode, with all parameters off their initial values, and a batch."""
    torch.manual_seed(0)
    if name == "graph-statistics-mlp":
        graphs = [GraphStatistics()(graph.clone()) for graph in graphs]
    settings = {"out_channels": 3, "hidden_channels": 8, **hparams}
    model = create_model(name, graphs, **settings).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    batch = Batch.from_data_list(graphs)
    return model, batch.apply(lambda value: value.double() if value.is_floating_point() else value)


# --- what they see ---


@pytest.mark.parametrize("name", NAMES)
def test_what_1_wl_cannot_tell_apart_gets_the_same_logits(name):
    model, batch = built(name, [hexagon(), two_triangles()])
    first, second = forward(model, batch)
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_cycle_and_a_path_differ(name):
    """... but to GatedGCN, whose gates are normalized: among equal nodes they cancel."""
    nodes = torch.arange(5)
    path = torch.cat([torch.stack([nodes, nodes + 1]), torch.stack([nodes + 1, nodes])], dim=1)
    model, batch = built(name, [hexagon(), plain(path, 6)])
    first, second = forward(model, batch)
    assert ((first - second).abs().max() > 1e-4) == (name != "gatedgcn")


@pytest.mark.parametrize("name", [*WITH_EDGES, "graph-statistics-mlp"])
def test_edge_features_count(name):
    graphs = [plain(cycle(6), 6, edge_attr=torch.zeros(12, 2)) for _ in range(2)]
    for graph in graphs:
        graph.x = torch.arange(6.0).unsqueeze(1)
    graphs[1].edge_attr[[0, 6]] = 1.0
    model, batch = built(name, graphs)
    first, second = forward(model, batch)
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("name", WITH_EDGES)
def test_no_edge_features_are_the_feature_one(name):
    model, batch = built(name, [hexagon(), two_triangles()])
    given = batch.clone()
    given.edge_attr = torch.ones(batch.num_edges, 1, dtype=torch.float64)
    assert torch.equal(forward(model, batch), forward(model, given))
    given.edge_attr = torch.ones(batch.num_edges, dtype=torch.int64)  # one column of whole numbers, as some sets have
    assert torch.equal(forward(model, batch), forward(model, given))


@pytest.mark.parametrize("name", WITH_EDGES)
@pytest.mark.parametrize("virtual_node", [False, True])
def test_without_batch_all_nodes_are_of_one_graph(name, virtual_node):
    model, batch = built(name, [hexagon()], virtual_node=virtual_node)
    alone = model(batch.x, batch.edge_index)
    torch.testing.assert_close(alone, forward(model, batch), rtol=1e-12, atol=1e-12)


# --- the virtual node ---


def test_the_virtual_nodes_equations():
    torch.manual_seed(0)
    virtual = VirtualNode(4, 2).double().eval()
    with torch.no_grad():
        virtual.start.normal_()
    h, batch = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1])
    heard, state = virtual(0, h, None, batch)
    torch.testing.assert_close(heard, h + virtual.start)
    sums = torch.stack([heard[:3].sum(0), heard[3:].sum(0)])
    torch.testing.assert_close(state, virtual.mlps[0](virtual.start + sums))
    again, last = virtual(1, h, state, batch)
    torch.testing.assert_close(again, h + state[batch])
    assert last is state  # nobody hears it any more


@pytest.mark.parametrize("name", ["gin", *WITH_EDGES])
def test_the_virtual_node_carries_over_any_distance(name):
    """In two triangles a change in one reaches the other's nodes only through the virtual node."""
    graph = two_triangles()
    for virtual_node in (False, True):
        model, batch = built(name, [graph], virtual_node=virtual_node, num_layers=3)
        seen = {}
        last = model.convs[-1]
        last.register_forward_pre_hook(lambda _, args, seen=seen: seen.update(h=args[0]))
        batch.x.requires_grad_()
        forward(model, batch)
        reached = torch.autograd.grad(seen["h"][0].sum(), batch.x)[0][:, 0] != 0
        assert reached.tolist() == [True] * 3 + [virtual_node] * 3


def test_a_virtual_node_that_nobody_hears_is_refused():
    with pytest.raises(ConfigError, match="virtual_node=true with num_layers=1"):
        create_model("gin", in_channels=3, out_channels=2, num_layers=1, virtual_node=True)


# --- parts ---


def test_pooling():
    h, batch = torch.tensor([[1.0, -1.0], [3.0, -3.0], [5.0, 7.0]]), torch.tensor([0, 0, 1])
    assert pool(h, batch, "sum").tolist() == [[4, -4], [5, 7]]
    assert pool(h, batch, "mean").tolist() == [[2, -2], [5, 7]]
    assert pool(h, batch, "max").tolist() == [[3, -1], [5, 7]]
    assert pool(h, None, "mean").tolist() == [[3, 1]]


@pytest.mark.parametrize("name", ["gin", *WITH_EDGES])
@pytest.mark.parametrize("pooling", ["sum", "mean", "max"])
def test_pooling_decides_whether_copies_count(name, pooling):
    """Two disjoint hexagons are one hexagon to a mean or a maximum, and twice as much to a sum."""
    double = plain(torch.cat([cycle(6), cycle(6, 6)], dim=1), 12)
    model, batch = built(name, [hexagon(), double], pooling=pooling)
    first, second = forward(model, batch)
    assert ((first - second).abs().max() < 1e-10) == (pooling != "sum")


def test_sizes_and_features_of_edges():
    graph = tiny.path()
    assert graph_sizes(graph) == {"in_channels": graph.x.size(1), "edge_channels": 1}
    assert graph_sizes([hexagon(), hexagon()])["edge_channels"] == 1
    assert graph_sizes(plain(cycle(3), 3, edge_attr=torch.ones(6, 4)))["edge_channels"] == 4
    assert graph_sizes(plain(cycle(3), 3, edge_attr=torch.ones(6)))["edge_channels"] == 1
    empty = torch.empty(2, 0, dtype=torch.int64)
    assert edge_features(None, empty, torch.ones(1, 2)).shape == (0, 1)
    assert edge_features(torch.ones(0, 3), empty, torch.ones(1, 2).double()).dtype == torch.float64


# --- the layers against their equations ---


def test_gine_layer():
    torch.manual_seed(0)
    model = GINE(1, 2, 2, hidden_channels=4, num_layers=1, train_eps=True, pooling="sum").double().eval()
    conv = model.convs[0]
    with torch.no_grad():
        conv.eps.fill_(0.3)
    graph = plain(cycle(4), 4, edge_attr=torch.rand(8, 2))
    h, e = model.lin_in(torch.rand(4, 1).double()), graph.edge_attr.double()
    source, target = graph.edge_index
    messages = (h[source] + conv.lin(e)).relu()
    expected = conv.nn(1.3 * h + torch.zeros_like(h).index_add(0, target, messages))
    torch.testing.assert_close(conv(h, graph.edge_index, e), expected)


def test_gated_gcn_reads_the_edges_of_every_layer():
    graph = plain(cycle(4), 4, edge_attr=torch.rand(8, 2))
    model = GatedGCN(1, 2, 2, hidden_channels=4, num_layers=2).double()
    out = model(graph.x.double(), graph.edge_index, graph.edge_attr.double())
    out.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for c in model.convs for p in c.lin_edge.parameters())


def test_pna_scales_by_the_degrees_of_the_training_graphs():
    assert degree_histogram([hexagon(), plain(torch.tensor([[0, 1], [2, 2]]), 3)]) == [2, 0, 7]
    (scale,) = {float(conv.aggr_module.avg_deg_log) for conv in PNA(1, 2, 1, [2, 0, 7], 8, 2, 2).convs}
    assert scale == pytest.approx(7 * torch.tensor(3.0).log().item() / 9)
    lonely = PNA(1, 2, 1, [5], hidden_channels=8, towers=2)  # no edge in any training graph
    assert lonely(torch.ones(3, 1), torch.tensor([[0], [1]])).isfinite().all()
    with pytest.raises(ConfigError, match="towers=3 does not divide hidden_channels=8"):
        PNA(1, 2, 1, [0, 1], hidden_channels=8, towers=3)


def test_statistics_by_hand():
    graph = plain(torch.tensor([[0, 1, 2], [1, 2, 1]]), 3, edge_attr=torch.tensor([[1.0], [2.0], [3.0]]))
    graph.x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    (found,) = GraphStatistics(max_degree=2)(graph).statistics.tolist()
    degrees = torch.tensor([0.0, 2.0, 1.0])
    expected = [*torch.tensor([3.0, 3.0]).log1p().tolist(), 1.0, degrees.std(correction=0).item(), 2.0]
    expected += [1 / 3, 1 / 3, 1 / 3, 1.0, 3.0, 1 / 3, 1.0, 6.0, 2.0]
    assert found == pytest.approx(expected)


def test_statistics_of_a_graph_without_edges():
    graph = plain(torch.empty(2, 0, dtype=torch.int64), 2, edge_attr=torch.empty(0, 3))
    statistics = GraphStatistics()(graph).statistics
    assert statistics.isfinite().all()
    assert statistics.shape == (1, 2 + 3 + 11 + 2 + 6)


# --- learning ---


@pytest.mark.parametrize("name", WITH_EDGES)
def test_bonds_can_be_learned(name):
    """The class of a cycle is the kind of its one odd edge: nothing but edge features tells."""
    torch.manual_seed(0)
    graphs = []
    for i in range(16):
        edge_attr = torch.zeros(12, 2)
        edge_attr[[0, 6], i % 2] = 1.0
        x = torch.arange(6.0).unsqueeze(1)
        graphs.append(Data(x=x, edge_index=cycle(6), edge_attr=edge_attr, y=torch.tensor([i % 2])))
    model = create_model(name, graphs, hidden_channels=8, num_layers=2, dropout=0.0)
    batch = Batch.from_data_list(graphs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(forward(model, batch), batch.y)
        loss.backward()
        optimizer.step()
    assert (forward(model.eval(), batch).argmax(1) == batch.y).all()


def test_old_gin_is_what_it_was():
    """The options that were added change nothing unless they are asked for."""
    torch.manual_seed(0)
    model = create_model("gin", in_channels=3, out_channels=2, hidden_channels=4, num_layers=2)
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"convs", "norms", "lins"}
    assert isinstance(model.convs[0].nn, MLP)

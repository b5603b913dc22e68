"""The node baselines: PyG's numbers where PyG has the layer, and what the papers' equations imply."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import nn as pyg
from torch_geometric.data import Batch, Data
from torch_geometric.utils import erdos_renyi_graph, remove_self_loops, to_dense_adj, to_undirected

import gnnzoo.models.h2gcn
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models import APPNP, FAGCN, GAT, GCNII, GPRGNN, GPS, H2GCN, LINKX, MLP, SGC, DirGNN, GraphSAGE, TunedGNN
from gnnzoo.models.build import create_model
from gnnzoo.models.dir_gnn import DirGATConv, DirGCNConv, DirSAGEConv
from gnnzoo.models.h2gcn import exact_hops
from gnnzoo.nn.convolutions import GATConv, GCNConv, SAGEConv
from gnnzoo.nn.propagation import propagation
from gnnzoo.ops import gcn_norm, spmm
from gnnzoo.registry import MODELS
from gnnzoo.testing import graphs

NODES, FEATURES, CLASSES = 20, 5, 3


@pytest.fixture
def data() -> Data:
    torch.manual_seed(0)
    edge_index = to_undirected(erdos_renyi_graph(NODES, 0.2))
    loops = torch.tensor([[1, 4], [1, 4]])
    x = torch.randn(NODES, FEATURES, dtype=torch.float64)
    return Data(x=x, edge_index=torch.cat([edge_index, loops], dim=1))


@pytest.fixture
def directed() -> Data:
    torch.manual_seed(2)
    edge_index, _ = remove_self_loops(erdos_renyi_graph(NODES, 0.15, directed=True))
    return Data(x=torch.randn(NODES, FEATURES, dtype=torch.float64), edge_index=edge_index)


def build(cls: type, *args: object, **settings: object) -> nn.Module:
    torch.manual_seed(1)
    return cls(FEATURES, CLASSES, *args, **settings).double().eval()


def dense(adj) -> Tensor:  # type: ignore[no-untyped-def]
    return spmm(adj, torch.eye(adj.num_nodes, dtype=torch.float64))


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_every_baseline_has_numbers_in_print_on_two_sets() -> None:
    names = "appnp dir-gnn fagcn gat gcn gcnii gprgnn gps h2gcn linkx mlp sage sgc tuned-gat tuned-gcn tuned-sage"
    published = {name: len(MODELS.card(name).published) for name in names.split()}
    assert all(count >= 2 for count in published.values()), published


# the shared layers


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (GCNConv, pyg.GCNConv, {}),
        (SAGEConv, pyg.SAGEConv, {}),
        (SAGEConv, pyg.SAGEConv, {"aggr": "sum", "normalize": True}),
        (SAGEConv, pyg.SAGEConv, {"aggr": "max", "project": True}),
        (SAGEConv, pyg.SAGEConv, {"root_weight": False}),
        (GATConv, pyg.GATConv, {"heads": 3}),
        (GATConv, pyg.GATConv, {"heads": 2, "concat": False, "residual": True}),
        (GATConv, pyg.GATConv, {"add_self_loops": False, "bias": False}),
    ],
)
def test_layers_are_pygs(data: Data, ours: type, theirs: type, settings: dict[str, object]) -> None:
    layer, reference = (kind(FEATURES, 4, **settings).double() for kind in (ours, theirs))
    reference.load_state_dict(layer.state_dict())
    x, y = data.x.clone().requires_grad_(), data.x.clone().requires_grad_()
    found, expected = layer(x, data.edge_index), reference(y, data.edge_index)
    close(found, expected)
    for out in (found, expected):
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    close(x.grad, y.grad)
    for parameter, other in zip(layer.parameters(), reference.parameters(), strict=True):
        close(parameter.grad, other.grad)


def test_layers_start_as_pygs() -> None:
    for ours, theirs in ((GCNConv, pyg.GCNConv), (SAGEConv, pyg.SAGEConv), (GATConv, pyg.GATConv)):
        torch.manual_seed(0)
        layer = ours(4, 3)
        torch.manual_seed(0)
        reference = theirs(4, 3)
        for name, value in reference.state_dict().items():
            assert torch.equal(layer.state_dict()[name], value)


def test_dropout_of_a_layer_is_one_for_node_and_neighbors() -> None:
    torch.manual_seed(0)
    layer = SAGEConv(100, 1).train()
    for lin in (layer.lin_l, layer.lin_r):
        nn.init.ones_(lin.weight)
    nn.init.zeros_(layer.lin_l.bias)
    loops = torch.arange(50).expand(2, -1)  # each is its own neighbor: both products see the same zeros
    kept = layer(torch.ones(50, 100), loops, 0.5).detach() / 4
    assert torch.equal(kept, kept.round())
    assert kept.mean().item() == pytest.approx(50, abs=3)


def test_propagation_is_the_normalized_adjacency(data: Data) -> None:
    ordered = propagation(data.edge_index, NODES, torch.float64)
    expected = dense(gcn_norm(data.edge_index, NODES, dtype=torch.float64))
    close(dense(ordered.graph), expected)
    assert ordered.graph.perm is None
    close(spmm(ordered.graph, data.x, ordered.weight), expected @ data.x)
    assert propagation(data.edge_index, NODES, torch.float64) is ordered


# SGC


def test_sgc_is_k_propagations_and_a_linear_layer(data: Data) -> None:
    model = build(SGC, K=3)
    adj = dense(gcn_norm(data.edge_index, NODES, dtype=torch.float64))
    close(model(data.x, data.edge_index), model.conv.lin(torch.linalg.matrix_power(adj, 3) @ data.x))
    reference = pyg.SGConv(FEATURES, CLASSES, K=3).double()
    reference.load_state_dict(model.conv.state_dict())
    weight = torch.rand(data.num_edges, dtype=torch.float64)
    close(model(data.x, data.edge_index, weight), reference(data.x, data.edge_index, weight))


def test_sgc_without_hops_is_a_linear_layer(data: Data) -> None:
    model = build(SGC, K=0)
    close(model(data.x, data.edge_index), model.conv.lin(data.x))


# GraphSAGE, GAT


def test_sage_is_pygs(data: Data) -> None:
    model = build(GraphSAGE, hidden_channels=8, num_layers=3)
    reference = pyg.models.GraphSAGE(FEATURES, 8, 3, CLASSES).double().eval()
    reference.load_state_dict(model.state_dict())
    close(model(data.x, data.edge_index), reference(data.x, data.edge_index))


def test_sage_without_edges_is_a_perceptron_with_its_own_weights(data: Data) -> None:
    model = build(GraphSAGE, hidden_channels=8)
    mlp = build(MLP, hidden_channels=8)
    for lin, conv in zip(mlp.lins, model.convs, strict=True):
        lin.weight.data, lin.bias.data = conv.lin_r.weight.data, conv.lin_l.bias.data
    close(model(data.x, torch.empty(2, 0, dtype=torch.int64)), mlp(data.x))


def test_sage_scales_hidden_layers_to_length_one(data: Data) -> None:
    model = build(GraphSAGE, hidden_channels=8, num_layers=2, normalize=True)
    close(model.convs[0](data.x, data.edge_index).norm(dim=1), torch.ones(NODES, dtype=torch.float64))
    assert not model.convs[1].normalize


def test_gat_is_pygs(data: Data) -> None:
    model = build(GAT, hidden_channels=4, heads=2, out_heads=3, num_layers=3)
    h = data.x
    for number, conv in enumerate(model.convs):
        last = number == 2
        reference = pyg.GATConv(h.size(1), 3 if last else 4, heads=3 if last else 2, concat=not last).double()
        reference.load_state_dict(conv.state_dict())
        h = reference(h, data.edge_index)
        h = h if last else F.elu(h)
    close(model(data.x, data.edge_index), h)


def test_gat_with_equal_scores_is_a_mean(data: Data) -> None:
    model = build(GAT, hidden_channels=4, num_layers=1, out_heads=1)
    conv = model.convs[0]
    nn.init.zeros_(conv.att_src)
    nn.init.zeros_(conv.att_dst)
    adj = to_dense_adj(remove_self_loops(data.edge_index)[0], max_num_nodes=NODES)[0].double()
    adj = adj + torch.eye(NODES, dtype=torch.float64)
    close(model(data.x, data.edge_index), adj @ conv.lin(data.x) / adj.sum(1, keepdim=True) + conv.bias)


# APPNP, GPR-GNN


def test_appnp_is_pygs(data: Data) -> None:
    model = build(APPNP, K=4, alpha=0.3)
    close(model(data.x, data.edge_index), pyg.APPNP(4, 0.3)(model.transform(data.x), data.edge_index))


def test_appnp_reaches_its_fixed_point(data: Data) -> None:
    model = build(APPNP, K=400, alpha=0.1)
    adj = dense(gcn_norm(data.edge_index, NODES, dtype=torch.float64))
    exact = 0.1 * torch.linalg.inv(torch.eye(NODES, dtype=torch.float64) - 0.9 * adj) @ model.transform(data.x)
    close(model(data.x, data.edge_index), exact)


@pytest.mark.parametrize(("K", "alpha"), [(0, 0.1), (5, 1.0)])
def test_appnp_without_propagation_is_the_perceptron(data: Data, K: int, alpha: float) -> None:
    model = build(APPNP, K=K, alpha=alpha)
    close(model(data.x, data.edge_index), model.transform(data.x))


def test_appnp_drops_edges_anew_in_every_iteration_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    model = APPNP(2, 1, K=2, alpha=0.0, dropout=0.0, edge_dropout=0.5).train()
    path = graphs.path(400, num_features=2)
    runs = torch.stack([model(path.x, path.edge_index) for _ in range(300)]).mean(0)
    model.eval()
    expected = model(path.x, path.edge_index)
    assert float((runs - expected).norm() / expected.norm()) < 0.15


def test_gprgnn_with_pagerank_weights_is_appnp(data: Data) -> None:
    ours, appnp = build(GPRGNN, K=6, alpha=0.2), build(APPNP, K=6, alpha=0.2)
    appnp.load_state_dict({key: value for key, value in ours.state_dict().items() if key != "gamma"})
    assert ours.gamma.sum().item() == pytest.approx(1)
    torch.testing.assert_close(
        ours(data.x, data.edge_index), appnp(data.x, data.edge_index), rtol=1e-6, atol=1e-6
    )  # gamma starts in single precision


def test_gprgnn_is_a_polynomial_of_the_adjacency(data: Data) -> None:
    model = build(GPRGNN, K=3, init="random")
    assert model.gamma.abs().sum().item() == pytest.approx(1)
    assert bool((model.gamma < 0).any())
    adj = dense(gcn_norm(data.edge_index, NODES, dtype=torch.float64))
    filter_ = sum(weight * torch.linalg.matrix_power(adj, k) for k, weight in enumerate(model.gamma))
    close(model(data.x, data.edge_index), filter_ @ model.transform(data.x))


def test_gprgnn_starts() -> None:
    starts = {
        ("ppr", 0.5): [0.5, 0.25, 0.125, 0.125],
        ("ppr", 1.0): [1, 0, 0, 0],
        ("ppr", 0.0): [0, 0, 0, 1],
        ("sgc", 0.1): [0, 0, 0, 1],
        ("nppr", 0.5): [8 / 15, 4 / 15, 2 / 15, 1 / 15],
    }
    for (init, alpha), expected in starts.items():
        torch.testing.assert_close(GPRGNN(2, 2, K=3, alpha=alpha, init=init).gamma.data, torch.tensor(expected).float())


# GCNII


@pytest.mark.parametrize("shared", [True, False])
def test_gcnii_is_pygs(data: Data, shared: bool) -> None:
    model = build(GCNII, hidden_channels=6, num_layers=4, alpha=0.2, theta=0.7, shared_weights=shared)
    h = first = model.lin_in(data.x).relu()
    for layer, conv in enumerate(model.convs, start=1):
        reference = pyg.GCN2Conv(6, 0.2, 0.7, layer, shared).double()
        reference.load_state_dict(conv.state_dict())
        h = reference(h, first, data.edge_index).relu()
    close(model(data.x, data.edge_index), model.lin_out(h))


def test_gcnii_without_weights_is_personalized_pagerank(data: Data) -> None:
    model = build(GCNII, hidden_channels=6, num_layers=300, alpha=0.2, theta=0.0)
    first = model.lin_in(data.x).relu()  # nothing below 0, so that the ReLUs do nothing
    adj = dense(gcn_norm(data.edge_index, NODES, dtype=torch.float64))
    exact = 0.2 * torch.linalg.inv(torch.eye(NODES, dtype=torch.float64) - 0.8 * adj) @ first
    close(model(data.x, data.edge_index), model.lin_out(exact))


def test_gcnii_identity_mapping_fades_with_depth() -> None:
    betas = [conv.beta for conv in GCNII(2, 2, num_layers=5, theta=0.5).convs]
    assert betas == pytest.approx([math.log(0.5 / layer + 1) for layer in range(1, 6)])


# LINKX


def test_linkx_is_pygs(data: Data) -> None:
    model = build(LINKX, NODES, hidden_channels=6, num_layers=2, edge_layers=2, node_layers=2).train()
    reference = pyg.models.LINKX(NODES, FEATURES, 6, CLASSES, 2, 2, 2, 0.0).double().train()
    model.final_mlp.dropout = [0.0] * len(model.final_mlp.dropout)
    weights = {key.replace("norm.module", "norm"): value for key, value in model.state_dict().items()}
    names = {key.replace(".module", ""): key for key in reference.state_dict()}
    reference.load_state_dict({names[key.replace(".module", "")]: value for key, value in weights.items()})
    close(model(data.x, data.edge_index), reference(data.x, data.edge_index))


def test_linkx_without_its_graph_is_a_perceptron(data: Data) -> None:
    model = build(LINKX, NODES, hidden_channels=6, num_layers=2)
    for parameter in (*model.edge_lin.parameters(), model.cat_lin1.bias):
        nn.init.zeros_(parameter)
    h = model.node_mlp(data.x)
    expected = model.final_mlp((h + model.cat_lin2(h)).relu())
    close(model(data.x, data.edge_index), expected)
    close(model(data.x, data.edge_index[:, :3]), expected)


def test_linkx_with_its_weights_renumbered_is_equivariant(data: Data) -> None:
    model = build(LINKX, NODES, hidden_channels=6)
    expected = model(data.x, data.edge_index)
    order = torch.randperm(NODES)
    model.edge_lin.weight.data = model.edge_lin.weight.data[order]
    close(model(data.x[order], order.argsort()[data.edge_index]), expected[order])


def test_linkx_says_that_it_is_bound_to_a_graph(data: Data) -> None:
    model = create_model("linkx", data, out_channels=3)
    assert model.num_nodes == NODES
    with pytest.raises(DataError, match="a graph of 20 nodes, not of 19"):
        model(data.x[:-1].float(), data.edge_index[:, :0])
    with pytest.raises(DataError, match="several graphs"):
        create_model("linkx", [data, data], out_channels=3)


# H2GCN


def test_h2gcn_neighborhoods_are_exact_and_without_the_node(data: Data) -> None:
    doubled = torch.cat([data.edge_index, data.edge_index], dim=1)  # neither counts: repeated edges, loops
    adj = to_dense_adj(data.edge_index, max_num_nodes=NODES)[0].double().clamp(max=1)
    adj.fill_diagonal_(0)
    two = ((adj @ adj) > 0).double() * (1 - adj)
    two.fill_diagonal_(0)
    for found, matrix in zip(exact_hops(doubled, NODES, torch.float64), (adj, two), strict=True):
        scale = torch.where(matrix.sum(1) > 0, matrix.sum(1).rsqrt(), 0.0)
        close(dense(found), scale[:, None] * matrix * scale)
        assert not dense(found).diagonal().any()


def test_h2gcn_keeps_every_round(data: Data) -> None:
    model = build(H2GCN, hidden_channels=4, num_layers=2)
    one, two = (dense(hop) for hop in exact_hops(data.edge_index, NODES, torch.float64))
    rounds = [model.embed(data.x).relu()]
    for _ in range(2):
        rounds.append(torch.cat([one @ rounds[-1], two @ rounds[-1]], dim=1))
    assert [r.size(1) for r in rounds] == [4, 8, 16]
    close(model(data.x, data.edge_index), model.classify(torch.cat(rounds, dim=1)))


def test_h2gcn_sees_two_hops_per_round() -> None:
    path, model = graphs.path(8, num_features=FEATURES), build(H2GCN, hidden_channels=4, num_layers=1, activation=False)
    x = path.x.double().requires_grad_()
    model(x, path.edge_index)[0].sum().backward()
    assert x.grad.abs().sum(1).nonzero().flatten().tolist() == [0, 1, 2]


def test_h2gcn_names_a_graph_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gnnzoo.models.h2gcn, "MAX_WALKS", 10)
    star = graphs.star(5)
    with pytest.raises(DataError, match="30 walks of two edges, more than 10"):
        exact_hops(star.edge_index, star.num_nodes)


# FAGCN


@pytest.mark.parametrize("loops", [True, False])
def test_fagcn_is_pygs(data: Data, loops: bool) -> None:
    model = build(FAGCN, hidden_channels=6, num_layers=2, eps=0.4, add_self_loops=loops)
    h = first = model.lin_in(data.x).relu()
    for conv in model.convs:
        reference = pyg.FAConv(6, eps=0.4, add_self_loops=loops).double()
        reference.load_state_dict(conv.state_dict())
        h = reference(h, first, data.edge_index)
    close(model(data.x, data.edge_index), model.lin_out(h))


def test_fagcn_coefficients_have_both_signs(data: Data) -> None:
    model = build(FAGCN, hidden_channels=6, num_layers=1)
    graph = propagation(data.edge_index, NODES, torch.float64, add_self_loops=False).graph
    alpha = model.convs[0].coefficients(5 * torch.randn(NODES, 6, dtype=torch.float64), graph)
    assert alpha.shape == (data.num_edges,)
    assert float(alpha.abs().max()) < 1
    assert float(alpha.min()) < 0 < float(alpha.max())


def test_fagcn_without_attention_keeps_a_share_of_the_first_layer(data: Data) -> None:
    model = build(FAGCN, hidden_channels=6, num_layers=3, eps=0.4)
    for conv in model.convs:
        nn.init.zeros_(conv.att_l.weight)
        nn.init.zeros_(conv.att_r.weight)
    close(model(data.x, data.edge_index), model.lin_out(0.4 * model.lin_in(data.x).relu()))


# Dir-GNN

CONVOLUTIONS = pytest.mark.parametrize("conv", ["gcn", "sage", "gat"])


@CONVOLUTIONS
def test_dir_gnn_with_tied_weights_ignores_alpha_on_an_undirected_graph(data: Data, conv: str) -> None:
    outputs = []
    for alpha in (0.0, 0.3, 1.0):
        model = build(DirGNN, hidden_channels=8, num_layers=2, conv=conv, alpha=alpha, jk="cat")
        for layer in model.convs:
            names = ("lin_src_to_dst", "lin_dst_to_src") if conv == "gcn" else ("conv_src_to_dst", "conv_dst_to_src")
            getattr(layer, names[1]).load_state_dict(getattr(layer, names[0]).state_dict())
        outputs.append(model(data.x, data.edge_index))
    close(outputs[1], outputs[0])
    close(outputs[2], outputs[0])


@CONVOLUTIONS
def test_dir_gnn_on_reversed_edges_is_itself_with_its_sides_swapped(directed: Data, conv: str) -> None:
    model = build(DirGNN, hidden_channels=8, num_layers=2, conv=conv, alpha=0.3, jk="max")
    swapped = build(DirGNN, hidden_channels=8, num_layers=2, conv=conv, alpha=0.7, jk="max")
    names = {"src_to_dst": "dst_to_src", "dst_to_src": "src_to_dst"}
    weights = {}
    for key, value in model.state_dict().items():
        side = next((name for name in names if name in key), None)
        weights[key.replace(side, names[side]) if side else key] = value
    swapped.load_state_dict(weights | {"alpha": torch.tensor(0.7)})
    # alphas are stored in single precision, and 1 - 0.3 is not 0.7 there
    torch.testing.assert_close(
        swapped(directed.x, directed.edge_index.flip(0)), model(directed.x, directed.edge_index), rtol=1e-5, atol=1e-6
    )


def test_dir_gcn_is_the_dense_formula(directed: Data) -> None:
    conv = DirGCNConv(FEATURES, 4).double()
    adj = to_dense_adj(directed.edge_index, max_num_nodes=NODES)[0].double()
    out_, in_ = (torch.where(d > 0, d.rsqrt(), 0.0) for d in (adj.sum(1), adj.sum(0)))
    s = out_[:, None] * adj * in_
    expected = 0.25 * conv.lin_src_to_dst(s @ directed.x) + 0.75 * conv.lin_dst_to_src(s.t() @ directed.x)
    close(conv(directed.x, directed.edge_index, 0.25), expected)


@pytest.mark.parametrize("kind", [DirSAGEConv, DirGATConv])
def test_dir_layers_are_pygs_on_both_directions(directed: Data, kind: type) -> None:
    conv = kind(FEATURES, 4).double()
    sage = kind is DirSAGEConv
    reference = pyg.SAGEConv(FEATURES, 4, root_weight=False) if sage else pyg.GATConv(FEATURES, 4)
    reference.double()
    sides = []
    for side, edges in (("src_to_dst", directed.edge_index), ("dst_to_src", directed.edge_index.flip(0))):
        reference.load_state_dict(getattr(conv, f"conv_{side}").state_dict())
        sides.append(reference(directed.x, edges))
    own = conv.lin_self(directed.x) if sage else 0
    close(conv(directed.x, directed.edge_index, 0.3), own + 0.7 * sides[0] + 0.3 * sides[1])


def test_dir_sage_tells_directions_apart() -> None:
    x = torch.ones(3, FEATURES, dtype=torch.float64)
    model = build(DirGNN, hidden_channels=8, num_layers=2, conv="sage")
    chain, collider = (torch.tensor(edges) for edges in ([[0, 1], [1, 2]], [[0, 2], [1, 1]]))
    assert not torch.allclose(model(x, chain).sort(0)[0], model(x, collider).sort(0)[0])
    sage = build(GraphSAGE)
    first, second = (sage(x, to_undirected(edges)).sort(0)[0] for edges in (chain, collider))
    close(first, second)


def test_dir_gnn_learns_alpha_only_if_asked(directed: Data) -> None:
    for learn in (False, True):
        model = build(DirGNN, num_layers=2, learn_alpha=learn)
        model(directed.x, directed.edge_index).square().sum().backward()
        assert (model.alpha.grad is not None) == learn


# the tuned family


@pytest.mark.parametrize(("conv", "layer"), [("gcn", pyg.GCNConv), ("sage", pyg.SAGEConv), ("gat", pyg.GATConv)])
def test_tuned_gnn_is_the_papers_block_on_pygs_layers(data: Data, conv: str, layer: type) -> None:
    model = build(TunedGNN, 8, 3, conv, norm="layer", residual=True, pre_linear=True)
    h = model.lin_in(data.x)
    for ours, norm, lin in zip(model.convs, model.norms, model.lins, strict=True):
        reference = layer(8, 8).double()
        reference.load_state_dict(ours.state_dict())
        h = (F.layer_norm(reference(h, data.edge_index) + lin(h), (8,)) * norm.weight + norm.bias).relu()
    close(model(data.x, data.edge_index), model.lin_out(h))


def test_tuned_gnn_bare_is_gcn_with_a_linear_head(data: Data) -> None:
    model = build(TunedGNN, 8, 2, "gcn")
    reference = pyg.models.GCN(FEATURES, 8, 2).double().eval()
    reference.load_state_dict({key: value for key, value in model.state_dict().items() if key.startswith("convs")})
    expected = model.lin_out(reference(data.x, data.edge_index).relu())
    close(model(data.x, data.edge_index), expected)


def test_tuned_cards_differ_in_their_convolution() -> None:
    for conv, kind in (("gcn", GCNConv), ("sage", SAGEConv), ("gat", GATConv)):
        model = create_model(f"tuned-{conv}", in_channels=4, out_channels=2)
        assert type(model.convs[0]) is kind
    assert MODELS.canonical("tuned-gnn") == "tuned-gcn"
    assert type(create_model("tuned-gnn", in_channels=4, out_channels=2, conv="sage").convs[0]) is SAGEConv


# GPS


def test_gps_layer_is_pygs(data: Data) -> None:
    model = build(GPS, 8, 1, heads=2, conv="gin")
    layer = model.layers[0]
    reference = (
        pyg.GPSConv(8, pyg.GINConv(pyg.MLP([8, 8, 8], norm=None)), 2, 0.2, attn_kwargs={"dropout": 0.5}).double().eval()
    )
    reference.load_state_dict(layer.state_dict())
    h = model.lin_in(data.x)
    close(model(data.x, data.edge_index), model.lin_out(reference(h, data.edge_index)))


def test_gps_attends_within_graphs_only() -> None:
    model = build(GPS, 8, 2, heads=2)
    pair = [graphs.path(4, num_features=FEATURES), graphs.star(5, num_features=FEATURES, seed=3)]
    batch = Batch.from_data_list(pair)
    alone = torch.cat([model(graph.x.double(), graph.edge_index) for graph in pair])
    close(model(batch.x.double(), batch.edge_index, batch=batch.batch), alone)
    assert not torch.allclose(model(batch.x.double(), batch.edge_index), alone)


def test_gps_sees_the_whole_graph_in_one_layer() -> None:
    data = graphs.two_components(num_features=FEATURES)
    model = build(GPS, 8, 1, heads=2)
    x = data.x.double().requires_grad_()
    model(x, data.edge_index)[0].sum().backward()
    assert bool((x.grad.abs().sum(1) > 0).all())


def test_gps_positions_are_return_probabilities() -> None:
    ring = graphs.graph([(i, (i + 1) % 6) for i in range(6)], 6, num_features=FEATURES)
    pe = GPS.pre_transform(walk_length=4)(ring).pe
    torch.testing.assert_close(pe, torch.tensor([0, 0.5, 0, 0.375]).expand(6, 4))
    assert GPS.pre_transform(walk_length=0) is None
    with pytest.raises(DataError, match=r"apply GPS\.pre_transform"):
        GPS(FEATURES, CLASSES, walk_length=4)(ring.x, ring.edge_index)


def test_gps_distinguishes_regular_graphs_by_positions() -> None:
    """Six nodes on one ring or on two: message passing and attention alone see no difference."""
    ring = graphs.graph([(i, (i + 1) % 6) for i in range(6)], 6, num_features=FEATURES)
    two = graphs.graph([(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)], 6, num_features=FEATURES)
    for walk_length in (0, 4):
        model, outputs = build(GPS, 8, 2, heads=2, walk_length=walk_length), []
        for graph in (ring, two):
            graph = graph.clone()
            graph.x = torch.ones_like(graph.x)
            transform = GPS.pre_transform(walk_length=walk_length)
            graph = transform(graph) if transform else graph
            pe = graph.pe.double() if walk_length else None
            outputs.append(model(graph.x.double(), graph.edge_index, pe))
        assert torch.allclose(*outputs) == (walk_length == 0)


@pytest.mark.parametrize("conv", ["gcn", "sage", "gat", "gin", "gated"])
@pytest.mark.parametrize("attention", ["multihead", "performer"])
def test_gps_variants_answer_and_learn(data: Data, conv: str, attention: str) -> None:
    model = GPS(FEATURES, CLASSES, 8, 2, heads=2, conv=conv, attention=attention).train()
    out = model(data.x.float(), data.edge_index)
    out.square().sum().backward()
    assert out.shape == (NODES, CLASSES)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_gps_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="heads=3 does not divide hidden_channels=8"):
        GPS(FEATURES, CLASSES, hidden_channels=8, heads=3)

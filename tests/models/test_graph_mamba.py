"""Graph Mamba, both of them: tokens against brute force, what the equations imply, orders of nodes."""

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Batch, Data
from torch_geometric.utils import from_networkx

from gnnzoo.datasets.pretransform import fingerprint
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models import GraphMamba, GraphMambaGPS
from gnnzoo.models.gcn import GCN
from gnnzoo.models.graph_mamba import _last
from gnnzoo.nn import gated_gcn
from gnnzoo.nn.gated_gcn import GatedGCNConv
from gnnzoo.nn.mamba import BidirectionalMamba
from gnnzoo.nn.node_order import apply_in_order, node_key, node_orders
from gnnzoo.ops.causal_conv import causal_conv
from gnnzoo.ops.rectangular import SparseMatrix
from gnnzoo.registry import MODELS
from gnnzoo.tasks import forward
from gnnzoo.testing import graphs
from gnnzoo.transforms import LaplacianPositions, WalkTokens, walk_tokens
from gnnzoo.transforms.walk_tokens import induced_links, random_walks, token_members

DOUBLE = torch.double
SMALL = {"hidden_channels": 6, "state_channels": 3, "num_layers": 2}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_graph(num_nodes: int = 12, density: float = 0.3, seed: int = 0) -> Data:
    """Return an undirected graph whose last node is isolated."""
    drawn = nx.gnp_random_graph(num_nodes - 1, density, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_nodes, 5, generator=generator, dtype=DOUBLE)
    return Data(x=x, edge_index=from_networkx(drawn).edge_index)


def distinct_degrees() -> Data:
    """Return directed edges whose nodes all have another out-degree."""
    pairs = [(u, v) for u in range(7) for v in range(u)]
    x = torch.randn(7, 5, dtype=DOUBLE)
    return Data(x=x, edge_index=torch.tensor(pairs).t().contiguous())


def renumbered(data: Data, perm: Tensor) -> Data:
    """Return the graph, and its tokens if it has any, in which node ``i`` is what was node ``perm[i]``."""
    number = perm.argsort()
    found = Data(x=data.x[perm], edge_index=number[data.edge_index])
    if "token_index" in data:
        owner, node = number[data.token_index]
        order = ((owner * 10 + data.token_slot) * 10 + node).argsort()
        found.token_index, found.token_slot = torch.stack([owner, node])[:, order], data.token_slot[order]
        found.link_index, found.link_slot = number[data.link_index], data.link_slot
    return found


def moved(model: nn.Module) -> nn.Module:
    """Move every parameter and every running mean off its start."""
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value), alpha=0.2)
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value.add_(torch.randn_like(value))
    return model.double().eval()


def build(out_channels: int = 3, in_channels: int = 5, **settings: object) -> GraphMamba:
    return moved(GraphMamba(in_channels, out_channels, **{**SMALL, **settings}))  # type: ignore[arg-type, return-value]


def sets(data: Data) -> dict[tuple[int, int], set[int]]:
    """Return the nodes of each token, by its node and place."""
    found: dict[tuple[int, int], set[int]] = {}
    for v, u, slot in zip(*data.token_index.tolist(), data.token_slot.tolist(), strict=True):
        found.setdefault((v, slot), set()).add(u)
    return found


@pytest.mark.parametrize("law", ["simple", "non-backtracking"])
@pytest.mark.parametrize("seed", range(3))
def test_tokens_are_neighbourhoods(seed: int, law: str) -> None:
    data = random_graph(seed=seed)
    m, M, s = 3, 2, 2
    found = WalkTokens(m, M, s, law, seed=seed)(data.clone())  # type: ignore[arg-type]
    graph = nx.Graph(data.edge_index.t().tolist())
    graph.add_nodes_from(range(12))
    tokens = sets(found)
    assert set(tokens) == {(v, slot) for v in range(12) for slot in range(m * s + 1)}
    for (v, slot), nodes in tokens.items():
        length = m - slot // s
        ball = set(nx.single_source_shortest_path_length(graph, v, cutoff=length))
        assert v in nodes
        assert nodes <= ball
        assert len(nodes) <= M * length + 1
        assert slot < m * s or nodes == {v}
        assert nx.is_connected(graph.subgraph(nodes))
    links = list(zip(*found.link_index.tolist(), found.link_slot.tolist(), strict=True))
    assert len(links) == len(set(links))
    induced = {(v, a, b, slot) for (v, slot), nodes in tokens.items() for a, b in data.edge_index.t().tolist()
               if a in nodes and b in nodes}  # fmt: skip
    assert set(links) == induced


def test_many_walks_see_the_whole_ball() -> None:
    data = random_graph()
    graph = nx.Graph(data.edge_index.t().tolist())
    graph.add_nodes_from(range(12))
    for (v, slot), nodes in sets(WalkTokens(3, 2000, 1)(data)).items():
        assert nodes == set(nx.single_source_shortest_path_length(graph, v, cutoff=3 - slot)) or slot < 2
        if slot == 1:  # walks of two steps end at an even distance, but pass the odd ones
            assert nodes == set(nx.single_source_shortest_path_length(graph, v, cutoff=2))


def test_tokens_depend_on_seed_and_graph_alone() -> None:
    data = random_graph()
    shuffled = data.clone()
    shuffled.edge_index = data.edge_index[:, torch.randperm(data.num_edges)]
    first, again, other = (
        WalkTokens(seed=seed)(graph.clone()) for seed, graph in ((1, data), (1, shuffled), (2, data))
    )
    for name in ("token_index", "token_slot", "link_index", "link_slot"):
        assert torch.equal(first[name], again[name])
    assert sets(first) != sets(other)


def test_every_setting_of_the_tokens_enters_the_cache() -> None:
    settings: list[dict[str, object]] = [{}, {"seed": 1}, {"walk_length": 3}, {"walks": 5}, {"repeats": 3}]
    settings += [{"walk_law": "non-backtracking"}, {"append_node": False}, {"pe": "laplacian"}]
    keys = [fingerprint(GraphMamba.pre_transform(**each)) for each in settings]  # type: ignore[arg-type]
    assert len({repr(key) for key in keys}) == len(settings)
    assert fingerprint(GraphMamba.pre_transform(hidden_channels=8)) == keys[0]


@pytest.mark.parametrize("block", [3, 1 << 21])
def test_links_of_repeated_edges_and_small_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_tokens, "_BLOCK", block)
    edge_index = torch.tensor([[0, 0, 1, 2, 3, 3], [1, 1, 2, 2, 1, 0]])
    walks = torch.tensor([[2, 1, 0, 1], [3, -1, -1, -1], [0, 3, -1, -1]])
    token, node = token_members(walks, 4)
    assert token.tolist() == [0, 0, 0, 1, 2, 2]
    assert node.tolist() == [0, 1, 2, 3, 0, 3]
    links = induced_links(token, node, edge_index, 4)
    found = [(int(token[b]), int(node[a]), int(node[b])) for a, b in links.t().tolist()]
    assert found == [(0, 0, 1), (0, 0, 1), (0, 1, 2), (0, 2, 2), (2, 3, 0)]


def test_walks_follow_their_law() -> None:
    star = graphs.star(3).edge_index
    walks = random_walks(star, 5, torch.arange(5).repeat(300), 2)
    assert (walks[:, 0] == torch.arange(5).repeat(300)).all()
    assert (walks[walks[:, 0] == 4] == 4).all()  # isolated: stays
    ends = walks[walks[:, 0] == 0, 1].bincount(minlength=4)
    assert ends[0] == 0
    assert (ends[1:] > 60).all()
    forward_only = random_walks(star, 5, torch.arange(4).repeat(50), 2, "non-backtracking")
    from_leaf = forward_only[forward_only[:, 0] > 0]
    assert (from_leaf[:, 1] == 0).all()
    assert (from_leaf[:, 2] != from_leaf[:, 0]).all()
    assert (forward_only[forward_only[:, 0] == 0][:, 2] == 0).all()  # a dead end: there is no other way
    ring = torch.stack([torch.arange(6), (torch.arange(6) + 1) % 6])
    around = random_walks(torch.cat([ring, ring.flip(0)], 1), 6, torch.arange(6), 5, "non-backtracking")
    assert all(len(set(walk)) == 6 for walk in around.tolist())


def test_too_many_tokens_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="fewer or shorter walks"):
        WalkTokens(16, 32, 1_000_000)(random_graph())
    monkeypatch.setattr(walk_tokens, "MAX_BYTES", 40_000)
    WalkTokens(1, 2, 1)(random_graph())
    with pytest.raises(ConfigError, match="GiB"):
        WalkTokens(2, 4, 2)(random_graph(40, 0.9))


def test_the_first_layer_is_gated_gcn_on_every_subgraph() -> None:
    data = WalkTokens(2, 3, 2)(random_graph())
    model = build(walk_length=2, repeats=2, local_layers=2)
    h = torch.randn(12, 6, dtype=DOUBLE, requires_grad=True)
    encoded = model.phi(h, model._tokens(h, data.edge_index, *(data[n] for n in NAMES)))
    weight, plain = torch.randn_like(encoded), h.new_zeros(())
    for (v, slot), nodes in sets(data).items():
        members = sorted(nodes)
        keep = [a in nodes and b in nodes for a, b in data.edge_index.t().tolist()]
        place = torch.zeros(12, dtype=torch.long)
        place[members] = torch.arange(len(members))
        part = h[members]
        for conv in model.phi.convs:
            part, _ = conv(part, place[data.edge_index[:, keep]])
        torch.testing.assert_close(encoded[v, slot], part.mean(0))
        plain = plain + (weight[v, slot] * part.mean(0)).sum()
    wanted = [h, *model.phi.parameters()]
    grads = (torch.autograd.grad(loss, wanted) for loss in ((encoded * weight).sum(), plain))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


NAMES = ("token_index", "token_slot", "link_index", "link_slot")


def test_options_of_the_encoding() -> None:
    data = WalkTokens(1, 3, 1)(random_graph())
    h = torch.randn(12, 6, dtype=DOUBLE)
    for settings in ({"local": "mean"}, {"local": "mean", "token_pooling": "sum", "token_counts": True}):
        model = build(walk_length=1, repeats=1, **settings)
        encoded = model.phi(h, model._tokens(h, data.edge_index, *(data[n] for n in NAMES)))
        for (v, slot), nodes in sets(data).items():
            rows = model.phi.lin(h[sorted(nodes)])  # type: ignore[misc]
            expected = rows.sum(0) if "token_pooling" in settings else rows.mean(0)
            if "token_counts" in settings:
                edges = sum(a in nodes and b in nodes for a, b in data.edge_index.t().tolist())
                counts = torch.tensor([len(nodes), edges], dtype=DOUBLE).log1p()
                expected = expected + model.phi.lin_counts(counts)  # type: ignore[misc]
            torch.testing.assert_close(encoded[v, slot], expected)


def test_without_walks_the_first_part_is_a_map_of_nodes() -> None:
    data = random_graph()
    model = build(walk_length=0)
    assert GraphMamba.pre_transform(walk_length=0) is None
    h = torch.randn(12, 6, dtype=DOUBLE)

    def read(rows: Tensor, edge_index: Tensor) -> Tensor:
        return model.read_tokens(model.phi(rows, model._tokens(rows, edge_index, None, None, None, None)))

    whole, perm = read(h, data.edge_index), torch.randperm(12)
    torch.testing.assert_close(read(h[perm], data.edge_index), whole[perm])
    torch.testing.assert_close(read(h[3:4], torch.empty(2, 0, dtype=torch.long)), whole[3:4])


def test_only_the_last_state_is_computed_where_only_it_is_read() -> None:
    for residual in (True, False):
        layer = moved(BidirectionalMamba(6, 3, residual=residual))
        x = torch.randn(4, 5, 6, dtype=DOUBLE)
        torch.testing.assert_close(_last(layer, x), layer(x)[:, -1])  # type: ignore[arg-type]


def test_tokens_of_a_length_are_shuffled_in_training_only() -> None:
    model = build(walk_length=2, repeats=3)
    tokens = torch.arange(7.0).view(1, 7, 1).expand(50, 7, 6)
    shuffled = model._shuffled(tokens)[:, :, 0]
    assert (shuffled[:, :3].sort(1).values == torch.arange(3.0)).all()
    assert (shuffled[:, 3:6].sort(1).values == torch.arange(3.0, 6.0)).all()
    assert (shuffled[:, 6] == 6).all()
    assert len({tuple(row) for row in shuffled.tolist()}) > 10
    data = model.pre_transform(walk_length=2, repeats=3)(random_graph())  # type: ignore[misc]
    assert torch.equal(forward(model, data), forward(model, data))
    assert not torch.equal(forward(model.train(), data), forward(model, data))


@pytest.mark.parametrize("kind", [GraphMamba, GraphMambaGPS])
def test_outputs_follow_nodes_of_distinct_degrees(kind: type) -> None:
    data = distinct_degrees()
    settings = {"hidden_channels": 6, "state_channels": 3, "num_layers": 2}
    transform = GraphMamba.pre_transform(walk_length=2) if kind is GraphMamba else None
    data = transform(data) if transform is not None else data
    model = moved(kind(5, 3, **settings))
    perm = torch.randperm(7)
    torch.testing.assert_close(forward(model, renumbered(data, perm)), forward(model, data)[perm])


@pytest.mark.parametrize("kind", [GraphMamba, GraphMambaGPS])
@pytest.mark.parametrize("positions", [False, True])
def test_graphs_in_a_batch_get_what_each_gets_alone(kind: type, positions: bool) -> None:
    settings: dict[str, object] = dict(SMALL)
    if positions:
        settings |= {"pe": "laplacian", "pe_length": 4} if kind is GraphMamba else {"pe_length": 4, "pe_channels": 2}
    transform = kind.pre_transform(**settings)  # type: ignore[attr-defined]
    found = [*graphs.graphs(), graphs.single_node(), graphs.empty_edges()]
    found = [graph if transform is None else transform(graph) for graph in found]
    model = moved(kind(graphs.NUM_FEATURES, 2, **settings)).float()
    together = forward(model, Batch.from_data_list(found))
    for row, graph in zip(together, found, strict=True):
        torch.testing.assert_close(forward(model, Batch.from_data_list([graph]))[0], row)


@pytest.mark.parametrize("counts", [False, True])
def test_six_ring_and_two_triangles(counts: bool) -> None:
    """A token of three nodes is a path in the one and a triangle in the other; graph convolution sees no difference."""
    ring = graphs.graph([(i, (i + 1) % 6) for i in range(6)], 6)
    triangles = graphs.graph([(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)], 6)
    transform = GraphMamba.pre_transform(walk_length=2, walks=8, repeats=1)
    model = build(walk_length=2, repeats=1, token_counts=counts, in_channels=graphs.NUM_FEATURES)
    outputs, plain = [], []
    gcn = moved(GCN(graphs.NUM_FEATURES, 3))
    for graph in (ring, triangles):
        graph.x = torch.ones_like(graph.x).double()
        plain.append(gcn(graph.x, graph.edge_index).mean(0))
        outputs.append(forward(model, Batch.from_data_list([transform(graph)])))  # type: ignore[misc]
        assert bool((torch.bincount(transform(graph).link_index[0]) > 0).all())  # type: ignore[misc]
    torch.testing.assert_close(plain[0], plain[1])
    assert torch.allclose(*outputs) != counts


def test_order_of_nodes() -> None:
    edges = torch.tensor([[0, 0, 1, 3, 3, 3], [1, 2, 0, 0, 1, 2]])
    assert node_key(edges, 4).tolist() == [2, 1, 0, 3]
    (order,) = node_orders(node_key(edges, 4))
    assert order.perm.tolist() == [2, 1, 0, 3]
    x = torch.randn(4, 2)
    for ties in ("random", "average", "index"):  # a layer that looks at single positions does not see the order
        orders = node_orders(node_key(edges, 4), ties=ties)  # type: ignore[arg-type]
        torch.testing.assert_close(apply_in_order(lambda rows, _: rows.exp(), x, orders), x.exp())
        assert len(orders) == (5 if ties == "average" else 1)
    ours = node_key(graphs.path(5).edge_index, 5, "pagerank")
    theirs = nx.pagerank(nx.path_graph(5))
    torch.testing.assert_close(
        ours / ours.sum(), torch.tensor([theirs[v] for v in range(5)], dtype=DOUBLE), atol=1e-5, rtol=0
    )
    assert node_key(edges, 4, "index").tolist() == [0, 0, 0, 0]


def test_ties_are_drawn_in_training_and_fixed_in_evaluation() -> None:
    key = torch.zeros(40, dtype=DOUBLE)
    fixed = [node_orders(key)[0].perm for _ in range(2)]
    assert torch.equal(*fixed)
    assert fixed[0].tolist() != list(range(40))
    drawn = [node_orders(key, training=True)[0].perm for _ in range(2)]
    assert not torch.equal(*drawn)
    assert node_orders(key, ties="index", training=True)[0].perm.tolist() == list(range(40))
    assert len({tuple(order.perm.tolist()) for order in node_orders(key, ties="average")}) == 5
    assert len(node_orders(key, ties="average", training=True)) == 1
    batch = torch.tensor([0] * 10 + [1] * 40)
    second = node_orders(torch.zeros(50, dtype=DOUBLE), batch, 2)[0].perm[10:] - 10
    assert torch.equal(second, fixed[0])  # a graph's order does not depend on its batch


def test_evaluation_of_gps_averages_five_orders() -> None:
    data = random_graph()
    model = moved(GraphMambaGPS(5, 3, hidden_channels=6, state_channels=3, num_layers=1))
    layer = model.layers[0]
    h = torch.randn(12, 6, dtype=DOUBLE)
    orders = node_orders(node_key(data.edge_index, 12), ties="average")
    single = [apply_in_order(layer.mamba, h, [order]) for order in orders]
    assert len(orders) == 5
    assert not torch.allclose(single[0], single[1])
    torch.testing.assert_close(apply_in_order(layer.mamba, h, orders), torch.stack(single).mean(0))
    read = layer.norm_global(h + torch.stack(single).mean(0))
    mixed = layer.norm_local(layer.conv(h, data.edge_index)[0]) + read
    expected = layer.norm_out(mixed + layer.lin2(layer.lin1(mixed).relu()))
    torch.testing.assert_close(layer(h, data.edge_index, None, orders)[0], expected)


def test_buckets_split_every_graph() -> None:
    batch = torch.tensor([0] * 20 + [1] * 30)
    (order,) = node_orders(torch.zeros(50, dtype=DOUBLE), batch, 2, buckets=3)
    assert order.lengths.numel() == 6
    assert order.lengths.view(2, 3).sum(1).tolist() == [20, 30]
    assert (order.lengths > 0).all()
    data = random_graph()
    outputs = []
    for buckets in (1, 3):
        torch.manual_seed(1)
        model = moved(GraphMambaGPS(5, 3, hidden_channels=6, state_channels=3, num_layers=1, buckets=buckets))
        outputs.append(forward(model, data))
    assert not torch.allclose(*outputs)


def test_edges_with_features() -> None:
    data = random_graph()
    data.edge_attr = torch.randn(data.num_edges, 4, dtype=DOUBLE)
    sizes = GraphMambaGPS.infer(data)
    assert sizes == {"in_channels": 5, "edge_channels": 4}
    model = moved(GraphMambaGPS(**sizes, out_channels=3, hidden_channels=6, num_layers=2))
    out = forward(model, data)
    perm = torch.randperm(data.num_edges)
    other = Data(x=data.x, edge_index=data.edge_index[:, perm], edge_attr=data.edge_attr[perm])
    torch.testing.assert_close(forward(model, other), out)
    other.edge_attr = data.edge_attr
    assert not torch.allclose(forward(model, other), out)
    with pytest.raises(DataError, match="edge_attr"):
        model(data.x, data.edge_index)


def test_what_is_missing_is_said() -> None:
    data = random_graph()
    with pytest.raises(DataError, match="walk tokens"):
        forward(build(), data)
    with pytest.raises(DataError, match="pe of width 4"):
        forward(build(walk_length=0, pe="laplacian", pe_length=4), data)
    with pytest.raises(DataError, match="pe of width 8"):
        forward(moved(GraphMambaGPS(5, 3, pe_length=4)), data)
    with pytest.raises(ConfigError, match="no room"):
        GraphMambaGPS(5, 3, hidden_channels=16, pe_length=4)
    whole = WalkTokens()(data.clone())
    for name, value, message in (
        ("token_slot", whole.token_slot[1:], "do not fit"),
        ("token_index", whole.token_index + 1, "refer to node 12"),
        ("token_index", whole.token_index.flip(1), "not in order"),
        ("link_index", whole.link_index * 0 + torch.tensor([[11], [0], [11]]), "not in the token"),
    ):
        broken = whole.clone()
        broken[name] = value
        with pytest.raises(DataError, match=message):
            forward(build(), broken)


@pytest.mark.parametrize(
    "settings",
    [
        {"append_node": False},
        {"shared_directions": True},
        {"residual": False, "mpnn_layers": 0},
        {"ties": "average", "order": "pagerank"},
        {"walk_law": "non-backtracking", "token_pooling": "sum"},
        {"local_layers": 2, "node_layers": 2},
        {"pe": "random-walk", "walk_length": 0},
    ],
)
def test_every_option_learns(settings: dict[str, object]) -> None:
    transform = GraphMamba.pre_transform(**settings)  # type: ignore[arg-type]
    data = random_graph()
    data = data if transform is None else transform(data)
    data = data.apply(lambda value: value.to(DOUBLE) if value.is_floating_point() else value)
    model = GraphMamba(5, 3, **{**SMALL, **settings}).double()  # type: ignore[arg-type]
    y = torch.arange(12) % 3
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        loss = F.cross_entropy(forward(model, data), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.grad is not None for p in model.parameters())


def test_positions_of_graphs_of_any_size() -> None:
    for graph in (graphs.single_node(), graphs.path(3), graphs.path(8), graphs.path(120)):
        n = graph.num_nodes
        pe = LaplacianPositions(5, values=True)(graph).pe
        assert pe.shape == (n, 10)
        assert pe.isfinite().all()
        assert pe.dtype == torch.float32
        known = min(5, n - 1)
        assert (pe[:, known:5] == 0).all()
        assert (pe[:, 5 + known :] == 0).all()
        if known:
            laplacian = nx.normalized_laplacian_matrix(nx.path_graph(n)).toarray()
            dense = torch.from_numpy(laplacian).float()
            torch.testing.assert_close(dense @ pe[:, :known], pe[:, :known] * pe[0, 5 : 5 + known], atol=1e-5, rtol=0)
            assert (pe[:, :known].max(0).values >= -pe[:, :known].min(0).values - 1e-6).all()


@pytest.mark.parametrize("block", [64, 2**20])
def test_gated_gcn_against_its_equation(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gated_gcn, "BLOCK_BYTES", block)
    data = random_graph()
    edges = torch.cat([data.edge_index, data.edge_index[:, :3]], dim=1)
    edges = edges[:, torch.randperm(edges.size(1))]
    e = torch.randn(edges.size(1), 4, dtype=DOUBLE)
    for given in (None, e):
        conv = moved(GatedGCNConv(5, 5, None if given is None else 4))
        x = data.x.clone().requires_grad_()
        query, own, key, value = conv.lin(x).chunk(4, dim=1)
        gates = query[edges[1]] + key[edges[0]]
        gates = gates if given is None else gates + conv.lin_edge(given)
        gate = gates.sigmoid()
        total, norm = (
            torch.zeros(12, 5, dtype=DOUBLE).index_add(0, edges[1], part) for part in (gate * value[edges[0]], gate)
        )
        expected = x + conv.norm(own + total / (norm + 1e-6)).relu()
        out, edge_out = conv(x, edges, given)
        torch.testing.assert_close(out, expected)
        weight = torch.randn_like(out)
        wanted = [x, conv.lin.weight, conv.lin.bias]
        found = (torch.autograd.grad((value * weight).sum(), wanted) for value in (out, expected))
        for ours, plain in zip(*found, strict=True):
            torch.testing.assert_close(ours, plain)
        if given is None:
            assert edge_out is None
        else:
            torch.testing.assert_close(edge_out, conv.norm_edge(gates).relu())
    with pytest.raises(DataError, match="got no e"):
        conv(x, edges)


@pytest.mark.parametrize("length", [1, 3, 9])
@pytest.mark.parametrize("with_bias", [True, False])
def test_causal_convolution(length: int, with_bias: bool) -> None:
    conv = nn.Conv1d(5, 5, 4, groups=5, bias=with_bias).double()
    x = torch.randn(2, length, 5, dtype=DOUBLE, requires_grad=True)
    expected = conv(F.pad(x.transpose(1, 2), (3, 0))).transpose(1, 2)
    found = causal_conv(x, conv.weight, conv.bias)
    torch.testing.assert_close(found, expected)
    weight, wanted = torch.randn_like(x), [x, *conv.parameters()]
    ours, theirs = (torch.autograd.grad((out * weight).sum(), wanted) for out in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_sparse_matrix() -> None:
    row, col = torch.tensor([2, 0, 2, 2]), torch.tensor([1, 3, 1, 0])
    value = torch.randn(4, dtype=DOUBLE)
    matrix = SparseMatrix(row, col, (4, 5), value)
    dense = torch.zeros(4, 5, dtype=DOUBLE).index_put_((row, col), value, accumulate=True)
    x = torch.randn(5, 3, dtype=DOUBLE, requires_grad=True)
    torch.testing.assert_close(matrix @ x, dense @ x)
    assert torch.autograd.gradcheck(lambda x: matrix @ x, x)


def test_the_two_are_told_apart() -> None:
    gmn, gps = MODELS.card("graph-mamba"), MODELS.card("graph-mamba-gps")
    assert (gmn.paper.arxiv, gps.paper.arxiv) == ("2402.08678", "2402.00789")  # type: ignore[union-attr]
    assert "graph-mamba-gps" in gmn.summary
    assert "not GMN, graph-mamba" in gps.summary
    assert not set(gmn.aliases) & set(gps.aliases)

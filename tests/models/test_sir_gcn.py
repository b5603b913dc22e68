"""SIR-GCN: what its equations imply, and that messages in blocks are the same messages."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing

from gnnzoo import create_model, load_dataset
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models.build import load_reference
from gnnzoo.models.sir_gcn import SIRGCN, GeneralSIRConv, SIRConv, messages
from gnnzoo.testing import graphs

AGGREGATIONS = ["sum", "mean", "max", "sym"]
ACTIVATIONS = ["relu", "leaky_relu", "gelu", "tanh", "elu", "identity"]


@pytest.fixture
def data() -> Data:
    """Return a directed multigraph with loops; its last node is the target of no edge."""
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(0, 20, (2, 90), generator=generator)
    edge_index = torch.cat([edge_index, edge_index[:, :5], torch.arange(20)[None, :2].repeat(2, 1)], dim=1)
    edge_index = edge_index[:, edge_index[1] != 19]
    x = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    edge_attr = torch.randn(edge_index.size(1), 3, generator=generator, dtype=torch.float64)
    return Data(x=x, edge_index=edge_index, edge_attr=edge_attr)


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a block hold a handful of edges."""
    monkeypatch.setattr(messages, "BLOCK_BYTES", 300)


def build(**settings: Any) -> SIRConv:
    torch.manual_seed(1)
    return SIRConv(5, 4, 7, **settings).double()


class Reference(MessagePassing):
    """The layer as the dossier of the paper writes it, on PyG's message passing."""

    def forward(self, conv: SIRConv, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        self.conv, relation = conv, conv.lin_relation
        out_degree, in_degree = (torch.bincount(row, minlength=len(x)).clamp(min=1) for row in edge_index)
        weight = torch.ones(edge_index.size(1), dtype=x.dtype)
        if conv.aggr == "sym":
            weight = (in_degree[edge_index[1]] * out_degree[edge_index[0]]).to(x.dtype).rsqrt()
        edge = torch.zeros(len(weight), 1).to(x) if edge_attr is None else conv.lin_edge(edge_attr)
        sent = self.propagate(edge_index, query=conv.lin_query(x), key=conv.lin_key(x), weight=weight, edge=edge)
        return sent if conv.aggr == "max" else relation(sent)

    def message(self, query_i: Tensor, key_j: Tensor, weight: Tensor, edge: Tensor) -> Tensor:
        a = self.conv.act(query_i + key_j + edge)
        return self.conv.lin_relation(a) if self.conv.aggr == "max" else weight.view(-1, 1) * a


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("with_edges", [False, True])
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_equals_message_passing_with_gradients(data: Data, aggr: str, act: str, with_edges: bool) -> None:
    conv = build(aggr=aggr, act=act, edge_dim=3 if with_edges else None)
    edge_attr = data.edge_attr.requires_grad_() if with_edges else None
    points = [*conv.parameters(), data.x.requires_grad_(), *([edge_attr] if with_edges else [])]
    weight = torch.randn(20, 4, dtype=torch.float64)
    reference = Reference({"sum": "add", "sym": "add"}.get(aggr, aggr))
    outputs = conv(data.x, data.edge_index, edge_attr), reference(conv, data.x, data.edge_index, edge_attr)
    found = [[out, *torch.autograd.grad((out * weight).sum(), points)] for out in outputs]
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_block_size_and_extra_axes_play_no_part(data: Data, monkeypatch: pytest.MonkeyPatch, aggr: str) -> None:
    conv = build(aggr=aggr, act="gelu")
    expected = torch.stack([conv(data.x, data.edge_index), conv(2 * data.x, data.edge_index)], dim=1)
    for room in (1, 500, 2**20):
        monkeypatch.setattr(messages, "BLOCK_BYTES", room)
        stacked = torch.stack([data.x, 2 * data.x], dim=1)
        torch.testing.assert_close(conv(stacked, data.edge_index), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_a_module_with_parameters_gives_the_same(data: Data, aggr: str) -> None:
    conv, free = build(aggr=aggr, act="relu"), build(aggr=aggr, act=nn.Sequential(nn.ReLU()))
    torch.testing.assert_close(conv(data.x, data.edge_index), free(data.x, data.edge_index))


@pytest.mark.parametrize(("aggr", "most"), [("sum", 0), ("mean", 0), ("sym", 0), ("max", 1)])
def test_no_messages_are_kept(data: Data, aggr: str, most: int) -> None:
    """Only max keeps something for every edge and channel: one bit, who won."""
    conv, kept = build(aggr=aggr, act="gelu"), []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        conv(data.x.requires_grad_(), data.edge_index)
    large = [tensor for tensor in kept if tensor.size(0) == data.num_edges and tensor.dim() > 1]
    assert len(large) == most
    assert all(tensor.dtype == torch.bool for tensor in large)


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_node_without_incoming_edges(data: Data, aggr: str) -> None:
    conv = build(aggr=aggr)
    expected = torch.zeros(4, dtype=torch.float64) if aggr == "max" else conv.lin_relation.bias
    torch.testing.assert_close(conv(data.x, data.edge_index)[19], expected)
    alone = conv(data.x, data.edge_index[:, :0])
    torch.testing.assert_close(alone, expected.expand(20, 4))


def test_identity_has_a_closed_form(data: Data) -> None:
    conv, (source, target) = build(act="identity"), data.edge_index
    degree = torch.bincount(target, minlength=20).double().unsqueeze(1)
    total = torch.zeros_like(data.x).index_add(0, target, data.x[source])
    expected = conv.lin_relation(degree * conv.lin_query(data.x) + conv.lin_key(total))
    torch.testing.assert_close(conv(data.x, data.edge_index), expected)


def test_without_query_messages_do_not_depend_on_the_target(data: Data) -> None:
    conv = build(act="gelu")
    nn.init.zeros_(conv.lin_query.weight)
    loops = data.edge_index[0] == data.edge_index[1]
    edge_index = data.edge_index[:, ~loops]
    moved = data.x.clone()
    moved[3] += 1
    same = torch.ones(20, dtype=torch.bool)
    same[edge_index[1, edge_index[0] == 3]] = False
    before, after = conv(data.x, edge_index), conv(moved, edge_index)
    torch.testing.assert_close(after[same], before[same])
    assert bool(same[3])


def test_sum_is_degree_times_mean(data: Data) -> None:
    total, mean = (build(aggr=aggr)(data.x, data.edge_index) for aggr in ("sum", "mean"))
    bias = build().lin_relation.bias
    degree = torch.bincount(data.edge_index[1], minlength=20).double().unsqueeze(1)
    torch.testing.assert_close(total - bias, degree * (mean - bias))


@pytest.mark.parametrize(("aggr", "factor"), [("sum", 2.0), ("mean", 1.0), ("max", 1.0), ("sym", 1.0)])
def test_every_edge_twice(data: Data, aggr: str, factor: float) -> None:
    conv = build(aggr=aggr, outer_bias=False)
    graph = graphs.path(20)  # every node has an edge, so that no degree is clamped
    twice = torch.cat([graph.edge_index, graph.edge_index], dim=1)
    torch.testing.assert_close(conv(data.x, twice), factor * conv(data.x, graph.edge_index))


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_bounded_by_the_first_weisfeiler_leman_test(aggr: str) -> None:
    ring = graphs.graph([(i, (i + 1) % 6) for i in range(6)], 6)
    triangles = graphs.graph([(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)], 6)
    conv, x = build(aggr=aggr), torch.ones(6, 5, dtype=torch.float64)
    torch.testing.assert_close(conv(x, ring.edge_index), conv(x, triangles.edge_index))


def test_a_message_does_not_see_other_neighbours() -> None:
    star = graphs.star(4, num_features=5)
    conv, x = build(act="gelu", outer_bias=False), star.x.double().requires_grad_()

    def second(changed: Tensor) -> Tensor:
        """Return the output at the centre by node 2's message alone: all minus all but it."""
        kept = star.edge_index[0] != 2
        return (conv(changed, star.edge_index) - conv(changed, star.edge_index[:, kept]))[0]

    jacobian = torch.autograd.functional.jacobian(second, x)
    assert jacobian[:, [1, 3, 4]].abs().max() < 1e-12
    assert jacobian[:, [0, 2]].abs().max() > 1e-3


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_what_a_prediction_caches_serves_training(data: Data, aggr: str) -> None:
    conv = build(aggr=aggr)
    with torch.inference_mode():
        expected = conv(data.x, data.edge_index)
    out = conv(data.x, data.edge_index)
    assert torch.equal(out, expected)
    for _ in range(2):
        out.sum().backward(retain_graph=True)
    once = torch.autograd.grad(conv(data.x, data.edge_index).sum(), conv.lin_key.weight)[0]
    torch.testing.assert_close(conv.lin_key.weight.grad, 2 * once)


def test_edge_types_are_embedded(data: Data) -> None:
    kinds = torch.arange(data.num_edges) % 4
    conv, dense = build(num_edge_types=4), build(edge_dim=4)
    dense.load_state_dict(conv.state_dict() | {"lin_edge.weight": conv.lin_edge.weight.t()})
    one_hot = nn.functional.one_hot(kinds, 4).double()
    torch.testing.assert_close(conv(data.x, data.edge_index, kinds), dense(data.x, data.edge_index, one_hot))
    with pytest.raises(DataError, match="edge_attr is None"):
        conv(data.x, data.edge_index)


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_general_form_contains_the_layer(data: Data, aggr: str) -> None:
    conv = build(aggr=aggr, edge_dim=3)
    inner = nn.Linear(13, 7).double()
    inner.load_state_dict(
        {
            "weight": torch.cat([conv.lin_query.weight, conv.lin_key.weight, conv.lin_edge.weight], dim=1),
            "bias": conv.lin_query.bias,
        }
    )
    general = GeneralSIRConv(nn.Sequential(inner, nn.ReLU()), aggr)
    if aggr == "max":
        general.nn.append(conv.lin_relation)
        found = general(data.x, data.edge_index, data.edge_attr)
    else:
        found = conv.lin_relation(general(data.x, data.edge_index, data.edge_attr))
    torch.testing.assert_close(found, conv(data.x, data.edge_index, data.edge_attr))


def test_exact_hetero_edge_count() -> None:
    bundle = load_dataset("HeteroEdgeCount", num_labels=4, num_graphs=10)
    conv = SIRConv(4, 1, 4)
    with torch.no_grad():
        conv.lin_query.weight.copy_(-torch.eye(4))
        conv.lin_key.weight.copy_(torch.eye(4))
        conv.lin_relation.weight.fill_(1)
        nn.init.zeros_(conv.lin_query.bias)
        nn.init.zeros_(conv.lin_relation.bias)
        for graph in bundle.graphs:
            assert float(conv(graph.x, graph.edge_index).sum()) == float(graph.y)


def test_exact_dictionary_lookup() -> None:
    n = 6
    bundle = load_dataset("DictionaryLookup", num_keys=n, num_graphs=10)
    inner = nn.Linear(2 * n + 1, n, bias=False)
    conv = SIRConv(2 * n + 1, n, 2 * n + 1, act=nn.Sequential(nn.ReLU(), inner, nn.ReLU()))
    conv.lin_relation = nn.Linear(n, n)
    with torch.no_grad():
        conv.lin_query.weight.zero_()
        conv.lin_query.weight[:n, :n] = -torch.eye(n)
        conv.lin_key.weight.copy_(torch.eye(2 * n + 1))
        inner.weight.zero_()
        inner.weight[:, :n] = -1  # a key that is not asked for silences the entry's value
        inner.weight[:, n : 2 * n] = torch.eye(n)
        conv.lin_relation.weight.copy_(torch.eye(n))
        nn.init.zeros_(conv.lin_query.bias)
        nn.init.zeros_(conv.lin_relation.bias)
        for graph in bundle.graphs:
            out = conv(graph.x, graph.edge_index)[:n]
            assert torch.equal(out, nn.functional.one_hot(graph.y[:n], n).float())


@pytest.mark.parametrize("block", ["pre", "post", "outer", "bare"])
@pytest.mark.parametrize("readout", ["mlp", "halving", "elu"])
def test_networks_for_nodes_and_graphs(block: str, readout: str) -> None:
    batch = torch.tensor([0, 0, 0, 1, 1, 1])
    data = graphs.two_components()
    settings = {"hidden_channels": 8, "num_layers": 2, "block": block, "readout": readout, "norm": "gn"}
    nodes, whole = SIRGCN(6, 3, **settings).eval(), SIRGCN(6, 3, pooling="max", **settings).eval()
    assert nodes(data.x, data.edge_index).shape == (6, 3)
    assert whole(data.x, data.edge_index, batch=batch).shape == (2, 3)
    whole(data.x, data.edge_index, batch=batch).sum().backward()
    assert all(p.grad is not None for p in whole.parameters())


def test_edges_are_dropped_in_training_only() -> None:
    data = graphs.bipartite()
    data.edge_attr = torch.ones(data.num_edges, 2)
    torch.manual_seed(0)
    model = SIRGCN(6, 3, 8, 2, norm="none", edge_dropout=0.5, edge_dim=2, input_dropout=0, dropout=0, feat_dropout=0)
    arguments = (data.x, data.edge_index, data.edge_attr)
    assert not torch.equal(model.train()(*arguments), model(*arguments))
    assert torch.equal(model.eval()(*arguments), model(*arguments))


def test_jumping_knowledge_sums_read_outs_of_all_layers() -> None:
    data = graphs.path()
    model = SIRGCN(
        6, 3, 8, 2, block="post", encoder="none", resid_layers=1, jumping_knowledge=True, readout_layers=2
    ).eval()
    assert [read.lins[0].in_features for read in model.readouts] == [6, 8, 8]
    expected = model(data.x, data.edge_index)
    with torch.no_grad():
        model.readouts[1].lins[-1].bias += 1
    torch.testing.assert_close(model(data.x, data.edge_index), expected + 1)


def test_of_equal_values_the_first_node_gets_the_gradient_of_the_pool() -> None:
    from gnnzoo.models.sir_gcn.model import _max_pool

    x = torch.tensor([[1.0], [2.0], [2.0], [3.0]], requires_grad=True)
    batch = torch.tensor([0, 0, 0, 2])
    out = _max_pool(x, batch)
    assert out.flatten().tolist() == [2.0, 0.0, 3.0]
    assert torch.autograd.grad(out.sum(), x)[0].flatten().tolist() == [0, 1, 0, 1]
    assert _max_pool(torch.tensor([[float("nan")], [1.0]]), None).isnan().all()


def test_graphs_are_pooled_where_they_have_one_label_each() -> None:
    labelled = graphs.graphs()
    assert SIRGCN.infer(labelled) == {"in_channels": 6, "pooling": "mean"}
    assert SIRGCN.infer(labelled[:1])["pooling"] == "mean"
    assert SIRGCN.infer([graphs.path(), graphs.star()]) == {"in_channels": 6}
    assert SIRGCN.infer(graphs.path()) == {"in_channels": 6}
    assert create_model("sir-gcn", labelled, pooling="sum").pooling == "sum"


def test_deep_messages_are_one_module_of_all_layers() -> None:
    model = SIRGCN(6, 3, 8, 2, block="bare", act="relu", deep_message=True)
    assert model.convs[0].act is model.convs[1].act
    assert isinstance(model.convs[0].act[1], nn.Linear)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "none"}, "encoder=none"),
        ({"encoder": "none", "block": "post"}, "resid_layers=1"),
        ({"jumping_knowledge": True}, "jumping_knowledge=true needs block=post"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SIRGCN(6, 3, 8, **settings)


def test_unknown_words() -> None:
    with pytest.raises(ConfigError, match="aggr='median'"):
        SIRConv(5, 4, aggr="median")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="act='relu6'"):
        SIRConv(5, 4, act="relu6")
    with pytest.raises(ConfigError, match="choose from heterophilous"):
        load_reference("sir-gcn", {"model": "other SIRModel"}, {})

"""LCM: what its equations imply, and that a set gets what it gets alone."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import GATConv, GCNConv, GINConv, GraphConv, NNConv, SAGEConv
from torch_geometric.nn import LCMAggregation as PyG

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models.build import create_model, load_reference
from gnnzoo.models.lcm import LCM, LCMAggregation, Trees, _Merge
from gnnzoo.testing import graphs

SIZES = range(1, 34)


def build(in_channels: int = 5, out_channels: int = 6, **settings: object) -> LCMAggregation:
    torch.manual_seed(1)
    return LCMAggregation(in_channels, out_channels, **settings).double().eval()  # type: ignore[arg-type]


def sets(*sizes: int, channels: int = 5) -> tuple[Tensor, Tensor]:
    """Return members and the set that each is of."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(sum(sizes), channels, generator=generator, dtype=torch.float64)
    return x, torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def recursive(module: LCMAggregation, members: list[Tensor]) -> Tensor:
    """The definition: merge neighbors in the list, carry an odd last one, until one is left."""
    while len(members) > 1:
        merged = [module.operator(a, b) for a, b in zip(members[::2], members[1::2], strict=False)]
        members = merged + members[len(merged) * 2 :]
    return members[0]


@pytest.mark.parametrize("rows", [1, 2, 7, 33, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 6, 33])
def test_operator_is_commutative_bit_for_bit(rows: int, channels: int, dtype: torch.dtype) -> None:
    module = build(channels, channels).to(dtype)
    a, b = torch.randn(2, rows, channels, dtype=dtype).relu()
    assert torch.equal(module.operator(a, b), module.operator(b, a))


def test_operator_is_the_mean_of_both_orders_of_the_cell() -> None:
    module = build(6)
    a, b = torch.randn(2, 4, 6, dtype=torch.float64)
    w, u = module.gru_cell.weight_ih.chunk(3), module.gru_cell.weight_hh.chunk(3)
    v, t = module.gru_cell.bias_ih.chunk(3), module.gru_cell.bias_hh.chunk(3)

    def gru(i: Tensor, h: Tensor) -> Tensor:
        reset = torch.sigmoid(i @ w[0].T + v[0] + h @ u[0].T + t[0])
        update = torch.sigmoid(i @ w[1].T + v[1] + h @ u[1].T + t[1])
        new = torch.tanh(i @ w[2].T + v[2] + reset * (h @ u[2].T + t[2]))
        return (1 - update) * new + update * h

    torch.testing.assert_close(module.operator(a, b), (gru(a, b) + gru(b, a)) / 2, rtol=1e-12, atol=1e-12)


def test_one_two_and_three_members() -> None:
    module = build()
    x, index = sets(1, 2, 3)
    out, h = module(x, index), module.project(x)
    torch.testing.assert_close(out[0], torch.relu(x[0] @ module.lin.weight.T + module.lin.bias))
    torch.testing.assert_close(out[1], module.operator(h[1], h[2]))
    torch.testing.assert_close(out[2], module.operator(module.operator(h[3], h[4]), h[5]))


def test_the_first_two_may_be_swapped_and_no_others() -> None:
    module = build()
    x, index = sets(3)
    out = module(x, index)
    assert torch.equal(module(x[[1, 0, 2]], index), out)
    assert not torch.allclose(module(x[[0, 2, 1]], index), out)


def test_halves_of_a_power_of_two_may_be_swapped() -> None:
    module = build()
    x, index = sets(8)
    torch.testing.assert_close(module(x[[4, 5, 6, 7, 0, 1, 2, 3]], index), module(x, index))


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_recursive_definition(size: int) -> None:
    module = build()
    x, index = sets(size)
    expected = recursive(module, list(module.project(x)))
    torch.testing.assert_close(module(x, index)[0], expected, rtol=1e-12, atol=1e-12)


def test_an_associative_operator_gives_the_exact_sum_and_maximum() -> None:
    values = torch.arange(sum(SIZES), dtype=torch.float64).unsqueeze(1) * 3 % 101
    parts = values.split(list(SIZES))
    trees, empty = Trees(torch.tensor(SIZES)), torch.zeros(1, dtype=torch.float64)
    found = trees.reduce(values, None, empty, lambda table, pairs: table[pairs].sum(0))
    assert torch.equal(found, torch.stack([p.sum(0) for p in parts]))
    found = trees.reduce(values, None, empty, lambda table, pairs: table[pairs].amax(0))
    assert torch.equal(found, torch.stack([p.amax(0) for p in parts]))
    rows = torch.arange(len(values)) % 100
    found = trees.reduce(values[:100], rows, empty, lambda table, pairs: table[pairs].sum(0))
    assert torch.equal(found, torch.stack([p.sum(0) for p in values[rows].split(list(SIZES))]))


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (0, 1, 1), (2,), (5, 0, 8, 1), (16,), (17, 3), (1000, 1)])
def test_depth_is_logarithmic_and_work_linear(sizes: tuple[int, ...]) -> None:
    calls: list[int] = []

    def merge(table: Tensor, pairs: Tensor) -> Tensor:
        calls.append(pairs.size(1))
        return table[pairs].sum(0)

    trees = Trees(torch.tensor(sizes, dtype=torch.int64))
    out = trees.reduce(torch.ones(sum(sizes), 1), None, torch.zeros(1), merge)
    assert out.flatten().tolist() == list(sizes)
    assert len(calls) == trees.depth == math.ceil(math.log2(max(*sizes, 1, 1)))
    assert sum(calls) == sum(size - 1 for size in sizes if size)


def test_pairs_are_merged_once_per_level(monkeypatch: pytest.MonkeyPatch) -> None:
    module, calls = build(), []
    merge = module.merge
    monkeypatch.setattr(module, "merge", lambda table, pairs: calls.append(pairs.size(1)) or merge(table, pairs))
    module(*sets(3, 9, 1))
    assert calls == [1 + 4, 1 + 2, 1, 1]


@pytest.mark.parametrize("block", [1, 12 * 6 * 40, 2**18])
@pytest.mark.parametrize("rows", [10, 300])
def test_blocks_give_what_pytorchs_cell_gives(block: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Merge, "BLOCK", block)
    module = build(6)
    table = torch.randn(rows, 6, dtype=torch.float64, requires_grad=True)
    pairs = torch.randint(rows, (2, 100))  # products are made for the table of 10, and for the members of 300
    ours, theirs = module.merge(table, pairs), module._merge_by_cell(table, pairs)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    weight, points = torch.randn_like(ours), [table, *module.gru_cell.parameters()]
    for a, b in zip(*(torch.autograd.grad((o * weight).sum(), points) for o in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_members_that_are_one_row() -> None:
    module = build(6)
    table = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    rows, trees = torch.tensor([3, 1, 3, 0, 0, 2, 1, 3, 3, 2, 1]), Trees(torch.tensor([5, 0, 6]))
    out, expected = module.combine(table, rows, trees), module.combine(table[rows], None, trees)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(out)
    found = [torch.autograd.grad((o * weight).sum(), table)[0] for o in (out, expected)]
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-11)


def test_equal_members_are_merged() -> None:
    module = build(6)
    a = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module.operator, (a, a.detach().clone().requires_grad_()))


def test_other_types_go_through_pytorchs_cell() -> None:
    module = build(6)
    a, b = torch.randn(2, 3, 6)
    expected = module.float().operator(a, b)
    found = module.bfloat16().operator(a.bfloat16(), b.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.05)


def test_other_sets_play_no_part() -> None:
    module = build()
    x, index = sets(3, 5, 2)
    out = module(x, index)
    alone = torch.cat([module(part, torch.zeros(len(part), dtype=torch.int64)) for part in x.split([3, 5, 2])])
    torch.testing.assert_close(out, alone, rtol=1e-12, atol=1e-12)
    larger = module(torch.cat([x, x.repeat(4, 1)]), torch.cat([index, torch.full((40,), 3)]))
    torch.testing.assert_close(larger[:3], out, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(module(x[:8], index[:8]), out[:2], rtol=1e-12, atol=1e-12)
    gradient = torch.autograd.grad(module(x.requires_grad_(), index)[0].sum(), x)[0]
    assert (gradient[:3] != 0).any(1).all()
    assert not gradient[3:].any()


def test_with_zeros_they_do_as_in_pyg() -> None:
    module, theirs = build(padding="zero"), PyG(5, 6).double()
    theirs.load_state_dict(module.state_dict())
    x, index = sets(3, 0, 5, 2)
    torch.testing.assert_close(module(x, index), theirs(x, index), rtol=1e-12, atol=1e-12)
    alone = module(x[:3], index[:3])
    assert not torch.allclose(module(x, index)[:1], alone)
    # a set filled up to 4 with one zero
    torch.testing.assert_close(
        module(x[:3], index[:3], max_num_elements=4), theirs(x[:3], index[:3], max_num_elements=4)
    )
    with pytest.raises(ValueError, match="there is a set of 3"):
        module(x[:3], index[:3], max_num_elements=2)


def test_equal_sizes_need_no_padding() -> None:
    masked, zero = build(), build(padding="zero")
    assert torch.equal(masked(*sets(5, 5, 5)), zero(*sets(5, 5, 5)))


@pytest.mark.parametrize("padding", ["masked", "zero"])
def test_empty_sets(padding: str) -> None:
    module = build(padding=padding)
    x, index = sets(0, 0)
    assert torch.equal(module(x, index, dim_size=2), torch.zeros(2, 6, dtype=torch.float64))
    assert module(x, index, dim_size=0).shape == (0, 6)
    assert module(x[:0], ptr=torch.tensor([0])).shape == (0, 6)


def test_an_empty_set_gives_the_learned_unit() -> None:
    module = build(learn_unit=True)
    nn.init.normal_(module.unit)
    x, index = sets(0, 2, 0)
    out = module(x, index, dim_size=3)
    assert torch.equal(out[0], module.unit)
    assert torch.equal(out[2], module.unit)
    out.sum().backward()
    assert torch.equal(module.unit.grad, torch.full_like(module.unit, 2))
    module.reset_parameters()
    assert not module.unit.any()


def test_every_member_gets_a_gradient() -> None:
    module = build(project=False, in_channels=6)
    x, index = sets(*SIZES, channels=6)
    module(x.requires_grad_(), index).square().sum().backward()
    assert (x.grad != 0).any(1).all()


def test_gradients_are_those_of_differences() -> None:
    module = build(3, 2, learn_unit=True)
    x, index = sets(3, 0, 6, 1, channels=3)
    names, values = zip(*module.named_parameters(), strict=True)

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (x, index))

    assert torch.autograd.gradcheck(call, (x.requires_grad_(), *values))


def test_unsorted_index_keeps_the_order_within_a_set() -> None:
    module = build()
    x, index = sets(3, 4, 2)
    place = torch.tensor([3, 0, 7, 4, 1, 8, 5, 2, 6])
    torch.testing.assert_close(module(x[place], index[place]), module(x, index))


def test_pointer_and_other_dimensions() -> None:
    module = build()
    x, index = sets(3, 0, 4)
    expected = module(x, index)
    torch.testing.assert_close(module(x, ptr=torch.tensor([0, 3, 3, 7])), expected)
    torch.testing.assert_close(module(torch.stack([x, 2 * x]), index)[0], expected)
    torch.testing.assert_close(module(torch.stack([x, 2 * x], dim=1), index, dim=0)[:, 0], expected)
    with pytest.raises(ValueError, match="along the channels"):
        module(x, index, dim=-1)


def test_a_set_beyond_the_last_is_an_error() -> None:
    x, index = sets(3, 4)
    with pytest.raises(ValueError, match="index refers to set 1"):
        build()(x, index, dim_size=1)


def test_impossible_settings() -> None:
    with pytest.raises(ValueError, match="widths must be equal, not 5 and 6"):
        LCMAggregation(5, 6, project=False)
    with pytest.raises(ValueError, match="padding='mask'"):
        LCMAggregation(5, 6, padding="mask")  # type: ignore[arg-type]


def test_shuffling_is_for_training_and_within_sets() -> None:
    module = build(shuffle=True)
    x, index = sets(5, 2)
    expected = build()(x, index)
    assert torch.equal(module(x, index), expected)
    module.train()
    torch.manual_seed(0)
    outs = [module(x, index) for _ in range(20)]
    assert len({float(out[0].detach().sum()) for out in outs}) > 5
    for out in outs:  # two members may come in either order
        torch.testing.assert_close(out[1], expected[1])
    torch.manual_seed(0)
    assert torch.equal(module(x, index), outs[0])


def test_associativity_loss() -> None:
    module = build(6)
    a, b, c = torch.randn(3, 4, 6, dtype=torch.float64)
    left = module.operator(module.operator(a, b), c)
    right = module.operator(a, module.operator(b, c))
    loss = module.associativity_loss(a, b, c)
    torch.testing.assert_close(loss, (left - right).norm(dim=1).square().mean())
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(30):
        optimizer.zero_grad()
        module.associativity_loss(a, b, c).backward()
        optimizer.step()
    assert module.associativity_loss(a, b, c) < 0.2 * loss


CONVS = {
    "SAGEConv": lambda aggr: SAGEConv(4, 3, aggr=aggr),
    "GraphConv": lambda aggr: GraphConv(4, 3, aggr=aggr),
    "GINConv": lambda aggr: GINConv(nn.Linear(4, 3), aggr=aggr),
    "NNConv": lambda aggr: NNConv(4, 4, nn.Linear(2, 16), aggr=aggr),
    "GCNConv": lambda aggr: GCNConv(4, 4, aggr=aggr),
    "GATConv": lambda aggr: GATConv(4, 4, heads=2, aggr=aggr),
}


@pytest.mark.parametrize("name", CONVS)
def test_inside_any_convolution(name: str) -> None:
    torch.manual_seed(3)
    data = graphs.star(5, num_features=4)
    conv = CONVS[name](LCMAggregation(4, 4)).double()
    extra = [torch.randn(data.num_edges, 2, dtype=torch.float64)] if name == "NNConv" else []
    out = conv(data.x.double(), data.edge_index, *extra)
    order = torch.tensor([5, 6, 7, 8, 9, 0, 1, 2, 3, 4])  # which keeps the order of each node's edges
    again = conv(data.x.double(), data.edge_index[:, order], *[e[order] for e in extra])
    torch.testing.assert_close(again, out)
    out.sum().backward()
    for aggregation in conv.modules():
        if isinstance(aggregation, LCMAggregation):
            assert aggregation.gru_cell.weight_hh.grad.abs().sum() > 0


def test_network_layer_is_pygs_convolution() -> None:
    torch.manual_seed(4)
    model = LCM(5, 3, hidden_channels=8, dropout=0.0).double().eval()
    data = graphs.bipartite(num_features=5)
    edge_index = data.edge_index[:, (data.edge_index[1] * 7 + data.edge_index[0]).argsort()]
    x = model.lin_in(data.x.double()).relu()
    for ours in model.convs:
        conv = SAGEConv(8, 8, aggr=LCMAggregation(8, 8)).double()
        names = {name.replace("aggregation.", "aggr_module."): value for name, value in ours.state_dict().items()}
        conv.load_state_dict(names)
        x = x + conv(x, edge_index).relu()
    torch.testing.assert_close(model(data.x.double(), data.edge_index), model.lin_out(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("conv", ["sage", "gin"])
@pytest.mark.parametrize("readout", ["sum", "mean", "max", "lcm"])
def test_readouts_answer_for_each_graph_alone(conv: str, readout: str) -> None:
    torch.manual_seed(5)
    model = create_model("lcm", in_channels=6, out_channels=2, hidden_channels=8, conv=conv, readout=readout)
    model.double().eval()
    batch = Batch.from_data_list(graphs.graphs())
    together = model(batch.x.double(), batch.edge_index, batch.batch)
    alone = [
        model(g.x.double(), g.edge_index, torch.zeros(g.num_nodes, dtype=torch.int64)) for g in batch.to_data_list()
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)
    model.train()
    model(batch.x.double(), batch.edge_index, batch.batch).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_direction_of_edges() -> None:
    model = LCM(6, 2, num_layers=1).eval()
    x, edge_index = torch.randn(3, 6), torch.tensor([[0, 1], [2, 2]])
    before = model(x, edge_index)
    x[1] += 1
    assert torch.equal(model(x, edge_index)[0], before[0])
    assert not torch.equal(model(x, edge_index)[2], before[2])


def test_edges_to_nodes_that_do_not_exist() -> None:
    with pytest.raises(DataError, match="node 3"):
        LCM(6, 2)(torch.randn(3, 6), torch.tensor([[0], [3]]))


def test_nobody_knows_the_authors_names() -> None:
    with pytest.raises(ConfigError, match="no authors' names"):
        load_reference("lcm", {}, {})

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gnnzoo.errors import DataError
from gnnzoo.nn.mamba import BidirectionalMamba, Mamba, reference_settings, undecayed_parameters
from gnnzoo.nn.sequences import reverse_valid, sort_nodes, valid_positions

DOUBLE = torch.float64


def block(**settings):
    torch.manual_seed(0)
    return Mamba(6, **{"state_channels": 3, **settings}).double()


def encoder(**settings):
    torch.manual_seed(0)
    return BidirectionalMamba(6, **{"state_channels": 3, **settings}).double()


def tokens(batch=3, length=7):
    torch.manual_seed(1)
    return torch.randn(batch, length, 6, dtype=DOUBLE, requires_grad=True)


# the block ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize(
    "settings",
    [{}, {"kernel_size": 1}, {"kernel_size": 9}, {"expand": 1, "dt_rank": 3}, {"conv_bias": False, "bias": True}],
    ids=str,
)
def test_sequence_is_its_steps(settings, length):
    model, x = block(**settings), tokens(length=length)
    state, outs = model.initial_state(3), []
    for token in x.unbind(1):
        out, state = model.step(token, state)
        outs.append(out)
    torch.testing.assert_close(torch.stack(outs, dim=1), model(x))
    assert state.conv.shape == (3, model.inner_channels, model.kernel_size)
    assert state.ssm.shape == (3, model.inner_channels, 3)


def test_state_is_what_a_sequence_goes_on_from():
    model, x = block(), tokens()
    state = model.initial_state(3)
    for token in x[:, :4].unbind(1):
        _, state = model.step(token, state)
    out, _ = model.step(x[:, 4], state)
    torch.testing.assert_close(out, model(x)[:, 4])


def test_block_reads_backwards_only_and_both_ways_the_encoder():
    x = tokens()
    (grad,) = torch.autograd.grad(block()(x)[:, 3].sum(), x)
    assert grad[:, :4].abs().sum(-1).min() > 0
    assert not grad[:, 4:].any()
    (grad,) = torch.autograd.grad(encoder()(x)[:, 0].sum(), x)
    assert grad.abs().sum(-1).min() > 0


def test_initial_values():
    model = Mamba(64, state_channels=5, dt_rank=8)
    assert Mamba(33).dt_rank == 3
    torch.testing.assert_close(-model.A_log.exp(), -torch.arange(1.0, 6).expand(128, -1))
    assert model.D.eq(1).all()
    step = F.softplus(model.dt_proj.bias.detach().double())
    assert 1e-3 * (1 - 1e-4) <= step.min() < 2e-3
    assert 0.05 < step.max() <= 0.1 * (1 + 1e-4)
    assert float(step.log().mean()) == pytest.approx(math.log(1e-2), abs=0.5)
    assert 0.3 < model.dt_proj.weight.abs().max() <= 8**-0.5
    before = copy.deepcopy(model.state_dict())
    model.reset_parameters()
    drawn = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert drawn == set(before) - {"A_log", "D"}


def test_parameters_are_those_of_mamba_ssm():
    config = {"d_model": 6, "d_state": 3, "d_conv": 2, "expand": 2, "dt_rank": "auto", "conv_bias": True, "bias": False}
    theirs = {
        "A_log": (12, 3),
        "D": (12,),
        "in_proj.weight": (24, 6),
        "conv1d.weight": (12, 1, 2),
        "conv1d.bias": (12,),
        "x_proj.weight": (7, 12),
        "dt_proj.weight": (12, 1),
        "dt_proj.bias": (12,),
        "out_proj.weight": (6, 12),
    }
    weights = {name: torch.randn(shape, dtype=DOUBLE) for name, shape in theirs.items()}
    model = Mamba.load_reference(config, weights)
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert reference_settings(config)["channels"] == 6
    assert "dt_rank" not in reference_settings(config)


def test_undecayed_parameters_are_found_wherever_they_are():
    model = nn.Sequential(encoder(), nn.Linear(6, 6), block())
    found = {id(parameter) for parameter in undecayed_parameters(model)}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in found}
    assert names == {f"{part}.{name}" for part in ("0.fwd", "0.bwd", "2") for name in ("A_log", "D")}


@pytest.mark.parametrize("make", [block, encoder])
def test_half_precision_scans_in_float32(make):
    model, x = make().float(), tokens().float()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x)
    expected, parameters = model(x), list(model.parameters())
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.05)
    grads = torch.autograd.grad(out.float().square().sum(), parameters)
    wanted = torch.autograd.grad(expected.square().sum(), parameters)
    for grad, exact in zip(grads, wanted, strict=True):
        assert grad.dtype == torch.float32
        assert (grad - exact).norm() < 0.05 * exact.norm()


def test_wrong_shapes_are_named():
    with pytest.raises(DataError, match=r"x must be \[batch, length, channels\] with 6 channels, not \[3, 6\]"):
        block()(torch.ones(3, 6, dtype=DOUBLE))
    with pytest.raises(DataError, match=r"with 6 channels, not \[3, 7, 5\]"):
        block()(torch.ones(3, 7, 5, dtype=DOUBLE))
    with pytest.raises(DataError, match=r"x must be \[batch, channels\]"):
        block().step(tokens(), block().initial_state(3))


# padding --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [block, lambda: encoder(residual=False), encoder])
def test_padded_sequences_are_answered_as_if_alone(make):
    model, x, lengths = make(), tokens(4), torch.tensor([7, 3, 0, 1])
    out = model(x, lengths)
    alone = [model(x[b : b + 1, :length]) for b, length in enumerate(lengths.tolist())]
    valid = valid_positions(lengths, 7)
    torch.testing.assert_close(out[valid], torch.cat(alone, dim=1)[0])
    assert not out[~valid].any()
    parameters = list(model.parameters())
    weight = torch.randn_like(out)
    whole = torch.autograd.grad((out * weight).sum(), parameters)
    parts = torch.autograd.grad((torch.cat(alone, dim=1)[0] * weight[valid]).sum(), parameters)
    torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize("make", [block, encoder])
def test_padding_plays_no_part_even_if_it_is_no_number(make):
    model, x, lengths = make(), tokens().detach(), torch.tensor([7, 3, 1])
    spoilt = x.masked_fill(~valid_positions(lengths, 7).unsqueeze(2), float("nan")).requires_grad_()
    out = model(spoilt, lengths)
    torch.testing.assert_close(out, model(x, lengths))
    out.sum().backward()
    assert spoilt.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_full_lengths_change_nothing():
    for model in (block(), encoder()):
        torch.testing.assert_close(model(tokens(), torch.full((3,), 7)), model(tokens()))


def test_reversal_is_its_own_inverse_and_leaves_padding():
    x, lengths = tokens(), torch.tensor([7, 3, 0])
    turned = reverse_valid(x, lengths)
    assert torch.equal(turned[1], torch.cat([x[1, :3].flip(0), x[1, 3:]]))
    assert torch.equal(turned[2], x[2])
    assert torch.equal(reverse_valid(turned, lengths), x)
    assert torch.equal(reverse_valid(x), x.flip(1))


# the encoder ----------------------------------------------------------------------------------------------------------


def test_encoder_is_two_blocks():
    model, x = encoder(residual=False), tokens()
    back = model.bwd(model.norm_b(x.flip(1))).flip(1)
    torch.testing.assert_close(model(x), model.out(model.fwd(model.norm_f(x)) + back))
    torch.testing.assert_close(encoder()(x), x + model(x))


def test_reversed_sequences_swap_the_directions():
    model, x = encoder(), tokens()
    swapped = copy.deepcopy(model)
    swapped.fwd, swapped.bwd = model.bwd, model.fwd
    swapped.norm_f, swapped.norm_b = model.norm_b, model.norm_f
    torch.testing.assert_close(swapped(x.flip(1)).flip(1), model(x))


def test_dropout_is_on_the_output_alone():
    model, x = encoder(dropout=0.5).train(), tokens(40)
    change = (model(x) - x) / (model.eval()(x) - x)
    dropped = change.abs() < 1e-9
    assert 0.4 < dropped.double().mean() < 0.6
    torch.testing.assert_close(change[~dropped], torch.full_like(change[~dropped], 2.0))


# the order of nodes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffled", [False, True])
def test_sequences_of_nodes_are_those_of_the_graphs(shuffled):
    torch.manual_seed(0)
    batch = torch.tensor([0, 0, 0, 2, 2, 3, 3, 3, 3])  # graph 1 has no nodes
    batch = batch[torch.randperm(9)] if shuffled else batch
    key, x = torch.randint(0, 3, (9,)) + torch.rand(9), torch.randn(9, 6, dtype=DOUBLE)
    order = sort_nodes(key, batch, 5)
    assert order.lengths.tolist() == [3, 0, 2, 4, 0]
    packed = order.pack(x)
    assert packed.shape == (5, 4, 6)
    for graph in range(5):
        nodes = torch.nonzero(batch == graph).flatten()
        expected = x[nodes[key[nodes].argsort()]]
        assert torch.equal(packed[graph, : len(nodes)], expected)
        assert not packed[graph, len(nodes) :].any()
    assert torch.equal(order.unpack(packed), x)
    assert torch.equal(order.unpack(packed * 2 + 1), x * 2 + 1)
    model = block()
    out = order.unpack(model(packed, order.lengths))
    for graph in (0, 2, 3):
        nodes = torch.nonzero(batch == graph).flatten()
        alone = sort_nodes(key[nodes])
        torch.testing.assert_close(out[nodes], alone.unpack(model(alone.pack(x[nodes]))))


def test_equal_keys_keep_their_order():
    assert sort_nodes(torch.tensor([1, 0, 1, 0, 1])).perm.tolist() == [1, 3, 0, 2, 4]
    assert sort_nodes(torch.zeros(4), torch.tensor([1, 0, 1, 0])).perm.tolist() == [1, 3, 0, 2]


def test_distinct_keys_make_a_model_equivariant():
    model, key, x = encoder(), torch.randperm(9), torch.randn(9, 6, dtype=DOUBLE)
    relabel = torch.randperm(9)

    def run(key, x):
        order = sort_nodes(key)
        return order.unpack(model(order.pack(x), order.lengths))

    torch.testing.assert_close(run(key[relabel], x[relabel]), run(key, x)[relabel])


@pytest.mark.parametrize("batch", [None, torch.empty(0, dtype=torch.int64)])
def test_no_nodes(batch):
    order = sort_nodes(torch.empty(0), batch, 2)
    packed = order.pack(torch.empty(0, 6, dtype=DOUBLE))
    assert packed.shape == (1 if batch is None else 2, 0, 6)
    assert order.unpack(block()(packed, order.lengths)).shape == (0, 6)


def test_wrong_orders_are_named():
    with pytest.raises(DataError, match=r"one key and one graph for each node, not key \[4\], batch \[3\]"):
        sort_nodes(torch.ones(4), torch.zeros(3, dtype=torch.int64))

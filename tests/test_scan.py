import sys
import types
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from gnnzoo import ops
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.ops import scan, selective_scan
from gnnzoo.ops.accelerators import mamba_scan

METHODS = ["sequential", "parallel", "chunked"]
DOUBLE = torch.float64
NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")


def inputs(batch=2, channels=6, length=9, states=4, B="variable", C="variable", dtype=DOUBLE, seed=0):
    torch.manual_seed(seed)
    forms = {
        "variable": (batch, states, length),
        "constant": (channels, states),
        "groups": (batch, 2, states, length),
        "more groups": (batch, 3, states, length),
    }
    shapes = [(batch, channels, length)] * 2 + [(channels, states), forms[B], forms[C], (channels,)]
    tensors = [torch.randn(shape, dtype=dtype) for shape in [*shapes, (batch, channels, length), (channels,)]]
    tensors[2] = -tensors[2].exp()
    return {name: tensor.requires_grad_() for name, tensor in zip(NAMES, tensors, strict=True)}


def definition(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
    """The recurrence, one point in time, one sequence and one channel after the other."""
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    if delta_softplus:
        delta = F.softplus(delta)

    def at(t, b, d, time):
        if t.dim() == 2:
            return t[d]
        return t[b, :, time] if t.dim() == 3 else t[b, d // (u.size(1) // t.size(1)), :, time]

    rows, last = [], []
    for b in range(u.size(0)):
        for d in range(u.size(1)):
            h, y = torch.zeros_like(A[d]), []
            for t in range(u.size(2)):
                h = torch.exp(delta[b, d, t] * A[d]) * h + delta[b, d, t] * at(B, b, d, t) * u[b, d, t]
                y.append(at(C, b, d, t) @ h)
            rows.append(torch.stack(y))
            last.append(h)
    out = torch.stack(rows).view_as(u)
    out = out if D is None else out + D[:, None] * u
    out = out if z is None else out * F.silu(z)
    return out, torch.stack(last).view(*u.shape[:2], -1)


def weighted(found, seed=1):
    torch.manual_seed(seed)
    return sum((part * torch.randn(part.shape, dtype=DOUBLE)).sum() for part in found)


def assert_same(given, delta_softplus, method, tolerance=1e-12):
    expected = definition(**given, delta_softplus=delta_softplus)
    found = selective_scan(**given, delta_softplus=delta_softplus, return_last_state=True, method=method)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    points = list(given.values())
    ours, theirs = (torch.autograd.grad(weighted(out), points) for out in (found, expected))
    for name, a, b in zip(given, ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


# the recurrence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [None, *METHODS])
@pytest.mark.parametrize("blocks", [(1 << 18, 1 << 13), (200, 4), (48, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("length", [1, 2, 9, 21])
def test_scan_is_the_recurrence_with_its_gradients(method, blocks, length, monkeypatch):
    monkeypatch.setattr(scan, "BLOCK", blocks[0])
    monkeypatch.setattr(scan, "STEP", blocks[1])
    assert_same(inputs(length=length, batch=3, channels=2), True, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("B", "C"),
    [
        ("variable", "constant"),
        ("constant", "variable"),
        ("constant", "constant"),
        ("groups", "groups"),
        ("groups", "more groups"),
        ("variable", "groups"),
        ("groups", "constant"),
    ],
)
def test_every_form_of_inputs_and_outputs(method, B, C):
    assert_same(inputs(B=B, C=C, length=5), True, method)


@pytest.mark.parametrize("absent", [(), ("D",), ("z",), ("delta_bias",), ("D", "z", "delta_bias")])
@pytest.mark.parametrize("delta_softplus", [False, True])
def test_optional_inputs(absent, delta_softplus):
    given = inputs(length=5)
    if not delta_softplus:
        given["delta"] = given["delta"].detach().abs().requires_grad_()
    assert_same({name: value for name, value in given.items() if name not in absent}, delta_softplus, None)


@pytest.mark.parametrize("method", METHODS)
def test_gradcheck(method, monkeypatch):
    monkeypatch.setattr(scan, "BLOCK", 20)
    given = inputs(batch=2, channels=2, length=5, states=2)

    def both(*values):
        return selective_scan(*values, delta_softplus=True, return_last_state=True, method=method)

    assert torch.autograd.gradcheck(both, tuple(given.values()))


@pytest.mark.parametrize("seed", range(6))
def test_methods_agree_in_float32(seed):
    torch.manual_seed(seed)
    batch, channels, length, states = (int(torch.randint(1, high, ())) for high in (5, 20, 200, 17))
    given = inputs(batch, channels, length, states, dtype=torch.float32, seed=seed)
    found = [selective_scan(**given, delta_softplus=True, method=method) for method in METHODS]
    for first, second in pairwise(out.detach() for out in found):
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-6 * float(first.abs().max()))


@pytest.mark.parametrize("only", NAMES)
def test_gradients_are_computed_for_what_wants_them(only):
    given = inputs()
    expected = torch.autograd.grad(weighted([selective_scan(**given)]), given[only])
    alone = {name: value.detach().requires_grad_(name == only) for name, value in given.items()}
    found = selective_scan(**alone)
    weighted([found]).backward()
    torch.testing.assert_close(alone[only].grad, expected[0])
    assert [name for name, value in alone.items() if value.grad is not None] == [only]


def test_last_state_alone_sends_gradients_back():
    given = inputs()
    values = [given[name] for name in ("u", "delta", "A", "B")]
    _, last = selective_scan(**given, return_last_state=True)
    _, expected = definition(**given)
    found, wanted = (torch.autograd.grad(state.pow(2).sum(), values) for state in (last, expected))
    torch.testing.assert_close(found, wanted)


def test_layout_of_the_inputs_plays_no_part():
    given = inputs()
    strided = {name: value.detach().movedim(-1, 0).contiguous().movedim(0, -1) for name, value in given.items()}
    torch.testing.assert_close(selective_scan(**strided), selective_scan(**given))


# closed forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_strong_decay_forgets_everything(method, dtype):
    given = {name: value.detach() for name, value in inputs(length=100, dtype=dtype).items()}
    step = given["delta"].abs() + 0.5
    given |= {"delta": step, "A": torch.full_like(given["A"], -2000.0)}
    out = selective_scan(*(given[name].requires_grad_() for name in NAMES[:5]), method=method)
    expected = (step * given["u"]) * (given["B"] * given["C"]).sum(1, keepdim=True)
    torch.testing.assert_close(out, expected)
    out.sum().backward()
    assert all(given[name].grad.isfinite().all() for name in NAMES[:5])
    assert not given["A"].grad.any()


@pytest.mark.parametrize("method", METHODS)
def test_without_time_nothing_enters(method):
    given = inputs() | {"delta": torch.zeros(2, 6, 9, dtype=DOUBLE), "delta_bias": None}
    out, last = selective_scan(**given, return_last_state=True, method=method)
    assert not last.any()
    torch.testing.assert_close(out, given["D"][:, None] * given["u"] * F.silu(given["z"]))


@pytest.mark.parametrize("method", METHODS)
def test_without_decay_it_is_a_cumulative_sum(method):
    u, ones = torch.randn(2, 3, 50, dtype=DOUBLE), torch.ones(2, 1, 50, dtype=DOUBLE)
    out = selective_scan(u, torch.ones_like(u), torch.zeros(3, 1, dtype=DOUBLE), ones, ones, method=method)
    torch.testing.assert_close(out, u.cumsum(2))


@pytest.mark.parametrize("method", METHODS)
def test_no_output_depends_on_what_comes_later(method):
    given = inputs()
    out = selective_scan(**given, method=method)
    for name in ("u", "delta", "B", "C", "z"):
        (grad,) = torch.autograd.grad(out[:, :, 4].sum(), given[name], retain_graph=True)
        assert grad[..., 4].any()
        assert not grad[..., 5:].any()


@pytest.mark.parametrize(("batch", "length"), [(0, 5), (2, 0), (0, 0)])
@pytest.mark.parametrize("form", ["variable", "groups", "constant"])
def test_nothing_to_scan(batch, length, form):
    given = inputs(batch=batch, length=length, B=form, C=form)
    out, last = selective_scan(**given, return_last_state=True)
    (out.sum() + last.sum()).backward()
    assert out.shape == (batch, 6, length)
    assert last.shape == (batch, 6, 4)
    assert not last.any()
    assert all(value.grad is None or not value.grad.any() for value in given.values())


# precision, memory and autograd ---------------------------------------------------------------------------------------


def test_half_precision_is_computed_in_float32():
    given = {name: value.detach().to(torch.bfloat16) for name, value in inputs(length=40).items()}
    wide = {name: value.float() for name, value in given.items()}
    out, last = selective_scan(**given, delta_softplus=True, return_last_state=True)
    expected, expected_last = selective_scan(**wide, delta_softplus=True, return_last_state=True)
    assert (out.dtype, last.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(out, expected.to(torch.bfloat16))
    assert torch.equal(last, expected_last)


@pytest.mark.parametrize("method", METHODS)
def test_autocast_changes_nothing(method):
    given = inputs(dtype=torch.float32)
    out = selective_scan(**given, delta_softplus=True, method=method)
    grads = torch.autograd.grad(out.sum(), list(given.values()))
    with torch.autocast("cpu", torch.bfloat16):
        again = selective_scan(**given, delta_softplus=True, method=method)
        grads_again = torch.autograd.grad(again.sum(), list(given.values()))
    assert torch.equal(out, again)
    assert all(torch.equal(a, b) for a, b in zip(grads, grads_again, strict=True))


def test_states_are_kept_at_borders_only():
    given, kept = inputs(batch=1, channels=64, length=1000, states=16, dtype=torch.float32), {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        selective_scan(**given, delta_softplus=True)
    assert sum(kept.values()) < 64 * 1000 * 16 / 2


def test_second_derivative_is_refused():
    given = inputs()
    (grad,) = torch.autograd.grad(selective_scan(**given).pow(2).sum(), given["u"], create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()


def test_inference_mode():
    given = inputs()
    with torch.inference_mode():
        found = selective_scan(**given)
    torch.testing.assert_close(found, selective_scan(**given).detach())


def test_blocks_are_every_row_and_time_once():
    for length, batch, states in [(2000, 1, 1024), (10, 512, 1024), (1, 3, 5), (7, 2, 1 << 20)]:
        plan = scan._Plan.make(length, batch, states, "cpu", None)
        seen = torch.zeros(batch, length)
        for rows, number, times in plan.blocks():
            assert plan.times[number] == times
            seen[rows, times] += 1
        assert (seen == 1).all()
        assert sorted(map(str, plan.blocks())) == sorted(map(str, plan.blocks(backward=True)))


# errors and the kernel ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("u", (2, 6), r"u must be \[batch, channels, length\]"),
        ("delta", (2, 6, 8), r"delta must be \[2, 6, 9\]"),
        ("A", (5, 4), r"A must be \[6, 4\]"),
        ("A", (6, 0), "at least one channel and one state"),
        ("B", (2, 9, 4), r"B must be \[2, 4, 9\], \[6, 4\] or \[2, groups, 4, 9\]"),
        ("C", (2, 4, 4, 9), "groups that divide 6"),
        ("D", (5,), r"D must be \[6\]"),
        ("z", (2, 9, 6), r"z must be \[2, 6, 9\]"),
        ("delta_bias", (1, 6), r"delta_bias must be \[6\]"),
    ],
)
def test_wrong_shapes_are_named(name, shape, message):
    with pytest.raises(DataError, match=message):
        selective_scan(**inputs() | {name: torch.ones(shape, dtype=DOUBLE)})


def test_methods_that_cannot_be_used_are_named():
    with pytest.raises(ConfigError, match=r"method='fast' of the scan is unknown; choose from: sequential"):
        selective_scan(**inputs(), method="fast")
    with pytest.raises(ConfigError, match="'mamba_ssm' cannot be used: the tensors are on cpu"):
        selective_scan(**inputs(), method="mamba_ssm")


@pytest.fixture
def kernel(monkeypatch):
    """A package that looks like mamba_ssm and takes tensors on CPU; lists its calls."""
    calls = []

    def selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, last=False):
        calls.append(u.dtype)
        given = (u, delta, A, B, C, D, z, delta_bias, delta_softplus)
        return selective_scan(*given, return_last_state=last, method="sequential")

    package, module = types.ModuleType("mamba_ssm"), types.ModuleType("selective_scan_interface")
    package.__version__, module.selective_scan_fn = "2.2.4", selective_scan_fn
    monkeypatch.setitem(sys.modules, "mamba_ssm", package)
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops", types.ModuleType("ops"))
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", module)
    monkeypatch.setattr(scan, "KERNEL_DEVICES", ("cpu",))
    mamba_scan.cache_clear()
    yield calls
    mamba_scan.cache_clear()


def test_kernel_is_used_where_it_can_be(kernel):
    single, double = inputs(dtype=torch.float32), inputs()
    out = selective_scan(**single, delta_softplus=True)
    assert kernel == [torch.float32]
    torch.testing.assert_close(out, selective_scan(**single, delta_softplus=True, method="chunked"))
    selective_scan(**double)
    selective_scan(**single, return_last_state=True)
    assert len(kernel) == 1, "float64, or a gradient of the last states, is not for the kernel"
    with torch.no_grad():
        selective_scan(**single, return_last_state=True)
        half = {name: value.bfloat16() for name, value in single.items()}
        assert selective_scan(**half, method="mamba_ssm").dtype == torch.bfloat16
    assert kernel == [torch.float32] * 3
    with pytest.raises(ConfigError, match="cannot be used: it takes float32"):
        selective_scan(**double, method="mamba_ssm")
    with pytest.raises(ConfigError, match="gives the last states no gradient"):
        selective_scan(**single, return_last_state=True, method="mamba_ssm")
    assert {a.name: a.version for a in ops.accelerators()}["mamba-ssm"] == "2.2.4"


def test_kernel_that_does_not_load_is_not_used(kernel, monkeypatch):
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", None)
    given = inputs(dtype=torch.float32)
    selective_scan(**given)
    assert not kernel
    with pytest.raises(ConfigError, match="not installed or does not load"):
        selective_scan(**given, method="mamba_ssm")

"""The selective scan (S6 of arXiv 2312.00752): a linear recurrence in time whose coefficients come from the input."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, get_args, overload

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.ops.accelerators import mamba_scan

__all__ = ["ScanMethod", "selective_scan"]

ScanMethod = Literal["sequential", "parallel", "chunked", "mamba_ssm"]

KERNEL_DEVICES = ("cuda",)
KERNEL_STATES = 256
"""What mamba_ssm's kernel is made for."""

# Measured on one CPU core with 1 MiB of second-level cache, forward and backward in float32. Blocks of 2^18 to 2^19
# states are fastest; 2^16 and 2^22 take up to twice as long. Steps of 2^14 numbers hide their overhead. Milliseconds
# for L steps of E numbers, step by step / in chunks / by doubling: E 1024: .6/.6/.6 (L 16), 4/2/4 (L 256), 43/29/50
# (L 4096); E 64: 7/2.4/1.7 (L 1024); E 8192: 12/13/20 (L 256).
BLOCK = 1 << 18
STEP = 1 << 14
SHORT = 16
SMALL = 1 << 16
# Elsewhere memory is what limits a block, and the launches of kernels what a step costs; not measured.
BLOCK_ELSEWHERE = 1 << 26


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: Literal[False] = False,
    method: ScanMethod | None = None,
) -> Tensor: ...


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    *,
    return_last_state: Literal[True],
    method: ScanMethod | None = None,
) -> tuple[Tensor, Tensor]: ...


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    method: ScanMethod | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Scan over time, channel by channel, with N states each and :math:`h_{-1} = 0`:

    .. math::
        \Delta_t &\leftarrow \mathrm{softplus}(\Delta_t + b) \\
        h_t &= e^{\Delta_t A} \odot h_{t-1} + \Delta_t u_t B_t \\
        y_t &= (\langle C_t, h_t \rangle + D u_t) \, \mathrm{SiLU}(z_t)

    The states ``[batch, channels, length, N]`` never exist at once: those of a block are computed in the cache, and
    once more for the gradients; only those at the borders of blocks are kept. Differentiable once. Half-precision
    inputs and those under autocast are computed in float32. However strong the decay, nothing overflows.

    Args:
        u: ``[batch, channels, length]``.
        delta: :math:`\Delta`, shaped as ``u``.
        A: ``[channels, N]``, negative.
        B: ``[batch, N, length]`` for all channels, ``[batch, groups, N, length]`` where channels d to d + channels /
            groups share one, or ``[channels, N]`` at all times.
        C: as ``B``.
        D: ``[channels]``, default none.
        z: the gate, shaped as ``u``, default none.
        delta_bias: b, ``[channels]``, default none.
        delta_softplus: whether the softplus is taken.
        return_last_state: whether to return the states behind the last point in time too.
        method: ``sequential``: step by step. ``parallel``: by doubling, in log(length) rounds. ``chunked``: step by
            step in all chunks side by side, then chunk by chunk. ``mamba_ssm``: that package's kernel, which takes
            float32 on a GPU and gives the last states no gradient. Default: the fastest that fits.

    Returns:
        y, of the shape and type of ``u``; with ``return_last_state`` also ``[batch, channels, N]``.

    Raises:
        DataError: the shapes do not fit each other.
        ConfigError: the method is unknown or cannot be used.
    """
    _check_shapes(u, delta, A, B, C, D, z, delta_bias)
    given = (u, delta, A, B, C, D, z, delta_bias)
    dtype = torch.float64 if any(t is not None and t.dtype == torch.float64 for t in given) else torch.float32
    kernel, reason = _kernel(dtype, u.device.type, A.size(1), return_last_state)
    if method not in (None, *get_args(ScanMethod)):
        raise ConfigError(f"method={method!r} of the scan is unknown; choose from: {', '.join(get_args(ScanMethod))}")
    if method == "mamba_ssm" and kernel is None:
        raise ConfigError(f"method='mamba_ssm' cannot be used: {reason}")
    with torch.autocast(u.device.type, enabled=False):
        x, delta, A, B, C = (t.to(dtype) for t in (u, delta, A, B, C))
        D, z, delta_bias = (None if t is None else t.to(dtype) for t in (D, z, delta_bias))
        if kernel is not None and method in (None, "mamba_ssm"):
            y, last = kernel(x, delta, A, B, C, D, z, delta_bias, delta_softplus, True)
        else:
            delta = delta if delta_bias is None else delta + delta_bias.unsqueeze(1)
            y, last = _scan(x, F.softplus(delta) if delta_softplus else delta, A, B, C, method)
            y = y if D is None else torch.addcmul(y, x, D.unsqueeze(1))
            y = y if z is None else y * F.silu(z)
    return (y.to(u.dtype), last) if return_last_state else y.to(u.dtype)


def _kernel(
    dtype: torch.dtype, device: str, states: int, last_state: bool
) -> tuple[Callable[..., tuple[Tensor, Tensor]] | None, str]:
    """Return mamba_ssm's kernel, or None and why it cannot be used."""
    if device not in KERNEL_DEVICES:
        return None, f"the tensors are on {device}, not on a GPU"
    if dtype != torch.float32 or states > KERNEL_STATES:
        return None, f"it takes float32 and up to {KERNEL_STATES} states"
    if last_state and torch.is_grad_enabled():
        return None, "it gives the last states no gradient"
    return mamba_scan(), "mamba_ssm is not installed or does not load (see gnnzoo doctor)"


def _check_shapes(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
) -> None:
    if u.dim() != 3 or A.dim() != 2:
        raise DataError(
            f"u must be [batch, channels, length] and A [channels, N], not {list(u.shape)}, {list(A.shape)}"
        )
    (batch, channels, length), states = u.shape, A.size(1)
    if not channels or not states:
        raise DataError(f"a scan needs at least one channel and one state, not {channels} and {states}")
    like_u, vector = [batch, channels, length], [channels]
    wanted = {"delta": (delta, like_u), "A": (A, [channels, states]), "D": (D, vector), "z": (z, like_u)}
    for name, (tensor, shape) in (wanted | {"delta_bias": (delta_bias, vector)}).items():
        if tensor is not None and list(tensor.shape) != shape:
            raise DataError(f"{name} must be {shape} for u {like_u}, not {list(tensor.shape)}")
    for name, tensor in (("B", B), ("C", C)):
        shape = list(tensor.shape)
        groups = shape[1] if tensor.dim() == 4 else 1
        forms = ([channels, states], [batch, states, length], [batch, groups, states, length])
        if shape not in forms or not groups or channels % groups:
            raise DataError(
                f"{name} must be {forms[1]}, {forms[0]} or [{batch}, groups, {states}, {length}] with groups that "
                f"divide {channels}, not {shape}"
            )


def _scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, method: str | None) -> tuple[Tensor, Tensor]:
    """Return y ``[batch, channels, length]`` and the last states ``[batch, channels, N]`` of the bare recurrence."""
    B, C = (_at_all_times(t, u.size(0), u.size(2)) for t in (B, C))
    groups = math.lcm(B.size(2), C.size(2))
    B, C = (t.unsqueeze(3).expand(-1, -1, -1, groups // t.size(2), -1).flatten(2, 3) for t in (B, C))
    sizes = (groups, u.size(1) // groups)
    u, delta = (t.transpose(1, 2).contiguous().unflatten(2, sizes) for t in (u, delta))
    A = A.t().unflatten(1, sizes).transpose(0, 1).contiguous()
    y, last = _SelectiveScan.apply(*(t.transpose(0, 1) for t in (u, delta, B, C)), A, method)
    return y.flatten(2).permute(1, 2, 0), last.transpose(2, 3).flatten(1, 2)


def _at_all_times(t: Tensor, batch: int, length: int) -> Tensor:
    """Return B or C as ``[batch, length, groups, N]``."""
    if t.dim() == 2:
        return t.expand(batch, length, *t.shape)
    return (t.unsqueeze(1) if t.dim() == 3 else t).permute(0, 3, 1, 2).contiguous()


class _SelectiveScan(torch.autograd.Function):
    """The bare recurrence; u and delta are ``[length, batch, groups, width]``, A is ``[groups, N, width]``.

    B and C are ``[length, batch, groups, N]``. The last axis is that of channels because vectors are long there.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, A: Tensor, method: str | None
    ) -> tuple[Tensor, Tensor]:
        length, batch = u.shape[:2]
        ctx.plan = plan = _Plan.make(length, batch, A.numel(), u.device.type, method)
        y, last = torch.empty_like(u), u.new_zeros(batch, *A.shape)
        borders = max(len(plan.times) - 1, 0) if any(ctx.needs_input_grad) else 0
        starts = u.new_empty(borders, batch, *A.shape)
        work = _Workspace(u)
        for rows, number, times in plan.blocks():
            here, state = (times, rows), last[rows]
            if 0 < number <= borders:
                starts[number - 1, rows] = state
            _, states = work.states(u[here], delta[here], B[here], A, state, plan.method)
            y[here] = (C[here].unsqueeze(3) @ states).squeeze(3)
            state.copy_(states[-1])
        ctx.save_for_backward(u, delta, B, C, A, starts)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad_y.device.type, enabled=False):
            return _gradients(ctx, grad_y, grad_last)


def _gradients(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
    u, delta, B, C, A, starts = ctx.saved_tensors
    plan, needs = ctx.plan, dict(zip(("u", "delta", "B", "C", "A"), ctx.needs_input_grad, strict=False))
    grads = {name: torch.zeros_like(t) for name, t in (("u", u), ("delta", delta), ("B", B), ("C", C), ("A", A))}
    grad_y = grad_y.transpose(0, 1).contiguous().transpose(0, 1)  # what a sum sends back has no strides
    carry, zero = grad_last.clone(), torch.zeros_like(grad_last)
    work = _Workspace(u)
    for rows, number, times in plan.blocks(backward=True):
        here, start = (times, rows), (starts[number - 1] if number else zero)[rows]
        x, step, dy, ahead = u[here], delta[here], grad_y[here], carry[rows]
        decay, states = work.states(x, step, B[here], A, start, plan.method)
        if needs["C"]:
            grads["C"][here] = _dot(states, dy)
        # g_t = dy_t C_t + decay_{t+1} g_{t+1}, the gradient of the states
        grad = work.take(2, states.shape)
        torch.mul(C[here].unsqueeze(4), dy.unsqueeze(3), out=grad)
        grad[-1] += ahead
        _recurrence(decay[1:], grad, plan.method, work, backward=True)
        if needs["B"]:
            grads["B"][here] = _dot(grad, step * x)
        by_input = (B[here].unsqueeze(3) @ grad).squeeze(3)
        grads["u"][here] = by_input * step
        inner = decay[:-1].mul_(grad)
        ahead.copy_(inner[0])
        if needs["delta"] or needs["A"]:  # decay_t g_t h_{t-1}: the gradient of the exponents
            inner[1:] *= states[:-1]
            inner[0] *= start
            torch.addcmul(torch.mul(inner, A, out=grad).sum(3), by_input, x, out=grads["delta"][here])
            grads["A"] += inner.mul_(step.unsqueeze(3)).sum((0, 1))
    return *(grad if needs[name] else None for name, grad in grads.items()), None


def _dot(states: Tensor, x: Tensor) -> Tensor:
    """Return the products over channels of ``[..., N, width]`` and ``[..., width]``."""
    return (x.unsqueeze(3) @ states.transpose(3, 4)).squeeze(3)  # the other order takes five times as long on CPU


class _Plan(NamedTuple):
    """Which sequences and points in time are computed at once, and how."""

    method: str
    rows: list[slice]
    times: list[slice]

    @classmethod
    def make(cls, length: int, batch: int, states: int, device: str, method: str | None) -> _Plan:
        """Cut ``length`` points in time and ``batch`` sequences of ``states`` numbers each into blocks."""
        if not length or not batch:
            return cls("sequential", [], [])
        limit = BLOCK if device == "cpu" else BLOCK_ELSEWHERE
        together = min(batch, max(1, limit // (states * length), STEP // states))
        # however large a state is, no more than the root of the length of them is kept
        span = min(length, max(limit // (states * together), math.isqrt(length)))
        if method is None:
            method = _fastest(min(span, length), together * states, device)
        rows = [slice(i, min(i + together, batch)) for i in range(0, batch, together)]
        return cls(method, rows, [slice(i, min(i + span, length)) for i in range(0, length, span)])

    def blocks(self, backward: bool = False) -> Iterator[tuple[slice, int, slice]]:
        """Yield rows, the number of the piece of time, and this piece, in the order of time or against it."""
        for rows in self.rows:
            for number in range(len(self.times))[:: -1 if backward else 1]:
                yield rows, number, self.times[number]


def _fastest(length: int, size: int, device: str) -> str:
    """Return the fastest way to scan ``length`` steps of ``size`` numbers."""
    if length <= SHORT or (device == "cpu" and size >= STEP // 4):
        return "sequential"
    return "parallel" if device != "cpu" or size * length <= SMALL else "chunked"


class _Workspace:
    """Memory for one block at a time: fresh memory for each would cost more than the arithmetic."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.flat: dict[int, Tensor] = {}

    def take(self, number: int, shape: tuple[int, ...]) -> Tensor:
        """Return memory ``number`` in this shape, with anything in it."""
        size = math.prod(shape)
        if number not in self.flat or self.flat[number].numel() < size:
            self.flat[number] = self.like.new_empty(size)
        return self.flat[number][:size].view(shape)

    def states(
        self, u: Tensor, delta: Tensor, B: Tensor, A: Tensor, start: Tensor, method: str
    ) -> tuple[Tensor, Tensor]:
        """Return decays and states ``[length, batch, groups, N, width]``; the decays have one more place at the end."""
        length, batch = u.shape[:2]
        decay = self.take(0, (length + 1, batch, *A.shape))
        states = self.take(1, (length, batch, *A.shape))
        torch.mul(delta.unsqueeze(3), A, out=decay[:-1]).exp_()
        torch.mul((delta * u).unsqueeze(3), B.unsqueeze(4), out=states)
        states[0].addcmul_(decay[0], start)
        _recurrence(decay[:-1], states, method, self)
        return decay, states


def _recurrence(a: Tensor, x: Tensor, method: str, work: _Workspace, backward: bool = False) -> None:
    """Set :math:`x_t` to :math:`x_t + a_t x_{t-1}` for all t but the first, in place.

    Backward in time the neighbour is :math:`x_{t+1}`, and the last t is the first.
    """
    way = -1 if backward else 1
    if method == "chunked":
        _chunked(a, x, work, way)
    else:
        {"sequential": _sequential, "parallel": _parallel}[method](a, x, way)


def _sequential(a: Tensor, x: Tensor, way: int) -> None:
    xs, links = x.unbind()[::way], a.unbind()[::way]
    for before, link, now in zip(xs, links[1:], xs[1:], strict=False):
        now.addcmul_(link, before)


def _parallel(a: Tensor, x: Tensor, way: int) -> None:
    span, links = 1, a[1:] if way > 0 else a[:-1]  # over ``span`` points in time each
    while span < len(x):
        before, now = (x[:-span], x[span:])[::way]
        now += links * before
        links = links[span:] * links[:-span]
        span *= 2


def _chunked(a: Tensor, x: Tensor, work: _Workspace, way: int) -> None:
    size = max(1, math.isqrt(len(x) // 2))  # 2 size + length / size steps are fewest
    whole = len(x) - len(x) % size
    if way < 0:
        _sequential(a[whole - 1 :], x[whole - 1 :], way)
    chunks, links = (t[:whole].unflatten(0, (-1, size)) for t in (x, a))
    products = work.take(3, links.shape)  # of the links from the border of a chunk on
    inside, into, product = (t.unbind(1)[::way] for t in (chunks, links, products))
    product[0].copy_(into[0])
    for j in range(1, size):
        inside[j].addcmul_(into[j], inside[j - 1])
        torch.mul(into[j], product[j - 1], out=product[j])
    for i in range(1, len(chunks)):
        now, before = (i, i - 1) if way > 0 else (-1 - i, -i)
        chunks[now].addcmul_(products[now], inside[-1][before])
    if way > 0:
        _sequential(a[whole - 1 :], x[whole - 1 :], way)

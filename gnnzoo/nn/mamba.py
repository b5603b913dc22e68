"""The Mamba block and the bidirectional encoder made of two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import reset

from gnnzoo.errors import DataError
from gnnzoo.nn.sequences import reverse_valid, valid_positions
from gnnzoo.ops import dropout, selective_scan
from gnnzoo.ops.causal_conv import causal_conv

__all__ = ["BidirectionalMamba", "Mamba", "MambaState", "reference_settings", "undecayed_parameters"]

_SETTINGS = {
    "d_model": "channels",
    "d_state": "state_channels",
    "d_conv": "kernel_size",
    "expand": "expand",
    "dt_rank": "dt_rank",
    "conv_bias": "conv_bias",
    "bias": "bias",
}


class MambaState(NamedTuple):
    """What a block remembers of a sequence."""

    conv: Tensor
    """``[batch, inner_channels, kernel_size]``: the last inputs of the convolution, newest last."""
    ssm: Tensor
    """``[batch, inner_channels, state_channels]``: the state of the scan."""


class Mamba(nn.Module):
    r"""The selective state space block of arXiv 2312.00752, with mamba_ssm's parameters and their names.

    .. math::
        [x; g] &= X W_{in}, \quad x = \mathrm{SiLU}(\mathrm{conv}(x)), \quad [\delta; B; C] = x W_x \\
        Y &= \mathrm{scan}(x, \mathrm{softplus}(\delta W_\delta + b_\delta), -e^{A_{log}}, B, C, D) \odot
        \mathrm{SiLU}(g) \, W_{out}

    The convolution is depthwise and causal. Neither a norm nor a residual is part of the block.

    Args:
        channels: width of input and output.
        state_channels: N, states of each inner channel.
        kernel_size: width of the convolution; it may exceed the length of a sequence.
        expand: inner channels per channel.
        dt_rank: rank of the map to the step sizes, default ``ceil(channels / 16)``.
        conv_bias: whether the convolution has a bias.
        bias: whether the maps in and out have one.
    """

    def __init__(
        self,
        channels: int,
        state_channels: int = 16,
        kernel_size: int = 4,
        expand: int = 2,
        dt_rank: int | None = None,
        conv_bias: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        inner = expand * channels
        self.channels, self.inner_channels, self.state_channels = channels, inner, state_channels
        self.kernel_size, self.dt_rank = kernel_size, dt_rank or math.ceil(channels / 16)
        self.in_proj = nn.Linear(channels, 2 * inner, bias=bias)
        self.conv1d = nn.Conv1d(inner, inner, kernel_size, groups=inner, bias=conv_bias)
        self.x_proj = nn.Linear(inner, self.dt_rank + 2 * state_channels, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, inner)
        self.A_log = nn.Parameter(torch.empty(inner, state_channels))
        self.D = nn.Parameter(torch.empty(inner))
        self.out_proj = nn.Linear(inner, channels, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Draw all parameters anew: :math:`A = -(1, ..., N)`, D = 1, step sizes between 0.001 and 0.1."""
        for module in (self.in_proj, self.conv1d, self.x_proj, self.out_proj):
            module.reset_parameters()
        with torch.no_grad():
            self.A_log.copy_(torch.arange(1, self.state_channels + 1).log().expand_as(self.A_log))
            self.D.fill_(1)
            self.dt_proj.weight.uniform_(-(self.dt_rank**-0.5), self.dt_rank**-0.5)
            low, high = math.log(1e-3), math.log(1e-1)
            step = torch.empty_like(self.dt_proj.bias).uniform_(low, high).exp_().clamp_(min=1e-4)
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))  # softplus of it is the step

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return ``[batch, length, channels]``; what stands at a position depends on no later one.

        Args:
            x: ``[batch, length, channels]``.
            lengths: ``[batch]``, how many positions of each sequence are valid. What lies behind them plays no part,
                and the output is 0 there.
        """
        self._check(x, 3)
        if x.numel() == 0:
            return x
        padding = None if lengths is None else ~valid_positions(lengths, x.size(1)).unsqueeze(2)
        x = x if padding is None else x.masked_fill(padding, 0)
        h, gate = self.in_proj(x).chunk(2, dim=-1)
        h = F.silu(self._convolve(h))
        delta, B, C = self._coefficients(h)
        y = selective_scan(
            h.transpose(1, 2),
            delta.transpose(1, 2),
            -self.A_log.exp(),
            B.transpose(1, 2),
            C.transpose(1, 2),
            self.D,
            gate.transpose(1, 2),
            self.dt_proj.bias,
            delta_softplus=True,
        )
        out = self.out_proj(y.transpose(1, 2))
        return out if padding is None else out.masked_fill(padding, 0)

    def _convolve(self, h: Tensor) -> Tensor:
        """Return the causal depthwise convolution of ``[batch, length, inner_channels]``."""
        return causal_conv(h, self.conv1d.weight, self.conv1d.bias)

    def _coefficients(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return step sizes (before bias and softplus), B and C of ``[..., inner_channels]``."""
        sizes = [self.dt_rank, self.state_channels, self.state_channels]
        delta, B, C = self.x_proj(h).split(sizes, dim=-1)
        return F.linear(delta, self.dt_proj.weight), B, C

    def _check(self, x: Tensor, dim: int) -> None:
        if x.dim() != dim or x.size(-1) != self.channels:
            form = "[batch, length, channels]" if dim == 3 else "[batch, channels]"
            raise DataError(f"x must be {form} with {self.channels} channels, not {list(x.shape)}")

    def initial_state(self, batch_size: int) -> MambaState:
        """Return the state before the first position."""
        like = self.A_log
        return MambaState(
            like.new_zeros(batch_size, self.inner_channels, self.kernel_size), like.new_zeros(batch_size, *like.shape)
        )

    def step(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Return the output at one position ``[batch, channels]`` and the state behind it.

        Args:
            x: ``[batch, channels]``, the input at this position.
            state: the state behind the position before.
        """
        self._check(x, 2)
        h, gate = self.in_proj(x).chunk(2, dim=-1)
        conv = torch.cat([state.conv[:, :, 1:], h.unsqueeze(2)], dim=2)
        h = (conv * self.conv1d.weight.squeeze(1)).sum(2)
        h = F.silu(h if self.conv1d.bias is None else h + self.conv1d.bias)
        delta, B, C = self._coefficients(h)
        delta = F.softplus(delta + self.dt_proj.bias).unsqueeze(2)
        ssm = torch.exp(delta * -self.A_log.exp()) * state.ssm + delta * h.unsqueeze(2) * B.unsqueeze(1)
        y = (ssm @ C.unsqueeze(2)).squeeze(2) + self.D * h
        return self.out_proj(y * F.silu(gate)), MambaState(conv, ssm)

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> Mamba:
        """Return the block with the weights of mamba_ssm's, whose settings are ``config`` (``d_model``, ...)."""
        model = cls(**reference_settings(config))
        model.to(next(iter(state_dict.values())).dtype).load_state_dict(state_dict)
        return model

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.channels}, state_channels={self.state_channels})"


class BidirectionalMamba(nn.Module):
    r"""Two blocks, one for each direction (arXiv 2402.08678, Algorithm 2).

    .. math::
        Y = \Phi + \mathrm{Drop}([\mathrm{Mamba}_f(\mathrm{LN}_f(\Phi)) +
        \overline{\mathrm{Mamba}_b(\mathrm{LN}_b(\overline{\Phi}))}] W + b)

    with sequences reversed under the bars. The paper states neither how many norms there are, nor the residual and the
    dropout: those are ours.

    Args:
        channels, state_channels, kernel_size, expand, dt_rank, conv_bias, bias: of both blocks, as of :class:`Mamba`.
        dropout: on the output.
        residual: whether the input is added to the output.
    """

    def __init__(
        self,
        channels: int,
        state_channels: int = 16,
        kernel_size: int = 4,
        expand: int = 2,
        dt_rank: int | None = None,
        conv_bias: bool = True,
        bias: bool = False,
        dropout: float = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.dropout, self.residual = dropout, residual
        block = (channels, state_channels, kernel_size, expand, dt_rank, conv_bias, bias)
        self.norm_f, self.norm_b = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.fwd, self.bwd = Mamba(*block), Mamba(*block)
        self.out = nn.Linear(channels, channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in self.children():
            reset(module)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return ``[batch, length, channels]``.

        Args:
            x: ``[batch, length, channels]``.
            lengths: ``[batch]``, how many positions of each sequence are valid: each is answered as if it stood alone,
                with 0 behind its end.
        """
        padding = None if lengths is None else ~valid_positions(lengths, x.size(1)).unsqueeze(2)
        x = x if padding is None else x.masked_fill(padding, 0)
        y = self.fwd(self.norm_f(x), lengths)
        back = self.bwd(self.norm_b(reverse_valid(x, lengths)), lengths)
        out = self.out(y + reverse_valid(back, lengths))
        out = out if padding is None else out.masked_fill(padding, 0)
        out = dropout(out, self.dropout, self.training)
        return x + out if self.residual else out

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fwd.channels}, state_channels={self.fwd.state_channels})"

    @classmethod
    def load_reference(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> BidirectionalMamba:
        """Return the encoder, without dropout and residual, with weights ``norm_f, fwd, norm_b, bwd, out``."""
        model = cls(**reference_settings(config), residual=False)
        model.to(next(iter(state_dict.values())).dtype).load_state_dict(state_dict)
        return model


def reference_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return mamba_ssm's settings as arguments of :class:`Mamba`; ``dt_rank: auto`` is our default."""
    settings = {ours: config[theirs] for theirs, ours in _SETTINGS.items() if theirs in config}
    return {name: value for name, value in settings.items() if value != "auto"}


def undecayed_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return ``A_log`` and ``D`` of every block inside a module: mamba_ssm trains them without weight decay."""
    return [p for m in module.modules() if isinstance(m, Mamba) for p in (m.A_log, m.D)]

"""Optimisers and learning-rate schedules, from ``train.*``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from gnnzoo.runner.config import TrainConfig

__all__ = ["Lamb", "Schedule", "build_optimizer"]


class Lamb(torch.optim.Optimizer):
    r"""LAMB, arXiv 1904.00962, algorithm 2, with bias correction.

    .. math:: w \leftarrow w - \eta \frac{\|w\|}{\|u\|} u, \quad
        u = \frac{\hat m}{\sqrt{\hat v} + \epsilon} + \lambda w

    The trust ratio is 1 where either norm is 0. Weight decay and ratio apply to every parameter, biases too.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decay of the two moments.
        eps: added to the root of the second moment, after its bias correction.
        weight_decay: :math:`\lambda`, inside the update.
        max_grad_norm: gradients are scaled down to this norm over all parameters; None: not at all.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        max_grad_norm: float | None = 1.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.max_grad_norm = max_grad_norm

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        if closure is not None:
            raise ValueError("Lamb takes no closure")
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_([p for g in self.param_groups for p in g["params"]], self.max_grad_norm)
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
                state["step"] += 1
                m = state["exp_avg"].mul_(beta1).add_(p.grad, alpha=1 - beta1)
                v = state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                m_hat = m / (1 - beta1 ** state["step"])
                v_hat = v / (1 - beta2 ** state["step"])
                update = (m_hat / (v_hat.sqrt() + group["eps"])).add_(p, alpha=group["weight_decay"])
                w_norm, u_norm = p.norm(), update.norm()
                ratio = torch.where((w_norm > 0) & (u_norm > 0), w_norm / u_norm, torch.ones_like(w_norm))
                p.sub_(group["lr"] * ratio * update)


def build_optimizer(model: nn.Module, extra: Iterable[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser over the model's tagged groups, its other parameters and a strategy's own.

    Args:
        model: may have ``parameter_groups() -> {tag: [parameters]}``; ``config.groups`` sets their lr and weight decay.
        extra: trainable parameters of the strategy.
        config: the run's ``train`` section.
    """
    tagged: dict[str, list[nn.Parameter]] = getattr(model, "parameter_groups", dict)()
    taken = {id(p) for group in tagged.values() for p in group}
    rest = [p for p in [*model.parameters(), *extra] if id(p) not in taken]
    groups: list[dict[str, Any]] = [{"params": rest}]
    for tag, members in tagged.items():
        setting = (config.groups or {}).get(tag)
        overrides = setting.model_dump(exclude_none=True) if setting else {}
        groups.append({"params": list(members), **overrides})
    groups = [g for g in groups if g["params"]]
    settings: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.eps is not None:
        settings["eps"] = config.eps
    if config.optimizer == "lamb":
        return Lamb(groups, **settings)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    # fused: on small graphs the loop over parameters takes a tenth of an epoch, the fused kernel a fifth of that
    return kind(groups, fused=True, **settings)


class Schedule:
    """Warm-up followed by a schedule, stepped once per epoch; its state is plain values.

    Args:
        optimizer: whose learning rates change.
        config: the run's ``train`` section.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainConfig) -> None:
        self.monitor = config.schedule_monitor or "val_loss"
        self.warmup = config.warmup_epochs or 0
        self._epoch = 0
        self._warmup: lr_scheduler.LRScheduler | None = None
        self._main: lr_scheduler.LRScheduler | None = None
        factor = config.schedule_factor or 0.5
        if config.schedule == "step":
            self._main = lr_scheduler.StepLR(optimizer, config.schedule_epochs or 1, factor)
        elif config.schedule == "cosine":
            self._main = lr_scheduler.CosineAnnealingLR(optimizer, max(config.epochs - self.warmup, 1))
        elif config.schedule == "plateau":
            self._main = lr_scheduler.ReduceLROnPlateau(optimizer, factor=factor, patience=config.schedule_epochs or 10)
        if self.warmup:
            self._warmup = lr_scheduler.LinearLR(optimizer, 1 / (self.warmup + 1), total_iters=self.warmup)

    def step(self, train_loss: float, val_loss: float | None) -> None:
        """Go on by one epoch; ``val_loss`` is None where the epoch was not evaluated."""
        self._epoch += 1
        if self._warmup is not None and self._epoch <= self.warmup:
            self._warmup.step()
        elif isinstance(self._main, lr_scheduler.ReduceLROnPlateau):
            value = train_loss if self.monitor == "train_loss" else val_loss
            if value is not None:
                self._main.step(value)
        elif self._main is not None:
            self._main.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        parts = {"warmup": self._warmup, "main": self._main}
        return {"epoch": self._epoch, **{k: v.state_dict() for k, v in parts.items() if v is not None}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""
        self._epoch = state["epoch"]
        for key, part in (("warmup", self._warmup), ("main", self._main)):
            if part is not None:
                part.load_state_dict(state[key])

"""Replay of the authors' code of Neural Sheaf Diffusion: its continuous models alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gnnzoo.testing.golden import sheaf

__all__ = ["replay"]


def replay(kind: str, case: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return outputs and gradients of a case, under the authors' names."""
    name = str(case["config"].get("model", ""))
    if "ode" not in name.lower() and name != "GraphLaplacianDiffusion":
        raise NotImplementedError(f"kind {kind} of model {name or 'none'} is the discrete models': check sheaf")
    return sheaf.replay(kind, case)

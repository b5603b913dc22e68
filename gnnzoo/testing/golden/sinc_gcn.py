"""Replay of the authors' code of SINC-GCN."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gnnzoo.models.sinc_gcn import SINCGCN, SINCConv
from gnnzoo.testing.golden.sir_gcn import network_outputs, outputs_and_gradients

__all__ = ["replay"]


def replay(kind: str, case: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return outputs and gradients of a case, under the authors' names."""
    if kind == "conv":
        if case["config"]["cls"] != "SINCConv":
            raise ValueError(f"unknown layer {case['config']['cls']!r}")
        conv = SINCConv.load_reference(case["config"], case["state_dict"]).train(case["mode"] == "train")
        return outputs_and_gradients(conv, {"x": case["inputs"]["x"]}, case)
    if kind in ("node_model", "graph_model", "synthetic_model"):
        return network_outputs(SINCGCN, case)
    raise ValueError(f"unknown kind {kind!r}")

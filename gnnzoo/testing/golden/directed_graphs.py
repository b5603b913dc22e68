"""Replay of the authors' code of Dir-GNN; the other models for directed graphs in its file are not in this version."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gnnzoo.models.dir_gnn import DirGNN
from gnnzoo.testing.golden import named_gradients

__all__ = ["replay"]

_ELSEWHERE = {
    "magnet": "MagNet",
    "digcn": "DiGCN",
    "digcn_adjacency": "DiGCN",
    "digcn_inception": "DiGCN",
    "dimpa": "DIMPA",
}


def replay(kind: str, case: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return outputs and gradients of a case, under the authors' names."""
    if kind in _ELSEWHERE:
        raise NotImplementedError(f"{_ELSEWHERE[kind]} ({kind})")
    if kind != "dir_gnn":
        raise ValueError(f"unknown kind {kind!r}")
    model = DirGNN.load_reference(case["config"], case["state_dict"])
    model.train(case["mode"] == "train")
    x = case["inputs"]["x"].requires_grad_()
    out = model(x, case["inputs"]["edge_index"]).log_softmax(dim=-1)
    loss = (out.exp() * case["inputs"]["loss_weight"]).sum()
    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    gradients = named_gradients(loss, trained, {"x": x})
    if "alpha" in gradients:
        gradients["alpha"] = gradients["alpha"].reshape(1)
    return {"out": out}, gradients

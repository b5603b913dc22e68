"""Replay of the authors' code of DAGNN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gnnzoo.models.dagnn import DAGNN
from gnnzoo.testing.golden import named_gradients

__all__ = ["replay"]

_THEIRS = {"gate": "prop.proj", "norm.module": "bn"}


def replay(kind: str, case: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return outputs and gradients of a case, under the authors' names."""
    model = DAGNN.load_reference(case["config"], case["state_dict"])
    model.train(case["mode"] == "train")
    if kind == "model":
        return _model(model, case)
    if kind == "training_trace":
        return _training_trace(model, case), {}
    raise ValueError(f"unknown kind {kind!r}")


def _model(model: DAGNN, case: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    x = case["inputs"]["x"].requires_grad_()
    log_probs = model(x, case["inputs"]["edge_index"]).log_softmax(dim=-1)
    loss = (log_probs * case["inputs"]["loss_weight"]).sum()
    named = ((_their_name(name), p) for name, p in model.named_parameters())
    return {"log_probs": log_probs}, named_gradients(loss, named, {"x": x})


def _training_trace(model: DAGNN, case: dict[str, Any]) -> dict[str, Tensor]:
    config, inputs = case["config"], case["inputs"]
    optimizer = getattr(torch.optim, config["optimizer"])(
        model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"]
    )
    mask, losses = inputs["train_mask"], []
    for _ in range(config["steps"]):
        optimizer.zero_grad()
        logits = model(inputs["x"], inputs["edge_index"])
        loss = torch.nn.functional.cross_entropy(logits[mask], inputs["y"][mask])
        loss.backward()
        losses.append(loss.detach())
        optimizer.step()
    final = {f"final:{_their_name(name)}": p.detach() for name, p in model.named_parameters()}
    return {"losses": torch.stack(losses), **final}


def _their_name(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{_THEIRS.get(module, module)}.{parameter}"

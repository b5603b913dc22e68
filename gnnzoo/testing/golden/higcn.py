"""Replay of the authors' code of HiGCN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gnnzoo.models.higcn import HiGCN, reference_names
from gnnzoo.testing.golden import named_gradients
from gnnzoo.transforms.petals import flower_petals

__all__ = ["replay"]

Tensors = dict[str, Tensor]


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case, under the authors' names."""
    kinds = {"model": _model, "laplacian": _laplacian}
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kinds[kind](case)


def _model(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    model = HiGCN.load_reference(config, case["state_dict"]).train(case["mode"] == "train")
    x = inputs["x"].requires_grad_()
    out = model(x, inputs["edge_index"], *_petals(inputs["HL"]), inputs.get("batch"))
    if config["variant"] == "node":
        outputs = {"log_probs": out.log_softmax(dim=-1)}
        loss = outputs["nll_loss"] = F.nll_loss(outputs["log_probs"], inputs["y"])
    elif config["variant"] == "imputation":
        outputs = {"pred": out}
        loss = outputs["l1_loss"] = F.l1_loss(out, inputs["y"])
    else:
        outputs = {"logits": out}
        loss = outputs["ce_loss"] = F.cross_entropy(out, inputs["y"])
    grads = {}
    for name, grad in named_gradients(loss, model.named_parameters(), {"x": x}).items():
        if name == "input:x":
            grads[name] = grad
            continue
        theirs = reference_names(name, config["variant"], model.order)
        for part, value in zip(theirs, grad.unflatten(0, (len(theirs), -1)), strict=True):
            grads[part] = value.reshape(case["state_dict"][part].shape)
    return outputs, grads


def _petals(operators: dict[str, dict[str, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the stored operators in the form in which the model takes them."""
    index = [torch.stack([operator["row"], operator["col"]]) for operator in operators.values()]
    order = [torch.full_like(operator["row"], int(p)) for p, operator in operators.items()]
    return torch.cat(index, dim=1), torch.cat(order), torch.cat([o["value"] for o in operators.values()])


def _laplacian(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    index, order, weight = flower_petals(
        inputs["edge_index"],
        inputs["num_nodes"],
        config["max_order"],
        config["petal_type"],
        getattr(torch, case["dtype"]),
    )
    outputs = {}
    for p in range(1, config["max_order"] + 1):
        outputs[f"HL_{p}_index"] = index[:, order == p]
        outputs[f"HL_{p}_value"] = weight[order == p]
    return outputs, {}

"""Replay of the authors' code of RpHGNN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gnnzoo.models.rphgnn import RpHGNN, reference_name
from gnnzoo.strategies.consistency import agreement
from gnnzoo.testing.golden import named_gradients
from gnnzoo.transforms.projection import label_groups, propagate_then_update, relations, unpack

__all__ = ["replay"]


def replay(kind: str, case: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return outputs and gradients of a case, under the authors' names."""
    kinds = {"model": _model, "label_groups": _label_groups, "consistency_loss": _consistency_loss}
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kinds[kind](case)


def _model(case: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, inputs, dtype = case["config"], case["inputs"], getattr(torch, case["dtype"])
    _only(config, inner_k=2, norm="mean", squash_self=False)
    kernels = dict(zip(inputs["kernel_names"], inputs["kernels"], strict=True))
    x, layout = propagate_then_update(
        {kind: value.to(dtype) for kind, value in inputs["feats"].items()},
        relations(_edges(inputs), config["num_nodes"], dtype),
        config["target"],
        lambda name, _: kernels[name].to(dtype),
        config["k"],
        config["even_odd"],
        config["use_input"],
        config["squash_strategy"],
        config["target_feat_random_project_size"],
        config["add_self_group"],
    )
    outputs: dict[str, Any] = {"group_keys": list(layout), "group_tensors": list(unpack(x, layout).values())}
    model = _encoder(case)
    outputs["logits"] = logits = model({config["target"]: x})
    if config["multi_label"]:
        loss = F.binary_cross_entropy_with_logits(logits, inputs["y"].to(dtype))
    else:
        loss = F.cross_entropy(logits, inputs["y"])
    return outputs | {"loss": loss}, _gradients(case, model, loss)


def _label_groups(case: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, inputs = case["config"], case["inputs"]
    _only(config, k=1, inner_k=2, norm="mean")
    found = relations(_edges(inputs), config["num_nodes"], torch.float64)
    groups = label_groups(inputs["label_feat"], found, config["target"], config["num_nodes"])
    return {"group_keys": list(groups), "group_tensors": list(groups.values())}, {}


def _consistency_loss(case: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, inputs, dtype = case["config"], case["inputs"], getattr(torch, case["dtype"])
    _only(config, dropout=0.0)
    model = _encoder(case)
    logits = model({"target": torch.cat([group.to(dtype).flatten(1) for group in inputs["group_tensors"]], dim=1)})
    views, train = [logits] * config["num_views"], inputs["train_mask"]  # without dropout they are all alike
    supervised = torch.stack([F.cross_entropy(view[train], inputs["y"][train]) for view in views]).sum()
    loss = supervised + config["cl_rate"] * agreement(views)
    return {"logits": logits, "loss": loss}, _gradients(case, model, loss)


def _only(config: dict[str, Any], **values: Any) -> None:
    """Refuse settings that no published run has and that the model does not offer."""
    for key, value in values.items():
        if config.get(key, value) != value:
            raise NotImplementedError(f"{key}={config[key]!r}: only {value!r} is here")


def _edges(inputs: dict[str, Any]) -> dict[tuple[str, str, str], Tensor]:
    return {tuple(name.split("|")): index for name, index in inputs["edges_raw"].items()}


def _encoder(case: dict[str, Any]) -> RpHGNN:
    config = {"input_drop_rate": 0.0, "drop_rate": 0.0} | case["config"]
    return RpHGNN.load_reference(config, case["state_dict"]).train(case["mode"] == "train")


def _gradients(case: dict[str, Any], model: RpHGNN, loss: Tensor) -> dict[str, Tensor]:
    layers = len(case["config"]["global_channels"])
    parameters = dict(model.named_parameters())
    theirs = {name: parameters[reference_name(name, layers)] for name in case["state_dict"]}
    grads = named_gradients(loss, theirs.items())
    return {name: grad.view_as(case["state_dict"][name]) for name, grad in grads.items()}

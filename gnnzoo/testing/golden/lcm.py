"""Replay of PyG's learnable commutative aggregation, and of our own evaluation of its equations with masking."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.nn import SAGEConv

from gnnzoo.models.lcm import LCMAggregation
from gnnzoo.testing.golden import named_gradients

__all__ = ["replay"]

Tensors = dict[str, Tensor]


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case; the names are ours already."""
    kinds = {"aggregation": _aggregation, "operator": _operator, "conv": _conv}
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kinds[kind](case)


def _aggregation(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    module = _load(_aggregator(config), case)
    x = inputs["x"].requires_grad_()
    out = module(x, inputs["index"], dim_size=config["num_sets"])
    loss = (out * inputs["loss_weight"]).sum()
    return {"out": out.detach()}, named_gradients(loss, module.named_parameters(), {"x": x})


def _operator(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    module = _load(_aggregator(case["config"]), case)
    members = {name: case["inputs"][name].requires_grad_() for name in "abc"}
    a, b, c = members.values()
    ab, loss = module.operator(a, b), module.associativity_loss(a, b, c)
    outputs = {
        "ab": ab,
        "ba": module.operator(b, a),
        "ab_c": module.operator(ab, c),
        "a_bc": module.operator(a, module.operator(b, c)),
        "assoc_sq_loss": loss,
    }
    return outputs, named_gradients(loss, module.named_parameters(), members)


def _conv(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    if config["cls"] != "SAGEConv":
        raise NotImplementedError(f"the aggregator inside {config['cls']}")
    aggr = _aggregator(config, "aggr_")
    options = {key: config[key] for key in ("normalize", "root_weight", "project", "bias") if key in config}
    conv = _load(SAGEConv(config["in_channels"], config["out_channels"], aggr=aggr, **options), case)
    x = inputs["x"].requires_grad_()
    out = conv(x, inputs["edge_index"])
    loss = (out * inputs["loss_weight"]).sum()
    return {"out": out.detach()}, named_gradients(loss, conv.named_parameters(), {"x": x})


def _aggregator(config: dict[str, Any], prefix: str = "") -> LCMAggregation:
    widths = config[f"{prefix}in_channels"], config[f"{prefix}out_channels"]
    return LCMAggregation(*widths, config[f"{prefix}project"], config.get("padding", "masked"))


def _load(module: Any, case: dict[str, Any]) -> Any:
    """Return a module with the case's weights, type and mode."""
    weights = case["state_dict"]
    module.to(next(iter(weights.values())).dtype).load_state_dict(weights)
    return module.train(case["mode"] == "train")

"""Replay of the authors' code of SIR-GCN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnnzoo.models.sir_gcn import SIRGCN, GeneralSIRConv, SIRConv
from gnnzoo.models.sir_gcn.reference import reference_names, reference_weights
from gnnzoo.testing.golden import named_gradients
from gnnzoo.transforms.prepare import OneHot

__all__ = ["network_outputs", "outputs_and_gradients", "replay"]

Tensors = dict[str, Tensor]


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case, under the authors' names."""
    if kind == "conv":
        return _conv(case)
    if kind in ("node_model", "graph_model", "synthetic_model"):
        return network_outputs(SIRGCN, case)
    raise ValueError(f"unknown kind {kind!r}")


def _conv(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    layers = config["cls"]
    if layers in ("SIRConv", "SIREConv"):
        edge_attr = inputs.get("edge_attr")
        types = edge_attr is not None and not edge_attr.is_floating_point()
        conv: nn.Module = SIRConv.load_reference({"edge_types": types, **config}, case["state_dict"])
    elif layers in ("SIRConvBase", "SIREConvBase"):
        conv = GeneralSIRConv(_message_network(config, case["state_dict"]), config["agg_type"])
        conv.to(inputs["x"].dtype).load_state_dict(reference_weights(case["state_dict"]))
    else:
        raise ValueError(f"unknown layer {layers!r}")
    conv.train(case["mode"] == "train")
    attributes = {key: inputs[key] for key in ("x", "edge_attr") if key in inputs}
    return outputs_and_gradients(conv, attributes, case)


def _message_network(config: dict[str, Any], state_dict: Tensors) -> nn.Sequential:
    """Build the network that ``config.g`` writes as ``Linear(...)-Tanh-Linear(...)``; widths are the weights'."""
    layers: list[nn.Module] = []
    for number, word in enumerate(config["g"].split("-")):
        if word.startswith("Linear"):
            weight = state_dict[f"_message_func.{number}.weight"]
            bias = f"_message_func.{number}.bias" in state_dict
            layers.append(nn.Linear(weight.size(1), weight.size(0), bias=bias))
        else:
            layers.append(getattr(nn, word.partition("(")[0])())
    return nn.Sequential(*layers)


def network_outputs(cls: type[SIRGCN], case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Replay a whole network; integer features become one-hot columns."""
    inputs = case["inputs"]
    model = cls.load_reference(case["config"], case["state_dict"]).train(case["mode"] == "train")
    x = inputs["x"]
    if not x.is_floating_point():
        sizes = [len(case["state_dict"][name]) for name in _tables(case["state_dict"])]
        x = OneHot({"x": sizes})(Data(x=x)).x.to(getattr(torch, case["dtype"]))
    attributes = {"x": x} | {key: inputs[key] for key in ("batch",) if key in inputs and model.pooling}
    return outputs_and_gradients(model, attributes, case)


def outputs_and_gradients(model: nn.Module, attributes: Tensors, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Call a model; return its output and the gradients of the weighted sum, under the authors' names."""
    weight, state_dict = case["inputs"]["loss_weight"], case["state_dict"]
    wanted = {
        key: value.requires_grad_()
        for key, value in attributes.items()
        if f"input:{key}" in case.get("grads", {}) and value.is_floating_point()
    }
    out = model(edge_index=case["inputs"]["edge_index"], **attributes)
    out = out.view_as(weight) if out.numel() == weight.numel() else out  # theirs has no axis for a single output
    grads = named_gradients((out * weight).sum(), model.named_parameters(remove_duplicate=False), wanted)
    found = {name: grads[ours] for name, ours in reference_names(list(state_dict)).items() if ours in grads}
    tables = _tables(state_dict)
    if tables:
        rows = grads["encoder.weight"].t().split([len(state_dict[name]) for name in tables])
        found |= dict(zip(tables, rows, strict=True))
    return {"out": out.detach()}, found | {name: grad for name, grad in grads.items() if name.startswith("input:")}


def _tables(state_dict: Tensors) -> list[str]:
    """Return the names of the embedding tables of node features."""
    names = reference_names(list(state_dict)).items()
    return [name for name, ours in names if ours == "encoder.weight" and "linear" not in name]

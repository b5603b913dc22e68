"""Replay of the authors' code of SPEN, with its two index errors corrected."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gnnzoo.models.spen import SPEN, pair_features, reference_biases
from gnnzoo.nn.equivariant import EquivariantLinear, equivariant_basis
from gnnzoo.testing.golden import named_gradients
from gnnzoo.transforms.balls import Balls, ego_balls, normalized_adjacency

__all__ = ["replay"]

Tensors = dict[str, Any]


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case, under the authors' names."""
    kinds = {
        "equivariant_map": _equivariant_map,
        "basis": _basis,
        "conv_stack": _conv_stack,
        "model": _model,
        "preprocess": _preprocess,
    }
    if kind == "model_as_released":
        raise NotImplementedError("the released code glues features to wrong pairs; nobody has to match it")
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kinds[kind](case)


def _equivariant_map(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, weights = case["config"], case["state_dict"]
    in_order, out_order = config["in_order"], config["out_order"]
    layer = EquivariantLinear(in_order, out_order, config["in_channels"], config["out_channels"])
    layer.to(weights["coeffs"].dtype)
    layer.load_elements(out_order, 0, weights["coeffs"])
    with torch.no_grad():
        for part, name in reference_biases(layer, out_order).items():
            layer.bias_view(out_order, part)[0].copy_(weights[name].flatten())
    x = case["inputs"]["x"].requires_grad_()
    y = layer(x.movedim(1, -1)).movedim(-1, 1)
    loss = (y * case["inputs"]["loss_weight"]).sum()
    found = named_gradients(loss, layer.named_parameters(), {"x": x})
    grads = {"input:x": found["input:x"], "coeffs": layer.elements(out_order, found)[0]}
    for part, name in reference_biases(layer, out_order).items():
        grads[name] = layer.bias_view(out_order, part, found)[0].view_as(weights[name])
    return {"y": y}, grads


def _basis(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config = case["config"]
    normalize, dtype = config["normalization"] == "inf", getattr(torch, case["dtype"])
    matrices = equivariant_basis(config["in_order"], config["out_order"], config["m"], normalize, dtype)
    return {"matrices": matrices}, {}


def _features(balls: Balls, edge_index: Tensor, features: Tensor, num_nodes: int) -> Tensor:
    """Bring features of edges to the pairs that are in some ball; those of others are not seen."""
    first, second = balls.pair_index
    pair, edge = first * num_nodes + second, edge_index[0] * num_nodes + edge_index[1]
    out = features.new_zeros(pair.numel(), features.size(1))
    known = torch.isin(edge, pair)
    out[torch.searchsorted(pair, edge[known])] = features[known]
    return out


def _model(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs, weights = case["config"], case["inputs"], case["state_dict"]
    model = SPEN.load_reference(config, weights).train(case["mode"] == "train")
    balls = ego_balls(inputs["edge_index"], inputs["num_nodes"], config.get("hops", 1), include_center=False)
    features = _features(balls, inputs["edge_index"], inputs["T2"], inputs["num_nodes"])
    y = model.predict(features, balls, inputs["batch"])
    found = named_gradients((y * inputs["loss_weight"]).sum(), model.named_parameters())
    grads = {name: torch.zeros_like(value) for name, value in weights.items()}  # some maps of theirs are never used
    grads |= model.reference_values(config["model"], found)
    names = {id(module): name for name, module in model.named_modules()}
    for prefix, module, order in model.reference_maps(config["model"]):
        start = names[id(module)] + "."
        own = {name.removeprefix(start): grad for name, grad in found.items() if name.startswith(start)}
        for number, size in enumerate(model.weight_sizes):
            grads[f"{prefix}.{size}.coeffs"] = module.elements(order, own)[number]
            for part, name in reference_biases(module, order).items():
                key = f"{prefix}.{size}.{name}"
                grads[key] = module.bias_view(order, part, own)[number].view_as(weights[key])
    return {"y": y}, grads


def _conv_stack(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs, theirs = case["config"], case["inputs"], case["state_dict"]
    channels, sizes, n = config["channels"], config["sizes"], inputs["num_nodes"]
    balls = ego_balls(inputs["edge_index"], n, config["hops"], include_center=False)
    # three layers of a network whose head plays no part
    model = (
        SPEN(channels[0] - 1, 1, sorted(sizes), channels[1:], len(channels) - 1)
        .to(getattr(torch, case["dtype"]))
        .eval()
    )
    rest = model.reference_values("v2", dict(model.named_parameters()))
    model.load_reference_weights("v2", rest | {f"net_eq.{name}": value for name, value in theirs.items()})
    features = _features(balls, inputs["edge_index"], inputs["T2"], n)
    layout = model.layout(balls, inputs["batch"], features.dtype)
    x = F.pad(features, (0, 0, 0, layout.num_rows - layout.num_pairs))
    outputs: Tensors = {}
    for number, (conv, norm) in enumerate(zip(model.convs, model.norms, strict=True)):
        x = norm(F.elu(conv(x, layout)), layout)
        outputs[f"layer{number}_edge_index"] = balls.pair_index
        outputs[f"layer{number}_T2"] = x[: layout.num_pairs]
        outputs[f"layer{number}_T1"] = x.new_zeros(n, x.size(1)).index_copy(0, layout.node, x[layout.num_pairs :])
    outputs["T0_grouped_by_size"] = F.elu(model.readout(x, layout))
    outputs["T0_node_order"] = layout.owner
    return outputs, {}


def _preprocess(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    inputs, labels = case["inputs"], case["config"]["num_labels"]
    graphs = [inputs[f"adj_{number}"] for number in range(sum(name.startswith("adj_") for name in inputs))]
    adjacency = torch.block_diag(*graphs)
    n = adjacency.size(0)
    x = adjacency.new_zeros(n, labels)
    if labels:
        x = F.one_hot(torch.cat([inputs[f"labels_{number}"] for number in range(len(graphs))]), labels).to(x)
    edge_index = adjacency.nonzero().t()
    # labels stand on the diagonal: labelled graphs have loops
    stored = (adjacency + torch.eye(n) * bool(labels)).nonzero().t()
    weight = normalized_adjacency(edge_index, stored, n)
    return {
        "edge_index": stored,
        "T2": pair_features(x, stored, weight),
        "batch": torch.arange(len(graphs)).repeat_interleave(torch.tensor([len(graph) for graph in graphs])),
        "num_nodes": n,
    }, {}

"""Replay of the authors' code of equivariant polynomials, PPGN++ and LAMB, and of the strongly regular pairs."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import torch

from gnnzoo.datasets import load_dataset
from gnnzoo.datasets.refinement import polynomial_table
from gnnzoo.models.ppgn_plus import PPGNPlus, reference_name
from gnnzoo.nn.pairs import PairInput
from gnnzoo.places import data_roots, missing
from gnnzoo.registry import DATASETS
from gnnzoo.runner.optim import Lamb
from gnnzoo.testing.golden import named_gradients
from gnnzoo.transforms.polynomials import Polynomial, enumerate_polynomials, normalize, polynomials

__all__ = ["replay"]

Outputs = dict[str, Any]


def replay(kind: str, case: dict[str, Any]) -> tuple[Outputs, Outputs]:
    """Return outputs and gradients of a case, under the authors' names."""
    kinds = {
        "polynomials": _polynomials,
        "enumeration": _enumeration,
        "dense_representation": _dense_representation,
        "model": _model,
        "optimizer_trace": _optimizer_trace,
        "sr_pairs": _sr_pairs,
    }
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kinds[kind](case)


def _channels(case: dict[str, Any]) -> list[Polynomial]:
    return [
        Polynomial(c["name"], tuple((u, v) for u, v in c["edges"]), tuple(c["red_nodes_sorted"]))
        for c in case["config"]["channels"]
    ]


def _polynomials(case: dict[str, Any]) -> tuple[Outputs, Outputs]:
    return {"poly": polynomials(case["inputs"]["adj"], _channels(case))}, {}


def _enumeration(case: dict[str, Any]) -> tuple[Outputs, Outputs]:
    degrees = range(1, case["config"]["max_degree"] + 1)
    return {"count_by_degree": torch.tensor([len(enumerate_polynomials(d)) for d in degrees])}, {}


def _dense_representation(case: dict[str, Any]) -> tuple[Outputs, Outputs]:
    config, inputs = case["config"], case["inputs"]
    dtype = getattr(torch, case["dtype"])
    n, edge_index = len(inputs["x"]), inputs["edge_index"]
    adjacency = torch.zeros(n, n, dtype=torch.float64)
    adjacency[edge_index[0], edge_index[1]] = 1
    raw = polynomials(adjacency, _channels(case))
    kept = raw[config["kept_channels"]]
    kept = normalize(kept) if config["normalize_features"] else kept
    edge_attr = inputs.get("edge_attr")
    bonds = 0 if edge_attr is None else edge_attr.view(edge_index.size(1), -1).size(1)
    layout = config["layout"]
    x = inputs["x"] + any("+ 1" in part for part in layout)
    module = PairInput(x.size(1), bonds, tuple(range(len(kept))))
    found, _ = module(x, edge_index, edge_attr, kept.flatten(1).t(), None, torch.float64)
    parts = dict(zip(("pol", "adj", "bon", "dia"), found.split([len(kept), 1, bonds, x.size(1)]), strict=True))
    rep = torch.cat([parts.get(part[:3], parts["bon"]) for part in layout])
    return {"poly_raw": raw.to(dtype), "rep": rep.view(-1, n, n).to(dtype)}, {}


def _model(case: dict[str, Any]) -> tuple[Outputs, Outputs]:
    inputs = case["inputs"]
    model = PPGNPlus.load_reference(case["config"], case["state_dict"]).train(case["mode"] == "train")
    x = inputs["x"].requires_grad_()
    y = model.forward_dense(x, inputs["mask"]).squeeze()
    named = ((reference_name(name), p) for name, p in model.named_parameters())
    grads = {
        name: grad.reshape(case["state_dict"][name].shape) if name in case["state_dict"] else grad
        for name, grad in named_gradients(y.sum(), named, {"x": x}).items()
    }
    return {"y": y}, grads


def _optimizer_trace(case: dict[str, Any]) -> tuple[Outputs, Outputs]:
    config, inputs = case["config"], case["inputs"]
    if config["optimizer"].lower() != "lamb" or config.get("trust_clip") or not config.get("grad_averaging", True):
        raise NotImplementedError(f"{config['optimizer']} with such settings")
    p, b = (inputs[name].clone().requires_grad_() for name in ("p0", "b0"))
    optimizer = Lamb(
        [p, b], config["lr"], tuple(config["betas"]), config["eps"], config["weight_decay"], config["max_grad_norm"]
    )
    trace = {"p": [p.detach().clone()], "b": [b.detach().clone()]}
    for _ in range(config["steps"]):
        optimizer.zero_grad()
        (5 * (inputs["x"] @ p + b - inputs["target"]).abs().mean()).backward()
        optimizer.step()
        trace["p"].append(p.detach().clone())
        trace["b"].append(b.detach().clone())
    return {name: torch.stack(values) for name, values in trace.items()}, {}


def _sr_pairs(case: dict[str, Any]) -> tuple[Outputs, Outputs]:
    """Count on the benchmark of the same file; its card holds its checksum."""
    card = DATASETS.card(PurePosixPath(case["config"]["file"]).name.partition(".")[0])
    if missing(card, data_roots()):
        raise NotImplementedError(f"{card.name}: its files are not here")
    return dict(polynomial_table(load_dataset(card.name).graphs)), {}

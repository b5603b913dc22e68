"""Replay of the authors' code of Neural Sheaf Diffusion, discrete and continuous."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gnnzoo.models.sheaf import (
    ContinuousSheafDiffusion,
    NeuralSheafDiffusion,
    SheafGraph,
    orthogonal_map,
    sheaf_laplacian,
)
from gnnzoo.models.sheaf.laplacian import Normalization
from gnnzoo.models.sheaf.model import reference_name
from gnnzoo.testing.golden import named_gradients

__all__ = ["replay"]

Tensors = dict[str, Tensor]


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case, under the authors' names."""
    kinds = {
        "model": _model,
        "laplacian": _laplacian,
        "orthogonal_map": _orthogonal_map,
        "training_trace": _training_trace,
        "dataset_model": _dataset_model,
    }
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kinds[kind](case)


def _build(case: dict[str, Any]) -> NeuralSheafDiffusion | ContinuousSheafDiffusion:
    discrete = case["config"]["model"] in ("diag", "bundle", "general")
    cls = NeuralSheafDiffusion if discrete else ContinuousSheafDiffusion
    return cls.load_reference(case["config"], case["state_dict"]).train(case["mode"] == "train")


def _model(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    model, inputs = _build(case), case["inputs"]
    x = inputs["x"].requires_grad_()
    log_probs = model(x, inputs["edge_index"]).log_softmax(dim=-1)
    loss = (log_probs * inputs["loss_weight"]).sum()
    return {"log_probs": log_probs.detach()}, named_gradients(loss, _named_parameters(model), {"x": x})


def _laplacian(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    sheaf, d = config["model"], config["d"]
    differentiable = {"maps": inputs["maps"].requires_grad_()}
    if config.get("edge_weights"):
        differentiable["edge_weights"] = inputs["edge_weights"].requires_grad_()

    graph = SheafGraph(inputs["edge_index"], config["graph_size"])
    at_ends = _edges_at_ends(graph, inputs["edge_index"])
    maps = differentiable["maps"][at_ends].movedim(0, -1)
    weights = differentiable["edge_weights"][at_ends].flatten() if config.get("edge_weights") else None
    if sheaf == "bundle":
        maps = orthogonal_map(maps, d, config.get("orth", "householder"))
    elif sheaf == "general":
        maps = maps.reshape(d, d, -1)
    normalization: Normalization = "degree" if config["deg_normalised"] else "none"
    if sheaf == "bundle" or config["normalised"]:
        normalization = "sheaf"
    fixed = (1,) * config["add_lp"] + (-1,) * config["add_hp"]
    augmented = config.get("augmented", True)
    laplacian = sheaf_laplacian(graph, maps, sheaf, normalization, weights, fixed, augmented=augmented)

    dense, index = laplacian.to_dense(), _positions(laplacian.matrix, case["outputs"]["L_index"])
    outputs = {
        "L_index": index,
        "L_value": dense[index[0], index[1]].detach(),
        "eigvals": torch.linalg.eigvalsh(dense.detach()),
    }
    return outputs, named_gradients((dense * inputs["loss_weight"]).sum(), (), differentiable)


def _edges_at_ends(graph: SheafGraph, edge_index: Tensor) -> Tensor:
    """Return the column of ``edge_index`` whose source stands at each edge end."""
    key, order = (edge_index[0] * graph.num_nodes + edge_index[1]).sort()
    return order[torch.searchsorted(key, graph.ends * graph.num_nodes + graph.others)]


def _positions(matrix: Tensor, expected: Tensor) -> Tensor:
    """Return where our matrix has entries, in the order of ``expected`` if that is the same set (the order is free)."""
    rows = torch.arange(matrix.size(0)).repeat_interleave(matrix.crow_indices().diff())
    ours = torch.stack([rows, matrix.col_indices().to(torch.int64)])
    same = ours.shape == expected.shape and torch.equal(
        *((index[0] * matrix.size(0) + index[1]).sort().values for index in (ours, expected))
    )
    return expected.clone() if same else ours


def _orthogonal_map(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    params = inputs["params"].requires_grad_()
    q = orthogonal_map(params.t(), config["d"], config["orth"]).permute(2, 0, 1)
    grads = named_gradients((q * inputs["loss_weight"]).sum(), (), {"params": params})
    return {"Q": q.detach(), "det": torch.linalg.det(q.detach())}, grads


def _training_trace(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs, model = case["config"], case["inputs"], _build(case)
    learners = model.parameter_groups()["sheaf_learner"]
    tagged = {id(parameter) for parameter in learners}
    others = [parameter for parameter in model.parameters() if id(parameter) not in tagged]
    groups = [
        {"params": learners, "weight_decay": config["sheaf_decay"]},
        {"params": others, "weight_decay": config["weight_decay"]},
    ]
    optimizer = getattr(torch.optim, config["optimizer"])(groups, lr=config["lr"])
    mask, losses = inputs["train_mask"], []
    for _ in range(config["steps"]):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs["x"], inputs["edge_index"])[mask], inputs["y"][mask])
        loss.backward()
        losses.append(loss.detach())
        optimizer.step()
    final = {f"final:{name}": parameter.detach() for name, parameter in _named_parameters(model)}
    return {"losses": torch.stack(losses), **final}, {}


def _dataset_model(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs, model = case["config"], case["inputs"], _build(case)
    x = torch.zeros(config["graph_size"], config["input_dim"])
    x[inputs["x_nonzero"][:, 0].long(), inputs["x_nonzero"][:, 1].long()] = 1
    x = x / x.sum(1, keepdim=True).clamp(min=1)  # in float32 whatever the case's type, as the authors do
    logits = model(x.to(getattr(torch, case["dtype"])), inputs["edge_index"].long())
    mask = inputs["train_mask"]
    loss = F.cross_entropy(logits[mask], inputs["y"][mask])
    grads = named_gradients(loss, _named_parameters(model))
    norms = {f"norm:{name}": grad.norm() for name, grad in grads.items()}
    return {"log_probs": logits.detach().log_softmax(dim=-1), "train_nll": loss.detach()}, grads | norms


def _named_parameters(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    """Return parameters under the authors' names."""
    return [(reference_name(name), parameter) for name, parameter in model.named_parameters()]

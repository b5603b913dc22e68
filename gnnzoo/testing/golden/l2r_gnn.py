"""Replay of the anonymous code of L2R-GNN, and of a reading of what the paper has beyond it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gnnzoo.models.l2r_gnn import L2RGNN, reference_name
from gnnzoo.nn.decorrelation import (
    apart,
    coded_decorrelation,
    coded_features,
    correlations,
    dissimilarity,
    paper_decorrelation,
    textbook_features,
)
from gnnzoo.strategies.l2r import LearningToReweight, virtual_step, weight_gradient
from gnnzoo.testing.golden import named_gradients

__all__ = ["replay"]

Tensors = dict[str, Tensor]

_OPTIONS = (
    *("lrbl", "num_f", "epochb", "lambdap", "lambda_decay_rate", "lambda_decay_epoch", "min_lambda_times"),
    *("decay_pow", "first_step_cons", "presave_ratio"),
)


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case, under the authors' names."""
    kinds = {
        "decorrelation": _decorrelation,
        "weight_learner": _weight_learner,
        "backbone": _backbone,
        "cluster_decorrelation": _cluster_decorrelation,
        "dissimilarity": _dissimilarity,
        "bilevel_step": _bilevel_step,
    }
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kinds[kind](case)


def _decorrelation(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    u = coded_features(inputs["features"], inputs["w"].flatten(), inputs["b"], not config["sum"])
    p = inputs["weight_logits"].flatten().softmax(dim=0)
    loss, grad = coded_decorrelation(u, p, apart(torch.arange(u.size(-1)), u.dtype))
    grad = p * (grad - p @ grad)  # through the softmax
    return {"loss": loss.reshape(1)}, {"input:weight_logits": grad.unsqueeze(1)}


def _weight_learner(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    options = {name: config[name] for name in _OPTIONS}
    strategy = LearningToReweight(n_clusters="all", concatenate=not config["sum"], **options)
    strategy.epoch, strategy.iteration = config["global_epoch"], config["iteration"]
    strategy.queue_features = inputs["queue_features"].unsqueeze(0)
    strategy.queue_weights = inputs["queue_weight"].T
    raw = strategy.learn(inputs["features"], ((inputs["w"].squeeze(-1), inputs["b"]),))
    strategy.enqueue(inputs["features"], raw)
    queues = {"queue_features": strategy.queue_features[0], "queue_weight": strategy.queue_weights.T}
    return {"weight": raw.softmax(dim=0).unsqueeze(1), **queues}, {}


def _backbone(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    model = L2RGNN.load_reference(config, case["state_dict"]).train(case["mode"] == "train")
    shown: list[Tensor] = []
    model.representation.register_forward_hook(lambda module, args, graphs: shown.append(graphs))
    x = inputs["x"].requires_grad_()
    logits = model(x, inputs["edge_index"], inputs["batch"])
    losses = F.cross_entropy(logits, inputs["y"], reduction="none")
    loss = inputs["sample_weight"].T @ losses
    found = named_gradients(loss.sum(), model.named_parameters(), {"x": x})
    epsilons = [found.pop(name) for name in list(found) if name.endswith(".eps")]
    grads = {reference_name(name, config["num_mlp_layers"]): grad for name, grad in found.items()}
    grads["eps"] = torch.cat(epsilons) if epsilons else torch.zeros_like(case["state_dict"]["eps"])
    return {"logits": logits, "graph_features": shown[0], "loss": loss}, grads


def _cluster_decorrelation(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    inputs = case["inputs"]
    u, v = (textbook_features(inputs["features"], inputs[f"omega_{m}"], inputs[f"phi_{m}"]) for m in "uv")
    clusters = {
        "loss": inputs["cluster"],
        "loss_all_pairs": torch.arange(u.size(-1)),
        "loss_one_cluster": torch.zeros_like(inputs["cluster"]),
    }
    found = {name: paper_decorrelation(u, v, inputs["w"], apart(c, u.dtype)) for name, c in clusters.items()}
    return {name: loss for name, (loss, _) in found.items()}, {"input:w": found["loss"][1]}


def _dissimilarity(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    return {"dissimilarity": dissimilarity(correlations(case["inputs"]["features"]))}, {}


def _bilevel_step(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    theta, w = inputs["theta"].requires_grad_(), inputs["w"]
    losses = F.cross_entropy(inputs["X"] @ theta, inputs["y"], reduction="none")
    train_loss = w @ losses
    (theta_new,) = virtual_step(train_loss, [theta], config["lr"])
    theta_new.requires_grad_()
    val_loss = F.cross_entropy(inputs["Xv"] @ theta_new, inputs["yv"])
    grad = weight_gradient(losses, [theta], torch.autograd.grad(val_loss, [theta_new]), config["lr"])
    outputs = {"train_loss": train_loss, "theta_new": theta_new, "val_loss": val_loss}
    return outputs | {"w_new": w - config["lr_w"] * grad}, {"input:w": grad}

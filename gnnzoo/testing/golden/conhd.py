"""Replay of the authors' code of CoNHD."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gnnzoo.datasets.edge_dependent import order_ranks
from gnnzoo.models.conhd import CoNHD, reference_name
from gnnzoo.nn.sets import Sets, equivariant_block
from gnnzoo.testing.golden import named_gradients

__all__ = ["replay"]

Tensors = dict[str, Tensor]


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case, under the authors' names."""
    kinds = {"model": _model, "block": _block, "order_pe": _order_pe}
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kinds[kind](case)


def _model(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    model = CoNHD.load_reference(config, case["state_dict"]).train(case["mode"] == "train")
    x, scored = inputs["x"].requires_grad_(), inputs["scored_pairs"]
    arguments = (x, inputs["hyperedge_index"], scored, inputs.get("order_pe"))
    logits = model(*arguments)
    distinct, row = model.diffuse(*arguments)
    loss = F.cross_entropy(logits, inputs["labels"][scored])
    shared = config["share_weights"] or config["optim"] == "ADMM"
    names = {reference_name(name, shared): value for name, value in model.named_parameters()}
    grads = named_gradients(loss, names.items(), {"x": x})
    return {"logits": logits, "co_rep": distinct[row], "ce_loss": loss}, _shaped(grads, case)


def _block(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, x = case["config"], case["inputs"]["X"].requires_grad_()
    kind, heads, points = config["block"].lower(), config.get("heads", 1), config.get("inds", 1)
    block = equivariant_block(kind, config["dim"], heads, points, config["ln"]).to(x.dtype)
    theirs = case["state_dict"]
    ours = block.state_dict()
    block.load_state_dict({name: theirs[reference_name(name)].view_as(value) for name, value in ours.items()})
    owner = torch.arange(x.size(0)).repeat_interleave(x.size(1))
    out = block(x.flatten(0, 1), Sets(owner, x.size(0))).view_as(x)
    names = {reference_name(name): value for name, value in block.named_parameters()}
    return {"Y": out}, _shaped(named_gradients(out.square().sum(), names.items(), {"X": x}), case)


def _shaped(grads: Tensors, case: dict[str, Any]) -> Tensors:
    """Give gradients the shapes of the authors' parameters, whose points have one dimension more."""
    weights = case["state_dict"]
    return {name: grad.view_as(weights[name]) if name in weights else grad for name, grad in grads.items()}


def _order_pe(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    inputs = case["inputs"]
    nodes, hyperedges = inputs["hyperedge_index"].numpy()
    columns = [order_ranks(column[nodes], hyperedges) for column in inputs["centrality"].numpy().T]
    return {"order_pe": torch.stack([torch.from_numpy(column) for column in columns], dim=1)}, {}

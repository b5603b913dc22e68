"""Replay of the authors' code of HGNN, HyperGCN, UniGNN, AllSet and ED-HNN."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from gnnzoo.models import allset, ed_hnn, unignn
from gnnzoo.models.allset import AllDeepSets, AllSetTransformer
from gnnzoo.models.ed_hnn import EDHNN
from gnnzoo.models.hgnn import HGNN
from gnnzoo.models.hypergcn import HyperGCN
from gnnzoo.models.unignn import UniGCNII, UniGNN
from gnnzoo.testing.golden import named_gradients

__all__ = ["replay"]

Tensors = dict[str, Tensor]

_MODELS: dict[str, Any] = {
    "HGNN": HGNN,
    "HyperGCN": HyperGCN,
    "UniGCNII": UniGCNII,
    **dict.fromkeys(("UniGCN", "UniGIN", "UniSAGE", "UniGAT"), UniGNN),
    "AllDeepSets": AllDeepSets,
    "AllSetTransformer": AllSetTransformer,
    "ED-HNN": EDHNN,
}


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case, under the authors' names."""
    if kind != "model":
        raise ValueError(f"unknown kind {kind!r}")
    config, inputs, weights = case["config"], case["inputs"], case["state_dict"]
    if "random_vector" in inputs:
        weights = weights | {"random_vector": inputs["random_vector"]}
    model = _MODELS[config["model"]].load_reference(config, weights).train(case["mode"] == "train")
    x = inputs["x"].requires_grad_()
    out = model(x, inputs["hyperedge_index"])
    log_probs = out.log_softmax(dim=1)
    nll = F.nll_loss(log_probs, inputs["y"])
    grads = named_gradients(nll, model.named_parameters(), {"x": x})
    found = {"input:x": grads.pop("input:x")}
    for name, grad in grads.items():
        theirs = _name(model, name)
        # HGNN and HyperGCN keep the transpose of what a linear layer keeps
        turned = grad.t() if isinstance(model, HGNN | HyperGCN) and grad.dim() == 2 else grad
        found[theirs] = turned.reshape(weights[theirs].shape)
    return {"out": log_probs if config["log_probs"] else out, "nll": nll}, found


def _name(model: nn.Module, name: str) -> str:
    if isinstance(model, HGNN):
        _, number, part = name.split(".")
        return f"hgc{int(number) + 1}.{part}"
    if isinstance(model, HyperGCN):
        _, number, part = name.split(".")
        return f"layers.{number}.{'W' if part == 'weight' else part}"
    if isinstance(model, UniGNN | UniGCNII):
        return unignn.reference_names(model)[name]
    return ed_hnn.reference_name(name) if isinstance(model, EDHNN) else allset.reference_name(name)

"""Replay of the selective scan and the Mamba block, and of the graph-mamba papers' encoders and tokens around them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gnnzoo.nn.mamba import BidirectionalMamba, Mamba
from gnnzoo.nn.sequences import sort_nodes
from gnnzoo.ops import selective_scan
from gnnzoo.testing.golden import named_gradients
from gnnzoo.transforms.walk_tokens import induced_links, token_members

__all__ = ["replay"]

Tensors = dict[str, Tensor]


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case, under the authors' names."""
    kinds = {
        "selective_scan": _selective_scan,
        "mamba_block": _mamba_block,
        "node_sequence": _node_sequence,
        "bidirectional": _bidirectional,
        "tokenisation": _tokenisation,
    }
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}")
    return kinds[kind](case)


def _selective_scan(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    weights = {name: value for name, value in case["inputs"].items() if name.startswith("loss_weight")}
    given = {name: value.requires_grad_() for name, value in case["inputs"].items() if name not in weights}
    softplus = case["config"]["delta_softplus"]
    out, last_state = selective_scan(**given, delta_softplus=softplus, return_last_state=True)
    loss = (out * weights["loss_weight"]).sum() + (last_state * weights["loss_weight_last_state"]).sum()
    return {"out": out, "last_state": last_state}, named_gradients(loss, [], given)


def _mamba_block(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    block = Mamba.load_reference(case["config"], case["state_dict"])
    x = case["inputs"]["x"].requires_grad_()
    outputs, grads = _weighted(block, block(x), x, case)
    state, steps = block.initial_state(x.size(0)), []
    with torch.no_grad():
        for token in x.unbind(1):
            out, state = block.step(token, state)
            steps.append(out)
    outputs |= {"out_step": torch.stack(steps, dim=1), "final_conv_state": state.conv, "final_ssm_state": state.ssm}
    return outputs, grads


def _node_sequence(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    inputs = case["inputs"]
    block = Mamba.load_reference(case["config"], case["state_dict"])
    x = inputs["x"].requires_grad_()
    order = sort_nodes(inputs["degree"] + inputs["noise"], inputs["batch"])
    return _weighted(block, order.unpack(block(order.pack(x), order.lengths)), x, case)


def _bidirectional(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    encoder = BidirectionalMamba.load_reference(case["config"], case["state_dict"])
    x = case["inputs"]["x"].requires_grad_()
    return _weighted(encoder, encoder(x, case["inputs"].get("lengths")), x, case)


def _tokenisation(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    walks, x = case["inputs"]["walks"], case["inputs"]["x"]
    n, shape = int(case["inputs"]["num_nodes"]), walks.shape[:3]
    token, node = token_members(walks.reshape(shape.numel(), -1), n)
    links = induced_links(token, node, case["inputs"]["edge_index"], n)
    member = torch.zeros(shape.numel(), n, dtype=torch.bool).index_put_((token, node), torch.tensor(True))
    total = x.new_zeros(shape.numel(), x.size(1)).index_add_(0, token, x[node])
    outputs = {
        "membership": member.view(*shape, n),
        "induced_directed_edges": torch.bincount(token[links[1]], minlength=shape.numel()).view(shape),
        "mean_token": (total / member.sum(1, keepdim=True)).view(*shape, -1),
    }
    return outputs, {}


def _weighted(model: nn.Module, out: Tensor, x: Tensor, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    loss = (out * case["inputs"]["loss_weight"]).sum()
    return {"out": out}, named_gradients(loss, model.named_parameters(), {"x": x})

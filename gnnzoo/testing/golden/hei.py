"""Replay of the authors' code of HEI: backbones, environments, penalty, one step of training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnnzoo.datasets.halves import node_homophily
from gnnzoo.models import glognn, linkx
from gnnzoo.strategies.environments import neighbour_pattern
from gnnzoo.strategies.hei import HEI, standardized
from gnnzoo.tasks import Batch, create_task
from gnnzoo.testing.golden import named_gradients

__all__ = ["replay"]


class _Backbone(nn.Module):
    """A model, and beside it those parameters of the authors' that have no effect: the norm of all weights has them."""

    def __init__(self, config: dict[str, Any], state_dict: dict[str, Tensor]) -> None:
        super().__init__()
        self.model: linkx.LINKX | glognn.GloGNN
        if config["backbone"] == "linkx":
            self.model, ours = linkx.LINKX.load_reference(config, state_dict), linkx.reference_name
            last: nn.Module = self.model.final_mlp.lins[-1]
        elif config["backbone"] == "glognn":
            self.model, ours = glognn.GloGNN.load_reference(config, state_dict), glognn.reference_name
            last = self.model.out_lin
        else:
            raise NotImplementedError(f"backbone {config['backbone']}")
        last.register_forward_pre_hook(self._note)
        self.features = torch.empty(0)
        self.theirs = {name: value for name, value in state_dict.items() if not name.startswith("W.")}
        self.names, known = {name: ours(name) for name in self.theirs}, self.model.state_dict()
        unused = {name: nn.Parameter(self.theirs[name]) for name, own in self.names.items() if own not in known}
        self.unused = nn.ParameterDict(unused)

    def _note(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        self.features = inputs[0]

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits; a row of the authors' A lists the targets of a node's edges."""
        return self.model(x, edge_index.flip(0))

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """Return gradients under the authors' names and in their shapes."""
        ours = named_gradients(loss, [*self.model.named_parameters(), *self.unused.items()])
        ours["edge_lin.weight"] = ours["edge_lin.weight"].t()
        found = {}
        for name, value in self.theirs.items():
            grad = ours.get(name if name in self.unused else self.names[name])
            if grad is not None:  # no buffer
                found[name] = grad.reshape(value.shape)
        if "cat_lin1.weight" in ours:  # one layer of theirs with one bias
            found["W.weight"] = torch.cat([ours["cat_lin1.weight"], ours["cat_lin2.weight"]], dim=1)
            found["W.bias"] = ours["cat_lin1.bias"]
        return found


def replay(kind: str, case: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return outputs and gradients of a case, under the authors' names."""
    if kind != "training_step":
        raise ValueError(f"unknown kind {kind!r}")
    config, inputs = case["config"], case["inputs"]
    x, edge_index, train = inputs["x"], inputs["edge_index"], inputs["train_idx"]
    strategy = HEI(
        num_envs=config["num_envs"],
        env_hidden=config["env_hidden"],
        env_lr=config["infer_env_lr"],
        anneal_epochs=config["penalty_anneal_iters"],
        penalty_weight=config["penalty_weight"],
        weight_norm=config["l2_regularizer_weight"],
        distance=config["distance"],
        penalty=config["penalty"],
    )
    model = strategy.model = _Backbone(config, case["state_dict"]).train(case["mode"] == "train")
    task = strategy.task = create_task("node", "multiclass", "accuracy")
    pattern = neighbour_pattern(x, edge_index, config["distance"], directed=True)  # the edges as the case has them
    strategy.prepare(standardized(pattern, train))
    strategy.network.load_state_dict(inputs["env_state_before"])
    strategy.on_epoch(config["epoch"] + 1)  # theirs are counted from 0

    batch = Batch(Data(x=x, edge_index=edge_index, y=inputs["y"]), train)
    logits, envs = model(x, edge_index), strategy.network(strategy.pattern[train])
    found = {
        "logits": logits,
        "features": model.features,
        "neighbour_pattern": pattern,
        "env_prob": envs,
        "train_nll": task.loss(logits, batch),
        "penalty": strategy.penalty(logits, batch, envs),
        "weight_norm": strategy.squared_norm(),
        "loss": strategy.step(batch),
        "node_homophily": node_homophily(batch.data),
    }
    found["env_state_after"] = strategy.network.state_dict()
    return found, model.gradients(found["loss"])

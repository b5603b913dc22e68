"""Replay of the authors' code of LightHGNN: teachers, losses, reliability, hypergraphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.models import light_hgnn
from gnnzoo.models.light_hgnn import LightHGNN, load_reference_teacher, topology_score
from gnnzoo.nn.hypergraph import incidence
from gnnzoo.strategies.light_hgnn import TopologyAwareDistillation, reliability
from gnnzoo.testing.golden import named_gradients
from gnnzoo.transforms.incidences import MergeHyperedges, Observed, Singletons

__all__ = ["replay"]

Tensors = dict[str, Any]


def replay(kind: str, case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of a case, under the authors' names."""
    replays = {
        "teacher": _teacher,
        "student": _student,
        "reliability": _reliability,
        "topology_score": _topology_score,
        "build_hypergraph": _build_hypergraph,
        "production_split": _production_split,
    }
    if kind not in replays:
        raise ValueError(f"unknown kind {kind!r}")
    return replays[kind](case)


def _teacher(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    model = load_reference_teacher(config, case["state_dict"]).train(case["mode"] == "train")
    logits = model(inputs["x"], inputs["hyperedge_index"])
    nll = F.cross_entropy(logits[inputs["train_mask"]], inputs["y"][inputs["train_mask"]])
    theirs = ((light_hgnn.reference_teacher_name(name, config["teacher"]), p) for name, p in model.named_parameters())
    return {"logits": logits, "nll_train": nll}, named_gradients(nll, theirs)


def _student(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    model = LightHGNN.load_reference(config, case["state_dict"]).train(case["mode"] == "train")
    strategy = TopologyAwareDistillation(label_weight=config["lamb"], tau=config["tau"])
    strategy.imitate(inputs["teacher_logits"])
    logits = model(inputs["x"])
    log_probs, mask = logits.log_softmax(dim=1), inputs["train_mask"]
    found = {
        "student_logits_train": logits,
        "loss_supervised": F.nll_loss(log_probs[mask], inputs["y"][mask]),
        "loss_soft_target": strategy.soft(log_probs).mean(),
    }
    imitation = found["loss_soft_target"]
    if config["variant"] == "light_hgnnp":
        members = incidence(inputs["hyperedge_index"], log_probs)
        strategy.look_at(members, log_probs.new_ones(members.num_hyperedges))
        kept = inputs["hyperedge_mask"].to(log_probs.dtype)
        found["loss_high_order"] = strategy.hyperedge_loss(log_probs, kept)
        imitation = imitation + found["loss_high_order"]
    total = found["loss_total"] = config["lamb"] * found["loss_supervised"] + (1 - config["lamb"]) * imitation
    theirs = ((f"student.{light_hgnn.reference_name(name)}", p) for name, p in model.named_parameters())
    return found, named_gradients(total, theirs)


def _reliability(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    config, inputs = case["config"], case["inputs"]
    teacher, x = load_reference_teacher(config, case["state_dict"]).eval(), inputs["x"]
    noisy = x * (1 + inputs["feature_noise"]) * config["hc_noise_level"]
    with torch.no_grad():
        before, after = (teacher(features, inputs["hyperedge_index"]) for features in (x, noisy))
    return {"reliability": reliability(before, after, incidence(inputs["hyperedge_index"], before))}, {}


def _topology_score(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    return {"score": topology_score(case["inputs"]["features"], case["inputs"]["hyperedge_index"])}, {}


def _build_hypergraph(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    raw, num_nodes = case["inputs"]["raw_hyperedges"], case["inputs"]["num_nodes"]
    pairs = [(node, number) for number, nodes in enumerate(raw) for node in nodes]
    index = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).t()
    data = HypergraphData(hyperedge_index=index, num_hyperedges=len(raw), num_nodes=num_nodes)
    data = Singletons()(MergeHyperedges()(data))
    return {"hyperedge_index": data.hyperedge_index, "hyperedge_weight": _ones(data)}, {}


def _production_split(case: dict[str, Any]) -> tuple[Tensors, Tensors]:
    inputs = case["inputs"]
    train, val, test = (inputs[f"{part}_mask"] for part in ("train", "val", "test"))
    seen = inputs["transductive_test_index"]
    observed = torch.cat([train.nonzero().flatten(), val.nonzero().flatten(), seen])
    inductive = test.clone()
    inductive[seen] = False
    data = HypergraphData(hyperedge_index=inputs["hyperedge_index"], num_nodes=inputs["num_nodes"])
    data.update({"train_mask": train, "val_mask": val, "test_mask": test})
    data = Observed(observed)(data)
    found = {"observed_index": observed, "inductive_test_mask": inductive}
    found |= {f"obs_{part}_mask": data[f"{part}_mask"] for part in ("train", "val", "test")}
    return found | {"sub_hyperedge_index": data.hyperedge_index, "sub_hyperedge_weight": _ones(data)}, {}


def _ones(data: HypergraphData) -> Tensor:
    """Return the weights of hyperedges, which the mean of merged ones leaves at 1."""
    return torch.ones(int(data.num_hyperedges or 0))

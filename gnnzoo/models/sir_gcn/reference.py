"""The authors' names for parameters, and ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

__all__ = ["reference_names", "reference_weights"]

_OURS = (
    (r"linear_(query|key|edge|relation|neigh)\.", r"lin_\1."),
    (r"^input_linear\.", "encoder."),
    (r"^embedding\.linears\.0\.", "encoder."),
    (
        r"^(embedding\.atom_embedding_list\.\d+|node_encoder|key_embedding|val_embedding|embedding)\.weight$",
        "encoder.weight",
    ),
    (r"^linears\.", "lins."),
    (r"^output_norm\.norm\.", "out_norm."),
    (r"^norms\.(\d+)\.norm\.", r"norms.\1."),
    (r"^(resids|readouts)\.(\d+)\.linears\.", r"\1.\2.lins."),
    (r"^readout\.linears\.", "readouts.0.lins."),
    (r"^readout\.norms\.", "readouts.0.norms."),
    (r"^classifier\.(\d+)\.", r"readouts.0.\1."),
    (r"^(output_linear|readout|classifier|regression)\.(weight|bias)$", r"readouts.0.lins.0.\2"),
    (r"^(convs\.\d+)\.activation\.", r"\1.act."),
    (r"^activation\.", "convs.0.act."),  # one module for all
    (r"^_message_func\.", "nn."),
)


def reference_names(names: Iterable[str]) -> dict[str, str]:
    """Map the authors' names to ours. All embedding tables are ``encoder.weight``, one after the other.

    Args:
        names: of all their parameters and buffers: a norm that has a running mean is a BatchNorm, and read-outs of
            which there is one are our first.
    """
    found = {}
    read = {name.split(".")[1] for name in names if name.startswith("readouts.")}
    batch_norms = {name.removesuffix("running_mean") for name in names if name.endswith("running_mean")}
    for name in names:
        ours = name
        for pattern, replacement in _OURS:
            ours, changed = re.subn(pattern, replacement, ours)
            if changed and not pattern.startswith("linear_"):
                break
        prefix, _, last = name.rpartition(".")
        if f"{prefix}." in batch_norms:
            ours = f"{ours.removesuffix(last)}module.{last}"
        if len(read) == 1 and ours.startswith("readouts."):
            ours = f"readouts.0.{ours.split('.', 2)[2]}"
        found[name] = ours
    return found


def reference_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' weights under our names; embedding tables become one matrix ``[hidden, columns]``."""
    tables: list[Tensor] = []
    weights = {}
    for name, ours in reference_names(list(state_dict)).items():
        if ours == "encoder.weight" and "linear" not in name:
            tables.append(state_dict[name])
        else:
            weights[ours] = state_dict[name]
    if tables:
        weights["encoder.weight"] = torch.cat(tables).t().contiguous()
    return weights

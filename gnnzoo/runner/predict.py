"""Predictions of a saved model, as a file."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import torch

from gnnzoo.atomic import write_text
from gnnzoo.errors import ConfigError
from gnnzoo.models.build import load_model, read_model_file
from gnnzoo.registry import DATASETS, partition
from gnnzoo.runner.cell import load_prepared, pre_transformed
from gnnzoo.runner.config import Config, resolve
from gnnzoo.runner.hardware import pick_device
from gnnzoo.tasks import outputs

__all__ = ["predict"]


def predict(
    model: str | os.PathLike[str],
    dataset: str,
    out: str | os.PathLike[str],
    device: str = "auto",
    root: str | None = None,
) -> int:
    """Write the predictions of a saved model on all nodes (or graphs) of a dataset.

    Columns: ``node`` or ``graph`` (its number; of incidences ``node`` and ``hyperedge``), ``prediction`` (a class, or
    values ``value_0``, ...), and for classes ``probability_0``, .... Input is handled as in the
    model's training.

    Args:
        model: a file that ``save=`` wrote.
        dataset: a dataset with the features and outputs of the one that the model was trained on.
        out: the CSV file, written at once.
        device: ``auto``, ``cpu`` or ``cuda``.
        root: where raw files are searched first.

    Returns:
        The number of rows.

    Raises:
        GnnzooError: the file is no saved model, or the dataset does not fit it.
    """
    content = read_model_file(model)
    trained = content["config"]
    if not {"names", "model", "train", "data"} <= trained.keys():
        raise ConfigError(f"{model} holds no configuration of a run, which says how input is handled")
    name, at, _ = partition(dataset)
    own = DATASETS.canonical(name) == trained["names"]["dataset"]
    layer = {key: trained[key] for key in ("model", "train", "data", *(["dataset"] if own else []))}
    protocol = trained["names"]["protocol"] if own and not at else None
    config: Config = resolve(content["model"], dataset, protocol, layers=[(str(model), layer)], stored=layer)
    bundle = load_prepared(config, root)
    split = bundle.splits[min(trained.get("split", 0), len(bundle.splits) - 1)]
    bundle = pre_transformed(config, bundle, split, trained.get("seed", 0))
    where = pick_device(device)
    module = load_model(model).to(where)

    try:
        rows = torch.cat(outputs(module, bundle)).cpu()
    except RuntimeError as error:
        raise ConfigError(f"{model} does not fit {dataset}: {str(error).splitlines()[0]}") from None

    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    task = bundle.card.task
    kinds = ["node", "hyperedge"] if task == "edge-dependent-node" else ["graph" if task == "graph" else "node"]
    if task == "edge-dependent-node":
        numbers = bundle.graphs[0].hyperedge_index[:, : len(rows)].t().tolist()
    else:
        numbers = [[number] for number in range(len(rows))]
    if bundle.card.target == "multiclass":
        writer.writerow([*kinds, "prediction", *(f"probability_{c}" for c in range(rows.size(1)))])
        for number, label, p in zip(numbers, rows.argmax(1).tolist(), rows.softmax(1).tolist(), strict=True):
            writer.writerow([*number, label, *(f"{value:.6g}" for value in p)])
    else:
        values = rows if bundle.card.target == "regression" else rows.sigmoid()
        names = "value" if bundle.card.target == "regression" else "probability"
        writer.writerow([*kinds, *(f"{names}_{c}" for c in range(rows.size(1)))])
        for number, row in zip(numbers, values.tolist(), strict=True):
            writer.writerow([*number, *(f"{value:.6g}" for value in row)])
    write_text(Path(out), file.getvalue())
    return len(rows)

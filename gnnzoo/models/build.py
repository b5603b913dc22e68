"""From a model's name to a module, and from a saved file back to it."""

from __future__ import annotations

import inspect
import io
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from gnnzoo.atomic import save_tensors
from gnnzoo.cards import ModelCard
from gnnzoo.errors import ConfigError, GnnzooError, StorageError
from gnnzoo.registry import MODELS, reason
from gnnzoo.signature import parameters, validate

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "create_model",
    "load_model",
    "load_reference",
    "model_arguments",
    "read_model_file",
    "register_model",
    "save_model",
]

FORMAT = 1
T = TypeVar("T", bound=type)


def model_arguments(name: str, data: Any = None, **hparams: Any) -> dict[str, Any]:
    """Return every argument of a model's constructor: from the call, else the data, else the card, else the signature.

    Args:
        name: a model's name or alias.
        data: a PyG data object, or a list of them. The class's ``infer(data)`` reads the sizes from it (one graph is
            passed as such, several as a list); what it returns are constructor arguments without a default.
        **hparams: hyperparameters; also ``in_channels`` and ``out_channels`` where data do not say.

    Raises:
        ConfigError: unknown model or hyperparameter (with the nearest that exists), wrong type or value, a size that
            neither the call nor the data gives.
    """
    name = MODELS.canonical(name)
    card, cls = MODELS.card(name), MODELS.get(name)
    inferred = {} if data is None else _infer(cls, data)
    required = tuple(p.name for p in parameters(cls).values() if p.required)
    sizes = tuple(dict.fromkeys((*required, *inferred)))

    given = inferred | {key: hparams[key] for key in sizes if hparams.get(key) is not None}
    missing = [key for key in required if key not in given]
    if missing:
        raise ConfigError(f"model {name!r} needs {' and '.join(missing)}: pass data, or {missing[0]}=...")
    for key in ("in_channels", "out_channels"):
        value = given.get(key, 1)
        widths = value.values() if isinstance(value, Mapping) else [value]  # heterogeneous data: a width per type
        if not all(type(width) is int and width >= 1 for width in widths):
            raise ConfigError(f"{key}={given[key]!r}: model {name!r} needs a whole number of at least 1")
    settings = {key: value for key, value in (card.defaults.model | hparams).items() if key not in given}
    return given | validate(cls, settings, "model", skip=sizes)


def create_model(name: str, data: Any = None, **hparams: Any) -> nn.Module:
    """Build a model by its name; arguments and errors as in :func:`model_arguments`.

    Example:
        >>> create_model("dagnn", data, hidden_channels=128)
        >>> create_model("dagnn", in_channels=1433, out_channels=7)
    """
    arguments = model_arguments(name, data, **hparams)
    model: nn.Module = MODELS.get(name)(**arguments)
    return model


def load_reference(name: str, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> nn.Module:
    """Build a model from the authors' configuration and weights, named as in their code.

    Args:
        name: a model's name or alias.
        config: the authors' hyperparameters.
        state_dict: the authors' parameters.

    Raises:
        ConfigError: the model has no authors' code to map, or the weights do not fit the configuration.
    """
    cls = MODELS.get(name)
    if not hasattr(cls, "load_reference"):
        raise ConfigError(f"model {MODELS.canonical(name)!r} knows no authors' names: it has no load_reference")
    try:
        model: nn.Module = cls.load_reference(dict(config), dict(state_dict))
    except KeyError as error:
        raise ConfigError(f"model {MODELS.canonical(name)!r}: the authors' configuration lacks {error}") from error
    except RuntimeError as error:
        raise ConfigError(f"model {MODELS.canonical(name)!r}: weights do not fit: {_one_line(error)}") from error
    return model


def register_model(
    name: str | None = None,
    *,
    summary: str = "",
    tasks: Sequence[str] = ("node",),
    structures: Sequence[str] = ("graph",),
    **card: Any,
) -> Callable[[T], T]:
    """Register a class under a name for this process: for notebooks. Models that stay have a file and a YAML card.

    Args:
        name: what to call it; the class's name in lower case unless given.
        summary: one line; the first line of the class's docstring unless given.
        tasks: ``"node"``, ``"inductive-node"``, ``"graph"``.
        structures: ``"graph"``, ``"hypergraph"``, ``"heterogeneous"``.
        **card: other keys of a card, such as ``aliases``, ``paper``, ``search`` or ``tiny``.

    Raises:
        ConfigError: a key that cards do not have, or a name that exists already.

    Example:
        >>> @register_model("my-model", tasks=["node"])
        ... class MyModel(torch.nn.Module): ...
    """
    if name is not None and not isinstance(name, str):
        raise ConfigError("write @register_model() or @register_model('name'), with the parentheses")

    def register(cls: T) -> T:
        label = name or cls.__name__.lower()
        content = {
            "name": label,
            "class": f"{cls.__module__}.{cls.__qualname__}",
            "summary": summary or (inspect.getdoc(cls) or label).splitlines()[0],
            "tasks": list(tasks),
            "structures": list(structures),
            **card,
        }
        try:
            MODELS.register(ModelCard.model_validate(content), cls)
        except ValidationError as error:
            raise ConfigError(f"card of model {label!r}: {reason(error)}") from None
        return cls

    return register


def save_model(
    path: str | os.PathLike[str],
    model_name: str,
    arguments: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    config: Mapping[str, Any],
) -> None:
    """Write a trained model for :func:`load_model`, at once (the file is whole or not there).

    Args:
        path: where to.
        model_name: the model's registered name.
        arguments: every argument of the constructor (:func:`model_arguments`).
        state_dict: the weights.
        config: the resolved configuration of the run that trained them.

    Raises:
        StorageError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "model": model_name,
        "arguments": dict(arguments),
        "config": dict(config),
        "state_dict": dict(state_dict),
    }
    save_tensors(path, content)


def read_model_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check what :func:`save_model` wrote: ``format, model, arguments, config, state_dict``.

    Nothing in the file is executed.

    Raises:
        StorageError: there is no such file, it is damaged, from a newer gnnzoo, or not one of ours.
    """
    import torch

    try:
        file = io.BytesIO(Path(path).read_bytes())
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # its message advises to load the file unsafely
        raise StorageError(f"{path}: not a model that gnnzoo saved, or it holds code") from None
    except Exception as error:  # torch.load raises nearly every kind on a damaged file
        raise StorageError(f"{path}: damaged, or not a model that gnnzoo saved: {_one_line(error)}") from None
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise StorageError(f"{path}: not a model that gnnzoo saved")
    if content["format"] > FORMAT:
        raise StorageError(
            f"{path}: format {content['format']} is newer than this gnnzoo (format {FORMAT}): upgrade it"
        )
    kinds = {"model": str, "arguments": dict, "config": dict, "state_dict": dict}
    wrong = [key for key, kind in kinds.items() if not isinstance(content.get(key), kind)]
    if wrong:
        raise StorageError(f"{path}: not a model that gnnzoo saved: no {wrong[0]}")
    if not all(isinstance(weight, torch.Tensor) for weight in content["state_dict"].values()):
        raise StorageError(f"{path}: not a model that gnnzoo saved: state_dict holds more than weights")
    return content


def load_model(path: str | os.PathLike[str]) -> nn.Module:
    """Build the model that a file holds, with its weights, in evaluation mode.

    Raises:
        StorageError: see :func:`read_model_file`.
        ConfigError: the model is not installed here, or it has changed since.
    """
    content = read_model_file(path)
    try:
        model = create_model(content["model"], **content["arguments"])
    except GnnzooError as error:
        raise ConfigError(f"{path}: {error}") from None
    weights = content["state_dict"]
    floating = next((w.dtype for w in weights.values() if w.is_floating_point()), None)
    try:
        model.to(floating).load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"{path}: model {content['model']!r} has changed since: {_one_line(error)}") from None
    return model.eval()


def _infer(cls: type, data: Any) -> dict[str, Any]:
    """Ask the class, else take the number of features; then the number of outputs from the targets."""
    from torch_geometric.data.data import BaseData

    graphs = [data] if isinstance(data, BaseData) else data
    if not hasattr(graphs, "__getitem__") or not len(graphs) or not isinstance(graphs[0], BaseData):
        raise ConfigError(f"data is a {type(data).__name__}: pass a PyG data object, or a list of them")
    names = parameters(cls)
    if hasattr(cls, "infer"):
        sizes = dict(cls.infer(graphs[0] if len(graphs) == 1 else graphs))
    elif isinstance(graphs[0].num_node_features, int):
        sizes = {"in_channels": graphs[0].num_node_features} if graphs[0].num_node_features else {}
    else:
        raise ConfigError(f"{cls.__name__} reads no {type(graphs[0]).__name__}: its class has no infer(data)")
    if "out_channels" in names and "out_channels" not in sizes and getattr(graphs[0], "y", None) is not None:
        sizes["out_channels"] = _num_outputs([graph.y for graph in graphs])
    return {key: value for key, value in sizes.items() if key in names}


def _num_outputs(targets: Sequence[Tensor]) -> int:
    """Count the columns of targets, or the classes of a single integer column."""
    first = targets[0]
    if first.dim() > 1 and first.size(-1) > 1:
        return first.size(-1)
    if first.is_floating_point():
        return 1
    return 1 + max(int(y.max()) for y in targets if y.numel())


def _one_line(error: BaseException) -> str:
    """Return the first telling line of a long message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.endswith(":")]
    return (telling or lines or [type(error).__name__])[0][:200]

"""The models, one file per paper. ``from gnnzoo.models import DAGNN`` imports that one file and nothing else."""

from __future__ import annotations

from typing import Any

from gnnzoo.registry import MODELS, import_object


def _classes() -> dict[str, str]:
    """Map the class names of all model cards to dotted paths; ours win over a plug-in's of the same name."""
    paths = [MODELS.card(name).class_ for name in MODELS.names()]
    return {path.rpartition(".")[2]: path for path in sorted(paths, key=lambda path: path.startswith("gnnzoo."))}


def __getattr__(name: str) -> Any:
    """Import the class that a model card names."""
    if name.startswith("__") or name not in (classes := _classes()):
        raise AttributeError(f"module 'gnnzoo.models' has no attribute {name!r}")
    return import_object(classes[name])


def __dir__() -> list[str]:
    """Show the classes of all models."""
    return sorted(_classes())

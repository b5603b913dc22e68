"""gnnzoo: a graph-learning model zoo on PyTorch Geometric.

The public names below are loaded when they are first used, so ``import gnnzoo`` costs nothing and imports no torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "bench": "gnnzoo.runner.bench",
    "check_model": "gnnzoo.testing",
    "create_model": "gnnzoo.models.build",
    "expressivity": "gnnzoo.runner.expressivity",
    "list_datasets": "gnnzoo.registry",
    "list_models": "gnnzoo.registry",
    "load_dataset": "gnnzoo.datasets",
    "load_model": "gnnzoo.models.build",
    "load_reference": "gnnzoo.models.build",
    "register_dataset": "gnnzoo.registry",
    "register_model": "gnnzoo.models.build",
    "reproduce": "gnnzoo.runner.reproduce",
    "run": "gnnzoo.runner",
    "tune": "gnnzoo.runner.tune",
    "standings": "gnnzoo.runner.standings",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOME:
        raise AttributeError(f"module 'gnnzoo' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Show the public names."""
    return __all__

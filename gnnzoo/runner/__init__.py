"""From a configuration to records: resolve, train, select, read the test metric once."""

from importlib import import_module
from typing import Any

_HOME = {
    "Plan": "planning",
    "Reporter": "grid",
    "RunResult": "grid",
    "execute": "grid",
    "plan": "planning",
    "resolve": "config",
    "run": "grid",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import on demand: checking a configuration needs no torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'gnnzoo.runner' has no attribute {name!r}")
    return getattr(import_module(f"gnnzoo.runner.{_HOME[name]}"), name)

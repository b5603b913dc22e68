"""What a study may set: the cards' ``search``, widened so that the shipped configuration lies in it. Without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gnnzoo.cards import Domain, Scalar

if TYPE_CHECKING:
    from optuna import Trial

    from gnnzoo.runner.config import Config

__all__ = ["grid", "grid_size", "nearest", "shipped_value", "suggest", "tidy", "widen"]

_POINTS = 5
"""A grid has so many values of a range without steps."""

_GROUP = 4
"""Parts of ``train.groups.<tag>.<key>``, which is ``train.<key>`` where it is not set."""


def shipped_value(config: Config, key: str) -> Any:
    """Return what a configuration has for a dotted key."""
    section, *path = key.split(".")
    value: Any = config.sections[section]
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None and path[0] == "groups" and len(path) == _GROUP - 1:
        return config.sections["train"][path[-1]]
    return value


def _equal(a: Any, b: Any) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def widen(domain: Domain, value: Any) -> Domain:
    """Return a domain that also has ``value``, where one can: no range has words, no logarithm has 0."""
    if domain.choices is not None:
        if not isinstance(value, Scalar) or any(_equal(choice, value) for choice in domain.choices):
            return domain
        return Domain(choices=[*domain.choices, value])
    assert domain.low is not None
    assert domain.high is not None
    if not _number(value) or (domain.log and value <= 0) or (domain.whole and value != int(value)):
        return domain
    value = int(value) if domain.whole else float(value)
    step = domain.step
    if step is not None:
        steps = (value - domain.low) / step
        step = step if math.isclose(steps, round(steps), abs_tol=1e-9) else None
    return Domain(low=min(domain.low, value), high=max(domain.high, value), step=step, log=domain.log)


def nearest(domain: Domain, value: Any) -> Scalar:
    """Return the member of a domain that stands for ``value``: itself where it is one."""
    if domain.choices is not None:
        return next((choice for choice in domain.choices if _equal(choice, value)), domain.choices[0])
    assert domain.low is not None
    assert domain.high is not None
    if not _number(value):
        return domain.low
    return min(max(int(value) if domain.whole else float(value), domain.low), domain.high)


def tidy(domain: Domain, value: Any) -> Any:
    """Return a drawn value without the rounding of its steps: 0.3, not 0.30000000000000004."""
    return round(value, 10) if domain.step is not None and isinstance(value, float) else value


def suggest(trial: Trial, key: str, domain: Domain) -> Any:
    """Let Optuna draw a value."""
    if domain.choices is not None:
        return trial.suggest_categorical(key, domain.choices)
    assert domain.low is not None
    assert domain.high is not None
    if domain.whole:
        step = int(domain.step or 1)
        return trial.suggest_int(key, int(domain.low), int(domain.high), step=step, log=domain.log)
    return tidy(domain, trial.suggest_float(key, domain.low, domain.high, step=domain.step, log=domain.log))


def grid(domain: Domain) -> list[Any]:
    """Return the values of a domain that a grid goes through: all, or five of a range that has no end of them."""
    if domain.choices is not None:
        return list(domain.choices)
    low, high = domain.low, domain.high
    assert low is not None
    assert high is not None
    if domain.step is None and not (domain.whole and high - low < _POINTS):
        shares = [number / (_POINTS - 1) for number in range(_POINTS)]
        if domain.log:
            found = [low * (high / low) ** share for share in shares]
        else:
            found = [low + (high - low) * share for share in shares]
        return list(dict.fromkeys(round(value) if domain.whole else float(value) for value in found))
    step = domain.step or 1
    count = math.floor((high - low) / step + 1e-9) + 1
    return [tidy(domain, low + number * step) for number in range(count)]


def grid_size(space: Mapping[str, Domain]) -> int:
    """Return how many points the grid has."""
    return math.prod(len(grid(domain)) for domain in space.values())

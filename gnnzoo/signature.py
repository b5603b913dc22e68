"""A constructor's signature is its schema: names, types, ranges, defaults and docs are read from it."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from gnnzoo.errors import ConfigError, closest

__all__ = ["Parameter", "check", "parameters", "type_name", "validate"]

_SKIPPED = ("self", "args", "kwargs")


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor or function, as ``gnnzoo info`` shows it."""

    name: str
    annotation: Any
    default: Any
    doc: str

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is inspect.Parameter.empty

    @property
    def type_name(self) -> str:
        """The type in words, such as ``int >= 1`` or ``diag | bundle | general``."""
        return type_name(self.annotation)


def type_name(annotation: Any) -> str:
    """Write a type for people: ``int > 0``, ``diag | bundle``, ``float | none``."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = [str(c) for meta in args[1:] for c in getattr(meta, "metadata", [meta])]
        signs = {"Ge(ge=": ">= ", "Gt(gt=": "> ", "Le(le=": "<= ", "Lt(lt=": "< "}
        words = [sign + b[len(prefix) : -1] for b in bounds for prefix, sign in signs.items() if b.startswith(prefix)]
        return f"{type_name(args[0])} {', '.join(words)}".strip()
    if origin is typing.Literal:
        return " | ".join(str(a) for a in args)
    if origin is typing.Union or type(annotation).__name__ == "UnionType":
        return " | ".join(type_name(a) for a in args)
    if annotation is type(None):
        return "none"
    if origin is dict:
        return "mapping"
    if origin is not None:
        return str(annotation).replace("typing.", "")
    return getattr(annotation, "__name__", str(annotation))


def _docs(target: Callable[..., Any]) -> dict[str, str]:
    """Read the ``Args:`` section of a Google-style docstring (the class's, then the constructor's)."""
    texts = [inspect.getdoc(target) or ""]
    if inspect.isclass(target):
        texts.append(inspect.getdoc(target.__init__) or "")
    found: dict[str, str] = {}
    for text in texts:
        section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
        if not section:
            continue
        indent = re.match(r"[ \t]*", section[1]).group()  # type: ignore[union-attr]
        current = ""
        for line in section[1].splitlines():
            entry = re.match(rf"{indent}\*{{0,2}}(\w+)(?:\s*\([^)]*\))?:\s*(.*)", line)
            if entry and not line.startswith(indent + " "):
                current = entry[1]
                found[current] = entry[2].strip()
            elif current and line.strip():
                found[current] += " " + line.strip()
    return found


@lru_cache(maxsize=512)
def parameters(target: Callable[..., Any], skip: tuple[str, ...] = ()) -> dict[str, Parameter]:
    """Return the named parameters of a class's constructor or of a function, without those in ``skip``."""
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(function, include_extras=True)
    docs = _docs(target)
    return {
        name: Parameter(name, hints.get(name, Any), p.default, docs.get(name, ""))
        for name, p in inspect.signature(function).parameters.items()
        if name not in _SKIPPED + skip and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }


@lru_cache(maxsize=512)
def _schema(target: Callable[..., Any], skip: tuple[str, ...]) -> type[BaseModel]:
    optional = [p for p in parameters(target, skip).values() if not p.required]
    fields: dict[str, Any] = {p.name: (p.annotation, p.default) for p in optional}
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    return create_model("Arguments", __config__=config, **fields)


def validate(
    target: Callable[..., Any], values: Mapping[str, Any], where: str, skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Check ``values`` against the optional parameters of ``target``; return them converted, with defaults filled in.

    Args:
        target: a class or function whose defaults are the schema.
        values: the settings to check.
        where: the section they were written in, such as ``"model"``; errors name ``model.<key>``.
        skip: parameters that are not settings (``in_channels``, ...).

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range.
    """
    known = [p.name for p in parameters(target, skip).values() if not p.required]
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {where}.{key}{closest(key, known)}")
    return check(_schema(target, skip), values, where).model_dump()


def _kinds(annotation: Any) -> set[Any]:
    """Return the plain types that an annotation is made of."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _kinds(annotation.__origin__)
    arguments = typing.get_args(annotation)
    return set().union(*map(_kinds, arguments)) if arguments else {annotation}


def check(schema: type[BaseModel], values: Mapping[str, Any], where: str) -> BaseModel:
    """Validate ``values`` by a pydantic schema; its first complaint becomes one line that names ``where.<key>``."""
    for key, value in values.items():
        kinds = _kinds(schema.model_fields[key].annotation) if key in schema.model_fields else set()
        if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:  # which pydantic takes for 0 and 1
            raise ConfigError(f"{where}.{key}={value}: should be a number")
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        if first["type"] == "extra_forbidden":
            fields = {name: field.annotation for name, field in schema.model_fields.items()}
            if len(path) > 1:
                inner = [kind for kind in _kinds(fields[path[0]]) if issubclass(kind, BaseModel)]
                fields = {name: None for kind in inner for name in kind.model_fields}
            hint = closest(path[-1], fields)
            raise ConfigError(f"unknown key {'.'.join([where, *path])}{hint}") from None
        key = ".".join([where, *[p for p in path if p in values or p.isidentifier()][:3]])
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        message = re.sub(r", unable to parse .*", "", message)
        raise ConfigError(f"{key}={first['input']!r}: {message}") from None

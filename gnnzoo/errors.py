"""What a user can get wrong, said in one line: what is wrong, where, and the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ConfigError",
    "DataError",
    "GnnzooError",
    "Interrupted",
    "StorageError",
    "UnknownNameError",
    "closest",
]


class GnnzooError(Exception):
    """Base of all errors that a user can mend. The command line prints the message and exits with status 2."""


class ConfigError(GnnzooError):
    """A setting is unknown, of the wrong type, out of range, or does not fit the others."""


class DataError(GnnzooError):
    """A dataset's files are missing, damaged or not what the card says."""


class StorageError(GnnzooError):
    """Results cannot be written or read; nothing that exists was damaged."""


class Interrupted(GnnzooError):  # noqa: N818 - a stop that was asked for is no error
    """A stop was asked for; the state is on disk, and the same command goes on from there."""


class UnknownNameError(ConfigError, KeyError):
    """A name that no registry knows."""

    def __init__(self, kind: str, name: str, choices: Iterable[str], where: str = "") -> None:
        """Name the close matches of ``name`` among ``choices``, or all choices when few."""
        self.kind, self.name = kind, name
        super().__init__(f"unknown {kind} {name!r}{where and f' in {where}'}{closest(name, choices)}")

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str]]:
        """Travel between processes as the message."""
        return ConfigError, (str(self),)

    def __str__(self) -> str:
        """Undo ``KeyError``'s quoting of its message."""
        return str(self.args[0])


def closest(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of ``choices``, else a short list of them."""
    names = sorted(set(choices))
    by_lower = {n.lower(): n for n in names}
    near = [by_lower[n] for n in get_close_matches(str(name).lower(), list(by_lower), n=3, cutoff=0.6)]
    near = near or [n for n in names if str(name) and (n.lower().startswith(name.lower()) or name.lower() in n.lower())]
    if near:
        return f"; did you mean {' or '.join(repr(n) for n in near[:3])}?"
    if not names:
        return "; there are none"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"; choose from: {shown}"

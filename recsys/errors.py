"""Every error a user can cause, in one small tree.

::

    RecsysError            one line for the user: given, wanted, where, next step
    ├── UsageError         a command or call that cannot mean anything   (exit 2)
    ├── ConfigError        a configuration key or value                  (exit 2)
    ├── InputError         a file or row that cannot be read             (exit 1)
    ├── NotFoundError      an id that the data does not have             (exit 1, HTTP 404)
    ├── BundleError        a trained version that cannot be used         (exit 1)
    ├── LeakError          an evaluation that knew what it should tell   (exit 1)
    └── WorkersLostError   workers that died, or data lost with them     (exit 1)

Anything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "BundleError",
    "ConfigError",
    "InputError",
    "LeakError",
    "NotFoundError",
    "RecsysError",
    "UsageError",
    "WorkersLostError",
    "nearest",
]


class RecsysError(Exception):
    """Base of all errors that are the caller's to mend; ``str(error)`` is one printable line."""

    exit_code = 1


class UsageError(RecsysError):
    """The call itself is wrong: an option out of range, two options that exclude each other."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key is unknown, or its value has the wrong type or range."""


class InputError(RecsysError):
    """Input that cannot be read; the message says file:row, what was found and what was wanted."""


class NotFoundError(RecsysError):
    """An id is unknown. ``nearest`` holds the known ids that look most like it."""

    def __init__(self, kind: str, id: str, nearest: Iterable[str] = ()) -> None:
        self.kind = kind
        self.id = id
        self.nearest = list(nearest)
        shown = id if len(id) <= 80 else id[:77] + "..."
        close = ", ".join(map(repr, self.nearest))
        hint = f"nearest known: {close}" if close else "nothing known looks like it"
        super().__init__(f"no {kind} {shown!r}; {hint}")


class BundleError(RecsysError):
    """A trained version is missing, damaged, or written by a newer schema."""


class LeakError(RecsysError):
    """An evaluation whose models or lists know what they are to be measured on."""


class WorkersLostError(RecsysError):
    """Workers died, or what they held was lost; a training renews them and goes on."""


def nearest(name: str, known: Iterable[str], *, n: int = 1) -> list[str]:
    """Return up to `n` of the `known` names that look most like `name`, best first."""
    return get_close_matches(name, list(known), n=n, cutoff=0.5)

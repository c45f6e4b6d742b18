"""Who may ask what: API keys with scopes.

Enters: the ``Authorization: Bearer`` header. Leaves: nothing, or a 401 or 403. Keys are random (256
bits), so their SHA-256 needs no salt; only that is kept (``MODELS/keys.json``), and it is compared
in constant time with every known key. Without keys everything is allowed, which is why a server
without keys listens on loopback only.

======== ==========================================================
scope    allows
======== ==========================================================
read     lists, items, artists, search, map, versions, metrics
write    live events
admin    all of it; deleting a listener, activating a version
======== ==========================================================
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Collection, Coroutine
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from recsys.errors import BundleError, NotFoundError, RecsysError, UsageError, nearest
from recsys.storage import Folder

__all__ = ["SCOPES", "ForbiddenError", "Key", "KeyRing", "UnauthorizedError", "allowed"]

SCOPES = ("read", "write", "admin")
"""What a key may be for."""

_FILE = "keys.json"
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_bearer = HTTPBearer(auto_error=False, description="A key of `recsys keys MODELS create NAME`.")


class UnauthorizedError(RecsysError):
    """No key was given, or one that is not known."""


class ForbiddenError(RecsysError):
    """The key is known but lacks the scope."""


@dataclass(frozen=True)
class Key:
    """What is kept of a key."""

    name: str
    sha256: str
    scopes: list[str]
    made_at: str


class KeyRing:
    """The keys of one folder of versions.

    Parameters
    ----------
    folder
        The folder of the versions.
    required
        Refuse everything while there is no key, instead of allowing everything.
    """

    def __init__(self, folder: Folder, *, required: bool = False) -> None:
        self._folder = folder
        self._required = required
        self.keys: list[Key] = []
        self.refresh()

    def refresh(self) -> None:
        """Read the keys again; BundleError where the file is damaged."""
        try:
            self.keys = [Key(**key) for key in json.loads(self._folder.read(_FILE))]
        except FileNotFoundError:
            self.keys = []
        except (ValueError, TypeError) as error:
            raise BundleError(
                f"{self._folder.path}/{_FILE}: damaged ({error}); restore it, or delete it and "
                f"create the keys anew"
            ) from error

    def create(self, name: str, scopes: Collection[str]) -> str:
        """Add a key and return its secret, which is kept nowhere.

        Raises
        ------
        UsageError
            For an unusable or taken name and for scopes that do not exist.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"key name: want letters, digits, dot, dash, got {name!r}")
        if any(key.name == name for key in self.keys):
            raise UsageError(f"key {name!r} is there already; revoke it first")
        unknown = set(scopes) - set(SCOPES)
        if unknown or not scopes:
            raise UsageError(f"scopes: want some of {', '.join(SCOPES)}, got {sorted(scopes)}")
        secret = f"recsys_{secrets.token_urlsafe(32)}"
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.keys.append(Key(name, _digest(secret), sorted(scopes), made_at))
        self._write()
        return secret

    def revoke(self, name: str) -> None:
        """Take a key away; NotFoundError where there is none of this name."""
        kept = [key for key in self.keys if key.name != name]
        if len(kept) == len(self.keys):
            names = [key.name for key in self.keys]
            raise NotFoundError("key", name, nearest(name, names, n=3))
        self.keys = kept
        self._write()

    def check(self, secret: str | None, scope: str) -> None:
        """Return where `secret` allows `scope`; else UnauthorizedError or ForbiddenError."""
        if not self.keys and not self._required:
            return
        found: Key | None = None
        digest = _digest(secret or "")
        for key in self.keys:  # all of them, so that the time says nothing
            if hmac.compare_digest(key.sha256, digest):
                found = key
        if found is None:
            raise UnauthorizedError("want a known key: Authorization: Bearer recsys_...")
        if scope not in found.scopes and "admin" not in found.scopes:
            raise ForbiddenError(f"this key has not the scope {scope}")

    def _write(self) -> None:
        content = json.dumps([asdict(key) for key in self.keys], indent=1).encode()
        self._folder.write(_FILE, content)


def allowed(scope: str) -> Callable[..., Coroutine[Any, Any, None]]:
    """Return a dependency that lets a request pass whose key has `scope`."""

    async def check(
        request: Request,
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> None:
        ring: KeyRing = request.app.state.live.keys
        ring.check(None if given is None else given.credentials, scope)

    return check


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

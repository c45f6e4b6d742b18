"""Errors as RFC 9457 problems: one JSON shape for all of them, with a stable `type`.

Enters: whatever a request handler raises. Leaves: ``application/problem+json`` whose ``type`` a
client may rely on; ``detail`` is for people and may change.

=========================== ====== ================================================================
type urn:recsys:problem:... status when
=========================== ====== ================================================================
malformed-body              400    a body that is no text at all
unauthorized                401    no key, or an unknown one
forbidden                   403    a key without the scope
unknown-id                  404    no such listener, item or artist; ``nearest`` holds known ids
no-such-route               404    no such address
method-not-allowed          405    the address knows other methods; ``Allow`` names them
conflict                    409    a version that cannot be opened
too-large                   413    a body above the limit
invalid-request             422    a parameter or body that cannot mean anything; ``errors`` says
                                   where
not-ready                   503    no version could be loaded yet
store-unavailable           503    the event store is not configured, or does not answer
storage-unavailable         503    the disk or bucket of the versions is full, or does not answer
overloaded                  503    too many requests at once; ``Retry-After`` says when
internal                    500    a bug of ours; the log has the traceback
=========================== ====== ================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from recsys.data.eventstore import StoreError
from recsys.errors import InputError, NotFoundError, RecsysError, UsageError
from recsys.serving.security import ForbiddenError, UnauthorizedError

__all__ = ["NotReadyError", "Problem", "documented", "handle_errors", "pattern_of", "problem"]

_TYPE = "urn:recsys:problem:"
_MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)


class NotReadyError(RecsysError):
    """No version can answer yet."""


class Fault(BaseModel):
    """One thing wrong with a request."""

    where: str = Field(description="The place in the request.", examples=["query.k"])
    message: str = Field(examples=["Input should be greater than or equal to 1"])


class Problem(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str = Field(description="Stable name of the problem.", examples=[_TYPE + "unknown-id"])
    title: str = Field(description="The problem in a few words.", examples=["Unknown id"])
    status: int = Field(examples=[404])
    detail: str = Field(
        description="What was given, what was wanted.",
        examples=["no user 'user-0012x'; nearest known: 'user-0012'"],
    )
    nearest: list[str] | None = Field(
        default=None, description="Known ids most like the unknown one."
    )
    errors: list[Fault] | None = Field(
        default=None, description="Every fault of an invalid request."
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entry of the problems that a route may answer with, besides overload."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if 401 in statuses:
        statuses = (*statuses, 403)
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {_MEDIA_TYPE: schema}}
        for status in sorted({*statuses, 503})
    }


def handle_errors(app: FastAPI) -> None:
    """Let `app` answer every error as a problem, and document that shape."""
    for kind, handler in (
        (NotFoundError, _unknown_id),
        (NotReadyError, _not_ready),
        (StoreError, _store_away),
        (OSError, _disk_away),
        (UnauthorizedError, _unauthorized),
        (ForbiddenError, _forbidden),
        (UsageError, _unusable),
        (InputError, _unusable),
        (RequestValidationError, _invalid),
        (HTTPException, _http),
        (Exception, _internal),
    ):
        app.add_exception_handler(kind, handler)
    document = app.openapi

    @cache  # every request asks which parameters its route documents
    def openapi() -> dict[str, Any]:
        # FastAPI collects the shapes of plain JSON answers only.
        whole = document()
        shapes = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        whole["components"]["schemas"] |= {**shapes.pop("$defs"), "Problem": shapes}
        return whole

    app.openapi = openapi  # type: ignore[method-assign]


def pattern_of(scope: Scope) -> str:
    """Return the pattern of a request's address, which holds no id; ``(none)`` without a route."""
    route = scope.get("route")
    return str(getattr(route, "path_format", "(none)"))


async def _unknown_id(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, NotFoundError)
    return problem(404, "unknown-id", "Unknown id", str(error), nearest=error.nearest)


async def _store_away(_: Request, error: Exception) -> JSONResponse:
    _log.error("%s", error)
    detail = "the event store does not answer; nothing was lost or changed, ask again"
    answer = problem(503, "store-unavailable", "Event store unavailable", detail)
    answer.headers["Retry-After"] = "1"
    return answer


async def _disk_away(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, pattern_of(request.scope), exc_info=error)
    detail = "the disk of the versions is full or does not answer; nothing was changed, ask again"
    answer = problem(503, "storage-unavailable", "Storage unavailable", detail)
    answer.headers["Retry-After"] = "1"
    return answer


async def _unauthorized(_: Request, error: Exception) -> JSONResponse:
    answer = problem(401, "unauthorized", "Unauthorized", str(error))
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


async def _forbidden(_: Request, error: Exception) -> JSONResponse:
    return problem(403, "forbidden", "Forbidden", str(error))


async def _not_ready(_: Request, error: Exception) -> JSONResponse:
    answer = problem(503, "not-ready", "Not ready", str(error))
    answer.headers["Retry-After"] = "1"
    return answer


async def _unusable(_: Request, error: Exception) -> JSONResponse:
    return problem(422, "invalid-request", "Invalid request", str(error))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # What was sent is not echoed: it may be long, private, or no valid text at all.
    faults = [
        {"where": _where(fault["loc"]), "message": str(fault["msg"])} for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
    return problem(422, "invalid-request", "Invalid request", detail, errors=faults)


def _where(place: Sequence[str | int]) -> str:
    """Return a place in a request without what only tells how it was read."""
    return ".".join(part for part in map(str, place) if not part.startswith("("))


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    names = {400: "malformed-body", 404: "no-such-route", 413: "too-large"}
    name = names.get(error.status_code, phrase.lower().replace(" ", "-"))
    detail = (
        "no such address; /docs lists all of them" if name == "no-such-route" else str(error.detail)
    )
    answer = problem(error.status_code, name, phrase, detail)
    answer.headers.update(error.headers or {})
    return answer


async def _internal(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, pattern_of(request.scope), exc_info=error)
    return problem(500, "internal", "Internal error", "a fault of the server; its log says more")


def problem(status: int, name: str, title: str, detail: str, **more: Any) -> JSONResponse:
    """Return the answer of one kind of problem."""
    body = {"type": _TYPE + name, "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, media_type=_MEDIA_TYPE)

"""Errors as RFC 9457 problems: one JSON shape for all of them, with a stable `type`.

Enters: whatever a request handler raises. Leaves: ``application/problem+json`` whose ``type`` a
client may rely on; ``detail`` is for people and may change.

=========================== ====== ================================================================
type urn:recsys:problem:... status when
=========================== ====== ================================================================
unknown-id                  404    no such listener, item or artist; ``nearest`` holds known ids
no-such-route               404    no such address
invalid-request             422    a parameter or body that cannot mean anything; ``errors`` says
                                   where
not-ready                   503    no version could be loaded yet
internal                    500    a bug of ours; the log has the traceback
=========================== ====== ================================================================
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from recsys.errors import NotFoundError, RecsysError, UsageError

__all__ = ["NotReadyError", "Problem", "documented", "handle_errors"]

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
    """Return the OpenAPI entry of the problems that a route may answer with."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {_MEDIA_TYPE: schema}}
        for status in statuses
    }


def handle_errors(app: FastAPI) -> None:
    """Let `app` answer every error as a problem, and document that shape."""
    for kind, handler in (
        (NotFoundError, _unknown_id),
        (NotReadyError, _not_ready),
        (UsageError, _unusable),
        (RequestValidationError, _invalid),
        (HTTPException, _http),
        (Exception, _internal),
    ):
        app.add_exception_handler(kind, handler)
    document = app.openapi

    def openapi() -> dict[str, Any]:
        # FastAPI collects the shapes of plain JSON answers only.
        whole = document()
        shapes = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        whole["components"]["schemas"] |= {**shapes.pop("$defs"), "Problem": shapes}
        return whole

    app.openapi = openapi  # type: ignore[method-assign]


async def _unknown_id(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, NotFoundError)
    return _answer(404, "unknown-id", "Unknown id", str(error), nearest=error.nearest)


async def _not_ready(_: Request, error: Exception) -> JSONResponse:
    answer = _answer(503, "not-ready", "Not ready", str(error))
    answer.headers["Retry-After"] = "1"
    return answer


async def _unusable(_: Request, error: Exception) -> JSONResponse:
    return _answer(422, "invalid-request", "Invalid request", str(error))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # What was sent is not echoed: it may be long, private, or no valid text at all.
    faults = [
        {"where": ".".join(map(str, fault["loc"])), "message": str(fault["msg"])}
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
    return _answer(422, "invalid-request", "Invalid request", detail, errors=faults)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    name = "no-such-route" if error.status_code == 404 else phrase.lower().replace(" ", "-")
    detail = (
        "no such address; /docs lists all of them" if name == "no-such-route" else str(error.detail)
    )
    answer = _answer(error.status_code, name, phrase, detail)
    answer.headers.update(error.headers or {})
    return answer


async def _internal(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(500, "internal", "Internal error", "a fault of the server; its log says more")


def _answer(status: int, name: str, title: str, detail: str, **more: Any) -> JSONResponse:
    problem = {"type": _TYPE + name, "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(problem, status, media_type=_MEDIA_TYPE)

"""What a request may say, checked once: ids in addresses, the length of a list, weights.

Enters: the raw parts of a request. Leaves: values that mean something, or a 422.

An id may hold anything, slashes too. Addresses are therefore routed as they were sent
(`SentPaths`): ``/v1/items/a%2Fsimilar`` is the item ``a/similar``, ``/v1/items/a/similar`` is what
resembles ``a``. Decoding comes after routing.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from recsys.ensemble.recommender import SOURCES
from recsys.errors import UsageError, nearest
from recsys.serving.live import Version

__all__ = [
    "Active",
    "ArtistId",
    "AsWanted",
    "ItemId",
    "SentPaths",
    "ShortLength",
    "UserId",
    "Wanted",
    "checked_kind",
    "checked_length",
    "only_known",
]

_TEMPO_SIGNS = 40
"""Characters of the longest range of tempo."""


class SentPaths:
    """Let `app` route on the path as it was sent, before percent-decoding."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (sent := scope.get("raw_path")):
            # latin-1 keeps every byte, also those that a careless client did not encode.
            scope["path"] = sent.partition(b"?")[0].decode("latin-1")
        await self.app(scope, receive, send)


def _decoded(sent: str) -> str:
    return unquote_to_bytes(sent.encode("latin-1")).decode("utf-8", "replace")


_ENCODED = AfterValidator(_decoded)
UserId = Annotated[str, _ENCODED, Path(description="Listener.", examples=["user-0012"])]
ItemId = Annotated[str, _ENCODED, Path(description="Item.", examples=["track-0420"])]
ArtistId = Annotated[str, _ENCODED, Path(description="Artist.", examples=["artist-031"])]


async def _active(request: Request) -> Version:
    version: Version = request.app.state.live.version
    return version


async def only_known(request: Request) -> None:
    """Refuse a query parameter that the route does not document: it would have no effect."""
    if not request.query_params:
        return
    document = request.app.openapi()["paths"][request.scope["route"].path_format]
    operation = document[request.method.lower()]
    if "422" not in operation["responses"]:
        return
    known = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}"
            raise UsageError(f"unknown parameter {name[:80]!r}; {hint}")


Active = Annotated[Version, Depends(_active)]


def checked_length(k: int, request: Request) -> int:
    """Return `k`; UsageError naming the allowed range where a list cannot have that length."""
    longest: int = request.app.state.max_k
    if not 1 <= k <= longest:
        raise UsageError(f"k: want 1 to {longest}, got {k}")
    return k


async def _short_length(
    request: Request,
    k: Annotated[int, Query(description="Length of the list, from 1.", examples=[10])] = 10,
) -> int:
    return checked_length(k, request)


ShortLength = Annotated[int, Depends(_short_length)]


def checked_kind(kind: str | None, version: Version) -> str | None:
    """Return `kind`; UsageError naming the known ones where no item is of that kind."""
    kinds = version.recommender.catalogue.kinds
    if kind is not None and kinds.row(kind) < 0:
        raise UsageError(f"kind: want one of {', '.join(kinds)}, got {kind!r}")
    return kind


def _read_weights(weights: str) -> dict[str, float]:
    parsed: dict[str, float] = {}
    for part in weights.split(","):
        name, colon, number = part.partition(":")
        try:
            parsed[name.strip()] = float(number)
        except ValueError:
            colon = ""
        if not colon:
            raise UsageError(f"weights: want name:number, got {part[:80]!r}")
    return parsed


def _read_tempo(tempo: str) -> tuple[float, float]:
    low, _, high = tempo[:_TEMPO_SIGNS].partition("-")
    try:
        if len(tempo) > _TEMPO_SIGNS:
            raise ValueError(tempo)
        return float(low), float(high)
    except ValueError:
        got = tempo[:_TEMPO_SIGNS]
        raise UsageError(f"tempo: want lowest-highest, as 160-180, got {got!r}") from None


_Weights = Annotated[
    dict[str, float] | None, BeforeValidator(_read_weights), WithJsonSchema({"type": "string"})
]
_Tempo = Annotated[
    tuple[float, float] | None,
    BeforeValidator(_read_tempo),
    WithJsonSchema({"type": "string", "maxLength": _TEMPO_SIGNS}),
]


class Wanted(BaseModel):
    """What a list shall hold, as `HybridRecommender.recommend` takes it."""

    k: int = Field(default=30, description="Length of the list, from 1.", examples=[30])
    kind: str | None = Field(
        default=None,
        description="Kind of item; default: the one most listened to.",
        examples=["track"],
    )
    weights: _Weights = Field(
        default=None,
        description=f"Weights of sources ({', '.join(SOURCES)}), in place of the trained ones.",
        examples=["collaborative:1,text:0.5"],
    )
    tempo: _Tempo = Field(
        default=None,
        description="Beats a minute, lowest and highest; half and double count.",
        examples=["160-180"],
    )
    territory: str | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="Only what may be heard there.",
        examples=["HK"],
    )
    context: str | None = Field(
        default=None,
        min_length=1,
        max_length=40,
        description="running, or morning, afternoon, evening, night.",
        examples=["running"],
    )

    @classmethod
    def documented(cls) -> dict[str, Any]:
        """Return the OpenAPI entry of these query parameters."""
        fields = cls.model_json_schema()["properties"]
        return {
            "parameters": [
                {"name": name, "in": "query", "required": False, "schema": schema}
                | {"description": schema["description"]}
                for name, schema in fields.items()
            ]
        }


async def _wanted(request: Request) -> Wanted:
    # All at once: FastAPI takes a hundredth of a millisecond for each parameter that it reads.
    try:
        wanted = Wanted.model_validate(dict(request.query_params))
    except ValidationError as error:
        faults = [fault | {"loc": ("query", *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from None
    checked_length(wanted.k, request)
    checked_kind(wanted.kind, await _active(request))
    return wanted


AsWanted = Annotated[Wanted, Depends(_wanted)]

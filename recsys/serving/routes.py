"""The addresses of lists: what a listener, a history or some seeds lead to.

Enters: checked parameters (parameters.py). Leaves: the shapes of schemas.py. A handler is a plain
function and runs in a thread: Serve's router shares the event loop with this code, so nothing here
may block it. Those that make lists take turns (`in_turn`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic_core import to_json

from recsys.ensemble.playlist import go_on
from recsys.ensemble.recommender import Recommendation
from recsys.ensemble.weekly import week_of
from recsys.serving import schemas
from recsys.serving.asked import desk_of, in_turn
from recsys.serving.live import SEGMENT_TOLD
from recsys.serving.parameters import (
    Active,
    AsWanted,
    ShortLength,
    UserId,
    Wanted,
    checked_kind,
    checked_length,
    only_known,
)
from recsys.serving.playlists import jspf, m3u
from recsys.serving.problems import documented
from recsys.serving.security import allowed

__all__ = ["lists"]

lists = APIRouter(prefix="/v1", dependencies=[Depends(allowed("read")), Depends(only_known)])

_PAGE = Annotated[int, Query(ge=1, le=1000, description="Listeners on a page.")]
_Format = Annotated[
    Literal["json", "jspf", "m3u"], Query(description="A playlist format, or json.")
]
_MEDIA = {"json": "application/json", "jspf": "application/jspf+json", "m3u": "audio/x-mpegurl"}


@lists.get("/users", tags=["listeners"], responses=documented(401, 422))
def users(
    version: Active,
    request: Request,
    after: Annotated[str, Query(description="The last id of the page before.")] = "",
    limit: _PAGE = 50,
) -> schemas.Listeners:
    """List the listeners that the version knows in the order of their ids, a page at a time."""
    known = version.recommender.catalogue.users
    heard = version.recommender.interactions.heard.indptr
    start = bisect_right(known, after)
    page = [known[row] for row in range(start, min(start + limit, len(known)))]
    more = start + len(page) < len(known)
    rows = ((id, known.row(id)) for id in desk_of(request).not_deleted(page))
    return schemas.Listeners(
        users=[
            schemas.Listener(user_id=id, heard=int(heard[row + 1] - heard[row])) for id, row in rows
        ],
        total=len(known),
        next=page[-1] if more else None,
    )


@lists.get(
    "/users/{user_id:path}/recommendations",
    tags=["listeners"],
    response_model=schemas.Recommendations,
    responses=documented(401, 404, 422),
    openapi_extra=Wanted.documented(),
)
@in_turn
def recommendations(request: Request, user_id: UserId, wanted: AsWanted) -> Response:
    """Recommend what a listener has never heard and will probably love.

    Events count from the moment they were accepted.
    """
    desk = desk_of(request)
    asked = desk.ask(user_id)
    with desk.metrics.stage("recommend"):
        made = asked.version.recommender.recommend(user_id, **vars(wanted), since=asked.since)
    desk.shown(asked, made)
    return _answer(made, user_id=user_id, version=asked.version.name)


@lists.get(
    "/users/{user_id:path}/discover-weekly",
    tags=["listeners"],
    response_model=schemas.Weekly,
    responses={
        200: {"content": {"application/jspf+json": {}, "audio/x-mpegurl": {}}},
        **documented(401, 404, 422),
    },
)
@in_turn
def discover_weekly(
    request: Request,
    user_id: UserId,
    format: _Format = "json",
) -> Response:
    """Give a listener's 30 never-heard items of this ISO week, the same until the week ends."""
    desk = desk_of(request)
    asked, week = desk.ask(user_id), week_of(datetime.now(UTC).date())
    content = desk.weekly.find(user_id, week, format)
    desk.metrics.cached(content is not None)
    if content is None or asked.variant is not None:
        with desk.metrics.stage("recommend"):
            items = asked.version.recommender.weekly(user_id, week, since=asked.since)
        desk.shown(asked, items)
        answer = _answer(items, format, f"Discover Weekly {week}", user_id=user_id, week=week)
        content = desk.weekly.keep(user_id, week, format, bytes(answer.body))
    return Response(content, media_type=_MEDIA[format])


@lists.get("/segments", tags=["listeners"], responses=documented(401, 422))
def segments(
    version: Active,
    k: Annotated[
        int,
        Query(ge=1, le=SEGMENT_TOLD, description="Artists and terms of each group.", examples=[5]),
    ] = 5,
) -> schemas.Segments:
    """Describe the groups of listeners who have a taste in common."""
    told = [replace(one, artists=one.artists[:k], terms=one.terms[:k]) for one in version.segments]
    found = [schemas.Segment.model_validate(one) for one in told]
    return schemas.Segments(version=version.name, segments=found)


@lists.get("/users/{user_id:path}/similar", tags=["listeners"], responses=documented(401, 404, 422))
def similar_users(request: Request, user_id: UserId, k: ShortLength) -> schemas.SimilarOnes:
    """Find listeners of similar taste, as it was when the version was trained."""
    desk = desk_of(request)
    asked = desk.ask(user_id)
    recommender = asked.version.recommender
    found: list[tuple[str, float]] = []
    if recommender.catalogue.users.row(user_id) >= 0:  # who came later has no neighbours yet
        found = recommender.similar("user", user_id, k)
    kept = set(desk.not_deleted(id for id, _ in found))
    similar = [schemas.Similar(id=id, score=score) for id, score in found if id in kept]
    return schemas.SimilarOnes(kind="user", id=user_id, by="hybrid", similar=similar)


@lists.post(
    "/recommendations",
    tags=["lists"],
    response_model=schemas.Recommendations,
    responses=documented(400, 401, 404, 413, 422),
)
@in_turn
def recommend_history(version: Active, request: Request, body: schemas.HistoryRequest) -> Response:
    """Recommend to a listener without an account, from what they played; nothing is kept."""
    desk = desk_of(request)
    with desk.metrics.stage("recommend"):
        made = version.recommender.recommend_history(
            [(entry.item_id, entry.plays) for entry in body.history],
            checked_length(body.k, request),
            weights=body.weights,
            kind=checked_kind(body.kind, version),
        )
    desk.metrics.listed(made, version)
    return _answer(made, user_id=None, version=version.name)


@lists.post(
    "/playlists",
    tags=["lists"],
    response_model=schemas.Playlist,
    responses={
        200: {"content": {"application/jspf+json": {}, "audio/x-mpegurl": {}}},
        **documented(400, 401, 404, 413, 422),
    },
)
@in_turn
def playlist(
    version: Active, request: Request, body: schemas.PlaylistRequest, format: _Format = "json"
) -> Response:
    """Go on from some items (a continuation) or from artists (a radio) with what is like them."""
    desk = desk_of(request)
    with desk.metrics.stage("recommend"):
        made = go_on(
            version.recommender,
            body.seeds,
            checked_length(body.k, request),
            artists=body.artists,
            smooth=body.smooth,
            tempo=body.tempo,
        )
    desk.metrics.listed(made, version)
    return _answer(made, format, "Playlist", version=version.name)


def _answer(
    made: Sequence[Recommendation], format: str = "json", title: str = "", **said: Any
) -> Response:
    """Return a list, with what else is `said` beside it, or as a playlist of that title."""
    content: str | bytes
    if format == "jspf":
        content = jspf(title, made)
    elif format == "m3u":
        content = m3u(title, made)
    else:
        # What we made ourselves need not be checked once more: the schema only documents it.
        content = to_json(said | {"items": [one._asdict() for one in made]})
    return Response(content, media_type=_MEDIA[format])

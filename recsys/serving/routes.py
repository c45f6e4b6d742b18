"""The addresses under /v1 and what each answers.

Enters: checked parameters (parameters.py). Leaves: the shapes of schemas.py. A handler is a plain
function, which FastAPI runs in a thread: Serve's router shares the event loop with this code, so
nothing here may block it.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse, Response

from recsys.data.catalogue import NO_TIME
from recsys.ensemble.recommender import Recommendation
from recsys.ensemble.weekly import week_of
from recsys.serving import schemas
from recsys.serving.live import Live, Version
from recsys.serving.parameters import (
    Active,
    ArtistId,
    ItemId,
    Kind,
    Length,
    ShortLength,
    UserId,
    Weights,
    checked_kind,
    checked_length,
    only_known,
)
from recsys.serving.playlists import jspf, m3u
from recsys.serving.problems import documented

__all__ = ["router"]

router = APIRouter(prefix="/v1", dependencies=[Depends(only_known)])

_N_TERMS = 20
_PAGE = Annotated[int, Query(ge=1, le=1000, description="Listeners on a page.")]
_By = Annotated[
    Literal["hybrid", "collaborative", "text", "audio"],
    Query(description="The model whose neighbours are wanted; hybrid fuses all."),
]


@router.get("/health/live", tags=["health"])
async def live() -> schemas.Health:
    """Say that the process lives."""
    return schemas.Health(status="live")


@router.get("/health/ready", tags=["health"], responses=documented(503))
async def ready(version: Active) -> schemas.Health:
    """Say that a version is loaded and answers."""
    return schemas.Health(status="ready")


@router.get("/users", tags=["listeners"], responses=documented(422, 503))
def users(
    version: Active,
    after: Annotated[str, Query(description="The last id of the page before.")] = "",
    limit: _PAGE = 50,
) -> schemas.Listeners:
    """List the listeners in the order of their ids, a page at a time."""
    known = version.recommender.catalogue.users
    heard = version.recommender.interactions.heard.indptr
    start = bisect_right(known, after)
    page = range(start, min(start + limit, len(known)))
    return schemas.Listeners(
        users=[
            schemas.Listener(user_id=known[row], heard=int(heard[row + 1] - heard[row]))
            for row in page
        ],
        total=len(known),
        next=known[page[-1]] if page and page[-1] + 1 < len(known) else None,
    )


@router.get(
    "/users/{user_id:path}/recommendations",
    tags=["listeners"],
    responses=documented(404, 422, 503),
)
def recommendations(
    version: Active, user_id: UserId, k: Length, kind: Kind, weights: Weights
) -> schemas.Recommendations:
    """Recommend what a listener has never heard and will probably love."""
    made = version.recommender.recommend(user_id, k, weights=weights, kind=kind)
    return schemas.Recommendations(user_id=user_id, version=version.name, items=_listed(made))


@router.get(
    "/users/{user_id:path}/discover-weekly",
    tags=["listeners"],
    response_model=schemas.Weekly,
    responses={
        200: {"content": {"application/jspf+json": {}, "audio/x-mpegurl": {}}},
        **documented(404, 422, 503),
    },
)
def discover_weekly(
    version: Active,
    user_id: UserId,
    format: Annotated[
        Literal["json", "jspf", "m3u"], Query(description="A playlist format, or json.")
    ] = "json",
) -> schemas.Weekly | Response:
    """Give a listener's 30 never-heard items of this ISO week, the same until the week ends."""
    week = week_of(datetime.now(UTC).date())
    items = version.recommender.weekly(user_id, week)
    if format == "jspf":
        return Response(jspf(_weekly_title(week), items), media_type="application/jspf+json")
    if format == "m3u":
        return PlainTextResponse(m3u(_weekly_title(week), items), media_type="audio/x-mpegurl")
    return schemas.Weekly(user_id=user_id, week=week, items=_listed(items))


@router.get(
    "/users/{user_id:path}/similar", tags=["listeners"], responses=documented(404, 422, 503)
)
def similar_users(version: Active, user_id: UserId, k: ShortLength) -> schemas.SimilarOnes:
    """Find listeners of similar taste."""
    found = version.recommender.similar("user", user_id, k)
    similar = [schemas.Similar(id=id, score=score) for id, score in found]
    return schemas.SimilarOnes(kind="user", id=user_id, by="hybrid", similar=similar)


@router.get("/items/{item_id:path}/similar", tags=["items"], responses=documented(404, 422, 503))
def similar_items(
    version: Active, item_id: ItemId, k: ShortLength, by: _By = "hybrid"
) -> schemas.SimilarOnes:
    """Find items that resemble one."""
    catalogue = version.recommender.catalogue
    similar = []
    for id, score in version.recommender.similar("item", item_id, k, by=by):
        row = catalogue.items.row(id)
        artist = _artist(version, int(catalogue.item_artist[row]))
        name = None if artist is None else artist.name
        similar.append(
            schemas.Similar(id=id, score=score, title=catalogue.titles[row], artist=name)
        )
    return schemas.SimilarOnes(kind="item", id=item_id, by=by, similar=similar)


@router.get("/items/{item_id:path}", tags=["items"], responses=documented(404, 422, 503))
def item(version: Active, item_id: ItemId) -> schemas.ItemDetails:
    """Tell what is known about an item."""
    catalogue = version.recommender.catalogue
    row = catalogue.items.require(item_id)
    audio = version.recommender.audio
    described = None if audio is None or audio.descriptors is None else audio.descriptors.of(row)
    released_at, duration_s = int(catalogue.released_at[row]), float(catalogue.duration_s[row])
    return schemas.ItemDetails(
        **vars(_item(version, row)),
        plays=int(version.plays[row]),
        duration_s=None if np.isnan(duration_s) else duration_s,
        released_at=None if released_at == NO_TIME else _iso_time(released_at),
        labels=catalogue.labels[row],
        descriptors=None if described is None else schemas.Descriptors(**described),
        models=[name for name, vectors in version.recommender.spaces.items() if vectors[row].any()],
    )


@router.get(
    "/artists/{artist_id:path}/related", tags=["artists"], responses=documented(404, 422, 503)
)
def related(
    version: Active, artist_id: ArtistId, k: ShortLength, by: _By = "hybrid"
) -> schemas.SimilarOnes:
    """Find artists that resemble one."""
    catalogue = version.recommender.catalogue
    similar = [
        schemas.Similar(id=id, score=score, title=catalogue.artist_name(catalogue.artists.row(id)))
        for id, score in version.recommender.similar("artist", artist_id, k, by=by)
    ]
    return schemas.SimilarOnes(kind="artist", id=artist_id, by=by, similar=similar)


@router.get("/artists/{artist_id:path}", tags=["artists"], responses=documented(404, 422, 503))
def artist(version: Active, artist_id: ArtistId, k: ShortLength) -> schemas.ArtistDetails:
    """Tell what is said of an artist, and their items, the most listened to first."""
    catalogue, text = version.recommender.catalogue, version.recommender.text
    row = catalogue.artists.require(artist_id)
    items = np.flatnonzero(catalogue.item_artist == row)
    items = items[np.argsort(-version.recommender.listeners_of[items], kind="stable")][:k]
    terms = [] if text is None else text.top_terms(row, _N_TERMS)
    return schemas.ArtistDetails(
        artist_id=artist_id,
        name=catalogue.artist_name(row),
        terms=[schemas.Term(term=term, weight=weight) for term, weight in terms],
        items=[_item(version, int(item)) for item in items],
    )


@router.post("/recommendations", tags=["lists"], responses=documented(404, 422, 503))
def recommend_history(
    version: Active, request: Request, body: schemas.HistoryRequest
) -> schemas.Recommendations:
    """Recommend to a listener without an account, from what they played."""
    made = version.recommender.recommend_history(
        [(entry.item_id, entry.plays) for entry in body.history],
        checked_length(body.k, request),
        weights=body.weights,
        kind=checked_kind(body.kind, version),
    )
    return schemas.Recommendations(user_id=None, version=version.name, items=_listed(made))


@router.post("/playlists", tags=["lists"], responses=documented(404, 422, 503))
def playlist(version: Active, request: Request, body: schemas.PlaylistRequest) -> schemas.Playlist:
    """Go on from some items with others like them."""
    seeds = [(seed, 1.0) for seed in dict.fromkeys(body.seeds)]
    made = version.recommender.recommend_history(seeds, checked_length(body.k, request))
    return schemas.Playlist(version=version.name, items=_listed(made))


@router.get("/search", tags=["items", "artists"], responses=documented(422, 503))
def search(
    version: Active,
    q: Annotated[
        str, Query(min_length=1, max_length=200, description="A piece of a title or name.")
    ],
    k: ShortLength,
) -> schemas.Found:
    """Find items and artists by a piece of their name."""
    artists = (_artist(version, int(row)) for row in version.names.artists(q, k))
    return schemas.Found(
        items=[_item(version, int(row)) for row in version.names.items(q, k)],
        artists=[found for found in artists if found is not None],
    )


@router.get("/models", tags=["models"], responses=documented(503))
def models(version: Active, request: Request) -> schemas.ModelVersions:
    """List the trained versions and say which one answers."""
    followed: Live = request.app.state.live
    return schemas.ModelVersions(
        serving=version.name,
        problem=followed.problem,
        versions=[
            schemas.ModelVersion.model_validate(summary) for summary in followed.models.summaries()
        ],
    )


def _listed(made: list[Recommendation]) -> list[schemas.Listed]:
    return [schemas.Listed.model_validate(one) for one in made]


def _item(version: Version, row: int) -> schemas.Item:
    catalogue = version.recommender.catalogue
    return schemas.Item(
        item_id=catalogue.items[row],
        title=catalogue.titles[row],
        artist=_artist(version, int(catalogue.item_artist[row])),
        kind=catalogue.kinds[int(catalogue.item_kind[row])],
        listeners=int(version.recommender.listeners_of[row]),
    )


def _artist(version: Version, row: int) -> schemas.Artist | None:
    catalogue = version.recommender.catalogue
    if row < 0:
        return None
    return schemas.Artist(artist_id=catalogue.artists[row], name=catalogue.artist_name(row))


def _weekly_title(week: str) -> str:
    return f"Discover Weekly {week}"


def _iso_time(milliseconds: int) -> str:
    return f"{np.datetime64(milliseconds, 'ms')}Z"

"""Items and artists: what is known of them, what resembles them, how they sound, where they lie.

Enters: checked parameters (parameters.py). Leaves: the shapes of schemas.py. A handler is a plain
function, which FastAPI runs in a thread: nothing here may block the event loop.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse

from recsys.data.catalogue import NO_TIME
from recsys.errors import NotFoundError
from recsys.serving import schemas
from recsys.serving.asked import desk_of
from recsys.serving.live import Version
from recsys.serving.parameters import Active, ArtistId, ItemId, ShortLength, only_known
from recsys.serving.problems import documented
from recsys.serving.security import allowed

__all__ = ["about"]

about = APIRouter(prefix="/v1", dependencies=[Depends(allowed("read")), Depends(only_known)])

_N_TERMS = 20
_N_TABLE = 10
"""Terms of each type."""
_By = Annotated[
    Literal["hybrid", "collaborative", "text", "audio"],
    Query(description="The model whose neighbours are wanted; hybrid fuses all."),
]


@about.get("/items/{item_id:path}/similar", tags=["items"], responses=documented(401, 404, 422))
def similar_items(
    version: Active, item_id: ItemId, k: ShortLength, by: _By = "hybrid"
) -> schemas.SimilarOnes:
    """Find items that resemble one; by all models (hybrid) few are of one artist, as in lists."""
    catalogue = version.recommender.catalogue
    similar = []
    for id, score in version.recommender.similar("item", item_id, k, by=by):
        card = catalogue.card(catalogue.items.row(id))
        similar.append(schemas.Similar(id=id, score=score, title=card.title, artist=card.artist))
    return schemas.SimilarOnes(kind="item", id=item_id, by=by, similar=similar)


@about.get(
    "/items/{item_id:path}/audio",
    tags=["items"],
    response_class=FileResponse,
    responses={
        200: {"description": "The recording.", "content": {"audio/*": {}}},
        206: {"description": "The part that a Range header asked for.", "content": {"audio/*": {}}},
        **documented(400, 401, 404, 416, 422),
    },
)
def audio(version: Active, request: Request, item_id: ItemId) -> FileResponse:
    """Give an item's recording, where the server has it (`recsys serve --dataset D`)."""
    version.recommender.catalogue.items.require(item_id)
    found = desk_of(request).clips.find(item_id)
    if found is None:
        raise NotFoundError("recording of item", item_id)
    return FileResponse(found[0], media_type=found[1])


@about.get("/items/{item_id:path}", tags=["items"], responses=documented(401, 404, 422))
def item(version: Active, item_id: ItemId) -> schemas.ItemDetails:
    """Tell what is known about an item."""
    catalogue = version.recommender.catalogue
    row = catalogue.items.require(item_id)
    audio = version.recommender.audio
    described = None if audio is None or audio.descriptors is None else audio.descriptors.of(row)
    text, maker = version.recommender.text, int(catalogue.item_artist[row])
    terms = [] if text is None else text.top_terms_of_item(row, maker, _N_TERMS)
    released_at, duration_s = int(catalogue.released_at[row]), float(catalogue.duration_s[row])
    return schemas.ItemDetails(
        **vars(_item(version, row)),
        plays=int(version.plays[row]),
        duration_s=None if np.isnan(duration_s) else duration_s,
        released_at=None if released_at == NO_TIME else _iso_time(released_at),
        labels=catalogue.labels[row],
        terms=[schemas.Term(term=term, weight=weight) for term, weight in terms],
        descriptors=None if described is None else schemas.Descriptors(**described),
        models=[name for name, vectors in version.recommender.spaces.items() if vectors[row].any()],
    )


@about.get(
    "/artists/{artist_id:path}/related", tags=["artists"], responses=documented(401, 404, 422)
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


@about.get("/artists/{artist_id:path}", tags=["artists"], responses=documented(401, 404, 422))
def artist(version: Active, artist_id: ArtistId, k: ShortLength) -> schemas.ArtistDetails:
    """Tell what is said of an artist, and their items, the most listened to first."""
    catalogue, text = version.recommender.catalogue, version.recommender.text
    row = catalogue.artists.require(artist_id)
    items = np.flatnonzero(catalogue.item_artist == row)
    items = items[np.argsort(-version.recommender.listeners_of[items], kind="stable")][:k]
    terms = [] if text is None else text.top_terms(row, _N_TERMS)
    table = {} if text is None else text.table(row, _N_TABLE)
    if text is not None:
        beside = text.companions(row, _N_TABLE)
        table["artist"] = [(catalogue.artist_name(other), score) for other, score in beside]
    return schemas.ArtistDetails(
        artist_id=artist_id,
        name=catalogue.artist_name(row),
        terms=[schemas.Term(term=term, weight=weight) for term, weight in terms],
        term_table={
            kind: [schemas.Term(term=term, weight=weight) for term, weight in found]
            for kind, found in table.items()
        },
        items=[_item(version, int(item)) for item in items],
    )


@about.get("/search", tags=["items", "artists"], responses=documented(401, 422))
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


@about.get("/map", tags=["items"], responses=documented(401, 422))
def chart(version: Active, request: Request) -> schemas.CatalogueMap:
    """Lay the most played items out in the plane; what the models find alike lies together."""
    drawn = desk_of(request).charts.of(version)
    catalogue = version.recommender.catalogue
    rows = catalogue.items.rows(drawn.item_ids)
    items = [
        schemas.Place.model_construct(
            item_id=id, title=catalogue.title(row), artist=artist, x=x, y=y, scene=scene
        )
        for id, row, artist, x, y, scene in zip(
            drawn.item_ids, rows.tolist(), catalogue.artists_of(rows), drawn.x, drawn.y,
            drawn.scene, strict=True,
        )
    ]  # fmt: skip
    return schemas.CatalogueMap(version=version.name, scenes=drawn.scenes, items=items)


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


def _iso_time(milliseconds: int) -> str:
    return f"{np.datetime64(milliseconds, 'ms')}Z"

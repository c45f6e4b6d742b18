"""The shapes of requests and answers; FastAPI makes the OpenAPI document from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from recsys.serving.event_schemas import (
    Accepted,
    Event,
    EventsRequest,
    PrivateEvent,
    Receipt,
    example,
)

__all__ = [
    "Accepted",
    "Activated",
    "Artist",
    "ArtistDetails",
    "CatalogueMap",
    "Descriptors",
    "Event",
    "EventsRequest",
    "Experiment",
    "Found",
    "Health",
    "HistoryEntry",
    "HistoryRequest",
    "Item",
    "ItemDetails",
    "Listed",
    "Listener",
    "Listeners",
    "ModelVersion",
    "ModelVersions",
    "Place",
    "Playlist",
    "PlaylistRequest",
    "PrivateEvent",
    "Receipt",
    "Recommendations",
    "Segment",
    "SegmentArtist",
    "Segments",
    "Similar",
    "SimilarOnes",
    "Term",
    "Weekly",
]

MAX_HISTORY = 1000
"""The longest history or list of seeds that a request may send."""
MAX_ID = 10_000
"""Characters of the longest id that a body may hold."""

_Text = Annotated[str, Field(max_length=MAX_ID)]
# Bounded; and pydantic refuses a lone surrogate, which no UTF-8 can carry, in bounded texts only.

_LISTED = {
    "rank": 1,
    "item_id": "track-0420",
    "title": "Paper Lanterns",
    "artist": "The Night Ferries",
    "score": 0.0241,
    "signals": {"collaborative": 0.0164, "text": 0.0048, "audio": 0.0029, "popularity": 0.0},
    "reasons": ["listeners who play Harbour Lights also play this"],
    "probability": 0.31,
}
_SIMILAR = {
    "id": "track-0077",
    "score": 0.93,
    "title": "Harbour Lights",
    "artist": "The Night Ferries",
}


class Health(BaseModel):
    """Whether the server lives or can answer."""

    model_config = example(status="ready")

    status: Literal["live", "ready"]


class Listed(BaseModel):
    """One entry of a list."""

    model_config = ConfigDict(from_attributes=True, **example(**_LISTED))

    rank: int = Field(description="From 1.", ge=1)
    item_id: str
    title: str | None
    artist: str | None = Field(description="The artist's name.")
    score: float = Field(description="Comparable within this list only.")
    signals: dict[str, float] = Field(description="What each model gave; they add up to score.")
    reasons: list[str] = Field(description="Sentences; the one behind the largest signal first.")
    probability: float | None = Field(
        default=None,
        description="The chance that the listener loves it, where the version learned to tell.",
        ge=0,
        le=1,
    )


class Recommendations(BaseModel):
    """A list for a listener."""

    model_config = example(
        user_id="user-0012", version="20261121T120000000000-1a2b3c", items=[_LISTED]
    )

    user_id: str | None = Field(description="null for a listener without an account.")
    version: str = Field(description="The version that made the list.")
    items: list[Listed]


class Weekly(BaseModel):
    """A listener's list of one ISO week; it stays as it is until the week ends."""

    model_config = example(user_id="user-0012", week="2026-W47", items=[_LISTED])

    user_id: str
    week: str = Field(description="ISO week in UTC.")
    items: list[Listed]


class Playlist(BaseModel):
    """A continuation of some items."""

    model_config = example(version="20261121T120000000000-1a2b3c", items=[_LISTED])

    version: str
    items: list[Listed]


class HistoryEntry(BaseModel):
    """How often an item was played."""

    item_id: _Text
    plays: float = Field(default=1, gt=0, le=1e9)


class HistoryRequest(BaseModel):
    """What a listener without an account has heard."""

    model_config = ConfigDict(
        extra="forbid",
        **example(history=[{"item_id": "track-0077", "plays": 12}], k=10, weights={"text": 0.5}),
    )

    history: list[HistoryEntry] = Field(min_length=1, max_length=MAX_HISTORY)
    k: int = Field(default=30, description="Length of the list.")
    weights: dict[_Text, float] | None = Field(
        default=None, description="Weight of each source, from 0."
    )
    kind: _Text | None = Field(
        default=None, description="Kind of item; default: the one most listened to."
    )


class PlaylistRequest(BaseModel):
    """What a playlist shall go on from."""

    model_config = ConfigDict(
        extra="forbid", **example(seeds=["track-0077"], artists=["artist-031"], k=20, smooth=True)
    )

    seeds: list[_Text] = Field(
        default_factory=list, max_length=MAX_HISTORY, description="Item ids."
    )
    artists: list[_Text] = Field(
        default_factory=list,
        max_length=MAX_HISTORY,
        description="Artist ids, for a radio; each stands for the items most played.",
    )
    k: int = Field(default=30, description="Length of the list.")
    tempo: tuple[float, float] | None = Field(
        default=None, description="Beats a minute, lowest and highest; half and double count."
    )
    smooth: bool = Field(
        default=False, description="Order by small steps in key and tempo, not by rank."
    )


class Similar(BaseModel):
    """A neighbour."""

    id: str
    score: float = Field(description="Cosine, or the blend's score; comparable within this list.")
    title: str | None = Field(default=None, description="An item's title, an artist's name.")
    artist: str | None = Field(default=None, description="The name of an item's artist.")


class SimilarOnes(BaseModel):
    """The nearest of one kind, best first."""

    model_config = example(kind="item", id="track-0420", by="hybrid", similar=[_SIMILAR])

    kind: Literal["item", "artist", "user"]
    id: str
    by: str
    similar: list[Similar]


class Artist(BaseModel):
    """Who made something."""

    artist_id: str
    name: str


class Item(BaseModel):
    """Something that can be recommended."""

    item_id: str
    title: str | None
    artist: Artist | None
    kind: str
    listeners: int = Field(description="How many people streamed it.")


class SegmentArtist(Artist):
    """An artist who sets a group of listeners apart."""

    model_config = ConfigDict(from_attributes=True)

    share: float = Field(description="Of the group, who play them.", ge=0, le=1)


class Segment(BaseModel):
    """A group of listeners of one taste."""

    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="The same in the next version.")
    n_listeners: int
    share: float = Field(description="Of all listeners who are in a group.", ge=0, le=1)
    artists: list[SegmentArtist] = Field(description="Who sets it apart, most first.")
    terms: list[str] = Field(description="What is said of such artists.")


class Segments(BaseModel):
    """The groups of listeners, by number."""

    model_config = example(
        version="20261121T120000000000-1a2b3c",
        segments=[
            {
                "number": 3,
                "n_listeners": 118,
                "share": 0.12,
                "artists": [
                    {"artist_id": "artist-031", "name": "The Night Ferries", "share": 0.64}
                ],
                "terms": ["dreamy", "a wall of guitars"],
            }
        ],
    )

    version: str
    segments: list[Segment] = Field(description="Empty where no listener has a taste yet.")


class Term(BaseModel):
    """A word that is said of an artist or an item."""

    term: str
    weight: float


class Descriptors(BaseModel):
    """What was heard of a recording."""

    tempo_bpm: float | None
    runner_up_bpm: float | None = Field(description="The next likely tempo.")
    key: str | None = Field(description="Tonic: C, C#, D ... B.")
    mode: str | None = Field(description="major or minor.")
    time_signature: str | None
    loudness_lufs: float | None
    confidences: dict[str, float | None] = Field(
        description="Of tempo, key (with mode) and time signature, 0 to 1."
    )


class ItemDetails(Item):
    """An item and what is known about it."""

    model_config = example(
        item_id="track-0420",
        title="Paper Lanterns",
        artist={"artist_id": "artist-031", "name": "The Night Ferries"},
        kind="track",
        listeners=57,
        plays=412,
        duration_s=214.0,
        released_at="2026-03-06T00:00:00+00:00",
        labels=["dream pop"],
        terms=[{"term": "shimmering", "weight": 0.27}],
        descriptors={
            "tempo_bpm": 92.0,
            "runner_up_bpm": 184.0,
            "key": "D",
            "mode": "minor",
            "time_signature": "6/8",
            "loudness_lufs": -11.4,
            "confidences": {"tempo": 0.81, "key": 0.64, "time_signature": 0.9},
        },
        models=["collaborative", "text", "audio"],
    )

    plays: int = Field(description="How often it was streamed.")
    duration_s: float | None
    released_at: str | None = Field(description="ISO 8601, UTC.")
    labels: list[str] = Field(description="The editors' tags.")
    terms: list[Term] = Field(
        description="What is said of it, weightiest first; where that is little, of its artist."
    )
    descriptors: Descriptors | None = Field(
        description="What was heard of it; null where it has no recording."
    )
    models: list[str] = Field(description="The models that know it.")


class ArtistDetails(Artist):
    """An artist, what is said of them, and their items."""

    model_config = example(
        artist_id="artist-031",
        name="The Night Ferries",
        terms=[{"term": "dreamy", "weight": 0.31}],
        term_table={
            "np": [{"term": "a wall of guitars", "weight": 0.28}],
            "adj": [{"term": "dreamy", "weight": 0.31}],
            "artist": [{"term": "Slow Harbour", "weight": 0.44}],
        },
        items=[],
    )

    terms: list[Term] = Field(description="What is said of them, weightiest first.")
    term_table: dict[str, list[Term]] = Field(
        description="The same by type: n2 (pairs of words), np (noun phrases), adj (adjectives), "
        "n1 (words), artist (who is discussed beside them)."
    )
    items: list[Item] = Field(description="Their items, most listened to first.")


class Place(BaseModel):
    """An item on the map."""

    item_id: str
    title: str
    artist: str | None
    x: float = Field(description="-1 to 1.")
    y: float = Field(description="-1 to 1.")
    scene: int = Field(description="Place in `scenes`.")


class CatalogueMap(BaseModel):
    """The most played items, in the plane."""

    model_config = example(
        version="20261121T120000000000-1a2b3c",
        scenes=["dream pop, shoegaze", "techno"],
        items=[
            {
                "item_id": "track-0420",
                "title": "Paper Lanterns",
                "artist": "The Night Ferries",
                "x": 0.12,
                "y": -0.4,
                "scene": 0,
            }
        ],
    )

    version: str
    scenes: list[str] = Field(description="Names made of the editors' tags.")
    items: list[Place]


class Listener(BaseModel):
    """Someone with a history."""

    user_id: str
    heard: int = Field(description="How many items they know.")


class Listeners(BaseModel):
    """A page of listeners in the order of their ids."""

    model_config = example(
        users=[{"user_id": "user-0012", "heard": 83}], total=1000, next="user-0012"
    )

    users: list[Listener]
    total: int
    next: str | None = Field(description="Give it as `after` for the next page; null at the end.")


class Found(BaseModel):
    """What a search found."""

    model_config = example(
        items=[], artists=[{"artist_id": "artist-031", "name": "The Night Ferries"}]
    )

    items: list[Item]
    artists: list[Artist]


class ModelVersion(BaseModel):
    """One trained version."""

    model_config = ConfigDict(from_attributes=True)

    version: str
    made_at: str | None
    trained: list[str]
    counts: dict[str, int]
    problem: str | None = Field(
        default=None, description="Why it cannot be opened; null where it can."
    )


class Experiment(BaseModel):
    """A share of the listeners, answered by another version."""

    name: str
    version: str
    share: float
    started_at: str


class ModelVersions(BaseModel):
    """All versions, oldest first, and which of them answers."""

    model_config = example(serving="20261121T120000000000-1a2b3c", versions=[])

    serving: str = Field(description="The version that this server answers from.")
    experiment: Experiment | None = Field(
        default=None, description="The experiment that runs; null where none does."
    )
    problem: str | None = Field(
        default=None, description="Why that is not the active one; null where it is."
    )
    versions: list[ModelVersion]


class Activated(BaseModel):
    """The version that answers from now on."""

    model_config = example(active="20261121T120000000000-1a2b3c")

    active: str

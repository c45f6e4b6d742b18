"""The shapes of lists, of neighbours, and of what is asked for without an account."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from recsys.serving.schemas.events import example

__all__ = [
    "HistoryEntry",
    "HistoryRequest",
    "Listed",
    "Playlist",
    "PlaylistRequest",
    "Recommendations",
    "Similar",
    "SimilarOnes",
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

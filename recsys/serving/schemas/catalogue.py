"""The shapes of what is known: items, artists, listeners and their groups, the map."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from recsys.serving.schemas.events import example

__all__ = [
    "Artist",
    "ArtistDetails",
    "CatalogueMap",
    "Descriptors",
    "Found",
    "Item",
    "ItemDetails",
    "Listener",
    "Listeners",
    "Place",
    "Segment",
    "SegmentArtist",
    "Segments",
    "Term",
]


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

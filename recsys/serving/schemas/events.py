"""The shapes of events and deletions, and how a private event is told from others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    model_validator,
)

from recsys.data.validation import MAX_ID_LENGTH, PRIVATE

__all__ = ["Accepted", "Event", "EventsRequest", "PrivateEvent", "Receipt", "example"]

MAX_EVENTS = 1000
"""The most events that a request may send."""

_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]


def example(**values: Any) -> ConfigDict:
    """Return a model's configuration with an example for OpenAPI."""
    return ConfigDict(json_schema_extra={"examples": [values]})


class Receipt(BaseModel):
    """What a deletion has reached."""

    model_config = example(
        user_id="user-0012",
        done=["masked in every version and replica", "events", "weekly lists"],
        pending=["trained versions", "dataset (recsys forget DATASET MODELS finishes it)"],
    )

    user_id: str
    done: list[str]
    pending: list[str]


class Event(BaseModel):
    """Something that a listener did."""

    model_config = ConfigDict(
        extra="forbid",
        **example(user_id="user-0012", item_id="track-0420", kind="stream", event_id="c0ffee-1"),
    )

    event_id: _Id | None = Field(
        default=None, description="The same id is one event, however often it is sent."
    )
    user_id: _Id
    item_id: _Id | None = None
    artist_id: _Id | None = Field(default=None, description="For artist_visit and follow.")
    kind: Literal["stream", "save", "playlist_add", "artist_visit", "follow", "skip", "rating"]
    value: float = Field(default=1, description="Streams counted, or stars given.", ge=0, le=1e9)
    at: AwareDatetime | None = Field(default=None, description="Default: now.")
    ms_played: int | None = Field(default=None, ge=0, le=2**53)
    context: Annotated[str, Field(max_length=200)] | None = None
    organic: bool = Field(
        default=True, description="false where a recommendation brought it about."
    )
    private: Literal[False] = False


class PrivateEvent(BaseModel):
    """An event of a private session: counted; nothing of it is read."""

    model_config = ConfigDict(
        json_schema_extra={"required": ["private"], "properties": {"private": {"const": True}}}
    )


def _privacy(event: Any) -> str:
    """Tell what an event is: private unless it clearly is not.

    In parentheses, because it is no place in a request; see problems.py.
    """
    if not isinstance(event, dict):
        return "(private)" if isinstance(event, PrivateEvent) else "(public)"
    clear = (None, False, 0, "", "0", "false", "no")
    told = (event.get(name) for name in PRIVATE)
    return "(public)" if all(_plain(value) in clear for value in told) else "(private)"


def _plain(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else _hashable(value)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else "unclear"


_AnyEvent = Annotated[
    Annotated[Event, Tag("(public)")] | Annotated[PrivateEvent, Tag("(private)")],
    Discriminator(_privacy),
]


def _one_or_many(schema: dict[str, Any]) -> None:
    """Say in OpenAPI that one event may stand alone."""
    many = {key: schema.pop(key) for key in ("type", "items", "maxItems")}
    schema["anyOf"] = [many["items"], many]
    schema["examples"] = [
        [
            {"user_id": "user-0012", "item_id": "track-0420", "kind": "stream"},
            {"user_id": "user-0012", "item_id": "track-0077", "kind": "skip"},
        ]
    ]


class EventsRequest(RootModel[Annotated[list[_AnyEvent], Field(max_length=MAX_EVENTS)]]):
    """One event, or up to 1,000."""

    model_config = ConfigDict(json_schema_extra=_one_or_many)

    @model_validator(mode="before")
    @classmethod
    def _as_list(cls, given: Any) -> Any:
        return [given] if isinstance(given, dict) else given

    def public(self) -> tuple[list[Event], int]:
        """Return the events that may be kept, and the number of private ones."""
        kept = [event for event in self.root if isinstance(event, Event)]
        return kept, len(self.root) - len(kept)


class Accepted(BaseModel):
    """What became of some events; what was accepted is on disk."""

    model_config = example(accepted=2, duplicates=0, private=0, deleted=0, event_ids=["e1", "e2"])

    accepted: int
    duplicates: int = Field(description="Events that were there already.")
    private: int = Field(description="Private events, dropped.")
    deleted: int = Field(description="Events of deleted listeners, dropped.")
    event_ids: list[str] = Field(description="Of the events that are not private, in order.")

"""The tables of a dataset: their columns, types, keys and defaults.

One Arrow schema per table. A field that is not nullable and has no default is required of every
import; a column that is wholly default may be absent from a file. External ids are strings
everywhere. No table has a ``private`` column: private rows are dropped at the door. A deleted
listener is remembered by the hash of their id only (`tombstones`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

__all__ = ["EVENT_KINDS", "TABLES", "TableSpec"]

EVENT_KINDS = ("stream", "save", "playlist_add", "artist_visit", "follow", "skip", "rating")
"""What a listener can do; a stored event's kind is one of these strings."""

_TIME = pa.timestamp("ms", tz="UTC")
_STRINGS = pa.list_(pa.string())
_CONFIDENCES = pa.struct([(name, pa.float64()) for name in ("tempo", "key", "time_signature")])


@dataclass(frozen=True)
class TableSpec:
    """What one table holds."""

    name: str
    schema: pa.Schema
    """Columns and types; ``nullable=False`` where a value must be there."""
    key: tuple[str, ...] = ()
    """Columns that name a row; a later row with the same key replaces the earlier one. A row
    without a key (events have no need of an event_id) stands for itself."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Values of the columns that an import may leave out or leave empty."""
    listener: str | None = None
    """The column that names a listener, if there is one; a deleted listener's rows are hidden."""

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that every import must give."""
        return tuple(f.name for f in self.schema if not f.nullable and f.name not in self.defaults)


def _table(
    name: str,
    *fields: pa.Field,
    key: tuple[str, ...] = (),
    defaults: dict[str, Any] | None = None,
    listener: str | None = None,
) -> TableSpec:
    return TableSpec(name, pa.schema(fields), key, defaults or {}, listener)


def _required(name: str, type: pa.DataType) -> pa.Field:
    return pa.field(name, type, nullable=False)


_SPECS = (
    _table(
        "events",
        pa.field("event_id", pa.string()),
        _required("user_id", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("artist_id", pa.string()),
        _required("kind", pa.string()),
        _required("value", pa.float64()),
        pa.field("at", _TIME),
        pa.field("ms_played", pa.int64()),
        pa.field("context", pa.string()),
        _required("organic", pa.bool_()),
        key=("event_id",),
        defaults={"value": 1.0, "organic": True},
        listener="user_id",
    ),
    _table(
        "items",
        _required("item_id", pa.string()),
        _required("kind", pa.string()),
        pa.field("title", pa.string()),
        pa.field("artist_id", pa.string()),
        pa.field("album", pa.string()),
        pa.field("released_at", _TIME),
        pa.field("duration_s", pa.float64()),
        pa.field("language", pa.string()),
        pa.field("explicit", pa.bool_()),
        pa.field("territories", _STRINGS),
        pa.field("available_from", _TIME),
        pa.field("available_until", _TIME),
        pa.field("labels", _STRINGS),
        pa.field("isrc", pa.string()),
        pa.field("mbid", pa.string()),
        pa.field("audio_uri", pa.string()),
        key=("item_id",),
        defaults={"kind": "track"},
    ),
    _table(
        "artists",
        _required("artist_id", pa.string()),
        _required("name", pa.string()),
        pa.field("mbid", pa.string()),
        key=("artist_id",),
    ),
    _table(
        "documents",
        _required("doc_id", pa.string()),
        pa.field("url", pa.string()),
        pa.field("title", pa.string()),
        _required("text", pa.string()),
        pa.field("published_at", _TIME),
        pa.field("artist_ids", _STRINGS),
        pa.field("item_ids", _STRINGS),
        key=("doc_id",),
    ),
    _table(
        "collections",
        _required("collection_id", pa.string()),
        pa.field("title", pa.string()),
        pa.field("owner_id", pa.string()),
        _required("item_ids", _STRINGS),
        key=("collection_id",),
        listener="owner_id",
    ),
    _table(
        "descriptors",
        _required("item_id", pa.string()),
        _required("audio_hash", pa.string()),
        pa.field("tempo_bpm", pa.float64()),
        pa.field("runner_up_bpm", pa.float64()),
        pa.field("beats_s", pa.list_(pa.float64())),
        pa.field("key", pa.string()),
        pa.field("mode", pa.string()),
        pa.field("time_signature", pa.string()),
        pa.field("loudness_lufs", pa.float64()),
        pa.field("confidences", _CONFIDENCES),
        key=("item_id",),
    ),
    _table(
        "tombstones",
        _required("user_hash", pa.string()),
        _required("at", _TIME),
        key=("user_hash",),
    ),
)

TABLES: dict[str, TableSpec] = {spec.name: spec for spec in _SPECS}
"""All tables, by name."""

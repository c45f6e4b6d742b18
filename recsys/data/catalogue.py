"""Who and what there is: the ids of listeners, items and artists, and what is known of each item.

Enters: a dataset. Leaves: a `Catalogue`, whose row numbers every model shares. A trained version
keeps it, so that serving needs no dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.arrays import ArraySink, ArraySource, Tags, Texts
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids, recordings
from recsys.errors import NotFoundError, UsageError, nearest

__all__ = ["NO_TIME", "Card", "Catalogue", "read_catalogue"]

NO_TIME = int(np.iinfo(np.int64).min)
"""Stands where a time in milliseconds since 1970 is unknown; sorts before every time."""

_MILLISECONDS = pa.timestamp("ms", tz="UTC")
_COMPACT_AT = 4_000_000
_CARDS = 100_000
"""Items whose cards are kept in memory; to write one takes thirty times as long as to find it."""


class Card(NamedTuple):
    """How one item is told."""

    item_id: str
    title: str | None
    artist: str | None
    """The artist's name, or their id where that is unknown."""
    name: str
    """"title by artist", or what is known of it; an artist's name for an artist."""


@dataclass(frozen=True)
class Catalogue:
    """Ids and item metadata, by row."""

    users: Ids
    items: Ids
    artists: Ids
    kinds: Ids
    """The kinds of item that occur: track, artist, episode, ..."""
    item_artist: NDArray[np.int32]
    """(n_items,) artist row, -1 where unknown."""
    recording: NDArray[np.int32]
    """(n_items,) items of equal number are one recording."""
    item_kind: NDArray[np.int32]
    """(n_items,) row of `kinds`."""
    released_at: NDArray[np.int64]
    """(n_items,) milliseconds since 1970, NO_TIME where unknown."""
    available_from: NDArray[np.int64]
    """(n_items,) milliseconds since 1970, NO_TIME where unbounded."""
    available_until: NDArray[np.int64]
    """(n_items,) milliseconds since 1970, NO_TIME where unbounded."""
    duration_s: NDArray[np.float32]
    """(n_items,) seconds, nan where unknown."""
    explicit: NDArray[np.int8]
    """(n_items,) 1 explicit, 0 not, -1 unknown."""
    titles: Texts
    """(n_items,)"""
    artist_names: Texts
    """(n_artists,)"""
    languages: Texts
    """(n_items,)"""
    territories: Tags
    """(n_items,) where the item may be heard; empty: everywhere."""
    labels: Tags
    """(n_items,) the editors' tags."""

    @property
    def n_users(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return len(self.items)

    @property
    def n_artists(self) -> int:
        return len(self.artists)

    def of_kind(self, kind: str) -> NDArray[np.bool_]:
        """Return (n_items,) whether each item is of `kind`; NotFoundError where no item is."""
        return np.asarray(self.item_kind == self.kinds.require(kind))

    @cached_property
    def first_of_recording(self) -> NDArray[np.int64]:
        """(n_items,) the lowest item row of each item's recording."""
        _, first, where = np.unique(self.recording, return_index=True, return_inverse=True)
        return np.asarray(first[where], np.int64)

    @cached_property
    def card(self) -> Callable[[int], Card]:
        """Item row -> its card."""
        return lru_cache(_CARDS)(self._card)

    def _card(self, row: int) -> Card:
        id, title, by = self.items[row], self.titles[row], int(self.item_artist[row])
        if by < 0:
            return Card(id, title, None, title or id)
        artist = self.artist_name(by)
        if self.artists[by] == id:
            return Card(id, title, artist, title or artist)
        return Card(id, title, artist, f"{title or id} by {artist}")

    def artist_name(self, row: int) -> str:
        """Return an artist's name, or its id where the name is unknown."""
        return self.artist_names[row] or self.artists[row]

    def artists_of(self, items: NDArray[np.integer]) -> list[str | None]:
        """Return for each item row the name of its artist, None where the artist is unknown."""
        found: list[str | None] = [None] * len(items)
        artists = self.item_artist[items]
        known = np.flatnonzero(artists >= 0)
        named = self.artist_names.take(artists[known])
        for place, artist, name in zip(known.tolist(), artists[known].tolist(), named, strict=True):
            found[place] = name or self.artists[artist]
        return found

    def find_artist(self, text: str) -> int:
        """Return the row of the artist with this id, or with this name in any letter case.

        Raises
        ------
        NotFoundError
            Where nobody has it; the nearest names and ids are named.
        UsageError
            Where several artists have this name; their ids are named.
        """
        if (row := self.artists.row(text)) >= 0:
            return row
        names = [self.artist_name(row) for row in range(self.n_artists)]
        bearers = [r for r, name in enumerate(names) if name.casefold() == text.casefold()]
        if not bearers:
            raise NotFoundError("artist", text, nearest(text, names, n=3))
        if len(bearers) > 1:
            ids = ", ".join(self.artists[row] for row in bearers)
            raise UsageError(f"artist {text!r}: {len(bearers)} have this name; give an id: {ids}")
        return bearers[0]

    def title(self, row: int) -> str:
        """Return an item's title, or its id where the title is unknown."""
        return self.titles[row] or self.items[row]

    def write(self, sink: ArraySink, *, without: Collection[str] = ()) -> None:
        """Store every array under ``catalogue/``, but those of fields that others have stored."""
        for name, value in self._named(without):
            if isinstance(value, Ids):
                sink.add_ids(name, value)
            elif isinstance(value, Texts | Tags):
                value.write(sink, name)
            else:
                sink.add(name, value)

    @classmethod
    def read(cls, source: ArraySource) -> Catalogue:
        """Read what `write` stored; arrays stay memory-mapped."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            name = f"catalogue/{field.name}"
            if field.type == "Ids":
                values[field.name] = source.ids(name, kind=_KINDS[field.name])
            elif field.type in ("Texts", "Tags"):
                reader = Texts if field.type == "Texts" else Tags
                values[field.name] = reader.read(source, name)
            else:
                values[field.name] = source.array(name)
        return cls(**values)

    def _named(self, without: Collection[str]) -> Iterable[tuple[str, Any]]:
        names = (field.name for field in fields(self) if field.name not in without)
        return ((f"catalogue/{name}", getattr(self, name)) for name in names)


_KINDS = {"users": "user", "items": "item", "artists": "artist", "kinds": "item kind"}


def read_catalogue(
    dataset: Dataset, *, named: Mapping[str, pa.ChunkedArray] | None = None
) -> Catalogue:
    """Collect every id of `dataset` and the metadata of its items.

    Users come from events; items from the items table and from events; artists from the artists
    table, items, events and documents. Of an item or artist stored twice the latest import counts.

    Parameters
    ----------
    named
        The ids that events name (user_id, item_id, artist_id), where the caller knows them; the
        events are not read then.
    """
    seen = named if named is not None else _named_by_events(dataset)
    items = dataset.read("items")
    artists = dataset.read("artists", ["artist_id", "name"])
    said = _Distinct("artist_ids")
    for batch in dataset.batches("documents", said.columns):
        said.add(batch)

    item_ids = Ids.from_strings(_join(items["item_id"], seen["item_id"]), kind="item")
    artist_ids = Ids.from_strings(
        _join(artists["artist_id"], items["artist_id"], seen["artist_id"], said["artist_ids"]),
        kind="artist",
    )
    place = _places(item_ids.rows(items["item_id"]), len(item_ids))
    names = _places(artist_ids.rows(artists["artist_id"]), len(artist_ids))
    known = {name: items[name].take(place) for name in items.schema.names}
    kind = pc.fill_null(known["kind"], "track")
    kinds = Ids.from_strings(kind, kind="item kind")
    item_artist = artist_ids.rows(known["artist_id"])
    duration_s = np.asarray(pc.fill_null(known["duration_s"], np.nan), np.float32)
    return Catalogue(
        users=Ids.from_strings(seen["user_id"], kind="user"),
        items=item_ids,
        artists=artist_ids,
        kinds=kinds,
        item_artist=item_artist,
        recording=recordings(
            isrc=known["isrc"].combine_chunks(),
            mbid=known["mbid"].combine_chunks(),
            artist=item_artist,
            title=known["title"].combine_chunks(),
            duration_s=duration_s,
        ),
        item_kind=kinds.rows(kind),
        released_at=milliseconds(known["released_at"]),
        available_from=milliseconds(known["available_from"]),
        available_until=milliseconds(known["available_until"]),
        duration_s=duration_s,
        explicit=np.asarray(pc.fill_null(known["explicit"].cast(pa.int8()), -1), np.int8),
        titles=Texts.from_arrow(known["title"]),
        artist_names=Texts.from_arrow(artists["name"].take(names)),
        languages=Texts.from_arrow(known["language"]),
        territories=Tags.from_arrow(known["territories"].combine_chunks()),
        labels=Tags.from_arrow(known["labels"].combine_chunks()),
    )


def _named_by_events(dataset: Dataset) -> dict[str, pa.ChunkedArray]:
    seen = _Distinct("user_id", "item_id", "artist_id")
    for batch in dataset.batches("events", seen.columns):
        seen.add(batch)
    return {name: seen[name] for name in seen.columns}


def milliseconds(times: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Return (n,) int64 milliseconds since 1970, NO_TIME for nulls."""
    numbers = times.cast(_MILLISECONDS).cast(pa.int64())
    return np.asarray(pc.fill_null(numbers, NO_TIME), np.int64)


class _Distinct:
    """The distinct strings of a table's columns, gathered batch by batch in bounded memory."""

    def __init__(self, *columns: str) -> None:
        self.columns = columns
        self._chunks: dict[str, list[pa.Array]] = {name: [] for name in columns}

    def add(self, batch: pa.RecordBatch) -> None:
        for name, chunks in self._chunks.items():
            values = batch.column(name)
            if pa.types.is_list(values.type):
                values = pc.list_flatten(values)
            chunks.append(pc.drop_null(pc.unique(values)))
            if sum(map(len, chunks)) > _COMPACT_AT:
                self._chunks[name] = [self[name].combine_chunks()]

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return pa.chunked_array([pc.unique(pa.chunked_array(self._chunks[name], pa.string()))])


def _join(*columns: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())


def _places(rows: NDArray[np.int32], n: int) -> pa.Array:
    """Return (n,) the place in a table of each row number, null where the table lacks it."""
    places = np.full(n, -1, np.int64)
    places[rows] = np.arange(len(rows))
    return pa.array(places, mask=places < 0)

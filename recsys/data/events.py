"""The listening log as columns: one row per event, ids turned into row numbers.

Enters: a dataset's events table and its catalogue. Leaves: `Events`, ordered by time. Events are
the same event when their event_id is (the latest import counts). Events without one are all
counted, two equal rows twice. Of untimed events (counts are snapshots) on one user, item and kind
the rows of the latest import that has any count, added up where there are several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.catalogue import NO_TIME, Catalogue, milliseconds
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.data.tables import EVENT_KINDS

__all__ = [
    "EVENT_COLUMNS",
    "NO_TIME",
    "Events",
    "each_once",
    "events_of",
    "kind_code",
    "no_events",
    "numbered",
    "read_events",
]

LookUp = Callable[[pa.Array], NDArray[np.int32]]

EVENT_COLUMNS = [
    "event_id",
    "user_id",
    "item_id",
    "artist_id",
    "kind",
    "value",
    "at",
    "ms_played",
    "organic",
]


@dataclass(frozen=True)
class Events:
    """One row per event, in order of time; untimed events come first, in order of import."""

    user: NDArray[np.int32]
    """(n,) user rows."""
    item: NDArray[np.int32]
    """(n,) item rows, -1 where the event is about an artist only."""
    artist: NDArray[np.int32]
    """(n,) artist rows, -1 where the event does not say."""
    kind: NDArray[np.int8]
    """(n,) places in `recsys.data.tables.EVENT_KINDS`."""
    value: NDArray[np.float32]
    """(n,) streams counted, stars given, else 1."""
    at: NDArray[np.int64]
    """(n,) milliseconds since 1970, NO_TIME where unknown."""
    ms_played: NDArray[np.int32]
    """(n,) milliseconds, -1 where unknown."""
    organic: NDArray[np.bool_]
    """(n,) False where a recommendation brought the event about."""

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> Events:
        """Return the events of `rows` (ascending numbers) or of a mask."""
        return Events(*(getattr(self, field.name)[rows] for field in fields(self)))

    def of_kind(self, *kinds: str) -> NDArray[np.bool_]:
        """Return (n,) whether each event is of one of `kinds`."""
        return np.isin(self.kind, [kind_code(kind) for kind in kinds])


def kind_code(kind: str) -> int:
    """Return the number that stands for an event kind in `Events.kind`."""
    return EVENT_KINDS.index(kind)


def read_events(dataset: Dataset, catalogue: Catalogue) -> Events:
    """Read the events of `dataset`, every event once."""
    gathered: dict[str, list[pa.Array]] = {name: [] for name in EVENT_COLUMNS}
    origins: list[NDArray[np.int32]] = []
    for origin, part in enumerate(p for p in dataset.parts if p.table == "events"):
        for batch in dataset.part_batches(part, EVENT_COLUMNS, encoded=True):
            for name in EVENT_COLUMNS:
                gathered[name].append(batch.column(name))
            origins.append(np.full(batch.num_rows, origin, np.int32))
    if not origins:
        return no_events()
    column = {name: pa.chunked_array(chunks) for name, chunks in gathered.items()}
    events = numbered(column, catalogue.users.rows, catalogue.items.rows, catalogue.artists.rows)
    return each_once(events, column["event_id"], np.concatenate(origins))


def numbered(
    column: Mapping[str, pa.ChunkedArray], users: LookUp, items: LookUp, artists: LookUp
) -> Events:
    """Turn the columns of `EVENTEVENT_COLUMNS` into numbers, rows in their order.

    `users`, `items` and `artists` give rows of distinct ids, -1 for null; each id is asked once.
    """
    return Events(
        user=_through(column["user_id"], users),
        item=_through(column["item_id"], items),
        artist=_through(column["artist_id"], artists),
        kind=_rows_of(list(EVENT_KINDS), column["kind"]).astype(np.int8),
        value=np.asarray(column["value"], np.float32),
        at=milliseconds(column["at"]),
        ms_played=_milliseconds_played(column["ms_played"]),
        organic=np.asarray(column["organic"], bool),
    )


def each_once(events: Events, event_id: pa.ChunkedArray, origin: NDArray[np.int32]) -> Events:
    """Return every event once, in order of time.

    Parameters
    ----------
    events
        In order of import.
    event_id
        (n,) texts as dictionaries, null where there is none.
    origin
        (n,) the import that each came with, ascending.
    """
    rows = np.flatnonzero(_last_of_id(event_id) & _latest_snapshot(events, origin))
    return events.take(rows[np.argsort(events.at[rows], kind="stable")])


def events_of(rows: Sequence[Mapping[str, Any]], catalogue: Catalogue) -> Events:
    """Return one listener's events, in the order given; every `user` is 0.

    Parameters
    ----------
    rows
        Columns of the events table, ``at`` in milliseconds since 1970. What they name and
        `catalogue` lacks has row -1.
    """

    def row(ids: Ids, id: str | None) -> int:
        return -1 if id is None else ids.row(id)

    return Events(
        user=np.zeros(len(rows), np.int32),
        item=np.array([row(catalogue.items, r["item_id"]) for r in rows], np.int32),
        artist=np.array([row(catalogue.artists, r["artist_id"]) for r in rows], np.int32),
        kind=np.array([kind_code(r["kind"]) for r in rows], np.int8),
        value=np.array([r["value"] for r in rows], np.float32),
        at=np.array([r["at"] for r in rows], np.int64),
        ms_played=np.array(
            [-1 if r["ms_played"] is None else r["ms_played"] for r in rows], np.int32
        ),
        organic=np.array([r["organic"] for r in rows], bool),
    )


def _rows_of(words: list[str], column: pa.ChunkedArray) -> NDArray[np.int32]:
    return _through(column, lambda ids: np.asarray(pc.index_in(ids, pa.array(words)), np.int32))


def _through(column: pa.ChunkedArray, look_up: Any) -> NDArray[np.int32]:
    unified = column.unify_dictionaries().combine_chunks()
    if isinstance(unified, pa.ChunkedArray):
        unified = unified.chunk(0)
    row_of = np.append(look_up(unified.dictionary), -1).astype(np.int32)
    codes = np.asarray(pc.fill_null(unified.indices, -1))
    return np.asarray(row_of[codes])


def _milliseconds_played(column: pa.ChunkedArray) -> NDArray[np.int32]:
    values = np.asarray(pc.fill_null(column, -1), np.int64)
    return np.minimum(values, np.iinfo(np.int32).max).astype(np.int32)


def _last_of_id(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return (n,) False where a later row has the same event_id."""
    n = len(column)
    if column.null_count == n:
        return np.ones(n, bool)
    codes = _through(column, lambda ids: np.arange(len(ids), dtype=np.int32))
    last = np.full(codes.max() + 2, -1, np.int64)
    last[codes] = np.arange(n)
    return np.asarray((codes < 0) | (last[codes] == np.arange(n)))


def _latest_snapshot(events: Events, origin: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return (n,) False for untimed events that a later import counts anew."""
    kept = np.ones(len(events), bool)
    untimed = np.flatnonzero(events.at == NO_TIME)
    if not len(untimed) or origin[untimed[0]] == origin[untimed[-1]]:
        return kept
    about = np.where(events.item >= 0, events.item, -2 - events.artist.astype(np.int64))[untimed]
    order = np.lexsort((origin[untimed], events.kind[untimed], about, events.user[untimed]))
    rows = untimed[order]
    key = np.stack([events.user[rows], about[order], events.kind[rows]])
    ends = np.append(np.flatnonzero((key[:, 1:] != key[:, :-1]).any(axis=0)), len(rows) - 1)
    latest = np.repeat(origin[rows[ends]], np.diff(ends, prepend=-1))
    kept[rows] = origin[rows] == latest
    return kept


def no_events() -> Events:
    """Return none."""
    return Events(
        user=np.zeros(0, np.int32),
        item=np.zeros(0, np.int32),
        artist=np.zeros(0, np.int32),
        kind=np.zeros(0, np.int8),
        value=np.zeros(0, np.float32),
        at=np.zeros(0, np.int64),
        ms_played=np.zeros(0, np.int32),
        organic=np.zeros(0, bool),
    )

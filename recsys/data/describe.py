"""What a dataset holds: counts, density, time range, kinds, and what may be wrong with it.

Enters: a dataset. Leaves: plain numbers and sentences, ready for JSON.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.catalogue import NO_TIME, Catalogue, read_catalogue
from recsys.data.dataset import Dataset
from recsys.data.events import Events, read_events
from recsys.data.identity import Ids
from recsys.data.tables import EVENT_KINDS, TABLES

__all__ = ["describe"]


def describe(dataset: Dataset) -> dict[str, Any]:
    """Count what `dataset` holds.

    Returns
    -------
    path, fingerprint, tables (rows each), users, items, artists, events (distinct, by kind),
    item_kinds, pairs (distinct user and item), density (pairs / (users x items)), events_per_user
    (median, maximum), first_event and last_event (ISO 8601 or None), untimed_share,
    recommended_share, sources (what was imported) and problems (sentences, the gravest first).
    """
    catalogue = read_catalogue(dataset)
    events = read_events(dataset, catalogue)
    on_item = events.item >= 0
    n_pairs = _distinct(events.user[on_item], events.item[on_item], catalogue.n_items)
    n_cells = catalogue.n_users * catalogue.n_items
    per_user = np.bincount(events.user, minlength=catalogue.n_users)
    timed = events.at[events.at != NO_TIME]
    return {
        "path": dataset.folder.path,
        "fingerprint": dataset.fingerprint(),
        "tables": {name: dataset.count(name) for name in TABLES},
        "users": catalogue.n_users,
        "items": catalogue.n_items,
        "artists": catalogue.n_artists,
        "events": _by_name(events.kind, EVENT_KINDS),
        "item_kinds": _by_name(catalogue.item_kind, list(catalogue.kinds)),
        "pairs": n_pairs,
        "density": n_pairs / n_cells if n_cells else 0.0,
        "events_per_user": {
            "median": float(np.median(per_user)) if len(per_user) else 0.0,
            "maximum": int(per_user.max(initial=0)),
        },
        "first_event": _iso(timed.min()) if len(timed) else None,
        "last_event": _iso(timed.max()) if len(timed) else None,
        "untimed_share": _share(len(events) - len(timed), len(events)),
        "recommended_share": _share(int((~events.organic).sum()), len(events)),
        "sources": sorted({part.source for part in dataset.parts}),
        "problems": _problems(dataset, catalogue, events),
    }


def _problems(dataset: Dataset, catalogue: Catalogue, events: Events) -> list[str]:
    """Say what may be wrong, in sentences with counts."""
    listed = np.zeros(catalogue.n_items, bool)
    listed[catalogue.items.rows(dataset.read("items", ["item_id"])["item_id"])] = True
    touched = np.zeros(catalogue.n_items, bool)
    touched[events.item[events.item >= 0]] = True
    unnamed = sum(1 for length in np.diff(catalogue.artist_names.offsets) if length == 0)
    n_copies = catalogue.n_items - len(np.unique(catalogue.recording))
    untimed = int((events.at == NO_TIME).sum())
    counts = [
        (int((touched & ~listed).sum()), "items with events but not in the items table"),
        (int((catalogue.item_artist < 0).sum()), "items without an artist"),
        (int((listed & ~touched).sum()), "items without an event"),
        (n_copies, "items that are the same recording as another"),
        (unnamed, "artists without a name"),
        (_unknown_artists(dataset, catalogue), "artists that only documents name"),
        (untimed if untimed < len(events) else 0, "events without a time beside timed ones"),
        (len(dataset.folder.names("rejects")), "imports that set rows aside, see rejects/"),
    ]
    problems = [f"{what}: {n:,}" for n, what in counts if n]
    if not len(events):
        problems.insert(0, "no events: nothing can be learnt of listeners")
    elif untimed == len(events):
        problems.insert(0, "no event has a time: slices are cut by each user's items")
    return problems


def _unknown_artists(dataset: Dataset, catalogue: Catalogue) -> int:
    """Return the number of artists that only documents name."""
    known = np.zeros(catalogue.n_artists, bool)
    ids: Ids = catalogue.artists
    known[ids.rows(dataset.read("artists", ["artist_id"])["artist_id"])] = True
    known[catalogue.item_artist[catalogue.item_artist >= 0]] = True
    said = np.zeros(catalogue.n_artists, bool)
    for batch in dataset.batches("documents", ["artist_ids"]):
        rows = ids.rows(pc.unique(pc.list_flatten(batch.column("artist_ids"))))
        said[rows[rows >= 0]] = True
    return int((said & ~known).sum())


def _distinct(users: NDArray[np.int32], items: NDArray[np.int32], n_items: int) -> int:
    return len(np.unique(users.astype(np.int64) * n_items + items))


def _by_name(codes: NDArray[np.integer], names: tuple[str, ...] | list[str]) -> dict[str, int]:
    counts = np.bincount(codes, minlength=len(names)).tolist()
    return {name: n for name, n in zip(names, counts, strict=True) if n}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _iso(at_ms: np.int64) -> str:
    return datetime.fromtimestamp(int(at_ms) / 1000, UTC).isoformat(timespec="seconds")

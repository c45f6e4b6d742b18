"""database: the events that a server kept, from its event store into a dataset.

Enters: the address of an `EventStore`. Leaves: its events since the import before, as one more
part, and its tombstones. The part remembers up to which number it goes, so a version trained on it
knows which events it has had (`events_until`), and a replica adds the later ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from recsys import progress
from recsys.data.dataset import Dataset
from recsys.data.eventstore import EventStore
from recsys.data.forgetting import bury, forget_rows
from recsys.data.tables import TABLES

__all__ = ["NAME", "events_until", "import_database"]

NAME = "database"


def import_database(url: str, dataset: Dataset) -> dict[str, int]:
    """Bring what is new in a store into `dataset`; return the rows added, by table.

    Raises
    ------
    InputError
        For an unusable address.
    StoreError
        Where the database cannot be reached.
    """
    store = EventStore(url)
    try:
        source = f"{NAME}:{store.id}"
        known = dataset.tombstones
        bury(dataset, store.tombstones())
        forget_rows(dataset)
        after, until = events_until(dataset).get(store.id, 0), store.last()
        with dataset.transaction() as transaction:
            rows = transaction.append(
                "events",
                _tables(store, after, until),
                source=source,
                fingerprint=f"{source}:{after}-{until}",
            )
    finally:
        store.close()
    return {"events": rows, "tombstones": len(dataset.tombstones - known)}


def events_until(dataset: Dataset) -> dict[str, int]:
    """Return, for each event store by its id, the number up to which `dataset` has its events."""
    until: dict[str, int] = {}
    for part in dataset.parts:
        format, _, id = part.source.partition(":")
        if format == NAME:
            last = int(part.fingerprint.rpartition("-")[2])
            until[id] = max(last, until.get(id, 0))
    return until


def _tables(store: EventStore, after: int, until: int) -> Iterator[pa.Table]:
    schema = TABLES["events"].schema
    for rows in store.batches(after, until):
        progress.step(f"import {NAME}", rows[-1]["seq"] - after, until - after, "")
        yield pa.table({field.name: [row[field.name] for row in rows] for field in schema}, schema)

"""The event store keeps each event once, on every database that is here."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.data.dataset import Dataset
from recsys.data.eventstore import Added, EventStore, StoreError, Variant
from recsys.data.importers import import_source
from recsys.data.importers.database import events_until
from recsys.errors import InputError

EVENT: dict[str, Any] = {
    "event_id": "e1",
    "user_id": "ann",
    "item_id": "a1",
    "kind": "stream",
    "value": 1.0,
    "at": 1_700_000_000_000,
    "organic": True,
}


@pytest.fixture
def store(store_url: str) -> Iterator[EventStore]:
    store = EventStore(store_url)
    yield store
    store.close()


def test_an_event_is_kept_once(store: EventStore) -> None:
    assert store.add([EVENT]) == Added(accepted=1, duplicates=0, deleted=0)
    again = {**EVENT, "user_id": "bob", "value": 9.0}
    assert store.add([again, {**EVENT, "event_id": "e2"}, again]) == Added(1, 2, 0)
    kept = store.history("ann", 0).events
    assert [event["event_id"] for event in kept] == ["e1", "e2"]
    assert kept[0]["value"] == 1.0 and kept[0]["organic"] is True
    assert store.history("bob", 0).events == []


def test_a_history_begins_after_a_number_and_is_in_order_of_time(store: EventStore) -> None:
    store.add([EVENT])
    cut = store.last()
    later = [{**EVENT, "event_id": f"x{n}", "at": EVENT["at"] - n} for n in range(3)]
    store.add(later)
    ids = [event["event_id"] for event in store.history("ann", cut).events]
    assert ids == ["x2", "x1", "x0"]
    assert store.last() > cut


def test_writers_at_the_same_time_lose_and_double_nothing(
    store: EventStore, store_url: str
) -> None:
    results: list[Added] = []

    def write(worker: int) -> None:
        own = EventStore(store_url)
        for n in range(10):
            shared = {**EVENT, "event_id": f"shared{n}"}
            results.append(own.add([{**EVENT, "event_id": f"{worker}-{n}"}, shared]))
        own.close()

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.accepted for one in results) == 4 * 10 + 10
    assert len(store.history("ann", 0).events) == 50


def test_a_deleted_listener_stays_deleted(store: EventStore) -> None:
    store.add([EVENT, {**EVENT, "event_id": "e2", "user_id": "bob"}])
    assert store.forget("ann") == 1
    assert store.history("ann", 0).deleted and not store.history("bob", 0).deleted
    assert store.add([{**EVENT, "event_id": "e3"}]) == Added(0, 0, 1)
    assert store.deleted(["ann", "bob", "cyd"]) == {"ann"}
    assert store.forget("ann") == 0


def test_nothing_of_a_deleted_listener_stays_in_the_file(tmp_path: Path) -> None:
    store = EventStore(f"sqlite:///{tmp_path}/events.db")
    store.add([{**EVENT, "user_id": "someone-to-forget", "event_id": f"e{n}"} for n in range(50)])
    files = list(tmp_path.iterdir())
    assert any(b"someone-to-forget" in file.read_bytes() for file in files)
    store.forget("someone-to-forget")
    for file in tmp_path.iterdir():
        assert b"someone-to-forget" not in file.read_bytes(), file
    store.close()


@pytest.mark.parametrize("user_id", ["", "\0", "a\0b", "\ud800", "🎵" * 300, "'; DROP TABLE x; --"])
def test_ids_that_no_database_can_hold_are_merely_unknown(store: EventStore, user_id: str) -> None:
    assert store.history(user_id, 0).events == []


def test_plays_count_after_the_exposure_only(store: EventStore) -> None:
    store.add([EVENT])  # played before it was shown
    now = store.history("ann", 0).events[0]["at"] + 10**12
    shown = {"experiment": "x", "variant": "control", "user_id": "ann", "version": "1"}
    store.expose([{**shown, "item_id": id, "at": 0} for id in ("a1", "a2", "a1")])
    assert store.variants("x") == [Variant("control", "ann", 2, 1)]
    store.expose([{**shown, "experiment": "y", "item_id": "a1", "at": now}])
    assert store.variants("y") == [Variant("control", "ann", 1, 0)]


def test_import_brings_each_event_once_and_remembers_how_far(
    store: EventStore, store_url: str, tmp_path: Path
) -> None:
    store.add([EVENT, {**EVENT, "event_id": "e2", "user_id": "bob"}])
    dataset = Dataset(tmp_path / "dataset")
    assert import_source("database", store_url, dataset).rows["events"] == 2
    first = dataset.read("events").to_pylist()
    assert [row["event_id"] for row in first] == ["e1", "e2"]
    assert int(first[0]["at"].timestamp() * 1000) == EVENT["at"]
    assert events_until(dataset) == {store.id: store.last()}
    assert import_source("database", store_url, dataset).unchanged
    store.add([{**EVENT, "event_id": "e3"}])
    assert import_source("database", store_url, dataset).rows["events"] == 1
    assert dataset.count("events") == 3
    store.forget("ann")
    assert import_source("database", store_url, dataset).rows["tombstones"] == 1
    assert [row["user_id"] for row in dataset.read("events").to_pylist()] == ["bob"]


def test_an_unusable_address_says_what_is_wanted() -> None:
    with pytest.raises(InputError, match="sqlite:///FILE"):
        EventStore("no address")


def test_a_store_that_is_away_says_so_without_its_password() -> None:
    with pytest.raises(StoreError, match="does not answer") as caught:
        EventStore("postgresql+psycopg://recsys:secret@127.0.0.1:1/none?connect_timeout=2")
    assert "secret" not in str(caught.value)


def test_a_severed_connection_is_taken_up_again(postgresql: str) -> None:
    import psycopg

    store = EventStore(postgresql)
    store.add([{**EVENT, "event_id": "before"}])
    with psycopg.connect(postgresql.replace("+psycopg", ""), autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database() AND backend_type = 'client backend'"
        )
    assert store.add([{**EVENT, "event_id": "after"}]).accepted == 1
    store.forget("ann")
    store.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    EventStore(f"sqlite:///{tmp_path}/e.db").close()
    with sqlite3.connect(tmp_path / "e.db") as connection:
        connection.execute("UPDATE recsys_facts SET value = '99' WHERE name = 'schema'")
    connection.close()
    with pytest.raises(StoreError, match="newer recsys"):
        EventStore(f"sqlite:///{tmp_path}/e.db")

from __future__ import annotations

from recsys.data.catalogue import read_catalogue
from recsys.data.dataset import Dataset
from recsys.data.events import NO_TIME, read_events

HOUR = 3_600_000


def event(user="u", item="i", value=1.0, at=None, kind="stream", **more):
    return {
        "user_id": user,
        "item_id": item,
        "kind": kind,
        "value": value,
        "at": at,
        "organic": True,
    } | more


def read(dataset):
    return read_events(dataset, read_catalogue(dataset))


def test_columns_are_rows_in_order_of_time(load):
    catalogue, events = load(
        events=[
            event("b", "z", at=3 * HOUR, ms_played=1500, organic=False),
            event("a", None, kind="follow", artist_id="q", at=HOUR),
            event("a", "y", 7.0),
            event("a", "y", 8.0),
            event("c", "y", 3.5, kind="rating", at=2 * HOUR, ms_played=5_000_000_000),
        ]
    )
    assert [catalogue.users[row] for row in events.user] == ["a", "a", "a", "c", "b"]
    assert events.item.tolist() == [0, 0, -1, 0, 1]
    assert events.artist.tolist() == [-1, -1, 0, -1, -1]
    assert events.value.tolist() == [7, 8, 1, 3.5, 1]
    assert events.at.tolist() == [NO_TIME, NO_TIME, HOUR, 2 * HOUR, 3 * HOUR]
    assert events.ms_played.tolist() == [-1, -1, -1, 2**31 - 1, 1500]
    assert events.organic.tolist() == [True, True, True, True, False]
    assert events.of_kind("follow", "rating").tolist() == [False, False, True, True, False]
    assert len(events.take(events.of_kind("stream"))) == 3


def test_equal_event_ids_are_one_event_and_the_latest_counts(write, append):
    dataset = write(
        events=[event(event_id="1", at=HOUR), event(event_id="1", at=HOUR), event(at=HOUR)]
    )
    append(
        dataset, source="later", events=[event(event_id="1", value=5.0, at=HOUR), event(at=HOUR)]
    )
    assert read(dataset).value.tolist() == [1, 5, 1]


def test_a_later_import_replaces_untimed_counts_of_the_same_pair_and_kind(write, append):
    dataset = write(
        events=[
            event("a", "x", 10.0),
            event("a", "y", 20.0),
            event("a", "x", kind="save"),
            event("a", None, kind="follow", artist_id="q"),
            event("a", None, kind="follow", artist_id="r"),
            event("a", "x", 3.0, at=HOUR),
        ]
    )
    append(
        dataset,
        source="later",
        events=[
            event("a", "x", 11.0),
            event("a", "x", 1.0),
            event("b", "x", 5.0),
            event("a", None, kind="follow", artist_id="r"),
        ],
    )
    events = read(dataset)
    streams = events.take(events.of_kind("stream"))
    assert sorted(zip(streams.user.tolist(), streams.item.tolist(), streams.value.tolist())) == [
        (0, 0, 1),
        (0, 0, 3),
        (0, 0, 11),
        (0, 1, 20),
        (1, 0, 5),
    ]
    assert events.of_kind("save").sum() == 1
    assert sorted(events.artist[events.of_kind("follow")].tolist()) == [0, 1]


def test_no_events(tmp_path):
    assert len(read(Dataset(tmp_path))) == 0

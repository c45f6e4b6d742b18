from __future__ import annotations

import json

import pytest

from recsys.data.dataset import Dataset
from recsys.data.describe import describe

JULY = 1_593_561_600_000


def event(user, item, kind="stream", at=None, organic=True, artist=None):
    return {
        "user_id": user,
        "item_id": item,
        "artist_id": artist,
        "kind": kind,
        "value": 1.0,
        "at": at,
        "organic": organic,
    }


def test_counts_and_problems(write):
    found = describe(
        write(
            items=[
                {"item_id": "a", "kind": "track", "artist_id": "x", "isrc": "1"},
                {"item_id": "b", "kind": "track", "artist_id": "x", "isrc": "1"},
                {"item_id": "c", "kind": "episode"},
            ],
            artists=[{"artist_id": "x", "name": "X"}],
            documents=[{"doc_id": "d", "text": "about", "artist_ids": ["x", "ghost"]}],
            events=[
                event("u", "a", at=JULY),
                event("u", "a", at=JULY + 86_400_000, organic=False),
                event("u", None, kind="follow", at=JULY, artist="x"),
                event("v", "unlisted"),
            ],
        )
    )
    assert json.loads(json.dumps(found)) == found
    assert (found["users"], found["items"], found["artists"]) == (2, 4, 2)
    assert found["tables"]["events"] == 4 and found["tables"]["collections"] == 0
    assert found["events"] == {"stream": 3, "follow": 1}
    assert found["item_kinds"] == {"episode": 1, "track": 3}
    assert found["pairs"] == 2 and found["density"] == pytest.approx(0.25)
    assert found["events_per_user"] == {"median": 2, "maximum": 3}
    assert found["first_event"] == "2020-07-01T00:00:00+00:00"
    assert found["last_event"] == "2020-07-02T00:00:00+00:00"
    assert (found["untimed_share"], found["recommended_share"]) == (0.25, 0.25)
    assert found["sources"] == ["test"]
    assert found["problems"] == [
        "items with events but not in the items table: 1",
        "items without an artist: 2",
        "items without an event: 2",
        "items that are the same recording as another: 1",
        "artists without a name: 1",
        "artists that only documents name: 1",
        "events without a time beside timed ones: 1",
    ]


def test_untimed_and_empty_datasets(write, tmp_path):
    assert "no event has a time" in describe(write(events=[event("u", "a")]))["problems"][0]
    nothing = describe(Dataset(tmp_path / "nothing"))
    assert nothing["density"] == 0 and nothing["first_event"] is None
    assert nothing["problems"] == ["no events: nothing can be learnt of listeners"]

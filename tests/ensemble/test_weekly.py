"""A week's list is made once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from recsys.bundle import Models
from recsys.ensemble.recommender import HybridRecommender
from recsys.ensemble.weekly import Shelf, WeeklyList, week_of, weeks_before
from recsys.errors import BundleError, NotFoundError, UsageError
from recsys.storage import Folder

WEEK = "2026-W47"


def ids(entries) -> list[str]:
    return [entry.item_id for entry in entries]


def test_weeks_follow_iso_8601():
    assert week_of(date(2026, 11, 21)) == "2026-W47"
    assert week_of(date(2027, 1, 1)) == "2026-W53"
    assert weeks_before("2027-W01", 4) == ["2026-W53", "2026-W52", "2026-W51", "2026-W50"]
    assert weeks_before("2026-W01", 1) == ["2025-W52"]


@pytest.mark.parametrize("week", ["2026-W54", "2025-W53", "2026-47", "2026-W00", "", "../W47"])
def test_what_is_no_week(make, week):
    with pytest.raises(UsageError, match="want an ISO week like 2026-W47"):
        make().weekly("ann", week)


def test_frozen_through_new_events_and_a_new_version(make, events):
    first = make()
    made = first.weekly("ann", WEEK)
    heard = [{"user_id": "ann", "item_id": made[0].item_id, "kind": "stream", "value": 1.0}]
    second = make(events=[*events, *heard], models=("audio",), max_per_artist=1)
    assert second.version != first.version
    assert second.weekly("ann", WEEK) == made
    assert second.weekly("ann", WEEK)[0].reasons == made[0].reasons
    assert made[0].item_id not in ids(second.recommend("ann", 99))


def test_frozen_through_a_restart(make, tmp_path: Path):
    made = make().weekly("ann", WEEK)
    again = HybridRecommender.load(Models(tmp_path / "models").open())
    assert again.weekly("ann", WEEK) == made


def test_a_new_week_repeats_nothing_of_the_four_before(make, monkeypatch):
    monkeypatch.setattr("recsys.ensemble.discover._K", 2)
    recommender = make()
    weeks = [*reversed(weeks_before("2027-W02", 5)), "2027-W02"]
    lists = [ids(recommender.weekly("ann", week)) for week in weeks]
    recording = dict(zip(recommender.catalogue.items, recommender.catalogue.recording.tolist()))
    for place, entries in enumerate(lists):
        shown = {recording[item] for before in lists[max(0, place - 4) : place] for item in before}
        assert shown.isdisjoint(recording[item] for item in entries)
    assert all(len(entries) == 2 for entries in lists[:5])
    assert set(lists[5]) & set(lists[0])  # after four weeks an item may come back


def test_each_listener_has_a_list_of_their_own(make):
    recommender = make()
    assert ids(recommender.weekly("ann", WEEK)) != ids(recommender.weekly("dan", WEEK))
    with pytest.raises(NotFoundError):
        recommender.weekly("nobody", WEEK)


def test_of_many_writers_one_is_first(tmp_path: Path):
    shelf = Shelf(Folder(tmp_path))
    offers = [WeeklyList("ann/../😀", WEEK, f"v{n}", [{"n": n}]) for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(shelf.keep, offers))
    assert len({one.version for one in kept}) == 1
    assert shelf.find("ann/../😀", WEEK) == kept[0]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1
    assert files[0].parent == tmp_path / "weekly" / WEEK


def test_a_damaged_list_is_named(tmp_path: Path):
    shelf = Shelf(Folder(tmp_path))
    shelf.keep(WeeklyList("ann", WEEK, "v1", []))
    [file] = tmp_path.rglob("*.json")
    file.write_text("{", encoding="utf-8")
    with pytest.raises(BundleError, match=r"weekly/2026-W47/.*not a weekly list.*delete the file"):
        shelf.find("ann", WEEK)

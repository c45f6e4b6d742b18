"""Everybody's lists of a week: the same as one by one, kept in groups, never made twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.ensemble import bulk
from recsys.ensemble.blend import Blend
from recsys.ensemble.bulk import all_weekly, lists_of_week
from recsys.ensemble.discover import mixed, still_there
from recsys.ensemble.weekly import Shelf, WeeklyList, group_of, weeks_before
from recsys.errors import BundleError

WEEK = "2026-W47"


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr("recsys.ensemble.bulk._PER_GROUP", 2)


def run(models: Models, version: str, workers: int = 2, **options) -> int:
    return all_weekly(models, version, WEEK, LocalBackend(workers), **options)


def test_the_same_lists_as_one_by_one(make, tmp_path: Path, small_groups):
    recommender = make()
    models, users = Models(tmp_path / "models"), recommender.catalogue.users
    wanted = {user: recommender.weekly_list(user, "2026-W40").items for user in users}
    assert run(models, recommender.version) == len(users)
    found = {
        one.user_id: one
        for one in lists_of_week(Shelf(models.folder), recommender.catalogue, WEEK, now_ms=0)
    }
    assert sorted(found) == list(users)
    assert {user: one.items for user, one in found.items()} == wanted
    assert all(recommender.weekly_list(user, WEEK) == one for user, one in found.items())


def test_what_was_handed_out_stays_and_a_second_run_makes_nothing(make, tmp_path, small_groups):
    first = make()
    handed = first.weekly_list("ann", WEEK)
    second = make(models=("audio",))
    models = Models(tmp_path / "models")
    assert run(models, second.version) == len(second.catalogue.users) - 1
    assert run(models, first.version) == 0
    lists = {
        one.user_id: one
        for one in lists_of_week(Shelf(models.folder), second.catalogue, WEEK, now_ms=0)
    }
    assert lists["ann"] == handed and lists["ann"].version == first.version
    assert lists["dan"].version == second.version


def test_a_killed_run_is_taken_up(make, tmp_path: Path, small_groups, monkeypatch):
    recommender = make()
    models = Models(tmp_path / "models")
    made, real = [], bulk.make_weekly

    def killed(*arguments):
        made.extend(arguments[2])
        if len(made) > 4:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(bulk, "make_weekly", killed)
        run(models, recommender.version, workers=1)
    kept = list(lists_of_week(Shelf(models.folder), recommender.catalogue, WEEK, now_ms=0))
    assert 0 < len(kept) < len(recommender.catalogue.users)
    assert run(models, recommender.version) == len(recommender.catalogue.users) - len(kept)


def test_a_week_of_groups_is_remembered_by_the_next_ones(make, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("recsys.ensemble.discover._K", 2)
    recommender = make()
    before = weeks_before(WEEK, 1)[0]
    all_weekly(Models(tmp_path / "models"), recommender.version, before, LocalBackend())
    run(Models(tmp_path / "models"), recommender.version)
    for user in ("ann", "dan"):
        weeks = [recommender.weekly(user, week) for week in (before, WEEK)]
        shown = [{entry.item_id for entry in entries} for entries in weeks]
        assert shown[0] and shown[1] and shown[0].isdisjoint(shown[1])


def test_of_a_group_and_a_late_single_the_group_holds(tmp_path: Path):
    shelf = Shelf(Models(tmp_path).folder)
    group = group_of("ann", 4)
    shelf.keep_group(WEEK, group, 4, [WeeklyList("ann", WEEK, "all", [])])
    assert shelf.keep(WeeklyList("ann", WEEK, "late", [])).version == "all"
    assert shelf.find("ann", WEEK).version == "all"
    assert shelf.find("bob", WEEK) is None


def test_a_listener_is_forgotten_wherever_lists_lie(tmp_path: Path):
    shelf = Shelf(Models(tmp_path).folder)
    lists = [WeeklyList(id, WEEK, "v", []) for id in ("ann", "bob")]
    shelf.keep_group(WEEK, 0, 1, lists)
    shelf.keep(WeeklyList("ann", "2026-W46", "v", []))
    assert shelf.forget("ann") == 2
    assert shelf.find_all(["ann", "bob"], WEEK).keys() == {"bob"}
    assert shelf.find("ann", "2026-W46") is None
    assert shelf.forget("ann") == 0


def test_a_damaged_group_is_named(tmp_path: Path):
    shelf = Shelf(Models(tmp_path).folder)
    shelf.keep_group(WEEK, 0, 1, [])
    [file] = tmp_path.rglob("*.parquet")
    file.write_bytes(b"no")
    with pytest.raises(BundleError, match=r"groups/1/0\.parquet: not a weekly list"):
        shelf.find("ann", WEEK)


def test_the_adventurous_part_is_of_unknown_artists_little_known_first():
    """Eight ranked items by artists 0 to 7; 0 and 1 are known; item i has 10 - i listeners."""
    ranked = Blend(np.zeros(8, np.int64), np.arange(8, dtype=np.int32), np.ones((8, 1)))
    known = csr_array(np.isin(np.arange(8), [0, 1, 7])[None].astype(np.int32))

    def chosen(share):
        return mixed(
            ranked,
            4,
            adventurous=share,
            known_artists=known,
            item_artist=np.arange(8, dtype=np.int32),
            listeners_of=10 - np.arange(8),
        ).item.tolist()

    assert chosen(0.0) == [0, 1, 2, 3]
    assert chosen(0.25) == [0, 1, 2, 6]
    assert chosen(0.5) == [0, 1, 5, 6]
    assert chosen(1.0) == [3, 4, 5, 6]


def test_the_knob_reaches_a_run(make, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("recsys.ensemble.discover._K", 2)
    recommender, models = make(), Models(tmp_path / "models")
    version = recommender.version
    run(models, version, adventurous=1.0)
    bold = {
        one.user_id: one.items
        for one in lists_of_week(Shelf(models.folder), recommender.catalogue, WEEK, now_ms=0)
    }
    all_weekly(models, version, "2026-W30", LocalBackend(), adventurous=0.0)
    sure = lists_of_week(Shelf(models.folder), recommender.catalogue, "2026-W30", now_ms=0)
    assert {one.user_id: one.items for one in sure} != bold


def test_what_may_not_be_played_any_more_leaves_a_kept_list(make, items_until):
    recommender = make(items=items_until("a3", 1_000))
    entries = [{"item_id": "a3"}, {"item_id": "a4"}, {"item_id": "gone"}]
    kept = WeeklyList("ann", WEEK, "v", entries)
    left = [still_there([kept], recommender.catalogue, now)[0].items for now in (999, 1_000)]
    assert [[item["item_id"] for item in one] for one in left] == [["a3", "a4"], ["a4"]]

"""What a list may hold: rules on the catalogue known by heart, and sound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from recsys.ensemble.order import smooth_order, step_costs
from recsys.ensemble.rules import Rules
from recsys.ensemble.sound import Sound
from recsys.errors import UsageError

NOW = datetime.now(UTC).replace(microsecond=0)


def sound(tempi: list[float], keys: list[int] | None = None) -> Sound:
    n = len(tempi)
    key = np.array([-1] * n if keys is None else keys, np.int8)
    minor = np.where(key < 0, -1, 0).astype(np.int8)
    return Sound(np.array(tempi, np.float32), key, minor, np.full(n, np.nan, np.float32))


@pytest.fixture
def ruled(make, catalogue_items):
    """ann's catalogue with a territory, an explicit song and two that are not to be had now."""
    more = {
        "a3": {"territories": ["HK", "JP"]},
        "b2": {"explicit": True},
        "b3": {"available_until": NOW - timedelta(days=1)},
        "c2": {"available_from": NOW + timedelta(days=1)},
    }
    return make(
        items=[item | more.get(item["item_id"], {}) for item in catalogue_items], max_per_artist=0
    )


def ids(entries) -> set[str]:
    return {entry.item_id for entry in entries}


def test_what_is_not_to_be_had_is_not_listed(ruled):
    assert ids(ruled.recommend("ann", 99)).isdisjoint({"b3", "c2"})
    at = int((NOW - timedelta(days=2)).timestamp() * 1000)
    then = ruled.eligible(at_ms=at)
    rows = [ruled.catalogue.items.row(one) for one in ("b3", "c2")]
    assert then[rows].tolist() == [True, False]
    always = ruled.eligible(at_ms=(at, at + 10 * 86_400_000))
    assert always[rows].all()


def test_a_kept_mask_follows_every_opening_and_closing(ruled):
    closes, opens = ((NOW + timedelta(days=days)).timestamp() * 1000 for days in (-1, 1))
    rules, sound = Rules(kind="track"), ruled.ensemble.sound
    moments = [int(edge) + apart for edge in (closes, opens) for apart in (-1, 0, 1)]
    for at in (*moments, (moments[0], moments[-1]), (moments[1], moments[2])):
        expected = rules.allowed(ruled.catalogue, sound, at)
        for _ in range(2):
            assert ruled.eligible("track", at_ms=at).tolist() == expected.tolist()


def test_a_territory_shuts_out_only_what_names_others(ruled):
    assert "a3" in ids(ruled.recommend("ann", 99, territory="hk"))
    abroad = ids(ruled.recommend("ann", 99, territory="FR"))
    assert "a3" not in abroad
    assert "a4" in abroad


def test_explicit_songs_can_be_left_out(ruled):
    assert "b2" in ids(ruled.recommend("ann", 99))
    assert "b2" not in ids(ruled.recommend("ann", 99, explicit=False))


def test_rules_hold_for_many_lists_too(ruled):
    users = np.arange(ruled.catalogue.n_users)
    items, _ = ruled.rank(users, 30, territory="FR", explicit=False)
    listed = {ruled.catalogue.items[row] for row in items[items >= 0].tolist()}
    assert listed.isdisjoint({"a3", "b2", "b3", "c2"})


def test_tempo_counts_by_octaves():
    found = sound([170, 85, 42, 120, np.nan]).at_tempo(160, 180)
    assert found.tolist() == [True, True, False, False, False]


def test_running_wants_a_tempo_and_says_where_none_is_known(recommender):
    assert Rules(kind="track", context="running").tempo_bpm == (160, 180)
    assert Rules(kind="track", context="running", tempo=(140, 150)).tempo_bpm == (140, 150)
    with pytest.raises(UsageError, match="knows no item's"):
        recommender.recommend("ann", 3, context="running")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"context": "runing"}, "did you mean running"),
        ({"tempo": (180, 160)}, "low <= high"),
        ({"tempo": (0, 160)}, "0 < low"),
        ({"diversity": 1.5}, "want 0 to 1"),
    ],
)
def test_what_cannot_be_is_refused(recommender, asked, message):
    with pytest.raises(UsageError, match=message):
        recommender.recommend("ann", 3, **asked)


def test_running_lists_hold_only_the_cadence(make):
    recommender = make(max_per_artist=0)
    n = recommender.catalogue.n_items
    tempi = np.where(np.arange(n) % 2, 172.0, 120.0)
    recommender.ensemble.sound = sound(tempi.tolist())
    found = recommender.recommend("ann", 99, context="running")
    assert found
    assert all(recommender.catalogue.items.row(one.item_id) % 2 for one in found)


def test_the_hour_of_the_day_brings_what_is_played_then(make, events):
    """ann's mornings are of the third artist's scene, her evenings of the first's."""
    day = datetime(2026, 1, 5, tzinfo=UTC)
    timed = [e | {"at": day} for e in events if e["user_id"] != "ann"]
    timed += [
        {"user_id": "ann", "item_id": item, "kind": "stream", "value": 3.0, "at": day + at}
        for items, at in (
            (("a1", "a2", "b1"), timedelta(hours=19)),
            (("c1", "c2", "x1"), timedelta(days=1, hours=8)),
        )
        for item in items
    ]
    recommender = make(events=timed, models=("audio",), max_per_artist=0)
    first = {
        context: recommender.recommend("ann", 1, context=context)[0].item_id
        for context in ("morning", "evening")
    }
    assert first["morning"][0] in "cx"
    assert first["evening"][0] in "ab"


def test_a_step_by_hand():
    """C to G is one fifth, C to F# six; 80 to 160 is no change of pace, 80 to 113 a half octave."""
    heard = sound([80, 160, 80, 80 * 2**0.5], [0, 7, 6, -1])
    costs = step_costs(heard, np.arange(4))
    assert costs[0].tolist() == pytest.approx([0, 1 / 6, 1, 0.5 + 1], abs=1e-6)


def test_a_minor_key_lies_where_its_relative_major_does():
    both = Sound(
        np.full(2, 100, np.float32),
        np.array([0, 9], np.int8),
        np.array([0, 1], np.int8),
        np.full(2, np.nan, np.float32),
    )
    assert both.fifth[0] == both.fifth[1]


def test_a_playlist_flows_and_keeps_its_first():
    random = np.random.default_rng(0)
    keys = random.permutation(12)
    heard = sound([100.0] * 12, keys.tolist())
    order = smooth_order(heard, np.arange(12))
    costs = step_costs(heard, np.arange(12))
    assert order[0] == 0
    assert sorted(order.tolist()) == list(range(12))
    walked = costs[order[:-1], order[1:]].sum()
    assert walked == pytest.approx(11 / 6)  # once round the circle
    assert walked < costs[np.arange(11), np.arange(1, 12)].sum()

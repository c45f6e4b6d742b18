"""What a list may hold: rules on the catalogue known by heart, and sound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations, product

import numpy as np
import pytest

from recsys.ensemble.order import smooth_order, step_costs
from recsys.ensemble.rules import CONTEXTS, Eligibility, Rules
from recsys.ensemble.sound import Sound
from recsys.errors import UsageError

NOW = datetime.now(UTC).replace(microsecond=0)


def sound(tempi: list[float], keys: list[int] | None = None) -> Sound:
    n = len(tempi)
    key = np.array([-1] * n if keys is None else keys, np.int8)
    minor = np.where(key < 0, -1, 0).astype(np.int8)
    return Sound(np.array(tempi, np.float32), key, minor, np.full(n, np.nan, np.float32))


@pytest.fixture
def ruled_items(catalogue_items):
    """ann's items with territories, explicit songs and two that are not to be had now."""
    more = {
        "a1": {"explicit": False},
        "a3": {"territories": ["HK", "JP"]},
        "b1": {"territories": ["FR"]},
        "b2": {"explicit": True},
        "b3": {"available_until": NOW - timedelta(days=1)},
        "c2": {"available_from": NOW + timedelta(days=1)},
    }
    return [item | more.get(item["item_id"], {}) for item in catalogue_items]


@pytest.fixture
def ruled(make, ruled_items):
    return make(items=ruled_items, max_per_artist=0)


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


def ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)


def allowed_by_hand(item, rules, first_ms, last_ms) -> bool:
    """The slow twin of `Rules.allowed`, but for tempo, on an item as it was imported."""
    opens, closes = ms(item.get("available_from")), ms(item.get("available_until"))
    named = item.get("territories")
    return (
        item.get("kind", "track") == rules.kind
        and (opens is None or opens <= last_ms)
        and (closes is None or closes > first_ms)
        and (rules.territory is None or not named or rules.territory.upper() in named)
        and not (rules.explicit is False and item.get("explicit"))
    )


def test_a_mask_is_what_each_item_says(ruled, ruled_items):
    edges = {NOW + timedelta(days=days) for days in (-1, 0, 1)}
    moments = sorted(ms(edge) + apart for edge in edges for apart in (-1, 0, 1))
    times = [*zip(moments, moments), *combinations(moments, 2)]
    asked = product(("track", "episode"), (None, "HK", "jp", "FR", "XX"), (None, True, False))
    for kind, territory, explicit in asked:
        rules = Rules(kind=kind, territory=territory, explicit=explicit)
        for first, last in times:
            at = first if first == last else (first, last)
            mask = rules.allowed(ruled.catalogue, ruled.ensemble.sound, at)
            assert {ruled.catalogue.items[row] for row in np.flatnonzero(mask).tolist()} == {
                item["item_id"] for item in ruled_items if allowed_by_hand(item, rules, first, last)
            }


def test_where_there_is_no_item_none_is_allowed(make):
    nothing = make(items=[], events=[], models=())
    assert nothing.eligible("track").shape == (0,)


def test_a_mask_is_made_once_and_cannot_be_written_to(ruled):
    eligibility, noon = Eligibility(ruled.ensemble), ms(NOW)
    once = eligibility(Rules(kind="track"), noon)
    assert eligibility(Rules(kind="track"), noon + 1) is once
    assert eligibility(Rules(kind="track"), (noon, noon + 1)) is once
    assert not once.items.flags.writeable
    assert eligibility(Rules(kind="episode"), noon) is not once
    for tempo in range(100, 110):
        with pytest.raises(UsageError, match="knows no item's"):
            eligibility(Rules(kind="track", tempo=(tempo, tempo)), noon)
    assert eligibility(Rules(kind="track"), noon) is once  # a refusal takes no place
    for territory in "ABCDEFGH":
        eligibility(Rules(kind="track", territory=territory), noon)
    assert eligibility(Rules(kind="track"), noon) is not once


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


def test_a_tempo_may_be_one_and_slow():
    assert Rules(kind="track", tempo=(0.5, 0.5)).tempo_bpm == (0.5, 0.5)


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
        ({"tempo": (160, np.inf)}, "low <= high"),
        ({"tempo": (np.nan, 160)}, "0 < low"),
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


def test_every_hour_of_the_day_is_of_one_context():
    covered = []
    for context in CONTEXTS:
        if hours := Rules(kind="track", context=context).hours:
            first, end = hours
            covered += range(first, end if end > first else end + 24)
    assert sorted(hour % 24 for hour in covered) == list(range(24))
    assert Rules(kind="track").hours is None


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

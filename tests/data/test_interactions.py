from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.bundle import Models
from recsys.config import InteractionsConfig
from recsys.data.events import kind_code
from recsys.data.interactions import NO_TIME, Interactions, build_interactions, latest_times

DAY = 86_400_000
PLAIN = InteractionsConfig(transform="linear")


def event(user="u", item="a", value=1.0, at=None, kind="stream", **more):
    return {
        "user_id": user,
        "item_id": item,
        "kind": kind,
        "value": value,
        "at": at,
        "organic": True,
    } | more


def about(artist, kind):
    return event(item=None, kind=kind, artist_id=artist)


def items(*ids, **more):
    return [{"item_id": i, "kind": "track"} | more for i in ids]


@pytest.fixture
def evidence(load):
    """Evidence of the only user, by item id."""

    def make(*events, items=(), now_ms=None, **options):
        catalogue, log = load(events=list(events), items=list(items))
        config = InteractionsConfig(**({"transform": "linear"} | options))
        made = build_interactions(log, catalogue, config, now_ms=now_ms).evidence
        assert made.dtype == np.float32 and made.indices.dtype == np.int32
        assert made.has_sorted_indices and made.shape == (1, catalogue.n_items)
        return {catalogue.items[i]: round(float(r), 4) for i, r in zip(made.indices, made.data)}

    return make


@pytest.mark.parametrize(
    ("kind", "expected"), [("stream", 7), ("save", 7), ("playlist_add", 7), ("skip", -7)]
)
def test_each_kind_has_its_weight_and_skips_count_against(evidence, kind, expected):
    twice = [event(kind=kind), event(kind=kind)]
    assert evidence(*twice, **{kind: 3.5}) == {"a": expected}


def test_positive_and_negative_evidence_are_subtracted(evidence):
    log = [event(value=4.0), event(kind="skip"), event(item="b"), event(item="b", kind="skip")]
    assert evidence(*log) == {"a": 3}


def test_streams_are_summed_before_the_transform(evidence):
    log = [event(value=4.0), event(value=6.0), event(item="b", value=1.0)]
    assert evidence(*log, stream=2.0) == {"a": 20, "b": 2}
    expected = {"a": round(2 * math.log(11), 4), "b": round(2 * math.log(2), 4)}
    assert evidence(*log, stream=2.0, transform="log") == expected


def test_bm25_saturates_and_normalises_by_the_listener(load):
    log = [event("u", "a", 30.0), event("u", "b", 60.0), event("v", "a", 30.0)]
    catalogue, events = load(events=log)

    def made(k1, b):
        config = InteractionsConfig(transform="bm25", bm25_k1=k1, bm25_b=b)
        return build_interactions(events, catalogue, config).evidence.toarray()

    # b = 0: n (k1 + 1) / (n + k1), so n = k1 gives half of the limit k1 + 1.
    np.testing.assert_allclose(made(30, 0), [[15.5, 31 * 60 / 90], [15.5, 0]], rtol=1e-6)
    # b = 1: k1 is multiplied by total / mean total, here 90 / 60 and 30 / 60.
    expected = [[31 * 30 / 75, 31 * 60 / 105], [31 * 30 / 45, 0]]
    np.testing.assert_allclose(made(30, 1), expected, rtol=1e-6)


def test_old_events_count_half_after_a_half_life(evidence):
    log = [
        event(at=10 * DAY),
        event(item="b", at=20 * DAY),
        event(item="c"),
        event(item="d", kind="skip", at=10 * DAY),
    ]
    assert evidence(*log) == {"a": 1, "b": 1, "c": 1, "d": -1}
    assert evidence(*log, half_life_days=10.0) == {"a": 0.5, "b": 1, "c": 1, "d": -0.5}
    later = evidence(*log, half_life_days=10.0, now_ms=30 * DAY)
    assert later == {"a": 0.25, "b": 0.5, "c": 1, "d": -0.25}
    # What lies after the moment from which decay counts is not worth more than one.
    assert evidence(*log, half_life_days=10.0, now_ms=10 * DAY)["b"] == 1


@pytest.mark.parametrize(("kind", "weight"), [("artist_visit", 1.5), ("follow", 6.0)])
def test_what_is_about_an_artist_is_spread_evenly_over_its_items(evidence, kind, weight):
    songs = items("a", "b", "c", artist_id="x") + items("d", artist_id="y")
    log = [about("x", kind), event(item="a"), about("unknown", kind)]
    made = evidence(*log, items=songs, **{kind: weight})
    assert made == {"a": 1 + weight / 3, "b": weight / 3, "c": weight / 3}


def test_a_stream_counts_by_the_share_that_was_played(evidence):
    songs = items("a", "b", "c", "e", duration_s=200.0)
    log = [
        event(item="a", ms_played=50_000, value=2.0),
        event(item="b", ms_played=999_000),
        event(item="c"),
        event(item="d", ms_played=10),
        event(item="e", ms_played=0),
    ]
    assert evidence(*log, items=songs) == {"a": 0.5, "b": 1, "c": 1, "d": 1}
    assert evidence(*log, items=songs, played_share=False)["a"] == 2


def test_recommended_events_have_their_own_factor(evidence):
    log = [event(organic=False), event(item="b"), event(item="c", kind="skip", organic=False)]
    assert evidence(*log, recommended=0.25) == {"a": 0.25, "b": 1, "c": -0.25}
    assert evidence(*log, recommended=0.0) == {"b": 1}


def test_stars_count_from_the_neutral_rating(evidence):
    log = [event(item=i, kind="rating", value=v) for i, v in zip("abc", (5.0, 3.5, 1.0))]
    assert evidence(*log, rating=2.0, neutral_stars=3.5) == {"a": 3, "c": -5}


def test_ratings_keep_the_latest_stars(load):
    log = [
        event(kind="rating", value=4.0, at=2 * DAY),
        event(kind="rating", value=2.0, at=DAY),
        event(item="b", kind="rating", value=0.0),
    ]
    made = build_interactions(*reversed(load(events=log)), PLAIN)
    assert made.ratings.indices.tolist() == [0, 1] and made.ratings.data.tolist() == [4, 0]
    assert made.heard.toarray().tolist() == [[1, 1]]
    assert made.plays.nnz == 0


def test_plays_follow_and_last_played(load):
    log = [
        event(value=3.0, at=5 * DAY),
        event(value=2.0, at=9 * DAY),
        event(item="b", value=4.0),
        event(item="b", kind="save", at=DAY),
        about("x", "follow"),
        about("x", "follow"),
    ]
    made = build_interactions(
        *reversed(load(events=log)), InteractionsConfig(half_life_days=1.0, stream=9.0)
    )
    assert made.plays.toarray().tolist() == [[5, 4]]
    assert made.last_played.tolist() == [9 * DAY, NO_TIME]
    assert made.follows.toarray().tolist() == [[1]]


def test_heard_covers_the_same_recording_and_nothing_else(load):
    songs = items("a", "a2", isrc="US1") + items("b", "c", "d", "e", "f", artist_id="x")
    log = [
        event(item="a"),
        event(item="b", kind="skip"),
        event(item="c", kind="save"),
        event(item="d", kind="playlist_add"),
        about("x", "follow"),
        about("x", "artist_visit"),
        event("v", "a2"),
    ]
    catalogue, events = load(events=log, items=songs)
    made = build_interactions(events, catalogue, PLAIN)
    heard = made.heard.toarray()
    assert list(catalogue.items) == ["a", "a2", "b", "c", "d", "e", "f"]
    assert heard.tolist() == [[1, 1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0]]
    # The evidence stays with the id that was played.
    assert made.evidence[[0]].toarray()[0, 1] == made.evidence[[1]].toarray()[0, 0]


def test_a_bundle_gives_the_same_interactions_back(load, tmp_path):
    catalogue, events = load(events=[event(at=DAY), event("v", "b", kind="skip")])
    made = build_interactions(events, catalogue, PLAIN)
    models = Models(tmp_path / "models")
    writer = models.write()
    made.write(writer)
    writer.commit()
    back = Interactions.read(models.open())
    for name in ("evidence", "plays", "ratings", "heard", "follows"):
        one, other = getattr(made, name), getattr(back, name)
        assert one.dtype == other.dtype and one.shape == other.shape, name
        np.testing.assert_array_equal(one.toarray(), other.toarray())
    np.testing.assert_array_equal(made.last_played, back.last_played)


KINDS = ["stream", "save", "playlist_add", "skip", "artist_visit", "follow"]
LOGS = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.sampled_from("abcd"),
        st.sampled_from(KINDS),
        st.integers(1, 9),
        st.none() | st.integers(1, 40).map(lambda d: d * DAY),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
@given(log=LOGS, half_life_days=st.sampled_from([0.0, 7.0]))
def test_agrees_with_a_slow_twin(tmp_path_factory, append, log, half_life_days):
    from recsys.data.catalogue import read_catalogue
    from recsys.data.dataset import Dataset
    from recsys.data.events import read_events

    dataset = Dataset(tmp_path_factory.mktemp("twin"))
    rows = []
    for user, name, kind, value, at, organic in log:
        target = "artist_id" if kind in ("artist_visit", "follow") else "item_id"
        rows.append({"user_id": user, target: name, "kind": kind, "value": float(value)})
        rows[-1] |= {"at": at, "organic": organic}
    songs = [{"item_id": i, "kind": "track", "artist_id": "ab"[i > "b"]} for i in "abcd"]
    append(dataset, events=rows, items=songs)
    catalogue = read_catalogue(dataset)
    events = read_events(dataset, catalogue)
    config = InteractionsConfig(half_life_days=half_life_days, recommended=0.5)
    found = build_interactions(events, catalogue, config).evidence.toarray()

    expected = np.zeros((catalogue.n_users, 4))
    streams = np.zeros_like(expected)
    for n in range(len(events)):
        u, i, a = events.user[n], events.item[n], events.artist[n]
        w = float(events.value[n]) * (1.0 if events.organic[n] else 0.5)
        if half_life_days and events.at[n] != NO_TIME:
            w *= 0.5 ** ((events.at.max() - events.at[n]) / DAY / half_life_days)
        kind = KINDS[[kind_code(k) for k in KINDS].index(events.kind[n])]
        if kind == "stream":
            streams[u, i] += w
        elif kind in ("artist_visit", "follow"):
            mine = np.flatnonzero(catalogue.item_artist == a)
            expected[u, mine] += getattr(config, kind) * w / max(len(mine), 1)
        else:
            expected[u, i] += (-1 if kind == "skip" else 1) * getattr(config, kind) * w
    expected += config.stream * np.log1p(streams)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_nothing_at_all(load):
    catalogue, events = load(items=items("a"))
    made = build_interactions(events, catalogue, InteractionsConfig(half_life_days=3.0))
    assert made.evidence.shape == made.heard.shape == (0, 1)
    assert made.follows.shape == (0, 0) and len(made.last_played) == 0


def test_latest_times_are_those_of_the_last_event_on_the_item_or_its_artist(load):
    catalogue, events = load(
        items=items("a", "b", artist_id="x") + items("c"),
        artists=[{"artist_id": "x", "name": "X"}],
        events=[
            event(at=5),
            event(at=9, kind="save"),
            event(item="c"),
            event(item="b", at=2),
            about("x", "follow") | {"at": 7},
            about("x", "artist_visit") | {"user_id": "v", "at": 4},
            about("x", "artist_visit") | {"user_id": "w"},
            event("v", "c", at=3),
            event("v", "c"),
        ],
    )
    matrix = build_interactions(events, catalogue, PLAIN).evidence
    at = latest_times(events, catalogue, matrix)
    users, columns = matrix.tocoo().coords
    found = {
        (catalogue.users[int(u)], catalogue.items[int(i)]): int(t)
        for u, i, t in zip(users, columns, at, strict=True)
    }
    assert found == {
        ("u", "a"): 9, ("u", "b"): 7, ("u", "c"): NO_TIME,
        ("v", "a"): 4, ("v", "b"): 4, ("v", "c"): 3,
        ("w", "a"): NO_TIME, ("w", "b"): NO_TIME,
    }  # fmt: skip


def test_latest_times_of_no_events(load):
    catalogue, events = load(events=[event()])
    matrix = build_interactions(events, catalogue, PLAIN).evidence
    nothing = events.take(np.zeros(1, bool))
    assert latest_times(nothing, catalogue, matrix).tolist() == [NO_TIME]

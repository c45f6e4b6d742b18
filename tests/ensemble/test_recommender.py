"""The rules that every list keeps, on a catalogue known by heart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from recsys.ensemble.lists import choose_weights
from recsys.ensemble.recommender import HybridRecommender
from recsys.errors import NotFoundError, UsageError

USERS = ("ann", "bob", "cyd", "dan", "eve", "new", "not")


def ids(entries) -> list[str]:
    return [entry.item_id for entry in entries]


def test_nothing_heard_is_recommended_by_recording(make, plays):
    recommender = make(max_per_artist=0)
    for user in USERS:
        heard = set(plays.get(user, ()))
        if "c1" in heard:
            heard.add("c1-again")
        found = ids(recommender.recommend(user, 99))
        assert found and heard.isdisjoint(found)


@pytest.mark.parametrize("user", USERS)
def test_a_list_keeps_its_rules(recommender: HybridRecommender, user):
    found = recommender.recommend(user, 99)
    assert [entry.rank for entry in found] == list(range(1, len(found) + 1))
    assert max(Counter(entry.artist for entry in found if entry.artist).values()) <= 2
    assert len({"c1", "c1-again"} & set(ids(found))) <= 1
    assert all(not entry.item_id.startswith("e") for entry in found)
    scores = [entry.score for entry in found]
    assert scores == sorted(scores, reverse=True)
    for entry in found:
        assert list(entry.signals) == ["collaborative", "text", "audio", "artists", "popularity"]
        assert entry.score == pytest.approx(sum(entry.signals.values()))


def test_an_unknown_artist_is_not_capped(recommender: HybridRecommender):
    assert {"x1", "x2", "x3"} <= set(ids(recommender.recommend("ann", 99)))


def test_taste_decides(recommender: HybridRecommender):
    assert ids(recommender.recommend("ann", 1)) in (["a3"], ["b2"])
    assert ids(recommender.recommend("dan", 1)) in (["c3"], ["x2"])


def test_titles_and_artists(recommender: HybridRecommender):
    by_id = {entry.item_id: entry for entry in recommender.recommend("ann", 99)}
    assert (by_id["d1"].title, by_id["d1"].artist) == ("Delta 1", "The Ds")
    assert by_id["x1"].artist is None


def test_as_many_as_exist_are_found_however_few_candidates_are_taken(make):
    """One candidate a source leaves a list short; then everything is ranked."""
    narrow, wide = make(candidates_per_source=1), make(candidates_per_source=200)
    for user in USERS:
        for k in (1, 4, 7, 10**6):
            assert len(narrow.recommend(user, k)) == len(wide.recommend(user, k))
            assert len(wide.recommend(user, k)) == min(k, len(wide.recommend(user, 10**6)))


def test_without_a_cap_everything_unheard_is_found(make):
    found = ids(make(max_per_artist=0, candidates_per_source=1).recommend("ann", 10**6))
    tracks = {"a3", "a4", "b2", "b3", "c1", "c2", "c3", "d1", "d2", "x1", "x2", "x3"}
    assert {item.replace("c1-again", "c1") for item in found} == tracks
    assert len(found) == len(tracks)


def test_who_has_heard_everything_gets_an_empty_list(make, events):
    rest = [{"user_id": "all", "item_id": i, "kind": "stream", "value": 1.0} for i in ("d1", "d2")]
    recommender = make(events=[*events, *rest])
    assert recommender.recommend("all", 30) == []
    assert recommender.recommend("ann", 30)


def test_a_listener_without_plays_gets_the_most_played(recommender: HybridRecommender):
    found = recommender.recommend("not", 99, weights={"collaborative": 0})
    popularity = [recommender.listeners_of[recommender.catalogue.items.row(i)] for i in ids(found)]
    assert popularity == sorted(popularity, reverse=True)
    assert "a1" not in ids(found)  # skipped is heard


def test_kind_chooses_what_is_listed(recommender: HybridRecommender):
    assert recommender.default_kind == "track"
    assert ids(recommender.recommend("pod", 9, kind="episode")) == ["e2"]
    with pytest.raises(NotFoundError, match="track"):
        recommender.recommend("ann", kind="trakc")


@pytest.mark.parametrize("k", [0, -3])
def test_a_list_of_nothing_is_no_list(recommender: HybridRecommender, k):
    for call in (
        lambda: recommender.recommend("ann", k),
        lambda: recommender.recommend_history([], k),
        lambda: recommender.rank(np.array([0]), k),
        lambda: recommender.similar("item", "a1", k),
    ):
        with pytest.raises(UsageError, match=f"k: want 1 or more, got {k}"):
            call()


def test_an_unknown_listener_is_named_with_the_nearest(recommender: HybridRecommender):
    with pytest.raises(NotFoundError, match="no user 'anne'; nearest known: 'ann'"):
        recommender.recommend("anne")


def test_weights_move_the_list(recommender: HybridRecommender):
    silent = dict.fromkeys(("text", "audio", "artists", "popularity"), 0.0)
    only = recommender.recommend("ann", 3, weights=silent)
    assert all(entry.score == entry.signals["collaborative"] for entry in only)
    popular = recommender.recommend(
        "ann", 1, weights=silent | {"collaborative": 0, "popularity": 2}
    )
    weight = recommender.config.ensemble.popularity
    assert popular[0].signals["popularity"] == pytest.approx(2 * weight / 61)


def test_every_signal_has_a_weight_though_no_source_stands_behind_it():
    """The context of a learned blend: the page draws a slider for it as for the others."""
    assert choose_weights(("text", "context"), {"context": 0.5, "audio": 2.0}) == {
        "text": 1.0,
        "context": 0.5,
    }


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"txt": 1.0}, "no source 'txt'; did you mean text"),
        ({"text": -1.0}, "text: want 0 or more, got -1.0"),
        ({"text": float("nan")}, "want 0 or more"),
        ({"text": float("inf")}, "want 0 or more"),
    ],
)
def test_unusable_weights(recommender: HybridRecommender, weights, message):
    with pytest.raises(UsageError, match=message):
        recommender.recommend("ann", weights=weights)


def test_a_weight_for_a_source_that_is_not_there_has_no_effect(make):
    recommender = make(models=("collaborative",))
    assert recommender.recommend("ann", weights={"audio": 5}) == recommender.recommend("ann")
    signals = ["collaborative", "artists", "popularity"]
    assert list(recommender.recommend("ann")[0].signals) == signals


@pytest.mark.parametrize("models", [(), ("collaborative",), ("text",), ("audio",)])
def test_every_combination_of_models_makes_lists(make, models):
    recommender = make(models=models)
    assert set(recommender.spaces) == set(models)
    assert len(recommender.recommend("ann", 5)) == 5
    assert len(recommender.recommend_history([("c2", 3)], 5)) == 5


def test_a_history_is_answered_like_the_listener_who_has_it(recommender: HybridRecommender, plays):
    anonymous = recommender.recommend_history(list(plays["ann"].items()), 99)
    known = recommender.recommend("ann", 99)
    assert set(ids(anonymous)) == set(ids(known))
    assert ids(anonymous)[:3] == ids(known)[:3]


def test_a_history_hides_all_releases_of_a_recording(make):
    found = ids(make(max_per_artist=0).recommend_history([("c1", 1)], 99))
    assert "c2" in found
    assert {"c1", "c1-again"}.isdisjoint(found)


def test_an_empty_history_gets_the_most_played(recommender: HybridRecommender):
    found = recommender.recommend_history([], 3)
    for entry in found:
        assert {source for source, signal in entry.signals.items() if signal} == {"popularity"}


@pytest.mark.parametrize("plays", [0, -1, float("nan"), float("inf")])
def test_plays_that_are_no_plays(recommender: HybridRecommender, plays):
    with pytest.raises(UsageError, match="plays of 'a1': want above 0"):
        recommender.recommend_history([("a1", plays)])


def test_an_unknown_item_in_a_history(recommender: HybridRecommender):
    with pytest.raises(NotFoundError, match="no item 'a11'"):
        recommender.recommend_history([("a11", 1)])


def test_rank_agrees_with_recommend(recommender: HybridRecommender):
    catalogue = recommender.catalogue
    items, scores = recommender.rank(np.arange(catalogue.n_users), 4)
    for user in range(catalogue.n_users):
        one = recommender.recommend(catalogue.users[user], 4)
        found = [catalogue.items[row] for row in items[user].tolist() if row >= 0]
        assert found == ids(one)
        assert scores[user][: len(one)].tolist() == pytest.approx([e.score for e in one])
        assert np.isneginf(scores[user][len(one) :]).all()


def test_rank_without_rerank_lets_an_artist_fill_a_list(recommender: HybridRecommender):
    row = np.array([recommender.catalogue.users.row("eve")])
    artists = recommender.catalogue.item_artist[recommender.rank(row, 9, rerank=False)[0][0]]
    assert max(Counter(artists[artists >= 0].tolist()).values()) > 2


def test_rank_in_batches_is_rank_at_once(recommender: HybridRecommender, monkeypatch):
    users = np.arange(recommender.catalogue.n_users)
    at_once = recommender.rank(users, 6)
    monkeypatch.setattr("recsys.ensemble.lists._BATCH_CELLS", 1)
    assert np.array_equal(recommender.rank(users, 6)[0], at_once[0])


def test_who_follows_an_artist_is_no_listener_of_their_songs(recommender: HybridRecommender, plays):
    for row, item in enumerate(recommender.catalogue.items):
        listeners = sum(item in played for played in plays.values())
        assert recommender.listeners_of[row] == listeners

"""What a playlist goes on with: what is like its seeds, and never a seed itself."""

from __future__ import annotations

from collections import Counter

import pytest

from recsys.ensemble.playlist import go_on
from recsys.ensemble.recommender import HybridRecommender
from recsys.errors import NotFoundError, UsageError


def ids(entries) -> list[str]:
    return [entry.item_id for entry in entries]


def test_a_continuation_stays_in_the_scene_and_holds_no_seed(recommender: HybridRecommender):
    found = ids(go_on(recommender, ["a1", "a2", "a1"], 3))
    assert set(found) <= {"a3", "a4", "b1", "b2", "b3"}
    assert found == ids(recommender.recommend_history([("a1", 1.0), ("a2", 1.0)], 3))
    assert not {"c1", "c1-again"} & set(ids(go_on(recommender, ["c1"], 99))), "one recording"


def test_a_radio_plays_others_and_what_of_the_artist_is_played_less(recommender: HybridRecommender):
    found = ids(go_on(recommender, [], 4, artists=["a"]))
    # a1, a2 and a3 are played most; two of them stand for the artist.
    listeners = dict(zip(recommender.catalogue.items, recommender.listeners_of, strict=True))
    stand = sorted(("a1", "a2", "a3", "a4"), key=lambda id: -listeners[id])[:2]
    assert not set(stand) & set(found)
    assert {"a4"} & set(found) and {"b1", "b2", "b3"} & set(found)
    both = ids(go_on(recommender, ["c2"], 99, artists=["a"]))
    assert not {"c2", *stand} & set(both)


def test_a_playlist_holds_what_its_seeds_are(recommender: HybridRecommender):
    assert ids(go_on(recommender, ["e1"], 9)) == ["e2"]
    assert all(id[0] == "e" for id in ids(go_on(recommender, ["e1", "e2", "a1"], 9)))
    assert all(id[0] != "e" for id in ids(go_on(recommender, ["e1"], 9, kind="track")))


def test_a_smooth_playlist_is_the_same_list_in_another_order(recommender: HybridRecommender):
    plain = go_on(recommender, ["a1"], 8)
    smooth = go_on(recommender, ["a1"], 8, smooth=True)
    assert Counter(ids(plain)) == Counter(ids(smooth))
    assert smooth[0] == plain[0]


def test_what_cannot_be_gone_on_from(make, catalogue_items):
    recommender = make(items=[i for i in catalogue_items if i.get("artist_id") != "d"])
    with pytest.raises(UsageError, match="want at least one item to go on from, got none"):
        go_on(recommender, [])
    with pytest.raises(UsageError, match="got nothing by 'd'"):
        go_on(recommender, [], artists=["d"])
    with pytest.raises(NotFoundError, match="no item 'a9'"):
        go_on(recommender, ["a9"])
    with pytest.raises(NotFoundError, match="no artist 'q'"):
        go_on(recommender, ["a1"], artists=["q"])

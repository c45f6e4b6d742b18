"""A reason is there while its evidence is, and goes with it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.data.collections import Collections
from recsys.ensemble.candidates import Listeners
from recsys.ensemble.reasons import Reasons
from recsys.ensemble.recommender import HybridRecommender


def reasons(recommender: HybridRecommender, user: str, item: str) -> list[str]:
    [entry] = [e for e in recommender.recommend(user, 99) if e.item_id == item]
    return entry.reasons


def without(events: list[dict], users: Iterable[str], items: Iterable[str]) -> list[dict]:
    return [e for e in events if not (e["user_id"] in users and e.get("item_id") in items)]


def test_listeners_who_play_one_also_play_the_other(make, events):
    """eve's c2 is shared with dan and all; withdraw every play of a shared item and it goes."""
    sentence = reasons(make(models=("collaborative",)), "dan", "c3")[0]
    assert sentence in (
        "listeners who play Gamma 1 by The Cs also play this",
        "listeners who play Gamma 2 by The Cs also play this",
        "listeners who play Unsigned 1 also play this",
    )
    apart = without(events, ("eve", "all"), ("c1", "c1-again", "c2", "x1"))
    kept = make(events=apart, models=("collaborative",))
    assert not any("listeners who play" in s for s in reasons(kept, "dan", "c3"))


def test_a_play_that_is_withdrawn_is_no_longer_named(make, events):
    named = reasons(make(models=("audio",)), "ann", "b2")
    assert named[0] == "sounds like Alpha 1 by The As"
    fewer = without(events, ("ann",), ("a1",))
    left = reasons(make(events=fewer, models=("audio",)), "ann", "b2")
    assert left[0] == "sounds like Alpha 2 by The As"


def test_shared_terms(make, events):
    described = reasons(make(models=("text",)), "ann", "b2")
    assert described[0] == "described like The As: dreamy, lo-fi"
    fewer = without(events, ("ann",), ("a1", "a2"))
    left = reasons(make(events=fewer, models=("text",)), "ann", "b2")
    assert not any("described like" in sentence for sentence in left)


def test_an_artist_is_not_described_by_likeness_to_itself(make):
    for entry in make(models=("text",)).recommend("ann", 99):
        assert not any(f"like {entry.artist}" in sentence for sentence in entry.reasons)


def test_what_sounds_like_nothing_played_has_no_such_reason(make):
    recommender = make(models=("audio",))
    assert not any("sounds like" in s for s in reasons(recommender, "ann", "d1"))


def test_the_number_of_listeners_is_the_last_resort(make, events):
    recommender = make(models=("audio",))
    assert reasons(recommender, "dan", "a1") == ["played by 4 listeners"]
    alone = without(events, ("ann", "bob", "cyd"), ("a1",))
    assert reasons(make(events=alone, models=("audio",), max_per_artist=0), "dan", "a1") == [
        "played by 1 listener"
    ]


def test_of_what_nobody_played_just_that_is_said(recommender: HybridRecommender):
    assert reasons(recommender, "ann", "d1") == ["nobody has played this yet"]


def test_no_sentence_names_what_was_not_played(recommender: HybridRecommender):
    """new follows The Cs but has played nothing."""
    for entry in recommender.recommend("new", 99):
        assert all(
            sentence.startswith(("played by", "nobody has played", "by The Cs, whom you follow"))
            for sentence in entry.reasons
        )


def test_an_artist_is_named_while_they_are_followed_or_played(make, events):
    assert reasons(make(models=()), "new", "c2") == ["by The Cs, whom you follow"]
    apart = [e for e in events if e["kind"] != "follow"] + [
        {"user_id": "new", "item_id": "a1", "kind": "skip"}
    ]
    assert reasons(make(events=apart, models=()), "new", "c2") == ["played by 3 listeners"]
    assert "by The Bs, whom you play" in reasons(make(models=()), "ann", "b3")
    gone = without(events, ("ann",), ("b1",))
    left = reasons(make(events=gone, models=(), max_per_artist=0), "ann", "b3")
    assert not any("The Bs" in sentence for sentence in left)


EDITORS = {"collection_id": "e", "title": "Quiet Mornings", "item_ids": ["a1", "c3"]}


def test_a_list_of_editors_is_named_while_it_holds_both(make, events):
    named = reasons(make(models=(), collections=[EDITORS], max_per_artist=0), "ann", "c3")
    assert named == ["on Quiet Mornings beside Alpha 1 by The As"]
    gone = without(events, ("ann",), ("a1",))
    assert reasons(
        make(events=gone, models=(), collections=[EDITORS], max_per_artist=0), "ann", "c3"
    ) == ["played by 2 listeners"]
    apart = EDITORS | {"item_ids": ["b3", "c3"]}
    assert reasons(make(models=(), collections=[apart], max_per_artist=0), "ann", "c3") == [
        "played by 2 listeners"
    ]


def test_one_listeners_playlist_is_not_told_of_but_several_are(make):
    """Neither title nor owner; and an item that the owner never heard stands on no list."""
    lists = [
        {"collection_id": n, "title": "Mine", "owner_id": n, "item_ids": ["a3", "x1", "b2"]}
        for n in ("all", "bob")
    ]
    told = reasons(make(models=(), collections=lists, max_per_artist=0), "cyd", "x1")
    assert told == ["played by 3 listeners"]  # bob never heard x1, so one list is left
    both = [one | {"owner_id": owner} for one, owner in zip(lists, ("all", "bob"), strict=True)]
    both[1] = both[1] | {"owner_id": "all"}
    told = reasons(make(models=(), collections=both, max_per_artist=0), "cyd", "x1")
    assert told == ["on playlists beside Alpha 3 by The As"]


def test_the_reason_behind_the_largest_signal_comes_first(recommender: HybridRecommender):
    marks = {"listeners who": "collaborative", "described": "text", "sounds": "audio"}
    seen = 0
    for entry in recommender.recommend("ann", 99):
        sources = [
            source for s in entry.reasons for start, source in marks.items() if s.startswith(start)
        ]
        signals = [entry.signals[source] for source in sources]
        assert signals == sorted(signals, reverse=True)
        seen += len(signals) > 1
    assert seen


@pytest.mark.parametrize(
    ("credit", "together", "expected"),
    [
        (1.0, True, ["listeners who play Alpha 1 by The As also play this"]),
        (1.0, False, []),
        (0.0, True, []),
        (-1.0, True, []),
    ],
)
def test_credit_and_somebody_who_plays_both_are_needed(
    recommender: HybridRecommender, credit, together, expected
):
    catalogue = recommender.catalogue
    play, item = catalogue.items.row("a1"), catalogue.items.row("d1")
    listeners = np.zeros((catalogue.n_items, 2), np.int8)
    listeners[play, 0] = 1
    listeners[item, 0 if together else 1] = 1
    history = np.zeros((1, catalogue.n_items), np.float32)
    history[0, play] = 1
    follows = csr_array((1, catalogue.n_artists))
    listener = Listeners(csr_array(history), csr_array(history), follows, {})
    written = Reasons(
        catalogue,
        csr_array(listeners),
        {"collaborative": lambda *_: np.full((1, 1), credit, np.float32)},
        Collections.none(catalogue.n_items),
        csr_array((catalogue.n_items, 0)),
    ).sentences(listener, np.array([item]), np.array([[1.0]]), ("collaborative",))
    assert written == [expected or ["played by 1 listener"]]

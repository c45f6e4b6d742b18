"""Neighbours by each model and by all."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from recsys.ensemble.recommender import HybridRecommender
from recsys.errors import NotFoundError, UsageError

MODELS = ("collaborative", "text", "audio")


@pytest.mark.parametrize("by", [*MODELS, "hybrid"])
def test_items_of_a_scene_are_alike(recommender: HybridRecommender, by):
    found = [item for item, _ in recommender.similar("item", "a1", 3, by=by)]
    assert len(found) == 3
    assert {item[0] for item in found} <= {"a", "b"}


@pytest.mark.parametrize("by", [*MODELS, "hybrid"])
def test_artists_of_a_scene_are_alike(recommender: HybridRecommender, by):
    assert recommender.similar("artist", "a", 1, by=by)[0][0] == "b"


@pytest.mark.parametrize("by", [*MODELS, "hybrid"])
def test_listeners_of_a_scene_are_alike(recommender: HybridRecommender, by):
    assert recommender.similar("user", "dan", 1, by=by)[0][0] in ("eve", "all", "new")
    assert recommender.similar("user", "ann", 1, by=by)[0][0] in ("bob", "cyd", "all")


@pytest.mark.parametrize("kind", ["item", "artist", "user"])
@pytest.mark.parametrize("by", [*MODELS, "hybrid"])
def test_all_others_at_most_and_never_oneself(recommender: HybridRecommender, kind, by):
    id = {"item": "a1", "artist": "a", "user": "ann"}[kind]
    found = recommender.similar(kind, id, 10**6, by=by)
    assert id not in dict(found)
    assert len(dict(found)) == len(found)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    if by != "hybrid":
        assert all(-1.0001 <= score <= 1.0001 for score in scores)


def test_cosines_are_exact(recommender: HybridRecommender):
    vectors = recommender.factors.item_factors
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    items = recommender.catalogue.items
    for other, score in recommender.similar("item", "a1", 4, by="collaborative"):
        assert score == pytest.approx(units[items.row("a1")] @ units[items.row(other)], abs=1e-5)


def test_of_what_nothing_is_known_nothing_is_similar(recommender: HybridRecommender):
    assert recommender.similar("item", "e1", by="audio") == []
    assert recommender.similar("item", "d1", by="collaborative") == []


def artists_of(recommender: HybridRecommender, found) -> Counter[int]:
    """Return how many of (id, score) pairs are by each known artist."""
    catalogue = recommender.catalogue
    rows = [catalogue.items.row(id) for id, _ in found]
    return Counter(int(a) for a in catalogue.item_artist[rows] if a >= 0)


@pytest.mark.parametrize("most", [1, 2])
def test_an_item_is_like_others_than_its_own_artists(make, most):
    recommender = make(max_per_artist=most)
    found = recommender.similar("item", "a1", 6)
    by_artist = artists_of(recommender, found)
    assert max(by_artist.values()) == most and len(by_artist) >= 2
    uncapped = artists_of(recommender, recommender.similar("item", "a1", 6, by="audio"))
    assert uncapped[recommender.catalogue.artists.row("a")] == 3


def test_another_release_of_a_recording_is_no_neighbour(recommender: HybridRecommender):
    assert "c1-again" in dict(recommender.similar("item", "c1", 10, by="audio"))
    assert "c1-again" not in dict(recommender.similar("item", "c1", 10))
    found = dict(recommender.similar("item", "c2", 10))
    assert len({"c1", "c1-again"} & found.keys()) == 1


def test_a_prolific_artist_leaves_room(make, catalogue_items):
    """150 items by one artist stand nearer than all others, more than are looked at first."""
    more = [{"item_id": f"a{n:03}", "artist_id": "a", "title": f"{n}"} for n in range(150)]
    recommender = make(items=[*catalogue_items, *more], models=("audio",), candidates_per_source=20)
    found = recommender.similar("item", "a1", 4)
    by_artist = artists_of(recommender, found)
    artists = recommender.catalogue.artists
    assert by_artist == {artists.row("a"): 2, artists.row("b"): 2}
    everything, _ = recommender.neighbours("item", np.arange(len(recommender.catalogue.items)), 4)
    row = recommender.catalogue.items.row("a1")
    assert [recommender.catalogue.items[r] for r in everything[row]] == [id for id, _ in found]


def test_many_rows_at_once(recommender: HybridRecommender):
    items = recommender.catalogue.items
    found, scores = recommender.neighbours("item", np.arange(len(items)), 4)
    for row in range(len(items)):
        pairs = [(items[r], s) for r, s in zip(found[row], scores[row]) if r >= 0]
        assert pairs == recommender.similar("item", items[row], 4)


def test_wrong_questions(make, recommender: HybridRecommender):
    with pytest.raises(UsageError, match="want one of item, artist, user, got 'album'"):
        recommender.similar("album", "a1")
    with pytest.raises(UsageError, match="'sound': this version has collaborative, text, audio"):
        recommender.similar("item", "a1", by="sound")
    with pytest.raises(UsageError, match="'audio': this version has text, hybrid"):
        make(models=("text",)).similar("item", "a1", by="audio")
    with pytest.raises(NotFoundError, match="no artist 'z'"):
        recommender.similar("artist", "z")

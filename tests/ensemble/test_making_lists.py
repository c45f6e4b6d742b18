"""Lists that the first candidates cannot fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.config import EnsembleConfig
from recsys.data.arrays import Tags, Texts
from recsys.data.catalogue import NO_TIME, Catalogue
from recsys.data.collections import Collections
from recsys.data.identity import Ids
from recsys.data.interactions import Interactions
from recsys.ensemble.blend import ReciprocalRank
from recsys.ensemble.candidates import Listeners, Popularity
from recsys.ensemble.ensemble import Ensemble
from recsys.ensemble.lists import ListMaker
from recsys.ensemble.sound import Sound

N_ITEMS = 60


def ids(n: int, kind: str) -> Ids:
    return Ids.from_strings([f"{number:03d}" for number in range(n)], kind=kind)


def maker(*, cap: int, candidates: int) -> ListMaker:
    """Fifty popular songs by one artist, then ten by artists of their own."""
    artist = np.concatenate([np.zeros(50), np.arange(1, 11)]).astype(np.int32)
    unknown = np.full(N_ITEMS, NO_TIME)
    no_words = Texts(np.zeros(N_ITEMS + 1, np.int64), np.zeros(0, np.uint8))
    no_tags = Tags(ids(0, "word"), np.zeros(N_ITEMS + 1, np.int64), np.zeros(0, np.int32))
    catalogue = Catalogue(
        users=ids(N_ITEMS, "user"),
        items=ids(N_ITEMS, "item"),
        artists=ids(11, "artist"),
        kinds=ids(1, "item kind"),
        item_artist=artist,
        recording=np.arange(N_ITEMS, dtype=np.int32),
        item_kind=np.zeros(N_ITEMS, np.int32),
        released_at=unknown,
        available_from=unknown,
        available_until=unknown,
        duration_s=np.full(N_ITEMS, np.nan, np.float32),
        explicit=np.full(N_ITEMS, -1, np.int8),
        titles=no_words,
        artist_names=Texts(np.zeros(12, np.int64), np.zeros(0, np.uint8)),
        languages=no_words,
        territories=no_tags,
        labels=no_tags,
    )
    # User u played the items up to u, so that the first item is the most popular.
    played = csr_array(np.tril(np.ones((N_ITEMS, N_ITEMS), np.float32)))
    nothing = csr_array((N_ITEMS, 11), dtype=np.float32)
    interactions = Interactions(
        evidence=played,
        plays=played,
        streamed=played.data,
        last_played=np.full(played.nnz, NO_TIME),
        ratings=played,
        heard=played.astype(np.int8),
        follows=nothing,
        counted_at=np.zeros(1, np.int64),
    )
    ensemble = Ensemble(
        catalogue,
        interactions,
        Collections.none(N_ITEMS),
        factors=None,
        content={},
        sound=Sound.unknown(N_ITEMS),
        config=EnsembleConfig(candidates_per_source=candidates),
    )
    ensemble.sources = ("popularity",)
    return ListMaker(
        ensemble=ensemble,
        blender=ReciprocalRank({"popularity": 1.0}),
        weights={"popularity": 1.0},
        eligible=ensemble.eligible(np.ones(N_ITEMS, bool)),
        max_per_artist=cap,
    )


def listeners(*heard: Sequence[int]) -> Listeners:
    known = np.zeros((len(heard), N_ITEMS), np.int8)
    for row, items in enumerate(heard):
        known[row, list(items)] = 1
    follows = csr_array((len(heard), 11), dtype=np.float32)
    return Listeners(csr_array(known.astype(np.float32)), csr_array(known), follows, {})


@pytest.mark.parametrize("k", [1, 3, 11, 60])
def test_everything_is_ranked_for_those_who_are_left_short(k):
    """Of four listeners two are served by the first candidates; the order of all stays."""
    batch = listeners([], range(50), range(55), range(N_ITEMS))
    lists = maker(cap=1, candidates=1)(batch, k).padded(4, k)[0]
    assert (np.diff(maker(cap=1, candidates=1)(batch, k).listener) >= 0).all()
    expected = [[0, *range(50, 60)], [*range(50, 60)], [*range(55, 60)], []]
    assert [[i for i in row if i >= 0] for row in lists.tolist()] == [row[:k] for row in expected]


def test_a_full_list_asks_for_no_more(monkeypatch):
    depths = []
    search = Popularity.search
    monkeypatch.setattr(
        Popularity, "search", lambda self, k, **more: depths.append(k) or search(self, k, **more)
    )
    maker(cap=0, candidates=8)(listeners([], range(50)), 4)
    maker(cap=1, candidates=40)(listeners(range(40)), 12)  # all 20 unheard are candidates already
    assert depths == [4, 20]

"""Lists that the first candidates cannot fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.ensemble.candidates import Listeners, Popularity
from recsys.ensemble.lists import ListMaker

N_ITEMS = 60


def maker(*, cap: int, candidates: int) -> ListMaker:
    """Fifty popular songs by one artist, then ten by artists of their own."""
    artist = np.concatenate([np.zeros(50), np.arange(1, 11)]).astype(np.int32)
    return ListMaker(
        spaces={},
        popularity=Popularity(np.arange(N_ITEMS)[::-1]),
        weights={"popularity": 1.0},
        eligible=np.ones(N_ITEMS, bool),
        recording=np.arange(N_ITEMS, dtype=np.int32),
        artist=artist,
        candidates_per_source=candidates,
        rank_offset=60.0,
        max_per_artist=cap,
    )


def listeners(*heard: Sequence[int]) -> Listeners:
    known = np.zeros((len(heard), N_ITEMS), np.int8)
    for row, items in enumerate(heard):
        known[row, list(items)] = 1
    return Listeners(csr_array(known.astype(np.float32)), csr_array(known), {})


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
    maker(cap=1, candidates=25)(listeners(range(40)), 12)  # all 20 unheard are candidates already
    assert depths == [8, 25]

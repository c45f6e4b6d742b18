"""The rules against a slow greedy twin."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.ensemble.blend import Blend
from recsys.ensemble.rerank import rerank

N_ITEMS = 20
RECORDING = np.array([item // 2 if item < 8 else item for item in range(N_ITEMS)], np.int32)
ARTIST = np.array([item % 3 if item < 15 else -1 for item in range(N_ITEMS)], np.int32)


def blend_of(rows: list[list[int]]) -> Blend:
    listener = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    items = np.array([item for row in rows for item in row], np.int32)
    return Blend(listener, items, np.ones((len(items), 1)))


def greedy(row: list[int], k: int, cap: int) -> list[int]:
    """Walk down the list and keep what breaks no rule."""
    kept: list[int] = []
    per_artist: Counter[int] = Counter()
    recordings: set[int] = set()
    for item in row:
        recording, artist = int(RECORDING[item]), int(ARTIST[item])
        if recording in recordings:
            continue
        recordings.add(recording)
        if cap and artist >= 0 and per_artist[artist] == cap:
            continue
        per_artist[artist] += 1
        kept.append(item)
    return kept[:k]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=15), min_size=1),
    st.integers(1, 8),
    st.integers(0, 3),
)
def test_agrees_with_the_greedy_twin(rows, k, cap):
    lists = rerank(blend_of(rows), k, recording=RECORDING, artist=ARTIST, max_per_artist=cap)
    found = lists.padded(len(rows), k)[0]
    assert [[i for i in row if i >= 0] for row in found.tolist()] == [
        greedy(row, k, cap) for row in rows
    ]


def test_an_unknown_artist_is_never_capped():
    lists = rerank(
        blend_of([[15, 16, 17, 18]]), 9, recording=RECORDING, artist=ARTIST, max_per_artist=1
    )
    assert lists.item.tolist() == [15, 16, 17, 18]


def test_the_better_placed_release_of_a_recording_stays():
    lists = rerank(blend_of([[3, 2]]), 9, recording=RECORDING, artist=ARTIST, max_per_artist=2)
    assert lists.item.tolist() == [3]

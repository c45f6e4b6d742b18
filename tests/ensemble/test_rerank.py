"""The rules and variety against slow greedy twins."""

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
    wanted = [greedy(row, k, cap) for row in rows]
    assert [[i for i in row if i >= 0] for row in found.tolist()] == wanted
    assert len(lists) == sum(map(len, wanted))


def test_an_unknown_artist_is_never_capped():
    lists = rerank(
        blend_of([[15, 16, 17, 18]]), 9, recording=RECORDING, artist=ARTIST, max_per_artist=1
    )
    assert lists.item.tolist() == [15, 16, 17, 18]


def test_the_better_placed_release_of_a_recording_stays():
    lists = rerank(blend_of([[3, 2]]), 9, recording=RECORDING, artist=ARTIST, max_per_artist=2)
    assert lists.item.tolist() == [3]


EVERY = np.arange(N_ITEMS, dtype=np.int32)
NOBODY = np.full(N_ITEMS, -1, np.int32)


def varied(blend: Blend, k: int, spaces: list[np.ndarray], diversity: float) -> list[list[int]]:
    options = {"recording": EVERY, "artist": NOBODY, "max_per_artist": 0}
    lists = rerank(blend, k, spaces=spaces, diversity=diversity, **options)
    rows = lists.padded(int(blend.listener.max()) + 1, k)[0].tolist()
    return [[item for item in row if item >= 0] for row in rows]


def marginal(
    items: np.ndarray, scores: np.ndarray, k: int, spaces: list[np.ndarray], diversity: float
) -> list[int]:
    """Choose one after the other by the formula, among the first 4 k."""
    left = list(range(min(4 * k, len(items))))
    span = float(scores[0] - scores[left[-1]]) or 1.0
    chosen: list[int] = []

    def worth(place: int) -> float:
        near = [
            np.mean([space[items[place]] @ space[items[above]] for space in spaces])
            for above in chosen
        ]
        relevance = float(scores[place] - scores[min(4 * k, len(items)) - 1]) / span
        return (1 - diversity) * relevance - diversity * max([0.0, *near])

    while left and len(chosen) < k:
        best = max(left, key=worth)
        left.remove(best)
        chosen.append(best)
    return [int(items[place]) for place in chosen]


@settings(deadline=None)
@given(
    st.integers(0, 2**16),
    st.lists(st.integers(1, 12), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 2),
    st.sampled_from([0.1, 0.5, 0.9]),
)
def test_variety_agrees_with_its_twin(seed, lengths, k, n_spaces, diversity):
    rng = np.random.default_rng(seed)
    spaces = [rng.normal(size=(N_ITEMS, 3)) for _ in range(n_spaces)]
    spaces = [(s / np.linalg.norm(s, axis=1, keepdims=True)).astype(np.float32) for s in spaces]
    items = [rng.permutation(N_ITEMS)[:n].astype(np.int32) for n in lengths]
    # Signals may be negative: what counts is how far an entry lies from the list's first and last.
    scores = [np.sort(rng.normal(-3, 2, n))[::-1] for n in lengths]
    listener = np.repeat(np.arange(len(lengths)), lengths)
    blend = Blend(listener, np.concatenate(items), np.concatenate(scores)[:, None])
    wanted = [marginal(i, s, k, spaces, diversity) for i, s in zip(items, scores)]
    assert varied(blend, k, spaces, diversity) == wanted


def test_equal_scores_keep_their_order_but_for_what_is_alike():
    """Items 0 and 1 point one way, 2 and 3 the other."""
    space = np.zeros((N_ITEMS, 2), np.float32)
    space[[0, 1], 0] = space[[2, 3], 1] = 1
    assert varied(blend_of([[0, 1, 2, 3]]), 4, [space], 0.5) == [[0, 2, 1, 3]]


def test_without_diversity_nothing_moves():
    space = np.ones((N_ITEMS, 1), np.float32)
    assert varied(blend_of([[5, 4, 3, 2]]), 3, [space], 0.0) == [[5, 4, 3]]


def test_without_a_model_there_is_nothing_to_vary_by():
    assert varied(blend_of([[5, 4, 3, 2]]), 3, [], 0.5) == [[5, 4, 3]]

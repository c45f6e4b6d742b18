"""In which order a playlist flows: small steps in key and tempo from song to song.

Enters: items and their descriptors. Leaves: the same items in another order; the first stays first.
A step costs its way round the circle of fifths, 0 to 1, plus its change of tempo in half octaves,
0 to 1, octave-aware; a step to or from what is unknown costs a half of either. The path is greedy
and then mended by turning round parts of it while that makes it shorter (2-opt; Croes 1958).
Neighbours on the circle of fifths share all but one note, which is how DJs mix in key.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.ensemble.sound import Sound

__all__ = ["smooth_order", "step_costs"]


def step_costs(sound: Sound, items: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return (n, n) what a step from one item to another costs, 0 to 2."""
    fifth, turn = sound.fifth[items], sound.turns[items].astype(np.float64)
    round_circle = np.abs(fifth[:, None] - fifth[None, :])
    keys = np.minimum(round_circle, 12 - round_circle) / 6
    known = fifth >= 0
    keys = np.where(known[:, None] & known[None, :], keys, 0.5)
    tempi = 2 * np.abs((turn[:, None] - turn[None, :] + 0.5) % 1 - 0.5)
    return np.asarray(keys + np.where(np.isfinite(tempi), tempi, 0.5))


def smooth_order(sound: Sound, items: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return (n,) the places of `items` (n,) in the order in which they flow best."""
    n = len(items)
    if n < 3:
        return np.arange(n)
    costs = step_costs(sound, items)
    path, free = [0], set(range(1, n))
    while free:
        nearest = min(free, key=lambda place: (costs[path[-1], place], place))
        path.append(nearest)
        free.remove(nearest)
    order = np.array(path)
    mended = True
    while mended:
        mended = False
        for start in range(1, n - 1):
            for end in range(start + 1, n):
                before, first, last = order[start - 1], order[start], order[end]
                gain = costs[before, first] - costs[before, last]
                if end + 1 < n:
                    gain += costs[last, order[end + 1]] - costs[first, order[end + 1]]
                if gain > 1e-9:
                    order[start : end + 1] = order[start : end + 1][::-1]
                    mended = True
    return order

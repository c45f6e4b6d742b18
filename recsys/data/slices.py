"""Which events train, tune, blend and test: four slices without a leak between them.

Enters: events. Leaves: `Slices`, row numbers into them. Where most events have a time, the cuts are
moments: every slice lies after the one before. Elsewhere fixed fractions of each user's items,
drawn by seed, go to each slice. Models see base, hyper-parameters are chosen on tune, the
ensemble's weights on blend; test is reported once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.config import SlicesConfig
from recsys.data.events import NO_TIME, Events
from recsys.errors import ConfigError

__all__ = ["Slices", "split"]

_MOST = 0.5


@dataclass(frozen=True)
class Slices:
    """Ascending int64 row numbers into the events, each event in exactly one slice."""

    base: NDArray[np.int64]
    tune: NDArray[np.int64]
    blend: NDArray[np.int64]
    test: NDArray[np.int64]


def split(events: Events, config: SlicesConfig) -> Slices:
    """Cut `events` into slices.

    By time, events of one moment stay together, and an untimed event goes with the last timed
    event of the same user on the same item (to base where there is none). Without times, all events
    of one user on one item are in one slice, and every user has something in base.

    Raises
    ------
    ConfigError
        Where the shares are negative or leave nothing for base.
    """
    shares = np.array([config.tune, config.blend, config.test])
    if (shares < 0).any() or shares.sum() >= 1:
        raise ConfigError(
            f"[slices]: tune {config.tune} + blend {config.blend} + test {config.test} must be "
            f"at least 0 each and below 1 together, so that base has events"
        )
    # cuts: where tune, blend and test begin, as shares of the whole
    cuts = 1.0 - np.cumsum(shares[::-1])[::-1]
    pair = _pairs(events)
    part = _by_time(events, pair, cuts)
    if part is None:
        part = _by_fraction(events, pair, cuts, config.seed)
    return Slices(*(np.flatnonzero(part == number) for number in range(4)))


def _pairs(events: Events) -> NDArray[np.int64]:
    """Return (n,) numbers 0, 1, ... of the (user, item) pairs, or (user, artist) without item."""
    about = np.where(events.item >= 0, 2 * events.item.astype(np.int64), 2 * events.artist + 1)
    about -= about.min(initial=0)
    key = events.user.astype(np.int64) * (about.max(initial=0) + 1) + about
    return np.asarray(np.unique(key, return_inverse=True)[1], np.int64)


def _by_time(
    events: Events, pair: NDArray[np.int64], cuts: NDArray[np.float64]
) -> NDArray[np.int64] | None:
    """Return (n,) slice numbers by moments; None where time does not tell events apart."""
    timed = events.at != NO_TIME
    if timed.sum() <= _MOST * len(events):
        return None
    times = np.sort(events.at[timed])
    starts = np.minimum(np.round(cuts * len(times)).astype(np.int64), len(times))
    moments = np.append(times, np.iinfo(np.int64).max)[starts]
    if moments[0] == times[0]:
        return None
    part = np.searchsorted(moments, events.at, side="right")
    last = np.zeros(pair.max() + 1, np.int64)
    np.maximum.at(last, pair[timed], part[timed])
    return np.where(timed, part, last[pair])


def _by_fraction(
    events: Events, pair: NDArray[np.int64], cuts: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    """Return (n,) slice numbers: each user's pairs in random order, cut at fixed shares."""
    if not len(events):
        return np.zeros(0, np.int64)
    random = np.random.default_rng(seed)
    n_pairs = int(pair.max()) + 1
    user = np.zeros(n_pairs, np.int64)
    user[pair] = events.user
    order = np.lexsort((random.random(n_pairs), user))
    n_of = np.bincount(user)
    first = np.cumsum(n_of) - n_of
    place = np.empty(n_pairs, np.int64)
    place[order] = np.arange(n_pairs) - first[user[order]]
    # The random start makes shares right on average where a user has few items.
    share = (place + random.random(len(n_of))[user]) / n_of[user]
    share[place == 0] = 0.0
    return np.searchsorted(cuts, share, side="right")[pair]

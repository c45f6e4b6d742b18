"""A year of listening: sessions, plays, and all that listeners do beside playing.

Enters: music and listeners. Leaves: `Log`, one row per event in order of time, private rows
included and marked, for the door to drop and count.

A session has a taste and an hour. Each of its plays is a repeat of something heard before, or the
next track of the album, or a free choice; in a radio session everything is recommended, by a
recommender that likes what is popular. All plays of all listeners are drawn at once: a repeat is a
pointer to an earlier play, and pointers are followed until every play has its item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.world.listeners import (
    MONTH_MS,
    N_MONTHS,
    N_TASTES,
    Listeners,
    appeal_by_month,
    odds,
)
from recsys.data.world.music import DAY_MS, END_MS, START_MS, Music

__all__ = ["CONTEXTS", "Log", "make_log"]

CONTEXTS = ("search", "library", "album", "radio")

_RADIO, _PRIVATE = 0.12, 0.03  # shares of sessions
_ALBUM = 0.22  # chance that a play goes on with the album
_SESSION_PLAYS = 6.0
_BLOCK = 1000  # listeners whose odds are held at once


@dataclass
class Log:
    """Events in order of time, as arrays of one length."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    """-1 where the event is about an artist."""
    artist: NDArray[np.int64]
    kind: NDArray[np.str_]
    at_ms: NDArray[np.int64]
    ms_played: NDArray[np.int64]
    """-1 where nothing was played."""
    context: NDArray[np.int64]
    """Index in `CONTEXTS`, -1 for none."""
    organic: NDArray[np.bool_]
    private: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.user)


@dataclass
class _Slots:
    """Plays to be made, in order of listener and time."""

    user: NDArray[np.int64]
    taste: NDArray[np.int64]
    session: NDArray[np.int64]
    place: NDArray[np.int64]
    """Place within the session."""
    at_ms: NDArray[np.int64]
    radio: NDArray[np.bool_]
    private: NDArray[np.bool_]

    @property
    def month(self) -> NDArray[np.int64]:
        return np.minimum((self.at_ms - START_MS) // MONTH_MS, N_MONTHS - 1)


def make_log(music: Music, listeners: Listeners, *, seed: int) -> Log:
    """Let every listener live through the year."""
    rng = np.random.default_rng([seed, 5])
    slots = _sessions(listeners, rng)
    free = _free_choices(music, listeners, slots, seed, rng)
    liking = _liking(music, listeners, slots, free)
    skipped = slots.radio & (rng.random(len(free)) < _logistic(-0.4 - 1.5 * liking))
    item, how = _follow_habits(music, listeners, slots, free, skipped, rng)
    playable = (music.released_ms[item] <= slots.at_ms) & (slots.at_ms < music.until_ms[item])
    liking = _liking(music, listeners, slots, item)
    fickle = rng.random(len(item)) < _logistic(-3.0 - 0.9 * liking)
    skipped |= ~slots.radio & fickle
    return _events(music, slots, item, how, skipped, liking, playable, rng)


def _sessions(listeners: Listeners, rng: np.random.Generator) -> _Slots:
    """Place every session in the year and lay out its plays."""
    user = np.repeat(np.arange(len(listeners)), listeners.n_sessions)
    n = len(user)
    days = (END_MS - listeners.joined_ms[user]) // DAY_MS
    day = (rng.random(n) * days).astype(np.int64)
    month = np.minimum(((listeners.joined_ms[user] - START_MS) // DAY_MS + day) // 31, 11)
    bounds = listeners.shares[user, month].cumsum(axis=-1)
    taste = (rng.random((n, 1)) > bounds[:, :-1]).sum(axis=-1)
    hour = (listeners.hours[user, taste] + rng.normal(0, 1.2, n)).clip(0, 22.5)
    start = listeners.joined_ms[user] + day * DAY_MS + (hour * 3_600_000).astype(np.int64)
    plays = 1 + rng.poisson(rng.exponential(_SESSION_PLAYS, n)).clip(max=24)
    radio, private = rng.random(n) < _RADIO, rng.random(n) < _PRIVATE
    order = np.lexsort((start, user))
    session = np.repeat(order, plays[order])
    ends = plays[order].cumsum()
    place = np.arange(len(session)) - np.repeat(ends - plays[order], plays[order])
    at = start[session] + place * 210_000 + rng.integers(0, 60_000, len(session))
    return _Slots(
        user[session], taste[session], session, place, at, radio[session], private[session]
    )


def _free_choices(
    music: Music, listeners: Listeners, slots: _Slots, seed: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return what each slot would play if it were chosen freely (radio: recommended)."""
    appeal = appeal_by_month(music, seed=seed)
    chosen = np.full(len(slots.user), -1)
    draw = rng.random(len(slots.user))
    month = slots.month
    for first in range(0, len(listeners), _BLOCK):
        rows = slice(first, min(first + _BLOCK, len(listeners)))
        here = (slots.user >= rows.start) & (slots.user < rows.stop)
        for m in range(N_MONTHS):
            chances = odds(music, listeners, rows, m, appeal)
            start, end = START_MS + m * MONTH_MS, START_MS + (m + 1) * MONTH_MS
            chances *= (music.released_ms < end) & (music.until_ms > start)
            for radio in (False, True):
                if radio:  # flatter in taste, steeper in popularity, and tracks only
                    chances **= 0.4
                    chances *= np.exp(0.7 * appeal[m]) * ~music.is_podcast
                for k in range(N_TASTES):
                    chosen_here = here & (month == m) & (slots.taste == k) & (slots.radio == radio)
                    where = np.flatnonzero(chosen_here)
                    bounds = chances[:, k].cumsum(axis=-1)
                    bounds /= bounds[:, -1:]
                    chosen[where] = _draw(bounds, slots.user[where] - first, draw[where])
    return chosen


def _draw(
    bounds: NDArray[np.float64], rows: NDArray[np.int64], draw: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return a column for each of `rows`, drawn by that row's cumulative distribution."""
    n = bounds.shape[1]
    # Adding the row number makes all rows one ascending array, searched at once.
    flat = (bounds + np.arange(len(bounds))[:, None]).ravel()
    found = np.searchsorted(flat, rows + draw, side="right") - rows * n
    return np.asarray(np.minimum(found, n - 1))


def _follow_habits(
    music: Music,
    listeners: Listeners,
    slots: _Slots,
    free: NDArray[np.int64],
    skipped: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the item of every slot, and the index in `CONTEXTS` of how it came about."""
    n = len(free)
    rows = np.arange(n)
    goes_on = ~slots.radio & (slots.place > 0) & (rng.random(n) < _ALBUM)
    # What may be repeated: all of a listener's own plays and the radio plays that were liked.
    liked = ~(slots.radio & skipped)
    count = liked.cumsum()  # liked slots up to and with this one
    start = np.searchsorted(slots.user, slots.user)  # the listener's first slot
    before = count - liked - (count - liked)[start]  # liked slots of this listener before this one
    again = ~slots.radio & ~goes_on & (before > 0) & (rng.random(n) < listeners.repeats[slots.user])
    # Half of the repeats are recent, half come from anywhere in the past: old loves grow.
    recent = rng.geometric(0.06, n)
    back = np.where(rng.random(n) < 0.5, recent, 1 + (rng.random(n) * before).astype(np.int64))
    places = np.flatnonzero(liked)
    wanted = (count - liked) - np.minimum(back, before)
    source = np.where(again, places[np.clip(wanted, 0, len(places) - 1)], rows)
    source = np.where(goes_on, rows - 1, source)

    item = np.where(goes_on | again, -1, free)
    while (open_slots := np.flatnonzero(item == -1)).size:
        given = item[source[open_slots]]
        ready = given >= 0
        where, given = open_slots[ready], given[ready]
        onward = music.following[given]
        onward = np.where(onward >= 0, onward, free[where])  # after the album's last track
        item[where] = np.where(goes_on[where], onward, given)
    on_album = goes_on & (item == music.following[item[source]])
    how = np.select([slots.radio, on_album, again], [3, 2, 1], 0)
    return item, how


def _liking(
    music: Music, listeners: Listeners, slots: _Slots, item: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return how well each slot's item fits its taste, in standard deviations of a random item."""
    tastes = listeners.tastes[slots.user, slots.month, slots.taste]
    fit = np.einsum("nd,nd->n", tastes, music.taste[item])
    spread = np.sqrt(np.einsum("nd,dc,nc->n", tastes, np.cov(music.taste.T), tastes))
    return np.asarray(fit / spread - 1.5)


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))


def _events(
    music: Music,
    slots: _Slots,
    item: NDArray[np.int64],
    how: NDArray[np.int64],
    skipped: NDArray[np.bool_],
    liking: NDArray[np.float64],
    playable: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Log:
    """Write down plays and what follows from them: saves, playlists, visits, follows."""
    n = len(item)
    artist = music.artist[item]
    length = (music.duration_s[item] * 1000).astype(np.int64)
    heard = np.where(
        rng.random(n) < 0.15, (length * rng.uniform(0.4, 1, n)).astype(np.int64), length
    )
    heard = np.where(skipped, np.minimum(rng.integers(1500, 29_000, n), length), heard)
    liked = playable & ~skipped
    saves = liked & (rng.random(n) < 0.25 * _logistic(liking - 1.5))
    adds = liked & (rng.random(n) < 0.15 * _logistic(liking - 1.5))
    visits = liked & (rng.random(n) < 0.12 * _logistic(liking - 1.0))
    follows = liked & (rng.random(n) < 0.10 * _logistic(liking - 2.0))
    n_artists = len(music.artist_ids)
    saves &= _first(slots.user * len(music.item_ids) + item, saves)
    adds &= _first(slots.user * len(music.item_ids) + item, adds)
    follows &= _first(slots.user * n_artists + artist, follows)
    parts: list[tuple[str, NDArray[np.bool_]]] = [
        ("stream", liked), ("skip", playable & skipped), ("save", saves),
        ("playlist_add", adds), ("artist_visit", visits), ("follow", follows),
    ]  # fmt: skip
    row = np.concatenate([np.flatnonzero(mask) for _, mask in parts])
    kind = np.concatenate([np.full(mask.sum(), name) for name, mask in parts])
    played = np.isin(kind, ["stream", "skip"])
    of_artist = np.isin(kind, ["artist_visit", "follow"])
    at = slots.at_ms[row] + np.where(played, 0, heard[row] // 2)
    order = np.lexsort((kind, slots.user[row], at))
    row, kind, played, of_artist = row[order], kind[order], played[order], of_artist[order]
    inside = at[order] < END_MS
    row, kind, played, of_artist = row[inside], kind[inside], played[inside], of_artist[inside]
    return Log(
        user=slots.user[row],
        item=np.where(of_artist, -1, item[row]),
        artist=artist[row],
        kind=kind,
        at_ms=at[order][inside],
        ms_played=np.where(played, heard[row], -1),
        context=np.where(played, how[row], -1),
        organic=~slots.radio[row] | ~played,
        private=slots.private[row],
    )


def _first(key: NDArray[np.int64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell where a key occurs for the first time among the marked rows."""
    where = np.flatnonzero(among)
    _, first = np.unique(key[where], return_index=True)
    mask = np.zeros(len(key), bool)
    mask[where[first]] = True
    return mask

"""Artists, tracks and podcast episodes: where each lies in taste space, and what it is like.

Enters: a seed and a scale. Leaves: `Music`, one row per artist and per item. An item's place is its
scene's centre, moved by its artist's offset and its own; tempo, mode, metre, loudness and timbre
follow from the audible axes of that place, with noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.world.names import WORDS, artist_names, track_title
from recsys.data.world.scenes import AXES, N_AUDIBLE, SCENES, scene_centres

__all__ = ["DAY_MS", "END_MS", "START_MS", "Music", "make_music"]

DAY_MS = 86_400_000
END_MS = 1_762_128_000_000
"""2025-11-03 00:00 UTC, a Monday: the end of the world's year, never the wall clock."""
START_MS = END_MS - 364 * DAY_MS

_SCENE_NOISE, _ARTIST_NOISE, _ITEM_NOISE = 0.25, 0.55, 0.42  # per axis; centres are about 1
_ARTIST_ZIPF, _ARTIST_APPEAL, _ITEM_APPEAL = 0.75, 0.3, 0.65
_MARKETS = (["HK", "TW", "JP"], ["DE", "FR", "ES"], ["US", "CA"], ["BR", "PT"])


@dataclass
class Music:
    """Artists and items, in rows; items of one album follow each other.

    Arrays over items unless said otherwise: ``n_items`` rows, tracks first, podcasts last.
    """

    artist_ids: list[str]
    artist_names: list[str]
    artist_scene: NDArray[np.int64]
    artist_taste: NDArray[np.float64]
    """(n_artists, n_axes)."""
    item_ids: list[str]
    titles: list[str]
    albums: list[str | None]
    artist: NDArray[np.int64]
    """Row of the item's artist (a podcast's show is its artist)."""
    taste: NDArray[np.float64]
    """(n_items, n_axes)."""
    appeal: NDArray[np.float64]
    """Log popularity."""
    is_podcast: NDArray[np.bool_]
    original: NDArray[np.int64]
    """Row of the item whose recording this is; the row itself but for singles."""
    following: NDArray[np.int64]
    """Row of the next item on the album, -1 after the last."""
    released_ms: NDArray[np.int64]
    until_ms: NDArray[np.int64]
    """When it is withdrawn; far in the future for most."""
    duration_s: NDArray[np.float64]
    explicit: NDArray[np.bool_]
    isrc: list[str | None]
    territories: list[list[str] | None]
    labels: list[list[str] | None]
    tempo_bpm: NDArray[np.float64]
    key: NDArray[np.int64]
    """0 is C, 11 is B."""
    minor: NDArray[np.bool_]
    beats_per_bar: NDArray[np.int64]
    """4, 3, or 6 (compound: two dotted beats)."""
    loudness_lufs: NDArray[np.float64]

    @property
    def scene(self) -> NDArray[np.int64]:
        """Scene of each item, the scene of its artist."""
        return self.artist_scene[self.artist]

    def available(self, at_ms: int) -> NDArray[np.bool_]:
        """Tell which items can be played at a time."""
        return np.asarray((self.released_ms <= at_ms) & (at_ms < self.until_ms))


def make_music(*, seed: int, scale: float) -> Music:
    """Invent the music of one world: 150 artists, 1,500 tracks and 40 episodes at scale 1."""
    rng = np.random.default_rng([seed, 1])
    n_artists, n_shows = max(8, round(150 * scale)), max(2, round(8 * scale))
    n_tracks, n_episodes = max(60, round(1500 * scale)), max(6, round(40 * scale))
    n_singles = max(2, round(40 * scale))
    scene, artist_taste, artist_appeal = _makers(n_artists, n_shows, rng)

    # Rows: tracks of albums, then singles (the same recording under a second id), then episodes.
    n_made, n = n_tracks - n_singles, n_tracks + n_episodes
    original = np.arange(n)
    original[n_made:n_tracks] = np.sort(rng.choice(n_made, n_singles, replace=False))
    is_single, is_podcast = original != np.arange(n), np.arange(n) >= n_tracks
    artist = np.zeros(n, np.int64)
    artist[:n_made] = np.sort(_shares(n_made, n_artists, rng))
    artist[n_tracks:] = n_artists + np.sort(np.arange(n_episodes) % n_shows)
    artist = artist[original]
    album, following = _albums(artist, is_single, rng)
    taste = (artist_taste[artist] + rng.normal(0, _ITEM_NOISE, (n, len(AXES))))[original]
    appeal = artist_appeal[artist] + rng.normal(0, _ITEM_APPEAL, n)[original]
    released_ms = START_MS + (
        _release_days(artist, album, n_artists, rng)[original] - 20 * is_single
    ) * DAY_MS  # fmt: skip
    minutes = np.where(is_podcast, rng.uniform(18, 55, n), rng.normal(3.6, 0.6, n).clip(1.6, 7))
    invented = _titles(artist, n_artists, rng)
    titles = [invented[row] for row in original.tolist()]
    tempo_bpm, key, minor, beats_per_bar, loudness_lufs = _sound(taste, scene[artist], rng)
    hosts = WORDS["names"]["shows"]
    explicit = np.array([s.explicit for s in SCENES])[scene[artist]] * ~is_podcast
    return Music(
        artist_ids=[f"a{row:04d}" for row in range(n_artists)]
        + [f"show{row:03d}" for row in range(n_shows)],
        artist_names=artist_names(n_artists, rng)
        + [f"{hosts[row % len(hosts)]} {row // len(hosts) + 1}" for row in range(n_shows)],
        artist_scene=scene,
        artist_taste=artist_taste,
        item_ids=[f"t{row:05d}" for row in range(n_tracks)]
        + [f"p{row:04d}" for row in range(n_episodes)],
        titles=titles,
        albums=[
            None if is_podcast[row] else titles[row] if is_single[row] else f"{titles[first]} LP"
            for row, first in enumerate(album.tolist())
        ],
        artist=artist,
        taste=taste,
        appeal=appeal - 0.8 * is_single,  # mostly less played than the album's track
        is_podcast=is_podcast,
        original=original,
        following=following,
        released_ms=released_ms,
        until_ms=_until(released_ms, rng),
        duration_s=np.round(minutes * 60)[original] + is_single * rng.integers(-1, 2, n),
        explicit=(rng.random(n) < explicit)[original],
        isrc=_isrcs(original, is_single, is_podcast, rng),
        territories=_territories(original, rng),
        labels=_labels(taste, scene[artist], rng),
        tempo_bpm=tempo_bpm[original],
        key=key[original],
        minor=minor[original],
        beats_per_bar=beats_per_bar[original],
        loudness_lufs=loudness_lufs[original],
    )


def _makers(
    n_artists: int, n_shows: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return scene, taste and appeal of all artists, then of all shows."""
    n = n_artists + n_shows
    centres = scene_centres() + rng.normal(0, _SCENE_NOISE, (len(SCENES), len(AXES)))
    sizes = rng.uniform(0.5, 1.5, len(SCENES))
    spread = (np.arange(n_artists) + rng.random()) / n_artists  # every scene gets its share
    scene = np.searchsorted(np.cumsum(sizes) / sizes.sum(), spread)
    scene = np.append(scene, rng.integers(len(SCENES), size=n_shows))
    taste = centres[scene] + rng.normal(0, _ARTIST_NOISE, (n, len(AXES)))
    appeal = -_ARTIST_ZIPF * np.log(rng.permutation(n) + 1.0) + rng.normal(0, _ARTIST_APPEAL, n)
    return scene, taste, appeal - appeal.mean()


def _shares(n: int, n_owners: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Give each of `n` things an owner; every owner has at least three, sizes are uneven."""
    sure = np.tile(np.arange(n_owners), 3)[:n]
    weight = rng.lognormal(0, 0.5, n_owners).cumsum()
    rest = np.searchsorted(weight / weight[-1], rng.random(n - len(sure)))
    return np.concatenate([sure, rest])


def _albums(
    artist: NDArray[np.int64], is_single: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut each artist's items into albums of 3 to 12: (row of the album's first item, next row)."""
    n = len(artist)
    album, first, length = np.zeros(n, np.int64), 0, 0
    for row in range(n):
        if row - first >= length or artist[row] != artist[row - 1] or is_single[row]:
            first, length = row, 1 if is_single[row] else int(rng.integers(3, 13))
        album[row] = first
    together = np.append(album[1:] == album[:-1], False)
    return album, np.where(together, np.arange(n) + 1, -1)


def _release_days(
    artist: NDArray[np.int64],
    album: NDArray[np.int64],
    n_artists: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Return the day of release, counted from the start of the year; albums come out whole."""
    n = len(artist)
    days = np.where(rng.random(n) < 0.6, -rng.integers(0, 4000, n), rng.integers(0, 329, n))
    fresh = rng.random(n) < 0.06  # the last five weeks, and a few announced for after the end
    days = np.where(fresh, rng.integers(329, 368, n), days)[album]
    debut = rng.random(n_artists) < 0.05  # artists whose first music is that new
    is_debut = np.append(debut, np.zeros(artist.max() + 1 - n_artists, bool))[artist]
    days = np.where(is_debut, 340 + artist % 24, days)
    episodes = artist >= n_artists
    return np.where(episodes, rng.integers(0, 364, n), days)


def _titles(artist: NDArray[np.int64], n_artists: int, rng: np.random.Generator) -> list[str]:
    titles: list[str] = []
    topics = WORDS["names"]["topics"]
    taken: set[tuple[int, str]] = set()
    for row, owner in enumerate(artist.tolist()):
        title = track_title(rng)
        while (owner, title) in taken:
            title = track_title(rng)
        if owner >= n_artists:
            title = f"Episode {row % 90 + 1}: {topics[row % len(topics)]}"
        taken.add((owner, title))
        titles.append(title)
    return titles


def _until(released_ms: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return when an item is withdrawn: one in a hundred during the last quarter."""
    until = np.full(len(released_ms), END_MS + 3650 * DAY_MS)
    old = np.flatnonzero(released_ms < END_MS - 150 * DAY_MS)
    withdrawn = rng.choice(old, max(1, len(released_ms) // 100), replace=False)
    until[withdrawn] = END_MS - rng.integers(5, 90, len(withdrawn)) * DAY_MS
    return until


def _isrcs(
    original: NDArray[np.int64],
    is_single: NDArray[np.bool_],
    is_podcast: NDArray[np.bool_],
    rng: np.random.Generator,
) -> list[str | None]:
    """Return recording codes: most tracks have one, every other single shares its track's."""
    has = rng.random(len(original)) < 0.8
    shares = is_single & (np.arange(len(original)) % 2 == 0)
    has[original[shares]] = True
    has = np.where(is_single, shares, has) & ~is_podcast
    return [
        f"QZDMO25{row:05d}" if known else None
        for row, known in zip(original.tolist(), has, strict=True)
    ]


def _territories(original: NDArray[np.int64], rng: np.random.Generator) -> list[list[str] | None]:
    """Return where an item may be played; None is everywhere."""
    market = rng.integers(len(_MARKETS), size=len(original))
    limited = rng.random(len(original)) < 0.04
    return [list(_MARKETS[market[row]]) if limited[row] else None for row in original.tolist()]


def _labels(
    taste: NDArray[np.float64], scene: NDArray[np.int64], rng: np.random.Generator
) -> list[list[str] | None]:
    """Return editors' tags: the scene and the two strongest leanings, some missing, some wrong."""
    scenes = np.where(
        rng.random(len(scene)) < 0.1, rng.integers(len(SCENES), size=len(scene)), scene
    )
    noisy = taste + rng.normal(0, 0.5, taste.shape)
    tagged = rng.random(len(scene)) < 0.7
    labels: list[list[str] | None] = []
    for row, values in enumerate(noisy):
        strongest = np.argsort(-np.abs(values), kind="stable")[:2]
        poles = [AXES[a].high if values[a] > 0 else AXES[a].low for a in strongest.tolist()]
        tags = [SCENES[scenes[row]].name, *(pole.adjectives[0] for pole in poles)]
        labels.append(tags if tagged[row] else None)
    return labels


def _sound(
    taste: NDArray[np.float64], scene: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[Any], ...]:
    """Return tempo_bpm, key, minor, beats_per_bar, loudness_lufs of each item."""
    n = len(taste)
    pace, _, _, mood, force, sway = (taste + rng.normal(0, 0.15, taste.shape))[:, :N_AUDIBLE].T
    tempo = np.clip(112 * np.exp(0.2 * pace), 60, 200)
    # A scene has a favourite key; its neighbours on the circle of fifths are as common.
    key = (5 * scene + 7 * rng.integers(-3, 4, n)) % 12
    minor = mood < rng.normal(0, 0.3, n)
    sways = sway + rng.normal(0, 0.2, n)
    beats = np.where(sways > 0.9, np.where(pace > 0, 3, 6), 4)
    loudness = np.clip(-16 + 3.5 * force, -27, -8)
    return np.round(tempo, 1), key, minor, beats, np.round(loudness, 1)

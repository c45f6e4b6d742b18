"""Short pieces of music as notes: from tempo, key, mode, metre and character to what is played.

Enters: a `Song`. Leaves: `Part`s, notes on a grid that swings as the song does. Harmony stays in
the key and returns to the tonic; drums and bass mark the metre; busyness sets how much is played.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Part", "Song", "compose"]

_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
# Scale degrees (0 is the tonic) of four-chord rounds; each begins on the tonic.
_ROUNDS_MAJOR = ((0, 4, 5, 3), (0, 3, 4, 0), (0, 5, 3, 4), (0, 3, 0, 4), (0, 4, 3, 0))
_ROUNDS_MINOR = ((0, 5, 2, 6), (0, 3, 4, 0), (0, 5, 3, 4), (0, 6, 5, 0), (0, 3, 0, 4))
_STEPS = {4: 4, 3: 4, 6: 3}  # grid steps per beat; in 6/8 the beat is a dotted quarter
_BEATS = {4: 4, 3: 3, 6: 2}  # beats per bar


@dataclass(frozen=True)
class Song:
    """What decides how a recording sounds. The characters are about -2 to 2."""

    tempo_bpm: float
    key: int
    minor: bool
    beats_per_bar: int
    """4 (4/4), 3 (3/4) or 6 (6/8, where tempo counts dotted quarters)."""
    loudness_lufs: float
    brightness: float
    busyness: float
    mood: float
    force: float
    sway: float


@dataclass(frozen=True)
class Part:
    """Notes of one instrument, as arrays of one length."""

    instrument: str
    """kick, snare, hat, bass, chords or melody."""
    start_s: NDArray[np.float64]
    length_s: NDArray[np.float64]
    pitch: NDArray[np.float64]
    """MIDI note number; drums ignore it."""
    gain: NDArray[np.float64]


def compose(song: Song, duration_s: float, rng: np.random.Generator) -> list[Part]:
    """Write the parts of an excerpt that begins somewhere in a bar."""
    grid = _Grid(song, duration_s, rng)
    rounds = _ROUNDS_MINOR if song.minor else _ROUNDS_MAJOR
    scale = np.array(_MINOR if song.minor else _MAJOR)
    degrees = np.array(rounds[rng.integers(len(rounds))])[np.arange(grid.n_bars) % 4]
    drums = _drums(song, grid, rng)
    return [*drums, _bass(song, grid, degrees, scale, rng), _chords(song, grid, degrees, scale),
            _melody(song, grid, degrees, scale, rng)]  # fmt: skip


class _Grid:
    """The metre laid out in time: where each step of each bar falls."""

    def __init__(self, song: Song, duration_s: float, rng: np.random.Generator) -> None:
        self.per_beat, self.per_bar_beats = _STEPS[song.beats_per_bar], _BEATS[song.beats_per_bar]
        self.per_bar = self.per_beat * self.per_bar_beats
        self.beat_s = 60 / song.tempo_bpm
        bar_s = self.beat_s * self.per_bar_beats
        self.n_bars = int(np.ceil(duration_s / bar_s)) + 1
        step = np.arange(self.n_bars * self.per_bar)
        self.place = step % self.per_bar
        """Step within the bar."""
        self.bar = step // self.per_bar
        straight = step * self.beat_s / self.per_beat
        # Offbeats of songs that sway a little, but are not in three, come late.
        swing = np.clip(song.sway, 0, 1) * 0.3 * (song.beats_per_bar == 4)
        late = np.isin(step % self.per_beat, (2, 3)) * swing * self.beat_s / self.per_beat
        self.time_s = straight + late - rng.random() * bar_s
        self.on_beat = self.place % self.per_beat == 0
        self.beat = self.place // self.per_beat


def _chance(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def _lean(mood: float) -> list[float]:
    """Return the odds of steps -2 to 2: sunny melodies climb, mournful ones sink."""
    up = 0.2 * float(np.tanh(mood))
    return [0.2 - up / 2, 0.25 - up, 0.1, 0.25 + up, 0.2 + up / 2]


def _part(
    instrument: str,
    grid: _Grid,
    where: NDArray[np.bool_],
    length_s: float | NDArray[np.float64],
    pitch: float | NDArray[np.float64],
    gain: float | NDArray[np.float64],
) -> Part:
    steps = np.flatnonzero(where)
    shape = len(grid.time_s)
    return Part(
        instrument,
        grid.time_s[steps],
        np.broadcast_to(np.asarray(length_s, float), shape)[steps],
        np.broadcast_to(np.asarray(pitch, float), shape)[steps],
        np.broadcast_to(np.asarray(gain, float), shape)[steps],
    )


def _drums(song: Song, grid: _Grid, rng: np.random.Generator) -> list[Part]:
    """Kick on the first beat, snare on the backbeats, hats and ghost notes as busyness allows."""
    level = _chance(1.1 * song.force + 0.6 * song.busyness + 0.6)
    pattern = rng.random(grid.per_bar)[grid.place]  # one pattern, repeated in every bar
    busy = _chance(1.3 * song.busyness - 0.6)
    first = grid.place == 0
    if song.beats_per_bar == 4:
        kick = grid.on_beat & ((grid.beat % 2 == 0) | (song.sway < -0.6))
        half_time = rng.random() < 0.25  # a matter of arrangement: says nothing of taste
        snare = grid.on_beat & (grid.beat == 2 if half_time else grid.beat % 2 == 1)
    elif song.beats_per_bar == 3:
        kick, snare = first, grid.on_beat & ~first
    else:
        kick, snare = first, grid.on_beat & ~first
    offbeat = ~grid.on_beat & (grid.place % 2 == 0 if grid.per_beat == 4 else True)
    kick = kick | (offbeat & (pattern < 0.25 * busy))
    hats = grid.on_beat | (offbeat & (pattern > 0.6 - 0.6 * busy)) | (pattern > 1.3 - busy)
    strong = np.where(first, 1.0, np.where(grid.on_beat, 0.85, 0.5))
    return [
        _part("kick", grid, kick, 0.25, 0, 0.9 * level * strong),
        _part("snare", grid, snare, 0.2, 0, 0.6 * level * strong),
        _part("hat", grid, hats, 0.06, 0, 0.28 * level * strong),
    ]


def _bass(
    song: Song,
    grid: _Grid,
    degrees: NDArray[np.int64],
    scale: NDArray[np.int64],
    rng: np.random.Generator,
) -> Part:
    """Play roots on the strong beats, with fifths and repeated notes between."""
    root = scale[degrees] % 12
    pitch = 36 + (song.key + root) % 12
    pattern = rng.random(grid.per_bar)[grid.place]
    busy = _chance(1.2 * song.busyness - 0.4)
    plays = (grid.place == 0) | (grid.on_beat & (pattern < 0.25 + busy)) | (pattern < 0.3 * busy)
    fifth = 7 * ((grid.place != 0) & (pattern > 0.75))
    length = grid.beat_s * (0.9 if busy < 0.5 else 0.6)
    gain = np.where(grid.place == 0, 0.8, 0.55)
    return _part("bass", grid, plays, length, pitch[grid.bar] + fifth, gain)


def _chords(song: Song, grid: _Grid, degrees: NDArray[np.int64], scale: NDArray[np.int64]) -> Part:
    """Hold triads when sparse; strike them when busy, off the beat when the mood is sunny."""
    if song.busyness > 0.3:
        plays = grid.place % grid.per_beat == (grid.per_beat // 2 if song.mood > 0.4 else 0)
        length = grid.beat_s * float(np.clip(0.6 - 0.2 * song.mood, 0.25, 1))
    else:
        plays = grid.place == 0
        length = grid.beat_s * grid.per_bar_beats
    steps = np.flatnonzero(plays)
    degree = degrees[grid.bar[steps]]
    starts, pitches = [], []
    for third in (0, 2, 4):
        note = degree + third
        pitch = (song.key + scale[note % 7]) % 12
        starts.append(grid.time_s[steps])
        pitches.append(54.0 + (pitch - 54) % 12)  # within one octave from F sharp 3
    n = len(steps)
    accent = np.tile(np.where(grid.place[steps] == 0, 0.3, 0.2), 3)
    return Part(
        "chords", np.concatenate(starts), np.full(3 * n, length), np.concatenate(pitches), accent
    )


def _melody(
    song: Song,
    grid: _Grid,
    degrees: NDArray[np.int64],
    scale: NDArray[np.int64],
    rng: np.random.Generator,
) -> Part:
    """Walk along the scale, on chord notes on the beat."""
    busy = _chance(1.2 * song.busyness)
    n = len(grid.place)
    plays = np.where(grid.on_beat, rng.random(n) < 0.45 + 0.4 * busy, rng.random(n) < 0.4 * busy)
    steps = np.flatnonzero(plays)
    climb = rng.choice([-2, -1, 0, 1, 2], len(steps), p=_lean(song.mood))
    walk = 7 + np.cumsum(climb)
    walk = walk % 14  # within two octaves: a line that climbs for long falls back at once
    chord = degrees[grid.bar[steps]]
    near = chord + 2 * np.round((walk - chord) / 2).astype(np.int64)
    degree = np.where(grid.on_beat[steps], near, walk)
    register = 60 + 12 * int(song.brightness + rng.normal(0, 0.6) > 0.6)
    pitch = register + (song.key + 5) % 12 - 5 + scale[degree % 7] + 12 * (degree // 7)
    gap = np.append(np.diff(grid.time_s[steps]), grid.beat_s)
    length = np.minimum(gap, 2 * grid.beat_s) * np.clip(0.8 - 0.25 * song.mood, 0.3, 1)
    return Part(
        "melody", grid.time_s[steps], length, np.minimum(pitch, 96.0), np.full(len(steps), 0.35)
    )

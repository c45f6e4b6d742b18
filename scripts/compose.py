"""Songs made by chance and rule: material of known key, tempo and metre, to learn from.

A song has a metre, a tempo, a key, a chord progression of popular music, and some of these parts:
melody, strummed or held chords, broken chords, bass, drums. Each part plays a rhythm that it drew
once and repeats with small changes, stronger where the metre is stronger. Nothing here is taken
from existing music; no recording or score enters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from benchmarks.synthesiser import DRUMS, Note

__all__ = ["METRES", "Song", "compose"]

METRES = (4, 3, 6)
"""Beats in a bar as counted; 6 is two dotted beats of three quavers."""

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_MINOR = (0, 2, 3, 5, 7, 8, 10)
_PROGRESSIONS = {
    "major": ("1564", "1645", "1456", "6415", "1415", "1451", "1625", "4156", "1144", "1545",
              "1364", "1241", "1414", "15142", "14561456"),
    "minor": ("1637", "1465", "1765", "1451", "1657", "1744", "1145", "1616", "4165", "1715",
              "1463", "1564"),
}  # fmt: skip
_MELODIC = (0, 4, 11, 22, 24, 25, 26, 27, 29, 40, 41, 52, 53, 54, 56, 61, 65, 66, 68, 71, 73, 75,
            79, 80, 81, 85)  # fmt: skip
_HARMONIC = (0, 1, 2, 4, 5, 6, 7, 16, 18, 19, 21, 24, 25, 26, 27, 28, 29, 46, 48, 50, 51, 52, 88,
             89, 90)  # fmt: skip
_BASSES = (32, 33, 34, 35, 36, 38, 39, 43)
_KICK, _SNARE, _RIM, _CLAP, _HAT, _OPEN, _RIDE, _SHAKER = 36, 38, 37, 39, 42, 46, 51, 70
_MELODY, _CHORDS, _BASS, _BROKEN = 0, 1, 2, 3


@dataclass
class Song:
    """A composition and the truth about it."""

    tempo_bpm: float
    metre: int
    tonic: int
    mode: str
    programs: dict[int, int]
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class _Frame:
    """What all parts of a song share; times in beats, a beat has `grid` steps."""

    rng: Generator
    song: Song
    beats: int
    """Felt beats in a bar: 2 in compound metre."""
    grid: int
    n_bars: int
    swing: float

    def strength(self) -> np.ndarray:
        """Return (beats * grid,) how strong each step of a bar is, 0 to 1."""
        steps = np.full(self.beats * self.grid, 0.25)
        if self.grid % 2 == 0:
            steps[:: self.grid // 2] = 0.5
        steps[:: self.grid] = 0.75
        steps[0] = 1.0
        if self.beats == 4:
            steps[2 * self.grid] = 0.9
        return steps

    def rhythm(self, density: float) -> np.ndarray:
        """Draw which steps of a bar sound, at least one: the stronger the likelier."""
        strength = self.strength()
        sounds = self.rng.random(len(strength)) < np.clip(density * strength**1.2 * 1.6, 0, 0.97)
        sounds[0] |= not sounds.any()
        return sounds

    def play(self, channel: int, bar: int, step: float, length: float, pitch: float, loud: float):
        """Add a note; `step` and `length` in steps of the grid."""
        beat = step // self.grid + self._swung((step % self.grid) / self.grid)
        beat_s = 60 / self.song.tempo_bpm
        start_s = (bar * self.beats + beat) * beat_s + self.rng.normal(0, 0.006)
        end_s = start_s + max(length / self.grid * beat_s * 0.95, 0.05)
        velocity = int(np.clip(loud + self.rng.normal(0, 6), 15, 127))
        note = Note(max(start_s, 0), max(end_s, 0.02), channel, int(pitch), velocity)
        self.song.notes.append(note)

    def _swung(self, place: float) -> float:
        """Move what lies between the beats later: the middle goes to `swing`."""
        middle = self.swing
        return place * 2 * middle if place < 0.5 else middle + (place - 0.5) * 2 * (1 - middle)


def compose(seed: int, duration_s: float) -> Song:
    """Compose a song that lasts at least `duration_s`."""
    rng = np.random.default_rng(seed)
    metre = int(rng.choice(METRES, p=[0.55, 0.2, 0.25]))
    beats = {4: int(rng.choice([4, 2], p=[0.8, 0.2])), 3: 3, 6: 2}[metre]
    median = 95 if metre == 6 else 125 if metre == 3 else 112
    tempo_bpm = float(np.clip(median * np.exp(rng.normal(0, 0.32)), 50, 210))
    song = Song(tempo_bpm, metre, int(rng.integers(12)), str(rng.choice(["major", "minor"])), {})
    grid = 3 if metre == 6 else 4 if tempo_bpm < rng.uniform(90, 160) else 2
    n_bars = int(np.ceil(duration_s * tempo_bpm / 60 / beats)) + 1
    swing = rng.uniform(0.55, 0.67) if metre != 6 and rng.random() < 0.15 else 0.5
    frame = _Frame(rng, song, beats, grid, n_bars, swing)
    chords = _harmony(frame)
    parts = {
        _melody: 0.8,
        _comping: 0.75,
        _bass: 0.75,
        _broken: 0.35,
    }
    chosen = [part for part, share in parts.items() if rng.random() < share] or [_comping]
    for part in chosen:
        part(frame, chords)
    if rng.random() < 0.65:
        _drums(frame)
    return song


def _harmony(frame: _Frame) -> list[list[tuple[int, tuple[int, ...]]]]:
    """Return per bar and per half of it the (root, pitches above it) that sound."""
    rng, song = frame.rng, frame.song
    scale = np.array(_MAJOR if song.mode == "major" else _MINOR)
    degrees = [int(d) - 1 for d in rng.choice(_PROGRESSIONS[song.mode])]
    pace = rng.choice([1, 2, 0.5], p=[0.6, 0.25, 0.15])  # chords a bar
    chords = []
    for bar in range(frame.n_bars):
        halves = []
        for half in range(2):
            place = int((bar + half / 2) * pace)
            degree = degrees[place % len(degrees)]
            thirds = [scale[(degree + n) % 7] + 12 * ((degree + n) // 7) for n in (0, 2, 4, 6)]
            tones = [int(t - thirds[0]) for t in thirds]
            if song.mode == "minor" and degree == 4 and rng.random() < 0.6:
                tones[1] = 4  # the dominant of minor is mostly major
            size = 4 if rng.random() < 0.15 else 3
            halves.append((int(thirds[0]) + song.tonic, tuple(tones[:size])))
        chords.append(halves if pace == 2 else [halves[0], halves[0]])
    return chords


def _chord(frame: _Frame, chords, bar: int, step: float):
    return chords[bar][int(step >= frame.beats * frame.grid / 2)]


def _melody(frame: _Frame, chords) -> None:
    rng, song = frame.rng, frame.song
    song.programs[_MELODY] = int(rng.choice(_MELODIC))
    scale = [p for p in range(55, 84) if (p - song.tonic) % 12 in
             (_MAJOR if song.mode == "major" else _MINOR)]  # fmt: skip
    motifs = [frame.rhythm(rng.uniform(0.35, 0.9)) for _ in range(int(rng.integers(1, 4)))]
    place, loud = len(scale) // 2, rng.uniform(75, 110)
    for bar in range(frame.n_bars):
        motif = motifs[bar % len(motifs)]
        if rng.random() < 0.2:
            motif = frame.rhythm(0.6)
        steps = np.flatnonzero(motif)
        ends = np.append(steps[1:], len(motif))
        for step, end in zip(steps, ends, strict=True):
            place = int(np.clip(place + rng.integers(-2, 3), 0, len(scale) - 1))
            if step % frame.grid == 0:  # on the beat a tone of the chord
                root, tones = _chord(frame, chords, bar, step)
                inside = [n for n, p in enumerate(scale) if (p - root) % 12 in
                          {t % 12 for t in tones}]  # fmt: skip
                place = min(inside, key=lambda n: (abs(n - place), n))
            accent = 8 * frame.strength()[step]
            frame.play(_MELODY, bar, step, end - step, scale[place], loud + accent)


def _comping(frame: _Frame, chords) -> None:
    rng = frame.rng
    frame.song.programs[_CHORDS] = int(rng.choice(_HARMONIC))
    bar_steps = frame.beats * frame.grid
    style = rng.choice(["held", "beats", "rhythm", "offbeat"], p=[0.25, 0.3, 0.3, 0.15])
    if style == "held":
        steps = np.array([0, bar_steps // 2]) if frame.beats != 3 else np.array([0])
    elif style == "beats":
        steps = np.arange(0, bar_steps, frame.grid)
    elif style == "offbeat":
        steps = np.arange(frame.grid, bar_steps, frame.grid)
        if frame.beats == 4:
            steps = steps[::2]
    else:
        steps = np.flatnonzero(frame.rhythm(rng.uniform(0.4, 0.9)))
    if not len(steps):
        steps = np.array([0])
    loud = rng.uniform(55, 90)
    for bar in range(frame.n_bars):
        for step, end in zip(steps, np.append(steps[1:], bar_steps), strict=True):
            root, tones = _chord(frame, chords, bar, step)
            for tone in tones:
                pitch = 48 + (root + tone - 48) % 12 + (12 if tone > 6 else 0)
                frame.play(_CHORDS, bar, step, end - step, pitch, loud + 6 * (step == 0))


def _broken(frame: _Frame, chords) -> None:
    rng = frame.rng
    frame.song.programs[_BROKEN] = int(rng.choice(_HARMONIC))
    every = 1 if frame.grid == 3 or rng.random() < 0.5 else frame.grid // 2
    order = rng.permutation(4) if rng.random() < 0.5 else np.arange(4)
    loud = rng.uniform(55, 85)
    for bar in range(frame.n_bars):
        for n, step in enumerate(range(0, frame.beats * frame.grid, every)):
            root, tones = _chord(frame, chords, bar, step)
            tone = (*tones[:3], 12)[order[n % 4] if frame.grid != 3 else n % 3]
            pitch = 52 + (root - 52) % 12 + tone
            accent = 8 * frame.strength()[step]
            frame.play(_BROKEN, bar, step, every, pitch, loud + accent)


def _bass(frame: _Frame, chords) -> None:
    rng = frame.rng
    frame.song.programs[_BASS] = int(rng.choice(_BASSES))
    bar_steps = frame.beats * frame.grid
    style = rng.choice(["roots", "beats", "rhythm", "fifths"], p=[0.3, 0.2, 0.3, 0.2])
    if style == "roots":
        steps = np.array([0, bar_steps // 2]) if frame.beats == 4 else np.array([0])
    elif style == "rhythm":
        steps = np.flatnonzero(frame.rhythm(rng.uniform(0.3, 0.8)))
    else:
        steps = np.arange(0, bar_steps, frame.grid)
    steps = np.union1d(steps, [0]).astype(int)
    loud = rng.uniform(75, 110)
    for bar in range(frame.n_bars):
        for n, (step, end) in enumerate(zip(steps, np.append(steps[1:], bar_steps), strict=True)):
            root, _ = _chord(frame, chords, bar, step)
            fifth = 7 if style == "fifths" and n % 2 else 0
            frame.play(_BASS, bar, step, end - step, 28 + (root - 28) % 12 + fifth, loud)


def _drums(frame: _Frame) -> None:
    rng, beats, grid = frame.rng, frame.beats, frame.grid
    steps = np.arange(beats * grid)
    style = rng.choice(["rock", "floor", "light", "half"], p=[0.55, 0.2, 0.15, 0.1])
    kicks, snares = {0}, {grid * b for b in range(1, beats, 2)}
    if beats == 4:
        kicks.add(2 * grid)
    if beats == 3:
        snares = {grid, 2 * grid} if rng.random() < 0.6 else {2 * grid}
    if style == "floor":
        kicks = {grid * b for b in range(beats)}
    if style == "half" and beats == 4:
        kicks, snares = {0}, {2 * grid}
    kicks |= {int(s) for s in steps[rng.random(len(steps)) < 0.08]}
    snare = int(rng.choice([_SNARE, _SNARE, _RIM, _CLAP]))
    cymbal = int(rng.choice([_HAT, _HAT, _RIDE, _SHAKER]))
    every = 1 if grid == 3 else int(rng.choice([grid, grid // 2, 1], p=[0.2, 0.6, 0.2]))
    silent_cymbal = rng.random() < 0.15
    for bar in range(frame.n_bars):
        for step in steps.tolist():
            if step in kicks:
                frame.play(DRUMS, bar, step, 1, _KICK, 105)
            if step in snares and style != "light":
                frame.play(DRUMS, bar, step, 1, snare, 95)
            if step % every == 0 and not silent_cymbal:
                loud = 60 + 20 * frame.strength()[step]
                frame.play(DRUMS, bar, step, 1, cymbal, loud)
        if bar % 4 == 3 and rng.random() < 0.5:
            for step in steps[-grid:].tolist():
                frame.play(DRUMS, bar, step, 1, snare, 85)

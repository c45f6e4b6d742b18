"""The Nottingham folk tunes, arranged: known key, metre and tempo.

A tune counts where its ABC text states one key and one metre, and its MIDI file agrees. It is
transposed, given a tempo between 60 and 200 beats a minute (the beat of 6/8 and 9/8 is a dotted
quarter), random instruments, and, mostly, a bass and drums; all by seed.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.synthesiser import DRUMS, Note

__all__ = ["Arrangement", "Tune", "arrange", "read_tunes"]

PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MELODY_PROGRAMS = (0, 4, 11, 22, 24, 25, 26, 27, 40, 48, 53, 56, 65, 68, 71, 73, 75, 80, 81)
CHORD_PROGRAMS = (0, 1, 4, 5, 7, 16, 19, 21, 24, 25, 26, 27, 46, 48, 50, 52, 88, 89)
BASS_PROGRAMS = (32, 33, 34, 35, 38, 43)
KICK, SNARE, RIM, HAT, OPEN_HAT, RIDE, CRASH = 36, 38, 37, 42, 46, 51, 49


@dataclass(frozen=True)
class Tune:
    """A tune as written; times in quarter notes."""

    name: str
    tonic: int
    """Pitch class, 0 is C."""
    mode: str
    metre: tuple[int, int]
    melody: list[tuple[float, float, int]]
    """(start, end, pitch)"""
    chords: list[tuple[float, float, int]]


@dataclass(frozen=True)
class Arrangement:
    """A tune as played."""

    notes: list[Note]
    programs: dict[int, int]
    tempo_bpm: float
    tonic: int
    mode: str
    beats_per_bar: int
    """6 for compound metre in two."""


def read_tunes(folder: Path) -> list[Tune]:
    """Read every tune of one key and one metre."""
    tunes = []
    for book in sorted((folder / "ABC").glob("*.abc")):
        texts = re.split(r"^X:\s*", book.read_text(encoding="latin-1"), flags=re.MULTILINE)[1:]
        for text in texts:
            name = f"{book.stem}{int(re.match(r'[0-9]+', text)[0])}"
            file = folder / "MIDI" / f"{name}.mid"
            keys = {k.strip() for k in re.findall(r"^K:\s*(\S+)", text, re.MULTILINE)}
            if len(keys) != 1 or not file.exists():
                continue
            signatures, tracks = _read_midi(file)
            key = re.fullmatch(r"([A-G])([b#]?)(m?)", keys.pop())
            if key is None or len(signatures["key"]) != 1 or len(signatures["metre"]) != 1:
                continue
            tonic = PITCHES.index(key[1]) + {"": 0, "b": -1, "#": 1}[key[2]]
            mode = "minor" if key[3] else "major"
            (sharps,) = signatures["key"]
            if (7 * sharps + (9 if mode == "minor" else 0) - tonic) % 12:
                continue
            (metre,) = signatures["metre"]
            if metre not in ((4, 4), (2, 2), (2, 4), (3, 4), (6, 8)) or len(tracks) != 2:
                continue
            tunes.append(Tune(name, tonic % 12, mode, metre, *tracks))
    return tunes


def arrange(tune: Tune, seed: int, duration_s: float) -> Arrangement:
    """Arrange a tune by seed, repeated to fill `duration_s`."""
    rng = np.random.default_rng(seed)
    shift = int(rng.integers(-5, 7))
    tempo_bpm = float(np.round(rng.uniform(60, 200), 2))
    compound = tune.metre == (6, 8)
    beat = 1.5 if compound else 1.0  # quarter notes
    bar = 3.0 if compound or tune.metre == (3, 4) else 2.0 if tune.metre == (2, 4) else 4.0
    quarter_s = 60 / tempo_bpm / beat
    programs = {
        0: int(rng.choice(MELODY_PROGRAMS)),
        1: int(rng.choice(CHORD_PROGRAMS)),
        2: int(rng.choice(BASS_PROGRAMS)),
    }
    loudness = {0: rng.integers(70, 110), 1: rng.integers(50, 90), 2: rng.integers(70, 105)}
    length = max(end for _, end, _ in tune.melody + tune.chords)
    # Every tune begins with the chords' first bar line or an upbeat before it.
    first = min(start for start, _, _ in tune.chords) % bar
    length = np.ceil(length / bar) * bar
    notes: list[Note] = []

    def play(start: float, end: float, channel: int, pitch: int, velocity: float) -> None:
        jitter = rng.normal(0, 0.004)
        notes.append(
            Note(
                max(start * quarter_s + jitter, 0),
                max(end * quarter_s * 0.98, start * quarter_s + 0.05),
                channel,
                int(pitch),
                int(np.clip(velocity + rng.normal(0, 5), 20, 127)),
            )
        )

    has_bass, has_drums = rng.random() < 0.8, rng.random() < 0.7
    comping = rng.random() < 0.6
    fill = rng.random() < 0.6
    backbeat = int(rng.integers(0, 3))
    for repeat in range(int(np.ceil(duration_s / (length * quarter_s)))):
        offset = repeat * length
        for start, end, pitch in tune.melody:
            accent = 8 if (start - first) % bar < 0.01 else 0
            play(offset + start, offset + end, 0, pitch + shift + 12, loudness[0] + accent)
        for start, end, pitch in tune.chords:
            pulses = np.arange(start, end - 0.01, beat) if comping else [start]
            for at in pulses:
                until = min(at + beat, end) if comping else end
                play(offset + at, offset + until, 1, pitch + shift, loudness[1])
        if has_bass:
            roots: dict[float, tuple[float, int]] = {}
            for start, end, pitch in tune.chords:
                low = roots.get(start, (end, 127))[1]
                roots[start] = (end, min(low, pitch))
            for start, (end, pitch) in roots.items():
                for n, at in enumerate(np.arange(start, end - 0.01, 2 * beat if fill else beat)):
                    fifth = 7 if fill and n % 2 else 0
                    play(
                        offset + at,
                        offset + min(at + beat, end),
                        2,
                        pitch + shift - 12 + fifth,
                        loudness[2],
                    )
        if has_drums:
            for number in range(int(length / beat)):
                at = offset + first + number * beat
                place = number % round(bar / beat)
                _drum_beat(play, at, beat, place, round(bar / beat), compound, backbeat, fill)
    beats = 6 if compound else {4.0: 4, 3.0: 3, 2.0: 2}[bar]
    tonic = (tune.tonic + shift) % 12
    return Arrangement(notes, programs, tempo_bpm, tonic, tune.mode, beats)


def _drum_beat(play, at, beat, place, beats, compound, backbeat, fill) -> None:
    """Play one beat of a common pattern."""
    if place == 0 or (beats == 4 and place == 2):
        play(at, at + 0.1, DRUMS, KICK, 100)
    if (beats in (2, 4) and place % 2) or (beats == 3 and place and backbeat):
        play(at, at + 0.1, DRUMS, RIM if backbeat == 2 else SNARE, 90)
    divisions = 3 if compound else (2 if fill else 1)
    cymbal = RIDE if backbeat == 1 else HAT
    for part in range(divisions):
        play(at + part * beat / divisions, at + 0.1, DRUMS, cymbal, 75 if part == 0 else 55)


def _read_midi(file: Path) -> tuple[dict[str, set], list[list[tuple[float, float, int]]]]:
    """Return the key and time signatures of a standard MIDI file, and the notes of its tracks."""
    content = file.read_bytes()
    per_quarter = struct.unpack(">H", content[12:14])[0]
    signatures: dict[str, set] = {"key": set(), "metre": set()}
    tracks, place = [], 14
    while place < len(content):
        size = struct.unpack(">I", content[place + 4 : place + 8])[0]
        notes = _read_track(content[place + 8 : place + 8 + size], per_quarter, signatures)
        tracks += [notes] if notes else []
        place += 8 + size
    return signatures, tracks


def _read_track(data: bytes, per_quarter: int, signatures: dict[str, set]) -> list:
    place = time = status = 0
    sounding: dict[int, float] = {}
    notes = []

    def number() -> int:
        nonlocal place
        value = 0
        while True:
            byte = data[place]
            place += 1
            value = value << 7 | byte & 127
            if byte < 128:
                return value

    while place < len(data):
        time += number()
        at = time / per_quarter
        if data[place] >= 128:
            status = data[place]
            place += 1
        if status >= 240:
            kind = data[place] if status == 255 else None
            place += status == 255
            size = number()
            body = data[place : place + size]
            place += size
            if kind == 0x59:
                signatures["key"].add(struct.unpack("b", body[:1])[0])
            elif kind == 0x58:
                signatures["metre"].add((body[0], 2 ** body[1]))
            continue
        size = 1 if status >> 4 in (12, 13) else 2
        pitch, velocity = data[place], data[place + size - 1]
        place += size
        if status >> 4 in (8, 9):
            if pitch in sounding:
                notes.append((sounding.pop(pitch), at, pitch))
            if status >> 4 == 9 and velocity:
                sounding[pitch] = at
    return notes

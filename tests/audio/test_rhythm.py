"""Tempi and metres of sounds whose beat is known."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.audio.rhythm import (
    HOP,
    describe_rhythm,
    hypotheses,
    onset_envelopes,
    periodicity,
    track_beats,
)

RATE = 22_050


def metronome(
    tempo_bpm: float, beats: int, *, seconds: float = 14.0, gain: float = 0.5
) -> np.ndarray:
    """Return clicks, of which the first of every `beats` is higher and louder."""
    sound = np.zeros(round(seconds * RATE), np.float32)
    times = np.arange(round(0.05 * RATE)) / RATE
    for number in range(int(seconds * tempo_bpm / 60)):
        hertz, loud = (1500, 1.0) if number % beats == 0 else (1000, 0.5)
        click = loud * np.sin(2 * np.pi * hertz * times) * np.exp(-times * 80)
        start = round(number * 60 / tempo_bpm * RATE)
        sound[start : start + len(click)] += click[: len(sound) - start]
    return gain * sound


@pytest.mark.parametrize("beats", [3, 4])
@pytest.mark.parametrize("tempo_bpm", [80, 100, 120, 140, 160])
def test_metronome(tempo_bpm: float, beats: int) -> None:
    found = describe_rhythm(metronome(tempo_bpm, beats), RATE)
    assert found is not None
    assert found.tempo_bpm == pytest.approx(tempo_bpm, rel=0.01)
    assert 0 < found.tempo_confidence <= 1
    assert abs(np.log2(found.runner_up_bpm / found.tempo_bpm)) > 0.1


@pytest.mark.parametrize("stretch", [0.85, 0.95, 1.1, 1.2])
def test_the_tempo_follows_a_stretched_copy(stretch: float) -> None:
    plain = describe_rhythm(metronome(110, 4), RATE)
    stretched = describe_rhythm(metronome(110 * stretch, 4), RATE)
    assert plain is not None
    assert stretched is not None
    assert stretched.tempo_bpm / plain.tempo_bpm == pytest.approx(stretch, rel=0.01)


def test_gain_changes_nothing() -> None:
    loud, soft = (describe_rhythm(metronome(97, 4, gain=g), RATE) for g in (0.9, 0.05))
    assert loud is not None
    assert soft is not None
    assert soft.tempo_bpm == pytest.approx(loud.tempo_bpm, rel=0.01)
    assert soft.time_signature == loud.time_signature


def test_beats_fall_on_the_clicks() -> None:
    onsets = onset_envelopes(metronome(120, 4), RATE)[0]
    beats_s = track_beats(onsets, 120, RATE / HOP)
    assert len(beats_s) == pytest.approx(28, abs=2)
    offset = (beats_s + 0.25) % 0.5 - 0.25
    assert np.abs(offset).max() < 0.04


def test_periodicity_and_hypotheses_of_a_pulse_train() -> None:
    onsets = np.zeros((4, 1000), np.float32)
    onsets[:, ::60] = 1
    repeats = periodicity(onsets)
    assert repeats[:, 0] == pytest.approx(1)
    assert repeats[0, 30:90].argmax() + 30 == 60
    found = hypotheses(repeats, frame_rate=100.0)
    assert found[0] == pytest.approx(100, rel=0.01)
    assert sorted(np.round(found / found[0], 3)) == [0.5, 0.667, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("samples", [np.zeros(5 * RATE), np.zeros(10), np.ones(100)])
def test_nothing_repeats_no_rhythm(samples: np.ndarray) -> None:
    assert describe_rhythm(samples.astype(np.float32), RATE) is None

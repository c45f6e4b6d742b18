"""Keys of chords whose key is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.audio.tonality import PITCH_CLASSES, chroma, describe_tonality

RATE = 22_050
CADENCES = {
    "major": [(0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)],
    "minor": [(0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7)],
}


def play(mode: str, tonic: int, *, cents: float = 0.0, gain: float = 0.1) -> np.ndarray:
    """Return 6 s of a cadence, each tone with six overtones."""
    times = np.arange(round(1.5 * RATE)) / RATE
    chords = []
    for chord in CADENCES[mode]:
        tones = [
            440 * 2 ** ((57 + tonic + t - 69 + cents / 100) / 12) for t in (chord[0] - 12, *chord)
        ]
        sound = sum(
            np.sin(2 * np.pi * hz * n * times) / n
            for hz in tones
            for n in range(1, 7)
            if hz * n < 9e3
        )
        chords.append(sound * np.exp(-times))
    return (gain * np.concatenate(chords)).astype(np.float32)


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_the_key_moves_with_the_transposition(mode: str, tonic: int) -> None:
    found = describe_tonality(play(mode, tonic - 9), RATE)
    assert found is not None
    assert (found.key, found.mode) == (PITCH_CLASSES[tonic], mode)
    assert 0 < found.confidence <= 1
    assert found.tuning_cents == pytest.approx(0, abs=3)


@pytest.mark.parametrize("cents", [-40, -20, 20, 40])
def test_a_mistuned_instrument_keeps_its_key(cents: float) -> None:
    found = describe_tonality(play("minor", 3, cents=cents), RATE)
    assert found is not None
    assert (found.key, found.mode) == ("C", "minor")
    assert found.tuning_cents == pytest.approx(cents, abs=4)


@settings(max_examples=5, deadline=None)
@given(gain=st.floats(0.003, 0.3), tonic=st.integers(-6, 5))
def test_gain_changes_nothing(gain: float, tonic: int) -> None:
    loud, soft = (describe_tonality(play("major", tonic, gain=g), RATE) for g in (0.3, gain))
    assert loud is not None
    assert soft is not None
    assert (loud.key, loud.mode) == (soft.key, soft.mode)


def test_overtones_do_not_pass_for_notes() -> None:
    """A tone whose third harmonic, a twelfth above, is the loudest is still heard as itself."""
    times = np.arange(2 * RATE) / RATE
    tone = sum(np.sin(2 * np.pi * 220 * n * times) * (1.0 if n == 3 else 0.3) for n in range(1, 9))
    profile, _ = chroma((0.05 * tone).astype(np.float32), RATE)
    assert PITCH_CLASSES[int(profile.argmax())] == "A"
    assert np.sort(profile)[-2] < 0.8


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.zeros(10), np.full(RATE, 1e-9)])
def test_no_pitch_no_key(samples: np.ndarray) -> None:
    assert describe_tonality(samples.astype(np.float32), RATE) is None

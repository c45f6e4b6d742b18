"""Loudness: the standard's own reference levels, its gate, and pyloudnorm as a second opinion."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.audio.loudness import loudness


def sine(dbfs: float, seconds: float, rate: int = 48_000) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)


def stereo(mono: np.ndarray) -> np.ndarray:
    return np.stack([mono, mono], axis=1)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("dbfs", [-23.0, -33.0])
def test_reference_level(dbfs: float, rate: int) -> None:
    """EBU Tech 3341, cases 1 and 2: a stereo sine of 1 kHz at x dBFS is x LUFS."""
    assert loudness(stereo(sine(dbfs, 20, rate)), rate) == pytest.approx(dbfs, abs=0.1)


def test_quiet_passages_are_gated() -> None:
    """EBU Tech 3341, case 3: 10 s at -36, 60 s at -23, 10 s at -36 dBFS is -23 LUFS."""
    parts = [sine(-36, 10), sine(-23, 60), sine(-36, 10)]
    assert loudness(stereo(np.concatenate(parts)), 48_000) == pytest.approx(-23, abs=0.1)


def test_surround_channels_weigh_more_and_the_low_one_nothing() -> None:
    """EBU Tech 3341, case 6: 5.0 at -28, -28, -24, -30, -30 dBFS is -23 LUFS."""
    levels = [-28, -28, -24, -30, -30]
    five = np.stack([sine(level, 20) for level in levels], axis=1)
    assert loudness(five, 48_000) == pytest.approx(-23, abs=0.1)
    six = np.insert(five, 3, sine(0, 20), axis=1)
    assert loudness(six, 48_000) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("gain_db", [-30.0, -6.0, 6.0])
def test_gain_moves_loudness_by_as_much(gain_db: float) -> None:
    noise = np.random.default_rng(0).standard_normal(48_000 * 5) * 0.05
    before, after = loudness(noise, 48_000), loudness(noise * 10 ** (gain_db / 20), 48_000)
    assert after == pytest.approx(before + gain_db, abs=1e-6)


def test_a_second_opinion() -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    rng = np.random.default_rng(1)
    swell = np.repeat(rng.uniform(0.001, 0.2, 20), 44_100)[:, None]
    noise = rng.standard_normal((20 * 44_100, 2)) * swell
    expected = pyloudnorm.Meter(44_100).integrated_loudness(noise)
    assert loudness(noise, 44_100) == pytest.approx(expected, abs=0.1)


def test_silence_has_none_and_a_short_sound_has_some() -> None:
    assert loudness(np.zeros(48_000, np.float32), 48_000) is None
    assert loudness(stereo(sine(-23, 0.1)), 48_000) == pytest.approx(-23, abs=1)

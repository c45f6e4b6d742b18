"""Spectrograms of signals whose answer is known, and librosa as the reference for the filters."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.audio.spectrogram import log_mel, mel_filters, power_spectrogram

RATE = 22_050


def sine(hz: float, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.sin(2 * np.pi * hz * times).astype(np.float32)


def test_a_sine_has_power_one_in_its_bin() -> None:
    hz = 100 * RATE / 2048
    power = power_spectrogram(sine(hz))
    assert power.shape == (1 + RATE // 512, 1025)
    middle = power[10:-10]
    assert (middle.argmax(axis=1) == 100).all()
    assert middle[:, 100] == pytest.approx(1, rel=1e-3)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).standard_normal(RATE * 2).astype(np.float32)
    whole = power_spectrogram(samples)
    monkeypatch.setattr("recsys.audio.spectrogram._FRAMES_AT_ONCE", 7)
    np.testing.assert_array_equal(power_spectrogram(samples), whole)


@pytest.mark.parametrize("n_mels", [40, 64, 128])
def test_filters_are_those_of_librosa(n_mels: int) -> None:
    librosa_filters = pytest.importorskip("librosa.filters")
    expected = librosa_filters.mel(sr=RATE, n_fft=2048, n_mels=n_mels)
    np.testing.assert_allclose(mel_filters(RATE, 2048, n_mels), expected, atol=1e-7)


def test_log_mel_follows_gain_and_stops_at_its_floor() -> None:
    power = power_spectrogram(sine(1000))
    loud = log_mel(power, sample_rate=RATE, n_mels=64)
    soft = log_mel(power / 100, sample_rate=RATE, n_mels=64)
    band = int(loud[20].argmax())
    assert loud[20, band] - soft[20, band] == pytest.approx(20, abs=1e-3)
    assert log_mel(0 * power, sample_rate=RATE, n_mels=64) == pytest.approx(-100)


def test_any_short_signal_has_a_frame() -> None:
    assert power_spectrogram(np.ones(10, np.float32)).shape == (1, 1025)

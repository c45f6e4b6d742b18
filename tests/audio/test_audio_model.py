"""The audio model from files to vectors and back through a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys import progress
from recsys.audio.listening import hear_items
from recsys.audio.model import AudioModel, build_audio, pool, standardise
from recsys.audio.spectrogram import log_mel, power_spectrogram
from recsys.bundle import Models
from recsys.config import AudioConfig
from recsys.data.catalogue import read_catalogue
from recsys.data.dataset import Dataset
from tests.lines import Lines

RATE = 22_050


def clip(kind: str, seed: int) -> np.ndarray:
    """Return 2 s of either low steady tones or bright bursts of noise."""
    rng = np.random.default_rng(seed)
    times = np.arange(2 * RATE) / RATE
    if kind == "hum":
        hz = rng.uniform(80, 160)
        return sum(np.sin(2 * np.pi * hz * n * times) / n**2 for n in range(1, 6)) * 0.3
    gate = (times * rng.uniform(3, 5)) % 1 < 0.3
    return rng.standard_normal(len(times)) * gate * 0.2


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "dataset"
    (folder / "clips").mkdir(parents=True)
    rows = []
    for kind in ("hum", "burst"):
        for seed in range(4):
            name = f"{kind}{seed}"
            soundfile.write(folder / "clips" / f"{name}.flac", clip(kind, seed), RATE)
            rows.append({"item_id": name, "audio_uri": f"clips/{name}.flac"})
    rows[1]["audio_uri"] = str(folder / rows[1]["audio_uri"])
    rows[2]["audio_uri"] = f"file://{folder}/{rows[2]['audio_uri']}"
    (folder / "broken.mp3").write_bytes(b"no music")
    rows += [
        {"item_id": "x-broken", "audio_uri": "broken.mp3"},
        {"item_id": "x-missing", "audio_uri": "clips/absent.wav"},
        {"item_id": "x-nowhere", "audio_uri": "file:///nowhere/absent.wav"},
        {"item_id": "y-none", "audio_uri": None},
    ]
    made = Dataset(folder)
    with made.transaction() as transaction:
        batch = pa.RecordBatch.from_pylist(rows)
        transaction.append("items", [batch], source="test", fingerprint="test")
    return made


def test_alike_sounds_are_near_and_failures_are_told(dataset: Dataset, tmp_path: Path) -> None:
    catalogue = read_catalogue(dataset)
    with progress.report_to(heard := Lines()):
        model = build_audio(hear_items(dataset, AudioConfig()), catalogue, AudioConfig())
    assert model is not None
    vectors = model.item_vectors
    assert vectors.dtype == np.float32
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths == pytest.approx([1] * 8 + [0] * 4, abs=1e-5)
    bursts, hums = vectors[:4], vectors[4:8]
    assert (bursts @ hums.T).max() < 0 < min((bursts @ bursts.T).min(), (hums @ hums.T).min())
    known, absent, damaged, reason = heard.lines
    assert known == "audio: 8 recordings heard, 0 known before"
    assert absent == "audio: 2 of 11 recordings are not on disk"
    assert damaged.startswith("audio: 1 of 11 recordings cannot be read")
    assert "broken.mp3" in reason

    assert model.descriptors is not None
    assert model.descriptors.of(0) is not None
    assert model.descriptors.of(8) is None
    models = Models(tmp_path / "models")
    writer = models.write()
    model.write(writer)
    writer.commit()
    read = AudioModel.read(models.open())
    np.testing.assert_array_equal(read.item_vectors, vectors)
    assert read.descriptors is not None
    assert [read.descriptors.of(row) for row in range(12)] == [
        model.descriptors.of(row) for row in range(12)
    ]


def test_nothing_to_hear_gives_no_model(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    assert (
        build_audio(hear_items(dataset, AudioConfig()), read_catalogue(dataset), AudioConfig())
        is None
    )
    rows = pa.RecordBatch.from_pylist([{"item_id": "a", "audio_uri": "absent.wav"}])
    with dataset.transaction() as transaction:
        transaction.append("items", [rows], source="test", fingerprint="test")
    assert (
        build_audio(hear_items(dataset, AudioConfig()), read_catalogue(dataset), AudioConfig())
        is None
    )


def features(samples: np.ndarray) -> np.ndarray:
    power = power_spectrogram(samples.astype(np.float32))
    return pool(log_mel(power, sample_rate=RATE, n_mels=64))


def test_gain_moves_only_the_level() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE) * 0.1
    change = features(noise * 2) - features(noise)
    assert change[0] == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert np.abs(change[1:]).max() < 1e-3


def test_one_frame_has_features() -> None:
    assert np.isfinite(features(np.ones(10))).all()


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 30), d=st.integers(1, 80), seed=st.integers(0, 99))
def test_standardised_rows_are_unit_or_zero(n: int, d: int, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((n, 50)).astype(np.float32)
    rows[:, 3] = 7.0
    vectors = standardise(rows, d)
    assert vectors.shape == (n, min(d, 50))
    lengths = np.linalg.norm(vectors, axis=1)
    assert ((np.abs(lengths - 1) < 1e-4) | (lengths == 0)).all()


def test_standardising_ignores_the_scale_of_a_feature() -> None:
    rows = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    scaled = rows * np.array([1, 10, 0.1, 5, 1, 100], np.float32) + 3
    first, second = standardise(rows, 6), standardise(scaled, 6)
    np.testing.assert_allclose(first @ first.T, second @ second.T, atol=1e-3)


def test_what_networks_say_is_half_of_a_vector() -> None:
    sounds = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    said = np.array([[2, 0, 1], [0, 2, 1], [2, 0, 1], [0, 0, 0]], np.float32)
    weights = np.arange(3, dtype=np.uint8)
    joined = AudioModel(sounds).joined(said, weights)
    likeness = joined.item_vectors @ joined.item_vectors.T
    assert np.diag(likeness) == pytest.approx([1, 1, 1, 0])
    assert likeness[0, 2] == pytest.approx(0.5)  # another sound, the same listeners
    assert likeness[0, 1] == pytest.approx(0.0, abs=1e-6)  # the same sound, quite other listeners
    assert joined.networks is weights

"""Excerpts of the demo world sound as the truth says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from recsys.data.world import World, make_world, synthesise
from recsys.data.world.composing import Song, compose
from recsys.data.world.instruments import loudness_lufs, perform
from recsys.data.world.sound import excerpt
from recsys.errors import NotFoundError, UsageError

RATE = 22_050
SONG = Song(
    tempo_bpm=120.0, key=9, minor=True, beats_per_bar=4, loudness_lufs=-14.0,
    brightness=0.0, busyness=0.5, mood=-0.5, force=0.5, sway=-0.5,
)  # fmt: skip


def play(song: Song, seed: int = 0, duration_s: float = 12.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return perform(song, compose(song, duration_s, rng), duration_s, RATE, rng)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), seed=0, scale=0.02)


def test_loudness_meter_reads_a_reference_tone() -> None:
    # BS.1770-4: a full-scale 997 Hz sine in one channel reads -3.01 LKFS.
    time = np.arange(5 * 48_000) / 48_000
    tone = np.sin(2 * np.pi * 997 * time)
    assert loudness_lufs(tone, 48_000) == pytest.approx(-3.01, abs=0.02)
    assert loudness_lufs(tone / 10, 48_000) == pytest.approx(-23.01, abs=0.02)
    with_whisper = np.concatenate([tone, tone / 100])
    assert loudness_lufs(with_whisper, 48_000) == pytest.approx(-3.01, abs=0.4), "gated"
    assert loudness_lufs(np.zeros(48_000), 48_000) == -np.inf


@pytest.mark.parametrize("target", [-27.0, -16.0, -8.0])
def test_an_excerpt_has_the_loudness_asked_for(target: float) -> None:
    samples = play(replace(SONG, loudness_lufs=target))
    assert loudness_lufs(samples, RATE) == pytest.approx(target, abs=0.5)
    assert np.abs(samples).max() <= 1 and samples.dtype == np.float32


@pytest.mark.parametrize("beats_per_bar", [4, 3, 6])
@pytest.mark.parametrize("tempo_bpm", [80.0, 100.0, 132.0])
def test_the_pulse_is_at_the_tempo(beats_per_bar: int, tempo_bpm: float) -> None:
    samples = play(replace(SONG, tempo_bpm=tempo_bpm, beats_per_bar=beats_per_bar))
    onsets = librosa.onset.onset_strength(y=samples, sr=RATE)
    pulse = librosa.autocorrelate(onsets - onsets.mean())
    lag = 60 / tempo_bpm * RATE / 512

    def strength(at: float) -> float:
        return float(pulse[round(at) - 1 : round(at) + 2].max())

    assert strength(lag) > strength(1.17 * lag) and strength(lag) > strength(0.86 * lag)


def test_key_and_mode_are_audible() -> None:
    # Krumhansl and Kessler's profiles.
    major = [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88]
    minor = [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17]
    right = 0
    for seed in range(8):
        song = replace(SONG, key=5 * seed % 12, minor=seed % 2 == 0, busyness=-0.5, force=-1.0)
        samples = play(song, seed)
        chroma = librosa.feature.chroma_stft(y=samples, sr=RATE, n_fft=8192).mean(axis=1)
        fits = [
            [np.corrcoef(np.roll(profile, key), chroma)[0, 1] for key in range(12)]
            for profile in (major, minor)
        ]
        mode, key = np.unravel_index(np.argmax(fits), (2, 12))
        right += (key, mode == 1) == (song.key, song.minor)
        relative = (song.key + (3 if song.minor else 9)) % 12, not song.minor
        assert (key, mode == 1) in ((song.key, song.minor), relative)
    assert right >= 6


def test_character_is_audible() -> None:
    def mean_centroid(brightness: float) -> float:
        song = replace(SONG, brightness=brightness)
        sounds = [librosa.feature.spectral_centroid(y=play(song, s), sr=RATE) for s in range(4)]
        return float(np.mean(sounds))

    def n_notes(busyness: float) -> int:
        parts = compose(replace(SONG, busyness=busyness), 12.0, np.random.default_rng(0))
        return sum(len(part.start_s) for part in parts)

    assert mean_centroid(1.5) > 1.15 * mean_centroid(-1.5)
    assert n_notes(1.5) > 1.5 * n_notes(-1.5)


def test_synthesise_writes_each_excerpt_once_at_its_audio_uri(world: World) -> None:
    rows = world.dataset.read("items", ["item_id", "audio_uri"]).to_pylist()
    some = [row for row in rows if row["audio_uri"]][:3]
    paths = synthesise(world, [row["item_id"] for row in some], duration_s=2.0)
    for row, path in zip(some, paths, strict=True):
        assert (Path(world.dataset.folder.root) / row["audio_uri"]).resolve() == path.resolve()
        samples, rate = soundfile.read(path)
        assert rate == RATE and samples.shape == (2 * RATE,)
    before = [path.stat().st_mtime_ns for path in paths]
    assert synthesise(world, [row["item_id"] for row in some], duration_s=2.0) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_workers_write_what_one_process_writes(world: World, tmp_path: Path) -> None:
    ids = [id for id in world.truth.item_ids if id.startswith("t")][10:14]
    paths = synthesise(world, ids, duration_s=2.0)
    alone = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    assert [p.read_bytes() for p in synthesise(world, ids, duration_s=2.0, workers=2)] == alone


def test_two_ids_of_one_recording_sound_the_same(world: World) -> None:
    truth = world.truth
    recordings = np.asarray(truth.item_recording)
    twin = int(np.flatnonzero(np.bincount(recordings)[recordings] == 2)[0])
    one, two = np.flatnonzero(recordings == recordings[twin]).tolist()
    a, b = (excerpt(truth, row, duration_s=2.0) for row in (one, two))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, excerpt(truth, (two + 1) % len(recordings), duration_s=2.0))


def test_what_has_no_audio_is_refused(world: World) -> None:
    with pytest.raises(NotFoundError, match="no track of the demo world 'p0000'"):
        synthesise(world, ["p0000"])
    with pytest.raises(UsageError, match="at least 1 s"):
        synthesise(world, [], duration_s=0.1)

"""Each recording is heard once; what was heard becomes the descriptors table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from recsys import progress
from recsys.audio import listening
from recsys.audio.described import ItemDescriptors
from recsys.audio.listening import Archive, hear_items
from recsys.config import AudioConfig
from recsys.data.dataset import Dataset
from recsys.errors import InputError
from tests.fifo import Fifo
from tests.lines import Lines

RATE = 22_050


def clicks(bpm: float, seed: int) -> np.ndarray:
    """Return 6 s of bursts over a chord of C major."""
    times = np.arange(6 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hz * times) for hz in (130.81, 164.81, 196.0))
    noise = np.random.default_rng(seed).standard_normal(len(times))
    return (np.exp(-20 * (times % (60 / bpm))) * (0.1 * chord + 0.05 * noise)).astype(np.float32)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset(tmp_path / "dataset")
    rows = []
    for name, bpm in (("a", 120.0), ("b", 120.0), ("c", 90.0)):
        soundfile.write(tmp_path / f"{name}.wav", clicks(bpm, ord(name)), RATE)
        rows.append({"item_id": name, "audio_uri": f"../{name}.wav"})
    rows.append({"item_id": "same as a", "audio_uri": "../a.wav"})
    (tmp_path / "broken.mp3").write_bytes(b"no music")
    rows.append({"item_id": "broken", "audio_uri": "../broken.mp3"})
    rows.append({"item_id": "absent", "audio_uri": "../absent.mp3"})
    with made.transaction() as transaction:
        batch = pa.RecordBatch.from_pylist(rows)
        transaction.append("items", [batch], source="test", fingerprint="test")
    return made


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were decoded, in order."""
    uris: list[str] = []
    decode = listening._decode

    def counted(source, uri, audio_hash, config):
        uris.append(uri)
        return decode(source, uri, audio_hash, config)

    monkeypatch.setattr(listening, "_decode", counted)
    return uris


def test_what_was_heard_is_told_and_never_heard_again(dataset: Dataset, decoded: list[str]) -> None:
    first = hear_items(dataset, AudioConfig())
    assert list(first) == ["a", "b", "c", "same as a"]
    assert sorted(decoded) == ["../a.wav", "../b.wav", "../broken.mp3", "../c.wav"]
    assert first["a"].descriptors["tempo_bpm"] == pytest.approx(120, rel=0.02)
    assert first["a"].bands.shape[1] == 64

    decoded.clear()
    fingerprint = dataset.fingerprint()
    again = hear_items(Dataset(dataset.folder.path), AudioConfig())
    assert decoded == ["../broken.mp3"]  # why a file cannot be read may change
    assert Dataset(dataset.folder.path).fingerprint() == fingerprint
    for item, heard in first.items():
        assert again[item].descriptors == heard.descriptors
        np.testing.assert_array_equal(again[item].bands, heard.bands)


def test_the_table_follows_the_files(dataset: Dataset, decoded: list[str], tmp_path: Path) -> None:
    hear_items(dataset, AudioConfig())
    table = {row["item_id"]: row for row in dataset.read("descriptors").to_pylist()}
    assert set(table) == {"a", "b", "c", "same as a"}
    assert table["a"]["audio_hash"] == table["same as a"]["audio_hash"]
    assert len(table["a"]["beats_s"]) == pytest.approx(12, abs=2)
    assert table["a"]["runner_up_bpm"] > 0

    decoded.clear()
    (tmp_path / "c.wav").replace(tmp_path / "a.wav")
    hear_items(dataset, AudioConfig())
    assert decoded == ["../broken.mp3"]  # moved, not new
    rows = {row["item_id"]: row for row in dataset.read("descriptors").to_pylist()}
    assert set(rows) == {"a", "b", "same as a"}
    assert rows["a"]["tempo_bpm"] == table["c"]["tempo_bpm"]


def test_other_settings_are_heard_anew(dataset: Dataset, decoded: list[str]) -> None:
    hear_items(dataset, AudioConfig())
    decoded.clear()
    assert hear_items(dataset, AudioConfig(n_mels=32))["a"].bands.shape[1] == 32
    assert "../a.wav" in decoded


def test_a_dataset_that_cannot_be_written_to_is_still_heard(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(dataset.folder), "writing", refuse)
    with progress.report_to(said := Lines()):
        assert set(hear_items(dataset, AudioConfig())) == {"a", "b", "c", "same as a"}
    assert any("heard again" in line for line in said.lines)
    assert any("not up to date" in line for line in said.lines)


def test_a_damaged_archive_is_named(dataset: Dataset) -> None:
    hear_items(dataset, AudioConfig())
    folder = Path(dataset.folder.locate(f"{Archive(dataset.folder, AudioConfig()).where}"))
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{file.name}: damaged .*; delete it"):
        hear_items(dataset, AudioConfig())


def test_a_bug_that_one_recording_finds_costs_that_recording(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = listening._decode

    def failing(source, uri, audio_hash, config):
        if uri == "../b.wav":
            raise ZeroDivisionError("of this one")
        return decode(source, uri, audio_hash, config)

    monkeypatch.setattr(listening, "_decode", failing)
    with progress.report_to(said := Lines()):
        assert set(hear_items(dataset, AudioConfig())) == {"a", "c", "same as a"}
    rejects = Path(dataset.folder.locate("rejects/recordings.jsonl"))
    assert "audio: 1 of 5 recordings are not on disk" in said.lines
    assert any(line.startswith("audio: 2 of 5 recordings cannot be read") for line in said.lines)
    assert f"listed in {rejects}" in "".join(said.lines)
    rows = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [row["row"] for row in rows] == ["../b.wav", "../broken.mp3"]
    assert rows[0]["reason"] == (
        "../b.wav: could not be described (ZeroDivisionError: of this one)"
    )
    monkeypatch.undo()
    with dataset.transaction() as transaction:  # the items without the broken one
        rows = [{"item_id": name, "audio_uri": f"../{name}.wav"} for name in "abc"]
        rows += [{"item_id": name, "audio_uri": None} for name in ("broken", "absent")]
        batch = pa.Table.from_pylist(rows)
        transaction.append("items", [batch], source="mended", fingerprint="mended")
    assert set(hear_items(dataset, AudioConfig())) == {"a", "b", "c", "same as a"}
    assert not rejects.exists()


def test_after_a_kill_only_what_is_missing_is_heard(tmp_path: Path) -> None:
    """SIGKILL of `recsys train` at the 40th recording, of which 32 make the first batch."""
    names = [f"{number:02}.wav" for number in range(39)] + ["last.wav"]
    for number, name in enumerate(names):
        soundfile.write(tmp_path / name, clicks(120.0, number)[: RATE // 2], RATE)
    (tmp_path / "last.wav").replace(tmp_path / "aside.wav")
    fifo = Fifo(tmp_path / "last.wav")
    dataset = Dataset(tmp_path / "dataset")
    with dataset.transaction() as transaction:
        rows = [{"item_id": name, "audio_uri": f"../{name}"} for name in names]
        batch = pa.RecordBatch.from_pylist(rows)
        transaction.append("items", [batch], source="test", fingerprint="test")
    command = [sys.executable, "-m", "recsys", "train", dataset.folder.path, tmp_path / "models"]
    command += ["--only", "audio"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as first:
        assert fifo.kill_reader() == first.pid
    archive = Archive(dataset.folder, AudioConfig())
    assert len(archive.hashes()) == 32
    (tmp_path / "aside.wav").replace(tmp_path / "last.wav")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "audio: 8 recordings heard, 32 known before" in done.stderr
    assert len(Archive(dataset.folder, AudioConfig()).hashes()) == 40
    assert Dataset(dataset.folder.path).read("descriptors").num_rows == 40


def described(bpm: float | None, key: str | None, mode: str | None, metre: str | None) -> dict:
    return {
        "tempo_bpm": bpm,
        "runner_up_bpm": None,
        "key": key,
        "mode": mode,
        "time_signature": metre,
        "loudness_lufs": -9.0,
        "confidences": {"tempo": 0.5, "key": None, "time_signature": 0.25},
    }


def test_what_two_recordings_share_is_said() -> None:
    rows = [
        described(92.4, "D", "minor", "6/8"),
        described(91.0, "D", "minor", "6/8"),
        described(184.0, "D", "major", "6/8"),
        described(60.0, "F#", "minor", "4/4"),
        described(None, None, None, None),
    ]
    known = ItemDescriptors.of_rows(dict(enumerate(rows)), 6)
    assert known.in_common(0, 1) == "both 92 BPM, D minor, 6/8"
    assert known.in_common(0, 2) == "both 6/8"
    assert known.in_common(0, 3) == known.in_common(4, 4) == known.in_common(5, 5) == ""
    assert known.of(0) == rows[0] | {"tempo_bpm": 92.4}
    assert known.of(5) is None

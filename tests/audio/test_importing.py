"""A folder of recordings in every state becomes items, from the command line to the profile."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from recsys.audio import recordings
from recsys.audio.importing import import_audio
from recsys.audio.recordings import read_recording
from recsys.data.dataset import Dataset
from recsys.errors import InputError
from recsys.serving.app import AppArgs, create_app

RATE = 22_050
Run = Callable[..., tuple[int, str, str]]
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="ffmpeg is not installed (Debian: apt install ffmpeg)"
)


def song(hz: float, seconds: float = 4.0, rate: int = RATE, gain: float = 0.3) -> np.ndarray:
    """Return a chord on `hz`, struck twice a second."""
    times = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * hz * ratio * times) for ratio in (1, 1.26, 1.5))
    return (gain * np.exp(-6 * (times % 0.5)) * chord).astype(np.float32)


def tagged(path: Path, **tags: str) -> None:
    """Write a short mp3, flac or m4a with tags."""
    options = [part for key, value in tags.items() for part in ("-metadata", f"{key}={value}")]
    source = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"]
    subprocess.run(["ffmpeg", "-v", "error", *source, *options, str(path)], check=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two good files and one of every other kind."""
    music = tmp_path / "music"
    (music / "An Artist").mkdir(parents=True)
    soundfile.write(music / "An Artist" / "one.flac", song(220), RATE)
    soundfile.write(music / "two.ogg", song(220), RATE)
    soundfile.write(music / "clipped.wav", np.clip(song(330, gain=3.0), -1, 1), RATE)
    soundfile.write(music / "low.wav", song(200, rate=8_000), 8_000)
    wide = np.repeat(song(260)[:, None], 8, axis=1)
    soundfile.write(music / "wide.wav", wide, RATE)
    with soundfile.SoundFile(music / "long.wav", "w", 8_000, 1, subtype="PCM_U8") as file:
        minute = song(200, seconds=60, rate=8_000)
        for _ in range(180):
            file.write(minute)
    soundfile.write(music / "silent.ogg", np.zeros(RATE, np.float32), RATE)
    soundfile.write(music / "nothing.wav", np.zeros(0, np.float32), RATE)
    (music / "zero.mp3").touch()
    (music / "text.mp3").write_text("no music\n" * 50)
    (music / "cover.jpg").write_bytes(b"a picture")
    (music / "._two.ogg").write_bytes(b"left by another system")
    (music / "lost.wav").symlink_to(music / "nowhere.wav")
    return music


GOOD = {"An Artist/one.flac", "two.ogg", "clipped.wav", "low.wav", "wide.wav", "long.wav"}
BAD = {
    "silent.ogg": "silent",
    "nothing.wav": "0.00 s of audio; want 0.1 s",
    "zero.mp3": "no audio that can be read",
    "text.mp3": "no audio that can be read",
    "lost.wav": "no such file",
}


def test_every_file_gets_a_result_and_none_stops_the_folder(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    code, out, err = run("import", "audio", folder, tmp_path / "dataset", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["rows"] == {"items": len(GOOD)}
    assert result["rejected"] == len(BAD)
    written = Path(result["rejects_file"]).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in written.splitlines()]
    reasons = {line["row"].removesuffix(":1"): line["reason"] for line in lines}
    assert set(reasons) == {f"music/{name}" for name in BAD}
    for name, reason in BAD.items():
        assert reasons[f"music/{name}"].startswith(reason)
    assert result["remarks"] == {
        "no tags": 6, "low sample rate": 2, "clipped": 1, "mixed down": 1, "very long": 1,
    }  # fmt: skip
    assert "music/long.wav: very long (3.0 h; the middle 30 s are heard)" in err
    items = {row["item_id"]: row for row in Dataset(tmp_path / "dataset").read("items").to_pylist()}
    assert set(items) == {f"music/{name}" for name in GOOD}
    assert items["music/long.wav"]["duration_s"] == 3 * 3600
    assert items["music/two.ogg"]["title"] == "two"

    code, out, _ = run("import", "audio", folder, tmp_path / "dataset")
    assert code == 0 and "nothing changed" in out
    (folder / "wide.wav").unlink()
    code, out, _ = run("import", "audio", folder, tmp_path / "dataset")
    assert code == 0 and f"{len(BAD)} bad rows set aside" in out and "clipped" in out
    kept = Dataset(tmp_path / "dataset").read("items", ["item_id"])["item_id"].to_pylist()
    assert set(kept) == {f"music/{name}" for name in GOOD - {"wide.wav"}}


def test_from_a_folder_to_the_profile(run: Run, folder: Path, tmp_path: Path) -> None:
    dataset, models = tmp_path / "dataset", tmp_path / "models"
    assert run("import", "audio", folder, dataset)[0] == 0
    code, out, err = run("train", dataset, models, "--json")
    assert code == 0, err
    assert json.loads(out)["trained"] == ["audio"]
    code, out, err = run("similar", models, "item", "music/two.ogg", "--by", "audio", "--json")
    assert code == 0, err
    nearest = json.loads(out)["similar"][0]
    assert nearest["id"] == "music/An Artist/one.flac"
    assert nearest["why"].startswith("both 120 BPM, A major")
    code, out, _ = run("similar", models, "item", "music/two.ogg", "--by", "audio")
    assert "both 120 BPM, A major" in out
    with TestClient(
        create_app(AppArgs(models=str(models), max_k=10, require_keys=False))
    ) as client:
        described = client.get("/v1/items/music/two.ogg").json()["descriptors"]
    assert described["tempo_bpm"] == pytest.approx(120, rel=0.02)
    assert (described["key"], described["mode"]) == ("A", "major")
    assert set(described["confidences"]) == {"tempo", "key", "time_signature"}


@needs_ffmpeg
def test_tags_become_columns(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    common = {"title": "Night  Ferry", "artist": "The Band", "album": "LP", "genre": "dream pop"}
    tagged(music / "a.mp3", **common, date="2019-05-03", ISRC="USRC17607839")
    tagged(music / "b.m4a", **common, date="sometime")
    tagged(music / "c.flac", title="x" * 9_999)
    dataset = Dataset(tmp_path / "dataset")
    result = import_audio(music, dataset)
    assert (result.rows, result.remarks) == ({"items": 3, "artists": 1}, {})
    a, b, c = dataset.read("items").to_pylist()
    assert (a["title"], a["album"], a["labels"]) == ("Night Ferry", "LP", ["dream pop"])
    assert a["isrc"] == "USRC17607839"
    assert f"{a['released_at']:%Y-%m-%d}" == "2019-05-03"
    assert a["artist_id"] == b["artist_id"] == "name:The Band"
    assert (b["released_at"], c["artist_id"]) == (None, None)
    assert len(c["title"]) == 500
    assert dataset.read("artists").to_pylist() == [
        {"artist_id": "name:The Band", "name": "The Band", "mbid": None}
    ]


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".m4a", ".aac"])
def test_what_only_ffmpeg_reads(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / "x.wav", song(440, seconds=9), RATE)
    path = tmp_path / f"x{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", path], check=True)
    found = read_recording(path, sample_rate=RATE, max_duration_s=3)
    assert len(found.samples) == pytest.approx(3 * RATE, rel=0.02)
    assert found.duration_s == pytest.approx(9, abs=0.5)
    with path.open("rb") as stream:
        again = read_recording(stream, sample_rate=RATE, max_duration_s=3, name=f"s3://x{suffix}")
    np.testing.assert_array_equal(again.samples, found.samples)
    path.write_bytes(b"no music" * 99)
    with pytest.raises(InputError, match=r"x\.\w+: no audio that can be read \(ff"):
        read_recording(path, sample_rate=RATE, max_duration_s=3)


def test_without_ffmpeg_the_next_step_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "x.m4a").write_bytes(b"music")
    with pytest.raises(InputError, match="ffmpeg, which is not installed; install it"):
        read_recording(tmp_path / "x.m4a", sample_rate=RATE, max_duration_s=3)


def test_ffmpeg_may_not_take_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text("#!/bin/sh\nexec /bin/sleep 60\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(recordings, "_FFMPEG_S", 0.2)
    (tmp_path / "x.m4a").write_bytes(b"music")
    with pytest.raises(InputError, match=r"ffprobe did not finish within 0\.2 s"):
        read_recording(tmp_path / "x.m4a", sample_rate=RATE, max_duration_s=3)


def test_a_folder_without_music_is_refused(run: Run, tmp_path: Path) -> None:
    code, _, err = run("import", "audio", tmp_path, tmp_path / "dataset")
    assert code == 1 and "no audio file in it; want one of .wav" in err
    code, _, err = run("import", "audio", tmp_path / "absent", tmp_path / "dataset")
    assert code == 1 and "no such folder" in err
    assert not (tmp_path / "dataset").exists()

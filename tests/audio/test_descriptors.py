"""All descriptors of one recording, and the command that prints them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import typer

from recsys.audio.descriptors import FRAME_S, SAMPLE_RATE, describe_recording, listen
from recsys.audio.recordings import read_recording
from recsys.cli.analyse import command
from recsys.data.parts import complete
from recsys.data.tables import TABLES

RATE = 44_100


def pulsing_chord(seconds: float = 12.0) -> np.ndarray:
    """Return A minor struck twice a second, in two channels of unequal loudness."""
    times = np.arange(round(seconds * RATE)) / RATE
    struck = np.exp(-8 * (times % 0.5))
    chord = sum(np.sin(2 * np.pi * hz * times) for hz in (110, 220, 261.63, 329.63))
    sound = 0.1 * struck * chord
    return np.stack([sound, 0.5 * sound], axis=1).astype(np.float32)


def test_everything_is_described() -> None:
    found = describe_recording(pulsing_chord(), RATE).to_dict()
    assert found["tempo_bpm"] == pytest.approx(120, rel=0.02)
    assert (found["key"], found["mode"]) == ("A", "minor")
    assert found["loudness_lufs"] < -10
    assert all(0 < share <= 1 for share in found["confidences"].values())


def test_bands_are_the_mean_power_of_their_frame() -> None:
    times = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    steady = (0.5 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)
    _, bands = listen(np.concatenate([steady, 0.1 * steady]), SAMPLE_RATE, n_mels=32)
    assert len(bands) == pytest.approx(8 / FRAME_S, abs=1)
    half = len(bands) // 2
    loud, soft = bands[2 : half - 2], bands[half + 2 : -2]
    peak = int(loud[0].argmax())
    assert loud[:, peak].mean() - soft[:, peak].mean() == pytest.approx(20, abs=0.1)
    assert loud[:, peak].std() < 0.1
    assert listen(steady[:10], SAMPLE_RATE, n_mels=8)[1].shape == (1, 8)


def test_the_table_takes_what_is_described() -> None:
    row = {"item_id": "x", "audio_hash": "0", **describe_recording(pulsing_chord(), RATE).to_dict()}
    schema = TABLES["descriptors"].schema
    assert set(row) == set(schema.names)
    assert complete("descriptors", pa.RecordBatch.from_pylist([row]), schema).to_pylist() == [row]


def test_silence_and_snippets_have_no_descriptors() -> None:
    for n in (10, RATE):
        found = describe_recording(np.zeros(n, np.float32), RATE).to_dict()
        assert found.pop("confidences") == {"tempo": None, "key": None, "time_signature": None}
        assert set(found.values()) == {None}


def test_analyse_prints_one_line_per_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", pulsing_chord(), RATE)
    (tmp_path / "b.mp3").write_bytes(b"no music")
    with pytest.raises(typer.Exit) as caught:
        command([tmp_path / "a.wav", tmp_path / "b.mp3"])
    assert caught.value.exit_code == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["path"] == str(tmp_path / "a.wav")
    assert first["key"] == "A"
    assert list(first) == [
        "path", "tempo_bpm", "runner_up_bpm", "beats_s",
        "key", "mode", "time_signature", "loudness_lufs", "confidences",
    ]  # fmt: skip
    assert second["path"] == str(tmp_path / "b.mp3")
    assert "no audio that can be read" in second["error"]
    command([tmp_path / "a.wav"], excerpt_s=5.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("metronome_120bpm_accent.mp3", {"tempo_bpm": pytest.approx(120, rel=0.02)}),
        (
            "Kevin_MacLeod_-_P_I_Tchaikovsky_Dance_of_the_Sugar_Plum_Fairy.hq.ogg",
            {"key": "E", "mode": "minor"},
        ),
    ],
)
def test_real_recordings(name: str, expected: dict[str, object]) -> None:
    folder = os.environ.get("RECSYS_TEST_DATA")
    if not folder:
        pytest.skip("RECSYS_TEST_DATA does not name the folder of real data")
    path = Path(folder, "recordings", name)
    heard = read_recording(path, sample_rate=None, max_duration_s=30, mix=False)
    found = describe_recording(heard.samples, heard.sample_rate).to_dict()
    assert {name: found[name] for name in expected} == expected

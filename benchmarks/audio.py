"""How long hearing takes, beside librosa's beat tracker and Essentia's rhythm and key.

    python -m benchmarks.audio [--clips 20] [--out docs/results]

Clips of 30 s from the demo world's synthesiser, stereo at 44.1 kHz, as FLAC. Processor time of one
thread, decoding included and apart; every method hears every clip in turn. Writes audio.json and
audio.md.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.page import options, origin, place, publish
from recsys.audio.descriptors import describe_recording, listen
from recsys.audio.recordings import Recording, read_recording, resample
from recsys.data.world import make_world
from recsys.data.world.sound import excerpt

RATE = 44_100
DURATION_S = 30.0
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
CORES = 16
SONGS_A_DAY = 20_000
PEERS = ("librosa", "essentia")


def make_clips(folder: Path, n: int) -> list[Path]:
    """Write `n` stereo clips."""
    world = make_world(folder / "world", scale=0.06)
    rows = np.flatnonzero(np.asarray(world.truth.beats_per_bar) > 0)[:n]
    paths = []
    for row in rows.tolist():
        mono = resample(excerpt(world.truth, row, duration_s=DURATION_S), 22_050, RATE)
        paths.append(folder / f"{row}.flac")
        soundfile.write(paths[-1], np.stack([mono, 0.7 * np.roll(mono, 20)], axis=1), RATE)
    return paths


def decode(path: Path) -> Recording:
    return read_recording(path, sample_rate=None, max_duration_s=DURATION_S, mix=False)


def ours(recording: Recording) -> None:
    describe_recording(recording.samples, recording.sample_rate)


def ours_with_bands(recording: Recording) -> None:
    listen(recording.samples, recording.sample_rate, n_mels=128)


def librosa_beats(recording: Recording) -> None:
    import librosa

    librosa.beat.beat_track(y=_mono(recording), sr=recording.sample_rate)


def librosa_beats_at_22050(recording: Recording) -> None:
    import librosa

    librosa.beat.beat_track(y=resample(_mono(recording), RATE, 22_050), sr=22_050)


def essentia_rhythm(recording: Recording) -> None:
    from essentia.standard import RhythmExtractor2013

    RhythmExtractor2013(method="multifeature")(_mono(recording))


def essentia_all(recording: Recording) -> None:
    from essentia.standard import KeyExtractor, LoudnessEBUR128

    essentia_rhythm(recording)
    KeyExtractor(profileType="bgate", sampleRate=recording.sample_rate)(_mono(recording))
    LoudnessEBUR128(sampleRate=recording.sample_rate)(recording.samples)


METHODS: dict[str, tuple[str, Callable[[Recording], None]]] = {
    "recsys: all descriptors": ("recsys", ours),
    "recsys: all descriptors and 128 log-mel bands": ("recsys", ours_with_bands),
    "librosa: beat_track alone": ("librosa", librosa_beats),
    "librosa: beat_track alone, at 22,050 Hz": ("librosa", librosa_beats_at_22050),
    "Essentia: RhythmExtractor2013 alone": ("essentia", essentia_rhythm),
    "Essentia: rhythm, key, loudness": ("essentia", essentia_all),
}


def _mono(recording: Recording) -> NDArray[np.float32]:
    return np.ascontiguousarray(recording.samples.mean(axis=1), np.float32)


def measure(paths: list[Path]) -> dict[str, list[float]]:
    """Return processor seconds per clip, by method."""
    methods = {
        name: hear
        for name, (library, hear) in METHODS.items()
        if importlib.util.find_spec(library) is not None
    }
    seconds: dict[str, list[float]] = {"decoding": [], **{name: [] for name in methods}}
    first = decode(paths[0])
    for hear in methods.values():
        hear(first)  # compiles and loads what is needed
    for path in paths:
        began = time.process_time()
        recording = decode(path)
        seconds["decoding"].append(time.process_time() - began)
        for name, hear in methods.items():
            began = time.process_time()
            hear(recording)
            seconds[name].append(time.process_time() - began)
    return seconds


def results(report: dict) -> str:
    """Return the results page."""
    middle = {name: median(values) for name, values in report["seconds"].items()}
    lines = [
        "# How long hearing takes",
        "",
        f"{report['clips']} clips of {DURATION_S:.0f} s, stereo at {RATE:,} Hz, FLAC; processor "
        f"time of one thread, medians over clips.",
        "",
        "| | seconds per clip | x real time |",
        "|---|---:|---:|",
    ]
    lines += [f"| {name} | {s:.3f} | {DURATION_S / s:.0f} |" for name, s in middle.items()]
    needed = middle["decoding"] + middle["recsys: all descriptors and 128 log-mel bands"]
    minutes = SONGS_A_DAY * needed / CORES / 60
    lines += [
        "",
        f"Decoding, descriptors and bands of {SONGS_A_DAY:,} new songs take "
        f"{SONGS_A_DAY * needed:,.0f} core seconds: a node of {CORES} cores needs "
        f"{minutes:.1f} minutes a day for them, "
        f"{minutes / 1440:.2%} of its time, if files are read as fast as they are heard.",
        "",
        report["origin"],
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--clips", type=int, default=20)
    arguments = parser.parse_args()
    if not ONE_THREAD.items() <= os.environ.items():  # read when numpy is imported: start again
        again = [sys.executable, "-m", "benchmarks.audio", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | ONE_THREAD)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(make_clips(Path(folder), arguments.clips))
    libraries = [name for name in PEERS if importlib.util.find_spec(name)]
    report = {
        "origin": origin("numba", *libraries, load=load),
        "clips": arguments.clips,
        "seconds": seconds,
    }
    publish(results(report), arguments.out)
    if arguments.out:
        place(arguments.out, "json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

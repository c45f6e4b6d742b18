"""Audio of the demo world, made on demand: FOLDER/audio/<item_id>.flac.

Enters: a world and item ids. Leaves: mono FLAC excerpts at the items' ``audio_uri``. An excerpt
follows the truth of its item (tempo, key, mode, metre, loudness) and its place on the audible axes;
two ids of one recording sound the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from recsys.data.world.composing import Song, compose
from recsys.data.world.instruments import perform
from recsys.data.world.making import World
from recsys.data.world.truth import Truth
from recsys.errors import NotFoundError, UsageError, nearest
from recsys.progress import track

__all__ = ["excerpt", "synthesise"]

_AUDIO_STREAM = 8  # tells these random numbers from those of the rest of the world


def synthesise(
    world: World,
    item_ids: Iterable[str] | None = None,
    *,
    duration_s: float = 10.0,
    sample_rate: int = 22_050,
    workers: int = 1,
) -> list[Path]:
    """Write the excerpts that are not there yet and return the paths of all that were asked for.

    Parameters
    ----------
    world
        The world whose items are wanted.
    item_ids
        Tracks; None takes all of them. Podcasts have no audio.
    duration_s
        Length of an excerpt in seconds, at least 1.
    sample_rate
        Hz.
    workers
        Processes to share the work.

    Raises
    ------
    NotFoundError
        For an id that is no track of this world.
    """
    if duration_s < 1 or sample_rate < 8000:
        raise UsageError(f"want at least 1 s at 8,000 Hz, got {duration_s} s at {sample_rate} Hz")
    truth = world.truth
    rows = {id: row for row, id in enumerate(truth.item_ids) if truth.beats_per_bar[row] > 0}
    wanted = list(rows) if item_ids is None else list(item_ids)
    for id in wanted:
        if id not in rows:
            raise NotFoundError("track of the demo world", id, nearest(id, rows, n=3))
    folder = world.folder / "audio"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{id}.flac" for id in wanted]
    missing = [
        (rows[id], path) for id, path in zip(wanted, paths, strict=True) if not path.exists()
    ]
    write = partial(_write, world.folder, duration_s, sample_rate)
    if workers > 1 and len(missing) > workers:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            chunk = max(1, len(missing) // (8 * workers))
            list(track(pool.map(write, missing, chunksize=chunk), "audio", len(missing)))
    else:
        for job in track(missing, "audio"):
            write(job)
    return paths


def excerpt(
    truth: Truth, row: int, *, duration_s: float = 10.0, sample_rate: int = 22_050
) -> NDArray[np.float32]:
    """Return (n_samples,) float32 in [-1, 1]: the excerpt of the track in `row` of the truth."""
    rng = np.random.default_rng([truth.seed, _AUDIO_STREAM, int(truth.item_recording[row])])
    _, brightness, busyness, mood, force, sway, *_ = map(float, truth.item_taste[row])
    song = Song(
        tempo_bpm=float(truth.tempo_bpm[row]),
        key=int(truth.key[row]),
        minor=bool(truth.minor[row]),
        beats_per_bar=int(truth.beats_per_bar[row]),
        loudness_lufs=float(truth.loudness_lufs[row]),
        brightness=brightness,
        busyness=busyness,
        mood=mood,
        force=force,
        sway=sway,
    )
    return perform(song, compose(song, duration_s, rng), duration_s, sample_rate, rng)


def _write(folder: Path, duration_s: float, sample_rate: int, job: tuple[int, Path]) -> None:
    row, path = job
    samples = excerpt(_truth(folder), row, duration_s=duration_s, sample_rate=sample_rate)
    beside = path.with_suffix(f".{os.getpid()}.part")
    soundfile.write(beside, samples, sample_rate, format="FLAC", subtype="PCM_16")
    beside.replace(path)


_opened: dict[Path, Truth] = {}


def _truth(folder: Path) -> Truth:
    """Open a truth once per process."""
    if folder not in _opened:
        _opened[folder] = World.open(folder).truth
    return _opened[folder]

"""The audio model: recordings -> unit vectors of items.

Enters: the recordings at the items' `audio_uri`. Leaves: an `AudioModel`. A recording is described
by its log-mel bands pooled over time (level, spectrum, its spread, its peaks, its movement); each
feature is standardised over the catalogue, and the vectors are cut to their principal directions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys import progress
from recsys.audio.recordings import Recording, read_recording
from recsys.audio.spectrogram import log_mel, power_spectrogram
from recsys.bundle import Bundle, BundleWriter
from recsys.config import AudioConfig
from recsys.data.catalogue import Catalogue
from recsys.data.dataset import Dataset
from recsys.errors import InputError
from recsys.storage import Folder

__all__ = ["AudioModel", "build_audio", "pool"]

_REASONS_SHOWN = 5
_QUIET_DB = 80.0


@dataclass(frozen=True)
class AudioModel:
    """What items sound like."""

    item_vectors: NDArray[np.float32]
    """(n_items, d) unit rows; a zero row where there is no recording that can be read."""

    def write(self, writer: BundleWriter) -> None:
        """Store every array under ``audio/``."""
        writer.add("audio/item_vectors", self.item_vectors)

    @classmethod
    def read(cls, bundle: Bundle) -> AudioModel:
        """Read what `write` stored; arrays stay memory-mapped."""
        return cls(bundle.array("audio/item_vectors"))


def build_audio(dataset: Dataset, catalogue: Catalogue, config: AudioConfig) -> AudioModel | None:
    """Describe items by their recordings; None where no recording can be read.

    A recording that cannot be read is noted with its reason and leaves its item without a vector.
    """
    listed = dataset.read("items", ["item_id", "audio_uri"])
    listed = listed.filter(pc.is_valid(listed["audio_uri"]))
    if not listed.num_rows:
        return None
    rows = catalogue.items.rows(listed["item_id"])
    uris = listed["audio_uri"].to_pylist()
    features: dict[int, NDArray[np.float32]] = {}
    reasons: list[str] = []
    for row, heard in zip(rows.tolist(), _hear_all(dataset.folder, uris, config), strict=True):
        if isinstance(heard, str):
            reasons.append(heard)
        else:
            features[row] = heard
    _note_failures(reasons, len(uris))
    if not features:
        return None
    heard_rows = np.array(sorted(features))
    vectors = standardise(np.stack([features[row] for row in heard_rows]), config.dimensions)
    item_vectors = np.zeros((len(catalogue.items), vectors.shape[1]), np.float32)
    item_vectors[heard_rows] = vectors
    return AudioModel(item_vectors)


def _note_failures(reasons: list[str], n_recordings: int) -> None:
    """Say how many recordings are absent, and which of the others cannot be read and why."""
    damaged = [reason for reason in reasons if not reason.endswith("no such file")]
    if absent := len(reasons) - len(damaged):
        progress.note(f"audio: {absent:,} of {n_recordings:,} recordings are not on disk")
    if damaged:
        progress.note(f"audio: {len(damaged):,} recordings cannot be read:")
    for reason in damaged[:_REASONS_SHOWN]:
        progress.note(f"  {reason}")
    if len(damaged) > _REASONS_SHOWN:
        progress.note(f"  and {len(damaged) - _REASONS_SHOWN:,} more")


def pool(bands_db: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (4 * n_mels + 2,) float32 features of (n_frames, n_mels) log-mel bands.

    Level and its spread over time; then per band, relative to the level: mean, standard
    deviation, 95th percentile, and mean absolute change from frame to frame.
    """
    # Digital silence between sounds would otherwise rule every mean.
    bands_db = np.maximum(bands_db, bands_db.max() - _QUIET_DB)
    level = bands_db.mean(axis=1)  # (n_frames,)
    mean = bands_db.mean(axis=0)  # (n_mels,)
    overall = mean.mean()
    change = np.abs(np.diff(bands_db, axis=0)).mean(axis=0) if len(bands_db) > 1 else 0 * mean
    return np.concatenate(
        [
            [overall, level.std()],
            mean - overall,
            bands_db.std(axis=0),
            np.quantile(bands_db, 0.95, axis=0) - overall,
            change,
        ]
    ).astype(np.float32)


def standardise(features: NDArray[np.float32], d: int) -> NDArray[np.float32]:
    """Return (n, min(d, n_features)) unit rows: z-scores on their principal directions.

    The sign of each direction is such that its largest entry is positive.
    """
    spread = features.std(axis=0)
    # A feature that is the same for all, but for rounding, tells nothing.
    telling = spread > 1e-4 * (1 + np.abs(features).max(axis=0))
    centred = features - features.mean(axis=0)
    scores = np.divide(centred, spread, out=np.zeros_like(features), where=telling)
    _, directions = np.linalg.eigh(scores.astype(float).T @ scores)  # ascending
    directions = directions[:, ::-1][:, :d]
    largest = np.abs(directions).argmax(axis=0)[None]
    directions = directions * np.sign(np.take_along_axis(directions, largest, axis=0))
    vectors = (scores @ directions).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.zeros(vectors.shape, np.float32)
    np.divide(vectors, lengths, out=unit, where=lengths > 1e-6)
    return unit


def _hear_all(
    folder: Folder, uris: list[str], config: AudioConfig
) -> Iterator[NDArray[np.float32] | str]:
    """Yield the features of each recording, or why there are none, in the order of `uris`."""
    # Decoding and Fourier transforms release the interpreter, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        heard = threads.map(partial(_hear, folder, config), uris)
        yield from progress.track(heard, "audio: recordings", len(uris))


def _hear(folder: Folder, config: AudioConfig, uri: str) -> NDArray[np.float32] | str:
    """Return the features of one recording, or why there are none."""
    try:
        recording = _read(folder, config, uri)
    except InputError as error:
        return str(error)
    except OSError as error:
        return f"{uri}: {error}"
    power = power_spectrogram(recording.samples)
    return pool(log_mel(power, sample_rate=config.sample_rate, n_mels=config.n_mels))


def _read(folder: Folder, config: AudioConfig, uri: str) -> Recording:
    """Read a recording at an address, at an absolute path, or at a path inside `folder`."""
    read = partial(
        read_recording, sample_rate=config.sample_rate, max_duration_s=config.max_duration_s
    )
    remote = "://" in uri
    if not remote and (folder.is_local or Path(uri).is_absolute()):
        return read(Path(folder.root) / uri)
    parent, _, name = uri.rpartition("/") if remote else ("", "", uri)
    place = Folder(parent) if remote else folder
    with place.filesystem.open_input_file(place.locate(name)) as stream:
        return read(stream, name=uri)

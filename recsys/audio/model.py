"""The audio model: recordings -> unit vectors and descriptors of items.

Enters: what was heard of the items' recordings. Leaves: an `AudioModel`. A recording is described
by its log-mel bands pooled over time (level, spectrum, its spread, its peaks, its movement); each
feature is standardised over the catalogue, and the vectors are cut to their principal directions.
Where networks have learned to hear by whom an item would be played, that is joined to them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys.audio.described import ItemDescriptors
from recsys.audio.listening import Heard
from recsys.bundle import Bundle, BundleWriter
from recsys.config import AudioConfig
from recsys.data.catalogue import Catalogue

__all__ = ["AudioModel", "build_audio", "pool"]

_QUIET_DB = 80.0


@dataclass(frozen=True)
class AudioModel:
    """What items sound like."""

    item_vectors: NDArray[np.float32]
    """(n_items, d) unit rows; a zero row where there is no recording that can be read."""
    descriptors: ItemDescriptors | None = None
    """What was heard; None in versions made before descriptors were kept."""
    networks: NDArray[np.uint8] | None = None
    """The networks that hear where an item lies in the collaborative space, as one safetensors
    file (`recsys.audio.answers.unpacked` opens it); None where none was trained."""

    def joined(self, said: NDArray[np.float32], networks: NDArray[np.uint8]) -> AudioModel:
        """Return the model whose vectors also hold where `networks` hear the items.

        `said` (n_items, f) are the directions that they predict, zero rows where there is no
        recording. Half of a vector is what the item sounds like, half by whom it would be played.
        """
        heard = np.any(said, axis=1)
        apart = np.where(heard[:, None], said - said[heard].mean(axis=0), 0)
        vectors = np.concatenate([self.item_vectors, _unit(apart)], axis=1)
        return replace(self, item_vectors=_unit(vectors), networks=networks)

    def write(self, writer: BundleWriter) -> None:
        """Store every array under ``audio/`` and ``descriptors/``."""
        writer.add("audio/item_vectors", self.item_vectors)
        if self.descriptors is not None:
            self.descriptors.write(writer)
        if self.networks is not None:
            writer.add("audio/networks", self.networks)

    @classmethod
    def read(cls, bundle: Bundle) -> AudioModel:
        """Read what `write` stored; arrays stay memory-mapped."""
        described = ItemDescriptors.read(bundle) if "descriptors/key" in bundle else None
        networks = bundle.array("audio/networks") if "audio/networks" in bundle else None
        return cls(bundle.array("audio/item_vectors"), described, networks)


def build_audio(
    items: Mapping[str, Heard], catalogue: Catalogue, config: AudioConfig
) -> AudioModel | None:
    """Describe items, by id, by what was heard of them; None where nothing was."""
    if not items:
        return None
    rows = catalogue.items.rows(list(items))
    heard = dict(zip(rows.tolist(), items.values(), strict=True))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        features = np.stack(list(threads.map(pool, (one.bands for one in heard.values()))))
    vectors = standardise(features, config.dimensions)
    item_vectors = np.zeros((len(catalogue.items), vectors.shape[1]), np.float32)
    item_vectors[rows] = vectors
    described = {row: one.descriptors for row, one in heard.items()}
    return AudioModel(item_vectors, ItemDescriptors.of_rows(described, len(catalogue.items)))


def pool(bands_db: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return (4 * n_mels + 2,) float32 features of (n_frames, n_mels) log-mel bands.

    Level and its spread over time; then per band, relative to the level: mean, standard
    deviation, 95th percentile, and mean absolute change from frame to frame.
    """
    bands_db = bands_db.astype(np.float32)
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
    return _unit(vectors)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return rows of length 1; zero rows stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.zeros(rows.shape, np.float32)
    np.divide(rows, lengths, out=unit, where=lengths > 1e-6, casting="same_kind")
    return unit

"""The text model: documents -> unit vectors of artists and items, and the terms behind them.

Enters: a dataset's documents. Leaves: a `TextModel`. The sparse cultural vectors are projected on
their leading right singular vectors (latent semantic analysis, Deerwester et al. 1990; found by a
randomised range finder, Halko, Martinsson, Tropp 2011), so that retrieval sees short dense rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys import progress
from recsys.bundle import Bundle, BundleWriter
from recsys.config import TextConfig
from recsys.data.arrays import read_csr, write_csr
from recsys.data.catalogue import Catalogue
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.text.cultural import count, weigh
from recsys.text.documents import Document, read_documents
from recsys.text.terms import count_terms

__all__ = ["TextModel", "build_text", "leading_directions"]

_OVERSAMPLING = 16
_POWER_ITERATIONS = 3


@dataclass(frozen=True)
class TextModel:
    """What is said about artists and items."""

    item_vectors: NDArray[np.float32]
    """(n_items, d) unit rows; a zero row where nothing is known."""
    artist_vectors: NDArray[np.float32]
    """(n_artists, d) unit rows; a zero row where nothing is known."""
    terms: Ids
    """The vocabulary."""
    artist_terms: csr_array
    """(n_artists, n_terms) float32 weights; the words of an artist's own name are left out."""

    def top_terms(self, artist: int, k: int) -> list[tuple[str, float]]:
        """Return the `k` weightiest terms of an artist row with their weights, best first."""
        start, end = self.artist_terms.indptr[artist : artist + 2]
        weights = self.artist_terms.data[start:end]
        columns = self.artist_terms.indices[start:end]
        best = np.argsort(-weights, kind="stable")[:k]
        return [(self.terms[int(columns[b])], float(weights[b])) for b in best]

    def shared_terms(self, artist: int, other: int, k: int) -> list[tuple[str, float]]:
        """Return the `k` terms that make two artist rows similar, with their share of the cosine.

        The shares of all terms add up to the cosine of the two rows of `artist_terms`.
        """
        matrix = self.artist_terms
        one, two = (slice(*matrix.indptr[row : row + 2]) for row in (artist, other))
        # Slices by hand: scipy's row selection costs a hundred times as much.
        both, here, there = np.intersect1d(
            matrix.indices[one], matrix.indices[two], assume_unique=True, return_indices=True
        )
        shares = matrix.data[one][here] * matrix.data[two][there]
        best = np.argsort(-shares, kind="stable")[:k]
        return [(self.terms[int(both[b])], float(shares[b])) for b in best]

    def write(self, writer: BundleWriter) -> None:
        """Store every array under ``text/``."""
        writer.add("text/item_vectors", self.item_vectors)
        writer.add("text/artist_vectors", self.artist_vectors)
        writer.add_ids("text/terms", self.terms)
        write_csr(writer, "text/artist_terms", self.artist_terms)

    @classmethod
    def read(cls, bundle: Bundle) -> TextModel:
        """Read what `write` stored; arrays stay memory-mapped."""
        return cls(
            bundle.array("text/item_vectors"),
            bundle.array("text/artist_vectors"),
            bundle.ids("text/terms", kind="term"),
            read_csr(bundle, "text/artist_terms"),
        )


def build_text(dataset: Dataset, catalogue: Catalogue, config: TextConfig) -> TextModel | None:
    """Describe artists and items by the documents of `dataset`; None where none is about them."""
    if not dataset.count("documents"):
        return None

    def read() -> Iterator[Document]:
        return read_documents(dataset, catalogue)

    n_artists, n_items = len(catalogue.artists), len(catalogue.items)
    said = count(read, config, n_artists=n_artists, n_items=n_items)
    if not said.counts.nnz:
        progress.note(
            "text: no document says anything in common about a known artist or item; left out"
        )
        return None
    weights = weigh(said.counts, n_artists=n_artists)
    vectors = _unit(weights @ leading_directions(weights, config.dimensions).T)
    artist_vectors, own = vectors[:n_artists], vectors[n_artists:]
    item_vectors = _lean(
        own, said.voices[n_artists:], artist_vectors, catalogue.item_artist, config
    )
    artist_terms = _without_own_names(weights[:n_artists], said.terms, catalogue)
    return TextModel(item_vectors, artist_vectors, said.terms, artist_terms)


def leading_directions(rows: csr_array, d: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Return (min(d, rank bound), n_terms) the leading right singular vectors of `rows`.

    The sign of each is such that its largest entry is positive, so equal input gives equal output.
    """
    rows = rows[np.diff(rows.indptr) > 0]
    d = min(d, *rows.shape)
    width = min(d + _OVERSAMPLING, *rows.shape)
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rows @ rng.standard_normal((rows.shape[1], width), np.float32))
    for _ in range(_POWER_ITERATIONS):
        basis, _ = np.linalg.qr(rows @ (rows.T @ basis))
    _, _, directions = np.linalg.svd((rows.T @ basis).T, full_matrices=False)
    directions = directions[:d]
    largest = np.abs(directions).argmax(axis=1)[:, None]
    sign = np.sign(np.take_along_axis(directions, largest, axis=1))
    return np.asarray(directions * sign, np.float32)


def _lean(
    own: NDArray[np.float32],
    voices: NDArray[np.float32],
    artist_vectors: NDArray[np.float32],
    item_artist: NDArray[np.int32],
    config: TextConfig,
) -> NDArray[np.float32]:
    """Return (n_items, d) unit rows: an item's own vector, leaning on its artist's.

    v / (v + lean) is the share of its own v voices, as in an estimate with `lean` prior voices.
    """
    trust = (voices / (voices + config.lean) if config.lean else voices > 0)[:, None]
    artists = np.where(item_artist[:, None] >= 0, artist_vectors[item_artist], 0)
    return _unit(trust * own + (1 - trust) * artists)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n, d) float32 rows of unit length; rows of no length become zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # What the projection lost altogether is rounding noise, not a direction.
    unit = np.zeros(rows.shape, np.float32)
    np.divide(rows, lengths, out=unit, where=lengths > 1e-6)
    return unit


def _without_own_names(weights: csr_array, terms: Ids, catalogue: Catalogue) -> csr_array:
    """Return `weights` without the terms that only repeat an artist's own name."""
    kept = weights.copy()
    for artist in np.flatnonzero(np.diff(kept.indptr)):
        own = count_terms(catalogue.artist_names[int(artist)] or "")
        columns = [row for term in own if (row := terms.row(term)) >= 0]
        span = slice(kept.indptr[artist], kept.indptr[artist + 1])
        kept.data[span][np.isin(kept.indices[span], columns)] = 0
    kept.eliminate_zeros()
    return kept

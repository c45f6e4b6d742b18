"""The text model: documents -> unit vectors of artists and items, and the terms behind them.

Enters: a dataset's documents. Leaves: a `TextModel`. It is made in four steps:

1. Terms of each type, and embedded passages, are unit rows; the likeness of two artists is the
   weighted mean of their cosines, so each part is scaled by the root of its weight.
2. Terms are projected on their leading right singular vectors (latent semantic analysis, Deerwester
   et al. 1990; found by a randomised range finder, Halko, Martinsson, Tropp 2011), passages join
   them, and both are turned to their leading axes: short dense rows for retrieval.
3. Artists who are named beside each other describe each other: with B = M + M', M the voices about
   one artist that name the other, V the diagonal of the voices about each, and s = `own_voices`,
   rows X become D^-1/2 (B + s V) D^-1/2 X, D the row sums of B + s V. This is one step of a graph
   convolution with renormalisation (T. Kipf, M. Welling, ICLR 2017): one artist whom everybody
   names says little of each. What a document says weighs as much as s names in it, however many
   documents there are.
4. An item leans on its artist where little is said of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from recsys import progress
from recsys.backend import Backend
from recsys.bundle import Bundle, BundleWriter
from recsys.config import TextConfig
from recsys.data.arrays import read_csr, write_csr
from recsys.data.catalogue import Catalogue
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.storage import Folder
from recsys.text.cultural import Said, columns_of, count, normalise, weigh
from recsys.text.foremost import each_once, foremost, most_shared
from recsys.text.reading import Readings
from recsys.text.sentences import Sentences
from recsys.text.terms import KINDS, split

__all__ = ["TextModel", "build_text", "leading_directions"]

_OVERSAMPLING = 16
_POWER_ITERATIONS = 3
_READABLE = ("np", "adj")
"""Types that name a quality by themselves; words and pairs are torn from their sentences."""


@dataclass(frozen=True)
class TextModel:
    """What is said about artists and items."""

    item_vectors: NDArray[np.float32]
    """(n_items, d) unit rows; a zero row where nothing is known."""
    artist_vectors: NDArray[np.float32]
    """(n_artists, d) unit rows; a zero row where nothing is known."""
    terms: Ids
    """The vocabulary, ``kind<tab>term``."""
    artist_terms: csr_array
    """(n_artists, n_terms) float32 weights, of unit length for each type; the words of an artist's
    own name are left out."""
    beside: csr_array
    """(n_artists, n_artists) float32 unit rows: how much an artist is discussed alongside the
    row's, in documents about either; common companions count less."""
    item_terms: csr_array | None = None
    """(n_items, n_terms) float32 weights of what is said of the item itself, of unit length for
    each type; the words of its title and its artist's name are left out. None: not kept."""
    item_trust: NDArray[np.float32] | None = None
    """(n_items,) how far an item stands by itself, 0 to 1; the rest leans on its artist."""

    def top_terms(
        self, artist: int, k: int, *, kinds: tuple[str, ...] = KINDS
    ) -> list[tuple[str, float]]:
        """Return the `k` weightiest terms of an artist row with their weights, best first.

        A term of several types is listed once, with its largest weight.
        """
        return foremost(self.terms, _row(self.artist_terms, artist).items(), k, kinds)

    def top_terms_of_item(self, item: int, artist: int, k: int) -> list[tuple[str, float]]:
        """Return the `k` weightiest terms of an item row, whose artist row (or -1) is `artist`.

        Little is said of most songs; so they lean on what is said of the artist, as their vectors.
        """
        found, trust = dict[int, float](), 0.0
        if self.item_terms is not None and self.item_trust is not None:
            trust = float(np.nan_to_num(self.item_trust[item]))
            found = {column: trust * w for column, w in _row(self.item_terms, item).items()}
        if artist >= 0:
            for column, weight in _row(self.artist_terms, artist).items():
                found[column] = found.get(column, 0.0) + (1 - trust) * weight
        told = [(column, weight) for column, weight in found.items() if weight > 0]
        return foremost(self.terms, told, k, KINDS)

    def terms_of_many(self, weights: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """Return the `k` terms said most of artists that count by `weights` (n_artists,).

        These are noun phrases and adjectives; where there are none, words and pairs.
        """
        said = self.artist_terms.T @ weights
        found = [(int(column), float(said[column])) for column in np.flatnonzero(said > 0)]
        return foremost(self.terms, found, k, _READABLE) or foremost(self.terms, found, k, KINDS)

    def table(self, artist: int, k: int) -> dict[str, list[tuple[str, float]]]:
        """Return the `k` weightiest terms of each of n2, np, adj and n1."""
        return {
            kind: self.top_terms(artist, k, kinds=(kind,)) for kind in ("n2", "np", "adj", "n1")
        }

    def companions(self, artist: int, k: int) -> list[tuple[int, float]]:
        """Return the `k` artist rows most discussed alongside an artist row, with scores."""
        start, end = self.beside.indptr[artist : artist + 2]
        rows, scores = self.beside.indices[start:end], self.beside.data[start:end]
        best = np.argsort(-scores, kind="stable")[:k]
        return [(int(rows[b]), float(scores[b])) for b in best]

    def shared_terms(self, artist: int, other: int, k: int) -> Iterator[tuple[str, float]]:
        """Yield the `k` terms that make two artist rows similar, with their share of the cosine.

        These are noun phrases and adjectives; where they share none, words and pairs.
        """
        said = self.artist_terms
        # A term of several types may stand there once for each.
        columns, shares = np.empty(len(KINDS) * k, np.int32), np.empty(len(KINDS) * k, np.float32)
        for kinds, spans in self._spans.items():
            n = most_shared(
                said.indptr, said.indices, said.data, artist, other, spans, columns, shares
            )
            if n:
                found = zip(columns[:n].tolist(), shares[:n].tolist(), strict=True)
                yield from islice(each_once(self.terms, found, kinds), k)
                return

    @cached_property
    def _spans(self) -> dict[tuple[str, ...], NDArray[np.int64]]:
        """(n_types, 2) where the columns of each type begin and end: the vocabulary is sorted."""
        ends = ("\t", chr(ord("\t") + 1))
        return {
            kinds: np.array(
                [[bisect_left(self.terms, kind + end) for end in ends] for kind in kinds]
            )
            for kinds in (_READABLE, KINDS)
        }

    def write(self, writer: BundleWriter) -> None:
        """Store every array under ``text/``."""
        writer.add("text/item_vectors", self.item_vectors)
        writer.add("text/artist_vectors", self.artist_vectors)
        writer.add_ids("text/terms", self.terms)
        write_csr(writer, "text/artist_terms", self.artist_terms)
        write_csr(writer, "text/beside", self.beside)
        if self.item_terms is not None and self.item_trust is not None:
            write_csr(writer, "text/item_terms", self.item_terms)
            writer.add("text/item_trust", self.item_trust)

    @classmethod
    def read(cls, bundle: Bundle) -> TextModel:
        """Read what `write` stored; arrays stay memory-mapped."""
        kept = "text/item_trust" in bundle  # not so in versions made before it was
        return cls(
            bundle.array("text/item_vectors"),
            bundle.array("text/artist_vectors"),
            bundle.ids("text/terms", kind="term"),
            read_csr(bundle, "text/artist_terms"),
            read_csr(bundle, "text/beside"),
            read_csr(bundle, "text/item_terms") if kept else None,
            bundle.array("text/item_trust") if kept else None,
        )


def build_text(
    dataset: Dataset, catalogue: Catalogue, config: TextConfig, backend: Backend | None = None
) -> TextModel | None:
    """Describe artists and items by the documents of `dataset`; None where none is about them.

    Parameters
    ----------
    backend
        Whose workers embed passages; default: this process.

    Raises
    ------
    InputError
        Where the encoder is not on this machine, and where readings cannot be kept.
    """
    if not dataset.count("documents"):
        return None
    encode = None
    if config.sentences:
        kept = Folder(config.readings) if config.readings else dataset.folder
        encode = Sentences(config.encoder, kept, backend)
    n_artists, n_items = len(catalogue.artists), len(catalogue.items)
    pages = Readings(dataset, catalogue, config)
    said = count(pages, config, n_artists=n_artists, n_items=n_items, encode=encode)
    if not said.counts.nnz:
        progress.note(
            "text: no document says anything in common about a known artist or item; left out"
        )
        return None
    weights = weigh(said, n_artists=n_artists, weighting=config.weighting)
    vectors = _joined(weights, said, n_artists, config)
    own = config.own_voices * said.voices[:n_artists]
    artist_vectors = described_together(vectors[:n_artists], said.beside, own)
    trust = _trust(said.voices[n_artists:], config)
    makers = [catalogue.artist_names[a] if a >= 0 else None for a in catalogue.item_artist.tolist()]
    titled = [f"{t or ''} {m or ''}" for t, m in zip(catalogue.titles, makers, strict=True)]
    return TextModel(
        _lean(vectors[n_artists:], trust, artist_vectors, catalogue.item_artist),
        artist_vectors,
        said.terms,
        _without_own_names(weights[:n_artists], said.terms, catalogue.artist_names),
        _companions(said.beside),
        _without_own_names(weights[n_artists:], said.terms, titled),
        trust,
    )


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
    return _signed(directions[:d])


def described_together(
    vectors: NDArray[np.float32], beside: csr_array, own: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (n_artists, d) unit rows, each drawn to those who are named beside it.

    `own` (n_artists,) is the weight of each artist's own row; all zeros leave the rows alone.
    """
    if not own.any() or not beside.nnz:
        return vectors
    graph = beside + beside.T + diags_array(own)
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = diags_array(np.divide(1, np.sqrt(degree), out=0 * degree, where=degree > 0))
    return _unit(np.asarray(scale @ graph @ scale @ vectors, np.float32))


def _joined(
    weights: csr_array, said: Said, n_artists: int, config: TextConfig
) -> NDArray[np.float32]:
    """Return (n_entities, at most `dimensions`) unit rows of terms and passages together."""
    scaled = weights.copy()
    for kind in KINDS:
        columns = columns_of(said.terms, kind)
        ours = (scaled.indices >= columns.start) & (scaled.indices < columns.stop)
        scaled.data[ours] *= np.sqrt(getattr(config, kind))
    scaled = normalise(scaled)
    vectors = np.asarray(scaled @ leading_directions(scaled, config.dimensions).T, np.float32)
    if not said.passages.shape[1]:
        return _unit(vectors)
    # What all passages have in common (that they are about music) tells nobody apart.
    passages = _unit(said.passages)
    spoken_of = passages[:n_artists].any(axis=1)
    common = passages[:n_artists][spoken_of].mean(axis=0) if spoken_of.any() else 0.0
    centred = _unit(np.where(passages.any(axis=1, keepdims=True), passages - common, 0))
    of_terms = config.n1 + config.n2 + config.np + config.adj
    share = np.sqrt(config.sentences / of_terms) if of_terms else 1.0
    both = np.concatenate([vectors, np.float32(share) * centred], axis=1)
    _, axes = np.linalg.eigh((both.T @ both).astype(np.float64))
    return _unit(both @ _signed(axes[:, ::-1].T[: config.dimensions]).T)


def _signed(directions: NDArray[np.floating]) -> NDArray[np.float32]:
    largest = np.abs(directions).argmax(axis=1)[:, None]
    return np.asarray(
        directions * np.sign(np.take_along_axis(directions, largest, axis=1)), np.float32
    )


def _trust(voices: NDArray[np.float32], config: TextConfig) -> NDArray[np.float32]:
    """Return (n_items,) v / (v + lean), as in an estimate from v voices and `lean` prior ones."""
    trust = voices / (voices + config.lean) if config.lean else voices > 0
    return np.asarray(trust, np.float32)


def _lean(
    own: NDArray[np.float32],
    trust: NDArray[np.float32],
    artist_vectors: NDArray[np.float32],
    item_artist: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Return (n_items, d) unit rows: an item's own vector, leaning on its artist's."""
    artists = np.where(item_artist[:, None] >= 0, artist_vectors[item_artist], 0)
    return _unit(trust[:, None] * own + (1 - trust[:, None]) * artists)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return (n, d) float32 rows of unit length; rows of no length become zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # What the projection lost altogether is rounding noise, not a direction.
    unit = np.zeros(rows.shape, np.float32)
    np.divide(rows, lengths, out=unit, where=lengths > 1e-6)
    return unit


def _companions(beside: csr_array) -> csr_array:
    """Return (n_artists, n_artists) unit rows of ln(1 + voices) idf over both directions."""
    both = csr_array(beside + beside.T)
    n_companions = np.diff(both.indptr)
    idf = np.log((1 + np.count_nonzero(n_companions)) / (1 + n_companions)) + 1
    both.data = (np.log1p(both.data) * idf[both.indices]).astype(np.float32)
    both.sort_indices()
    return normalise(both)


def _without_own_names(weights: csr_array, terms: Ids, names: Sequence[str | None]) -> csr_array:
    """Return `weights` without the terms that hold a word of the row's own name."""
    holding: defaultdict[str, list[int]] = defaultdict(list)
    for column, term in enumerate(terms):
        for word in term.split("\t", 1)[1].split(" "):
            holding[word].append(column)
    kept = weights.copy()
    for row in np.flatnonzero(np.diff(kept.indptr)).tolist():
        own = {word.casefold() for sentence in split(names[row] or "") for word in sentence}
        columns = [column for word in own for column in holding.get(word, ())]
        span = slice(kept.indptr[row], kept.indptr[row + 1])
        kept.data[span][np.isin(kept.indices[span], columns)] = 0
    kept.eliminate_zeros()
    return kept


def _row(matrix: csr_array, row: int) -> dict[int, float]:
    """Return one row's entries by column; by hand, as scipy takes far longer."""
    span = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return dict(zip(matrix.indices[span].tolist(), matrix.data[span].tolist(), strict=True))

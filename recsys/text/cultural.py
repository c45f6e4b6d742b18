"""Documents -> weighted term vectors: how the world describes each artist and item.

Enters: a stream of documents, each about some artists and items. Leaves: one sparse row of term
weights per artist and per item (here both are called entities: artists first, then items).

The weight of term t for entity e is ``ln(1 + tf(e, t)) * idf(t)``. A document says a term with the
strength 1 + ln(min(n, 4)) of its n uses, shared among the entities it is about. One host is one
voice: its documents about an entity are averaged, so a site that repeats itself counts once. tf is
the sum over voices. idf is smoothed and counts artists, not pages: ln((1 + N) / (1 + df)) + 1.
The idea of such vectors is Whitman and Lawrence's (Inferring Descriptions and Similarity for Music
from Community Metadata, ICMC 2002).

Documents are read twice (vocabulary, then counts) and never held: memory is bounded by the
vocabulary, one batch of documents, and the resulting rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from recsys import progress
from recsys.config import TextConfig
from recsys.data.identity import Ids
from recsys.text.documents import Document
from recsys.text.terms import count_terms

__all__ = ["CulturalVectors", "count", "normalise", "weigh"]

_BATCH = 4096
_REPEATS_HEARD = 4
_PRUNE_FACTOR = 20


@dataclass(frozen=True)
class CulturalVectors:
    """What is said of each entity."""

    terms: Ids
    """The vocabulary; a term's row is its column in `counts`."""
    counts: csr_array
    """(n_entities, n_terms) float32 tf: the sum over voices of how strongly each says the term."""
    voices: NDArray[np.float32]
    """(n_entities,) independent voices heard about each entity."""


@dataclass(frozen=True)
class _Attribution:
    """Which document speaks about which entity, and with what share of a voice."""

    entity: NDArray[np.int64]
    document: NDArray[np.int64]
    share: NDArray[np.float32]
    voice: NDArray[np.float32]


def count(
    read: Callable[[], Iterable[Document]], config: TextConfig, *, n_artists: int, n_items: int
) -> CulturalVectors:
    """Count what is said of whom.

    Parameters
    ----------
    read
        Opens the stream of documents; it is called twice and must give the same stream.
    """
    terms, about = _survey(read(), config, n_artists)
    n_entities = n_artists + n_items
    n_documents = int(about.document.max(initial=-1)) + 1
    shares = csr_array(
        (about.share, (about.entity, about.document)), shape=(n_entities, n_documents)
    ).tocsc()
    counts: Any = csr_array((n_entities, len(terms)), dtype=np.float32)
    start = 0
    for said in _said(read(), terms):
        counts = counts + shares[:, start : start + said.shape[0]] @ said
        start += said.shape[0]
    counts.sort_indices()
    voices = np.bincount(about.entity, about.voice, minlength=n_entities)
    return CulturalVectors(terms, counts, voices.astype(np.float32))


def weigh(counts: csr_array, *, n_artists: int) -> csr_array:
    """Return (n_entities, n_terms) float32 term weights, each row of unit length or empty."""
    spoken_of = np.diff(counts.indptr) > 0
    # A page about a song is also one about its artist, so artists alone say how common a term is.
    judges = counts[:n_artists] if spoken_of[:n_artists].any() else counts
    df = np.bincount(judges.indices, minlength=counts.shape[1])
    n_judges = np.count_nonzero(np.diff(judges.indptr))
    idf = np.log((1 + n_judges) / (1 + df)) + 1
    weights = counts.copy()
    weights.data = (np.log1p(counts.data) * idf[counts.indices]).astype(np.float32)
    return normalise(weights)


def normalise(rows: csr_array) -> csr_array:
    """Return the rows scaled to unit length; empty rows stay empty."""
    lengths = np.sqrt(np.bincount(_row_of(rows), rows.data.astype(float) ** 2, rows.shape[0]))
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    scaled = rows.copy()
    scaled.data = (rows.data * scale[_row_of(rows)]).astype(np.float32)
    return scaled


def _row_of(rows: csr_array) -> NDArray[np.int64]:
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))


def _survey(
    documents: Iterable[Document], config: TextConfig, n_artists: int
) -> tuple[Ids, _Attribution]:
    """Read all documents once: choose the vocabulary and note who is spoken of by whom."""
    df: Counter[str] = Counter()
    hosts: dict[str, int] = {}
    entity: list[int] = []
    document: list[int] = []
    share: list[float] = []
    host: list[int] = []
    floor = 1
    for number, page in enumerate(progress.track(documents, "text: vocabulary")):
        df.update(count_terms(page.text).keys())
        if len(df) > _PRUNE_FACTOR * config.max_terms:
            # Lossy counting (Manku and Motwani 2002): only ever-rare terms can be undercounted.
            df = Counter({term: n for term, n in df.items() if n > floor})
            floor += 1
        # A document without a host is a voice of its own: a number that no host has.
        code = hosts.setdefault(page.host, len(hosts)) if page.host else -1 - number
        for rows, offset in ((page.artists, 0), (page.items, n_artists)):
            entity += [offset + row for row in rows]
            document += [number] * len(rows)
            share += [1 / max(len(rows), 1)] * len(rows)
            host += [code] * len(rows)
    frequent = (item for item in df.items() if item[1] >= config.min_documents)
    kept = sorted(frequent, key=lambda item: (-item[1], item[0]))[: config.max_terms]
    terms = Ids.from_strings([term for term, _ in kept], kind="term")
    pairs = np.array([entity, host], np.int64).reshape(2, -1)
    _, voice, pages = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    per_page = (1 / pages[voice]).astype(np.float32)
    shares = np.array(share, np.float32)
    return terms, _Attribution(
        np.array(entity, np.int64), np.array(document, np.int64), shares * per_page, per_page
    )


def _said(documents: Iterable[Document], terms: Ids) -> Iterator[csr_array]:
    """Yield (up to 4096, n_terms) float32 blocks: how strongly each document says each term."""
    column = {term: number for number, term in enumerate(terms)}
    rows: list[int] = []
    columns: list[int] = []
    uses: list[int] = []
    n_rows = 0

    def block() -> csr_array:
        strength = 1 + np.log(np.minimum(np.array(uses, np.float32), _REPEATS_HEARD))
        return coo_array((strength, (rows, columns)), shape=(n_rows, len(terms))).tocsr()

    for page in progress.track(documents, "text: counts"):
        for term, n in count_terms(page.text).items():
            if (place := column.get(term)) is not None:
                rows.append(n_rows)
                columns.append(place)
                uses.append(n)
        n_rows += 1
        if n_rows == _BATCH:
            yield block()
            rows, columns, uses, n_rows = [], [], [], 0
    if n_rows:
        yield block()

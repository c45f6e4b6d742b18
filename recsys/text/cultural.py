"""Readings -> counts -> weighted term vectors: how the world describes each artist and item.

Enters: pages as read, each about some artists and items. Leaves: for each artist and item (here
both are called entities: artists first, then items) one sparse row of term weights, who is named
beside each artist, and the mean of the embedded passages.

A document says a term with the strength 1 + ln(min(n, 4)) of its n uses, shared among the entities
it is about; `half_life_days` after the newest document it says it half as loud. One host is one
voice: its documents about an entity are averaged, so a site that repeats itself counts once, and
what only one voice says of anybody is no term. tf is the sum over voices. The weight of a term is
by default ``ln(1 + tf) idf``, idf = ln((1 + N) / (1 + df)) + 1 over artists, not pages; the terms
of each type make a row of unit length. Two others are there to compare with: ``tf-idf`` (the same
without the logarithm), and ``gaussian``, tf exp(-(ln df - mu)^2 / 2 sigma^2), which damps the very
rare and the very common alike (B. Whitman, S. Lawrence, "Inferring descriptions and similarity for
music from community metadata", ICMC 2002; mu and sigma are those of ln df over the vocabulary).

The pages are gone through three times (who, which terms, how much) and never held. Memory: the
vocabulary, bounded by `max_terms` a type; 24 bytes for each (document, entity) pair; one batch;
and the rows that leave, at most one number for each term an entity. Ten million documents about a
million artists: 0.3 GB of pairs, and rows of some 300 terms each, 2.4 GB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from recsys import progress
from recsys.config import TextConfig
from recsys.data.catalogue import NO_TIME
from recsys.data.identity import Ids
from recsys.text.reading import Pages
from recsys.text.terms import KINDS

__all__ = ["Encoder", "Said", "columns_of", "count", "normalise", "weigh"]


class Encoder(Protocol):
    """Embeds passages; `recsys.text.sentences.Sentences` is one."""

    def keep(self, texts: Iterable[str]) -> None:
        """Embed `texts` ahead, so that asking for them costs a look-up."""

    def __call__(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Return (n, d) float32 unit rows of `texts`."""
        ...


_REPEATS_HEARD = 4
_PRUNE_FACTOR = 20
_DAY_MS = 86_400_000.0


@dataclass(frozen=True)
class Said:
    """What is said of each entity."""

    terms: Ids
    """The vocabulary, ``kind<tab>term``; a term's row is its column in `counts`."""
    counts: csr_array
    """(n_entities, n_terms) float32 tf: the sum over voices of how strongly each says the term."""
    beside: csr_array
    """(n_artists, n_artists) float32: voices about the row's artist that name the column's."""
    passages: NDArray[np.float32]
    """(n_entities, d) sum over voices of the embedded passages; d = 0 without an encoder."""
    voices: NDArray[np.float32]
    """(n_entities,) independent voices heard about each entity."""


@dataclass(frozen=True)
class _Attribution:
    """Which document speaks about which entity, and with what share of a voice."""

    shares: csc_array
    """(n_entities, n_documents) float32."""
    voices: NDArray[np.float32]
    """(n_entities,)"""
    support: NDArray[np.float32]
    """(n_documents,) what a document adds to the voices that say its terms."""
    embedded: NDArray[np.bool_]
    """(n_documents,) whether its passages are among those that stand for somebody."""


def count(
    pages: Iterable[Pages],
    config: TextConfig,
    *,
    n_artists: int,
    n_items: int,
    encode: Encoder | None = None,
) -> Said:
    """Count what is said of whom.

    Parameters
    ----------
    pages
        Iterated three times, and once more for passages; must give the same pages each time.
    encode
        What embeds passages; None for none.
    """
    about = _attribute(pages, config, n_artists, n_artists + n_items)
    terms = _vocabulary(pages, about.support, config)
    counts: Any = csr_array((n_artists + n_items, len(terms)), dtype=np.float32)
    beside: Any = csr_array((n_artists, n_artists), dtype=np.float32)
    passages: Any = np.zeros((n_artists + n_items, 0), np.float32)
    if encode is not None:
        encode.keep(_passages(pages, about.embedded))
    for start, page in progress.track(_placed(pages), "text: counts"):
        shares = csr_array(about.shares[:, start : start + page.n])
        counts = counts + shares @ _strengths(page, terms)
        beside = beside + shares[:n_artists] @ _incidence(page.n, page.beside, n_artists)
        if encode is not None:
            wanted = about.embedded[start : start + page.n]
            vectors = shares @ _embedded(page, wanted, encode)
            passages = vectors if not passages.shape[1] else passages + vectors
    counts.sort_indices()
    beside.setdiag(0)
    beside.eliminate_zeros()
    return Said(terms, counts, beside, np.asarray(passages, np.float32), about.voices)


def weigh(
    said: Said, *, n_artists: int, weighting: Literal["log", "tf-idf", "gaussian"] = "log"
) -> csr_array:
    """Return (n_entities, n_terms) float32 weights; of unit length, or empty, for each type."""
    counts = said.counts
    spoken_of = np.diff(counts.indptr) > 0
    # A page about a song is also one about its artist, so artists alone say how common a term is.
    judges = counts[:n_artists] if spoken_of[:n_artists].any() else counts
    df = np.bincount(judges.indices, minlength=counts.shape[1])
    n_judges = np.count_nonzero(np.diff(judges.indptr))
    if weighting == "gaussian":
        logs = np.log(np.maximum(df, 1))
        telling = np.exp(-((logs - logs.mean()) ** 2) / (2 * max(logs.var(), 1e-12)))
    else:
        telling = np.log((1 + n_judges) / (1 + df)) + 1
    weights = counts.copy()
    tf = np.log1p(counts.data) if weighting == "log" else counts.data
    weights.data = (tf * telling[counts.indices]).astype(np.float32)
    return normalise(weights, _kinds(said.terms))


def columns_of(terms: Ids, kind: str) -> slice:
    """Return the columns that hold the terms of one type; they are sorted by it."""
    return slice(_first(terms, f"{kind}\t"), _first(terms, f"{kind}\n"))


def normalise(rows: csr_array, group: NDArray[np.int64] | None = None) -> csr_array:
    """Return the rows scaled to unit length, for each group of columns apart.

    Parameters
    ----------
    group
        (n_columns,) the group of each column; default: all are one.
    """
    columns = np.zeros(len(rows.data), np.int64) if group is None else group[rows.indices]
    n_groups = int(columns.max(initial=0)) + 1
    place = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)) * n_groups + columns
    lengths = np.sqrt(np.bincount(place, rows.data.astype(float) ** 2, rows.shape[0] * n_groups))
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    scaled = rows.copy()
    scaled.data = (rows.data * scale[place]).astype(np.float32)
    return scaled


def _first(terms: Ids, prefix: str) -> int:
    """Return the first row whose term is not below `prefix`."""
    low, high = 0, len(terms)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if terms[middle] < prefix else (low, middle)
    return low


def _kinds(terms: Ids) -> NDArray[np.int64]:
    group = np.zeros(len(terms), np.int64)
    for number, kind in enumerate(KINDS):
        group[columns_of(terms, kind)] = number
    return group


def _placed(pages: Iterable[Pages]) -> Iterator[tuple[int, Pages]]:
    """Yield the pages with the number of the first document of each."""
    start = 0
    for page in pages:
        yield start, page
        start += page.n


def _attribute(
    pages: Iterable[Pages], config: TextConfig, n_artists: int, n_entities: int
) -> _Attribution:
    hosts: dict[str, int] = {}
    pairs: list[Any] = [np.zeros((0, 2), np.int64)]
    voice_of: list[int] = []
    times: list[NDArray[np.int64]] = []
    for start, page in _placed(pages):
        pairs += [
            page.artists + np.array([start, 0]),
            page.items + np.array([start, n_artists]),
        ]
        # A document without a host is a voice of its own: a number that no host has.
        voice_of += [
            hosts.setdefault(host, len(hosts)) if host else -1 - start - place
            for place, host in enumerate(page.host)
        ]
        times.append(page.at_ms)
    document, entity = np.concatenate(pairs).T
    voice = np.array(voice_of, np.int64)[document]
    n_documents = len(voice_of)

    # A document about several artists shares its voice among them; likewise among items.
    side = document * 2 + (entity >= n_artists)
    n_named = np.bincount(side, minlength=2 * n_documents)[side]
    _, whose, n_pages = np.unique(
        np.stack([entity, voice]), axis=1, return_inverse=True, return_counts=True
    )
    per_page = (1 / n_pages[whose.ravel()]).astype(np.float32)
    recent = _decay(np.concatenate([*times, np.zeros(0, np.int64)]), config)[document]
    shape = (n_entities, n_documents)
    shares = csr_array((per_page * recent / n_named, (entity, document)), shape=shape).tocsc()
    support = np.zeros(n_documents, np.float32)
    np.maximum.at(support, document, per_page)
    embedded = np.zeros(n_documents, bool)
    by_artist = entity < n_artists
    embedded[_firsts(entity[by_artist], document[by_artist], config.documents_embedded)] = True
    voices = np.bincount(entity, per_page * recent, minlength=n_entities)
    return _Attribution(shares, voices.astype(np.float32), support, embedded)


def _decay(at_ms: NDArray[np.int64], config: TextConfig) -> NDArray[np.float32]:
    """Return (n,) how loud documents still are; one without a date is as the newest."""
    known = at_ms != NO_TIME
    if not config.half_life_days or not known.any():
        return np.ones(len(at_ms), np.float32)
    newest = at_ms[known].max()
    age_days = np.where(known, newest - np.where(known, at_ms, newest), 0) / _DAY_MS
    return np.exp2(-age_days / config.half_life_days).astype(np.float32)


def _firsts(entity: NDArray[np.int64], document: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the first `n` documents of each entity; all for n = 0."""
    if not n:
        return document
    order = np.lexsort((document, entity))
    starts = np.searchsorted(entity[order], entity[order])
    return document[order][np.arange(len(order)) - starts < n]


def _vocabulary(pages: Iterable[Pages], support: NDArray[np.float32], config: TextConfig) -> Ids:
    """Return the terms that enough voices say, of each type the most frequent."""
    voices: Counter[str] = Counter()
    floor = 0.0
    limit = _PRUNE_FACTOR * config.max_terms * len(KINDS)
    for start, page in progress.track(_placed(pages), "text: vocabulary"):
        terms, place = _flat(page.terms)
        known = terms.dictionary_encode()
        said = np.bincount(
            np.asarray(known.indices), support[start + place], minlength=len(known.dictionary)
        )
        for term, heard in zip(known.dictionary.to_pylist(), said.tolist(), strict=True):
            if heard:
                voices[term] += heard
        if len(voices) > limit:
            # Lossy counting (Manku and Motwani 2002): only ever-rare terms can be undercounted.
            floor += 1
            voices = Counter({term: heard for term, heard in voices.items() if heard > floor})
    kept: list[str] = []
    for kind in KINDS:
        frequent = [
            (-heard, term)
            for term, heard in voices.items()
            if heard >= config.min_voices - 1e-4 and term.startswith(f"{kind}\t")
        ]
        kept += [term for _, term in sorted(frequent)[: config.max_terms]]
    return Ids.from_strings(kept, kind="term")


def _flat(lists: pa.ListArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the entries of all lists, and the place of the list that each is of."""
    return pc.list_flatten(lists), np.asarray(pc.list_parent_indices(lists), np.int64)


def _strengths(page: Pages, terms: Ids) -> csr_array:
    """Return (n, n_terms) float32 how strongly each document says each term."""
    said, place = _flat(page.terms)
    known = said.dictionary_encode()
    column = terms.rows(known.dictionary)[np.asarray(known.indices)]
    uses = np.minimum(np.asarray(pc.list_flatten(page.uses)), _REPEATS_HEARD)
    kept = column >= 0
    strength = (1 + np.log(uses[kept].astype(np.float32))).astype(np.float32)
    return csr_array((strength, (place[kept], column[kept])), shape=(page.n, len(terms)))


def _incidence(n: int, pairs: NDArray[np.int64], n_columns: int) -> csr_array:
    ones = np.ones(len(pairs), np.float32)
    return csr_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n_columns))


def _passages(pages: Iterable[Pages], embedded: NDArray[np.bool_]) -> Iterator[str]:
    """Yield the passages of the documents that are embedded."""
    for start, page in _placed(pages):
        yield from _chosen(page, embedded[start : start + page.n])[0]


def _chosen(page: Pages, wanted: NDArray[np.bool_]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the passages of the wanted documents, and the place of the document of each."""
    texts, place = _flat(page.passages)
    chosen = wanted[place]
    return texts.filter(pa.array(chosen)).to_pylist(), place[chosen]


def _embedded(page: Pages, wanted: NDArray[np.bool_], encode: Encoder) -> NDArray[np.float32]:
    """Return (n, d) the mean of each wanted document's embedded passages; zero for the others."""
    texts, place = _chosen(page, wanted)
    vectors = encode(texts)
    n_passages = np.bincount(place, minlength=page.n)[place]
    mean = csr_array(
        ((1 / n_passages).astype(np.float32), (place, np.arange(len(vectors)))),
        shape=(page.n, len(vectors)),
    )
    return np.asarray(mean @ vectors, np.float32)

"""What listeners did with items, as matrices: evidence for and against, plays, what they know.

Enters: events and their catalogue. Leaves: `Interactions`. Evidence of user u on item i is
r = w+ - w-: w+ sums weight(kind) g(value) decay(at) over the positive events, w- does over skips
(and stars below neutral). Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback
datasets", ICDM 2008; BM25: Robertson and Walker, SIGIR 1994.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.config import InteractionsConfig
from recsys.data.arrays import ArraySink, ArraySource, read_csr, write_csr
from recsys.data.catalogue import Catalogue
from recsys.data.events import NO_TIME, Events, kind_code, read_events
from recsys.data.tables import EVENT_KINDS

__all__ = [
    "HEARD_KINDS",
    "NO_TIME",
    "Events",
    "Interactions",
    "build_interactions",
    "latest_times",
    "mean_of_totals",
    "newly_loved",
    "other_evidence",
    "read_events",
    "stream_counts",
    "transform_streams",
]

Number = TypeVar("Number", bound=np.generic)

_MS_PER_DAY = 86_400_000.0
_ARTIST_KINDS = ("artist_visit", "follow")
HEARD_KINDS = ("stream", "save", "playlist_add", "skip", "rating")
"""Kinds of event after which a listener knows an item."""
_VECTORS = ("streamed", "last_played", "counted_at")


@dataclass(frozen=True)
class Interactions:
    """User x item matrices; indices are sorted, int32."""

    evidence: csr_array
    """(n_users, n_items) float32, r = w+ - w-; no stored zeros."""
    plays: csr_array
    """(n_users, n_items) float32 stream counts above 0, neither weighted nor decayed."""
    streamed: NDArray[np.float32]
    """(plays.nnz,) the same counts as evidence has them before g: by share played, decayed."""
    last_played: NDArray[np.int64]
    """(plays.nnz,) milliseconds since 1970 of the last stream, NO_TIME where untimed."""
    ratings: csr_array
    """(n_users, n_items) float32 stars, the latest where there are several."""
    heard: csr_array
    """(n_users, n_items) int8 ones: never to be recommended. Whatever was streamed, skipped,
    saved, rated or put on a playlist, and every item of the same recording."""
    follows: csr_array
    """(n_users, n_artists) float32 ones."""
    counted_at: NDArray[np.int64]
    """(1,) milliseconds since 1970 from which decay counts back."""

    def write(self, sink: ArraySink) -> None:
        """Store every array under ``interactions/``."""
        for field in fields(self):
            value, name = getattr(self, field.name), f"interactions/{field.name}"
            if isinstance(value, np.ndarray):
                sink.add(name, value)
            else:
                write_csr(sink, name, value)

    @classmethod
    def read(cls, source: ArraySource) -> Interactions:
        """Read what `write` stored; arrays stay memory-mapped."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            name = f"interactions/{field.name}"
            is_vector = field.name in _VECTORS
            values[field.name] = source.array(name) if is_vector else read_csr(source, name)
        return cls(**values)


def build_interactions(
    events: Events,
    catalogue: Catalogue,
    config: InteractionsConfig,
    *,
    now_ms: int | None = None,
    mean_total: float | None = None,
) -> Interactions:
    """Sum `events` into matrices.

    Parameters
    ----------
    events
        In order of time.
    catalogue
        Whose rows the events name.
    config
        Weights, transform and decay.
    now_ms
        Milliseconds since 1970 from which decay counts back; by default the latest event.
    mean_total
        Of `transform_streams`, where `events` are only some listeners'.
    """
    n_users, n_items, n_artists = catalogue.n_users, catalogue.n_items, catalogue.n_artists
    on_item = events.item >= 0
    streams = events.take(on_item & events.of_kind("stream") & (events.value > 0))
    ratings = events.take(on_item & events.of_kind("rating"))
    follows = events.take((events.artist >= 0) & events.of_kind("follow"))
    played = _Pairs(streams.user, streams.item, (n_users, n_items))
    rated = _Pairs(ratings.user, ratings.item, (n_users, n_items))
    followed = _Pairs(follows.user, follows.artist, (n_users, n_artists))
    latest = int(events.at.max(initial=0)) if now_ms is None else now_ms
    streamed = played.sum(stream_counts(streams, catalogue, config, latest)).data
    counts = played.matrix(streamed)
    others = other_evidence(events, config, latest)
    transformed = transform_streams(counts, config, mean_total=mean_total)
    total = (config.stream * played.matrix(transformed)).tocsr()
    return Interactions(
        evidence=_evidence(total, events, others, catalogue),
        plays=played.sum(streams.value),
        streamed=streamed.astype(np.float32),
        last_played=played.last(streams.at),
        ratings=rated.matrix(rated.last(ratings.value)),
        heard=_heard(events.take(on_item & events.of_kind(*HEARD_KINDS)), catalogue),
        follows=followed.matrix(np.ones(followed.n, np.float32)),
        counted_at=np.array([latest]),
    )


def stream_counts(
    streams: Events, catalogue: Catalogue, config: InteractionsConfig, now_ms: int
) -> NDArray[np.float64]:
    """Return (n,) what each stream adds to the count that g transforms."""
    return _weights(streams, config, now_ms) * streams.value * _share(streams, catalogue, config)


def other_evidence(events: Events, config: InteractionsConfig, now_ms: int) -> NDArray[np.float64]:
    """Return (n,) what each event adds to r, 0 for streams; an artist's is for all their items."""
    factor = np.zeros(len(EVENT_KINDS))
    for kind in ("save", "playlist_add", "artist_visit", "follow", "rating"):
        factor[kind_code(kind)] = getattr(config, kind)
    factor[kind_code("skip")] = -config.skip
    stars = events.of_kind("rating") * np.float64(config.neutral_stars)
    return np.asarray(
        factor[events.kind] * _weights(events, config, now_ms) * (events.value - stars)
    )


def newly_loved(
    events: Events,
    catalogue: Catalogue,
    config: InteractionsConfig,
    *,
    heard: csr_array,
    eligible: NDArray[np.bool_],
) -> csr_array:
    """Return (n_users, n_items) int8 ones: what each listener loved in `events` and had not known.

    Positive evidence from streams, saves, playlists and stars counts, on the first item of each
    recording. Evidence on artists (visits, follows) names no item and does not.

    Parameters
    ----------
    heard
        (n_users, n_items) stored entries: what was known before, by recording.
    eligible
        (n_items,) what counts at all.
    """
    about_items = events.of_kind("stream", "save", "playlist_add", "skip", "rating")
    evidence = build_interactions(events.take(about_items), catalogue, config).evidence
    pairs = evidence.tocoo()
    rated = (pairs.data > 0) & eligible[pairs.col]
    shape = (catalogue.n_users, catalogue.n_items)
    found = _Pairs(pairs.row[rated], catalogue.first_of_recording[pairs.col[rated]], shape)
    loved = found.matrix(np.ones(found.n, np.int8))
    new = csr_array(loved - loved.multiply(heard.astype(bool)), dtype=np.int8)
    new.eliminate_zeros()
    new.sort_indices()
    return new


def latest_times(events: Events, catalogue: Catalogue, matrix: csr_array) -> NDArray[np.int64]:
    """Return the time of the latest event behind each entry of a user x item matrix.

    A visit to an artist, or following one, is behind every item of theirs.

    Parameters
    ----------
    events
        In order of time; those that the matrix was made of.
    matrix
        (n_users, n_items), rows sorted.

    Returns
    -------
    (nnz,) int64
        Milliseconds since 1970, NO_TIME where no event has a time.
    """
    users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    of_artist = events.of_kind(*_ARTIST_KINDS) & (events.artist >= 0)
    at = np.full(matrix.nnz, NO_TIME)
    for about, columns, n_columns, wanted in (
        (events.item >= 0, events.item, catalogue.n_items, matrix.indices),
        (of_artist, events.artist, catalogue.n_artists, catalogue.item_artist[matrix.indices]),
    ):
        pairs = _Pairs(events.user[about], columns[about], (matrix.shape[0], n_columns))
        places = pairs.find(users, wanted)
        last = pairs.last(events.at[about])
        at[places >= 0] = np.maximum(at[places >= 0], last[places[places >= 0]])
    return at


def _evidence(
    streams: csr_array, events: Events, others: NDArray[np.float64], catalogue: Catalogue
) -> csr_array:
    """Return (n_users, n_items) float32 r: weighted streams, and what `others` add."""
    about_artist = events.of_kind("artist_visit", "follow") & (events.artist >= 0)
    about_item = (events.item >= 0) & ~events.of_kind("artist_visit", "follow", "stream")
    artists = _Pairs(
        events.user[about_artist],
        events.artist[about_artist],
        (streams.shape[0], catalogue.n_artists),
    ).sum(others[about_artist])
    items = _Pairs(events.user[about_item], events.item[about_item], streams.shape)
    total = (streams + items.sum(others[about_item]) + artists @ _spread(catalogue)).tocsr()
    evidence = csr_array(total, dtype=np.float32)
    evidence.eliminate_zeros()
    evidence.sort_indices()
    return evidence


def _weights(events: Events, config: InteractionsConfig, now_ms: int) -> NDArray[np.float64]:
    """Return (n,) decay, times the factor of what a recommendation brought about."""
    decay = _decay(events.at, config.half_life_days, now_ms)
    return np.asarray(decay * np.where(events.organic, 1.0, config.recommended))


def _decay(at: NDArray[np.int64], half_life_days: float, now_ms: int) -> NDArray[np.float64]:
    """Return (n,) 2 ** -(age / half-life); 1 for untimed events and for those after `now_ms`."""
    if half_life_days <= 0:
        return np.ones(len(at))
    age_days = (now_ms - np.where(at == NO_TIME, now_ms, at)) / _MS_PER_DAY
    return np.asarray(np.exp2(-np.maximum(age_days, 0.0) / half_life_days))


def _share(events: Events, catalogue: Catalogue, config: InteractionsConfig) -> NDArray[np.float64]:
    """Return (n,) the share of its item that each event played, 1 where that is unknown."""
    if not config.played_share or not catalogue.n_items:
        return np.ones(len(events))
    duration_s = np.where(events.item >= 0, catalogue.duration_s[events.item], np.nan)
    known = (events.ms_played >= 0) & (duration_s > 0)
    share = np.divide(events.ms_played / 1000.0, duration_s, out=np.ones(len(events)), where=known)
    return np.asarray(np.minimum(share, 1.0))


def transform_streams(
    streams: csr_array, config: InteractionsConfig, *, mean_total: float | None = None
) -> NDArray[np.float64]:
    """Return (nnz,) g(n) of summed stream counts.

    `mean_total` is the mean listener's total, which BM25 compares with; default: that of `streams`.
    """
    counts = streams.data
    if config.transform == "linear":
        return np.asarray(counts)
    if config.transform == "log":
        return np.asarray(np.log1p(counts))
    totals = np.asarray(streams.sum(axis=1))
    mean = mean_of_totals(streams) if mean_total is None else mean_total
    relative = totals / mean
    per_count = np.repeat(relative, np.diff(streams.indptr))
    k1, b = config.bm25_k1, config.bm25_b
    return np.asarray(counts * (k1 + 1) / (counts + k1 * (1 - b + b * per_count)))


def mean_of_totals(streams: csr_array) -> float:
    """Return the mean of the rows' sums, of those rows that have any; 1 where none has."""
    totals = np.asarray(streams.sum(axis=1))
    return float(totals[totals > 0].mean()) if (totals > 0).any() else 1.0


def _spread(catalogue: Catalogue) -> csr_array:
    """Return (n_artists, n_items): each artist's row is even over their items and sums to 1."""
    items = np.flatnonzero(catalogue.item_artist >= 0)
    artists = catalogue.item_artist[items]
    n_of = np.bincount(artists, minlength=catalogue.n_artists)
    shape = (catalogue.n_artists, catalogue.n_items)
    return _Pairs(artists, items, shape).sum(1.0 / n_of[artists])


def _heard(events: Events, catalogue: Catalogue) -> csr_array:
    """Return (n_users, n_items) int8 ones on every item of every recording in `events`."""
    shape = (catalogue.n_users, catalogue.n_items)
    n_recordings = int(catalogue.recording.max(initial=-1)) + 1
    pairs = _Pairs(events.user, events.item, shape)
    if n_recordings == catalogue.n_items:
        return pairs.matrix(np.ones(pairs.n, np.int8))
    recordings = catalogue.recording[events.item]
    known = _Pairs(events.user, recordings, (catalogue.n_users, n_recordings))
    items = np.arange(catalogue.n_items)
    holds = _Pairs(catalogue.recording, items, (n_recordings, catalogue.n_items))
    heard = known.matrix(np.ones(known.n, np.int8)) @ holds.matrix(np.ones(holds.n, np.int8))
    heard.sort_indices()
    return csr_array(heard)


class _Pairs:
    """Events grouped by (user, column): the structure that several sums share.

    Parameters
    ----------
    users, columns
        (n_events,) row numbers, events in order of time.
    shape
        Of the matrices to make.
    """

    def __init__(
        self, users: NDArray[np.integer], columns: NDArray[np.integer], shape: tuple[int, int]
    ) -> None:
        self.shape = shape
        key = users.astype(np.int64) * shape[1] + columns
        # Stable, so that a pair's events stay in order of time.
        self._order = np.argsort(key, kind="stable")
        key = key[self._order]
        first = np.ones(len(key), bool)
        first[1:] = key[1:] != key[:-1]
        self._starts = np.flatnonzero(first)
        self._ends = np.append(self._starts[1:], len(key)) - 1 if len(key) else self._starts
        pairs = key[self._starts]
        self.n = len(pairs)
        counts = np.bincount(pairs // max(shape[1], 1), minlength=shape[0])
        # scipy widens the indices to the type of indptr, so both are int32 while that suffices.
        index_type = np.int32 if self.n <= np.iinfo(np.int32).max else np.int64
        self._indptr = np.concatenate([[0], np.cumsum(counts)]).astype(index_type)
        self._indices = (pairs % max(shape[1], 1)).astype(np.int32)

    def find(self, users: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return (m,) the number of each pair in the order of `last`; -1 where there is none."""
        if not self.n:
            return np.full(len(users), -1)
        known = np.repeat(np.arange(self.shape[0]), np.diff(self._indptr)) * self.shape[1]
        known += self._indices
        wanted = users.astype(np.int64) * self.shape[1] + columns
        places = np.minimum(np.searchsorted(known, wanted), self.n - 1)
        return np.where((known[places] == wanted) & (columns >= 0), places, -1)

    def matrix(self, data: NDArray[Any]) -> csr_array:
        """Return the matrix with one of `data` (n,) for each pair."""
        matrix = csr_array((data, self._indices, self._indptr), shape=self.shape)
        matrix.has_sorted_indices = True
        matrix.has_canonical_format = True
        return matrix

    def sum(self, values: NDArray[np.floating]) -> csr_array:
        """Return the sums of `values` (n_events,), in their dtype."""
        if not self.n:
            return self.matrix(np.zeros(0, values.dtype))
        return self.matrix(np.add.reduceat(values[self._order], self._starts))

    def last(self, values: NDArray[Number]) -> NDArray[Number]:
        """Return (n,) the latest of `values` (n_events,) of each pair."""
        return np.asarray(values[self._order[self._ends]])

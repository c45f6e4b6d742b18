"""A listener's matrices with what happened since: the exact row that a new training would count.

Enters: the interactions of a version, one listener's row in it (or none), and their later events.
Leaves: `Interactions` of that one listener. Decay counts back from the version's own time, and BM25
compares with its mean listener: both move at the next training only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.config import InteractionsConfig
from recsys.data.catalogue import Catalogue
from recsys.data.events import Events
from recsys.data.interactions import (
    HEARD_KINDS,
    Interactions,
    mean_of_totals,
    other_evidence,
    stream_counts,
    transform_streams,
)

__all__ = ["continued", "only"]

Number = TypeVar("Number", bound=np.generic)
Rows = NDArray[np.int32]
Doubles = NDArray[np.float64]


def only(former: Interactions, user: int) -> Interactions:
    """Return the interactions of one user row; of nobody, empty ones, where it is -1."""
    rows = slice(user, user + 1) if user >= 0 else slice(0, 0)
    start, end = former.plays.indptr[[rows.start, rows.stop]]

    def row(matrix: csr_array) -> csr_array:
        first, last = matrix.indptr[[rows.start, rows.stop]]
        return _row(matrix.indices[first:last], matrix.data[first:last], matrix.shape[1])

    return replace(
        former,
        evidence=row(former.evidence),
        plays=row(former.plays),
        streamed=former.streamed[start:end],
        last_played=former.last_played[start:end],
        ratings=row(former.ratings),
        heard=row(former.heard),
        follows=row(former.follows),
    )


def continued(
    former: Interactions,
    user: int,
    events: Events,
    catalogue: Catalogue,
    config: InteractionsConfig,
    *,
    mean_streams: float | None = None,
) -> Interactions:
    """Return one listener's interactions after `events`.

    Parameters
    ----------
    former
        Those of all listeners, up to a version's cut-off.
    user
        Row of the listener there, -1 for one who was not.
    events
        The listener's, after the cut-off, in order of time.
    config
        What the version was made with.
    mean_streams
        Mean of the totals of `former`, where the caller has it at hand; BM25 wants it.
    """
    base = only(former, user)
    if not len(events):
        return base
    now_ms, n_items = int(former.counted_at[0]), catalogue.n_items
    if config.transform == "bm25" and mean_streams is None:
        parts = (former.streamed, former.plays.indices, former.plays.indptr)
        mean_streams = mean_of_totals(csr_array(parts, shape=former.plays.shape))

    def weighed(items: Rows, counts: Doubles) -> Doubles:
        row = _row(items, counts, n_items)
        return config.stream * transform_streams(row, config, mean_total=mean_streams or 1.0)

    on_item = events.item >= 0
    streams = events.take(on_item & events.of_kind("stream") & (events.value > 0))
    counts = stream_counts(streams, catalogue, config, now_ms)
    others, amounts = _others(events, catalogue, other_evidence(events, config, now_ms))
    old = base.plays.indices
    played, streamed = _summed((old, base.streamed), (streams.item, counts))
    evidence = _summed(
        (base.evidence.indices, base.evidence.data),
        (old, -weighed(old, np.asarray(base.streamed, np.float64))),
        (played, weighed(played, streamed)),
        (others, amounts),
    )
    told = np.abs(evidence[1]) > _ROUNDING
    known = events.item[on_item & events.of_kind(*HEARD_KINDS)]
    heard = np.union1d(base.heard.indices, _same_recordings(catalogue, known)).astype(np.int32)
    plays = _summed((old, base.plays.data), (streams.item, streams.value))[1]
    return replace(
        base,
        evidence=_row(evidence[0][told], evidence[1][told].astype(np.float32), n_items),
        plays=_row(played, plays.astype(np.float32), n_items),
        streamed=streamed.astype(np.float32),
        last_played=_latest((old, base.last_played), (streams.item, streams.at))[1],
        ratings=_rated(base.ratings, events.take(on_item & events.of_kind("rating"))),
        heard=_row(heard, np.ones(len(heard), np.int8), n_items),
        follows=_followed(base.follows, events),
    )


_ROUNDING = 1e-6
"""Evidence that a float32 sum may leave where the exact one is 0."""


def _others(events: Events, catalogue: Catalogue, amounts: Doubles) -> tuple[Rows, Doubles]:
    """Return (item row, what is added to its evidence) of all events but streams."""
    of_artist = events.of_kind("artist_visit", "follow")
    on_item = np.flatnonzero((events.item >= 0) & ~of_artist & ~events.of_kind("stream"))
    items, added = [events.item[on_item]], [amounts[on_item]]
    for place in np.flatnonzero(of_artist & (events.artist >= 0)):
        theirs = np.flatnonzero(catalogue.item_artist == events.artist[place]).astype(np.int32)
        items.append(theirs)
        added.append(np.full(len(theirs), amounts[place] / max(len(theirs), 1)))
    return np.concatenate(items), np.concatenate(added)


def _same_recordings(catalogue: Catalogue, items: Rows) -> NDArray[np.int64]:
    if not len(items):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.isin(catalogue.recording, catalogue.recording[items]))


def _rated(former: csr_array, ratings: Events) -> csr_array:
    items, stars = _latest((former.indices, former.data), (ratings.item, ratings.value))
    return _row(items, stars.astype(np.float32), former.shape[1])


def _followed(former: csr_array, events: Events) -> csr_array:
    new = events.artist[events.of_kind("follow") & (events.artist >= 0)]
    artists = np.union1d(former.indices, new).astype(np.int32)
    return _row(artists, np.ones(len(artists), np.float32), former.shape[1])


def _summed(*parts: tuple[NDArray[np.integer], NDArray[np.floating]]) -> tuple[Rows, Doubles]:
    """Return the distinct columns, ascending, and the sum of what each was given."""
    columns, place = np.unique(np.concatenate([c for c, _ in parts]), return_inverse=True)
    values = np.concatenate([np.asarray(v, np.float64) for _, v in parts])
    return columns.astype(np.int32), np.bincount(place, values, len(columns)).astype(np.float64)


def _latest(
    *parts: tuple[NDArray[np.integer], NDArray[Number]],
) -> tuple[Rows, NDArray[Number]]:
    """Return the distinct columns, ascending, and what each was given last."""
    columns = np.concatenate([c for c, _ in parts])[::-1]
    values = np.concatenate([v for _, v in parts])[::-1]
    kept, first = np.unique(columns, return_index=True)
    return kept.astype(np.int32), values[first]


def _row(columns: NDArray[np.integer], data: NDArray[Any], width: int) -> csr_array:
    matrix = csr_array((data, columns, np.array([0, len(columns)], np.int32)), shape=(1, width))
    matrix.has_sorted_indices = True
    matrix.has_canonical_format = True
    return matrix

"""A dataset as the models meet it: read once, as it was at the time of its last event.

Enters: a `Dataset`. Leaves: a `Source`, and what of it the collaborative model is fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.config import CollaborativeConfig
from recsys.data.catalogue import NO_TIME, Catalogue, read_catalogue
from recsys.data.collections import Collections, read_collections
from recsys.data.dataset import Dataset
from recsys.data.interactions import Events, Interactions, latest_times, read_events
from recsys.progress import note

__all__ = ["Source", "evidence_of", "evidence_times", "known_lists", "read_source"]


@dataclass(frozen=True)
class Source:
    """A dataset as read: who and what there is, and what happened."""

    dataset: Dataset
    catalogue: Catalogue
    events: Events
    collections: Collections | None = None


def read_source(dataset: Dataset) -> Source:
    """Read ids, metadata and events of a dataset once."""
    catalogue = read_catalogue(dataset)
    events, collections = read_events(dataset, catalogue), read_collections(dataset, catalogue)
    return Source(dataset, catalogue, events, collections)


def known_lists(source: Source, interactions: Interactions) -> Collections:
    """Return the collections as they can have been when the last event of `source` happened."""
    if source.collections is None:
        return Collections.none(source.catalogue.n_items)
    released, now = source.catalogue.released_at, source.events.at.max(initial=NO_TIME)
    out = (released <= now) if now != NO_TIME else np.ones(len(released), bool)
    return source.collections.as_of(interactions.heard, out)


def evidence_of(interactions: Interactions, settings: CollaborativeConfig) -> csr_array:
    """Return (n_users, n_items) what the collaborative model is fitted to."""
    return interactions.ratings if settings.feedback == "explicit" else interactions.evidence


def evidence_times(
    events: Events, catalogue: Catalogue, settings: CollaborativeConfig, matrix: csr_array
) -> NDArray[np.int64] | None:
    """Return (nnz,) when each entry of evidence or ratings came about; None where no bins ask."""
    if settings.drift_bins < 2:
        return None
    explicit = settings.feedback == "explicit"
    about = events.take(events.of_kind("rating")) if explicit else events
    at = latest_times(about, catalogue, matrix)
    if not (at != NO_TIME).any():
        note("collaborative: no event has a time, so that popularity stands still")
    return at

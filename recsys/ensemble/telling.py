"""Lists as they are told: titles, the parts of each score, and sentences.

Enters: blended lists. Leaves: entries that a page, a file or a person can read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.data.catalogue import Catalogue
from recsys.ensemble.blend import Blend, Blender
from recsys.ensemble.candidates import Listeners
from recsys.ensemble.reasons import Reasons

__all__ = ["Recommendation", "tell"]


@dataclass(frozen=True)
class Recommendation:
    """One entry of a list."""

    rank: int
    """From 1."""
    item_id: str
    title: str | None
    artist: str | None
    score: float
    signals: dict[str, float]
    """The part of the score that each source gave; they add up to it."""
    reasons: list[str]
    """Sentences, the one behind the largest signal first; empty where nothing is known."""
    probability: float | None = None
    """The chance that the listener loves the item, as of the blend's training; None where no blend
    was learned, or where the weights are not the learned ones."""


def tell(
    catalogue: Catalogue,
    reasons: Reasons,
    blender: Blender,
    listeners: Listeners,
    lists: Blend,
    *,
    trained: bool,
) -> list[list[Recommendation]]:
    """Return each listener's entries, best first.

    Parameters
    ----------
    blender
        What made the scores.
    trained
        Whether the weights are the learned ones, so that a score says how likely a love is.
    """
    bounds = np.searchsorted(lists.listener, np.arange(len(listeners) + 1))
    told = []
    for row in range(len(listeners)):
        part = slice(bounds[row], bounds[row + 1])
        items = lists.item[part]
        signals = [
            dict(zip(blender.signals, parts, strict=True)) for parts in lists.signals[part].tolist()
        ]
        one = listeners if len(listeners) == 1 else listeners.take(np.array([row]))
        sentences = reasons.sentences(one, items, signals)
        entries = []
        for rank, item in enumerate(items.tolist(), start=1):
            artist, parts = int(catalogue.item_artist[item]), signals[rank - 1]
            score = sum(parts.values())
            entries.append(
                Recommendation(
                    rank=rank,
                    item_id=catalogue.items[item],
                    title=catalogue.titles[item],
                    artist=None if artist < 0 else catalogue.artist_name(artist),
                    score=score,
                    signals=parts,
                    reasons=sentences[rank - 1],
                    probability=blender.probability(score) if trained else None,
                )
            )
        told.append(entries)
    return told

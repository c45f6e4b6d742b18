"""Lists as they are told: titles, the parts of each score, and sentences.

Enters: blended lists. Leaves: entries that a page, a file or a person can read.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from recsys.data.catalogue import Catalogue
from recsys.ensemble.blend import Blend, Blender
from recsys.ensemble.candidates import Listeners
from recsys.ensemble.reasons import Reasons

__all__ = ["Recommendation", "tell"]


class Recommendation(NamedTuple):
    """One entry of a list; a tuple, as a frozen dataclass takes seven times as long to make."""

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
    bounds = np.searchsorted(lists.listener, np.arange(len(listeners) + 1)).tolist()
    cards, parts = map(catalogue.card, lists.item.tolist()), lists.signals.tolist()
    scores = lists.scores.tolist()
    told = []
    for row, (start, end) in enumerate(pairwise(bounds)):
        one = listeners if len(listeners) == 1 else listeners.take(np.array([row]))
        part = slice(start, end)
        sentences = reasons.sentences(one, lists.item[part], lists.signals[part], blender.signals)
        entries = []
        for at in range(start, end):
            card = next(cards)
            entries.append(
                Recommendation(
                    at - start + 1,
                    card.item_id,
                    card.title,
                    card.artist,
                    scores[at],
                    dict(zip(blender.signals, parts[at], strict=True)),
                    sentences[at - start],
                    blender.probability(scores[at]) if trained else None,
                )
            )
        told.append(entries)
    return told

"""A playlist that goes on from some items (a continuation) or from artists (a radio).

Enters: seeds, by id. Leaves: `Recommendation`s, made as for a listener who has played just the
seeds. An artist stands for the half of their items that is played most, so that the other half may
come too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.ensemble.recommender import HybridRecommender, Recommendation
from recsys.errors import UsageError

__all__ = ["go_on"]

_OF_ARTIST = 10
"""Items that an artist stands for, at most."""


def go_on(
    recommender: HybridRecommender,
    seeds: Sequence[str],
    k: int = 30,
    *,
    artists: Sequence[str] = (),
    smooth: bool = False,
    **asked: Any,
) -> list[Recommendation]:
    """Return up to `k` items to play after `seeds`, best first; no seed is among them.

    Parameters
    ----------
    seeds
        Item ids; one that is named twice counts once.
    artists
        Artist ids, for a radio.
    smooth
        Order by small steps in key and tempo instead; ranks stay those of the score.
    asked
        tempo, territory, explicit, kind, weights, diversity: as in `HybridRecommender.recommend`.
        `kind` is by default the one that most seeds have.

    Raises
    ------
    NotFoundError
        For an unknown id.
    UsageError
        Without any seed, and for artists of whom there is no item.
    """
    catalogue = recommender.catalogue
    rows = [catalogue.items.require(item_id) for item_id in seeds]
    for artist_id in artists:
        rows += _most_played(recommender, catalogue.artists.require(artist_id)).tolist()
    if not rows:
        given = f"nothing by {', '.join(map(repr, artists))}" if artists else "none"
        raise UsageError(f"seeds: want at least one item to go on from, got {given}")
    kinds = Counter(int(catalogue.item_kind[row]) for row in rows)
    asked["kind"] = asked.get("kind") or catalogue.kinds[kinds.most_common(1)[0][0]]
    history = [(catalogue.items[row], 1.0) for row in dict.fromkeys(rows)]
    made = recommender.recommend_history(history, k, **asked)
    return recommender.smooth(made) if smooth else made


def _most_played(recommender: HybridRecommender, artist: int) -> NDArray[np.int64]:
    """Return the item rows that an artist row stands for."""
    items = np.flatnonzero(recommender.catalogue.item_artist == artist)
    order = np.argsort(-recommender.listeners_of[items], kind="stable")
    return items[order[: min(_OF_ARTIST, (len(items) + 1) // 2)]]

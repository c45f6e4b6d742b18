"""Which items, artists and listeners are alike, by one model or by all of them.

Enters: the items of each model. Leaves: nearest rows by cosine, or, as ``hybrid``, by the
fused ranks of all models, where the rules of lists hold for items: no recording twice, nor that of
the item itself, and few by one artist, who else would be all that is alike. An artist lies where
their items do on average (in the text space: where their own documents do), a listener where what
they played does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.collaborative.factors import Factors
from recsys.config import EnsembleConfig
from recsys.data.catalogue import Catalogue
from recsys.data.identity import Ids
from recsys.data.interactions import Interactions
from recsys.ensemble.blend import fuse
from recsys.ensemble.candidates import Space, positive, unit
from recsys.ensemble.rerank import rerank
from recsys.ensemble.tastes import profiles
from recsys.errors import UsageError
from recsys.text.model import TextModel

__all__ = ["KINDS", "Neighbourhoods"]

KINDS = ("item", "artist", "user")
"""What can be similar."""


class Neighbourhoods:
    """The spaces of unit vectors of items, artists and users, each made when first asked for.

    Parameters
    ----------
    catalogue, interactions
        Who and what there is, and what happened.
    spaces
        Items of each model as lists search them.
    factors, text
        The models that know more than item vectors.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        interactions: Interactions,
        spaces: Mapping[str, Space],
        *,
        factors: Factors | None,
        text: TextModel | None,
    ) -> None:
        self._catalogue = catalogue
        self._interactions = interactions
        self._spaces = spaces
        self._factors = factors
        self._text = text
        self._made: dict[tuple[str, str], Space] = {}

    def ids(self, kind: str) -> Ids:
        """Return the ids of what is compared."""
        catalogue = self._catalogue
        known = dict(zip(KINDS, (catalogue.items, catalogue.artists, catalogue.users), strict=True))
        if kind not in known:
            raise UsageError(f"similar: want one of {', '.join(KINDS)}, got {kind!r}")
        return known[kind]

    def search(
        self,
        kind: str,
        rows: NDArray[np.integer],
        k: int,
        *,
        by: str,
        settings: EnsembleConfig,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the nearest rows and scores, each (m, k'), best first, padded with -1 and -inf.

        k' is the least of `k` and the number of others. The row itself is left out.
        """
        n = len(self.ids(kind))
        k = min(k, max(n - 1, 0))
        if by != "hybrid":
            return self._nearest(kind, by, rows, k)
        depth = min(n, max(settings.candidates_per_source, 2 * k))
        found, scores = self._fused(kind, rows, k, depth, settings)
        if depth < n:
            # The rules may leave few of so many: a prolific artist's, a recording's releases.
            for short in np.flatnonzero((found[:, 0] >= 0) & (found[:, -1] < 0)):
                one = slice(short, short + 1)
                found[one], scores[one] = self._fused(kind, rows[one], k, n, settings)
        return found, scores

    def _fused(
        self, kind: str, rows: NDArray[np.integer], k: int, depth: int, settings: EnsembleConfig
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Do what `search` does by all models, each of which proposes `depth`."""
        candidates = {name: self._nearest(kind, name, rows, depth)[0] for name in self._spaces}
        blend = fuse(
            candidates,
            {name: float(getattr(settings, name)) for name in candidates},
            rank_offset=settings.rank_offset,
        ).sorted(np.arange(len(self.ids(kind)), dtype=np.int32))
        if kind == "item":
            recording = self._catalogue.recording
            blend = rerank(
                blend.take(recording[blend.item] != recording[rows[blend.listener]]),
                k,
                recording=recording,
                artist=self._catalogue.item_artist,
                max_per_artist=settings.max_per_artist,
            )
        return blend.padded(len(rows), k)

    def _nearest(
        self, kind: str, model: str, rows: NDArray[np.integer], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        space = self._space(kind, model)
        itself = (np.ones(len(rows), np.int8), (np.arange(len(rows)), rows))
        exclude = csr_array(itself, shape=(len(rows), len(space.vectors)))
        found, scores = space.search(space.vectors[rows], k, exclude=exclude)
        return found, scores.astype(np.float64)

    def _space(self, kind: str, model: str) -> Space:
        if model not in self._spaces:
            known = ", ".join((*self._spaces, "hybrid"))
            raise UsageError(f"similar by {model!r}: this version has {known}")
        if (kind, model) not in self._made:
            if kind == "item" and model != "collaborative":  # unit vectors as they are: no copy
                space = self._spaces[model]
                self._made[kind, model] = Space(space.vectors, index=space.index)
            else:
                self._made[kind, model] = Space(self._unit_vectors(kind, model))
        return self._made[kind, model]

    def _unit_vectors(self, kind: str, model: str) -> NDArray[np.float32]:
        """Return (n, d) unit rows of all items, artists or users; zero rows where unknown."""
        if kind == "artist" and model == "text" and self._text is not None:
            return self._text.artist_vectors
        if kind == "user" and model == "collaborative" and self._factors is not None:
            return unit(self._factors.user_factors)
        items = unit(self._spaces[model].vectors)
        if kind == "item":
            return items
        if kind == "artist":
            return profiles(self._items_of_artists(), items)
        return profiles(positive(self._interactions.evidence), items)

    def _items_of_artists(self) -> csr_array:
        """Return (n_artists, n_items) float32 ones."""
        items = np.flatnonzero(self._catalogue.item_artist >= 0)
        artists = self._catalogue.item_artist[items]
        shape = (self._catalogue.n_artists, self._catalogue.n_items)
        return csr_array((np.ones(len(items), np.float32), (artists, items)), shape)

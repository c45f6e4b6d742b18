"""Why an item is in a list: sentences that rest on what was played, said, heard and counted.

Enters: what a listener played and the items chosen for them. Leaves: for each item sentences, the
one behind the largest signal first. A sentence is written only while its evidence is there:

============= ============================================ ======================================
collaborative listeners who play X also play this          the listener played X, the model credits
                                                           X, and somebody plays both
text          described like Y: dreamy, lo-fi              the listener played Y, and those terms
                                                           make the two artists similar
audio         sounds like Z                                the listener played Z, the nearest sound
artists       by The As, whom you follow (or play)         the listener follows or played them
collections   on Essential Techno beside X                 an editors' list holds both, X was played
              on playlists beside X                        several listeners' playlists do
popularity    played by 412 listeners                      so many did; said when nothing else is
============= ============================================ ======================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.catalogue import Catalogue
from recsys.data.collections import Collections
from recsys.ensemble.candidates import Listeners
from recsys.ensemble.ensemble import Ensemble
from recsys.retrieval.kernels import contains
from recsys.text.model import TextModel

__all__ = ["Credit", "Reasons", "inner_products"]

Credit = Callable[[csr_array, NDArray[np.int32]], NDArray[np.floating]]
"""(history (1, n_items), item rows (m,)) -> (m, n): how much each of the n stored entries of the
history speaks for each item in one space."""

_TRIED = 5
"""Plays that are tried, those with most credit first, until one has evidence."""
_TERMS = 3
"""Terms named in a sentence."""
_TERMS_READ = 12
"""Terms read to find those, because some repeat words of others."""
_CACHED = 100_000
"""Pairs of artists whose shared terms are kept in memory."""
_FEWEST_PLAYLISTS = 2
"""Playlists of listeners behind a sentence, so that it tells nothing of a single one."""


@dataclass(frozen=True)
class Reasons:
    """Writes the reasons of one version."""

    catalogue: Catalogue
    listeners: csr_array
    """(n_items, n_users) stored entries: who played an item; indices sorted."""
    credits: Mapping[str, Credit]
    """Per model."""
    collections: Collections
    holders: csr_array
    """(n_items, n_collections) stored entries: what holds an item; indices sorted."""
    shared_terms: Callable[[int, int, int], Iterable[tuple[str, float]]] | None = None
    """(artist row, artist row, k) -> what is said of both, foremost first; None without text."""

    @classmethod
    def of(cls, ensemble: Ensemble, collections: Collections, text: TextModel | None) -> Reasons:
        """Take the evidence of one version."""
        factors = ensemble.factors
        credits = {name: inner_products(space.vectors) for name, space in ensemble.spaces.items()}
        if factors is not None:
            credits["collaborative"] = lambda history, items: factors.shares(history, items)[0]
        shared_terms = None if text is None else text.shared_terms
        return cls(
            ensemble.catalogue,
            ensemble.played_by,
            credits,
            collections,
            ensemble.shelves.holders,
            shared_terms,
        )

    def sentences(
        self,
        listener: Listeners,
        items: NDArray[np.int32],
        signals: NDArray[np.float64],
        names: Sequence[str],
    ) -> list[list[str]]:
        """Return the sentences for each item.

        Parameters
        ----------
        listener
            One listener. Evidence on what they have not heard (an artist followed) is no play, so
            no sentence names it.
        items
            (n,) item rows of the list.
        signals, names
            (n, n_signals) the parts of each item's score, and what they are called.
        """
        history = _heard_part(listener.history, listener.heard)
        followed = set(listener.follows.indices.tolist())
        played = set(self.catalogue.item_artist[history.indices].tolist())
        others: dict[str, Callable[[int], str]] = {
            "artists": lambda item: self._artist(item, followed, played),
            "collections": lambda item: self._collection(item, history),
        }
        written: list[list[tuple[float, str]]] = [[] for _ in items]
        for name, parts in zip(names, signals.T.tolist(), strict=True):
            moved = [place for place, part in enumerate(parts) if part > 0]
            if name in self.credits:
                found = self._by_plays(name, history, items[moved])
            elif name in others:
                found = list(map(others[name], items[moved].tolist()))
            else:
                continue
            for place, sentence in zip(moved, found, strict=True):
                if sentence:
                    written[place].append((parts[place], sentence))
        return [
            [sentence for _, sentence in sorted(those, key=_foremost)] or self._popularity(item)
            for item, those in zip(items.tolist(), written, strict=True)
        ]

    def _by_plays(self, model: str, history: csr_array, items: NDArray[np.int32]) -> list[str]:
        """Return for each item what a model says of it and a play, "" where it says nothing."""
        tried = np.full((len(items), _TRIED), -1, np.int32)
        if len(items) and history.nnz:
            _most_credited(self.credits[model](history, items), history.indices, tried)
        if model == "text":
            return list(map(self._text, items.tolist(), tried.tolist()))
        said = "sounds like {}"
        if model == "collaborative":
            said = "listeners who play {} also play this"
            _first_meeting(self.listeners.indptr, self.listeners.indices, items, tried)
        card = self.catalogue.card
        return [said.format(card(play).name) if play >= 0 else "" for play in tried[:, 0].tolist()]

    def _text(self, item: int, tried: list[int]) -> str:
        artist = int(self.catalogue.item_artist[item])
        if self.shared_terms is None or artist < 0:
            return ""
        for play in tried:
            other = int(self.catalogue.item_artist[play])
            if play < 0 or other < 0 or other == artist:
                continue
            if sentence := self._likened(artist, other):
                return sentence
        return ""

    @cached_property
    def _likened(self) -> Callable[[int, int], str]:
        """(artist row, artist row) -> the second named with what describes both, "" if nothing."""
        shared_terms = self.shared_terms
        assert shared_terms is not None

        def likened(artist: int, other: int) -> str:
            read = (term for term, _ in shared_terms(artist, other, _TERMS_READ))
            found = ", ".join(islice(_unlike(read), _TERMS))
            return f"described like {self.catalogue.artist_name(other)}: {found}" if found else ""

        return lru_cache(_CACHED)(likened)

    def _artist(self, item: int, followed: set[int], played: set[int]) -> str:
        artist = int(self.catalogue.item_artist[item])
        if artist < 0 or (artist not in followed and artist not in played):
            return ""
        bond = "follow" if artist in followed else "play"
        return f"by {self.catalogue.artist_name(artist)}, whom you {bond}"

    def _collection(self, item: int, history: csr_array) -> str:
        """Name the list of editors that holds most of the history, else a play on playlists."""
        holders, shelves = self.holders, self.collections
        lists = holders.indices[holders.indptr[item] : holders.indptr[item + 1]]
        by_editors = [one for one in lists.tolist() if shelves.owner[one] == -1]
        best, named, weight = -1, -1, 0.0
        for one in by_editors:
            span = slice(shelves.items.indptr[one], shelves.items.indptr[one + 1])
            both = np.flatnonzero(np.isin(history.indices, shelves.items.indices[span]))
            if len(both) and shelves.titles[one] and history.data[both].sum() > weight:
                best, weight = one, float(history.data[both].sum())
                named = int(history.indices[both[history.data[both].argmax()]])
        if best >= 0:
            return f"on {shelves.titles[best]} beside {self.catalogue.card(named).name}"
        playlists = np.setdiff1d(lists, by_editors)
        for play in history.indices[np.argsort(-history.data, kind="stable")].tolist():
            beside = holders.indices[holders.indptr[play] : holders.indptr[play + 1]]
            if len(np.intersect1d(playlists, beside)) >= _FEWEST_PLAYLISTS:
                return f"on playlists beside {self.catalogue.card(play).name}"
        return ""

    def _popularity(self, item: int) -> list[str]:
        n = len(self._who_played(item))
        if not n:
            return ["nobody has played this yet"]
        return [f"played by {n:,} listener{'s' if n > 1 else ''}"]

    def _who_played(self, item: int) -> NDArray[np.int32]:
        return self.listeners.indices[self.listeners.indptr[item] : self.listeners.indptr[item + 1]]


def inner_products(vectors: NDArray[np.float32]) -> Credit:
    """Return the credit by nearness: the inner product of the play's and the item's vectors."""

    def credit(history: csr_array, items: NDArray[np.int32]) -> NDArray[np.floating]:
        return np.asarray(vectors[items] @ vectors[history.indices].T)

    return credit


def _heard_part(history: csr_array, heard: csr_array) -> csr_array:
    """Return (1, n_items) the history without what was not heard."""
    known = _stored(history.indices, heard.indices)
    if known.all():
        return history
    indptr = np.array([0, known.sum()])
    return csr_array((history.data[known], history.indices[known], indptr), shape=history.shape)


def _foremost(said: tuple[float, str]) -> float:
    """Sort by this what goes with the larger part of a score first."""
    return -said[0]


def _unlike(terms: Iterable[str]) -> Iterator[str]:
    """Yield `terms` without those that share a word with an earlier one."""
    words: set[str] = set()
    for term in terms:
        if words.isdisjoint(term.split()):
            words.update(term.split())
            yield term


@numba.njit(nogil=True, cache=True)
def _stored(rows: NDArray[np.int32], among: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return (n,) whether each row is among ascending others."""
    return np.array([contains(among, row) for row in rows], np.bool_)


@numba.njit(nogil=True, cache=True)
def _most_credited(
    credits: NDArray[np.floating], plays: NDArray[np.int32], foremost: NDArray[np.int32]
) -> None:
    """Fill foremost (m, k) with the plays whose credits (m, n) are largest, only those above 0."""
    for n in range(len(credits)):
        taken = np.zeros(len(plays), np.bool_)
        for place in range(foremost.shape[1]):
            best, most = -1, 0.0
            for play in range(len(plays)):
                if credits[n, play] > most and not taken[play]:
                    best, most = play, credits[n, play]
            if best < 0:
                break
            taken[best] = True
            foremost[n, place] = plays[best]


@numba.njit(nogil=True, cache=True)
def _first_meeting(
    indptr: NDArray[np.integer],
    indices: NDArray[np.int32],
    items: NDArray[np.int32],
    plays: NDArray[np.int32],
) -> None:
    """Put in front of plays (m, n) the first of each row that somebody plays who plays the item.

    -1 where there is none. Stored entries of row i of a matrix are who played item i, ascending.
    """
    for n in range(len(items)):
        these = indices[indptr[items[n]] : indptr[items[n] + 1]]
        met = np.int32(-1)
        for play in plays[n]:
            if play < 0 or met >= 0:
                break
            those = indices[indptr[play] : indptr[play + 1]]
            few, many = (these, those) if len(these) < len(those) else (those, these)
            for one in few:
                if contains(many, one):
                    met = play
                    break
        plays[n, 0] = met

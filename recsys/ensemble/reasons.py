"""Why an item is in a list: sentences that rest on what was played, said, heard and counted.

Enters: what a listener played and the items chosen for them. Leaves: for each item sentences, the
one behind the largest signal first. A sentence is written only while its evidence is there:

============= ============================================ ======================================
collaborative listeners who play X also play this          the listener played X, the model credits
                                                           X, and somebody plays both
text          described like Y: dreamy, lo-fi              the listener played Y, and those terms
                                                           make the two artists similar
audio         sounds like Z                                the listener played Z, the nearest sound
popularity    played by 412 listeners                      so many did; said when nothing else is
============= ============================================ ======================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.data.catalogue import Catalogue

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


@dataclass(frozen=True)
class Reasons:
    """Writes the reasons of one version."""

    catalogue: Catalogue
    listeners: csr_array
    """(n_items, n_users) stored entries: who played an item; indices sorted."""
    credits: Mapping[str, Credit]
    """Per source of candidates; popularity has none."""
    shared_terms: Callable[[int, int, int], list[tuple[str, float]]] | None = None
    """(artist row, artist row, k) -> what is said of both, foremost first; None without text."""

    def sentences(
        self,
        history: csr_array,
        heard: csr_array,
        items: NDArray[np.int32],
        signals: Sequence[Mapping[str, float]],
    ) -> list[list[str]]:
        """Return the sentences for each item.

        Parameters
        ----------
        history
            (1, n_items) float32 positive evidence of the listener.
        heard
            (1, n_items) what the listener knows; evidence on other items (an artist followed) is
            no play, so no sentence names it.
        items
            (n,) item rows of the list.
        signals
            (n,) the parts of each item's score.
        """
        tried = {
            source: _most_credited(credit, history, heard, items)
            for source, credit in self.credits.items()
        }
        writers = {"collaborative": self._collaborative, "text": self._text, "audio": self._audio}
        all_sentences = []
        for place, (item, parts) in enumerate(zip(items.tolist(), signals, strict=True)):
            by_signal = sorted((s for s in tried if parts.get(s, 0) > 0), key=lambda s: -parts[s])
            found = [writers[source](item, tried[source][place]) for source in by_signal]
            sentences = [sentence for sentence in found if sentence]
            all_sentences.append(sentences or self._popularity(item))
        return all_sentences

    def _collaborative(self, item: int, tried: list[int]) -> str:
        for play in tried:
            if _meet(self._who_played(item), self._who_played(play)):
                return f"listeners who play {self._name(play)} also play this"
        return ""

    def _text(self, item: int, tried: list[int]) -> str:
        artist = int(self.catalogue.item_artist[item])
        if self.shared_terms is None or artist < 0:
            return ""
        for play in tried:
            other = int(self.catalogue.item_artist[play])
            if other < 0 or other == artist:
                continue
            shared = _unlike(term for term, _ in self.shared_terms(artist, other, _TERMS_READ))
            if shared:
                named = ", ".join(shared[:_TERMS])
                return f"described like {self.catalogue.artist_name(other)}: {named}"
        return ""

    def _audio(self, item: int, tried: list[int]) -> str:
        return f"sounds like {self._name(tried[0])}" if tried else ""

    def _popularity(self, item: int) -> list[str]:
        n = len(self._who_played(item))
        if not n:
            return ["nobody has played this yet"]
        return [f"played by {n:,} listener{'s' if n > 1 else ''}"]

    def _who_played(self, item: int) -> NDArray[np.int32]:
        return self.listeners.indices[self.listeners.indptr[item] : self.listeners.indptr[item + 1]]

    def _name(self, item: int) -> str:
        """Return "title by artist", or what is known of it; an artist's name for an artist."""
        title, artist = self.catalogue.titles[item], int(self.catalogue.item_artist[item])
        id = self.catalogue.items[item]
        if artist < 0:
            return title or id
        name = self.catalogue.artist_name(artist)
        if self.catalogue.artists[artist] == id:
            return title or name
        return f"{title or id} by {name}"


def inner_products(vectors: NDArray[np.float32]) -> Credit:
    """Return the credit by nearness: the inner product of the play's and the item's vectors."""

    def credit(history: csr_array, items: NDArray[np.int32]) -> NDArray[np.floating]:
        return np.asarray(vectors[items] @ vectors[history.indices].T)

    return credit


def _most_credited(
    credit: Credit, history: csr_array, heard: csr_array, items: NDArray[np.int32]
) -> list[list[int]]:
    """Return for each item the played rows that speak for it most, the foremost first."""
    known = np.isin(history.indices, heard.indices)
    if not known.any() or not len(items):
        return [[] for _ in items]
    played = history.indices[known]
    credits = credit(history, items)[:, known]  # (m, n_played)
    foremost = np.argsort(-credits, axis=1, kind="stable")[:, :_TRIED]
    return [
        [int(played[p]) for p in places if credits[row, p] > 0]
        for row, places in enumerate(foremost)
    ]


def _unlike(terms: Iterable[str]) -> list[str]:
    """Return `terms` without those that share a word with an earlier one."""
    kept: list[str] = []
    words: set[str] = set()
    for term in terms:
        if words.isdisjoint(term.split()):
            kept.append(term)
            words.update(term.split())
    return kept


def _meet(a: NDArray[np.int32], b: NDArray[np.int32]) -> bool:
    """Tell whether two ascending arrays share a number."""
    few, many = (a, b) if len(a) < len(b) else (b, a)
    place = np.searchsorted(many, few)
    inside = place < len(many)
    return bool(np.any(many[place[inside]] == few[inside]))

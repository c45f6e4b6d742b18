"""Text -> which artists and items it names, and whom it is about.

Enters: the names of all artists and the titles of all items, then a text. Leaves: mentions with
their places. All names are sought at once (A. Aho, M. Corasick, "Efficient string matching", 1975)
in a spelling without case and accents; what is found is then weighed.

A name that no other text would hold (*Radiohead*, *AC/DC*, *Massive Attack*) counts where it is
written as it is spelt. A name that is also an ordinary word or a place (*Yes*, *Boston*, *The Who*)
counts on evidence alone: a capital letter where only names have one, no longer name around it, and,
where the capital says nothing (at the head of a sentence, for a place), words of music beside it.
The title of an item that is an ordinary word counts beside its artist. A name that several artists
share names none of them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import ahocorasick

from recsys.text.cues import (
    ARTICLES,
    BEFORE_THINGS,
    DOES,
    IS_A,
    JOINS,
    KINDS_OF_ARTIST,
    MUSIC,
    OF_ARTISTS,
    PLAYS_IN,
    TITLES,
)
from recsys.text.spelling import Risk, as_spelt, fold, risk, trim, variants, whole
from recsys.text.tagger import default_tagger
from recsys.text.terms import MAX_CHARACTERS

__all__ = ["Mention", "Names"]

_MIN_CHARACTERS = 2
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|\n|[^\w\s]")
_ENDS = frozenset('.!?:;\n"“”‘(*–—•')
_ROUNDS = 3
"""Times that the names still in doubt are weighed against those found so far."""
_WINDOW = 6
"""Tokens behind *is a* in which a word of music must stand."""


@dataclass(frozen=True)
class Mention:
    """One place of a text that names somebody or something."""

    start: int
    """First character of the name in the text."""
    end: int
    """The character after its last."""
    kind: Literal["artist", "item"]
    row: int
    """Artist or item row."""


@dataclass(frozen=True)
class _Name:
    """What a spelling may mean."""

    spelling: str
    """As it is written, without a closing full stop, exclamation or question mark."""
    kind: Literal["artist", "item"]
    rows: tuple[int, ...]
    risk: Risk
    """Why it may mean something else."""


class Names:
    """All names, ready to be found in texts in one pass.

    Parameters
    ----------
    artists
        Names by artist row, None where unknown.
    titles
        Titles by item row, None where unknown.
    item_artists
        Artist row by item row, -1 where unknown.
    """

    def __init__(
        self,
        artists: Sequence[str | None],
        titles: Sequence[str | None] = (),
        item_artists: Sequence[int] = (),
    ) -> None:
        self._item_artists = item_artists
        self._names: list[_Name] = []
        self._automaton = ahocorasick.Automaton()
        self._add("artist", artists)
        self._add("item", titles)
        if self._names:
            self._automaton.make_automaton()

    def mentions(self, text: str) -> list[Mention]:
        """Return what `text` names, in order, the longest name where several overlap."""
        if not self._names:
            return []
        return _Reading(text[:MAX_CHARACTERS], self._automaton, self._names).mentions(
            self._item_artists
        )

    def find(self, text: str) -> Counter[int]:
        """Return how often `text` mentions each artist row."""
        return Counter(m.row for m in self.mentions(text) if m.kind == "artist")

    def subjects(self, title: str | None, found: Sequence[Mention]) -> tuple[list[int], list[int]]:
        """Return the rows of the artists and of the items that a document is about, ascending.

        These are those named in the title, or else the artist whom the text names most, of equals
        the first: the others are only mentioned alongside.

        Parameters
        ----------
        title
            The document's title.
        found
            The mentions in its text.
        """
        # A title is no sentence: its first word is capitalised by its writer, as a name would be.
        titled = self.mentions(f"by {title}") if title else []
        artists = {mention.row for mention in titled if mention.kind == "artist"}
        items = {mention.row for mention in titled if mention.kind == "item"}
        if not artists and not items:
            named = Counter(mention.row for mention in found if mention.kind == "artist")
            artists = {row for row, _ in named.most_common(1)}
        return sorted(artists), sorted(items)

    def _add(self, kind: Literal["artist", "item"], names: Sequence[str | None]) -> None:
        rows_of: defaultdict[str, list[int]] = defaultdict(list)
        for row, given in enumerate(names):
            if given and (spelling := trim(given)) and len(spelling) >= _MIN_CHARACTERS:
                rows_of[spelling].append(row)
        for spelling, rows in rows_of.items():
            for variant in variants(spelling):
                if variant != spelling and variant in rows_of:
                    continue  # another's own name
                name = _Name(variant, kind, tuple(rows), risk(variant))
                key, number = fold(variant), len(self._names)
                self._names.append(name)
                self._automaton.add_word(key, (len(key), [*self._numbers(key), number]))

    def _numbers(self, key: str) -> list[int]:
        return list(self._automaton.get(key, (0, []))[1])


class _Reading:
    """One text while its names are weighed."""

    def __init__(self, text: str, automaton: ahocorasick.Automaton, names: list[_Name]) -> None:
        self.text = text
        found = list(_TOKEN.finditer(text))
        self.tokens = [match.group() for match in found]
        self.lower = [token.lower() for token in self.tokens]
        self._starts = [match.start() for match in found]
        self._is_musical = not MUSIC.isdisjoint(self.lower)
        self._hits = list(self._longest(automaton, names))
        self._accepted: dict[int, Mention] = {}
        self._ends: set[int] = set()
        self._said: set[tuple[str, int]] = set()

    def mentions(self, item_artists: Sequence[int]) -> list[Mention]:
        """Return the hits that stand up to the evidence."""
        waiting = self._hits
        # What one name shows is evidence for the next: lists of names, an artist beside a title.
        for _ in range(_ROUNDS):
            left = [hit for hit in waiting if not self._accept(*hit, item_artists)]
            if len(left) == len(waiting):
                break
            waiting = left
        return [self._accepted[start] for start in sorted(self._accepted)]

    def _accept(
        self, start: int, end: int, candidates: list[_Name], item_artists: Sequence[int]
    ) -> bool:
        for name in candidates:
            row = self._row(name, item_artists)
            if row >= 0 and self._stands(start, end, name):
                self._accepted[start] = Mention(start, end, name.kind, row)
                self._ends.add(end)
                self._said.add((name.kind, row))
                return True
        return False

    def _longest(
        self, automaton: ahocorasick.Automaton, names: list[_Name]
    ) -> Iterator[tuple[int, int, list[_Name]]]:
        """Yield (start, end, names) of the names as written, the longest where some overlap."""
        folded, hits = fold(self.text), []
        for last, (length, numbers) in automaton.iter(folded):
            start, end = last + 1 - length, last + 1
            written = self.text[start:end]
            if whole(self.text, start, end):
                fitting = [names[n] for n in numbers if as_spelt(written, names[n].spelling)]
                if fitting:
                    hits.append((start, end, fitting))
        taken = 0
        for start, end, fitting in sorted(hits, key=lambda hit: (hit[0], -hit[1])):
            if start >= taken:
                taken = end
                yield start, end, fitting

    def _row(self, name: _Name, item_artists: Sequence[int]) -> int:
        """Return the one row that `name` means here, or -1."""
        if name.kind == "artist":
            return name.rows[0] if len(name.rows) == 1 else -1
        beside = [
            row
            for row in name.rows
            if len(item_artists) and ("artist", int(item_artists[row])) in self._said
        ]
        if len(beside) == 1:
            return beside[0]
        telling = name.risk in ("none", "words") and not name.spelling.islower()
        return name.rows[0] if len(name.rows) == 1 and telling else -1

    def _stands(self, start: int, end: int, name: _Name) -> bool:
        """Tell whether the evidence around it makes a spelling the name that it may be."""
        first = bisect_left(self._starts, start)
        after = bisect_left(self._starts, end)
        before = self._token(first - 1)
        if name.kind == "item" or name.risk == "none":
            return True  # for an item, its artist or its spelling has spoken already
        if name.spelling.islower():  # as any other word is written
            return before in KINDS_OF_ARTIST
        if self._in_longer_name(first, after):
            return False
        article = name.spelling.lower().startswith("the ")
        if name.risk == "words" and not article:
            return True
        if not article and self._at_head(first):
            rare = name.risk == "rare" and self._is_musical
            return rare or self._does(after) or self._in_list(after, name)
        if not article and self._is_thing(before, name):
            return False
        if name.risk == "place":
            return before in OF_ARTISTS or self._does(after) or self._is_home(first)
        return True

    def _token(self, place: int) -> str:
        return self.lower[place] if 0 <= place < len(self.lower) else ""

    def _at_head(self, first: int) -> bool:
        """Tell whether a capital at token `first` is that of a sentence."""
        return first == 0 or self.tokens[first - 1] in _ENDS

    def _does(self, after: int) -> bool:
        """Tell whether what follows token `after` is what artists do or are."""
        if self._token(after) in DOES:
            return True
        if self._token(after) in IS_A and self._token(after + 1) in ARTICLES:
            return not MUSIC.isdisjoint(self.lower[after : after + _WINDOW])
        # "Stars from Montreal write": the home of the artist stands between.
        if self._token(after) != "from" or self._token(after + 2) not in DOES:
            return False
        return self.tokens[after + 1][0].isupper()

    def _in_list(self, after: int, name: _Name) -> bool:
        """Tell whether the name is accepted elsewhere, or one that is joined to it here."""
        if any((name.kind, row) in self._said for row in name.rows):
            return self._is_musical
        if self._token(after) not in JOINS:
            return False
        joined = after
        while self._token(joined) in JOINS or self._token(joined) == "the":
            joined += 1
        starts = self._starts[joined - 1 : joined + 1]  # a name may begin with its article
        if any(start in self._accepted for start in starts):
            return True
        behind = joined  # perhaps a name that nobody told us, which does what artists do
        while behind < len(self.tokens) and self.tokens[behind][0].isupper():
            behind += 1
        return behind > joined and self._token(behind) in DOES

    def _in_longer_name(self, first: int, after: int) -> bool:
        """Tell whether a capital beside the name makes it a part of a longer one."""
        nearby = after < len(self.tokens) and self._adjoins(after - 1, after)
        if nearby and self.tokens[after][0].isupper() and self._starts[after] not in self._accepted:
            return True
        if first == 0 or not self._adjoins(first - 1, first):
            return False
        word = self.tokens[first - 1]
        if not word[0].isupper() or word.lower().endswith(("'s", "’s")):
            return False
        if word.lower() in TITLES:
            return True
        head = self._at_head(first - 1) and _opens_sentence(word.lower())
        return not (head or self._starts[first - 1] + len(word) in self._ends)

    def _adjoins(self, one: int, two: int) -> bool:
        """Tell whether only a space lies between two tokens."""
        gap = self.text[self._starts[one] + len(self.tokens[one]) : self._starts[two]]
        return gap == " "

    def _is_thing(self, before: str, name: _Name) -> bool:
        """Tell whether the word before makes it a thing; names in the plural may have *the*."""
        plural = before == "the" and name.spelling.endswith("s")
        return before in BEFORE_THINGS and not plural

    def _is_home(self, first: int) -> bool:
        """Tell whether a musician belongs there: *sang in Japan*, *Zach Condon of Beirut*."""
        if first < 2:
            return False
        if self.lower[first - 1] == "of":
            return self.tokens[first - 2][0].isupper()
        return self.lower[first - 1] in ("in", "to") and self.lower[first - 2] in PLAYS_IN


def _opens_sentence(word: str) -> bool:
    """Tell whether a capital is a sentence's, not a name's: *When Air*, and not *Fresh Air*."""
    tags = default_tagger().classes.get(word, "NOUN")
    return not tags.startswith(("ADJ", "NOUN", "PROPN"))

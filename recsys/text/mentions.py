"""Text -> the artists whom it is about, by careful name match.

Enters: the artists' names and a text. Leaves: artist rows. A name counts where it is written as it
is spelt (case and all), as whole words, the longest name first. A name that is also an ordinary
word (Yes, Air, Muse) needs more: at least one mention that cannot be a sentence's first word, and
no lower-case use of that word in the same text. A name that two artists share names neither.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from recsys.text.terms import MAX_CHARACTERS

__all__ = ["Names"]

_TOKEN = re.compile(r"[^\W_]+|[^\w\s]")
_MIN_CHARACTERS = 2
_ENDS = frozenset(".!?:\"'“”‘’(*-–—")


class Names:
    """The names of all artists, ready to be found in texts in one pass.

    Parameters
    ----------
    names
        (n_artists,) names by artist row, None where unknown.
    """

    def __init__(self, names: Sequence[str | None]) -> None:
        self._rows: dict[tuple[str, ...], int] = {}
        self._longest: dict[str, int] = {}
        """First token -> length in tokens of the longest name that begins with it."""
        for row, name in enumerate(names):
            tokens = tuple(_TOKEN.findall(name or ""))
            if sum(map(len, tokens)) < _MIN_CHARACTERS:
                continue
            self._rows[tokens] = -1 if tokens in self._rows else row
            self._longest[tokens[0]] = max(self._longest.get(tokens[0], 0), len(tokens))

    def find(self, text: str) -> Counter[int]:
        """Return how often `text` mentions each artist row."""
        tokens = _TOKEN.findall(text[:MAX_CHARACTERS])
        present = set(tokens)
        found: Counter[int] = Counter()
        certain: set[int] = set()
        place = 0
        while place < len(tokens):
            length, row = self._match(tokens, place)
            if row >= 0:
                name = tokens[place : place + length]
                found[row] += 1
                first = place == 0 or tokens[place - 1] in _ENDS
                if length > 1 or (not first and _is_proper(name[0], present)):
                    certain.add(row)
            place += max(length, 1)
        return Counter({row: n for row, n in found.items() if row in certain})

    def subjects(self, title: str | None, text: str) -> list[int]:
        """Return the rows of the artists whom a document is about, ascending.

        These are the artists named in the title, or else the one whom the text names most, of
        equals the first: the others are only mentioned alongside.
        """
        # A title is no sentence: its first word is capitalised by its writer, as a name would be.
        titled = self.find(f"of {title}") if title else Counter()
        return sorted(titled) or [row for row, _ in self.find(text).most_common(1)]

    def _match(self, tokens: list[str], place: int) -> tuple[int, int]:
        """Return (tokens taken, artist row) of the longest name at `place`, (0, -1) for none."""
        for length in range(self._longest.get(tokens[place], 0), 0, -1):
            row = self._rows.get(tuple(tokens[place : place + length]))
            if row is not None:
                return length, row
        return 0, -1


def _is_proper(word: str, present: set[str]) -> bool:
    """Tell whether a word is written as only names are, in a text of the words `present`."""
    lowered = word.lower()
    return word != lowered and lowered not in present

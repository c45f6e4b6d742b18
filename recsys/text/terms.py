"""Words -> terms: what a text says, as single words (n1) and pairs of neighbours (n2).

Enters: a text. Leaves: how often each term is said in it. Case, compatibility forms and markup
remnants do not distinguish terms; function words make no term; a pair never crosses punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

__all__ = ["MAX_CHARACTERS", "STOP_WORDS", "count_terms", "phrases"]

MAX_CHARACTERS = 200_000
"""Characters read of one text; a longer one is no article."""

_MAX_WORD = 40
_PHRASE = re.compile(r"[^.!?;:,()\[\]{}\"“”«»|<>/\\\n\r\t]+")
_WORD = re.compile(r"[^\W_]+(?:['’&-][^\W_]+)*")

_FUNCTION_WORDS = (
    "a about above after again all also am an and any are as at be because been before "
    "being below between both but by can could did do does doing down during each few for "
    "from further had has have having he her here hers him his how i if in into is it "
    "it's its itself just me more most my no nor not now of off on once only or other our "
    "out over own s same she should so some such t than that the their them then there "
    "these they this those through to too under until up very was we were what when where "
    "which while who whom whose why will with would you your "
)
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Function words of English; they carry grammar, not description."""


def phrases(text: str) -> Iterator[list[str]]:
    """Yield the words of each stretch between punctuation, case kept, in order."""
    text = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS])
    for stretch in _PHRASE.findall(text):
        words = _WORD.findall(stretch)
        if words:
            yield words


def count_terms(text: str) -> Counter[str]:
    """Return how often `text` says each n1 and n2 term, in lower case; n2 words have one space."""
    counts: Counter[str] = Counter()
    for words in phrases(text):
        # A word beyond any language's is an address, a key, or noise; it also parts its neighbours.
        spoken = [word.casefold() if len(word) <= _MAX_WORD else "" for word in words]
        telling = [word if word not in STOP_WORDS else "" for word in spoken]
        counts.update(word for word in telling if word)
        counts.update(f"{left} {right}" for left, right in pairwise(telling) if left and right)
    return counts

"""Names as they are written: their variants, their capitals, and what else they may mean.

Enters: a name or a piece of text. Leaves: a spelling, or a judgement of it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Literal

from recsys.text.tagger import default_tagger
from recsys.text.terms import STOP_WORDS

__all__ = ["Risk", "as_spelt", "fold", "risk", "trim", "variants", "whole"]

Risk = Literal["none", "rare", "word", "words", "place"]
"""none: nothing else is written so; rare: one plain word that is not in the vocabulary; word,
words: one or several words of the vocabulary; place: the name of a place."""


def trim(name: str) -> str:
    """Return a name in one normal form, without what may close a sentence."""
    name = " ".join(unicodedata.normalize("NFC", name).split())
    return name if "." in name[:-1] else (name.rstrip(".!?") or name)


def variants(name: str) -> Iterator[str]:
    """Yield the spellings under which a name goes."""
    yield name
    for sign in (" & ", " + ", " and "):
        if sign in name.lower():
            place = name.lower().index(sign)
            for other in {" & ", " and "} - {sign}:
                yield name[:place] + other + name[place + len(sign) :]
    if name.startswith("The ") and risk(bare := name[4:]) in ("none", "rare"):
        yield bare


@cache
def _places() -> frozenset[str]:
    listed = files("recsys.text") / "weights" / "places.txt"
    return frozenset(listed.read_text(encoding="utf-8").lower().split())


def _is_ordinary(word: str) -> bool:
    word, vocabulary = word.lower(), default_tagger().vocabulary
    known = word in vocabulary or word.removesuffix("s") in vocabulary or word in STOP_WORDS
    return known or f"{word}s" in vocabulary


def risk(name: str) -> Risk:
    """Tell what else a spelling may mean."""
    words = name.split()
    if words[0].lower() == "the" and len(words) == 2 and _is_ordinary(words[1]):
        return "word"
    if len(words) > 1:
        return "words" if all(map(_is_ordinary, words)) else "none"
    if name.lower() in _places():
        return "place"
    if name.rstrip("s").isdigit():  # a year, a decade
        return "word"
    if not (name.isalpha() and name.isascii() and name[1:].islower()):
        return "none"
    return "word" if _is_ordinary(name) else "rare"


def fold(text: str) -> str:
    """Return `text` without case and accents, character for character."""
    return "".join(map(_fold_character, text))


@cache
def _fold_character(character: str) -> str:
    if character in "’‘`´":
        return "'"
    base = unicodedata.normalize("NFKD", character)[0].casefold()
    return base if len(base) == 1 else character


def whole(text: str, start: int, end: int) -> bool:
    """Tell whether the name stands for itself, not within a word."""
    before, behind = text[start - 1 : start], text[end : end + 1]
    if not text[start].isalnum() and before and not before.isspace():
        return False
    return not (
        (text[start].isalnum() and before.isalnum())
        or (text[end - 1].isalnum() and behind.isalnum())
    )


def as_spelt(written: str, spelling: str) -> bool:
    """Tell whether `written` has the capitals of `spelling`; accents and small words may differ."""
    shown, wanted = written.split(), spelling.split()
    if len(shown) != len(wanted):
        return False
    if written.isupper() and risk(spelling) in ("none", "rare"):
        return True
    pairs = list(zip(shown, wanted, strict=True))
    small = [other.lower() in STOP_WORDS for _, other in pairs[:-1]]  # *the Who*, *Nick and the*
    return all(
        free or _capitals(one) == _capitals(other)
        for (one, other), free in zip(pairs, [*small, False], strict=True)
    )


def _capitals(word: str) -> tuple[bool, bool]:
    return word.isupper(), word[:1].isupper()

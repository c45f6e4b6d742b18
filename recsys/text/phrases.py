"""Text -> its terms by type: words (n1), pairs (n2), noun phrases (np) and adjectives (adj).

Enters: a text. Leaves: for each type the terms in the order in which they are said, repeats kept,
in lower case. Function words are no term of their own; no term crosses punctuation. Noun phrases
are the longest runs of adjectives and nouns that end in a noun.

The four types are those of B. Whitman, S. Lawrence, "Inferring descriptions and similarity for
music from community metadata", ICMC 2002; the pattern is that of J. Justeson, S. Katz, "Technical
terminology", Natural Language Engineering 1, 1995, without its prepositions.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from recsys.text.tagger import Tagger, default_tagger
from recsys.text.terms import MAX_CHARACTERS, STOP_WORDS

__all__ = ["KINDS", "phrases", "split"]

KINDS = ("n1", "n2", "np", "adj")
"""The types of terms."""

_TOKEN = re.compile(r"[^\W_]+(?:['’&-][^\W_]+)*|\n|[^\w\s]")
_CLITIC = re.compile(r"(?<=\w)(n['’]t|['’](?:s|re|ve|ll|d|m))$", re.IGNORECASE)
_NEGATIONS = ("n't", "n’t")
_ENDS = frozenset(".!?\n")
_MAX_SENTENCE = 200
"""Words after which a sentence is cut: lists and tables have no full stop."""
_MAX_WORD = 40
_MAX_PHRASE = 5
_LETTERS = {"ADJ": "A", "NOUN": "N", "PROPN": "N"}
_NOUN_PHRASE = re.compile(r"[AN]*N")


def split(text: str) -> list[list[str]]:
    """Return the sentences of `text` as words and punctuation, clitics apart (*do n't*)."""
    text = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS])
    sentences: list[list[str]] = [[]]
    for token in _TOKEN.findall(text):
        if token != "\n":
            clitic = _CLITIC.search(token)
            parts = (token[: clitic.start()], clitic.group()) if clitic else (token,)
            sentences[-1].extend(parts)
        if token in _ENDS or len(sentences[-1]) >= _MAX_SENTENCE:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def phrases(text: str, tagger: Tagger | None = None) -> dict[str, list[str]]:
    """Return the terms of `text` for each of `KINDS`, in order.

    Parameters
    ----------
    text
        Plain text; only the first `MAX_CHARACTERS` are read.
    tagger
        The part-of-speech tagger; the default is the one that ships with the package.
    """
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    sentences = split(text)
    for words, tags in zip(sentences, (tagger or default_tagger()).tag(sentences), strict=True):
        terms = [_term(word) for word in words]  # "" where a word is none; it parts its neighbours
        found["n1"] += filter(None, terms)
        found["n2"] += [f"{one} {two}" for one, two in pairwise(terms) if one and two]
        described = zip(terms, tags, strict=True)
        found["adj"] += [term for term, tag in described if term and tag == "ADJ"]
        letters = [
            _LETTERS.get(tag, " ") if term else " " for term, tag in zip(terms, tags, strict=True)
        ]
        for run in _NOUN_PHRASE.finditer("".join(letters)):
            if run.end() - run.start() <= _MAX_PHRASE:
                found["np"].append(" ".join(terms[run.start() : run.end()]))
    return found


def _term(word: str) -> str:
    """Return the term that `word` makes; none for punctuation, function words and garbage."""
    term = word.casefold()
    said = word[0].isalnum() and len(word) <= _MAX_WORD and term not in _NEGATIONS
    return term if said and term not in STOP_WORDS else ""

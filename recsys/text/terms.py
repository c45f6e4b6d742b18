"""Text -> its terms by type: words (n1), pairs (n2), noun phrases (np) and adjectives (adj).

Enters: texts. Leaves: how often each says each term, under the key ``kind<tab>term``, in lower
case. Function words are no term of their own; no term crosses punctuation. Noun phrases are the
longest runs of adjectives and nouns that end in a noun.

The four types are those of B. Whitman, S. Lawrence, "Inferring descriptions and similarity for
music from community metadata", ICMC 2002; the pattern is that of J. Justeson, S. Katz, "Technical
terminology", Natural Language Engineering 1, 1995, without its prepositions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

from recsys.text.tagger import Tagger, default_tagger

__all__ = ["KINDS", "MAX_CHARACTERS", "STOP_WORDS", "count_terms", "phrases", "split"]

KINDS = ("n1", "n2", "np", "adj")
"""The types of terms."""

MAX_CHARACTERS = 200_000
"""Characters read of one text; a longer one is no article."""

_TOKEN = re.compile(r"[^\W_]+(?:['’&-][^\W_]+)*|\n|[^\w\s]")
_CLITIC = re.compile(r"(?<=\w)(n['’]t|['’](?:s|re|ve|ll|d|m))$", re.IGNORECASE)
_NEGATIONS = ("n't", "n’t")
_ENDS = frozenset(".!?\n")
_MAX_SENTENCE = 200
"""Words after which a sentence is cut: lists and tables have no full stop."""
_TAGGED_AT_ONCE = 256
"""Sentences tagged in one call: bounds memory, however long a text is."""
_MAX_WORD = 40
_MAX_PHRASE = 5
_LETTERS = {"ADJ": "A", "NOUN": "N", "PROPN": "N"}
_NOUN_PHRASE = re.compile(r"[AN]*N")

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

_FOREIGN_FUNCTION_WORDS = (
    "al au aus aux avec con da das dans de del della der des di dos du e een ein eine el ella "
    "en es est et för het il ist je la las le les los mit na nach och não para pas per por pour "
    "que qui se sich sin sobre som su sur till um un una und une uno van vom von y zu zum "
)
_FOREIGN = frozenset(_FOREIGN_FUNCTION_WORDS.split())
"""Those of its neighbours, unless they are English words too: *et*, *las*. They make no term, but
may be a part of one: *las vegas*."""


def split(text: str) -> list[list[str]]:
    """Return the sentences of `text` as words and punctuation, clitics apart (*do n't*)."""
    sentences: list[list[str]] = [[]]
    for token in _TOKEN.findall(text[:MAX_CHARACTERS]):
        if token != "\n":
            clitic = _CLITIC.search(token)
            parts = (token[: clitic.start()], clitic.group()) if clitic else (token,)
            sentences[-1].extend(parts)
        if token in _ENDS or len(sentences[-1]) >= _MAX_SENTENCE:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def phrases(text: str, tagger: Tagger | None = None) -> dict[str, list[str]]:
    """Return the terms of `text` for each of `KINDS`, in the order in which they are said.

    Parameters
    ----------
    text
        Plain text, as `recsys.text.plain.plain` makes it; only `MAX_CHARACTERS` are read.
    tagger
        The part-of-speech tagger; the default is the one that ships with the package.
    """
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for sentence in _tagged(split(text), tagger or default_tagger()):
        for kind, term in _terms(*sentence):
            found[kind].append(term)
    return found


def count_terms(texts: Sequence[str], tagger: Tagger | None = None) -> list[Counter[str]]:
    """Return how often each of `texts` says each term, by ``kind<tab>term``; as `phrases` does."""
    sentences = [split(text) for text in texts]
    tagged = _tagged(list(chain.from_iterable(sentences)), tagger or default_tagger())
    counts: list[Counter[str]] = []
    for ours in sentences:
        said = (_terms(*next(tagged)) for _ in ours)
        counts.append(Counter(f"{kind}\t{term}" for kind, term in chain.from_iterable(said)))
    return counts


def _tagged(
    sentences: Sequence[Sequence[str]], tagger: Tagger
) -> Iterator[tuple[Sequence[str], list[str]]]:
    """Yield each sentence with its tags."""
    for start in range(0, len(sentences), _TAGGED_AT_ONCE):
        some = sentences[start : start + _TAGGED_AT_ONCE]
        yield from zip(some, tagger.tag(some), strict=True)


def _terms(words: Sequence[str], tags: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (kind, term) of one sentence."""
    terms = [_term(word) for word in words]  # "" where a word is none; it parts its neighbours
    for term, tag in zip(terms, tags, strict=True):
        if term and term not in _FOREIGN:
            yield "n1", term
            if tag == "ADJ":
                yield "adj", term
    for one, two in pairwise(terms):
        if one and two and not (one in _FOREIGN and two in _FOREIGN):
            yield "n2", f"{one} {two}"
    letters = [
        _LETTERS.get(tag, " ") if term else " " for term, tag in zip(terms, tags, strict=True)
    ]
    for run in _NOUN_PHRASE.finditer("".join(letters)):
        phrase = terms[run.start() : run.end()]
        if len(phrase) <= _MAX_PHRASE and not _FOREIGN.issuperset(phrase):
            yield "np", " ".join(phrase)


def _term(word: str) -> str:
    """Return the term that `word` makes; none for punctuation, function words and garbage."""
    term = word.casefold()
    said = word[0].isalnum() and len(word) <= _MAX_WORD and term not in _NEGATIONS
    return term if said and term not in STOP_WORDS else ""

"""Words -> universal part-of-speech tags, by an averaged perceptron.

Sentences of words enter, one tag a word leaves. Nothing is done word by word: what a spelling shows
is computed once and remembered, and the features of a whole text are hashed and summed as arrays.
Instead of the tags already given to the left, a word's neighbours on both sides are seen by the
tags that each of them can have at all (its ambiguity class), so no word waits for another.

M. Collins, "Discriminative training methods for hidden Markov models", EMNLP 2002 (the averaged
perceptron); J. Gimenez, L. Marquez, "SVMTool", LREC 2004 (ambiguity classes);
K. Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009.
The tags are those of Universal Dependencies; the weights come from its English Web Treebank by
``scripts/train_tagger.py`` (``weights/LICENCE.md`` names their licence).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from itertools import chain
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from recsys.errors import InputError

__all__ = ["N_FEATURES", "TAGS", "Tagger", "default_tagger", "normal"]

TAGS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
"""The universal tags (UPOS); a tag's number is its place here."""

_FORM, _LOWER, _SHAPE, _CLASS, _SUFFIX2, _SUFFIX3 = 0, 1, 2, 3, 5, 6
_N_COLUMNS = 13
"""Form, lower case, shape, class, five suffixes, four prefixes."""
_TEMPLATES: tuple[tuple[tuple[int, int], ...], ...] = (
    *(((column, 0),) for column in range(_N_COLUMNS)),
    *(((column, place),) for column in (_LOWER, _CLASS) for place in (-2, -1, 1, 2)),
    *(((column, place),) for column in (_SUFFIX2, _SUFFIX3, _SHAPE) for place in (-1, 1)),
    *(((column, -1), (column, 0)) for column in (_LOWER, _CLASS, _SHAPE)),
    *(((column, 0), (column, 1)) for column in (_LOWER, _CLASS, _SHAPE)),
    *(((column, -1), (column, 1)) for column in (_LOWER, _CLASS)),
    *(((_CLASS, place), (column, 0)) for place in (-1, 1) for column in (_LOWER, _SUFFIX3, _SHAPE)),
    ((_CLASS, -2), (_CLASS, -1)),
    ((_CLASS, 1), (_CLASS, 2)),
    ((_CLASS, -1), (_CLASS, 0), (_CLASS, 1)),
    ((_CLASS, -2), (_CLASS, -1), (_CLASS, 0)),
    ((_CLASS, 0), (_CLASS, 1), (_CLASS, 2)),
)
"""What a feature looks at: (column, place relative to the word), one to three of them."""
N_FEATURES = len(_TEMPLATES)

_PAD = 2
"""Empty words around each sentence: the reach of the window."""
_DIGIT = re.compile(r"\d")
_SHAPES = ((re.compile(r"[A-ZÀ-ÖØ-Þ]"), "X"), (re.compile(r"[^\W\d_X]"), "x"), (_DIGIT, "0"))
_RUN = re.compile(r"(.)\1{2,}")
_MAX_WORD = 60
"""Characters of a word that are looked at: none is longer, but garbage is."""
_REMEMBERED = 200_000
"""Spellings whose columns are kept in memory."""
_CHUNK = 4096
"""Words scored at once: bounds memory at about chunk x features x tags bytes, 4 MB."""
_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_GOLDEN = 0x9E3779B97F4A7C15


def normal(word: str) -> str:
    """Return the spelling under which a word's class is known: lower case, every digit 0."""
    return _DIGIT.sub("0", word).lower()


class Tagger:
    """A trained tagger.

    Parameters
    ----------
    weights
        (2 ** bits, 17) int8, the weight of each tag for each hashed feature.
    classes
        Normal spelling of a frequent word -> the tags that it can have, most frequent first.
    vocabulary
        Words that the treebank says in lower case and not as names.
    """

    def __init__(
        self,
        weights: NDArray[np.int8],
        classes: Mapping[str, str],
        vocabulary: Iterable[str] = (),
    ) -> None:
        self.weights = weights
        self.classes = classes
        self.vocabulary = frozenset(vocabulary)
        self._known: dict[str, list[int]] = {}

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return one tag of `TAGS` for each word of each sentence."""
        rows = self.features(sentences)
        best = [
            self.weights[rows[start : start + _CHUNK]].sum(1, dtype=np.int16).argmax(1)
            for start in range(0, len(rows), _CHUNK)
        ]
        tags = iter([TAGS[number] for number in chain.from_iterable(best)])
        return [[next(tags) for _ in sentence] for sentence in sentences]

    def features(self, sentences: Sequence[Sequence[str]]) -> NDArray[np.int32]:
        """Return (n_words, N_FEATURES) int32 rows of `weights`, for all words in their order."""
        # Empty words stand before, between and behind the sentences; their columns are zeros.
        pad = [""] * _PAD
        words = pad + list(chain.from_iterable([*sentence, *pad] for sentence in sentences))
        columns = self._columns(words)
        lengths = np.array([len(sentence) for sentence in sentences], np.int64)
        gaps = _PAD * np.arange(1, len(lengths) + 1)
        places = np.arange(lengths.sum()) + np.repeat(gaps, lengths)  # (n_words,)
        bits = int(self.weights.shape[0]).bit_length() - 1
        rows = np.empty((len(places), N_FEATURES), np.int32)
        for number, template in enumerate(_TEMPLATES, start=1):
            # Products wrap modulo 2 ** 64; the high bits, which all bits reach, are the row.
            mixed = np.full(len(places), _GOLDEN * number % 2**64, np.uint64)
            for column, place in template:
                mixed ^= columns[places + place, column]
                mixed *= _FACTOR
                mixed ^= mixed >> np.uint64(32)
            mixed *= _FACTOR
            rows[:, number - 1] = mixed >> np.uint64(64 - bits)
        return rows

    def _columns(self, words: list[str]) -> NDArray[np.uint64]:
        """Return (n, 13) uint64, what the spelling of each word shows."""
        if len(self._known) > _REMEMBERED:
            self._known = {}
        known = self._known
        for word in set(words).difference(known):
            known[word] = self._spelling(word[:_MAX_WORD])
        return np.array([known[word] for word in words], np.uint64)

    def _spelling(self, word: str) -> list[int]:
        if not word:
            return [0] * _N_COLUMNS
        lower = normal(word)
        shape = word
        for pattern, letter in _SHAPES:
            shape = pattern.sub(letter, shape)
        shape = _RUN.sub(r"\1\1", shape)
        tags = self.classes.get(lower) or f"?{lower[-2:]}{shape[:1]}"
        suffixes = [lower[-n:] if len(lower) > n else f"^{lower}" for n in range(1, 6)]
        prefixes = [lower[:n] if len(lower) > n else f"{lower}$" for n in range(1, 5)]
        shown = (_DIGIT.sub("0", word), lower, shape, tags, *suffixes, *prefixes)
        return [_number(text) for text in shown]

    def to_bytes(self) -> bytes:
        """Return the tagger as a compressed npz file of plain arrays."""
        rows = np.flatnonzero(self.weights.any(1))
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            shape=np.array(self.weights.shape),
            rows=np.diff(rows, prepend=0).astype(np.uint16),  # steps compress better than rows
            weights=self.weights[rows],
            words=_pack(self.classes.keys()),
            classes=_pack(self.classes.values()),
            vocabulary=_pack(sorted(self.vocabulary)),
        )
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Tagger:
        """Read what `to_bytes` wrote.

        Raises
        ------
        InputError
            For any other content.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                weights = np.zeros(arrays["shape"], np.int8)
                weights[np.cumsum(arrays["rows"], dtype=np.int64)] = arrays["weights"]
                words, classes, vocabulary = (
                    _unpack(arrays[name]) for name in ("words", "classes", "vocabulary")
                )
        except (
            BadZipFile,
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            OSError,
            EOFError,
        ) as error:
            raise InputError(f"not the weights of a tagger: {error}") from error
        return cls(weights, dict(zip(words, classes, strict=True)), vocabulary)


@cache
def default_tagger() -> Tagger:
    """Return the tagger that ships with the package (English); one for the whole process."""
    return Tagger.from_bytes((files("recsys.text") / "weights" / "tagger.npz").read_bytes())


def _number(text: str) -> int:
    return int.from_bytes(
        blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little"
    )


def _pack(texts: Iterable[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(texts).encode(), np.uint8)


def _unpack(packed: NDArray[np.uint8]) -> list[str]:
    return packed.tobytes().decode().split("\n")

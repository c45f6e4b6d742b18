"""Train the part-of-speech tagger on a Universal Dependencies treebank.

    python scripts/train_tagger.py [TREEBANK] [--out recsys/text/weights/tagger.npz]

TREEBANK is a folder with en_ewt-ud-train.conllu and en_ewt-ud-dev.conllu (English Web Treebank,
CC BY-SA 4.0); the default is ud-english-ewt in the folder that RECSYS_TEST_DATA names. The weights
are trained on the train part alone. The settings below were chosen on its last tenth; the dev part
is only measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from recsys.text.tagger import TAGS, Tagger, normal

BITS = 20
"""The table has 2 ** BITS rows."""
EPOCHS = 8
MIN_COUNT = 4
"""A rarer word has no class of its own."""
MIN_SHARE = 0.05
"""A tag that a word has more rarely is not in its class."""
REPEATS = 5
"""Runs of the speed measurement; the median counts."""

Sentence = list[tuple[str, str]]


def read_treebank(path: Path) -> list[Sentence]:
    """Return the sentences of a CoNLL-U file as (word, universal tag) pairs."""
    sentences: list[Sentence] = [[]]
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            number, *fields = line.rstrip("\n").split("\t")
            if number.isdigit():  # neither a comment, nor a span of words, nor an empty node
                sentences[-1].append((fields[0], fields[2]))
            elif not number and sentences[-1]:
                sentences.append([])
    return [sentence for sentence in sentences if sentence]


def ambiguity_classes(sentences: Sequence[Sentence]) -> dict[str, str]:
    """Return for each frequent word the tags that it has, most frequent first."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        for word, tag in sentence:
            counts[normal(word)][tag] += 1
    classes = {}
    for word, tags in sorted(counts.items()):
        if tags.total() >= MIN_COUNT:
            ranked = sorted(tags, key=lambda tag: (-tags[tag], tag))
            classes[word] = "|".join(t for t in ranked if tags[t] >= MIN_SHARE * tags.total())
    return classes


def ordinary_words(sentences: Sequence[Sentence]) -> set[str]:
    """Return the words that are said in lower case and not as names."""
    return {
        word
        for sentence in sentences
        for word, tag in sentence
        if word.islower() and word.isalpha() and tag not in ("PROPN", "X")
    }


@numba.njit(cache=True)
def perceptron(
    rows: NDArray[np.int32],
    gold: NDArray[np.int64],
    orders: NDArray[np.int64],
    n_rows: int,
    n_tags: int,
) -> NDArray[np.float64]:
    """Return (n_rows, n_tags) weights, averaged over all steps of all epochs.

    The average is kept as in Daume's thesis: beside the weights w, the sum u of step times update;
    the average is w - u / steps.
    """
    weights = np.zeros((n_rows, n_tags), np.int32)
    moments = np.zeros((n_rows, n_tags), np.int64)
    scores = np.zeros(n_tags, np.int64)
    step = 0
    for epoch in range(orders.shape[0]):
        for word in orders[epoch]:
            step += 1
            scores[:] = 0
            for row in rows[word]:
                scores += weights[row]
            guess, right = np.argmax(scores), gold[word]
            if guess != right:
                for row in rows[word]:
                    weights[row, right] += 1
                    weights[row, guess] -= 1
                    moments[row, right] += step
                    moments[row, guess] -= step
    return weights - moments / (step + 1)


def train(sentences: Sequence[Sentence], *, seed: int) -> Tagger:
    """Train on `sentences`; equal seeds give equal weights."""
    empty = np.zeros((2**BITS, len(TAGS)), np.int8)
    tagger = Tagger(empty, ambiguity_classes(sentences), ordinary_words(sentences))
    rows = tagger.features([[word for word, _ in sentence] for sentence in sentences])
    gold = np.array([TAGS.index(tag) for sentence in sentences for _, tag in sentence])
    random = np.random.default_rng(seed)
    orders = np.stack([random.permutation(len(gold)) for _ in range(EPOCHS)])
    weights = perceptron(rows, gold, orders, 2**BITS, len(TAGS))
    # 17 scores are only compared, so one scale for all weights changes nothing but the rounding.
    scaled = np.rint(weights * (127 / np.abs(weights).max())).astype(np.int8)
    return Tagger(scaled, tagger.classes, tagger.vocabulary)


def accuracy(tagger: Tagger, sentences: Sequence[Sentence]) -> float:
    """Return the share of words whose tag is right."""
    tagged = tagger.tag([[word for word, _ in sentence] for sentence in sentences])
    right = sum(
        tag == gold
        for sentence, tags in zip(sentences, tagged, strict=True)
        for (_, gold), tag in zip(sentence, tags, strict=True)
    )
    return right / sum(map(len, sentences))


def words_per_second(tagger: Tagger, sentences: Sequence[Sentence]) -> float:
    """Return the median speed of a fresh tagger, which remembers no spelling, on one core."""
    words = [[word for word, _ in sentence] for sentence in sentences]
    seconds = []
    for _ in range(REPEATS):
        fresh = Tagger(tagger.weights, tagger.classes)
        began = time.process_time()
        fresh.tag(words)
        seconds.append(time.process_time() - began)
    return sum(map(len, words)) / sorted(seconds)[REPEATS // 2]


def main() -> None:
    """Train, write, and print what was reached."""
    data = os.environ.get("RECSYS_TEST_DATA")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "treebank", type=Path, nargs="?", default=data and Path(data, "ud-english-ewt")
    )
    parser.add_argument("--out", type=Path, default=Path("recsys/text/weights/tagger.npz"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.treebank:
        sys.exit("no treebank: give its folder, or set RECSYS_TEST_DATA")
    tagger = train(read_treebank(options.treebank / "en_ewt-ud-train.conllu"), seed=options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(tagger.to_bytes())
    tagger = Tagger.from_bytes(options.out.read_bytes())
    dev = read_treebank(options.treebank / "en_ewt-ud-dev.conllu")
    print(f"dev, {sum(map(len, dev))} words: {accuracy(tagger, dev):.2%} universal tags right")
    print(f"{words_per_second(tagger, dev):,.0f} words/s, {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

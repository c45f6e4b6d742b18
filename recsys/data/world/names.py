"""Invented names of artists and titles of tracks, and the vocabulary of words.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

__all__ = ["WORDS", "artist_names", "choose", "track_title"]

WORDS: dict[str, Any] = tomllib.loads(
    files("recsys.data.world").joinpath("words.toml").read_text(encoding="utf-8")
)
"""The vocabulary: names, sites and sentences, as written in words.toml."""

_PARTS: dict[str, list[str]] = {
    key: value.split() for key, value in WORDS["names"].items() if isinstance(value, str)
}


def artist_names(n: int, rng: np.random.Generator) -> list[str]:
    """Return `n` artist names: mostly distinct, some ordinary words, two of them borne twice."""
    names = list(dict.fromkeys(_artist_name(rng) for _ in range(2 * n)))[:n]
    places = rng.permutation(n)
    for place, name in zip(places[4:], WORDS["names"]["ordinary"][: max(1, n // 20)], strict=False):
        names[place] = name
    for pair in range(2 if n >= 40 else 1):
        names[places[2 * pair + 1]] = names[places[2 * pair]]
    return names


def track_title(rng: np.random.Generator) -> str:
    """Return a title of one to four words."""
    noun, adjective = (choose(_PARTS[part], rng).title() for part in ("nouns", "adjectives"))
    verb, name = choose(_PARTS["verbs"], rng).title(), _word(rng)
    forms = (
        noun,
        f"{verb} {name}",
        f"{noun} for {name}",
        f"{verb} the {noun}",
        f"The {adjective} {noun}",
        f"{adjective} {noun}",
    )
    return choose(forms, rng)


def choose(options: Sequence[str], rng: np.random.Generator) -> str:
    """Return one of `options`, each equally likely."""
    return options[int(rng.integers(len(options)))]


def _artist_name(rng: np.random.Generator) -> str:
    word, other = _word(rng), _word(rng)
    group, adjective = choose(_PARTS["groups"], rng), choose(_PARTS["adjectives"], rng).title()
    forms = (
        f"{word} {other}",
        f"{word} {other}",
        f"The {word} {group}",
        f"{adjective} {word}",
        f"{word} & the {group}",
        word,
    )
    return choose(forms, rng)


def _word(rng: np.random.Generator) -> str:
    word = choose(_PARTS["onsets"], rng) + choose(_PARTS["vowels"], rng)
    for _ in range(1 + int(rng.random() < 0.3)):
        word += choose(_PARTS["inner"], rng) + choose(_PARTS["vowels"], rng)
    return (word + choose(["", "", "", *_PARTS["codas"]], rng)).title()

"""Invented names of artists, titles of tracks, and the names of the sites that write about them."""

from __future__ import annotations

import numpy as np

__all__ = ["ORDINARY_NAMES", "artist_names", "listener_titles", "track_title"]

_ONSETS = "b br c d dr f fl g gr h j k kl l m n p pr r s sh st t tr v w y z".split()
_VOWELS = "a e i o u a e i o ai ea io ou".split()
_CODAS = ["", "", "", "l", "n", "r", "s", "m", "nd", "sk", "th", "rn", "x"]
_GROUPS = ["Owls", "Cartographers", "Tramlines", "Sleepers", "Foundry", "Orchard", "Parade"]
_GROUPS += ["Lamplighters", "Understudies", "Barometers", "Quartet", "Machines", "Sisters"]
_ADJECTIVES = "paper silver hollow second winter borrowed electric northern quiet crooked".split()
_ADJECTIVES += "blue last burning simple distant velvet careless midnight copper gentle".split()
_NOUNS = "river lantern window engine summer letter island mirror harbour signal orchard".split()
_NOUNS += "tiger ladder kitchen station feather ocean thunder pocket garden satellite".split()
_NOUNS += "wire bridge carousel ember compass hallway monsoon needle parade static".split()
_VERBS = "leaving counting holding calling chasing forgetting painting waking borrowing".split()

ORDINARY_NAMES = ("Otherwise", "Meanwhile", "Upstairs", "The Rest", "Tuesday", "Nearly", "Salt")
"""Names of artists that are words of every day, to be told apart by their context."""


def artist_names(n: int, rng: np.random.Generator) -> list[str]:
    """Return `n` artist names: mostly distinct, some ordinary words, two of them borne twice."""
    names: list[str] = []
    taken: set[str] = set()
    while len(names) < n:
        word = _word(rng)
        form = rng.integers(6)
        if form <= 1:
            name = f"{word} {_word(rng)}"
        elif form == 2:
            name = f"The {word} {_choose(_GROUPS, rng)}"
        elif form == 3:
            name = f"{_choose(_ADJECTIVES, rng).title()} {word}"
        elif form == 4:
            name = f"{word} & the {_choose(_GROUPS, rng)}"
        else:
            name = word
        if name not in taken:
            taken.add(name)
            names.append(name)
    places = rng.permutation(n)
    ordinary = ORDINARY_NAMES[: max(1, n // 20)]
    for place, name in zip(places[4:], ordinary, strict=False):
        names[place] = name
    if n >= 8:  # two artists of one name, twice in a full world
        names[places[1]] = names[places[0]]
        if n >= 40:
            names[places[3]] = names[places[2]]
    return names


def track_title(rng: np.random.Generator) -> str:
    """Return a title of one to four words."""
    form = rng.integers(6)
    if form == 0:
        return _choose(_NOUNS, rng).title()
    if form == 1:
        return f"{_choose(_VERBS, rng).title()} {_word(rng)}"
    if form == 2:
        return f"{_choose(_NOUNS, rng).title()} for {_word(rng)}"
    if form == 3:
        return f"{_choose(_VERBS, rng).title()} the {_choose(_NOUNS, rng).title()}"
    if form == 4:
        return f"The {_choose(_ADJECTIVES, rng).title()} {_choose(_NOUNS, rng).title()}"
    return f"{_choose(_ADJECTIVES, rng).title()} {_choose(_NOUNS, rng).title()}"


def listener_titles() -> tuple[str, ...]:
    """Return titles that listeners give their playlists."""
    return ("Sunday", "On repeat", "For the train", "Kitchen", "Late", "Mixtape", "Good ones")


def _word(rng: np.random.Generator) -> str:
    syllables = int(rng.integers(2, 4))
    word = "".join(_choose(_ONSETS, rng) + _choose(_VOWELS, rng) for _ in range(syllables))
    return (word + _choose(_CODAS, rng)).title()


def _choose(options: list[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]

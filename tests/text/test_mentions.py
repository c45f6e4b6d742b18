"""Names in texts: what counts as a mention, and whom a text is about.

``mentions.jsonl`` holds sentences labelled by hand, the hard ones on purpose: ``[artist]`` and
``<item>``, with ``=name`` where the text spells it otherwise and ``/artist`` where several artists
have an item of that title. The rules were made on those that are not held out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.mentions import Mention, Names
from recsys.text.spelling import fold

ARTISTS = ["Yes", "Air", "Boston", "The Who", "Nick Cave", "Nick Cave & The Bad Seeds", None, "múm"]
YES, AIR, BOSTON, WHO, CAVE, SEEDS, _, MUM = range(len(ARTISTS))

HERE = Path(__file__).parent
GIVEN = json.loads((HERE / "mentions_names.json").read_text())
MARK = re.compile(r"\[([^\]]+)\]|<([^>]+)>")


@pytest.fixture(scope="module")
def names() -> Names:
    return Names(ARTISTS)


@pytest.fixture(scope="module")
def all_names() -> Names:
    artists = GIVEN["artists"]
    titles = [title for title, _ in GIVEN["items"]]
    return Names(artists, titles, [artists.index(artist) for _, artist in GIVEN["items"]])


def read_labels(marked: str) -> tuple[str, set[Mention]]:
    """Return a sentence without its marks, and what they say."""
    text, mentions, place = "", set(), 0
    for mark in MARK.finditer(marked):
        text += marked[place : mark.start()]
        place = mark.end()
        shown, _, name = (mark.group(1) or mark.group(2)).partition("=")
        title, _, artist = (name or shown).partition("/")
        end = len(text) + len(shown)
        if mark.group(1):
            row = GIVEN["artists"].index(name or shown)
            mentions.add(Mention(len(text), end, "artist", row))
        else:
            fitting = [i for i, (t, a) in enumerate(GIVEN["items"]) if t == title]
            fitting = [i for i in fitting if artist in ("", GIVEN["items"][i][1])]
            mentions.add(Mention(len(text), end, "item", fitting[0]))
        text += shown
    return text + marked[place:], mentions


@pytest.mark.parametrize("held_out", [False, True])
def test_labelled_sentences(all_names: Names, held_out: bool) -> None:
    lines = map(json.loads, (HERE / "mentions.jsonl").read_text().splitlines())
    sentences = [read_labels(s["text"]) for s in lines if s["held_out"] == held_out]
    assert len(sentences) >= 100
    right = found = wanted = 0
    for text, labelled in sentences:
        mentions = set(all_names.mentions(text))
        right += len(mentions & labelled)
        found += len(mentions)
        wanted += len(labelled)
    assert right / found >= 0.95
    assert right / wanted >= 0.85


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I saw Air live.", {AIR: 1}),
        ("Air is what we breathe.", {}),
        ("The air in Air is thin.", {AIR: 1}),
        ("fresh air and boston baked beans", {}),
        ("Yes, he said. And then Yes played.", {YES: 1}),
        ("He asked who came. The Who came.", {WHO: 1}),
        ("Nick Cave & The Bad Seeds toured; Nick Cave sang.", {SEEDS: 1, CAVE: 1}),
        ("Nick Cave and the Bad Seeds toured.", {SEEDS: 1}),
        ("NICK CAVE", {}),
        ("Nick Caves", {}),
        ("They sound like múm.", {MUM: 1}),
        ("They flew to Boston. Songs by Boston were on the radio.", {BOSTON: 1}),
        ("", {}),
    ],
)
def test_find(names: Names, text: str, expected: dict[int, int]) -> None:
    assert names.find(text) == expected


def test_places_are_those_of_the_text_as_it_was_given() -> None:
    text = "Ça va ? 🎸 On écoute Beyonce, “Beyoncé” et ﬁn."
    mentions = Names(["Beyoncé"]).mentions(text)
    assert [text[m.start : m.end] for m in mentions] == ["Beyonce", "Beyoncé"]


def test_a_title_that_is_a_word_needs_its_artist() -> None:
    names = Names(["U2", "Metallica"], ["One", "One", "Where the Streets Have No Name"], [0, 1, 0])
    assert names.mentions("One of the guitars broke.") == []
    assert [m.row for m in names.mentions("U2 closed with One.") if m.kind == "item"] == [0]
    assert [m.row for m in names.mentions("Metallica closed with One.") if m.kind == "item"] == [1]
    assert not [m for m in names.mentions("U2 and Metallica both have a One.") if m.kind == "item"]
    assert [m.row for m in names.mentions("We heard Where the Streets Have No Name.")] == [2]


def test_names_that_are_written_small_are_words_without_evidence() -> None:
    names = Names(["she", "ambient", "1990s", "fun.", "my song"])
    text = "In the 1990s she made ambient music; it was fun. She wrote my song."
    assert names.find(text) == {}
    assert names.find("I love the band fun.") == {3: 1}


def test_the_title_names_the_subject(names: Names) -> None:
    text = "A night with Air, and Air again; then Nick Cave."
    assert names.subjects("Nick Cave in concert", names.mentions(text)) == ([CAVE], [])
    assert names.subjects("Boston", names.mentions(text)) == ([BOSTON], [])


def test_without_title_the_most_named_is_the_subject_and_of_equals_the_first(names: Names) -> None:
    def subject(text: str) -> tuple[list[int], list[int]]:
        return names.subjects(None, names.mentions(text))

    assert subject("We met Nick Cave, who likes Air; and Air likes us.") == ([AIR], [])
    assert subject("We met Nick Cave, who likes Air.") == ([CAVE], [])
    assert subject("Nothing here.") == ([], [])


def test_a_title_can_name_an_item() -> None:
    names = Names(["U2"], ["Where the Streets Have No Name"], [0])
    title = "Where the Streets Have No Name: a review"
    assert names.subjects(title, names.mentions("It soars.")) == ([], [0])


def test_a_shared_name_names_neither() -> None:
    assert Names(["Nirvana", "Nirvana"]).find("I love Nirvana.") == {}
    beatles = Names(["The Beatles", "Beatles"])
    assert beatles.find("I love Beatles and the Beatles.") == {0: 1, 1: 1}


@pytest.mark.parametrize(
    "text", ["Yes " * 60_000, "Air, " * 60_000, "a" * 300_000, "The Who. " * 9]
)
def test_repeats_take_linear_time_and_end(names: Names, text: str) -> None:
    assert set(names.find(text)) <= {YES, AIR, WHO}


def test_no_names_and_empty_names_find_nothing() -> None:
    assert Names([]).mentions("Air") == []
    assert Names([None, "", " ", "?", "X"]).mentions("X marks ? the spot") == []


@given(st.text(max_size=80), st.lists(st.text(max_size=6), max_size=5))
def test_any_text_and_any_names(text: str, given_names: list[str]) -> None:
    for mention in Names(given_names, given_names).mentions(text):
        assert 0 <= mention.start < mention.end <= len(text)


@given(st.text(max_size=80))
def test_folding_keeps_every_place(text: str) -> None:
    assert len(fold(text)) == len(text)

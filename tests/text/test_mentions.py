"""Names in texts: what counts as a mention, and whom a text is about."""

from __future__ import annotations

import pytest

from recsys.text.mentions import Names

ARTISTS = ["Yes", "Air", "Boston", "The Who", "Nick Cave", "Nick Cave & The Bad Seeds", None, "múm"]
YES, AIR, BOSTON, WHO, CAVE, SEEDS, _, MUM = range(len(ARTISTS))


@pytest.fixture(scope="module")
def names() -> Names:
    return Names(ARTISTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I saw Air live.", {AIR: 1}),
        ("Air is what we breathe.", {}),
        ("The air in Air is thin.", {}),
        ("fresh air and boston baked beans", {}),
        ("Yes, he said. And then Yes played.", {YES: 2}),
        ("He asked who came. The Who came.", {WHO: 1}),
        ("Nick Cave & The Bad Seeds toured; Nick Cave sang.", {SEEDS: 1, CAVE: 1}),
        ("NICK CAVE", {}),
        ("Nick Caves", {}),
        ("They sound like múm.", {}),
        ("", {}),
    ],
)
def test_find(names: Names, text: str, expected: dict[int, int]) -> None:
    assert names.find(text) == expected


def test_the_title_names_the_subject(names: Names) -> None:
    text = "A night with Air, and Air again; then Nick Cave."
    assert names.subjects("Nick Cave in concert", text) == [CAVE]
    assert names.subjects("Boston", text) == [BOSTON]


def test_without_title_the_most_named_is_the_subject_and_of_equals_the_first(names: Names) -> None:
    assert names.subjects(None, "We met Nick Cave, who likes Air; and Air likes us.") == [AIR]
    assert names.subjects(None, "We met Nick Cave, who likes Air.") == [CAVE]
    assert names.subjects(None, "Nothing here.") == []


def test_a_shared_name_names_neither() -> None:
    assert Names(["Nirvana", "Nirvana"]).find("I love Nirvana.") == {}

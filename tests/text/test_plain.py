"""Plain text: markup, alphabets and languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.plain import language, plain
from recsys.text.terms import MAX_CHARACTERS


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("<p>Loud<br/>and &amp; &eacute;lan</p>", " Loud and & élan "),
        ("a <script>var x = 'loud';</script> b <!-- c --> d", "a   b   d"),
        ("1 < 2 and 3 > 2; I <3 this", "1 < 2 and 3 > 2; I <3 this"),
        ("ＡＢＢＡ ﬁre", "ABBA fire"),
        ("BjÃ¶rk and Sigur RÃ³s", "Björk and Sigur Rós"),
        ("Itâ€™s loud", "It’s loud"),
        ("BjÃ¶rk 🎸", "BjÃ¶rk 🎸"),  # cannot be read again whole: it stays
        ("Ângela Maria, Ãlvaro", "Ângela Maria, Ãlvaro"),
        ("", ""),
    ],
)
def test_plain(given: str, wanted: str) -> None:
    assert plain(given) == wanted


def test_gigantic_texts_are_cut() -> None:
    assert len(plain("x" * 10_000_000)) == MAX_CHARACTERS
    assert len(plain("ﷺ" * MAX_CHARACTERS)) == MAX_CHARACTERS  # NFKC makes it 18 times as long


@given(st.text())
def test_any_text_has_a_plain_form(text: str) -> None:
    assert len(plain(text)) <= MAX_CHARACTERS


def test_languages() -> None:
    assert language("The band plays loud and heavy music with a lot of joy") == "en"
    assert language("Die Band spielt laute und schwere Musik mit viel Freude") == "de"
    assert language("") == ""

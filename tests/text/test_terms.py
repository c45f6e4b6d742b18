"""Terms: what counts as a word, a pair, and nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recsys.text.terms import MAX_CHARACTERS, STOP_WORDS, count_terms


def test_words_and_pairs() -> None:
    assert count_terms("Dancing Queen is a perky, Swedish song. Dancing queen!") == {
        "dancing": 2,
        "queen": 2,
        "dancing queen": 2,
        "perky": 1,
        "swedish": 1,
        "song": 1,
        "swedish song": 1,
    }


def test_a_pair_crosses_neither_punctuation_nor_a_function_word() -> None:
    terms = count_terms("dark, brooding wall of sound\nloud")
    assert "brooding wall" in terms
    assert not {"dark brooding", "wall sound", "wall of", "sound loud"} & terms.keys()


def test_inner_apostrophe_hyphen_and_ampersand_belong_to_the_word() -> None:
    assert {"r&b", "lo-fi", "rock'n'roll"} <= count_terms("R&B, lo-fi, rock'n'roll").keys()


def test_compatibility_forms_and_scripts() -> None:
    assert count_terms("ＡＢＢＡ ﬁre") == count_terms("ABBA fire")
    assert {"múm", "日本語"} <= count_terms("múm 🎸 日本語").keys()


def test_monstrous_words_and_texts_are_cut() -> None:
    terms = count_terms("loud " + "x" * 10_000 + " quiet")
    assert set(terms) == {"loud", "quiet"}
    assert count_terms("a1 " * MAX_CHARACTERS)["a1"] == MAX_CHARACTERS // 3 + 1


@given(st.text())
def test_any_text_gives_clean_terms(text: str) -> None:
    for term, n in count_terms(text).items():
        words = term.split(" ")
        assert n >= 1
        assert 1 <= len(words) <= 2
        assert all(words)
        assert not STOP_WORDS & set(words)

"""Terms: what counts as a word, a pair, a phrase, an adjective, and nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recsys.text.tagger import default_tagger
from recsys.text.terms import KINDS, MAX_CHARACTERS, STOP_WORDS, count_terms, phrases


def said(text: str, kind: str) -> dict[str, int]:
    (counts,) = count_terms([text])
    return {t.removeprefix(f"{kind}\t"): n for t, n in counts.items() if t.startswith(f"{kind}\t")}


def test_words_and_pairs() -> None:
    text = "Dancing Queen is a beautiful Swedish song. Dancing queen!"
    assert said(text, "n1") == {"dancing": 2, "queen": 2, "beautiful": 1, "swedish": 1, "song": 1}
    assert said(text, "n2") == {"dancing queen": 2, "beautiful swedish": 1, "swedish song": 1}
    assert said(text, "adj") == {"beautiful": 1, "swedish": 1}


def test_a_pair_crosses_neither_punctuation_nor_a_function_word() -> None:
    assert set(said("dark, brooding wall of sound\nloud", "n2")) == {"brooding wall"}


def test_inner_apostrophe_hyphen_and_ampersand_belong_to_the_word() -> None:
    assert {"r&b", "lo-fi", "rock'n'roll"} <= said("R&B, lo-fi, rock'n'roll", "n1").keys()


def test_other_scripts_are_words_and_pictures_are_not() -> None:
    assert said("múm 🎸 日本語 🤘🤘", "n1") == {"múm": 1, "日本語": 1}


def test_foreign_function_words_make_no_term_but_may_be_part_of_one() -> None:
    text = "They play las vegas et al, con los lobos de la soul"
    words = said(text, "n1")
    assert {"vegas", "lobos", "soul"} <= words.keys()
    assert not {"et", "al", "las", "los", "con", "de", "la"} & words.keys()
    assert {"las vegas", "los lobos"} <= said(text, "n2").keys()
    assert not {"de la", "con los", "et al"} & said(text, "n2").keys()


def test_monstrous_words_and_texts_are_cut() -> None:
    assert said("loud " + "x" * 10_000 + " quiet", "n1") == {"loud": 1, "quiet": 1}
    assert said("a1 " * MAX_CHARACTERS, "n1")["a1"] == MAX_CHARACTERS // 3 + 1


def test_many_texts_are_read_as_each_alone() -> None:
    texts = ["A loud song.", "", "quiet. " * 300, "The perky chorus"]
    assert count_terms(texts) == [count_terms([text])[0] for text in texts]
    for text, counts in zip(texts, count_terms(texts), strict=True):
        found = phrases(text, default_tagger())
        assert counts == {f"{k}\t{t}": found[k].count(t) for k in KINDS for t in found[k]}


@given(st.text(max_size=200))
def test_any_text_gives_clean_terms(text: str) -> None:
    for term, n in count_terms([text])[0].items():
        kind, words = term.split("\t")
        assert n >= 1
        assert kind in KINDS
        assert 1 <= len(words.split(" ")) <= 5
        assert all(words.split(" "))
        assert not STOP_WORDS & set(words.split(" "))

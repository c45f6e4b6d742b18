"""The part-of-speech tagger, its shipped weights, and the terms taken by their type."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InputError
from recsys.text.tagger import N_FEATURES, TAGS, Tagger, default_tagger
from recsys.text.terms import KINDS, phrases, split

DATA = os.environ.get("RECSYS_TEST_DATA")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The training script, as a module."""
    path = Path(__file__).parents[2] / "scripts" / "train_tagger.py"
    spec = spec_from_file_location("train_tagger", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["train_tagger"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not DATA, reason="RECSYS_TEST_DATA is not set: no treebank to measure on")
def test_the_shipped_weights_tag_the_dev_part(script: ModuleType) -> None:
    dev = script.read_treebank(Path(DATA or "") / "ud-english-ewt" / "en_ewt-ud-dev.conllu")
    assert sum(map(len, dev)) == 25_147
    assert script.accuracy(default_tagger(), dev) >= 0.95


def test_the_shipped_weights_are_small_and_name_their_licence() -> None:
    weights = files("recsys.text") / "weights"
    assert len((weights / "tagger.npz").read_bytes()) < 2_000_000
    assert "CC BY-SA 4.0" in (weights / "LICENCE.md").read_text()


def test_words_are_tagged_by_what_stands_on_both_sides() -> None:
    sentences = [
        ["They", "will", "record", "a", "new", "record", "in", "London", "."],
        ["The", "band", "plays", "loud", "music", "and", "she", "loves", "the", "plays", "."],
    ]
    one, two = default_tagger().tag(sentences)
    assert one == ["PRON", "AUX", "VERB", "DET", "ADJ", "NOUN", "ADP", "PROPN", "PUNCT"]
    assert (two[2], two[9]) == ("VERB", "NOUN")


def test_a_sentence_is_tagged_the_same_wherever_it_stands() -> None:
    tagger = default_tagger()
    first, second = ["She", "sings", "."], ["Guitars", "and", "drums"]
    together = tagger.tag([first, [], second])
    assert together == [tagger.tag([first])[0], [], tagger.tag([second])[0]]
    assert tagger.tag([]) == []
    assert tagger.tag([[]]) == [[]]


@given(st.lists(st.lists(st.text(max_size=8), max_size=6), max_size=4))
def test_any_words_get_one_known_tag_each(sentences: list[list[str]]) -> None:
    tagged = default_tagger().tag(sentences)
    assert [len(tags) for tags in tagged] == [len(words) for words in sentences]
    assert {tag for tags in tagged for tag in tags} <= set(TAGS)


def test_long_texts_are_scored_in_pieces_with_the_same_result() -> None:
    sentence = ["The", "loud", "band", "plays", "again", "."]
    tagged = default_tagger().tag([sentence] * 2000)  # 12,000 words, more than one piece
    assert all(tags == tagged[0] for tags in tagged)


def slow_perceptron(
    rows: np.ndarray, gold: np.ndarray, orders: np.ndarray, n_rows: int, n_tags: int
) -> np.ndarray:
    """The readable twin: the mean of the weights after every step, the first ones counted too."""
    weights = np.zeros((n_rows, n_tags))
    total = weights.copy()
    for word in orders.ravel():
        guess = int(weights[rows[word]].sum(0).argmax())
        for row in rows[word]:
            weights[row, gold[word]] += 1
            weights[row, guess] -= 1
        total += weights
    return total / (orders.size + 1)


def test_the_perceptron_averages_as_its_slow_twin(script: ModuleType) -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 40, (30, 5)).astype(np.int32)
    gold = random.integers(0, 4, 30)
    orders = np.stack([random.permutation(30) for _ in range(3)])
    fast = script.perceptron(rows, gold, orders, 40, 4)
    assert np.abs(fast).max() > 0
    np.testing.assert_allclose(fast, slow_perceptron(rows, gold, orders, 40, 4))


def test_training_learns_its_sentences_and_is_repeatable(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "BITS", 14)
    treebank = [
        [("The", "DET"), ("singer", "NOUN"), ("sings", "VERB"), (".", "PUNCT")],
        [("Loud", "ADJ"), ("drums", "NOUN"), ("roll", "VERB"), ("!", "PUNCT")],
    ] * 5
    one, two = script.train(treebank, seed=1), script.train(treebank, seed=1)
    assert script.accuracy(one, treebank) == 1.0
    np.testing.assert_array_equal(one.weights, two.weights)
    again = Tagger.from_bytes(one.to_bytes())
    np.testing.assert_array_equal(again.weights, one.weights)
    assert again.classes == one.classes


def test_features_are_rows_of_the_table() -> None:
    tagger = Tagger(np.zeros((2**7, len(TAGS)), np.int8), {})
    rows = tagger.features([["one", "two"], ["three"]])
    assert rows.shape == (3, N_FEATURES)
    assert 0 <= rows.min() <= rows.max() < 2**7


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY" + bytes(80)])
def test_other_files_are_no_tagger(content: bytes) -> None:
    with pytest.raises(InputError, match="weights of a tagger"):
        Tagger.from_bytes(content)


def test_terms_come_by_type_in_the_order_of_the_text() -> None:
    found = phrases(
        "The band's perky chorus didn't fade: a beautiful song. Dancing queens, dancing!"
    )
    assert tuple(found) == KINDS
    assert found["n1"] == [
        *("band", "perky", "chorus", "fade", "beautiful", "song"),
        *("dancing", "queens", "dancing"),
    ]
    assert found["n2"] == ["perky chorus", "beautiful song", "dancing queens"]
    assert found["adj"] == ["perky", "beautiful"]
    assert {"band", "perky chorus", "beautiful song"} <= set(found["np"])


def test_noun_phrases_never_cross_punctuation_or_function_words() -> None:
    found = phrases("heavy metal, deep house and the roots of folk music (acoustic guitar)")
    assert found["np"] == ["heavy metal", "deep house", "roots", "folk music", "acoustic guitar"]


def test_sentences_end_at_stops_and_lines_and_clitics_stand_apart() -> None:
    assert split("It's loud! Don’t go\nStay") == [
        ["It", "'s", "loud", "!"],
        ["Do", "n’t", "go"],
        ["Stay"],
    ]
    assert split("") == []
    assert max(map(len, split("word " * 1000))) <= 201


@given(st.text(max_size=200))
def test_any_text_has_terms_of_every_kind_or_none(text: str) -> None:
    found = phrases(text)
    assert tuple(found) == KINDS
    assert set(found["adj"]) <= set(found["n1"])
    assert {word for term in found["np"] for word in term.split(" ")} <= set(found["n1"])

"""Sentence embeddings by the packaged model: what is alike, what is kept, what is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from recsys import progress
from recsys.config import TextConfig
from recsys.data.catalogue import read_catalogue
from recsys.errors import InputError
from recsys.storage import Folder
from recsys.text import sentences
from recsys.text.model import build_text
from recsys.text.sentences import PACKAGED, Sentences
from tests.lines import Lines

SAID = [
    "A cheerful disco group from Sweden with bright melodies.",
    "Brutal death metal with growled vocals and fast drums.",
    "Sunny dance pop by a Scandinavian quartet.",
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder in which the vectors of SAID are kept."""
    folder = Folder(tmp_path_factory.mktemp("kept"))
    Sentences(PACKAGED, folder)(SAID)
    return folder


def test_likeness_of_meaning_is_likeness_of_vectors(kept: Folder) -> None:
    vectors = Sentences(PACKAGED, kept)(SAID)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1] + 0.1


def test_what_was_embedded_is_not_embedded_again(
    kept: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(sentences, "_embed", never)
    again = Sentences(PACKAGED, kept)([SAID[1], SAID[0], SAID[1]])
    assert (again[0] == again[2]).all()
    assert not (again[0] == again[1]).all()
    with pytest.raises(AssertionError, match="embedded again"):
        Sentences(PACKAGED, kept)(["something new"])


def test_new_texts_join_the_kept_ones(kept: Folder) -> None:
    sentences = Sentences(PACKAGED, kept)
    mixed = sentences(["A new thing.", SAID[0], "A new thing.", "Another."])
    np.testing.assert_array_equal(mixed[0], mixed[2])
    np.testing.assert_array_equal(Sentences(PACKAGED, kept)(["Another."])[0], mixed[3])
    np.testing.assert_array_equal(sentences(SAID)[0], mixed[1])


SLOWLY = """
import sys
from recsys.storage import Folder
from recsys.text import sentences
sentences._KEPT_AT_ONCE = 2
encode = sentences.Sentences(sentences.PACKAGED, Folder(sys.argv[1]))
encode.keep(f"song number {number}" for number in range(100_000))
"""


def test_after_a_kill_only_what_is_missing_is_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", SLOWLY, tmp_path], env=environment) as first:
        while len(kept := sorted(tmp_path.rglob("*.vectors.npy"))) < 3:
            assert first.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
    kept = sorted(tmp_path.rglob("*.vectors.npy"))
    written = {file: file.stat().st_mtime_ns for file in kept}
    embedded: list[str] = []
    embed = sentences._embed

    def counted(texts: list[str], *where: str) -> object:
        embedded.extend(texts)
        return embed(texts, *where)

    monkeypatch.setattr(sentences, "_embed", counted)
    texts = [f"song number {number}" for number in range(2 * len(kept) + 5)]
    vectors = Sentences(PACKAGED, Folder(tmp_path))(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert sorted(embedded) == sorted(texts[2 * len(kept) :])
    assert {file: file.stat().st_mtime_ns for file in kept} == written


class Moody:
    """A model that fails on some texts."""

    max_seq_length = 8

    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        if any("bad" in text for text in texts):
            raise RuntimeError("index out of range")
        return np.full((len(texts), 4), 0.5, np.float32)


def test_a_passage_on_which_the_model_fails_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentences, "_encoder", lambda model: Moody())
    with progress.report_to(said := Lines()):
        encode = Sentences(PACKAGED, Folder(tmp_path))
        vectors = encode(["good", "very bad", "fine", "good", "bad too"])
    assert vectors.any(axis=1).tolist() == [True, False, True, True, False]
    assert said.lines[0].startswith("text: 2 of 4 new passages cannot be embedded and left out")
    assert said.lines[1] == "  'very bad': the model fails (RuntimeError: index out of range)"
    rows = (tmp_path / "rejects" / "passages.jsonl").read_text().splitlines()
    assert [json.loads(row)["row"] for row in rows] == ["very bad", "bad too"]
    # Not tried again by this encoder, but by the next one.
    monkeypatch.setattr(Moody, "encode", lambda self, texts, **_: np.ones((len(texts), 4)))
    assert not encode(["very bad"]).any()
    assert Sentences(PACKAGED, Folder(tmp_path))(["very bad"]).any()
    assert not (tmp_path / "rejects" / "passages.jsonl").exists()


def test_nothing_to_embed(tmp_path: Path) -> None:
    assert Sentences(PACKAGED, Folder(tmp_path))([]).shape[0] == 0


@pytest.mark.parametrize("model", ["no-such/model", "folder"])
def test_a_model_that_is_not_there_is_said_plainly(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="give the folder of a sentence-transformers model"):
        Sentences(model, Folder(tmp_path))(["text"])


def test_passages_alone_find_the_like(make_dataset, kept: Folder) -> None:  # type: ignore[no-untyped-def]
    """Three artists who share no word: only the meaning of what is said tells them apart."""
    rows = [
        {"doc_id": id, "text": text, "artist_ids": [id]}
        for id, text in zip("abc", SAID, strict=True)
    ]
    dataset = make_dataset(documents=rows)
    config = TextConfig(min_voices=1, own_voices=0, readings=str(kept.root))
    alone = {"n1": 0.0, "n2": 0.0, "np": 0.0, "adj": 0.0}
    for weights in ({}, alone):
        made = build_text(
            dataset, read_catalogue(dataset), TextConfig(**{**vars(config), **weights})
        )
        assert made is not None
        a, b, c = made.artist_vectors
        assert a @ c > a @ b

"""The text model from dataset to vectors and back through a bundle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from recsys.bundle import Models
from recsys.config import TextConfig
from recsys.data.catalogue import read_catalogue
from recsys.data.dataset import Dataset
from recsys.text.model import (
    TextModel,
    build_text,
    described_together,
    leading_directions,
)

ARTISTS = [
    {"artist_id": "a", "name": "Abba"},
    {"artist_id": "b", "name": "Bloodbath"},
    {"artist_id": "c", "name": "Cardigans"},
    {"artist_id": "d", "name": "Deathmaze"},
    {"artist_id": "z", "name": "Zzz"},
]
DOCUMENTS = [
    {"doc_id": "1", "text": "Abba make perky swedish pop", "artist_ids": ["a"]},
    {"doc_id": "2", "text": "heavy brutal metal", "artist_ids": ["b"]},
    {"doc_id": "3", "text": "perky swedish pop songs", "artist_ids": ["c"]},
    {"doc_id": "4", "text": "brutal metal, heavy riffs", "artist_ids": ["d"]},
    {"doc_id": "5", "text": "We hear Abba: songs and riffs"},
]
ITEMS = [
    {"item_id": "a1", "artist_id": "a"},
    {"item_id": "a2", "artist_id": "a"},
    {"item_id": "b1", "artist_id": "b"},
    {"item_id": "z1", "artist_id": "z"},
    {"item_id": "orphan"},
]


def build(dataset: Dataset, **options: Any) -> TextModel:
    config = TextConfig(**{"min_voices": 1.0, "sentences": 0.0, **options})
    model = build_text(dataset, read_catalogue(dataset), config)
    assert model is not None
    return model


def test_similar_descriptions_make_similar_vectors(make_dataset: Any) -> None:
    model = build(make_dataset(artists=ARTISTS, items=ITEMS, documents=DOCUMENTS))
    a, b, c, d, z = model.artist_vectors
    assert a @ c > 0.3 > 0.1 > abs(a @ b)
    assert b @ d > 0.3
    assert not z.any()
    lengths = np.linalg.norm(model.artist_vectors, axis=1)
    assert lengths == pytest.approx([1, 1, 1, 1, 0], abs=1e-6)
    assert model.item_vectors.dtype == np.float32


def test_items_lean_on_their_artist_where_little_is_said(make_dataset: Any) -> None:
    pages = [
        {"doc_id": f"own{n}", "text": "heavy brutal metal", "artist_ids": ["b"], "item_ids": ["a2"]}
        for n in range(8)
    ]
    dataset = make_dataset(artists=ARTISTS, items=ITEMS, documents=DOCUMENTS + pages)
    model = build(dataset)
    abba, bloodbath = model.artist_vectors[:2]
    a1, a2, b1, orphan, z1 = model.item_vectors  # in order of id
    np.testing.assert_allclose(a1, abba, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(b1, bloodbath, rtol=1e-5, atol=1e-6)
    assert not z1.any()
    assert not orphan.any()
    assert a2 @ bloodbath > 0.9 > a2 @ abba > 0.1
    assert build(dataset, lean=0.0).item_vectors[1] @ abba < a2 @ abba


def test_a_page_about_an_item_alone_is_about_its_artist_too(make_dataset: Any) -> None:
    pages = [{"doc_id": "1", "text": "a glittering disco song", "item_ids": ["a1"]}]
    model = build(make_dataset(artists=ARTISTS, items=ITEMS, documents=pages))
    assert [t for t, _ in model.top_terms(0, 5, kinds=("n1",))] == ["disco", "glittering", "song"]


def test_top_terms_by_type(make_dataset: Any) -> None:
    model = build(make_dataset(artists=ARTISTS, items=ITEMS, documents=DOCUMENTS))
    terms = model.top_terms(0, 100)
    assert not [term for term, _ in terms if "abba" in term]
    assert {"perky", "swedish pop", "riffs"} <= dict(terms).keys()
    assert [s for _, s in terms] == sorted((s for _, s in terms), reverse=True)
    assert len(dict(terms)) == len(terms)
    assert model.top_terms(0, 2) == terms[:2]
    assert model.top_terms(4, 3) == []
    table = model.table(0, 100)
    assert list(table) == ["n2", "np", "adj", "n1"]
    assert "swedish" in dict(table["adj"])
    assert "swedish pop" in dict(table["n2"])
    for kind in ("n2", "np", "n1"):  # unit length before the words of the own name were left out
        assert 0 < sum(s**2 for _, s in table[kind]) <= 1 + 1e-6


def test_terms_of_an_item_are_its_own_and_its_artist_s(make_dataset: Any) -> None:
    pages = [
        {"doc_id": f"own{n}", "text": "a heavy brutal waltz", "artist_ids": [], "item_ids": ["a2"]}
        for n in range(2)
    ]
    items = [
        *ITEMS[:1],
        {"item_id": "a2", "artist_id": "a", "title": "The Heavy Waltz"},
        *ITEMS[2:],
    ]
    model = build(make_dataset(artists=ARTISTS, items=items, documents=DOCUMENTS + pages))
    a1, a2, _, orphan, _ = range(5)
    assert model.item_trust is not None
    assert model.item_trust.tolist() == [0, 0.5, 0, 0, 0]  # two voices lean half
    assert model.top_terms_of_item(a1, 0, 50) == model.top_terms(0, 50)
    assert model.top_terms_of_item(orphan, -1, 5) == []
    own = dict(model.top_terms_of_item(a2, 0, 100))
    artist = dict(model.top_terms(0, 100))
    assert own["brutal"] > artist.get("brutal", 0)
    assert own["perky"] == pytest.approx(0.5 * artist["perky"], rel=1e-5)
    assert model.item_terms is not None
    said = [model.terms[int(column)] for column in model.item_terms[[a2]].indices]
    assert "n1\tbrutal" in said
    assert not [term for term in said if "waltz" in term or "heavy" in term], "words of its title"


def test_shared_terms_are_readable_ones_with_their_share(make_dataset: Any) -> None:
    model = build(make_dataset(artists=ARTISTS, items=ITEMS, documents=DOCUMENTS))
    shared = dict(model.shared_terms(0, 2, 100))
    readable = {t for k in ("np", "adj") for t, _ in model.top_terms(2, 99, kinds=(k,))}
    assert shared
    assert shared.keys() <= readable
    assert [*model.shared_terms(0, 4, 9)] == []
    assert dict(model.shared_terms(0, 2, 1)).items() <= shared.items()


def test_artists_named_beside_each_other(make_dataset: Any) -> None:
    pages = [
        {"doc_id": "1", "text": "Fans of Bloodbath hear Cardigans too.", "artist_ids": ["a"]},
        {"doc_id": "2", "text": "Bloodbath are loud.", "artist_ids": ["b"]},
        {"doc_id": "3", "text": "Deathmaze are loud, like Cardigans.", "artist_ids": ["d"]},
    ]
    model = build(make_dataset(artists=ARTISTS, documents=pages))
    beside = dict(model.companions(0, 9))
    assert beside.keys() == {1, 2}
    assert beside[1] > beside[2] > 0  # everybody is named beside Cardigans
    assert {row for row, _ in model.companions(2, 9)} == {0, 3}
    assert model.companions(0, 1) == [(1, beside[1])]
    assert model.companions(4, 9) == []


def test_company_draws_artists_together_and_hubs_little() -> None:
    vectors = np.eye(4, dtype=np.float32)
    beside = csr_array(np.array([[0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0.0]]))
    beside = csr_array(beside, dtype=np.float32)
    drawn = described_together(vectors, beside, np.ones(4, np.float32))
    # By hand: degrees 2, 4, 2, 2; row 0 is (1/2, 1/sqrt 8, 0, 0), scaled to length one.
    row = np.array([0.5, 1 / np.sqrt(8)]) / np.hypot(0.5, 1 / np.sqrt(8))
    np.testing.assert_allclose(drawn[0], [*row, 0, 0], rtol=1e-6)
    aloof = described_together(vectors, beside, np.full(4, 100, np.float32))
    assert drawn[0] @ drawn[1] > aloof[0] @ aloof[1] > 0
    assert described_together(vectors, beside, np.zeros(4, np.float32)) is vectors
    unknown = described_together(vectors, beside, np.array([0, 1, 1, 1], np.float32))
    np.testing.assert_allclose(unknown[0], [0, 1, 0, 0], atol=1e-6)


def test_company_weighs_the_same_however_many_documents_there_are(make_dataset: Any) -> None:
    pages = [
        {"text": "Cardigans and Abba make perky swedish pop", "artist_ids": ["a"]},
        {"text": "Cardigans sing jazz ballads about winter", "artist_ids": ["c"]},
    ]

    def likeness(dataset: Dataset) -> float:
        model = build(dataset, weighting="tf-idf")
        return float(model.artist_vectors[0] @ model.artist_vectors[2])

    def copies(numbers: range) -> list[dict[str, Any]]:
        return [{**page, "doc_id": f"{p} {n}"} for n in numbers for p, page in enumerate(pages)]

    once = likeness(make_dataset(artists=ARTISTS, documents=copies(range(1))))
    assert 0 < once < 1
    assert likeness(make_dataset(documents=copies(range(1, 5)))) == pytest.approx(once, abs=1e-4)


@pytest.mark.parametrize(
    "documents", [[], [{"doc_id": "1", "text": "nobody known"}], [{"doc_id": "1", "text": ""}]]
)
def test_nothing_said_gives_no_model(make_dataset: Any, documents: list[dict[str, str]]) -> None:
    dataset = make_dataset(artists=ARTISTS, items=ITEMS, documents=documents)
    assert build_text(dataset, read_catalogue(dataset), TextConfig(sentences=0.0)) is None


def test_bundle_gives_back_what_was_written(make_dataset: Any, tmp_path: Path) -> None:
    model = build(make_dataset(artists=ARTISTS, items=ITEMS, documents=DOCUMENTS))
    models = Models(tmp_path / "models")
    writer = models.write()
    model.write(writer)
    writer.commit()
    again = TextModel.read(models.open())
    np.testing.assert_array_equal(again.item_vectors, model.item_vectors)
    np.testing.assert_array_equal(again.artist_vectors, model.artist_vectors)
    assert again.top_terms(0, 9) == model.top_terms(0, 9)
    assert again.top_terms_of_item(0, 0, 9) == model.top_terms_of_item(0, 0, 9)


def test_building_twice_gives_the_same_bytes(make_dataset: Any) -> None:
    dataset = make_dataset(artists=ARTISTS, items=ITEMS, documents=DOCUMENTS)
    first, second = build(dataset), build(dataset)
    assert first.artist_vectors.tobytes() == second.artist_vectors.tobytes()


def test_directions_are_those_of_the_singular_value_decomposition() -> None:
    rng = np.random.default_rng(0)
    spectrum = np.r_[np.linspace(10, 5, 8), np.full(52, 0.3)]
    u, _ = np.linalg.qr(rng.standard_normal((90, 60)))
    v, _ = np.linalg.qr(rng.standard_normal((70, 60)))
    rows = ((u * spectrum) @ v.T).astype(np.float32)
    found = leading_directions(csr_array(rows), 8)
    expected = np.linalg.svd(rows, full_matrices=False)[2][:8]
    assert np.abs((found * expected).sum(axis=1)) == pytest.approx(np.ones(8), abs=1e-3)
    assert (found[range(8), np.abs(found).argmax(axis=1)] > 0).all()


def test_enough_directions_keep_every_cosine() -> None:
    rows = random_array((20, 300), density=0.1, rng=np.random.default_rng(1), dtype=np.float32)
    rows = csr_array(rows)
    dense = rows @ leading_directions(rows, 64).T
    np.testing.assert_allclose(dense @ dense.T, (rows @ rows.T).toarray(), atol=1e-5)


def test_real_descriptions_find_co_listened_artists(make_dataset: Any) -> None:
    """On machine-written paragraphs, text neighbours are co-listened far beyond chance."""
    folder = os.environ.get("RECSYS_TEST_DATA")
    if not folder:
        pytest.skip("RECSYS_TEST_DATA does not name the folder of real data")
    lines = Path(folder, "artist-texts.jsonl").read_text(encoding="utf-8").splitlines()
    pages = [json.loads(line) for line in lines]
    dataset = make_dataset(documents=pages)
    catalogue = read_catalogue(dataset)
    model = build_text(dataset, catalogue, TextConfig(sentences=0.0))
    assert model is not None
    plays = np.loadtxt(
        Path(folder, "hetrec-lastfm", "user_artists.dat"), skiprows=1, dtype=np.int64
    )
    rows = catalogue.artists.rows([str(a) for a in plays[:, 1]])
    plays, rows = plays[rows >= 0], rows[rows >= 0]
    shape = (catalogue.n_artists, int(plays[:, 0].max()) + 1)
    listening = csr_array((np.log1p(plays[:, 2]), (rows, plays[:, 0])), shape=shape)
    judged = np.flatnonzero(np.diff(listening.indptr) >= 20)
    heard = listening[judged].toarray()
    heard /= np.linalg.norm(heard, axis=1, keepdims=True)
    truth, found = heard @ heard.T, model.artist_vectors[judged] @ model.artist_vectors[judged].T
    best, guess = (np.argsort(-(m - 9 * np.eye(len(m))), axis=1)[:, :10] for m in (truth, found))
    precision = np.mean([len(set(b) & set(g)) / 10 for b, g in zip(best, guess, strict=True)])
    assert precision > 0.26  # exact sparse cosine: 0.273; chance: 0.015

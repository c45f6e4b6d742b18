"""Readings: who is meant, what is kept, what is read again, and what bad input gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recsys.config import TextConfig
from recsys.data.catalogue import read_catalogue
from recsys.data.dataset import Dataset
from recsys.errors import InputError
from recsys.text import reading
from recsys.text.model import TextModel, build_text
from recsys.text.reading import Pages, Readings

QUICK = TextConfig(sentences=0.0, min_voices=1)
ARTISTS = [
    {"artist_id": "a", "name": "Abba"},
    {"artist_id": "b", "name": "Bloodbath"},
    {"artist_id": "n1", "name": "Nirvana"},
    {"artist_id": "n2", "name": "Nirvana"},
]


def read(dataset: Dataset, config: TextConfig = QUICK) -> Pages:
    batches = list(Readings(dataset, read_catalogue(dataset), config))
    assert len(batches) == 1
    return batches[0]


def about(dataset: Dataset) -> list[tuple[int, int]]:
    return [(int(d), int(a)) for d, a in read(dataset).artists]


def documents(*texts: str | dict[str, Any]) -> list[dict[str, Any]]:
    rows = [text if isinstance(text, dict) else {"text": text} for text in texts]
    return [{"doc_id": f"d{number}", **row} for number, row in enumerate(rows)]


def append(dataset: Dataset, rows: list[dict[str, Any]], mark: str, table: str) -> None:
    with dataset.transaction() as transaction:
        batch = pa.Table.from_pylist(rows)
        transaction.append(table, [batch], source=mark, fingerprint=mark)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is tagged, as it happens."""
    seen: list[str] = []
    original = reading.count_terms

    def watched(texts: list[str]) -> Any:
        seen.extend(texts)
        return original(texts)

    monkeypatch.setattr(reading, "count_terms", watched)
    return seen


def test_malformed_addresses_and_unknown_ids_are_harmless(make_dataset: Any) -> None:
    pages = documents(
        {"url": "http://[broken", "text": "one", "artist_ids": ["a"]},
        {"url": "https://www.Site.org/x", "text": "two", "artist_ids": ["a", None]},
        {"text": "With Abba three", "item_ids": ["nobody"]},
        {"text": "", "artist_ids": ["a"]},
    )
    dataset = make_dataset(artists=ARTISTS, documents=pages)
    assert about(dataset) == [(0, 0), (1, 0), (3, 0)]
    assert read(dataset).host == ["", "site.org", "", ""]


def test_the_latest_of_equal_documents_counts(make_dataset: Any) -> None:
    dataset = make_dataset(
        artists=ARTISTS, documents=documents("We hear Abba", "We hear Bloodbath")
    )
    append(dataset, [{"doc_id": "d1", "text": "Now we hear Abba"}], "newer", "documents")
    pages = list(Readings(dataset, read_catalogue(dataset), QUICK))
    assert [page.artists.tolist() for page in pages] == [[[0, 0]], [[0, 0]]]


def test_new_documents_are_read_and_old_ones_are_not(make_dataset: Any, reads: list[str]) -> None:
    dataset = make_dataset(artists=ARTISTS, documents=documents("Abba sing", "Bloodbath roar"))
    build_text(dataset, read_catalogue(dataset), QUICK)
    assert reads == ["Abba sing", "Bloodbath roar"]
    append(dataset, [{"doc_id": "new", "text": "Abba dance"}], "newer", "documents")
    updated = build_text(dataset, read_catalogue(dataset), QUICK)
    assert reads == ["Abba sing", "Bloodbath roar", "Abba dance"]
    for file in dataset.folder.names("readings"):
        dataset.folder.delete(f"readings/{file}")
    assert_same(build_text(dataset, read_catalogue(dataset), QUICK), updated)


def assert_same(one: TextModel | None, other: TextModel | None) -> None:
    assert one is not None
    assert other is not None
    assert list(one.terms) == list(other.terms)
    assert one.artist_vectors.tobytes() == other.artist_vectors.tobytes()


def test_names_learned_since_are_sought_in_old_texts_unless_told(
    make_dataset: Any, reads: list[str]
) -> None:
    dataset = make_dataset(artists=ARTISTS, documents=documents("We hear Radiohead"))
    assert about(dataset) == []
    append(dataset, [{"artist_id": "r", "name": "Radiohead"}], "r", "artists")
    never = TextConfig(relink=False)
    assert read(dataset, never).artists.tolist() == []
    assert about(dataset) == [(0, 4)]
    assert reads == ["We hear Radiohead"]  # the tags were kept


def test_a_damaged_reading_is_made_anew(make_dataset: Any) -> None:
    dataset = make_dataset(artists=ARTISTS, documents=documents("Abba sing"))
    whole = read(dataset)
    (file,) = dataset.folder.names("readings")
    dataset.folder.write(f"readings/{file}", b"PAR1 nonsense")
    assert read(dataset).terms == whole.terms


def test_readings_may_lie_elsewhere(make_dataset: Any, tmp_path: Path) -> None:
    dataset = make_dataset(artists=ARTISTS, documents=documents("Abba sing"))
    read(dataset, TextConfig(readings=str(tmp_path / "kept")))
    assert dataset.folder.names("readings") == []
    assert len(list((tmp_path / "kept" / "readings").iterdir())) == 1
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"text\.readings"):
        read(dataset, TextConfig(readings=str(tmp_path / "file")))


def test_an_artist_never_mentioned_has_no_vector_and_no_terms(make_dataset: Any) -> None:
    dataset = make_dataset(artists=ARTISTS, documents=documents("Abba sing loud songs"))
    model = build_text(dataset, read_catalogue(dataset), QUICK)
    assert model is not None
    assert not model.artist_vectors[1].any()
    assert model.top_terms(1, 5) == []


def test_a_name_of_two_artists_means_neither_but_their_ids_do(make_dataset: Any) -> None:
    pages = documents(
        "Nirvana play grunge", {"text": "Nirvana play psychedelia", "artist_ids": ["n2"]}
    )
    assert about(make_dataset(artists=ARTISTS, documents=pages)) == [(1, 3)]


def test_of_other_languages_words_and_names_count_but_not_tags(make_dataset: Any) -> None:
    german = (
        "Abba spielen sehr schöne Lieder, die seit vielen Jahren von allen Leuten gern gehört "
        "werden. Die Gruppe kommt aus Schweden und hat überall auf der Welt große Erfolge gefeiert."
        " Auch heute noch werden ihre bekannten Lieder auf jedem Fest gespielt."
    )
    german_page = documents({"title": "Abba", "text": german})
    pages = read(make_dataset(artists=ARTISTS, documents=german_page))
    assert pages.artists.tolist() == [[0, 0]]
    kinds = {term.split("\t")[0] for term in pages.terms.flatten().to_pylist()}
    assert kinds == {"n1", "n2"}


def test_markup_emoji_wrong_alphabets_and_emptiness(make_dataset: Any) -> None:
    pages = documents(
        {"text": "<b>Abba</b> &amp; <i>disco</i>", "artist_ids": ["a"]},
        {"text": "🎸🎸🎸 🤘", "artist_ids": ["a"]},
        {"text": "Like BjÃ¶rk", "artist_ids": ["a"]},
        {"text": "", "title": "", "artist_ids": ["a"]},
        {"text": "\x00\ufffd\u202e", "artist_ids": ["a"]},
    )
    words = [
        [term for term in terms if term.startswith("n1")]
        for terms in read(make_dataset(artists=ARTISTS, documents=pages)).terms.to_pylist()
    ]
    assert words == [["n1\tabba", "n1\tdisco"], [], ["n1\tlike", "n1\tbjörk"], [], []]


def test_a_million_repeats_make_no_term(make_dataset: Any) -> None:
    pages = documents(
        {"text": "viagra " * 1_000_000, "artist_ids": ["a"]},
        {"text": "loud songs", "artist_ids": ["a"]},
        {"text": "loud songs", "artist_ids": ["b"]},
    )
    dataset = make_dataset(artists=ARTISTS, documents=pages)
    model = build_text(dataset, read_catalogue(dataset), TextConfig(sentences=0.0))
    assert model is not None
    assert "viagra" not in dict(model.top_terms(0, 100))
    assert "loud" in dict(model.top_terms(0, 100))


def test_passages_are_whole_sentences_around_the_name(make_dataset: Any) -> None:
    filler = "Nobody is named in this long sentence about the weather of the year. " * 12
    text = f"{filler}Abba sing. {filler}At last Abba dance."
    (passages,) = read(
        make_dataset(artists=ARTISTS, documents=documents(text))
    ).passages.to_pylist()
    assert len(passages) == 2
    assert passages[0].startswith("Abba sing. Nobody")
    assert passages[1] == "At last Abba dance."
    assert max(map(len, passages)) <= 600


def test_a_text_that_names_nobody_but_is_given_somebody_is_read_from_its_head(
    make_dataset: Any,
) -> None:
    pages = documents({"text": "Loud. " * 500, "artist_ids": ["a"]}, "Nobody")
    passages = read(make_dataset(artists=ARTISTS, documents=pages)).passages.to_pylist()
    assert [len(some) for some in passages] == [1, 0]
    assert 500 < len(passages[0][0]) <= 600

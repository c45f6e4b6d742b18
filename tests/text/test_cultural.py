"""Term counts and weights: hand-computed values and what must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.config import TextConfig
from recsys.text.cultural import CulturalVectors, count, weigh
from recsys.text.documents import Document

ANY = TextConfig(min_documents=1)


def counted(*documents: Document, n_items: int = 0, config: TextConfig = ANY) -> CulturalVectors:
    return count(lambda: iter(documents), config, n_artists=3, n_items=n_items)


def said(vectors: CulturalVectors, entity: int) -> dict[str, float]:
    row = vectors.counts[[entity]].toarray()[0]
    return {term: float(row[i]) for i, term in enumerate(vectors.terms) if row[i]}


def page(text: str, *artists: int, items: tuple[int, ...] = (), host: str = "") -> Document:
    return Document(text, list(artists), list(items), host)


def test_a_document_repeats_itself_logarithmically_and_not_beyond_four() -> None:
    vectors = counted(page("x. y. y. z. z. z. z", 0), page("z. " * 1_000_000, 1))
    assert said(vectors, 0) == pytest.approx({"x": 1, "y": 1 + math.log(2), "z": 1 + math.log(4)})
    assert said(vectors, 1) == pytest.approx({"z": 1 + math.log(4)})


def test_a_host_is_one_voice_and_hostless_documents_are_voices_of_their_own() -> None:
    vectors = counted(
        page("loud", 0, host="a"),
        *[page("buy", 0, host="spam") for _ in range(50)],
        page("loud", 0),
        page("loud", 0),
        page("quiet", 0, host="half"),
        page("soft", 0, host="half"),
    )
    assert said(vectors, 0) == pytest.approx(
        {"loud": 3, "buy": 1, "quiet": 0.5, "soft": 0.5}, rel=1e-4
    )
    assert vectors.voices.tolist() == pytest.approx([5, 0, 0])


def test_a_document_shares_its_voice_among_those_it_is_about() -> None:
    vectors = counted(page("loud", 0, 1, items=(1,)), n_items=2)
    assert [said(vectors, e).get("loud", 0) for e in range(5)] == [0.5, 0.5, 0, 0, 1]


def test_weights_by_hand() -> None:
    vectors = counted(page("x. y. y", 0), page("x", 1))
    weights = weigh(vectors.counts, n_artists=3).toarray()
    x = math.log(2) * (math.log(3 / 3) + 1)
    y = math.log(1 + 1 + math.log(2)) * (math.log(3 / 2) + 1)
    length = math.hypot(x, y)
    assert weights[0] == pytest.approx([x / length, y / length], rel=1e-6)
    assert weights[1].tolist() == [1, 0]
    assert weights[2].tolist() == [0, 0]


def test_vocabulary_keeps_the_most_frequent_and_drops_the_rare() -> None:
    documents = [page("common rare1", 0), page("common usual", 1), page("common usual", 2)]
    few = counted(*documents, config=TextConfig(min_documents=2))
    assert list(few.terms) == ["common", "common usual", "usual"]
    one = counted(*documents, config=TextConfig(min_documents=2, max_terms=1))
    assert list(one.terms) == ["common"]


def test_pruning_while_reading_keeps_frequent_terms() -> None:
    documents = [page(f"steady. word{n}", n % 3) for n in range(200)]
    vectors = counted(*documents, config=TextConfig(min_documents=2, max_terms=2))
    assert list(vectors.terms) == ["steady"]


def test_blocks_do_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [page(f"w{n % 5} w{n % 7}", n % 3, host=f"h{n % 4}") for n in range(40)]
    whole = counted(*documents)
    monkeypatch.setattr("recsys.text.cultural._BATCH", 7)
    parts = counted(*documents)
    np.testing.assert_allclose(parts.counts.toarray(), whole.counts.toarray(), rtol=1e-6)

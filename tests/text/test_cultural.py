"""Term counts and weights: hand-computed values and what must not matter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from recsys.config import TextConfig
from recsys.data.catalogue import NO_TIME
from recsys.text.cultural import Said, columns_of, count, weigh
from recsys.text.reading import Pages

ANY = TextConfig(min_voices=0)
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Page:
    """One document of a test: its words are its terms."""

    text: str
    artists: tuple[int, ...]
    items: tuple[int, ...] = ()
    beside: tuple[int, ...] = ()
    host: str = ""
    day: int | None = None


def page(text: str, *artists: int, **more: object) -> Page:
    return Page(text, artists, **more)  # type: ignore[arg-type]


def pages(documents: Sequence[Page]) -> Pages:
    counts = [Counter(f"n1\t{word}" for word in one.text.split()) for one in documents]

    def pairs(name: str) -> NDArray[np.int64]:
        found = [(at, row) for at, one in enumerate(documents) for row in getattr(one, name)]
        return np.array(found, np.int64).reshape(-1, 2)

    at_ms = [NO_TIME if one.day is None else one.day * DAY_MS for one in documents]
    return Pages(
        n=len(documents),
        artists=pairs("artists"),
        items=pairs("items"),
        beside=pairs("beside"),
        host=[one.host for one in documents],
        at_ms=np.array(at_ms, np.int64),
        terms=pa.array([list(one) for one in counts], pa.list_(pa.string())),
        uses=pa.array([[min(n, 255) for n in c.values()] for c in counts], pa.list_(pa.uint8())),
        passages=pa.array([[one.text] for one in documents], pa.list_(pa.string())),
    )


def counted(*documents: Page, n_items: int = 0, config: TextConfig = ANY, batch: int = 100) -> Said:
    batches = [pages(documents[at : at + batch]) for at in range(0, len(documents), batch)]
    return count(batches, config, n_artists=3, n_items=n_items)


def terms(vectors: Said) -> list[str]:
    return [term.removeprefix("n1\t") for term in vectors.terms]


def said(vectors: Said, entity: int) -> dict[str, float]:
    row = vectors.counts[[entity]].toarray()[0]
    return {term: float(row[i]) for i, term in enumerate(terms(vectors)) if row[i]}


def test_a_document_repeats_itself_logarithmically_and_not_beyond_four() -> None:
    vectors = counted(page("x y y z z z z", 0), page("z " * 1_000_000, 1))
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


def test_what_one_voice_says_is_no_term_however_often() -> None:
    spam = [page("buy " * 1000, 0, host="spam") for _ in range(50)]
    vectors = counted(*spam, page("loud", 0), page("loud", 1), config=TextConfig(min_voices=2))
    assert terms(vectors) == ["loud"]


def test_a_document_shares_its_voice_among_those_it_is_about() -> None:
    vectors = counted(page("loud", 0, 1, items=(1,)), n_items=2)
    assert [said(vectors, e).get("loud", 0) for e in range(5)] == [0.5, 0.5, 0, 0, 1]


def test_older_documents_are_less_loud_and_undated_ones_as_loud_as_the_newest() -> None:
    documents = [page("new", 0, day=1000), page("old", 0, day=800), page("undated", 0)]
    decayed = counted(*documents, config=TextConfig(min_voices=0, half_life_days=100))
    assert said(decayed, 0) == pytest.approx({"new": 1, "old": 0.25, "undated": 1})
    assert decayed.voices[0] == pytest.approx(2.25)
    never = counted(*documents, config=TextConfig(min_voices=0, half_life_days=0))
    assert said(never, 0) == pytest.approx({"new": 1, "old": 1, "undated": 1})


def test_who_is_named_beside_whom() -> None:
    vectors = counted(
        page("x", 0, beside=(0, 1)),
        page("x", 0, beside=(1, 2), host="h"),
        page("x", 0, beside=(1,), host="h"),
        page("x", 2, beside=(0,)),
    )
    assert vectors.beside.toarray().tolist() == [[0, 2, 0.5], [0, 0, 0], [1, 0, 0]]


def test_passages_are_the_mean_over_voices_and_only_of_the_first_documents() -> None:
    class Lengths:
        ahead: ClassVar[list[str]] = []

        def keep(self, texts: Iterable[str]) -> None:
            self.ahead += texts

        def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
            assert set(texts) <= set(self.ahead)
            return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)

    documents = [page("aa", 0), page("aaaa", 0), page("aaaaaaaa", 0), page("a", 1)]
    config = TextConfig(min_voices=0, documents_embedded=2)
    vectors = count([pages(documents)], config, n_artists=3, n_items=0, encode=Lengths())
    assert vectors.passages.tolist() == [[6, 2], [1, 1], [0, 0]]


def test_weights_by_hand() -> None:
    vectors = counted(page("x y y", 0), page("x", 1))
    weights = weigh(vectors, n_artists=3).toarray()
    x = math.log(2) * (math.log(3 / 3) + 1)
    y = math.log(1 + 1 + math.log(2)) * (math.log(3 / 2) + 1)
    length = math.hypot(x, y)
    assert weights[0] == pytest.approx([x / length, y / length], rel=1e-6)
    assert weights[1].tolist() == [1, 0]
    assert weights[2].tolist() == [0, 0]


def test_other_weightings_by_hand() -> None:
    vectors = counted(page("x y y", 0), page("x", 1))
    y = (1 + math.log(2)) * (math.log(3 / 2) + 1)
    plain = weigh(vectors, n_artists=3, weighting="tf-idf").toarray()[0]
    assert plain[1] / plain[0] == pytest.approx(y)
    # ln df is ln 2 and 0: each lies one sigma from mu, so both weigh alike.
    bell = weigh(vectors, n_artists=3, weighting="gaussian").toarray()[0]
    assert bell[1] / bell[0] == pytest.approx(1 + math.log(2))


def test_each_type_has_unit_length_and_its_own_columns() -> None:
    batch = pages([page("x", 0), page("x", 1)])
    mixed = pa.array([["adj\tx", "n1\tx", "n1\ty", "np\tx y"]] * 2, pa.list_(pa.string()))
    uses = pa.array([[1, 1, 1, 1]] * 2, pa.list_(pa.uint8()))
    batch = Pages(**{**vars(batch), "terms": mixed, "uses": uses})
    vectors = count([batch], ANY, n_artists=2, n_items=0)
    columns = {kind: columns_of(vectors.terms, kind) for kind in ("adj", "n1", "n2", "np")}
    assert columns == {
        "adj": slice(0, 1), "n1": slice(1, 3), "n2": slice(3, 3), "np": slice(3, 4)
    }  # fmt: skip
    weights = weigh(vectors, n_artists=2).toarray()
    assert weights[0] == pytest.approx([1, math.sqrt(0.5), math.sqrt(0.5), 1])


def test_vocabulary_keeps_the_most_frequent_and_drops_the_rare() -> None:
    documents = [page("common rare", 0), page("common usual", 1), page("common usual", 2)]
    assert terms(counted(*documents, config=TextConfig(min_voices=2))) == ["common", "usual"]
    one = counted(*documents, config=TextConfig(min_voices=2, max_terms=1))
    assert terms(one) == ["common"]


def test_pruning_while_reading_keeps_frequent_terms() -> None:
    documents = [page(f"steady word{n}", n % 3) for n in range(400)]
    config = TextConfig(min_voices=2, max_terms=2)
    assert terms(counted(*documents, config=config, batch=50)) == ["steady"]


def test_blocks_do_not_change_the_counts() -> None:
    documents = [
        page(f"w{n % 5} w{n % 7}", n % 3, beside=(n % 2,), host=f"h{n % 4}") for n in range(40)
    ]
    whole, parts = counted(*documents), counted(*documents, batch=7)
    np.testing.assert_allclose(parts.counts.toarray(), whole.counts.toarray(), rtol=1e-6)
    np.testing.assert_allclose(parts.beside.toarray(), whole.beside.toarray(), rtol=1e-6)


def test_nothing_said() -> None:
    assert counted().counts.shape == (3, 0)
    assert counted(page("", 0)).counts.nnz == 0
    assert counted(page("loud")).counts.nnz == 0

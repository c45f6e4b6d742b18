"""Documents table -> what each document says, of whom, from which site: read once and kept.

Enters: a dataset and its catalogue. Leaves: `Pages`, a thousand documents at a time, in the
table's order; of rows with one doc_id only the latest is about anybody.

To read a text (tag it, find the names in it) is a thousand times the work of counting what was
read. So the reading of every part of the table is kept beside it, in ``readings/``, and a part
that was read before is not read again: new documents are new parts. Names learned since are sought
in the old texts too, which is the cheap half of reading (``text.relink`` turns that off).

Memory: one batch of texts while reading, one of readings while counting.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys import progress
from recsys.config import TextConfig
from recsys.data.catalogue import Catalogue, milliseconds
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.data.parts import Part
from recsys.errors import InputError
from recsys.storage import Folder
from recsys.text.mentions import Mention, Names
from recsys.text.plain import language, plain
from recsys.text.terms import count_terms

__all__ = ["Pages", "Readings"]

_BATCH = 1024
_COLUMNS = ["title", "text", "url", "published_at", "artist_ids", "item_ids"]
_VERSION = "1"
"""Of how terms are taken; a reading of another version is made anew."""
_MAX_USES = 255
_MIN_TO_JUDGE = 200
"""Characters from which the language of a text is judged; a shorter one counts as English."""
_MAX_PASSAGES = 2
_PASSAGE = 600
"""Characters of a passage, about a hundred words: what a sentence encoder takes in at once."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")

_STRINGS = pa.list_(pa.string())
_SCHEMA = pa.schema(
    [
        pa.field("artists", _STRINGS),
        pa.field("items", _STRINGS),
        pa.field("beside", _STRINGS),
        pa.field("host", pa.string()),
        pa.field("published_at", pa.timestamp("ms", tz="UTC")),
        pa.field("passages", _STRINGS),
        pa.field("terms", _STRINGS),
        pa.field("uses", pa.list_(pa.uint8())),
    ]
)


@dataclass(frozen=True)
class Pages:
    """Some documents as read; a pair is (place in these pages, row of what is named)."""

    n: int
    """Documents."""
    artists: NDArray[np.int64]
    """(n_pairs, 2) the artists whom they are about."""
    items: NDArray[np.int64]
    """(n_pairs, 2) the items that they are about."""
    beside: NDArray[np.int64]
    """(n_pairs, 2) all artists that they name."""
    host: list[str]
    """(n,) the site that says it; empty where unknown."""
    at_ms: NDArray[np.int64]
    """(n,) when it was published, milliseconds since 1970; NO_TIME where unknown."""
    terms: pa.ListArray
    """(n,) lists of ``kind<tab>term``, each once."""
    uses: pa.ListArray
    """(n,) lists of uint8: how often each term is said."""
    passages: pa.ListArray
    """(n,) lists of texts: what it says around the names of those it is about."""


class Readings:
    """The documents of a dataset, read as far as they were not; iterate as often as needed.

    Raises
    ------
    InputError
        On iterating, where the readings cannot be kept (the disk is full or read-only).
    """

    def __init__(self, dataset: Dataset, catalogue: Catalogue, config: TextConfig) -> None:
        self._dataset = dataset
        self._catalogue = catalogue
        self._config = config
        self._folder = Folder(config.readings) if config.readings else dataset.folder
        self._latest = _latest(dataset)

    def __iter__(self) -> Iterator[Pages]:
        start = 0
        for part in self._dataset.parts:
            if part.table == "documents":
                for batch in self._part(part):
                    end = start + batch.num_rows
                    yield self._pages(batch, self._latest[start:end])
                    start = end

    @cached_property
    def _names(self) -> Names:
        catalogue = self._catalogue
        return Names(catalogue.artist_names, catalogue.titles, catalogue.item_artist.tolist())

    @cached_property
    def _names_version(self) -> str:
        digest = hashlib.sha256()
        catalogue = self._catalogue
        for texts in (catalogue.artists, catalogue.artist_names, catalogue.items, catalogue.titles):
            digest.update(np.ascontiguousarray(texts.offsets).tobytes())
            digest.update(np.ascontiguousarray(texts.content).tobytes())
        digest.update(np.ascontiguousarray(catalogue.item_artist).tobytes())
        return digest.hexdigest()

    def _part(self, part: Part) -> Iterator[pa.RecordBatch]:
        file = f"readings/{PurePosixPath(part.file).stem}.parquet"
        known = self._known(file)
        fresh = known is not None and known.get(b"terms") == _VERSION.encode()
        linked = known is not None and known.get(b"names") == self._names_version.encode()
        if not fresh or not (linked or not self._config.relink):
            self._read(part, file, keep_terms=fresh)
        with self._folder.filesystem.open_input_file(self._folder.locate(file)) as stream:
            yield from pq.ParquetFile(stream).iter_batches(_BATCH)

    def _known(self, file: str) -> dict[bytes, bytes] | None:
        """Return by which versions a part was read; None where it was not, or not to the end."""
        try:
            with self._folder.filesystem.open_input_file(self._folder.locate(file)) as stream:
                metadata = pq.read_schema(stream).metadata
        except (OSError, pa.ArrowException):
            return None
        return metadata or {}

    def _read(self, part: Part, file: str, *, keep_terms: bool) -> None:
        """Read the texts of one part and keep the reading; where kept, terms are taken from it."""
        versions = {"terms": _VERSION, "names": self._names_version}
        schema = _SCHEMA.with_metadata(versions)
        known = self._terms(file) if keep_terms else None
        task = "text: names" if keep_terms else "text: reading"
        rows = self._rows(part)
        try:
            with self._folder.writing(file) as stream, pq.ParquetWriter(stream, schema) as writer:
                while some := list(islice(rows, _BATCH)):
                    taken = next(known) if known else None
                    writer.write_batch(self._reading(some, taken, schema), row_group_size=_BATCH)
        except OSError as error:
            raise InputError(
                f"{self._folder.path}/{file}: {error}; make room there, or let `text.readings` "
                f"name a folder that can be written to"
            ) from error
        progress.note(f"{task}: {part.rows:,} documents of {part.source}")

    def _rows(self, part: Part) -> Iterator[dict[str, Any]]:
        batches = self._dataset.part_batches(part, _COLUMNS)
        slices = (b.slice(i, _BATCH) for b in batches for i in range(0, b.num_rows, _BATCH))
        rows = (row for some in slices for row in some.to_pylist())
        return progress.track(rows, "text: reading", part.rows)

    def _terms(self, file: str) -> Iterator[pa.RecordBatch]:
        with self._folder.filesystem.open_input_file(self._folder.locate(file)) as stream:
            yield from pq.ParquetFile(stream).iter_batches(_BATCH, columns=["terms", "uses"])

    def _reading(
        self, rows: list[dict[str, Any]], known: pa.RecordBatch | None, schema: pa.Schema
    ) -> pa.RecordBatch:
        texts = [plain(_joined(row["title"], row["text"])) for row in rows]
        about = [self._about(row, text) for row, text in zip(rows, texts, strict=True)]
        columns: dict[str, Any] = {
            name: pa.array([one[name] for one in about], _STRINGS)
            for name in ("artists", "items", "beside", "passages")
        }
        columns["host"] = pa.array([_host(row["url"]) for row in rows])
        columns["published_at"] = pa.array([row["published_at"] for row in rows])
        if known is None:
            counts = count_terms(texts)
            kept = [
                [t for t in count if english or t.startswith(("n1\t", "n2\t"))]
                for count, english in zip(counts, map(_is_english, texts), strict=True)
            ]
            columns["terms"] = pa.array(kept, _STRINGS)
            columns["uses"] = pa.array(
                [
                    [min(count[t], _MAX_USES) for t in k]
                    for count, k in zip(counts, kept, strict=True)
                ],
                pa.list_(pa.uint8()),
            )
        else:
            columns["terms"], columns["uses"] = known.column("terms"), known.column("uses")
        arrays = [columns[field.name].cast(field.type) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _about(self, row: dict[str, Any], text: str) -> dict[str, list[str]]:
        """Return whom a document is about, whom it names, and what it says around their names."""
        catalogue = self._catalogue
        found = self._names.mentions(text)
        artists = _rows(catalogue.artists, row["artist_ids"])
        items = _rows(catalogue.items, row["item_ids"])
        if not row["artist_ids"] and not row["item_ids"]:
            artists, items = self._names.subjects(row["title"], found)
        if not artists:
            owners = {int(catalogue.item_artist[item]) for item in items}
            artists = sorted(owners - {-1})
        beside = sorted({mention.row for mention in found if mention.kind == "artist"})
        subjects = {("artist", row) for row in artists} | {("item", row) for row in items}
        theirs = [mention for mention in found if (mention.kind, mention.row) in subjects]
        return {
            "artists": [catalogue.artists[row] for row in artists],
            "items": [catalogue.items[row] for row in items],
            "beside": [catalogue.artists[row] for row in beside],
            "passages": _passages(text, theirs) if subjects else [],
        }

    def _pages(self, batch: pa.RecordBatch, latest: NDArray[np.bool_]) -> Pages:
        def pairs(name: str, ids: Ids) -> NDArray[np.int64]:
            lists = batch.column(name)
            place = np.asarray(pc.list_parent_indices(lists), np.int64)
            row = ids.rows(pc.list_flatten(lists)).astype(np.int64)
            return np.stack([place, row], axis=1)[(row >= 0) & latest[place]]

        return Pages(
            n=batch.num_rows,
            artists=pairs("artists", self._catalogue.artists),
            items=pairs("items", self._catalogue.items),
            beside=pairs("beside", self._catalogue.artists),
            host=batch.column("host").to_pylist(),
            at_ms=milliseconds(batch.column("published_at")),
            terms=batch.column("terms"),
            uses=batch.column("uses"),
            passages=batch.column("passages"),
        )


def _latest(dataset: Dataset) -> NDArray[np.bool_]:
    """Return (n_rows,) whether a documents row is the latest of its doc_id."""
    batches = list(dataset.batches("documents", ["doc_id"]))
    n_rows = sum(batch.num_rows for batch in batches)
    latest = np.zeros(n_rows, bool)
    if n_rows:
        ids = pa.Table.from_batches(batches).append_column("row", pa.array(range(n_rows)))
        last = ids.group_by("doc_id").aggregate([("row", "max")]).column("row_max")
        latest[np.asarray(last)] = True
    return latest


def _rows(ids: Ids, given: list[str] | None) -> list[int]:
    return sorted({row for id in given or () if id is not None and (row := ids.row(id)) >= 0})


def _joined(title: str | None, text: str) -> str:
    return f"{title}.\n{text}" if title else text


def _is_english(text: str) -> bool:
    return len(text) < _MIN_TO_JUDGE or language(text) == "en"


def _host(url: str | None) -> str:
    try:
        return (urlsplit(url or "").hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def _passages(text: str, mentions: Sequence[Mention]) -> list[str]:
    """Return the first passages of whole sentences that begin with one that names a subject.

    Where none is named, as in a text that is given as being about somebody, it is its beginning.
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)] + [len(text)]
    starts = [0, *ends[:-1]]
    passages: list[str] = []
    taken = 0
    for place in [mention.start for mention in mentions] or [0]:
        sentence = int(np.searchsorted(ends, place, side="right"))
        start = starts[min(sentence, len(starts) - 1)]
        if start < taken or len(passages) == _MAX_PASSAGES:
            continue
        within = [end for end in ends if start < end <= start + _PASSAGE]
        taken = max(within, default=min(start + _PASSAGE, len(text)))
        if passage := text[start:taken].strip():
            passages.append(passage)
    return passages

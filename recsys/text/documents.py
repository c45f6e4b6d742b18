"""Documents table -> a stream of texts, each with those it is about and the voice it comes from.

Enters: a dataset and its catalogue. Leaves: `Document`s in the table's order, one batch in memory
at a time; of rows with one doc_id only the latest counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.catalogue import Catalogue
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.text.mentions import Names

__all__ = ["Document", "read_documents"]

_COLUMNS = ["doc_id", "url", "title", "text", "artist_ids", "item_ids"]


@dataclass(frozen=True)
class Document:
    """One text about somebody."""

    text: str
    artists: list[int]
    """Rows of the artists whom it is about."""
    items: list[int]
    """Rows of the items that it is about."""
    host: str
    """The site that says it; empty where unknown, and then a voice of its own."""


def read_documents(dataset: Dataset, catalogue: Catalogue) -> Iterator[Document]:
    """Stream the documents of `dataset` that are about a known artist or item.

    Where a row names no artist or item, the artists found by name in its title and text count.
    """
    latest = _latest(dataset)
    names = Names(catalogue.artist_names)
    start = 0
    for batch in dataset.batches("documents", _COLUMNS):
        kept = pa.array(latest[start : start + batch.num_rows])
        start += batch.num_rows
        chosen = pa.RecordBatch.from_arrays(
            [column.filter(kept) for column in batch.columns], schema=batch.schema
        )
        for row in chosen.to_pylist():
            artists = _rows(catalogue.artists, row["artist_ids"])
            items = _rows(catalogue.items, row["item_ids"])
            if not row["artist_ids"] and not row["item_ids"]:
                artists = names.subjects(row["title"], row["text"])
            elif not artists:
                owners = {int(catalogue.item_artist[item]) for item in items}
                artists = sorted(owners - {-1})
            if artists or items:
                text = f"{row['title']}.\n{row['text']}" if row["title"] else row["text"]
                yield Document(text, artists, items, _host(row["url"]))


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


def _host(url: str | None) -> str:
    try:
        return (urlsplit(url or "").hostname or "").removeprefix("www.")
    except ValueError:
        return ""

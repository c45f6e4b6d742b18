"""Take deleted listeners out of a dataset: hidden by a tombstone at once, then out of every file.

Enters: tombstones. Leaves: a dataset whose parts and rejects hold none of the rows of those
listeners. Only files that name one are written anew, under their old source and fingerprint, so an
import of the same source still changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.dataset import Dataset
from recsys.data.parts import Part, PartWriter
from recsys.data.tables import TABLES
from recsys.data.tombstones import buried, tombstone

__all__ = ["bury", "forget_rows", "names_listener"]


def bury(dataset: Dataset, tombstones: Collection[str]) -> None:
    """Hide listeners from every reader of `dataset` from now on."""
    new = sorted(set(tombstones) - dataset.tombstones)
    if not new:
        return
    now = datetime.now(UTC)
    rows = pa.table({"user_hash": new, "at": pa.array([now] * len(new), pa.timestamp("ms", "UTC"))})
    mark = tombstone("".join(new))
    with dataset.transaction() as transaction:
        transaction.append("tombstones", [rows], source="forget", fingerprint=f"forget:{mark}")


def names_listener(dataset: Dataset, user_id: str) -> bool:
    """Tell whether any part holds rows of a listener."""
    return any(_count(dataset, part, [tombstone(user_id)]) for part in dataset.parts)


def forget_rows(dataset: Dataset) -> int:
    """Rewrite the files that name a buried listener; return the number of rows taken out."""
    tombstones = dataset.tombstones
    if not tombstones:
        return 0
    removed = sum(_forget_rejects(dataset, tombstones))
    changes: dict[str, Part | None] = {}
    for part in dataset.parts:
        if n_gone := _count(dataset, part, tombstones):
            changes[part.file] = _rewritten(dataset, part) if n_gone < part.rows else None
            removed += n_gone
    dataset.replace_parts(changes)
    return removed


def _count(dataset: Dataset, part: Part, tombstones: Collection[str]) -> int:
    """Return how many rows of a part are under a tombstone."""
    column = TABLES[part.table].listener
    if column is None:
        return 0
    with dataset.folder.filesystem.open_input_file(dataset.folder.locate(part.file)) as file:
        if column not in pq.read_schema(file).names:  # from before the table had it
            return 0
        stored = pq.ParquetFile(file, read_dictionary=[column])
        batches = stored.iter_batches(columns=[column])
        return sum(int(buried(batch.column(0), tombstones).sum()) for batch in batches)


def _rewritten(dataset: Dataset, part: Part) -> Part:
    """Write a part again without the rows that no reader sees any more."""
    writer = PartWriter(dataset.folder, part.table)
    try:
        for batch in dataset.part_batches(part):
            writer.write(batch)
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    return replace(part, file=writer.file, rows=writer.rows)


def _forget_rejects(dataset: Dataset, tombstones: Collection[str]) -> Iterator[int]:
    """Drop rejected rows of which any cell is the id of a buried listener; yield how many."""
    for name in dataset.folder.names("rejects"):
        file = f"rejects/{name}"
        lines = dataset.folder.read(file).splitlines(keepends=True)
        kept = [line for line in lines if not _names_one(json.loads(line)["raw"], tombstones)]
        if len(kept) < len(lines):
            dataset.folder.write(file, b"".join(kept))
        yield len(lines) - len(kept)


def _names_one(raw: Any, tombstones: Collection[str]) -> bool:
    """Tell whether a rejected row holds such an id, as a cell or inside of an unparsed line."""
    if isinstance(raw, dict):
        return any(_names_one(value, tombstones) for value in raw.values())
    if isinstance(raw, list):
        return any(_names_one(value, tombstones) for value in raw)
    pieces = {str(raw), *(p.strip(" \"'\r\n") for p in re.split(r"[\t,;|:]", str(raw)))}
    return any(tombstone(piece) in tombstones for piece in pieces)

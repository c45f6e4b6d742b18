"""A dataset: a folder or bucket of Parquet tables that grows by whole imports.

Layout::

    DATASET/manifest.json              which parts make up each table, in order of import
    DATASET/<table>/<part>.parquet     immutable parts

A part counts once the manifest names it, and the manifest is replaced atomically: an interrupted
import leaves the dataset as it was. A part remembers the source it came from and the fingerprint of
that source, so importing the same source twice changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.tables import TABLES
from recsys.errors import InputError
from recsys.storage import Folder

__all__ = ["Dataset", "Part", "Transaction"]

_MANIFEST = "manifest.json"
_SCHEMA = 1
_ROW_GROUP = 131_072


@dataclass(frozen=True)
class Part:
    """One immutable Parquet file of one table."""

    table: str
    file: str
    rows: int
    source: str
    """What was imported, e.g. ``lastfm-hetrec:user_artists.dat``."""
    fingerprint: str
    """Hash of the source's content; equal fingerprints are the same import."""


class Dataset:
    """Tables on disk. Opening a folder that is not there yet gives an empty dataset."""

    def __init__(self, path: str | Path) -> None:
        self.folder = Folder(path)
        self.parts: list[Part] = self._read_manifest()

    def __repr__(self) -> str:
        return f"Dataset({self.folder.path!r})"

    @classmethod
    def existing(cls, path: str | Path) -> Dataset:
        """Open a dataset that must be there; InputError names the next step where it is not."""
        dataset = cls(path)
        if not dataset.parts:
            raise InputError(f"{path}: no dataset here; make one with `recsys import`")
        return dataset

    def count(self, table: str) -> int:
        """Return the number of stored rows of `table`, replaced rows counted."""
        return sum(part.rows for part in self.parts if part.table == table)

    def fingerprint(self) -> str:
        """Return a hash that changes exactly when the content changes (64 hex digits)."""
        state = sorted((part.table, part.file) for part in self.parts)
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()

    def batches(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream a table's rows in order of import, in bounded memory, absent columns filled."""
        for part in self.parts:
            if part.table == table:
                yield from self.part_batches(part, columns)

    def part_batches(
        self, part: Part, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows of one part, as `batches` does."""
        schema = _projected(part.table, columns)
        with self.folder.filesystem.open_input_file(self.folder.locate(part.file)) as file:
            stored = pq.ParquetFile(file)
            present = [name for name in schema.names if name in stored.schema_arrow.names]
            for batch in stored.iter_batches(_ROW_GROUP, columns=present):
                yield complete(part.table, batch, schema)

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a whole table; of rows with the same key the latest import wins."""
        schema = _projected(table, columns)
        key = TABLES[table].key
        wanted = list(dict.fromkeys([*schema.names, *key]))
        rows = pa.Table.from_batches(self.batches(table, wanted), _projected(table, wanted))
        if key and rows.num_rows:
            order = pa.array(range(rows.num_rows), pa.int64())
            last = rows.select(list(key)).append_column("row", order).group_by(list(key))
            kept = last.aggregate([("row", "max")]).column("row_max")
            rows = rows.take(kept.combine_chunks().sort())
        return rows.select(schema.names)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Collect appends that all become visible at the end of the block, or none of them."""
        transaction = Transaction(self)
        try:
            yield transaction
        except BaseException:
            transaction.discard()
            raise
        self.parts = [*self._read_manifest(), *transaction.parts]
        dropped = {part.file for part in transaction.replaced}
        self.parts = [part for part in self.parts if part.file not in dropped]
        manifest = {"schema": _SCHEMA, "parts": [asdict(part) for part in self.parts]}
        self.folder.write(_MANIFEST, json.dumps(manifest, indent=1).encode())

    def _read_manifest(self) -> list[Part]:
        try:
            manifest = json.loads(self.folder.read(_MANIFEST))
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise InputError(f"{self.folder.path}/{_MANIFEST}: not JSON: {error}") from error
        if manifest.get("schema", 0) > _SCHEMA:
            raise InputError(
                f"{self.folder.path}: written by a newer recsys (schema {manifest['schema']}, "
                f"known {_SCHEMA}); upgrade recsys"
            )
        return [Part(**part) for part in manifest["parts"]]


class Transaction:
    """Appends on their way into a dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.parts: list[Part] = []
        self.replaced: list[Part] = []

    def append(
        self,
        table: str,
        batches: Iterable[pa.RecordBatch | pa.Table],
        *,
        source: str,
        fingerprint: str,
        replace: bool = False,
    ) -> int:
        """Write rows of `table` as one part and return their number; holds one batch in memory.

        Nothing is written where the dataset has this `fingerprint` for the table already. With
        `replace`, parts of the same `source` give way to this one (a snapshot).
        """
        known = [p for p in self._dataset.parts if p.table == table]
        if any(p.fingerprint == fingerprint for p in known):
            return 0
        file = f"{table}/{uuid.uuid4().hex}.parquet"
        spec, rows = TABLES[table], 0
        with (
            self._dataset.folder.writing(file) as stream,
            pq.ParquetWriter(stream, spec.schema, compression="zstd") as writer,
        ):
            for batch in batches:
                full = complete(table, batch, spec.schema)
                rows += full.num_rows
                writer.write_table(pa.Table.from_batches([full]), row_group_size=_ROW_GROUP)
        if replace:
            self.replaced += [p for p in known if p.source == source]
        self.parts.append(Part(table, file, rows, source, fingerprint))
        return rows

    def discard(self) -> None:
        """Delete what was written; the dataset never saw it."""
        for part in self.parts:
            self._dataset.folder.delete(part.file)


def complete(table: str, batch: pa.RecordBatch | pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    """Return `batch` with exactly the columns of `schema`, absent ones filled."""
    defaults = TABLES[table].defaults
    columns = []
    for column in schema:
        if column.name in batch.schema.names:
            values = batch.column(column.name)
            if isinstance(values, pa.ChunkedArray):
                values = values.combine_chunks()
            values = values.cast(column.type)
            if column.name in defaults and values.null_count:
                values = values.fill_null(defaults[column.name])
        else:
            scalar = pa.scalar(defaults.get(column.name), column.type)
            values = pa.repeat(scalar, batch.num_rows)
        columns.append(values)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _projected(table: str, columns: Sequence[str] | None) -> pa.Schema:
    schema = TABLES[table].schema
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])

"""One Parquet file of a table: what is known of it, how it is written, how columns are filled.

Enters: batches with some of a table's columns. Leaves: a file with all of them, row groups of a
size that several processes can share out, or batches with exactly the columns asked for.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.tables import TABLES
from recsys.storage import AbandonedError, Folder

__all__ = ["ROW_GROUP", "Part", "PartWriter", "RowGroup", "complete", "projected", "with_codes"]

ROW_GROUP = 131_072
"""Rows of a piece that can be read alone."""


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


@dataclass(frozen=True)
class RowGroup:
    """A piece of a part that can be read alone."""

    part: Part
    number: int
    """Place in the part."""
    first: int
    """Rows of the table that lie before it, in order of import."""
    rows: int


class PartWriter:
    """One Parquet file in the making."""

    def __init__(self, folder: Folder, table: str) -> None:
        self.file = f"{table}/{uuid.uuid4().hex}.parquet"
        self.rows = 0
        self._table = table
        self._schema = TABLES[table].schema
        self._open = ExitStack()
        stream = self._open.enter_context(folder.writing(self.file))
        self._parquet = pq.ParquetWriter(stream, self._schema, compression="zstd")

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Append rows as one row group or more."""
        full = complete(self._table, batch, self._schema)
        self.rows += full.num_rows
        self._parquet.write_table(pa.Table.from_batches([full]), row_group_size=ROW_GROUP)

    def close(self) -> None:
        """Finish the file."""
        self._parquet.close()
        self._open.close()

    def abandon(self) -> None:
        """Leave no file; the disk may refuse even what finishing it would write."""
        with suppress(OSError):
            self._parquet.close()
        with suppress(AbandonedError, OSError), self._open:
            raise AbandonedError


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
            kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
            values = pa.repeat(pa.scalar(defaults.get(column.name), kind), batch.num_rows)
            values = values.cast(column.type)
        columns.append(values)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def projected(table: str, columns: Sequence[str] | None) -> pa.Schema:
    """Return the schema of some columns of a table, in this order; of all for None."""
    schema = TABLES[table].schema
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def with_codes(field: pa.Field) -> pa.Field:
    """Return a field of texts as one of dictionaries, any other as it is."""
    if not pa.types.is_string(field.type):
        return field
    return pa.field(field.name, pa.dictionary(pa.int32(), pa.string()))

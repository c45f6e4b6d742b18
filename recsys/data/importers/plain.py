"""events, items, artists, documents, collections: files that have a table's own columns.

CSV (comma, semicolon or tab), JSON lines or Parquet, one file or a folder of them. A column that is
wholly default may be absent; a column that the table does not know is ignored, and said.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from recsys import progress
from recsys.data.importers.door import Admitted, Door
from recsys.data.importers.format import Format
from recsys.data.importers.reading import (
    Layout,
    RawRows,
    delimited,
    json_objects,
    json_rows,
    opened,
    parquet,
)
from recsys.data.tables import TABLES
from recsys.data.validation import PRIVATE
from recsys.errors import InputError, nearest

__all__ = ["FORMATS"]

_TEXT = (".csv", ".tsv", ".txt")
_JSON = (".jsonl", ".ndjson", ".json")
_SUFFIXES = (*_TEXT, *_JSON, ".parquet")
_COMPRESSED = (".gz", ".bz2", ".zst", ".xz")


def _suffix(path: Path) -> str:
    """Return the suffix that tells the format, that of compression left off."""
    name = path.stem if path.suffix.lower() in _COMPRESSED else path.name
    return Path(name).suffix.lower()


def _files(source: Path) -> list[Path]:
    if source.is_dir():
        found = sorted(p for p in source.iterdir() if p.is_file() and _suffix(p) in _SUFFIXES)
        if not found:
            raise InputError(f"{source}: no {', '.join(_SUFFIXES)} file in this folder")
        return found
    if not source.is_file():
        raise InputError(f"{source}: no such file; give one, or a folder of them")
    if _suffix(source) not in _SUFFIXES:
        raise InputError(f"{source}: unknown kind of file; want {', '.join(_SUFFIXES)}")
    return [source]


def _read(table: str, files: list[Path], door: Door) -> Iterator[Admitted]:
    for path in files:
        ignored: set[str] = set()
        for raw in _rows(table, path, door):
            ignored |= _unknown(table, raw)
            yield door.admit(table, raw)
        if ignored:
            progress.note(f"{path.name}: ignored columns: {', '.join(sorted(ignored))}")


def _rows(table: str, path: Path, door: Door) -> Iterator[RawRows]:
    suffix, schema = _suffix(path), TABLES[table].schema
    if suffix == ".parquet":
        yield from (_named(table, raw) for raw in parquet(path, path.name))
        return
    with opened(path) as stream:
        if suffix in _JSON:
            for objects in json_objects(stream, path.name, door.refuse):
                # What is absent differs by line here, so the rows are judged one by one.
                yield json_rows(objects, schema, PRIVATE, path.name, door.refuse)
            return
        raw_rows = delimited(stream, path.name, Layout(), door.refuse)
        yield from (_named(table, raw) for raw in raw_rows)


def _named(table: str, raw: RawRows) -> RawRows:
    """Return `raw`; InputError where the file lacks a column that must be there."""
    names = raw.columns.schema.names
    for wanted in TABLES[table].required:
        if wanted not in names:
            close = nearest(wanted, names)
            hint = f"rename {close[0]!r}" if close else f"found: {', '.join(names[:8])}"
            raise InputError(f"{raw.file}:1: no column {wanted!r}, which {table} must have; {hint}")
    return raw


def _unknown(table: str, raw: RawRows) -> set[str]:
    known: pa.Schema = TABLES[table].schema
    return {n for n in raw.columns.schema.names if n not in known.names and n not in PRIVATE}


FORMATS = tuple(
    Format(name=table, files=_files, read=partial(_read, table))
    for table in ("events", "items", "artists", "documents", "collections")
)
"""One format for each table that may be given as it is."""

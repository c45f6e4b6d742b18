"""A dataset: a folder or bucket of Parquet tables that grows by whole imports.

Layout::

    DATASET/manifest.json              which parts make up each table, in order of import
    DATASET/<table>/<part>.parquet     immutable parts
    DATASET/rejects/<source>.jsonl     rows that an import set aside

Rows of a listener who has a tombstone are never read, whatever part brings them.

A part counts once the manifest names it, and the manifest is replaced atomically: an interrupted
import leaves the dataset as it was, and what it wrote is deleted by an import a day later. A part
remembers the source it came from and the fingerprint of that source, so importing the same source
twice changes nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.parts import ROW_GROUP, Part, PartWriter, RowGroup, complete, projected, with_codes
from recsys.data.tables import TABLES
from recsys.data.tombstones import buried
from recsys.errors import InputError
from recsys.storage import Folder

__all__ = ["Dataset", "Transaction"]

_MANIFEST = "manifest.json"
_SCHEMA = 1
_LEFTOVER_AGE_S = 86_400.0


class Dataset:
    """Tables on disk. Opening a folder that is not there yet gives an empty dataset."""

    def __init__(self, path: str | Path) -> None:
        self.folder = Folder(path)
        self.parts: list[Part] = self._read_manifest()
        self._buried: tuple[tuple[Part, ...], frozenset[str]] = ((), frozenset())

    def __repr__(self) -> str:
        return f"Dataset({self.folder.path!r})"

    @classmethod
    def existing(cls, path: str | Path) -> Dataset:
        """Open a dataset that must be there; InputError names the next step where it is not."""
        dataset = cls(path)
        if not dataset.parts:
            raise InputError(f"{path}: no dataset with rows here; make one with `recsys import`")
        return dataset

    @property
    def tombstones(self) -> frozenset[str]:
        """Hashes of the ids of deleted listeners."""
        parts = tuple(part for part in self.parts if part.table == "tombstones")
        if parts != self._buried[0]:
            hashes = (b["user_hash"].to_pylist() for p in parts for b in self.part_batches(p))
            self._buried = parts, frozenset(hash for some in hashes for hash in some)
        return self._buried[1]

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

    def row_groups(self, table: str) -> list[RowGroup]:
        """Return the pieces of a table in order, so that several processes can share them out."""
        groups, first = [], 0
        for part in (part for part in self.parts if part.table == table):
            place = self.folder.locate(part.file)
            with self._readable(part), self.folder.filesystem.open_input_file(place) as file:
                facts = pq.read_metadata(file)
            for number in range(facts.num_row_groups):
                rows = facts.row_group(number).num_rows
                groups.append(RowGroup(part, number, first, rows))
                first += rows
        return groups

    def part_batches(
        self,
        part: Part,
        columns: Sequence[str] | None = None,
        *,
        encoded: bool = False,
        row_group: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows of one part, or of one piece of it, as `batches` does.

        With `encoded`, texts come as dictionaries: numbers, and the distinct texts of the batch.
        """
        schema = projected(part.table, columns)
        listener = TABLES[part.table].listener
        if listener is not None and not self.tombstones:
            listener = None
        read = schema
        if listener is not None and listener not in schema.names:
            read = schema.append(TABLES[part.table].schema.field(listener))
        if encoded:
            read = pa.schema([with_codes(field) for field in read])
        place = self.folder.locate(part.file)
        with self._readable(part), self.folder.filesystem.open_input_file(place) as file:
            names = set(pq.read_schema(file).names)
            present = [field for field in read if field.name in names]
            texts = [f.name for f in present if pa.types.is_dictionary(f.type)]
            stored = pq.ParquetFile(file, read_dictionary=texts)
            wanted = [field.name for field in present]
            groups = None if row_group is None else [row_group]
            for batch in stored.iter_batches(ROW_GROUP, row_groups=groups, columns=wanted):
                whole = complete(part.table, batch, read)
                if listener is not None:
                    gone = buried(whole.column(listener), self.tombstones)
                    whole = whole.filter(pa.array(~gone))
                yield whole.select(schema.names)

    @contextmanager
    def _readable(self, part: Part) -> Iterator[None]:
        """Say of a part that cannot be read what it was and what to do."""
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{self.folder.locate(part.file)}: damaged ({reason}); restore it, "
                f"or import {part.source} anew elsewhere"
            ) from error

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a whole table; of rows with the same key the latest import wins.

        A row whose key is null is like no other.
        """
        schema = projected(table, columns)
        key = TABLES[table].key
        wanted = list(dict.fromkeys([*schema.names, *key]))
        rows = pa.Table.from_batches(self.batches(table, wanted), projected(table, wanted))
        if key and rows.num_rows:
            order = pa.array(np.arange(rows.num_rows))
            named = rows.select(list(key)).append_column("row", order).drop_null()
            last = named.group_by(list(key)).aggregate([("row", "max")]).column("row_max")
            replaced = np.zeros(rows.num_rows, bool)
            replaced[np.asarray(named.column("row"))] = True
            replaced[np.asarray(last)] = False
            rows = rows.filter(pa.array(~replaced))
        return rows.select(schema.names)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Collect appends that all become visible at the end of the block, or none of them.

        Transactions may overlap, in one process or in several: each writes its own files, and the
        manifest is read, extended and replaced under a lock. In a bucket there is no lock; let one
        process import at a time.

        Raises
        ------
        InputError
            Where the dataset's disk refuses (it is full, read-only, ...).
        """
        transaction = Transaction(self)
        try:
            yield transaction
            transaction.close()
            with self._locked():
                self._write_manifest(transaction.merged(self._read_manifest()))
                self._sweep()
        except BaseException as error:
            transaction.discard()
            if isinstance(error, OSError):
                raise InputError(
                    f"{self.folder.path}: {error}; the dataset is as it was; make room and repeat"
                ) from error
            raise

    def replace_parts(self, changes: Mapping[str, Part | None]) -> None:
        """Put other parts in the places of some, by their file, or nothing; delete those files."""
        if not changes:
            return
        with self._locked():
            renewed = (changes.get(part.file, part) for part in self._read_manifest())
            self._write_manifest([part for part in renewed if part is not None])
        for file in changes:
            self.folder.delete(file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time change the manifest."""
        if not self.folder.is_local:
            yield
            return
        Path(self.folder.root).mkdir(parents=True, exist_ok=True)
        with Path(self.folder.locate(".lock")).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write_manifest(self, parts: list[Part]) -> None:
        self.parts = parts
        manifest = {"schema": _SCHEMA, "parts": [asdict(part) for part in parts]}
        self.folder.write(_MANIFEST, json.dumps(manifest, indent=1).encode())

    def _sweep(self) -> None:
        """Delete what killed imports left behind, once it is too old to be an import under way."""
        known = {part.file for part in self.parts}
        for table in TABLES:
            for name in self.folder.names(table):
                file = f"{table}/{name}"
                if file not in known and self.folder.age_s(file) > _LEFTOVER_AGE_S:
                    self.folder.delete(file)

    def _read_manifest(self) -> list[Part]:
        where = f"{self.folder.path}/{_MANIFEST}"
        try:
            manifest = json.loads(self.folder.read(_MANIFEST))
        except FileNotFoundError:
            return []
        except NotADirectoryError as error:
            raise InputError(
                f"{self.folder.path}: not a folder; give the dataset's folder"
            ) from error
        except ValueError as error:
            raise InputError(f"{where}: not JSON ({error}); restore it from a copy") from error
        if not isinstance(manifest, dict) or not isinstance(manifest.get("schema"), int):
            raise InputError(f"{where}: not a dataset's manifest; give another folder")
        if manifest["schema"] > _SCHEMA:
            raise InputError(
                f"{self.folder.path}: written by a newer recsys (schema {manifest['schema']}, "
                f"known {_SCHEMA}); upgrade recsys"
            )
        return [Part(**part) for part in manifest["parts"]]


class Transaction:
    """Appends on their way into a dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._writers: dict[tuple[str, str, str], PartWriter] = {}
        self._snapshots: set[tuple[str, str]] = set()
        self.parts: list[Part] = []

    def append(
        self,
        table: str,
        batches: Iterable[pa.RecordBatch | pa.Table],
        *,
        source: str,
        fingerprint: str,
        replace: bool = False,
    ) -> int:
        """Write rows of `table` and return their number; holds one batch in memory.

        Nothing is written where the dataset has this `fingerprint` for the table already. With
        `replace`, parts of the same `source` give way to this one (a snapshot). Repeated calls
        with the same source and fingerprint extend one part.
        """
        if any((p.table, p.fingerprint) == (table, fingerprint) for p in self._dataset.parts):
            return 0
        key, rows = (table, source, fingerprint), 0
        if replace:
            self._snapshots.add((table, source))
        for batch in batches:
            if batch.num_rows:
                if key not in self._writers:
                    self._writers[key] = PartWriter(self._dataset.folder, table)
                self._writers[key].write(batch)
                rows += batch.num_rows
        return rows

    def close(self) -> None:
        """Finish the files; they still belong to no dataset."""
        for (table, source, fingerprint), writer in self._writers.items():
            writer.close()
            self.parts.append(Part(table, writer.file, writer.rows, source, fingerprint))
        self._writers = {}

    def merged(self, present: list[Part]) -> list[Part]:
        """Return `present` with what was written, as the dataset shall be."""
        known = {(part.table, part.fingerprint) for part in present}
        # Another process may have imported the same source in the meantime.
        new = [part for part in self.parts if (part.table, part.fingerprint) not in known]
        ours = {(part.table, part.fingerprint) for part in self.parts}
        kept = [
            part
            for part in present
            if (part.table, part.source) not in self._snapshots
            or (part.table, part.fingerprint) in ours
        ]
        return [*kept, *new]

    def discard(self) -> None:
        """Delete what was written; the dataset never saw it."""
        for writer in self._writers.values():
            writer.abandon()
        for part in self.parts:
            self._dataset.folder.delete(part.file)

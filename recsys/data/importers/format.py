"""What an importer is: a name, the files it wants, and a generator of admitted rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.importers.door import Admitted, Door
from recsys.data.tables import TABLES
from recsys.errors import InputError

__all__ = ["FirstSeen", "Format", "derived", "file_of", "found_in"]


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of source."""

    name: str
    files: Callable[[Path], list[Path]]
    """The files to read; InputError where the source lacks one."""
    read: Callable[[list[Path], Door], Iterator[Admitted]]
    """Reads those files through the door, batch by batch."""
    snapshot: bool = False
    """Whether an import replaces the one before of the same name."""

    @property
    def log(self) -> bool:
        """Whether imports add up, so that a grown file would be counted twice."""
        return self.name == "events"


class FirstSeen:
    """Tells which ids have not been seen before; remembers each distinct id."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __contains__(self, id: object) -> bool:
        return id in self._seen

    def rows(self, ids: pa.Array) -> pa.Array:
        """Return the places of ids that are new, the first of each; nulls are never new."""
        first: dict[str, int] = {}
        encoded = ids.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        codes = np.asarray(pc.fill_null(encoded.indices, -1))
        _, places = np.unique(codes, return_index=True)
        for place in places.tolist():
            word = words[codes[place]] if codes[place] >= 0 else None
            if word is not None and word not in self._seen:
                first[word] = place
        self._seen.update(first)
        return pa.array(sorted(first.values()), pa.int64())


def derived(table: str, columns: dict[str, pa.Array | str]) -> Admitted:
    """Make rows of `table` out of columns that were checked already; a str fills its column."""
    n = max(len(column) for column in columns.values() if not isinstance(column, str))
    schema = TABLES[table].schema
    made = {
        name: pa.repeat(pa.scalar(values), n) if isinstance(values, str) else values
        for name, values in columns.items()
    }
    arrays = [values.cast(schema.field(name).type) for name, values in made.items()]
    batch = pa.RecordBatch.from_arrays(arrays, list(made))
    return Admitted(table, batch, np.ones(n, bool))


def found_in(source: Path, wanted: Sequence[str], format: str) -> list[Path]:
    """Return the `wanted` files of folder `source`; InputError names the first that is absent."""
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; {format} wants one with {', '.join(wanted)}")
    for name in wanted:
        if not (source / name).is_file():
            raise InputError(f"{source}: no {name} in it; {format} wants {', '.join(wanted)}")
    return [source / name for name in wanted]


def file_of(source: Path, name: str, format: str) -> Path:
    """Return `source` if it is a file, else the file `name` in it."""
    path = source / name if source.is_dir() else source
    if not path.is_file():
        raise InputError(f"{path}: no such file; {format} wants {name} or the folder with it")
    return path

"""Sources -> tables: one small file per format, one function for all of them.

`import_source` reads a file or folder in one of `FORMATS`, checks every row, and adds it to a
dataset in one transaction: all of it, or nothing. Importing the same source twice changes nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from recsys import progress
from recsys.data.dataset import Dataset
from recsys.data.importers import (
    database,
    lastfm_360k,
    lastfm_hetrec,
    listenbrainz,
    movielens,
    plain,
    taste_profile,
)
from recsys.data.importers.door import Door
from recsys.data.importers.format import Format
from recsys.errors import InputError, UsageError, nearest

__all__ = ["FORMATS", "NAMES", "Format", "ImportResult", "import_source"]

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        form.name: form
        for form in (
            lastfm_hetrec.FORMAT,
            lastfm_360k.FORMAT,
            taste_profile.FORMAT,
            listenbrainz.FORMAT,
            movielens.FORMAT,
            *plain.FORMATS,
        )
    }
)
"""What can be imported from files, by name."""
NAMES = (*FORMATS, database.NAME)
"""All that can be imported."""


@dataclass(frozen=True)
class ImportResult:
    """What an import did."""

    rows: dict[str, int]
    """Rows added, by table."""
    rejected: int
    """Bad rows set aside."""
    private: int
    """Private rows dropped."""
    unchanged: bool
    """Whether the dataset had this source already; nothing was read then."""
    rejects_file: str | None
    """Where the bad rows are, None where there are none."""
    reasons: dict[str, int]
    """How often each rule was broken, the most frequent first."""
    remarks: dict[str, int] = field(default_factory=dict)
    """What is odd about rows that were kept, and how often, the most frequent first."""


def import_source(
    format: str, source: str | Path, dataset: Dataset, *, now_ms: int | None = None
) -> ImportResult:
    """Add `source` to `dataset`.

    Parameters
    ----------
    format
        One of `NAMES`.
    source
        A file, or a folder as the format has it.
    dataset
        Takes everything or nothing.
    now_ms
        Milliseconds since 1970 that count as now; by default the clock.

    Raises
    ------
    UsageError
        For an unknown format.
    InputError
        Where the source cannot be read, or more than 5 % of the rows of a file are bad.
    """
    if format == database.NAME:
        added = database.import_database(str(source), dataset)
        return ImportResult(added, 0, 0, not any(added.values()), None, {})
    if format not in FORMATS:
        close = nearest(format, NAMES)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(NAMES)}"
        raise UsageError(f"unknown format {format!r}; {hint}")
    form, path = FORMATS[format], Path(source)
    files = form.files(path)
    fingerprint = _fingerprint(format, files)
    label = f"{format}:{path.resolve().name}"
    if any(part.fingerprint == fingerprint for part in dataset.parts):
        return ImportResult({}, 0, 0, True, None, {})
    if form.log and any(part.source == label for part in dataset.parts):
        progress.note(
            f"{label} was imported before and has changed: timed events are added to the earlier "
            f"ones, untimed counts replace theirs"
        )
    door = Door(dataset, label, now_ms=int(time.time() * 1000) if now_ms is None else now_ms)
    rows: Counter[str] = Counter()
    keep = False
    try:
        with dataset.transaction() as transaction:
            for admitted in form.read(files, door):
                rows[admitted.table] += transaction.append(
                    admitted.table,
                    [admitted.rows],
                    source=label,
                    fingerprint=fingerprint,
                    replace=form.snapshot,
                )
                progress.step(f"import {format}", rows.total(), None, f"{door.rejected} set aside")
            keep = True
            door.judge()
            door.close(keep=True)
    finally:
        door.close(keep=keep)
    rejects = f"{dataset.folder.path}/{door.rejects_file}" if door.rejected else None
    return ImportResult(dict(rows), door.rejected, door.private, False, rejects, door.reasons)


def _fingerprint(format: str, files: list[Path]) -> str:
    """Return the hash of the content of `files` as `format` reads it."""
    whole = hashlib.sha256(format.encode())
    for file in files:
        try:
            with file.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}; give a readable file") from error
    return whole.hexdigest()

"""The door of a dataset: every row of an import is checked here, kept, set aside or forgotten.

Enters: unchecked rows. Leaves: good rows in the table's types. A bad row is written to
``DATASET/rejects/<source>.jsonl`` with its file:row and the reason, and counted. A private row is
counted and written nowhere. More than 5 % of bad rows in a file stop the import.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.dataset import Dataset
from recsys.data.importers.reading import RawRows
from recsys.data.validation import check
from recsys.errors import InputError
from recsys.storage import AbandonedError

__all__ = ["MAX_BAD_SHARE", "Admitted", "Door"]

MAX_BAD_SHARE = 0.05
"""More bad rows than this in a file mean that the file is not what it is taken for."""


@dataclass(frozen=True)
class Admitted:
    """Rows that may enter."""

    table: str
    rows: pa.RecordBatch
    """In the columns of the table."""
    good: NDArray[np.bool_]
    """(n,) which of the unchecked rows these are."""


@dataclass
class _Tally:
    good: int = 0
    bad: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class Door:
    """Checks rows on their way from one source into one dataset.

    Parameters
    ----------
    dataset
        Whose folder takes the rejects.
    source
        What is imported, for the name of the rejects file.
    now_ms
        Milliseconds since 1970; nothing may have happened more than a day later.
    """

    def __init__(self, dataset: Dataset, source: str, *, now_ms: int) -> None:
        self.rejects_file = f"rejects/{re.sub(r'[^0-9A-Za-z._-]+', '-', source)}.jsonl"
        self.private = 0
        self._dataset = dataset
        self._now_ms = now_ms
        self._tallies: dict[str, _Tally] = {}
        self._open = ExitStack()
        self._rejects: Any = None

    @property
    def rejected(self) -> int:
        """Number of rows set aside."""
        return sum(tally.bad for tally in self._tallies.values())

    @property
    def reasons(self) -> dict[str, int]:
        """How often each rule was broken, the most frequent first."""
        total: Counter[str] = Counter()
        for tally in self._tallies.values():
            total.update(tally.reasons)
        return dict(total.most_common())

    def admit(self, table: str, raw: RawRows) -> Admitted:
        """Check rows of `table`; bad ones are set aside."""
        checked = check(table, raw.columns, now_ms=self._now_ms)
        self.private += int(checked.private.sum())
        self._tally(raw.file).good += checked.rows.num_rows
        for row, reason in checked.reasons.items():
            self._refuse_row(raw, row, reason)
        return Admitted(table, checked.rows, checked.good)

    def refuse(self, file: str, line: int, reason: str, raw: Any) -> None:
        """Set one row aside."""
        tally = self._tally(file)
        tally.bad += 1
        tally.reasons[reason.partition(", got ")[0]] += 1
        text = json.dumps({"row": f"{file}:{line}", "reason": reason, "raw": raw}, default=str)
        try:
            if self._rejects is None:
                stream = self._dataset.folder.writing(self.rejects_file)
                self._rejects = self._open.enter_context(stream)
            self._rejects.write(text.encode() + b"\n")
        except OSError as error:
            where = f"{self._dataset.folder.path}/{self.rejects_file}"
            raise InputError(f"{where}: {error}; make room and repeat") from error

    def set_aside(self, raw: RawRows, wrong: NDArray[np.bool_], reason: str) -> RawRows:
        """Set the `wrong` rows aside for a rule of their format, and return the others."""
        for row in np.flatnonzero(wrong):
            self._refuse_row(raw, int(row), reason)
        return raw.only(~wrong)

    def judge(self) -> None:
        """Raise InputError where a file has too many bad rows."""
        for file, tally in self._tallies.items():
            total = tally.good + tally.bad
            if tally.bad > MAX_BAD_SHARE * total:
                worst = "; ".join(f"{reason} ({n})" for reason, n in tally.reasons.most_common(3))
                raise InputError(
                    f"{file}: {tally.bad:,} of {total:,} rows are bad, more than "
                    f"{MAX_BAD_SHARE:.0%}: {worst}; nothing was imported, see "
                    f"{self._dataset.folder.path}/{self.rejects_file}"
                )

    def close(self, *, keep: bool) -> None:
        """Finish the rejects file, or leave none behind of an import that failed."""
        if keep:
            self._open.close()
            if not self.rejected:  # those of an earlier import of this source are out of date
                self._dataset.folder.delete(self.rejects_file)
            return
        with suppress(AbandonedError, OSError), self._open:
            raise AbandonedError

    def _refuse_row(self, raw: RawRows, row: int, reason: str) -> None:
        cells = raw.columns.slice(row, 1).to_pylist()[0]
        self.refuse(raw.file, int(raw.lines[row]), reason, cells)

    def _tally(self, file: str) -> _Tally:
        return self._tallies.setdefault(file, _Tally())

"""Rows of a file -> rows of a table: what is right, what is wrong and why, what is private.

Enters: a batch of rows as a file has them. Leaves: the good rows in the table's types and a reason
for each bad one. The rules:

- an id is 1 to 1,024 characters, none of them a control character; spaces, slashes, emoji are fine;
- a value is a finite number above 0 and at most 1e9; a rating is 0 to 100 stars;
- an event lies between 1990 and a day from now; other times may be any;
- streams, saves, playlist additions, skips and ratings name an item, visits and follows an artist;
- a row is private unless its ``private`` is clearly false or empty; it is counted, nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.columns import WANTED, parse
from recsys.data.identity import string_arrays
from recsys.data.tables import EVENT_KINDS, TABLES

__all__ = ["MAX_ID_LENGTH", "MAX_VALUE", "PRIVATE", "Checked", "check"]

MAX_ID_LENGTH = 1024
"""Characters in an external id."""
MAX_VALUE = 1e9
"""No count of streams is larger."""
MAX_STARS = 100.0
"""No rating is higher."""
PRIVATE = ("private", "is_private", "private_session", "incognito", "incognito_mode")
"""Columns that mark a row as not to be kept."""

_EARLIEST_MS = 631_152_000_000  # 1990-01-01
_DAY_MS = 86_400_000
_ABOUT_ARTISTS = ("artist_visit", "follow")
_CONTROL = r"\p{Cc}"


@dataclass(frozen=True)
class Checked:
    """A batch of rows, judged."""

    rows: pa.RecordBatch
    """The good rows, in the columns of the table."""
    good: NDArray[np.bool_]
    """(n,) which rows of the batch these are."""
    private: NDArray[np.bool_]
    """(n,) which rows are to be forgotten."""
    reasons: dict[int, str]
    """Why each bad row that is not private is bad, by its place in the batch."""


def check(table: str, batch: pa.RecordBatch, *, now_ms: int) -> Checked:
    """Judge rows of `table`.

    Parameters
    ----------
    table
        One of `recsys.data.tables.TABLES`.
    batch
        Columns by the table's names, of any type; others are ignored, absent ones get defaults.
    now_ms
        Milliseconds since 1970, which events may exceed by a day.
    """
    spec, faults = TABLES[table], _Faults(batch.num_rows)
    private = _private(batch)
    columns: dict[str, pa.Array] = {}
    for field in spec.schema:
        given = batch.column(field.name) if field.name in batch.schema.names else None
        values = _column(field, given, faults, spec.defaults)
        if values is None:
            values = pa.repeat(pa.scalar(spec.defaults.get(field.name), field.type), len(batch))
        columns[field.name] = values
    if table == "events":
        _check_events(columns, batch, faults, now_ms)
    if table == "items":
        given = _given(batch, "duration_s")
        duration = _numbers(columns["duration_s"])
        faults.add(duration < 0, "duration_s", "want seconds above 0", given)
        # Catalogues write 0 for what they do not know.
        columns["duration_s"] = pa.array(duration, mask=~(duration > 0))
    good = ~faults.bad & ~private
    rows = pa.RecordBatch.from_arrays(
        [columns[name].cast(spec.schema.field(name).type) for name in spec.schema.names],
        schema=pa.schema([field.with_nullable(True) for field in spec.schema]),
    ).filter(pa.array(good))
    reasons = {int(row): faults.reasons[int(row)] for row in np.flatnonzero(faults.bad & ~private)}
    return Checked(rows, good, private, reasons)


class _Faults:
    """The first fault found in each row."""

    def __init__(self, n: int) -> None:
        self.bad = np.zeros(n, bool)
        self.reasons: dict[int, str] = {}

    def add(self, wrong: NDArray[np.bool_], name: str, wanted: str, given: pa.Array | None) -> None:
        """Note that column `name` is `wrong` in some rows."""
        for row in np.flatnonzero(wrong & ~self.bad):
            found = "nothing" if given is None else _shown(given[int(row)].as_py())
            self.reasons[int(row)] = f"{name}: {wanted}, got {found}"
        self.bad |= wrong


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}... ({len(str(value)):,} characters)"


def _column(
    field: pa.Field, given: pa.Array | None, faults: _Faults, defaults: dict[str, Any]
) -> pa.Array | None:
    """Return a column in its type, None where the file has none."""
    is_id = field.name.endswith("_id")
    if given is None:
        if not field.nullable and field.name not in defaults:
            faults.add(np.ones(len(faults.bad), bool), field.name, "wanted", None)
        return None
    values, wrong = parse(given, field.type)
    faults.add(wrong, field.name, f"want {WANTED[field.type]}", given)
    if field.name in defaults:
        values = pc.fill_null(values, defaults[field.name])
    elif not field.nullable:
        missing = np.array(pc.is_null(values), bool)
        faults.add(missing, field.name, "must not be empty", given)
    if is_id:
        _check_ids(field.name, values, given, faults)
    elif field.name.endswith("_ids"):
        words = pc.list_flatten(values)
        inner = _Faults(len(words))
        _check_ids(field.name, words, words, inner)
        wrong = np.zeros(len(values), bool)
        wrong[np.asarray(pc.list_parent_indices(values))[inner.bad]] = True
        faults.add(wrong, field.name, "want ids without control characters", given)
    return values


def _check_ids(name: str, ids: pa.Array, given: pa.Array, faults: _Faults) -> None:
    offsets, content = string_arrays(ids)
    longest = int(np.diff(offsets).max(initial=0))
    if longest <= MAX_ID_LENGTH and not ((content <= 32) | (content >= 127)).any():
        return  # plain ASCII, as nearly always
    length = np.asarray(pc.fill_null(pc.utf8_length(ids), 1))
    faults.add(length > MAX_ID_LENGTH, name, f"want at most {MAX_ID_LENGTH:,} characters", given)
    control = np.array(pc.fill_null(pc.match_substring_regex(ids, _CONTROL), False), bool)
    faults.add(control, name, "want no control characters", given)
    blank = pc.equal(pc.utf8_trim_whitespace(ids), "")
    faults.add(np.array(pc.fill_null(blank, False), bool), name, "must not be blank", given)


def _check_events(
    columns: dict[str, pa.Array], batch: pa.RecordBatch, faults: _Faults, now_ms: int
) -> None:
    """Apply the rules that tie an event's columns together."""
    kinds = pa.array(EVENT_KINDS)
    known = np.array(pc.is_in(columns["kind"], kinds), bool)
    faults.add(~known, "kind", f"want one of {', '.join(EVENT_KINDS)}", _given(batch, "kind"))
    value = _numbers(columns["value"])
    rated = np.array(pc.fill_null(pc.equal(columns["kind"], "rating"), False), bool)
    given = _given(batch, "value")
    stars = rated & ~((value >= 0) & (value <= MAX_STARS))
    faults.add(stars, "value", f"want 0 to {MAX_STARS:g} stars", given)
    count = ~rated & ~((value > 0) & (value <= MAX_VALUE))
    faults.add(count, "value", f"want a number above 0 and at most {MAX_VALUE:g}", given)
    at = np.asarray(pc.fill_null(columns["at"].cast(pa.int64()), _EARLIEST_MS))
    faults.add(at < _EARLIEST_MS, "at", "want a time after 1990", _given(batch, "at"))
    faults.add(at > now_ms + _DAY_MS, "at", "lies in the future", _given(batch, "at"))
    played = np.asarray(pc.fill_null(columns["ms_played"], 0))
    faults.add(played < 0, "ms_played", "want at least 0 ms", _given(batch, "ms_played"))
    by_artist = np.array(
        pc.fill_null(pc.is_in(columns["kind"], pa.array(_ABOUT_ARTISTS)), False), bool
    )
    for name, wanted in (("item_id", ~by_artist), ("artist_id", by_artist)):
        missing = np.array(pc.is_null(columns[name]), bool) & wanted
        faults.add(
            missing, name, "must not be empty for an event of this kind", _given(batch, name)
        )


def _private(batch: pa.RecordBatch) -> NDArray[np.bool_]:
    private = np.zeros(batch.num_rows, bool)
    for name in PRIVATE:
        if name in batch.schema.names:
            flags, unclear = parse(batch.column(name), pa.bool_())
            private |= np.array(pc.fill_null(flags, False), bool) | unclear
    return private


def _given(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    return batch.column(name) if name in batch.schema.names else None


def _numbers(values: pa.Array) -> NDArray[np.float64]:
    return np.asarray(pc.fill_null(values, np.nan), np.float64)

"""Cells of a file -> typed columns: what a text, a number, a time, a flag and a list look like.

Enters: one Arrow column of any type, as a file has it. Leaves: the column in the table's type and
a mask of the cells that cannot be read as such. An empty cell is null.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["WANTED", "Column", "as_text", "parse"]

Column = tuple[pa.Array, NDArray[np.bool_]]
"""Values (null where unreadable) and (n,) whether each cell is unreadable."""

_TIME = pa.timestamp("ms", tz="UTC")
_NUMBER = r"(?i)^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$|^[+-]?(nan|inf|infinity)$"
_DIGITS = r"^[+-]?\d+(\.\d*)?$"
_ISO = (
    r"^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?"
    r"(?:[T ](\d{2}:\d{2})(:\d{2})?(?:([.,]\d{1,3})\d*)?)?(Z|[+-]\d{2}:?\d{2})?$"
)
_TRUE = pa.array(["true", "t", "yes", "y", "1", "1.0"])
_FALSE = pa.array(["false", "f", "no", "n", "0", "0.0"])
_FIRST_MILLISECONDS = 1e11
_YEARS = (1000, 9999)

WANTED: dict[pa.DataType, str] = {
    pa.string(): "text",
    pa.float64(): "a number",
    pa.int64(): "a whole number",
    pa.bool_(): "true or false",
    _TIME: "ISO 8601, or seconds or milliseconds since 1970",
    pa.list_(pa.string()): 'a list: ["a", "b"] or a|b',
}
"""What a column of each type takes, for messages."""


def parse(values: pa.Array, type: pa.DataType) -> Column:
    """Read a column as `type`, one of the types in `WANTED`."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return _PARSERS[type](values)


def as_text(values: pa.Array) -> Column:
    """Read texts; whole numbers become their digits."""
    kind = values.type
    if pa.types.is_floating(kind):
        # A column of whole numbers with gaps often arrives as floats.
        whole = pc.fill_null(pc.equal(pc.floor(values), values), True)
        if pc.all(whole).as_py() is not False:
            values = values.cast(pa.int64(), safe=False)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _from_bytes(values)
    elif not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return _unreadable(values, pa.string())
    texts = values.cast(pa.string())
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts), _no(values)


def _from_bytes(values: pa.Array) -> Column:
    try:
        return as_text(values.cast(pa.string()))
    except pa.ArrowInvalid:
        texts, wrong = [], _no(values)
        for row, value in enumerate(values.to_pylist()):
            try:
                texts.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                texts.append(None)
                wrong[row] = True
        return pa.array(texts, pa.string()), wrong


def _as_number(values: pa.Array) -> Column:
    if _is_text(values.type):
        texts = _trimmed(values)
        readable = pc.match_substring_regex(texts, _NUMBER)
        kept = pc.if_else(readable, texts, pa.scalar(None, pa.string()))
        return kept.cast(pa.float64()), _mask(pc.and_(pc.is_valid(texts), pc.invert(readable)))
    if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
        return values.cast(pa.float64(), safe=False), _no(values)
    if pa.types.is_decimal(values.type) or pa.types.is_null(values.type):
        return values.cast(pa.float64()), _no(values)
    return _unreadable(values, pa.float64())


def _as_whole_number(values: pa.Array) -> Column:
    numbers, wrong = _as_number(values)
    raw = np.asarray(pc.fill_null(numbers, 0.0))
    strange = ~(np.abs(raw) < 2.0**62)
    wrong |= strange
    rounded = np.round(np.where(strange, 0.0, raw)).astype(np.int64)
    return pa.array(rounded, mask=wrong | ~_mask(pc.is_valid(numbers))), wrong


def _as_flag(values: pa.Array) -> Column:
    if pa.types.is_boolean(values.type):
        return values, _no(values)
    if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
        values = values.cast(pa.float64()).cast(pa.int64(), safe=False).cast(pa.string())
    if not _is_text(values.type):
        return _unreadable(values, pa.bool_())
    words = pc.utf8_lower(_trimmed(values))
    true, false = pc.is_in(words, _TRUE), pc.is_in(words, _FALSE)
    known = pc.or_(true, false)
    flags = pc.if_else(known, true, pa.scalar(None, pa.bool_()))
    return flags, _mask(pc.and_(pc.is_valid(words), pc.invert(known)))


def _as_time(values: pa.Array) -> Column:
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # A time without a zone is taken as UTC.
        ms = values.cast(pa.timestamp("ms", tz=getattr(kind, "tz", None)), safe=False)
        return ms.cast(pa.int64()).cast(_TIME), _no(values)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return _from_epoch(values.cast(pa.float64(), safe=False))
    if not _is_text(kind):
        return _unreadable(values, _TIME)
    texts = _trimmed(values)
    digits = pc.match_substring_regex(texts, _DIGITS)
    nothing = pa.scalar(None, pa.string())
    epoch, far = _from_epoch(pc.if_else(digits, texts, nothing).cast(pa.float64()))
    dates, wrong = _from_iso(pc.if_else(digits, nothing, texts))
    return pc.coalesce(epoch, dates), far | wrong


def _from_epoch(numbers: pa.Array) -> Column:
    """Take a bare year, seconds or milliseconds by their magnitude."""
    raw = np.asarray(pc.fill_null(numbers, 0.0))
    wrong = ~(np.abs(raw) < 2.0**62)
    raw = np.where(wrong, 0.0, raw)
    milliseconds = np.where(np.abs(raw) < _FIRST_MILLISECONDS, raw * 1000.0, raw).astype(np.int64)
    is_year = (raw >= _YEARS[0]) & (raw <= _YEARS[1]) & (raw == np.floor(raw))
    years = (np.where(is_year, raw, 1970) - 1970).astype(np.int64).astype("datetime64[Y]")
    milliseconds = np.where(is_year, years.astype("datetime64[ms]").astype(np.int64), milliseconds)
    null = wrong | ~_mask(pc.is_valid(numbers))
    return pa.array(milliseconds, pa.int64(), mask=null).cast(_TIME), wrong


def _from_iso(texts: pa.Array) -> Column:
    texts = pc.utf8_upper(texts)
    texts = pc.replace_substring_regex(texts, r" ?UTC$", "Z")
    readable = pc.match_substring_regex(texts, _ISO)
    parts = pc.replace_substring_regex(texts, _ISO, r"\1|\2|\3|\4|\5|\6|\7")
    fields = pc.split_pattern(pc.if_else(readable, parts, pa.scalar(None, pa.string())), "|")
    year, month, day, clock, seconds, fraction, zone = (
        pc.list_element(fields, n) for n in range(7)
    )
    full = pc.binary_join_element_wise(
        pc.binary_join_element_wise(year, _or(month, "01"), _or(day, "01"), "-"),
        pc.binary_join_element_wise(
            _or(clock, "00:00"),
            _or(seconds, ":00"),
            pc.replace_substring(fraction, ",", "."),
            _or(zone, "Z"),
            "",
        ),
        "T",
    )
    wrong = _mask(pc.and_(pc.is_valid(texts), pc.invert(readable)))
    try:
        return full.cast(_TIME), wrong
    except pa.ArrowInvalid:  # a 13th month, a 31st of June: look at each
        times = [None if text is None else _moment(text) for text in full.to_pylist()]
        found = pa.array(times, _TIME)
        return found, wrong | _mask(pc.and_(pc.is_valid(full), pc.is_null(found)))


def _or(texts: pa.Array, absent: str) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), absent, texts)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _as_list(values: pa.Array) -> Column:
    strings = pa.list_(pa.string())
    if pa.types.is_null(values.type):
        return values.cast(strings), _no(values)
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        if _is_text(values.type.value_type) or pa.types.is_null(values.type.value_type):
            return values.cast(strings), _no(values)
        return _unreadable(values, strings)
    if not _is_text(values.type):
        return _unreadable(values, strings)
    texts, wrong = _trimmed(values), _no(values)
    lists = pc.split_pattern(texts, "|")
    as_json = np.flatnonzero(_mask(pc.starts_with(texts, "[")))
    if not len(as_json):
        return lists, wrong
    found = lists.to_pylist()
    for row in as_json:
        words = _words(texts[int(row)].as_py())
        found[row], wrong[row] = words, words is None
    return pa.array(found, strings), wrong


def _words(text: str) -> list[str] | None:
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return [str(w) for w in words] if all(isinstance(w, str | int) for w in words) else None


def _is_text(type: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_null(type)
    )


def _trimmed(values: pa.Array) -> pa.Array:
    texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _mask(flags: pa.Array) -> NDArray[np.bool_]:
    return np.array(pc.fill_null(flags, False), bool)


def _no(values: pa.Array) -> NDArray[np.bool_]:
    return np.zeros(len(values), bool)


def _unreadable(values: pa.Array, type: pa.DataType) -> Column:
    return pa.nulls(len(values), type), _mask(pc.is_valid(values))


_PARSERS: dict[pa.DataType, Callable[[Any], Column]] = {
    pa.string(): as_text,
    pa.float64(): _as_number,
    pa.int64(): _as_whole_number,
    pa.bool_(): _as_flag,
    _TIME: _as_time,
    pa.list_(pa.string()): _as_list,
}

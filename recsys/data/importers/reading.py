"""Files -> batches of unchecked rows, each row with its line, in bounded memory.

Enters: delimited text, JSON lines or Parquet, plain or compressed (.gz .bz2 .zst .xz). Leaves:
`RawRows`. A row that cannot be read as a row (wrong number of fields, not UTF-8, not JSON) goes to
`refuse` and the reading goes on. Text is read in blocks of whole records: a block in good order is
parsed by Arrow at once, only a block with something wrong in it is taken apart line by line.
"""

from __future__ import annotations

import csv
import json
import lzma
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from recsys.data.validation import PRIVATE
from recsys.errors import InputError

__all__ = [
    "Layout",
    "RawRows",
    "Refuse",
    "delimited",
    "json_objects",
    "json_rows",
    "opened",
    "parquet",
]

_BLOCK = 4 << 20
_MAX_RECORD = 64 << 20
_MAX_SPAN = 1000
_BATCH = 131_072
# The csv module limits a field, for all its readers, to less than a document may have.
csv.field_size_limit(_MAX_RECORD)


class Stream(Protocol):
    """Whatever bytes are read from."""

    def read(self, size: int, /) -> bytes: ...


class Refuse(Protocol):
    """Takes a row that could not be read, with its file, line, reason and text."""

    def __call__(self, file: str, line: int, reason: str, raw: Any, /) -> None: ...


@dataclass(frozen=True)
class RawRows:
    """Rows as a file has them, not yet checked."""

    columns: pa.RecordBatch
    """Texts, or what a typed file has."""
    lines: NDArray[np.int64]
    """(n,) the line on which each row starts, counted from 1."""
    file: str
    """For messages."""

    def renamed(self, names: dict[str, str], **constants: str) -> RawRows:
        """Return only the columns `names` (as here -> as there) and new constant ones."""
        n = len(self.lines)
        columns = {there: self[here] for here, there in names.items()}
        columns |= {name: pa.repeat(pa.scalar(value), n) for name, value in constants.items()}
        return self.having(columns)

    def having(self, columns: dict[str, pa.Array]) -> RawRows:
        """Return the same rows with other columns."""
        return RawRows(pa.RecordBatch.from_pydict(columns), self.lines, self.file)

    def only(self, kept: NDArray[np.bool_]) -> RawRows:
        """Return the rows of a mask."""
        return RawRows(self.columns.filter(pa.array(kept)), self.lines[kept], self.file)

    def __getitem__(self, name: str) -> pa.Array:
        names = self.columns.schema.names
        if name not in names:
            raise InputError(f"{self.file}:1: no column {name!r}; found {', '.join(names[:8])}")
        return self.columns.column(name)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a delimited text file is written."""

    columns: tuple[str, ...] | None = None
    """Names of the fields; None: the first line has them."""
    delimiter: str | None = None
    """None: what the first line suggests, of comma, semicolon and tab."""
    quoted: bool = True
    """Whether fields may stand in double quotes, with delimiters and line ends inside."""
    encoding: str = "utf-8"


@contextmanager
def opened(path: Path) -> Iterator[Stream]:
    """Open a file for reading, decompressed by its suffix; InputError where that fails."""
    try:
        if path.suffix == ".xz":
            with lzma.open(path) as stream:
                yield stream
        else:
            with pa.input_stream(str(path), compression="detect") as stream:
                yield stream
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); give a whole, readable file"
        ) from error


def delimited(stream: Stream, file: str, layout: Layout, refuse: Refuse) -> Iterator[RawRows]:
    """Read delimited text.

    CRLF, LF and a byte order mark are understood; blank lines are skipped.

    Raises
    ------
    InputError
        Where the file is empty or is no text at all.
    """
    line, names, delimiter = 1, layout.columns, layout.delimiter
    for number, block in enumerate(_blocks(stream, file, layout)):
        if number == 0 and names is None:
            head, _, block = block.partition(b"\n")
            names, delimiter = _header(head.decode("utf-8", "replace"), file, delimiter)
            line += 1
            yield RawRows(_texts([()] * len(names), names), np.zeros(0, np.int64), file)
        assert names is not None and delimiter is not None
        parser = _BlockParser(names, delimiter, layout.quoted, file, refuse)
        if block:
            yield parser.rows(block, line)
        line += block.count(b"\n")


def _header(text: str, file: str, delimiter: str | None) -> tuple[tuple[str, ...], str]:
    if delimiter is None:
        delimiter = max(",;\t", key=text.count)
    fields = next(csv.reader([text.rstrip("\r")], delimiter=delimiter), [])
    if not any(fields):
        raise InputError(f"{file}:1: empty; the first line must name the columns")
    names = tuple(name.strip().lower() or f"column {n}" for n, name in enumerate(fields, start=1))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{file}:1: column {twice[0]!r} is named twice; rename one of them")
    return names, delimiter


def _blocks(stream: Stream, file: str, layout: Layout) -> Iterator[bytes]:
    """Yield the text in blocks of whole records, in UTF-8 as far as it is."""
    first = True
    for block in _records(stream, file, quoted=layout.quoted):
        if first:
            first = False
            if block[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise InputError(f"{file}: UTF-16 text; save it as UTF-8")
            block = block.removeprefix(b"\xef\xbb\xbf")
            if not block.strip():
                raise InputError(f"{file}: empty file; want at least a line")
        if layout.encoding != "utf-8":
            block = block.decode(layout.encoding).encode()
        yield block
    if first:
        raise InputError(f"{file}: empty file; want at least a line")


def _records(stream: Stream, file: str, *, quoted: bool) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(_BLOCK):
        rest += chunk
        cut = _cut(rest, quoted)
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
        elif len(rest) > _MAX_RECORD:
            raise InputError(f"{file}: a line of more than {_MAX_RECORD >> 20} MiB; is it text?")
    if rest:
        yield rest


def _cut(text: bytes, quoted: bool) -> int:
    """Return where the last whole record of `text` ends; it starts with a record."""
    if quoted and b'"' in text:
        content = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(content == ord("\n"))
        # Outside of quotes is where an even number of them stands before.
        outside = ends[np.searchsorted(np.flatnonzero(content == ord('"')), ends) % 2 == 0]
        if len(outside):
            return int(outside[-1]) + 1
        if len(text) < 4 * _BLOCK:
            return 0
        # A lone quote somewhere above: give up on line ends inside of fields.
    return text.rfind(b"\n") + 1


class _BlockParser:
    """Parses blocks of one delimited file."""

    def __init__(
        self, names: Sequence[str], delimiter: str, quoted: bool, file: str, refuse: Refuse
    ) -> None:
        self.names = list(names)
        self.delimiter = delimiter
        self.quoted = quoted
        self.file = file
        self.refuse = refuse

    def rows(self, block: bytes, line: int) -> RawRows:
        """Return the rows of a block that starts on `line`."""
        batch = self._at_once(block)
        if batch is not None:
            return RawRows(batch, np.arange(line, line + batch.num_rows), self.file)
        lines: list[int] = []
        rows: list[list[str]] = []
        for start, fields in self._one_by_one(block, line):
            lines.append(start)
            rows.append(fields)
        columns = list(zip(*rows, strict=True)) or [()] * len(self.names)
        return RawRows(_texts(columns, self.names), np.array(lines, np.int64), self.file)

    def _at_once(self, block: bytes) -> pa.RecordBatch | None:
        """Return the rows where every line is a right row, else None."""
        delimiter = self.delimiter
        if block[:1] in b"\r\n" or b"\n\n" in block or b"\n\r\n" in block:
            return None  # blank lines, which would count as rows
        if len(delimiter) > 1:
            if b"\x1f" in block:
                return None
            block, delimiter = block.replace(delimiter.encode(), b"\x1f"), "\x1f"
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(block),
                arrow_csv.ReadOptions(
                    column_names=self.names, use_threads=False, block_size=len(block) + 1
                ),
                arrow_csv.ParseOptions(
                    delimiter=delimiter,
                    quote_char='"' if self.quoted else False,
                    newlines_in_values=self.quoted,
                    ignore_empty_lines=False,
                ),
                arrow_csv.ConvertOptions(column_types=dict.fromkeys(self.names, pa.string())),
            )
        except pa.ArrowInvalid:
            return None
        n_lines = block.count(b"\n") + (not block.endswith(b"\n"))
        if table.num_rows != n_lines:
            return None
        return table.combine_chunks().to_batches()[0]

    def _one_by_one(self, block: bytes, line: int) -> Iterator[tuple[int, list[str]]]:
        """Yield (line, fields) of each readable record; the others are refused."""
        texts = [text.removesuffix(b"\r") for text in block.removesuffix(b"\n").split(b"\n")]
        place = 0
        while place < len(texts):
            text, here = texts[place], line + place
            if not text:
                place += 1
                continue
            fields, span, fault = self._record(texts, place)
            if fields is not None and len(fields) != len(self.names):
                lines = "" if span == 1 else f" in {span} lines"
                fault = f"want {len(self.names)} fields, got {len(fields)}{lines}"
            if fault is not None or fields is None:
                # Whether such a row is private cannot be known where rows can be.
                secret = any(name in PRIVATE for name in self.names)
                whole = b"\n".join(texts[place : place + span])
                shown = None if secret else whole.decode("utf-8", "replace")
                self.refuse(self.file, here, fault or "", shown)
            else:
                yield here, fields
            place += span

    def _record(self, texts: list[bytes], place: int) -> tuple[list[str] | None, int, str | None]:
        """Return the fields of the record at `place`, its number of lines, and what is wrong."""
        try:
            first = texts[place].decode()
        except UnicodeDecodeError as error:
            return None, 1, f"not UTF-8 (byte 0x{texts[place][error.start]:02x})"
        if not self.quoted or '"' not in first:
            return first.split(self.delimiter), 1, None
        spans = (
            text.decode("utf-8", "replace") + "\n" for text in texts[place : place + _MAX_SPAN]
        )
        reader = csv.reader(spans, delimiter=self.delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            if first.count('"') % 2:
                return None, 1, f"quotes do not match ({error})"
            # Text after a closing quote: taken as it is, as Arrow does.
            return next(csv.reader([first], delimiter=self.delimiter)), 1, None
        return fields, reader.line_num, None


def _texts(columns: Sequence[Sequence[str]], names: Sequence[str]) -> pa.RecordBatch:
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, list(names))


def json_objects(
    stream: Stream, file: str, refuse: Refuse
) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Read JSON lines: lists of (line, object). What is no object is refused.

    The text of a refused line is not passed on: whether it is private cannot be known.
    """
    line = 1
    for block in _blocks(stream, file, Layout(quoted=False)):
        found: list[tuple[int, dict[str, Any]]] = []
        texts = block.removesuffix(b"\n").split(b"\n")
        for number, text in enumerate(texts, start=line):
            if not text.strip():
                continue
            try:
                value = json.loads(text)
                if b"\\u" in text:  # an escape can write half a character, which UTF-8 cannot
                    json.dumps(value, ensure_ascii=False).encode()
            except (ValueError, RecursionError) as error:
                refuse(file, number, f"not JSON ({type(error).__name__})", None)
                continue
            if isinstance(value, dict):
                found.append((number, value))
            else:
                refuse(file, number, f"want an object {{...}}, got a {type(value).__name__}", None)
        yield found
        line += len(texts)


def json_rows(
    objects: Iterable[tuple[int, dict[str, Any]]],
    schema: pa.Schema,
    extra: Sequence[str],
    file: str,
    refuse: Refuse,
) -> RawRows:
    """Turn objects into rows with the columns of `schema` and `extra`, as texts."""
    lists = {field.name for field in schema if pa.types.is_list(field.type)}
    known = {*schema.names, *extra}
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    for line, given in objects:
        row = {key: given[name] for name in given if (key := name.strip().lower()) in known}
        nested = [n for n, v in row.items() if isinstance(v, list | dict) and n not in lists]
        if nested:
            refuse(file, line, f"{nested[0]}: want a text or a number, got more", None)
            continue
        rows.append(row)
        lines.append(line)
    names = [name for name in [*schema.names, *extra] if any(name in row for row in rows)]
    columns = [[_cell(row.get(name)) for row in rows] for name in names]
    batch = pa.RecordBatch.from_arrays([pa.array(c, pa.string()) for c in columns], names)
    return RawRows(batch, np.array(lines, np.int64), file)


def _cell(value: Any) -> str | None:
    # A list keeps its JSON, which a column of lists reads back.
    return value if value is None or isinstance(value, str) else json.dumps(value)


def parquet(path: Path, file: str) -> Iterator[RawRows]:
    """Read a Parquet file; rows are counted from 1."""
    try:
        stored = pq.ParquetFile(path)
        line = 1
        for batch in stored.iter_batches(_BATCH):
            renamed = batch.rename_columns([name.strip().lower() for name in batch.schema.names])
            yield RawRows(renamed, np.arange(line, line + batch.num_rows), file)
            line += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{file}: not readable as Parquet ({reason}); give a whole file"
        ) from error

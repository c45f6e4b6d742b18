"""listenbrainz: JSON lines of listens, plain, compressed, or the dump's tar archive.

A listen has user_id or user_name, timestamp or listened_at in seconds, and track_metadata with
names and what MusicBrainz ids are known. It becomes a timed stream event; the item is its recording
by MusicBrainz id (the server's mapping before the listener's own), else by MessyBrainz id, else by
names. A listen is the same event in every dump: the full and the incremental ones may overlap.
Archives are read as they stream by, nothing is unpacked to disk, and one whose members point
outside of it is refused whole.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, cast

import numpy as np
import pyarrow as pa

from recsys.data.importers.door import Admitted, Door
from recsys.data.importers.format import FirstSeen, Format, derived
from recsys.data.importers.reading import RawRows, Stream, json_objects, opened
from recsys.errors import InputError

__all__ = ["FORMAT"]

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_LISTENS = (".listens", ".jsonl", ".ndjson")
_EVENT = ("event_id", "user_id", "item_id", "artist_id", "at", "ms_played")
_ITEM = ("item_id", "title", "artist_id", "album", "duration_s", "mbid")


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    found = sorted(p for p in source.rglob("*") if p.is_file() and _is_listens(p.name))
    if not found:
        raise InputError(
            f"{source}: no listens; give a file of JSON lines, a dump's .tar, or a folder of "
            f"{', '.join(_LISTENS)} files"
        )
    return found


def _is_listens(name: str) -> bool:
    return any(suffix in _LISTENS for suffix in PurePosixPath(name).suffixes[-2:])


def _read(files: list[Path], door: Door) -> Iterator[Admitted]:
    items, artists = FirstSeen(), FirstSeen()
    for path in files:
        with opened(path) as stream:
            for file, lines in _members(path, stream):
                for objects in json_objects(lines, file, door.refuse):
                    yield from _admitted(objects, file, door, items, artists)


def _members(path: Path, stream: Stream) -> Iterator[tuple[str, Stream]]:
    """Yield the name and text of every file of listens."""
    if not path.name.lower().endswith(_ARCHIVES):
        yield path.name, stream
        return
    whole = _Ending(stream)
    try:
        with tarfile.open(fileobj=cast(Any, whole), mode="r|") as archive:
            for member in archive:
                _refuse_hostile(path, member)
                if member.isfile() and _is_listens(member.name) and member.size:
                    text = archive.extractfile(member)
                    assert text is not None
                    with closing(text):
                        yield f"{path.name}/{member.name}", text
        whole.check()
    except tarfile.TarError as error:
        raise InputError(f"{path}: not a whole tar archive ({error}); fetch it again") from error


class _Ending:
    """Watches how a tar archive ends: tarfile takes one that was cut between members for whole."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._tail = b""

    def read(self, size: int, /) -> bytes:
        content = self._stream.read(size)
        self._tail = (self._tail + content)[-tarfile.BLOCKSIZE :]
        return content

    def check(self) -> None:
        """Raise tarfile.ReadError where the archive does not end with a block of zeros."""
        while self.read(tarfile.RECORDSIZE):
            pass
        if self._tail != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("unexpected end of data")


def _refuse_hostile(path: Path, member: tarfile.TarInfo) -> None:
    name = member.name
    absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive
    if absolute or ".." in PureWindowsPath(name).parts or not (member.isfile() or member.isdir()):
        raise InputError(
            f"{path}: member {name[:200]!r} points outside of the archive; nothing was imported"
        )


def _admitted(
    objects: list[tuple[int, dict[str, Any]]],
    file: str,
    door: Door,
    items: FirstSeen,
    artists: FirstSeen,
) -> Iterator[Admitted]:
    listens: list[dict[str, Any]] = []
    lines: list[int] = []
    for line, given in objects:
        listen = _listen(given)
        if listen is None:
            door.refuse(file, line, "want track_metadata with track_name and artist_name", given)
        else:
            listens.append(listen)
            lines.append(line)
    columns = {name: _column(listens, name) for name in {*_EVENT, *_ITEM, "artist_name"}}
    kind = pa.repeat(pa.scalar("stream"), len(lines))
    events = pa.RecordBatch.from_pydict({n: columns[n] for n in _EVENT} | {"kind": kind})
    admitted = door.admit("events", RawRows(events, np.array(lines, np.int64), file))
    yield admitted
    good = pa.array(np.flatnonzero(admitted.good))
    columns = {name: values.take(good) for name, values in columns.items()}
    new = items.rows(columns["item_id"])
    yield derived("items", {n: columns[n].take(new) for n in _ITEM} | {"kind": "track"})
    new = artists.rows(columns["artist_id"])
    yield derived(
        "artists",
        {n: columns[c].take(new) for n, c in (("artist_id",) * 2, ("name", "artist_name"))},
    )


def _column(listens: list[dict[str, Any]], name: str) -> pa.Array:
    type = pa.float64() if name in ("at", "ms_played", "duration_s") else pa.string()
    return pa.array([listen[name] for listen in listens], type)


def _listen(given: dict[str, Any]) -> dict[str, Any] | None:
    """Return the columns of one listen, None where it does not say what was heard."""
    meta = given.get("track_metadata")
    if not isinstance(meta, dict):
        return None
    title, artist = _text(meta.get("track_name")), _text(meta.get("artist_name"))
    if title is None or artist is None:
        return None
    own, mapped = _object(meta.get("additional_info")), _object(meta.get("mbid_mapping"))
    mbid = _text(mapped.get("recording_mbid")) or _text(own.get("recording_mbid"))
    msid = _text(given.get("recording_msid")) or _text(own.get("recording_msid"))
    artist_mbid = _first(mapped.get("artist_mbids")) or _first(own.get("artist_mbids"))
    user = _text(given.get("user_id")) or _text(given.get("user_name"))
    at = _number(given.get("listened_at", given.get("timestamp")))
    item = mbid or (f"msid:{msid}" if msid else f"name:{artist}/{title}")
    heard = f"{user}\n{at}\n{msid or mbid or item}"
    duration_s = _positive(own.get("duration_ms"), 0.001) or _positive(own.get("duration"))
    return {
        "event_id": hashlib.blake2b(heard.encode(), digest_size=16).hexdigest(),
        "user_id": user,
        "item_id": item,
        "artist_id": artist_mbid or f"name:{artist}",
        "at": at,
        "ms_played": _positive(own.get("duration_played"), 1000.0),
        "title": title,
        "artist_name": artist,
        "album": _text(meta.get("release_name")),
        "duration_s": duration_s,
        "mbid": mbid,
    }


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _positive(value: Any, unit: float = 1.0) -> float | None:
    number = _number(value)
    return number * unit if number is not None and 0 < number < 1e9 else None


def _first(values: Any) -> str | None:
    return _text(values[0]) if isinstance(values, list) and values else None


FORMAT = Format(name="listenbrainz", files=_files, read=_read)
"""The importer."""

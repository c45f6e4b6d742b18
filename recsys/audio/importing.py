"""A folder of recordings -> items and artists: ``recsys import audio FOLDER DATASET``.

Enters: audio files in a folder and its subfolders. Leaves: one item per file that can be read, with
what its tags say, and its artists. Every file gets a result: what cannot be read is set aside with
its reason; what is read but odd (clipped, of a low rate, without tags) is remarked on. No file
stops a folder, however many are bad; of each no more is decoded than a training hears.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recsys import progress
from recsys.audio.recordings import SUFFIXES, Recording, read_recording
from recsys.config import AudioConfig
from recsys.data.columns import parse
from recsys.data.dataset import Dataset
from recsys.data.importers import ImportResult
from recsys.data.importers.door import Admitted, Door
from recsys.data.importers.format import FirstSeen, derived
from recsys.data.importers.reading import RawRows
from recsys.errors import InputError

__all__ = ["import_audio"]

_AT_ONCE = 512
"""Files whose rows are held in memory."""
_LONGEST_TAG = 500
_CLIPPED = 0.001
"""Share of samples at full scale from which a recording is called clipped."""
_LOW_RATE_HZ = 16_000
_LONG_S = 3600.0


@dataclass(frozen=True)
class _Result:
    """What became of one file."""

    name: str
    """Its place in the folder."""
    row: dict[str, Any] | None
    """Columns of the items table, and the artist's name; None where it cannot be read."""
    reason: str
    """Why it cannot be read."""
    remarks: list[str]


def import_audio(
    folder: str | Path, dataset: Dataset, *, config: AudioConfig | None = None
) -> ImportResult:
    """Make every recording in `folder` an item of `dataset`; its id is its place in the folder.

    A folder that was imported before is replaced by what it holds now.

    Raises
    ------
    InputError
        Where there is no such folder, or no audio file in it.
    """
    root = Path(folder).resolve()
    files = _files(root)
    label, fingerprint = f"audio:{root.name}", _fingerprint(root, files)
    if any(part.fingerprint == fingerprint for part in dataset.parts):
        return ImportResult({}, 0, 0, True, None, {})
    door = Door(dataset, label, now_ms=int(time.time() * 1000))
    rows: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    keep = False
    try:
        with dataset.transaction() as transaction:
            results = _read(root, files, config or AudioConfig(), remarks)
            for admitted in _admit(results, root.name, door):
                rows[admitted.table] += transaction.append(
                    admitted.table,
                    [admitted.rows],
                    source=label,
                    fingerprint=fingerprint,
                    replace=True,
                )
            keep = True
            door.close(keep=True)
    finally:
        door.close(keep=keep)
    rejects = f"{dataset.folder.path}/{door.rejects_file}" if door.rejected else None
    found = dict(remarks.most_common())
    return ImportResult(dict(rows), door.rejected, 0, False, rejects, door.reasons, found)


def _files(root: Path) -> list[Path]:
    """Return all audio files below `root`, hidden ones and links to folders left out."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give one with audio files")
    found = sorted(
        Path(place, name)
        for place, _, names in os.walk(root)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
    )
    if not found:
        raise InputError(f"{root}: no audio file in it; want one of {', '.join(SUFFIXES)}")
    return found


def _fingerprint(root: Path, files: list[Path]) -> str:
    """Return the hash of the names and the content of all files that can be opened."""
    whole = hashlib.sha256(os.fsencode(root))
    for path in progress.track(files, "import audio: comparing"):
        whole.update(os.fsencode(path))
        try:
            with path.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            whole.update(str(error.errno).encode())
    return whole.hexdigest()


def _read(
    root: Path, files: list[Path], config: AudioConfig, remarks: Counter[str]
) -> Iterator[list[_Result]]:
    """Yield what became of the files, in batches, and count the remarks."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(files), _AT_ONCE):
            results = list(threads.map(partial(_look, root, config), files[start:][:_AT_ONCE]))
            for result in results:
                for remark in result.remarks:
                    remarks[remark.partition(" (")[0]] += 1
                    progress.note(f"{result.name}: {remark}")
            progress.step("import audio", start + len(results), len(files))
            yield results


def _admit(batches: Iterator[list[_Result]], name: str, door: Door) -> Iterator[Admitted]:
    """Yield the items and artists of batches of files."""
    artists = FirstSeen()
    for results in batches:
        for result in results:
            if result.row is None:
                door.refuse(result.name, 1, result.reason, None)
        read = [result.row for result in results if result.row is not None]
        if not read:
            continue
        columns = {key: pa.array([row[key] for row in read]) for key in read[0]}
        known = columns.pop("artist")
        batch = pa.RecordBatch.from_pydict(columns)
        admitted = door.admit("items", RawRows(batch, np.arange(1, len(read) + 1), name))
        yield admitted
        ids = columns["artist_id"].filter(pa.array(admitted.good)).cast(pa.string())
        names = known.filter(pa.array(admitted.good)).cast(pa.string())
        new = artists.rows(ids)
        if len(new):
            yield derived("artists", {"artist_id": ids.take(new), "name": names.take(new)})


def _look(root: Path, config: AudioConfig, path: Path) -> _Result:
    """Read one file's tags and excerpt."""
    name = os.fsencode(path.relative_to(root.parent)).decode("utf-8", "replace")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return _Result(name, None, "its name is not UTF-8; rename it", [])
    try:
        heard = read_recording(path, sample_rate=None, max_duration_s=config.max_duration_s)
    except InputError as error:
        return _Result(name, None, str(error).removeprefix(f"{path}: "), [])
    tags, remarks = _tags(path)
    row = {
        "item_id": name,
        "title": tags.get("title") or path.stem,
        "artist": tags.get("artist"),
        "artist_id": f"name:{tags['artist']}" if tags.get("artist") else None,
        "album": tags.get("album"),
        "released_at": tags.get("released_at"),
        "duration_s": round(heard.duration_s, 3),
        "labels": [tags["genre"]] if tags.get("genre") else [],
        "isrc": tags.get("isrc"),
        "mbid": tags.get("mbid"),
        "audio_uri": str(path),
    }
    return _Result(name, row, "", remarks + _oddities(heard, config))


def _oddities(heard: Recording, config: AudioConfig) -> list[str]:
    """Return what is odd about a recording that was read."""
    remarks = []
    if heard.clipped >= _CLIPPED:
        remarks.append(f"clipped ({heard.clipped:.1%} of the samples stand at full scale)")
    if heard.sample_rate < _LOW_RATE_HZ:
        remarks.append(f"low sample rate ({heard.sample_rate:,} Hz)")
    if heard.channels > 2:
        remarks.append(f"mixed down ({heard.channels} channels)")
    if heard.duration_s > _LONG_S:
        hours, excerpt_s = heard.duration_s / 3600, config.max_duration_s
        remarks.append(f"very long ({hours:.1f} h; the middle {excerpt_s:g} s are heard)")
    return remarks


def _tags(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return what a file's tags say, and a remark where they say nothing."""
    from tinytag import TinyTag

    if not TinyTag.is_supported(str(path)):
        return {}, ["no tags"]
    try:
        read = TinyTag.get(path, duration=False)
    except Exception as error:  # a reader of tags meets any bytes; they cost no more than the tags
        return {}, [f"tags cannot be read ({error})"]
    other = {key: values[0] for key, values in read.other.items() if values}
    found = {
        "title": read.title,
        "artist": read.artist,
        "album": read.album,
        "released_at": read.year,
        "genre": read.genre,
        "isrc": other.get("isrc"),
        "mbid": other.get("musicbrainz_recordingid") or other.get("musicbrainz_trackid"),
    }
    tags = {key: clean for key, value in found.items() if (clean := _clean(value))}
    _, wrong = parse(pa.array([tags.get("released_at")], pa.string()), pa.timestamp("ms", tz="UTC"))
    if wrong.any():
        del tags["released_at"]
    return tags, [] if tags else ["no tags"]


def _clean(value: Any) -> str:
    """Return one line of printable text, cut where a tag is absurdly long."""
    text = "" if value is None else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_TAG]

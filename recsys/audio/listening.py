"""Recordings -> what was heard of each: descriptors and log-mel bands; no recording is heard twice.

Enters: the items' `audio_uri`. Leaves: `Heard`, one per item whose recording can be read, and the
descriptors table. What was heard is kept beside the dataset, under the hash of the file's bytes:

    DATASET/heard/<settings>/<part>.arrow    audio_hash, descriptors, bands (float16)

so another training, an evaluation, or another item of the same file decodes nothing again. The
files are memory-mapped; deleting the folder costs only time.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys import progress
from recsys.audio.descriptors import listen
from recsys.audio.recordings import read_recording
from recsys.config import AudioConfig
from recsys.data.dataset import Dataset
from recsys.data.tables import TABLES
from recsys.errors import InputError
from recsys.storage import Folder

__all__ = ["Archive", "Heard", "hear_items"]

_ANALYSIS = 1
"""Number of the recipe: raise it where descriptors or bands would come out otherwise."""
_KEPT_AT_ONCE = 512
"""Recordings in one file of the archive: what a kill can cost."""
_REASONS_SHOWN = 5
_FIELDS = tuple(f for f in TABLES["descriptors"].schema if f.name != "item_id")
_SCHEMA = pa.schema([*_FIELDS, pa.field("bands", pa.large_binary(), nullable=False)])


@dataclass(frozen=True)
class Heard:
    """What was heard of one recording."""

    descriptors: dict[str, Any]
    """A row of the descriptors table, all but the item's id."""
    bands: NDArray[np.float16]
    """(n_frames, n_mels) log-mel bands, dB; memory-mapped where the archive is."""


class Archive:
    """What was heard, by the hash of the recording's bytes.

    Parameters
    ----------
    folder
        The dataset's.
    config
        Other settings of hearing have an archive of their own.
    """

    def __init__(self, folder: Folder, config: AudioConfig) -> None:
        self.label = f"v{_ANALYSIS}-{config.n_mels}mel-{config.max_duration_s:g}s"
        self._folder = folder
        self._n_mels = config.n_mels
        self._tables: list[pa.Table] = []
        self._places: dict[str, tuple[int, int]] = {}
        for name in folder.names(f"heard/{self.label}"):
            if name.endswith(".arrow"):
                self._add(self._read(f"heard/{self.label}/{name}"))

    def __contains__(self, audio_hash: str) -> bool:
        return audio_hash in self._places

    def __getitem__(self, audio_hash: str) -> Heard:
        table, row = self._places[audio_hash]
        stored = self._tables[table].slice(row, 1)
        bands = np.frombuffer(stored["bands"][0].as_buffer(), np.float16)
        described = stored.drop_columns(["bands"]).to_pylist()[0]
        return Heard(described, bands.reshape(-1, self._n_mels))

    def keep(self, heard: list[Heard]) -> None:
        """Store recordings; where the folder cannot be written to they are kept in memory."""
        rows = [{**one.descriptors, "bands": one.bands.tobytes()} for one in heard]
        table = pa.Table.from_pylist(rows, _SCHEMA)
        name = f"heard/{self.label}/{uuid.uuid4().hex}.arrow"
        try:
            with (
                self._folder.writing(name) as stream,
                pa.ipc.new_file(stream, _SCHEMA) as writer,
            ):
                writer.write_table(table)
            table = self._read(name)
        except OSError as error:
            progress.note(f"{self._folder.path}/{name}: {error}; these will be heard again")
        self._add(table)

    def _add(self, table: pa.Table) -> None:
        for row, audio_hash in enumerate(table["audio_hash"].to_pylist()):
            self._places[audio_hash] = len(self._tables), row
        self._tables.append(table)

    def _read(self, name: str) -> pa.Table:
        place = self._folder.locate(name)
        try:
            if self._folder.is_local:
                return pa.ipc.open_file(pa.memory_map(place)).read_all()
            with self._folder.filesystem.open_input_file(place) as file:
                return pa.ipc.open_file(file).read_all()
        except pa.ArrowInvalid as error:
            raise InputError(f"{place}: damaged ({error}); delete it") from error


def hear_items(dataset: Dataset, config: AudioConfig) -> dict[str, Heard]:
    """Hear the recordings of all items and bring the descriptors table up to date.

    A recording that cannot be read is noted with its reason and leaves its item out.

    Returns
    -------
    dict
        By item id, in the order of the items table.
    """
    listed = dataset.read("items", ["item_id", "audio_uri"])
    listed = listed.filter(pc.is_valid(listed["audio_uri"]))
    uris = listed["audio_uri"].to_pylist()
    archive = Archive(dataset.folder, config)
    found: dict[str, str] = {}
    reasons: list[str] = []
    new: list[Heard] = []
    for uri, heard in _hear_all(dataset.folder, archive, sorted(set(uris)), config):
        if isinstance(heard, InputError):
            reasons.append(str(heard))
            continue
        if isinstance(heard, Heard):
            new.append(heard)
            found[uri] = heard.descriptors["audio_hash"]
        else:
            found[uri] = heard
        if len(new) == _KEPT_AT_ONCE:
            archive.keep(new)
            new = []
    if new:
        archive.keep(new)
    _note_failures(reasons, len(set(uris)))
    items = {
        item_id: archive[found[uri]]
        for item_id, uri in zip(listed["item_id"].to_pylist(), uris, strict=True)
        if uri in found
    }
    if items:
        _tabulate(dataset, items, archive.label)
    return items


def _tabulate(dataset: Dataset, items: dict[str, Heard], label: str) -> None:
    """Let the descriptors table say what was heard; nothing is written where it does already."""
    rows = [{"item_id": item_id, **heard.descriptors} for item_id, heard in items.items()]
    state = [label, *(f"{row['item_id']}\n{row['audio_hash']}" for row in rows)]
    fingerprint = hashlib.sha256("\n\n".join(state).encode()).hexdigest()
    batch = pa.RecordBatch.from_pylist(rows, TABLES["descriptors"].schema)
    try:
        with dataset.transaction() as transaction:
            transaction.append(
                "descriptors", [batch], source="heard", fingerprint=fingerprint, replace=True
            )
    except InputError as error:
        progress.note(f"the descriptors table is not up to date: {error}")


def _hear_all(
    folder: Folder, archive: Archive, uris: list[str], config: AudioConfig
) -> Iterator[tuple[str, Heard | str | InputError]]:
    """Yield for each address what `_hear` returns."""
    # Decoding and Fourier transforms release the interpreter, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        heard = threads.map(partial(_hear, folder, archive, config), uris)
        yield from zip(uris, progress.track(heard, "audio: recordings", len(uris)), strict=True)


def _hear(
    folder: Folder, archive: Archive, config: AudioConfig, uri: str
) -> Heard | str | InputError:
    """Return the hash of a recording that was heard before, or what is heard now, or why not."""
    try:
        remote = "://" in uri
        if not remote and (folder.is_local or Path(uri).is_absolute()):
            path = Path(folder.root) / uri
            if not path.exists():
                raise InputError(f"{path}: no such file")
            with path.open("rb") as file:
                audio_hash = _hash(file)
            return audio_hash if audio_hash in archive else _decode(path, uri, audio_hash, config)
        parent, _, name = uri.rpartition("/") if remote else ("", "", uri)
        place = Folder(parent) if remote else folder
        with place.filesystem.open_input_file(place.locate(name)) as stream:
            audio_hash = _hash(stream)
            stream.seek(0)
            return audio_hash if audio_hash in archive else _decode(stream, uri, audio_hash, config)
    except InputError as error:
        return error
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return InputError(f"{uri}: {'no such file' if missing else error}")


def _hash(stream: BinaryIO) -> str:
    """Return the SHA-256 of all bytes, 64 hex digits."""
    total = hashlib.sha256()
    while block := stream.read(1 << 20):
        total.update(block)
    return total.hexdigest()


def _decode(source: Path | BinaryIO, uri: str, audio_hash: str, config: AudioConfig) -> Heard:
    name = str(source) if isinstance(source, Path) else uri
    recording = read_recording(
        source, sample_rate=None, max_duration_s=config.max_duration_s, mix=False, name=name
    )
    found, bands = listen(recording.samples, recording.sample_rate, n_mels=config.n_mels)
    return Heard({"audio_hash": audio_hash, **found.to_dict()}, bands.astype(np.float16))


def _note_failures(reasons: list[str], n_recordings: int) -> None:
    """Say how many recordings are absent, and which of the others cannot be read and why."""
    damaged = [reason for reason in reasons if not reason.endswith("no such file")]
    if absent := len(reasons) - len(damaged):
        progress.note(f"audio: {absent:,} of {n_recordings:,} recordings are not on disk")
    if damaged:
        progress.note(f"audio: {len(damaged):,} recordings cannot be read:")
    for reason in damaged[:_REASONS_SHOWN]:
        progress.note(f"  {reason}")
    if len(damaged) > _REASONS_SHOWN:
        progress.note(f"  and {len(damaged) - _REASONS_SHOWN:,} more")

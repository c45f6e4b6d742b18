"""Recordings -> what was heard of each: descriptors and log-mel bands; no recording is heard twice.

Enters: the items' `audio_uri`. Leaves: `Heard`, one per item whose recording can be read, and the
descriptors table. What was heard is kept beside the dataset, under the hash of the file's bytes:

    DATASET/heard/<settings>/<part>.arrow    audio_hash, descriptors, bands (float16)

so another training, an evaluation, or another item of the same file decodes nothing again. The
files are memory-mapped; deleting the folder costs only time.

Recordings are heard in batches by whichever worker of a backend is free, and the worker keeps what
it heard before it takes the next: a kill costs the batches under way. A recording that cannot be
read, or that workers die of, is set aside with its reason.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys import progress
from recsys.audio.descriptors import listen
from recsys.audio.recordings import read_recording
from recsys.backend import Backend, LocalBackend, in_batches
from recsys.config import AudioConfig
from recsys.data.aside import tell_aside
from recsys.data.dataset import Dataset
from recsys.data.tables import TABLES
from recsys.errors import InputError, WorkersLostError
from recsys.storage import Folder

__all__ = ["Archive", "Heard", "hear_items"]

_ANALYSIS = 1
"""Number of the recipe: raise it where descriptors or bands would come out otherwise."""
_FEWEST, _MOST = 32, 128
"""Recordings of a batch, and so in one file of the archive."""
_BATCHES_EACH = 4
"""Batches that each worker has at least, where there are recordings enough."""
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
        self.where = f"heard/v{_ANALYSIS}-{config.n_mels}mel-{config.max_duration_s:g}s"
        self._folder = folder
        self._n_mels = config.n_mels
        self._tables: list[pa.Table] = []
        self._places: dict[str, tuple[int, int]] = {}
        for name in folder.names(self.where):
            if name.endswith(".arrow"):
                self._add(self._read(f"{self.where}/{name}"))

    def __getitem__(self, audio_hash: str) -> Heard:
        table, row = self._places[audio_hash]
        stored = self._tables[table].slice(row, 1)
        bands = np.frombuffer(stored["bands"][0].as_buffer(), np.float16)
        described = stored.drop_columns(["bands"]).to_pylist()[0]
        return Heard(described, bands.reshape(-1, self._n_mels))

    def hashes(self) -> NDArray[np.bytes_]:
        """Return (n,) the hashes of all that was heard, ascending."""
        return np.array(sorted(self._places), "S64")

    def take_up(self, heard: pa.Table | str) -> None:
        """Add what a worker kept under this name, or could not keep."""
        self._add(self._read(heard) if isinstance(heard, str) else heard)

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


def hear_items(
    dataset: Dataset, config: AudioConfig, backend: Backend | None = None
) -> dict[str, Heard]:
    """Hear the recordings of all items and bring the descriptors table up to date.

    A recording that cannot be read is noted with its reason and leaves its item out.

    Parameters
    ----------
    backend
        Whose workers hear; all must reach the dataset and the recordings. Default: this process.

    Returns
    -------
    dict
        By item id, in the order of the items table.
    """
    listed = dataset.read("items", ["item_id", "audio_uri"])
    listed = listed.filter(pc.is_valid(listed["audio_uri"]))
    uris = listed["audio_uri"].to_pylist()
    archive = Archive(dataset.folder, config)
    distinct = sorted(set(uris))
    found: dict[str, str] = {}
    reasons: dict[str, str] = {}
    n_new = 0
    for batch, heard in _hear_all(dataset, archive, distinct, config, backend or LocalBackend()):
        if isinstance(heard, WorkersLostError):
            reasons[batch[0]] = f"{batch[0]}: workers died of it ({heard}); mend it or take it out"
            continue
        if heard.kept is not None:
            archive.take_up(heard.kept)
        if heard.problem:
            progress.note(heard.problem)
        n_new += heard.n_new
        for uri, one in zip(batch, heard.found, strict=True):
            if isinstance(one, InputError):
                reasons[uri] = str(one)
            else:
                found[uri] = one
    if n_new:
        progress.note(f"audio: {n_new:,} recordings heard, {len(found) - n_new:,} known before")
    _tell_failures(dataset.folder, reasons, len(distinct))
    items = {
        item_id: archive[found[uri]]
        for item_id, uri in zip(listed["item_id"].to_pylist(), uris, strict=True)
        if uri in found
    }
    if items:
        _tabulate(dataset, items, archive.where.removeprefix("heard/"))
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


class _Batch(NamedTuple):
    """What was heard of the recordings of one batch."""

    found: list[str | InputError]
    """The hash of each recording, or why there is none."""
    n_new: int
    """Recordings that were not known before."""
    kept: pa.Table | str | None
    """Where what is new was kept, or, where it could not be, that itself."""
    problem: str
    """Why it could not be."""


def _hear_all(
    dataset: Dataset, archive: Archive, uris: list[str], config: AudioConfig, backend: Backend
) -> Iterator[tuple[list[str], _Batch | WorkersLostError]]:
    """Yield batches of addresses with what was heard of each."""
    size = int(np.clip(len(uris) // (_BATCHES_EACH * backend.n_workers), _FEWEST, _MOST))
    shared = (dataset.folder.address, archive.where, config, archive.hashes())
    done, task = 0, "audio: recordings"
    progress.step(task, done, len(uris))
    for batch, heard in in_batches(backend, _hear_batch, uris, size=size, shared=shared):
        done += len(batch)
        progress.step(task, done, len(uris))
        yield batch, heard


def _hear_batch(
    uris: Sequence[str],
    path: str,
    where: str,
    config: AudioConfig,
    known: NDArray[np.bytes_],
) -> _Batch:
    """Hear what is new among some recordings, and keep it."""
    folder = Folder(path)

    def is_known(audio_hash: str) -> bool:
        place = int(np.searchsorted(known, audio_hash.encode()))
        return place < len(known) and known[place].decode() == audio_hash

    # Decoding and Fourier transforms release the interpreter, so threads are enough.
    n_threads = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    with ThreadPoolExecutor(n_threads) as threads:
        results = list(threads.map(partial(_hear, folder, is_known, config), uris))
    new = {r.descriptors["audio_hash"]: r for r in results if isinstance(r, Heard)}
    kept, problem = _keep(folder, where, list(new.values())) if new else (None, "")
    found = [r.descriptors["audio_hash"] if isinstance(r, Heard) else r for r in results]
    n_new = sum(isinstance(r, Heard) for r in results)
    return _Batch(found, n_new, kept, problem)


def _keep(folder: Folder, where: str, heard: list[Heard]) -> tuple[pa.Table | str, str]:
    """Store recordings and return the file's name; where that fails, return them and the reason."""
    rows = [{**one.descriptors, "bands": one.bands.tobytes()} for one in heard]
    table = pa.Table.from_pylist(rows, _SCHEMA)
    name = f"{where}/{uuid.uuid4().hex}.arrow"
    try:
        with folder.writing(name) as stream, pa.ipc.new_file(stream, _SCHEMA) as writer:
            writer.write_table(table)
    except OSError as error:
        return table, f"{folder.path}/{name}: {error}; these will be heard again"
    return name, ""


def _hear(
    folder: Folder, is_known: Callable[[str], bool], config: AudioConfig, uri: str
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
            return audio_hash if is_known(audio_hash) else _decode(path, uri, audio_hash, config)
        parent, _, name = uri.rpartition("/") if remote else ("", "", uri)
        place = Folder(parent) if remote else folder
        with place.filesystem.open_input_file(place.locate(name)) as stream:
            audio_hash = _hash(stream)
            stream.seek(0)
            return audio_hash if is_known(audio_hash) else _decode(stream, uri, audio_hash, config)
    except InputError as error:
        return error
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return InputError(f"{uri}: {'no such file' if missing else error}")
    except Exception as error:  # of a million recordings one may find a bug; it must not stop them
        return InputError(f"{uri}: could not be described ({type(error).__name__}: {error})")


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


def _tell_failures(folder: Folder, reasons: dict[str, str], n_recordings: int) -> None:
    """Say how many recordings are absent, and which of the others cannot be read and why."""
    damaged = {u: reason for u, reason in reasons.items() if not reason.endswith("no such file")}
    if absent := len(reasons) - len(damaged):
        progress.note(f"audio: {absent:,} of {n_recordings:,} recordings are not on disk")
    what = f"audio: {len(damaged):,} of {n_recordings:,} recordings cannot be read"
    tell_aside(folder, "recordings", what, damaged)

"""One trained version on disk, and the folder that keeps all versions.

Layout::

    MODELS/ACTIVE                              the version that serves; the only truth about it
    MODELS/versions/<version>/manifest.json    what the version is made of
    MODELS/blocks/<sha256>.npy                 immutable arrays, named by their content

Every array of a version is a list of blocks, written by whoever holds them (on a laptop there is
one). Blocks are named by their content, so a version shares unchanged blocks with the one before.
The manifest is written last and renamed in: a kill at any moment leaves the former version active.
Blocks are memory-mapped on reading; nothing here is pickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.config import Config
from recsys.data.identity import Ids
from recsys.errors import BundleError, nearest
from recsys.storage import Folder

__all__ = ["Block", "Bundle", "BundleWriter", "Models", "Summary", "read_block", "write_block"]

_SCHEMA = 1
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


@dataclass(frozen=True)
class Block:
    """One stored piece of an array: rows in order, named by the hash of its .npy file."""

    sha256: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def file(self) -> str:
        """Place inside the models folder."""
        return f"blocks/{self.sha256}.npy"


@dataclass(frozen=True)
class Summary:
    """What a list of versions says of one of them."""

    version: str
    made_at: str | None
    trained: list[str]
    """The models in it."""
    counts: dict[str, int]
    """Users, items, artists, events."""
    problem: str | None
    """Why it cannot be opened; None where it can."""


class Models:
    """The versions in one folder: list, open, activate, roll back, verify."""

    def __init__(self, path: str | Path) -> None:
        self.folder = Folder(path)

    def versions(self) -> list[str]:
        """Return all complete versions, oldest first."""
        found = self.folder.names("versions")
        return [v for v in found if self.folder.exists(f"versions/{v}/manifest.json")]

    def summaries(self) -> list[Summary]:
        """Describe all versions, oldest first; one that cannot be opened says why."""
        return [self._summary(version) for version in self.versions()]

    def active(self) -> str:
        """Return the version that serves; BundleError where none does."""
        try:
            return self.folder.read("ACTIVE").decode().strip()
        except FileNotFoundError:
            raise BundleError(
                f"{self.folder.path}: no active version; make one with `recsys train`"
            ) from None

    def activate(self, version: str) -> None:
        """Let `version` serve from now on, after checking that it can be opened."""
        self.open(version)
        self.folder.write("ACTIVE", f"{version}\n".encode())

    def rollback(self) -> str:
        """Activate the version before the active one, by time of making, and return it."""
        versions, active = self.versions(), self.active()
        earlier = [v for v in versions if v < active]
        if not earlier:
            raise BundleError(f"{self.folder.path}: no version before {active}; nothing changed")
        self.activate(earlier[-1])
        return earlier[-1]

    def open(self, version: str | None = None) -> Bundle:
        """Open `version` (default: the active one)."""
        name = self.active() if version is None else version
        if not _VERSION.fullmatch(name) or name not in self.versions():
            close = nearest(name, self.versions())
            hint = f"nearest: {close[0]}" if close else "see `recsys models list`"
            raise BundleError(f"{self.folder.path}: no version {name!r}; {hint}")
        return Bundle(self.folder, name)

    def stamp(self, version: str) -> str:
        """Return what changes when a version's manifest is rewritten; empty where there is none."""
        place = self.folder.locate(f"versions/{version}/manifest.json")
        written = self.folder.filesystem.get_file_info(place).mtime_ns
        return "" if written is None else str(written)

    def rewrite(self, version: str, arrays: Mapping[str, list[Block]], **facts: Any) -> None:
        """Put other blocks in the places of some arrays; the version keeps its name.

        The manifest is replaced atomically. Blocks that no version names any more are deleted.
        """
        bundle = self.open(version)
        former = {block.file for name in arrays for block in bundle.arrays[name]}
        merged = {**bundle.arrays, **arrays}
        _write_manifest(self.folder, version, bundle.made_at, {**bundle.facts, **facts}, merged)
        others = (Bundle(self.folder, name) for name in self.versions())
        used = {b.file for other in others for blocks in other.arrays.values() for b in blocks}
        for file in former - used:
            self.folder.delete(file)

    def write(self) -> BundleWriter:
        """Begin a new version."""
        return BundleWriter(self.folder)

    def verify(self, version: str | None = None) -> int:
        """Compare every block of a version with its checksum; return the number of blocks."""
        bundle = self.open(version)
        blocks = [block for blocks in bundle.arrays.values() for block in blocks]
        for block in blocks:
            try:
                found = hashlib.sha256(self.folder.read(block.file)).hexdigest()
            except FileNotFoundError:
                found = "nothing"
            if found != block.sha256:
                raise BundleError(
                    f"{self.folder.path}/{block.file}: damaged: holds {found[:12]}; "
                    f"activate another version or train again"
                )
        return len(blocks)

    def _summary(self, version: str) -> Summary:
        try:
            bundle = Bundle(self.folder, version)
        except BundleError as error:
            return Summary(version, None, [], {}, str(error))
        trained, counts = bundle.facts.get("trained", []), bundle.facts.get("counts", {})
        return Summary(version, bundle.made_at, trained, counts, None)


class BundleWriter:
    """A version in the making: `add` arrays and facts, then `commit`."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.arrays: dict[str, list[Block]] = {}
        self.facts: dict[str, Any] = {}

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Store `array` as one block."""
        self.add_blocks(name, [write_block(self.folder, array)])

    def add_blocks(self, name: str, blocks: Iterable[Block]) -> None:
        """Name blocks that `write_block` stored, here or in other processes, in row order."""
        assert name not in self.arrays, name
        self.arrays[name] = list(blocks)

    def add_group(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store arrays that belong together, each under ``name/part``."""
        for part, array in arrays.items():
            self.add(f"{name}/{part}", array)

    def add_ids(self, name: str, ids: Ids) -> None:
        """Store `ids` as two arrays."""
        self.add_group(name, {"offsets": ids.offsets, "content": ids.content})

    def note(self, **facts: Any) -> None:
        """Keep small JSON facts in the manifest."""
        self.facts |= facts

    def commit(self, *, activate: bool = True) -> str:
        """Write the manifest, let the version serve, and return its name."""
        made = datetime.now(UTC)
        version = f"{made:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:6]}"
        _write_manifest(self.folder, version, made.isoformat(), self.facts, self.arrays)
        if activate:
            Models(self.folder.path).activate(version)
        return version


class Bundle:
    """One version, opened for reading."""

    def __init__(self, folder: Folder, version: str) -> None:
        self.folder = folder
        self.version = version
        where = f"{folder.path}/versions/{version}/manifest.json"
        try:
            manifest = json.loads(folder.read(f"versions/{version}/manifest.json"))
            schema = int(manifest["schema"])
        except (ValueError, TypeError, KeyError) as error:
            raise BundleError(f"{where}: damaged ({error!r}); activate another version") from error
        if schema > _SCHEMA:
            raise BundleError(
                f"{where}: written by a newer recsys (schema {schema}, "
                f"known {_SCHEMA}); upgrade recsys or activate another version"
            )
        try:
            self.made_at: str = manifest["made_at"]
            self.facts: Mapping[str, Any] = manifest["facts"]
            self.arrays: dict[str, list[Block]] = {
                name: [Block(b["sha256"], tuple(b["shape"]), b["dtype"]) for b in blocks]
                for name, blocks in manifest["arrays"].items()
            }
        except (AttributeError, TypeError, KeyError) as error:
            raise BundleError(f"{where}: damaged ({error!r}); activate another version") from error

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    @property
    def config(self) -> Config:
        """The configuration that it was trained by; ConfigError where this recsys knows it not."""
        return Config.from_dict(self.facts["config"], source=f"version {self.version}")

    def array(self, name: str) -> NDArray[Any]:
        """Return an array, read-only; one block is memory-mapped, several are joined in memory."""
        blocks = self.blocks(name)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def blocks(self, name: str) -> list[NDArray[Any]]:
        """Return an array's blocks in row order, each memory-mapped and read-only."""
        if name not in self.arrays:
            raise BundleError(f"version {self.version} has no {name}; train it first")
        return [read_block(self.folder, block) for block in self.arrays[name]]

    def group(self, name: str) -> dict[str, NDArray[Any]]:
        """Return what was stored by `BundleWriter.add_group`, by part; empty where nothing was."""
        start = f"{name}/"
        return {
            array.removeprefix(start): self.array(array)
            for array in self.arrays
            if array.startswith(start)
        }

    def ids(self, name: str, *, kind: str) -> Ids:
        """Return ids stored by `BundleWriter.add_ids`."""
        return Ids(self.array(f"{name}/offsets"), self.array(f"{name}/content"), kind=kind)


def read_block(folder: Folder, block: Block) -> NDArray[Any]:
    """Return a stored block, read-only; on a local disk it is memory-mapped.

    Raises
    ------
    BundleError
        Where it is missing, damaged, or another array than described.
    """
    place = folder.locate(block.file)
    try:
        if folder.is_local:
            array = np.load(place, mmap_mode="r", allow_pickle=False)
        else:
            array = np.load(io.BytesIO(folder.read(block.file)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(
            f"{place}: cannot be read ({error}); run `recsys models verify`, "
            f"then activate another version"
        ) from error
    if array.shape != block.shape or str(array.dtype) != block.dtype:
        raise BundleError(
            f"{place}: holds {array.dtype}{array.shape}, the manifest says "
            f"{block.dtype}{block.shape}; run `recsys models verify`"
        )
    array.flags.writeable = False
    return np.asarray(array)


def _write_manifest(
    folder: Folder,
    version: str,
    made_at: str,
    facts: Mapping[str, Any],
    arrays: Mapping[str, list[Block]],
) -> None:
    manifest = {
        "schema": _SCHEMA,
        "version": version,
        "made_at": made_at,
        "facts": facts,
        "arrays": {name: [vars(block) for block in blocks] for name, blocks in arrays.items()},
    }
    text = json.dumps(manifest, indent=1, allow_nan=False)
    folder.write(f"versions/{version}/manifest.json", text.encode())


def write_block(folder: Folder, array: NDArray[Any]) -> Block:
    """Store `array` under the hash of its .npy file, once, and return its description."""
    rows = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(rows))
    # The array itself is hashed and written where it lies: a block may be half of the memory.
    content = (header.getbuffer(), rows.reshape(-1).view(np.uint8).data)
    digest = hashlib.sha256()
    for piece in content:
        digest.update(piece)
    block = Block(digest.hexdigest(), array.shape, str(array.dtype))
    if not folder.exists(block.file):
        with folder.writing(block.file) as stream:
            for piece in content:
                stream.write(piece)
    return block

"""Files that are either whole or not there, on a local disk or in a bucket (pyarrow.fs).

A path is a local path or a URI (``s3://``, ``gs://``, ``file://``). On a local disk a file is
written beside its place, synced, and renamed in, so a kill at any moment leaves the old file or
the new one; in a bucket the rename is the store's own copy.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from recsys.errors import InputError

__all__ = ["AbandonedError", "Folder"]


class AbandonedError(Exception):
    """Raised inside of `Folder.writing`, it leaves no file; the raiser catches it again."""


class Folder:
    """A folder on a local disk or in a bucket, with atomic writes.

    Parameters
    ----------
    path
        A local path or a URI that `pyarrow.fs` understands.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        try:
            if "://" in self.path:
                self.filesystem, self.root = fs.FileSystem.from_uri(self.path)
            else:
                self.filesystem, self.root = fs.LocalFileSystem(), str(Path(self.path).absolute())
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"{self.path}: {error}; give a folder or an s3:// or gs:// address"
            ) from error
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)

    def __repr__(self) -> str:
        return f"Folder({self.path!r})"

    @property
    def address(self) -> str:
        """Where it is, as a process with another working directory finds it."""
        return self.root if self.is_local else self.path

    def locate(self, name: str) -> str:
        """Return the path of `name` inside this folder, as `filesystem` wants it."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Tell whether a file of this name is there."""
        return bool(self.filesystem.get_file_info(self.locate(name)).type == fs.FileType.File)

    def age_s(self, name: str) -> float:
        """Return the seconds since a file was last written; 0 where there is none."""
        written = self.filesystem.get_file_info(self.locate(name)).mtime
        return 0.0 if written is None else time.time() - float(written.timestamp())

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names right inside `folder` (empty where there is none)."""
        where = self.locate(folder) if folder else self.root
        found = self.filesystem.get_file_info(fs.FileSelector(where, allow_not_found=True))
        return sorted(info.base_name for info in found)

    def read(self, name: str) -> bytes:
        """Return a whole file; FileNotFoundError where there is none."""
        with self.filesystem.open_input_stream(self.locate(name)) as stream:
            return bytes(stream.read())

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """Open a pyarrow output stream that becomes `name` when the block ends without an error."""
        place = self.locate(name)
        beside = f"{place}.{uuid.uuid4().hex[:8]}.part"
        self.filesystem.create_dir(place.rpartition("/")[0], recursive=True)
        try:
            with self.filesystem.open_output_stream(beside) as stream:
                yield stream
            if self.is_local:
                _sync(beside)
            self.filesystem.move(beside, place)
            if self.is_local:
                _sync(place.rpartition("/")[0])
        except BaseException:
            with suppress(OSError):
                self.filesystem.delete_file(beside)
            raise

    def write(self, name: str, content: bytes) -> None:
        """Replace a whole file atomically."""
        with self.writing(name) as stream:
            stream.write(content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless it is there already; return whether this call made it.

        Of several writers on a local disk exactly one is first. A bucket cannot promise that:
        there two writers within the same moment may both be told that they were.
        """
        if self.exists(name):
            return False
        if not self.is_local:
            self.write(name, content)
            return True
        beside = f"{name}.{uuid.uuid4().hex[:8]}"
        self.write(beside, content)
        try:
            # A link, unlike a rename, fails where the name is taken.
            os.link(self.locate(beside), self.locate(name))
        except FileExistsError:
            return False
        finally:
            self.delete(beside)
        _sync(self.locate(name).rpartition("/")[0])
        return True

    def delete(self, name: str) -> None:
        """Delete one file; no error where there is none."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(self.locate(name))


def _sync(path: str) -> None:
    """Ask the disk to keep what was written; a rename is durable once its folder is synced."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

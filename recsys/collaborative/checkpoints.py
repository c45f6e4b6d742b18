"""The state of a training on storage, from which it goes on after a failure.

Layout::

    FOLDER/manifest.json          the latest checkpoint: its sweep, and which blocks make it up
    FOLDER/blocks/<sha256>.npy    each worker's rows, written by that worker

The manifest is written last and renamed in, and the blocks of the checkpoint before are deleted
only then: a kill at any moment leaves one that is whole. Workers of another number may take it up:
each reads the rows that are now its own.

Enters: what `recsys.collaborative.als` yields. Leaves: `Checkpoint`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.backend import Backend, Parts
from recsys.bundle import Block, read_block, write_block
from recsys.collaborative.shards import Latent, pad
from recsys.errors import BundleError, InputError
from recsys.progress import note
from recsys.storage import Folder

__all__ = ["Checkpoint", "Checkpoints", "State"]

Doubles = NDArray[np.float64]
Rows = list[tuple[Block, Block]]
"""Factors and biases, in row order."""

_MANIFEST = "manifest.json"
_SCHEMA = 1


@dataclass(frozen=True)
class State:
    """What a training needs to go on after a sweep, as the driver holds it."""

    iteration: int
    loss: float | None
    basis: Doubles
    feature_map: Doubles


@dataclass(frozen=True)
class Checkpoint:
    """A state on storage."""

    path: str
    state: State
    rows: dict[str, Rows]
    """Of users, of items, and, where items have biases of time bins, of these, ``drift``."""

    def read(self, name: str, bounds: Sequence[int], width: int, backend: Backend) -> Parts:
        """Let each worker read its rows, a `Latent`; `bounds` as in `routes.Sharded`."""
        ranges = backend.scatter(pairwise(bounds))
        shared = (self.path, self.rows[name], width)
        return backend.map(_rows_between, ranges, shared=shared)


class Checkpoints:
    """One training's checkpoints; the latest counts.

    Parameters
    ----------
    path
        A folder or bucket that all workers reach.
    every
        Sweeps from one to the next; 0 for none at all.
    resume
        Take up what a former process left, where it is this training's; else it is ignored.
    """

    def __init__(self, path: str, *, every: int, resume: bool = False) -> None:
        self.path, self.every = path, every
        self._counts = resume

    def latest(self) -> Checkpoint | None:
        """Return the checkpoint to go on from, or None.

        Raises
        ------
        InputError
            Where there is one that cannot be read.
        """
        if not self._counts:
            return None
        folder = Folder(self.path)
        try:
            manifest = json.loads(folder.read(_MANIFEST))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self._damaged(error) from error
        try:
            rows = {name: _pairs(manifest[name]) for name in ("users", "items")}
            if "drift" in manifest:
                rows["drift"] = _pairs(manifest["drift"])
            basis, feature_map = (
                np.array(read_block(folder, _block(manifest[name])))
                for name in ("basis", "feature_map")
            )
            state = State(manifest["iteration"], manifest["loss"], basis, feature_map)
        except (KeyError, TypeError, BundleError) as error:
            raise self._damaged(error) from error
        return Checkpoint(self.path, state, rows)

    def save(self, state: State, rows: Mapping[str, Parts], backend: Backend) -> None:
        """Store a state and `Checkpoint.rows`; where the disk refuses, keep the one before."""
        folder = Folder(self.path)
        try:
            kept: dict[str, Any] = {
                name: backend.gather(backend.map(_stored, parts, shared=(self.path,)))
                for name, parts in rows.items()
            }
            kept["basis"] = write_block(folder, state.basis)
            kept["feature_map"] = write_block(folder, state.feature_map)
            head = {"schema": _SCHEMA, "iteration": state.iteration, "loss": state.loss}
            folder.write(_MANIFEST, json.dumps(head | kept, default=asdict).encode())
        except OSError as error:
            reason = error.strerror or str(error)
            before = "the one before stays" if self._counts else "there is none before it"
            note(f"no checkpoint after sweep {state.iteration}: {self.path}: {reason}; {before}")
        else:
            self._counts = True
        self._sweep(folder)

    def clear(self) -> None:
        """Delete everything: the training is over and its result is kept elsewhere."""
        folder = Folder(self.path)
        with suppress(OSError):
            folder.delete(_MANIFEST)
        self._counts = False
        self._sweep(folder)

    def _sweep(self, folder: Folder) -> None:
        """Delete the blocks that the manifest does not name, and halves of files."""
        named = set()
        with suppress(FileNotFoundError):
            named = {b["sha256"] for b in _blocks_in(json.loads(folder.read(_MANIFEST)))}
        for name in folder.names("blocks"):
            if name.removesuffix(".npy") not in named:
                with suppress(OSError):
                    folder.delete(f"blocks/{name}")

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            f"{self.path}: this checkpoint cannot be read ({error}); train without --resume"
        )


def _stored(latent: Latent, path: str) -> tuple[Block, Block]:
    folder = Folder(path)
    return write_block(folder, latent.factors), write_block(folder, latent.biases)


def _rows_between(bounds: tuple[int, int], path: str, rows: Rows, n_factors: int) -> Latent:
    """Read the rows of a range out of the blocks that hold them."""
    folder = Folder(path)
    first, last = bounds
    latent = Latent(
        np.zeros((last - first, n_factors), np.float32), np.zeros(last - first, np.float32)
    )
    start = 0
    for factors, biases in rows:
        end = start + factors.shape[0]
        a, b = max(first, start), min(last, end)
        if a < b:
            stored = read_block(folder, factors)[a - start : b - start, :n_factors]
            latent.factors[a - first : b - first] = stored
            latent.biases[a - first : b - first] = read_block(folder, biases)[a - start : b - start]
        start = end
    return pad(latent)


def _pairs(stored: list[list[dict[str, Any]]]) -> Rows:
    return [(_block(factors), _block(biases)) for factors, biases in stored]


def _block(stored: dict[str, Any]) -> Block:
    return Block(stored["sha256"], tuple(stored["shape"]), stored["dtype"])


def _blocks_in(value: Any) -> list[dict[str, Any]]:
    """Return every block that a manifest names, however deep."""
    if isinstance(value, dict):
        return [value] if "sha256" in value else _blocks_in(list(value.values()))
    if isinstance(value, list):
        return [block for inner in value for block in _blocks_in(inner)]
    return []

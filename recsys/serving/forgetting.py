"""Forget a listener everywhere: masked at once, then taken out of every file.

Enters: a listener's id. Leaves: a receipt of what is done and what is pending. The order is what
makes it safe: first a tombstone in the event store, which every replica reads with every request;
then the events, weekly lists, trained versions and dataset lose the listener's rows, each under a
new manifest that replaces the old one whole. What stays is the tombstone (a hash), and what the
listener's plays taught the vectors of items until the next training, which honours the tombstone.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.bundle import Block, Bundle, Models, write_block
from recsys.data.arrays import Texts
from recsys.data.dataset import Dataset
from recsys.data.eventstore import EventStore
from recsys.data.forgetting import bury, forget_rows, names_listener
from recsys.data.identity import Ids
from recsys.data.tombstones import buried, tombstone
from recsys.ensemble.weekly import Shelf
from recsys.errors import RecsysError

__all__ = ["Forgetting", "Receipt"]

_log = logging.getLogger(__name__)
_BY_USER = ("collaborative/user_factors", "collaborative/user_biases", "segments/of_user")
"""Arrays with one row for each listener."""
_MATRICES = {
    "interactions/evidence": (),
    "interactions/plays": ("interactions/streamed", "interactions/last_played"),
    "interactions/ratings": (),
    "interactions/heard": (),
    "interactions/follows": (),
}
"""Listener x column matrices, and what lies beside their stored entries."""


@dataclass(frozen=True)
class Receipt:
    """What a deletion has reached."""

    done: list[str]
    pending: list[str]


class Forgetting:
    """Deletes listeners from one folder of versions, its event store and the dataset behind it.

    Parameters
    ----------
    models, store
        What serves.
    dataset
        What was trained on; None where this process does not have it: then that part stays pending.
    """

    def __init__(self, models: Models, store: EventStore, dataset: Dataset | None) -> None:
        self._models, self._store, self._dataset = models, store, dataset
        self._wanted, self._ending = Event(), Event()
        self._thread: Thread | None = None

    def known(self, user_id: str) -> bool:
        """Tell whether anything of a listener is here: rows, or a tombstone."""
        history = self._store.history(user_id, 0)
        if history.deleted or history.events:
            return True
        if self._dataset is not None and names_listener(self._dataset, user_id):
            return True
        bundles = (self._models.open(version) for version in self._models.versions())
        return any(b.ids("catalogue/users", kind="user").row(user_id) >= 0 for b in bundles)

    def forget(self, user_id: str) -> Receipt:
        """Mask a listener everywhere, delete what is quick to delete, and say what remains."""
        self._store.forget(user_id)
        Shelf(self._models.folder).forget(user_id)
        self._wanted.set()
        return self.receipt(user_id)

    def receipt(self, user_id: str) -> Receipt:
        """Say how far the deletion of a masked listener is."""
        done = ["masked in every version and replica", "events", "weekly lists"]
        pending = []
        for part, advice in (
            ("versions", "trained versions"),
            ("dataset", "dataset (recsys forget DATASET MODELS finishes it)"),
        ):
            if self._models.folder.exists(f"forgotten/{part}/{tombstone(user_id)}"):
                done.append(advice.partition(" (")[0])
            else:
                pending.append(advice)
        return Receipt(done, pending)

    def finish(self) -> None:
        """Take every masked listener out of the versions and of the dataset."""
        tombstones = self._store.tombstones()
        if not tombstones:
            return
        with self._alone():
            for version in self._models.versions():
                forget_in(self._models, version, tombstones)
            self._note("versions", tombstones)
            if self._dataset is not None:
                bury(self._dataset, tombstones)
                forget_rows(self._dataset)
                self._note("dataset", tombstones)

    def start(self) -> None:
        """Finish what is pending in a thread, now and after every deletion."""
        self._thread = Thread(target=self._work, name="forget", daemon=True)
        self._wanted.set()
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what it is doing."""
        self._ending.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while self._wanted.wait() and not self._ending.is_set():
            self._wanted.clear()
            try:
                self.finish()
            except (RecsysError, OSError) as error:
                _log.error("a deletion is not finished: %s", error)

    def _note(self, part: str, tombstones: Collection[str]) -> None:
        for hash in tombstones:
            if not self._models.folder.exists(f"forgotten/{part}/{hash}"):
                self._models.folder.write(f"forgotten/{part}/{hash}", b"")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time rewrite; in a bucket there is no lock."""
        folder = self._models.folder
        if not folder.is_local:
            yield
            return
        Path(folder.root).mkdir(parents=True, exist_ok=True)
        with Path(folder.locate(".forget.lock")).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def forget_in(models: Models, version: str, tombstones: Collection[str]) -> int:
    """Take listeners out of a version; return how many it had."""
    bundle = models.open(version)
    users = bundle.ids("catalogue/users", kind="user")
    gone = buried(users.to_arrow(), tombstones)
    if not gone.any():
        return 0
    kept = np.flatnonzero(~gone)
    changed: dict[str, list[Block]] = {}

    def put(name: str, array: NDArray[Any]) -> None:
        changed[name] = [write_block(models.folder, array)]

    ids = Ids.from_strings((users[int(row)] for row in kept), kind="user")
    put("catalogue/users/offsets", ids.offsets)
    put("catalogue/users/content", ids.content)
    for name in _BY_USER:
        if name in bundle:
            changed[name] = _without_rows(models, bundle, name, gone)
    for name, beside in _MATRICES.items():
        if f"{name}/indptr" in bundle:
            _thin(bundle, name, beside, gone, put)
    if "collections/owner" in bundle:
        _forget_collections(bundle, gone, put)
    counts = {**bundle.facts.get("counts", {}), "users": len(kept)}
    models.rewrite(version, changed, counts=counts)
    return int(gone.sum())


def _without_rows(
    models: Models, bundle: Bundle, name: str, gone: NDArray[np.bool_]
) -> list[Block]:
    """Return the blocks of an array without some rows; a block without such rows is kept."""
    blocks, start = [], 0
    for stored, rows in zip(bundle.arrays[name], bundle.blocks(name), strict=True):
        here = gone[start : start + len(rows)]
        start += len(rows)
        blocks.append(write_block(models.folder, rows[~here]) if here.any() else stored)
    return blocks


def _thin(
    bundle: Bundle, name: str, beside: tuple[str, ...], gone: NDArray[np.bool_], put: Any
) -> None:
    """Drop rows of a CSR matrix, and of the arrays that lie beside its entries."""
    indptr = bundle.array(f"{name}/indptr")
    lengths = np.diff(indptr)
    entries = np.repeat(~gone, lengths)
    put(f"{name}/indptr", np.append(0, np.cumsum(lengths[~gone])).astype(indptr.dtype))
    put(f"{name}/shape", np.array([len(gone) - gone.sum(), bundle.array(f"{name}/shape")[1]]))
    for part in (f"{name}/indices", f"{name}/data", *beside):
        put(part, bundle.array(part)[entries])


def _forget_collections(bundle: Bundle, gone: NDArray[np.bool_], put: Any) -> None:
    """Drop the lists that the gone listeners made; owners of the others are counted anew."""
    owner = bundle.array("collections/owner")
    theirs = (owner >= 0) & gone[np.maximum(owner, 0)]
    row = np.cumsum(~gone) - 1
    renumbered = np.where(owner >= 0, row[np.maximum(owner, 0)], owner).astype(owner.dtype)
    titles = Texts.read(bundle, "collections/titles")
    kept = Texts.from_arrow(
        pa.array([titles[int(n)] for n in np.flatnonzero(~theirs)], pa.string())
    )
    put("collections/owner", renumbered[~theirs])
    put("collections/titles/offsets", kept.offsets)
    put("collections/titles/content", kept.content)
    _thin(bundle, "collections/items", (), theirs, put)

"""Every listener's Discover Weekly, over the Backend.

Enters: a folder of versions, one of them, a week. Leaves: the week's lists on the shelf. Listeners
are cut into groups by a hash of their ids, and a group is one file that is written whole or not at
all: what a run that was killed has finished, the next one finds. A list that somebody has been
handed already stays as it is. Each worker opens the version once and keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recsys import progress
from recsys.backend import Backend
from recsys.bundle import Models
from recsys.config import WeeklyConfig
from recsys.data.catalogue import Catalogue
from recsys.data.identity import Ids
from recsys.ensemble.discover import make_weekly, still_there
from recsys.ensemble.recommender import HybridRecommender
from recsys.ensemble.weekly import Shelf, WeeklyList, group_of
from recsys.storage import Folder

__all__ = ["all_weekly", "lists_of_week"]

_PER_GROUP = 256
"""Listeners whose lists share a file, about."""


def all_weekly(
    models: Models, version: str, week: str, backend: Backend, *, adventurous: float | None = None
) -> int:
    """Make the lists of all listeners whom `version` knows; return how many were new.

    `adventurous` stands for the version's own setting where given.
    """
    opened = models.open(version)
    users = opened.ids("catalogue/users", kind="user")
    n_groups = _n_groups(len(users))
    missing = [g for g in range(n_groups) if not Shelf(models.folder).has_group(week, g, n_groups)]
    workers = backend.n_workers
    shared = (models.folder.path, version, adventurous)
    recommenders = backend.map(_open, backend.scatter(range(workers)), shared=shared)
    made = 0
    progress.step("weekly lists", n_groups - len(missing), n_groups)
    for start in range(0, len(missing), workers):
        turn = missing[start : start + workers]
        turn += [-1] * (workers - len(turn))
        done = backend.map(_make, recommenders, backend.scatter(turn), shared=(week, n_groups))
        made += sum(backend.gather(done))
        ready = n_groups - len(missing) + min(start + workers, len(missing))
        progress.step("weekly lists", ready, n_groups)
    return made


def lists_of_week(
    shelf: Shelf, catalogue: Catalogue, week: str, *, now_ms: int
) -> Iterator[WeeklyList]:
    """Yield the lists that are kept for the catalogue's listeners, a group's file read once.

    Without what may not be played any more at `now_ms`, milliseconds since 1970.
    """
    for members in _grouped(catalogue.users, _n_groups(catalogue.n_users)):
        ids = [catalogue.users[row] for row in members.tolist()]
        kept = shelf.find_all(ids, week)
        yield from still_there([kept[id] for id in ids if id in kept], catalogue, now_ms)


def _n_groups(n_users: int) -> int:
    """Return a power of two, so that a few more listeners do not move all to other groups."""
    return 1 << max(0, int(np.ceil(np.log2(max(n_users, 1) / _PER_GROUP))))


def _grouped(users: Ids, n_groups: int) -> list[NDArray[np.int64]]:
    groups = np.array([group_of(id, n_groups) for id in users], np.int64)
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.searchsorted(groups[order], np.arange(1, n_groups)))


class _Worker:
    """An opened version and its listeners by group."""

    def __init__(self, folder: str, version: str, adventurous: float | None) -> None:
        self.recommender = HybridRecommender.load(Models(folder).open(version))
        if adventurous is not None:
            weekly = WeeklyConfig(adventurous=adventurous)
            self.recommender.config = replace(self.recommender.config, weekly=weekly)
        self.shelf = Shelf(Folder(folder))
        self._groups: list[NDArray[np.int64]] = []

    def members(self, group: int, n_groups: int) -> NDArray[np.int64]:
        if not self._groups:
            self._groups = _grouped(self.recommender.catalogue.users, n_groups)
        return self._groups[group]


def _open(_number: int, folder: str, version: str, adventurous: float | None) -> _Worker:
    return _Worker(folder, version, adventurous)


def _make(worker: _Worker, group: int, week: str, n_groups: int) -> int:
    """Make and keep one group's lists; return how many were not there before."""
    if group < 0:
        return 0
    members = worker.members(group, n_groups)
    users = worker.recommender.catalogue.users
    ids = {users[row]: row for row in members.tolist()}
    kept = worker.shelf.find_all(list(ids), week)
    new = np.array([row for id, row in ids.items() if id not in kept], np.int64)
    made = []
    if len(new):
        listeners = worker.recommender.listeners(new)
        new_ids = [users[row] for row in new.tolist()]
        made = make_weekly(worker.recommender, worker.shelf, new_ids, listeners, week)
    worker.shelf.keep_group(week, group, n_groups, [*kept.values(), *made])
    return len(made)

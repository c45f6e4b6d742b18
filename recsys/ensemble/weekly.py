"""Discover Weekly's memory: a list is frozen for its ISO week at its first making.

Enters: a listener, a week, a list. Leaves: the list that was first kept for them. Lists lie beside
the versions, so they outlive the activation of new versions and a restart::

    MODELS/weekly/<week>/<sha256 of the user id>.json     made when its listener asked
    MODELS/weekly/<week>/groups/<n>/<group>.parquet       made for all, listeners by hash in n files

Each file is created whole or not at all: of two servers that make the same list, one is first, and
both hand out its list. Where a listener has both, the list that was handed out first, the single
one, holds; whoever makes a single one looks for the group once more.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.errors import BundleError, UsageError
from recsys.storage import Folder

__all__ = ["Shelf", "WeeklyList", "group_of", "week_of", "weeks_before"]

_WEEK = re.compile(r"(\d{4})-W(\d{2})")


@dataclass(frozen=True)
class WeeklyList:
    """One listener's list of one week."""

    user_id: str
    week: str
    version: str
    """The version that made it."""
    items: list[dict[str, Any]]
    """The recommendations, best first, as plain JSON."""


class Shelf:
    """Where the lists are kept.

    Parameters
    ----------
    folder
        The folder of the versions.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def find(self, user_id: str, week: str) -> WeeklyList | None:
        """Return the list that was kept, or None."""
        return self._single(user_id, week) or self._of_groups([user_id], week).get(user_id)

    def find_all(self, user_ids: Sequence[str], week: str) -> dict[str, WeeklyList]:
        """Return the kept lists of many listeners, by their ids; each file is read once."""
        found = self._of_groups(user_ids, week)
        singles = {name for name in self._folder.names(f"weekly/{week}") if name.endswith(".json")}
        if singles:
            for id in user_ids:
                if _file(id, week).rpartition("/")[2] in singles:
                    single = self._single(id, week)
                    assert single is not None, week
                    found[id] = single
        return found

    def keep(self, made: WeeklyList) -> WeeklyList:
        """Keep a list unless one is there already; return the one that was first."""
        content = json.dumps(vars(made), ensure_ascii=False, allow_nan=False).encode()
        if not self._folder.create(_file(made.user_id, made.week), content):
            first = self._single(made.user_id, made.week)
            assert first is not None, made.week
            return first
        before = self._of_groups([made.user_id], made.week).get(made.user_id)
        if before is not None:
            self._folder.delete(_file(made.user_id, made.week))
            return before
        return made

    def has_group(self, week: str, group: int, n_groups: int) -> bool:
        """Tell whether a group's lists were kept."""
        return self._folder.exists(_group_file(week, group, n_groups))

    def keep_group(self, week: str, group: int, n_groups: int, lists: Sequence[WeeklyList]) -> None:
        """Keep the lists of all listeners of one of `n_groups` groups."""
        table = pa.table(
            {
                "user_id": pa.array([one.user_id for one in lists], pa.string()),
                "version": pa.array([one.version for one in lists], pa.string()),
                "items": pa.array(
                    [json.dumps(one.items, ensure_ascii=False, allow_nan=False) for one in lists],
                    pa.large_string(),
                ),
            }
        )
        with self._folder.writing(_group_file(week, group, n_groups)) as stream:
            pq.write_table(table, stream, compression="zstd")

    def forget(self, user_id: str) -> int:
        """Delete every list of a listener; return how many there were."""
        n_lists = 0
        for week in self._folder.names("weekly"):
            if self._single(user_id, week) is not None:
                self._folder.delete(_file(user_id, week))
                n_lists += 1
            for n_groups in self._groupings(week):
                group = group_of(user_id, n_groups)
                lists = self._read_group(week, group, n_groups)
                others = [one for one in lists if one.user_id != user_id]
                if len(others) < len(lists):
                    self.keep_group(week, group, n_groups, others)
                    n_lists += 1
        return n_lists

    def shown(self, user_id: str, weeks: Sequence[str]) -> list[str]:
        """Return the ids of all items that the listener's lists of these weeks hold."""
        kept = (self.find(user_id, week) for week in weeks)
        return [item["item_id"] for one in kept if one is not None for item in one.items]

    def _single(self, user_id: str, week: str) -> WeeklyList | None:
        name = _file(user_id, week)
        try:
            kept = WeeklyList(**json.loads(self._folder.read(name)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise self._damaged(name, error) from error
        assert kept.user_id == user_id, (kept.user_id, user_id)
        return kept

    def _of_groups(self, user_ids: Sequence[str], week: str) -> dict[str, WeeklyList]:
        found: dict[str, WeeklyList] = {}
        for n_groups in self._groupings(week):
            wanted: dict[int, list[str]] = {}
            for id in user_ids:
                wanted.setdefault(group_of(id, n_groups), []).append(id)
            for group, ids in wanted.items():
                for one in self._read_group(week, group, n_groups, ids):
                    found.setdefault(one.user_id, one)
        return found

    def _groupings(self, week: str) -> list[int]:
        """Return into how many groups the week's lists were cut, each time."""
        names = self._folder.names(f"weekly/{week}/groups")
        return sorted(int(name) for name in names if name.isdecimal())

    def _read_group(
        self, week: str, group: int, n_groups: int, ids: Sequence[str] | None = None
    ) -> list[WeeklyList]:
        """Return the lists of one group, of `ids` only where given."""
        name = _group_file(week, group, n_groups)
        try:
            table = pq.read_table(pa.BufferReader(self._folder.read(name)))
            if ids is not None:
                table = table.filter(pc.is_in(table["user_id"], pa.array(ids, pa.string())))
            return [
                WeeklyList(row["user_id"], week, row["version"], json.loads(row["items"]))
                for row in table.to_pylist()
            ]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError, pa.ArrowException) as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: Exception) -> BundleError:
        return BundleError(
            f"{self._folder.path}/{name}: not a weekly list ({error}); "
            f"delete the file to have it made again"
        )


def group_of(user_id: str, n_groups: int) -> int:
    """Return the group of a listener, the same in every run."""
    return int(hashlib.sha256(user_id.encode()).hexdigest()[:8], 16) % n_groups


def week_of(day: date) -> str:
    """Return the ISO week of a day, like ``2026-W47``."""
    year, week, _ = day.isocalendar()
    return f"{year:04d}-W{week:02d}"


def weeks_before(week: str, n: int) -> list[str]:
    """Return the `n` weeks before `week`, the latest first.

    Raises
    ------
    UsageError
        Where `week` is not an ISO week like ``2026-W47``.
    """
    match = _WEEK.fullmatch(week)
    try:
        if match is None:
            raise ValueError(week)
        monday = date.fromisocalendar(int(match[1]), int(match[2]), 1)
        return [week_of(monday - timedelta(weeks=back)) for back in range(1, n + 1)]
    except (ValueError, OverflowError):
        raise UsageError(f"week: want an ISO week like 2026-W47, got {week!r}") from None


def _group_file(week: str, group: int, n_groups: int) -> str:
    return f"weekly/{week}/groups/{n_groups}/{group}.parquet"


def _file(user_id: str, week: str) -> str:
    # A hash, because an id may hold slashes or be longer than a file name may.
    return f"weekly/{week}/{hashlib.sha256(user_id.encode()).hexdigest()}.json"

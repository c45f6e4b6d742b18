"""Discover Weekly's memory: a list is frozen for its ISO week at its first making.

Enters: a listener, a week, a list. Leaves: the list that was first kept for them. Lists lie beside
the versions (``MODELS/weekly/<week>/<sha256 of the user id>.json``), so they outlive the activation
of new versions and a restart. Each is one small file that is created whole or not at all: of two
servers that make the same list, one is first, and both hand out its list.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from recsys.errors import BundleError, UsageError
from recsys.storage import Folder

__all__ = ["Shelf", "WeeklyList", "week_of", "weeks_before"]

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
        name = _file(user_id, week)
        try:
            kept = WeeklyList(**json.loads(self._folder.read(name)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise BundleError(
                f"{self._folder.path}/{name}: not a weekly list ({error}); "
                f"delete the file to have it made again"
            ) from error
        assert kept.user_id == user_id, (kept.user_id, user_id)
        return kept

    def keep(self, made: WeeklyList) -> WeeklyList:
        """Keep a list unless one is there already; return the one that was first."""
        content = json.dumps(vars(made), ensure_ascii=False, allow_nan=False).encode()
        if self._folder.create(_file(made.user_id, made.week), content):
            return made
        first = self.find(made.user_id, made.week)
        assert first is not None, made.week
        return first

    def shown(self, user_id: str, weeks: Sequence[str]) -> list[str]:
        """Return the ids of all items that the listener's lists of these weeks hold."""
        kept = (self.find(user_id, week) for week in weeks)
        return [item["item_id"] for one in kept if one is not None for item in one.items]


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


def _file(user_id: str, week: str) -> str:
    # A hash, because an id may hold slashes or be longer than a file name may.
    return f"weekly/{week}/{hashlib.sha256(user_id.encode()).hexdigest()}.json"

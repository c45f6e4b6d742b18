"""Weekly lists as they were sent, ready to be sent again: a list of a week never changes.

Enters: a listener, a week, a format. Leaves: the bytes of the answer, if they lie here. Who may see
them is asked before: a deleted listener's bytes are never looked for, and make room by themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

__all__ = ["ReadyLists"]


class ReadyLists:
    """The answers handed out last.

    Parameters
    ----------
    size
        How many to keep; one takes about 10 kB.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._lock = Lock()

    def find(self, user_id: str, week: str, format: str) -> bytes | None:
        """Return an answer, or None where it is not here."""
        key = (user_id, week, format)
        with self._lock:
            content = self._kept.get(key)
            if content is not None:
                self._kept.move_to_end(key)
        return content

    def keep(self, user_id: str, week: str, format: str, content: bytes) -> bytes:
        """Keep an answer and return it."""
        with self._lock:
            self._kept[user_id, week, format] = content
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return content

"""Weekly lists as they were sent a moment ago, ready to be sent again.

Enters: a listener, a week, a format. Leaves: the bytes of the answer, if they lie here. A kept list
never changes but for what may not be played any more, so bytes are good for a minute. Who may see
them is asked before: a deleted listener's are never looked for, and make room by themselves.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock

__all__ = ["ReadyLists"]


class ReadyLists:
    """The answers handed out last.

    Parameters
    ----------
    size
        How many to keep; one takes about 10 kB.
    good_s
        Seconds that an answer is good for.
    """

    def __init__(self, size: int = 4096, *, good_s: float = 60.0) -> None:
        self._size = size
        self._good_s = good_s
        self._kept: OrderedDict[tuple[str, str, str], tuple[float, bytes]] = OrderedDict()
        self._lock = Lock()

    def find(self, user_id: str, week: str, format: str) -> bytes | None:
        """Return an answer, or None where it is not here."""
        with self._lock:
            made_at, content = self._kept.get((user_id, week, format), (0.0, None))
        return content if time.monotonic() - made_at < self._good_s else None

    def keep(self, user_id: str, week: str, format: str, content: bytes) -> bytes:
        """Keep an answer and return it."""
        key = (user_id, week, format)
        with self._lock:
            self._kept[key] = time.monotonic(), content
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return content

"""A file whose reader waits for its first byte, so that it can be met, and killed, in the act."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


class Fifo:
    """A named pipe at `path`; whoever reads it is at that file for as long as we like."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def kill_reader(self, timeout_s: float = 300) -> int:
        """Wait for a process that reads it, kill it by SIGKILL, and return its id."""
        deadline = time.monotonic() + timeout_s
        held = self._open(deadline)
        try:
            # Its read began with our open, so it is there, or is about to be.
            while not (readers := self._readers()):
                assert time.monotonic() < deadline, f"nobody reads {self.path}"
                time.sleep(0.02)
            os.kill(readers[0], signal.SIGKILL)
            while readers[0] in self._readers():
                assert time.monotonic() < deadline, f"{readers[0]} outlived its SIGKILL"
                time.sleep(0.02)
        finally:
            os.close(held)
        return readers[0]

    def _open(self, deadline: float) -> int:
        """Open the end for writing, which works once somebody opens the other."""
        while True:
            with suppress(OSError):
                return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            assert time.monotonic() < deadline, f"nobody opens {self.path}"
            time.sleep(0.02)

    def _readers(self) -> list[int]:
        found = set()
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with suppress(OSError):
                if link.readlink() == self.path:
                    found.add(int(link.parts[2]))
        return sorted(found - {os.getpid()})

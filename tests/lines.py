"""A reporter that keeps what is said."""

from __future__ import annotations


class Lines:
    """Keeps the notes; steps are passed over."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)

    def step(self, task: str, done: int, total: int | None, detail: str) -> None:
        pass

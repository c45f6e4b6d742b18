"""What a number in a configuration may be, said where the key is declared."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated

__all__ = ["Count", "Positive", "Range", "Share", "Weight", "Whole"]


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included; with `open` not `low` itself. Infinity is never in."""

    low: float = -inf
    high: float = inf
    open: bool = False

    def __contains__(self, number: float) -> bool:
        above = self.low < number if self.open else self.low <= number
        return above and number <= self.high and number not in (inf, -inf)

    def __str__(self) -> str:
        if self == Range():
            return "a finite number"
        if self.open:
            return f"above {self.low}" + (f", at most {self.high}" if self.high < inf else "")
        return f"{self.low} or more" if self.high == inf else f"{self.low} to {self.high}"


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Share = Annotated[float, Range(0, 1)]
Weight = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, open=True)]

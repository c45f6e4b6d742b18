"""What a list may hold, and for which moment of the day it is.

Enters: what was asked for: a kind, a territory, whether explicit songs are wanted, a tempo, a
context. Leaves: a mask of items, and the hours whose plays count. Availability is judged at a
moment; what is not known of an item never shuts it out, but for a tempo, which must be known.
A mask is made once and kept while nothing opens or closes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from recsys.data.catalogue import NO_TIME, Catalogue
from recsys.ensemble.candidates import Eligible
from recsys.ensemble.ensemble import Ensemble
from recsys.ensemble.sound import Sound
from recsys.errors import UsageError, nearest

__all__ = ["CONTEXTS", "Eligibility", "Rules"]

_RUNNING_BPM = (160.0, 180.0)
"""Steps a minute of most runners; a beat may carry one step or two."""
_HOURS = {"morning": (5, 11), "afternoon": (11, 17), "evening": (17, 22), "night": (22, 5)}
"""Hours of the day in UTC, the last not included."""

CONTEXTS = ("running", *_HOURS)
"""What a list can be for."""

_MASKS_KEPT = 8
"""Of the rules asked for last."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What was asked for; None asks for nothing."""

    kind: str
    """Kind of item."""
    territory: str | None = None
    """Where it will be heard, as ``HK``."""
    explicit: bool | None = None
    """False leaves out what is marked explicit."""
    tempo: tuple[float, float] | None = None
    """Beats a minute, lowest and highest; half and double tempo count too."""
    context: str | None = None
    """One of `CONTEXTS`."""

    def __post_init__(self) -> None:
        if self.context is not None and self.context not in CONTEXTS:
            close = nearest(self.context, CONTEXTS)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(CONTEXTS)}"
            raise UsageError(f"context: no {self.context!r}; {hint}")
        if self.tempo is not None:
            low, high = self.tempo
            if not 0 < low <= high < np.inf:
                raise UsageError(f"tempo: want 0 < low <= high beats a minute, got {low}-{high}")

    @property
    def tempo_bpm(self) -> tuple[float, float] | None:
        """The tempo asked for, or that of the context."""
        if self.tempo is None and self.context == "running":
            return _RUNNING_BPM
        return self.tempo

    @property
    def hours(self) -> tuple[int, int] | None:
        """First hour and the one after the last, which may lie past midnight."""
        return _HOURS.get(self.context or "")

    def allowed(
        self, catalogue: Catalogue, sound: Sound, at_ms: int | tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Return (n_items,) which items a list may hold.

        Parameters
        ----------
        at_ms
            Milliseconds since 1970 at which an item must be available, or the first and the last
            of a time during which it must be at some moment.

        Raises
        ------
        NotFoundError
            For a kind that no item is of.
        UsageError
            For a tempo where no item's is known.
        """
        first, last = at_ms if isinstance(at_ms, tuple) else (at_ms, at_ms)
        # An unbounded beginning is NO_TIME, before every moment.
        mask = catalogue.of_kind(self.kind) & (catalogue.available_from <= last)
        until = catalogue.available_until
        mask &= (until == NO_TIME) | (until > first)
        if self.territory is not None:
            mask &= _heard_in(catalogue, self.territory)
        if self.explicit is False:
            mask &= catalogue.explicit != 1
        if (tempo := self.tempo_bpm) is not None:
            if not np.isfinite(sound.tempo_bpm).any():
                raise UsageError("tempo: this version knows no item's; train it with recordings")
            mask &= sound.at_tempo(*tempo)
        return mask


class Eligibility:
    """What lists of one version may hold, by rules and moment."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble
        self._opens = np.unique(ensemble.catalogue.available_from)
        self._closes = np.unique(ensemble.catalogue.available_until)
        self._kept = lru_cache(_MASKS_KEPT)(self._make)

    def __call__(self, rules: Rules, at_ms: int | tuple[int, int]) -> Eligible:
        """Return what lists may hold; `at_ms` and what is raised are as of `Rules.allowed`."""
        first, last = at_ms if isinstance(at_ms, tuple) else (at_ms, at_ms)
        # Since the last closing and opening the answer has been the same.
        return self._kept(rules, _latest(self._closes, first), _latest(self._opens, last))

    def _make(self, rules: Rules, first_ms: int, last_ms: int) -> Eligible:
        ensemble = self._ensemble
        mask = np.zeros(ensemble.catalogue.n_items, bool)
        if len(mask):  # else no item is of any kind
            mask = rules.allowed(ensemble.catalogue, ensemble.sound, (first_ms, last_ms))
        mask.setflags(write=False)
        return ensemble.eligible(mask)


def _latest(moments: NDArray[np.int64], at_ms: int) -> int:
    """Return the last of ascending moments that is not after `at_ms`, or NO_TIME."""
    place = int(np.searchsorted(moments, at_ms, side="right"))
    return int(moments[place - 1]) if place else NO_TIME


def _heard_in(catalogue: Catalogue, territory: str) -> NDArray[np.bool_]:
    """Return (n_items,) whether each item may be heard in a territory; everywhere if it says no."""
    listed = np.diff(catalogue.territories.offsets) > 0
    here = np.zeros(catalogue.n_items, bool)
    word = catalogue.territories.vocabulary.row(territory.upper())
    owner = np.repeat(np.arange(catalogue.n_items), np.diff(catalogue.territories.offsets))
    here[owner[catalogue.territories.words == word]] = True
    return ~listed | here

"""How recordings compare to the ear: tempo, key and loudness, and how far they lie apart.

Enters: descriptors of items. Leaves: distances between items, between an item and what a listener
plays, and an item and a wanted tempo. Tempi are compared octave-aware: 85 and 170 beats a minute
are one walking pace, counted differently. Keys are compared on the circle of fifths, a minor key
lying where its relative major does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.audio.model import AudioModel

__all__ = ["Sound"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """Descriptors by item; nan and -1 where unknown."""

    tempo_bpm: Floats
    """(n_items,)"""
    key: NDArray[np.int8]
    """(n_items,) 0 is C, 11 is B, -1 unknown."""
    minor: NDArray[np.int8]
    """(n_items,) 1 minor, 0 major, -1 unknown."""
    loudness_lufs: Floats
    """(n_items,)"""

    @classmethod
    def unknown(cls, n_items: int) -> Sound:
        """Return descriptors of items that nobody has analysed."""
        nan = np.full(n_items, np.nan, np.float32)
        none = np.full(n_items, -1, np.int8)
        return cls(nan, none, none, nan)

    @classmethod
    def of(cls, audio: AudioModel | None, n_items: int) -> Sound:
        """Take the descriptors that an audio model has heard."""
        heard = None if audio is None else audio.descriptors
        if heard is None:
            return cls.unknown(n_items)
        return cls(heard.tempo_bpm, heard.key, heard.mode, heard.loudness_lufs)

    @cached_property
    def known(self) -> tuple[bool, bool, bool]:
        """Whether any tempo, any key, any loudness is known."""
        return (
            bool(np.isfinite(self.tempo_bpm).any()),
            bool((self.fifth >= 0).any()),
            bool(np.isfinite(self.loudness_lufs).any()),
        )

    @cached_property
    def turns(self) -> Floats:
        """(n_items,) the tempo in octaves: log2 of it, nan where unknown."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.log2(self.tempo_bpm))

    @cached_property
    def fifth(self) -> NDArray[np.int64]:
        """(n_items,) place on the circle of fifths, 0 to 11; -1 where the key is unknown."""
        major = (self.key.astype(np.int64) + 3 * (self.minor == 1)) % 12
        return np.where((self.key >= 0) & (self.minor >= 0), major * 7 % 12, -1)

    def at_tempo(self, low_bpm: float, high_bpm: float) -> NDArray[np.bool_]:
        """Return (n_items,) whether an item's beat, or every other, or half of it, is in a range.

        An item of unknown tempo is not.
        """
        with np.errstate(invalid="ignore"):
            found = [
                (self.tempo_bpm * octave >= low_bpm) & (self.tempo_bpm * octave <= high_bpm)
                for octave in (0.5, 1.0, 2.0)
            ]
        return np.asarray(np.any(found, axis=0))

    def distances(
        self, history: csr_array, listener: NDArray[np.int64], item: NDArray[np.int32]
    ) -> dict[str, NDArray[np.floating]]:
        """Return (n,) tempo in octaves, key as a share, loudness in LU from the listener's habits.

        Tempo and loudness are compared with the mean, the key with how much of the history is in a
        key at most a fifth away. 0 where either is unknown.
        """
        if not any(self.known):
            return {}
        owner = np.repeat(np.arange(history.shape[0]), np.diff(history.indptr))
        m, played = history.shape[0], history.indices
        found: dict[str, NDArray[np.floating]] = {}
        has_tempo, has_key, has_loudness = self.known
        if has_tempo:
            turns = self.turns
            # The mean of angles: an octave is one turn.
            known = np.isfinite(turns[played])
            turn = np.exp(2j * np.pi * np.where(known, turns[played], 0)) * known
            total = np.bincount(owner, turn.real, m) + 1j * np.bincount(owner, turn.imag, m)
            usual = np.angle(total) / (2 * np.pi)
            apart = np.abs((turns[item] - usual[listener] + 0.5) % 1 - 0.5)
            found["tempo"] = np.where(np.isfinite(apart) & (np.abs(total)[listener] > 0), apart, 0)
        if has_key:
            place = self.fifth
            known = place[played] >= 0
            cells = owner[known] * 12 + place[played][known]
            counts = np.bincount(cells, minlength=12 * m).reshape(m, 12)
            around = counts + np.roll(counts, 1, axis=1) + np.roll(counts, -1, axis=1)
            shares = around / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            found["key"] = np.where(place[item] >= 0, shares[listener, place[item]], 0)
        if has_loudness:
            loud = self.loudness_lufs[played]
            known = np.isfinite(loud)
            n_known = np.bincount(owner, known, m)
            mean = np.bincount(owner, np.where(known, loud, 0), m) / np.maximum(n_known, 1)
            apart = np.abs(self.loudness_lufs[item] - mean[listener])
            found["loudness"] = np.where(np.isfinite(apart) & (n_known[listener] > 0), apart, 0)
        return found

"""The descriptors of all items, by row, as a trained version keeps them.

Enters: what was heard of each item. Leaves: arrays for a bundle, one item's descriptors, and a
sentence that says what two recordings have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.audio.rhythm import METRES
from recsys.audio.tonality import PITCH_CLASSES
from recsys.bundle import Bundle, BundleWriter

__all__ = ["MODES", "ItemDescriptors"]

MODES = ("major", "minor")
_CONFIDENCES = ("tempo", "key", "time_signature")
_SAME_TEMPO = 0.03
"""Relative difference up to which two tempi are one."""


@dataclass(frozen=True)
class ItemDescriptors:
    """Tempo, key, mode, metre and loudness by item row; nan and -1 where unknown."""

    tempo_bpm: NDArray[np.float32]
    """(n_items,)"""
    runner_up_bpm: NDArray[np.float32]
    """(n_items,) the next likely tempo."""
    key: NDArray[np.int8]
    """(n_items,) place in `PITCH_CLASSES`."""
    mode: NDArray[np.int8]
    """(n_items,) place in `MODES`."""
    time_signature: NDArray[np.int8]
    """(n_items,) place in `METRES`."""
    loudness_lufs: NDArray[np.float32]
    """(n_items,)"""
    confidences: NDArray[np.float32]
    """(n_items, 3) of tempo, key with mode, and time signature; 0 to 1."""

    @classmethod
    def of_rows(cls, described: Mapping[int, Mapping[str, Any]], n_items: int) -> ItemDescriptors:
        """Gather rows of the descriptors table by item row."""

        def numbers(name: str) -> NDArray[np.float32]:
            values = np.full(n_items, np.nan, np.float32)
            for row, one in described.items():
                values[row] = np.nan if one[name] is None else one[name]
            return values

        def places(name: str, known: tuple[str, ...]) -> NDArray[np.int8]:
            values = np.full(n_items, -1, np.int8)
            for row, one in described.items():
                values[row] = known.index(one[name]) if one[name] in known else -1
            return values

        confidences = np.full((n_items, len(_CONFIDENCES)), np.nan, np.float32)
        for row, one in described.items():
            shares = one["confidences"] or {}
            confidences[row] = [
                np.nan if shares.get(name) is None else shares[name] for name in _CONFIDENCES
            ]
        return cls(
            tempo_bpm=numbers("tempo_bpm"),
            runner_up_bpm=numbers("runner_up_bpm"),
            key=places("key", PITCH_CLASSES),
            mode=places("mode", MODES),
            time_signature=places("time_signature", METRES),
            loudness_lufs=numbers("loudness_lufs"),
            confidences=confidences,
        )

    def of(self, row: int) -> dict[str, Any] | None:
        """Return one item's descriptors under the names of the table; None where none is known."""
        described = {
            "tempo_bpm": _number(self.tempo_bpm[row], 1),
            "runner_up_bpm": _number(self.runner_up_bpm[row], 1),
            "key": _named(PITCH_CLASSES, self.key[row]),
            "mode": _named(MODES, self.mode[row]),
            "time_signature": _named(METRES, self.time_signature[row]),
            "loudness_lufs": _number(self.loudness_lufs[row], 1),
        }
        if all(value is None for value in described.values()):
            return None
        shares = zip(_CONFIDENCES, self.confidences[row], strict=True)
        return described | {"confidences": {name: _number(share, 3) for name, share in shares}}

    def in_common(self, row: int, other: int) -> str:
        """Return what two items share, as "both 92 BPM, D minor, 6/8"; "" for nothing."""
        shared = []
        tempo, second = float(self.tempo_bpm[row]), float(self.tempo_bpm[other])
        if abs(tempo - second) <= _SAME_TEMPO * tempo:  # nan is near to nothing
            shared.append(f"{tempo:.0f} BPM")
        key, mode = int(self.key[row]), int(self.mode[row])
        if key >= 0 and (key, mode) == (self.key[other], self.mode[other]):
            shared.append(f"{PITCH_CLASSES[key]} {MODES[mode]}")
        metre = int(self.time_signature[row])
        if metre >= 0 and metre == self.time_signature[other]:
            shared.append(METRES[metre])
        return f"both {', '.join(shared)}" if shared else ""

    def write(self, writer: BundleWriter) -> None:
        """Store every array under ``descriptors/``."""
        for field in fields(self):
            writer.add(f"descriptors/{field.name}", getattr(self, field.name))

    @classmethod
    def read(cls, bundle: Bundle) -> ItemDescriptors:
        """Read what `write` stored; arrays stay memory-mapped."""
        return cls(**{f.name: bundle.array(f"descriptors/{f.name}") for f in fields(cls)})


def _number(value: np.float32, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)


def _named(names: tuple[str, ...], place: np.int8) -> str | None:
    return names[int(place)] if place >= 0 else None

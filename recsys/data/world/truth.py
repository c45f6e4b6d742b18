"""What was planted in a demo world: the answers that no model sees.

A folder of .npy arrays and one truth.json, without pickle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.errors import InputError

__all__ = ["Truth"]

_NOTES = "truth.json"


@dataclass(frozen=True)
class Truth:
    """Planted tastes and properties; rows follow `user_ids` and `item_ids`, which are sorted."""

    seed: int
    scale: float
    user_ids: list[str]
    item_ids: list[str]
    artist_ids: list[str]
    scenes: list[str]
    """Names of the scenes."""
    axes: list[str]
    """Names of the axes of taste."""
    private_rows: int
    """Events of private sessions, dropped at the door."""
    preference: NDArray[np.float32]
    """(n_users, n_items): the chance that a free choice of the listener in the last month is this
    item, whether heard before or not; 0 where it is not to be had at the end."""
    user_tastes: NDArray[np.float32]
    """(n_users, tastes, n_axes) in the last month."""
    user_shares: NDArray[np.float32]
    """(n_users, tastes): the share of each taste in the last month."""
    item_taste: NDArray[np.float32]
    """(n_items, n_axes)."""
    artist_taste: NDArray[np.float32]
    """(n_artists, n_axes)."""
    item_scene: NDArray[np.int8]
    """(n_items,) places in `scenes`."""
    item_appeal: NDArray[np.float32]
    """(n_items,) log popularity before trends."""
    item_recording: NDArray[np.int32]
    """(n_items,): items with one number are one recording."""
    tempo_bpm: NDArray[np.float32]
    """(n_items,); nan for podcasts, as for loudness. In 6/8 the beat is the dotted quarter."""
    key: NDArray[np.int8]
    """(n_items,): 0 is C, 11 is B; -1 for podcasts."""
    minor: NDArray[np.int8]
    """(n_items,): 1 is minor, 0 major; -1 for podcasts."""
    beats_per_bar: NDArray[np.int8]
    """(n_items,): 4, 3 or 6 (6/8); 0 for podcasts."""
    loudness_lufs: NDArray[np.float32]
    """(n_items,) aimed at by the synthesis."""

    def write(self, folder: Path) -> None:
        """Write every array and the notes into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        notes: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                np.save(folder / f"{field.name}.npy", value, allow_pickle=False)
            else:
                notes[field.name] = value
        (folder / _NOTES).write_text(json.dumps(notes), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Truth:
        """Read what `write` wrote; arrays are memory-mapped.

        Raises
        ------
        InputError
            Where the folder holds no truth.
        """
        try:
            notes = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
            arrays = {
                field.name: np.load(folder / f"{field.name}.npy", mmap_mode="r", allow_pickle=False)
                for field in fields(cls)
                if field.name not in notes
            }
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: no truth of a demo world here: {error}") from error
        return cls(**notes, **arrays)

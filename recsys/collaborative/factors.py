"""Placeholder of the trained factors; the real one is written beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.config import CollaborativeConfig

__all__ = ["Factors"]


@dataclass(frozen=True)
class Factors:
    """What a training leaves."""

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    user_biases: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    global_mean: float
    config: CollaborativeConfig

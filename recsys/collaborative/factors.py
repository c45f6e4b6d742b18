"""Placeholder of the trained factors; the real one is written beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_ARRAYS = ("user_factors", "item_factors", "user_biases", "item_biases")

from recsys.bundle import Bundle, BundleWriter
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

    def fold_in(self, evidence: csr_array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return exact user vectors (m, f) and biases (m,) for new rows of evidence."""
        from recsys.collaborative.als import solve

        return solve(
            evidence, self.item_factors, self.item_biases, self.config, global_mean=self.global_mean
        )

    def write(self, writer: BundleWriter) -> None:
        """Store every array under ``collaborative/``."""
        for name in _ARRAYS:
            writer.add(f"collaborative/{name}", getattr(self, name))
        writer.note(
            collaborative={"config": asdict(self.config), "global_mean": self.global_mean}
        )

    @classmethod
    def read(cls, bundle: Bundle) -> Factors:
        """Read what `write` stored."""
        facts = bundle.facts["collaborative"]
        arrays = {name: bundle.array(f"collaborative/{name}") for name in _ARRAYS}
        config = CollaborativeConfig(**facts["config"])
        return cls(**arrays, global_mean=facts["global_mean"], config=config)

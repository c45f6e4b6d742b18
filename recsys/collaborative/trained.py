"""Trained factors where the workers hold them: one handle over blocks.

Enters: finished parts of `recsys.collaborative.als`. Leaves: blocks of a bundle that the workers
write themselves, so that no process holds a whole matrix, or, for one machine, `Factors`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.backend import Backend, Parts
from recsys.bundle import Block, BundleWriter, write_block
from recsys.collaborative.factors import Factors
from recsys.collaborative.shards import Latent
from recsys.config import CollaborativeConfig
from recsys.storage import Folder

__all__ = ["Trained"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """Factors and biases of both sides, in parts; rows in order of the workers."""

    users: Parts
    items: Parts
    """One `Latent` per worker, (n, f) and (n,)."""
    global_mean: float
    feature_map: Floats | None
    """(d, f), as in `Factors`."""
    config: CollaborativeConfig
    drift: Parts | None = None
    """One `Latent` per worker, its vectors as `Factors.item_drift`."""
    drift_edges: NDArray[np.int64] | None = None

    def gather(self, backend: Backend) -> Factors:
        """Bring all of them to the caller."""
        user_factors, user_biases = _joined(backend.gather(self.users))
        item_factors, item_biases = _joined(backend.gather(self.items))
        return Factors(
            user_factors=user_factors,
            item_factors=item_factors,
            user_biases=user_biases,
            item_biases=item_biases,
            global_mean=self.global_mean,
            config=self.config,
            feature_map=self.feature_map,
            item_drift=None if self.drift is None else _joined(backend.gather(self.drift)).factors,
            drift_edges=self.drift_edges,
        )

    def store(self, backend: Backend, path: str) -> dict[str, list[Block]]:
        """Let the workers write the arrays that `Factors.read` reads; return their blocks."""
        arrays: dict[str, list[Block]] = {}
        for side, parts in (("user", self.users), ("item", self.items)):
            blocks = backend.gather(backend.map(_stored, parts, shared=(path,)))
            arrays[f"collaborative/{side}_factors"] = [factors for factors, _ in blocks]
            arrays[f"collaborative/{side}_biases"] = [biases for _, biases in blocks]
        if self.feature_map is not None:
            arrays["collaborative/feature_map"] = [write_block(Folder(path), self.feature_map)]
        if self.drift is not None and self.drift_edges is not None:
            blocks = backend.gather(backend.map(_stored, self.drift, shared=(path,)))
            arrays["collaborative/item_drift"] = [drift for drift, _ in blocks]
            arrays["collaborative/drift_edges"] = [write_block(Folder(path), self.drift_edges)]
        return arrays

    def note(self, writer: BundleWriter) -> None:
        """Keep the rest in a version's manifest."""
        writer.note(collaborative={"global_mean": self.global_mean, "config": asdict(self.config)})


def _joined(parts: list[Latent]) -> Latent:
    if len(parts) == 1:  # no second copy where one worker holds all
        return parts[0]
    factors, biases = zip(*parts, strict=True)
    return Latent(np.concatenate(factors), np.concatenate(biases))


def _stored(latent: Latent, path: str) -> tuple[Block, Block]:
    folder = Folder(path)
    return write_block(folder, latent.factors), write_block(folder, latent.biases)

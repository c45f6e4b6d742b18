"""Groups of listeners: who has a taste in common, and what it is.

Enters: users' factors and, where a version came before, its groups. Leaves: `Segments`, a centre
for each group and a group for each listener, and in words what sets a group apart. Spherical
k-means (Dhillon, Modha 2001) on the directions of the factors. A retraining lies where the version
before lay (`Factors.aligned_to`), so it starts from the centres there and a group keeps its number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.bundle import Bundle, BundleWriter, Models
from recsys.config import CollaborativeConfig
from recsys.ensemble.candidates import positive, unit
from recsys.errors import BundleError, RecsysError

if TYPE_CHECKING:
    from recsys.ensemble.recommender import HybridRecommender

__all__ = [
    "SEGMENT_COLUMNS",
    "Segment",
    "SegmentArtist",
    "Segments",
    "describe_segments",
    "find_segments",
    "former_centres",
]

_SWEEPS = 50
_FEWEST = 25
"""Listeners that a group has on average, at least."""

SEGMENT_COLUMNS = ("group", "listeners", "share", "artists", "terms")
"""Heads of a table of groups."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Segments:
    """A version's groups, by number."""

    centres: Floats
    """(n_groups, f) unit rows."""
    of_user: NDArray[np.int32]
    """(n_users,) group of each listener, -1 for one of whom nothing is known."""

    def write(self, writer: BundleWriter) -> None:
        """Store both arrays under ``segments/``."""
        writer.add("segments/centres", self.centres)
        writer.add("segments/of_user", self.of_user)

    @classmethod
    def read(cls, bundle: Bundle) -> Segments:
        """Read what `write` stored."""
        if "segments/centres" not in bundle:
            raise BundleError(
                f"version {bundle.version} has no groups of listeners; train it with events"
            )
        return cls(bundle.array("segments/centres"), bundle.array("segments/of_user"))


@dataclass(frozen=True)
class SegmentArtist:
    """An artist who sets a group apart."""

    artist_id: str
    name: str
    share: float
    """Of the group, who play them."""


@dataclass(frozen=True)
class Segment:
    """One group in words."""

    number: int
    n_listeners: int
    share: float
    """Of the listeners who are in a group."""
    artists: list[SegmentArtist]
    """Who sets it apart most first."""
    terms: list[str]
    """What is said of such artists."""

    def cells(self) -> list[str]:
        """Return the group as a row under `SEGMENT_COLUMNS`."""
        artists = ", ".join(artist.name for artist in self.artists)
        share = f"{self.share:.1%}"
        return [str(self.number), f"{self.n_listeners:,}", share, artists, ", ".join(self.terms)]


def find_segments(
    user_factors: Floats, n_groups: int, *, seed: int = 0, former: Floats | None = None
) -> Segments:
    """Cut the listeners into groups; those without factors are in none.

    Parameters
    ----------
    user_factors
        (n_users, f) float32.
    n_groups
        Groups at most; fewer where there are few listeners. Ignored where `former` is given.
    former
        (n, f) centres of the version before, in the same basis; a group keeps its number.
    """
    directions = unit(np.asarray(user_factors))
    known = np.flatnonzero(directions.any(axis=1))
    points = directions[known]
    of_user = np.full(len(directions), -1, np.int32)
    if former is None:
        n_groups = max(1, min(n_groups, len(known) // _FEWEST))
        centres = _spread(points, n_groups, np.random.default_rng(seed))
    else:
        centres = np.array(former, np.float32)
    group = np.full(len(points), -1)
    for _ in range(_SWEEPS):
        nearest = np.argmax(points @ centres.T, axis=1)
        if np.array_equal(nearest, group):
            break
        group = nearest
        members = csr_array(
            (np.ones(len(group), np.float32), (group, np.arange(len(group)))),
            shape=(len(centres), len(points)),
        )
        # A group that lost all its listeners keeps its place: they may come back.
        moved = unit(np.asarray(members @ points, np.float32))
        centres = np.where(moved.any(axis=1, keepdims=True), moved, centres)
    of_user[known] = group
    return Segments(centres, of_user)


def former_centres(models: Models, settings: CollaborativeConfig) -> Floats | None:
    """Return the centres that serve, where a training's factors will lie as theirs do."""
    if not (settings.warm_start and models.versions()):
        return None
    try:
        centres = models.open().array("segments/centres")
    except RecsysError:
        return None
    return centres if centres.shape[1] == settings.factors else None


def _spread(points: Floats, n: int, random: np.random.Generator) -> Floats:
    """Return (n, f) points that lie apart (k-means++, Arthur, Vassilvitskii 2007)."""
    if not len(points):
        return np.zeros((n, points.shape[1]), np.float32)
    chosen = [int(random.integers(len(points)))]
    distance = np.full(len(points), np.inf)
    while len(chosen) < n:
        distance = np.minimum(distance, np.maximum(1 - points @ points[chosen[-1]], 0))
        total = distance.sum()
        share = distance / total if total > 0 else None
        chosen.append(int(random.choice(len(points), p=share)))
    return points[chosen].copy()


def describe_segments(
    recommender: HybridRecommender, segments: Segments, *, k: int = 5
) -> list[Segment]:
    """Say of each group that has listeners which artists and terms set it apart.

    An artist counts by p log(p / q): p of the group play them, q of all listeners.
    """
    catalogue, text = recommender.catalogue, recommender.text
    plays = positive(recommender.interactions.evidence)
    items = np.flatnonzero(catalogue.item_artist >= 0)
    of_artist = csr_array(
        (np.ones(len(items), np.int32), (items, catalogue.item_artist[items])),
        shape=(catalogue.n_items, max(catalogue.n_artists, 1)),
    )
    fans = csr_array((plays > 0).astype(np.int32) @ of_artist)
    fans.data[:] = 1
    placed = np.flatnonzero(segments.of_user >= 0)
    group_of = csr_array(
        (np.ones(len(placed), np.int32), (segments.of_user[placed], placed)),
        shape=(len(segments.centres), len(segments.of_user)),
    )
    n_fans = np.asarray((group_of @ fans).toarray(), np.float64)  # (n_groups, n_artists)
    sizes = np.bincount(segments.of_user[placed], minlength=len(segments.centres))
    overall = (n_fans.sum(axis=0) + 1) / (len(placed) + 1)
    described = []
    for number in np.flatnonzero(sizes).tolist():
        share = n_fans[number] / sizes[number]
        telling = share * np.log(np.maximum(share, 1e-12) / overall)
        best = [a for a in np.argsort(-telling, kind="stable")[:k].tolist() if telling[a] > 0]
        terms: list[str] = []
        if text is not None:
            weights = np.maximum(telling, 0)[: catalogue.n_artists].astype(np.float32)
            terms = [term for term, _ in text.terms_of_many(weights, k)]
        described.append(
            Segment(
                number=number,
                n_listeners=int(sizes[number]),
                share=float(sizes[number] / len(placed)),
                artists=[
                    SegmentArtist(catalogue.artists[a], catalogue.artist_name(a), float(share[a]))
                    for a in best
                ],
                terms=terms,
            )
        )
    return described

"""A map of the catalogue: items that the models find alike lie near each other.

Enters: a version. Leaves: for up to 5,000 of its most played items a place in the plane and a
scene. Places are t-SNE's (van der Maaten, Hinton, JMLR 2008) of the models' unit vectors side by
side, weighted as the blend weighs them; scenes are their k-means clusters, named by the editors'
tags that set them apart. Drawn once for a version and kept beside it (``MODELS/maps``), because it
takes seconds.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from threading import Lock, Thread
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsys.serving.problems import NotReadyError
from recsys.storage import Folder

if TYPE_CHECKING:
    from recsys.serving.live import Version

__all__ = ["Chart", "Charts"]

_log = logging.getLogger(__name__)
_MAX_ITEMS = 5_000
_MAX_SCENES = 12
_ITEMS_A_SCENE = 60
_DIMENSIONS = 32
_NAMED_BY = 2


@dataclass(frozen=True)
class Chart:
    """Where the items of one version lie."""

    item_ids: list[str]
    x: list[float]
    """-1 to 1."""
    y: list[float]
    """-1 to 1."""
    scene: list[int]
    """Places in `scenes`."""
    scenes: list[str]


class Charts:
    """Draws a version's chart when it is first asked for, and keeps it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = Lock()
        self._drawing: tuple[str, Future[Chart]] | None = None

    def of(self, version: Version, *, patience_s: float = 5.0) -> Chart:
        """Return the chart of a version.

        Raises
        ------
        NotReadyError
            Where it is still being drawn after `patience_s`.
        """
        with self._lock:
            if self._drawing is None or self._drawing[0] != version.name:
                drawn: Future[Chart] = Future()
                self._drawing = version.name, drawn
                Thread(target=self._draw, args=(version, drawn), name="map", daemon=True).start()
            _, drawn = self._drawing
        try:
            return drawn.result(patience_s)
        except TimeoutError:
            raise NotReadyError("the map is being drawn; ask again in a moment") from None

    def _draw(self, version: Version, drawn: Future[Chart]) -> None:
        from threadpoolctl import threadpool_limits

        try:
            with threadpool_limits(1):  # requests go on meanwhile, and want the other cores
                drawn.set_result(self._read(version))
        except Exception as error:
            with self._lock:  # the next who asks lets it be drawn anew
                if self._drawing == (version.name, drawn):
                    self._drawing = None
            drawn.set_exception(error)

    def _read(self, version: Version) -> Chart:
        file = f"maps/{version.name}.json"
        try:
            return Chart(**json.loads(self._folder.read(file)))
        except (OSError, ValueError, TypeError):
            chart = draw(version)
        try:
            self._folder.write(file, json.dumps(asdict(chart)).encode())
        except OSError as error:  # a disk that is full, or not ours to write
            _log.warning("%s: the map could not be kept (%s)", file, error)
        return chart


def draw(version: Version) -> Chart:
    """Lay out a version's items."""
    recommender = version.recommender
    items = np.flatnonzero(recommender.eligible())
    items = items[np.argsort(-recommender.listeners_of[items], kind="stable")][:_MAX_ITEMS]
    weights = recommender.config.ensemble
    parts = []
    for name, vectors in recommender.spaces.items():
        rows = np.asarray(vectors[items], np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        parts.append(np.sqrt(getattr(weights, name)) * rows / np.where(lengths > 0, lengths, 1))
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((len(items), 0))
    items = items[joined.any(axis=1)]
    joined = joined[joined.any(axis=1)]
    if len(items) < 3:
        ids = [recommender.catalogue.items[int(row)] for row in items]
        zeros = [0.0] * len(ids)
        return Chart(ids, zeros, zeros, [0] * len(ids), ["all"])
    narrow = _principal(joined)
    scene, n_scenes = _scenes(narrow)
    place = _places(narrow)
    return Chart(
        item_ids=[recommender.catalogue.items[int(row)] for row in items],
        x=place[:, 0].round(4).tolist(),
        y=place[:, 1].round(4).tolist(),
        scene=scene.tolist(),
        scenes=_named(version, items, scene, n_scenes),
    )


def _principal(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, at most 32) projections on the leading directions, signs fixed."""
    centred = rows - rows.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    directions = directions[:, ::-1][:, :_DIMENSIONS]
    largest = np.abs(directions).argmax(axis=0)[None]
    return np.asarray(centred @ (directions * np.sign(np.take_along_axis(directions, largest, 0))))


def _places(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    near = min(30.0, (len(rows) - 1) / 3)
    start = rows[:, :2] if rows.shape[1] > 1 else np.column_stack([rows[:, 0], 0 * rows[:, 0]])
    start = 1e-4 * start / max(start[:, 0].std(), 1e-12)
    layout = TSNE(perplexity=near, init=start, max_iter=500, random_state=0, learning_rate="auto")
    place = layout.fit_transform(rows.astype(np.float32))
    place -= place.mean(axis=0)
    return np.asarray(place / np.abs(place).max(), np.float64)


def _scenes(rows: NDArray[np.float64]) -> tuple[NDArray[np.int32], int]:
    from sklearn.cluster import KMeans

    n_scenes = int(np.clip(len(rows) // _ITEMS_A_SCENE, 2, _MAX_SCENES))
    found = KMeans(n_scenes, n_init=4, random_state=0).fit(rows)
    return found.labels_, n_scenes


def _named(
    version: Version, items: NDArray[np.int64], scene: NDArray[np.int32], n_scenes: int
) -> list[str]:
    """Name each scene by the tags that are most over-represented in it."""
    labels = version.recommender.catalogue.labels
    tagged = labels.matrix()[items]  # (n, n_labels)
    if not tagged.shape[1]:
        return [f"scene {number + 1}" for number in range(n_scenes)]
    counts = np.stack([np.asarray(tagged[scene == s].sum(axis=0)) for s in range(n_scenes)])
    expected = counts.sum(axis=0) * np.bincount(scene, minlength=n_scenes)[:, None] / len(items)
    lift = (counts - expected) / np.sqrt(expected + 1)
    names = []
    for number in range(n_scenes):
        best = [int(b) for b in np.argsort(-lift[number])[:_NAMED_BY] if lift[number, b] > 0]
        words = ", ".join(labels.vocabulary[row] for row in best)
        names.append(words or f"scene {number + 1}")
    return names

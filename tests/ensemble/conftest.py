"""A catalogue small enough to know by heart, and a version made of it.

Three scenes lie on three axes: artists a and b are of the first, c of the second, d of the third.
``c1`` and ``c1-again`` are one recording. ``x1`` .. ``x3`` have no artist. ``e1``, ``e2`` are
episodes. Nobody has played ``d1`` or ``d2``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from recsys.audio.model import AudioModel
from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.collaborative.als import train
from recsys.config import CollaborativeConfig, Config
from recsys.data.catalogue import read_catalogue
from recsys.data.collections import read_collections
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.data.interactions import build_interactions, read_events
from recsys.ensemble.recommender import HybridRecommender
from recsys.text.model import TextModel

SCENES = {"a": 0, "b": 0, "c": 1, "d": 2, "x": 1}
ITEMS: list[dict[str, Any]] = [
    *({"item_id": f"a{n}", "artist_id": "a", "title": f"Alpha {n}"} for n in range(1, 5)),
    *({"item_id": f"b{n}", "artist_id": "b", "title": f"Beta {n}"} for n in range(1, 4)),
    *({"item_id": f"c{n}", "artist_id": "c", "title": f"Gamma {n}"} for n in range(1, 4)),
    {"item_id": "c1-again", "artist_id": "c", "title": "Gamma 1 (remaster)"},
    *({"item_id": f"d{n}", "artist_id": "d", "title": f"Delta {n}"} for n in range(1, 3)),
    *({"item_id": f"x{n}", "title": f"Unsigned {n}"} for n in range(1, 4)),
    *({"item_id": f"e{n}", "kind": "episode", "title": f"Talk {n}"} for n in range(1, 3)),
]
for item in ITEMS:
    item["isrc"] = "ISRC-C1" if item["item_id"] in ("c1", "c1-again") else None
ARTISTS = [{"artist_id": id, "name": f"The {id.upper()}s"} for id in "abcd"]
TERMS = ("dreamy", "lo-fi", "loud", "odd")
PLAYS = {
    "ann": {"a1": 5, "a2": 3, "b1": 4},
    "bob": {"a1": 4, "a2": 2, "a3": 3, "b1": 3, "b2": 4},
    "cyd": {"a1": 1, "a3": 2, "b2": 2, "b3": 1},
    "dan": {"c1": 6, "c2": 3, "x1": 4},
    "eve": {"c1": 2, "c2": 4, "c3": 3, "x1": 1, "x2": 5, "x3": 2},
    "pod": {"e1": 9},
    "all": {item["item_id"]: 1 for item in ITEMS if item["item_id"][0] not in "d"},
}
EVENTS: list[dict[str, Any]] = [
    {"user_id": user, "item_id": item, "kind": "stream", "value": float(n)}
    for user, plays in PLAYS.items()
    for item, n in plays.items()
] + [
    {"user_id": "new", "artist_id": "c", "kind": "follow"},
    {"user_id": "not", "item_id": "a1", "kind": "skip"},
]
CONFIG = Config(
    collaborative=CollaborativeConfig(factors=4, regularization=0.5, alpha=5.0, iterations=10)
)

Make = Callable[..., HybridRecommender]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return `make_version` for one folder of models."""
    return partial(make_version, tmp_path)


def make_version(
    folder: Path,
    *,
    events: Sequence[dict[str, Any]] = EVENTS,
    items: Sequence[dict[str, Any]] = ITEMS,
    models: Sequence[str] = ("collaborative", "text", "audio"),
    collections: Sequence[dict[str, Any]] = (),
    **ensemble: Any,
) -> HybridRecommender:
    """Train, activate and open one more version in `folder`; `ensemble` changes its settings."""
    dataset = Dataset(folder / f"dataset{len(list(folder.iterdir()))}")
    with dataset.transaction() as transaction:
        tables = {"items": items, "artists": ARTISTS, "events": events, "collections": collections}
        for table, rows in tables.items():
            if not rows:
                continue
            names = dict.fromkeys(
                name for row in rows for name in row
            )  # of all rows, not the first
            columns = {name: [row.get(name) for row in rows] for name in names}
            transaction.append(table, [pa.table(columns)], source="test", fingerprint=table)
    catalogue = read_catalogue(dataset)
    interactions = build_interactions(
        read_events(dataset, catalogue), catalogue, CONFIG.interactions
    )
    writer = Models(folder / "models").write()
    catalogue.write(writer)
    interactions.write(writer)
    lists = read_collections(dataset, catalogue)
    lists.as_of(interactions.heard, np.ones(catalogue.n_items, bool)).write(writer)
    scene = np.array([SCENES.get(catalogue.items[r][0], 3) for r in range(catalogue.n_items)])
    if "collaborative" in models:
        train(interactions.evidence, CONFIG.collaborative, LocalBackend()).write(writer)
    if "text" in models:
        text_model(catalogue.artists, scene).write(writer)
    if "audio" in models:
        AudioModel(np.eye(4, dtype=np.float32)[scene] * (scene < 3)[:, None]).write(writer)
    settings = replace(CONFIG, ensemble=replace(CONFIG.ensemble, **ensemble))
    writer.note(config=settings.to_dict(), trained=list(models), left_out={})
    writer.commit()
    return HybridRecommender.load(Models(folder / "models").open())


def text_model(artists: Ids, scene: np.ndarray) -> TextModel:
    """Artists a and b are dreamy and lo-fi, c is loud, d is odd; what has no artist is silent."""
    weights = np.zeros((len(artists), len(TERMS)), np.float32)
    for row, artist in enumerate(artists):
        weights[row, {"a": [0, 1], "b": [0, 1], "c": [2], "d": [3]}[artist]] = 1
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    vectors = np.stack([weights[artists.row(a)] for a in "acd"] + [np.zeros(len(TERMS))])
    return TextModel(
        vectors[scene].astype(np.float32),
        weights,
        Ids.from_strings([f"adj\t{term}" for term in TERMS], kind="term"),
        csr_array(weights),
        csr_array((len(artists), len(artists)), dtype=np.float32),
    )


@pytest.fixture(scope="session")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> HybridRecommender:
    """The version of all events, with all three models; not for what writes."""
    return make_version(tmp_path_factory.mktemp("version"))


@pytest.fixture
def events() -> list[dict[str, Any]]:
    """Everything that happened."""
    return EVENTS


@pytest.fixture
def items_until() -> Callable[[str, int], list[dict[str, Any]]]:
    """Return all items, of which one may be played until a time (milliseconds since 1970)."""

    def items(id: str, until_ms: int) -> list[dict[str, Any]]:
        until = datetime.fromtimestamp(until_ms / 1000, UTC)
        return [
            {**item, "available_until": until if item["item_id"] == id else None} for item in ITEMS
        ]

    return items


@pytest.fixture
def plays() -> dict[str, dict[str, int]]:
    """What each listener streamed how often."""
    return PLAYS


@pytest.fixture
def catalogue_items() -> list[dict[str, Any]]:
    """Every item."""
    return ITEMS

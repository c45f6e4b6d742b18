"""A small trained world, and the application that serves it, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.config import Config
from recsys.data.world import make_world
from recsys.ensemble.recommender import HybridRecommender
from recsys.pipeline import build, read_source
from recsys.serving.app import AppArgs, create_app

ODD_ID = "a/b 🎵/similar?x=1#é"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """One trained version of a tiny world."""
    folder = tmp_path_factory.mktemp("world")
    world = make_world(folder, seed=0, scale=0.05)
    with world.dataset.transaction() as transaction:
        known = world.dataset.read("items", ["item_id"])["item_id"][0].as_py()
        users = [ODD_ID, "<b>bold</b>"]
        events = pa.table({"user_id": users, "item_id": [known] * 2, "kind": ["stream"] * 2})
        transaction.append("events", [events], source="odd", fingerprint="odd")
        items = pa.table(
            {
                "item_id": [ODD_ID],
                "title": ["<script>alert(1)</script>\n#EXTINF:-1,forged"],
                "artist_id": [ODD_ID],
            }
        )
        transaction.append("items", [items], source="odd", fingerprint="odd")
    models = Models(folder / "models")
    config = Config().override(["collaborative.factors=8", "collaborative.iterations=3"])
    build(read_source(world.dataset), config, LocalBackend(), models)
    return models


@pytest.fixture(scope="session")
def recommender(models: Models) -> HybridRecommender:
    """What the server should answer from."""
    return HybridRecommender.load(models.open())


@pytest.fixture(scope="session")
def app(models: Models) -> FastAPI:
    """The application."""
    return create_app(AppArgs(require_keys=False, models=models.folder.path, max_k=100))


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the running application; faults of the server become answers."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def user(recommender: HybridRecommender) -> str:
    """A listener with a history."""
    plays = recommender.interactions.plays
    return recommender.catalogue.users[int((plays.indptr[1:] - plays.indptr[:-1]).argmax())]

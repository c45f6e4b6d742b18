"""A small trained world, and the application that serves it, in this process or in another."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

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
from recsys.serving.local import free_port

STARTED_S = 240
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


Start = Callable[..., AbstractContextManager[tuple[subprocess.Popen[str], str]]]


@pytest.fixture(scope="session")
def start_server() -> Start:
    """Return a function that runs `recsys serve MODELS OPTIONS` for the length of a block.

    The block gets the process, which leads a session of its own, and the address.
    """

    @contextmanager
    def started(models: Models, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
        command = [sys.executable, "-m", "recsys", "serve", models.folder.path, *options]
        process = subprocess.Popen(
            [*command, "--port", str(free_port())],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        )
        assert process.stdout is not None
        too_late = threading.Timer(STARTED_S, process.kill)
        too_late.start()
        with process, process.stdout:
            try:
                words = process.stdout.readline().split()
                assert words[:2] == ["listening", "on"], (words, process.poll())
                too_late.cancel()
                yield process, words[2]
            finally:
                too_late.cancel()
                if process.poll() is None:
                    process.terminate()

    return started

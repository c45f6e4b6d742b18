"""The version that answers follows ACTIVE, and a version that cannot be loaded changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
from fastapi.testclient import TestClient

from recsys.bundle import Bundle, Models
from recsys.serving.app import AppArgs, create_app
from recsys.serving.live import Live, Version
from recsys.serving.problems import NotReadyError

PATIENCE_S = 20


@pytest.fixture
def own_models(models: Models, tmp_path: Path) -> Models:
    """A copy of the trained versions that a test may break."""
    shutil.copytree(models.folder.path, tmp_path / "models")
    return Models(tmp_path / "models")


def copy_version(models: Models, *, activate: bool = False) -> str:
    """Commit the active version once more under a new name."""
    source, writer = models.open(), models.write()
    writer.arrays, writer.facts = source.arrays, dict(source.facts)
    return writer.commit(activate=activate)


def damage(models: Models, version: str) -> None:
    """Cut the manifest of a version in half."""
    file = Path(models.folder.locate(f"versions/{version}/manifest.json"))
    file.write_bytes(file.read_bytes()[:200])


@pytest.fixture
def live(own_models: Models) -> Iterator[Live]:
    """Follows by hand: the thread polls too rarely to interfere."""
    live = Live(own_models, poll_s=3600, retry_s=0)
    live.start()
    yield live
    live.stop()


def test_a_new_version_answers_after_activation(live: Live) -> None:
    first = live.version.name
    second = copy_version(live.models)
    live.refresh()
    assert live.version.name == first
    live.models.activate(second)
    live.refresh()
    assert live.version.name == second
    live.models.rollback()
    live.refresh()
    assert live.version.name == first


def test_a_damaged_version_leaves_the_old_one_answering(live: Live) -> None:
    first = live.version
    broken = copy_version(live.models, activate=True)
    damage(live.models, broken)
    live.refresh()
    assert live.version is first
    assert live.problem is not None
    assert broken in live.problem and "manifest.json" in live.problem
    assert f"{first.name} goes on" in live.problem
    live.models.activate(first.name)
    live.refresh()
    assert live.problem is None


def test_a_deleted_active_file_leaves_the_old_one_answering(live: Live) -> None:
    first = live.version
    live.models.folder.delete("ACTIVE")
    live.refresh()
    assert live.version is first
    assert live.problem is not None and "no active version" in live.problem


def test_a_failed_load_is_not_repeated_at_every_look(
    own_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []

    def load(bundle: Bundle) -> Version:
        loads.append(bundle.version)
        raise OSError("disk")

    monkeypatch.setattr(Version, "load", load)
    live = Live(own_models, retry_s=3600)
    live.refresh()
    live.refresh()
    assert len(loads) == 1
    with pytest.raises(NotReadyError, match="disk"):
        _ = live.version


def test_without_a_version_the_server_is_live_but_not_ready(tmp_path: Path) -> None:
    with TestClient(
        create_app(AppArgs(require_keys=False, models=str(tmp_path / "none")))
    ) as client:
        assert client.get("/v1/health/live").status_code == 200
        answer = client.get("/v1/health/ready")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["type"] == "urn:recsys:problem:not-ready"
        assert "recsys train" in answer.json()["detail"]
        assert client.get("/v1/users/x/recommendations").status_code == 503


def test_no_request_fails_while_versions_change(own_models: Models, user: str) -> None:
    """Activation under load: every answer is whole, and the new version comes to answer."""
    second = copy_version(own_models)
    first = own_models.active()
    app = create_app(AppArgs(require_keys=False, models=own_models.folder.path), poll_s=0.01)
    answers: list[Any] = []
    stop = Event()
    with TestClient(app, raise_server_exceptions=False) as client:

        def load() -> None:
            while not stop.is_set():
                answers.append(client.get(f"/v1/users/{user}/recommendations?k=3"))

        worker = Thread(target=load)
        worker.start()
        try:
            for version in (second, first, second):
                own_models.activate(version)
                deadline = monotonic() + PATIENCE_S
                while client.get("/v1/models").json()["serving"] != version:
                    assert monotonic() < deadline, "the server must follow ACTIVE"
        finally:
            stop.set()
            worker.join()
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["version"] for answer in answers} <= {first, second}
    bodies = {str(answer.json()["items"]) for answer in answers}
    assert len(bodies) == 1, "equal versions must give equal lists"

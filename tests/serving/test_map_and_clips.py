"""The map lays alike items together; a clip is what the dataset names, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from recsys.bundle import Models
from recsys.data.dataset import Dataset
from recsys.ensemble.recommender import HybridRecommender
from recsys.serving.app import AppArgs, create_app
from recsys.serving.chart import Charts, draw
from recsys.serving.clips import Clips
from recsys.serving.live import Version
from recsys.storage import Folder


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    """Items whose files lie here, there, nowhere, or where nobody may look."""
    (tmp_path / "home" / "audio").mkdir(parents=True)
    (tmp_path / "home" / "audio" / "a.flac").write_bytes(b"fLaC")
    (tmp_path / "secret.flac").write_bytes(b"secret")
    (tmp_path / "home" / "passwd").write_bytes(b"secret")
    uris = {
        "good": "../audio/a.flac",
        "gone": "../audio/b.flac",
        "outside": "../../secret.flac",
        "absolute": str(tmp_path / "secret.flac"),
        "no-sound": "../passwd",
        "elsewhere": "s3://bucket/a.flac",
        "none": None,
    }
    dataset = Dataset(tmp_path / "home" / "dataset")
    items = pa.table({"item_id": list(uris), "audio_uri": pa.array(uris.values(), pa.string())})
    with dataset.transaction() as transaction:
        transaction.append("items", [items], source="test", fingerprint="test")
    return Clips(dataset)


def test_only_sounds_beside_the_dataset_are_handed_out(clips: Clips, tmp_path: Path) -> None:
    found = clips.find("good")
    assert found == ((tmp_path / "home" / "audio" / "a.flac").resolve(), "audio/flac")
    for item in ("gone", "outside", "absolute", "no-sound", "elsewhere", "none", "../../secret"):
        assert clips.find(item) is None, item


def test_a_server_without_a_dataset_has_no_clips(client: TestClient, user: str) -> None:
    item = client.get(f"/v1/users/{user}/recommendations?k=1").json()["items"][0]["item_id"]
    answer = client.get(f"/v1/items/{item}/audio")
    assert answer.status_code == 404 and "recording" in answer.json()["detail"]
    assert client.get("/v1/items/..%2F..%2Fetc%2Fpasswd/audio").status_code == 404


def test_what_is_alike_lies_together(models: Models) -> None:
    version = Version.load(models.open())
    chart = draw(version)
    recommender = version.recommender
    assert len(chart.item_ids) == len(set(chart.item_ids)) > 20
    place = np.column_stack([chart.x, chart.y])
    assert np.abs(place).max() <= 1
    assert set(chart.scene) == set(range(len(chart.scenes)))
    rows = recommender.catalogue.items.rows(chart.item_ids)
    distance = np.linalg.norm(place[:, None] - place[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    text = np.asarray(recommender.spaces["text"][rows])
    cosines = text @ text.T
    neighbours = np.take_along_axis(cosines, np.argsort(distance, axis=1)[:, :3], axis=1)
    assert neighbours.mean() > cosines.mean() + 0.04
    again = draw(version)
    assert (again.x, again.scene) == (chart.x, chart.scene)


def test_a_map_that_cannot_be_kept_is_shown_all_the_same(models: Models, tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("a file where the folder should be")
    version = Version.load(models.open())
    assert Charts(Folder(tmp_path)).of(version, patience_s=120).item_ids


def test_the_map_is_drawn_once_and_kept(models: Models, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(models.folder.path, tmp_path / "models")
    args = AppArgs(require_keys=False, models=str(tmp_path / "models"))
    with TestClient(create_app(args)) as client:
        answer = client.get("/v1/map")
        while answer.status_code == 503:  # a busy machine draws slowly
            assert answer.headers["retry-after"] == "1"
            answer = client.get("/v1/map")
        assert answer.status_code == 200
        assert answer.json()["items"][0]["title"]
        assert client.get("/v1/map").json() == answer.json()
    (kept,) = (tmp_path / "models" / "maps").iterdir()
    assert kept.stem == HybridRecommender.load(models.open()).version

"""Limits, tags, compression, request numbers, metrics: what every request passes."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recsys.bundle import Models
from recsys.ensemble.recommender import HybridRecommender, Recommendation
from recsys.serving.app import AppArgs, create_app


def test_a_list_has_a_tag_and_is_sent_once(client: TestClient, user: str) -> None:
    path = f"/v1/users/{user}/recommendations"
    first = client.get(path)
    tag = first.headers["etag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    assert client.get(path + "?k=3", headers={"If-None-Match": tag}).status_code == 200
    several = client.get(path, headers={"If-None-Match": f'"x", {tag}'})
    assert several.status_code == 304


def test_long_answers_are_compressed_where_wanted(client: TestClient, user: str) -> None:
    path = f"/v1/users/{user}/recommendations"
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
    assert packed.headers["etag"] == plain.headers["etag"]


def test_requests_are_numbered(client: TestClient) -> None:
    given = client.get("/v1/health/live", headers={"X-Request-ID": "from-a-client.1"})
    assert given.headers["x-request-id"] == "from-a-client.1"
    forged = client.get("/v1/health/live", headers={"X-Request-ID": 'a b", "status": 200'})
    assert len(forged.headers["x-request-id"]) == 32


def test_a_large_body_is_refused(client: TestClient) -> None:
    for content in (b"x" * 1_000_001, (b"x" * 100_000 for _ in range(11))):
        answer = client.post("/v1/events", content=content)
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:recsys:problem:too-large"


def test_pages_elsewhere_may_ask_only_where_configured(
    client: TestClient, models: Models, tmp_path: Path
) -> None:
    head = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/v1/users", headers=head).headers
    shutil.copytree(models.folder.path, tmp_path / "models")
    args = AppArgs(
        require_keys=False, models=str(tmp_path / "models"), cors_origins=["https://example.org"]
    )
    with TestClient(create_app(args)) as other:
        allowed = other.get("/v1/users", headers=head)
        assert allowed.headers["access-control-allow-origin"] == "https://example.org"
        stranger = other.get("/v1/users", headers={"Origin": "https://example.com"})
        assert "access-control-allow-origin" not in stranger.headers


def test_too_many_requests_are_told_to_come_back(models: Models, tmp_path: Path) -> None:
    shutil.copytree(models.folder.path, tmp_path / "models")
    args = AppArgs(require_keys=False, models=str(tmp_path / "models"), max_requests=2)
    app: FastAPI = create_app(args)
    entered, release = threading.Semaphore(0), threading.Event()

    @app.get("/slow")
    def slow() -> None:
        entered.release()
        release.wait(60)

    with TestClient(app) as client:
        threads = [threading.Thread(target=client.get, args=("/slow",)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in threads:
                assert entered.acquire(timeout=60)
            refused = client.get("/v1/users")
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["type"] == "urn:recsys:problem:overloaded"
            assert client.get("/v1/health/live").status_code == 200
        finally:
            release.set()
            for thread in threads:
                thread.join()
        assert client.get("/v1/users").status_code == 200


def test_those_who_want_lists_take_turns(
    models: Models, tmp_path: Path, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two lists are made at once, the third waits, and who wants none waits for nobody."""
    shutil.copytree(models.folder.path, tmp_path / "models")
    app = create_app(AppArgs(require_keys=False, models=str(tmp_path / "models")))
    entered, release = threading.Semaphore(0), threading.Event()
    recommend = HybridRecommender.recommend

    def slow(self: HybridRecommender, *args: Any, **kwargs: Any) -> list[Recommendation]:
        entered.release()
        release.wait(60)
        return recommend(self, *args, **kwargs)

    told: list[int] = []
    with TestClient(app) as client:
        monkeypatch.setattr(HybridRecommender, "recommend", slow)
        path = f"/v1/users/{user}/recommendations"
        threads = [
            threading.Thread(target=lambda: told.append(client.get(path).status_code))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        try:
            assert entered.acquire(timeout=60) and entered.acquire(timeout=60)
            waiting = app.state.desk.makers._work_queue.qsize
            deadline = time.monotonic() + 60
            while waiting() < 1:
                assert time.monotonic() < deadline, "nobody waits"
                time.sleep(0.01)
            assert not entered.acquire(blocking=False)
            assert client.get("/v1/users").status_code == 200
        finally:
            release.set()
            for thread in threads:
                thread.join()
    assert told == [200] * 3


def test_the_numbers_are_there(client: TestClient, user: str) -> None:
    client.get(f"/v1/users/{user}/recommendations")
    client.get(f"/v1/users/{user}/discover-weekly")
    client.get(f"/v1/users/{user}/discover-weekly")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for name in (
        'recsys_requests_total{method="GET",route="/v1/users/{user_id}/recommendations",status="200"}',
        'recsys_stage_seconds_count{stage="recommend"}',
        'recsys_stage_seconds_count{stage="store"}',
        'recsys_cache_total{result="hit"}',
        'recsys_listed_by_source_total{source="collaborative"}',
        "recsys_listed_items_total",
        "recsys_listed_cold_total",
        "recsys_fallbacks_total",
        "recsys_served_coverage",
        "recsys_version_info{version=",
    ):
        assert name in answer.text, name
    assert user not in answer.text


def test_the_dashboard_draws_numbers_that_exist(client: TestClient) -> None:
    import re

    text = Path(__file__).parents[2].joinpath("docs/grafana.json").read_text(encoding="utf-8")
    json.loads(text)
    drawn = set(re.findall(r"recsys_\w+", text))
    known = set(re.findall(r"^# TYPE (recsys_\w+)", client.get("/metrics").text, re.MULTILINE))
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "count", "sum")}
    assert drawn and drawn <= known, drawn - known


@pytest.mark.parametrize("body", [b"\xff\xfe", b"{", b""])
def test_a_malformed_body_is_a_problem(client: TestClient, body: bytes) -> None:
    answer: httpx2.Response = client.post(
        "/v1/events", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"

"""Whatever a request says wrongly is answered by a problem of RFC 9457, never by a 500."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.bundle import Models
from recsys.serving.app import AppArgs, create_app
from recsys.serving.problems import Problem


def problem(answer: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    Problem.model_validate(body)
    assert body["type"] == f"urn:recsys:problem:{name}"
    assert body["status"] == status
    return body


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users/{}/recommendations",
        "/v1/users/{}/discover-weekly",
        "/v1/users/{}/similar",
        "/v1/items/{}",
        "/v1/items/{}/similar",
        "/v1/artists/{}",
        "/v1/artists/{}/related",
    ],
)
@pytest.mark.parametrize("id", ["", "n%FFbody", "%00", "x" * 10_000, "🎵" * 1000, "..%2F..%2Fetc"])
def test_unknown_ids_are_404(client: TestClient, path: str, id: str) -> None:
    problem(client.get(path.format(id)), 404, "unknown-id")


def test_an_unknown_id_names_the_nearest_known(client: TestClient, user: str) -> None:
    body = problem(client.get(f"/v1/users/{user}x/recommendations"), 404, "unknown-id")
    assert user in body["nearest"]
    assert f"no user '{user}x'; nearest known: " in body["detail"]
    posted = client.post("/v1/playlists", json={"seeds": ["t0000"]})
    near = problem(posted, 404, "unknown-id")["nearest"]
    assert near and all(id.startswith("t000") for id in near)


@pytest.mark.parametrize("k", [0, -1, 101, 1_000_000, 10**30])
def test_a_list_of_impossible_length_names_the_range(client: TestClient, user: str, k: int) -> None:
    for path in (
        f"/v1/users/{user}/recommendations",
        f"/v1/users/{user}/similar",
        "/v1/search?q=a",
    ):
        answer = client.get(path + ("&" if "?" in path else "?") + f"k={k}")
        assert "1 to 100" in problem(answer, 422, "invalid-request")["detail"]
    answer = client.post("/v1/playlists", json={"seeds": ["t00000"], "k": k})
    assert "1 to 100" in problem(answer, 422, "invalid-request")["detail"]


@pytest.mark.parametrize(
    "query, told",
    [
        ("k=many", "query.k"),
        ("k=1.5", "query.k"),
        ("kind=opera", "podcast, track"),
        ("weights=text", "name:number"),
        ("weights=text:much", "name:number"),
        ("weights=", "name:number"),
        ("weights=smell:1", "collaborative, text, audio"),
        ("weights=text:-1", "text"),
        ("weights=text:nan", "text"),
        ("weights=text:inf", "text"),
        ("tempo=fast", "160-180"),
        ("tempo=180-160", "tempo"),
        ("tempo=nan-180", "tempo"),
        ("context=swimming", "context"),
    ],
)
def test_unusable_parameters_say_what_is_wanted(
    client: TestClient, user: str, query: str, told: str
) -> None:
    answer = client.get(f"/v1/users/{user}/recommendations?{query}")
    assert told in problem(answer, 422, "invalid-request")["detail"]


def test_a_model_that_was_not_trained_says_which_were(client: TestClient) -> None:
    answer = client.get("/v1/items/t00000/similar?by=audio")
    assert "collaborative, text" in problem(answer, 422, "invalid-request")["detail"]
    problem(client.get("/v1/items/t00000/similar?by=smell"), 422, "invalid-request")
    problem(client.get("/v1/users/u00000/discover-weekly?format=wav"), 422, "invalid-request")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"history": []}',
        b'{"history": [{"item_id": 5}]}',
        b'{"history": [{"item_id": "t00000", "plays": 0}]}',
        b'{"history": [{"item_id": "t00000", "plays": -3}]}',
        b'{"history": [{"item_id": "t00000", "plays": NaN}]}',
        b'{"history": [{"item_id": "t00000", "plays": 1e300}]}',
        b'{"history": [{"item_id": "t00000"}], "misspelt": 1}',
        b'{"history": [{"item_id": "t00000"}], "weights": {"text": -1}}',
        b'{"history": [{"item_id": "t00000"}], "weights": {"text": NaN}}',
        b'{"history": [{"item_id": "' + b"x" * 10_001 + b'"}]}',
        b'{"history": [' + b'{"item_id": "t00000"},' * 1000 + b'{"item_id": "t00000"}]}',
        b'{"history": [{"item_id": "\\ud800"}]}',
        b'{"history": [{"item_id": "\xff"}]}',
        b'{"history": [{"item_id": "t00000"}], "weights": {"\\ud800": 1}}',
        b'{"history": [{"item_id": "t00000"}], "kind": "\\ud800"}',
    ],
)
def test_unusable_bodies_are_refused(client: TestClient, body: bytes) -> None:
    answer = client.post(
        "/v1/recommendations", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    Problem.model_validate(answer.json())


def test_what_was_sent_is_not_echoed_by_validation(client: TestClient) -> None:
    body = {"history": [{"item_id": 5, "plays": "secret"}]}
    assert "secret" not in client.post("/v1/recommendations", json=body).text


def test_unknown_addresses_and_methods(client: TestClient) -> None:
    problem(client.get("/v2/nothing"), 404, "no-such-route")
    problem(client.delete("/v1/search"), 405, "method-not-allowed")


def test_a_disk_that_takes_nothing_is_told_and_asked_again(
    models: Models, user: str, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models.folder.path, folder, ignore=shutil.ignore_patterns("weekly"))
    (folder / "weekly").write_text("where a folder must be made")
    path = f"/v1/users/{user}/discover-weekly"
    args = AppArgs(require_keys=False, models=str(folder))
    with TestClient(create_app(args), raise_server_exceptions=False) as client:
        answer = client.get(path)
        assert str(folder) not in problem(answer, 503, "storage-unavailable")["detail"]
        assert answer.headers["retry-after"] == "1"
        (folder / "weekly").unlink()
        assert client.get(path).status_code == 200


def test_a_fault_of_ours_hides_its_insides(app: FastAPI) -> None:
    def broken() -> None:
        raise RuntimeError("a secret path")

    app.add_api_route("/broken", broken, include_in_schema=False)
    answer = TestClient(app, raise_server_exceptions=False).get("/broken")
    assert "secret" not in problem(answer, 500, "internal")["detail"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    id=st.text(max_size=40),
    suffix=st.sampled_from(["", "/similar", "/recommendations", "/related", "/x"]),
    room=st.sampled_from(["users", "items", "artists"]),
    query=st.dictionaries(
        st.sampled_from(["k", "by", "kind", "weights", "format", "after", "limit", "q"]),
        st.text(max_size=12) | st.integers().map(str),
        max_size=3,
    ),
)
def test_no_request_makes_the_server_fail(
    client: TestClient, id: str, suffix: str, room: str, query: dict[str, str]
) -> None:
    path = quote(id, safe="", errors="surrogatepass")
    for address in (f"/v1/{room}/{path}{suffix}", "/v1/users", "/v1/search"):
        encoded = {k: v.encode("utf-8", "surrogatepass") for k, v in query.items()}
        answer = client.get(address, params=encoded)
        assert answer.status_code < 500, (address, query, answer.text)
        if answer.status_code >= 400:
            Problem.model_validate(answer.json())


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("city=HK", "unknown parameter 'city'; "),
        ("wieghts=text:1", "unknown parameter 'wieghts'; did you mean weights?"),
    ],
)
def test_a_parameter_without_effect_is_refused(
    client: TestClient, user: str, query: str, said: str
) -> None:
    answer = client.get(f"/v1/users/{user}/recommendations?{query}")
    assert problem(answer, 422, "invalid-request")["detail"].startswith(said)

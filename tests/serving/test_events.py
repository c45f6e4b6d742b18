"""Live events: durable, exact, on every replica at once; private ones and deleted listeners."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from recsys.bundle import Models
from recsys.data.tombstones import tombstone
from recsys.ensemble.recommender import HybridRecommender
from recsys.serving.app import AppArgs, create_app
from recsys.serving.haproxy import DELIVERY

NEW = "someone-new"


@pytest.fixture
def own(models: Models, tmp_path: Path) -> Models:
    """A copy of the versions that a test may change."""
    shutil.copytree(models.folder.path, tmp_path / "models")
    return Models(tmp_path / "models")


@pytest.fixture
def replicas(own: Models, store_url: str, tmp_path: Path) -> Iterator[list[TestClient]]:
    """Two applications on the same versions and the same store."""
    args = AppArgs(
        require_keys=False,
        models=own.folder.path,
        events=store_url,
        max_k=100,
        access_log=str(tmp_path / "access.log"),
    )
    with ExitStack() as stack:
        made = (TestClient(create_app(args), raise_server_exceptions=False) for _ in range(2))
        yield [stack.enter_context(client) for client in made]


def stream(user_id: str, item_id: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "item_id": item_id, "kind": "stream", **more}


def send(client: TestClient, *events: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/events", json=list(events))
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body


def listed(client: TestClient, user_id: str, k: int = 30) -> list[str]:
    answer = client.get(f"/v1/users/{quote(user_id, safe='')}/recommendations?k={k}")
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_the_next_list_counts_it_on_every_replica(replicas: list[TestClient], user: str) -> None:
    one, other = replicas
    before = listed(one, user)
    assert listed(other, user) == before
    assert send(one, stream(user, before[0]))["accepted"] == 1
    after = listed(other, user)
    assert before[0] not in after
    assert listed(one, user) == after
    skipped = send(other, {"user_id": user, "item_id": after[0], "kind": "skip"})
    assert skipped["accepted"] == 1
    assert after[0] not in listed(one, user)


def test_a_new_listener_is_served_from_the_first_event(
    replicas: list[TestClient], recommender: HybridRecommender
) -> None:
    one, other = replicas
    assert one.get(f"/v1/users/{NEW}/recommendations").status_code == 404
    played = [listed(one, recommender.catalogue.users[n], 1)[0] for n in range(3)]
    for item in dict.fromkeys(played):
        send(one, stream(NEW, item))
    got = other.get(f"/v1/users/{NEW}/recommendations?k=10").json()["items"]
    history = {"history": [{"item_id": item} for item in dict.fromkeys(played)], "k": 10}
    wanted = one.post("/v1/recommendations", json=history).json()["items"]
    assert [item["item_id"] for item in got] == [item["item_id"] for item in wanted]
    assert any(item["signals"]["collaborative"] > 0 for item in got)
    week = other.get(f"/v1/users/{NEW}/discover-weekly").json()
    assert week["items"] and not set(played) & {item["item_id"] for item in week["items"]}
    assert one.get(f"/v1/users/{NEW}/similar").json()["similar"] == []


def test_the_same_event_id_changes_nothing(replicas: list[TestClient], user: str) -> None:
    one, other = replicas
    item = listed(one, user)[0]
    first = send(one, stream(user, item, event_id="once"))
    assert (first["accepted"], first["duplicates"]) == (1, 0)
    after = listed(one, user)
    again = send(other, stream(user, after[0], event_id="once"))
    assert (again["accepted"], again["duplicates"]) == (0, 1)
    assert listed(other, user) == after


def test_events_without_an_id_are_new_but_where_the_proxy_sends_them_again(
    replicas: list[TestClient], user: str
) -> None:
    one, other = replicas
    event = stream(user, listed(one, user)[0])
    assert [send(client, event)["accepted"] for client in (one, one, other)] == [1, 1, 1]
    sent = {"json": [event, event], "headers": {DELIVERY: "7"}}
    first, again = (client.post("/v1/events", **sent).json() for client in (one, other))
    assert (first["accepted"], again["accepted"], again["duplicates"]) == (2, 0, 2)
    assert first["event_ids"] == again["event_ids"] and len(set(first["event_ids"])) == 2


def test_what_became_of_events_is_counted(replicas: list[TestClient], user: str) -> None:
    one, _ = replicas
    event = stream(user, listed(one, user)[0], event_id="counted")
    send(one, event, event, event | {"private": True})
    told = one.get("/metrics").text
    for result, n in (("accepted", 1), ("duplicates", 1), ("private", 1), ("deleted", 0)):
        assert f'recsys_events_total{{result="{result}"}} {n}.0' in told


def test_one_event_may_stand_alone(replicas: list[TestClient], user: str) -> None:
    answer = replicas[0].post("/v1/events", json=stream(user, "t00000"))
    assert answer.status_code == 202 and answer.json()["accepted"] == 1


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"kind": "stream"}, "user_id"),
        ({"user_id": "u", "kind": "stream"}, "item_id"),
        ({"user_id": "u", "kind": "follow"}, "artist_id"),
        ({"user_id": "u", "item_id": "i", "kind": "sing"}, "kind"),
        ({"user_id": "u", "item_id": "i", "kind": "stream", "value": 0}, "value"),
        ({"user_id": "u", "item_id": "i", "kind": "stream", "value": -1}, "value"),
        ({"user_id": "u", "item_id": "i", "kind": "stream", "at": "soon"}, "at"),
        ({"user_id": "u", "item_id": "i", "kind": "stream", "at": "2999-01-01T00:00:00Z"}, "at"),
        ({"user_id": "u\u0007", "item_id": "i", "kind": "stream"}, "user_id"),
        ({"user_id": "u" * 1025, "item_id": "i", "kind": "stream"}, "user_id"),
        ({"user_id": "u", "item_id": "i", "kind": "stream", "privat": True}, "privat"),
    ],
)
def test_an_unusable_event_keeps_the_whole_request_out(
    client: TestClient, event: dict[str, Any], told: str
) -> None:
    good = stream("somebody-unheard-of", "t00000")
    answer = client.post("/v1/events", json=[good, event])
    assert answer.status_code == 422, answer.text
    assert told in answer.json()["detail"]
    # Of several events the place is told, without how it was read.
    assert {fault["where"] for fault in answer.json().get("errors", [])} <= {f"body.1.{told}"}
    assert client.get("/v1/users/somebody-unheard-of/recommendations").status_code == 404


def test_more_events_than_allowed_are_refused(client: TestClient) -> None:
    answer = client.post("/v1/events", json=[stream("u", "i")] * 1001)
    assert answer.status_code == 422


SECRET_USER, SECRET_ITEM = "private-listener-7f3a", "private-item-91bc"


@pytest.mark.parametrize("name", ["private", "is_private", "private_session", "incognito"])
def test_a_private_event_leaves_no_trace(
    own: Models, user: str, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    args = AppArgs(
        require_keys=False, models=own.folder.path, access_log=str(tmp_path / "access.log")
    )
    with TestClient(create_app(args)) as client:
        before = listed(client, user)
        hidden = [
            {**stream(SECRET_USER, SECRET_ITEM), name: True},
            {**stream(user, before[0], event_id=f"{SECRET_ITEM}-id"), name: "yes"},
            {name: 1, "user_id": SECRET_USER, "kind": "nonsense", "at": f"{SECRET_ITEM}"},
            {name: [], "user_id": SECRET_USER},
        ]
        told = send(client, *hidden, stream(user, "t00000", event_id="public", private=False))
        assert told == {
            "accepted": 1,
            "duplicates": 0,
            "private": 4,
            "deleted": 0,
            "event_ids": ["public"],
        }
        after = listed(client, user)
        assert before[0] in after, "a private event must not count"
        assert client.get(f"/v1/users/{SECRET_USER}/recommendations").status_code == 404
        # A fault beside a private event must not bring it into an answer or a log.
        refused = client.post("/v1/events", json=[*hidden, {"user_id": "u"}])
        assert refused.status_code == 422
        assert SECRET_USER not in refused.text
        answers = [json.dumps(told), refused.text, client.get("/metrics").text]
        answers.append(client.get("/v1/models").text)
    said = capfd.readouterr()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("recsys")]
    logs = [said.out, said.err, *ours, (tmp_path / "access.log").read_text()]
    files = [p for p in (tmp_path / "models").rglob("*") if p.is_file()]
    assert any(b"t00000" in file.read_bytes() for file in files if "events.db" in file.name)
    for secret in (SECRET_USER, SECRET_ITEM):
        assert all(secret not in text for text in (*answers, *logs))
        assert all(secret.encode() not in file.read_bytes() for file in files)


def test_logs_name_no_listener(replicas: list[TestClient], user: str, tmp_path: Path) -> None:
    listed(replicas[0], user)
    send(replicas[0], stream(user, "t00000"))
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    assert {line["route"] for line in lines} >= {
        "/v1/users/{user_id}/recommendations",
        "/v1/events",
    }
    assert user not in (tmp_path / "access.log").read_text()


def test_a_deleted_listener_is_gone_at_once_everywhere(
    replicas: list[TestClient], user: str, own: Models
) -> None:
    one, other = replicas
    send(one, stream(user, listed(one, user)[0]))
    weekly = other.get(f"/v1/users/{user}/discover-weekly")
    assert weekly.status_code == 200
    near = [u["id"] for u in one.get(f"/v1/users/{user}/similar?k=5").json()["similar"]]
    neighbour = near[0]
    receipt = one.delete(f"/v1/users/{user}")
    assert receipt.status_code == 200
    assert receipt.json()["done"][0] == "masked in every version and replica"
    for client in replicas:
        for path in ("recommendations", "discover-weekly", "similar"):
            answer = client.get(f"/v1/users/{user}/{path}")
            assert answer.status_code == 404, path
            assert user not in answer.json()["nearest"]
        assert user not in client.get(f"/v1/users/{quote(neighbour, safe='')}/similar?k=20").text
        assert user not in client.get("/v1/users?limit=1000").text
    assert send(other, stream(user, "t00000"))["deleted"] == 1
    assert other.get(f"/v1/users/{user}/recommendations").status_code == 404
    again = one.delete(f"/v1/users/{user}").json()
    assert any("dataset" in part for part in again["pending"])
    assert not list(Path(own.folder.path).glob(f"weekly/*/{tombstone(user)}.json"))
    assert one.delete("/v1/users/never-heard-of").status_code == 404

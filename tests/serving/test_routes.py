"""Every address answers what the recommender says, in the documented shape."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from recsys.bundle import Models
from recsys.data.catalogue import NO_TIME
from recsys.ensemble.playlist import go_on
from recsys.ensemble.recommender import HybridRecommender
from recsys.ensemble.segments import Segments, describe_segments
from recsys.serving import schemas

NOT_JSON = {"/metrics", "/v1/items/{item_id}/audio"}
ODD_ID = "a/b 🎵/similar?x=1#é"


def get(client: TestClient, path: str, **parameters: Any) -> dict[str, Any]:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def encoded(id: str) -> str:
    return quote(id, safe="")


@pytest.fixture(scope="module")
def item_id(client: TestClient, user: str) -> str:
    return str(get(client, f"/v1/users/{user}/recommendations", k=1)["items"][0]["item_id"])


def test_health(client: TestClient) -> None:
    assert get(client, "/v1/health/live") == {"status": "live"}
    assert get(client, "/v1/health/ready") == {"status": "ready"}


def test_recommendations_are_those_of_the_recommender(
    client: TestClient, recommender: HybridRecommender, user: str
) -> None:
    body = get(client, f"/v1/users/{user}/recommendations", k=5)
    wanted = [one._asdict() for one in recommender.recommend(user, 5)]
    assert body == {"user_id": user, "version": recommender.version, "items": wanted}
    assert len(wanted) == 5
    for item in body["items"]:
        assert sum(item["signals"].values()) == pytest.approx(item["score"])


def test_nothing_heard_is_recommended(
    client: TestClient, recommender: HybridRecommender, user: str
) -> None:
    catalogue, heard = recommender.catalogue, recommender.interactions.heard
    row = catalogue.users.row(user)
    known = {catalogue.items[i] for i in heard.indices[heard.indptr[row] : heard.indptr[row + 1]]}
    listed = get(client, f"/v1/users/{user}/recommendations", k=100)["items"]
    assert known and listed
    assert not known & {item["item_id"] for item in listed}


def test_weights_change_the_list(
    client: TestClient, recommender: HybridRecommender, user: str
) -> None:
    weights = {"collaborative": 0.0, "text": 0.0, "audio": 0.0, "popularity": 1.0}
    text = ",".join(f"{name}:{weight}" for name, weight in weights.items())
    body = get(client, f"/v1/users/{user}/recommendations", k=5, weights=text)
    assert body["items"] == [r._asdict() for r in recommender.recommend(user, 5, weights=weights)]
    assert body["items"] != get(client, f"/v1/users/{user}/recommendations", k=5)["items"]


def test_kind_limits_the_list(client: TestClient, recommender: HybridRecommender) -> None:
    other = next(k for k in recommender.catalogue.kinds if k != recommender.default_kind)
    path = f"/v1/users/{encoded(ODD_ID)}/recommendations"
    listed = get(client, path, k=3, kind=other)["items"]
    assert listed
    assert {get(client, f"/v1/items/{one['item_id']}")["kind"] for one in listed} == {other}


def test_territory_limits_the_list(
    client: TestClient, recommender: HybridRecommender, user: str
) -> None:
    path = f"/v1/users/{user}/recommendations"
    listed = get(client, path, k=100, territory="HK")["items"]
    assert listed == [r._asdict() for r in recommender.recommend(user, 100, territory="HK")]


def test_discover_weekly_is_frozen(client: TestClient, user: str) -> None:
    first = get(client, f"/v1/users/{user}/discover-weekly")
    assert re.fullmatch(r"\d{4}-W\d{2}", first["week"])
    assert first["user_id"] == user
    assert 0 < len(first["items"]) <= 30
    assert [item["rank"] for item in first["items"]] == list(range(1, len(first["items"]) + 1))
    assert get(client, f"/v1/users/{user}/discover-weekly") == first


def test_discover_weekly_as_jspf(client: TestClient, user: str) -> None:
    answer = client.get(f"/v1/users/{user}/discover-weekly?format=jspf")
    assert answer.headers["content-type"] == "application/jspf+json"
    tracks = answer.json()["playlist"]["track"]
    listed = get(client, f"/v1/users/{user}/discover-weekly")["items"]
    assert [t["title"] for t in tracks] == [i["title"] for i in listed]
    assert [t["creator"] for t in tracks] == [i["artist"] for i in listed]


def test_discover_weekly_as_m3u(client: TestClient, user: str) -> None:
    answer = client.get(f"/v1/users/{user}/discover-weekly?format=m3u")
    assert answer.headers["content-type"].startswith("audio/x-mpegurl")
    listed = get(client, f"/v1/users/{user}/discover-weekly")["items"]
    lines = answer.text.splitlines()
    assert lines[0] == "#EXTM3U"
    assert lines[3::2] == [f"urn:recsys:item:{encoded(i['item_id'])}" for i in listed]


def test_similar_users(client: TestClient, recommender: HybridRecommender, user: str) -> None:
    body = get(client, f"/v1/users/{user}/similar", k=3)
    found = [(one["id"], one["score"]) for one in body["similar"]]
    assert found == recommender.similar("user", user, 3)
    assert len(found) == 3


@pytest.mark.parametrize("by", ["hybrid", "collaborative", "text"])
def test_similar_items(
    client: TestClient, recommender: HybridRecommender, item_id: str, by: str
) -> None:
    body = get(client, f"/v1/items/{item_id}/similar", k=3, by=by)
    found = [(one["id"], one["score"]) for one in body["similar"]]
    assert found == recommender.similar("item", item_id, 3, by=by)
    first = body["similar"][0]
    assert first["title"] == get(client, f"/v1/items/{first['id']}")["title"]


def test_an_item_is_described(
    client: TestClient, recommender: HybridRecommender, item_id: str
) -> None:
    body = get(client, f"/v1/items/{item_id}")
    catalogue, row = recommender.catalogue, recommender.catalogue.items.row(item_id)
    plays = recommender.interactions.plays.tocsc()[:, [row]]
    assert body["title"] == catalogue.titles[row]
    assert body["artist"]["name"] == catalogue.artist_name(catalogue.item_artist[row])
    assert body["listeners"] == recommender.listeners_of[row] > 0
    assert body["plays"] == int(plays.sum())
    assert body["models"] == ["collaborative", "text"]
    assert recommender.text is not None
    terms = recommender.text.top_terms_of_item(row, int(catalogue.item_artist[row]), 20)
    assert [(t["term"], t["weight"]) for t in body["terms"]] == terms != []
    assert catalogue.released_at[row] != NO_TIME
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["released_at"])


def test_an_artist_is_described(
    client: TestClient, recommender: HybridRecommender, item_id: str
) -> None:
    artist_id = get(client, f"/v1/items/{item_id}")["artist"]["artist_id"]
    body = get(client, f"/v1/artists/{artist_id}", k=5)
    assert recommender.text is not None
    row = recommender.catalogue.artists.row(artist_id)
    assert [t["term"] for t in body["terms"]] == [t for t, _ in recommender.text.top_terms(row, 20)]
    listeners = [item["listeners"] for item in body["items"]]
    assert listeners == sorted(listeners, reverse=True)
    assert {item["artist"]["artist_id"] for item in body["items"]} == {artist_id}


def test_related_artists(client: TestClient, recommender: HybridRecommender, item_id: str) -> None:
    artist_id = get(client, f"/v1/items/{item_id}")["artist"]["artist_id"]
    found = get(client, f"/v1/artists/{artist_id}/related", k=3)["similar"]
    wanted = recommender.similar("artist", artist_id, 3)
    assert [(one["id"], one["score"]) for one in found] == wanted
    assert all(one["title"] for one in found)


def test_a_listener_without_an_account(
    client: TestClient, recommender: HybridRecommender, item_id: str
) -> None:
    body = {"history": [{"item_id": item_id, "plays": 7}], "k": 4}
    answer = client.post("/v1/recommendations", json=body)
    assert answer.status_code == 200
    wanted = [one._asdict() for one in recommender.recommend_history([(item_id, 7)], 4)]
    assert answer.json()["items"] == wanted
    assert answer.json()["user_id"] is None
    assert item_id not in {one["item_id"] for one in wanted}


def test_a_playlist_goes_on_from_seeds(client: TestClient, item_id: str) -> None:
    answer = client.post("/v1/playlists", json={"seeds": [item_id, item_id], "k": 4})
    assert answer.status_code == 200
    listed = [one["item_id"] for one in answer.json()["items"]]
    assert len(listed) == 4 and item_id not in listed


def test_a_radio_goes_on_from_an_artist(
    client: TestClient, recommender: HybridRecommender, item_id: str
) -> None:
    artist_id = get(client, f"/v1/items/{item_id}")["artist"]["artist_id"]
    answer = client.post("/v1/playlists", json={"artists": [artist_id], "k": 5, "smooth": True})
    assert answer.status_code == 200
    wanted = go_on(recommender, [], 5, artists=[artist_id], smooth=True)
    assert answer.json()["items"] == [one._asdict() for one in wanted]
    nothing = client.post("/v1/playlists", json={"k": 5})
    assert nothing.status_code == 422
    assert "want at least one item to go on from" in nothing.json()["detail"]
    fast = client.post("/v1/playlists", json={"artists": [artist_id], "tempo": [100, 120]})
    assert "this version knows no item's" in fast.json()["detail"]


def test_a_playlist_comes_as_a_file_too(client: TestClient, item_id: str) -> None:
    body = {"seeds": [item_id], "k": 3}
    listed = [one["item_id"] for one in client.post("/v1/playlists", json=body).json()["items"]]
    m3u = client.post("/v1/playlists?format=m3u", json=body)
    assert m3u.headers["content-type"].startswith("audio/x-mpegurl")
    assert m3u.text.splitlines()[3::2] == [f"urn:recsys:item:{encoded(id)}" for id in listed]
    jspf = client.post("/v1/playlists?format=jspf", json=body).json()["playlist"]
    assert len(jspf["track"]) == 3


def test_groups_of_listeners_are_described(
    client: TestClient, recommender: HybridRecommender, models: Models
) -> None:
    body = get(client, "/v1/segments", k=2)
    told = describe_segments(recommender, Segments.read(models.open()), k=2)
    assert body["version"] == recommender.version
    assert body["segments"] == [asdict(one) for one in told]
    assert sum(one["n_listeners"] for one in body["segments"]) > 40
    assert body["segments"][0]["artists"][0]["name"] and body["segments"][0]["terms"]
    assert client.get("/v1/segments?k=0").status_code == 422
    assert client.get("/v1/segments?k=21").status_code == 422


def test_search_finds_pieces_of_names(client: TestClient, item_id: str) -> None:
    item = get(client, f"/v1/items/{item_id}")
    found = get(client, "/v1/search", q=item["title"][1:].upper(), k=100)
    assert item_id in [one["item_id"] for one in found["items"]]
    by_artist = get(client, "/v1/search", q=item["artist"]["name"][:5])
    assert item["artist"] in by_artist["artists"]
    assert get(client, "/v1/search", q="(.*") == {"items": [], "artists": []}


def test_search_puts_beginnings_first(client: TestClient) -> None:
    titles = [i["title"].lower() for i in get(client, "/v1/search", q="the", k=100)["items"]]
    begins = [title.startswith("the") for title in titles]
    assert begins == sorted(begins, reverse=True) and any(begins)


def test_listeners_come_in_pages(client: TestClient, recommender: HybridRecommender) -> None:
    seen: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        page = get(client, "/v1/users", after=page["next"], limit=7)
        assert page["total"] == recommender.catalogue.n_users
        seen += [one["user_id"] for one in page["users"]]
    assert seen == list(recommender.catalogue.users)


def test_models_are_listed(client: TestClient, recommender: HybridRecommender) -> None:
    body = get(client, "/v1/models")
    assert body["serving"] == recommender.version
    assert body["problem"] is None
    assert [v["version"] for v in body["versions"]] == [recommender.version]
    assert body["versions"][0]["trained"] == ["collaborative", "text"]


def test_ids_may_hold_anything(client: TestClient) -> None:
    path = encoded(ODD_ID)
    assert get(client, f"/v1/users/{path}/recommendations", k=2)["user_id"] == ODD_ID
    assert get(client, f"/v1/users/{path}/discover-weekly")["user_id"] == ODD_ID
    assert get(client, f"/v1/items/{path}")["item_id"] == ODD_ID
    assert get(client, f"/v1/items/{path}/similar", by="text")["id"] == ODD_ID
    assert get(client, f"/v1/artists/{path}")["artist_id"] == ODD_ID
    assert get(client, f"/v1/artists/{path}/related")["id"] == ODD_ID


def test_an_encoded_slash_belongs_to_the_id(client: TestClient, item_id: str) -> None:
    assert get(client, f"/v1/items/{item_id}/similar")["id"] == item_id
    answer = client.get(f"/v1/items/{item_id}%2Fsimilar")
    assert answer.status_code == 404
    assert f"no item '{item_id}/similar'" in answer.json()["detail"]


def test_every_documented_example_has_the_documented_shape(client: TestClient) -> None:
    document = get(client, "/openapi.json")
    checked = 0
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", []):
            getattr(schemas, name).model_validate(example)
            checked += 1
    assert checked >= 10


def test_every_route_documents_an_answer_with_an_example(client: TestClient) -> None:
    document = get(client, "/openapi.json")
    known = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for about in methods.values():
            assert about["description"], path
            if path in NOT_JSON:
                continue
            (status,) = (status for status in about["responses"] if status[0] == "2")
            answer = about["responses"][status]["content"]["application/json"]["schema"]
            name = answer["$ref"].rsplit("/", 1)[1]
            assert known[name].get("examples") or name == "Health", path
    assert "Problem" in known

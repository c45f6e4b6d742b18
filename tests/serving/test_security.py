"""API keys: hashed, with scopes, and wanted everywhere but for health and the static pages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from recsys.bundle import Models
from recsys.errors import BundleError, NotFoundError, UsageError
from recsys.serving.app import AppArgs, create_app
from recsys.serving.security import SCOPES, ForbiddenError, KeyRing, UnauthorizedError
from recsys.storage import Folder

OPEN = {"/v1/health/live", "/v1/health/ready"}


@pytest.fixture
def own(models: Models, tmp_path: Path) -> Models:
    shutil.copytree(models.folder.path, tmp_path / "models")
    return Models(tmp_path / "models")


@pytest.fixture
def guarded(own: Models) -> Iterator[tuple[TestClient, dict[str, str]]]:
    """A server with one key for each scope."""
    ring = KeyRing(own.folder)
    keys = {scope: ring.create(scope, [scope]) for scope in SCOPES}
    with TestClient(create_app(AppArgs(models=own.folder.path))) as client:
        yield client, keys


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_address_wants_a_key(guarded: tuple[TestClient, dict[str, str]]) -> None:
    client, keys = guarded
    document = client.get("/openapi.json").json()
    asked = 0
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            address = path.replace("{user_id}", "u").replace("{item_id}", "i")
            address = address.replace("{artist_id}", "a").replace("{version}", "v") + "?q=a"
            body = {"json": {}} if "requestBody" in about else {}
            without = client.request(method, address, **body)
            if path in OPEN:
                assert without.status_code == 200, path
                continue
            for wrong in ("", "nonsense", keys["read"][:-1], keys["read"] + "x"):
                answer = client.request(method, address, headers=bearer(wrong))
                # An unusable body may be told first; nothing else may be.
                assert answer.status_code in (401, 422), (path, wrong)
            if not body:
                assert without.status_code == 401, path
                assert without.headers["www-authenticate"] == "Bearer"
                assert without.json()["type"] == "urn:recsys:problem:unauthorized"
                assert about["security"], path
            asked += 1
    assert asked > 10


def test_a_scope_allows_its_own(guarded: tuple[TestClient, dict[str, str]], user: str) -> None:
    client, keys = guarded
    event = {"user_id": user, "item_id": "t00000", "kind": "stream"}
    expected = {"read": (200, 403, 403), "write": (403, 202, 403), "admin": (200, 202, 404)}
    for scope, (get, post, delete) in expected.items():
        head = bearer(keys[scope])
        listed = client.get(f"/v1/users/{user}/recommendations", headers=head)
        assert listed.status_code == get, scope
        assert client.post("/v1/events", json=event, headers=head).status_code == post, scope
        gone = client.delete("/v1/users/nobody-at-all", headers=head)
        assert gone.status_code == delete, scope
        version = client.post("/v1/models/none/activate", headers=head)
        assert version.status_code == delete, scope
        if get == 403:
            assert listed.json()["type"] == "urn:recsys:problem:forbidden"


def test_a_revoked_key_ends_at_once(own: Models, user: str) -> None:
    ring = KeyRing(own.folder)
    secret = ring.create("one", ["read"])
    ring.create("other", ["read"])
    with TestClient(create_app(AppArgs(models=own.folder.path), poll_s=3600)) as client:
        path = f"/v1/users/{user}/recommendations"
        assert client.get(path, headers=bearer(secret)).status_code == 200
        ring.revoke("one")
        client.app.state.live.refresh()  # type: ignore[attr-defined]
        assert client.get(path, headers=bearer(secret)).status_code == 401


def test_required_keys_keep_everybody_out_while_there_are_none(own: Models) -> None:
    with TestClient(create_app(AppArgs(models=own.folder.path))) as client:
        assert client.get("/v1/users").status_code == 401
        assert client.get("/v1/health/ready").status_code == 200
        assert client.get("/").status_code == 200


def test_a_secret_is_kept_nowhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recsys", "keys", str(tmp_path)]
    made = subprocess.run([*command, "create", "web"], capture_output=True, text=True, check=True)
    secret = made.stdout.strip()
    assert len(secret) > 40
    assert all(secret.encode() not in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    listed = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert [key["name"] for key in json.loads(listed.stdout)] == ["web"]
    ring = KeyRing(Folder(tmp_path))
    ring.check(secret, "read")
    with pytest.raises(ForbiddenError):
        ring.check(secret, "admin")
    gone = subprocess.run([*command, "revoke", "web"], capture_output=True, text=True)
    assert gone.returncode == 0
    ring.refresh()
    ring.check(None, "admin")  # without keys everything is allowed


def test_keys_are_compared_with_all_of_them(tmp_path: Path) -> None:
    ring = KeyRing(Folder(tmp_path))
    first, second = ring.create("a", ["read"]), ring.create("b", ["write"])
    ring.check(first, "read")
    ring.check(second, "write")
    for wrong in (None, "", first[:-1], first + second):
        with pytest.raises(UnauthorizedError):
            ring.check(wrong, "read")


def test_unusable_names_and_scopes_are_refused(tmp_path: Path) -> None:
    ring = KeyRing(Folder(tmp_path))
    for name, scopes in (("../x", ["read"]), ("", ["read"]), ("a", []), ("a", ["root"])):
        with pytest.raises(UsageError):
            ring.create(name, scopes)
    ring.create("a", ["read"])
    with pytest.raises(UsageError, match="revoke it first"):
        ring.create("a", ["read"])
    with pytest.raises(NotFoundError):
        ring.revoke("b")
    (tmp_path / "keys.json").write_text("[{}]")
    with pytest.raises(BundleError, match=r"keys\.json: damaged"):
        ring.refresh()


def test_a_damaged_key_file_opens_nothing(
    guarded: tuple[TestClient, dict[str, str]], own: Models
) -> None:
    client, keys = guarded
    own.folder.write("keys.json", b"{")
    client.app.state.live.refresh()  # type: ignore[attr-defined]
    assert client.get("/v1/users").status_code == 401
    assert client.get("/v1/users", headers=bearer(keys["read"])).status_code == 200

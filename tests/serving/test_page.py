"""The pages are whole in themselves, and a browser is told to run nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient


class Elements(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(params=["/", "/docs"])
def answer(client: TestClient, request: pytest.FixtureRequest) -> tuple[str, str]:
    got = client.get(request.param)
    assert got.status_code == 200
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    return got.text, got.headers["content-security-policy"]


def test_the_policy_allows_this_script_and_style_only(answer: tuple[str, str]) -> None:
    html, policy = answer
    for tag in ("script", "style"):
        (block,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_nothing_comes_from_elsewhere(answer: tuple[str, str]) -> None:
    html, _ = answer
    page = Elements()
    page.feed(html)
    for tag, attributes in page.found:
        for name in ("src", "href", "action"):
            value = attributes.get(name) or ""
            assert not value.startswith(("http", "//")), (tag, value)
        # An event handler or style in an attribute would be blocked by the policy.
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
    namespace = "http://www.w3.org/2000/svg"
    assert set(re.findall(r"https?://[^\s'\"]+", html)) <= {namespace}


def test_no_text_is_ever_parsed_as_markup(answer: tuple[str, str]) -> None:
    html, _ = answer
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in html


def test_the_page_names_its_parts(client: TestClient) -> None:
    page = Elements()
    page.feed(client.get("/").text)
    tags = [tag for tag, _ in page.found]
    assert tags.count("main") == 1 and "header" in tags
    assert ("html", {"lang": "en"}) in page.found
    labelled = {a["for"] for tag, a in page.found if tag == "label"}
    inputs = {a["id"] for tag, a in page.found if tag == "input"}
    assert inputs == labelled
    assert any(a.get("role") == "status" for _, a in page.found)
    assert any(a.get("class") == "skip" for _, a in page.found)


def test_every_address_that_the_page_asks_exists(client: TestClient) -> None:
    html = client.get("/").text
    paths = client.get("/openapi.json").json()["paths"]
    for room in re.findall(r'"/v1/(\w+)', html):
        assert any(path.startswith(f"/v1/{room}") for path in paths), room

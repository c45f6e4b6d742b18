"""The web pages: plain files without a build step, sent under a strict policy.

Enters: index.html with its style and scripts, and docs.html, beside this file. Leaves: a router
that sends each as one file. The policy lets a browser run exactly the script and style that stand
in it (by their hashes) and talk to this server only, so a title that holds HTML can do nothing even
if a page had a fault.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

__all__ = ["pages"]

pages = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class _Page:
    """A file and the headers it is sent with."""

    html: str
    headers: dict[str, str]

    def answer(self) -> HTMLResponse:
        # A new one each time: what compresses an answer writes into its headers.
        return HTMLResponse(self.html, headers=self.headers)


_SCRIPTS = ("art", "server", "signals", "listener", "player", "radio", "details", "atlas", "page")
"""The parts of the page's script, in the order in which they rest on each other."""


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _assembled() -> str:
    script = "".join(_read(f"{name}.js") for name in _SCRIPTS)
    html = _read("index.html").replace("</style>", _read("style.css") + "</style>")
    return html.replace("</script>", script + "</script>")


def _page(html: str) -> _Page:
    policy = {
        "default-src": ["'none'"],
        "script-src": _hashes(html, "script"),
        "style-src": _hashes(html, "style"),
        "connect-src": ["'self'"],
        "media-src": ["'self'", "blob:"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{k} {' '.join(v)}" for k, v in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return _Page(html, headers)


def _hashes(html: str, tag: str) -> list[str]:
    blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (hashlib.sha256(block.encode()).digest() for block in blocks)
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


_INDEX = _page(_assembled())
_DOCS = _page(_read("docs.html"))


@pages.get("/")
async def index() -> HTMLResponse:
    """Show a listener's week."""
    return _INDEX.answer()


@pages.get("/docs")
async def docs() -> HTMLResponse:
    """Show every address, from the OpenAPI document."""
    return _DOCS.answer()

"""The web pages: plain files without a build step, sent under a strict policy.

Enters: index.html and docs.html beside this file, each whole in itself. Leaves: a router. The
policy lets a browser run exactly the script and style that stand in the file (by their hashes) and
talk to this server only, so a title that holds HTML can do nothing even if a page had a fault.
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


def _page(name: str) -> _Page:
    html = files(__package__).joinpath(name).read_text(encoding="utf-8")
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


_INDEX = _page("index.html")
_DOCS = _page("docs.html")


@pages.get("/")
async def index() -> HTMLResponse:
    """Show a listener's week."""
    return _INDEX.answer()


@pages.get("/docs")
async def docs() -> HTMLResponse:
    """Show every address, from the OpenAPI document."""
    return _DOCS.answer()

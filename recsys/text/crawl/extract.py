"""Bodies -> text, title, date, language and links; nothing here touches the network.

A page's text is taken by trafilatura, its language by py3langid. Its date is read only where the
page declares it (JSON-LD, meta elements, `time` elements of the article, the address): a year in a
footer is no date of publication.
"""

from __future__ import annotations

import io
import json
import re
import zlib
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import feedparser
import lxml.etree
import trafilatura
from lxml.html import HtmlElement
from scrapy.linkextractors import IGNORED_EXTENSIONS
from scrapy.utils.sitemap import Sitemap

from recsys.text.plain import language

__all__ = ["Found", "Page", "kind_of", "read_feed", "read_page", "read_sitemap", "unpack"]

_ROOT = re.compile(
    rb"<(?:\w+:)?(rss|feed|rdf|urlset|sitemapindex|html|!doctype html)[\s>]", re.IGNORECASE
)
_SITEMAPS = {b"urlset", b"sitemapindex"}
_FEEDS = {b"rss", b"feed", b"rdf"}
_DATE_IN_PATH = re.compile(r"/((?:19|20)\d\d)/(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])(?=/|-|$)")
_DATE_METAS = {
    "article:published_time",
    "og:published_time",
    "datepublished",
    "dc.date",
    "dc.date.issued",
    "dcterms.issued",
    "dcterms.created",
    "publishdate",
    "publication_date",
    "parsely-pub-date",
    "date",
}
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_MAX_JSON_DEPTH = 8


@dataclass(frozen=True)
class Found:
    """An address that something fetched leads to."""

    url: str
    published_at: int | None = None
    """Milliseconds since 1970, where a feed says it."""


@dataclass(frozen=True)
class Page:
    """What a web page says."""

    title: str | None
    text: str
    published_at: int | None
    """Milliseconds since 1970, UTC; None where the page declares no credible date."""
    language: str
    """ISO 639-1 code; empty where there is no text."""
    links: list[str]
    """Absolute addresses; empty where the page says nofollow."""
    may_index: bool
    """False where the page says noindex."""


def kind_of(body: bytes, content_type: str) -> Literal["page", "feed", "sitemap"]:
    """Tell by the first element, else by the content type, what a body is."""
    if root := _ROOT.search(body[:4096]):
        name = root.group(1).lower()
        return "sitemap" if name in _SITEMAPS else "feed" if name in _FEEDS else "page"
    return "feed" if "rss" in content_type or "atom" in content_type else "page"


def unpack(body: bytes, max_bytes: int) -> bytes:
    """Return `body`, decompressed where it is a gzip file; ValueError beyond `max_bytes`."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    stream = zlib.decompressobj(wbits=31)
    try:
        unpacked = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"not a gzip file: {error}") from error
    if len(unpacked) > max_bytes:
        raise ValueError(f"decompresses to more than {max_bytes} bytes")
    return unpacked


def read_feed(body: bytes) -> list[Found]:
    """Return the entries of an RSS or Atom feed."""
    # A stream, never the bytes themselves: feedparser would try them as a file name.
    entries = feedparser.parse(io.BytesIO(body), sanitize_html=False).entries
    found = []
    for entry in entries:
        at = entry.get("published_parsed") or entry.get("updated_parsed")
        if url := entry.get("link"):
            found.append(
                Found(url, _credible(datetime.fromtimestamp(timegm(at), UTC)) if at else None)
            )
    return found


def read_sitemap(body: bytes) -> list[Found]:
    """Return what a sitemap or an index of sitemaps lists; ValueError where it is not XML."""
    try:
        return [Found(entry["loc"]) for entry in Sitemap(body) if entry.get("loc")]
    except (lxml.etree.LxmlError, StopIteration) as error:
        raise ValueError(f"not a sitemap: {error}") from error


def read_page(html: str, url: str) -> Page:
    """Read a web page; a page without a main text has an empty one."""
    tree = trafilatura.load_html(_CONTROL.sub("", html))
    if tree is None:
        return Page(None, "", None, "", [], True)
    robots = " ".join(
        content.lower() for name, content in _metas(tree) if name in ("robots", "recsys")
    )
    title = _title(tree)
    published_at = _published(tree, url)
    links = [] if "nofollow" in robots or "none" in robots else list(_links(tree, url))
    document = trafilatura.bare_extraction(  # last: it cuts the tree up
        tree, url=url, include_comments=False, include_tables=False, with_metadata=False
    )
    text = (getattr(document, "text", None) or "").strip()
    may_index = "noindex" not in robots and "none" not in robots
    return Page(title, text, published_at, language(text), links, may_index)


def _metas(tree: HtmlElement) -> Iterator[tuple[str, str]]:
    for element in tree.iter("meta"):
        name = element.get("name") or element.get("property") or element.get("itemprop") or ""
        yield name.lower(), element.get("content") or ""


def _title(tree: HtmlElement) -> str | None:
    named = [content for name, content in _metas(tree) if name == "og:title"]
    elements = [element.text_content() for tag in ("h1", "title") for element in tree.iter(tag)]
    return next((" ".join(t.split()) for t in [*named, *elements] if t.strip()), None)


def _links(tree: HtmlElement, url: str) -> Iterator[str]:
    base = urljoin(url, next((b.get("href") for b in tree.iter("base") if b.get("href")), ""))
    for element in tree.iter("a"):
        href = (element.get("href") or "").strip()
        if not href or "nofollow" in (element.get("rel") or ""):
            continue
        try:
            target = urljoin(base, href)
            parts = urlsplit(target)
        except ValueError:
            continue
        suffix = parts.path.rpartition(".")[2].lower()
        if parts.scheme in ("http", "https") and parts.netloc and suffix not in IGNORED_EXTENSIONS:
            yield target


def _published(tree: HtmlElement, url: str) -> int | None:
    """Return the date that the page declares, the most trustworthy place first."""
    for stated in _stated_dates(tree, url):
        if (at := _parse_date(stated)) is not None:
            return at
    return None


def _stated_dates(tree: HtmlElement, url: str) -> Iterator[str]:
    for script in tree.iter("script"):
        if script.get("type") == "application/ld+json":
            try:
                yield from _date_published(json.loads(script.text or ""), 0)
            except (ValueError, RecursionError):
                continue
    for name, content in _metas(tree):
        if name in _DATE_METAS:
            yield content
    marked = "//time[@datetime][@pubdate or @itemprop='datePublished' or contains(@class,'publ')]"
    of_article = "//article//time[@datetime][not(ancestor::footer or ancestor::aside)]"
    for element in [*tree.xpath(marked), *tree.xpath(of_article)]:
        yield element.get("datetime")
    if in_path := _DATE_IN_PATH.search(urlsplit(url).path):
        year, month, day = in_path.groups()
        yield f"{year}-{month:0>2}-{day:0>2}"


def _date_published(value: Any, depth: int) -> Iterator[str]:
    """Yield datePublished of a JSON-LD object and of what it holds, comments left out."""
    if depth > _MAX_JSON_DEPTH:
        return
    if isinstance(value, list):
        for part in value:
            yield from _date_published(part, depth + 1)
    elif isinstance(value, dict) and value.get("@type") != "Comment":
        if isinstance(stated := value.get("datePublished"), str):
            yield stated
        for key, part in value.items():
            if key != "comment":
                yield from _date_published(part, depth + 1)


def _parse_date(stated: str) -> int | None:
    stated = stated.strip()
    try:
        at = datetime.fromisoformat(stated)
    except ValueError:
        try:
            at = parsedate_to_datetime(stated)
        except ValueError:
            return None
    return _credible(at if at.tzinfo else at.replace(tzinfo=UTC))


def _credible(at: datetime) -> int | None:
    """Return milliseconds since 1970, or None before the web and after tomorrow."""
    if not _EARLIEST <= at <= datetime.now(UTC) + timedelta(days=1):
        return None
    return int(at.timestamp() * 1000)

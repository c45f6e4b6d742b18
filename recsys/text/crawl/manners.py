"""How the crawler behaves towards a host: robots.txt, its pace, and asking only for what changed.

Three small parts that Scrapy calls: `RobotsMiddleware` lets a request pass or not and sets the
host's pace (RFC 9309: a robots.txt that is not there allows everything, one that cannot be had
forbids everything); `StateCache` and `CachePolicy` put answers into the crawl's state and turn a
second request into a conditional one (RFC 9110, RFC 9111).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast
from urllib.parse import urljoin

from protego import Protego
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Headers, Response
from scrapy.http.request import NO_CALLBACK
from scrapy.responsetypes import responsetypes
from scrapy.settings import BaseSettings
from scrapy.utils.httpobj import urlparse_cached

from recsys.config import CrawlConfig
from recsys.text.crawl.guard import RefusedError
from recsys.text.crawl.state import Answer, canonical

if TYPE_CHECKING:
    from recsys.text.crawl.spider import DocumentSpider

__all__ = ["CachePolicy", "Forbidden", "RobotsMiddleware", "StateCache", "pace", "set_pace"]

_ROBOT = "recsys"
_ROBOTS_REDIRECTS = 5
_ROBOTS_FRESH_S = 86_400.0
"""RFC 9309 2.4: robots.txt is not taken from a cache for more than 24 hours."""
_ROBOTS_KNOWN = (200, 401, 403, 404, 410)
_REDIRECTS = (301, 302, 303, 307, 308)


class Forbidden(IgnoreRequest):
    """robots.txt does not let us fetch this."""


def pace(crawler: Crawler, host: str) -> float:
    """Return the seconds between two requests to `host`."""
    downloader = crawler.engine.downloader
    settings = downloader.per_slot_settings.get(host, {})
    return float(settings.get("delay", crawler.settings.getfloat("DOWNLOAD_DELAY")))


def set_pace(crawler: Crawler, host: str, delay_s: float) -> None:
    """Let `delay_s` seconds lie between two requests to `host` from now on."""
    downloader = crawler.engine.downloader
    downloader.per_slot_settings[host] = {"concurrency": 1, "delay": delay_s, "jitter": 0.0}
    if (slot := downloader.slots.get(host)) is not None:
        slot.delay = delay_s


class RobotsMiddleware:
    """Asks each origin for its robots.txt before anything else, and obeys it."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._config: CrawlConfig = crawler.settings["CRAWL"]
        self._rules: dict[str, Protego | Forbidden | RefusedError] = {}

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> RobotsMiddleware:
        """Build it the way Scrapy does."""
        return cls(crawler)

    async def process_request(self, request: Request) -> None:
        """Let `request` pass.

        Raises
        ------
        Forbidden
            Where robots.txt says no or cannot be had.
        RefusedError
            Where the host may not be connected to.
        """
        if "robots" in request.meta:
            return
        parts = urlparse_cached(request)
        origin = f"{parts.scheme}://{parts.netloc}"
        # The frontier has one request of a host in flight, so nobody asks for the same file twice.
        if origin not in self._rules:
            self._rules[origin] = await self._ask(origin, parts.hostname or "")
        rules = self._rules[origin]
        if isinstance(rules, Forbidden | RefusedError):
            raise rules
        if not rules.can_fetch(request.url, _ROBOT):
            raise Forbidden("robots.txt says no")
        if parts.path in ("", "/") and not parts.query:
            spider = cast("DocumentSpider", self._crawler.spider)
            spider.mapped(request.meta["link"], [urljoin(origin, one) for one in rules.sitemaps])

    async def _ask(self, origin: str, host: str) -> Protego | Forbidden | RefusedError:
        try:
            response = await self._fetch(f"{origin}/robots.txt")
        except RefusedError as error:
            return error
        except Exception as error:  # whatever keeps us from the rules keeps us from the site
            return Forbidden(f"robots.txt cannot be had: {error}")
        if response.status >= 500 or response.status == 429:
            return Forbidden(f"robots.txt cannot be had: HTTP {response.status}")
        body = response.body if response.status == 200 else b""
        rules = Protego.parse(body.decode("utf-8-sig", "ignore"))
        wanted = float(rules.crawl_delay(_ROBOT) or 0.0)
        if wanted > self._config.max_delay_s:
            return Forbidden(f"Crawl-delay {wanted:g} s is longer than max_delay_s")
        set_pace(self._crawler, host, max(wanted, self._config.delay_s))
        return rules

    async def _fetch(self, url: str) -> Response:
        for _ in range(_ROBOTS_REDIRECTS + 1):
            request = Request(url, meta={"robots": True}, callback=NO_CALLBACK)
            response = await self._crawler.engine.download_async(request)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            url = urljoin(url, location.decode("latin-1"))
        return response.replace(status=404)  # RFC 9309 2.3.1.2: then it counts as not there


class StateCache:
    """Scrapy's HTTP cache, kept in the crawl's state."""

    def __init__(self, settings: BaseSettings) -> None:
        """Take the settings that Scrapy hands over; the spider carries the state."""

    def open_spider(self, spider: Spider) -> None:
        """Nothing: the state is open as long as the crawl."""

    def close_spider(self, spider: Spider) -> None:
        """Nothing: the state is open as long as the crawl."""

    def retrieve_response(self, spider: DocumentSpider, request: Request) -> Response | None:
        """Return the stored response to `request`, with the answer in ``request.meta``."""
        answer = spider.memory.answer(canonical(request.url))
        if answer is None:
            return None
        request.meta["answer"] = answer
        headers = Headers(answer.headers)
        kind = responsetypes.from_args(headers=headers, url=request.url, body=answer.body)
        return kind(request.url, status=answer.status, headers=headers, body=answer.body)

    def store_response(self, spider: DocumentSpider, request: Request, response: Response) -> None:
        """Replace the stored response to `request`."""
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, values in response.headers.items()
            for value in values or ()
        ]
        key = canonical(request.url)
        spider.memory.store_answer(key, response.status, headers, response.body)


class CachePolicy:
    """When a stored answer is still good: within the run, by max-age, or by the server's 304."""

    def __init__(self, settings: BaseSettings) -> None:
        """Take the settings that Scrapy hands over; there is nothing to set."""

    def should_cache_request(self, request: Request) -> bool:
        """Tell whether the answer may come from the cache."""
        return True

    def should_cache_response(self, response: Response, request: Request) -> bool:
        """Tell whether the answer is kept."""
        if "robots" in request.meta:
            return response.status in _ROBOTS_KNOWN
        return response.status == 200 and b"no-store" not in _cache_control(response)

    def is_cached_response_fresh(self, cachedresponse: Response, request: Request) -> bool:
        """Tell whether no request is needed; else make it a conditional one."""
        answer: Answer = request.meta.pop("answer")
        age = time.time() - answer.at
        if "robots" in request.meta:
            fresh = age < _ROBOTS_FRESH_S
        else:
            # An answer of this run was stored just before a kill: it is not fetched twice.
            fresh = answer.of_this_run or age < _max_age(cachedresponse)
        if not fresh:
            for validator, condition in (
                ("ETag", "If-None-Match"),
                ("Last-Modified", "If-Modified-Since"),
            ):
                if (value := cachedresponse.headers.get(validator)) is not None:
                    request.headers[condition] = value
        return fresh

    def is_cached_response_valid(
        self, cachedresponse: Response, response: Response, request: Request
    ) -> bool:
        """Tell whether the server says that nothing changed."""
        return response.status == 304


def _cache_control(response: Response) -> bytes:
    return (response.headers.get("Cache-Control") or b"").lower()


def _max_age(response: Response) -> float:
    """Return the seconds for which the server lets us reuse an answer without asking."""
    directives = _cache_control(response)
    if b"no-cache" in directives:
        return 0.0
    for directive in directives.split(b","):
        name, _, value = directive.strip().partition(b"=")
        if name == b"max-age" and value.strip(b'"').isdigit():
            return float(value.strip(b'"'))
    return 0.0

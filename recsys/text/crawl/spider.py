"""The crawl itself: the frontier hands out addresses, the spider reads what comes back.

Scrapy's engine runs it on asyncio. Each host has at most one request under way, whatever the others
do, so that a slow or broken host delays only itself. Redirects are addresses like any other: they
obey robots.txt, keep to the pace of their host, and are never fetched twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import urlsplit

from scrapy import Request, Spider
from scrapy.core.scheduler import BaseScheduler
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response, TextResponse
from twisted.python.failure import Failure

from recsys.config import CrawlConfig
from recsys.data.dataset import Dataset
from recsys.progress import step
from recsys.text.crawl.extract import Found, kind_of, read_feed, read_page, read_sitemap, unpack
from recsys.text.crawl.guard import RefusedError
from recsys.text.crawl.manners import Forbidden, pace, set_pace
from recsys.text.crawl.state import CrawlState, Link, Text

__all__ = ["DocumentSpider", "FrontierScheduler"]

_PUBLISH = 5000
"""Documents after which the dataset gets them, so that a long crawl can be used on its way."""
_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429, 500, 502, 503, 504)


class FrontierScheduler(BaseScheduler):
    """Scrapy's queue, kept in the crawl's state: one request a host, the hosts in turn."""

    def __init__(self, spider: DocumentSpider) -> None:
        self._spider = spider
        self._state = spider.memory
        self._ready: deque[str] = deque()
        self._queued: set[str] = set()
        self._busy: set[str] = set()
        self.stopped = False
        """Whether the crawl has been broken off."""
        self._left = spider.config.max_pages - sum(self._state.outcomes().values())
        self.notice(self._state.waiting_hosts())

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> FrontierScheduler:
        """Build it the way Scrapy does."""
        assert isinstance(crawler.spider, DocumentSpider)
        scheduler = cls(crawler.spider)
        crawler.spider.scheduler = scheduler
        return scheduler

    def notice(self, hosts: Iterable[str]) -> None:
        """Learn that these hosts have addresses waiting."""
        for host in hosts:
            if host not in self._queued:
                self._queued.add(host)
                self._ready.append(host)

    def release(self, host: str) -> None:
        """Learn that the request to `host` has been dealt with."""
        self._busy.discard(host)
        self.notice([host])

    def stop(self) -> None:
        """Hand out nothing more; what was under way stays for the next crawl."""
        self.stopped = True

    def has_pending_requests(self) -> bool:
        """Tell whether addresses wait or are under way."""
        return bool(self._busy) or (self._left > 0 and bool(self._ready))

    def enqueue_request(self, request: Request) -> bool:
        """Refuse: addresses reach the frontier through the state, never through the engine."""
        raise AssertionError(f"{request} did not come from the frontier")

    def next_request(self) -> Request | None:
        """Return a request to a host that has none under way."""
        for _ in range(len(self._ready)):
            if self._left <= 0 or self.stopped:
                return None
            host = self._ready.popleft()
            if host in self._busy:
                self._ready.append(host)
                continue
            self._queued.discard(host)
            if (link := self._state.next(host)) is not None:
                self._busy.add(host)
                self._left -= 1
                return self._spider.request(link)
        return None


class DocumentSpider(Spider):
    """Reads pages, feeds and sitemaps, and writes what became of every address."""

    name = "recsys"
    scheduler: FrontierScheduler

    def __init__(self, *, state: CrawlState, config: CrawlConfig, dataset: Dataset) -> None:
        super().__init__()
        self.memory = state
        self.config = config
        self.dataset = dataset
        self.published = 0
        self._failures: Counter[str] = Counter()
        self._done = 0

    async def start(self) -> AsyncIterator[Any]:
        """Yield nothing: the seeds are in the frontier already."""
        nothing: tuple[Any, ...] = ()
        for request in nothing:
            yield request

    def request(self, link: Link) -> Request:
        """Return the Scrapy request for `link`."""
        return Request(
            link.url,
            callback=self.answered,
            errback=self.failed,
            meta={"link": link},
            dont_filter=True,
        )

    async def answered(self, response: Response) -> None:
        """Deal with an HTTP answer of any status."""
        link: Link = response.meta["link"]
        try:
            if response.status == 200:
                await self._read(link, response)
            elif response.status in _REDIRECTS:
                self._redirect(link, response)
            elif response.status in _LATER:
                self._try_later(link, f"HTTP {response.status}", response)
            else:
                self.memory.finish(link, "failed", f"HTTP {response.status}")
        except Exception as error:  # one page that cannot be read must not end the crawl
            self.memory.finish(link, "unreadable", f"{type(error).__name__}: {error}")
        else:
            if response.status not in _LATER:
                self._failures.pop(link.host, None)
        finally:
            self._released(link)

    async def failed(self, failure: Failure) -> None:
        """Deal with a request that had no answer."""
        if self.scheduler.stopped:
            return  # broken off by us, which is no fault of the host
        link: Link = failure.request.meta["link"]  # type: ignore[attr-defined]
        error = failure.value
        try:
            if isinstance(error, Forbidden):
                self.memory.finish(link, "robots", str(error))
            elif isinstance(error, RefusedError | IgnoreRequest):
                self.memory.finish(link, "refused", str(error))
            else:
                self._try_later(link, str(error) or type(error).__name__)
        finally:
            self._released(link)

    def mapped(self, link: Link, sitemaps: list[str]) -> None:
        """Learn of the sitemaps that robots.txt names to who asks for a site's front page.

        A seed that is a front page stands for its site; they count as linked from it.
        """
        if link.depth == 0 < self.config.depth and sitemaps:
            with self.memory.writing():
                self._found([Found(url) for url in sitemaps], depth=1)

    def _released(self, link: Link) -> None:
        if self.memory.unpublished() >= _PUBLISH:
            self.published += self.memory.publish(self.dataset)
        self._done += 1
        step("crawl", self._done, detail=link.host)
        self.scheduler.release(link.host)

    async def _read(self, link: Link, response: Response) -> None:
        body = unpack(response.body, self.config.max_bytes)
        kind = kind_of(body, (response.headers.get("Content-Type") or b"").decode("latin-1"))
        if kind != "page":
            # Parsing in a thread keeps the network going meanwhile.
            found = await asyncio.to_thread(read_feed if kind == "feed" else read_sitemap, body)
            with self.memory.writing():
                self._found(found, depth=link.depth)
                self.memory.finish(link, kind)
            return
        links = self.memory.links_if_same(link.key, body)
        if links is not None:
            with self.memory.writing():
                self._follow(link, links)
                self.memory.finish(link, "unchanged")
            return
        if not isinstance(response, TextResponse):
            response = TextResponse(response.url, body=body, headers=response.headers)
        page = await asyncio.to_thread(read_page, response.text, response.url)
        text = Text(response.url, page.title, page.text, page.published_at or link.published_at)
        with self.memory.writing():
            outcome, detail = self._judge(page.text, page.language, page.may_index), page.language
            if not outcome:
                kept = self.memory.keep(link.key, text, threshold=self.config.resemblance)
                outcome, _, detail = kept.partition(" of ")
            self.memory.store_page(link.key, body, page.links)
            self._follow(link, page.links)
            self.memory.finish(link, outcome, detail)

    def _judge(self, text: str, language: str, may_index: bool) -> str:
        """Return why a page is not kept, or nothing."""
        if not may_index:
            return "noindex"
        if len(text.split()) < self.config.min_words:
            return "no text"
        return "" if language == self.config.language else "language"

    def _follow(self, link: Link, links: list[str]) -> None:
        """Put the links of a page to its own host into the frontier."""
        if link.depth < self.config.depth:
            own = [Found(url) for url in links if urlsplit(url).hostname == link.host]
            self._found(own, depth=link.depth + 1)

    def _found(self, found: list[Found], *, depth: int, redirects: int = 0) -> None:
        self.scheduler.notice(self.memory.add(found, depth=depth, redirects=redirects))

    def _redirect(self, link: Link, response: Response) -> None:
        location = (response.headers.get("Location") or b"").decode("latin-1")
        target = response.urljoin(location)
        if link.redirects >= self.config.max_redirects:
            self.memory.finish(link, "failed", f"more than {link.redirects} redirects")
            return
        with self.memory.writing():
            target_of = Found(target, link.published_at)
            self._found([target_of], depth=link.depth, redirects=link.redirects + 1)
            self.memory.finish(link, "redirect", target)

    def _try_later(self, link: Link, reason: str, response: Response | None = None) -> None:
        """Try again behind the host's other addresses, at a slower pace, a few times."""
        self._failures[link.host] += 1
        asked = (response.headers.get("Retry-After") if response else None) or b""
        wanted = float(asked) if asked.isdigit() else 2 * pace(self.crawler, link.host)
        with self.memory.writing():
            if link.attempts + 1 >= self.config.max_attempts:
                self.memory.finish(link, "failed", reason)
            else:
                self.memory.retry(link)
            if (
                self._failures[link.host] >= self.config.max_attempts
                or wanted > self.config.max_delay_s
            ):
                self.memory.give_up(link.host, "failed", f"host left alone: {reason}")
        set_pace(self.crawler, link.host, max(wanted, pace(self.crawler, link.host)))

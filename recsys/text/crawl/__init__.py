"""The polite crawler: seeds enter, rows of the documents table leave.

Seeds are addresses of pages, feeds (RSS, Atom) and sitemaps; what an address is shows in its body.
A crawl obeys robots.txt and Crawl-delay (RFC 9309), asks each host at one slow pace under an honest
name, sends conditional requests, goes on after a kill, connects to no private network, and keeps
each text once. It is built on Scrapy's engine; the network door is `guard`, the memory `state`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from recsys.config import CrawlConfig
from recsys.data.dataset import Dataset
from recsys.errors import InputError, UsageError
from recsys.progress import note
from recsys.text.crawl.extract import Found
from recsys.text.crawl.guard import REQUESTS, AddressGuard, GuardedDownloadHandler, user_agent
from recsys.text.crawl.manners import CachePolicy, RobotsMiddleware, StateCache
from recsys.text.crawl.spider import DocumentSpider, FrontierScheduler
from recsys.text.crawl.state import CrawlState

__all__ = ["CrawlReport", "crawl", "read_seeds"]

_PROBLEMS = ("failed", "refused", "robots", "unreadable")


@dataclass(frozen=True)
class CrawlReport:
    """What a crawl did."""

    resumed: bool
    """True where a crawl that had been broken off went on."""
    requests: int
    """HTTP requests that went out, robots.txt among them."""
    documents: int
    """Rows that the documents table got."""
    outcomes: dict[str, int]
    """Addresses by what became of them: stored, unchanged, duplicate, language, robots, ..."""
    problems: list[tuple[str, str, str]]
    """(address, outcome, reason) of what could not or may not be fetched or read."""


def read_seeds(path: str | Path) -> list[str]:
    """Read a file with one address a line; empty lines and lines that begin with # are skipped.

    Raises
    ------
    InputError
        For a file that cannot be read or holds no address, and for a line that is not http(s).
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; give a text file with one address a line") from error
    seeds = []
    for row, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            if not line.startswith(("http://", "https://")) or not urlsplit(line).hostname:
                raise InputError(
                    f"{path}:{row}: {line[:80]!r} is not an http:// or https:// address"
                )
            seeds.append(line)
    if not seeds:
        raise InputError(f"{path}: no address in it; give one a line")
    return seeds


def crawl(
    seeds: Iterable[str],
    dataset: Dataset,
    config: CrawlConfig | None = None,
    *,
    state: str | Path | None = None,
) -> CrawlReport:
    """Crawl from `seeds` into the documents table of `dataset`.

    Parameters
    ----------
    seeds
        Addresses of pages, feeds and sitemaps.
    state
        Folder for what is remembered between crawls; the default is ``crawl/`` in a local dataset.

    Raises
    ------
    UsageError
        Where the dataset is a bucket and no `state` is given.
    InputError
        Where another crawl is under way with the same state.
    ConfigError
        For an allowed network that is none.
    """
    config = config or CrawlConfig()
    AddressGuard(config.allowed_networks)
    if state is None:
        if not dataset.folder.is_local:
            raise UsageError(f"{dataset.folder.path}: a bucket; give a local folder with --state")
        state = dataset.folder.locate("crawl")
    memory = CrawlState(Path(state) / "state.sqlite")
    try:
        documents = memory.publish(dataset)  # what a kill kept from the dataset
        resumed = memory.begin()
        if resumed:
            note("an earlier crawl was broken off: going on where it stopped")
        with memory.writing():
            memory.add(map(Found, seeds), depth=0)
        spider, requests = asyncio.run(_run(memory, config, dataset))
        documents += spider.published + memory.publish(dataset)
        report = CrawlReport(
            resumed, requests, documents, memory.outcomes(), memory.details(_PROBLEMS)
        )
        memory.end()
    finally:
        memory.close()
    return report


async def _run(
    state: CrawlState, config: CrawlConfig, dataset: Dataset
) -> tuple[DocumentSpider, int]:
    from scrapy.crawler import Crawler

    for library in ("scrapy", "trafilatura", "htmldate", "charset_normalizer", "py3langid"):
        logging.getLogger(library).addHandler(logging.NullHandler())
    crawler = Crawler(DocumentSpider, _settings(config))
    crawling = asyncio.ensure_future(
        crawler.crawl_async(state=state, config=config, dataset=dataset)
    )
    try:
        await asyncio.shield(crawling)
    except asyncio.CancelledError:
        # Scrapy breaks off what is under way, and would then ask for the next address.
        if isinstance(crawler.spider, DocumentSpider):
            crawler.spider.scheduler.stop()
        crawling.cancel()
        await asyncio.wait([crawling])
        raise
    assert isinstance(crawler.spider, DocumentSpider)
    return crawler.spider, int(crawler.stats.get_value(REQUESTS, 0))


def _settings(config: CrawlConfig) -> dict[str, object]:
    return {
        "CRAWL": config,
        "TWISTED_REACTOR_ENABLED": False,  # plain asyncio
        "USER_AGENT": user_agent(config),
        "SCHEDULER": FrontierScheduler,
        "DOWNLOAD_HANDLERS": {
            "http": GuardedDownloadHandler,
            "https": GuardedDownloadHandler,
            **dict.fromkeys(("data", "file", "ftp", "s3")),
        },
        "DOWNLOADER_MIDDLEWARES": {
            "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
            RobotsMiddleware: 100,
        },
        # The frontier lets one request a host out, so the number of requests needs no bound.
        "CONCURRENT_REQUESTS": 0,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "DOWNLOAD_DELAY": config.delay_s,
        "DOWNLOAD_DELAY_JITTER": 0.0,
        "DOWNLOAD_MAXSIZE": config.max_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "HTTPCACHE_ENABLED": True,
        "HTTPCACHE_STORAGE": StateCache,
        "HTTPCACHE_POLICY": CachePolicy,
        "HTTPERROR_ALLOW_ALL": True,
        "REDIRECT_ENABLED": False,
        "METAREFRESH_ENABLED": False,
        "RETRY_ENABLED": False,
        "COOKIES_ENABLED": False,
        "HTTPPROXY_ENABLED": False,  # a proxy would connect in our place, past the guard
        "REFERER_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "MEMUSAGE_ENABLED": False,
        "LOG_ENABLED": False,
        "STATS_DUMP": False,
    }

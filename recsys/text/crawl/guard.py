"""What the crawler may connect to, and how much it will read: the door to the network.

Enters a Scrapy request, leaves a response, over aiohttp. The address is judged at the last moment,
when the socket for it is made: whatever a name, a redirect or a second DNS answer leads to, a
connection to a private network cannot begin (this closes DNS rebinding, which a check of the name
before the request leaves open). Reading stops at a limit of bytes, of time and of content types.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import aiohttp
import yarl
from scrapy import Request
from scrapy.core.downloader.handlers.base import BaseDownloadHandler
from scrapy.crawler import Crawler
from scrapy.exceptions import DownloadFailedError, DownloadTimeoutError
from scrapy.http import Headers, Response
from scrapy.responsetypes import responsetypes

from recsys import __version__
from recsys.config import CrawlConfig
from recsys.errors import ConfigError

__all__ = ["REQUESTS", "AddressGuard", "GuardedDownloadHandler", "RefusedError", "user_agent"]

REQUESTS = "recsys/requests"
"""The statistic that counts what went out to the network."""
_TRANSFERS = 64
"""Bodies read at the same time; with one a host, so many hosts are served side by side."""
_READABLE = (
    "text/",
    "application/xhtml",
    "application/xml",
    "application/rss",
    "application/atom",
    "application/rdf",
    "application/gzip",
    "application/x-gzip",
)
_NAT64 = IPv6Network("64:ff9b::/96")


def user_agent(config: CrawlConfig) -> str:
    """Return the honest name under which the crawler asks."""
    contact = f"; {config.contact}" if config.contact else ""
    return f"recsys/{__version__} (crawler of an open-source music recommender{contact})"


class RefusedError(OSError):
    """Something that the crawler does not connect to or read; ``str(error)`` is the reason."""


class AddressGuard:
    """Tells which addresses may be connected to, and makes sockets for those only.

    Parameters
    ----------
    allowed_networks
        Networks such as ``10.0.0.0/8`` that are allowed although they are not public.

    Raises
    ------
    ConfigError
        For text that is not a network.
    """

    def __init__(self, allowed_networks: Sequence[str] = ()) -> None:
        try:
            self._allowed = [ip_network(network) for network in allowed_networks]
        except ValueError as error:
            raise ConfigError(f"[crawl] allowed_networks: {error}; give e.g. 10.0.0.0/8") from error

    def allows(self, address: str) -> bool:
        """Tell whether `address` (IPv4 or IPv6 text) is public or expressly allowed."""
        given = ip_address(address)
        reached = _embedded(given) or given
        if any(reached in network or given in network for network in self._allowed):
            return True
        return reached.is_global and not reached.is_multicast

    def socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """Make the socket for one getaddrinfo answer; `RefusedError` for an address not allowed."""
        family, kind, protocol, _, address = info
        if not self.allows(str(address[0])):
            raise RefusedError(f"{address[0]} is not a public address")
        return socket.socket(family, kind, protocol)


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 transition address leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]


class GuardedDownloadHandler(BaseDownloadHandler):
    """Scrapy's way to the network: one guarded aiohttp session, no cookies, no proxies."""

    lazy = True

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        config: CrawlConfig = crawler.settings["CRAWL"]
        self._max_bytes = config.max_bytes
        self._timeout = aiohttp.ClientTimeout(total=config.timeout_s)
        self._transfers = asyncio.Semaphore(_TRANSFERS)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                use_dns_cache=False,
                socket_factory=AddressGuard(config.allowed_networks).socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # Scrapy decompresses, with the limit of bytes
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def download_request(self, request: Request) -> Response:
        """Fetch `request`; RefusedError for what may not be fetched or is too large."""
        async with self._transfers:
            self.crawler.stats.inc_value(REQUESTS)
            try:
                async with self._session.get(
                    yarl.URL(request.url, encoded=True),
                    headers=request.headers.to_tuple_list(),
                    timeout=self._timeout,
                    allow_redirects=False,
                ) as answer:
                    body = await self._read(answer)
            except RefusedError:
                raise
            except TimeoutError as error:
                raise DownloadTimeoutError(
                    f"no whole answer in {self._timeout.total:g} s"
                ) from error
            except aiohttp.ClientConnectorError as error:
                if isinstance(error.os_error, RefusedError):
                    raise error.os_error from error
                raise DownloadFailedError(str(error)) from error
            except (aiohttp.ClientError, ValueError) as error:
                raise DownloadFailedError(f"{type(error).__name__}: {error}") from error
        headers = Headers(list(answer.headers.items()))
        if not body:
            headers.pop("Content-Encoding", None)  # nothing cannot be decompressed
        kind = responsetypes.from_args(headers=headers, url=request.url, body=body)
        return kind(request.url, status=answer.status, headers=headers, body=body, request=request)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """Return the body, or raise before more than the limit has been read."""
        if answer.status != 200:
            return b""  # no other status has a body that we use
        if not _readable(answer):
            raise RefusedError(f"content type {answer.content_type} is not read")
        too_large = RefusedError(f"body over {self._max_bytes} bytes")
        if (answer.content_length or 0) > self._max_bytes:
            raise too_large
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > self._max_bytes:
                raise too_large
        return bytes(body)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _readable(answer: aiohttp.ClientResponse) -> bool:
    """Tell whether the content type is one that text is read from; none at all is tried."""
    if "Content-Type" not in answer.headers or answer.url.path.endswith((".gz", "/robots.txt")):
        return True
    return answer.content_type.startswith(_READABLE)

"""The crawler against real local sites that misbehave: each runs a server on a loopback address."""

from __future__ import annotations

import gzip
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from recsys.config import CrawlConfig
from recsys.data.dataset import Dataset
from recsys.errors import ConfigError, InputError
from recsys.text.crawl import CrawlReport, crawl, read_seeds

PHRASES = (
    "the music of this band is a wonderful mix guitar drums noise and melancholic songs which were "
    "recorded with friends over many years in london she sings beautifully about love loss winter "
    "roads they played last summer before an audience that knew every line by heart"
)
WORDS = PHRASES.split()
PATIENCE_S = 300.0
"""How long a test waits for what must happen; reaching it is a failure."""

Route = Callable[["Handler"], None]


def prose(seed: object, n_words: int = 120) -> str:
    """Return English-looking words that differ from seed to seed."""
    draw = random.Random(repr(seed))
    return " ".join(draw.choice(WORDS) for _ in range(n_words))


def html(
    seed: object, *, text: str | None = None, head: str = "", links: tuple[str, ...] = ()
) -> str:
    """Return a page with an article, a footer with a year, and links."""
    anchors = "".join(f"<a href='{link}'>more</a>" for link in links)
    return (
        f"<!doctype html><html><head><title>Page {seed}</title>{head}</head><body>"
        f"<nav>{anchors}</nav><article><h1>About {seed}</h1><p>{text or prose(seed)}</p></article>"
        f"<footer>Copyright 2009 Example</footer></body></html>"
    )


def page(seed: object, **options: Any) -> Route:
    """Return a route that answers with an ordinary page."""
    return lambda handler: handler.answer(html(seed, **options))


def redirect(to: str, status: int = 302) -> Route:
    """Return a route that points elsewhere."""
    return lambda handler: handler.answer("", status=status, headers={"Location": to})


class Handler(BaseHTTPRequestHandler):
    """Answers from the routes of its site."""

    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.server.arrived(self)
        route = self.server.routes.get(self.path)
        if route is None and self.server.otherwise is not None:
            route = self.server.otherwise
        with suppress(ConnectionError):
            if route is None:
                self.answer("nothing here", status=404)
            else:
                route(self)
        self.server.answered(self)

    def answer(
        self,
        body: str | bytes,
        *,
        status: int = 200,
        kind: str = "text/html; charset=utf-8",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send a whole answer."""
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 304:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Stay silent."""


class Site(ThreadingHTTPServer):
    """A web site on an address of its own."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), Handler)
        self.url = f"http://{address}:{self.server_port}"
        self.routes: dict[str, Route] = {}
        self.otherwise: Route | None = None
        self.requests: list[tuple[str, float, dict[str, str]]] = []
        self.finished: Counter[str] = Counter()
        self.connections = 0
        self.changed = threading.Condition()

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()

    def arrived(self, handler: Handler) -> None:
        with self.changed:
            self.requests.append((handler.path, time.monotonic(), dict(handler.headers)))
            self.changed.notify_all()

    def answered(self, handler: Handler) -> None:
        with self.changed:
            self.finished[handler.path] += 1
            self.changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> bool:
        """Wait until something that requests bring about is true."""
        with self.changed:
            return self.changed.wait_for(condition, PATIENCE_S)

    @property
    def hits(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(path for path, _, _ in self.requests)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


@pytest.fixture
def sites() -> Iterator[Callable[[], Site]]:
    """Make sites, each on its own loopback address, which makes each a host of its own."""
    made: list[Site] = []

    def make() -> Site:
        site = Site(f"127.0.0.{len(made) + 1}")
        threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
        made.append(site)
        return site

    yield make
    for site in made:
        site.shutdown()
        site.server_close()


@pytest.fixture
def site(sites: Callable[[], Site]) -> Site:
    return sites()


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "dataset")


def run(seeds: list[str], dataset: Dataset, **options: Any) -> CrawlReport:
    """Crawl without a pause between requests, loopback allowed."""
    given = {"delay_s": 0.0, "timeout_s": 20.0, "allowed_networks": ("127.0.0.0/8",)}
    return crawl(seeds, dataset, CrawlConfig(**{**given, **options}))


def documents(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Return the stored documents by the path of their address."""
    rows = Dataset(dataset.folder.path).read("documents").to_pylist()
    return {"/" + row["url"].split("/", 3)[3]: row for row in rows}


# What is found and kept


def test_a_page_leads_to_the_pages_of_its_host_and_no_further(
    sites: Callable[[], Site], dataset: Dataset
) -> None:
    site, other = sites(), sites()
    site.routes |= {
        "/": page("home", links=("/a", "/a#part", "/song.mp3", f"{other.url}/x", "mailto:a@b.c")),
        "/a": page("a", links=("/deep",)),
        "/deep": page("deep"),
    }
    report = run([f"{site.url}/"], dataset)
    assert report.outcomes == {"stored": 2}
    assert report.documents == 2
    assert site.hits == {"/robots.txt": 1, "/": 1, "/a": 1}
    assert other.connections == 0
    kept = documents(dataset)
    assert set(kept) == {"/", "/a"}
    assert prose("a") in kept["/a"]["text"]
    assert kept["/a"]["title"] == "About a"
    assert kept["/a"]["published_at"] is None, "a footer's year is no date"


def test_feeds_and_sitemaps_lead_to_their_entries_with_dates(
    sites: Callable[[], Site], dataset: Dataset
) -> None:
    site, other = sites(), sites()
    for n in range(5):
        site.routes[f"/p{n}"] = page(n)
    other.routes["/q"] = page("q")
    rss = (
        f"<?xml version='1.0'?><rss version='2.0'><channel><item><link>{site.url}/p0</link>"
        "<pubDate>Tue, 05 Mar 2024 10:00:00 GMT</pubDate></item></channel></rss>"
    )
    atom = (
        "<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>1</id>"
        f"<link href='{site.url}/p1?utm_source=feed'/><published>2023-02-01T00:00:00Z</published>"
        "</entry></feed>"
    )
    urlset = (
        "<?xml version='1.0'?><urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>"
        f"<url><loc>{site.url}/p2</loc></url><url><loc>{other.url}/q</loc></url></urlset>"
    )
    index = (
        "<sitemapindex xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>"
        f"<sitemap><loc>{site.url}/map.xml.gz</loc></sitemap></sitemapindex>"
    )
    site.routes |= {
        "/rss": lambda h: h.answer(rss, kind="application/rss+xml"),
        "/atom": lambda h: h.answer(atom, kind="text/html"),  # a wrong content type
        "/index.xml": lambda h: h.answer(index, kind="text/xml"),
        "/map.xml.gz": lambda h: h.answer(
            gzip.compress(urlset.encode()), kind="application/x-gzip"
        ),
        "/p1?utm_source=feed": page(1),
    }
    report = run([site.url + path for path in ("/rss", "/atom", "/index.xml")], dataset, depth=0)
    assert report.outcomes == {"feed": 2, "sitemap": 2, "stored": 4}
    kept = documents(dataset)
    assert set(kept) == {"/p0", "/p1?utm_source=feed", "/p2", "/q"}
    assert kept["/p0"]["published_at"].isoformat() == "2024-03-05T10:00:00+00:00"
    assert kept["/p1?utm_source=feed"]["published_at"].isoformat() == "2023-02-01T00:00:00+00:00"


def test_other_languages_short_texts_and_noindex_are_not_kept(site: Site, dataset: Dataset) -> None:
    german = (
        "Die Musik dieser Gruppe ist eine wunderbare Mischung aus Gitarren und Trommeln, die mit "
        "Freunden über viele Jahre in Berlin aufgenommen wurde, und sie singt von Liebe und Leid "
        "und von langen Wintern auf dem Land, in denen niemand die Straße entlangkommt."
    )
    site.routes |= {
        "/": page("home", links=("/de", "/short", "/hidden", "/last")),
        "/de": page("de", text=german),
        "/short": page("short", text="A few words."),
        "/hidden": page(
            "hidden", head="<meta name='robots' content='noindex,nofollow'>", links=("/x",)
        ),
        "/last": page("last", head="<meta name='robots' content='nofollow'>", links=("/y",)),
    }
    report = run([f"{site.url}/"], dataset, depth=2)
    assert report.outcomes == {"language": 1, "no text": 1, "noindex": 1, "stored": 2}
    assert set(documents(dataset)) == {"/", "/last"}
    assert "/x" not in site.hits
    assert "/y" not in site.hits


def test_near_duplicates_are_kept_once(sites: Callable[[], Site], dataset: Dataset) -> None:
    site, mirror = sites(), sites()
    original = prose("original", 300)
    edited = (
        original.replace(original.split()[100], "edited", 1) + " Read more on our partner site."
    )
    site.routes["/a"] = page("a", text=original)
    mirror.routes["/a"] = page("a", text=edited)
    mirror.routes["/b"] = page("b")
    report = run([f"{site.url}/a", f"{mirror.url}/a", f"{mirror.url}/b"], dataset)
    assert report.outcomes == {"duplicate": 1, "stored": 2}


# Manners


def test_robots_txt_is_obeyed_under_an_honest_name(site: Site, dataset: Dataset) -> None:
    rules = "User-agent: recsys\nDisallow: /private\n\nUser-agent: *\nDisallow: /\n"
    site.routes |= {
        "/robots.txt": lambda h: h.answer(rules, kind="text/plain"),
        "/": page("home", links=("/private/a", "/b")),
        "/b": page("b"),
        "/private/a": page("a"),
    }
    report = run([f"{site.url}/"], dataset, contact="https://example.org/bot")
    assert report.outcomes == {"robots": 1, "stored": 2}
    assert "/private/a" not in site.hits
    agents = {headers["User-Agent"] for _, _, headers in site.requests}
    assert len(agents) == 1
    assert agents.pop().startswith("recsys/")
    assert "https://example.org/bot" in site.requests[0][2]["User-Agent"]


def test_the_front_page_of_a_site_leads_to_the_sitemaps_of_its_robots_txt(
    sites: Callable[[], Site], dataset: Dataset
) -> None:
    site, other = sites(), sites()

    def listing(*urls: str) -> Route:
        entries = "".join(f"<url><loc>{url}</loc></url>" for url in urls)
        return lambda h: h.answer(f"<urlset>{entries}</urlset>", kind="text/xml")

    rules = f"Sitemap: {site.url}/map.xml\nSitemap: /news.xml\nUser-agent: *\nDisallow: /no\n"
    site.routes |= {
        "/robots.txt": lambda h: h.answer(rules, kind="text/plain"),
        "/": page("home"),
        "/map.xml": listing(f"{site.url}/a", f"{site.url}/no"),
        "/news.xml": listing(f"{site.url}/b"),
        "/a": page("a", links=("/deep",)),
        "/b": page("b"),
    }
    other.routes |= {
        "/robots.txt": lambda h: h.answer(f"Sitemap: {other.url}/map.xml", kind="text/plain"),
        "/one": page("one"),
    }
    seeds = [f"{site.url}/", f"{other.url}/one"]
    assert run(seeds, dataset, depth=0).outcomes == {"stored": 2}, "only what is given"
    report = run(seeds, dataset)
    assert report.outcomes == {"robots": 1, "sitemap": 2, "stored": 2, "unchanged": 2}
    assert set(documents(dataset)) == {"/", "/a", "/b", "/one"}
    assert "/map.xml" not in other.hits, "a page is given, not its site"
    again = run(seeds, dataset)
    assert again.outcomes == {"robots": 1, "sitemap": 2, "unchanged": 4}


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_robots_txt_that_cannot_be_had_forbids_everything(
    site: Site, dataset: Dataset, status: int
) -> None:
    site.routes |= {"/robots.txt": lambda h: h.answer("", status=status), "/": page("home")}
    report = run([f"{site.url}/"], dataset)
    assert report.outcomes == {"robots": 1}
    assert set(site.hits) == {"/robots.txt"}


def test_a_redirected_robots_txt_is_followed(site: Site, dataset: Dataset) -> None:
    site.routes |= {
        "/robots.txt": redirect("/rules"),
        "/rules": lambda h: h.answer("User-agent: *\nDisallow: /a\n", kind="text/plain"),
        "/a": page("a"),
    }
    assert run([f"{site.url}/a"], dataset).outcomes == {"robots": 1}


def test_crawl_delay_lies_between_the_requests_of_one_host_only(
    sites: Callable[[], Site], dataset: Dataset
) -> None:
    delay_s = 0.3
    slow, quick = sites(), sites()
    rules = f"User-agent: *\nCrawl-delay: {delay_s}\n"
    slow.routes["/robots.txt"] = lambda h: h.answer(rules, kind="text/plain")
    for n in range(3):
        slow.routes[f"/{n}"] = page(f"slow {n}")
        quick.routes[f"/{n}"] = page(f"quick {n}")
    report = run([f"{s.url}/{n}" for s in (slow, quick) for n in range(3)], dataset)
    assert report.outcomes == {"stored": 6}
    times = [at for path, at, _ in slow.requests if path != "/robots.txt"]
    assert min(b - a for a, b in pairwise(times)) > 0.9 * delay_s
    assert quick.requests[-1][1] < slow.requests[-1][1], "the other host does not wait with it"


def test_a_host_that_asks_for_a_very_long_delay_is_left_alone(site: Site, dataset: Dataset) -> None:
    site.routes |= {
        "/robots.txt": lambda h: h.answer("User-agent: *\nCrawl-delay: 3600\n", kind="text/plain"),
        "/": page("home"),
    }
    report = run([f"{site.url}/"], dataset)
    assert report.outcomes == {"robots": 1}
    assert "3600" in report.problems[0][2]


# A second crawl, and one that was killed


def test_a_second_crawl_fetches_only_what_changed(site: Site, dataset: Dataset) -> None:
    versions = {"/etag": 1, "/dated": 1, "/plain": 1, "/aged": 1}

    def versioned(path: str, **headers: str) -> Route:
        def route(handler: Handler) -> None:
            validator = headers.get("ETag", "").format(versions[path]) or headers.get(
                "Modified", ""
            )
            asked = handler.headers.get("If-None-Match") or handler.headers.get("If-Modified-Since")
            sent = {"ETag": validator} if "ETag" in headers else {"Last-Modified": validator}
            sent = {"Cache-Control": headers["Cache"]} if "Cache" in headers else sent
            if asked is not None and asked == validator:
                handler.answer("", status=304)
            else:
                handler.answer(html((path, versions[path])), headers=sent if validator else None)

        return route

    site.routes |= {
        "/etag": versioned("/etag", ETag='"v{}"'),
        "/dated": versioned("/dated", Modified="Tue, 05 Mar 2024 10:00:00 GMT"),
        "/plain": versioned("/plain"),
        "/aged": versioned("/aged", ETag='"v{}"', Cache="public, max-age=3600"),
    }
    seeds = [site.url + path for path in versions]
    assert run(seeds, dataset).outcomes == {"stored": 4}
    before = documents(dataset)
    site.requests.clear()

    again = run(seeds, dataset)
    assert again.outcomes == {"unchanged": 4}
    assert again.documents == 0
    assert "/aged" not in site.hits, "the server said that it keeps for an hour"
    asked = {path: headers for path, _, headers in site.requests}
    assert asked["/etag"]["If-None-Match"] == '"v1"'
    assert asked["/dated"]["If-Modified-Since"] == "Tue, 05 Mar 2024 10:00:00 GMT"
    assert documents(dataset) == before

    versions["/etag"] = 2
    third = run(seeds, dataset)
    assert third.outcomes == {"stored": 1, "unchanged": 3}
    assert prose(("/etag", 2)) in documents(dataset)["/etag"]["text"]
    assert len(documents(dataset)) == 4


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_killed_crawl_goes_on_and_fetches_nothing_twice(
    site: Site, dataset: Dataset, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    hold = threading.Event()

    def held(handler: Handler) -> None:
        if not hold.is_set():
            hold.wait(PATIENCE_S)
            raise ConnectionAbortedError
        handler.answer(html(5))

    names = [f"/{n}" for n in range(10)]
    site.routes |= {name: page(name) for name in names} | {"/5": held}
    seeds = tmp_path / "seeds.txt"
    seeds.write_text("\n".join(site.url + name for name in names))
    # Who runs the tests in the background of a shell has SIGINT ignored, and children inherit that.
    heeding = ["env", "--default-signal=INT", sys.executable]
    command = [*heeding, "-m", "recsys", "crawl", str(seeds), dataset.folder.path]
    child = subprocess.Popen(
        [*command, "--allow-private", "--set", "crawl.delay_s=0.0"], stderr=subprocess.DEVNULL
    )
    try:
        assert site.until(lambda: site.hits["/5"] == 1)
    finally:
        os.kill(child.pid, sent)
        assert child.wait(PATIENCE_S) == code
    hold.set()
    assert Dataset(dataset.folder.path).count("documents") == 0, "nothing half-written is seen"

    report = run([site.url + name for name in names], dataset)
    assert report.resumed
    assert report.documents == 10
    # The sixth request had no answer when the kill came; it alone is made again.
    assert {path: n for path, n in site.hits.items() if n > 1} == {"/5": 2}
    assert set(documents(dataset)) == set(names)


def test_an_answer_stored_just_before_a_kill_is_not_fetched_again(
    site: Site, dataset: Dataset
) -> None:
    site.routes["/"] = page("home")
    run([f"{site.url}/"], dataset)
    with sqlite3.connect(Path(dataset.folder.path) / "crawl" / "state.sqlite") as state:
        state.execute("UPDATE runs SET ended = NULL")
        state.execute("UPDATE frontier SET outcome = NULL")
    state.close()
    report = run([f"{site.url}/"], dataset)
    assert report.resumed
    assert report.requests == 0
    assert site.hits == {"/robots.txt": 1, "/": 1}


def test_a_kill_between_the_dataset_and_the_state_publishes_once(
    site: Site, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys.text.crawl.state import CrawlState

    site.routes["/"] = page("home")
    publish = CrawlState._publish

    def killed(self: CrawlState, target: Dataset, batch: int) -> int:
        self._db.execute("SAVEPOINT before")
        publish(self, target, batch)
        self._db.execute("ROLLBACK TO before")
        self._db.execute("RELEASE before")
        raise KeyboardInterrupt

    monkeypatch.setattr(CrawlState, "_publish", killed)
    with pytest.raises(KeyboardInterrupt):
        run([f"{site.url}/"], dataset)
    monkeypatch.undo()
    assert run([f"{site.url}/"], dataset).documents == 0
    assert Dataset(dataset.folder.path).count("documents") == 1


def test_two_crawls_do_not_share_a_state(site: Site, dataset: Dataset) -> None:
    said: list[str] = []

    def second(handler: Handler) -> None:
        try:
            run([f"{site.url}/other"], dataset)
        except InputError as error:
            said.append(str(error))
        handler.answer(html("home"))

    site.routes["/"] = second
    assert run([f"{site.url}/"], dataset).outcomes == {"stored": 1}
    assert "another crawl" in said[0]


# Addresses that must not be reached


def test_private_addresses_are_refused_unless_told(site: Site, dataset: Dataset) -> None:
    site.routes["/"] = page("home")
    seeds = [f"{site.url}/", f"http://localhost:{site.server_port}/", "http://10.0.0.1/"]
    seeds += [
        f"http://[::ffff:127.0.0.1]:{site.server_port}/",
        f"http://2130706433:{site.server_port}/",
    ]
    report = run(seeds, dataset, allowed_networks=())
    reasons = {address: reason for address, _, reason in report.problems}
    assert set(reasons) == set(seeds)
    assert "127.0.0.1 is not a public address" in reasons[seeds[0]]
    assert "not a public address" in reasons[seeds[1]], "what a name leads to counts"
    assert site.connections == 0, "not even robots.txt is fetched"
    assert run(seeds[:1], Dataset(dataset.folder.path + "2")).outcomes == {"stored": 1}


def test_redirects_and_listings_cannot_lead_to_private_addresses(
    sites: Callable[[], Site], dataset: Dataset
) -> None:
    site, inner = sites(), sites()
    inner.otherwise = page("secret")
    feed = f"<rss version='2.0'><channel><item><link>{inner.url}/b</link></item></channel></rss>"
    site.routes |= {
        "/a": redirect(f"{inner.url}/a"),
        "/feed": lambda h: h.answer(feed, kind="text/xml"),
        "/file": redirect("file:///etc/passwd"),
        "/meta": page("m", head=f"<meta http-equiv='refresh' content='0;url={inner.url}/c'>"),
    }
    seeds = [site.url + path for path in ("/a", "/feed", "/file", "/meta")]
    report = run(seeds, dataset, allowed_networks=("127.0.0.1/32",))
    assert inner.connections == 0
    assert report.outcomes == {"feed": 1, "redirect": 2, "refused": 2, "stored": 1}


# Answers that would eat the memory or never end


def chunked(handler: Handler, n_bytes: int) -> None:
    """Send a body without saying its length beforehand."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    block = b"x" * 65536
    for _ in range(n_bytes // len(block)):
        handler.wfile.write(b"10000\r\n" + block + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def test_bodies_over_the_limit_are_not_read(site: Site, dataset: Dataset) -> None:
    zeros = gzip.compress(b"\0" * 30_000_000)
    site.routes |= {
        "/declared": lambda h: h.answer(b"x" * 2_000_000),
        "/chunked": lambda h: chunked(h, 64_000_000),
        "/bomb": lambda h: h.answer(zeros, headers={"Content-Encoding": "gzip"}),
        "/bombs": lambda h: h.answer(
            gzip.compress(zeros), headers={"Content-Encoding": "gzip, gzip"}
        ),
        "/map.xml.gz": lambda h: h.answer(zeros, kind="application/gzip"),
        "/film": lambda h: h.answer(b"x" * 1000, kind="video/mp4"),
        "/good": page("good"),
    }
    paths = [path for path in site.routes if path != "/robots.txt"]
    report = run([site.url + path for path in paths], dataset, max_bytes=1_000_000)
    reasons = {address.removeprefix(site.url): why for address, _, why in report.problems}
    assert set(reasons) == set(paths) - {"/good"}
    assert report.outcomes == {"refused": 5, "stored": 1, "unreadable": 1}
    assert "video/mp4" in reasons["/film"]


def test_redirects_end(site: Site, dataset: Dataset) -> None:
    site.routes |= {
        "/loop": redirect("/back"),
        "/back": redirect("/loop"),
        "/self": redirect("/self"),
        "/moved": redirect("/page", 301),
        "/page": page("page"),
        "/nowhere": lambda h: h.answer("", status=302),
    }

    def endless(handler: Handler) -> None:
        redirect(f"/r{int(handler.path.removeprefix('/r') or 0) + 1}")(handler)

    site.otherwise = lambda h: h.answer("", status=404) if h.path == "/robots.txt" else endless(h)
    paths = ("/loop", "/self", "/moved", "/page", "/nowhere", "/r0")
    report = run([site.url + path for path in paths], dataset, max_redirects=4)
    assert site.hits["/loop"] == site.hits["/back"] == site.hits["/self"] == site.hits["/page"] == 1
    assert sum(path.startswith("/r") and path != "/robots.txt" for path in site.hits) == 5
    assert report.outcomes["stored"] == 1
    assert report.outcomes["failed"] == 1


def test_a_slow_host_never_stalls_the_others(sites: Callable[[], Site], dataset: Dataset) -> None:
    slow, quick = sites(), sites()
    names = [f"/{n}" for n in range(20)]
    quick.routes |= {name: page(name) for name in names}

    def after_the_others(handler: Handler) -> None:
        # Answers only when the other host has been read to its end: a stall would end in a timeout.
        if quick.until(lambda: quick.finished[names[-1]] == 1):
            handler.answer(html("slow"))

    slow.routes |= {f"/{n}": after_the_others for n in range(3)}
    seeds = [f"{slow.url}/{n}" for n in range(3)] + [quick.url + name for name in names]
    report = run(seeds, dataset)
    assert report.outcomes == {"duplicate": 2, "stored": 21}


def test_an_answer_that_drips_is_cut_off(sites: Callable[[], Site], dataset: Dataset) -> None:
    drip, good = sites(), sites()
    over = threading.Event()

    def dripping(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        while not over.wait(0.05):
            handler.wfile.write(b".")

    drip.routes["/"] = dripping
    good.routes["/"] = page("good")
    try:
        report = run([f"{drip.url}/", f"{good.url}/"], dataset, timeout_s=2.0, max_attempts=1)
    finally:
        over.set()
    assert report.outcomes == {"failed": 1, "stored": 1}
    assert "2 s" in report.problems[0][2]


def test_broken_answers_are_tried_again_and_then_left(
    sites: Callable[[], Site], dataset: Dataset
) -> None:
    flaky, broken, good = sites(), sites(), sites()

    def second_time(handler: Handler) -> None:
        if flaky.hits[handler.path] == 1:
            handler.answer("", status=503, headers={"Retry-After": "0"})
        else:
            handler.answer(html(handler.path))

    def raw(content: bytes) -> Route:
        def route(handler: Handler) -> None:
            handler.wfile.write(content)
            handler.close_connection = True

        return route

    flaky.routes |= {"/1": second_time, "/2": page("2")}
    broken.routes |= {
        "/0": raw(b""),
        "/1": raw(b"not http at all\r\n\r\n"),
        "/2": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ntoo short"),
        "/3": page("never reached"),
    }
    good.routes["/"] = page("good")
    seeds = [f"{flaky.url}/1", f"{flaky.url}/2", *(f"{broken.url}/{n}" for n in range(4))]
    report = run([*seeds, f"{good.url}/"], dataset)
    assert report.outcomes == {"failed": 4, "stored": 3}
    assert "/3" not in broken.hits, "after three failures in a row the host is left alone"
    assert flaky.hits == {"/robots.txt": 1, "/1": 2, "/2": 1}


def test_a_host_that_asks_to_come_back_much_later_is_left_alone(
    site: Site, dataset: Dataset
) -> None:
    site.routes |= {
        "/a": lambda h: h.answer("", status=429, headers={"Retry-After": "86400"}),
        "/b": page("b"),
    }
    assert run([f"{site.url}/a", f"{site.url}/b"], dataset).outcomes == {"failed": 2}
    assert "/b" not in site.hits


def test_odd_bodies_do_not_end_the_crawl(site: Site, dataset: Dataset) -> None:
    laughs = "<!DOCTYPE l [<!ENTITY a 'ha'>" + "".join(
        f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    entry = "<item><title>&i;</title><link>http://127.0.0.1/x</link></item>"
    site.routes |= {
        "/empty": lambda h: h.answer(""),
        "/bytes": lambda h: h.answer(bytes(range(256)) * 100),
        "/deep": lambda h: h.answer("<div>" * 50_000),
        "/laughs": lambda h: h.answer(f"{laughs}]><rss><channel>{entry}</channel></rss>"),
        "/notgzip": lambda h: h.answer("plain", headers={"Content-Encoding": "gzip"}),
        "/map": lambda h: h.answer("<urlset><url><loc>http://[bad</loc></url>", kind="text/xml"),
        "/links": page("links", links=("http://[::1", "javascript:x()", "//", "http://")),
        "/latin": lambda h: h.answer(
            html("l", text="caf\xe9 " + prose("l")).encode("latin-1"),
            kind="text/html; charset=latin-1",
        ),
    }
    paths = [path for path in site.routes if path != "/robots.txt"]
    report = run([site.url + path for path in paths], dataset)
    assert sum(report.outcomes.values()) >= len(paths)
    kept = documents(dataset)
    assert {"/links", "/latin"} <= set(kept) <= {"/links", "/latin", "/bytes"}
    assert "caf\xe9" in kept["/latin"]["text"]


def test_max_pages_ends_the_crawl(site: Site, dataset: Dataset) -> None:
    def trap(handler: Handler) -> None:
        n = int(handler.path.removeprefix("/day") or 0)
        handler.answer(html(n, links=(f"/day{n + 1}", f"/day{n + 2}")))

    site.otherwise = lambda h: h.answer("", status=404) if h.path == "/robots.txt" else trap(h)
    report = run([f"{site.url}/day1"], dataset, depth=1000, max_pages=12)
    assert sum(report.outcomes.values()) == 12


# Wrong input


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no address"),
        (b"# only a comment\n", "no address"),
        (b"https://example.org/\nftp://example.org/\n", "seeds.txt:2"),
        (b"http://\n", "seeds.txt:1"),
        (b"\xff\xfe", "seeds.txt"),
    ],
)
def test_seeds_that_cannot_be_read_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "seeds.txt").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_seeds(tmp_path / "seeds.txt")


def test_a_network_that_is_none_is_named(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="allowed_networks"):
        crawl(["https://example.org/"], dataset, CrawlConfig(allowed_networks=("home",)))


def test_the_state_must_be_a_state(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"something else" * 100)
    with pytest.raises(InputError, match="not a crawl's state"):
        crawl(["https://example.org/"], dataset, state=tmp_path)


def test_the_command_prints_what_became_of_the_addresses(
    site: Site, dataset: Dataset, tmp_path: Path
) -> None:
    site.routes["/"] = page("home")
    (tmp_path / "seeds.txt").write_text(f"# mine\n{site.url}/\n{site.url}/gone\n")
    arguments = [tmp_path / "seeds.txt", dataset.folder.path, "--allow-private"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "recsys",
            "crawl",
            *map(str, arguments),
            "--set",
            "crawl.delay_s=0.0",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "1 documents" in done.stdout
    assert "HTTP 404" in done.stdout
    assert "Traceback" not in done.stderr

"""What the crawler remembers: one SQLite file that a kill at any moment leaves consistent.

It holds the frontier of the running crawl, every answer with its validators (the HTTP cache), what
was made of each page, and the documents not yet handed to the dataset. All that follows from one
answer is written in one transaction; after a kill the crawl goes on with the addresses that have
no outcome, so nothing that was finished is fetched twice.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from w3lib.url import canonicalize_url, safe_url_string, url_query_cleaner

from recsys.data.dataset import Dataset
from recsys.data.tables import TABLES
from recsys.errors import InputError
from recsys.text.crawl.extract import Found
from recsys.text.crawl.near import bands, resemblance, signature

__all__ = ["Answer", "CrawlState", "Link", "Text", "canonical"]

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, ended REAL);
CREATE TABLE IF NOT EXISTS frontier (
    place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, url TEXT NOT NULL, host TEXT NOT NULL,
    depth INTEGER NOT NULL, redirects INTEGER NOT NULL, published_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0, outcome TEXT, detail TEXT);
CREATE INDEX IF NOT EXISTS waiting
    ON frontier (host, attempts, depth, place) WHERE outcome IS NULL;
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, run INTEGER NOT NULL, at REAL NOT NULL,
    status INTEGER NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pages (
    key TEXT PRIMARY KEY, body_hash BLOB NOT NULL, links TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    doc_id TEXT PRIMARY KEY, url TEXT NOT NULL, title TEXT, text TEXT, text_hash BLOB NOT NULL,
    published_at INTEGER, signature BLOB NOT NULL, batch INTEGER);
CREATE INDEX IF NOT EXISTS batches ON documents (batch) WHERE text IS NOT NULL;
CREATE TABLE IF NOT EXISTS bands (
    band INTEGER, value INTEGER, doc_id TEXT, PRIMARY KEY (band, value, doc_id)) WITHOUT ROWID;
"""
_TRACKING = [
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "fbclid",
    "gclid",
]
_ROWS = 1000
"""Documents handed to the dataset at once."""


@dataclass(frozen=True)
class Link:
    """One address of the frontier."""

    place: int
    key: str
    """Canonical address: the name of the page in all tables."""
    url: str
    host: str
    depth: int
    redirects: int
    attempts: int
    published_at: int | None


@dataclass(frozen=True)
class Answer:
    """A stored HTTP answer."""

    of_this_run: bool
    at: float
    """Seconds since 1970 when it was stored."""
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Text:
    """A document about to be kept."""

    url: str
    title: str | None
    text: str
    published_at: int | None


def canonical(url: str) -> str:
    """Return the one name of all spellings of an address; tracking parameters are dropped."""
    cleaned: str = url_query_cleaner(url, _TRACKING, remove=True)
    return str(canonicalize_url(cleaned))


class CrawlState:
    """The state of the crawls into one dataset.

    Raises
    ------
    InputError
        Where another crawl holds the file, or it is not such a file.
    """

    def __init__(self, path: str | Path) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_TABLES)
        except sqlite3.OperationalError as error:
            raise InputError(f"{path}: {error}; another crawl uses it, wait for its end") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: not a crawl's state: {error}; give --state") from error
        self.run = 0

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make all that is written in the block visible at once, or nothing of it."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # The run and its frontier

    def begin(self) -> bool:
        """Go on with the crawl that was broken off (True), or begin a new one (False)."""
        last = self._db.execute("SELECT run FROM runs WHERE ended IS NULL").fetchone()
        if last is not None:
            self.run = last[0]
            return True
        with self.writing():
            self._db.execute("DELETE FROM frontier")
            self.run = self._db.execute("INSERT INTO runs DEFAULT VALUES").lastrowid or 0
        return False

    def end(self) -> None:
        """Close the run: the next crawl begins with its seeds."""
        self._db.execute("UPDATE runs SET ended = ? WHERE run = ?", (time.time(), self.run))

    def add(self, found: Iterable[Found], *, depth: int, redirects: int = 0) -> set[str]:
        """Put addresses that are new to this run into the frontier; return their hosts."""
        hosts = set()
        for link in found:
            try:
                url = str(safe_url_string(link.url)).partition("#")[0]
                host, key = urlsplit(url).hostname, canonical(url)
            except ValueError:
                continue
            if not host or urlsplit(url).scheme not in ("http", "https"):
                continue
            added = self._db.execute(
                "INSERT INTO frontier (key, url, host, depth, redirects, published_at) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "depth = min(depth, excluded.depth) WHERE outcome IS NULL",
                (key, url, host, depth, redirects, link.published_at),
            )
            if added.rowcount:
                hosts.add(host)
        return hosts

    def waiting_hosts(self) -> list[str]:
        """Return the hosts that have addresses without an outcome."""
        rows = self._db.execute("SELECT DISTINCT host FROM frontier WHERE outcome IS NULL")
        return [host for (host,) in rows]

    def next(self, host: str) -> Link | None:
        """Return the next address of `host`: the least tried, then the nearest to the seeds."""
        row = self._db.execute(
            "SELECT place, key, url, host, depth, redirects, attempts, published_at FROM frontier "
            "WHERE host = ? AND outcome IS NULL ORDER BY attempts, depth, place LIMIT 1",
            (host,),
        ).fetchone()
        return None if row is None else Link(*row)

    def finish(self, link: Link, outcome: str, detail: str = "") -> None:
        """Write down what became of `link`."""
        self._db.execute(
            "UPDATE frontier SET outcome = ?, detail = ? WHERE place = ?",
            (outcome, detail, link.place),
        )

    def retry(self, link: Link) -> None:
        """Put `link` back behind those of its host that were tried less."""
        self._db.execute(
            "UPDATE frontier SET attempts = attempts + 1 WHERE place = ?", (link.place,)
        )

    def give_up(self, host: str, outcome: str, detail: str) -> None:
        """Finish everything that waits for `host`."""
        self._db.execute(
            "UPDATE frontier SET outcome = ?, detail = ? WHERE host = ? AND outcome IS NULL",
            (outcome, detail, host),
        )

    def outcomes(self) -> dict[str, int]:
        """Return how many addresses of this run had each outcome."""
        rows = self._db.execute(
            "SELECT outcome, count(*) FROM frontier WHERE outcome IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        return dict(rows.fetchall())

    def details(self, outcomes: Iterable[str]) -> list[tuple[str, str, str]]:
        """Return (address, outcome, detail) of the addresses with one of `outcomes`."""
        wanted = list(outcomes)
        marks = ",".join("?" * len(wanted))
        rows = self._db.execute(
            f"SELECT url, outcome, detail FROM frontier WHERE outcome IN ({marks}) ORDER BY place",
            wanted,
        )
        return rows.fetchall()

    # Answers: the HTTP cache

    def answer(self, key: str) -> Answer | None:
        """Return the stored answer to `key`."""
        row = self._db.execute(
            "SELECT run, at, status, headers, body FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        headers = [(name, value) for name, value in json.loads(row[3])]
        return Answer(row[0] == self.run, row[1], row[2], headers, zlib.decompress(row[4]))

    def store_answer(
        self, key: str, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        """Replace the stored answer to `key`."""
        self._db.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
            (key, self.run, time.time(), status, json.dumps(headers), zlib.compress(body, 1)),
        )

    # Pages and documents

    def links_if_same(self, key: str, body: bytes) -> list[str] | None:
        """Return the links of page `key` where it was read before with this very body."""
        row = self._db.execute(
            "SELECT links FROM pages WHERE key = ? AND body_hash = ?", (key, _hash(body))
        ).fetchone()
        return None if row is None else list(json.loads(row[0]))

    def store_page(self, key: str, body: bytes, links: list[str]) -> None:
        """Remember that page `key` with this body was read, and where it leads."""
        self._db.execute(
            "INSERT OR REPLACE INTO pages VALUES (?, ?, ?)", (key, _hash(body), json.dumps(links))
        )

    def keep(self, key: str, document: Text, *, threshold: float) -> str:
        """Keep a document; return ``stored``, ``unchanged`` or ``duplicate of <address>``.

        A text that resembles a document of another address by `threshold` or more is dropped.
        """
        doc_id, text_hash = _hash(key.encode()).hex()[:32], _hash(document.text.encode())
        known = self._db.execute(
            "SELECT text_hash FROM documents WHERE doc_id = ?", (doc_id,)
        ).fetchone()
        if known is not None and known[0] == text_hash:
            return "unchanged"
        signed = signature(document.text)
        values = list(enumerate(bands(signed)))
        if (twin := self._twin(doc_id, values, signed, threshold)) is not None:
            return f"duplicate of {twin}"
        self._db.execute("DELETE FROM bands WHERE doc_id = ?", (doc_id,))
        self._db.execute(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                *(doc_id, document.url, document.title, document.text, text_hash),
                *(document.published_at, signed.tobytes()),
            ),
        )
        self._db.executemany(
            "INSERT INTO bands VALUES (?, ?, ?)", [(b, value, doc_id) for b, value in values]
        )
        return "stored"

    def _twin(
        self,
        doc_id: str,
        values: list[tuple[int, int]],
        signed: np.ndarray[tuple[int, ...], np.dtype[np.uint32]],
        threshold: float,
    ) -> str | None:
        """Return the address of a kept document that resembles the signed text."""
        seen = {doc_id}
        for band in values:
            for other, url, stored in self._db.execute(
                "SELECT doc_id, url, signature FROM bands JOIN documents USING (doc_id) "
                "WHERE band = ? AND value = ?",
                band,
            ):
                if other not in seen:
                    seen.add(other)
                    if resemblance(signed, np.frombuffer(stored, np.uint32)) >= threshold:
                        return str(url)
        return None

    # Into the dataset

    def unpublished(self) -> int:
        """Return how many documents the dataset does not have yet."""
        row = self._db.execute("SELECT count(*) FROM documents WHERE text IS NOT NULL").fetchone()
        return int(row[0])

    def publish(self, dataset: Dataset) -> int:
        """Append the waiting documents to the dataset; return how many rows were new to it.

        The documents are first given the number of a batch, which is the import's fingerprint: a
        kill between the dataset's commit and ours repeats a batch that the dataset then knows.
        """
        rows = 0
        batches = self._db.execute(
            "SELECT DISTINCT batch FROM documents WHERE text IS NOT NULL AND batch IS NOT NULL"
        ).fetchall()
        for (batch,) in batches:
            rows += self._publish(dataset, batch)
        self._db.execute(
            "UPDATE documents SET batch = (SELECT coalesce(max(batch), 0) + 1 FROM documents) "
            "WHERE text IS NOT NULL AND batch IS NULL"
        )
        if self.unpublished():
            (newest,) = self._db.execute("SELECT max(batch) FROM documents").fetchone()
            rows += self._publish(dataset, newest)
        return rows

    def _publish(self, dataset: Dataset, batch: int) -> int:
        digest = sha256()
        for row in self._db.execute(
            "SELECT doc_id, text_hash FROM documents WHERE batch = ? AND text IS NOT NULL "
            "ORDER BY doc_id",
            (batch,),
        ):
            digest.update(row[0].encode() + row[1])
        with dataset.transaction() as transaction:
            rows = transaction.append(
                "documents", self._batches(batch), source="crawl", fingerprint=digest.hexdigest()
            )
        # The text lies in the dataset from here on; its hash and signature are enough for us.
        self._db.execute("UPDATE documents SET text = NULL WHERE batch = ?", (batch,))
        return rows

    def _batches(self, batch: int) -> Iterator[pa.RecordBatch]:
        cursor = self._db.execute(
            "SELECT doc_id, url, title, text, published_at FROM documents "
            "WHERE batch = ? AND text IS NOT NULL ORDER BY doc_id",
            (batch,),
        )
        names = ("doc_id", "url", "title", "text", "published_at")
        schema = TABLES["documents"].schema
        while rows := cursor.fetchmany(_ROWS):
            columns = zip(*rows, strict=True)
            arrays = {
                n: pa.array(c, schema.field(n).type) for n, c in zip(names, columns, strict=True)
            }
            yield pa.RecordBatch.from_pydict(arrays)


def _hash(content: bytes) -> bytes:
    return sha256(content).digest()

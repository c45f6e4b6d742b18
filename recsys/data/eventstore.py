"""Live events in a database: durable when `add` returns, each event once, nothing private.

Enters: checked events. Leaves: one listener's events after a version's cut-off, everything up to a
number for an import, and tombstones. SQLite (``sqlite:///file``) serves one machine, PostgreSQL
(``postgresql+psycopg://...``) several; both run the same statements.

Events are numbered in the order of arrival. A version knows the number up to which its training had
them (`Cutoffs`), so a replica needs no profile: the version's own rows and the events after that
number are the whole history.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from recsys.data.tombstones import tombstone
from recsys.errors import InputError, RecsysError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["Added", "EventStore", "History", "StoreError", "Variant"]

T = TypeVar("T")

_SCHEMA = 1
_BATCH = 50_000
_BUSY_S = 10.0
_COLUMNS = (
    "event_id", "user_id", "item_id", "artist_id", "kind", "value", "at", "ms_played", "context",
    "organic",
)  # fmt: skip


class StoreError(RecsysError):
    """The database cannot be reached or refuses; what was accepted before is kept."""


@dataclass(frozen=True)
class Added:
    """What became of some events."""

    accepted: int
    duplicates: int
    """Events whose event_id was there already."""
    deleted: int
    """Events of listeners who were deleted."""


@dataclass(frozen=True)
class History:
    """What the store knows of one listener."""

    deleted: bool
    events: list[dict[str, Any]]
    """In order of time; columns as in the events table, ``at`` in milliseconds since 1970."""


@dataclass(frozen=True)
class Variant:
    """What one listener of one variant of an experiment was shown, and what they then played."""

    variant: str
    user_id: str
    exposures: int
    """Distinct items shown."""
    plays: int
    """Those of them that were streamed afterwards."""


class EventStore:
    """One database of events, tombstones and exposures; made where it is not there yet.

    Parameters
    ----------
    url
        SQLAlchemy's form of address, e.g. ``sqlite:////srv/recsys/models/events.db``.

    Raises
    ------
    InputError
        For an address that SQLAlchemy does not understand.
    StoreError
        Where the database cannot be reached, or was written by a newer recsys.
    """

    def __init__(self, url: str) -> None:
        import sqlalchemy as sa

        from recsys.data import eventtables

        self._sa, self._tables = sa, eventtables
        try:
            self.engine = _engine(url)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise InputError(
                f"--events: {error}; give sqlite:///FILE or postgresql+psycopg://HOST/NAME"
            ) from None
        self.address = self.engine.url.render_as_string(hide_password=True)
        insert: Any
        if self.engine.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import insert
        else:
            from sqlalchemy.dialects.sqlite import insert
        self._insert = insert
        self.id = self._run(self._prepare, write=True)
        """Names this database in a version's cut-offs; a copy of it has the same."""

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def add(self, events: Sequence[Mapping[str, Any]]) -> Added:
        """Keep events; they are on disk when this returns.

        Parameters
        ----------
        events
            Columns of the events table, ``at`` in milliseconds since 1970; every one with an
            event_id. An id that is there already changes nothing. Deleted listeners stay deleted.
        """
        if not events:
            return Added(0, 0, 0)
        sa, table = self._sa, self._tables.events
        now = int(time.time() * 1000)
        rows: list[dict[str, Any]] = [
            {**{n: event.get(n) for n in _COLUMNS}, "received_at": now} for event in events
        ]

        def insert(connection: Connection) -> Added:
            gone = self._buried(connection, {row["user_id"] for row in rows}, locked=True)
            kept = [row for row in rows if row["user_id"] not in gone]
            ids = {row["event_id"] for row in kept}
            known = sa.select(table.c.event_id).where(table.c.event_id.in_(ids))
            there = set(connection.execute(known).scalars())
            new = list({row["event_id"]: row for row in reversed(kept)}.values())[::-1]
            new = [row for row in new if row["event_id"] not in there]
            added = 0
            if new:
                statement = self._insert(table).values(new).on_conflict_do_nothing()
                added = len(connection.execute(statement.returning(table.c.seq)).all())
            return Added(added, len(kept) - added, len(rows) - len(kept))

        return self._run(insert, write=True)

    def history(self, user_id: str, after: int) -> History:
        """Return whether a listener is deleted, and else their events numbered above `after`."""
        if not _storable(user_id):
            return History(False, [])
        values = {"hash": tombstone(user_id), "user_id": user_id, "after": after}

        def read(connection: Connection) -> History:
            rows = connection.execute(self._tables.history, values).all()
            if any(row.seq is None for row in rows):
                return History(True, [])
            events = [{n: getattr(row, n) for n in _COLUMNS} for row in rows]
            return History(False, sorted(events, key=lambda event: event["at"]))

        return self._run(read)

    def deleted(self, user_ids: Iterable[str]) -> set[str]:
        """Return those of `user_ids` who were deleted."""
        wanted = set(user_ids)
        return self._run(lambda c: self._buried(c, wanted)) if wanted else set()

    def tombstones(self) -> set[str]:
        """Return the hashes of all deleted listeners."""
        hashes = self._sa.select(self._tables.tombstones.c.user_hash)
        return self._run(lambda c: set(c.execute(hashes).scalars()))

    def forget(self, user_id: str) -> int:
        """Delete a listener: a tombstone from now on, and no row of theirs; return their number."""
        sa, tables, hash = self._sa, self._tables, tombstone(user_id)

        def bury(connection: Connection) -> int:
            if self.engine.dialect.name == "postgresql":
                # Waits for those who `add` at this moment, and lets them see the tombstone after.
                lock = "LOCK TABLE recsys_tombstones IN SHARE ROW EXCLUSIVE MODE"
                connection.execute(sa.text(lock))
            mark = {"user_hash": hash, "at": int(time.time() * 1000)}
            connection.execute(
                self._insert(tables.tombstones).values(mark).on_conflict_do_nothing()
            )
            gone = [
                connection.execute(sa.delete(table).where(table.c.user_id == user_id)).rowcount
                for table in (tables.events, tables.exposures)
            ]
            return sum(map(int, gone))

        n = self._run(bury, write=True)
        self._scrub()
        return n

    def last(self) -> int:
        """Return the highest number of an event such that no lower one is still being written."""
        sa, events = self._sa, self._tables.events

        def read(connection: Connection) -> int:
            if self.engine.dialect.name == "postgresql":
                # A number is drawn before its row is committed; this waits for those under way.
                connection.execute(sa.text("LOCK TABLE recsys_events IN SHARE MODE"))
            return int(connection.execute(sa.select(sa.func.max(events.c.seq))).scalar() or 0)

        return self._run(read)

    def batches(self, after: int, until: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the events numbered above `after` and up to `until`, in that order."""
        sa, table = self._sa, self._tables.events
        while after < until:
            some = sa.select(table).where(table.c.seq > after, table.c.seq <= until)
            page = some.order_by(table.c.seq).limit(_BATCH)
            rows = self._run(partial(_read_all, page))
            if not rows:
                return
            after = int(rows[-1]["seq"])
            yield rows

    def expose(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep what listeners were shown: user_id, experiment, variant, version, item_id, at."""
        if rows:
            table = self._tables.exposures
            insert = self._insert(table).values(list(rows))
            self._run(lambda c: c.execute(insert), write=True)

    def variants(self, experiment: str) -> list[Variant]:
        """Count, per listener, the items that an experiment showed and those played afterwards."""
        return self._run(
            lambda c: [
                Variant(row.variant, row.user_id, int(row.exposures), int(row.plays))
                for row in c.execute(self._tables.outcome, {"experiment": experiment})
            ]
        )

    def _buried(
        self, connection: Connection, user_ids: Collection[str], *, locked: bool = False
    ) -> set[str]:
        """Return those who have a tombstone; `locked` keeps new ones out till the commit."""
        sa, table = self._sa, self._tables.tombstones
        by_hash = {tombstone(id): id for id in user_ids}
        if locked and self.engine.dialect.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE recsys_tombstones IN ROW EXCLUSIVE MODE"))
        found = sa.select(table.c.user_hash).where(table.c.user_hash.in_(by_hash))
        return {by_hash[hash] for hash in connection.execute(found).scalars()}

    def _prepare(self, connection: Connection) -> str:
        sa, tables = self._sa, self._tables
        if self.engine.dialect.name == "postgresql":
            # Two servers that start at once would both try to make the tables.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7165437)"))
        tables.metadata.create_all(connection)
        facts = tables.facts
        for name, value in (("id", uuid.uuid4().hex), ("schema", str(_SCHEMA))):
            row = {"name": name, "value": value}
            connection.execute(self._insert(facts).values(row).on_conflict_do_nothing())
        stored = {row.name: row.value for row in connection.execute(sa.select(facts))}
        if int(stored["schema"]) > _SCHEMA:
            raise StoreError(f"{self.address}: written by a newer recsys; upgrade recsys")
        return str(stored["id"])

    def _run(self, work: Callable[[Connection], T], *, write: bool = False) -> T:
        """Do `work` in one transaction; once more where the connection turns out to be severed."""
        error_type = self._sa.exc.DBAPIError
        for attempt in (1, 2):
            try:
                with self.engine.connect() as connection:
                    if write and self.engine.dialect.name == "sqlite":
                        # A writer that had begun by reading would be refused where it is second,
                        # not made to wait. A reader needs no transaction: it is one statement.
                        connection.exec_driver_sql("BEGIN IMMEDIATE")
                    found = work(connection)
                    if write:
                        connection.commit()
                    return found
            except error_type as error:
                # Every statement here may be repeated: what is there already changes nothing.
                if attempt == 1 and error.connection_invalidated:
                    continue
                reason = str(error.orig).splitlines()[0] if error.orig else type(error).__name__
                raise StoreError(
                    f"{self.address}: the event store does not answer ({reason}); is it running?"
                ) from error
        raise AssertionError("the second attempt returns or raises")

    def _scrub(self) -> None:
        """Overwrite what was deleted on disk, as far as the database lets us."""
        with self.engine.connect() as connection:
            plain = connection.execution_options(isolation_level="AUTOCOMMIT")
            if self.engine.dialect.name == "sqlite":
                plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                plain.exec_driver_sql("VACUUM recsys_events, recsys_exposures")


def _read_all(statement: Any, connection: Connection) -> list[dict[str, Any]]:
    return [row._asdict() for row in connection.execute(statement)]


def _storable(user_id: str) -> bool:
    """Tell whether a database can hold this text at all; what it cannot, it does not know."""
    return "\0" not in user_id and not any("\ud800" <= sign <= "\udfff" for sign in user_id)


def _engine(url: str) -> Engine:
    import sqlalchemy as sa

    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_size=10, max_overflow=40)
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_S})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # only a writer begins a transaction, in `_run`
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # in WAL mode anything less may lose commits when power fails
            "secure_delete=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine

"""The tables and the two joined questions of the event store, for SQLAlchemy."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["events", "exposures", "facts", "history", "metadata", "outcome", "tombstones"]

metadata = sa.MetaData()
# SQLite numbers rows by itself in a column that is declared INTEGER only.
_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _number() -> sa.Column[int]:
    return sa.Column("seq", _Number, primary_key=True, autoincrement=True)


facts = sa.Table(
    "recsys_facts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
events = sa.Table(
    "recsys_events",
    metadata,
    _number(),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("item_id", sa.Text),
    sa.Column("artist_id", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("value", sa.Float(53), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("ms_played", sa.BigInteger),
    sa.Column("context", sa.Text),
    sa.Column("organic", sa.Boolean, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Index("recsys_events_by_user", "user_id", "seq"),
    sqlite_autoincrement=True,  # a number is never given twice, even after deletions
)
tombstones = sa.Table(
    "recsys_tombstones",
    metadata,
    sa.Column("user_hash", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
)
exposures = sa.Table(
    "recsys_exposures",
    metadata,
    _number(),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("recsys_exposures_by_user", "experiment", "user_id", "item_id"),
)

_columns = [column for column in events.c if column.name != "received_at"]
_mark = sa.select(
    *(sa.cast(sa.null(), column.type).label(column.name) for column in _columns)
).where(sa.exists(sa.select(tombstones.c.at).where(tombstones.c.user_hash == sa.bindparam("hash"))))
_theirs = sa.select(*_columns).where(
    events.c.user_id == sa.bindparam("user_id"), events.c.seq > sa.bindparam("after")
)
history = sa.union_all(_mark, _theirs)
"""A row of nulls where the listener is deleted, and their events after a number."""

_shown = (
    sa.select(
        exposures.c.variant,
        exposures.c.user_id,
        exposures.c.item_id,
        sa.func.min(exposures.c.at).label("at"),
    )
    .where(exposures.c.experiment == sa.bindparam("experiment"))
    .group_by(exposures.c.variant, exposures.c.user_id, exposures.c.item_id)
    .subquery()
)
_played = sa.exists(
    sa.select(events.c.seq).where(
        events.c.user_id == _shown.c.user_id,
        events.c.item_id == _shown.c.item_id,
        events.c.kind == "stream",
        events.c.received_at >= _shown.c.at,
    )
)
outcome = (
    sa.select(
        _shown.c.variant,
        _shown.c.user_id,
        sa.func.count().label("exposures"),
        sa.func.sum(sa.case((_played, 1), else_=0)).label("plays"),
    )
    .group_by(_shown.c.variant, _shown.c.user_id)
    .order_by(_shown.c.variant, _shown.c.user_id)
)
"""Per variant and listener: distinct items shown, and those streamed afterwards."""

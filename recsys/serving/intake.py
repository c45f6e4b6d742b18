"""What listeners did, and who wants to be forgotten.

Enters: events and deletions. Leaves: 202 once every event is in the store, a receipt once a
listener is masked everywhere. Private events are taken out before anything looks at them: they are
counted, never checked, kept, logged or used.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import uuid4

import pyarrow as pa
from fastapi import APIRouter, Body, Depends, Request

from recsys.data.eventstore import EventStore, StoreError
from recsys.data.tables import TABLES
from recsys.data.validation import check
from recsys.errors import UsageError
from recsys.serving import schemas
from recsys.serving.asked import Desk, desk_of
from recsys.serving.haproxy import DELIVERY
from recsys.serving.parameters import UserId, only_known
from recsys.serving.problems import documented
from recsys.serving.security import allowed

__all__ = ["intake"]

intake = APIRouter(prefix="/v1")
_MS = 1000
_NO_STORE = "no event store is configured; start with --events URL"


@intake.post(
    "/events",
    tags=["live"],
    status_code=202,
    dependencies=[Depends(allowed("write")), Depends(only_known)],
    responses=documented(400, 401, 413, 422),
)
def events(
    request: Request,
    body: Annotated[schemas.EventsRequest, Body()],
) -> schemas.Accepted:
    """Keep what listeners did; the answer comes once it is on disk, and all of it is.

    The next list of these listeners counts it, from every replica. An event whose event_id was
    given before changes nothing. Where one event is unusable, none is kept.
    """
    desk = desk_of(request)
    public, n_private = body.public()
    # The proxy may send a request again to another replica; then its events get the same ids.
    rows = _checked(public, request.headers.get(DELIVERY) or uuid4().hex)
    made = _store(desk).add(rows)
    desk.metrics.received(
        accepted=made.accepted, duplicates=made.duplicates, private=n_private, deleted=made.deleted
    )
    return schemas.Accepted(
        accepted=made.accepted,
        duplicates=made.duplicates,
        private=n_private,
        deleted=made.deleted,
        event_ids=[row["event_id"] for row in rows],
    )


@intake.delete(
    "/users/{user_id:path}",
    tags=["live"],
    dependencies=[Depends(allowed("admin")), Depends(only_known)],
    responses=documented(401, 404, 422),
)
def forget(request: Request, user_id: UserId) -> schemas.Receipt:
    """Delete a listener. From the answer on no version and no replica knows them.

    Asked again, the receipt says what has been done since.
    """
    desk = desk_of(request)
    if desk.forgetting is None or desk.store is None:
        raise StoreError(_NO_STORE)
    if not desk.store.deleted([user_id]):
        desk.ask(user_id)  # 404 for a listener of whom nothing is known
    receipt = desk.forgetting.forget(user_id)
    return schemas.Receipt(user_id=user_id, done=receipt.done, pending=receipt.pending)


def _store(desk: Desk) -> EventStore:
    if desk.store is None:
        raise StoreError(_NO_STORE)
    return desk.store


def _checked(events: Sequence[schemas.Event], delivery: str) -> list[dict[str, Any]]:
    """Return rows of the events table; UsageError naming the first that cannot be one."""
    if not events:
        return []
    now_ms = int(time.time() * _MS)
    given = [event.model_dump() for event in events]
    for place, event in enumerate(given):
        made = hashlib.sha256(f"{delivery}:{place}".encode()).hexdigest()[:32]
        event["event_id"] = event["event_id"] or made
        event["at"] = now_ms if event["at"] is None else int(event["at"].timestamp() * _MS)
    schema = TABLES["events"].schema
    columns = {
        field.name: pa.array([event[field.name] for event in given], _type(field))
        for field in schema
    }
    checked = check("events", pa.RecordBatch.from_pydict(columns), now_ms=now_ms)
    for row, reason in checked.reasons.items():
        # What was sent is not echoed.
        raise UsageError(f"events[{row}]: {reason.partition(', got ')[0]}")
    return given


def _type(field: pa.Field) -> pa.DataType:
    return pa.timestamp("ms", "UTC") if field.name == "at" else field.type

"""The listener that a request is about: the version that answers them, and what they did since.

Enters: a listener's id. Leaves: an `Asked`. Nothing about a listener is kept in the process: each
request reads the event store, so every replica sees an event, or a deletion, as soon as it is
committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response

from recsys.data.events import Events, events_of
from recsys.data.eventstore import EventStore
from recsys.ensemble.recommender import Recommendation
from recsys.errors import NotFoundError
from recsys.serving.chart import Charts
from recsys.serving.clips import Clips
from recsys.serving.experiment import Exposures
from recsys.serving.forgetting import Forgetting
from recsys.serving.live import Live, Version
from recsys.serving.ready import ReadyLists

if TYPE_CHECKING:
    from recsys.serving.metrics import Metrics

__all__ = ["Asked", "Desk", "desk_of", "in_turn"]

_AT_ONCE = 2
"""Lists that a replica makes at once: one that computes, one that reads the event store."""


@dataclass(frozen=True)
class Asked:
    """One listener, as this request sees them."""

    user_id: str
    version: Version
    variant: str | None
    """Of the experiment that runs."""
    since: Events | None
    """What they did after the version's training; None where the store has nothing."""


@dataclass(frozen=True)
class Desk:
    """What an application answers from."""

    live: Live
    store: EventStore | None
    metrics: Metrics
    clips: Clips
    charts: Charts
    exposures: Exposures | None = None
    forgetting: Forgetting | None = None
    weekly: ReadyLists = field(default_factory=ReadyLists)
    makers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_AT_ONCE, "list"))
    """The threads that make lists."""

    def ask(self, user_id: str) -> Asked:
        """Return a listener; NotFoundError for one who is deleted, or of whom nothing is known."""
        version, variant = self.live.version_of(user_id)
        users, since = version.recommender.catalogue.users, None
        if self.store is not None:
            with self.metrics.stage("store"):
                history = self.store.history(user_id, version.events_until(self.store.id))
            if history.deleted:
                raise NotFoundError("user", user_id)
            if history.events:
                since = events_of(history.events, version.recommender.catalogue)
        if since is None and users.row(user_id) < 0:
            try:
                users.require(user_id)
            except NotFoundError as error:
                raise NotFoundError("user", user_id, self.not_deleted(error.nearest)) from None
        return Asked(user_id, version, variant, since)

    def not_deleted(self, user_ids: Iterable[str]) -> list[str]:
        """Return `user_ids` in their order without those who were deleted."""
        ids = list(user_ids)
        gone = set() if self.store is None else self.store.deleted(ids)
        return [id for id in ids if id not in gone]

    def shown(self, asked: Asked, made: Sequence[Recommendation]) -> None:
        """Count a list, and note it where an experiment runs."""
        self.metrics.listed(made, asked.version)
        experiment = self.live.experiment
        if self.exposures is not None and experiment is not None and asked.variant is not None:
            items = (one.item_id for one in made)
            self.exposures.add(experiment, asked.variant, asked.user_id, asked.version.name, items)


def in_turn(handler: Callable[..., Response]) -> Callable[..., Awaitable[Response]]:
    """Let a handler (with a parameter ``request``) run in a thread when it is its turn.

    Python runs one thread at a time, and many at once only get into each other's way: sixteen made
    a fourth fewer lists a second than two.
    """

    @wraps(handler)
    async def waiting(**given: Any) -> Response:
        makers = desk_of(given["request"]).makers
        return await asyncio.get_running_loop().run_in_executor(makers, partial(handler, **given))

    return waiting


def desk_of(request: Request) -> Desk:
    """Return the desk of the application that answers `request`."""
    desk: Desk = request.app.state.desk
    return desk

"""A listening log that no process could hold: each worker reads, sorts and keeps its own share.

Enters: a dataset. Leaves: an `Intake`, per worker the interactions of its listeners, and the
evidence in both orientations, as `recsys.collaborative.als` takes it. The way:

1. Each worker reads its row groups and names the distinct ids in them. Ids are sorted by ranges,
   one range a worker, cut so that each has about equally many events; a listener's row number is
   their place. Items and artists are the catalogue's, which the driver holds.
2. Worker by worker, in rounds of bounded size, events travel as numbers to the owner of their
   listener, who keeps each event once and sums them up, as `recsys.data` does for a whole log.
3. Each worker turns its evidence round and sends every item's column to the item's owner
   (`recsys.cluster.turning`).

Everything runs on the verbs of `recsys.backend.Backend`. An event_id must stay with one listener.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys import progress
from recsys.backend import Backend, Blocks, Parts
from recsys.cluster.turning import by_user, turned
from recsys.collaborative.routes import Sharded
from recsys.config import Config, InteractionsConfig
from recsys.data.catalogue import Catalogue, read_catalogue
from recsys.data.dataset import Dataset
from recsys.data.events import EVENT_COLUMNS, Events, each_once, no_events, numbered
from recsys.data.identity import Ids, string_arrays
from recsys.data.interactions import Interactions, build_interactions, stream_counts
from recsys.data.parts import RowGroup
from recsys.errors import InputError

__all__ = ["Intake", "take_in"]

_KINDS = {"user_id": "user", "item_id": "item", "artist_id": "artist"}
_ROUND = 1_000_000
"""Events that a worker reads and sends at a time."""
_SAMPLE = 1000
"""Events of each worker by whose listeners the ranges are cut."""
_STAGES = ("naming and sorting ids", "sending events", "summing up", "turning round", "done")


@dataclass(frozen=True)
class Intake:
    """What the workers hold of a log."""

    catalogue: Catalogue
    """Without listeners: they are the workers'."""
    users: Parts
    """Per worker the `Ids` of its listeners."""
    user_bounds: NDArray[np.int64]
    """(n_workers + 1,) the first row of each worker's listeners, and the number of all."""
    interactions: Parts
    """Per worker those of its listeners; rows count from its first."""
    latest: int
    """Milliseconds since 1970 of the last event; 0 where none has a time."""
    n_events: int
    """Events read, repeated ones counted."""
    n_entries: int
    """Entries of the evidence."""


class _Seen(NamedTuple):
    """What one worker finds in its row groups."""

    ids: dict[str, Ids]
    sample: list[str]
    """Listeners of events that lie evenly apart."""
    latest: int
    """Milliseconds since 1970."""


class _Piece(NamedTuple):
    """Events of one owner; listeners and items as row numbers."""

    events: Events
    place: NDArray[np.int64]
    """(n,) row in the table, which is the order of import."""
    event_id: tuple[NDArray[np.int64], NDArray[np.uint8]] | None
    """As `string_arrays` gives them, empty where there is none; None where none has one."""


def take_in(
    dataset: Dataset,
    config: Config,
    backend: Backend,
    features: Callable[[Catalogue], NDArray[np.float32] | None] = lambda catalogue: None,
) -> tuple[Intake, Sharded]:
    """Read the events of `dataset`, and make its evidence.

    `features` gives what is known of a catalogue's items.

    Raises
    ------
    InputError
        Where the log is empty.
    """
    groups = dataset.row_groups("events")
    n_events = sum(group.rows for group in groups)
    if not n_events:
        raise InputError(f"{dataset.folder.path}: no events; bring some with `recsys import`")
    path = dataset.folder.address
    stage = partial(progress.step, "log", total=len(_STAGES) - 1)
    stage(0, detail=_STAGES[0])
    shares = backend.scatter(_shared_out(groups, backend.n_workers))
    seen = backend.map(_seen, shares, shared=(path,))
    sample = sorted(id for ids in backend.gather(backend.map(_sample, seen)) for id in ids)
    places = np.linspace(0, len(sample), backend.n_workers + 1).astype(int)[1:-1]
    splitters = [sample[place].encode() for place in places]
    owned = {name: _sorted(seen, name, splitters, backend) for name in _KINDS}

    named = {name: _gathered(owned[name][0], backend) for name in ("item_id", "artist_id")}
    catalogue = read_catalogue(dataset, named={"user_id": _strings([]), **named})
    users, received = owned["user_id"]
    del named, owned
    user_bounds = np.cumsum([0, *backend.gather(backend.map(len, users))])
    first = backend.scatter(user_bounds[:-1].tolist())
    rows = backend.map(_joined, backend.exchange(_answered, users, received, first))

    stage(1, detail=_STAGES[1])
    pieces = backend.map(_no_pieces, shares)
    n_rounds = max(backend.gather(backend.map(_n_rounds, shares)))
    known = backend.scatter([catalogue] * backend.n_workers)
    for number in progress.track(range(n_rounds), "log: rounds"):
        where = (number, path, user_bounds)
        sent = backend.exchange(_sent, shares, seen, rows, known, shared=where)
        pieces = backend.map(_kept, pieces, sent)
    latest = max(backend.gather(backend.map(_latest, seen)))
    stage(2, detail=_STAGES[2])
    starts = np.cumsum([0, *(part.rows for part in dataset.parts if part.table == "events")])
    events = backend.map(_each_once, pieces, first, shared=(starts,))
    interactions = _interactions(events, users, known, config.interactions, latest, backend)
    by_listener, edges = by_user(events, interactions, known, config.collaborative, backend)
    del events
    stage(3, detail=_STAGES[3])
    evidence = turned(by_listener, edges, user_bounds, catalogue, features, backend)
    stage(4, detail=_STAGES[4])
    facts = latest, n_events, evidence.n_entries
    return Intake(catalogue, users, user_bounds, interactions, *facts), evidence


def _shared_out(groups: Sequence[RowGroup], n: int) -> list[list[RowGroup]]:
    """Cut row groups, in order, into shares of about equally many rows."""
    ends = np.cumsum([0, *(group.rows for group in groups)])
    cuts = np.searchsorted(ends, np.linspace(0, ends[-1], n + 1)[1:-1]).tolist()
    return [list(groups[a:b]) for a, b in pairwise([0, *cuts, len(groups)])]


def _seen(share: list[RowGroup], path: str) -> _Seen:
    dataset = Dataset(path)
    distinct: dict[str, pa.Array] = {name: _strings([]) for name in _KINDS}
    sample: list[str] = []
    latest = 0
    n_events = max(1, sum(group.rows for group in share))
    columns = [*_KINDS, "at"]
    for group in share:
        for batch in dataset.part_batches(
            group.part, columns, encoded=True, row_group=group.number
        ):
            for name in _KINDS:
                found = pc.unique(batch.column(name).dictionary).cast(pa.large_string())
                distinct[name] = pc.unique(pa.concat_arrays([distinct[name], found]))
            wanted = max(1, _SAMPLE * batch.num_rows // n_events)
            chosen = np.linspace(0, batch.num_rows - 1, min(wanted, batch.num_rows)).astype(int)
            sample += batch.column("user_id").take(pa.array(chosen)).to_pylist()
            times = pc.max(batch.column("at").cast(pa.int64())).as_py()
            latest = max(latest, times or 0)
    ids = {name: Ids.from_strings(distinct[name], kind=kind) for name, kind in _KINDS.items()}
    return _Seen(ids, [id for id in sample if id is not None], latest)


def _sample(seen: _Seen) -> list[str]:
    return seen.sample


def _latest(seen: _Seen) -> int:
    return seen.latest


def _sorted(
    seen: Parts, name: str, splitters: list[bytes], backend: Backend
) -> tuple[Parts, Parts]:
    """Return per worker all distinct ids of its range, sorted, and what it got from whom."""
    received = backend.exchange(_by_range, seen, shared=(name, splitters))
    return backend.map(_merged, received, shared=(_KINDS[name],)), received


def _by_range(seen: _Seen, name: str, splitters: list[bytes]) -> list[Ids]:
    ids = seen.ids[name]
    cuts = [bisect_left(range(len(ids)), s, key=lambda row: ids[row].encode()) for s in splitters]
    texts = ids.to_arrow()
    ranges = pairwise([0, *cuts, len(ids)])
    return [Ids(*string_arrays(texts.slice(a, b - a)), kind=ids.kind) for a, b in ranges]


def _merged(received: Blocks, kind: str) -> Ids:
    texts = [received[sender].to_arrow() for sender in range(len(received))]
    return Ids.from_strings(pa.chunked_array(texts, pa.large_string()), kind=kind)


def _gathered(owned: Parts, backend: Backend) -> pa.ChunkedArray:
    """Bring ids to the driver: of items and artists only."""
    texts = [ids.to_arrow().cast(pa.string()) for ids in backend.gather(owned)]
    return pa.chunked_array(texts, pa.string())


def _answered(owned: Ids, received: Blocks, first: int) -> list[NDArray[np.int32]]:
    """Tell each worker the rows of the ids that it sent."""
    senders = range(len(received))
    return [owned.rows(received[sender].to_arrow()) + np.int32(first) for sender in senders]


def _joined(answers: Blocks) -> NDArray[np.int32]:
    return np.concatenate([answers[owner] for owner in range(len(answers))])


def _no_pieces(share: list[RowGroup]) -> list[_Piece]:
    return []


def _rounds(share: list[RowGroup]) -> list[list[RowGroup]]:
    """Cut a share into rounds of about `_ROUND` events."""
    rounds: list[list[RowGroup]] = []
    room = 0
    for group in share:
        if group.rows > room:
            rounds.append([])
            room = _ROUND
        rounds[-1].append(group)
        room -= group.rows
    return rounds


def _n_rounds(share: list[RowGroup]) -> int:
    return len(_rounds(share))


def _sent(
    share: list[RowGroup],
    seen: _Seen,
    rows: NDArray[np.int32],
    catalogue: Catalogue,
    number: int,
    path: str,
    bounds: NDArray[np.int64],
) -> list[_Piece]:
    """Read the events of a round and sort them by the owner of their listener."""
    known, rounds, dataset = seen.ids["user_id"], _rounds(share), Dataset(path)
    groups = rounds[number] if number < len(rounds) else []
    batches: list[pa.RecordBatch] = []
    places = [np.zeros(0, np.int64)]
    for group in groups:
        batches += dataset.part_batches(
            group.part, EVENT_COLUMNS, encoded=True, row_group=group.number
        )
        places.append(np.arange(group.first, group.first + group.rows))
    if not batches:
        return [_Piece(no_events(), np.zeros(0, np.int64), None) for _ in bounds[1:]]

    def user_rows(ids: pa.Array) -> NDArray[np.int32]:
        return np.asarray(np.append(rows, np.int32(-1))[known.rows(ids)])

    table = pa.Table.from_batches(batches)
    column = {name: table.column(name) for name in EVENT_COLUMNS}
    events = numbered(column, user_rows, catalogue.items.rows, catalogue.artists.rows)
    texts = column["event_id"].cast(pa.large_string())
    place = np.concatenate(places)
    owner = np.searchsorted(bounds, events.user, side="right") - 1
    order = np.argsort(owner, kind="stable")
    cuts = np.searchsorted(owner[order], np.arange(len(bounds))).tolist()
    pieces = []
    for a, b in pairwise(cuts):
        mine = order[a:b]
        ids = None
        if texts.null_count < len(texts):
            ids = string_arrays(texts.take(pa.array(mine)))
        pieces.append(_Piece(events.take(mine), place[mine], ids))
    return pieces


def _kept(pieces: list[_Piece], sent: Blocks) -> list[_Piece]:
    """Add what came in one round, copied out of shared memory."""
    came: list[_Piece] = [sent[sender] for sender in range(len(sent))]
    return [*pieces, _one([piece for piece in came if len(piece.place)])]


def _one(pieces: list[_Piece]) -> _Piece:
    if not pieces:
        return _Piece(no_events(), np.zeros(0, np.int64), None)
    columns = [
        np.concatenate([getattr(piece.events, field.name) for piece in pieces])
        for field in fields(Events)
    ]
    place = np.concatenate([piece.place for piece in pieces])
    ids = None
    if any(piece.event_id for piece in pieces):
        ids = string_arrays(pa.chunked_array([_texts(piece) for piece in pieces]))
    return _Piece(Events(*columns), place, ids)


def _texts(piece: _Piece) -> pa.Array:
    """Return the event ids of a piece, null where there is none."""
    if piece.event_id is None:
        return pa.nulls(len(piece.place), pa.large_string())
    texts = Ids(*piece.event_id).to_arrow()
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.large_string()), texts)


def _each_once(pieces: list[_Piece], first: int, starts: NDArray[np.int64]) -> Events:
    """Return one worker's events, each once; listeners count from its first."""
    whole = _one(pieces)
    pieces.clear()  # they were a third of this worker's memory
    order = np.argsort(whole.place)
    events = whole.events.take(order)
    events = replace(events, user=events.user - np.int32(first))
    texts = pa.chunked_array([_texts(whole).take(pa.array(order)).cast(pa.string())])
    origin = (np.searchsorted(starts, whole.place[order], side="right") - 1).astype(np.int32)
    del whole, order
    return each_once(events, texts.dictionary_encode(), origin)


def _interactions(
    events: Parts,
    users: Parts,
    known: Parts,
    config: InteractionsConfig,
    latest: int,
    backend: Backend,
) -> Parts:
    """Sum up every worker's events; `latest` is when the last of all happened."""
    mean_total = None
    if config.transform == "bm25":
        sums = backend.gather(backend.map(_totals, events, known, shared=(config, latest)))
        total, n_streaming = np.sum(sums, axis=0)
        mean_total = float(total / n_streaming) if n_streaming else 1.0
    return backend.map(_summed, events, users, known, shared=(config, latest, mean_total))


def _totals(
    events: Events, catalogue: Catalogue, config: InteractionsConfig, latest: int
) -> tuple[float, int]:
    """Return what one worker's listeners streamed in all, and how many of them did."""
    streams = events.take((events.item >= 0) & events.of_kind("stream") & (events.value > 0))
    totals = np.bincount(streams.user, stream_counts(streams, catalogue, config, latest))
    return float(totals.sum()), int(np.count_nonzero(totals > 0))


def _summed(
    events: Events,
    users: Ids,
    catalogue: Catalogue,
    config: InteractionsConfig,
    latest: int,
    mean_total: float | None,
) -> Interactions:
    known = replace(catalogue, users=users)
    return build_interactions(events, known, config, now_ms=latest, mean_total=mean_total)


def _strings(ids: list[str]) -> pa.Array:
    return pa.array(ids, pa.large_string())

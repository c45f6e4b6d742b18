"""How long a sharded training takes and what it needs, from rates measured on one machine.

Enters: the size of a matrix and of a cluster, `Rates` as `measure_rates` finds them here, the speed
of the network. Leaves: a `Plan`. Per sweep, with n nodes of c cores, one worker a node,
w = 4 (padded f + 1) bytes a row, and both half-steps added up:

    solve     2 entries entry_s / (n c) + rows row_s / (n c)
    copy      row copies copy_s / (n c)              stripes: see below
    network   w rows (n - 1) / n / network rate      what every node gets, whole blocks assumed
    store     w rows / n / store rate                what every node writes
    verbs     2 half_step_s                          the driver's round trips

Evidence that names few of the fixed rows on each node moves less (`recsys.collaborative.routes`),
so this is an upper bound. A node copies each fixed row about twice where half of them fit into a
stripe, else once for each of its entries. Steps are added, not overlapped. A node holds its entries
in both orientations (16 bytes), its rows of both sides, in the object store the larger side, and
one stripe of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys.backend import Backend, LocalBackend
from recsys.collaborative.als import alternate
from recsys.collaborative.kernels import padded
from recsys.config import CollaborativeConfig

__all__ = ["Plan", "Rates", "Workload", "measure_rates", "plan"]

_STRIPE_ROWS = 4_000_000
_ROWS = 20_000
_VERBS = 9
"""Round trips of a half-step."""


@dataclass(frozen=True)
class Rates:
    """What one core and one machine do."""

    factors: int
    entry_s: float
    """Seconds of one core for one entry in one half-step."""
    row_s: float
    """Seconds of one core for one row in one half-step, entries not counted."""
    copy_s: float
    """Seconds of one core to copy one row out of a block."""
    store_bytes_per_s: float
    """Bytes that one worker writes into the object store."""
    half_step_s: float
    """Seconds of a half-step in which nothing is to be done."""


@dataclass(frozen=True)
class Workload:
    """A matrix and a cluster."""

    users: float
    items: float
    entries: float
    """Pairs of a listener and an item with any evidence."""
    iterations: int
    nodes: int
    cores: float
    """Cores of each node that are really there."""
    network_bytes_per_s: float
    """What a node receives at once."""


@dataclass(frozen=True)
class Plan:
    """Predicted cost; seconds are of one sweep where not said otherwise."""

    solve_s: float
    copy_s: float
    network_s: float
    store_s: float
    verbs_s: float
    sweep_s: float
    total_s: float
    """All sweeps; reading the log is not counted."""
    bytes_moved: float
    """A sweep, all nodes together, each block once for every node."""
    memory_bytes: float
    """Of one node, its object store counted, the evidence loaded."""
    store_bytes: float
    """Of one node's object store."""


def plan(work: Workload, rates: Rates) -> Plan:
    """Predict the cost of a training."""
    rows, row_bytes = work.users + work.items, 4 * (padded(rates.factors) + 1)
    cores = work.nodes * work.cores
    solve_s = (2 * work.entries * rates.entry_s + rows * rates.row_s) / cores
    elsewhere = (work.nodes - 1) / work.nodes
    network_s = rows * row_bytes * elsewhere / work.network_bytes_per_s
    copies = sum(_copies(fixed, work) for fixed in (work.users, work.items))
    copy_s = copies * rates.copy_s / work.cores
    store_s = rows * row_bytes / work.nodes / rates.store_bytes_per_s
    verbs_s = 2 * rates.half_step_s
    sweep_s = solve_s + copy_s + network_s + store_s + verbs_s
    store_bytes = max(work.users, work.items) * row_bytes
    stripe = min(max(work.users, work.items) / 2, _STRIPE_ROWS) * row_bytes
    own = (16 * work.entries + rows * (row_bytes + 8)) / work.nodes
    places = 8 * max(work.users, work.items)  # where a worker's rows find what they read
    return Plan(
        solve_s=solve_s,
        copy_s=copy_s,
        network_s=network_s,
        store_s=store_s,
        verbs_s=verbs_s,
        sweep_s=sweep_s,
        total_s=work.iterations * sweep_s,
        bytes_moved=rows * row_bytes * work.nodes,
        memory_bytes=own + places + stripe + store_bytes,
        store_bytes=store_bytes,
    )


def _copies(fixed: float, work: Workload) -> float:
    """Return the rows that one node copies to solve the rows of the other side."""
    entries = work.entries / work.nodes
    return min(2 * fixed, entries) if fixed / 2 <= _STRIPE_ROWS else entries


def measure_rates(factors: int, backend: Backend, *, seconds: float = 10.0) -> Rates:
    """Measure this machine in about `seconds`, on two workers of `backend` at least.

    Two matrices of as many rows and of few and many entries tell entries and rows apart.
    """
    few, many = (_sweep_s(factors, per_row, seconds / 4) for per_row in (8, 64))
    entry_s = (many - few) / (2 * 56 * _ROWS)
    row_s = max(0.0, few - 2 * 8 * _ROWS * entry_s) / (2 * _ROWS)
    n_bytes = 32_000_000
    blocks = backend.scatter([n_bytes] * backend.n_workers)

    def handed() -> None:
        backend.exchange(_block, blocks)

    nothing = backend.scatter([None] * backend.n_workers)
    # There and back: as if no verb of a half-step were sent before the one before it was done.
    verb_s = _best(lambda: backend.gather(backend.map(_nothing, nothing)), seconds / 4)
    store_s = max(_best(handed, seconds / 4) - 3 * verb_s, verb_s)
    half_step_s = _VERBS * verb_s
    return Rates(factors, entry_s, row_s, _copy_s(factors), n_bytes / store_s, half_step_s)


def _sweep_s(factors: int, per_row: int, seconds: float) -> float:
    """Return the seconds of one core for a sweep over `_ROWS` users and items.

    Time of the processor in this thread, so that other work on the machine does not count.
    """
    rng = np.random.default_rng(0)
    indices = rng.integers(0, _ROWS, _ROWS * per_row).astype(np.int32)
    indptr = np.arange(0, _ROWS * per_row + 1, per_row)
    evidence = sp.csr_array((np.ones(len(indices), np.float32), indices, indptr), (_ROWS, _ROWS))
    evidence.sum_duplicates()
    config = CollaborativeConfig(factors=factors, iterations=1000, num_threads=1)
    laps: list[float] = []
    began, clock = time.perf_counter(), time.thread_time()
    for step in alternate(evidence, config, LocalBackend()):
        if step.side == "items":
            laps.append(time.thread_time() - clock)
            clock = time.thread_time()
            if len(laps) > 3 and time.perf_counter() - began > seconds:
                break
    return min(laps[1:])


def _copy_s(factors: int) -> float:
    """Return the seconds of one core to copy a row of a block of 200,000."""
    block = np.zeros((200_000, padded(factors)), np.float32)
    rows = np.random.default_rng(0).integers(0, len(block), 100_000)
    rows.sort()
    out = np.empty((len(rows), block.shape[1]), np.float32)
    laps = []
    for _ in range(5):
        clock = time.thread_time()
        np.take(block, rows, axis=0, out=out, mode="clip")
        laps.append(time.thread_time() - clock)
    return min(laps) / len(rows)


def _best(work: Callable[[], Any], seconds: float) -> float:
    laps: list[float] = []
    began = time.perf_counter()
    while len(laps) < 3 or time.perf_counter() - began < seconds:
        clock = time.perf_counter()
        work()
        laps.append(time.perf_counter() - clock)
    return median(laps)


def _block(n_bytes: int) -> list[NDArray[np.float32]]:
    return [np.zeros(n_bytes // 4, np.float32)]


def _nothing(part: None) -> None:
    return None

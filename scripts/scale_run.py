"""Train on a log of any size, and hold every process's peak memory against its formula.

    python scripts/scale_run.py FOLDER [--events 50e6] [--users 500e3] [--items 100e3] [--workers 2]
                                       [--factors 40] [--iterations 5]

Makes FOLDER/dataset, synthetic events drawn and written a million at a time, unless it is there;
then runs `recsys train --sharded` on it and prints one JSON object: seconds, events a second, peak
memory of the driver and of the largest worker, and what the formula of `recsys.cluster.scale`
allows a worker.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.bundle import Models
from recsys.cluster.scale import worker_bytes
from recsys.data.dataset import Dataset

_BATCH = 1_000_000


def main() -> None:
    options = _options()
    folder = Path(options.folder)
    dataset = Dataset(folder / "dataset")
    if not dataset.parts:
        source = f"synthetic {options.events:.0f}"
        with dataset.transaction() as transaction:
            batches = events(int(options.events), int(options.users), int(options.items))
            transaction.append("events", batches, source=source, fingerprint=source)
    print(json.dumps(run(folder, options)))


def events(n_events: int, n_users: int, n_items: int) -> Iterator[pa.Table]:
    """Draw streams of Pareto-active listeners of Zipf-popular items, with times."""
    rng = np.random.default_rng(0)
    activity = np.cumsum(np.minimum(rng.pareto(1.2, n_users) + 1, 400))
    popularity = np.cumsum(1 / (np.arange(n_items) + 10.0))
    shuffled = rng.permutation(n_items)
    for first in range(0, n_events, _BATCH):
        n = min(_BATCH, n_events - first)
        users = np.searchsorted(activity, rng.random(n) * activity[-1])
        items = shuffled[np.searchsorted(popularity, rng.random(n) * popularity[-1])]
        at = 1_600_000_000_000 + 1000 * np.arange(first, first + n)
        yield pa.table(
            {
                "user_id": _named("u", users, n_users),
                "item_id": _named("i", items, n_items),
                "kind": pa.DictionaryArray.from_arrays(np.zeros(n, np.int8), ["stream"]),
                "at": pa.array(at, pa.timestamp("ms", tz="UTC")),
            }
        )


def _named(letter: str, rows: Any, n: int) -> pa.Array:
    """Return ids as dictionaries of those that occur."""
    distinct, codes = np.unique(rows, return_inverse=True)
    names = pa.array([f"{letter}{row:09}" for row in distinct.tolist()])
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), names)


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train in a process of its own and watch it."""
    command = [sys.executable, "-m", "recsys", "train", folder / "dataset", folder / "models"]
    command += ["--sharded", "--workers", str(options.workers), "--figures"]
    for key in ("factors", "iterations"):
        command += ["--set", f"collaborative.{key}={getattr(options, key)}"]
    clock = time.perf_counter()
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=sys.stderr, text=True)
    assert driver.stderr is not None
    worker_peak, driver_peak, sweeps = 0, 0, []
    for line in driver.stderr:
        print(line, end="", file=sys.stderr)
        driver_peak = max(driver_peak, _peak_bytes(driver.pid))
        if line.startswith("{") and "peak_bytes" in (said := json.loads(line)):
            worker_peak = max(worker_peak, said["peak_bytes"])
            driver_peak = max(driver_peak, said["driver_peak_bytes"])
            sweeps.append(said["seconds"])
    if driver.wait():
        sys.exit(driver.returncode)
    bundle = Models(folder / "models").open()
    allowed = worker_bytes(bundle, options.workers)
    return {
        "events": int(options.events),
        "seconds": time.perf_counter() - clock,
        "sweep_s": sorted(sweeps)[len(sweeps) // 2],
        "driver_mib": driver_peak / 2**20,
        "worker_mib": worker_peak / 2**20,
        "formula_mib": allowed / 2**20,
        "worker_over_formula": worker_peak / allowed,
    }


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has ended
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) * 1024 if found else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--events", type=float, default=50e6)
    parser.add_argument("--users", type=float, default=500e3)
    parser.add_argument("--items", type=float, default=100e3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--factors", type=int, default=40)
    parser.add_argument("--iterations", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""What sharding costs: actors beside threads, bytes beside their formula, one raylet beside four.

    python benchmarks/sharding.py [--factors 64] [--runs 3] [--sweeps 8] [--out docs/results]

Data: the matrix of benchmarks/als.py, 100,000 listeners by 50,000 items, about 3.6M non-zeros.
First two single-threaded Ray actors beside one process of two threads: pairs in fresh processes
that follow each other, the ratio of each pair. A sweep is one pass over users and items, the first
of a training not counted. Then 1, 2 and 4 actors, each on a raylet of its own on this machine, so
that every block travels as it would between machines. Bytes moved by a sweep stand beside

    sum over both sides and all senders of 4 (padded f + 1) min(nodes x rows, sum of rows needed)

where the rows that each reader needs of a sender are counted from the matrix. Last, what
`recsys plan` predicts for these runs from rates measured beside them, the network between raylets
taken as --loopback-gbit.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import als as whole  # the benchmark beside this one: its data
import numpy as np
import page
import scipy.sparse as sp

TARGET = 1.15


def main() -> None:
    options, load = _options(), os.getloadavg()[0]
    if options.job:
        print(json.dumps(_train(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = folder
        whole._make_data(Path(folder))
        report = _measure(options)
    page.publish(_page(report, load), options.out)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {"factors": options.factors, "pairs": []}
    evidence = sp.csr_array(sp.load_npz(Path(options.folder) / "evidence.npz"))
    _run("threads", 1, options)  # compiles what is not compiled
    for _ in range(options.runs):
        pair = {"threads": _run("threads", 1, options), "actors": _run("actors", 2, options)}
        report["pairs"].append(pair)
        print({name: round(run["sweep_s"], 3) for name, run in pair.items()}, file=sys.stderr)
    report["raylets"] = {
        n: _run("raylets", n, options) | {"formula": expected_bytes(evidence, options.factors, n)}
        for n in (1, 2, 4)
    }
    rates = _run("rates", 2, options)
    report["rates"] = rates
    report["predicted"] = _predicted(rates, evidence, options, report)
    report["formula"] = expected_bytes(evidence, options.factors, 2, n_nodes=1)
    return report


def _predicted(
    rates: dict[str, float],
    evidence: sp.csr_array,
    options: argparse.Namespace,
    report: dict[str, Any],
) -> list[dict[str, Any]]:
    """What the planner says of the runs of this report."""
    from recsys.cluster.planner import Rates, Workload, plan

    measured = median(pair["actors"]["sweep_s"] for pair in report["pairs"])
    runs = [("2 actors, one raylet", 2, float("inf"), measured)]
    loopback = options.loopback_gbit / 8 * 1e9
    runs += [(f"{n} raylets", n, loopback, run["sweep_s"]) for n, run in report["raylets"].items()]
    found = []
    for name, n, network, seconds in runs:
        cores = min(1.0, (os.cpu_count() or 1) / n)
        users, items = evidence.shape
        work = Workload(users, items, evidence.nnz, options.sweeps, n, cores, network)
        predicted = plan(work, Rates(**rates)).sweep_s
        found.append({"run": name, "predicted_s": predicted, "measured_s": seconds})
    return found


def expected_bytes(
    evidence: sp.csr_array, n_factors: int, n_workers: int, *, n_nodes: int = 0
) -> int:
    """Return the bytes that a sweep should move, counted from the matrix (a node a worker)."""
    from recsys.collaborative.kernels import padded
    from recsys.collaborative.shards import balanced

    rows, by_item = 0, sp.csr_array(evidence.T.tocsr())
    for solved, fixed in ((evidence, by_item), (by_item, evidence)):
        blocks = balanced(fixed.indptr, n_workers)
        needed = np.zeros(n_workers, np.int64)
        for first, last in pairwise(balanced(solved.indptr, n_workers)):
            columns = np.unique(solved.indices[solved.indptr[first] : solved.indptr[last]])
            needed += np.diff(np.searchsorted(columns, blocks))
        rows += int(np.minimum((n_nodes or n_workers) * np.diff(blocks), needed).sum())
    return rows * 4 * (padded(n_factors) + 1)


def _run(job: str, n: int, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--job", job, "--workers", str(n)]
    command += ["--folder", options.folder, "--factors", str(options.factors)]
    command += ["--sweeps", str(options.sweeps)]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    blas = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    done = subprocess.run(
        command, env=os.environ | blas | token, check=True, stdout=subprocess.PIPE
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _train(options: argparse.Namespace) -> dict[str, Any]:
    """One training on one kind of workers; the median sweep after the first."""
    from contextlib import ExitStack

    import ray
    from ray.cluster_utils import Cluster

    from recsys.backend import Backend, LocalBackend
    from recsys.cluster import RayBackend, ray_session
    from recsys.cluster.planner import measure_rates
    from recsys.collaborative.als import alternate
    from recsys.config import CollaborativeConfig

    backend: Backend
    n, store = options.workers, 600_000_000
    if options.job == "rates":
        with ray_session(num_cpus=n, object_store_bytes=store), RayBackend(n) as backend:
            return asdict(measure_rates(options.factors, backend))
    evidence = sp.csr_array(sp.load_npz(Path(options.folder) / "evidence.npz"))
    config = CollaborativeConfig(
        factors=options.factors,
        regularization=whole.LAMBDA,
        alpha=1.0,
        confidence="total",
        iterations=options.sweeps,
        num_threads=2 if options.job == "threads" else 1,
    )
    with ExitStack() as stack:
        backend = LocalBackend()
        if options.job == "raylets":
            head = {"num_cpus": 1, "object_store_memory": store, "include_dashboard": False}
            cluster = Cluster(initialize_head=True, head_node_args=head)
            stack.callback(cluster.shutdown)
            for _ in range(n - 1):
                cluster.add_node(num_cpus=1, object_store_memory=store)
            ray.init(address=cluster.address, log_to_driver=False)
            stack.callback(ray.shutdown)
        elif options.job == "actors":
            stack.enter_context(ray_session(num_cpus=n, object_store_bytes=store))
        if options.job != "threads":
            backend = stack.enter_context(RayBackend(n))
        laps, moved = [], []
        clock, before = time.perf_counter(), backend.usage().bytes_moved
        for step in alternate(evidence, config, backend):
            if step.side == "items":
                laps.append(time.perf_counter() - clock)
                moved.append(backend.usage().bytes_moved - before)
                clock, before = time.perf_counter(), backend.usage().bytes_moved
        peak = backend.usage().peak_bytes
        return {
            "sweep_s": median(laps[1:]),
            "first_s": laps[0],
            "bytes": moved[-1],
            "nodes": backend.n_nodes,
            "peak_mib": peak / 2**20,
        }


def _page(report: dict[str, Any], load: float) -> str:
    pairs = report["pairs"]
    ratios = [pair["actors"]["sweep_s"] / pair["threads"]["sweep_s"] for pair in pairs]
    extra = [(pair["actors"]["sweep_s"] - pair["threads"]["sweep_s"]) / 2 for pair in pairs]
    moved = pairs[-1]["actors"]["bytes"]
    lines = [
        "# What sharding costs",
        "",
        (__doc__ or "").split("\n\n", 2)[2].strip(),
        "",
        f"f = {report['factors']}.",
        "",
        "## Two actors beside two threads",
        "",
        "| pair | one process, two threads (s a sweep) | two actors (s a sweep) | ratio |",
        "|---|---|---|---|",
        *(
            f"| {number} | {pair['threads']['sweep_s']:.3f} | {pair['actors']['sweep_s']:.3f} "
            f"| {ratio:.2f} |"
            for number, (pair, ratio) in enumerate(zip(pairs, ratios, strict=True), 1)
        ),
        "",
        f"Median ratio **{median(ratios):.2f}** (target {TARGET}); {median(extra):.3f} s more a "
        f"half-step; {moved / 1e6:.1f} MB moved a sweep, by the formula "
        f"{report['formula'] / 1e6:.1f} MB.",
        "",
        "## Actors on raylets of their own",
        "",
        "| raylets, actors | s a sweep | MB moved | by the formula | largest worker (MiB) |",
        "|---|---|---|---|---|",
        *(
            f"| {n} | {run['sweep_s']:.3f} | {run['bytes'] / 1e6:.1f} "
            f"| {run['formula'] / 1e6:.1f} | {run['peak_mib']:.0f} |"
            for n, run in report["raylets"].items()
        ),
        "",
        f"All raylets share the {os.cpu_count()} cores of this machine: the table shows what "
        "travels, not how fast more machines would be.",
        "",
        "## Predicted by `recsys plan`",
        "",
        "| run | predicted (s a sweep) | measured | error |",
        "|---|---|---|---|",
        *(
            f"| {run['run']} | {run['predicted_s']:.3f} | {run['measured_s']:.3f} "
            f"| {run['predicted_s'] / run['measured_s'] - 1:+.0%} |"
            for run in report["predicted"]
        ),
        "",
        page.origin("ray", "numpy", "numba", load=load),
    ]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = page.options(__doc__)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sweeps", type=int, default=8)
    parser.add_argument("--loopback-gbit", type=float, default=16.0)
    for name in ("--job", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Train on two nodes of one worker each and take one node away (test_failures.py)."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from pathlib import Path

# Before ray is imported: it reads them once.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

import ray
from ray.cluster_utils import Cluster

from recsys.cluster import RayBackend
from recsys.collaborative.als import train
from recsys.collaborative.checkpoints import Checkpoints
from recsys.progress import report_to
from tests.cluster.faults import CONFIG, Lines, evidence, loss

STORE = 80_000_000


def ended(pid):
    """Tell whether a process is over, reaped or not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def main():
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False},
    )
    second = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    ray.init(address=cluster.address, log_to_driver=False)
    gone = []

    def lose(sweep):
        if sweep == 3 and not gone:
            gone.append(second)
            cluster.remove_node(second, allow_graceful=False)
            # A worker outlives its raylet for a moment, in which the training could end.
            deadline = time.monotonic() + 60
            while not any(ended(worker.pid) for worker in backend.workers):
                assert time.monotonic() < deadline, "the worker of a lost node goes on"
                time.sleep(0.05)

    lines = Lines(lose)
    with RayBackend(2, start_timeout_s=60) as backend, report_to(lines):
        sizes = [backend.n_workers]
        assert backend.n_nodes == 2
        kept = Checkpoints(sys.argv[1], every=CONFIG.checkpoint_every)
        factors = train(evidence(), CONFIG, backend, checkpoints=kept)
        sizes.append(backend.n_workers)
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps({"workers": sizes, "loss": loss(evidence(), factors), "said": lines.said}))


main()

"""Wait on a host until Ray counts the hosts with these addresses, and no others."""

from __future__ import annotations

import sys
import time

import ray

ray.init(address="auto", log_to_driver=False)
said: set[str] = set()
while said != set(sys.argv[1:]):
    alive = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if alive != said:
        print("nodes:", *sorted(alive), flush=True)
    said = alive
    time.sleep(0.1)

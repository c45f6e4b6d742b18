"""The figures of a training, as Ray's metrics port serves them."""

from __future__ import annotations

import time
import urllib.request

import ray

from recsys.backend import LocalBackend
from recsys.cluster.metrics import ray_metrics
from recsys.collaborative.als import train
from recsys.progress import report_to
from tests.cluster.faults import CONFIG, Lines, evidence


def test_ray_serves_the_figures_and_others_still_hear_them(cluster):
    lines = Lines()
    with report_to(lines), ray_metrics():
        train(evidence(), CONFIG, LocalBackend())
    assert [figures["iteration"] for figures in lines.figures] == list(range(1, 9))
    address = f"http://{ray.nodes()[0]['NodeManagerAddress']}:{ray.nodes()[0]['MetricsExportPort']}"
    deadline, wanted = time.monotonic() + 120, 'Figure="iteration"'.lower()
    while time.monotonic() < deadline:
        with urllib.request.urlopen(address, timeout=30) as answer:
            found = [
                line for line in answer.read().decode().splitlines() if "recsys_progress" in line
            ]
        served = [line for line in found if wanted in line.lower()]
        if served:
            break
        time.sleep(0.5)  # Ray hands metrics on every few seconds
    assert served and float(served[0].rpartition(" ")[2]) == 8.0

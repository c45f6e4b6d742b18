"""The planner: arithmetic by hand, what it prints, rates that are measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from recsys.backend import LocalBackend
from recsys.cluster.planner import Rates, Workload, measure_rates, plan

RATES = Rates(
    factors=40, entry_s=70e-9, row_s=1e-6, copy_s=50e-9, store_bytes_per_s=2e9, half_step_s=0.01
)
SPOTIFY = Workload(
    users=140e6, items=30e6, entries=20e9, iterations=20, nodes=16, cores=16,
    network_bytes_per_s=1.25e9,
)  # fmt: skip


def test_the_plan_is_the_stated_arithmetic():
    found = plan(SPOTIFY, RATES)
    row_bytes = 4 * 49  # 40 factors padded to 48, and the bias
    assert found.solve_s == pytest.approx((40e9 * 70e-9 + 170e6 * 1e-6) / 256)
    assert found.network_s == pytest.approx(170e6 * row_bytes * 15 / 16 / 1.25e9)
    assert found.store_s == pytest.approx(170e6 * row_bytes / 16 / 2e9)
    assert found.copy_s == pytest.approx(2 * 1.25e9 * 50e-9 / 16)
    assert found.verbs_s == 0.02
    parts = found.solve_s + found.copy_s + found.network_s + found.store_s + found.verbs_s
    assert found.total_s == pytest.approx(20 * parts)
    assert found.store_bytes == 140e6 * row_bytes
    evidence_bytes = 20e9 * 16 / 16
    assert evidence_bytes + found.store_bytes < found.memory_bytes < 2 * evidence_bytes + 30e9


def test_more_of_everything_is_never_slower():
    base = plan(SPOTIFY, RATES)
    for change in ({"cores": 32}, {"network_bytes_per_s": 3e9}, {"entries": 10e9}):
        assert plan(replace(SPOTIFY, **change), RATES).total_s < base.total_s
    assert plan(replace(SPOTIFY, nodes=1), RATES).network_s == 0


def test_rates_are_measured():
    rates = measure_rates(8, LocalBackend(2), seconds=2)
    assert 1e-10 < rates.entry_s < 1e-4
    assert min(rates.row_s, rates.copy_s, rates.half_step_s) >= 0
    assert rates.store_bytes_per_s > 0


def recsys(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "recsys", *map(str, arguments)], capture_output=True, text=True
    )


def test_plan_from_the_command_line(tmp_path):
    rates = tmp_path / "rates.json"
    rates.write_text(json.dumps(asdict(RATES)))
    done = recsys("plan", "--rates", rates, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["plan"] == pytest.approx(asdict(plan(SPOTIFY, RATES)))
    assert len(found["assumptions"]) >= 5
    assert "1,300 Hadoop nodes" in " ".join(found["sources"])
    shown = recsys("plan", "--rates", rates, "--nodes", 4)
    assert "16 cores" in shown.stdout and "memory of a node" in shown.stdout
    assert "two sources that are not one experiment" in shown.stdout
    refused = recsys("plan", "--rates", rates, "--factors", 64)
    assert refused.returncode == 2 and "run `recsys bench --factors 64`" in refused.stderr
    assert recsys("plan", "--rates", tmp_path / "none").returncode == 1

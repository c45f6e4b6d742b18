"""The small twin of `scripts/scale_run.py`, which the docs run with fifty million events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "scale_run.py"


def test_a_streamed_log_trains_within_the_memory_of_the_formula(tmp_path):
    command = [sys.executable, SCRIPT, tmp_path, "--events", "3e5", "--users", "1e4"]
    command += ["--items", "2e3", "--iterations", "2", "--factors", "8"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["driver_mib"] < 1000
    assert 0.5 < found["worker_over_formula"] < 1.3, found
    assert "listeners" not in done.stderr  # ids never leave by the log

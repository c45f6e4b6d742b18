"""The example of docs/from-implicit.md runs and finds the scenes it plants."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "from_implicit.py"


def test_the_example_runs_and_tells_the_scenes_apart():
    run = subprocess.run(
        [sys.executable, EXAMPLE], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 6 and lines[-1].endswith("True")
    numbers = [[int(n) for n in re.findall(r"\d+", line.partition("items")[2])] for line in lines]
    assert numbers[0] and max(numbers[0]) < 10
    assert numbers[1] and min(numbers[1]) >= 10
    assert numbers[4] and min(numbers[4]) >= 10 and not set(numbers[4]) & {11, 13}

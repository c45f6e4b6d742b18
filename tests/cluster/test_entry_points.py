"""A cluster that is not there is told in one line, by commands and by `scripts/deploy.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def refused(*command: str, **environment: str) -> str:
    """Run Python in a process of its own, which must fail, and return what it says."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


def test_a_command_says_that_no_cluster_is_at_the_address(run, tmp_path):
    log, dataset = tmp_path / "log.csv", tmp_path / "dataset"
    log.write_text("user_id,item_id,kind\nu,i,stream\nu,j,stream\n")
    run("import", "events", log, dataset)
    command = ("scripts/train.py", str(dataset), str(tmp_path / "models"), "--workers", "2")
    said = refused(*command, RAY_ADDRESS="nowhere")
    (line,) = [line for line in said.splitlines() if line.startswith("recsys: ")]
    assert line.startswith("recsys: RAY_ADDRESS=nowhere: no cluster lets us in")
    assert "unset RAY_ADDRESS" in line
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing.yaml"], "recsys: missing.yaml: No such file"),
        (["constraints.txt"], "recsys: constraints.txt: want one application"),
        (["serve_config.yaml", "--dashboard", "nowhere"], "recsys: nowhere: "),
        (["serve_config.yaml", "--every-node"], "recsys: RAY_ADDRESS=nowhere: no cluster"),
    ],
)
def test_a_deployment_says_what_is_wrong(options, message):
    said = refused("scripts/deploy.py", *options, RAY_ADDRESS="nowhere")
    (line,) = said.splitlines()
    assert line.startswith(message)

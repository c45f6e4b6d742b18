"""What the machines promise: a command ends in time, and nothing outlives the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.hosts.machines import ROOT, CommandError, Operator, await_until

BOOTED = """
import sys
from pathlib import Path
from tests.cluster.hosts.machines import three_hosts
with three_hosts(Path(sys.argv[1])) as operator, operator.started("sleep", "3600"):
    print(*(machine.process.pid for machine in [operator.machine, *operator.hosts]), flush=True)
    sys.stdin.read()
"""


def test_a_command_that_does_not_end_in_time_is_ended(operator: Operator) -> None:
    endless = "echo so far; sleep 3600 & sleep 3600"
    with pytest.raises(CommandError, match="not within 1 s:\nso far"):
        operator.run("bash", "-c", endless, timeout_s=1)
    network = _network(operator.machine.process.pid)
    await_until(lambda: "sleep\x003600" not in _commands(network), "its end")


@pytest.mark.usefixtures("namespaces")
def test_of_tests_that_are_killed_nothing_is_left(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BOOTED, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as killed:
        assert killed.stdout is not None
        networks = [_network(int(pid)) for pid in killed.stdout.readline().split()]
        assert len(set(networks)) == 4
        assert all(_commands(network) for network in networks)
        cable = Path(f"/sys/class/net/recsys{killed.pid}")
        assert cable.exists()
        killed.kill()
    await_until(lambda: not any(map(_commands, networks)), "the end of all processes")
    await_until(lambda: not cable.exists(), "the end of the cable")


def _network(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


def _commands(network: Path) -> list[str]:
    """Return the command lines that run in a network namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").readlink() == network:
                found.append((process / "cmdline").read_text().strip("\0"))
        except OSError:  # ended meanwhile
            continue
    return found

"""Machines out of Linux namespaces: each a network, a process table, a /tmp and a home of its own.

They share the file system outside /tmp and the home, the project and the Python environment, and
one folder that stands for shared storage. Every process here is bound to the life of the tests: the
kernel ends it when they end, however they end, and takes the networks with it, so that nothing is
ever left to be cleared.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
BOUND = ("setpriv", "--pdeathsig", "KILL")
"""Before a command: let it be killed when this process ends."""
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Before a command: let all that it starts end with it."""
TOOLS = {
    "iproute2": ("ip",),
    "util-linux": ("nsenter", "setpriv", "unshare"),
    "openssh-server": ("ssh", "ssh-keygen", "sshd"),
    "rsync": ("rsync",),
    "procps": ("ps",),
}
HOSTS = 3
SIZE = "--num-cpus=3 --object-store-memory=200000000"

SSHD_CONFIG = """
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
"""

BASHRC = """
export PATH={bin}:$PATH
export PYTHONPATH={root}
export RAY_USAGE_STATS_ENABLED=0 RAY_DISABLE_IMPORT_WARNING=1
"""


class CommandError(Exception):
    """A command failed, or did not end in time; says which, and what it printed."""

    def __init__(self, command: tuple[str, ...], what: str, said: str) -> None:
        super().__init__(f"{shlex.join(command)}: {what}:\n{said}")
        self.said = said


@dataclass
class Machine:
    """A machine that runs, for as long as its first process does."""

    name: str
    address: str
    folder: Path
    process: subprocess.Popen[bytes]

    def power_off(self) -> None:
        """End everything that runs on it at once, as a pulled plug would."""
        self.process.kill()  # its child, process 1 of the machine, dies with it, and so all others
        self.process.wait()

    @property
    def is_on(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def await_log(self, line: str) -> None:
        """Wait until the first program has said something."""
        await_until(lambda: line in self.log or not self.is_on, f"{self.name}: {line}")
        assert self.is_on, self.log


@dataclass
class Operator:
    """Who sits at a machine outside of the cluster, with a key and a cluster file."""

    machine: Machine
    hosts: list[Machine]
    shared: Path

    def run(self, *command: str, timeout_s: float = 600, **environment: str) -> str:
        """Run a command in the project and return what it says."""
        began = time.monotonic()
        with self.started(*command, **environment) as process:
            try:
                said, _ = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise CommandError(
                    command, f"not within {timeout_s:g} s", process.communicate(timeout=60)[0]
                ) from None
        print(f"{time.monotonic() - began:5.1f} s: {shlex.join(command)}", flush=True)
        if process.returncode != 0:
            raise CommandError(command, f"exit {process.returncode}", said)
        return said

    @contextmanager
    def started(self, *command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command in the project, and end it with the block."""
        here = ("nsenter", "--target", str(self.machine.process.pid), "--mount", "--net", "--uts")
        within = ("env", "--chdir", str(ROOT))
        with subprocess.Popen(
            [*BOUND, *here, *APART, *within, *command],
            env=_environment() | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def ray(self, verb: str, *arguments: str) -> str:
        """Run ``ray VERB cluster.yaml ARGUMENTS``."""
        given = ("-y",) if verb in ("up", "down") else ()
        return self.run("ray", verb, *given, self.cluster, *arguments)

    def on(self, host: Machine, command: str) -> str:
        """Run a line of shell on a host, as a login would."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        given = [word for option in options for word in ("-o", option)]
        line = f"bash --login -c -i {shlex.quote('source ~/.bashrc; ' + command)}"
        return self.run("ssh", *given, f"root@{host.address}", line)

    @property
    def cluster(self) -> str:
        """The cluster file."""
        return str(self.machine.folder / "cluster.yaml")


def await_until(condition: Callable[[], bool], what: str, *, within_s: float = 300) -> None:
    """Wait until `condition` holds; a failure names `what`."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(0.1)


def missing() -> str | None:
    """Tell what machines want and is not here, and how to get it."""
    if os.geteuid() != 0:
        return "three hosts are made of namespaces, which wants root: run the tests as root"
    absent = [name for name, tools in TOOLS.items() if not all(map(_program, tools))]
    if absent:
        return f"three hosts want {', '.join(absent)}: apt-get install {' '.join(absent)}"
    own = "ip link add eth0 type bridge && mount -t tmpfs tmpfs /dev/shm && hostname host"
    for tried in (
        ["unshare", "--net", "--uts", *APART[1:], "bash", "-c", own],
        ["ip", "link", "add", _cable(), "type", "veth", "peer", "name", f"{_cable()}p"],
        ["ip", "link", "del", _cable()],
    ):
        done = subprocess.run(tried, capture_output=True, text=True, timeout=60)
        if done.returncode:
            why = done.stderr.strip()
            return (
                f"three hosts are made of namespaces, which are refused here ({why}): "
                "in a container, run it with --privileged"
            )
    return None


@contextmanager
def three_hosts(folder: Path) -> Iterator[Operator]:
    """Boot an operator's machine and three hosts in `folder`; switch them off at the end."""
    net = f"10.{os.getpid() % 200 + 20}.{secrets.randbelow(250)}"
    shared, desk = folder / "shared", folder / "operator"
    shared.mkdir()
    machines: list[Machine] = []
    try:
        _outfit(desk)
        _keygen(desk / "home/.ssh/id_ed25519")
        operator = _boot(f"{net}.1", desk, ["sleep", "infinity"], shared, hub=None)
        machines.append(operator)
        operator.await_log("operator is up")
        _connect(operator, f"{net}.2")
        for n in range(HOSTS):
            own, address = folder / f"host{n}", f"{net}.{n + 10}"
            _outfit(own)
            _keygen(own / "host_key")
            key = (desk / "home/.ssh/id_ed25519.pub").read_text()
            (own / "authorized_keys").write_text(key)
            (own / "sshd_config").write_text(SSHD_CONFIG.format(address=address, folder=own))
            first = [str(_program("sshd")), "-D", "-e", "-f", f"{own}/sshd_config"]
            machines.append(_boot(address, own, first, shared, hub=operator))
        hosts = machines[1:]
        for host in hosts:
            host.await_log("Server listening")
        _write_cluster_file(operator, hosts)
        yield Operator(operator, hosts, shared)
    finally:
        for machine in reversed(machines):
            machine.power_off()


def _outfit(folder: Path) -> None:
    """Lay out a machine's folder: its /tmp and its home."""
    for part in ("tmp", "home/.ssh"):
        (folder / part).mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    home = folder / "home"
    (home / ".bashrc").write_text(BASHRC.format(bin=Path(sys.prefix) / "bin", root=ROOT))
    (home / ".bash_profile").write_text("source ~/.bashrc\n")


def _boot(
    address: str, folder: Path, first: list[str], shared: Path, *, hub: Machine | None
) -> Machine:
    """Start a machine whose network cable leads to `hub`, and on it its first program."""
    needed = [ROOT, Path(sys.prefix), Path(sys.base_prefix), shared, folder]
    environment = _environment() | {
        "NAME": folder.name,
        "ADDRESS": address,
        "FOLDER": str(folder),
        "NEEDED": ":".join(map(str, needed)),
        "HUB": str(hub.process.pid) if hub else "",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*BOUND, "unshare", "--net", "bash", str(Path(__file__).with_name("boot.sh")), *first],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )
    return Machine(folder.name, address, folder, process)


def _connect(hub: Machine, address: str) -> None:
    """Lead a cable from the hub to this process's network, which is the outside."""
    pid, cable = str(hub.process.pid), _cable()
    for command in (
        f"ip link add {cable} type veth peer name outside netns {pid}",
        f"nsenter --target {pid} --net ip link set outside master eth0 up",
        f"ip addr add {address}/24 dev {cable}",
        f"ip link set {cable} up",
    ):
        subprocess.run(command.split(), check=True, timeout=60)


def _write_cluster_file(operator: Machine, hosts: list[Machine]) -> None:
    """Write cluster.yaml with these hosts' addresses, as its comments say."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    head, *workers = (host.address for host in hosts)
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"]["ssh_user"] = "root"
    # Ray would take three times the machine's cores and memory.
    for name in ("head", "worker"):
        commands = config[f"{name}_start_ray_commands"]
        commands[-1] = commands[-1].replace("ray start", f"ray start {SIZE}")
    (operator.folder / "cluster.yaml").write_text(yaml.safe_dump(config))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
    return kept | {
        "HOME": str(Path.home()),
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_UP_enable_autoscaler_v2": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _cable() -> str:
    return f"recsys{os.getpid()}"


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _keygen(file: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)]
    subprocess.run(command, check=True, timeout=60)

"""Three hosts on one machine: each a network, a process table, a home and an SSH server of its own.

Linux namespaces make them, so root is wanted. What the hosts share is the file system outside /tmp
and the home, the project and the Python environment, and one folder that stands for shared storage.
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
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TOOLS = ("ip", "unshare", "mount", "ssh", "sshd", "ssh-keygen", "rsync")
HOSTS = 3
SIZE = "--num-cpus=2 --object-store-memory=200000000"

# The mounts of one host. What it needs of the real /tmp and home is bound back in before they are
# covered by its own; `exec` leaves sshd as process 1, so that to kill it is to power the host off.
BOOT = """
set -e
mount --make-rprivate /
hostname {name}
for path in {shared}; do
    case $path/ in
        /tmp/*) inside={folder}/tmp/${{path#/tmp/}} ;;
        {home}/*) inside={folder}/home/${{path#{home}/}} ;;
        *) continue ;;
    esac
    mkdir -p "$inside" && mount --bind "$path" "$inside"
done
mount -t tmpfs -o size=1g tmpfs /dev/shm
mkdir -p /run/sshd
mount --rbind {folder}/home {home}
mount --rbind {folder}/tmp /tmp
ip link set lo up
exec {sshd} -D -e -f {folder}/sshd_config
"""

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


@dataclass
class Host:
    """One host."""

    name: str
    address: str
    namespace: str
    folder: Path
    process: subprocess.Popen[bytes]

    def power_off(self) -> None:
        """End everything that runs on it at once, as a pulled plug would."""
        self.process.kill()  # unshare, whose child dies with it, and with that its process table
        self.process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")


@dataclass
class Operator:
    """Who sits outside: a home with a key and a token, a cluster file, and the hosts' addresses."""

    home: Path
    shared: Path
    cluster: Path
    hosts: list[Host]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, timeout_s: float = 300) -> str:
        """Run a command in the project, as the operator, and return what it says."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            text=True,
        )
        assert done.returncode == 0, f"{shlex.join(command)}:\n{done.stdout}"
        return done.stdout

    def ray(self, verb: str, *arguments: str, timeout_s: float = 300) -> str:
        """Run ``ray VERB cluster.yaml ARGUMENTS``."""
        given = ("-y",) if verb in ("up", "down") else ()
        return self.run("ray", verb, *given, str(self.cluster), *arguments, timeout_s=timeout_s)

    def on(self, host: Host, command: str, *, timeout_s: float = 120) -> str:
        """Run a line of shell on a host, as a login would."""
        line = f"bash --login -c -i {shlex.quote('source ~/.bashrc; ' + command)}"
        return self.run(*self.ssh, f"root@{host.address}", line, timeout_s=timeout_s)

    @property
    def ssh(self) -> list[str]:
        """The start of every SSH command line."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        options += ("ConnectTimeout=10", "ExitOnForwardFailure=yes")
        named = [word for option in options for word in ("-o", option)]
        return ["ssh", "-i", str(self.home / ".ssh/id_ed25519"), *named]


def await_until(condition: Callable[[], bool], what: str, *, within_s: float = 120) -> None:
    """Wait until `condition` holds; a failure names `what`."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(0.2)


def _missing() -> str | None:
    if not os.environ.get("RECSYS_TEST_HOSTS"):
        command = "RECSYS_TEST_HOSTS=1 make test ARGS=tests/cluster/hosts"
        return f"three hosts take some minutes: {command}"
    if os.geteuid() != 0:
        return "namespaces want root: run the tests as root"
    absent = [tool for tool in TOOLS if _tool(tool) is None]
    if absent:
        return (
            f"{', '.join(absent)} missing: install openssh-server, rsync, iproute2 and util-linux"
        )
    probe = f"recsys{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    return f"no network namespaces here: {tried.stderr.strip()}" if tried.returncode else None


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Boot three hosts; switch them off at the end."""
    if (missing := _missing()) is not None:
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("hosts")
    home, shared = folder / "operator", folder / "shared"
    shared.mkdir()
    (home / ".ssh").mkdir(parents=True)
    (home / ".ray").mkdir()
    _keygen(home / ".ssh/id_ed25519")
    (home / ".ray/auth_token").write_text(secrets.token_hex(32))
    (home / ".ray/auth_token").chmod(0o600)

    net = f"10.{os.getpid() % 200 + 20}.{secrets.randbelow(250)}"
    bridge = f"rs{os.getpid()}"
    _ip("link", "add", bridge, "type", "bridge")
    hosts: list[Host] = []
    try:
        _ip("addr", "add", f"{net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for n in range(HOSTS):
            hosts.append(_boot(n, f"{net}.{n + 10}", bridge, folder, shared, home))
        for host in hosts:
            await_until(lambda host=host: "Server listening" in host.log, f"sshd of {host.name}")
        yield Operator(home, shared, _cluster_file(folder, hosts, home), hosts, _environment(home))
    finally:
        for host in hosts:
            host.power_off()
            _ip("netns", "del", host.namespace)
        _ip("link", "del", bridge)


def _boot(n: int, address: str, bridge: str, folder: Path, shared: Path, home: Path) -> Host:
    name, own = f"host{n}", folder / f"host{n}"
    namespace, cable = f"{bridge}n{n}", f"{bridge}v{n}"
    for part in ("tmp", "home/.ssh"):
        (own / part).mkdir(parents=True)
    (own / "tmp").chmod(0o1777)
    _ip("netns", "add", namespace)
    _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _ip("link", "set", cable, "master", bridge, "up")
    _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
    _ip("-n", namespace, "link", "set", "eth0", "up")
    _keygen(own / "host_key")
    (own / "authorized_keys").write_text((home / ".ssh/id_ed25519.pub").read_text())
    (own / "sshd_config").write_text(SSHD_CONFIG.format(address=address, folder=own))
    bashrc = BASHRC.format(bin=Path(sys.prefix) / "bin", root=ROOT)
    (own / "home/.bashrc").write_text(bashrc)
    (own / "home/.bash_profile").write_text("source ~/.bashrc\n")
    needed = [ROOT, Path(sys.prefix), Path(sys.base_prefix), shared, own]
    boot = BOOT.format(
        name=name,
        shared=" ".join(shlex.quote(str(path)) for path in needed),
        folder=own,
        home=str(Path.home()),
        sshd=_tool("sshd"),
    )
    inside = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with (own / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *inside, "bash", "-c", boot],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "HOME": str(Path.home()), "LANG": "C.UTF-8"},
        )
    return Host(name, address, namespace, own, process)


def _cluster_file(folder: Path, hosts: list[Host], home: Path) -> Path:
    """Write cluster.yaml with these hosts' addresses, as its comments say."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    config["cluster_name"] = folder.parent.name + folder.name  # its state lies in /tmp/ray
    head, *workers = hosts
    config["provider"] |= {
        "head_ip": head.address,
        "worker_ips": [host.address for host in workers],
    }
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(home / ".ssh/id_ed25519")}
    # Ray would take three times the machine's cores and memory.
    for name in ("head", "worker"):
        commands = config[f"{name}_start_ray_commands"]
        commands[-1] = commands[-1].replace("ray start", f"ray start {SIZE}")
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def _environment(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
    return kept | {
        "HOME": str(home),
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "RAY_UP_enable_autoscaler_v2": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _keygen(file: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)]
    subprocess.run(command, check=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)

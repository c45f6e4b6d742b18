"""Break a running server in every way we know, under load, and count what listeners notice.

    python scripts/faults.py [--out docs/reliability.md]

A small demo world is served by two replicas; readers ask for lists, live and weekly ones, and
writers post events all the while (load.py). Every wait is for something to have happened. The event
store is PostgreSQL where Debian's programs are found, else SQLite; one server suffers all faults of
a store, each after it has recovered from the one before. Each fault gets its own count: answers
that were errors, requests that the client had to repeat (refused connection, 503 with Retry-After)
and did repeat with success, and accepted events that are not in the store.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from load import ANSWERS, READERS, Load, until

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.config import Config, ServingConfig
from recsys.data.eventstore import EventStore
from recsys.data.world import make_world
from recsys.pipeline import build, read_source
from recsys.serving.local import served

CROWD = 48
"""Readers, where there are more than are taken."""
REPLICAS, TAKEN = 2, 8
"""Replicas, and the requests that each takes at once."""


def processes(name: str) -> list[int]:
    """Return our own descendants whose command line or program begins with `name`."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents[int(folder.name)], commands[int(folder.name)] = parent, command

    def ours(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    def called(command: str) -> bool:
        program = command.split(" ")[0].rpartition("/")[2]
        return command.startswith(name) or program == name

    return [process for process, command in commands.items() if called(command) and ours(process)]


@dataclass(frozen=True)
class Scene:
    """Where a fault happens."""

    address: str
    models: Models
    events: str
    load: Load

    def serving(self) -> str:
        """Return the version that a replica says it answers from."""
        return str(self.told()["serving"])

    def told(self) -> dict[str, Any]:
        """Return what a replica says of its versions."""
        with urlopen(f"{self.address}/v1/models", timeout=20) as answer:
            told: dict[str, Any] = json.load(answer)
        return told


Fault = Callable[[Scene], str]
"""Breaks something; returns what is to be told of it."""


def replicas() -> int:
    """Return how many replicas are alive."""
    return len(processes("ray::ServeReplica"))


def recover(scene: Scene, n_replicas: int) -> None:
    """Wait until every process is there again and answers."""
    good = 0

    def well() -> bool:
        nonlocal good
        whole = replicas() == n_replicas and processes("haproxy")
        with urlopen(f"{scene.address}/v1/health/ready", timeout=20) as answer:
            good = good + 1 if whole and answer.status == 200 else 0
        return good == 10

    until(well, "not recovered")


def nothing(_: Scene) -> str:
    """Break nothing: the measure of all others."""
    return ""


def crowd_in(scene: Scene) -> str:
    """Break nothing: the load alone is more than the server takes."""
    until(lambda: scene.load.repeated >= ANSWERS, "nobody was refused")
    return ""


def grow_and_shrink(scene: Scene) -> str:
    """Wait until another replica has come for the crowd and, once that has left, has gone."""
    up = until(lambda: replicas() == REPLICAS, "no second replica")
    scene.load.goes_on()
    scene.load.readers = READERS
    down = until(lambda: replicas() == 1, "the second replica stays")
    return f"; the second came after {up:.0f} s, and went {down:.0f} s after the crowd"


def kill_replica(_: Scene) -> str:
    os.kill(processes("ray::ServeReplica")[0], signal.SIGKILL)
    return ""


def kill_proxy(_: Scene) -> str:
    for process in processes("haproxy"):
        os.kill(process, signal.SIGKILL)
    return ""


def sever_database(scene: Scene) -> str:
    import psycopg

    with psycopg.connect(scene.events.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
    return ""


def corrupt_version(scene: Scene) -> str:
    models = scene.models
    source, writer = models.open(), models.write()
    writer.arrays, writer.facts = source.arrays, dict(source.facts)
    broken = writer.commit(activate=False)
    manifest = Path(models.folder.locate(f"versions/{broken}/manifest.json"))
    models.folder.write("ACTIVE", f"{broken}\n".encode())
    manifest.write_bytes(manifest.read_bytes()[:200])
    until(lambda: scene.told()["problem"], "the damage was not noticed")
    return ""


def switch_versions(scene: Scene) -> str:
    models = scene.models
    source, writer = models.open(models.versions()[0]), models.write()
    writer.arrays, writer.facts = source.arrays, dict(source.facts)
    second = writer.commit(activate=True)
    until(lambda: scene.serving() == second, "the second version does not answer")
    scene.load.goes_on()
    models.rollback()
    until(lambda: scene.serving() == source.version, "the first version does not answer again")
    scene.load.goes_on()
    models.activate(second)
    until(lambda: scene.serving() == second, "the second version does not answer again")
    return ""


def fill_disk(scene: Scene) -> str:
    """Take every free block of the small disk until an event was refused, and lists went on."""
    file, refused = Path(scene.models.folder.locate("filler")), scene.load.refused
    with file.open("wb", buffering=0) as stream:

        def fill() -> bool:
            with suppress(OSError):
                while True:
                    stream.write(b"\0" * 4096)
            return scene.load.refused > refused

        full_s = until(fill, "no event was refused")
        scene.load.goes_on()
    file.unlink()
    return f"; the first event was refused after {full_s:.1f} s"


@contextmanager
def postgresql() -> Iterator[str | None]:
    """Start Debian's PostgreSQL on a socket of its own; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="recsys-faults-pg-"))
    user: dict[str, str] = {}
    if os.getuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = {"user": "postgres" if "postgres" in names else "nobody"}
        shutil.chown(folder, user["user"])

    def run(program: str, *arguments: str) -> None:
        command = [str(found[-1].parent / program), *arguments]
        quiet = subprocess.DEVNULL
        subprocess.run(command, check=True, stdout=quiet, stderr=quiet, cwd=folder, **user)

    data, log = str(folder / "data"), str(folder / "log")
    run("initdb", "-D", data, "-A", "trust", "-U", "recsys", "-E", "UTF8", "--locale=C")
    settings = f"-c listen_addresses='' -c unix_socket_directories='{folder}'"
    run("pg_ctl", "-D", data, "-w", "-l", log, "-o", settings, "start")
    try:
        yield f"postgresql+psycopg://recsys@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of 64 MB on `folder`, where we may; yield whether that was so."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "recsys-faults", str(folder)]
    mounted = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def measure(
    address: str, models: Models, events: str, fault: Fault, n_replicas: int
) -> tuple[Load, str]:
    """Break something under load and wait until all is well again."""
    users = [f"u{n:05d}" for n in range(20)]
    crowded = fault in (crowd_in, grow_and_shrink)
    with Load(address, users, CROWD if crowded else READERS) as load:
        scene = Scene(address, models, events, load)
        load.goes_on()
        told = fault(scene)
        recover(scene, n_replicas)
        load.goes_on()
    return load, told


def lost(load: Load, url: str) -> int:
    """Count the accepted events that the store does not have."""
    store = EventStore(url)
    kept = {user: {e["event_id"] for e in store.history(user, 0).events} for user in load.users}
    store.close()
    return sum(event_id not in kept[user] for user, event_id in load.accepted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the page here")
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # what was mounted and started must end with us
        signal.signal(number, signal.default_int_handler)
    lines = []
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recsys-faults-")))
        can_fill = stack.enter_context(small_disk(base / "disk"))
        server = stack.enter_context(postgresql())
        world = make_world(base / "world", seed=0, scale=0.05)
        models = Models(base / "disk" / "models")
        recipe = Config().override(["collaborative.factors=16", "collaborative.iterations=5"])
        build(read_source(world.dataset), recipe, LocalBackend(), models)
        first = models.active()
        sqlite = f"sqlite:///{base}/disk/models/events.db"
        usual = ServingConfig(replicas=REPLICAS, max_requests=TAKEN)
        growing = ServingConfig(replicas=1, max_replicas=REPLICAS)
        faults: list[tuple[str, Fault]] = [
            ("nothing", nothing),
            (f"{CROWD} readers where {REPLICAS * TAKEN} are taken at once", crowd_in),
            ("SIGKILL of one of two replicas", kill_replica),
            ("SIGKILL of the proxy", kill_proxy),
            ("versions activated and rolled back", switch_versions),
            ("a damaged version made active", corrupt_version),
        ]
        if server:
            faults.append(("every database connection cut", sever_database))
        suffered = [(usual, server or sqlite, faults)]
        if can_fill:
            suffered.append((usual, sqlite, [("the disk full (SQLite)", fill_disk)]))
        grown = f"{CROWD} readers on one replica that may become {REPLICAS}"
        suffered.append((growing, server or sqlite, [(grown, grow_and_shrink)]))
        for n, (config, url, of_server) in enumerate(suffered):
            port = 19_000 + os.getpid() % 900 + n
            with served(models.folder.path, port=port, events=url, config=config) as address:
                for name, fault in of_server:
                    load, more = measure(address, models, url, fault, config.replicas)
                    models.activate(first)
                    gone = lost(load, url)
                    told = f"{len(load.failed)} | {load.repeated} | {load.slowest_s:.1f}"
                    lines.append(
                        f"| {name}{more} | {load.answered:,} | {told} | {len(load.accepted):,} | "
                        f"{gone} |"
                    )
                    errors = ", ".join(sorted(set(load.failed)))
                    print(lines[-1], errors, file=sys.stderr, flush=True)
    page = PAGE.format(
        lines="\n".join(lines),
        machine=f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}",
        load=os.getloadavg()[0],
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        versions=f"Python {platform.python_version()}, ray {version('ray')}",
    )
    print(page)
    if args.out:
        args.out.write_text(page, encoding="utf-8")


PAGE = """# Reliability: faults under load

Two replicas serve a small world while three readers ask for lists, live and weekly ones, and two
writers post events, each with an event_id. Then something breaks. A client does what HTTP asks of
it: where a connection is refused or broken, or the answer is 503 with `Retry-After`, it asks again
(every event has an id, so that is safe).

| fault | answered | failed | repeated by the client | slowest s | events accepted | lost |
|---|---|---|---|---|---|---|
{lines}

*Failed*: answered by an error other than 503 with `Retry-After`, or not at all within 60 s.
*Lost*: answered 202 and not in the event store afterwards.

What stands behind it: an event is answered 202 after its commit; HAProxy sends a request that a
killed replica left unanswered to another one, with a number that keeps its events from counting
twice; Serve starts a new replica and a new proxy, which answers 503 until it knows its replicas; a
replica that is not needed any more ends when what it was asked is answered; a version that cannot
be loaded leaves the old one answering; a severed connection to the database is opened again and the
statement, which may be repeated, is repeated. While the store cannot write, events are refused
(503), never half kept, and lists go on. While it cannot be read, lists of listeners are refused
too: an unread tombstone might hide a deletion.

Machine: {machine}, load average {load:.1f}. {day}. {versions}. Command: `python scripts/faults.py`.
"""


if __name__ == "__main__":
    main()

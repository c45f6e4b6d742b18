"""Break a running server in every way we know, under load, and count what listeners notice.

    python scripts/faults.py [--out docs/reliability.md]

A small demo world is served by two replicas; readers ask for lists and writers post events all the
while. The event store is PostgreSQL where Debian's programs are found, else SQLite; one server
suffers all faults of a store, each after it has recovered from the one before. Each fault gets its
own count: answers that were errors, requests that the client had to repeat (refused connection, 503
with Retry-After) and did repeat with success, and accepted events that are not in the store.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.config import Config, ServingConfig
from recsys.data.eventstore import EventStore
from recsys.data.world import make_world
from recsys.pipeline import build, read_source
from recsys.serving.local import served

READERS, WRITERS, CROWD = 3, 2, 48
REPLICAS, TAKEN = 2, 8
"""Replicas, and the requests that each takes at once."""
CALM_S, AFTER_S, PATIENCE_S, RECOVERED_S = 3.0, 5.0, 60.0, 300.0
RETRIED = (http.client.HTTPException, OSError)

Fault = Callable[[Models, str], None]
"""Breaks something, given the versions and the address of the event store."""


@dataclass
class Load:
    """Readers and writers, and what they met."""

    address: str
    users: list[str]
    readers: int = READERS
    answered: int = 0
    repeated: int = 0
    failed: list[str] = field(default_factory=list)
    accepted: list[tuple[str, str]] = field(default_factory=list)
    slowest_s: float = 0.0

    def __post_init__(self) -> None:
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(n, n < self.readers))
            for n in range(self.readers + WRITERS)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, worker: int, reads: bool) -> None:
        n = 0
        while not self._stop.is_set():
            n += 1
            user = self.users[(worker * 7919 + n) % len(self.users)]
            if reads:
                self._ask("GET", f"/v1/users/{user}/recommendations?k=10", None)
                continue
            event_id = f"{worker}-{n}-{time.time_ns()}"
            event = {"event_id": event_id, "user_id": user, "item_id": "t00000", "kind": "stream"}
            if self._ask("POST", "/v1/events", json.dumps(event)):
                with self._lock:
                    self.accepted.append((user, event_id))
            time.sleep(0.02)

    def _ask(self, method: str, path: str, body: str | None) -> bool:
        """Ask, and again where we are told to or nobody listens; return whether it worked."""
        began, first = time.monotonic(), True
        while True:
            told, wait_s = self._once(method, path, body)
            taken = time.monotonic() - began
            if told in (200, 202):
                with self._lock:
                    self.answered += 1
                    self.slowest_s = max(self.slowest_s, taken)
                return True
            again = told == 503 or isinstance(told, str)
            if not again or taken > PATIENCE_S:
                with self._lock:
                    self.failed.append(f"{method}: {told}")
                return False
            if first:
                with self._lock:
                    self.repeated += 1
            first = False
            time.sleep(wait_s)

    def _once(self, method: str, path: str, body: str | None) -> tuple[int | str, float]:
        """Return the status, or the name of the error, and the seconds to wait before asking again.

        An answer of 503 without a Retry-After is an error.
        """
        place = urlsplit(self.address)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        try:
            head = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, body, head)
            answer = connection.getresponse()
            answer.read()
        except RETRIED as error:
            return type(error).__name__, 0.2
        else:
            wait = answer.headers["Retry-After"]
            if answer.status == 503 and wait is None:
                return 500, 0
            return answer.status, float(wait or 0)
        finally:
            connection.close()


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


def recover(address: str) -> None:
    """Wait until every process is there again and answers."""
    deadline, good = time.monotonic() + RECOVERED_S, 0
    while good < 10:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not recovered after {RECOVERED_S:g} s")
        time.sleep(0.2)
        whole = len(processes("ray::ServeReplica")) == REPLICAS and processes("haproxy")
        try:
            with urlopen(f"{address}/v1/health/ready", timeout=20) as answer:
                good = good + 1 if whole and answer.status == 200 else 0
        except RETRIED:
            good = 0


def nothing(_: Models, __: str) -> None:
    """Break nothing: the measure of all others."""


def crowd_in(_: Models, __: str) -> None:
    """Break nothing: the load alone is more than the server takes."""


def kill_replica(_: Models, __: str) -> None:
    os.kill(processes("ray::ServeReplica")[0], signal.SIGKILL)


def kill_proxy(_: Models, __: str) -> None:
    for process in processes("haproxy"):
        os.kill(process, signal.SIGKILL)


def sever_database(_: Models, url: str) -> None:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )


def corrupt_version(models: Models, _: str) -> None:
    source, writer = models.open(), models.write()
    writer.arrays, writer.facts = source.arrays, dict(source.facts)
    broken = writer.commit(activate=False)
    manifest = Path(models.folder.locate(f"versions/{broken}/manifest.json"))
    models.folder.write("ACTIVE", f"{broken}\n".encode())
    manifest.write_bytes(manifest.read_bytes()[:200])


def switch_versions(models: Models, _: str) -> None:
    source, writer = models.open(models.versions()[0]), models.write()
    writer.arrays, writer.facts = source.arrays, dict(source.facts)
    second = writer.commit(activate=True)
    time.sleep(2)
    models.rollback()
    time.sleep(2)
    models.activate(second)


def fill_disk(models: Models, _: str) -> None:
    """Take every free block of the small disk for some seconds."""
    file = Path(models.folder.locate("filler"))
    try:
        with file.open("wb") as stream:
            while True:
                stream.write(b"\0" * 65536)
                stream.flush()
    except OSError:
        pass
    time.sleep(4)
    file.unlink()


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


def measure(address: str, models: Models, url: str, fault: Fault) -> Load:
    """Break something under load and wait until all is well again."""
    users = [f"u{n:05d}" for n in range(20)]
    with Load(address, users, CROWD if fault is crowd_in else READERS) as load:
        time.sleep(CALM_S)
        fault(models, url)
        recover(address)
        time.sleep(AFTER_S)
    return load


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
            suffered.append((usual, sqlite, [("the disk full for 4 s (SQLite)", fill_disk)]))
        more = f"{CROWD} readers on one replica that may become {REPLICAS}"
        suffered.append((growing, server or sqlite, [(more, crowd_in)]))
        for n, (config, url, of_server) in enumerate(suffered):
            port = 19_000 + os.getpid() % 900 + n
            with served(models.folder.path, port=port, events=url, config=config) as address:
                for name, fault in of_server:
                    load = measure(address, models, url, fault)
                    models.activate(first)
                    gone = lost(load, url)
                    lines.append(
                        f"| {name} | {load.answered:,} | {len(load.failed)} | {load.repeated} | "
                        f"{load.slowest_s:.1f} | {len(load.accepted):,} | {gone} |"
                    )
                    told = ", ".join(sorted(set(load.failed)))
                    print(lines[-1], told, file=sys.stderr, flush=True)
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

Two replicas serve a small world while three readers ask for lists and two writers post events, each
with an event_id. Then something breaks. A client does what HTTP asks of it: where a connection is
refused or broken, or the answer is 503 with `Retry-After`, it asks again (every event has an id, so
that is safe).

| fault | answered | failed | repeated by the client | slowest s | events accepted | lost |
|---|---|---|---|---|---|---|
{lines}

*Failed*: answered by an error other than 503 with `Retry-After`, or not at all within 60 s.
*Lost*: answered 202 and not in the event store afterwards.

What stands behind it: an event is answered 202 after its commit; HAProxy sends a request that a
killed replica left unanswered to another one, with a number that keeps its events from counting
twice; Serve starts a new replica and a new proxy; a version that cannot be loaded leaves the old
one answering; a severed connection to the database is opened again and the statement, which may be
repeated, is repeated. While the store cannot write, events are refused (503), never half kept, and
lists go on. While it cannot be read, lists of listeners are refused too: an unread tombstone might
hide a deletion.

Machine: {machine}, load average {load:.1f}. {day}. {versions}. Command: `python scripts/faults.py`.
"""


if __name__ == "__main__":
    main()

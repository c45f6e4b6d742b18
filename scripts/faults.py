"""Break a running server in every way we know, under load, and count what listeners notice.

    python scripts/faults.py [--out docs/reliability.md]

A small demo world is served by two replicas; readers ask for lists and writers post events all the
while. The event store is PostgreSQL where Debian's programs are found, else SQLite. Each fault gets
its own count: answers that were errors, requests that the client had to repeat (refused connection,
503 with Retry-After) and did repeat with success, and accepted events that are not in the store.
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

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.config import Config, ServingConfig
from recsys.data.eventstore import EventStore
from recsys.data.world import make_world
from recsys.pipeline import build, read_source
from recsys.serving.local import served

READERS, WRITERS = 3, 2
CALM_S, AFTER_S, PATIENCE_S = 3.0, 12.0, 30.0
RETRIED = (http.client.HTTPException, OSError)


@dataclass
class Load:
    """Readers and writers, and what they met."""

    address: str
    users: list[str]
    answered: int = 0
    repeated: int = 0
    failed: list[str] = field(default_factory=list)
    accepted: list[tuple[str, str]] = field(default_factory=list)
    slowest_s: float = 0.0

    def __post_init__(self) -> None:
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(n, n < READERS))
            for n in range(READERS + WRITERS)
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
            told = self._once(method, path, body)
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
            time.sleep(0.2)

    def _once(self, method: str, path: str, body: str | None) -> int | str:
        place = urlsplit(self.address)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        try:
            head = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, body, head)
            answer = connection.getresponse()
            answer.read()
        except RETRIED as error:
            return type(error).__name__
        else:
            return answer.status
        finally:
            connection.close()


def processes(name: str) -> list[int]:
    """Return the processes of our own session whose command line begins with `name`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
        except OSError:
            continue
        program = command.split(" ")[0].rpartition("/")[2]
        if session == os.getsid(0) and (command.startswith(name) or program == name):
            found.append(int(folder.name))
    return found


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


def measure(address: str, models: Models, url: str, fault: Callable[[Models, str], None]) -> Load:
    """Break something under load and wait until all is well again."""
    users = [f"u{n:05d}" for n in range(20)]
    with Load(address, users) as load:
        time.sleep(CALM_S)
        fault(models, url)
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
    if os.getpgid(0) != os.getpid():
        os.setsid()  # so that we find our own processes, and no others
    lines = []
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recsys-faults-")))
        can_fill = stack.enter_context(small_disk(base / "disk"))
        server = stack.enter_context(postgresql())
        world = make_world(base / "world", seed=0, scale=0.05)
        models = Models(base / "disk" / "models")
        config = Config().override(["collaborative.factors=16", "collaborative.iterations=5"])
        build(read_source(world.dataset), config, LocalBackend(), models)
        sqlite = f"sqlite:///{base}/disk/models/events.db"
        faults: list[tuple[str, str, Callable[[Models, str], None]]] = [
            ("nothing", server or sqlite, lambda _models, _url: None),
            ("SIGKILL of one of two replicas", server or sqlite, kill_replica),
            ("SIGKILL of the proxy", server or sqlite, kill_proxy),
            ("versions activated and rolled back", server or sqlite, switch_versions),
            ("a damaged version made active", server or sqlite, corrupt_version),
        ]
        if server:
            faults.append(("every database connection cut", server, sever_database))
        if can_fill:
            faults.append(("the disk full for 4 s (SQLite)", sqlite, fill_disk))
        for name, url, fault in faults:
            port = 19_000 + os.getpid() % 900
            with served(
                models.folder.path, port=port, events=url, config=ServingConfig(replicas=2)
            ) as address:
                load = measure(address, models, url, fault)
            models.activate(models.versions()[0])
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

*Failed*: answered by an error other than 503, or not at all within 30 s of asking again.
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

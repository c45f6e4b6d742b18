"""Order of the tests: quick ones first, then those that start Ray, a server, or the whole way.

And what several rooms test with: the command line in this process, and databases.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from recsys.cli import main

Run = Callable[..., tuple[int, str, str]]

# What takes long on a machine with other work is no fault of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_LAST = (
    "tests/test_docs.py",
    "tests/serving/test_server.py",
    "tests/serving/test_load.py",
    "tests/test_whole_way.py",
    "tests/cluster/",
    "tests/cluster/hosts/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the slow files behind all others, in the order of `_LAST`."""

    def lateness(item: pytest.Item) -> int:
        places = (n for n, name in enumerate(_LAST, start=1) if item.nodeid.startswith(name))
        return max(places, default=0)

    items.sort(key=lateness)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit code, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["recsys", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


_NO_POSTGRESQL = (
    "no PostgreSQL here: no /usr/lib/postgresql/*/bin/initdb; install it with "
    "`apt-get install postgresql`"
)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server of our own, which listens on a socket only; yields its address."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip(_NO_POSTGRESQL)
    programs, folder = found[-1].parent, Path(tempfile.mkdtemp(prefix="recsys-pg-"))
    user: dict[str, str | int] = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        name = next(n for n in ("postgres", "nobody") if _exists(n))
        user = {"user": name, "group": pwd.getpwnam(name).pw_gid}
        shutil.chown(folder, name)
    environment = {**os.environ, "LC_ALL": "C"}

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs / program), *arguments],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, env=environment, **user,
        )  # fmt: skip

    data = str(folder / "data")
    try:
        run("initdb", "-D", data, "-A", "trust", "-U", "recsys", "-E", "UTF8", "--no-sync")
        settings = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        run(
            "pg_ctl",
            "-D",
            data,
            "-w",
            "-t",
            "120",
            "-l",
            str(folder / "log"),
            "-o",
            settings,
            "start",
        )
        try:
            yield f"postgresql+psycopg://recsys@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, of each kind that is here."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/events.db"
        return
    import psycopg

    server, name = request.getfixturevalue("postgresql"), f"t{os.urandom(6).hex()}"
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.replace("/postgres?", f"/{name}?")

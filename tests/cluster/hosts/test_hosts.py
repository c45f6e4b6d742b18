"""The way of an operator: `ray up` on three hosts, train, tune, lists, a server, `ray down`.

The tests run in their order and build on each other, as the days of a cluster do.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from tests.cluster.hosts.machines import CommandError, Machine, Operator, await_until

PORT = 8000
DASHBOARD = 8265
INNER = (DASHBOARD, 8404, 9101)
"""Ports that nobody may reach from outside: the dashboard, HAProxy's statistics and metrics."""
TRAINING = ["--workers", "3", "--set", "collaborative.factors=8"]
"""The same each time: a changed recipe would have to win before it serves."""
AWAIT_NODES = f"python {Path(__file__).with_name('await_nodes.py')} "


@pytest.fixture(scope="module")
def cluster(operator: Operator) -> Iterator[Operator]:
    """Start Ray on the three hosts; `ray down` at the end leaves nothing running."""
    operator.run("ray", "get-auth-token", "--generate")
    operator.ray("up")
    joined(operator)
    yield operator
    operator.ray("down")
    # The head is stopped; the workers stop when they have missed it for a minute.
    for host in running(operator):
        await_until(partial(nothing_of_ray, operator, host), f"Ray gone from {host.name}")


def running(operator: Operator) -> list[Machine]:
    """Return the hosts that are on."""
    return [host for host in operator.hosts if host.is_on]


def joined(operator: Operator) -> None:
    """Wait until Ray counts the hosts that are on, and no others."""
    wanted = " ".join(host.address for host in running(operator))
    operator.ray("exec", AWAIT_NODES + wanted)


def nothing_of_ray(operator: Operator, host: Machine) -> bool:
    """Tell whether no process of Ray runs on a host."""
    lines = operator.on(host, "ps -eo args").splitlines()
    return not any("ray::" in line or "/ray" in line for line in lines)


@pytest.fixture(scope="module")
def dataset(operator: Operator) -> Path:
    """Two scenes of 60 listeners and 40 items each, imported to what the hosts share."""
    rng = np.random.default_rng(0)
    rows = ["user_id,item_id,artist_id,kind,value"]
    for user in range(120):
        for item in rng.permutation(40)[:15] + 40 * (user % 2):
            rows.append(f"u{user},i{item:02},a{item // 4},stream,{1 + rng.poisson(3)}")
    log = operator.shared / "events.csv"
    log.write_text("\n".join(rows) + "\n")
    dataset: Path = operator.shared / "dataset"
    operator.run("recsys", "import", "events", str(log), str(dataset))
    return dataset


@pytest.fixture(scope="module")
def models(cluster: Operator, dataset: Path) -> Path:
    """Train with one worker a host, by `ray submit`."""
    models: Path = cluster.shared / "models"
    said = cluster.ray("submit", "scripts/train.py", "--", str(dataset), str(models), *TRAINING)
    assert "is active in" in said, said
    return models


def test_hosts_get_the_project_and_nothing_else(cluster: Operator) -> None:
    for host in cluster.hosts:
        there = cluster.on(host, "ls -A ~/recsys").split()
        assert {"recsys", "serve_config.yaml"} <= set(there)
        assert not {".git", ".venv", ".mypy_cache", "demo"} & set(there)


def test_a_training_uses_every_host(cluster: Operator, models: Path) -> None:
    workers = actors(cluster)
    assert len(workers) == 3
    assert len({worker["node_id"] for worker in workers}) == 3
    assert json.loads(cluster.run("recsys", "models", str(models), "list", "--json"))


def actors(operator: Operator) -> list[Any]:
    """Return the actors of trainings, those that are over too."""
    said = operator.on(operator.hosts[0], "ray list actors --format json --detail --limit 1000")
    listed: list[Any] = json.loads(said[said.index("[") : said.rindex("]") + 1])
    return [actor for actor in listed if actor["class_name"] == "_Actor"]


def test_tune_and_weekly_by_ray_submit(cluster: Operator, dataset: Path, models: Path) -> None:
    out = cluster.shared / "tuned"
    few = ["--trials", "2", "--set", "collaborative.iterations=2"]
    cluster.ray("submit", "scripts/tune.py", "--", str(dataset), str(out), *few)
    assert "[collaborative]" in (out / "best.toml").read_text()
    lists = cluster.shared / "lists"
    cluster.ray("submit", "scripts/weekly.py", "--", str(models), str(lists), "--week", "2026-W47")
    assert (lists / "2026-W47.parquet").stat().st_size > 0


def test_the_same_by_ray_job_submit(cluster: Operator, dataset: Path, models: Path) -> None:
    before = (models / "ACTIVE").read_text()
    with dashboard(cluster) as address:
        command = ["ray", "job", "submit", "--address", address]
        command += ["--working-dir", "scripts", "--", "python", "train.py"]
        said = cluster.run(*command, str(dataset), str(models), *TRAINING)
    assert "succeeded" in said, said
    assert (models / "ACTIVE").read_text() != before, said


def test_nobody_without_the_token_gets_in(cluster: Operator) -> None:
    stranger = "RAY_AUTH_MODE=disabled RAY_NUM_REDIS_GET_RETRIES=1 " + AWAIT_NODES
    with pytest.raises(CommandError) as refused:
        cluster.on(cluster.hosts[0], stranger)
    assert "InvalidAuthToken" in refused.value.said
    with dashboard(cluster) as address, pytest.raises(CommandError) as refused:
        cluster.run("ray", "job", "list", "--address", address, RAY_AUTH_MODE="disabled")
    assert "Unauthorized" in refused.value.said


def test_a_server_on_every_host_outlives_one(cluster: Operator, models: Path) -> None:
    config = "~/recsys/serve_config.yaml"
    options = ["--models", str(models), "--host", "0.0.0.0", "--every-node", "--timeout", "500"]
    command = ("recsys", "keys", str(models), "create", "page", "--scopes", "read", "--json")
    key = json.loads(cluster.run(*command))["key"]
    cluster.ray("submit", "scripts/deploy.py", "--", config, *options)
    for host in running(cluster):
        await_until(partial(is_ready, host), f"a server on {host.name}")
        assert len(recommended(host, key)) == 5
        assert not [port for port in INNER if listens(host, port)]
    *others, victim = running(cluster)
    with pytest.raises(HTTPError, match="401"):
        recommended(victim, "no key")
    with readers(others, key) as seen:
        await_answers(seen, 20)
        victim.power_off()
        joined(cluster)
        missed = time.monotonic()  # Ray counts without the host: the health period is over
        await_answers(seen, 200)
    before = Counter(what for began, what in seen if began < missed)
    after = Counter(what for began, what in seen if began >= missed)
    print(f"until the host was missed: {dict(before)}; asked afterwards: {dict(after)}")
    assert set(after) == {"answered"}, after


def test_a_training_outlives_a_host(cluster: Operator, dataset: Path) -> None:
    models = cluster.shared / "outlived"
    long = ["--set", "collaborative.iterations=100", "--set", "collaborative.checkpoint_every=5"]
    command = ("submit", "scripts/train.py", "--", str(dataset), str(models), "--workers", "3")
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(cluster.ray, *command, *long)

        def begun() -> bool:
            return bool(list(models.glob("checkpoints/*/*"))) or training.done()

        await_until(begun, "a checkpoint")
        assert not training.done(), training.result()
        running(cluster)[-1].power_off()
        said = training.result()
    assert "is active in" in said and "workers lost" in said, said


@contextmanager
def readers(hosts: list[Machine], key: str) -> Iterator[list[tuple[float, str]]]:
    """Ask all the time, one reader a host; yields when each request began and what came of it."""
    seen: list[tuple[float, str]] = []
    stop = threading.Event()

    def read(host: Machine) -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                recommended(host, key)
                seen.append((began, "answered"))
            except OSError as error:
                seen.append((began, f"{host.name}: {type(error).__name__}: {error}"))

    with ThreadPoolExecutor(len(hosts)) as pool:
        asking = [pool.submit(read, host) for host in hosts]
        try:
            yield seen
        finally:
            stop.set()
    for reader in asking:
        reader.result()


def await_answers(seen: list[tuple[float, str]], n_more: int) -> None:
    """Wait until so many requests that begin now were answered."""
    now = time.monotonic()

    def answered() -> bool:
        return sum(what == "answered" for began, what in seen if began >= now) >= n_more

    await_until(answered, f"{n_more} answers")


def is_ready(host: Machine) -> bool:
    """Tell whether a host's proxy has found a replica that is ready."""
    try:
        urlopen(f"http://{host.address}:{PORT}/v1/health/ready", timeout=10).close()
    except OSError:
        return False
    return True


def listens(host: Machine, port: int) -> bool:
    """Tell whether a host takes connections from outside at a port."""
    with suppress(ConnectionRefusedError), socket.create_connection((host.address, port), 10):
        return True
    return False


def recommended(host: Machine, key: str) -> list[Any]:
    """Ask a host's proxy, from outside."""
    url = f"http://{host.address}:{PORT}/v1/users/u1/recommendations?k=5"
    head = {"Authorization": f"Bearer {key}"}
    with urlopen(Request(url, headers=head), timeout=30) as answer:
        items: list[Any] = json.load(answer)["items"]
        return items


@contextmanager
def dashboard(operator: Operator) -> Iterator[str]:
    """Reach the dashboard, which listens on loopback of the head, as an operator does."""
    with operator.started("ray", "dashboard", operator.cluster):
        answers = f"until (: < /dev/tcp/127.0.0.1/{DASHBOARD}) 2> /dev/null; do sleep 0.1; done"
        operator.run("bash", "-c", answers)
        yield f"http://127.0.0.1:{DASHBOARD}"

"""The way of an operator: `ray up` on three hosts, train, tune, lists, a server, `ray down`.

The tests run in their order and build on each other, as the days of a cluster do.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest

PORT = 8000
TRAINING = ["--workers", "3", "--set", "collaborative.factors=8"]
"""The same each time: a changed recipe would have to win before it serves."""
NODES = """python -c 'import ray
ray.init(log_to_driver=False)
print(*(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]))'"""


@pytest.fixture(scope="module")
def cluster(operator: Any) -> Iterator[Any]:
    """Start Ray on the three hosts; `ray down` at the end leaves nothing running."""
    operator.ray("up", "--no-config-cache")
    joined(operator, len(operator.hosts))
    yield operator
    operator.ray("down")
    # The head is stopped; the workers stop when they have missed it for a minute.
    for host in operator.hosts:
        if host.process.poll() is None:
            emptied(operator, host)


def emptied(operator: Any, host: Any) -> None:
    """Wait until nothing of Ray runs on a host."""
    deadline = time.monotonic() + 180
    while True:
        running = operator.on(host, "ps -eo args").splitlines()
        left = [line for line in running if "ray::" in line or "/ray" in line]
        if not left:
            return
        assert time.monotonic() < deadline, "\n".join(left)
        time.sleep(1)


def joined(operator: Any, n_hosts: int) -> None:
    """Wait until that many hosts are nodes of the cluster."""
    head = operator.hosts[0]
    deadline = time.monotonic() + 180
    while True:
        nodes = operator.on(head, NODES).split()
        there = [host for host in operator.hosts if host.address in nodes]
        if len(there) == n_hosts:
            return
        assert time.monotonic() < deadline, f"want {n_hosts} nodes, got {nodes}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def dataset(operator: Any) -> Path:
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
def models(cluster: Any, dataset: Path) -> Path:
    """Train with one worker a host, by `ray submit`."""
    models: Path = cluster.shared / "models"
    said = cluster.ray("submit", "scripts/train.py", "--", str(dataset), str(models), *TRAINING)
    assert "is active in" in said, said
    return models


def test_a_training_uses_every_host(cluster: Any, models: Path) -> None:
    workers = actors(cluster)
    assert len(workers) == 3
    assert len({worker["node_id"] for worker in workers}) == 3
    assert json.loads(cluster.run("recsys", "models", str(models), "list", "--json"))


def actors(operator: Any) -> list[Any]:
    """Return the actors of trainings, those that are over too."""
    said = operator.on(operator.hosts[0], "ray list actors --format json --detail --limit 1000")
    listed: list[Any] = json.loads(said[said.index("[") : said.rindex("]") + 1])
    return [actor for actor in listed if actor["class_name"] == "_Actor"]


def test_tune_and_weekly_by_ray_submit(cluster: Any, dataset: Path, models: Path) -> None:
    out = cluster.shared / "tuned"
    few = ["--trials", "2", "--set", "collaborative.iterations=2"]
    cluster.ray("submit", "scripts/tune.py", "--", str(dataset), str(out), *few)
    assert "[collaborative]" in (out / "best.toml").read_text()
    lists = cluster.shared / "lists"
    cluster.ray("submit", "scripts/weekly.py", "--", str(models), str(lists), "--week", "2026-W47")
    assert (lists / "2026-W47.parquet").stat().st_size > 0


def test_the_same_by_ray_job_submit(cluster: Any, dataset: Path, models: Path) -> None:
    before = (models / "ACTIVE").read_text()
    with tunnel(cluster, 8265) as port:
        command = ["ray", "job", "submit", "--address", f"http://127.0.0.1:{port}"]
        command += ["--working-dir", "scripts", "--", "python", "train.py"]
        said = cluster.run(*command, str(dataset), str(models), *TRAINING)
    assert "succeeded" in said, said
    assert (models / "ACTIVE").read_text() != before, said


def test_nobody_without_the_token_gets_in(cluster: Any) -> None:
    stranger = "RAY_AUTH_MODE=disabled " + NODES
    with pytest.raises(AssertionError, match=r"(?i)auth|token"):
        cluster.on(cluster.hosts[0], stranger)
    with tunnel(cluster, 8265) as port, pytest.raises(URLError, match=r"401|403"):
        urlopen(f"http://127.0.0.1:{port}/api/jobs/", timeout=10)


def test_a_training_outlives_a_host(cluster: Any, dataset: Path) -> None:
    victim = cluster.hosts[2]
    models = cluster.shared / "models-of-two"
    long = ["--set", "collaborative.iterations=300", "--set", "collaborative.checkpoint_every=5"]
    command = ("submit", "scripts/train.py", "--", str(dataset), str(models), "--workers", "3")
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(cluster.ray, *command, *long)
        deadline = time.monotonic() + 180
        while not list(models.glob("checkpoints/*/*")):
            assert time.monotonic() < deadline and not training.done()
            time.sleep(0.2)
        victim.power_off()
        said = training.result()
    assert "is active in" in said and "workers lost" in said, said


def test_a_server_on_every_host_outlives_one(cluster: Any, models: Path) -> None:
    config = "~/recsys/serve_config.yaml"
    options = ["--models", str(models), "--host", "0.0.0.0", "--every-node"]
    made = cluster.run(
        "recsys", "keys", str(models), "create", "page", "--scopes", "read", "--json"
    )
    key = json.loads(made)["key"]
    cluster.ray("submit", "scripts/deploy.py", "--", config, *options)
    running = [host for host in cluster.hosts if host.process.poll() is None]
    *others, victim = running
    for host in running:
        ready(host)
        assert len(recommended(host, key)) == 5
    with pytest.raises(HTTPError, match="401"):
        recommended(victim, "no key")
    seen: Counter[str] = Counter()
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            for host in others:
                try:
                    recommended(host, key)
                    seen["answered"] += 1
                except (URLError, OSError) as error:
                    seen[f"{type(error).__name__}: {error}"] += 1

    client = threading.Thread(target=load)
    client.start()
    try:
        victim.power_off()
        joined_without(cluster, victim)
        settled(seen)
        before = +seen
        wanted = before["answered"] + 100
        deadline = time.monotonic() + 120
        while seen["answered"] < wanted:
            assert time.monotonic() < deadline, seen
            time.sleep(0.1)
    finally:
        stop.set()
        client.join()
    after = seen - before
    assert set(after) == {"answered"}, after


def ready(host: Any) -> None:
    """Wait until a host's proxy has found a replica that is ready."""
    deadline = time.monotonic() + 120
    while True:
        try:
            urlopen(f"http://{host.address}:{PORT}/v1/health/ready", timeout=10).close()
            return
        except OSError as error:
            assert time.monotonic() < deadline, error
            time.sleep(0.5)


def joined_without(operator: Any, victim: Any) -> None:
    """Wait until Ray has noticed that a host is gone: the health period is over."""
    deadline = time.monotonic() + 120
    while victim.address in operator.on(operator.hosts[0], NODES).split():
        assert time.monotonic() < deadline, "Ray still counts a host that is off"
        time.sleep(0.5)


def settled(seen: Counter[str]) -> None:
    """Wait until 50 requests in a row were answered."""
    deadline = time.monotonic() + 120
    while True:
        failed, answered = seen.total() - seen["answered"], seen["answered"]
        while seen["answered"] < answered + 50 and seen.total() - seen["answered"] == failed:
            assert time.monotonic() < deadline, seen
            time.sleep(0.05)
        if seen.total() - seen["answered"] == failed:
            return


def recommended(host: Any, key: str) -> list[Any]:
    """Ask a host's proxy, from outside."""
    url = f"http://{host.address}:{PORT}/v1/users/u1/recommendations?k=5"
    head = {"Authorization": f"Bearer {key}"}
    with urlopen(Request(url, headers=head), timeout=10) as answer:
        items: list[Any] = json.load(answer)["items"]
        return items


@contextmanager
def tunnel(operator: Any, port: int) -> Iterator[int]:
    """Reach a loopback port of the head as an operator does, through SSH."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        local = probe.getsockname()[1]
    head = f"root@{operator.hosts[0].address}"
    command = [*operator.ssh, "-N", "-L", f"{local}:127.0.0.1:{port}", head]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as ssh:
        try:
            deadline = time.monotonic() + 30
            while not answers(local):
                assert time.monotonic() < deadline and ssh.poll() is None
                time.sleep(0.1)
            yield local
        finally:
            ssh.terminate()


def answers(port: int) -> bool:
    """Tell whether something listens on a local port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False

"""`recsys serve` as a user meets it: a process, a real Ray Serve, HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
import yaml

from recsys.bundle import Models
from recsys.ensemble.recommender import HybridRecommender
from recsys.errors import BundleError, RecsysError, UsageError
from recsys.serving.app import AppArgs
from recsys.serving.haproxy import mended, on_loopback
from recsys.serving.local import free_port, serve_models

ROOT = Path(__file__).parents[2]
ODD_ID = "a/b 🎵/similar?x=1#é"
ENDED_S = 60
CALL = """
import sys, grpc
from ray.serve.generated import serve_pb2, serve_pb2_grpc
for port in sys.argv[1:]:
    stub = serve_pb2_grpc.ASGIServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    try:
        stub.HandleRequest(serve_pb2.ASGIRequest(pickled_request_metadata=b"x"), timeout=30)
    except grpc.RpcError as error:
        print(error.code().name)
"""
"""Calls a replica as another replica would, without the token."""


@pytest.fixture
def system_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where HAProxy writes, in place of the system's log."""
    with socket.socket(type=socket.SOCK_DGRAM) as log:
        log.bind(("127.0.0.1", 0))
        log.setblocking(False)
        monkeypatch.setenv("RAY_SERVE_HAPROXY_LOG_TARGET", f"127.0.0.1:{log.getsockname()[1]}")
        yield log


@pytest.fixture
def server(
    models: Models, start_server: Any, system_log: socket.socket
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `recsys serve` and its address."""
    with start_server(models) as server:
        yield server


def listening_anywhere() -> dict[int, int]:
    """Return the TCP ports of this machine that listen on all interfaces, by inode."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, state, inode = fields[1].rsplit(":", 1)[0], fields[3], fields[9]
            if state == "0A" and set(address) == {"0"}:
                found[int(inode)] = int(fields[1].rsplit(":", 1)[1], 16)
    return found


def lines_of(log: socket.socket) -> list[str]:
    """Return what a log has received so far."""
    found = []
    while True:
        try:
            found.append(log.recv(65_536).decode("utf-8", "replace"))
        except BlockingIOError:
            return found


def sockets_of(name: str, session: int) -> set[int]:
    """Return the inodes of the sockets of the processes of a session that are called `name`."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            called = (folder / "comm").read_text().strip()
            links = [str(link.readlink()) for link in (folder / "fd").iterdir()]
        except OSError:
            continue
        if called == name and int(fields[3]) == session:
            found |= {int(x[8:-1]) for x in links if x.startswith("socket:[")}
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_real_server_answers_and_ends_cleanly(
    server: tuple[subprocess.Popen[str], str],
    recommender: HybridRecommender,
    user: str,
    system_log: socket.socket,
) -> None:
    process, address = server

    def get(path: str) -> object:
        with urlopen(f"{address}{path}", timeout=30) as answer:
            return json.load(answer)

    listed = get(f"/v1/users/{user}/recommendations?k=3")
    wanted = [one._asdict() for one in recommender.recommend(user, 3)]
    assert listed == {"user_id": user, "version": recommender.version, "items": wanted}
    odd = get(f"/v1/items/{quote(ODD_ID, safe='')}")
    assert isinstance(odd, dict) and odd["item_id"] == ODD_ID
    with urlopen(address, timeout=30) as page:
        assert b"Discover Weekly" in page.read()

    for given in ("my-1", "not a number", ""):
        request = Request(f"{address}/v1/health/live", headers={"X-Request-ID": given})
        with urlopen(request, timeout=30) as answer:
            (number,) = answer.headers.get_all("X-Request-ID")
        assert number == given if given == "my-1" else re.fullmatch(r"[0-9a-f-]{32,36}", number)

    session = os.getsid(process.pid)
    ports = listening_anywhere()
    own = [ports[inode] for inode in sockets_of("ray::ServeRepli", session) if inode in ports]
    assert own, "Ray's own port of a replica is open; so it must want the token"
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CALL, *map(str, own)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "UNAUTHENTICATED" in told.stdout, told
    assert set(told.stdout.split()) <= {"UNAUTHENTICATED", "UNIMPLEMENTED"}, told

    proxy = sockets_of("haproxy", session)
    assert proxy, "HAProxy must be running"
    assert not proxy & set(ports), "HAProxy must listen on loopback only"

    os.kill(process.pid, signal.SIGINT)
    assert process.wait(ENDED_S) == 0
    assert not sockets_of("haproxy", process.pid)

    told_log = lines_of(system_log)
    assert any("Proxy http_frontend" in line for line in told_log), "HAProxy must have this log"
    assert not [line for line in told_log if "/v1/" in line], "addresses name listeners"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_only_loopback_is_served_without_keys(models: Models, host: str) -> None:
    with pytest.raises(UsageError, match=f"--host {host}: there are no API keys yet"):
        serve_models(models.folder.path, host=host)


def test_a_taken_port_is_named(models: Models) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port}: Address already in use; give an"):
            serve_models(models.folder.path, port=port)


def test_a_port_of_our_own_is_free_and_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    handed_out = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if handed_out.exists():
        first, last = map(int, handed_out.read_text().split())
        assert not first <= free_port() <= last, "the system may give it away before it is taken"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr("recsys.serving.local._PORTS", range(port, port + 1))
        with pytest.raises(RecsysError, match=f"no port from {port} to {port} is free"):
            free_port()


def test_nothing_to_serve_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="make one with `recsys train`"):
        serve_models(tmp_path)


def test_a_cluster_of_others_is_left_alone(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(UsageError, match=r"serve deploy serve_config\.yaml"):
        serve_models(models.folder.path)


def test_what_haproxy_tells_is_told_on_loopback_alone() -> None:
    configuration = (
        "frontend prometheus\n    bind :9101\n    mode http\nlisten stats\n  bind *:8404\n"
        "frontend http_frontend\n    bind *:8000\n"
    )
    assert on_loopback(configuration) == (
        "frontend prometheus\n    bind 127.0.0.1:9101\n    mode http\nlisten stats\n"
        "  bind 127.0.0.1:8404\nfrontend http_frontend\n    bind *:8000\n"
    ), "where requests are taken is for the operator to say"


def test_haproxy_numbers_requests_and_answers_an_outage() -> None:
    configuration = (
        "global\n    log 127.0.0.1:514 local0 info\n"
        "defaults\n    errorfile 502 /tmp/500.http\n    errorfile 503 /tmp/500.http\n"
        "frontend http_frontend\n    bind 127.0.0.1:8000\n    log global\n"
        "backend default_backend\n"
        '    http-request return status 404 content-type text/plain lf-string "not found"\n'
    )
    assert mended(configuration, Path("/x/unavailable.http")) == (
        "global\n    log 127.0.0.1:514 local0 notice\n"
        "defaults\n    errorfile 502 /x/unavailable.http\n    errorfile 503 /x/unavailable.http\n"
        "frontend http_frontend\n    bind 127.0.0.1:8000\n"
        "    http-request set-header X-Recsys-Delivery %[uuid]\n"
        "    http-request del-header X-Request-ID "
        "if !{ req.hdr(X-Request-ID) -m reg ^[0-9A-Za-z._-]{1,64}$ }\n"
        "    http-request set-header X-Request-Disconnect-Disabled ?1\n    log global\n"
        "backend default_backend\n"
        "    http-request return status 503 errorfile /x/unavailable.http\n"
    )


def test_serve_config_deploys_the_same_application() -> None:
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    assert config["http_options"]["host"] == "127.0.0.1"
    (application,) = config["applications"]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(import_module(module), name))
    AppArgs.model_validate(application["args"])


def test_serve_config_is_what_ray_accepts() -> None:
    """In a process of its own: importing Ray Serve warns of its own use of pydantic."""
    script = (
        "import yaml\n"
        "from ray.serve.schema import ServeDeploySchema\n"
        "from recsys.serving.app import build\n"
        "config = ServeDeploySchema(**yaml.safe_load(open('serve_config.yaml')))\n"
        "(given,) = config.applications[0].deployments\n"
        "made = build(config.applications[0].args)._bound_deployment\n"
        "assert given.name == made.name, made.name\n"
        "assert given.max_ongoing_requests == made.max_ongoing_requests\n"
        "assert given.max_queued_requests == made.max_queued_requests\n"
        "args = config.applications[0].args | {'replicas': 2, 'max_replicas': 5}\n"
        "grows = build(args)._bound_deployment._deployment_config.autoscaling_config\n"
        "assert (grows.min_replicas, grows.max_replicas) == (2, 5), grows\n"
        "assert made._deployment_config.autoscaling_config is None\n"
        "grows = build(args | {'max_requests': 4})._bound_deployment._deployment_config\n"
        "assert grows.autoscaling_config.target_ongoing_requests == 2, 'below what is refused'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr

"""Serve on this machine: what `recsys serve` and the end of the demo run.

Enters: a folder of versions, an address. Leaves: a server that answers until Ctrl-C. A private Ray
cluster is started without a dashboard, guarded by a token, and Serve with its fast paths. Without
API keys HTTP is answered on the loopback interface only.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from recsys.bundle import Models
from recsys.config import ServingConfig
from recsys.data.eventstore import EventStore
from recsys.errors import RecsysError, UsageError
from recsys.progress import note
from recsys.serving.app import AppArgs, build, default_events
from recsys.serving.environment import serve_environment
from recsys.serving.security import KeyRing

__all__ = ["free_port", "serve_models", "served"]

_READY_S = 120.0
# Below warnings Serve writes a line for every request, and then drops it.
_LOGGING = {"enable_access_log": False, "log_level": "WARNING"}
_PORTS = range(20_000, 30_000)
"""Below those that a system hands out by itself: of them Ray takes many while HAProxy starts."""
_SHOWN = 2
"""Recommendations in the printed example."""


def serve_models(
    models: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    config: ServingConfig | None = None,
    events: str | None = None,
    dataset: str | Path | None = None,
    example: str | None = None,
) -> None:
    """Serve the active version until Ctrl-C (or SIGTERM) and print the address.

    Parameters
    ----------
    models
        Folder of trained versions; one must be active.
    host, port
        Where to listen.
    config
        Limits, and the number of replicas.
    events
        Address of the event store; default: SQLite in the folder of versions.
    dataset
        What was trained on: for clips, and for deleting listeners.
    example
        A listener; a curl line for them and its answer are printed too.

    Raises
    ------
    BundleError
        Where no version can be opened.
    UsageError
        For a host that is not loopback while there are no API keys, a port that is taken, and where
        RAY_ADDRESS names a cluster: that one is not ours to start and end Serve on.
    """
    # After Ray's start, which sets handlers of its own. SIGINT too: a shell starts background jobs
    # with it ignored, and Python keeps that.
    with (
        served(models, host=host, port=port, config=config, events=events, dataset=dataset) as at,
        _interrupted_by(signal.SIGINT, signal.SIGTERM),
    ):
        print(f"listening on {at}  (the page; {at}/docs lists every address)", flush=True)
        if example is not None:
            _print_example(at, example)
        note("Ctrl-C ends it")
        try:
            signal.pause()
        except KeyboardInterrupt:
            note("ending")


@contextmanager
def served(
    models: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    config: ServingConfig | None = None,
    events: str | None = None,
    dataset: str | Path | None = None,
) -> Iterator[str]:
    """Serve for the length of a block and yield the address, once it answers.

    Arguments and errors are those of `serve_models`.
    """
    settings = config or ServingConfig()
    _check(Models(models), host, port)
    place = str(Path(models).absolute()) if "://" not in str(models) else str(models)
    url = events or default_events(place)
    if url is not None:  # made here, before replicas find each other making it
        EventStore(url).close()
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    with tempfile.TemporaryDirectory(prefix="recsys-") as private:
        _prepare_environment(private)
        counters = Path(private) / "metrics"
        counters.mkdir()
        args = AppArgs(
            models=place,
            events=url,
            dataset=None if dataset is None else str(Path(dataset).absolute()),
            require_keys=not _is_loopback(host),
            max_k=settings.max_k,
            max_body_bytes=settings.max_body_bytes,
            max_requests=settings.max_requests,
            replicas=settings.replicas,
            max_replicas=settings.max_replicas,
            cors_origins=list(settings.cors_origins),
            access_log=settings.access_log and str(Path(settings.access_log).absolute()),
            metrics_folder=str(counters),
        )
        from ray import serve

        from recsys.cluster.session import ray_session, unheard

        with ray_session():
            note("starting Ray Serve")
            logging.getLogger("ray.serve").setLevel(logging.WARNING)
            try:
                serve.start(http_options={"host": host, "port": port})
                serve.run(build(args), name="recsys", logging_config=_LOGGING)
                _wait_until_ready(address)
                yield address
            finally:
                with unheard():
                    serve.shutdown()


def _check(models: Models, host: str, port: int) -> None:
    """Fail before anything is started where it could only fail later."""
    models.open()
    if "RAY_ADDRESS" in os.environ:
        raise UsageError(
            "RAY_ADDRESS is set, but `recsys serve` starts a cluster of its own; unset it, or "
            "deploy to that cluster with `serve deploy serve_config.yaml`"
        )
    if not _is_loopback(host) and not KeyRing(models.folder).keys:
        raise UsageError(
            f"--host {host}: there are no API keys yet, so only a loopback address such as "
            f"127.0.0.1 may be served; make one with `recsys keys {models.folder.path} create NAME`"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"--port {port}: {error.strerror}; give another one") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _prepare_environment(private: str) -> None:
    """Set what Serve reads when it is imported, here and in the processes that Ray starts."""
    own = {
        # Two servers on one machine would share these ports.
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        # Nobody reads Ray's own numbers here; ours are at /metrics.
        "RAY_enable_metrics_collection": "0",
        # Nobody drains a server that is being ended by hand.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
    }
    os.environ.update(serve_environment(private) | own)


def free_port() -> int:
    """Return a port of the loopback interface that nobody has, and the system gives to nobody."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RecsysError(f"no port from {_PORTS[0]} to {_PORTS[-1]} is free")


def _wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            with urlopen(f"{address}/v1/health/ready", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RecsysError(
        f"{address}: not ready after {_READY_S:.0f} s; Ray's logs in /tmp/ray/session_latest/logs "
        f"say more"
    )


def _print_example(address: str, user_id: str) -> None:
    url = f"{address}/v1/users/{quote(user_id, safe='')}/recommendations?k={_SHOWN}"
    with urlopen(url, timeout=10) as answer:
        shown = json.dumps(json.load(answer), ensure_ascii=False, indent=2)
    print(f"\n$ curl '{url}'\n{shown}", flush=True)


@contextmanager
def _interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """Let signals end the block as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

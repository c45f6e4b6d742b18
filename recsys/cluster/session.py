"""One way into Ray for every entry point: join the cluster at hand, or start a private one.

A private cluster lives on this machine for the length of a block, listens on loopback, has no
dashboard, and is closed to other local users by a token of its own.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from recsys.backend import Backend, LocalBackend
from recsys.cluster.ray_backend import RayBackend
from recsys.errors import UsageError

__all__ = ["backend_of", "ray_session"]

# Ray reads a process's token once, so all private clusters of this process share it.
_TOKEN = secrets.token_hex(32)


@contextmanager
def ray_session(*, num_cpus: int | None = None) -> Iterator[None]:
    """Connect to Ray for the block: to RAY_ADDRESS where it is set, else to a private cluster.

    Parameters
    ----------
    num_cpus
        Cores of a private cluster; default: those of the machine.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    else:
        # Ray 2.60 turns tokens on by itself here, and only so: it read RAY_AUTH_MODE when it was
        # imported. The token keeps it from writing one into the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", _TOKEN)
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def backend_of(n_workers: int) -> Iterator[Backend]:
    """Return the backend for `n_workers`: this process for one, that many Ray actors for more.

    Raises
    ------
    UsageError
        Where the cluster has fewer cores than workers: the last ones would wait forever.
    """
    if n_workers == 1:
        yield LocalBackend()
        return
    with ray_session():
        cores = int(ray.cluster_resources().get("CPU", 0))
        if n_workers > cores:
            raise UsageError(
                f"--workers {n_workers}: the cluster has {cores} cores; give at most that many"
            )
        backend = RayBackend(n_workers)
        try:
            yield backend
        finally:
            backend.close()

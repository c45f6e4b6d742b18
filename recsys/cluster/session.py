"""One way into Ray for every entry point: join the cluster at hand, or start a private one.

A private cluster lives on this machine for the length of a block and has no dashboard. Ray 2.60
binds its ports to every interface whatever it is told, so a token that is never written down keeps
everyone else out.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import ray
from ray.exceptions import RayError

from recsys.backend import Backend, LocalBackend
from recsys.cluster.metrics import ray_metrics
from recsys.cluster.ray_backend import RayBackend
from recsys.errors import RecsysError

__all__ = ["backend_of", "ray_session", "unheard"]

_AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
# Ray reads a process's token once, so all private clusters of this process share it.
_TOKEN = secrets.token_hex(32)


@contextmanager
def ray_session(
    *, num_cpus: int | None = None, object_store_bytes: int | None = None
) -> Iterator[None]:
    """Connect to Ray for the block: to RAY_ADDRESS where it is set, else to a private cluster.

    A process that is connected already stays so, before and after.

    Parameters
    ----------
    num_cpus
        Cores of a private cluster; default: those of the machine.
    object_store_bytes
        Size of its object store; default: Ray's, a third of the memory.

    Raises
    ------
    RecsysError
        Where no cluster lets us in at RAY_ADDRESS.
    """
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    before = {name: os.environ.get(name) for name in _AUTHENTICATION}
    try:
        if address := os.environ.get("RAY_ADDRESS"):
            _join(address, quiet)
        else:
            # A new local cluster of Ray 2.60 switches token mode on by itself, unless told
            # otherwise, takes the token from here, and would else write one into the home folder.
            # Setting RAY_AUTH_MODE here would come too late: it is read when ray is imported.
            os.environ.setdefault("RAY_AUTH_TOKEN", _TOKEN)
            ray.init(
                address="local",
                num_cpus=num_cpus,
                object_store_memory=object_store_bytes,
                include_dashboard=False,
                # A laptop's own address changes with its network; this one does not.
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        yield
    finally:
        with unheard():
            ray.shutdown()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _join(address: str, options: dict[str, Any]) -> None:
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RayError) as error:
        raise RecsysError(
            f"RAY_ADDRESS={address}: no cluster lets us in ({error}); start one (`ray up`, "
            "`ray start --head`), have its token in ~/.ray/auth_token, or unset RAY_ADDRESS"
        ) from error


@contextmanager
def unheard() -> Iterator[None]:
    """Keep what Ray says of its own ending off stdout, which is for results."""
    with redirect_stdout(io.StringIO()):
        yield


@contextmanager
def backend_of(n_workers: int, *, num_cpus: int = 1) -> Iterator[Backend]:
    """Return the backend for `n_workers`: this process for one, that many Ray actors for more.

    An actor has `num_cpus` cores and as many threads: one actor a node moves least.

    Raises
    ------
    UsageError
        Where the cluster has fewer cores than workers: the last ones would wait forever.
    """
    if n_workers == 1:
        yield LocalBackend()
        return
    with ray_session(), ray_metrics(), RayBackend(n_workers, num_cpus=num_cpus) as backend:
        yield backend

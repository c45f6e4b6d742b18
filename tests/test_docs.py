"""What docs/ says holds: the guides run as they stand, links lead somewhere, tables are true."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = [guide for guide in GUIDES if SHELL.search(guide.read_text())]


@pytest.mark.parametrize("guide", RUN, ids=[guide.stem for guide in RUN])
def test_the_commands_of_a_guide_run(guide: Path, tmp_path: Path) -> None:
    lines = "\n".join(SHELL.findall(guide.read_text()))
    environment = os.environ | {
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


def test_links_lead_to_what_is_there() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken


def test_the_data_page_is_what_the_tables_are() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "data_page.py"))["page"]
    assert (ROOT / "docs" / "data.md").read_text() == page(), "run python scripts/data_page.py"


def test_the_pages_build(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "docs", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr

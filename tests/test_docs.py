"""What docs/ says holds: the guides run as they stand, links lead somewhere, tables are true."""

from __future__ import annotations

import os
import random
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


def run_shell(lines: str, folder: Path) -> None:
    """Run commands one after the other; the first that fails ends them, and the test."""
    environment = os.environ | {
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


@pytest.mark.parametrize("guide", RUN, ids=[guide.stem for guide in RUN])
def test_the_commands_of_a_guide_run(guide: Path, tmp_path: Path) -> None:
    lines = "\n".join(SHELL.findall(guide.read_text()))
    run_shell(lines, tmp_path)


@pytest.fixture
def hetrec(tmp_path: Path) -> Path:
    """A folder as README imports it, of two scenes that do not mix."""
    folder = tmp_path / "hetrec2011-lastfm-2k"
    folder.mkdir()
    artists = "".join(f"{n}\tBand {n}\thttp://a.example/{n}\tno\n" for n in range(40, 70))
    (folder / "artists.dat").write_text(f"id\tname\turl\tpictureURL\n{artists}")
    draw = random.Random(0)
    plays = (
        f"{user}\t{artist}\t{draw.randint(1, 90)}\n"
        for user in range(60)
        for artist in draw.sample(range(40 + user % 2, 70, 2), 8)
    )
    (folder / "user_artists.dat").write_text(f"userID\tartistID\tweight\n{''.join(plays)}")
    return folder


def test_the_commands_of_the_readme_run(hetrec: Path) -> None:
    """All but the search, which docs/guides/tuning.md makes smaller, and the server."""
    _, _, own = (ROOT / "README.md").read_text().partition("## With your own data")
    block = own.split("```")[1]
    # What is said of a command stands behind two spaces.
    commands = re.findall(r"^recsys (?!tune|serve).+?(?=  |$)", block, re.MULTILINE)
    assert len(commands) >= 8
    run_shell("\n".join(commands), hetrec.parent)


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

"""The wheel holds everything: it works alone, far from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and the source archive, and the wheel again from that."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (source,) = out.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", source, "-C", out], check=True)
    unpacked = out / source.name.removesuffix(".tar.gz")
    subprocess.run([*build, "-t", "wheel"], cwd=unpacked, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    return wheel


def test_what_is_no_python_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "recsys"]
    run = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    wanted = set(run.stdout.split())
    assert wanted <= packed
    assert "recsys/py.typed" in packed


def test_the_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", "import recsys; print(recsys.__file__)"]
    env = environment | {"PYTHONPATH": str(site)}
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert run.stdout.startswith(str(site))
    log = tmp_path / "events.csv"
    rows = (f"u{n % 7},i{n % 5},stream" for n in range(30))
    log.write_text("\n".join(["user_id,item_id,kind", *rows]) + "\n")
    for arguments in (
        ["import", "events", str(log), "dataset"],
        ["train", "dataset", "models", "--set", "collaborative.factors=2"],
        ["recommend", "models", "u1", "-k", "2", "--json"],
    ):
        run = subprocess.run(
            [sys.executable, "-m", "recsys", *arguments],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
    assert '"user_id": "u1"' in run.stdout

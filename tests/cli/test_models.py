"""`recsys models`: which versions there are, which serves, whether one is whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Models
from recsys.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def recsys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["recsys", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Models, list[str]]:
    models = Models(tmp_path / "models")
    names = []
    for number in range(2):
        writer = models.write()
        writer.add("factors", np.full(3, number, np.float32))
        writer.note(trained=["collaborative"], counts={"users": 7, "items": 3})
        names.append(writer.commit())
    return models, names


def test_models_are_listed_activated_rolled_back(
    recsys: Run, versions: tuple[Models, list[str]]
) -> None:
    models, (first, second) = versions
    path = models.folder.path
    listed = json.loads(recsys("models", path, "list", "--json")[1])
    assert listed["active"] == second
    assert [version["version"] for version in listed["versions"]] == [first, second]
    assert listed["versions"][0]["counts"] == {"users": 7, "items": 3}
    table = recsys("models", path, "list")[1]
    assert first in table and second in table and "active" in table
    assert f"{first} is active" in recsys("models", path, "rollback")[1]
    assert models.active() == first
    assert json.loads(recsys("models", path, "activate", second, "--json")[1]) == {"active": second}
    assert models.active() == second


def test_models_verify_finds_damage(recsys: Run, versions: tuple[Models, list[str]]) -> None:
    models, (first, second) = versions
    path = models.folder.path
    assert f"{second}: all 1 blocks" in recsys("models", path, "verify")[1]
    file = Path(models.folder.locate(models.open().arrays["factors"][0].file))
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    code, _, said = recsys("models", path, "verify")
    assert code == 1
    assert f"{file.name}: damaged" in said
    assert recsys("models", path, "verify", first)[0] == 0


def test_models_says_what_is_wrong(
    recsys: Run, versions: tuple[Models, list[str]], tmp_path: Path
) -> None:
    models, (first, second) = versions
    path = models.folder.path
    manifest = Path(models.folder.locate(f"versions/{first}/manifest.json"))
    manifest.write_text(json.dumps({"schema": 99}))
    listed = json.loads(recsys("models", path, "list", "--json")[1])
    assert "newer recsys" in listed["versions"][0]["problem"]
    assert listed["versions"][1]["problem"] is None
    code, _, said = recsys("models", path, "activate", first)
    assert code == 1 and "newer recsys" in said
    assert models.active() == second
    assert recsys("models", path, "activate")[0] == 2
    assert recsys("models", path, "rollback", first)[0] == 2
    code, _, said = recsys("models", tmp_path / "none", "list")
    assert code == 1 and "make one with `recsys train`" in said

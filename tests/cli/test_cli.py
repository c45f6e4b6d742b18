"""The command line as a user meets it: a process with exit codes, stdout and stderr."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from recsys.cli import COMMANDS


def recsys(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "recsys", *map(str, arguments)], capture_output=True, text=True
    )


def test_help_names_every_command_and_imports_none_of_them() -> None:
    code = (
        "import sys\n"
        "from recsys.cli import main\n"
        "sys.argv = ['recsys', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'ray', 'numpy', 'pyarrow', 'torch', 'numba'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in COMMANDS:
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_module_and_its_own_help(command: str) -> None:
    module = f"recsys.cli.{'import_' if command == 'import' else command}"
    assert find_spec(module) is not None
    done = recsys(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: recsys " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["config", "show", "--nope"], "No such option: --nope"),
        (["config"], "Missing argument"),
        (["config", "show", "--set", "colaborative.factors=3"], "did you mean collaborative?"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], said: str) -> None:
    done = recsys(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_could_not_be_done_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = recsys("describe", tmp_path / "absent")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"recsys: {tmp_path}/absent: no dataset with rows here; make one with `recsys import`"
    ]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = recsys("--debug", "describe", tmp_path / "absent")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_config_show_prints_toml_that_config_takes_back(tmp_path: Path) -> None:
    shown = recsys("config", "show", "--set", "collaborative.factors=9")
    file = tmp_path / "recsys.toml"
    file.write_text(shown.stdout)
    assert tomllib.loads(shown.stdout)["collaborative"]["factors"] == 9
    assert recsys("config", "check", "--config", file).returncode == 0
    again = json.loads(recsys("config", "show", "--config", file, "--json").stdout)
    assert again["collaborative"]["factors"] == 9

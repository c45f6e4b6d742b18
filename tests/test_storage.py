"""Files are whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.errors import InputError
from recsys.storage import Folder

_ENDLESS_WRITE = """
import sys
from recsys.storage import Folder
with Folder(sys.argv[1]).writing("state") as stream:
    stream.write(b"new")
    stream.flush()
    print("half", flush=True)
    sys.stdin.read()
"""


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "made" / "on demand")
    folder.write("a/b", b"content")
    assert folder.read("a/b") == b"content"
    assert folder.exists("a/b")
    assert folder.names("a") == ["b"]
    folder.delete("a/b")
    folder.delete("a/b")
    assert not folder.exists("a/b")


def test_an_absent_folder_is_empty(tmp_path: Path) -> None:
    assert Folder(tmp_path / "absent").names() == []


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("state", b"old")
    with pytest.raises(RuntimeError), folder.writing("state") as stream:
        stream.write(b"new")
        raise RuntimeError
    assert folder.read("state") == b"old"
    assert folder.names() == ["state"]


def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("state", b"old")
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS_WRITE, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        os.kill(process.pid, signal.SIGKILL)
    assert folder.read("state") == b"old"


def test_an_address_of_no_known_kind_is_refused() -> None:
    with pytest.raises(InputError, match="give a folder or an s3:// or gs:// address"):
        Folder("nowhere://bucket/key")

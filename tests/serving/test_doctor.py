"""The doctor sees what is wrong, and says what to do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from recsys.bundle import Models
from recsys.serving import doctor
from recsys.serving.app import AppArgs, create_app


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recsys", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_a_healthy_server_has_no_faults(models: Models, tmp_path: Path) -> None:
    import uvicorn

    shutil.copytree(models.folder.path, tmp_path / "models")
    app = create_app(AppArgs(require_keys=False, models=str(tmp_path / "models")))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        waiting = threading.Event()
        while not server.started and thread.is_alive():
            waiting.wait(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        done = run(str(tmp_path / "models"), "--server", f"http://127.0.0.1:{port}", "--json")
    finally:
        server.should_exit = True
        thread.join()
    findings = {one["what"]: one for one in json.loads(done.stdout)}
    for what in ("active version", "blocks", "event store", "server lives", "server is ready",
                 "server version", "server recommends"):  # fmt: skip
        assert findings[what]["ok"], findings[what]


def test_a_damaged_block_and_a_server_that_is_away_are_found(
    models: Models, tmp_path: Path
) -> None:
    shutil.copytree(models.folder.path, tmp_path / "models")
    block = next((tmp_path / "models/blocks").iterdir())
    block.write_bytes(block.read_bytes()[:-1] + b"x")
    done = run(str(tmp_path / "models"), "--server", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "checks failed" in done.stderr
    assert "damaged" in done.stdout and "is it running?" in done.stdout


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    found = {one.what: one for one in doctor.of_models(str(tmp_path), None)}
    assert not found["active version"].ok
    assert "recsys train" in found["active version"].told

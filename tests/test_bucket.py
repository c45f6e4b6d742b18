"""Where a path is taken an s3:// address does: the whole way in a bucket, by the command line."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from pyarrow import fs

from recsys.bundle import Models
from recsys.cli import main
from recsys.errors import BundleError
from recsys.serving.app import AppArgs, create_app
from recsys.storage import Folder

with warnings.catch_warnings():  # of its own dependencies
    warnings.simplefilter("ignore")
    moto = pytest.importorskip("moto.server", reason="no moto here: pip install 'recsys[bucket]'")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An S3-compatible server of our own with one bucket; yields its address."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "a word",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in found.items():
            patched.setenv(name, value)
        fs.S3FileSystem(
            endpoint_override=f"{host}:{port}", scheme="http", allow_bucket_creation=True
        ).create_dir("recsys")
        yield "s3://recsys"
    server.stop()


def test_a_folder_in_a_bucket_keeps_its_word(bucket: str) -> None:
    folder = Folder(f"{bucket}/folder")
    assert folder.names() == [] and not folder.exists("a/b") and folder.age_s("a/b") == 0
    folder.write("a/b", b"old")
    with pytest.raises(RuntimeError), folder.writing("a/b") as stream:
        stream.write(b"new")
        raise RuntimeError
    assert folder.read("a/b") == b"old"
    assert folder.names("a") == ["b"], "nothing is left of a broken-off write"
    folder.write("a/b", b"new" * 3_000_000)  # more than one part of an upload
    assert folder.read("a/b") == b"new" * 3_000_000
    assert folder.create("a/c", b"1") and not folder.create("a/c", b"2")
    assert folder.read("a/c") == b"1"
    folder.delete("a/b")
    folder.delete("a/b")
    assert folder.names("a") == ["c"]
    with pytest.raises(FileNotFoundError):
        folder.read("a/b")


def test_the_whole_way_in_a_bucket(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "events.csv"
    rows = (
        f"u{user},i{(user * 7 + n * n) % 20},stream,{1 + n}" for user in range(30) for n in range(8)
    )
    log.write_text("\n".join(["user_id,item_id,kind,value", *rows]) + "\n")
    dataset, models, out = (f"{bucket}/{name}" for name in ("dataset", "models", "out"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["recsys", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return printed.out

    few = ("--set", "collaborative.factors=4", "--set", "collaborative.iterations=3")
    run("import", "events", str(log), dataset)
    assert json.loads(run("describe", dataset, "--json"))
    run("train", dataset, models, *few)
    first = Models(models).active()
    assert len(json.loads(run("recommend", models, "u1", "-k", "3", "--json"))["items"]) == 3
    run("recommend", models, "--all-users", "-k", "3", "--out", f"{out}/lists.parquet")
    lists = Folder(out).read("lists.parquet")
    assert pq.read_table(pa.BufferReader(lists)).num_rows == 90
    run("weekly", models, out, "--week", "2026-W47", "--format", "parquet,m3u")
    assert len(Folder(out).names("2026-W47")) == 30
    run("evaluate", dataset, "--out", f"{out}/report", *few)
    assert Folder(f"{out}/report").names() == ["report.html", "report.json", "report.md"]
    run("train", dataset, models, *few)
    assert Models(models).active() != first
    assert "as they were written" in run("models", models, "verify")
    run("models", models, "rollback")
    assert Models(models).active() == first
    with TestClient(create_app(AppArgs(require_keys=False, models=models))) as client:
        answer = client.get("/v1/users/u1/recommendations?k=3").json()
        assert answer["version"] == first and len(answer["items"]) == 3
    assert not list(here.iterdir()), "nothing is written here"


def test_an_empty_bucket_says_what_to_do(bucket: str) -> None:
    with pytest.raises(BundleError, match="s3://recsys/none: no active version; make one with"):
        Models(f"{bucket}/none").open()

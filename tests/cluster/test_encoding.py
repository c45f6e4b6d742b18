"""Batches over the Backend: a worker that dies costs its batch, and what workers die of its place.

Every death is a SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray
import soundfile

from recsys.backend import LocalBackend, in_batches
from recsys.bundle import Models
from recsys.cli import main
from recsys.cluster import RayBackend
from recsys.data.dataset import Dataset
from recsys.errors import WorkersLostError
from recsys.progress import report_to
from tests.cluster.faults import Lines
from tests.fifo import Fifo


@pytest.fixture(scope="module", autouse=True)
def by_value(cluster):
    # Workers cannot import a test file by name, so its functions travel by value.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def doubled(batch):
    return [2 * thing for thing in batch]


def deadly(batch, poison, deaths):
    """Die of one thing, as often as there are lives in a folder."""
    lives = sorted(Path(deaths).iterdir())
    if poison in batch and lives:
        lives[0].unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return doubled(batch)


def worked_off(backend, tmp_path, *, lives, things=4, size=2, poison=1):
    for _ in range(lives):
        (tmp_path / uuid.uuid4().hex).touch()
    shared = (poison, str(tmp_path))
    return list(in_batches(backend, deadly, range(things), size=size, shared=shared))


def test_batches_in_one_process():
    found = list(in_batches(LocalBackend(), doubled, range(5), size=2))
    assert found == [([0, 1], [0, 2]), ([2, 3], [4, 6]), ([4], [8])]


def test_a_dead_worker_costs_its_batch_a_second_try(tmp_path):
    lines = Lines()
    with RayBackend(2) as backend, report_to(lines):
        parts = backend.scatter([1, 2])
        found = worked_off(backend, tmp_path, lives=1, things=6)
        assert sorted(found) == [([0, 1], [0, 2]), ([2, 3], [4, 6]), ([4, 5], [8, 10])]
        with pytest.raises(WorkersLostError):
            backend.gather(parts)
        backend.renew()
        assert backend.gather(backend.scatter([3, 4])) == [3, 4]
    assert sum("another takes its place" in line for line in lines.said) == 1


def test_what_workers_die_of_is_set_aside(tmp_path):
    lines = Lines()
    with RayBackend(2) as backend, report_to(lines):
        found = worked_off(backend, tmp_path, lives=9)
    dead = [things for things, result in found if isinstance(result, WorkersLostError)]
    fine = sorted(result for _, result in found if not isinstance(result, WorkersLostError))
    assert dead == [[1]]
    assert fine == [[0], [4, 6]]
    # The batch two times, the thing alone once.
    assert len(list(tmp_path.iterdir())) == 9 - 3
    assert sum("another takes its place" in line for line in lines.said) == 3


def tone(path, hz):
    times = np.arange(22_050) / 22_050
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * hz * times), 22_050)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["recsys", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        main()
    return done.value.code or 0


def test_train_over_workers_of_which_one_file_kills_every_one(tmp_path, monkeypatch, capsys):
    """`recsys train --workers 2`: documents and recordings are encoded by the workers."""
    for number in range(3):
        tone(tmp_path / f"{number}.wav", 220 * (number + 1))
    fifo = Fifo(tmp_path / "1.poison.wav")
    names = ["0.wav", "1.poison.wav", "1.wav", "2.wav"]
    (tmp_path / "2.poison.mp3").write_bytes(b"no music")
    names.append("2.poison.mp3")
    items = [{"item_id": name, "audio_uri": f"../{name}", "artist_id": "a"} for name in names]
    documents = [
        {"doc_id": f"{id} {n}", "text": f"{id} plays calm disco {n}", "artist_ids": [id]}
        for id in "ab"
        for n in range(2)
    ]
    dataset = Dataset(tmp_path / "dataset")
    with dataset.transaction() as transaction:
        for table, rows in (("items", items), ("documents", documents)):
            batch = pa.RecordBatch.from_pylist(rows)
            transaction.append(table, [batch], source="test", fingerprint="test")

    pids: list[int] = []

    def kill_all():
        # The batch of five twice, its first two, and the file alone.
        for _ in range(4):
            pids.append(fifo.kill_reader())

    killer = threading.Thread(target=kill_all, daemon=True)
    killer.start()
    code = run(
        monkeypatch, "train", dataset.folder.path, tmp_path / "models", "--workers", 2,
        "--only", "text,audio", "--set", "text.min_voices=1",
    )  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said.err
    killer.join(60)
    assert not killer.is_alive() and len(set(pids)) == 4
    assert os.getpid() not in pids
    bundle = Models(tmp_path / "models").open()
    assert bundle.facts["trained"] == ["text", "audio"]
    table = Dataset(dataset.folder.path).read("descriptors")
    assert sorted(table["item_id"].to_pylist()) == ["0.wav", "1.wav", "2.wav"]
    assert "audio: 2 of 5 recordings cannot be read and left out; listed in" in said.err
    lines = (tmp_path / "dataset" / "rejects" / "recordings.jsonl").read_text().splitlines()
    reasons = {row["row"]: row["reason"] for row in map(json.loads, lines)}
    assert set(reasons) == {"../1.poison.wav", "../2.poison.mp3"}
    assert "workers died of it" in reasons["../1.poison.wav"]
    assert "no audio that can be read" in reasons["../2.poison.mp3"]
    kept = list((tmp_path / "dataset" / "readings").glob("sentences-*/*.vectors.npy"))
    assert kept, "workers keep what they embed beside the dataset"


def test_analyse_over_workers(tmp_path, monkeypatch, capsys):
    tone(tmp_path / "a.wav", 220)
    (tmp_path / "b.mp3").write_bytes(b"no music")
    code = run(monkeypatch, "analyse", tmp_path / "a.wav", tmp_path / "b.mp3", "--workers", 2)
    rows = {
        Path(row["path"]).name: row for row in map(json.loads, capsys.readouterr().out.splitlines())
    }
    assert code == 1
    assert rows["a.wav"]["loudness_lufs"] < 0
    assert "no audio that can be read" in rows["b.mp3"]["error"]

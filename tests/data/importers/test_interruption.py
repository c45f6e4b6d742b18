"""Imports that are killed, that find the disk full, or that run side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.data.dataset import Dataset
from recsys.data.importers import import_source

HEAD = "user_id,item_id,kind\n"
IMPORT = """
import os, resource, signal, sys
from recsys import progress
from recsys.data.dataset import Dataset
from recsys.data.importers import import_source, reading
from recsys.errors import RecsysError

reading._BLOCK = 20_000
source, dataset, limit, steps = sys.argv[1:]
dataset, limit, steps = Dataset(dataset), int(limit), int(steps)
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

class Killer:
    def note(self, line): ...
    def step(self, task, done, total, detail):
        global steps
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)

try:
    with progress.report_to(Killer()):
        print(import_source("events", source, dataset).rows)
except RecsysError as error:
    sys.exit(str(error))
"""


def start(source: Path, dataset: Path, *, limit: int = 0, steps: int = -1) -> subprocess.Popen[str]:
    arguments = [str(source), str(dataset), str(limit), str(steps)]
    return subprocess.Popen(
        [sys.executable, "-c", IMPORT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    # Random ids, which do not compress away.
    rows = (f"{os.urandom(8).hex()},{os.urandom(8).hex()},save\n" for _ in range(20_000))
    path.write_text(HEAD + "".join(rows))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    before = tmp_path / "before.csv"
    before.write_text(HEAD + "a,x,save\n")
    import_source("events", before, Dataset(tmp_path / "dataset"))
    return tmp_path / "dataset"


def test_a_killed_import_leaves_the_dataset_as_it_was(source, dataset):
    before = Dataset(dataset).fingerprint()
    process = start(source, dataset, steps=20)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list((dataset / "events").glob("*.part")), "it was not killed in the middle"
    assert Dataset(dataset).fingerprint() == before
    assert Dataset(dataset).read("events").num_rows == 1
    assert import_source("events", source, Dataset(dataset)).rows == {"events": 20_000}
    assert Dataset(dataset).read("events").num_rows == 20_001


def test_a_full_disk_is_one_line_and_leaves_the_dataset_as_it_was(source, dataset):
    before = Dataset(dataset).fingerprint()
    files = sorted(dataset.rglob("*"))
    process = start(source, dataset, limit=200_000)
    _, error = process.communicate()
    assert process.returncode == 1
    assert "dataset is as it was" in error and len(error.splitlines()) == 1
    assert Dataset(dataset).fingerprint() == before and sorted(dataset.rglob("*")) == files
    assert Dataset(dataset).read("events").num_rows == 1


def test_two_imports_at_a_time_do_not_lose_each_other(source, dataset, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(HEAD + "".join(f"u{n},x,save\n" for n in range(500)))
    # The third is the first once more: it must count once.
    processes = [start(path, dataset) for path in (source, other, source)]
    for process in processes:
        _, error = process.communicate()
        assert process.returncode == 0, error
    assert Dataset(dataset).read("events").num_rows == 20_501


PEAKS = """
import resource, sys
from recsys import progress
from recsys.data.dataset import Dataset
from recsys.data.importers import import_source, reading

class Peaks:
    rows, seen = 0, {}
    def note(self, line): ...
    def step(self, task, done, total, detail):
        self.seen[done] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

reading._BLOCK = 1 << 20
with progress.report_to(Peaks()):
    import_source("events", sys.argv[1], Dataset(sys.argv[2]))
early = min(mib for done, mib in Peaks.seen.items() if done > 100_000)
print(max(Peaks.seen), max(Peaks.seen.values()) - early)
"""


def test_memory_does_not_grow_with_the_file(tmp_path):
    source = tmp_path / "log.csv"
    with source.open("w") as file:
        file.write(HEAD)
        for start in range(0, 400_000, 1000):
            numbers = range(start, start + 1000)
            file.writelines(f"listener-{k:048d},item-{k:048d},save\n" for k in numbers)
    arguments = [str(source), str(tmp_path / "dataset")]
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, *arguments], capture_output=True, text=True, check=True
    )
    rows, growth_mib = map(int, done.stdout.split())
    # Those that were still to come are 36 MiB of text; held as columns they would be more.
    assert rows == 400_000 and growth_mib < 24

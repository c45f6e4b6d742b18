from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.dataset import Dataset
from recsys.errors import InputError


def items(*ids, title=None):
    return pa.table({"item_id": list(ids), "title": pa.array([title] * len(ids), pa.string())})


def add(dataset, table, rows, fingerprint, source="s", replace=False):
    with dataset.transaction() as transaction:
        return transaction.append(
            table, [rows], source=source, fingerprint=fingerprint, replace=replace
        )


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "d")


def test_absent_columns_are_filled_and_the_latest_row_of_a_key_wins(dataset):
    add(dataset, "items", items("a", "b", title="old"), "1")
    add(dataset, "items", items("c", "a", title="new"), "2")
    rows = Dataset(dataset.folder.path).read("items", ["title", "kind", "labels"])
    assert rows.to_pylist() == [
        {"title": "old", "kind": "track", "labels": None},
        {"title": "new", "kind": "track", "labels": None},
        {"title": "new", "kind": "track", "labels": None},
    ]


def test_events_without_an_id_are_never_merged(dataset):
    rows = pa.table(
        {
            "event_id": ["x", None, None, "x"],
            "user_id": ["u"] * 4,
            "item_id": ["i"] * 4,
            "kind": ["save"] * 4,
            "value": [1.0, 2.0, 3.0, 4.0],
        }
    )
    add(dataset, "events", rows, "1")
    assert dataset.read("events")["value"].to_pylist() == [2, 3, 4]


def test_the_same_content_is_added_once(dataset):
    assert add(dataset, "items", items("a"), "1") == 1
    before = dataset.fingerprint()
    assert add(dataset, "items", items("a"), "1") == 0
    assert Dataset(dataset.folder.path).fingerprint() == before
    add(dataset, "items", items("b"), "2")
    assert dataset.fingerprint() != before


def test_a_snapshot_replaces_the_one_before_of_its_source_only(dataset):
    add(dataset, "items", items("a"), "1", source="counts", replace=True)
    add(dataset, "items", items("b"), "2", source="other")
    add(dataset, "items", items("c"), "3", source="counts", replace=True)
    assert sorted(dataset.read("items")["item_id"].to_pylist()) == ["b", "c"]


def test_a_failed_transaction_leaves_nothing(dataset):
    add(dataset, "items", items("a"), "1")
    files = sorted(Path(dataset.folder.root).rglob("*"))
    with pytest.raises(ZeroDivisionError), dataset.transaction() as transaction:
        transaction.append("items", [items("b")], source="s", fingerprint="2")
        raise ZeroDivisionError
    assert sorted(Path(dataset.folder.root).rglob("*")) == files
    assert Dataset(dataset.folder.path).read("items")["item_id"].to_pylist() == ["a"]


def test_overlapping_transactions_do_not_lose_each_other(dataset):
    other = Dataset(dataset.folder.path)
    with dataset.transaction() as one, other.transaction() as two:
        one.append("items", [items("a")], source="a", fingerprint="1")
        two.append("items", [items("b")], source="b", fingerprint="2")
        # The same source at the same time counts once.
        one.append("items", [items("c")], source="c", fingerprint="3", replace=True)
        two.append("items", [items("c")], source="c", fingerprint="3", replace=True)
    found = Dataset(dataset.folder.path)
    assert sorted(found.read("items")["item_id"].to_pylist()) == ["a", "b", "c"]
    assert found.count("items") == 3


def test_one_process_at_a_time_changes_the_manifest(dataset, monkeypatch):
    held = []

    def try_lock():
        with Path(dataset.folder.locate(".lock")).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(False)
            except BlockingIOError:
                held.append(True)

    monkeypatch.setattr(dataset, "_sweep", try_lock)
    add(dataset, "items", items("a"), "1")
    try_lock()
    assert held == [True, False]


def test_what_killed_imports_left_is_deleted_once_it_is_old(dataset):
    add(dataset, "items", items("a"), "1")
    folder = Path(dataset.folder.root) / "items"
    old, young = folder / "old.parquet.1234.part", folder / "young.parquet"
    for file in (old, young):
        file.write_bytes(b"left behind")
    long_ago = time.time() - 2 * 86_400
    os.utime(old, (long_ago, long_ago))
    kept = folder / Path(dataset.parts[0].file).name
    os.utime(kept, (long_ago, long_ago))
    add(dataset, "items", items("b"), "2")
    assert not old.exists() and young.exists() and kept.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema": 99, "parts": []}', "newer recsys"),
        ('{"schema": 1, "par', "not JSON"),
        ("[]", "not a dataset's manifest"),
    ],
)
def test_a_strange_manifest_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        Dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_dataset_that_must_exist(tmp_path):
    with pytest.raises(InputError, match="recsys import"):
        Dataset.existing(tmp_path / "nothing")


def test_parts_of_an_older_schema_are_filled_in(dataset):
    add(dataset, "events", pa.table({"user_id": ["u"], "kind": ["save"]}), "1")
    file = Path(dataset.folder.locate(dataset.parts[0].file))
    older = pq.read_table(file, partitioning=None).drop_columns(["context", "organic"])
    pq.write_table(older, file)
    for encoded in (False, True):
        columns = ["user_id", "context", "organic"]
        (batch,) = dataset.part_batches(dataset.parts[0], columns, encoded=encoded)
        assert batch.to_pylist() == [{"user_id": "u", "context": None, "organic": True}]


def test_a_damaged_part_is_one_line(dataset):
    add(dataset, "items", items("a"), "1", source="events:log.csv")
    file = Path(dataset.folder.locate(dataset.parts[0].file))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"damaged.*events:log\.csv") as caught:
        dataset.read("items")
    assert "\n" not in str(caught.value)
    file.unlink()
    with pytest.raises(InputError, match="damaged"):
        dataset.read("items")

"""Deleted listeners leave the files of a dataset; what names nobody else's is not touched."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.dataset import Dataset
from recsys.data.forgetting import bury, forget_rows, names_listener
from recsys.data.tombstones import tombstone


def append(dataset: Dataset, users: list[str], source: str) -> int:
    rows = pa.table(
        {"user_id": users, "item_id": ["i"] * len(users), "kind": ["save"] * len(users)}
    )
    with dataset.transaction() as transaction:
        return transaction.append("events", [rows], source=source, fingerprint=source)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three imports of events: ann among others, bob alone, ann alone; and a table of items."""
    dataset = Dataset(tmp_path / "d")
    append(dataset, ["ann", "bob", "ann", "annie"], "mixed")
    append(dataset, ["bob", "cyd"], "others")
    append(dataset, ["ann", "ann"], "hers")
    with dataset.transaction() as transaction:
        items = pa.table({"item_id": ["ann", "i"]})
        transaction.append("items", [items], source="items", fingerprint="items")
    return dataset


def forget(dataset: Dataset, user: str) -> int:
    bury(dataset, [tombstone(user)])
    return forget_rows(dataset)


def test_a_buried_listener_is_read_no_more_before_any_file_is_rewritten(dataset: Dataset) -> None:
    bury(dataset, [tombstone("ann")])
    again = Dataset(dataset.folder.path)
    assert again.read("events", ["user_id"])["user_id"].to_pylist() == [
        "bob",
        "annie",
        "bob",
        "cyd",
    ]
    assert names_listener(again, "ann")
    bury(dataset, [tombstone("ann")])
    assert again.fingerprint() == dataset.fingerprint()


def test_only_files_that_name_the_listener_are_written_anew(dataset: Dataset) -> None:
    before = {part.source: part for part in dataset.parts}
    assert names_listener(dataset, "ann") and not names_listener(dataset, "an")
    assert forget(dataset, "ann") == 4
    after = {part.source: part for part in Dataset(dataset.folder.path).parts}
    assert set(before) - set(after) == {"hers"}
    assert after["others"] == before["others"] and after["items"] == before["items"]
    assert (after["mixed"].rows, after["mixed"].fingerprint) == (2, "mixed")
    files = {path.name for path in Path(dataset.folder.root, "events").iterdir()}
    assert files == {Path(after[source].file).name for source in ("mixed", "others")}
    assert not names_listener(dataset, "ann") and names_listener(dataset, "annie")
    assert dataset.read("items", ["item_id"])["item_id"].to_pylist() == ["ann", "i"]
    assert forget_rows(dataset) == 0


def test_a_part_of_many_row_groups_is_counted_in_whole(dataset: Dataset) -> None:
    append(dataset, [*["ann"] * 70_000, "bob"] * 2, "long")
    assert forget(dataset, "ann") == 140_000 + 4
    assert dataset.count("events") == 2 + 2 + 2


def test_a_part_from_before_its_listeners_had_a_column_is_left_alone(dataset: Dataset) -> None:
    with dataset.transaction() as transaction:
        lists = pa.table({"collection_id": ["c"], "title": ["ann"], "item_ids": [["i"]]})
        transaction.append("collections", [lists], source="lists", fingerprint="lists")
    (part,) = (part for part in dataset.parts if part.table == "collections")
    place = Path(dataset.folder.root, part.file)
    pq.write_table(pq.read_table(place).drop_columns(["owner_id"]), place)
    assert forget(dataset, "ann") == 4
    assert dataset.read("collections", ["title"])["title"].to_pylist() == ["ann"]


def test_an_import_that_was_rewritten_still_changes_nothing(dataset: Dataset) -> None:
    forget(dataset, "ann")
    assert append(dataset, ["ann", "bob", "ann", "annie"], "mixed") == 0
    assert dataset.read("events", ["user_id"])["user_id"].to_pylist() == [
        "bob",
        "annie",
        "bob",
        "cyd",
    ]


def test_without_tombstones_nothing_is_read_or_written(dataset: Dataset) -> None:
    files = sorted(Path(dataset.folder.root).rglob("*"))
    assert forget_rows(dataset) == 0
    assert sorted(Path(dataset.folder.root).rglob("*")) == files


@pytest.mark.parametrize(
    ("raw", "gone"),
    [
        ({"user_id": "ann", "kind": "nonsense"}, True),
        ({"user_id": "annie", "kind": "ann b"}, False),
        ({"raw": ["bob", {"deep": "ann"}]}, True),
        ('"ann"\ti1\tstream', True),
        ("ann,i1,stream\r\n", True),
        ("anna;annie|hannah", False),
        (None, False),
    ],
)
def test_rejected_rows_with_the_listeners_id_go(dataset: Dataset, raw: object, gone: bool) -> None:
    lines = [
        {"row": f"log.csv:{n}", "reason": "kind", "raw": one} for n, one in enumerate([raw, 7])
    ]
    content = [json.dumps(line).encode() + b"\n" for line in lines]
    dataset.folder.write("rejects/log.jsonl", b"".join(content))
    assert forget(dataset, "ann") == 4 + gone
    assert dataset.folder.read("rejects/log.jsonl") == b"".join(content[1:] if gone else content)

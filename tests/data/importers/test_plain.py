from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.catalogue import read_catalogue
from recsys.data.dataset import Dataset
from recsys.data.events import read_events
from recsys.data.importers import reading
from recsys.errors import InputError, UsageError

HEAD = "user_id,item_id,kind,value,at\n"
GOOD = "".join(f"u{n % 7},i{n},stream,{n + 1},2020-01-01\n" for n in range(100))


def users(dataset):
    return dataset.read("events")["user_id"].to_pylist()


def test_a_file_of_events(bring, dataset):
    result = bring("events", HEAD + "a,x,stream,3,2020-01-01T00:00:00Z\nb,y,save,,\n")
    assert result.rows == {"events": 2} and not result.unchanged
    assert (result.rejected, result.private, result.rejects_file) == (0, 0, None)
    assert dataset.read("events", ["user_id", "value", "organic"]).to_pylist() == [
        {"user_id": "a", "value": 3, "organic": True},
        {"user_id": "b", "value": 1, "organic": True},
    ]


def test_the_same_file_twice_changes_nothing(bring, dataset):
    bring("events", HEAD + GOOD)
    before = dataset.fingerprint()
    again = bring("events", HEAD + GOOD, name="copy.csv")
    assert again.unchanged and again.rows == {} and dataset.fingerprint() == before


def test_a_grown_log_counts_events_with_an_id_once(bring, dataset):
    head = "event_id,user_id,item_id,kind,at\n"
    bring("events", head + "1,a,x,stream,2020-01-01\n")
    bring("events", head + "1,a,x,stream,2020-01-01\n2,a,x,stream,2020-01-02\n")
    assert dataset.read("events").num_rows == 2


def test_untimed_counts_are_snapshots(bring, dataset):
    bring("events", "user_id,item_id,kind,value\na,x,stream,10\na,y,stream,1\n", name="may.csv")
    bring("events", "user_id,item_id,kind,value\na,x,stream,12\n", name="june.csv")
    events = read_events(dataset, read_catalogue(dataset))
    assert sorted(zip(events.item.tolist(), events.value.tolist())) == [(0, 12), (1, 1)]


def test_equal_rows_without_an_id_are_two_events(bring, dataset):
    bring("events", HEAD + "a,x,stream,1,2020-01-01\n" * 2)
    assert len(read_events(dataset, read_catalogue(dataset))) == 2


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", " \r\n"])
def test_an_empty_file_is_one_clear_line(bring, content):
    with pytest.raises(InputError, match=r"log\.csv.*empty") as caught:
        bring("events", content)
    assert "\n" not in str(caught.value)


def test_a_header_alone_imports_nothing(bring, dataset):
    result = bring("events", HEAD)
    assert result.rows == {"events": 0} and result.rejected == 0 and dataset.parts == []


@pytest.mark.parametrize("content", ["user_id,item,kind\n", "user_id,item\na,x\n"])
def test_an_absent_column_is_named_with_the_nearest(bring, content):
    with pytest.raises(InputError, match="no column 'item_id', which items must have"):
        bring("items", content.replace("item\n", "itemid\n"))
    with pytest.raises(InputError, match=r"no column '(kind|user_id)'"):
        bring("events", content.replace("kind", "sort"))


def test_a_byte_order_mark_crlf_and_blank_lines_are_understood(bring, dataset):
    text = "\ufeff" + (HEAD + "a,x,save,,\n\nb,y,save,,").replace("\n", "\r\n")
    assert bring("events", text).rows == {"events": 2}
    assert users(dataset) == ["a", "b"]


def test_quotes_hold_tabs_delimiters_and_line_ends(bring, dataset, rejects):
    text = 'item_id;title\n1;"a\tb;""c""\nd"\n2;plain 5" tape\n'
    bring("items", text)
    titles = dataset.read("items")["title"].to_pylist()
    assert titles == ['a\tb;"c"\nd', 'plain 5" tape']


def test_tab_separated_values(bring, dataset):
    bring("items", 'item_id\ttitle\n1\t"a\tb"\n', name="items.tsv")
    assert dataset.read("items")["title"].to_pylist() == ["a\tb"]


def test_latin_1_in_a_utf_8_file_costs_one_row(bring, dataset, rejects):
    text = (HEAD + GOOD).encode() + "josé,x,save,,\n".encode("latin-1") + "zoë,x,save,,\n".encode()
    result = bring("events", text)
    assert result.rejected == 1 and "zoë" in users(dataset) and len(users(dataset)) == 101
    assert rejects(result) == [
        {"row": "log.csv:102", "reason": "not UTF-8 (byte 0xe9)", "raw": "jos�,x,save,,"}
    ]


BAD = [
    ("b,x,stream,-1,2020-01-01", "value: want a number above 0 and at most 1e+09, got '-1'"),
    ("b,x,stream,inf,2020-01-01", "value: want a number above 0 and at most 1e+09, got 'inf'"),
    ("b,x,stream,1,1985-01-01", "at: want a time after 1990, got '1985-01-01'"),
    ("b,x,stream,1,2199-01-01", "at: lies in the future, got '2199-01-01'"),
    ("b,x,stream,1,99999999999999", "at: lies in the future, got '99999999999999'"),
    (",x,stream,1,2020-01-01", "user_id: must not be empty, got ''"),
    ("b,x,stream,1", "want 5 fields, got 4"),
    ("b,x,stream,1,2020-01-01,,", "want 5 fields, got 7"),
    ('"b,x,stream,1,2020-01-01', "quotes do not match (unexpected end of data)"),
]


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_a_bad_row_is_set_aside_with_its_place_and_reason(bring, dataset, rejects, row, reason):
    result = bring("events", HEAD + GOOD[: GOOD.find("u3")] + row + "\n" + GOOD)
    (found,) = rejects(result)
    assert (found["row"], found["reason"]) == ("log.csv:5", reason)
    assert "b" in str(found["raw"]) or row.startswith(",")
    assert dataset.count("events") == 103
    assert result.reasons == {reason.partition(", got ")[0]: 1}


def test_more_than_five_percent_of_bad_rows_stop_the_import(bring, dataset, rejects):
    bad = "b,x,hum,1,\n"
    assert bring("events", HEAD + GOOD[: GOOD.find("u4,i95")] + bad * 5).rejected == 5
    before = dataset.fingerprint()
    with pytest.raises(InputError, match=r"6 of 106 rows are bad.*kind: want one of.*\(6\)") as e:
        bring("events", HEAD + GOOD + bad * 6, name="worse.csv")
    assert "\n" not in str(e.value)
    assert Dataset(dataset.folder.path).fingerprint() == before
    assert sorted(p.name for p in Path(dataset.folder.locate("events")).iterdir()) == [
        Path(part.file).name for part in dataset.parts
    ]
    file = Path(dataset.folder.locate("rejects/events-worse.csv.jsonl"))
    assert len(file.read_text().splitlines()) == 6


def test_a_clean_import_removes_stale_rejects(bring, dataset):
    first = bring("events", HEAD + GOOD + "b,x,hum,1,\n")
    bring("events", HEAD + GOOD + "b,x,save,1,\n")
    assert first.rejects_file is not None and not Path(first.rejects_file).exists()


SECRET = "secretlistener"


@pytest.mark.parametrize("flag", ["true", "1", "yes", "maybe"])
@pytest.mark.parametrize("column", ["private", "Private_Session"])
def test_private_rows_leave_no_trace(bring, dataset, flag, column):
    head = f"user_id,item_id,kind,{column}\n"
    rows = "".join(f"u,i{n},save,\n" for n in range(100))
    private = f"{SECRET},x,save,{flag}\n{SECRET},x,hum,{flag}\n{SECRET},,stream,{flag}\n"
    # A row that cannot be read may be private, so its text is not kept either.
    broken = f"{SECRET},x,save,{flag},more\n"
    result = bring("events", head + rows + private + broken)
    assert (result.private, result.rejected, result.rows) == (3, 1, {"events": 100})
    kept = [p.read_bytes() for p in Path(dataset.folder.root).rglob("*") if p.is_file()]
    assert kept and not any(SECRET.encode() in content for content in kept)
    assert SECRET not in str(dataset.read("events").to_pylist())


def test_private_rows_of_json_leave_no_trace(bring, dataset):
    good = "".join(
        json.dumps({"user_id": n, "item_id": "i", "kind": "save"}) + "\n" for n in range(60)
    )
    secret = {"user_id": SECRET, "item_id": "i", "kind": "save", "private": True}
    text = good + json.dumps(secret) + "\n" + json.dumps(secret)[:-9] + "\n"
    result = bring("events", text + json.dumps(secret | {"kind": 3}) + "\n", name="log.jsonl")
    assert (result.private, result.rejected) == (2, 1)
    kept = [p.read_bytes() for p in Path(dataset.folder.root).rglob("*") if p.is_file()]
    assert not any(SECRET.encode() in content for content in kept)


def test_json_lines(bring, dataset, rejects):
    rows = [
        {"collection_id": 1, "title": "A", "item_ids": ["x", "y|z"], "OWNER_ID": "o"},
        {"collection_id": "2", "item_ids": []},
    ]
    lines = [json.dumps(row) for row in rows] * 20
    bad = ["{", "[1]", '{"collection_id": ["3"], "item_ids": []}', '{"collection_id": "\\ud800"}']
    result = bring("collections", "\n".join([*lines, "", bad[0], *lines, *bad[1:]]), "c.jsonl")
    assert [r["row"].partition(":")[2] for r in rejects(result)] == ["42", "83", "84", "85"]
    assert dataset.read("collections", ["collection_id", "owner_id", "item_ids"]).to_pylist() == [
        {"collection_id": "1", "owner_id": "o", "item_ids": ["x", "y|z"]},
        {"collection_id": "2", "owner_id": None, "item_ids": []},
    ]


def test_parquet_keeps_types(bring, dataset, tmp_path, rejects):
    n = 100
    table = pa.table(
        {
            "User_ID": np.arange(n),
            "item_id": pa.array(["x"] * (n - 1) + [None]).dictionary_encode(),
            "kind": ["stream"] * n,
            "at": [datetime(2020, 1, 1)] * n,
            "ms_played": [1.5e5] * n,
            "note": ["ignored"] * n,
        }
    )
    pq.write_table(table, tmp_path / "source.parquet")
    content = (tmp_path / "source.parquet").read_bytes()
    result = bring("events", content, name="log.parquet")
    assert rejects(result)[0]["row"] == "log.parquet:100" and result.rows == {"events": 99}
    first = dataset.read("events", ["user_id", "at", "ms_played"]).to_pylist()[0]
    assert (first["user_id"], first["at"].year, first["ms_played"]) == ("0", 2020, 150_000)
    with pytest.raises(InputError, match="not readable as Parquet"):
        bring("events", content[:-20], name="cut.parquet")


def test_compressed_files_and_folders(bring, dataset, tmp_path):
    files = {
        "a.csv.gz": gzip.compress((HEAD + "a,x,save,,\n").encode()),
        "b.csv": HEAD + "b,x,save,,\n",
        "readme.md": "no rows here",
    }
    assert bring("events", files, name="logs").rows == {"events": 2}
    with pytest.raises(InputError, match="cannot be read"):
        bring("events", gzip.compress((HEAD + GOOD).encode())[:-30], name="cut.csv.gz")


def test_sources_that_cannot_be(bring, dataset, tmp_path):
    from recsys.data.importers import import_source

    with pytest.raises(UsageError, match="did you mean movielens"):
        import_source("movilens", tmp_path, dataset)
    with pytest.raises(InputError, match="no such file"):
        import_source("events", tmp_path / "nothing.csv", dataset)
    with pytest.raises(InputError, match="unknown kind of file"):
        bring("events", "x", name="log.docx")
    with pytest.raises(InputError, match="UTF-16"):
        bring("events", HEAD.encode("utf-16"))
    with pytest.raises(InputError, match="named twice"):
        bring("events", "user_id,item_id,kind,User_id\n")


def test_blocks_of_any_size_give_the_same_rows(bring, dataset, rejects, monkeypatch):
    rows = "".join(
        f'i{n},"line\n\n""{n}"""\n' if n % 7 == 0 else f"i{n},plain {n}\n" for n in range(150)
    )
    found = []
    for size in (64, 999, 1 << 20):
        monkeypatch.setattr(reading, "_BLOCK", size)
        result = bring(
            "items", "item_id,title\n" + rows + f"bad\nlast,{size}\n", name=f"{size}.csv"
        )
        items = dataset.read("items").to_pylist()
        titles = {row["item_id"]: row["title"] for row in items if row["item_id"] != "last"}
        found.append((titles, rejects(result)[0]["row"].partition(":")[2]))
    assert found[0] == found[1] == found[2]
    assert found[0][0]["i7"] == 'line\n\n"7"' and found[0][0]["i149"] == "plain 149"
    assert found[0][1] == str(150 + 2 * 22 + 2)


def test_a_lone_quote_costs_its_row_and_no_other(bring, dataset, rejects):
    rows = [f"i{n},title {n}\n" for n in range(2000)]
    rows[1000] = 'i1000,"title\n'
    result = bring("items", "item_id,title\n" + "".join(rows))
    assert [r["row"] for r in rejects(result)] == ["log.csv:1002"]
    assert result.rows == {"items": 1999}


def test_a_quoted_record_with_too_many_fields_is_one_bad_row(bring, dataset, rejects):
    rows = [f"i{n},title {n}\n" for n in range(100)]
    rows[50] = 'i50,"two\nlines",more\n'
    (found,) = rejects(bring("items", "item_id,title\n" + "".join(rows)))
    assert found["reason"] == "want 2 fields, got 3 in 2 lines"
    assert (found["row"], found["raw"]) == ("log.csv:52", rows[50].rstrip())
    assert dataset.count("items") == 99

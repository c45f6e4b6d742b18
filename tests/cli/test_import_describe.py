from __future__ import annotations

import json

import pytest

from recsys.cli import describe, import_
from recsys.errors import InputError

ROWS = "user_id,item_id,kind,private\n" + "".join(f"u{n},i,save,\n" for n in range(99))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(ROWS + "u,i,hum,\nu,i,save,yes\n")
    return str(path)


def test_import_prints_counts(source, tmp_path, capsys):
    dataset = str(tmp_path / "dataset")
    import_.command("events", source, dataset)
    shown = capsys.readouterr().out
    assert "99" in shown and "1 private rows dropped" in shown and "1 x kind: want" in shown
    assert "events-log.csv.jsonl" in shown
    import_.command("events", source, dataset)
    assert "nothing changed" in capsys.readouterr().out


def test_import_and_describe_as_json(source, tmp_path, capsys):
    dataset = str(tmp_path / "dataset")
    import_.command("events", source, dataset, as_json=True)
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["rejected"], result["private"]) == ({"events": 99}, 1, 1)
    describe.command(dataset, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["users"] == 99 and found["items"] == 1


def test_describe_prints_counts_and_problems(source, tmp_path, capsys):
    dataset = str(tmp_path / "dataset")
    import_.command("events", source, dataset)
    describe.command(dataset)
    shown = capsys.readouterr().out
    assert "save 99" in shown and "! no event has a time" in shown and "events:log.csv" in shown


def test_describe_wants_a_dataset(tmp_path):
    with pytest.raises(InputError, match="recsys import"):
        describe.command(str(tmp_path / "nothing"))

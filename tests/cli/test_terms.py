"""`recsys terms` and `similar --by text`, from artists and documents alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.cli import main

Run = Callable[..., tuple[int, str, str]]
SAID = {
    "abba": ("ABBA", "A perky Swedish band with glittering disco songs. Fans hear Roxette too."),
    "rox": ("Roxette", "A perky Swedish duo with glittering pop songs, loved beside ABBA."),
    "blood": ("Bloodbath", "A brutal Swedish band with heavy riffs, dark growls and heavy drums."),
    "death": ("Deathmaze", "A brutal band with heavy riffs, dark growls and loud drums. $loud$"),
}


@pytest.fixture
def recsys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["recsys", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def models(recsys: Run, tmp_path: Path) -> Path:
    """A version trained on artists and documents alone, by the commands that a user types."""
    artists = [{"artist_id": id, "name": name} for id, (name, _) in SAID.items()]
    documents = [
        {"doc_id": f"{id}{copy}", "text": text, "artist_ids": [id]}
        for id, (_, text) in SAID.items()
        for copy in range(2)
    ]
    for name, rows in (("artists", artists), ("documents", documents)):
        source = tmp_path / f"{name}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert recsys("import", name, source, tmp_path / "dataset")[0] == 0
    code, out, err = recsys(
        "train", tmp_path / "dataset", tmp_path / "models", "--set", "text.sentences=0"
    )
    assert code == 0, err
    assert "trained text" in out
    return tmp_path / "models"


def test_the_table_by_type(recsys: Run, models: Path) -> None:
    code, out, err = recsys("terms", models, "ABBA")
    assert code == 0, err
    heading = next(line for line in out.splitlines() if "n2" in line)
    columns = [cell.strip() for cell in heading.strip("┃ ").split("┃")]
    assert columns == [c for kind in ("n2", "np", "adj", "artists", "n1") for c in (kind, "score")]
    assert "disco songs" in out
    assert "Roxette" in out


def test_json_by_type_with_ids_of_artists(recsys: Run, models: Path) -> None:
    said = json.loads(recsys("terms", models, "abba", "--json", "-k", "50")[1])
    assert said["name"] == "ABBA"
    assert "glittering disco" in [entry["term"] for entry in said["terms"]["n2"]]
    assert "swedish" in [entry["term"] for entry in said["terms"]["adj"]]
    assert [(a["term"], a["artist_id"]) for a in said["terms"]["artists"]] == [("Roxette", "rox")]
    assert all(0 < e["score"] <= 1.0001 for some in said["terms"].values() for e in some)


def test_a_plot(recsys: Run, models: Path, tmp_path: Path) -> None:
    for name, magic in (("terms.png", b"\x89PNG"), ("terms.svg", b"<?xml")):
        code, _, err = recsys("terms", models, "Deathmaze", "--plot", tmp_path / name)
        assert code == 0, err
        assert (tmp_path / name).read_bytes().startswith(magic)
    code, _, err = recsys("terms", models, "ABBA", "--plot", tmp_path / "terms.nonsense")
    assert code == 1
    assert "--plot" in err


def test_similar_by_text(recsys: Run, models: Path) -> None:
    code, out, err = recsys("similar", models, "artist", "--all", "--by", "text", "-k", "1")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    found = {line["id"]: line["similar"][0]["id"] for line in lines}
    assert found == {"abba": "rox", "rox": "abba", "blood": "death", "death": "blood"}

"""From sources to lists by the commands that a user types, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest


def recsys(*arguments: str | Path) -> str:
    """Run a command that must succeed and return its stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "recsys", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small demo world, trained: its folder and what the command printed."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, recsys("demo", "--dir", folder, "--scale", "0.15", "--no-serve")


def test_the_demo_prints_a_week_with_reasons_and_every_model_beside_the_oracle(
    demo: tuple[Path, str],
) -> None:
    _, printed = demo
    assert "Discover Weekly of " in printed
    for model in ("random", "popularity", "collaborative", "text", "audio", "hybrid", "oracle"):
        assert f" {model} " in printed, printed
    ranks = [line for line in printed.splitlines() if line.startswith("│")]
    assert len([line for line in ranks if line.split("│")[1].strip().isdigit()]) == 30


def test_the_demo_made_again_changes_nothing(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    before = (folder / "dataset" / "manifest.json").read_bytes()
    recsys("demo", "--dir", folder, "--scale", "0.15", "--no-serve")
    assert (folder / "dataset" / "manifest.json").read_bytes() == before


def test_a_week_written_twice_is_the_same_week(demo: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--week", "2026-W48", "--format", "parquet,jspf,m3u")
    recsys("weekly", demo[0] / "models", out, *options)
    first = pq.read_table(out / "2026-W48.parquet").to_pydict()
    recsys("train", demo[0] / "dataset", demo[0] / "models", "--only", "text")
    recsys("weekly", demo[0] / "models", out, *options)
    recsys("models", demo[0] / "models", "rollback")
    assert pq.read_table(out / "2026-W48.parquet").to_pydict() == first
    assert first["rank"][:30] == list(range(1, 31))
    playlists = sorted((out / "2026-W48").iterdir())
    assert len(playlists) == 2 * len(set(first["user_id"]))
    assert playlists[0].suffix == ".jspf"
    assert len(json.loads(playlists[0].read_text())["playlist"]["track"]) == 30
    assert playlists[1].read_text().count("#EXTINF") == 30


def test_what_is_said_of_an_artist_can_be_asked_by_id_and_by_name(demo: tuple[Path, str]) -> None:
    models = demo[0] / "models"
    by_id = json.loads(recsys("terms", models, "a0001", "--json"))
    by_name = json.loads(recsys("terms", models, by_id["name"].upper(), "--json"))
    assert by_id == by_name
    assert by_id["terms"]


def test_two_actors_train_the_version_that_one_process_trains(
    demo: tuple[Path, str], tmp_path: Path
) -> None:
    dataset = demo[0] / "dataset"
    lists = []
    for workers in ("1", "2"):
        models = tmp_path / f"models-{workers}"
        recsys("train", dataset, models, "--only", "collaborative", "--workers", workers)
        out = tmp_path / f"lists-{workers}.parquet"
        recsys("recommend", models, "--all-users", "-k", "10", "--out", out)
        lists.append(pq.read_table(out).to_pydict())
    one, two = lists
    same = [a == b for a, b in zip(one["item_id"], two["item_id"], strict=True)]
    # Rounding may change the order of near ties, nothing else.
    assert sum(same) > 0.98 * len(same)


def test_tuning_writes_a_configuration_that_training_takes(
    demo: tuple[Path, str], tmp_path: Path
) -> None:
    dataset = demo[0] / "dataset"
    few = ("--trials", "3", "--set", "collaborative.iterations=4")
    recsys("tune", dataset, tmp_path / "report", *few)
    trained = recsys(
        "train",
        dataset,
        tmp_path / "models",
        "--only",
        "collaborative",
        "--config",
        tmp_path / "report" / "best.toml",
        "--json",
    )
    assert json.loads(trained)["trained"] == ["collaborative"]


def test_play_counts_of_artists_become_lists_for_everyone(tmp_path: Path) -> None:
    data = os.environ.get("RECSYS_TEST_DATA")
    if not data or not (Path(data) / "hetrec-lastfm").is_dir():
        pytest.skip("set RECSYS_TEST_DATA to a folder that holds hetrec-lastfm (HetRec 2011)")
    dataset, models, out = tmp_path / "dataset", tmp_path / "models", tmp_path / "lists.parquet"
    recsys("import", "lastfm-hetrec", Path(data) / "hetrec-lastfm", dataset)
    described = json.loads(recsys("describe", dataset, "--json"))
    assert described["users"] == 1892
    assert described["items"] == 17632
    recsys("train", dataset, models)
    report = tmp_path / "report"
    recsys("evaluate", dataset, "--out", report)
    recsys("recommend", models, "--all-users", "-k", "10", "--out", out)
    lists = pq.read_table(out)
    assert lists.column_names == ["user_id", "item_id", "rank", "score"]
    assert lists.num_rows == 1892 * 10
    measured = json.loads((report / "report.json").read_text())
    ndcg = {name: figures["ndcg@10"] for name, figures in measured["rankers"].items()}
    assert ndcg["collaborative"] > 1.5 * ndcg["popularity"] > 1.5 * ndcg["random"]

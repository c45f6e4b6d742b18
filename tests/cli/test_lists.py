"""recommend, similar and evaluate: what they print, write and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.config import CollaborativeConfig, Config
from recsys.data.world import make_world
from recsys.ensemble.playlist import go_on
from recsys.ensemble.recommender import HybridRecommender
from recsys.pipeline import build, read_source

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo world, trained."""
    folder = tmp_path_factory.mktemp("demo")
    world = make_world(folder, scale=0.1)
    config = Config(collaborative=CollaborativeConfig(factors=8, iterations=3))
    build(read_source(world.dataset), config, LocalBackend(), Models(folder / "models"))
    return folder


@pytest.fixture(scope="module")
def recommender(demo: Path) -> HybridRecommender:
    return HybridRecommender.load(Models(demo / "models").open())


def test_recommend_as_json(run: Run, demo: Path, recommender: HybridRecommender):
    code, out, _ = run("recommend", demo / "models", "u00002", "-k", "4", "--json")
    answer = json.loads(out)
    assert code == 0
    assert list(answer) == ["user_id", "items"]
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3, 4]
    keys = ["rank", "item_id", "title", "artist", "score", "signals", "reasons", "probability"]
    assert all(list(item) == keys for item in answer["items"])
    expected = [entry.item_id for entry in recommender.recommend("u00002", 4)]
    assert [item["item_id"] for item in answer["items"]] == expected


def test_rules_and_weights_reach_the_list(run: Run, demo: Path, recommender: HybridRecommender):
    asked = (
        "--territory",
        "JP",
        "--clean",
        "--context",
        "evening",
        "--weights",
        "text:2,popularity:0",
    )
    code, out, _ = run("recommend", demo / "models", "u00002", "-k", "5", "--json", *asked)
    assert code == 0
    expected = recommender.recommend(
        "u00002",
        5,
        territory="JP",
        explicit=False,
        context="evening",
        weights={"text": 2, "popularity": 0},
    )
    listed = [item["item_id"] for item in json.loads(out)["items"]]
    assert listed == [entry.item_id for entry in expected]
    for wrong in (("--tempo", "fast"), ("--weights", "text"), ("--context", "swimming")):
        assert run("recommend", demo / "models", "u00002", *wrong)[0] == 2


def test_recommend_as_a_table(run: Run, demo: Path):
    code, out, _ = run("recommend", demo / "models", "u00002", "-k", "3")
    assert code == 0
    assert "For u00002" in out
    assert len([line for line in out.splitlines() if line.startswith("│ ")]) >= 3


def test_all_users_as_json_lines(run: Run, demo: Path, recommender: HybridRecommender):
    code, out, _ = run("recommend", demo / "models", "--all-users", "-k", "2")
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [answer["user_id"] for answer in answers] == list(recommender.catalogue.users)
    assert all(len(answer["items"]) == 2 for answer in answers)


def test_all_users_as_parquet(
    run: Run, demo: Path, recommender: HybridRecommender, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("recsys.cli.recommend._BLOCK", 7)
    file = tmp_path / "new" / "lists.parquet"
    code, out, err = run("recommend", demo / "models", "--all-users", "-k", "5", "--out", file)
    assert (code, out) == (0, "")
    table = pq.read_table(file)
    assert table.column_names == ["user_id", "item_id", "rank", "score"]
    assert f"{table.num_rows:,} rows for {recommender.catalogue.n_users:,} listeners" in err
    rows = table.to_pylist()
    for user in ("u00000", "u00042"):
        expected = recommender.recommend(user, 5)
        found = [row for row in rows if row["user_id"] == user]
        assert [row["item_id"] for row in found] == [entry.item_id for entry in expected]
        assert [row["rank"] for row in found] == [1, 2, 3, 4, 5]
        assert [row["score"] for row in found] == pytest.approx([e.score for e in expected])


def test_one_listener_as_parquet(run: Run, demo: Path, tmp_path: Path):
    file = tmp_path / "one.parquet"
    assert run("recommend", demo / "models", "u00001", "--out", file)[0] == 0
    assert set(pq.read_table(file)["user_id"].to_pylist()) == {"u00001"}


def test_a_million_wanted_gives_what_exists(run: Run, demo: Path, recommender: HybridRecommender):
    code, out, _ = run("recommend", demo / "models", "u00002", "-k", "1000000", "--json")
    assert code == 0
    found = json.loads(out)["items"]
    assert 10 < len(found) == len(recommender.recommend("u00002", recommender.catalogue.n_items))
    code, _, err = run("recommend", demo / "models", "u00002", "-k", "1000000")
    assert f"{len(found)} of 1000000: u00002 has not heard any more of kind track" in err


def test_who_has_heard_everything_is_told_so(run: Run, demo: Path, monkeypatch):
    monkeypatch.setattr(HybridRecommender, "recommend", lambda *_, **__: [])
    code, out, err = run("recommend", demo / "models", "u00002")
    assert (code, out) == (0, "")
    assert "u00002 has heard every track: nothing is left to recommend" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["u00002", "-k", "0"], 2, "k: want 1 or more, got 0"),
        (["--all-users", "-k", "0"], 2, "k: want 1 or more, got 0"),
        (["u000002"], 1, "no user 'u000002'; nearest known: 'u00002'"),
        (["u00002", "--kind", "trakc"], 1, "no item kind 'trakc'; nearest known: 'track'"),
        ([], 2, "give either USER or --all-users"),
        (["u00002", "--all-users"], 2, "give either USER or --all-users"),
    ],
)
def test_recommend_refuses(run: Run, demo: Path, arguments, code, said):
    found, out, err = run("recommend", demo / "models", *arguments)
    assert (found, out) == (code, "")
    assert err.startswith("recsys: ") and said in err
    assert len(err.splitlines()) == 1


def test_an_unknown_listener_leaves_no_file(run: Run, demo: Path, tmp_path: Path):
    assert run("recommend", demo / "models", "nobody", "--out", tmp_path / "x.parquet")[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_playlist_goes_on_from_items_and_artists(
    run: Run, demo: Path, recommender: HybridRecommender
):
    artist = recommender.catalogue.artists[0]
    asked = ("t00001", "t00002", "--artist", artist, "-k", "4")
    code, out, _ = run("playlist", demo / "models", *asked, "--json")
    assert code == 0
    wanted = go_on(recommender, ["t00001", "t00002"], 4, artists=[artist])
    assert [one["item_id"] for one in json.loads(out)["items"]] == [e.item_id for e in wanted]
    assert len(wanted) == 4
    code, out, _ = run("playlist", demo / "models", *asked, "--smooth")
    assert code == 0 and wanted[0].item_id in out and f"After t00001, t00002, {artist}" in out
    code, out, _ = run("playlist", demo / "models", *asked, "--format", "m3u")
    assert out.splitlines()[3::2] == [f"urn:recsys:item:{e.item_id}" for e in wanted]
    code, out, _ = run("playlist", demo / "models", *asked, "--format", "jspf")
    assert len(json.loads(out)["playlist"]["track"]) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "want at least one item to go on from, got none"),
        (["t0001"], 1, "no item 't0001'; nearest known: "),
        (["--artist", "nobody"], 1, "no artist 'nobody'"),
        (["t00001", "-k", "0"], 2, "k: want 1 or more, got 0"),
        (["t00001", "--tempo", "fast"], 2, "--tempo: want LOW-HIGH"),
        (["t00001", "--tempo", "90-100"], 2, "this version knows no item's"),
        (["t00001", "--json", "--format", "m3u"], 2, "give either --json or --format"),
    ],
)
def test_playlist_refuses(run: Run, demo: Path, arguments, code, said):
    found, out, err = run("playlist", demo / "models", *arguments)
    assert (found, out) == (code, "")
    assert err.startswith("recsys: ") and said in err


@pytest.mark.parametrize("kind", ["item", "artist", "user"])
@pytest.mark.parametrize("by", ["collaborative", "text", "hybrid"])
def test_similar_as_json(run: Run, demo: Path, recommender: HybridRecommender, kind, by):
    catalogue = recommender.catalogue
    id = {"item": catalogue.items, "artist": catalogue.artists, "user": catalogue.users}[kind][2]
    code, out, _ = run("similar", demo / "models", kind, id, "-k", "3", "--by", by, "--json")
    assert code == 0
    answer = json.loads(out)
    assert list(answer) == ["kind", "id", "similar"]
    assert (answer["kind"], answer["id"]) == (kind, id)
    expected = [{"id": i, "score": s} for i, s in recommender.similar(kind, id, 3, by=by)]
    assert answer["similar"] == expected


def test_similar_of_all(run: Run, demo: Path, recommender: HybridRecommender, monkeypatch):
    monkeypatch.setattr("recsys.cli.similar._BLOCK", 5)
    code, out, _ = run("similar", demo / "models", "artist", "--all", "-k", "2")
    assert code == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["id"] for answer in answers] == list(recommender.catalogue.artists)
    for answer in answers[::5]:
        expected = recommender.similar("artist", answer["id"], 2)
        assert [(pair["id"], pair["score"]) for pair in answer["similar"]] == expected


def test_similar_as_a_table(run: Run, demo: Path, recommender: HybridRecommender):
    name = recommender.catalogue.artist_name(0)
    nearest, _ = recommender.similar("artist", recommender.catalogue.artists[0], 1)[0]
    code, out, _ = run("similar", demo / "models", "artist", recommender.catalogue.artists[0])
    assert code == 0
    assert nearest in out and name not in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["item", "t00001", "--by", "audio"], 2, "this version has collaborative, text, hybrid"),
        (["item", "t0001"], 1, "no item 't0001'; nearest known: "),
        (["item", "t00001", "-k", "0"], 2, "k: want 1 or more"),
        (["item"], 2, "give either ID or --all"),
        (["item", "t00001", "--all"], 2, "give either ID or --all"),
        (["album", "t00001"], 2, "'album' is not one of"),
        (["item", "t00001", "--by", "sound"], 2, "'sound' is not one of"),
    ],
)
def test_similar_refuses(run: Run, demo: Path, arguments, code, said):
    found, out, err = run("similar", demo / "models", *arguments)
    assert (found, out) == (code, "")
    assert err.startswith("recsys: ") and said in err


def test_no_version(run: Run, tmp_path: Path):
    code, _, err = run("recommend", tmp_path, "u00002")
    assert code == 1
    assert "no active version; make one with `recsys train`" in err


def test_evaluate_writes_and_prints(run: Run, demo: Path, tmp_path: Path):
    quick = ("--set", "collaborative.iterations=2", "--set", "evaluation.max_users=20")
    out_folder = tmp_path / "report"
    code, out, err = run("evaluate", demo / "dataset", *quick, "--out", out_folder, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["n_listeners"] == 20
    assert set(answer["rankers"]) >= {"random", "popularity", "collaborative", "hybrid", "oracle"}
    assert json.loads((out_folder / "report.json").read_text()) == answer
    text = (out_folder / "report.md").read_text()
    assert text.startswith("# Evaluation")
    groups = answer["segments"]
    assert sum(group["n_listeners"] for group in groups) > 90
    measured = {part for part in answer["parts"] if part.startswith("group ")}
    assert measured and measured <= {f"group {group['number']}" for group in groups}
    assert groups[0]["artists"][0]["name"] in text
    page = (out_folder / "report.html").read_text()
    assert escape(groups[0]["artists"][0]["name"]) in page


def test_evaluate_prints_a_table(run: Run, demo: Path):
    quick = ("--set", "collaborative.iterations=1", "--set", "evaluation.max_users=5")
    code, out, _ = run("evaluate", demo / "dataset", *quick)
    assert code == 0
    assert "NDCG@10" in out and "of oracle@30" in out and "│ hybrid " in out


def test_evaluate_without_a_dataset(run: Run, tmp_path: Path):
    code, _, err = run("evaluate", tmp_path)
    assert code == 1
    assert "no dataset with rows here; make one with `recsys import`" in err
